/* SPDX-License-Identifier: MIT */
/*
 * stress/flag - one flag that is changed all the time, another that another process changes, and threads that ask
 *
 * The flag is on for everybody in even versions and off in odd ones. Then:
 *   - an answer is that of one version, never of two
 *   - no thread sees an older version after a newer one
 *   - what was changed before a thread asked is believed, in the process that changed it
 *   - the first answers, when nothing was read yet, are answers
 */
#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>

#include "include/penstock.h"
#include "tests/lib/stress.h"

#define ASKERS 3

static struct pen_store *store;
static char dir[64];
static _Atomic uint64_t written; /* the newest version whose set has returned */
static _Atomic bool over;

static void open_store(void)
{
	struct pen_failure why = { 0 };
	int rc = pen_store_open(dir, NULL, &store, &why);

	STRESS_CHECK(!rc, "%d %s", rc, why.text);
}

static uint64_t set(const char *name, uint32_t rollout)
{
	struct pen_flag_set change = { .size = sizeof(change),
				       .name = name,
				       .has_enabled = true,
				       .enabled = true,
				       .has_rollout = true,
				       .rollout = rollout };
	struct pen_failure why = { 0 };
	uint64_t version = 0;
	int rc = pen_flag_set(store, &change, &version, &why);

	STRESS_CHECK(!rc, "%d %s", rc, why.text);
	return version;
}

static void *asker(void *arg)
{
	uint64_t last = 0, asked = 0;

	(void)arg;
	while (!atomic_load_explicit(&over, memory_order_relaxed)) {
		uint64_t least = atomic_load_explicit(&written, memory_order_acquire);
		struct pen_flag_verdict v;

		pen_flag_eval(store, "FLAG", "user:ann", false, &v);
		STRESS_CHECK(!v.error && v.reason == PEN_FLAG_STATIC, "%s", "an error");
		STRESS_CHECK(v.on == (v.version % 2 == 0), "version %llu", (unsigned long long)v.version);
		STRESS_CHECK(v.version >= least && v.version >= last, "version %llu after %llu, %llu",
			     (unsigned long long)v.version, (unsigned long long)least,
			     (unsigned long long)last);
		last = v.version;
		asked++;
	}
	STRESS_CHECK(asked, "%s", "nothing was asked");
	return NULL;
}

/* The other process: its flag makes tables old. */
static void others(void)
{
	open_store();
	for (uint32_t n = 1; stress_time_left(); n = n % 1000 + 1)
		(void)set("OTHER", n);
	pen_store_close(store);
	_exit(0);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	return remove(path);
}

int main(void)
{
	pthread_t threads[ASKERS];
	uint64_t version;
	int status;
	pid_t pid;

	(void)stress_start("flag");
	(void)snprintf(dir, sizeof(dir), "/tmp/pen-flag-XXXXXX");
	STRESS_CHECK(mkdtemp(dir), "mkdtemp");
	pid = fork(); /* before anything is open */
	STRESS_CHECK(pid >= 0, "fork");
	if (!pid)
		others();
	open_store();
	version = set("FLAG", 0);
	pen_store_close(store);
	open_store(); /* nothing is known again */
	atomic_store_explicit(&written, version, memory_order_relaxed);
	for (int i = 0; i < ASKERS; i++)
		STRESS_CHECK(!pthread_create(&threads[i], NULL, asker, NULL), "thread");
	while (stress_time_left()) {
		version = set("FLAG", version % 2 ? PEN_FLAG_WHOLE : 0);
		atomic_store_explicit(&written, version, memory_order_release);
	}
	atomic_store_explicit(&over, true, memory_order_relaxed);
	for (int i = 0; i < ASKERS; i++)
		(void)pthread_join(threads[i], NULL);
	STRESS_CHECK(version > 2, "%s", "nothing was changed");
	pen_store_close(store);
	STRESS_CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && !WEXITSTATUS(status),
		     "the other process");
	(void)nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return 0;
}
