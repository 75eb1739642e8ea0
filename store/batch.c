/* SPDX-License-Identifier: MIT */
/*
 * batch - the public calls over batches, and the names of their enums
 *
 * A batch that says it is running while nobody holds its lock was left behind by a process that died: it is
 * reported as interrupted. The state and the lock are two things and are read one after the other, so a
 * batch that seems abandoned is looked at once more before that is said.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "ring/base.h"
#include "store/control.h"
#include "store/dataset.h"
#include "store/journal.h"
#include "store/ledger.h"
#include "store/lock.h"
#include "store/staged.h"
#include "store/retain.h"
#include "store/store_private.h"

#define ID_DIGITS 16

/* ---- names ----------------------------------------------------------------------------------- */

static const char *name_at(const char *const *names, size_t count, unsigned i)
{
	return i < count && names[i] ? names[i] : "unknown";
}

const char *pen_state_name(enum pen_state state)
{
	static const char *const names[] = {
		[PEN_QUEUED] = "queued",   [PEN_WAITING] = "waiting",	      [PEN_RUNNING] = "running",
		[PEN_PAUSED] = "paused",   [PEN_COMPLETED] = "completed",     [PEN_FAILED] = "failed",
		[PEN_STOPPED] = "stopped", [PEN_INTERRUPTED] = "interrupted", [PEN_CANCELLED] = "cancelled",
	};
	return name_at(names, PEN_COUNT(names), (unsigned)state);
}

const char *pen_item_state_name(enum pen_item_state state)
{
	static const char *const names[] = {
		[PEN_ITEM_COMMITTED] = "committed", [PEN_ITEM_REJECTED] = "rejected",
		[PEN_ITEM_FAILED] = "failed",	    [PEN_ITEM_QUARANTINED] = "quarantined",
		[PEN_ITEM_SKIPPED] = "skipped",	    [PEN_ITEM_RETRYING] = "retrying",
	};
	return name_at(names, PEN_COUNT(names), (unsigned)state);
}

const char *pen_format_name(enum pen_format format)
{
	static const char *const names[] = {
		[PEN_FORMAT_AUTO] = "auto",   [PEN_FORMAT_NDJSON] = "ndjson", [PEN_FORMAT_LINES] = "lines",
		[PEN_FORMAT_FILES] = "files", [PEN_FORMAT_PUTS] = "puts",     [PEN_FORMAT_JSON] = "json",
		[PEN_FORMAT_CSV] = "csv",     [PEN_FORMAT_TSV] = "tsv",	      [PEN_FORMAT_FRAMES] = "frames",
	};
	return name_at(names, PEN_COUNT(names), (unsigned)format);
}

/* ---- one batch ------------------------------------------------------------------------------- */

/* Where the next string of a pen_batch_info goes. */
struct shelf {
	char *at;
	size_t left;
};

/* The longest prefix of at most max bytes that does not end inside a UTF-8 character. */
static size_t cut_len(const char *text, size_t len, size_t max)
{
	if (len <= max)
		return len;
	len = max;
	for (int back = 0; len && back < 3 && ((unsigned char)text[len] & 0xc0) == 0x80; back++)
		len--;
	return len;
}

/* Copies a string or list (NULs become newlines) into the buffer, at most share bytes with its NUL. */
static const char *shelve(struct shelf *shelf, const char *text, size_t len, size_t share)
{
	size_t room = pen_min(shelf->left, share);
	char *to = shelf->at;

	if (!room)
		return "";
	len = cut_len(text, len, room - 1);
	for (size_t i = 0; i < len; i++)
		to[i] = text[i] ? text[i] : '\n';
	to[len] = 0;
	shelf->at += len + 1;
	shelf->left -= len + 1;
	return to;
}

static const char *shelve_text(struct shelf *shelf, const char *text, size_t share)
{
	return shelve(shelf, text, strlen(text), share);
}

static const char *shelve_place(struct shelf *shelf, const struct pen_facts *facts,
				const struct pen_standing *standing, size_t share)
{
	const char *source =
		pen_ledger_list_at(facts->sources, facts->sources_len, standing->fixed.place_source);
	char place[2 * PEN_PATH_BYTES_MAX];
	size_t len;

	if (!source)
		return shelve(shelf, "", 0, share);
	if (!standing->path[0])
		return shelve_text(shelf, source, share);
	len = strlen(source);
	snprintf(place, sizeof(place), "%.*s%s%s", (int)pen_min(len, PEN_PATH_BYTES_MAX), source,
		 len && source[len - 1] == '/' ? "" : "/", standing->path);
	return shelve_text(shelf, place, share);
}

static struct pen_counters counters_of(const struct pen_fmt_counters *c)
{
	return (struct pen_counters){
		.items = c->items,
		.committed = c->committed,
		.rejected = c->rejected,
		.failed = c->failed,
		.skipped = c->skipped,
		.duplicates = c->duplicates,
		.bytes = c->bytes,
	};
}

static void fill_info(const struct pen_facts *facts, const struct pen_standing *standing,
		      struct pen_batch_info *ret)
{
	const struct pen_fmt_batch *f = &facts->fixed;
	const struct pen_fmt_state *s = &standing->fixed;
	struct shelf shelf = { ret->buffer, sizeof(ret->buffer) };

	ret->id = f->id;
	ret->state = s->state;
	ret->code = s->code;
	ret->runner_pid = 0;
	ret->counted = counters_of(&s->counted);
	ret->items_total = f->items_total;
	ret->bytes_total = f->bytes_total;
	ret->created_ms = f->created_ms;
	ret->started_ms = s->started_ms;
	ret->updated_ms = s->updated_ms;
	ret->ended_ms = s->ended_ms;
	ret->active_ms = s->active_ms;
	ret->groups = s->groups;
	ret->hold_budget_ms = s->hold_budget_ms;
	ret->hold_last_ms = s->hold_last_ms;
	ret->format = f->format;
	ret->key_kind = f->key_kind;
	ret->on_duplicate = f->on_duplicate;
	ret->validate = f->validate;
	ret->durability = s->durability;
	ret->max_record = f->max_record;
	ret->seq_base = f->seq_base;
	ret->resumed = s->resumed != 0;
	ret->uring = s->uring != 0;
	ret->dataset = shelve_text(&shelf, facts->dataset, 256);
	ret->key = shelve_text(&shelf, facts->key, 512);
	ret->owner = shelve_text(&shelf, facts->owner, 256);
	ret->correlation_id = shelve_text(&shelf, facts->correlation_id, 64);
	ret->place = shelve_place(&shelf, facts, standing, 1024);
	ret->labels = shelve(&shelf, facts->labels, facts->labels_len, 768);
	ret->sources = shelve(&shelf, facts->sources, facts->sources_len, sizeof(ret->buffer));
	ret->place_offset = s->place_offset;
	ret->place_line = s->place_line;
}

static bool claims_to_run(const struct pen_standing *standing)
{
	return standing->fixed.state == PEN_RUNNING || standing->fixed.state == PEN_PAUSED;
}

int pen_batch_get(struct pen_store *store, uint64_t id, struct pen_batch_info *ret)
{
	struct pen_standing standing;
	struct pen_control control;
	struct pen_facts *facts;
	uint32_t pid = 0;
	int rc;

	rc = pen_ledger_read(store, id, &facts, &standing);
	if (rc)
		return rc;
	if (!pen_ledger_over(standing.fixed.state))
		pid = pen_lock_holder(store, id);
	if (!pid && claims_to_run(&standing)) {
		/* It may have ended, or somebody may have taken it up, between the two looks. */
		rc = pen_ledger_read(store, id, NULL, &standing);
		if (!rc && claims_to_run(&standing)) {
			pid = pen_lock_holder(store, id);
			/* One that somebody wants to rest does, whoever ran it. */
			if (!pid &&
			    (standing.fixed.state != PEN_PAUSED || pen_control_read(store, id, &control)))
				standing.fixed.state = PEN_INTERRUPTED;
		}
	}
	if (!rc) {
		fill_info(facts, &standing, ret);
		ret->runner_pid = pid;
		ret->rows_removed = 0;
		rc = pen_retain_trimmed(store, id, &ret->rows_removed);
	}
	free(facts);
	return rc;
}

/* ---- finding --------------------------------------------------------------------------------- */

static int batches_cursor(struct pen_store *store, enum pen_db db, MDB_txn **ret_txn, MDB_cursor **ret)
{
	int rc = pen_read_begin(store, ret_txn);

	if (rc)
		return rc;
	rc = pen_mdb_code(mdb_cursor_open(*ret_txn, store->db[db], ret));
	if (rc)
		pen_read_end(store, *ret_txn);
	return rc;
}

static void cursor_done(struct pen_store *store, MDB_txn *txn, MDB_cursor *cur)
{
	mdb_cursor_close(cur);
	pen_read_end(store, txn);
}

uint64_t pen_batch_before(struct pen_store *store, uint64_t before)
{
	MDB_val key, value;
	MDB_cursor *cur;
	MDB_txn *txn;
	uint8_t be[8];
	uint64_t id = 0;
	int rc;

	if (!before || batches_cursor(store, PEN_DB_BATCHES, &txn, &cur))
		return 0;
	pen_put_be64(be, before);
	key = (MDB_val){ sizeof(be), be };
	rc = mdb_cursor_get(cur, &key, &value, MDB_SET_RANGE);
	rc = mdb_cursor_get(cur, &key, &value, rc ? MDB_LAST : MDB_PREV);
	if (!rc && key.mv_size == 8)
		id = pen_get_be64(key.mv_data);
	cursor_done(store, txn, cur);
	return id < before ? id : 0;
}

/* The newest batch that some process runs now. */
static int find_running(struct pen_store *store, uint64_t *ret_id)
{
	struct pen_standing standing;
	MDB_val key, value;
	MDB_cursor *cur;
	MDB_txn *txn;
	bool found = false;
	int rc;

	rc = batches_cursor(store, PEN_DB_STATES, &txn, &cur);
	if (rc)
		return rc;
	rc = pen_mdb_code(mdb_cursor_get(cur, &key, &value, MDB_LAST));
	while (!rc) {
		uint64_t id = key.mv_size == 8 ? pen_get_be64(key.mv_data) : 0;

		rc = pen_ledger_decode_standing(value.mv_data, value.mv_size, id, &standing);
		found = !rc && !pen_ledger_over(standing.fixed.state) && pen_lock_holder(store, id);
		if (found)
			*ret_id = id;
		if (rc || found)
			break;
		rc = pen_mdb_code(mdb_cursor_get(cur, &key, &value, MDB_PREV));
	}
	cursor_done(store, txn, cur);
	return rc;
}

/* The batch whose id begins with the digits, of which `value` holds the given number. */
static int find_prefix(struct pen_store *store, uint64_t digits, int count, uint64_t *ret_id)
{
	int shift = 4 * (ID_DIGITS - count);
	uint64_t low = digits << shift, high = low | (shift ? (UINT64_C(1) << shift) - 1 : 0), id = 0;
	MDB_val key, value;
	MDB_cursor *cur;
	MDB_txn *txn;
	uint8_t be[8];
	int rc, fits = 0;

	rc = batches_cursor(store, PEN_DB_BATCHES, &txn, &cur);
	if (rc)
		return rc;
	pen_put_be64(be, low);
	key = (MDB_val){ sizeof(be), be };
	for (rc = mdb_cursor_get(cur, &key, &value, MDB_SET_RANGE); !rc && fits < 2;
	     rc = mdb_cursor_get(cur, &key, &value, MDB_NEXT)) {
		if (key.mv_size != 8 || pen_get_be64(key.mv_data) > high)
			break;
		if (!fits++)
			id = pen_get_be64(key.mv_data);
	}
	cursor_done(store, txn, cur);
	if (rc && rc != MDB_NOTFOUND)
		return pen_mdb_code(rc);
	if (!fits)
		return -PEN_NOT_FOUND;
	if (fits > 1)
		return -PEN_AMBIGUOUS;
	*ret_id = id;
	return 0;
}

static int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int pen_batch_find(struct pen_store *store, const char *text, uint64_t *ret_id)
{
	uint64_t digits = 0;
	int count = 0;

	if (!strcmp(text, "@last")) {
		digits = pen_batch_before(store, UINT64_MAX);
		if (!digits)
			return -PEN_NOT_FOUND;
		*ret_id = digits;
		return 0;
	}
	if (!strcmp(text, "@running"))
		return find_running(store, ret_id);
	for (; text[count]; count++) {
		int digit = digit_of(text[count]);

		if (digit < 0 || count == ID_DIGITS)
			return -PEN_NOT_FOUND;
		digits = digits << 4 | (unsigned)digit;
	}
	return count ? find_prefix(store, digits, count, ret_id) : -PEN_NOT_FOUND;
}

/* ---- ending one ------------------------------------------------------------------------------ */

int pen_ledger_release_feeder(struct pen_txn *txn, const struct pen_facts *facts, struct pen_failure *why)
{
	struct pen_dataset *ds;
	int rc;

	if (facts->fixed.key_kind != PEN_KEY_SEQ)
		return 0;
	rc = pen_dataset_use_id(txn, facts->dataset, facts->fixed.dataset_id, &ds, NULL);
	if (rc == -PEN_NO_DATASET)
		return 0;
	if (rc)
		return pen_fail(why, rc, 0, "dataset `%s` of the batch cannot be used", facts->dataset);
	if (pen_dataset_feeder(ds) != facts->fixed.id)
		return 0;
	pen_dataset_set_feeder(ds, 0);
	return pen_dataset_save(ds);
}

int pen_ledger_cancel(struct pen_txn *txn, uint64_t id, int code, struct pen_failure *why)
{
	uint64_t now = pen_real_ms(pen_store_clock(txn->store));
	struct pen_standing standing;
	struct pen_facts *facts;
	struct pen_fmt_state *s = &standing.fixed;
	int rc;

	rc = pen_ledger_load(txn, id, &facts, &standing);
	if (rc)
		return rc;
	if (pen_ledger_over(s->state)) {
		free(facts);
		return pen_fail(why, -PEN_BATCH_OVER, 0, "batch %016" PRIx64 " is %s", id,
				pen_state_name(s->state));
	}
	s->state = PEN_CANCELLED;
	s->code = code;
	s->runner_pid = 0;
	s->ended_ms = s->updated_ms = now;
	/* This commit syncs what went before, so all that was applied now counts. */
	s->counted = s->applied;
	rc = pen_ledger_release_feeder(txn, facts, why);
	free(facts);
	if (!rc)
		rc = pen_ledger_save(txn, &standing);
	if (!rc) /* what it had not merged is gone; whoever holds its lock, or a sweep, removes the files */
		rc = pen_staged_forget(txn, id);
	if (!rc)
		rc = pen_journal_add(txn, id, PEN_EVENT_CANCELLED, s->code, s->counted.bytes,
				     s->counted.items);
	return rc;
}

int pen_batch_cancel(struct pen_store *store, uint64_t id, struct pen_failure *why)
{
	struct pen_standing standing;
	struct pen_txn *txn;
	uint32_t pid;
	int rc, fd;

	/* Looked up first, so that no lock file is made for a batch that is not there. */
	rc = pen_ledger_read(store, id, NULL, &standing);
	if (rc == -PEN_NOT_FOUND)
		return pen_fail(why, rc, 0, "there is no batch %016" PRIx64, id);
	if (rc)
		return pen_fail(why, rc, 0, "batch %016" PRIx64 " cannot be read", id);
	if (pen_ledger_over(standing.fixed.state))
		return pen_fail(why, -PEN_BATCH_OVER, 0, "batch %016" PRIx64 " is %s", id,
				pen_state_name(standing.fixed.state));
	/* The lock keeps a runner from starting between this look and the commit. */
	rc = pen_lock_batch(store, id, &fd, &pid);
	if (rc == -PEN_BATCH_BUSY)
		return pen_fail(why, -EBUSY, 0, "process %" PRIu32 " runs batch %016" PRIx64, pid, id);
	if (rc)
		return pen_fail(why, rc, 0, "the lock of batch %016" PRIx64 " cannot be taken", id);
	rc = pen_txn_begin(store, PEN_DURABLE_COMMIT, &txn, NULL, why);
	if (!rc) {
		rc = pen_ledger_cancel(txn, id, -PEN_CANCELLED_BY, why);
		if (rc) {
			pen_fail(why, rc, 0, "batch %016" PRIx64 " cannot be cancelled", id);
			pen_txn_abort(txn);
		} else {
			rc = pen_txn_commit(txn, why);
		}
	}
	if (!rc)
		pen_staged_trim(store, id);
	pen_lock_release(store, id, fd);
	return rc;
}
