/* SPDX-License-Identifier: MIT */
/*
 * share - which of the queued batches runs next, and why each of the others waits
 *
 * Three questions, one after the other:
 *
 *   whose    the owner that had the least for its weight (start-time fair queueing). An owner's virtual time
 *            grows by cost / weight with each batch of his that starts. An owner who asks for nothing, or may not
 *            run, saves nothing up: he starts at the share's virtual time, which is that of the last start.
 *            As long as two owners f and m always have a batch that may run, what they got differs by
 *            |got(f)/weight(f) - got(m)/weight(m)| <= largest(f)/weight(f) + largest(m)/weight(m).
 *   which    of his batches the one of lowest rank = queued_ms - priority * PEN_SHARE_AGE_MS: a step of
 *            priority is worth five minutes of waiting. The rank never changes while a batch waits, so only
 *            batches queued less than (highest - lowest priority) * PEN_SHARE_AGE_MS = 90 minutes after it can
 *            ever pass it: none starves. Priority does not reach over to other owners; their weights do.
 *   equal    ranks, then ids, decide: the same queue gives the same answer in whatever order it is given.
 *
 * A batch that is paused, waits for another one or for a time, or whose owner has as many running as he may, here
 * or in the whole store, is not asked for. Batches that run are not in the queue; they count in `running`.
 *
 *   Threads    one; the caller's. No clock is read: now is given.
 *   Memory     the caller's arrays; nothing is allocated. Two passes over the batches, one over the owners.
 *   Limits     virtual time stops at 2^64: at 2^54 of cost for an owner of weight 1.
 */
#ifndef PEN_ENGINE_SHARE_H
#define PEN_ENGINE_SHARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PEN_SHARE_AGE_MS 300000
#define PEN_SHARE_PRIORITY_MIN (-9)
#define PEN_SHARE_PRIORITY_MAX 9 /* what is outside counts as the nearest; higher runs first */
#define PEN_SHARE_WEIGHT_MAX 1000u
#define PEN_SHARE_NONE SIZE_MAX
#define PEN_SHARE_NEVER UINT64_MAX

/* Why a batch waits; the first that applies. */
enum pen_share_wait {
	PEN_SHARE_STARTS = 0,	/* it does not: it is the one */
	PEN_SHARE_ALL_PAUSED,	/* everything is */
	PEN_SHARE_OWNER_PAUSED, /* all of its owner's */
	PEN_SHARE_PAUSED,	/* it alone */
	PEN_SHARE_DEPENDENCY,	/* a batch it depends on has not ended */
	PEN_SHARE_NOT_BEFORE,	/* its time has not come */
	PEN_SHARE_CAP,		/* as many run as may */
	PEN_SHARE_OWNER_CAP,	/* as many of its owner's run as may */
	PEN_SHARE_STORE_CAP,	/* as many run in the whole store as may */
	PEN_SHARE_STORE_OWNER,	/* as many of its owner's run there as may */
	PEN_SHARE_FAIR,		/* another owner had less: `ahead` is his */
	PEN_SHARE_PRIORITY,	/* `ahead`, of the same owner, has a higher priority */
	PEN_SHARE_TURN,		/* `ahead`, of the same owner, waits longer */
};

struct pen_share_owner {
	uint64_t virtual_time;
	uint32_t weight;	       /* 1 .. PEN_SHARE_WEIGHT_MAX; 0: 1 */
	uint32_t running, cap;	       /* cap 0: none */
	uint32_t elsewhere, store_cap; /* what others run besides; cap of both together, 0: none */
	bool paused;
	size_t best; /* pick's own */
};

struct pen_share_batch {
	uint64_t id;
	uint64_t queued_ms, not_before_ms; /* 0: at once */
	uint64_t cost;			   /* an estimate in one unit for all (items, bytes); 0: 1 */
	uint32_t owner;			   /* index */
	int32_t priority;
	bool paused, depends;

	/* The answer. */
	enum pen_share_wait wait;
	size_t ahead; /* FAIR, PRIORITY, TURN: index of the batch that goes first; else PEN_SHARE_NONE */
};

struct pen_share {
	uint64_t virtual_time;
	uint32_t running, cap;	       /* cap 0: none */
	uint32_t elsewhere, store_cap; /* as an owner's */
	bool paused;
};

/*
 * The index of the batch to start, or PEN_SHARE_NONE. Each batch gets its `wait`. *ret_look_ms: when to look again if
 * nothing else happens before, PEN_SHARE_NEVER if time alone changes nothing. Only asks: nothing is charged.
 */
size_t pen_share_pick(const struct pen_share *share, struct pen_share_owner *owners, size_t owner_count,
		      struct pen_share_batch *batches, size_t count, uint64_t now_ms, uint64_t *ret_look_ms);
/* A batch of this owner starts: it counts as running, and he is charged its cost. */
void pen_share_start(struct pen_share *share, struct pen_share_owner *owner, uint64_t cost);
/* More than was estimated, while it runs. */
void pen_share_charge(struct pen_share_owner *owner, uint64_t cost);
/* It ended, or was put back: charged is what start and charge took, used what it came to. */
void pen_share_end(struct pen_share *share, struct pen_share_owner *owner, uint64_t charged, uint64_t used);
/* "waits for ..." what: a phrase for people. Never NULL; static storage. */
const char *pen_share_wait_text(enum pen_share_wait wait);

#endif
