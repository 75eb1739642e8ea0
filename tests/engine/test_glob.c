/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/glob.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static bool fits(const char *pattern, const char *path, bool dir)
{
	struct pen_glob *glob = NULL;
	const char *what = NULL;
	bool yes;

	cr_assert_eq(pen_glob_parse(pattern, &glob, &what), 0, "%s %s", pattern, what);
	yes = pen_glob_match(glob, path, strlen(path), dir);
	pen_glob_free(glob);
	return yes;
}

static const struct {
	const char *pattern, *path;
	bool yes;
} table[] = {
	/* names, at any depth */
	{ "a", "a", true },
	{ "a", "x/y/a", true },
	{ "a", "a/b", false },
	{ "a", "ab", false },
	{ "*.c", "main.c", true },
	{ "*.c", "src/deep/main.c", true },
	{ "*.c", "main.cc", false },
	{ "*", "x/.hidden", true },
	{ "?", "x/y", true },
	{ "?", "x/yz", false },
	{ "*.tar.*", "a.tar.gz", true },
	{ "a*b*c", "aXbXbc", true },
	{ "a*b*c", "aXbXb", false },
	/* whole paths */
	{ "/a", "a", true },
	{ "/a", "x/a", false },
	{ "x/a", "x/a", true },
	{ "x/a", "y/x/a", false },
	{ "x/*", "x/a", true },
	{ "x/*", "x/a/b", false },
	{ "*/a", "x/a", true },
	{ "*/a", "x/y/a", false },
	{ "x?a", "x/a", false },
	{ "x/?", "x/a", true },
	/* ** */
	{ "**", "a/b/c", true },
	{ "**/a", "a", true },
	{ "**/a", "x/y/a", true },
	{ "**/a", "x/ya", false },
	{ "/**/a", "a", true },
	{ "x/**", "x/a/b", true },
	{ "x/**", "x", false },
	{ "x/**", "y/x/a", false },
	{ "x/**/a", "x/a", true },
	{ "x/**/a", "x/1/a", true },
	{ "x/**/a", "x/1/2/a", true },
	{ "x/**/a", "x/1a", false },
	{ "x/**/*.c", "x/1/2/m.c", true },
	{ "x**/a", "xyz/q/a", true },
	{ "x**/a", "xa", false },
	{ "a/***/b", "a/b", true },
	{ "a/**b", "a/x/yb", true },
	{ "**/x/**/y/**", "1/x/2/y/3", true },
	{ "**/x/**/y/**", "x/y", false },
	/* sets */
	{ "[abc]", "b", true },
	{ "[abc]", "d", false },
	{ "[a-c]x", "bx", true },
	{ "[!a-c]", "d", true },
	{ "[^a-c]", "b", false },
	{ "[]]", "]", true },
	{ "[!]]", "]", false },
	{ "[!]]", "a", true },
	{ "[a-]", "-", true },
	{ "[-a]", "-", true },
	{ "[\\]a]", "]", true },
	{ "[\\\\]", "\\", true },
	{ "x[/]y", "x/y", false },
	{ "x[!a]y", "x/y", false },
	{ "x[.-0]y", "x/y", false },
	{ "a/[b]", "a/b", true },
	{ "[\x80-\xff]", "\xc3", true },
	{ "?", "\xc3", true },
	{ "?", "\xc3\xa9", false }, /* bytes, not characters */
	/* as they stand */
	{ "\\*", "*", true },
	{ "\\*", "a", false },
	{ "\\[a", "[a", true },
	{ "\\!a", "!a", true },
	{ "a!", "a!", true },
	{ "{a,b}", "a", false },
	{ "{a,b}", "{a,b}", true },
	{ "A", "a", false },
	{ "a\nb", "a\nb", true },
};

Test(glob, table)
{
	for (size_t i = 0; i < COUNT(table); i++)
		cr_expect_eq(fits(table[i].pattern, table[i].path, false), table[i].yes, "'%s' '%s'",
			     table[i].pattern, table[i].path);
}

Test(glob, directories_alone)
{
	cr_expect(fits("build/", "x/build", true));
	cr_expect_not(fits("build/", "x/build", false));
	cr_expect(fits("/build/", "build", true));
	cr_expect_not(fits("/build/", "x/build", true));
	cr_expect(fits("x/**/", "x/y/z", true));
	cr_expect(fits("build", "x/build", true));
}

Test(glob, what_is_refused)
{
	static const char *const bad[] = { "",	    "/",   "[a", "[",		"[]", "[a-",
					   "[b-a]", "a\\", "!a", "[[:alpha:]]", "[\\" };
	char long_one[PEN_GLOB_BYTES + 2];

	for (size_t i = 0; i < COUNT(bad); i++) {
		struct pen_glob *glob = NULL;
		const char *what = NULL;

		cr_expect_eq(pen_glob_parse(bad[i], &glob, &what), -PEN_USAGE, "%s", bad[i]);
		cr_expect(what && *what);
		cr_expect_null(glob);
	}
	memset(long_one, 'a', sizeof long_one);
	long_one[sizeof long_one - 1] = 0;
	struct pen_glob *glob = NULL;
	const char *what = NULL;

	cr_expect_eq(pen_glob_parse(long_one, &glob, &what), -PEN_USAGE);
	long_one[PEN_GLOB_BYTES] = 0;
	cr_expect(fits(long_one, long_one, false));
	long_one[0] = '*';
	cr_expect(fits(long_one, long_one, false));
}

/* What sends a backtracking matcher away for years. */
Test(glob, no_pattern_is_slow)
{
	char pattern[PEN_GLOB_BYTES + 1], path[4096];
	struct timespec from, to;

	for (size_t i = 0; i + 4 < sizeof pattern; i += 4)
		memcpy(pattern + i, "**a*", 5);
	memset(path, 'a', sizeof path);
	path[sizeof path - 2] = 'b';
	path[sizeof path - 1] = 0;
	clock_gettime(CLOCK_MONOTONIC, &from);
	cr_expect(fits(pattern, path, false));
	memcpy(pattern + strlen(pattern) - 1, "c", 1);
	cr_expect_not(fits(pattern, path, false));
	clock_gettime(CLOCK_MONOTONIC, &to);
	cr_expect_lt(to.tv_sec - from.tv_sec, 10);
}

Test(glob, filter)
{
	static const char *const include[] = { "*.txt", "/docs/**" }, *const exclude[] = { "secret*",
											   "tmp/" };
	struct pen_run run = { .size = sizeof run,
			       .include = include,
			       .include_count = 2,
			       .exclude = exclude,
			       .exclude_count = 2 };
	struct pen_failure why = { 0 };
	struct pen_filter filter;
	char *with = NULL, *without = NULL;
	size_t with_len, without_len;

#define FILE_FITS(p) pen_filter_file(&filter, p, strlen(p))
#define DIR_FITS(p) pen_filter_dir(&filter, p, strlen(p))
	cr_assert_eq(pen_filter_init(&filter, &run, &why), 0);
	cr_expect(FILE_FITS("a/b.txt"));
	cr_expect(FILE_FITS("docs/x"));
	cr_expect_not(FILE_FITS("x"));
	cr_expect_not(FILE_FITS("docs/secret.txt"), "exclude wins");
	cr_expect(DIR_FITS("x"), "include is about files");
	cr_expect_not(DIR_FITS("x/tmp"));
	cr_expect_not(DIR_FITS("secrets"));
	cr_expect(FILE_FITS("docs/tmp"));
	FILE *f = open_memstream(&with, &with_len);
	cr_expect(pen_filter_sign(&filter, f));
	fclose(f);
	pen_filter_fini(&filter);

	run = (struct pen_run){ .size = sizeof run };
	cr_assert_eq(pen_filter_init(&filter, &run, &why), 0);
	cr_expect(FILE_FITS("anything"));
	f = open_memstream(&without, &without_len);
	cr_expect(pen_filter_sign(&filter, f));
	fclose(f);
	cr_expect_eq(without_len, 0, "no filter leaves no mark");
	cr_expect_gt(with_len, 0);
	pen_filter_fini(&filter);
	free(with);
	free(without);

	static const char *const dirs[] = { "*.txt", "docs/" };
	run = (struct pen_run){ .size = sizeof run, .include = dirs, .include_count = 2 };
	cr_expect_eq(pen_filter_init(&filter, &run, &why), -PEN_USAGE);
	cr_expect(strstr(why.text, "docs/**"), "%s", why.text);
	pen_filter_fini(&filter);
}
