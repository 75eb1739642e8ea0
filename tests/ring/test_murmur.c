/* SPDX-License-Identifier: MIT */
/*
 * Values that were published with the function, or by its users: were one of them to change, users would change sides.
 */
#include "ring/murmur.h"

#include <criterion/criterion.h>
#include <string.h>

#include "ring/base.h"

TestSuite(murmur, .timeout = 60);

static const struct {
	const char *text;
	size_t len;
	uint32_t seed, want;
} vectors[] = {
	{ "", 0, 0, 0 },
	{ "", 0, 1, 0x514e28b7 },
	{ "", 0, 0xffffffff, 0x81f16f39 },
	{ "\xff\xff\xff\xff", 4, 0, 0x76293b50 },
	{ "\x21\x43\x65\x87", 4, 0, 0xf55b516b },
	{ "\x21\x43\x65\x87", 4, 0x5082edee, 0x2362f9de },
	{ "\x21\x43\x65", 3, 0, 0x7e4a8634 },
	{ "\x21\x43", 2, 0, 0xa0f7b07a },
	{ "\x21", 1, 0, 0x72661cf4 },
	{ "\0\0\0\0", 4, 0, 0x2362f9de },
	{ "\0\0\0", 3, 0, 0x85f0b427 },
	{ "\0\0", 2, 0, 0x30f4c306 },
	{ "\0", 1, 0, 0x514e28b7 },
	{ "aaaa", 4, 0x9747b28c, 0x5a97808a },
	{ "aaa", 3, 0x9747b28c, 0x283e0130 },
	{ "aa", 2, 0x9747b28c, 0x5d211726 },
	{ "a", 1, 0x9747b28c, 0x7fa09ea6 },
	{ "abcd", 4, 0x9747b28c, 0xf0478627 },
	{ "abc", 3, 0x9747b28c, 0xc84a62dd },
	{ "ab", 2, 0x9747b28c, 0x74875592 },
	{ "Hello, world!", 13, 0x9747b28c, 0x24884cba },
	{ "The quick brown fox jumps over the lazy dog", 43, 0x9747b28c, 0x2fa826cd },
};

Test(murmur, published_vectors)
{
	for (size_t i = 0; i < PEN_COUNT(vectors); i++)
		cr_expect_eq(pen_murmur32(vectors[i].seed, vectors[i].text, vectors[i].len), vectors[i].want,
			     "vector %zu", i);
}

/* Of a normalised value in 1 .. 100, as Unleash publishes them. */
Test(murmur, unleash_buckets)
{
	cr_expect_eq(pen_murmur32(0, "gr1:123", 7) % 100 + 1, 73);
	cr_expect_eq(pen_murmur32(0, "groupX:999", 10) % 100 + 1, 25);
}

Test(murmur, where_the_bytes_lie_does_not_matter)
{
	char room[64];

	for (size_t off = 0; off < 8; off++) {
		memcpy(room + off, "Hello, world!", 13);
		cr_expect_eq(pen_murmur32(0x9747b28c, room + off, 13), 0x24884cba);
	}
}
