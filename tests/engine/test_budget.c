/* SPDX-License-Identifier: MIT */
/* budget: what a batch may give away under a clock of the test's own. */
#include "engine/budget.h"

#include "engine/limit.h"
#include "tests/store/scratch.h"

#define S 1000000000ull

TestSuite(budget, .init = scratch_make, .fini = scratch_remove, .timeout = 60);

static uint64_t mono = 10 * S;

static uint64_t test_mono(const struct pen_clock *c)
{
	(void)c;
	return mono;
}

static uint64_t test_real(const struct pen_clock *c)
{
	(void)c;
	return 1700000000000 + mono / 1000000;
}

static const struct pen_clock test_clock = { test_mono, test_real };

struct lab {
	struct pen_store *store;
	struct pen_engine engine; /* only what a budget looks at */
	struct pen_plan plan;
};

static void lab_make(struct lab *lab)
{
	memset(lab, 0, sizeof *lab);
	lab->store = scratch_store("s");
	pen_store_set_clock(lab->store, &test_clock);
	lab->engine.store = lab->store;
	lab->engine.clock = &test_clock;
	lab->plan.owner = (char *)(uintptr_t) "ann";
}

static void lab_end(struct lab *lab)
{
	pen_limit_close(lab->engine.limits);
	pen_store_close(lab->store);
}

Test(budget, nothing_to_count_is_no_budget)
{
	struct pen_budget *b = NULL;
	struct lab lab;

	lab_make(&lab);
	cr_assert_eq(pen_budget_open(&lab.engine, &lab.plan, 1, &b, NULL), 0);
	cr_assert_null(b);
	cr_assert_null(lab.engine.limits);
	cr_assert(pen_budget_take(NULL, 1000000));
	cr_assert_eq(pen_budget_wait_ns(NULL), UINT64_MAX);
	pen_budget_back(NULL, 1);
	pen_budget_counted(NULL);
	lab_end(&lab);
}

Test(budget, a_rate_is_one_of_commits)
{
	struct pen_budget *b = NULL;
	struct lab lab;
	uint64_t ms;

	lab_make(&lab);
	lab.plan.rate_count = 10;
	lab.plan.rate_window_ns = 60 * S;
	cr_assert_eq(pen_budget_open(&lab.engine, &lab.plan, 1, &b, NULL), 0);
	cr_assert(pen_budget_take(b, 6));
	/* Its group took 50 s: from its end on it counts. */
	mono += 50 * S;
	pen_budget_counted(b);
	mono += 20 * S;
	cr_assert_not(pen_budget_take(b, 6));
	cr_assert(pen_budget_resting(b, &ms));
	cr_assert_eq(ms, 40000);
	cr_assert_eq(pen_budget_wait_ns(b), S); /* asked again within a second */
	cr_assert_not(pen_budget_take(b, 1));	/* nothing overtakes */
	mono += S;
	cr_assert(pen_budget_take(b, 4));
	cr_assert_not(pen_budget_resting(b, &ms));
	pen_budget_back(b, 4);
	cr_assert(pen_budget_take(b, 4));
	mono += 39 * S;
	cr_assert(pen_budget_take(b, 6));
	pen_budget_close(b);

	/* Another process that takes the batch up finds what is left; another batch has its own. */
	cr_assert_eq(pen_budget_open(&lab.engine, &lab.plan, 1, &b, NULL), 0);
	cr_assert_not(pen_budget_take(b, 1));
	pen_budget_close(b);
	cr_assert_eq(pen_budget_open(&lab.engine, &lab.plan, 2, &b, NULL), 0);
	cr_assert(pen_budget_take(b, 10));
	pen_budget_close(b);
	lab_end(&lab);
}

Test(budget, both_or_none)
{
	struct pen_limit_policy p = { .size = sizeof p,
				      .name = PEN_BUDGET_ITEMS,
				      .window_ns = 60 * S,
				      .limit = 5,
				      .burst = UINT64_MAX,
				      .unit = PEN_LIMIT_ITEMS };
	struct pen_limit_ask ask = { PEN_BUDGET_ITEMS, 3 };
	struct pen_limit_result r;
	struct pen_budget *b = NULL;
	struct lab lab;

	lab_make(&lab);
	lab.plan.limits = true;
	lab.plan.rate_count = 4;
	lab.plan.rate_window_ns = 60 * S;
	cr_assert_eq(pen_budget_open(&lab.engine, &lab.plan, 1, &b, NULL), 0);
	cr_assert_eq(pen_limit_set(lab.engine.limits, &p, NULL), 0);
	cr_assert_eq(pen_limit_check(lab.engine.limits, "user:ann", &ask, 1, &r, NULL), 0);
	cr_assert_not(pen_budget_take(b, 3)); /* two are left to its owner: and the rate was given back */
	mono += S;
	cr_assert(pen_budget_take(b, 2));
	cr_assert_not(pen_budget_take(b, 1));
	p.limit = 7; /* a change holds at once */
	cr_assert_eq(pen_limit_set(lab.engine.limits, &p, NULL), 0);
	mono += S;
	cr_assert(pen_budget_take(b, 2));
	/* A chunk that was cut before the policy was lowered goes by itself, once nothing else counts. */
	p.limit = 1;
	cr_assert_eq(pen_limit_set(lab.engine.limits, &p, NULL), 0);
	mono += 30 * S;
	cr_assert_not(pen_budget_take(b, 3));
	mono += 40 * S;
	cr_assert(pen_budget_take(b, 3));
	cr_assert_not(pen_budget_take(b, 1));
	pen_budget_close(b);
	lab_end(&lab);
}

Test(budget, batches_are_counted_and_given_back)
{
	struct pen_failure why = { 0 };
	struct pen_limit_hold hold;
	struct lab lab;

	lab_make(&lab);
	lab.plan.limits = true;
	for (int i = 0; i < 10; i++)
		cr_assert_eq(pen_budget_admit(&lab.engine, &lab.plan, &hold, &why), 0);
	pen_budget_readmit(&lab.engine, &hold);
	cr_assert_eq(pen_budget_admit(&lab.engine, &lab.plan, &hold, &why), 0);
	cr_assert_eq(pen_budget_admit(&lab.engine, &lab.plan, &hold, &why), -PEN_LIMIT_REFUSED);
	cr_assert(strstr(why.text, "BATCH_OPERATIONS") && strstr(why.text, "Retry-After: 3600 s"), "%s",
		  why.text);
	lab_end(&lab);
}
