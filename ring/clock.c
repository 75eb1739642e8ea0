/* SPDX-License-Identifier: MIT */
#include "ring/clock.h"

#include <time.h>

static uint64_t real_mono_ns(const struct pen_clock *clock)
{
	struct timespec t;

	(void)clock;
	(void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail with a valid clock and address */
	return (uint64_t)t.tv_sec * PEN_NS_PER_S + (uint64_t)t.tv_nsec;
}

static uint64_t real_real_ms(const struct pen_clock *clock)
{
	struct timespec t;

	(void)clock;
	(void)clock_gettime(CLOCK_REALTIME, &t); /* as above */
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / PEN_NS_PER_MS;
}

const struct pen_clock pen_clock_real = { .mono_ns = real_mono_ns, .real_ms = real_real_ms };

uint64_t pen_thread_cpu_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t); /* as above */
	return (uint64_t)t.tv_sec * PEN_NS_PER_S + (uint64_t)t.tv_nsec;
}
