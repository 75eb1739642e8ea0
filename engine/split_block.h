/* SPDX-License-Identifier: MIT */
/*
 * split_block - 64 bytes of text at a time: bit n of a mask stands for byte n
 *
 * Private to the splitters. What uses it is compiled for AVX2 and chosen at run time; each such loop has a scalar
 * twin that it agrees with (rules->scalar). Loads read up to 63 bytes behind the text, which split.h allows.
 */
#ifndef PEN_ENGINE_SPLIT_BLOCK_H
#define PEN_ENGINE_SPLIT_BLOCK_H

#include "engine/split.h"

#ifdef __x86_64__
#include <immintrin.h>

#define BLOCK 64u
#define AVX2 __attribute__((target("avx2,pclmul,popcnt,bmi")))

static inline bool has_avx2(const struct pen_rules *rules)
{
	return !rules->scalar && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("pclmul") &&
	       __builtin_cpu_supports("popcnt") && __builtin_cpu_supports("bmi");
}

struct block {
	__m256i low, high;
};

AVX2 static inline struct block load(const char *at)
{
	return (struct block){
		_mm256_loadu_si256((const __m256i *)(const void *)at),
		_mm256_loadu_si256((const __m256i *)(const void *)(at + 32)),
	};
}

/* Which of a block's bytes the text has when n are left of it. */
static inline uint64_t bits_of(size_t n)
{
	return n < BLOCK ? (1ull << n) - 1 : ~0ull;
}

AVX2 static inline uint64_t mask_of(__m256i low, __m256i high)
{
	return (uint32_t)_mm256_movemask_epi8(low) | (uint64_t)(uint32_t)_mm256_movemask_epi8(high) << 32;
}

AVX2 static inline uint64_t equal(struct block b, char c)
{
	__m256i same = _mm256_set1_epi8(c);

	return mask_of(_mm256_cmpeq_epi8(b.low, same), _mm256_cmpeq_epi8(b.high, same));
}
#endif

#endif
