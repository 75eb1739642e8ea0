/* SPDX-License-Identifier: MIT */
/*
 * fuzz_split - however a source is cut, its records are the same
 *
 * An input is a format, how many bytes arrive at a time, at most how many items and bytes a chunk has (a byte each;
 * 0: no limit), and the source. Held to be true of every input:
 *
 *   1. all bytes of a source are taken, and its records lie in it, in order, none in another;
 *   2. the loops with SIMD and without agree;
 *   3. read piece by piece and cut into chunks, with seek for what no chunk holds, it has the same records.
 *
 * A text lies in a heap block with nothing but its padding behind it. A broken promise aborts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/json.h"
#include "engine/split.h"

#define HOLD(cond)                                                                     \
	do {                                                                           \
		if (!(cond)) {                                                         \
			fprintf(stderr, "fuzz_split: line %d: %s\n", __LINE__, #cond); \
			abort();                                                       \
		}                                                                      \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
	size_t at, len;
	uint64_t line;
	int code;
};

struct source {
	struct pen_rules rules;
	const struct pen_splitter *splitter;
	const char *text;
	size_t len, at;
	uint64_t lines;
	uint32_t context;
	struct seen *seen;
	size_t count, room;
};

static char *copy(const char *text, size_t len, char behind)
{
	char *to = malloc(len + PEN_JSON_PADDING);

	HOLD(to);
	if (len)
		memcpy(to, text, len);
	memset(to + len, behind, PEN_JSON_PADDING);
	return to;
}

static struct source begin(const struct pen_rules *rules, bool scalar, const char *text, size_t len)
{
	struct source s = { .rules = *rules, .text = text, .len = len, .room = len + 2 };

	s.rules.scalar = scalar;
	s.splitter = pen_splitter_of(rules->format);
	s.seen = calloc(s.room, sizeof *s.seen);
	HOLD(s.seen && s.splitter);
	return s;
}

static void cut(struct source *s, size_t len, bool whole, const struct pen_limits *limits,
		struct pen_cut *ret)
{
	char *text = copy(s->text + s->at, len, '\n');

	s->splitter->cut(&s->rules, s->context, text, len, whole, limits, ret);
	HOLD(ret->len <= len && ret->len <= limits->room && ret->items <= limits->items);
	free(text);
}

static void take(struct source *s, const struct pen_cut *cut)
{
	char *text = copy(s->text + s->at, cut->len, '"');
	struct pen_split split = { &s->rules, text, text + cut->len, 0, s->context };
	const char *passed = text;
	struct pen_record record;
	uint32_t items = 0;

	for (; s->splitter->next(&split, &record); items++) {
		HOLD(items < cut->items && s->count < s->room && record.line <= cut->lines);
		HOLD(record.at >= passed && record.at + record.len <= text + cut->len);
		passed = record.at + record.len;
		s->seen[s->count++] = (struct seen){ s->at + (size_t)(record.at - text), record.len,
						     s->lines + record.line, record.code };
	}
	HOLD(items == cut->items && split.at == split.end);
	s->at += cut->len;
	s->lines += cut->lines;
	s->context = cut->context;
	free(text);
}

static void take_missing(struct source *s)
{
	const struct pen_limits one = { 1, SIZE_MAX };
	struct pen_cut missing;

	if (s->context) {
		cut(s, 0, true, &one, &missing);
		take(s, &missing);
	}
	HOLD(s->at == s->len && !s->context);
}

static void take_whole(struct source *s)
{
	const struct pen_limits none = { UINT32_MAX, SIZE_MAX };
	struct pen_cut all;

	cut(s, s->len, true, &none, &all);
	HOLD(all.len == s->len);
	take(s, &all);
	take_missing(s);
}

/* What no chunk holds: its end is looked for piece by piece, and it is cut alone. */
static void take_jumbo(struct source *s, size_t step)
{
	const struct pen_limits one = { 1, SIZE_MAX };
	struct pen_seek seek = { .rules = &s->rules, .context = s->context };
	size_t rest = s->len - s->at, n = 0;
	struct pen_cut alone;
	bool found = false;

	while (n < rest && !found) {
		size_t len = rest - n < step ? rest - n : step, end = len;
		char *text = copy(s->text + s->at + n, len, ',');

		found = s->splitter->seek(&seek, text, len, &end);
		free(text);
		HOLD(end <= len);
		n += end;
		HOLD(seek.seen == n && seek.lead <= n && (!found || seek.lead + seek.bare <= n));
	}
	cut(s, n, true, &one, &alone);
	HOLD(alone.len == n && (!found || (alone.lines == seek.lines && alone.context == seek.context)));
	take(s, &alone);
}

static void take_pieces(struct source *s, size_t step, const struct pen_limits *limits)
{
	size_t there = 0;

	while (s->at < s->len) {
		struct pen_cut some;

		there = there < s->at ? s->at : there;
		cut(s, there - s->at, there == s->len, limits, &some);
		if (some.len)
			take(s, &some);
		else if (there == s->len || there - s->at > limits->room)
			take_jumbo(s, step);
		else
			there = s->len - there < step ? s->len : there + step;
	}
	take_missing(s);
}

static void same(const struct source *a, const struct source *b)
{
	HOLD(a->count == b->count && a->lines == b->lines);
	for (size_t i = 0; i < a->count; i++)
		HOLD(a->seen[i].at == b->seen[i].at && a->seen[i].len == b->seen[i].len &&
		     a->seen[i].line == b->seen[i].line && a->seen[i].code == b->seen[i].code);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct pen_rules formats[] = {
		{ .format = PEN_FORMAT_LINES, .terminator = '\n' },
		{ .format = PEN_FORMAT_LINES },
		{ .format = PEN_FORMAT_NDJSON, .terminator = '\n' },
		{ .format = PEN_FORMAT_JSON },
		{ .format = PEN_FORMAT_FRAMES, .frame = PEN_FRAME_U32BE, .max_record = 5 },
		{ .format = PEN_FORMAT_FRAMES, .frame = PEN_FRAME_U32LE, .max_record = 5 },
		{ .format = PEN_FORMAT_FRAMES, .frame = PEN_FRAME_U16BE, .max_record = 5 },
		{ .format = PEN_FORMAT_FRAMES, .frame = PEN_FRAME_LEB128, .max_record = 5 },
	};
	const struct pen_rules *rules;
	struct source want, simd, pieces;
	struct pen_limits limits;

	if (size < 4 || size > 4096)
		return 0;
	rules = &formats[data[0] % (sizeof(formats) / sizeof(formats[0]))];
	limits.items = data[2] ? data[2] : UINT32_MAX;
	limits.room = data[3] ? data[3] : SIZE_MAX;
	want = begin(rules, true, (const char *)data + 4, size - 4);
	simd = begin(rules, false, want.text, want.len);
	pieces = begin(rules, false, want.text, want.len);
	take_whole(&want);
	take_whole(&simd);
	same(&want, &simd);
	take_pieces(&pieces, data[1] ? data[1] : SIZE_MAX, &limits);
	same(&want, &pieces);
	free(want.seen);
	free(simd.seen);
	free(pieces.seen);
	return 0;
}
