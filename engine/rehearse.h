/* SPDX-License-Identifier: MIT */
/*
 * rehearse - the last stage of an engine that only plans: counts where the committer would commit
 *
 * Chunks come through the same reader and processors and are taken in the same order (window.h), so items,
 * rejects and their places are those of a run. What a run would learn from the store is learnt here from:
 *
 *   keys that come again   a keyset: exact for 2.9 million keys, then a sample
 *   keys that are there    the dataset, key by key, when it is small (PEN_REHEARSE_LOOK_BYTES), else every 64th;
 *                          each chunk looks into a snapshot of its own
 *   pages                  arithmetic (store/pages.h)
 *
 * Nothing is written, and nothing is locked but a reader slot of the store while a chunk is looked at.
 *
 *   rehearse.c        what is counted of one batch
 *   rehearse_stage.c  the thread, and the requests
 *
 *   Threads    one, where the committer's is. A batch's forecast is the program's; it is filled before its
 *              completion is posted, which is what hands it over.
 *   Memory     a batch: up to 64 MiB of keys (96 while they grow), 1 MiB of rejects' texts, 1,000 rejects.
 *   Errors     what a run would be refused with; no memory; a store that cannot be read.
 */
#ifndef PEN_ENGINE_REHEARSE_H
#define PEN_ENGINE_REHEARSE_H

#include "engine/admit.h"
#include "engine/engine.h"
#include "engine/keyset.h"
#include "store/pages.h"

#define PEN_REHEARSE_LOOK_BYTES (256ull << 20)
#define PEN_REHEARSE_LOOK_EACH 64u /* power of two */

struct pen_rehearsal;

/* Up to where answers are exact. */
struct pen_rehearsal_bounds {
	uint32_t keys;	     /* slots of the keyset */
	uint64_t look_bytes; /* of the dataset that is looked into */
};

/* For a batch whose sources were looked at. 0 or a code (see pen_admit_look). */
int pen_rehearsal_open(struct pen_engine *engine, struct pen_batch *batch,
		       const struct pen_rehearsal_bounds *bounds, struct pen_failure *why);
void pen_rehearsal_close(struct pen_rehearsal *rehearsal); /* NULL is allowed */
/* Counts a processed chunk; in order. 0, or the store could not be read. */
int pen_rehearsal_count(struct pen_rehearsal *rehearsal, struct pen_chunk *chunk);
/* Hands what was counted to the program. code: how the reading ended. */
void pen_rehearsal_end(struct pen_rehearsal *rehearsal, int code);

#endif
