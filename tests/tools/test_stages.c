/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include "tools/stages.h"

#define SECOND 1000000000ull

/* A second in which each stage waited for so many microseconds (some, full) and took so many items. */
struct second {
	struct {
		uint64_t some, full, items;
	} at[PEN_RING_STAGES];
};

static void judge(struct pen_stages *stages, const struct second *s)
{
	static const char *const names[PEN_RING_STAGES] = {
		"read", "cut", "process", "commit", "", "", "", ""
	};
	struct pen_stage totals[PEN_RING_STAGES] = { 0 };

	pen_stages_init(stages);
	for (unsigned i = 0; i < PEN_RING_STAGES; i++)
		totals[i].name = names[i];
	pen_stages_judge(stages, totals, SECOND);
	cr_expect_eq(stages->busiest, -1); /* one look says nothing */
	for (unsigned i = 0; i < PEN_RING_STAGES; i++) {
		totals[i].some_us = s->at[i].some;
		totals[i].full_us = s->at[i].full;
		totals[i].items = s->at[i].items;
	}
	totals[PEN_RING_COMMIT].p50_us = 3100;
	totals[PEN_RING_COMMIT].p99_us = 9800;
	pen_stages_judge(stages, totals, 2 * SECOND);
	cr_expect_eq(stages->at[PEN_RING_COMMIT].p50_us, 3100);
	cr_expect_eq(stages->at[PEN_RING_COMMIT].p99_us, 9800);
}

Test(stages, the_one_that_the_others_wait_for)
{
	static const struct {
		struct second second;
		const char *name, *held;
	} rows[] = {
		{ { { [0] = { 900000, 900000, 9 }, [2] = { 950000, 800000, 9 }, [3] = { 10000, 10000, 9 } } },
		  "commit",
		  "store" },
		{ { { [0] = { 900000, 900000, 9 }, [2] = { 100000, 0, 9 }, [3] = { 800000, 800000, 9 } } },
		  "process",
		  "cpu" },
		{ { { [0] = { 0, 0, 9 }, [2] = { 900000, 900000, 9 }, [3] = { 800000, 800000, 9 } } },
		  "read",
		  "input" },
		/* two that are equally busy: none of them */
		{ { { [0] = { 900000, 900000, 9 },
		      [2] = { 100000, 100000, 9 },
		      [3] = { 150000, 150000, 9 } } },
		  "process",
		  NULL },
		/* all wait most of the time */
		{ { { [0] = { 900000, 900000, 9 },
		      [2] = { 990000, 990000, 9 },
		      [3] = { 600000, 600000, 9 } } },
		  "commit",
		  NULL },
		/* nothing moves */
		{ { { [0] = { 0, 0, 0 }, [3] = { 900000, 900000, 0 } } }, NULL, NULL },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct pen_stages stages;

		judge(&stages, &rows[i].second);
		if (rows[i].name)
			cr_expect_str_eq(pen_stages_name(&stages), rows[i].name, "row %zu", i);
		else
			cr_expect_null(pen_stages_name(&stages), "row %zu", i);
		if (rows[i].held)
			cr_expect_str_eq(pen_stages_held(&stages), rows[i].held, "row %zu", i);
		else
			cr_expect_null(pen_stages_held(&stages), "row %zu", i);
	}
}

Test(stages, shares_of_the_second)
{
	static const struct second s = { { [0] = { 1000000, 500000, 100 }, [3] = { 0, 0, 300 } } };
	struct pen_stages stages;

	judge(&stages, &s);
	cr_expect_eq(stages.at[0].busy_permille, 250);
	cr_expect_eq(stages.at[3].busy_permille, 1000);
	cr_expect_eq(stages.at[3].items_per_s, 300);
	cr_expect_not(stages.at[1].known); /* it counts nothing */
	cr_expect_not(stages.at[5].known); /* there is none */
}

Test(stages, totals_of_another_engine_are_no_shares)
{
	struct pen_stage totals[PEN_RING_STAGES] = { { .name = "read", .some_us = 5000000, .items = 10 } };
	struct pen_stages stages;

	pen_stages_init(&stages);
	pen_stages_judge(&stages, totals, SECOND);
	totals[0].some_us = 7; /* smaller than before */
	totals[0].items = 3;
	pen_stages_judge(&stages, totals, 2 * SECOND);
	cr_expect_leq(stages.at[0].busy_permille, 1000);
	cr_expect_eq(stages.at[0].items_per_s, 0);
}
