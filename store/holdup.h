/* SPDX-License-Identifier: MIT */
/*
 * holdup - what the workers of a store wait for, for those who ask why nothing begins
 *
 * A worker that waits writes a sentence into STORE/run/queue.PID and holds an open-file-description lock on it as long
 * as it lives. So what a dead one wrote is told from what is true. Advisory: nothing depends on it, and where it cannot
 * be written, nothing is said.
 *
 *   Threads    one a holdup; reading, any.
 *   Limits     sentences of PEN_HOLDUP_TEXT bytes.
 */
#ifndef PEN_STORE_HOLDUP_H
#define PEN_STORE_HOLDUP_H

#include "store/store.h"

struct pen_holdup_file {
	int fd; /* -1: not made yet */
	char text[PEN_HOLDUP_TEXT];
};

static inline void pen_holdup_init(struct pen_holdup_file *h)
{
	h->fd = -1;
	h->text[0] = 0;
}

/* text "": it waits for nothing. Does nothing when that was said last. */
void pen_holdup_say(struct pen_holdup_file *h, struct pen_store *store, const char *text);
void pen_holdup_end(struct pen_holdup_file *h, struct pen_store *store);

#endif
