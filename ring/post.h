/* SPDX-License-Identifier: MIT */
/*
 * post - any thread leaves a small note, one thread collects them
 *
 * For notes that nobody waits for and that may be lost when there are too many: unlike a fan-in it takes notes from
 * threads it does not know. A bounded queue of cells, each with a number that says whose turn it is (Vyukov's).
 *
 *   Progress   leave is lock-free and gives up after some tries, so it is bounded. take is wait-free. A thread
 *              paused inside leave hides the notes left after its own until it goes on; nobody waits for it.
 *   Threads    leave: anyone. take: the one collector.
 *   Memory     PEN_POST_CELLS notes, inside.
 *   Full is an answer, not an error.
 *
 * Orderings: post.left, post.free (docs/CONCURRENCY.md).
 */
#ifndef PEN_RING_POST_H
#define PEN_RING_POST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "ring/base.h"

#define PEN_POST_CELLS 256u
#define PEN_POST_WORDS 15u

struct pen_post {
	/* Written by those who leave notes. */
	_Alignas(PEN_LINE_PAIR) _Atomic uint64_t tail;
	/* The collector's. */
	_Alignas(PEN_LINE_PAIR) uint64_t head;
	/* A cell is written by whose turn it is: seq = index, free for note `index`; index + 1, the note is there. */
	struct pen_post_cell {
		_Alignas(PEN_LINE_PAIR) _Atomic uint64_t seq;
		uint64_t words[PEN_POST_WORDS];
	} cells[PEN_POST_CELLS];
};

void pen_post_init(struct pen_post *post);
/* n words, at most PEN_POST_WORDS. False: full. Anyone. */
bool pen_post_leave(struct pen_post *post, const uint64_t *words, uint32_t n);
/* The oldest note, all its words (those not given are 0). False: there is none. The collector. */
bool pen_post_take(struct pen_post *post, uint64_t ret[PEN_POST_WORDS]);

#endif
