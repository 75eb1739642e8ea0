/* SPDX-License-Identifier: MIT */
/*
 * Lines, and which splitter a format has.
 *
 * The reader only counts: 64 bytes at a time, short lines or long. A processor needs each line, and there memchr is
 * hard to beat; what ordinary records end with is no white space, so whether a line is blank takes one look
 * nearly always.
 */
#include "engine/split.h"

#include <string.h>

#include "engine/split_block.h"

const struct pen_splitter *pen_splitter_of(enum pen_format format)
{
	switch (format) {
	case PEN_FORMAT_NDJSON:
	case PEN_FORMAT_LINES:
		return &pen_split_lines;
	case PEN_FORMAT_JSON:
		return &pen_split_json;
	case PEN_FORMAT_FRAMES:
		return &pen_split_frames;
	case PEN_FORMAT_CSV:
	case PEN_FORMAT_TSV:
		return &pen_split_csv;
	case PEN_FORMAT_AUTO:
	case PEN_FORMAT_FILES:
	case PEN_FORMAT_PUTS:
	case PEN_FORMAT_COUNT:
		break;
	}
	return NULL;
}

static bool skips_blank(const struct pen_rules *rules)
{
	return rules->format == PEN_FORMAT_NDJSON;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_blank(const char *line, const char *end)
{
	while (end > line && is_space(end[-1]))
		end--;
	return end == line;
}

#ifdef __x86_64__
/* Which bytes are white space: the table holds, by the lower half of a byte, the one that is. */
AVX2 static inline uint64_t blanks(struct block b)
{
	const __m256i table = _mm256_broadcastsi128_si256(
		_mm_setr_epi8(' ', 0, 0, 0, 0, 0, 0, 0, 0, '\t', '\n', 0, 0, '\r', 0, 0));

	return mask_of(_mm256_cmpeq_epi8(_mm256_shuffle_epi8(table, b.low), b.low),
		       _mm256_cmpeq_epi8(_mm256_shuffle_epi8(table, b.high), b.high));
}

/*
 * Counts the lines that end in the text, up to ret->items = most. Returns whether what follows the last of them
 * is not blank.
 */
AVX2 static bool count_avx2(const struct pen_rules *rules, const char *text, size_t len, uint32_t most,
			    struct pen_cut *ret)
{
	unsigned long long carry = 0;

	for (size_t at = 0; at < len; at += BLOCK) {
		struct block b = load(text + at);
		uint64_t here = bits_of(len - at), ends = equal(b, rules->terminator) & here, items = ends;

		/* Added to the bytes of the lines, a byte that is not blank carries up to the end of its line. */
		if (skips_blank(rules)) {
			unsigned long long sum;
			bool over = __builtin_uaddll_overflow(~ends, here & ~blanks(b) & ~ends, &sum);

			carry = over | __builtin_uaddll_overflow(sum, carry, &sum);
			items &= sum;
		}
		if ((uint32_t)__builtin_popcountll(items) >= most - ret->items) {
			while (++ret->items < most)
				items &= items - 1;
			ends &= items ^ (items - 1);
			ret->len = at + (size_t)__builtin_ctzll(items) + 1;
			ret->lines += (uint32_t)__builtin_popcountll(ends);
			return carry;
		}
		ret->items += (uint32_t)__builtin_popcountll(items);
		ret->lines += (uint32_t)__builtin_popcountll(ends);
		if (ends)
			ret->len = at + BLOCK - (size_t)__builtin_clzll(ends);
	}
	return carry;
}
#endif

static bool count_scalar(const struct pen_rules *rules, const char *text, size_t len, uint32_t most,
			 struct pen_cut *ret)
{
	const char *at = text, *end = text + len, *lf = NULL;

	while (ret->items < most && (lf = memchr(at, rules->terminator, (size_t)(end - at)))) {
		ret->items += !skips_blank(rules) || !is_blank(at, lf);
		ret->lines++;
		at = lf + 1;
	}
	ret->len = (size_t)(at - text);
	return !is_blank(at, end);
}

static void cut_lines(const struct pen_rules *rules, uint32_t context, const char *text, size_t len,
		      bool whole, const struct pen_limits *limits, struct pen_cut *ret)
{
	size_t room = len < limits->room ? len : limits->room;
	bool more;

	*ret = (struct pen_cut){ .context = context };
#ifdef __x86_64__
	if (has_avx2(rules))
		more = count_avx2(rules, text, room, limits->items, ret);
	else
#endif
		more = count_scalar(rules, text, room, limits->items, ret);
	if (!whole || room < len || ret->len == len || ret->items == limits->items)
		return;
	ret->items += more || !skips_blank(rules);
	ret->lines++;
	ret->len = len;
}

static bool next_line(struct pen_split *split, struct pen_record *ret)
{
	char terminator = split->rules->terminator;

	while (split->at < split->end) {
		const char *line = split->at;
		const char *lf = memchr(line, terminator, (size_t)(split->end - line));
		const char *stop = lf ? lf : split->end;
		uint32_t number = split->lines++;

		split->at = lf ? lf + 1 : split->end;
		if (lf && terminator == '\n' && stop > line && stop[-1] == '\r')
			stop--;
		if (skips_blank(split->rules) && is_blank(line, stop))
			continue;
		*ret = (struct pen_record){ .at = line, .len = (size_t)(stop - line), .line = number };
		return true;
	}
	return false;
}

static bool seek_line(struct pen_seek *seek, const char *text, size_t len, size_t *ret_len)
{
	enum { WAS_CR };
	const char *lf = memchr(text, seek->rules->terminator, len);
	bool cr;

	if (!lf) {
		seek->state[WAS_CR] = len ? text[len - 1] == '\r' : seek->state[WAS_CR];
		seek->seen += len;
		return false;
	}
	cr = lf > text ? lf[-1] == '\r' : seek->state[WAS_CR];
	seek->seen += (size_t)(lf + 1 - text);
	seek->bare = seek->seen - 1 - (cr && seek->rules->terminator == '\n');
	seek->lines = 1;
	*ret_len = (size_t)(lf + 1 - text);
	return true;
}

const struct pen_splitter pen_split_lines = { .next = next_line, .cut = cut_lines, .seek = seek_line };
