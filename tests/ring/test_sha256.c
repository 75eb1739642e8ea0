/* SPDX-License-Identifier: MIT */
#include "ring/sha256.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(sha256, .timeout = 60);

static const char *hex(const uint8_t bytes[PEN_SHA256_BYTES])
{
	static char text[2 * PEN_SHA256_BYTES + 1];

	for (size_t i = 0; i < PEN_SHA256_BYTES; i++)
		(void)snprintf(text + 2 * i, 3, "%02x", bytes[i]);
	return text;
}

/* The vectors of FIPS 180-4, and the empty text. */
Test(sha256, known_answers_whole_and_in_pieces)
{
	static const struct {
		const char *text, *sum;
	} cases[] = {
		{ "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
		{ "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
		{ "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
		  "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
	};
	struct pen_sha256 *hasher;
	uint8_t sum[PEN_SHA256_BYTES];

	cr_assert_eq(pen_sha256_open(&hasher), 0);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		size_t n = strlen(cases[i].text);

		pen_sha256_begin(hasher);
		pen_sha256_add(hasher, cases[i].text, n);
		pen_sha256_end(hasher, sum);
		cr_expect_str_eq(hex(sum), cases[i].sum);
		pen_sha256_begin(hasher);
		pen_sha256_add(hasher, "forgotten", 9);
		pen_sha256_begin(hasher);
		for (size_t k = 0; k < n; k++)
			pen_sha256_add(hasher, cases[i].text + k, 1);
		pen_sha256_end(hasher, sum);
		cr_expect_str_eq(hex(sum), cases[i].sum);
	}
	pen_sha256_close(hasher);
	pen_sha256_close(NULL);
}
