/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/json.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
/* A literal and its length, NUL bytes included. */
#define TEXT(literal) (literal), sizeof(literal) - 1

static struct pen_out out;
static struct pen_jw jw;

static void open_writer(void)
{
	pen_out_init(&out, -1);
	pen_jw_init(&jw, &out);
}

static void close_writer(void)
{
	pen_out_fini(&out);
}

TestSuite(json_writer, .init = open_writer, .fini = close_writer);

static void expect(const char *text)
{
	pen_out_char(&out, '\0');
	cr_expect_str_eq(out.buf, text);
	out.len = 0;
	jw.comma = false;
}

Test(json_writer, members_and_elements_get_their_commas)
{
	pen_jw_object(&jw, NULL);
	pen_jw_u64(&jw, "a", UINT64_MAX);
	pen_jw_array(&jw, "b");
	pen_jw_i64(&jw, NULL, -1);
	pen_jw_bool(&jw, NULL, true);
	pen_jw_object(&jw, NULL);
	pen_jw_object_end(&jw);
	pen_jw_array_end(&jw);
	pen_jw_null(&jw, "c");
	pen_jw_object(&jw, "d");
	pen_jw_text(&jw, "e", NULL);
	pen_jw_object_end(&jw);
	pen_jw_id(&jw, "f", 255);
	pen_jw_id(&jw, "g", 0);
	pen_jw_object_end(&jw);
	pen_jw_line(&jw);
	pen_jw_object(&jw, NULL);
	pen_jw_object_end(&jw);
	expect("{\"a\":18446744073709551615,\"b\":[-1,true,{}],\"c\":null,\"d\":{\"e\":null},"
	       "\"f\":\"00000000000000ff\",\"g\":null}\n{}");
}

Test(json_writer, thousandths_have_no_trailing_zeros)
{
	static const struct {
		uint64_t n;
		const char *text;
	} rows[] = {
		{ 0, "0" },    { 1, "0.001" },	{ 10, "0.01" },	     { 100, "0.1" },
		{ 1000, "1" }, { 1500, "1.5" }, { 12345, "12.345" },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		pen_jw_milli(&jw, NULL, rows[i].n);
		expect(rows[i].text);
	}
}

Test(json_writer, strings_are_escaped)
{
	static const struct {
		const char *in;
		size_t len;
		const char *text;
	} rows[] = {
		{ TEXT(""), "\"\"" },
		{ TEXT("a\"b\\c/"), "\"a\\\"b\\\\c/\"" },
		{ TEXT("\b\t\n\v\f\r\0\x1f"), "\"\\b\\t\\n\\u000b\\f\\r\\u0000\\u001f\"" },
		{ TEXT("\x7f\xc2\x9b"), "\"\\u007f\\u009b\"" },
		{ TEXT("é😀"), "\"é😀\"" },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		pen_jw_data(&jw, NULL, rows[i].in, rows[i].len);
		expect(rows[i].text);
	}
}

Test(json_writer, other_bytes_become_base64_under_another_name)
{
	static const struct {
		const char *in;
		size_t len;
		const char *text;
	} rows[] = {
		{ TEXT("\xff"), "\"v_base64\":\"/w==\"" },
		{ TEXT("\xff\x00"), "\"v_base64\":\"/wA=\"" },
		{ TEXT("\xff\xfe\xfd"), "\"v_base64\":\"//79\"" },
		{ TEXT("\xff\xfe\xfd\x01"), "\"v_base64\":\"//79AQ==\"" },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		pen_jw_data(&jw, "v", rows[i].in, rows[i].len);
		expect(rows[i].text);
	}
}

Test(json_writer, a_json_value_is_embedded_without_blanks)
{
	static const struct {
		const char *in;
		size_t len;
		const char *text;
	} rows[] = {
		{ TEXT("{\n  \"a b\" : [ 1 , \"x\\n \\\" y\" ]\r\n}\n"), "{\"a b\":[1,\"x\\n \\\" y\"]}" },
		{ TEXT(" 1e400 "), "1e400" },
		{ TEXT("\"\x7f\\\\\""), "\"\\u007f\\\\\"" },
		{ TEXT("true"), "true" },
		{ TEXT("true x"), "\"true x\"" },
		{ TEXT("{\"a\":1"), "\"{\\\"a\\\":1\"" },
		{ TEXT(""), "\"\"" },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		pen_jw_value(&jw, NULL, rows[i].in, rows[i].len);
		expect(rows[i].text);
	}
}

Test(json_writer, validity_is_rfc_8259)
{
	static const char *const good[] = {
		"0",
		"-0",
		"-1.5E+10",
		"1e5",
		"123456789012345678901234567890",
		"\"\"",
		"\"\\u00e9\\/\"",
		"[]",
		"{}",
		"[[],{}]",
		"{\"a\":{\"b\":[1,2,{\"c\":null}]},\"a\":false}",
		" [ ] ",
		"\"\\ud800\"",
	};
	static const char *const bad[] = {
		"",	     " ",
		"01",	     "1.",
		".5",	     "+1",
		"-",	     "1e",
		"1e+",	     "nul",
		"nulll",     "True",
		"'a'",	     "\"",
		"\"\\x\"",   "\"\\u12g4\"",
		"\"\\u12\"", "\"\t\"",
		"[",	     "]",
		"[1",	     "[1,",
		"[1,]",	     "[,1]",
		"{",	     "{\"a\"}",
		"{\"a\":}",  "{\"a\":1,}",
		"{a:1}",     "{,}",
		"[1}",	     "{\"a\":1]",
		"1 2",	     "[] []",
		"\xff",	     "\"\xc3\"",
		"\"\\",	     "{\"a\":1 \"b\":2}",
	};

	for (size_t i = 0; i < COUNT(good); i++)
		cr_expect(pen_jw_valid(good[i], strlen(good[i])), "%s", good[i]);
	for (size_t i = 0; i < COUNT(bad); i++)
		cr_expect_not(pen_jw_valid(bad[i], strlen(bad[i])), "%s", bad[i]);
	cr_expect_not(pen_jw_valid("1\0", 2));
	cr_expect_not(pen_jw_valid("\"\\\0\"", 4));
}

Test(json_writer, nothing_is_read_behind_a_value)
{
	const char *text = "{\"a\":[1.5e3,\"\\u00e9é\",true,null]}";

	/* Every prefix in a block of its own size: the address sanitizer watches its end. */
	for (size_t len = 0; len < strlen(text); len++) {
		char *copy = malloc(len ? len : 1);

		memcpy(copy, text, len);
		cr_expect_not(pen_jw_valid(copy, len), "%zu", len);
		free(copy);
	}
}

Test(json_writer, depth_ends_at_its_limit)
{
	char text[2 * (PEN_JSON_DEPTH + 1)];

	for (size_t depth = PEN_JSON_DEPTH - 1; depth <= PEN_JSON_DEPTH + 1; depth++) {
		memset(text, '[', depth);
		memset(text + depth, ']', depth);
		cr_expect_eq(pen_jw_valid(text, 2 * depth), depth <= PEN_JSON_DEPTH);
	}
}

Test(json_writer, large_values_flow_through)
{
	size_t len = 300000;
	char *text = malloc(len);

	memset(text, 'a', len);
	pen_jw_data(&jw, NULL, text, len);
	cr_expect_eq(out.len, len + 2);
	cr_expect_not(pen_out_failed(&out));
	free(text);
}

static const char *member_of(const char *object, const char *name)
{
	static char text[128];
	const void *at;
	size_t len;

	cr_assert(pen_jw_valid(object, strlen(object)), "%s", object);
	if (!pen_jw_member(object, strlen(object), name, &at, &len))
		return NULL;
	snprintf(text, sizeof text, "%.*s", (int)len, (const char *)at);
	return text;
}

Test(json, a_member_is_found_where_it_is_and_nowhere_else)
{
	static const char object[] =
		" { \"a\" : 1 , \"b\":[ {\"c\":2}, \"]}\" ],\"d\\u0065\":\"\\\"x\",\"c\":{\"a\":null},\"\":-0.5e1,"
		"\"t\":true,\"a\":9} ";

	cr_expect_str_eq(member_of(object, "a"), "1");
	cr_expect_str_eq(member_of(object, "b"), "[ {\"c\":2}, \"]}\" ]");
	cr_expect_str_eq(member_of(object, "de"), "\"\\\"x\"");
	cr_expect_str_eq(member_of(object, "c"), "{\"a\":null}");
	cr_expect_str_eq(member_of(object, ""), "-0.5e1");
	cr_expect_str_eq(member_of(object, "t"), "true");
	cr_expect_null(member_of(object, "x"));
	cr_expect_null(member_of(object, "d"));
	cr_expect_null(member_of(object, "dee"));
	cr_expect_null(member_of("{}", "a"));
	cr_expect_null(member_of("[{\"a\":1}]", "a"));
	cr_expect_null(member_of("\"a\"", "a"));
	cr_expect_str_eq(member_of("{\"a\":[]}", "a"), "[]");
}

static void append(void *arg, const void *piece, size_t len)
{
	pen_out_bytes(arg, piece, len);
}

Test(json, escapes_become_what_they_stand_for)
{
	static const char text[] =
		"\"a\\n\\t\\\"\\/\\\\\\u00e9\\ud83d\\ude00|\\ud83d|\\ude00|\\ud83d\\u0041\"";
	struct pen_out told;

	cr_assert(pen_jw_valid(text, strlen(text)));
	pen_out_init(&told, -1);
	pen_jw_unescape(text, strlen(text), append, &told);
	pen_out_char(&told, '\0');
	cr_expect_str_eq(told.buf, "a\n\t\"/\\\u00e9\U0001f600|\ufffd|\ufffd|\ufffdA");
	pen_out_fini(&told);
}

struct parts {
	char text[256];
	int stop_at, count;
};

static int note(void *arg, const void *name, size_t name_len, const void *value, size_t len)
{
	struct parts *p = arg;
	size_t at = strlen(p->text);

	snprintf(p->text + at, sizeof p->text - at, "[%.*s=%.*s]", (int)name_len,
		 name ? (const char *)name : "", (int)len, (const char *)value);
	return ++p->count == p->stop_at ? 7 : 0;
}

Test(json, each_part_of_a_value)
{
	static const struct {
		const char *json, *parts;
	} rows[] = {
		{ "{}", "" },
		{ " [ ] ", "" },
		{ "12", "" },
		{ "[1, \"]\",{\"a\":[2]} , -3e1,null]", "[=1][=\"]\"][={\"a\":[2]}][=-3e1][=null]" },
		{ " { \"a\" : 1 ,\"b\\\"\":{} } ", "[\"a\"=1][\"b\\\"\"={}]" },
		{ "[[],[[1]],\"\"]", "[=[]][=[[1]]][=\"\"]" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct parts p = { .text = "" };

		cr_assert(pen_jw_valid(rows[i].json, strlen(rows[i].json)), "row %zu", i);
		cr_expect_eq(pen_jw_each(rows[i].json, strlen(rows[i].json), note, &p), 0);
		cr_expect_str_eq(p.text, rows[i].parts, "row %zu: %s", i, p.text);
	}
	struct parts p = { .stop_at = 2 };

	cr_expect_eq(pen_jw_each("[1,2,3]", 7, note, &p), 7);
	cr_expect_str_eq(p.text, "[=1][=2]");
}
