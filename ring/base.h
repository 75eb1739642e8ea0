/* SPDX-License-Identifier: MIT */
/*
 * base - sizes, arithmetic and byte order that every room shares
 *
 * Includes nothing of ours. Nothing here has state.
 */
#ifndef PEN_RING_BASE_H
#define PEN_RING_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Two lines: the adjacent-line prefetcher pairs them, so one line of distance still shares. */
#define PEN_LINE_PAIR 128

#define PEN_COUNT(array) (sizeof(array) / sizeof((array)[0]))

static inline uint64_t pen_min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t pen_max(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* to is a power of two. */
static inline size_t pen_round_up(size_t n, size_t to)
{
	return (n + to - 1) & ~(to - 1);
}

static inline bool pen_is_pow2(uint64_t n)
{
	return n && !(n & (n - 1));
}

/* The smallest power of two >= n, for n in 1 .. 2^31. */
static inline uint32_t pen_pow2_from(uint32_t n)
{
	return n <= 1 ? 1 : 1u << (32 - __builtin_clz(n - 1));
}

/* Big-endian keys sort as numbers under LMDB's memcmp order. */
static inline void pen_put_be64(void *to, uint64_t v)
{
	v = __builtin_bswap64(v);
	memcpy(to, &v, 8);
}

static inline uint64_t pen_get_be64(const void *from)
{
	uint64_t v;
	memcpy(&v, from, 8);
	return __builtin_bswap64(v);
}

static inline void pen_put_be32(void *to, uint32_t v)
{
	v = __builtin_bswap32(v);
	memcpy(to, &v, 4);
}

static inline uint32_t pen_get_be32(const void *from)
{
	uint32_t v;
	memcpy(&v, from, 4);
	return __builtin_bswap32(v);
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	       "the store's own records are little-endian and are written as they lie in memory");

#endif
