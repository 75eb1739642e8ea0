/* SPDX-License-Identifier: MIT */
/*
 * txn - see txn.h
 *
 * Telling a full disk from a failed one. mdb_txn_commit writes the data pages, syncs, then writes the meta
 * page, and returns one errno for all three:
 *
 *   meta page         LMDB marks the environment: every later begin says MDB_PANIC. That is asked for.
 *   sync              the kernel keeps the error of the write-back for every descriptor of the file that
 *                     has not heard of it. LMDB's has, so a second one (the witness, opened with the store
 *                     and never written to) is asked: its fdatasync fails with the same error.
 *   data pages        neither of the two. ENOSPC and EDQUOT are then a full disk; so is the EIO that LMDB
 *                     makes of a short write, if the disk is in fact full. Anything else is a failed disk.
 *
 * After a failed disk the process writes no more: the kernel has marked pages clean that never reached the
 * disk, and a second sync would report success.
 */
#include "store/txn.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "ring/assert.h"
#include "ring/base.h"
#include "store/pages.h"
#include "store/store_private.h"
#include "store/turn.h"

#define DISK_NEARLY_FULL (1u << 20) /* bytes free, besides those of the transaction */
#define DIRTY_BASE 16u		    /* main database, meta row */
#define DIRTY_PER_DB 2u		    /* its row in the main database: a leaf, and a split now and then */

/* ---- what a failure means -------------------------------------------------------------------- */

static bool disk_panicked(struct pen_store *store)
{
	MDB_txn *txn;
	int rc = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn);

	if (!rc)
		mdb_txn_abort(txn);
	return rc == MDB_PANIC;
}

static bool disk_nearly_full(struct pen_store *store, uint64_t pages)
{
	struct statvfs fs;

	return !fstatvfs(store->dir_fd, &fs) &&
	       (uint64_t)fs.f_bavail * fs.f_frsize < DISK_NEARLY_FULL + pages * store->page_size;
}

static int fail_for_good(struct pen_store *store)
{
	atomic_store_explicit(&store->sticky, -PEN_DISK_FAILED, memory_order_relaxed);
	return -PEN_DISK_FAILED;
}

/* pages: how many the transaction was about to write. */
static int write_failure(struct pen_store *store, int rc, uint64_t pages)
{
	if (rc < 0 || rc == ENOMEM)
		return rc == MDB_PANIC ? fail_for_good(store) : pen_mdb_code(rc);
	if (disk_panicked(store) || fdatasync(store->witness_fd))
		return fail_for_good(store);
	if (rc == ENOSPC || rc == EDQUOT || (rc == EIO && disk_nearly_full(store, pages)))
		return -PEN_DISK_FULL;
	return fail_for_good(store);
}

int pen_txn_failed(struct pen_txn *txn, int rc)
{
	/* LMDB writes pages in the middle of a transaction only when it spills; otherwise an errno here is memory
	 * or misuse, which leave the disk alone. */
	int code = rc == EINVAL || rc == EACCES ? -rc : write_failure(txn->store, rc, 0);

	if (!txn->failed)
		txn->failed = code;
	return code;
}

/* ---- begin, commit, abort -------------------------------------------------------------------- */

/* The environment's flag may change only while nobody in this process is in a write transaction. */
static int level_set(struct pen_store *store, enum pen_durability level)
{
	bool nometasync = level != PEN_DURABLE_COMMIT;
	int rc;

	if (nometasync == store->flag_nometasync)
		return 0;
	rc = mdb_env_set_flags(store->env, MDB_NOMETASYNC, nometasync);
	if (!rc)
		store->flag_nometasync = nometasync;
	return rc;
}

/* write_mutex is held. */
static int begin_locked(struct pen_txn *txn)
{
	struct pen_store *store = txn->store;
	int rc, code;

	code = atomic_load_explicit(&store->sticky, memory_order_relaxed);
	if (code)
		return code;
	txn->level = pen_turn_level(store, txn->level);
	rc = level_set(store, txn->level);
	if (!rc)
		rc = mdb_txn_begin(store->env, NULL, 0, &txn->mdb);
	if (rc == MDB_MAP_RESIZED) {
		code = pen_store_remap(store);
		if (code)
			return code;
		rc = mdb_txn_begin(store->env, NULL, 0, &txn->mdb);
	}
	if (rc)
		return rc == MDB_PANIC ? fail_for_good(store) : pen_mdb_code(rc);
	code = pen_meta_read(store, txn->mdb, &txn->meta);
	if (code)
		mdb_txn_abort(txn->mdb);
	return code;
}

static void let_go(struct pen_store *store)
{
	atomic_store_explicit(&store->writer, 0, memory_order_relaxed);
	pthread_mutex_unlock(&store->write_mutex);
}

int pen_txn_begin(struct pen_store *store, enum pen_durability level, struct pen_txn **ret, uint64_t *wait_ns,
		  struct pen_failure *why)
{
	uint64_t start = pen_mono_ns(store->clock);
	struct pen_txn *txn;
	uint32_t slot;
	int code;

	if (store->pid != getpid())
		return pen_fail(why, -EINVAL, EINVAL,
				"a store cannot be used in a child of the process that opened it");
	if (store->read_only)
		return pen_fail(why, -PEN_STORE_READONLY, 0, "the store %s was opened for reading",
				store->path);
	pen_assert(
		!pthread_equal(atomic_load_explicit(&store->writer, memory_order_relaxed), pthread_self()));
	txn = calloc(1, sizeof(*txn));
	if (!txn)
		return pen_fail(why, -PEN_MEMORY, ENOMEM, "a transaction cannot begin");
	txn->store = store;
	txn->level = level;
	slot = pen_turn_announce(store->turn);
	pthread_mutex_lock(&store->write_mutex);
	code = begin_locked(txn);
	pen_turn_served(store->turn, slot);
	if (code) {
		pthread_mutex_unlock(&store->write_mutex);
		free(txn);
		return pen_fail(why, code, 0, "a transaction cannot begin in the store %s", store->path);
	}
	atomic_store_explicit(&store->writer, pthread_self(), memory_order_relaxed);
	txn->self = txn;
	if (wait_ns)
		*wait_ns = pen_mono_ns(store->clock) - start;
	*ret = txn;
	return 0;
}

static void check(const struct pen_txn *txn)
{
	pen_assert(txn->self == txn && txn->store->pid == getpid());
	pen_assert(pthread_equal(atomic_load_explicit(&txn->store->writer, memory_order_relaxed),
				 pthread_self()));
}

static void txn_free(struct pen_txn *txn, bool committed)
{
	struct pen_store *store = txn->store;

	pen_dataset_end(txn, committed);
	txn->self = NULL;
	free(txn);
	let_go(store);
}

void pen_txn_abort(struct pen_txn *txn)
{
	check(txn);
	mdb_txn_abort(txn->mdb);
	if (txn->failed == -PEN_MAP_FULL)
		pen_store_sweep(txn->store); /* a dead reader keeps pages from being used again */
	txn_free(txn, false);
}

static int meta_write(struct pen_txn *txn)
{
	if (!txn->meta_changed)
		return 0;
	pen_seal(&txn->meta, sizeof(txn->meta), PEN_KIND_META, PEN_META_VERSION);
	return pen_txn_put(txn, PEN_DB_META, PEN_META_KEY, strlen(PEN_META_KEY), &txn->meta,
			   sizeof(txn->meta), 0);
}

int pen_txn_commit(struct pen_txn *txn, struct pen_failure *why)
{
	struct pen_store *store = txn->store;
	uint64_t pages;
	int code, rc;

	check(txn);
	pen_assert(txn->failed || pen_dataset_all_saved(txn));
	if (!txn->failed)
		(void)meta_write(txn);
	if (txn->failed) {
		code = txn->failed;
		pen_txn_abort(txn);
		return pen_fail(why, code, 0, "a transaction of the store %s had failed", store->path);
	}
	pages = pen_txn_dirty(txn);
	rc = mdb_txn_commit(txn->mdb);
	code = rc ? write_failure(store, rc, pages) : 0;
	if (code == -PEN_MAP_FULL || ++store->commits >= PEN_SWEEP_COMMITS) {
		store->commits = 0;
		pen_store_sweep(store);
	}
	txn_free(txn, !code);
	/* A short write on a full disk comes from LMDB as EIO, which would send people to the cables. */
	if (code == -PEN_DISK_FULL && rc == EIO)
		rc = ENOSPC;
	return code ? pen_fail(why, code, rc > 0 ? rc : 0, "a commit to the store %s failed: %s", store->path,
			       mdb_strerror(rc))
		    : 0;
}

struct pen_store *pen_txn_store(const struct pen_txn *txn)
{
	return txn->store;
}

int pen_store_sync(struct pen_store *store)
{
	int code, rc;

	if (store->pid != getpid())
		return -EINVAL;
	if (store->read_only)
		return 0;
	pen_assert(
		!pthread_equal(atomic_load_explicit(&store->writer, memory_order_relaxed), pthread_self()));
	pthread_mutex_lock(&store->write_mutex);
	code = atomic_load_explicit(&store->sticky, memory_order_relaxed);
	if (!code) {
		rc = mdb_env_sync(store->env, 1);
		if (rc)
			code = fail_for_good(store); /* of whatever kind: never tried twice */
	}
	pthread_mutex_unlock(&store->write_mutex);
	return code;
}

/* ---- dirty pages ----------------------------------------------------------------------------- */

uint64_t pen_overflow_pages(const struct pen_store *store, size_t key_len, size_t value_len)
{
	return pen_pages_overflow(store->page_size, key_len, value_len);
}

void pen_touch_begin(struct pen_txn *txn, MDB_dbi dbi, struct pen_touch *touch)
{
	MDB_stat stat;

	*touch = (struct pen_touch){ 0 };
	if (!mdb_stat(txn->mdb, dbi, &stat))
		touch->leaves_before = stat.ms_leaf_pages;
}

/*
 * A dirty leaf was written to or is new (LMDB counts its leaves, so the new ones are known exactly), and
 * there are no more than all. A dirty branch page stands above a dirty leaf.
 */
uint64_t pen_touch_dirty(struct pen_txn *txn, MDB_dbi dbi, const struct pen_touch *touch)
{
	uint64_t leaves, branches;
	MDB_stat stat;

	if (!touch->leaves || mdb_stat(txn->mdb, dbi, &stat))
		return touch->overflow;
	leaves = touch->leaves;
	if (stat.ms_leaf_pages > touch->leaves_before)
		leaves += stat.ms_leaf_pages - touch->leaves_before;
	leaves = pen_min(leaves, stat.ms_leaf_pages);
	branches = pen_min(leaves * stat.ms_depth, stat.ms_branch_pages);
	return leaves + branches + touch->overflow + DIRTY_PER_DB;
}

uint64_t pen_txn_dirty(const struct pen_txn *txn)
{
	/* LMDB's mdb_stat takes a transaction that is not const; it changes nothing of ours. */
	struct pen_txn *mutable = txn->self;
	uint64_t n = DIRTY_BASE + txn->dirty + pen_dataset_dirty(mutable);
	int i;

	for (i = 0; i < PEN_DB_COUNT; i++)
		if (txn->touch[i].leaves)
			n += pen_touch_dirty(mutable, txn->store->db[i], &txn->touch[i]);
	return n;
}

void pen_txn_add_dirty(struct pen_txn *txn, uint64_t n)
{
	txn->dirty += n;
}

/* ---- penstock's own rows --------------------------------------------------------------------- */

int pen_txn_put(struct pen_txn *txn, enum pen_db db, const void *key, size_t key_len, const void *value,
		size_t value_len, unsigned flags)
{
	MDB_val k = { .mv_size = key_len, .mv_data = (void *)(uintptr_t)key };
	MDB_val v = { .mv_size = value_len, .mv_data = (void *)(uintptr_t)value };
	struct pen_touch *touch = &txn->touch[db];
	int rc;

	if (!touch->leaves)
		pen_touch_begin(txn, txn->store->db[db], touch);
	touch->leaves++;
	touch->overflow += pen_overflow_pages(txn->store, key_len, value_len);
	rc = mdb_put(txn->mdb, txn->store->db[db], &k, &v, flags);
	if (rc == MDB_KEYEXIST && flags & (MDB_NOOVERWRITE | MDB_APPEND))
		return -EEXIST; /* the transaction is as it was */
	return rc ? pen_txn_failed(txn, rc) : 0;
}

int pen_txn_get(struct pen_txn *txn, enum pen_db db, const void *key, size_t key_len, const void **ret_value,
		size_t *ret_len)
{
	MDB_val k = { .mv_size = key_len, .mv_data = (void *)(uintptr_t)key }, v;
	int rc = mdb_get(txn->mdb, txn->store->db[db], &k, &v);

	if (rc)
		return pen_mdb_code(rc);
	*ret_value = v.mv_data;
	*ret_len = v.mv_size;
	return 0;
}

int pen_txn_del(struct pen_txn *txn, enum pen_db db, const void *key, size_t key_len)
{
	MDB_val k = { .mv_size = key_len, .mv_data = (void *)(uintptr_t)key };
	struct pen_touch *touch = &txn->touch[db];
	int rc;

	if (!touch->leaves)
		pen_touch_begin(txn, txn->store->db[db], touch);
	touch->leaves++;
	rc = mdb_del(txn->mdb, txn->store->db[db], &k, NULL);
	if (rc == MDB_NOTFOUND)
		return -PEN_NOT_FOUND;
	return rc ? pen_txn_failed(txn, rc) : 0;
}
