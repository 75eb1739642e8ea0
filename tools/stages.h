/* SPDX-License-Identifier: MIT */
/*
 * stages - how busy each stage of an engine is, and which one the others wait for
 *
 * From the stall totals of its progress ring, over about a second. A stage is busy while its threads do not wait
 * for another stage; the bottleneck is the busiest one, if it is busy most of the time and the others are
 * clearly less so. Nothing is known before two looks that are a second apart.
 */
#ifndef PEN_TOOLS_STAGES_H
#define PEN_TOOLS_STAGES_H

#include <stdbool.h>
#include <stdint.h>

#include "include/penstock_progress.h"

struct pen_stage {
	const char *name; /* lies in the ring's struct; "" : there is no such stage */
	bool known;
	unsigned busy_permille, some_permille; /* busy; at least one of its threads waited */
	uint64_t bytes_per_s, items_per_s;
	uint64_t queued, capacity;		 /* chunks before it; 0 of 0: no queue */
	uint64_t p50_us, p99_us;		 /* of its transactions lately; 0: there were none */
	uint64_t some_us, full_us, bytes, items; /* totals at the last look */
};

struct pen_stages {
	struct pen_stage at[PEN_RING_STAGES];
	uint64_t looked_ns; /* 0: never */
	int busiest;	    /* -1: not known */
	bool bottleneck;    /* it is one */
	bool moved;	    /* something went through a stage between the last two looks */
};

void pen_stages_init(struct pen_stages *stages);
/* Looks if the last look is a second old. */
void pen_stages_look(struct pen_stages *stages, const struct pen_ring *ring, uint64_t now_ns);
/* The part of it that needs no ring: totals (some_us, full_us, bytes, items) have grown by then. */
void pen_stages_judge(struct pen_stages *stages, const struct pen_stage totals[PEN_RING_STAGES],
		      uint64_t now_ns);
/* The busiest stage's name, or NULL. */
const char *pen_stages_name(const struct pen_stages *stages);
/* What the others wait for: "input", "cpu", "store", or NULL. */
const char *pen_stages_held(const struct pen_stages *stages);

/* Opens the ring that this process writes for a store. False: there is none. */
bool pen_stages_own(struct pen_ring *ring, uint64_t store_id);

#endif
