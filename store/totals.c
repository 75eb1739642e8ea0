/* SPDX-License-Identifier: MIT */
#include "store/totals.h"

#include <string.h>

#include "ring/base.h"
#include "store/ledger.h"
#include "store/mdb_error.h"
#include "store/store_private.h"

/* Largest number of milliseconds that each but the last counts; the last counts the rest. */
static const uint32_t holds[PEN_HOLD_BUCKETS - 1] = { 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000 };

uint32_t pen_hold_bucket(unsigned i)
{
	return i < PEN_COUNT(holds) ? holds[i] : UINT32_MAX;
}

static int load(MDB_txn *mdb, MDB_dbi dbi, struct pen_fmt_totals *ret)
{
	MDB_val key = { strlen(PEN_TOTALS_KEY), (void *)(uintptr_t)PEN_TOTALS_KEY }, value;
	int rc = mdb_get(mdb, dbi, &key, &value);

	*ret = (struct pen_fmt_totals){ 0 };
	if (rc)
		return pen_mdb_code(rc);
	rc = pen_unseal(value.mv_data, value.mv_size, sizeof *ret, PEN_KIND_TOTALS);
	if (!rc)
		memcpy(ret, value.mv_data, sizeof *ret);
	return rc;
}

static uint64_t grown(uint64_t before, uint64_t after)
{
	return after > before ? after - before : 0;
}

int pen_totals_move(struct pen_txn *txn, const struct pen_fmt_state *before,
		    const struct pen_fmt_state *after)
{
	static const struct pen_fmt_state none;
	const struct pen_fmt_counters *a = &after->applied, *b = &(before ? before : &none)->applied;
	struct pen_fmt_totals t;
	int rc = load(txn->mdb, txn->store->db[PEN_DB_META], &t);

	if (rc == -PEN_NOT_FOUND) {
		t.since_ms = pen_real_ms(pen_store_clock(txn->store));
		/* Older ones are counted in part. */
		t.since_batch = before ? pen_ledger_newest_id(txn) + 1 : after->id;
	} else if (rc) {
		return rc;
	}
	t.batches += !before;
	if ((!before || before->state != after->state) && after->state < PEN_COUNT(t.states))
		t.states[after->state]++;
	t.committed += grown(b->committed, a->committed);
	t.rejected += grown(b->rejected, a->rejected);
	t.failed += grown(b->failed, a->failed);
	t.skipped += grown(b->skipped, a->skipped);
	t.duplicates += grown(b->duplicates, a->duplicates);
	t.bytes += grown(b->bytes, a->bytes);
	if (before && after->groups > before->groups) {
		unsigned i = 0;

		while (after->hold_last_ms > pen_hold_bucket(i))
			i++;
		t.holds[i] += after->groups - before->groups;
		t.groups += after->groups - before->groups;
		t.hold_ms += (after->groups - before->groups) * after->hold_last_ms;
	}
	pen_seal(&t, sizeof t, PEN_KIND_TOTALS, 1);
	return pen_txn_put(txn, PEN_DB_META, PEN_TOTALS_KEY, strlen(PEN_TOTALS_KEY), &t, sizeof t, 0);
}

int pen_store_totals(struct pen_store *store, struct pen_totals *ret)
{
	struct pen_fmt_totals t;
	MDB_txn *mdb;
	int rc = pen_read_begin(store, &mdb);

	if (rc)
		return rc;
	rc = load(mdb, store->db[PEN_DB_META], &t);
	pen_read_end(store, mdb);
	if (rc && rc != -PEN_NOT_FOUND)
		return rc;
	*ret = (struct pen_totals){
		.since_ms = t.since_ms,
		.batches = t.batches,
		.committed = t.committed,
		.rejected = t.rejected,
		.failed = t.failed,
		.skipped = t.skipped,
		.duplicates = t.duplicates,
		.bytes = t.bytes,
		.groups = t.groups,
		.hold_ms = t.hold_ms,
	};
	memcpy(ret->states, t.states, sizeof ret->states);
	memcpy(ret->holds, t.holds, sizeof ret->holds);
	return 0;
}
