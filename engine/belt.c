/* SPDX-License-Identifier: MIT */
/*
 * belt - a thread of its own fills blocks, another empties them
 *
 * The happy path: the filler takes an empty block, fills it, pushes it and calls wake; the taker looks at the
 * front, drops it, and rings once half the belt is empty: a filler that is woken for every block would sleep
 * for every block.
 *
 * What can go wrong: nothing is lost by ringing late. A filler that sleeps has found no block empty, so the taker
 * still drops all of them before it finds none full, and rings on the way.
 */
#include "engine/belt.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "ring/assert.h"
#include "ring/park.h"

struct pen_belt {
	struct pen_lane full;  /* belt's thread to taker */
	struct pen_lane empty; /* and back */
	struct pen_park park;  /* the belt's thread waits here for an empty block */

	/* The taker's. */
	struct pen_block *front;
	uint32_t quiet; /* blocks given back since the last ring */
	bool started;
	pthread_t thread;

	/* Written by the taker, once. */
	_Atomic bool stop;

	/* Constant. */
	struct pen_belt_options opt;
	int stop_fd;
	uint8_t *bytes;
	struct pen_block blocks[PEN_BELT_BLOCKS];
};

int pen_belt_stop_fd(const struct pen_belt *belt)
{
	return belt->stop_fd;
}

bool pen_belt_stopping(const struct pen_belt *belt)
{
	/* Relaxed: it only rises, and nothing is read through it. */
	return atomic_load_explicit(&belt->stop, memory_order_relaxed);
}

static void push(struct pen_lane *lane, struct pen_block *block)
{
	uint64_t word = (uintptr_t)block;
	uint32_t pushed = pen_lane_push(lane, &word, 1);

	pen_assert(pushed == 1); /* a lane holds all the blocks there are */
}

static struct pen_block *pop(struct pen_lane *lane)
{
	uint64_t word;

	return pen_lane_pop(lane, &word, 1) ? (struct pen_block *)(uintptr_t)word : NULL;
}

/* NULL: to stop. */
static struct pen_block *get_empty(struct pen_belt *belt)
{
	for (;;) {
		uint32_t ticket = pen_park_ticket(&belt->park);
		struct pen_block *block;

		if (pen_belt_stopping(belt))
			return NULL;
		block = pop(&belt->empty);
		if (block)
			return block;
		(void)pen_park_wait(&belt->park, ticket, UINT64_MAX); /* the loop looks again */
	}
}

static void *run(void *arg)
{
	struct pen_belt *belt = arg;
	bool more = true;

	(void)pthread_setname_np(pthread_self(), "pen-decode"); /* for who looks on; nothing hangs on it */
	while (more) {
		struct pen_block *block = get_empty(belt);

		if (!block)
			break;
		block->len = 0;
		block->kind = 0;
		block->code = 0;
		more = belt->opt.fill(belt->opt.arg, block);
		push(&belt->full, block);
		belt->opt.wake(belt->opt.wake_arg);
	}
	return NULL;
}

int pen_belt_open(const struct pen_belt_options *opt, struct pen_belt **ret)
{
	struct pen_belt *belt = aligned_alloc(_Alignof(struct pen_belt), sizeof(*belt));
	int rc = 0;

	if (!belt)
		return -ENOMEM;
	memset(belt, 0, sizeof(*belt));
	belt->opt = *opt;
	pen_park_init(&belt->park);
	belt->bytes = malloc((size_t)PEN_BELT_BLOCKS * PEN_BELT_BYTES);
	belt->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (belt->stop_fd < 0)
		rc = -errno;
	else if (!belt->bytes || pen_lane_init(&belt->full, PEN_BELT_BLOCKS, 0) ||
		 pen_lane_init(&belt->empty, PEN_BELT_BLOCKS, 0))
		rc = -ENOMEM;
	if (rc) {
		pen_belt_close(belt);
		return rc;
	}
	for (uint32_t i = 0; i < PEN_BELT_BLOCKS; i++) {
		belt->blocks[i].bytes = belt->bytes + (size_t)i * PEN_BELT_BYTES;
		push(&belt->empty, &belt->blocks[i]);
	}
	*ret = belt;
	return 0;
}

int pen_belt_start(struct pen_belt *belt)
{
	sigset_t all, before;
	int rc;

	/* Signals are the program's: its threads take them, not this one. */
	sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&belt->thread, NULL, run, belt);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	belt->started = !rc;
	return -rc;
}

void pen_belt_close(struct pen_belt *belt)
{
	if (!belt)
		return;
	if (belt->started) {
		atomic_store_explicit(&belt->stop, true, memory_order_relaxed); /* as in stopping */
		pen_park_ring(&belt->park);
		(void)eventfd_write(belt->stop_fd, 1); /* cannot fail: the counter is far from its limit */
		pthread_join(belt->thread, NULL);
	}
	if (belt->stop_fd >= 0)
		close(belt->stop_fd);
	pen_lane_fini(&belt->full);
	pen_lane_fini(&belt->empty);
	free(belt->bytes);
	free(belt);
}

struct pen_block *pen_belt_front(struct pen_belt *belt)
{
	if (!belt->front)
		belt->front = pop(&belt->full);
	return belt->front;
}

void pen_belt_drop(struct pen_belt *belt)
{
	pen_assert(belt->front);
	push(&belt->empty, belt->front);
	belt->front = NULL;
	if (++belt->quiet < PEN_BELT_BLOCKS / 2)
		return;
	belt->quiet = 0;
#ifndef PEN_PLANT_BELT_RING /* the race test leaves the ring out and expects to be told */
	pen_park_ring(&belt->park);
#endif
}
