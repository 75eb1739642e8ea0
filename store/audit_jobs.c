/* SPDX-License-Identifier: MIT */
/*
 * audit_jobs - orders, jobs, wishes, edges, and the index of everything
 *
 * An index is whole when each of its entries is true, and there are as many as there are things to be found.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "ring/base.h"
#include "store/audit.h"
#include "store/control.h"
#include "store/index.h"
#include "store/item.h"
#include "store/job.h"
#include "store/ledger.h"
#include "store/order.h"

#define ID "%016" PRIx64

static struct pen_audit_batch *batch_of(struct pen_audit *audit, const MDB_val *key, const char *what)
{
	uint64_t id = key->mv_size == 8 ? pen_get_be64(key->mv_data) : 0;
	struct pen_audit_batch *batch = pen_audit_find_batch(audit, id);

	if (!batch)
		pen_audit_say(audit->voice, PEN_INV_JOBS, "%s of batch " ID ", which is not there", what, id);
	return batch;
}

struct edges {
	MDB_dbi dbi;
	bool open;
};

/* Each parent has its edge; as there are no more edges than parents (below), each edge has its parent. */
static void check_parent(struct pen_audit *audit, MDB_dbi edges, uint64_t child,
			 const struct pen_parent *parent)
{
	uint8_t be[16];
	MDB_val key = { sizeof(be), be }, value;

	pen_put_be64(be, parent->id);
	pen_put_be64(be + 8, child);
	if (mdb_get(audit->txn, edges, &key, &value) || value.mv_size != 1 ||
	    *(const uint8_t *)value.mv_data != parent->edge)
		pen_audit_say(audit->voice, PEN_INV_JOBS,
			      "batch " ID " waits for batch " ID ", but no such edge is there", child,
			      parent->id);
}

static void visit_order(struct pen_audit *audit, void *arg, const MDB_val *key, const MDB_val *value)
{
	struct pen_audit_batch *batch = batch_of(audit, key, "an order");
	const struct edges *edges = arg;
	struct pen_order *order;

	if (!batch)
		return;
	if (pen_order_decode(value->mv_data, value->mv_size, batch->id, &order)) {
		pen_audit_say(audit->voice, PEN_INV_VALUES, "batch " ID ": its order is damaged", batch->id);
		return;
	}
	batch->parents = order->parent_count;
	memcpy(batch->dedup, order->fixed.dedup, sizeof(batch->dedup));
	for (uint32_t i = 0; edges->open && i < order->parent_count; i++)
		check_parent(audit, edges->dbi, batch->id, &order->parents[i]);
	free(order);
}

static void visit_job(struct pen_audit *audit, void *arg, const MDB_val *key, const MDB_val *value)
{
	struct pen_audit_batch *batch = batch_of(audit, key, "a job");
	struct pen_fmt_job job;

	(void)arg;
	if (!batch)
		return;
	if (pen_job_decode(value->mv_data, value->mv_size, batch->id, &job)) {
		pen_audit_say(audit->voice, PEN_INV_VALUES, "batch " ID ": its job is damaged", batch->id);
		return;
	}
	batch->retrying = job.retrying;
	batch->fed = job.fed;
	batch->place_items = job.place_items;
	if (job.place_items > batch->items + job.retrying)
		pen_audit_say(audit->voice, PEN_INV_CHECKPOINT,
			      "batch " ID ": its place is behind %" PRIu64 " items, but %" PRIu64
			      " are decided and %" PRIu64 " wait",
			      batch->id, job.place_items, batch->items, job.retrying);
	if (batch->state == PEN_COMPLETED && job.retrying)
		pen_audit_say(audit->voice, PEN_INV_JOBS,
			      "batch " ID " is complete, but %" PRIu64 " items wait to be tried again",
			      batch->id, job.retrying);
}

static void visit_control(struct pen_audit *audit, void *arg, const MDB_val *key, const MDB_val *value)
{
	struct pen_audit_batch *batch = batch_of(audit, key, "a wish");
	struct pen_control control;

	(void)arg;
	if (!batch)
		return;
	if (pen_control_decode(value->mv_data, value->mv_size, batch->id, &control))
		pen_audit_say(audit->voice, PEN_INV_VALUES, "batch " ID ": what is wanted of it is damaged",
			      batch->id);
	else if (pen_ledger_over(batch->state) &&
		 (batch->state != PEN_CANCELLED || control.want != PEN_WANT_CANCEL))
		pen_audit_say(audit->voice, PEN_INV_JOBS,
			      "batch " ID " has ended, but something is wanted of it", batch->id);
}

static void visit_edge(struct pen_audit *audit, void *arg, const MDB_val *key, const MDB_val *value)
{
	struct pen_audit_batch *child;

	(void)arg;
	if (key->mv_size != 16 || value->mv_size != 1) {
		pen_audit_say(audit->voice, PEN_INV_VALUES,
			      "penstock.edges has an entry of impossible length");
		return;
	}
	child = pen_audit_find_batch(audit, pen_get_be64((const uint8_t *)key->mv_data + 8));
	if (child)
		child->edges++;
	else
		pen_audit_say(audit->voice, PEN_INV_JOBS, "an edge leads to a batch that is not there");
}

/* ---- the index ------------------------------------------------------------------------------- */

struct index_walk {
	MDB_dbi items;
	uint64_t entries, hooks;
};

static void wrong(struct pen_audit *audit, const char *what, uint64_t id)
{
	pen_audit_say(audit->voice, PEN_INV_INDEX, "the index says of batch " ID " what is not so: %s", id,
		      what);
}

static void check_row(struct pen_audit *audit, const struct index_walk *walk, const uint8_t *at,
		      const MDB_val *value)
{
	uint8_t be[16];
	MDB_val key = { sizeof(be), be }, row;
	struct pen_fmt_item item;
	struct pen_fmt_try try;
	const uint8_t *tail;
	int32_t code;
	uint64_t id = pen_get_be64(at);

	memcpy(be, at, 8);
	memcpy(be + 8, at + 9, 8);
	if (value->mv_size != sizeof(code)) {
		wrong(audit, "a row", id);
		return;
	}
	memcpy(&code, value->mv_data, sizeof(code));
	if (!pen_index_has_row(at[8]) || mdb_get(audit->txn, walk->items, &key, &row) ||
	    pen_item_decode_try(be, sizeof(be), row.mv_data, row.mv_size, &item, &try, &tail) ||
	    item.state != at[8] || item.code != code)
		wrong(audit, "a row", id);
}

static void check_due(struct pen_audit *audit, const struct index_walk *walk, const uint8_t *at)
{
	uint8_t be[16];
	MDB_val key = { sizeof(be), be }, row;
	struct pen_fmt_item item;
	struct pen_fmt_try try;
	const uint8_t *tail;

	memcpy(be, at, 8);
	memcpy(be + 8, at + 16, 8);
	if (mdb_get(audit->txn, walk->items, &key, &row) ||
	    pen_item_decode_try(be, sizeof(be), row.mv_data, row.mv_size, &item, &try, &tail) ||
	    item.state != PEN_ITEM_RETRYING || try.due_ms != pen_get_be64(at + 8))
		wrong(audit, "a row that waits", pen_get_be64(at));
}

static bool is_owner(const MDB_val *key, const struct pen_audit_batch *batch)
{
	struct pen_index_key want = pen_index_owner(batch->owner, batch->id);

	return key->mv_size == want.len && !memcmp(key->mv_data, want.bytes, want.len);
}

static void visit_index(struct pen_audit *audit, void *arg, const MDB_val *key, const MDB_val *value)
{
	const uint8_t *at = key->mv_data;
	struct index_walk *walk = arg;
	const struct pen_audit_batch *batch;
	uint64_t id = key->mv_size > 8 ? pen_get_be64(at + key->mv_size - 8) : 0;

	walk->entries++;
	if (value->mv_size && at[0] != PEN_INDEX_ROW)
		pen_audit_say(audit->voice, PEN_INV_INDEX, "penstock.index has an entry with a value");
	if (key->mv_size == 10 && at[0] == PEN_INDEX_STATE) {
		batch = pen_audit_find_batch(audit, id);
		if (!batch || batch->state != at[1])
			wrong(audit, "its state", id);
	} else if (key->mv_size >= 10 && at[0] == PEN_INDEX_OWNER) {
		batch = pen_audit_find_batch(audit, id);
		if (!batch || !batch->owner || !is_owner(key, batch))
			wrong(audit, "its owner", id);
	} else if (key->mv_size == 17 && at[0] == PEN_INDEX_ENDED) {
		batch = pen_audit_find_batch(audit, id);
		if (!batch || !pen_ledger_over(batch->state) || batch->ended_ms != pen_get_be64(at + 1))
			wrong(audit, "when it ended", id);
	} else if (key->mv_size == 18 && at[0] == PEN_INDEX_ROW) {
		check_row(audit, walk, at + 1, value);
	} else if (key->mv_size == 9 && at[0] == PEN_INDEX_HOOK) {
		batch = pen_audit_find_batch(audit, id);
		if (!batch)
			wrong(audit, "its command", id);
		walk->hooks++;
	} else if (key->mv_size == 25 && at[0] == PEN_INDEX_DUE) {
		check_due(audit, walk, at + 1);
	} else if (key->mv_size == 25 && at[0] == PEN_INDEX_DEDUP) {
		if (!pen_audit_dedup_index(audit, at + 1))
			pen_audit_say(audit->voice, PEN_INV_INDEX,
				      "the index says when a key ends that is not there, or has another end");
	} else {
		pen_audit_say(audit->voice, PEN_INV_INDEX, "penstock.index has an entry of an unknown kind");
	}
}

static bool walk_own(struct pen_audit *audit, enum pen_db db, pen_audit_visit *visit, void *arg)
{
	return pen_audit_walk(audit, pen_db_names[db], pen_db_names[db], visit, arg, NULL);
}

void pen_audit_jobs(struct pen_audit *audit)
{
	struct index_walk walk = { 0 };
	struct edges edges;
	uint64_t expected = 0;
	bool index, whole;

	if (audit->has_meta && audit->meta.format < 2)
		return;
	edges.open = !mdb_dbi_open(audit->txn, pen_db_names[PEN_DB_EDGES], 0, &edges.dbi);
	whole = walk_own(audit, PEN_DB_ORDERS, visit_order, &edges);
	walk_own(audit, PEN_DB_JOBS, visit_job, NULL);
	walk_own(audit, PEN_DB_CONTROLS, visit_control, NULL);
	whole &= walk_own(audit, PEN_DB_EDGES, visit_edge, NULL);
	if (whole)
		pen_audit_dedup(audit);
	index = !mdb_dbi_open(audit->txn, pen_db_names[PEN_DB_ITEMS], 0, &walk.items) &&
		walk_own(audit, PEN_DB_INDEX, visit_index, &walk);
	for (size_t i = 0; i < audit->batch_count; i++) {
		const struct pen_audit_batch *b = &audit->batches[i];

		if (whole && b->edges != b->parents)
			pen_audit_say(audit->voice, PEN_INV_JOBS,
				      "batch " ID " waits for %" PRIu32 " batches, but %" PRIu32
				      " edges lead to it",
				      b->id, b->parents, b->edges);
		if (b->retrying != b->rows_retrying)
			pen_audit_say(audit->voice, PEN_INV_ROWS,
				      "batch " ID ": rows retrying %" PRIu64 "; its job says %" PRIu64, b->id,
				      b->rows_retrying, b->retrying);
		expected += 2 + pen_ledger_over(b->state) + b->rows_indexed + b->rows_retrying;
	}
	expected += walk.hooks; /* what has run is not known from the order */
	expected += pen_audit_dedup_ends(audit);
	if (index && walk.entries != expected)
		pen_audit_say(audit->voice, PEN_INV_INDEX,
			      "the index has %" PRIu64 " entries, but %" PRIu64 " things are to be found",
			      walk.entries, expected);
}
