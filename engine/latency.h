/* SPDX-License-Identifier: MIT */
/*
 * latency - how long something took lately: quantiles over the last 10 to 20 seconds
 *
 * A log-linear histogram: sixteen parts to each power of two, so that an answer is never below the true one and at most
 * a sixteenth above it. Two of them, of ten seconds each: one is filled while the one before it still counts.
 *
 *   Threads    one.
 *   Memory     the struct, 3 KiB; nothing grows, whatever is added.
 *   Limits     whole microseconds; what takes longer than PEN_LATENCY_MAX_US (134 s) is counted as that.
 */
#ifndef PEN_ENGINE_LATENCY_H
#define PEN_ENGINE_LATENCY_H

#include <stdint.h>

#define PEN_LATENCY_SPAN_NS 10000000000ull
#define PEN_LATENCY_MAX_US ((1u << 27) - 1)
#define PEN_LATENCY_PARTS 384u /* 16 + 16 for each of the powers 4 .. 26 */

/* All zeros: nothing was added yet. */
struct pen_latency {
	uint64_t began_ns; /* the span that is being filled */
	uint32_t counts[2][PEN_LATENCY_PARTS], sums[2];
	uint32_t filled; /* which of the two */
};

void pen_latency_add(struct pen_latency *latency, uint64_t now_ns, uint64_t took_ns);
/* Microseconds that `permille` of 1000 took at most; 0: nothing was added in the last spans. */
uint64_t pen_latency_us(struct pen_latency *latency, uint64_t now_ns, uint32_t permille);

#endif
