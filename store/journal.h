/* SPDX-License-Identifier: MIT */
/*
 * journal - durable events, gapless, in commit order
 *
 * Whoever tells others of what was committed lets the transaction take minutes: the events as they were
 * added, with their sequence numbers, and the transaction's id. They are true once it has committed.
 */
#ifndef PEN_STORE_JOURNAL_H
#define PEN_STORE_JOURNAL_H

#include "store/format.h"
#include "store/txn.h"

/* Adds an event with the next sequence number; it becomes visible and durable with the transaction. */
int pen_journal_add(struct pen_txn *txn, uint64_t batch, enum pen_event_type type, int code, uint64_t a,
		    uint64_t b);

#define PEN_MINUTES 16u /* events kept of one transaction */

struct pen_minutes {
	uint64_t txn;	/* LMDB's id of the transaction */
	uint32_t count; /* of events; at most PEN_MINUTES */
	uint32_t lost;	/* added above that: the journal has them */
	struct pen_event events[PEN_MINUTES];
};

/* Empties the minutes, and notes there what is added from now on. They must outlive the transaction. */
void pen_journal_minute(struct pen_txn *txn, struct pen_minutes *minutes);

#endif
