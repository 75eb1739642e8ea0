/* SPDX-License-Identifier: MIT */
/*
 * diary - what an engine logs of its batches (penstock_log.h)
 *
 * A handful of lines a batch, whatever it holds: how it begins and ends, what people want of it, why it rests; the
 * first rejected and failed items, and at the end how many there were; one line each for its commits, tries and cache.
 * Items one by one only at level debug.
 *
 *   Progress   nothing here waits; without a logger it is one look at a word.
 *   Threads    the committer's, unless said otherwise. Nothing of it is durable, or part of a transaction.
 *   Memory     pen_diary in the batch; nothing is allocated.
 */
#ifndef PEN_ENGINE_DIARY_H
#define PEN_ENGINE_DIARY_H

#include <stdint.h>

#include "include/penstock.h"

struct pen_batch;
struct pen_chunk;
struct pen_engine;

#define PEN_DIARY_ITEMS 3u /* of a kind that are named, at level warn */

struct pen_diary {
	uint32_t flaws_said, unsafe_said, fates_said;
	uint32_t slow_said;
	uint64_t commits, commit_sum_us, commit_max_us;
	uint32_t commit_buckets[28]; /* [i]: below 2^i us */
	uint64_t rejected, failed;   /* when it began in this engine */
	bool stalled;
};

/* Whom a line about the batch is about. Any thread that may read the batch. */
struct pen_log_context pen_diary_context(const struct pen_batch *batch, unsigned module);

/* It was admitted (already: nothing is to be done, or only that it is entered), or refused. */
void pen_diary_begin(struct pen_batch *batch);
void pen_diary_refused(const struct pen_batch *batch, int code);
/* A chunk of a group that was committed. */
void pen_diary_chunk(struct pen_batch *batch, const struct pen_chunk *chunk);
/* A group's transaction took so long. */
void pen_diary_commit(struct pen_batch *batch, uint64_t ns, uint64_t items);
/* It rests because of this code, and goes on. */
void pen_diary_stall(struct pen_batch *batch, int code, const char *why);
void pen_diary_unstall(struct pen_batch *batch);
/* It has left the engine; code as in its completion. */
void pen_diary_end(struct pen_batch *batch, int code);
/* Nothing more can be written, or something else is wrong with the engine as a whole. Any thread. */
void pen_diary_fault(int code, const char *what);
/* What people are told once. Any thread. */
void pen_diary_notice(int code, const char *text);

#endif
