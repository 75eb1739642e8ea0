/* SPDX-License-Identifier: MIT */
#include "ring/murmur.h"

#include <string.h>

static uint32_t rotate(uint32_t x, int by)
{
	return x << by | x >> (32 - by);
}

static uint32_t mix(uint32_t k)
{
	return rotate(k * 0xcc9e2d51u, 15) * 0x1b873593u;
}

uint32_t pen_murmur32(uint32_t seed, const void *data, size_t len)
{
	const uint8_t *at = data, *end = at + (len & ~(size_t)3);
	uint32_t h = seed, k = 0;

	for (; at < end; at += 4) {
		memcpy(&k, at, 4); /* little-endian, as everywhere here */
		h = rotate(h ^ mix(k), 13) * 5 + 0xe6546b64u;
	}
	k = 0;
	for (size_t i = len & 3; i > 0; i--)
		k = k << 8 | at[i - 1];
	h ^= mix(k); /* of no bytes it is 0 */
	h ^= (uint32_t)len;
	h = (h ^ h >> 16) * 0x85ebca6bu;
	h = (h ^ h >> 13) * 0xc2b2ae35u;
	return h ^ h >> 16;
}
