/* SPDX-License-Identifier: MIT */
/*
 * flag - the rows of feature flags
 *
 * penstock.flags holds one row a flag, and beside it what was changed (change.h), what flags said of batches (pin.h),
 * their ramps (ramp.h), and how many there are. What a flag says is verdict.h's; what this process believes,
 * flagset.h's.
 *
 *   Threads    any; put and del in the transaction's.
 *   Limits     penstock.h's. A flag of two full lists is 5 MiB.
 *   Memory     one malloc'ed block a flag.
 */
#ifndef PEN_STORE_FLAG_H
#define PEN_STORE_FLAG_H

#include "store/format.h"
#include "store/txn.h"

/* A name of a flag: its length, 0 when it is none. Pure. */
size_t pen_flag_name_len(const char *name);
/* Kind of row and name as a key, of at most PEN_FLAG_KEY_BYTES; its length. */
#define PEN_FLAG_KEY_BYTES (PEN_FLAG_NAME_MAX + 10)
size_t pen_flag_key(uint8_t ret[PEN_FLAG_KEY_BYTES], enum pen_flag_row row, const char *name);

/* Lists in order and without repetition, everything within its limits: the caller's business. */
int pen_flag_put(struct pen_txn *txn, const struct pen_flag *flag);
/* -PEN_NOT_FOUND. */
int pen_flag_del(struct pen_txn *txn, const char *name);
/* One block, to be freed. -PEN_NOT_FOUND. (Outside of a write transaction: pen_flag_get, pen_flag_list.) */
int pen_flag_load(struct pen_txn *txn, const char *name, struct pen_flag **ret);

/* How many flags, and the sequence of the newest change; zeros before the first. */
int pen_flag_total_load(struct pen_txn *txn, struct pen_fmt_flag_total *ret);
int pen_flag_total_save(struct pen_txn *txn, struct pen_fmt_flag_total *total);
int pen_flag_total_read(struct pen_store *store, struct pen_fmt_flag_total *ret);

/*
 * Calls visit for every flag in one snapshot, by name; flag NULL: the row is damaged. Stops at what is not 0.
 * *ret_total (may be NULL) is of the same snapshot.
 */
typedef int pen_flag_visit(void *arg, const char *name, const struct pen_flag *flag);
int pen_flag_each(struct pen_store *store, pen_flag_visit *visit, void *arg,
		  struct pen_fmt_flag_total *ret_total);

/* ---- for the other files of this room ---- */

/* Strings behind a struct, each u32 length and bytes. NULL: they do not fit. */
const uint8_t *pen_flag_text(const uint8_t *at, size_t *left, const char **ret, size_t *ret_len);
uint8_t *pen_flag_put_text(uint8_t *at, const void *text, size_t len);
/* For the audit, and after a look. name is the key's, name_len bytes of it. */
int pen_flag_decode(const void *value, size_t len, const void *name, size_t name_len, struct pen_flag **ret);

#endif
