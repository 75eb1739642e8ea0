/* SPDX-License-Identifier: MIT */
/*
 * The scalar validator.
 *
 * The place of an error is the first byte at which no valid text could go on, with two exceptions that
 * help the reader more: bytes that are not UTF-8 are placed at the first byte of their sequence, and a
 * bracket that opens a level too many is placed at the bracket. A text that ends too early is placed at
 * its end.
 *
 * The validator is one loop over tokens. Which containers are open is a bit a level (1: object), so the
 * state is PEN_JSON_LEVELS / 8 bytes and nothing recurses.
 */
#include "engine/json.h"

#include "engine/json_scan.h"
#include "include/penstock_error.h"

const char *pen_json_detail(uint8_t detail)
{
	static const char *const sentences[] = {
#define X(name, text) text,
		DETAILS(X)
#undef X
	};

	return detail < sizeof(sentences) / sizeof(sentences[0]) ? sentences[detail] : "";
}

/* Notes what is wrong at `at` and chooses the code: the end and bad bytes outrank what was expected there. */
__attribute__((cold)) const uint8_t *pen_json_refuse(const struct scan *s, const uint8_t *at,
						     enum detail detail)
{
	int code = -PEN_JSON_BAD;

	if (!s->flaw)
		return NULL;
	if (at >= s->end) {
		code = -PEN_JSON_CUT;
		at = s->end;
	} else if (*at >= 0x80 && sequence_len(at, s->end) <= 0) {
		code = -PEN_JSON_UTF8;
		detail = DETAIL_UTF8;
	} else if (detail == DETAIL_TWO) {
		code = -PEN_JSON_TWO;
	} else if (detail == DETAIL_DEPTH) {
		code = -PEN_JSON_DEPTH;
	} else if (at == s->begin && s->end - at >= 3 && memcmp(at, "\xef\xbb\xbf", 3) == 0) {
		detail = DETAIL_BOM;
	}
	s->flaw->code = code;
	s->flaw->at = (size_t)(at - s->begin);
	s->flaw->detail = (uint8_t)detail;
	return NULL;
}

/* ---- the validator ---- */

static inline bool begins_value(uint8_t c)
{
	return c == '"' || c == '{' || c == '[' || c == '-' || is_digit(c) || c == 't' || c == 'f' ||
	       c == 'n';
}

/* p: the first byte of a text that is not blank. Returns the place behind its value. */
static const uint8_t *value(const struct scan *s, const uint8_t *p)
{
	uint64_t objects[PEN_JSON_LEVELS / 64]; /* bit n: level n + 1 is an object */
	uint32_t depth = 0;
	bool in_object = false; /* the innermost level is */
	bool escaped;
	uint8_t c;

begin:
	switch (peek(s, p)) {
	case '"':
		p = string(s, p + 1, &escaped);
		if (!p)
			return NULL;
		p++;
		break;
	case '-':
	case '0':
	case '1':
	case '2':
	case '3':
	case '4':
	case '5':
	case '6':
	case '7':
	case '8':
	case '9':
		p = number(s, p);
		if (!p)
			return NULL;
		break;
	case 't':
	case 'f':
	case 'n':
		p = word(s, p);
		if (!p)
			return NULL;
		break;
	case '{':
		if (depth == PEN_JSON_LEVELS)
			return pen_json_refuse(s, p, DETAIL_DEPTH);
		objects[depth / 64] = (depth % 64 ? objects[depth / 64] : 0) | 1ull << depth % 64;
		depth++;
		in_object = true;
		p = skip_blank(s, p + 1);
		c = peek(s, p);
		if (c == '"')
			goto member;
		if (c == '}')
			goto closed;
		return pen_json_refuse(s, p, DETAIL_NAME_OR_END);
	case '[':
		if (depth == PEN_JSON_LEVELS)
			return pen_json_refuse(s, p, DETAIL_DEPTH);
		objects[depth / 64] = (depth % 64 ? objects[depth / 64] : 0) & ~(1ull << depth % 64);
		depth++;
		in_object = false;
		p = skip_blank(s, p + 1);
		c = peek(s, p);
		if (c == ']')
			goto closed;
		if (!begins_value(c))
			return pen_json_refuse(s, p, DETAIL_VALUE_OR_END);
		goto begin;
	default:
		return pen_json_refuse(s, p, DETAIL_VALUE);
	}
ended:
	if (!depth)
		return p;
	p = skip_blank(s, p);
	c = peek(s, p);
	if (c == ',') {
		p = skip_blank(s, p + 1);
		if (!in_object)
			goto begin;
		if (peek(s, p) != '"')
			return pen_json_refuse(s, p, DETAIL_NAME);
		goto member;
	}
	if (c != (in_object ? '}' : ']'))
		return pen_json_refuse(s, p, in_object ? DETAIL_NEXT_MEMBER : DETAIL_NEXT_ELEMENT);
closed:
	p++;
	depth--;
	in_object = depth && (objects[(depth - 1) / 64] >> (depth - 1) % 64 & 1);
	goto ended;
member:
	p = string(s, p + 1, &escaped);
	if (!p)
		return NULL;
	p = skip_blank(s, p + 1);
	if (peek(s, p) != ':')
		return pen_json_refuse(s, p, DETAIL_COLON);
	p = skip_blank(s, p + 1);
	goto begin;
}

bool pen_json_valid(const char *text, size_t len, struct pen_json_flaw *ret_flaw)
{
	const uint8_t *begin = (const uint8_t *)text;
	const struct scan s = { begin, begin + len, ret_flaw };
	const uint8_t *p = value(&s, skip_blank(&s, begin));

	if (!p)
		return false;
	p = skip_blank(&s, p);
	return p == s.end || pen_json_refuse(&s, p, DETAIL_TWO);
}
