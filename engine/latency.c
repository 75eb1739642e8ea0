/* SPDX-License-Identifier: MIT */
#include "engine/latency.h"

#include <string.h>

#include "ring/base.h"

#define LINEAR 16u /* parts of a power of two; below it, each number has its own */
#define LINEAR_BITS 4u

static uint32_t part_of(uint32_t us)
{
	uint32_t power;

	if (us < LINEAR)
		return us;
	power = 31u - (uint32_t)__builtin_clz(us);
	return (power - LINEAR_BITS) * LINEAR + (us >> (power - LINEAR_BITS));
}

/* The largest number in it. */
static uint64_t end_of(uint32_t part)
{
	uint32_t shift = part < LINEAR ? 0 : part / LINEAR - 1;

	return ((uint64_t)(part - shift * LINEAR + 1) << shift) - 1;
}

static void clear(struct pen_latency *l, uint32_t which)
{
	memset(l->counts[which], 0, sizeof l->counts[which]);
	l->sums[which] = 0;
}

static void turn(struct pen_latency *l, uint64_t now_ns)
{
	uint64_t spans = now_ns > l->began_ns ? (now_ns - l->began_ns) / PEN_LATENCY_SPAN_NS : 0;

	if (!spans)
		return;
	l->filled ^= 1;
	clear(l, l->filled);
	if (spans > 1)
		clear(l, l->filled ^ 1);
	l->began_ns += spans * PEN_LATENCY_SPAN_NS;
}

void pen_latency_add(struct pen_latency *latency, uint64_t now_ns, uint64_t took_ns)
{
	uint64_t us = pen_min(took_ns / 1000, PEN_LATENCY_MAX_US);

	turn(latency, now_ns);
	if (latency->sums[latency->filled] == UINT32_MAX)
		return; /* more than 400 million a second do not happen; a sum must not wrap if they do */
	latency->counts[latency->filled][part_of((uint32_t)us)]++;
	latency->sums[latency->filled]++;
}

uint64_t pen_latency_us(struct pen_latency *latency, uint64_t now_ns, uint32_t permille)
{
	uint64_t sum, wanted, passed = 0;

	turn(latency, now_ns);
	sum = (uint64_t)latency->sums[0] + latency->sums[1];
	if (!sum)
		return 0;
	wanted = pen_max((sum * permille + 999) / 1000, 1);
	for (uint32_t i = 0; i < PEN_LATENCY_PARTS; i++) {
		passed += (uint64_t)latency->counts[0][i] + latency->counts[1][i];
		if (passed >= wanted)
			return end_of(i);
	}
	return PEN_LATENCY_MAX_US;
}
