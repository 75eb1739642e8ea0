/* SPDX-License-Identifier: MIT */
#include "ring/fanin.h"

#include <criterion/criterion.h>
#include <pthread.h>

#include "ring/clock.h"

static void push_run(struct pen_fanin *fanin, uint32_t lane, uint64_t from, uint32_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		uint64_t word = (uint64_t)lane << 32 | (from + i);
		cr_assert_eq(pen_fanin_push(fanin, lane, &word, 1), 1);
	}
}

Test(fanin, every_lane_keeps_its_order)
{
	static const uint32_t lane_counts[] = { 1, 2, 3, 128 };
	static const uint32_t buffers[] = { 1, 2, 7, 64, 4096 };

	for (size_t l = 0; l < PEN_COUNT(lane_counts); l++)
		for (size_t b = 0; b < PEN_COUNT(buffers); b++) {
			struct pen_fanin fanin;
			static uint64_t out[4096];
			uint32_t next[128] = { 0 }, got, all = 0;

			cr_assert_eq(pen_fanin_init(&fanin, lane_counts[l], 16), 0);
			for (uint32_t i = 0; i < lane_counts[l]; i++)
				push_run(&fanin, i, 0, i % 17);
			while ((got = pen_fanin_pop(&fanin, out, buffers[b])))
				for (uint32_t i = 0; i < got; i++, all++)
					cr_assert_eq((uint32_t)out[i], next[out[i] >> 32]++);
			for (uint32_t i = 0; i < lane_counts[l]; i++)
				cr_assert_eq(next[i], i % 17);
			pen_fanin_fini(&fanin);
		}
}

Test(fanin, a_busy_lane_does_not_keep_the_others_waiting)
{
	struct pen_fanin fanin;
	uint64_t out[4];
	uint64_t word = 5ull << 32;

	/* Goal: the word in lane 5 comes within one round although lane 0 is never empty. */
	cr_assert_eq(pen_fanin_init(&fanin, 8, 16), 0);
	push_run(&fanin, 0, 0, 16);
	cr_assert_eq(pen_fanin_push(&fanin, 5, &word, 1), 1);
	cr_assert_eq(pen_fanin_pop(&fanin, out, 4), 4);
	push_run(&fanin, 0, 16, 4);
	cr_assert_eq(pen_fanin_pop(&fanin, out, 4), 4);
	cr_assert_eq(out[0], word);
	pen_fanin_fini(&fanin);
}

Test(fanin, a_full_lane_says_how_much_went_in)
{
	struct pen_fanin fanin;
	uint64_t words[6] = { 0 };

	cr_assert_eq(pen_fanin_init(&fanin, 2, 4), 0);
	cr_assert_eq(pen_fanin_push(&fanin, 1, words, 6), 4);
	uint32_t ticket = pen_park_ticket(&fanin.park);
	cr_assert_eq(pen_fanin_push(&fanin, 1, words, 1), 0);
	cr_assert_eq(pen_park_ticket(&fanin.park), ticket, "nothing went in, nobody is woken");
	cr_assert_eq(pen_fanin_push(&fanin, 0, words, 1), 1);
	pen_fanin_fini(&fanin);
}

Test(fanin, it_has_ended_when_every_lane_is_closed_and_drained)
{
	struct pen_fanin fanin;
	uint64_t out[8];

	cr_assert_eq(pen_fanin_init(&fanin, 3, 4), 0);
	push_run(&fanin, 1, 0, 2);
	for (uint32_t i = 0; i < 3; i++) {
		cr_assert_not(pen_fanin_ended(&fanin));
		pen_fanin_close(&fanin, i);
	}
	cr_assert_not(pen_fanin_ended(&fanin));
	cr_assert_eq(pen_fanin_pop_wait(&fanin, out, 8, UINT64_MAX), 2);
	cr_assert(pen_fanin_ended(&fanin));
	cr_assert_eq(pen_fanin_pop_wait(&fanin, out, 8, UINT64_MAX), 0, "the end does not wait");
	pen_fanin_fini(&fanin);
}

Test(fanin, a_wait_without_anything_times_out)
{
	struct pen_fanin fanin;
	uint64_t out;

	cr_assert_eq(pen_fanin_init(&fanin, 2, 4), 0);
	cr_assert_eq(pen_fanin_pop_wait(&fanin, &out, 1, PEN_NS_PER_MS), 0);
	cr_assert_eq(fanin.park.timeouts, 1);
	pen_fanin_fini(&fanin);
}

Test(fanin, a_ring_between_two_waits_ends_the_second)
{
	struct pen_fanin fanin;
	uint64_t out;

	/* Goal: who rings after the consumer looked at its own list, but before it sleeps, is not lost. */
	cr_assert_eq(pen_fanin_init(&fanin, 1, 4), 0);
	for (int i = 0; i < 3; i++) {
		pen_fanin_ring(&fanin);
		cr_assert_eq(pen_fanin_pop_wait(&fanin, &out, 1, UINT64_MAX), 0);
	}
	cr_assert_eq(fanin.park.timeouts, 0);
	cr_assert_eq(pen_fanin_pop_wait(&fanin, &out, 1, PEN_NS_PER_MS), 0);
	cr_assert_eq(fanin.park.timeouts, 1, "each ring counts once");
	pen_fanin_fini(&fanin);
}

static void *push_one(void *arg)
{
	uint64_t word = 42;

	pen_fanin_push(arg, 0, &word, 1);
	return NULL;
}

Test(fanin, a_push_wakes_the_waiting_consumer)
{
	struct pen_fanin fanin;
	pthread_t thread;
	uint64_t out = 0;
	uint32_t got = 0;

	cr_assert_eq(pen_fanin_init(&fanin, 1, 4), 0);
	cr_assert_eq(pthread_create(&thread, NULL, push_one, &fanin), 0);
	while (!got)
		got = pen_fanin_pop_wait(&fanin, &out, 1, UINT64_MAX);
	cr_assert_eq(out, 42);
	pthread_join(thread, NULL);
	pen_fanin_fini(&fanin);
}
