/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "engine/where.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct pen_failure why;
static const struct pen_item item = {
	.seq = 41,
	.state = PEN_ITEM_FAILED,
	.code = -PEN_JSON_BAD,
	.source = "in/a b.json",
	.line = 7,
	.message = "connection timeout (try again)",
	.key = { "a\0b", 3 },
	.attempts = 4,
};

static bool fits(const char *text, const struct pen_item *of)
{
	struct pen_where *where = NULL;
	bool yes;

	memset(&why, 0, sizeof why);
	cr_assert_eq(pen_where_parse(text, &where, &why), 0, "%s: %s", text, why.text);
	yes = pen_where_match(where, of);
	pen_where_free(where);
	return yes;
}

Test(where, what_fits)
{
	static const struct {
		const char *text;
		bool yes;
	} rows[] = {
		{ "code=PEN1042 and error~timeout and attempts>=2", true },
		{ "code=1042", true },
		{ "code = pen1042", true },
		{ "code!=PEN1043", true },
		{ "code=none", false },
		{ "code~'^PEN10'", true },
		{ "code!~104[13]", true },
		{ "state=failed", true },
		{ "state!=failed", false },
		{ "state~'^(failed|rejected)$'", true },
		{ "message~timeout", true },
		{ "error~TIMEOUT", false },
		{ "error!~TIMEOUT", true },
		{ "error~'again\\)$'", true },
		{ "error='connection timeout (try again)'", true },
		{ "source=\"in/a b.json\"", true },
		{ "source~\\.json$", true },
		{ "source=in/a", false },
		{ "key=a", false },
		{ "key>a", true },
		{ "key<b", true },
		{ "key~b$", true }, /* behind a NUL */
		{ "key=''", false },
		{ "key!=\"\"", true },
		{ "seq=41", true },
		{ "seq<41", false },
		{ "seq<=41", true },
		{ "seq>40 and seq<42", true },
		{ "line=7", true },
		{ "attempts!=4", false },
		{ "attempts<18446744073709551615", true },
		/* and binds closer than or, not closest */
		{ "seq=41 or seq=1 and seq=2", true },
		{ "(seq=41 or seq=1) and seq=2", false },
		{ "seq=1 and seq=2 or seq=41", true },
		{ "not seq=1 and seq=2", false },
		{ "not (seq=1 and seq=2)", true },
		{ "not not seq=41", true },
		{ "NOT seq=1 AND (seq=41 OR seq=2)", true },
		{ "  ( ( seq=41 ) )  ", true },
		{ "(seq=41)and(line=7)", true },
		{ "error~and", false },
		{ "key='and' or seq=41", true },
	};

	for (size_t i = 0; i < COUNT(rows); i++)
		cr_expect_eq(fits(rows[i].text, &item), rows[i].yes, "%s", rows[i].text);
}

Test(where, quotes)
{
	const struct pen_item odd = { .message = "say \"it's\" \\ now" };

	cr_expect(fits("error=\"say \\\"it's\\\" \\\\ now\"", &odd));
	cr_expect(fits("error~\"it's\"", &odd));
	cr_expect(fits("error~'\\\\ now'", &odd), "in '...' a backslash stays one");
}

Test(where, what_an_item_does_not_have_is_empty)
{
	const struct pen_item bare = { .state = PEN_ITEM_COMMITTED };

	cr_expect(fits("key='' and source='' and error='' and code=none and line=0", &bare));
	cr_expect(fits("error!~.", &bare));
	cr_expect(fits("key~'^$'", &bare));
	cr_expect(fits("code~none", &bare));
}

Test(where, what_is_refused_names_the_column)
{
	static const struct {
		const char *text;
		unsigned column;
		const char *what;
	} rows[] = {
		{ "", 1, "condition is missing" },
		{ "   ", 4, "condition is missing" },
		{ "seq=1 and", 10, "condition is missing" },
		{ "cod=1", 1, "'cod' is no field; fields are code, state" },
		{ "seq=1 and sek=2", 11, "'sek' is no field" },
		{ "=1", 1, "no field" },
		{ "seq", 4, "operator is missing behind seq" },
		{ "seq 1", 5, "operator is missing" },
		{ "seq==1", 5, "'=1' is no whole number" },
		{ "seq=", 5, "value is missing" },
		{ "seq=x", 5, "no whole number" },
		{ "seq=-1", 5, "no whole number" },
		{ "seq=18446744073709551616", 5, "no whole number" },
		{ "seq~1", 4, "seq is a number" },
		{ "code<PEN1042", 5, "code takes = != ~ !~" },
		{ "code=PEN9999", 6, "no code" },
		{ "code=0", 6, "no code" },
		{ "state=fail", 7, "states are committed" },
		{ "state=", 7, "value is missing" },
		{ "error~'a", 7, "not closed" },
		{ "error~a'b'", 8, "quote inside" },
		{ "error~(a|b)", 7, "goes in quotes" },
		{ "error~^(a|b)", 8, "instead of `and`" },
		{ "error~'('", 7, "no regular expression" },
		{ "error~'['", 7, "no regular expression" },
		{ "error~'(a)\\1'", 7, "back-reference" },
		{ "error~'(a{40}){40}'", 7, "repeats too much" },
		{ "error~'a++++++++++++'", 7, "repeats too much" },
		{ "error~'((((((((((a+)+)+)+)+)+)+)+)+)+)'", 7, "repeats too much" },
		{ "error~'a{,3000}'", 7, "repeats too much" },
		{ "(seq=1", 7, "the ( is in column 1" },
		{ "seq=1)", 6, "instead of `and`" },
		{ "seq=1 seq=2", 7, "instead of `and`" },
		{ "seq=1 && seq=2", 7, "'&&' instead of `and`" },
		{ "not", 4, "condition is missing" },
		{ "()", 2, "no field" },
		{ "key='\xc3\xa9\xe2\x82\xac' x", 10, "'x' instead of" }, /* characters, not bytes */
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct pen_where *where = NULL;
		char column[32];

		memset(&why, 0, sizeof why);
		cr_expect_eq(pen_where_parse(rows[i].text, &where, &why), -PEN_USAGE, "%s", rows[i].text);
		cr_expect_null(where);
		snprintf(column, sizeof column, "column %u: ", rows[i].column);
		cr_expect(strstr(why.text, column), "%s: %s", rows[i].text, why.text);
		cr_expect(strstr(why.text, rows[i].what), "%s: %s", rows[i].text, why.text);
	}
}

/* n times a, then b, then n times c. */
static char *built(char *out, size_t cap, unsigned n, const char *a, const char *b, const char *c)
{
	size_t len = 0;

	for (unsigned i = 0; i < n; i++)
		len += (size_t)snprintf(out + len, cap - len, "%s", a);
	len += (size_t)snprintf(out + len, cap - len, "%s", b);
	for (unsigned i = 0; i < n; i++)
		len += (size_t)snprintf(out + len, cap - len, "%s", c);
	return out;
}

Test(where, limits)
{
	static char text[PEN_WHERE_BYTES + 2];
	struct pen_where *where = NULL;

	cr_expect(fits(built(text, sizeof text, PEN_WHERE_DEPTH, "(", "seq=41", ")"), &item));
	cr_expect(fits(built(text, sizeof text, PEN_WHERE_DEPTH, "not ", "seq=41", ""), &item));
	cr_expect_eq(pen_where_parse(built(text, sizeof text, PEN_WHERE_DEPTH + 1, "(", "seq=41", ")"),
				     &where, NULL),
		     -PEN_USAGE);
	cr_expect_eq(pen_where_parse(built(text, sizeof text, PEN_WHERE_DEPTH + 1, "not ", "seq=41", ""),
				     &where, NULL),
		     -PEN_USAGE);
	cr_expect(fits(built(text, sizeof text, PEN_WHERE_TERMS - 1, "seq=1 or ", "seq=41", ""), &item));
	cr_expect_eq(pen_where_parse(built(text, sizeof text, PEN_WHERE_TERMS, "seq=1 or ", "seq=41", ""),
				     &where, NULL),
		     -PEN_USAGE);
	/* Every node that can be: 32 nots before each of 64 terms is more text than a condition may have. */
	memset(text, 'x', sizeof text - 1);
	cr_expect_eq(pen_where_parse(text, &where, &why), -PEN_USAGE);
	cr_expect(strstr(why.text, "longer than 4096"), "%s", why.text);
	snprintf(text, sizeof text, "error~%0*d", (int)PEN_WHERE_REGEX, 0);
	cr_expect_not(fits(text, &item));
	snprintf(text, sizeof text, "error~%0*d", (int)PEN_WHERE_REGEX + 1, 0);
	cr_expect_eq(pen_where_parse(text, &where, NULL), -PEN_USAGE);
	cr_expect(fits("error!~'a{256}'", &item));
	cr_expect(fits("error!~'a+b+c+d+e+f+g+h+i+j+k+l+m+n+o+p+q+r+s+t+u+v+w+x+y+z+'", &item));
	cr_expect(fits("error~'[]{999}+n]{2}e'", &item), "a set is one step");
	cr_expect(fits("error~'^[[:alpha:]+{999}]+ '", &item));
	pen_where_free(NULL);
}

/* Keys are compared as they are typed, whatever their bytes are. */
Test(where, keys_of_numbers_and_digests)
{
	static const struct {
		enum pen_key kind;
		const char *key;
		size_t len;
		const char *text;
		bool yes;
	} rows[] = {
		{ PEN_KEY_SEQ, "\0\0\0\0\0\0\1\0", 8, "key=256", true },
		{ PEN_KEY_SEQ, "\0\0\0\0\0\0\1\0", 8, "key=0256", true },
		{ PEN_KEY_SEQ, "\0\0\0\0\0\0\1\0", 8, "key!=256", false },
		{ PEN_KEY_SEQ, "\0\0\0\0\0\0\1\0", 8, "key>30", true },
		{ PEN_KEY_SEQ, "\0\0\0\0\0\0\1\0", 8, "key<30", false },
		{ PEN_KEY_SEQ, "\0\0\0\0\0\0\1\0", 8, "key>=256 and key<=256 and not key<256", true },
		{ PEN_KEY_SEQ, "\0\0\0\0\0\0\1\0", 8, "key~'^25'", true },
		{ PEN_KEY_SEQ, "\0\0\0\0\0\0\1\0", 8, "key=x", false },
		{ PEN_KEY_SEQ, "\xff\xff\xff\xff\xff\xff\xff\xff", 8, "key=18446744073709551615", true },
		{ PEN_KEY_OFFSET, "\0\0\0\2\0\0\0\0\0\0\0\7", 12, "key='2:7'", true },
		{ PEN_KEY_OFFSET, "\0\0\0\2\0\0\0\0\0\0\0\7", 12, "key<'10:1' and key>'2:6'", true },
		{ PEN_KEY_OFFSET, "\0\0\0\2\0\0\0\0\0\0\0\7", 12, "key=7", false },
		{ PEN_KEY_CONTENT, "\xab\0\1", 3, "key=ab0001", true },
		{ PEN_KEY_CONTENT, "\xab\0\1", 3, "key~01$", true },
		/* Nobody made a number of these. */
		{ PEN_KEY_GIVEN, "\0\0\0\0\0\0\1\0", 8, "key=256", false },
		{ PEN_KEY_POINTER, "256", 3, "key=256 and key>1000", true },
		{ PEN_KEY_SEQ, "", 0, "key=''", true },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct pen_item of = { .key = { rows[i].key, rows[i].len }, .key_kind = rows[i].kind };

		cr_expect_eq(fits(rows[i].text, &of), rows[i].yes, "row %zu: %s", i, rows[i].text);
	}
}
