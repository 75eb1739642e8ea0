/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "engine/share.h"

#define AGE PEN_SHARE_AGE_MS
#define NONE PEN_SHARE_NONE

/* A generator of its own, so that a run can be repeated. */
static uint64_t state = 0x5eed;

static uint64_t below(uint64_t n)
{
	state += 0x9e3779b97f4a7c15ull;
	uint64_t x = state;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return (x ^ x >> 31) % n;
}

/* ---- which, and why ------------------------------------------------------------------------ */

Test(share, nothing_queued_nothing_to_look_for)
{
	struct pen_share share = { 0 };
	uint64_t look = 1;

	cr_expect_eq(pen_share_pick(&share, NULL, 0, NULL, 0, 5, &look), NONE);
	cr_expect_eq(look, PEN_SHARE_NEVER);
}

Test(share, each_reason_to_wait)
{
	struct pen_share share = { .cap = 3, .running = 1 };
	struct pen_share_owner owners[] = {
		{ .virtual_time = 10 }, { .virtual_time = 20 }, { .paused = true }, { .cap = 1, .running = 1 }
	};
	struct pen_share_batch batches[] = {
		{ .id = 1, .owner = 1, .queued_ms = 1 },
		{ .id = 2, .owner = 0, .queued_ms = 100 },
		{ .id = 3, .owner = 0, .queued_ms = 50 },
		{ .id = 4, .owner = 0, .queued_ms = 60, .priority = -1 },
		{ .id = 5, .owner = 0, .queued_ms = 1, .paused = true },
		{ .id = 6, .owner = 0, .queued_ms = 1, .depends = true },
		{ .id = 7, .owner = 0, .queued_ms = 1, .not_before_ms = 1001 },
		{ .id = 8, .owner = 1, .queued_ms = 1, .not_before_ms = 1500 },
		{ .id = 9, .owner = 2, .queued_ms = 1 },
		{ .id = 10, .owner = 3, .queued_ms = 1 },
		{ .id = 11, .owner = 1, .queued_ms = 2, .not_before_ms = 1000 },
		{ .id = 12, .owner = 0, .queued_ms = 40, .paused = true, .not_before_ms = 9000 },
	};
	static const struct {
		enum pen_share_wait wait;
		size_t ahead;
	} want[] = {
		{ PEN_SHARE_FAIR, 2 },
		{ PEN_SHARE_TURN, 2 },
		{ PEN_SHARE_STARTS, NONE },
		{ PEN_SHARE_PRIORITY, 2 },
		{ PEN_SHARE_PAUSED, NONE },
		{ PEN_SHARE_DEPENDENCY, NONE },
		{ PEN_SHARE_NOT_BEFORE, NONE },
		{ PEN_SHARE_NOT_BEFORE, NONE },
		{ PEN_SHARE_OWNER_PAUSED, NONE },
		{ PEN_SHARE_OWNER_CAP, NONE },
		{ PEN_SHARE_TURN, 0 },
		{ PEN_SHARE_PAUSED, NONE },
	};
	enum { N = sizeof batches / sizeof batches[0] };
	uint64_t look;

	cr_expect_eq(pen_share_pick(&share, owners, 4, batches, N, 1000, &look), 2);
	cr_expect_eq(look, 1001);
	for (size_t i = 0; i < N; i++) {
		cr_expect_eq(batches[i].wait, want[i].wait, "batch %zu: %s", i,
			     pen_share_wait_text(batches[i].wait));
		cr_expect_eq(batches[i].ahead, want[i].ahead, "batch %zu", i);
	}
	/* The same queue with no room, and with everything paused. */
	share.running = 3;
	cr_expect_eq(pen_share_pick(&share, owners, 4, batches, N, 1000, &look), NONE);
	cr_expect_eq(batches[2].wait, PEN_SHARE_CAP);
	cr_expect_eq(batches[4].wait, PEN_SHARE_PAUSED);
	cr_expect_eq(look, 1001);
	share.paused = true;
	cr_expect_eq(pen_share_pick(&share, owners, 4, batches, N, 1000, &look), NONE);
	cr_expect_eq(look, PEN_SHARE_NEVER);
	for (size_t i = 0; i < N; i++)
		cr_expect_eq(batches[i].wait, PEN_SHARE_ALL_PAUSED);
}

Test(share, a_step_of_priority_is_worth_five_minutes)
{
	struct pen_share share = { 0 };
	struct pen_share_owner owner = { 0 };
	struct pen_share_batch batches[2] = { { .id = 1, .queued_ms = 1000000 },
					      { .id = 2, .queued_ms = 1000000 + AGE - 1, .priority = 1 } };
	uint64_t look;

	cr_expect_eq(pen_share_pick(&share, &owner, 1, batches, 2, 1, &look), 1);
	batches[1].queued_ms++; /* equal ranks: the lower id */
	cr_expect_eq(pen_share_pick(&share, &owner, 1, batches, 2, 1, &look), 0);
	cr_expect_eq(batches[1].wait, PEN_SHARE_TURN, "not its priority: it waited less");
	batches[0].id = 3;
	cr_expect_eq(pen_share_pick(&share, &owner, 1, batches, 2, 1, &look), 1);
	batches[1].priority = INT32_MAX; /* no more than the highest */
	batches[1].queued_ms = 1000000 + 9 * AGE + 1;
	cr_expect_eq(pen_share_pick(&share, &owner, 1, batches, 2, 1, &look), 0);
	batches[0].priority = INT32_MIN;
	batches[0].queued_ms = UINT64_MAX;
	batches[1].queued_ms = 0;
	cr_expect_eq(pen_share_pick(&share, &owner, 1, batches, 2, 1, &look), 1);
}

Test(share, the_order_of_the_queue_does_not_matter)
{
	enum { N = 40, OWNERS = 5 };
	struct pen_share share = { .virtual_time = 3 };
	struct pen_share_owner owners[OWNERS] = { { 0 } };
	struct pen_share_batch batches[N] = { { 0 } };
	uint64_t look, id;

	for (unsigned round = 0; round < 200; round++) {
		for (size_t i = 0; i < OWNERS; i++)
			owners[i].virtual_time = below(6);
		for (size_t i = 0; i < N; i++)
			batches[i] = (struct pen_share_batch){ .id = i + 1,
							       .owner = (uint32_t)below(OWNERS),
							       .queued_ms = below(3) * AGE,
							       .priority = (int)below(3) };
		id = batches[pen_share_pick(&share, owners, OWNERS, batches, N, 9, &look)].id;
		for (size_t i = N - 1; i > 0; i--) {
			size_t j = below(i + 1);
			struct pen_share_batch swap = batches[i];

			batches[i] = batches[j];
			batches[j] = swap;
		}
		cr_assert_eq(batches[pen_share_pick(&share, owners, OWNERS, batches, N, 9, &look)].id, id);
	}
}

/* ---- fairness ------------------------------------------------------------------------------ */

/* Owners that always have something: how far apart what they got, in units of their allowance, at most gets. */
static double worst_spread(bool charged)
{
	enum { OWNERS = 6, LARGEST = 1000, PICKS = 20000 };
	struct pen_share share = { 0 };
	struct pen_share_owner owners[OWNERS] = { { 0 } };
	struct pen_share_batch batches[OWNERS] = { { 0 } };
	double got[OWNERS] = { 0 }, worst = 0;
	uint64_t look;

	for (uint32_t i = 0; i < OWNERS; i++) {
		owners[i].weight = 1 + (uint32_t)below(20);
		batches[i] = (struct pen_share_batch){ .id = i, .owner = i, .cost = 1 + below(LARGEST) };
	}
	for (unsigned n = 1; n <= PICKS; n++) {
		size_t i = pen_share_pick(&share, owners, OWNERS, batches, OWNERS, n, &look);

		got[i] += (double)batches[i].cost / owners[i].weight;
		pen_share_start(&share, &owners[i], charged ? batches[i].cost : 1);
		pen_share_end(&share, &owners[i], 1, 1);
		batches[i] = (struct pen_share_batch){
			.id = n + OWNERS, .owner = (uint32_t)i, .queued_ms = n, .cost = 1 + below(LARGEST)
		};
		for (size_t f = 0; f < OWNERS; f++) {
			for (size_t m = 0; m < f; m++) {
				double apart = got[f] - got[m], allowed = (double)LARGEST / owners[f].weight +
									  (double)LARGEST / owners[m].weight;

				apart = (apart < 0 ? -apart : apart) / allowed;
				worst = apart > worst ? apart : worst;
			}
		}
	}
	return worst;
}

Test(share, owners_get_what_their_weights_say)
{
	for (unsigned round = 0; round < 5; round++)
		cr_expect_leq(worst_spread(true), 1.01); /* and what rounding up adds */
	cr_expect_gt(worst_spread(false), 1.5, "a charge that is not the cost is noticed");
}

/* How many of the next 20 starts an owner gets who was away during 1,000. */
static unsigned after_absence(bool paused)
{
	struct pen_share share = { 0 };
	struct pen_share_owner owners[2] = { { .weight = 1 }, { .weight = 1, .paused = paused } };
	struct pen_share_batch batches[2] = { { .id = 1, .owner = 0 }, { .id = 2, .owner = 1 } };
	unsigned got = 0;
	uint64_t look;

	for (unsigned n = 0; n < 1000; n++) {
		cr_assert_eq(pen_share_pick(&share, owners, 2, batches, paused ? 2 : 1, 0, &look), 0);
		pen_share_start(&share, &owners[0], 10);
	}
	owners[1].paused = false;
	for (unsigned n = 0; n < 20; n++) {
		size_t i = pen_share_pick(&share, owners, 2, batches, 2, 0, &look);

		pen_share_start(&share, &owners[i], 10);
		got += i == 1;
	}
	return got;
}

Test(share, who_was_away_saved_nothing_up)
{
	cr_expect_eq(after_absence(false), 10);
	cr_expect_eq(after_absence(true), 10);
}

Test(share, an_estimate_is_settled_at_the_end)
{
	struct pen_share share = { 0 };
	struct pen_share_owner a = { .weight = 4 }, b = { .weight = 4 };

	pen_share_start(&share, &a, 100);
	pen_share_charge(&a, 50);
	cr_expect_eq(a.running, 1);
	pen_share_end(&share, &a, 150, 30);
	pen_share_start(&share, &b, 10);
	pen_share_end(&share, &b, 10, 30);
	cr_expect_eq(a.virtual_time, b.virtual_time);
	cr_expect_eq(a.running + b.running + share.running, 0);
	/* Never below nothing, never round the end. */
	pen_share_start(&share, &a, 1);
	pen_share_end(&share, &a, UINT64_MAX, 0);
	cr_expect_eq(a.virtual_time, 0);
	pen_share_charge(&a, UINT64_MAX);
	pen_share_charge(&a, UINT64_MAX);
	cr_expect_eq(a.virtual_time, UINT64_MAX);
}

/* ---- starvation ---------------------------------------------------------------------------- */

/* What would starve: the highest priority, whatever waits. */
static size_t strict(const struct pen_share_batch *batches, size_t count)
{
	size_t best = 0;

	for (size_t i = 1; i < count; i++)
		if (batches[i].priority > batches[best].priority ||
		    (batches[i].priority == batches[best].priority && batches[i].id < batches[best].id))
			best = i;
	return best;
}

/*
 * A queue that is never empty: each batch that starts, one a second, is followed by a new one of mostly high
 * priority, and never of the lowest. The longest that a batch was passed by those queued after it, in milliseconds
 * between their arrivals.
 */
static uint64_t longest_passed(bool ageing)
{
	enum { N = 30, OWNERS = 3, STARTS = 30000 };
	struct pen_share share = { 0 };
	struct pen_share_owner owners[OWNERS] = { { .weight = 1 }, { .weight = 5 }, { .weight = 2 } };
	struct pen_share_batch batches[N];
	uint64_t now = 1000000000, look, longest = 0;

	for (uint32_t i = 0; i < N; i++)
		batches[i] = (struct pen_share_batch){
			.id = i, .queued_ms = now, .owner = i % OWNERS, .priority = PEN_SHARE_PRIORITY_MIN
		};
	for (unsigned n = 0; n < STARTS; n++, now += 1000) {
		size_t i = ageing ? pen_share_pick(&share, owners, OWNERS, batches, N, now, &look)
				  : strict(batches, N);
		uint32_t owner = batches[i].owner;

		for (size_t j = 0; j < N; j++)
			if (batches[j].owner == owner && batches[i].queued_ms > batches[j].queued_ms &&
			    batches[i].queued_ms - batches[j].queued_ms > longest)
				longest = batches[i].queued_ms - batches[j].queued_ms;
		pen_share_start(&share, &owners[owner], 1 + below(50));
		batches[i] =
			(struct pen_share_batch){ .id = N + n,
						  .queued_ms = now,
						  .owner = owner,
						  .priority = 9 - (int)(below(10) == 0) * (int)below(18) };
	}
	return longest;
}

Test(share, none_starves)
{
	uint64_t bound = (uint64_t)(PEN_SHARE_PRIORITY_MAX - PEN_SHARE_PRIORITY_MIN) * AGE;
	uint64_t longest = longest_passed(true);

	cr_expect_leq(longest, bound);
	cr_expect_gt(longest, bound / 2, "priority means something: %llu", (unsigned long long)longest);
	cr_expect_gt(longest_passed(false), 2 * bound, "a queue without ageing is noticed");
}

Test(share, reasons_have_words)
{
	for (unsigned i = 0; i <= PEN_SHARE_TURN; i++) {
		cr_expect_str_neq(pen_share_wait_text((enum pen_share_wait)i), "an unknown reason");
		for (unsigned j = 0; j < i; j++)
			cr_expect_str_neq(pen_share_wait_text((enum pen_share_wait)i),
					  pen_share_wait_text((enum pen_share_wait)j));
	}
}

/* ---- caps of several workers ------------------------------------------------------------------- */

#define WORKERS 4u
#define OWNERS 3u
#define CAP 5u
#define OWNER_CAP 2u

/*
 * Workers that share a store, each with its own idea of who had what, start and end batches at random. blind: they do
 * not see each other. Returns by how much a cap was passed at worst; *ret_least what the owner of least weight got of
 * 10,000.
 */
static unsigned passed_caps(bool blind, unsigned *ret_got)
{
	struct pen_share share[WORKERS];
	struct pen_share_owner owners[WORKERS][OWNERS];
	unsigned all = 0, of_owner[OWNERS] = { 0 }, worst = 0, started = 0;

	for (unsigned w = 0; w < WORKERS; w++) {
		share[w] = (struct pen_share){ .cap = 3, .store_cap = CAP };
		for (unsigned o = 0; o < OWNERS; o++)
			owners[w][o] = (struct pen_share_owner){ .weight = o + 1, .store_cap = OWNER_CAP };
	}
	memset(ret_got, 0, OWNERS * sizeof *ret_got);
	while (started < 10000) {
		struct pen_share_batch batches[OWNERS];
		unsigned w = (unsigned)below(WORKERS), o = (unsigned)below(OWNERS);
		uint64_t look;
		size_t i;

		if (below(2) && owners[w][o].running) {
			pen_share_end(&share[w], &owners[w][o], 1, 1);
			all--;
			of_owner[o]--;
			continue;
		}
		share[w].elsewhere = blind ? 0 : all - share[w].running;
		for (unsigned k = 0; k < OWNERS; k++) {
			batches[k] = (struct pen_share_batch){ .id = k + 1, .owner = k };
			owners[w][k].elsewhere = blind ? 0 : of_owner[k] - owners[w][k].running;
		}
		i = pen_share_pick(&share[w], owners[w], OWNERS, batches, OWNERS, 0, &look);
		if (i == NONE)
			continue;
		pen_share_start(&share[w], &owners[w][i], 1);
		started++;
		all++;
		of_owner[i]++;
		ret_got[i]++;
		worst = all > CAP + worst ? all - CAP : worst;
		worst = of_owner[i] > OWNER_CAP + worst ? of_owner[i] - OWNER_CAP : worst;
	}
	return worst;
}

Test(share, caps_of_a_store_hold_for_all_its_workers)
{
	unsigned got[OWNERS];

	cr_expect_eq(passed_caps(false, got), 0);
	cr_expect_gt(got[1], got[0], "%u, %u, %u: and weights still mean something", got[0], got[1], got[2]);
	cr_expect_gt(got[2], got[0], "%u, %u, %u", got[0], got[1], got[2]);
	cr_expect_gt(passed_caps(true, got), 0, "workers that do not see each other are noticed");
}
