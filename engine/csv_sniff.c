/* SPDX-License-Identifier: MIT */
/*
 * The dialect of a table.
 *
 *	1. do lone CRs end rows? (only where no LF stands outside quotes)
 *	2. delimiter: , ; tab | in this order; : ~ ^ and space only where those find no table and all rows agree
 *	3. quote: " unless ' quotes more and better, or none where most cells that begin with " never close
 *	4. escape: a doubled quote, unless the sample has \" and reads better with it
 *
 * A dialect is as good as the share of its rows that have the most frequent number of cells (squared, so that
 * agreement counts more than width), with a discount for rows whose quotes do not fit and for cells that still
 * have delimiters in them. That discount is what tells `1,5;2,5` from three cells `1`, `5;2`, `5`.
 *
 * Leading rows that are narrower than the rest are a preamble: titles and remarks. A wider first row is none: it is
 * the header of a table whose rows lack cells.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/csv_sniff.h"

/* So many rows at least must misuse quotes before they are taken for text. */
#define BAD_QUOTES 3u
#define FLAWED (1u << 31) /* in widths: a bad row is no preamble, it must not vanish */

struct measure {
	uint32_t rows, mode, fit; /* fit: rows with `mode` cells */
	uint32_t flawed;	  /* text behind a closing quote, or never closed */
	uint32_t cells, clean, quoted;
	uint32_t lead; /* narrower rows in front */
	double score;
};

/* The sample, and room to count in: widths[row], and how many rows have each width. */
struct sample {
	const char *text;
	size_t len;
	bool whole;
	uint32_t *widths, *frequency;
};

/* One row while it is read. */
struct reading {
	enum csv_state state;
	size_t row, cell; /* where they begin */
	uint32_t width, quoted;
	bool flawed, comma, foreign;
};

static void end_cell(struct measure *m, struct reading *r, const struct pen_csv *csv, const struct sample *s,
		     size_t at)
{
	bool quoted = csv->quoted && r->cell < at && s->text[r->cell] == (char)csv->quote;
	bool odd = r->foreign || (r->comma && !pen_csv_is_number(s->text + r->cell, at - r->cell));

	m->cells++;
	m->clean += quoted || !odd;
	r->quoted += quoted;
	r->width++;
	r->cell = at + 1;
	r->comma = r->foreign = false;
}

static void end_row(struct measure *m, struct reading *r, const struct sample *s, size_t at)
{
	s->widths[m->rows++] = r->width | (r->flawed ? FLAWED : 0);
	m->flawed += r->flawed;
	m->quoted += r->quoted;
	*r = (struct reading){ .row = at + 1, .cell = at + 1 };
}

static void read_rows(struct measure *m, const struct pen_csv *csv, const struct sample *s)
{
	struct reading r = { .state = STATE_BEGIN };

	for (size_t i = 0; i < s->len; i++) {
		enum csv_state was = r.state;
		char c = s->text[i];

		r.state = pen_csv_step(csv, was, c);
		if (r.state == STATE_BEGIN) {
			end_cell(m, &r, csv, s, i);
		} else if (r.state == STATE_ENDED) {
			size_t stop = r.row + csv_bare(csv, s->text + r.row, i - r.row);

			r.state = STATE_BEGIN;
			if (stop == r.row) {
				r.row = r.cell = i + 1;
				continue;
			}
			end_cell(m, &r, csv, s, stop);
			end_row(m, &r, s, i);
		} else if (r.state == STATE_PLAIN) {
			bool cr = c == '\r' && (i + 1 == s->len || s->text[i + 1] == '\n');

			r.flawed |= was == STATE_AFTER && !cr;
			r.comma |= c == ',';
			r.foreign |= c == ';' || c == '\t' || c == '|';
		}
	}
	if (r.row == s->len)
		return;
	r.flawed |= r.state == STATE_QUOTED || r.state == STATE_ESCAPED;
	if (s->whole) {
		end_cell(m, &r, csv, s, s->len);
		end_row(m, &r, s, s->len);
	} else if (r.flawed && s->len - r.row > s->len / 2) {
		m->flawed += 1 + m->rows / 2; /* half the sample in one cell: hardly */
	}
}

static void find_mode(struct measure *m, const struct sample *s)
{
	memset(s->frequency, 0, (s->len + 2) * sizeof *s->frequency);
	for (uint32_t i = 0; i < m->rows; i++) {
		uint32_t width = s->widths[i] & ~FLAWED, n = ++s->frequency[width];

		if (n > m->fit || (n == m->fit && width > m->mode)) {
			m->fit = n;
			m->mode = width;
		}
	}
	if (m->fit == 1)
		m->mode = s->widths[0] & ~FLAWED;
	while (m->fit > 1 && m->lead < m->rows && s->widths[m->lead] < m->mode)
		m->lead++;
	if (m->lead == m->rows || 2 * m->fit < m->rows - m->lead)
		m->lead = 0;
}

static void take_measure(struct measure *m, const struct pen_csv *csv, const struct sample *s)
{
	double share, fine;

	*m = (struct measure){ 0 };
	read_rows(m, csv, s);
	if (!m->rows)
		return;
	find_mode(m, s);
	share = (double)m->fit / (m->rows - m->lead / 2.0);
	fine = m->flawed < m->rows ? 1 - (double)m->flawed / m->rows : 0;
	m->score = share * share * (m->mode > 1 ? 1 - 1.0 / m->mode : 0.001) * (0.1 + 0.9 * fine * fine) *
		   (0.2 + 0.8 * m->clean / (double)m->cells);
}

/* Does LF end no row, but CR? Quotes are all that is known of the dialect. */
static bool ends_with_cr(const struct sample *s, bool has_quote, char quote)
{
	bool inside = false, found = false;

	for (size_t i = 0; i < s->len; i++) {
		char c = s->text[i];

		inside ^= has_quote && c == quote;
		if (inside)
			continue;
		if (c == '\n')
			return false;
		found |= c == '\r' && (i + 1 < s->len || s->whole);
	}
	return found;
}

/* Tries a dialect; true: it is better than the best so far, and *csv remains it. */
static bool try(struct pen_csv *csv, const struct pen_csv *next, const struct sample *s, struct measure *best,
		double margin)
{
	struct pen_csv dialect = *next;
	struct measure m;

	pen_csv_settle(&dialect);
	take_measure(&m, &dialect, s);
	if (m.score <= best->score * margin)
		return false;
	*csv = dialect;
	*best = m;
	return true;
}

/* Is one of the first lines as a whole a time or an address? A column of these is no table. */
static bool has_values(const struct sample *s)
{
	const char *at = s->text, *end = at + s->len;

	for (int i = 0; i < 8 && at < end; i++) {
		const char *stop = at;

		while (stop < end && *stop != '\n' && *stop != '\r')
			stop++;
		if (pen_csv_is_value(at, (size_t)(stop - at)))
			return true;
		at = stop + 1;
	}
	return false;
}

static void find_delimiter(struct pen_csv *csv, const struct sample *s, struct measure *best)
{
	static const char common[] = { ',', ';', '\t', '|' }, rare[] = { ':', '~', '^', ' ' };
	struct pen_csv next = *csv, found;
	struct measure m;

	for (size_t i = 0; i < sizeof common; i++) {
		next.delimiter = (uint8_t)common[i];
		try(csv, &next, s, best, 1);
	}
	if (best->mode > 1)
		return;
	for (size_t i = 0; i < sizeof rare; i++) {
		bool prose = rare[i] == ' ' || rare[i] == ':';

		next.delimiter = (uint8_t)rare[i];
		m = (struct measure){ 0 };
		if (!try(&found, &next, s, &m, 1) || m.fit < m.rows || m.rows < 3 || m.mode < (prose ? 3 : 2))
			continue;
		if (prose && has_values(s))
			continue;
		*csv = found;
		*best = m;
		return;
	}
}

/* ' quotes where it finds quoted cells that fit, and " finds none. */
static void find_quote(struct pen_csv *csv, int delimiter, const struct sample *s, struct measure *best)
{
	struct pen_csv next = *csv, found;
	struct measure m = { 0 };

	if (!memchr(s->text, '\'', s->len))
		return;
	next.quote = '\'';
	if (delimiter)
		try(&found, &next, s, &m, 1);
	else
		find_delimiter(&next, s, &m), found = next;
	if (m.quoted < 2 || m.flawed || m.score < best->score ||
	    (best->quoted && m.score < best->score * 1.1))
		return;
	*csv = found;
	*best = m;
}

static void find_rest(struct pen_csv *csv, const struct pen_csv_options *opt, const struct sample *s,
		      struct measure *best)
{
	struct pen_csv next;
	const char pair[2] = { '\\', (char)csv->quote };

	if (!opt->escape && memmem(s->text, s->len, pair, sizeof pair)) {
		next = *csv;
		next.doubled = false;
		next.escaped = true;
		next.escape = '\\';
		try(csv, &next, s, best, 1);
	}
	if (!opt->quote && best->flawed >= BAD_QUOTES && 2 * best->flawed > best->quoted) {
		next = *csv;
		next.quoted = next.doubled = next.escaped = false;
		try(csv, &next, s, best, 1);
	}
}

/* Where the first row behind the preamble begins. */
static void find_skip(const struct pen_csv *csv, const struct sample *s, struct csv_guess *ret)
{
	uint32_t rows = 0;

	for (size_t at = 0; at < s->len;) {
		struct csv_place place = { 0 };
		size_t stop = s->len - at;
		bool ended = pen_csv_scalar.find(csv, &place, s->text + at, stop, &stop);

		if (csv_bare(csv, s->text + at, stop) && rows++ == ret->preamble)
			return;
		if (!ended)
			return;
		at += stop + 1;
		if (s->text[at - 1] == '\r' && at < s->len && s->text[at] == '\n')
			at++;
		ret->skip = at;
		ret->lines += place.lines;
	}
}

static void sniff(struct pen_csv *csv, const struct pen_csv_options *opt, const struct sample *s,
		  struct csv_guess *ret)
{
	int delimiter = opt->delimiter ? opt->delimiter : opt->format == PEN_FORMAT_TSV ? '\t' : 0;
	struct pen_csv start;
	struct measure best = { 0 };

	csv->quoted = opt->quote != PEN_CSV_NONE;
	csv->quote = (uint8_t)(opt->quote > 0 ? opt->quote : '"');
	csv->escaped = csv->quoted && opt->escape > 0 && opt->escape != csv->quote;
	csv->escape = (uint8_t)(csv->escaped ? opt->escape : 0);
	csv->doubled = csv->quoted && !csv->escaped && opt->escape != PEN_CSV_NONE;
	csv->lone_cr = ends_with_cr(s, csv->quoted, (char)csv->quote);
	csv->delimiter = (uint8_t)(delimiter ? delimiter : ',');
	pen_csv_settle(csv);
	start = *csv;
	if (delimiter)
		try(csv, &start, s, &best, 1);
	else
		find_delimiter(csv, s, &best);
	if (!opt->quote)
		find_quote(csv, delimiter, s, &best);
	if (csv->quoted)
		find_rest(csv, opt, s, &best);
	ret->rows = best.rows - best.lead;
	ret->columns = best.mode;
	ret->preamble = best.lead;
	find_skip(csv, s, ret);
}

int pen_csv_sniff(struct pen_csv *csv, const struct pen_csv_options *opt, const char *sample, size_t len,
		  bool whole, struct csv_guess *ret)
{
	struct sample s = { .text = sample, .len = len, .whole = whole };

	s.widths = malloc(2 * (len + 2) * sizeof *s.widths);
	if (!s.widths)
		return -ENOMEM;
	s.frequency = s.widths + len + 2;
	*ret = (struct csv_guess){ 0 };
	sniff(csv, opt, &s, ret);
	free(s.widths);
	return 0;
}
