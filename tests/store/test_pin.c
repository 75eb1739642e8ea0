/* SPDX-License-Identifier: MIT */
#include "store/pin.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

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

TestSuite(pin, .init = set_up, .fini = tear_down, .timeout = 120);

static void pin(uint64_t batch, uint32_t count)
{
	struct pen_flag_pin pins[PEN_FLAG_GATES_MAX] = { 0 };
	struct pen_txn *txn;

	for (uint32_t i = 0; i < count; i++) {
		(void)snprintf(pins[i].name, sizeof(pins[i].name), "FLAG_%u", i);
		pins[i].verdict = (struct pen_flag_verdict){
			.on = true, .reason = PEN_FLAG_SPLIT, .bucket = i, .version = 3, .variant = "blue"
		};
	}
	cr_assert_eq(pen_txn_begin(shop.store, PEN_DURABLE_RELAXED, &txn, NULL, NULL), 0);
	cr_assert_eq(pen_pin_put(txn, batch, pins, count), 0);
	cr_assert_eq(pen_txn_commit(txn, NULL), 0);
}

static uint64_t a_batch(void)
{
	return plant_batch(shop.store, &(struct plan){ .dataset = "d",
						       .key_kind = PEN_KEY_POINTER,
						       .state = PEN_COMPLETED });
}

Test(pin, what_is_put_is_got)
{
	struct pen_flag_pin got[PEN_FLAG_GATES_MAX];
	uint64_t batch = a_batch();

	cr_expect_eq(pen_pin_read(shop.store, batch, got), 0);
	pin(batch, PEN_FLAG_GATES_MAX);
	cr_assert_eq(pen_pin_read(shop.store, batch, got), PEN_FLAG_GATES_MAX);
	cr_expect_str_eq(got[15].name, "FLAG_15");
	cr_expect_str_eq(got[15].verdict.variant, "blue");
	cr_expect_eq(got[15].verdict.bucket, 15);
	cr_expect_eq(got[15].verdict.version, 3);
	cr_expect(got[15].verdict.on);
	cr_expect_eq(got[15].verdict.reason, PEN_FLAG_SPLIT);
}

Test(pin, it_goes_with_its_batch)
{
	struct pen_clean what = { .size = sizeof(what), .has_older = true };
	struct pen_cleaned got = { .size = sizeof(got) };
	struct pen_flag_pin pins[PEN_FLAG_GATES_MAX];
	uint64_t batch = a_batch();

	pin(batch, 1);
	shop_close(&shop);
	cr_expect_eq(pen_verify(shop.dir, NULL, NULL, NULL), 0);
	shop_open(&shop);
	cr_assert_eq(pen_retain_clean(shop.store, &what, &got, NULL), 0);
	cr_assert_eq(got.batches[PEN_COMPLETED], 1);
	cr_expect_eq(pen_pin_read(shop.store, batch, pins), 0);
	shop_close(&shop);
	cr_expect_eq(pen_verify(shop.dir, NULL, NULL, NULL), 0);
}

static void note(void *arg, int invariant, const char *text)
{
	(void)text;
	*(int *)arg = invariant;
}

Test(pin, one_without_a_batch_is_found)
{
	int invariant = 0;

	pin(77, 1);
	shop_close(&shop);
	cr_expect_eq(pen_verify(shop.dir, note, &invariant, NULL), 1);
	cr_expect_eq(invariant, PEN_INV_FLAGS);
}
