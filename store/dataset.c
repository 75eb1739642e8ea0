/* SPDX-License-Identifier: MIT */
/*
 * dataset - see dataset.h
 *
 * A database that is not in penstock.datasets was made by another LMDB program ("foreign"): it is listed
 * and read, taken over when empty, and never written to otherwise.
 *
 * Dirty leaves are counted without knowing LMDB's pages. Nodes of a page are laid down from its end to its
 * head, so a new node that ends exactly where the last new one begins lies in the same page, whatever the
 * allocator does: pages are at least a page apart, and both nodes lie within one. Everything else counts as
 * another leaf.
 */
#include "store/dataset.h"

#include <errno.h>
#include <stdlib.h>

#include "ring/assert.h"
#include "ring/base.h"
#include "store/retain.h"
#include "store/store_private.h"

#define NODE_HEAD 8u

struct pen_dataset {
	struct pen_txn *txn;
	struct pen_dataset *next;
	char name[PEN_DATASET_NAME_MAX + 1];
	MDB_dbi dbi;
	MDB_cursor *cursor; /* ends with the transaction */
	bool opened;	    /* the handle was opened by this transaction */
	bool changed;	    /* since the last save */
	struct pen_fmt_dataset row;
	struct pen_touch touch;
	bool appending;	       /* the last put was one */
	const char *last_node; /* where the last new node in a leaf begins; NULL: not known */
	struct pen_sum delta[PEN_BUCKETS];
	uint64_t touched[PEN_BUCKETS / 64];
};

/* ---- names ----------------------------------------------------------------------------------- */

/* The length of the UTF-8 character at s, 0 when it is none or a control character. */
static size_t character(const unsigned char *s)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint32_t c = s[0];
	size_t len, i;

	if (c < 0x80)
		return c >= 0x20 && c != 0x7f;
	len = c >= 0xf0 && c < 0xf8 ? 4 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xc0 && c < 0xe0 ? 2 : 0;
	if (!len)
		return 0;
	c &= 0x7fu >> len;
	for (i = 1; i < len; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3fu);
	}
	if (c < least[len] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) || (c >= 0x80 && c < 0xa0))
		return 0;
	return len;
}

bool pen_dataset_text_fits(const char *text, size_t max)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t total = 0, len;

	for (; s[total]; total += len) {
		len = character(s + total);
		if (!len || total + len > max)
			return false;
	}
	return true;
}

int pen_dataset_name_check(const char *name)
{
	if (!*name || !strncmp(name, PEN_DB_PREFIX, strlen(PEN_DB_PREFIX)))
		return -PEN_DATASET_NAME;
	return pen_dataset_text_fits(name, PEN_DATASET_NAME_MAX) ? 0 : -PEN_DATASET_NAME;
}

/* ---- use ------------------------------------------------------------------------------------- */

static bool is_number(enum pen_key kind)
{
	return kind == PEN_KEY_SEQ || kind == PEN_KEY_OFFSET;
}

static struct pen_dataset *find_used(const struct pen_txn *txn, const char *name)
{
	struct pen_dataset *ds;

	for (ds = txn->datasets; ds && strcmp(ds->name, name); ds = ds->next)
		;
	return ds;
}

bool pen_dataset_in_use(const struct pen_txn *txn, const char *name)
{
	return find_used(txn, name) != NULL;
}

/* The database is missing: a handle from before somebody dropped it would be given out again by mdb_dbi_open, without
 * making anything. */
static int handle_for(struct pen_dataset *ds, bool exists)
{
	struct pen_txn *txn = ds->txn;
	struct pen_handle *h = pen_handle_find(txn->store, ds->name);
	unsigned flags = exists ? 0 : MDB_CREATE;
	int rc;

	if (h && exists) {
		ds->dbi = h->dbi;
		return 0;
	}
	if (h && pen_handle_forget(txn->store, ds->name, true))
		return -EBUSY;
	rc = mdb_dbi_open(txn->mdb, ds->name, flags, &ds->dbi);
	if (rc == MDB_DBS_FULL) {
		pen_handle_evict(txn->store, txn);
		rc = mdb_dbi_open(txn->mdb, ds->name, flags, &ds->dbi);
	}
	if (rc == MDB_INCOMPATIBLE)
		return -PEN_KEY_KIND; /* a plain value of the main database has that name */
	if (rc)
		return pen_txn_failed(txn, rc);
	ds->opened = true;
	return 0;
}

/* A new row, when there is room for one more dataset. */
static int row_new(struct pen_dataset *ds, enum pen_key kind)
{
	struct pen_txn *txn = ds->txn;
	MDB_stat stat;
	int rc = mdb_stat(txn->mdb, txn->store->db[PEN_DB_DATASETS], &stat);
	uint64_t unsaved = 0;
	const struct pen_dataset *other;

	if (rc)
		return pen_mdb_code(rc);
	for (other = txn->datasets; other; other = other->next)
		unsaved += other->row.head.kind == 0;
	if (stat.ms_entries + unsaved >= PEN_DATASETS_MAX)
		return -PEN_DATASETS_FULL;
	ds->row = (struct pen_fmt_dataset){ .id = ++txn->meta.last_dataset, .key_kind = (uint8_t)kind };
	txn->meta_changed = true;
	ds->changed = true;
	return 0;
}

static int use_open(struct pen_dataset *ds, bool make, enum pen_key kind, struct pen_failure *why)
{
	struct pen_txn *txn = ds->txn;
	struct pen_db_row db = { 0 };
	int row, found, code;

	row = pen_dataset_row(txn->store, txn->mdb, ds->name, &ds->row);
	found = pen_db_find(txn->mdb, ds->name, &db);
	if (row && row != -PEN_NO_DATASET)
		return pen_fail(why, row, 0, "the row of dataset %s is damaged", ds->name);
	if (found && found != -PEN_NO_DATASET)
		return pen_fail(why, found, 0, "%s is a value that another program put into the store",
				ds->name);
	if (!row && found)
		return pen_fail(why, -PEN_STORE_DAMAGED, 0, "dataset %s has a row but no records", ds->name);
	if (row && !make)
		return pen_fail(why, -PEN_NO_DATASET, 0, "there is no dataset %s", ds->name);
	if (!found && (db.flags || (row && db.entries)))
		return pen_fail(why, -PEN_KEY_KIND, 0, "%s is a database that another program made",
				ds->name);
	code = row ? row_new(ds, kind) : 0;
	if (!code)
		code = handle_for(ds, !found);
	if (!code)
		code = pen_mdb_code(mdb_cursor_open(txn->mdb, ds->dbi, &ds->cursor));
	return code ? pen_fail(why, code, 0, "dataset %s cannot be used", ds->name) : 0;
}

static int use(struct pen_txn *txn, const char *name, bool make, enum pen_key kind, struct pen_dataset **ret,
	       struct pen_failure *why)
{
	struct pen_dataset *ds = find_used(txn, name);
	uint64_t last_dataset = txn->meta.last_dataset;
	bool meta_changed = txn->meta_changed;
	int code;

	if (!ds) {
		ds = calloc(1, sizeof(*ds));
		if (!ds)
			return pen_fail(why, -PEN_MEMORY, ENOMEM, "dataset %s cannot be used", name);
		ds->txn = txn;
		memcpy(ds->name, name, strlen(name) + 1);
		code = use_open(ds, make, kind, why);
		if (code) {
			txn->meta.last_dataset = last_dataset;
			txn->meta_changed = meta_changed;
			free(ds);
			return code;
		}
		ds->next = txn->datasets;
		txn->datasets = ds;
	}
	if (make && kind != (enum pen_key)ds->row.key_kind &&
	    (is_number(kind) || is_number((enum pen_key)ds->row.key_kind)))
		return pen_fail(why, -PEN_KEY_KIND, 0, "dataset %s has keys of another kind", name);
	*ret = ds;
	return 0;
}

int pen_dataset_use(struct pen_txn *txn, const char *name, enum pen_key key_kind, struct pen_dataset **ret,
		    struct pen_failure *why)
{
	int code = pen_dataset_name_check(name);

	if (code)
		return pen_fail(why, code, 0, "a dataset cannot be named so");
	return use(txn, name, true, key_kind, ret, why);
}

int pen_dataset_use_id(struct pen_txn *txn, const char *name, uint64_t id, struct pen_dataset **ret,
		       struct pen_failure *why)
{
	struct pen_dataset *ds;
	int code = pen_dataset_name_check(name);

	if (code)
		return pen_fail(why, code, 0, "a dataset cannot be named so");
	code = use(txn, name, false, PEN_KEY_GIVEN, &ds, why);
	if (code)
		return code;
	if (ds->row.id != id)
		return pen_fail(why, -PEN_NO_DATASET, 0, "dataset %s was dropped and made again", name);
	*ret = ds;
	return 0;
}

void pen_dataset_end(struct pen_txn *txn, bool committed)
{
	struct pen_dataset *ds;

	while ((ds = txn->datasets)) {
		txn->datasets = ds->next;
		if (ds->opened && committed) /* after an abort LMDB has closed it */
			pen_handle_enter(txn->store, ds->name, ds->dbi);
		free(ds);
	}
}

bool pen_dataset_all_saved(const struct pen_txn *txn)
{
	const struct pen_dataset *ds;

	for (ds = txn->datasets; ds && !ds->changed; ds = ds->next)
		;
	return !ds;
}

uint64_t pen_dataset_dirty(struct pen_txn *txn)
{
	const struct pen_dataset *ds;
	uint64_t n = 0;

	for (ds = txn->datasets; ds; ds = ds->next)
		n += pen_touch_dirty(txn, ds->dbi, &ds->touch) + 1;
	return n;
}

/* ---- its facts ------------------------------------------------------------------------------- */

uint64_t pen_dataset_id(const struct pen_dataset *ds)
{
	return ds->row.id;
}

uint64_t pen_dataset_entries(const struct pen_dataset *ds)
{
	return ds->row.entries;
}

uint64_t pen_dataset_leaves(const struct pen_dataset *ds)
{
	MDB_stat stat;

	return mdb_stat(ds->txn->mdb, ds->dbi, &stat) ? 0 : stat.ms_leaf_pages;
}

uint64_t pen_dataset_next_seq(const struct pen_dataset *ds)
{
	return ds->row.next_seq;
}

void pen_dataset_set_next_seq(struct pen_dataset *ds, uint64_t next)
{
	ds->row.next_seq = next;
	ds->changed = true;
}

uint64_t pen_dataset_feeder(const struct pen_dataset *ds)
{
	return ds->row.feeder;
}

void pen_dataset_set_feeder(struct pen_dataset *ds, uint64_t batch)
{
	ds->row.feeder = batch;
	ds->changed = true;
}

int pen_dataset_above(struct pen_dataset *ds, const void *key, size_t key_len, bool *ret)
{
	MDB_val last, value;
	int rc = mdb_cursor_get(ds->cursor, &last, &value, MDB_LAST), order;

	if (rc == MDB_NOTFOUND) {
		*ret = true;
		return 0;
	}
	if (rc)
		return pen_mdb_code(rc);
	order = memcmp(key, last.mv_data, pen_min(key_len, last.mv_size));
	*ret = order > 0 || (!order && key_len > last.mv_size);
	return 0;
}

/* ---- put ------------------------------------------------------------------------------------- */

static void delta_sub(struct pen_dataset *ds, const void *key, size_t key_len, const void *value,
		      size_t value_len)
{
	uint32_t b = pen_hash_bucket(key, key_len);

	pen_sum_sub(&ds->delta[b], pen_hash_record(key, key_len, value, value_len));
	ds->touched[b / 64] |= 1ull << b % 64;
	ds->changed = true;
}

static void touch_first(struct pen_dataset *ds)
{
	if (!ds->touch.leaves)
		pen_touch_begin(ds->txn, ds->dbi, &ds->touch);
}

/* A record went in: at is where LMDB wants the value. */
static void touch_new(struct pen_dataset *ds, size_t key_len, size_t value_len, const char *at)
{
	uint64_t pages = pen_overflow_pages(ds->txn->store, key_len, value_len);
	size_t node = (NODE_HEAD + key_len + value_len + 1) & ~(size_t)1;
	const char *begin = at - key_len - NODE_HEAD;

	ds->touch.overflow += pages;
	if (pages) {
		ds->touch.leaves++;
		ds->last_node = NULL;
		return;
	}
	if (!ds->last_node || begin + node != ds->last_node)
		ds->touch.leaves++;
	ds->last_node = begin;
}

static int put_append(struct pen_dataset *ds, MDB_val *k, MDB_val *v)
{
	int rc;

	touch_first(ds);
	if (!ds->appending)
		ds->touch.leaves++; /* the last one; all others are new, and LMDB counts those */
	ds->appending = true;
	ds->last_node = NULL;
	ds->touch.overflow += pen_overflow_pages(ds->txn->store, k->mv_size, v->mv_size);
	rc = mdb_cursor_put(ds->cursor, k, v, MDB_APPEND);
	if (rc == MDB_KEYEXIST)
		return -EINVAL; /* not above the others: the caller's mistake, and nothing was written */
	if (rc)
		return pen_txn_failed(ds->txn, rc);
	ds->row.entries++;
	ds->changed = true;
	return 0;
}

static int put_over(struct pen_dataset *ds, MDB_val *k, const MDB_val *old, const void *value,
		    size_t value_len)
{
	MDB_val v = { .mv_size = value_len, .mv_data = (void *)(uintptr_t)value };
	int rc;

	delta_sub(ds, k->mv_data, k->mv_size, old->mv_data, old->mv_size);
	ds->touch.leaves++;
	ds->touch.overflow += pen_overflow_pages(ds->txn->store, k->mv_size, value_len);
	ds->last_node = NULL;
	rc = mdb_cursor_put(ds->cursor, k, &v, 0);
	return rc ? pen_txn_failed(ds->txn, rc) : 0;
}

int pen_dataset_put(struct pen_dataset *ds, const void *key, size_t key_len, const void *value,
		    size_t value_len, bool append, enum pen_duplicate policy, enum pen_put *ret)
{
	MDB_val k = { .mv_size = key_len, .mv_data = (void *)(uintptr_t)key };
	MDB_val v = { .mv_size = value_len, .mv_data = (void *)(uintptr_t)value };
	int rc;

	if (!key_len || key_len > PEN_KEY_MAX || value_len > UINT32_MAX)
		return -EINVAL;
	if (append) {
		rc = put_append(ds, &k, &v);
		if (!rc)
			*ret = PEN_PUT_NEW;
		return rc;
	}
	touch_first(ds);
	ds->appending = false;
	v.mv_data = NULL;
	rc = mdb_cursor_put(ds->cursor, &k, &v, MDB_NOOVERWRITE | MDB_RESERVE);
	if (!rc) {
		if (value_len)
			memcpy(v.mv_data, value, value_len);
		touch_new(ds, key_len, value_len, v.mv_data);
		ds->row.entries++;
		ds->changed = true;
		*ret = PEN_PUT_NEW;
		return 0;
	}
	if (rc != MDB_KEYEXIST)
		return pen_txn_failed(ds->txn, rc);
	if (policy == PEN_DUP_REPLACE) {
		rc = put_over(ds, &k, &v, value, value_len);
		if (!rc)
			*ret = PEN_PUT_REPLACED;
		return rc;
	}
	delta_sub(ds, key, key_len, value, value_len); /* it was offered, and did not go in */
	*ret = PEN_PUT_KEPT;
	return 0;
}

int pen_dataset_set(struct pen_dataset *ds, const void *key, size_t key_len, const void *value,
		    size_t value_len)
{
	enum pen_put result;
	uint32_t b;
	int rc = pen_dataset_put(ds, key, key_len, value, value_len, false, PEN_DUP_REPLACE, &result);

	if (rc)
		return rc;
	b = pen_hash_bucket(key, key_len);
	pen_sum_add(&ds->delta[b], pen_hash_record(key, key_len, value, value_len));
	ds->touched[b / 64] |= 1ull << b % 64;
	return 0;
}

int pen_dataset_del(struct pen_dataset *ds, const void *key, size_t key_len)
{
	MDB_val k = { .mv_size = key_len, .mv_data = (void *)(uintptr_t)key }, v;
	int rc;

	if (!key_len || key_len > PEN_KEY_MAX)
		return -EINVAL;
	touch_first(ds);
	ds->appending = false;
	rc = mdb_cursor_get(ds->cursor, &k, &v, MDB_SET_KEY);
	if (rc == MDB_NOTFOUND)
		return -PEN_NOT_FOUND;
	if (rc)
		return pen_mdb_code(rc);
	delta_sub(ds, key, key_len, v.mv_data, v.mv_size);
	ds->touch.leaves += 2; /* a neighbour may be merged with it */
	ds->last_node = NULL;
	rc = mdb_cursor_del(ds->cursor, 0);
	if (rc)
		return pen_txn_failed(ds->txn, rc);
	ds->row.entries--;
	ds->changed = true;
	return 0;
}

void pen_dataset_offer(struct pen_dataset *ds, const struct pen_sum sums[PEN_BUCKETS])
{
	uint32_t b;

	for (b = 0; b < PEN_BUCKETS; b++) {
		if (!sums[b].lo && !sums[b].hi)
			continue;
		pen_sum_add(&ds->delta[b], sums[b]);
		ds->touched[b / 64] |= 1ull << b % 64;
		ds->changed = true;
	}
}

/* ---- save ------------------------------------------------------------------------------------ */

static void digest_key(uint64_t dataset, uint32_t bucket, unsigned char key[9])
{
	pen_put_be64(key, dataset);
	key[8] = (unsigned char)bucket;
}

static int bucket_save(struct pen_dataset *ds, uint32_t b)
{
	struct pen_fmt_digest digest = { .lo = 0 };
	struct pen_sum sum = { 0 };
	unsigned char key[9];
	const void *old;
	size_t len;
	int code;

	digest_key(ds->row.id, b, key);
	code = pen_txn_get(ds->txn, PEN_DB_DIGESTS, key, sizeof(key), &old, &len);
	if (!code) {
		code = pen_unseal(old, len, sizeof(digest), PEN_KIND_DIGEST);
		if (code)
			return code;
		memcpy(&digest, old, sizeof(digest));
		sum = (struct pen_sum){ .lo = digest.lo, .hi = digest.hi };
	} else if (code != -PEN_NOT_FOUND) {
		return code;
	}
	pen_sum_add(&sum, ds->delta[b]);
	digest = (struct pen_fmt_digest){ .lo = sum.lo, .hi = sum.hi };
	pen_seal(&digest, sizeof(digest), PEN_KIND_DIGEST, 1);
	return pen_txn_put(ds->txn, PEN_DB_DIGESTS, key, sizeof(key), &digest, sizeof(digest), 0);
}

int pen_dataset_save(struct pen_dataset *ds)
{
	uint32_t b;
	int code;

	if (!ds->changed)
		return 0;
	for (b = 0; b < PEN_BUCKETS; b++) {
		if (!(ds->touched[b / 64] >> b % 64 & 1))
			continue;
		code = bucket_save(ds, b);
		if (code)
			return code;
		/* At once: a save that fails half-way must not add a bucket twice when it is called again. */
		ds->delta[b] = (struct pen_sum){ 0 };
		ds->touched[b / 64] &= ~(1ull << b % 64);
	}
	ds->row.updated_ms = pen_real_ms(pen_store_clock(ds->txn->store));
	pen_seal(&ds->row, sizeof(ds->row), PEN_KIND_DATASET, 1);
	code = pen_txn_put(ds->txn, PEN_DB_DATASETS, ds->name, strlen(ds->name), &ds->row, sizeof(ds->row),
			   0);
	if (!code)
		ds->changed = false;
	return code;
}

/* ---- reading --------------------------------------------------------------------------------- */

static int info_fill(struct pen_store *store, MDB_txn *txn, const char *name, const struct pen_db_row *db,
		     struct pen_dataset_info *ret)
{
	struct pen_fmt_dataset row;
	int code = pen_dataset_row(store, txn, name, &row);

	if (code && code != -PEN_NO_DATASET)
		return code;
	*ret = (struct pen_dataset_info){
		.name = name,
		.key_kind = code ? PEN_KEY_GIVEN : (enum pen_key)row.key_kind,
		.foreign = code != 0,
		.entries = code ? db->entries : row.entries,
		.bytes = (db->branch_pages + db->leaf_pages + db->overflow_pages) * store->page_size,
		.next_seq = code ? 0 : row.next_seq,
		.updated_ms = code ? 0 : row.updated_ms,
	};
	return 0;
}

int pen_dataset_get(struct pen_store *store, const char *name, struct pen_dataset_info *ret)
{
	struct pen_db_row db;
	MDB_txn *txn;
	int code;

	if (pen_dataset_name_check(name))
		return -PEN_NO_DATASET;
	code = pen_read_begin(store, &txn);
	if (code)
		return code;
	code = pen_db_find(txn, name, &db);
	if (code == -PEN_KEY_KIND)
		code = -PEN_NO_DATASET; /* not a database at all */
	if (!code)
		code = info_fill(store, txn, name, &db, ret);
	pen_read_end(store, txn);
	return code;
}

int pen_datasets_open(struct pen_store *store, struct pen_cursor **ret)
{
	struct pen_cursor *cur;
	int code = pen_cursor_make(store, PEN_CURSOR_DATASETS, NULL, PEN_DB_MAIN, &cur);

	if (code)
		return code;
	cur->buffer_cap = PEN_DATASET_NAME_MAX + 1;
	cur->buffer = malloc(cur->buffer_cap);
	if (!cur->buffer) {
		pen_cursor_close(cur);
		return -PEN_MEMORY;
	}
	*ret = cur;
	return 0;
}

int pen_datasets_next(struct pen_cursor *cur, struct pen_dataset_info *ret)
{
	struct pen_db_row db;
	MDB_val key, data;
	char *name = cur->buffer;
	int rc;

	pen_assert(cur->mode == PEN_CURSOR_DATASETS);
	while (!cur->done && !cur->error) {
		rc = mdb_cursor_get(cur->mdb, &key, &data, cur->started ? MDB_NEXT : MDB_FIRST);
		cur->started = true;
		if (rc == MDB_NOTFOUND) {
			cur->done = true;
			break;
		}
		if (rc) {
			cur->error = pen_mdb_code(rc);
			break;
		}
		if (key.mv_size >= cur->buffer_cap || !pen_db_row_read(data.mv_data, data.mv_size, &db))
			continue;
		memcpy(name, key.mv_data, key.mv_size);
		name[key.mv_size] = 0;
		if (strlen(name) != key.mv_size || pen_dataset_name_check(name))
			continue;
		cur->error = info_fill(cur->store, cur->txn, name, &db, ret);
		if (!cur->error)
			return 1;
	}
	return cur->error;
}

/* ---- drop ------------------------------------------------------------------------------------ */

static bool unfinished(enum pen_state state)
{
	return state != PEN_COMPLETED && state != PEN_FAILED && state != PEN_CANCELLED;
}

/* 0, or -EBUSY when an unfinished batch names the dataset. */
static int feeders_check(struct pen_txn *txn, uint64_t dataset)
{
	struct pen_fmt_state state;
	struct pen_fmt_batch batch;
	const void *facts;
	MDB_cursor *cursor;
	MDB_val key, data;
	size_t len;
	int rc, code = 0;

	rc = mdb_cursor_open(txn->mdb, txn->store->db[PEN_DB_STATES], &cursor);
	if (rc)
		return pen_mdb_code(rc);
	while (!code && !(rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT))) {
		code = pen_unseal(data.mv_data, data.mv_size, sizeof(state), PEN_KIND_STATE);
		if (code)
			break;
		memcpy(&state, data.mv_data, sizeof(state));
		if (!unfinished((enum pen_state)state.state))
			continue;
		code = pen_txn_get(txn, PEN_DB_BATCHES, key.mv_data, key.mv_size, &facts, &len);
		if (!code)
			code = pen_unseal(facts, len, sizeof(batch), PEN_KIND_BATCH);
		if (code)
			break;
		memcpy(&batch, facts, sizeof(batch));
		if (batch.dataset_id == dataset)
			code = -EBUSY;
	}
	mdb_cursor_close(cursor);
	return code ? code : rc == MDB_NOTFOUND ? 0 : pen_mdb_code(rc);
}

static int rows_remove(struct pen_txn *txn, const char *name, uint64_t id)
{
	MDB_val k = { .mv_size = strlen(name), .mv_data = (void *)(uintptr_t)name };
	unsigned char key[9];
	uint32_t b;
	int rc = mdb_del(txn->mdb, txn->store->db[PEN_DB_DATASETS], &k, NULL);

	for (b = 0; b < PEN_BUCKETS && !rc; b++) {
		digest_key(id, b, key);
		k = (MDB_val){ .mv_size = sizeof(key), .mv_data = key };
		rc = mdb_del(txn->mdb, txn->store->db[PEN_DB_DIGESTS], &k, NULL);
		if (rc == MDB_NOTFOUND)
			rc = 0;
	}
	return rc ? pen_txn_failed(txn, rc) : 0;
}

static int drop(struct pen_txn *txn, const char *name, struct pen_failure *why)
{
	struct pen_dataset *ds;
	uint64_t id;
	MDB_dbi dbi;
	int code;

	code = use(txn, name, false, PEN_KEY_GIVEN, &ds, why);
	if (code)
		return code;
	id = ds->row.id;
	dbi = ds->dbi;
	code = feeders_check(txn, id);
	if (code)
		return pen_fail(why, code, 0,
				code == -EBUSY ? "an unfinished batch feeds dataset %s"
					       : "the batches that may feed dataset %s cannot be read",
				name);
	/* LMDB closes the handle in mdb_drop, whatever becomes of the transaction. */
	if (pen_handle_forget(txn->store, name, false))
		return pen_fail(why, -EBUSY, 0, "this process is reading dataset %s", name);
	pen_assert(txn->datasets == ds && !ds->next);
	txn->datasets = NULL;
	free(ds);
	code = mdb_drop(txn->mdb, dbi, 1);
	code = code ? pen_txn_failed(txn, code) : rows_remove(txn, name, id);
	if (!code)
		code = pen_retain_dropped(txn, id);
	return code ? pen_fail(why, code, 0, "dataset %s cannot be dropped", name) : 0;
}

int pen_dataset_drop(struct pen_store *store, const char *name, struct pen_failure *why)
{
	struct pen_txn *txn;
	int code;

	if (pen_dataset_name_check(name))
		return pen_fail(why, -PEN_NO_DATASET, 0, "there is no such dataset");
	code = pen_txn_begin(store, PEN_DURABLE_COMMIT, &txn, NULL, why);
	if (code)
		return code;
	code = drop(txn, name, why);
	if (!code)
		return pen_txn_commit(txn, why);
	pen_txn_abort(txn);
	return code;
}
