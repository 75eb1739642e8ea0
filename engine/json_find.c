/* SPDX-License-Identifier: MIT */
/*
 * JSON pointers and the search for a key.
 *
 * The search believes brackets and quotes only as far as it needs them, stays inside the text whatever the
 * text is, and checks the key itself as strictly as the validator. So it serves valid texts and unchecked
 * ones alike.
 */
#include "engine/json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/json_scan.h"
#include "include/penstock.h"
#include "include/penstock_error.h"

/* ---- pointers ---- */

/* The array index a part stands for; -1: none. */
static int64_t part_index(const char *part, size_t len)
{
	int64_t index = 0;

	if (!len || len > 18 || (len > 1 && part[0] == '0'))
		return -1;
	for (size_t i = 0; i < len; i++) {
		if (!is_digit((uint8_t)part[i]))
			return -1;
		index = index * 10 + (part[i] - '0');
	}
	return index;
}

/* Splits raw into NUL-terminated parts at `to`, which has room for raw's length + 1. */
static int split(struct pen_pointer *ptr, const char *raw, char *to)
{
	char *out = to;

	while (*raw == '/') {
		char *part = out;

		if (ptr->parts == PEN_POINTER_PARTS)
			return -PEN_USAGE;
		for (raw++; *raw && *raw != '/'; raw++) {
			char c = *raw;

			if (c == '~') {
				raw++;
				if (*raw != '0' && *raw != '1')
					return -PEN_USAGE;
				c = *raw == '0' ? '~' : '/';
			}
			*out++ = c;
		}
		ptr->at[ptr->parts] = (uint32_t)(part - to);
		ptr->len[ptr->parts] = (uint32_t)(out - part);
		ptr->index[ptr->parts] = part_index(part, (size_t)(out - part));
		ptr->parts++;
		*out++ = '\0';
	}
	return 0;
}

int pen_pointer_parse(struct pen_pointer *ptr, const char *text)
{
	struct pen_pointer made = { 0 };
	size_t len = strlen(text);
	int rc;

	if (text[0] != '/' || len > UINT32_MAX - 1)
		return -PEN_USAGE;
	made.text = malloc(len + 1);
	made.raw = strdup(text);
	rc = made.text && made.raw ? split(&made, text, made.text) : -ENOMEM;
	if (rc) {
		pen_pointer_fini(&made);
		return rc;
	}
	*ptr = made;
	return 0;
}

void pen_pointer_fini(struct pen_pointer *ptr)
{
	free(ptr->text);
	free(ptr->raw);
	*ptr = (struct pen_pointer){ 0 };
}

/* ---- the search: NULL means that the brackets or quotes on the way do not fit ---- */

/* p: an opening bracket. Counts brackets whatever their kind. */
static const uint8_t *skip_container(const struct scan *s, const uint8_t *p)
{
	size_t depth = 0;
	bool escaped;

	while (p < s->end) {
		uint32_t stops = brackets_and_quotes(p);

		if (!stops) {
			p += STEP;
			continue;
		}
		p += __builtin_ctz(stops);
		if (p >= s->end)
			break;
		if (*p == '"') {
			p = skip_string(s, p + 1, &escaped);
			if (!p)
				return NULL;
		} else if ((*p | 0x20) == '{') {
			depth++;
		} else if (--depth == 0) {
			return p + 1;
		}
		p++;
	}
	return NULL;
}

/* p: a value's first byte. Words and numbers reach to the next comma, bracket or blank. */
static inline const uint8_t *skip_value(const struct scan *s, const uint8_t *p)
{
	bool escaped;

	switch (peek(s, p)) {
	case '"':
		p = skip_string(s, p + 1, &escaped);
		return p ? p + 1 : NULL;
	case '{':
	case '[':
		return skip_container(s, p);
	default:
		while (p<s->end && * p> ' ' && *p != ',' && *p != '}' && *p != ']')
			p++;
		return p;
	}
}

static uint32_t hex4(const uint8_t *p)
{
	uint32_t v = 0;

	for (int i = 0; i < 4; i++)
		v = v << 4 | (uint32_t)(is_digit(p[i]) ? p[i] - 48 : (p[i] | 0x20) - 87);
	return v;
}

static size_t put_utf8(uint32_t c, char out[4])
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

/*
 * One character of a string: a byte as it is, or an escape as UTF-8. Returns the bytes put into out, 0 for
 * half of a surrogate pair or an escape that is none (only unchecked texts have those). *p moves behind it;
 * end is the closing quote.
 */
static size_t unescape(const uint8_t **p, const uint8_t *end, char out[4])
{
	static const char from[] = "\"\\/bfnrt";
	static const char to[] = "\"\\/\b\f\n\r\t";
	const struct scan s = { *p, end, NULL };
	const uint8_t *at = *p;
	const char *simple;
	uint32_t c, low;

	if (*at != '\\') {
		out[0] = (char)*at;
		*p = at + 1;
		return 1;
	}
	*p = escape(&s, at);
	if (!*p) {
		*p = end;
		return 0;
	}
	if (at[1] != 'u') {
		simple = strchr(from, at[1]);
		out[0] = to[simple - from];
		return 1;
	}
	c = hex4(at + 2);
	if (c < 0xd800 || c > 0xdfff)
		return put_utf8(c, out);
	if (c > 0xdbff || end - *p < 6 || (*p)[0] != '\\' || !escape(&s, *p) || (*p)[1] != 'u')
		return 0;
	low = hex4(*p + 2);
	if (low < 0xdc00 || low > 0xdfff)
		return 0;
	*p += 6;
	return put_utf8(0x10000 + ((c & 0x3ff) << 10 | (low & 0x3ff)), out);
}

bool pen_json_name_is(const uint8_t *p, const uint8_t *end, const char *part, size_t len)
{
	while (p < end) {
		char utf8[4];
		size_t n = unescape(&p, end, utf8);

		if (!n || n > len || memcmp(part, utf8, n) != 0)
			return false;
		part += n;
		len -= n;
	}
	return len == 0;
}

const uint8_t *pen_json_skip(const struct scan *s, const uint8_t *p)
{
	return skip_value(s, p);
}

int64_t pen_json_unescape(char *text, size_t len)
{
	const uint8_t *p = (const uint8_t *)text;
	const uint8_t *end = p + len;
	char *out = text;

	while (p < end) {
		const uint8_t *stop = memchr(p, '\\', (size_t)(end - p));
		size_t plain = (size_t)((stop ? stop : end) - p);
		char utf8[4];
		size_t n;

		memmove(out, p, plain);
		out += plain;
		p += plain;
		if (p == end)
			break;
		n = unescape(&p, end, utf8);
		if (!n)
			return -1;
		memcpy(out, utf8, n);
		out += n;
	}
	return out - text;
}

/* p: behind the brace. Returns the named member's value; *ret_missing when the object ends first. */
static const uint8_t *find_member(const struct scan *s, const uint8_t *p, const char *part, size_t len,
				  bool *ret_missing)
{
	p = skip_blank(s, p);
	if (peek(s, p) == '}')
		goto missing;
	for (;;) {
		bool same;

		if (peek(s, p) != '"')
			return NULL;
		p = name(s, p + 1, part, len, &same);
		if (!p)
			return NULL;
		p = skip_blank(s, p + 1);
		if (peek(s, p) != ':')
			return NULL;
		p = skip_blank(s, p + 1);
		if (same)
			return p;
		p = skip_value(s, p);
		if (!p)
			return NULL;
		p = skip_blank(s, p);
		if (peek(s, p) == '}')
			goto missing;
		if (peek(s, p) != ',')
			return NULL;
		p = skip_blank(s, p + 1);
	}
missing:
	*ret_missing = true;
	return NULL;
}

/* p: behind the bracket. Returns the element's place; *ret_missing when the array ends first. */
static const uint8_t *find_element(const struct scan *s, const uint8_t *p, int64_t index, bool *ret_missing)
{
	p = skip_blank(s, p);
	if (peek(s, p) == ']' || index < 0)
		goto missing;
	while (index--) {
		p = skip_value(s, p);
		if (!p)
			return NULL;
		p = skip_blank(s, p);
		if (peek(s, p) == ']')
			goto missing;
		if (peek(s, p) != ',')
			return NULL;
		p = skip_blank(s, p + 1);
	}
	return p;
missing:
	*ret_missing = true;
	return NULL;
}

/* p to the closing quote at end: a checked string with escapes. */
static int take_escaped(const uint8_t *p, const uint8_t *end, char *out, size_t out_cap,
			struct pen_json_key *ret)
{
	size_t len = 0;

	while (p < end) {
		char utf8[4];
		size_t n = unescape(&p, end, utf8);

		if (!n)
			return -PEN_JSON_UTF8;
		if (out_cap - len < n || len > PEN_KEY_MAX) {
			len = PEN_KEY_MAX + 1;
			break;
		}
		memcpy(out + len, utf8, n);
		len += n;
	}
	*ret = (struct pen_json_key){ out, len, false };
	return 0;
}

int pen_json_take(const struct scan *s, const uint8_t *p, char *out, size_t out_cap, struct pen_json_key *ret)
{
	const uint8_t *begin = p;
	bool escaped = false;
	uint8_t c = peek(s, p);

	if (c == '"') {
		p = string(s, ++begin, &escaped);
		if (!p)
			return -PEN_JSON_BAD;
		if (escaped)
			return take_escaped(begin, p, out, out_cap, ret);
		*ret = (struct pen_json_key){ (const char *)begin, (size_t)(p - begin), false };
		return 0;
	}
	if (c == '-' || is_digit(c)) {
		p = number(s, p);
		if (!p)
			return -PEN_JSON_BAD;
		/* A record's last byte is a bracket, so a number that ends with the text was cut. */
		c = peek(s, skip_blank(s, p));
		if (c != ',' && c != '}' && c != ']')
			return -PEN_JSON_BAD;
		*ret = (struct pen_json_key){ (const char *)begin, (size_t)(p - begin), true };
		return 0;
	}
	return c == '{' || c == '[' || c == 't' || c == 'f' || c == 'n' ? -PEN_KEY_TYPE : -PEN_JSON_BAD;
}

/* The pointer's value in the text: its first byte. */
static int walk(const struct scan *s, const struct pen_pointer *ptr, const uint8_t **ret)
{
	const uint8_t *p = skip_blank(s, s->begin);

	for (uint32_t i = 0; i < ptr->parts; i++) {
		bool missing = false;
		uint8_t c = peek(s, p);

		if (c == '{')
			p = find_member(s, p + 1, ptr->text + ptr->at[i], ptr->len[i], &missing);
		else if (c == '[')
			p = find_element(s, p + 1, ptr->index[i], &missing);
		else
			return -PEN_JSON_KEY_MISSING;
		if (!p)
			return missing ? -PEN_JSON_KEY_MISSING : -PEN_JSON_BAD;
	}
	*ret = p;
	return 0;
}

int pen_json_find(const char *text, size_t len, const struct pen_pointer *ptr, char *out, size_t out_cap,
		  struct pen_json_key *ret)
{
	const uint8_t *begin = (const uint8_t *)text, *p;
	const struct scan s = { begin, begin + len, NULL };
	int rc = walk(&s, ptr, &p);

	return rc ? rc : pen_json_take(&s, p, out, out_cap, ret);
}

int pen_json_locate(const char *text, size_t len, const struct pen_pointer *ptr, const char **ret_at,
		    size_t *ret_len)
{
	const uint8_t *begin = (const uint8_t *)text, *p, *end;
	const struct scan s = { begin, begin + len, NULL };
	int rc = walk(&s, ptr, &p);

	if (rc)
		return rc;
	end = skip_value(&s, p);
	if (!end || end == p)
		return -PEN_JSON_BAD;
	*ret_at = (const char *)p;
	*ret_len = (size_t)(end - p);
	return 0;
}

/* Bytes of UTF-8 compare like the characters they stand for. */
int pen_json_compare(const char *string, size_t string_len, const char *text, size_t len)
{
	const uint8_t *p = (const uint8_t *)string + 1, *end = (const uint8_t *)string + string_len - 1;
	size_t done = 0;

	while (p < end) {
		char utf8[4];
		size_t n = unescape(&p, end, utf8);
		int c;

		if (!n)
			return 1; /* half of a surrogate pair: no text is like it */
		c = memcmp(utf8, text + done, n < len - done ? n : len - done);
		if (c || n > len - done)
			return c ? c : 1;
		done += n;
	}
	return done < len ? -1 : 0;
}
