/* SPDX-License-Identifier: MIT */
#include "store/index.h"

#include <stdlib.h>

#include "ring/base.h"
#include "store/item.h"
#include "store/ledger.h"
#include "store/store_private.h"

/* ---- keys ------------------------------------------------------------------------------------ */

static struct pen_index_key begin(enum pen_index tag)
{
	return (struct pen_index_key){ .len = 1, .bytes = { (uint8_t)tag } };
}

static void add_u64(struct pen_index_key *key, uint64_t v)
{
	pen_put_be64(key->bytes + key->len, v);
	key->len += 8;
}

static struct pen_index_key of_state(uint8_t state)
{
	struct pen_index_key key = begin(PEN_INDEX_STATE);

	key.bytes[key.len++] = state;
	return key;
}

struct pen_index_key pen_index_state(uint8_t state, uint64_t batch)
{
	struct pen_index_key key = of_state(state);

	add_u64(&key, batch);
	return key;
}

static struct pen_index_key of_owner(const char *owner)
{
	struct pen_index_key key = begin(PEN_INDEX_OWNER);
	size_t len = strnlen(owner, PEN_OWNER_MAX);

	memcpy(key.bytes + key.len, owner, len);
	key.len += len;
	key.bytes[key.len++] = 0;
	return key;
}

struct pen_index_key pen_index_owner(const char *owner, uint64_t batch)
{
	struct pen_index_key key = of_owner(owner);

	add_u64(&key, batch);
	return key;
}

struct pen_index_key pen_index_ended(uint64_t ended_ms, uint64_t batch)
{
	struct pen_index_key key = begin(PEN_INDEX_ENDED);

	add_u64(&key, ended_ms);
	add_u64(&key, batch);
	return key;
}

struct pen_index_key pen_index_hook(uint64_t batch)
{
	struct pen_index_key key = begin(PEN_INDEX_HOOK);

	add_u64(&key, batch);
	return key;
}

struct pen_index_key pen_index_row(uint64_t batch, uint8_t state, uint64_t item)
{
	struct pen_index_key key = begin(PEN_INDEX_ROW);

	add_u64(&key, batch);
	key.bytes[key.len++] = state;
	add_u64(&key, item);
	return key;
}

static struct pen_index_key of_due(uint64_t batch)
{
	struct pen_index_key key = begin(PEN_INDEX_DUE);

	add_u64(&key, batch);
	return key;
}

struct pen_index_key pen_index_due(uint64_t batch, uint64_t due_ms, uint64_t item)
{
	struct pen_index_key key = of_due(batch);

	add_u64(&key, due_ms);
	add_u64(&key, item);
	return key;
}

struct pen_index_key pen_index_dedup(uint64_t until_ms, const uint8_t row[16])
{
	struct pen_index_key key = begin(PEN_INDEX_DEDUP);

	add_u64(&key, until_ms);
	memcpy(key.bytes + key.len, row, 16);
	key.len += 16;
	return key;
}

/* ---- writing --------------------------------------------------------------------------------- */

int pen_index_add(struct pen_txn *txn, const struct pen_index_key *key, int32_t code)
{
	return pen_txn_put(txn, PEN_DB_INDEX, key->bytes, key->len, &code,
			   key->bytes[0] == PEN_INDEX_ROW ? sizeof(code) : 0, 0);
}

int pen_index_remove(struct pen_txn *txn, const struct pen_index_key *key)
{
	int rc = pen_txn_del(txn, PEN_DB_INDEX, key->bytes, key->len);

	return rc == -PEN_NOT_FOUND ? -PEN_STORE_DAMAGED : rc;
}

int pen_index_remove_any(struct pen_txn *txn, const struct pen_index_key *key)
{
	int rc = pen_txn_del(txn, PEN_DB_INDEX, key->bytes, key->len);

	return rc == -PEN_NOT_FOUND ? 0 : rc;
}

/* ---- scanning -------------------------------------------------------------------------------- */

typedef bool visit_fn(void *arg, const uint8_t *rest, size_t len);

/* Calls visit with what follows the prefix, from the first key not below from, while it says true. */
static int scan(struct pen_store *store, const struct pen_index_key *prefix, const struct pen_index_key *from,
		visit_fn *visit, void *arg)
{
	MDB_val key = { from->len, (void *)(uintptr_t)from->bytes }, value;
	MDB_cursor *cur;
	MDB_txn *mdb;
	int rc = pen_read_begin(store, &mdb);

	if (rc)
		return rc;
	rc = mdb_cursor_open(mdb, store->db[PEN_DB_INDEX], &cur);
	if (rc) {
		pen_read_end(store, mdb);
		return pen_mdb_code(rc);
	}
	rc = mdb_cursor_get(cur, &key, &value, MDB_SET_RANGE);
	while (!rc && key.mv_size >= prefix->len && !memcmp(key.mv_data, prefix->bytes, prefix->len) &&
	       visit(arg, (const uint8_t *)key.mv_data + prefix->len, key.mv_size - prefix->len))
		rc = mdb_cursor_get(cur, &key, &value, MDB_NEXT);
	mdb_cursor_close(cur);
	pen_read_end(store, mdb);
	return rc && rc != MDB_NOTFOUND ? pen_mdb_code(rc) : 0;
}

struct ids {
	uint64_t *ret;
	uint32_t count, cap;
	uint64_t before_ms;
	bool bad;
};

static bool take_id(void *arg, const uint8_t *rest, size_t len)
{
	struct ids *ids = arg;

	ids->bad = len != 8;
	if (ids->bad || ids->count == ids->cap)
		return false;
	ids->ret[ids->count++] = pen_get_be64(rest);
	return true;
}

static int list(struct pen_store *store, const struct pen_index_key *prefix, uint64_t after, uint64_t *ret,
		uint32_t cap)
{
	struct ids ids = { .ret = ret, .cap = cap };
	struct pen_index_key from = *prefix;
	int rc;

	if (after == UINT64_MAX)
		return 0;
	add_u64(&from, after ? after + 1 : 0);
	rc = scan(store, prefix, &from, take_id, &ids);
	return rc ? rc : ids.bad ? -PEN_STORE_DAMAGED : (int)ids.count;
}

int pen_index_in_state(struct pen_store *store, uint8_t state, uint64_t after, uint64_t *ret, uint32_t cap)
{
	struct pen_index_key prefix = of_state(state);

	return list(store, &prefix, after, ret, cap);
}

int pen_index_of_owner(struct pen_store *store, const char *owner, uint64_t after, uint64_t *ret,
		       uint32_t cap)
{
	struct pen_index_key prefix = of_owner(owner);

	return list(store, &prefix, after, ret, cap);
}

int pen_index_hooks(struct pen_store *store, uint64_t after, uint64_t *ret, uint32_t cap)
{
	struct pen_index_key prefix = begin(PEN_INDEX_HOOK);

	return list(store, &prefix, after, ret, cap);
}

static bool take_ended(void *arg, const uint8_t *rest, size_t len)
{
	struct ids *ids = arg;

	ids->bad = len != 16;
	if (ids->bad || ids->count == ids->cap || pen_get_be64(rest) >= ids->before_ms)
		return false;
	ids->ret[ids->count++] = pen_get_be64(rest + 8);
	return true;
}

int pen_index_ended_before(struct pen_store *store, uint64_t before_ms, uint64_t *ret, uint32_t cap)
{
	struct pen_index_key prefix = begin(PEN_INDEX_ENDED);
	struct ids ids = { .ret = ret, .cap = cap, .before_ms = before_ms };
	int rc = scan(store, &prefix, &prefix, take_ended, &ids);

	return rc ? rc : ids.bad ? -PEN_STORE_DAMAGED : (int)ids.count;
}

struct waits {
	struct pen_index_wait *ret;
	const struct pen_index_wait *after;
	uint64_t until_ms;
	uint32_t count, cap;
	bool bad;
};

static bool take_wait(void *arg, const uint8_t *rest, size_t len)
{
	struct waits *w = arg;
	struct pen_index_wait wait;

	w->bad = len != 16;
	if (w->bad || w->count == w->cap)
		return false;
	wait = (struct pen_index_wait){ pen_get_be64(rest), pen_get_be64(rest + 8) };
	if (wait.due_ms > w->until_ms)
		return false;
	if (!w->after || wait.due_ms != w->after->due_ms || wait.item != w->after->item)
		w->ret[w->count++] = wait;
	return true;
}

int pen_index_waits(struct pen_store *store, uint64_t batch, uint64_t until_ms,
		    const struct pen_index_wait *after, struct pen_index_wait *ret, uint32_t cap)
{
	struct waits w = { .ret = ret, .after = after, .until_ms = until_ms, .cap = cap };
	struct pen_index_key prefix = of_due(batch), from = prefix;
	int rc;

	if (after)
		from = pen_index_due(batch, after->due_ms, after->item);
	rc = scan(store, &prefix, &from, take_wait, &w);
	return rc ? rc : w.bad ? -PEN_STORE_DAMAGED : (int)w.count;
}

int pen_index_first_due(struct pen_txn *txn, uint64_t batch, uint64_t *ret_ms)
{
	struct pen_index_key from = of_due(batch);
	MDB_val key = { from.len, from.bytes }, value;
	MDB_cursor *cur;
	int rc = mdb_cursor_open(txn->mdb, txn->store->db[PEN_DB_INDEX], &cur);

	if (rc)
		return pen_mdb_code(rc);
	rc = mdb_cursor_get(cur, &key, &value, MDB_SET_RANGE);
	*ret_ms = !rc && key.mv_size == 25 && !memcmp(key.mv_data, from.bytes, from.len)
			  ? pen_get_be64((const uint8_t *)key.mv_data + from.len)
			  : 0;
	mdb_cursor_close(cur);
	return rc && rc != MDB_NOTFOUND ? pen_mdb_code(rc) : 0;
}

/* ---- building -------------------------------------------------------------------------------- */

static int build_batches(struct pen_txn *txn, MDB_cursor *cur)
{
	struct pen_standing standing;
	struct pen_facts *facts;
	MDB_val key, value;
	int rc = mdb_cursor_get(cur, &key, &value, MDB_FIRST), code = 0;

	while (!rc && !code) {
		uint64_t id = key.mv_size == 8 ? pen_get_be64(key.mv_data) : 0;

		code = pen_ledger_load(txn, id, &facts, &standing);
		if (code)
			break;
		code = pen_ledger_index(txn, facts->owner, &standing);
		free(facts);
		rc = mdb_cursor_get(cur, &key, &value, MDB_NEXT);
	}
	return code ? code : rc == MDB_NOTFOUND ? 0 : pen_mdb_code(rc);
}

static int build_rows(struct pen_txn *txn, MDB_cursor *cur)
{
	struct pen_fmt_item item;
	struct pen_fmt_try try;
	const uint8_t *tail;
	MDB_val key, value;
	int rc = mdb_cursor_get(cur, &key, &value, MDB_FIRST), code = 0;

	while (!rc && !code) {
		code = pen_item_decode_try(key.mv_data, key.mv_size, value.mv_data, value.mv_size, &item,
					   &try, &tail);
		if (!code)
			code = pen_item_index(txn, pen_get_be64(key.mv_data),
					      pen_get_be64((const uint8_t *)key.mv_data + 8), &item, &try);
		rc = mdb_cursor_get(cur, &key, &value, MDB_NEXT);
	}
	return code ? code : rc == MDB_NOTFOUND ? 0 : pen_mdb_code(rc);
}

int pen_index_build(struct pen_txn *txn)
{
	static int (*const build[])(struct pen_txn *, MDB_cursor *) = { build_batches, build_rows };
	static const enum pen_db from[] = { PEN_DB_BATCHES, PEN_DB_ITEMS };
	int rc = 0;

	for (size_t i = 0; i < PEN_COUNT(build) && !rc; i++) {
		MDB_cursor *cur;

		rc = pen_mdb_code(mdb_cursor_open(txn->mdb, txn->store->db[from[i]], &cur));
		if (!rc) {
			rc = build[i](txn, cur);
			mdb_cursor_close(cur);
		}
	}
	return rc;
}
