/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include "engine/keyset.h"
#include "ring/base.h"

static struct pen_sum key_of(uint64_t n)
{
	return pen_hash128(&n, sizeof n);
}

struct totals {
	double fresh, again, unknown;
};

/* Adds a key and sums what the answers stand for. */
static void add(struct pen_keyset *set, uint64_t n, struct totals *t)
{
	uint64_t weight;

	switch (pen_keyset_add(set, key_of(n), &weight)) {
	case PEN_SEEN_NEW:
		t->fresh += (double)weight;
		break;
	case PEN_SEEN_BEFORE:
		t->again += (double)weight;
		break;
	case PEN_SEEN_UNKNOWN:
		cr_assert_eq(weight, 0);
		t->unknown++;
	}
}

Test(keyset, below_the_bound_every_answer_is_exact)
{
	struct pen_keyset *set;
	struct totals t = { 0 };

	/* Through several doublings: 4096 slots at first. */
	cr_assert_eq(pen_keyset_open(1u << 17, &set), 0);
	for (uint64_t i = 0; i < 60000; i++)
		add(set, i, &t);
	cr_expect_eq(t.again, 0);
	for (uint64_t i = 0; i < 120000; i += 2)
		add(set, i, &t);
	cr_expect(pen_keyset_exact(set));
	cr_expect_eq(t.fresh, 90000, "%f", t.fresh);
	cr_expect_eq(t.again, 30000, "%f", t.again);
	cr_expect_eq(t.unknown, 0);
	pen_keyset_close(set);
}

Test(keyset, beyond_the_bound_it_says_so_and_estimates)
{
	/* Keys so many, each so often. The table holds 2,800. */
	static const struct {
		uint64_t keys, times;
	} cases[] = { { 100000, 1 }, { 100000, 2 }, { 30000, 5 }, { 400000, 2 } };

	for (size_t c = 0; c < PEN_COUNT(cases); c++) {
		double keys = (double)cases[c].keys, again = keys * (double)(cases[c].times - 1);
		struct totals t = { 0 };
		struct pen_keyset *set;

		cr_assert_eq(pen_keyset_open(4096, &set), 0);
		for (uint64_t i = 0; i < cases[c].keys * cases[c].times; i++)
			add(set, i % cases[c].keys, &t);
		cr_expect(!pen_keyset_exact(set));
		cr_expect_gt(t.unknown, 0);
		/* About 1,400 to 2,800 are sampled, so 4 standard deviations are about 10 %. */
		cr_expect(t.fresh > keys * 0.9 && t.fresh < keys * 1.1, "%zu: %f", c, t.fresh);
		cr_expect(t.again >= again * 0.9 && t.again <= again * 1.1, "%zu: %f", c, t.again);
		pen_keyset_close(set);
	}
}

Test(keyset, keys_that_come_very_often_are_counted_one_by_one)
{
	/* Five keys that make up half of everything: sampled away or not, the rest must not hide them. */
	for (uint64_t seed = 0; seed < 20; seed++) {
		struct totals t = { 0 };
		struct pen_keyset *set;
		uint64_t n = 200000;

		cr_assert_eq(pen_keyset_open(4096, &set), 0);
		for (uint64_t i = 0; i < n; i++)
			add(set, i % 2 ? (seed << 40) + i : (seed << 40) + 1ull + (i / 2 % 5) * (1ull << 30),
			    &t);
		cr_expect(t.again > 99995 * 0.98 && t.again < 99995 * 1.02, "seed %lu: %f", seed, t.again);
		pen_keyset_close(set);
	}
}

Test(keyset, many_keys_that_come_twice_do_not_fill_it)
{
	struct totals t = { 0 };
	struct pen_keyset *set;

	cr_assert_eq(pen_keyset_open(64, &set), 0);
	for (uint64_t i = 0; i < 20000; i++) {
		add(set, i, &t);
		add(set, i, &t);
	}
	/* 22 to 44 keys are sampled; 40 % are more than two standard deviations. */
	cr_expect(t.fresh > 20000 * 0.4 && t.fresh < 20000 * 1.8, "%f", t.fresh);
	cr_expect(t.again > 20000 * 0.4 && t.again < 20000 * 1.8, "%f", t.again);
	pen_keyset_close(set);
}
