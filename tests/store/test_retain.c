/* SPDX-License-Identifier: MIT */
#include "store/retain.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "ring/base.h"
#include "store/lock.h"
#include "store/store_private.h"
#include "tests/store/plant.h"
#include "tests/store/retain_lab.h"

TestSuite(retain, .init = set_up, .fini = tear_down);

static uint64_t entries_of(const char *dataset)
{
	struct pen_dataset_info info;

	cr_assert_eq(pen_dataset_get(shop.store, dataset, &info), 0);
	return info.entries;
}

static unsigned rows_of(uint64_t id)
{
	struct pen_cursor *cur;
	struct pen_item item;
	unsigned n = 0;

	cr_assert_eq(pen_items_open(shop.store, id, 0, 0, -1, &cur), 0);
	while (pen_items_next(cur, &item) > 0)
		n++;
	pen_cursor_close(cur);
	return n;
}

/* The events that are there: how many, and of what sequences. */
static unsigned events(uint64_t *ret_first, uint64_t *ret_last)
{
	struct pen_cursor *cur;
	struct pen_event event;
	unsigned n = 0;

	*ret_first = *ret_last = 0;
	cr_assert_eq(pen_events_open(shop.store, 0, 1, &cur), 0);
	for (; pen_events_next(cur, &event) > 0; n++) {
		*ret_first = n ? *ret_first : event.seq;
		*ret_last = event.seq;
	}
	pen_cursor_close(cur);
	return n;
}

static struct pen_retain_info info(void)
{
	struct pen_retain_info info = { .size = sizeof(info) };

	cr_assert_eq(pen_retain_info(shop.store, &info), 0);
	return info;
}

Test(retain, ended_batches_go_after_seven_days_and_the_records_stay)
{
	uint64_t done = plant_batch(shop.store, &plan_done), mixed = plant_batch(shop.store, &plan_mixed);
	uint64_t feeder = plant_batch(shop.store, &plan_feeder), young, found, first, last;
	struct pen_cleaned got;

	ahead_ms = 7 * DAY - 60000;
	got = CLEAN(.size = 0);
	cr_expect_eq(total(&got), 0);
	cr_expect(there(done));
	ahead_ms = 7 * DAY + 60000;
	young = plant(PEN_COMPLETED, 2);
	got = CLEAN(.size = 0);
	cr_expect(got.whole);
	cr_expect_eq(total(&got), 1);
	cr_expect_eq(got.batches[PEN_COMPLETED], 1);
	cr_expect_not(there(done));
	cr_expect(there(mixed) && there(feeder) && there(young));
	cr_expect_eq(pen_ledger_look(shop.store, (uint8_t[16]){ 1 }, &found), -PEN_NOT_FOUND);
	cr_expect_eq(entries_of("alpha"), 30);
	/* The three events of the first batch were in front. The new one is behind all. */
	cr_expect_eq(got.events, 3);
	cr_expect_eq(events(&first, &last), 10);
	cr_expect_eq(first, 4);
	cr_expect_eq(last, 13);
	cr_expect_eq(info().first_event, 4);
	cr_expect_eq(info().batches, 1);
	verify();
	/* What comes next goes on as if nothing had been removed. */
	plant_batch(shop.store, &plan_done);
	cr_expect_eq(entries_of("alpha"), 60);
	verify();
	ahead_ms = 40 * DAY;
	got = CLEAN(.size = 0);
	cr_expect_eq(total(&got), 2);
	verify();
}

Test(retain, unfinished_batches_stay_unless_their_state_is_named)
{
	uint64_t stopped = plant_batch(shop.store, &plan_mixed),
		 feeder = plant_batch(shop.store, &plan_feeder);
	uint64_t queued = plant(PEN_QUEUED, 0), done = plant(PEN_COMPLETED, 0);
	struct plan paused = {
		.dataset = "p", .key_kind = PEN_KEY_POINTER, .state = PEN_PAUSED, .records = 2
	};
	struct pen_clean bad = { .size = sizeof(bad), .states = 1u << PEN_QUEUED };
	struct pen_dataset_info ds;
	struct pen_cleaned got = { .size = sizeof(got) };

	plant_batch(shop.store, &paused);
	cr_expect_eq(pen_retain_clean(shop.store, &bad, &got, NULL), -PEN_USAGE);
	ahead_ms = 400 * DAY;
	got = CLEAN(.has_older = true);
	cr_expect_eq(total(&got), 1);
	cr_expect_not(there(done));
	cr_expect(there(stopped) && there(feeder) && there(queued));
	got = CLEAN(.states = 1u << PEN_STOPPED);
	cr_expect_eq(got.batches[PEN_STOPPED], 1);
	cr_expect_eq(got.rows, 9);
	cr_expect_not(there(stopped));
	cr_expect(there(feeder));
	got = CLEAN(.states = 1u << PEN_INTERRUPTED);
	cr_expect_eq(got.batches[PEN_INTERRUPTED], 1);
	cr_expect_not(there(feeder));
	/* The next batch may append to its dataset. */
	cr_assert_eq(pen_dataset_get(shop.store, "gamma", &ds), 0);
	cr_expect_eq(ds.entries, 10);
	cr_expect(there(queued));
	shop_close(&shop);
	/* The planted queued batch is no feeder of its dataset, which is the plant's doing alone. */
	cr_expect_eq(shop_verify(&shop)->by[PEN_INV_FEEDER], 1);
	cr_expect_eq(shop_verify(&shop)->calls, 1, "%s", shop_verify(&shop)->all);
	shop_open(&shop);
}

Test(retain, every_commit_leaves_a_store_that_verifies)
{
	uint64_t big = plant(PEN_COMPLETED, 3500), other = plant(PEN_FAILED, 1), trimmed = 0, rows;
	unsigned steps = 0, half = 0;
	struct pen_cleaned got;

	ahead_ms = 8 * DAY;
	do {
		got = CLEAN(.budget_ns = 1);
		verify();
		cr_assert_lt(++steps, 2000);
		if (there(big) && !pen_retain_trimmed(shop.store, big, &rows) && rows) {
			cr_expect_geq(rows, trimmed);
			trimmed = rows;
			cr_expect_eq(rows_of(big) + rows, 3500);
			half++;
		}
	} while (!got.whole);
	cr_expect_geq(half, 3, "%u", half);
	cr_expect_not(there(big));
	cr_expect_not(there(other));
	cr_expect_eq(info().rows, 3501);
	cr_expect_eq(info().batches, 2);
}

Test(retain, one_transaction_takes_a_thousand_rows_at_most)
{
	uint64_t big = plant(PEN_COMPLETED, 2500), rows = 0;

	ahead_ms = 8 * DAY;
	(void)CLEAN(.budget_ns = 1);
	cr_assert_eq(pen_retain_trimmed(shop.store, big, &rows), 0);
	cr_expect(rows > 0 && rows <= 1000, "%llu", (unsigned long long)rows);
}

Test(retain, a_batch_that_is_locked_or_owes_files_stays)
{
	uint64_t locked = plant(PEN_COMPLETED, 1), owes = plant(PEN_COMPLETED, 1),
		 plain = plant(PEN_COMPLETED, 1);
	struct pen_cleaned got;
	char path[160];
	uint32_t pid;
	int lock, fd;

	ahead_ms = 8 * DAY;
	snprintf(path, sizeof(path), "%s/staging/after.%016llx", shop.dir, (unsigned long long)owes);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	cr_assert(fd >= 0 && !close(fd));
	/* The lock is the descriptor's, so a second one of this process stands for another process. */
	cr_assert_eq(pen_lock_batch(shop.store, locked, &lock, &pid), 0);
	got = CLEAN(.size = 0);
	cr_expect_eq(total(&got), 1);
	cr_expect_eq(got.kept, 2);
	cr_expect(there(locked) && there(owes) && !there(plain));
	pen_lock_release(shop.store, locked, lock);
	cr_assert_eq(unlink(path), 0);
	got = CLEAN(.size = 0);
	cr_expect_eq(total(&got), 2);
	verify();
}

Test(retain, rules_are_kept_in_the_store)
{
	struct pen_retain_rules rules = { .size = sizeof(rules) };
	uint64_t failed = plant(PEN_FAILED, 0), done = plant(PEN_COMPLETED, 0),
		 cancelled = plant(PEN_CANCELLED, 0);
	struct pen_cleaned got;

	rules.keep_ms[PEN_FAILED] = PEN_KEEP_FOREVER;
	rules.keep_ms[PEN_COMPLETED] = DAY;
	cr_assert_eq(pen_retain_set(shop.store, &rules, NULL), 0);
	verify();
	cr_expect_eq(info().rules.keep_ms[PEN_COMPLETED], DAY);
	cr_expect_eq(info().rules.keep_ms[PEN_CANCELLED], 7 * DAY);
	cr_expect_eq(info().rules.keep_ms[PEN_STOPPED], PEN_KEEP_FOREVER);
	ahead_ms = DAY + 60000;
	got = CLEAN(.size = 0);
	cr_expect_eq(total(&got), 1);
	cr_expect(!there(done) && there(failed) && there(cancelled));
	ahead_ms = 1000 * DAY;
	got = CLEAN(.has_older = true);
	cr_expect_eq(total(&got), 1);
	cr_expect(there(failed) && !there(cancelled));
	rules.keep_ms[PEN_RUNNING] = DAY;
	cr_expect_eq(pen_retain_set(shop.store, &rules, NULL), -EINVAL);
}

Test(retain, rows_above_the_budget_go_oldest_first_and_are_counted)
{
	struct pen_retain_rules rules = { .size = sizeof(rules), .rows_bytes = 350 * 1024 };
	uint64_t first = plant(PEN_COMPLETED, 2000), second = plant(PEN_COMPLETED, 2000), trimmed = 0;
	struct pen_cleaned got;

	got = CLEAN(.size = 0);
	cr_expect_eq(got.rows, 0);
	cr_assert_eq(pen_retain_set(shop.store, &rules, NULL), 0);
	got = CLEAN(.size = 0);
	cr_expect_eq(total(&got), 0);
	cr_expect_gt(got.rows, 0);
	cr_assert_eq(pen_retain_trimmed(shop.store, first, &trimmed), 0);
	cr_expect_eq(trimmed, got.rows);
	cr_expect_eq(rows_of(first), 2000 - trimmed);
	cr_expect_eq(rows_of(second), 2000);
	cr_expect_lt(trimmed, 2000, "no more than it takes");
	verify();
	got = CLEAN(.size = 0);
	cr_expect_eq(got.rows, 0);
	/* By age, all of them go; the batches stay. */
	rules = (struct pen_retain_rules){ .size = sizeof(rules), .rows_ms = DAY };
	cr_assert_eq(pen_retain_set(shop.store, &rules, NULL), 0);
	ahead_ms = 2 * DAY;
	got = CLEAN(.size = 0);
	cr_expect_eq(got.rows, 4000 - trimmed);
	cr_expect(there(first) && there(second) && !rows_of(first) && !rows_of(second));
	verify();
	ahead_ms = 8 * DAY;
	got = CLEAN(.size = 0);
	cr_expect_eq(total(&got), 2);
	verify();
}

Test(retain, a_byte_budget_removes_the_oldest_first)
{
	uint64_t ids[40], left = 0;
	struct pen_cleaned got;

	for (size_t i = 0; i < PEN_COUNT(ids); i++)
		ids[i] = plant(i % 2 ? PEN_COMPLETED : PEN_FAILED, 50);
	got = CLEAN(.bytes = 150 * 1024);
	for (size_t i = 0; i < PEN_COUNT(ids); i++) {
		left += there(ids[i]);
		cr_expect(i == 0 || there(ids[i]) || !there(ids[i - 1]), "%zu went before %zu", i, i - 1);
	}
	cr_expect_eq(left + total(&got), 40);
	cr_expect(left > 0 && left < 40, "%llu are left", (unsigned long long)left);
	verify();
}

Test(retain, events_go_from_the_front_only)
{
	struct pen_retain_rules rules = { .size = sizeof(rules), .events_max = 4 };
	uint64_t old, first, last;
	struct plan stays = {
		.dataset = "e", .key_kind = PEN_KEY_POINTER, .state = PEN_STOPPED, .records = 1
	};
	struct pen_cleaned got;

	/* A batch that stays is in front, so the events of the one that goes wait behind it. */
	plant_batch(shop.store, &stays);
	old = plant(PEN_COMPLETED, 0);
	ahead_ms = 8 * DAY;
	got = CLEAN(.size = 0);
	cr_expect(!there(old) && got.events == 0);
	cr_expect_eq(events(&first, &last), 7);
	verify();
	cr_assert_eq(pen_retain_set(shop.store, &rules, NULL), 0);
	got = CLEAN(.size = 0);
	cr_expect_eq(got.events, 6);
	cr_expect_eq(events(&first, &last), 1);
	cr_expect_eq(first, 7);
	verify();
	ahead_ms = 60 * DAY;
	got = CLEAN(.size = 0);
	cr_expect_eq(events(&first, &last), 0);
	cr_expect_eq(info().first_event, 8);
	verify();
	stays.dataset = "f";
	plant_batch(shop.store, &stays);
	cr_expect_eq(events(&first, &last), 3);
	cr_expect_eq(first, 8);
	verify();
}

Test(retain, some_is_done_once_an_hour_and_goes_on_where_it_stopped)
{
	uint64_t big = plant(PEN_COMPLETED, 3000);
	unsigned calls = 0;

	cr_expect_eq(pen_retain_some(shop.store, PEN_NS_PER_S), 0, "the store is new");
	ahead_ms = 3600000;
	cr_expect_eq(pen_retain_some(shop.store, PEN_NS_PER_S), 1, "nothing was done yet: due");
	cr_expect_eq(pen_retain_some(shop.store, PEN_NS_PER_S), 0);
	ahead_ms = 8 * DAY;
	while (pen_retain_some(shop.store, 1) == 1)
		cr_assert_lt(++calls, 2000);
	cr_expect_gt(calls, 2);
	cr_expect_not(there(big));
	verify();
	ahead_ms += 3600000;
	cr_expect_eq(pen_retain_some(shop.store, PEN_NS_PER_S), 1);
	ahead_ms = 0; /* the clock was set back */
	cr_expect_eq(pen_retain_some(shop.store, PEN_NS_PER_S), 1);
}

Test(retain, a_look_that_ran_out_of_time_goes_on_behind_what_it_saw)
{
	struct pen_retain_rules rules = { .size = sizeof(rules) };
	uint64_t last = 0;
	unsigned calls = 0;

	rules.keep_ms[PEN_FAILED] = PEN_KEEP_FOREVER;
	cr_assert_eq(pen_retain_set(shop.store, &rules, NULL), 0);
	for (int i = 0; i < 50; i++)
		plant(PEN_FAILED, 0);
	last = plant(PEN_COMPLETED, 0);
	ahead_ms = 8 * DAY;
	/* With a nanosecond each call sees a batch or none; without the note of how far, it would never end. */
	while (there(last) && pen_retain_some(shop.store, 20000) == 1)
		cr_assert_lt(++calls, 20000);
	cr_expect_not(there(last));
}

Test(retain, a_dropped_dataset_takes_its_note_along)
{
	struct plan plan = plan_of(PEN_COMPLETED, 0);

	plant_batch(shop.store, &plan);
	ahead_ms = 8 * DAY;
	(void)CLEAN(.size = 0);
	cr_assert_eq(pen_dataset_drop(shop.store, "d", NULL), 0);
	verify();
	/* A batch into a dataset that is gone: nothing to account for. */
	plant_batch(shop.store, &plan);
	cr_assert_eq(pen_dataset_drop(shop.store, "d", NULL), 0);
	plant_batch(shop.store, &plan);
	ahead_ms = 16 * DAY;
	cr_expect_eq(CLEAN(.size = 0).batches[PEN_COMPLETED], 2);
	cr_expect_eq(entries_of("d"), 5);
	verify();
}

Test(retain, a_newer_batch_may_go_before_an_older_one_of_the_same_identity)
{
	struct pen_retain_rules rules = { .size = sizeof(rules) };
	struct plan plan = plan_of(PEN_CANCELLED, 0);
	uint64_t older, newer, found;

	rules.keep_ms[PEN_CANCELLED] = PEN_KEEP_FOREVER;
	cr_assert_eq(pen_retain_set(shop.store, &rules, NULL), 0);
	plan.identity = 9;
	older = plant_batch(shop.store, &plan);
	plan.state = PEN_COMPLETED;
	newer = plant_batch(shop.store, &plan);
	ahead_ms = 8 * DAY;
	(void)CLEAN(.size = 0);
	cr_expect(there(older) && !there(newer));
	cr_expect_eq(pen_ledger_look(shop.store, (uint8_t[16]){ 9 }, &found), -PEN_NOT_FOUND);
	verify();
}

Test(retain, a_dry_run_counts_and_changes_nothing)
{
	struct pen_store_options opt = { .size = sizeof(opt), .read_only = true };
	struct pen_cleaned got;
	uint64_t done = plant(PEN_COMPLETED, 7), txn;
	struct pen_store_info before, after;

	plant(PEN_STOPPED, 3);
	shop_close(&shop);
	cr_assert_eq(pen_store_open(shop.dir, &opt, &shop.store, NULL), 0);
	pen_store_set_clock(shop.store, &moved);
	ahead_ms = 8 * DAY;
	cr_assert_eq(pen_store_info(shop.store, &before), 0);
	txn = before.last_txn;
	got = CLEAN(.dry_run = true);
	cr_expect_eq(got.batches[PEN_COMPLETED], 1);
	cr_expect_eq(total(&got), 1);
	cr_expect_eq(got.rows, 7);
	cr_assert_eq(pen_store_info(shop.store, &after), 0);
	cr_expect_eq(after.last_txn, txn);
	cr_expect(there(done));
}

Test(retain, some_is_done_at_once_when_rules_were_given_and_never_in_a_read_only_store)
{
	struct pen_store_options opt = { .size = sizeof(opt), .read_only = true };
	struct pen_retain_rules rules = { .size = sizeof(rules) };
	uint64_t done = plant(PEN_COMPLETED, 1);

	rules.keep_ms[PEN_COMPLETED] = 1;
	cr_assert_eq(pen_retain_set(shop.store, &rules, NULL), 0);
	ahead_ms = 1000;
	shop_close(&shop);
	cr_assert_eq(pen_store_open(shop.dir, &opt, &shop.store, NULL), 0);
	pen_store_set_clock(shop.store, &moved);
	cr_expect_eq(pen_retain_some(shop.store, PEN_NS_PER_S), 0);
	cr_expect(there(done));
	verify();
	cr_expect_eq(pen_retain_some(shop.store, PEN_NS_PER_S), 1);
	cr_expect_not(there(done));
	verify();
}

/* ---- what verify must see ---------------------------------------------------------------------- */

static void trimmed_key(uint8_t key[PEN_RETAIN_KEY_LEN], const char *word, uint64_t id)
{
	memcpy(key, word, 7);
	pen_put_be64(key + 7, id);
}

/* Rewrites a row of penstock.meta, or takes it away. */
static void meddle(const void *key, size_t len, void (*change)(void *row))
{
	struct raw raw;
	size_t size;
	void *row;

	shop_close(&shop);
	raw_begin(&shop, &raw);
	row = raw_get(&raw, "penstock.meta", key, len, &size);
	cr_assert(row);
	if (change) {
		change(row);
		raw_reseal(row, size);
		raw_put(&raw, "penstock.meta", key, len, row, size);
	} else {
		raw_del(&raw, "penstock.meta", key, len);
	}
	free(row);
	raw_commit(&raw);
}

static void one_more_entry(void *row)
{
	((struct pen_fmt_removed *)row)->entries++;
}

static void one_more_row(void *row)
{
	((struct pen_fmt_trimmed *)row)->rejected++;
}

static void higher(void *row)
{
	((struct pen_fmt_trimmed *)row)->below = 100000;
}

static void later_events(void *row)
{
	((struct pen_fmt_retention *)row)->first_event++;
}

static void no_events(void *row)
{
	((struct pen_fmt_retention *)row)->first_event = 0;
}

static void expect_found(enum pen_invariant invariant, const char *text)
{
	const struct heard *heard = shop_verify(&shop);

	cr_expect(heard->by[invariant] && strstr(heard->all, text), "wanted %d `%s`, heard %s", invariant,
		  text, heard->all);
	shop_open(&shop);
	pen_store_set_clock(shop.store, &moved);
}

static uint64_t cleaned_store(void)
{
	struct pen_retain_rules rules = { .size = sizeof(rules), .rows_bytes = 100 * 1024 };
	uint64_t id;

	plant(PEN_COMPLETED, 0);
	ahead_ms = 8 * DAY;
	id = plant(PEN_COMPLETED, 2000);
	cr_assert_eq(pen_retain_set(shop.store, &rules, NULL), 0);
	(void)CLEAN(.size = 0);
	verify();
	return id;
}

Test(retain, verify_sees_a_wrong_sum_of_removed_batches)
{
	struct pen_fmt_dataset row;
	uint8_t key[PEN_RETAIN_KEY_LEN];
	MDB_txn *mdb;

	cleaned_store();
	cr_assert_eq(pen_read_begin(shop.store, &mdb), 0);
	cr_assert_eq(pen_dataset_row(shop.store, mdb, "d", &row), 0);
	pen_read_end(shop.store, mdb);
	trimmed_key(key, PEN_REMOVED_KEY, row.id);
	meddle(key, sizeof(key), one_more_entry);
	expect_found(PEN_INV_ENTRIES, "its batches committed 11");
	meddle(key, sizeof(key), NULL);
	expect_found(PEN_INV_ENTRIES, "its batches committed 5");
}

Test(retain, verify_sees_wrong_numbers_of_trimmed_rows)
{
	uint8_t key[PEN_RETAIN_KEY_LEN];
	uint64_t id = cleaned_store();
	struct raw raw;

	trimmed_key(key, PEN_TRIMMED_KEY, id);
	meddle(key, sizeof(key), one_more_row);
	expect_found(PEN_INV_ROWS, "rows rejected 2001");
	meddle(key, sizeof(key), higher);
	expect_found(PEN_INV_ROWS, "retention removed all below 100000");
	shop_close(&shop);
	raw_begin(&shop, &raw);
	key[14] ^= 1;
	raw_put(&raw, "penstock.meta", key, sizeof(key), "x", 1);
	raw_commit(&raw);
	expect_found(PEN_INV_VALUES, "`trimmed`: the value is damaged");
}

Test(retain, verify_sees_events_that_do_not_begin_where_they_should)
{
	cleaned_store();
	meddle(PEN_RETENTION_KEY, strlen(PEN_RETENTION_KEY), later_events);
	expect_found(PEN_INV_EVENTS, "event 4 follows event 4");
	meddle(PEN_RETENTION_KEY, strlen(PEN_RETENTION_KEY), no_events);
	expect_found(PEN_INV_EVENTS, "event 4 follows event 0");
}

Test(retain, verify_sees_a_batch_that_went_without_a_word)
{
	struct raw raw;
	uint64_t first, last, id;

	plant_batch(shop.store, &plan_mixed);
	id = plant(PEN_COMPLETED, 0);
	ahead_ms = 8 * DAY;
	(void)CLEAN(.size = 0);
	verify();
	cr_expect_not(there(id));
	cr_assert_eq(events(&first, &last), 7);
	/* The event that says so is no longer about it. */
	shop_close(&shop);
	raw_begin(&shop, &raw);
	struct pen_fmt_event *event;
	size_t len;

	event = raw_get_id(&raw, "penstock.events", last, &len);
	cr_assert(event);
	event->type = PEN_EVENT_CHECKPOINT;
	raw_reseal(event, len);
	raw_put_id(&raw, "penstock.events", last, event, len);
	free(event);
	raw_commit(&raw);
	expect_found(PEN_INV_EVENTS, "which is not there and was not removed");
}
