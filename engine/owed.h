/* SPDX-License-Identifier: MIT */
/*
 * owed - a durable list of files that something is to be done with
 *
 * STORE/staging/after.ID: a head, then a row a file (or a directory that the next files lie in), then a row
 * that closes it. It is written under another name and takes its own when it is sealed and synced; what bears
 * that name is whole. It is locked as long as it is open, so that no other process takes it for left behind.
 *
 *   Threads    one.
 *   Memory     one buffer, however long the list.
 *   Errors     -errno; -EBUSY: it is open elsewhere; -EBADMSG: it is no list, or ends before its end.
 */
#ifndef PEN_ENGINE_OWED_H
#define PEN_ENGINE_OWED_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "ring/hash.h"

struct pen_owed;

struct pen_owed_head {
	uint64_t batch;
	struct pen_sum request; /* what was asked for */
	uint32_t what;		/* enum pen_on_success */
	char move_to[PATH_MAX];
};

enum pen_owed_kind { PEN_OWED_DIR = 1, PEN_OWED_FILE };

struct pen_owed_row {
	enum pen_owed_kind kind;
	const char *path; /* of a directory: absolute; of a file: below the directory before it */
	size_t path_len;  /* up to PEN_PATH_BYTES_MAX */
	uint64_t dev, ino, size;
	int64_t mtime_ns;
};

/* A new list of the batch in directory dir. */
int pen_owed_create(const char *dir, const struct pen_owed_head *head, struct pen_owed **ret);
int pen_owed_put(struct pen_owed *owed, const struct pen_owed_row *row);
/* Nothing more comes. On return the list survives a power cut. */
int pen_owed_seal(struct pen_owed *owed);
bool pen_owed_sealed(const struct pen_owed *owed);

/* A list by its name in dir; one that was never sealed can only be closed. */
int pen_owed_adopt(const char *dir, const char *name, struct pen_owed **ret);
bool pen_owed_is_name(const char *name);
/* From the beginning. */
int pen_owed_rewind(struct pen_owed *owed, struct pen_owed_head *ret);
/* 1: a row, whose path is valid until the next call; 0: the end; negative: an error. */
int pen_owed_next(struct pen_owed *owed, struct pen_owed_row *ret);
/* drop: it has served. One that was not sealed goes anyway. NULL is allowed. */
void pen_owed_close(struct pen_owed *owed, bool drop);

#endif
