/* SPDX-License-Identifier: MIT */
/*
 * arena - the fixed set of chunk buffers, and the tags that name them
 *
 * The arena is one anonymous mapping cut into equal slots; slot i belongs to whoever holds tag i. Memory for
 * work in flight comes from here and nowhere else, so it cannot grow with the input. Waiting for a tag is the
 * only place where the pipeline waits for itself: every lane has room for every tag.
 *
 * Tags form a LIFO pool (the slot used last is the warmest) with one owner thread. A user of the pool (a
 * batch) that holds no tag always finds one: the pool keeps one back for each such user, so that batches
 * cannot starve each other. Only a user that joins while the others hold everything has to wait for its first
 * tag; nobody who holds one gets another before it.
 *
 *   Threads    arena: constant after open, anyone may use slots whose tag he holds. pool: its owner thread.
 *   Limits     1 .. 4096 tags, 64 users. Slots are touched only when used: an idle arena costs address space.
 *   Progress   get and put are wait-free.
 */
#ifndef PEN_RING_ARENA_H
#define PEN_RING_ARENA_H

#include <stdbool.h>
#include <stdint.h>

#include "ring/base.h"

#define PEN_TAGS_MAX 4096u
#define PEN_TAG_USERS_MAX 64u
#define PEN_TAG_NONE UINT32_MAX

struct pen_arena {
	/* Constant after open. */
	char *base;
	size_t slot_bytes; /* a multiple of the page size */
	uint32_t count;
};

/* 0, or -ENOMEM. slot_bytes is rounded up to whole pages. */
int pen_arena_open(struct pen_arena *arena, uint32_t count, size_t slot_bytes);
void pen_arena_close(struct pen_arena *arena);
static inline char *pen_arena_slot(const struct pen_arena *arena, uint32_t tag)
{
	return arena->base + (size_t)tag * arena->slot_bytes;
}

struct pen_tags {
	/* All of it: the owner thread. */
	uint32_t free_count;
	uint32_t idle_users; /* users that hold no tag: that many tags are kept back */
	uint16_t free[PEN_TAGS_MAX];
	uint16_t held[PEN_TAG_USERS_MAX];
	bool user[PEN_TAG_USERS_MAX];
};

/* The pool owns tags first .. first + count - 1. */
void pen_tags_init(struct pen_tags *tags, uint32_t first, uint32_t count);
/* Registers a user: 0 .. 63, or PEN_TAG_NONE when there are too many users for the tags. */
uint32_t pen_tags_join(struct pen_tags *tags);
/* The user must hold no tag. */
void pen_tags_leave(struct pen_tags *tags, uint32_t user);
/* A tag, or PEN_TAG_NONE when what is free is kept back for others. */
uint32_t pen_tags_get(struct pen_tags *tags, uint32_t user);
void pen_tags_put(struct pen_tags *tags, uint32_t user, uint32_t tag);

#endif
