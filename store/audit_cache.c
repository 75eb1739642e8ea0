/* SPDX-License-Identifier: MIT */
/*
 * audit_cache - entries, their order and the totals of penstock.cache
 *
 * Each entry is named by the order row of its number, and each order row names an entry with that number; so they are
 * pairs, and the totals count one side.
 */
#include <inttypes.h>

#include "ring/base.h"
#include "store/audit.h"
#include "store/cache.h"

struct cache_walk {
	MDB_dbi dbi;
	struct pen_fmt_cache_total total;
	uint64_t entries, bytes;
};

static void visit_entry(struct pen_audit *audit, struct cache_walk *walk, const MDB_val *key,
			const MDB_val *value)
{
	uint8_t order[PEN_CACHE_ORDER_KEY] = { PEN_CACHE_ROW_ORDER };
	MDB_val k = { sizeof(order), order }, v;
	struct pen_fmt_cache row;
	const void *data;

	walk->entries++;
	if (pen_cache_decode(key->mv_data, value->mv_data, value->mv_size, &row, &data)) {
		pen_audit_say(audit->voice, PEN_INV_VALUES, "penstock.cache: entry %" PRIu64 " is damaged",
			      walk->entries);
		return;
	}
	walk->bytes += row.len + PEN_CACHE_COST;
	pen_put_be64(order + 1, row.number);
	if (row.number > walk->total.last_number || mdb_get(audit->txn, walk->dbi, &k, &v) ||
	    v.mv_size != PEN_SHA256_BYTES ||
	    memcmp(v.mv_data, (const uint8_t *)key->mv_data + 1, PEN_SHA256_BYTES) != 0)
		pen_audit_say(audit->voice, PEN_INV_CACHE,
			      "the cache's entry %" PRIu64 " is not in its order", row.number);
}

static void visit_order(struct pen_audit *audit, struct cache_walk *walk, const MDB_val *key,
			const MDB_val *value)
{
	uint64_t number = pen_get_be64((const uint8_t *)key->mv_data + 1);
	uint8_t entry[PEN_CACHE_ENTRY_KEY] = { PEN_CACHE_ROW_ENTRY };
	MDB_val k = { sizeof(entry), entry }, v;
	struct pen_fmt_cache row;
	const void *data;

	if (value->mv_size == PEN_SHA256_BYTES)
		memcpy(entry + 1, value->mv_data, PEN_SHA256_BYTES);
	/* A damaged entry has been said. */
	if (value->mv_size != PEN_SHA256_BYTES || mdb_get(audit->txn, walk->dbi, &k, &v) ||
	    (!pen_cache_decode(entry, v.mv_data, v.mv_size, &row, &data) && row.number != number))
		pen_audit_say(audit->voice, PEN_INV_CACHE,
			      "the cache's order has number %" PRIu64 ", which no entry has", number);
}

static void visit_cache(struct pen_audit *audit, void *arg, const MDB_val *key, const MDB_val *value)
{
	struct cache_walk *walk = arg;
	uint8_t kind = *(const uint8_t *)key->mv_data; /* no key is empty */

	if (kind == PEN_CACHE_ROW_TOTAL && key->mv_size == 1) {
		if (pen_cache_decode_total(value->mv_data, value->mv_size, &walk->total))
			pen_audit_say(audit->voice, PEN_INV_VALUES, "penstock.cache: the totals are damaged");
	} else if (kind == PEN_CACHE_ROW_ENTRY && key->mv_size == PEN_CACHE_ENTRY_KEY) {
		visit_entry(audit, walk, key, value);
	} else if (kind == PEN_CACHE_ROW_ORDER && key->mv_size == PEN_CACHE_ORDER_KEY) {
		visit_order(audit, walk, key, value);
	} else {
		pen_audit_say(audit->voice, PEN_INV_VALUES,
			      "penstock.cache has a key that is none of its kinds");
	}
}

void pen_audit_cache(struct pen_audit *audit)
{
	const char *name = pen_db_names[PEN_DB_CACHE];
	struct cache_walk walk = { 0 };

	if (audit->has_meta && audit->meta.format < 2)
		return;
	/* What cannot be opened is said by the walk. */
	if (mdb_dbi_open(audit->txn, name, 0, &walk.dbi))
		walk.dbi = 0;
	if (!pen_audit_walk(audit, name, name, visit_cache, &walk, NULL))
		return;
	if (walk.entries != walk.total.entries || walk.bytes != walk.total.bytes)
		pen_audit_say(audit->voice, PEN_INV_CACHE,
			      "the cache holds %" PRIu64 " entries of %" PRIu64
			      " bytes; its totals say %" PRIu64 " of %" PRIu64,
			      walk.entries, walk.bytes, walk.total.entries, walk.total.bytes);
}
