/* SPDX-License-Identifier: MIT */
/*
 * retain_rules - the rules of retention, and the rows of penstock.meta that keep them and what was done
 */
#include <errno.h>

#include "ring/base.h"
#include "store/ledger.h"
#include "store/retain.h"

#define DAY_MS UINT64_C(86400000)
#define EVENTS_MS (30 * DAY_MS)
#define EVENTS_MAX UINT64_C(1000000)
#define ROWS_BYTES (UINT64_C(1) << 30)

/* ---- rows of penstock.meta -------------------------------------------------------------------- */

void pen_retain_key(uint8_t key[PEN_RETAIN_KEY_LEN], const char *word, uint64_t id)
{
	memcpy(key, word, 7);
	pen_put_be64(key + 7, id);
}

/* A row, or zeros when there is none. */
int pen_retain_row_read(struct pen_store *store, MDB_txn *mdb, const void *key, size_t key_len,
			enum pen_fmt_kind kind, void *ret, size_t len)
{
	MDB_val k = { key_len, (void *)(uintptr_t)key }, value;
	int rc = mdb_get(mdb, store->db[PEN_DB_META], &k, &value);

	memset(ret, 0, len);
	if (rc == MDB_NOTFOUND)
		return 0;
	if (rc)
		return pen_mdb_code(rc);
	rc = pen_unseal(value.mv_data, value.mv_size, len, kind);
	if (!rc)
		memcpy(ret, value.mv_data, len);
	return rc;
}

int pen_retain_row_write(struct pen_txn *txn, const void *key, size_t key_len, enum pen_fmt_kind kind,
			 void *row, size_t len)
{
	pen_seal(row, len, kind, 1);
	return pen_txn_put(txn, PEN_DB_META, key, key_len, row, len, 0);
}

int pen_retain_read(struct pen_store *store, MDB_txn *mdb, struct pen_fmt_retention *ret)
{
	int rc = pen_retain_row_read(store, mdb, PEN_RETENTION_KEY, strlen(PEN_RETENTION_KEY),
				     PEN_KIND_RETENTION, ret, sizeof(*ret));

	if (!rc && !ret->first_event)
		ret->first_event = 1;
	return rc;
}

int pen_retain_write(struct pen_txn *txn, struct pen_fmt_retention *r)
{
	return pen_retain_row_write(txn, PEN_RETENTION_KEY, strlen(PEN_RETENTION_KEY), PEN_KIND_RETENTION, r,
				    sizeof(*r));
}

int pen_retain_trimmed_read(struct pen_store *store, MDB_txn *mdb, uint64_t batch,
			    struct pen_fmt_trimmed *ret)
{
	uint8_t key[PEN_RETAIN_KEY_LEN];

	pen_retain_key(key, PEN_TRIMMED_KEY, batch);
	return pen_retain_row_read(store, mdb, key, sizeof(key), PEN_KIND_TRIMMED, ret, sizeof(*ret));
}

int pen_retain_dropped(struct pen_txn *txn, uint64_t dataset_id)
{
	uint8_t key[PEN_RETAIN_KEY_LEN];

	pen_retain_key(key, PEN_REMOVED_KEY, dataset_id);
	return pen_retain_del(txn, PEN_DB_META, key, sizeof(key));
}

/* ---- rules ------------------------------------------------------------------------------------ */

static uint64_t rule(uint64_t given, uint64_t standard)
{
	return given ? given : standard;
}

void pen_retain_rules_of(const struct pen_fmt_retention *r, struct pen_retain_rules *ret)
{
	*ret = (struct pen_retain_rules){
		.size = sizeof(*ret),
		.rows_ms = rule(r->rows_ms, PEN_KEEP_FOREVER),
		.rows_bytes = rule(r->rows_bytes, ROWS_BYTES),
		.events_ms = rule(r->events_ms, EVENTS_MS),
		.events_max = rule(r->events_max, EVENTS_MAX),
		.bytes = rule(r->bytes, PEN_KEEP_FOREVER),
	};
	for (unsigned s = 0; s < PEN_STATE_SLOTS; s++)
		ret->keep_ms[s] = !pen_retain_may(s)   ? PEN_KEEP_FOREVER
				  : pen_ledger_over(s) ? rule(r->keep_ms[s], PEN_RETAIN_KEEP_MS)
						       : rule(r->keep_ms[s], PEN_KEEP_FOREVER);
}

int pen_retain_info(struct pen_store *store, struct pen_retain_info *ret)
{
	struct pen_fmt_retention r;
	MDB_txn *mdb;
	int rc;

	if (ret->size < sizeof(*ret))
		return -EINVAL;
	rc = pen_read_begin(store, &mdb);
	if (rc)
		return rc;
	rc = pen_retain_read(store, mdb, &r);
	pen_read_end(store, mdb);
	if (rc)
		return rc;
	pen_retain_rules_of(&r, &ret->rules);
	ret->first_event = r.first_event;
	ret->cleaned_ms = r.cleaned_ms;
	ret->batches = r.batches;
	ret->rows = r.rows;
	return 0;
}

int pen_retain_set(struct pen_store *store, const struct pen_retain_rules *rules, struct pen_failure *why)
{
	struct pen_fmt_retention r;
	struct pen_txn *txn;
	int rc;

	if (rules->size < sizeof(*rules))
		return pen_fail(why, -EINVAL, EINVAL, "the rules are of another version");
	for (unsigned s = 0; s < PEN_STATE_SLOTS; s++)
		if (!pen_retain_may(s) && rules->keep_ms[s] && rules->keep_ms[s] != PEN_KEEP_FOREVER)
			return pen_fail(why, -EINVAL, EINVAL, "batches in state %s are never removed",
					pen_state_name(s));
	rc = pen_txn_begin(store, PEN_DURABLE_COMMIT, &txn, NULL, why);
	if (rc)
		return rc;
	rc = pen_retain_read(store, txn->mdb, &r);
	for (unsigned s = 0; s < PEN_STATE_SLOTS; s++)
		r.keep_ms[s] = pen_retain_may(s) ? rules->keep_ms[s] : 0;
	r.rows_ms = rules->rows_ms;
	r.rows_bytes = rules->rows_bytes;
	r.events_ms = rules->events_ms;
	r.events_max = rules->events_max;
	r.bytes = rules->bytes;
	if (!rc)
		rc = pen_retain_write(txn, &r);
	if (!rc)
		return pen_txn_commit(txn, why);
	pen_txn_abort(txn);
	return pen_fail(why, rc, 0, "the rules of retention cannot be kept");
}

int pen_retain_trimmed(struct pen_store *store, uint64_t batch, uint64_t *ret_rows)
{
	struct pen_fmt_trimmed t;
	MDB_txn *mdb;
	int rc = pen_read_begin(store, &mdb);

	if (rc)
		return rc;
	rc = pen_retain_trimmed_read(store, mdb, batch, &t);
	pen_read_end(store, mdb);
	if (!rc)
		*ret_rows = t.rejected + t.failed + t.skipped + t.other;
	return rc;
}
