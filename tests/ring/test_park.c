/* SPDX-License-Identifier: MIT */
#include "ring/park.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <time.h>

#include "ring/clock.h"

Test(park, a_ring_after_the_ticket_makes_wait_return_at_once)
{
	struct pen_park park;

	pen_park_init(&park);
	for (int i = 0; i < 1000; i++) {
		uint32_t ticket = pen_park_ticket(&park);

		pen_park_ring(&park);
		cr_assert(pen_park_wait(&park, ticket, UINT64_MAX));
	}
	cr_assert_eq(park.timeouts, 0);
}

Test(park, a_ring_before_the_ticket_does_not_end_the_wait)
{
	struct pen_park park;
	uint64_t before = pen_mono_ns(&pen_clock_real);

	pen_park_init(&park);
	pen_park_ring(&park);
	cr_assert_not(pen_park_wait(&park, pen_park_ticket(&park), 20 * PEN_NS_PER_MS));
	cr_assert_geq(pen_mono_ns(&pen_clock_real) - before, 20 * PEN_NS_PER_MS,
		      "it slept for as long as told");
	cr_assert_eq(park.timeouts, 1);
}

Test(park, a_wait_of_no_time_only_looks)
{
	struct pen_park park;
	uint32_t ticket;

	pen_park_init(&park);
	ticket = pen_park_ticket(&park);
	cr_assert_not(pen_park_wait(&park, ticket, 0));
	pen_park_ring(&park);
	cr_assert(pen_park_wait(&park, ticket, 0));
	cr_assert_eq(park.timeouts, 1);
}

Test(park, the_longest_timeouts_do_not_overflow)
{
	struct pen_park park;
	uint32_t ticket;

	pen_park_init(&park);
	ticket = pen_park_ticket(&park);
	pen_park_ring(&park);
	cr_assert(pen_park_wait(&park, ticket, UINT64_MAX - 1));
	cr_assert(pen_park_wait(&park, ticket, UINT64_MAX));
}

static void *ring_later(void *arg)
{
	const struct timespec pause = { .tv_nsec = 20000000 };

	nanosleep(&pause, NULL);
	pen_park_ring(arg);
	return NULL;
}

Test(park, a_sleeper_is_woken_whether_it_has_a_deadline_or_not)
{
	static const uint64_t timeouts[] = { UINT64_MAX, UINT64_MAX - 1, 60 * PEN_NS_PER_S };

	for (size_t i = 0; i < PEN_COUNT(timeouts); i++) {
		struct pen_park park;
		pthread_t thread;

		pen_park_init(&park);
		uint32_t ticket = pen_park_ticket(&park);
		cr_assert_eq(pthread_create(&thread, NULL, ring_later, &park), 0);
		while (!pen_park_wait(&park, ticket, timeouts[i]))
			cr_assert_fail("timed out");
		cr_assert_neq(pen_park_ticket(&park), ticket);
		cr_assert_eq(park.timeouts, 0);
		pthread_join(thread, NULL);
	}
}

Test(park, the_count_survives_its_overflow)
{
	struct pen_park park;

	/*
	 * Goal: rings across 2^31, where the count's top bit is the sleeper flag. Method: set it just below.
	 */
	pen_park_init(&park);
	park.word = INT32_MAX - 3u;
	for (int i = 0; i < 10; i++) {
		uint32_t ticket = pen_park_ticket(&park);

		pen_park_ring(&park);
		cr_assert_neq(pen_park_ticket(&park), ticket);
		cr_assert(pen_park_wait(&park, ticket, 60 * PEN_NS_PER_S));
	}
	cr_assert_eq(park.timeouts, 0);
}
