/* SPDX-License-Identifier: MIT */
/*
 * scan - the user's records: one by key, or a range in key order
 *
 * Databases that another program made in the environment are read as well, as long as they are plain: one
 * value a key, keys in byte order. Ranges mean nothing in the other kinds (duplicates, native integers,
 * reversed keys), so these are refused with -PEN_UNSUPPORTED.
 */
#include <errno.h>
#include <stdlib.h>

#include "ring/base.h"
#include "store/dataset.h"
#include "store/store_private.h"

/* The dataset is there in this snapshot and plain. */
static int check_plain(MDB_txn *txn, const char *name)
{
	struct pen_db_row row;
	int rc = pen_db_find(txn, name, &row);

	if (rc)
		return rc;
	return row.flags ? -PEN_UNSUPPORTED : 0;
}

static int copy_out(const MDB_val *value, void **ret, size_t *ret_len)
{
	void *copy = malloc(value->mv_size ? value->mv_size : 1);

	if (!copy)
		return -PEN_MEMORY;
	if (value->mv_size)
		memcpy(copy, value->mv_data, value->mv_size);
	*ret = copy;
	*ret_len = value->mv_size;
	return 0;
}

int pen_get(struct pen_store *store, const char *dataset, const void *key, size_t key_len, void **ret_value,
	    size_t *ret_len)
{
	MDB_val find = { key_len, (void *)(uintptr_t)key }, value;
	struct pen_handle *handle;
	MDB_txn *txn;
	int rc;

	rc = pen_dataset_name_check(dataset);
	if (rc)
		return rc;
	rc = pen_handle_get(store, dataset, &handle);
	if (rc)
		return rc;
	rc = pen_read_begin(store, &txn);
	if (!rc) {
		rc = check_plain(txn, dataset);
		if (!rc && (!key_len || key_len > PEN_KEY_MAX))
			rc = -PEN_NOT_FOUND;
		if (!rc)
			rc = pen_mdb_code(mdb_get(txn, handle->dbi, &find, &value));
		if (!rc)
			rc = copy_out(&value, ret_value, ret_len);
		pen_read_end(store, txn);
	}
	pen_handle_put(store, handle);
	return rc;
}

/* A bound's copy; an unbounded one stays NULL. */
static int keep_bound(const void *bound, size_t len, void **ret, size_t *ret_len)
{
	MDB_val value = { len, (void *)(uintptr_t)bound };

	return bound ? copy_out(&value, ret, ret_len) : 0;
}

int pen_scan_open(struct pen_store *store, const char *dataset, const struct pen_scan *range,
		  struct pen_cursor **ret)
{
	struct pen_cursor *cur;
	int rc;

	if (range && range->size < sizeof(*range))
		return -EINVAL;
	rc = pen_dataset_name_check(dataset);
	if (rc)
		return rc;
	rc = pen_cursor_make(store, PEN_CURSOR_SCAN, dataset, 0, &cur);
	if (rc)
		return rc;
	rc = check_plain(cur->txn, dataset);
	if (!rc && range) {
		rc = keep_bound(range->prefix, range->prefix_len, &cur->prefix, &cur->prefix_len);
		if (!rc)
			rc = keep_bound(range->from, range->from_len, &cur->from, &cur->from_len);
		if (!rc)
			rc = keep_bound(range->to, range->to_len, &cur->to, &cur->to_len);
	}
	if (rc) {
		pen_cursor_close(cur);
		return rc;
	}
	*ret = cur;
	return 0;
}

static int compare(const void *a, size_t a_len, const void *b, size_t b_len)
{
	int diff = memcmp(a, b, pen_min(a_len, b_len));

	return diff ? diff : (a_len > b_len) - (a_len < b_len);
}

static int first_record(struct pen_cursor *cur, MDB_val *key, MDB_val *value)
{
	bool by_prefix = cur->prefix_len && (!cur->from_len || compare(cur->prefix, cur->prefix_len,
								       cur->from, cur->from_len) > 0);

	*key = by_prefix ? (MDB_val){ cur->prefix_len, cur->prefix } : (MDB_val){ cur->from_len, cur->from };
	return mdb_cursor_get(cur->mdb, key, value, key->mv_size ? MDB_SET_RANGE : MDB_FIRST);
}

/* Keys are in byte order, so the first one outside ends the scan. */
static bool inside(const struct pen_cursor *cur, const MDB_val *key)
{
	if (cur->prefix_len &&
	    (key->mv_size < cur->prefix_len || memcmp(key->mv_data, cur->prefix, cur->prefix_len) != 0))
		return false;
	return !cur->to || compare(key->mv_data, key->mv_size, cur->to, cur->to_len) < 0;
}

int pen_scan_next(struct pen_cursor *cur, struct pen_view *ret_key, struct pen_view *ret_value)
{
	MDB_val key, value;
	int rc;

	if (cur->error || cur->done)
		return cur->error;
	rc = cur->started ? mdb_cursor_get(cur->mdb, &key, &value, MDB_NEXT)
			  : first_record(cur, &key, &value);
	cur->started = true;
	if (rc && rc != MDB_NOTFOUND)
		return cur->error = pen_mdb_code(rc);
	if (rc || !inside(cur, &key)) {
		cur->done = true;
		return 0;
	}
	*ret_key = (struct pen_view){ key.mv_data, key.mv_size };
	*ret_value = (struct pen_view){ value.mv_data, value.mv_size };
	return 1;
}
