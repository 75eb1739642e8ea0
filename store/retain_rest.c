/* SPDX-License-Identifier: MIT */
/*
 * retain_rest - what hangs on a batch beside its rows: order, edges, key, job, wish, hook, entries of the index; and
 * what its dataset is told
 *
 * A parent may go before its children once these have ended: what such a child waited for is struck from its order, so
 * that it can still be tried again, and a chain of batches does not keep itself for ever.
 */
#include <stdlib.h>

#include "ring/base.h"
#include "store/change.h"
#include "store/control.h"
#include "store/dataset.h"
#include "store/dedup.h"
#include "store/index.h"
#include "store/job.h"
#include "store/ledger.h"
#include "store/order.h"
#include "store/pin.h"
#include "store/retain.h"
#include "store/staged.h"

#define HISTORY_STEP 1000u /* changes a transaction */

/* The first child above `after`: 0, -PEN_NOT_FOUND, or a code. */
static int next_child(struct pen_txn *txn, uint64_t parent, uint64_t after, uint64_t *ret)
{
	uint8_t be[16];
	MDB_val key = { sizeof(be), be }, value;
	MDB_cursor *cur;
	int rc = pen_mdb_code(mdb_cursor_open(txn->mdb, txn->store->db[PEN_DB_EDGES], &cur));

	if (rc)
		return rc;
	pen_put_be64(be, parent);
	pen_put_be64(be + 8, after + 1);
	rc = mdb_cursor_get(cur, &key, &value, MDB_SET_RANGE);
	if (!rc && key.mv_size == 16 && pen_get_be64(key.mv_data) == parent)
		*ret = pen_get_be64((const uint8_t *)key.mv_data + 8);
	else if (!rc || rc == MDB_NOTFOUND)
		rc = MDB_NOTFOUND;
	mdb_cursor_close(cur);
	return rc == MDB_NOTFOUND ? -PEN_NOT_FOUND : pen_mdb_code(rc);
}

/* -PEN_NOT_FOUND: no such batch. */
static int state_of(struct pen_txn *txn, uint64_t id, unsigned *ret)
{
	const void *value;
	struct pen_fmt_state s;
	uint8_t be[8];
	size_t len;
	int rc;

	pen_put_be64(be, id);
	rc = pen_txn_get(txn, PEN_DB_STATES, be, sizeof(be), &value, &len);
	if (!rc)
		rc = pen_unseal(value, len, sizeof(s), PEN_KIND_STATE);
	if (rc)
		return rc;
	memcpy(&s, value, sizeof(s));
	*ret = s.state;
	return 0;
}

static int unfinished_child(struct pen_txn *txn, uint64_t id, bool *ret)
{
	uint64_t child = 0;
	int rc;

	*ret = false;
	while (!*ret && !(rc = next_child(txn, id, child, &child))) {
		unsigned state;

		rc = state_of(txn, child, &state);
		if (rc)
			return rc == -PEN_NOT_FOUND ? -PEN_STORE_DAMAGED : rc;
		*ret = !pen_ledger_over(state);
	}
	return *ret || rc == -PEN_NOT_FOUND ? 0 : rc;
}

int pen_retain_needed(struct pen_txn *txn, uint64_t id, bool *ret)
{
	struct pen_index_key hook = pen_index_hook(id);
	struct pen_fmt_job job;
	const void *value;
	unsigned state;
	size_t len;
	int rc = pen_txn_get(txn, PEN_DB_INDEX, hook.bytes, hook.len, &value, &len);

	*ret = !rc;
	if (rc != -PEN_NOT_FOUND)
		return rc;
	rc = pen_job_load(txn, id, &job);
	if (rc && rc != -PEN_NOT_FOUND)
		return rc;
	if (!rc && job.retrying) {
		rc = state_of(txn, id, &state);
		/* Nothing tries the items of a cancelled batch again. */
		*ret = !rc && state != PEN_CANCELLED;
		if (rc || *ret)
			return rc == -PEN_NOT_FOUND ? 0 : rc;
	}
	return unfinished_child(txn, id, ret);
}

int pen_retain_strike(struct pen_txn *txn, uint64_t id, unsigned most, unsigned *ret_count)
{
	uint64_t child = 0;
	int rc = 0;

	for (*ret_count = 0; *ret_count < most; ++*ret_count) {
		rc = next_child(txn, id, 0, &child);
		if (rc)
			break;
		rc = pen_order_strike(txn, child, id);
		if (rc)
			return rc == -PEN_NOT_FOUND ? -PEN_STORE_DAMAGED : rc;
	}
	return rc == -PEN_NOT_FOUND ? 1 : rc;
}

/* What the batch had put into its dataset stays there and must still be accounted for. */
int pen_dataset_others(struct pen_txn *txn, uint64_t dataset_id, int64_t delta)
{
	struct pen_fmt_removed removed;
	uint8_t key[PEN_RETAIN_KEY_LEN];
	int rc;

	if (!delta)
		return 0;
	pen_retain_key(key, PEN_REMOVED_KEY, dataset_id);
	rc = pen_retain_row_read(txn->store, txn->mdb, key, sizeof(key), PEN_KIND_REMOVED, &removed,
				 sizeof(removed));
	if (rc)
		return rc;
	removed.entries += (uint64_t)delta;
	return pen_retain_row_write(txn, key, sizeof(key), PEN_KIND_REMOVED, &removed, sizeof(removed));
}

static int unindex(struct pen_txn *txn, struct pen_index_key key)
{
	return pen_index_remove(txn, &key);
}

static int remove_order(struct pen_txn *txn, uint64_t id)
{
	uint8_t edge[16];
	struct pen_order *order;
	int rc = pen_order_load(txn, id, &order);

	if (rc)
		return rc == -PEN_NOT_FOUND ? 0 : rc;
	pen_put_be64(edge + 8, id);
	for (uint32_t i = 0; i < order->parent_count && !rc; i++) {
		pen_put_be64(edge, order->parents[i].id);
		rc = pen_retain_del(txn, PEN_DB_EDGES, edge, sizeof(edge));
	}
	if (!rc)
		rc = pen_dedup_forget(txn, order->fixed.dedup, id);
	free(order);
	return rc ? rc : pen_retain_del(txn, PEN_DB_ORDERS, edge + 8, 8);
}

int pen_retain_rest(struct pen_txn *txn, const struct pen_facts *facts, const struct pen_fmt_state *s)
{
	uint8_t be[8];
	int rc = remove_order(txn, s->id);

	pen_put_be64(be, s->id);
	if (!rc)
		rc = pen_retain_del(txn, PEN_DB_JOBS, be, sizeof(be));
	if (!rc)
		rc = pen_control_clear(txn, s->id);
	if (!rc)
		rc = pen_pin_clear(txn, s->id);
	if (!rc)
		rc = pen_staged_forget(txn, s->id);
	if (!rc)
		rc = unindex(txn, pen_index_owner(facts->owner, s->id));
	if (!rc)
		rc = unindex(txn, pen_index_state(s->state, s->id));
	if (!rc && pen_ledger_over(s->state))
		rc = unindex(txn, pen_index_ended(s->ended_ms, s->id));
	return rc;
}

/* A row of a cancelled batch that waited for another try: what its job counts must stay true. */
static int unwait(struct pen_txn *txn, uint64_t batch)
{
	struct pen_standing *st = malloc(sizeof(*st));
	struct pen_fmt_job job;
	int rc = st ? pen_job_load(txn, batch, &job) : -PEN_MEMORY;

	if (!rc)
		rc = pen_ledger_load(txn, batch, NULL, st);
	if (!rc && !job.retrying)
		rc = -PEN_STORE_DAMAGED;
	if (!rc) {
		job.retrying--;
		job.place_items = pen_min(job.place_items, st->fixed.applied.items + job.retrying);
		rc = pen_job_save(txn, &job);
	}
	free(st);
	return rc;
}

int pen_retain_row(struct pen_txn *txn, uint64_t batch, uint64_t seq, unsigned state, uint64_t due_ms)
{
	uint8_t key[16];
	int rc = 0;

	pen_put_be64(key, batch);
	pen_put_be64(key + 8, seq);
	if (pen_index_has_row((uint8_t)state))
		rc = unindex(txn, pen_index_row(batch, (uint8_t)state, seq));
	if (!rc && state == PEN_ITEM_RETRYING)
		rc = unindex(txn, pen_index_due(batch, due_ms, seq));
	if (!rc && state == PEN_ITEM_RETRYING)
		rc = unwait(txn, batch);
	return rc ? rc : pen_retain_del(txn, PEN_DB_ITEMS, key, sizeof(key));
}

int pen_retain_history(struct pen_txn *txn, uint64_t events_ms, uint64_t now_ms, bool *ret_changed)
{
	int n = events_ms < now_ms ? pen_change_expire(txn, now_ms - events_ms, HISTORY_STEP) : 0;

	*ret_changed |= n > 0;
	return n < 0 ? n : 0;
}
