/* SPDX-License-Identifier: MIT */
/*
 * where - a condition on a JSON text: does this item belong to the batch?
 *
 *	/a              the pointer leads to something (null too)
 *	!/a             it leads to nothing
 *	/a == VALUE     also !=, <, <=, >, >=; blanks around the operator do not count
 *
 * VALUE is a number (RFC 8259), true, false, null, or a text; in double quotes it is a text whatever it looks like.
 * Numbers compare with numbers and words with words, and both with strings that are one (cells of tables are
 * strings); a text compares with strings, byte by byte. What is of another kind fits != alone, and what is not there
 * fits !/a alone.
 *
 *   Threads    a condition is constant once parsed: any number.
 *   Memory     its own text.
 *   Limits     PEN_WHERE_MAX conditions, each of PEN_WHERE_BYTES.
 *   Padding    as in json.h: 64 readable bytes behind the item's text.
 */
#ifndef PEN_ENGINE_WHERE_H
#define PEN_ENGINE_WHERE_H

#include "engine/json.h"
#include "include/penstock.h"

#define PEN_WHERE_MAX 16u
#define PEN_WHERE_BYTES 4096u

enum pen_where_op {
	PEN_WHERE_THERE = 0,
	PEN_WHERE_ABSENT,
	PEN_WHERE_EQ,
	PEN_WHERE_NE,
	PEN_WHERE_LT,
	PEN_WHERE_LE,
	PEN_WHERE_GT,
	PEN_WHERE_GE,
};
enum pen_where_kind { PEN_WHERE_TEXT = 0, PEN_WHERE_NUMBER, PEN_WHERE_WORD };

struct pen_where {
	struct pen_pointer pointer;
	enum pen_where_op op;
	enum pen_where_kind kind; /* of the value */
	char *value;		  /* without quotes; owned */
	size_t len;
	long double number;
};

/* 0, -PEN_USAGE or -ENOMEM with the reason. */
int pen_where_parse(struct pen_where *where, const char *text, struct pen_failure *why);
void pen_where_fini(struct pen_where *where);
/* Does the JSON text fit? A text that is none (it was not validated) fits as far as it can be read. */
bool pen_where_fits(const struct pen_where *where, const char *text, size_t len);

#endif
