/* SPDX-License-Identifier: MIT */
/*
 * What is wanted of a batch, in every state it may be in, with and without a runner; a runner is whoever holds the
 * batch's lock.
 */
#include "store/control.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <unistd.h>

#include "ring/base.h"
#include "store/index.h"
#include "store/lock.h"
#include "store/order.h"
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

TestSuite(control, .init = set_up, .fini = tear_down, .timeout = 600);

static uint64_t batch_in(enum pen_state state)
{
	return plant_batch(
		shop.store,
		&(struct plan){ .dataset = "d", .key_kind = PEN_KEY_POINTER, .state = state, .rejected = 1 });
}

static struct pen_fmt_state state_of(uint64_t id)
{
	static struct pen_standing st;

	cr_assert_eq(pen_ledger_read(shop.store, id, NULL, &st), 0);
	return st.fixed;
}

static void set_state(uint64_t id, enum pen_state state)
{
	static struct pen_standing st;
	struct pen_txn *txn;

	cr_assert_eq(pen_txn_begin(shop.store, PEN_DURABLE_RELAXED, &txn, NULL, NULL), 0);
	cr_assert_eq(pen_ledger_load(txn, id, NULL, &st), 0);
	st.fixed.state = (uint8_t)state;
	cr_assert_eq(pen_ledger_save(txn, &st), 0);
	cr_assert_eq(pen_txn_commit(txn, NULL), 0);
}

static void order(uint64_t id, const struct pen_parent *parents, uint32_t count)
{
	struct pen_txn *txn;

	cr_assert_eq(pen_txn_begin(shop.store, PEN_DURABLE_RELAXED, &txn, NULL, NULL), 0);
	cr_assert_eq(pen_order_put(txn, &(struct pen_order){ .fixed.id = id,
							     .parents = parents,
							     .parent_count = count }),
		     0);
	cr_assert_eq(pen_txn_commit(txn, NULL), 0);
}

static int wish(uint64_t id, enum pen_wish what, bool *ret_runs)
{
	struct pen_failure why = { 0 };
	int rc = pen_batch_wish(shop.store, id, what, "ann", "because", ret_runs, &why);

	cr_expect_eq(rc, why.code, "%d, but %d %s", rc, why.code, why.text);
	return rc;
}

/* The newest event is of this type and batch. */
static void check_event(uint64_t id, enum pen_event_type type)
{
	struct pen_event event, last = { 0 };
	struct pen_cursor *cur;

	cr_assert_eq(pen_events_open(shop.store, id, 0, &cur), 0);
	while (pen_events_next(cur, &event) == 1)
		last = event;
	pen_cursor_close(cur);
	cr_expect_eq(last.type, type, "%d", last.type);
}

#define NOT_OVER_COUNT 6
static const enum pen_state not_over[NOT_OVER_COUNT] = { PEN_QUEUED, PEN_WAITING, PEN_RUNNING,
							 PEN_PAUSED, PEN_STOPPED, PEN_INTERRUPTED };

Test(control, a_pause_of_what_nobody_runs_is_done_at_once)
{
	for (size_t i = 0; i < NOT_OVER_COUNT; i++) {
		uint64_t id = batch_in(not_over[i]), got;
		struct pen_wish_info info;
		struct pen_batch_info batch;
		bool runs = true;

		cr_assert_eq(wish(id, PEN_WISH_PAUSE, &runs), 0);
		cr_expect_not(runs);
		cr_expect_eq(state_of(id).state, PEN_PAUSED);
		cr_expect_eq(state_of(id).code, 0);
		cr_assert_eq(pen_batch_wished(shop.store, id, &info), 0);
		cr_expect_eq(info.wish, PEN_WISH_PAUSE);
		cr_expect_str_eq(info.by, "ann");
		cr_expect_str_eq(info.reason, "because");
		cr_expect_gt(info.time_ms, 1700000000000);
		/* It rests, rather than having been left behind. */
		cr_assert_eq(pen_batch_get(shop.store, id, &batch), 0);
		cr_expect_eq(batch.state, PEN_PAUSED);
		cr_expect_eq(pen_index_in_state(shop.store, PEN_PAUSED, id - 1, &got, 1), 1);
		cr_expect_eq(got, id);
		if (not_over[i] != PEN_PAUSED)
			check_event(id, PEN_EVENT_PAUSED);
	}
}

Test(control, a_cancel_of_what_nobody_runs_is_done_at_once)
{
	for (size_t i = 0; i < NOT_OVER_COUNT; i++) {
		uint64_t id = batch_in(not_over[i]);
		struct pen_wish_info info;
		bool runs = true;

		if (i % 2)
			cr_assert_eq(wish(id, PEN_WISH_PAUSE, NULL), 0);
		cr_assert_eq(wish(id, PEN_WISH_CANCEL, &runs), 0);
		cr_expect_not(runs);
		cr_expect_eq(state_of(id).state, PEN_CANCELLED);
		cr_expect_eq(state_of(id).code, -PEN_CANCELLED_BY);
		cr_assert_eq(pen_batch_wished(shop.store, id, &info), 0, "who wanted it is kept");
		cr_expect_eq(info.wish, PEN_WISH_CANCEL);
		check_event(id, PEN_EVENT_CANCELLED);
	}
}

Test(control, what_runs_is_told)
{
	uint64_t id = batch_in(PEN_RUNNING), before;
	struct pen_wish_info info;
	bool runs = false;
	uint32_t pid;
	int fd;

	cr_assert_eq(pen_lock_batch(shop.store, id, &fd, &pid), 0);
	before = pen_store_last_txn(shop.store);
	cr_assert_eq(wish(id, PEN_WISH_PAUSE, &runs), 0);
	cr_expect(runs);
	cr_expect_gt(pen_store_last_txn(shop.store), before, "its runner looks");
	cr_expect_eq(state_of(id).state, PEN_RUNNING);
	cr_assert_eq(pen_batch_wished(shop.store, id, &info), 0);
	cr_expect_eq(info.wish, PEN_WISH_PAUSE);
	cr_assert_eq(wish(id, PEN_WISH_RESUME, &runs), 0);
	cr_expect(runs);
	cr_expect_eq(pen_batch_wished(shop.store, id, &info), -PEN_NOT_FOUND);
	cr_assert_eq(wish(id, PEN_WISH_CANCEL, &runs), 0);
	cr_expect(runs);
	cr_expect_eq(state_of(id).state, PEN_RUNNING);
	cr_assert_eq(pen_batch_wished(shop.store, id, &info), 0);
	cr_expect_eq(info.wish, PEN_WISH_CANCEL);
	/* The wish outlives its runner. */
	pen_lock_release(shop.store, id, fd);
	shop_close(&shop);
	shop_open(&shop);
	cr_assert_eq(pen_batch_wished(shop.store, id, &info), 0);
	cr_expect_eq(info.wish, PEN_WISH_CANCEL);
}

Test(control, a_resume_goes_where_the_batch_is_taken_up_again)
{
	uint64_t done = batch_in(PEN_COMPLETED), busy = batch_in(PEN_RUNNING);
	const struct {
		uint32_t count; /* of parents; UINT32_MAX: it was not submitted */
		struct pen_parent parents[2];
		enum pen_state state;
	} cases[] = {
		{ UINT32_MAX, { { 0 } }, PEN_INTERRUPTED },
		{ 0, { { 0 } }, PEN_QUEUED },
		{ 1, { { busy, PEN_EDGE_OK } }, PEN_WAITING },
		{ 2, { { done, PEN_EDGE_OK }, { busy, PEN_EDGE_ANY } }, PEN_WAITING },
	};

	for (size_t i = 0; i < PEN_COUNT(cases); i++) {
		uint64_t id = batch_in(PEN_WAITING);
		struct pen_wish_info info;
		bool runs = true;

		if (cases[i].count != UINT32_MAX)
			order(id, cases[i].parents, cases[i].count);
		cr_assert_eq(wish(id, PEN_WISH_PAUSE, NULL), 0);
		cr_assert_eq(wish(id, PEN_WISH_RESUME, &runs), 0);
		cr_expect_not(runs);
		cr_expect_eq(state_of(id).state, cases[i].state, "case %zu: %d", i, state_of(id).state);
		cr_expect_eq(pen_batch_wished(shop.store, id, &info), -PEN_NOT_FOUND);
		check_event(id, PEN_EVENT_RESUMED);
	}
}

Test(control, a_resume_of_what_was_not_paused_changes_nothing)
{
	for (size_t i = 0; i < NOT_OVER_COUNT; i++) {
		uint64_t id = batch_in(not_over[i]);

		if (not_over[i] == PEN_PAUSED)
			continue;
		cr_assert_eq(wish(id, PEN_WISH_RESUME, NULL), 0);
		cr_expect_eq(state_of(id).state, not_over[i]);
		check_event(id, PEN_EVENT_CHECKPOINT);
	}
}

Test(control, nothing_can_be_wanted_of_what_is_over_or_not_there)
{
	static const enum pen_state over[] = { PEN_COMPLETED, PEN_FAILED, PEN_CANCELLED };
	struct pen_wish_info info;

	for (int w = PEN_WISH_PAUSE; w <= PEN_WISH_CANCEL; w++) {
		for (size_t i = 0; i < PEN_COUNT(over); i++) {
			uint64_t id = batch_in(over[i]);

			cr_expect_eq(wish(id, (enum pen_wish)w, NULL), -PEN_BATCH_OVER);
			cr_expect_eq(state_of(id).state, over[i]);
			cr_expect_eq(pen_batch_wished(shop.store, id, &info), -PEN_NOT_FOUND);
		}
		cr_expect_eq(wish(12345, (enum pen_wish)w, NULL), -PEN_NOT_FOUND);
	}
	cr_expect_eq(pen_batch_wished(shop.store, 12345, &info), -PEN_NOT_FOUND);
	cr_expect_eq(faccessat(pen_store_run_fd(shop.store), "batch.0000000000003039", F_OK, 0), -1,
		     "and no lock file was made");
}

/* However a batch ends: by its runner as well. */
Test(control, a_wish_ends_with_its_batch)
{
	static const enum pen_state over[] = { PEN_COMPLETED, PEN_FAILED, PEN_CANCELLED };

	for (size_t i = 0; i < PEN_COUNT(over); i++) {
		uint64_t id = batch_in(PEN_RUNNING);
		struct pen_wish_info info;

		cr_assert_eq(wish(id, PEN_WISH_PAUSE, NULL), 0);
		set_state(id, PEN_RUNNING);
		cr_assert_eq(pen_batch_wished(shop.store, id, &info), 0, "a runner follows it later");
		set_state(id, over[i]);
		cr_expect_eq(pen_batch_wished(shop.store, id, &info), -PEN_NOT_FOUND);
	}
}

Test(control, long_words_are_cut)
{
	uint64_t id = batch_in(PEN_QUEUED);
	struct pen_wish_info info;
	char *text = plant_value(0, 400);

	text[400] = 0;
	cr_assert_eq(pen_batch_wish(shop.store, id, PEN_WISH_PAUSE, text, NULL, NULL, NULL), 0);
	cr_assert_eq(pen_batch_wished(shop.store, id, &info), 0);
	cr_expect_eq(strlen(info.by), PEN_CONTROL_TEXT);
	cr_expect_eq(memcmp(info.by, text, PEN_CONTROL_TEXT), 0);
	cr_expect_str_eq(info.reason, "");
	free(text);
}

Test(control, decode_never_reads_past_a_cut_value)
{
	struct pen_control got;
	uint64_t id = batch_in(PEN_QUEUED);
	uint8_t *value;
	struct raw raw;
	size_t len;

	cr_assert_eq(wish(id, PEN_WISH_PAUSE, NULL), 0);
	shop_close(&shop);
	raw_begin(&shop, &raw);
	value = raw_get_id(&raw, "penstock.controls", id, &len);
	raw_commit(&raw);
	shop_open(&shop);
	cr_assert_eq(pen_control_decode(value, len, id, &got), 0);
	cr_expect_eq(pen_control_decode(value, len, id + 1, &got), -PEN_STORE_DAMAGED);
	for (size_t cut = 0; cut < len; cut++) {
		uint8_t *copy = malloc(cut ? cut : 1);

		memcpy(copy, value, cut);
		if (cut >= sizeof(struct pen_head))
			raw_reseal(copy, cut);
		cr_expect_eq(pen_control_decode(copy, cut, id, &got), -PEN_STORE_DAMAGED, "%zu", cut);
		free(copy);
	}
	for (unsigned want = 0; want < 5; want++) {
		value[offsetof(struct pen_fmt_control, want)] = (uint8_t)want;
		raw_reseal(value, len);
		cr_expect_eq(pen_control_decode(value, len, id, &got),
			     want == PEN_WANT_PAUSE || want == PEN_WANT_CANCEL ? 0 : -PEN_STORE_DAMAGED);
	}
	free(value);
}
