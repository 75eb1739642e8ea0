/* SPDX-License-Identifier: MIT */
/*
 * dedup - what a submission does that has the key of an earlier one
 *
 *   no batch has the key, or its time is over      a new batch, which has it now
 *   simple, throttle                               the batch that has it is given back
 *   debounce, and that one has not begun           it is cancelled, and a new one takes its place and its key
 *   debounce, and that one has begun               a new batch, which has the key now
 *
 * How long a key is taken says the mode of the submission that took it: simple, while its batch is unfinished or
 * complete; the others, until their time has passed, unless the batch was cancelled. What is then done says the mode
 * of the later submission.
 *
 *   Threads    the committer's, inside the transaction that enters the batch.
 */
#ifndef PEN_ENGINE_DEDUP_H
#define PEN_ENGINE_DEDUP_H

#include "engine/plan.h"
#include "store/dedup.h"
#include "store/ledger.h"

enum pen_dedup_fate { PEN_DEDUP_ENTER, PEN_DEDUP_GIVE_BACK, PEN_DEDUP_REPLACE };

/* What is to be done, and the batch it is about (0 when none); or a code. Changes nothing. */
int pen_dedup_judge(struct pen_txn *txn, const struct pen_plan *plan, uint64_t now_ms, uint64_t *ret_batch);
/*
 * The batch that has not begun is cancelled; its lock is held in *ret_lock until the caller closes it. It never ran, so
 * the command for its end is not run either. -PEN_BATCH_BUSY: somebody else has it just now.
 */
int pen_dedup_replace(struct pen_txn *txn, uint64_t batch, int *ret_lock, struct pen_failure *why);
/* One more submission was one with the batch that has the key. */
int pen_dedup_count(struct pen_txn *txn, const struct pen_plan *plan);
/* This batch has the key now; its order is told the row. previous: whose place it takes, or 0. */
int pen_dedup_take(struct pen_txn *txn, const struct pen_plan *plan, uint64_t batch, uint64_t previous,
		   uint64_t now_ms, struct pen_order *order);

#endif
