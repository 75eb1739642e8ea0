/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/glob.h"
#include "engine/walk.h"
#include "store/format.h"

static char root[64];
static int root_fd = -1;

static void make_root(void)
{
	snprintf(root, sizeof root, "/tmp/pen-walk-XXXXXX");
	cr_assert(mkdtemp(root));
	root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert(root_fd >= 0);
}

/* Below a descriptor, because paths may be longer than the kernel takes. */
static void empty_below(int fd)
{
	int again = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fdopendir(again);
	struct dirent *d;

	while ((d = readdir(dir))) {
		if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, ".."))
			continue;
		if (unlinkat(fd, d->d_name, 0)) {
			int below = openat(fd, d->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

			empty_below(below);
			close(below);
			unlinkat(fd, d->d_name, AT_REMOVEDIR);
		}
	}
	closedir(dir);
}

static void remove_root(void)
{
	empty_below(root_fd);
	close(root_fd);
	rmdir(root);
}

TestSuite(walk, .init = make_root, .fini = remove_root);

static void put_file(int dir, const char *path, const char *text)
{
	char part[256];
	const char *slash;
	int at = dup(dir);

	while ((slash = strchr(path, '/'))) {
		snprintf(part, sizeof part, "%.*s", (int)(slash - path), path);
		(void)mkdirat(at, part, 0755);
		int below = openat(at, part, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		cr_assert(below >= 0, "%s", part);
		close(at);
		at = below;
		path = slash + 1;
	}
	if (*path) {
		int fd = openat(at, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

		cr_assert(fd >= 0, "%s: %d", path, errno);
		cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
		close(fd);
	}
	close(at);
}

struct seen {
	char text[65536]; /* a line a file: path, and " -ERRNO" for errors, " ->" for what links lead to */
	uint64_t files, others, loops;
};

static void walk_all(const struct pen_walk_options *opt, struct seen *ret)
{
	struct pen_walk *walk = NULL;
	struct pen_walk_file file;
	size_t at = 0;
	int rc;

	memset(ret, 0, sizeof *ret);
	cr_assert_eq(pen_walk_open(root_fd, opt, &walk), 0);
	while ((rc = pen_walk_next(walk, &file)) > 0) {
		char error[16] = "";

		cr_expect_eq(strlen(file.path), file.path_len);
		if (file.error)
			snprintf(error, sizeof error, " %d", file.error);
		if (at < sizeof ret->text)
			at += (size_t)snprintf(ret->text + at, sizeof ret->text - at, "%s%s%s\n", file.path,
					       error, file.linked ? " ->" : "");
		ret->files++;
	}
	cr_expect_eq(rc, 0);
	ret->others = pen_walk_others(walk);
	ret->loops = pen_walk_loops(walk);
	pen_walk_close(walk);
}

static const struct pen_walk_options plain = { .filter = NULL }, follow = { .follow = true };
static struct seen seen;

Test(walk, byte_order_of_whole_paths)
{
	static const char *const names[] = { "a-b",   "a/c",   "a.b",  "a0", "A",
					     "a/b/c", "a/b-c", "\xff", ".h", "a/b0" };

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		put_file(root_fd, names[i], "x");
	walk_all(&plain, &seen);
	cr_expect_str_eq(seen.text, ".h\nA\na-b\na.b\na/b-c\na/b/c\na/b0\na/c\na0\n\xff\n");
}

Test(walk, names_are_bytes)
{
	char name[256];

	memset(name, 'n', 255);
	name[255] = 0;
	put_file(root_fd, name, "");
	put_file(root_fd, "new\nline", "");
	put_file(root_fd, "\xc3\x28", "");
	walk_all(&plain, &seen);
	cr_expect_eq(seen.files, 3);
	cr_expect(strstr(seen.text, name) && strstr(seen.text, "new\nline\n") &&
		  strstr(seen.text, "\xc3\x28\n"));
}

Test(walk, links_and_specials_are_counted)
{
	put_file(root_fd, "d/f", "");
	cr_assert_eq(symlinkat("d", root_fd, "l"), 0);
	cr_assert_eq(symlinkat("gone", root_fd, "m"), 0);
	cr_assert_eq(mkfifoat(root_fd, "p", 0600), 0);
	walk_all(&plain, &seen);
	cr_expect_str_eq(seen.text, "d/f\n");
	cr_expect_eq(seen.others, 3);
	cr_expect_eq(seen.loops, 0);
}

Test(walk, links_that_are_followed)
{
	char outside[] = "/tmp/pen-walk-out-XXXXXX", text[128];

	cr_assert(mkdtemp(outside));
	put_file(root_fd, "d/e/f", "12345");
	cr_assert_eq(symlinkat("d", root_fd, "l"), 0);
	cr_assert_eq(symlinkat("d/e/f", root_fd, "k"), 0);
	cr_assert_eq(symlinkat("gone", root_fd, "m"), 0);
	cr_assert_eq(symlinkat("n", root_fd, "n"), 0);
	cr_assert_eq(symlinkat(outside, root_fd, "o"), 0);
	cr_assert_eq(symlinkat("..", root_fd, "q"), 0);
	put_file(root_fd, "d/e/", "");
	int e = openat(root_fd, "d/e", O_RDONLY | O_DIRECTORY);

	cr_assert_eq(symlinkat("..", e, "up"), 0);
	close(e);
	walk_all(&follow, &seen);
	snprintf(text, sizeof text, "d/e/f\nk ->\nl/e/f ->\nm %d ->\nn %d ->\no %d ->\nq %d ->\n", -ENOENT,
		 -ELOOP, -EXDEV, -EXDEV);
	cr_expect_str_eq(seen.text, text);
	/* d/e/up is d; l/e/up is d too, which l is. */
	cr_expect_eq(seen.loops, 2);
	cr_expect_eq(seen.others, 0);
	rmdir(outside);
}

Test(walk, what_is_left_out_is_as_if_it_were_not_there)
{
	static const char *const include[] = { "*.c", "k" }, *const exclude[] = { "x", "skip/" };
	struct pen_run run = { .size = sizeof run,
			       .include = include,
			       .include_count = 2,
			       .exclude = exclude,
			       .exclude_count = 2 };
	struct pen_filter filter;
	struct pen_walk_options opt = { .filter = &filter };

	cr_assert_eq(pen_filter_init(&filter, &run, NULL), 0);
	put_file(root_fd, "a.c", "");
	put_file(root_fd, "a.h", "");
	put_file(root_fd, "d/b.c", "");
	put_file(root_fd, "d/x/c.c", "");
	put_file(root_fd, "d/skip/c.c", "");
	cr_assert_eq(symlinkat("a.c", root_fd, "l"), 0);
	cr_assert_eq(symlinkat("a.c", root_fd, "l.c"), 0);
	walk_all(&opt, &seen);
	cr_expect_str_eq(seen.text, "a.c\nd/b.c\n");
	cr_expect_eq(seen.others, 1, "a link that is not meant is not counted either");
	opt.follow = true;
	walk_all(&opt, &seen);
	cr_expect_str_eq(seen.text, "a.c\nd/b.c\nl.c ->\n");
	pen_filter_fini(&filter);
}

/* Descriptors do not grow with depth, and what is too deep is said. */
Test(walk, deep_and_deeper)
{
	struct rlimit usual, few;
	char name[101];
	int at = dup(root_fd);

	memset(name, 'd', 100);
	name[100] = 0;
	for (int i = 0; i < 45; i++) {
		cr_assert_eq(mkdirat(at, name, 0755), 0);
		int below = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		close(at);
		at = below;
		if (i == 39)
			put_file(at, "f", "x"); /* 4041 bytes */
	}
	put_file(at, "lost", "x");
	close(at);
	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &usual), 0);
	few = (struct rlimit){ 24, usual.rlim_max };
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	walk_all(&plain, &seen);
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &usual), 0);
	cr_expect_eq(seen.files, 2);
	cr_expect(strstr(seen.text, "/f\n"));
	snprintf(name, sizeof name, " %d\n", -ENAMETOOLONG);
	cr_expect(strstr(seen.text, name));
	cr_expect_not(strstr(seen.text, "lost"));
}

Test(walk, a_directory_that_cannot_be_read_is_one_error)
{
	struct pen_walk *walk = NULL;
	struct pen_walk_file file;

	put_file(root_fd, "a/f", "");
	put_file(root_fd, "b", "");
	cr_assert_eq(fchmodat(root_fd, "a", 0, 0), 0);
	cr_assert_eq(fchmod(root_fd, 0755), 0);
	if (!getuid())
		cr_assert_eq(seteuid(65534), 0); /* root reads everything */
	cr_assert_eq(pen_walk_open(root_fd, &plain, &walk), 0);
	cr_expect_eq(pen_walk_next(walk, &file), 1);
	cr_expect_eq(file.error, -EACCES);
	cr_expect_str_eq(file.path, "a/");
	cr_expect_eq(pen_walk_next(walk, &file), 1);
	cr_expect_str_eq(file.path, "b");
	cr_expect_eq(pen_walk_next(walk, &file), 0);
	pen_walk_close(walk);
	if (!getuid())
		cr_assert_eq(seteuid(0), 0);
	cr_assert_eq(fchmodat(root_fd, "a", 0755, 0), 0);
}

Test(walk, hashes_tell_what_changed)
{
	struct pen_walk_file a = { .path = "p", .path_len = 1, .ino = 1, .size = 2, .mtime_ns = 3 }, b = a;

	cr_expect_eq(memcmp(&(struct pen_sum){ pen_walk_file_hash(&a).lo, pen_walk_file_hash(&a).hi },
			    &(struct pen_sum){ pen_walk_file_hash(&b).lo, pen_walk_file_hash(&b).hi },
			    sizeof(struct pen_sum)),
		     0);
	b.mtime_ns++;
	cr_expect_neq(pen_walk_file_hash(&a).lo, pen_walk_file_hash(&b).lo);
	cr_expect_eq(pen_walk_path_hash(&a).lo, pen_walk_path_hash(&b).lo);
}
