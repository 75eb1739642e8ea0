/* SPDX-License-Identifier: MIT */
/*
 * stress/turn - one store, two processes, many threads
 *
 * Writers in two processes put the same value under two keys in one transaction, into a few datasets, stand aside when
 * they are wanted, and now and then drop a dataset or abort. Readers open cursors all the time (so handles
 * are opened, shared, closed under them) and must find both keys with one value, or neither. Then:
 *   - every writer got in: nobody starved
 *   - nobody is left waiting in the turn
 */
#include <errno.h>
#include <ftw.h>
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>

#include "store/dataset.h"
#include "store/store_private.h"
#include "store/turn.h"
#include "tests/lib/stress.h"

#define DATASETS 6
#define WRITERS 2
#define READERS 3
#define LEAST 3 /* transactions a writer must have got in the time, however slow the machine */

static struct pen_store *store;
static char dir[64];
static uint64_t seed;

struct worker {
	pthread_t thread;
	uint64_t seed, done;
};

static void name_of(uint64_t i, char name[8])
{
	(void)snprintf(name, 8, "d%d", (int)(i % DATASETS));
}

static void write_pair(struct stress_random *random, const char *name)
{
	uint64_t value = stress_mix(random->state);
	struct pen_failure why = { 0 };
	struct pen_dataset *ds;
	struct pen_txn *txn;
	enum pen_put put;
	int rc;

	rc = pen_txn_begin(store, (enum pen_durability)stress_below(random, 3), &txn, NULL, &why);
	STRESS_CHECK(!rc, "%d %s", rc, why.text);
	rc = pen_dataset_use(txn, name, PEN_KEY_GIVEN, &ds, &why);
	if (rc == -EBUSY) { /* dropped by the other process under a cursor of this one */
		pen_txn_abort(txn);
		return;
	}
	STRESS_CHECK(!rc, "%d %s", rc, why.text);
	rc = pen_dataset_put(ds, "a", 1, &value, sizeof(value), false, PEN_DUP_REPLACE, &put);
	STRESS_CHECK(!rc, "%d", rc);
	stress_pause(random);
	rc = pen_dataset_put(ds, "b", 1, &value, sizeof(value), false, PEN_DUP_REPLACE, &put);
	STRESS_CHECK(!rc, "%d", rc);
	if (!stress_below(random, 8)) {
		pen_txn_abort(txn);
		return;
	}
	STRESS_CHECK(!pen_dataset_save(ds), "save");
	rc = pen_txn_commit(txn, &why);
	STRESS_CHECK(!rc, "%d %s", rc, why.text);
}

static void *writer(void *arg)
{
	struct worker *w = arg;
	struct stress_random random = stress_random(w->seed);
	char name[8];

	while (stress_time_left()) {
		name_of(stress_below(&random, DATASETS), name);
		if (!stress_below(&random, 16)) {
			int rc = pen_dataset_drop(store, name, NULL);

			STRESS_CHECK(!rc || rc == -PEN_NO_DATASET || rc == -EBUSY, "drop: %d", rc);
		} else {
			write_pair(&random, name);
		}
		w->done++;
		if (pen_turn_wanted(store))
			pen_turn_yield(store, 100 * PEN_NS_PER_MS);
	}
	return NULL;
}

static void *reader(void *arg)
{
	struct worker *w = arg;
	struct stress_random random = stress_random(w->seed);
	char name[8];

	while (stress_time_left()) {
		MDB_val a = { 1, "a" }, b = { 1, "b" }, va, vb;
		struct pen_cursor *cur;
		int rc;

		name_of(stress_below(&random, DATASETS), name);
		rc = pen_cursor_make(store, PEN_CURSOR_SCAN, name, 0, &cur);
		if (rc == -PEN_NO_DATASET)
			continue;
		STRESS_CHECK(!rc, "cursor: %d", rc);
		rc = mdb_cursor_get(cur->mdb, &a, &va, MDB_SET_KEY);
		STRESS_CHECK(!rc, "first: %s", mdb_strerror(rc));
		stress_pause(&random);
		rc = mdb_cursor_get(cur->mdb, &b, &vb, MDB_SET_KEY);
		STRESS_CHECK(!rc, "second: %s", mdb_strerror(rc));
		STRESS_CHECK(va.mv_size == 8 && vb.mv_size == 8 && !memcmp(va.mv_data, vb.mv_data, 8),
			     "torn in %s", name);
		pen_cursor_close(cur);
		w->done++;
	}
	return NULL;
}

/* One process's share: its own store, threads, and the check that all of them got somewhere. */
static void run(uint64_t mine)
{
	/* The race checker keeps a shadow of every map: a terabyte would take it minutes. */
	struct pen_store_options opt = { .size = sizeof(opt), .create = true, .map_bytes = 64 << 20 };
	struct worker w[WRITERS + READERS] = { 0 };
	struct pen_failure why = { 0 };
	int i, rc;

	rc = pen_store_open(dir, &opt, &store, &why);
	STRESS_CHECK(!rc, "%d %s", rc, why.text);
	for (i = 0; i < WRITERS + READERS; i++) {
		w[i].seed = stress_mix(mine + (uint64_t)i);
		STRESS_CHECK(!pthread_create(&w[i].thread, NULL, i < WRITERS ? writer : reader, &w[i]),
			     "thread");
	}
	for (i = 0; i < WRITERS + READERS; i++)
		STRESS_CHECK(!pthread_join(w[i].thread, NULL), "join");
	for (i = 0; i < WRITERS; i++)
		STRESS_CHECK(w[i].done >= LEAST, "writer %d got %d transactions", i, (int)w[i].done);
	pen_store_close(store);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	return remove(path);
}

int main(void)
{
	struct pen_failure why = { 0 };
	int status, rc;
	pid_t pid;

	seed = stress_start("turn");
	(void)snprintf(dir, sizeof(dir), "/tmp/pen-turn-XXXXXX");
	STRESS_CHECK(mkdtemp(dir), "mkdtemp");
	pid = fork(); /* before anything is open */
	STRESS_CHECK(pid >= 0, "fork");
	run(stress_mix(seed) + (pid ? 0 : 1000));
	if (!pid)
		_exit(0);
	STRESS_CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && !WEXITSTATUS(status),
		     "the other process");
	rc = pen_store_open(dir, NULL, &store, &why);
	STRESS_CHECK(!rc, "%d %s", rc, why.text);
	STRESS_CHECK(!pen_turn_wanted(store), "somebody is left waiting");
	pen_store_close(store);
	(void)nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return 0;
}
