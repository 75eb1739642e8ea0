/* SPDX-License-Identifier: MIT */
/*
 * cast_private - what cast.c and cast_open.c share, and tests look into
 *
 * Pointers lead into the map, which is only ever written: every number that is needed again is kept here.
 */
#ifndef PEN_RING_CAST_PRIVATE_H
#define PEN_RING_CAST_PRIVATE_H

#include "ring/cast.h"

/* Where tests stop, kill or look; nothing in a build of ours. */
#ifndef PEN_CAST_POINT
#define PEN_CAST_POINT(name) ((void)0)
#endif

struct pen_cast_slot {
	uint64_t seq; /* as in the gauge */
	uint64_t batch_id;
	uint32_t next; /* free or resting: the one after it in its list, PEN_RING_NONE at the end */
	bool active;
};

struct pen_cast {
	/* the map */
	struct pen_ring_hot *hot;
	uint8_t *events, *gauges, *names, *blocks;
	uint8_t *map;
	size_t len;

	/* the stream */
	uint64_t tail, mask;
	bool crc;

	/* gauge slots: a list of free ones, and a queue of those that are put, the oldest first */
	struct pen_cast_slot *slots;
	uint32_t slot_count, free_first, rest_first, rest_last;

	/* waking */
	const struct pen_clock *clock;
	uint64_t (*cpu_ns)(void); /* of this thread: what a wake costs */
	uint64_t wake_period_ns;
	uint64_t wake_next_ns;	  /* for ordinary events */
	uint64_t wake_allowed_ns; /* for any: before it, wakes would cost more than their share */
	uint32_t wake_seq;
	bool owed;
	struct pen_cast_wakes wakes;

	/* the heartbeat */
	uint64_t hb_period_ns, hb_next_ns, hb_count;

	/* the file */
	uint32_t threads;
	int dir;
	uint64_t ino;
	char name[128];
};

/* Raises the futex word and wakes all who sleep on it. */
void pen_cast_wake_now(struct pen_cast *cast);

static inline void pen_cast_store(void *at, uint64_t value)
{
	/* Relaxed: a word that is read by itself. */
	__atomic_store_n((pen_ring_word *)at, value, __ATOMIC_RELAXED);
}

#endif
