/* SPDX-License-Identifier: MIT */
#include "tests/engine/apart.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "engine/json.h"
#include "include/penstock_error.h"

#define ROOM ((size_t)1 << 16)

static uint64_t state = 1;

uint32_t next_random(void)
{
	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(state >> 33);
}

/* Each before a page that faults. */
static char *ends[2];

void map_places(void)
{
	for (size_t i = 0; i < COUNT(ends); i++) {
		char *p = mmap(NULL, ROOM + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		cr_assert_neq(p, MAP_FAILED);
		cr_assert_eq(mprotect(p + ROOM, 4096, PROT_NONE), 0);
		ends[i] = p + ROOM;
	}
}

char *place(size_t which, const char *text, size_t len)
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

bool same_seen(const struct seen *a, const struct seen *b)
{
	return a->at == b->at && a->len == b->len && a->line == b->line && a->code == b->code &&
	       a->column == b->column;
}

void begin_source(struct source *s, const struct pen_rules *rules, const char *text, size_t len)
{
	*s = (struct source){
		.rules = rules, .splitter = pen_splitter_of(rules->format), .text = text, .len = len
	};
	cr_assert(s->splitter);
}

void take(struct source *s, const struct pen_cut *cut)
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

void take_whole(struct source *s)
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

void take_pieces(struct source *s, size_t step, const struct pen_limits *limits)
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

void expect_same(const char *name, const struct source *want, const struct source *got)
{
	for (size_t i = 0; i < want->count && i < got->count; i++)
		cr_assert(
			same_seen(&want->seen[i], &got->seen[i]),
			"%s, record %zu of '%.*s': %zu+%zu line %llu code %d, instead of %zu+%zu line %llu code %d",
			name, i, (int)want->len, want->text, got->seen[i].at, got->seen[i].len,
			(unsigned long long)got->seen[i].line, got->seen[i].code, want->seen[i].at,
			want->seen[i].len, (unsigned long long)want->seen[i].line, want->seen[i].code);
	cr_assert_eq(want->count, got->count, "%s: '%.*s': %zu records instead of %zu", name, (int)want->len,
		     want->text, got->count, want->count);
}

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

void expect_records(const struct pen_rules *rules, const struct expected *expected, size_t count)
{
	static char said[8 * ROOM];
	static struct source got;

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
