/* SPDX-License-Identifier: MIT */
/*
 * park - one consumer sleeps until some producer rings
 *
 * The happy path
 *   ring     one locked increment; nobody sleeps, so that is all.
 *   ticket   one load.
 *   wait     looks at the count a few dozen times if a CPU is to spare for it, gives the CPU away once, sets
 *            the sleeper flag, sleeps. The ring that finds the flag clears it and wakes.
 *
 * What can go wrong: 2^31 rings between a ticket and its wait look like none; the wait then ends at the next
 * ring or at its timeout. The sleeper flag costs one needless wake per 2^31 rings.
 *
 * Why this way: the multi-producer event count changes count and flag with locked instructions on one word,
 * so no ring can overlook a sleeper. Its single-producer sibling may, and repairs that with timed sleeps in
 * between; ck makes those in either mode, and park_wait32 leaves them out: there is nothing to repair, an idle
 * thread should not run, and a wake lost by a bug should show as a timeout instead of being mended in silence.
 *
 * This file is compiled without the race checker, which takes ck's inline assembly for plain accesses.
 */
#include "ring/park.h"

#include <ck_ec.h>
#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "ring/assert.h"
#include "ring/clock.h"

#define SPIN_MAX 48

_Static_assert(sizeof(struct ck_ec32) == sizeof(uint32_t), "struct pen_park hides a ck_ec32 in a word");
_Static_assert(_Alignof(struct ck_ec32) <= _Alignof(uint32_t), "struct pen_park hides a ck_ec32 in a word");

/* One wait, as park_wait32 sees it. */
struct nap {
	const struct timespec *deadline; /* the caller's; NULL: none */
	bool timed_out;			 /* the kernel ended the last sleep at the deadline */
};

static int park_gettime(const struct ck_ec_ops *ops, struct timespec *ret_now)
{
	(void)ops;
	return clock_gettime(CLOCK_MONOTONIC, ret_now);
}

/* An early return is allowed, whatever its cause (a signal, a changed word): the caller looks again. */
static void park_wait32(const struct ck_ec_wait_state *state, const uint32_t *word, uint32_t expected,
			const struct timespec *backoff)
{
	struct nap *nap = state->data;

	(void)backoff; /* see above: the caller's deadline is the only one */
	/* WAIT_BITSET takes an absolute CLOCK_MONOTONIC time; WAIT would take a relative one. */
	nap->timed_out = syscall(SYS_futex, word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, expected,
				 nap->deadline, NULL, FUTEX_BITSET_MATCH_ANY) != 0 &&
			 errno == ETIMEDOUT;
}

static void park_wake32(const struct ck_ec_ops *ops, const uint32_t *word)
{
	(void)ops;
#ifndef PEN_PLANT_PARK_WAKE
	(void)syscall(SYS_futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, INT32_MAX, NULL, NULL, 0);
#else
	(void)word;
#endif
}

static const struct ck_ec_ops park_ops = {
	.gettime = park_gettime,
	.wait32 = park_wait32,
	.wake32 = park_wake32,
	.busy_loop_iter = 1, /* 0 would mean 100; we spin ourselves, where it can help */
};
static const struct ck_ec_mode park_mode = { .ops = &park_ops, .single_producer = false };

static struct ck_ec32 *count_of(struct pen_park *park)
{
	return (struct ck_ec32 *)(void *)&park->word;
}

/* The CPUs this process may use, looked up once. */
static int cpus(void)
{
	static _Atomic int known;
	/* Relaxed: every thread that computes it stores the same number. */
	int n = atomic_load_explicit(&known, memory_order_relaxed);

	if (!n) {
		cpu_set_t set;

		n = sched_getaffinity(0, sizeof(set), &set) ? 0 : CPU_COUNT(&set);
		if (n <= 0) /* more CPUs than a cpu_set_t holds */
			n = (int)sysconf(_SC_NPROCESSORS_ONLN);
		n = n > 0 ? n : 1;
		atomic_store_explicit(&known, n, memory_order_relaxed);
	}
	return n;
}

void pen_park_init(struct pen_park *park)
{
	ck_ec32_init(count_of(park), 0);
	park->timeouts = 0;
}

uint32_t pen_park_ticket(const struct pen_park *park)
{
	/*
	 * PAIR(park.ring): a count read here was stored by a ring that followed its push, so the look after
	 * the ticket sees that push. Without it the consumer sleeps on a ring it has already been given.
	 */
	return ck_ec32_value((const struct ck_ec32 *)(const void *)&park->word);
}

bool pen_park_wait(struct pen_park *park, uint32_t ticket, uint64_t timeout_ns)
{
	struct ck_ec32 *count = count_of(park);
	struct nap nap = { 0 };
	struct timespec deadline;
	int res = -1;

	/* With two CPUs the producer most likely needs the one a spinning consumer would burn. */
	for (int i = cpus() > 2 ? SPIN_MAX : 0; i > 0; i--) {
		if (ck_ec32_value(count) != ticket)
			return true;
		ck_pr_stall();
	}
	if (ck_ec32_value(count) != ticket)
		return true;
	if (timeout_ns) {
		(void)sched_yield(); /* cannot fail on Linux */
		if (ck_ec32_value(count) != ticket)
			return true;
		if (timeout_ns != UINT64_MAX) {
			const struct timespec timeout = { .tv_sec = (time_t)(timeout_ns / PEN_NS_PER_S),
							  .tv_nsec = (long)(timeout_ns % PEN_NS_PER_S) };

			pen_assert(ck_ec_deadline(&deadline, &park_mode, &timeout) == 0);
			nap.deadline = &deadline;
		}
		res = ck_ec32_wait_pred(count, &park_mode, ticket, NULL, &nap, nap.deadline);
	}
	/* A ring whose wake did not come is found when the deadline ends the sleep: true, and a timeout. */
	park->timeouts += res || nap.timed_out;
	return res == 0;
}

void pen_park_ring(struct pen_park *park)
{
	/*
	 * PAIR(park.ring): a full barrier between the caller's push and the count, in one locked instruction
	 * with the look at the sleeper flag. Without it a consumer about to sleep can miss the push and the
	 * ring can miss the sleeper, both at once.
	 */
	ck_ec32_inc(count_of(park), &park_mode);
}
