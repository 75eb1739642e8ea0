/* SPDX-License-Identifier: MIT */
#include "engine/due.h"

#include "ring/base.h"
#include "ring/error.h"
#include "tests/store/scratch.h"

#define BATCH 7u
#define MS PEN_NS_PER_MS

static struct pen_store *store;
static struct pen_due due;
static uint64_t date_ms, since_ns;

static uint64_t mono(const struct pen_clock *clock)
{
	(void)clock;
	return since_ns;
}

static uint64_t real(const struct pen_clock *clock)
{
	(void)clock;
	return date_ms;
}

static const struct pen_clock test_clock = { .mono_ns = mono, .real_ms = real };

/* Rows that wait, as far as the index knows them. */
static void wait_for(uint64_t item, uint64_t due_ms)
{
	struct pen_index_key key = pen_index_due(BATCH, due_ms, item);
	struct pen_txn *txn = scratch_begin(store);
	struct pen_failure why = { 0 };

	cr_assert_eq(pen_index_add(txn, &key, 0), 0);
	cr_assert_eq(pen_txn_commit(txn, &why), 0, "%s", why.text);
}

static void pass_ms(uint64_t ms)
{
	date_ms += ms;
	since_ns += ms * MS;
}

static void begin_store(void)
{
	scratch_make();
	store = scratch_store("s");
	date_ms = 1000000;
	since_ns = 5000 * MS;
}

static void end_store(void)
{
	pen_store_close(store);
	scratch_remove();
}

TestSuite(due, .init = begin_store, .fini = end_store, .timeout = 60);

static void expect_next(uint64_t item)
{
	uint64_t got = UINT64_MAX;

	cr_assert_eq(pen_due_find(&due, UINT64_MAX, &got), 1);
	cr_expect_eq(got, item, "item %llu", (unsigned long long)got);
	pen_due_take(&due);
}

static void expect_none(uint64_t in_ms)
{
	uint64_t got;

	cr_expect_eq(pen_due_find(&due, UINT64_MAX, &got), 0);
	cr_expect_eq(pen_due_in_ms(&due), in_ms, "%llu ms", (unsigned long long)pen_due_in_ms(&due));
}

Test(due, without_rows_nobody_looks)
{
	pen_due_begin(&due, store, &test_clock, BATCH, false, 0);
	expect_none(UINT64_MAX);
	wait_for(1, date_ms + 10);
	expect_none(UINT64_MAX);
	pen_due_known(&due, date_ms + 10);
	expect_none(10);
	pass_ms(10);
	expect_next(1);
	expect_none(UINT64_MAX);
}

Test(due, rows_come_in_the_order_of_their_times_and_each_once)
{
	for (uint64_t i = 0; i < 2 * PEN_DUE_MAX + 5; i++)
		wait_for(i, date_ms - 1000 + i % 3);
	pen_due_begin(&due, store, &test_clock, BATCH, true, 0);
	for (uint64_t third = 0; third < 3; third++)
		for (uint64_t i = third; i < 2 * PEN_DUE_MAX + 5; i += 3)
			expect_next(i);
	expect_none(UINT64_MAX);
}

Test(due, nothing_is_read_past_what_the_store_does_not_know_yet)
{
	uint64_t got;

	wait_for(2, date_ms + 20);
	pen_due_begin(&due, store, &test_clock, BATCH, true, 0);
	pass_ms(30);
	cr_expect_eq(pen_due_find(&due, date_ms - 20, &got), 0);
	wait_for(1, date_ms - 20);
	pen_due_known(&due, date_ms - 20);
	expect_next(1);
	expect_next(2);
}

Test(due, a_new_time_lies_behind_all_that_was_read)
{
	wait_for(1, date_ms);
	pen_due_begin(&due, store, &test_clock, BATCH, true, 0);
	cr_expect_eq(pen_due_after(&due, 0), date_ms);
	expect_next(1);
	cr_expect_eq(pen_due_after(&due, 0), date_ms + 1);
	cr_expect_eq(pen_due_after(&due, 5 * MS + 1), date_ms + 6, "never earlier than asked");
}

Test(due, a_date_that_is_set_back_delays_nothing)
{
	pen_due_begin(&due, store, &test_clock, BATCH, false, 0);
	wait_for(1, pen_due_after(&due, 50 * MS));
	pen_due_known(&due, date_ms + 50);
	date_ms -= 500000;
	expect_none(50);
	cr_expect_eq(pen_due_ahead_ms(&due), 500000);
	pass_ms(49);
	expect_none(1);
	pass_ms(1);
	expect_next(1);
	/* Nor does it count for what comes behind. */
	cr_expect_eq(pen_due_after(&due, 10 * MS), 1000000 + 50 + 10);
}

Test(due, the_clock_adds_up_what_is_less_than_a_millisecond)
{
	pen_due_begin(&due, store, &test_clock, BATCH, false, 0);
	(void)pen_due_now(&due);
	date_ms = 0;
	for (unsigned i = 0; i < 1000; i++) {
		since_ns += MS / 10;
		(void)pen_due_now(&due);
	}
	cr_expect_eq(pen_due_now(&due), 1000000 + 100);
}

Test(due, a_date_that_is_set_forward_is_followed)
{
	pen_due_begin(&due, store, &test_clock, BATCH, false, 0);
	wait_for(1, date_ms + 3600000);
	pen_due_known(&due, date_ms + 3600000);
	date_ms += 3600000;
	expect_next(1);
	cr_expect_eq(pen_due_ahead_ms(&due), 0);
}

/* An earlier run ended while the date was an hour ahead: what waits then waits as long as it was told to. */
Test(due, rows_of_an_earlier_run_wait_no_longer_because_the_date_was_set_back)
{
	wait_for(1, date_ms + 3600000 + 50);
	pen_due_begin(&due, store, &test_clock, BATCH, true, date_ms + 3600000);
	expect_none(50);
	pass_ms(50);
	expect_next(1);
	/* A batch without rows begins with the date. */
	pen_due_begin(&due, store, &test_clock, BATCH, false, date_ms + 3600000);
	cr_expect_eq(pen_due_now(&due), date_ms);
}

Test(due, what_is_taken_must_be_there, .signal = SIGABRT)
{
	pen_due_begin(&due, store, &test_clock, BATCH, true, 0);
	pen_due_take(&due);
}
