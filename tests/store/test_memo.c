/* SPDX-License-Identifier: MIT */
/* memo: rows come back, go, and one that is damaged is left out. */
#include "store/memo.h"

#include "tests/store/scratch.h"

TestSuite(memo, .init = scratch_make, .fini = scratch_remove, .timeout = 60);

struct seen {
	char text[256];
	int stop;
};

static int see(void *arg, uint32_t number, const void *data, size_t len)
{
	struct seen *s = arg;
	size_t at = strlen(s->text);

	(void)snprintf(s->text + at, sizeof s->text - at, "%u=%.*s ", number, (int)len, (const char *)data);
	return s->stop;
}

static void expect(struct pen_store *store, const char *wanted)
{
	struct seen s = { 0 };

	cr_assert_eq(pen_memo_read(store, see, &s), 0);
	cr_assert_str_eq(s.text, wanted);
}

Test(memo, rows_come_back_in_order)
{
	struct pen_store *store = scratch_store("s");
	struct seen s = { .stop = -7 };

	expect(store, "");
	cr_assert_eq(pen_memo_write(store, NULL, 0), 0);
	expect(store, "");
	cr_assert_eq(pen_memo_write(store,
				    (const struct pen_memo_row[]){
					    { 70000, "c", 1 }, { 2, "bb", 2 }, { 0, "a", 1 } },
				    3),
		     0);
	expect(store, "0=a 2=bb 70000=c ");
	cr_assert_eq(pen_memo_write(
			     store,
			     (const struct pen_memo_row[]){ { 2, NULL, 0 }, { 5, NULL, 0 }, { 0, "aa", 2 } },
			     3),
		     0);
	expect(store, "0=aa 70000=c ");
	cr_assert_eq(pen_memo_read(store, see, &s), -7);
	cr_assert_str_eq(s.text, "0=aa ");
	pen_store_close(store);
}

Test(memo, a_damaged_row_is_left_out)
{
	struct pen_store *store = scratch_store("s");
	char page[65536];
	ssize_t n;
	char *at;
	int fd;

	cr_assert_eq(
		pen_memo_write(store,
			       (const struct pen_memo_row[]){ { 1, "first row", 9 }, { 2, "other row", 9 } },
			       2),
		0);
	fd = open(scratch_path("s/limits/data.mdb"), O_RDWR);
	cr_assert_geq(fd, 0);
	n = pread(fd, page, sizeof page, 0);
	cr_assert_gt(n, 0);
	at = memmem(page, (size_t)n, "first row", 9);
	cr_assert(at);
	cr_assert_eq(pwrite(fd, "F", 1, at - page), 1);
	(void)close(fd);
	expect(store, "2=other row ");
	pen_store_close(store);
}
