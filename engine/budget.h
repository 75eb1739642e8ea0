/* SPDX-License-Identifier: MIT */
/*
 * budget - how many items of a batch may go now
 *
 * Of a batch with a rate, or that counts against its owner's policies. The rate is counted under the batch's id in the
 * store's table (turnstile.h), so it holds over all processes that work on the batch, at once or one after another;
 * items are counted against BATCH_ITEM_PROCESSING of user:<owner>.
 *
 * Whoever gives items away takes them here first, and when that is refused leaves them and asks how long: nothing waits
 * in here. Items that end one by one are taken by the foreman as they are given to children, tries and all. Others are
 * taken by the committer, a chunk at a time, before its group; when the group has committed their time is set to then,
 * so that the rate is one of commits.
 *
 *   Threads    take, back, counted, wait: one, the foreman or the committer. resting: any.
 *   Memory     the struct.
 */
#ifndef PEN_ENGINE_BUDGET_H
#define PEN_ENGINE_BUDGET_H

#include "engine/engine.h"
#include "store/order.h"

#define PEN_BUDGET_ITEMS "BATCH_ITEM_PROCESSING"
#define PEN_BUDGET_BATCHES "BATCH_OPERATIONS"
#define PEN_BUDGET_TAGS 4u /* chunks read ahead of a batch that waits for its rate */

struct pen_budget;

/* Is there anything to count? */
bool pen_budget_wanted(const struct pen_plan *plan);
/* The engine's limits, opened at the first call. The committer's thread. */
int pen_budget_limits(struct pen_engine *engine, struct pen_limits **ret, struct pen_failure *why);
/* The committer's thread, before the batch's first item. */
int pen_budget_open(struct pen_engine *engine, const struct pen_plan *plan, uint64_t batch,
		    struct pen_budget **ret, struct pen_failure *why);
void pen_budget_close(struct pen_budget *budget); /* NULL is allowed, here and below: no limit */

/* Counts one more batch of the plan's owner. 0, or -PEN_LIMIT_REFUSED; readmit gives it back if it comes to nothing. */
int pen_budget_admit(struct pen_engine *engine, const struct pen_plan *plan, struct pen_limit_hold *hold,
		     struct pen_failure *why);
void pen_budget_readmit(struct pen_engine *engine, const struct pen_limit_hold *hold);

/* True: so many items may go, and are counted. */
bool pen_budget_take(struct pen_budget *budget, uint64_t items);
/* So many of what was taken last did not go. */
void pen_budget_back(struct pen_budget *budget, uint64_t items);
/* What was taken last is committed now. */
void pen_budget_counted(struct pen_budget *budget);
/* After a refusal, in nanoseconds; UINT64_MAX: nothing was refused, or it is to be asked at once. */
uint64_t pen_budget_wait_ns(const struct pen_budget *budget);
/* Whether the last answer was a refusal; then *ret_ms is how long, at most. */
bool pen_budget_resting(const struct pen_budget *budget, uint64_t *ret_ms);

/* What the batch of an order waits for, as other processes see it: a sentence and a newline, its length; or 0. */
size_t pen_budget_why(struct pen_store *store, const struct pen_order *order, char *ret, size_t cap);

#endif
