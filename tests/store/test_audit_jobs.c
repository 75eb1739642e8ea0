/* SPDX-License-Identifier: MIT */
/*
 * Invariants 17 and 18, and what they touch of others, broken by hand in a store with orders, jobs and wishes.
 */
#include <criterion/criterion.h>

#include "ring/base.h"
#include "store/control.h"
#include "store/index.h"
#include "store/job.h"
#include "store/order.h"
#include "tests/store/plant.h"

static struct shop shop;
static uint64_t done_id, mixed_id, feeder_id;
static uint64_t child_id, job_id;

static void put_tried(struct pen_txn *txn, uint64_t seq, enum pen_item_state state, uint64_t due_ms)
{
	cr_assert_eq(pen_item_put(txn, &(struct pen_row){ .batch = job_id,
							  .seq = seq,
							  .state = state,
							  .code = -PEN_JSON_BAD,
							  .raw = "abc",
							  .raw_len = 3,
							  .tried = true,
							  .due_ms = due_ms,
							  .ended_ms = 1700000000000,
							  .message = "no",
							  .stderr_tail = "oh",
							  .stderr_len = 2 }),
		     0);
}

/* A batch that waits for two others, one whose items end one by one, and one that somebody wants to rest. */
static void employ(void)
{
	const struct pen_parent parents[] = { { done_id, PEN_EDGE_OK }, { mixed_id, PEN_EDGE_ANY } };
	struct pen_control control = { .want = PEN_WANT_PAUSE, .by = "ann" };
	static struct pen_standing st;
	struct pen_txn *txn;

	shop_open(&shop);
	child_id = plant_batch(shop.store, &(struct plan){ .dataset = "beta",
							   .key_kind = PEN_KEY_POINTER,
							   .state = PEN_WAITING });
	job_id = plant_batch(shop.store, &(struct plan){ .dataset = "beta",
							 .key_kind = PEN_KEY_POINTER,
							 .state = PEN_RUNNING });
	cr_assert_eq(pen_txn_begin(shop.store, PEN_DURABLE_COMMIT, &txn, NULL, NULL), 0);
	cr_assert_eq(pen_order_put(txn, &(struct pen_order){ .fixed.id = child_id,
							     .parents = parents,
							     .parent_count = 2 }),
		     0);
	put_tried(txn, 0, PEN_ITEM_FAILED, 0);
	put_tried(txn, 2, PEN_ITEM_QUARANTINED, 0);
	put_tried(txn, 8, PEN_ITEM_RETRYING, 5000);
	put_tried(txn, 9, PEN_ITEM_RETRYING, 6000);
	cr_assert_eq(pen_ledger_load(txn, job_id, NULL, &st), 0);
	st.fixed.applied.items = st.fixed.applied.failed = 2;
	st.fixed.counted = st.fixed.applied;
	cr_assert_eq(pen_ledger_save(txn, &st), 0);
	cr_assert_eq(pen_job_save(txn,
				  &(struct pen_fmt_job){
					  .id = job_id, .place_items = 1, .retrying = 2, .due_ms = 5000 }),
		     0);
	cr_assert_eq(pen_control_put(txn, job_id, &control), 0);
	cr_assert_eq(pen_txn_commit(txn, NULL), 0);
	shop_close(&shop);
}

static void set_up(void)
{
	shop_fill(&shop, &done_id, &mixed_id, &feeder_id);
	employ();
}

static void tear_down(void)
{
	shop_remove(&shop);
}

TestSuite(audit_jobs, .init = set_up, .fini = tear_down, .timeout = 600);

static void edge_key(uint8_t key[16], uint64_t parent, uint64_t child)
{
	plant_item_key(key, parent, child);
}

static void flip_id(struct raw *raw, const char *db, uint64_t id)
{
	uint8_t key[8];

	pen_put_be64(key, id);
	raw_flip(raw, db, key, sizeof(key));
}

static void flip_order(struct raw *raw)
{
	flip_id(raw, "penstock.orders", child_id);
}

static void flip_job(struct raw *raw)
{
	flip_id(raw, "penstock.jobs", job_id);
}

static void flip_wish(struct raw *raw)
{
	flip_id(raw, "penstock.controls", job_id);
}

static void flip_tried(struct raw *raw)
{
	uint8_t key[16];

	plant_item_key(key, job_id, 8);
	raw_flip(raw, "penstock.items", key, 16);
}

static void edge_long(struct raw *raw)
{
	uint8_t key[16];

	edge_key(key, done_id, child_id);
	raw_put(raw, "penstock.edges", key, 16, "ab", 2);
}

static void copy_id(struct raw *raw, const char *db, uint64_t from, uint64_t to)
{
	size_t size;
	uint8_t *value = raw_get_id(raw, db, from, &size);

	cr_assert(value);
	memcpy(value + 8, &to, 8);
	raw_reseal(value, size);
	raw_put_id(raw, db, to, value, size);
	free(value);
}

static void order_of_nobody(struct raw *raw)
{
	copy_id(raw, "penstock.orders", child_id, 77);
}

static void job_of_nobody(struct raw *raw)
{
	copy_id(raw, "penstock.jobs", job_id, 77);
}

static void wish_of_nobody(struct raw *raw)
{
	copy_id(raw, "penstock.controls", job_id, 77);
}

static void wish_of_the_ended(struct raw *raw)
{
	copy_id(raw, "penstock.controls", job_id, done_id);
}

static void edge_gone(struct raw *raw)
{
	uint8_t key[16];

	edge_key(key, mixed_id, child_id);
	raw_del(raw, "penstock.edges", key, 16);
}

static void edge_too_many(struct raw *raw)
{
	uint8_t key[16];

	edge_key(key, feeder_id, child_id);
	raw_put(raw, "penstock.edges", key, 16, "\1", 1);
}

/* As many as there should be, but one of another parent. */
static void edge_moved(struct raw *raw)
{
	edge_gone(raw);
	edge_too_many(raw);
}

static void edge_of_another_kind(struct raw *raw)
{
	uint8_t key[16];

	edge_key(key, mixed_id, child_id);
	raw_put(raw, "penstock.edges", key, 16, "\1", 1);
}

static void edge_of_no_order(struct raw *raw)
{
	uint8_t key[16];

	edge_key(key, done_id, feeder_id);
	raw_put(raw, "penstock.edges", key, 16, "\1", 1);
}

static void edge_to_nobody(struct raw *raw)
{
	uint8_t key[16];

	edge_key(key, done_id, 77);
	raw_put(raw, "penstock.edges", key, 16, "\1", 1);
}

static void complete_but_retrying(struct raw *raw)
{
	raw_edit_id(raw, "penstock.states", job_id, offsetof(struct pen_fmt_state, state),
		    &(uint8_t){ PEN_COMPLETED }, 1);
}

static void job_place_beyond(struct raw *raw)
{
	raw_edit_id(raw, "penstock.jobs", job_id, offsetof(struct pen_fmt_job, place_items), &(uint64_t){ 5 },
		    8);
}

static void retrying_off(struct raw *raw)
{
	raw_edit_id(raw, "penstock.jobs", job_id, offsetof(struct pen_fmt_job, retrying), &(uint64_t){ 3 },
		    8);
}

static void job_lost(struct raw *raw)
{
	raw_del_id(raw, "penstock.jobs", job_id);
}

static void entry_gone(struct raw *raw, struct pen_index_key key)
{
	raw_del(raw, "penstock.index", key.bytes, key.len);
}

static void entry_more(struct raw *raw, struct pen_index_key key, int32_t code)
{
	raw_put(raw, "penstock.index", key.bytes, key.len, &code,
		key.bytes[0] == PEN_INDEX_ROW ? sizeof(code) : 0);
}

static void index_state_gone(struct raw *raw)
{
	entry_gone(raw, pen_index_state(PEN_RUNNING, job_id));
}

static void index_owner_gone(struct raw *raw)
{
	entry_gone(raw, pen_index_owner("me", job_id));
}

static void index_ended_gone(struct raw *raw)
{
	entry_gone(raw, pen_index_ended(0, done_id));
}

static void index_row_gone(struct raw *raw)
{
	entry_gone(raw, pen_index_row(job_id, PEN_ITEM_QUARANTINED, 2));
}

static void index_due_gone(struct raw *raw)
{
	entry_gone(raw, pen_index_due(job_id, 6000, 9));
}

static void index_state_wrong(struct raw *raw)
{
	entry_gone(raw, pen_index_state(PEN_RUNNING, job_id));
	entry_more(raw, pen_index_state(PEN_QUEUED, job_id), 0);
}

static void index_owner_wrong(struct raw *raw)
{
	entry_gone(raw, pen_index_owner("me", job_id));
	entry_more(raw, pen_index_owner("you", job_id), 0);
}

/* Begins as the owner does, and goes on behind its end. */
static void index_owner_padded(struct raw *raw)
{
	struct pen_index_key key = pen_index_owner("me", job_id);

	entry_gone(raw, key);
	memmove(key.bytes + 5, key.bytes + 4, 8);
	key.bytes[4] = 0;
	key.len++;
	entry_more(raw, key, 0);
}

static void index_ended_wrong(struct raw *raw)
{
	entry_gone(raw, pen_index_ended(0, done_id));
	entry_more(raw, pen_index_ended(9, done_id), 0);
}

static void index_ended_early(struct raw *raw)
{
	entry_more(raw, pen_index_ended(0, job_id), 0);
}

static void index_row_of_another_state(struct raw *raw)
{
	entry_gone(raw, pen_index_row(job_id, PEN_ITEM_QUARANTINED, 2));
	entry_more(raw, pen_index_row(job_id, PEN_ITEM_FAILED, 2), -PEN_JSON_BAD);
}

static void index_row_of_another_code(struct raw *raw)
{
	entry_more(raw, pen_index_row(job_id, PEN_ITEM_QUARANTINED, 2), -PEN_KEY_LONG);
}

static void index_row_without_code(struct raw *raw)
{
	struct pen_index_key key = pen_index_row(job_id, PEN_ITEM_QUARANTINED, 2);

	raw_put(raw, "penstock.index", key.bytes, key.len, "", 0);
}

/* As many as there should be, but one of a row that is not looked for. */
static void index_row_of_the_skipped(struct raw *raw)
{
	entry_gone(raw, pen_index_row(job_id, PEN_ITEM_QUARANTINED, 2));
	entry_more(raw, pen_index_row(mixed_id, PEN_ITEM_SKIPPED, 46), -PEN_DUPLICATE_KEPT);
}

static void index_row_of_nobody(struct raw *raw)
{
	entry_more(raw, pen_index_row(job_id, PEN_ITEM_FAILED, 5), -PEN_JSON_BAD);
}

static void index_due_early(struct raw *raw)
{
	entry_gone(raw, pen_index_due(job_id, 6000, 9));
	entry_more(raw, pen_index_due(job_id, 5999, 9), 0);
}

static void index_due_of_the_decided(struct raw *raw)
{
	entry_more(raw, pen_index_due(job_id, 0, 2), 0);
}

static void index_entry_with_value(struct raw *raw)
{
	struct pen_index_key key = pen_index_due(job_id, 6000, 9);

	raw_put(raw, "penstock.index", key.bytes, key.len, "x", 1);
}

static void index_of_another_kind(struct raw *raw)
{
	raw_put(raw, "penstock.index", "\011234567890", 11, "", 0);
}

static void index_dropped(struct raw *raw)
{
	cr_assert_eq(mdb_drop(raw->txn, raw_db(raw, "penstock.index", 0), 1), 0);
}

static const struct planted planted[] = {
#define P(plant, invariant, says)              \
	{                                      \
#plant, plant, invariant, says \
	}
	P(flip_order, PEN_INV_VALUES, "its order is damaged"),
	P(flip_job, PEN_INV_VALUES, "its job is damaged"),
	P(flip_wish, PEN_INV_VALUES, "what is wanted of it is damaged"),
	P(flip_tried, PEN_INV_VALUES, "item 8: the row is damaged"),
	P(edge_long, PEN_INV_VALUES, "penstock.edges"),
	P(order_of_nobody, PEN_INV_JOBS, "an order of batch"),
	P(job_of_nobody, PEN_INV_JOBS, "a job of batch"),
	P(wish_of_nobody, PEN_INV_JOBS, "a wish of batch"),
	P(wish_of_the_ended, PEN_INV_JOBS, "has ended, but something is wanted"),
	P(edge_gone, PEN_INV_JOBS, "but 1 edges lead to it"),
	P(edge_too_many, PEN_INV_JOBS, "but 3 edges lead to it"),
	P(edge_moved, PEN_INV_JOBS, "no such edge"),
	P(edge_of_another_kind, PEN_INV_JOBS, "no such edge"),
	P(edge_of_no_order, PEN_INV_JOBS, "waits for 0 batches, but 1 edges"),
	P(edge_to_nobody, PEN_INV_JOBS, "an edge leads to a batch that is not there"),
	P(complete_but_retrying, PEN_INV_JOBS, "2 items wait to be tried again"),
	P(job_place_beyond, PEN_INV_CHECKPOINT, "behind 5 items, but 2 are decided and 2 wait"),
	P(retrying_off, PEN_INV_ROWS, "rows retrying 2; its job says 3"),
	P(job_lost, PEN_INV_ROWS, "rows retrying 2; its job says 0"),
	P(index_state_gone, PEN_INV_INDEX, "things are to be found"),
	P(index_owner_gone, PEN_INV_INDEX, "things are to be found"),
	P(index_ended_gone, PEN_INV_INDEX, "things are to be found"),
	P(index_row_gone, PEN_INV_INDEX, "things are to be found"),
	P(index_due_gone, PEN_INV_INDEX, "things are to be found"),
	P(index_state_wrong, PEN_INV_INDEX, "its state"),
	P(index_owner_wrong, PEN_INV_INDEX, "its owner"),
	P(index_owner_padded, PEN_INV_INDEX, "its owner"),
	P(index_ended_wrong, PEN_INV_INDEX, "when it ended"),
	P(index_ended_early, PEN_INV_INDEX, "when it ended"),
	P(index_row_of_another_state, PEN_INV_INDEX, "a row"),
	P(index_row_of_another_code, PEN_INV_INDEX, "a row"),
	P(index_row_without_code, PEN_INV_INDEX, "a row"),
	P(index_row_of_the_skipped, PEN_INV_INDEX, "a row"),
	P(index_row_of_nobody, PEN_INV_INDEX, "a row"),
	P(index_due_early, PEN_INV_INDEX, "a row that waits"),
	P(index_due_of_the_decided, PEN_INV_INDEX, "a row that waits"),
	P(index_entry_with_value, PEN_INV_INDEX, "an entry with a value"),
	P(index_of_another_kind, PEN_INV_INDEX, "an unknown kind"),
	P(index_dropped, PEN_INV_PAGES, "penstock.index"),
#undef P
};

Test(audit_jobs, each_planted_violation_is_named)
{
	shop_check_planted(&shop, planted, PEN_COUNT(planted));
}
