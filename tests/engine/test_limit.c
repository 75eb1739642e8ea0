/* SPDX-License-Identifier: MIT */
/* limit: presets, policies that change under another handle, holds, and the header fields against vectors. */
#include "engine/limit.h"

#include <pthread.h>

#include "tests/store/scratch.h"

#define S 1000000000ull

TestSuite(limit, .init = scratch_make, .fini = scratch_remove, .timeout = 60);

static struct pen_limits *open_on(struct pen_store *store)
{
	struct pen_limits *l = NULL;
	struct pen_failure why = { 0 };

	cr_assert_eq(pen_limit_open(store, NULL, &l, &why), 0, "%s", why.text);
	return l;
}

static int check_one(struct pen_limits *l, const char *policy, uint64_t cost, struct pen_limit_result *r)
{
	const struct pen_limit_ask ask = { policy, cost };

	return pen_limit_check(l, "user:a", &ask, 1, r, NULL);
}

static struct pen_limit_policy policy(const char *name, uint64_t window, uint64_t limit)
{
	struct pen_limit_policy p = {
		.size = sizeof p, .window_ns = window, .limit = limit, .burst = UINT64_MAX
	};

	(void)snprintf(p.name, sizeof p.name, "%s", name);
	return p;
}

Test(limit, a_change_holds_in_another_handle_at_once)
{
	struct pen_store *store = scratch_store("s");
	struct pen_limits *a = open_on(store), *b = open_on(store);
	struct pen_limit_policy p = policy("x", 60 * S, 2), got;
	struct pen_limit_result r;

	cr_assert_eq(check_one(b, "x", 1, &r), -PEN_LIMIT_UNKNOWN);
	cr_assert_eq(pen_limit_set(a, &p, NULL), 0);
	cr_assert_eq(check_one(b, "x", 2, &r), 0);
	cr_assert_eq(check_one(a, "x", 1, &r), -PEN_LIMIT_REFUSED);
	p.limit = 3;
	cr_assert_eq(pen_limit_set(b, &p, NULL), 0);
	cr_assert_eq(check_one(a, "x", 1, &r), 0);
	cr_assert_eq(pen_limit_rm(a, "x", NULL), 0);
	cr_assert_eq(check_one(b, "x", 1, &r), -PEN_LIMIT_UNKNOWN);
	cr_assert_eq(pen_limit_get(b, "BATCH_ITEM_PROCESSING", &got), 0);
	cr_assert_eq(got.limit, 100000);
	cr_assert_eq(got.unit, PEN_LIMIT_ITEMS);
	pen_limit_close(a);
	pen_limit_close(b);
	pen_store_close(store);
}

Test(limit, policies_survive_a_restart_and_have_ranges)
{
	struct pen_store *store = scratch_store("s");
	struct pen_limits *l = open_on(store);
	struct pen_limit_policy p = policy("AUTH", 1 * S, 7), got;
	char name[32];
	int rc = 0;

	cr_assert_eq(pen_limit_set(l, &p, NULL), 0);
	for (int i = 0; i < 255 && !rc; i++) {
		(void)snprintf(name, sizeof name, "own.%d", i);
		p = policy(name, 60 * S, 1 + (uint64_t)i);
		rc = pen_limit_set(l, &p, NULL);
	}
	cr_assert_eq(rc, 0);
	p = policy("one-too-many", 60 * S, 1);
	cr_assert_eq(pen_limit_set(l, &p, NULL), -E2BIG);
	p = policy("own.1", 60 * S, 99); /* one that is there may still change */
	cr_assert_eq(pen_limit_set(l, &p, NULL), 0);
	pen_limit_close(l);
	pen_store_close(store);
	cr_assert_eq(scratch_open_with("s", false, false, 0, &store), 0);
	l = open_on(store);
	cr_assert_eq(pen_limit_get(l, "own.254", &got), 0);
	cr_assert_eq(got.limit, 255);
	cr_assert_eq(pen_limit_get(l, "own.1", &got), 0);
	cr_assert_eq(got.limit, 99);
	cr_assert_eq(pen_limit_get(l, "AUTH", &got), 0);
	cr_assert(got.limit == 7 && got.preset && got.changed && got.changed_ms);
	p = policy("", S, 1);
	cr_assert_eq(pen_limit_set(l, &p, NULL), -PEN_USAGE);
	p = policy("a b", S, 1);
	cr_assert_eq(pen_limit_set(l, &p, NULL), -PEN_USAGE);
	p = policy("x", 0, 1);
	cr_assert_eq(pen_limit_set(l, &p, NULL), -PEN_USAGE);
	pen_limit_close(l);
	pen_store_close(store);
}

Test(limit, a_reservation_is_settled_with_what_was_used)
{
	struct pen_store *store = scratch_store("s");
	struct pen_limits *l = open_on(store);
	const struct pen_limit_ask asks[2] = { { "BATCH_OPERATIONS", 1 },
					       { "BATCH_ITEM_PROCESSING", 60000 } };
	struct pen_limit_result r[2];
	struct pen_limit_hold one, two;

	cr_assert_eq(pen_limit_reserve(l, "user:a", asks, 2, r, &one, NULL), 0);
	cr_assert_eq(pen_limit_reserve(l, "user:a", asks, 2, r, &two, NULL), -PEN_LIMIT_REFUSED);
	cr_assert(!r[0].refused && r[1].refused);
	cr_assert_eq(r[0].remaining, 9);
	cr_assert_eq(pen_limit_settle(l, &one, (const uint64_t[2]){ 1, 1000 }), 0);
	cr_assert_eq(pen_limit_reserve(l, "user:a", asks, 2, r, &two, NULL), 0);
	cr_assert_eq(r[1].remaining, 39000);
	cr_assert_eq(pen_limit_release(l, &two), 0);
	cr_assert_eq(pen_limit_peek(l, "user:a", asks, 2, r, NULL), 0);
	cr_assert_eq(r[0].remaining, 9);
	cr_assert_eq(r[1].remaining, 99000);
	pen_limit_close(l);
	pen_store_close(store);
}

Test(limit, concurrent_ones_are_held_and_released)
{
	struct pen_store *store = scratch_store("s");
	struct pen_limits *l = open_on(store);
	struct pen_limit_policy p = policy("at-once", S, 2);
	const struct pen_limit_ask ask = { "at-once", 1 };
	struct pen_limit_hold one, two, three;
	struct pen_limit_result r;

	p.algorithm = PEN_LIMIT_CONCURRENT;
	cr_assert_eq(pen_limit_set(l, &p, NULL), -PEN_USAGE);
	p.unit = PEN_LIMIT_UNIT_CONCURRENT;
	cr_assert_eq(pen_limit_set(l, &p, NULL), 0);
	cr_assert_eq(pen_limit_check(l, "user:a", &ask, 1, &r, NULL), -PEN_USAGE);
	cr_assert_eq(pen_limit_reserve(l, "user:a", &ask, 1, &r, &one, NULL), 0);
	cr_assert_eq(pen_limit_reserve(l, "user:a", &ask, 1, &r, &two, NULL), 0);
	cr_assert_eq(pen_limit_reserve(l, "user:a", &ask, 1, &r, &three, NULL), -PEN_LIMIT_REFUSED);
	cr_assert_eq(pen_limit_retry_after(&r, 1), 1);
	cr_assert_eq(pen_limit_settle(l, &one, NULL), 0);
	cr_assert_eq(pen_limit_reserve(l, "user:a", &ask, 1, &r, &three, NULL), 0);
	cr_assert_eq(r.remaining, 0);
	pen_limit_close(l);
	pen_store_close(store);
}

Test(limit, identities_and_asks_have_bounds)
{
	struct pen_store *store = scratch_store("s");
	struct pen_limits *l = open_on(store);
	const struct pen_limit_ask asks[9] = { { "default", 1 } };
	struct pen_limit_result r[9];
	char longest[257];

	memset(longest, 'x', sizeof longest);
	longest[256] = 0;
	cr_assert_eq(pen_limit_check(l, longest, asks, 1, r, NULL), -PEN_USAGE);
	longest[255] = 0;
	cr_assert_eq(pen_limit_check(l, longest, asks, 1, r, NULL), 0);
	cr_assert_eq(pen_limit_check(l, "", asks, 1, r, NULL), -PEN_USAGE);
	cr_assert_eq(pen_limit_check(l, "a", asks, 0, r, NULL), -PEN_USAGE);
	cr_assert_eq(pen_limit_check(l, "a", asks, 9, r, NULL), -PEN_USAGE);
	pen_limit_close(l);
	pen_store_close(store);
}

/* ---- what a client is told ---------------------------------------------------------------------- */

static struct pen_limit_result result(const char *name, uint64_t limit, uint64_t window_s, uint64_t remaining,
				      uint64_t reset_ns)
{
	struct pen_limit_result r = {
		.limit = limit, .window_ns = window_s * S, .remaining = remaining, .reset_ns = reset_ns
	};

	(void)snprintf(r.policy, sizeof r.policy, "%s", name);
	return r;
}

static void expect(const struct pen_limit_result *r, size_t n, const char *wanted)
{
	char text[1024], few[40];
	size_t len = pen_limit_headers(r, n, text, sizeof text);

	cr_expect_str_eq(text, wanted);
	cr_expect_eq(len, strlen(wanted));
	cr_expect_eq(pen_limit_headers(r, n, few, sizeof few), len);
	cr_expect_eq(strncmp(few, wanted, sizeof few - 1), 0);
}

Test(limit, headers_are_these)
{
	struct pen_limit_result r[3] = { result("export", 20, 3600, 17, 41 * S + 1),
					 result("default", 100, 60, 99, 60 * S),
					 result("up", 1000000, 3600, 999, 3600 * S) };

	r[2].unit = PEN_LIMIT_BYTES;
	expect(r, 1,
	       "X-RateLimit-Limit: 20\r\nX-RateLimit-Window: 3600\r\nX-RateLimit-Remaining: 17\r\n"
	       "RateLimit-Policy: \"export\";q=20;w=3600\r\nRateLimit: \"export\";r=17;t=42\r\n");
	/* The old fields are of the one with the smallest part left. */
	expect(r, 3,
	       "X-RateLimit-Limit: 1000000\r\nX-RateLimit-Window: 3600\r\nX-RateLimit-Remaining: 999\r\n"
	       "RateLimit-Policy: \"export\";q=20;w=3600, \"default\";q=100;w=60, \"up\";q=1000000;w=3600;qu=\"content-bytes\"\r\n"
	       "RateLimit: \"export\";r=17;t=42, \"default\";r=99;t=60, \"up\";r=999;t=3600\r\n");
	/* Refused: by those that refuse; the longest counts, and no t is beyond it. */
	r[0].refused = r[1].refused = true;
	r[0].remaining = r[1].remaining = 0;
	r[0].retry_ns = 1;
	r[1].retry_ns = 2 * S + 1;
	r[0].reset_ns = 3000 * S;
	expect(r, 3,
	       "X-RateLimit-Limit: 100\r\nX-RateLimit-Window: 60\r\nX-RateLimit-Remaining: 0\r\nRetry-After: 3\r\n"
	       "RateLimit-Policy: \"export\";q=20;w=3600, \"default\";q=100;w=60, \"up\";q=1000000;w=3600;qu=\"content-bytes\"\r\n"
	       "RateLimit: \"export\";r=0;t=1, \"default\";r=0;t=3\r\n");
	cr_assert_eq(pen_limit_retry_after(r, 3), 3);
	cr_assert_eq(pen_limit_retry_after(r + 2, 1), 0);
	/* Never: a window, for want of a better number; a window below a second is one. */
	r[0] = result("tiny", 1, 0, 1, 0);
	r[0].window_ns = S / 1000;
	r[0].refused = true;
	r[0].retry_ns = PEN_LIMIT_NEVER;
	r[0].unit = PEN_LIMIT_ITEMS;
	expect(r, 1,
	       "X-RateLimit-Limit: 1\r\nX-RateLimit-Window: 1\r\nX-RateLimit-Remaining: 1\r\nRetry-After: 1\r\n"
	       "RateLimit-Policy: \"tiny\";q=1;w=1;penstock-unit=\"items\"\r\nRateLimit: \"tiny\";r=1;t=1\r\n");
	r[0] = result("slots", 4, 1, 3, S);
	r[0].unit = PEN_LIMIT_UNIT_CONCURRENT;
	expect(r, 1,
	       "X-RateLimit-Limit: 4\r\nX-RateLimit-Window: 1\r\nX-RateLimit-Remaining: 3\r\n"
	       "RateLimit-Policy: \"slots\";q=4;w=1;qu=\"concurrent-requests\"\r\nRateLimit: \"slots\";r=3;t=1\r\n");
	cr_assert_eq(pen_limit_headers(r, 0, NULL, 0), 0);
}

Test(limit, rates_are_read)
{
	static const struct {
		const char *text;
		uint64_t count, window;
	} good[] = { { "10/min", 10, 60 * S },	  { "1/s", 1, S },	  { "5/15m", 5, 900 * S },
		     { "100/250ms", 100, S / 4 }, { "3/h", 3, 3600 * S }, { "7/2d", 7, 172800 * S } };
	static const char *const bad[] = { "",
					   "10",
					   "10/",
					   "/s",
					   "0/s",
					   "10/s ",
					   " 10/s",
					   "10/0s",
					   "10/500d",
					   "x/s",
					   "10//s",
					   "1000000000000001/s",
					   "99999999999999999999/s" };
	uint64_t count, window;

	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		cr_assert_eq(pen_rate_parse(good[i].text, &count, &window, NULL), 0, "%s", good[i].text);
		cr_assert(count == good[i].count && window == good[i].window, "%s", good[i].text);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		cr_assert_eq(pen_rate_parse(bad[i], &count, &window, NULL), -PEN_USAGE, "%s", bad[i]);
}

/* The copier keeps a copy by itself, while nobody closes anything. */
Test(limit, a_copier_copies)
{
	const struct pen_limits_options opt = { .size = sizeof opt, .copier = true };
	struct pen_store *store = scratch_store("s");
	struct pen_limits *l = NULL;
	struct pen_limit_result r;

	cr_assert_eq(pen_limit_open(store, &opt, &l, NULL), 0);
	cr_assert_eq(check_one(l, "default", 1, &r), 0);
	for (int i = 0; i < 500 && !pen_turnstile_copied_ns(pen_limit_turnstile(l)); i++)
		nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
	cr_assert_gt(pen_turnstile_copied_ns(pen_limit_turnstile(l)), 0);
	cr_assert_eq(access(scratch_path("s/limits/data.mdb"), F_OK), 0);
	pen_limit_close(l);
	pen_store_close(store);
}
