/* SPDX-License-Identifier: MIT */
/*
 * running - how many batches run in the store now, whoever runs them
 *
 * Asked inside the transaction that lets another one begin: as there is one such transaction at a time, no two
 * processes can begin one above a cap. A batch runs while its state says so (running, or paused after it began) and
 * somebody holds its lock; what a process left behind that died does not count.
 *
 *   Threads    the transaction's.
 *   Memory     one batch's facts at a time. Looks at the batches in these two states, and at no others.
 */
#ifndef PEN_STORE_RUNNING_H
#define PEN_STORE_RUNNING_H

#include "store/txn.h"

/* Batches that run, but for this one, and those of them that are of this owner (NULL: not asked, 0). */
int pen_running_count(struct pen_txn *txn, uint64_t but, const char *owner, uint32_t *ret_all,
		      uint32_t *ret_owner);
/* May this batch begin? 0; -PEN_AT_CAP, which says which cap it is; or a code. */
int pen_running_check(struct pen_txn *txn, const struct pen_caps *caps, uint64_t batch, const char *owner,
		      struct pen_failure *why);

#endif
