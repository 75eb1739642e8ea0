/* SPDX-License-Identifier: MIT */
#include "store/totals.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "ring/base.h"
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

TestSuite(totals, .init = set_up, .fini = tear_down);

static uint64_t enter(void)
{
	struct pen_standing st = { .fixed = { .state = PEN_QUEUED } };
	struct pen_facts facts = { .dataset = "d" };
	struct pen_txn *txn;

	cr_assert_eq(pen_txn_begin(shop.store, PEN_DURABLE_COMMIT, &txn, NULL, NULL), 0);
	st.fixed.id = facts.fixed.id = pen_ledger_new_id(txn);
	cr_assert_eq(pen_ledger_create(txn, &facts, &st), 0);
	cr_assert_eq(pen_txn_commit(txn, NULL), 0);
	return st.fixed.id;
}

static void save(uint64_t id, enum pen_state state, uint64_t committed, uint64_t failed, uint64_t groups,
		 uint32_t hold_ms)
{
	struct pen_standing st = { .fixed = { .id = id,
					      .state = (uint8_t)state,
					      .applied = { .items = committed + failed,
							   .committed = committed,
							   .failed = failed,
							   .bytes = 10 * committed },
					      .groups = groups,
					      .hold_last_ms = hold_ms } };
	struct pen_txn *txn;

	st.fixed.counted = st.fixed.applied;
	cr_assert_eq(pen_txn_begin(shop.store, PEN_DURABLE_COMMIT, &txn, NULL, NULL), 0);
	cr_assert_eq(pen_ledger_save(txn, &st), 0);
	cr_assert_eq(pen_txn_commit(txn, NULL), 0);
}

static struct pen_totals get(void)
{
	struct pen_totals totals = { 0 };

	cr_assert_eq(pen_store_totals(shop.store, &totals), 0);
	return totals;
}

Test(totals, begin_with_nothing)
{
	struct pen_totals t = get();

	cr_assert_eq(t.since_ms, 0);
	cr_assert_eq(t.batches, 0);
}

Test(totals, grow_with_what_is_added_and_never_shrink)
{
	uint64_t a = enter(), b;
	struct pen_totals t;

	save(a, PEN_RUNNING, 0, 0, 0, 0);
	save(a, PEN_RUNNING, 10, 2, 1, 0);
	save(a, PEN_RUNNING, 30, 3, 2, 7);
	save(a, PEN_COMPLETED, 30, 3, 3, 100000);
	t = get();
	cr_assert_gt(t.since_ms, 0);
	cr_assert_eq(t.batches, 1);
	cr_assert_eq(t.committed, 30);
	cr_assert_eq(t.failed, 3);
	cr_assert_eq(t.bytes, 300);
	cr_assert_eq(t.states[PEN_QUEUED], 1);
	cr_assert_eq(t.states[PEN_RUNNING], 1, "a state is counted when a batch comes to it");
	cr_assert_eq(t.states[PEN_COMPLETED], 1);
	cr_assert_eq(t.groups, 3);
	cr_assert_eq(t.hold_ms, 100007);
	cr_assert_eq(t.holds[0], 1, "0 ms");
	cr_assert_eq(t.holds[3], 1, "7 ms are more than 5 and at most 10");
	cr_assert_eq(pen_hold_bucket(3), 10);
	cr_assert_eq(t.holds[PEN_HOLD_BUCKETS - 1], 1, "and the rest");

	/* Failed ones are tried again: they have failed before, and end again. */
	save(a, PEN_QUEUED, 30, 0, 3, 1);
	cr_assert_eq(get().failed, 3);
	save(a, PEN_RUNNING, 32, 1, 4, 1);
	t = get();
	cr_assert_eq(t.failed, 4);
	cr_assert_eq(t.committed, 32);
	b = enter();
	save(b, PEN_RUNNING, 5, 0, 1, 1);
	t = get();
	cr_assert_eq(t.batches, 2);
	cr_assert_eq(t.committed, 37);
	cr_assert_eq(t.groups, 5);
}

Test(totals, nothing_is_counted_by_what_does_not_commit)
{
	struct pen_standing st = { .fixed = { .state = PEN_RUNNING,
					      .applied = { .items = 9, .committed = 9 } } };
	struct pen_txn *txn;

	st.fixed.id = enter();
	cr_assert_eq(pen_txn_begin(shop.store, PEN_DURABLE_COMMIT, &txn, NULL, NULL), 0);
	cr_assert_eq(pen_ledger_save(txn, &st), 0);
	pen_txn_abort(txn);
	cr_assert_eq(get().committed, 0);
}

/* Rewrites the row, or takes it away. */
static void meddle(void (*change)(struct pen_fmt_totals *row))
{
	struct raw raw;
	size_t size;
	void *row;

	raw_begin(&shop, &raw);
	row = raw_get(&raw, "penstock.meta", PEN_TOTALS_KEY, strlen(PEN_TOTALS_KEY), &size);
	cr_assert(row && size == sizeof(struct pen_fmt_totals));
	if (change) {
		change(row);
		raw_reseal(row, size);
		raw_put(&raw, "penstock.meta", PEN_TOTALS_KEY, strlen(PEN_TOTALS_KEY), row, size);
	} else {
		raw_del(&raw, "penstock.meta", PEN_TOTALS_KEY, strlen(PEN_TOTALS_KEY));
	}
	free(row);
	raw_commit(&raw);
}

static void less(struct pen_fmt_totals *row)
{
	row->committed = 1;
}

static void held(struct pen_fmt_totals *row)
{
	row->holds[2]++;
}

Test(totals, verify_holds_them_against_the_batches)
{
	const struct heard *heard;
	uint64_t done, mixed, feeder;

	shop_remove(&shop);
	shop_make(&shop);
	shop_fill(&shop, &done, &mixed, &feeder);
	cr_assert_eq(shop_verify(&shop)->ret, 0);
	meddle(held);
	heard = shop_verify(&shop);
	cr_expect(heard->by[PEN_INV_COUNTERS] == 1 && strstr(heard->all, "tell"), "%s", heard->all);
	meddle(less);
	heard = shop_verify(&shop);
	cr_expect(heard->by[PEN_INV_COUNTERS] && strstr(heard->all, "the totals say less"), "%s", heard->all);

	/* A store of a version that did not count: they begin with what comes next. */
	meddle(NULL);
	cr_assert_eq(shop_verify(&shop)->ret, 0);
	shop_open(&shop);
	cr_assert_eq(get().since_ms, 0);
	save(enter(), PEN_RUNNING, 4, 0, 1, 1);
	cr_assert_eq(get().committed, 4);
	shop_close(&shop);
	heard = shop_verify(&shop);
	cr_expect_null(strstr(heard->all, "totals"), "older batches are not asked for: %s", heard->all);
}
