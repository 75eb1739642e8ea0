/* SPDX-License-Identifier: MIT */
#include "ring/hash.h"

#include <criterion/criterion.h>
#include <string.h>

#include "ring/base.h"

#define DATA_MAX 70000u

static unsigned char *sample(void)
{
	static unsigned char data[DATA_MAX];

	for (uint32_t i = 0; i < DATA_MAX; i++)
		data[i] = (unsigned char)(i * 131 + 7);
	return data;
}

/* From xxHash 0.8.1's reference header over the sample; the first row is xxHash's published one. */
Test(hash, known_digests_at_every_size_class)
{
	static const struct {
		size_t len;
		uint64_t lo, hi, h64;
	} cases[] = {
		{ 0, 0x6001c324468d497full, 0x99aa06d3014798d8ull, 0x2d06800538d394c2ull },
		{ 1, 0x4c5cca45d0f4811full, 0x495b62073ef70ca4ull, 0x4c5cca45d0f4811full },
		{ 3, 0x6e3e2670e61106acull, 0x390cdc5b4a895dd7ull, 0x6e3e2670e61106acull },
		{ 4, 0x3d668af6f2a44d77ull, 0xaa6e2f274640a3f4ull, 0x5c4c63133443d03full },
		{ 8, 0x61ddbe7f31a6100dull, 0x6a86a3bda6af4e3dull, 0xf9fd4dd0b04d78f5ull },
		{ 9, 0x8c7b67fd458a936bull, 0x664c7ca18afd6255ull, 0x7c20df9712c26edfull },
		{ 16, 0xe2ce54a7c19c730dull, 0x7f9a218b0425449aull, 0x86abf6baccea0858ull },
		{ 17, 0x8d96ef110fcdebb4ull, 0x66fc23f6439dbd77ull, 0xb58bf5dc5022d071ull },
		{ 128, 0xff361dec1385710aull, 0xaec730751478556cull, 0x10d17f72c0ccba41ull },
		{ 129, 0x4545b3a09738e31aull, 0x98cd36ccbb557926ull, 0x1648bdc3db49d1a2ull },
		{ 240, 0x3f2c53e72293711full, 0x5293e17bf553903dull, 0xb6cfaf343fab81e6ull },
		{ 241, 0x956cae592c67279eull, 0xb53840fe3fedf161ull, 0x956cae592c67279eull },
		{ 1024, 0x70bd377d9574f4bbull, 0xf69630613f24324dull, 0x70bd377d9574f4bbull },
		{ 5000, 0xe4007929540f095cull, 0x61bedb627e4a5fdfull, 0xe4007929540f095cull },
	};
	const unsigned char *data = sample();

	for (size_t i = 0; i < PEN_COUNT(cases); i++) {
		struct pen_sum sum = pen_hash128(data, cases[i].len);

		cr_assert_eq(sum.lo, cases[i].lo, "length %zu", cases[i].len);
		cr_assert_eq(sum.hi, cases[i].hi, "length %zu", cases[i].len);
		cr_assert_eq(pen_hash64(data, cases[i].len), cases[i].h64, "length %zu", cases[i].len);
		cr_assert_eq(pen_hash_bucket(data, cases[i].len), cases[i].h64 & 255);
	}
}

/*
 * Goal: a record's digest is that of its bytes in one piece, whichever way it is computed. Method: all
 * lengths around the border between the two ways, and some far from it.
 */
Test(hash, a_records_digest_is_that_of_length_key_and_value_in_one_piece)
{
	static const size_t key_lens[] = { 0, 1, 8, 255, 511, 2043, 2044, 2045, 3000 };
	static const size_t extra[] = { 0, 1, 64, 1000, 65000 };
	static unsigned char whole[DATA_MAX + 4];
	const unsigned char *data = sample();

	for (size_t k = 0; k < PEN_COUNT(key_lens); k++) {
		size_t key_len = key_lens[k];
		size_t border = key_len < 2044 ? 2044 - key_len : 4;

		for (size_t v = 0; v < PEN_COUNT(extra) + 9; v++) {
			size_t value_len = v < 9 ? border - 4 + v : extra[v - 9];
			if (border < 4 && v < 9)
				continue;
			uint32_t prefix = (uint32_t)key_len;

			memcpy(whole, &prefix, 4);
			memcpy(whole + 4, data, key_len);
			memcpy(whole + 4 + key_len, data + key_len, value_len);
			struct pen_sum want = pen_hash128(whole, 4 + key_len + value_len);
			struct pen_sum got = pen_hash_record(data, key_len, data + key_len, value_len);
			cr_assert_eq(got.lo, want.lo, "key %zu value %zu", key_len, value_len);
			cr_assert_eq(got.hi, want.hi, "key %zu value %zu", key_len, value_len);
		}
	}
}

Test(hash, in_pieces_it_is_the_hash_of_the_whole)
{
	const unsigned char *data = sample();
	struct pen_hash_stream *stream = pen_hash_stream_open();

	cr_assert(stream);
	for (size_t step = 1; step < 3000; step = step * 7 + 3) {
		pen_hash_stream_reset(stream);
		for (size_t at = 0; at <= DATA_MAX; at += step) {
			struct pen_sum whole = pen_hash128(data, at), sum = pen_hash_stream_sum(stream);

			if (step > 50 || at % 997 == 0)
				cr_assert(whole.lo == sum.lo && whole.hi == sum.hi, "%zu in steps of %zu", at,
					  step);
			if (at + step <= DATA_MAX)
				pen_hash_stream_add(stream, data + at, step);
		}
	}
	pen_hash_stream_close(stream);
	pen_hash_stream_close(NULL);
}

Test(hash, a_byte_moved_between_key_and_value_changes_the_digest)
{
	struct pen_sum a = pen_hash_record("ab", 2, "c", 1);
	struct pen_sum b = pen_hash_record("a", 1, "bc", 2);
	struct pen_sum none = pen_hash_record(NULL, 0, NULL, 0);

	cr_assert_neq(a.lo, b.lo);
	cr_assert_eq(none.lo, pen_hash128("\0\0\0\0", 4).lo);
}

Test(hash, sums_do_not_depend_on_order_and_subtracting_undoes_adding)
{
	struct pen_sum forward = { 0 }, backward = { 0 };
	const unsigned char *data = sample();

	for (uint32_t i = 0; i < 1000; i++)
		pen_sum_add(&forward, pen_hash_record(data + i, 8, data + i, i));
	for (uint32_t i = 1000; i-- > 0;)
		pen_sum_add(&backward, pen_hash_record(data + i, 8, data + i, i));
	cr_assert_eq(forward.lo, backward.lo);
	cr_assert_eq(forward.hi, backward.hi);
	cr_assert_neq(forward.hi, 0);
	for (uint32_t i = 0; i < 1000; i++)
		pen_sum_sub(&forward,
			    pen_hash_record(data + i * 7 % 1000, 8, data + i * 7 % 1000, i * 7 % 1000));
	cr_assert_eq(forward.lo, 0);
	cr_assert_eq(forward.hi, 0);
}

Test(hash, sums_carry_and_borrow_across_the_words)
{
	static const struct {
		struct pen_sum a, b, sum;
	} cases[] = {
		{ { UINT64_MAX, 0 }, { 1, 0 }, { 0, 1 } },
		{ { UINT64_MAX, UINT64_MAX }, { 1, 0 }, { 0, 0 } },
		{ { UINT64_MAX, 1 }, { UINT64_MAX, 2 }, { UINT64_MAX - 1, 4 } },
		{ { 0, UINT64_MAX }, { 0, 1 }, { 0, 0 } },
		{ { 5, 6 }, { 0, 0 }, { 5, 6 } },
	};

	for (size_t i = 0; i < PEN_COUNT(cases); i++) {
		struct pen_sum at = cases[i].a;

		pen_sum_add(&at, cases[i].b);
		cr_assert_eq(at.lo, cases[i].sum.lo, "case %zu", i);
		cr_assert_eq(at.hi, cases[i].sum.hi, "case %zu", i);
		pen_sum_sub(&at, cases[i].b);
		cr_assert_eq(at.lo, cases[i].a.lo, "case %zu", i);
		cr_assert_eq(at.hi, cases[i].a.hi, "case %zu", i);
	}
}

/* RFC 3720 B.4 */
Test(crc32c, known_answers_in_both_implementations)
{
	unsigned char zeros[32] = { 0 }, ones[32], up[32], down[32];
	const struct {
		const void *data;
		size_t len;
		uint32_t crc;
	} cases[] = {
		{ "", 0, 0 },
		{ "123456789", 9, 0xe3069283 },
		{ zeros, 32, 0x8a9136aa },
		{ ones, 32, 0x62a8ab43 },
		{ up, 32, 0x46dd794e },
		{ down, 32, 0x113fdb5c },
	};

	for (unsigned i = 0; i < 32; i++) {
		ones[i] = 0xff;
		up[i] = (unsigned char)i;
		down[i] = (unsigned char)(31 - i);
	}
	for (size_t i = 0; i < PEN_COUNT(cases); i++) {
		cr_assert_eq(pen_crc32c(cases[i].data, cases[i].len), cases[i].crc, "case %zu", i);
		cr_assert_eq(pen_crc32c_table(cases[i].data, cases[i].len), cases[i].crc, "case %zu", i);
	}
}

Test(crc32c, the_two_implementations_agree_at_every_length_and_alignment)
{
	const unsigned char *data = sample();

	for (size_t at = 0; at < 9; at++)
		for (size_t len = 0; len < 300; len++)
			cr_assert_eq(pen_crc32c(data + at, len), pen_crc32c_table(data + at, len),
				     "at %zu length %zu", at, len);
	cr_assert_eq(pen_crc32c(data, DATA_MAX), pen_crc32c_table(data, DATA_MAX));
}
