/* SPDX-License-Identifier: MIT */
/*
 * archive - the regular files in a tar or zip, one after another
 *
 * tar may be compressed (gzip, zstd), and several may follow each other. A zip in a file is read by its central
 * directory; from a pipe, as it comes. Directories, links and specials are no members; they are counted.
 *
 * Names lose their "." parts and doubled slashes. A member has a code, and no data, when its name is absolute or
 * has a ".." in it (-PEN_MEMBER_OUTSIDE), is longer than PEN_PATH_BYTES_MAX (-ENAMETOOLONG), or when it is
 * encrypted (-PEN_UNSUPPORTED). Damage within one member of a zip costs that member; read says so.
 *
 * A thread of its own reads and unpacks (belt); next and read take what is there and never wait.
 *
 *   Threads    open, next, read, others, close: the reader. wake is called from the archive's thread.
 *   Memory     belt's and inflow's, libarchive's, and 128 KiB; no member is held whole. Any number of members; but
 *              libarchive keeps the directory of a zip in a file, about 160 bytes a member.
 *   Errors     -PEN_PACKED_CUT, _BAD, _WINDOW, -PEN_ENCODING_BAD, -PEN_UNSUPPORTED (a method of compression), -errno;
 *              what was whole comes first. A tar cut exactly between two members looks whole.
 *
 * This is the one door to libarchive.
 */
#ifndef PEN_ENGINE_ARCHIVE_H
#define PEN_ENGINE_ARCHIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/decode.h"
#include "store/format.h"

#define PEN_ARCHIVE_MAGIC 262u /* bytes that sniff wants to see */
#define PEN_MEMBER_SIZE_UNKNOWN UINT64_MAX

struct pen_member {
	int code; /* 0, or why it has no data */
	uint64_t size;
	int64_t mtime_ns;
	char path[PEN_PATH_BYTES_MAX + 1]; /* cut where it is too long */
};

struct pen_archive;

/* Does a text (unpacked, where it was packed) begin like a zip or a tar? */
bool pen_archive_sniff(const void *data, size_t len);

/* As for decode. skip: members to pass over first. encoding: of every member's text; UTF8 leaves them as they are. */
int pen_archive_open(const struct pen_decode_options *opt, struct pen_archive **ret, struct pen_failure *why);
/* 1: the next member (what is left of the one before is passed over); 0: the end; -EAGAIN; a failure. */
int pen_archive_next(struct pen_archive *archive, struct pen_member *ret);
/* The member's data, as pen_decode_read. 0: its end; a failure: of this member, and next may go on. */
int64_t pen_archive_read(struct pen_archive *archive, void *to, size_t len, uint64_t *ret_packed);
/* Entries so far that were no members. */
uint64_t pen_archive_others(const struct pen_archive *archive);
void pen_archive_close(struct pen_archive *archive); /* as pen_decode_close */

const char *pen_archive_version(void);

#endif
