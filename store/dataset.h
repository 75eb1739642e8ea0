/* SPDX-License-Identifier: MIT */
/*
 * dataset - a named database of the user's records, and what is kept about it
 *
 * Keys and values are the user's bytes. Beside them, in the same transaction: the number of records, the
 * next @seq key, and an order-independent digest in 256 buckets (ring/hash.h), so that `verify` can tell
 * silent damage and foreign writes without touching the user's bytes.
 *
 * The digests of new records are computed by whoever has time (the processors) and offered as sums; put
 * corrects the sum for what did not go in or replaced something:
 *
 *	pen_dataset_use(txn, name, ...);
 *	pen_dataset_put(...) per record, in key order where possible;
 *	pen_dataset_offer(ds, sums of all records given to put);
 *	pen_dataset_save(ds);                        before the commit
 *
 *   Threads    the transaction's.
 *   Memory     a pen_dataset lives as long as its transaction and is freed by it.
 */
#ifndef PEN_STORE_DATASET_H
#define PEN_STORE_DATASET_H

#include "ring/hash.h"
#include "store/txn.h"

struct pen_dataset;

/* 0, or -PEN_DATASET_NAME: 1 .. 200 bytes of UTF-8 without control characters, not beginning with "penstock.". */
int pen_dataset_name_check(const char *name);
/* UTF-8 without control characters, of at most max bytes. Pure. */
bool pen_dataset_text_fits(const char *text, size_t max);

/*
 * The dataset `name` in this transaction; made with key_kind when it does not exist. -PEN_KEY_KIND: it has
 * keys of another kind, and one of the two is @seq or @offset (numbers and text do not mix);
 * -PEN_DATASETS_FULL. A database of that name that penstock did not make is taken over only when empty,
 * else -PEN_KEY_KIND.
 */
int pen_dataset_use(struct pen_txn *txn, const char *name, enum pen_key key_kind, struct pen_dataset **ret,
		    struct pen_failure *why);
/* Like use, but -PEN_NO_DATASET when it does not exist or its id is another. */
int pen_dataset_use_id(struct pen_txn *txn, const char *name, uint64_t id, struct pen_dataset **ret,
		       struct pen_failure *why);

uint64_t pen_dataset_id(const struct pen_dataset *ds);
uint64_t pen_dataset_entries(const struct pen_dataset *ds);
uint64_t pen_dataset_leaves(const struct pen_dataset *ds); /* leaf pages, for estimates */
uint64_t pen_dataset_next_seq(const struct pen_dataset *ds);
void pen_dataset_set_next_seq(struct pen_dataset *ds, uint64_t next);
uint64_t pen_dataset_feeder(const struct pen_dataset *ds);
void pen_dataset_set_feeder(struct pen_dataset *ds, uint64_t batch);

/* True when `key` lies above every key of the dataset (an empty one too): appending is allowed. */
int pen_dataset_above(struct pen_dataset *ds, const void *key, size_t key_len, bool *ret);

enum pen_put {
	PEN_PUT_NEW,	  /* the key was not there */
	PEN_PUT_REPLACED, /* it was, and has the new value */
	PEN_PUT_KEPT,	  /* it was, and keeps the old one (keep, reject) */
};
/*
 * append: the key lies above all others (strictly ascending, checked by LMDB). Otherwise any order, cheap in
 * ascending order. 0 with *ret, or a code.
 */
int pen_dataset_put(struct pen_dataset *ds, const void *key, size_t key_len, const void *value,
		    size_t value_len, bool append, enum pen_duplicate policy, enum pen_put *ret);
/* Puts one record, replacing what was there, and its digest with it. */
int pen_dataset_set(struct pen_dataset *ds, const void *key, size_t key_len, const void *value,
		    size_t value_len);
/* Removes one record. -PEN_NOT_FOUND: it was not there. */
int pen_dataset_del(struct pen_dataset *ds, const void *key, size_t key_len);
/*
 * So many more records (or fewer) of the dataset than its batches put: what was put beside an item, or is of a batch
 * that was removed. verify adds them up (retain.c).
 */
int pen_dataset_others(struct pen_txn *txn, uint64_t dataset_id, int64_t delta);
/* Adds digest sums of records that were given to put, by bucket. */
void pen_dataset_offer(struct pen_dataset *ds, const struct pen_sum sums[PEN_BUCKETS]);
/* Writes the dataset's row and its touched digest rows. */
int pen_dataset_save(struct pen_dataset *ds);

#endif
