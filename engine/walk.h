/* SPDX-License-Identifier: MIT */
/*
 * walk - the regular files of a tree, in byte order of their paths
 *
 * One directory is open at a time, only while it is listed, so deep trees need few descriptors. Memory is
 * the names of the directories on the way from the root to here. What the filter leaves out is as if it were
 * not there. A directory that cannot be read is returned with its error, once.
 *
 * Symbolic links are not followed; they and everything else that is no regular file are counted, not returned.
 * With `follow` a link stands for what it leads to, at its own path, as long as that lies below the root; one
 * that leads out of it is returned with -EXDEV (so is one whose target is an absolute path, wherever that
 * leads), one that leads nowhere with its error. A link to a directory it lies in is counted and not followed.
 *
 *   Threads    one.
 *   Limits     paths up to PEN_PATH_BYTES_MAX; what lies deeper is returned with -ENAMETOOLONG under its
 *              cut path.
 */
#ifndef PEN_ENGINE_WALK_H
#define PEN_ENGINE_WALK_H

#include <stdbool.h>
#include <stdint.h>

#include "ring/hash.h"

struct pen_filter;
struct pen_walk;

struct pen_walk_options {
	const struct pen_filter *filter; /* NULL: everything; must outlive the walk */
	bool follow;
};

struct pen_walk_file {
	const char *path; /* below the root; valid until the next call */
	size_t path_len;
	uint64_t dev, ino, size;
	int64_t mtime_ns;
	int error;   /* 0, or -errno: this entry could not be looked at */
	bool linked; /* a symbolic link leads to it: to be opened with `follow` */
};

/* Walks below dirfd, which stays the caller's and must stay open. 0, -ENOMEM, or the root's own -errno. */
int pen_walk_open(int dirfd, const struct pen_walk_options *opt, struct pen_walk **ret);
void pen_walk_close(struct pen_walk *walk);
/* 1: a file; 0: the end; negative: -ENOMEM. */
int pen_walk_next(struct pen_walk *walk, struct pen_walk_file *ret);
/* Entries passed so far that were no regular files or directories. */
uint64_t pen_walk_others(const struct pen_walk *walk);
/* Links passed so far that lead to a directory they lie in. */
uint64_t pen_walk_loops(const struct pen_walk *walk);

/*
 * Opens a path below dirfd, never blocking on a FIFO, never outside dirfd. Symbolic links are errors (-ELOOP); with
 * follow those that lead out of it (-EXDEV). flags as for open(2). The descriptor, or -errno.
 */
int pen_walk_openat(int dirfd, const char *path, int flags, bool follow);

/* Order-independent fingerprints: of a file's path, and of its path, size, inode and time. */
struct pen_sum pen_walk_path_hash(const struct pen_walk_file *file);
struct pen_sum pen_walk_file_hash(const struct pen_walk_file *file);

#endif
