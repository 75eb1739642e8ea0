/* SPDX-License-Identifier: MIT */
#include "store/job.h"

#include <criterion/criterion.h>
#include <stdlib.h>

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

TestSuite(job, .init = set_up, .fini = tear_down, .timeout = 600);

static const struct pen_fmt_job sample = {
	.id = 7,
	.place_items = 1,
	.retrying = 2,
	.due_ms = 3,
	.tries = 4,
	.retries = 5,
	.crashes = 6,
	.dropped = 7,
	.cache_hits = 8,
	.cache_misses = 9,
	.clock_ms = 10,
	.cost_ns = 11,
	.fed = 12,
};

static void save(const struct pen_fmt_job *job)
{
	struct pen_txn *txn;

	cr_assert_eq(pen_txn_begin(shop.store, PEN_DURABLE_RELAXED, &txn, NULL, NULL), 0);
	cr_assert_eq(pen_job_save(txn, job), 0);
	cr_assert_eq(pen_txn_commit(txn, NULL), 0);
}

static bool same(const struct pen_fmt_job *a, const struct pen_fmt_job *b)
{
	return !memcmp((const char *)a + sizeof(a->head), (const char *)b + sizeof(b->head),
		       sizeof(*a) - sizeof(a->head));
}

Test(job, it_comes_back_as_it_went_last)
{
	struct pen_fmt_job got, next = sample;
	struct pen_txn *txn;

	cr_expect_eq(pen_job_read(shop.store, 7, &got), -PEN_NOT_FOUND);
	save(&sample);
	cr_assert_eq(pen_job_read(shop.store, 7, &got), 0);
	cr_expect(same(&got, &sample));
	next.retrying = 77;
	cr_assert_eq(pen_txn_begin(shop.store, PEN_DURABLE_RELAXED, &txn, NULL, NULL), 0);
	cr_assert_eq(pen_job_save(txn, &next), 0);
	cr_assert_eq(pen_job_load(txn, 7, &got), 0);
	cr_expect(same(&got, &next));
	cr_expect_eq(pen_job_load(txn, 8, &got), -PEN_NOT_FOUND);
	pen_txn_abort(txn);
	cr_assert_eq(pen_job_read(shop.store, 7, &got), 0);
	cr_expect(same(&got, &sample), "given up with its transaction");
	save(&next);
	cr_assert_eq(pen_job_read(shop.store, 7, &got), 0);
	cr_expect(same(&got, &next));
}

Test(job, decode_refuses_what_it_is_not)
{
	struct pen_fmt_job job = sample, got;
	uint8_t longer[sizeof(job) + 1] = { 0 };

	pen_seal(&job, sizeof(job), PEN_KIND_JOB, 1);
	cr_assert_eq(pen_job_decode(&job, sizeof(job), 7, &got), 0);
	cr_expect(same(&got, &sample));
	cr_expect_eq(pen_job_decode(&job, sizeof(job), 6, &got), -PEN_STORE_DAMAGED);
	for (size_t cut = 0; cut < sizeof(job); cut++) {
		uint8_t *copy = malloc(cut ? cut : 1);

		memcpy(copy, &job, cut);
		if (cut >= sizeof(struct pen_head))
			raw_reseal(copy, cut);
		cr_expect_eq(pen_job_decode(copy, cut, 7, &got), -PEN_STORE_DAMAGED);
		free(copy);
	}
	memcpy(longer, &job, sizeof(job));
	raw_reseal(longer, sizeof(longer));
	cr_expect_eq(pen_job_decode(longer, sizeof(longer), 7, &got), -PEN_STORE_DAMAGED);
	job.tries ^= 1;
	cr_expect_eq(pen_job_decode(&job, sizeof(job), 7, &got), -PEN_STORE_DAMAGED);
	pen_seal(&job, sizeof(job), PEN_KIND_ORDER, 1);
	cr_expect_eq(pen_job_decode(&job, sizeof(job), 7, &got), -PEN_STORE_DAMAGED);
	pen_seal(&job, sizeof(job), PEN_KIND_JOB, 2);
	cr_expect_eq(pen_job_decode(&job, sizeof(job), 7, &got), -PEN_STORE_NEWER);
}
