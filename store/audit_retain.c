/* SPDX-License-Identifier: MIT */
/*
 * audit_retain - what retention left behind: its rows in penstock.meta, and the events of batches that are gone
 *
 * The rows come first, with penstock.meta; the other checks ask for them. Notes lie in the order of their ids, as the
 * walk brings them.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "ring/base.h"
#include "store/audit.h"
#include "store/retain.h"
#include "store/totals.h"

#define ID "%016" PRIx64

static struct pen_audit_note *add(struct pen_audit_notes *notes)
{
	struct pen_audit_note *grown;

	if (notes->count == notes->cap) {
		notes->cap = notes->cap ? 2 * notes->cap : 16;
		grown = realloc(notes->at, notes->cap * sizeof(*grown));
		if (!grown)
			abort(); /* the guard says where */
		notes->at = grown;
	}
	notes->at[notes->count] = (struct pen_audit_note){ 0 };
	return &notes->at[notes->count++];
}

/* The first note whose id is not below. */
static size_t lower(const struct pen_audit_notes *notes, uint64_t id)
{
	size_t low = 0, high = notes->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (notes->at[mid].id < id)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

const struct pen_audit_note *pen_audit_note(const struct pen_audit_notes *notes, uint64_t id)
{
	size_t i = lower(notes, id);

	return i < notes->count && notes->at[i].id == id ? &notes->at[i] : NULL;
}

/* ---- rows of penstock.meta -------------------------------------------------------------------- */

static bool is_key(const MDB_val *key, const char *word, size_t len)
{
	return key->mv_size == len && !memcmp(key->mv_data, word, strlen(word));
}

static bool unseal(struct pen_audit *audit, const MDB_val *value, enum pen_fmt_kind kind, void *ret,
		   size_t len, const char *what)
{
	if (value->mv_size != len || pen_unseal(value->mv_data, value->mv_size, len, kind)) {
		pen_audit_say(audit->voice, PEN_INV_VALUES, "penstock.meta, `%s`: the value is damaged",
			      what);
		return false;
	}
	memcpy(ret, value->mv_data, len);
	return true;
}

bool pen_audit_retain_row(struct pen_audit *audit, const MDB_val *key, const MDB_val *value)
{
	struct pen_fmt_removed removed;
	struct pen_fmt_trimmed trimmed;
	struct pen_audit_note *note;

	if (is_key(key, PEN_RETENTION_KEY, strlen(PEN_RETENTION_KEY))) {
		(void)unseal(audit, value, PEN_KIND_RETENTION, &audit->retention, sizeof(audit->retention),
			     PEN_RETENTION_KEY);
	} else if (is_key(key, PEN_REMOVED_KEY, PEN_RETAIN_KEY_LEN)) {
		if (unseal(audit, value, PEN_KIND_REMOVED, &removed, sizeof(removed), PEN_REMOVED_KEY)) {
			note = add(&audit->removed);
			note->id = pen_get_be64((const uint8_t *)key->mv_data + 7);
			note->entries = removed.entries;
		}
	} else if (is_key(key, PEN_TRIMMED_KEY, PEN_RETAIN_KEY_LEN)) {
		if (unseal(audit, value, PEN_KIND_TRIMMED, &trimmed, sizeof(trimmed), PEN_TRIMMED_KEY)) {
			note = add(&audit->trimmed);
			note->id = pen_get_be64((const uint8_t *)key->mv_data + 7);
			note->trimmed = trimmed;
		}
	} else if (is_key(key, PEN_TOTALS_KEY, strlen(PEN_TOTALS_KEY))) {
		(void)unseal(audit, value, PEN_KIND_TOTALS, &audit->totals, sizeof(audit->totals),
			     PEN_TOTALS_KEY);
	} else {
		return false;
	}
	audit->notes_seen++;
	return true;
}

/* Sums never fall behind the batches that are still there, and the transactions are told apart whole. */
static void check_totals(struct pen_audit *audit)
{
	const struct pen_fmt_totals *t = &audit->totals;
	uint64_t committed = 0, rejected = 0, failed = 0, skipped = 0, batches = 0, held = 0;

	if (!t->since_batch)
		return;
	for (size_t i = 0; i < audit->batch_count; i++) {
		const struct pen_audit_batch *b = &audit->batches[i];

		if (b->id < t->since_batch)
			continue;
		batches++;
		committed += b->committed;
		rejected += b->rejected;
		failed += b->failed;
		skipped += b->skipped;
	}
	for (size_t i = 0; i < PEN_COUNT(t->holds); i++)
		held += t->holds[i];
	if (t->batches < batches || t->committed < committed || t->rejected < rejected ||
	    t->failed < failed || t->skipped < skipped)
		pen_audit_say(audit->voice, PEN_INV_COUNTERS,
			      "the totals say less than the batches that are there: %" PRIu64
			      " batches and %" PRIu64 " items committed, where there are %" PRIu64
			      " and %" PRIu64,
			      t->batches, t->committed, batches, committed);
	if (held != t->groups)
		pen_audit_say(audit->voice, PEN_INV_COUNTERS,
			      "the totals tell %" PRIu64 " transactions apart, of %" PRIu64, held, t->groups);
}

void pen_audit_retain(struct pen_audit *audit)
{
	check_totals(audit);
	for (size_t i = 0; i < audit->removed.count; i++)
		if (!pen_audit_find_dataset(audit, audit->removed.at[i].id))
			pen_audit_say(audit->voice, PEN_INV_ORPHANS,
				      "a `removed` row belongs to no dataset (%" PRIu64 ")",
				      audit->removed.at[i].id);
	for (size_t i = 0; i < audit->trimmed.count; i++)
		if (!pen_audit_find_batch(audit, audit->trimmed.at[i].id))
			pen_audit_say(audit->voice, PEN_INV_ROWS,
				      "a `trimmed` row belongs to no batch (" ID ")",
				      audit->trimmed.at[i].id);
	if (audit->has_meta && audit->retention.first_event > audit->meta.last_event + 1)
		pen_audit_say(audit->voice, PEN_INV_EVENTS,
			      "events are said to begin at %" PRIu64 ", but the last one is %" PRIu64,
			      audit->retention.first_event, audit->meta.last_event);
}

/* ---- events of batches that are gone ------------------------------------------------------------ */

void pen_audit_gone(struct pen_audit *audit, uint64_t seq, const struct pen_fmt_event *event)
{
	struct pen_audit_notes *gone = &audit->gone;
	size_t i = lower(gone, event->batch);
	struct pen_audit_note note;

	if (i == gone->count || gone->at[i].id != event->batch) {
		(void)add(gone);
		memmove(&gone->at[i + 1], &gone->at[i], (gone->count - 1 - i) * sizeof(note));
		gone->at[i] = (struct pen_audit_note){ .id = event->batch };
	}
	gone->at[i].entries = event->type == PEN_EVENT_CLEANED ? 0 : seq;
}

void pen_audit_gone_end(struct pen_audit *audit)
{
	for (size_t i = 0; i < audit->gone.count; i++)
		if (audit->gone.at[i].entries)
			pen_audit_say(audit->voice, PEN_INV_EVENTS,
				      "event %" PRIu64 " is of batch " ID
				      ", which is not there and was not removed",
				      audit->gone.at[i].entries, audit->gone.at[i].id);
}
