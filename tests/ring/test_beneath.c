/* SPDX-License-Identifier: MIT */
#include "ring/beneath.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[64];
static int root_fd;

static void make_root(void)
{
	int fd;

	snprintf(root, sizeof root, "/tmp/pen-beneath-XXXXXX");
	cr_assert(mkdtemp(root));
	root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_eq(mkdirat(root_fd, "d", 0755), 0);
	fd = openat(root_fd, "d/f", O_WRONLY | O_CREAT, 0644);
	cr_assert(fd >= 0);
	close(fd);
	cr_assert_eq(mkfifoat(root_fd, "p", 0600), 0);
	cr_assert_eq(symlinkat("d", root_fd, "l"), 0);
	cr_assert_eq(symlinkat("d/f", root_fd, "k"), 0);
	cr_assert_eq(symlinkat("/etc", root_fd, "o"), 0);
	cr_assert_eq(symlinkat("..", root_fd, "u"), 0);
}

static void remove_root(void)
{
	static const char *const names[] = { "d/f", "p", "l", "k", "o", "u" };

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		unlinkat(root_fd, names[i], 0);
	unlinkat(root_fd, "d", AT_REMOVEDIR);
	close(root_fd);
	rmdir(root);
}

TestSuite(beneath, .init = make_root, .fini = remove_root);

static int tried(int fd)
{
	if (fd >= 0) {
		cr_expect(fcntl(fd, F_GETFD) & FD_CLOEXEC);
		close(fd);
		return 0;
	}
	return fd;
}

/* kernel, walk: what openat2 says, and what stands in for it. */
static const struct {
	const char *path;
	int flags, kernel, followed, walk;
} table[] = {
	{ "d/f", O_RDONLY, 0, 0, 0 },
	{ "d", O_RDONLY | O_DIRECTORY, 0, 0, 0 },
	{ "./d//f", O_RDONLY, 0, 0, 0 },
	{ "p", O_RDONLY, 0, 0, 0 }, /* at once, though nobody writes */
	{ "k", O_RDONLY, -ELOOP, 0, -ELOOP },
	{ "l/f", O_RDONLY, -ELOOP, 0, -ELOOP },
	{ "l", O_RDONLY | O_DIRECTORY, -ENOTDIR, 0, -ENOTDIR },
	{ "o", O_RDONLY, -ELOOP, -EXDEV, -ELOOP },
	{ "o/passwd", O_RDONLY, -ELOOP, -EXDEV, -ELOOP },
	{ "u", O_RDONLY, -ELOOP, -EXDEV, -ELOOP },
	{ "..", O_RDONLY, -EXDEV, -EXDEV, -EXDEV },
	{ "d/../../x", O_RDONLY, -EXDEV, -EXDEV, -EXDEV },
	{ "/etc/passwd", O_RDONLY, -EXDEV, -EXDEV, -EXDEV },
	{ "d/none", O_RDONLY, -ENOENT, -ENOENT, -ENOENT },
	{ "d/f/x", O_RDONLY, -ENOTDIR, -ENOTDIR, -ENOTDIR },
	{ "", O_RDONLY, -ENOENT, -ENOENT, -ENOENT },
};

Test(beneath, table)
{
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		const char *path = table[i].path;

		cr_expect_eq(tried(pen_beneath_open(root_fd, path, table[i].flags, false)), table[i].kernel,
			     "'%s'", path);
		cr_expect_eq(tried(pen_beneath_open(root_fd, path, table[i].flags, true)), table[i].followed,
			     "'%s' followed", path);
		cr_expect_eq(tried(pen_beneath_walk(root_fd, path, table[i].flags)), table[i].walk,
			     "'%s' walked", path);
	}
	/* The control: without it, the way out is open. */
	int fd = openat(root_fd, "o/passwd", O_RDONLY | O_CLOEXEC);

	cr_expect(fd >= 0);
	close(fd);
}
