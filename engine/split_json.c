/* SPDX-License-Identifier: MIT */
/*
 * Values of JSON documents: the elements of top-level arrays, and values beside them.
 *
 * Only boundaries are found here. Brackets are counted and their kinds not compared, strings and escapes are
 * known; whether the bytes of a value are JSON is judged later, value by value. So whatever a source holds,
 * each of its bytes is in one record or stands between records:
 *
 *   in an array    a record ends at the comma or closing bracket on its level, which is passed with it; it may be
 *                  empty (`[1,,2]`), which is refused here, because nothing of it is left to be refused later
 *   beside arrays  an object ends with its bracket, a string with its quote, anything else before white space or a
 *                  bracket. A stray bracket or comma begins such a word
 *
 * A source that ends inside an array ends with a reject. It is what has no end, or, where all elements are whole and
 * only the array is not closed, a record of length 0. Of these bytes no text would tell which of the two it is
 * (`[1,` may go on), so the latter has a text of its own, an empty one: see `cut` in split.h.
 *
 * The loop looks at 64 bytes at a time: which are quotes that are not escaped, which lie in strings between them,
 * and which of the others are brackets and commas. As long as more levels are open than close in a block, none of
 * its places needs a look.
 */
#include "engine/split.h"

#include "engine/split_block.h"
#include "include/penstock_error.h"

enum context { BETWEEN = 0, OPENED, BEHIND_COMMA };
/* In the context of a text that next has looked at: that it is empty by now says nothing. */
#define BEGUN (1u << 31)

enum kind { ELEMENT, OBJECT, STRING, WORD };

/* A value whose end is looked for. */
struct value {
	enum kind kind;
	uint64_t level;	  /* of brackets open in it; word: its first byte was seen */
	uint64_t inside;  /* of a string: all ones, or 0 */
	uint64_t escaped; /* the next byte is: 1 */
	uint32_t lines;	  /* line feeds before its end */
};

static inline bool is_blank(char c)
{
	return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static inline bool opens(char c)
{
	return c == '{' || c == '[';
}

static inline bool closes(char c)
{
	return c == '}' || c == ']';
}

/* ---- the end of a value: the place of an element's separator, or the place behind any other value ---- */

static const char *find_word(struct value *v, const char *at, const char *end)
{
	if (!v->level++)
		at++;
	while (at < end && !is_blank(*at) && !opens(*at) && !closes(*at))
		at++;
	return at < end ? at : NULL;
}

static const char *find_scalar(struct value *v, const char *at, const char *end)
{
	for (; at < end; at++) {
		bool escaped = v->escaped;
		char c = *at;

		v->escaped = c == '\\' && !escaped;
		v->lines += c == '\n';
		if (c == '"' && !escaped) {
			v->inside = ~v->inside;
			if (v->kind == STRING && !v->inside)
				return at + 1;
		} else if (v->inside || v->kind == STRING) {
			continue;
		} else if (opens(c)) {
			v->level++;
		} else if (closes(c)) {
			if (!v->level)
				return at;
			if (!--v->level && v->kind == OBJECT)
				return at + 1;
		} else if (c == ',' && !v->level) {
			return at;
		}
	}
	return NULL;
}

#ifdef __x86_64__
/* '[' and '{', ']' and '}' are one bit apart. */
AVX2 static inline struct block fold(struct block b)
{
	__m256i bit = _mm256_set1_epi8(0x20);

	return (struct block){ _mm256_or_si256(b.low, bit), _mm256_or_si256(b.high, bit) };
}

/* Bit n: an odd number of bits up to and including n are set. */
AVX2 static inline uint64_t prefix_xor(uint64_t bits)
{
	__m128i ones = _mm_set1_epi8(-1);

	return (uint64_t)_mm_cvtsi128_si64(_mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)bits), ones, 0));
}

/*
 * Which of n bytes are escaped. A run of backslashes escapes what follows when its length is odd: adding the run
 * to its first bit carries to the bit behind it, and whether first and last differ in parity tells the length.
 */
static inline uint64_t find_escaped(uint64_t backslashes, size_t n, uint64_t *escaped_first)
{
	const uint64_t even = 0x5555555555555555;
	uint64_t follows, ends, escaped, first = *escaped_first;
	bool carry;

	if (!backslashes) {
		*escaped_first = 0;
		return first;
	}
	backslashes &= ~first;
	follows = backslashes << 1 | first;
	carry = __builtin_add_overflow(backslashes & ~even & ~follows, backslashes, &ends);
	escaped = (even ^ ends << 1) & follows;
	*escaped_first = n < BLOCK ? escaped >> n & 1 : carry;
	return escaped;
}

/* Where among the brackets and commas of a block the value ends; BLOCK: not here. */
AVX2 static inline unsigned find_level(struct value *v, uint64_t open, uint64_t close, uint64_t comma)
{
	uint64_t closed = (uint64_t)__builtin_popcountll(close), brackets = open | close;

	if (closed < v->level) {
		v->level += (uint64_t)__builtin_popcountll(open) - closed;
		return BLOCK;
	}
	for (;;) {
		uint64_t bits = v->level ? brackets : brackets | comma;
		uint64_t bit = bits & -bits, above = ~(bit | (bit - 1));

		if (!bits)
			return BLOCK;
		if (bit & open)
			v->level++;
		else if (!v->level || (!--v->level && v->kind == OBJECT))
			return (unsigned)__builtin_ctzll(bit);
		brackets &= above;
		comma &= above;
	}
}

AVX2 static const char *find_avx2(struct value *v, const char *at, const char *end)
{
	for (; at < end; at += BLOCK) {
		size_t n = (size_t)(end - at);
		uint64_t here = bits_of(n), plain;
		struct block text = load(at), folded = fold(text);
		uint64_t lf = equal(text, '\n') & here;
		uint64_t escaped = find_escaped(equal(text, '\\') & here, n, &v->escaped);
		uint64_t quotes = equal(text, '"') & here & ~escaped;
		uint64_t inside = prefix_xor(quotes) ^ v->inside;
		unsigned stop;

		plain = here & ~inside;
		if (v->kind == STRING)
			stop = quotes & plain ? (unsigned)__builtin_ctzll(quotes & plain) : BLOCK;
		else
			stop = find_level(v, equal(folded, '{') & plain, equal(folded, '}') & plain,
					  equal(text, ',') & plain);
		if (stop < BLOCK) {
			v->lines += (uint32_t)__builtin_popcountll(lf & ((1ull << stop) - 1));
			return at + stop + (v->kind != ELEMENT);
		}
		v->lines += (uint32_t)__builtin_popcountll(lf);
		v->inside = -(inside >> 63);
	}
	return NULL;
}
#endif

static const char *find_end(const struct pen_rules *rules, struct value *v, const char *at, const char *end)
{
	if (v->kind == WORD)
		return find_word(v, at, end);
#ifdef __x86_64__
	if (has_avx2(rules))
		return find_avx2(v, at, end);
#else
	(void)rules;
#endif
	return find_scalar(v, at, end);
}

/* ---- texts ------------------------------------------------------------------------------------ */

/* Passes what stands between records. True: one begins. */
static bool find_begin(struct pen_split *split)
{
	for (; split->at < split->end; split->at++) {
		char c = *split->at;

		if (is_blank(c))
			split->lines += c == '\n';
		else if (split->context == BETWEEN && c == '[')
			split->context = OPENED;
		else if (split->context == OPENED && closes(c))
			split->context = BETWEEN;
		else
			return true;
	}
	return false;
}

static enum kind kind_of(uint32_t context, char first)
{
	if (context != BETWEEN)
		return ELEMENT;
	return first == '{' ? OBJECT : first == '"' ? STRING : WORD;
}

/* Of an element that nothing separates from the source's end: is it whole? */
static bool is_whole(const struct value *v, char last)
{
	return !v->level && !v->inside && (is_blank(last) || closes(last) || last == '"');
}

/* The record that begins here. whole: the source ends with the text. False: its end is not here. */
static bool take_record(struct pen_split *split, bool whole, struct pen_record *ret)
{
	const char *begin = split->at, *stop;
	struct value v = { .kind = kind_of(split->context, *begin) };

	stop = find_end(split->rules, &v, begin, split->end);
	if (!stop && !whole)
		return false;
	*ret = (struct pen_record){ .at = begin, .line = split->lines };
	split->at = stop ? stop : split->end;
	split->lines += v.lines;
	if (stop && v.kind == ELEMENT) {
		split->context = *stop == ',' ? BEHIND_COMMA : BETWEEN;
		split->at++;
	} else if (stop && v.kind == WORD && is_blank(*stop)) {
		split->lines += *stop == '\n';
		split->at++;
	} else if (!stop && v.kind != WORD && !(v.kind == ELEMENT && is_whole(&v, split->end[-1]))) {
		split->context = BETWEEN;
		ret->code = -PEN_JSON_CUT;
	}
	if (!stop)
		stop = split->end;
	while (!ret->code && stop > begin && is_blank(stop[-1]))
		stop--;
	ret->len = (size_t)(stop - begin);
	if (!ret->len)
		ret->code = -PEN_JSON_BAD;
	if (ret->code)
		ret->column = ret->len < UINT32_MAX ? (uint32_t)ret->len + 1 : 0;
	return true;
}

static bool next_value(struct pen_split *split, struct pen_record *ret)
{
	bool empty = split->at == split->end && !(split->context & BEGUN), found;

	split->context &= ~BEGUN;
	if (empty && split->context != BETWEEN) {
		*ret = (struct pen_record){ .at = split->at, .code = -PEN_JSON_CUT, .column = 1 };
		split->context = BETWEEN;
		found = true;
	} else {
		found = find_begin(split) && take_record(split, true, ret);
	}
	split->context |= BEGUN;
	return found;
}

static void cut_values(const struct pen_rules *rules, uint32_t context, const char *text, size_t len,
		       bool whole, const struct pen_limits *limits, struct pen_cut *ret)
{
	bool all = whole && len <= limits->room;
	struct pen_split split = {
		.rules = rules,
		.at = text,
		.end = text + (len < limits->room ? len : limits->room),
		.context = context,
	}, passed = split;
	struct pen_record record;

	*ret = (struct pen_cut){ .context = context };
	if (whole && !len && context != BETWEEN) {
		*ret = (struct pen_cut){ .items = 1, .context = BETWEEN };
		return;
	}
	while (find_begin(&split)) {
		if (ret->items == limits->items)
			break;
		if (!ret->items)
			passed = split;
		if (!take_record(&split, all, &record))
			break;
		ret->items++;
		passed = split;
	}
	/* What is left is no record. Within the limits it may wait for the next text, unless there is none. */
	if (split.at == split.end && (all || ret->items < limits->items))
		passed = split;
	ret->len = (size_t)(passed.at - text);
	ret->lines = passed.lines;
	ret->context = passed.context;
}

/* ---- values longer than a text ------------------------------------------------------------------ */

enum {
	KIND,
	LEVEL,
	STRINGS,
	BLANKS
}; /* KIND: 0 before the value begins; BLANKS: at the end of what was seen */

/* White space at the end of a text that the value goes through. */
static size_t blanks_before(const char *begin, const char *end)
{
	const char *at = end;

	while (at > begin && is_blank(at[-1]))
		at--;
	return (size_t)(end - at);
}

static bool seek_value(struct pen_seek *seek, const char *text, size_t len, size_t *ret_len)
{
	struct pen_split split = { .at = text, .end = text + len, .context = seek->context };
	const char *begin, *stop;
	struct value v;
	size_t blanks;

	if (!seek->state[KIND]) {
		bool begins = find_begin(&split);

		seek->lead += (size_t)(split.at - text);
		seek->lines += split.lines;
		seek->context = split.context;
		if (begins)
			seek->state[KIND] = 1 + (uint64_t)kind_of(split.context, *split.at);
	}
	if (split.at == split.end) {
		seek->seen += len;
		return false;
	}
	begin = split.at;
	v = (struct value){
		.kind = (enum kind)(seek->state[KIND] - 1),
		.level = seek->state[LEVEL],
		.inside = -(seek->state[STRINGS] & 1),
		.escaped = seek->state[STRINGS] >> 1,
	};
	stop = find_end(seek->rules, &v, begin, split.end);
	seek->lines += v.lines;
	blanks = blanks_before(begin, stop ? stop : split.end);
	if (begin + blanks == (stop ? stop : split.end))
		blanks += seek->state[BLANKS];
	seek->state[LEVEL] = v.level;
	seek->state[STRINGS] = (v.inside & 1) | v.escaped << 1;
	seek->state[BLANKS] = blanks;
	if (!stop) {
		seek->seen += len;
		return false;
	}
	seek->bare = seek->seen + (size_t)(stop - text) - seek->lead - blanks;
	if (v.kind == ELEMENT) {
		seek->context = *stop++ == ',' ? BEHIND_COMMA : BETWEEN;
	} else if (v.kind == WORD && is_blank(*stop)) {
		seek->lines += *stop++ == '\n';
	}
	seek->seen += (size_t)(stop - text);
	*ret_len = (size_t)(stop - text);
	return true;
}

const struct pen_splitter pen_split_json = { .next = next_value, .cut = cut_values, .seek = seek_value };
