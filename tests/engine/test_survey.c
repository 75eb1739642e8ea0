/* SPDX-License-Identifier: MIT */
/*
 * What engine/survey.c says of batches that were submitted, beside the same said plainly from what was planted.
 */
#include "ring/base.h"
#include "ring/error.h"
#include "store/index.h"
#include "store/job.h"
#include "store/ledger.h"
#include "store/order.h"
#include "tests/store/scratch.h"

static struct pen_store *store;

static void begin(void)
{
	scratch_make();
	store = scratch_store("s");
}

static void end(void)
{
	pen_store_close(store);
	scratch_remove();
}

TestSuite(survey, .init = begin, .fini = end, .timeout = 120);

struct entry {
	enum pen_state state;
	uint64_t not_before_ms, due_ms;
	const uint64_t *parents;
	uint32_t parent_count;
	enum pen_edge edge;
	const char *hook;
	bool no_order;
};

/* In the caller's transaction. */
static uint64_t put(struct pen_txn *txn, struct entry e)
{
	struct pen_facts facts = { .dataset = "d",
				   .key = "@given",
				   .owner = "o",
				   .correlation_id = "",
				   .idempotency_key = "",
				   .sources = "f",
				   .sources_len = 1,
				   .labels = "" };
	struct pen_standing *st = calloc(1, sizeof *st);
	struct pen_parent parents[8];
	struct pen_order order = { .spec = "into=d", .spec_len = 7, .hook = e.hook, .parents = parents };
	uint64_t id = pen_ledger_new_id(txn);

	facts.fixed.id = st->fixed.id = order.fixed.id = id;
	facts.fixed.key_kind = PEN_KEY_GIVEN;
	st->fixed.state = (uint8_t)(e.state ? e.state : PEN_QUEUED);
	st->fixed.ended_ms = pen_ledger_over(st->fixed.state);
	order.fixed.not_before_ms = e.not_before_ms;
	order.fixed.priority = 3;
	for (uint32_t i = 0; i < e.parent_count; i++)
		parents[order.parent_count++] =
			(struct pen_parent){ e.parents[i], e.edge ? e.edge : PEN_EDGE_ANY };
	cr_assert_eq(pen_ledger_create(txn, &facts, st), 0);
	if (!e.no_order)
		cr_assert_eq(pen_order_put(txn, &order), 0);
	if (e.due_ms)
		cr_assert_eq(pen_job_save(txn, &(struct pen_fmt_job){ .id = id,
								      .due_ms = e.due_ms,
								      .retrying = 2,
								      .tries = 5,
								      .retries = 3,
								      .crashes = 1,
								      .dropped = 4,
								      .cache_hits = 6,
								      .cache_misses = 7 }),
			     0);
	free(st);
	return id;
}

static uint64_t enter(struct entry e)
{
	struct pen_txn *txn = scratch_begin(store);
	uint64_t id = put(txn, e);

	cr_assert_eq(pen_txn_commit(txn, NULL), 0);
	return id;
}

static struct pen_queue_info look(void)
{
	struct pen_queue_info info;

	cr_assert_eq(pen_queue_look(store, &info), 0);
	return info;
}

/* ---- one batch ------------------------------------------------------------------------------- */

Test(survey, what_a_batch_was_told_and_how_its_items_fare)
{
	uint64_t plain = enter((struct entry){ .no_order = true });
	uint64_t parents[2] = { plain, enter((struct entry){ 0 }) };
	uint64_t id = enter((struct entry){
		.not_before_ms = 77, .due_ms = 99, .parents = parents, .parent_count = 2, .hook = "true" });
	struct pen_index_key hook = pen_index_hook(id);
	struct pen_job_info info;
	struct pen_txn *txn;

	cr_assert_eq(pen_batch_job(store, plain, &info), 0);
	cr_expect_not(info.submitted || info.tried || info.has_hook || info.hook_owed);
	cr_expect_eq(info.parents, 0);
	cr_assert_eq(pen_batch_job(store, id, &info), 0);
	cr_expect(info.submitted && info.tried && info.has_hook && info.hook_owed);
	cr_expect_eq(info.priority, 3);
	cr_expect_eq(info.not_before_ms, 77);
	cr_expect_eq(info.parents, 2);
	cr_expect_eq(info.due_ms, 99);
	cr_expect_eq(info.retrying, 2);
	cr_expect_eq(info.tries * 1000 + info.retries * 100 + info.crashes * 10 + info.dropped, 5314);
	cr_expect_eq(info.cache_hits * 10 + info.cache_misses, 67);
	txn = scratch_begin(store);
	cr_assert_eq(pen_index_remove(txn, &hook), 0);
	cr_assert_eq(pen_txn_commit(txn, NULL), 0);
	cr_assert_eq(pen_batch_job(store, id, &info), 0);
	cr_expect(info.has_hook && !info.hook_owed, "it was run");
}

Test(survey, parents_and_children_in_order_and_behind_one_another)
{
	uint64_t parents[3], children[5], got[8];
	struct pen_after after[3];
	uint64_t id;

	for (int i = 0; i < 3; i++)
		parents[i] = enter((struct entry){ 0 });
	id = enter((struct entry){ .parents = parents, .parent_count = 3, .edge = PEN_EDGE_OK });
	cr_assert_eq(pen_batch_parents(store, id, after, 3), 3);
	for (int i = 0; i < 3; i++)
		cr_expect(after[i].batch == parents[i] && after[i].ok);
	cr_expect_eq(pen_batch_parents(store, id, after, 2), 2);
	cr_expect_eq(pen_batch_parents(store, parents[0], after, 3), 0);
	cr_expect_eq(pen_batch_parents(store, 12345, after, 3), 0, "not there");
	for (int i = 0; i < 5; i++)
		children[i] = enter((struct entry){ .parents = &id, .parent_count = 1 });
	cr_assert_eq(pen_batch_children(store, id, 0, got, 8), 5);
	cr_expect_arr_eq(got, children, sizeof children);
	cr_assert_eq(pen_batch_children(store, id, children[2], got, 8), 2);
	cr_expect_eq(got[0], children[3]);
	cr_expect_eq(pen_batch_children(store, id, children[4], got, 8), 0);
	cr_assert_eq(pen_batch_children(store, id, 0, got, 2), 2);
}

/* ---- kin ------------------------------------------------------------------------------------- */

#define KIN 64u

struct seen {
	uint64_t id[KIN];
	uint32_t count, stop_at;
};

static int see(void *arg, uint64_t batch)
{
	struct seen *s = arg;

	cr_assert_lt(s->count, KIN);
	s->id[s->count++] = batch;
	return s->count == s->stop_at ? 7 : 0;
}

static bool has(const struct seen *s, uint64_t id)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < s->count; i++)
		n += s->id[i] == id;
	cr_expect_leq(n, 1, "each once");
	return n > 0;
}

/* Random parents among those that are there, against a closure by a matrix. */
Test(survey, kin_is_all_that_can_be_reached_and_nothing_else)
{
	bool reaches[KIN][KIN] = { 0 }; /* [child][ancestor] */
	uint64_t ids[KIN], state = 0x5eed;

	for (uint32_t i = 0; i < KIN; i++) {
		uint64_t parents[3];
		uint32_t n = 0;

		for (uint32_t k = 0; k < 3 && i; k++) {
			uint32_t p;

			state = state * 6364136223846793005ull + 1442695040888963407ull;
			p = (uint32_t)(state >> 33) % i;
			if (state >> 62 || reaches[i][p])
				continue; /* also: no parent twice */
			parents[n++] = ids[p];
			reaches[i][p] = true;
			for (uint32_t a = 0; a < p; a++)
				reaches[i][a] |= reaches[p][a];
		}
		ids[i] = enter((struct entry){ .parents = parents, .parent_count = n });
	}
	for (uint32_t i = 0; i < KIN; i++) {
		struct seen before = { .count = 0 }, behind = { .count = 0 };

		cr_assert_eq(pen_batch_kin(store, ids[i], false, see, &before, NULL), 0);
		cr_assert_eq(pen_batch_kin(store, ids[i], true, see, &behind, NULL), 0);
		for (uint32_t k = 0; k < KIN; k++) {
			if (k == i)
				continue;
			cr_expect_eq(has(&before, ids[k]), reaches[i][k], "%u before %u", k, i);
			cr_expect_eq(has(&behind, ids[k]), reaches[k][i], "%u behind %u", k, i);
		}
	}
	{
		struct seen few = { .stop_at = 2 };

		cr_expect_eq(pen_batch_kin(store, ids[0], true, see, &few, NULL), 7,
			     "the visitor's word ends it");
		cr_expect_eq(few.count, 2);
	}
}

/* ---- the queue ------------------------------------------------------------------------------- */

Test(survey, an_empty_queue)
{
	struct pen_queue_info info = look();

	cr_expect_eq(info.queued + info.waiting + info.paused, 0);
	cr_expect(info.whole && !info.due_now);
	cr_expect_eq(info.due_ms, 0);
}

Test(survey, when_time_lets_the_next_one_run)
{
	uint64_t parent = enter((struct entry){ .state = PEN_RUNNING });
	struct pen_queue_info info;

	enter((struct entry){ .parents = &parent, .parent_count = 1 });
	enter((struct entry){ .state = PEN_PAUSED });
	info = look();
	cr_expect_eq(info.queued, 1);
	cr_expect_eq(info.paused, 1);
	cr_expect_not(info.due_now, "nobody knows when its parent ends");
	cr_expect_eq(info.due_ms, 0);
	enter((struct entry){ .not_before_ms = 5000 });
	enter((struct entry){ .not_before_ms = 3000 });
	enter((struct entry){ .state = PEN_WAITING, .due_ms = 2000, .not_before_ms = 2500 });
	enter((struct entry){ .state = PEN_WAITING, .due_ms = 9000 });
	info = look();
	cr_expect_eq(info.queued, 3);
	cr_expect_eq(info.waiting, 2);
	cr_expect_eq(info.due_ms, 2500, "the later of its two times, the earliest of all");
	cr_expect_not(info.due_now);
	enter((struct entry){ .state = PEN_COMPLETED });
	cr_expect_eq(look().due_ms, 2500);
	enter((struct entry){ 0 });
	cr_expect(look().due_now);
	cr_expect(look().whole);
}

Test(survey, a_long_queue_is_counted_whole_and_asked_in_part)
{
	struct pen_txn *txn = scratch_begin(store);
	struct pen_queue_info info;

	for (unsigned i = 0; i < 10100; i++)
		(void)put(txn, (struct entry){ .not_before_ms = 1000000 - i });
	cr_assert_eq(pen_txn_commit(txn, NULL), 0);
	info = look();
	cr_expect_eq(info.queued, 10100);
	cr_expect_not(info.whole);
	cr_expect_eq(info.due_ms, 1000000 - 9999, "of the oldest 10,000");
}
