/* SPDX-License-Identifier: MIT */
/*
 * live - what the progress rings of a store know about a batch that runs now
 *
 * The store says how far a batch is committed; the ring of the engine that runs it adds how fast, how long still, what
 * holds it up and whether that engine lives. Nothing is waited for: a look at a handful of files in memory.
 */
#ifndef PEN_TOOLS_LIVE_H
#define PEN_TOOLS_LIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "include/penstock.h"
#include "include/penstock_progress.h"

struct pen_jw;
struct pen_out;

struct pen_live {
	char path[4096];
	uint64_t created_ns; /* when the ring was made: of two, the younger is believed */
	uint64_t epoch;
	uint32_t writer_pid;
	enum pen_ring_life life;
	struct pen_ring_gauge gauge;
	struct pen_ring_names names;
	char stage[32], bottleneck[32];
	uint64_t commit_p50_us, commit_p99_us; /* lately; 0: there was none */
};

/* The youngest ring that has the batch. False: there is none that we may read. */
bool pen_live_find(uint64_t store_id, uint64_t batch, struct pen_live *ret);
/* Puts the gauge's counters into the batch's. */
void pen_live_merge(const struct pen_live *live, struct pen_batch_info *info);
/* The member "ring" of a batch's object; live NULL: null. */
void pen_live_put(struct pen_jw *jw, const struct pen_live *live);
/* The same as lines for people. */
void pen_live_show(struct pen_out *out, const struct pen_live *live);
const char *pen_live_life(enum pen_ring_life life);

/* Calls found for each ring whose writer died; returns how many there are. */
typedef void pen_live_found(void *arg, const char *path, uint32_t pid);
uint32_t pen_live_stale(uint64_t store_id, pen_live_found *found, void *arg);

/* Something to wait on: the first ring with a live writer. False: none. The caller closes it. */
bool pen_live_ring(uint64_t store_id, struct pen_ring *ret);

#endif
