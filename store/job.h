/* SPDX-License-Identifier: MIT */
/*
 * job - what is kept, beside its state, of a batch whose items end one by one
 *
 * Written in the transaction of each group, like the state.
 */
#ifndef PEN_STORE_JOB_H
#define PEN_STORE_JOB_H

#include "store/format.h"
#include "store/txn.h"

int pen_job_save(struct pen_txn *txn, const struct pen_fmt_job *job); /* head is filled in */
/* -PEN_NOT_FOUND: its items do not end one by one. */
int pen_job_load(struct pen_txn *txn, uint64_t id, struct pen_fmt_job *ret);
int pen_job_read(struct pen_store *store, uint64_t id, struct pen_fmt_job *ret);

/* For the audit. */
int pen_job_decode(const void *value, size_t len, uint64_t id, struct pen_fmt_job *ret);

#endif
