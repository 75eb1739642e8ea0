/* SPDX-License-Identifier: MIT */
/*
 * json - is this record JSON, and where is its key?
 *
 * strict is RFC 8259 grammar and valid UTF-8, numbers of any size, up to PEN_JSON_LEVELS levels. simdjson
 * finds the tokens of nearly every record; whatever is refused then, and every record above
 * PEN_JSON_DOM_MAX, is judged by our scalar validator, which has the last word and knows the place of the
 * error. json.c is pure: bytes in, verdict out.
 *
 *   Threads    a pen_json belongs to one thread; the functions without one are pure.
 *   Memory     a pen_json may touch 4 x PEN_JSON_DOM_MAX; the scalar validator needs 128 bytes.
 *   Padding    text must be readable for PEN_JSON_PADDING bytes behind its end (contents do not matter).
 */
#ifndef PEN_ENGINE_JSON_H
#define PEN_ENGINE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PEN_JSON_LEVELS 1024u
#define PEN_JSON_PADDING 64u
#define PEN_JSON_DOM_MAX (1u << 20)

/* What is wrong with a record. */
struct pen_json_flaw {
	int code;	/* -PEN_JSON_BAD, _CUT, _UTF8, _DEPTH, _TWO */
	size_t at;	/* byte in the record, from 0, where it shows */
	uint8_t detail; /* which sentence: pen_json_detail() */
};

/* "expected ',' or '}'" and the like; 0 gives "". Stored in reject rows, so numbers are stable. */
const char *pen_json_detail(uint8_t detail);

/*
 * The scalar validator. True: text is exactly one JSON value with optional white space around it. A text of
 * white space only is -PEN_JSON_CUT. *ret_flaw is filled when false.
 */
bool pen_json_valid(const char *text, size_t len, struct pen_json_flaw *ret_flaw);

/* A JSON pointer (RFC 6901), parsed once. */
#define PEN_POINTER_PARTS 64u
struct pen_pointer {
	char *text; /* unescaped parts, each NUL-terminated; owned */
	uint32_t parts;
	uint32_t at[PEN_POINTER_PARTS]; /* where each part begins in text */
	uint32_t len[PEN_POINTER_PARTS];
	int64_t index[PEN_POINTER_PARTS]; /* the part as an array index, -1 if it is none ("01" is none) */
	char *raw;			  /* as written; owned */
};
/*
 * 0; -ENOMEM; -PEN_USAGE: does not begin with '/', has a bad ~ escape, or too many parts ("" is refused: a
 * record is no key).
 */
int pen_pointer_parse(struct pen_pointer *ptr, const char *text);
void pen_pointer_fini(struct pen_pointer *ptr);

/* Where a key was found: a string's unescaped bytes, or a number's text as written. */
struct pen_json_key {
	const char *data; /* in the record, in `out`, or in the parser: valid until its next call */
	size_t len;
	bool number;
};

/*
 * Finds the pointer's value in valid JSON without a tree, one pass, first match of a repeated member wins.
 * `out` receives a string with escapes (out_cap bytes are enough when out_cap >= 511 + 4; longer keys stop
 * there and report len > PEN_KEY_MAX). 0; -PEN_JSON_KEY_MISSING; -PEN_KEY_TYPE (object, array, true, false,
 * null); -PEN_JSON_UTF8 for a lone surrogate escape in the key (it has no UTF-8).
 */
int pen_json_find(const char *text, size_t len, const struct pen_pointer *ptr, char *out, size_t out_cap,
		  struct pen_json_key *ret);

/*
 * The pointer's value as it stands in the text, whatever its kind. Believes as little as pen_json_find. 0;
 * -PEN_JSON_KEY_MISSING; -PEN_JSON_BAD.
 */
int pen_json_locate(const char *text, size_t len, const struct pen_pointer *ptr, const char **ret_at,
		    size_t *ret_len);
/* Compares a string, given with its quotes, with bytes of UTF-8: < 0, 0, > 0 as memcmp of what it stands for. */
int pen_json_compare(const char *string, size_t string_len, const char *text, size_t len);

struct pen_json;
int pen_json_open(struct pen_json **ret); /* 0 or -ENOMEM */
void pen_json_close(struct pen_json *json);

/*
 * Validates strictly and finds the key (ptr NULL: no key wanted). 0, a key code as above, or a flaw's code
 * with *ret_flaw filled. The first member of a repeated name wins, here and in pen_json_find.
 */
int pen_json_check(struct pen_json *json, const char *text, size_t len, const struct pen_pointer *ptr,
		   char *out, size_t out_cap, struct pen_json_key *ret_key, struct pen_json_flaw *ret_flaw);
/* Looks only as far as the key needs (--validate fast); text may be malformed elsewhere. */
int pen_json_peek(struct pen_json *json, const char *text, size_t len, const struct pen_pointer *ptr,
		  char *out, size_t out_cap, struct pen_json_key *ret_key, struct pen_json_flaw *ret_flaw);

/* The instruction set simdjson chose ("icelake", "haswell", "westmere", "fallback"), and its version. */
const char *pen_json_simd(void);
const char *pen_json_version(void);

#ifdef __cplusplus
}
#endif

#endif
