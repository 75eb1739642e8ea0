/* SPDX-License-Identifier: MIT */
#include "store/dedup.h"

#include <stdlib.h>

#include "ring/base.h"
#include "store/index.h"
#include "store/order.h"
#include "store/store_private.h"

static void row_key(uint8_t key[PEN_DEDUP_ROW_LEN], const uint8_t row[16])
{
	/* Keys have lengths. NOLINTNEXTLINE(bugprone-not-null-terminated-result) */
	memcpy(key, PEN_DEDUP_WORD, strlen(PEN_DEDUP_WORD));
	memcpy(key + strlen(PEN_DEDUP_WORD), row, 16);
}

int pen_dedup_hash(const char *owner, const char *key, uint8_t ret[16])
{
	size_t len = strlen(owner) + 1;
	char *both = malloc(len + strlen(key));
	struct pen_sum sum;

	if (!both)
		return -PEN_MEMORY;
	memcpy(both, owner, len); /* no string holds a NUL, so this ends the owner */
	/* What is hashed has a length. NOLINTNEXTLINE(bugprone-not-null-terminated-result) */
	memcpy(both + len, key, strlen(key));
	sum = pen_hash128(both, len + strlen(key));
	free(both);
	memcpy(ret, &sum, 16);
	return 0;
}

/* ---- the value ------------------------------------------------------------------------------- */

static uint8_t *put_string(uint8_t *at, const char *text)
{
	uint32_t len = (uint32_t)strlen(text);

	at = mempcpy(at, &len, 4);
	return mempcpy(at, text, len);
}

/* Takes a string off the front; copies it to *to, with a NUL. */
static bool take_string(const uint8_t **at, size_t *left, char **to)
{
	uint32_t len;

	if (*left < 4)
		return false;
	memcpy(&len, *at, 4);
	if (len > *left - 4 || memchr(*at + 4, 0, len))
		return false;
	*to = mempcpy(*to, *at + 4, len);
	*(*to)++ = 0;
	*at += 4 + len;
	*left -= 4 + len;
	return true;
}

int pen_dedup_decode(const void *value, size_t len, const uint8_t row[16], struct pen_dedup **ret)
{
	const uint8_t *at = (const uint8_t *)value + sizeof(struct pen_fmt_dedup);
	struct pen_dedup *dedup;
	uint8_t hash[16];
	size_t left;
	char *to;
	int rc = pen_unseal(value, len, sizeof(dedup->fixed), PEN_KIND_DEDUP);

	if (rc)
		return rc;
	left = len - sizeof(dedup->fixed);
	dedup = malloc(sizeof(*dedup) + left + 2);
	if (!dedup)
		return -PEN_MEMORY;
	memcpy(&dedup->fixed, value, sizeof(dedup->fixed));
	to = (char *)(dedup + 1);
	dedup->owner = to;
	rc = -PEN_STORE_DAMAGED;
	if (take_string(&at, &left, &to)) {
		dedup->key = to;
		if (take_string(&at, &left, &to) && !left)
			rc = pen_dedup_hash(dedup->owner, dedup->key, hash);
		if (!rc && (memcmp(hash, row, 16) != 0 || dedup->fixed.mode < PEN_DEDUP_SIMPLE ||
			    dedup->fixed.mode > PEN_DEDUP_DEBOUNCE || !dedup->fixed.batch))
			rc = -PEN_STORE_DAMAGED;
	}
	if (rc)
		free(dedup);
	else
		*ret = dedup;
	return rc;
}

/* ---- rows ------------------------------------------------------------------------------------ */

int pen_dedup_load(struct pen_txn *txn, const uint8_t row[16], struct pen_dedup **ret)
{
	uint8_t key[PEN_DEDUP_ROW_LEN];
	const void *value;
	size_t len;
	int rc;

	row_key(key, row);
	rc = pen_txn_get(txn, PEN_DB_META, key, sizeof(key), &value, &len);
	return rc ? rc : pen_dedup_decode(value, len, row, ret);
}

int pen_dedup_read(struct pen_store *store, const uint8_t row[16], struct pen_dedup **ret)
{
	uint8_t bytes[PEN_DEDUP_ROW_LEN];
	MDB_val key = { sizeof(bytes), bytes }, value;
	MDB_txn *mdb;
	int rc = pen_read_begin(store, &mdb);

	if (rc)
		return rc;
	row_key(bytes, row);
	rc = mdb_get(mdb, store->db[PEN_DB_META], &key, &value);
	rc = rc == MDB_NOTFOUND ? -PEN_NOT_FOUND : pen_mdb_code(rc);
	if (!rc)
		rc = pen_dedup_decode(value.mv_data, value.mv_size, row, ret);
	pen_read_end(store, mdb);
	return rc;
}

static int remove_row(struct pen_txn *txn, const uint8_t row[16], uint64_t until_ms)
{
	struct pen_index_key index = pen_index_dedup(until_ms, row);
	uint8_t key[PEN_DEDUP_ROW_LEN];
	int rc = until_ms ? pen_index_remove(txn, &index) : 0;

	row_key(key, row);
	return rc ? rc : pen_txn_del(txn, PEN_DB_META, key, sizeof(key));
}

int pen_dedup_put(struct pen_txn *txn, const struct pen_dedup *dedup)
{
	struct pen_fmt_dedup fixed = dedup->fixed;
	size_t size = sizeof(fixed) + 8 + strlen(dedup->owner) + strlen(dedup->key);
	uint8_t row[16], key[PEN_DEDUP_ROW_LEN], *value;
	struct pen_index_key index;
	struct pen_dedup *old;
	int rc = pen_dedup_hash(dedup->owner, dedup->key, row);

	if (!rc) {
		rc = pen_dedup_load(txn, row, &old);
		if (!rc) {
			rc = remove_row(txn, row, old->fixed.until_ms);
			free(old);
		}
	}
	if (rc && rc != -PEN_NOT_FOUND)
		return rc;
	value = malloc(size);
	if (!value)
		return -PEN_MEMORY;
	put_string(put_string(mempcpy(value, &fixed, sizeof(fixed)), dedup->owner), dedup->key);
	pen_seal(value, size, PEN_KIND_DEDUP, 1);
	row_key(key, row);
	rc = pen_txn_put(txn, PEN_DB_META, key, sizeof(key), value, size, 0);
	free(value);
	if (rc || !fixed.until_ms)
		return rc;
	index = pen_index_dedup(fixed.until_ms, row);
	return pen_index_add(txn, &index, 0);
}

int pen_dedup_forget(struct pen_txn *txn, const uint8_t row[16], uint64_t batch)
{
	struct pen_dedup *dedup;
	int rc = pen_dedup_named(row) ? pen_dedup_load(txn, row, &dedup) : -PEN_NOT_FOUND;

	if (rc)
		return rc == -PEN_NOT_FOUND ? 0 : rc;
	if (dedup->fixed.batch == batch)
		rc = remove_row(txn, row, dedup->fixed.until_ms);
	free(dedup);
	return rc;
}

/* The row whose time is over first: 0, -PEN_NOT_FOUND when that is not before now_ms, or a code. */
static int first_over(struct pen_txn *txn, uint64_t now_ms, uint8_t ret_row[16], uint64_t *ret_until_ms)
{
	uint8_t tag = PEN_INDEX_DEDUP;
	MDB_val key = { 1, &tag }, value;
	const uint8_t *at;
	MDB_cursor *cur;
	int rc = mdb_cursor_open(txn->mdb, txn->store->db[PEN_DB_INDEX], &cur);

	if (rc)
		return pen_mdb_code(rc);
	rc = mdb_cursor_get(cur, &key, &value, MDB_SET_RANGE);
	mdb_cursor_close(cur);
	if (rc && rc != MDB_NOTFOUND)
		return pen_mdb_code(rc);
	at = key.mv_data;
	if (rc || at[0] != PEN_INDEX_DEDUP)
		return -PEN_NOT_FOUND;
	if (key.mv_size != 25)
		return -PEN_STORE_DAMAGED;
	*ret_until_ms = pen_get_be64(at + 1);
	memcpy(ret_row, at + 9, 16);
	return *ret_until_ms < now_ms ? 0 : -PEN_NOT_FOUND;
}

int pen_dedup_expire(struct pen_txn *txn, uint64_t now_ms, unsigned most, unsigned *ret_count)
{
	for (*ret_count = 0; *ret_count < most; ++*ret_count) {
		uint64_t until_ms = 0;
		uint8_t row[16];
		int rc = first_over(txn, now_ms, row, &until_ms);

		if (rc)
			return rc == -PEN_NOT_FOUND ? 1 : rc;
		rc = remove_row(txn, row, until_ms);
		if (rc)
			return rc == -PEN_NOT_FOUND ? -PEN_STORE_DAMAGED : rc;
	}
	return 0;
}

/* ---- for those who look ---------------------------------------------------------------------- */

int pen_batch_dedup(struct pen_store *store, uint64_t id, struct pen_dedup_info *ret)
{
	struct pen_dedup_info info = { .batch = 0 };
	struct pen_dedup *dedup = NULL;
	struct pen_order *order = NULL;
	int rc = pen_order_read(store, id, &order);

	if (!rc)
		rc = pen_dedup_named(order->fixed.dedup) ? pen_dedup_read(store, order->fixed.dedup, &dedup)
							 : -PEN_NOT_FOUND;
	free(order);
	if (rc)
		return rc;
	info.batch = dedup->fixed.batch;
	info.mode = dedup->fixed.mode;
	info.until_ms = dedup->fixed.until_ms;
	info.ttl_ms = dedup->fixed.ttl_ms;
	info.previous = dedup->fixed.previous;
	info.count = dedup->fixed.count;
	memcpy(info.key, dedup->key, strnlen(dedup->key, sizeof(info.key) - 1));
	free(dedup);
	*ret = info;
	return 0;
}
