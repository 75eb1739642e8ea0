/* SPDX-License-Identifier: MIT */
/*
 * pace - how fast a batch goes now, and how long the rest takes at that pace
 *
 * Samples of what is committed, four a second at most, over the last ten seconds. A batch that stands still has a
 * pace that falls to 0; before there is anything to go by, nothing is claimed.
 *
 *   Threads    one.
 *   Memory     the struct.
 */
#ifndef PEN_ENGINE_PACE_H
#define PEN_ENGINE_PACE_H

#include <stdint.h>

#define PEN_PACE_SAMPLES 40u
#define PEN_PACE_STEP_NS 250000000ull
#define PEN_PACE_UNKNOWN UINT64_MAX

struct pen_pace {
	struct pen_pace_sample {
		uint64_t ns, items, bytes;
	} samples[PEN_PACE_SAMPLES], last;
	uint32_t first, count;
};

void pen_pace_begin(struct pen_pace *pace, uint64_t now_ns, uint64_t items, uint64_t bytes);
void pen_pace_add(struct pen_pace *pace, uint64_t now_ns, uint64_t items, uint64_t bytes);
/* Items a second, times 1000. */
uint64_t pen_pace_rate_milli(const struct pen_pace *pace);
/* Milliseconds to the end, by bytes if their total is known, else by items; or PEN_PACE_UNKNOWN. */
uint64_t pen_pace_left_ms(const struct pen_pace *pace, uint64_t items_total, uint64_t bytes_total);

#endif
