/* SPDX-License-Identifier: MIT */
/*
 * order - what a submitted batch is to do, and which batches it waits for
 *
 * The request itself is the engine's bytes (engine/order.h); the store keeps them, the parents, and the edges by which
 * a parent's children are found. Written once, with the batch.
 *
 *   Limits     PEN_PARENTS_MAX parents; a request of PEN_ORDER_MAX bytes.
 */
#ifndef PEN_STORE_ORDER_H
#define PEN_STORE_ORDER_H

#include "store/format.h"
#include "store/txn.h"

#define PEN_PARENTS_MAX 1024u
#define PEN_ORDER_MAX (64u << 20)

struct pen_parent {
	uint64_t id;
	enum pen_edge edge;
};

struct pen_order {
	struct pen_fmt_order fixed; /* head and parents are filled in */
	const void *spec;
	size_t spec_len;
	const struct pen_parent *parents;
	uint32_t parent_count;
	const char *hook; /* NULL or "": none */
};

/* A parent that is named twice is one, with the stricter edge. -E2BIG; -EINVAL: it is its own parent. */
int pen_order_put(struct pen_txn *txn, const struct pen_order *order);
/* It waits for this parent no more; its hook is as it was. 0 too when there is no such parent. */
int pen_order_strike(struct pen_txn *txn, uint64_t id, uint64_t parent);
/* One malloc'ed block, which the caller frees. -PEN_NOT_FOUND: the batch was not submitted. */
int pen_order_load(struct pen_txn *txn, uint64_t id, struct pen_order **ret);
int pen_order_read(struct pen_store *store, uint64_t id, struct pen_order **ret);
/* Batches that wait, or waited, for this one: up to cap of them above `after`. How many, or a code. */
int pen_order_children(struct pen_store *store, uint64_t parent, uint64_t after, uint64_t *ret, uint32_t cap);

/* For the audit. */
int pen_order_decode(const void *value, size_t len, uint64_t id, struct pen_order **ret);

#endif
