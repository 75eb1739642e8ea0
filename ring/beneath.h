/* SPDX-License-Identifier: MIT */
/*
 * beneath - opens below a directory that cannot lead out of it, whatever others do to the tree meanwhile
 *
 * The kernel decides, in one call (openat2 with RESOLVE_BENEATH and RESOLVE_NO_MAGICLINKS): there is no
 * moment between a check and its use. Where a filter denies openat2, the path is opened part by part with
 * O_NOFOLLOW, which is as safe and slower; a path with ".." is then refused with -EXDEV, also where it would
 * have stayed inside, and links are never followed.
 *
 *   Threads    any.
 *   Limits     PATH_MAX. Opens are O_CLOEXEC and O_NONBLOCK; the walk holds one descriptor beside dirfd.
 *   Errors     -errno; -ELOOP for a symbolic link, -EXDEV for a way out.
 */
#ifndef PEN_RING_BENEATH_H
#define PEN_RING_BENEATH_H

#include <stdbool.h>

/* flags as for open(2). follow: symbolic links that stay below dirfd are followed. The descriptor, or -errno. */
int pen_beneath_open(int dirfd, const char *path, int flags, bool follow);
/* The same where openat2 is known to be denied. */
int pen_beneath_walk(int dirfd, const char *path, int flags);

#endif
