/* SPDX-License-Identifier: MIT */
#include "store/flag.h"

#include <stdlib.h>

#include "ring/base.h"
#include "store/store_private.h"

size_t pen_flag_name_len(const char *name)
{
	static const char good[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
	size_t len = name ? strspn(name, good) : 0;

	return len <= PEN_FLAG_NAME_MAX && len && !name[len] ? len : 0;
}

size_t pen_flag_key(uint8_t ret[PEN_FLAG_KEY_BYTES], enum pen_flag_row row, const char *name)
{
	size_t len = strnlen(name, PEN_FLAG_NAME_MAX);

	ret[0] = (uint8_t)row;
	memcpy(ret + 1, name, len);
	return len + 1;
}

uint8_t *pen_flag_put_text(uint8_t *at, const void *text, size_t len)
{
	uint32_t n = (uint32_t)len;

	at = mempcpy(at, &n, 4);
	return len ? mempcpy(at, text, len) : at;
}

const uint8_t *pen_flag_text(const uint8_t *at, size_t *left, const char **ret, size_t *ret_len)
{
	uint32_t len;

	if (!at || *left < 4)
		return NULL;
	memcpy(&len, at, 4);
	*left -= 4;
	if (len > *left)
		return NULL;
	*left -= len;
	*ret = (const char *)at + 4;
	*ret_len = len;
	return at + 4 + len;
}

/* ---- one flag -------------------------------------------------------------------------------- */

enum string { NAME, ID, SALT, METADATA, WHITELIST, BLACKLIST, VARIANTS, STRINGS };

static size_t list_bytes(const char *const *at, size_t count)
{
	size_t n = 0;

	for (size_t i = 0; i < count; i++)
		n += strlen(at[i]) + 1;
	return n;
}

static uint8_t *put_list(uint8_t *at, const char *const *list, size_t count)
{
	uint32_t bytes = (uint32_t)list_bytes(list, count);

	at = mempcpy(at, &bytes, 4);
	for (size_t i = 0; i < count; i++)
		at = mempcpy(at, list[i], strlen(list[i]) + 1);
	return at;
}

static uint8_t *put_variants(uint8_t *at, const struct pen_flag *flag)
{
	uint32_t bytes = 0;
	uint8_t *head = at;

	at += 4;
	for (size_t i = 0; i < flag->variant_count; i++) {
		at = mempcpy(at, &flag->variants[i].weight, 4);
		at = mempcpy(at, flag->variants[i].name, strlen(flag->variants[i].name) + 1);
	}
	bytes = (uint32_t)(at - head - 4);
	memcpy(head, &bytes, 4);
	return at;
}

static int encode(const struct pen_flag *flag, uint8_t **ret, size_t *ret_len)
{
	struct pen_fmt_flag fixed = {
		.created_ms = flag->created_ms,
		.updated_ms = flag->updated_ms,
		.version = flag->version,
		.rollout = flag->rollout,
		.whitelist = (uint32_t)flag->whitelist_count,
		.blacklist = (uint32_t)flag->blacklist_count,
		.variants = (uint32_t)flag->variant_count,
		.enabled = flag->enabled,
		.bucketing = (uint8_t)flag->bucketing,
	};
	const char *const texts[] = { flag->name, flag->id, flag->salt, flag->metadata };
	size_t size = sizeof(fixed) + 4 * (size_t)STRINGS +
		      list_bytes(flag->whitelist, flag->whitelist_count) +
		      list_bytes(flag->blacklist, flag->blacklist_count) +
		      flag->variant_count * (PEN_FLAG_VARIANT_MAX + 5);
	uint8_t *value, *at;

	for (size_t i = 0; i < PEN_COUNT(texts); i++)
		size += strlen(texts[i]);
	value = malloc(size);
	if (!value)
		return -PEN_MEMORY;
	at = mempcpy(value, &fixed, sizeof(fixed));
	for (size_t i = 0; i < PEN_COUNT(texts); i++)
		at = pen_flag_put_text(at, texts[i], strlen(texts[i]));
	at = put_list(at, flag->whitelist, flag->whitelist_count);
	at = put_list(at, flag->blacklist, flag->blacklist_count);
	at = put_variants(at, flag);
	*ret_len = (size_t)(at - value);
	pen_seal(value, *ret_len, PEN_KIND_FLAG, 1);
	*ret = value;
	return 0;
}

/* Points at the names in text: as many as there should be, each above the one before. */
static bool point(const char **ret, uint32_t count, const char *text, size_t len)
{
	const char *end = text + len;

	for (uint32_t i = 0; i < count; i++) {
		size_t n = strnlen(text, (size_t)(end - text));

		if (text == end || text + n == end || !n || n > PEN_FLAG_TEXT_MAX ||
		    (i && strcmp(ret[i - 1], text) >= 0))
			return false;
		ret[i] = text;
		text += n + 1;
	}
	return text == end;
}

static bool point_variants(struct pen_flag_variant *ret, uint32_t count, const char *text, size_t len)
{
	const char *end = text + len;
	uint64_t sum = 0;

	for (uint32_t i = 0; i < count; i++) {
		size_t n = end - text > 4 ? strnlen(text + 4, (size_t)(end - text) - 4) : 0;

		if (!n || n > PEN_FLAG_VARIANT_MAX || text + 4 + n == end)
			return false;
		memcpy(&ret[i].weight, text, 4);
		ret[i].name = text + 4;
		sum += ret[i].weight;
		text += 4 + n + 1;
	}
	return text == end && sum <= INT32_MAX && (sum || !count);
}

/* The strings of a row, in a block of their own behind the struct and its tables. */
static bool fill(struct pen_flag *flag, const struct pen_fmt_flag *fixed, const char **tables, char *to,
		 const char *const text[STRINGS], const size_t len[STRINGS])
{
	const char *copy[STRINGS];
	struct pen_flag_variant *variants =
		(struct pen_flag_variant *)(tables + fixed->whitelist + fixed->blacklist);

	for (int i = 0; i < STRINGS; i++) {
		copy[i] = to;
		to = mempcpy(to, text[i], len[i]);
		*to++ = 0;
		if (i < WHITELIST && strlen(copy[i]) != len[i])
			return false;
	}
	*flag = (struct pen_flag){
		.id = copy[ID],
		.name = copy[NAME],
		.enabled = fixed->enabled,
		.rollout = fixed->rollout,
		.whitelist = tables,
		.blacklist = tables + fixed->whitelist,
		.whitelist_count = fixed->whitelist,
		.blacklist_count = fixed->blacklist,
		.metadata = copy[METADATA],
		.created_ms = fixed->created_ms,
		.updated_ms = fixed->updated_ms,
		.salt = copy[SALT],
		.bucketing = fixed->bucketing,
		.variants = variants,
		.variant_count = fixed->variants,
		.version = fixed->version,
	};
	return point(tables, fixed->whitelist, copy[WHITELIST], len[WHITELIST]) &&
	       point(tables + fixed->whitelist, fixed->blacklist, copy[BLACKLIST], len[BLACKLIST]) &&
	       point_variants(variants, fixed->variants, copy[VARIANTS], len[VARIANTS]);
}

static bool sane(const struct pen_fmt_flag *f, const size_t len[STRINGS])
{
	return f->rollout <= PEN_FLAG_WHOLE && f->enabled <= 1 && f->bucketing <= PEN_FLAG_UNLEASH &&
	       f->whitelist <= PEN_FLAG_LIST_MAX && f->blacklist <= PEN_FLAG_LIST_MAX &&
	       f->variants <= PEN_FLAG_VARIANTS_MAX && f->version && len[SALT] <= PEN_FLAG_TEXT_MAX &&
	       len[METADATA] <= PEN_FLAG_METADATA_MAX;
}

int pen_flag_decode(const void *value, size_t len, const void *name, size_t name_len, struct pen_flag **ret)
{
	const uint8_t *at = (const uint8_t *)value + sizeof(struct pen_fmt_flag);
	const char *text[STRINGS], **tables;
	struct pen_fmt_flag fixed;
	size_t left, lens[STRINGS];
	struct pen_flag *flag;
	int rc = pen_unseal(value, len, sizeof(fixed), PEN_KIND_FLAG);

	if (rc)
		return rc;
	memcpy(&fixed, value, sizeof(fixed));
	left = len - sizeof(fixed);
	for (int i = 0; i < STRINGS && at; i++)
		at = pen_flag_text(at, &left, &text[i], &lens[i]);
	if (!at || left || !sane(&fixed, lens) || lens[NAME] != name_len ||
	    memcmp(text[NAME], name, name_len) != 0)
		return -PEN_STORE_DAMAGED;
	flag = malloc(sizeof(*flag) + ((size_t)fixed.whitelist + fixed.blacklist) * sizeof(*tables) +
		      fixed.variants * sizeof(struct pen_flag_variant) + len + STRINGS);
	if (!flag)
		return -PEN_MEMORY;
	tables = (const char **)(flag + 1);
	if (!fill(flag, &fixed, tables,
		  (char *)((struct pen_flag_variant *)(tables + fixed.whitelist + fixed.blacklist) +
			   fixed.variants),
		  text, lens)) {
		free(flag);
		return -PEN_STORE_DAMAGED;
	}
	*ret = flag;
	return 0;
}

/* ---- rows ------------------------------------------------------------------------------------ */

int pen_flag_put(struct pen_txn *txn, const struct pen_flag *flag)
{
	uint8_t key[PEN_FLAG_KEY_BYTES], *value;
	size_t len;
	int rc = encode(flag, &value, &len);

	if (rc)
		return rc;
	rc = pen_txn_put(txn, PEN_DB_FLAGS, key, pen_flag_key(key, PEN_FLAG_ROW_FLAG, flag->name), value, len,
			 0);
	free(value);
	return rc;
}

int pen_flag_del(struct pen_txn *txn, const char *name)
{
	uint8_t key[PEN_FLAG_KEY_BYTES];

	return pen_txn_del(txn, PEN_DB_FLAGS, key, pen_flag_key(key, PEN_FLAG_ROW_FLAG, name));
}

int pen_flag_load(struct pen_txn *txn, const char *name, struct pen_flag **ret)
{
	uint8_t key[PEN_FLAG_KEY_BYTES];
	size_t key_len = pen_flag_key(key, PEN_FLAG_ROW_FLAG, name), len;
	const void *value;
	int rc = pen_txn_get(txn, PEN_DB_FLAGS, key, key_len, &value, &len);

	return rc ? rc : pen_flag_decode(value, len, key + 1, key_len - 1, ret);
}

static int read_total(struct pen_store *store, MDB_txn *mdb, struct pen_fmt_flag_total *ret)
{
	uint8_t be = PEN_FLAG_ROW_TOTAL;
	MDB_val key = { 1, &be }, value;
	int rc = pen_mdb_code(mdb_get(mdb, store->db[PEN_DB_FLAGS], &key, &value));

	*ret = (struct pen_fmt_flag_total){ .flags = 0 };
	if (rc)
		return rc == -PEN_NOT_FOUND ? 0 : rc;
	rc = pen_unseal(value.mv_data, value.mv_size, sizeof(*ret), PEN_KIND_FLAG_TOTAL);
	if (!rc)
		memcpy(ret, value.mv_data, sizeof(*ret));
	return rc;
}

int pen_flag_total_load(struct pen_txn *txn, struct pen_fmt_flag_total *ret)
{
	return read_total(txn->store, txn->mdb, ret);
}

int pen_flag_total_save(struct pen_txn *txn, struct pen_fmt_flag_total *total)
{
	uint8_t key = PEN_FLAG_ROW_TOTAL;

	pen_seal(total, sizeof(*total), PEN_KIND_FLAG_TOTAL, 1);
	return pen_txn_put(txn, PEN_DB_FLAGS, &key, 1, total, sizeof(*total), 0);
}

int pen_flag_total_read(struct pen_store *store, struct pen_fmt_flag_total *ret)
{
	MDB_txn *mdb;
	int rc;

	*ret = (struct pen_fmt_flag_total){ .flags = 0 };
	if (!store->db[PEN_DB_FLAGS])
		return 0;
	rc = pen_read_begin(store, &mdb);
	if (rc)
		return rc;
	rc = read_total(store, mdb, ret);
	pen_read_end(store, mdb);
	return rc;
}

int pen_flag_get(struct pen_store *store, const char *name, struct pen_flag **ret)
{
	uint8_t be[PEN_FLAG_KEY_BYTES];
	MDB_val key = { 0, be }, value;
	MDB_txn *mdb;
	int rc;

	if (!pen_flag_name_len(name) || !store->db[PEN_DB_FLAGS])
		return -PEN_NOT_FOUND;
	key.mv_size = pen_flag_key(be, PEN_FLAG_ROW_FLAG, name);
	rc = pen_read_begin(store, &mdb);
	if (rc)
		return rc;
	rc = pen_mdb_code(mdb_get(mdb, store->db[PEN_DB_FLAGS], &key, &value));
	if (!rc)
		rc = pen_flag_decode(value.mv_data, value.mv_size, be + 1, key.mv_size - 1, ret);
	pen_read_end(store, mdb);
	return rc;
}

static bool is_flag(const MDB_val *key)
{
	return key->mv_size > 1 && key->mv_size <= PEN_FLAG_NAME_MAX + 1 &&
	       *(const uint8_t *)key->mv_data == PEN_FLAG_ROW_FLAG;
}

int pen_flag_list(struct pen_store *store, const char *after, struct pen_flag **ret)
{
	uint8_t be[PEN_FLAG_KEY_BYTES];
	MDB_val key = { pen_flag_key(be, PEN_FLAG_ROW_FLAG, after ? after : ""), be }, value;
	MDB_cursor *cur;
	MDB_txn *mdb;
	int rc;

	if (!store->db[PEN_DB_FLAGS])
		return 0;
	if (after)
		be[key.mv_size++] = 0; /* the least key behind it */
	rc = pen_read_begin(store, &mdb);
	if (rc)
		return rc;
	rc = mdb_cursor_open(mdb, store->db[PEN_DB_FLAGS], &cur);
	if (!rc) {
		rc = mdb_cursor_get(cur, &key, &value, MDB_SET_RANGE);
		mdb_cursor_close(cur);
	}
	if (!rc && is_flag(&key)) {
		rc = pen_flag_decode(value.mv_data, value.mv_size, (const uint8_t *)key.mv_data + 1,
				     key.mv_size - 1, ret);
		rc = rc ? rc : 1;
	} else {
		rc = rc && rc != MDB_NOTFOUND ? pen_mdb_code(rc) : 0;
	}
	pen_read_end(store, mdb);
	return rc;
}

static int visit_row(pen_flag_visit *visit, void *arg, const MDB_val *key, const MDB_val *value)
{
	char name[PEN_FLAG_NAME_MAX + 1];
	struct pen_flag *flag = NULL;
	size_t len = key->mv_size - 1;
	int rc;

	memcpy(name, (const uint8_t *)key->mv_data + 1, len);
	name[len] = 0;
	rc = pen_flag_decode(value->mv_data, value->mv_size, name, len, &flag);
	if (rc == -PEN_MEMORY)
		return rc;
	rc = visit(arg, name, rc ? NULL : flag);
	free(flag);
	return rc;
}

int pen_flag_each(struct pen_store *store, pen_flag_visit *visit, void *arg,
		  struct pen_fmt_flag_total *ret_total)
{
	uint8_t be = PEN_FLAG_ROW_FLAG;
	MDB_val key = { 1, &be }, value;
	MDB_cursor *cur = NULL;
	MDB_txn *mdb;
	int rc, got = MDB_NOTFOUND;

	if (ret_total)
		*ret_total = (struct pen_fmt_flag_total){ .flags = 0 };
	if (!store->db[PEN_DB_FLAGS])
		return 0;
	rc = pen_read_begin(store, &mdb);
	if (rc)
		return rc;
	if (ret_total)
		rc = read_total(store, mdb, ret_total);
	if (!rc)
		rc = pen_mdb_code(mdb_cursor_open(mdb, store->db[PEN_DB_FLAGS], &cur));
	if (!rc)
		got = mdb_cursor_get(cur, &key, &value, MDB_SET_RANGE);
	for (; !rc && !got && is_flag(&key); got = rc ? got : mdb_cursor_get(cur, &key, &value, MDB_NEXT))
		rc = visit_row(visit, arg, &key, &value);
	if (cur)
		mdb_cursor_close(cur);
	pen_read_end(store, mdb);
	return rc ? rc : got && got != MDB_NOTFOUND ? pen_mdb_code(got) : 0;
}
