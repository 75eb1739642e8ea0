/* SPDX-License-Identifier: MIT */
/*
 * pin - what flags said when a batch was made
 *
 * One row a batch that flags gate, written with the batch and removed with it. The flags that are named there are asked
 * again while it runs (engine/gate.h); the draw of a rollout is not.
 *
 *   Threads    any; put and load in the transaction's.
 *   Limits     PEN_FLAG_GATES_MAX flags a batch.
 */
#ifndef PEN_STORE_PIN_H
#define PEN_STORE_PIN_H

#include "store/format.h"
#include "store/txn.h"

int pen_pin_put(struct pen_txn *txn, uint64_t batch, const struct pen_flag_pin *pins, uint32_t count);
/* How many, 0 when there is no row; or a code. ret has room for PEN_FLAG_GATES_MAX. */
int pen_pin_load(struct pen_txn *txn, uint64_t batch, struct pen_flag_pin *ret);
int pen_pin_read(struct pen_store *store, uint64_t batch, struct pen_flag_pin *ret);
/* 0 also when there is none. */
int pen_pin_clear(struct pen_txn *txn, uint64_t batch);

/* For the audit: how many, or a code. */
int pen_pin_decode(const void *value, size_t len, uint64_t batch, struct pen_flag_pin *ret);

#endif
