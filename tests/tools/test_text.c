/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "tools/text.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

Test(text, utf8_is_told_from_other_bytes)
{
	static const struct {
		const char *bytes;
		size_t len;
		bool ok;
	} rows[] = {
		{ "", 0, true },
		{ "a", 1, true },
		{ "\0", 1, true },
		{ "\xc3\xa9", 2, true },
		{ "\xe2\x82\xac", 3, true },
		{ "\xf0\x9f\x98\x80", 4, true },
		{ "\xf4\x8f\xbf\xbf", 4, true },
		{ "\xff", 1, false },
		{ "\xc3", 1, false },
		{ "\xc0\x80", 2, false },
		{ "\xe0\x80\x80", 3, false },
		{ "\xed\xa0\x80", 3, false },
		{ "\xf4\x90\x80\x80", 4, false },
		{ "a\x80", 2, false },
	};

	for (size_t i = 0; i < COUNT(rows); i++)
		cr_expect_eq(pen_text_utf8(rows[i].bytes, rows[i].len), rows[i].ok, "row %zu", i);
}

Test(text, controls_and_bad_bytes_are_escaped)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		{ "plain é", "plain é" },
		{ "a\x1b[31mb", "a\\x1b[31mb" },
		{ "a\nb", "a\\x0ab" },
		{ "\xff", "\\xff" },
		{ "\xc2\x9b"
		  "2J",
		  "\\u009b2J" },
		{ "\xe2\x80\xae"
		  "x",
		  "\\u202ex" },
		{ "\x7f", "\\x7f" },
	};
	char out[64];

	for (size_t i = 0; i < COUNT(rows); i++) {
		pen_text_escape(out, sizeof out, rows[i].in, strlen(rows[i].in), NULL);
		cr_expect_str_eq(out, rows[i].out);
	}
}

Test(text, escape_is_cut_at_a_character_at_every_size)
{
	const char in[] = "é\x1b€\xff😀";
	char out[64];

	for (size_t cap = 1; cap < sizeof out; cap++) {
		size_t used;

		memset(out, 'Z', sizeof out);
		size_t n = pen_text_escape(out, cap, in, sizeof in - 1, &used);

		cr_expect_lt(n, cap);
		cr_expect_eq(out[n], '\0');
		cr_expect(pen_text_utf8(out, n), "cap %zu", cap);
		if (cap < sizeof out - 1)
			cr_expect_eq(out[cap], 'Z');
	}
}

Test(text, quoted_words_survive_a_shell)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		{ "plain-1.txt", "plain-1.txt" },
		{ "", "''" },
		{ "a b", "'a b'" },
		{ "it's", "'it'\\''s'" },
		{ "$x", "'$x'" },
		{ "*.json", "'*.json'" },
		{ "é", "'é'" },
		{ "a\nb", "$'a\\x0ab'" },
		{ "\xff'", "$'\\xff\\x27'" },
	};
	char out[64];

	for (size_t i = 0; i < COUNT(rows); i++) {
		cr_expect_eq(pen_text_quote(out, sizeof out, rows[i].in), strlen(rows[i].out));
		cr_expect_str_eq(out, rows[i].out);
	}
	cr_expect_eq(pen_text_quote(out, 3, "a b"), 5);
	cr_expect_str_eq(out, "'a");
}

Test(text, numbers_for_people)
{
	char out[PEN_TEXT_NUMBER];

	cr_expect_str_eq(pen_text_count(out, 0), "0");
	cr_expect_str_eq(pen_text_count(out, 999), "999");
	cr_expect_str_eq(pen_text_count(out, 1000), "1,000");
	cr_expect_str_eq(pen_text_count(out, UINT64_MAX), "18,446,744,073,709,551,615");
	cr_expect_str_eq(pen_text_short(out, 999), "999");
	cr_expect_str_eq(pen_text_short(out, 1000), "1.00k");
	cr_expect_str_eq(pen_text_short(out, 1834000), "1.83M");
	cr_expect_str_eq(pen_text_short(out, 41260), "41.2k");
	cr_expect_str_eq(pen_text_short(out, 412600), "412k");
	cr_expect_str_eq(pen_text_short(out, UINT64_MAX), "18.4E");
	cr_expect_str_eq(pen_text_ms(out, 9), "0.00");
	cr_expect_str_eq(pen_text_ms(out, 89), "0.08");
	cr_expect_str_eq(pen_text_ms(out, 999), "0.99");
	cr_expect_str_eq(pen_text_ms(out, 3199), "3.1");
	cr_expect_str_eq(pen_text_ms(out, 9999), "9.9");
	cr_expect_str_eq(pen_text_ms(out, 412900), "412");
	cr_expect_str_eq(pen_text_ms(out, 134217727), "134217");
	cr_expect_str_eq(pen_text_bytes(out, 118000000), "118 MB");
	cr_expect_str_eq(pen_text_bytes(out, 5), "5 B");
	cr_expect_str_eq(pen_text_clock(out, 0), "0:00");
	cr_expect_str_eq(pen_text_clock(out, 125), "2:05");
	cr_expect_str_eq(pen_text_clock(out, 4000), "1:06:40");
	cr_expect_str_eq(pen_text_clock(out, 864000), "10d");
	cr_expect_str_eq(pen_text_time(out, 0), "-");
	cr_expect_str_eq(pen_text_time(out, 1700000000123), "2023-11-14T22:13:20.123Z");
	cr_expect_str_eq(pen_text_time(out, UINT64_MAX), "-");
	cr_expect_str_eq(pen_text_id(out, 0x19abc), "0000000000019abc");
}

Test(text, digits_are_parsed_whole_or_not_at_all)
{
	unsigned char bytes[4];
	uint64_t n = 7;
	size_t len;

	cr_expect(pen_text_u64("18446744073709551615", 20, &n));
	cr_expect_eq(n, UINT64_MAX);
	cr_expect_not(pen_text_u64("18446744073709551616", 20, &n));
	cr_expect_not(pen_text_u64("", 0, &n));
	cr_expect_not(pen_text_u64("-1", 2, &n));
	cr_expect_not(pen_text_u64("1 ", 2, &n));
	cr_expect(pen_text_unhex("00fFA1", bytes, sizeof bytes, &len));
	cr_expect_eq(len, 3);
	cr_expect_eq(bytes[1], 0xff);
	cr_expect_not(pen_text_unhex("0", bytes, sizeof bytes, &len));
	cr_expect_not(pen_text_unhex("0g", bytes, sizeof bytes, &len));
	cr_expect_not(pen_text_unhex("0011223344", bytes, sizeof bytes, &len));
}

Test(text, distance_counts_keystrokes)
{
	cr_expect_eq(pen_text_distance("", ""), 0);
	cr_expect_eq(pen_text_distance("run", "run"), 0);
	cr_expect_eq(pen_text_distance("runn", "run"), 1);
	cr_expect_eq(pen_text_distance("rnu", "run"), 1);
	cr_expect_eq(pen_text_distance("", "abc"), 3);
	cr_expect_eq(pen_text_distance("kitten", "sitting"), 3);
}
