/* SPDX-License-Identifier: MIT */
/*
 * store - see store.h; creation is in create.c, the look at the file before it is mapped in inspect.c
 */
#include "store/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "ring/assert.h"
#include "ring/base.h"
#include "store/flagset.h"
#include "store/index.h"
#include "store/store_private.h"
#include "store/turn.h"

#define GIB (1ull << 30)
#define MAP_FIRST (1024 * GIB)
#define MAP_LEAST GIB
#define BASE_NAME_MAX 200u /* leaves room for the name of the directory it is built in */

int (*pen_store_statfs)(const char *path, struct statfs *ret) = statfs;

/* The stores this process has open: LMDB must not open one twice. */
static pthread_mutex_t open_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct pen_store *open_stores;

/* ---- the environment ------------------------------------------------------------------------- */

/*
 * A terabyte of address space costs nothing until it is used, and a map that is never outgrown need not be
 * moved under readers. Under a limit (ulimit -v) it is halved until it fits.
 */
uint64_t pen_map_choice(uint64_t map_bytes, uint64_t file_bytes)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

	if (map_bytes)
		return pen_max((map_bytes + page - 1) / page * page, 64 * page);
	return pen_max(MAP_FIRST, 2 * file_bytes);
}

static int env_try(const char *path, uint64_t map_bytes, bool read_only, MDB_env **ret)
{
	MDB_env *env;
	int rc, fd, flags;

	rc = mdb_env_create(&env);
	if (rc)
		return rc;
	rc = mdb_env_set_mapsize(env, map_bytes);
	if (!rc)
		rc = mdb_env_set_maxreaders(env, PEN_READERS_MAX);
	if (!rc)
		rc = mdb_env_set_maxdbs(env, PEN_DB_COUNT + PEN_HANDLES);
	/* NOTLS: a snapshot belongs to its cursor, not to the thread that opened it. */
	if (!rc)
		rc = mdb_env_open(env, path, MDB_NOTLS | (read_only ? MDB_RDONLY : 0), 0600);
	if (!rc)
		rc = mdb_env_get_fd(env, &fd);
	if (!rc) {
		/* LMDB opens its other descriptors close-on-exec, this one not. */
		flags = fcntl(fd, F_GETFD);
		if (flags < 0 || fcntl(fd, F_SETFD, flags | FD_CLOEXEC))
			rc = errno;
	}
	if (rc)
		mdb_env_close(env);
	else
		*ret = env;
	return rc;
}

int pen_env_open(const char *path, uint64_t map_bytes, bool read_only, MDB_env **ret, struct pen_failure *why)
{
	char file[PATH_MAX];
	struct stat st = { 0 };
	uint64_t map, least;
	int rc;

	if ((size_t)snprintf(file, sizeof(file), "%s/data.mdb", path) >= sizeof(file))
		return pen_fail(why, -ENAMETOOLONG, ENAMETOOLONG, "%s", path);
	if (stat(file, &st))
		return pen_fail(why, -errno, errno, "%s cannot be examined", file);
	map = pen_map_choice(map_bytes, (uint64_t)st.st_size);
	least = map_bytes ? map : pen_max(MAP_LEAST, 2 * (uint64_t)st.st_size);
	for (;;) {
		rc = env_try(path, map, read_only, ret);
		if (rc != ENOMEM || map / 2 < least)
			break;
		map /= 2;
	}
	if (!rc)
		return 0;
	return pen_fail(why, pen_mdb_code(rc), rc > 0 ? rc : 0, "the store %s cannot be opened: %s", path,
			mdb_strerror(rc));
}

void pen_store_sweep(struct pen_store *store)
{
	int dead;

	(void)mdb_reader_check(store->env,
			       &dead); /* fails only where the lock file does, and then begin says so */
}

/* Can the process have `bytes` more of address space? */
static bool address_space(uint64_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p != MAP_FAILED && !munmap(p, bytes);
}

int pen_store_remap(struct pen_store *store)
{
	struct timespec until;
	MDB_envinfo info;
	uint64_t map;
	int rc = 0;

	if (timespec_get(&until, TIME_UTC) != TIME_UTC)
		return -PEN_MAP_FULL;
	until.tv_sec += 1;
	pthread_mutex_lock(&store->read_mutex);
	store->remapping = true; /* holds new readers back */
	while (store->active_reads && !rc)
		rc = pthread_cond_timedwait(&store->read_cond, &store->read_mutex, &until);
	if (!store->active_reads) {
		(void)mdb_env_info(store->env, &info);
		map = pen_max(2 * (info.me_last_pgno + 1) * store->page_size, info.me_mapsize);
		rc = ENOMEM;
		/* Tried with the old map in place, because LMDB gives that up first and cannot go back. */
		if (address_space(map))
			rc = mdb_env_set_mapsize(store->env, map);
		(void)mdb_env_info(store->env, &info);
		if (rc && rc != ENOMEM)
			atomic_store_explicit(&store->sticky, -PEN_MAP_FULL, memory_order_relaxed);
	}
	store->remapping = false;
	pthread_cond_broadcast(&store->read_cond);
	pthread_mutex_unlock(&store->read_mutex);
	return rc ? -PEN_MAP_FULL : 0;
}

/* ---- where it lies --------------------------------------------------------------------------- */

/* Locks and maps of these do not reach other hosts, or not in order. FUSE is let through: it is mostly local. */
static bool network_magic(const struct statfs *fs)
{
	static const uint32_t magic[] = {
		0x6969,				    /* NFS */
		0x517b,	    0xfe534d42, 0xff534d42, /* SMB, SMB2, CIFS */
		0x01021997,			    /* 9p */
		0x5346414f, 0x6b414653,		    /* AFS */
		0x73757245,			    /* Coda */
		0x00c36400,			    /* Ceph */
		0x0bd00bd0,			    /* Lustre */
		0x01161970,			    /* GFS2: a cluster's */
		0x7461636f,			    /* OCFS2 */
		0x564c,				    /* NCP */
		0xaad7aaea,			    /* PanFS */
		0x47504653,			    /* GPFS */
	};
	size_t i;

	for (i = 0; i < PEN_COUNT(magic); i++)
		if ((uint32_t)fs->f_type == magic[i])
			return true;
	return false;
}

static int network_check(const char *path, struct pen_failure *why)
{
	struct statfs fs;

	if (pen_store_statfs(path, &fs))
		return pen_fail(why, errno == ENOENT ? -PEN_STORE_MISSING : -errno, errno,
				"%s cannot be examined", path);
	if (network_magic(&fs))
		return pen_fail(why, -PEN_STORE_NETWORK, 0, "%s is on a network file system (type 0x%lx)",
				path, (unsigned long)fs.f_type);
	return 0;
}

/* Nothing in it but what a file system or a dead creation left there. */
static int dir_empty(int dir_fd, bool *ret)
{
	struct dirent *e;
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	bool others = false;

	if (!d) {
		if (fd >= 0)
			(void)close(fd);
		return -errno;
	}
	while ((e = readdir(d)))
		others |= strcmp(e->d_name, ".") && strcmp(e->d_name, "..") &&
			  strncmp(e->d_name, ".new-", 5) && strcmp(e->d_name, "lost+found");
	(void)closedir(d);
	*ret = !others;
	return 0;
}

/* The path without trailing slashes, with symbolic links resolved when it exists. malloc'ed. */
static int path_clean(const char *dir, char **ret, struct pen_failure *why)
{
	size_t len = strlen(dir);
	const char *base;
	char *path;

	if (!len)
		return pen_fail(why, -ENOENT, ENOENT, "the store's directory has no name");
	path = realpath(dir, NULL);
	if (!path && errno == ENOENT) {
		while (len > 1 && dir[len - 1] == '/')
			len--;
		path = strndup(dir, len);
		if (!path)
			return -PEN_MEMORY;
	}
	if (!path)
		return pen_fail(why, errno == EACCES ? -PEN_STORE_READONLY : -errno, errno, "%s", dir);
	base = strrchr(path, '/');
	base = base ? base + 1 : path;
	if (strlen(base) > BASE_NAME_MAX || !strcmp(base, ".") || !strcmp(base, "..")) {
		free(path);
		return pen_fail(why, -ENAMETOOLONG, 0, "%s cannot be the name of a store", dir);
	}
	*ret = path;
	return 0;
}

/* ---- open ------------------------------------------------------------------------------------ */

static int store_alloc(const char *path, struct pen_store **ret)
{
	struct pen_store *store = calloc(1, sizeof(*store));

	if (!store)
		return -PEN_MEMORY;
	store->dir_fd = store->run_fd = store->witness_fd = -1;
	store->clock = &pen_clock_real;
	store->pid = getpid();
	store->path = strdup(path);
	store->handles = calloc(PEN_HANDLES, sizeof(*store->handles));
	if (!store->path || !store->handles) {
		free(store->path);
		free(store->handles);
		free(store);
		return -PEN_MEMORY;
	}
	pthread_mutex_init(&store->write_mutex, NULL);
	pthread_mutex_init(&store->read_mutex, NULL);
	pthread_mutex_init(&store->handle_mutex, NULL);
	pthread_cond_init(&store->read_cond, NULL);
	*ret = store;
	return 0;
}

static void registry_leave(struct pen_store *store)
{
	struct pen_store **at;

	pthread_mutex_lock(&open_mutex);
	for (at = &open_stores; *at; at = &(*at)->next_open) {
		if (*at == store) {
			*at = store->next_open;
			break;
		}
	}
	pthread_mutex_unlock(&open_mutex);
}

static int registry_enter(struct pen_store *store, struct pen_failure *why)
{
	struct pen_store *other;
	struct stat st;
	int code = 0;

	if (fstat(store->dir_fd, &st))
		return pen_fail(why, -errno, errno, "%s", store->path);
	store->dev = st.st_dev;
	store->ino = st.st_ino;
	pthread_mutex_lock(&open_mutex);
	for (other = open_stores; other; other = other->next_open)
		if (other->dev == store->dev && other->ino == store->ino && other->pid == store->pid)
			code = -EBUSY;
	if (!code) {
		store->next_open = open_stores;
		open_stores = store;
	}
	pthread_mutex_unlock(&open_mutex);
	return code ? pen_fail(why, code, 0, "this process has the store %s open already", store->path) : 0;
}

static void store_free(struct pen_store *store)
{
	uint32_t i;

	registry_leave(store);
	for (i = 0; i < store->pool_count; i++)
		mdb_txn_abort(store->pool[i]);
	pen_flagset_close(store->flags);
	pen_turn_close(store->turn);
	if (store->env)
		mdb_env_close(store->env);
	if (store->witness_fd >= 0)
		(void)close(store->witness_fd);
	if (store->run_fd >= 0)
		(void)close(store->run_fd);
	if (store->dir_fd >= 0)
		(void)close(store->dir_fd);
	pthread_mutex_destroy(&store->write_mutex);
	pthread_mutex_destroy(&store->read_mutex);
	pthread_mutex_destroy(&store->handle_mutex);
	pthread_cond_destroy(&store->read_cond);
	free(store->handles);
	free(store->path);
	free(store);
}

/* The penstock.meta of a transaction in which only its handle is open: says which version wrote the store. */
static int meta_first(struct pen_store *store, MDB_txn *txn, struct pen_failure *why)
{
	struct pen_fmt_meta meta;
	int rc, code;

	rc = mdb_dbi_open(txn, pen_db_names[PEN_DB_META], 0, &store->db[PEN_DB_META]);
	if (rc == MDB_NOTFOUND)
		return pen_fail(why, -PEN_STORE_FOREIGN, 0, "%s holds a database of another program",
				store->path);
	if (rc)
		return pen_fail(why, pen_mdb_code(rc), rc > 0 ? rc : 0, "%s: %s", store->path,
				mdb_strerror(rc));
	code = pen_meta_read(store, txn, &meta);
	if (!code && meta.format > PEN_FORMAT_VERSION)
		code = -PEN_STORE_NEWER;
	if (code == -PEN_STORE_NEWER)
		return pen_fail(why, code, 0, "%s was written by a newer version of penstock", store->path);
	if (!code && !meta.format)
		code = -PEN_STORE_DAMAGED;
	if (code)
		return pen_fail(why, code, 0, "the meta row of %s is damaged", store->path);
	store->store_id = meta.store_id;
	store->format = meta.format;
	return 0;
}

static int system_open(struct pen_store *store, struct pen_failure *why)
{
	MDB_txn *txn;
	int rc, code, i;

	rc = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn);
	if (rc == MDB_READERS_FULL) {
		pen_store_sweep(store);
		rc = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn);
	}
	if (rc)
		return pen_fail(why, pen_mdb_code(rc), rc > 0 ? rc : 0, "%s: %s", store->path,
				mdb_strerror(rc));
	code = meta_first(store, txn, why);
	for (i = 0; i < (store->format == 1 ? PEN_DB_FIRST_COUNT : PEN_DB_COUNT) && !code; i++) {
		rc = mdb_dbi_open(txn, pen_db_names[i], 0, &store->db[i]);
		if (rc == MDB_NOTFOUND && i == PEN_DB_FLAGS)
			store->db[i] = 0; /* one of before there were flags */
		else if (rc)
			code = pen_fail(why, rc == MDB_NOTFOUND ? -PEN_STORE_DAMAGED : pen_mdb_code(rc), 0,
					"%s has no %s", store->path, pen_db_names[i]);
	}
	if (code) {
		mdb_txn_abort(txn);
		return code;
	}
	return pen_mdb_code(mdb_txn_commit(txn)); /* the handles stay */
}

/* Another process may have opened the store at once and be done before us. */
static int upgrade_in(struct pen_txn *txn)
{
	struct pen_store *store = txn->store;
	int rc = 0;

	for (int i = PEN_DB_FIRST_COUNT; i < PEN_DB_COUNT && !rc; i++)
		rc = pen_mdb_code(mdb_dbi_open(txn->mdb, pen_db_names[i], MDB_CREATE, &store->db[i]));
	if (rc || txn->meta.format == PEN_FORMAT_VERSION)
		return rc;
	rc = pen_index_build(txn);
	txn->meta.format = PEN_FORMAT_VERSION;
	txn->meta_changed = true;
	return rc;
}

/* From format 1: the databases it did not have, the index of what is there. One transaction: a kill leaves either. */
static int upgrade(struct pen_store *store, struct pen_failure *why)
{
	struct pen_txn *txn;
	int rc = pen_txn_begin(store, PEN_DURABLE_COMMIT, &txn, NULL, why);

	if (rc)
		return rc;
	rc = upgrade_in(txn);
	if (rc) {
		pen_txn_abort(txn);
		return pen_fail(why, rc, 0, "%s cannot be upgraded from format %u", store->path,
				store->format);
	}
	rc = pen_txn_commit(txn, why);
	if (!rc)
		store->format = PEN_FORMAT_VERSION;
	return rc;
}

/* run/, logs/, staging/ and the turn: only once the store is known to be ours to write to. */
static int parts_open(struct pen_store *store, struct pen_failure *why)
{
	static const char *const parts[] = { "run", "logs", "staging" };
	static const mode_t modes[] = { 0700, 0750, 0700 };
	size_t i;

	for (i = 0; i < PEN_COUNT(parts) && !store->read_only; i++)
		if (mkdirat(store->dir_fd, parts[i], modes[i])
			    ? errno != EEXIST
			    : fchmodat(store->dir_fd, parts[i], modes[i], 0) != 0)
			return pen_fail(why, pen_mdb_code(errno), errno, "%s/%s cannot be made", store->path,
					parts[i]);
	store->run_fd = openat(store->dir_fd, "run", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (store->run_fd < 0 && !store->read_only)
		return pen_fail(why, -errno, errno, "%s/run cannot be opened", store->path);
	store->witness_fd = openat(store->dir_fd, "data.mdb", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (store->witness_fd < 0)
		return pen_fail(why, -errno, errno, "%s/data.mdb cannot be opened", store->path);
	return store->read_only ? 0 : pen_turn_open(store->run_fd, &store->turn);
}

/* LMDB would make lock.mdb under the umask. */
static int lock_file_make(struct pen_store *store)
{
	int fd;

	if (store->read_only)
		return 0; /* LMDB does without one on a read-only file system, and makes it elsewhere */
	fd = openat(store->dir_fd, "lock.mdb", O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return errno == EEXIST ? 0 : errno;
	(void)fchmod(fd, 0600);
	(void)close(fd);
	return 0;
}

static int writable_check(struct pen_store *store, struct pen_failure *why)
{
	struct statvfs fs;

	/* Root is let through by permission bits, so only the mount is asked here; the rest shows when LMDB opens. */
	if (store->read_only || fstatvfs(store->dir_fd, &fs) || !(fs.f_flag & ST_RDONLY))
		return 0;
	return pen_fail(why, -PEN_STORE_READONLY, EROFS, "%s is on a read-only file system", store->path);
}

static int store_bring_up(struct pen_store *store, const struct pen_store_options *opt,
			  struct pen_failure *why)
{
	MDB_stat stat;
	int code, rc;

	code = registry_enter(store, why);
	if (!code)
		code = writable_check(store, why);
	if (!code)
		code = pen_store_inspect(store->dir_fd, why);
	if (code)
		return code;
	rc = lock_file_make(store);
	if (rc)
		return pen_fail(why, pen_mdb_code(rc), rc, "%s/lock.mdb cannot be made", store->path);
	code = pen_env_open(store->path, opt->map_bytes, store->read_only, &store->env, why);
	if (code)
		return code;
	(void)mdb_env_stat(store->env, &stat);
	store->page_size = stat.ms_psize;
	pen_store_sweep(store);
	code = system_open(store, why);
	if (!code && store->format < PEN_FORMAT_VERSION && store->read_only)
		code = pen_fail(
			why, -PEN_STORE_OLDER, 0,
			"%s has format %u, and is open for reading only: the first writer upgrades it",
			store->path, store->format);
	if (!code)
		code = parts_open(store, why);
	if (!code && !store->read_only && (store->format < PEN_FORMAT_VERSION || !store->db[PEN_DB_FLAGS]))
		code = upgrade(store, why);
	if (!code)
		code = pen_flagset_open(&store->flags);
	return code;
}

/* Opens what is there. -PEN_STORE_MISSING when the directory is missing or empty. */
static int open_existing(const char *path, const struct pen_store_options *opt, struct pen_store **ret,
			 struct pen_failure *why)
{
	struct pen_store *store;
	bool empty = false;
	struct stat st;
	int code;

	code = store_alloc(path, &store);
	if (code)
		return code;
	store->read_only = opt->read_only;
	store->dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (store->dir_fd < 0) {
		code = errno == ENOENT ? -PEN_STORE_MISSING
		       : errno == ENOTDIR
			       ? pen_fail(why, -PEN_STORE_FOREIGN, ENOTDIR, "%s is not a directory", path)
		       : errno == EACCES ? pen_fail(why, -PEN_STORE_READONLY, EACCES, "%s", path)
					 : pen_fail(why, -errno, errno, "%s", path);
	} else {
		code = network_check(path, why);
		if (!code && fstatat(store->dir_fd, "data.mdb", &st, AT_SYMLINK_NOFOLLOW)) {
			code = dir_empty(store->dir_fd, &empty);
			if (!code)
				code = empty ? -PEN_STORE_MISSING
					     : pen_fail(why, -PEN_STORE_FOREIGN, 0,
							"%s holds other files and is no store", path);
		}
		if (!code)
			code = store_bring_up(store, opt, why);
	}
	if (code)
		store_free(store);
	else
		*ret = store;
	return code;
}

static int open_or_create(const char *path, const struct pen_store_options *opt, struct pen_store **ret,
			  struct pen_failure *why)
{
	char *slash, *parent;
	int code;

	code = open_existing(path, opt, ret, why);
	if (code != -PEN_STORE_MISSING)
		return code;
	if (!opt->create || opt->read_only)
		return pen_fail(why, code, 0, "there is no store in %s", path);
	parent = strdup(path);
	if (!parent)
		return -PEN_MEMORY;
	slash = strrchr(parent, '/');
	if (slash)
		slash[slash == parent] = 0;
	code = network_check(slash ? parent : ".", why);
	free(parent);
	if (!code)
		code = pen_store_create(path, opt, &pen_clock_real, why);
	return code ? code : open_existing(path, opt, ret, why);
}

int pen_store_open(const char *dir, const struct pen_store_options *opt, struct pen_store **ret,
		   struct pen_failure *why)
{
	struct pen_store_options all = { .size = sizeof(all), .create = true };
	char *path = NULL;
	int code;

	if (opt) {
		/* A caller built against an older header has a shorter struct: the rest is zero. */
		if (opt->size < sizeof(opt->size))
			return pen_fail(why, -EINVAL, EINVAL, "pen_store_options.size is not set");
		memset(&all, 0, sizeof(all));
		memcpy(&all, opt, pen_min(opt->size, sizeof(all)));
	}
	code = path_clean(dir, &path, why);
	if (code)
		return code;
	code = open_or_create(path, &all, ret, why);
	free(path);
	if (code)
		(void)pen_fail(why, code, 0, "the store %s cannot be opened",
			       dir); /* unless something said more */
	return code;
}

void pen_store_close(struct pen_store *store)
{
	/* In a child of the process that opened it nothing here is ours: not the locks, not the reader slots. */
	if (!store || store->pid != getpid())
		return;
	pen_assert(!store->active_reads && !atomic_load_explicit(&store->writer, memory_order_relaxed));
	store_free(store);
}

/* ---- facts ----------------------------------------------------------------------------------- */

const char *pen_store_path(const struct pen_store *store)
{
	return store->path;
}

const struct pen_clock *pen_store_clock(const struct pen_store *store)
{
	return store->clock;
}

void pen_store_set_clock(struct pen_store *store, const struct pen_clock *clock)
{
	store->clock = clock;
}

uint64_t pen_store_id(const struct pen_store *store)
{
	return store->store_id;
}

int pen_store_run_fd(const struct pen_store *store)
{
	return store->run_fd;
}

/* mdb_reader_list says one line per slot: pid, thread, and the snapshot or "-" when it rests. */
static int reader_count(const char *line, void *arg)
{
	const char *last = strrchr(line, ' ');

	if (last && last[1] >= '0' && last[1] <= '9')
		++*(uint32_t *)arg;
	return 0;
}

int pen_store_info(struct pen_store *store, struct pen_store_info *ret)
{
	struct pen_store_info info = { .durability = PEN_DURABLE_COMMIT };
	enum pen_durability level;
	struct pen_fmt_meta meta;
	struct statvfs fs;
	struct stat st;
	MDB_envinfo env;
	MDB_stat batches;
	MDB_txn *txn;
	int code;

	code = pen_read_begin(store, &txn);
	if (code)
		return code;
	code = pen_meta_read(store, txn, &meta);
	if (!code)
		code = pen_mdb_code(mdb_stat(txn, store->db[PEN_DB_BATCHES], &batches));
	pen_read_end(store, txn);
	if (code)
		return code;
	(void)mdb_env_info(store->env, &env);
	if (fstat(store->witness_fd, &st) || fstatvfs(store->dir_fd, &fs))
		return -errno;
	(void)mdb_reader_list(store->env, reader_count, &info.readers);
	info.format = meta.format;
	info.store_id = meta.store_id;
	info.map_bytes = env.me_mapsize;
	info.used_bytes = (env.me_last_pgno + 1) * (uint64_t)store->page_size;
	info.file_bytes = (uint64_t)st.st_size;
	info.free_disk_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	info.last_event = meta.last_event;
	info.batches = batches.ms_entries;
	info.last_txn = env.me_last_txnid;
	info.readers_max = env.me_maxreaders;
	info.page_bytes = store->page_size;
	info.waiting_writers = store->turn ? pen_turn_waiting(store->turn) : 0;
	if (pen_turn_strictest(store, &level))
		info.durability = level;
	*ret = info;
	return 0;
}

const char *pen_store_lmdb(void)
{
	return mdb_version(NULL, NULL, NULL);
}
