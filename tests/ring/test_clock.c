/* SPDX-License-Identifier: MIT */
#include "ring/clock.h"

#include <criterion/criterion.h>
#include <time.h>

Test(clock, real_time_is_the_wall_clock_in_ms)
{
	time_t before = time(NULL);
	uint64_t ms = pen_real_ms(&pen_clock_real);
	time_t after = time(NULL);

	/* time() may lag the fine clock by a tick. */
	cr_assert_geq(ms / 1000, (uint64_t)before);
	cr_assert_leq(ms / 1000, (uint64_t)after + 1);
}

Test(clock, monotonic_time_never_goes_back)
{
	uint64_t last = pen_mono_ns(&pen_clock_real);
	uint64_t first = last;

	for (int i = 0; i < 100000; i++) {
		uint64_t now = pen_mono_ns(&pen_clock_real);
		cr_assert_geq(now, last);
		last = now;
	}
	cr_assert_gt(last, first);
}

struct hand {
	struct pen_clock clock;
	uint64_t ns;
};

static uint64_t hand_mono(const struct pen_clock *clock)
{
	return ((const struct hand *)(const void *)clock)->ns;
}

static uint64_t hand_real(const struct pen_clock *clock)
{
	return ((const struct hand *)(const void *)clock)->ns / PEN_NS_PER_MS;
}

Test(clock, a_test_can_turn_the_hands)
{
	struct hand hand = { { hand_mono, hand_real }, 0 };

	cr_assert_eq(pen_mono_ns(&hand.clock), 0);
	hand.ns = 5 * PEN_NS_PER_S;
	cr_assert_eq(pen_mono_ns(&hand.clock), 5000000000u);
	cr_assert_eq(pen_real_ms(&hand.clock), 5000u);
}

Test(clock, a_thread_s_cpu_time_grows_only_while_it_works)
{
	uint64_t wall = pen_mono_ns(&pen_clock_real), begun = pen_thread_cpu_ns(), now;

	do
		now = pen_thread_cpu_ns();
	while (now == begun);
	cr_assert_gt(now, begun);
	nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
	cr_assert_lt(pen_thread_cpu_ns() - begun, pen_mono_ns(&pen_clock_real) - wall);
}
