/* SPDX-License-Identifier: MIT */
/*
 * gate - which feature flags let a batch be made, run and be cancelled
 *
 * A batch is gated by BATCH_OPERATIONS_V1, as user:OWNER, once a flag of that name is in the store, and by the
 * flags that its request names (there a flag that is missing is off: who names a gate wants one).
 *
 *	made        every flag must be on; what they said is pinned to the batch (store/pin.h)
 *	runs        a flag that was pinned holds it when it is disabled, or when its blacklist has the owner. The
 *	            draw of a rollout was made when the batch was: raising or lowering it stops nobody. A flag that
 *	            came after the batch is asked in full.
 *	cancelled   as for running; an operator may (pen_batch_wish)
 *
 * A runner asks at every group and at least every quarter of a second; a queued batch is not taken. What is held spends
 * no tries, and goes on by itself.
 *
 *   Threads    any.
 */
#ifndef PEN_ENGINE_GATE_H
#define PEN_ENGINE_GATE_H

#include "include/penstock.h"
#include "store/txn.h"

#define PEN_GATE_TEXT (256u * (PEN_FLAG_GATES_MAX + 2)) /* of pen_gate_say */

struct pen_gates {
	struct pen_flag_pin pins[PEN_FLAG_GATES_MAX];
	uint32_t count;
};

/* Names of flags for a request: 0, or -PEN_USAGE. Pure. */
int pen_gate_check(const char *const *flags, size_t count, struct pen_failure *why);
/*
 * Asks the flags that are not among gates yet and enters them. 0, or -PEN_FLAG_REFUSED and in *ret (may be NULL) the
 * one that says no.
 */
int pen_gate_make(struct pen_store *store, const char *owner, const char *const *flags, size_t count,
		  struct pen_gates *gates, struct pen_flag_pin *ret, struct pen_failure *why);
/* For a new batch, in its transaction: what flags say here is what they say, no change comes between. It is pinned. */
int pen_gate_create(struct pen_txn *txn, uint64_t batch, const char *owner, const char *const *flags,
		    size_t count, struct pen_gates *ret, struct pen_failure *why);
/* Which flags a batch was made under and which one holds it, in sentences, a line each. True: one does. */
bool pen_gate_say(struct pen_store *store, uint64_t batch, char *ret, size_t cap);
/* Does a flag hold a batch that was made with these? *ret (may be NULL) is the one, as it says now. */
bool pen_gate_holds(struct pen_store *store, const char *owner, const struct pen_gates *gates,
		    struct pen_flag_pin *ret);
/* The same of a batch that is not over, by its row. */
bool pen_gate_held(struct pen_store *store, uint64_t batch, const char *owner, struct pen_flag_pin *ret);
/* In a transaction that takes up a batch that is there: 0 and its gates, or -PEN_FLAG_REFUSED. */
int pen_gate_pass(struct pen_txn *txn, uint64_t batch, const char *owner, const char *const *flags,
		  size_t count, struct pen_gates *ret, struct pen_failure *why);

#endif
