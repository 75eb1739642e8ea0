/* SPDX-License-Identifier: MIT */
/*
 * window - puts a batch's chunks back into the order in which they were cut
 *
 * Processors finish in any order; whoever takes what they made (committer, rehearsal) needs it by number.
 * A chunk lies in the place of its number until all before it have come out.
 *
 *   Progress   put, peek and pop are wait-free.
 *   Threads    one at a time: the last stage's.
 *   Memory     a pointer a place, allocated at open.
 *   Limits     numbers under way at once span fewer than `places`; more is a bug and asserted.
 */
#ifndef PEN_ENGINE_WINDOW_H
#define PEN_ENGINE_WINDOW_H

#include <stdint.h>

struct pen_chunk;

struct pen_window {
	struct pen_chunk **places; /* by number, modulo their count */
	uint32_t mask;
	uint64_t next; /* the number that comes out next */
};

/* places: at least so many. 0 or -ENOMEM. */
int pen_window_open(struct pen_window *window, uint32_t places);
void pen_window_close(struct pen_window *window);

void pen_window_put(struct pen_window *window, struct pen_chunk *chunk);
/* The chunk whose turn it is, or NULL while it is still under way. */
struct pen_chunk *pen_window_peek(const struct pen_window *window);
/* Takes out what peek shows. */
void pen_window_pop(struct pen_window *window);

#endif
