/* SPDX-License-Identifier: MIT */
/*
 * store - the LMDB environment and its directory
 *
 * Opening, creating, sizing and closing; what other rooms may know of a store. Creation is atomic: built in a
 * directory beside it, committed, synced, then renamed into place, so a crash leaves a store or none.
 *
 *   STORE/data.mdb, lock.mdb     LMDB's
 *   STORE/run/turn               who waits for the write lock (turn.h)
 *   STORE/run/batch.ID           lock files (lock.h)
 *   STORE/run/engine.NN          the same, and how many engines have had the number
 *   STORE/staging/after.ID       what is owed to source files (engine/owed.h)
 *   STORE/logs                   what was logged (logbook.h)
 *
 *   Threads    everything here: any thread, after open.
 *   Rules      no WRITEMAP, NOSYNC, MAPASYNC, NOLOCK, ever. data.mdb's descriptor is close-on-exec. Stale
 *              reader slots are swept at open, every 64 write transactions, and when the map is full.
 *              Reader slots: 1,024.
 */
#ifndef PEN_STORE_STORE_H
#define PEN_STORE_STORE_H

#include "include/penstock.h"
#include "ring/clock.h"
#include "ring/error.h"

/* The clock transactions and events are stamped with; tests replace it before anything runs. */
const struct pen_clock *pen_store_clock(const struct pen_store *store);
void pen_store_set_clock(struct pen_store *store, const struct pen_clock *clock);
uint64_t pen_store_id(const struct pen_store *store);
int pen_store_run_fd(const struct pen_store *store); /* STORE/run, for openat */

/* Syncs what `group` and `relaxed` transactions left to the system. 0, or -PEN_DISK_FAILED. */
int pen_store_sync(struct pen_store *store);

/* The version of LMDB that is linked. */
const char *pen_store_lmdb(void);

#endif
