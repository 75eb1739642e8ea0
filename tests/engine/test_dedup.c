/* SPDX-License-Identifier: MIT */
#include "engine/dedup.h"

#include "ring/base.h"
#include "ring/error.h"
#include "store/index.h"
#include "store/lock.h"
#include "tests/store/scratch.h"

#define TTL 1000u
#define NOW 1700000000000ull

static struct pen_store *store;

static void set_up(void)
{
	scratch_make();
	store = scratch_store("s");
}

static void tear_down(void)
{
	pen_store_close(store);
	scratch_remove();
}

TestSuite(dedup, .init = set_up, .fini = tear_down, .timeout = 120);

static struct pen_plan plan_of(enum pen_dedup_mode mode, const char *owner)
{
	return (struct pen_plan){ .owner = (char *)(uintptr_t)owner,
				  .dedup = (char *)(uintptr_t) "k",
				  .dedup_mode = mode,
				  .dedup_ttl_ms = mode == PEN_DEDUP_SIMPLE ? 0 : TTL };
}

/* A batch of owner "ann" in this state that took the key at NOW; begun: it has run at least once. */
static uint64_t enter(struct pen_txn *txn, enum pen_dedup_mode mode, enum pen_state state, bool begun)
{
	struct pen_plan plan = plan_of(mode, "ann");
	struct pen_facts facts = { .dataset = "d",
				   .key = "@given",
				   .owner = "ann",
				   .correlation_id = "",
				   .idempotency_key = "",
				   .sources = "f",
				   .sources_len = 1,
				   .labels = "" };
	struct pen_standing *st = calloc(1, sizeof *st);
	struct pen_order order = { .spec = "into=d", .spec_len = 7, .hook = "true" };
	uint64_t id = pen_ledger_new_id(txn);

	facts.fixed.id = st->fixed.id = order.fixed.id = id;
	facts.fixed.key_kind = PEN_KEY_GIVEN;
	st->fixed.state = (uint8_t)state;
	st->fixed.started_ms = begun ? NOW : 0;
	st->fixed.ended_ms = pen_ledger_over(state) ? NOW : 0;
	cr_assert_eq(pen_ledger_create(txn, &facts, st), 0);
	cr_assert_eq(pen_dedup_take(txn, &plan, id, 0, NOW, &order), 0);
	cr_expect_eq(order.fixed.not_before_ms, mode == PEN_DEDUP_DEBOUNCE ? NOW + TTL : 0);
	cr_assert_eq(pen_order_put(txn, &order), 0);
	free(st);
	return id;
}

Test(dedup, each_mode_meets_each_mode_in_each_state)
{
	enum { S = PEN_DEDUP_SIMPLE, T = PEN_DEDUP_THROTTLE, D = PEN_DEDUP_DEBOUNCE };
	enum { NEW = PEN_DEDUP_ENTER, BACK = PEN_DEDUP_GIVE_BACK, REPLACE = PEN_DEDUP_REPLACE };
	static const struct {
		int first;
		enum pen_state state;
		bool begun;
		uint64_t after_ms;
		int fate[3]; /* of a later one that is simple, throttle, debounce */
	} rows[] = {
		{ S, PEN_QUEUED, false, 0, { BACK, BACK, REPLACE } },
		{ S, PEN_QUEUED, false, 10 * TTL, { BACK, BACK, REPLACE } },
		{ S, PEN_RUNNING, true, 10 * TTL, { BACK, BACK, NEW } },
		{ S, PEN_COMPLETED, true, 10 * TTL, { BACK, BACK, NEW } },
		{ S, PEN_FAILED, true, 0, { NEW, NEW, NEW } },
		{ S, PEN_CANCELLED, true, 0, { NEW, NEW, NEW } },
		{ T, PEN_QUEUED, false, 0, { BACK, BACK, REPLACE } },
		{ T, PEN_RUNNING, true, TTL - 1, { BACK, BACK, NEW } },
		{ T, PEN_COMPLETED, true, TTL - 1, { BACK, BACK, NEW } },
		{ T, PEN_FAILED, true, TTL - 1, { BACK, BACK, NEW } },
		{ T, PEN_CANCELLED, false, TTL - 1, { NEW, NEW, NEW } },
		{ T, PEN_QUEUED, false, TTL, { NEW, NEW, NEW } },
		{ T, PEN_RUNNING, true, TTL, { NEW, NEW, NEW } },
		{ D, PEN_QUEUED, false, TTL - 1, { BACK, BACK, REPLACE } },
		{ D, PEN_PAUSED, false, TTL - 1, { BACK, BACK, REPLACE } },
		{ D, PEN_RUNNING, true, TTL - 1, { BACK, BACK, NEW } },
		{ D, PEN_QUEUED, false, TTL, { NEW, NEW, NEW } },
		{ D, PEN_CANCELLED, false, TTL - 1, { NEW, NEW, NEW } },
	};

	for (size_t i = 0; i < PEN_COUNT(rows); i++) {
		struct pen_txn *txn = scratch_begin(store);
		uint64_t id = enter(txn, (enum pen_dedup_mode)rows[i].first, rows[i].state, rows[i].begun);

		for (int mode = S; mode <= D; mode++) {
			struct pen_plan mine = plan_of((enum pen_dedup_mode)mode, "ann");
			struct pen_plan other = plan_of((enum pen_dedup_mode)mode, "bob");
			uint64_t batch;

			cr_expect_eq(pen_dedup_judge(txn, &mine, NOW + rows[i].after_ms, &batch),
				     rows[i].fate[mode - S], "row %zu, mode %d", i, mode);
			cr_expect_eq(batch, rows[i].fate[mode - S] == NEW ? 0 : id, "row %zu, mode %d", i,
				     mode);
			cr_expect_eq(pen_dedup_judge(txn, &other, NOW, &batch), NEW, "of another owner");
		}
		pen_txn_abort(txn);
	}
}

Test(dedup, what_is_replaced_is_cancelled_without_its_command_unless_somebody_has_it)
{
	struct pen_plan plan = plan_of(PEN_DEDUP_DEBOUNCE, "ann");
	struct pen_txn *txn = scratch_begin(store);
	uint64_t id = enter(txn, PEN_DEDUP_DEBOUNCE, PEN_QUEUED, false), hook;
	struct pen_order order = { .fixed.id = id + 1 };
	struct pen_dedup_info info;
	struct pen_batch_info batch;
	uint32_t pid;
	int fd, mine;

	cr_assert_eq(pen_txn_commit(txn, NULL), 0);
	cr_expect_eq(pen_index_hooks(store, 0, &hook, 1), 1);
	cr_assert_eq(pen_lock_batch(store, id, &fd, &pid), 0);
	txn = scratch_begin(store);
	cr_expect_eq(pen_dedup_replace(txn, id, &mine, NULL), -PEN_BATCH_BUSY);
	pen_txn_abort(txn);
	pen_lock_release(store, id, fd);
	txn = scratch_begin(store);
	cr_assert_eq(pen_dedup_replace(txn, id, &mine, NULL), 0);
	cr_assert_eq(pen_dedup_take(txn, &plan, id + 1, id, NOW + 5, &order), 0);
	cr_assert_eq(pen_txn_commit(txn, NULL), 0);
	pen_lock_release(store, id, mine);
	cr_expect_eq(order.fixed.not_before_ms, NOW + 5 + TTL);
	cr_expect_eq(pen_index_hooks(store, 0, &hook, 1), 0);
	cr_assert_eq(pen_batch_get(store, id, &batch), 0);
	cr_expect_eq((int)batch.state, PEN_CANCELLED);
	cr_expect_eq(batch.code, -PEN_REPLACED);
	cr_assert_eq(pen_batch_dedup(store, id, &info), 0);
	cr_expect_eq(info.batch, id + 1);
	cr_expect_eq(info.previous, id);
	cr_expect_eq(info.count, 1);
}
