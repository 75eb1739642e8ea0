/* SPDX-License-Identifier: MIT */
#include "store/flagset.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "ring/base.h"
#include "store/flag.h"
#include "store/store_private.h"
#include "store/turn.h"
#include "store/verdict.h"

struct entry {
	uint64_t hash;
	uint8_t len; /* 0: free */
	bool broken; /* its row is damaged */
	char name[PEN_FLAG_NAME_MAX + 1];
	struct pen_rules *rules;
};

struct table {
	uint32_t mask, count;
	struct entry *entries;
	uint64_t change; /* the newest one in it */
};

struct pen_flagset {
	pthread_rwlock_t lock;	/* the table */
	pthread_mutex_t making; /* one new table at a time */
	struct table *table;	/* NULL: none was ever read */
	/* Looked at without a lock, written by the thread that makes a table: each is a hint by itself. */
	_Atomic uint32_t told;	   /* the shared word when the table was made */
	_Atomic uint64_t check_ns; /* when the store itself is to be asked again */
	_Atomic bool ready;	   /* there is a table */
};

/* ---- a table --------------------------------------------------------------------------------- */

static void free_table(struct table *t)
{
	for (uint32_t i = 0; t && t->entries && i <= t->mask; i++)
		free(t->entries[i].rules);
	if (t)
		free(t->entries);
	free(t);
}

static struct entry *slot_of(const struct table *t, const char *name, size_t len, uint64_t hash)
{
	for (uint64_t i = hash;; i++) {
		struct entry *e = &t->entries[i & t->mask];

		if (!e->len || (e->hash == hash && e->len == len && memcmp(e->name, name, len) == 0))
			return e;
	}
}

static int grow(struct table *t)
{
	struct table bigger = { .mask = t->mask * 2 + 1 };

	bigger.entries = calloc((size_t)bigger.mask + 1, sizeof(*bigger.entries));
	if (!bigger.entries)
		return -PEN_MEMORY;
	for (uint32_t i = 0; i <= t->mask; i++)
		if (t->entries[i].len)
			*slot_of(&bigger, t->entries[i].name, t->entries[i].len, t->entries[i].hash) =
				t->entries[i];
	free(t->entries);
	t->entries = bigger.entries;
	t->mask = bigger.mask;
	return 0;
}

static int add(void *arg, const char *name, const struct pen_flag *flag)
{
	struct table *t = arg;
	size_t len = strlen(name);
	uint64_t hash = pen_hash64(name, len);
	struct entry *e;
	int rc = 2 * (t->count + 1) > t->mask ? grow(t) : 0;

	if (rc)
		return rc;
	e = slot_of(t, name, len, hash);
	e->hash = hash;
	e->len = (uint8_t)len;
	e->broken = !flag;
	memcpy(e->name, name, len + 1);
	t->count++;
	return flag ? pen_rules_make(flag, &e->rules) : 0;
}

static int make_table(struct pen_store *store, struct table **ret)
{
	struct table *t = calloc(1, sizeof(*t));
	struct pen_fmt_flag_total total;
	int rc = -PEN_MEMORY;

	if (t) {
		t->mask = 15;
		t->entries = calloc((size_t)t->mask + 1, sizeof(*t->entries));
	}
	if (t && t->entries)
		rc = pen_flag_each(store, add, t, &total);
	if (rc) {
		free_table(t);
		return rc;
	}
	t->change = total.last_change;
	*ret = t;
	return 0;
}

/* ---- keeping up ------------------------------------------------------------------------------ */

static uint64_t coarse_ns(void)
{
	struct timespec t;

	/* A few ms are nothing here, and the exact clock would cost as much as the answer. */
	(void)clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return (uint64_t)t.tv_sec * PEN_NS_PER_S + (uint64_t)t.tv_nsec;
}

static int take_table(struct pen_store *store, bool wanted)
{
	struct pen_flagset *set = store->flags;
	/* Before the look: a change behind it is told again. */
	uint32_t told = pen_turn_flags(store);
	struct pen_fmt_flag_total total = { .flags = 0 };
	struct table *fresh = NULL, *old = set->table; /* written under `making` alone */
	int rc = 0;

	if (old && !wanted)
		rc = pen_flag_total_read(store, &total);
	if (!rc && (!old || wanted || total.last_change != old->change))
		rc = make_table(store, &fresh);
	atomic_store_explicit(&set->check_ns, coarse_ns() + PEN_FLAGSET_CHECK_NS, memory_order_relaxed);
	if (!rc)
		atomic_store_explicit(&set->told, told, memory_order_relaxed);
	if (fresh) {
		pthread_rwlock_wrlock(&set->lock);
		set->table = fresh;
		pthread_rwlock_unlock(&set->lock);
		atomic_store_explicit(&set->ready, true, memory_order_relaxed); /* the lock orders the rest */
		free_table(old);
	}
	return rc;
}

/* Somebody else may be at it: then what is known now will do, if anything is. */
static void keep_up(struct pen_store *store)
{
	struct pen_flagset *set = store->flags;

	if (pen_turn_flags(store) == atomic_load_explicit(&set->told, memory_order_relaxed) &&
	    coarse_ns() < atomic_load_explicit(&set->check_ns, memory_order_relaxed))
		return;
	if (!atomic_load_explicit(&set->ready, memory_order_relaxed))
		pthread_mutex_lock(&set->making);
	else if (pthread_mutex_trylock(&set->making))
		return;
	(void)take_table(store, false);
	pthread_mutex_unlock(&set->making);
}

int pen_flagset_sync(struct pen_store *store)
{
	int rc;

	pthread_mutex_lock(&store->flags->making);
	rc = take_table(store, false);
	pthread_mutex_unlock(&store->flags->making);
	return rc;
}

uint64_t pen_flagset_seen(struct pen_store *store)
{
	struct pen_flagset *set = store->flags;
	uint64_t change;

	keep_up(store);
	pthread_rwlock_rdlock(&set->lock);
	change = set->table ? set->table->change : 0;
	pthread_rwlock_unlock(&set->lock);
	return change;
}

int pen_flagset_open(struct pen_flagset **ret)
{
	struct pen_flagset *set = calloc(1, sizeof(*set));

	if (!set)
		return -PEN_MEMORY;
	(void)pthread_rwlock_init(&set->lock, NULL); /* these fail for attributes alone */
	(void)pthread_mutex_init(&set->making, NULL);
	*ret = set;
	return 0;
}

void pen_flagset_close(struct pen_flagset *set)
{
	if (!set)
		return;
	free_table(set->table);
	(void)pthread_rwlock_destroy(&set->lock);
	(void)pthread_mutex_destroy(&set->making);
	free(set);
}

void pen_flag_eval(struct pen_store *store, const char *name, const char *key, bool fallback,
		   struct pen_flag_verdict *ret)
{
	struct pen_flagset *set = store->flags;
	size_t len = strnlen(name, PEN_FLAG_NAME_MAX + 1);
	const struct entry *e;

	keep_up(store);
	pthread_rwlock_rdlock(&set->lock);
	if (!set->table) {
		pen_verdict_error(ret, fallback, PEN_FLAG_GENERAL);
	} else if (!len || len > PEN_FLAG_NAME_MAX) {
		pen_rules_judge(NULL, key, fallback, ret);
	} else {
		e = slot_of(set->table, name, len, pen_hash64(name, len));
		if (e->len && e->broken)
			pen_verdict_error(ret, fallback, PEN_FLAG_PARSE_ERROR);
		else
			pen_rules_judge(e->len ? e->rules : NULL, key, fallback, ret);
	}
	pthread_rwlock_unlock(&set->lock);
}
