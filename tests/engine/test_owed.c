/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/owed.h"
#include "store/format.h"

static char dir[64];

static void make_dir(void)
{
	snprintf(dir, sizeof dir, "/tmp/pen-owed-XXXXXX");
	cr_assert(mkdtemp(dir));
}

static void remove_dir(void)
{
	char path[128];
	static const char *const names[] = { "after.0000000000000007", "after.0000000000000007.new",
					     "after.x" };

	for (size_t i = 0; i < 3; i++) {
		snprintf(path, sizeof path, "%s/%s", dir, names[i]);
		unlink(path);
	}
	cr_expect_eq(rmdir(dir), 0, "nothing else was made");
}

TestSuite(owed, .init = make_dir, .fini = remove_dir);

#define NAME "after.0000000000000007"

static struct pen_owed *written(void)
{
	static const struct pen_owed_head head = {
		.batch = 7, .request = { 1, 2 }, .what = 2, .move_to = "/to"
	};
	struct pen_owed *owed = NULL;
	struct pen_owed_row row = { .kind = PEN_OWED_DIR, .path = "/root", .path_len = 5 };

	cr_assert_eq(pen_owed_create(dir, &head, &owed), 0);
	cr_expect_eq(pen_owed_put(owed, &row), 0);
	row = (struct pen_owed_row){ .kind = PEN_OWED_FILE,
				     .path = "a\nb",
				     .path_len = 3,
				     .dev = 1,
				     .ino = 2,
				     .size = 3,
				     .mtime_ns = -4 };
	cr_expect_eq(pen_owed_put(owed, &row), 0);
	return owed;
}

static void expect_rows(struct pen_owed *owed)
{
	struct pen_owed_head head;
	struct pen_owed_row row;

	cr_assert_eq(pen_owed_rewind(owed, &head), 0);
	cr_expect(head.batch == 7 && head.request.hi == 2 && head.what == 2);
	cr_expect_str_eq(head.move_to, "/to");
	cr_assert_eq(pen_owed_next(owed, &row), 1);
	cr_expect_eq(row.kind, PEN_OWED_DIR);
	cr_expect_str_eq(row.path, "/root");
	cr_assert_eq(pen_owed_next(owed, &row), 1);
	cr_expect(row.kind == PEN_OWED_FILE && row.dev == 1 && row.ino == 2 && row.size == 3 &&
		  row.mtime_ns == -4);
	cr_expect_str_eq(row.path, "a\nb");
	cr_expect_eq(pen_owed_next(owed, &row), 0);
}

static bool exists(const char *name)
{
	char path[128];

	snprintf(path, sizeof path, "%s/%s", dir, name);
	return !access(path, F_OK);
}

Test(owed, what_is_sealed_is_found_again)
{
	struct pen_owed *owed = written(), *other = NULL;

	cr_expect_not(pen_owed_sealed(owed));
	cr_expect_not(exists(NAME));
	cr_assert_eq(pen_owed_seal(owed), 0);
	cr_expect(pen_owed_sealed(owed));
	cr_expect(exists(NAME));
	cr_expect_eq(pen_owed_adopt(dir, NAME, &other), -EBUSY, "its run lives");
	expect_rows(owed);
	pen_owed_close(owed, false);
	cr_assert_eq(pen_owed_adopt(dir, NAME, &other), 0);
	expect_rows(other);
	expect_rows(other);
	pen_owed_close(other, true);
	cr_expect_not(exists(NAME));
	cr_expect_eq(pen_owed_adopt(dir, NAME, &other), -ENOENT);
}

Test(owed, what_is_not_sealed_is_nothing)
{
	struct pen_owed *owed = written(), *other = NULL;
	struct pen_owed_head head;

	cr_expect_eq(pen_owed_adopt(dir, NAME ".new", &other), -EBUSY);
	/* As a run leaves it that dies. */
	char from[128], to[128];

	snprintf(from, sizeof from, "%s/%s.new", dir, NAME);
	snprintf(to, sizeof to, "%s/%s", dir, NAME);
	cr_assert_eq(link(from, to), 0);
	pen_owed_close(owed, false);
	cr_expect_not(exists(NAME ".new"));
	cr_assert_eq(rename(to, from), 0);
	cr_assert_eq(pen_owed_adopt(dir, NAME ".new", &other), 0);
	cr_expect_eq(pen_owed_rewind(other, &head), -EBADMSG);
	pen_owed_close(other, false);
	cr_expect_not(exists(NAME ".new"));
}

/* Cut anywhere, a list is an error and never a shorter list. */
Test(owed, cut_lists)
{
	struct pen_owed *owed = written();
	char path[128];
	struct stat st;

	cr_assert_eq(pen_owed_seal(owed), 0);
	pen_owed_close(owed, false);
	snprintf(path, sizeof path, "%s/%s", dir, NAME);
	cr_assert_eq(stat(path, &st), 0);
	for (off_t len = st.st_size - 1; len >= 0; len--) {
		struct pen_owed_head head;
		struct pen_owed_row row;
		int rc;

		cr_assert_eq(truncate(path, len), 0);
		cr_assert_eq(pen_owed_adopt(dir, NAME, &owed), 0);
		rc = pen_owed_rewind(owed, &head);
		while (!rc && (rc = pen_owed_next(owed, &row)) > 0)
			rc = 0;
		cr_expect_eq(rc, -EBADMSG, "%lld: %d", (long long)len, rc);
		pen_owed_close(owed, false);
	}
}

Test(owed, names)
{
	struct pen_owed *owed;
	char path[PEN_PATH_BYTES_MAX + 2];

	cr_expect(pen_owed_is_name(NAME) && pen_owed_is_name(NAME ".new"));
	cr_expect_not(pen_owed_is_name("before") || pen_owed_is_name("after"));
	cr_expect_not(pen_owed_is_name("after.0123456789012345678901234567890"));
	cr_expect_eq(pen_owed_adopt(dir, "other", &owed), -EBADMSG);
	owed = written();
	memset(path, 'x', sizeof path);
	cr_expect_eq(pen_owed_put(owed, &(struct pen_owed_row){ .kind = PEN_OWED_FILE,
								.path = path,
								.path_len = PEN_PATH_BYTES_MAX + 1 }),
		     -ENAMETOOLONG);
	cr_expect_eq(pen_owed_put(owed, &(struct pen_owed_row){ .kind = PEN_OWED_FILE,
								.path = path,
								.path_len = PEN_PATH_BYTES_MAX }),
		     0);
	pen_owed_close(owed, true);
}
