/* SPDX-License-Identifier: MIT */
/*
 * ramp - the row of a rollout that is raised step by step (engine/ramp.c judges it)
 *
 *   Threads    any; put and load in the transaction's.
 */
#ifndef PEN_STORE_RAMP_H
#define PEN_STORE_RAMP_H

#include "store/format.h"
#include "store/txn.h"

int pen_ramp_put(struct pen_txn *txn, const char *name, const struct pen_ramp *ramp);
/* -PEN_NOT_FOUND: the flag has none. */
int pen_ramp_load(struct pen_txn *txn, const char *name, struct pen_ramp *ret);
/* 0 also when there is none. */
int pen_ramp_clear(struct pen_txn *txn, const char *name);

/* For the audit. */
int pen_ramp_decode(const void *value, size_t len, const void *name, size_t name_len, struct pen_ramp *ret);

#endif
