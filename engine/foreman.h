/* SPDX-License-Identifier: MIT */
/*
 * foreman - hands single items to children, and what becomes of them to the committer
 *
 *	processors --chunks--> foreman --results, chunks, END--> committer
 *	reader ----control-----^    `<-------packs given back-------'
 *
 * For batches whose items end one by one (plan->job). It takes their chunks in the order they were cut, gives item
 * after item to the batch's crew, packs what comes back (result.h), and passes a chunk on when all of its items
 * ended: that moves the checkpoint. So the checkpoint lags, and rows say what ended behind it; a run that resumes
 * leaves those items out.
 *
 * An item that may be tried again ends as a row too, with the time it is due. It holds nothing here while it waits:
 * when the time has come, rows that are due are read from the store, a few at a time, and given to the crew like
 * others. The batch's END waits until no row waits any more, unless the run is over for another reason, or may leave.
 *
 *   pause      nothing new is given; what runs ends.
 *   no room    nothing new is given while less is free than the engine was told (headroom.h); what runs goes on.
 *   stop       the same, and then everything is passed on as it is, END last. Whatever ended counts.
 *   cancel     stop, and the crew is told to end its children.
 *
 *   Threads    one, its own. push, rest: the lanes' producers.
 *   Memory     PACKS packs an engine; tasks a batch as many as its crew takes at once; rows that are tried again while
 *              they are. Chunks are the arena's.
 *   Limits     PEN_BATCHES_MAX batches.
 */
#ifndef PEN_ENGINE_FOREMAN_H
#define PEN_ENGINE_FOREMAN_H

#include "engine/engine.h"
#include "engine/result.h"

struct pen_foreman;

/* 0 or -ENOMEM, -errno. Before the threads start. */
int pen_foreman_open(struct pen_engine *engine, struct pen_foreman **ret);
void pen_foreman_close(struct pen_foreman *foreman); /* NULL is allowed */
void *pen_foreman_main(void *foreman);

/* A chunk of such a batch. lane: the processor's number, or the number of processors for the reader. */
void pen_foreman_push(struct pen_foreman *foreman, uint32_t lane, struct pen_chunk *chunk);
/* That lane's producer will push no more. */
void pen_foreman_end(struct pen_foreman *foreman, uint32_t lane);
/* The pack's transaction has committed, or it was dropped (durable false). The committer. */
void pen_foreman_back(struct pen_foreman *foreman, struct pen_pack *pack, bool durable);
/* Something it looks at has changed: a batch's stop or cancel, the engine's drain. Any thread. */
void pen_foreman_wake(struct pen_foreman *foreman);

#endif
