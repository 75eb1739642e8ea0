/* SPDX-License-Identifier: MIT */
/*
 * quota - how much may pass: the arithmetic of rate limits
 *
 * Pure: time comes in, nothing is waited for, and all that is remembered lies in a slot and its blocks (cells.h).
 *
 *   sliding     exact. Refused iff the cost of hits in (now - W, now] and this one exceed L. A limit up to
 *               PEN_QUOTA_MARKS keeps every hit; above it, hits of the same 999th of the window become one at the later
 *               time, so that an identity has at most PEN_QUOTA_MARKS of them and never more than L passes.
 *   gcra        the generic cell rate algorithm of redis-cell in whole numbers: L a window, burst + 1 at once. The
 *               theoretical arrival time is kept as nanoseconds and a remainder in L-ths of one: nothing is rounded.
 *   fixed       a window begins with the first hit and ends W later. Up to 2 L pass around its end.
 *   concurrent  L at once: leases that end when they are given back, or with their process.
 *
 * Cost 0 takes nothing. A cost above the limit never passes: retry_ns is PEN_QUOTA_NEVER.
 *
 *   Threads    whoever holds the stripe's lock. prune, take, back and force change cells: commit or undo them.
 *   Limits     window 1 ms to 400 days; limit 1 to 10^15; concurrent up to PEN_QUOTA_MARKS.
 */
#ifndef PEN_ENGINE_QUOTA_H
#define PEN_ENGINE_QUOTA_H

#include "engine/cells.h"

#define PEN_QUOTA_MARKS 1000u
#define PEN_QUOTA_NEVER UINT64_MAX
#define PEN_QUOTA_WINDOW_MIN 1000000ull
#define PEN_QUOTA_WINDOW_MAX (400ull * 86400 * 1000000000)
#define PEN_QUOTA_LIMIT_MAX 1000000000000000ull
#define PEN_QUOTA_AGAIN_NS 1000000000ull /* concurrent: nobody knows when one ends */

enum pen_quota_kind {
	PEN_QUOTA_SLIDING = 0,
	PEN_QUOTA_GCRA,
	PEN_QUOTA_FIXED,
	PEN_QUOTA_CONCURRENT,
	PEN_QUOTA_KINDS,
};

struct pen_quota_rule {
	uint64_t window_ns, limit;
	uint64_t burst;	     /* gcra: beyond one */
	uint64_t granule_ns; /* sliding: hits closer than that may be one; 0: never */
	enum pen_quota_kind kind;
};

/* burst UINT64_MAX: limit - 1. False: a number is out of its range. */
bool pen_quota_rule(struct pen_quota_rule *ret, enum pen_quota_kind kind, uint64_t window_ns, uint64_t limit,
		    uint64_t burst);

struct pen_quota_verdict {
	bool refused;
	uint64_t limit;	    /* gcra: burst + 1 */
	uint64_t remaining; /* exact */
	uint64_t reset_ns;  /* until all is back; 0: all is there */
	uint64_t retry_ns;  /* refused: until this cost would pass if nothing else did; NEVER */
};

/* What the slot (PEN_CELL_NONE: nothing was ever taken) says to a cost. After prune. Changes nothing. */
void pen_quota_look(const struct pen_cells *c, uint32_t slot, const struct pen_quota_rule *rule,
		    uint64_t now_ns, uint64_t cost, struct pen_quota_verdict *ret);
/* Drops what has left the window; a slot of another algorithm is emptied. */
void pen_quota_prune(struct pen_cells *c, uint32_t slot, const struct pen_quota_rule *rule, uint64_t now_ns);
/*
 * Takes the cost, whatever look said. `who` is a lease's owner (concurrent). False: no cell is free, and the change is
 * to be undone.
 */
bool pen_quota_take(struct pen_cells *c, uint32_t slot, const struct pen_quota_rule *rule, uint64_t now_ns,
		    uint64_t cost, uint64_t who);
/* Gives back up to `cost` of what was taken at at_ns (concurrent: by `who`). What has left the window stays gone. */
void pen_quota_back(struct pen_cells *c, uint32_t slot, const struct pen_quota_rule *rule, uint64_t at_ns,
		    uint64_t cost, uint64_t who);
/* Drops leases whose owner is dead: how many. */
typedef bool pen_quota_dead_fn(void *arg, uint64_t who);
uint32_t pen_quota_bury(struct pen_cells *c, uint32_t slot, pen_quota_dead_fn *dead, void *arg);

#endif
