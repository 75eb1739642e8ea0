/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "tools/bar.h"
#include "tools/out.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define SECOND 1000000000ull

static const unsigned widths[] = { 0, 1, 2, 20, 59, 60, 80, 99, 100, 300 };

static struct pen_progress at(uint64_t items, uint64_t bytes, uint64_t bytes_total)
{
	return (struct pen_progress){
		.batch = 1,
		.state = PEN_RUNNING,
		.counted = { .items = items, .committed = items, .bytes = bytes },
		.bytes_place = bytes,
		.bytes_total = bytes_total,
	};
}

/* `seconds` of steady work, ten looks a second. */
static void steady(struct pen_bar *bar, unsigned seconds, uint64_t items_per_s, uint64_t total)
{
	pen_bar_init(bar, "papers.ndjson");
	for (unsigned i = 0; i <= seconds * 10; i++) {
		uint64_t items = items_per_s * i / 10;
		struct pen_progress p = at(items, items * 100, total);

		pen_bar_feed(bar, &p, SECOND + i * (SECOND / 10));
	}
}

Test(bar, rate_and_eta_of_steady_work)
{
	struct pen_bar bar;

	steady(&bar, 10, 1000, 2000000);
	cr_expect_eq(pen_bar_rate(&bar), 1000);
	cr_expect_eq(pen_bar_byte_rate(&bar), 100000);
	cr_expect_eq(pen_bar_permille(&bar), 500);
	cr_expect(llabs(pen_bar_eta_ms(&bar) - 10000) <= 1);
	cr_expect_eq(pen_bar_stalled_ms(&bar), 0);
}

Test(bar, the_rate_follows_within_seconds)
{
	struct pen_bar bar;
	struct pen_progress p = at(10000, 0, 0);

	steady(&bar, 10, 1000, 0);
	for (unsigned i = 1; i <= 150; i++) {
		p.counted.items += 1000; /* ten times as fast */
		pen_bar_feed(&bar, &p, 11 * SECOND + i * (SECOND / 10));
	}
	cr_expect_gt(pen_bar_rate(&bar), 9000);
	cr_expect_leq(pen_bar_rate(&bar), 10000);
}

Test(bar, what_earlier_runs_did_is_no_speed)
{
	struct pen_bar bar;
	struct pen_progress p = at(1000000, 1000000, 2000000);

	pen_bar_init(&bar, "x");
	pen_bar_feed(&bar, &p, SECOND);
	cr_expect_eq(pen_bar_rate(&bar), 0);
	p.counted.items += 100;
	pen_bar_feed(&bar, &p, 2 * SECOND);
	cr_expect_eq(pen_bar_rate(&bar), 100);
}

Test(bar, a_standstill_is_called_stalled_and_promises_nothing)
{
	struct pen_bar bar;
	struct pen_progress p = at(10000, 1000000, 2000000);
	char line[PEN_BAR_BYTES];

	steady(&bar, 10, 1000, 2000000);
	for (unsigned i = 1; i <= 50; i++)
		pen_bar_feed(&bar, &p, 11 * SECOND + i * (SECOND / 10));
	cr_expect_eq(pen_bar_stalled_ms(&bar), 5000);
	cr_expect_eq(pen_bar_eta_ms(&bar), -1);
	pen_bar_line(&bar, 120, true, line);
	cr_expect(strstr(line, "stalled 0:05"), "%s", line);
	cr_expect_not(strstr(line, "ETA"), "%s", line);
}

Test(bar, a_rest_says_its_reason)
{
	struct pen_bar bar;
	struct pen_progress p = at(10000, 1000000, 2000000);
	char line[PEN_BAR_BYTES];

	steady(&bar, 10, 1000, 2000000);
	p.reason = -PEN_DISK_FULL;
	pen_bar_feed(&bar, &p, 12 * SECOND);
	pen_bar_feed(&bar, &p, 60 * SECOND);
	pen_bar_line(&bar, 120, true, line);
	cr_expect(strstr(line, "⏸ paused 0:48: the disk is full"), "%s", line);
	cr_expect_eq(pen_bar_stalled_ms(&bar), 0);
	pen_bar_line(&bar, 120, false, line);
	cr_expect(strstr(line, "  paused 0:48: the disk is full"), "%s", line);
	p.reason = 0; /* and it goes on */
	p.counted.items++;
	pen_bar_feed(&bar, &p, 61 * SECOND);
	pen_bar_line(&bar, 120, false, line);
	cr_expect_not(strstr(line, "paused"), "%s", line);
}

Test(bar, the_range_of_the_end_holds_the_speeds_seen)
{
	struct pen_bar bar;
	struct pen_progress p = at(0, 0, 0);
	int64_t lo, hi;

	p.items_total = 100000;
	pen_bar_init(&bar, "x");
	/* A fast second, a slow one, and so on. */
	for (unsigned i = 0; i <= 100; i++) {
		pen_bar_feed(&bar, &p, SECOND + i * (SECOND / 10));
		pen_bar_eta_range_ms(&bar, &lo, &hi);
		if (i < 30) /* too little was seen */
			cr_expect(lo == -1 && hi == -1, "%u", i);
		p.counted.items += i / 10 % 2 ? 50 : 150;
	}
	p.counted.items -= 50;
	int64_t eta = pen_bar_eta_ms(&bar), left = 100000 - (int64_t)bar.last.counted.items;

	cr_expect_eq(lo, left * 1000 / 1500, "%lld", (long long)lo);
	cr_expect_eq(hi, left * 1000 / 500, "%lld", (long long)hi);
	cr_expect(lo < eta && eta < hi, "%lld", (long long)eta);

	/* A second in which nothing moved: there is no latest end. */
	for (unsigned i = 1; i <= 20; i++)
		pen_bar_feed(&bar, &bar.last, 11 * SECOND + i * (SECOND / 10));
	pen_bar_eta_range_ms(&bar, &lo, &hi);
	cr_expect(lo > 0 && hi == -1, "%lld %lld", (long long)lo, (long long)hi);
}

Test(bar, what_is_waited_for_is_said_where_there_is_room)
{
	struct pen_bar bar;
	char line[PEN_BAR_BYTES];

	steady(&bar, 10, 412000, 824000000);
	bar.held = "store";
	pen_bar_line(&bar, 120, true, line);
	cr_expect(strstr(line, "ETA 0:10  ⌛store"), "%s", line);
	pen_bar_line(&bar, 80, false, line);
	cr_expect(strstr(line, "ETA 0:10  wait:store"), "%s", line);
	pen_bar_line(&bar, 59, false, line);
	cr_expect_str_eq(line, "50%  412k/s  ETA 0:10");
}

Test(bar, wide_characters_count_double)
{
	cr_expect_eq(pen_bar_columns("abc"), 3);
	cr_expect_eq(pen_bar_columns("größe"), 5);
	cr_expect_eq(pen_bar_columns("日本語"), 6);
	cr_expect_eq(pen_bar_columns("e\xcc\x81"), 1);
	cr_expect_eq(pen_bar_columns("⌛"), 2);
	cr_expect_eq(pen_bar_columns(""), 0);
}

Test(bar, all_is_never_said_before_the_end)
{
	static const uint64_t done[] = { 0, 1, 999, 999999, 1000000, 1000001, UINT64_MAX };

	for (size_t i = 0; i < COUNT(done); i++) {
		struct pen_bar bar;
		struct pen_progress p = at(5, done[i], 1000000);

		pen_bar_init(&bar, "x");
		pen_bar_feed(&bar, &p, SECOND);
		cr_expect_lt(pen_bar_permille(&bar), 1000);
		cr_expect_geq(pen_bar_permille(&bar), 0);
		p.state = PEN_COMPLETED;
		pen_bar_feed(&bar, &p, 2 * SECOND);
		cr_expect_eq(pen_bar_permille(&bar), 1000);
	}
}

Test(bar, a_stream_has_no_percentage)
{
	struct pen_bar bar;
	char line[PEN_BAR_BYTES];

	steady(&bar, 5, 1000, 0);
	cr_expect_eq(pen_bar_permille(&bar), -1);
	cr_expect_eq(pen_bar_eta_ms(&bar), -1);
	pen_bar_line(&bar, 50, false, line);
	cr_expect_not(strchr(line, '%'), "%s", line);
	cr_expect(strstr(line, "5.00k items"), "%s", line);
}

Test(bar, the_line_fits_every_width)
{
	static const char *const names[] = {
		"a",
		"papers.ndjson",
		"a-very-long-name-that-no-row-of-a-terminal-wants-to-show-in-full.ndjson",
		"größe-日本語.ndjson",
		"日本語日本語日本語日本語日本語日本語日本語.ndjson",
		"bad\x1b[31m\xff"
	};
	static const uint64_t totals[] = { 0, 2000000, UINT64_MAX };

	for (size_t n = 0; n < COUNT(names); n++)
		for (size_t t = 0; t < COUNT(totals); t++)
			for (size_t w = 0; w < COUNT(widths); w++)
				for (int utf8 = 0; utf8 < 2; utf8++) {
					struct pen_bar bar;
					char line[PEN_BAR_BYTES];

					steady(&bar, 3, 412345, totals[t]);
					bar.last.counted.rejected = 12;
					steady(&bar, 3, 412345, totals[t]);
					struct pen_progress p = bar.last;

					pen_bar_init(&bar, names[n]);
					pen_bar_feed(&bar, &p, SECOND);
					p.counted.items += 100000;
					p.counted.rejected = 12;
					pen_bar_feed(&bar, &p, 2 * SECOND);
					size_t len = pen_bar_line(&bar, widths[w], utf8, line);

					cr_expect_eq(len, strlen(line));
					cr_expect_leq(pen_bar_columns(line), (widths[w] ? widths[w] : 80) - 1,
						      "width %u: %s", widths[w], line);
					for (size_t i = 0; i < len; i++)
						cr_expect(line[i] != '\x1b' && line[i] != '\n' &&
								  (utf8 || line[i] > 0),
							  "width %u: %s", widths[w], line);
				}
}

Test(bar, the_line_says_less_when_narrow)
{
	struct pen_bar bar;
	char line[PEN_BAR_BYTES];

	steady(&bar, 10, 412000, 824000000);
	pen_bar_line(&bar, 120, false, line);
	cr_expect_str_eq(line,
			 "papers.ndjson [========>       ] 50%  4.12M items  412k/s  41.2 MB/s  ETA 0:10");
	pen_bar_line(&bar, 80, false, line);
	cr_expect_str_eq(line, "papers.ndjson [========>       ] 50%  4.12M items  412k/s  ETA 0:10");
	pen_bar_line(&bar, 60, false, line);
	cr_expect_str_eq(line, "[========>       ] 50%  4.12M items  412k/s  ETA 0:10");
	pen_bar_line(&bar, 59, false, line);
	cr_expect_str_eq(line, "50%  412k/s  ETA 0:10");
	pen_bar_line(&bar, 20, false, line);
	cr_expect_leq(pen_bar_columns(line), 19);
	pen_bar_line(&bar, 80, true, line);
	cr_expect_str_eq(line, "papers.ndjson ▕████████        ▏ 50%  4.12M items  412k/s  ETA 0:10");
}

Test(bar, json_has_one_object_a_line)
{
	struct pen_bar bar;
	struct pen_out out;

	steady(&bar, 10, 1000, 2000000);
	pen_out_init(&out, -1);
	pen_bar_json(&bar, &out);
	pen_out_char(&out, '\0');
	cr_expect(strncmp(out.buf,
			  "{\"v\":1,\"batch\":\"0000000000000001\",\"state\":\"running\",\"items\":10000,",
			  60) == 0,
		  "%s", out.buf);
	cr_expect(
		strstr(out.buf,
		       "\"bytes\":1000000,\"bytes_total\":2000000,\"items_total\":0,\"rate\":1000,\"eta_s\":"),
		"%s", out.buf);
	cr_expect_eq(strchr(out.buf, '\n'), out.buf + strlen(out.buf) - 1);
	pen_out_fini(&out);
}
