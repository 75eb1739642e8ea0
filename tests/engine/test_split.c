/* SPDX-License-Identifier: MIT */
/*
 * Every splitter is held to the same promises, on texts of its own alphabet: however a source arrives and is cut, its
 * records are those of the source as one text. A new format is a new subject.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "engine/split.h"
#include "include/penstock_error.h"
#include "tests/engine/apart.h"

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
TestSuite(split, .init = map_places);

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
	expect_same(subject->name, &want, &got);
	for (size_t i = 0; i < COUNT(items); i++) {
		for (size_t k = 0; k < COUNT(steps); k++) {
			struct pen_limits limits = { .items = items[i] };

			limits.room = next_random() % 3 ? SIZE_MAX : 1 + next_random() % (len + 1);
			begin_source(&got, next_random() % 4 ? &subject->rules : &scalar, text, len);
			take_pieces(&got, steps[k], &limits);
			expect_same(subject->name, &want, &got);
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

Test(split, every_format_that_is_cut_has_its_splitter)
{
	cr_expect_eq(pen_splitter_of(PEN_FORMAT_LINES), &pen_split_lines);
	cr_expect_eq(pen_splitter_of(PEN_FORMAT_NDJSON), &pen_split_lines);
	cr_expect_eq(pen_splitter_of(PEN_FORMAT_JSON), &pen_split_json);
	cr_expect_eq(pen_splitter_of(PEN_FORMAT_FRAMES), &pen_split_frames);
	cr_expect_null(pen_splitter_of(PEN_FORMAT_FILES));
}
