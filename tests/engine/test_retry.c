/* SPDX-License-Identifier: MIT */
#include "include/penstock.h"
#include "ring/error.h"
#include "store/index.h"
#include "store/item.h"
#include "store/job.h"
#include "store/ledger.h"
#include "store/lock.h"
#include "tests/store/scratch.h"

static struct pen_store *store;
static uint64_t batch;

/* A batch that is over, whose items ended: one row a state, then `many` failed ones. */
static void make(bool job, uint32_t many)
{
	static const enum pen_item_state states[] = { PEN_ITEM_FAILED, PEN_ITEM_QUARANTINED,
						      PEN_ITEM_REJECTED, PEN_ITEM_SKIPPED,
						      PEN_ITEM_COMMITTED };
	struct pen_failure why = { 0 };
	struct pen_facts facts = { .dataset = "d",
				   .key = "@given",
				   .owner = "o",
				   .correlation_id = "",
				   .idempotency_key = "",
				   .sources = "f",
				   .sources_len = 1,
				   .labels = "" };
	struct pen_txn *txn = scratch_begin(store);
	struct pen_standing *st = calloc(1, sizeof *st);
	struct pen_fmt_counters *n = &st->fixed.applied;
	struct pen_dataset *ds;

	cr_assert_eq(pen_dataset_use(txn, "d", PEN_KEY_GIVEN, &ds, &why), 0);
	batch = facts.fixed.id = st->fixed.id = pen_ledger_new_id(txn);
	facts.fixed.dataset_id = pen_dataset_id(ds);
	facts.fixed.key_kind = PEN_KEY_GIVEN;
	st->fixed.state = PEN_COMPLETED;
	st->fixed.started_ms = 1;
	st->fixed.ended_ms = 2;
	for (uint32_t i = 0; i < 5 + many; i++) {
		struct pen_row row = { .batch = batch,
				       .seq = i,
				       .state = i < 5 ? states[i] : PEN_ITEM_FAILED,
				       .code = i < 5 ? -(int)(PEN_CHILD_EXIT + i) : -PEN_CHILD_TIMEOUT,
				       .key = "k",
				       .key_len = 1,
				       .raw = "bytes",
				       .raw_len = 5,
				       .raw_total = 5,
				       .attempts = 4,
				       .tried = job,
				       .ended_ms = job,
				       .crashes = 3,
				       .exit_status = -1 };

		if (!job && (i == 1 || i == 4))
			continue;
		cr_assert_eq(pen_item_put(txn, &row), 0);
		n->items++;
		n->failed += row.state == PEN_ITEM_FAILED || row.state == PEN_ITEM_QUARANTINED;
		n->rejected += row.state == PEN_ITEM_REJECTED;
		n->skipped += row.state == PEN_ITEM_SKIPPED;
		n->committed += row.state == PEN_ITEM_COMMITTED;
	}
	if (n->committed) {
		static struct pen_sum sums[PEN_BUCKETS];
		enum pen_put result;

		pen_sum_add(&sums[pen_hash_bucket("k", 1)], pen_hash_record("k", 1, "v", 1));
		cr_assert_eq(pen_dataset_put(ds, "k", 1, "v", 1, false, PEN_DUP_REPLACE, &result), 0);
		pen_dataset_offer(ds, sums);
	}
	st->fixed.counted = *n;
	cr_assert_eq(pen_ledger_create(txn, &facts, st), 0);
	if (job)
		cr_assert_eq(pen_job_save(txn, &(struct pen_fmt_job){ .id = batch, .place_items = 5 + many }),
			     0);
	cr_assert_eq(pen_dataset_save(ds), 0);
	cr_assert_eq(pen_txn_commit(txn, &why), 0, "%s", why.text);
	free(st);
}

static void begin(void)
{
	scratch_make();
	store = scratch_store("s");
}

static void end(void)
{
	pen_store_close(store);
	scratch_remove();
}

TestSuite(retry, .init = begin, .fini = end, .timeout = 120);

static int retry(const char *where, bool dry, uint64_t *ret)
{
	struct pen_failure why = { 0 };
	int rc = pen_batch_retry(store, batch, where, dry, ret, &why);

	cr_expect_eq(rc, why.code, "%d, but the failure says %d %s", rc, why.code, why.text);
	return rc;
}

static struct pen_batch_info info(void)
{
	struct pen_batch_info ret;

	cr_assert_eq(pen_batch_get(store, batch, &ret), 0);
	return ret;
}

static struct pen_fmt_job job(void)
{
	struct pen_fmt_job ret;

	cr_assert_eq(pen_job_read(store, batch, &ret), 0);
	return ret;
}

static struct pen_item_copy row(uint64_t seq)
{
	struct pen_item_copy ret;

	cr_assert_eq(pen_item_read(store, batch, seq, &ret), 0);
	free(ret.block); /* only what lies in the struct is looked at */
	return ret;
}

Test(retry, failed_and_quarantined_items_wait_and_count_no_more)
{
	struct pen_index_wait waits[4];
	struct pen_batch_info b;
	uint64_t n = 0;

	make(true, 0);
	cr_assert_eq(retry(NULL, false, &n), 0);
	cr_expect_eq(n, 2);
	b = info();
	cr_expect_eq(b.state, PEN_QUEUED);
	cr_expect_eq(b.counted.items, 3);
	cr_expect_eq(b.counted.failed, 0);
	cr_expect_eq(b.counted.rejected, 1);
	cr_expect_eq(job().retrying, 2);
	cr_expect_gt(job().due_ms, 0);
	cr_expect_eq(pen_index_waits(store, batch, UINT64_MAX, NULL, waits, 4), 2);
	for (uint64_t i = 0; i < 2; i++) {
		cr_expect_eq(row(i).row.state, PEN_ITEM_RETRYING);
		cr_expect_eq(row(i).row.attempts, 4, "attempts are kept");
		cr_expect_eq(row(i).row.crashes, 0);
		cr_expect_eq(row(i).row.raw_len, 5);
	}
	cr_expect_eq(row(2).row.state, PEN_ITEM_REJECTED);
}

Test(retry, nothing_is_queued_twice)
{
	uint64_t n;

	make(true, 0);
	cr_assert_eq(retry(NULL, false, &n), 0);
	cr_assert_eq(retry(NULL, false, &n), 0);
	cr_expect_eq(n, 0);
	cr_expect_eq(job().retrying, 2);
	cr_expect_eq(info().counted.items, 3);
}

Test(retry, a_condition_picks_and_may_ask_for_what_was_refused)
{
	uint64_t n;

	make(true, 0);
	cr_assert_eq(retry("state = 'rejected'", false, &n), 0);
	cr_expect_eq(n, 1);
	cr_expect_eq(row(2).row.state, PEN_ITEM_RETRYING);
	cr_expect_eq(row(0).row.state, PEN_ITEM_FAILED);
	cr_expect_eq(info().counted.rejected, 0);
}

Test(retry, dry_it_only_counts)
{
	uint64_t n;

	make(true, 0);
	cr_assert_eq(retry(NULL, true, &n), 0);
	cr_expect_eq(n, 2);
	cr_expect_eq(info().state, PEN_COMPLETED);
	cr_expect_eq(row(0).row.state, PEN_ITEM_FAILED);
}

Test(retry, more_than_one_step_of_them)
{
	uint64_t n;

	make(true, 2500);
	cr_assert_eq(retry(NULL, false, &n), 0);
	cr_expect_eq(n, 2502);
	cr_expect_eq(job().retrying, 2502);
	cr_expect_eq(info().counted.items, 3);
}

/* Goal: a row without bytes is never given to a command. Method: rows as an ingest batch leaves them. */
Test(retry, items_that_did_not_end_one_by_one_cannot_be_tried_again)
{
	uint64_t n = 0;
	int rc;

	make(false, 0);
	rc = retry("state = 'failed' or state = 'rejected'", false, &n);
	cr_expect(rc == -PEN_UNSUPPORTED || (!rc && !n), "%d", rc);
	cr_expect_eq(info().state, PEN_COMPLETED);
	cr_expect_eq(row(0).row.state, PEN_ITEM_FAILED);
}

Test(retry, while_somebody_runs_the_batch_it_is_refused)
{
	struct pen_failure why = { 0 };
	uint64_t n = 0;
	uint32_t pid;
	int fd;

	make(true, 0);
	cr_assert_eq(pen_lock_batch(store, batch, &fd, &pid), 0);
	cr_expect_eq(pen_batch_retry(store, batch, NULL, false, &n, &why), -PEN_BATCH_BUSY);
	cr_expect_eq(row(0).row.state, PEN_ITEM_FAILED);
	pen_lock_release(store, batch, fd);
	cr_expect_eq(retry(NULL, false, &n), 0);
}

Test(retry, what_is_not_there_or_not_understood_is_said)
{
	struct pen_failure why = { 0 };
	uint64_t n;

	make(true, 0);
	cr_expect_eq(pen_batch_retry(store, batch + 1, NULL, false, &n, &why), -PEN_NOT_FOUND);
	why.code = 0;
	cr_expect_lt(pen_batch_retry(store, batch, "state =", false, &n, &why), 0);
	cr_expect_eq(info().state, PEN_COMPLETED);
}

static void finding(void *arg, int invariant, const char *text)
{
	(void)arg;
	cr_expect(false, "invariant %d: %s", invariant, text);
}

/* The rows, the counters and the index still say the same. */
Test(retry, the_store_still_verifies)
{
	struct pen_failure why = { 0 };
	uint64_t n;

	make(true, 10);
	cr_assert_eq(retry(NULL, false, &n), 0);
	pen_store_close(store);
	(void)pen_verify(scratch_path("s"), finding, NULL, &why);
	store = scratch_store("s");
}
