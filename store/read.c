/* SPDX-License-Identifier: MIT */
/*
 * read - snapshots, handles and sealed values for the files of this room
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "ring/assert.h"
#include "ring/base.h"
#include "ring/hash.h"
#include "store/store_private.h"

/* How long a reader waits for the others to end when the map must move: they may be its own thread's. */
#define REMAP_WAIT_S 1

/* ---- sealed values --------------------------------------------------------------------------- */

void pen_seal(void *value, size_t len, enum pen_fmt_kind kind, uint16_t version)
{
	struct pen_head head = { .kind = (uint16_t)kind, .version = version };

	pen_assert(len >= sizeof(head));
	memcpy(value, &head, sizeof(head));
	head.crc = pen_crc32c((const char *)value + sizeof(head.crc), len - sizeof(head.crc));
	memcpy(value, &head.crc, sizeof(head.crc));
}

/* Layouts have their own versions: a newer one must not be taken for ours because another kind has got so far. */
static uint16_t newest_version(enum pen_fmt_kind kind)
{
	return kind == PEN_KIND_ITEM ? 2 : kind == PEN_KIND_META ? PEN_META_VERSION : 1;
}

int pen_unseal(const void *value, size_t len, size_t min_len, enum pen_fmt_kind kind)
{
	struct pen_head head;

	if (len < sizeof(head))
		return -PEN_STORE_DAMAGED;
	memcpy(&head, value, sizeof(head));
	if (head.crc != pen_crc32c((const char *)value + sizeof(head.crc), len - sizeof(head.crc)) ||
	    head.kind != kind)
		return -PEN_STORE_DAMAGED;
	if (head.version > newest_version(kind))
		return -PEN_STORE_NEWER; /* before the length: a newer struct may be shorter */
	return len < min_len ? -PEN_STORE_DAMAGED : 0;
}

int pen_batch_row(struct pen_store *store, MDB_txn *mdb, enum pen_db db, uint64_t id, MDB_val *ret)
{
	uint8_t be[8];
	MDB_val key = { sizeof(be), be };

	pen_put_be64(be, id);
	return pen_mdb_code(mdb_get(mdb, store->db[db], &key, ret));
}

/* ---- read transactions ----------------------------------------------------------------------- */

static void read_enter(struct pen_store *store, MDB_txn **ret_pooled)
{
	pthread_mutex_lock(&store->read_mutex);
	while (store->remapping)
		pthread_cond_wait(&store->read_cond, &store->read_mutex);
	store->active_reads++;
	*ret_pooled = store->pool_count ? store->pool[--store->pool_count] : NULL;
	pthread_mutex_unlock(&store->read_mutex);
}

static void read_leave(struct pen_store *store)
{
	pthread_mutex_lock(&store->read_mutex);
	pen_assert(store->active_reads > 0);
	store->active_reads--;
	if (store->remapping)
		pthread_cond_broadcast(&store->read_cond);
	pthread_mutex_unlock(&store->read_mutex);
}

static int read_start(struct pen_store *store, MDB_txn **ret)
{
	MDB_txn *txn;
	int rc;

	read_enter(store, &txn);
	if (txn) {
		rc = mdb_txn_renew(txn);
		if (rc)
			mdb_txn_abort(txn);
	} else {
		rc = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn);
	}
	if (rc)
		read_leave(store);
	else
		*ret = txn;
	return rc;
}

static int remap_as_reader(struct pen_store *store)
{
	struct timespec until;
	int code;

	if (pthread_equal(atomic_load_explicit(&store->writer, memory_order_relaxed), pthread_self()))
		return -PEN_MAP_FULL; /* its own transaction holds the map where it is */
	if (timespec_get(&until, TIME_UTC) != TIME_UTC)
		return -PEN_MAP_FULL;
	until.tv_sec += REMAP_WAIT_S;
	if (pthread_mutex_timedlock(&store->write_mutex, &until))
		return -PEN_MAP_FULL;
	code = pen_store_remap(store);
	pthread_mutex_unlock(&store->write_mutex);
	return code;
}

int pen_read_begin(struct pen_store *store, MDB_txn **ret)
{
	bool swept = false, remapped = false;
	int rc, code;

	if (store->pid != getpid())
		return -EINVAL;
	if (atomic_load_explicit(&store->sticky, memory_order_relaxed) == -PEN_MAP_FULL)
		return -PEN_MAP_FULL; /* the map was lost while it moved: there is nothing to read */
	for (;;) {
		rc = read_start(store, ret);
		if (rc == MDB_READERS_FULL && !swept) {
			swept = true;
			pen_store_sweep(store);
		} else if (rc == MDB_MAP_RESIZED && !remapped) {
			remapped = true;
			code = remap_as_reader(store);
			if (code)
				return code;
		} else {
			return pen_mdb_code(rc);
		}
	}
}

void pen_read_end(struct pen_store *store, MDB_txn *txn)
{
	mdb_txn_reset(txn);
	pthread_mutex_lock(&store->read_mutex);
	if (store->pool_count < PEN_READ_POOL) {
		store->pool[store->pool_count++] = txn;
		txn = NULL;
	}
	pthread_mutex_unlock(&store->read_mutex);
	if (txn)
		mdb_txn_abort(txn);
	read_leave(store);
}

/* ---- LMDB's rows of named databases ---------------------------------------------------------- */

/* struct MDB_db of LMDB 0.9, as it lies in the main database and in the meta pages. */
struct raw_db {
	uint32_t pad;
	uint16_t flags, depth;
	uint64_t branch_pages, leaf_pages, overflow_pages, entries, root;
};
_Static_assert(sizeof(struct raw_db) == 48, "MDB_db");

bool pen_db_row_read(const void *data, size_t len, struct pen_db_row *ret)
{
	struct raw_db raw;
	bool empty;

	if (len != sizeof(raw))
		return false;
	memcpy(&raw, data, sizeof(raw));
	empty = raw.root == UINT64_MAX;
	/* A plain value of 48 bytes may sit there too: believe only what a database can look like. */
	if (raw.depth > 32 || raw.flags & ~0x7fu || (!raw.depth) != empty || (empty && raw.entries) ||
	    (!empty && !raw.leaf_pages))
		return false;
	*ret = (struct pen_db_row){
		.flags = raw.flags,
		.depth = raw.depth,
		.branch_pages = raw.branch_pages,
		.leaf_pages = raw.leaf_pages,
		.overflow_pages = raw.overflow_pages,
		.entries = raw.entries,
		.root = raw.root,
	};
	return true;
}

int pen_db_find(MDB_txn *txn, const char *name, struct pen_db_row *ret)
{
	MDB_val key = { .mv_size = strlen(name), .mv_data = (void *)(uintptr_t)name }, data;
	int rc = mdb_get(txn, PEN_DB_MAIN, &key, &data);

	if (rc == MDB_NOTFOUND)
		return -PEN_NO_DATASET;
	if (rc)
		return pen_mdb_code(rc);
	return pen_db_row_read(data.mv_data, data.mv_size, ret) ? 0 : -PEN_KEY_KIND;
}

int pen_dataset_row(struct pen_store *store, MDB_txn *txn, const char *name, struct pen_fmt_dataset *ret)
{
	MDB_val key = { .mv_size = strlen(name), .mv_data = (void *)(uintptr_t)name }, data;
	int rc;

	if (!key.mv_size || key.mv_size > PEN_DATASET_NAME_MAX)
		return -PEN_NO_DATASET;
	rc = mdb_get(txn, store->db[PEN_DB_DATASETS], &key, &data);
	if (rc)
		return rc == MDB_NOTFOUND ? -PEN_NO_DATASET : pen_mdb_code(rc);
	rc = pen_unseal(data.mv_data, data.mv_size, sizeof(*ret), PEN_KIND_DATASET);
	if (!rc)
		memcpy(ret, data.mv_data, sizeof(*ret));
	return rc;
}

int pen_meta_read(struct pen_store *store, MDB_txn *txn, struct pen_fmt_meta *ret)
{
	MDB_val key = { .mv_size = strlen(PEN_META_KEY), .mv_data = (void *)(uintptr_t)PEN_META_KEY }, data;
	int rc = mdb_get(txn, store->db[PEN_DB_META], &key, &data);

	if (rc)
		return rc == MDB_NOTFOUND ? -PEN_STORE_DAMAGED : pen_mdb_code(rc);
	rc = pen_unseal(data.mv_data, data.mv_size, sizeof(*ret), PEN_KIND_META);
	if (!rc)
		memcpy(ret, data.mv_data, sizeof(*ret));
	return rc;
}

/* ---- handles --------------------------------------------------------------------------------- */

static struct pen_handle *table_find(struct pen_store *store, const char *name)
{
	size_t i;

	for (i = 0; i < PEN_HANDLES; i++)
		if (store->handles[i].name[0] && !strcmp(store->handles[i].name, name))
			return &store->handles[i];
	return NULL;
}

struct pen_handle *pen_handle_find(struct pen_store *store, const char *name)
{
	struct pen_handle *found;

	pthread_mutex_lock(&store->handle_mutex);
	found = table_find(store, name);
	pthread_mutex_unlock(&store->handle_mutex);
	return found;
}

void pen_handle_evict(struct pen_store *store, const struct pen_txn *txn)
{
	size_t i;

	pthread_mutex_lock(&store->handle_mutex);
	for (i = 0; i < PEN_HANDLES; i++) {
		struct pen_handle *h = &store->handles[i];

		if (!h->name[0] || h->users || (txn && pen_dataset_in_use(txn, h->name)))
			continue;
		mdb_dbi_close(store->env, h->dbi);
		h->name[0] = 0;
	}
	pthread_mutex_unlock(&store->handle_mutex);
}

/* The slot a new handle will take, made free when there is none: room for one more always exists because LMDB was
 * given as many slots as the table has. */
static struct pen_handle *table_free(struct pen_store *store)
{
	size_t i;

	for (i = 0; i < PEN_HANDLES; i++)
		if (!store->handles[i].name[0])
			return &store->handles[i];
	return NULL;
}

void pen_handle_enter(struct pen_store *store, const char *name, MDB_dbi dbi)
{
	struct pen_handle *h;

	pthread_mutex_lock(&store->handle_mutex);
	h = table_free(store);
	pen_assert(h && strlen(name) <= PEN_DATASET_NAME_MAX);
	memcpy(h->name, name, strlen(name) + 1);
	h->dbi = dbi;
	h->users = 0;
	pthread_mutex_unlock(&store->handle_mutex);
}

int pen_handle_forget(struct pen_store *store, const char *name, bool close)
{
	struct pen_handle *h;
	int code = 0;

	pthread_mutex_lock(&store->handle_mutex);
	h = table_find(store, name);
	if (h && h->users) {
		code = -EBUSY;
	} else if (h) {
		if (close)
			mdb_dbi_close(store->env, h->dbi);
		h->name[0] = 0;
	}
	pthread_mutex_unlock(&store->handle_mutex);
	return code;
}

/* Opens the handle in a read transaction of its own. write_mutex is held. */
static int handle_open(struct pen_store *store, const char *name)
{
	struct pen_db_row row;
	MDB_txn *txn;
	MDB_dbi dbi;
	int rc, code;

	code = pen_read_begin(store, &txn);
	if (code)
		return code;
	code = pen_db_find(txn, name, &row);
	if (!code) {
		rc = mdb_dbi_open(txn, name, 0, &dbi);
		if (rc == MDB_DBS_FULL) {
			pen_handle_evict(store, NULL);
			rc = mdb_dbi_open(txn, name, 0, &dbi);
		}
		code = rc == MDB_INCOMPATIBLE ? -PEN_KEY_KIND : pen_mdb_code(rc);
	}
	if (code) {
		pen_read_end(store, txn);
		return code;
	}
	/* Committing a read transaction is what makes its handles everybody's. */
	rc = mdb_txn_commit(txn);
	read_leave(store);
	if (!rc)
		pen_handle_enter(store, name, dbi);
	return pen_mdb_code(rc);
}

static struct pen_handle *handle_take(struct pen_store *store, const char *name)
{
	struct pen_handle *h;

	pthread_mutex_lock(&store->handle_mutex);
	h = table_find(store, name);
	if (h)
		h->users++;
	pthread_mutex_unlock(&store->handle_mutex);
	return h;
}

int pen_handle_get(struct pen_store *store, const char *name, struct pen_handle **ret)
{
	struct pen_handle *h;
	int code = 0;

	if (store->pid != getpid())
		return -EINVAL;
	if (!name[0] || strlen(name) > PEN_DATASET_NAME_MAX)
		return -PEN_NO_DATASET;
	h = handle_take(store, name);
	if (!h) {
		if (pthread_equal(atomic_load_explicit(&store->writer, memory_order_relaxed), pthread_self()))
			return -EDEADLK;
		pthread_mutex_lock(&store->write_mutex);
		h = handle_take(store, name);
		if (!h)
			code = handle_open(store, name);
		if (!h && !code)
			h = handle_take(store, name);
		pthread_mutex_unlock(&store->write_mutex);
	}
	if (!code)
		*ret = h;
	return code;
}

void pen_handle_put(struct pen_store *store, struct pen_handle *handle)
{
	pthread_mutex_lock(&store->handle_mutex);
	pen_assert(handle->users > 0);
	handle->users--;
	pthread_mutex_unlock(&store->handle_mutex);
}

/* ---- cursors --------------------------------------------------------------------------------- */

static int cursor_fill(struct pen_cursor *cur, const char *name, MDB_dbi dbi)
{
	struct pen_db_row row;
	int code;

	if (name) {
		code = pen_handle_get(cur->store, name, &cur->handle);
		if (code)
			return code;
		dbi = cur->handle->dbi;
	}
	code = pen_read_begin(cur->store, &cur->txn);
	if (!code && name)
		code = pen_db_find(cur->txn, name, &row);
	if (!code)
		code = pen_mdb_code(mdb_cursor_open(cur->txn, dbi, &cur->mdb));
	return code;
}

int pen_cursor_make(struct pen_store *store, enum pen_cursor_mode mode, const char *name, MDB_dbi dbi,
		    struct pen_cursor **ret)
{
	struct pen_cursor *cur = calloc(1, sizeof(*cur));
	int code;

	if (!cur)
		return -PEN_MEMORY;
	cur->store = store;
	cur->mode = mode;
	code = cursor_fill(cur, name, dbi);
	if (code)
		pen_cursor_close(cur);
	else
		*ret = cur;
	return code;
}

void pen_cursor_close(struct pen_cursor *cur)
{
	if (!cur)
		return;
	if (cur->mdb)
		mdb_cursor_close(cur->mdb); /* before the transaction is reset */
	if (cur->txn)
		pen_read_end(cur->store, cur->txn);
	if (cur->handle)
		pen_handle_put(cur->store, cur->handle);
	free(cur->from);
	free(cur->to);
	free(cur->prefix);
	free(cur->buffer);
	free(cur->extra);
	free(cur);
}
