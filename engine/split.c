/* SPDX-License-Identifier: MIT */
/*
 * Lines, and which splitter a format has.
 *
 * memchr is the hot loop, for the reader and for the processors; what ordinary records end with is no white
 * space, so whether a line is blank takes one look nearly always.
 */
#include "engine/split.h"

#include <string.h>

const struct pen_splitter *pen_splitter_of(enum pen_format format)
{
	switch (format) {
	case PEN_FORMAT_NDJSON:
	case PEN_FORMAT_LINES:
		return &pen_split_lines;
	case PEN_FORMAT_CSV:
	case PEN_FORMAT_TSV:
		return &pen_split_csv;
	case PEN_FORMAT_JSON:
	case PEN_FORMAT_FRAMES:
	case PEN_FORMAT_AUTO:
	case PEN_FORMAT_FILES:
	case PEN_FORMAT_PUTS:
	case PEN_FORMAT_COUNT:
		break;
	}
	return NULL;
}

static bool skips_blank(const struct pen_rules *rules)
{
	return rules->format == PEN_FORMAT_NDJSON;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_blank(const char *line, const char *end)
{
	while (end > line && is_space(end[-1]))
		end--;
	return end == line;
}

static bool next_line(struct pen_split *split, struct pen_record *ret)
{
	char terminator = split->rules->terminator;

	while (split->at < split->end) {
		const char *line = split->at;
		const char *lf = memchr(line, terminator, (size_t)(split->end - line));
		const char *stop = lf ? lf : split->end;
		uint32_t number = split->lines++;

		split->at = lf ? lf + 1 : split->end;
		if (lf && terminator == '\n' && stop > line && stop[-1] == '\r')
			stop--;
		if (skips_blank(split->rules) && is_blank(line, stop))
			continue;
		*ret = (struct pen_record){ .at = line, .len = (size_t)(stop - line), .line = number };
		return true;
	}
	return false;
}

static void cut_lines(const struct pen_rules *rules, uint32_t context, const char *text, size_t len, bool whole,
		      const struct pen_limits *limits, struct pen_cut *ret)
{
	const char *at = text, *end = text + (len < limits->room ? len : limits->room);
	bool all = whole && len <= limits->room;

	*ret = (struct pen_cut){ .context = context };
	while (at < end && ret->items < limits->items) {
		const char *lf = memchr(at, rules->terminator, (size_t)(end - at));

		if (!lf && !all)
			break;
		if (!skips_blank(rules) || !is_blank(at, lf ? lf : end))
			ret->items++;
		ret->lines++;
		at = lf ? lf + 1 : end;
	}
	ret->len = (size_t)(at - text);
}

static bool seek_line(struct pen_seek *seek, const char *text, size_t len, size_t *ret_len)
{
	enum { WAS_CR };
	const char *lf = memchr(text, seek->rules->terminator, len);
	bool cr;

	if (!lf) {
		seek->state[WAS_CR] = len ? text[len - 1] == '\r' : seek->state[WAS_CR];
		seek->seen += len;
		return false;
	}
	cr = lf > text ? lf[-1] == '\r' : seek->state[WAS_CR];
	seek->seen += (size_t)(lf + 1 - text);
	seek->bare = seek->seen - 1 - (cr && seek->rules->terminator == '\n');
	seek->lines = 1;
	*ret_len = (size_t)(lf + 1 - text);
	return true;
}

const struct pen_splitter pen_split_lines = { .next = next_line, .cut = cut_lines, .seek = seek_line };
