/* SPDX-License-Identifier: MIT */
#include "engine/walk.h"

#include <errno.h>
#include <sys/resource.h>

#include "ring/base.h"
#include "tests/store/scratch.h"

TestSuite(walk, .init = scratch_make, .fini = scratch_remove, .timeout = 600);

static int root = -1;

static int walk_below(struct pen_walk **ret)
{
	root = open(scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_geq(root, 0);
	return pen_walk_open(root, ret);
}

static void file(const char *path, const char *text)
{
	FILE *f = fopen(scratch_path(path), "w");

	cr_assert(f, "%s", path);
	cr_assert_geq(fputs(text, f), 0);
	cr_assert_eq(fclose(f), 0);
}

static void dir(const char *path)
{
	cr_assert_eq(mkdir(scratch_path(path), 0700), 0, "%s", path);
}

/* All paths of the tree, each followed by a line feed; an error as "path!errno". */
static const char *listing(uint64_t *ret_others)
{
	static char text[65536];
	struct pen_walk_file f;
	struct pen_walk *walk;
	size_t at = 0;
	int rc;

	cr_assert_eq(walk_below(&walk), 0);
	text[0] = 0;
	while ((rc = pen_walk_next(walk, &f)) == 1) {
		cr_assert_eq(f.path_len, strlen(f.path));
		if (f.error)
			at += (size_t)snprintf(text + at, sizeof text - at, "%s!%d\n", f.path, -f.error);
		else
			at += (size_t)snprintf(text + at, sizeof text - at, "%s\n", f.path);
		cr_assert_lt(at, sizeof text);
	}
	cr_assert_eq(rc, 0);
	cr_expect_eq(pen_walk_next(walk, &f), 0, "the end stays the end");
	if (ret_others)
		*ret_others = pen_walk_others(walk);
	pen_walk_close(walk);
	close(root);
	return text;
}

Test(walk, files_come_in_byte_order_of_whole_paths)
{
	static const char *const dirs[] = { "a", "a.d", "B", "a/z", "\xc3\xa9" };
	static const char *const files[] = { "a/c", "a-b", "a/z/1", "a.d/x", "a0", "B/q", ".hidden", "a/.h", "b",
					     "\xc3\xa9/x", "\xff", "new\nline" };

	for (size_t i = 0; i < PEN_COUNT(dirs); i++)
		dir(dirs[i]);
	for (size_t i = 0; i < PEN_COUNT(files); i++)
		file(files[i], "x");
	cr_expect_str_eq(listing(NULL), ".hidden\nB/q\na-b\na.d/x\na/.h\na/c\na/z/1\na0\nb\nnew\nline\n\xc3\xa9/x\n\xff\n");
}

Test(walk, an_empty_tree_has_no_files)
{
	cr_expect_str_eq(listing(NULL), "");
	dir("a");
	dir("a/b");
	cr_expect_str_eq(listing(NULL), "");
}

Test(walk, what_is_no_regular_file_is_counted)
{
	uint64_t others;

	dir("d");
	file("d/f", "");
	cr_assert_eq(symlink("d", scratch_path("link")), 0);
	cr_assert_eq(symlink(".", scratch_path("d/loop")), 0);
	cr_assert_eq(symlink("nowhere", scratch_path("d/broken")), 0);
	cr_assert_eq(mkfifo(scratch_path("fifo"), 0600), 0);
	cr_expect_str_eq(listing(&others), "d/f\n");
	cr_expect_eq(others, 4);
}

Test(walk, facts_are_those_of_the_file)
{
	struct pen_walk_file f;
	struct pen_walk *walk;
	struct stat st;

	file("f", "12345");
	cr_assert_eq(stat(scratch_path("f"), &st), 0);
	cr_assert_eq(walk_below(&walk), 0);
	cr_assert_eq(pen_walk_next(walk, &f), 1);
	cr_expect_eq(f.ino, st.st_ino);
	cr_expect_eq(f.size, 5);
	cr_expect_eq(f.mtime_ns, (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec);
	pen_walk_close(walk);
	close(root);
}

Test(walk, a_directory_that_goes_away_is_an_entry_with_an_error)
{
	struct pen_walk_file f;
	struct pen_walk *walk;

	dir("d");
	file("a", "");
	file("d/f", "");
	file("e", "");
	cr_assert_eq(walk_below(&walk), 0);
	cr_assert_eq(pen_walk_next(walk, &f), 1); /* "a": the root is listed */
	cr_assert_eq(unlink(scratch_path("d/f")), 0);
	cr_assert_eq(rmdir(scratch_path("d")), 0);
	cr_assert_eq(pen_walk_next(walk, &f), 1);
	cr_expect_str_eq(f.path, "d/");
	cr_expect_eq(f.error, -ENOENT);
	cr_assert_eq(pen_walk_next(walk, &f), 1);
	cr_expect_str_eq(f.path, "e", "the others go on");
	cr_expect_eq(f.error, 0);
	pen_walk_close(walk);
	close(root);
}

Test(walk, a_link_that_takes_a_directorys_place_is_not_followed)
{
	struct pen_walk_file f;
	struct pen_walk *walk;

	dir("d");
	file("a", "");
	cr_assert_eq(walk_below(&walk), 0);
	cr_assert_eq(pen_walk_next(walk, &f), 1);
	cr_assert_eq(rmdir(scratch_path("d")), 0);
	cr_assert_eq(symlink("/etc", scratch_path("d")), 0);
	cr_assert_eq(pen_walk_next(walk, &f), 1);
	cr_expect_str_eq(f.path, "d/");
	cr_expect(f.error == -ELOOP || f.error == -ENOTDIR, "%d", f.error);
	cr_expect_eq(pen_walk_next(walk, &f), 0);
	pen_walk_close(walk);
	close(root);
}

Test(walk, deep_trees_need_few_descriptors_and_long_paths_end)
{
	struct rlimit few = { 12, 12 };
	char name[201], path[256 + 201];
	struct pen_walk_file f;
	struct pen_walk *walk;
	int depth = 0, fd, next, found = 0, cut = 0;

	memset(name, 'n', 200);
	name[200] = 0;
	fd = open(scratch, O_RDONLY | O_DIRECTORY);
	for (; depth < 40; depth++) { /* 8,000 bytes: longer than any path that can be typed */
		cr_assert_eq(mkdirat(fd, name, 0700), 0);
		next = openat(fd, name, O_RDONLY | O_DIRECTORY);
		cr_assert_geq(next, 0);
		close(fd);
		fd = next;
		next = openat(fd, "f", O_CREAT | O_WRONLY, 0600);
		cr_assert_geq(next, 0);
		close(next);
	}
	close(fd);
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	cr_assert_eq(walk_below(&walk), 0);
	while (pen_walk_next(walk, &f) == 1) {
		cr_expect(f.error == 0 || f.error == -ENAMETOOLONG, "%d", f.error);
		found += !f.error;
		cut += f.error == -ENAMETOOLONG;
		cr_assert_leq(found + cut, 2 * depth, "it goes on for ever");
	}
	cr_expect_gt(found, 5);
	cr_expect_gt(cut, 0);
	pen_walk_close(walk);
	close(root);
	(void)snprintf(path, sizeof path, "rm -rf '%s'/n*", scratch); /* deeper than nftw goes */
	cr_expect_eq(system(path), 0);
}

Test(walk, openat_stays_below_and_follows_nothing)
{
	static const struct {
		const char *path;
		int error;
	} cases[] = { { "f", 0 },	   { "d/f", 0 },	  { "none", -ENOENT },	 { "up", -ELOOP },
		      { "d/up/passwd", -ELOOP }, { "../x", -EXDEV },  { "/etc/passwd", -EXDEV } };
	int fd;

	dir("d");
	file("f", "x");
	file("d/f", "x");
	cr_assert_eq(symlink("/etc/passwd", scratch_path("up")), 0);
	cr_assert_eq(symlink("/etc", scratch_path("d/up")), 0);
	cr_assert_eq(mkfifo(scratch_path("fifo"), 0600), 0);
	root = open(scratch, O_RDONLY | O_DIRECTORY);
	for (size_t i = 0; i < PEN_COUNT(cases); i++) {
		fd = pen_walk_openat(root, cases[i].path, O_RDONLY);
		cr_expect_eq(fd < 0 ? fd : 0, cases[i].error, "%s: %d", cases[i].path, fd);
		if (fd >= 0) {
			cr_expect(fcntl(fd, F_GETFD) & FD_CLOEXEC);
			close(fd);
		}
	}
	fd = pen_walk_openat(root, "fifo", O_RDONLY); /* nobody writes it: must not wait */
	cr_expect_geq(fd, 0);
	close(fd);
	close(root);
}

Test(walk, fingerprints_tell_names_from_contents)
{
	struct pen_walk_file a = { .path = "a", .path_len = 1, .ino = 1, .size = 2, .mtime_ns = 3 }, b;
	struct pen_sum path = pen_walk_path_hash(&a), whole = pen_walk_file_hash(&a), other;

	for (int i = 0; i < 4; i++) {
		b = a;
		if (i == 0)
			b.path = "b";
		b.ino += i == 1;
		b.size += i == 2;
		b.mtime_ns += i == 3;
		other = pen_walk_path_hash(&b);
		cr_expect_eq(!memcmp(&other, &path, sizeof path), i != 0);
		other = pen_walk_file_hash(&b);
		cr_expect_neq(memcmp(&other, &whole, sizeof whole), 0, "case %d", i);
	}
}
