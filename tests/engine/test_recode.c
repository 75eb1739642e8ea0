/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "engine/recode.h"
#include "include/penstock_error.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define TEXT(literal) (literal), sizeof(literal) - 1

/* Converts `in` in pieces of `piece` bytes into rooms of `room`; returns the code. */
static int convert(enum pen_encoding encoding, const char *in, size_t len, size_t piece, size_t room,
		   char *out, size_t cap, size_t *ret_len)
{
	struct pen_recode recode;
	size_t taken = 0, put = 0;
	int rc = 0;

	pen_recode_init(&recode, encoding);
	do {
		size_t n = len - taken < piece ? len - taken : piece;
		/* A block of exactly its size, so that a read past it is seen. */
		uint8_t *copy = malloc(n + 1);
		struct pen_span span = { copy, copy + n };

		memcpy(copy, in + taken, n);
		taken += n;
		for (;;) {
			uint8_t *to = malloc(room);
			struct pen_room r = { to, to + room };
			const uint8_t *before = span.at;

			rc = pen_recode_step(&recode, &span, &r, taken == len);
			cr_assert(put + (size_t)(r.at - to) <= cap);
			memcpy(out + put, to, (size_t)(r.at - to));
			put += (size_t)(r.at - to);
			free(to);
			if (rc || (span.at == span.end && (size_t)(r.end - r.at) >= PEN_RECODE_ROOM))
				break;
			cr_assert(span.at != before || r.at != to, "no progress");
		}
		free(copy);
	} while (!rc && taken < len);
	*ret_len = put;
	return rc;
}

struct row {
	enum pen_encoding encoding;
	const char *in;
	size_t in_len;
	const char *out;
	size_t out_len;
	int code;
};

static void check(const struct row *row, size_t i)
{
	static const size_t pieces[] = { 1, 2, 3, 5, 8, 13, 1000 };
	static const size_t rooms[] = { 4, 5, 9, 17, 1000 };

	for (size_t p = 0; p < COUNT(pieces); p++) {
		for (size_t r = 0; r < COUNT(rooms); r++) {
			char out[1024];
			size_t len = 0;
			int rc = convert(row->encoding, row->in, row->in_len, pieces[p], rooms[r], out,
					 sizeof(out), &len);

			cr_expect_eq(rc, row->code, "row %zu, pieces of %zu into %zu: %d", i, pieces[p],
				     rooms[r], rc);
			cr_expect(len == row->out_len && memcmp(out, row->out, len) == 0,
				  "row %zu, pieces of %zu into %zu: %zu bytes: %.*s", i, pieces[p], rooms[r],
				  len, (int)len, out);
		}
	}
}

Test(recode, whole_text_comes_out_whatever_the_pieces)
{
	static const struct row rows[] = {
		{ PEN_ENCODING_UTF8, TEXT("plain \xff\xfe text"), TEXT("plain \xff\xfe text"), 0 },
		{ PEN_ENCODING_UTF8, TEXT("\xef\xbb\xbf{}"), TEXT("\xef\xbb\xbf{}"), 0 },
		{ PEN_ENCODING_AUTO, TEXT(""), TEXT(""), 0 },
		{ PEN_ENCODING_AUTO, TEXT("x"), TEXT("x"), 0 },
		{ PEN_ENCODING_AUTO, TEXT("\xef\xbb\xbf{}"), TEXT("\xef\xbb\xbf{}"), 0 },
		{ PEN_ENCODING_AUTO, TEXT("\xff"), TEXT("\xff"), 0 },
		{ PEN_ENCODING_AUTO, TEXT("\xff\xff\xfe"), TEXT("\xff\xff\xfe"), 0 },
		{ PEN_ENCODING_AUTO, TEXT("\xfe z"), TEXT("\xfe z"), 0 },
		{ PEN_ENCODING_AUTO, TEXT("\xff\xfe"), TEXT("\xef\xbb\xbf"), 0 },
		{ PEN_ENCODING_AUTO, TEXT("\xff\xfe{\0}\0"), TEXT("\xef\xbb\xbf{}"), 0 },
		{ PEN_ENCODING_AUTO, TEXT("\xfe\xff\0{\0}"), TEXT("\xef\xbb\xbf{}"), 0 },
		{ PEN_ENCODING_UTF16LE, TEXT("a\0b\0c\0d\0e\0\xe9\0f\0g\0h\0i\0j\0"),
		  TEXT("abcde\xc3\xa9"
		       "fghij"),
		  0 },
		{ PEN_ENCODING_UTF16BE, TEXT("\0a\0b\0c\0d\0e\0\xe9\0f\0g\0h\0i\0j"),
		  TEXT("abcde\xc3\xa9"
		       "fghij"),
		  0 },
		{ PEN_ENCODING_UTF16LE, TEXT("\x3d\xd8\x00\xde!\0"), TEXT("\xf0\x9f\x98\x80!"), 0 },
		{ PEN_ENCODING_UTF16BE, TEXT("\xd8\x3d\xde\x00\0!"), TEXT("\xf0\x9f\x98\x80!"), 0 },
		{ PEN_ENCODING_UTF16BE,
		  TEXT("\x07\xff\x08\x00\xd7\xff\xe0\x00\xff\xff\xd8\x00\xdc\x00\xdb\xff\xdf\xff"),
		  TEXT("\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"),
		  0 },
		{ PEN_ENCODING_LATIN1,
		  TEXT("0123456789\x80\x9f\xa0\xff"
		       "0123456789"),
		  TEXT("0123456789\xc2\x80\xc2\x9f\xc2\xa0\xc3\xbf"
		       "0123456789"),
		  0 },
		{ PEN_ENCODING_WINDOWS1252, TEXT("caf\xe9 \x80 \x93x\x94 \x9f"),
		  TEXT("caf\xc3\xa9 \xe2\x82\xac \xe2\x80\x9cx\xe2\x80\x9d \xc5\xb8"), 0 },
		{ PEN_ENCODING_WINDOWS1252, TEXT("\x81\x8d\x8f\x90\x9d"),
		  TEXT("\xc2\x81\xc2\x8d\xc2\x8f\xc2\x90\xc2\x9d"), 0 },
	};

	for (size_t i = 0; i < COUNT(rows); i++)
		check(&rows[i], i);
}

Test(recode, what_means_nothing_stops_behind_the_last_whole_character)
{
	static const struct row rows[] = {
		{ PEN_ENCODING_UTF16LE, TEXT("a\0b"), TEXT("a"), -PEN_ENCODING_BAD },
		{ PEN_ENCODING_UTF16LE, TEXT("a\0\x00\xd8"), TEXT("a"), -PEN_ENCODING_BAD },
		{ PEN_ENCODING_UTF16LE, TEXT("a\0\x00\xd8x"), TEXT("a"), -PEN_ENCODING_BAD },
		{ PEN_ENCODING_UTF16LE, TEXT("a\0\x00\xd8x\0y\0"), TEXT("a"), -PEN_ENCODING_BAD },
		{ PEN_ENCODING_UTF16LE, TEXT("a\0\x00\xdcx\0"), TEXT("a"), -PEN_ENCODING_BAD },
		{ PEN_ENCODING_UTF16BE, TEXT("\0a\xdf\xff\0x"), TEXT("a"), -PEN_ENCODING_BAD },
		{ PEN_ENCODING_UTF16BE, TEXT("\0a\xd8\x00\xd8\x00\xdc\x00"), TEXT("a"), -PEN_ENCODING_BAD },
		{ PEN_ENCODING_AUTO, TEXT("\xff\xfe{"), TEXT("\xef\xbb\xbf"), -PEN_ENCODING_BAD },
	};

	for (size_t i = 0; i < COUNT(rows); i++)
		check(&rows[i], i);
}

Test(recode, every_character_survives_both_byte_orders)
{
	for (uint32_t c = 0; c < 0x110000; c += c < 0x3000 ? 1 : 61) {
		char in[4], out[16], expect[4];
		size_t in_len = 2, want, len;
		uint32_t u[2] = { c, 0 };

		if (c >= 0xd800 && c < 0xe000)
			continue;
		if (c >= 0x10000) {
			u[0] = 0xd800 + ((c - 0x10000) >> 10);
			u[1] = 0xdc00 + ((c - 0x10000) & 0x3ff);
			in_len = 4;
		}
		want = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
		for (size_t i = want, rest = c; i-- > 0; rest >>= 6)
			expect[i] = (char)(i ? 0x80 | (rest & 0x3f)
					     : (want == 1 ? rest : (0xf00 >> want & 0xff) | rest));
		for (int big = 0; big < 2; big++) {
			for (size_t i = 0; i < in_len; i++)
				in[i] = (char)(u[i / 2] >> 8 * ((i & 1) ^ (size_t)big));
			cr_assert_eq(convert(big ? PEN_ENCODING_UTF16BE : PEN_ENCODING_UTF16LE, in, in_len, 4,
					     4, out, sizeof(out), &len),
				     0);
			cr_assert(len == want && memcmp(out, expect, len) == 0, "U+%04X", c);
		}
	}
}
