/* SPDX-License-Identifier: MIT */
#include "tools/tally.h"

#include <stdlib.h>
#include <string.h>

#include "tools/text.h"

#define SLOTS 2048u /* a power of two above the groups */
#define LONG_NUMBER 4u

struct pen_tally {
	enum pen_tally_by by;
	uint32_t count;
	uint64_t others;
	uint16_t slots[SLOTS]; /* group + 1; 0: free */
	struct pen_tally_group groups[PEN_TALLY_GROUPS];
};

struct pen_tally *pen_tally_new(enum pen_tally_by by)
{
	struct pen_tally *tally = calloc(1, sizeof *tally);

	if (tally)
		tally->by = by;
	return tally;
}

void pen_tally_free(struct pen_tally *tally)
{
	free(tally);
}

/* Cut at a character. */
static void fold(char name[PEN_TALLY_NAME], const char *message)
{
	size_t at = 0;

	while (*message) {
		size_t digits = strspn(message, "0123456789");
		unsigned len = pen_text_rune((const unsigned char *)message, strlen(message), NULL);

		if (digits >= LONG_NUMBER && at + 1 < PEN_TALLY_NAME) {
			name[at++] = '#';
			message += digits;
			continue;
		}
		/* All of a short number, so that its end is not taken for a long one's. */
		len = digits && digits < LONG_NUMBER ? (unsigned)digits : len ? len : 1;
		if (at + len >= PEN_TALLY_NAME)
			break;
		memcpy(name + at, message, len);
		at += len;
		message += len;
	}
	name[at] = '\0';
}

static uint32_t hash(const struct pen_tally_group *g)
{
	uint32_t h = 2166136261u ^ (uint32_t)g->code ^ (uint32_t)g->state << 24;

	for (const char *p = g->name; *p; p++)
		h = (h ^ (unsigned char)*p) * 16777619u;
	return h ^ h >> 15;
}

void pen_tally_add(struct pen_tally *tally, const struct pen_item *item)
{
	struct pen_tally_group g = { .first = item->seq };
	uint32_t at;

	if (tally->by == PEN_TALLY_STATE)
		g.state = item->state;
	else
		g.code = item->code;
	if (tally->by == PEN_TALLY_ERROR)
		fold(g.name, item->message);
	for (at = hash(&g) % SLOTS; tally->slots[at]; at = (at + 1) % SLOTS) {
		struct pen_tally_group *have = &tally->groups[tally->slots[at] - 1];

		if (have->code != g.code || have->state != g.state || strcmp(have->name, g.name) != 0)
			continue;
		have->items++;
		if (g.first < have->first)
			have->first = g.first;
		return;
	}
	if (tally->count == PEN_TALLY_GROUPS) {
		tally->others++;
		return;
	}
	g.items = 1;
	tally->groups[tally->count] = g;
	tally->slots[at] = (uint16_t)++tally->count;
}

static int most_first(const void *a, const void *b)
{
	const struct pen_tally_group *x = a, *y = b;

	if (x->items != y->items)
		return x->items < y->items ? 1 : -1;
	return x->first < y->first ? -1 : x->first > y->first;
}

const struct pen_tally_group *pen_tally_done(struct pen_tally *tally, uint32_t *ret_count,
					     uint64_t *ret_others)
{
	qsort(tally->groups, tally->count, sizeof *tally->groups, most_first);
	*ret_count = tally->count;
	*ret_others = tally->others;
	return tally->groups;
}
