/* SPDX-License-Identifier: MIT */
#include "engine/pace.h"

#include "ring/base.h"

#define WINDOW_NS (PEN_PACE_SAMPLES * PEN_PACE_STEP_NS)
#define LEAST_NS 50000000ull /* below that a quotient says more about the first commit than about the pace */

static struct pen_pace_sample *sample(struct pen_pace *pace, uint32_t i)
{
	return &pace->samples[(pace->first + i) % PEN_PACE_SAMPLES];
}

void pen_pace_begin(struct pen_pace *pace, uint64_t now_ns, uint64_t items, uint64_t bytes)
{
	*pace = (struct pen_pace){ .last = { now_ns, items, bytes }, .count = 1 };
	pace->samples[0] = pace->last;
}

void pen_pace_add(struct pen_pace *pace, uint64_t now_ns, uint64_t items, uint64_t bytes)
{
	/* One sample always stays, however old, so that a slow batch has a pace too. */
	while (pace->count > 1 && now_ns - sample(pace, 1)->ns > WINDOW_NS) {
		pace->first = (pace->first + 1) % PEN_PACE_SAMPLES;
		pace->count--;
	}
	pace->last = (struct pen_pace_sample){ now_ns, items, bytes };
	if (now_ns - sample(pace, pace->count - 1)->ns < PEN_PACE_STEP_NS)
		return;
	if (pace->count == PEN_PACE_SAMPLES) {
		pace->first = (pace->first + 1) % PEN_PACE_SAMPLES;
		pace->count--;
	}
	*sample(pace, pace->count++) = pace->last;
}

/* Numbers of a second, times 1000. Doubles: the product of bytes and nanoseconds does not fit 64 bits. */
static double a_second(uint64_t from, uint64_t to, uint64_t ns)
{
	return to > from && ns >= LEAST_NS ? (double)(to - from) * 1e9 / (double)ns : 0;
}

uint64_t pen_pace_rate_milli(const struct pen_pace *pace)
{
	const struct pen_pace_sample *from = &pace->samples[pace->first];

	return (uint64_t)(a_second(from->items, pace->last.items, pace->last.ns - from->ns) * 1000);
}

uint64_t pen_pace_left_ms(const struct pen_pace *pace, uint64_t items_total, uint64_t bytes_total)
{
	const struct pen_pace_sample *from = &pace->samples[pace->first], *last = &pace->last;
	uint64_t ns = last->ns - from->ns, total, done;
	double rate, ms;

	if (bytes_total) {
		total = bytes_total;
		done = last->bytes;
		rate = a_second(from->bytes, last->bytes, ns);
	} else {
		total = items_total;
		done = last->items;
		rate = a_second(from->items, last->items, ns);
	}
	if (!total || rate <= 0)
		return PEN_PACE_UNKNOWN;
	ms = done < total ? (double)(total - done) * 1000 / rate : 0;
	return ms < 1e15 ? (uint64_t)ms : PEN_PACE_UNKNOWN;
}
