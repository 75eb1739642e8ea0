/* SPDX-License-Identifier: MIT */
#include "store/item.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "ring/assert.h"
#include "ring/base.h"
#include "store/index.h"
#include "store/ledger.h"
#include "store/store_private.h"

#define KEY_LEN 16 /* batch, item */

/* Written once, by the engine's start; NULL until then. */
static const char *(*_Atomic detail_text)(uint8_t detail);

void pen_item_set_detail(const char *(*detail)(uint8_t detail))
{
	atomic_store_explicit(&detail_text, detail, memory_order_relaxed);
}

/* ---- writing --------------------------------------------------------------------------------- */

static void key_of(uint8_t key[KEY_LEN], uint64_t batch, uint64_t seq)
{
	pen_put_be64(key, batch);
	pen_put_be64(key + 8, seq);
}

/* Takes a row's entries out of the index, or puts them in. */
static int index_row(struct pen_txn *txn, uint64_t batch, uint64_t seq, uint8_t state, int code,
		     uint64_t due_ms, bool there)
{
	struct pen_index_key row, due;
	int rc;

	if (!pen_index_has_row(state))
		return 0;
	row = pen_index_row(batch, state, seq);
	rc = there ? pen_index_add(txn, &row, code) : pen_index_remove(txn, &row);
	if (rc || state != PEN_ITEM_RETRYING)
		return rc;
	due = pen_index_due(batch, due_ms, seq);
	return there ? pen_index_add(txn, &due, 0) : pen_index_remove(txn, &due);
}

int pen_item_index(struct pen_txn *txn, uint64_t batch, uint64_t seq, const struct pen_fmt_item *item,
		   const struct pen_fmt_try *try)
{
	return index_row(txn, batch, seq, item->state, item->code, try->due_ms, true);
}

static int index_old(struct pen_txn *txn, uint64_t batch, uint64_t seq)
{
	struct pen_fmt_item item;
	struct pen_fmt_try try;
	uint8_t key[KEY_LEN];
	const uint8_t *tail;
	const void *value;
	size_t len;
	int rc;

	key_of(key, batch, seq);
	rc = pen_txn_get(txn, PEN_DB_ITEMS, key, sizeof(key), &value, &len);
	if (rc)
		return rc;
	rc = pen_item_decode_try(key, sizeof(key), value, len, &item, &try, &tail);
	return rc ? rc : index_row(txn, batch, seq, item.state, item.code, try.due_ms, false);
}

int pen_item_put(struct pen_txn *txn, const struct pen_row *row)
{
	uint8_t small[2048], key[KEY_LEN], *value = small, *at;
	size_t path_len = row->path ? strnlen(row->path, PEN_PATH_BYTES_MAX) : 0;
	size_t key_len = pen_min(row->key_len, PEN_KEY_MAX);
	size_t raw_len = row->tried ? row->raw_len : pen_min(row->raw_len, PEN_RAW_MAX);
	size_t message_len = row->tried && row->message ? strnlen(row->message, PEN_MESSAGE_MAX) : 0;
	size_t stderr_len = row->tried ? pen_min(row->stderr_len, PEN_STDERR_MAX) : 0;
	struct pen_fmt_item item = {
		.line = row->line,
		.offset = row->offset,
		.column = row->column,
		.raw_total = row->raw_total,
		.code = row->code,
		.source = row->source,
		.raw_len = (uint32_t)raw_len,
		.key_len = (uint16_t)key_len,
		.path_len = (uint16_t)path_len,
		.state = (uint8_t)row->state,
		.detail = row->detail,
		.attempts = row->attempts,
	};
	struct pen_fmt_try try = {
		.due_ms = row->due_ms,
		.ended_ms = row->ended_ms,
		.spent_us = row->spent_us,
		.stderr_len = (uint32_t)stderr_len,
		.exit_status = row->exit_status,
		.message_len = (uint16_t)message_len,
		.crashes = row->crashes,
		.term_signal = row->term_signal,
		.form = row->form,
		.since_cs = (uint32_t)pen_min((row->since_ms + 9) / 10, UINT32_MAX),
	};
	size_t size = sizeof(item) + (row->tried ? sizeof(try) : 0) + key_len + path_len + raw_len +
		      message_len + stderr_len;
	int rc = 0;

	pen_assert(row->tried || row->state != PEN_ITEM_RETRYING);
	if (row->replaces)
		rc = index_old(txn, row->batch, row->seq);
	if (rc && rc != -PEN_NOT_FOUND)
		return rc;
	if (size > sizeof(small)) {
		value = malloc(size);
		if (!value)
			return -PEN_MEMORY;
	}
	key_of(key, row->batch, row->seq);
	item.key_crc = pen_crc32c(key, sizeof(key));
	at = mempcpy(value, &item, sizeof(item));
	if (row->tried)
		at = mempcpy(at, &try, sizeof(try));
	if (key_len)
		at = mempcpy(at, row->key, key_len);
	if (path_len)
		at = mempcpy(at, row->path, path_len);
	if (raw_len)
		at = mempcpy(at, row->raw, raw_len);
	if (message_len)
		at = mempcpy(at, row->message, message_len);
	if (stderr_len)
		memcpy(at, (const uint8_t *)row->stderr_tail + (row->stderr_len - stderr_len), stderr_len);
	pen_seal(value, size, PEN_KIND_ITEM, row->tried ? 2 : 1);
	rc = pen_txn_put(txn, PEN_DB_ITEMS, key, sizeof(key), value, size, 0);
	if (value != small)
		free(value);
	return rc ? rc : index_row(txn, row->batch, row->seq, item.state, item.code, row->due_ms, true);
}

int pen_item_remove(struct pen_txn *txn, uint64_t batch, uint64_t seq)
{
	uint8_t key[KEY_LEN];
	int rc = index_old(txn, batch, seq);

	key_of(key, batch, seq);
	return rc ? rc : pen_txn_del(txn, PEN_DB_ITEMS, key, sizeof(key));
}

int pen_item_forget_committed(struct pen_txn *txn, uint64_t batch, uint64_t first, uint32_t count)
{
	uint8_t be[KEY_LEN];
	MDB_val key = { sizeof(be), be }, value;
	struct pen_fmt_item item;
	MDB_cursor *cur;
	int rc;

	key_of(be, batch, first);
	rc = mdb_cursor_open(txn->mdb, txn->store->db[PEN_DB_ITEMS], &cur);
	if (rc)
		return pen_mdb_code(rc);
	pen_txn_add_dirty(txn, count / 16 + 2);
	for (rc = mdb_cursor_get(cur, &key, &value, MDB_SET_RANGE);
	     !rc && key.mv_size == KEY_LEN && pen_get_be64(key.mv_data) == batch &&
	     pen_get_be64((const uint8_t *)key.mv_data + 8) - first < count;
	     rc = mdb_cursor_get(cur, &key, &value, MDB_NEXT)) {
		if (value.mv_size < sizeof(item))
			break;
		memcpy(&item, value.mv_data, sizeof(item));
		if (item.state == PEN_ITEM_COMMITTED)
			rc = mdb_cursor_del(cur, 0);
		if (rc)
			break;
	}
	mdb_cursor_close(cur);
	return rc && rc != MDB_NOTFOUND ? pen_txn_failed(txn, rc) : 0;
}

/* ---- reading --------------------------------------------------------------------------------- */

int pen_item_decode_try(const void *key, size_t key_len, const void *value, size_t len,
			struct pen_fmt_item *ret, struct pen_fmt_try *ret_try, const uint8_t **ret_tail)
{
	struct pen_fmt_try try = { .exit_status = -1 };
	struct pen_fmt_item item;
	bool tried;
	size_t fixed;
	int rc;

	if (key_len != KEY_LEN)
		return -PEN_STORE_DAMAGED;
	rc = pen_unseal(value, len, sizeof(item), PEN_KIND_ITEM);
	if (rc)
		return rc;
	memcpy(&item, value, sizeof(item));
	tried = item.head.version > 1;
	fixed = sizeof(item) + (tried ? sizeof(try) : 0);
	if (len < fixed)
		return -PEN_STORE_DAMAGED;
	if (tried)
		memcpy(&try, (const uint8_t *)value + sizeof(item), sizeof(try));
	if ((uint64_t)item.key_len + item.path_len + item.raw_len + try.message_len + try.stderr_len !=
		    len - fixed ||
	    (!tried && item.raw_len > PEN_RAW_MAX) || item.path_len > PEN_PATH_BYTES_MAX ||
	    item.state < PEN_ITEM_COMMITTED || item.state > PEN_ITEM_RETRYING ||
	    (item.state == PEN_ITEM_RETRYING && !tried) || item.key_crc != pen_crc32c(key, key_len))
		return -PEN_STORE_DAMAGED;
	*ret = item;
	*ret_try = try;
	*ret_tail = (const uint8_t *)value + fixed;
	return 0;
}

int pen_item_decode(const void *key, size_t key_len, const void *value, size_t len, struct pen_fmt_item *ret,
		    const uint8_t **ret_tail)
{
	struct pen_fmt_try try;

	return pen_item_decode_try(key, key_len, value, len, ret, &try, ret_tail);
}

/* Copies a row out of the map. Strings get a NUL. */
static int copy(const uint8_t *key, const MDB_val *value, struct pen_item_copy *ret)
{
	struct pen_fmt_item item;
	struct pen_fmt_try try;
	const uint8_t *tail;
	char *block;
	int rc = pen_item_decode_try(key, KEY_LEN, value->mv_data, value->mv_size, &item, &try, &tail);

	if (rc)
		return rc;
	block = malloc((size_t)item.key_len + item.path_len + item.raw_len + try.message_len +
		       try.stderr_len + 2);
	if (!block)
		return -PEN_MEMORY;
	*ret = (struct pen_item_copy){
		.block = block,
		.row = { .batch = pen_get_be64(key),
			 .seq = pen_get_be64(key + 8),
			 .state = item.state,
			 .code = item.code,
			 .detail = item.detail,
			 .source = item.source,
			 .line = item.line,
			 .offset = item.offset,
			 .column = item.column,
			 .key_len = item.key_len,
			 .raw_len = item.raw_len,
			 .raw_total = item.raw_total,
			 .attempts = item.attempts,
			 .tried = item.head.version > 1,
			 .replaces = true,
			 .due_ms = try.due_ms,
			 .ended_ms = try.ended_ms,
			 .spent_us = try.spent_us,
			 .exit_status = try.exit_status,
			 .term_signal = try.term_signal,
			 .form = try.form,
			 .crashes = try.crashes,
			 .since_ms = try.since_cs * 10ull,
			 .stderr_len = try.stderr_len },
	};
	ret->row.key = block;
	block = mempcpy(block, tail, item.key_len);
	tail += item.key_len;
	ret->row.path = item.path_len ? block : NULL;
	block = mempcpy(block, tail, item.path_len);
	tail += item.path_len;
	*block++ = 0;
	ret->row.raw = block;
	block = mempcpy(block, tail, item.raw_len);
	tail += item.raw_len;
	ret->row.message = try.message_len ? block : NULL;
	block = mempcpy(block, tail, try.message_len);
	tail += try.message_len;
	*block++ = 0;
	ret->row.stderr_tail = block;
	memcpy(block, tail, try.stderr_len);
	return 0;
}

int pen_item_load(struct pen_txn *txn, uint64_t batch, uint64_t seq, struct pen_item_copy *ret)
{
	uint8_t key[KEY_LEN];
	const void *value;
	size_t len;
	int rc;

	key_of(key, batch, seq);
	rc = pen_txn_get(txn, PEN_DB_ITEMS, key, sizeof(key), &value, &len);
	return rc ? rc : copy(key, &(MDB_val){ len, (void *)(uintptr_t)value }, ret);
}

int pen_item_read(struct pen_store *store, uint64_t batch, uint64_t seq, struct pen_item_copy *ret)
{
	uint8_t be[KEY_LEN];
	MDB_val key = { sizeof(be), be }, value;
	MDB_txn *mdb;
	int rc = pen_read_begin(store, &mdb);

	if (rc)
		return rc;
	key_of(be, batch, seq);
	rc = pen_mdb_code(mdb_get(mdb, store->db[PEN_DB_ITEMS], &key, &value));
	if (!rc)
		rc = copy(be, &value, ret);
	pen_read_end(store, mdb);
	return rc;
}

int pen_item_which(struct pen_store *store, uint64_t batch, uint64_t first, uint32_t count, uint8_t *ret_bits)
{
	uint8_t be[KEY_LEN];
	MDB_val key = { sizeof(be), be }, value;
	MDB_cursor *cur;
	MDB_txn *mdb;
	int rc = pen_read_begin(store, &mdb), n = 0;

	if (rc)
		return rc;
	memset(ret_bits, 0, (count + 7) / 8);
	key_of(be, batch, first);
	rc = mdb_cursor_open(mdb, store->db[PEN_DB_ITEMS], &cur);
	if (!rc) {
		for (rc = mdb_cursor_get(cur, &key, &value, MDB_SET_RANGE);
		     !rc && key.mv_size == KEY_LEN && pen_get_be64(key.mv_data) == batch;
		     rc = mdb_cursor_get(cur, &key, &value, MDB_NEXT)) {
			uint64_t seq = pen_get_be64((const uint8_t *)key.mv_data + 8);

			if (seq - first >= count)
				break;
			ret_bits[(seq - first) / 8] |= (uint8_t)(1u << (seq - first) % 8);
			n++;
		}
		mdb_cursor_close(cur);
	}
	pen_read_end(store, mdb);
	return rc && rc != MDB_NOTFOUND ? pen_mdb_code(rc) : n;
}

int pen_item_last(struct pen_store *store, uint64_t batch, uint64_t *ret_seq)
{
	uint8_t be[KEY_LEN];
	MDB_val key = { sizeof(be), be }, value;
	MDB_cursor *cur;
	MDB_txn *mdb;
	int rc = pen_read_begin(store, &mdb);

	if (rc)
		return rc;
	key_of(be, batch + 1, 0);
	rc = mdb_cursor_open(mdb, store->db[PEN_DB_ITEMS], &cur);
	if (!rc) {
		rc = mdb_cursor_get(cur, &key, &value, MDB_SET_RANGE);
		rc = mdb_cursor_get(cur, &key, &value, rc ? MDB_LAST : MDB_PREV);
		if (!rc && key.mv_size == KEY_LEN && pen_get_be64(key.mv_data) == batch)
			*ret_seq = pen_get_be64((const uint8_t *)key.mv_data + 8);
		else if (!rc)
			rc = MDB_NOTFOUND;
		mdb_cursor_close(cur);
	}
	pen_read_end(store, mdb);
	return rc == MDB_NOTFOUND ? -PEN_NOT_FOUND : pen_mdb_code(rc);
}

int pen_items_open(struct pen_store *store, uint64_t batch, int state, int code, int64_t after,
		   struct pen_cursor **ret)
{
	struct pen_facts *facts;
	struct pen_cursor *cur;
	int rc;

	/* Facts never change, so they may come from another snapshot than the rows. */
	rc = pen_ledger_read(store, batch, &facts, NULL);
	if (rc)
		return rc;
	rc = pen_cursor_make(store, PEN_CURSOR_ITEMS, NULL,
			     store->db[pen_index_has_row((uint8_t)state) ? PEN_DB_INDEX : PEN_DB_ITEMS],
			     &cur);
	if (rc) {
		free(facts);
		return rc;
	}
	cur->extra = facts;
	cur->batch = batch;
	cur->next = after < 0 ? 0 : (uint64_t)after + 1;
	cur->state = state;
	cur->code = code;
	*ret = cur;
	return 0;
}

/* "source" or "source/relative path", then the sentence, both in the cursor's buffer. */
static int item_texts(struct pen_cursor *cur, const struct pen_fmt_item *item, const struct pen_fmt_try *try,
		      const uint8_t *tail, struct pen_item *ret)
{
	const char *said = (const char *)tail + item->key_len + item->path_len + item->raw_len;
	const char *(*detail_of)(uint8_t) = atomic_load_explicit(&detail_text, memory_order_relaxed);
	const char *detail = item->detail && detail_of ? detail_of(item->detail) : NULL;
	const char *text = item->code ? pen_error_text(item->code) : "";
	const struct pen_facts *facts = cur->extra;
	const char *source = pen_ledger_list_at(facts->sources, facts->sources_len, item->source);
	size_t source_len = source ? strlen(source) : 0, text_len = strlen(text);
	size_t detail_len = detail ? strlen(detail) : 0;
	size_t need =
		source_len + 1 + item->path_len + 1 + text_len + 2 + detail_len + 2 + try->message_len + 1;
	char *at;

	if (need > cur->buffer_cap) {
		at = realloc(cur->buffer, need);
		if (!at)
			return -PEN_MEMORY;
		cur->buffer = at;
		cur->buffer_cap = need;
	}
	at = cur->buffer;
	ret->source = at;
	if (source_len)
		at = mempcpy(at, source, source_len);
	if (item->path_len) {
		if (source_len && source[source_len - 1] != '/')
			*at++ = '/';
		at = mempcpy(at, tail + item->key_len, item->path_len);
	}
	*at++ = 0;
	ret->message = at;
	at = mempcpy(at, text, text_len);
	if (detail_len) {
		at = mempcpy(at, ": ", at == ret->message ? 0 : 2);
		at = mempcpy(at, detail, detail_len);
	}
	if (try->message_len) {
		at = mempcpy(at, ": ", at == ret->message ? 0 : 2);
		at = mempcpy(at, said, try->message_len);
	}
	*at = 0;
	return 0;
}

static int item_fill(struct pen_cursor *cur, uint64_t seq, const struct pen_fmt_item *item,
		     const struct pen_fmt_try *try, const uint8_t *tail, struct pen_item *ret)
{
	*ret = (struct pen_item){
		.batch = cur->batch,
		.seq = seq,
		.state = item->state,
		.code = item->code,
		.line = item->line,
		.offset = item->offset,
		.column = item->column,
		.raw_total = item->raw_total,
		.attempts = item->attempts,
		.key = { tail, item->key_len },
		.key_kind = (enum pen_key)((const struct pen_facts *)cur->extra)->fixed.key_kind,
		.raw = { tail + item->key_len + item->path_len, item->raw_len },
		.exit_status = try->exit_status,
		.term_signal = try->term_signal,
		.crashes = try->crashes,
		.due_ms = try->due_ms,
		.ended_ms = try->ended_ms,
		.spent_us = try->spent_us,
		.stderr_tail = { tail + item->key_len + item->path_len + item->raw_len + try->message_len,
				 try->stderr_len },
	};
	return item_texts(cur, item, try, tail, ret);
}

/* The next row of the batch: 1, 0 at its end, or a failure. */
static int row_step(struct pen_cursor *cur, MDB_val *ret_key, MDB_val *ret_value)
{
	uint8_t be[KEY_LEN];
	int rc;

	key_of(be, cur->batch, cur->next);
	*ret_key = (MDB_val){ sizeof(be), be };
	rc = mdb_cursor_get(cur->mdb, ret_key, ret_value, cur->started ? MDB_NEXT : MDB_SET_RANGE);
	cur->started = true;
	if (rc == MDB_NOTFOUND)
		return 0;
	if (rc)
		return pen_mdb_code(rc);
	if (ret_key->mv_size != KEY_LEN)
		return -PEN_STORE_DAMAGED;
	return pen_get_be64(ret_key->mv_data) == cur->batch;
}

/* The same through the index: only rows in the wanted state are looked at. */
static int index_step(struct pen_cursor *cur, MDB_val *ret_key, MDB_val *ret_value)
{
	struct pen_index_key from = pen_index_row(cur->batch, (uint8_t)cur->state, cur->next);
	MDB_val key = { from.len, from.bytes }, value;
	int32_t code;
	int rc;

	for (;;) {
		rc = mdb_cursor_get(cur->mdb, &key, &value, cur->started ? MDB_NEXT : MDB_SET_RANGE);
		cur->started = true;
		if (rc == MDB_NOTFOUND ||
		    (!rc && (key.mv_size != from.len || memcmp(key.mv_data, from.bytes, from.len - 8) != 0)))
			return 0;
		if (rc)
			return pen_mdb_code(rc);
		if (value.mv_size != sizeof(code))
			return -PEN_STORE_DAMAGED;
		memcpy(&code, value.mv_data, sizeof(code));
		if (!cur->code || code == cur->code)
			break;
	}
	key_of(cur->found, cur->batch, pen_get_be64((const uint8_t *)key.mv_data + from.len - 8));
	*ret_key = (MDB_val){ sizeof(cur->found), cur->found };
	rc = mdb_get(cur->txn, cur->store->db[PEN_DB_ITEMS], ret_key, ret_value);
	return rc == MDB_NOTFOUND ? -PEN_STORE_DAMAGED : rc ? pen_mdb_code(rc) : 1;
}

int pen_items_next(struct pen_cursor *cur, struct pen_item *ret)
{
	bool indexed = pen_index_has_row((uint8_t)cur->state);
	struct pen_fmt_item item;
	struct pen_fmt_try try;
	const uint8_t *tail;
	MDB_val key = { 0 }, value = { 0 };
	int rc;

	while (!cur->error && !cur->done) {
		rc = indexed ? index_step(cur, &key, &value) : row_step(cur, &key, &value);
		if (!rc) {
			cur->done = true;
			break;
		}
		if (rc > 0)
			rc = pen_item_decode_try(key.mv_data, key.mv_size, value.mv_data, value.mv_size,
						 &item, &try, &tail);
		if (!rc &&
		    ((cur->state && item.state != cur->state) || (cur->code && item.code != cur->code)))
			continue;
		if (!rc)
			rc = item_fill(cur, pen_get_be64((const uint8_t *)key.mv_data + 8), &item, &try, tail,
				       ret);
		if (!rc)
			return 1;
		cur->error = rc;
	}
	return cur->error;
}
