/* SPDX-License-Identifier: MIT */
/*
 * split - where records end
 *
 * LF or CRLF ends a record and is no part of it; nothing else is trimmed. Where blank lines are no items
 * (NDJSON), a line of nothing but white space is blank. Pure: bytes in, places out; both the reader (which
 * counts) and the processors (which work) use the same rule, so their item numbers agree.
 */
#ifndef PEN_ENGINE_SPLIT_H
#define PEN_ENGINE_SPLIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pen_split {
	const char *at, *end; /* what is left */
	bool skip_blank;
	uint32_t lines; /* lines passed so far */
};

/*
 * The next record: true, with its bytes and the number of lines before it in this text. The last line needs no
 * terminator.
 */
bool pen_split_next(struct pen_split *split, const char **ret, size_t *ret_len, uint32_t *ret_line);

struct pen_cut {
	size_t len;	/* bytes up to and including the last line taken */
	uint32_t items; /* records in them */
	uint32_t lines; /* lines in them, blank ones too */
};

/*
 * How much of the text is whole lines, at most max_items records. whole: the text ends with the source, so
 * that its last line counts though it has no terminator. len is 0 when there is no whole line.
 */
struct pen_cut pen_split_cut(const char *text, size_t len, bool skip_blank, bool whole, uint32_t max_items);

#endif
