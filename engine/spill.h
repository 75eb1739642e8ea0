/* SPDX-License-Identifier: MIT */
/*
 * spill - a sorted run in a file
 *
 *	file   blocks, one behind the other, until its length
 *	block  head, then records that lie wholly in it; PEN_SPILL_BLOCK bytes, or, for a record that is larger, as many
 *	       pages as that takes; the last one as many pages as it needs
 *	record a row of numbers (struct pen_spill_row), key, path, value, up to 8 bytes
 *
 * A block's head carries a CRC32C of all behind it that is in use. The digest of a run is that of its blocks' heads.
 *
 * Writing goes past the page cache where the file system can (O_DIRECT): what is written is read once, later, and would
 * only push other pages out. Space is taken before. Reading goes through it, one block ahead, and lets go of what
 * was read.
 *
 *   Threads    one a file.
 *   Memory     a writer 1 MiB; a reader one block. A record larger than a block is mapped while it is in hand.
 *   Errors     -PEN_DISK_FULL: nothing is lost but the file. -PEN_DISK_FAILED: an error of the disk. -PEN_RUN_DAMAGED:
 *              the
 *              file is not what was written, or not there.
 */
#ifndef PEN_ENGINE_SPILL_H
#define PEN_ENGINE_SPILL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "ring/error.h"
#include "store/format.h"

#define PEN_SPILL_BLOCK (256u << 10)

/* A record's facts, as they lie in a file and in memory before. Behind it: key, path, value. */
struct pen_spill_row {
	uint64_t item; /* in its batch */
	uint64_t line, offset;
	uint32_t source, value_len;
	uint16_t key_len, path_len;
	uint32_t unused;
};

static inline size_t pen_spill_bytes(const struct pen_spill_row *row)
{
	return (sizeof *row + row->key_len + row->path_len + (size_t)row->value_len + 7) & ~(size_t)7;
}
static inline const char *pen_spill_key(const struct pen_spill_row *row)
{
	return (const char *)(row + 1);
}
static inline const char *pen_spill_path(const struct pen_spill_row *row)
{
	return pen_spill_key(row) + row->key_len;
}
static inline const char *pen_spill_value(const struct pen_spill_row *row)
{
	return pen_spill_path(row) + row->path_len;
}

/* ---- writing --------------------------------------------------------------------------------- */

struct pen_spill_writer;

/* A new file name in the directory, in place of one that is there; bytes: about as many as it will have. */
int pen_spill_create(int dir, const char *name, uint64_t batch, uint32_t number, uint64_t bytes,
		     struct pen_spill_writer **ret, struct pen_failure *why);
/* In rising order of keys. */
int pen_spill_put(struct pen_spill_writer *writer, const struct pen_spill_row *row, struct pen_failure *why);
/* Ends the file and syncs it and its name: records, bytes and digest of *ret are filled in. The writer is gone either
 * way,
 * and the file too when this fails. */
int pen_spill_seal(struct pen_spill_writer *writer, struct pen_fmt_run *ret, struct pen_failure *why);
/* Removes the file. NULL is allowed. */
void pen_spill_abandon(struct pen_spill_writer *writer);

/* ---- reading --------------------------------------------------------------------------------- */

struct pen_spill;

/* run: its row of the manifest. The first record, if there is one, is in hand only after a seek. */
int pen_spill_open(int dir, const char *name, const struct pen_fmt_run *run, struct pen_spill **ret,
		   struct pen_failure *why);
void pen_spill_close(struct pen_spill *spill); /* NULL is allowed */
/* The record at a stop ({ 0 }: the first) comes in hand. */
int pen_spill_seek(struct pen_spill *spill, const struct pen_fmt_stop *stop, struct pen_failure *why);
/* The record in hand, or NULL at the end. Valid until the next call. */
const struct pen_spill_row *pen_spill_row(const struct pen_spill *spill);
/* On to the next one. */
int pen_spill_next(struct pen_spill *spill, struct pen_failure *why);
/* Where the record in hand is. */
struct pen_fmt_stop pen_spill_stop(const struct pen_spill *spill);

/* pwrite(2); tests replace it. */
extern ssize_t (*pen_spill_pwrite)(int fd, const void *data, size_t len, off_t at);

#endif
