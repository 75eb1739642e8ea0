/* SPDX-License-Identifier: MIT */
/*
 * json - a writer of JSON onto a pen_out, and the one strict look at a value that is to be embedded
 *
 * Commas are placed by the writer; a line (one object of a list) is ended by pen_jw_line(). Text that is
 * not UTF-8 becomes base64 under the member's name with "_base64" behind it. Nothing is collected: a value
 * of any size flows through the output's buffer.
 */
#ifndef PEN_TOOLS_JSON_H
#define PEN_TOOLS_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tools/out.h"

struct pen_jw {
	struct pen_out *out;
	bool comma; /* the next member or element follows another one */
};

void pen_jw_init(struct pen_jw *jw, struct pen_out *out);
/* name is NULL inside an array and for the document itself. */
void pen_jw_object(struct pen_jw *jw, const char *name);
void pen_jw_object_end(struct pen_jw *jw);
void pen_jw_array(struct pen_jw *jw, const char *name);
void pen_jw_array_end(struct pen_jw *jw);
/* Ends one document: a newline. */
void pen_jw_line(struct pen_jw *jw);

void pen_jw_u64(struct pen_jw *jw, const char *name, uint64_t n);
void pen_jw_i64(struct pen_jw *jw, const char *name, int64_t n);
/* n / 1000, with as many decimals as needed: 1500 -> 1.5 */
void pen_jw_milli(struct pen_jw *jw, const char *name, uint64_t n);
void pen_jw_bool(struct pen_jw *jw, const char *name, bool yes);
void pen_jw_null(struct pen_jw *jw, const char *name);
/* A batch id as 16 hex digits; null for 0. */
void pen_jw_id(struct pen_jw *jw, const char *name, uint64_t id);
/* NULL becomes null. */
void pen_jw_text(struct pen_jw *jw, const char *name, const char *text);
void pen_jw_data(struct pen_jw *jw, const char *name, const void *data, size_t len);
/* A JSON value as itself without the blanks between its tokens, anything else as pen_jw_data() does. */
void pen_jw_value(struct pen_jw *jw, const char *name, const void *data, size_t len);

/*
 * The value of a member of an object, as it is written: the first one of that name. `data` is a valid value
 * (pen_jw_valid). false: no object, or it has no such member.
 */
bool pen_jw_member(const void *data, size_t len, const char *name, const void **ret, size_t *ret_len);
/* A string's text: `data` is a valid string with its quotes. A lone half of a surrogate becomes U+FFFD. put is called
 * with pieces of it. */
void pen_jw_unescape(const void *data, size_t len, void (*put)(void *arg, const void *piece, size_t len),
		     void *arg);
/*
 * Calls fn for each member (its name with the quotes) or element (name NULL) of a valid object or array; ends at
 * the first answer that is not 0 and returns it.
 */
typedef int pen_jw_part_fn(void *arg, const void *name, size_t name_len, const void *value, size_t len);
int pen_jw_each(const void *data, size_t len, pen_jw_part_fn *fn, void *arg);
/* The value without the blanks between its tokens. */
void pen_jw_compact(struct pen_out *out, const void *data, size_t len);

#define PEN_JSON_DEPTH 1024u
/* Exactly one JSON value by RFC 8259 in valid UTF-8, nested at most PEN_JSON_DEPTH deep. */
bool pen_jw_valid(const void *data, size_t len);

#endif
