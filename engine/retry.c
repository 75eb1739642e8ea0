/* SPDX-License-Identifier: MIT */
/*
 * retry - dead letters that are to be tried again
 *
 * Rows change from failed to retrying, due now, a step a transaction; the batch is queued again with the first. What it
 * counted before, it counts no more: an item that waits has not ended.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "engine/where.h"
#include "include/penstock.h"
#include "ring/base.h"
#include "ring/error.h"
#include "store/item.h"
#include "store/job.h"
#include "store/journal.h"
#include "store/ledger.h"
#include "store/lock.h"

#define ID "%016" PRIx64
#define STEP 1000u

struct step {
	uint64_t items[STEP];
	uint32_t count;
	int64_t last; /* the item looked at last; -1: none */
	bool end;
};

static bool may_be(const struct pen_item *item)
{
	return item->ended_ms && (item->state == PEN_ITEM_FAILED || item->state == PEN_ITEM_QUARANTINED ||
				  item->state == PEN_ITEM_REJECTED);
}

/* The next items of a state that fit. */
static int find(struct pen_store *store, uint64_t batch, int state, const struct pen_where *where,
		struct step *s)
{
	struct pen_cursor *cur;
	struct pen_item item;
	int rc = pen_items_open(store, batch, state, 0, s->last, &cur);

	if (rc)
		return rc;
	s->count = 0;
	while (s->count < STEP && (rc = pen_items_next(cur, &item)) == 1) {
		s->last = (int64_t)item.seq;
		if (may_be(&item) && (!where || pen_where_match(where, &item)))
			s->items[s->count++] = item.seq;
	}
	s->end = rc == 0;
	pen_cursor_close(cur);
	return rc < 0 ? rc : 0;
}

static int turn_row(struct pen_txn *txn, uint64_t batch, uint64_t seq, uint64_t now_ms,
		    struct pen_fmt_counters *n, struct pen_fmt_job *job)
{
	struct pen_item_copy copy;
	int rc = pen_item_load(txn, batch, seq, &copy);

	if (rc)
		return rc == -PEN_NOT_FOUND ? 0 : rc;
	if (copy.row.state == PEN_ITEM_REJECTED)
		n->rejected--;
	else if (copy.row.state == PEN_ITEM_FAILED || copy.row.state == PEN_ITEM_QUARANTINED)
		n->failed--;
	else
		goto out; /* somebody was faster */
	n->items--;
	job->retrying++;
	job->due_ms = job->due_ms ? pen_min(job->due_ms, now_ms) : now_ms;
	copy.row.state = PEN_ITEM_RETRYING;
	copy.row.due_ms = now_ms;
	copy.row.crashes = 0;
	copy.row.since_ms = 0; /* its time begins anew */
	rc = pen_item_put(txn, &copy.row);
out:
	free(copy.block);
	return rc;
}

static int turn_step(struct pen_txn *txn, uint64_t batch, const struct step *s, struct pen_failure *why)
{
	uint64_t now = pen_real_ms(pen_store_clock(pen_txn_store(txn)));
	struct pen_standing *st = malloc(sizeof *st);
	struct pen_fmt_counters *n = st ? &st->fixed.applied : NULL;
	struct pen_fmt_job job;
	int rc = st ? pen_ledger_load(txn, batch, NULL, st) : -ENOMEM;

	if (!rc && st->fixed.state == PEN_CANCELLED)
		rc = pen_fail(why, -PEN_BATCH_OVER, 0, "batch " ID " was cancelled: submit it anew", batch);
	if (!rc)
		rc = pen_job_load(txn, batch, &job);
	if (rc == -PEN_NOT_FOUND)
		rc = pen_fail(why, -PEN_UNSUPPORTED, 0,
			      "the items of batch " ID
			      " did not end one by one: mend the source and run it again",
			      batch);
	for (uint32_t i = 0; i < s->count && !rc; i++)
		rc = turn_row(txn, batch, s->items[i], now, n, &job);
	if (!rc) {
		st->fixed.counted = *n;
		st->fixed.state = PEN_QUEUED;
		st->fixed.code = 0;
		st->fixed.ended_ms = 0;
		st->fixed.updated_ms = now;
		rc = pen_ledger_save(txn, st);
	}
	if (!rc)
		rc = pen_job_save(txn, &job);
	if (!rc)
		rc = pen_journal_add(txn, batch, PEN_EVENT_QUEUED, 0, n->bytes, n->items);
	free(st);
	return rc;
}

static int do_step(struct pen_store *store, uint64_t batch, const struct step *s, struct pen_failure *why)
{
	struct pen_txn *txn;
	int rc = pen_txn_begin(store, PEN_DURABLE_COMMIT, &txn, NULL, why);

	if (rc)
		return rc;
	rc = turn_step(txn, batch, s, why);
	if (rc) {
		pen_txn_abort(txn);
		return pen_fail(why, rc, 0, "items of batch " ID " cannot be queued again", batch);
	}
	return pen_txn_commit(txn, why);
}

static int retry_all(struct pen_store *store, uint64_t batch, const struct pen_where *where, bool dry,
		     uint64_t *ret_count, struct pen_failure *why)
{
	static const int states[] = { PEN_ITEM_FAILED, PEN_ITEM_QUARANTINED, PEN_ITEM_REJECTED };
	struct step *s = malloc(sizeof *s);
	int rc = s ? 0 : -ENOMEM;

	*ret_count = 0;
	/* What was refused stays refused unless somebody asks for it. */
	for (size_t i = 0; i < PEN_COUNT(states) - !where && !rc; i++) {
		s->last = -1;
		s->end = false;
		while (!rc && !s->end) {
			rc = find(store, batch, states[i], where, s);
			if (!rc && s->count && !dry)
				rc = do_step(store, batch, s, why);
			*ret_count += rc ? 0 : s->count;
		}
	}
	free(s);
	return rc;
}

int pen_batch_retry(struct pen_store *store, uint64_t batch, const char *where, bool dry, uint64_t *ret_count,
		    struct pen_failure *why)
{
	struct pen_where *condition = NULL;
	uint32_t pid = 0;
	int rc = where ? pen_where_parse(where, &condition, why) : 0, fd = -1;

	if (rc)
		return rc;
	rc = pen_ledger_read(store, batch, NULL, NULL);
	if (rc)
		rc = pen_fail(why, rc, 0, "there is no batch " ID, batch);
	/* Its runner has the counters in memory: they cannot change under it. */
	if (!rc && !dry)
		rc = pen_lock_batch(store, batch, &fd, &pid);
	if (rc == -PEN_BATCH_BUSY)
		rc = pen_fail(why, rc, 0,
			      "process %" PRIu32 " runs batch " ID ": try again when it has ended", pid,
			      batch);
	if (!rc)
		rc = retry_all(store, batch, condition, dry, ret_count, why);
	if (fd >= 0)
		pen_lock_release(store, batch, fd);
	pen_where_free(condition);
	return rc;
}
