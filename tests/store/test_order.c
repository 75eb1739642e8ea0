/* SPDX-License-Identifier: MIT */
#include "store/order.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

#include "ring/base.h"
#include "store/store_private.h"
#include "tests/store/plant.h"

static struct shop shop;

static void set_up(void)
{
	shop_make(&shop);
}

static void tear_down(void)
{
	shop_remove(&shop);
}

TestSuite(order, .init = set_up, .fini = tear_down, .timeout = 600);

static int put(const struct pen_order *order)
{
	struct pen_txn *txn;
	int rc;

	cr_assert_eq(pen_txn_begin(shop.store, PEN_DURABLE_RELAXED, &txn, NULL, NULL), 0);
	rc = pen_order_put(txn, order);
	if (rc)
		pen_txn_abort(txn);
	else
		cr_assert_eq(pen_txn_commit(txn, NULL), 0);
	return rc;
}

static void check_same(const struct pen_order *got, const struct pen_order *put)
{
	const char *hook = put->hook ? put->hook : "";

	cr_expect_eq(got->fixed.id, put->fixed.id);
	cr_expect_eq(got->fixed.not_before_ms, put->fixed.not_before_ms);
	cr_expect_eq(got->fixed.priority, put->fixed.priority);
	cr_expect_eq(got->fixed.parents, put->parent_count);
	cr_assert_eq(got->spec_len, put->spec_len);
	cr_expect(!put->spec_len || !memcmp(got->spec, put->spec, put->spec_len));
	cr_expect_str_eq(got->hook, hook);
	cr_assert_eq(got->parent_count, put->parent_count);
	for (uint32_t i = 0; i < put->parent_count; i++) {
		cr_expect_eq(got->parents[i].id, put->parents[i].id);
		cr_expect_eq(got->parents[i].edge, put->parents[i].edge);
	}
}

Test(order, it_comes_back_as_it_went)
{
	static struct pen_parent parents[PEN_PARENTS_MAX];
	char *spec = plant_value(1, 100000);
	static const struct {
		size_t spec_len;
		uint32_t parents;
		const char *hook;
	} cases[] = {
		{ 0, 0, NULL },
		{ 1, 1, "" },
		{ 300, 2, "echo done" },
		{ 100000, PEN_PARENTS_MAX, "notify --all" },
	};

	for (uint32_t i = 0; i < PEN_PARENTS_MAX; i++)
		parents[i] = (struct pen_parent){ 1000 + i, i % 2 ? PEN_EDGE_ANY : PEN_EDGE_OK };
	for (size_t i = 0; i < PEN_COUNT(cases); i++) {
		struct pen_order order = { .fixed = { .id = i + 1, .not_before_ms = 77, .priority = -5 },
					   .spec = spec,
					   .spec_len = cases[i].spec_len,
					   .parents = parents,
					   .parent_count = cases[i].parents,
					   .hook = cases[i].hook };
		struct pen_order *got;
		struct pen_txn *txn;

		cr_assert_eq(put(&order), 0);
		cr_assert_eq(pen_order_read(shop.store, i + 1, &got), 0);
		check_same(got, &order);
		free(got);
		cr_assert_eq(pen_txn_begin(shop.store, PEN_DURABLE_RELAXED, &txn, NULL, NULL), 0);
		cr_assert_eq(pen_order_load(txn, i + 1, &got), 0);
		check_same(got, &order);
		free(got);
		cr_expect_eq(pen_order_load(txn, 99, &got), -PEN_NOT_FOUND);
		pen_txn_abort(txn);
	}
	free(spec);
}

Test(order, limits_refuse_and_leave_nothing)
{
	struct pen_parent self = { 1, PEN_EDGE_OK };
	struct pen_order *got;
	char byte = 0;

	cr_expect_eq(put(&(struct pen_order){
			     .fixed.id = 1, .parents = &self, .parent_count = PEN_PARENTS_MAX + 1 }),
		     -E2BIG);
	cr_expect_eq(put(&(struct pen_order){ .fixed.id = 1, .spec = &byte, .spec_len = PEN_ORDER_MAX }),
		     -E2BIG);
	cr_expect_eq(put(&(struct pen_order){ .fixed.id = 1, .parents = &self, .parent_count = 1 }), -EINVAL);
	cr_expect_eq(pen_order_read(shop.store, 1, &got), -PEN_NOT_FOUND);
}

Test(order, a_parent_named_twice_is_one)
{
	static const struct pen_parent parents[] = {
		{ 5, PEN_EDGE_ANY }, { 6, PEN_EDGE_ANY }, { 5, PEN_EDGE_OK }, { 5, PEN_EDGE_ANY }
	};
	struct pen_order *got;
	uint64_t child[2];

	cr_assert_eq(put(&(struct pen_order){ .fixed.id = 9, .parents = parents, .parent_count = 4 }), 0);
	cr_assert_eq(pen_order_read(shop.store, 9, &got), 0);
	cr_assert_eq(got->parent_count, 2);
	cr_expect_eq(got->parents[0].id, 5);
	cr_expect_eq(got->parents[0].edge, PEN_EDGE_OK, "the stricter edge holds");
	cr_expect_eq(got->parents[1].id, 6);
	cr_expect_eq(got->parents[1].edge, PEN_EDGE_ANY);
	free(got);
	cr_expect_eq(pen_order_children(shop.store, 5, 0, child, 2), 1);
	cr_expect_eq(child[0], 9);
}

Test(order, children_are_found_in_order)
{
	struct pen_parent parent = { 5, PEN_EDGE_OK };
	uint64_t child[4];

	for (uint64_t id = 10; id < 13; id++)
		cr_assert_eq(
			put(&(struct pen_order){ .fixed.id = id, .parents = &parent, .parent_count = 1 }), 0);
	parent.id = 6;
	cr_assert_eq(put(&(struct pen_order){ .fixed.id = 13, .parents = &parent, .parent_count = 1 }), 0);
	cr_assert_eq(pen_order_children(shop.store, 5, 0, child, 4), 3);
	cr_expect(child[0] == 10 && child[1] == 11 && child[2] == 12);
	cr_assert_eq(pen_order_children(shop.store, 5, 0, child, 2), 2);
	cr_assert_eq(pen_order_children(shop.store, 5, child[1], child, 2), 1);
	cr_expect_eq(child[0], 12);
	cr_expect_eq(pen_order_children(shop.store, 5, 12, child, 4), 0);
	cr_expect_eq(pen_order_children(shop.store, 5, UINT64_MAX, child, 4), 0);
	cr_expect_eq(pen_order_children(shop.store, 4, 0, child, 4), 0);
	cr_expect_eq(pen_order_children(shop.store, 7, 0, child, 4), 0);
}

Test(order, decode_never_reads_past_a_cut_value_and_checks_what_it_reads)
{
	static const struct pen_parent parent = { 5, PEN_EDGE_OK };
	struct pen_order order = { .fixed.id = 9,
				   .spec = "spec",
				   .spec_len = 4,
				   .parents = &parent,
				   .parent_count = 1,
				   .hook = "run" };
	struct pen_order *got;
	uint8_t *value;
	struct raw raw;
	size_t len;

	cr_assert_eq(put(&order), 0);
	shop_close(&shop);
	raw_begin(&shop, &raw);
	value = raw_get_id(&raw, "penstock.orders", 9, &len);
	raw_commit(&raw);
	shop_open(&shop);
	cr_assert_eq(pen_order_decode(value, len, 9, &got), 0);
	free(got);
	cr_expect_eq(pen_order_decode(value, len, 8, &got), -PEN_STORE_DAMAGED);
	for (size_t cut = 0; cut < len; cut++) {
		uint8_t *copy = malloc(cut ? cut : 1);

		memcpy(copy, value, cut);
		if (cut >= sizeof(struct pen_head))
			raw_reseal(copy, cut);
		cr_expect_eq(pen_order_decode(copy, cut, 9, &got), -PEN_STORE_DAMAGED, "%zu", cut);
		free(copy);
	}
	/* Each byte of the lengths, of the edge, and a NUL in the hook. */
	for (size_t at = sizeof(struct pen_fmt_order); at < len; at++) {
		static const uint8_t bytes[] = { 0, 3, 255 };

		for (size_t b = 0; b < PEN_COUNT(bytes); b++) {
			uint8_t was = value[at];

			value[at] = bytes[b];
			raw_reseal(value, len);
			if (!pen_order_decode(value, len, 9, &got)) {
				cr_expect(got->parents[0].edge == PEN_EDGE_OK);
				cr_expect_eq(strlen(got->hook), 3);
				free(got);
			}
			value[at] = was;
		}
	}
	raw_reseal(value, len);
	value[6] = 2; /* a layout of a newer version */
	((struct pen_head *)(void *)value)->crc = pen_crc32c(value + 4, len - 4);
	cr_expect_eq(pen_order_decode(value, len, 9, &got), -PEN_STORE_NEWER);
	free(value);
}
