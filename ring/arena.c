/* SPDX-License-Identifier: MIT */
/*
 * arena - the fixed set of chunk buffers, and the tags that name them
 *
 * The rule of the pool in one line: a user that holds a tag gets another one only while more tags are free
 * than there are users without any. So each user without a tag finds one, and one batch alone may use all but
 * none that another is entitled to.
 *
 * The exception is a user that joins while the others hold everything: then fewer tags are free than users
 * are idle. It waits for tags to come back, and by the rule nobody who holds a tag gets any of those before
 * it.
 */
#include "ring/arena.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ring/assert.h"

int pen_arena_open(struct pen_arena *arena, uint32_t count, size_t slot_bytes)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t rounded, all;
	void *base;

	pen_assert(count >= 1);
	pen_assert(count <= PEN_TAGS_MAX);
	pen_assert(slot_bytes >= 1);
	if (slot_bytes > SIZE_MAX - page)
		return -ENOMEM;
	rounded = pen_round_up(slot_bytes, page);
	if (__builtin_mul_overflow(rounded, count, &all))
		return -ENOMEM;
	base = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (base == MAP_FAILED)
		return -ENOMEM;
	/* Advice. Registering the arena pins all its pages: of 4 KiB, that took two thirds of a small run's time. */
	(void)madvise(base, all, MADV_HUGEPAGE);
	arena->base = base;
	arena->slot_bytes = rounded;
	arena->count = count;
	return 0;
}

void pen_arena_close(struct pen_arena *arena)
{
	if (arena->base)
		pen_assert(munmap(arena->base, arena->slot_bytes * arena->count) == 0);
	arena->base = NULL;
	arena->count = 0;
}

/* How many tags the pool owns. */
static uint32_t tags_total(const struct pen_tags *tags)
{
	uint32_t total = tags->free_count;

	for (uint32_t i = 0; i < PEN_TAG_USERS_MAX; i++)
		total += tags->held[i];
	return total;
}

static uint32_t tags_users(const struct pen_tags *tags)
{
	uint32_t users = 0;

	for (uint32_t i = 0; i < PEN_TAG_USERS_MAX; i++)
		users += tags->user[i];
	return users;
}

/* What must hold between calls. Unused where pen_assert_slow is off. */
__attribute__((unused)) static bool tags_sound(const struct pen_tags *tags)
{
	uint32_t idle = 0;

	for (uint32_t i = 0; i < PEN_TAG_USERS_MAX; i++) {
		if (!tags->user[i] && tags->held[i])
			return false;
		idle += tags->user[i] && !tags->held[i];
	}
	return idle == tags->idle_users && tags_total(tags) <= PEN_TAGS_MAX;
}

void pen_tags_init(struct pen_tags *tags, uint32_t first, uint32_t count)
{
	pen_assert(count >= 1);
	pen_assert(count <= PEN_TAGS_MAX);
	pen_assert(first <= PEN_TAGS_MAX - count); /* a tag fits in 16 bits */
	*tags = (struct pen_tags){ .free_count = count };
	/* The lowest tag on top. */
	for (uint32_t i = 0; i < count; i++)
		tags->free[i] = (uint16_t)(first + count - 1 - i);
}

uint32_t pen_tags_join(struct pen_tags *tags)
{
	uint32_t users = tags_users(tags);

	if (users >= PEN_TAG_USERS_MAX || users >= tags_total(tags))
		return PEN_TAG_NONE;
	for (uint32_t i = 0; i < PEN_TAG_USERS_MAX; i++) {
		if (!tags->user[i]) {
			tags->user[i] = true;
			tags->held[i] = 0;
			tags->idle_users++;
			pen_assert_slow(tags_sound(tags));
			return i;
		}
	}
	PEN_UNREACHABLE();
}

void pen_tags_leave(struct pen_tags *tags, uint32_t user)
{
	pen_assert(user < PEN_TAG_USERS_MAX);
	pen_assert(tags->user[user]);
	pen_assert(tags->held[user] == 0);
	tags->user[user] = false;
	tags->idle_users--;
	pen_assert_slow(tags_sound(tags));
}

uint32_t pen_tags_get(struct pen_tags *tags, uint32_t user)
{
	uint32_t tag;

	pen_assert(user < PEN_TAG_USERS_MAX);
	pen_assert(tags->user[user]);
	/* A user without a tag draws on its own reserve. */
	if (tags->free_count <= (tags->held[user] ? tags->idle_users : 0))
		return PEN_TAG_NONE;
	if (!tags->held[user]++)
		tags->idle_users--;
	tag = tags->free[--tags->free_count];
	pen_assert_slow(tags_sound(tags));
	return tag;
}

void pen_tags_put(struct pen_tags *tags, uint32_t user, uint32_t tag)
{
	pen_assert(user < PEN_TAG_USERS_MAX);
	pen_assert(tags->user[user]);
	pen_assert(tags->held[user] > 0);
	pen_assert(tag < PEN_TAGS_MAX);
	pen_assert(tags->free_count < PEN_TAGS_MAX);
	if (!--tags->held[user])
		tags->idle_users++;
	tags->free[tags->free_count++] = (uint16_t)tag;
	pen_assert_slow(tags_sound(tags));
}
