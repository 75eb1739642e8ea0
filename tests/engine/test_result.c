/* SPDX-License-Identifier: MIT */
#include "engine/result.h"

#include "engine/batch.h"
#include "engine/crew.h"
#include "ring/error.h"
#include "store/item.h"
#include "store/job.h"
#include "store/ledger.h"
#include "tests/store/scratch.h"

static struct pen_store *store;
static struct pen_plan plan;
static struct pen_batch batch;
static struct pen_pack *pack;

static void begin(void)
{
	struct pen_failure why = { 0 };
	struct pen_facts facts = { .dataset = "d",
				   .key = "@given",
				   .owner = "o",
				   .correlation_id = "",
				   .idempotency_key = "",
				   .sources = "f",
				   .sources_len = 1,
				   .labels = "" };
	struct pen_dataset *ds;
	struct pen_txn *txn;

	scratch_make();
	store = scratch_store("s");
	txn = scratch_begin(store);
	cr_assert_eq(pen_dataset_use(txn, "d", PEN_KEY_GIVEN, &ds, &why), 0);
	plan = (struct pen_plan){ .into = (char *)"d",
				  .on_duplicate = PEN_DUP_REJECT,
				  .key_kind = PEN_KEY_GIVEN };
	batch = (struct pen_batch){ .plan = &plan,
				    .id = pen_ledger_new_id(txn),
				    .dataset_id = pen_dataset_id(ds) };
	facts.fixed.id = batch.standing.fixed.id = batch.job.id = batch.id;
	facts.fixed.dataset_id = batch.dataset_id;
	facts.fixed.key_kind = PEN_KEY_GIVEN;
	batch.standing.fixed.state = PEN_RUNNING;
	cr_assert_eq(pen_ledger_create(txn, &facts, &batch.standing), 0);
	cr_assert_eq(pen_job_save(txn, &batch.job), 0);
	cr_assert_eq(pen_dataset_save(ds), 0);
	cr_assert_eq(pen_txn_commit(txn, &why), 0, "%s", why.text);
	cr_assert_eq(pen_pack_open(&pack), 0);
	pen_pack_reset(pack, &batch, 7);
}

static void end(void)
{
	pen_pack_close(pack);
	pen_store_close(store);
	scratch_remove();
}

TestSuite(result, .init = begin, .fini = end, .timeout = 120);

/* ---- packing ---------------------------------------------------------------------------------- */

Test(result, a_pack_grows_for_one_large_result_and_gives_it_back)
{
	char *large = calloc(1, 3 << 20);
	struct pen_piece piece;

	cr_expect(!pen_pack_full(pack));
	cr_assert_eq(pen_pack_add(pack, "abc", 3, &piece), 0);
	cr_assert_eq(pen_pack_add(pack, large, 3 << 20, &piece), 0);
	cr_expect_eq(piece.at, 3);
	cr_expect_eq(piece.len, 3u << 20);
	cr_expect(!memcmp(pack->data, "abc", 3));
	cr_expect(pen_pack_full(pack));
	pen_pack_reset(pack, &batch, 8);
	cr_expect_eq(pack->cap, PEN_PACK_BYTES);
	cr_expect(!pen_pack_full(pack));
	cr_assert_eq(pen_pack_add(pack, "", 0, &piece), 0);
	cr_expect_eq(piece.len, 0);
	free(large);
}

Test(result, many_deeds_fill_a_pack)
{
	static struct pen_deed deeds[PEN_CREW_DEEDS_MAX];

	for (unsigned i = 0; i < PEN_CREW_DEEDS_MAX; i++)
		deeds[i] = (struct pen_deed){ .dataset = "e", .key = "k", .key_len = 1, .del = true };
	for (unsigned i = 0; i < PEN_PACK_DEEDS / PEN_CREW_DEEDS_MAX; i++) {
		cr_expect(!pen_pack_full(pack), "%u", i);
		cr_assert_eq(pen_pack_add_deeds(pack, deeds, PEN_CREW_DEEDS_MAX), 0);
	}
	cr_expect(pen_pack_full(pack));
}

/* ---- applying --------------------------------------------------------------------------------- */

static struct pen_result *add(uint64_t seq, enum pen_item_state state, const char *key, const char *value)
{
	struct pen_result *r = &pack->results[pack->count++];

	*r = (struct pen_result){ .seq = seq, .state = (uint8_t)state, .attempts = 1, .exit_status = -1 };
	cr_assert_eq(pen_pack_add(pack, key, strlen(key), &r->key), 0);
	if (state == PEN_ITEM_COMMITTED) {
		cr_assert_eq(pen_pack_add(pack, value, strlen(value), &r->value), 0);
		pen_sum_add(&pack->sums[pen_hash_bucket(key, strlen(key))],
			    pen_hash_record(key, strlen(key), value, strlen(value)));
	}
	cr_assert_eq(pen_pack_add(pack, "raw", 3, &r->raw), 0);
	r->code = state == PEN_ITEM_COMMITTED ? 0 : -PEN_CHILD_EXIT;
	r->due_ms = state == PEN_ITEM_RETRYING ? 5000 : 0;
	r->ended_ms = 4000;
	pack->tries++;
	return r;
}

/* Applies the pack in a transaction of its own. What it counted, if it is committed, is the batch's. */
static struct pen_tally apply(bool commit)
{
	static struct pen_fmt_counters n;
	static struct pen_fmt_job job;
	struct pen_tally tally = { .n = &n, .job = &job };
	struct pen_txn *txn = scratch_begin(store);
	struct pen_failure why = { 0 };
	struct pen_dataset *ds;

	n = batch.standing.fixed.applied;
	job = batch.job;
	cr_assert_eq(pen_dataset_use_id(txn, "d", batch.dataset_id, &ds, &why), 0, "%s", why.text);
	cr_assert_eq(pen_pack_apply(pack, txn, ds, &tally), 0);
	cr_assert_eq(pen_dataset_save(ds), 0);
	if (!commit) {
		pen_txn_abort(txn);
		return tally;
	}
	batch.standing.fixed.applied = batch.standing.fixed.counted = n;
	job.due_ms = job.retrying ? 5000 : 0;
	batch.job = job;
	cr_assert_eq(pen_ledger_save(txn, &batch.standing), 0);
	cr_assert_eq(pen_job_save(txn, &batch.job), 0);
	cr_assert_eq(pen_txn_commit(txn, &why), 0, "%s", why.text);
	return tally;
}

static void finding(void *arg, int invariant, const char *text)
{
	(void)arg;
	cr_expect(false, "invariant %d: %s", invariant, text);
}

static void verify(void)
{
	struct pen_failure why = { 0 };

	pen_store_close(store);
	cr_expect_eq(pen_verify(scratch_path("s"), finding, NULL, &why), 0, "%s", why.text);
	store = scratch_store("s");
}

static void add_one_of_each(void)
{
	add(0, PEN_ITEM_COMMITTED, "a", "1");
	add(1, PEN_ITEM_REJECTED, "b", "");
	add(2, PEN_ITEM_FAILED, "c", "");
	add(3, PEN_ITEM_QUARANTINED, "d", "");
	add(4, PEN_ITEM_SKIPPED, "e", "");
	add(5, PEN_ITEM_RETRYING, "f", "");
	add(6, PEN_ITEM_COMMITTED, "a", "2"); /* the key is there: refused by the store */
}

static void expect_one_of_each(const struct pen_tally *t)
{
	cr_expect_eq(t->n->items, 6);
	cr_expect_eq(t->n->committed, 1);
	cr_expect_eq(t->n->rejected, 2);
	cr_expect_eq(t->n->failed, 2);
	cr_expect_eq(t->n->skipped, 1);
	cr_expect_eq(t->job->retrying, 1);
	cr_expect_eq(t->job->dropped, 1);
	cr_expect_eq(t->job->tries, 7);
	cr_expect_eq(t->items_end, 7);
}

Test(result, each_state_is_counted_and_what_was_refused_has_its_bytes)
{
	struct pen_item_copy row;
	struct pen_tally t;

	add_one_of_each();
	t = apply(true);
	expect_one_of_each(&t);
	cr_assert_eq(pen_item_read(store, batch.id, 6, &row), 0);
	cr_expect_eq(row.row.state, PEN_ITEM_REJECTED);
	cr_expect_eq(row.row.code, -PEN_KEY_TWICE);
	cr_expect_eq(row.row.raw_len, 3);
	free(row.block);
	cr_assert_eq(pen_item_read(store, batch.id, 0, &row), 0);
	cr_expect_eq(row.row.raw_len, 0, "the record is there: its row needs no bytes");
	free(row.block);
	verify();
}

/* Goal: a group that met a full disk is applied again. Method: abort, then the same pack once more. */
Test(result, a_pack_that_is_applied_again_says_the_same)
{
	struct pen_tally t;

	add_one_of_each();
	for (unsigned i = 0; i < 3; i++) {
		t = apply(false);
		expect_one_of_each(&t);
	}
	t = apply(true);
	expect_one_of_each(&t);
	verify();
}

Test(result, a_retry_that_ends_is_counted_once)
{
	struct pen_tally t;

	add(0, PEN_ITEM_RETRYING, "a", "");
	(void)apply(true);
	pen_pack_reset(pack, &batch, 9);
	add(0, PEN_ITEM_RETRYING, "a", "")->again = true;
	t = apply(true);
	cr_expect_eq(t.job->retrying, 1);
	cr_expect_eq(t.n->items, 0);
	pen_pack_reset(pack, &batch, 9);
	add(0, PEN_ITEM_COMMITTED, "a", "1")->again = true;
	t = apply(true);
	cr_expect_eq(t.job->retrying, 0);
	cr_expect_eq(t.n->items, 1);
	cr_expect_eq(t.n->committed, 1);
	verify();
}

Test(result, what_an_item_puts_beside_itself_is_all_there_or_nothing)
{
	static const char long_key[PEN_KEY_MAX + 1];
	struct pen_deed deeds[2] = {
		{ .dataset = "e", .key = "x", .key_len = 1, .value = "1", .value_len = 1 },
		{ .dataset = "e", .key = long_key, .key_len = sizeof long_key }
	};
	struct pen_result *r = add(0, PEN_ITEM_COMMITTED, "a", "1");
	void *value = NULL;
	struct pen_tally t;
	size_t len;

	r->deed_count = 2;
	cr_assert_eq(pen_pack_add_deeds(pack, deeds, 2), 0);
	t = apply(true);
	cr_expect_eq(t.n->failed, 1);
	cr_expect_eq(t.n->committed, 0);
	cr_expect_neq(pen_get(store, "d", "a", 1, &value, &len), 0);
	cr_expect_neq(pen_get(store, "e", "x", 1, &value, &len), 0);
	verify();
}

/* Goal: a refusal leaves no dataset half made. Method: the first is new, the second one of another kind. */
Test(result, a_new_dataset_beside_a_refused_one_does_no_harm)
{
	struct pen_deed deeds[2] = {
		{ .dataset = "new", .key = "x", .key_len = 1, .value = "1", .value_len = 1 },
		{ .dataset = "numbered", .key = "x", .key_len = 1, .value = "1", .value_len = 1 }
	};
	struct pen_txn *txn = scratch_begin(store);
	struct pen_failure why = { 0 };
	struct pen_dataset *ds;
	struct pen_tally t;

	cr_assert_eq(pen_dataset_use(txn, "numbered", PEN_KEY_SEQ, &ds, &why), 0);
	cr_assert_eq(pen_dataset_save(ds), 0);
	cr_assert_eq(pen_txn_commit(txn, &why), 0);
	add(0, PEN_ITEM_COMMITTED, "a", "1")->deed_count = 2;
	cr_assert_eq(pen_pack_add_deeds(pack, deeds, 2), 0);
	t = apply(true);
	cr_expect_eq(t.n->failed, 1);
	verify();
}
