/* SPDX-License-Identifier: MIT */
/*
 * belt - a thread of its own fills blocks, another empties them
 *
 * PEN_BELT_BLOCKS blocks go round between the two: full ones one way, empty ones back, each way a lane. The filler
 * sleeps when no block is empty; the taker is woken by `wake` and never waits here.
 *
 *   Progress   front and drop are wait-free, but for the wake of a sleeping filler (once per half a belt).
 *   Threads    open, start, front, drop, close: the taker. fill runs in the belt's thread.
 *   Memory     PEN_BELT_BLOCKS x PEN_BELT_BYTES, allocated by open, touched as it is used.
 *   Stopping   close makes stop_fd readable (poll it where fill waits), lets fill return, and joins.
 */
#ifndef PEN_ENGINE_BELT_H
#define PEN_ENGINE_BELT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ring/lane.h"

#define PEN_BELT_BLOCKS 8u
#define PEN_BELT_BYTES (256u << 10)

struct pen_block {
	uint8_t *bytes; /* PEN_BELT_BYTES of them */
	uint32_t len;
	uint32_t kind;	 /* the filler's word to the taker */
	int code;	 /* likewise */
	uint64_t packed; /* likewise */
};

struct pen_belt;

struct pen_belt_options {
	/* Fills the block. False: nothing follows it. */
	bool (*fill)(void *arg, struct pen_block *block);
	void *arg;
	void (*wake)(void *arg); /* a block is there; from the belt's thread */
	void *wake_arg;
};

int pen_belt_open(const struct pen_belt_options *opt, struct pen_belt **ret); /* 0 or -errno */
int pen_belt_start(struct pen_belt *belt);				      /* 0 or -errno */
void pen_belt_close(struct pen_belt *belt); /* NULL, and not started, are allowed */
/* Readable once the belt is to stop. Do not read it. */
int pen_belt_stop_fd(const struct pen_belt *belt);
/* In fill, where it may go on for long without waiting: should it return? */
bool pen_belt_stopping(const struct pen_belt *belt);

/* The oldest full block, the same until it is dropped. NULL: none yet (or none any more); wake will be called. */
struct pen_block *pen_belt_front(struct pen_belt *belt);
void pen_belt_drop(struct pen_belt *belt);

#endif
