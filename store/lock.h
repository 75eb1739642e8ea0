/* SPDX-License-Identifier: MIT */
/*
 * lock - one runner per batch
 *
 * An open-file-description lock on STORE/run/batch.ID. It dies with its holder, so a killed run leaves
 * nothing to clean up. The file holds the pid, for people. OFD locks do not vanish when some other
 * descriptor of the file is closed, as fcntl locks of a process do.
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

#endif
