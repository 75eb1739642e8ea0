/* SPDX-License-Identifier: MIT */
/*
 * journal - durable events, gapless, in commit order
 */
#ifndef PEN_STORE_JOURNAL_H
#define PEN_STORE_JOURNAL_H

#include "store/format.h"
#include "store/txn.h"

/* Adds an event with the next sequence number; it becomes visible and durable with the transaction. */
int pen_journal_add(struct pen_txn *txn, uint64_t batch, enum pen_event_type type, int code, uint64_t a, uint64_t b);

#endif
