/* SPDX-License-Identifier: MIT */
/*
 * fuzz_unpack - another decompressor, and the pieces, change nothing
 *
 * The first byte of an input says how it is cut, and whether it is a body of gzip that gets its header here. Held to
 * be true of every input:
 *
 *   1. whole and in pieces give the same text and the same verdict;
 *   2. gzip: zlib gives the same text and the same verdict.
 *
 * ISA-L puts up with sets of codes that zlib refuses; what they make of them has to pass the checksum still. Of corrupt
 * data zlib may give up to LOSS_MAX bytes more, and never fewer.
 *
 * A broken promise aborts. What is unpacked is cut off at 1 MiB.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "engine/unpack.h"
#include "include/penstock_error.h"

#define TEXT_MAX (1u << 20)
#define LOSS_MAX 264 /* a copy, and the literals that ISA-L looks up together with what follows them */
#define HOLD(cond)                                                                      \
	do {                                                                            \
		if (!(cond)) {                                                          \
			fprintf(stderr, "fuzz_unpack: line %d: %s\n", __LINE__, #cond); \
			abort();                                                        \
		}                                                                       \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The code, 0 for the end, 1 when it is longer than TEXT_MAX. */
static int unpack(enum pen_compression compression, const uint8_t *data, size_t size, size_t piece,
		  size_t room, uint8_t *to, size_t *ret_len)
{
	struct pen_unpack *unpack;
	size_t taken = 0;
	int rc = 0;

	*ret_len = 0;
	HOLD(pen_unpack_open(compression, &unpack) == 0);
	for (bool last = false; !last && rc == 0;) {
		size_t n = size - taken < piece ? size - taken : piece;
		struct pen_span in = { data + taken, data + taken + n };

		taken += n;
		last = !n;
		do {
			size_t left = TEXT_MAX - *ret_len;
			struct pen_room out = { to + *ret_len, to + *ret_len + (left < room ? left : room) };

			rc = pen_unpack_step(unpack, &in, &out, last);
			*ret_len = (size_t)(out.at - to);
		} while (rc == 1 && *ret_len < TEXT_MAX);
		HOLD(rc || in.at == in.end);
	}
	pen_unpack_close(unpack);
	return rc;
}

/* The same by zlib, with the same rule for what stands between members. */
static int inflate_all(const uint8_t *data, size_t size, uint8_t *to, size_t *ret_len, bool *ret_codes)
{
	z_stream z = { .next_in = (Bytef *)(uintptr_t)data,
		       .avail_in = (uInt)size,
		       .next_out = to,
		       .avail_out = TEXT_MAX };
	bool whole = false;
	int rc;

	HOLD(inflateInit2(&z, 31) == Z_OK);
	do {
		for (; whole && z.avail_in && !*z.next_in; z.avail_in--)
			z.next_in++;
		if (whole && !z.avail_in)
			break;
		rc = inflate(&z, Z_NO_FLUSH);
		whole = rc == Z_STREAM_END;
		if (whole)
			HOLD(inflateReset(&z) == Z_OK);
	} while ((rc == Z_OK || rc == Z_STREAM_END) && z.avail_out);
	*ret_len = TEXT_MAX - z.avail_out;
	*ret_codes = z.msg &&
		     (strstr(z.msg, " set") || strstr(z.msg, "too many") || strstr(z.msg, "missing end"));
	inflateEnd(&z);
	if (!z.avail_out)
		return 1;
	return whole ? 0 : rc == Z_BUF_ERROR ? -PEN_PACKED_CUT : -PEN_PACKED_BAD;
}

static bool same(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
	size_t least = a_len < b_len ? a_len : b_len;

	return memcmp(a, b, least) == 0;
}

static void judge(enum pen_compression compression, const uint8_t *data, size_t size, uint8_t how)
{
	static uint8_t a[TEXT_MAX], b[TEXT_MAX], c[TEXT_MAX];
	size_t a_len, b_len, c_len;
	int whole = unpack(compression, data, size, size + 1, TEXT_MAX, a, &a_len);
	int pieces = unpack(compression, data, size, 1 + (how & 7u), 1u << (8 + (how >> 3 & 7)), b, &b_len);
	bool codes;
	int other;

	HOLD(whole == pieces || a_len == TEXT_MAX || b_len == TEXT_MAX);
	HOLD(same(a, a_len, b, b_len) && (a_len == b_len || whole == -PEN_PACKED_BAD));
	if (compression != PEN_COMPRESSION_GZIP)
		return;
	other = inflate_all(data, size, c, &c_len, &codes);
	HOLD(same(a, a_len, c, c_len));
	if (a_len == TEXT_MAX || c_len == TEXT_MAX || codes)
		return;
	HOLD((whole == 0) == (other == 0)); /* cut or bad: a matter of how much of a header one looks at */
	HOLD(a_len <= c_len && b_len <= c_len && a_len + LOSS_MAX >= c_len && b_len + LOSS_MAX >= c_len);
	HOLD(whole == -PEN_PACKED_BAD || a_len == c_len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t header[10] = { 0x1f, 0x8b, 8 };
	uint8_t *copy;

	if (!size || size > 65536)
		return 0;
	if (data[0] & 64) {
		copy = malloc(size + sizeof(header));
		HOLD(copy);
		memcpy(copy, header, sizeof(header));
		memcpy(copy + sizeof(header), data + 1, size - 1);
		judge(PEN_COMPRESSION_GZIP, copy, size - 1 + sizeof(header), data[0]);
		free(copy);
		return 0;
	}
	judge(data[0] & 128 ? PEN_COMPRESSION_ZSTD : PEN_COMPRESSION_GZIP, data + 1, size - 1, data[0]);
	return 0;
}
