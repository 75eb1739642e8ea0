/* SPDX-License-Identifier: MIT */
/*
 * audit_dedup - the keys of submissions: their rows in penstock.meta, the batches they name, and when they end
 *
 * The rows come first, with penstock.meta, in the order of their hashes.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "ring/base.h"
#include "store/audit.h"
#include "store/dedup.h"

#define ID "%016" PRIx64

static struct pen_audit_key *add(struct pen_audit *audit)
{
	if (audit->key_count == audit->key_cap) {
		struct pen_audit_key *grown;

		audit->key_cap = audit->key_cap ? 2 * audit->key_cap : 64;
		grown = realloc(audit->keys, audit->key_cap * sizeof(*grown));
		if (!grown)
			abort(); /* the guard says where */
		audit->keys = grown;
	}
	return &audit->keys[audit->key_count++];
}

bool pen_audit_dedup_row(struct pen_audit *audit, const MDB_val *key, const MDB_val *value)
{
	struct pen_audit_key *into;
	struct pen_dedup *dedup;
	const uint8_t *row;

	if (key->mv_size != PEN_DEDUP_ROW_LEN ||
	    memcmp(key->mv_data, PEN_DEDUP_WORD, strlen(PEN_DEDUP_WORD)) != 0)
		return false;
	audit->notes_seen++;
	row = (const uint8_t *)key->mv_data + strlen(PEN_DEDUP_WORD);
	if (pen_dedup_decode(value->mv_data, value->mv_size, row, &dedup)) {
		pen_audit_say(audit->voice, PEN_INV_VALUES,
			      "penstock.meta, `" PEN_DEDUP_WORD "`: the value is damaged");
		return true;
	}
	into = add(audit);
	*into = (struct pen_audit_key){
		.batch = dedup->fixed.batch,
		.until_ms = dedup->fixed.until_ms,
		.owner = strdup(dedup->owner),
	};
	memcpy(into->row, row, sizeof(into->row));
	free(dedup);
	if (!into->owner)
		abort();
	return true;
}

static int compare(const void *row, const void *key)
{
	return memcmp(row, ((const struct pen_audit_key *)key)->row, 16);
}

bool pen_audit_dedup_index(const struct pen_audit *audit, const uint8_t *at)
{
	const struct pen_audit_key *key =
		audit->key_count ? bsearch(at + 8, audit->keys, audit->key_count, sizeof(*key), compare)
				 : NULL;

	return key && key->until_ms == pen_get_be64(at);
}

uint64_t pen_audit_dedup_ends(const struct pen_audit *audit)
{
	uint64_t n = 0;

	for (size_t i = 0; i < audit->key_count; i++)
		n += audit->keys[i].until_ms != 0;
	return n;
}

void pen_audit_dedup(struct pen_audit *audit)
{
	for (size_t i = 0; i < audit->key_count; i++) {
		const struct pen_audit_key *key = &audit->keys[i];
		const struct pen_audit_batch *batch = pen_audit_find_batch(audit, key->batch);

		if (!batch)
			pen_audit_say(audit->voice, PEN_INV_DEDUP,
				      "a key is taken by batch " ID ", which is not there", key->batch);
		else if (memcmp(batch->dedup, key->row, sizeof(key->row)) != 0)
			pen_audit_say(audit->voice, PEN_INV_DEDUP,
				      "a key is taken by batch " ID ", whose order does not name it",
				      key->batch);
		else if (batch->owner && strcmp(batch->owner, key->owner) != 0)
			pen_audit_say(audit->voice, PEN_INV_DEDUP,
				      "a key of owner '%s' is taken by batch " ID ", which is of '%s'",
				      key->owner, key->batch, batch->owner);
	}
}
