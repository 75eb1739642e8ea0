/* SPDX-License-Identifier: MIT */
/*
 * lane - bounded ring between two threads
 *
 * Hands 64-bit words (pointers, tags) from one producer to one consumer, in order, many at a time.
 *
 *   Progress   push and pop are wait-free: no retry loop, no sleep, no allocation. If one side is
 *              paused anywhere inside its call, the other side loses nothing but what was not yet
 *              published.
 *   Threads    push, close: the producer. pop, closed: the consumer. len: anyone, approximate.
 *   Memory     the lane owns its slots (init allocates, fini frees), never what the words name.
 *   Limits     capacity is a power of two, 2 .. 2^30, fixed at init. Indices run freely modulo 2^32
 *              and are compared by unsigned difference only.
 *   Full and empty are answers, not errors: push and pop return how many words moved.
 *
 * Overlap (X = caller keeps them apart, - = may run together):
 *
 *            push pop len fini
 *     push    X    -   -   X
 *     pop     -    X   -   X
 *     len     -    -   -   X
 *
 * Orderings: lane.publish, lane.recycle, lane.close (docs/CONCURRENCY.md).
 */
#ifndef PEN_RING_LANE_H
#define PEN_RING_LANE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "ring/base.h"

struct pen_lane {
	/* Written by the producer. */
	_Alignas(PEN_LINE_PAIR) _Atomic uint32_t tail; /* next slot to fill; read by the consumer */
	_Atomic bool closed;			       /* no push follows; read by the consumer */
	uint32_t head_seen;			       /* producer's last look at head; private */

	/* Written by the consumer. */
	_Alignas(PEN_LINE_PAIR) _Atomic uint32_t head; /* next slot to take; read by the producer */
	uint32_t tail_seen;			       /* consumer's last look at tail; private */

	/* Constant after init. */
	_Alignas(PEN_LINE_PAIR) uint32_t mask;
	uint64_t *slots;
};

/* 0, or -ENOMEM. start is the first index (tests put it just below overflow; everyone else: 0). */
int pen_lane_init(struct pen_lane *lane, uint32_t capacity, uint32_t start);
void pen_lane_fini(struct pen_lane *lane);

/* Moves up to n words into the lane; returns how many went in (0 when full). Producer thread. */
uint32_t pen_lane_push(struct pen_lane *lane, const uint64_t *words, uint32_t n);
/* Moves up to n words out; returns how many came out (0 when empty). Consumer thread. */
uint32_t pen_lane_pop(struct pen_lane *lane, uint64_t *words, uint32_t n);
/* Nothing will be pushed any more. Producer thread. */
void pen_lane_close(struct pen_lane *lane);
/* True once closed and drained: no word will ever come again. Consumer thread. */
bool pen_lane_ended(struct pen_lane *lane);
/* About how many words wait: exact while both sides rest, never above the capacity. Anyone. */
uint32_t pen_lane_len(const struct pen_lane *lane);

#endif
