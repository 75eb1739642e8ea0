/* SPDX-License-Identifier: MIT */
/*
 * totals - what the store has counted since it was made: sums that only ever grow
 *
 * Batches leave (retention) and begin anew (retry); these numbers do neither. One row of penstock.meta, changed in
 * the transaction that changes a batch's state, so that it is as exact as that state. What is counted down there (a
 * failed item that is tried again) is not taken back here: it did fail, and counts again when it ends.
 *
 *   Threads    as the transaction.
 *   Cost       one look and one put of 256 bytes a group.
 */
#ifndef PEN_STORE_TOTALS_H
#define PEN_STORE_TOTALS_H

#include "store/format.h"
#include "store/txn.h"

#define PEN_TOTALS_KEY "totals"

/* before: the state that `after` replaces; NULL: the batch is new. */
int pen_totals_move(struct pen_txn *txn, const struct pen_fmt_state *before,
		    const struct pen_fmt_state *after);

#endif
