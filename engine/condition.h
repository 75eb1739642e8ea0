/* SPDX-License-Identifier: MIT */
/*
 * condition - what is asked on a JSON text: does this item belong to the batch?
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
 *   Limits     PEN_CONDITION_MAX conditions, each of PEN_CONDITION_BYTES.
 *   Padding    as in json.h: 64 readable bytes behind the item's text.
 */
#ifndef PEN_ENGINE_CONDITION_H
#define PEN_ENGINE_CONDITION_H

#include "engine/json.h"
#include "include/penstock.h"

#define PEN_CONDITION_MAX 16u
#define PEN_CONDITION_BYTES 4096u

enum pen_condition_op {
	PEN_CONDITION_THERE = 0,
	PEN_CONDITION_ABSENT,
	PEN_CONDITION_EQ,
	PEN_CONDITION_NE,
	PEN_CONDITION_LT,
	PEN_CONDITION_LE,
	PEN_CONDITION_GT,
	PEN_CONDITION_GE,
};
enum pen_condition_kind { PEN_CONDITION_TEXT = 0, PEN_CONDITION_NUMBER, PEN_CONDITION_WORD };

struct pen_condition {
	struct pen_pointer pointer;
	enum pen_condition_op op;
	enum pen_condition_kind kind; /* of the value */
	char *value;		      /* without quotes; owned */
	size_t len;
	long double number;
};

/* 0, -PEN_USAGE or -ENOMEM with the reason. */
int pen_condition_parse(struct pen_condition *where, const char *text, struct pen_failure *why);
void pen_condition_fini(struct pen_condition *where);
/* Does the JSON text fit? A text that is none (it was not validated) fits as far as it can be read. */
bool pen_condition_fits(const struct pen_condition *where, const char *text, size_t len);

#endif
