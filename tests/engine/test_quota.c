/* SPDX-License-Identifier: MIT */
/* quota: every algorithm against a naive model that remembers all hits, over random times, costs and returns. */
#include "engine/quota.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "engine/limit.h"

#define S 1000000000ull

/* ---- a stripe in ordinary memory --------------------------------------------------------------- */

struct lab {
	struct pen_cells c;
	struct pen_cells_words words;
	struct pen_cells_notes notes;
	uint32_t heads[PEN_CELLS_HEADS];
	union pen_cell *cell;
};

static int grow(void *arg, uint32_t from, uint32_t count)
{
	(void)arg, (void)from, (void)count;
	return 0;
}

static struct lab *lab_make(uint32_t cells)
{
	struct lab *lab = calloc(1, sizeof *lab);

	cr_assert(lab);
	lab->cell = calloc(cells, sizeof *lab->cell);
	cr_assert(lab->cell);
	lab->words.used = 1;
	lab->c = (struct pen_cells){ &lab->words, &lab->notes, lab->heads, lab->cell, cells, grow, NULL };
	return lab;
}

static void lab_free(struct lab *lab)
{
	free(lab->cell);
	free(lab);
}

static uint64_t seed = 1;
static uint64_t next(uint64_t below)
{
	uint64_t v = seed += 0x9e3779b97f4a7c15ull;

	v = (v ^ v >> 30) * 0xbf58476d1ce4e5b9ull;
	v = (v ^ v >> 27) * 0x94d049bb133111ebull;
	return (v ^ v >> 31) % below;
}

/* As the table does it: prune, look, take when it passes. */
static struct pen_quota_verdict ask(struct lab *lab, uint32_t *slot, const struct pen_quota_rule *rule,
				    uint64_t now, uint64_t cost)
{
	struct pen_quota_verdict v;

	if (*slot)
		pen_quota_prune(&lab->c, *slot, rule, now);
	pen_cells_commit(&lab->c);
	pen_quota_look(&lab->c, *slot, rule, now, cost, &v);
	if (!v.refused && cost) {
		if (!*slot)
			*slot = pen_cells_enter(&lab->c, 7, 7);
		cr_assert(pen_quota_take(&lab->c, *slot, rule, now, cost, 1));
		pen_cells_commit(&lab->c);
	}
	cr_assert_null(pen_cells_check(&lab->c), "%s", pen_cells_check(&lab->c));
	return v;
}

/* ---- sliding ----------------------------------------------------------------------------------- */

#define HITS 100000

struct model {
	struct {
		uint64_t at, cost;
	} hit[HITS];
	uint32_t count;
};

/* Cost in (now - W, now]. */
static uint64_t live(const struct model *m, uint64_t now, uint64_t window)
{
	uint64_t sum = 0;

	for (uint32_t i = m->count; i-- > 0 && m->hit[i].at + window > now;)
		sum += m->hit[i].cost;
	return sum;
}

static void sliding_against_model(uint64_t limit, uint64_t window, uint32_t steps, uint64_t cost_max)
{
	static struct model m;
	struct lab *lab = lab_make(4096);
	struct pen_quota_rule rule;
	uint64_t now = 1000 * S;
	uint32_t slot = 0;

	m.count = 0;
	cr_assert(pen_quota_rule(&rule, PEN_QUOTA_SLIDING, window, limit, UINT64_MAX));
	for (uint32_t i = 0; i < steps; i++) {
		uint64_t cost = next(cost_max + 1), sum, retry = PEN_QUOTA_NEVER;
		struct pen_quota_verdict v;

		now += next(8) ? next(window / 20) : next(3) ? 0 : next(2 * window);
		v = ask(lab, &slot, &rule, now, cost);
		sum = live(&m, now, window);
		cr_assert_eq(v.remaining, limit - sum, "step %u: remaining %lu of %lu, model %lu", i,
			     (unsigned long)v.remaining, (unsigned long)limit, (unsigned long)(limit - sum));
		cr_assert_eq(v.refused, cost && sum + cost > limit, "step %u", i);
		if (!v.refused && cost) {
			m.hit[m.count].at = now;
			m.hit[m.count++].cost = cost;
		}
		if (!v.refused)
			continue;
		/* The first moment at which so much has left. */
		for (uint32_t k = 0; k < m.count && cost <= limit && retry == PEN_QUOTA_NEVER; k++)
			if (m.hit[k].at + window > now &&
			    live(&m, m.hit[k].at + window, window) + cost <= limit)
				retry = m.hit[k].at + window - now;
		cr_assert_eq(v.retry_ns, retry, "step %u: %lu, model %lu", i, (unsigned long)v.retry_ns,
			     (unsigned long)retry);
		/* And it is true: one nanosecond before it is refused, then it passes. */
		if (retry != PEN_QUOTA_NEVER) {
			struct pen_quota_verdict w;

			pen_quota_prune(&lab->c, slot, &rule, now + retry - 1);
			pen_quota_look(&lab->c, slot, &rule, now + retry - 1, cost, &w);
			pen_cells_undo(&lab->c);
			cr_assert(w.refused);
			pen_quota_prune(&lab->c, slot, &rule, now + retry);
			pen_quota_look(&lab->c, slot, &rule, now + retry, cost, &w);
			pen_cells_undo(&lab->c);
			cr_assert_not(w.refused);
		}
	}
	cr_assert_gt(m.count, 8, "%u passed of %lu steps, limit %lu", m.count, (unsigned long)steps,
		     (unsigned long)limit);
	lab_free(lab);
}

Test(quota, sliding_is_what_a_model_says)
{
	sliding_against_model(5, 900 * S, 3000, 1);
	sliding_against_model(100, 60 * S, 6000, 3);
	sliding_against_model(1000, 60 * S, 3000, 40);
	sliding_against_model(1, 300 * S, 500, 2);
}

/* Above PEN_QUOTA_MARKS hits become one at the later time: never more than the limit, never far less. */
Test(quota, merged_marks_never_let_more_pass)
{
	static struct model m;
	struct lab *lab = lab_make(4096);
	uint64_t now = 1000 * S, window = 60 * S, limit = 50000, most = 0;
	struct pen_quota_rule rule;
	uint32_t slot = 0, refused = 0;

	cr_assert(pen_quota_rule(&rule, PEN_QUOTA_SLIDING, window, limit, UINT64_MAX));
	for (uint32_t i = 0; i < 20000; i++) {
		uint64_t cost = 1 + next(40), sum;
		struct pen_quota_verdict v;

		now += next(10 * 1000000);
		v = ask(lab, &slot, &rule, now, cost);
		sum = live(&m, now, window);
		cr_assert(v.refused || sum + cost <= limit, "more than the limit in a window");
		/* What is refused would have been above the limit with a window one part of 999 longer. */
		cr_assert(!v.refused || live(&m, now, window + rule.granule_ns) + cost > limit);
		cr_assert_leq(lab->cell[slot].slot.marks_all, PEN_QUOTA_MARKS);
		most = most > sum ? most : sum;
		refused += v.refused;
		if (!v.refused) {
			m.hit[m.count].at = now;
			m.hit[m.count++].cost = cost;
		}
	}
	cr_assert_gt(refused, 100);
	cr_assert_gt(most, limit * 99 / 100);
	lab_free(lab);
}

/* A limit raised while the log is full of single marks keeps the bound. */
Test(quota, marks_stay_bounded_when_a_limit_changes)
{
	struct lab *lab = lab_make(4096);
	struct pen_quota_rule small, large;
	uint64_t now = 1000 * S;
	uint32_t slot = 0;

	cr_assert(pen_quota_rule(&small, PEN_QUOTA_SLIDING, 60 * S, 1000, UINT64_MAX));
	cr_assert(pen_quota_rule(&large, PEN_QUOTA_SLIDING, 60 * S, 100000, UINT64_MAX));
	for (int i = 0; i < 1000; i++)
		cr_assert_not(ask(lab, &slot, &small, now++, 1).refused);
	cr_assert(ask(lab, &slot, &small, now, 1).refused);
	for (int i = 0; i < 1000; i++)
		cr_assert_not(ask(lab, &slot, &large, now += 100000000, 1).refused);
	cr_assert_leq(lab->cell[slot].slot.marks_all, PEN_QUOTA_MARKS);
	/* And back: what is above the smaller limit is refused, nothing is negative. */
	cr_assert(ask(lab, &slot, &small, now, 1).refused);
	cr_assert_eq(ask(lab, &slot, &small, now, 0).remaining, 0);
	lab_free(lab);
}

Test(quota, what_is_given_back_is_there_again)
{
	struct lab *lab = lab_make(64);
	struct pen_quota_rule rule;
	uint64_t now = 1000 * S;
	uint32_t slot = 0;

	for (int kind = PEN_QUOTA_SLIDING; kind <= PEN_QUOTA_FIXED; kind++) {
		cr_assert(pen_quota_rule(&rule, (enum pen_quota_kind)kind, 60 * S, 100, UINT64_MAX));
		now += 1000 * S;
		cr_assert_not(ask(lab, &slot, &rule, now, 90).refused);
		cr_assert(ask(lab, &slot, &rule, now + 1, 20).refused);
		pen_quota_back(&lab->c, slot, &rule, now, 60, 0);
		pen_cells_commit(&lab->c);
		cr_assert_eq(ask(lab, &slot, &rule, now, 0).remaining, 70, "kind %d", kind);
		cr_assert_not(ask(lab, &slot, &rule, now + 2, 20).refused);
		/* Once it has left the window there is nothing to give back. */
		cr_assert_eq(ask(lab, &slot, &rule, now + 200 * S, 0).remaining, 100);
		pen_quota_back(&lab->c, slot, &rule, now, 10, 0);
		pen_cells_commit(&lab->c);
		cr_assert_eq(ask(lab, &slot, &rule, now + 200 * S, 0).remaining, 100);
	}
	lab_free(lab);
}

/* ---- gcra -------------------------------------------------------------------------------------- */

/* redis-cell in rationals: all in units of 1/L ns, with the arrival time as it was stored. */
static void gcra_against_model(uint64_t limit, uint64_t window, uint64_t burst)
{
	struct lab *lab = lab_make(64);
	unsigned __int128 tat = 0;
	struct pen_quota_rule rule;
	uint64_t now = 1000 * S;
	uint32_t slot = 0, refused = 0;

	cr_assert(pen_quota_rule(&rule, PEN_QUOTA_GCRA, window, limit, burst));
	for (int i = 0; i < 20000; i++) {
		uint64_t cost = next(4);
		struct pen_quota_verdict v;
		unsigned __int128 at, tau = (unsigned __int128)window * (burst + 1), base, fresh;

		now += next(3 * window / limit + 2);
		at = (unsigned __int128)now * limit;
		base = tat > at ? tat : at;
		fresh = base + (unsigned __int128)window * cost;
		v = ask(lab, &slot, &rule, now, cost);
		cr_assert_eq(v.refused, cost && at + tau < fresh, "step %d", i);
		cr_assert_eq(v.limit, burst + 1);
		cr_assert_eq(v.remaining, (uint64_t)((tau - (base - at)) / window));
		if (v.refused) {
			refused++;
			if ((unsigned __int128)window * cost > tau) {
				cr_assert_eq(v.retry_ns, PEN_QUOTA_NEVER);
			} else {
				unsigned __int128 when = (unsigned __int128)(now + v.retry_ns) * limit;

				cr_assert(when + tau >= fresh);
				cr_assert(when - limit + tau < fresh);
			}
		} else if (cost) {
			tat = fresh;
		}
	}
	cr_assert_gt(refused, 100);
	lab_free(lab);
}

Test(quota, gcra_is_what_rationals_say)
{
	gcra_against_model(7, 1 * S, 2); /* 1 s / 7 is no whole number */
	gcra_against_model(3, 60 * S, 0);
	gcra_against_model(100000, 60 * S, 50);
	gcra_against_model(999999937, 1 * S, 3);
}

/* ---- fixed, concurrent ------------------------------------------------------------------------- */

Test(quota, a_fixed_window_begins_with_its_first_hit)
{
	struct lab *lab = lab_make(64);
	struct pen_quota_rule rule;
	uint32_t slot = 0;
	struct pen_quota_verdict v;

	cr_assert(pen_quota_rule(&rule, PEN_QUOTA_FIXED, 10 * S, 3, UINT64_MAX));
	cr_assert_not(ask(lab, &slot, &rule, 100 * S, 1).refused);
	cr_assert_not(ask(lab, &slot, &rule, 109 * S, 2).refused);
	v = ask(lab, &slot, &rule, 109 * S, 1);
	cr_assert(v.refused);
	cr_assert_eq(v.retry_ns, 1 * S);
	cr_assert_eq(ask(lab, &slot, &rule, 110 * S - 1, 0).remaining, 0);
	cr_assert_eq(ask(lab, &slot, &rule, 110 * S, 0).remaining, 3);
	cr_assert_not(ask(lab, &slot, &rule, 115 * S, 3).refused);
	cr_assert_eq(ask(lab, &slot, &rule, 115 * S, 1).retry_ns, 10 * S);
	cr_assert_eq(ask(lab, &slot, &rule, 115 * S, 4).retry_ns, PEN_QUOTA_NEVER);
	lab_free(lab);
}

static bool odd_is_dead(void *arg, uint64_t who)
{
	(void)arg;
	return who & 1;
}

Test(quota, leases_are_given_back_in_any_order)
{
	struct lab *lab = lab_make(256);
	struct pen_quota_rule rule;
	bool held[1000] = { false };
	uint64_t count = 0;
	uint32_t slot = pen_cells_enter(&lab->c, 7, 7);

	pen_cells_commit(&lab->c);
	cr_assert(pen_quota_rule(&rule, PEN_QUOTA_CONCURRENT, 1 * S, 200, UINT64_MAX));
	for (int i = 0; i < 5000; i++) {
		uint64_t who = 1 + next(999);
		struct pen_quota_verdict v;

		if (held[who]) {
			pen_quota_back(&lab->c, slot, &rule, 0, 1, who);
			held[who] = false;
			count--;
		} else {
			pen_quota_prune(&lab->c, slot, &rule, 5);
			pen_quota_look(&lab->c, slot, &rule, 5, 1, &v);
			cr_assert_eq(v.refused, count >= 200);
			if (!v.refused) {
				cr_assert(pen_quota_take(&lab->c, slot, &rule, 5, 1, who));
				held[who] = true;
				count++;
			}
		}
		pen_cells_commit(&lab->c);
		cr_assert_null(pen_cells_check(&lab->c));
		cr_assert_eq(lab->cell[slot].slot.a, count);
	}
	for (uint64_t who = 1; who < 1000; who += 2)
		count -= held[who];
	(void)pen_quota_bury(&lab->c, slot, odd_is_dead, NULL);
	cr_assert_eq(lab->cell[slot].slot.a, count);
	cr_assert_null(pen_cells_check(&lab->c));
	lab_free(lab);
}

Test(quota, another_algorithm_begins_anew)
{
	struct lab *lab = lab_make(256);
	struct pen_quota_rule sliding, gcra;
	uint32_t slot = 0;

	cr_assert(pen_quota_rule(&sliding, PEN_QUOTA_SLIDING, 60 * S, 50, UINT64_MAX));
	cr_assert(pen_quota_rule(&gcra, PEN_QUOTA_GCRA, 60 * S, 50, UINT64_MAX));
	for (uint64_t i = 0; i < 50; i++)
		cr_assert_not(ask(lab, &slot, &sliding, 100 * S + i, 1).refused);
	cr_assert_not(ask(lab, &slot, &gcra, 101 * S, 50).refused);
	cr_assert(ask(lab, &slot, &gcra, 101 * S, 1).refused);
	cr_assert_not(ask(lab, &slot, &sliding, 101 * S, 50).refused);
	lab_free(lab);
}

Test(quota, rules_have_ranges)
{
	struct pen_quota_rule rule;

	cr_assert_not(pen_quota_rule(&rule, PEN_QUOTA_SLIDING, 0, 1, UINT64_MAX));
	cr_assert_not(pen_quota_rule(&rule, PEN_QUOTA_SLIDING, S, 0, UINT64_MAX));
	cr_assert_not(pen_quota_rule(&rule, PEN_QUOTA_SLIDING, S, PEN_QUOTA_LIMIT_MAX + 1, UINT64_MAX));
	cr_assert_not(pen_quota_rule(&rule, PEN_QUOTA_SLIDING, PEN_QUOTA_WINDOW_MAX + 1, 1, UINT64_MAX));
	cr_assert_not(pen_quota_rule(&rule, PEN_QUOTA_CONCURRENT, S, PEN_QUOTA_MARKS + 1, UINT64_MAX));
	cr_assert_not(pen_quota_rule(&rule, PEN_QUOTA_KINDS, S, 1, UINT64_MAX));
	cr_assert(
		pen_quota_rule(&rule, PEN_QUOTA_GCRA, PEN_QUOTA_WINDOW_MAX, PEN_QUOTA_LIMIT_MAX, UINT64_MAX));
	cr_assert_eq(rule.burst, PEN_QUOTA_LIMIT_MAX - 1);
}
