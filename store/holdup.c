/* SPDX-License-Identifier: MIT */
#include "store/holdup.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WORD "queue."
#define NAME 48

static void name_of(char name[NAME], const struct pen_holdup_file *h)
{
	/* Several queues of one process are told apart. */
	(void)snprintf(name, NAME, WORD "%d.%d", (int)getpid(), h->fd);
}

static struct flock whole_file(void)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	return l;
}

/* Made without a name at first: the lock is held before anybody sees the file. */
static int make(struct pen_holdup_file *h, struct pen_store *store)
{
	struct flock l = whole_file();
	char name[NAME];

	h->fd = openat(pen_store_run_fd(store), ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (h->fd < 0)
		return -1;
	name_of(name, h);
	(void)unlinkat(pen_store_run_fd(store), name, 0); /* of a dead process that had our pid */
	if (!fcntl(h->fd, F_OFD_SETLK, &l)) {
		char path[64];

		(void)snprintf(path, sizeof path, "/proc/self/fd/%d", h->fd);
		if (!linkat(AT_FDCWD, path, pen_store_run_fd(store), name, AT_SYMLINK_FOLLOW))
			return 0;
	}
	close(h->fd);
	h->fd = -1;
	return -1;
}

void pen_holdup_say(struct pen_holdup_file *h, struct pen_store *store, const char *text)
{
	char padded[PEN_HOLDUP_TEXT] = { 0 };

	if (!strncmp(text, h->text, sizeof h->text - 1))
		return;
	(void)snprintf(h->text, sizeof h->text, "%s", text);
	if (h->fd < 0 && (!*text || make(h, store)))
		return;
	memcpy(padded, h->text, strlen(h->text));
	/* One write of one length: a reader sees the old sentence or the new one. */
	if (pwrite(h->fd, padded, sizeof padded, 0) != (ssize_t)sizeof padded)
		return;
}

void pen_holdup_end(struct pen_holdup_file *h, struct pen_store *store)
{
	char name[NAME];

	if (h->fd < 0)
		return;
	name_of(name, h);
	(void)unlinkat(pen_store_run_fd(store), name, 0);
	close(h->fd);
	pen_holdup_init(h);
}

/* True when somebody holds it and it says something; a dead one's is removed. */
static bool read_one(int run_fd, const char *name, struct pen_holdup *ret)
{
	struct flock l = whole_file();
	int fd = openat(run_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	bool held, said = false;

	if (fd < 0)
		return false;
	held = !fcntl(fd, F_OFD_GETLK, &l) && l.l_type != F_UNLCK;
	if (held && pread(fd, ret->text, sizeof ret->text - 1, 0) > 0) {
		ret->text[sizeof ret->text - 1] = 0;
		ret->pid = (uint32_t)strtoul(name + strlen(WORD), NULL, 10);
		said = ret->text[0] != 0;
	}
	close(fd);
	if (!held)
		(void)unlinkat(run_fd, name, 0);
	return said;
}

int pen_queue_holdups(struct pen_store *store, struct pen_holdup *ret, uint32_t cap)
{
	int run_fd = pen_store_run_fd(store), fd;
	struct dirent *entry;
	uint32_t n = 0;
	DIR *dir;

	fd = run_fd < 0 ? -1 : openat(run_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		if (fd >= 0)
			close(fd);
		return 0;
	}
	while (n < cap && (entry = readdir(dir)))
		if (!strncmp(entry->d_name, WORD, strlen(WORD))) {
			memset(&ret[n], 0, sizeof ret[n]);
			n += read_one(run_fd, entry->d_name, &ret[n]);
		}
	closedir(dir);
	return (int)n;
}
