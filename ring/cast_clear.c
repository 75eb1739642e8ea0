/* SPDX-License-Identifier: MIT */
/*
 * cast_clear - removes what engines that were killed left behind, in the directories of all stores
 *
 * An engine removes its own rings, and those of its number in its store; a store that nobody opens again keeps what
 * a SIGKILL left there. A file goes when it is ours and more than a day old, and its header names a process that is
 * no more; one in the making (its name begins with a dot) goes when it is ours and that old, unless it is a ring of a
 * process that lives. Whatever else lies there is left alone, as is the ring of a process in another pid namespace.
 * A directory that becomes empty goes; who was about to use it makes it again (pen_cast_place).
 *
 * Nothing is trusted: links are not followed, nothing is mapped (it may be cut short), and what belongs to others is
 * left alone. Bounded: so many names, directories and files, from a place that differs from start to start.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ring/base.h"
#include "ring/cast_private.h"

#define AGE_MS (24 * 3600 * 1000ull)
#define NAMES_MAX 16384u
#define DIRS_MAX 256u
#define FILES_MAX 1024u

struct clearing {
	uint64_t now_ms;
	uint32_t files; /* looked at */
	uint32_t removed;
};

static bool is_old(const struct clearing *c, const struct stat *st)
{
	return st->st_mtim.tv_sec >= 0 && (uint64_t)st->st_mtim.tv_sec * 1000 + AGE_MS < c->now_ms;
}

/* 1: a ring whose writer is gone. 0: a ring whose writer may be there. -1: not a ring of this version. */
static int is_dead(int fd, const struct stat *st)
{
	uint8_t page[PEN_RING_PAGE];
	struct pen_ring ring;

	memset(&ring, 0, sizeof(ring));
	if (pread(fd, page, sizeof(page), 0) != (ssize_t)sizeof(page) ||
	    pen_ring_take(&ring, page, (uint64_t)st->st_size))
		return -1;
	return pen_ring_process_gone(&ring);
}

static bool is_left_over(const struct clearing *c, int dir, const char *name, struct stat *st)
{
	int fd, dead;

	if (fstatat(dir, name, st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st->st_mode) || st->st_uid != geteuid() ||
	    !is_old(c, st))
		return false;
	fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return false;
	/* It may be another file by now. */
	dead = fstat(fd, st) || !S_ISREG(st->st_mode) || st->st_uid != geteuid() || !is_old(c, st)
		       ? 0
		       : is_dead(fd, st);
	(void)close(fd);
	return name[0] == '.' ? dead != 0 : dead > 0;
}

/*
 * Between the look and the removal an engine may have given the name to its own ring: it is taken away under another
 * name, looked at again, and put back if it is not the one.
 */
static void remove_it(struct clearing *c, int dir, const char *name, const struct stat *seen)
{
	char aside[64];
	struct stat st;

	(void)snprintf(aside, sizeof(aside), ".gone.%d.%u", (int)getpid(), c->removed);
	PEN_CAST_POINT(left_over);
	if (renameat2(dir, name, dir, aside, RENAME_NOREPLACE))
		return;
	if (!fstatat(dir, aside, &st, AT_SYMLINK_NOFOLLOW) && st.st_ino == seen->st_ino &&
	    st.st_dev == seen->st_dev)
		c->removed += !unlinkat(dir, aside, 0);
	else if (renameat2(dir, aside, dir, name, RENAME_NOREPLACE))
		(void)unlinkat(dir, aside, 0); /* there is a newer one already */
}

static bool is_ring_name(const char *name)
{
	size_t len = strlen(name);

	if (!strcmp(name, ".") || !strcmp(name, ".."))
		return false;
	return name[0] == '.' || (len > 5 && !strcmp(name + len - 5, ".ring"));
}

static bool is_store_name(const char *name)
{
	return strlen(name) == 16 && strspn(name, "0123456789abcdef") == 16;
}

/* A directory's names; it gets a descriptor of its own. NULL: it cannot be read. */
static DIR *names_of(int dir)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *names = fd >= 0 ? fdopendir(fd) : NULL;

	if (!names && fd >= 0)
		(void)close(fd);
	return names;
}

static void clear_store(struct clearing *c, int run, const char *name)
{
	int dir = openat(run, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	uint32_t before = c->removed;
	struct dirent *entry;
	struct stat at, st;
	DIR *names = NULL;

	if (dir < 0)
		return;
	/* Where others may write, a name may change under us at any time. */
	if (!fstat(dir, &at) && at.st_uid == geteuid() && !(at.st_mode & (S_IWGRP | S_IWOTH)))
		names = names_of(dir);
	for (uint32_t i = 0; names && i < NAMES_MAX && c->files < FILES_MAX && (entry = readdir(names));
	     i++) {
		if (!is_ring_name(entry->d_name))
			continue;
		c->files++;
		if (is_left_over(c, dir, entry->d_name, &st))
			remove_it(c, dir, entry->d_name, &st);
	}
	(void)close(dir);
	if (!names)
		return;
	(void)closedir(names);
	/* One that is new and empty is somebody's who is about to use it. */
	if (c->removed > before || is_old(c, &at))
		(void)unlinkat(run, name, AT_REMOVEDIR); /* if it is empty */
}

static uint32_t count_stores(DIR *names)
{
	struct dirent *entry;
	uint32_t n = 0;

	for (uint32_t i = 0; i < NAMES_MAX && (entry = readdir(names)); i++)
		n += is_store_name(entry->d_name);
	rewinddir(names);
	return n;
}

uint32_t pen_cast_clear(int store_dir, const struct pen_clock *clock)
{
	int run = openat(store_dir, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *names = run >= 0 && !pen_cast_place_check(run, NULL) ? names_of(run) : NULL;
	uint32_t count = names ? count_stores(names) : 0, at = 0;
	uint32_t first = count > DIRS_MAX ? (uint32_t)(pen_mono_ns(clock) / 1000 % count) : 0;
	struct clearing c = { .now_ms = pen_real_ms(clock) };
	struct dirent *entry;

	for (uint32_t i = 0; count && i < NAMES_MAX && (entry = readdir(names)); i++) {
		if (!is_store_name(entry->d_name))
			continue;
		if ((at++ + count - first) % count < DIRS_MAX)
			clear_store(&c, run, entry->d_name);
	}
	if (names)
		(void)closedir(names);
	if (run >= 0)
		(void)close(run);
	return c.removed;
}
