/* SPDX-License-Identifier: MIT */
/*
 * gauge - one set of numbers, written by one thread, read whole by any
 *
 * Write number s fills copy s & 1, then stores seq = s. A reader loads seq = s, reads copy s & 1, loads seq
 * again and accepts if it still is s. Two things can spoil what it read, and each is ruled out by one pair:
 *
 *   too old   it reads a word from before write s. Ruled out by gauge.flip: seq = s was stored after all
 *             words of write s, and was acquired.
 *   too new   it reads a word of write s + 2, the next one into the same copy. That word was stored with
 *             release, after seq = s + 1; it was loaded with acquire, before the second load of seq. So that
 *             load returns s + 1 or more, and the reader does not accept. This is gauge.reuse.
 *
 * Writes s + 1, s + 3, ... go into the other copy and spoil nothing. A writer that stops inside write s + 1
 * leaves seq = s and copy s & 1 as they were, so readers keep reading write s.
 *
 * The usual way is one fence before the words and one after. The race checker does not model fences; an order
 * on every word says the same, is checked, and on x86-64 costs nothing, since each load and store there has
 * it anyway. On arm64 it costs 32 stlr a write, a few per second per batch.
 */
#include "ring/gauge.h"

#include <string.h>

#include "ring/assert.h"

#define TRIES 8

/* Race tests break the protocol one step at a time and expect to be told. */
#ifdef PEN_PLANT_GAUGE_FLIP
#define COPY_TO_FILL(seq) ((seq)&1)
#else
#define COPY_TO_FILL(seq) (((seq) + 1) & 1)
#endif
#ifdef PEN_PLANT_GAUGE_RECHECK
#define STILL(now, seq) ((void)(now), (void)(seq), true)
#else
#define STILL(now, seq) ((now) == (seq))
#endif
#ifdef PEN_PLANT_GAUGE_ORDER
#define ORDER_STORE memory_order_relaxed
#else
#define ORDER_STORE memory_order_release
#endif

void pen_gauge_init(struct pen_gauge *gauge)
{
	/* Init excludes every other call; whatever hands the gauge to others publishes it. */
	atomic_init(&gauge->seq, 0);
	for (uint32_t copy = 0; copy < 2; copy++)
		for (uint32_t i = 0; i < PEN_GAUGE_WORDS; i++)
			atomic_init(&gauge->words[copy][i], 0);
}

void pen_gauge_write(struct pen_gauge *gauge, const uint64_t *words, uint32_t n)
{
	/* Relaxed: only this thread writes seq. */
	uint64_t seq = atomic_load_explicit(&gauge->seq, memory_order_relaxed);
	_Atomic uint64_t *copy = gauge->words[COPY_TO_FILL(seq)];

	pen_assert(n <= PEN_GAUGE_WORDS);
	for (uint32_t i = 0; i < PEN_GAUGE_WORDS; i++) {
		/*
		 * PAIR(gauge.reuse): the flip away from this copy comes before its words change, so that who
		 * reads a changed word also sees that flip. Without it a reader accepts a set mixed from two
		 * writes.
		 */
		atomic_store_explicit(&copy[i], i < n ? words[i] : 0, ORDER_STORE);
	}
	/*
	 * PAIR(gauge.flip): the words come before the number that makes them good. Without it a reader
	 * accepts words that were not written yet.
	 */
	atomic_store_explicit(&gauge->seq, seq + 1, ORDER_STORE);
}

bool pen_gauge_read(const struct pen_gauge *gauge, uint64_t *words, uint32_t n)
{
	uint64_t got[PEN_GAUGE_WORDS];

	pen_assert(n <= PEN_GAUGE_WORDS);
	for (int try = 0; try < TRIES; try++) {
		/*
		 * PAIR(gauge.flip): who sees the number sees the words. Without it they may be the previous
		 * ones.
		 */
		uint64_t seq = atomic_load_explicit(&gauge->seq, memory_order_acquire);
		const _Atomic uint64_t *copy = gauge->words[seq & 1];

		for (uint32_t i = 0; i < n; i++) {
			/*
			 * PAIR(gauge.reuse): who sees a word of the write after next sees, in the load below,
			 * that a flip came between; and that load stays below. Without it the set may be a
			 * mix.
			 */
			got[i] = atomic_load_explicit(&copy[i], memory_order_acquire);
		}
		/* Relaxed: the acquires above keep it in its place, and nothing is read on its account. */
		if (STILL(atomic_load_explicit(&gauge->seq, memory_order_relaxed), seq)) {
			if (n)
				memcpy(words, got, n * sizeof(*words));
			return true;
		}
	}
	return false;
}
