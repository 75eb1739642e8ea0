/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "store/control.h"
#include "store/index.h"
#include "store/job.h"
#include "store/order.h"
#include "store/store_private.h"
#include "tests/store/retain_lab.h"

TestSuite(retain_rest, .init = set_up, .fini = tear_down);

static struct pen_txn *begin(void)
{
	struct pen_txn *txn;

	cr_assert_eq(pen_txn_begin(shop.store, PEN_DURABLE_COMMIT, &txn, NULL, NULL), 0);
	return txn;
}

static void commit(struct pen_txn *txn)
{
	cr_assert_eq(pen_txn_commit(txn, NULL), 0);
}

/* Its items end one by one; rows of the last `waiting` wait for another try. */
static void employ(struct pen_txn *txn, uint64_t id, unsigned waiting)
{
	static struct pen_standing st;

	cr_assert_eq(pen_ledger_load(txn, id, NULL, &st), 0);
	cr_assert_eq(pen_job_save(txn,
				  &(struct pen_fmt_job){
					  .id = id,
					  .place_items = st.fixed.applied.items + waiting,
					  .retrying = waiting,
					  .due_ms = waiting ? 5000 : 0,
				  }),
		     0);
	for (unsigned i = 0; i < waiting; i++)
		cr_assert_eq(pen_item_put(txn, &(struct pen_row){ .batch = id,
								  .seq = st.fixed.applied.items + i,
								  .state = PEN_ITEM_RETRYING,
								  .code = -PEN_JSON_BAD,
								  .raw = "abc",
								  .raw_len = 3,
								  .tried = true,
								  .due_ms = 5000 + i }),
			     0);
}

static void order(struct pen_txn *txn, uint64_t id, uint64_t parent, uint64_t other, const char *hook)
{
	struct pen_parent parents[] = { { parent, PEN_EDGE_OK }, { other, PEN_EDGE_ANY } };

	cr_assert_eq(pen_order_put(txn, &(struct pen_order){ .fixed.id = id,
							     .spec = "x",
							     .spec_len = 1,
							     .hook = hook,
							     .parents = parents,
							     .parent_count = !!parent + !!other }),
		     0);
}

static void unhook(uint64_t id)
{
	struct pen_index_key key = pen_index_hook(id);
	struct pen_txn *txn = begin();

	cr_assert_eq(pen_index_remove(txn, &key), 0);
	commit(txn);
}

static void end_batch(uint64_t id, enum pen_state state)
{
	static struct pen_standing st;
	struct pen_txn *txn = begin();

	cr_assert_eq(pen_ledger_load(txn, id, NULL, &st), 0);
	st.fixed.state = (uint8_t)state;
	st.fixed.ended_ms = st.fixed.updated_ms;
	cr_assert_eq(pen_ledger_save(txn, &st), 0);
	commit(txn);
}

static uint64_t db_count(enum pen_db db)
{
	MDB_stat stat;
	MDB_txn *mdb;

	cr_assert_eq(pen_read_begin(shop.store, &mdb), 0);
	cr_assert_eq(mdb_stat(mdb, shop.store->db[db], &stat), 0);
	pen_read_end(shop.store, mdb);
	return stat.ms_entries;
}

Test(retain_rest, nothing_of_a_submitted_batch_is_left)
{
	static const enum pen_db all[] = { PEN_DB_BATCHES, PEN_DB_STATES,   PEN_DB_ITEMS, PEN_DB_ORDERS,
					   PEN_DB_JOBS,	   PEN_DB_CONTROLS, PEN_DB_EDGES, PEN_DB_INDEX };
	struct pen_control control = { .want = PEN_WANT_CANCEL, .by = "ann" };
	uint64_t parent = plant(PEN_FAILED, 3), child = plant(PEN_CANCELLED, 1200);
	struct pen_cleaned got = { 0 };
	struct pen_txn *txn = begin();
	unsigned steps = 0;

	employ(txn, parent, 0);
	order(txn, parent, 0, 0, NULL);
	employ(txn, child, 900);
	order(txn, child, parent, 0, "true");
	cr_assert_eq(pen_control_put(txn, child, &control), 0);
	commit(txn);
	unhook(child);
	verify();
	ahead_ms = 8 * DAY;
	do {
		cr_assert_lt(++steps, 3000);
		got = CLEAN(.budget_ns = 1);
		verify();
	} while (!got.whole);
	cr_expect_gt(steps, 2);
	cr_expect(!there(parent) && !there(child));
	for (size_t i = 0; i < PEN_COUNT(all); i++)
		cr_expect_eq(db_count(all[i]), 0, "%zu", i);
}

Test(retain_rest, a_batch_stays_while_an_unfinished_one_waits_for_it)
{
	uint64_t parent = plant(PEN_COMPLETED, 2), other = plant(PEN_COMPLETED, 0);
	struct plan waits = { .dataset = "w", .key_kind = PEN_KEY_POINTER, .state = PEN_WAITING };
	uint64_t child = plant_batch(shop.store, &waits), ended = plant(PEN_FAILED, 1);
	struct pen_retain_rules rules = { .size = sizeof(rules) };
	struct pen_order *left;
	struct pen_cleaned got;
	struct pen_txn *txn = begin();

	rules.keep_ms[PEN_FAILED] = PEN_KEEP_FOREVER;
	order(txn, ended, parent, other, "true");
	order(txn, child, parent, 0, NULL);
	commit(txn);
	unhook(ended);
	cr_assert_eq(pen_retain_set(shop.store, &rules, NULL), 0);
	ahead_ms = 8 * DAY;
	got = CLEAN(.size = 0);
	cr_expect_eq(total(&got), 1);
	cr_expect_eq(got.kept, 1);
	cr_expect(there(parent) && there(child) && there(ended) && !there(other));
	verify();
	end_batch(child, PEN_FAILED);
	verify();
	got = CLEAN(.size = 0);
	cr_expect_eq(total(&got), 1);
	cr_expect(!there(parent) && there(child) && there(ended));
	verify();
	/* Whoever tries their items again finds nothing that they would wait for, and no second hook. */
	cr_assert_eq(pen_order_read(shop.store, ended, &left), 0);
	cr_expect_eq(left->parent_count, 0);
	cr_expect_str_eq(left->hook, "true");
	cr_expect_eq(left->spec_len, 1);
	free(left);
	cr_expect_eq(pen_index_hooks(shop.store, 0, &(uint64_t){ 0 }, 1), 0);
	cr_expect_eq(db_count(PEN_DB_EDGES), 0);
}

Test(retain_rest, a_chain_of_batches_does_not_keep_itself)
{
	uint64_t last = 0, id;
	struct pen_txn *txn;

	/* Each waits for the one before; the youngest never ends. */
	for (unsigned i = 0; i < 20; i++) {
		id = i < 19 ? plant(PEN_COMPLETED, 1) : plant_stopped(1);
		txn = begin();
		order(txn, id, last, 0, NULL);
		commit(txn);
		last = id;
	}
	ahead_ms = 8 * DAY;
	cr_expect_eq(CLEAN(.size = 0).batches[PEN_COMPLETED], 18);
	verify();
	cr_expect_eq(db_count(PEN_DB_BATCHES), 2);
}

Test(retain_rest, many_children_are_let_go_a_thousand_a_transaction)
{
	uint64_t parent = plant(PEN_COMPLETED, 0), ids[1500];
	struct plan plan = { .dataset = "c", .key_kind = PEN_KEY_POINTER, .state = PEN_FAILED };
	struct pen_retain_rules rules = { .size = sizeof(rules) };
	struct pen_cleaned got;
	struct pen_txn *txn;
	unsigned steps = 0, half = 0;

	rules.keep_ms[PEN_FAILED] = PEN_KEEP_FOREVER;
	cr_assert_eq(pen_retain_set(shop.store, &rules, NULL), 0);
	for (size_t i = 0; i < PEN_COUNT(ids); i++)
		ids[i] = plant_batch(shop.store, &plan);
	txn = begin();
	for (size_t i = 0; i < PEN_COUNT(ids); i++)
		order(txn, ids[i], parent, 0, NULL);
	commit(txn);
	ahead_ms = 8 * DAY;
	do {
		cr_assert_lt(++steps, 3000);
		got = CLEAN(.budget_ns = 1);
		if (there(parent) && db_count(PEN_DB_EDGES) < PEN_COUNT(ids) && !half++)
			verify();
	} while (!got.whole);
	cr_expect_geq(half, 1);
	cr_expect_not(there(parent));
	cr_expect_eq(db_count(PEN_DB_EDGES), 0);
	verify();
}

Test(retain_rest, a_hook_that_is_owed_or_rows_that_wait_keep_a_batch)
{
	uint64_t hooked = plant(PEN_COMPLETED, 1), waits = plant_stopped(1);
	uint64_t cancelled = plant(PEN_CANCELLED, 1);
	struct pen_cleaned got;
	struct pen_txn *txn = begin();

	order(txn, hooked, 0, 0, "true");
	employ(txn, waits, 2);
	employ(txn, cancelled, 2);
	commit(txn);
	verify();
	ahead_ms = 8 * DAY;
	got = CLEAN(.states = 1u << PEN_COMPLETED | 1u << PEN_STOPPED | 1u << PEN_CANCELLED);
	cr_expect_eq(got.kept, 2);
	cr_expect_eq(got.batches[PEN_CANCELLED], 1);
	cr_expect(there(hooked) && there(waits) && !there(cancelled));
	verify();
	unhook(hooked);
	got = CLEAN(.size = 0);
	cr_expect_eq(total(&got), 1);
	cr_expect_not(there(hooked));
	verify();
}
