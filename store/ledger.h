/* SPDX-License-Identifier: MIT */
/*
 * ledger - batches: what was asked, how far it got
 *
 * A batch is two values: its facts, written once, and its state, rewritten by every group in the same
 * transaction as the group's records. An index finds the newest batch of an identity.
 *
 * Ids are time-ordered: 42 bits of milliseconds since 2020, then 22 random bits; never 0.
 */
#ifndef PEN_STORE_LEDGER_H
#define PEN_STORE_LEDGER_H

#include "store/format.h"
#include "store/txn.h"

/* A batch's facts in memory. Strings are NUL-terminated; lists are joined by NUL bytes and have a length. */
struct pen_facts {
	struct pen_fmt_batch fixed; /* head is ignored */
	const char *dataset, *key, *owner, *correlation_id, *idempotency_key;
	const char *sources, *labels;
	size_t sources_len, labels_len;
};

/* A batch's state in memory. */
struct pen_standing {
	struct pen_fmt_state fixed;	   /* head and path_len are ignored */
	char path[PEN_PATH_BYTES_MAX + 1]; /* NUL-terminated */
};

uint64_t pen_ledger_new_id(struct pen_txn *txn);
/* Writes facts and state, and points the identity (unless zero) at this batch. */
int pen_ledger_create(struct pen_txn *txn, const struct pen_facts *facts,
		      const struct pen_standing *standing);
int pen_ledger_save(struct pen_txn *txn, const struct pen_standing *standing);
/* Replaces both values of a batch: it starts, long after it was entered. Its owner and identity stay. */
int pen_ledger_restate(struct pen_txn *txn, const struct pen_facts *facts,
		       const struct pen_standing *standing);
/* The newest batch of the identity; -PEN_NOT_FOUND. */
int pen_ledger_find(struct pen_txn *txn, const uint8_t identity[16], uint64_t *ret_id);
/* Both parts of a batch. *ret_facts is one malloc'ed block, the caller frees it. Either ret may be NULL. */
int pen_ledger_load(struct pen_txn *txn, uint64_t id, struct pen_facts **ret_facts, struct pen_standing *ret);
/* Both outside a write transaction, from a snapshot. */
int pen_ledger_look(struct pen_store *store, const uint8_t identity[16], uint64_t *ret_id);
int pen_ledger_read(struct pen_store *store, uint64_t id, struct pen_facts **ret_facts,
		    struct pen_standing *ret);

/* ---- for the other files of this room ---- */

/* Ends an unfinished batch that no process runs, in this transaction, by this code (batch.c). */
int pen_ledger_cancel(struct pen_txn *txn, uint64_t id, int code, struct pen_failure *why);
/* The highest id in use, 0 without any. */
uint64_t pen_ledger_newest_id(struct pen_txn *txn);
/* Enters a batch that is not in the index yet. */
int pen_ledger_index(struct pen_txn *txn, const char *owner, const struct pen_standing *standing);

/* Completed, failed and cancelled batches never run again. */
static inline bool pen_ledger_over(unsigned state)
{
	return state == PEN_COMPLETED || state == PEN_FAILED || state == PEN_CANCELLED;
}

/* A dataset lets another batch append by @seq once the one that did has ended (batch.c). */
int pen_ledger_release_feeder(struct pen_txn *txn, const struct pen_facts *facts, struct pen_failure *why);
/* The two values as they lie in the store; a length that does not fit its bytes is -PEN_STORE_DAMAGED. */
int pen_ledger_decode_facts(const void *value, size_t len, uint64_t id, struct pen_facts **ret);
int pen_ledger_decode_standing(const void *value, size_t len, uint64_t id, struct pen_standing *ret);
/* The number of strings in a list joined by NUL bytes, and the i-th of them (NULL past the end). */
size_t pen_ledger_list_count(const char *list, size_t len);
const char *pen_ledger_list_at(const char *list, size_t len, size_t i);

#endif
