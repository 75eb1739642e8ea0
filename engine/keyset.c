/* SPDX-License-Identifier: MIT */
/*
 * Open addressing with linear probing, at most 7 of 10 slots in use. A slot is the key's hash with the last 8 bits
 * of `hi` replaced: in use, came twice, and the level at which it was kept (6 bits).
 *
 * No memory for a larger table is no failure: the table stays as large as it is, and the sample begins earlier.
 */
#include "engine/keyset.h"

#include <errno.h>
#include <stdlib.h>

#define SLOTS_FIRST 4096u
#define TAG 0xffull
#define USED 0x80ull
#define TWICE 0x40ull
#define LEVEL 0x3full
#define LEVEL_MAX 55u /* of the 56 bits of hi that are kept */

struct slot {
	uint64_t lo, hi;
};

struct pen_keyset {
	struct slot *slots;
	uint32_t count, max; /* slots */
	uint32_t used;
	uint32_t level;
};

int pen_keyset_open(uint32_t slots_max, struct pen_keyset **ret)
{
	struct pen_keyset *set = calloc(1, sizeof *set);

	if (!set)
		return -ENOMEM;
	set->max = slots_max;
	set->count = slots_max < SLOTS_FIRST ? slots_max : SLOTS_FIRST;
	set->slots = calloc(set->count, sizeof *set->slots);
	if (!set->slots) {
		free(set);
		return -ENOMEM;
	}
	*ret = set;
	return 0;
}

void pen_keyset_close(struct pen_keyset *set)
{
	if (!set)
		return;
	free(set->slots);
	free(set);
}

bool pen_keyset_exact(const struct pen_keyset *set)
{
	return set->level == 0;
}

static bool sampled(uint64_t hi, uint32_t level)
{
	return !level || hi >> (64 - level) == 0;
}

/* The key's slot, or the free one where it would go. */
static struct slot *find(const struct pen_keyset *set, uint64_t lo, uint64_t hi)
{
	uint32_t mask = set->count - 1, i = (uint32_t)lo & mask;

	while (set->slots[i].hi & USED) {
		if (set->slots[i].lo == lo && (set->slots[i].hi & ~TAG) == (hi & ~TAG))
			break;
		i = (i + 1) & mask;
	}
	return &set->slots[i];
}

static bool full(const struct pen_keyset *set)
{
	return set->used >= set->count / 10 * 7 + 7;
}

static bool grow(struct pen_keyset *set)
{
	struct slot *old = set->slots;
	uint32_t n = set->count;

	if (n >= set->max)
		return false;
	set->slots = calloc(2 * (size_t)n, sizeof *set->slots);
	if (!set->slots) {
		set->slots = old;
		set->max = n;
		return false;
	}
	set->count = 2 * n;
	for (uint32_t i = 0; i < n; i++)
		if (old[i].hi & USED)
			*find(set, old[i].lo, old[i].hi) = old[i];
	free(old);
	return true;
}

/* Frees slot i; those behind it that probing led past it move up. */
static void erase(struct pen_keyset *set, uint32_t i)
{
	uint32_t mask = set->count - 1, k = i;

	for (;;) {
		uint32_t home;

		k = (k + 1) & mask;
		if (!(set->slots[k].hi & USED))
			break;
		home = (uint32_t)set->slots[k].lo & mask;
		if (((k - home) & mask) < ((k - i) & mask))
			continue; /* it lies between its home and here: it may stay */
		set->slots[i] = set->slots[k];
		i = k;
	}
	set->slots[i] = (struct slot){ 0 };
	set->used--;
}

/* Drops what the new level does not keep. spare: keys that came twice stay as they are. */
static void thin(struct pen_keyset *set, bool spare)
{
	for (uint32_t i = 0; i < set->count; i++) {
		struct slot *s = &set->slots[i];

		/* What moves up from behind is looked at in its new place. */
		while ((s->hi & USED) && !(spare && s->hi & TWICE) && !sampled(s->hi, set->level))
			erase(set, i);
		if ((s->hi & USED) && !(spare && s->hi & TWICE))
			s->hi = (s->hi & ~LEVEL) | set->level;
	}
}

static void make_room(struct pen_keyset *set)
{
	while (full(set)) {
		if (grow(set))
			continue;
		if (set->level == LEVEL_MAX)
			return; /* cannot be: a sample of one in 2^55 */
		set->level++;
		thin(set, true);
		if (set->used > set->count / 2)
			thin(set, false);
	}
}

enum pen_seen pen_keyset_add(struct pen_keyset *set, struct pen_sum key, uint64_t *ret_weight)
{
	struct slot *s = find(set, key.lo, key.hi);

	if (s->hi & USED) {
		s->hi |= TWICE;
		*ret_weight = 1ull << (s->hi & LEVEL);
		return PEN_SEEN_BEFORE;
	}
	if (!sampled(key.hi, set->level)) {
		*ret_weight = 0;
		return PEN_SEEN_UNKNOWN;
	}
	*s = (struct slot){ .lo = key.lo, .hi = (key.hi & ~TAG) | USED | set->level };
	*ret_weight = 1ull << set->level;
	set->used++;
	make_room(set);
	return PEN_SEEN_NEW;
}
