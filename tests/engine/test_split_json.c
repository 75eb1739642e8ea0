/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <string.h>

#include "engine/split.h"
#include "include/penstock_error.h"
#include "tests/engine/apart.h"

TestSuite(split_json, .init = map_places);

static struct source got;

Test(split_json, elements_and_documents_are_items_of_json)
{
	static const struct pen_rules json = { .format = PEN_FORMAT_JSON };
	static const struct expected whole[] = {
		{ TEXT(""), "" },
		{ TEXT(" \n[ ]\n[]"), "" },
		{ TEXT("[{\"a\":1}, {\"a\":2}]"), "<{\"a\":1}>0<{\"a\":2}>0" },
		{ TEXT("[\n  1 ,\n  \"a,]\" ,\n\n  [2, [3]]\n]\n"), "<1>1<\"a,]\">2<[2, [3]]>4" },
		{ TEXT("[1,2][3]\n[4]"), "<1>0<2>0<3>0<4>1" },
		{ TEXT("{\n \"a\": [1, {}]\n}\n{}{\"b\":\"}\"}"),
		  "<{\n \"a\": [1, {}]\n}>0<{}>3<{\"b\":\"}\"}>3" },
		{ TEXT("1 \"a b\"\"c\\\"\" true[4]5"), "<1>0<\"a b\">0<\"c\\\"\">0<true>0<4>0<5>0" },
		{ TEXT("[\"\\\\\",\"\\\\\\\"]\",\"\\\"\"]"), "<\"\\\\\">0<\"\\\\\\\"]\">0<\"\\\"\">0" },
		{ TEXT("[ {\"a\":\n1}\n, 2\n]3"), "<{\"a\":\n1}>0<2>2<3>3" },
	};
	static const struct expected broken[] = {
		{ TEXT("[1,,2]"), "<1>0<>0bad<2>0" },
		{ TEXT("[,]"), "<>0bad<>0bad" },
		{ TEXT("[1,2, ]"), "<1>0<2>0<>0bad" },
		{ TEXT("[1 2]"), "<1 2>0" },
		{ TEXT("[1}{}"), "<1>0<{}>0" },
		{ TEXT("],{}}} x,y[1]:"), "<],>0<{}>0<}>0<}>0<x,y>0<1>0<:>0" },
		{ TEXT("[1,\nb\"a]\",2]"), "<1>0<b\"a]\">1<2>1" },
	};
	static const struct expected cut[] = {
		{ TEXT("["), "<>0cut" },
		{ TEXT("[1,2"), "<1>0<2>0cut" },
		{ TEXT("[1,2\n"), "<1>0<2>0<>1cut" },
		{ TEXT("[1,2,"), "<1>0<2>0<>0cut" },
		{ TEXT("[1,2,\n"), "<1>0<2>0<>1cut" },
		{ TEXT("[1,{\"a\":2}"), "<1>0<{\"a\":2}>0<>0cut" },
		{ TEXT("[[1],[2]"), "<[1]>0<[2]>0<>0cut" },
		{ TEXT("[\"a\""), "<\"a\">0<>0cut" },
		{ TEXT("[\"a\\\""), "<\"a\\\">0cut" },
		{ TEXT("[{\"a\": [1 "), "<{\"a\": [1 >0cut" },
		{ TEXT("{\"a\":1"), "<{\"a\":1>0cut" },
		{ TEXT("{} \"a"), "<{}>0<\"a>0cut" },
		{ TEXT("12"), "<12>0" },
		{ TEXT("[1]\ntru"), "<1>0<tru>1" },
	};

	expect_records(&json, whole, COUNT(whole));
	expect_records(&json, broken, COUNT(broken));
	expect_records(&json, cut, COUNT(cut));
}

Test(split_json, a_reject_shows_its_place)
{
	static const struct pen_rules json = { .format = PEN_FORMAT_JSON };

	begin_source(&got, &json, TEXT("[1,,{\"a\""));
	take_whole(&got);
	cr_assert_eq(got.count, 3);
	cr_expect_eq(got.seen[0].column, 0);
	cr_expect(got.seen[1].code == -PEN_JSON_BAD && got.seen[1].column == 1);
	cr_expect(got.seen[2].code == -PEN_JSON_CUT && got.seen[2].column == 5);
}

/* So that a record too long for a text always begins with it, however much white space is before it. */
Test(split_json, what_stands_before_a_json_record_needs_no_record)
{
	static const struct pen_rules json = { .format = PEN_FORMAT_JSON };
	static const struct pen_limits one = { .items = 1, .room = SIZE_MAX };
	struct pen_cut cut;

	pen_split_json.cut(&json, 0, place(0, TEXT("[] \n[ {\"a\"")), 10, false, &one, &cut);
	cr_expect(cut.len == 6 && cut.items == 0 && cut.lines == 1 && cut.context != 0);
	pen_split_json.cut(&json, cut.context, place(0, TEXT("{\"a\"")), 4, false, &one, &cut);
	cr_expect_eq(cut.len, 0);
}

/* A rule as simple as it can be said, one byte after the other, for arrays that are closed. */
static size_t count_simply(const char *text, size_t len, uint32_t *ret_lines)
{
	size_t level = 0, items = 0;
	bool inside = false, escaped = false;

	*ret_lines = 0;
	for (size_t i = 0; i < len; i++) {
		char c = text[i];

		*ret_lines += c == '\n';
		if (c == '"' && !escaped)
			inside = !inside;
		escaped = c == '\\' && !escaped;
		if (inside)
			continue;
		if (c == '[' || c == '{')
			level++;
		if (c == ']' || c == '}')
			level--;
		items += c == ',' && level == 1;
	}
	return items + 1;
}

Test(split_json, long_and_deep_elements)
{
	static const struct pen_rules json = { .format = PEN_FORMAT_JSON };
	static const struct pen_limits none = { .items = UINT32_MAX, .room = SIZE_MAX };
	static char text[20000];
	static const char *const pieces[] = {
		"{",
		"}",
		"[",
		"]",
		",",
		"\"a,[\\\"\"",
		"\"\\\\\"",
		"\n",
		" ",
		"123",
		"\"0123456789012345678901234567890123456789012345678901234567890\\\\\\\"\""
	};

	for (int n = 0; n < 400; n++) {
		size_t len = 0, level = 1;
		uint32_t lines;
		struct pen_cut cut;

		text[len++] = '[';
		while (len < 8000) {
			const char *piece = pieces[next_random() % COUNT(pieces)];

			if ((*piece == '}' || *piece == ']') && --level < 1) {
				level = 1;
				continue;
			}
			level += *piece == '{' || *piece == '[';
			memcpy(text + len, piece, strlen(piece));
			len += strlen(piece);
		}
		for (text[len++] = '0'; level; level--)
			text[len++] = ']';
		pen_split_json.cut(&json, 0, place(0, text, len), len, false, &none, &cut);
		cr_assert_eq(cut.len, len);
		cr_assert_eq(cut.items, count_simply(text, len, &lines));
		cr_assert_eq(cut.lines, lines);
		cr_assert_eq(cut.context, 0);
	}
	/* Far more levels than JSON may have, and back. */
	memset(text, '[', 10000);
	memset(text + 10000, ']', 10000);
	begin_source(&got, &json, text, 20000);
	take_whole(&got);
	cr_assert(got.count == 1 && got.seen[0].len == 19998 && !got.seen[0].code);
	begin_source(&got, &json, text, 10000);
	take_whole(&got);
	cr_assert(got.count == 1 && got.seen[0].len == 9999 && got.seen[0].code == -PEN_JSON_CUT);
}
