/* SPDX-License-Identifier: MIT */
#include "store/journal.h"

#include <errno.h>

#include "ring/base.h"
#include "store/store_private.h"

static void note(struct pen_minutes *minutes, uint64_t seq, const struct pen_fmt_event *event)
{
	if (!minutes)
		return;
	if (minutes->count == PEN_MINUTES) {
		minutes->lost++;
		return;
	}
	minutes->events[minutes->count++] = (struct pen_event){
		.seq = seq,
		.time_ms = event->time_ms,
		.batch = event->batch,
		.type = event->type,
		.code = event->code,
		.a = event->a,
		.b = event->b,
	};
}

int pen_journal_add(struct pen_txn *txn, uint64_t batch, enum pen_event_type type, int code, uint64_t a,
		    uint64_t b)
{
	uint64_t seq = txn->meta.last_event + 1;
	struct pen_fmt_event event = {
		.time_ms = pen_real_ms(pen_store_clock(txn->store)),
		.batch = batch,
		.a = a,
		.b = b,
		.code = code,
		.type = (uint16_t)type,
	};
	uint8_t key[8];
	int rc;

	pen_seal(&event, sizeof(event), PEN_KIND_EVENT, 1);
	pen_put_be64(key, seq);
	rc = pen_txn_put(txn, PEN_DB_EVENTS, key, sizeof(key), &event, sizeof(event), MDB_APPEND);
	/* An event above the last one: the meta row and the events disagree. */
	if (rc == -EEXIST)
		return -PEN_STORE_DAMAGED;
	if (rc)
		return rc;
	txn->meta.last_event = seq;
	txn->meta_changed = true;
	note(txn->minutes, seq, &event);
	return 0;
}

void pen_journal_minute(struct pen_txn *txn, struct pen_minutes *minutes)
{
	minutes->txn = mdb_txn_id(txn->mdb);
	minutes->count = minutes->lost = 0;
	txn->minutes = minutes;
}

const char *pen_event_name(unsigned type)
{
	static const char *const names[] = {
		[PEN_EVENT_QUEUED] = "queued",
		[PEN_EVENT_STARTED] = "started",
		[PEN_EVENT_PROGRESS] = "progress",
		[PEN_EVENT_RETRY] = "retry",
		[PEN_EVENT_COMPLETED] = "completed",
		[PEN_EVENT_FAILED] = "failed",
		[PEN_EVENT_CANCELLED] = "cancelled",
		[PEN_EVENT_STALLED] = "stalled",
		[PEN_EVENT_WRITER] = "writer",
		[PEN_EVENT_CHECKPOINT] = "checkpoint",
		[PEN_EVENT_COALESCED] = "coalesced",
		[PEN_EVENT_PAUSED] = "paused",
		[PEN_EVENT_RESUMED] = "resumed",
		[PEN_EVENT_SKIPPED] = "skipped",
		[PEN_EVENT_DEDUPLICATED] = "deduplicated",
		[PEN_EVENT_RATE_LIMITED] = "rate_limited",
		[PEN_EVENT_DEAD_LETTERED] = "dead_lettered",
		[PEN_EVENT_DEPENDENCY_READY] = "dependency_ready",
		[PEN_EVENT_CLEANED] = "cleaned",
		[PEN_EVENT_DRAINED] = "drained",
		[PEN_EVENT_STOPPED] = "stopped",
		[PEN_EVENT_INTERRUPTED] = "interrupted",
	};
	return type < PEN_COUNT(names) && names[type] ? names[type] : "unknown";
}

int pen_events_open(struct pen_store *store, uint64_t batch, uint64_t from, struct pen_cursor **ret)
{
	struct pen_cursor *cur;
	int rc;

	rc = pen_cursor_make(store, PEN_CURSOR_EVENTS, NULL, store->db[PEN_DB_EVENTS], &cur);
	if (rc)
		return rc;
	cur->batch = batch;
	cur->next = from;
	*ret = cur;
	return 0;
}

static int event_decode(const MDB_val *key, const MDB_val *value, struct pen_event *ret)
{
	struct pen_fmt_event event;
	int rc;

	if (key->mv_size != 8)
		return -PEN_STORE_DAMAGED;
	rc = pen_unseal(value->mv_data, value->mv_size, sizeof(event), PEN_KIND_EVENT);
	if (rc)
		return rc;
	memcpy(&event, value->mv_data, sizeof(event));
	*ret = (struct pen_event){
		.seq = pen_get_be64(key->mv_data),
		.time_ms = event.time_ms,
		.batch = event.batch,
		.type = event.type,
		.code = event.code,
		.a = event.a,
		.b = event.b,
	};
	return 0;
}

int pen_events_next(struct pen_cursor *cur, struct pen_event *ret)
{
	struct pen_event event;
	MDB_val key, value;
	uint8_t be[8];
	int rc;

	if (cur->error || cur->done)
		return cur->error;
	do {
		pen_put_be64(be, cur->next);
		key = (MDB_val){ sizeof(be), be };
		rc = mdb_cursor_get(cur->mdb, &key, &value, cur->started ? MDB_NEXT : MDB_SET_RANGE);
		cur->started = true;
		if (rc == MDB_NOTFOUND) {
			cur->done = true;
			return 0;
		}
		rc = rc ? pen_mdb_code(rc) : event_decode(&key, &value, &event);
		if (rc)
			return cur->error = rc;
	} while (cur->batch && event.batch != cur->batch);
	*ret = event;
	return 1;
}
