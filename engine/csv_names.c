/* SPDX-License-Identifier: MIT */
/*
 * The names of a table's columns. Limits come from the sample: there are no more names than bytes, and one more.
 */
#include "engine/csv_names.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/csv_sniff.h"

#define NAME_EXTRA 24u /* for a made name, or a number behind one */

/* Room for the names in so many bytes, and for one to try. */
int pen_csv_names_init(struct csv_names *names, size_t bytes)
{
	names->at = malloc((bytes + 2) * sizeof *names->at);
	names->text = malloc(bytes + 1);
	return names->at && names->text ? 0 : -ENOMEM;
}

/* Room for as many made names, each as long as an old one and a number. */
static int grow_names(struct csv_names *names)
{
	char *text = realloc(names->text, 2 * names->used + 2 * NAME_EXTRA * ((size_t)names->count + 1));

	if (text)
		names->text = text;
	return text ? 0 : -ENOMEM;
}

void pen_csv_names_fini(struct csv_names *names)
{
	free(names->at);
	free(names->text);
}

static void add_byte(struct csv_names *names, char c)
{
	names->text[names->used++] = c;
	names->at[names->count].len++;
}

static void begin_name(struct csv_names *names)
{
	names->at[names->count] = (struct pen_csv_text){ .at = (uint32_t)names->used };
}

/* The cells of the row that begins the text. */
void pen_csv_names_read(struct csv_names *names, const struct pen_csv *csv, const char *text, size_t len,
			bool whole)
{
	enum csv_state state = STATE_BEGIN, was;
	size_t i;

	begin_name(names);
	for (i = 0; i < len; i++) {
		was = state;
		state = pen_csv_step(csv, was, text[i]);
		if (state == STATE_ENDED)
			break;
		if (state == STATE_BEGIN) {
			names->count++;
			begin_name(names);
		} else if (state == STATE_PLAIN) {
			if (text[i] != '\r' || (i + 1 < len && text[i + 1] != '\n'))
				add_byte(names, text[i]);
		} else if (state == STATE_QUOTED && was != STATE_BEGIN) {
			add_byte(names, text[i]);
		}
	}
	names->count++;
	names->open = state == STATE_QUOTED || state == STATE_ESCAPED;
	names->ended = state == STATE_ENDED || (whole && !names->open);
}

/* Names separated by commas. */
void pen_csv_names_list(struct csv_names *names, const char *list)
{
	begin_name(names);
	for (; *list; list++) {
		if (*list != ',') {
			add_byte(names, *list);
			continue;
		}
		names->count++;
		begin_name(names);
	}
	names->count++;
	names->ended = true;
}

static void make_name(struct csv_names *names, uint32_t column)
{
	int n = snprintf(names->text + names->used, NAME_EXTRA, "c%u", column + 1);

	names->at[column] = (struct pen_csv_text){ (uint32_t)names->used, (uint32_t)n };
	names->used += (size_t)n;
}

static int by_text(const void *a, const void *b, void *arg)
{
	const struct csv_names *names = arg;
	uint32_t i = *(const uint32_t *)a, k = *(const uint32_t *)b;
	const struct pen_csv_text *x = &names->at[i], *y = &names->at[k];
	int c = memcmp(names->text + x->at, names->text + y->at, x->len < y->len ? x->len : y->len);

	if (c || x->len != y->len)
		return c ? c : x->len < y->len ? -1 : 1;
	return (i > k) - (i < k);
}

static bool same(const struct csv_names *names, uint32_t i, uint32_t k)
{
	return names->at[i].len == names->at[k].len &&
	       !memcmp(names->text + names->at[i].at, names->text + names->at[k].at, names->at[i].len);
}

/* Is the name at text[used..] one of the sorted ones? */
static bool is_taken(struct csv_names *names, const uint32_t *sorted, uint32_t len)
{
	const uint32_t probe = names->count; /* the place behind the last is free */
	uint32_t low = 0, high = probe;

	names->at[probe] = (struct pen_csv_text){ (uint32_t)names->used, len };
	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (same(names, sorted[mid], probe))
			return true;
		if (by_text(&sorted[mid], &probe, names) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return false;
}

/*
 * Makes all names non-empty and distinct: an empty one becomes cN, a repeated one gets the first free number from 2
 * on. Two made names are never equal, for what stands before the last `_` differs, or the number does. The new
 * names are put in place only when all are made, since the old ones are what is searched.
 */
static int make_distinct(struct csv_names *names)
{
	uint32_t *sorted = malloc((names->count + 1) * sizeof *sorted);
	struct pen_csv_text *made = calloc(names->count + 1, sizeof *made);
	uint32_t number = 2;

	if (!sorted || !made) {
		free(sorted);
		free(made);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < names->count; i++) {
		if (!names->at[i].len) {
			make_name(names, i);
			names->renamed++;
		}
		sorted[i] = i;
	}
	qsort_r(sorted, names->count, sizeof *sorted, by_text, names);
	for (uint32_t i = 1; i < names->count; i++) {
		const struct pen_csv_text *old = &names->at[sorted[i]];
		char *to = names->text + names->used;
		int n;

		if (!same(names, sorted[i - 1], sorted[i])) {
			number = 2;
			continue;
		}
		memcpy(to, names->text + old->at, old->len);
		do {
			n = snprintf(to + old->len, NAME_EXTRA, "_%u", number++);
		} while (is_taken(names, sorted, old->len + (uint32_t)n));
		made[sorted[i]] = names->at[names->count];
		names->used += old->len + (size_t)n;
		names->renamed++;
	}
	for (uint32_t i = 0; i < names->count; i++)
		if (made[i].len)
			names->at[i] = made[i];
	free(sorted);
	free(made);
	return 0;
}

/* Non-empty, distinct, and none looks like a value. */
bool pen_csv_names_fit(struct csv_names *names)
{
	uint32_t *sorted;
	bool fine = true;

	for (uint32_t i = 0; i < names->count; i++)
		if (!names->at[i].len || pen_csv_is_value(names->text + names->at[i].at, names->at[i].len))
			return false;
	sorted = malloc((names->count + 1) * sizeof *sorted);
	if (!sorted)
		return false;
	for (uint32_t i = 0; i < names->count; i++)
		sorted[i] = i;
	qsort_r(sorted, names->count, sizeof *sorted, by_text, names);
	for (uint32_t i = 1; i < names->count; i++)
		fine &= !same(names, sorted[i - 1], sorted[i]);
	free(sorted);
	return fine;
}

int pen_csv_names_finish(struct csv_names *names, bool made)
{
	int rc = grow_names(names);

	if (rc || !names->count)
		return rc;
	if (made)
		for (uint32_t i = 0; i < names->count; i++)
			make_name(names, i);
	return make_distinct(names);
}
