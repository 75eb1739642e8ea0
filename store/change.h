/* SPDX-License-Identifier: MIT */
/*
 * change - the history of flags: who changed what, when, why
 *
 * One row a change, under the flag's name, so that the newest of a flag is found at once. Written in the transaction
 * that changes the flag; it outlives the flag.
 *
 *   Limits     the newest PEN_CHANGES_MAX of a flag, and of those as many as retention keeps of events by age. Of
 *              lists it says how many, and up to PEN_CHANGE_NAMES that came or went.
 */
#ifndef PEN_STORE_CHANGE_H
#define PEN_STORE_CHANGE_H

#include "store/flag.h"

#define PEN_CHANGES_MAX 1000u
#define PEN_CHANGE_NAMES 100u

/*
 * Adds one, and drops what is too much of that flag. before or after may be NULL (it was made, removed); action, by and
 * reason as given, both cut at PEN_FLAG_TEXT_MAX bytes. Counts it in the total, whose flags the caller has set right.
 */
int pen_change_add(struct pen_txn *txn, enum pen_flag_action action, const struct pen_flag *before,
		   const struct pen_flag *after, const char *by, const char *reason);
/* Does after differ in anything that history tells? 0 and *ret, or -PEN_MEMORY. */
int pen_change_any(const struct pen_flag *before, const struct pen_flag *after, bool *ret);
/* Removes changes from before that time, at most `most` of them; how many, or a code. */
int pen_change_expire(struct pen_txn *txn, uint64_t before_ms, uint32_t most);

/* For the audit. */
int pen_change_decode(const void *value, size_t len, const char *name, uint64_t seq,
		      struct pen_flag_change **ret);

#endif
