/* SPDX-License-Identifier: MIT */
#include "store/cache.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "store/store_private.h"
#include "tests/store/plant.h"

#define PLENTY (1ull << 30)

static struct shop shop;
static struct pen_sha256 *hasher;

static void begin(void)
{
	shop_make(&shop);
	cr_assert_eq(pen_sha256_open(&hasher), 0);
}

static void end(void)
{
	pen_sha256_close(hasher);
	shop_remove(&shop);
}

TestSuite(cache, .init = begin, .fini = end, .timeout = 300);

static struct pen_cache_key key_of(const char *content)
{
	return pen_cache_key(hasher, "tidy 1", 6, content, strlen(content));
}

static struct pen_txn *begin_txn(void)
{
	struct pen_failure why = { 0 };
	struct pen_txn *txn;

	cr_assert_eq(pen_txn_begin(shop.store, PEN_DURABLE_COMMIT, &txn, NULL, &why), 0, "%s", why.text);
	return txn;
}

static void commit(struct pen_txn *txn)
{
	struct pen_failure why = { 0 };

	cr_assert_eq(pen_txn_commit(txn, &why), 0, "%s", why.text);
}

static int put(struct pen_txn *txn, const char *content, size_t len, uint64_t budget)
{
	struct pen_cache_key key = key_of(content);
	char *data = malloc(len ? len : 1);
	struct pen_cache_entry entry = { .time_ms = 5, .flags = 9, .data = data, .len = len };
	int rc;

	memset(data, *content, len);
	rc = pen_cache_put(txn, &key, &entry, budget);
	free(data);
	return rc;
}

static bool has(const char *content)
{
	struct pen_cache_key key = key_of(content);
	struct pen_cache_entry entry;
	int rc = pen_cache_find(shop.store, &key, &entry);

	cr_assert(rc == 0 || rc == -PEN_NOT_FOUND, "%d", rc);
	if (!rc)
		free((void *)(uintptr_t)entry.data);
	return !rc;
}

static struct pen_cache_total total(void)
{
	struct pen_cache_total t;

	cr_assert_eq(pen_cache_total(shop.store, &t), 0);
	return t;
}

static void check_whole(void)
{
	const struct heard *heard;

	shop_close(&shop);
	heard = shop_verify(&shop);
	cr_expect_eq(heard->ret, 0, "%s", heard->all);
	shop_open(&shop);
}

Test(cache, keys_tell_identity_from_content)
{
	struct pen_cache_key a = pen_cache_key(hasher, "ab", 2, "c", 1),
			     b = pen_cache_key(hasher, "a", 1, "bc", 2),
			     c = pen_cache_key(hasher, "ab", 2, "c", 1);

	cr_expect(memcmp(&a, &b, sizeof a) != 0);
	cr_expect(memcmp(&a, &c, sizeof a) == 0);
}

Test(cache, what_was_put_is_found_in_a_snapshot_and_in_a_transaction)
{
	struct pen_cache_key key = key_of("x");
	struct pen_cache_entry got = { 0 };
	struct pen_txn *txn = begin_txn();

	cr_expect_eq(pen_cache_look(txn, &key, &got), -PEN_NOT_FOUND);
	cr_assert_eq(put(txn, "x", 1000, PLENTY), 0);
	cr_assert_eq(pen_cache_look(txn, &key, &got), 0);
	cr_expect_eq(got.len, 1000);
	cr_expect(!has("x"), "not before the commit");
	commit(txn);
	cr_assert_eq(pen_cache_find(shop.store, &key, &got), 0);
	cr_expect_eq(got.len, 1000);
	cr_expect_eq(got.time_ms, 5);
	cr_expect_eq(got.flags, 9);
	cr_expect_eq(((const char *)got.data)[999], 'x');
	free((void *)(uintptr_t)got.data);
	cr_expect_eq(total().entries, 1);
	cr_expect_eq(total().bytes, 1000 + PEN_CACHE_COST);
	check_whole();
}

Test(cache, an_aborted_put_leaves_nothing)
{
	struct pen_txn *txn = begin_txn();

	cr_assert_eq(put(txn, "x", 10, PLENTY), 0);
	pen_txn_abort(txn);
	cr_expect(!has("x"));
	cr_expect_eq(total().entries, 0);
}

Test(cache, a_second_put_replaces_and_makes_the_entry_young)
{
	const uint64_t budget = 2 * (100 + PEN_CACHE_COST);
	struct pen_txn *txn = begin_txn();

	cr_assert_eq(put(txn, "a", 100, budget), 0);
	cr_assert_eq(put(txn, "b", 100, budget), 0);
	cr_assert_eq(put(txn, "a", 90, budget), 0);
	cr_assert_eq(put(txn, "c", 100, budget), 0);
	commit(txn);
	cr_expect(has("a"));
	cr_expect(!has("b"), "the oldest goes");
	cr_expect(has("c"));
	cr_expect_eq(total().entries, 2);
	cr_expect_eq(total().bytes, 190 + 2 * PEN_CACHE_COST);
	check_whole();
}

Test(cache, bounds)
{
	struct pen_txn *txn = begin_txn();

	cr_expect_eq(put(txn, "a", PEN_CACHE_ENTRY_MAX + 1, PLENTY), -E2BIG);
	cr_expect_eq(put(txn, "a", 100, 100 + PEN_CACHE_COST - 1), -E2BIG);
	cr_expect_eq(put(txn, "a", PEN_CACHE_ENTRY_MAX, PLENTY), 0);
	cr_expect_eq(put(txn, "b", 0, PLENTY), 0);
	commit(txn);
	cr_expect_eq(total().entries, 2);
	check_whole();
}

/* Goal: a budget made smaller is reached by bounded steps. */
Test(cache, a_smaller_budget_is_reached_over_several_puts)
{
	struct pen_txn *txn = begin_txn();
	char name[16];
	int n;

	for (int i = 0; i < 300; i++) {
		(void)snprintf(name, sizeof name, "n%d", i);
		cr_assert_eq(put(txn, name, 10, PLENTY), 0);
	}
	cr_assert_eq(put(txn, "last", 10, 10 + PEN_CACHE_COST), 0);
	commit(txn);
	cr_expect_eq(total().entries, 301 - PEN_CACHE_EVICT);
	cr_expect(has("last") && !has("n0") && !has("n63") && has("n64"));
	txn = begin_txn();
	n = pen_cache_trim(txn, 10 + PEN_CACHE_COST, 1000);
	cr_expect_eq(n, 300 - (int)PEN_CACHE_EVICT, "%d", n);
	cr_expect_eq(pen_cache_trim(txn, 10 + PEN_CACHE_COST, 1000), 0);
	commit(txn);
	cr_expect(has("last"));
	cr_expect_eq(total().entries, 1);
	txn = begin_txn();
	cr_expect_eq(pen_cache_trim(txn, 0, 1000), 1);
	commit(txn);
	cr_expect_eq(total().bytes, 0);
	check_whole();
}

/* Goal: verify sees each way in which the rows can disagree. Method: change them with LMDB alone. */
Test(cache, verify_finds_what_does_not_fit)
{
	static const char *const said[] = { "is damaged", "is not in its order", "which no entry has",
					    "totals say", "none of its kinds" };
	static const int invariant[] = { PEN_INV_VALUES, PEN_INV_CACHE, PEN_INV_CACHE, PEN_INV_CACHE,
					 PEN_INV_VALUES };

	for (size_t i = 0; i < sizeof said / sizeof said[0]; i++) {
		uint8_t entry[PEN_CACHE_ENTRY_KEY] = { PEN_CACHE_ROW_ENTRY },
			order[PEN_CACHE_ORDER_KEY] = { PEN_CACHE_ROW_ORDER, 0, 0, 0, 0, 0, 0, 0, 1 },
			none[1] = { PEN_CACHE_ROW_TOTAL };
		struct pen_cache_key key = key_of("a");
		struct pen_txn *txn = begin_txn();
		const struct heard *heard;
		struct raw raw;
		uint8_t *value;
		size_t len;

		cr_assert_eq(put(txn, "a", 100, PLENTY), 0);
		commit(txn);
		check_whole();
		memcpy(entry + 1, key.bytes, sizeof key.bytes);
		shop_close(&shop);
		raw_begin(&shop, &raw);
		switch (i) {
		case 0:
			value = raw_get(&raw, "penstock.cache", entry, sizeof entry, &len);
			cr_assert(value);
			value[len - 1] ^= 1;
			raw_put(&raw, "penstock.cache", entry, sizeof entry, value, len);
			free(value);
			break;
		case 1:
			raw_del(&raw, "penstock.cache", order, sizeof order);
			break;
		case 2:
			order[8] = 2;
			raw_put(&raw, "penstock.cache", order, sizeof order, key.bytes, sizeof key.bytes);
			break;
		case 3:
			value = raw_get(&raw, "penstock.cache", none, sizeof none, &len);
			cr_assert(value);
			value[8]++;
			raw_reseal(value, len);
			raw_put(&raw, "penstock.cache", none, sizeof none, value, len);
			free(value);
			break;
		default:
			raw_put(&raw, "penstock.cache", "zz", 2, "", 0);
		}
		raw_commit(&raw);
		heard = shop_verify(&shop);
		cr_expect(heard->by[invariant[i]] && strstr(heard->all, said[i]), "case %zu: %s", i,
			  heard->all);
		shop_remove(&shop);
		shop_make(&shop);
	}
}
