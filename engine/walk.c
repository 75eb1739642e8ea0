/* SPDX-License-Identifier: MIT */
/*
 * A level is one listed directory: its names, sorted so that a directory compares as its name with a '/'
 * behind it. That is what makes a depth-first walk come out in byte order of whole paths ("a-b" before "a/c").
 *
 * A name that cannot be stat'ed is kept with its error and returned in its place. A directory that vanishes
 * between its parent's listing and its own is such an entry too.
 */
#include "engine/walk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ring/base.h"
#include "store/format.h"

struct entry {
	uint32_t at;  /* in names */
	uint32_t len; /* with the '/' of a directory */
	bool dir;
	int error;
	uint64_t ino, size;
	int64_t mtime_ns;
};

struct level {
	char *names;
	struct entry *entries;
	size_t names_len, names_cap, count, cap, next;
	size_t prefix_len; /* of the path above this level */
	struct level *up;
};

struct pen_walk {
	int dirfd;
	struct level *top;
	uint64_t others;
	char path[PEN_PATH_BYTES_MAX + 2];
};

int pen_walk_openat(int dirfd, const char *path, int flags)
{
	struct open_how how = {
		.flags = (uint64_t)(flags | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW),
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	int fd = (int)syscall(SYS_openat2, dirfd, path, &how, sizeof how);

	/* Filters that are older than openat2 deny it; the last component at least is never followed then. */
	if (fd < 0 && (errno == ENOSYS || errno == EPERM))
		fd = openat(dirfd, path, flags | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}

static _Thread_local const char *sort_names; /* qsort has no argument for its comparison */

static int by_name(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	size_t n = pen_min(x->len, y->len);
	int c = memcmp(sort_names + x->at, sort_names + y->at, n);

	return c ? c : (x->len > y->len) - (x->len < y->len);
}

static void level_free(struct level *level)
{
	free(level->names);
	free(level->entries);
	free(level);
}

static int level_add(struct level *level, const char *name, const struct entry *from)
{
	size_t len = strlen(name);
	struct entry *e;

	if (level->names_len + len + 2 > level->names_cap) {
		size_t cap = (level->names_cap + len + 2) * 2;
		char *names = cap > UINT32_MAX ? NULL : realloc(level->names, cap);

		if (!names)
			return -ENOMEM;
		level->names = names;
		level->names_cap = cap;
	}
	if (level->count == level->cap) {
		size_t cap = level->cap ? level->cap * 2 : 64;
		struct entry *entries = realloc(level->entries, cap * sizeof *entries);

		if (!entries)
			return -ENOMEM;
		level->entries = entries;
		level->cap = cap;
	}
	e = &level->entries[level->count++];
	*e = *from;
	e->at = (uint32_t)level->names_len;
	e->len = (uint32_t)(len + from->dir);
	memcpy(level->names + level->names_len, name, len);
	if (from->dir)
		level->names[level->names_len + len] = '/';
	level->names[level->names_len + e->len] = 0;
	level->names_len += e->len + 1;
	return 0;
}

static void look(int fd, const char *name, struct entry *ret, bool *ret_other)
{
	struct stat st;

	*ret = (struct entry){ 0 };
	*ret_other = false;
	if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW)) {
		ret->error = -errno;
	} else if (S_ISREG(st.st_mode)) {
		ret->ino = st.st_ino;
		ret->size = (uint64_t)st.st_size;
		ret->mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
	} else if (S_ISDIR(st.st_mode)) {
		ret->dir = true;
	} else {
		*ret_other = true;
	}
}

/* Lists the directory at walk->path (its first prefix_len bytes). 0, -ENOMEM, or the directory's own -errno. */
static int level_open(struct pen_walk *walk, size_t prefix_len, struct level **ret)
{
	struct level *level = calloc(1, sizeof *level);
	struct dirent *d;
	int rc = 0, fd;
	DIR *dir;

	if (!level)
		return -ENOMEM;
	level->prefix_len = prefix_len;
	if (prefix_len)
		walk->path[prefix_len - 1] = 0; /* "dir/" would follow a link that took dir's place */
	fd = pen_walk_openat(walk->dirfd, prefix_len ? walk->path : ".", O_RDONLY | O_DIRECTORY);
	if (prefix_len)
		walk->path[prefix_len - 1] = '/';
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		rc = fd < 0 ? fd : -errno;
		if (fd >= 0)
			close(fd);
		level_free(level);
		return rc;
	}
	while (!rc && (errno = 0, d = readdir(dir))) {
		struct entry e;
		bool other;

		if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, ".."))
			continue;
		look(fd, d->d_name, &e, &other);
		walk->others += other;
		if (!other)
			rc = level_add(level, d->d_name, &e);
	}
	if (!rc && errno)
		rc = -errno;
	closedir(dir);
	if (rc) {
		level_free(level);
		return rc;
	}
	sort_names = level->names;
	if (level->count)
		qsort(level->entries, level->count, sizeof *level->entries, by_name);
	*ret = level;
	return 0;
}

int pen_walk_open(int dirfd, struct pen_walk **ret)
{
	struct pen_walk *walk = calloc(1, sizeof *walk);
	int rc;

	if (!walk)
		return -ENOMEM;
	walk->dirfd = dirfd;
	rc = level_open(walk, 0, &walk->top);
	if (rc) {
		pen_walk_close(walk);
		return rc;
	}
	*ret = walk;
	return 0;
}

void pen_walk_close(struct pen_walk *walk)
{
	if (!walk)
		return;
	while (walk->top) {
		struct level *up = walk->top->up;

		level_free(walk->top);
		walk->top = up;
	}
	free(walk);
}

static void fill(struct pen_walk *walk, const struct entry *e, size_t len, int error,
		 struct pen_walk_file *ret)
{
	*ret = (struct pen_walk_file){
		.path = walk->path,
		.path_len = len,
		.ino = e->ino,
		.size = e->size,
		.mtime_ns = e->mtime_ns,
		.error = error,
	};
}

int pen_walk_next(struct pen_walk *walk, struct pen_walk_file *ret)
{
	while (walk->top) {
		struct level *level = walk->top, *below;
		struct entry *e;
		size_t len;
		int rc;

		if (level->next == level->count) {
			walk->top = level->up;
			level_free(level);
			continue;
		}
		e = &level->entries[level->next++];
		len = level->prefix_len + e->len;
		if (len > PEN_PATH_BYTES_MAX) {
			len = PEN_PATH_BYTES_MAX;
			memcpy(walk->path + level->prefix_len, level->names + e->at, len - level->prefix_len);
			walk->path[len] = 0;
			fill(walk, e, len, -ENAMETOOLONG, ret);
			return 1;
		}
		memcpy(walk->path + level->prefix_len, level->names + e->at, (size_t)e->len + 1);
		if (!e->dir) {
			fill(walk, e, len, e->error, ret);
			return 1;
		}
		rc = level_open(walk, len, &below);
		if (rc == -ENOMEM)
			return rc;
		if (rc) {
			fill(walk, e, len, rc, ret);
			return 1;
		}
		below->up = level;
		walk->top = below;
	}
	return 0;
}

uint64_t pen_walk_others(const struct pen_walk *walk)
{
	return walk->others;
}

struct pen_sum pen_walk_path_hash(const struct pen_walk_file *file)
{
	return pen_hash128(file->path, file->path_len);
}

struct pen_sum pen_walk_file_hash(const struct pen_walk_file *file)
{
	uint64_t facts[3] = { file->ino, file->size, (uint64_t)file->mtime_ns };

	return pen_hash_record(file->path, file->path_len, facts, sizeof facts);
}
