/* SPDX-License-Identifier: MIT */
/*
 * ledger - the two values of a batch, in bytes and back
 *
 * Lengths that come from the store are checked against the bytes that are there before anything is read;
 * lengths that come from a caller are added with overflow checks. The public calls over batches are in batch.c.
 */
#include "store/ledger.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "ring/assert.h"
#include "ring/base.h"
#include "store/control.h"
#include "store/index.h"
#include "store/store_private.h"
#include "store/totals.h"

#define FACTS_MAX (1u << 29)	  /* bytes of one batch's facts: 65,536 sources of 4 KiB, twice */
#define EPOCH_MS 1577836800000ull /* 2020-01-01 */
#define RANDOM_BITS 22

/* ---- facts ----------------------------------------------------------------------------------- */

struct piece {
	const char *text;
	size_t len;
};

static size_t text_len(const char *text)
{
	return text ? strlen(text) : 0;
}

static void pieces_of(const struct pen_facts *facts, struct piece piece[PEN_STR_COUNT])
{
	piece[PEN_STR_DATASET] = (struct piece){ facts->dataset, text_len(facts->dataset) };
	piece[PEN_STR_KEY] = (struct piece){ facts->key, text_len(facts->key) };
	piece[PEN_STR_OWNER] = (struct piece){ facts->owner, text_len(facts->owner) };
	piece[PEN_STR_CORRELATION] = (struct piece){ facts->correlation_id, text_len(facts->correlation_id) };
	piece[PEN_STR_IDEMPOTENCY] =
		(struct piece){ facts->idempotency_key, text_len(facts->idempotency_key) };
	piece[PEN_STR_SOURCES] = (struct piece){ facts->sources, facts->sources ? facts->sources_len : 0 };
	piece[PEN_STR_LABELS] = (struct piece){ facts->labels, facts->labels ? facts->labels_len : 0 };
}

static int put_facts(struct pen_txn *txn, const struct pen_facts *facts)
{
	struct piece piece[PEN_STR_COUNT];
	struct pen_fmt_batch fixed = facts->fixed;
	size_t size = sizeof(fixed);
	uint8_t key[8], *value, *at;
	int rc;

	pieces_of(facts, piece);
	for (size_t i = 0; i < PEN_COUNT(piece); i++)
		if (piece[i].len > FACTS_MAX || (size += 4 + piece[i].len) > FACTS_MAX)
			return -E2BIG;
	value = malloc(size);
	if (!value)
		return -PEN_MEMORY;
	memcpy(value, &fixed, sizeof(fixed));
	at = value + sizeof(fixed);
	for (size_t i = 0; i < PEN_COUNT(piece); i++) {
		uint32_t len = (uint32_t)piece[i].len;

		memcpy(at, &len, 4);
		if (len)
			memcpy(at + 4, piece[i].text, len);
		at += 4 + len;
	}
	pen_seal(value, size, PEN_KIND_BATCH, 1);
	pen_put_be64(key, fixed.id);
	rc = pen_txn_put(txn, PEN_DB_BATCHES, key, sizeof(key), value, size, 0);
	free(value);
	return rc;
}

/* Finds the strings in the bytes behind the fixed part: they must fill them exactly, and only lists may hold NULs. */
static bool find_pieces(const uint8_t *at, size_t left, struct piece piece[PEN_STR_COUNT])
{
	for (size_t i = 0; i < PEN_STR_COUNT; i++) {
		uint32_t len;

		if (left < 4)
			return false;
		memcpy(&len, at, 4);
		at += 4;
		left -= 4;
		if (len > left)
			return false;
		if (i != PEN_STR_SOURCES && i != PEN_STR_LABELS && memchr(at, 0, len))
			return false;
		piece[i] = (struct piece){ (const char *)at, len };
		at += len;
		left -= len;
	}
	return left == 0;
}

int pen_ledger_decode_facts(const void *value, size_t len, uint64_t id, struct pen_facts **ret)
{
	struct piece piece[PEN_STR_COUNT];
	struct pen_facts *facts;
	const char *copy[PEN_STR_COUNT];
	char *to;
	int rc;

	rc = pen_unseal(value, len, sizeof(struct pen_fmt_batch), PEN_KIND_BATCH);
	if (rc)
		return rc;
	if (len > FACTS_MAX || !find_pieces((const uint8_t *)value + sizeof(struct pen_fmt_batch),
					    len - sizeof(struct pen_fmt_batch), piece))
		return -PEN_STORE_DAMAGED;
	/* Each string's NUL takes the place of its four bytes of length. */
	facts = malloc(sizeof(*facts) + len);
	if (!facts)
		return -PEN_MEMORY;
	memcpy(&facts->fixed, value, sizeof(facts->fixed));
	if (facts->fixed.id != id || facts->fixed.format >= PEN_FORMAT_COUNT ||
	    facts->fixed.key_kind > PEN_KEY_GIVEN || facts->fixed.on_duplicate > PEN_DUP_REJECT ||
	    facts->fixed.validate > PEN_VALIDATE_FAST || facts->fixed.results > 1 || facts->fixed.drops > 1) {
		free(facts);
		return -PEN_STORE_DAMAGED;
	}
	to = (char *)(facts + 1);
	for (size_t i = 0; i < PEN_COUNT(piece); i++) {
		copy[i] = to;
		memcpy(to, piece[i].text, piece[i].len);
		to[piece[i].len] = 0;
		to += piece[i].len + 1;
	}
	facts->dataset = copy[PEN_STR_DATASET];
	facts->key = copy[PEN_STR_KEY];
	facts->owner = copy[PEN_STR_OWNER];
	facts->correlation_id = copy[PEN_STR_CORRELATION];
	facts->idempotency_key = copy[PEN_STR_IDEMPOTENCY];
	facts->sources = copy[PEN_STR_SOURCES];
	facts->sources_len = piece[PEN_STR_SOURCES].len;
	facts->labels = copy[PEN_STR_LABELS];
	facts->labels_len = piece[PEN_STR_LABELS].len;
	*ret = facts;
	return 0;
}

size_t pen_ledger_list_count(const char *list, size_t len)
{
	size_t n = len ? 1 : 0;

	for (size_t i = 0; i < len; i++)
		n += list[i] == 0;
	return n;
}

const char *pen_ledger_list_at(const char *list, size_t len, size_t i)
{
	const char *end = list + len;

	if (!len)
		return NULL;
	for (; i; i--) {
		list = memchr(list, 0, (size_t)(end - list));
		if (!list)
			return NULL;
		list++;
	}
	return list;
}

/* ---- state ----------------------------------------------------------------------------------- */

static int index_standing(struct pen_txn *txn, const struct pen_fmt_state *s, bool there)
{
	struct pen_index_key state = pen_index_state(s->state, s->id),
			     ended = pen_index_ended(s->ended_ms, s->id);
	int rc = there ? pen_index_add(txn, &state, 0) : pen_index_remove(txn, &state);

	if (!rc && pen_ledger_over(s->state))
		rc = there ? pen_index_add(txn, &ended, 0) : pen_index_remove(txn, &ended);
	return rc;
}

int pen_ledger_index(struct pen_txn *txn, const char *owner, const struct pen_standing *standing)
{
	struct pen_index_key key = pen_index_owner(owner, standing->fixed.id);
	int rc = pen_index_add(txn, &key, 0);

	return rc ? rc : index_standing(txn, &standing->fixed, true);
}

/* Most groups change neither: one look at the old value. */
static int move_index(struct pen_txn *txn, const struct pen_fmt_state *s)
{
	struct pen_fmt_state old;
	struct pen_control wish;
	const void *value;
	uint8_t key[8];
	size_t len;
	int rc;

	pen_put_be64(key, s->id);
	rc = pen_txn_get(txn, PEN_DB_STATES, key, sizeof(key), &value, &len);
	if (rc) /* pen_ledger_create enters a new one */
		return rc == -PEN_NOT_FOUND ? pen_totals_move(txn, NULL, s) : rc;
	if (len < sizeof(old))
		return -PEN_STORE_DAMAGED;
	memcpy(&old, value, sizeof(old));
	rc = pen_totals_move(txn, &old, s);
	if (rc)
		return rc;
	if (old.state == s->state && (!pen_ledger_over(s->state) || old.ended_ms == s->ended_ms))
		return 0;
	rc = index_standing(txn, &old, false);
	if (!rc)
		rc = index_standing(txn, s, true);
	/* Whichever way it ended, nobody can want anything of it; who cancelled it, and why, is kept. */
	if (rc || !pen_ledger_over(s->state))
		return rc;
	if (s->state == PEN_CANCELLED && !pen_control_load(txn, s->id, &wish) && wish.want == PEN_WANT_CANCEL)
		return 0;
	return pen_control_clear(txn, s->id);
}

int pen_ledger_save(struct pen_txn *txn, const struct pen_standing *standing)
{
	uint8_t value[sizeof(struct pen_fmt_state) + PEN_PATH_BYTES_MAX], key[8];
	struct pen_fmt_state fixed = standing->fixed;
	size_t path_len = strnlen(standing->path, sizeof(standing->path));
	int rc;

	if (path_len > PEN_PATH_BYTES_MAX)
		return -ENAMETOOLONG;
	rc = move_index(txn, &fixed);
	if (rc)
		return rc;
	fixed.path_len = (uint32_t)path_len;
	memcpy(value, &fixed, sizeof(fixed));
	memcpy(value + sizeof(fixed), standing->path, path_len);
	pen_seal(value, sizeof(fixed) + path_len, PEN_KIND_STATE, 1);
	pen_put_be64(key, fixed.id);
	return pen_txn_put(txn, PEN_DB_STATES, key, sizeof(key), value, sizeof(fixed) + path_len, 0);
}

int pen_ledger_decode_standing(const void *value, size_t len, uint64_t id, struct pen_standing *ret)
{
	const uint8_t *path = (const uint8_t *)value + sizeof(struct pen_fmt_state);
	struct pen_fmt_state fixed;
	int rc;

	rc = pen_unseal(value, len, sizeof(fixed), PEN_KIND_STATE);
	if (rc)
		return rc;
	memcpy(&fixed, value, sizeof(fixed));
	if (fixed.id != id || fixed.path_len != len - sizeof(fixed) || fixed.path_len > PEN_PATH_BYTES_MAX ||
	    memchr(path, 0, fixed.path_len) || fixed.state < PEN_QUEUED || fixed.state > PEN_CANCELLED ||
	    fixed.durability > PEN_DURABLE_RELAXED)
		return -PEN_STORE_DAMAGED;
	ret->fixed = fixed;
	memcpy(ret->path, path, fixed.path_len);
	ret->path[fixed.path_len] = 0;
	return 0;
}

/* ---- batches --------------------------------------------------------------------------------- */

static bool has_identity(const uint8_t identity[16])
{
	static const uint8_t none[16];

	return memcmp(identity, none, sizeof(none)) != 0;
}

uint64_t pen_ledger_newest_id(struct pen_txn *txn)
{
	MDB_val key, value;
	MDB_cursor *cur;
	uint64_t id = 0;

	if (mdb_cursor_open(txn->mdb, txn->store->db[PEN_DB_BATCHES], &cur))
		return 0;
	if (!mdb_cursor_get(cur, &key, &value, MDB_LAST) && key.mv_size == 8)
		id = pen_get_be64(key.mv_data);
	mdb_cursor_close(cur);
	return id;
}

uint64_t pen_ledger_new_id(struct pen_txn *txn)
{
	uint64_t now_ms = pen_real_ms(pen_store_clock(txn->store));
	uint64_t ms = now_ms > EPOCH_MS ? now_ms - EPOCH_MS : 0, last = pen_ledger_newest_id(txn), id;
	uint32_t noise = 0;

	/* Ids need not be secret: without entropy (early boot) they are still unique, see below. */
	if (getrandom(&noise, sizeof(noise), GRND_NONBLOCK) != sizeof(noise))
		noise = (uint32_t)pen_mono_ns(pen_store_clock(txn->store));
	id = ms << RANDOM_BITS | (noise & ((1u << RANDOM_BITS) - 1));
	/* Two in one millisecond, or a clock that was set back: the newest batch still has the highest id. */
	if (id <= last)
		id = last + 1 + (noise & 0xff);
	pen_assert(id && id > last && id != UINT64_MAX);
	return id;
}

int pen_ledger_create(struct pen_txn *txn, const struct pen_facts *facts, const struct pen_standing *standing)
{
	int rc;

	pen_assert(facts->fixed.id && facts->fixed.id == standing->fixed.id);
	rc = put_facts(txn, facts);
	if (!rc)
		rc = pen_ledger_save(txn, standing);
	if (!rc)
		rc = pen_ledger_index(txn, facts->owner ? facts->owner : "", standing);
	if (!rc && has_identity(facts->fixed.identity))
		rc = pen_txn_put(txn, PEN_DB_IDENTITY, facts->fixed.identity, sizeof(facts->fixed.identity),
				 &facts->fixed.id, sizeof(facts->fixed.id), 0);
	return rc;
}

int pen_ledger_restate(struct pen_txn *txn, const struct pen_facts *facts,
		       const struct pen_standing *standing)
{
	int rc = put_facts(txn, facts);

	return rc ? rc : pen_ledger_save(txn, standing);
}

int pen_ledger_find(struct pen_txn *txn, const uint8_t identity[16], uint64_t *ret_id)
{
	const void *value;
	size_t len;
	int rc;

	if (!has_identity(identity))
		return -PEN_NOT_FOUND;
	rc = pen_txn_get(txn, PEN_DB_IDENTITY, identity, 16, &value, &len);
	if (rc)
		return rc;
	if (len != sizeof(*ret_id))
		return -PEN_STORE_DAMAGED;
	memcpy(ret_id, value, sizeof(*ret_id));
	return 0;
}

static int load(struct pen_store *store, MDB_txn *mdb, uint64_t id, struct pen_facts **ret_facts,
		struct pen_standing *ret)
{
	struct pen_facts *facts = NULL;
	MDB_val value;
	int rc;

	rc = pen_batch_row(store, mdb, PEN_DB_BATCHES, id, &value);
	if (rc)
		return rc;
	if (ret_facts)
		rc = pen_ledger_decode_facts(value.mv_data, value.mv_size, id, &facts);
	if (!rc && ret) {
		rc = pen_batch_row(store, mdb, PEN_DB_STATES, id, &value);
		/* Facts without a state: the two are written together. */
		rc = rc == -PEN_NOT_FOUND ? -PEN_STORE_DAMAGED : rc;
		if (!rc)
			rc = pen_ledger_decode_standing(value.mv_data, value.mv_size, id, ret);
	}
	if (rc) {
		free(facts);
		return rc;
	}
	if (ret_facts)
		*ret_facts = facts;
	return 0;
}

int pen_ledger_load(struct pen_txn *txn, uint64_t id, struct pen_facts **ret_facts, struct pen_standing *ret)
{
	return load(txn->store, txn->mdb, id, ret_facts, ret);
}

int pen_ledger_read(struct pen_store *store, uint64_t id, struct pen_facts **ret_facts,
		    struct pen_standing *ret)
{
	MDB_txn *mdb;
	int rc;

	rc = pen_read_begin(store, &mdb);
	if (rc)
		return rc;
	rc = load(store, mdb, id, ret_facts, ret);
	pen_read_end(store, mdb);
	return rc;
}

int pen_ledger_look(struct pen_store *store, const uint8_t identity[16], uint64_t *ret_id)
{
	MDB_val key = { 16, (void *)(uintptr_t)identity }, value;
	MDB_txn *mdb;
	int rc;

	if (!has_identity(identity))
		return -PEN_NOT_FOUND;
	rc = pen_read_begin(store, &mdb);
	if (rc)
		return rc;
	rc = mdb_get(mdb, store->db[PEN_DB_IDENTITY], &key, &value);
	rc = rc == MDB_NOTFOUND ? -PEN_NOT_FOUND : pen_mdb_code(rc);
	if (!rc && value.mv_size != sizeof(*ret_id))
		rc = -PEN_STORE_DAMAGED;
	if (!rc)
		memcpy(ret_id, value.mv_data, sizeof(*ret_id));
	pen_read_end(store, mdb);
	return rc;
}
