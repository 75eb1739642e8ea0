/* SPDX-License-Identifier: MIT */
#include "engine/merge.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ring/base.h"

TestSuite(merge, .timeout = 600);

#define RECORDS 600u

struct rec {
	char key[12];
	uint32_t len, run, item;
};

static uint64_t seed;

static uint32_t draw(uint32_t below)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % below;
}

static int compare(const void *x, const void *y)
{
	const struct rec *a = x, *b = y;
	int c = memcmp(a->key, b->key, pen_min(a->len, b->len));

	if (c)
		return c;
	if (a->len != b->len)
		return a->len < b->len ? -1 : 1;
	return (a->item > b->item) - (a->item < b->item);
}

static uint64_t prefix(const struct rec *r)
{
	uint8_t b[8] = { 0 };

	memcpy(b, r->key, pen_min(r->len, 8));
	return pen_get_be64(b);
}

/* Short keys over few letters, NUL among them, so that there are equal ones, prefixes of others, and equal prefixes. */
static void make(struct rec *r, uint32_t item)
{
	bool tail = draw(2);

	memset(r, 0, sizeof *r);
	r->item = item;
	r->len = 1 + draw(tail ? 11 : 3);
	for (uint32_t i = 0; i < r->len; i++)
		r->key[i] = tail && i < 8 ? 'x' : (char)("\0ab\xff"[draw(4)]);
}

/* n records in `runs` runs: what comes out is what qsort makes of all of them. */
static void check(uint32_t runs, uint32_t n)
{
	struct rec *all = calloc(n + 1, sizeof *all), *sorted = calloc(n + 1, sizeof *all);
	uint32_t *begin = calloc(runs + 1, sizeof *begin), *at = calloc(runs + 1, sizeof *at), run, got = 0;
	struct pen_merge m;

	cr_assert(all && sorted && begin && at);
	for (uint32_t i = 0; i < n; i++)
		make(&all[i], i);
	for (uint32_t r = 0; r < runs; r++) /* contiguous pieces, some of them empty */
		begin[r + 1] = r + 1 == runs ? n : begin[r] + draw(n - begin[r] + 1) / (draw(3) + 1);
	memcpy(sorted, all, n * sizeof *all);
	qsort(sorted, n, sizeof *sorted, compare);
	cr_assert_eq(pen_merge_open(&m, runs), 0);
	pen_merge_begin(&m, runs);
	for (uint32_t r = 0; r < runs; r++) {
		qsort(all + begin[r], begin[r + 1] - begin[r], sizeof *all, compare);
		at[r] = begin[r];
		if (at[r] == begin[r + 1])
			pen_merge_end(&m, r);
		else
			pen_merge_set(&m, r, all[at[r]].key, all[at[r]].len, prefix(&all[at[r]]));
	}
	pen_merge_play(&m);
	while (pen_merge_winner(&m, &run)) {
		cr_assert_lt(got, n);
		cr_assert_eq(all[at[run]].item, sorted[got].item, "%u runs, record %u", runs, got);
		got++;
		at[run]++;
		if (at[run] == begin[run + 1])
			pen_merge_end(&m, run);
		else
			pen_merge_set(&m, run, all[at[run]].key, all[at[run]].len, prefix(&all[at[run]]));
		pen_merge_replay(&m);
	}
	cr_assert_eq(got, n);
	pen_merge_close(&m);
	free(all);
	free(sorted);
	free(begin);
	free(at);
}

Test(merge, it_is_what_qsort_makes)
{
	for (seed = 1; seed < 400; seed += 2) {
		uint64_t s = seed;

		check(1 + draw(40), draw(RECORDS));
		seed = s;
	}
}

Test(merge, one_run_and_none)
{
	seed = 5;
	check(1, 0);
	check(1, 1);
	check(1, RECORDS);
	check(2, 1);
	check(64, 3);
	check(1000, RECORDS);
}
