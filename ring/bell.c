/* SPDX-License-Identifier: MIT */
#include "ring/bell.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* A weaker one is planted by tests/stress/controls.sh, which has to notice. */
#ifdef PEN_PLANT_BELL_ORDER
#define BELL_ORDER memory_order_relaxed
#else
#define BELL_ORDER memory_order_seq_cst
#endif

int pen_bell_open(struct pen_bell *bell)
{
	atomic_init(&bell->rung, 0);
	atomic_init(&bell->armed, 0);
	bell->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return bell->fd < 0 ? -errno : 0;
}

void pen_bell_close(struct pen_bell *bell)
{
	if (bell->fd >= 0)
		(void)close(bell->fd);
	bell->fd = -1;
}

void pen_bell_ring(struct pen_bell *bell)
{
	const uint64_t one = 1;

	/* PAIR(bell.ring): store, then load. Weaker, the two may cross with the consumer's and a wake is lost. */
	atomic_store_explicit(&bell->rung, 1, BELL_ORDER);
	if (atomic_load_explicit(&bell->armed, BELL_ORDER))
		(void)!write(bell->fd, &one, sizeof one); /* full is rung as well */
}

bool pen_bell_arm(struct pen_bell *bell)
{
	/* PAIR(bell.ring): store, then load, the other way round. */
	atomic_store_explicit(&bell->armed, 1, BELL_ORDER);
#ifdef PEN_PLANT_BELL_LOOK
	return true;
#endif
	if (!atomic_load_explicit(&bell->rung, BELL_ORDER))
		return true;
	pen_bell_disarm(bell);
	return false;
}

void pen_bell_disarm(struct pen_bell *bell)
{
	uint64_t n;

	/* Relaxed: a ringer that still sees it armed writes once too often. */
	atomic_store_explicit(&bell->armed, 0, memory_order_relaxed);
	(void)!read(bell->fd, &n, sizeof n); /* nothing there is nothing to clear */
	/* PAIR(bell.ring): before the lanes are looked at; acquire on the exchange keeps that look behind it. */
	(void)atomic_exchange_explicit(&bell->rung, 0, memory_order_seq_cst);
}
