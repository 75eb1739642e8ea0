/* SPDX-License-Identifier: MIT */
#include "engine/dedup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ring/base.h"
#include "ring/error.h"
#include "store/index.h"
#include "store/journal.h"
#include "store/lock.h"

static int load(struct pen_txn *txn, const struct pen_plan *plan, struct pen_dedup **ret)
{
	uint8_t row[16];
	int rc = pen_dedup_hash(plan->owner, plan->dedup, row);

	if (!rc)
		rc = pen_dedup_load(txn, row, ret);
	/* Two keys of one hash: the later one takes the row. */
	if (!rc && (strcmp((*ret)->owner, plan->owner) != 0 || strcmp((*ret)->key, plan->dedup) != 0)) {
		free(*ret);
		rc = -PEN_NOT_FOUND;
	}
	return rc;
}

/* Is the key still the batch's? */
static bool is_taken(const struct pen_fmt_dedup *d, unsigned state, uint64_t now_ms)
{
	if (d->mode == PEN_DEDUP_SIMPLE)
		return state != PEN_FAILED && state != PEN_CANCELLED;
	return now_ms < d->until_ms && state != PEN_CANCELLED;
}

int pen_dedup_judge(struct pen_txn *txn, const struct pen_plan *plan, uint64_t now_ms, uint64_t *ret_batch)
{
	struct pen_standing *st = malloc(sizeof *st);
	struct pen_dedup *dedup;
	int rc = st ? load(txn, plan, &dedup) : -ENOMEM, fate = PEN_DEDUP_ENTER;

	*ret_batch = 0;
	if (rc) {
		free(st);
		return rc == -PEN_NOT_FOUND ? PEN_DEDUP_ENTER : rc;
	}
	rc = pen_ledger_load(txn, dedup->fixed.batch, NULL, st);
	if (!rc && is_taken(&dedup->fixed, st->fixed.state, now_ms)) {
		bool begun = st->fixed.started_ms || pen_ledger_over(st->fixed.state);

		if (plan->dedup_mode != PEN_DEDUP_DEBOUNCE)
			fate = PEN_DEDUP_GIVE_BACK;
		else if (!begun)
			fate = PEN_DEDUP_REPLACE;
		*ret_batch = fate == PEN_DEDUP_ENTER ? 0 : dedup->fixed.batch;
	}
	free(dedup);
	free(st);
	return rc && rc != -PEN_NOT_FOUND ? rc : fate;
}

int pen_dedup_replace(struct pen_txn *txn, uint64_t batch, int *ret_lock, struct pen_failure *why)
{
	struct pen_index_key hook = pen_index_hook(batch);
	uint32_t pid;
	int rc = pen_lock_batch(pen_txn_store(txn), batch, ret_lock, &pid);

	if (!rc)
		rc = pen_journal_add(txn, batch, PEN_EVENT_DEDUPLICATED, -PEN_REPLACED, 0, 0);
	if (!rc)
		rc = pen_ledger_cancel(txn, batch, -PEN_REPLACED, why);
	return rc ? rc : pen_index_remove_any(txn, &hook);
}

int pen_dedup_count(struct pen_txn *txn, const struct pen_plan *plan)
{
	struct pen_dedup *dedup;
	int rc = load(txn, plan, &dedup);

	if (rc)
		return rc;
	dedup->fixed.count++;
	rc = pen_dedup_put(txn, dedup);
	free(dedup);
	return rc;
}

int pen_dedup_take(struct pen_txn *txn, const struct pen_plan *plan, uint64_t batch, uint64_t previous,
		   uint64_t now_ms, struct pen_order *order)
{
	struct pen_dedup mine = {
		.fixed = { .batch = batch,
			   .until_ms = plan->dedup_ttl_ms ? now_ms + plan->dedup_ttl_ms : 0,
			   .ttl_ms = plan->dedup_ttl_ms,
			   .set_ms = now_ms,
			   .previous = previous,
			   .mode = (uint8_t)plan->dedup_mode },
		.owner = plan->owner,
		.key = plan->dedup,
	};
	struct pen_dedup *old = NULL;
	int rc = previous ? load(txn, plan, &old) : 0;

	if (rc)
		return rc;
	if (old)
		mine.fixed.count = old->fixed.count + 1;
	free(old);
	if (plan->dedup_mode == PEN_DEDUP_DEBOUNCE)
		order->fixed.not_before_ms = pen_max(order->fixed.not_before_ms, mine.fixed.until_ms);
	rc = pen_dedup_hash(plan->owner, plan->dedup, order->fixed.dedup);
	return rc ? rc : pen_dedup_put(txn, &mine);
}
