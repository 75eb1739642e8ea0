/* SPDX-License-Identifier: MIT */
/*
 * lock - one runner per batch, one number per engine
 *
 * An open-file-description lock on STORE/run/batch.ID. It dies with its holder, so a killed run leaves
 * nothing to clean up. The file holds the pid, for people. OFD locks do not vanish when some other
 * descriptor of the file is closed, as fcntl locks of a process do.
 *
 * Engines have numbers in the same way: the lowest free one, STORE/run/engine.NN. That file stays, because it
 * counts who ever had the number. The count survives every kill; a power cut may take it back, along with
 * everything in memory that it tells apart.
 */
#ifndef PEN_STORE_LOCK_H
#define PEN_STORE_LOCK_H

#include "store/store.h"

/* 0 and *ret_fd; -PEN_BATCH_BUSY and *ret_pid (0 when unknown). */
int pen_lock_batch(struct pen_store *store, uint64_t batch, int *ret_fd, uint32_t *ret_pid);
/* Removes the file and lets go. */
void pen_lock_release(struct pen_store *store, uint64_t batch, int fd);
/* The pid of the process that runs the batch now, 0 if none does. */
uint32_t pen_lock_holder(struct pen_store *store, uint64_t batch);

#define PEN_ENGINES_MAX 64u /* that have numbers, on one store */

/* The lowest free number and how many engines have had it, this one included. -EBUSY: all are taken. */
int pen_lock_engine(struct pen_store *store, uint32_t *ret_slot, uint64_t *ret_count, int *ret_fd);
/* Lets go. */
void pen_lock_engine_release(int fd);
/* True while an engine has the number. */
bool pen_lock_engine_held(struct pen_store *store, uint32_t slot);

#endif
