/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

#include "engine/backoff.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define S 1000000000ull

static struct pen_failure why;

static struct pen_backoff policy(const char *list, enum pen_backoff_jitter jitter)
{
	struct pen_backoff p;

	cr_assert_eq(pen_backoff_parse(&p, list, jitter, 3, &why), 0, "%s", why.text);
	return p;
}

Test(backoff, the_reference_is_one_try_and_retries_after_2_4_and_8_seconds)
{
	struct pen_backoff p;

	cr_assert_eq(pen_backoff_parse(&p, NULL, PEN_JITTER_NONE, PEN_BACKOFF_RETRIES, NULL), 0);
	cr_expect_eq(pen_backoff_delay(&p, 1, 7, 9), 2 * S);
	cr_expect_eq(pen_backoff_delay(&p, 2, 7, 9), 4 * S);
	cr_expect_eq(pen_backoff_delay(&p, 3, 7, 9), 8 * S);
	cr_expect_eq(pen_backoff_left(&p, 0), 3);
	cr_expect_eq(pen_backoff_left(&p, 1), 3);
	cr_expect_eq(pen_backoff_left(&p, 3), 1);
	cr_expect_eq(pen_backoff_left(&p, 4), 0);
	cr_expect_eq(pen_backoff_left(&p, UINT32_MAX), 0);
}

Test(backoff, schedules)
{
	static const struct {
		const char *list;
		uint32_t retry;
		uint64_t ns;
	} rows[] = {
		{ "2s,4s,8s", 4, 8 * S }, /* the last one again */
		{ "2s,4s,8s", UINT32_MAX, 8 * S },
		{ "8s,1s", 2, S },
		{ "250ms", 1, S / 4 },
		{ "1.5s", 1, S * 3 / 2 },
		{ "0.000000001s", 1, 1 },
		{ "0", 1, 0 },
		{ "0,0.0,1m", 3, 60 * S },
		{ "2h", 1, 7200 * S },
		{ "365d", 1, PEN_BACKOFF_MAX_NS },
		{ "exp:1s", 1, S },
		{ "exp:1s", 2, 2 * S },
		{ "exp:1s", 11, 1024 * S },
		{ "exp:1s", 1000, PEN_BACKOFF_MAX_NS },
		{ "exp:1s,1m", 6, 32 * S },
		{ "exp:1s,1m", 7, 60 * S },
		{ "exp:1s,1m", UINT32_MAX, 60 * S },
		{ "exp:5s,5s", 9, 5 * S },
		{ "exp:0", 5, 0 },
		{ "exp:365d", 2, PEN_BACKOFF_MAX_NS },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct pen_backoff p = policy(rows[i].list, PEN_JITTER_NONE);

		cr_expect_eq(pen_backoff_delay(&p, rows[i].retry, 1, 2), rows[i].ns, "row %zu: %s", i,
			     rows[i].list);
	}
}

Test(backoff, what_is_refused_says_what_is_accepted)
{
	static const struct {
		const char *list, *text;
	} rows[] = {
		{ "", "no delay" },
		{ "2s,", "no delay" },
		{ ",2s", "no delay" },
		{ "2s,,4s", "no delay" },
		{ "soon", "'soon' is no delay" },
		{ "-1s", "no delay" },
		{ "2", "'2' has no unit" },
		{ "2s,4", "'4' has no unit" },
		{ "2 s", "unknown unit" },
		{ "2S", "unknown unit" },
		{ "2sec", "unknown unit" },
		{ "1.s", "no delay" },
		{ ".5s", "no delay" },
		{ "1.0000000001s", "nine places" },
		{ "366d", "longer than 365d" },
		{ "99999999999999999999999999s", "longer than 365d" },
		{ "18446744073709551615ms", "longer than 365d" },
		{ "exp:", "no delay" },
		{ "exp:2s,1s", "cap below" },
		{ "exp:1s,2s,3s", "more than 2" },
		{ "1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,"
		  "1s,1s,1s",
		  "more than 32" },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct pen_backoff p = { .steps = 77 };

		memset(&why, 0, sizeof why);
		cr_expect_eq(pen_backoff_parse(&p, rows[i].list, PEN_JITTER_NONE, 3, &why), -PEN_USAGE, "%s",
			     rows[i].list);
		cr_expect(strstr(why.text, rows[i].text), "row %zu: %s", i, why.text);
		cr_expect(strstr(why.text, "2s,4s,8s or exp:2s,1m"), "row %zu: %s", i, why.text);
		cr_expect_eq(p.steps, 77);
	}
	struct pen_backoff p;

	memset(&why, 0, sizeof why);
	cr_expect_eq(pen_backoff_parse(&p, NULL, PEN_JITTER_NONE, 1001, &why), -PEN_USAGE);
	cr_expect(strstr(why.text, "0 to 1000"), "%s", why.text);
	cr_expect_eq(pen_backoff_parse(&p, NULL, PEN_JITTER_NONE, 1000, NULL), 0);
	cr_expect_eq(pen_backoff_parse(&p, NULL, PEN_JITTER_NONE, 0, NULL), 0);
	cr_expect_eq(pen_backoff_left(&p, 1), 0);
	/* A jitter that would change nothing. */
	memset(&why, 0, sizeof why);
	cr_expect_eq(pen_backoff_parse(&p, "5s", PEN_JITTER_DECORRELATED, 3, &why), -PEN_USAGE);
	cr_expect(strstr(why.text, "exp:1s,1m"), "%s", why.text);
	cr_expect_eq(pen_backoff_parse(&p, "0,5s", PEN_JITTER_DECORRELATED, 3, NULL), -PEN_USAGE);
	cr_expect_eq(pen_backoff_parse(&p, "exp:5s", PEN_JITTER_DECORRELATED, 3, NULL), 0);
}

Test(backoff, jitter_has_names)
{
	enum pen_backoff_jitter jitter;

	for (unsigned i = 0; i <= PEN_JITTER_DECORRELATED; i++) {
		cr_assert_eq(pen_backoff_jitter_find(pen_backoff_jitter_name((enum pen_backoff_jitter)i),
						     &jitter, NULL),
			     0);
		cr_expect_eq(jitter, i);
	}
	memset(&why, 0, sizeof why);
	cr_expect_eq(pen_backoff_jitter_find("some", &jitter, &why), -PEN_USAGE);
	cr_expect(strstr(why.text, "none, equal, full or decorrelated"), "%s", why.text);
}

/* Where the draws of a jitter lie in from .. to, over many items: the lowest, the highest and the mean. */
static void spread(const struct pen_backoff *p, uint32_t retry, double *low, double *high, double *mean)
{
	enum { N = 20000 };
	double sum = 0;

	*low = 1e300;
	*high = 0;
	for (uint64_t seq = 0; seq < N; seq++) {
		double d = (double)pen_backoff_delay(p, retry, 0xbeef, seq) / (double)S;

		*low = d < *low ? d : *low;
		*high = d > *high ? d : *high;
		sum += d;
	}
	*mean = sum / N;
}

Test(backoff, jitter_fills_its_range_evenly)
{
	static const struct {
		enum pen_backoff_jitter jitter;
		uint32_t retry;
		double low, high;
	} rows[] = {
		{ PEN_JITTER_EQUAL, 1, 1, 2 },	      { PEN_JITTER_EQUAL, 3, 4, 8 },
		{ PEN_JITTER_FULL, 1, 0, 2 },	      { PEN_JITTER_FULL, 9, 0, 8 },
		{ PEN_JITTER_DECORRELATED, 1, 2, 6 },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct pen_backoff p = policy(NULL, rows[i].jitter);
		double low, high, mean, width = rows[i].high - rows[i].low;

		spread(&p, rows[i].retry, &low, &high, &mean);
		cr_expect(low >= rows[i].low && low < rows[i].low + width / 100, "row %zu: %f", i, low);
		cr_expect(high <= rows[i].high && high > rows[i].high - width / 100, "row %zu: %f", i, high);
		cr_expect(mean > rows[i].low + width * 0.48 && mean < rows[i].low + width * 0.52,
			  "row %zu: %f", i, mean);
	}
}

Test(backoff, a_draw_depends_on_batch_item_and_retry_alone)
{
	struct pen_backoff p = policy("1h", PEN_JITTER_FULL);
	uint64_t one = pen_backoff_delay(&p, 1, 100, 200);

	cr_expect_eq(pen_backoff_delay(&p, 1, 100, 200), one, "again the same");
	cr_expect_neq(pen_backoff_delay(&p, 2, 100, 200), one);
	cr_expect_neq(pen_backoff_delay(&p, 1, 101, 200), one);
	cr_expect_neq(pen_backoff_delay(&p, 1, 100, 201), one);
	cr_expect_neq(pen_backoff_delay(&p, 1, 200, 100), one);
	/* Fixed for good: what one version promised, the next one keeps. */
	cr_expect_eq(one, 3340177732309, "%llu", (unsigned long long)one);
}

/* SplitMix64, as its authors write it: its state, and the state's next output. */
static uint64_t splitmix(uint64_t x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9ull;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebull;
	x ^= x >> 31;
	return x;
}

/* sleep = min(cap, random_between(base, sleep * 3)), as the paper on back-off has it, step by step. */
Test(backoff, decorrelated_follows_the_formula_with_the_delay_before)
{
	struct pen_backoff p = policy("exp:100ms,1m", PEN_JITTER_DECORRELATED);
	const uint64_t base = S / 10, cap = 60 * S;
	uint32_t at_cap = 0;

	for (uint64_t seq = 0; seq < 200; seq++) {
		uint64_t sleep = base;

		for (uint32_t retry = 1; retry <= 50; retry++) {
			uint64_t x = splitmix(splitmix(splitmix(5 + 0x9e3779b97f4a7c15ull) + seq) + retry);
			uint64_t above = (uint64_t)((unsigned __int128)x * (sleep * 3 - base + 1) >> 64);

			sleep = base + above < cap ? base + above : cap;
			cr_assert_eq(pen_backoff_delay(&p, retry, 5, seq), sleep, "item %llu, retry %u",
				     (unsigned long long)seq, retry);
			at_cap += sleep == cap;
		}
	}
	cr_expect(at_cap > 500, "%u of 10,000 were cut", at_cap);
}

Test(backoff, decorrelated_grows_with_the_tries)
{
	struct pen_backoff p = policy("exp:1s,10m", PEN_JITTER_DECORRELATED);
	double low, high, mean, last = 0;

	for (uint32_t retry = 1; retry <= 8; retry++) {
		spread(&p, retry, &low, &high, &mean);
		cr_expect(mean > last * 1.2, "retry %u: %f s after %f s", retry, mean, last);
		cr_expect(low >= 1 && high <= 600, "retry %u: %f .. %f s", retry, low, high);
		last = mean;
	}
}

Test(backoff, decorrelated_takes_more_tries_than_there_are)
{
	struct pen_backoff p = policy("exp:1s,10m", PEN_JITTER_DECORRELATED);

	cr_expect_eq(pen_backoff_delay(&p, UINT32_MAX, 1, 1),
		     pen_backoff_delay(&p, PEN_BACKOFF_RETRIES_MAX, 1, 1));
}

Test(backoff, what_is_written_parses_to_the_same)
{
	static const char *const lists[] = {
		"2s,4s,8s", "0", "250ms,1m,1h,7d", "exp:1s,1m", "exp:5s,365d", "1500ms", "0.000000001s",
	};
	char text[PEN_BACKOFF_TEXT], longest[1024] = "";

	for (size_t i = 0; i < COUNT(lists); i++) {
		struct pen_backoff p = policy(lists[i], PEN_JITTER_NONE);

		cr_expect_eq(pen_backoff_text(&p, text), strlen(lists[i]));
		cr_expect_str_eq(text, lists[i]);
	}
	for (unsigned i = 0; i < PEN_BACKOFF_STEPS; i++)
		strncat(longest, i ? ",31535999.999999999s" : "31535999.999999999s",
			sizeof longest - strlen(longest) - 1);
	struct pen_backoff p = policy(longest, PEN_JITTER_NONE);

	cr_expect_eq(pen_backoff_text(&p, text), strlen(longest));
	cr_expect_str_eq(text, longest);
}

Test(backoff, retry_numbers_begin_at_1, .signal = SIGABRT)
{
	struct pen_backoff p = policy(NULL, PEN_JITTER_NONE);

	pen_backoff_delay(&p, 0, 1, 2);
}
