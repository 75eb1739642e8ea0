/* SPDX-License-Identifier: MIT */
/*
 * index - finds batches and rows without reading them all
 *
 * One database, whose keys begin with what they are about. An entry is added and removed in the transaction that
 * changes what it says, so it is never older or newer than that; verify proves both ways.
 *
 *   PEN_INDEX_STATE   u8 state, u64 batch                  batches by state
 *   PEN_INDEX_OWNER   owner, 0, u64 batch                  by owner
 *   PEN_INDEX_ENDED   u64 ended_ms, u64 batch              batches that are over, oldest first: what may be cleaned
 *   PEN_INDEX_ROW     u64 batch, u8 state, u64 item -> i32 code
 *                                                          rows that are rejected, failed, quarantined, retrying
 *   PEN_INDEX_HOOK    u64 batch                            batches with a command that was not run yet
 *   PEN_INDEX_DUE     u64 batch, u64 due_ms, u64 item      rows that wait for their next try
 *   PEN_INDEX_DEDUP   u64 until_ms, u8[16] row             rows of dedup.h that have an end, the next one first
 *
 *   Threads    writing: the transaction's; scans: any, each its own.
 *   Limits     owners of up to PEN_OWNER_MAX bytes are told apart.
 */
#ifndef PEN_STORE_INDEX_H
#define PEN_STORE_INDEX_H

#include "store/format.h"
#include "store/txn.h"

enum pen_index {
	PEN_INDEX_STATE = 1,
	PEN_INDEX_OWNER,
	PEN_INDEX_ENDED,
	PEN_INDEX_ROW,
	PEN_INDEX_DUE,
	PEN_INDEX_HOOK,
	PEN_INDEX_DEDUP
};

#define PEN_OWNER_MAX 255u
#define PEN_INDEX_KEY_MAX (2 + PEN_OWNER_MAX + 16)

struct pen_index_key {
	size_t len;
	uint8_t bytes[PEN_INDEX_KEY_MAX];
};

struct pen_index_key pen_index_state(uint8_t state, uint64_t batch);
struct pen_index_key pen_index_owner(const char *owner, uint64_t batch);
struct pen_index_key pen_index_ended(uint64_t ended_ms, uint64_t batch);
struct pen_index_key pen_index_hook(uint64_t batch);
struct pen_index_key pen_index_row(uint64_t batch, uint8_t state, uint64_t item);
struct pen_index_key pen_index_due(uint64_t batch, uint64_t due_ms, uint64_t item);
struct pen_index_key pen_index_dedup(uint64_t until_ms, const uint8_t row[16]);

/* Rows in this state are indexed. */
static inline bool pen_index_has_row(uint8_t state)
{
	return state == PEN_ITEM_REJECTED || state == PEN_ITEM_FAILED || state == PEN_ITEM_QUARANTINED ||
	       state == PEN_ITEM_RETRYING;
}

/* code: of rows; ignored for others. */
int pen_index_add(struct pen_txn *txn, const struct pen_index_key *key, int32_t code);
/* It must be there: -PEN_STORE_DAMAGED when not. */
int pen_index_remove(struct pen_txn *txn, const struct pen_index_key *key);
/* 0 too when it is not there. */
int pen_index_remove_any(struct pen_txn *txn, const struct pen_index_key *key);

/* Up to cap batches in a state, or of an owner, with ids above `after`, in order. How many, or a code. */
int pen_index_in_state(struct pen_store *store, uint8_t state, uint64_t after, uint64_t *ret, uint32_t cap);
int pen_index_of_owner(struct pen_store *store, const char *owner, uint64_t after, uint64_t *ret,
		       uint32_t cap);
/* Up to cap batches whose command was not run yet, above `after`. */
int pen_index_hooks(struct pen_store *store, uint64_t after, uint64_t *ret, uint32_t cap);
/* Batches that ended before `before_ms`, oldest first. */
int pen_index_ended_before(struct pen_store *store, uint64_t before_ms, uint64_t *ret, uint32_t cap);

struct pen_index_wait {
	uint64_t due_ms, item;
};
/* Up to cap rows of a batch that wait, due not after until_ms, behind `after` (NULL: all). How many, or a code. */
int pen_index_waits(struct pen_store *store, uint64_t batch, uint64_t until_ms,
		    const struct pen_index_wait *after, struct pen_index_wait *ret, uint32_t cap);

/* When the first row of a batch is due, as the transaction has it; 0: none waits. */
int pen_index_first_due(struct pen_txn *txn, uint64_t batch, uint64_t *ret_ms);

/* Builds the whole index from what it is about; it is empty (store.c: a store of format 1). */
int pen_index_build(struct pen_txn *txn);

#endif
