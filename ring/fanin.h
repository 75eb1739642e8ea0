/* SPDX-License-Identifier: MIT */
/*
 * fanin - many lanes read as one by a single consumer
 *
 * The MPSC queue of the pipeline: every producer has a lane of its own, so producers share no word and never
 * wait for each other; the consumer drains the lanes round robin and parks when all are empty. Each lane's
 * order is kept; between lanes there is none.
 *
 *   Progress   pop is wait-free. A producer paused in the middle of a push hides only its own words.
 *   Threads    push, close (with a lane number): that lane's producer. pop, wait, ended: the consumer.
 *   Limits     1 .. 128 lanes, fixed at init; capacity per lane as in lane.h. The pipeline gives every lane
 *              at least as many slots as there are chunks, so a push cannot find it full.
 */
#ifndef PEN_RING_FANIN_H
#define PEN_RING_FANIN_H

#include "ring/lane.h"
#include "ring/park.h"

struct pen_fanin {
	struct pen_lane *lanes; /* constant after init */
	uint32_t count;
	uint32_t next;	 /* the lane to look at first; consumer only */
	uint32_t ticket; /* taken when the last pop_wait ended; consumer only */
	struct pen_park park;
};

/* 0, or -ENOMEM. */
int pen_fanin_init(struct pen_fanin *fanin, uint32_t lanes, uint32_t capacity);
void pen_fanin_fini(struct pen_fanin *fanin);

/* Pushes into lane number `lane` and rings once. Returns how many words went in. That lane's producer. */
uint32_t pen_fanin_push(struct pen_fanin *fanin, uint32_t lane, const uint64_t *words, uint32_t n);
/* Closes the lane and rings. That lane's producer. */
void pen_fanin_close(struct pen_fanin *fanin, uint32_t lane);
/* Takes up to n words from whichever lanes have some; 0 when all are empty. Consumer. */
uint32_t pen_fanin_pop(struct pen_fanin *fanin, uint64_t *words, uint32_t n);
/*
 * Like pop, but parks until a word comes, every lane has ended (0), somebody rang (0), or timeout_ns passed
 * (0). A ring since the last pop_wait ended counts, also one whose words pop has taken already: 0 means look
 * again, not time is up. Consumer.
 */
uint32_t pen_fanin_pop_wait(struct pen_fanin *fanin, uint64_t *words, uint32_t n, uint64_t timeout_ns);
/* All lanes are closed and drained. Consumer. */
bool pen_fanin_ended(struct pen_fanin *fanin);
/*
 * Makes the pop_wait in progress, or the next one, return, so that the consumer looks at something else.
 * Anyone.
 */
void pen_fanin_ring(struct pen_fanin *fanin);

#endif
