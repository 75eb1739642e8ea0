/* SPDX-License-Identifier: MIT */
#include "store/item.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "ring/base.h"
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

int pen_item_put(struct pen_txn *txn, const struct pen_row *row)
{
	uint8_t small[2048], key[KEY_LEN], *value = small, *at;
	size_t path_len = row->path ? strnlen(row->path, PEN_PATH_BYTES_MAX) : 0;
	size_t key_len = pen_min(row->key_len, PEN_KEY_MAX), raw_len = pen_min(row->raw_len, PEN_RAW_MAX);
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
	size_t size = sizeof(item) + key_len + path_len + raw_len;
	int rc;

	if (size > sizeof(small)) {
		value = malloc(size);
		if (!value)
			return -PEN_MEMORY;
	}
	pen_put_be64(key, row->batch);
	pen_put_be64(key + 8, row->seq);
	item.key_crc = pen_crc32c(key, sizeof(key));
	memcpy(value, &item, sizeof(item));
	at = value + sizeof(item);
	if (key_len)
		memcpy(at, row->key, key_len);
	at += key_len;
	if (path_len)
		memcpy(at, row->path, path_len);
	at += path_len;
	if (raw_len)
		memcpy(at, row->raw, raw_len);
	pen_seal(value, size, PEN_KIND_ITEM, 1);
	rc = pen_txn_put(txn, PEN_DB_ITEMS, key, sizeof(key), value, size, 0);
	if (value != small)
		free(value);
	return rc;
}

/* ---- reading --------------------------------------------------------------------------------- */

int pen_item_decode(const void *key, size_t key_len, const void *value, size_t len, struct pen_fmt_item *ret,
		    const uint8_t **ret_tail)
{
	struct pen_fmt_item item;
	int rc;

	if (key_len != KEY_LEN)
		return -PEN_STORE_DAMAGED;
	rc = pen_unseal(value, len, sizeof(item), PEN_KIND_ITEM);
	if (rc)
		return rc;
	memcpy(&item, value, sizeof(item));
	if ((uint64_t)item.key_len + item.path_len + item.raw_len != len - sizeof(item) ||
	    item.raw_len > PEN_RAW_MAX || item.path_len > PEN_PATH_BYTES_MAX ||
	    item.state < PEN_ITEM_COMMITTED || item.state > PEN_ITEM_RETRYING ||
	    item.key_crc != pen_crc32c(key, key_len))
		return -PEN_STORE_DAMAGED;
	*ret = item;
	*ret_tail = (const uint8_t *)value + sizeof(item);
	return 0;
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
	rc = pen_cursor_make(store, PEN_CURSOR_ITEMS, NULL, store->db[PEN_DB_ITEMS], &cur);
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
static int item_texts(struct pen_cursor *cur, const struct pen_fmt_item *item, const uint8_t *tail,
		      struct pen_item *ret)
{
	const char *(*detail_of)(uint8_t) = atomic_load_explicit(&detail_text, memory_order_relaxed);
	const char *detail = item->detail && detail_of ? detail_of(item->detail) : NULL;
	const char *text = pen_error_text(item->code);
	const struct pen_facts *facts = cur->extra;
	const char *source = pen_ledger_list_at(facts->sources, facts->sources_len, item->source);
	size_t source_len = source ? strlen(source) : 0, text_len = strlen(text);
	size_t detail_len = detail ? strlen(detail) : 0;
	size_t need = source_len + 1 + item->path_len + 1 + text_len + 2 + detail_len + 1;
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
		at = mempcpy(at, ": ", 2);
		at = mempcpy(at, detail, detail_len);
	}
	*at = 0;
	return 0;
}

static int item_fill(struct pen_cursor *cur, uint64_t seq, const struct pen_fmt_item *item,
		     const uint8_t *tail, struct pen_item *ret)
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
		.raw = { tail + item->key_len + item->path_len, item->raw_len },
	};
	return item_texts(cur, item, tail, ret);
}

/* The next row of the batch: 1, 0 at its end, or a failure. */
static int item_step(struct pen_cursor *cur, MDB_val *ret_key, MDB_val *ret_value)
{
	uint8_t be[KEY_LEN];
	int rc;

	pen_put_be64(be, cur->batch);
	pen_put_be64(be + 8, cur->next);
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

int pen_items_next(struct pen_cursor *cur, struct pen_item *ret)
{
	struct pen_fmt_item item;
	const uint8_t *tail;
	MDB_val key, value;
	int rc;

	while (!cur->error && !cur->done) {
		rc = item_step(cur, &key, &value);
		if (!rc) {
			cur->done = true;
			break;
		}
		if (rc > 0)
			rc = pen_item_decode(key.mv_data, key.mv_size, value.mv_data, value.mv_size, &item,
					     &tail);
		if (!rc &&
		    ((cur->state && item.state != cur->state) || (cur->code && item.code != cur->code)))
			continue;
		if (!rc)
			rc = item_fill(cur, pen_get_be64((const uint8_t *)key.mv_data + 8), &item, tail, ret);
		if (!rc)
			return 1;
		cur->error = rc;
	}
	return cur->error;
}
