/* SPDX-License-Identifier: MIT */
/*
 * turnstile - what passed, by policy and identity, in a table that all processes of a store share
 *
 * STORE/run/limits, mapped. 64 stripes; an identity lies in one of them with all its policies, so that a decision over
 * several policies is one change under one lock. The lock is a robust mutex: when its holder was killed the next one
 * undoes what was half done (cells.h) and goes on. No decision waits for a transaction, a disk or the store's writer.
 *
 * An identity is known by the XXH3-128 of its text, a policy too; the text is not kept. Two identities whose hashes
 * agree would share one budget, which refuses too much and never too little; with 10^6 identities the odds are
 * below 10^-26, and whoever looked for such a pair could only spend the budget of a name of his own choice.
 *
 * Times are CLOCK_MONOTONIC. The file knows the boot they belong to: after another one it is made anew from the copy
 * that is in an environment of its own (store/memo.h), with times carried over by the wall clock, later rather than
 * earlier. Leases are not copied: their processes are gone.
 *
 *   Threads    any.
 *   Memory     3 MiB of disk to begin with, up to 256 MiB: 2,000,000 identities with up to four hits, fewer with more.
 *              What says nothing any more is removed as others come. A stripe full of what still counts refuses new
 *              identities: -PEN_LIMIT_FULL.
 *   Crashes    a killed process leaves a decision made or not made; a power cut takes at most what came after the last
 *              copy.
 *   Orderings  cells.saved; turnstile.generation.
 */
#ifndef PEN_ENGINE_TURNSTILE_H
#define PEN_ENGINE_TURNSTILE_H

#include "engine/quota.h"
#include "ring/clock.h"
#include "ring/hash.h"

struct pen_store;
struct pen_turnstile;

#define PEN_TURNSTILE_STRIPES 64u
#define PEN_TURNSTILE_ASKS 8u /* policies of one decision */

/* Maps the table, making it from the copy when there is none of this boot. */
int pen_turnstile_open(struct pen_store *store, struct pen_turnstile **ret);
void pen_turnstile_close(struct pen_turnstile *t); /* NULL is allowed */
const struct pen_clock *pen_turnstile_clock(const struct pen_turnstile *t);

/* A number that grows whenever policies change; whoever sees a new one reads them again. */
uint64_t pen_turnstile_generation(const struct pen_turnstile *t);
void pen_turnstile_changed(struct pen_turnstile *t);

struct pen_turnstile_ask {
	struct pen_sum policy; /* of its name */
	struct pen_quota_rule rule;
	uint64_t cost;
	struct pen_quota_verdict verdict; /* of the cost; limit, remaining and reset as they are afterwards */
};

enum pen_turnstile_mode {
	PEN_TURNSTILE_LOOK = 0, /* takes nothing */
	PEN_TURNSTILE_TAKE,	/* takes all, or nothing when one refuses */
	PEN_TURNSTILE_FORCE,	/* takes all, whatever they say */
};

/*
 * Decides. 0; -PEN_LIMIT_REFUSED: at least one verdict is refused; -PEN_LIMIT_FULL. *ret_now: when. `who`: the owner of
 * leases (pen_turnstile_self); may be 0 where there are none.
 */
int pen_turnstile_pass(struct pen_turnstile *t, struct pen_sum identity, struct pen_turnstile_ask *asks,
		       uint32_t count, enum pen_turnstile_mode mode, uint64_t who, uint64_t *ret_now);
/* Gives `cost` of what was taken at at_ns back, of each ask. */
void pen_turnstile_back(struct pen_turnstile *t, struct pen_sum identity,
			const struct pen_turnstile_ask *asks, uint32_t count, uint64_t at_ns, uint64_t who);
/* What was taken at at_ns is counted from now on: cost of each ask. */
void pen_turnstile_restamp(struct pen_turnstile *t, struct pen_sum identity,
			   const struct pen_turnstile_ask *asks, uint32_t count, uint64_t at_ns);
/* This process, as the owner of a lease. */
uint64_t pen_turnstile_self(const struct pen_turnstile *t);

/* Copies what changed since the last copy. 1: somebody else is at it; 0; or a code. */
int pen_turnstile_copy(struct pen_turnstile *t);
/* When the last copy was made, CLOCK_MONOTONIC; 0: never. */
uint64_t pen_turnstile_copied_ns(const struct pen_turnstile *t);

struct pen_turnstile_info {
	uint64_t identities; /* slots: of a policy and an identity each */
	uint64_t bytes;	     /* of memory that is allocated */
	uint64_t repairs;    /* of locks whose holder died */
};
void pen_turnstile_info(struct pen_turnstile *t, struct pen_turnstile_info *ret);
/* NULL, or what is wrong with the table. */
const char *pen_turnstile_check(struct pen_turnstile *t);

#endif
