/* SPDX-License-Identifier: MIT */
/*
 * Every splitter is held to the same promises, on texts of its own alphabet (every_cut_gives_the_same_records,
 * every_seek_finds_the_same_end): however a source arrives and is cut, its records are those of the source as one
 * text. Each text ends, with its padding, at the end of a page that nothing follows, and the padding holds bytes
 * that would go on with any record.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engine/json.h"
#include "engine/split.h"
#include "include/penstock_error.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
/* A literal and its length, NUL bytes included. */
#define TEXT(literal) (literal), sizeof(literal) - 1
#define ROOM ((size_t)1 << 16)
#define RECORDS_MAX 4096u

/* One format and how texts for it are made. */
struct subject {
	const char *name;
	struct pen_rules rules;
	const char *alphabet; /* drawn from, byte by byte */
	size_t alphabet_len;
	const char *const *words; /* and these, now and then */
};

static const char *const json_words[] = { "[",
					  "]",
					  "{\"a\":[1,{\"]\":2}]}",
					  "\"x\\\"y\\\\\"",
					  ",",
					  "\n  ",
					  "[1, 2]",
					  "{\"k\": \"v,\"}",
					  "-1.5e7",
					  "[{},[]]",
					  "null",
					  "\\\\\"",
					  NULL };
static const char *const line_words[] = {
	"\r\n",
	"\n\n",
	"{\"a\":1}",
	"                                        ",
	"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef01234",
	NULL
};
static const char *const no_words[] = { NULL };

static const struct subject subjects[] = {
	{ "lines", { .format = PEN_FORMAT_LINES, .terminator = '\n' }, TEXT("ab \r\n\n"), line_words },
	{ "lines -0", { .format = PEN_FORMAT_LINES, .terminator = 0 }, TEXT("a\r\n\0"), no_words },
	{ "ndjson", { .format = PEN_FORMAT_NDJSON, .terminator = '\n' }, TEXT("1 \t\r\n\n"), line_words },
	{ "json", { .format = PEN_FORMAT_JSON }, TEXT("[[]]{},,:\"\"\\ \n1"), json_words },
	{ "u16be",
	  { .format = PEN_FORMAT_FRAMES, .frame = PEN_FRAME_U16BE, .max_record = 5 },
	  TEXT("\0\0\0\0\1\2\3\7"),
	  no_words },
	{ "u32be",
	  { .format = PEN_FORMAT_FRAMES, .frame = PEN_FRAME_U32BE, .max_record = 5 },
	  TEXT("\0\0\0\0\0\0\0\0\0\0\1\2\7\xff"),
	  no_words },
	{ "u32le",
	  { .format = PEN_FORMAT_FRAMES, .frame = PEN_FRAME_U32LE, .max_record = 5 },
	  TEXT("\0\0\0\0\0\0\0\0\0\0\1\2\7\xff"),
	  no_words },
	{ "leb128",
	  { .format = PEN_FORMAT_FRAMES, .frame = PEN_FRAME_LEB128, .max_record = 5 },
	  TEXT("\0\1\2\3\7\x80\x81\xff"),
	  no_words },
};

/* ---- texts ------------------------------------------------------------------------------------ */

static uint64_t state = 1;

static uint32_t next_random(void)
{
	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(state >> 33);
}

static size_t make_text(const struct subject *s, char *to, size_t room)
{
	size_t len = 0, words = 0;

	while (s->words[words])
		words++;
	room = room ? next_random() % room : 0;
	while (len < room) {
		if (words && next_random() % 4 == 0) {
			const char *word = s->words[next_random() % words];
			size_t n = strlen(word);

			if (len + n > room)
				break;
			memcpy(to + len, word, n);
			len += n;
		} else {
			to[len++] = s->alphabet[next_random() % s->alphabet_len];
		}
	}
	return len;
}

/* Two places for texts, each before a page that faults. */
static char *ends[2];

static void map_places(void)
{
	for (size_t i = 0; i < COUNT(ends); i++) {
		char *p = mmap(NULL, ROOM + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		cr_assert_neq(p, MAP_FAILED);
		cr_assert_eq(mprotect(p + ROOM, 4096, PROT_NONE), 0);
		ends[i] = p + ROOM;
	}
}

TestSuite(split, .init = map_places);

static char *place(size_t which, const char *text, size_t len)
{
	static const char behind[] = "\n\"],}\0";
	char *to = ends[which] - PEN_JSON_PADDING - len;

	cr_assert(len + PEN_JSON_PADDING <= ROOM);
	if (len)
		memcpy(to, text, len);
	for (size_t i = 0; i < PEN_JSON_PADDING; i++)
		to[len + i] = behind[i % sizeof(behind)];
	return to;
}

/* ---- records of a source ------------------------------------------------------------------------ */

struct seen {
	size_t at, len;
	uint64_t line;
	int code;
	uint32_t column;
};

struct source {
	const struct pen_rules *rules;
	const struct pen_splitter *splitter;
	const char *text;
	size_t len;
	/* How far it was taken apart. */
	size_t at;
	uint64_t lines;
	uint32_t context;
	struct seen seen[RECORDS_MAX];
	size_t count;
};

static bool same_seen(const struct seen *a, const struct seen *b)
{
	return a->at == b->at && a->len == b->len && a->line == b->line && a->code == b->code &&
	       a->column == b->column;
}

static void begin_source(struct source *s, const struct pen_rules *rules, const char *text, size_t len)
{
	*s = (struct source){
		.rules = rules, .splitter = pen_splitter_of(rules->format), .text = text, .len = len
	};
	cr_assert(s->splitter);
}

/* What was cut goes on as a chunk does, and is taken apart in another place. */
static void take(struct source *s, const struct pen_cut *cut)
{
	const char *text = place(1, s->text + s->at, cut->len);
	struct pen_split split = {
		.rules = s->rules, .at = text, .end = text + cut->len, .context = s->context
	};
	struct pen_record record;
	uint32_t items = 0;

	while (s->splitter->next(&split, &record)) {
		cr_assert(s->count < RECORDS_MAX && items <= cut->items);
		cr_assert(record.at >= text && record.at + record.len <= text + cut->len);
		s->seen[s->count++] = (struct seen){
			.at = s->at + (size_t)(record.at - text),
			.len = record.len,
			.line = s->lines + record.line,
			.code = record.code,
			.column = record.column,
		};
		items++;
	}
	cr_assert_eq(items, cut->items, "%u records instead of %u in %zu bytes at %zu", items, cut->items,
		     cut->len, s->at);
	s->at += cut->len;
	s->lines += cut->lines;
	s->context = cut->context;
}

/* What a source that ended inside something still has to say. */
static void take_missing(struct source *s)
{
	const struct pen_limits one = { .items = 1, .room = SIZE_MAX };
	struct pen_cut cut;

	if (s->at < s->len || !s->context)
		return;
	s->splitter->cut(s->rules, s->context, place(0, NULL, 0), 0, true, &one, &cut);
	cr_assert(cut.len == 0 && cut.items <= 1 && cut.lines == 0);
	take(s, &cut);
}

static void take_whole(struct source *s)
{
	const struct pen_limits none = { .items = UINT32_MAX, .room = SIZE_MAX };
	struct pen_cut cut;

	s->splitter->cut(s->rules, s->context, place(0, s->text, s->len), s->len, true, &none, &cut);
	cr_assert_eq(cut.len, s->len);
	take(s, &cut);
	take_missing(s);
}

/* A record that no chunk holds, as the feed takes it: found by seek, then cut alone. */
static void take_jumbo(struct source *s, size_t piece)
{
	const struct pen_limits one = { .items = 1, .room = SIZE_MAX };
	struct pen_seek seek = { .rules = s->rules, .context = s->context };
	size_t rest = s->len - s->at, n = 0, end = 0;
	struct pen_cut cut;
	bool found = false;

	for (; n < rest && !found; n += end) {
		end = piece < rest - n ? piece : rest - n;
		found = s->splitter->seek(&seek, place(0, s->text + s->at + n, end), end, &end);
	}
	s->splitter->cut(s->rules, s->context, place(0, s->text + s->at, n), n, true, &one, &cut);
	cr_assert(cut.len == n && cut.items <= 1, "%zu of %zu bytes", cut.len, n);
	cr_assert(!found || (cut.lines == seek.lines && cut.context == seek.context));
	take(s, &cut);
}

/* Reads it as a feed does: `step` more bytes at a time, chunks of at most so many items and bytes. */
static void take_pieces(struct source *s, size_t step, const struct pen_limits *limits)
{
	size_t there = 0;

	while (s->at < s->len) {
		struct pen_cut cut;
		size_t len;

		if (there < s->at)
			there = s->at;
		len = there - s->at;
		s->splitter->cut(s->rules, s->context, place(0, s->text + s->at, len), len, there == s->len,
				 limits, &cut);
		cr_assert(cut.items <= limits->items && cut.len <= limits->room);
		if (cut.len) {
			take(s, &cut);
		} else if (there == s->len || len > limits->room) {
			take_jumbo(s, step);
		} else {
			there = s->len - there < step ? s->len : there + step;
		}
	}
	take_missing(s);
}

static void expect_same(const struct subject *subject, const struct source *want, const struct source *got)
{
	for (size_t i = 0; i < want->count && i < got->count; i++)
		cr_assert(
			same_seen(&want->seen[i], &got->seen[i]),
			"%s, record %zu of '%.*s': %zu+%zu line %llu code %d, instead of %zu+%zu line %llu code %d",
			subject->name, i, (int)want->len, want->text, got->seen[i].at, got->seen[i].len,
			(unsigned long long)got->seen[i].line, got->seen[i].code, want->seen[i].at,
			want->seen[i].len, (unsigned long long)want->seen[i].line, want->seen[i].code);
	cr_assert_eq(want->count, got->count, "%s: '%.*s': %zu records instead of %zu", subject->name,
		     (int)want->len, want->text, got->count, want->count);
}

/* ---- what holds for all ------------------------------------------------------------------------- */

static struct source want, got;

static void try_cuts(const struct subject *subject, const char *text, size_t len)
{
	static const uint32_t items[] = { 1, 2, 3, UINT32_MAX };
	const size_t steps[] = { 1, 2, 3, 7, 64, len + 1 };
	struct pen_rules scalar = subject->rules;

	scalar.scalar = true;
	begin_source(&want, &scalar, text, len);
	take_whole(&want);
	begin_source(&got, &subject->rules, text, len);
	take_whole(&got);
	expect_same(subject, &want, &got);
	for (size_t i = 0; i < COUNT(items); i++) {
		for (size_t k = 0; k < COUNT(steps); k++) {
			struct pen_limits limits = { .items = items[i] };

			limits.room = next_random() % 3 ? SIZE_MAX : 1 + next_random() % (len + 1);
			begin_source(&got, next_random() % 4 ? &subject->rules : &scalar, text, len);
			take_pieces(&got, steps[k], &limits);
			expect_same(subject, &want, &got);
		}
	}
}

Test(split, every_cut_gives_the_same_records)
{
	for (size_t i = 0; i < COUNT(subjects); i++) {
		for (int n = 0; n < 3000; n++) {
			char text[400];
			size_t len = make_text(&subjects[i], text, n % 4 ? 24 : sizeof(text));

			try_cuts(&subjects[i], text, len);
		}
	}
}

/* From every place where a chunk may begin: pieces of every size find the end that cut finds. */
static void try_seek(const struct source *s, size_t piece, struct pen_seek *seek, size_t *ret_end,
		     bool *ret_found)
{
	size_t rest = s->len - s->at, n = 0, end;
	bool found = false;

	*seek = (struct pen_seek){ .rules = s->rules, .context = s->context };
	while (n < rest && !found) {
		end = piece < rest - n ? piece : rest - n;
		found = s->splitter->seek(seek, place(0, s->text + s->at + n, end), end, &end);
		n += end;
	}
	cr_assert_eq(seek->seen, n);
	*ret_end = n;
	*ret_found = found;
}

static void try_record(const struct source *s, const struct pen_seek *seek, size_t end)
{
	const char *text = place(1, s->text + s->at, end);
	struct pen_split split = { .rules = s->rules, .at = text, .end = text + end, .context = s->context };
	struct pen_record record;

	if (!s->splitter->next(&split, &record))
		return; /* a blank line */
	cr_assert_eq((size_t)(record.at - text), seek->lead, "%zu, not %zu", (size_t)(record.at - text),
		     (size_t)seek->lead);
	cr_assert_eq(record.len, seek->bare, "'%.*s': %zu, not %zu", (int)end, text, record.len,
		     (size_t)seek->bare);
}

static void try_seeks(const char *text, size_t len, const struct pen_rules *rules)
{
	const struct pen_limits one = { .items = 1, .room = SIZE_MAX };

	begin_source(&got, rules, text, len);
	while (got.at < got.len) {
		struct pen_seek first, again;
		size_t rest = got.len - got.at, end, n;
		bool found, found_again;
		struct pen_cut cut;

		try_seek(&got, rest, &first, &end, &found);
		for (size_t piece = 1; piece < rest; piece++) {
			try_seek(&got, piece, &again, &n, &found_again);
			cr_assert(found == found_again && n == end, "pieces of %zu", piece);
			cr_assert(!found || (first.bare == again.bare && first.lead == again.lead));
			cr_assert(first.lines == again.lines && first.context == again.context);
			cr_assert(first.code == again.code);
		}
		n = found ? end - 1 : end;
		got.splitter->cut(rules, got.context, place(0, text + got.at, n), n, false, &one, &cut);
		cr_assert_eq(cut.items, 0, "a record ends before seek's end");
		got.splitter->cut(rules, got.context, place(0, text + got.at, end), end, true, &one, &cut);
		cr_assert_eq(cut.len, end);
		if (found) {
			cr_assert(cut.lines == first.lines && cut.context == first.context);
			try_record(&got, &first, end);
		}
		take(&got, &cut);
	}
}

Test(split, every_seek_finds_the_same_end)
{
	for (size_t i = 0; i < COUNT(subjects); i++) {
		for (int n = 0; n < 1000; n++) {
			char text[150];
			size_t len = make_text(&subjects[i], text, n % 8 ? 24 : sizeof(text));

			try_seeks(text, len, &subjects[i].rules);
		}
	}
}

/* Without it, the tests above would hold for a splitter that finds nothing. */
Test(split, a_wrong_record_is_noticed)
{
	static const struct seen a = { .at = 1, .len = 2, .line = 3, .code = -4, .column = 5 };
	struct seen b;

	cr_expect(same_seen(&a, &a));
	b = a, b.at++;
	cr_expect_not(same_seen(&a, &b));
	b = a, b.len++;
	cr_expect_not(same_seen(&a, &b));
	b = a, b.line++;
	cr_expect_not(same_seen(&a, &b));
	b = a, b.code = 0;
	cr_expect_not(same_seen(&a, &b));
	b = a, b.column++;
	cr_expect_not(same_seen(&a, &b));
	for (size_t i = 0; i < COUNT(subjects); i++) {
		size_t records = 0, flaws = 0;

		for (int n = 0; n < 200; n++) {
			char text[100];
			size_t len = make_text(&subjects[i], text, sizeof(text));

			begin_source(&got, &subjects[i].rules, text, len);
			take_whole(&got);
			for (size_t k = 0; k < got.count; k++)
				flaws += got.seen[k].code != 0;
			records += got.count;
		}
		cr_expect(records > 200, "%s: %zu records", subjects[i].name, records);
		cr_expect(flaws > 5 || pen_splitter_of(subjects[i].rules.format) == &pen_split_lines,
			  "%s: %zu flaws", subjects[i].name, flaws);
	}
}

/* ---- what each format means ---------------------------------------------------------------------- */

struct expected {
	const char *text;
	size_t len;
	const char
		*records; /* in angle brackets, behind each the lines before it and what is wrong with it */
};

static const char *name_of(int code)
{
	switch (code) {
	case 0:
		return "";
	case -PEN_JSON_CUT:
	case -PEN_FRAME_CUT:
		return "cut";
	case -PEN_JSON_BAD:
		return "bad";
	case -PEN_RECORD_LARGE:
		return "large";
	default:
		return "?";
	}
}

static void expect_records(const struct pen_rules *rules, const struct expected *expected, size_t count)
{
	static char said[8 * ROOM];

	for (size_t i = 0; i < count; i++) {
		size_t at = 0;

		begin_source(&got, rules, expected[i].text, expected[i].len);
		take_whole(&got);
		said[0] = 0;
		for (size_t k = 0; k < got.count; k++)
			at += (size_t)snprintf(said + at, sizeof(said) - at, "<%.*s>%llu%s",
					       (int)got.seen[k].len, expected[i].text + got.seen[k].at,
					       (unsigned long long)got.seen[k].line,
					       name_of(got.seen[k].code));
		cr_expect_str_eq(said, expected[i].records, "'%s': %s instead of %s", expected[i].text, said,
				 expected[i].records);
	}
}

Test(split, lines_end_with_lf_or_crlf)
{
	static const struct pen_rules lines = { .format = PEN_FORMAT_LINES, .terminator = '\n' };
	static const struct pen_rules list = { .format = PEN_FORMAT_LINES };
	static const struct expected of_lines[] = {
		{ TEXT(""), "" },
		{ TEXT("a\nb\n"), "<a>0<b>1" },
		{ TEXT("a\r\n b \r\r\nc"), "<a>0< b \r>1<c>2" },
		{ TEXT("\n\r\n \n"), "<>0<>1< >2" },
		{ TEXT("a\rb\n\r"), "<a\rb>0<\r>1" },
	};
	static const struct expected of_list[] = {
		{ TEXT("a\nb\0c\r\0\0d"), "<a\nb>0<c\r>1<>2<d>3" },
	};

	expect_records(&lines, of_lines, COUNT(of_lines));
	expect_records(&list, of_list, COUNT(of_list));
}

Test(split, blank_lines_are_no_items_of_ndjson)
{
	static const struct pen_rules ndjson = { .format = PEN_FORMAT_NDJSON, .terminator = '\n' };
	static const struct expected of_ndjson[] = {
		{ TEXT("\n{}\n\n \t\r\n[]\r\n"), "<{}>1<[]>4" },
		{ TEXT(" 1 \n\v\n 2"), "< 1 >0<\v>1< 2>2" },
		{ TEXT("1 2\n\r\n  "), "<1 2>0" },
	};

	expect_records(&ndjson, of_ndjson, COUNT(of_ndjson));
}

Test(split, elements_and_documents_are_items_of_json)
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

Test(split, long_and_deep_elements)
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

Test(split, frames_stand_behind_their_length)
{
	static const struct pen_rules be = { .format = PEN_FORMAT_FRAMES, .max_record = 5 };
	static const struct pen_rules le = { .format = PEN_FORMAT_FRAMES,
					     .frame = PEN_FRAME_U32LE,
					     .max_record = 5 };
	static const struct pen_rules be16 = { .format = PEN_FORMAT_FRAMES,
					       .frame = PEN_FRAME_U16BE,
					       .max_record = 300 };
	static const struct expected of_be[] = {
		{ TEXT(""), "" },
		{ TEXT("\0\0\0\1a\0\0\0\0\0\0\0\2bc"), "<a>0<>0<bc>0" },
		{ TEXT("\0\0\0\6abcdef\0\0\0\1g"), "<abcdef>0large<g>0" },
		{ TEXT("\0\0\0\3\n\n\n\0\0\0\2b"), "<\n\n\n>0<b>0cut" },
		{ TEXT("\0\0\0\1a\0\0\0\1"), "<a>0<>0cut" },
		{ TEXT("\0\0\0\1a__"), "<a>0<__>0cut" },
		{ TEXT("\xff\xff\xff\xff"
		       "abc"),
		  "<abc>0cut" },
	};
	static const struct expected of_le[] = {
		{ TEXT("\1\0\0\0a\0\0\0\0\2\0\0\0bc"), "<a>0<>0<bc>0" },
		{ TEXT("\0\0\0\1abc"), "<abc>0cut" },
	};
	static const struct expected of_be16[] = {
		{ TEXT("\0\1a\0\0\0\2bc"), "<a>0<>0<bc>0" },
		{ TEXT("\1\0abc"), "<abc>0cut" },
		{ TEXT("\0\1a_"), "<a>0<_>0cut" },
	};

	expect_records(&be, of_be, COUNT(of_be));
	expect_records(&le, of_le, COUNT(of_le));
	expect_records(&be16, of_be16, COUNT(of_be16));
}

Test(split, leb128_has_at_most_64_bits)
{
	static const struct pen_rules leb128 = { .format = PEN_FORMAT_FRAMES,
						 .frame = PEN_FRAME_LEB128,
						 .max_record = 5 };
	static const struct expected frames[] = {
		{ TEXT("\1a\0\2bc"), "<a>0<>0<bc>0" },
		{ TEXT("\x81\0a\x80\x80\x80\x80\x80\x80\x80\x80\x80\0\1b"), "<a>0<>0<b>0" },
		{ TEXT("\6abcdef\1g"), "<abcdef>0large<g>0" },
		{ TEXT("\x80\1abc"), "<abc>0cut" },
		{ TEXT("\1a\xff"), "<a>0<\xff>0cut" },
		/* 2^64 - 1 is a length, if not one that is there; 2^64 is none, nor is anything of 11 bytes. */
		{ TEXT("\xff\xff\xff\xff\xff\xff\xff\xff\xff\1abc"), "<abc>0cut" },
		{ TEXT("\1a\x80\x80\x80\x80\x80\x80\x80\x80\x80\2bc\1d"),
		  "<a>0<\x80\x80\x80\x80\x80\x80\x80\x80\x80\2bc\1d>0cut" },
		{ TEXT("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\0a"),
		  "<\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80>0cut" },
	};

	expect_records(&leb128, frames, COUNT(frames));
}

/* A length is passed over, piece by piece, without being believed: no sum of it overflows. */
Test(split, seek_passes_over_any_length)
{
	static const struct pen_rules be = { .format = PEN_FORMAT_FRAMES, .max_record = 5 };
	static const struct pen_rules leb128 = { .format = PEN_FORMAT_FRAMES, .frame = PEN_FRAME_LEB128 };
	struct pen_seek seek = { .rules = &be };
	const char *text = place(0, TEXT("\0\1\0\0........................"));
	size_t len;

	cr_assert_not(pen_split_frames.seek(&seek, text, 3, &len));
	cr_assert_not(pen_split_frames.seek(&seek, text + 3, 5, &len));
	cr_assert_eq(seek.lead, 4);
	cr_assert_eq(seek.code, -PEN_FRAME_CUT);
	for (size_t left = 65536 - 4; left > 20; left -= 20)
		cr_assert_not(pen_split_frames.seek(&seek, text + 4, 20, &len), "%zu", left);
	cr_assert(pen_split_frames.seek(&seek, text + 4, 20, &len));
	cr_assert_eq(len, (65536 - 4) % 20);
	cr_assert(seek.bare == 65536 && seek.seen == 65540 && seek.code == 0);

	seek = (struct pen_seek){ .rules = &leb128 };
	text = place(0, TEXT("\xff\xff\xff\xff\xff\xff\xff\xff\xff\1........................"));
	cr_assert_not(pen_split_frames.seek(&seek, text, 30, &len));
	cr_assert(seek.lead == 10 && seek.seen == 30 && seek.code == -PEN_FRAME_CUT);
}

Test(split, every_format_that_is_cut_has_its_splitter)
{
	cr_expect_eq(pen_splitter_of(PEN_FORMAT_LINES), &pen_split_lines);
	cr_expect_eq(pen_splitter_of(PEN_FORMAT_NDJSON), &pen_split_lines);
	cr_expect_eq(pen_splitter_of(PEN_FORMAT_JSON), &pen_split_json);
	cr_expect_eq(pen_splitter_of(PEN_FORMAT_FRAMES), &pen_split_frames);
	cr_expect_null(pen_splitter_of(PEN_FORMAT_FILES));
}
