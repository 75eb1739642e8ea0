/* SPDX-License-Identifier: MIT */
/*
 * bench_flag - what it costs to ask a feature flag, and how soon a switch works in another process
 *
 *	bench_flag eval STORE ROUNDS
 *		what an answer costs, by one thread and by two at once: of 1,000 flags, each for half of all users; of
 *		one with two lists of 10,000 names, half of the keys in one. And how long believing a change takes.
 *	bench_flag switch STORE PENSTOCK ROUNDS
 *		a `run` that loads lines, and one of a command an item, each in a process of its own: from the call that
 *		switches their flag off (its commit among it) until the batch rests in the store, and on until it runs
 *
 * STORE is made. ns are of the thread's processor time, wall_ns of the clock. One JSON line each.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "include/penstock.h"

#define FLAGS 1000u
#define KEYS 4096u /* a power of two */
#define NAMES 10000u
#define REPS 5
#define ROUNDS_MAX 10000u

extern char **environ;

static struct pen_store *store;

static double now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail */
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* Of this thread: what others do on the machine counts less. */
static double cpu_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t); /* cannot fail */
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static _Noreturn void die(const char *what, int code)
{
	(void)fprintf(stderr, "bench_flag: %s: %s\n", what, pen_error_text(code));
	exit(1);
}

static void open_store(const char *dir)
{
	struct pen_failure why = { 0 };
	int rc = pen_store_open(dir, NULL, &store, &why);

	if (rc)
		die(why.text, rc);
}

static void set(struct pen_flag_set *change)
{
	struct pen_failure why = { 0 };
	int rc;

	change->size = sizeof *change;
	rc = pen_flag_set(store, change, NULL, &why);
	if (rc)
		die(why.text, rc);
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* ---- answers --------------------------------------------------------------------------------- */

static char names[FLAGS][32], keys[KEYS][32];

struct asker {
	unsigned flags; /* 1: LISTS alone */
	uint64_t rounds;
	double ns, wall_ns; /* an answer */
	uint64_t on;
};

static void *ask(void *arg)
{
	struct asker *a = arg;
	struct pen_flag_verdict v;
	double began = now_ns(), spent = cpu_ns();

	for (uint64_t i = 0; i < a->rounds; i++) {
		pen_flag_eval(store, a->flags == 1 ? "LISTS" : names[i * 7 % a->flags], keys[i % KEYS], false,
			      &v);
		a->on += v.on;
	}
	a->ns = (cpu_ns() - spent) / (double)a->rounds;
	a->wall_ns = (now_ns() - began) / (double)a->rounds;
	return NULL;
}

/* Median of some repetitions; of two threads, the slower one's. */
static void measure(const char *name, unsigned flags, unsigned threads, uint64_t rounds)
{
	double ns[REPS], wall[REPS];
	uint64_t on = 0;

	for (int r = 0; r < REPS; r++) {
		struct asker a[2] = { { .flags = flags, .rounds = rounds },
				      { .flags = flags, .rounds = rounds } };
		pthread_t other;

		if (threads == 2 && pthread_create(&other, NULL, ask, &a[1]) != 0)
			die("a thread", -PEN_MEMORY);
		(void)ask(&a[0]);
		if (threads == 2)
			(void)pthread_join(other, NULL);
		ns[r] = a[0].ns > a[1].ns ? a[0].ns : a[1].ns;
		wall[r] = a[0].wall_ns > a[1].wall_ns ? a[0].wall_ns : a[1].wall_ns;
		on = a[0].on;
	}
	qsort(ns, REPS, sizeof *ns, by_size);
	qsort(wall, REPS, sizeof *wall, by_size);
	printf("{\"bench\":\"%s\",\"threads\":%u,\"ns\":%.1f,\"ns_min\":%.1f,\"ns_max\":%.1f,\"wall_ns\":%.1f,\"on\":%.3f}\n",
	       name, threads, ns[REPS / 2], ns[0], ns[REPS - 1], wall[REPS / 2], (double)on / (double)rounds);
}

static void make_flags(void)
{
	static char text[2][NAMES][16];
	static const char *list[2][NAMES];

	for (unsigned i = 0; i < KEYS; i++)
		(void)snprintf(keys[i], sizeof keys[i], "user:%s%u", i % 2 ? "w" : "u", i);
	for (unsigned i = 0; i < NAMES; i++)
		for (int k = 0; k < 2; k++) {
			(void)snprintf(text[k][i], sizeof text[k][i], "%c%u", "wb"[k], i);
			list[k][i] = text[k][i];
		}
	for (unsigned i = 0; i < FLAGS; i++) {
		(void)snprintf(names[i], sizeof names[i], "SOME_FEATURE_%u", i);
		set(&(struct pen_flag_set){ .name = names[i],
					    .has_enabled = true,
					    .enabled = true,
					    .has_rollout = true,
					    .rollout = PEN_FLAG_WHOLE / 2 });
	}
	set(&(struct pen_flag_set){ .name = "LISTS",
				    .has_enabled = true,
				    .enabled = true,
				    .has_rollout = true,
				    .rollout = PEN_FLAG_WHOLE / 2,
				    .whitelist = { .add = list[0], .add_count = NAMES },
				    .blacklist = { .add = list[1], .add_count = NAMES } });
}

static int eval(const char *dir, uint64_t rounds)
{
	double us[REPS];
	struct pen_flag_verdict v;

	make_flags();
	measure("flag_eval_1000", FLAGS, 1, rounds);
	measure("flag_eval_1000", FLAGS, 2, rounds);
	measure("flag_eval_lists", 1, 1, rounds);
	measure("flag_eval_lists", 1, 2, rounds);
	for (int r = 0; r < REPS; r++) {
		double spent;

		pen_store_close(store);
		open_store(dir);
		spent = cpu_ns();
		pen_flag_eval(store, names[0], keys[0], false, &v); /* the first one makes the table */
		us[r] = (cpu_ns() - spent) / 1e3;
	}
	qsort(us, REPS, sizeof *us, by_size);
	printf("{\"bench\":\"flag_table_1001\",\"us\":%.0f,\"us_min\":%.0f,\"us_max\":%.0f}\n", us[REPS / 2],
	       us[0], us[REPS - 1]);
	return 0;
}

/* ---- the switch ------------------------------------------------------------------------------ */

static void doze(long ns)
{
	(void)nanosleep(&(struct timespec){ .tv_nsec = ns }, NULL);
}

static bool is_in(uint64_t batch, enum pen_state state)
{
	struct pen_batch_info info;

	return !pen_batch_get(store, batch, &info) && info.state == state && info.counted.items;
}

/* ms until the batch is in that state. */
static double until(uint64_t batch, enum pen_state state)
{
	double began = now_ns();

	while (!is_in(batch, state)) {
		if (now_ns() - began > 60e9)
			die("the batch never changes its state", -PEN_NOT_FOUND);
		doze(200000);
	}
	return (now_ns() - began) / 1e6;
}

static double flip(uint64_t batch, bool on)
{
	double began = now_ns();

	set(&(struct pen_flag_set){ .name = PEN_FLAG_BATCHES,
				    .has_enabled = true,
				    .enabled = on,
				    .has_rollout = true,
				    .rollout = PEN_FLAG_WHOLE });
	(void)until(batch, on ? PEN_RUNNING : PEN_PAUSED);
	return (now_ns() - began) / 1e6;
}

static void tell(const char *name, const char *way, double *ms, unsigned n)
{
	qsort(ms, n, sizeof *ms, by_size);
	printf("{\"bench\":\"%s\",\"way\":\"%s\",\"n\":%u,\"ms\":%.1f,\"ms_p99\":%.1f,\"ms_max\":%.1f}\n",
	       name, way, n, ms[n / 2], ms[n * 99 / 100], ms[n - 1]);
}

static void switch_a(const char *way, char *const *argv, unsigned rounds)
{
	static double off[ROUNDS_MAX], on[ROUNDS_MAX];
	uint64_t last = pen_batch_before(store, UINT64_MAX), batch;
	pid_t pid;

	set(&(struct pen_flag_set){ .name = PEN_FLAG_BATCHES,
				    .has_enabled = true,
				    .enabled = true,
				    .has_rollout = true,
				    .rollout = PEN_FLAG_WHOLE });
	if (posix_spawn(&pid, argv[0], NULL, NULL, argv, environ) != 0)
		die(argv[0], -errno);
	while ((batch = pen_batch_before(store, UINT64_MAX)) == last)
		doze(1000000);
	(void)until(batch, PEN_RUNNING);
	for (unsigned i = 0; i < rounds; i++) {
		off[i] = flip(batch, false);
		doze(30000000); /* so that it is not always the same moment of its looks */
		on[i] = flip(batch, true);
		doze(20000000 + (long)i * 7919 % 100000 * 1000);
	}
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
	tell("flag_switch_off", way, off, rounds);
	tell("flag_switch_on", way, on, rounds);
}

static int switches(const char *dir, const char *penstock, unsigned rounds)
{
	char path[4096];
	FILE *f;

	(void)snprintf(path, sizeof path, "%s.lines", dir);
	f = fopen(path, "w");
	if (!f)
		die(path, -errno);
	for (unsigned i = 0; i < 4000000; i++)
		(void)fprintf(f, "%u a line to load\n", i);
	if (fclose(f))
		die(path, -errno);
	switch_a("load",
		 (char *const[]){ (char *)(uintptr_t)penstock, "--store", (char *)(uintptr_t)dir, "run", path,
				  "--format", "lines", "--chunk", "100", "--pause-ms", "1", "--progress",
				  "none", "-q", NULL },
		 rounds);
	switch_a("job",
		 (char *const[]){ (char *)(uintptr_t)penstock, "--store", (char *)(uintptr_t)dir, "run", path,
				  "--format", "lines", "--processor", "exec:sleep 0.01; cat", "--into",
				  "jobs", "--progress", "none", "-q", NULL },
		 rounds);
	(void)unlink(path);
	return 0;
}

int main(int argc, char **argv)
{
	uint64_t n = argc > 3 ? strtoull(argv[argc - 1], NULL, 10) : 0;
	int rc;

	if (argc < 4 || !n) {
		(void)fprintf(stderr, "usage: bench_flag eval STORE ROUNDS | switch STORE PENSTOCK ROUNDS\n");
		return 2;
	}
	open_store(argv[2]);
	rc = strcmp(argv[1], "eval") == 0
		     ? eval(argv[2], n)
		     : switches(argv[2], argv[3], (unsigned)(n < ROUNDS_MAX ? n : ROUNDS_MAX));
	pen_store_close(store);
	return rc;
}
