/* SPDX-License-Identifier: MIT */
#include "ring/post.h"

#include "ring/assert.h"

#define TRIES 64

/* Race tests break the protocol one step at a time and expect to be told. */
#ifdef PEN_PLANT_POST_LEFT
#define ORDER_LEFT memory_order_relaxed
#else
#define ORDER_LEFT memory_order_release
#endif
#ifdef PEN_PLANT_POST_FREE
#define ORDER_FREE memory_order_relaxed
#else
#define ORDER_FREE memory_order_release
#endif

void pen_post_init(struct pen_post *post)
{
	atomic_init(&post->tail, 0);
	post->head = 0;
	for (uint32_t i = 0; i < PEN_POST_CELLS; i++)
		atomic_init(&post->cells[i].seq, i);
}

bool pen_post_leave(struct pen_post *post, const uint64_t *words, uint32_t n)
{
	/* Relaxed: the cell's number decides; the tail only says where to look. */
	uint64_t at = atomic_load_explicit(&post->tail, memory_order_relaxed);

	pen_assert(n <= PEN_POST_WORDS);
	for (int try = 0; try < TRIES; try++) {
		struct pen_post_cell *cell = &post->cells[at % PEN_POST_CELLS];
		/*
		 * PAIR(post.free): who sees the cell free knows that its last note has been read. Without it that
		 * note is overwritten while it is copied.
		 */
		uint64_t seq = atomic_load_explicit(&cell->seq, memory_order_acquire);

		if (seq < at)
			return false;
		if (seq > at) { /* somebody was here first */
			at = atomic_load_explicit(&post->tail, memory_order_relaxed);
			continue;
		}
		/* Relaxed: the cell is handed on by its number, not by the tail. */
		if (!atomic_compare_exchange_weak_explicit(&post->tail, &at, at + 1, memory_order_relaxed,
							   memory_order_relaxed))
			continue;
		/* Loops, which the race checker sees, and no memcpy, which it does not when it is inlined. */
		for (uint32_t i = 0; i < PEN_POST_WORDS; i++)
			cell->words[i] = i < n ? words[i] : 0;
		/* PAIR(post.left): the words come before the number that shows them. Without it the collector reads
		 * words that were not written yet. */
		atomic_store_explicit(&cell->seq, at + 1, ORDER_LEFT);
		return true;
	}
	return false;
}

bool pen_post_take(struct pen_post *post, uint64_t ret[PEN_POST_WORDS])
{
	struct pen_post_cell *cell = &post->cells[post->head % PEN_POST_CELLS];

	/* PAIR(post.left): who sees the number sees the words. Without it they may be those of the note before. */
	if (atomic_load_explicit(&cell->seq, memory_order_acquire) != post->head + 1)
		return false;
	for (uint32_t i = 0; i < PEN_POST_WORDS; i++)
		ret[i] = cell->words[i];
	/* PAIR(post.free): the words were read before the cell may be filled again. Without it the copy is torn. */
	atomic_store_explicit(&cell->seq, post->head + PEN_POST_CELLS, ORDER_FREE);
	post->head++;
	return true;
}
