/* SPDX-License-Identifier: MIT */
#include "ring/beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The next part of *path into part (NAME_MAX + 1 bytes), or -errno; *path then stands at the rest. */
static int next_part(const char **path, char *part)
{
	size_t len = strcspn(*path, "/");

	if (len > NAME_MAX)
		return -ENAMETOOLONG;
	memcpy(part, *path, len);
	part[len] = 0;
	*path += len;
	*path += strspn(*path, "/");
	return 0;
}

/* openat2 says ELOOP for a symbolic link on the way; O_DIRECTORY says ENOTDIR. */
static int not_directory(int dir, const char *part, int err)
{
	struct stat st;

	if (err == ENOTDIR && !fstatat(dir, part, &st, AT_SYMLINK_NOFOLLOW) && S_ISLNK(st.st_mode))
		return -ELOOP;
	return -err;
}

int pen_beneath_walk(int dirfd, const char *path, int flags)
{
	const int safe = O_NOFOLLOW | O_CLOEXEC;
	char part[NAME_MAX + 1];
	int dir = dirfd, fd = -EXDEV;

	if (!*path)
		return -ENOENT;
	if (strlen(path) >= PATH_MAX)
		return -ENAMETOOLONG;
	if (*path == '/')
		return -EXDEV;
	for (;;) {
		bool slash;

		fd = next_part(&path, part);
		if (fd)
			break;
		slash = path[-1] == '/';
		fd = -EXDEV;
		if (!strcmp(part, ".."))
			break;
		if (!*path && !slash) {
			fd = openat(dir, part, flags | O_NONBLOCK | safe);
			if (fd < 0)
				fd = -errno;
			break;
		}
		fd = openat(dir, part, O_PATH | O_DIRECTORY | safe);
		if (fd < 0) {
			fd = not_directory(dir, part, errno);
			break;
		}
		if (dir != dirfd)
			(void)close(dir); /* an O_PATH descriptor holds nothing back */
		dir = fd;
		if (!*path)
			path = ".";
	}
	if (dir != dirfd)
		(void)close(dir); /* as above */
	return fd;
}

int pen_beneath_open(int dirfd, const char *path, int flags, bool follow)
{
	struct open_how how = {
		.flags = (uint64_t)(flags | O_CLOEXEC | O_NONBLOCK | (follow ? 0 : O_NOFOLLOW)),
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | (follow ? 0 : RESOLVE_NO_SYMLINKS),
	};
	int fd, tries = 8;

	/* O_PATH takes few flags beside it. */
	if (flags & O_PATH)
		how.flags &= ~(uint64_t)O_NONBLOCK;
	do /* EAGAIN: something was renamed while a ".." was looked at */
		fd = (int)syscall(SYS_openat2, dirfd, path, &how, sizeof how);
	while (fd < 0 && errno == EAGAIN && --tries);
	if (fd < 0 && (errno == ENOSYS || errno == EPERM))
		return pen_beneath_walk(dirfd, path, flags);
	return fd < 0 ? -errno : fd;
}
