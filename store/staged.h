/* SPDX-License-Identifier: MIT */
/*
 * staged - the manifest of sorted runs: which files in STORE/staging belong to which batch
 *
 * A batch in bulk mode writes its records into files run.ID.NUMBER, sorted by key, and merges those into the dataset
 * (engine/bulk.h). A file counts once its row is committed, together with the place in the sources behind it:
 *
 *	file written and synced  ->  row and place committed  ->  ...  ->  phase `merged` committed  ->  file removed
 *	    ->  rows removed with the batch's end
 *
 * So a row without a file is only there in the phase `merged`, and a file without a row is a leftover, which trim or
 * sweep removes.
 *
 *   Threads    the transaction's; trim, sweep: any, outside a write transaction.
 *   Limits     PEN_STAGED_RUNS_MAX runs a batch at a time. A sweep handles 1,024 files; the next one goes on.
 */
#ifndef PEN_STORE_STAGED_H
#define PEN_STORE_STAGED_H

#include "store/format.h"
#include "store/txn.h"

#define PEN_STAGED_KEY "staged"
#define PEN_STAGED_RUNS_MAX 1024u
#define PEN_STAGED_NAME 30u /* run., 16 digits, a dot, 8 digits, NUL */

/* head is filled in. stops: run_count of them in the phase `merge`, else ignored. */
int pen_staged_save(struct pen_txn *txn, const struct pen_fmt_staged *staged,
		    const struct pen_fmt_stop *stops);
/* stops: room for PEN_STAGED_RUNS_MAX. -PEN_NOT_FOUND: the batch has nothing staged. */
int pen_staged_load(struct pen_txn *txn, uint64_t batch, struct pen_fmt_staged *ret,
		    struct pen_fmt_stop *stops);
/* The same, from a snapshot, without stops. */
int pen_staged_read(struct pen_store *store, uint64_t batch, struct pen_fmt_staged *ret);

/* The keys have the lengths that the run says. */
int pen_staged_put_run(struct pen_txn *txn, const struct pen_fmt_run *run, const void *first,
		       const void *last);
int pen_staged_load_run(struct pen_txn *txn, uint64_t batch, uint32_t number, struct pen_fmt_run *ret);
/* Removes the rows of runs first .. first + count - 1. */
int pen_staged_del_runs(struct pen_txn *txn, uint64_t batch, uint32_t first, uint32_t count);
/* Removes all rows of the batch; also when there are none. */
int pen_staged_forget(struct pen_txn *txn, uint64_t batch);

void pen_staged_name(uint64_t batch, uint32_t number, char ret[PEN_STAGED_NAME]);
/* STORE/staging, for openat; the caller closes it. Or -errno. */
int pen_staged_dir(struct pen_store *store);
/* Bytes free where the store lies. */
uint64_t pen_staged_space(struct pen_store *store);
/* Removes the files of the batch that have no row, or have served. The caller holds the batch's lock. */
void pen_staged_trim(struct pen_store *store, uint64_t batch);
/* The same of all batches that nobody runs. */
void pen_staged_sweep(struct pen_store *store);

/* ---- for the audit ---- */

#define PEN_STAGED_KEY_LEN (sizeof(PEN_STAGED_KEY) - 1 + 8)
#define PEN_STAGED_RUN_KEY_LEN (PEN_STAGED_KEY_LEN + 4)

int pen_staged_decode(const void *value, size_t len, uint64_t batch, struct pen_fmt_staged *ret,
		      struct pen_fmt_stop *stops);
int pen_staged_decode_run(const void *value, size_t len, uint64_t batch, uint32_t number,
			  struct pen_fmt_run *ret);

#endif
