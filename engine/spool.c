/* SPDX-License-Identifier: MIT */
/*
 * spool - a stream kept in STORE/staging until its batch is cleaned away
 *
 * Written under a name that says it is not whole, synced, then renamed: a file named items.* is whole. One that no
 * batch got is removed by whoever made it, or by the sweep when it is a day old.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "include/penstock.h"
#include "ring/base.h"
#include "ring/error.h"

#define BUFFER (1u << 20)

static int open_staging(struct pen_store *store, struct pen_failure *why)
{
	char *path;
	int fd;

	if (asprintf(&path, "%s/staging", pen_store_path(store)) < 0)
		return -ENOMEM;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		fd = pen_fail(why, -errno, errno, "%s cannot be opened", path);
	free(path);
	return fd;
}

static int write_all(int fd, const char *at, size_t n)
{
	while (n) {
		ssize_t done = write(fd, at, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return errno == ENOSPC || errno == EDQUOT ? -PEN_DISK_FULL : -errno;
		at += done;
		n -= (size_t)done;
	}
	return 0;
}

static int copy(int from, int to, uint64_t *ret_bytes, struct pen_failure *why)
{
	char *buffer = malloc(BUFFER);
	uint64_t bytes = 0;
	ssize_t n = 0;
	int rc = buffer ? 0 : -ENOMEM;

	while (!rc && (n = read(from, buffer, BUFFER)) != 0) {
		if (n < 0 && errno == EINTR)
			rc = pen_fail(why, -PEN_INTERRUPTED_BY, 0, "interrupted: nothing was submitted");
		else if (n < 0)
			rc = pen_fail(why, -errno, errno, "the stream cannot be read");
		else
			rc = write_all(to, buffer, (size_t)n);
		bytes += n > 0 ? (uint64_t)n : 0;
	}
	free(buffer);
	*ret_bytes = bytes;
	return rc;
}

int pen_spool(struct pen_store *store, int fd, char *ret_name, uint64_t *ret_bytes, struct pen_failure *why)
{
	char part[64], name[64];
	uint64_t bytes = 0, noise = 0;
	int dir = open_staging(store, why), to, rc;

	if (dir < 0)
		return dir;
	if (getrandom(&noise, sizeof noise, 0) != sizeof noise)
		noise = (uint64_t)getpid();
	(void)snprintf(name, sizeof name, "items.%016" PRIx64, noise);
	(void)snprintf(part, sizeof part, "part.%016" PRIx64, noise);
	to = openat(dir, part, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	rc = to < 0 ? -errno : copy(fd, to, &bytes, why);
	if (!rc && fsync(to))
		rc = errno == ENOSPC || errno == EDQUOT ? -PEN_DISK_FULL : -errno;
	if (!rc && (renameat(dir, part, dir, name) || fsync(dir)))
		rc = -errno;
	if (rc && to >= 0) {
		(void)unlinkat(dir, part, 0);
		(void)unlinkat(dir, name, 0); /* it may have its name, and not for sure */
	}
	if (to >= 0)
		(void)close(to);
	(void)close(dir);
	if (rc)
		return pen_fail(why, rc, 0, "the stream cannot be kept in the store: %s", pen_error_text(rc));
	(void)snprintf(ret_name, 64, "%s", name);
	if (ret_bytes)
		*ret_bytes = bytes;
	return 0;
}

void pen_spool_drop(struct pen_store *store, const char *name)
{
	int dir = open_staging(store, NULL);

	if (dir < 0)
		return;
	if (!strncmp(name, "items.", 6) && !strchr(name, '/'))
		(void)unlinkat(dir, name, 0);
	(void)close(dir);
}
