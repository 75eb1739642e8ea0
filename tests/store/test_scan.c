/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "ring/base.h"
#include "tests/store/plant.h"

static struct shop shop;

static const char *const keys[] = { "a", "ab", "abc", "b", "b\xff", "ba", "c", "\xff", "\xff\xff" };

/* A database of another program: the store reads it like its own. */
static void set_up(void)
{
	struct raw raw;
	MDB_val k, v;

	shop_make(&shop);
	plant_batch(shop.store, &(struct plan){ .dataset = "mine",
						.key_kind = PEN_KEY_SEQ,
						.state = PEN_COMPLETED,
						.records = 300,
						.value_len = 5000 });
	shop_close(&shop);
	raw_begin(&shop, &raw);
	raw_db(&raw, "theirs", MDB_CREATE);
	raw_db(&raw, "empty", MDB_CREATE);
	for (size_t i = 0; i < PEN_COUNT(keys); i++)
		raw_put(&raw, "theirs", keys[i], strlen(keys[i]), keys[i], i ? strlen(keys[i]) : 0);
	for (unsigned i = 0; i < 3; i++) {
		k = (MDB_val){ 1, "k" };
		v = (MDB_val){ 1, &"xyz"[i] };
		cr_assert_eq(mdb_put(raw.txn, raw_db(&raw, "dups", MDB_CREATE | MDB_DUPSORT), &k, &v, 0), 0);
	}
	raw_commit(&raw);
	shop_open(&shop);
}

static void tear_down(void)
{
	shop_remove(&shop);
}

TestSuite(scan, .init = set_up, .fini = tear_down);

/* The keys of a range, joined by spaces. */
static void collect(const struct pen_scan *range, char *ret, size_t cap)
{
	struct pen_view key, value;
	struct pen_cursor *cur;
	size_t n = 0;
	int rc;

	ret[0] = 0;
	cr_assert_eq(pen_scan_open(shop.store, "theirs", range, &cur), 0);
	while ((rc = pen_scan_next(cur, &key, &value)) == 1)
		n += (size_t)snprintf(ret + n, cap - n, "%s%.*s", n ? " " : "", (int)key.len,
				      (const char *)key.data);
	cr_assert_eq(rc, 0);
	cr_assert_eq(pen_scan_next(cur, &key, &value), 0);
	pen_cursor_close(cur);
}

Test(scan, prefix_from_and_to_choose_records)
{
	static const struct {
		const char *prefix, *from, *to, *expect;
	} cases[] = {
		{ NULL, NULL, NULL, "a ab abc b ba b\xff c \xff \xff\xff" },
		{ "", "", NULL, "a ab abc b ba b\xff c \xff \xff\xff" },
		{ "a", NULL, NULL, "a ab abc" },
		{ "b", NULL, NULL, "b ba b\xff" },
		{ "\xff", NULL, NULL, "\xff \xff\xff" },
		{ "abcd", NULL, NULL, "" },
		{ "x", NULL, NULL, "" },
		{ NULL, "ab", NULL, "ab abc b ba b\xff c \xff \xff\xff" },
		{ NULL, "aba", "b", "abc" },
		{ NULL, NULL, "b", "a ab abc" },
		{ NULL, NULL, "", "" },
		{ NULL, "b", "b", "" },
		{ NULL, "c", "a", "" },
		{ "b", "ba", "b\xff", "ba" },
		{ "b", "a", NULL, "b ba b\xff" },
		{ "b", "c", NULL, "" },
		{ NULL, "\xff\xff\xff", NULL, "" },
	};

	for (size_t i = 0; i < PEN_COUNT(cases); i++) {
		struct pen_scan range = { .size = sizeof(range),
					  .prefix = cases[i].prefix,
					  .from = cases[i].from,
					  .to = cases[i].to };
		char got[256];

		range.prefix_len = range.prefix ? strlen(range.prefix) : 0;
		range.from_len = range.from ? strlen(range.from) : 0;
		range.to_len = range.to ? strlen(range.to) : 0;
		collect(&range, got, sizeof(got));
		cr_expect_str_eq(got, cases[i].expect, "case %zu: %s", i, got);
	}
}

Test(scan, all_records_in_order_with_their_bytes)
{
	struct pen_view key, value;
	struct pen_cursor *cur;
	uint64_t n = 0;

	cr_assert_eq(pen_scan_open(shop.store, "mine", NULL, &cur), 0);
	for (; pen_scan_next(cur, &key, &value) == 1; n++) {
		char *expect = plant_value(n, 5000);

		cr_assert_eq(key.len, 8);
		cr_assert_eq(pen_get_be64(key.data), n);
		cr_assert_eq(value.len, 5000);
		cr_assert_eq(memcmp(value.data, expect, 5000), 0);
		free(expect);
	}
	pen_cursor_close(cur);
	cr_assert_eq(n, 300);
}

Test(scan, a_snapshot_does_not_see_later_records)
{
	struct pen_view key, value;
	struct pen_cursor *cur;
	unsigned n = 0;

	cr_assert_eq(pen_scan_open(shop.store, "mine", NULL, &cur), 0);
	plant_batch(shop.store, &(struct plan){ .dataset = "mine",
						.key_kind = PEN_KEY_SEQ,
						.state = PEN_COMPLETED,
						.records = 10 });
	while (pen_scan_next(cur, &key, &value) == 1)
		n++;
	pen_cursor_close(cur);
	cr_assert_eq(n, 300);
}

Test(scan, get_finds_one_value)
{
	char *expect = plant_value(7, 5000), key[8];
	void *value;
	size_t len;

	pen_put_be64(key, 7);
	cr_assert_eq(pen_get(shop.store, "mine", key, 8, &value, &len), 0);
	cr_assert_eq(len, 5000);
	cr_assert_eq(memcmp(value, expect, len), 0);
	free(value);
	free(expect);
	cr_assert_eq(pen_get(shop.store, "theirs", "a", 1, &value, &len), 0);
	cr_assert_eq(len, 0);
	free(value);
}

Test(scan, what_is_not_there_says_so)
{
	static char long_key[600];
	struct pen_cursor *cur;
	void *value;
	size_t len;

	cr_expect_eq(pen_get(shop.store, "theirs", "nope", 4, &value, &len), -PEN_NOT_FOUND);
	cr_expect_eq(pen_get(shop.store, "theirs", "", 0, &value, &len), -PEN_NOT_FOUND);
	cr_expect_eq(pen_get(shop.store, "theirs", long_key, sizeof(long_key), &value, &len), -PEN_NOT_FOUND);
	cr_expect_eq(pen_get(shop.store, "empty", "a", 1, &value, &len), -PEN_NOT_FOUND);
	cr_expect_eq(pen_get(shop.store, "nowhere", "a", 1, &value, &len), -PEN_NO_DATASET);
	cr_expect_eq(pen_scan_open(shop.store, "nowhere", NULL, &cur), -PEN_NO_DATASET);
	cr_expect_eq(pen_scan_open(shop.store, "penstock.meta", NULL, &cur), -PEN_DATASET_NAME);
	cr_expect_eq(pen_get(shop.store, "penstock.meta", "meta", 4, &value, &len), -PEN_DATASET_NAME);
}

Test(scan, databases_with_another_order_are_refused)
{
	struct pen_cursor *cur;
	void *value;
	size_t len;

	cr_expect_eq(pen_scan_open(shop.store, "dups", NULL, &cur), -PEN_UNSUPPORTED);
	cr_expect_eq(pen_get(shop.store, "dups", "k", 1, &value, &len), -PEN_UNSUPPORTED);
}
