/* SPDX-License-Identifier: MIT */
/*
 * tell_private - what tell.c (rings), tell_batch.c (batches) and emit.c (programs) share
 */
#ifndef PEN_ENGINE_TELL_PRIVATE_H
#define PEN_ENGINE_TELL_PRIVATE_H

#include "engine/latency.h"
#include "engine/pace.h"
#include "engine/tell.h"
#include "ring/cast.h"
#include "ring/post.h"

#define PEN_TELL_SHOW_NS (500 * PEN_NS_PER_MS) /* numbers that stand still are shown again, with their pace */

struct pen_tell_ring {
	struct pen_cast *cast; /* NULL: the place is free */
	char owner[256];
	char safe[65];	  /* the owner in the file's name */
	uint32_t batches; /* that are shown in it now */
	uint64_t last_batch;
	uint64_t used_ns;
};

/* A batch as it was shown last. */
struct pen_told {
	struct pen_tell_ring *ring; /* NULL: it is not shown */
	uint32_t slot;
	bool owed;	     /* progress was held back */
	bool done_wanted;    /* a program says it is done with `done` items, and not all count yet */
	uint64_t told_ns;    /* of the last PROGRESS */
	uint64_t shown_ns;   /* of the last gauge */
	uint64_t stalled_ns; /* since when it rests; 0: it does not */
	uint64_t done;
	uint64_t skipped, duplicates; /* told as events */
	struct pen_ring_gauge gauge;
	struct pen_pace pace;
};

struct pen_tell {
	struct pen_engine *engine;
	int dir; /* RUNDIR/STORE, -1: none */
	char path[4096];
	int slot_fd;
	uint32_t slot;
	uint64_t epoch;
	bool refused; /* it was said that something is not shown */
	bool draining, failed;
	struct pen_tell_ring rings[PEN_TELL_RINGS];
	struct pen_told told[PEN_BATCHES_MAX]; /* by the batch's index */
	uint64_t commit_lsn, durable_lsn, coalesced;
	uint64_t counted_ns; /* of the last counters */
	uint64_t shown[6];   /* stall totals as shown: they never fall */
	uint64_t past[2][6]; /* the same 5 to 10, and up to 5 seconds ago */
	uint64_t past_ns;
	struct pen_latency commits;

	struct pen_cast_counter *counters;
	uint32_t counter_count;
	uint64_t (*cpu_ns)(void); /* of this thread */
	uint64_t publish_ns;	  /* of it, spent in here */

	/* From programs, any thread. */
	struct pen_post post;
	_Atomic uint64_t refusals; /* notes that found the post full */
	_Atomic bool rung;	   /* the committer was woken for a note since it last looked */
	uint64_t collected_ns;
	uint64_t refusals_told;
};

/*
 * What publishing costs the committer, by its own CPU clock: around calls that publish, and not around those that
 * only look whether there is anything to do.
 */
static inline uint64_t pen_tell_work(const struct pen_tell *tell)
{
	return tell->cpu_ns();
}

static inline void pen_tell_worked(struct pen_tell *tell, uint64_t from)
{
	tell->publish_ns += tell->cpu_ns() - from;
}

/* tell.c */
/* The ring of an owner, opened if need be. NULL: it cannot be had, or there are too many. */
struct pen_tell_ring *pen_tell_ring_of(struct pen_tell *tell, const char *owner);
/* An event that is about no batch, in every ring. */
void pen_tell_everyone(struct pen_tell *tell, uint16_t type, uint64_t a, uint32_t code);
void pen_tell_hot(struct pen_tell *tell, struct pen_tell_ring *ring);
/* Where the work piles up: the stage that waits least for others, PEN_RING_READ .. */
uint32_t pen_tell_bottleneck(const struct pen_tell *tell);

/* tell_batch.c */
/* Shows batches whose numbers are old, and progress that was held back and may be told now. */
void pen_tell_refresh(struct pen_tell *tell, uint64_t now);
/* Publishes the gauge, then the events. */
void pen_tell_publish(struct pen_tell *tell, struct pen_told *told, struct pen_ring_event *events,
		      uint32_t n);
void pen_tell_leave_all(struct pen_tell *tell, int code);
struct pen_told *pen_tell_find(struct pen_tell *tell, uint64_t batch);

/* emit.c */
void pen_tell_collect(struct pen_tell *tell, uint64_t now);

#endif
