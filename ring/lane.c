/* SPDX-License-Identifier: MIT */
/*
 * lane - bounded ring between two threads
 *
 * The happy path
 *   push   looks at its own tail and its last look at head; if that leaves room for all, nothing of the
 *          consumer's is touched; copies the words; publishes them with one store of tail.
 *   pop    the mirror image: copies the words out, then gives the slots back with one store of head.
 *   close  after the last push; the consumer drains what was published before it.
 *
 * What can go wrong: full and empty are answers. A thread paused between copying and publishing has changed
 * nothing that the other side may see.
 *
 * Why this way: each side writes one line pair and reads the other's only when its own last look no longer
 * suffices, so that at steady flow the lines move once per batch. A ring shared by several producers makes
 * the first of them that is paused hold up all others; several lanes do not (fanin.h).
 */
#include "ring/lane.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ring/assert.h"

/* Race tests build this file once per ordering with that ordering broken and expect to be told. */
#ifdef PEN_PLANT_LANE_PUBLISH
#define ORDER_PUBLISH memory_order_relaxed
#else
#define ORDER_PUBLISH memory_order_release
#endif
#ifdef PEN_PLANT_LANE_SEE
#define ORDER_SEE memory_order_relaxed
#else
#define ORDER_SEE memory_order_acquire
#endif
#ifdef PEN_PLANT_LANE_RECYCLE
#define ORDER_RECYCLE memory_order_relaxed
#else
#define ORDER_RECYCLE memory_order_release
#endif
#ifdef PEN_PLANT_LANE_CLOSE
#define ORDER_CLOSE memory_order_relaxed
#else
#define ORDER_CLOSE memory_order_release
#endif

int pen_lane_init(struct pen_lane *lane, uint32_t capacity, uint32_t start)
{
	uint64_t *slots;

	pen_assert(pen_is_pow2(capacity));
	pen_assert(capacity >= 2);
	pen_assert(capacity <= 1u << 30);
	slots = aligned_alloc(PEN_LINE_PAIR, pen_round_up((size_t)capacity * sizeof(*slots), PEN_LINE_PAIR));
	if (!slots)
		return -ENOMEM;
	lane->slots = slots;
	lane->mask = capacity - 1;
	lane->head_seen = start;
	lane->tail_seen = start;
	/* Relaxed: init excludes every other call, and whatever starts the threads publishes it. */
	atomic_init(&lane->tail, start);
	atomic_init(&lane->head, start);
	atomic_init(&lane->closed, false);
	return 0;
}

void pen_lane_fini(struct pen_lane *lane)
{
	free(lane->slots);
	lane->slots = NULL;
}

uint32_t pen_lane_push(struct pen_lane *lane, const uint64_t *words, uint32_t n)
{
	/* Relaxed: only this thread writes tail. */
	uint32_t tail = atomic_load_explicit(&lane->tail, memory_order_relaxed);
	uint32_t capacity = lane->mask + 1;
	uint32_t room = capacity - (tail - lane->head_seen);

	if (room < n) {
		/*
		 * PAIR(lane.recycle): the consumer has read the slots below head, so they may be filled
		 * again. Without it the producer overwrites a word before the consumer took it.
		 */
		lane->head_seen = atomic_load_explicit(&lane->head, memory_order_acquire);
		room = capacity - (tail - lane->head_seen);
		pen_assert_slow(room <= capacity);
		if (room < n)
			n = room;
	}
	if (!n)
		return 0;
	pen_assert_slow(!atomic_load_explicit(&lane->closed, memory_order_relaxed)); /* our own store */
	for (uint32_t i = 0; i < n; i++)
		lane->slots[(tail + i) & lane->mask] = words[i];
	/*
	 * PAIR(lane.publish): the slots are filled before tail moves past them. Without it the consumer takes
	 * what the slot held one round earlier.
	 */
	atomic_store_explicit(&lane->tail, tail + n, ORDER_PUBLISH);
	return n;
}

uint32_t pen_lane_pop(struct pen_lane *lane, uint64_t *words, uint32_t n)
{
	/* Relaxed: only this thread writes head. */
	uint32_t head = atomic_load_explicit(&lane->head, memory_order_relaxed);
	uint32_t ready = lane->tail_seen - head;

	if (ready < n) {
		/*
		 * PAIR(lane.publish): who sees tail sees the slots below it, and what the producer wrote
		 * before the push. Without it a word is taken that was not stored yet.
		 */
		lane->tail_seen = atomic_load_explicit(&lane->tail, ORDER_SEE);
		ready = lane->tail_seen - head;
		pen_assert_slow(ready <= lane->mask + 1);
		if (ready < n)
			n = ready;
	}
	if (!n)
		return 0;
	for (uint32_t i = 0; i < n; i++)
		words[i] = lane->slots[(head + i) & lane->mask];
	/*
	 * PAIR(lane.recycle): the slots are read before head moves past them. It orders loads before a store:
	 * a store fence would not do. Without it the producer may refill a slot that is still being read.
	 */
	atomic_store_explicit(&lane->head, head + n, ORDER_RECYCLE);
	return n;
}

void pen_lane_close(struct pen_lane *lane)
{
	/*
	 * PAIR(lane.close): every push, and whatever the producer did before closing, comes before closed.
	 * Without it the consumer drops the lane with words still in it.
	 */
	atomic_store_explicit(&lane->closed, true, ORDER_CLOSE);
}

bool pen_lane_ended(struct pen_lane *lane)
{
	/*
	 * PAIR(lane.close): who sees closed sees the last tail, so the comparison below is final. Looking at
	 * tail first and at closed second would miss a push in between.
	 */
	if (!atomic_load_explicit(&lane->closed, memory_order_acquire))
		return false;
	/* Relaxed: tail does not move any more; head is ours. */
	return atomic_load_explicit(&lane->tail, memory_order_relaxed) ==
	       atomic_load_explicit(&lane->head, memory_order_relaxed);
}

uint32_t pen_lane_len(const struct pen_lane *lane)
{
	/*
	 * PAIR(lane.recycle): the consumer stored this head after it saw a tail at or above it, so the tail
	 * read next is not below it. Without it the difference could wrap around.
	 */
	uint32_t head = atomic_load_explicit(&lane->head, memory_order_acquire);
	/* Relaxed: a number only; no slot is read on its account. */
	uint32_t len = atomic_load_explicit(&lane->tail, memory_order_relaxed) - head;

	/* Both sides may have moved on between the two loads. */
	return (uint32_t)pen_min(len, (uint64_t)lane->mask + 1);
}
