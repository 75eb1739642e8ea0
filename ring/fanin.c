/* SPDX-License-Identifier: MIT */
/*
 * fanin - many lanes read as one by a single consumer
 *
 * The happy path
 *   push       into the producer's own lane, then one ring.
 *   pop        takes from the lanes in turn until the caller's buffer is full or every lane was looked at
 *              once.
 *   pop_wait   pops; if there was nothing, sleeps on the ticket and pops again.
 *
 * The ticket a wait sleeps on is the one taken when the wait before it ended, not one of its own: whatever
 * the consumer looked at since then (the lanes, a stop flag, a list of its own) was looked at after the
 * ticket, so a ring for any of it ends the wait. The price is that a ring whose words were popped already
 * ends one wait early.
 */
#include "ring/fanin.h"

#include <errno.h>
#include <stdlib.h>

#include "ring/assert.h"

#define LANES_MAX 128u

int pen_fanin_init(struct pen_fanin *fanin, uint32_t lanes, uint32_t capacity)
{
	struct pen_lane *all;

	pen_assert(lanes >= 1);
	pen_assert(lanes <= LANES_MAX);
	all = aligned_alloc(_Alignof(struct pen_lane), lanes * sizeof(*all));
	if (!all)
		return -ENOMEM;
	for (uint32_t i = 0; i < lanes; i++) {
		int res = pen_lane_init(&all[i], capacity, 0);

		if (res) {
			while (i)
				pen_lane_fini(&all[--i]);
			free(all);
			return res;
		}
	}
	fanin->lanes = all;
	fanin->count = lanes;
	fanin->next = 0;
	pen_park_init(&fanin->park);
	fanin->ticket = pen_park_ticket(&fanin->park);
	return 0;
}

void pen_fanin_fini(struct pen_fanin *fanin)
{
	for (uint32_t i = 0; i < fanin->count; i++)
		pen_lane_fini(&fanin->lanes[i]);
	free(fanin->lanes);
	fanin->lanes = NULL;
	fanin->count = 0;
}

uint32_t pen_fanin_push(struct pen_fanin *fanin, uint32_t lane, const uint64_t *words, uint32_t n)
{
	uint32_t moved;

	pen_assert(lane < fanin->count);
	moved = pen_lane_push(&fanin->lanes[lane], words, n);
	if (moved)
		pen_park_ring(&fanin->park);
	return moved;
}

void pen_fanin_close(struct pen_fanin *fanin, uint32_t lane)
{
	pen_assert(lane < fanin->count);
	pen_lane_close(&fanin->lanes[lane]);
#ifndef PEN_PLANT_FANIN_CLOSE /* race tests leave the ring out and expect to be told */
	pen_park_ring(&fanin->park);
#endif
}

uint32_t pen_fanin_pop(struct pen_fanin *fanin, uint64_t *words, uint32_t n)
{
	uint32_t got = 0;
	uint32_t at = fanin->next;

	for (uint32_t looked = 0; looked < fanin->count && got < n; looked++) {
		got += pen_lane_pop(&fanin->lanes[at], words + got, n - got);
		at = at + 1 < fanin->count ? at + 1 : 0;
	}
	/* The lane after the one that filled the buffer: a busy lane cannot keep the others waiting. */
	fanin->next = at;
	return got;
}

uint32_t pen_fanin_pop_wait(struct pen_fanin *fanin, uint64_t *words, uint32_t n, uint64_t timeout_ns)
{
	uint32_t got = pen_fanin_pop(fanin, words, n);

	if (got || !n || pen_fanin_ended(fanin))
		return got;
	(void)pen_park_wait(&fanin->park, fanin->ticket, timeout_ns); /* what is there now tells why */
	fanin->ticket = pen_park_ticket(&fanin->park);
	return pen_fanin_pop(fanin, words, n);
}

bool pen_fanin_ended(struct pen_fanin *fanin)
{
	for (uint32_t i = 0; i < fanin->count; i++)
		if (!pen_lane_ended(&fanin->lanes[i]))
			return false;
	return true;
}

void pen_fanin_ring(struct pen_fanin *fanin)
{
	pen_park_ring(&fanin->park);
}
