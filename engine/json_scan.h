/* SPDX-License-Identifier: MIT */
/*
 * json_scan - the tokens of JSON, for the files that read them
 *
 * Private to json.c, json_find.c, simdjson.cc, csv_row.c and talk.c. Each token function takes the place where its token
 * begins and returns the place behind it, or NULL with the flaw noted. All of them read up to 15 bytes
 * behind the end of the text, which the contract of json.h allows, and believe none of them: every step
 * compares its place with the end.
 */
#ifndef PEN_ENGINE_JSON_SCAN_H
#define PEN_ENGINE_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "engine/json.h"

#ifdef __cplusplus
extern "C" {
#endif

#define DETAILS(X)                                                   \
	X(NONE, "")                                                  \
	X(VALUE, "expected a value")                                 \
	X(VALUE_OR_END, "expected a value or ']'")                   \
	X(NAME, "expected a member name in quotes")                  \
	X(NAME_OR_END, "expected a member name in quotes or '}'")    \
	X(COLON, "expected ':'")                                     \
	X(NEXT_MEMBER, "expected ',' or '}'")                        \
	X(NEXT_ELEMENT, "expected ',' or ']'")                       \
	X(WORD, "expected true, false or null")                      \
	X(DIGIT, "expected a digit")                                 \
	X(ZERO, "a number has a leading zero")                       \
	X(STRING, "a string is not closed")                          \
	X(CONTROL, "a control character in a string is not escaped") \
	X(ESCAPE, "a string has an unknown escape")                  \
	X(HEX, "\\u needs four hexadecimal digits")                  \
	X(UTF8, "bytes that are no UTF-8 sequence")                  \
	X(BOM, "a byte order mark stands before the value")          \
	X(DEPTH, "a bracket opens level 1,025")                      \
	X(TWO, "text follows the value")                             \
	X(SURROGATE, "the key has half of a surrogate pair")

/* The order is part of what stores keep: append only. */
enum detail {
#define X(name, text) DETAIL_##name,
	DETAILS(X)
#undef X
};

/* The text under examination; flaw is NULL where nobody asks for the reason. */
struct scan {
	const uint8_t *begin;
	const uint8_t *end;
	struct pen_json_flaw *flaw;
};

/* ---- sixteen bytes at a time: bit n of the answer stands for p[n] ---- */

#define STEP 16u

#ifdef __SSE2__
static inline __m128i load(const uint8_t *p)
{
	return _mm_loadu_si128((const __m128i *)(const void *)p);
}

static inline __m128i equal(__m128i v, char c)
{
	return _mm_cmpeq_epi8(v, _mm_set1_epi8(c));
}

/* What a run of plain ASCII in a string stops at: quote, backslash, control character, byte above 0x7f. */
static inline uint32_t string_stops(const uint8_t *p)
{
	__m128i v = load(p);
	__m128i control = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1f)), v);
	__m128i stop = _mm_or_si128(_mm_or_si128(equal(v, '"'), equal(v, '\\')), _mm_or_si128(control, v));

	return (uint32_t)_mm_movemask_epi8(stop);
}

static inline uint32_t quotes(const uint8_t *p)
{
	__m128i v = load(p);

	return (uint32_t)_mm_movemask_epi8(_mm_or_si128(equal(v, '"'), equal(v, '\\')));
}

static inline uint32_t brackets_and_quotes(const uint8_t *p)
{
	__m128i v = load(p);
	__m128i low = _mm_or_si128(v, _mm_set1_epi8(0x20)); /* [ and ] become { and } */

	return (uint32_t)_mm_movemask_epi8(
		_mm_or_si128(equal(v, '"'), _mm_or_si128(equal(low, '{'), equal(low, '}'))));
}

static inline uint32_t not_digits(const uint8_t *p)
{
	__m128i v = _mm_sub_epi8(load(p), _mm_set1_epi8('0'));

	return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(9)), v)) ^ 0xffffu;
}
#else
static inline uint32_t string_stops(const uint8_t *p)
{
	uint32_t mask = 0;

	for (uint32_t i = 0; i < STEP; i++)
		mask |= (uint32_t)(p[i] == '"' || p[i] == '\\' || p[i] < 0x20 || p[i] > 0x7f) << i;
	return mask;
}

static inline uint32_t quotes(const uint8_t *p)
{
	uint32_t mask = 0;

	for (uint32_t i = 0; i < STEP; i++)
		mask |= (uint32_t)(p[i] == '"' || p[i] == '\\') << i;
	return mask;
}

static inline uint32_t brackets_and_quotes(const uint8_t *p)
{
	uint32_t mask = 0;

	for (uint32_t i = 0; i < STEP; i++)
		mask |= (uint32_t)(p[i] == '"' || (p[i] | 0x20) == '{' || (p[i] | 0x20) == '}') << i;
	return mask;
}

static inline uint32_t not_digits(const uint8_t *p)
{
	uint32_t mask = 0;

	for (uint32_t i = 0; i < STEP; i++)
		mask |= (uint32_t)((uint8_t)(p[i] - '0') > 9) << i;
	return mask;
}
#endif

/* ---- tokens: each returns the place behind what it read, or NULL with the flaw noted ---- */

/* The byte at p, 0 at the end: NUL is no token, so it leads to the same refusal, which looks at p itself. */
static inline uint8_t peek(const struct scan *s, const uint8_t *p)
{
	return p < s->end ? *p : 0;
}

static inline const uint8_t *skip_blank(const struct scan *s, const uint8_t *p)
{
	while (p < s->end && *p <= ' ' && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
		p++;
	return p;
}

/*
 * The length of the UTF-8 sequence at p (1 .. 4); 0: none. -1: the text ends inside what may be one.
 * Overlong forms, surrogates and everything above U+10FFFF are none.
 */
static int sequence_len(const uint8_t *p, const uint8_t *end)
{
	uint8_t low = 0x80;
	uint8_t high = 0xbf;
	int len;

	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	len = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (p[0] == 0xe0)
		low = 0xa0;
	else if (p[0] == 0xed)
		high = 0x9f;
	else if (p[0] == 0xf0)
		low = 0x90;
	else if (p[0] == 0xf4)
		high = 0x8f;
	for (int i = 1; i < len; i++) {
		if (p + i == end)
			return -1;
		if (p[i] < low || p[i] > high)
			return 0;
		low = 0x80;
		high = 0xbf;
	}
	return len;
}

/* Notes what is wrong at `at` and chooses the code: the end and bad bytes outrank what was expected. NULL. */
const uint8_t *pen_json_refuse(const struct scan *s, const uint8_t *at, enum detail detail);

/* Is all of it UTF-8? simdjson.cc: fast, and without a place. */
bool pen_json_utf8(const char *text, size_t len);

/* p: a byte above 0x7f in a string. Reads the whole run of such bytes. */
static inline const uint8_t *high_bytes(const struct scan *s, const uint8_t *p)
{
	do {
		uint32_t v;
		int len;

		memcpy(&v, p, sizeof(v));
		if ((v & 0xc0e0u) == 0x80c0u && (v & 0x1eu) && s->end - p >= 2) {
			p += 2;
			continue;
		}
		if ((v & 0xc0c0f0u) == 0x8080e0u && (v & 0x200fu) && (v & 0x200fu) != 0x200du &&
		    s->end - p >= 3) {
			p += 3;
			continue;
		}
		len = sequence_len(p, s->end);
		if (len <= 0)
			return pen_json_refuse(s, len ? s->end : p, len ? DETAIL_STRING : DETAIL_UTF8);
		p += len;
	} while (p < s->end && *p >= 0x80);
	return p;
}

static inline bool is_hex(uint8_t c)
{
	return (uint8_t)(c - '0') <= 9 || (uint8_t)((c | 0x20) - 'a') <= 5;
}

/* p: a backslash in a string. */
static inline const uint8_t *escape(const struct scan *s, const uint8_t *p)
{
	switch (peek(s, ++p)) {
	case '"':
	case '\\':
	case '/':
	case 'b':
	case 'f':
	case 'n':
	case 'r':
	case 't':
		return p + 1;
	case 'u':
		p++;
		for (int i = 0; i < 4; i++, p++)
			if (!is_hex(peek(s, p)))
				return pen_json_refuse(s, p, p < s->end ? DETAIL_HEX : DETAIL_STRING);
		return p;
	default:
		return pen_json_refuse(s, p, p < s->end ? DETAIL_ESCAPE : DETAIL_STRING);
	}
}

/* p: behind the opening quote. Returns the closing quote's place; *ret_escaped becomes true if there are escapes. */
static inline const uint8_t *string(const struct scan *s, const uint8_t *p, bool *ret_escaped)
{
	for (;;) {
		uint32_t stops = 0;

		while (p < s->end && !(stops = string_stops(p)))
			p += STEP;
		if (p >= s->end)
			return pen_json_refuse(s, s->end, DETAIL_STRING);
		p += __builtin_ctz(stops);
		if (p >= s->end)
			return pen_json_refuse(s, s->end, DETAIL_STRING);
		if (*p == '"')
			return p;
		if (*p >= 0x80) {
			p = high_bytes(s, p);
		} else if (*p == '\\') {
			*ret_escaped = true;
			p = escape(s, p);
		} else {
			return pen_json_refuse(s, p, DETAIL_CONTROL);
		}
		if (!p)
			return NULL;
	}
}

static inline const uint8_t *digits(const struct scan *s, const uint8_t *p)
{
	while (p < s->end) {
		uint32_t stops = not_digits(p);

		if (stops) {
			p += __builtin_ctz(stops);
			break;
		}
		p += STEP;
	}
	return p < s->end ? p : s->end;
}

static inline bool is_digit(uint8_t c)
{
	return (uint8_t)(c - '0') <= 9;
}

/* p: a minus sign or a digit. */
static inline const uint8_t *number(const struct scan *s, const uint8_t *p)
{
	if (*p == '-' && !is_digit(peek(s, ++p)))
		return pen_json_refuse(s, p, DETAIL_DIGIT);
	if (*p == '0') {
		if (is_digit(peek(s, ++p)))
			return pen_json_refuse(s, p, DETAIL_ZERO);
	} else {
		p = digits(s, p);
	}
	if (peek(s, p) == '.') {
		if (!is_digit(peek(s, ++p)))
			return pen_json_refuse(s, p, DETAIL_DIGIT);
		p = digits(s, p);
	}
	if ((peek(s, p) | 0x20) == 'e') {
		p++;
		if (peek(s, p) == '+' || peek(s, p) == '-')
			p++;
		if (!is_digit(peek(s, p)))
			return pen_json_refuse(s, p, DETAIL_DIGIT);
		p = digits(s, p);
	}
	return p;
}

/* true, false or null; the four bytes after the first letter of "false" decide like the four of the others. */
static inline const uint8_t *word(const struct scan *s, const uint8_t *p)
{
	const char *want = *p == 't' ? "true" : *p == 'f' ? "false" : "null";
	size_t len = *p == 'f' ? 5 : 4;

	if ((size_t)(s->end - p) >= len && memcmp(p + len - 4, want + len - 4, 4) == 0)
		return p + len;
	while (peek(s, p) == (uint8_t)*want) {
		p++;
		want++;
	}
	return pen_json_refuse(s, p, DETAIL_WORD);
}

/* ---- names and values, for the search; these note no flaw ---- */

/* p: behind the opening quote. Returns the closing quote's place. */
static inline const uint8_t *skip_string(const struct scan *s, const uint8_t *p, bool *ret_escaped)
{
	while (p < s->end) {
		uint32_t stops = quotes(p);

		if (!stops) {
			p += STEP;
			continue;
		}
		p += __builtin_ctz(stops);
		if (p >= s->end)
			break;
		if (*p == '"')
			return p;
		*ret_escaped = true;
		p += 2;
	}
	return NULL;
}

/* The same for a name that has escapes; end is its closing quote. Half of a surrogate pair equals nothing. */
bool pen_json_name_is(const uint8_t *p, const uint8_t *end, const char *part, size_t len);

/* p: behind a member name's opening quote. Returns its closing quote; *ret_same: is it the part? */
static inline const uint8_t *name(const struct scan *s, const uint8_t *p, const char *part, size_t len,
				  bool *ret_same)
{
	bool escaped = false;
	const uint8_t *end = skip_string(s, p, &escaped);

	if (!end)
		return NULL;
	if (escaped)
		*ret_same = pen_json_name_is(p, end, part, len);
	else
		*ret_same = (size_t)(end - p) == len && memcmp(p, part, len) == 0;
	return end;
}

/* p: a value's first byte. The place behind it; NULL when its brackets or quotes do not fit. */
const uint8_t *pen_json_skip(const struct scan *s, const uint8_t *p);
/* The inside of a valid string, in place: how long it is then; -1: it has half of a surrogate pair. */
int64_t pen_json_unescape(char *text, size_t len);

/*
 * p: where the pointer's value begins. 0 and the key, or a key code as in pen_json_find. -PEN_JSON_BAD:
 * there is no value, or it is malformed (only in unchecked texts).
 */
int pen_json_take(const struct scan *s, const uint8_t *p, char *out, size_t out_cap,
		  struct pen_json_key *ret);

#ifdef __cplusplus
}
#endif

#endif
