/* SPDX-License-Identifier: MIT */
/*
 * logbook - the files of a log: one a day and stream, kept for so long, and the chain of audit lines
 *
 *	application-2026-11-24.log   every line                    14 days
 *	error-2026-11-24.log         lines of level error          14 days
 *	security-2026-11-24.log      lines of kind security        30 days
 *	audit-2026-11-24.log         lines of kind audit, chained  for ever
 *	audit.head                   the last line's hash; who appends to the chain has it locked
 *
 * Any number of processes append to the same files: whole lines, in one write each time. A line of audit ends with the
 * hash of the line before it, wherever that stands, and its own, which is SHA-256 over all that stands before it:
 *
 *	{...,"prev":"64 hex digits","hash":"64 hex digits"}
 *
 *   Threads    a book belongs to one thread at a time. write and its opening of files are async-signal-safe.
 *   Memory     none is allocated but the hasher.
 *   Limits     a file has at most file_bytes (audit: no limit); what comes then is dropped and counted. A pass of
 *              retention looks at 4,096 names and removes 64 files.
 *   Errors     -errno. Links are never followed, and what is no plain file is refused with -EPERM.
 */
#ifndef PEN_STORE_LOGBOOK_H
#define PEN_STORE_LOGBOOK_H

#include <stdbool.h>
#include <stdint.h>

#include "include/penstock.h"
#include "ring/sha256.h"

enum pen_logbook_stream {
	PEN_LOGBOOK_APPLICATION,
	PEN_LOGBOOK_ERROR,
	PEN_LOGBOOK_SECURITY,
	PEN_LOGBOOK_AUDIT,
	PEN_LOGBOOK_STREAMS
};

#define PEN_LOGBOOK_NAME 40u
#define PEN_LOGBOOK_HASH 64u  /* hex digits */
#define PEN_LOGBOOK_SEAL 160u /* what audit adds to a line, at most */

struct pen_logbook {
	int dir;
	uint64_t file_bytes;
	uint32_t keep_days[PEN_LOGBOOK_STREAMS]; /* 0: for ever */
	struct {
		int fd; /* -1: none is open */
		uint64_t day;
		bool torn; /* the last write ended within a line */
		bool full;
	} files[PEN_LOGBOOK_STREAMS];
	uint64_t dropped; /* lines, so far */
	struct pen_sha256 *hasher;
};

/* dir is made if it is missing. 0, or -PEN_LOG_PLACE, -PEN_MEMORY. */
int pen_logbook_open(struct pen_logbook *book, const char *dir, struct pen_failure *why);
void pen_logbook_close(struct pen_logbook *book);
/* "error-2026-11-24.log", NUL behind it. day: since 1970. */
void pen_logbook_name(enum pen_logbook_stream stream, uint64_t day, char ret[PEN_LOGBOOK_NAME]);
/* Whole lines, each with its newline. 0, or -errno and they are dropped (and counted). */
int pen_logbook_write(struct pen_logbook *book, enum pen_logbook_stream stream, uint64_t day,
		      const char *lines, size_t len, uint32_t count);
/* Removes files that are older than they are kept. How many. */
uint32_t pen_logbook_tidy(struct pen_logbook *book, uint64_t today);

/*
 * Seals a line (without its closing brace; PEN_LOGBOOK_SEAL more bytes have room behind it) and appends it to the
 * chain. *len becomes the whole line's with its newline. Durable when it returns 0.
 */
int pen_logbook_audit(struct pen_logbook *book, uint64_t day, char *line, size_t *len);

#endif
