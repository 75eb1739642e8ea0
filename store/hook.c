/* SPDX-License-Identifier: MIT */
/*
 * hook - commands that are owed to batches that ended
 *
 * The index knows who is owed one. Whoever runs it holds the batch's lock, which dies with its process: then the next
 * caller gets it. So it runs once, unless its runner is killed between its end and pen_hook_done.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "store/index.h"
#include "store/ledger.h"
#include "store/lock.h"
#include "store/order.h"
#include "store/store_private.h"

#define STEP 64u

/* With the lock held: nobody ran it between the look that found it and the lock, and it has not been queued again. */
static bool is_owed(struct pen_store *store, uint64_t id, struct pen_standing *st)
{
	uint64_t found = 0;

	return pen_index_hooks(store, id - 1, &found, 1) == 1 && found == id &&
	       !pen_ledger_read(store, id, NULL, st) && pen_ledger_over(st->fixed.state);
}

/* The command of a batch that has ended: 1; 0: not now. */
static int due(struct pen_store *store, uint64_t id, struct pen_hook *ret)
{
	struct pen_standing *st = malloc(sizeof(*st));
	struct pen_order *order = NULL;
	uint32_t pid;
	int rc = st ? pen_ledger_read(store, id, NULL, st) : -PEN_MEMORY;

	if (!rc && !pen_ledger_over(st->fixed.state))
		rc = 1;
	if (!rc && pen_lock_batch(store, id, &ret->lock, &pid))
		rc = 1;
	if (!rc && !is_owed(store, id, st)) {
		pen_lock_release(store, id, ret->lock);
		rc = 1;
	}
	free(st);
	if (rc)
		return rc < 0 && rc != -PEN_NOT_FOUND ? rc : 0;
	rc = pen_order_read(store, id, &order);
	if (!rc) {
		ret->batch = id;
		ret->command = strdup(order->hook);
		rc = ret->command ? 1 : -PEN_MEMORY;
	}
	free(order);
	if (rc < 0)
		pen_lock_release(store, id, ret->lock);
	return rc;
}

int pen_hook_next(struct pen_store *store, struct pen_hook *ret)
{
	uint64_t ids[STEP], after = 0;
	int n, rc = 0;

	while ((n = pen_index_hooks(store, after, ids, STEP)) > 0)
		for (int i = 0; i < n; i++) {
			after = ids[i];
			rc = due(store, ids[i], ret);
			if (rc)
				return rc;
		}
	return n;
}

static int strike(struct pen_txn *txn, uint64_t batch)
{
	struct pen_index_key key = pen_index_hook(batch);

	return pen_index_remove(txn, &key);
}

int pen_hook_done(struct pen_store *store, struct pen_hook *hook, struct pen_failure *why)
{
	struct pen_txn *txn;
	int rc = pen_txn_begin(store, PEN_DURABLE_COMMIT, &txn, NULL, why);

	if (!rc) {
		rc = strike(txn, hook->batch);
		if (rc == -PEN_STORE_DAMAGED)
			rc = 0; /* somebody else was here: it is not owed any more */
		if (rc)
			pen_txn_abort(txn);
		else
			rc = pen_txn_commit(txn, why);
	}
	pen_lock_release(store, hook->batch, hook->lock);
	free(hook->command);
	hook->command = NULL;
	return rc;
}
