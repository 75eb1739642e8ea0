/* SPDX-License-Identifier: MIT */
/*
 * The fast scan: 64 bytes at a time, as bits.
 *
 * The bits of all quotes, summed from the left (a carry-less product with -1), say which bytes stand inside
 * quotes; what is left of the row ends outside are the ends of rows. That is right only if each quote that opens
 * stands where a cell begins or, doubled, behind one that closes. The first that does not is text, for all before
 * it was right: its bit is taken away and the sum made again. So the answer is exact whatever the input, and a
 * quote in the middle of text costs a few cycles.
 *
 * What a closing quote is followed by needs no look: text behind it is unquoted, and so says the sum.
 *
 * Rejected: the exact scan for blocks with such a quote (slower, and two states to keep in step); starting
 * anywhere in the file and guessing whether it is inside quotes (docs/decisions/0008-table-boundaries.md).
 */
#include "engine/csv_scan.h"

#ifdef __x86_64__
#include <immintrin.h>

#define AVX2 __attribute__((target("avx2,pclmul,bmi,bmi2,popcnt")))
#define BLOCK 64u

struct block {
	__m256i low, high;
};

/* What is known in front of a block; zero at a row's beginning. */
struct carry {
	uint64_t inside;  /* all bits: inside quotes */
	uint64_t mid;	  /* 1: a quote opens nothing here */
	uint64_t escaped; /* 1: the escape in front applies to the next byte */
};

AVX2 static inline struct block block_at(const char *p)
{
	return (struct block){
		_mm256_loadu_si256((const __m256i *)(const void *)p),
		_mm256_loadu_si256((const __m256i *)(const void *)(p + 32)),
	};
}

AVX2 static inline uint64_t bits(__m256i low, __m256i high)
{
	return (uint32_t)_mm256_movemask_epi8(low) | (uint64_t)(uint32_t)_mm256_movemask_epi8(high) << 32;
}

AVX2 static inline uint64_t equals(struct block b, uint8_t byte)
{
	__m256i v = _mm256_set1_epi8((char)byte);

	return bits(_mm256_cmpeq_epi8(b.low, v), _mm256_cmpeq_epi8(b.high, v));
}

AVX2 static inline uint64_t controls(struct block b)
{
	__m256i v = _mm256_set1_epi8(0x1f);

	return bits(_mm256_cmpeq_epi8(_mm256_min_epu8(b.low, v), b.low),
		    _mm256_cmpeq_epi8(_mm256_min_epu8(b.high, v), b.high));
}

AVX2 static inline uint64_t sum_from_left(uint64_t quotes)
{
	__m128i product =
		_mm_clmulepi64_si128(_mm_set_epi64x(0, (int64_t)quotes), _mm_set1_epi8((char)0xff), 0);

	return (uint64_t)_mm_cvtsi128_si64(product);
}

/* Bytes that an escape stands in front of; an escape that is itself escaped counts for nothing. */
AVX2 static inline uint64_t behind_escapes(uint64_t escapes, uint32_t count, uint64_t *carry)
{
	uint64_t found = *carry;

	escapes &= ~found;
	*carry = 0;
	while (escapes) {
		uint64_t bit = _blsi_u64(escapes);

		*carry = bit >> (count - 1);
		found |= bit << 1;
		escapes &= ~(bit | bit << 1);
	}
	return found;
}

/* Which of the block's first `count` bytes stand inside quotes (an opening quote does, a closing one does not). */
AVX2 static inline uint64_t inside_quotes(const struct pen_csv *csv, struct carry *carry, struct block b,
					  uint64_t lf, uint32_t count)
{
	uint64_t quotes = csv->quoted ? _bzhi_u64(equals(b, csv->quote), count) : 0;
	uint64_t seps = lf | equals(b, csv->delimiter);
	uint64_t inside, begins, wrong;

	if (csv->escaped)
		quotes &= ~behind_escapes(_bzhi_u64(equals(b, csv->escape), count), count, &carry->escaped);
	for (;;) {
		inside = sum_from_left(quotes) ^ carry->inside;
		begins = seps & ~inside;
		if (csv->doubled)
			begins |= quotes & ~inside;
		wrong = quotes & inside & ~(begins << 1 | (carry->mid ^ 1));
		if (!wrong)
			break;
		quotes &= ~_blsi_u64(wrong);
	}
	carry->inside = 0 - (inside >> 63);
	carry->mid = (begins >> (count - 1) & 1) ^ 1;
	return inside;
}

AVX2 static bool avx2_find(const struct pen_csv *csv, struct csv_place *place, const char *text, size_t len,
			   size_t *ret_at)
{
	struct carry carry = { place->inner[0], place->inner[1], place->inner[2] };

	for (size_t at = 0; at < len; at += BLOCK) {
		uint32_t count = len - at < BLOCK ? (uint32_t)(len - at) : BLOCK;
		struct block b = block_at(text + at);
		uint64_t lf = _bzhi_u64(equals(b, '\n'), count);
		uint64_t ends = lf & ~inside_quotes(csv, &carry, b, lf, count);

		if (ends) {
			place->lines += (uint32_t)_mm_popcnt_u64(lf & _blsmsk_u64(ends));
			*ret_at = at + _tzcnt_u64(ends);
			return true;
		}
		place->lines += (uint32_t)_mm_popcnt_u64(lf);
	}
	place->inner[0] = carry.inside;
	place->inner[1] = carry.mid;
	place->inner[2] = carry.escaped;
	place->open = carry.inside;
	return false;
}

/* Bytes that JSON writes with one more, and with five more. */
struct longer {
	uint64_t one, five;
};

AVX2 static inline struct longer longer(struct block b, uint64_t lf, uint32_t count)
{
	uint64_t short_ones = lf | equals(b, '\t');

	return (struct longer){
		.one = _bzhi_u64(short_ones | equals(b, '"') | equals(b, '\\'), count),
		.five = _bzhi_u64(controls(b) & ~short_ones, count),
	};
}

AVX2 static inline uint64_t weigh(struct longer l, uint64_t mask)
{
	return (uint64_t)_mm_popcnt_u64(l.one & mask) + 5 * (uint64_t)_mm_popcnt_u64(l.five & mask);
}

AVX2 static uint64_t avx2_extra(const struct pen_csv *csv, const char *text, size_t len)
{
	uint64_t sum = 0;

	(void)csv;
	for (size_t at = 0; at < len; at += BLOCK) {
		uint32_t count = len - at < BLOCK ? (uint32_t)(len - at) : BLOCK;
		struct block b = block_at(text + at);

		sum += weigh(longer(b, equals(b, '\n'), count), ~0ull);
	}
	return sum;
}

/* A text that is being cut: what lies in front of the block in hand. */
struct cutting {
	const struct pen_csv *csv;
	const char *text;
	const struct pen_limits *limits;
	struct pen_cut *ret;
	uint64_t extra; /* what JSON writes more of it */
	uint32_t lines;
};

/* What is made of the text up to `end` and `rows` rows, and the text itself. */
static inline uint64_t needs(const struct cutting *c, size_t end, uint64_t extra, uint32_t rows)
{
	return c->csv->json ? 2 * (uint64_t)end + extra + rows * c->csv->row_extra : end;
}

/* Takes the rows that end in the block. False: that was the last that is to be taken. */
AVX2 static inline bool take_ends(struct cutting *c, size_t at, uint64_t ends, uint64_t lf, struct longer l)
{
	struct pen_cut *ret = c->ret;

	for (; ends; ends = _blsr_u64(ends)) {
		size_t end = at + _tzcnt_u64(ends) + 1, bare = end - 1 - ret->len;
		uint64_t below = _blsmsk_u64(ends);
		uint32_t items = ret->items + !(bare == 0 || (bare == 1 && c->text[ret->len] == '\r'));

		if (needs(c, end, c->extra + weigh(l, below), items) > c->limits->room)
			return false;
		ret->items = items;
		ret->len = end;
		ret->lines = c->lines + (uint32_t)_mm_popcnt_u64(lf & below);
		if (items == c->limits->items)
			return false;
	}
	return true;
}

AVX2 static void avx2_cut(const struct pen_csv *csv, const char *text, size_t len, bool whole,
			  const struct pen_limits *limits, struct pen_cut *ret)
{
	struct cutting c = { .csv = csv, .text = text, .limits = limits, .ret = ret };
	struct carry carry = { 0 };
	uint32_t items;
	size_t bare;

	*ret = (struct pen_cut){ 0 };
	for (size_t at = 0; at < len; at += BLOCK) {
		uint32_t count = len - at < BLOCK ? (uint32_t)(len - at) : BLOCK;
		struct block b = block_at(text + at);
		uint64_t lf = _bzhi_u64(equals(b, '\n'), count);
		uint64_t ends = lf & ~inside_quotes(csv, &carry, b, lf, count);
		struct longer l = { 0 };

		if (at > limits->room)
			return;
		if (csv->json)
			l = longer(b, lf, count);
		if (!take_ends(&c, at, ends, lf, l))
			return;
		c.extra += weigh(l, ~0ull);
		c.lines += (uint32_t)_mm_popcnt_u64(lf);
	}
	bare = len - ret->len;
	items = ret->items + !(bare == 1 && text[ret->len] == '\r');
	if (!whole || !bare || needs(&c, len, c.extra, items) > limits->room)
		return;
	*ret = (struct pen_cut){ .len = len, .items = items, .lines = c.lines + 1 };
}

const struct csv_scan pen_csv_avx2 = {
	.name = "avx2",
	.find = avx2_find,
	.cut = avx2_cut,
	.extra = avx2_extra,
};
#endif
