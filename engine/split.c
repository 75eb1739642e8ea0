/* SPDX-License-Identifier: MIT */
#include "engine/split.h"

#include <string.h>

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Ends of ordinary records are no white space, so one look decides nearly always. */
static bool is_blank(const char *line, const char *end)
{
	while (end > line && is_space(end[-1]))
		end--;
	return end == line;
}

bool pen_split_next(struct pen_split *split, const char **ret, size_t *ret_len, uint32_t *ret_line)
{
	while (split->at < split->end) {
		const char *line = split->at;
		const char *lf = memchr(line, '\n', (size_t)(split->end - line));
		const char *stop = lf ? lf : split->end;
		uint32_t number = split->lines++;

		split->at = lf ? lf + 1 : split->end;
		if (lf && stop > line && stop[-1] == '\r')
			stop--;
		if (split->skip_blank && is_blank(line, stop))
			continue;
		*ret = line;
		*ret_len = (size_t)(stop - line);
		*ret_line = number;
		return true;
	}
	return false;
}

struct pen_cut pen_split_cut(const char *text, size_t len, bool skip_blank, bool whole, uint32_t max_items)
{
	struct pen_cut cut = { 0 };
	const char *at = text, *end = text + len;

	while (at < end && cut.items < max_items) {
		const char *lf = memchr(at, '\n', (size_t)(end - at));

		if (!lf && !whole)
			break;
		if (!skip_blank || !is_blank(at, lf ? lf : end))
			cut.items++;
		cut.lines++;
		at = lf ? lf + 1 : end;
	}
	cut.len = (size_t)(at - text);
	return cut;
}
