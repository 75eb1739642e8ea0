/* SPDX-License-Identifier: MIT */
/*
 * stress/turnstile - one table, two processes, many threads, all algorithms, and a copier
 *
 * Threads take, give back and look at a few identities under four policies at once, while others copy the table and a
 * third kind changes a policy. Then:
 *   - what passed and was not given back is never more than the limit
 *   - leases never were more than their limit at one time
 *   - the table is whole
 */
#include <ftw.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/limit.h"
#include "tests/lib/stress.h"

#define TAKERS 3
#define IDENTITIES 7u
#define LIMIT 3000u
#define LEASES 3u

static char dir[64];

/* In memory that both processes have. */
static struct shared {
	_Atomic uint64_t passed[IDENTITIES];
	_Atomic int64_t held[IDENTITIES];
} * shared;

struct worker {
	pthread_t thread;
	struct pen_limits *limits;
	uint64_t seed, done;
};

static void one_round(struct worker *w, struct stress_random *random)
{
	uint64_t who = stress_below(random, IDENTITIES);
	const struct pen_limit_ask asks[3] = { { "window", 1 + stress_below(random, 3) },
					       { "spread", 1 },
					       { "slots", stress_below(random, 2) } };
	struct pen_limit_result r[3];
	struct pen_limit_hold hold;
	char identity[32];
	int rc;

	(void)snprintf(identity, sizeof(identity), "user:%u", (unsigned)who);
	rc = pen_limit_reserve(w->limits, identity, asks, 3, r, &hold, NULL);
	STRESS_CHECK(!rc || rc == -PEN_LIMIT_REFUSED, "%d", rc);
	if (rc)
		return;
	w->done++;
	/* Relaxed, all: sums that are looked at when everybody is done, and a bound that holds in any order. */
	(void)atomic_fetch_add_explicit(&shared->passed[who], asks[0].cost, memory_order_relaxed);
	if (asks[2].cost) {
		int64_t held = atomic_fetch_add_explicit(&shared->held[who], 1, memory_order_relaxed) + 1;

		STRESS_CHECK(held <= (int64_t)LEASES, "%lld leases of %u", (long long)held, LEASES);
		stress_pause(random);
		(void)atomic_fetch_sub_explicit(&shared->held[who], 1, memory_order_relaxed);
	}
	if (stress_below(random, 4) == 0) {
		(void)atomic_fetch_sub_explicit(&shared->passed[who], asks[0].cost, memory_order_relaxed);
		STRESS_CHECK(!pen_limit_release(w->limits, &hold), "release");
	} else {
		STRESS_CHECK(!pen_limit_settle(w->limits, &hold, NULL), "settle");
	}
}

static void *take(void *arg)
{
	struct worker *w = arg;
	struct stress_random random = stress_random(w->seed);

	while (stress_time_left())
		one_round(w, &random);
	return NULL;
}

static void *copy(void *arg)
{
	struct worker *w = arg;
	struct stress_random random = stress_random(w->seed);

	while (stress_time_left()) {
		int rc = pen_turnstile_copy(pen_limit_turnstile(w->limits));

		STRESS_CHECK(rc >= 0, "copy: %d", rc);
		w->done++;
		nanosleep(&(struct timespec){ .tv_nsec = (long)stress_below(&random, 3000000) }, NULL);
	}
	return NULL;
}

static struct pen_limit_policy policy(const char *name, uint64_t limit, enum pen_limit_algorithm algorithm)
{
	struct pen_limit_policy p = { .size = sizeof(p),
				      .window_ns = 3600000000000,
				      .limit = limit,
				      .burst = UINT64_MAX,
				      .algorithm = algorithm,
				      .unit = algorithm == PEN_LIMIT_CONCURRENT ? PEN_LIMIT_UNIT_CONCURRENT
										: PEN_LIMIT_ITEMS };

	(void)snprintf(p.name, sizeof(p.name), "%s", name);
	return p;
}

static void *change(void *arg)
{
	struct worker *w = arg;
	struct stress_random random = stress_random(w->seed);

	while (stress_time_left()) {
		struct pen_limit_policy p =
			policy("spread", 100000 + stress_below(&random, 100000), PEN_LIMIT_GCRA);

		STRESS_CHECK(!pen_limit_set(w->limits, &p, NULL), "set");
		w->done++;
		nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
	}
	return NULL;
}

static void open_both(struct pen_store **store, struct pen_limits **limits)
{
	struct pen_failure why = { 0 };

	STRESS_CHECK(!pen_store_open(dir, NULL, store, &why), "%s", why.text);
	STRESS_CHECK(!pen_limit_open(*store, NULL, limits, &why), "%s", why.text);
}

static void process(uint64_t seed)
{
	void *(*const mains[TAKERS + 2])(void *) = { take, take, take, copy, change };
	struct worker workers[TAKERS + 2];
	struct pen_limits *limits;
	struct pen_store *store;
	const char *bad;

	open_both(&store, &limits);
	for (unsigned i = 0; i < TAKERS + 2; i++) {
		workers[i] = (struct worker){ .limits = limits, .seed = stress_mix(seed + i) };
		STRESS_CHECK(!pthread_create(&workers[i].thread, NULL, mains[i], &workers[i]),
			     "pthread_create");
	}
	for (unsigned i = 0; i < TAKERS + 2; i++) {
		(void)pthread_join(workers[i].thread, NULL);
		STRESS_CHECK(workers[i].done, "thread %u never got through", i);
	}
	bad = pen_turnstile_check(pen_limit_turnstile(limits));
	STRESS_CHECK(!bad, "%s", bad);
	pen_limit_close(limits);
	pen_store_close(store);
}

static int unlink_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	return remove(path);
}

static void prepare(void)
{
	struct pen_limit_policy p[3] = { policy("window", LIMIT, PEN_LIMIT_SLIDING),
					 policy("spread", 100000, PEN_LIMIT_GCRA),
					 policy("slots", LEASES, PEN_LIMIT_CONCURRENT) };
	struct pen_limits *limits;
	struct pen_store *store;

	open_both(&store, &limits);
	for (int i = 0; i < 3; i++)
		STRESS_CHECK(!pen_limit_set(limits, &p[i], NULL), "set");
	pen_limit_close(limits);
	pen_store_close(store);
}

int main(void)
{
	uint64_t seed = stress_start("turnstile"), most = 0;
	int status;
	pid_t pid;

	(void)snprintf(dir, sizeof(dir), "/tmp/pen-turnstile-XXXXXX");
	STRESS_CHECK(mkdtemp(dir) != NULL, "mkdtemp");
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	STRESS_CHECK(shared != MAP_FAILED, "mmap");
	prepare();
	pid = fork();
	STRESS_CHECK(pid >= 0, "fork");
	process(stress_mix(seed + (pid ? 1 : 2)));
	if (!pid)
		_exit(0);
	STRESS_CHECK(waitpid(pid, &status, 0) == pid && !status, "the other process: %d", status);
	for (unsigned i = 0; i < IDENTITIES; i++) {
		uint64_t passed = atomic_load_explicit(&shared->passed[i], memory_order_relaxed);

		STRESS_CHECK(passed <= LIMIT, "%llu passed, of %u", (unsigned long long)passed, LIMIT);
		most = passed > most ? passed : most;
	}
	(void)nftw(dir, unlink_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
	printf("turnstile: %llu of %u passed at most\n", (unsigned long long)most, LIMIT);
	return 0;
}
