/* SPDX-License-Identifier: MIT */
/*
 * admit - may this batch run, as which one, and from where?
 *
 *   no batch of this identity             a new one
 *   complete, sources as they were        nothing to do: its numbers stand
 *   complete, sources changed             a new one (said)
 *   unfinished, somebody runs it          -PEN_BATCH_BUSY
 *   unfinished, sources as they were      goes on at its checkpoint
 *   unfinished, files changed             -PEN_CHANGED, unless fresh: then the old one is cancelled
 *
 * Trees are compared by the feed, which walks them anyway. All in one write transaction, so that two
 * processes that start the same batch at once cannot both create it.
 *
 *   Threads    the committer's; look: the rehearsal's.
 */
#ifndef PEN_ENGINE_ADMIT_H
#define PEN_ENGINE_ADMIT_H

#include "engine/engine.h"
#include "store/journal.h"
#include "store/probe.h"

/*
 * Fills the batch's id, place and standing and takes its lock, or says why not; the minutes have its events. 0, a
 * code about the batch (nothing was changed), or a store's code (-PEN_DISK_FULL and the like; try again).
 */
int pen_admit(struct pen_engine *engine, struct pen_batch *batch, struct pen_minutes *minutes,
	      struct pen_failure *why);

struct pen_look {
	enum pen_fate fate;
	uint64_t batch; /* the one that goes on, is complete, is replaced, or stands in the way; 0: none */
	struct pen_probe
		*probe; /* of the dataset, the caller's; NULL: there is no store, or it cannot be looked at */
};
/*
 * Asks the same questions of a snapshot, for a rehearsal: fills the batch's place and standing as pen_admit would,
 * takes no lock and writes nothing. The same codes; *ret is filled whatever they are.
 */
int pen_admit_look(struct pen_engine *engine, struct pen_batch *batch, struct pen_look *ret,
		   struct pen_failure *why);

#endif
