/* SPDX-License-Identifier: MIT */
/*
 * survey - what is known of submitted batches, for those who look: order, tries, relatives, the queue as a whole
 *
 * Reads rows and the index; writes nothing, locks nothing, and does not look at items.
 *
 *   Threads    any; a walk, one.
 *   Memory     a walk: 48 bytes a batch that it may reach, PEN_GRAPH_NODES of them; else one batch's order.
 */
#include <errno.h>
#include <stdlib.h>

#include "engine/graph.h"
#include "include/penstock.h"
#include "ring/base.h"
#include "ring/error.h"
#include "store/index.h"
#include "store/job.h"
#include "store/ledger.h"
#include "store/order.h"

#define STEP 1024u
#define LOOKED 10000u /* batches and their parents that are asked about time */
#define PLACES 256u   /* batches whose children are being walked; others are found again from their first */

/* ---- one batch ------------------------------------------------------------------------------- */

static bool hook_is_owed(struct pen_store *store, uint64_t id)
{
	uint64_t found;

	return pen_index_hooks(store, id - 1, &found, 1) == 1 && found == id;
}

int pen_batch_job(struct pen_store *store, uint64_t id, struct pen_job_info *ret)
{
	struct pen_job_info info = { .submitted = false };
	struct pen_order *order = NULL;
	struct pen_fmt_job job;
	int rc = pen_job_read(store, id, &job);

	if (rc && rc != -PEN_NOT_FOUND)
		return rc;
	if (!rc) {
		info.tried = true;
		info.retrying = job.retrying;
		info.due_ms = job.due_ms;
		info.tries = job.tries;
		info.retries = job.retries;
		info.crashes = job.crashes;
		info.dropped = job.dropped;
		info.cache_hits = job.cache_hits;
		info.cache_misses = job.cache_misses;
	}
	rc = pen_order_read(store, id, &order);
	if (rc && rc != -PEN_NOT_FOUND)
		return rc;
	if (!rc) {
		info.submitted = true;
		info.priority = order->fixed.priority;
		info.not_before_ms = order->fixed.not_before_ms;
		info.parents = order->parent_count;
		info.has_hook = order->hook && *order->hook;
		info.hook_owed = info.has_hook && hook_is_owed(store, id);
	}
	free(order);
	*ret = info;
	return 0;
}

int pen_batch_parents(struct pen_store *store, uint64_t id, struct pen_after *ret, uint32_t cap)
{
	struct pen_order *order = NULL;
	uint32_t count = 0;
	int rc = pen_order_read(store, id, &order);

	if (rc)
		return rc == -PEN_NOT_FOUND ? 0 : rc;
	for (; count < order->parent_count && count < cap; count++)
		ret[count] = (struct pen_after){ .batch = order->parents[count].id,
						 .ok = order->parents[count].edge == PEN_EDGE_OK };
	free(order);
	return (int)count;
}

int pen_batch_children(struct pen_store *store, uint64_t id, uint64_t after, uint64_t *ret, uint32_t cap)
{
	return pen_order_children(store, id, after, ret, cap);
}

/* ---- reach ----------------------------------------------------------------------------------- */

struct walk {
	struct pen_store *store;
	int rc; /* of a step that failed */
	struct place {
		uint64_t batch, child;
		size_t i;
	} places[PLACES];
	pen_kin_fn *visit;
	void *arg;
};

/* A parent comes back to its children one by one, with other batches in between: where it was is remembered. */
static uint64_t child_at(void *arg, uint64_t batch, size_t i)
{
	struct walk *w = arg;
	struct place *p = &w->places[(batch * 0x9e3779b97f4a7c15ull >> 32) % PLACES];
	uint64_t after = 0, child = 0;
	size_t from = 0;

	if (p->batch == batch && p->i < i) {
		after = p->child;
		from = p->i + 1;
	}
	for (; from <= i; from++, after = child) {
		int n = pen_order_children(w->store, batch, after, &child, 1);

		if (n < 0)
			w->rc = n;
		if (n <= 0)
			return 0;
	}
	*p = (struct place){ batch, child, i };
	return child;
}

static uint64_t parent_at(void *arg, uint64_t batch, size_t i)
{
	struct walk *w = arg;
	struct pen_order *order;
	uint64_t parent = 0;
	int rc = pen_order_read(w->store, batch, &order);

	if (rc) {
		w->rc = rc == -PEN_NOT_FOUND ? w->rc : rc;
		return 0;
	}
	if (i < order->parent_count)
		parent = order->parents[i].id;
	free(order);
	return parent;
}

static int visit(void *arg, uint64_t batch)
{
	struct walk *w = arg;

	return w->visit(w->arg, batch);
}

int pen_batch_kin(struct pen_store *store, uint64_t id, bool behind, pen_kin_fn *fn, void *arg,
		  struct pen_failure *why)
{
	struct walk w = { .store = store, .visit = fn, .arg = arg };
	struct pen_graph graph;
	int rc = pen_graph_init(&graph, PEN_GRAPH_NODES, why);

	if (rc)
		return rc;
	rc = pen_graph_walk(&graph, id, behind ? child_at : parent_at, &w, visit, &w, why);
	pen_graph_fini(&graph);
	return rc ? rc : w.rc;
}

int pen_batch_in_state(struct pen_store *store, enum pen_state state, uint64_t after, uint64_t *ret,
		       uint32_t cap)
{
	return pen_index_in_state(store, (uint8_t)state, after, ret, cap);
}

/* ---- the queue ------------------------------------------------------------------------------- */

/* A parent that has not ended: how long that takes, nobody knows. */
static bool waits_for_others(struct pen_store *store, const struct pen_order *order)
{
	struct pen_standing standing;

	for (uint32_t i = 0; i < order->parent_count; i++)
		if (!pen_ledger_read(store, order->parents[i].id, NULL, &standing) &&
		    !pen_ledger_over(standing.fixed.state))
			return true;
	return false;
}

/* Asks when time lets a batch run. Counts what was looked at. */
static void ask_time(struct pen_store *store, uint64_t id, uint8_t state, uint32_t *looked,
		     struct pen_queue_info *info)
{
	struct pen_order *order = NULL;
	struct pen_fmt_job job = { .due_ms = 0 };
	uint64_t when;

	(*looked)++;
	if (pen_order_read(store, id, &order))
		return;
	*looked += order->parent_count;
	if (!waits_for_others(store, order)) {
		if (state == PEN_WAITING)
			(void)pen_job_read(store, id, &job);
		when = pen_max(order->fixed.not_before_ms, job.due_ms);
		info->due_now |= !when;
		if (when && (!info->due_ms || when < info->due_ms))
			info->due_ms = when;
	}
	free(order);
}

static int count_state(struct pen_store *store, uint8_t state, uint64_t *ret_count, uint32_t *looked,
		       struct pen_queue_info *info)
{
	uint64_t ids[STEP], after = 0;
	int n;

	while ((n = pen_index_in_state(store, state, after, ids, STEP)) > 0) {
		*ret_count += (uint64_t)n;
		after = ids[n - 1];
		for (int i = 0; i < n && state != PEN_PAUSED; i++) {
			if (*looked >= LOOKED) {
				info->whole = false;
				break;
			}
			ask_time(store, ids[i], state, looked, info);
		}
	}
	return n;
}

int pen_queue_look(struct pen_store *store, struct pen_queue_info *ret)
{
	struct pen_queue_info info = { .whole = true };
	uint32_t looked = 0;
	int rc = count_state(store, PEN_QUEUED, &info.queued, &looked, &info);

	if (!rc)
		rc = count_state(store, PEN_WAITING, &info.waiting, &looked, &info);
	if (!rc)
		rc = count_state(store, PEN_PAUSED, &info.paused, &looked, &info);
	if (!rc)
		*ret = info;
	return rc;
}
