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
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/glob.h"
#include "ring/base.h"
#include "ring/beneath.h"
#include "store/format.h"

struct entry {
	uint32_t at;  /* in names */
	uint32_t len; /* with the '/' of a directory */
	bool dir;
	bool link; /* followed */
	int error;
	uint64_t dev, ino, size;
	int64_t mtime_ns;
};

struct level {
	char *names;
	struct entry *entries;
	size_t names_len, names_cap, count, cap, next;
	size_t prefix_len; /* of the path above this level */
	bool linked;	   /* a link leads here */
	uint64_t dev, ino;
	struct level *up;
};

struct pen_walk {
	int dirfd;
	struct pen_walk_options opt;
	struct level *top;
	uint64_t others, loops;
	char path[PEN_PATH_BYTES_MAX + 2];
};

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

/* What the link at walk->path leads to, if that lies below the root. */
static void look_behind(struct pen_walk *walk, struct entry *e, struct stat *ret)
{
	int fd = pen_beneath_open(walk->dirfd, walk->path, O_PATH, true);

	e->link = true;
	if (fd < 0) {
		e->error = fd;
		return;
	}
	if (fstat(fd, ret))
		e->error = -errno;
	close(fd);
	/* Without openat2 the last part is opened, not followed. */
	if (!e->error && S_ISLNK(ret->st_mode))
		e->error = -ELOOP;
}

/* walk->path has its path when that is short enough to be opened. True: neither file nor directory. */
static bool look(struct pen_walk *walk, int fd, const char *name, bool whole_path, struct entry *ret)
{
	struct stat st = { 0 };

	*ret = (struct entry){ 0 };
	if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW))
		ret->error = -errno;
	else if (S_ISLNK(st.st_mode) && walk->opt.follow && whole_path)
		look_behind(walk, ret, &st);
	if (ret->error)
		return false;
	if (S_ISREG(st.st_mode)) {
		ret->dev = st.st_dev;
		ret->ino = st.st_ino;
		ret->size = (uint64_t)st.st_size;
		ret->mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
	} else if (S_ISDIR(st.st_mode)) {
		ret->dir = true;
	} else {
		return true;
	}
	return false;
}

static bool is_meant(const struct pen_walk *walk, const char *path, size_t len, bool dir)
{
	const struct pen_filter *filter = walk->opt.filter;

	return !filter || (dir ? pen_filter_dir(filter, path, len) : pen_filter_file(filter, path, len));
}

/* One name of the directory that is being listed. 0 or -ENOMEM. */
static int take_name(struct pen_walk *walk, struct level *level, int fd, const char *name, bool dir)
{
	size_t len = level->prefix_len + strlen(name);
	bool whole = len <= PEN_PATH_BYTES_MAX;
	struct entry e;
	bool other;

	if (whole)
		memcpy(walk->path + level->prefix_len, name, len - level->prefix_len + 1);
	/* Spares the look at files that are not meant; what is not known to be a directory may be a link to one. */
	if (whole && dir && !is_meant(walk, walk->path, len, true))
		return 0;
	other = look(walk, fd, name, whole, &e);
	if (whole && !is_meant(walk, walk->path, len, e.dir))
		return 0;
	walk->others += other;
	return other ? 0 : level_add(level, name, &e);
}

/* Opens the directory at walk->path (its first prefix_len bytes). The descriptor, or the directory's own -errno. */
static int open_level(struct pen_walk *walk, struct level *level)
{
	size_t n = level->prefix_len;
	struct stat st;
	int fd;

	if (n)
		walk->path[n - 1] = 0; /* "dir/" would follow a link that took dir's place */
	fd = pen_walk_openat(walk->dirfd, n ? walk->path : ".", O_RDONLY | O_DIRECTORY, level->linked);
	if (n)
		walk->path[n - 1] = '/';
	if (fd >= 0 && !fstat(fd, &st)) {
		level->dev = st.st_dev;
		level->ino = st.st_ino;
	}
	return fd;
}

static bool is_loop(const struct level *level)
{
	for (const struct level *up = level->up; up && level->linked; up = up->up)
		if (up->dev == level->dev && up->ino == level->ino)
			return true;
	return false;
}

static int list(struct pen_walk *walk, struct level *level, DIR *dir, int fd)
{
	struct dirent *d;
	int rc = 0;

	while (!rc && (errno = 0, d = readdir(dir)))
		if (strcmp(d->d_name, ".") && strcmp(d->d_name, ".."))
			rc = take_name(walk, level, fd, d->d_name, d->d_type == DT_DIR);
	return rc ? rc : -errno;
}

/* Lists the directory at walk->path. 0 (*ret is NULL when it is a loop), -ENOMEM, or the directory's own -errno. */
static int level_open(struct pen_walk *walk, size_t prefix_len, bool link, struct level **ret)
{
	struct level *level = calloc(1, sizeof *level);
	int rc = 0, fd;
	DIR *dir;

	if (!level)
		return -ENOMEM;
	level->prefix_len = prefix_len;
	level->up = walk->top;
	level->linked = link || (walk->top && walk->top->linked);
	fd = open_level(walk, level);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		rc = fd < 0 ? fd : -errno;
		if (fd >= 0)
			close(fd);
		level_free(level);
		return rc;
	}
	*ret = NULL;
	if (is_loop(level)) {
		walk->loops++;
		closedir(dir);
		level_free(level);
		return 0;
	}
	rc = list(walk, level, dir, fd);
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

int pen_walk_openat(int dirfd, const char *path, int flags, bool follow)
{
	return pen_beneath_open(dirfd, path, flags, follow);
}

int pen_walk_open(int dirfd, const struct pen_walk_options *opt, struct pen_walk **ret)
{
	struct pen_walk *walk = calloc(1, sizeof *walk);
	int rc;

	if (!walk)
		return -ENOMEM;
	walk->dirfd = dirfd;
	walk->opt = *opt;
	rc = level_open(walk, 0, false, &walk->top);
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
		.dev = e->dev,
		.ino = e->ino,
		.size = e->size,
		.mtime_ns = e->mtime_ns,
		.error = error,
		.linked = e->link || walk->top->linked,
	};
}

int pen_walk_next(struct pen_walk *walk, struct pen_walk_file *ret)
{
	while (walk->top) {
		struct level *level = walk->top, *below = NULL;
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
		rc = level_open(walk, len, e->link, &below);
		if (rc == -ENOMEM)
			return rc;
		if (rc) {
			fill(walk, e, len, rc, ret);
			return 1;
		}
		if (below)
			walk->top = below;
	}
	return 0;
}

uint64_t pen_walk_others(const struct pen_walk *walk)
{
	return walk->others;
}

uint64_t pen_walk_loops(const struct pen_walk *walk)
{
	return walk->loops;
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
