/* SPDX-License-Identifier: MIT */
/*
 * bench_limit - what one decision about a rate limit costs
 *
 *	bench_limit STORE [CHECKS [IDENTITIES]]      default 1000000 1000000
 *
 * Each is a pen_limit_check of a policy that lets all pass, timed by itself: of one identity in one process; of three
 * policies at once; of one identity from two processes at a time, which fight for its lock; of many identities in
 * random order, each of which has its place in the table by then; and of random ones from two processes. One JSON line
 * a measurement, nanoseconds. The clock's own cost is in them, and given.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "include/penstock.h"

static uint32_t checks, identities;
static const char *dir;
static _Atomic uint32_t *gate;

static void fail(const char *what)
{
	fprintf(stderr, "bench_limit: %s\n", what);
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static uint64_t mix(uint64_t v)
{
	v += 0x9e3779b97f4a7c15ull;
	v = (v ^ v >> 30) * 0xbf58476d1ce4e5b9ull;
	v = (v ^ v >> 27) * 0x94d049bb133111ebull;
	return v ^ v >> 31;
}

static int by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static struct pen_limits *open_limits(struct pen_store **store)
{
	struct pen_failure why = { 0 };
	struct pen_limits *limits;

	if (pen_store_open(dir, NULL, store, &why) || pen_limit_open(*store, NULL, &limits, &why))
		fail(why.text);
	return limits;
}

static void set(struct pen_limits *limits, const char *name, enum pen_limit_algorithm algorithm)
{
	/* Large enough to let all pass. */
	struct pen_limit_policy p = { .size = sizeof(p),
				      .window_ns = 3600000000000,
				      .limit = 1000000000000,
				      .burst = UINT64_MAX,
				      .algorithm = algorithm };

	(void)snprintf(p.name, sizeof(p.name), "%s", name);
	if (pen_limit_set(limits, &p, NULL))
		fail("pen_limit_set");
}

struct work {
	uint32_t policies, spread; /* spread: over so many identities, at random; 1: one */
	uint64_t seed;
};

static void measure(struct pen_limits *limits, const struct work *w, uint32_t *ns)
{
	static const struct pen_limit_ask asks[3] = { { "sliding", 1 }, { "gcra", 1 }, { "fixed", 1 } };
	struct pen_limit_result results[3];

	for (uint32_t i = 0; i < checks; i++) {
		char who[32];
		uint64_t from, to;

		(void)snprintf(who, sizeof(who), "user:%u", (uint32_t)(mix(w->seed + i) % w->spread));
		from = now_ns();
		if (pen_limit_check(limits, who, asks, w->policies, results, NULL))
			fail("a check was refused");
		to = now_ns();
		ns[i] = to - from < UINT32_MAX ? (uint32_t)(to - from) : UINT32_MAX;
	}
}

static void report(const char *name, uint32_t *ns, uint32_t n, uint32_t processes)
{
	double sum = 0;

	for (uint32_t i = 0; i < n; i++)
		sum += ns[i];
	qsort(ns, n, sizeof(*ns), by_size);
	printf("{\"bench\":\"limit_%s\",\"p50_ns\":%u,\"p99_ns\":%u,\"p999_ns\":%u,\"mean_ns\":%.0f,\"checks\":%u,"
	       "\"processes\":%u}\n",
	       name, ns[n / 2], ns[n - n / 100 - 1], ns[n - n / 1000 - 1], sum / n, n, processes);
	fflush(stdout);
}

/* The same in two processes that begin at once; what each measured is one list. */
static void measure_two(const char *name, const struct work *w)
{
	uint32_t *ns = mmap(NULL, 2 * sizeof(*ns) * checks, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pids[2];

	if (ns == MAP_FAILED)
		fail("mmap");
	atomic_store_explicit(gate, 0, memory_order_relaxed);
	for (uint32_t p = 0; p < 2; p++) {
		pids[p] = fork();
		if (!pids[p]) {
			struct work mine = { w->policies, w->spread, w->seed + p * 1000003ull };
			struct pen_store *store;
			struct pen_limits *limits = open_limits(&store);

			(void)atomic_fetch_add_explicit(gate, 1, memory_order_relaxed); /* both spin on it */
			while (atomic_load_explicit(gate, memory_order_relaxed) < 2)
				;
			measure(limits, &mine, ns + (size_t)p * checks);
			_exit(0);
		}
	}
	for (int p = 0; p < 2; p++) {
		int status;

		if (waitpid(pids[p], &status, 0) != pids[p] || status)
			fail("a process failed");
	}
	report(name, ns, 2 * checks, 2);
	(void)munmap(ns, 2 * sizeof(*ns) * checks);
}

static void measure_one(const char *name, const struct work *w)
{
	uint32_t *ns = malloc(sizeof(*ns) * checks);
	struct pen_store *store;
	struct pen_limits *limits = open_limits(&store);

	if (!ns)
		fail("no memory");
	measure(limits, w, ns);
	report(name, ns, checks, 1);
	free(ns);
	pen_limit_close(limits);
	pen_store_close(store);
}

/* Every identity has been there, so that what is measured is a full table. */
static void fill(void)
{
	const struct pen_limit_ask ask = { "sliding", 1 };
	struct pen_limit_result result;
	struct pen_store *store;
	struct pen_limits *limits = open_limits(&store);
	uint64_t from = now_ns();

	for (uint32_t i = 0; i < identities; i++) {
		char who[32];

		(void)snprintf(who, sizeof(who), "user:%u", i);
		if (pen_limit_check(limits, who, &ask, 1, &result, NULL))
			fail("a check was refused");
	}
	printf("{\"bench\":\"limit_new_identity\",\"mean_ns\":%.0f,\"identities\":%u}\n",
	       (double)(now_ns() - from) / identities, identities);
	from = now_ns();
	pen_limit_close(limits); /* copies all of them */
	printf("{\"bench\":\"limit_copy_all\",\"ms\":%.0f,\"identities\":%u}\n",
	       (double)(now_ns() - from) / 1e6, identities);
	pen_store_close(store);
}

int main(int argc, char **argv)
{
	struct pen_store *store;
	struct pen_limits *limits;
	uint64_t from, clock_ns;

	dir = argc > 1 ? argv[1] : NULL;
	checks = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 1000000;
	identities = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 1000000;
	if (!dir || !checks || !identities)
		fail("usage: bench_limit STORE [CHECKS [IDENTITIES]]");
	gate = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (gate == MAP_FAILED)
		fail("mmap");
	limits = open_limits(&store);
	set(limits, "sliding", PEN_LIMIT_SLIDING);
	set(limits, "gcra", PEN_LIMIT_GCRA);
	set(limits, "fixed", PEN_LIMIT_FIXED);
	pen_limit_close(limits);
	pen_store_close(store);
	from = now_ns();
	for (int i = 0; i < 100000; i++)
		(void)now_ns();
	clock_ns = (now_ns() - from) / 100000;
	printf("{\"bench\":\"limit_clock\",\"mean_ns\":%llu}\n", (unsigned long long)clock_ns);
	measure_one("one", &(struct work){ 1, 1, 1 });
	measure_one("three_policies", &(struct work){ 3, 1, 1 });
	measure_two("one_shared", &(struct work){ 1, 1, 1 });
	fill();
	measure_one("many", &(struct work){ 1, identities, 1 });
	measure_two("many_shared", &(struct work){ 1, identities, 1 });
	return 0;
}
