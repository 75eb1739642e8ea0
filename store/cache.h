/* SPDX-License-Identifier: MIT */
/*
 * cache - results of earlier work, found by what they were made of
 *
 * An entry is what a processor of a certain identity made of a certain content. Its key is the SHA-256 of both, so
 * that nobody can make two contents share a result; it is put in the transaction that commits the item it was made
 * for. The oldest entries go when all together exceed the budget of the one who puts.
 *
 *   Threads    put, look, trim: the transaction's. find, total: any, each in a snapshot of its own.
 *   Limits     PEN_CACHE_ENTRY_MAX bytes an entry. A put removes at most PEN_CACHE_EVICT entries, so that a smaller
 *              budget is reached over many puts, and no transaction grows by it.
 *   Errors     -PEN_NOT_FOUND; -E2BIG for an entry that cannot be kept (nothing is changed); a store's.
 */
#ifndef PEN_STORE_CACHE_H
#define PEN_STORE_CACHE_H

#include "ring/sha256.h"
#include "store/format.h"
#include "store/txn.h"

#define PEN_CACHE_ENTRY_MAX (1u << 20)
#define PEN_CACHE_EVICT 64u
#define PEN_CACHE_COST \
	128u /* bytes that an entry counts for besides its result: head, keys, places in pages */

struct pen_cache_key {
	uint8_t bytes[PEN_SHA256_BYTES];
};

/* identity: whatever decides what becomes of a content (the processor, its version, its configuration). */
struct pen_cache_key pen_cache_key(struct pen_sha256 *hasher, const void *identity, size_t identity_len,
				   const void *content, size_t content_len);

struct pen_cache_entry {
	uint64_t time_ms; /* when it was made */
	uint32_t flags;	  /* the caller's own */
	const void *data;
	size_t len;
};

/* A copy, malloc'ed: the caller frees ret->data. */
int pen_cache_find(struct pen_store *store, const struct pen_cache_key *key, struct pen_cache_entry *ret);
/* The same within a write transaction: ret->data lives until its next write. */
int pen_cache_look(struct pen_txn *txn, const struct pen_cache_key *key, struct pen_cache_entry *ret);
/* Keeps an entry, in place of an earlier one with this key, and lets the oldest go while all exceed budget bytes. */
int pen_cache_put(struct pen_txn *txn, const struct pen_cache_key *key, const struct pen_cache_entry *entry,
		  uint64_t budget);
/* Removes up to max of the oldest entries while all exceed budget bytes. How many, or a code. */
int pen_cache_trim(struct pen_txn *txn, uint64_t budget, uint32_t max);

struct pen_cache_total {
	uint64_t entries, bytes; /* bytes: of results, and PEN_CACHE_COST each */
};
int pen_cache_total(struct pen_store *store, struct pen_cache_total *ret);

/* ---- for the other files of this room: penstock.cache ---- */

#define PEN_CACHE_ROW_TOTAL 0u /* u8 alone */
#define PEN_CACHE_ROW_ENTRY 1u /* u8, u8[32] key */
#define PEN_CACHE_ROW_ORDER 2u /* u8, u64 number */
#define PEN_CACHE_ENTRY_KEY (1 + PEN_SHA256_BYTES)
#define PEN_CACHE_ORDER_KEY 9u

/* 0 or -PEN_STORE_DAMAGED, -PEN_STORE_NEWER. key: of PEN_CACHE_ENTRY_KEY bytes. */
int pen_cache_decode(const void *key, const void *value, size_t len, struct pen_fmt_cache *ret,
		     const void **ret_data);
int pen_cache_decode_total(const void *value, size_t len, struct pen_fmt_cache_total *ret);

#endif
