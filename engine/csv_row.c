/* SPDX-License-Identifier: MIT */
/*
 * One row: its cells, its key, its JSON object.
 *
 * Cells are copied in steps of 16 bytes up to the next byte that means something: the delimiter or the quote, and
 * what JSON does not write as it stands. Between the cells stand the pieces made by open. UTF-8 is judged once for
 * the row, for all bytes that are taken out of cells are ASCII.
 *
 * A flaw is placed at the first byte that shows it: the text behind a closing quote, the cell that is one too many,
 * the place where one is missing, the first byte of what is no sequence.
 */
#include <string.h>

#include "engine/csv_scan.h"
#include "engine/json_scan.h"
#include "include/penstock_error.h"

/* What stops a copy. */
struct stops {
	uint8_t end, escape; /* of the cell; escape == end where there is none */
#ifdef __SSE2__
	__m128i end_v, escape_v;
#endif
};

static inline struct stops stops_at(uint8_t end, uint8_t escape)
{
	return (struct stops){
		.end = end,
		.escape = escape,
#ifdef __SSE2__
		.end_v = _mm_set1_epi8((char)end),
		.escape_v = _mm_set1_epi8((char)escape),
#endif
	};
}

/* Copies the step at p; the answer: which of its bytes stop. *high gathers whether there is more than ASCII. */
static inline uint32_t copy_step(char *out, const uint8_t *p, const struct stops *s, uint32_t *high)
{
#ifdef __SSE2__
	__m128i v = load(p);
	__m128i control = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1f)), v);
	__m128i json = _mm_or_si128(control, _mm_or_si128(equal(v, '"'), equal(v, '\\')));
	__m128i ours = _mm_or_si128(_mm_cmpeq_epi8(v, s->end_v), _mm_cmpeq_epi8(v, s->escape_v));

	_mm_storeu_si128((__m128i *)(void *)out, v);
	*high |= (uint32_t)_mm_movemask_epi8(v);
	return (uint32_t)_mm_movemask_epi8(_mm_or_si128(json, ours));
#else
	uint32_t mask = 0;

	memcpy(out, p, STEP);
	for (uint32_t i = 0; i < STEP; i++) {
		mask |= (uint32_t)(p[i] < 0x20 || p[i] == '"' || p[i] == '\\' || p[i] == s->end ||
				   p[i] == s->escape)
			<< i;
		*high |= p[i] >> 7;
	}
	return mask;
#endif
}

/* The byte as JSON writes it in a string. */
static inline char *put_byte(char *out, uint8_t c)
{
	static const char hex[] = "0123456789abcdef";
	static const char letters[0x20] = {
		['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'
	};
	char letter = (char)(c < 0x20 ? letters[c] : c);

	if (c >= 0x20 && c != '"' && c != '\\') {
		*out++ = (char)c;
		return out;
	}
	*out++ = '\\';
	if (letter) {
		*out++ = letter;
		return out;
	}
	*out++ = 'u';
	*out++ = '0';
	*out++ = '0';
	*out++ = hex[c >> 4];
	*out++ = hex[c & 15];
	return out;
}

/* A piece, or a cell in steps; up to 15 bytes too many are read and written. */
static inline char *put_text(char *out, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i += STEP)
		memcpy(out + i, text + i, STEP);
	return out + len;
}

/* A row in hand. */
struct row {
	const struct pen_csv *csv;
	const uint8_t *begin, *end;
	struct pen_csv_taken *io;
	uint32_t high; /* not 0: there is more than ASCII */
	bool plain;    /* the cell in hand has no escapes */
};

static int refuse(const struct row *r, const uint8_t *at, int code)
{
	r->io->column = (size_t)(at - r->begin) + 1;
	return code;
}

/* p: a cell without quotes. Returns its end. */
static inline const uint8_t *write_plain(struct row *r, const uint8_t *p, const struct stops *s, char **out)
{
	char *to = *out;

	while (p < r->end) {
		uint32_t stops = copy_step(to, p, s, &r->high);
		size_t n = stops ? (size_t)__builtin_ctz(stops) : STEP;

		if (n > (size_t)(r->end - p))
			n = (size_t)(r->end - p);
		p += n;
		to += n;
		if (!stops || p == r->end)
			continue;
		if (*p == s->end)
			break;
		to = put_byte(to, *p++);
	}
	*out = to;
	return p;
}

/*
 * p: a byte that stops a quoted cell. Returns the place behind what it stands for, with that in *ret_byte; or p
 * itself: this quote closes the cell.
 */
static inline const uint8_t *unescape(const struct row *r, const uint8_t *p, uint8_t *ret_byte)
{
	bool more = r->end - p > 1;

	*ret_byte = *p;
	if (*p == r->csv->quote) {
		if (!r->csv->doubled || !more || p[1] != r->csv->quote)
			return p;
		return p + 2;
	}
	if (r->csv->escaped && *p == r->csv->escape && more) {
		*ret_byte = p[1];
		return p + 2;
	}
	return p + 1;
}

/* p: behind the opening quote. Returns the closing quote, or the row's end. */
static inline const uint8_t *write_quoted(struct row *r, const uint8_t *p, const struct stops *s, char **out)
{
	char *to = *out;

	while (p < r->end) {
		uint32_t stops = copy_step(to, p, s, &r->high);
		size_t n = stops ? (size_t)__builtin_ctz(stops) : STEP;
		const uint8_t *next;
		uint8_t byte;

		if (n > (size_t)(r->end - p))
			n = (size_t)(r->end - p);
		p += n;
		to += n;
		if (!stops || p == r->end)
			continue;
		next = unescape(r, p, &byte);
		if (next == p)
			break;
		r->plain &= next - p == 1;
		to = put_byte(to, byte);
		p = next;
	}
	*out = to;
	return p;
}

/* p: a cell without quotes. Returns its end. */
static const uint8_t *skip_plain(const struct row *r, const uint8_t *p)
{
	const uint8_t *end = memchr(p, r->csv->delimiter, (size_t)(r->end - p));

	return end ? end : r->end;
}

static const uint8_t *skip_quoted(struct row *r, const uint8_t *p)
{
	while (p < r->end) {
		const uint8_t *next;
		uint8_t byte;

		if (*p != r->csv->quote && !(r->csv->escaped && *p == r->csv->escape)) {
			p++;
			continue;
		}
		next = unescape(r, p, &byte);
		if (next == p)
			return p;
		r->plain &= next - p == 1;
		p = next;
	}
	return p;
}

/* Names the key, which stands from p to end; a quoted one with escapes is unescaped first. */
static void set_key(const struct row *r, const uint8_t *p, const uint8_t *end)
{
	struct pen_csv_taken *io = r->io;
	const struct row cell = { .csv = r->csv, .end = end };
	size_t n = 0;

	if (r->plain) {
		io->key = (const char *)p;
		io->key_len = (size_t)(end - p);
		return;
	}
	for (; p < end; n++) {
		uint8_t byte;

		p = unescape(&cell, p, &byte);
		if (n < io->scratch_cap)
			io->scratch[n] = (char)byte;
	}
	io->key = io->scratch;
	io->key_len = n;
}

/* What stands in front of every cell: is it quoted, and is one wanted at all? */
static inline bool opens(const struct row *r, const uint8_t *p)
{
	return r->csv->quoted && p < r->end && *p == r->csv->quote;
}

/* Behind a quoted cell: close is its closing quote, opened the opening one. 0, or why not. */
static inline int check_close(const struct row *r, const uint8_t *opened, const uint8_t *close)
{
	if (close == r->end)
		return refuse(r, opened, -PEN_CSV_OPEN);
	if (close + 1 < r->end && close[1] != r->csv->delimiter)
		return refuse(r, close + 1, -PEN_CSV_QUOTE);
	return 0;
}

static int take_json(struct row *r, char **out)
{
	const struct pen_csv *csv = r->csv;
	const struct stops plain = stops_at(csv->delimiter, csv->delimiter);
	const struct stops quoted = stops_at(csv->quote, csv->escaped ? csv->escape : csv->quote);
	const uint8_t *p = r->begin;
	uint32_t column = 0;

	for (;; p++) {
		const uint8_t *cell = p;

		if (column == csv->columns)
			return refuse(r, p, -PEN_CSV_CELLS);
		*out = put_text(*out, csv->text + csv->pieces[column].at, csv->pieces[column].len);
		r->plain = true;
		if (opens(r, p)) {
			const uint8_t *close = write_quoted(r, ++cell, &quoted, out);
			int rc = check_close(r, p, close);

			if (rc)
				return rc;
			if (column == csv->key)
				set_key(r, cell, close);
			p = close + 1;
		} else {
			p = write_plain(r, p, &plain, out);
			if (column == csv->key)
				set_key(r, cell, p);
		}
		column++;
		if (p == r->end)
			break;
	}
	if (column < csv->columns)
		return refuse(r, p, -PEN_CSV_CELLS);
	*out = put_text(*out, csv->text + csv->pieces[column].at, csv->pieces[column].len);
	return 0;
}

static int take_raw(struct row *r)
{
	const struct pen_csv *csv = r->csv;
	const uint8_t *p = r->begin;
	uint32_t column = 0;

	for (;; p++) {
		const uint8_t *cell = p;

		r->plain = true;
		if (opens(r, p)) {
			const uint8_t *close = skip_quoted(r, ++cell);
			int rc = check_close(r, p, close);

			if (rc)
				return rc;
			if (column == csv->key)
				set_key(r, cell, close);
			p = close + 1;
		} else {
			p = skip_plain(r, p);
			if (column == csv->key)
				set_key(r, cell, p);
		}
		column++;
		if (p == r->end)
			break;
	}
	if (csv->key != PEN_CSV_NO_KEY && csv->key >= column)
		return refuse(r, p, -PEN_JSON_KEY_MISSING);
	return 0;
}

const char *pen_csv_bad_utf8(const char *text, size_t len)
{
	const uint8_t *p = (const uint8_t *)text, *end = p + len;

	while (p < end) {
		uint64_t eight = 0x80;
		int n;

		if (end - p >= 8)
			memcpy(&eight, p, sizeof eight);
		n = !(eight & 0x8080808080808080u) ? 8 : *p < 0x80 ? 1 : sequence_len(p, end);
		if (n <= 0)
			return (const char *)p;
		p += n;
	}
	return NULL;
}

char *pen_csv_put_json(char *out, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		out = put_byte(out, (uint8_t)text[i]);
	return out;
}

int pen_csv_take(const struct pen_csv *csv, const char *row, size_t len, struct pen_csv_taken *io)
{
	const uint8_t *begin = (const uint8_t *)row;
	const char *bad;
	struct row r = { .csv = csv, .begin = begin, .end = begin + len, .io = io };
	char *out = io->out;
	int rc;

	io->len = io->key_len = io->column = 0;
	io->key = NULL;
	if (!csv->json)
		return take_raw(&r);
	rc = take_json(&r, &out);
	if (rc)
		return rc;
	bad = r.high && !pen_json_utf8(row, len) ? pen_csv_bad_utf8(row, len) : NULL;
	if (bad)
		return refuse(&r, (const uint8_t *)bad, -PEN_JSON_UTF8);
	io->len = (size_t)(out - io->out);
	return 0;
}
