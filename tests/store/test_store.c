/* SPDX-License-Identifier: MIT */
#include "tests/store/scratch.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/vfs.h>

#include "ring/base.h"

/* One timeout for all suites of a program: Criterion leaks when they differ. */
TestSuite(store, .init = scratch_make, .fini = scratch_remove, .timeout = 600);

static mode_t mode_of(const char *name)
{
	struct stat st;

	cr_assert_eq(stat(scratch_path(name), &st), 0, "%s", name);
	return st.st_mode & 07777;
}

static bool exists(const char *name)
{
	return !access(scratch_path(name), F_OK);
}

/* Files in the scratch directory whose names hold ".new-". */
static int leftovers(void)
{
	char command[160], text[16] = "";
	FILE *f;

	(void)snprintf(command, sizeof(command), "find %s -name '*.new-*' | wc -l", scratch);
	f = popen(command, "r");
	cr_assert(f && fgets(text, sizeof(text), f));
	(void)pclose(f);
	return (int)strtol(text, NULL, 10);
}

Test(store, created_under_any_umask_has_private_modes)
{
	mode_t umasks[] = { 0, 022, 0777 };
	char name[16];
	size_t i;

	for (i = 0; i < PEN_COUNT(umasks); i++) {
		mode_t old = umask(umasks[i]);
		struct pen_store *store;

		(void)snprintf(name, sizeof(name), "s%zu", i);
		store = scratch_store(name);
		umask(old);
		cr_expect_eq(mode_of(name), 0700);
		(void)snprintf(name, sizeof(name), "s%zu/run", i);
		cr_expect_eq(mode_of(name), 0700);
		(void)snprintf(name, sizeof(name), "s%zu/data.mdb", i);
		cr_expect_eq(mode_of(name), 0600);
		(void)snprintf(name, sizeof(name), "s%zu/lock.mdb", i);
		cr_expect_eq(mode_of(name), 0600);
		(void)snprintf(name, sizeof(name), "s%zu/run/turn", i);
		cr_expect_eq(mode_of(name), 0600);
		pen_store_close(store);
	}
	cr_expect_eq(leftovers(), 0);
}

Test(store, flags_are_the_safe_ones_and_descriptors_close_on_exec)
{
	struct pen_store *store = scratch_store("s");
	unsigned flags;
	char path[64], target[256];
	int fd, open_ones = 0;

	cr_assert_eq(mdb_env_get_flags(store->env, &flags), 0);
	cr_expect_eq(flags & (MDB_NOSYNC | MDB_WRITEMAP | MDB_MAPASYNC | MDB_NOLOCK | MDB_NOMETASYNC), 0);
	for (fd = 0; fd < 64; fd++) {
		ssize_t n;

		(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		n = readlink(path, target, sizeof(target) - 1);
		if (n <= 0)
			continue;
		target[n] = 0;
		if (strncmp(target, scratch, strlen(scratch)))
			continue;
		open_ones++;
		cr_expect(fcntl(fd, F_GETFD) & FD_CLOEXEC, "%s", target);
	}
	cr_expect_geq(open_ones, 5);
	pen_store_close(store);
}

Test(store, reopened_keeps_its_id_and_tells_its_facts)
{
	struct pen_store *store = scratch_store("s");
	uint64_t id = pen_store_id(store);
	struct pen_store_info info;

	cr_assert_neq(id, 0);
	pen_store_close(store);
	store = scratch_store("s");
	cr_expect_eq(pen_store_id(store), id);
	cr_assert_eq(pen_store_info(store, &info), 0);
	cr_expect_eq(info.format, PEN_FORMAT_VERSION);
	cr_expect_eq(info.store_id, id);
	cr_expect_eq(info.readers_max, 1024);
	cr_expect_eq(info.readers, 0);
	cr_expect_eq(info.map_bytes, 1ull << 40);
	cr_expect_eq(info.batches, 0);
	cr_expect_gt(info.used_bytes, 0);
	cr_expect_gt(info.free_disk_bytes, 0);
	cr_expect_eq(info.durability, PEN_DURABLE_COMMIT);
	pen_store_close(store);
}

Test(store, missing_and_empty_without_create_is_missing)
{
	struct pen_store *store = NULL;

	cr_expect_eq(scratch_open_with("none", false, false, 0, &store), -PEN_STORE_MISSING);
	cr_expect_eq(scratch_open_with("none", true, true, 0, &store), -PEN_STORE_MISSING);
	cr_assert_eq(mkdir(scratch_path("empty"), 0755), 0);
	cr_expect_eq(scratch_open_with("empty", false, false, 0, &store), -PEN_STORE_MISSING);
	cr_expect_null(store);
	cr_expect_not(exists("none"));
	/* Created over an empty directory, and through a symbolic link to one. */
	cr_assert_eq(symlink("empty", scratch_path("link")), 0);
	cr_assert_eq(scratch_open_with("link", true, false, 0, &store), 0);
	pen_store_close(store);
	cr_expect(exists("empty/data.mdb"));
	cr_expect_eq(mode_of("empty"), 0700);
}

static void touch(const char *name, const char *text)
{
	FILE *f = fopen(scratch_path(name), "w");

	cr_assert(f);
	cr_assert_geq(fputs(text, f), 0);
	(void)fclose(f);
}

Test(store, foreign_places_are_refused_and_left_alone)
{
	struct pen_store *store = NULL;
	MDB_env *env;

	cr_assert_eq(mkdir(scratch_path("other"), 0755), 0);
	touch("other/notes.txt", "mine");
	cr_expect_eq(scratch_open_with("other", true, false, 0, &store), -PEN_STORE_FOREIGN);
	cr_expect_not(exists("other/data.mdb"));
	cr_expect_not(exists("other/run"));
	cr_assert_eq(mkdir(scratch_path("logs-only"), 0755), 0);
	cr_assert_eq(mkdir(scratch_path("logs-only/logs"), 0755), 0);
	cr_expect_eq(scratch_open_with("logs-only", true, false, 0, &store), -PEN_STORE_FOREIGN);
	touch("file", "x");
	cr_expect_eq(scratch_open_with("file", true, false, 0, &store), -PEN_STORE_FOREIGN);
	/* An LMDB environment of another program. */
	cr_assert_eq(mkdir(scratch_path("plain"), 0755), 0);
	cr_assert_eq(mdb_env_create(&env), 0);
	cr_assert_eq(mdb_env_open(env, scratch_path("plain"), 0, 0644), 0);
	mdb_env_close(env);
	cr_expect_eq(scratch_open_with("plain", true, false, 0, &store), -PEN_STORE_FOREIGN);
	cr_expect_not(exists("plain/run"));
	cr_expect_null(store);
}

/* Rewrites the meta row, sealed anew. */
static void meta_change(const char *name, uint32_t format, bool break_crc)
{
	struct pen_store *store = scratch_store(name);
	struct pen_txn *txn = scratch_begin(store);
	struct pen_fmt_meta meta = txn->meta;

	meta.format = format;
	pen_seal(&meta, sizeof(meta), PEN_KIND_META, 1);
	if (break_crc)
		meta.created_ms ^= 1;
	cr_assert_eq(pen_txn_put(txn, PEN_DB_META, PEN_META_KEY, 4, &meta, sizeof(meta), 0), 0);
	cr_assert_eq(pen_txn_commit(txn, NULL), 0);
	pen_store_close(store);
}

Test(store, newer_version_is_refused_without_a_change)
{
	struct pen_store *store = NULL;
	struct stat before, after;

	meta_change("s", PEN_FORMAT_VERSION + 1, false);
	cr_assert_eq(unlink(scratch_path("s/run/turn")), 0);
	cr_assert_eq(rmdir(scratch_path("s/run")), 0);
	cr_assert_eq(stat(scratch_path("s/data.mdb"), &before), 0);
	cr_expect_eq(scratch_open_with("s", true, false, 0, &store), -PEN_STORE_NEWER);
	cr_assert_eq(stat(scratch_path("s/data.mdb"), &after), 0);
	cr_expect_eq(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
	cr_expect_eq(before.st_size, after.st_size);
	cr_expect_not(exists("s/run"));
}

Test(store, damaged_meta_row_is_damage)
{
	struct pen_store *store = NULL;

	meta_change("s", PEN_FORMAT_VERSION, true);
	cr_expect_eq(scratch_open_with("s", true, false, 0, &store), -PEN_STORE_DAMAGED);
}

Test(store, damaged_files_are_damage_and_never_a_signal)
{
	/* length -1: as it is; at -1: nothing is overwritten */
	static const struct {
		const char *what;
		long length, at;
	} cases[] = {
		{ "empty", 0, -1 },
		{ "head of a page", 100, -1 },
		{ "one meta page", 4096, -1 },
		{ "meta pages alone", 8192, -1 },
		{ "a page is missing", -4096, -1 },
		{ "magic of page 0", LONG_MAX, 16 },
		{ "magic of page 1", LONG_MAX, 4096 + 16 },
		{ "page size", LONG_MAX, 16 + 24 },
		{ "flags of page 0", LONG_MAX, 10 },
	};
	size_t i;

	for (i = 0; i < PEN_COUNT(cases); i++) {
		struct pen_store *store = scratch_store("s");
		char big[20000];
		struct stat st;
		int fd;

		memset(big, 'v', sizeof(big) - 1);
		big[sizeof(big) - 1] = 0;
		cr_assert_eq(scratch_put(store, "d", "k", big), 0);
		pen_store_close(store);
		fd = open(scratch_path("s/data.mdb"), O_RDWR);
		cr_assert(fd >= 0 && !fstat(fd, &st));
		if (cases[i].length != LONG_MAX)
			cr_assert_eq(ftruncate(fd, cases[i].length < 0 ? st.st_size + cases[i].length
								       : cases[i].length),
				     0);
		if (cases[i].at >= 0)
			cr_assert_eq(pwrite(fd, "\0\0\0\0", 4, cases[i].at), 4);
		(void)close(fd);
		store = NULL;
		cr_expect_eq(scratch_open_with("s", true, false, 0, &store), -PEN_STORE_DAMAGED, "%s",
			     cases[i].what);
		cr_expect_null(store);
		(void)unlink(scratch_path("s/data.mdb"));
		(void)nftw(scratch_path("s"), scratch_unlink, 16, FTW_DEPTH | FTW_PHYS);
	}
}

/* LMDB numbers pages it then never writes: a large value that comes and goes in one transaction. */
Test(store, short_file_with_free_pages_at_its_end_opens)
{
	struct pen_store *store = scratch_store("s");
	static char big[300000];
	MDB_val key = { 1, "b" };
	struct pen_txn *txn;
	MDB_envinfo info;
	struct stat st;
	int i;

	for (i = 0; i < 5; i++) /* leaves free pages behind; without any, LMDB goes another way */
		cr_assert_eq(scratch_put(store, "d", "k", "v"), 0);
	txn = scratch_begin(store);
	cr_assert_eq(pen_txn_put(txn, PEN_DB_ITEMS, "a", 1, "x", 1, 0), 0);
	cr_assert_eq(pen_txn_put(txn, PEN_DB_ITEMS, "b", 1, big, sizeof(big), 0), 0);
	cr_assert_eq(mdb_del(txn->mdb, store->db[PEN_DB_ITEMS], &key, NULL), 0);
	cr_assert_eq(pen_txn_commit(txn, NULL), 0);
	cr_assert_eq(mdb_env_info(store->env, &info), 0);
	cr_assert_eq(stat(scratch_path("s/data.mdb"), &st), 0);
	cr_expect_lt((uint64_t)st.st_size, (info.me_last_pgno + 1) * store->page_size,
		     "the case does not arise");
	pen_store_close(store);
	store = scratch_store("s");
	pen_store_close(store);
	/* The control: pages are missing that are in use. */
	cr_assert_eq(truncate(scratch_path("s/data.mdb"), 5 * 4096), 0);
	store = NULL;
	cr_expect_eq(scratch_open_with("s", false, false, 0, &store), -PEN_STORE_DAMAGED);
	pen_store_close(store);
}

static long faked_type;
static int statfs_fake(const char *path, struct statfs *ret)
{
	int rc = statfs(path, ret);

	ret->f_type = faked_type;
	return rc;
}

Test(store, network_file_systems_are_refused)
{
	static const struct {
		long type;
		int code;
	} cases[] = {
		{ 0x6969, -PEN_STORE_NETWORK },
		{ 0xff534d42, -PEN_STORE_NETWORK },
		{ 0xfe534d42, -PEN_STORE_NETWORK },
		{ 0x01021997, -PEN_STORE_NETWORK },
		{ 0x5346414f, -PEN_STORE_NETWORK },
		{ 0xef53, 0 },
		{ 0x01021994, 0 },
		{ 0x65735546 /* FUSE */, 0 },
	};
	size_t i;

	pen_store_statfs = statfs_fake;
	for (i = 0; i < PEN_COUNT(cases); i++) {
		struct pen_store *store = NULL;
		char name[16];

		faked_type = cases[i].type;
		(void)snprintf(name, sizeof(name), "s%zu", i);
		cr_expect_eq(scratch_open_with(name, true, false, 0, &store), cases[i].code, "%lx",
			     faked_type);
		cr_expect_eq(exists(name), !cases[i].code);
		pen_store_close(store);
	}
	pen_store_statfs = statfs;
}

Test(store, second_open_in_one_process_is_busy_and_a_later_one_works)
{
	struct pen_store *store = scratch_store("s"), *other = NULL;

	cr_expect_eq(scratch_open_with("s", true, false, 0, &other), -EBUSY);
	cr_expect_eq(scratch_open_with("./s/", true, false, 0, &other), -EBUSY);
	cr_assert_eq(symlink("s", scratch_path("link")), 0);
	cr_expect_eq(scratch_open_with("link", true, true, 0, &other), -EBUSY);
	cr_expect_null(other);
	pen_store_close(store);
	store = scratch_store("s");
	pen_store_close(store);
}

Test(store, child_of_a_fork_cannot_use_it)
{
	struct pen_store *store = scratch_store("s");
	struct pen_txn *txn;
	struct pen_store_info info;
	pid_t pid = fork();

	if (!pid) {
		int bad = pen_txn_begin(store, PEN_DURABLE_COMMIT, &txn, NULL, NULL) != -EINVAL;

		bad |= pen_store_info(store, &info) != -EINVAL;
		bad |= pen_store_sync(store) != -EINVAL;
		pen_store_close(store); /* does nothing there */
		_exit(bad);
	}
	cr_expect_eq(scratch_wait(pid), 0);
	cr_expect_eq(scratch_put(store, "d", "k", "v"), 0);
	pen_store_close(store);
}

/* ---- creation under SIGKILL ------------------------------------------------------------------ */

static const char *die_at;
static void die(const char *name)
{
	if (!strcmp(name, die_at))
		(void)raise(SIGKILL);
}

Test(store, creation_killed_anywhere_leaves_a_store_or_none)
{
	static const char *const points[] = { "files", "committed", "synced", "placed" };
	size_t i;

	for (i = 0; i < PEN_COUNT(points); i++) {
		struct pen_store *store = NULL;
		pid_t pid = fork();
		int rc;

		if (!pid) {
			die_at = points[i];
			pen_store_point = die;
			(void)scratch_open_with("s", true, false, 0, &store);
			_exit(0);
		}
		cr_assert_eq(scratch_wait(pid), 128 + SIGKILL, "%s", points[i]);
		rc = scratch_open_with("s", false, false, 0, &store);
		cr_expect_eq(rc, strcmp(points[i], "placed") ? -PEN_STORE_MISSING : 0, "%s: %d", points[i],
			     rc);
		if (!rc)
			pen_store_close(store);
		store = scratch_store("s");
		cr_expect_eq(scratch_put(store, "d", "k", "v"), 0);
		pen_store_close(store);
		cr_expect_eq(leftovers(), 0, "%s", points[i]);
		(void)nftw(scratch_path("s"), scratch_unlink, 16, FTW_DEPTH | FTW_PHYS);
	}
}

static int creator(int out)
{
	struct pen_store *store = NULL;
	uint64_t id;

	if (scratch_open_with("s", true, false, 0, &store))
		return 1;
	id = pen_store_id(store);
	pen_store_close(store);
	return write(out, &id, sizeof(id)) != sizeof(id);
}

/* Each sweeps up after the dead while the others build: nobody may take the living for dead. */
Test(store, many_processes_creating_one_store_all_get_the_same)
{
	int pipes[2], i, round;
	uint64_t first, id;
	pid_t pids[8];

	cr_assert_eq(pipe(pipes), 0);
	for (round = 0; round < 20; round++) {
		for (i = 0; i < 8; i++) {
			pids[i] = fork();
			if (!pids[i])
				_exit(creator(pipes[1]));
		}
		for (i = 0; i < 8; i++)
			cr_assert_eq(scratch_wait(pids[i]), 0);
		for (first = 0, i = 0; i < 8; i++) {
			cr_assert_eq(read(pipes[0], &id, sizeof(id)), (ssize_t)sizeof(id));
			cr_expect(id && (!first || id == first));
			first = id;
		}
		cr_expect_eq(leftovers(), 0);
		(void)nftw(scratch_path("s"), scratch_unlink, 16, FTW_DEPTH | FTW_PHYS);
	}
}

/* Runs body in a child with a small tmpfs mounted on mnt in its own mount namespace; skips without the right. */
static void on_tmpfs(const char *options, int (*body)(void))
{
	int status;
	pid_t pid;

	cr_assert_eq(mkdir(scratch_path("mnt"), 0755), 0);
	pid = fork();
	if (!pid) {
		if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
		    mount("tmpfs", scratch_path("mnt"), "tmpfs", 0, options))
			_exit(77);
		_exit(body());
	}
	status = scratch_wait(pid);
	if (status == 77)
		cr_skip_test("needs the right to mount");
	cr_expect_eq(status, 0, "step %d", status);
}

static int on_mount_root(void)
{
	struct pen_store *store = NULL;

	if (mkdir(scratch_path("mnt/lost+found"), 0700) || scratch_open_with("mnt", true, false, 0, &store))
		return 1;
	if (scratch_put(store, "d", "k", "v"))
		return 2;
	pen_store_close(store);
	if (scratch_open_with("mnt", false, false, 0, &store))
		return 3;
	return leftovers() ? 4 : 0;
}

Test(store, mount_point_is_filled_from_inside)
{
	on_tmpfs("size=4m", on_mount_root);
}

static int on_read_only(void)
{
	struct pen_store *store = NULL;
	struct pen_dataset_info info;

	if (scratch_open_with("mnt/s", true, false, 0, &store) || scratch_put(store, "d", "k", "v"))
		return 1;
	pen_store_close(store);
	store = NULL;
	if (mount("none", scratch_path("mnt"), NULL, MS_REMOUNT | MS_RDONLY, "size=4m"))
		return 2;
	if (scratch_open_with("mnt/s", true, false, 0, &store) != -PEN_STORE_READONLY)
		return 3;
	if (scratch_open_with("mnt/new", true, false, 0, &store) != -PEN_STORE_READONLY)
		return 4;
	if (scratch_open_with("mnt/s", false, true, 0, &store))
		return 5;
	if (pen_dataset_get(store, "d", &info) || info.entries != 1)
		return 6;
	if (scratch_put(store, "d", "k2", "v") != -PEN_STORE_READONLY)
		return 7;
	pen_store_close(store);
	return 0;
}

Test(store, read_only_file_system_can_be_read_and_nothing_else)
{
	on_tmpfs("size=4m", on_read_only);
}

Test(store, read_only_open_reads_and_does_not_write)
{
	struct pen_store *store = scratch_store("s");
	struct pen_txn *txn;
	struct pen_dataset_info info;

	cr_assert_eq(scratch_put(store, "d", "k", "v"), 0);
	pen_store_close(store);
	cr_assert_eq(scratch_open_with("s", false, true, 0, &store), 0);
	cr_expect_eq(pen_dataset_get(store, "d", &info), 0);
	cr_expect_eq(pen_txn_begin(store, PEN_DURABLE_COMMIT, &txn, NULL, NULL), -PEN_STORE_READONLY);
	pen_store_close(store);
}

#if !defined(__SANITIZE_ADDRESS__) /* which needs terabytes of address space itself */
static int under_little_address_space(void)
{
	struct rlimit lim = { .rlim_cur = 6ull << 30, .rlim_max = 6ull << 30 };
	struct pen_store *store = NULL;
	struct pen_store_info info;

	if (setrlimit(RLIMIT_AS, &lim) || scratch_open_with("s", true, false, 0, &store))
		return 1;
	if (pen_store_info(store, &info) || info.map_bytes < 1ull << 30 || info.map_bytes >= 8ull << 30)
		return 2;
	return scratch_put(store, "d", "k", "v") ? 3 : 0;
}

Test(store, map_shrinks_under_an_address_space_limit)
{
	pid_t pid = fork();

	if (!pid)
		_exit(under_little_address_space());
	cr_expect_eq(scratch_wait(pid), 0);
}
#endif

Test(store, map_grown_by_another_process_is_followed)
{
	struct pen_store *store = NULL, *theirs = NULL;
	struct pen_dataset_info info;
	static char big[200000];
	int i, rc = 0;
	pid_t pid;

	cr_assert_eq(scratch_open_with("s", true, false, 1 << 20, &store), 0);
	pid = fork();
	if (!pid) {
		/* In the child the parent's store is nobody's; its directory is opened anew. */
		char key[16];

		memset(big, 'v', sizeof(big) - 1);
		rc = scratch_open_with("s", false, false, 0, &theirs);
		for (i = 0; i < 20 && !rc; i++) {
			(void)snprintf(key, sizeof(key), "k%d", i);
			rc = scratch_put(theirs, "d", key, big);
		}
		pen_store_close(theirs);
		_exit(rc != 0);
	}
	cr_assert_eq(scratch_wait(pid), 0);
	cr_expect_eq(pen_dataset_get(store, "d", &info), 0);
	cr_expect_eq(info.entries, 20);
	cr_expect_eq(scratch_put(store, "d", "mine", "v"), 0);
	pen_store_close(store);
}
