/* SPDX-License-Identifier: MIT */
#include "store/journal.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "ring/base.h"
#include "store/store_private.h"
#include "tests/store/plant.h"

static struct shop shop;

static void set_up(void)
{
	shop_make(&shop);
}

static void tear_down(void)
{
	shop_remove(&shop);
}

TestSuite(journal, .init = set_up, .fini = tear_down);

/* One transaction with `count` events, batch i % 3. */
static void add(unsigned count, bool commit)
{
	struct pen_txn *txn;

	cr_assert_eq(pen_txn_begin(shop.store, PEN_DURABLE_COMMIT, &txn, NULL, NULL), 0);
	for (unsigned i = 0; i < count; i++)
		cr_assert_eq(pen_journal_add(txn, i % 3, PEN_EVENT_CHECKPOINT, -(int)i, i, 2 * i), 0);
	if (commit)
		cr_assert_eq(pen_txn_commit(txn, NULL), 0);
	else
		pen_txn_abort(txn);
}

static unsigned count_from(uint64_t batch, uint64_t from, uint64_t *ret_first)
{
	struct pen_cursor *cur;
	struct pen_event event;
	unsigned n = 0;

	cr_assert_eq(pen_events_open(shop.store, batch, from, &cur), 0);
	while (pen_events_next(cur, &event) == 1) {
		cr_assert(!batch || event.batch == batch);
		if (!n++)
			*ret_first = event.seq;
	}
	cr_assert_eq(pen_events_next(cur, &event), 0);
	pen_cursor_close(cur);
	return n;
}

Test(journal, sequences_have_no_gaps_though_transactions_were_aborted)
{
	struct pen_store_info info;
	struct pen_cursor *cur;
	struct pen_event event;
	uint64_t seq = 0;

	add(3, true);
	add(5, false);
	add(4, true);
	shop_close(&shop);
	shop_open(&shop);
	add(2, true);
	cr_assert_eq(pen_events_open(shop.store, 0, 0, &cur), 0);
	while (pen_events_next(cur, &event) == 1)
		cr_assert_eq(event.seq, ++seq);
	pen_cursor_close(cur);
	cr_assert_eq(seq, 9);
	cr_assert_eq(pen_store_info(shop.store, &info), 0);
	cr_assert_eq(info.last_event, 9);
}

Test(journal, an_event_comes_back_as_it_went)
{
	struct pen_cursor *cur;
	struct pen_event event;

	add(3, true);
	cr_assert_eq(pen_events_open(shop.store, 2, 0, &cur), 0);
	cr_assert_eq(pen_events_next(cur, &event), 1);
	pen_cursor_close(cur);
	cr_expect_eq(event.seq, 3);
	cr_expect_eq(event.batch, 2);
	cr_expect_eq(event.type, PEN_EVENT_CHECKPOINT);
	cr_expect_eq(event.code, -2);
	cr_expect_eq(event.a, 2);
	cr_expect_eq(event.b, 4);
	cr_expect_gt(event.time_ms, 1600000000000u);
}

Test(journal, from_and_batch_choose_events)
{
	static const struct {
		uint64_t batch, from;
		unsigned count;
		uint64_t first;
	} cases[] = {
		{ 0, 0, 9, 1 },	 { 0, 1, 9, 1 }, { 0, 5, 5, 5 }, { 0, 9, 1, 9 },
		{ 0, 10, 0, 0 }, { 1, 0, 3, 2 }, { 1, 3, 2, 5 }, { 7, 0, 0, 0 },
	};

	add(9, true);
	for (size_t i = 0; i < PEN_COUNT(cases); i++) {
		uint64_t first = 0;

		cr_expect_eq(count_from(cases[i].batch, cases[i].from, &first), cases[i].count, "case %zu",
			     i);
		cr_expect_eq(first, cases[i].first, "case %zu", i);
	}
}

Test(journal, an_event_above_the_last_one_is_damage)
{
	static const struct pen_fmt_event event;
	struct pen_txn *txn;
	struct raw raw;

	add(2, true);
	shop_close(&shop);
	raw_begin(&shop, &raw);
	raw_put_id(&raw, "penstock.events", 8, &event, sizeof(event));
	raw_commit(&raw);
	shop_open(&shop);
	cr_assert_eq(pen_txn_begin(shop.store, PEN_DURABLE_COMMIT, &txn, NULL, NULL), 0);
	cr_assert_eq(pen_journal_add(txn, 1, PEN_EVENT_STARTED, 0, 0, 0), -PEN_STORE_DAMAGED);
	pen_txn_abort(txn);
}

Test(journal, a_damaged_event_is_refused)
{
	struct pen_cursor *cur;
	struct pen_event event;
	struct raw raw;
	uint8_t *value;
	size_t len;

	add(2, true);
	shop_close(&shop);
	raw_begin(&shop, &raw);
	value = raw_get_id(&raw, "penstock.events", 2, &len);
	value[20] ^= 4;
	raw_put_id(&raw, "penstock.events", 2, value, len);
	raw_commit(&raw);
	free(value);
	shop_open(&shop);
	cr_assert_eq(pen_events_open(shop.store, 0, 0, &cur), 0);
	cr_assert_eq(pen_events_next(cur, &event), 1);
	cr_assert_eq(pen_events_next(cur, &event), -PEN_STORE_DAMAGED);
	pen_cursor_close(cur);
}

Test(journal, every_type_has_a_name)
{
	for (unsigned i = 0; i <= PEN_EVENT_INTERRUPTED + 1u; i++) {
		bool known = i && i <= PEN_EVENT_INTERRUPTED && i != 12 && i != 15;

		cr_expect_eq(strcmp(pen_event_name(i), "unknown") != 0, known, "%u", i);
	}
	cr_expect_str_eq(pen_event_name(PEN_EVENT_CHECKPOINT), "checkpoint");
}

Test(journal, minutes_hold_what_a_transaction_added_and_count_what_they_cannot_hold)
{
	struct pen_minutes minutes = { .count = 5, .lost = 5 };
	struct pen_store_info before, after;
	struct pen_txn *txn;

	cr_assert_eq(pen_store_info(shop.store, &before), 0);
	cr_assert_eq(pen_txn_begin(shop.store, PEN_DURABLE_COMMIT, &txn, NULL, NULL), 0);
	cr_assert_eq(pen_journal_add(txn, 1, PEN_EVENT_QUEUED, 0, 0, 0), 0);
	pen_journal_minute(txn, &minutes);
	cr_expect_eq(minutes.count, 0, "from now on");
	cr_expect_eq(minutes.lost, 0);
	for (unsigned i = 0; i < PEN_MINUTES + 3; i++)
		cr_assert_eq(pen_journal_add(txn, 1 + i, PEN_EVENT_PROGRESS, -(int)i, 10 + i, 20 + i), 0);
	cr_assert_eq(pen_txn_commit(txn, NULL), 0);
	cr_assert_eq(pen_store_info(shop.store, &after), 0);
	cr_expect_eq(minutes.count, PEN_MINUTES);
	cr_expect_eq(minutes.lost, 3);
	cr_expect_eq(minutes.txn, after.last_txn);
	for (unsigned i = 0; i < PEN_MINUTES; i++) {
		const struct pen_event *e = &minutes.events[i];

		cr_expect_eq(e->seq, before.last_event + 2 + i);
		cr_expect(e->batch == 1 + i && e->type == PEN_EVENT_PROGRESS && e->code == -(int)i &&
			  e->a == 10 + i && e->b == 20 + i && e->time_ms);
	}
	/* Another transaction has its own, or none. */
	add(2, true);
	cr_expect_eq(minutes.count, PEN_MINUTES);
}
