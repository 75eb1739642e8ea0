/* SPDX-License-Identifier: MIT */
#include "store/dedup.h"

#include <stdio.h>
#include <stdlib.h>

#include "store/index.h"
#include "store/order.h"
#include "tests/store/retain_lab.h"

TestSuite(dedup, .init = set_up, .fini = tear_down, .timeout = 600);

static struct pen_txn *begin(void)
{
	struct pen_txn *txn;

	cr_assert_eq(pen_txn_begin(shop.store, PEN_DURABLE_RELAXED, &txn, NULL, NULL), 0);
	return txn;
}

static void commit(struct pen_txn *txn)
{
	cr_assert_eq(pen_txn_commit(txn, NULL), 0);
}

static void row_of(const char *owner, const char *key, uint8_t ret[16])
{
	cr_assert_eq(pen_dedup_hash(owner, key, ret), 0);
}

/* A submitted batch that has the key. */
static uint64_t take(const char *key, uint64_t until_ms, enum pen_state state)
{
	uint64_t id = state == PEN_STOPPED ? plant_stopped(0) : plant(state, 0);
	struct pen_order order = { .fixed.id = id };
	static struct pen_batch_info info;
	struct pen_txn *txn;
	struct pen_dedup dedup = { .fixed = { .batch = id,
					      .until_ms = until_ms,
					      .mode = until_ms ? PEN_DEDUP_THROTTLE : PEN_DEDUP_SIMPLE,
					      .count = 7 },
				   .key = key };
	char owner[64];

	cr_assert_eq(pen_batch_get(shop.store, id, &info), 0);
	(void)snprintf(owner, sizeof owner, "%s", info.owner);
	dedup.owner = owner;
	row_of(owner, key, order.fixed.dedup);
	txn = begin();
	cr_assert_eq(pen_dedup_put(txn, &dedup), 0);
	cr_assert_eq(pen_order_put(txn, &order), 0);
	commit(txn);
	return id;
}

static bool is_kept(uint64_t id)
{
	struct pen_dedup_info info;
	int rc = pen_batch_dedup(shop.store, id, &info);

	cr_assert(!rc || rc == -PEN_NOT_FOUND, "%d", rc);
	return !rc;
}

Test(dedup, it_comes_back_as_it_went_and_a_later_one_takes_the_row)
{
	uint64_t a = take("k", 5000, PEN_COMPLETED), b;
	struct pen_dedup_info info;

	cr_assert_eq(pen_batch_dedup(shop.store, a, &info), 0);
	cr_expect_str_eq(info.key, "k");
	cr_expect_eq(info.batch, a);
	cr_expect_eq(info.until_ms, 5000);
	cr_expect_eq(info.count, 7);
	cr_expect_eq((int)info.mode, PEN_DEDUP_THROTTLE);
	verify();
	b = take("k", 6000, PEN_COMPLETED);
	cr_assert_eq(pen_batch_dedup(shop.store, a, &info), 0);
	cr_expect_eq(info.batch, b, "the first one is told who has its key");
	verify();
	cr_expect_eq(pen_batch_dedup(shop.store, plant(PEN_COMPLETED, 0), &info), -PEN_NOT_FOUND);
}

Test(dedup, owner_and_key_are_told_apart)
{
	uint8_t a[16], b[16], c[16];

	row_of("ann", "b", a);
	row_of("an", "nb", b);
	row_of("", "ann\nb", c);
	cr_expect(memcmp(a, b, 16) != 0);
	cr_expect(memcmp(a, c, 16) != 0);
}

Test(dedup, what_is_over_goes_in_bounded_steps_and_nothing_else)
{
	struct pen_dedup dedup = { .fixed = { .mode = PEN_DEDUP_THROTTLE }, .owner = "ann" };
	uint64_t last = take("forever", 0, PEN_COMPLETED);
	struct pen_txn *txn = begin();
	unsigned n, total = 0, steps = 0;
	struct pen_dedup *got;
	char key[32];
	uint8_t row[16];
	int rc;

	dedup.key = key;
	dedup.fixed.batch = last;
	for (unsigned i = 0; i < 100; i++) {
		(void)snprintf(key, sizeof key, "key %u", i);
		dedup.fixed.until_ms = 1000 + i;
		cr_assert_eq(pen_dedup_put(txn, &dedup), 0);
	}
	do {
		rc = pen_dedup_expire(txn, 1050, 16, &n);
		cr_assert_geq(rc, 0);
		cr_assert_leq(n, 16);
		total += n;
		steps++;
	} while (!rc);
	cr_expect_eq(total, 50);
	cr_expect_eq(steps, 4);
	row_of("ann", "key 49", row);
	cr_expect_eq(pen_dedup_load(txn, row, &got), -PEN_NOT_FOUND);
	row_of("ann", "key 50", row);
	cr_assert_eq(pen_dedup_load(txn, row, &got), 0, "it ends at 1050, not before");
	free(got);
	pen_txn_abort(txn);
	cr_expect(is_kept(last));
}

Test(dedup, retention_takes_the_row_with_its_batch_and_when_its_time_is_over)
{
	uint64_t now = pen_real_ms(pen_store_clock(shop.store));
	uint64_t gone = take("goes with it", 0, PEN_COMPLETED),
		 over = take("over", now + 1000, PEN_COMPLETED);
	uint64_t lasts = take("lasts", now + 100 * DAY, PEN_STOPPED);
	struct pen_dedup *got;
	uint8_t row[16];

	ahead_ms = DAY;
	cr_expect_eq(CLEAN(.size = 0).batches[PEN_COMPLETED], 0);
	cr_expect(!is_kept(over), "its time is over, though the batch stays");
	cr_expect(is_kept(gone));
	verify();
	ahead_ms = 8 * DAY;
	cr_expect_eq(CLEAN(.size = 0).batches[PEN_COMPLETED], 2);
	row_of("me", "goes with it", row);
	cr_expect_eq(pen_dedup_read(shop.store, row, &got), -PEN_NOT_FOUND);
	cr_expect(is_kept(lasts));
	verify();
}

Test(dedup, a_batch_that_goes_leaves_the_row_of_a_later_one)
{
	uint64_t old = take("k", 0, PEN_COMPLETED), later;

	ahead_ms = 7 * DAY - 60000;
	later = take("k", 0, PEN_STOPPED);
	ahead_ms = 8 * DAY;
	(void)CLEAN(.size = 0);
	cr_expect(!there(old));
	cr_expect(is_kept(later));
	verify();
}

/* ---- the audit ------------------------------------------------------------------------------- */

static uint8_t planted_key[PEN_DEDUP_ROW_LEN];
static uint64_t planted_until;
static uint64_t other;

static void edit(struct raw *raw, size_t at, uint64_t v)
{
	size_t len;
	uint8_t *value = raw_get(raw, "penstock.meta", planted_key, sizeof planted_key, &len);

	cr_assert(value);
	memcpy(value + at, &v, 8);
	raw_reseal(value, len);
	raw_put(raw, "penstock.meta", planted_key, sizeof planted_key, value, len);
	free(value);
}

static void bit(struct raw *raw)
{
	raw_flip(raw, "penstock.meta", planted_key, sizeof planted_key);
}

static void no_batch(struct raw *raw)
{
	edit(raw, offsetof(struct pen_fmt_dedup, batch), 77);
}

static void other_batch(struct raw *raw)
{
	edit(raw, offsetof(struct pen_fmt_dedup, batch), other);
}

static void other_end(struct raw *raw)
{
	edit(raw, offsetof(struct pen_fmt_dedup, until_ms), planted_until + 1);
}

static void no_end(struct raw *raw)
{
	edit(raw, offsetof(struct pen_fmt_dedup, until_ms), 0);
}

static void not_indexed(struct raw *raw)
{
	struct pen_index_key key = pen_index_dedup(planted_until, planted_key + strlen(PEN_DEDUP_WORD));

	raw_del(raw, "penstock.index", key.bytes, key.len);
}

static void indexed_for_nothing(struct raw *raw)
{
	struct pen_index_key key = pen_index_dedup(planted_until + 5, planted_key + strlen(PEN_DEDUP_WORD));

	raw_put(raw, "penstock.index", key.bytes, key.len, "", 0);
}

Test(dedup, verify_sees_what_is_not_so)
{
	const struct planted all[] = {
		{ "a bit", bit, PEN_INV_VALUES, "damaged" },
		{ "a batch that is not there", no_batch, PEN_INV_DEDUP, "is not there" },
		{ "another batch", other_batch, PEN_INV_DEDUP, "does not name it" },
		{ "another end", other_end, PEN_INV_INDEX, "another end" },
		{ "no end", no_end, PEN_INV_INDEX, "another end" },
		{ "not indexed", not_indexed, PEN_INV_INDEX, "are to be found" },
		{ "indexed for nothing", indexed_for_nothing, PEN_INV_INDEX, "another end" },
	};
	static struct pen_batch_info info;
	uint64_t id;

	planted_until = 5000;
	id = take("k", planted_until, PEN_COMPLETED);
	other = plant(PEN_COMPLETED, 0);
	cr_assert_eq(pen_batch_get(shop.store, id, &info), 0);
	memcpy(planted_key, PEN_DEDUP_WORD, strlen(PEN_DEDUP_WORD));
	row_of(info.owner, "k", planted_key + strlen(PEN_DEDUP_WORD));
	shop_close(&shop);
	shop_check_planted(&shop, all, PEN_COUNT(all));
	shop_open(&shop);
}
