/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/json.h"
#include "include/penstock.h"
#include "include/penstock_error.h"

#define OUT_CAP (PEN_KEY_MAX + 4)
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
/* A literal and its length, NUL bytes included. */
#define TEXT(literal) (literal), sizeof(literal) - 1

static struct pen_json *json;

static void open_json(void)
{
	cr_assert_eq(pen_json_open(&json), 0);
}

static void close_json(void)
{
	pen_json_close(json);
}

TestSuite(json, .init = open_json, .fini = close_json);

/* The text in a block that ends with the padding, whose bytes would go on with almost any token. */
static char *padded(const char *text, size_t len)
{
	static const char behind[] = "\"9,]}";
	char *copy = malloc(len + PEN_JSON_PADDING);

	cr_assert(copy);
	memcpy(copy, text, len);
	for (size_t i = 0; i < PEN_JSON_PADDING; i++)
		copy[len + i] = behind[i % (sizeof(behind) - 1)];
	return copy;
}

static void accepts(const char *text, size_t len)
{
	struct pen_json_flaw flaw = { 0 };
	struct pen_json_key key;
	char *copy = padded(text, len);

	cr_expect(pen_json_valid(copy, len, &flaw), "%.60s: %d at %zu", text, flaw.code, flaw.at);
	cr_expect_eq(pen_json_check(json, copy, len, NULL, NULL, 0, &key, &flaw), 0, "%.60s: %d", text,
		     flaw.code);
	free(copy);
}

static void refuses(const char *text, size_t len, int code, size_t at, const char *detail)
{
	struct pen_json_flaw flaw = { 0 }, checked = { 0 };
	struct pen_json_key key;
	char *copy = padded(text, len);

	cr_expect_not(pen_json_valid(copy, len, &flaw), "%.60s", text);
	cr_expect_eq(flaw.code, code, "%.60s: %d instead of %d", text, flaw.code, code);
	cr_expect_eq(flaw.at, at, "%.60s: at %zu instead of %zu", text, flaw.at, at);
	cr_expect_str_eq(pen_json_detail(flaw.detail), detail, "%.60s", text);
	cr_expect_eq(pen_json_check(json, copy, len, NULL, NULL, 0, &key, &checked), code, "%.60s", text);
	cr_expect(checked.code == flaw.code && checked.at == flaw.at && checked.detail == flaw.detail,
		  "%.60s", text);
	free(copy);
}

Test(json, whole_values_are_accepted)
{
	static const struct {
		const char *text;
		size_t len;
	} good[] = {
		{ TEXT("{}") },
		{ TEXT("[]") },
		{ TEXT(" \t\r\n{ \"a\" : [ 1 , 2 ] , \"b\" : { } } \n") },
		{ TEXT("0") },
		{ TEXT("-0") },
		{ TEXT("1.50") },
		{ TEXT("-0.0e-00") },
		{ TEXT("1E400") },
		{ TEXT("[1e-99999999999999999999]") },
		{ TEXT("18446744073709551616") },
		{ TEXT("-12345678901234567890123456789012345678901234567890") },
		{ TEXT("0.12345678901234567890123456789012345678901234567890") },
		{ TEXT("true") },
		{ TEXT("false") },
		{ TEXT("null ") },
		{ TEXT("[true,false,null]") },
		{ TEXT("\"\"") },
		{ TEXT("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\\uFfFf\"") },
		{ TEXT("\"\\ud83d\\ude00\"") },
		{ TEXT("\"\\ud800\"") },
		{ TEXT("[\"\\udc00\\ud800x\"]") },
		{ TEXT("\"\x7f\"") },
		{ TEXT("\"\xc2\x80\xdf\xbf\"") },
		{ TEXT("\"\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\"") },
		{ TEXT("\"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\"") },
		{ TEXT("\"0123456789abcde\xc3\xa9 0123456789abcdef0123456789abcdef\\n\"") },
		{ TEXT("{\"a\":1,\"a\":2,\"\":3}") },
		{ TEXT("{\"\\ud800\":1}") },
	};

	for (size_t i = 0; i < COUNT(good); i++)
		accepts(good[i].text, good[i].len);
}

Test(json, flaws_have_a_code_a_place_and_a_sentence)
{
	static const char value[] = "expected a value";
	static const char value_or_end[] = "expected a value or ']'";
	static const char next_member[] = "expected ',' or '}'";
	static const char next_element[] = "expected ',' or ']'";
	static const char name[] = "expected a member name in quotes";
	static const char name_or_end[] = "expected a member name in quotes or '}'";
	static const char word[] = "expected true, false or null";
	static const char digit[] = "expected a digit";
	static const char zero[] = "a number has a leading zero";
	static const char string[] = "a string is not closed";
	static const char control[] = "a control character in a string is not escaped";
	static const char escape[] = "a string has an unknown escape";
	static const char hex[] = "\\u needs four hexadecimal digits";
	static const char utf8[] = "bytes that are no UTF-8 sequence";
	static const char two[] = "text follows the value";
	static const struct {
		const char *text;
		size_t len;
		int code;
		size_t at;
		const char *detail;
	} bad[] = {
		/* ends too early */
		{ TEXT(""), -PEN_JSON_CUT, 0, value },
		{ TEXT(" \t\r\n"), -PEN_JSON_CUT, 4, value },
		{ TEXT("{"), -PEN_JSON_CUT, 1, name_or_end },
		{ TEXT("{\"a\""), -PEN_JSON_CUT, 4, "expected ':'" },
		{ TEXT("{\"a\":"), -PEN_JSON_CUT, 5, value },
		{ TEXT("{\"a\":1"), -PEN_JSON_CUT, 6, next_member },
		{ TEXT("{\"a\":1,"), -PEN_JSON_CUT, 7, name },
		{ TEXT("[[1]"), -PEN_JSON_CUT, 4, next_element },
		{ TEXT("\"abc"), -PEN_JSON_CUT, 4, string },
		{ TEXT("\"abc\\"), -PEN_JSON_CUT, 5, string },
		{ TEXT("\"abc\\u12"), -PEN_JSON_CUT, 8, string },
		{ TEXT("\"\xe2\x82"), -PEN_JSON_CUT, 3, string },
		{ TEXT("\"\xf0"), -PEN_JSON_CUT, 2, string },
		{ TEXT("\"0123456789abcdef0123456789abcdef"), -PEN_JSON_CUT, 33, string },
		{ TEXT("tru"), -PEN_JSON_CUT, 3, word },
		{ TEXT("[fals"), -PEN_JSON_CUT, 5, word },
		{ TEXT("-"), -PEN_JSON_CUT, 1, digit },
		{ TEXT("1."), -PEN_JSON_CUT, 2, digit },
		{ TEXT("1e+"), -PEN_JSON_CUT, 3, digit },
		/* order of tokens */
		{ TEXT("{\"id\":\"b\",}"), -PEN_JSON_BAD, 10, name },
		{ TEXT("{,}"), -PEN_JSON_BAD, 1, name_or_end },
		{ TEXT("{1:2}"), -PEN_JSON_BAD, 1, name_or_end },
		{ TEXT("{'a':2}"), -PEN_JSON_BAD, 1, name_or_end },
		{ TEXT("{\"a\" 1}"), -PEN_JSON_BAD, 5, "expected ':'" },
		{ TEXT("{\"a\":}"), -PEN_JSON_BAD, 5, value },
		{ TEXT("{\"a\":1 \"b\":2}"), -PEN_JSON_BAD, 7, next_member },
		{ TEXT("{\"a\":1]"), -PEN_JSON_BAD, 6, next_member },
		{ TEXT("[1 2]"), -PEN_JSON_BAD, 3, next_element },
		{ TEXT("[1}"), -PEN_JSON_BAD, 2, next_element },
		{ TEXT("[1,]"), -PEN_JSON_BAD, 3, value },
		{ TEXT("[,1]"), -PEN_JSON_BAD, 1, value_or_end },
		{ TEXT("[1,,2]"), -PEN_JSON_BAD, 3, value },
		{ TEXT("[\"a\"b]"), -PEN_JSON_BAD, 4, next_element },
		{ TEXT("[1\"a\"]"), -PEN_JSON_BAD, 2, next_element },
		{ TEXT("]"), -PEN_JSON_BAD, 0, value },
		{ TEXT("\\u0020"), -PEN_JSON_BAD, 0, value },
		{ TEXT("[\\n]"), -PEN_JSON_BAD, 1, value_or_end },
		{ TEXT("[\f1]"), -PEN_JSON_BAD, 1, value_or_end },
		{ TEXT("[1\f]"), -PEN_JSON_BAD, 2, next_element },
		/* words and numbers */
		{ TEXT("nul1"), -PEN_JSON_BAD, 3, word },
		{ TEXT("[True]"), -PEN_JSON_BAD, 1, value_or_end },
		{ TEXT("[truefalse]"), -PEN_JSON_BAD, 5, next_element },
		{ TEXT("NaN"), -PEN_JSON_BAD, 0, value },
		{ TEXT("+1"), -PEN_JSON_BAD, 0, value },
		{ TEXT("-Infinity"), -PEN_JSON_BAD, 1, digit },
		{ TEXT("01"), -PEN_JSON_BAD, 1, zero },
		{ TEXT("[-00]"), -PEN_JSON_BAD, 3, zero },
		{ TEXT(".5"), -PEN_JSON_BAD, 0, value },
		{ TEXT("[1.]"), -PEN_JSON_BAD, 3, digit },
		{ TEXT("[1.e5]"), -PEN_JSON_BAD, 3, digit },
		{ TEXT("[1e]"), -PEN_JSON_BAD, 3, digit },
		{ TEXT("[1e1.5]"), -PEN_JSON_BAD, 4, next_element },
		{ TEXT("[0x1]"), -PEN_JSON_BAD, 2, next_element },
		/* strings */
		{ TEXT("\"a\nb\""), -PEN_JSON_BAD, 2, control },
		{ TEXT("{\"a\x1f\":1}"), -PEN_JSON_BAD, 3, control },
		{ TEXT("\"a\x00"
		       "b\""),
		  -PEN_JSON_BAD, 2, control },
		{ TEXT("[\"\\x41\"]"), -PEN_JSON_BAD, 3, escape },
		{ TEXT("[\"\\\x00\"]"), -PEN_JSON_BAD, 3, escape },
		{ TEXT("[\"\\u12g4\"]"), -PEN_JSON_BAD, 6, hex },
		{ TEXT("[\"\\u123\"]"), -PEN_JSON_BAD, 7, hex },
		/* NUL and marks between tokens */
		{ TEXT("\x00"), -PEN_JSON_BAD, 0, value },
		{ TEXT("{\"a\":\x00}"), -PEN_JSON_BAD, 5, value },
		{ TEXT("{}\x00"), -PEN_JSON_TWO, 2, two },
		{ TEXT("\xef\xbb\xbf{}"), -PEN_JSON_BAD, 0, "a byte order mark stands before the value" },
		{ TEXT("{}\xef\xbb\xbf"), -PEN_JSON_TWO, 2, two },
		{ TEXT("[\xc2\xa0]"), -PEN_JSON_BAD, 1, value_or_end },
		/* not UTF-8 */
		{ TEXT("\"\x80\""), -PEN_JSON_UTF8, 1, utf8 },
		{ TEXT("\"ab\xc0\xaf\""), -PEN_JSON_UTF8, 3, utf8 },
		{ TEXT("\"\xc1\xbf\""), -PEN_JSON_UTF8, 1, utf8 },
		{ TEXT("\"\xe0\x9f\xbf\""), -PEN_JSON_UTF8, 1, utf8 },
		{ TEXT("\"\xf0\x8f\xbf\xbf\""), -PEN_JSON_UTF8, 1, utf8 },
		{ TEXT("\"\xed\xa0\x80\""), -PEN_JSON_UTF8, 1, utf8 },
		{ TEXT("\"\xf4\x90\x80\x80\""), -PEN_JSON_UTF8, 1, utf8 },
		{ TEXT("\"\xf5\x80\x80\x80\""), -PEN_JSON_UTF8, 1, utf8 },
		{ TEXT("\"\xff\""), -PEN_JSON_UTF8, 1, utf8 },
		{ TEXT("\"\xe2\x82\""), -PEN_JSON_UTF8, 1, utf8 },
		{ TEXT("\"\xc3\xa9\xe2\x28\xa1\""), -PEN_JSON_UTF8, 3, utf8 },
		{ TEXT("\"\\\xff\""), -PEN_JSON_UTF8, 2, utf8 },
		{ TEXT("{\"\xfe\":1}"), -PEN_JSON_UTF8, 2, utf8 },
		{ TEXT("\xff\xfe"), -PEN_JSON_UTF8, 0, utf8 },
		{ TEXT("[1\xe9"), -PEN_JSON_UTF8, 2, utf8 },
		/* more than one */
		{ TEXT("{} {}"), -PEN_JSON_TWO, 3, two },
		{ TEXT("{}}"), -PEN_JSON_TWO, 2, two },
		{ TEXT("1 2"), -PEN_JSON_TWO, 2, two },
		{ TEXT("\"a\" x"), -PEN_JSON_TWO, 4, two },
		{ TEXT("[],"), -PEN_JSON_TWO, 2, two },
		{ TEXT("nullx"), -PEN_JSON_TWO, 4, two },
	};

	for (size_t i = 0; i < COUNT(bad); i++)
		refuses(bad[i].text, bad[i].len, bad[i].code, bad[i].at, bad[i].detail);
}

Test(json, detail_numbers_that_do_not_exist_are_empty)
{
	cr_expect_str_eq(pen_json_detail(0), "");
	cr_expect_str_eq(pen_json_detail(200), "");
	cr_expect_str_eq(pen_json_detail(255), "");
}

/* `levels` opening brackets in turn, a zero, and the closing ones. Returns the length. */
static size_t nest(char *to, size_t levels, bool objects)
{
	char *p = to;

	for (size_t i = 0; i < levels; i++) {
		if (objects && i % 3 == 0) {
			memcpy(p, "{\"k\":", 5);
			p += 5;
		} else {
			*p++ = '[';
		}
	}
	*p++ = '0';
	for (size_t i = levels; i-- > 0;)
		*p++ = objects && i % 3 == 0 ? '}' : ']';
	return (size_t)(p - to);
}

Test(json, levels_end_at_1024)
{
	static char text[20000];
	size_t len;

	for (size_t levels = 1; levels <= PEN_JSON_LEVELS; levels += levels < 66 ? 1 : 13) {
		len = nest(text, levels, levels % 2);
		accepts(text, len);
	}
	for (int objects = 0; objects < 2; objects++) {
		len = nest(text, PEN_JSON_LEVELS, objects);
		accepts(text, len);
		text[len - 1] = objects ? ']' : '}';
		refuses(text, len, -PEN_JSON_BAD, len - 1,
			objects ? "expected ',' or '}'" : "expected ',' or ']'");
		len = nest(text, PEN_JSON_LEVELS + 1, objects);
		refuses(text, len, -PEN_JSON_DEPTH, (size_t)(strchr(text, '0') - text - 1),
			"a bracket opens level 1,025");
	}
	memset(text, '[', sizeof(text));
	refuses(text, sizeof(text), -PEN_JSON_DEPTH, PEN_JSON_LEVELS, "a bracket opens level 1,025");
}

Test(json, records_above_the_first_stage_are_judged_too)
{
	const size_t len = PEN_JSON_DOM_MAX + 100;
	char *text = malloc(len);
	struct pen_json_flaw flaw = { 0 };
	struct pen_json_key key = { 0 };
	struct pen_pointer ptr;
	char out[OUT_CAP];
	char *copy;

	cr_assert(text);
	memset(text, 'x', len);
	memcpy(text, "{\"v\":\"", 6);
	memcpy(text + len - 11, "\",\"id\":700}", 11);
	accepts(text, len);
	cr_assert_eq(pen_pointer_parse(&ptr, "/id"), 0);
	copy = padded(text, len);
	cr_assert_eq(pen_json_check(json, copy, len, &ptr, out, sizeof(out), &key, &flaw), 0);
	cr_expect(key.number && key.len == 3 && memcmp(key.data, "700", 3) == 0);
	free(copy);
	text[len - 1] = ' ';
	refuses(text, len, -PEN_JSON_CUT, len, "expected ',' or '}'");
	text[PEN_JSON_DOM_MAX] = '\x01';
	refuses(text, len, -PEN_JSON_BAD, PEN_JSON_DOM_MAX, "a control character in a string is not escaped");
	pen_pointer_fini(&ptr);
	free(text);
}

Test(pointer, parts_are_unescaped_and_indexes_recognised)
{
	struct pen_pointer ptr;

	cr_assert_eq(pen_pointer_parse(&ptr, "/a~1b/~0~01//0/12/01/-/999999999999999999/1e0"), 0);
	static const struct {
		const char *part;
		int64_t index;
	} want[] = { { "a/b", -1 }, { "~~1", -1 }, { "", -1 },	{ "0", 0 },
		     { "12", 12 },  { "01", -1 },  { "-", -1 }, { "999999999999999999", 999999999999999999 },
		     { "1e0", -1 } };
	cr_assert_eq(ptr.parts, COUNT(want));
	for (uint32_t i = 0; i < ptr.parts; i++) {
		cr_expect_str_eq(ptr.text + ptr.at[i], want[i].part);
		cr_expect_eq(ptr.len[i], strlen(want[i].part));
		cr_expect_eq(ptr.index[i], want[i].index);
	}
	cr_expect_str_eq(ptr.raw, "/a~1b/~0~01//0/12/01/-/999999999999999999/1e0");
	pen_pointer_fini(&ptr);
}

Test(pointer, what_is_none_is_refused_and_leaves_the_old_one)
{
	static const char *const bad[] = { "", "id", "#/id", "/~", "/~2", "/a~", "/a/~x", " /a" };
	char deep[2 * PEN_POINTER_PARTS + 3];
	struct pen_pointer ptr = { .parts = 7 };

	for (size_t i = 0; i < COUNT(bad); i++) {
		cr_expect_eq(pen_pointer_parse(&ptr, bad[i]), -PEN_USAGE, "%s", bad[i]);
		cr_expect_eq(ptr.parts, 7u);
	}
	for (size_t i = 0; i <= PEN_POINTER_PARTS; i++)
		memcpy(deep + 2 * i, "/x", 2);
	deep[2 * PEN_POINTER_PARTS + 2] = '\0';
	cr_expect_eq(pen_pointer_parse(&ptr, deep), -PEN_USAGE);
	deep[2 * PEN_POINTER_PARTS] = '\0';
	cr_assert_eq(pen_pointer_parse(&ptr, deep), 0);
	cr_expect_eq(ptr.parts, PEN_POINTER_PARTS);
	pen_pointer_fini(&ptr);
}

/* All three ways to a key must agree; want NULL: the code is rc. */
static void finds(const char *text, size_t len, const char *pointer, int rc, const char *want,
		  size_t want_len, bool number)
{
	struct pen_pointer ptr;
	char *copy = padded(text, len);

	cr_assert_eq(pen_pointer_parse(&ptr, pointer), 0);
	for (int way = 0; way < 3; way++) {
		struct pen_json_flaw flaw = { 0 };
		struct pen_json_key key = { 0 };
		char out[OUT_CAP];
		int got = way == 0   ? pen_json_find(copy, len, &ptr, out, sizeof(out), &key)
			  : way == 1 ? pen_json_check(json, copy, len, &ptr, out, sizeof(out), &key, &flaw)
				     : pen_json_peek(json, copy, len, &ptr, out, sizeof(out), &key, &flaw);

		cr_expect_eq(got, rc, "%s in %.70s, way %d: %d instead of %d", pointer, text, way, got, rc);
		if (got || rc)
			continue;
		cr_expect_eq(key.number, number, "%s in %.70s, way %d", pointer, text, way);
		cr_expect(key.len == want_len && memcmp(key.data, want, want_len) == 0,
			  "%s in %.70s, way %d: %.*s", pointer, text, way, (int)key.len, key.data);
	}
	pen_pointer_fini(&ptr);
	free(copy);
}

Test(json, keys_are_found_as_written)
{
	static const struct {
		const char *text;
		const char *pointer;
		const char *key;
		bool number;
	} found[] = {
		{ "{\"id\":\"a\"}", "/id", "a", false },
		{ " { \"x\" : { \"id\" : 1 } , \"id\" : \"b\" } ", "/id", "b", false },
		{ "{\"id\":\"\"}", "/id", "", false },
		{ "{\"id\":1.50}", "/id", "1.50", true },
		{ "{\"id\":-0}", "/id", "-0", true },
		{ "{\"id\":1E400 }", "/id", "1E400", true },
		{ "{\"id\":12345678901234567890123}", "/id", "12345678901234567890123", true },
		{ "{\"id\":18446744073709551615\t,\"x\":0}", "/id", "18446744073709551615", true },
		{ "{\"id\":1,\"id\":2}", "/id", "1", true },
		{ "{\"\\u0069d\":1,\"id\":2}", "/id", "1", true },
		{ "{\"i\":0,\"idx\":1,\"id\":2}", "/id", "2", true },
		{ "{\"id\\u0000\":1,\"id\":2}", "/id", "2", true },
		{ "{\"\\ud800\":1,\"id\":2}", "/id", "2", true },
		{ "{\"x\":\"\\\"id\\\":9\",\"y\":\"\\\\\",\"id\":2}", "/id", "2", true },
		{ "{\"a\":{\"b\":{\"c\":\"deep\"}}}", "/a/b/c", "deep", false },
		{ "{\"a\":{\"x\":[{\"b\":0}],\"b\":7},\"b\":8}", "/a/b", "7", true },
		{ "{\"x\":{\"a\":{\"b\":1}},\"a\":{\"b\":2}}", "/a/b", "2", true },
		{ "{\"a\":[10,[20,\"]\"],{\"b\":30}]}", "/a/2/b", "30", true },
		{ "{\"a\":[10,[20,\"]\"],{\"b\":30}]}", "/a/1/1", "]", false },
		{ "[\"zero\", \"one\" ]", "/1", "one", false },
		{ "[[],{},[[5]]]", "/2/0/0", "5", true },
		{ "{\"0\":\"name\"}", "/0", "name", false },
		{ "{\"01\":\"name\"}", "/01", "name", false },
		{ "{\"\":{\"\":4}}", "//", "4", true },
		{ "{\"a/b\":1}", "/a~1b", "1", true },
		{ "{\"~1\":{\"x\":1}}", "/~01/x", "1", true },
		{ "{\"a\\/b\":1}", "/a~1b", "1", true },
		{ "{\"Zo\\u00eb\":1}", "/Zo\xc3\xab", "1", true },
		{ "{\"\\ud83d\\ude00\":1}", "/\xf0\x9f\x98\x80", "1", true },
		{ "{\"id\":\"Zo\xc3\xab\"}", "/id", "Zo\xc3\xab", false },
		{ "{\"id\":\"\\u20ac\\ud83d\\ude00\\/\\b\\f\\n\\r\\t\\\"\\\\\"}", "/id",
		  "\xe2\x82\xac\xf0\x9f\x98\x80/\b\f\n\r\t\"\\", false },
		{ "{\"a_member_name_of_more_than_16_bytes\":1,\"a_member_name_of_more_than_16_byteS\":2}",
		  "/a_member_name_of_more_than_16_byteS", "2", true },
	};

	for (size_t i = 0; i < COUNT(found); i++)
		finds(found[i].text, strlen(found[i].text), found[i].pointer, 0, found[i].key,
		      strlen(found[i].key), found[i].number);
	finds(TEXT("{\"id\":\"a\\u0000b\"}"), "/id", 0, "a\0b", 3, false);
}

Test(json, keys_that_are_none_have_a_code)
{
	static const struct {
		const char *text;
		const char *pointer;
		int rc;
	} none[] = {
		{ "{}", "/id", -PEN_JSON_KEY_MISSING },
		{ "{\"a\":1}", "/id", -PEN_JSON_KEY_MISSING },
		{ "{\"a\":{\"id\":1}}", "/id", -PEN_JSON_KEY_MISSING },
		{ "[{\"id\":1}]", "/id", -PEN_JSON_KEY_MISSING },
		{ "{\"a\":{\"c\":1},\"a\":{\"b\":2}}", "/a/b", -PEN_JSON_KEY_MISSING },
		{ "{\"a\":1,\"a\":{\"b\":2}}", "/a/b", -PEN_JSON_KEY_MISSING },
		{ "{\"a\":{\"b\":1}}", "/a/b/c", -PEN_JSON_KEY_MISSING },
		{ "[1,2]", "/2", -PEN_JSON_KEY_MISSING },
		{ "[1,2]", "/01", -PEN_JSON_KEY_MISSING },
		{ "[1,2]", "/-", -PEN_JSON_KEY_MISSING },
		{ "[]", "/0", -PEN_JSON_KEY_MISSING },
		{ "\"id\"", "/id", -PEN_JSON_KEY_MISSING },
		{ "12", "/0", -PEN_JSON_KEY_MISSING },
		{ "{\"id\":{}}", "/id", -PEN_KEY_TYPE },
		{ "{\"id\":[1]}", "/id", -PEN_KEY_TYPE },
		{ "{\"id\":true}", "/id", -PEN_KEY_TYPE },
		{ "{\"id\":false}", "/id", -PEN_KEY_TYPE },
		{ "{\"id\":null,\"id\":1}", "/id", -PEN_KEY_TYPE },
		{ "{\"id\":\"\\ud800\"}", "/id", -PEN_JSON_UTF8 },
		{ "{\"id\":\"\\udc00\\ud800\"}", "/id", -PEN_JSON_UTF8 },
		{ "{\"id\":\"\\ud800\\u0041\"}", "/id", -PEN_JSON_UTF8 },
		{ "{\"id\":\"\\ud800\\n\"}", "/id", -PEN_JSON_UTF8 },
	};

	for (size_t i = 0; i < COUNT(none); i++)
		finds(none[i].text, strlen(none[i].text), none[i].pointer, none[i].rc, NULL, 0, false);
}

Test(json, long_keys_are_seen_to_be_long)
{
	for (size_t len = PEN_KEY_MAX - 6; len < PEN_KEY_MAX + 20; len++) {
		for (int escaped = 0; escaped < 2; escaped++) {
			char text[700];
			int n = snprintf(text, sizeof(text), "{\"id\":\"%0*d%s\"}", (int)len - 3, 0,
					 escaped ? "\\u20ac" : "\xe2\x82\xac");
			char *copy = padded(text, (size_t)n);
			struct pen_pointer ptr;
			struct pen_json_key key = { 0 };
			char out[OUT_CAP];

			cr_assert_eq(pen_pointer_parse(&ptr, "/id"), 0);
			cr_assert_eq(pen_json_find(copy, (size_t)n, &ptr, out, sizeof(out), &key), 0);
			if (len <= PEN_KEY_MAX) {
				cr_expect_eq(key.len, len);
				cr_expect_eq(memcmp(key.data + len - 3, "\xe2\x82\xac", 3), 0);
			} else {
				cr_expect_gt(key.len, PEN_KEY_MAX);
			}
			pen_pointer_fini(&ptr);
			free(copy);
		}
	}
}

Test(json, peek_reads_no_further_than_the_key)
{
	static const struct {
		const char *text;
		int rc;
		size_t at;
	} texts[] = {
		{ "{\"id\":\"b\",}", 0, 0 },
		{ "{\"id\":\"b\" oops", 0, 0 },
		{ "{\"x\":tru,\"id\":\"b\"", 0, 0 },
		{ "{\"x\":[{]},\"id\":\"b\"}", 0, 0 },
		/* the key itself must be whole */
		{ "{\"id\":\"b", -PEN_JSON_CUT, 8 },
		{ "{\"id\":12", -PEN_JSON_CUT, 8 },
		{ "{\"id\":12x}", -PEN_JSON_BAD, 8 },
		{ "{\"id\":012}", -PEN_JSON_BAD, 7 },
		{ "{\"id\":\"\xff\"}", -PEN_JSON_UTF8, 7 },
		{ "{\"id\":\"\\q\"}", -PEN_JSON_BAD, 8 },
		{ "{\"id\":\"a\tb\"}", -PEN_JSON_BAD, 8 },
		{ "{\"id\"}", -PEN_JSON_BAD, 5 },
		{ "{\"id\":}", -PEN_JSON_BAD, 6 },
		/* where the key is missing, the reason is worth a look */
		{ "{\"x\":1,}", -PEN_JSON_BAD, 7 },
		{ "{\"x\":\"", -PEN_JSON_CUT, 6 },
		{ "", -PEN_JSON_CUT, 0 },
		{ "{\"x\\", -PEN_JSON_CUT, 4 },
		{ "[[[[", -PEN_JSON_CUT, 4 },
	};
	struct pen_pointer ptr;

	cr_assert_eq(pen_pointer_parse(&ptr, "/id"), 0);
	for (size_t i = 0; i < COUNT(texts); i++) {
		size_t len = strlen(texts[i].text);
		char *copy = padded(texts[i].text, len);
		struct pen_json_flaw flaw = { 0 };
		struct pen_json_key key = { 0 };
		char out[OUT_CAP];
		int rc = pen_json_peek(json, copy, len, &ptr, out, sizeof(out), &key, &flaw);

		cr_expect_eq(rc, texts[i].rc, "%s: %d instead of %d", texts[i].text, rc, texts[i].rc);
		if (rc)
			cr_expect(flaw.code == rc && flaw.at == texts[i].at, "%s: at %zu", texts[i].text,
				  flaw.at);
		else
			cr_expect(key.len == 1 && key.data[0] == 'b', "%s", texts[i].text);
		free(copy);
	}
	pen_pointer_fini(&ptr);
}

Test(json, names_of_the_library_are_known)
{
	cr_expect(pen_json_simd()[0]);
	cr_expect(pen_json_version()[0] >= '0' && pen_json_version()[0] <= '9');
}

/* ---- one verdict from two judges, over mutations of valid records ---- */

static uint64_t state = 0x5eed;

static uint32_t next_random(void)
{
	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(state >> 33);
}

/* Changes, inserts, removes or repeats a few bytes; room for 64 more. Returns the new length. */
static size_t mutate(char *text, size_t len)
{
	static const char bytes[] =
		"\"\"\\\\{}[]:,,  \n\t0123459-+.eEtfnu/dD8cC\x01\x1f\x00\x7f\x80\xbf\xc3\xa9\xed\xf0\xff";

	for (uint32_t i = 0, last = next_random() % 3; i <= last; i++) {
		size_t at = next_random() % (len + 1);
		size_t n = 1 + next_random() % 6;
		char c = bytes[next_random() % (sizeof(bytes) - 1)];

		switch (next_random() % 5) {
		case 0:
			if (at < len)
				text[at] = c;
			break;
		case 1:
			memmove(text + at + 1, text + at, len - at);
			text[at] = c;
			len++;
			break;
		case 2:
			n = n < len - at ? n : len - at;
			memmove(text + at, text + at + n, len - at - n);
			len -= n;
			break;
		case 3:
			n = n < len - at ? n : len - at;
			memmove(text + at + n, text + at, len - at);
			len += n;
			break;
		default:
			if (at + 1 < len) {
				c = text[at];
				text[at] = text[at + 1];
				text[at + 1] = c;
			}
		}
	}
	return next_random() % 16 ? len : next_random() % (len + 1);
}

static bool same_key(int rc, const struct pen_json_key *a, int rc_b, const struct pen_json_key *b)
{
	return rc == rc_b &&
	       (rc || (a->len == b->len && a->number == b->number && !memcmp(a->data, b->data, a->len)));
}

Test(json, fast_and_scalar_give_one_verdict_on_mutations)
{
	static const char *const records[] = {
		"{\"id\":\"a1b2\",\"at\":1700000000123,\"who\":{\"id\":7,\"name\":\"Zo\xc3\xab \xe5\xb1\xb1\"},\"ok\":true}",
		"{\"a\":[1,-0.5e+3,[],{}],\"b\":null,\"id\":\"\\u20ac\\ud83d\\ude00 \\\"x\\\" \\\\\",\"c\":\"y\"}",
		"[{\"id\":0},[false,[\"\\n\",\"\\u0000\"]],12345678901234567890,\" text of more than sixteen bytes \"]",
		"{\"a\":{\"b\":{\"id\":1.50,\"c\":[[[{}]]]},\"b\":2},\"id\":{\"id\":\"x\"},\"\\u0069d\":1E400}",
		" {\t\"id\" : \"\xf0\x9f\x98\x80\" , \"x\" : [ 1 , 2 ,\n3 ] } ",
		"{\"id\":\"\\ud800\",\"\\\\\":\"\\\\\\\\\",\"k\":-0}",
	};
	static const char *const pointers[] = { "/id", "/a/b/id", "/0/id", "/a/1", "/who/name" };
	struct pen_pointer ptrs[COUNT(pointers)];
	size_t valid_count = 0, invalid_count = 0;

	for (size_t i = 0; i < COUNT(pointers); i++)
		cr_assert_eq(pen_pointer_parse(&ptrs[i], pointers[i]), 0);
	for (int i = 0; i < 300000; i++) {
		const char *record = records[next_random() % COUNT(records)];
		size_t len = strlen(record);
		struct pen_json_flaw flaw = { 0 }, checked = { 0 };
		struct pen_json_key key = { 0 }, found = { 0 };
		const struct pen_pointer *ptr = &ptrs[next_random() % COUNT(pointers)];
		char text[512], out[OUT_CAP], out_found[OUT_CAP];
		bool valid;
		int rc;

		memcpy(text, record, len);
		len = mutate(text, len);
		memset(text + len, "\"9]}\0\x80"[next_random() % 6], PEN_JSON_PADDING);
		valid = pen_json_valid(text, len, &flaw);
		rc = pen_json_check(json, text, len, ptr, out, sizeof(out), &key, &checked);
		if (valid) {
			int rc_found = pen_json_find(text, len, ptr, out_found, sizeof(out_found), &found);

			valid_count++;
			cr_assert(same_key(rc, &key, rc_found, &found), "round %d: %.*s", i, (int)len, text);
		} else {
			invalid_count++;
			cr_assert(rc == flaw.code && checked.at == flaw.at && checked.detail == flaw.detail,
				  "round %d: %.*s", i, (int)len, text);
		}
		rc = pen_json_peek(json, text, len, ptr, out, sizeof(out), &key, &checked);
		cr_assert(valid || !rc || rc == flaw.code, "round %d: %.*s", i, (int)len, text);
	}
	cr_expect_gt(valid_count, 30000u);
	cr_expect_gt(invalid_count, 100000u);
	for (size_t i = 0; i < COUNT(pointers); i++)
		pen_pointer_fini(&ptrs[i]);
}
