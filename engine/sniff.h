/* SPDX-License-Identifier: MIT */
/*
 * sniff - what a source's first bytes are
 *
 * Looks at text that is already unpacked and UTF-8. In this order:
 *
 *   a name that says so           .csv, .tsv, .tab; .ndjson, .jsonl
 *   begins with { or [            json when the first line is the beginning of a longer document, or one array is all
 *                                 there is; else ndjson
 *   a header over equal rows      csv, tsv: two columns or more, and no row in the sample that does not fit
 *   a JSON value on a line        ndjson
 *   anything else                 lines
 *
 * A wrong guess is undone with --format; what was chosen is said where it is not plain.
 *
 *   Threads  pure.
 *   Padding  the text is readable for PEN_JSON_PADDING bytes behind its end.
 */
#ifndef PEN_ENGINE_SNIFF_H
#define PEN_ENGINE_SNIFF_H

#include <stdbool.h>
#include <stddef.h>

#include "include/penstock.h"

struct pen_sniff {
	const char *name; /* the source's path; "" for streams */
	const char *text;
	size_t len;
	bool whole;  /* the text is all there is */
	bool fields; /* the key is a field, so records must have some */
	bool column; /* it is a column, so that what is no JSON is a table, fit or not */
};

/* Never auto. */
enum pen_format pen_sniff_format(const struct pen_sniff *sniff);

#endif
