/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include "engine/pace.h"
#include "ring/clock.h"

#define S PEN_NS_PER_S
#define MS PEN_NS_PER_MS

Test(pace, nothing_is_claimed_before_there_is_anything_to_go_by)
{
	struct pen_pace p;

	pen_pace_begin(&p, 5 * S, 100, 1000);
	cr_expect_eq(pen_pace_rate_milli(&p), 0);
	cr_expect_eq(pen_pace_left_ms(&p, 1000, 0), PEN_PACE_UNKNOWN);
	pen_pace_add(&p, 5 * S + 10 * MS, 500, 5000);
	cr_expect_eq(pen_pace_rate_milli(&p), 0, "10 ms say nothing");
	pen_pace_add(&p, 5 * S + 100 * MS, 600, 6000);
	cr_expect_eq(pen_pace_rate_milli(&p), 5000000, "what was there at the beginning is no pace");
}

Test(pace, by_bytes_if_their_total_is_known_else_by_items_else_not)
{
	static const struct {
		uint64_t items_total, bytes_total, left_ms;
	} cases[] = {
		{ 0, 10000, 9000 },	    { 1000, 10000, 9000 }, { 1000, 0, 4000 },
		{ 0, 0, PEN_PACE_UNKNOWN }, { 0, 1000, 0 },	   { 0, 900, 0 },
	};
	struct pen_pace p;

	pen_pace_begin(&p, 0, 0, 0);
	pen_pace_add(&p, S, 200, 1000);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		cr_expect_eq(pen_pace_left_ms(&p, cases[i].items_total, cases[i].bytes_total),
			     cases[i].left_ms, "case %zu: %lu", i,
			     pen_pace_left_ms(&p, cases[i].items_total, cases[i].bytes_total));
}

static void step(struct pen_pace *p, uint64_t *now, uint64_t ms, uint64_t *items, uint64_t more)
{
	*now += ms * MS;
	*items += more;
	pen_pace_add(p, *now, *items, *items * 10);
}

Test(pace, follows_the_last_ten_seconds)
{
	struct pen_pace p;
	uint64_t now = 0, items = 0;

	pen_pace_begin(&p, 0, 0, 0);
	for (int i = 0; i < 300; i++) /* a minute at 1000/s, in uneven steps */
		step(&p, &now, 200, &items, 200);
	cr_expect_eq(pen_pace_rate_milli(&p), 1000000);
	for (int i = 0; i < 110; i++) /* eleven seconds at 100/s: the minute is forgotten */
		step(&p, &now, 100, &items, 10);
	cr_expect_eq(pen_pace_rate_milli(&p), 100000, "%lu", pen_pace_rate_milli(&p));
	for (int i = 0; i < 250; i++)
		step(&p, &now, 100, &items, 0);
	cr_expect_eq(pen_pace_rate_milli(&p), 0, "what stands still has no pace");
	cr_expect_eq(pen_pace_left_ms(&p, 0, items * 20), PEN_PACE_UNKNOWN);
}

Test(pace, large_numbers_do_not_overflow)
{
	struct pen_pace p;

	pen_pace_begin(&p, 0, 0, 0);
	pen_pace_add(&p, 9 * S, 1ull << 40, 1ull << 60);
	cr_expect_eq(pen_pace_rate_milli(&p) / 1000000, (1ull << 40) / 9 / 1000);
	cr_expect_eq(pen_pace_left_ms(&p, 0, 1ull << 61), 9000);
}
