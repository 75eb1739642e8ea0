/* SPDX-License-Identifier: MIT */
/*
 * glob - which files of a tree are meant
 *
 *   ?        one byte, but no '/'
 *   [a-z]    one of these bytes, [!a-z] or [^a-z] one of the others, but no '/'; ']' first stands for itself
 *   *        any bytes without a '/'
 *   **       any bytes; where it stands between slashes or at the beginning, also no directory at all:
 *            a/ ** /b (without the blanks) fits a/b, a/x/b, a/x/y/b
 *   \c       c itself
 *
 * A pattern without '/' is matched against the file's name, at any depth; one with a '/' against the whole path below
 * the root (a '/' at its beginning says only that). A '/' at its end: directories alone. Bytes, not
 * characters; a leading dot is nothing special; letters differ from capitals.
 *
 * A filter is two lists. A file or directory that fits an exclude is passed over, a directory with all that lies in it;
 * where there are includes, only files that fit one are meant. Exclude wins.
 *
 *   Threads    a parsed glob or filter is constant: any thread.
 *   Memory     one block a pattern. Matching allocates nothing.
 *   Progress   at most (bytes of the path) x (bytes of the pattern) steps, whatever the pattern.
 *   Limits     PEN_GLOB_BYTES a pattern, PEN_GLOBS_MAX patterns a list.
 */
#ifndef PEN_ENGINE_GLOB_H
#define PEN_ENGINE_GLOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "include/penstock.h"

#define PEN_GLOB_BYTES 1023u
#define PEN_GLOBS_MAX 256u

struct pen_glob;

/* 0; -ENOMEM; or -PEN_USAGE and in *ret_what what is wrong with it, for "the pattern '%s' %s". */
int pen_glob_parse(const char *pattern, struct pen_glob **ret, const char **ret_what);
void pen_glob_free(struct pen_glob *glob); /* NULL is allowed */
/* dir: the path is a directory's (without a '/' at its end). */
bool pen_glob_match(const struct pen_glob *glob, const char *path, size_t len, bool dir);

struct pen_filter {
	struct pen_glob **include, **exclude;
	size_t include_count, exclude_count;
};

/* Parses the lists of a pen_run. 0, -PEN_USAGE, -ENOMEM; what was parsed is freed by fini in any case. */
int pen_filter_init(struct pen_filter *filter, const struct pen_run *run, struct pen_failure *why);
void pen_filter_fini(struct pen_filter *filter);
/* Writes what tells this filter from others; nothing for one that leaves nothing out. */
bool pen_filter_sign(const struct pen_filter *filter, FILE *f);
/* Is this file meant? Is anything in this directory? The directories above were asked before. */
bool pen_filter_file(const struct pen_filter *filter, const char *path, size_t len);
bool pen_filter_dir(const struct pen_filter *filter, const char *path, size_t len);

#endif
