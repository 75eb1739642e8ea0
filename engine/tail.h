/* SPDX-License-Identifier: MIT */
/*
 * tail - the last bytes of a stream
 *
 *   Threads    one.
 *   Memory     at most twice `keep`; nothing before the first byte. Where memory is refused, less is kept.
 */
#ifndef PEN_ENGINE_TAIL_H
#define PEN_ENGINE_TAIL_H

#include <stddef.h>
#include <stdint.h>

struct pen_tail {
	char *data;
	size_t len; /* in data; the last `keep` of them count */
	size_t cap;
	size_t keep;
};

void pen_tail_init(struct pen_tail *tail, size_t keep);
void pen_tail_fini(struct pen_tail *tail);
void pen_tail_add(struct pen_tail *tail, const char *data, size_t len);
/* Valid until the next add. Never NULL. */
const char *pen_tail_get(const struct pen_tail *tail, size_t *ret_len);
void pen_tail_clear(struct pen_tail *tail);

#endif
