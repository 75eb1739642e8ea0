/* SPDX-License-Identifier: MIT */
#include "engine/errand.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "engine/batch.h"
#include "ring/error.h"

#define MS PEN_NS_PER_MS

static struct pen_plan plan;
static struct pen_due due;
static struct pen_errand errand;
static uint64_t date_ms;

static uint64_t mono(const struct pen_clock *clock)
{
	(void)clock;
	return date_ms * MS;
}

static uint64_t real(const struct pen_clock *clock)
{
	(void)clock;
	return date_ms;
}

static const struct pen_clock test_clock = { .mono_ns = mono, .real_ms = real };

static void begin(void)
{
	struct pen_failure why = { 0 };

	date_ms = 1000000;
	plan = (struct pen_plan){ .job = { .max_crashes = 2 } };
	cr_assert_eq(pen_backoff_parse(&plan.job.backoff, "2s,4s,8s", PEN_JITTER_NONE, 3, &why), 0);
	pen_due_begin(&due, NULL, &test_clock, 7, false, 0);
	errand = (struct pen_errand){ .row = { .row = { .seq = 5, .key = "k", .key_len = 1 } } };
}

TestSuite(errand, .init = begin, .timeout = 60);

static struct pen_result judged(enum pen_task_fate fate, uint64_t retry_after_ms)
{
	struct pen_task_result got = { .fate = fate,
				       .code = fate == PEN_TASK_DONE ? 0 : -PEN_CHILD_EXIT,
				       .retry_after_ns = retry_after_ms * MS,
				       .message = "it broke" };
	struct pen_result r;

	cr_assert(pen_errand_judge(&errand, &plan, &got, &due, &r));
	return r;
}

Test(errand, a_table_gives_each_once_and_takes_it_back)
{
	struct pen_errands table = { 0 };
	struct pen_errand *a, *b;

	cr_assert_eq(pen_errands_open(&table, 2), 0);
	a = pen_errand_get(&table);
	b = pen_errand_get(&table);
	cr_assert(a && b && a != b);
	cr_expect_null(pen_errand_get(&table));
	a->path = strdup("freed with it");
	pen_errand_put(&table, a);
	cr_expect_eq(pen_errand_get(&table), a);
	cr_expect_null(a->path);
	pen_errands_close(&table);
	pen_errands_close(&table);
}

Test(errand, each_fate_has_its_state)
{
	static const struct {
		enum pen_task_fate fate;
		enum pen_item_state state;
	} rows[] = {
		{ PEN_TASK_DONE, PEN_ITEM_COMMITTED },	{ PEN_TASK_REJECTED, PEN_ITEM_REJECTED },
		{ PEN_TASK_DROPPED, PEN_ITEM_SKIPPED }, { PEN_TASK_FAILED, PEN_ITEM_FAILED },
		{ PEN_TASK_RETRY, PEN_ITEM_RETRYING },	{ PEN_TASK_CRASHED, PEN_ITEM_RETRYING },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct pen_result r = judged(rows[i].fate, 0);

		cr_expect_eq(r.state, rows[i].state, "fate %d", rows[i].fate);
		cr_expect_eq(r.seq, 5);
		cr_expect_eq(r.ended_ms, date_ms);
		cr_expect_eq(r.attempts, rows[i].fate != PEN_TASK_CRASHED, "a crash is no try");
	}
}

Test(errand, what_is_not_known_is_given_again)
{
	struct pen_task_result got = { .fate = PEN_TASK_UNCHARGED };
	struct pen_result r;

	cr_expect(!pen_errand_judge(&errand, &plan, &got, &due, &r));
}

Test(errand, tries_wait_longer_each_time_and_end)
{
	for (uint32_t i = 0; i < 3; i++, errand.attempts++)
		cr_expect_eq(judged(PEN_TASK_RETRY, 0).due_ms, date_ms + (2000u << i));
	cr_expect_eq(judged(PEN_TASK_RETRY, 0).state, PEN_ITEM_FAILED);
	cr_expect_eq(judged(PEN_TASK_RETRY, 0).due_ms, 0);
}

Test(errand, a_worker_may_ask_for_more_time_and_not_for_less)
{
	cr_expect_eq(judged(PEN_TASK_RETRY, 1).due_ms, date_ms + 2000);
	cr_expect_eq(judged(PEN_TASK_RETRY, 60000).due_ms, date_ms + 60000);
}

Test(errand, crashes_are_counted_by_themselves)
{
	errand.crashes = 1;
	errand.attempts = 3;
	cr_expect_eq(judged(PEN_TASK_CRASHED, 0).state, PEN_ITEM_QUARANTINED);
	cr_expect_eq(judged(PEN_TASK_CRASHED, 0).attempts, 3);
}

Test(errand, a_try_that_would_begin_too_late_fails_now_with_its_error)
{
	plan.job.retry_for_ns = 5000 * MS;
	cr_expect_eq(judged(PEN_TASK_RETRY, 0).state, PEN_ITEM_RETRYING);
	cr_expect_eq(judged(PEN_TASK_RETRY, 4999).state, PEN_ITEM_RETRYING);
	cr_expect_eq(judged(PEN_TASK_RETRY, 5000).state, PEN_ITEM_FAILED, "1 ms of it is gone");
	/* The second try ends three seconds after the first began, and the next one would be four later. */
	errand.attempts = 1;
	errand.row.row.since_ms = 100;
	errand.row.row.ended_ms = date_ms - 2900;
	cr_expect_eq(judged(PEN_TASK_RETRY, 0).since_ms, 3000);
	cr_expect_eq(judged(PEN_TASK_RETRY, 0).state, PEN_ITEM_FAILED);
	cr_expect_eq(judged(PEN_TASK_RETRY, 0).code, -PEN_CHILD_EXIT);
	cr_expect_eq(judged(PEN_TASK_RETRY, 0).due_ms, 0);
	cr_expect(judged(PEN_TASK_RETRY, 0).late);
	cr_expect_eq(judged(PEN_TASK_CRASHED, 0).state, PEN_ITEM_RETRYING, "2 s of back-off are just right");
	plan.job.retry_for_ns = 7000 * MS;
	cr_expect_eq(judged(PEN_TASK_RETRY, 0).state, PEN_ITEM_RETRYING);
	cr_expect(!judged(PEN_TASK_RETRY, 0).late);
}

Test(errand, without_a_limit_it_is_never_too_late)
{
	errand.attempts = 2;
	errand.row.row.since_ms = 86400000;
	errand.row.row.ended_ms = 1;
	cr_expect_eq(judged(PEN_TASK_RETRY, 86400000).state, PEN_ITEM_RETRYING);
}

Test(errand, who_gave_it_up_is_said_before_what_went_wrong)
{
	struct pen_batch batch = { .id = 7 };
	struct pen_task_result got = { .fate = PEN_TASK_RETRY,
				       .code = -PEN_CHILD_EXIT,
				       .message = "it broke" };
	struct pen_pack *pack;
	struct pen_result r;

	plan.job.retry_for_ns = 1 * MS;
	cr_assert_eq(pen_pack_open(&pack), 0);
	pen_pack_reset(pack, &batch, 0);
	cr_assert(pen_errand_judge(&errand, &plan, &got, &due, &r));
	cr_assert_eq(pen_errand_pack(&errand, &plan, &got, pack, &r), 0);
	cr_expect_str_eq(pack->data + r.message.at,
			 "given up, because the time of --retry-for is over before its next try: it broke");
	pen_pack_close(pack);
}

Test(errand, what_was_in_a_row_is_packed_from_it)
{
	struct pen_batch batch = { .id = 7 };
	struct pen_task_result got = {
		.fate = PEN_TASK_RETRY, .message = "it broke", .stderr_tail = "err", .stderr_len = 3
	};
	struct pen_pack *pack;
	struct pen_result r;

	cr_assert_eq(pen_pack_open(&pack), 0);
	pen_pack_reset(pack, &batch, 0);
	errand.row.row.raw = "bytes";
	errand.row.row.raw_len = 5;
	errand.row.row.line = 9;
	cr_assert(pen_errand_judge(&errand, &plan, &got, &due, &r));
	cr_assert_eq(pen_errand_pack(&errand, &plan, &got, pack, &r), 0);
	cr_expect(r.again);
	cr_expect_eq(r.line, 9);
	cr_expect(!memcmp(pack->data + r.key.at, "k", 1));
	cr_expect(r.raw.len == 5 && !memcmp(pack->data + r.raw.at, "bytes", 5));
	cr_expect_str_eq(pack->data + r.message.at, "it broke");
	cr_expect(r.stderr_tail.len == 3 && !memcmp(pack->data + r.stderr_tail.at, "err", 3));
	pen_pack_close(pack);
}
