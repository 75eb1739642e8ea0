/* SPDX-License-Identifier: MIT */
/*
 * audit_ledger - batches, their states, identities, rows and events
 *
 * Facts come first and make the table; the other databases are held against it, each in one pass.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "ring/base.h"
#include "store/audit.h"
#include "store/index.h"
#include "store/item.h"
#include "store/journal.h"
#include "store/ledger.h"

#define ID "%016" PRIx64

static uint64_t id_of(const MDB_val *key)
{
	return key->mv_size == 8 ? pen_get_be64(key->mv_data) : 0;
}

struct pen_audit_batch *pen_audit_find_batch(const struct pen_audit *audit, uint64_t id)
{
	size_t low = 0, high = audit->batch_count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (audit->batches[mid].id == id)
			return &audit->batches[mid];
		if (audit->batches[mid].id < id)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

/* ---- facts ----------------------------------------------------------------------------------- */

static struct pen_audit_batch *add_batch(struct pen_audit *audit, uint64_t id)
{
	struct pen_audit_batch *batch;

	if (audit->batch_count == audit->batch_cap) {
		size_t cap = audit->batch_cap ? 2 * audit->batch_cap : 64;

		batch = realloc(audit->batches, cap * sizeof(*batch));
		if (!batch)
			abort(); /* the guard says where */
		audit->batches = batch;
		audit->batch_cap = cap;
	}
	batch = &audit->batches[audit->batch_count++];
	*batch = (struct pen_audit_batch){ .id = id };
	return batch;
}

static void visit_facts(struct pen_audit *audit, void *arg, const MDB_val *key, const MDB_val *value)
{
	uint64_t id = id_of(key);
	struct pen_audit_batch *batch;
	struct pen_facts *facts;

	(void)arg;
	if (!id) {
		pen_audit_say(audit->voice, PEN_INV_VALUES, "penstock.batches has a key that is no batch id");
		return;
	}
	batch = add_batch(audit, id);
	if (pen_ledger_decode_facts(value->mv_data, value->mv_size, id, &facts)) {
		pen_audit_say(audit->voice, PEN_INV_VALUES, "batch " ID ": its facts are damaged", id);
		return;
	}
	batch->has_facts = true;
	batch->dataset_id = facts->fixed.dataset_id;
	batch->seq_base = facts->fixed.seq_base;
	batch->bytes_total = facts->fixed.bytes_total;
	memcpy(batch->identity, facts->fixed.identity, sizeof(batch->identity));
	batch->format = facts->fixed.format;
	batch->all_rows = facts->fixed.results == 1;
	batch->drops = facts->fixed.drops == 1;
	batch->key_kind = facts->fixed.key_kind;
	batch->sources = pen_ledger_list_count(facts->sources, facts->sources_len);
	batch->dataset = strdup(facts->dataset);
	batch->owner = strdup(facts->owner);
	free(facts);
	if (!batch->dataset || !batch->owner)
		abort();
}

/* ---- states ---------------------------------------------------------------------------------- */

/* Invariant 5. */
static void check_counters(struct pen_audit *audit, const struct pen_fmt_state *s)
{
	const struct pen_fmt_counters *both[2] = { &s->applied, &s->counted };
	static const char *const names[2] = { "applied", "counted" };
	const uint64_t *applied = (const uint64_t *)&s->applied, *counted = (const uint64_t *)&s->counted;

	for (int i = 0; i < 2; i++) {
		const struct pen_fmt_counters *c = both[i];

		if (c->items != c->committed + c->rejected + c->failed + c->skipped)
			pen_audit_say(audit->voice, PEN_INV_COUNTERS,
				      "batch " ID ", %s: %" PRIu64 " items, but %" PRIu64
				      " committed, %" PRIu64 " rejected, %" PRIu64 " failed, %" PRIu64
				      " skipped",
				      s->id, names[i], c->items, c->committed, c->rejected, c->failed,
				      c->skipped);
		if (c->duplicates > c->committed)
			pen_audit_say(audit->voice, PEN_INV_COUNTERS,
				      "batch " ID ", %s: %" PRIu64 " duplicates of %" PRIu64 " committed",
				      s->id, names[i], c->duplicates, c->committed);
	}
	for (size_t i = 0; i < sizeof(s->applied) / sizeof(uint64_t); i++) {
		bool over = pen_ledger_over(s->state);

		if (over ? counted[i] == applied[i] : counted[i] <= applied[i])
			continue;
		pen_audit_say(audit->voice, PEN_INV_COUNTERS,
			      "batch " ID ": %" PRIu64 " counted, %" PRIu64 " applied (counter %zu)%s", s->id,
			      counted[i], applied[i], i, over ? ", though it has ended" : "");
		break;
	}
}

/* Invariant 7, as far as the batch alone can prove it. */
static void check_place(struct pen_audit *audit, const struct pen_audit_batch *batch,
			const struct pen_standing *standing)
{
	const struct pen_fmt_state *s = &standing->fixed;
	bool plain = batch->format == PEN_FORMAT_NDJSON || batch->format == PEN_FORMAT_LINES;
	uint64_t bytes = pen_max(batch->bytes_total, s->applied.bytes);

	if (s->place_source > batch->sources)
		pen_audit_say(audit->voice, PEN_INV_CHECKPOINT,
			      "batch " ID ": the checkpoint stands in source %" PRIu32 " of %zu", s->id,
			      s->place_source, batch->sources);
	if (plain && batch->sources == 1 && batch->bytes_total && !s->path_len && s->place_offset > bytes &&
	    s->place_offset != UINT64_MAX) /* which is the end of a source that broke */
		pen_audit_say(audit->voice, PEN_INV_CHECKPOINT,
			      "batch " ID ": the checkpoint stands at byte %" PRIu64 " of %" PRIu64, s->id,
			      s->place_offset, bytes);
}

static void visit_state(struct pen_audit *audit, void *arg, const MDB_val *key, const MDB_val *value)
{
	uint64_t id = id_of(key);
	struct pen_audit_batch *batch = pen_audit_find_batch(audit, id);
	struct pen_standing standing;

	(void)arg;
	if (!batch) {
		pen_audit_say(audit->voice, PEN_INV_PAIRS, "batch " ID " has a state, but no facts", id);
		return;
	}
	batch->has_state = true;
	if (pen_ledger_decode_standing(value->mv_data, value->mv_size, id, &standing)) {
		pen_audit_say(audit->voice, PEN_INV_VALUES, "batch " ID ": its state is damaged", id);
		return;
	}
	batch->state = standing.fixed.state;
	batch->started_ms = standing.fixed.started_ms;
	batch->ended_ms = standing.fixed.ended_ms;
	batch->items = standing.fixed.applied.items;
	batch->committed = standing.fixed.applied.committed;
	batch->rejected = standing.fixed.applied.rejected;
	batch->failed = standing.fixed.applied.failed;
	batch->skipped = standing.fixed.applied.skipped;
	batch->duplicates = standing.fixed.applied.duplicates;
	check_counters(audit, &standing.fixed);
	if (batch->has_facts)
		check_place(audit, batch, &standing);
}

/* ---- rows ------------------------------------------------------------------------------------ */

static void visit_row(struct pen_audit *audit, void *arg, const MDB_val *key, const MDB_val *value)
{
	const struct pen_audit_note *note;
	struct pen_audit_batch *batch;
	struct pen_fmt_item item;
	const uint8_t *tail;
	uint64_t id, seq;

	(void)arg;
	if (key->mv_size != 16) {
		pen_audit_say(audit->voice, PEN_INV_VALUES,
			      "penstock.items has a key that is no batch and item");
		return;
	}
	id = pen_get_be64(key->mv_data);
	seq = pen_get_be64((const uint8_t *)key->mv_data + 8);
	batch = pen_audit_find_batch(audit, id);
	if (pen_item_decode(key->mv_data, key->mv_size, value->mv_data, value->mv_size, &item, &tail)) {
		pen_audit_say(audit->voice, PEN_INV_VALUES,
			      "batch " ID ", item %" PRIu64 ": the row is damaged", id, seq);
		return;
	}
	if (!batch) {
		pen_audit_say(audit->voice, PEN_INV_ROWS,
			      "a row of item %" PRIu64 " belongs to no batch (" ID ")", seq, id);
		return;
	}
	batch->rows_rejected += item.state == PEN_ITEM_REJECTED;
	batch->rows_failed += item.state == PEN_ITEM_FAILED || item.state == PEN_ITEM_QUARANTINED;
	batch->rows_skipped += item.state == PEN_ITEM_SKIPPED;
	batch->rows_committed += item.state == PEN_ITEM_COMMITTED;
	batch->rows_retrying += item.state == PEN_ITEM_RETRYING;
	batch->rows_indexed += pen_index_has_row(item.state);
	note = pen_audit_note(&audit->trimmed, id);
	if (note && seq < note->trimmed.below)
		pen_audit_say(audit->voice, PEN_INV_ROWS,
			      "batch " ID ": a row of item %" PRIu64
			      ", though retention removed all below %" PRIu64,
			      id, seq, note->trimmed.below);
	/* Where items end one by one, rows lie behind others that are under way. */
	/* So do those of a batch in runs, whose other items are not decided. */
	if (batch->state && seq >= batch->items && item.head.version == 1 &&
	    seq >= pen_audit_staged_items(audit, id))
		pen_audit_say(audit->voice, PEN_INV_ROWS,
			      "batch " ID ": a row of item %" PRIu64 ", but only %" PRIu64
			      " items were decided",
			      id, seq, batch->items);
}

/* Invariant 6, after all rows were seen. */
static void check_rows(struct pen_audit *audit, const struct pen_audit_batch *b)
{
	/* What was left out has a row only where all have; what retention removed was counted. */
	const struct pen_audit_note *note = pen_audit_note(&audit->trimmed, b->id);
	uint64_t rejected = b->rows_rejected + (note ? note->trimmed.rejected : 0),
		 failed = b->rows_failed + (note ? note->trimmed.failed : 0),
		 skipped = b->rows_skipped + (note ? note->trimmed.skipped : 0),
		 committed = b->rows_committed + (note ? note->trimmed.other : 0);
	bool few = b->drops && !b->all_rows ? skipped > b->skipped : skipped != b->skipped;

	if (b->all_rows && committed != b->committed)
		pen_audit_say(audit->voice, PEN_INV_ROWS,
			      "batch " ID ": %" PRIu64 " rows of committed items; the counter says %" PRIu64,
			      b->id, committed, b->committed);
	if (rejected != b->rejected || failed != b->failed || few)
		pen_audit_say(audit->voice, PEN_INV_ROWS,
			      "batch " ID ": rows rejected %" PRIu64 ", failed %" PRIu64 ", skipped %" PRIu64
			      "; counters %" PRIu64 ", %" PRIu64 ", %" PRIu64,
			      b->id, rejected, failed, skipped, b->rejected, b->failed, b->skipped);
}

/* ---- identities and events ------------------------------------------------------------------- */

static void visit_identity(struct pen_audit *audit, void *arg, const MDB_val *key, const MDB_val *value)
{
	const struct pen_audit_batch *batch;
	uint64_t id = 0;

	(void)arg;
	if (key->mv_size != 16 || value->mv_size != sizeof(id)) {
		pen_audit_say(audit->voice, PEN_INV_VALUES,
			      "penstock.identity has an entry of impossible length");
		return;
	}
	memcpy(&id, value->mv_data, sizeof(id));
	batch = pen_audit_find_batch(audit, id);
	if (!batch)
		pen_audit_say(audit->voice, PEN_INV_IDENTITY,
			      "an identity points at batch " ID ", which is not there", id);
	else if (batch->has_facts && memcmp(batch->identity, key->mv_data, 16) != 0)
		pen_audit_say(audit->voice, PEN_INV_IDENTITY,
			      "an identity points at batch " ID ", which has another", id);
}

/* Every batch with an identity is found by it, or a newer one of the same is. */
static void check_identities(struct pen_audit *audit)
{
	static const uint8_t none[16];
	MDB_dbi dbi;

	pen_audit_place(audit->voice, "the identities of batches");
	if (mdb_dbi_open(audit->txn, pen_db_names[PEN_DB_IDENTITY], 0, &dbi))
		return;
	for (size_t i = 0; i < audit->batch_count; i++) {
		struct pen_audit_batch *batch = &audit->batches[i];
		MDB_val key = { sizeof(batch->identity), batch->identity }, value;
		uint64_t id = 0;

		pen_audit_tick(audit->voice);
		if (!batch->has_facts || !memcmp(batch->identity, none, sizeof(none)))
			continue;
		if (!mdb_get(audit->txn, dbi, &key, &value) && value.mv_size == sizeof(id))
			memcpy(&id, value.mv_data, sizeof(id));
		/* A newer batch of the same identity may have been removed, and with it what pointed at both. */
		if (!id && audit->retention.batches && pen_ledger_over(batch->state))
			continue;
		if (id < batch->id)
			pen_audit_say(audit->voice, PEN_INV_IDENTITY,
				      "batch " ID " is not found by its identity", batch->id);
	}
}

struct event_walk {
	uint64_t last;
};

static void visit_event(struct pen_audit *audit, void *arg, const MDB_val *key, const MDB_val *value)
{
	struct event_walk *walk = arg;
	struct pen_fmt_event event;
	uint64_t seq = id_of(key);

	if (key->mv_size != 8 || value->mv_size != sizeof(event) ||
	    pen_unseal(value->mv_data, value->mv_size, sizeof(event), PEN_KIND_EVENT)) {
		pen_audit_say(audit->voice, PEN_INV_VALUES, "event %" PRIu64 " is damaged", seq);
		walk->last = seq;
		return;
	}
	memcpy(&event, value->mv_data, sizeof(event));
	if (seq != walk->last + 1)
		pen_audit_say(audit->voice, PEN_INV_EVENTS, "event %" PRIu64 " follows event %" PRIu64, seq,
			      walk->last);
	walk->last = seq;
	if (!event.type || event.type > PEN_EVENT_INTERRUPTED || event.code > 0)
		pen_audit_say(audit->voice, PEN_INV_EVENTS,
			      "event %" PRIu64 " is of type %u with code %" PRId32, seq, event.type,
			      event.code);
	if (event.time_ms >> 48)
		pen_audit_say(audit->voice, PEN_INV_EVENTS, "event %" PRIu64 " has an impossible time", seq);
	if (event.batch && !pen_audit_find_batch(audit, event.batch))
		pen_audit_gone(audit, seq, &event);
	else if (event.batch && event.type == PEN_EVENT_CLEANED)
		pen_audit_say(audit->voice, PEN_INV_EVENTS,
			      "event %" PRIu64 " says that batch " ID " was removed, but it is there", seq,
			      event.batch);
}

/* ---- all ------------------------------------------------------------------------------------- */

static bool walk_own(struct pen_audit *audit, enum pen_db db, pen_audit_visit *visit, void *arg)
{
	return pen_audit_walk(audit, pen_db_names[db], pen_db_names[db], visit, arg, NULL);
}

void pen_audit_ledger(struct pen_audit *audit)
{
	struct event_walk events = { audit->retention.first_event ? audit->retention.first_event - 1 : 0 };
	bool whole = walk_own(audit, PEN_DB_BATCHES, visit_facts, NULL);

	/* Held against half a table, everything would seem to be missing. */
	if (!whole)
		return;
	if (walk_own(audit, PEN_DB_STATES, visit_state, NULL))
		for (size_t i = 0; i < audit->batch_count; i++)
			if (!audit->batches[i].has_state)
				pen_audit_say(audit->voice, PEN_INV_PAIRS,
					      "batch " ID " has facts, but no state", audit->batches[i].id);
	if (walk_own(audit, PEN_DB_ITEMS, visit_row, NULL))
		for (size_t i = 0; i < audit->batch_count; i++)
			if (audit->batches[i].state)
				check_rows(audit, &audit->batches[i]);
	if (walk_own(audit, PEN_DB_IDENTITY, visit_identity, NULL))
		check_identities(audit);
	if (!walk_own(audit, PEN_DB_EVENTS, visit_event, &events))
		return;
	pen_audit_gone_end(audit);
	if (audit->has_meta && events.last != audit->meta.last_event)
		pen_audit_say(audit->voice, PEN_INV_EVENTS,
			      "the last event is %" PRIu64 ", penstock.meta says %" PRIu64, events.last,
			      audit->meta.last_event);
}
