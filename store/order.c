/* SPDX-License-Identifier: MIT */
#include "store/order.h"

#include <errno.h>
#include <stdlib.h>

#include "ring/base.h"
#include "store/index.h"
#include "store/store_private.h"

#define PARENT_BYTES 9u

struct piece {
	const void *data;
	size_t len;
};

static uint8_t *put_piece(uint8_t *at, const struct piece *piece)
{
	uint32_t len = (uint32_t)piece->len;

	at = mempcpy(at, &len, 4);
	return len ? mempcpy(at, piece->data, len) : at;
}

static int put_edges(struct pen_txn *txn, uint64_t child, const uint8_t *parents, uint32_t count)
{
	int rc = 0;

	for (uint32_t i = 0; i < count && !rc; i++) {
		const uint8_t *p = parents + i * PARENT_BYTES;
		uint64_t parent;
		uint8_t key[16];

		memcpy(&parent, p, 8);
		pen_put_be64(key, parent);
		pen_put_be64(key + 8, child);
		rc = pen_txn_put(txn, PEN_DB_EDGES, key, sizeof(key), p + 8, 1, 0);
	}
	return rc;
}

/* Each parent once: an edge is one entry, however often it was asked for. How many. */
static uint32_t pack_parents(const struct pen_order *order, uint8_t *ret)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < order->parent_count; i++) {
		const struct pen_parent *parent = &order->parents[i];
		uint8_t *p = ret, edge = (uint8_t)parent->edge;

		while (p < ret + n * PARENT_BYTES && memcmp(p, &parent->id, 8) != 0)
			p += PARENT_BYTES;
		if (p == ret + n * PARENT_BYTES) {
			memcpy(p, &parent->id, 8);
			p[8] = edge;
			n++;
		} else {
			p[8] = edge < p[8] ? edge : p[8];
		}
	}
	return n;
}

static int write_order(struct pen_txn *txn, const struct pen_order *order)
{
	uint8_t parents[PEN_PARENTS_MAX * PARENT_BYTES], key[8], *value, *at;
	struct piece piece[PEN_ORDER_STRINGS] = {
		[PEN_ORDER_SPEC] = { order->spec, order->spec_len },
		[PEN_ORDER_HOOK] = { order->hook, order->hook ? strlen(order->hook) : 0 },
	};
	struct pen_fmt_order fixed = order->fixed;
	size_t size = sizeof(fixed);
	int rc;

	if (order->parent_count > PEN_PARENTS_MAX)
		return -E2BIG;
	for (uint32_t i = 0; i < order->parent_count; i++)
		if (order->parents[i].id == fixed.id)
			return -EINVAL;
	fixed.parents = pack_parents(order, parents);
	piece[PEN_ORDER_PARENTS] = (struct piece){ parents, fixed.parents * PARENT_BYTES };
	for (size_t i = 0; i < PEN_COUNT(piece); i++)
		if (piece[i].len > PEN_ORDER_MAX || (size += 4 + piece[i].len) > PEN_ORDER_MAX)
			return -E2BIG;
	value = malloc(size);
	if (!value)
		return -PEN_MEMORY;
	at = mempcpy(value, &fixed, sizeof(fixed));
	for (size_t i = 0; i < PEN_COUNT(piece); i++)
		at = put_piece(at, &piece[i]);
	pen_seal(value, size, PEN_KIND_ORDER, 1);
	pen_put_be64(key, fixed.id);
	rc = pen_txn_put(txn, PEN_DB_ORDERS, key, sizeof(key), value, size, 0);
	free(value);
	return rc ? rc : put_edges(txn, fixed.id, parents, fixed.parents);
}

int pen_order_put(struct pen_txn *txn, const struct pen_order *order)
{
	struct pen_index_key hook = pen_index_hook(order->fixed.id);
	int rc = write_order(txn, order);

	return rc || !order->hook || !*order->hook ? rc : pen_index_add(txn, &hook, 0);
}

int pen_order_strike(struct pen_txn *txn, uint64_t id, uint64_t parent)
{
	struct pen_order *order;
	struct pen_parent *at;
	uint8_t edge[16];
	uint32_t n = 0;
	int rc = pen_order_load(txn, id, &order);

	if (rc)
		return rc;
	at = (struct pen_parent *)(uintptr_t)order->parents;
	for (uint32_t i = 0; i < order->parent_count; i++)
		if (at[i].id != parent)
			at[n++] = at[i];
	if (n < order->parent_count) {
		order->parent_count = n;
		rc = write_order(txn, order);
	}
	free(order);
	pen_put_be64(edge, parent);
	pen_put_be64(edge + 8, id);
	rc = rc ? rc : pen_txn_del(txn, PEN_DB_EDGES, edge, sizeof(edge));
	return rc == -PEN_NOT_FOUND ? 0 : rc;
}

int pen_order_decode(const void *value, size_t len, uint64_t id, struct pen_order **ret)
{
	const uint8_t *at = (const uint8_t *)value + sizeof(struct pen_fmt_order);
	struct piece piece[PEN_ORDER_STRINGS];
	struct pen_parent *parents;
	struct pen_order *order;
	size_t left;
	char *to;
	int rc = pen_unseal(value, len, sizeof(struct pen_fmt_order), PEN_KIND_ORDER);

	if (rc)
		return rc;
	left = len - sizeof(struct pen_fmt_order);
	for (size_t i = 0; i < PEN_COUNT(piece); i++) {
		uint32_t n;

		if (left < 4)
			return -PEN_STORE_DAMAGED;
		memcpy(&n, at, 4);
		left -= 4;
		if (n > left)
			return -PEN_STORE_DAMAGED;
		piece[i] = (struct piece){ at + 4, n };
		at += 4 + n;
		left -= n;
	}
	order = malloc(sizeof(*order) + PEN_PARENTS_MAX * sizeof(*parents) + len + 2);
	if (!order)
		return -PEN_MEMORY;
	memcpy(&order->fixed, value, sizeof(order->fixed));
	if (left || order->fixed.id != id || order->fixed.parents > PEN_PARENTS_MAX ||
	    piece[PEN_ORDER_PARENTS].len != order->fixed.parents * PARENT_BYTES ||
	    memchr(piece[PEN_ORDER_HOOK].data, 0, piece[PEN_ORDER_HOOK].len)) {
		free(order);
		return -PEN_STORE_DAMAGED;
	}
	parents = (struct pen_parent *)(order + 1);
	for (uint32_t i = 0; i < order->fixed.parents; i++) {
		const uint8_t *p = (const uint8_t *)piece[PEN_ORDER_PARENTS].data + i * PARENT_BYTES;

		memcpy(&parents[i].id, p, 8);
		parents[i].edge = p[8];
		if (p[8] != PEN_EDGE_OK && p[8] != PEN_EDGE_ANY) {
			free(order);
			return -PEN_STORE_DAMAGED;
		}
	}
	to = (char *)(parents + PEN_PARENTS_MAX);
	order->parents = parents;
	order->parent_count = order->fixed.parents;
	order->spec = to;
	order->spec_len = piece[PEN_ORDER_SPEC].len;
	to = mempcpy(to, piece[PEN_ORDER_SPEC].data, order->spec_len);
	order->hook = to;
	to = mempcpy(to, piece[PEN_ORDER_HOOK].data, piece[PEN_ORDER_HOOK].len);
	*to = 0;
	*ret = order;
	return 0;
}

int pen_order_load(struct pen_txn *txn, uint64_t id, struct pen_order **ret)
{
	const void *value;
	uint8_t key[8];
	size_t len;
	int rc;

	pen_put_be64(key, id);
	rc = pen_txn_get(txn, PEN_DB_ORDERS, key, sizeof(key), &value, &len);
	return rc ? rc : pen_order_decode(value, len, id, ret);
}

int pen_order_read(struct pen_store *store, uint64_t id, struct pen_order **ret)
{
	MDB_val value;
	MDB_txn *mdb;
	int rc = pen_read_begin(store, &mdb);

	if (rc)
		return rc;
	rc = pen_batch_row(store, mdb, PEN_DB_ORDERS, id, &value);
	if (!rc)
		rc = pen_order_decode(value.mv_data, value.mv_size, id, ret);
	pen_read_end(store, mdb);
	return rc;
}

int pen_order_children(struct pen_store *store, uint64_t parent, uint64_t after, uint64_t *ret, uint32_t cap)
{
	uint8_t be[16];
	MDB_val key = { sizeof(be), be }, value;
	MDB_cursor *cur;
	MDB_txn *mdb;
	uint32_t n = 0;
	int rc;

	if (after == UINT64_MAX)
		return 0;
	rc = pen_read_begin(store, &mdb);
	if (rc)
		return rc;
	pen_put_be64(be, parent);
	pen_put_be64(be + 8, after + 1);
	rc = mdb_cursor_open(mdb, store->db[PEN_DB_EDGES], &cur);
	if (!rc) {
		for (rc = mdb_cursor_get(cur, &key, &value, MDB_SET_RANGE);
		     !rc && n < cap && key.mv_size == 16 && pen_get_be64(key.mv_data) == parent;
		     rc = mdb_cursor_get(cur, &key, &value, MDB_NEXT))
			ret[n++] = pen_get_be64((const uint8_t *)key.mv_data + 8);
		mdb_cursor_close(cur);
	}
	pen_read_end(store, mdb);
	return rc && rc != MDB_NOTFOUND ? pen_mdb_code(rc) : (int)n;
}
