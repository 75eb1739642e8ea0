/* SPDX-License-Identifier: MIT */
/*
 * csv - tables: rows of cells, in the dialect of one file
 *
 * A quote opens a quoted cell only where the cell begins; anywhere else it is text. Inside a quoted cell
 * delimiters and row ends are text, a doubled quote (or escape and quote) is one quote, and whatever else stands
 * behind the escape is itself. Text behind a closing quote makes the row a reject; the row still ends at the next
 * row end, as if the cell had never been quoted. LF or CRLF ends a row; a lone CR does where the sample had no
 * other row ends (`lone_cr`), elsewhere it is text. A row of no bytes is no item; a row that is one quoted empty
 * cell is one.
 *
 *   open    finds out what the options leave open and makes all that is the same for every row
 *   split   rows (pen_split_csv of split.h): exact, from a row's beginning on
 *   take    one row: judged, its key found, its JSON object made
 *
 *   Threads  a pen_csv is constant after open; any thread may read it. ref and unref: one thread.
 *   Memory   open asks for some 20 bytes a byte of the sample and frees most of it again; the rest none.
 *   Limits   a sample of up to 64 KiB; a header must end within it. Delimiter, quote and escape are ASCII.
 *   Padding  texts (samples not) must be readable for PEN_JSON_PADDING bytes behind their end, and `out` may be
 *            scribbled on for as many behind its bound; what stands there does not matter.
 */
#ifndef PEN_ENGINE_CSV_H
#define PEN_ENGINE_CSV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/json.h"
#include "engine/split.h"
#include "include/penstock.h"

#define PEN_CSV_SAMPLE (64u << 10) /* more than this of a sample is not looked at */
#define PEN_CSV_NO_KEY UINT32_MAX

/* What the caller knows; zero means: find out. The fields mirror those of struct pen_run. */
struct pen_csv_options {
	enum pen_format format; /* csv, or tsv: the delimiter is a tab unless it is given */
	int delimiter;
	int quote;
	int escape;
	enum pen_header header;
	const char *header_names;
	enum pen_value_form value;
	const char *key; /* a column's name or `#N`; NULL or "@..": none */
};

/* A name or a piece of JSON, in pen_csv's own text. */
struct pen_csv_text {
	uint32_t at, len;
};

struct csv_scan;

struct pen_csv {
	uint32_t refs;
	const struct csv_scan *scan; /* csv_scan.h */

	/* The dialect. */
	uint8_t delimiter;
	uint8_t quote, escape; /* valid where quoted and escaped */
	bool quoted;	       /* there are quoted cells */
	bool doubled;	       /* a doubled quote is one quote */
	bool escaped;	       /* an escape of its own */
	bool lone_cr;

	bool json;   /* rows become objects; else they stay as they are */
	bool header; /* the first row had the names */
	uint32_t columns;
	uint32_t key; /* column of the key, from 0; PEN_CSV_NO_KEY */
	const struct pen_csv_text *names;
	const struct pen_csv_text *pieces; /* columns + 1: `{"a":"`, `","b":"`, `"}` */
	const char *text;
	uint64_t row_extra; /* bytes of all pieces together */

	/* What stands before the first record: byte order mark, preamble, header. */
	uint64_t skip, skip_lines;

	uint8_t classes[256]; /* of bytes, for the exact scan */
	char said[256];	      /* one line for people */
};

/*
 * sample: the source's first bytes (as many as PEN_CSV_SAMPLE, or whole: all it has). *ret has one reference.
 * 0; -ENOMEM; -PEN_USAGE: options that fit neither each other nor the file (an unknown key column, a header that
 * does not end within the sample); -PEN_JSON_UTF8: names that are not UTF-8 where rows become JSON.
 */
int pen_csv_open(const struct pen_csv_options *opt, const char *sample, size_t len, bool whole,
		 struct pen_csv **ret, struct pen_failure *why);
struct pen_csv *pen_csv_ref(struct pen_csv *csv);
/* Accepts NULL. Freed with its last reference. */
void pen_csv_unref(struct pen_csv *csv);

static inline const char *pen_csv_name(const struct pen_csv *csv, uint32_t column, size_t *ret_len)
{
	*ret_len = csv->names[column].len;
	return csv->text + csv->names[column].at;
}

/* At most so many bytes are made of these rows' bytes (row ends may be among them); 0 where rows stay as they are. */
uint64_t pen_csv_bound(const struct pen_csv *csv, const char *text, size_t len, uint64_t rows);

/*
 * May an object be made of this row? It may be as large as a record, the columns' names not counted; what surely will
 * be more than twice that is not begun, so that it costs no memory. take's length has the last word.
 */
static inline bool pen_csv_fits(const struct pen_csv *csv, const char *row, size_t len, uint64_t max_record)
{
	return !csv->json || len <= max_record / 3 || /* a byte becomes six at most */
	       pen_csv_bound(csv, row, len, 1) <= 2 * max_record + csv->row_extra;
}

struct pen_csv_taken {
	char *out;     /* given: room for pen_csv_bound() of the row; unused where rows stay as they are */
	size_t len;    /* of the object in out */
	char *scratch; /* given: for a key with escapes */
	size_t scratch_cap;
	const char *key; /* in the row or in scratch; valid for key_len <= scratch_cap only */
	size_t key_len;	 /* 0 where no key is wanted, too */
	size_t column;	 /* of a flaw: byte in the row, from 1 */
};

/*
 * Judges one row (without its end). 0; -PEN_CSV_QUOTE, -PEN_CSV_OPEN; -PEN_CSV_CELLS and -PEN_JSON_UTF8 (rows that
 * become JSON); -PEN_JSON_KEY_MISSING (rows that stay as they are and have no such cell). io->column says where.
 */
int pen_csv_take(const struct pen_csv *csv, const char *row, size_t len, struct pen_csv_taken *io);

/* The instruction set the scan uses ("avx2", "scalar"). */
const char *pen_csv_simd(void);
/* Tests: true: what is opened from now on is scanned byte by byte. Not while others open. */
void pen_csv_force_scalar(bool on);

#endif
