/* SPDX-License-Identifier: MIT */
#include "engine/rehearse.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/dataset.h"

static char dir[64], file[96];

static void make_dir(void)
{
	snprintf(dir, sizeof dir, "/tmp/pen-rehearse-XXXXXX");
	cr_assert(mkdtemp(dir));
	snprintf(file, sizeof file, "%s/f", dir);
}

static int unlink_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	return remove(path);
}

static void remove_dir(void)
{
	(void)nftw(dir, unlink_one, 16, FTW_DEPTH | FTW_PHYS);
}

TestSuite(rehearse, .init = make_dir, .fini = remove_dir);

/* ---- through the interface ----------------------------------------------------------------- */

static struct pen_engine *start(struct pen_store *store, bool rehearse)
{
	struct pen_engine_options opt = {
		.size = sizeof opt, .rehearse = rehearse, .processors = 3, .chunk_bytes = 4096
	};
	struct pen_engine *engine;

	cr_assert_eq(pen_engine_start(store, &opt, &engine, NULL), 0);
	return engine;
}

static int wait_one(struct pen_engine *engine)
{
	struct pen_cqe *cqe;
	int res;

	cr_assert_eq(pen_wait_cqe_timeout(engine, &cqe, 20000000000ull), 0);
	res = cqe->res;
	pen_cqe_seen(engine, cqe);
	return res;
}

static void prep(struct pen_engine *engine, const char *key, struct pen_forecast *ret)
{
	const char *sources[] = { file };
	struct pen_run spec = { .size = sizeof spec,
				.sources = sources,
				.source_count = 1,
				.format = PEN_FORMAT_NDJSON,
				.key = key };

	*ret = (struct pen_forecast){ .size = sizeof *ret };
	pen_prep_plan(pen_get_sqe(engine), &spec, ret);
	cr_assert_eq(pen_submit(engine), 1);
}

static void write_file(unsigned items, unsigned distinct, unsigned bad_each)
{
	FILE *f = fopen(file, "w");

	cr_assert(f);
	for (unsigned i = 0; i < items; i++)
		if (bad_each && i % bad_each == bad_each - 1)
			fprintf(f, "bad %u\n", i);
		else
			fprintf(f, "{\"id\":\"%u\"}\n", i % distinct);
	cr_assert_eq(fclose(f), 0);
}

Test(rehearse, an_engine_runs_or_rehearses)
{
	struct pen_engine_options opt = { .size = sizeof opt };
	struct pen_engine *engine = NULL;
	struct pen_forecast forecast = { .size = sizeof forecast };
	struct pen_store *store;
	char path[96];
	const char *sources[] = { file };
	struct pen_run spec = { .size = sizeof spec, .sources = sources, .source_count = 1 };

	write_file(1, 1, 0);
	cr_expect_eq(pen_engine_start(NULL, &opt, &engine, NULL), -PEN_USAGE);
	/* Built against a header that did not know of rehearsals: what lies behind its end says nothing. */
	opt.rehearse = true;
	opt.size = offsetof(struct pen_engine_options, rehearse);
	cr_expect_eq(pen_engine_start(NULL, &opt, &engine, NULL), -PEN_USAGE);

	engine = start(NULL, true);
	pen_prep_run(pen_get_sqe(engine), &spec);
	pen_submit(engine);
	cr_expect_eq(wait_one(engine), -PEN_USAGE);
	forecast.size = 8;
	pen_prep_plan(pen_get_sqe(engine), &spec, &forecast);
	pen_submit(engine);
	cr_expect_eq(wait_one(engine), -PEN_USAGE);
	pen_engine_stop(engine);

	snprintf(path, sizeof path, "%s/store", dir);
	cr_assert_eq(pen_store_open(path, NULL, &store, NULL), 0);
	engine = start(store, false);
	forecast.size = sizeof forecast;
	pen_prep_plan(pen_get_sqe(engine), &spec, &forecast);
	pen_submit(engine);
	cr_expect_eq(wait_one(engine), -PEN_USAGE);
	pen_engine_stop(engine);
	pen_store_close(store);
}

Test(rehearse, counts_items_rejects_and_keys_that_come_again)
{
	struct pen_engine *engine = start(NULL, true);
	struct pen_forecast f;

	write_file(10000, 400, 10);
	prep(engine, "/id", &f);
	cr_expect_eq(wait_one(engine), 0);
	cr_expect_eq(f.fate, PEN_FATE_NEW);
	cr_expect(f.whole && f.exact);
	cr_expect_eq(f.counted.items, 10000);
	cr_expect_eq(f.counted.rejected, 1000);
	cr_expect_eq(f.counted.committed, 9000);
	/* Of 400 keys every tenth falls to a bad line each time. */
	cr_expect_eq(f.records, 360, "%lu", f.records);
	cr_expect_eq(f.repeated, 9000 - 360);
	cr_expect_eq(f.counted.duplicates, f.repeated);
	cr_expect_eq(f.code_count, 1);
	cr_assert_eq(f.reject_count, 1000);
	for (size_t i = 0; i < f.reject_count; i++) {
		char raw[32];

		snprintf(raw, sizeof raw, "bad %zu", i * 10 + 9);
		cr_assert_eq(f.rejects[i].seq, i * 10 + 9);
		cr_assert_eq(f.rejects[i].line, i * 10 + 10);
		cr_assert_str_eq(f.rejects[i].raw.data, raw);
		cr_assert_str_eq(f.rejects[i].source, file);
	}
	pen_forecast_fini(&f);
	pen_forecast_fini(&f);
	pen_engine_stop(engine);
}

Test(rehearse, many_plans_at_once_do_not_mix)
{
	enum { PLANS = 40 };
	struct pen_engine *engine = start(NULL, true);
	struct pen_forecast f[PLANS];

	write_file(3000, 500, 0);
	for (int i = 0; i < PLANS; i++)
		prep(engine, i % 2 ? "/id" : "@seq", &f[i]);
	for (int i = 0; i < PLANS; i++)
		cr_expect_eq(wait_one(engine), 0);
	for (int i = 0; i < PLANS; i++) {
		cr_expect_eq(f[i].counted.items, 3000);
		cr_expect_eq(f[i].repeated, i % 2 ? 2500 : 0, "%d: %lu", i, f[i].repeated);
		pen_forecast_fini(&f[i]);
	}
	pen_engine_stop(engine);
}

Test(rehearse, what_is_kept_of_rejects_is_bounded)
{
	struct pen_engine *engine = start(NULL, true);
	struct pen_forecast f;

	write_file(20000, 1, 2);
	prep(engine, NULL, &f);
	cr_expect_eq(wait_one(engine), 0);
	cr_expect_eq(f.counted.rejected, 10000);
	cr_expect_eq(f.reject_count, PEN_FORECAST_REJECTS);
	cr_expect_eq(f.codes[0].items, 10000);
	pen_forecast_fini(&f);
	pen_engine_stop(engine);
}

static void drain(struct pen_engine *engine)
{
	pen_engine_drain(engine);
}

static void cancel(struct pen_engine *engine)
{
	struct pen_sqe *sqe = pen_get_sqe(engine);

	pen_prep_cancel(sqe, 0);
	pen_sqe_set_flags(sqe, PEN_SQE_SKIP_SUCCESS);
	pen_submit(engine);
}

static void pause_and_drain(struct pen_engine *engine)
{
	struct pen_progress progress;
	int res;

	pen_prep_pause(pen_get_sqe(engine), 0);
	pen_submit(engine);
	cr_expect_eq(wait_one(engine), 0);
	cr_expect_eq(pen_engine_progress(engine, 0, &progress), 0);
	cr_expect_eq(progress.state, PEN_PAUSED);
	do { /* busy while the pause is on its way back */
		pen_prep_resume(pen_get_sqe(engine), 0);
		pen_submit(engine);
		res = wait_one(engine);
	} while (res == -EBUSY);
	cr_expect_eq(res, 0);
	pen_engine_drain(engine);
}

Test(rehearse, an_end_that_comes_early_is_told)
{
	static const struct {
		void (*how)(struct pen_engine *engine);
		int code;
	} ends[] = { { drain, -PEN_INTERRUPTED_BY },
		     { cancel, -PEN_CANCELLED_BY },
		     { pause_and_drain, -PEN_INTERRUPTED_BY } };

	for (size_t i = 0; i < PEN_COUNT(ends); i++) {
		struct pen_engine *engine = start(NULL, true);
		struct pen_progress progress = { 0 };
		struct pen_forecast f;
		int fd;

		cr_assert_eq(mkfifo(file, 0600), 0);
		fd = open(file, O_RDWR);
		cr_assert_eq(write(fd, "{}\n{}\n", 6), 6);
		prep(engine, NULL, &f);
		while (pen_engine_progress(engine, 0, &progress) || progress.counted.items < 2)
			sched_yield();
		ends[i].how(engine);
		cr_expect_eq(wait_one(engine), ends[i].code, "%zu", i);
		cr_expect(!f.whole);
		cr_expect_eq(f.counted.items, 2);
		pen_forecast_fini(&f);
		pen_engine_stop(engine);
		close(fd);
		cr_assert_eq(unlink(file), 0);
	}
}

Test(rehearse, a_source_that_cannot_be_opened_is_the_code)
{
	struct pen_engine *engine = start(NULL, true);
	struct pen_forecast f;

	prep(engine, NULL, &f);
	cr_expect_eq(wait_one(engine), -PEN_SOURCE_OPEN);
	cr_expect_eq(f.fate, PEN_FATE_REFUSED);
	pen_forecast_fini(&f);
	pen_engine_stop(engine);
}

/* ---- a stage by hand ----------------------------------------------------------------------- */

#define KEYS_MAX 4096u

/* Chunks of made entries: item i has the key i % distinct. look_bytes: of the store's dataset "d". */
static void count_by_hand(struct pen_store *store, uint64_t look_bytes, enum pen_duplicate policy,
			  uint64_t items, uint64_t distinct, struct pen_forecast *ret)
{
	struct pen_rehearsal_bounds bounds = { KEYS_MAX, look_bytes };
	static struct pen_entry table[PEN_CHUNK_ITEMS];
	struct pen_source source = { .path = file, .kind = PEN_SOURCE_FILE, .format = PEN_FORMAT_NDJSON };
	struct pen_plan plan = { .sources = &source,
				 .source_count = 1,
				 .key_kind = PEN_KEY_POINTER,
				 .on_duplicate = policy,
				 .into = (char *)"d" };
	struct pen_engine *engine = calloc(1, sizeof *engine);
	struct pen_batch *batch = calloc(1, sizeof *batch);
	char data[8] = "value";
	uint64_t done = 0;

	engine->clock = &pen_clock_real;
	engine->store = store;
	batch->plan = &plan;
	batch->forecast = ret;
	cr_assert_eq(pen_rehearsal_open(engine, batch, &bounds, NULL), 0);
	while (done < items) {
		struct pen_chunk chunk = { .batch = batch,
					   .kind = PEN_CHUNK_RECORDS,
					   .data = data,
					   .table = table,
					   .first_item = done,
					   .rules.format = PEN_FORMAT_NDJSON };

		chunk.items = chunk.entry_count = (uint32_t)pen_min(items - done, 100);
		chunk.after.passed = 7 * (done + chunk.items);
		for (uint32_t i = 0; i < chunk.items; i++)
			table[i] = (struct pen_entry){ .prefix = (done + i) % distinct,
						       .key_len = 8,
						       .flags = PEN_KEY_IS_PREFIX,
						       .len = 5,
						       .item = i };
		cr_assert_eq(pen_rehearsal_count(batch->rehearsal, &chunk), 0);
		done += chunk.items;
	}
	cr_expect_eq(batch->passed_counted, 7 * items); /* what progress is measured in */
	pen_rehearsal_end(batch->rehearsal, 0);
	pen_rehearsal_close(batch->rehearsal);
	free(batch);
	free(engine);
}

Test(rehearse, keys_beyond_the_bound_are_estimated_and_said_to_be)
{
	static const struct {
		uint64_t items, distinct;
		bool exact;
	} cases[] = { { 2000, 2000, true },
		      { 5000, 1000, true },
		      { 200000, 200000, false },
		      { 200000, 100000, false },
		      { 300000, 50000, false } };

	for (size_t i = 0; i < PEN_COUNT(cases); i++)
		for (int policy = PEN_DUP_REPLACE; policy <= PEN_DUP_REJECT; policy++) {
			double again = (double)(cases[i].items - cases[i].distinct);
			struct pen_forecast f = { .size = sizeof f };
			uint64_t twice;

			count_by_hand(NULL, 0, (enum pen_duplicate)policy, cases[i].items, cases[i].distinct,
				      &f);
			twice = policy == PEN_DUP_REPLACE ? f.counted.duplicates
				: policy == PEN_DUP_KEEP  ? f.counted.skipped
							  : f.counted.rejected;
			cr_expect_eq(f.exact, cases[i].exact, "%zu", i);
			cr_expect_eq(f.exact, f.duplicates_error == 0, "%zu", i);
			cr_expect_lt((double)f.duplicates_error, 1000 + again * 0.1, "%zu: %lu", i,
				     f.duplicates_error);
			cr_expect_eq(twice, f.repeated);
			cr_expect_eq(f.counted.items, cases[i].items);
			cr_expect_eq(f.counted.items,
				     f.counted.committed + f.counted.skipped + f.counted.rejected);
			cr_expect(f.repeated >= (f.exact ? again : again * 0.85) &&
					  f.repeated <= (f.exact ? again : again * 1.15),
				  "%zu: %lu of %f", i, f.repeated, again);
			pen_forecast_fini(&f);
		}
}

/* Dataset "d" with the keys 0, 2, 4, ... below `below`. */
static struct pen_store *make_store(uint64_t below)
{
	struct pen_store *store;
	struct pen_dataset *ds;
	struct pen_txn *txn;
	enum pen_put put;
	char path[96];

	snprintf(path, sizeof path, "%s/store", dir);
	cr_assert_eq(pen_store_open(path, NULL, &store, NULL), 0);
	cr_assert_eq(pen_txn_begin(store, PEN_DURABLE_RELAXED, &txn, NULL, NULL), 0);
	cr_assert_eq(pen_dataset_use(txn, "d", PEN_KEY_POINTER, &ds, NULL), 0);
	for (uint64_t i = 0; i < below; i += 2) {
		uint8_t key[8];

		pen_put_be64(key, i);
		cr_assert_eq(pen_dataset_put(ds, key, 8, "v", 1, true, PEN_DUP_KEEP, &put), 0);
	}
	cr_assert_eq(pen_dataset_save(ds), 0);
	cr_assert_eq(pen_txn_commit(txn, NULL), 0);
	return store;
}

Test(rehearse, keys_that_are_there_are_found_or_estimated)
{
	struct pen_store *store = make_store(200000);
	struct pen_forecast f = { .size = sizeof f };

	/* 2,000 keys, all below 200,000: every other one is there. */
	count_by_hand(store, UINT64_MAX, PEN_DUP_KEEP, 4000, 2000, &f);
	cr_expect(f.exact);
	cr_expect_eq(f.present, 1000);
	cr_expect_eq(f.repeated, 2000);
	cr_expect_eq(f.counted.skipped, 3000);
	cr_expect_eq(f.records, 1000);
	cr_expect_eq(f.appended, 0);
	cr_expect_eq(f.dataset_entries, 100000);
	pen_forecast_fini(&f);

	/* Too large to be looked into key by key. */
	count_by_hand(store, 0, PEN_DUP_KEEP, 2500, 2500, &f);
	cr_expect(!f.exact);
	cr_expect(f.present > 1250 / 2 && f.present < 1250 * 2, "%lu", f.present);
	cr_expect_gt(f.duplicates_error, 0);
	pen_forecast_fini(&f);

	/* Both are sampled. */
	count_by_hand(store, 0, PEN_DUP_REPLACE, 400000, 400000, &f);
	cr_expect(!f.exact);
	cr_expect(f.present > 100000 / 3 && f.present < 100000 * 3, "%lu", f.present);
	cr_expect(f.records > 300000 * 0.8 && f.records < 400000 * 1.1, "%lu", f.records);
	pen_forecast_fini(&f);
	pen_store_close(store);
}
