/* SPDX-License-Identifier: MIT */
/*
 * Leaves leaves .. 2 * leaves - 1 are the runs, a power of two of them; those beyond the count are over from the
 * beginning. Node n's children are 2n and 2n + 1.
 */
#include "engine/merge.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ring/assert.h"
#include "ring/base.h"

int pen_merge_open(struct pen_merge *merge, uint32_t max)
{
	uint32_t leaves = pen_pow2_from(max ? max : 1);

	pen_assert(max <= PEN_MERGE_RUNS_MAX);
	*merge = (struct pen_merge){ .max = max };
	merge->heads = calloc(leaves, sizeof *merge->heads);
	merge->losers = calloc(leaves, sizeof *merge->losers);
	if (merge->heads && merge->losers)
		return 0;
	pen_merge_close(merge);
	return -ENOMEM;
}

void pen_merge_close(struct pen_merge *merge)
{
	free(merge->heads);
	free(merge->losers);
	merge->heads = NULL;
	merge->losers = NULL;
}

void pen_merge_begin(struct pen_merge *merge, uint32_t count)
{
	pen_assert(count <= merge->max);
	merge->count = count;
	merge->leaves = pen_pow2_from(count ? count : 1);
	for (uint32_t i = 0; i < merge->leaves; i++)
		merge->heads[i] = (struct pen_merge_head){ .over = true };
}

/* x comes out before y. */
static bool beats(const struct pen_merge *merge, uint32_t x, uint32_t y)
{
	const struct pen_merge_head *a = &merge->heads[x], *b = &merge->heads[y];
	int order;

	if (a->over || b->over)
		return a->over == b->over ? x < y : b->over;
	if (a->prefix != b->prefix)
		return a->prefix < b->prefix;
	order = memcmp(a->key, b->key, pen_min(a->len, b->len));
	if (order)
		return order < 0;
	return a->len != b->len ? a->len < b->len : x < y;
}

/* Plays all matches below the node; its loser stays there, its winner is returned. */
static uint32_t play(struct pen_merge *merge, uint32_t node)
{
	uint32_t x, y;
	bool first;

	if (node >= merge->leaves)
		return node - merge->leaves;
	/* As deep as log2 of the leaves. NOLINTNEXTLINE(misc-no-recursion) */
	x = play(merge, 2 * node);
	y = play(merge, 2 * node + 1); /* NOLINT(misc-no-recursion) */
	first = beats(merge, x, y);
	merge->losers[node] = first ? y : x;
	return first ? x : y;
}

void pen_merge_play(struct pen_merge *merge)
{
	merge->losers[0] = play(merge, 1);
}

void pen_merge_replay(struct pen_merge *merge)
{
	uint32_t best = merge->losers[0];

	for (uint32_t node = (merge->leaves + best) / 2; node; node /= 2) {
		uint32_t other = merge->losers[node];

		if (beats(merge, best, other))
			continue;
		merge->losers[node] = best;
		best = other;
	}
	merge->losers[0] = best;
}

bool pen_merge_winner(const struct pen_merge *merge, uint32_t *ret)
{
	if (!merge->count || merge->heads[merge->losers[0]].over)
		return false;
	*ret = merge->losers[0];
	return true;
}
