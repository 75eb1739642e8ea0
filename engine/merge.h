/* SPDX-License-Identifier: MIT */
/*
 * merge - a loser tree over sorted runs
 *
 * The caller holds the runs; the tree holds the head of each, its record in hand. The winner is the run with the lowest
 * key; of equal keys that of the run with the lowest number. When runs are numbered in the order of their items, and
 * each has its equal keys in that order, the whole comes out by key, and within a key by item.
 *
 *	pen_merge_open(&m, runs at most);
 *	pen_merge_begin(&m, count); pen_merge_set(&m, i, key, len, prefix) or pen_merge_end(&m, i) for each i;
 *	pen_merge_play(&m);
 *	while (pen_merge_winner(&m, &i)) { use run i's record; set or end i with its next one; pen_merge_replay(&m); }
 *
 * A record costs one comparison a level: log2(count) of them. Most are decided by 8 bytes that lie in the tree.
 *
 *   Threads    one at a time.
 *   Memory     24 bytes a run and 4 a level, allocated at open. Keys are borrowed until the run is set again.
 *   Limits     PEN_MERGE_RUNS_MAX runs.
 */
#ifndef PEN_ENGINE_MERGE_H
#define PEN_ENGINE_MERGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PEN_MERGE_RUNS_MAX 65536u

struct pen_merge_head {
	uint64_t prefix; /* the key's first 8 bytes, big-endian, zero-filled */
	const char *key;
	uint32_t len;
	bool over; /* the run has no more: it loses against everything */
};

struct pen_merge {
	struct pen_merge_head *heads;
	uint32_t *losers; /* of the matches at inner nodes 1 .. leaves - 1; [0] is the winner */
	uint32_t max, count, leaves;
};

int pen_merge_open(struct pen_merge *merge, uint32_t max); /* 0 or -ENOMEM */
void pen_merge_close(struct pen_merge *merge);

void pen_merge_begin(struct pen_merge *merge, uint32_t count);
static inline void pen_merge_set(struct pen_merge *merge, uint32_t run, const char *key, uint32_t len,
				 uint64_t prefix)
{
	merge->heads[run] = (struct pen_merge_head){ .prefix = prefix, .key = key, .len = len };
}
static inline void pen_merge_end(struct pen_merge *merge, uint32_t run)
{
	merge->heads[run] = (struct pen_merge_head){ .over = true };
}
/* All heads are set: finds the winner. */
void pen_merge_play(struct pen_merge *merge);
/* The winner's head changed. */
void pen_merge_replay(struct pen_merge *merge);
/* False: all runs are over. */
bool pen_merge_winner(const struct pen_merge *merge, uint32_t *ret);

#endif
