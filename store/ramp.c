/* SPDX-License-Identifier: MIT */
#include "store/ramp.h"

#include "ring/base.h"
#include "store/flag.h"
#include "store/store_private.h"

int pen_ramp_put(struct pen_txn *txn, const char *name, const struct pen_ramp *ramp)
{
	struct pen_fmt_ramp fixed = {
		.every_ms = ramp->every_ms,
		.min_items = ramp->min_items,
		.step_ms = ramp->step_ms,
		.batches = ramp->batches,
		.items = ramp->items,
		.bad = ramp->bad,
		.step_count = ramp->step_count,
		.step = ramp->step,
		.max_error = ramp->max_error,
		.state = (uint8_t)ramp->state,
		.guarded = ramp->guarded,
	};
	uint8_t value[sizeof(fixed) + PEN_FLAG_NAME_MAX], key[PEN_FLAG_KEY_BYTES];
	size_t key_len = pen_flag_key(key, PEN_FLAG_ROW_RAMP, name), len = sizeof(fixed) + key_len - 1;

	memcpy(fixed.steps, ramp->steps, sizeof(fixed.steps));
	memcpy(value, &fixed, sizeof(fixed));
	memcpy(value + sizeof(fixed), key + 1, key_len - 1);
	pen_seal(value, len, PEN_KIND_RAMP, 1);
	return pen_txn_put(txn, PEN_DB_FLAGS, key, key_len, value, len, 0);
}

static bool sane(const struct pen_fmt_ramp *f)
{
	if (!f->step_count || f->step_count > PEN_RAMP_STEPS || f->step > f->step_count ||
	    f->state < PEN_RAMP_RUNNING || f->state > PEN_RAMP_DONE || f->guarded > 1)
		return false;
	for (uint32_t i = 0; i < f->step_count; i++)
		if (f->steps[i] > PEN_FLAG_WHOLE || (i && f->steps[i] <= f->steps[i - 1]))
			return false;
	return true;
}

int pen_ramp_decode(const void *value, size_t len, const void *name, size_t name_len, struct pen_ramp *ret)
{
	struct pen_fmt_ramp fixed;
	int rc = pen_unseal(value, len, sizeof(fixed), PEN_KIND_RAMP);

	if (rc)
		return rc;
	memcpy(&fixed, value, sizeof(fixed));
	if (len != sizeof(fixed) + name_len ||
	    memcmp((const uint8_t *)value + sizeof(fixed), name, name_len) != 0 || !sane(&fixed))
		return -PEN_STORE_DAMAGED;
	*ret = (struct pen_ramp){
		.size = sizeof(*ret),
		.step_count = fixed.step_count,
		.every_ms = fixed.every_ms,
		.max_error = fixed.max_error,
		.guarded = fixed.guarded,
		.min_items = fixed.min_items,
		.state = (enum pen_ramp_state)fixed.state,
		.step = fixed.step,
		.step_ms = fixed.step_ms,
		.batches = fixed.batches,
		.items = fixed.items,
		.bad = fixed.bad,
	};
	memcpy(ret->steps, fixed.steps, sizeof(ret->steps));
	return 0;
}

int pen_ramp_load(struct pen_txn *txn, const char *name, struct pen_ramp *ret)
{
	uint8_t key[PEN_FLAG_KEY_BYTES];
	size_t key_len = pen_flag_key(key, PEN_FLAG_ROW_RAMP, name), len;
	const void *value;
	int rc = pen_txn_get(txn, PEN_DB_FLAGS, key, key_len, &value, &len);

	return rc ? rc : pen_ramp_decode(value, len, key + 1, key_len - 1, ret);
}

int pen_ramp_get(struct pen_store *store, const char *name, struct pen_ramp *ret)
{
	uint8_t be[PEN_FLAG_KEY_BYTES];
	MDB_val key = { 0, be }, value;
	MDB_txn *mdb;
	int rc;

	if (!pen_flag_name_len(name) || !store->db[PEN_DB_FLAGS])
		return -PEN_NOT_FOUND;
	key.mv_size = pen_flag_key(be, PEN_FLAG_ROW_RAMP, name);
	rc = pen_read_begin(store, &mdb);
	if (rc)
		return rc;
	rc = pen_mdb_code(mdb_get(mdb, store->db[PEN_DB_FLAGS], &key, &value));
	if (!rc)
		rc = pen_ramp_decode(value.mv_data, value.mv_size, be + 1, key.mv_size - 1, ret);
	pen_read_end(store, mdb);
	return rc;
}

int pen_ramp_clear(struct pen_txn *txn, const char *name)
{
	uint8_t key[PEN_FLAG_KEY_BYTES];
	int rc = pen_txn_del(txn, PEN_DB_FLAGS, key, pen_flag_key(key, PEN_FLAG_ROW_RAMP, name));

	return rc == -PEN_NOT_FOUND ? 0 : rc;
}
