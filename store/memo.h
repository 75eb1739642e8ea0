/* SPDX-License-Identifier: MIT */
/*
 * memo - a small environment beside the store, for what may be lost with the last second
 *
 * STORE/limits: an LMDB environment of its own, so that writing to it never waits for the store's writer. Rows are
 * numbered and opaque; each carries a CRC, and one that does not fit its CRC is left out when rows are read: what is
 * kept here is worth less than a store that opens.
 *
 *   Threads    any; one call at a time in a process, because LMDB must not open an environment twice in one.
 *   Crashes    a write is one transaction, synced.
 *   Limits     1 GiB.
 */
#ifndef PEN_STORE_MEMO_H
#define PEN_STORE_MEMO_H

#include <stddef.h>
#include <stdint.h>

struct pen_store;

struct pen_memo_row {
	uint32_t number;
	const void *data;
	size_t len; /* 0: there shall be none */
};

int pen_memo_write(struct pen_store *store, const struct pen_memo_row *rows, size_t count);
/* Calls fn for every row, in order of numbers. 0 also when there is no such environment; fn's answer ends it. */
typedef int pen_memo_fn(void *arg, uint32_t number, const void *data, size_t len);
int pen_memo_read(struct pen_store *store, pen_memo_fn *fn, void *arg);

#endif
