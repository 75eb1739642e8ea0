/* SPDX-License-Identifier: MIT */
#include "store/staged.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "store/lock.h"
#include "tests/store/scratch.h"

static struct pen_store *store;

static void set_up(void)
{
	scratch_make();
	store = scratch_store("s");
}

static void tear_down(void)
{
	pen_store_close(store);
	scratch_remove();
}

TestSuite(staged, .init = set_up, .fini = tear_down, .timeout = 600);

static void put_runs(uint64_t batch, uint32_t first, uint32_t count, uint8_t phase)
{
	struct pen_fmt_staged head = { .id = batch,
				       .items = 10,
				       .records = count,
				       .first_run = first,
				       .run_count = count,
				       .phase = phase };
	struct pen_fmt_stop stops[4] = { { .offset = 1 }, { .offset = 2 }, { .index = 3 }, { .index = 4 } };
	struct pen_txn *txn = scratch_begin(store);

	for (uint32_t i = 0; i < count; i++) {
		struct pen_fmt_run run = { .id = batch,
					   .records = 1,
					   .bytes = 4096,
					   .number = first + i,
					   .first_len = 1,
					   .last_len = 2 };

		cr_assert_eq(pen_staged_put_run(txn, &run, "a", "zz"), 0);
	}
	cr_assert_eq(pen_staged_save(txn, &head, stops), 0);
	cr_assert_eq(pen_txn_commit(txn, NULL), 0);
}

static bool there(uint64_t batch, uint32_t number)
{
	char name[PEN_STAGED_NAME], path[300];
	struct stat st;

	pen_staged_name(batch, number, name);
	(void)snprintf(path, sizeof path, "%s/staging/%s", scratch_path("s"), name);
	return !stat(path, &st);
}

static void make(uint64_t batch, uint32_t number)
{
	char name[PEN_STAGED_NAME];
	int dir = pen_staged_dir(store), fd;

	pen_staged_name(batch, number, name);
	fd = openat(dir, name, O_CREAT | O_WRONLY, 0600);
	cr_assert_geq(fd, 0);
	close(fd);
	close(dir);
}

Test(staged, it_comes_back_and_goes)
{
	struct pen_fmt_stop stops[PEN_STAGED_RUNS_MAX];
	struct pen_fmt_staged head;
	struct pen_fmt_run run;
	struct pen_txn *txn;

	cr_expect_eq(pen_staged_read(store, 7, &head), -PEN_NOT_FOUND);
	put_runs(7, 5, 4, PEN_STAGED_MERGE);
	cr_expect_eq(pen_staged_read(store, 7, &head), 0);
	cr_expect_eq(head.items, 10);
	txn = scratch_begin(store);
	cr_expect_eq(pen_staged_load(txn, 7, &head, stops), 0);
	cr_expect(stops[1].offset == 2 && stops[3].index == 4);
	cr_expect_eq(pen_staged_load_run(txn, 7, 8, &run), 0);
	cr_expect_eq(pen_staged_load_run(txn, 7, 9, &run), -PEN_NOT_FOUND);
	cr_expect_eq(pen_staged_del_runs(txn, 7, 5, 1), 0);
	cr_expect_eq(pen_staged_load_run(txn, 7, 5, &run), -PEN_NOT_FOUND);
	cr_expect_eq(pen_staged_forget(txn, 7), 0);
	cr_expect_eq(pen_staged_load_run(txn, 7, 8, &run), -PEN_NOT_FOUND);
	cr_expect_eq(pen_staged_forget(txn, 7), 0, "there is nothing");
	cr_assert_eq(pen_txn_commit(txn, NULL), 0);
	cr_expect_eq(pen_staged_read(store, 7, &head), -PEN_NOT_FOUND);
}

Test(staged, values_that_do_not_fit_are_refused)
{
	struct pen_fmt_staged head = { .id = 7,
				       .run_count = PEN_STAGED_RUNS_MAX + 1,
				       .phase = PEN_STAGED_SORT };
	struct pen_txn *txn = scratch_begin(store);
	char value[sizeof head + 16];

	cr_expect_eq(pen_staged_save(txn, &head, NULL), -EINVAL);
	head.run_count = 1;
	head.phase = PEN_STAGED_MERGE;
	memset(value, 0, sizeof value);
	memcpy(value, &head, sizeof head);
	pen_seal(value, sizeof value, PEN_KIND_STAGED, 1);
	cr_expect_eq(pen_staged_decode(value, sizeof value, 7, &head, NULL), 0, "the control");
	cr_expect_eq(pen_staged_decode(value, sizeof value, 8, &head, NULL), -PEN_STORE_DAMAGED);
	pen_seal(value, sizeof head, PEN_KIND_STAGED, 1);
	cr_expect_eq(pen_staged_decode(value, sizeof head, 7, &head, NULL), -PEN_STORE_DAMAGED, "no stops");
	value[20] ^= 1;
	cr_expect_eq(pen_staged_decode(value, sizeof head, 7, &head, NULL), -PEN_STORE_DAMAGED, "its CRC");
	pen_txn_abort(txn);
}

Test(staged, files_without_a_row_go_and_others_stay)
{
	uint32_t pid;
	int fd;

	put_runs(7, 0, 2, PEN_STAGED_SORT);
	put_runs(8, 0, 2, PEN_STAGED_MERGED);
	for (uint32_t i = 0; i < 3; i++) {
		make(7, i);
		make(8, i);
		make(9, i);
	}
	pen_staged_trim(store, 7);
	cr_expect(there(7, 0) && there(7, 1) && !there(7, 2) && there(8, 0) && there(9, 0));
	cr_assert_eq(pen_lock_batch(store, 9, &fd, &pid), 0);
	pen_staged_sweep(store);
	cr_expect(there(7, 0) && there(7, 1), "they have rows");
	cr_expect(!there(8, 0) && !there(8, 2), "they have served");
	cr_expect(there(9, 0), "somebody runs the batch");
	pen_lock_release(store, 9, fd);
	pen_staged_sweep(store);
	cr_expect(!there(9, 0) && !there(9, 2) && there(7, 1));
}
