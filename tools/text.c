/* SPDX-License-Identifier: MIT */
#include "tools/text.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

unsigned pen_text_rune(const unsigned char *p, size_t len, uint32_t *ret_rune)
{
	static const uint32_t least[5] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint32_t rune;
	unsigned n;

	if (len == 0)
		return 0;
	if (p[0] < 0x80) {
		rune = p[0];
		n = 1;
	} else if (p[0] < 0xc2 || p[0] > 0xf4) {
		return 0;
	} else {
		n = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
		if (n > len)
			return 0;
		rune = p[0] & (0x7fu >> n);
		for (unsigned i = 1; i < n; i++) {
			if ((p[i] & 0xc0) != 0x80)
				return 0;
			rune = rune << 6 | (p[i] & 0x3fu);
		}
		if (rune < least[n] || rune > 0x10ffff || (rune >= 0xd800 && rune < 0xe000))
			return 0;
	}
	if (ret_rune)
		*ret_rune = rune;
	return n;
}

bool pen_text_utf8(const void *data, size_t len)
{
	const unsigned char *p = data;

	for (size_t i = 0; i < len;) {
		unsigned n = p[i] < 0x80 ? 1 : pen_text_rune(p + i, len - i, NULL);

		if (n == 0)
			return false;
		i += n;
	}
	return true;
}

bool pen_text_control(uint32_t rune)
{
	return rune < 0x20 || (rune >= 0x7f && rune < 0xa0) || (rune >= 0x200e && rune <= 0x200f) ||
	       (rune >= 0x2028 && rune <= 0x202e) || (rune >= 0x2066 && rune <= 0x2069);
}

unsigned pen_text_columns(uint32_t rune)
{
	static const struct {
		uint32_t first, last;
		unsigned columns;
	} ranges[] = {
		{ 0x0300, 0x036f, 0 },	 { 0x1100, 0x115f, 2 },	  { 0x200b, 0x200f, 0 },
		{ 0x231a, 0x231b, 2 },	 { 0x23e9, 0x23ec, 2 },	  { 0x2e80, 0x303e, 2 },
		{ 0x3041, 0xa4cf, 2 },	 { 0xac00, 0xd7a3, 2 },	  { 0xf900, 0xfaff, 2 },
		{ 0xfe00, 0xfe0f, 0 },	 { 0xfe30, 0xfe6f, 2 },	  { 0xff01, 0xff60, 2 },
		{ 0xffe0, 0xffe6, 2 },	 { 0x1f300, 0x1f64f, 2 }, { 0x1f680, 0x1f6ff, 2 },
		{ 0x1f900, 0x1f9ff, 2 }, { 0x20000, 0x3fffd, 2 },
	};

	for (size_t i = 0; i < sizeof ranges / sizeof ranges[0] && rune >= ranges[i].first; i++)
		if (rune <= ranges[i].last)
			return ranges[i].columns;
	return 1;
}

size_t pen_text_escape(char *out, size_t cap, const void *data, size_t len, size_t *ret_used)
{
	const unsigned char *p = data;
	size_t at = 0, used = 0;

	while (used < len && cap > 0) {
		uint32_t rune = 0;
		unsigned n = pen_text_rune(p + used, len - used, &rune);
		char one[16];
		int width;

		if (n == 0)
			width = snprintf(one, sizeof one, "\\x%02x", p[used]);
		else if (!pen_text_control(rune))
			width = snprintf(one, sizeof one, "%.*s", (int)n, (const char *)p + used);
		else
			width = snprintf(one, sizeof one, rune < 0x80 ? "\\x%02x" : "\\u%04x",
					 (unsigned)rune);
		if (at + (size_t)width >= cap)
			break;
		memcpy(out + at, one, (size_t)width);
		at += (size_t)width;
		used += n ? n : 1;
	}
	if (cap > 0)
		out[at] = '\0';
	if (ret_used)
		*ret_used = used;
	return at;
}

static void put(char *out, size_t cap, size_t *at, char c)
{
	if (*at + 1 < cap)
		out[*at] = c;
	++*at;
}

static bool printable(const char *word)
{
	for (size_t len = strlen(word), i = 0; i < len;) {
		uint32_t rune;
		unsigned n = pen_text_rune((const unsigned char *)word + i, len - i, &rune);

		if (n == 0 || pen_text_control(rune))
			return false;
		i += n;
	}
	return true;
}

size_t pen_text_quote(char *out, size_t cap, const char *word)
{
	static const char plain[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./:,@%";
	size_t at = 0;

	if (*word != '\0' && strspn(word, plain) == strlen(word)) {
		for (const char *p = word; *p; p++)
			put(out, cap, &at, *p);
	} else if (!printable(word)) {
		/* bash, zsh and ksh know $'...'; there is no other way that a terminal survives. */
		put(out, cap, &at, '$');
		put(out, cap, &at, '\'');
		for (const unsigned char *p = (const unsigned char *)word; *p; p++) {
			char piece[8];

			snprintf(piece, sizeof piece,
				 *p < 0x20 || *p >= 0x7f || *p == '\'' || *p == '\\' ? "\\x%02x" : "%c", *p);
			for (const char *c = piece; *c; c++)
				put(out, cap, &at, *c);
		}
		put(out, cap, &at, '\'');
	} else {
		put(out, cap, &at, '\'');
		for (const char *p = word; *p; p++) {
			const char *piece = *p == '\'' ? "'\\''" : NULL;

			if (!piece)
				put(out, cap, &at, *p);
			for (; piece && *piece; piece++)
				put(out, cap, &at, *piece);
		}
		put(out, cap, &at, '\'');
	}
	if (cap > 0)
		out[at < cap ? at : cap - 1] = '\0';
	return at;
}

const char *pen_text_count(char out[PEN_TEXT_NUMBER], uint64_t n)
{
	char digits[PEN_TEXT_NUMBER];
	int len = snprintf(digits, sizeof digits, "%llu", (unsigned long long)n);
	size_t at = 0;

	for (int i = 0; i < len; i++) {
		if (i > 0 && (len - i) % 3 == 0)
			out[at++] = ',';
		out[at++] = digits[i];
	}
	out[at] = '\0';
	return out;
}

/* Three figures of n in the largest unit that leaves at least one before the point. */
static const char *scaled(char *out, uint64_t n, const char *const units[7], const char *gap)
{
	uint64_t unit = 1;
	unsigned i = 0;

	while (i < 6 && n / unit >= 1000) {
		unit *= 1000;
		i++;
	}
	if (i == 0)
		snprintf(out, PEN_TEXT_NUMBER, "%llu%s%s", (unsigned long long)n, gap, units[0]);
	else {
		uint64_t whole = n / unit, part = n % unit / (unit / 1000);

		if (whole >= 100)
			snprintf(out, PEN_TEXT_NUMBER, "%u%s%s", (unsigned)whole, gap, units[i]);
		else if (whole >= 10)
			snprintf(out, PEN_TEXT_NUMBER, "%u.%u%s%s", (unsigned)whole, (unsigned)(part / 100),
				 gap, units[i]);
		else
			snprintf(out, PEN_TEXT_NUMBER, "%u.%02u%s%s", (unsigned)whole, (unsigned)(part / 10),
				 gap, units[i]);
	}
	return out;
}

const char *pen_text_short(char out[PEN_TEXT_NUMBER], uint64_t n)
{
	static const char *const units[7] = { "", "k", "M", "G", "T", "P", "E" };

	return scaled(out, n, units, "");
}

const char *pen_text_bytes(char out[PEN_TEXT_NUMBER], uint64_t n)
{
	static const char *const units[7] = { "B", "kB", "MB", "GB", "TB", "PB", "EB" };

	return scaled(out, n, units, " ");
}

const char *pen_text_ms(char out[PEN_TEXT_NUMBER], uint64_t us)
{
	int digits = us < 1000 ? 2 : us < 10000 ? 1 : 0;
	/* Cut off, as other numbers are. */
	uint64_t step = us < 1000 ? 10 : us < 10000 ? 100 : 1000;

	snprintf(out, PEN_TEXT_NUMBER, "%.*f", digits, (double)(us - us % step) / 1000);
	return out;
}

const char *pen_text_clock(char out[PEN_TEXT_NUMBER], uint64_t seconds)
{
	if (seconds >= 360000)
		snprintf(out, PEN_TEXT_NUMBER, "%llud", (unsigned long long)(seconds / 86400));
	else if (seconds >= 3600)
		snprintf(out, PEN_TEXT_NUMBER, "%u:%02u:%02u", (unsigned)(seconds / 3600),
			 (unsigned)(seconds / 60 % 60), (unsigned)(seconds % 60));
	else
		snprintf(out, PEN_TEXT_NUMBER, "%u:%02u", (unsigned)(seconds / 60), (unsigned)(seconds % 60));
	return out;
}

const char *pen_text_time(char out[PEN_TEXT_NUMBER], uint64_t ms)
{
	time_t seconds = (time_t)(ms / 1000);
	struct tm tm;

	if (ms == 0 || ms / 1000 > 253402300799ull || !gmtime_r(&seconds, &tm)) {
		snprintf(out, PEN_TEXT_NUMBER, "-");
		return out;
	}
	size_t at = strftime(out, PEN_TEXT_NUMBER, "%Y-%m-%dT%H:%M:%S", &tm);

	snprintf(out + at, PEN_TEXT_NUMBER - at, ".%03uZ", (unsigned)(ms % 1000));
	return out;
}

const char *pen_text_id(char out[PEN_TEXT_NUMBER], uint64_t id)
{
	snprintf(out, PEN_TEXT_NUMBER, "%016llx", (unsigned long long)id);
	return out;
}

static int nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool pen_text_unhex(const char *text, unsigned char *out, size_t cap, size_t *ret_len)
{
	size_t len = strlen(text);

	if (len % 2 != 0 || len / 2 > cap)
		return false;
	for (size_t i = 0; i < len / 2; i++) {
		int high = nibble(text[2 * i]), low = nibble(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		out[i] = (unsigned char)(high << 4 | low);
	}
	*ret_len = len / 2;
	return true;
}

bool pen_text_u64(const char *text, size_t len, uint64_t *ret_n)
{
	uint64_t n = 0;

	if (len == 0)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		if (__builtin_mul_overflow(n, 10u, &n) ||
		    __builtin_add_overflow(n, (unsigned)(text[i] - '0'), &n))
			return false;
	}
	*ret_n = n;
	return true;
}

unsigned pen_text_distance(const char *a, const char *b)
{
	enum { MAX = 64 };
	unsigned rows[3][MAX];
	size_t alen = strlen(a), blen = strlen(b);

	if (alen >= MAX || blen >= MAX)
		return MAX;
	for (unsigned j = 0; j <= blen; j++)
		rows[0][j] = j;
	for (size_t i = 1; i <= alen; i++) {
		unsigned *row = rows[i % 3], *above = rows[(i - 1) % 3], *before = rows[(i + 1) % 3];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= blen; j++) {
			unsigned best = above[j - 1] + (a[i - 1] != b[j - 1]);

			if (above[j] + 1 < best)
				best = above[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    before[j - 2] + 1 < best)
				best = before[j - 2] + 1;
			row[j] = best;
		}
	}
	return rows[alen % 3][blen];
}
