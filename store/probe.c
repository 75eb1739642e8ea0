/* SPDX-License-Identifier: MIT */
#include "store/probe.h"

#include <errno.h>
#include <stdlib.h>

#include "ring/assert.h"
#include "ring/base.h"
#include "store/dataset.h"
#include "store/store_private.h"

struct pen_probe {
	struct pen_store *store;
	char name[PEN_DATASET_NAME_MAX + 1];
	struct pen_handle *handle; /* from begin to end */
	MDB_txn *txn;
	struct pen_probe_facts facts;
};

static bool is_number(unsigned kind)
{
	return kind == PEN_KEY_SEQ || kind == PEN_KEY_OFFSET;
}

/* The same questions as pen_dataset_use asks, of a snapshot. */
static int look(struct pen_probe *probe, MDB_txn *txn, enum pen_key kind, struct pen_failure *why)
{
	struct pen_store *store = probe->store;
	struct pen_fmt_dataset row = { 0 };
	struct pen_db_row db = { 0 };
	int known = pen_dataset_row(store, txn, probe->name, &row);
	int found = pen_db_find(txn, probe->name, &db);
	MDB_stat stat;

	if (known && known != -PEN_NO_DATASET)
		return pen_fail(why, known, 0, "the row of dataset %s is damaged", probe->name);
	if (found && found != -PEN_NO_DATASET)
		return pen_fail(why, found, 0, "%s is a value that another program put into the store",
				probe->name);
	if (!known && found)
		return pen_fail(why, -PEN_STORE_DAMAGED, 0, "dataset %s has a row but no records",
				probe->name);
	if (!found && (db.flags || (known && db.entries)))
		return pen_fail(why, -PEN_KEY_KIND, 0, "%s is a database that another program made",
				probe->name);
	if (!known && kind != (enum pen_key)row.key_kind && (is_number(kind) || is_number(row.key_kind)))
		return pen_fail(why, -PEN_KEY_KIND, 0, "dataset %s has keys of another kind", probe->name);
	if (known && !mdb_stat(txn, store->db[PEN_DB_DATASETS], &stat) && stat.ms_entries >= PEN_DATASETS_MAX)
		return pen_fail(why, -PEN_DATASETS_FULL, 0, "dataset %s cannot be used", probe->name);
	if (!known)
		probe->facts = (struct pen_probe_facts){
			.exists = true,
			.id = row.id,
			.entries = row.entries,
			.bytes = (db.branch_pages + db.leaf_pages + db.overflow_pages) * store->page_size,
			.next_seq = row.next_seq,
			.feeder = row.feeder,
		};
	return 0;
}

int pen_probe_open(struct pen_store *store, const char *name, enum pen_key key_kind, struct pen_probe **ret,
		   struct pen_failure *why)
{
	int code = pen_dataset_name_check(name);
	struct pen_probe *probe;
	MDB_txn *txn;

	if (code)
		return pen_fail(why, code, 0, "a dataset cannot be named so");
	probe = calloc(1, sizeof(*probe));
	if (!probe)
		return pen_fail(why, -PEN_MEMORY, ENOMEM, "dataset %s cannot be looked into", name);
	probe->store = store;
	memcpy(probe->name, name, strlen(name) + 1);
	code = pen_read_begin(store, &txn);
	if (!code) {
		code = look(probe, txn, key_kind, why);
		pen_read_end(store, txn);
	}
	if (code)
		pen_probe_close(probe);
	else
		*ret = probe;
	return code;
}

void pen_probe_close(struct pen_probe *probe)
{
	if (!probe)
		return;
	pen_probe_end(probe);
	free(probe);
}

const struct pen_probe_facts *pen_probe_facts(const struct pen_probe *probe)
{
	return &probe->facts;
}

int pen_probe_begin(struct pen_probe *probe)
{
	struct pen_db_row row;
	int code;

	pen_assert(!probe->txn && !probe->handle);
	code = pen_handle_get(probe->store, probe->name, &probe->handle);
	if (!code)
		code = pen_read_begin(probe->store, &probe->txn);
	if (!code)
		code = pen_db_find(probe->txn, probe->name, &row);
	if (code)
		pen_probe_end(probe);
	return code;
}

void pen_probe_end(struct pen_probe *probe)
{
	if (probe->txn)
		pen_read_end(probe->store, probe->txn);
	if (probe->handle)
		pen_handle_put(probe->store, probe->handle);
	probe->txn = NULL;
	probe->handle = NULL;
}

int pen_probe_has(struct pen_probe *probe, const void *key, size_t key_len)
{
	MDB_val k = { key_len, (void *)(uintptr_t)key }, value;
	int rc = mdb_get(probe->txn, probe->handle->dbi, &k, &value);

	return rc == MDB_NOTFOUND ? 0 : rc ? pen_mdb_code(rc) : 1;
}

int pen_probe_last(struct pen_probe *probe, uint8_t ret_key[PEN_KEY_MAX])
{
	MDB_val last, value;
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(probe->txn, probe->handle->dbi, &cursor);

	if (rc)
		return pen_mdb_code(rc);
	rc = mdb_cursor_get(cursor, &last, &value, MDB_LAST);
	if (rc) {
		rc = rc == MDB_NOTFOUND ? 0 : pen_mdb_code(rc);
	} else {
		rc = (int)pen_min(last.mv_size, PEN_KEY_MAX);
		memcpy(ret_key, last.mv_data, (size_t)rc);
	}
	mdb_cursor_close(cursor);
	return rc;
}
