/* SPDX-License-Identifier: MIT */
#include "store/control.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "ring/base.h"
#include "store/journal.h"
#include "store/ledger.h"
#include "store/lock.h"
#include "store/order.h"
#include "store/staged.h"
#include "store/store_private.h"

#define ID "%016" PRIx64

uint64_t pen_store_last_txn(struct pen_store *store)
{
	uint64_t id = 0;
	MDB_txn *mdb;

	/*
	 * What a reader sees, not what the newest meta page says: that one can be read while its write is still on its
	 * way to the disk, and until then readers get the transaction before.
	 */
	if (pen_read_begin(store, &mdb))
		return 0;
	id = mdb_txn_id(mdb);
	pen_read_end(store, mdb);
	return id;
}

/* ---- rows ------------------------------------------------------------------------------------ */

static uint8_t *put_text(uint8_t *at, const char *text)
{
	uint32_t len = (uint32_t)strnlen(text, PEN_CONTROL_TEXT);

	return mempcpy(mempcpy(at, &len, 4), text, len);
}

int pen_control_put(struct pen_txn *txn, uint64_t id, const struct pen_control *control)
{
	struct pen_fmt_control fixed = { .id = id,
					 .time_ms = control->time_ms,
					 .want = (uint8_t)control->want };
	uint8_t value[sizeof(fixed) + 2 * (4 + PEN_CONTROL_TEXT)], key[8], *at;

	at = mempcpy(value, &fixed, sizeof(fixed));
	at = put_text(at, control->by);
	at = put_text(at, control->reason);
	pen_seal(value, (size_t)(at - value), PEN_KIND_CONTROL, 1);
	pen_put_be64(key, id);
	return pen_txn_put(txn, PEN_DB_CONTROLS, key, sizeof(key), value, (size_t)(at - value), 0);
}

int pen_control_clear(struct pen_txn *txn, uint64_t id)
{
	uint8_t key[8];
	int rc;

	pen_put_be64(key, id);
	rc = pen_txn_del(txn, PEN_DB_CONTROLS, key, sizeof(key));
	return rc == -PEN_NOT_FOUND ? 0 : rc;
}

static const uint8_t *get_text(const uint8_t *at, size_t *left, char *ret)
{
	uint32_t len;

	if (!at || *left < 4)
		return NULL;
	memcpy(&len, at, 4);
	*left -= 4;
	if (len > PEN_CONTROL_TEXT || len > *left)
		return NULL;
	memcpy(ret, at + 4, len);
	ret[len] = 0;
	*left -= len;
	return at + 4 + len;
}

int pen_control_decode(const void *value, size_t len, uint64_t id, struct pen_control *ret)
{
	struct pen_fmt_control fixed;
	const uint8_t *at = (const uint8_t *)value + sizeof(fixed);
	size_t left;
	int rc = pen_unseal(value, len, sizeof(fixed), PEN_KIND_CONTROL);

	if (rc)
		return rc;
	memcpy(&fixed, value, sizeof(fixed));
	left = len - sizeof(fixed);
	ret->want = fixed.want;
	ret->time_ms = fixed.time_ms;
	at = get_text(get_text(at, &left, ret->by), &left, ret->reason);
	return at && !left && fixed.id == id &&
			       (fixed.want == PEN_WANT_PAUSE || fixed.want == PEN_WANT_CANCEL)
		       ? 0
		       : -PEN_STORE_DAMAGED;
}

int pen_control_load(struct pen_txn *txn, uint64_t id, struct pen_control *ret)
{
	const void *value;
	uint8_t key[8];
	size_t len;
	int rc;

	pen_put_be64(key, id);
	rc = pen_txn_get(txn, PEN_DB_CONTROLS, key, sizeof(key), &value, &len);
	return rc ? rc : pen_control_decode(value, len, id, ret);
}

int pen_control_read(struct pen_store *store, uint64_t id, struct pen_control *ret)
{
	MDB_val value;
	MDB_txn *mdb;
	int rc = pen_read_begin(store, &mdb);

	if (rc)
		return rc;
	rc = pen_batch_row(store, mdb, PEN_DB_CONTROLS, id, &value);
	if (!rc)
		rc = pen_control_decode(value.mv_data, value.mv_size, id, ret);
	pen_read_end(store, mdb);
	return rc;
}

/* ---- wishes ---------------------------------------------------------------------------------- */

/*
 * Whoever works takes a submitted one up again; another one waits for its command. Whether parents let it run is the
 * engine's to say (engine/graph.h), so one that has any waits until it is asked.
 */
static int after_pause(struct pen_txn *txn, uint64_t id, uint8_t *ret_state)
{
	struct pen_order *order;
	int rc = pen_order_load(txn, id, &order);

	*ret_state = rc == -PEN_NOT_FOUND ? PEN_INTERRUPTED : PEN_QUEUED;
	if (rc)
		return rc == -PEN_NOT_FOUND ? 0 : rc;
	if (order->parent_count)
		*ret_state = PEN_WAITING;
	free(order);
	return 0;
}

/* A wish for a batch that nobody runs: its state changes here and now. */
static int change(struct pen_txn *txn, struct pen_standing *st, enum pen_wish wish, struct pen_failure *why)
{
	struct pen_fmt_state *s = &st->fixed;
	enum pen_event_type event;
	int rc;

	switch (wish) {
	case PEN_WISH_PAUSE:
		if (s->state == PEN_PAUSED)
			return 0;
		s->state = PEN_PAUSED;
		s->code = 0;
		event = PEN_EVENT_PAUSED;
		break;
	case PEN_WISH_RESUME:
		if (s->state != PEN_PAUSED)
			return 0;
		rc = after_pause(txn, s->id, &s->state);
		if (rc)
			return rc;
		s->code = s->state == PEN_INTERRUPTED ? -PEN_INTERRUPTED_BY : 0;
		event = PEN_EVENT_RESUMED;
		break;
	default:
		return pen_ledger_cancel(txn, s->id, -PEN_CANCELLED_BY, why);
	}
	s->updated_ms = pen_real_ms(pen_store_clock(txn->store));
	s->runner_pid = 0;
	rc = pen_ledger_save(txn, st);
	return rc ? rc : pen_journal_add(txn, s->id, event, 0, s->counted.bytes, s->counted.items);
}

static int wish_in(struct pen_txn *txn, uint64_t id, enum pen_wish wish, const struct pen_control *control,
		   bool *ret_runs, struct pen_failure *why)
{
	struct pen_standing *st = malloc(sizeof(*st));
	uint32_t pid = 0;
	int rc = st ? pen_ledger_load(txn, id, NULL, st) : -PEN_MEMORY, fd = -1;

	if (!rc && pen_ledger_over(st->fixed.state))
		rc = pen_fail(why, -PEN_BATCH_OVER, 0, "batch " ID " is %s", id,
			      pen_state_name(st->fixed.state));
	if (!rc) {
		/* No runner can begin meanwhile: it would have to write, and the lock says who runs it. */
		rc = pen_lock_batch(txn->store, id, &fd, &pid);
		*ret_runs = rc == -PEN_BATCH_BUSY;
		if (*ret_runs)
			rc = 0;
	}
	if (!rc && wish == PEN_WISH_RESUME)
		rc = pen_control_clear(txn, id);
	else if (!rc)
		rc = pen_control_put(txn, id, control);
	if (!rc && !*ret_runs)
		rc = change(txn, st, wish, why);
	if (fd >= 0)
		pen_lock_release(txn->store, id, fd);
	free(st);
	return rc;
}

int pen_batch_wish(struct pen_store *store, uint64_t id, enum pen_wish wish, const char *by,
		   const char *reason, bool *ret_runs, struct pen_failure *why)
{
	struct pen_control control = {
		.want = wish == PEN_WISH_CANCEL ? PEN_WANT_CANCEL : PEN_WANT_PAUSE,
		.time_ms = pen_real_ms(pen_store_clock(store)),
	};
	static const char *const names[] = {
		[PEN_WISH_PAUSE] = "pause", [PEN_WISH_RESUME] = "resume", [PEN_WISH_CANCEL] = "cancel"
	};
	struct pen_txn *txn;
	bool runs = false;
	int rc;

	/* Cut, not refused: a reason is for people. */
	strncat(control.by, by ? by : "", PEN_CONTROL_TEXT);
	strncat(control.reason, reason ? reason : "", PEN_CONTROL_TEXT);
	rc = pen_txn_begin(store, PEN_DURABLE_COMMIT, &txn, NULL, why);
	if (rc)
		return rc;
	rc = wish_in(txn, id, wish, &control, &runs, why);
	if (rc) {
		pen_txn_abort(txn);
		if (rc == -PEN_NOT_FOUND)
			return pen_fail(why, rc, 0, "there is no batch " ID, id);
		return pen_fail(why, rc, 0, "batch " ID " cannot be changed", id);
	}
	rc = pen_txn_commit(txn, why);
	if (!rc) {
		const struct pen_log_context context = { .user_id = by,
							 .batch = id,
							 .module = PEN_LOG_IN_STORE };
		const struct pen_log_field fields[] = { PEN_LOG_TEXT("reason", reason),
							PEN_LOG_BOOL("runs", runs) };

		(void)pen_log_audit(&context, names[wish], "batch", fields, PEN_COUNT(fields));
	}
	if (!rc && !runs && wish == PEN_WISH_CANCEL)
		pen_staged_sweep(store); /* of what was sorted and not merged */
	if (!rc && ret_runs)
		*ret_runs = runs;
	return rc;
}

int pen_batch_wished(struct pen_store *store, uint64_t id, struct pen_wish_info *ret)
{
	struct pen_control control;
	int rc = pen_control_read(store, id, &control);

	if (rc)
		return rc;
	*ret = (struct pen_wish_info){
		.wish = control.want == PEN_WANT_CANCEL ? PEN_WISH_CANCEL : PEN_WISH_PAUSE,
		.time_ms = control.time_ms,
	};
	memcpy(ret->by, control.by, sizeof(ret->by));
	memcpy(ret->reason, control.reason, sizeof(ret->reason));
	return 0;
}
