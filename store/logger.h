/* SPDX-License-Identifier: MIT */
/*
 * logger - the thread that takes records from the rings (ring/log.h) and writes them as lines (store/logbook.h)
 *
 *	closed --open--> open --close--> closed
 *	                  `--last (a signal ends the process)--> for ever
 *
 * The thread sleeps until a record comes, waits a moment for more, and writes all of them with one call a file. Who
 * formats and writes has the turn: the thread for as long as it writes, or the handler of a crash signal, for good.
 *
 *   Threads    open and close: one at a time; flush: any; last: a signal handler.
 *   Memory     static: about 600 KiB that only an open logger touches. Symbols of a trace are allocated while it is
 *              written.
 *   Errors     of files are counted, said once to people (pen_log_options.notice), and in the log when it goes on.
 *
 * Ordering: logger.turn (docs/CONCURRENCY.md).
 */
#ifndef PEN_STORE_LOGGER_H
#define PEN_STORE_LOGGER_H

#include "ring/log_line.h"

/* The clock of the next pen_log_open(); tests set another one. */
void pen_logger_set_clock(const struct pen_clock *clock);

/* ---- where a line was called from (logger_trace.c) ---------------------------------------------- */

/* "0x5581aa" of an address, without stdio. */
void pen_logger_hex(uintptr_t address, char ret[20]);
/* The record's frames behind the line; its length. last: addresses alone, and nothing is allocated. */
size_t pen_logger_trace(const struct pen_log_record *rec, char *line, size_t len, size_t cap,
			struct pen_log_scratch *scratch, bool last);

/* ---- the system's journal (logger_journal.c) ---------------------------------------------------- */

#define PEN_JOURNAL_SOCKET "/run/systemd/journal/socket"
/* A socket that is connected to it, or -errno. */
int pen_journal_open(const char *path);
/* What does not get through is dropped: the files have it. */
void pen_journal_send(int fd, const struct pen_log_record *rec, const char *line, size_t len,
		      struct pen_log_scratch *scratch);

/* ---- how long operations take (logger_tally.c) -------------------------------------------------- */

#define PEN_TALLY_OPERATIONS 32u

/* Of an operation: how often, and how long by powers of two of microseconds. The writer's. */
struct pen_tally_row {
	char name[64];
	uint64_t count, sum_us, max_us;
	uint64_t buckets[40]; /* [i]: below 2^i us */
};
struct pen_logger_tally {
	struct pen_tally_row rows[PEN_TALLY_OPERATIONS];
	uint32_t count;
};
void pen_logger_tally_add(struct pen_logger_tally *tally, const struct pen_log_record *rec);
/* The bucket's upper bound below which this share (in thousandths) lies, at most the longest. */
uint64_t pen_logger_tally_us(const struct pen_tally_row *row, unsigned permille);
/* A line for each operation that came more than once. */
void pen_logger_tally_tell(const struct pen_logger_tally *tally);

#endif
