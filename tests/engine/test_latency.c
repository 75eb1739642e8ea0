/* SPDX-License-Identifier: MIT */
#include "engine/latency.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "ring/base.h"
#include "ring/clock.h"

#define S PEN_NS_PER_S

static uint64_t us_of(uint64_t took_us)
{
	struct pen_latency l = { 0 };

	pen_latency_add(&l, 5 * S, took_us * 1000);
	return pen_latency_us(&l, 5 * S, 500);
}

Test(latency, an_answer_is_not_below_the_truth_and_at_most_a_sixteenth_above)
{
	uint64_t last = 0;

	for (uint64_t us = 0; us <= PEN_LATENCY_MAX_US; us += us < 100000 ? 1 : us / 1000) {
		uint64_t got = us_of(us);

		cr_assert_geq(got, us);
		cr_assert_leq(got - us, us / 16, "%llu: %llu", (unsigned long long)us,
			      (unsigned long long)got);
		cr_assert_geq(got, last, "order is kept");
		last = got;
	}
	cr_expect_eq(us_of(PEN_LATENCY_MAX_US), PEN_LATENCY_MAX_US);
	cr_expect_eq(us_of(UINT64_MAX / 1000), PEN_LATENCY_MAX_US, "there is an end");
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

Test(latency, quantiles_are_those_of_the_sorted_numbers)
{
	static const uint32_t permilles[] = { 0, 1, 250, 500, 990, 999, 1000 };
	static uint64_t all[5000];
	struct pen_latency l = { 0 };

	srandom(7);
	for (size_t i = 0; i < PEN_COUNT(all); i++) {
		all[i] = (uint64_t)random() >> random() % 24;
		all[i] = pen_min(all[i], PEN_LATENCY_MAX_US);
		pen_latency_add(&l, S, all[i] * 1000 + 999);
	}
	qsort(all, PEN_COUNT(all), sizeof *all, by_size);
	for (size_t i = 0; i < PEN_COUNT(permilles); i++) {
		size_t at = (PEN_COUNT(all) * permilles[i] + 999) / 1000;
		uint64_t truth = all[at ? at - 1 : 0], got = pen_latency_us(&l, S, permilles[i]);

		cr_expect_geq(got, truth, "%u", permilles[i]);
		cr_expect_leq(got, truth + truth / 16, "%u: %llu for %llu", permilles[i],
			      (unsigned long long)got, (unsigned long long)truth);
	}
}

Test(latency, what_is_old_is_forgotten_in_two_steps)
{
	static const struct {
		uint64_t at_s, p50, p1000;
	} rows[] = {
		{ 100, 7, 7 }, { 109, 7, 7 }, { 110, 7, 7 }, { 119, 7, 7 }, { 120, 0, 0 }, { 1000, 0, 0 },
	};
	struct pen_latency l = { 0 };

	cr_expect_eq(pen_latency_us(&l, 3 * S, 500), 0);
	pen_latency_add(&l, 100 * S, 7000);
	for (size_t i = 0; i < PEN_COUNT(rows); i++) {
		cr_expect_eq(pen_latency_us(&l, rows[i].at_s * S, 500), rows[i].p50, "row %zu", i);
		cr_expect_eq(pen_latency_us(&l, rows[i].at_s * S, 1000), rows[i].p1000, "row %zu", i);
	}
	pen_latency_add(&l, 1000 * S, 3000);
	pen_latency_add(&l, 1011 * S, 9000);
	pen_latency_add(&l, 1012 * S, 9000);
	cr_expect_eq(pen_latency_us(&l, 1012 * S, 1), 3, "the span before counts as well");
	cr_expect_eq(pen_latency_us(&l, 1012 * S, 500), 9);
	cr_expect_eq(pen_latency_us(&l, 1020 * S, 1), 9, "and not the one before that");
	cr_expect_eq(pen_latency_us(&l, 1045 * S, 1), 0);
	pen_latency_add(&l, 1000 * S, 5000);
	cr_expect_eq(pen_latency_us(&l, 1000 * S, 500), 5, "a clock that stands does no harm");
}
