/* SPDX-License-Identifier: MIT */
/*
 * fuzz_recode - the pieces change nothing
 *
 * The first byte of an input says which encoding, the second how it is cut. Held to be true of every input:
 *
 *   1. whole and in pieces give the same text and the same verdict;
 *   2. what comes out of UTF-16, Latin-1 and Windows-1252 is UTF-8;
 *   3. at most 3 bytes are carried, and no step without input or output ends neither.
 *
 * A broken promise aborts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/recode.h"

#define HOLD(cond)                                                                      \
	do {                                                                            \
		if (!(cond)) {                                                          \
			fprintf(stderr, "fuzz_recode: line %d: %s\n", __LINE__, #cond); \
			abort();                                                        \
		}                                                                       \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_utf8(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len;) {
		size_t n = p[i] < 0x80	 ? 1
			   : p[i] < 0xc2 ? 0
			   : p[i] < 0xe0 ? 2
			   : p[i] < 0xf0 ? 3
			   : p[i] < 0xf5 ? 4
					 : 0;

		if (!n || n > len - i)
			return false;
		for (size_t k = 1; k < n; k++)
			if ((p[i + k] & 0xc0) != 0x80)
				return false;
		if ((p[i] == 0xe0 && p[i + 1] < 0xa0) || (p[i] == 0xed && p[i + 1] >= 0xa0) ||
		    (p[i] == 0xf0 && p[i + 1] < 0x90) || (p[i] == 0xf4 && p[i + 1] >= 0x90))
			return false;
		i += n;
	}
	return true;
}

static int convert(struct pen_recode *recode, const uint8_t *data, size_t size, size_t piece, size_t room,
		   uint8_t *to, size_t *ret_len)
{
	size_t taken = 0;
	int rc = 0;

	*ret_len = 0;
	do {
		size_t n = size - taken < piece ? size - taken : piece;
		struct pen_span in = { data + taken, data + taken + n };

		taken += n;
		for (;;) {
			struct pen_room out = { to + *ret_len, to + *ret_len + room };
			const uint8_t *before = in.at;

			rc = pen_recode_step(recode, &in, &out, taken == size);
			HOLD(recode->carry_len <= (rc ? 4 : 3));
			n = (size_t)(out.at - to) - *ret_len;
			*ret_len += n;
			if (rc || (in.at == in.end && room - n >= PEN_RECODE_ROOM))
				break;
			HOLD(n || in.at != before);
		}
	} while (!rc && taken < size);
	return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pen_recode whole, pieces;
	size_t cap, a_len, b_len;
	uint8_t *a, *b;
	int rc;

	if (size < 2)
		return 0;
	pen_recode_init(&whole, (enum pen_encoding)(data[0] % (PEN_ENCODING_WINDOWS1252 + 1)));
	pieces = whole;
	cap = 3 * size + 256;
	a = malloc(2 * cap);
	HOLD(a);
	b = a + cap;
	rc = convert(&whole, data + 2, size - 2, size, cap - 8, a, &a_len);
	HOLD(convert(&pieces, data + 2, size - 2, 1 + (data[1] & 15), PEN_RECODE_ROOM + (data[1] >> 4), b,
		     &b_len) == rc);
	HOLD(a_len == b_len && memcmp(a, b, a_len) == 0);
	HOLD(whole.encoding <= PEN_ENCODING_UTF8 || is_utf8(a, a_len));
	free(a);
	return 0;
}
