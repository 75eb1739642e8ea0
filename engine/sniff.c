/* SPDX-License-Identifier: MIT */
#include "engine/sniff.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/csv.h"
#include "engine/json.h"

#define ROWS_MIN 2   /* fewer say nothing about columns */
#define LOG_STAMP 16 /* no line of a log is JSON for so many bytes */

struct line {
	const char *at;
	size_t len;
	bool whole; /* its end is in the sample */
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The next line with something on it; its leading blanks are left off. */
static bool next_line(const char **at, const char *end, bool all, struct line *ret)
{
	const char *lf;

	while (*at < end && is_blank(**at))
		(*at)++;
	if (*at == end)
		return false;
	lf = memchr(*at, '\n', (size_t)(end - *at));
	*ret = (struct line){ .at = *at, .len = (size_t)((lf ? lf : end) - *at), .whole = lf || all };
	*at = lf ? lf + 1 : end;
	return true;
}

/* Does the name end so, perhaps with a packer's ending behind it? */
static bool is_named(const char *name, const char *suffix)
{
	static const char *const packed[] = { "", ".gz", ".zst", ".bgz", ".gzip", ".zstd" };
	size_t n = strlen(name), k = strlen(suffix);

	for (size_t i = 0; i < sizeof packed / sizeof packed[0]; i++) {
		size_t p = strlen(packed[i]);

		if (n > k + p && !strcasecmp(name + n - p, packed[i]) &&
		    !strncasecmp(name + n - p - k, suffix, k))
			return true;
	}
	return false;
}

static bool holds_objects(const struct line *array)
{
	const char *at = array->at + 1;

	while (at < array->at + array->len && is_blank(*at))
		at++;
	return at < array->at + array->len && *at == '{';
}

/* The first line begins with a brace or bracket. */
static enum pen_format json(const struct pen_sniff *s, const struct line *first, const char *rest,
			    const char *end)
{
	struct pen_json_flaw flaw = { 0 };
	bool valid = pen_json_valid(first->at, first->len, &flaw);
	struct line second;
	bool more = next_line(&rest, end, s->whole, &second);

	if (is_named(s->name, ".ndjson") || is_named(s->name, ".jsonl"))
		return PEN_FORMAT_NDJSON;
	/* One array, or arrays of objects one after another. Arrays of anything else, a line each, are records. */
	if (valid && *first->at == '[' && first->whole && (!more || holds_objects(first)))
		return PEN_FORMAT_JSON;
	if (valid)
		return PEN_FORMAT_NDJSON;
	if (flaw.code == -PEN_JSON_CUT && *first->at == '[')
		return PEN_FORMAT_JSON;
	if (flaw.code == -PEN_JSON_CUT && first->whole && more && *second.at != '{')
		return PEN_FORMAT_JSON;
	if (*first->at == '{')
		return PEN_FORMAT_NDJSON;
	/* "[2024-05-01 12:00] started" is a line of a log; what is JSON for longer than that has a bad element. */
	return flaw.at >= LOG_STAMP || (first->len > 1 && strchr("[{\"", first->at[1])) ? PEN_FORMAT_JSON
											: PEN_FORMAT_LINES;
}

/* Is every row of the sample as wide as its header? */
static bool rows_fit(const struct pen_sniff *s, const struct pen_csv *csv, char *out)
{
	const struct pen_rules rules = { .format = PEN_FORMAT_CSV, .csv = csv };
	struct pen_split split = { .rules = &rules, .at = s->text + csv->skip, .end = s->text + s->len };
	struct pen_csv_taken taken = { .out = out };
	struct pen_record row;
	unsigned rows = 0;

	while (pen_split_csv.next(&split, &row)) {
		if (split.at == split.end && !s->whole)
			break; /* perhaps cut by the sample's end */
		if (row.code || pen_csv_take(csv, row.at, row.len, &taken))
			return false;
		rows++;
	}
	return rows >= ROWS_MIN;
}

static bool table(const struct pen_sniff *s, enum pen_format *ret)
{
	struct pen_csv_options opt = { .format = PEN_FORMAT_CSV };
	struct pen_csv *csv;
	bool fits;
	char *out;

	if (pen_csv_open(&opt, s->text, s->len, s->whole, &csv, NULL))
		return false;
	out = malloc(pen_csv_bound(csv, s->text, s->len, 1) + PEN_JSON_PADDING);
	fits = out && csv->header && csv->columns > 1 && strchr(",;|\t", csv->delimiter) &&
	       csv->skip <= s->len && rows_fit(s, csv, out);
	*ret = csv->delimiter == '\t' ? PEN_FORMAT_TSV : PEN_FORMAT_CSV;
	free(out);
	pen_csv_unref(csv);
	return fits;
}

enum pen_format pen_sniff_format(const struct pen_sniff *s)
{
	const char *at = s->text, *end = s->text + s->len;
	struct pen_json_flaw flaw;
	enum pen_format format;
	struct line first;

	if (is_named(s->name, ".csv"))
		return PEN_FORMAT_CSV;
	if (is_named(s->name, ".tsv") || is_named(s->name, ".tab"))
		return PEN_FORMAT_TSV;
	if (s->len >= 3 && !memcmp(at, "\xef\xbb\xbf", 3))
		at += 3;
	if (!next_line(&at, end, s->whole, &first))
		return PEN_FORMAT_NDJSON;
	if (*first.at == '{' || *first.at == '[')
		return json(s, &first, at, end);
	if (table(s, &format))
		return format;
	if (s->column)
		return PEN_FORMAT_CSV;
	if (s->fields || is_named(s->name, ".ndjson") || is_named(s->name, ".jsonl"))
		return PEN_FORMAT_NDJSON;
	return first.whole && pen_json_valid(first.at, first.len, &flaw) ? PEN_FORMAT_NDJSON
									 : PEN_FORMAT_LINES;
}
