/* SPDX-License-Identifier: MIT */
#include "engine/spill.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/store/scratch.h"

static int dir = -1;

static void set_up(void)
{
	scratch_make();
	dir = open(scratch, O_RDONLY | O_DIRECTORY);
	cr_assert_geq(dir, 0);
}

static void tear_down(void)
{
	close(dir);
	scratch_remove();
}

TestSuite(spill, .init = set_up, .fini = tear_down, .timeout = 600);

#define NAME "run"

/* Record i: its key, and a value of a length that makes blocks end anywhere. */
static struct pen_spill_row *make(uint32_t i, uint32_t value_len)
{
	struct pen_spill_row row = { .item = i,
				     .line = i + 1,
				     .offset = i * 10ull,
				     .value_len = value_len,
				     .key_len = 8,
				     .path_len = i % 3 };
	struct pen_spill_row *r = calloc(1, pen_spill_bytes(&row));
	char *at, key[12];

	cr_assert(r);
	*r = row;
	at = (char *)(r + 1);
	(void)snprintf(key, sizeof key, "%08u", i);
	memcpy(at, key, 8);
	memcpy(at + 8, "ab", row.path_len);
	memset(at + 8 + row.path_len, 'a' + i % 26, value_len);
	return r;
}

static uint32_t length(uint32_t i)
{
	return i % 97 == 50 ? 300000 + i : i % 11 == 3 ? 5000 + i : i % 400;
}

static struct pen_fmt_run write_run(uint32_t n)
{
	struct pen_fmt_run run = { .id = 7, .number = 3 };
	struct pen_spill_writer *w;
	struct pen_failure why = { 0 };

	cr_assert_eq(pen_spill_create(dir, NAME, 7, 3, 1000, &w, &why), 0, "%s", why.text);
	for (uint32_t i = 0; i < n; i++) {
		struct pen_spill_row *row = make(i, length(i));

		cr_assert_eq(pen_spill_put(w, row, &why), 0, "%s", why.text);
		free(row);
	}
	cr_assert_eq(pen_spill_seal(w, &run, &why), 0, "%s", why.text);
	cr_assert_eq(run.records, n);
	return run;
}

static void expect(const struct pen_spill *s, uint32_t i)
{
	const struct pen_spill_row *got = pen_spill_row(s);
	struct pen_spill_row *want = make(i, length(i));

	cr_assert(got);
	cr_assert_eq(memcmp(got, want, pen_spill_bytes(want)), 0, "record %u", i);
	free(want);
}

/* Reads all of it: 0, or what was said. */
static int read_all(const struct pen_fmt_run *run)
{
	static const struct pen_fmt_stop start;
	struct pen_spill *s;
	struct pen_failure why = { 0 };
	int rc = pen_spill_open(dir, NAME, run, &s, &why);

	if (rc)
		return rc;
	rc = pen_spill_seek(s, &start, &why);
	while (!rc && pen_spill_row(s))
		rc = pen_spill_next(s, &why);
	pen_spill_close(s);
	return rc;
}

Test(spill, what_went_in_comes_out_in_order_and_from_any_stop)
{
	enum { N = 2000 };
	static struct pen_fmt_stop stops[N + 1];
	struct pen_fmt_run run = write_run(N);
	struct pen_failure why = { 0 };
	struct pen_spill *s;

	cr_assert_eq(run.bytes % 4096, 0);
	cr_assert_eq(pen_spill_open(dir, NAME, &run, &s, &why), 0, "%s", why.text);
	cr_assert_eq(pen_spill_seek(s, &stops[0], &why), 0);
	for (uint32_t i = 0; i < N; i++) {
		stops[i] = pen_spill_stop(s);
		expect(s, i);
		cr_assert_eq(pen_spill_next(s, &why), 0, "%s", why.text);
	}
	cr_expect_null(pen_spill_row(s));
	stops[N] = pen_spill_stop(s);
	for (uint32_t i = N + 1; i-- > 0; i -= i > 7 ? 7 : 0) {
		cr_assert_eq(pen_spill_seek(s, &stops[i], &why), 0, "%s", why.text);
		if (i == N)
			cr_expect_null(pen_spill_row(s));
		else
			expect(s, i);
	}
	pen_spill_close(s);
}

Test(spill, an_empty_run_and_a_small_one)
{
	struct pen_fmt_run run = write_run(0);

	cr_expect_eq(run.bytes, 0);
	cr_expect_eq(read_all(&run), 0);
	run = write_run(1);
	cr_expect_eq(run.bytes, 4096);
	cr_expect_eq(read_all(&run), 0);
}

Test(spill, any_bit_that_is_altered_is_noticed)
{
	struct pen_fmt_run run = write_run(300), other;
	int fd = openat(dir, NAME, O_RDWR), tried = 0;

	cr_assert_eq(read_all(&run), 0, "the control");
	for (uint64_t at = 1; at < 250000; at += 9973) {
		uint8_t b;

		cr_assert_eq(pread(fd, &b, 1, (off_t)at), 1);
		if (!b) /* perhaps behind what is in use of a block */
			continue;
		tried++;
		b ^= 4;
		cr_assert_eq(pwrite(fd, &b, 1, (off_t)at), 1);
		cr_expect_eq(read_all(&run), -PEN_RUN_DAMAGED, "byte %llu", (unsigned long long)at);
		b ^= 4;
		cr_assert_eq(pwrite(fd, &b, 1, (off_t)at), 1);
	}
	cr_expect_gt(tried, 10);
	other = run;
	other.digest_lo ^= 1;
	cr_expect_eq(read_all(&other), -PEN_RUN_DAMAGED);
	other = run;
	other.number++;
	cr_expect_eq(read_all(&other), -PEN_RUN_DAMAGED);
	cr_assert_eq(ftruncate(fd, (off_t)run.bytes - 4096), 0);
	cr_expect_eq(read_all(&run), -PEN_RUN_DAMAGED);
	cr_assert_eq(unlinkat(dir, NAME, 0), 0);
	cr_expect_eq(read_all(&run), -PEN_RUN_DAMAGED);
	close(fd);
}

static int refuse_with;

static ssize_t refuse(int fd, const void *data, size_t len, off_t at)
{
	(void)fd, (void)data, (void)len, (void)at;
	errno = refuse_with;
	return -1;
}

Test(spill, a_full_disk_leaves_no_file)
{
	static const struct {
		int error, code;
	} rows[] = { { ENOSPC, -PEN_DISK_FULL }, { EDQUOT, -PEN_DISK_FULL }, { EIO, -PEN_DISK_FAILED } };

	for (size_t i = 0; i < 3; i++) {
		struct pen_spill_row *row = make(1, 100);
		struct pen_fmt_run run = { .id = 7 };
		struct pen_failure why = { 0 };
		struct pen_spill_writer *w;

		refuse_with = rows[i].error;
		cr_assert_eq(pen_spill_create(dir, NAME, 7, 3, 1000, &w, &why), 0);
		cr_assert_eq(pen_spill_put(w, row, &why), 0);
		pen_spill_pwrite = refuse;
		cr_expect_eq(pen_spill_seal(w, &run, &why), rows[i].code);
		pen_spill_pwrite = pwrite;
		cr_expect_eq(faccessat(dir, NAME, F_OK, 0), -1);
		free(row);
	}
}
