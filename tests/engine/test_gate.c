/* SPDX-License-Identifier: MIT */
/*
 * Which flags let a batch be made and run: the draw of a rollout holds for the batch, what is said outright does not.
 */
#include "engine/gate.h"

#include "store/pin.h"
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

TestSuite(gate, .init = begin, .fini = end, .timeout = 120);

static void set(const char *name, bool enabled, uint32_t rollout, const char *black)
{
	struct pen_flag_set change = { .size = sizeof(change),
				       .name = name,
				       .has_enabled = true,
				       .enabled = enabled,
				       .has_rollout = true,
				       .rollout = rollout,
				       .blacklist = {
					       .replace = true, .at = &black, .count = black != NULL } };

	cr_assert_eq(pen_flag_set(store, &change, NULL, NULL), 0);
}

static int may(const char *owner, const char *flag)
{
	struct pen_failure why = { 0 };
	int rc = pen_batch_may(store, owner, &flag, flag != NULL, NULL, &why);

	cr_expect_eq(rc, why.code);
	return rc;
}

static int make(const char *flag, struct pen_gates *gates)
{
	gates->count = 0;
	return pen_gate_make(store, "ann", &flag, flag != NULL, gates, NULL, NULL);
}

static bool holds(const struct pen_gates *gates)
{
	return pen_gate_holds(store, "ann", gates, NULL);
}

Test(gate, without_flags_everything_goes)
{
	struct pen_gates gates;

	cr_expect_eq(may("ann", NULL), 0);
	cr_expect_eq(make(NULL, &gates), 0);
	cr_expect_eq(gates.count, 0);
	cr_expect_not(holds(&gates));
}

Test(gate, a_flag_that_is_named_must_be_there)
{
	const char *bad = "a b";

	cr_expect_eq(may("ann", "NEW"), -PEN_FLAG_REFUSED);
	set("NEW", true, PEN_FLAG_WHOLE, NULL);
	cr_expect_eq(may("ann", "NEW"), 0);
	cr_expect_eq(pen_gate_check(&bad, 1, NULL), -PEN_USAGE);
	cr_expect_eq(pen_gate_check(NULL, PEN_FLAG_GATES_MAX, NULL), -PEN_USAGE);
}

Test(gate, the_draw_holds_for_the_batch)
{
	struct pen_gates gates;

	set(PEN_FLAG_BATCHES, true, PEN_FLAG_WHOLE, NULL);
	cr_assert_eq(make(NULL, &gates), 0);
	cr_assert_eq(gates.count, 1);
	cr_expect_eq(gates.pins[0].verdict.reason, PEN_FLAG_STATIC);
	cr_expect_eq(gates.pins[0].verdict.version, 1);
	set(PEN_FLAG_BATCHES, true, 0, NULL);
	cr_expect_not(holds(&gates));
	cr_expect_eq(may("ann", NULL), -PEN_FLAG_REFUSED);
	/* Nobody in particular is no owner: each has a place. */
	set(PEN_FLAG_BATCHES, true, 1, NULL);
	cr_expect_not(holds(&gates));
}

Test(gate, what_is_said_outright_holds_it)
{
	struct pen_flag_pin now;
	struct pen_gates gates;

	set(PEN_FLAG_BATCHES, true, PEN_FLAG_WHOLE, NULL);
	set("MORE", true, PEN_FLAG_WHOLE, NULL);
	cr_assert_eq(make("MORE", &gates), 0);
	cr_assert_eq(gates.count, 2);
	set("MORE", false, PEN_FLAG_WHOLE, NULL);
	cr_assert(pen_gate_holds(store, "ann", &gates, &now));
	cr_expect_str_eq(now.name, "MORE");
	cr_expect_eq(now.verdict.reason, PEN_FLAG_DISABLED);
	set("MORE", true, PEN_FLAG_WHOLE, "bob");
	cr_expect_not(holds(&gates));
	set("MORE", true, PEN_FLAG_WHOLE, "ann");
	cr_assert(pen_gate_holds(store, "ann", &gates, &now));
	cr_expect_eq(now.verdict.reason, PEN_FLAG_TARGETING_MATCH);
	/* One that is removed is not switched off. */
	cr_assert_eq(pen_flag_rm(store, "MORE", NULL, NULL, NULL), 0);
	cr_expect_not(holds(&gates));
}

/* A batch from before the flag has no draw: it is asked in full. */
Test(gate, a_flag_that_came_later)
{
	struct pen_gates gates;

	cr_assert_eq(make(NULL, &gates), 0);
	set(PEN_FLAG_BATCHES, true, 0, NULL);
	cr_expect(holds(&gates));
	set(PEN_FLAG_BATCHES, true, PEN_FLAG_WHOLE, NULL);
	cr_expect_not(holds(&gates));
}

Test(gate, an_owner_too_long_to_be_a_key)
{
	char owner[PEN_FLAG_KEY_MAX + 10];

	memset(owner, 'o', sizeof(owner) - 1);
	owner[sizeof(owner) - 1] = 0;
	set("NEW", true, PEN_FLAG_WHOLE, NULL);
	cr_expect_eq(may(owner, "NEW"), -PEN_FLAG_REFUSED);
	cr_expect_eq(may(owner, NULL), 0);
}
