/* SPDX-License-Identifier: MIT */
#include "tools/json.h"

#include <stdio.h>
#include <string.h>

#include "tools/text.h"

void pen_jw_init(struct pen_jw *jw, struct pen_out *out)
{
	*jw = (struct pen_jw){ .out = out };
}

/* A string's inside. What a terminal would obey is escaped beside what JSON demands. data is UTF-8. */
static void inside(struct pen_out *out, const unsigned char *p, size_t len)
{
	size_t plain = 0;

	for (size_t i = 0; i < len;) {
		uint32_t rune = p[i];
		unsigned n = p[i] < 0x80 ? 1 : pen_text_rune(p + i, len - i, &rune);

		if (rune == '"' || rune == '\\' || pen_text_control(rune)) {
			static const char letters[] = "btn\0fr"; /* 8 .. 13 */

			pen_out_bytes(out, p + plain, i - plain);
			if (rune == '"' || rune == '\\')
				pen_out_format(out, "\\%c", (int)rune);
			else if (rune >= 8 && rune <= 13 && letters[rune - 8])
				pen_out_format(out, "\\%c", letters[rune - 8]);
			else
				pen_out_format(out, "\\u%04x", (unsigned)rune);
			plain = i + n;
		}
		i += n ? n : 1;
	}
	pen_out_bytes(out, p + plain, len - plain);
}

static void string(struct pen_out *out, const void *data, size_t len)
{
	pen_out_char(out, '"');
	inside(out, data, len);
	pen_out_char(out, '"');
}

static void member(struct pen_jw *jw, const char *name, const char *suffix)
{
	if (jw->comma)
		pen_out_char(jw->out, ',');
	jw->comma = true;
	if (name)
		pen_out_format(jw->out, "\"%s%s\":", name, suffix);
}

static void base64(struct pen_out *out, const unsigned char *p, size_t len)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	pen_out_char(out, '"');
	for (size_t i = 0; i < len; i += 3) {
		size_t n = len - i < 3 ? len - i : 3;
		uint32_t word = (uint32_t)p[i] << 16 | (n > 1 ? (uint32_t)p[i + 1] << 8 : 0) |
				(n > 2 ? p[i + 2] : 0u);
		char four[4] = { digits[word >> 18], digits[word >> 12 & 63], digits[word >> 6 & 63],
				 digits[word & 63] };

		if (n < 3)
			four[3] = '=';
		if (n < 2)
			four[2] = '=';
		pen_out_bytes(out, four, sizeof four);
	}
	pen_out_char(out, '"');
}

void pen_jw_object(struct pen_jw *jw, const char *name)
{
	member(jw, name, "");
	pen_out_char(jw->out, '{');
	jw->comma = false;
}

void pen_jw_object_end(struct pen_jw *jw)
{
	pen_out_char(jw->out, '}');
	jw->comma = true;
}

void pen_jw_array(struct pen_jw *jw, const char *name)
{
	member(jw, name, "");
	pen_out_char(jw->out, '[');
	jw->comma = false;
}

void pen_jw_array_end(struct pen_jw *jw)
{
	pen_out_char(jw->out, ']');
	jw->comma = true;
}

void pen_jw_line(struct pen_jw *jw)
{
	pen_out_char(jw->out, '\n');
	jw->comma = false;
}

void pen_jw_u64(struct pen_jw *jw, const char *name, uint64_t n)
{
	member(jw, name, "");
	pen_out_format(jw->out, "%llu", (unsigned long long)n);
}

void pen_jw_i64(struct pen_jw *jw, const char *name, int64_t n)
{
	member(jw, name, "");
	pen_out_format(jw->out, "%lld", (long long)n);
}

void pen_jw_milli(struct pen_jw *jw, const char *name, uint64_t n)
{
	unsigned part = (unsigned)(n % 1000);

	member(jw, name, "");
	pen_out_format(jw->out, "%llu", (unsigned long long)(n / 1000));
	if (part % 10 != 0)
		pen_out_format(jw->out, ".%03u", part);
	else if (part % 100 != 0)
		pen_out_format(jw->out, ".%02u", part / 10);
	else if (part != 0)
		pen_out_format(jw->out, ".%u", part / 100);
}

void pen_jw_bool(struct pen_jw *jw, const char *name, bool yes)
{
	member(jw, name, "");
	pen_out_text(jw->out, yes ? "true" : "false");
}

void pen_jw_null(struct pen_jw *jw, const char *name)
{
	member(jw, name, "");
	pen_out_text(jw->out, "null");
}

void pen_jw_id(struct pen_jw *jw, const char *name, uint64_t id)
{
	char text[PEN_TEXT_NUMBER];

	pen_jw_text(jw, name, id ? pen_text_id(text, id) : NULL);
}

void pen_jw_text(struct pen_jw *jw, const char *name, const char *text)
{
	if (text)
		pen_jw_data(jw, name, text, strlen(text));
	else
		pen_jw_null(jw, name);
}

void pen_jw_data(struct pen_jw *jw, const char *name, const void *data, size_t len)
{
	if (pen_text_utf8(data, len)) {
		member(jw, name, "");
		string(jw->out, data, len);
	} else {
		member(jw, name, "_base64");
		base64(jw->out, data, len);
	}
}

static bool blank(unsigned char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* A valid value: everything but the blanks between tokens. */
static void minified(struct pen_out *out, const unsigned char *p, size_t len)
{
	for (size_t i = 0; i < len;) {
		size_t end = i;

		if (blank(p[i])) {
			i++;
		} else if (p[i] != '"') {
			while (end < len && p[end] != '"' && !blank(p[end]))
				end++;
			pen_out_bytes(out, p + i, end - i);
			i = end;
		} else {
			/* Escapes stay as they are; only raw characters above U+007E can still be controls. */
			size_t plain = i;

			for (end = i + 1; p[end] != '"';) {
				uint32_t rune = p[end];
				unsigned n = p[end] == '\\'  ? 2
					     : p[end] < 0x80 ? 1
							     : pen_text_rune(p + end, len - end, &rune);

				if (pen_text_control(rune)) {
					pen_out_bytes(out, p + plain, end - plain);
					pen_out_format(out, "\\u%04x", (unsigned)rune);
					plain = end + n;
				}
				end += n;
			}
			pen_out_bytes(out, p + plain, end + 1 - plain);
			i = end + 1;
		}
	}
}

void pen_jw_value(struct pen_jw *jw, const char *name, const void *data, size_t len)
{
	if (pen_jw_valid(data, len)) {
		member(jw, name, "");
		minified(jw->out, data, len);
	} else {
		pen_jw_data(jw, name, data, len);
	}
}

/* ---- one strict look ----------------------------------------------------------------------- */

struct look {
	const unsigned char *p, *end;
	uint64_t object[PEN_JSON_DEPTH / 64]; /* one bit a level: 1 in an object, 0 in an array */
	unsigned depth;
};

static void skip(struct look *at)
{
	while (at->p < at->end && blank(*at->p))
		at->p++;
}

static bool digits(struct look *at)
{
	const unsigned char *from = at->p;

	while (at->p < at->end && *at->p >= '0' && *at->p <= '9')
		at->p++;
	return at->p > from;
}

static bool number(struct look *at)
{
	if (at->p < at->end && *at->p == '-')
		at->p++;
	if (at->p < at->end && *at->p == '0')
		at->p++;
	else if (!digits(at))
		return false;
	if (at->p < at->end && *at->p == '.') {
		at->p++;
		if (!digits(at))
			return false;
	}
	if (at->p < at->end && (*at->p | 0x20) == 'e') {
		at->p++;
		if (at->p < at->end && (*at->p == '+' || *at->p == '-'))
			at->p++;
		if (!digits(at))
			return false;
	}
	return true;
}

static bool text(struct look *at)
{
	if (at->p == at->end || *at->p != '"')
		return false;
	for (at->p++; at->p < at->end && *at->p != '"'; at->p++) {
		if (*at->p < 0x20)
			return false;
		if (*at->p != '\\')
			continue;
		if (++at->p == at->end || !strchr("\"\\/bfnrtu", *at->p) || *at->p == '\0')
			return false;
		for (int i = 0; *at->p == 'u' && i < 4; i++) {
			if (at->end - at->p <= i + 1 || !strchr("0123456789abcdefABCDEF", at->p[i + 1]) ||
			    at->p[i + 1] == '\0')
				return false;
		}
	}
	return at->p < at->end && *at->p++ == '"';
}

static bool word(struct look *at, const char *name)
{
	size_t len = strlen(name);

	if ((size_t)(at->end - at->p) < len || memcmp(at->p, name, len) != 0)
		return false;
	at->p += len;
	return true;
}

static bool scalar(struct look *at)
{
	switch (at->p < at->end ? *at->p : 0) {
	case '"':
		return text(at);
	case 't':
		return word(at, "true");
	case 'f':
		return word(at, "false");
	case 'n':
		return word(at, "null");
	default:
		return number(at);
	}
}

static bool in_object(const struct look *at)
{
	return at->object[(at->depth - 1) / 64] >> ((at->depth - 1) % 64) & 1;
}

/* Name and colon of a member. */
static bool name(struct look *at)
{
	skip(at);
	if (!text(at))
		return false;
	skip(at);
	return at->p < at->end && *at->p++ == ':';
}

/* Goes into an array or object. *ret_empty: it ended at once. */
static bool enter(struct look *at, bool *ret_empty)
{
	bool object = *at->p++ == '{';
	uint64_t bit = 1ull << (at->depth % 64);

	if (at->depth == PEN_JSON_DEPTH)
		return false;
	at->object[at->depth / 64] = object ? at->object[at->depth / 64] | bit
					    : at->object[at->depth / 64] & ~bit;
	at->depth++;
	skip(at);
	*ret_empty = at->p < at->end && *at->p == (object ? '}' : ']');
	return *ret_empty || !object || name(at);
}

/* Behind a value: closes what ends here. *ret_more: another value follows. */
static bool leave(struct look *at, bool *ret_more)
{
	*ret_more = false;
	for (skip(at); at->depth > 0; skip(at)) {
		if (at->p == at->end)
			return false;
		unsigned char c = *at->p++;

		if (c == ',') {
			*ret_more = true;
			return !in_object(at) || name(at);
		}
		if (c != (in_object(at) ? '}' : ']'))
			return false;
		at->depth--;
	}
	return true;
}

bool pen_jw_valid(const void *data, size_t len)
{
	struct look at = { .p = data, .end = (const unsigned char *)data + len };
	bool more = true;

	if (!pen_text_utf8(data, len))
		return false;
	while (more) {
		bool empty = false;

		skip(&at);
		if (at.p < at.end && (*at.p == '{' || *at.p == '[')) {
			if (!enter(&at, &empty))
				return false;
			if (!empty)
				continue;
		} else if (!scalar(&at)) {
			return false;
		}
		if (!leave(&at, &more))
			return false;
	}
	return at.p == at.end;
}

/* ---- parts of a valid value ------------------------------------------------------------------ */

void pen_jw_compact(struct pen_out *out, const void *data, size_t len)
{
	minified(out, data, len);
}

static unsigned hex4(const unsigned char *p)
{
	unsigned n = 0;

	for (int i = 0; i < 4; i++)
		n = n << 4 | (p[i] <= '9' ? p[i] - 0x30u : (p[i] | 0x20u) - 0x57u);
	return n;
}

static size_t put_rune(char to[4], uint32_t rune)
{
	size_t n = rune < 0x80 ? 1 : rune < 0x800 ? 2 : rune < 0x10000 ? 3 : 4;
	static const unsigned char first[] = { 0, 0, 0xc0, 0xe0, 0xf0 };

	for (size_t i = n - 1; i; i--, rune >>= 6)
		to[i] = (char)(0x80 | (rune & 0x3f));
	to[0] = (char)(first[n] | rune);
	return n;
}

/* The escape at p (behind the backslash): its character, and how many bytes it took. */
static size_t escaped(const unsigned char *p, const unsigned char *end, uint32_t *ret_rune)
{
	static const char names[] = "bfnrt", means[] = "\b\f\n\r\t";
	const char *at = *p != 'u' ? strchr(names, *p) : NULL;
	uint32_t high, low;

	*ret_rune = at ? (unsigned char)means[at - names] : *p;
	if (*p != 'u')
		return 1;
	high = *ret_rune = hex4(p + 1);
	if (high < 0xd800 || high > 0xdfff)
		return 5;
	*ret_rune = 0xfffd;
	if (high > 0xdbff || end - p < 11 || p[5] != '\\' || p[6] != 'u')
		return 5;
	low = hex4(p + 7);
	if (low < 0xdc00 || low > 0xdfff)
		return 5;
	*ret_rune = 0x10000 + ((high - 0xd800) << 10 | (low - 0xdc00));
	return 11;
}

void pen_jw_unescape(const void *data, size_t len, void (*put)(void *arg, const void *piece, size_t len),
		     void *arg)
{
	const unsigned char *p = (const unsigned char *)data + 1,
			    *end = (const unsigned char *)data + len - 1;

	while (p < end) {
		const unsigned char *stop = memchr(p, '\\', (size_t)(end - p));
		uint32_t rune;
		char utf8[4];

		stop = stop ? stop : end;
		if (stop > p)
			put(arg, p, (size_t)(stop - p));
		p = stop;
		if (p == end)
			break;
		p += 1 + escaped(p + 1, end, &rune);
		put(arg, utf8, put_rune(utf8, rune));
	}
}

struct same {
	const char *name;
	bool differs;
};

static void compare_piece(void *arg, const void *piece, size_t len)
{
	struct same *same = arg;

	if (same->differs || strnlen(same->name, len) < len || memcmp(same->name, piece, len) != 0)
		same->differs = true;
	else
		same->name += len;
}

/* Behind the value at p. Strings are stepped over whole, so brackets in them do not count. */
static void step_over(struct look *at)
{
	unsigned depth = 0;

	do {
		if (*at->p == '"') {
			(void)text(at);
			continue;
		}
		depth += *at->p == '{' || *at->p == '[';
		depth -= *at->p == '}' || *at->p == ']';
		at->p++;
		/* A number or a word ends where something else begins. */
		while (!depth && at->p < at->end && !blank(*at->p) && !strchr(",]}", *at->p) &&
		       !strchr("]}", at->p[-1]))
			at->p++;
	} while (depth);
}

bool pen_jw_member(const void *data, size_t len, const char *member_name, const void **ret, size_t *ret_len)
{
	struct look at = { .p = data, .end = (const unsigned char *)data + len };

	skip(&at);
	if (at.p == at.end || *at.p++ != '{')
		return false;
	for (skip(&at); *at.p != '}'; skip(&at)) {
		const unsigned char *from = at.p;
		struct same same = { member_name, false };

		(void)text(&at);
		pen_jw_unescape(from, (size_t)(at.p - from), compare_piece, &same);
		skip(&at);
		at.p++; /* the colon */
		skip(&at);
		from = at.p;
		step_over(&at);
		if (!same.differs && !*same.name) {
			*ret = from;
			*ret_len = (size_t)(at.p - from);
			return true;
		}
		skip(&at);
		at.p += *at.p == ',';
	}
	return false;
}

int pen_jw_each(const void *data, size_t len, pen_jw_part_fn *fn, void *arg)
{
	struct look at = { .p = data, .end = (const unsigned char *)data + len };
	bool object;

	skip(&at);
	if (at.p == at.end || (*at.p != '{' && *at.p != '['))
		return 0;
	object = *at.p++ == '{';
	for (skip(&at); *at.p != '}' && *at.p != ']'; skip(&at)) {
		const unsigned char *name = at.p, *from;
		size_t name_len = 0;
		int rc;

		if (object) {
			(void)text(&at);
			name_len = (size_t)(at.p - name);
			skip(&at);
			at.p++; /* the colon */
			skip(&at);
		}
		from = at.p;
		step_over(&at);
		rc = fn(arg, object ? name : NULL, name_len, from, (size_t)(at.p - from));
		if (rc)
			return rc;
		skip(&at);
		at.p += *at.p == ',';
	}
	return 0;
}
