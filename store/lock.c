/* SPDX-License-Identifier: MIT */
#include "store/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_BYTES 32
#define LOOKS 100 /* at a lock that changes hands under our eyes */

static void lock_name(uint64_t batch, char name[NAME_BYTES])
{
	(void)snprintf(name, NAME_BYTES, "batch.%016llx", (unsigned long long)batch);
}

static struct flock whole_file(void)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET }; /* l_pid must be 0 for OFD locks */
	return l;
}

/* The pid a lock file names, if that process lives; else 0. */
static uint32_t pid_read(int fd)
{
	char text[16] = { 0 };
	unsigned long pid;

	if (pread(fd, text, sizeof(text) - 1, 0) <= 0)
		return 0;
	pid = strtoul(text, NULL, 10);
	if (!pid || pid > INT32_MAX || (kill((pid_t)pid, 0) && errno == ESRCH))
		return 0;
	return (uint32_t)pid;
}

/* The file may have been unlinked by the holder between our open and our lock. */
static bool still_named(int run_fd, const char *name, int fd)
{
	struct stat ours, named;

	return !fstat(fd, &ours) && !fstatat(run_fd, name, &named, AT_SYMLINK_NOFOLLOW) &&
	       ours.st_dev == named.st_dev && ours.st_ino == named.st_ino;
}

static void pid_write(int fd)
{
	char text[16];
	int n = snprintf(text, sizeof(text), "%d\n", (int)getpid());

	/* For people only; on a full disk the lock holds all the same. */
	if (n > 0 && !ftruncate(fd, 0) && pwrite(fd, text, (size_t)n, 0) < 0)
		return;
}

int pen_lock_batch(struct pen_store *store, uint64_t batch, int *ret_fd, uint32_t *ret_pid)
{
	int run_fd = pen_store_run_fd(store), fd, look;
	char name[NAME_BYTES];

	lock_name(batch, name);
	for (look = 0; look < LOOKS; look++) {
		struct flock l = whole_file();

		fd = openat(run_fd, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (fd < 0)
			return errno == EROFS || errno == EACCES ? -PEN_STORE_READONLY : -errno;
		if (fcntl(fd, F_OFD_SETLK, &l)) {
			int err = errno;
			uint32_t pid = pid_read(fd);

			(void)close(fd);
			if (err != EAGAIN && err != EACCES)
				return -err;
			*ret_pid = pid;
			return -PEN_BATCH_BUSY;
		}
		if (still_named(run_fd, name, fd)) {
			pid_write(fd);
			*ret_fd = fd;
			return 0;
		}
		(void)close(fd);
	}
	*ret_pid = 0;
	return -PEN_BATCH_BUSY;
}

void pen_lock_release(struct pen_store *store, uint64_t batch, int fd)
{
	char name[NAME_BYTES];

	lock_name(batch, name);
	/* Unlinked while it is held: whoever locks the old file afterwards sees that the name is gone. */
	(void)unlinkat(pen_store_run_fd(store), name, 0);
	(void)close(fd);
}

uint32_t pen_lock_holder(struct pen_store *store, uint64_t batch)
{
	int run_fd = pen_store_run_fd(store), fd, look;
	uint32_t pid = 0;
	char name[NAME_BYTES];

	if (run_fd < 0)
		return 0;
	lock_name(batch, name);
	/* The file is read again while it is locked and names nobody: the holder is just writing its pid. */
	for (look = 0; look < LOOKS && !pid; look++) {
		struct flock l = whole_file();

		fd = openat(run_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			return 0;
		if (fcntl(fd, F_OFD_GETLK, &l) || l.l_type == F_UNLCK) {
			(void)close(fd);
			return 0;
		}
		pid = pid_read(fd);
		(void)close(fd);
		if (!pid)
			(void)sched_yield();
	}
	/* Held by somebody whose pid cannot be told (a full disk, another pid namespace). */
	return pid ? pid : UINT32_MAX;
}

/* ---- engines ------------------------------------------------------------------------------- */

static void engine_name(uint32_t slot, char name[NAME_BYTES])
{
	(void)snprintf(name, NAME_BYTES, "engine.%02u", slot);
}

/* Counts on in place, with one write of one length: a kill leaves the old count or the new one. */
static uint64_t count_on(int fd)
{
	char text[40] = { 0 };
	uint64_t count = 1;
	int n;

	if (pread(fd, text, sizeof(text) - 1, 0) > 0)
		count += strtoull(text, NULL, 10);
	n = snprintf(text, sizeof(text), "%020llu %10d\n", (unsigned long long)count, (int)getpid());
	/* On a full disk the count is not kept. Those it tells apart differ by more than it. */
	if (n > 0 && pwrite(fd, text, (size_t)n, 0) != n)
		return count;
	return count;
}

int pen_lock_engine(struct pen_store *store, uint32_t *ret_slot, uint64_t *ret_count, int *ret_fd)
{
	char name[NAME_BYTES];

	for (uint32_t slot = 0; slot < PEN_ENGINES_MAX; slot++) {
		struct flock l = whole_file();
		int fd;

		engine_name(slot, name);
		fd = openat(pen_store_run_fd(store), name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (fd < 0)
			return -errno;
		if (!fcntl(fd, F_OFD_SETLK, &l)) {
			*ret_slot = slot;
			*ret_count = count_on(fd);
			*ret_fd = fd;
			return 0;
		}
		(void)close(fd);
	}
	return -EBUSY;
}

void pen_lock_engine_release(int fd)
{
	if (fd >= 0)
		(void)close(fd);
}

bool pen_lock_engine_held(struct pen_store *store, uint32_t slot)
{
	struct flock l = whole_file();
	char name[NAME_BYTES];
	bool held = false;
	int fd = -1;

	engine_name(slot, name);
	if (pen_store_run_fd(store) >= 0)
		fd = openat(pen_store_run_fd(store), name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return false;
	held = !fcntl(fd, F_OFD_GETLK, &l) && l.l_type != F_UNLCK;
	(void)close(fd);
	return held;
}
