/* SPDX-License-Identifier: MIT */
/*
 * control - what people want of a batch, from any process, until they want it no more
 *
 *	                 nobody runs it                     a process runs it
 *	pause            unfinished -> paused               its runner pauses it at its next group
 *	resume           paused -> queued, waiting,         its runner goes on
 *	                 or interrupted (not submitted)
 *	cancel           -> cancelled                       its runner cancels it at its next group
 *
 * The wish is a row, so it outlives every process; a runner that takes up the batch later follows it too. Runners look
 * when another process has written to the store (pen_store_last_txn), at the latest a quarter of a second after.
 *
 *   Threads    any.
 */
#ifndef PEN_STORE_CONTROL_H
#define PEN_STORE_CONTROL_H

#include "store/format.h"
#include "store/txn.h"

/* Text of who and why, each cut at so many bytes. */
#define PEN_CONTROL_TEXT 255u

struct pen_control {
	enum pen_want want;
	uint64_t time_ms;
	char by[PEN_CONTROL_TEXT + 1], reason[PEN_CONTROL_TEXT + 1];
};

/* -PEN_NOT_FOUND: nobody wants anything. */
int pen_control_read(struct pen_store *store, uint64_t id, struct pen_control *ret);
int pen_control_load(struct pen_txn *txn, uint64_t id, struct pen_control *ret);
int pen_control_put(struct pen_txn *txn, uint64_t id, const struct pen_control *control);
/* 0 also when there is none. */
int pen_control_clear(struct pen_txn *txn, uint64_t id);

/* For the audit. */
int pen_control_decode(const void *value, size_t len, uint64_t id, struct pen_control *ret);

/* The newest transaction that a reader sees, of any process; 0: nothing can be read now. No system call. */
uint64_t pen_store_last_txn(struct pen_store *store);

#endif
