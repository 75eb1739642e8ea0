/* SPDX-License-Identifier: MIT */
#include "store/txn.h"

#include <errno.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include "ring/base.h"
#include "store/turn.h"
#include "tests/store/scratch.h"

/* One timeout for all suites of a program: Criterion leaks when they differ. */
TestSuite(txn, .init = scratch_make, .fini = scratch_remove, .timeout = 600);

static uint64_t entries(struct pen_store *store, const char *dataset)
{
	struct pen_dataset_info info = { 0 };

	return pen_dataset_get(store, dataset, &info) ? 0 : info.entries;
}

Test(txn, aborted_leaves_no_trace_and_committed_stays)
{
	struct pen_store *store = scratch_store("s");
	struct pen_dataset *ds;
	struct pen_dataset_info info;
	struct pen_txn *txn;
	enum pen_put put;

	txn = scratch_begin(store);
	cr_assert_eq(pen_dataset_use(txn, "d", PEN_KEY_GIVEN, &ds, NULL), 0);
	cr_assert_eq(pen_dataset_put(ds, "k", 1, "v", 1, false, PEN_DUP_REPLACE, &put), 0);
	cr_assert_eq(pen_dataset_save(ds), 0);
	pen_txn_abort(txn);
	cr_expect_eq(pen_dataset_get(store, "d", &info), -PEN_NO_DATASET);
	/* The handle went with the transaction: the same name works again. */
	cr_expect_eq(scratch_put(store, "d", "k", "v"), 0);
	pen_store_close(store);
	store = scratch_store("s");
	cr_expect_eq(entries(store, "d"), 1);
	pen_store_close(store);
}

Test(txn, level_sets_the_flag_and_the_stricter_one_wins)
{
	struct pen_store *store = scratch_store("s");
	static const struct {
		enum pen_durability asked, other;
		bool nometasync;
	} cases[] = {
		{ PEN_DURABLE_COMMIT, PEN_DURABLE_RELAXED, false },
		{ PEN_DURABLE_GROUP, PEN_DURABLE_RELAXED, true },
		{ PEN_DURABLE_RELAXED, PEN_DURABLE_RELAXED, true },
		{ PEN_DURABLE_RELAXED, PEN_DURABLE_COMMIT, false },
		{ PEN_DURABLE_RELAXED, PEN_DURABLE_GROUP, true },
	};
	size_t i;

	for (i = 0; i < PEN_COUNT(cases); i++) {
		uint32_t ticket = pen_turn_level_enter(store, cases[i].other);
		struct pen_txn *txn;
		unsigned flags;

		cr_assert_eq(pen_txn_begin(store, cases[i].asked, &txn, NULL, NULL), 0);
		cr_assert_eq(mdb_env_get_flags(store->env, &flags), 0);
		cr_expect_eq(!!(flags & MDB_NOMETASYNC), cases[i].nometasync, "case %zu", i);
		cr_expect_eq(flags & (MDB_NOSYNC | MDB_WRITEMAP | MDB_MAPASYNC | MDB_NOLOCK), 0);
		cr_assert_eq(pen_txn_commit(txn, NULL), 0);
		pen_turn_level_leave(store, ticket);
	}
	cr_expect_eq(pen_store_sync(store), 0);
	pen_store_close(store);
}

Test(txn, full_map_aborts_and_loses_nothing)
{
	struct pen_store *store = NULL;
	static char big[100000];
	char key[16];
	int i, rc = 0;

	memset(big, 'v', sizeof(big) - 1);
	cr_assert_eq(scratch_open_with("s", true, false, 1 << 20, &store), 0);
	for (i = 0; i < 100 && !rc; i++) {
		(void)snprintf(key, sizeof(key), "k%02d", i);
		rc = scratch_put(store, "d", key, big);
	}
	cr_expect_eq(rc, -PEN_MAP_FULL);
	cr_expect_eq(entries(store, "d"), (uint64_t)i - 1);
	cr_expect_gt(i, 4);
	cr_expect_eq(scratch_put(store, "d", "k00", "small"), 0, "there is room for small things");
	pen_store_close(store);
}

static int die_reading(void)
{
	struct pen_store *store;
	MDB_txn *txn;

	if (scratch_open_with("s", false, false, 1 << 20, &store) || pen_read_begin(store, &txn))
		return 1;
	(void)raise(SIGKILL);
	return 2;
}

Test(txn, dead_reader_does_not_fill_the_map)
{
	struct pen_store *store = NULL;
	static char value[3000];
	int i, rc = 0, full = 0;
	pid_t pid;

	memset(value, 'v', sizeof(value) - 1);
	cr_assert_eq(scratch_open_with("s", true, false, 1 << 20, &store), 0);
	cr_assert_eq(scratch_put(store, "d", "k", value), 0);
	pid = fork();
	if (!pid)
		_exit(die_reading());
	cr_assert_eq(scratch_wait(pid), 128 + SIGKILL);
	for (i = 0; i < 2000 && !rc; i++) {
		rc = scratch_put(store, "d", "k", value);
		if (rc == -PEN_MAP_FULL && !full++)
			rc = 0; /* swept by then: once more */
	}
	cr_expect_eq(rc, 0, "after %d", i);
	cr_expect_leq(full, 1);
	pen_store_close(store);
}

Test(txn, killed_writer_lets_the_next_one_in)
{
	struct pen_store *store = scratch_store("s");
	struct pen_txn *txn;
	struct pen_dataset *ds;
	enum pen_put put;
	pid_t pid;

	cr_assert_eq(scratch_put(store, "d", "a", "1"), 0);
	pid = fork();
	if (!pid) {
		struct pen_store *theirs = NULL;

		if (scratch_open_with("s", false, false, 0, &theirs) ||
		    pen_txn_begin(theirs, PEN_DURABLE_COMMIT, &txn, NULL, NULL) ||
		    pen_dataset_use(txn, "d", PEN_KEY_GIVEN, &ds, NULL) ||
		    pen_dataset_put(ds, "b", 1, "2", 1, false, PEN_DUP_REPLACE, &put))
			_exit(1);
		(void)raise(SIGKILL);
	}
	cr_assert_eq(scratch_wait(pid), 128 + SIGKILL);
	cr_expect_eq(scratch_put(store, "d", "c", "3"), 0);
	cr_expect_eq(entries(store, "d"), 2);
	pen_store_close(store);
}

Test(txn, meta_row_follows_the_transaction)
{
	struct pen_store *store = scratch_store("s");
	struct pen_txn *txn = scratch_begin(store);
	uint64_t before = txn->meta.last_event, wait = UINT64_MAX;

	txn->meta.last_event += 3;
	txn->meta_changed = true;
	pen_txn_abort(txn);
	txn = scratch_begin(store);
	cr_expect_eq(txn->meta.last_event, before);
	txn->meta.last_event += 3;
	txn->meta_changed = true;
	cr_assert_eq(pen_txn_commit(txn, NULL), 0);
	cr_assert_eq(pen_txn_begin(store, PEN_DURABLE_COMMIT, &txn, &wait, NULL), 0);
	cr_expect_eq(txn->meta.last_event, before + 3);
	cr_expect_neq(wait, UINT64_MAX);
	cr_expect_eq(pen_txn_store(txn), store);
	pen_txn_abort(txn);
	pen_store_close(store);
}

/* ---- disks ----------------------------------------------------------------------------------- */

static int fill_disk(void)
{
	struct pen_store *store = NULL;
	static char big[30000];
	char key[16];
	int i, rc = 0, fd;

	memset(big, 'v', sizeof(big) - 1);
	if (scratch_open_with("mnt/s", true, false, 0, &store))
		return 1;
	fd = open(scratch_path("mnt/ballast"), O_RDWR | O_CREAT, 0600);
	if (fd < 0 || posix_fallocate(fd, 0, 1 << 20))
		return 2;
	for (i = 0; i < 1000 && !rc; i++) {
		(void)snprintf(key, sizeof(key), "k%03d", i);
		rc = scratch_put(store, "d", key, big);
	}
	if (rc != -PEN_DISK_FULL)
		return 3;
	if (entries(store, "d") != (uint64_t)i - 1)
		return 4;
	if (ftruncate(fd, 0))
		return 5;
	/* There is space again: the same record goes in, and the process may still write. */
	if (scratch_put(store, "d", key, big) || entries(store, "d") != (uint64_t)i)
		return 6;
	pen_store_close(store);
	return scratch_open_with("mnt/s", false, false, 0, &store) ? 7 : 0;
}

Test(txn, full_disk_aborts_and_goes_on_when_there_is_space)
{
	int status;
	pid_t pid;

	cr_assert_eq(mkdir(scratch_path("mnt"), 0755), 0);
	pid = fork();
	if (!pid) {
		if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
		    mount("tmpfs", scratch_path("mnt"), "tmpfs", 0, "size=2m"))
			_exit(77);
		_exit(fill_disk());
	}
	status = scratch_wait(pid);
	if (status == 77)
		cr_skip_test("needs the right to mount");
	cr_expect_eq(status, 0, "step %d", status);
}

static int outgrow_file_limit(void)
{
	struct rlimit lim = { .rlim_cur = 200000, .rlim_max = 200000 };
	struct pen_store *store = NULL;
	static char big[100000];
	int i, rc = 0;
	char key[16];

	memset(big, 'v', sizeof(big) - 1);
	(void)signal(SIGXFSZ, SIG_IGN);
	if (scratch_open_with("s", true, false, 0, &store) || setrlimit(RLIMIT_FSIZE, &lim))
		return 1;
	for (i = 0; i < 10 && !rc; i++) {
		(void)snprintf(key, sizeof(key), "k%d", i);
		rc = scratch_put(store, "d", key, big);
	}
	/* A write that fails for a reason nobody understands: the process is done writing, in every way. */
	if (rc != -PEN_DISK_FAILED || scratch_put(store, "d", "a", "b") != -PEN_DISK_FAILED)
		return 2;
	if (pen_store_sync(store) != -PEN_DISK_FAILED)
		return 3;
	if (entries(store, "d") != (uint64_t)i - 1)
		return 4;
	pen_store_close(store);
	lim.rlim_cur = lim.rlim_max;
	return scratch_open_with("s", false, false, 0, &store) || scratch_put(store, "d", "a", "b") ? 5 : 0;
}

Test(txn, failed_disk_is_failed_until_the_store_is_reopened)
{
	pid_t pid = fork();
	int status;

	if (!pid)
		_exit(outgrow_file_limit());
	status = scratch_wait(pid);
	cr_expect_eq(status, 0, "step %d", status);
}
