/* SPDX-License-Identifier: MIT */
#include "store/change.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "ring/base.h"
#include "store/store_private.h"

const char *pen_flag_action_name(enum pen_flag_action action)
{
	static const char *const names[] = { "", "set", "rm", "ramp", "hold" };

	return (unsigned)action < PEN_COUNT(names) ? names[action] : "";
}

/* ---- what changed, as JSON -------------------------------------------------------------------- */

/* A stream in memory: whether all was written is asked at the end (ferror). */
static void put(FILE *f, const char *text)
{
	(void)fwrite(text, 1, strlen(text), f);
}

static void put_u64(FILE *f, uint64_t n)
{
	char text[24];

	(void)snprintf(text, sizeof(text), "%" PRIu64, n);
	put(f, text);
}

static void put_string(FILE *f, const char *text)
{
	put(f, "\"");
	for (; *text; text++) {
		char escape[8] = { '\\', *text, 0 };

		if ((unsigned char)*text < 0x20)
			(void)snprintf(escape, sizeof(escape), "\\u%04x", (unsigned)(unsigned char)*text);
		else if (*text != '"' && *text != '\\')
			memmove(escape, escape + 1, 2);
		put(f, escape);
	}
	put(f, "\"");
}

struct writer {
	FILE *f;
	bool any;
};

static void head(struct writer *w, const char *name)
{
	put(w->f, w->any ? "," : "{");
	w->any = true;
	put_string(w->f, name);
	put(w->f, ":{\"before\":");
}

static void put_bool(struct writer *w, const char *name, bool before, bool after)
{
	if (before == after)
		return;
	head(w, name);
	put(w->f, before ? "true" : "false");
	put(w->f, after ? ",\"after\":true}" : ",\"after\":false}");
}

/* Thousandths of a percent as percent. */
static void put_percent(FILE *f, uint32_t milli)
{
	char text[24];
	int n = snprintf(text, sizeof(text), "%" PRIu32 ".%03" PRIu32, milli / 1000, milli % 1000);

	while (text[n - 1] == '0')
		text[--n] = 0;
	if (text[n - 1] == '.')
		text[n - 1] = 0;
	put(f, text);
}

static void put_rollout(struct writer *w, uint32_t before, uint32_t after)
{
	if (before == after)
		return;
	head(w, "rollout");
	put_percent(w->f, before);
	put(w->f, ",\"after\":");
	put_percent(w->f, after);
	put(w->f, "}");
}

/* json: the texts are JSON already; "" is null. Long ones are told by their length. */
static void put_text(struct writer *w, const char *name, const char *before, const char *after, bool json)
{
	const char *const side[] = { before, after };

	if (strcmp(before, after) == 0)
		return;
	head(w, name);
	for (int i = 0; i < 2; i++) {
		if (i)
			put(w->f, ",\"after\":");
		if (json && !*side[i]) {
			put(w->f, "null");
		} else if (strlen(side[i]) > 4096) {
			put(w->f, "{\"bytes\":");
			put_u64(w->f, strlen(side[i]));
			put(w->f, "}");
		} else if (json) {
			put(w->f, side[i]);
		} else {
			put_string(w->f, side[i]);
		}
	}
	put(w->f, "}");
}

/* Names of `in` that `out` has not; both are in order. How many. */
static size_t put_missing(FILE *f, const char *const *in, size_t in_count, const char *const *out,
			  size_t out_count)
{
	size_t at = 0, n = 0;

	for (size_t i = 0; i < in_count; i++) {
		while (at < out_count && strcmp(out[at], in[i]) < 0)
			at++;
		if (at < out_count && strcmp(out[at], in[i]) == 0)
			continue;
		if (f && n < PEN_CHANGE_NAMES) {
			put(f, n ? "," : "");
			put_string(f, in[i]);
		}
		n++;
	}
	return n;
}

static void put_lists(struct writer *w, const char *name, const char *const *before, size_t before_count,
		      const char *const *after, size_t after_count)
{
	if (!put_missing(NULL, before, before_count, after, after_count) &&
	    !put_missing(NULL, after, after_count, before, before_count))
		return;
	head(w, name);
	put_u64(w->f, before_count);
	put(w->f, ",\"after\":");
	put_u64(w->f, after_count);
	put(w->f, ",\"added\":[");
	(void)put_missing(w->f, after, after_count, before, before_count);
	put(w->f, "],\"removed\":[");
	(void)put_missing(w->f, before, before_count, after, after_count);
	put(w->f, "]}");
}

static bool same_variants(const struct pen_flag *a, const struct pen_flag *b)
{
	if (a->variant_count != b->variant_count)
		return false;
	for (size_t i = 0; i < a->variant_count; i++)
		if (a->variants[i].weight != b->variants[i].weight ||
		    strcmp(a->variants[i].name, b->variants[i].name) != 0)
			return false;
	return true;
}

static void put_variants(struct writer *w, const struct pen_flag *before, const struct pen_flag *after)
{
	const struct pen_flag *const side[] = { before, after };

	if (same_variants(before, after))
		return;
	head(w, "variants");
	for (int k = 0; k < 2; k++) {
		if (k)
			put(w->f, ",\"after\":");
		put(w->f, "{");
		for (size_t i = 0; i < side[k]->variant_count; i++) {
			put(w->f, i ? "," : "");
			put_string(w->f, side[k]->variants[i].name);
			put(w->f, ":");
			put_u64(w->f, side[k]->variants[i].weight);
		}
		put(w->f, "}");
	}
	put(w->f, "}");
}

/* 0 and malloc'ed text: {"rollout":{"before":0,"after":5}}. */
static int compare(const struct pen_flag *before, const struct pen_flag *after, char **ret)
{
	static const char *const buckets[] = { "fine", "unleash" };
	static const struct pen_flag none = { .id = "", .name = "", .metadata = "", .salt = "" };
	struct writer w = { .any = false };
	size_t len;
	bool bad;

	before = before ? before : &none;
	after = after ? after : &none;
	w.f = open_memstream(ret, &len);
	if (!w.f)
		return -PEN_MEMORY;
	put_bool(&w, "enabled", before->enabled, after->enabled);
	put_rollout(&w, before->rollout, after->rollout);
	put_lists(&w, "whitelist", before->whitelist, before->whitelist_count, after->whitelist,
		  after->whitelist_count);
	put_lists(&w, "blacklist", before->blacklist, before->blacklist_count, after->blacklist,
		  after->blacklist_count);
	put_text(&w, "metadata", before->metadata, after->metadata, true);
	put_text(&w, "salt", before->salt, after->salt, false);
	put_text(&w, "bucketing", buckets[before->bucketing], buckets[after->bucketing], false);
	put_variants(&w, before, after);
	put(w.f, w.any ? "}" : "{}");
	bad = ferror(w.f) != 0;
	if (!fclose(w.f) && !bad)
		return 0;
	free(*ret);
	return -PEN_MEMORY;
}

int pen_change_any(const struct pen_flag *before, const struct pen_flag *after, bool *ret)
{
	char *text;
	int rc = compare(before, after, &text);

	if (rc)
		return rc;
	*ret = text[1] != '}';
	free(text);
	return 0;
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* The name, a NUL, the sequence. */
static size_t change_key(uint8_t ret[PEN_FLAG_KEY_BYTES], const char *name, uint64_t seq)
{
	size_t len = pen_flag_key(ret, PEN_FLAG_ROW_CHANGE, name);

	ret[len++] = 0;
	pen_put_be64(ret + len, seq);
	return len + 8;
}

static bool is_of(const MDB_val *key, const uint8_t *be, size_t len)
{
	return key->mv_size == len && memcmp(key->mv_data, be, len - 8) == 0;
}

/* The oldest changes of a flag go until there are not too many. */
static int trim(struct pen_txn *txn, const char *name)
{
	uint8_t first[PEN_FLAG_KEY_BYTES];
	size_t len = change_key(first, name, 0);
	uint32_t count = 0;
	MDB_cursor *cur;
	int rc;

	rc = mdb_cursor_open(txn->mdb, txn->store->db[PEN_DB_FLAGS], &cur);
	if (rc)
		return pen_mdb_code(rc);
	{
		MDB_val key = { len, first }, value;

		for (rc = mdb_cursor_get(cur, &key, &value, MDB_SET_RANGE); !rc && is_of(&key, first, len);
		     rc = mdb_cursor_get(cur, &key, &value, MDB_NEXT))
			count++;
	}
	mdb_cursor_close(cur);
	rc = rc == MDB_NOTFOUND ? 0 : pen_mdb_code(rc);
	while (!rc && count > PEN_CHANGES_MAX) {
		uint8_t oldest[PEN_FLAG_KEY_BYTES];
		MDB_val key = { len, first }, value;

		rc = mdb_cursor_open(txn->mdb, txn->store->db[PEN_DB_FLAGS], &cur);
		if (rc)
			return pen_mdb_code(rc);
		rc = pen_mdb_code(mdb_cursor_get(cur, &key, &value, MDB_SET_RANGE));
		if (!rc)
			memcpy(oldest, key.mv_data, len);
		mdb_cursor_close(cur);
		if (!rc)
			rc = pen_txn_del(txn, PEN_DB_FLAGS, oldest, len);
		count--;
	}
	return rc;
}

int pen_change_add(struct pen_txn *txn, enum pen_flag_action action, const struct pen_flag *before,
		   const struct pen_flag *after, const char *by, const char *reason)
{
	struct pen_fmt_flag_change fixed = {
		.time_ms = pen_real_ms(pen_store_clock(txn->store)),
		.version = after ? after->version : before->version,
		.action = (uint8_t)action,
	};
	const char *name = after ? after->name : before->name;
	size_t by_len = by ? strnlen(by, PEN_FLAG_TEXT_MAX) : 0;
	size_t reason_len = reason ? strnlen(reason, PEN_FLAG_TEXT_MAX) : 0;
	struct pen_fmt_flag_total total;
	uint8_t key[PEN_FLAG_KEY_BYTES], *value, *at;
	char *text = NULL;
	int rc = pen_flag_total_load(txn, &total);

	if (!rc)
		rc = compare(before, after, &text);
	if (rc)
		return rc;
	value = malloc(sizeof(fixed) + 16 + strlen(name) + by_len + reason_len + strlen(text));
	if (!value) {
		free(text);
		return -PEN_MEMORY;
	}
	fixed.seq = ++total.last_change;
	at = mempcpy(value, &fixed, sizeof(fixed));
	at = pen_flag_put_text(at, name, strlen(name));
	at = pen_flag_put_text(at, by, by_len);
	at = pen_flag_put_text(at, reason, reason_len);
	at = pen_flag_put_text(at, text, strlen(text));
	pen_seal(value, (size_t)(at - value), PEN_KIND_FLAG_CHANGE, 1);
	rc = pen_txn_put(txn, PEN_DB_FLAGS, key, change_key(key, name, fixed.seq), value,
			 (size_t)(at - value), 0);
	free(value);
	free(text);
	if (!rc)
		rc = pen_flag_total_save(txn, &total);
	return rc ? rc : trim(txn, name);
}

int pen_change_decode(const void *value, size_t len, const char *name, uint64_t seq,
		      struct pen_flag_change **ret)
{
	const uint8_t *at = (const uint8_t *)value + sizeof(struct pen_fmt_flag_change);
	struct pen_fmt_flag_change fixed;
	struct pen_flag_change *c;
	const char *text[4];
	size_t left, lens[4];
	char *to;
	int rc = pen_unseal(value, len, sizeof(fixed), PEN_KIND_FLAG_CHANGE);

	if (rc)
		return rc;
	memcpy(&fixed, value, sizeof(fixed));
	left = len - sizeof(fixed);
	for (int i = 0; i < 4 && at; i++)
		at = pen_flag_text(at, &left, &text[i], &lens[i]);
	if (!at || left || fixed.seq != seq || lens[0] != strlen(name) ||
	    memcmp(text[0], name, lens[0]) != 0 || fixed.action < PEN_FLAG_DID_SET ||
	    fixed.action > PEN_FLAG_DID_HOLD)
		return -PEN_STORE_DAMAGED;
	c = malloc(sizeof(*c) + len + 4);
	if (!c)
		return -PEN_MEMORY;
	to = (char *)(c + 1);
	for (int i = 0; i < 4; i++) {
		char *end = mempcpy(to, text[i], lens[i]);

		*end = 0;
		text[i] = to;
		to = end + 1;
	}
	*c = (struct pen_flag_change){ .seq = seq,
				       .time_ms = fixed.time_ms,
				       .version = fixed.version,
				       .action = (enum pen_flag_action)fixed.action,
				       .name = text[0],
				       .by = text[1],
				       .reason = text[2],
				       .changes = text[3] };
	*ret = c;
	return 0;
}

int pen_flag_history(struct pen_store *store, const char *name, uint64_t before, struct pen_flag_change **ret)
{
	uint8_t be[PEN_FLAG_KEY_BYTES];
	MDB_val key = { 0, be }, value;
	MDB_cursor *cur = NULL;
	MDB_txn *mdb;
	size_t len;
	int rc;

	if (!pen_flag_name_len(name) || !store->db[PEN_DB_FLAGS])
		return 0;
	key.mv_size = len = change_key(be, name, before);
	rc = pen_read_begin(store, &mdb);
	if (rc)
		return rc;
	rc = mdb_cursor_open(mdb, store->db[PEN_DB_FLAGS], &cur);
	if (!rc) {
		/* The first that is not before it; then one back. */
		rc = mdb_cursor_get(cur, &key, &value, MDB_SET_RANGE);
		rc = mdb_cursor_get(cur, &key, &value, rc == MDB_NOTFOUND ? MDB_LAST : MDB_PREV);
		mdb_cursor_close(cur);
	}
	if (!rc && is_of(&key, be, len)) {
		rc = pen_change_decode(value.mv_data, value.mv_size, name,
				       pen_get_be64((const uint8_t *)key.mv_data + len - 8), ret);
		rc = rc ? rc : 1;
	} else {
		rc = rc && rc != MDB_NOTFOUND ? pen_mdb_code(rc) : 0;
	}
	pen_read_end(store, mdb);
	return rc;
}

int pen_change_expire(struct pen_txn *txn, uint64_t before_ms, uint32_t most)
{
	uint8_t at[PEN_FLAG_KEY_BYTES] = { PEN_FLAG_ROW_CHANGE };
	size_t len = 1;
	int n = 0;

	while ((uint32_t)n < most) {
		struct pen_fmt_flag_change fixed = { .seq = 0 };
		MDB_val key = { len, at }, value;
		MDB_cursor *cur;
		bool old;
		int rc = mdb_cursor_open(txn->mdb, txn->store->db[PEN_DB_FLAGS], &cur);

		if (rc)
			return pen_mdb_code(rc);
		rc = mdb_cursor_get(cur, &key, &value, MDB_SET_RANGE);
		mdb_cursor_close(cur);
		if (rc == MDB_NOTFOUND || (!rc && *(const uint8_t *)key.mv_data != PEN_FLAG_ROW_CHANGE))
			return n;
		if (rc)
			return pen_mdb_code(rc);
		if (key.mv_size < 11 || key.mv_size > sizeof(at) || value.mv_size < sizeof(fixed))
			return -PEN_STORE_DAMAGED;
		memcpy(&fixed, value.mv_data, sizeof(fixed));
		old = fixed.time_ms < before_ms;
		len = key.mv_size;
		memcpy(at, key.mv_data, len);
		if (old) {
			rc = pen_txn_del(txn, PEN_DB_FLAGS, at, len);
			if (rc)
				return rc;
			n++;
		} else {
			/* What is behind it is younger, and what is behind that another flag's. */
			pen_put_be64(at + len - 8, UINT64_MAX);
		}
	}
	return n;
}
