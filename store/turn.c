/* SPDX-License-Identifier: MIT */
/*
 * turn - see turn.h
 *
 * The page holds two tables of 64 owners. An owner is one word: start time (32 bits of ticks since boot),
 * level + 1 (8 bits, 0 for waiters) and pid (24 bits; Linux pids end at 2^22). It is claimed and struck off
 * by compare-and-swap, so a crash at any point leaves a word that names a dead process and nothing that has
 * to be counted back. A waiter's bit in `mask` says that its slot counts; a bit is set after the slot was
 * claimed and cleared before it is given back.
 *
 * In different pid namespaces a live waiter may look dead. It is then struck off and waits without being seen:
 * fairness is lost, nothing else.
 */
#include "store/turn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "ring/assert.h"
#include "ring/base.h"
#include "store/store_private.h"

#define TURN_BYTES 4096u
#define TURN_MAGIC 0x6e727574u /* "turn" */
#define TURN_VERSION 1u
#define TURN_SLOTS 64u
#define TURN_NONE UINT32_MAX
#define TURN_SLICE_NS (20 * PEN_NS_PER_MS) /* a dead waiter is looked for this often */

struct turn_page {
	uint32_t magic, version; /* constant after creation */
	/* Slots whose owner waits. Written by waiters, and by whoever strikes a dead one off. */
	_Alignas(64) _Atomic uint64_t mask;
	/* Futex. Written by those who were served or struck off. */
	_Alignas(64) _Atomic uint32_t served;
	_Alignas(64) _Atomic uint64_t waiter[TURN_SLOTS]; /* owner words; written as described above */
	_Atomic uint32_t turns[TURN_SLOTS]; /* times the slot was served; written by its owner */
	_Atomic uint64_t level[TURN_SLOTS]; /* owner words of engines */
	/* Changes of flags. Written by who made one. */
	_Alignas(64) _Atomic uint32_t flags;
};
_Static_assert(sizeof(struct turn_page) <= TURN_BYTES, "one page");

struct pen_turn {
	struct turn_page *page;
	uint64_t self; /* this process's owner word, level 0 */
};

uint64_t pen_turn_started(pid_t pid, bool *ret_dead)
{
	char path[32], text[1024], *at, *end;
	ssize_t n;
	int fd, field;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof(text) - 1);
	(void)close(fd);
	if (n <= 0)
		return 0;
	text[n] = 0;
	at = strrchr(text, ')'); /* the name may hold anything, parentheses too */
	if (!at || at[1] != ' ')
		return 0;
	at += 2;
	if (*at == 'Z' || *at == 'X')
		*ret_dead = true;
	for (field = 3; field < 22; field++) {
		at = strchr(at, ' ');
		if (!at)
			return 0;
		at++;
	}
	return strtoull(at, &end, 10);
}

static uint64_t owner_word(uint64_t ticks, uint32_t level_plus_1, pid_t pid)
{
	return ticks << 32 | (uint64_t)level_plus_1 << 24 | (uint64_t)((uint32_t)pid & 0xffffffu);
}

static bool owner_dead(uint64_t owner)
{
	pid_t pid = (pid_t)(owner & 0xffffffu);
	uint64_t ticks;
	bool dead = false;

	if (kill(pid, 0) && errno == ESRCH)
		return true;
	ticks = pen_turn_started(pid, &dead);
	if (dead)
		return true;
	/* A start time that nobody could read (0) proves nothing. */
	return ticks && owner >> 32 && (ticks & UINT32_MAX) != owner >> 32;
}

static void turn_wake(struct turn_page *page)
{
	/* PAIR(turn.served): whoever stands aside and sees the new count also sees the mask and turns before it;
	 * without it a yield could read the old mask after being woken and sleep a whole slice. */
	atomic_fetch_add_explicit(&page->served, 1, memory_order_release);
	(void)syscall(SYS_futex, &page->served, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* ---- open ------------------------------------------------------------------------------------ */

static int turn_make(int run_fd)
{
	struct turn_page head = { .magic = TURN_MAGIC, .version = TURN_VERSION };
	char name[40];
	uint64_t noise = 0;
	int fd, rc;

	if (getrandom(&noise, sizeof(noise), 0) != sizeof(noise))
		return -errno;
	(void)snprintf(name, sizeof(name), "turn.%016llx", (unsigned long long)noise);
	fd = openat(run_fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	/* Allocated now: a store into a hole on a full disk would be SIGBUS. */
	rc = fchmod(fd, 0600) ? errno : posix_fallocate(fd, 0, TURN_BYTES);
	if (!rc && pwrite(fd, &head, sizeof(head), 0) != sizeof(head))
		rc = errno ? errno : EIO;
	(void)close(fd);
	/* Linked when whole, so nobody ever maps a short one. */
	if (!rc && linkat(run_fd, name, run_fd, "turn", 0) && errno != EEXIST)
		rc = errno;
	(void)unlinkat(run_fd, name, 0);
	return -rc;
}

static struct turn_page *turn_map(int run_fd)
{
	struct turn_page *page;
	struct stat st;
	int fd, i;

	for (i = 0; i < 3; i++) {
		fd = openat(run_fd, "turn", O_RDWR | O_NOFOLLOW | O_CLOEXEC);
		if (fd >= 0 || errno != ENOENT || turn_make(run_fd))
			break;
	}
	if (fd < 0)
		return NULL;
	page = MAP_FAILED;
	if (!fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size >= (off_t)TURN_BYTES)
		page = mmap(NULL, TURN_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	(void)close(fd);
	if (page == MAP_FAILED)
		return NULL;
	if (page->magic == TURN_MAGIC && page->version == TURN_VERSION)
		return page;
	(void)munmap(page, TURN_BYTES);
	return NULL;
}

int pen_turn_open(int run_fd, struct pen_turn **ret)
{
	struct pen_turn *turn = calloc(1, sizeof(*turn));
	bool dead = false;

	if (!turn)
		return -PEN_MEMORY;
	turn->page = turn_map(run_fd);
	if (!turn->page) {
		/* Nobody else sees it, but the threads of this process do. */
		turn->page =
			mmap(NULL, TURN_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (turn->page == MAP_FAILED) {
			free(turn);
			return -PEN_MEMORY;
		}
	}
	turn->self = owner_word(pen_turn_started(getpid(), &dead), 0, getpid());
	*ret = turn;
	return 0;
}

void pen_turn_close(struct pen_turn *turn)
{
	if (!turn)
		return;
	(void)munmap(turn->page, TURN_BYTES);
	free(turn);
}

/* ---- waiting for the lock -------------------------------------------------------------------- */

static bool slot_claim(_Atomic uint64_t *table, uint64_t owner, uint32_t *ret)
{
	uint32_t i;

	for (i = 0; i < TURN_SLOTS; i++) {
		uint64_t empty = 0;

		/* PAIR(turn.claim): a slot that was struck off is claimed only after the strike; without it a new
		 * owner could be struck off with the old one's release. */
		/* PAIR(turn.claim): the slot comes without the last owner's bit. */
		if (!atomic_load_explicit(&table[i], memory_order_relaxed) &&
		    atomic_compare_exchange_strong_explicit(&table[i], &empty, owner, memory_order_acq_rel,
							    memory_order_relaxed)) {
			*ret = i;
			return true;
		}
	}
	return false;
}

static void strike(struct turn_page *page, uint32_t i, uint64_t owner)
{
	/* PAIR(turn.claim): the bit goes before the slot. Between the two the slot is claimed and does not count,
	 * which is harmless; had the slot gone first, a new owner's bit could be taken away. */
	atomic_fetch_and_explicit(&page->mask, ~(1ull << i), memory_order_relaxed);
	/* PAIR(turn.claim): see claim above. */
	(void)atomic_compare_exchange_strong_explicit(&page->waiter[i], &owner, 0, memory_order_release,
						      memory_order_relaxed);
}

/* Frees the slots of dead waiters; true when there were any. */
static bool strike_dead(struct turn_page *page)
{
	bool any = false;
	uint32_t i;

	for (i = 0; i < TURN_SLOTS; i++) {
		uint64_t owner = atomic_load_explicit(&page->waiter[i], memory_order_relaxed);

		if (owner && owner_dead(owner)) {
			strike(page, i, owner);
			any = true;
		}
	}
	return any;
}

uint32_t pen_turn_announce(struct pen_turn *turn)
{
	struct turn_page *page = turn->page;
	uint32_t slot;

	if (!slot_claim(page->waiter, turn->self, &slot) &&
	    (!strike_dead(page) || !slot_claim(page->waiter, turn->self, &slot)))
		return TURN_NONE; /* it waits unseen, behind 64 others that are */
	/* PAIR(turn.announce): a yield that sees the bit sees the owner before it; without it the yield could take
	 * the slot for an empty one and not notice that its owner died. */
	atomic_fetch_or_explicit(&page->mask, 1ull << slot, memory_order_release);
	return slot;
}

void pen_turn_served(struct pen_turn *turn, uint32_t slot)
{
	struct turn_page *page = turn->page;

	if (slot == TURN_NONE)
		return;
	pen_assert(slot < TURN_SLOTS);
	atomic_fetch_add_explicit(&page->turns[slot], 1, memory_order_relaxed);
	atomic_fetch_and_explicit(&page->mask, ~(1ull << slot), memory_order_relaxed);
	/* PAIR(turn.claim): as in strike. */
	atomic_store_explicit(&page->waiter[slot], 0, memory_order_release);
	turn_wake(page);
}

uint32_t pen_turn_waiting(const struct pen_turn *turn)
{
	return (uint32_t)__builtin_popcountll(atomic_load_explicit(&turn->page->mask, memory_order_relaxed));
}

bool pen_turn_wanted(const struct pen_store *store)
{
	return store->turn && atomic_load_explicit(&store->turn->page->mask, memory_order_relaxed);
}

static void served_wait(struct turn_page *page, uint32_t ticket, uint64_t ns)
{
	struct timespec t = { .tv_sec = (time_t)(ns / PEN_NS_PER_S), .tv_nsec = (long)(ns % PEN_NS_PER_S) };

	(void)syscall(SYS_futex, &page->served, FUTEX_WAIT, ticket, &t, NULL, 0); /* any return: look again */
}

void pen_turn_yield(struct pen_store *store, uint64_t max_ns)
{
	const struct pen_clock *clock =
		&pen_clock_real; /* it sleeps for real, whatever clock stamps the rows */
	struct turn_page *page;
	uint32_t before[TURN_SLOTS], i, ticket;
	uint64_t left, start = pen_mono_ns(clock), now = start, struck = start;

	if (!store->turn)
		return;
	page = store->turn->page;
	/* PAIR(turn.announce) */
	left = atomic_load_explicit(&page->mask, memory_order_acquire);
	for (i = 0; i < TURN_SLOTS; i++)
		before[i] = atomic_load_explicit(&page->turns[i], memory_order_relaxed);
	for (;;) {
		/* PAIR(turn.served) */
		ticket = atomic_load_explicit(&page->served, memory_order_acquire);
		left &= atomic_load_explicit(&page->mask, memory_order_relaxed);
		for (i = 0; i < TURN_SLOTS; i++)
			if (atomic_load_explicit(&page->turns[i], memory_order_relaxed) != before[i])
				left &= ~(1ull << i);
		if (!left || now - start >= max_ns)
			return;
		served_wait(page, ticket, pen_min(TURN_SLICE_NS, max_ns - (now - start)));
		now = pen_mono_ns(clock);
		if (now - struck >= TURN_SLICE_NS) {
			struck = now;
			if (strike_dead(page))
				turn_wake(page);
		}
	}
}

/* ---- flags ----------------------------------------------------------------------------------- */

uint32_t pen_turn_flags(const struct pen_store *store)
{
	/* Relaxed: it only says that there is something to read, and that is read in a transaction. */
	return store->turn ? atomic_load_explicit(&store->turn->page->flags, memory_order_relaxed) : 0;
}

void pen_turn_flags_changed(struct pen_store *store)
{
	if (store->turn)
		atomic_fetch_add_explicit(&store->turn->page->flags, 1, memory_order_relaxed);
}

/* ---- levels ---------------------------------------------------------------------------------- */

uint32_t pen_turn_level_enter(struct pen_store *store, enum pen_durability level)
{
	struct turn_page *page;
	uint64_t owner;
	uint32_t slot, i;

	if (!store->turn)
		return TURN_NONE;
	page = store->turn->page;
	owner = store->turn->self | (uint64_t)((uint32_t)level + 1) << 24;
	if (slot_claim(page->level, owner, &slot))
		return slot;
	for (i = 0; i < TURN_SLOTS; i++) {
		uint64_t other = atomic_load_explicit(&page->level[i], memory_order_relaxed);

		if (other && owner_dead(other))
			(void)atomic_compare_exchange_strong_explicit(
				&page->level[i], &other, 0, memory_order_relaxed, memory_order_relaxed);
	}
	return slot_claim(page->level, owner, &slot) ? slot : TURN_NONE;
}

void pen_turn_level_leave(struct pen_store *store, uint32_t ticket)
{
	if (!store->turn || ticket == TURN_NONE)
		return;
	pen_assert(ticket < TURN_SLOTS);
	atomic_store_explicit(&store->turn->page->level[ticket], 0, memory_order_relaxed);
}

bool pen_turn_strictest(const struct pen_store *store, enum pen_durability *ret)
{
	enum pen_durability strictest = PEN_DURABLE_RELAXED;
	bool any = false;
	uint32_t i;

	for (i = 0; store->turn && i < TURN_SLOTS; i++) {
		uint64_t owner = atomic_load_explicit(&store->turn->page->level[i], memory_order_relaxed);
		uint32_t level = (uint32_t)(owner >> 24 & 0xffu) - 1;

		if (!owner || level > PEN_DURABLE_RELAXED || (any && level >= (uint32_t)strictest))
			continue;
		if ((owner & ~(0xffull << 24)) != store->turn->self && owner_dead(owner))
			continue;
		any = true;
		strictest = (enum pen_durability)level;
	}
	if (any)
		*ret = strictest;
	return any;
}

enum pen_durability pen_turn_level(const struct pen_store *store, enum pen_durability level)
{
	enum pen_durability strictest;

	if (level == PEN_DURABLE_COMMIT || !pen_turn_strictest(store, &strictest))
		return level;
	return strictest < level ? strictest : level;
}
