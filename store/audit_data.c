/* SPDX-License-Identifier: MIT */
/*
 * audit_data - datasets: their records, digests, keys, and the batches that fill them
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "ring/base.h"
#include "store/audit.h"
#include "store/dataset.h"
#include "store/ledger.h"

#define ID "%016" PRIx64
#define LMDB_KEY_MAX 511u

struct pen_audit_dataset *pen_audit_find_dataset(const struct pen_audit *audit, uint64_t id)
{
	for (size_t i = 0; i < audit->dataset_count; i++)
		if (audit->datasets[i]->row.id == id)
			return audit->datasets[i];
	return NULL;
}

static struct pen_audit_dataset *find_name(const struct pen_audit *audit, const char *name)
{
	for (size_t i = 0; i < audit->dataset_count; i++)
		if (!strcmp(audit->datasets[i]->name, name))
			return audit->datasets[i];
	return NULL;
}

/* ---- the registry ---------------------------------------------------------------------------- */

static void add_dataset(struct pen_audit *audit, const MDB_val *name, const struct pen_fmt_dataset *row)
{
	struct pen_audit_dataset *dataset = calloc(1, sizeof(*dataset)), **grown;

	if (audit->dataset_count == audit->dataset_cap) {
		size_t cap = audit->dataset_cap ? 2 * audit->dataset_cap : 16;

		grown = realloc(audit->datasets, cap * sizeof(struct pen_audit_dataset *));
		if (!grown)
			abort(); /* the guard says where */
		audit->datasets = grown;
		audit->dataset_cap = cap;
	}
	if (!dataset)
		abort();
	memcpy(dataset->name, name->mv_data, name->mv_size);
	dataset->row = *row;
	audit->datasets[audit->dataset_count++] = dataset;
}

static void visit_dataset(struct pen_audit *audit, void *arg, const MDB_val *key, const MDB_val *value)
{
	char name[PEN_DATASET_NAME_MAX + 1] = { 0 };
	struct pen_fmt_dataset row;

	(void)arg;
	if (key->mv_size <= PEN_DATASET_NAME_MAX && !memchr(key->mv_data, 0, key->mv_size))
		memcpy(name, key->mv_data, key->mv_size);
	if (pen_dataset_name_check(name)) {
		pen_audit_say(audit->voice, PEN_INV_VALUES,
			      "penstock.datasets has a key that is no dataset's name");
		return;
	}
	if (value->mv_size != sizeof(row) ||
	    pen_unseal(value->mv_data, value->mv_size, sizeof(row), PEN_KIND_DATASET)) {
		pen_audit_say(audit->voice, PEN_INV_VALUES, "dataset `%s`: its row is damaged", name);
		return;
	}
	memcpy(&row, value->mv_data, sizeof(row));
	if (!row.id || row.key_kind > PEN_KEY_GIVEN || (audit->has_meta && row.id > audit->meta.last_dataset))
		pen_audit_say(audit->voice, PEN_INV_VALUES,
			      "dataset `%s`: its id or kind of keys is impossible", name);
	else if (pen_audit_find_dataset(audit, row.id))
		pen_audit_say(audit->voice, PEN_INV_VALUES, "dataset `%s` has the id of `%s`", name,
			      pen_audit_find_dataset(audit, row.id)->name);
	else
		add_dataset(audit, key, &row);
}

/* ---- digests --------------------------------------------------------------------------------- */

static void visit_digest(struct pen_audit *audit, void *arg, const MDB_val *key, const MDB_val *value)
{
	struct pen_audit_dataset *dataset;
	struct pen_fmt_digest digest;
	uint64_t id;
	uint8_t bucket;

	(void)arg;
	if (key->mv_size != 9) {
		pen_audit_say(audit->voice, PEN_INV_VALUES, "penstock.digests has a key of %zu bytes",
			      key->mv_size);
		return;
	}
	id = pen_get_be64(key->mv_data);
	bucket = ((const uint8_t *)key->mv_data)[8];
	if (value->mv_size != sizeof(digest) ||
	    pen_unseal(value->mv_data, value->mv_size, sizeof(digest), PEN_KIND_DIGEST)) {
		pen_audit_say(audit->voice, PEN_INV_VALUES,
			      "dataset %" PRIu64 ", bucket %u: the digest is damaged", id, bucket);
		return;
	}
	dataset = pen_audit_find_dataset(audit, id);
	if (!dataset) {
		pen_audit_say(audit->voice, PEN_INV_ORPHANS,
			      "a digest of bucket %u belongs to no dataset (%" PRIu64 ")", bucket, id);
		return;
	}
	memcpy(&digest, value->mv_data, sizeof(digest));
	dataset->stored[bucket] = (struct pen_sum){ digest.lo, digest.hi };
}

/* ---- records --------------------------------------------------------------------------------- */

/* Invariant 14: 0, or what is wrong. @content and text keys of any length may share a dataset. */
static const char *key_flaw(const struct pen_fmt_dataset *row, const MDB_val *key)
{
	if (row->key_kind == PEN_KEY_SEQ) {
		if (key->mv_size != 8)
			return "is not 8 bytes long";
		if (pen_get_be64(key->mv_data) >= row->next_seq)
			return "lies above the last key given out";
	} else if (row->key_kind == PEN_KEY_OFFSET && key->mv_size != 8 && key->mv_size != 12) {
		return "is no offset";
	}
	return NULL;
}

static void visit_record(struct pen_audit *audit, void *arg, const MDB_val *key, const MDB_val *value)
{
	struct pen_audit_dataset *dataset = arg;
	const char *flaw = key_flaw(&dataset->row, key);

	if (flaw)
		pen_audit_say(audit->voice, PEN_INV_KEYS, "dataset `%s`, record %" PRIu64 ": the key %s",
			      dataset->name, audit->voice->where->entry, flaw);
	pen_sum_add(&dataset->found[pen_hash_bucket(key->mv_data, key->mv_size)],
		    pen_hash_record(key->mv_data, key->mv_size, value->mv_data, value->mv_size));
}

/* Invariant 8: the row, LMDB, and the batches agree. */
static void check_entries(struct pen_audit *audit, const struct pen_audit_dataset *dataset, uint64_t entries)
{
	const struct pen_audit_note *note = pen_audit_note(&audit->removed, dataset->row.id);
	uint64_t sum = note ? note->entries : 0;

	for (size_t i = 0; i < audit->batch_count; i++)
		if (audit->batches[i].dataset_id == dataset->row.id)
			sum += audit->batches[i].committed - audit->batches[i].duplicates;
	if (dataset->row.entries != entries)
		pen_audit_say(audit->voice, PEN_INV_ENTRIES,
			      "dataset `%s`: %" PRIu64 " records, its row says %" PRIu64, dataset->name,
			      entries, dataset->row.entries);
	if (dataset->row.entries != sum)
		pen_audit_say(audit->voice, PEN_INV_ENTRIES,
			      "dataset `%s`: its row says %" PRIu64
			      " records, its batches committed %" PRIu64,
			      dataset->name, dataset->row.entries, sum);
}

/* Invariant 9. */
static void check_digests(struct pen_audit *audit, const struct pen_audit_dataset *dataset)
{
	for (unsigned i = 0; i < PEN_BUCKETS; i++)
		if (memcmp(&dataset->stored[i], &dataset->found[i], sizeof(dataset->found[i])) != 0)
			pen_audit_say(
				audit->voice, PEN_INV_DIGESTS,
				"dataset `%s`, bucket %u: a record was changed, added or removed outside penstock, "
				"or the disk altered it",
				dataset->name, i);
}

static void check_dataset(struct pen_audit *audit, struct pen_audit_dataset *dataset)
{
	char what[PEN_DATASET_NAME_MAX + 16];
	uint64_t entries;
	MDB_dbi dbi;
	int rc;

	snprintf(what, sizeof(what), "dataset `%s`", dataset->name);
	pen_audit_place(audit->voice, "%s", what);
	rc = mdb_dbi_open(audit->txn, dataset->name, 0, &dbi);
	if (rc == MDB_NOTFOUND || rc == MDB_INCOMPATIBLE) {
		pen_audit_say(audit->voice, PEN_INV_DATABASES,
			      "%s is registered, but its database is not there", what);
		return;
	}
	if (pen_audit_walk(audit, dataset->name, what, visit_record, dataset, &entries)) {
		check_entries(audit, dataset, entries);
		check_digests(audit, dataset);
	}
}

/* ---- feeders --------------------------------------------------------------------------------- */

/* Invariant 12, and 7 as far as the dataset proves it. */
static void check_feeding(struct pen_audit *audit, const struct pen_audit_batch *batch)
{
	const struct pen_audit_dataset *dataset = pen_audit_find_dataset(audit, batch->dataset_id);
	uint64_t next;

	if (!dataset || !batch->has_facts || !batch->state || batch->key_kind != PEN_KEY_SEQ)
		return;
	/* One that was only entered claims the dataset when it starts; one with only rows left has all its numbers. */
	if (!pen_ledger_over(batch->state) && batch->started_ms && !batch->fed &&
	    dataset->row.feeder != batch->id)
		pen_audit_say(audit->voice, PEN_INV_FEEDER,
			      "batch " ID
			      " is unfinished and appends to dataset `%s` by @seq, which does not know of it",
			      batch->id, dataset->name);
	if (__builtin_add_overflow(batch->seq_base, batch->items, &next) || next > dataset->row.next_seq)
		pen_audit_say(audit->voice, PEN_INV_CHECKPOINT,
			      "batch " ID ": it has given out keys from %" PRIu64 " for %" PRIu64
			      " items, but the next key of dataset `%s` is %" PRIu64,
			      batch->id, batch->seq_base, batch->items, dataset->name, dataset->row.next_seq);
}

static void check_feeder(struct pen_audit *audit, const struct pen_audit_dataset *dataset)
{
	const struct pen_audit_batch *batch;
	const char *flaw = NULL;

	if (!dataset->row.feeder)
		return;
	batch = pen_audit_find_batch(audit, dataset->row.feeder);
	if (!batch)
		flaw = "is not there";
	else if (!batch->has_facts || !batch->state)
		return; /* damaged, and said so */
	else if (batch->dataset_id != dataset->row.id)
		flaw = "fills another dataset";
	else if (batch->key_kind != PEN_KEY_SEQ)
		flaw = "has other keys";
	else if (pen_ledger_over(batch->state))
		flaw = "has ended";
	if (flaw)
		pen_audit_say(audit->voice, PEN_INV_FEEDER, "dataset `%s` waits for batch " ID ", which %s",
			      dataset->name, dataset->row.feeder, flaw);
}

void pen_audit_data(struct pen_audit *audit)
{
	const char *registry = pen_db_names[PEN_DB_DATASETS], *digests = pen_db_names[PEN_DB_DIGESTS];

	if (!pen_audit_walk(audit, registry, registry, visit_dataset, NULL, NULL))
		return;
	if (!pen_audit_walk(audit, digests, digests, visit_digest, NULL, NULL))
		return;
	for (size_t i = 0; i < audit->dataset_count; i++) {
		check_dataset(audit, audit->datasets[i]);
		check_feeder(audit, audit->datasets[i]);
	}
	for (size_t i = 0; i < audit->batch_count; i++)
		check_feeding(audit, &audit->batches[i]);
}

/* ---- names of databases ---------------------------------------------------------------------- */

static bool is_own(const char *name)
{
	for (size_t i = 0; i < PEN_DB_COUNT; i++)
		if (!strcmp(name, pen_db_names[i]))
			return true;
	return false;
}

static bool filled_by_a_batch(const struct pen_audit *audit, const char *name)
{
	for (size_t i = 0; i < audit->batch_count; i++)
		if (audit->batches[i].dataset && !strcmp(audit->batches[i].dataset, name))
			return true;
	return false;
}

/* A database of another program is allowed; it is walked, since its pages lie between ours. */
static void check_foreign(struct pen_audit *audit, const char *name)
{
	char what[LMDB_KEY_MAX + 32];

	if (!strncmp(name, PEN_DB_PREFIX, strlen(PEN_DB_PREFIX))) {
		pen_audit_say(audit->voice, PEN_INV_DATABASES, "there is no database `%.200s` in this format",
			      name);
		return;
	}
	if (filled_by_a_batch(audit, name)) {
		pen_audit_say(audit->voice, PEN_INV_DATABASES,
			      "database `%.200s` was filled by batches, but is not registered", name);
		return;
	}
	snprintf(what, sizeof(what), "database `%.200s` of another program", name);
	pen_audit_walk(audit, name, what, NULL, NULL, NULL);
}

/* Invariant 15. */
void pen_audit_databases(struct pen_audit *audit)
{
	MDB_val key, value;
	MDB_cursor *cur;
	int rc;

	pen_audit_place(audit->voice, "the list of databases");
	if (mdb_cursor_open(audit->txn, PEN_DB_MAIN, &cur))
		return;
	for (rc = mdb_cursor_get(cur, &key, &value, MDB_FIRST); !rc;
	     rc = mdb_cursor_get(cur, &key, &value, MDB_NEXT)) {
		char name[LMDB_KEY_MAX + 1] = { 0 };

		if (key.mv_size > LMDB_KEY_MAX || memchr(key.mv_data, 0, key.mv_size))
			continue; /* no program can open it by name */
		memcpy(name, key.mv_data, key.mv_size);
		if (!is_own(name) && !find_name(audit, name))
			check_foreign(audit, name);
	}
	mdb_cursor_close(cur);
}
