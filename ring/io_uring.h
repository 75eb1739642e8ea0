/* SPDX-License-Identifier: MIT */
/*
 * io_uring - what the ring backend's two files share: io_uring.c runs requests, io_uring_open.c gets a ring
 *
 * These three files are the only ones that know liburing.
 */
#ifndef PEN_RING_IO_URING_H
#define PEN_RING_IO_URING_H

#include <liburing.h>
#include <stdatomic.h>

#include "ring/io_backend.h"

struct pen_uring {
	struct pen_io io;
	struct io_uring ring;

	/* Owner only. */
	struct pen_io_req **live; /* by index; NULL: free */
	uint32_t *free_index;
	uint32_t free_indexes;
	uint16_t *free_slot;
	uint32_t free_slots;
	struct pen_io_list starved; /* fetches that wait for a slot */
	struct pen_io_list done;    /* not yet returned */
	bool armed;		    /* the eventfd's read is in the ring */
	uint64_t wakes;		    /* that read's buffer; nobody looks at it */

	/* Constant after open. */
	int event;
	uint32_t slots;
	uint32_t buffers; /* registered pieces */
	const char *arena;
	size_t piece;
	struct open_how how;
	unsigned flags;

	_Alignas(PEN_LINE_PAIR) _Atomic bool rung; /* set by wakers, cleared by the owner */
	_Atomic bool parked; /* set by the owner, cleared by it and by the waker that writes */
};

extern const struct pen_io_ops pen_uring_ops;

/* A free entry of the submission ring, submitting what fills it. */
struct io_uring_sqe *pen_uring_entry(struct pen_uring *u);
/* Frees what io_uring_open.c allocated; the ring itself has been left. */
void pen_uring_free(struct pen_uring *u);

#endif
