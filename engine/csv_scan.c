/* SPDX-License-Identifier: MIT */
/*
 * The exact scan, and which scan is used.
 *
 * This is what rows are, by definition: the table of csv_scan.h walked byte by byte. It serves processors
 * without AVX2, files whose rows end with a lone CR, and as the judge of the fast scan in tests.
 */
#include "engine/csv_scan.h"

#include <string.h>

enum inner { INNER_STATE, INNER_WAS_CR };

enum csv_state pen_csv_step(const struct pen_csv *csv, enum csv_state state, char byte)
{
	/* Each row in the order of enum csv_class: text, delimiter, quote, escape, LF, CR. */
	static const uint8_t next[STATE_COUNT][CLASS_COUNT] = {
		[STATE_BEGIN] = { STATE_PLAIN, STATE_BEGIN, STATE_QUOTED, STATE_PLAIN, STATE_ENDED,
				  STATE_ENDED },
		[STATE_PLAIN] = { STATE_PLAIN, STATE_BEGIN, STATE_PLAIN, STATE_PLAIN, STATE_ENDED,
				  STATE_ENDED },
		[STATE_QUOTED] = { STATE_QUOTED, STATE_QUOTED, STATE_AFTER, STATE_ESCAPED, STATE_QUOTED,
				   STATE_QUOTED },
		[STATE_AFTER] = { STATE_PLAIN, STATE_BEGIN, STATE_QUOTED, STATE_PLAIN, STATE_ENDED,
				  STATE_ENDED },
		[STATE_ESCAPED] = { STATE_QUOTED, STATE_QUOTED, STATE_QUOTED, STATE_QUOTED, STATE_QUOTED,
				    STATE_QUOTED },
	};
	uint8_t class = csv->classes[(uint8_t)byte];

	if (state == STATE_AFTER && class == CLASS_QUOTE && !csv->doubled)
		return STATE_PLAIN;
	return (enum csv_state)next[state][class];
}

/* CR, LF and CRLF end one line each where CR counts at all. */
static bool ends_line(const struct pen_csv *csv, char byte, bool was_cr)
{
	return byte == '\n' ? !(csv->lone_cr && was_cr) : csv->lone_cr && byte == '\r';
}

static bool scalar_find(const struct pen_csv *csv, struct csv_place *place, const char *text, size_t len,
			size_t *ret_at)
{
	enum csv_state state = (enum csv_state)place->inner[INNER_STATE];
	bool was_cr = place->inner[INNER_WAS_CR];

	for (size_t i = 0; i < len; i++) {
		state = pen_csv_step(csv, state, text[i]);
		place->lines += ends_line(csv, text[i], was_cr);
		was_cr = text[i] == '\r';
		if (state == STATE_ENDED) {
			*ret_at = i;
			return true;
		}
	}
	place->inner[INNER_STATE] = state;
	place->inner[INNER_WAS_CR] = was_cr;
	place->open = state == STATE_QUOTED || state == STATE_ESCAPED;
	return false;
}

static uint64_t scalar_extra(const struct pen_csv *csv, const char *text, size_t len)
{
	uint64_t sum = 0;

	(void)csv;
	for (size_t i = 0; i < len; i++) {
		uint8_t c = (uint8_t)text[i];

		if (c == '"' || c == '\\' || c == '\n' || c == '\t')
			sum += 1; /* \" */
		else if (c < 0x20)
			sum += 5; /* \u0001 */
	}
	return sum;
}

static void scalar_cut(const struct pen_csv *csv, const char *text, size_t len, bool whole,
		       const struct pen_limits *limits, struct pen_cut *ret)
{
	uint64_t made = 0;

	*ret = (struct pen_cut){ 0 };
	while (ret->len < len && ret->items < limits->items) {
		const char *row = text + ret->len;
		struct csv_place place = { 0 };
		size_t left = len - ret->len, at = left, used;
		bool ended = scalar_find(csv, &place, row, left, &at), blank;

		if (!ended && !whole)
			return;
		used = ended ? at + 1 : left;
		if (ended && row[at] == '\r' && used < left && row[used] == '\n')
			used++;
		blank = !place.open && !csv_bare(csv, row, at);
		made += pen_csv_bound(csv, row, used, !blank);
		if (ret->len + used + made > limits->room)
			return;
		ret->len += used;
		ret->items += !blank;
		ret->lines += place.lines + !ended;
		ret->context = ended && row[used - 1] == '\r';
	}
}

const struct csv_scan pen_csv_scalar = {
	.name = "scalar",
	.find = scalar_find,
	.cut = scalar_cut,
	.extra = scalar_extra,
};

/* ---- the choice ---- */

static bool forced;

void pen_csv_force_scalar(bool on)
{
	forced = on;
}

static bool has_avx2(void)
{
#ifdef __x86_64__
	return !forced && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("pclmul") &&
	       __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
	       __builtin_cpu_supports("popcnt");
#else
	return false;
#endif
}

void pen_csv_settle(struct pen_csv *csv)
{
	memset(csv->classes, CLASS_TEXT, sizeof csv->classes);
	csv->classes['\n'] = CLASS_LF;
	if (csv->lone_cr)
		csv->classes['\r'] = CLASS_CR;
	csv->classes[csv->delimiter] = CLASS_DELIMITER;
	if (csv->escaped)
		csv->classes[csv->escape] = CLASS_ESCAPE;
	if (csv->quoted)
		csv->classes[csv->quote] = CLASS_QUOTE;
	csv->scan = &pen_csv_scalar;
#ifdef __x86_64__
	if (has_avx2() && !csv->lone_cr)
		csv->scan = &pen_csv_avx2;
#endif
}

const char *pen_csv_simd(void)
{
	return has_avx2() ? "avx2" : "scalar";
}
