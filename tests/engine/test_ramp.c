/* SPDX-License-Identifier: MIT */
/*
 * Ramps: step by step, by their batches, once each; they hold by themselves and say so. The clock is the test's.
 */
#include <string.h>

#include "include/penstock.h"
#include "store/ledger.h"
#include "store/pin.h"
#include "store/ramp.h"
#include "tests/store/scratch.h"

static struct pen_store *store;
static uint64_t now = 1700000000000;

static uint64_t mono(const struct pen_clock *clock)
{
	(void)clock;
	return now * PEN_NS_PER_MS;
}

static uint64_t real(const struct pen_clock *clock)
{
	(void)clock;
	return now;
}

static const struct pen_clock clock_of_test = { mono, real };

static void set(bool enabled, uint32_t rollout)
{
	struct pen_flag_set change = { .size = sizeof(change),
				       .name = "ONE",
				       .has_enabled = true,
				       .enabled = enabled,
				       .has_rollout = true,
				       .rollout = rollout };

	cr_assert_eq(pen_flag_set(store, &change, NULL, NULL), 0);
}

static void begin(void)
{
	scratch_make();
	store = scratch_store("s");
	store->clock = &clock_of_test;
	set(true, 0);
}

static void end(void)
{
	pen_store_close(store);
	scratch_remove();
}

TestSuite(ramp, .init = begin, .fini = end, .timeout = 120);

/* A batch that the flag let in. */
static void batch(uint64_t items, uint64_t failed, bool let_in)
{
	struct pen_flag_pin pin = { .name = "ONE",
				    .verdict = { .on = true, .reason = PEN_FLAG_SPLIT, .variant = "on" } };
	struct pen_facts facts = { .dataset = "d",
				   .key = "@given",
				   .owner = "o",
				   .correlation_id = "",
				   .idempotency_key = "",
				   .sources = "f",
				   .sources_len = 1,
				   .labels = "" };
	struct pen_standing *st = calloc(1, sizeof *st);
	struct pen_txn *txn = scratch_begin(store);
	struct pen_dataset *ds;

	cr_assert_eq(pen_dataset_use(txn, "d", PEN_KEY_GIVEN, &ds, NULL), 0);
	facts.fixed.id = st->fixed.id = pen_ledger_new_id(txn);
	facts.fixed.dataset_id = pen_dataset_id(ds);
	facts.fixed.key_kind = PEN_KEY_GIVEN;
	facts.fixed.created_ms = now;
	st->fixed.state = PEN_RUNNING;
	st->fixed.applied.items = items;
	st->fixed.applied.failed = failed;
	st->fixed.applied.committed = items - failed;
	st->fixed.counted = st->fixed.applied;
	cr_assert_eq(pen_ledger_create(txn, &facts, st), 0);
	if (let_in)
		cr_assert_eq(pen_pin_put(txn, facts.fixed.id, &pin, 1), 0);
	cr_assert_eq(pen_dataset_save(ds), 0);
	cr_assert_eq(pen_txn_commit(txn, NULL), 0);
	free(st);
}

#define RAMP(...)                                                      \
	(&(struct pen_ramp){ .size = sizeof(struct pen_ramp),          \
			     .steps = { 5000, 25000, PEN_FLAG_WHOLE }, \
			     .step_count = 3,                          \
			     .every_ms = 1000,                         \
			     __VA_ARGS__ })

static struct pen_ramp turned;
static uint64_t wait_ms;

static int turn(void)
{
	return pen_ramp_turn(store, "ONE", "me", &turned, &wait_ms, NULL);
}

static uint32_t rollout(void)
{
	struct pen_flag *f;
	uint32_t n;

	cr_assert_eq(pen_flag_get(store, "ONE", &f), 0);
	n = f->rollout;
	free(f);
	return n;
}

static void expect_history(enum pen_flag_action action, const char *text)
{
	struct pen_flag_change *c;

	cr_assert_eq(pen_flag_history(store, "ONE", UINT64_MAX, &c), 1);
	cr_expect_eq(c->action, action);
	cr_expect(strstr(c->reason, text), "%s", c->reason);
	cr_expect_str_eq(c->by, "me");
	free(c);
}

Test(ramp, step_by_step)
{
	cr_assert_eq(pen_ramp_begin(store, "ONE", RAMP(), "me", NULL), 0);
	cr_expect_eq(rollout(), 0);
	cr_expect_eq(turn(), 0);
	cr_expect_eq(rollout(), 5000);
	expect_history(PEN_FLAG_DID_RAMP, "step 1 of 3");
	cr_expect_eq(wait_ms, 1000);
	now += 999;
	cr_expect_eq(turn(), 0);
	cr_expect_eq(rollout(), 5000);
	cr_expect_eq(wait_ms, 1);
	now += 1;
	cr_expect_eq(turn(), 0);
	cr_expect_eq(rollout(), 25000);
	now += 1000;
	cr_expect_eq(turn(), 0);
	cr_expect_eq(rollout(), PEN_FLAG_WHOLE);
	cr_expect_eq(turned.state, PEN_RAMP_RUNNING); /* the last step is watched as well */
	now += 1000;
	cr_expect_eq(turn(), 0);
	cr_expect_eq(turned.state, PEN_RAMP_DONE);
	cr_expect_eq(wait_ms, 0);
	cr_expect_eq(turn(), 0);
	expect_history(PEN_FLAG_DID_RAMP, "done");
}

Test(ramp, it_holds_when_batches_go_wrong)
{
	cr_assert_eq(pen_ramp_begin(store, "ONE", RAMP(.guarded = true, .max_error = 10000), "me", NULL), 0);
	batch(100, 100, true); /* before the step */
	now += 10;
	cr_assert_eq(turn(), 0);
	now += 10;
	batch(1000, 9, true);
	batch(100, 100, false); /* not by this flag */
	cr_expect_eq(turn(), 0);
	cr_expect_eq(turned.items, 1000);
	cr_expect_eq(turned.bad, 9);
	batch(100, 2, true); /* 11 of 1,100 is 1 %, and not below it */
	cr_expect_eq(turn(), -PEN_FLAG_HELD);
	cr_expect_eq(rollout(), 5000);
	expect_history(PEN_FLAG_DID_HOLD, "1.000 % of 1100 items in 2 batches");
	now += 100000;
	cr_expect_eq(turn(), -PEN_FLAG_HELD);
	cr_expect_eq(rollout(), 5000);
	/* Somebody looked at it, and lets it go on: only what comes from now on counts. */
	cr_assert_eq(pen_ramp_resume(store, "ONE", "me", NULL), 0);
	cr_expect_eq(turn(), 0);
	now += 1000;
	cr_expect_eq(turn(), 0);
	cr_expect_eq(rollout(), 25000);
}

Test(ramp, a_step_waits_for_enough_items)
{
	cr_assert_eq(pen_ramp_begin(store, "ONE", RAMP(.guarded = true, .max_error = 10000, .min_items = 100),
				    "me", NULL),
		     0);
	cr_assert_eq(turn(), 0);
	now += 5000;
	batch(99, 50, true); /* too few to judge by */
	cr_expect_eq(turn(), 0);
	cr_expect_eq(rollout(), 5000);
	batch(1, 0, true);
	cr_expect_eq(turn(), -PEN_FLAG_HELD);
}

Test(ramp, hands_off)
{
	cr_assert_eq(pen_ramp_begin(store, "ONE", RAMP(), "me", NULL), 0);
	cr_assert_eq(turn(), 0);
	set(true, 7000);
	cr_expect_eq(turn(), -PEN_FLAG_HELD);
	expect_history(PEN_FLAG_DID_HOLD, "by hand");
	cr_assert_eq(pen_ramp_begin(store, "ONE", RAMP(), "me", NULL), 0);
	cr_assert_eq(turn(), 0);
	cr_expect_eq(rollout(), 25000); /* steps that are behind it are left out */
	set(false, 25000);
	cr_expect_eq(turn(), -PEN_FLAG_HELD);
	expect_history(PEN_FLAG_DID_HOLD, "switched off");
	cr_expect_eq(pen_ramp_begin(store, "ONE", RAMP(), "me", NULL), -PEN_FLAG_BAD);
}

Test(ramp, another_process_goes_on)
{
	cr_assert_eq(pen_ramp_begin(store, "ONE", RAMP(), "me", NULL), 0);
	cr_assert_eq(turn(), 0);
	now += 1000;
	cr_assert_eq(turn(), 0);
	store->clock = &pen_clock_real;
	pen_store_close(store);
	store = scratch_store("s");
	store->clock = &clock_of_test;
	cr_expect_eq(turn(), 0);
	cr_expect_eq(rollout(), 25000);
	now += 1000;
	cr_expect_eq(turn(), 0);
	cr_expect_eq(rollout(), PEN_FLAG_WHOLE);
}

Test(ramp, refused)
{
	struct pen_ramp r;

	cr_expect_eq(pen_ramp_begin(store, "TWO", RAMP(), "me", NULL), -PEN_NOT_FOUND);
	r = *RAMP();
	r.step_count = 0;
	cr_expect_eq(pen_ramp_begin(store, "ONE", &r, "me", NULL), -PEN_FLAG_BAD);
	r = *RAMP();
	r.steps[1] = 5000;
	cr_expect_eq(pen_ramp_begin(store, "ONE", &r, "me", NULL), -PEN_FLAG_BAD);
	cr_expect_eq(pen_ramp_begin(store, "ONE", RAMP(.guarded = true), "me", NULL), -PEN_FLAG_BAD);
	cr_expect_eq(pen_ramp_get(store, "ONE", &r), -PEN_NOT_FOUND);
	cr_expect_eq(turn(), -PEN_NOT_FOUND);
	set(true, PEN_FLAG_WHOLE);
	r = *RAMP();
	r.step_count = 2;
	cr_expect_eq(pen_ramp_begin(store, "ONE", &r, "me", NULL), -PEN_FLAG_BAD);
}

/* A ramp goes with its flag. */
Test(ramp, removed)
{
	struct pen_ramp r;

	cr_assert_eq(pen_ramp_begin(store, "ONE", RAMP(), "me", NULL), 0);
	cr_assert_eq(pen_flag_rm(store, "ONE", "me", NULL, NULL), 0);
	cr_expect_eq(pen_ramp_get(store, "ONE", &r), -PEN_NOT_FOUND);
}
