/* SPDX-License-Identifier: MIT */
#include "store/pin.h"

#include <errno.h>

#include "ring/base.h"
#include "store/store_private.h"

#define KEY_BYTES 9u

static void pin_key(uint8_t ret[KEY_BYTES], uint64_t batch)
{
	ret[0] = PEN_FLAG_ROW_PINS;
	pen_put_be64(ret + 1, batch);
}

int pen_pin_put(struct pen_txn *txn, uint64_t batch, const struct pen_flag_pin *pins, uint32_t count)
{
	struct pen_fmt_flag_pins head = { .id = batch, .count = count };
	uint8_t value[sizeof(head) + PEN_FLAG_GATES_MAX * (sizeof(struct pen_fmt_flag_pin) +
							   PEN_FLAG_NAME_MAX + PEN_FLAG_VARIANT_MAX)];
	uint8_t key[KEY_BYTES], *at = mempcpy(value, &head, sizeof(head));

	if (count > PEN_FLAG_GATES_MAX)
		return -E2BIG;
	for (uint32_t i = 0; i < count; i++) {
		const struct pen_flag_verdict *v = &pins[i].verdict;
		struct pen_fmt_flag_pin fixed = {
			.version = v->version,
			.bucket = v->bucket,
			.on = v->on,
			.reason = (uint8_t)v->reason,
			.error = (uint8_t)v->error,
			.name_len = (uint8_t)strnlen(pins[i].name, PEN_FLAG_NAME_MAX),
			.variant_len = (uint8_t)strnlen(v->variant, PEN_FLAG_VARIANT_MAX),
		};

		at = mempcpy(at, &fixed, sizeof(fixed));
		at = mempcpy(at, pins[i].name, fixed.name_len);
		at = mempcpy(at, v->variant, fixed.variant_len);
	}
	pen_seal(value, (size_t)(at - value), PEN_KIND_FLAG_PINS, 1);
	pin_key(key, batch);
	return pen_txn_put(txn, PEN_DB_FLAGS, key, sizeof(key), value, (size_t)(at - value), 0);
}

int pen_pin_decode(const void *value, size_t len, uint64_t batch, struct pen_flag_pin *ret)
{
	const uint8_t *at = (const uint8_t *)value + sizeof(struct pen_fmt_flag_pins), *end;
	struct pen_fmt_flag_pins head;
	int rc = pen_unseal(value, len, sizeof(head), PEN_KIND_FLAG_PINS);

	if (rc)
		return rc;
	memcpy(&head, value, sizeof(head));
	end = (const uint8_t *)value + len;
	if (head.id != batch || !head.count || head.count > PEN_FLAG_GATES_MAX)
		return -PEN_STORE_DAMAGED;
	for (uint32_t i = 0; i < head.count; i++) {
		struct pen_fmt_flag_pin fixed;

		if ((size_t)(end - at) < sizeof(fixed))
			return -PEN_STORE_DAMAGED;
		memcpy(&fixed, at, sizeof(fixed));
		at += sizeof(fixed);
		if ((size_t)(end - at) < (size_t)fixed.name_len + fixed.variant_len || !fixed.name_len ||
		    fixed.name_len > PEN_FLAG_NAME_MAX || fixed.variant_len > PEN_FLAG_VARIANT_MAX ||
		    fixed.on > 1 || !fixed.reason || fixed.reason > PEN_FLAG_ERROR ||
		    fixed.error > PEN_FLAG_GENERAL)
			return -PEN_STORE_DAMAGED;
		ret[i] = (struct pen_flag_pin){ .verdict = { .on = fixed.on,
							     .reason = fixed.reason,
							     .error = fixed.error,
							     .bucket = fixed.bucket,
							     .version = fixed.version } };
		memcpy(ret[i].name, at, fixed.name_len);
		memcpy(ret[i].verdict.variant, at + fixed.name_len, fixed.variant_len);
		at += fixed.name_len + fixed.variant_len;
	}
	return at == end ? (int)head.count : -PEN_STORE_DAMAGED;
}

int pen_pin_load(struct pen_txn *txn, uint64_t batch, struct pen_flag_pin *ret)
{
	uint8_t key[KEY_BYTES];
	const void *value;
	size_t len;
	int rc;

	pin_key(key, batch);
	rc = pen_txn_get(txn, PEN_DB_FLAGS, key, sizeof(key), &value, &len);
	return rc ? rc == -PEN_NOT_FOUND ? 0 : rc : pen_pin_decode(value, len, batch, ret);
}

int pen_pin_read(struct pen_store *store, uint64_t batch, struct pen_flag_pin *ret)
{
	uint8_t be[KEY_BYTES];
	MDB_val key = { sizeof(be), be }, value;
	MDB_txn *mdb;
	int rc;

	if (!store->db[PEN_DB_FLAGS])
		return 0;
	pin_key(be, batch);
	rc = pen_read_begin(store, &mdb);
	if (rc)
		return rc;
	rc = pen_mdb_code(mdb_get(mdb, store->db[PEN_DB_FLAGS], &key, &value));
	rc = rc ? rc == -PEN_NOT_FOUND ? 0 : rc : pen_pin_decode(value.mv_data, value.mv_size, batch, ret);
	pen_read_end(store, mdb);
	return rc;
}

int pen_pin_clear(struct pen_txn *txn, uint64_t batch)
{
	uint8_t key[KEY_BYTES];
	int rc;

	pin_key(key, batch);
	rc = pen_txn_del(txn, PEN_DB_FLAGS, key, sizeof(key));
	return rc == -PEN_NOT_FOUND ? 0 : rc;
}
