/* SPDX-License-Identifier: MIT */
/*
 * A plain buffer of twice the size: when it is full, its last half moves to the front. So what is kept always lies in
 * one piece, and a byte is copied twice at most.
 */
#include "engine/tail.h"

#include <stdlib.h>
#include <string.h>

#include "ring/base.h"

#define FIRST 1024u

void pen_tail_init(struct pen_tail *tail, size_t keep)
{
	*tail = (struct pen_tail){ .keep = keep };
}

void pen_tail_fini(struct pen_tail *tail)
{
	free(tail->data);
	*tail = (struct pen_tail){ .keep = tail->keep };
}

void pen_tail_clear(struct pen_tail *tail)
{
	tail->len = 0;
}

static void grow(struct pen_tail *tail, size_t want)
{
	size_t cap = tail->cap ? tail->cap : FIRST;
	char *data;

	while (cap < want)
		cap *= 2;
	cap = pen_min(cap, 2 * tail->keep);
	data = cap > tail->cap ? realloc(tail->data, cap) : NULL;
	if (data) {
		tail->data = data;
		tail->cap = cap;
	}
}

void pen_tail_add(struct pen_tail *tail, const char *data, size_t len)
{
	size_t kept;

	if (len > tail->keep) {
		data += len - tail->keep;
		len = tail->keep;
	}
	if (tail->len + len > tail->cap)
		grow(tail, tail->len + len);
	if (tail->len + len > tail->cap) {
		if (len > tail->cap) {
			data += len - tail->cap;
			len = tail->cap;
		}
		kept = pen_min(pen_min(tail->len, tail->keep), tail->cap - len);
		if (kept)
			memmove(tail->data, tail->data + tail->len - kept, kept);
		tail->len = kept;
	}
	if (len)
		memcpy(tail->data + tail->len, data, len);
	tail->len += len;
}

const char *pen_tail_get(const struct pen_tail *tail, size_t *ret_len)
{
	*ret_len = pen_min(tail->len, tail->keep);
	return tail->data ? tail->data + tail->len - *ret_len : "";
}
