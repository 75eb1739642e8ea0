/* SPDX-License-Identifier: MIT */
/*
 * bell - wakes a thread that sleeps on descriptors
 *
 * For a consumer of lanes that must wait for files too (park.h is for those that need not). It looks at its lanes, then
 *
 *	if (pen_bell_arm(&bell)) {             nobody rang since the last disarm
 *		epoll_wait(... pen_bell_fd(&bell) among them ...);
 *		pen_bell_disarm(&bell);
 *	}
 *
 *   Progress   ring is wait-free, and makes a system call only when the consumer sleeps.
 *   Threads    ring: anyone. arm, disarm: the one consumer.
 *   Lost wakes none: either the ringer sees that the bell is armed, or the consumer sees that it was rung.
 *
 * Ordering: bell.ring (docs/CONCURRENCY.md).
 */
#ifndef PEN_RING_BELL_H
#define PEN_RING_BELL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "ring/base.h"

struct pen_bell {
	_Alignas(PEN_LINE_PAIR) _Atomic uint32_t rung; /* written by ringers, cleared by the consumer */
	_Atomic uint32_t armed;			       /* written by the consumer */
	int fd;
};

/* 0 or -errno. */
int pen_bell_open(struct pen_bell *bell);
void pen_bell_close(struct pen_bell *bell);
void pen_bell_ring(struct pen_bell *bell);
/* False: it was rung, look again. True: sleep, then disarm. */
bool pen_bell_arm(struct pen_bell *bell);
void pen_bell_disarm(struct pen_bell *bell);
static inline int pen_bell_fd(const struct pen_bell *bell)
{
	return bell->fd;
}

#endif
