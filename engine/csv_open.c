/* SPDX-License-Identifier: MIT */
/*
 * A table is opened: dialect, header, names, key, and the JSON between the cells.
 *
 * The names are gathered in one text (struct names) while open works, and moved behind the struct pen_csv that is
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

#include "engine/csv_sniff.h"
#include "include/penstock_error.h"
#include "ring/error.h"

#define NAME_EXTRA 24u /* for a made name, or a number behind one */
#define PIECE_EXTRA 8u /* quotes, colon, comma, braces */

struct names {
	char *text;
	struct pen_csv_text *at;
	uint32_t count;
	size_t used;
	bool ended;	  /* header: its row ends within the sample */
	bool open;	  /* it ends inside quotes */
	uint32_t renamed; /* names that were empty or there already */
};

/* Room for the names in so many bytes, and for one to try. */
static int open_names(struct names *names, size_t bytes)
{
	names->at = malloc((bytes + 2) * sizeof *names->at);
	names->text = malloc(bytes + 1);
	return names->at && names->text ? 0 : -ENOMEM;
}

/* Room for as many made names, each as long as an old one and a number. */
static int grow_names(struct names *names)
{
	char *text = realloc(names->text, 2 * names->used + 2 * NAME_EXTRA * ((size_t)names->count + 1));

	if (text)
		names->text = text;
	return text ? 0 : -ENOMEM;
}

static void close_names(struct names *names)
{
	free(names->at);
	free(names->text);
}

static void add_byte(struct names *names, char c)
{
	names->text[names->used++] = c;
	names->at[names->count].len++;
}

static void begin_name(struct names *names)
{
	names->at[names->count] = (struct pen_csv_text){ .at = (uint32_t)names->used };
}

/* The cells of the row that begins the text. */
static void read_header(struct names *names, const struct pen_csv *csv, const char *text, size_t len,
			bool whole)
{
	enum csv_state state = STATE_BEGIN, was;
	size_t i;

	begin_name(names);
	for (i = 0; i < len; i++) {
		was = state;
		state = pen_csv_step(csv, was, text[i]);
		if (state == STATE_ENDED)
			break;
		if (state == STATE_BEGIN) {
			names->count++;
			begin_name(names);
		} else if (state == STATE_PLAIN) {
			if (text[i] != '\r' || (i + 1 < len && text[i + 1] != '\n'))
				add_byte(names, text[i]);
		} else if (state == STATE_QUOTED && was != STATE_BEGIN) {
			add_byte(names, text[i]);
		}
	}
	names->count++;
	names->open = state == STATE_QUOTED || state == STATE_ESCAPED;
	names->ended = state == STATE_ENDED || (whole && !names->open);
}

/* Names separated by commas. */
static void read_list(struct names *names, const char *list)
{
	begin_name(names);
	for (; *list; list++) {
		if (*list != ',') {
			add_byte(names, *list);
			continue;
		}
		names->count++;
		begin_name(names);
	}
	names->count++;
	names->ended = true;
}

static void make_name(struct names *names, uint32_t column)
{
	int n = snprintf(names->text + names->used, NAME_EXTRA, "c%u", column + 1);

	names->at[column] = (struct pen_csv_text){ (uint32_t)names->used, (uint32_t)n };
	names->used += (size_t)n;
}

static int by_text(const void *a, const void *b, void *arg)
{
	const struct names *names = arg;
	uint32_t i = *(const uint32_t *)a, k = *(const uint32_t *)b;
	const struct pen_csv_text *x = &names->at[i], *y = &names->at[k];
	int c = memcmp(names->text + x->at, names->text + y->at, x->len < y->len ? x->len : y->len);

	if (c || x->len != y->len)
		return c ? c : x->len < y->len ? -1 : 1;
	return (i > k) - (i < k);
}

static bool same(const struct names *names, uint32_t i, uint32_t k)
{
	return names->at[i].len == names->at[k].len &&
	       !memcmp(names->text + names->at[i].at, names->text + names->at[k].at, names->at[i].len);
}

/* Is the name at text[used..] one of the sorted ones? */
static bool is_taken(struct names *names, const uint32_t *sorted, uint32_t len)
{
	uint32_t low = 0, high = names->count, probe = names->count;

	names->at[probe] = (struct pen_csv_text){ (uint32_t)names->used, len };
	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (same(names, sorted[mid], probe))
			return true;
		if (by_text(&sorted[mid], &probe, names) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return false;
}

/*
 * Makes all names non-empty and distinct: an empty one becomes cN, a repeated one gets the first free number from 2
 * on. Two made names are never equal, for what stands before the last `_` differs, or the number does. The new
 * names are put in place only when all are made, since the old ones are what is searched.
 */
static int make_distinct(struct names *names)
{
	uint32_t *sorted = malloc((names->count + 1) * sizeof *sorted);
	struct pen_csv_text *made = calloc(names->count + 1, sizeof *made);
	uint32_t number = 2;

	if (!sorted || !made) {
		free(sorted);
		free(made);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < names->count; i++) {
		if (!names->at[i].len) {
			make_name(names, i);
			names->renamed++;
		}
		sorted[i] = i;
	}
	qsort_r(sorted, names->count, sizeof *sorted, by_text, names);
	for (uint32_t i = 1; i < names->count; i++) {
		const struct pen_csv_text *old = &names->at[sorted[i]];
		char *to = names->text + names->used;
		int n;

		if (!same(names, sorted[i - 1], sorted[i])) {
			number = 2;
			continue;
		}
		memcpy(to, names->text + old->at, old->len);
		do {
			n = snprintf(to + old->len, NAME_EXTRA, "_%u", number++);
		} while (is_taken(names, sorted, old->len + (uint32_t)n));
		made[sorted[i]] = names->at[names->count];
		names->used += old->len + (size_t)n;
		names->renamed++;
	}
	for (uint32_t i = 0; i < names->count; i++)
		if (made[i].len)
			names->at[i] = made[i];
	free(sorted);
	free(made);
	return 0;
}

/* Non-empty, distinct, and none looks like a value. */
static bool looks_like_header(struct names *names)
{
	uint32_t *sorted;
	bool fine = true;

	for (uint32_t i = 0; i < names->count; i++)
		if (!names->at[i].len || pen_csv_is_value(names->text + names->at[i].at, names->at[i].len))
			return false;
	sorted = malloc(names->count * sizeof *sorted);
	if (!sorted)
		return false;
	for (uint32_t i = 0; i < names->count; i++)
		sorted[i] = i;
	qsort_r(sorted, names->count, sizeof *sorted, by_text, names);
	for (uint32_t i = 1; i < names->count; i++)
		fine &= !same(names, sorted[i - 1], sorted[i]);
	free(sorted);
	return fine;
}

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

static int fail_key(const struct names *names, const char *key, struct pen_failure *why)
{
	char near[96] = "", list[480];
	size_t used = 0;
	uint32_t best = 3;
	bool full = false;

	list[0] = '\0';
	for (uint32_t i = 0; i < names->count; i++) {
		const char *name = names->text + names->at[i].at;
		uint32_t len = names->at[i].len, far = distance(key, strlen(key), name, len);

		if (far < best && far < len) {
			best = far;
			snprintf(near, sizeof near, "; did you mean '%.*s'?", (int)len, name);
		}
		if (used + len + 8 < sizeof list)
			used += (size_t)snprintf(list + used, sizeof list - used, "%s%.*s", i ? ", " : "",
						 (int)len, name);
		else if (!full)
			full = snprintf(list + used, sizeof list - used, ", ...") > 0;
	}
	for (char *p = list; *p; p++)
		*p = (uint8_t)*p < 0x20 ? '?' : *p;
	return pen_fail(why, -PEN_USAGE, 0, "there is no column '%.64s'%s The %u columns: %s", key,
			*near ? near : ".", names->count, list);
}

/* `name` or `#N`. */
static int find_key(struct pen_csv *csv, const struct names *names, const char *key, struct pen_failure *why)
{
	size_t len = key ? strlen(key) : 0;
	char *end;

	csv->key = PEN_CSV_NO_KEY;
	if (!len || *key == '@' || !names->count)
		return 0;
	for (uint32_t i = 0; i < names->count; i++) {
		if (names->at[i].len == len && !memcmp(names->text + names->at[i].at, key, len)) {
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

/* Moves the names behind the struct and makes the JSON around the cells. */
static struct pen_csv *build(const struct pen_csv *from, const struct names *names)
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
		const char *name = names->text + names->at[i].at;
		uint32_t len = names->at[i].len;

		at[i] = (struct pen_csv_text){ (uint32_t)(out - text), len };
		memcpy(out, name, len);
		out += len;
		pieces[i].at = (uint32_t)(out - text);
		out = (char *)memcpy(out, i ? "\",\"" : "{\"", i ? 3 : 2) + (i ? 3 : 2);
		out = pen_csv_put_json(out, name, len);
		out = (char *)memcpy(out, "\":\"", 3) + 3;
		pieces[i].len = (uint32_t)(out - text) - pieces[i].at;
		csv->row_extra += pieces[i].len;
	}
	pieces[names->count] = (struct pen_csv_text){ (uint32_t)(out - text), 2 };
	memcpy(out, "\"}", 2);
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

static void say(struct pen_csv *csv, const struct csv_guess *guess, const struct names *names)
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
		      struct names *names, const char *text, size_t len, bool whole, struct pen_failure *why)
{
	bool given = opt->header == PEN_HEADER_NAMES;
	int rc;

	if (given)
		read_list(names, opt->header_names);
	else if (len)
		read_header(names, csv, text, len, whole);
	if (!given && len && !names->ended)
		return pen_fail(
			why, -PEN_USAGE, 0,
			"the first row does not end within %zu bytes%s: give the column names with --header",
			len, names->open ? " (a quoted cell is not closed)" : "");
	csv->header = !given && len && opt->header != PEN_HEADER_NO &&
		      (opt->header == PEN_HEADER_YES || looks_like_header(names));
	if (csv->header)
		skip_header(csv, text, len);
	else if (!given)
		names->count = len ? guess->columns : 0;
	rc = grow_names(names);
	if (rc)
		return rc;
	if (!given && !csv->header) {
		for (uint32_t i = 0; i < names->count; i++)
			make_name(names, i);
	}
	return names->count ? make_distinct(names) : 0;
}

static int check_utf8(const struct pen_csv *csv, const struct names *names, struct pen_failure *why)
{
	for (uint32_t i = 0; csv->json && i < names->count; i++)
		if (pen_csv_bad_utf8(names->text + names->at[i].at, names->at[i].len))
			return pen_fail(why, -PEN_JSON_UTF8, 0, "the name of column %u is not valid UTF-8",
					i + 1);
	return 0;
}

int pen_csv_open(const struct pen_csv_options *opt, const char *sample, size_t len, bool whole,
		 struct pen_csv **ret, struct pen_failure *why)
{
	struct pen_csv csv = { 0 };
	struct csv_guess guess;
	struct names names = { 0 };
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
		rc = open_names(&names, len > list ? len : list);
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
	close_names(&names);
	return rc;
}
