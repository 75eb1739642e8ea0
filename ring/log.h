/* SPDX-License-Identifier: MIT */
/*
 * log - the logger's way from those who log to the one who writes: a ring of bytes for each thread
 *
 * What a thread logs is copied as a record into a ring of its own, and taken by the one writer (store/logger.h), which
 * picks the earliest record of all rings. The public calls are those of penstock_log.h; this is the writer's side.
 *
 *   Progress   put is wait-free once the thread has its ring: no lock, no allocation, one atomic exchange, and a wake
 *              for the first record since the writer looked last. peek and pass are wait-free and may run in a signal
 *              handler.
 *   Threads    put: any. peek, pass, reset, lost: the one writer (or whoever took its place for good).
 *   Memory     PEN_LOG_RING_BYTES for each thread at its first record; a ring whose thread ended is the next thread's.
 *   Limits     PEN_LOG_RINGS threads at once; those beyond lose what they log, and it is counted.
 *
 * Orderings: log.publish, log.recycle, log.rung, log.claim (docs/CONCURRENCY.md).
 */
#ifndef PEN_RING_LOG_H
#define PEN_RING_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "include/penstock.h"
#include "ring/base.h"
#include "ring/clock.h"
#include "ring/park.h"

#define PEN_LOG_RINGS 128u
#define PEN_LOG_RING_BYTES (256u << 10)
#define PEN_LOG_RECORD_BYTES 6144u
#define PEN_LOG_MESSAGE_BYTES 2048u
#define PEN_LOG_FIELD_BYTES 1024u
#define PEN_LOG_FRAMES 24u

/* A record as it lies in a ring; behind it: correlation, user, message, fields, frames (8 bytes each, aligned). */
struct pen_log_record {
	uint32_t bytes; /* in all, a multiple of 8 */
	uint16_t message_len;
	uint8_t kind; /* enum pen_log_kind; PEN_LOG_KINDS: nothing, up to the ring's end */
	uint8_t level;
	uint64_t time_ms;
	uint64_t batch, item;
	int32_t code;
	uint8_t module, severity, field_count, frame_count;
	uint8_t correlation_len, user_len;
	bool has_item, cut; /* cut: something of the message or a field is missing */
	uint32_t tid;
};
_Static_assert(sizeof(struct pen_log_record) % 8 == 0, "frames behind it stay aligned");

/* A field behind its record: this, the name, then the text or 8 bytes. Not aligned. */
struct pen_log_packed {
	uint8_t type; /* enum pen_log_type; 0: a text that is NULL */
	uint8_t name_len;
	uint16_t value_len;
};

/* Where who logs says that there is something. */
struct pen_log_bell {
	struct pen_park park; /* the writer sleeps here */
	struct pen_park
		hurry; /* and here, for a moment, so that more comes together; rung when a ring is half full */
};
extern struct pen_log_bell pen_log_bell;

/* Whom a line is about that names nobody: the calling thread's own. Set once, by a room above. */
typedef void pen_log_whose_fn(const char **ret_correlation_id, const char **ret_user_id);
void pen_log_set_whose(pen_log_whose_fn *whose);

/* From now on put takes records, stamped by this clock; or takes none any more. The writer's. */
void pen_log_start(const struct pen_clock *clock);
void pen_log_stop(void);
bool pen_log_started(void);
/* Forgets what is in the rings. */
void pen_log_reset(void);
/* Before a look at the rings: what comes after it rings again. */
void pen_log_look(void);
/* The earliest record, or NULL; it lies still until pass. */
const struct pen_log_record *pen_log_peek(void);
void pen_log_pass(void);
/* Records lost since the last call. */
uint64_t pen_log_lost(void);
/* In a child: nobody writes here, and the rings of threads that are not here are free. */
void pen_log_forked(void);

/* ---- levels (log_level.c) --------------------------------------------------------------------- */

/* Words of levels that processes share: this lies in the file, and is mapped over. */
#define PEN_LOG_WORDS_MAGIC "penlogl1"
struct pen_log_words {
	char magic[8];
	uint8_t zero[24];
	struct {
		char name[24];		/* "": free */
		_Atomic uint32_t level; /* 1 + enum pen_log_level; 0: not said */
		uint32_t zero;
	} at[PEN_LOG_MODULES];
};
_Static_assert(sizeof(struct pen_log_words) == 32 + 32 * PEN_LOG_MODULES, "as in the file");

/* Maps the file of a directory over the words, made if it may be. 0 or -errno: the words stay this process's own. */
int pen_log_words_open(int dirfd);
void pen_log_words_close(void);
/* Writes them. */
int pen_log_words_set(int dirfd, const char *levels, struct pen_failure *why);
long pen_log_words_text(int dirfd, char *ret, size_t cap);
/* Forgets what this process was told of its own. */
void pen_log_levels_reset(void);

#endif
