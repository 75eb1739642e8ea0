/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <string.h>

#include "engine/halt.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct pen_failure why;

Test(halt, what_is_typed)
{
	static const struct {
		const char *typed, *text;
	} rows[] = {
		{ "never", "never" },
		{ "0", "never" },
		{ "1", "soon,fail=1" },
		{ "2", "now,fail=1" },
		{ "-1", "soon,success=1" },
		{ "-2", "now,success=1" },
		{ "5%", "soon,fail=5%" },
		{ "99%", "soon,fail=99%" },
		{ "soon,fail=3", "soon,fail=3" },
		{ "now,success=10", "now,success=10" },
		{ "now,done=100%", "now,done=100%" },
		{ "soon,fail=0.5%", "soon,fail=0.5%" },
		{ "soon,fail=0.0001%", "soon,fail=0.0001%" },
		{ "soon,done=12.3400%", "soon,done=12.34%" },
		{ "now,fail=18446744073709551615", "now,fail=18446744073709551615" },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct pen_halt halt, again;
		char text[PEN_HALT_TEXT];

		memset(&why, 0, sizeof why);
		cr_assert_eq(pen_halt_parse(&halt, rows[i].typed, &why), 0, "%s", why.text);
		cr_expect_eq(pen_halt_text(&halt, text), strlen(rows[i].text));
		cr_expect_str_eq(text, rows[i].text);
		cr_expect_eq(pen_halt_parse(&again, text, NULL), 0);
		cr_expect(halt.when == again.when && halt.why == again.why && halt.count == again.count &&
				  halt.ratio == again.ratio,
			  "%s", text);
	}
}

Test(halt, what_is_refused_says_what_is_accepted)
{
	static const struct {
		const char *typed, *text;
	} rows[] = {
		{ "", "does not begin with" },
		{ "later,fail=1", "does not begin with" },
		{ "NOW,fail=1", "does not begin with" },
		{ "3", "does not begin with" },
		{ "never,fail=1", "behind never" },
		{ "soon", "does not say why" },
		{ "soon,", "another reason" },
		{ "soon,failed=1", "another reason" },
		{ "soon,fail", "no number" },
		{ "soon,fail=", "no number" },
		{ "soon,fail=%", "no number" },
		{ "soon,fail=-1", "no number" },
		{ "soon,fail=1x", "neither a number nor %" },
		{ "soon,fail=1%%", "neither a number nor %" },
		{ "soon,fail=1.5", "neither a number nor %" },
		{ "soon,fail=1.%", "places" },
		{ "soon,fail=1.00001%", "places" },
		{ "soon,fail=101%", "above 100%" },
		{ "soon,fail=100.1%", "above 100%" },
		{ "soon,fail=0", "before the first" },
		{ "soon,fail=0%", "before the first" },
		{ "0%", "before the first" },
		{ "soon,fail=18446744073709551616", "too large" },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct pen_halt halt = { .count = 77 };

		memset(&why, 0, sizeof why);
		cr_expect_eq(pen_halt_parse(&halt, rows[i].typed, &why), -PEN_USAGE, "%s", rows[i].typed);
		cr_expect(strstr(why.text, rows[i].text), "row %zu: %s", i, why.text);
		cr_expect(strstr(why.text, "soon,fail=5%"), "row %zu: %s", i, why.text);
		cr_expect_eq(halt.count, 77);
	}
}

Test(halt, when_it_halts)
{
	static const struct {
		const char *policy;
		struct pen_halt_counts counts; /* succeeded, failed, total */
		enum pen_halt_when when;
	} rows[] = {
		{ "never", { 5, 5, 10 }, PEN_HALT_NEVER },
		{ "now,fail=1", { 9, 0, 10 }, PEN_HALT_NEVER },
		{ "now,fail=1", { 0, 1, 10 }, PEN_HALT_NOW },
		{ "soon,fail=3", { 9, 2, 0 }, PEN_HALT_NEVER },
		{ "soon,fail=3", { 9, 3, 0 }, PEN_HALT_SOON },
		{ "soon,fail=3", { 9, 4, 0 }, PEN_HALT_SOON },
		{ "now,success=2", { 1, 9, 0 }, PEN_HALT_NEVER },
		{ "now,success=2", { 2, 9, 0 }, PEN_HALT_NOW },
		{ "soon,done=3", { 1, 1, 0 }, PEN_HALT_NEVER },
		{ "soon,done=3", { 1, 2, 0 }, PEN_HALT_SOON },
		/* of all items, not of those done: as GNU parallel */
		{ "soon,fail=5%", { 0, 1, 100 }, PEN_HALT_NEVER },
		{ "soon,fail=5%", { 0, 4, 100 }, PEN_HALT_NEVER },
		{ "soon,fail=5%", { 0, 5, 100 }, PEN_HALT_SOON },
		{ "soon,fail=5%", { 90, 4, 100 }, PEN_HALT_NEVER },
		{ "soon,fail=50%", { 0, 1, 3 }, PEN_HALT_NEVER },
		{ "soon,fail=50%", { 0, 2, 3 }, PEN_HALT_SOON },
		{ "now,done=50%", { 4, 0, 10 }, PEN_HALT_NEVER },
		{ "now,done=50%", { 4, 1, 10 }, PEN_HALT_NOW },
		{ "now,success=100%", { 9, 1, 10 }, PEN_HALT_NEVER },
		{ "now,success=100%", { 10, 0, 10 }, PEN_HALT_NOW },
		{ "soon,fail=0.0001%", { 0, 1, 1000000 }, PEN_HALT_SOON },
		{ "soon,fail=0.0001%", { 5, 0, 10 }, PEN_HALT_NEVER },
		/* number of items not known */
		{ "soon,fail=5%", { 0, 19, 0 }, PEN_HALT_NEVER },
		{ "soon,fail=5%", { 18, 1, 0 }, PEN_HALT_NEVER },
		{ "soon,fail=5%", { 19, 1, 0 }, PEN_HALT_SOON },
		{ "soon,fail=5%", { 20, 1, 0 }, PEN_HALT_NEVER },
		{ "now,success=50%", { 10, 10, 0 }, PEN_HALT_NOW },
		{ "now,done=1%", { 1000, 0, 0 }, PEN_HALT_NEVER },
		{ "now,done=1", { 1, 0, 0 }, PEN_HALT_NOW },
		/* a total that was too low, and numbers near the end of theirs */
		{ "soon,fail=50%", { 8, 4, 5 }, PEN_HALT_NEVER },
		{ "soon,fail=100%", { 0, UINT64_MAX, UINT64_MAX }, PEN_HALT_SOON },
		{ "soon,fail=100%", { UINT64_MAX, UINT64_MAX - 1, UINT64_MAX }, PEN_HALT_NEVER },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct pen_halt halt;

		cr_assert_eq(pen_halt_parse(&halt, rows[i].policy, NULL), 0);
		cr_expect_eq(pen_halt_check(&halt, &rows[i].counts), rows[i].when, "row %zu: %s", i,
			     rows[i].policy);
	}
}
