/* SPDX-License-Identifier: MIT */
/*
 * feed - one batch's input: opens its sources in order, reads them, cuts them into chunks
 *
 * A feed never waits: step does what can be done now (a tag is free, a read has completed) and returns; the
 * reader's loop calls it again when something changed. At most one sequential read is in flight per feed
 * (more would only cost cache: the kernel reads ahead), or up to PEN_FETCHES small files of a tree.
 *
 * What a source does wrong is data: an item that is rejected with its place, said once, and the feed goes
 * on with the next one.
 *
 *   Threads    the reader's.
 */
#ifndef PEN_ENGINE_FEED_H
#define PEN_ENGINE_FEED_H

#include "engine/engine.h"

#define PEN_FETCHES 256u /* files of a tree in flight */
#define PEN_PACK_FILES 256u

struct pen_aftermath;
struct pen_feed;

/* For an admitted batch; user: its tag pool number. 0 or -ENOMEM. */
int pen_feed_open(struct pen_engine *engine, struct pen_batch *batch, uint32_t user, struct pen_feed **ret);
/* Nothing of it may be in flight. NULL is allowed. */
void pen_feed_close(struct pen_feed *feed);

/* Goes on as far as possible. True when something was done. */
bool pen_feed_step(struct pen_feed *feed);
/* A request of this feed (its `user` field) completed. */
void pen_feed_done(struct pen_feed *feed, struct pen_io_req *req);
struct pen_feed *pen_feed_of(struct pen_io_req *req);
/* Passes on whole records of a stream that has fallen silent. */
void pen_feed_flush(struct pen_feed *feed);
/* Nanoseconds after which the feed wants to be stepped though nothing completed; UINT64_MAX: no need. */
uint64_t pen_feed_patience(const struct pen_feed *feed);
/* Produce no more: finish what is in flight, then end the batch with this code (0: as if complete). First call wins. */
void pen_feed_stop(struct pen_feed *feed, int code);
bool pen_feed_stopping(const struct pen_feed *feed);
void pen_feed_pause(struct pen_feed *feed, bool pause);
/* A control chunk that takes effect in its place among the data. */
void pen_feed_note(struct pen_feed *feed, struct pen_chunk *note, enum pen_chunk_kind kind, uint32_t sqe);
/* A read of its own is in flight. */
bool pen_feed_reads(const struct pen_feed *feed);
/* A read of a pipe or terminal is in flight, which only cancelling brings back. */
bool pen_feed_blocked(const struct pen_feed *feed);
/* The END chunk is on its way; the feed has nothing in flight. */
bool pen_feed_ended(const struct pen_feed *feed);
/* A chunk of records that the program made: numbers it and sends it on. */
void pen_feed_put(struct pen_feed *feed, struct pen_chunk *chunk);
/* What becomes of the files that were read; NULL: nothing. The feed's. */
struct pen_aftermath *pen_feed_aftermath(const struct pen_feed *feed);
uint32_t pen_feed_user(const struct pen_feed *feed);

/* The jumbo buffer of the batch's is not needed any more. */
void pen_jumbo_free(struct pen_engine *engine, const struct pen_batch *batch);
/* Hands a chunk to the processor with the least work (data), or straight to the committer (everything else). */
void pen_feed_send(struct pen_engine *engine, struct pen_chunk *chunk);

#endif
