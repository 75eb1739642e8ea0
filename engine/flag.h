/* SPDX-License-Identifier: MIT */
/*
 * flag - changes to feature flags: checked, merged, written, told
 *
 * Every change is one transaction with its line of history. Behind the commit the shared word says so (store/turn.h),
 * and every process looks. What penstock.h says of flags is the rest of the contract.
 *
 *   Threads    any.
 *   Memory     the flag and its change, gone at the end of the call.
 */
#ifndef PEN_ENGINE_FLAG_H
#define PEN_ENGINE_FLAG_H

#include "include/penstock.h"
#include "store/txn.h"

/* Writes after in before's place, and the line of history: the version goes up by one. In the transaction. */
int pen_flag_replace(struct pen_txn *txn, enum pen_flag_action action, const struct pen_flag *before,
		     struct pen_flag *after, const char *by, const char *reason);
/* Commits, and tells everybody. */
int pen_flag_commit(struct pen_store *store, struct pen_txn *txn, struct pen_failure *why);

#endif
