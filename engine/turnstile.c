/* SPDX-License-Identifier: MIT */
#include "engine/turnstile_private.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "include/penstock_error.h"
#include "ring/assert.h"
#include "ring/base.h"
#include "store/store.h"
#include "store/turn.h"

#define TABLE "limits"
#define SWEEP_HEADS 2u	/* at each new slot */
#define SWEEP_SLOTS 16u /* removed in one change: three notes each */

/* ---- the table's parts ----------------------------------------------------------------------- */

struct turnstile_stripe *pen_turnstile_stripe(struct pen_turnstile *t, uint32_t i)
{
	return (struct turnstile_stripe *)(void *)((char *)t->head + 4096 + i * STRIPE_BYTES);
}

/* Before they are written to: a store into a hole on a full disk would be SIGBUS. */
static int grow(void *arg, uint32_t from, uint32_t count)
{
	struct grow *g = arg;
	uint64_t at = g->at + from * sizeof(union pen_cell);

	return -posix_fallocate(g->t->fd, (off_t)at, (off_t)(count * sizeof(union pen_cell)));
}

struct pen_cells pen_turnstile_cells(struct pen_turnstile *t, uint32_t i)
{
	struct turnstile_stripe *s = pen_turnstile_stripe(t, i);

	return (struct pen_cells){
		.words = &s->words,
		.notes = &s->notes,
		.heads = s->heads,
		.cell = (union pen_cell *)(void *)((char *)s + STRIPE_HEAD),
		.max = PEN_CELLS_MAX,
		.grow = grow,
		.arg = &t->grow[i],
	};
}

void pen_turnstile_lock(struct pen_turnstile *t, uint32_t i, struct pen_cells *c)
{
	struct turnstile_stripe *s = pen_turnstile_stripe(t, i);
	int rc = pthread_mutex_lock(&s->lock);

	*c = pen_turnstile_cells(t, i);
	if (!rc)
		return;
	pen_assert(rc == EOWNERDEAD);
	(void)pen_cells_undo(c);
	/* Relaxed: a number for people. */
	atomic_fetch_add_explicit(&t->head->repairs, 1, memory_order_relaxed);
	(void)pthread_mutex_consistent(&s->lock);
}

void pen_turnstile_unlock(struct pen_turnstile *t, uint32_t i)
{
	(void)pthread_mutex_unlock(&pen_turnstile_stripe(t, i)->lock);
}

/* ---- making and opening ---------------------------------------------------------------------- */

static int mutex_make(pthread_mutex_t *m)
{
	pthread_mutexattr_t attr;
	int rc = pthread_mutexattr_init(&attr);

	if (!rc)
		rc = pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	if (!rc)
		rc = pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	if (!rc)
		rc = pthread_mutex_init(m, &attr);
	(void)pthread_mutexattr_destroy(&attr);
	return -rc;
}

static void boot_id(char ret[40])
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	memset(ret, 0, 40);
	/* Unknown everywhere is the same everywhere: the file then lives as long as it is there. */
	if (fd >= 0 && read(fd, ret, 36) < 0)
		ret[0] = 0;
	if (fd >= 0)
		(void)close(fd);
}

/* Every stripe's head has memory from the start; cells get it as they are taken. */
static int layout(struct pen_turnstile *t)
{
	int rc = 0;

	for (uint32_t i = 0; i < PEN_TURNSTILE_STRIPES && !rc; i++) {
		rc = -posix_fallocate(t->fd, (off_t)(4096 + i * STRIPE_BYTES), (off_t)STRIPE_HEAD);
		if (!rc) {
			struct turnstile_stripe *s = pen_turnstile_stripe(t, i);

			s->words.used = 1; /* cell 0 stands for none */
			rc = mutex_make(&s->lock);
		}
	}
	return rc;
}

static int map(struct pen_turnstile *t)
{
	t->head = mmap(NULL, TABLE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, t->fd, 0);
	if (t->head == MAP_FAILED) {
		t->head = NULL;
		return -ENOMEM; /* address space: nothing else can be wrong with such a map */
	}
	return 0;
}

static void unmap(struct pen_turnstile *t)
{
	if (t->head)
		(void)munmap(t->head, TABLE_BYTES);
	if (t->fd >= 0)
		(void)close(t->fd);
	t->head = NULL;
	t->fd = -1;
}

/* Whole before it has its name, so that nobody maps half of one. The caller holds the lock of creation. */
static int make(struct pen_turnstile *t, int run_fd)
{
	int rc;

	(void)unlinkat(run_fd, TABLE ".new", 0); /* of one that was killed here */
	t->fd = openat(run_fd, TABLE ".new", O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (t->fd < 0)
		return errno == EROFS || errno == EACCES ? -PEN_STORE_READONLY : -errno;
	rc = ftruncate(t->fd, (off_t)TABLE_BYTES) ? -errno : -posix_fallocate(t->fd, 0, 4096);
	if (!rc)
		rc = map(t);
	if (!rc) {
		t->head->magic = PEN_TURNSTILE_MAGIC;
		t->head->version = PEN_TURNSTILE_VERSION;
		boot_id(t->head->boot);
		rc = mutex_make(&t->head->copier);
	}
	if (!rc)
		rc = layout(t);
	if (!rc)
		rc = pen_turnstile_restore(t);
	if (!rc && renameat(run_fd, TABLE ".new", run_fd, TABLE))
		rc = -errno;
	if (rc) {
		unmap(t);
		(void)unlinkat(run_fd, TABLE ".new", 0);
	}
	return rc;
}

/* 0, -ENOENT: there is none of this boot; or a code. */
static int find(struct pen_turnstile *t, int run_fd)
{
	char boot[40];
	struct stat st;
	int rc;

	t->fd = openat(run_fd, TABLE, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (t->fd < 0)
		return errno == EROFS || errno == EACCES ? -PEN_STORE_READONLY : -errno;
	if (fstat(t->fd, &st) || !S_ISREG(st.st_mode) || st.st_size != (off_t)TABLE_BYTES) {
		unmap(t);
		return -ENOENT;
	}
	rc = map(t);
	boot_id(boot);
	if (!rc && (t->head->magic != PEN_TURNSTILE_MAGIC || t->head->version != PEN_TURNSTILE_VERSION ||
		    memcmp(t->head->boot, boot, sizeof boot) != 0))
		rc = -ENOENT;
	if (rc)
		unmap(t);
	return rc;
}

static int find_or_make(struct pen_turnstile *t, int run_fd)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int rc = find(t, run_fd), fd;

	if (rc != -ENOENT)
		return rc;
	fd = openat(run_fd, TABLE ".lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return errno == EROFS || errno == EACCES ? -PEN_STORE_READONLY : -errno;
	while ((rc = fcntl(fd, F_OFD_SETLKW, &lock)) && errno == EINTR)
		;
	rc = rc ? -errno : find(t, run_fd);
	if (rc == -ENOENT)
		rc = make(t, run_fd);
	(void)close(fd);
	return rc;
}

/* Start time and pid: a pid that is used again is another owner. */
static uint64_t self_of(pid_t pid, bool *ret_dead)
{
	return (pen_turn_started(pid, ret_dead) & UINT32_MAX) << 32 | (uint32_t)pid;
}

int pen_turnstile_open(struct pen_store *store, struct pen_turnstile **ret)
{
	struct pen_turnstile *t = calloc(1, sizeof *t);
	bool dead = false;
	int rc;

	if (!t)
		return -PEN_MEMORY;
	t->store = store;
	t->clock = pen_store_clock(store);
	t->fd = -1;
	t->self = self_of(getpid(), &dead);
	for (uint32_t i = 0; i < PEN_TURNSTILE_STRIPES; i++)
		t->grow[i] = (struct grow){ t, 4096 + i * STRIPE_BYTES + STRIPE_HEAD };
	rc = pen_store_run_fd(store) < 0 ? -PEN_STORE_READONLY : find_or_make(t, pen_store_run_fd(store));
	if (rc) {
		free(t);
		return rc;
	}
	*ret = t;
	return 0;
}

void pen_turnstile_close(struct pen_turnstile *t)
{
	if (!t)
		return;
	unmap(t);
	free(t);
}

const struct pen_clock *pen_turnstile_clock(const struct pen_turnstile *t)
{
	return t->clock;
}

uint64_t pen_turnstile_self(const struct pen_turnstile *t)
{
	return t->self;
}

uint64_t pen_turnstile_generation(const struct pen_turnstile *t)
{
	/* PAIR(turnstile.generation): whoever sees a new number finds the rows behind it. */
	return atomic_load_explicit(&t->head->generation, memory_order_acquire);
}

void pen_turnstile_changed(struct pen_turnstile *t)
{
	/* PAIR(turnstile.generation): after the transaction has committed. */
	(void)atomic_fetch_add_explicit(&t->head->generation, 1, memory_order_release);
}

/* ---- what has expired ------------------------------------------------------------------------ */

static void mark_dirty(struct turnstile_stripe *s, uint64_t key_lo)
{
	uint32_t head = pen_cells_head_of(key_lo);

	s->dirty[head / 64] |= 1ull << head % 64;
	s->changed = 1;
}

static bool lease_dead(void *arg, uint64_t who)
{
	pid_t pid = (pid_t)(who & UINT32_MAX);
	bool dead = false;
	uint64_t started;

	(void)arg;
	if (kill(pid, 0) && errno == ESRCH)
		return true;
	started = pen_turn_started(pid, &dead) & UINT32_MAX;
	/* A start time that nobody could read proves nothing. */
	return dead || (started && who >> 32 && started != who >> 32);
}

uint32_t pen_turnstile_sweep(struct pen_turnstile *t, uint32_t i, struct pen_cells *c, uint32_t heads,
			     uint64_t now_ns)
{
	struct turnstile_stripe *s = pen_turnstile_stripe(t, i);
	uint32_t removed = 0, in_change = 0;

	while (heads--) {
		uint32_t head = s->sweep++ % PEN_CELLS_HEADS, at = s->heads[head], next;

		for (; at; at = next) {
			next = c->cell[at].slot.chain;
			if (c->cell[at].slot.expire_ns > now_ns)
				continue;
			mark_dirty(s, c->cell[at].slot.key_lo);
			pen_cells_remove(c, at);
			removed++;
			if (++in_change == SWEEP_SLOTS) {
				pen_cells_commit(c);
				in_change = 0;
			}
		}
	}
	if (in_change)
		pen_cells_commit(c);
	return removed;
}

/* ---- deciding -------------------------------------------------------------------------------- */

static struct pen_sum slot_key(struct pen_sum identity, struct pen_sum policy)
{
	struct pen_sum both[2] = { identity, policy };

	return pen_hash128(both, sizeof both);
}

static uint32_t stripe_of(struct pen_sum identity)
{
	return (uint32_t)identity.lo % PEN_TURNSTILE_STRIPES;
}

static uint64_t decide_at(struct pen_turnstile *t, struct turnstile_stripe *s)
{
	uint64_t now = pen_turnstile_now(t);

	return s->now_ns = pen_max(now, s->now_ns);
}

/* All of it is one change: false when no cell is free, and then nothing was done. */
static bool try_take(struct pen_turnstile *t, uint32_t stripe, struct pen_cells *c,
		     const struct pen_turnstile_ask *asks, const struct pen_sum *keys, uint32_t *slots,
		     uint32_t count, uint64_t who, uint64_t now_ns)
{
	struct turnstile_stripe *s = pen_turnstile_stripe(t, stripe);
	uint32_t before = c->words->slots;
	bool done = true;

	for (uint32_t i = 0; i < count && done; i++) {
		if (!asks[i].cost)
			continue;
		if (!slots[i]) /* also when an ask before it is of the same policy */
			slots[i] = pen_cells_find(c, keys[i].lo, keys[i].hi);
		if (!slots[i])
			slots[i] = pen_cells_enter(c, keys[i].lo, keys[i].hi);
		done = slots[i] && pen_quota_take(c, slots[i], &asks[i].rule, now_ns, asks[i].cost, who);
		mark_dirty(s, keys[i].lo);
	}
	if (!done) {
		(void)pen_cells_undo(c);
		return false;
	}
	pen_cells_commit(c);
	/* What is swept is as much as comes in, so that the table follows what lives. */
	if (c->words->slots > before)
		(void)pen_turnstile_sweep(t, stripe, c, SWEEP_HEADS * (c->words->slots - before), now_ns);
	return true;
}

static bool take_all(struct pen_turnstile *t, uint32_t stripe, struct pen_cells *c,
		     const struct pen_turnstile_ask *asks, const struct pen_sum *keys, uint32_t *slots,
		     uint32_t count, uint64_t who, uint64_t now_ns)
{
	if (try_take(t, stripe, c, asks, keys, slots, count, who, now_ns))
		return true;
	if (!pen_turnstile_sweep(t, stripe, c, PEN_CELLS_HEADS, now_ns))
		return false;
	for (uint32_t i = 0; i < count; i++)
		slots[i] = pen_cells_find(c, keys[i].lo, keys[i].hi);
	return try_take(t, stripe, c, asks, keys, slots, count, who, now_ns);
}

/* Looks at every ask: true when none refuses. */
static bool look_all(struct pen_cells *c, struct pen_turnstile_ask *asks, const struct pen_sum *keys,
		     uint32_t *slots, uint32_t count, uint64_t now_ns)
{
	bool pass = true;

	for (uint32_t i = 0; i < count; i++) {
		struct pen_turnstile_ask *ask = &asks[i];

		slots[i] = pen_cells_find(c, keys[i].lo, keys[i].hi);
		if (slots[i]) {
			pen_quota_prune(c, slots[i], &ask->rule, now_ns);
			pen_cells_commit(c);
		}
		pen_quota_look(c, slots[i], &ask->rule, now_ns, ask->cost, &ask->verdict);
		/* Dead owners are looked for where it matters. */
		if (ask->verdict.refused && slots[i] && pen_quota_bury(c, slots[i], lease_dead, NULL))
			pen_quota_look(c, slots[i], &ask->rule, now_ns, ask->cost, &ask->verdict);
		pass &= !ask->verdict.refused;
	}
	return pass;
}

int pen_turnstile_pass(struct pen_turnstile *t, struct pen_sum identity, struct pen_turnstile_ask *asks,
		       uint32_t count, enum pen_turnstile_mode mode, uint64_t who, uint64_t *ret_now)
{
	uint32_t stripe = stripe_of(identity), slots[PEN_TURNSTILE_ASKS];
	struct pen_sum keys[PEN_TURNSTILE_ASKS];
	struct pen_quota_verdict after;
	struct pen_cells c;
	bool pass, room = true;
	uint64_t now;

	pen_assert(count && count <= PEN_TURNSTILE_ASKS);
	for (uint32_t i = 0; i < count; i++)
		keys[i] = slot_key(identity, asks[i].policy);
	pen_turnstile_lock(t, stripe, &c);
	now = decide_at(t, pen_turnstile_stripe(t, stripe));
	pass = look_all(&c, asks, keys, slots, count, now);
	if (mode == PEN_TURNSTILE_FORCE || (mode == PEN_TURNSTILE_TAKE && pass)) {
		room = take_all(t, stripe, &c, asks, keys, slots, count, who, now);
		for (uint32_t i = 0; i < count && room; i++) {
			pen_quota_look(&c, slots[i], &asks[i].rule, now, 0, &after);
			asks[i].verdict.remaining = after.remaining;
			asks[i].verdict.reset_ns = after.reset_ns;
		}
	}
	pen_turnstile_unlock(t, stripe);
	if (ret_now)
		*ret_now = now;
	if (!room)
		return -PEN_LIMIT_FULL;
	return pass || mode == PEN_TURNSTILE_FORCE ? 0 : -PEN_LIMIT_REFUSED;
}

void pen_turnstile_back(struct pen_turnstile *t, struct pen_sum identity,
			const struct pen_turnstile_ask *asks, uint32_t count, uint64_t at_ns, uint64_t who)
{
	uint32_t stripe = stripe_of(identity);
	struct pen_cells c;

	pen_turnstile_lock(t, stripe, &c);
	for (uint32_t i = 0; i < count; i++) {
		struct pen_sum key = slot_key(identity, asks[i].policy);
		uint32_t slot = pen_cells_find(&c, key.lo, key.hi);

		if (!slot)
			continue;
		pen_quota_back(&c, slot, &asks[i].rule, at_ns, asks[i].cost, who);
		mark_dirty(pen_turnstile_stripe(t, stripe), key.lo);
	}
	pen_cells_commit(&c);
	pen_turnstile_unlock(t, stripe);
}

void pen_turnstile_restamp(struct pen_turnstile *t, struct pen_sum identity,
			   const struct pen_turnstile_ask *asks, uint32_t count, uint64_t at_ns)
{
	uint32_t stripe = stripe_of(identity), slots[PEN_TURNSTILE_ASKS];
	struct pen_sum keys[PEN_TURNSTILE_ASKS];
	struct pen_cells c;
	uint64_t now;

	pen_assert(count && count <= PEN_TURNSTILE_ASKS);
	pen_turnstile_lock(t, stripe, &c);
	now = decide_at(t, pen_turnstile_stripe(t, stripe));
	for (uint32_t i = 0; i < count; i++) {
		keys[i] = slot_key(identity, asks[i].policy);
		slots[i] = pen_cells_find(&c, keys[i].lo, keys[i].hi);
		if (!slots[i])
			continue;
		pen_quota_prune(&c, slots[i], &asks[i].rule, now);
		pen_cells_commit(&c);
		/* Without room for the new time the old one stays. */
		pen_quota_back(&c, slots[i], &asks[i].rule, at_ns, asks[i].cost, 0);
	}
	(void)take_all(t, stripe, &c, asks, keys, slots, count, 0, now);
	pen_turnstile_unlock(t, stripe);
}

/* ---- asking about it ------------------------------------------------------------------------- */

uint64_t pen_turnstile_copied_ns(const struct pen_turnstile *t)
{
	return atomic_load_explicit(&t->head->copied_ns, memory_order_relaxed);
}

void pen_turnstile_info(struct pen_turnstile *t, struct pen_turnstile_info *ret)
{
	*ret = (struct pen_turnstile_info){ .bytes = 4096 };
	for (uint32_t i = 0; i < PEN_TURNSTILE_STRIPES; i++) {
		struct pen_cells c;

		pen_turnstile_lock(t, i, &c);
		ret->identities += c.words->slots;
		ret->bytes += STRIPE_HEAD + c.words->allocated * sizeof(union pen_cell);
		pen_turnstile_unlock(t, i);
	}
	ret->repairs = atomic_load_explicit(&t->head->repairs, memory_order_relaxed);
}

const char *pen_turnstile_check(struct pen_turnstile *t)
{
	const char *bad = NULL;

	for (uint32_t i = 0; i < PEN_TURNSTILE_STRIPES && !bad; i++) {
		struct pen_cells c;

		pen_turnstile_lock(t, i, &c);
		bad = pen_cells_check(&c);
		pen_turnstile_unlock(t, i);
	}
	return bad;
}
