/* SPDX-License-Identifier: MIT */
#include "store/running.h"

#include <criterion/criterion.h>

#include "ring/base.h"
#include "store/ledger.h"
#include "store/lock.h"
#include "tests/store/scratch.h"

TestSuite(running, .init = scratch_make, .fini = scratch_remove, .timeout = 600);

/* A batch in this state; held: this process has its lock. */
static uint64_t enter(struct pen_store *store, const char *owner, enum pen_state state, bool begun, bool held)
{
	struct pen_facts facts = { .dataset = "d",
				   .key = "@given",
				   .owner = owner,
				   .correlation_id = "",
				   .idempotency_key = "",
				   .sources = "f",
				   .sources_len = 1,
				   .labels = "" };
	struct pen_standing *st = calloc(1, sizeof *st);
	struct pen_txn *txn = scratch_begin(store);
	uint64_t id = pen_ledger_new_id(txn);
	uint32_t pid;
	int fd;

	facts.fixed.id = st->fixed.id = id;
	facts.fixed.key_kind = PEN_KEY_GIVEN;
	st->fixed.state = (uint8_t)state;
	st->fixed.started_ms = begun;
	cr_assert_eq(pen_ledger_create(txn, &facts, st), 0);
	cr_assert_eq(pen_txn_commit(txn, NULL), 0);
	free(st);
	if (held)
		cr_assert_eq(pen_lock_batch(store, id, &fd, &pid), 0);
	return id;
}

Test(running, what_somebody_runs_counts_and_nothing_else)
{
	struct pen_store *store = scratch_store("s");
	uint64_t mine = enter(store, "ann", PEN_RUNNING, true, true);
	uint32_t all = 9, of_owner = 9;
	struct pen_txn *txn;

	enter(store, "ann", PEN_RUNNING, true, true);
	enter(store, "bob", PEN_PAUSED, true, true);
	enter(store, "ann", PEN_RUNNING, true, false);	/* its process died */
	enter(store, "ann", PEN_PAUSED, true, false);	/* rests without one */
	enter(store, "ann", PEN_PAUSED, false, true);	/* somebody looks at it */
	enter(store, "ann", PEN_QUEUED, false, true);	/* the same */
	enter(store, "ann", PEN_COMPLETED, true, true); /* the same */
	txn = scratch_begin(store);
	cr_assert_eq(pen_running_count(txn, 0, "ann", &all, &of_owner), 0);
	cr_expect_eq(all, 3);
	cr_expect_eq(of_owner, 2);
	cr_assert_eq(pen_running_count(txn, mine, "ann", &all, &of_owner), 0);
	cr_expect_eq(all, 2, "but for this one");
	cr_expect_eq(of_owner, 1);
	cr_assert_eq(pen_running_count(txn, 0, NULL, &all, &of_owner), 0);
	cr_expect_eq(of_owner, 0);
	pen_txn_abort(txn);
	pen_store_close(store);
}

Test(running, at_a_cap_and_below_it)
{
	struct pen_store *store = scratch_store("s");
	static const struct {
		struct pen_caps caps;
		const char *owner, *says; /* NULL: it may begin */
	} rows[] = {
		{ { 0, 0 }, "ann", NULL },
		{ { 3, 0 }, "ann", "3 batches run in this store; at most 3" },
		{ { 4, 0 }, "ann", NULL },
		{ { 0, 2 }, "ann", "2 batches of 'ann'" },
		{ { 0, 3 }, "ann", NULL },
		{ { 0, 2 }, "bob", NULL },
		{ { 0, 1 }, "bob", "'bob'" },
		{ { 0, 1 }, "eve", NULL },
		{ { 1, 1 }, "eve", "at most 1" },
	};
	struct pen_txn *txn;

	enter(store, "ann", PEN_RUNNING, true, true);
	enter(store, "ann", PEN_RUNNING, true, true);
	enter(store, "bob", PEN_RUNNING, true, true);
	txn = scratch_begin(store);
	for (size_t i = 0; i < PEN_COUNT(rows); i++) {
		struct pen_failure why = { 0 };
		int rc = pen_running_check(txn, &rows[i].caps, 1, rows[i].owner, &why);

		cr_expect_eq(rc, rows[i].says ? -PEN_AT_CAP : 0, "row %zu: %d", i, rc);
		cr_expect(!rows[i].says || strstr(why.text, rows[i].says), "row %zu: %s", i, why.text);
	}
	pen_txn_abort(txn);
	pen_store_close(store);
}
