/* SPDX-License-Identifier: MIT */
/*
 * turnstile: holders killed at every store that counts, processes that race, 10^6 identities, and a reboot
 */
#include "engine/turnstile.h"

#include <signal.h>
#include <sys/mman.h>

#include "engine/limit.h"
#include "engine/turnstile_private.h"
#include "ring/base.h"
#include "tests/store/scratch.h"

#define S 1000000000ull

TestSuite(turnstile, .init = scratch_make, .fini = scratch_remove, .timeout = 120);

struct fake {
	struct pen_clock clock;
	uint64_t mono, real;
};

static uint64_t fake_mono(const struct pen_clock *c)
{
	return ((const struct fake *)(const void *)c)->mono;
}

static uint64_t fake_real(const struct pen_clock *c)
{
	return ((const struct fake *)(const void *)c)->real;
}

/* A clock that stands: what is left of a limit is then what decisions made of it. */
static struct fake still = { { fake_mono, fake_real }, 5 * S, 1700000000000 };

static struct pen_store *still_store(void)
{
	struct pen_store *store = scratch_store("s");

	pen_store_set_clock(store, &still.clock);
	return store;
}

static struct pen_turnstile *open_on(struct pen_store *store)
{
	struct pen_turnstile *t = NULL;

	cr_assert_eq(pen_turnstile_open(store, &t), 0);
	return t;
}

static struct pen_turnstile_ask ask_of(const char *policy, enum pen_quota_kind kind, uint64_t window,
				       uint64_t limit, uint64_t cost)
{
	struct pen_turnstile_ask ask = { .policy = pen_limit_identity(policy), .cost = cost };

	cr_assert(pen_quota_rule(&ask.rule, kind, window, limit, UINT64_MAX));
	return ask;
}

static struct pen_sum who(uint64_t n)
{
	char text[32];

	(void)snprintf(text, sizeof text, "user:%lu", (unsigned long)n);
	return pen_limit_identity(text);
}

Test(turnstile, all_or_nothing)
{
	struct pen_store *store = still_store();
	struct pen_turnstile *t = open_on(store);
	struct pen_turnstile_ask asks[3] = { ask_of("a", PEN_QUOTA_SLIDING, 60 * S, 10, 1),
					     ask_of("b", PEN_QUOTA_GCRA, 60 * S, 3, 1),
					     ask_of("c", PEN_QUOTA_FIXED, 60 * S, 2, 1) };

	for (int i = 0; i < 2; i++)
		cr_assert_eq(pen_turnstile_pass(t, who(1), asks, 3, PEN_TURNSTILE_TAKE, 0, NULL), 0);
	for (int i = 0; i < 5; i++)
		cr_assert_eq(pen_turnstile_pass(t, who(1), asks, 3, PEN_TURNSTILE_TAKE, 0, NULL),
			     -PEN_LIMIT_REFUSED);
	cr_assert_eq(asks[0].verdict.remaining, 8);
	cr_assert_eq(asks[1].verdict.remaining, 1);
	cr_assert_eq(asks[2].verdict.remaining, 0);
	cr_assert(!asks[0].verdict.refused && !asks[1].verdict.refused && asks[2].verdict.refused);
	asks[1].cost = 2;
	cr_assert_eq(pen_turnstile_pass(t, who(1), asks, 3, PEN_TURNSTILE_LOOK, 0, NULL), -PEN_LIMIT_REFUSED);
	cr_assert(asks[1].verdict.refused && asks[2].verdict.refused);
	/* Others have their own. */
	cr_assert_eq(pen_turnstile_pass(t, who(2), asks, 3, PEN_TURNSTILE_TAKE, 0, NULL), 0);
	cr_assert_null(pen_turnstile_check(t));
	pen_turnstile_close(t);
	pen_store_close(store);
}

/* ---- a holder that is killed ------------------------------------------------------------------ */

static long die_at, points;
static bool planted;
static struct pen_cells_notes *planted_notes;

static void count_or_die(const char *name)
{
	/* The planted bug: a note that was just counted says what the cell is now instead of what it was. It is made
	 * wrong where the change is about to be dropped or kept, by forgetting all notes. */
	if (planted && !strcmp(name, "counted"))
		atomic_store_explicit(&planted_notes->saved, 0, memory_order_relaxed);
	if (points++ == die_at)
		(void)kill(getpid(), SIGKILL);
}

struct state {
	uint64_t remaining[3];
};

static struct state state_of(struct pen_turnstile *t)
{
	struct pen_turnstile_ask asks[3] = { ask_of("a", PEN_QUOTA_SLIDING, 60 * S, 500, 0),
					     ask_of("b", PEN_QUOTA_GCRA, 3600 * S, 500, 0),
					     ask_of("c", PEN_QUOTA_FIXED, 3600 * S, 500, 0) };
	struct state s;

	cr_assert_eq(pen_turnstile_pass(t, who(1), asks, 3, PEN_TURNSTILE_LOOK, 0, NULL), 0);
	for (int i = 0; i < 3; i++)
		s.remaining[i] = asks[i].verdict.remaining;
	return s;
}

static void take_three(struct pen_turnstile *t)
{
	struct pen_turnstile_ask asks[3] = { ask_of("a", PEN_QUOTA_SLIDING, 60 * S, 500, 2),
					     ask_of("b", PEN_QUOTA_GCRA, 3600 * S, 500, 2),
					     ask_of("c", PEN_QUOTA_FIXED, 3600 * S, 500, 2) };

	(void)pen_turnstile_pass(t, who(1), asks, 3, PEN_TURNSTILE_TAKE, 0, NULL);
}

/* Kills a child at each point of a decision: how many of the tables were wrong afterwards. */
static uint32_t kill_everywhere(struct pen_turnstile *t, uint32_t hits, uint32_t *ret_kills)
{
	uint32_t wrong = 0, kills = 0;

	/* So many before it that blocks begin and end in between. */
	for (uint32_t i = 0; i < hits; i++)
		take_three(t);
	for (long at = 0;; at++) {
		struct state before = state_of(t), after;
		bool whole, none;
		pid_t pid = fork();
		int status;

		cr_assert_geq(pid, 0);
		if (!pid) {
			die_at = at;
			points = 0;
			if (planted)
				planted_notes =
					&pen_turnstile_stripe(t, (uint32_t)who(1).lo % PEN_TURNSTILE_STRIPES)
						 ->notes;
			pen_cells_point = count_or_die;
			take_three(t);
			_exit(0);
		}
		cr_assert_eq(waitpid(pid, &status, 0), pid);
		after = state_of(t);
		whole = none = true;
		for (int i = 0; i < 3; i++) {
			whole &= after.remaining[i] == before.remaining[i] - 2;
			none &= after.remaining[i] == before.remaining[i];
		}
		if ((!whole && !none) || pen_turnstile_check(t))
			wrong++;
		if (WIFEXITED(status)) {
			cr_assert(whole || planted);
			break;
		}
		kills++;
		if (planted && wrong)
			break;
	}
	*ret_kills = kills;
	return wrong;
}

Test(turnstile, a_killed_holder_leaves_all_or_nothing)
{
	struct pen_store *store = still_store();
	struct pen_turnstile *t = open_on(store);
	struct pen_turnstile_info info;
	uint32_t kills;

	planted = false;
	cr_assert_eq(kill_everywhere(t, 0, &kills), 0);
	cr_assert_gt(kills, 20);
	for (uint32_t i = 0; i < 8; i++)
		cr_assert_eq(kill_everywhere(t, 1, &kills), 0);
	pen_turnstile_info(t, &info);
	cr_assert_gt(info.repairs, 100);
	pen_turnstile_close(t);
	pen_store_close(store);
}

/* The control: when changes leave no notes, the same test notices. */
Test(turnstile, a_change_without_notes_is_noticed)
{
	struct pen_store *store = still_store();
	struct pen_turnstile *t = open_on(store);
	uint32_t kills;

	planted = true;
	cr_assert_gt(kill_everywhere(t, 0, &kills), 0);
	pen_turnstile_close(t);
	pen_store_close(store);
}

/* A repair that is killed as well is done again. */
Test(turnstile, a_repair_may_be_killed)
{
	struct pen_store *store = still_store();
	struct pen_turnstile *t = open_on(store);
	struct state before;

	planted = false;
	for (int i = 0; i < 9; i++)
		take_three(t);
	before = state_of(t);
	for (long deep = 4; deep < 12; deep++)
		for (long at = 0; at < 4; at++) {
			for (int who_dies = 0; who_dies < 2; who_dies++) {
				pid_t pid = fork();

				cr_assert_geq(pid, 0);
				if (!pid) {
					die_at = who_dies ? at : deep;
					points = 0;
					pen_cells_point = count_or_die;
					take_three(t);
					_exit(0);
				}
				(void)scratch_wait(pid);
			}
			for (int i = 0; i < 3; i++)
				cr_assert_eq(state_of(t).remaining[i], before.remaining[i]);
			cr_assert_null(pen_turnstile_check(t));
		}
	pen_turnstile_close(t);
	pen_store_close(store);
}

/* ---- processes ---------------------------------------------------------------------------------- */

/* Four processes, one of them killed and started again all the time: never more than the limit passes. */
Test(turnstile, never_more_than_the_limit)
{
	enum { PROCESSES = 4, LIMIT = 20000, IDENTITIES = 5 };
	uint64_t(*passed)[IDENTITIES] = mmap(NULL, sizeof(uint64_t) * 64 * IDENTITIES, PROT_READ | PROT_WRITE,
					     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct pen_store *store = scratch_store("s");
	struct pen_turnstile *t = open_on(store);
	uint64_t total[IDENTITIES] = { 0 }, most = 0, least = UINT64_MAX;
	pid_t pids[PROCESSES];

	for (int p = 0; p < PROCESSES; p++) {
		pids[p] = fork();
		if (!pids[p]) {
			for (uint64_t i = 0; i < 80000; i++) {
				struct pen_turnstile_ask ask =
					ask_of("a", PEN_QUOTA_SLIDING, 3600 * S, LIMIT, 1);
				uint64_t n = i % IDENTITIES;

				if (!pen_turnstile_pass(t, who(n), &ask, 1, PEN_TURNSTILE_TAKE, 0, NULL))
					passed[p][n]++;
			}
			_exit(0);
		}
	}
	/* Victims, that die anywhere. What they took and did not count is at most one each. */
	for (int v = 0; v < 30; v++) {
		pid_t pid = fork();

		if (!pid) {
			die_at = 3 + v % 25;
			points = 0;
			pen_cells_point = count_or_die;
			for (;;) {
				struct pen_turnstile_ask ask =
					ask_of("a", PEN_QUOTA_SLIDING, 3600 * S, LIMIT, 1);

				(void)pen_turnstile_pass(t, who((uint64_t)v % IDENTITIES), &ask, 1,
							 PEN_TURNSTILE_TAKE, 0, NULL);
			}
		}
		cr_assert_eq(scratch_wait(pid), 128 + SIGKILL);
	}
	for (int p = 0; p < PROCESSES; p++)
		cr_assert_eq(scratch_wait(pids[p]), 0);
	for (int n = 0; n < IDENTITIES; n++) {
		for (int p = 0; p < PROCESSES; p++)
			total[n] += passed[p][n];
		most = pen_max(most, total[n]);
		least = pen_min(least, total[n]);
	}
	cr_assert_leq(most, LIMIT);
	cr_assert_geq(least, LIMIT / 2); /* 64,000 were asked for, and few were lost with the victims */
	cr_assert_null(pen_turnstile_check(t));
	pen_turnstile_close(t);
	pen_store_close(store);
}

Test(turnstile, leases_end_with_their_process)
{
	struct pen_store *store = scratch_store("s");
	struct pen_turnstile *t = open_on(store);
	struct pen_turnstile_ask ask = ask_of("c", PEN_QUOTA_CONCURRENT, S, 3, 1);
	uint64_t now;
	pid_t pid = fork();

	if (!pid) {
		struct pen_turnstile *mine = NULL;
		int rc = pen_turnstile_open(store, &mine);

		for (int i = 0; i < 3 && !rc; i++)
			rc = pen_turnstile_pass(mine, who(1), &ask, 1, PEN_TURNSTILE_TAKE,
						pen_turnstile_self(mine), NULL);
		(void)kill(getpid(), rc ? SIGUSR1 : SIGKILL);
	}
	cr_assert_eq(scratch_wait(pid), 128 + SIGKILL);
	for (int i = 0; i < 3; i++)
		cr_assert_eq(pen_turnstile_pass(t, who(1), &ask, 1, PEN_TURNSTILE_TAKE, pen_turnstile_self(t),
						&now),
			     0);
	cr_assert_eq(pen_turnstile_pass(t, who(1), &ask, 1, PEN_TURNSTILE_TAKE, pen_turnstile_self(t), NULL),
		     -PEN_LIMIT_REFUSED);
	pen_turnstile_back(t, who(1), &ask, 1, now, pen_turnstile_self(t));
	cr_assert_eq(pen_turnstile_pass(t, who(1), &ask, 1, PEN_TURNSTILE_TAKE, pen_turnstile_self(t), NULL),
		     0);
	pen_turnstile_close(t);
	pen_store_close(store);
}

/* ---- many identities ----------------------------------------------------------------------------- */

Test(turnstile, a_million_identities_fit_and_go_when_they_are_over)
{
	struct fake fake = { { fake_mono, fake_real }, 5 * S, 1700000000000 };
	struct pen_store *store = scratch_store("s");
	struct pen_turnstile_info full, later;
	struct pen_turnstile *t;

	pen_store_set_clock(store, &fake.clock);
	t = open_on(store);
	for (uint64_t i = 0; i < 1000000; i++) {
		struct pen_turnstile_ask ask = ask_of("a", PEN_QUOTA_SLIDING, 60 * S, 100, 1);

		cr_assert_eq(pen_turnstile_pass(t, who(i), &ask, 1, PEN_TURNSTILE_TAKE, 0, NULL), 0,
			     "identity %lu", (unsigned long)i);
	}
	pen_turnstile_info(t, &full);
	cr_assert_eq(full.identities, 1000000);
	cr_assert_lt(full.bytes, 160u << 20);
	/* All of them are over: a million others take their places. */
	fake.mono += 61 * S;
	for (uint64_t i = 1000000; i < 2000000; i++) {
		struct pen_turnstile_ask ask = ask_of("a", PEN_QUOTA_SLIDING, 60 * S, 100, 1);

		cr_assert_eq(pen_turnstile_pass(t, who(i), &ask, 1, PEN_TURNSTILE_TAKE, 0, NULL), 0);
	}
	pen_turnstile_info(t, &later);
	cr_assert_lt(later.bytes, full.bytes + (32u << 20));
	pen_turnstile_close(t);
	pen_store_close(store);
}

/* When everything still counts, others are refused by a code of their own, and nobody's log is lost. */
Test(turnstile, a_full_table_refuses_and_forgets_nobody)
{
	struct fake fake = { { fake_mono, fake_real }, 5 * S, 1700000000000 };
	struct pen_store *store = scratch_store("s");
	struct pen_turnstile *t;
	uint64_t i, full = 0;

	pen_store_set_clock(store, &fake.clock);
	t = open_on(store);
	for (i = 0; i < 2200000 && full < 100; i++) {
		struct pen_turnstile_ask ask = ask_of("a", PEN_QUOTA_FIXED, 3600 * S, 1, 1);
		int rc = pen_turnstile_pass(t, who(i), &ask, 1, PEN_TURNSTILE_TAKE, 0, NULL);

		cr_assert(!rc || rc == -PEN_LIMIT_FULL);
		full += rc != 0;
	}
	cr_assert_eq(full, 100);
	cr_assert_gt(i, 2000000);
	for (uint64_t k = 0; k < 1000; k++) {
		struct pen_turnstile_ask ask = ask_of("a", PEN_QUOTA_FIXED, 3600 * S, 1, 1);

		cr_assert_eq(pen_turnstile_pass(t, who(k), &ask, 1, PEN_TURNSTILE_TAKE, 0, NULL),
			     -PEN_LIMIT_REFUSED);
	}
	fake.mono += 3601 * S;
	for (; full; full--) {
		struct pen_turnstile_ask ask = ask_of("a", PEN_QUOTA_FIXED, 3600 * S, 1, 1);

		cr_assert_eq(pen_turnstile_pass(t, who(i++), &ask, 1, PEN_TURNSTILE_TAKE, 0, NULL), 0);
	}
	cr_assert_null(pen_turnstile_check(t));
	pen_turnstile_close(t);
	pen_store_close(store);
}

/* ---- the copy ------------------------------------------------------------------------------------- */

static void remove_table(void)
{
	cr_assert_eq(unlink(scratch_path("s/run/limits")), 0);
}

/* Another boot: the file is gone (or of the old boot), the monotonic clock begins again, the wall clock went on. */
Test(turnstile, a_reboot_restores_what_was_copied)
{
	struct fake fake = { { fake_mono, fake_real }, 100000 * S, 1700000000000 };
	struct pen_store *store = scratch_store("s");
	struct pen_turnstile_ask asks[3] = { ask_of("a", PEN_QUOTA_SLIDING, 600 * S, 20, 5),
					     ask_of("b", PEN_QUOTA_GCRA, 600 * S, 20, 5),
					     ask_of("c", PEN_QUOTA_FIXED, 600 * S, 20, 5) };
	struct pen_turnstile *t;

	pen_store_set_clock(store, &fake.clock);
	t = open_on(store);
	cr_assert_eq(pen_turnstile_pass(t, who(1), asks, 3, PEN_TURNSTILE_TAKE, 0, NULL), 0);
	fake.mono += 100 * S, fake.real += 100000;
	for (int i = 0; i < 2; i++)
		cr_assert_eq(pen_turnstile_pass(t, who(1), asks, 3, PEN_TURNSTILE_TAKE, 0, NULL), 0);
	cr_assert_eq(pen_turnstile_copy(t), 0);
	pen_turnstile_close(t);

	remove_table();
	fake.mono = 7 * S, fake.real += 100000;
	t = open_on(store);
	cr_assert_null(pen_turnstile_check(t));
	for (int i = 0; i < 3; i++)
		asks[i].cost = 0;
	cr_assert_eq(pen_turnstile_pass(t, who(1), asks, 3, PEN_TURNSTILE_LOOK, 0, NULL), 0);
	cr_assert_eq(asks[0].verdict.remaining, 5);
	cr_assert_eq(asks[2].verdict.remaining, 5);
	cr_assert_eq(asks[1].verdict.remaining,
		     11); /* 15 taken; in 200 s 20 * 200 / 600 = 6.67 came back, less 1 ms */
	/* The first hit leaves 400 s and that millisecond from here. */
	asks[0].cost = 10;
	cr_assert_eq(pen_turnstile_pass(t, who(1), asks, 1, PEN_TURNSTILE_LOOK, 0, NULL), -PEN_LIMIT_REFUSED);
	cr_assert_eq(asks[0].verdict.retry_ns, 400 * S + 1000000);
	pen_turnstile_close(t);
	pen_store_close(store);
}

/* A copier that died between reading and keeping loses nothing; what expired leaves the copy. */
Test(turnstile, a_copy_is_of_what_changed)
{
	struct fake fake = { { fake_mono, fake_real }, 5 * S, 1700000000000 };
	struct pen_store *store = scratch_store("s");
	struct pen_turnstile_ask ask = ask_of("a", PEN_QUOTA_SLIDING, 60 * S, 20, 5);
	struct turnstile_stripe *s;
	struct pen_turnstile *t;
	uint32_t head;

	pen_store_set_clock(store, &fake.clock);
	t = open_on(store);
	cr_assert_eq(pen_turnstile_pass(t, who(1), &ask, 1, PEN_TURNSTILE_TAKE, 0, NULL), 0);
	/* As a copier leaves it that is killed while it writes. */
	s = pen_turnstile_stripe(t, (uint32_t)who(1).lo % PEN_TURNSTILE_STRIPES);
	for (head = 0; !s->dirty[head]; head++)
		cr_assert_lt(head, PEN_TURNSTILE_MAPS);
	s->copying[head] = s->dirty[head];
	s->dirty[head] = 0;
	cr_assert_eq(pen_turnstile_copy(t), 0);
	cr_assert_eq(s->changed, 0);
	pen_turnstile_close(t);
	remove_table();
	t = open_on(store);
	ask.cost = 0;
	cr_assert_eq(pen_turnstile_pass(t, who(1), &ask, 1, PEN_TURNSTILE_LOOK, 0, NULL), 0);
	cr_assert_eq(ask.verdict.remaining, 15);
	pen_turnstile_close(t);
	pen_store_close(store);
}
