/* SPDX-License-Identifier: MIT */
/*
 * park - one consumer sleeps until some producer rings
 *
 * An event count (ck_ec32, multi-producer mode) with our futex calls. The consumer looks at its lanes,
 * takes a ticket, looks again, and sleeps only if nobody rang after the ticket:
 *
 *	while (!work()) {
 *		ticket = pen_park_ticket(&p);
 *		if (work()) break;
 *		pen_park_wait(&p, ticket, timeout_ns);
 *	}
 *
 *   Progress   ring is wait-free, and makes a system call only when the consumer sleeps. Ring once per
 *              batch of words pushed, after the push: a wake costs the waker about 8 us.
 *   Threads    ring: anyone. ticket, wait: the one consumer.
 *   Lost wakes none: a ring after the ticket makes wait return at once; a ring before it happens before
 *              the second look, which then sees what was pushed.
 *
 * Ordering: park.ring (docs/CONCURRENCY.md). This is the only door to ck's event count; the file is compiled
 * without the race checker, which cannot see ck's inline assembly. The data ordering is the lanes' own.
 */
#ifndef PEN_RING_PARK_H
#define PEN_RING_PARK_H

#include <stdbool.h>
#include <stdint.h>

#include "ring/base.h"

struct pen_park {
	/* ck_ec32, hidden: written by ringers (counter) and the consumer (sleeper flag). */
	_Alignas(PEN_LINE_PAIR) uint32_t word;
	_Alignas(PEN_LINE_PAIR) uint64_t timeouts; /* waits that ended by their timeout; consumer only */
};

void pen_park_init(struct pen_park *park);
uint32_t pen_park_ticket(const struct pen_park *park);
/* Sleeps until a ring after the ticket, or timeout_ns (UINT64_MAX: for ever). False: timed out. Spins a
 * little and yields first. May return true early. */
bool pen_park_wait(struct pen_park *park, uint32_t ticket, uint64_t timeout_ns);
void pen_park_ring(struct pen_park *park);

#endif
