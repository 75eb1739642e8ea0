/* SPDX-License-Identifier: MIT */
/*
 * inflow - the bytes of a descriptor as text: read, unpacked, turned into UTF-8
 *
 * Pulled by one thread, which waits where a pipe is silent. What can be decoded is given before a failure is
 * said, and a failure is said again by every later pull.
 *
 *   Threads    an inflow belongs to one thread at a time. Writing to stop_fd (an eventfd that nobody reads) ends
 *              its waiting.
 *   Memory     input 128 KiB; unpack's; 64 KiB where the encoding is not UTF-8. Whatever the ratio.
 *   Errors     unpack's, -PEN_ENCODING_BAD, -errno of a read, -ECANCELED after stop.
 */
#ifndef PEN_ENGINE_INFLOW_H
#define PEN_ENGINE_INFLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "include/penstock.h"

#define PEN_INFLOW_STREAM (-1)

struct pen_inflow_options {
	int fd;		/* borrowed */
	int64_t offset; /* where in the file to begin (its position is not used); PEN_INFLOW_STREAM: a pipe */
	const void *prefix; /* bytes that stand before those; copied */
	size_t prefix_len;
	enum pen_compression compression; /* not AUTO */
	enum pen_encoding encoding;
	int stop_fd; /* -1: none */
};

struct pen_inflow;

int pen_inflow_open(const struct pen_inflow_options *opt, struct pen_inflow **ret); /* 0 or -ENOMEM */
void pen_inflow_close(struct pen_inflow *inflow);				    /* NULL is allowed */
/*
 * Text, until `cap` (at least PEN_RECODE_ROOM) is nearly full or waiting would be needed for more. Waits only
 * for the first byte. 0: the end.
 */
int64_t pen_inflow_pull(struct pen_inflow *inflow, void *to, size_t cap);
/* Bytes of prefix and descriptor that the text so far was made of. */
uint64_t pen_inflow_packed(const struct pen_inflow *inflow);

#endif
