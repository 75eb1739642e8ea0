/* SPDX-License-Identifier: MIT */
/*
 * Where rows end, as the pipeline asks for it.
 *
 * Every question begins at a row's beginning, so there is nothing to know about what lies before it, with one
 * exception: where a lone CR ends rows, a LF that comes next belongs to it. When a text ends between the two, the
 * context BEHIND_CR says so, and the next text passes over the LF. A source may end there: nothing is missing, and an
 * empty text has no record.
 */
#include <stdlib.h>

#include "engine/csv_scan.h"
#include "include/penstock_error.h"

enum context { BEGINNING, BEHIND_CR };

/* The LF of a CRLF that was cut in two, at the front of the text. */
static bool has_half_end(uint32_t context, const char *text, size_t len)
{
	return context == BEHIND_CR && len && *text == '\n';
}

/* Where a row that is not closed shows it: the quote that opened its last cell. */
static uint32_t open_column(const struct pen_csv *csv, const char *row, size_t len)
{
	enum csv_state state = STATE_BEGIN, was;
	size_t opened = 0;

	for (size_t i = 0; i < len; i++) {
		was = state;
		state = pen_csv_step(csv, state, row[i]);
		if (was == STATE_BEGIN && state == STATE_QUOTED)
			opened = i;
	}
	return opened < UINT32_MAX ? (uint32_t)opened + 1 : 0;
}

static bool next_row(struct pen_split *split, struct pen_record *ret)
{
	const struct pen_csv *csv = split->rules->csv;

	if (has_half_end(split->context, split->at, (size_t)(split->end - split->at)))
		split->at++;
	split->context = BEGINNING;
	while (split->at < split->end) {
		const char *row = split->at;
		size_t left = (size_t)(split->end - row), at = left;
		struct csv_place place = { 0 };
		bool ended = csv->scan->find(csv, &place, row, left, &at);
		size_t bare = place.open ? at : csv_bare(csv, row, at);

		*ret = (struct pen_record){ .at = row, .len = bare, .line = split->lines };
		split->lines += place.lines + !ended;
		split->at = row + at + ended;
		if (ended && row[at] == '\r' && split->at < split->end && *split->at == '\n')
			split->at++;
		if (place.open) {
			ret->code = -PEN_CSV_OPEN;
			ret->column = open_column(csv, row, bare);
		}
		if (bare)
			return true;
	}
	return false;
}

static void cut_rows(const struct pen_rules *rules, uint32_t context, const char *text, size_t len,
		     bool whole, const struct pen_limits *limits, struct pen_cut *ret)
{
	const struct pen_csv *csv = rules->csv;
	bool half = has_half_end(context, text, len);
	struct pen_limits rest = *limits;

	if (half && rest.room != SIZE_MAX)
		rest.room -= rest.room > 0;
	csv->scan->cut(csv, text + half, len - half, whole, &rest, ret);
	ret->len += half;
	if (!ret->len)
		ret->context = context;
}

static bool seek_row(struct pen_seek *seek, const char *text, size_t len, size_t *ret_len)
{
	enum { WAS_CR = 3 };
	const struct pen_csv *csv = seek->rules->csv;
	struct csv_place place = { .inner = { seek->state[0], seek->state[1], seek->state[2] } };
	size_t lead = !seek->seen && has_half_end(seek->context, text, len), at, used;

	seek->lead += lead;
	if (!csv->scan->find(csv, &place, text + lead, len - lead, &at)) {
		for (int i = 0; i < WAS_CR; i++)
			seek->state[i] = place.inner[i];
		if (len)
			seek->state[WAS_CR] = text[len - 1] == '\r';
		seek->lines += place.lines;
		seek->seen += len;
		return false;
	}
	at += lead;
	used = at + 1;
	seek->bare = seek->seen + at - seek->lead;
	if (!csv->lone_cr)
		seek->bare -= at > lead ? text[at - 1] == '\r' : seek->state[WAS_CR];
	else if (text[at] == '\r' && used < len && text[used] == '\n')
		used++;
	seek->context = csv->lone_cr && text[used - 1] == '\r' ? BEHIND_CR : BEGINNING;
	seek->lines += place.lines;
	seek->seen += used;
	*ret_len = used;
	return true;
}

const struct pen_splitter pen_split_csv = { .next = next_row, .cut = cut_rows, .seek = seek_row };

uint64_t pen_csv_bound(const struct pen_csv *csv, const char *text, size_t len, uint64_t rows)
{
	return csv->json ? len + rows * csv->row_extra + csv->scan->extra(csv, text, len) : 0;
}

struct pen_csv *pen_csv_ref(struct pen_csv *csv)
{
	csv->refs++;
	return csv;
}

void pen_csv_unref(struct pen_csv *csv)
{
	if (csv && !--csv->refs)
		free(csv);
}
