/* SPDX-License-Identifier: MIT */
/*
 * retain - what is known about ended batches does not stay for ever
 *
 * Removes batches that ended long ago (facts, state, identity, rows), rows of ended batches above a budget, and events
 * from the front. The public calls are in include/penstock.h; penstock.meta holds the rules and three kinds of rows.
 *
 *   Order      A batch's rows go first, from its lowest item up, in as many transactions as it takes; each notes in
 *              the batch's `trimmed` row what it took. The last one takes the rest of the rows, the facts, the state,
 *              the identity if it points here, and the `trimmed` row; it adds what the batch had put into its dataset
 *              to the dataset's `removed` row, and a CLEANED event. So every commit leaves a store that verifies, and
 *              nothing marks a batch as half removed: the next pass finds it as old as it was.
 *   Keys       of submissions whose time is over go too (dedup.h), whatever became of their batches.
 *   Events     go from the front only, so that sequences have no gaps; `first_event` says where they begin. One that
 *              is neither old nor above the budget goes too when its batch is gone, but for CLEANED.
 *              Its children that have ended forget it first (retain_rest.c); its stream, if one was kept for it, goes
 *              after the commit (retain_spool.c), and a sweep at the end of a pass finds those that were left.
 *   Stays      a batch that is waited for by one that has not ended, whose hook is owed, or whose rows wait for a try.
 *   Locks      a batch's lock is held from the look at it to the commit. A batch that is run, or whose source files
 *              are still owed (STORE/staging/after.ID), stays.
 *   Bounds     1,000 rows, 64 batches or 10 ms a transaction; others are let in between (turn.h). Memory: a few KiB.
 *   Threads    any that is in no write transaction; one pass at a time a process. Passes of two processes take turns.
 */
#ifndef PEN_STORE_RETAIN_H
#define PEN_STORE_RETAIN_H

#include "store/ledger.h"
#include "store/store_private.h"

#define PEN_RETENTION_KEY "retention"
#define PEN_REMOVED_KEY "removed" /* followed by the dataset's id */
#define PEN_TRIMMED_KEY "trimmed" /* followed by the batch's id */
#define PEN_RETAIN_KEY_LEN 15u	  /* of the latter two */

#define PEN_RETAIN_KEEP_MS (7 * UINT64_C(86400000))

/* ---- for the other files of this room ---- */

/* The dataset is dropped in this transaction. */
int pen_retain_dropped(struct pen_txn *txn, uint64_t dataset_id);
/* May retention remove a batch in this state, if the rules say so? */
static inline bool pen_retain_may(unsigned state)
{
	return state == PEN_COMPLETED || state == PEN_FAILED || state == PEN_CANCELLED ||
	       state == PEN_STOPPED || state == PEN_INTERRUPTED;
}

/* Removes a row; 0 too when there is none. */
static inline int pen_retain_del(struct pen_txn *txn, enum pen_db db, const void *key, size_t key_len)
{
	int rc = pen_txn_del(txn, db, key, key_len);

	return rc == -PEN_NOT_FOUND ? 0 : rc;
}

/* ---- retain_rules.c ---- */

void pen_retain_key(uint8_t key[PEN_RETAIN_KEY_LEN], const char *word, uint64_t id);
/* A row of penstock.meta; zeros when there is none. */
int pen_retain_row_read(struct pen_store *store, MDB_txn *mdb, const void *key, size_t key_len,
			enum pen_fmt_kind kind, void *ret, size_t len);
int pen_retain_row_write(struct pen_txn *txn, const void *key, size_t key_len, enum pen_fmt_kind kind,
			 void *row, size_t len);
int pen_retain_read(struct pen_store *store, MDB_txn *mdb, struct pen_fmt_retention *ret);
int pen_retain_write(struct pen_txn *txn, struct pen_fmt_retention *r);
int pen_retain_trimmed_read(struct pen_store *store, MDB_txn *mdb, uint64_t batch,
			    struct pen_fmt_trimmed *ret);
/* With defaults filled in. */
void pen_retain_rules_of(const struct pen_fmt_retention *r, struct pen_retain_rules *ret);

/* ---- retain_rest.c ---- */

/* A batch that has not ended waits for this one, its hook is still to be run, or rows of it wait for another try. */
int pen_retain_needed(struct pen_txn *txn, uint64_t id, bool *ret);
/* Up to `most` children, which have ended, wait for this one no more: 1 when none is left, 0 when there are more. */
int pen_retain_strike(struct pen_txn *txn, uint64_t id, unsigned most, unsigned *ret_count);
/* The order with the edges to its parents, the job, the wish, and the index's entries. */
int pen_retain_rest(struct pen_txn *txn, const struct pen_facts *facts, const struct pen_fmt_state *s);
/* What is older than events are kept goes from the history of flags, some of it at a time. */
int pen_retain_history(struct pen_txn *txn, uint64_t events_ms, uint64_t now_ms, bool *ret_changed);
/* A row with what the index says of it. due_ms: when it waits for another try. */
int pen_retain_row(struct pen_txn *txn, uint64_t batch, uint64_t seq, unsigned state, uint64_t due_ms);

/* ---- retain_spool.c ---- */

#define PEN_RETAIN_SPOOL_NAME 23u

/* The file in STORE/staging that holds the stream of a batch; false: it has none. */
bool pen_retain_spool(const struct pen_facts *facts, char ret[PEN_RETAIN_SPOOL_NAME]);
void pen_retain_spool_drop(struct pen_store *store, const char *name);
/* Removes kept streams that no batch refers to and halves of them, once they are a day old. */
void pen_retain_sweep(struct pen_store *store, uint64_t now_ms, uint64_t until_ns);

#endif
