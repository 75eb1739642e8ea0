/* SPDX-License-Identifier: MIT */
/*
 * meter - what one thread has done, and how long it could not
 *
 * Each thread of an engine keeps one, adds to it once per chunk or wait, and the committer carries the sums to
 * the progress ring. A thread is stalled while a batch is under way and the thread waits for another one:
 * the reader for a free tag, a processor for a chunk, the committer for chunks, for the write lock or for
 * space. Waiting for its own disk is a thread's work. The stage that stalls least is the bottleneck.
 *
 *   Progress   wait-free: plain loads and stores.
 *   Threads    enter, leave, add: the owner. read: anyone; every word is whole, and no order between words is
 *              promised.
 */
#ifndef PEN_ENGINE_METER_H
#define PEN_ENGINE_METER_H

#include <stdatomic.h>
#include <stdint.h>

#include "ring/base.h"

struct pen_meter {
	/* Written by the owner, read by the committer. */
	_Alignas(PEN_LINE_PAIR) _Atomic uint64_t items, bytes, chunks; /* passed on */
	_Atomic uint64_t busy_ns, some_ns, full_ns; /* full: nothing else of its stage went on either */
	_Atomic uint64_t some_since, full_since;    /* when the stall in progress began; 0: there is none */
};

/* Relaxed everywhere: the sums are shown, nothing is decided or read by them. */
static inline uint64_t pen_meter_read(const _Atomic uint64_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

static inline void pen_meter_add(_Atomic uint64_t *word, uint64_t n)
{
	atomic_store_explicit(word, pen_meter_read(word) + n, memory_order_relaxed);
}

static inline void pen_meter_pass(struct pen_meter *meter, uint64_t items, uint64_t bytes)
{
	pen_meter_add(&meter->items, items);
	pen_meter_add(&meter->bytes, bytes);
	pen_meter_add(&meter->chunks, 1);
}

static inline void pen_meter_enter(struct pen_meter *meter, uint64_t now, bool full)
{
	atomic_store_explicit(&meter->some_since, now, memory_order_relaxed);
	atomic_store_explicit(&meter->full_since, full ? now : 0, memory_order_relaxed);
}

static inline void pen_meter_leave_one(_Atomic uint64_t *since, _Atomic uint64_t *sum, uint64_t now)
{
	uint64_t began = pen_meter_read(since);

	if (!began)
		return;
	/* A reader between the two misses the stall for a moment; the sum must not count it twice. */
	atomic_store_explicit(since, 0, memory_order_relaxed);
	pen_meter_add(sum, now - began);
}

static inline void pen_meter_leave(struct pen_meter *meter, uint64_t now)
{
	pen_meter_leave_one(&meter->some_since, &meter->some_ns, now);
	pen_meter_leave_one(&meter->full_since, &meter->full_ns, now);
}

/* A sum with what the stall in progress adds to it. */
static inline uint64_t pen_meter_stall(const _Atomic uint64_t *sum, const _Atomic uint64_t *since,
				       uint64_t now)
{
	uint64_t began = pen_meter_read(since);

	return pen_meter_read(sum) + (began && now > began ? now - began : 0);
}

#endif
