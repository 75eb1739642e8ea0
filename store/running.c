/* SPDX-License-Identifier: MIT */
#include "store/running.h"

#include <inttypes.h>
#include <stdlib.h>

#include "ring/base.h"
#include "store/index.h"
#include "store/ledger.h"
#include "store/lock.h"
#include "store/store_private.h"

struct count {
	struct pen_txn *txn;
	uint64_t but;
	const char *owner;
	struct pen_standing *standing;
	uint32_t all, mine;
};

static int look(struct count *c, uint64_t id, uint8_t state)
{
	struct pen_facts *facts = NULL;
	int rc;

	if (id == c->but)
		return 0;
	if (state == PEN_PAUSED) {
		rc = pen_ledger_load(c->txn, id, NULL, c->standing);
		/* One that never began rests without a process; no file has to be opened for it. */
		if (rc || !c->standing->fixed.started_ms)
			return rc;
	}
	if (!pen_lock_holder(c->txn->store, id))
		return 0;
	c->all++;
	if (!c->owner)
		return 0;
	rc = pen_ledger_load(c->txn, id, &facts, NULL);
	if (!rc)
		c->mine += !strcmp(facts->owner, c->owner);
	free(facts);
	return rc;
}

static int count_state(struct count *c, uint8_t state)
{
	struct pen_index_key from = pen_index_state(state, 0);
	MDB_val key = { from.len, from.bytes }, value;
	MDB_cursor *cur;
	int code = 0, rc = mdb_cursor_open(c->txn->mdb, c->txn->store->db[PEN_DB_INDEX], &cur);

	if (rc)
		return pen_mdb_code(rc);
	for (rc = mdb_cursor_get(cur, &key, &value, MDB_SET_RANGE);
	     !rc && !code && key.mv_size == from.len && !memcmp(key.mv_data, from.bytes, 2);
	     rc = mdb_cursor_get(cur, &key, &value, MDB_NEXT))
		code = look(c, pen_get_be64((const uint8_t *)key.mv_data + 2), state);
	mdb_cursor_close(cur);
	return code ? code : rc && rc != MDB_NOTFOUND ? pen_mdb_code(rc) : 0;
}

int pen_running_count(struct pen_txn *txn, uint64_t but, const char *owner, uint32_t *ret_all,
		      uint32_t *ret_owner)
{
	struct count c = { .txn = txn, .but = but, .owner = owner, .standing = malloc(sizeof(*c.standing)) };
	int rc = c.standing ? count_state(&c, PEN_RUNNING) : -PEN_MEMORY;

	if (!rc)
		rc = count_state(&c, PEN_PAUSED);
	free(c.standing);
	if (rc)
		return rc;
	*ret_all = c.all;
	*ret_owner = c.mine;
	return 0;
}

int pen_running_check(struct pen_txn *txn, const struct pen_caps *caps, uint64_t batch, const char *owner,
		      struct pen_failure *why)
{
	uint32_t all, mine;
	int rc;

	if (!caps->all && !caps->owner)
		return 0;
	rc = pen_running_count(txn, batch, caps->owner ? owner : NULL, &all, &mine);
	if (rc)
		return pen_fail(why, rc, 0, "the batches that run cannot be counted");
	if (caps->all && all >= caps->all)
		return pen_fail(why, -PEN_AT_CAP, 0,
				"%" PRIu32 " batches run in this store; at most %" PRIu32 " may", all,
				caps->all);
	if (caps->owner && mine >= caps->owner)
		return pen_fail(why, -PEN_AT_CAP, 0,
				"%" PRIu32 " batches of '%s' run in this store; at most %" PRIu32 " may",
				mine, owner, caps->owner);
	return 0;
}
