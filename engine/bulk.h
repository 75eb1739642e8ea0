/* SPDX-License-Identifier: MIT */
/*
 * bulk - a batch's way into its dataset by sorted runs
 *
 *	sort    chunks, in item order -> memory -> a run in STORE/staging -> its row, the rejects, the place, one commit
 *	merge   all runs, by key and then by item -> the dataset, in transactions whose stops say where to go on
 *	merged  the runs are removed
 *
 * Records at random keys, put as they come, write every page of a large dataset again and again. Sorted as a whole they
 * are appended. Items that are in runs are neither committed nor counted: what is shown of a batch is what its dataset
 * has. Equal keys come out of the merge in item order, so each policy for duplicates ends as it does without.
 *
 * When there are as many runs as may be merged at once, they are merged before the next one is begun, and what follows
 * is put into a dataset that is not empty. An input that fits into memory as a whole is never staged.
 *
 * A process that dies leaves the store at a commit: runs with rows, the place behind them, or the stops in each.
 * What it had in memory is read again.
 *
 *   Threads    the committer's.
 *   Memory     `budget` bytes while sorting (at least what one chunk needs), a block a run while merging; never both.
 *              A record larger than BULK_LARGE (bulk.c) comes on top, one at a time.
 *   Limits     as many runs at a time as their blocks fit into the budget, 16 .. PEN_STAGED_RUNS_MAX.
 *   Errors     as spill.h and txn.h; after one everything is as it was before the call, and it may be called again.
 */
#ifndef PEN_ENGINE_BULK_H
#define PEN_ENGINE_BULK_H

#include "engine/group.h"
#include "store/staged.h"

#define PEN_BULK_BYTES (64ull << 20)	  /* the budget, unless told otherwise */
#define PEN_BULK_AUTO_BYTES (64ull << 20) /* of input: less is not worth a second pass */
#define PEN_BULKS_MAX 2u		  /* batches in bulk mode at once in one engine */

struct pen_bulk;

/*
 * bulk_way.c, for admission: how a batch that begins reaches its dataset (its bulk_choice). rows_all: every item has
 * a row.
 * 0; -PEN_BULK_UNFIT, -PEN_BULK_SPACE: it was to be so, and cannot.
 */
int pen_bulk_choose(struct pen_store *store, struct pen_batch *batch, const struct pen_dataset *ds,
		    bool rows_all, struct pen_failure *why);
/* The same for one that goes on; what an earlier run left in staging decides. */
int pen_bulk_resume(struct pen_store *store, struct pen_txn *txn, struct pen_batch *batch,
		    const struct pen_dataset *ds, bool rows_all, struct pen_failure *why);
/* Frees what resume found. */
void pen_bulk_forget(struct pen_batch *batch);

/* staged, stops: what an earlier run left (staged.h), or NULL. 0 or -ENOMEM, -errno. */
int pen_bulk_open(struct pen_store *store, struct pen_batch *batch, const struct pen_fmt_staged *staged,
		  const struct pen_fmt_stop *stops, uint64_t budget, struct pen_bulk **ret);
void pen_bulk_close(struct pen_bulk *bulk); /* NULL is allowed */

enum pen_staged_phase pen_bulk_phase(const struct pen_bulk *bulk);
/* How far it is, in bytes of the sources: half of the way when all are sorted. passed: bytes that were sorted. */
uint64_t pen_bulk_passed(const struct pen_bulk *bulk, uint64_t passed);

/* ---- sort ------------------------------------------------------------------------------------ */

/* The chunk has room, or nothing is in memory. */
bool pen_bulk_takes(const struct pen_bulk *bulk, const struct pen_chunk *chunk);
/* Copies what the chunk holds; it may go. 0 or -ENOMEM. */
int pen_bulk_add(struct pen_bulk *bulk, const struct pen_chunk *chunk);
/* Something is in memory that is not in the store. */
bool pen_bulk_holds(const struct pen_bulk *bulk);
/* It is to be staged now, for it would take no more. */
bool pen_bulk_full(const struct pen_bulk *bulk);
/* Forgets what is in memory. */
void pen_bulk_drop(struct pen_bulk *bulk);
/* All of the batch is in memory, and little enough for one transaction. */
bool pen_bulk_fits(const struct pen_bulk *bulk);

/* Writes what is in memory as a run; nothing when that was done. Outside a transaction. */
int pen_bulk_spill(struct pen_bulk *bulk, struct pen_failure *why);
/* After it: the run's row, rejects, counters and place. */
int pen_bulk_stage(struct pen_bulk *bulk, struct pen_txn *txn, struct pen_outcome *ret);
/* Instead of both, when it fits: records too. */
int pen_bulk_put(struct pen_bulk *bulk, struct pen_txn *txn, struct pen_outcome *ret,
		 struct pen_failure *why);

/* ---- merge ----------------------------------------------------------------------------------- */

/* There are runs, and no more may be added. */
bool pen_bulk_many(const struct pen_bulk *bulk);
/* There are runs. */
bool pen_bulk_any(const struct pen_bulk *bulk);
/* Goes on where the stops are, from the sorting phase or another process. Outside a transaction. */
int pen_bulk_begin_merge(struct pen_bulk *bulk, struct pen_failure *why);
/* One transaction's worth, until `until_ns`, or as soon as somebody waits for the write lock. */
int pen_bulk_merge(struct pen_bulk *bulk, struct pen_txn *txn, uint64_t until_ns, struct pen_outcome *ret,
		   struct pen_failure *why);
/* The dataset has all records of the runs. */
bool pen_bulk_exhausted(const struct pen_bulk *bulk);
/* Says so, in a transaction that is synced: after it the files are not needed. */
int pen_bulk_end_merge(struct pen_bulk *bulk, struct pen_txn *txn, struct pen_outcome *ret);

/* The transaction of the last stage, put, merge or end_merge was committed, or not. */
void pen_bulk_committed(struct pen_bulk *bulk);
void pen_bulk_failed(struct pen_bulk *bulk);

#endif
