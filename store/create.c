/* SPDX-License-Identifier: MIT */
/*
 * create - a store comes into being whole or not at all
 *
 * The good day:
 *   - a directory .NAME.new-XXXXXX is made beside the wanted one, locked (flock) and filled: data.mdb with
 *     the first transaction, run/, logs/, staging/
 *   - data.mdb and the directory are synced
 *   - it is renamed over the wanted name, which is missing or an empty directory; the parent is synced
 *
 * The other days:
 *   - the process dies: what is left has no holder of its lock, and the next creation removes it
 *   - somebody else makes the store meanwhile: the rename meets a directory that is not empty, ours is
 *   removed, theirs
 *     is opened
 *   - the directory cannot be replaced (a mount point, a parent we may not write to): the same is built in
 *   a directory
 *     .new-XXXXXX inside it, and data.mdb alone, the last piece, is linked to its place; a directory that
 *     holds nothing but such leftovers still counts as empty
 *
 * LMDB's own creation is not atomic: a crash within its first transaction leaves a file that does not open.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/store_private.h"

#define INSIDE_PREFIX ".new-"

static void point_nothing(const char *name)
{
	(void)name;
}
void (*pen_store_point)(const char *name) = point_nothing;

const char *const pen_db_names[PEN_DB_COUNT] = {
	[PEN_DB_META] = PEN_DB_PREFIX "meta",	      [PEN_DB_BATCHES] = PEN_DB_PREFIX "batches",
	[PEN_DB_STATES] = PEN_DB_PREFIX "states",     [PEN_DB_IDENTITY] = PEN_DB_PREFIX "identity",
	[PEN_DB_ITEMS] = PEN_DB_PREFIX "items",	      [PEN_DB_EVENTS] = PEN_DB_PREFIX "events",
	[PEN_DB_DATASETS] = PEN_DB_PREFIX "datasets", [PEN_DB_DIGESTS] = PEN_DB_PREFIX "digests",
	[PEN_DB_ORDERS] = PEN_DB_PREFIX "orders",     [PEN_DB_JOBS] = PEN_DB_PREFIX "jobs",
	[PEN_DB_CONTROLS] = PEN_DB_PREFIX "controls", [PEN_DB_EDGES] = PEN_DB_PREFIX "edges",
	[PEN_DB_INDEX] = PEN_DB_PREFIX "index",	      [PEN_DB_CACHE] = PEN_DB_PREFIX "cache",
	[PEN_DB_FLAGS] = PEN_DB_PREFIX "flags",
};

/* Where a store is built. */
struct site {
	char *parent, *base; /* of the store's path */
	char *path;	     /* of the directory being built */
	int fd;		     /* it, locked */
	bool inside;
};

/* ---- leftovers of the dead ------------------------------------------------------------------- */

static void remove_files(int dir_fd, int depth)
{
	struct dirent *e;
	DIR *d;
	int fd = dup(dir_fd);

	d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		if (fd >= 0)
			(void)close(fd);
		return;
	}
	rewinddir(d);
	while ((e = readdir(d))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		if (!unlinkat(dir_fd, e->d_name, 0) || !depth)
			continue;
		fd = openat(dir_fd, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			continue;
		remove_files(fd, depth - 1);
		(void)close(fd);
		(void)unlinkat(dir_fd, e->d_name, AT_REMOVEDIR);
	}
	(void)closedir(d);
}

/*
 * The lock alone says little: its holder may have renamed the directory into place and let go between our open and our
 * lock, and then we would empty a store. It lets go only after the rename, so a directory that is locked
 * by us and still has the old name belongs to nobody.
 */
static bool left_by_the_dead(int parent_fd, const char *name, int fd)
{
	struct stat ours, named;

	return !flock(fd, LOCK_EX | LOCK_NB) && !fstat(fd, &ours) &&
	       !fstatat(parent_fd, name, &named, AT_SYMLINK_NOFOLLOW) && ours.st_dev == named.st_dev &&
	       ours.st_ino == named.st_ino;
}

/* Removes directories in `parent` whose names begin with prefix and that no living process builds in. */
static void sweep_leftovers(const char *parent, const char *prefix)
{
	struct dirent *e;
	DIR *d = opendir(parent);
	int fd;

	if (!d)
		return;
	while ((e = readdir(d))) {
		if (strncmp(e->d_name, prefix, strlen(prefix)))
			continue;
		fd = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (left_by_the_dead(dirfd(d), e->d_name, fd)) {
			remove_files(fd, 2);
			(void)unlinkat(dirfd(d), e->d_name, AT_REMOVEDIR);
		}
		(void)close(fd);
	}
	(void)closedir(d);
}

/* ---- the contents ---------------------------------------------------------------------------- */

/* Made with exactly this mode, whatever the umask: LMDB opens its files a second time. */
static int make_file(int dir_fd, const char *name)
{
	int fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600), rc = 0;

	if (fd < 0)
		return -errno;
	if (fchmod(fd, 0600))
		rc = -errno;
	(void)close(fd);
	return rc;
}

static int make_dir(int dir_fd, const char *name, mode_t mode)
{
	if (mkdirat(dir_fd, name, mode))
		return errno == EEXIST ? 0 : -errno;
	return fchmodat(dir_fd, name, mode, 0) ? -errno : 0;
}

static int sync_at(int dir_fd, const char *name, int flags)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | flags), rc = 0;

	if (fd < 0)
		return -errno;
	if (fsync(fd))
		rc = -errno;
	(void)close(fd);
	return rc;
}

static int first_transaction(MDB_env *env, const struct pen_clock *clock)
{
	struct pen_fmt_meta meta = { .format = PEN_FORMAT_VERSION, .created_ms = pen_real_ms(clock) };
	MDB_val key = { .mv_size = strlen(PEN_META_KEY), .mv_data = (void *)(uintptr_t)PEN_META_KEY };
	MDB_val data = { .mv_size = sizeof(meta), .mv_data = &meta };
	MDB_dbi dbi[PEN_DB_COUNT];
	MDB_txn *txn;
	int rc, i;

	if (getrandom(&meta.store_id, sizeof(meta.store_id), 0) != sizeof(meta.store_id))
		return errno;
	pen_seal(&meta, sizeof(meta), PEN_KIND_META, PEN_META_VERSION);
	rc = mdb_txn_begin(env, NULL, 0, &txn);
	if (rc)
		return rc;
	for (i = 0; i < PEN_DB_COUNT && !rc; i++)
		rc = mdb_dbi_open(txn, pen_db_names[i], MDB_CREATE, &dbi[i]);
	if (!rc)
		rc = mdb_put(txn, dbi[PEN_DB_META], &key, &data, 0);
	if (rc) {
		mdb_txn_abort(txn);
		return rc;
	}
	return mdb_txn_commit(txn);
}

/* Everything a store is, durable, in the directory of the site. */
static int fill(const struct site *site, const struct pen_store_options *opt, const struct pen_clock *clock,
		struct pen_failure *why)
{
	MDB_env *env;
	int rc;

	rc = make_file(site->fd, "data.mdb");
	if (!rc)
		rc = make_file(site->fd, "lock.mdb");
	if (rc)
		return rc;
	pen_store_point("files");
	rc = pen_env_open(site->path, opt->map_bytes, false, &env, why);
	if (rc)
		return rc;
	rc = pen_mdb_code(first_transaction(env, clock));
	mdb_env_close(env);
	pen_store_point("committed");
	if (!rc && !site->inside) {
		/* An idle lock file says nothing; LMDB makes it anew. */
		(void)unlinkat(site->fd, "lock.mdb", 0);
		rc = make_dir(site->fd, "run", 0700);
		if (!rc)
			rc = make_dir(site->fd, "logs", 0750);
		if (!rc)
			rc = make_dir(site->fd, "staging", 0700);
	}
	if (!rc)
		rc = sync_at(site->fd, "data.mdb", 0);
	if (!rc && fsync(site->fd))
		rc = -errno;
	pen_store_point("synced");
	return rc;
}

/* ---- the place ------------------------------------------------------------------------------- */

static int site_split(struct site *site, const char *path)
{
	const char *slash = strrchr(path, '/');

	site->base = strdup(slash ? slash + 1 : path);
	if (!slash)
		site->parent = strdup(".");
	else
		site->parent = slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
	return site->base && site->parent ? 0 : -PEN_MEMORY;
}

/* Opens and locks the directory just made. -EAGAIN when a sweep was there before us: it is being removed. */
static int site_lock(struct site *site)
{
	struct stat ours, named;

	site->fd = open(site->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (site->fd < 0 && errno == EACCES && !chmod(site->path, 0700)) /* a strange umask */
		site->fd = open(site->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (site->fd < 0)
		return errno == ENOENT ? -EAGAIN : -errno;
	if (flock(site->fd, LOCK_EX | LOCK_NB))
		return errno == EWOULDBLOCK ? -EAGAIN : -errno;
	if (stat(site->path, &named) || fstat(site->fd, &ours) || named.st_ino != ours.st_ino)
		return -EAGAIN;
	return fchmod(site->fd, 0700) ? -errno : 0;
}

static void site_drop(struct site *site)
{
	if (site->fd >= 0) {
		remove_files(site->fd, 2);
		/* A descriptor has its path. NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker) */
		(void)rmdir(site->path);
		(void)close(site->fd);
		site->fd = -1;
	}
	free(site->path);
	site->path = NULL;
}

static int site_make(struct site *site, const char *path, bool inside)
{
	int tries, n, rc = -EAGAIN;

	site->inside = inside;
	for (tries = 0; tries < 100 && rc == -EAGAIN; tries++) {
		site_drop(site);
		/* The last component was checked to be 1 .. 200 bytes, so the name fits. */
		/* site_drop has freed what an earlier try left. NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
		n = inside ? asprintf(&site->path, "%s/" INSIDE_PREFIX "XXXXXX", path)
			   : asprintf(&site->path, "%s/.%s.new-XXXXXX", site->parent, site->base);
		if (n < 0) {
			site->path = NULL;
			return -PEN_MEMORY;
		}
		rc = mkdtemp(site->path) ? site_lock(site) : -errno;
	}
	return rc;
}

/* Puts data.mdb, the last piece, into a directory that had to stay. */
static int place_inside(const struct site *site, const char *path)
{
	int dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;

	if (dir_fd < 0)
		return -errno;
	/* Never over an existing one: that would be somebody's store. The directories are made when it is opened. */
	if (linkat(site->fd, "data.mdb", dir_fd, "data.mdb", 0))
		rc = errno == EEXIST ? 0 : -errno;
	if (rc == -EPERM || rc == -EOPNOTSUPP || rc == -ENOSYS) /* no hard links here */
		rc = renameat2(site->fd, "data.mdb", dir_fd, "data.mdb", RENAME_NOREPLACE) && errno != EEXIST
			     ? -errno
			     : 0;
	pen_store_point("placed");
	if (!rc && fsync(dir_fd))
		rc = -errno;
	(void)close(dir_fd);
	return rc;
}

/* 1: renamed, 0: somebody else was faster, else a negative errno. */
static int place_beside(struct site *site, const char *path)
{
	int rc;

	if (rename(site->path, path))
		return errno == ENOTEMPTY || errno == EEXIST ? 0 : -errno;
	(void)close(site->fd); /* ours no more */
	site->fd = -1;
	pen_store_point("placed");
	rc = sync_at(AT_FDCWD, site->parent, O_DIRECTORY);
	return rc == -EACCES || !rc ? 1 : rc; /* a parent one may write to but not read cannot be synced */
}

static bool try_inside(int rc)
{
	return rc == -EBUSY || rc == -EXDEV || rc == -EACCES || rc == -EPERM || rc == -EROFS || rc == -EINVAL;
}

int pen_store_create(const char *path, const struct pen_store_options *opt, const struct pen_clock *clock,
		     struct pen_failure *why)
{
	struct site site = { .fd = -1 };
	char *prefix = NULL;
	struct stat st;
	bool exists = !stat(path, &st);
	int rc;

	rc = site_split(&site, path);
	if (!rc && asprintf(&prefix, ".%s.new-", site.base) < 0)
		rc = -PEN_MEMORY;
	if (rc)
		goto out;
	sweep_leftovers(site.parent, prefix);
	rc = site_make(&site, path, false);
	if (!rc)
		rc = fill(&site, opt, clock, why);
	if (!rc)
		rc = place_beside(&site, path);
	if (rc < 0 && exists && try_inside(rc)) {
		site_drop(&site);
		sweep_leftovers(path, INSIDE_PREFIX);
		rc = site_make(&site, path, true);
		if (!rc)
			rc = fill(&site, opt, clock, why);
		if (!rc)
			rc = place_inside(&site, path);
	}
out:
	if (rc < 0)
		rc = pen_fail(why,
			      rc == -EROFS || rc == -EACCES || rc == -EPERM ? -PEN_STORE_READONLY
			      : rc == -ENOSPC || rc == -EDQUOT		    ? -PEN_DISK_FULL
									    : rc,
			      rc > -200 ? -rc : 0, "a store cannot be made in %s", path);
	site_drop(&site);
	free(site.parent);
	free(site.base);
	free(prefix);
	return rc < 0 ? rc : 0;
}
