/* SPDX-License-Identifier: MIT */
/*
 * A table is opened: dialect, header, names, key, and the JSON between the cells.
 *
 * The names are gathered in one text (struct csv_names) while open works, and moved behind the struct pen_csv that is
 * given away, one block for one free.
 *
 * Fails where going on would make every record wrong: options that contradict each other, a key column that is not
 * there, a header whose end the sample does not show. Everything else is a choice, and said.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/csv_names.h"
#include "engine/csv_sniff.h"
#include "include/penstock_error.h"
#include "ring/error.h"

#define PIECE_EXTRA 8u /* quotes, colon, comma, braces */

/* ---- options ---- */

static bool is_fine_byte(int byte)
{
	return byte > 0 && byte < 0x80 && byte != '\n' && byte != '\r';
}

static int check_options(const struct pen_csv_options *opt, struct pen_failure *why)
{
	const struct {
		const char *name;
		int byte;
		bool may_be_none;
	} bytes[] = { { "delimiter", opt->delimiter, false },
		      { "quote", opt->quote, true },
		      { "escape", opt->escape, true } };
	int quote = opt->quote ? opt->quote : '"';

	for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++) {
		if (!bytes[i].byte || is_fine_byte(bytes[i].byte) ||
		    (bytes[i].may_be_none && bytes[i].byte == PEN_CSV_NONE))
			continue;
		return pen_fail(why, -PEN_USAGE, 0, "the %s must be one ASCII character, and no line end",
				bytes[i].name);
	}
	if (opt->delimiter && (opt->delimiter == quote || opt->delimiter == opt->escape))
		return pen_fail(why, -PEN_USAGE, 0, "delimiter and %s cannot both be '%c'",
				opt->delimiter == quote ? "quote" : "escape", opt->delimiter);
	if (opt->header == PEN_HEADER_NAMES && (!opt->header_names || !*opt->header_names))
		return pen_fail(why, -PEN_USAGE, 0, "no column names are given");
	return 0;
}

/* ---- the key ---- */

/* Steps from one word to the other, up to a small bound; case counts half a step and is forgiven. */
static uint32_t distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	enum { LONGEST = 48 };
	uint32_t row[LONGEST + 1], left, up;

	if (a_len > LONGEST || b_len > LONGEST)
		return LONGEST;
	for (uint32_t k = 0; k <= b_len; k++)
		row[k] = k;
	for (size_t i = 1; i <= a_len; i++) {
		left = row[0];
		row[0] = (uint32_t)i;
		for (size_t k = 1; k <= b_len; k++) {
			bool equal = !strncasecmp(a + i - 1, b + k - 1, 1);
			uint32_t best = left + !equal;

			up = row[k];
			best = best < up + 1 ? best : up + 1;
			row[k] = best < row[k - 1] + 1 ? best : row[k - 1] + 1;
			left = up;
		}
	}
	return row[b_len];
}

/* As much of a name as a sentence bears: whole characters, none of them a control character. */
static int show_name(char *out, size_t cap, const char *name, size_t len)
{
	enum { LONGEST = 48 };
	int n = (int)len;

	if (len > LONGEST) {
		n = LONGEST;
		while (n && ((uint8_t)name[n] & 0xc0) == 0x80)
			n--;
	}
	n = snprintf(out, cap, "%.*s%s", n, name, len > LONGEST ? "..." : "");
	for (char *p = out; *p; p++)
		*p = (uint8_t)*p < 0x20 ? '?' : *p;
	return n;
}

static int fail_key(const struct csv_names *names, const char *key, struct pen_failure *why)
{
	char near[64] = "", list[480], word[64];
	size_t used = 0;
	uint32_t best = 3;

	list[0] = '\0';
	for (uint32_t i = 0; i < names->count; i++) {
		uint32_t len = names->at[i].len, far = distance(key, strlen(key), csv_name(names, i), len);
		int n = show_name(word, sizeof word, csv_name(names, i), len);

		if (far < best && far < len) {
			best = far;
			memcpy(near, word, sizeof near);
		}
		if (used + (size_t)n + 8 < sizeof list)
			used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "",
						 word);
		else if (used < sizeof list)
			used = sizeof list + (size_t)snprintf(list + used, sizeof list - used, ", ...");
	}
	return pen_fail(why, -PEN_USAGE, 0, "there is no column '%.64s'%s%s%s The columns: %s", key,
			*near ? "; did you mean '" : ".", near, *near ? "'?" : "", list);
}

/* `name` or `#N`. */
static int find_key(struct pen_csv *csv, const struct csv_names *names, const char *key,
		    struct pen_failure *why)
{
	size_t len = key ? strlen(key) : 0;
	char *end;

	csv->key = PEN_CSV_NO_KEY;
	if (!len || *key == '@' || !names->count)
		return 0;
	for (uint32_t i = 0; i < names->count; i++) {
		if (names->at[i].len == len && !memcmp(csv_name(names, i), key, len)) {
			csv->key = i;
			return 0;
		}
	}
	if (*key == '#' && key[1] >= '0' && key[1] <= '9') {
		unsigned long long number = strtoull(key + 1, &end, 10);

		if (!*end && number >= 1 && number <= names->count) {
			csv->key = (uint32_t)number - 1;
			return 0;
		}
	}
	return fail_key(names, key, why);
}

/* ---- what is given away ---- */

static char *append(char *out, const char *piece)
{
	while (*piece)
		*out++ = *piece++;
	return out;
}

/* Moves the names behind the struct and makes the JSON around the cells. */
static struct pen_csv *build(const struct pen_csv *from, const struct csv_names *names)
{
	size_t tables = (2 * (size_t)names->count + 1) * sizeof(struct pen_csv_text), bytes = 0;
	struct pen_csv_text *at, *pieces;
	struct pen_csv *csv;
	char *text, *out;

	for (uint32_t i = 0; i < names->count; i++)
		bytes += 7 * (size_t)names->at[i].len + PIECE_EXTRA;
	csv = calloc(1, sizeof *csv + tables + bytes + PIECE_EXTRA + PEN_JSON_PADDING);
	if (!csv)
		return NULL;
	*csv = *from;
	csv->refs = 1;
	csv->columns = names->count;
	at = (struct pen_csv_text *)(void *)(csv + 1);
	pieces = at + names->count;
	out = text = (char *)(pieces + names->count + 1);
	for (uint32_t i = 0; i < names->count; i++) {
		const char *name = csv_name(names, i);
		uint32_t len = names->at[i].len;

		at[i] = (struct pen_csv_text){ (uint32_t)(out - text), len };
		memcpy(out, name, len);
		out += len;
		pieces[i].at = (uint32_t)(out - text);
		out = append(out, i ? "\",\"" : "{\"");
		out = pen_csv_put_json(out, name, len);
		out = append(out, "\":\"");
		pieces[i].len = (uint32_t)(out - text) - pieces[i].at;
		csv->row_extra += pieces[i].len;
	}
	pieces[names->count] = (struct pen_csv_text){ (uint32_t)(out - text), 2 };
	append(out, "\"}");
	csv->row_extra += 2;
	csv->names = at;
	csv->pieces = pieces;
	csv->text = text;
	return csv;
}

/* One byte of the dialect, for people. */
static const char *show(char out[8], uint8_t byte)
{
	if (byte == '\t')
		return "tab";
	if (byte == ' ')
		return "space";
	snprintf(out, 8, byte < 0x20 || byte == 0x7f ? "0x%02x" : "'%c'", byte);
	return out;
}

static void say(struct pen_csv *csv, const struct csv_guess *guess, const struct csv_names *names)
{
	char byte[8];
	size_t n = 0, cap = sizeof csv->said;

	n += (size_t)snprintf(csv->said, cap, "delimiter %s, ", show(byte, csv->delimiter));
	if (csv->quoted)
		n += (size_t)snprintf(csv->said + n, cap - n, "quote %s, ", show(byte, csv->quote));
	else
		n += (size_t)snprintf(csv->said + n, cap - n, "no quotes, ");
	if (csv->escaped)
		n += (size_t)snprintf(csv->said + n, cap - n, "escape %s, ", show(byte, csv->escape));
	if (csv->lone_cr)
		n += (size_t)snprintf(csv->said + n, cap - n, "rows end with CR, ");
	n += (size_t)snprintf(csv->said + n, cap - n, "%s %u column%s",
			      csv->header ? "header with" : "no header,", csv->columns,
			      csv->columns == 1 ? "" : "s");
	if (guess->preamble)
		n += (size_t)snprintf(csv->said + n, cap - n, ", %u line%s of preamble skipped", guess->lines,
				      guess->lines == 1 ? "" : "s");
	if (names->renamed)
		snprintf(csv->said + n, cap - n, ", %u empty or repeated name%s replaced", names->renamed,
			 names->renamed == 1 ? "" : "s");
}

/* Passes over the header: its row, and the line ends in it. */
static void skip_header(struct pen_csv *csv, const char *text, size_t len)
{
	struct csv_place place = { 0 };
	size_t at = len;
	bool ended = pen_csv_scalar.find(csv, &place, text, len, &at);

	at += ended;
	if (ended && text[at - 1] == '\r' && at < len && text[at] == '\n')
		at++;
	csv->skip += at;
	csv->skip_lines += place.lines + !ended;
}

/* Names from the options, the first row, or made. text: from the first row on. */
static int find_names(struct pen_csv *csv, const struct pen_csv_options *opt, const struct csv_guess *guess,
		      struct csv_names *names, const char *text, size_t len, bool whole,
		      struct pen_failure *why)
{
	bool given = opt->header == PEN_HEADER_NAMES;

	if (given)
		pen_csv_names_list(names, opt->header_names);
	else if (len)
		pen_csv_names_read(names, csv, text, len, whole);
	if (!given && len && !names->ended && !whole)
		return pen_fail(
			why, -PEN_USAGE, 0,
			"the first row does not end within %zu bytes%s: give the column names with --header",
			len, names->open ? " (a quoted cell is not closed)" : "");
	/* A first row that is one unclosed quote to the end is no header, but a reject like any other. */
	csv->header = !given && len && names->ended && opt->header != PEN_HEADER_NO &&
		      (opt->header == PEN_HEADER_YES ||
		       (names->count >= guess->columns && pen_csv_names_fit(names)));
	if (csv->header)
		skip_header(csv, text, len);
	else if (!given)
		names->count = len ? guess->columns : 0;
	return pen_csv_names_finish(names, !given && !csv->header);
}

static int check_utf8(const struct pen_csv *csv, const struct csv_names *names, struct pen_failure *why)
{
	for (uint32_t i = 0; csv->json && i < names->count; i++)
		if (pen_csv_bad_utf8(csv_name(names, i), names->at[i].len))
			return pen_fail(why, -PEN_JSON_UTF8, 0, "the name of column %u is not valid UTF-8",
					i + 1);
	return 0;
}

int pen_csv_open(const struct pen_csv_options *opt, const char *sample, size_t len, bool whole,
		 struct pen_csv **ret, struct pen_failure *why)
{
	struct pen_csv csv = { 0 };
	struct csv_guess guess;
	struct csv_names names = { 0 };
	size_t list = opt->header == PEN_HEADER_NAMES && opt->header_names ? strlen(opt->header_names) : 0;
	int rc = check_options(opt, why);

	if (rc)
		return rc;
	if (len > PEN_CSV_SAMPLE) {
		len = PEN_CSV_SAMPLE;
		whole = false;
	}
	csv.skip = len >= 3 && !memcmp(sample, "\xef\xbb\xbf", 3) ? 3 : 0;
	csv.json = opt->value != PEN_VALUE_RAW;
	sample += csv.skip;
	len -= csv.skip;
	rc = pen_csv_sniff(&csv, opt, sample, len, whole, &guess);
	if (!rc)
		rc = pen_csv_names_init(&names, len > list ? len : list);
	if (!rc) {
		csv.skip += guess.skip;
		csv.skip_lines = guess.lines;
		rc = find_names(&csv, opt, &guess, &names, sample + guess.skip, len - guess.skip, whole, why);
	}
	if (!rc)
		rc = check_utf8(&csv, &names, why);
	if (!rc)
		rc = find_key(&csv, &names, opt->key, why);
	if (!rc) {
		csv.columns = names.count;
		say(&csv, &guess, &names);
		*ret = build(&csv, &names);
		rc = *ret ? 0 : -ENOMEM;
	}
	pen_csv_names_fini(&names);
	return rc;
}
