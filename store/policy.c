/* SPDX-License-Identifier: MIT */
#include "store/policy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/audit.h"
#include "store/store_private.h"

#define KEY_HEAD (sizeof(PEN_POLICY_KEY) - 1)
#define KEY_MAX (KEY_HEAD + PEN_POLICY_NAME_MAX)

bool pen_policy_name_ok(const char *name)
{
	size_t len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");

	return len && len <= PEN_POLICY_NAME_MAX && !name[len];
}

static size_t key_of(const char *name, char key[KEY_MAX])
{
	size_t len = strlen(name);

	memcpy(key, PEN_POLICY_KEY, KEY_HEAD);
	/* Keys have lengths. NOLINTNEXTLINE(bugprone-not-null-terminated-result) */
	memcpy(key + KEY_HEAD, name, len);
	return KEY_HEAD + len;
}

/* The name stands behind the row as well, so that a row under another's key is noticed. */
static int decode(const MDB_val *key, const MDB_val *value, struct pen_policy *ret)
{
	size_t len = key->mv_size - KEY_HEAD;
	int rc = pen_unseal(value->mv_data, value->mv_size, sizeof(ret->row), PEN_KIND_POLICY);

	if (rc)
		return rc;
	if (len > PEN_POLICY_NAME_MAX || value->mv_size != sizeof(ret->row) + len ||
	    memcmp((const char *)value->mv_data + sizeof(ret->row), (const char *)key->mv_data + KEY_HEAD,
		   len) != 0)
		return -PEN_STORE_DAMAGED;
	memcpy(&ret->row, value->mv_data, sizeof(ret->row));
	memset(ret->name, 0, sizeof(ret->name));
	memcpy(ret->name, (const char *)key->mv_data + KEY_HEAD, len);
	return pen_policy_name_ok(ret->name) ? 0 : -PEN_STORE_DAMAGED;
}

static bool is_policy(const MDB_val *key)
{
	return key->mv_size > KEY_HEAD && !memcmp(key->mv_data, PEN_POLICY_KEY, KEY_HEAD);
}

static int read_all(MDB_cursor *cur, struct pen_policy *ret, uint32_t cap)
{
	MDB_val key = { KEY_HEAD, (void *)(uintptr_t)PEN_POLICY_KEY }, value;
	struct pen_policy one;
	uint32_t n = 0;
	int rc;

	for (rc = mdb_cursor_get(cur, &key, &value, MDB_SET_RANGE); !rc && is_policy(&key);
	     rc = mdb_cursor_get(cur, &key, &value, MDB_NEXT)) {
		/* Where rows are only counted, one that is damaged may be about to be written anew. */
		rc = ret ? decode(&key, &value, &one) : 0;
		if (rc)
			return rc;
		if (n++ < cap)
			ret[n - 1] = one;
	}
	return rc && rc != MDB_NOTFOUND ? pen_mdb_code(rc) : (int)n;
}

static int read_in(struct pen_store *store, MDB_txn *mdb, struct pen_policy *ret, uint32_t cap)
{
	MDB_cursor *cur;
	int rc = pen_mdb_code(mdb_cursor_open(mdb, store->db[PEN_DB_META], &cur));

	if (rc)
		return rc;
	rc = read_all(cur, ret, cap);
	mdb_cursor_close(cur);
	return rc;
}

int pen_policy_read(struct pen_store *store, struct pen_policy *ret, uint32_t cap)
{
	MDB_txn *mdb;
	int rc = pen_read_begin(store, &mdb);

	if (rc)
		return rc;
	rc = read_in(store, mdb, ret, cap);
	pen_read_end(store, mdb);
	return rc > (int)cap ? (int)cap : rc;
}

int pen_policy_put(struct pen_store *store, const char *name, struct pen_fmt_policy *row,
		   struct pen_failure *why)
{
	struct {
		struct pen_fmt_policy row;
		char name[PEN_POLICY_NAME_MAX];
	} value;
	size_t name_len = strlen(name), key_len;
	struct pen_txn *txn;
	const void *old;
	char key[KEY_MAX];
	size_t old_len;
	int rc = pen_txn_begin(store, PEN_DURABLE_COMMIT, &txn, NULL, why);

	if (rc)
		return rc;
	key_len = key_of(name, key);
	rc = read_in(store, txn->mdb, NULL, 0);
	if (rc >= (int)PEN_POLICIES_MAX && pen_txn_get(txn, PEN_DB_META, key, key_len, &old, &old_len))
		rc = -E2BIG;
	if (rc >= 0) {
		row->changed_ms = pen_real_ms(pen_store_clock(store));
		value.row = *row;
		memcpy(value.name, name, name_len);
		pen_seal(&value, sizeof(value.row) + name_len, PEN_KIND_POLICY, 1);
		rc = pen_txn_put(txn, PEN_DB_META, key, key_len, &value, sizeof(value.row) + name_len, 0);
	}
	if (!rc)
		return pen_txn_commit(txn, why);
	pen_txn_abort(txn);
	return pen_fail(why, rc, 0, "the policy `%s` cannot be kept%s", name,
			rc == -E2BIG ? ": there are as many as there can be" : "");
}

int pen_policy_remove(struct pen_store *store, const char *name, struct pen_failure *why)
{
	struct pen_txn *txn;
	char key[KEY_MAX];
	int rc = pen_txn_begin(store, PEN_DURABLE_COMMIT, &txn, NULL, why);

	if (rc)
		return rc;
	rc = pen_txn_del(txn, PEN_DB_META, key, key_of(name, key));
	if (!rc)
		return pen_txn_commit(txn, why);
	pen_txn_abort(txn);
	if (rc == -PEN_NOT_FOUND)
		return pen_fail(why, -PEN_LIMIT_UNKNOWN, 0,
				"`%s` is neither a policy of yours nor a changed preset", name);
	return pen_fail(why, rc, 0, "the policy `%s` cannot be removed", name);
}

/* ---- the audit ------------------------------------------------------------------------------- */

bool pen_audit_policy_row(struct pen_audit *audit, const MDB_val *key, const MDB_val *value)
{
	struct pen_policy policy;

	if (!is_policy(key))
		return false;
	audit->notes_seen++;
	if (decode(key, value, &policy))
		pen_audit_say(audit->voice, PEN_INV_VALUES,
			      "penstock.meta, a `" PEN_POLICY_KEY "` row: the value is damaged");
	else if (!policy.row.limit || !policy.row.window_ns || policy.row.algorithm > PEN_LIMIT_CONCURRENT ||
		 policy.row.unit > PEN_LIMIT_UNIT_CONCURRENT)
		pen_audit_say(audit->voice, PEN_INV_VALUES, "the policy `%s` has values that none can have",
			      policy.name);
	return true;
}
