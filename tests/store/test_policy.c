/* SPDX-License-Identifier: MIT */
/* policy: rows, their order, and that verify notices one that is damaged. */
#include "store/policy.h"

#include "tests/store/plant.h"
#include "tests/store/scratch.h"

TestSuite(policy, .init = scratch_make, .fini = scratch_remove, .timeout = 60);

Test(policy, rows_come_back)
{
	struct pen_store *store = scratch_store("s");
	struct pen_fmt_policy row = { .window_ns = 60, .limit = 5, .burst = UINT64_MAX, .uid = 7, .unit = 1 };
	struct pen_policy got[4];

	cr_assert_eq(pen_policy_read(store, got, 4), 0);
	cr_assert_eq(pen_policy_put(store, "b", &row, NULL), 0);
	row.limit = 6;
	cr_assert_eq(pen_policy_put(store, "a", &row, NULL), 0);
	row.limit = 7;
	cr_assert_eq(pen_policy_put(store, "b", &row, NULL), 0);
	cr_assert_eq(pen_policy_read(store, got, 4), 2);
	cr_assert_str_eq(got[0].name, "a");
	cr_assert_eq(got[0].row.limit, 6);
	cr_assert_str_eq(got[1].name, "b");
	cr_assert_eq(got[1].row.limit, 7);
	cr_assert_gt(got[1].row.changed_ms, 0);
	cr_assert_eq(pen_policy_read(store, got, 1), 1);
	cr_assert_eq(pen_policy_remove(store, "a", NULL), 0);
	cr_assert_eq(pen_policy_remove(store, "a", NULL), -PEN_LIMIT_UNKNOWN);
	cr_assert_eq(pen_policy_read(store, got, 4), 1);
	pen_store_close(store);
}

Test(policy, names_are_words)
{
	char longest[PEN_POLICY_NAME_MAX + 2] = { 0 };

	memset(longest, 'a', PEN_POLICY_NAME_MAX);
	cr_assert(pen_policy_name_ok(longest));
	longest[PEN_POLICY_NAME_MAX] = 'a';
	cr_assert_not(pen_policy_name_ok(longest));
	cr_assert(pen_policy_name_ok("A.b_c-9"));
	cr_assert_not(pen_policy_name_ok(""));
	cr_assert_not(pen_policy_name_ok("a b"));
	cr_assert_not(pen_policy_name_ok("a\"b"));
	cr_assert_not(pen_policy_name_ok("\1rate"));
}

struct findings {
	int count, values;
};

static void found(void *arg, int invariant, const char *text)
{
	struct findings *f = arg;

	(void)text;
	f->count++;
	f->values += invariant == 3;
}

/* Writes a row past the calls that seal it. */
static void put_raw(struct pen_store *store, const char *key, const void *value, size_t len)
{
	struct pen_txn *txn = scratch_begin(store);

	cr_assert_eq(pen_txn_put(txn, PEN_DB_META, key, strlen(key), value, len, 0), 0);
	cr_assert_eq(pen_txn_commit(txn, NULL), 0);
}

Test(policy, verify_knows_the_rows)
{
	struct pen_store *store = scratch_store("s");
	struct pen_fmt_policy row = { .window_ns = 60, .limit = 5 };
	struct findings f = { 0 };
	struct pen_policy got;
	char bytes[64];

	cr_assert_eq(pen_policy_put(store, "x", &row, NULL), 0);
	pen_store_close(store);
	cr_assert_eq(pen_verify(scratch_path("s"), found, &f, NULL), 0);

	/* A bit of it flipped; under another's name; values that none can have. */
	cr_assert_eq(scratch_open_with("s", false, false, 0, &store), 0);
	cr_assert_eq(pen_policy_read(store, &got, 1), 1);
	memcpy(bytes, &got.row, sizeof got.row);
	bytes[sizeof got.row] = 'x';
	put_raw(store, PEN_POLICY_KEY "y", bytes, sizeof got.row + 1);
	bytes[20] ^= 4;
	put_raw(store, PEN_POLICY_KEY "x", bytes, sizeof got.row + 1);
	row.limit = 0;
	cr_assert_eq(pen_policy_put(store, "z", &row, NULL), 0);
	cr_assert_eq(pen_policy_read(store, &got, 1), -PEN_STORE_DAMAGED);
	pen_store_close(store);
	cr_assert_eq(pen_verify(scratch_path("s"), found, &f, NULL), 3);
	cr_assert_eq(f.values, 3);
}
