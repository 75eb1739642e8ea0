/* SPDX-License-Identifier: MIT */
#include "store/turn.h"

#include <errno.h>
#include <sys/mman.h>

#include "tests/store/scratch.h"

/* One timeout for all suites of a program: Criterion leaks when they differ. */
TestSuite(turn, .init = scratch_make, .fini = scratch_remove, .timeout = 600);

#define MS 1000000ull

Test(turn, announced_is_wanted_until_served)
{
	struct pen_store *store = scratch_store("s");
	uint32_t a, b;

	cr_expect_not(pen_turn_wanted(store));
	a = pen_turn_announce(store->turn);
	b = pen_turn_announce(store->turn);
	cr_expect_neq(a, b);
	cr_expect_eq(pen_turn_waiting(store->turn), 2);
	pen_turn_served(store->turn, a);
	cr_expect(pen_turn_wanted(store));
	pen_turn_served(store->turn, b);
	cr_expect_not(pen_turn_wanted(store));
	pen_turn_yield(store, UINT64_MAX); /* nobody waits: returns */
	pen_store_close(store);
}

Test(turn, more_waiters_than_slots_still_get_served)
{
	struct pen_store *store = scratch_store("s");
	uint32_t slots[70];
	int i;

	for (i = 0; i < 70; i++)
		slots[i] = pen_turn_announce(store->turn);
	cr_expect_eq(pen_turn_waiting(store->turn), 64);
	for (i = 0; i < 70; i++)
		pen_turn_served(store->turn, slots[i]);
	cr_expect_eq(pen_turn_waiting(store->turn), 0);
	pen_store_close(store);
}

Test(turn, dead_waiter_is_struck_off)
{
	struct pen_store *store = scratch_store("s");
	struct pen_turn *theirs;
	pid_t pid = fork();

	if (!pid) {
		if (pen_turn_open(pen_store_run_fd(store), &theirs))
			_exit(1);
		(void)pen_turn_announce(theirs);
		(void)pen_turn_announce(theirs);
		_exit(0);
	}
	cr_assert_eq(scratch_wait(pid), 0);
	cr_expect_eq(pen_turn_waiting(store->turn), 2);
	/* Without an end of its own: it returns because the dead are noticed. */
	pen_turn_yield(store, UINT64_MAX);
	cr_expect_eq(pen_turn_waiting(store->turn), 0);
	pen_store_close(store);
}

Test(turn, live_waiter_is_not_struck_off)
{
	struct pen_store *store = scratch_store("s");
	uint32_t slot = pen_turn_announce(store->turn);

	pen_turn_yield(store, 60 * MS);
	cr_expect(pen_turn_wanted(store));
	pen_turn_served(store->turn, slot);
	pen_store_close(store);
}

struct shared {
	_Atomic int stop, groups;
};

/* A committer that holds the lock nearly all the time, and stands aside when it is wanted. (Without that, the other one
 * waited for 1 to 326 of its groups here.) */
static int hot_committer(struct shared *sh)
{
	struct pen_store *store;
	struct pen_txn *txn;
	int i;

	if (scratch_open_with("s", false, false, 0, &store))
		return 1;
	while (!sh->stop) {
		if (pen_txn_begin(store, PEN_DURABLE_RELAXED, &txn, NULL, NULL))
			return 2;
		for (i = 0; i < 5000; i++)
			if (pen_txn_put(txn, PEN_DB_EVENTS, &i, sizeof(i), "v", 1, 0))
				return 3;
		if (pen_txn_commit(txn, NULL))
			return 4;
		sh->groups++;
		if (pen_turn_wanted(store))
			pen_turn_yield(store, 5000 * MS);
	}
	pen_store_close(store);
	return 0;
}

Test(turn, foreign_transaction_gets_in_within_few_groups)
{
	struct shared *sh =
		mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct pen_store *store;
	struct pen_txn *txn;
	int i, before, worst = 0;
	pid_t pid;

	cr_assert_neq(sh, MAP_FAILED);
	pen_store_close(scratch_store("s"));
	pid = fork();
	if (!pid)
		_exit(hot_committer(sh));
	store = scratch_store("s");
	while (sh->groups < 20)
		(void)sched_yield();
	for (i = 0; i < 50; i++) {
		before = sh->groups;
		txn = scratch_begin(store);
		/* Its groups stand still now. One that had begun, one before it looked, and room for being
		 * preempted between our look at the count and the announcement. */
		if (sh->groups - before > worst)
			worst = sh->groups - before;
		pen_txn_abort(txn);
	}
	sh->stop = 1;
	cr_expect_eq(scratch_wait(pid), 0);
	cr_expect_leq(worst, 10, "waited for %d groups", worst);
	cr_expect_not(pen_turn_wanted(store));
	pen_store_close(store);
}

Test(turn, strictest_level_of_living_engines_counts)
{
	struct pen_store *store = scratch_store("s");
	uint32_t relaxed, group;
	enum pen_durability level;
	struct pen_store_info info;
	pid_t pid;

	cr_expect_eq(pen_turn_level(store, PEN_DURABLE_RELAXED), PEN_DURABLE_RELAXED);
	relaxed = pen_turn_level_enter(store, PEN_DURABLE_RELAXED);
	cr_expect_eq(pen_turn_level(store, PEN_DURABLE_RELAXED), PEN_DURABLE_RELAXED);
	cr_expect_eq(pen_turn_level(store, PEN_DURABLE_COMMIT), PEN_DURABLE_COMMIT);
	group = pen_turn_level_enter(store, PEN_DURABLE_GROUP);
	cr_expect_eq(pen_turn_level(store, PEN_DURABLE_RELAXED), PEN_DURABLE_GROUP);
	cr_assert_eq(pen_store_info(store, &info), 0);
	cr_expect_eq(info.durability, PEN_DURABLE_GROUP);
	pen_turn_level_leave(store, group);
	pen_turn_level_leave(store, relaxed);
	cr_expect_not(pen_turn_strictest(store, &level));
	pid = fork();
	if (!pid) {
		struct pen_store *theirs = NULL;

		if (scratch_open_with("s", false, false, 0, &theirs))
			_exit(1);
		(void)pen_turn_level_enter(theirs, PEN_DURABLE_COMMIT);
		_exit(0); /* without leaving */
	}
	cr_assert_eq(scratch_wait(pid), 0);
	cr_expect_eq(pen_turn_level(store, PEN_DURABLE_RELAXED), PEN_DURABLE_RELAXED,
		     "the dead do not count");
	pen_store_close(store);
}

Test(turn, unusable_file_gives_a_private_turn)
{
	struct pen_store *store = scratch_store("s");
	uint32_t slot;
	int fd;

	pen_store_close(store);
	fd = open(scratch_path("s/run/turn"), O_WRONLY | O_TRUNC);
	cr_assert_geq(fd, 0);
	(void)close(fd);
	store = scratch_store("s"); /* a short file would be SIGBUS */
	slot = pen_turn_announce(store->turn);
	cr_expect(pen_turn_wanted(store));
	pen_turn_served(store->turn, slot);
	cr_expect_eq(scratch_put(store, "d", "k", "v"), 0);
	pen_store_close(store);
}
