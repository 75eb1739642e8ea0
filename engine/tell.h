/* SPDX-License-Identifier: MIT */
/*
 * tell - the publisher: shows other processes what the engine does, through rings in shared memory (ring/cast.h)
 *
 *	       own user's ring: opened with the engine
 *	tell <                                             file RUNDIR/STORE/OWNER.NN.ring, NN: the engine's number
 *	       another owner's: with the first batch of that owner
 *
 * A batch has a gauge in its owner's ring: what of it counts as committed, never more, so it is whole only when
 * the last item counts. What happened to it is told as events, after the gauge that contains it. Events that are
 * also in the store's journal carry their number there; those of a transaction are told when it has committed.
 * Progress is told at most 20 times a second a batch; what was held back is counted, and never a change of state.
 *
 *   Progress   nothing here waits for a reader, a lock or a disk, except open and the first batch of another
 *              owner (which looks the name up and makes a file in memory).
 *   Threads    open, close: the thread that starts or stops the engine, while the committer does not run.
 *              emit: any thread. Everything else: the committer's.
 *   Memory     one block, and PEN_TELL_RINGS rings of about 360 KiB. Nothing is allocated for an event.
 *   Limits     PEN_TELL_RINGS owners at once in an engine; the batches of further ones are not shown.
 *   Errors     none: without a ring the engine goes on and says so once. tell may be NULL everywhere: nobody is
 *              told (a rehearsal, or no memory).
 */
#ifndef PEN_ENGINE_TELL_H
#define PEN_ENGINE_TELL_H

#include "engine/engine.h"
#include "store/journal.h"

#define PEN_TELL_RINGS 16u
#define PEN_TELL_RING_BYTES (448u << 10) /* one of them, and the block */

struct pen_tell;

struct pen_tell *pen_tell_open(struct pen_engine *engine);
/* Marks the rings as closed and removes them: what they said is in the store. */
void pen_tell_close(struct pen_tell *tell);

/* The batch was admitted in the transaction of the minutes, or refused with a code. */
void pen_tell_begin(struct pen_tell *tell, struct pen_batch *batch, const struct pen_minutes *minutes);
void pen_tell_refused(struct pen_tell *tell, const struct pen_batch *batch, int code);
/* A group was committed: the batch's standing and `passed_counted` are the new ones. */
void pen_tell_group(struct pen_tell *tell, struct pen_batch *batch, const struct pen_minutes *minutes);
/* A group's transaction took so long, from having the write lock to being committed. */
void pen_tell_took(struct pen_tell *tell, uint64_t ns);
/* What was committed before is now synced; shows the batches whose numbers this changed. */
void pen_tell_synced(struct pen_tell *tell, struct pen_batch *const *batches);
/* The batch rests because of this code (a full disk), and tries again. */
void pen_tell_stall(struct pen_tell *tell, struct pen_batch *batch, int code);
/* The batch waits for its limit because of this code, for so long at most; or goes on (0). */
void pen_tell_limited(struct pen_tell *tell, struct pen_batch *batch, int code, uint64_t wait_ms);
/* The batch has left the engine; code as in its completion. */
void pen_tell_end(struct pen_tell *tell, struct pen_batch *batch, int code);
/* The disk failed: every batch is interrupted, and the rings stay behind to say so. */
void pen_tell_failed(struct pen_tell *tell, int code);

/* To be called at every turn of the committer: heartbeat, counters, notes of programs. */
void pen_tell_turn(struct pen_tell *tell);
/* Before the committer sleeps: gives wakes that are owed. Returns how long it may sleep. */
uint64_t pen_tell_rest(struct pen_tell *tell);
/* The committer has taken its last chunk. */
void pen_tell_drained(struct pen_tell *tell);

/* A program's words: leaves a note for the committer. 0, or -EAGAIN when too many wait. Any thread. */
int pen_tell_emit(struct pen_tell *tell, const uint64_t *words, uint32_t n);

#endif
