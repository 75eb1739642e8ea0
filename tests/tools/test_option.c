/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "include/penstock.h"
#include "tools/option.h"
#include "tools/out.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct pen_args args;

/* Parses up to 15 words; the words must outlive args. */
static int parse(const char *const *words)
{
	static char *argv[17];
	int argc = 1;

	argv[0] = (char *)"penstock";
	while (words[argc - 1]) {
		argv[argc] = (char *)words[argc - 1];
		argc++;
	}
	argv[argc] = NULL;
	return pen_option_parse(&args, argc, argv);
}
#define PARSE(...) parse((const char *const[]){ __VA_ARGS__, NULL })

Test(option, values_come_after_a_blank_or_an_equals_sign)
{
	cr_assert_eq(PARSE("--store", "here", "run", "--key=/id", "a", "--into", "x=y", "b", "--json"), 0);
	cr_expect_eq(args.command->id, PEN_CMD_RUN);
	cr_expect_str_eq(args.value[PEN_O_STORE].text, "here");
	cr_expect_str_eq(args.value[PEN_O_KEY].text, "/id");
	cr_expect_str_eq(args.value[PEN_O_INTO].text, "x=y");
	cr_expect(args.value[PEN_O_JSON].set);
	cr_expect_not(args.value[PEN_O_QUIET].set);
	cr_assert_eq(args.word_count, 2);
	cr_expect_str_eq(args.words[1], "b");
	pen_option_fini(&args);
}

Test(option, two_dashes_end_the_options)
{
	cr_assert_eq(PARSE("run", "--", "--key", "-", "--"), 0);
	cr_assert_eq(args.word_count, 3);
	cr_expect_str_eq(args.words[0], "--key");
	cr_expect_str_eq(args.words[2], "--");
	pen_option_fini(&args);
	cr_assert_eq(PARSE("run", "-"), 0);
	cr_expect_str_eq(args.words[0], "-");
	pen_option_fini(&args);
}

Test(option, negative_numbers_are_values_and_words)
{
	cr_assert_eq(PARSE("items", "@last", "--after", "-1"), 0);
	cr_expect_eq(args.value[PEN_O_AFTER].i, -1);
	pen_option_fini(&args);
	cr_assert_eq(PARSE("get", "data", "-5"), 0);
	cr_expect_str_eq(args.words[1], "-5");
	pen_option_fini(&args);
}

Test(option, lists_keep_every_value)
{
	cr_assert_eq(PARSE("run", "a", "--label", "k=1", "--label=l=2"), 0);
	cr_assert_eq(args.lists[0].count, 2);
	cr_expect_str_eq(args.lists[0].at[1], "l=2");
	pen_option_fini(&args);
	cr_assert_eq(PARSE("run", "a", "--exclude", "x", "--include=i", "--exclude", "y", "--label", "k=v"),
		     0);
	cr_expect_eq(args.lists[PEN_O_INCLUDE - PEN_O_LABEL].count, 1);
	cr_assert_eq(args.lists[PEN_O_EXCLUDE - PEN_O_LABEL].count, 2);
	cr_expect_str_eq(args.lists[PEN_O_EXCLUDE - PEN_O_LABEL].at[1], "y");
	cr_expect_eq(args.lists[0].count, 1);
	pen_option_fini(&args);
}

Test(option, a_list_of_items_stands_for_sources)
{
	cr_assert_eq(PARSE("run", "--items", "-", "-0"), 0);
	cr_expect(args.value[PEN_O_NULL].set);
	cr_expect_eq(args.word_count, 0);
	pen_option_fini(&args);
	cr_assert_eq(PARSE("run", "-0"), -PEN_USAGE);
	pen_option_fini(&args);
	cr_assert_eq(PARSE("get", "data", "-0"), 0, "elsewhere it is a word");
	cr_expect_str_eq(args.words[1], "-0");
	pen_option_fini(&args);
}

Test(option, what_is_wrong_is_named_with_a_way_out)
{
	static const struct {
		const char *words[5];
		int code;
		const char *error, *advice;
	} rows[] = {
		{ { "runn", "x" }, -PEN_USAGE, "runn", "penstock run" },
		{ { "satus" }, -PEN_USAGE, "satus", "status" },
		{ { "run", "x", "--formt", "lines" }, -PEN_USAGE, "--formt", "--format" },
		{ { "run", "x", "--format", "linse" }, -PEN_USAGE, "linse", "lines" },
		{ { "run", "x", "--durability=gruop" }, -PEN_USAGE, "gruop", "group" },
		{ { "--key", "/id", "run" }, -PEN_USAGE, "--key", "penstock run" },
		{ { "run" }, -PEN_USAGE, "SOURCE", "--help" },
		{ { "get", "a" }, -PEN_USAGE, "DATASET KEY", "--help" },
		{ { "get", "a", "b", "c" }, -PEN_USAGE, "'c'", "DATASET KEY" },
		{ { "run", "x", "--key" }, -PEN_USAGE, "needs a value", "--key=VALUE" },
		{ { "run", "x", "--key", "--json" }, -PEN_USAGE, "needs a value", "--key=VALUE" },
		{ { "run", "x", "--json=1" }, -PEN_USAGE, "takes no value", "" },
		{ { "run", "x", "-z" }, -PEN_USAGE, "-z", "--help" },
		{ { "run", "x", "--jobs", "0" }, -PEN_USAGE, "at least 1", "" },
		{ { "run", "x", "--jobs", "1025" }, -PEN_USAGE, "at most 1024", "" },
		{ { "run", "x", "--jobs", "two" }, -PEN_USAGE, "whole number", "" },
		{ { "run", "x", "--max-record", "2GiB" }, -PEN_USAGE, "at most", "" },
		{ { "run", "x", "--max-record", "1Q" }, -PEN_USAGE, "a size", "" },
		{ { "run", "x", "--max-rejects", "5%%" }, -PEN_USAGE, "5%%", "" },
		{ { "run", "x", "--format", "frames:u8" }, -PEN_USAGE, "frames:u8", "frames:u" },
		{ { "run", "x", "--compression", "gz" }, -PEN_USAGE, "gz", "gzip" },
		{ { "run", "x", "--bulk", "yes" }, -PEN_USAGE, "yes", "on" },
		{ { "verify", "--adopt", "x" },
		  -PEN_UNSUPPORTED,
		  "--adopt is not in this version",
		  "--help" },
		{ { "serve" }, -PEN_UNSUPPORTED, "serve is not in this version", "--help" },
		{ { "config", "show" }, -PEN_UNSUPPORTED, "config", "--help" },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		cr_expect_eq(parse(rows[i].words), rows[i].code, "row %zu: %s", i, args.error);
		cr_expect(strstr(args.error, rows[i].error), "row %zu: %s", i, args.error);
		cr_expect(strstr(args.advice, rows[i].advice), "row %zu: %s", i, args.advice);
		pen_option_fini(&args);
	}
}

Test(option, help_wins_over_what_is_wrong_behind_it)
{
	cr_assert_eq(PARSE("run", "--help", "--no-such"), 0);
	cr_expect_eq(args.help, 2);
	cr_expect_eq(args.command->id, PEN_CMD_RUN);
	pen_option_fini(&args);
	cr_assert_eq(PARSE("-h", "scan"), 0);
	cr_expect_eq(args.help, 1);
	cr_expect_eq(args.command->id, PEN_CMD_SCAN);
	pen_option_fini(&args);
}

Test(option, sizes_know_their_units)
{
	static const struct {
		const char *text;
		bool ok;
		uint64_t bytes;
	} rows[] = {
		{ "0", true, 0 },
		{ "4096", true, 4096 },
		{ "1k", true, 1024 },
		{ "64M", true, 64ull << 20 },
		{ "64MiB", true, 64ull << 20 },
		{ "64MB", true, 64000000 },
		{ "1GiB", true, 1ull << 30 },
		{ "1T", true, 1ull << 40 },
		{ "5B", true, 5 },
		{ "", false, 0 },
		{ "M", false, 0 },
		{ "1.5M", false, 0 },
		{ "-1", false, 0 },
		{ "1 M", false, 0 },
		{ "1mib", false, 0 },
		{ "18446744073709551615", true, UINT64_MAX },
		{ "18446744073709551616", false, 0 },
		{ "99999999T", false, 0 },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		uint64_t n = 77;

		cr_expect_eq(pen_option_size(rows[i].text, &n), rows[i].ok, "%s", rows[i].text);
		if (rows[i].ok)
			cr_expect_eq(n, rows[i].bytes, "%s", rows[i].text);
	}
}

Test(option, durations_know_their_units)
{
	static const struct {
		const char *text;
		bool ok;
		uint64_t ms;
	} rows[] = {
		{ "100", true, 100 },	   { "100ms", true, 100 },   { "2s", true, 2000 },
		{ "5m", true, 300000 },	   { "5min", true, 300000 }, { "1h", true, 3600000 },
		{ "7d", true, 604800000 }, { "", false, 0 },	     { "s", false, 0 },
		{ "0.25s", true, 250 },	   { "1.5m", true, 90000 },  { "0.0005s", false, 0 },
		{ "1.", false, 0 },	   { ".5s", false, 0 },	     { "1.5", false, 0 },
		{ "1w", false, 0 },	   { "-1s", false, 0 },	     { "999999999999999d", false, 0 },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		uint64_t n = 77;

		cr_expect_eq(pen_option_duration(rows[i].text, &n), rows[i].ok, "%s", rows[i].text);
		if (rows[i].ok)
			cr_expect_eq(n, rows[i].ms, "%s", rows[i].text);
	}
}

Test(option, shares_are_counts_or_percentages)
{
	static const struct {
		const char *text;
		bool ok, percent;
		uint64_t n;
		uint32_t ratio;
	} rows[] = {
		{ "0", true, false, 0, 0 },
		{ "100", true, false, 100, 0 },
		{ "5%", true, true, 0, 50000 },
		{ "0%", true, true, 0, 0 },
		{ "0.1%", true, true, 0, 1000 },
		{ "0.0001%", true, true, 0, 1 },
		{ "100%", true, true, 0, 1000000 },
		{ "101%", false, 0, 0, 0 },
		{ "100.1%", false, 0, 0, 0 },
		{ "0.00001%", false, 0, 0, 0 },
		{ "%", false, 0, 0, 0 },
		{ "1.%", false, 0, 0, 0 },
		{ "1.5", false, 0, 0, 0 },
		{ "-1", false, 0, 0, 0 },
		{ "", false, 0, 0, 0 },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct pen_value value = { 0 };

		cr_expect_eq(pen_option_share(rows[i].text, &value), rows[i].ok, "%s", rows[i].text);
		if (!rows[i].ok)
			continue;
		cr_expect_eq(value.percent, rows[i].percent, "%s", rows[i].text);
		cr_expect_eq(value.n, rows[i].n, "%s", rows[i].text);
		cr_expect_eq(value.ratio, rows[i].ratio, "%s", rows[i].text);
	}
}

/* No two rows may answer to one name in one command, and what help needs must be there. */
Test(option, the_table_is_sound)
{
	for (size_t c = 0; c < PEN_CMD_COUNT; c++) {
		cr_expect_eq(pen_commands[c].id, c);
		cr_expect(pen_commands[c].examples && *pen_commands[c].examples, "%s", pen_commands[c].name);
		for (size_t i = 0; i < pen_options_count; i++)
			for (size_t j = i + 1; j < pen_options_count; j++)
				cr_expect(strcmp(pen_options[i].name, pen_options[j].name) != 0 ||
						  !(pen_options[i].commands & pen_options[j].commands &
						    1u << c),
					  "%s --%s", pen_commands[c].name, pen_options[i].name);
	}
	for (size_t i = 0; i < pen_options_count; i++) {
		const struct pen_option *o = &pen_options[i];

		cr_expect_eq(o->kind == PEN_OPT_LATER, o->help == NULL, "--%s", o->name);
		cr_expect_eq(o->kind == PEN_OPT_CHOICE, o->choices != NULL, "--%s", o->name);
		if (o->kind != PEN_OPT_FLAG && o->kind != PEN_OPT_CHOICE && o->kind != PEN_OPT_LATER)
			cr_expect(o->arg, "--%s", o->name);
		/* A default that is a choice must be one of them. */
		if (o->kind == PEN_OPT_CHOICE && o->fallback && strcmp(o->fallback, "all") != 0)
			cr_expect_eq(pen_option_choice(o->fallback, o->choices), 0,
				     "--%s: the first choice is the default", o->name);
	}
}

Test(option, help_shows_every_option_and_examples_first)
{
	for (size_t c = 0; c < PEN_CMD_COUNT; c++) {
		struct pen_out out;

		pen_out_init(&out, -1);
		pen_option_help(&out, &pen_commands[c], true);
		pen_out_char(&out, '\0');
		cr_expect(strstr(out.buf, "Examples:") < strstr(out.buf, "Usage:"), "%s",
			  pen_commands[c].name);
		for (size_t i = 0; i < pen_options_count; i++) {
			char name[80];

			snprintf(name, sizeof name, "--%s", pen_options[i].name);
			if (pen_options[i].kind != PEN_OPT_LATER && pen_options[i].commands >> c & 1)
				cr_expect(strstr(out.buf, name), "%s %s", pen_commands[c].name, name);
		}
		pen_out_fini(&out);
	}
}

Test(option, times)
{
	static const struct {
		const char *text;
		uint64_t ms;
	} rows[] = {
		{ "1970-01-01T00:00:00Z", 0 },
		{ "1970-01-01T01:00:00+01:00", 0 },
		{ "2023-11-14T22:13:20Z", 1700000000000 },
		{ "2023-11-14 22:13:20z", 1700000000000 },
		{ "2023-11-14t22:13:20.5Z", 1700000000500 },
		{ "2023-11-14T22:13:20.1239999Z", 1700000000123 },
		{ "2023-11-14T23:43:20+01:30", 1700000000000 },
		{ "2023-11-14T14:13:20-08:00", 1700000000000 },
		{ "2000-02-29T00:00:00Z", 951782400000 },
		{ "2024-03-01T00:00:00Z", 1709251200000 },
		{ "2100-03-01T00:00:00Z", 4107542400000 },
		{ "2016-12-31T23:59:60Z", 1483228799000 },
		{ "9999-12-31T23:59:59Z", 253402300799000 },
		{ "1700000000", 1700000000000 },
		{ "@1700000000", 1700000000000 },
		{ "0", 0 },
		{ "+90s", 5000 + 90000 },
		{ "+2h", 5000 + 7200000 },
		{ "+1d", 5000 + 86400000 },
		{ "+0s", 5000 },
	};
	static const struct {
		const char *text, *what;
	} bad[] = {
		{ "", "is no time" },
		{ "tomorrow", "is no time" },
		{ "-5", "is no time" },
		{ "@", "is no time" },
		{ "1700000000000", "not milliseconds" },
		{ "+2", "no unit" },
		{ "+", "from now on" },
		{ "+soon", "from now on" },
		{ "+18446744073709551615ms", "behind the year" },
		{ "+99999999d", "behind the year" },
		{ "2023-11-14", "no time of day" },
		{ "2023-11-14T22:13Z", "no time of day" },
		{ "2023-11-14T24:00:00Z", "no time of day" },
		{ "2023-11-14T22:13:20", "no time zone" },
		{ "2023-11-14T22:13:20+1", "no time zone" },
		{ "2023-11-14T22:13:20.Z", "behind the point" },
		{ "2023-11-14T22:13:20Zx", "behind its time zone" },
		{ "2023-02-29T00:00:00Z", "no day" },
		{ "2100-02-29T00:00:00Z", "no day" },
		{ "2023-13-01T00:00:00Z", "no day" },
		{ "2023-00-01T00:00:00Z", "no day" },
		{ "1969-12-31T23:59:59Z", "no day" },
		{ "1970-01-01T00:00:00+00:01", "no day" },
		{ "9999-12-31T23:59:59-00:01", "no day" },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		uint64_t ms = 77;
		const char *what = pen_option_time(rows[i].text, 5000, &ms);

		cr_expect_null(what, "%s: %s", rows[i].text, what);
		cr_expect_eq(ms, rows[i].ms, "%s: %llu", rows[i].text, (unsigned long long)ms);
	}
	for (size_t i = 0; i < COUNT(bad); i++) {
		uint64_t ms = 77;
		const char *what = pen_option_time(bad[i].text, 5000, &ms);

		cr_assert_not_null(what, "%s", bad[i].text);
		cr_expect(strstr(what, bad[i].what), "%s: %s", bad[i].text, what);
		cr_expect_eq(ms, 77);
	}
	/* Every day of 400 years, against the C library. */
	for (uint64_t s = 0; s < 400ull * 366 * 86400; s += 86400) {
		char text[32];
		time_t t = (time_t)s;
		struct tm tm;
		uint64_t ms;

		gmtime_r(&t, &tm);
		strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
		cr_assert_null(pen_option_time(text, 0, &ms), "%s", text);
		cr_assert_eq(ms, s * 1000, "%s", text);
	}
}
