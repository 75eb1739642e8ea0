/* SPDX-License-Identifier: MIT */
/*
 * dedup - by which batch a submission's key is taken, and until when
 *
 * A row for each owner and key, found by their hash; the row holds both, so that two that share a hash are still told
 * apart. The order of a batch names its row, and the index has the rows that end, the next one first. A row goes when
 * its time is over (retention), with its batch, or when a later submission sets it anew.
 *
 *   Threads    writing: the transaction's; reading: any.
 *   Memory     one block a row that was read, which the caller frees.
 *   Limits     a key of PEN_DEDUP_KEY_MAX bytes; owners as long as the ledger has them.
 */
#ifndef PEN_STORE_DEDUP_H
#define PEN_STORE_DEDUP_H

#include <stdbool.h>

#include "store/format.h"
#include "store/txn.h"

#define PEN_DEDUP_WORD "dedup" /* followed by the hash: a key of penstock.meta */
#define PEN_DEDUP_ROW_LEN 21u

struct pen_dedup {
	struct pen_fmt_dedup fixed; /* head is ignored */
	const char *owner, *key;
};

/* Which row is this owner's and key's. */
int pen_dedup_hash(const char *owner, const char *key, uint8_t ret[16]);
/* -PEN_NOT_FOUND. One malloc'ed block. */
int pen_dedup_load(struct pen_txn *txn, const uint8_t row[16], struct pen_dedup **ret);
int pen_dedup_read(struct pen_store *store, const uint8_t row[16], struct pen_dedup **ret);
/* Writes the row in place of the one that is there. */
int pen_dedup_put(struct pen_txn *txn, const struct pen_dedup *dedup);
/* The batch is removed: its row goes too, unless a later batch has it. */
int pen_dedup_forget(struct pen_txn *txn, const uint8_t row[16], uint64_t batch);
/* Removes up to `most` rows whose time was over before now_ms: 1 when none is left, 0 when there may be more. */
int pen_dedup_expire(struct pen_txn *txn, uint64_t now_ms, unsigned most, unsigned *ret_count);

/* For the audit. */
int pen_dedup_decode(const void *value, size_t len, const uint8_t row[16], struct pen_dedup **ret);

static inline bool pen_dedup_named(const uint8_t row[16])
{
	static const uint8_t none[16];

	return __builtin_memcmp(row, none, sizeof(none)) != 0;
}

#endif
