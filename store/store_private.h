/* SPDX-License-Identifier: MIT */
/*
 * store_private - what the files of this room share
 *
 * LMDB's rules that shape it:
 *
 *   - mdb_dbi_open must not run in two transactions of a process at once, and a transaction that began
 *   before another
 *     one opened a handle would give the same slot away again. So every handle is opened by a transaction
 *     that began under the process's write mutex and ends under it (handle_get, or the write transaction
 *     itself), and is entered in the store's table only after that transaction committed.
 *   - A handle is valid only in transactions that began after it was entered: get the handle, then begin.
 *   - A handle names a database; another process may drop the database under it. Reading through such a
 *   handle looks
 *     like "no such key". So every transaction asks pen_db_find first.
 *   - Growing the map is only allowed when no transaction of the process is active: readers are counted.
 */
#ifndef PEN_STORE_STORE_PRIVATE_H
#define PEN_STORE_STORE_PRIVATE_H

#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/types.h>

#include "store/format.h"
#include "store/mdb_error.h"
#include "store/store.h"
#include "store/txn.h"

struct pen_turn;
struct pen_dataset;
struct pen_minutes;

/* The system databases, opened with the store; names in pen_db_names. */
enum pen_db {
	PEN_DB_META,
	PEN_DB_BATCHES,
	PEN_DB_STATES,
	PEN_DB_IDENTITY,
	PEN_DB_ITEMS,
	PEN_DB_EVENTS,
	PEN_DB_DATASETS,
	PEN_DB_DIGESTS,
	PEN_DB_FIRST_COUNT, /* of format 1 */
	PEN_DB_ORDERS = PEN_DB_FIRST_COUNT,
	PEN_DB_JOBS,
	PEN_DB_CONTROLS,
	PEN_DB_EDGES,
	PEN_DB_INDEX,
	PEN_DB_CACHE,
	PEN_DB_FLAGS, /* a store that was only read may not have it: then its handle is 0 */
	PEN_DB_COUNT,
};
extern const char *const pen_db_names[PEN_DB_COUNT];
#define PEN_DB_MAIN ((MDB_dbi)1) /* LMDB's unnamed database: name -> root */

#define PEN_META_KEY "meta" /* the key of struct pen_fmt_meta, 4 bytes */

#define PEN_HANDLES (PEN_DATASETS_MAX + 64u) /* foreign databases are read too */
#define PEN_READERS_MAX 1024u
#define PEN_READ_POOL 16u     /* reset read transactions kept for the next reader */
#define PEN_SWEEP_COMMITS 64u /* dead readers are looked for this often */

/* An open LMDB handle of a dataset. Lives as long as the store; free again when name is empty. */
struct pen_handle {
	char name[PEN_DATASET_NAME_MAX + 1]; /* "": the slot is free */
	MDB_dbi dbi;
	uint32_t users; /* cursors and gets at work; under handle_mutex */
};

struct pen_store {
	MDB_env *env;
	MDB_dbi db[PEN_DB_COUNT];
	char *path;
	int dir_fd, run_fd; /* run_fd is -1 when opened read-only and there is no run/ */
	int witness_fd;	    /* data.mdb, read-only: asked whether the disk has failed (txn.c) */
	bool read_only;
	uint32_t page_size;
	uint64_t store_id;
	uint32_t format; /* of its meta row */
	pid_t pid;	 /* of the process that opened it: a fork's child must not use it */
	dev_t dev;
	ino_t ino;
	struct pen_store *next_open; /* list of the process's open stores */
	const struct pen_clock *clock;
	struct pen_turn *turn;	   /* NULL when read-only */
	struct pen_flagset *flags; /* flagset.h */

	pthread_mutex_t write_mutex; /* held from begin to commit/abort, around sync, and to open a handle */
	_Atomic pthread_t writer; /* the thread inside a write transaction, 0: none. Written by the holder */
	uint32_t commits;	  /* since the last sweep; under write_mutex */
	bool flag_nometasync;	  /* the environment's flag now; under write_mutex */
	/* A code once nothing may be written any more. Written by the holder of write_mutex. */
	_Atomic int sticky;

	pthread_mutex_t read_mutex; /* pool, active_reads */
	pthread_cond_t read_cond;   /* a reader went */
	MDB_txn *pool[PEN_READ_POOL];
	uint32_t pool_count;
	uint32_t active_reads;
	bool remapping;

	pthread_mutex_t handle_mutex;
	struct pen_handle *handles; /* PEN_HANDLES of them */
};

/* What a transaction did to one database, for the estimate of dirty pages. */
struct pen_touch {
	uint64_t leaves;	/* leaf pages written to, counted often rather than never */
	uint64_t overflow;	/* overflow pages written */
	uint64_t leaves_before; /* when the transaction first wrote here */
};

struct pen_txn {
	struct pen_store *store;
	MDB_txn *mdb;
	uint64_t dirty; /* what other files added */
	int failed;	/* the first code a write failed with: the transaction cannot commit */
	struct pen_touch touch[PEN_DB_COUNT];
	enum pen_durability level; /* in force */
	struct pen_fmt_meta
		meta; /* as read at begin; changed fields are written at commit when meta_changed */
	bool meta_changed;
	struct pen_dataset *datasets; /* freed with the transaction */
	struct pen_minutes *minutes;  /* who is told of events (journal.h); may be NULL */
	struct pen_txn *self;	      /* guards against use after the end */
};

/* ---- sealed values --------------------------------------------------------------------------- */

/* Fills the head of a finished value: kind, version, then the CRC of all behind the crc field. */
void pen_seal(void *value, size_t len, enum pen_fmt_kind kind, uint16_t version);
/*
 * Checks a value read from the store: at least min_len bytes, the kind, the CRC. 0, or -PEN_STORE_DAMAGED.
 * A version above ours is -PEN_STORE_NEWER. The bytes may lie unaligned: memcpy the struct out.
 */
int pen_unseal(const void *value, size_t len, size_t min_len, enum pen_fmt_kind kind);

/* ---- reading --------------------------------------------------------------------------------- */

/*
 * A read transaction: a consistent snapshot, from the pool. 0, -PEN_READERS_FULL (after a sweep),
 * -PEN_MAP_FULL (another process grew the map beyond what this one can follow), -EINVAL in a forked child.
 * Any thread; may be ended by another.
 */
int pen_read_begin(struct pen_store *store, MDB_txn **ret);
void pen_read_end(struct pen_store *store, MDB_txn *txn);

/*
 * The handle of a database that exists already, for transactions begun after this call; opens it when no handle
 * is there, which waits for this process's write transaction to end. -PEN_NO_DATASET; -EDEADLK when called
 * by the thread that is in a write transaction and no handle is there yet; -PEN_KEY_KIND when the name is
 * no database. Balance with put.
 */
int pen_handle_get(struct pen_store *store, const char *name, struct pen_handle **ret);
void pen_handle_put(struct pen_store *store, struct pen_handle *handle);

/* A named database's row in LMDB's main database, as of this transaction's snapshot (a write transaction's own changes
 * are not in it). Never opens a handle. */
struct pen_db_row {
	uint16_t flags, depth; /* MDB_DUPSORT, ... */
	uint64_t branch_pages, leaf_pages, overflow_pages, entries;
	uint64_t root; /* UINT64_MAX: empty */
};
/* 0, -PEN_NO_DATASET, or -PEN_KEY_KIND when the key of the main database holds something that is no database. */
int pen_db_find(MDB_txn *txn, const char *name, struct pen_db_row *ret);
/* The row in bytes got from a cursor over PEN_DB_MAIN: false when these are no database. */
bool pen_db_row_read(const void *data, size_t len, struct pen_db_row *ret);

/* The dataset's row of penstock.datasets; -PEN_NO_DATASET when there is none (absent, or a foreign database). */
int pen_dataset_row(struct pen_store *store, MDB_txn *txn, const char *name, struct pen_fmt_dataset *ret);

/* penstock.meta as of the transaction. */
int pen_meta_read(struct pen_store *store, MDB_txn *txn, struct pen_fmt_meta *ret);

/*
 * Looks at STORE/data.mdb with pread, before LMDB maps it: meta pages valid, the file as long as they say.
 * 0, -PEN_STORE_MISSING, -PEN_STORE_DAMAGED, -PEN_STORE_NEWER (LMDB's own format), or -errno. (LMDB's fcntl
 * locks are on lock.mdb: closing a descriptor of data.mdb drops none.)
 */
int pen_store_inspect(int dir_fd, struct pen_failure *why);

/* A batch's row in a system database that has one a batch, as of the transaction. -PEN_NOT_FOUND. */
int pen_batch_row(struct pen_store *store, MDB_txn *mdb, enum pen_db db, uint64_t id, MDB_val *ret);

/* ---- cursors --------------------------------------------------------------------------------- */

enum pen_cursor_mode { PEN_CURSOR_SCAN = 1, PEN_CURSOR_DATASETS, PEN_CURSOR_ITEMS, PEN_CURSOR_EVENTS };

struct pen_cursor {
	struct pen_store *store;
	MDB_txn *txn; /* its snapshot */
	MDB_cursor *mdb;
	struct pen_handle *handle; /* scan: the dataset's; else NULL */
	enum pen_cursor_mode mode;
	bool started, done;
	int error; /* a failure repeats */

	void *from, *to, *prefix; /* scan: malloc'ed copies or NULL */
	size_t from_len, to_len, prefix_len;
	uint64_t batch;	   /* items, events */
	uint64_t next;	   /* items: the lowest item wanted; events: the lowest sequence wanted */
	int state, code;   /* items: filters, 0: all */
	uint8_t found[16]; /* items: the key of the row that the index named */
	void *buffer;	   /* strings handed out: valid until the next call */
	size_t buffer_cap;
	void *extra; /* malloc'ed, mode's own */
};

/*
 * A cursor with its read transaction. With name (scan): takes the handle before the transaction, checks
 * that the snapshot has the dataset and opens cur->mdb on it; else on `dbi`. Both in read.c, as is
 * pen_cursor_close (public).
 */
int pen_cursor_make(struct pen_store *store, enum pen_cursor_mode mode, const char *name, MDB_dbi dbi,
		    struct pen_cursor **ret);

/* ---- write transactions ---------------------------------------------------------------------- */

/* What a failed write of the transaction means: remembers it, and returns the code. */
int pen_txn_failed(struct pen_txn *txn, int rc);
/* Pages of one database that are dirty, at most. */
uint64_t pen_touch_dirty(struct pen_txn *txn, MDB_dbi dbi, const struct pen_touch *touch);
void pen_touch_begin(struct pen_txn *txn, MDB_dbi dbi, struct pen_touch *touch);
/* Overflow pages of a value, 0 when it fits into a leaf. */
uint64_t pen_overflow_pages(const struct pen_store *store, size_t key_len, size_t value_len);

/* Puts a value that penstock itself wrote (sealed by the caller) and adds what it may dirty. flags: MDB_APPEND, ... */
int pen_txn_put(struct pen_txn *txn, enum pen_db db, const void *key, size_t key_len, const void *value,
		size_t value_len, unsigned flags);
/* mdb_get of a system database. -PEN_NOT_FOUND. The view lasts until the next write of the transaction. */
int pen_txn_get(struct pen_txn *txn, enum pen_db db, const void *key, size_t key_len, const void **ret_value,
		size_t *ret_len);

/* mdb_del of a system database. -PEN_NOT_FOUND: it was not there. */
int pen_txn_del(struct pen_txn *txn, enum pen_db db, const void *key, size_t key_len);

/* Frees the datasets of a transaction, and enters the handles it opened when it was committed (dataset.c). */
void pen_dataset_end(struct pen_txn *txn, bool committed);
/* Dirty pages of all datasets of the transaction, at most. */
uint64_t pen_dataset_dirty(struct pen_txn *txn);
/* All datasets of the transaction were saved after their last change. */
bool pen_dataset_all_saved(const struct pen_txn *txn);

/* ---- handles, for those who hold write_mutex -------------------------------------------------- */

struct pen_handle *pen_handle_find(struct pen_store *store, const char *name);
/* Enters a handle whose transaction has committed. When the table is full, closes one that nobody uses. */
void pen_handle_enter(struct pen_store *store, const char *name, MDB_dbi dbi);
/* Forgets the handle, and closes it unless LMDB has done so: -EBUSY when a cursor of this process is on it. */
int pen_handle_forget(struct pen_store *store, const char *name, bool close);
/* Closes handles that nobody uses, except those of txn's datasets (txn may be NULL). */
void pen_handle_evict(struct pen_store *store, const struct pen_txn *txn);
bool pen_dataset_in_use(const struct pen_txn *txn, const char *name);

/* ---- opening --------------------------------------------------------------------------------- */

/* Makes a store at path (create.c): the directory is missing or empty. 0 also when somebody else just made it. */
int pen_store_create(const char *path, const struct pen_store_options *opt, const struct pen_clock *clock,
		     struct pen_failure *why);
/* A new environment with our settings, opened on a directory. map_bytes 0: as much as is sensible. */
int pen_env_open(const char *path, uint64_t map_bytes, bool read_only, MDB_env **ret,
		 struct pen_failure *why);
/* The address space for a store whose file has file_bytes now. */
uint64_t pen_map_choice(uint64_t map_bytes, uint64_t file_bytes);
/* Follows another process that grew the map. write_mutex is held, no transaction of this thread is open. */
int pen_store_remap(struct pen_store *store);
/* Sweeps the slots of dead readers. */
void pen_store_sweep(struct pen_store *store);
/* The strictest level of all live engines: false when there is none (turn.c). */
bool pen_turn_strictest(const struct pen_store *store, enum pen_durability *ret);

/* statfs(2); tests replace it. */
struct statfs;
extern int (*pen_store_statfs)(const char *path, struct statfs *ret);
/* Called at named points of the creation; tests replace it to die there. */
extern void (*pen_store_point)(const char *name);

#endif
