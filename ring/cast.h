/* SPDX-License-Identifier: MIT */
/*
 * cast - writes a progress ring: a shared file that any process may map and none can disturb
 *
 * include/penstock_progress.h is the readers' side and has the bytes; docs/RING.md explains them. Events go
 * into a ring that is overwritten when it is full, gauges hold each batch's numbers, counters what threads
 * add up. Say what is so in a gauge first and then tell it as an event: a reader that missed events reads the
 * gauges.
 *
 *	pen_cast_gauge(cast, slot, &gauge, n);      numbers that contain the next n events
 *	pen_cast_events(cast, events, n);
 *	...
 *	pen_cast_beat(cast);                        at least every hb_period_ms, by the publishing thread itself
 *	pen_cast_idle(cast);                        before it sleeps, and sleep at most pen_cast_owes(cast)
 *
 *   Progress   everything but open, close and the wakes inside is wait-free and reads nothing that a reader can
 *              write: what it needs it has privately. A wake is one system call that blocks on nobody; at most
 *              one a millisecond, and never more than 2 % of one CPU's time.
 *   Threads    open, close and all verbs: one thread at a time, the publisher. A thread's counter block: that
 *              thread alone.
 *   Memory     the file, 2 MiB by default, all of it present from the start; 8 bytes a gauge slot beside it.
 *   Limits     one ring a file; files only on tmpfs or ramfs, so that a store into the map never waits for a
 *              disk; 16 MiB of events, 65,536 gauges, 1,024 threads, 32 counters each.
 *   Errors     open and place alone fail, with -errno in why; a run goes on without a ring then.
 *
 * Overlap (X = caller keeps them apart, - = may run together):
 *
 *              verbs  block store
 *     verbs      X         -
 *     block      -         X (same block)
 *
 * Orderings: cast.publish, cast.reuse, cast.claim, cast.flip, cast.refill, cast.names, cast.wake, cast.magic
 * (docs/CONCURRENCY.md).
 */
#ifndef PEN_RING_CAST_H
#define PEN_RING_CAST_H

#include <stdbool.h>
#include <stdint.h>

#include "include/penstock.h"
#include "include/penstock_progress.h"
#include "ring/clock.h"

struct pen_cast;

/* A counter: word `word` (0 .. 31) of thread `thread`'s block. */
struct pen_cast_counter {
	uint32_t id; /* PEN_RING_ID(stage, what) or of one's own */
	uint8_t kind, unit;
	uint16_t thread;
	uint32_t word;
	const char *name; /* shorter than 48 bytes */
};

struct pen_cast_options {
	int dir;	      /* the directory, as pen_cast_place opens it; kept by the caller */
	const char *name;     /* file name in it: OWNER.SLOT.ring */
	uint32_t event_slots; /* a power of two, 8 .. 262144; 0: 16384 */
	uint32_t gauge_slots; /* 1 .. 65536; 0: 1024 */
	uint32_t threads;     /* counter blocks, 0 .. 1024 */
	uint32_t counter_count;
	const struct pen_cast_counter *counters;
	const char *stages[PEN_RING_STAGES]; /* shorter than 32 bytes; NULL: none */
	uint64_t epoch;			     /* this start's number, larger than the last one's */
	uint32_t mode;			     /* 0600 or 0640; 0: 0600 */
	uint32_t owner_uid;		     /* whose work it is. If not us: may read, by ACL */
	uint32_t hb_period_ms;		     /* 0: 250 */
	uint32_t wake_period_us;	     /* 0: 1000, which is also the least */
	bool crc;   /* each event carries one: for readers that cannot order their loads. ~50 ns an event */
	bool uring; /* said in the header: reads go through io_uring */
	const struct pen_clock *clock; /* NULL: the real one */
	uint64_t first_index;	       /* of the first event; other than 0 only in tests of the wrap */
};

/*
 * Opens RUNDIR/STORE for rings, made if needed: the first that works of $PENSTOCK_RUN (if set, only that),
 * /run/penstock, $XDG_RUNTIME_DIR/penstock, /dev/shm/penstock-UID. Returns a descriptor or a negative code;
 * ret_path gets the path.
 */
int pen_cast_place(uint64_t store_id, char *ret_path, size_t cap, struct pen_failure *why);
/*
 * 0 if rings may be made in the directory: its owner is us or root, nobody else can rename in it, and it is
 * in memory.
 */
int pen_cast_place_check(int dir, struct pen_failure *why);
/*
 * Removes rings of ours whose writers died more than a day ago, in all stores' directories beside store_dir, and the
 * directories that become empty. Returns how many; at most 1,024 files in 256 directories are looked at.
 */
uint32_t pen_cast_clear(int store_dir, const struct pen_clock *clock);
/*
 * The part of a file name that stands for an owner: letters, digits, - _ . kept, others as %XX, no dot first;
 * one that gets longer than 64 bytes is cut, and ends in ~ and eight digits of its checksum.
 */
void pen_cast_owner(const char *owner, char ret[65]);

/* A new file, complete before it gets its name; a file that had the name is told that it is superseded. */
int pen_cast_open(struct pen_cast **ret, const struct pen_cast_options *opt, struct pen_failure *why);
/*
 * PEN_RING_CLOSED or PEN_RING_FAILED with a positive code; wakes everyone. keep: the file stays, for readers to
 * come. NULL is allowed.
 */
void pen_cast_close(struct pen_cast *cast, uint32_t state, uint32_t reason, bool keep);

/*
 * A gauge slot for a batch (its id is not 0), with its names (NULL: none; batch_id is filled in). A slot that
 * was never used, else the one put longest ago: at least 60 s ago, unless more batches than slots end in a
 * minute. PEN_RING_NONE: all are in use. Shows nothing before the first pen_cast_gauge.
 */
uint32_t pen_cast_get(struct pen_cast *cast, uint64_t batch_id, const struct pen_ring_names *names);
/* The batch is over and its last numbers are written; they stay readable until the slot is needed. */
void pen_cast_put(struct pen_cast *cast, uint32_t slot);
/* Replaces the numbers of a batch. as_of is filled in: they contain the next `ahead` events. */
void pen_cast_gauge(struct pen_cast *cast, uint32_t slot, const struct pen_ring_gauge *gauge, uint32_t ahead);
/* Replaces the names of a slot's batch: a live counter has got a name. */
void pen_cast_names(struct pen_cast *cast, uint32_t slot, const struct pen_ring_names *names);
/*
 * Publishes n events, n of any size. The caller fills all but seq, rec_ver and crc; ts_ns 0 is now. Wakes
 * readers if the last wake was long enough ago; otherwise one is owed.
 */
void pen_cast_events(struct pen_cast *cast, const struct pen_ring_event *events, uint32_t n);

/* The heartbeat; cheap enough to call at every turn. */
void pen_cast_beat(struct pen_cast *cast);
/* RUNNING, DRAINING; the ring is RUNNING after open. */
void pen_cast_state(struct pen_cast *cast, uint32_t state, uint32_t reason);
/*
 * The hot words of the work: last_batch_id .. queued_batches and coalesced_total are taken, the rest is
 * ignored.
 */
void pen_cast_hot(struct pen_cast *cast, const struct pen_ring_hot *hot);
/* The 32 words of a thread's counters. */
uint64_t *pen_cast_block(struct pen_cast *cast, uint32_t thread);
/* That thread's new value of a counter. */
static inline void pen_cast_count(uint64_t *block, uint32_t word, uint64_t value)
{
	/* Relaxed: readers take each counter by itself. */
	__atomic_store_n(&block[word], value, __ATOMIC_RELAXED);
}

/* Gives the owed wake if it may be given now. */
void pen_cast_idle(struct pen_cast *cast);
/* Nanoseconds until the owed wake may be given; 0: now; UINT64_MAX: none is owed. */
uint64_t pen_cast_owes(const struct pen_cast *cast);

struct pen_cast_wakes {
	uint64_t wakes, woken; /* system calls; readers that slept */
	uint64_t spent_ns;     /* in them */
	uint64_t widened;      /* wakes that were put off because the one before had cost so much */
	uint64_t period_ns;    /* the distance that the last wake asks for */
};
void pen_cast_wakes(const struct pen_cast *cast, struct pen_cast_wakes *ret);

#endif
