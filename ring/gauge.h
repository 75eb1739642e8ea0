/* SPDX-License-Identifier: MIT */
/*
 * gauge - one set of numbers, written by one thread, read whole by any
 *
 * Two copies and a sequence number that says which one is good. The writer fills the other copy and then
 * flips, so there is a good copy at every moment: also while a write is under way, also if the writer died in
 * the middle of it. A reader that was overtaken by two writes notices and tries again.
 *
 *   Progress   write is wait-free. read takes at most 8 tries; each failed one means the writer finished a
 *              write in the meantime. Readers write nothing and cannot slow the writer but by reading its
 *              lines.
 *   Threads    write: the one writer. read: anyone.
 *   Memory     no pointers inside: may lie anywhere, may be copied while nobody writes.
 *   Limits     32 words.
 *
 * Overlap (X = caller keeps them apart, - = may run together):
 *
 *            write read init
 *     write    X    -    X
 *     read     -    -    X
 *
 * Orderings: gauge.flip, gauge.reuse (docs/CONCURRENCY.md).
 */
#ifndef PEN_RING_GAUGE_H
#define PEN_RING_GAUGE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "ring/base.h"

#define PEN_GAUGE_WORDS 32u

struct pen_gauge {
	/* Written by the writer, read by anyone. */
	_Alignas(PEN_LINE_PAIR) _Atomic uint64_t seq; /* writes so far; copy seq & 1 is good */
	_Atomic uint64_t words[2][PEN_GAUGE_WORDS];
};

/* All words 0. */
void pen_gauge_init(struct pen_gauge *gauge);
/* Replaces the whole set: words n .. 31 become 0. n is at most 32. Writer. */
void pen_gauge_write(struct pen_gauge *gauge, const uint64_t *words, uint32_t n);
/*
 * The first n words of one write. False, with words untouched, when the writer was faster 8 times in a row:
 * the caller goes on with the numbers it had. Anyone.
 */
bool pen_gauge_read(const struct pen_gauge *gauge, uint64_t *words, uint32_t n);

#endif
