/* SPDX-License-Identifier: MIT */
/*
 * One database with three kinds of rows: the totals, the entries, and their order. Entries are numbered as they come;
 * an order row names the entry with its number, so the lowest one is the oldest entry and removing it is two deletions.
 * The totals carry the last number. All of it changes in the transaction of the put.
 */
#include "store/cache.h"

#include <errno.h>
#include <stdlib.h>

#include "ring/base.h"
#include "store/store_private.h"

static void entry_key(uint8_t ret[PEN_CACHE_ENTRY_KEY], const uint8_t hash[PEN_SHA256_BYTES])
{
	ret[0] = PEN_CACHE_ROW_ENTRY;
	memcpy(ret + 1, hash, PEN_SHA256_BYTES);
}

static void order_key(uint8_t ret[PEN_CACHE_ORDER_KEY], uint64_t number)
{
	ret[0] = PEN_CACHE_ROW_ORDER;
	pen_put_be64(ret + 1, number);
}

struct pen_cache_key pen_cache_key(struct pen_sha256 *hasher, const void *identity, size_t identity_len,
				   const void *content, size_t content_len)
{
	struct pen_cache_key key = { { 0 } };
	uint64_t len = identity_len;

	/* Its length first: so no two pairs of identity and content look alike. */
	pen_sha256_begin(hasher);
	pen_sha256_add(hasher, &len, sizeof len);
	pen_sha256_add(hasher, identity, identity_len);
	pen_sha256_add(hasher, content, content_len);
	pen_sha256_end(hasher, key.bytes);
	return key;
}

/* ---- values ---------------------------------------------------------------------------------- */

int pen_cache_decode(const void *key, const void *value, size_t len, struct pen_fmt_cache *ret,
		     const void **ret_data)
{
	struct pen_fmt_cache row;
	int rc = pen_unseal(value, len, sizeof row, PEN_KIND_CACHE);

	if (rc)
		return rc;
	memcpy(&row, value, sizeof row);
	if (row.len != len - sizeof row || row.len > PEN_CACHE_ENTRY_MAX || !row.number ||
	    row.key_crc != pen_crc32c(key, PEN_CACHE_ENTRY_KEY))
		return -PEN_STORE_DAMAGED;
	*ret = row;
	*ret_data = (const uint8_t *)value + sizeof row;
	return 0;
}

int pen_cache_decode_total(const void *value, size_t len, struct pen_fmt_cache_total *ret)
{
	int rc = pen_unseal(value, len, sizeof *ret, PEN_KIND_CACHE_TOTAL);

	if (!rc && len != sizeof *ret)
		rc = -PEN_STORE_DAMAGED;
	if (!rc)
		memcpy(ret, value, sizeof *ret);
	return rc;
}

static uint64_t cost(uint64_t len)
{
	return len + PEN_CACHE_COST;
}

/* ---- finding --------------------------------------------------------------------------------- */

static int take(const uint8_t *key, const void *value, size_t len, struct pen_fmt_cache *ret_row,
		struct pen_cache_entry *ret)
{
	const void *data;
	int rc = pen_cache_decode(key, value, len, ret_row, &data);

	if (!rc)
		*ret = (struct pen_cache_entry){ .time_ms = ret_row->time_ms,
						 .flags = ret_row->flags,
						 .data = data,
						 .len = ret_row->len };
	return rc;
}

static int load(struct pen_txn *txn, const uint8_t *key, struct pen_fmt_cache *ret_row,
		struct pen_cache_entry *ret)
{
	const void *value;
	size_t len;
	int rc = pen_txn_get(txn, PEN_DB_CACHE, key, PEN_CACHE_ENTRY_KEY, &value, &len);

	return rc ? rc : take(key, value, len, ret_row, ret);
}

int pen_cache_look(struct pen_txn *txn, const struct pen_cache_key *key, struct pen_cache_entry *ret)
{
	uint8_t bytes[PEN_CACHE_ENTRY_KEY];
	struct pen_fmt_cache row;

	entry_key(bytes, key->bytes);
	return load(txn, bytes, &row, ret);
}

/* A row in a snapshot; the caller ends *ret_mdb when this is 0. */
static int read_row(struct pen_store *store, const uint8_t *bytes, size_t len, MDB_txn **ret_mdb,
		    MDB_val *ret)
{
	MDB_val key = { len, (void *)(uintptr_t)bytes };
	MDB_txn *mdb;
	int rc = store->format < 2 ? -PEN_NOT_FOUND : pen_read_begin(store, &mdb);

	if (rc)
		return rc;
	rc = pen_mdb_code(mdb_get(mdb, store->db[PEN_DB_CACHE], &key, ret));
	if (rc)
		pen_read_end(store, mdb);
	else
		*ret_mdb = mdb;
	return rc;
}

int pen_cache_find(struct pen_store *store, const struct pen_cache_key *key, struct pen_cache_entry *ret)
{
	uint8_t bytes[PEN_CACHE_ENTRY_KEY];
	struct pen_cache_entry entry;
	struct pen_fmt_cache row;
	MDB_txn *mdb;
	MDB_val value;
	void *copy = NULL;
	int rc;

	entry_key(bytes, key->bytes);
	rc = read_row(store, bytes, sizeof bytes, &mdb, &value);
	if (rc)
		return rc;
	rc = take(bytes, value.mv_data, value.mv_size, &row, &entry);
	if (!rc) {
		*ret = entry;
		ret->data = copy = malloc(entry.len ? entry.len : 1);
		if (copy)
			memcpy(copy, entry.data, entry.len);
		else
			rc = -PEN_MEMORY;
	}
	pen_read_end(store, mdb);
	return rc;
}

int pen_cache_total(struct pen_store *store, struct pen_cache_total *ret)
{
	static const uint8_t key[1] = { PEN_CACHE_ROW_TOTAL };
	struct pen_fmt_cache_total row;
	MDB_txn *mdb;
	MDB_val value;
	int rc = read_row(store, key, sizeof key, &mdb, &value);

	if (rc == -PEN_NOT_FOUND) {
		*ret = (struct pen_cache_total){ 0 };
		return 0;
	}
	if (rc)
		return rc;
	rc = pen_cache_decode_total(value.mv_data, value.mv_size, &row);
	pen_read_end(store, mdb);
	if (!rc)
		*ret = (struct pen_cache_total){ row.entries, row.bytes };
	return rc;
}

/* ---- changing -------------------------------------------------------------------------------- */

static int load_total(struct pen_txn *txn, struct pen_fmt_cache_total *ret)
{
	static const uint8_t key[1] = { PEN_CACHE_ROW_TOTAL };
	const void *value;
	size_t len;
	int rc = pen_txn_get(txn, PEN_DB_CACHE, key, sizeof key, &value, &len);

	if (rc == -PEN_NOT_FOUND) {
		*ret = (struct pen_fmt_cache_total){ 0 };
		return 0;
	}
	return rc ? rc : pen_cache_decode_total(value, len, ret);
}

static int save_total(struct pen_txn *txn, struct pen_fmt_cache_total *total)
{
	static const uint8_t key[1] = { PEN_CACHE_ROW_TOTAL };

	pen_seal(total, sizeof *total, PEN_KIND_CACHE_TOTAL, 1);
	return pen_txn_put(txn, PEN_DB_CACHE, key, sizeof key, total, sizeof *total, 0);
}

/* An entry that is there goes, with its place in the order. */
static int remove_entry(struct pen_txn *txn, const uint8_t *key, struct pen_fmt_cache_total *total)
{
	uint8_t order[PEN_CACHE_ORDER_KEY];
	struct pen_cache_entry entry;
	struct pen_fmt_cache row;
	int rc = load(txn, key, &row, &entry);

	if (rc)
		return rc;
	order_key(order, row.number);
	rc = pen_txn_del(txn, PEN_DB_CACHE, order, sizeof order);
	if (!rc)
		rc = pen_txn_del(txn, PEN_DB_CACHE, key, PEN_CACHE_ENTRY_KEY);
	if (!rc && (!total->entries || total->bytes < cost(row.len)))
		rc = -PEN_STORE_DAMAGED;
	if (rc)
		return rc == -PEN_NOT_FOUND ? -PEN_STORE_DAMAGED : rc;
	total->entries--;
	total->bytes -= cost(row.len);
	return 0;
}

/* The key of the oldest entry. -PEN_NOT_FOUND: there is none. */
static int oldest(struct pen_txn *txn, uint8_t ret[PEN_CACHE_ENTRY_KEY])
{
	uint8_t from[1] = { PEN_CACHE_ROW_ORDER };
	MDB_val key = { sizeof from, from }, value;
	MDB_cursor *cur;
	int rc = mdb_cursor_open(txn->mdb, txn->store->db[PEN_DB_CACHE], &cur);

	if (rc)
		return pen_mdb_code(rc);
	rc = mdb_cursor_get(cur, &key, &value, MDB_SET_RANGE);
	if (!rc && value.mv_size == PEN_SHA256_BYTES)
		entry_key(ret, value.mv_data);
	else if (!rc)
		rc = MDB_CORRUPTED;
	mdb_cursor_close(cur);
	return rc == MDB_CORRUPTED ? -PEN_STORE_DAMAGED : pen_mdb_code(rc);
}

/* Up to max of the oldest entries; how many, or a code. */
static int evict(struct pen_txn *txn, struct pen_fmt_cache_total *total, uint64_t budget, uint32_t max)
{
	uint8_t key[PEN_CACHE_ENTRY_KEY];
	uint32_t n = 0;
	int rc;

	for (; total->bytes > budget && n < max; n++) {
		rc = oldest(txn, key);
		if (!rc)
			rc = remove_entry(txn, key, total);
		if (rc)
			return rc == -PEN_NOT_FOUND ? -PEN_STORE_DAMAGED : rc;
	}
	return (int)n;
}

static int put_rows(struct pen_txn *txn, const uint8_t *key, const struct pen_cache_entry *entry,
		    uint64_t number)
{
	struct pen_fmt_cache row = {
		.time_ms = entry->time_ms,
		.number = number,
		.flags = entry->flags,
		.len = (uint32_t)entry->len,
		.key_crc = pen_crc32c(key, PEN_CACHE_ENTRY_KEY),
	};
	uint8_t order[PEN_CACHE_ORDER_KEY], *value = malloc(sizeof row + entry->len);
	int rc;

	if (!value)
		return -PEN_MEMORY;
	memcpy(value, &row, sizeof row);
	if (entry->len)
		memcpy(value + sizeof row, entry->data, entry->len);
	pen_seal(value, sizeof row + entry->len, PEN_KIND_CACHE, 1);
	rc = pen_txn_put(txn, PEN_DB_CACHE, key, PEN_CACHE_ENTRY_KEY, value, sizeof row + entry->len, 0);
	free(value);
	if (rc)
		return rc;
	order_key(order, number);
	return pen_txn_put(txn, PEN_DB_CACHE, order, sizeof order, key + 1, PEN_SHA256_BYTES, 0);
}

int pen_cache_put(struct pen_txn *txn, const struct pen_cache_key *key, const struct pen_cache_entry *entry,
		  uint64_t budget)
{
	struct pen_fmt_cache_total total = { .last_number = 0 };
	uint8_t bytes[PEN_CACHE_ENTRY_KEY];
	int rc;

	if (entry->len > PEN_CACHE_ENTRY_MAX || cost(entry->len) > budget)
		return -E2BIG;
	entry_key(bytes, key->bytes);
	rc = load_total(txn, &total);
	if (!rc)
		rc = remove_entry(txn, bytes, &total);
	if (rc && rc != -PEN_NOT_FOUND)
		return rc;
	rc = put_rows(txn, bytes, entry, ++total.last_number);
	total.entries++;
	total.bytes += cost(entry->len);
	if (!rc)
		rc = evict(txn, &total, budget, PEN_CACHE_EVICT);
	return rc < 0 ? rc : save_total(txn, &total);
}

int pen_cache_trim(struct pen_txn *txn, uint64_t budget, uint32_t max)
{
	struct pen_fmt_cache_total total;
	int rc = load_total(txn, &total), n;

	if (rc)
		return rc;
	n = evict(txn, &total, budget, max);
	if (n > 0) {
		rc = save_total(txn, &total);
		return rc ? rc : n;
	}
	return n;
}
