/* SPDX-License-Identifier: MIT */
/*
 * audit_flags - flags, and what is kept about them
 *
 * The totals come first by their key; the rest is counted against them.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "ring/base.h"
#include "store/audit.h"
#include "store/change.h"
#include "store/flag.h"
#include "store/pin.h"
#include "store/ramp.h"

#define ID "%016" PRIx64

struct walk {
	struct pen_fmt_flag_total total;
	MDB_dbi dbi;
	uint64_t flags;
	bool damaged; /* the totals are, and say nothing */
};

static void visit_total(struct pen_audit *audit, struct walk *walk, const MDB_val *key, const MDB_val *value)
{
	walk->damaged = key->mv_size != 1 || value->mv_size != sizeof(walk->total) ||
			pen_unseal(value->mv_data, value->mv_size, sizeof(walk->total), PEN_KIND_FLAG_TOTAL);
	if (walk->damaged)
		pen_audit_say(audit->voice, PEN_INV_VALUES, "the totals of flags are damaged");
	else
		memcpy(&walk->total, value->mv_data, sizeof(walk->total));
}

static void visit_flag(struct pen_audit *audit, struct walk *walk, const char *name, const MDB_val *value)
{
	struct pen_flag *flag;

	walk->flags++;
	if (!pen_flag_name_len(name) ||
	    pen_flag_decode(value->mv_data, value->mv_size, name, strlen(name), &flag)) {
		pen_audit_say(audit->voice, PEN_INV_VALUES, "flag %.128s is damaged", name);
		return;
	}
	free(flag);
}

static void visit_change(struct pen_audit *audit, struct walk *walk, const MDB_val *key, const MDB_val *value)
{
	const uint8_t *at = key->mv_data;
	char name[PEN_FLAG_NAME_MAX + 1];
	struct pen_flag_change *change;
	uint64_t seq;
	size_t len;

	if (key->mv_size < 11 || key->mv_size > PEN_FLAG_KEY_BYTES || at[key->mv_size - 9]) {
		pen_audit_say(audit->voice, PEN_INV_FLAGS, "a change of a flag has an impossible key");
		return;
	}
	len = key->mv_size - 10;
	memcpy(name, at + 1, len);
	name[len] = 0;
	seq = pen_get_be64(at + key->mv_size - 8);
	if (pen_change_decode(value->mv_data, value->mv_size, name, seq, &change)) {
		pen_audit_say(audit->voice, PEN_INV_VALUES, "change %" PRIu64 " of flag %.128s is damaged",
			      seq, name);
		return;
	}
	free(change);
	if (!walk->damaged && seq > walk->total.last_change)
		pen_audit_say(audit->voice, PEN_INV_FLAGS,
			      "change %" PRIu64 " of flag %.128s is behind the newest one, %" PRIu64, seq,
			      name, walk->total.last_change);
}

static void visit_pins(struct pen_audit *audit, const MDB_val *key, const MDB_val *value)
{
	struct pen_flag_pin pins[PEN_FLAG_GATES_MAX];
	uint64_t id = key->mv_size == 9 ? pen_get_be64((const uint8_t *)key->mv_data + 1) : 0;

	if (!pen_audit_find_batch(audit, id))
		pen_audit_say(audit->voice, PEN_INV_FLAGS, "flags of batch " ID ", which is not there", id);
	else if (pen_pin_decode(value->mv_data, value->mv_size, id, pins) < 0)
		pen_audit_say(audit->voice, PEN_INV_VALUES,
			      "batch " ID ": the flags it was made under are damaged", id);
}

static void visit_ramp(struct pen_audit *audit, struct walk *walk, const MDB_val *key, const MDB_val *value)
{
	uint8_t be[PEN_FLAG_KEY_BYTES];
	MDB_val flag = { key->mv_size, be }, found;
	struct pen_ramp ramp;
	size_t len = key->mv_size - 1;

	if (key->mv_size < 2 || key->mv_size > PEN_FLAG_NAME_MAX + 1) {
		pen_audit_say(audit->voice, PEN_INV_FLAGS, "a ramp has an impossible key");
		return;
	}
	memcpy(be, key->mv_data, key->mv_size);
	be[0] = PEN_FLAG_ROW_FLAG;
	if (pen_ramp_decode(value->mv_data, value->mv_size, be + 1, len, &ramp))
		pen_audit_say(audit->voice, PEN_INV_VALUES, "the ramp of flag %.*s is damaged", (int)len,
			      (const char *)be + 1);
	else if (mdb_get(audit->txn, walk->dbi, &flag, &found))
		pen_audit_say(audit->voice, PEN_INV_FLAGS, "there is a ramp of flag %.*s, which is not there",
			      (int)len, (const char *)be + 1);
}

static void visit(struct pen_audit *audit, void *arg, const MDB_val *key, const MDB_val *value)
{
	const uint8_t *at = key->mv_data;
	char name[PEN_FLAG_NAME_MAX + 2] = "";

	switch (at[0]) {
	case PEN_FLAG_ROW_TOTAL:
		visit_total(audit, arg, key, value);
		return;
	case PEN_FLAG_ROW_FLAG:
		memcpy(name, at + 1, pen_min(key->mv_size - 1, sizeof(name) - 1));
		visit_flag(audit, arg, name, value);
		return;
	case PEN_FLAG_ROW_CHANGE:
		visit_change(audit, arg, key, value);
		return;
	case PEN_FLAG_ROW_PINS:
		visit_pins(audit, key, value);
		return;
	case PEN_FLAG_ROW_RAMP:
		visit_ramp(audit, arg, key, value);
		return;
	default:
		pen_audit_say(audit->voice, PEN_INV_FLAGS, "penstock.flags has a row of an unknown kind");
	}
}

void pen_audit_flags(struct pen_audit *audit)
{
	const char *name = pen_db_names[PEN_DB_FLAGS];
	struct walk walk = { .flags = 0 };

	/* A store of before there were flags has none until somebody opens it for writing. */
	if (mdb_dbi_open(audit->txn, name, 0, &walk.dbi) == MDB_NOTFOUND)
		return;
	if (pen_audit_walk(audit, name, name, visit, &walk, NULL) && !walk.damaged &&
	    walk.flags != walk.total.flags)
		pen_audit_say(audit->voice, PEN_INV_FLAGS,
			      "there are %" PRIu64 " flags, but %" PRIu64 " are counted", walk.flags,
			      walk.total.flags);
}
