/* SPDX-License-Identifier: MIT */
/*
 * due - a batch's items that wait for their next try: when each may begin, and which is next
 *
 * Rows are read by (due, item), a few at a time, each once, behind the last one that was read. That is right only if
 * no earlier row can appear: a new time lies above the last one read (after), and nothing is read past the earliest
 * one that the store does not know yet (unknown_ms, of packs that are with the committer).
 *
 * Times are dates, because rows outlive the process; but the date may be set back, and an item is to wait no longer
 * for that. So a batch has a clock of its own: it follows the date, goes on evenly when the date goes back, and begins,
 * when rows wait from earlier runs, no earlier than it stood at their last results (clock_ms of the job). Only when the
 * date is set forward, or the machine slept, are items tried early.
 *
 *   Threads    one, the foreman's.
 *   Memory     the struct; rows stay in the store.
 *   Errors     the store's.
 */
#ifndef PEN_ENGINE_DUE_H
#define PEN_ENGINE_DUE_H

#include <stdbool.h>
#include <stdint.h>

#include "ring/clock.h"
#include "store/index.h"

#define PEN_DUE_BACK_MS 1000u /* the date is that far behind: it was set back */
#define PEN_DUE_MAX 64u	      /* rows that are due, read at once */

struct pen_due {
	struct pen_store *store;
	const struct pen_clock *clock;
	uint64_t batch;
	uint64_t now_ms, now_ns; /* the batch's clock, and the monotonic one when it stood so */
	uint64_t look_ms;	 /* look then; UINT64_MAX: no need */
	struct pen_index_wait waits[PEN_DUE_MAX], last;
	uint32_t count, next;
	bool any_last;
};

/* any: the batch has rows that wait; clock_ms: its clock stood so at least. */
void pen_due_begin(struct pen_due *due, struct pen_store *store, const struct pen_clock *clock,
		   uint64_t batch, bool any, uint64_t clock_ms);
uint64_t pen_due_now(struct pen_due *due);
/* By how much the batch's clock is ahead of the date. */
uint64_t pen_due_ahead_ms(struct pen_due *due);
/* When an item is due that waits so long from now; after all that was due when rows were last read. */
uint64_t pen_due_after(struct pen_due *due, uint64_t wait_ns);
/* A row that is due then is in the store now. */
void pen_due_known(struct pen_due *due, uint64_t due_ms);

/* 1: *ret_item is due, and is next until it is taken. 0: none is. Or a code. */
int pen_due_find(struct pen_due *due, uint64_t unknown_ms, uint64_t *ret_item);
void pen_due_take(struct pen_due *due);
/* A row is there to be taken. */
static inline bool pen_due_ready(const struct pen_due *due)
{
	return due->next < due->count;
}
/* How long until it is worth looking: 0 when one is ready; UINT64_MAX: until something is known. */
uint64_t pen_due_in_ms(struct pen_due *due);

#endif
