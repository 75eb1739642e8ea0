/* SPDX-License-Identifier: MIT */
/*
 * clock - the only caller of clock_gettime, and the seam for tests
 *
 * Two users: the real clock, and a virtual one that a test advances by hand. Durations, deadlines and
 * ages come from mono_ns; only what a person reads comes from real_ms.
 */
#ifndef PEN_RING_CLOCK_H
#define PEN_RING_CLOCK_H

#include <stdint.h>

struct pen_clock {
	uint64_t (*mono_ns)(const struct pen_clock *clock); /* never goes back */
	uint64_t (*real_ms)(const struct pen_clock *clock); /* since 1970, may step */
};

extern const struct pen_clock pen_clock_real;

static inline uint64_t pen_mono_ns(const struct pen_clock *clock)
{
	return clock->mono_ns(clock);
}

static inline uint64_t pen_real_ms(const struct pen_clock *clock)
{
	return clock->real_ms(clock);
}

/* CPU time of the calling thread: of the real clock only. A system call. */
uint64_t pen_thread_cpu_ns(void);

#define PEN_NS_PER_MS 1000000ull
#define PEN_NS_PER_S 1000000000ull

#endif
