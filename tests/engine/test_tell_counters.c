/* SPDX-License-Identifier: MIT */
/*
 * What the publisher tells of its engine as a whole, and what it does when it starts.
 */
#include "engine/tell.h"

#include "tests/engine/tell_lab.h"

TestSuite(tell_counters, .init = set_up, .fini = tear_down, .timeout = 60);

Test(tell_counters, an_engine_that_starts_clears_what_the_dead_left_in_other_stores)
{
	const struct timespec old[2] = { { .tv_sec = 1700000000 - 2 * 86400 },
					 { .tv_sec = 1700000000 - 2 * 86400 } };
	char path[128], file[160];
	int fd;

	stop();
	snprintf(path, sizeof path, "%s/00112233445566ff", run_dir);
	snprintf(file, sizeof file, "%s/.bob.0.ring.7.01020304", path);
	cr_assert_eq(mkdir(path, 0700), 0);
	fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	cr_assert_geq(fd, 0);
	close(fd);
	cr_assert_eq(utimensat(AT_FDCWD, file, old, 0), 0);
	start();
	cr_expect_neq(access(path, F_OK), 0);
	open_own();
	pen_ring_close(&ring);
}

Test(tell_counters, commits_of_the_last_seconds_are_told_by_their_quantiles)
{
	const uint32_t p50 = PEN_RING_ID(PEN_RING_COMMIT, PEN_RING_P50_US),
		       p99 = PEN_RING_ID(PEN_RING_COMMIT, PEN_RING_P99_US);

	open_own();
	pass_ms(100);
	cr_expect_eq(pen_ring_total(&ring, p50), 0);
	for (unsigned i = 0; i < 98; i++)
		pen_tell_took(tell, 15000);
	for (unsigned i = 0; i < 2; i++)
		pen_tell_took(tell, 4095999);
	pen_tell_took(NULL, 1);
	pass_ms(100);
	cr_expect_eq(pen_ring_total(&ring, p50), 15);
	cr_expect_eq(pen_ring_total(&ring, p99), 4095);
	pass_ms(25000);
	cr_expect_eq(pen_ring_total(&ring, p50), 0, "an engine that rests has none");
	cr_expect_eq(pen_ring_total(&ring, p99), 0);
	pen_ring_close(&ring);
}

static uint64_t cpu_used;

/* Every look at it costs a microsecond, so a call that is measured has cost one. */
static uint64_t hand_cpu(void)
{
	return cpu_used += 1000;
}

Test(tell_counters, what_publishing_costs_is_counted_and_looking_for_work_is_free)
{
	struct pen_batch *b;

	tell->cpu_ns = hand_cpu;
	open_own();
	b = begin(0, tell->rings[0].owner, 1000, false);
	cr_expect_eq(tell->publish_ns, 1000);
	commit(b, 10);
	cr_expect_eq(tell->publish_ns, 2000);
	pass_ms(100);
	cr_expect_eq(tell->publish_ns, 3000, "counters were due");
	cr_expect_eq(pen_ring_total(&ring, PEN_RING_ID(PEN_RING_COMMIT, PEN_RING_PUBLISH_CPU_US)), 2);
	cr_expect_eq(pen_cast_owes(tell->rings[0].cast), UINT64_MAX);
	for (int i = 0; i < 1000; i++) {
		pen_tell_turn(tell);
		(void)pen_tell_rest(tell);
	}
	cr_expect_eq(tell->publish_ns, 3000, "nothing was due");
	pen_tell_stall(tell, b, -PEN_DISK_FULL);
	pen_tell_synced(tell, batches);
	complete(b);
	cr_expect_eq(tell->publish_ns, 7000, "%llu", (unsigned long long)tell->publish_ns);
	pass_ms(100);
	cr_expect_eq(pen_ring_total(&ring, PEN_RING_ID(PEN_RING_COMMIT, PEN_RING_PUBLISH_CPU_US)), 7);
	pen_ring_close(&ring);
}

Test(tell_counters, a_wake_that_was_owed_is_counted_where_it_is_given)
{
	struct pen_cast_wakes before, after;
	struct pen_batch *b = begin(0, tell->rings[0].owner, 1000, false);
	uint64_t spent;

	commit(b, 10);
	commit(b, 20);
	cr_assert_neq(pen_cast_owes(tell->rings[0].cast), UINT64_MAX, "too soon after the first");
	spent = tell->publish_ns;
	pen_cast_wakes(tell->rings[0].cast, &before);
	hand.ns += PEN_NS_PER_S;
	tell->counted_ns = hand.ns; /* nothing else is due */
	(void)pen_tell_rest(tell);
	pen_cast_wakes(tell->rings[0].cast, &after);
	cr_expect_eq(after.wakes, before.wakes + 1);
	cr_expect_eq(tell->publish_ns - spent, after.spent_ns - before.spent_ns);
}
