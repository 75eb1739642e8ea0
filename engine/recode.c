/* SPDX-License-Identifier: MIT */
/*
 * recode - text in another encoding becomes UTF-8, piece by piece
 *
 * Runs of ASCII go eight bytes at a time; everything else character by character. A character whose bytes are
 * spread over two pieces is gathered in the carry, one byte at a time.
 */
#include "engine/recode.h"

#include <string.h>

#include "include/penstock_error.h"
#include "ring/base.h"

/* 80 .. 9f of Windows-1252. */
static const uint16_t windows1252[32] = {
	0x20ac, 0x0081, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160,
	0x2039, 0x0152, 0x008d, 0x017d, 0x008f, 0x0090, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
	0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0x009d, 0x017e, 0x0178,
};

void pen_recode_init(struct pen_recode *recode, enum pen_encoding encoding)
{
	*recode = (struct pen_recode){ .encoding = encoding };
}

bool pen_recode_plain(const struct pen_recode *recode)
{
	return recode->encoding == PEN_ENCODING_UTF8 && !recode->carry_len;
}

static void put_char(struct pen_room *out, uint32_t c)
{
	uint8_t *p = out->at;

	if (c < 0x80) {
		*p++ = (uint8_t)c;
	} else if (c < 0x800) {
		*p++ = (uint8_t)(0xc0 | c >> 6);
		*p++ = (uint8_t)(0x80 | (c & 0x3f));
	} else if (c < 0x10000) {
		*p++ = (uint8_t)(0xe0 | c >> 12);
		*p++ = (uint8_t)(0x80 | (c >> 6 & 0x3f));
		*p++ = (uint8_t)(0x80 | (c & 0x3f));
	} else {
		*p++ = (uint8_t)(0xf0 | c >> 18);
		*p++ = (uint8_t)(0x80 | (c >> 12 & 0x3f));
		*p++ = (uint8_t)(0x80 | (c >> 6 & 0x3f));
		*p++ = (uint8_t)(0x80 | (c & 0x3f));
	}
	out->at = p;
}

static void copy(struct pen_span *in, struct pen_room *out)
{
	size_t n = (size_t)pen_min(pen_span_left(in), pen_room_left(out));

	if (!n)
		return;
	memcpy(out->at, in->at, n);
	in->at += n;
	out->at += n;
}

/* ---- one byte a character -------------------------------------------------------------------- */

static void from_bytes(const struct pen_recode *recode, struct pen_span *in, struct pen_room *out)
{
	bool windows = recode->encoding == PEN_ENCODING_WINDOWS1252;

	while (pen_span_left(in) && pen_room_left(out) >= PEN_RECODE_ROOM) {
		uint8_t byte;

		while (pen_span_left(in) >= 8 && pen_room_left(out) >= 8) {
			uint64_t v;

			memcpy(&v, in->at, 8);
			if (v & 0x8080808080808080u)
				break;
			memcpy(out->at, &v, 8);
			in->at += 8;
			out->at += 8;
		}
		if (!pen_span_left(in) || pen_room_left(out) < PEN_RECODE_ROOM)
			return;
		byte = *in->at++;
		put_char(out, windows && byte >= 0x80 && byte < 0xa0 ? windows1252[byte - 0x80] : byte);
	}
}

/* ---- UTF-16 ---------------------------------------------------------------------------------- */

/* Four ASCII characters at a time. */
static void ascii_run(bool big, struct pen_span *in, struct pen_room *out)
{
	while (pen_span_left(in) >= 8 && pen_room_left(out) >= PEN_RECODE_ROOM) {
		uint64_t v;
		uint32_t four;

		memcpy(&v, in->at, 8);
		if (v & (big ? 0x80ff80ff80ff80ffu : 0xff80ff80ff80ff80u))
			return;
		if (big)
			v >>= 8;
		v = (v | v >> 8) & 0x0000ffff0000ffffu;
		four = (uint32_t)(v | v >> 16);
		memcpy(out->at, &four, 4);
		in->at += 8;
		out->at += 4;
	}
}

static uint32_t unit(bool big, const uint8_t *p)
{
	return big ? (uint32_t)p[0] << 8 | p[1] : (uint32_t)p[1] << 8 | p[0];
}

/* The character at p: how many of the n bytes it has; 0: more are needed; negative: it is none. */
static int look(bool big, const uint8_t *p, size_t n, uint32_t *ret)
{
	uint32_t low;

	if (n < 2)
		return 0;
	*ret = unit(big, p);
	if (*ret - 0xd800 >= 0x800)
		return 2;
	if (*ret >= 0xdc00)
		return -PEN_ENCODING_BAD;
	if (n < 4)
		return 0;
	low = unit(big, p + 2);
	if (low - 0xdc00 >= 0x400)
		return -PEN_ENCODING_BAD;
	*ret = 0x10000 + ((*ret - 0xd800) << 10) + (low - 0xdc00);
	return 4;
}

static int from_utf16(struct pen_recode *recode, struct pen_span *in, struct pen_room *out)
{
	bool big = recode->encoding == PEN_ENCODING_UTF16BE;
	uint32_t c = 0;

	while (pen_span_left(in) && pen_room_left(out) >= PEN_RECODE_ROOM) {
		int took;

		if (recode->carry_len) {
			recode->carry[recode->carry_len++] = *in->at++;
			took = look(big, recode->carry, recode->carry_len, &c);
			if (took > 0)
				recode->carry_len = 0;
		} else {
			ascii_run(big, in, out);
			if (pen_room_left(out) < PEN_RECODE_ROOM)
				return 0;
			took = look(big, in->at, pen_span_left(in), &c);
			if (took > 0)
				in->at += took;
			else if (took == 0 && pen_span_left(in))
				recode->carry[recode->carry_len++] = *in->at++;
		}
		if (took < 0)
			return took;
		if (took)
			put_char(out, c);
	}
	return 0;
}

/* ---- which of them --------------------------------------------------------------------------- */

/* Until the first two bytes are known. A first byte that begins no mark decides alone. */
static void settle(struct pen_recode *recode, struct pen_span *in, bool last)
{
	if (!recode->carry_len && pen_span_left(in)) {
		if (*in->at < 0xfe)
			recode->encoding = PEN_ENCODING_UTF8;
		else
			recode->carry[recode->carry_len++] = *in->at++;
	}
	if (recode->encoding || !recode->carry_len)
		return;
	if (!pen_span_left(in)) {
		if (last)
			recode->encoding = PEN_ENCODING_UTF8;
	} else if ((recode->carry[0] ^ *in->at) != 1) { /* FE and FF, in either order */
		recode->encoding = PEN_ENCODING_UTF8;
	} else {
		recode->encoding = recode->carry[0] == 0xff ? PEN_ENCODING_UTF16LE : PEN_ENCODING_UTF16BE;
	}
}

int pen_recode_step(struct pen_recode *recode, struct pen_span *in, struct pen_room *out, bool last)
{
	int rc = 0;

	if (recode->encoding == PEN_ENCODING_AUTO)
		settle(recode, in, last);
	switch (recode->encoding) {
	case PEN_ENCODING_AUTO:
		return 0;
	case PEN_ENCODING_UTF8:
		if (recode->carry_len && pen_room_left(out)) { /* a byte that began no mark after all */
			*out->at++ = recode->carry[0];
			recode->carry_len = 0;
		}
		if (!recode->carry_len)
			copy(in, out);
		return 0;
	case PEN_ENCODING_UTF16LE:
	case PEN_ENCODING_UTF16BE:
		rc = from_utf16(recode, in, out);
		if (!rc && last && !pen_span_left(in) && recode->carry_len)
			rc = -PEN_ENCODING_BAD;
		return rc;
	case PEN_ENCODING_LATIN1:
	case PEN_ENCODING_WINDOWS1252:
		from_bytes(recode, in, out);
		return 0;
	}
	return -PEN_ENCODING_BAD;
}
