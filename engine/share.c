/* SPDX-License-Identifier: MIT */
#include "engine/share.h"

#include "ring/assert.h"
#include "ring/base.h"

/* A unit of cost at weight 1; weights that divide it are exact. */
#define UNIT 1024u

static int64_t rank(const struct pen_share_batch *batch)
{
	int64_t priority = batch->priority;

	if (priority < PEN_SHARE_PRIORITY_MIN)
		priority = PEN_SHARE_PRIORITY_MIN;
	if (priority > PEN_SHARE_PRIORITY_MAX)
		priority = PEN_SHARE_PRIORITY_MAX;
	return (int64_t)pen_min(batch->queued_ms, INT64_MAX / 2) - priority * PEN_SHARE_AGE_MS;
}

/* Does a go before b, of one owner? */
static bool before(const struct pen_share_batch *a, const struct pen_share_batch *b)
{
	int64_t rank_a = rank(a), rank_b = rank(b);

	return rank_a != rank_b ? rank_a < rank_b : a->id < b->id;
}

/* Where an owner would start now. */
static uint64_t start_time(const struct pen_share *share, const struct pen_share_owner *owner)
{
	return pen_max(owner->virtual_time, share->virtual_time);
}

/* STARTS: nothing keeps this batch but the others. */
static enum pen_share_wait kept(const struct pen_share *share, const struct pen_share_owner *owner,
				const struct pen_share_batch *batch, uint64_t now_ms)
{
	if (share->paused)
		return PEN_SHARE_ALL_PAUSED;
	if (owner->paused)
		return PEN_SHARE_OWNER_PAUSED;
	if (batch->paused)
		return PEN_SHARE_PAUSED;
	if (batch->depends)
		return PEN_SHARE_DEPENDENCY;
	if (batch->not_before_ms > now_ms)
		return PEN_SHARE_NOT_BEFORE;
	if (share->cap && share->running >= share->cap)
		return PEN_SHARE_CAP;
	if (owner->cap && owner->running >= owner->cap)
		return PEN_SHARE_OWNER_CAP;
	if (share->store_cap && share->running + share->elsewhere >= share->store_cap)
		return PEN_SHARE_STORE_CAP;
	if (owner->store_cap && owner->running + owner->elsewhere >= owner->store_cap)
		return PEN_SHARE_STORE_OWNER;
	return PEN_SHARE_STARTS;
}

size_t pen_share_pick(const struct pen_share *share, struct pen_share_owner *owners, size_t owner_count,
		      struct pen_share_batch *batches, size_t count, uint64_t now_ms, uint64_t *ret_look_ms)
{
	size_t chosen = PEN_SHARE_NONE;

	*ret_look_ms = PEN_SHARE_NEVER;
	for (size_t i = 0; i < owner_count; i++)
		owners[i].best = PEN_SHARE_NONE;
	for (size_t i = 0; i < count; i++) {
		struct pen_share_batch *batch = &batches[i];
		struct pen_share_owner *owner;

		pen_assert(batch->owner < owner_count);
		owner = &owners[batch->owner];
		batch->ahead = PEN_SHARE_NONE;
		batch->wait = kept(share, owner, batch, now_ms);
		if (batch->wait == PEN_SHARE_NOT_BEFORE)
			*ret_look_ms = pen_min(*ret_look_ms, batch->not_before_ms);
		if (batch->wait == PEN_SHARE_STARTS &&
		    (owner->best == PEN_SHARE_NONE || before(batch, &batches[owner->best])))
			owner->best = i;
	}
	for (size_t i = 0; i < owner_count; i++) {
		uint64_t mine = start_time(share, &owners[i]), least;

		if (owners[i].best == PEN_SHARE_NONE)
			continue;
		least = chosen == PEN_SHARE_NONE ? 0 : start_time(share, &owners[batches[chosen].owner]);
		if (chosen == PEN_SHARE_NONE || mine < least ||
		    (mine == least && before(&batches[owners[i].best], &batches[chosen])))
			chosen = owners[i].best;
	}
	for (size_t i = 0; i < count; i++) {
		struct pen_share_batch *batch = &batches[i];
		size_t best = owners[batch->owner].best;

		if (batch->wait != PEN_SHARE_STARTS || i == chosen)
			continue;
		batch->ahead = i == best ? chosen : best;
		if (i == best)
			batch->wait = PEN_SHARE_FAIR;
		else if (batches[best].priority > batch->priority)
			batch->wait = PEN_SHARE_PRIORITY;
		else
			batch->wait = PEN_SHARE_TURN;
	}
	return chosen;
}

/* ---- charging ------------------------------------------------------------------------------ */

/* What a cost comes to for this owner, rounded up, so that nothing is free. */
static uint64_t share_of(const struct pen_share_owner *owner, uint64_t cost)
{
	uint64_t weight = owner->weight ? pen_min(owner->weight, PEN_SHARE_WEIGHT_MAX) : 1;
	unsigned __int128 sum = ((unsigned __int128)cost * UNIT + weight - 1) / weight;

	return sum < UINT64_MAX ? (uint64_t)sum : UINT64_MAX;
}

void pen_share_charge(struct pen_share_owner *owner, uint64_t cost)
{
	if (__builtin_add_overflow(owner->virtual_time, share_of(owner, cost), &owner->virtual_time))
		owner->virtual_time = UINT64_MAX;
}

void pen_share_start(struct pen_share *share, struct pen_share_owner *owner, uint64_t cost)
{
	owner->virtual_time = start_time(share, owner);
	share->virtual_time = owner->virtual_time;
	pen_share_charge(owner, cost ? cost : 1);
	owner->running++;
	share->running++;
}

void pen_share_end(struct pen_share *share, struct pen_share_owner *owner, uint64_t charged, uint64_t used)
{
	pen_assert(owner->running > 0 && share->running > 0);
	owner->running--;
	share->running--;
	if (used > charged)
		pen_share_charge(owner, used - charged);
	else
		owner->virtual_time -= pen_min(owner->virtual_time, share_of(owner, charged - used));
}

const char *pen_share_wait_text(enum pen_share_wait wait)
{
	static const char *const texts[] = {
		[PEN_SHARE_STARTS] = "nothing: it starts next",
		[PEN_SHARE_ALL_PAUSED] = "everything to be resumed",
		[PEN_SHARE_OWNER_PAUSED] = "its owner's batches to be resumed",
		[PEN_SHARE_PAUSED] = "being resumed",
		[PEN_SHARE_DEPENDENCY] = "a batch it depends on",
		[PEN_SHARE_NOT_BEFORE] = "its time",
		[PEN_SHARE_CAP] = "a running batch to end: as many run as may",
		[PEN_SHARE_OWNER_CAP] = "a running batch of its owner to end: as many run as may",
		[PEN_SHARE_STORE_CAP] =
			"a batch to end that another process runs: as many run in the store as may",
		[PEN_SHARE_STORE_OWNER] =
			"a batch of its owner to end: as many of his run in the store as may",
		[PEN_SHARE_FAIR] = "its owner's turn: another owner had less",
		[PEN_SHARE_PRIORITY] = "a batch of higher priority",
		[PEN_SHARE_TURN] = "a batch that waits longer",
	};

	return (size_t)wait < PEN_COUNT(texts) ? texts[wait] : "an unknown reason";
}
