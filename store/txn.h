/* SPDX-License-Identifier: MIT */
/*
 * txn - one write transaction
 *
 * begin waits for the environment's write lock after announcing itself (turn.h), so that a committer in another
 * process closes its group and lets it in. Everything that must become durable together is put between
 * begin and commit; abort leaves no trace.
 *
 *   Threads    begin, put, commit, abort of one transaction: one thread. One write transaction at a time in a
 *              process; a second begin waits.
 *   Failures   -PEN_DISK_FULL (ENOSPC, EDQUOT) and -PEN_MAP_FULL: the transaction is gone, nothing is lost,
 *              do it again when there is space. -PEN_DISK_FAILED (any other error of a write, a sync or the
 *              meta page): this process must not write any more; every later begin fails with the same code.
 */
#ifndef PEN_STORE_TXN_H
#define PEN_STORE_TXN_H

#include "store/store.h"

struct pen_txn;

/*
 * wait_ns: how long it waited for the lock; may be NULL. level: with what durability this transaction
 * commits; the strictest level of all engines that now hold the store is taken instead when it is stricter
 * (turn.h).
 */
int pen_txn_begin(struct pen_store *store, enum pen_durability level, struct pen_txn **ret, uint64_t *wait_ns,
		  struct pen_failure *why);
/* Commits; the transaction is gone whatever it returns. */
int pen_txn_commit(struct pen_txn *txn, struct pen_failure *why);
void pen_txn_abort(struct pen_txn *txn);

struct pen_store *pen_txn_store(const struct pen_txn *txn);
/*
 * Pages made dirty so far, never fewer than there are: LMDB keeps them in memory until the commit, and spills
 * (slowly, and with bugs in this version) above 131,071 of them. The committer closes its group long before.
 */
uint64_t pen_txn_dirty(const struct pen_txn *txn);
/* For the other files of this room: adds n to the estimate. */
void pen_txn_add_dirty(struct pen_txn *txn, uint64_t n);

#endif
