/* SPDX-License-Identifier: MIT */
#include "ring/arena.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

Test(arena, slots_are_whole_pages_apart_and_zero)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	const size_t sizes[] = { 1, page - 1, page, page + 1, 64 * page };

	for (size_t i = 0; i < PEN_COUNT(sizes); i++) {
		struct pen_arena arena;

		cr_assert_eq(pen_arena_open(&arena, 3, sizes[i]), 0);
		cr_assert_geq(arena.slot_bytes, sizes[i]);
		cr_assert_lt(arena.slot_bytes, sizes[i] + page);
		cr_assert_eq(arena.slot_bytes % page, 0);
		for (uint32_t t = 0; t < 3; t++) {
			cr_assert_eq(pen_arena_slot(&arena, t), arena.base + t * arena.slot_bytes);
			cr_assert_eq(pen_arena_slot(&arena, t)[arena.slot_bytes - 1], 0);
			memset(pen_arena_slot(&arena, t), (int)t, arena.slot_bytes);
		}
		pen_arena_close(&arena);
		pen_arena_close(&arena);
	}
}

Test(arena, sizes_beyond_the_address_space_are_refused_and_leave_the_arena)
{
	struct pen_arena arena = { .count = 99 };

	cr_assert_eq(pen_arena_open(&arena, 1, SIZE_MAX), -ENOMEM);
	cr_assert_eq(pen_arena_open(&arena, 4096, SIZE_MAX / 4096 + 1), -ENOMEM);
	cr_assert_eq(pen_arena_open(&arena, 4096, SIZE_MAX / 8192), -ENOMEM);
	cr_assert_eq(arena.count, 99);
}

Test(tags, one_user_gets_every_tag_once_the_last_put_first)
{
	static struct pen_tags tags;
	bool seen[100] = { false };
	uint32_t user, tag;

	pen_tags_init(&tags, 10, 90);
	user = pen_tags_join(&tags);
	for (int i = 0; i < 90; i++) {
		tag = pen_tags_get(&tags, user);
		cr_assert_geq(tag, 10);
		cr_assert_lt(tag, 100);
		cr_assert_not(seen[tag]);
		seen[tag] = true;
	}
	cr_assert_eq(pen_tags_get(&tags, user), PEN_TAG_NONE);
	pen_tags_put(&tags, user, 17);
	pen_tags_put(&tags, user, 55);
	cr_assert_eq(pen_tags_get(&tags, user), 55);
	cr_assert_eq(pen_tags_get(&tags, user), 17);
}

Test(tags, a_tag_is_kept_back_for_each_user_without_one)
{
	static struct pen_tags tags;
	uint32_t a, b, c, tag;

	pen_tags_init(&tags, 0, 4);
	a = pen_tags_join(&tags);
	b = pen_tags_join(&tags);
	c = pen_tags_join(&tags);
	cr_assert_eq(tags.idle_users, 3);
	cr_assert_neq(pen_tags_get(&tags, a), PEN_TAG_NONE);
	cr_assert_eq(tags.idle_users, 2);
	tag = pen_tags_get(&tags, a);
	cr_assert_neq(tag, PEN_TAG_NONE);
	cr_assert_eq(pen_tags_get(&tags, a), PEN_TAG_NONE, "two are free, both are kept back");
	pen_tags_leave(&tags, c);
	cr_assert_eq(tags.idle_users, 1);
	pen_tags_put(&tags, a, tag);
	cr_assert_neq(pen_tags_get(&tags, a), PEN_TAG_NONE);
	cr_assert_neq(pen_tags_get(&tags, a), PEN_TAG_NONE);
	cr_assert_eq(pen_tags_get(&tags, a), PEN_TAG_NONE);
	cr_assert_neq(pen_tags_get(&tags, b), PEN_TAG_NONE);
	cr_assert_eq(tags.idle_users, 0);
	cr_assert_eq(tags.free_count, 0);
}

Test(tags, no_more_users_than_tags_and_never_more_than_64)
{
	static struct pen_tags tags;

	pen_tags_init(&tags, 0, 2);
	cr_assert_eq(pen_tags_join(&tags), 0);
	cr_assert_eq(pen_tags_join(&tags), 1);
	cr_assert_eq(pen_tags_join(&tags), PEN_TAG_NONE);
	pen_tags_leave(&tags, 0);
	cr_assert_eq(pen_tags_join(&tags), 0);

	pen_tags_init(&tags, 0, PEN_TAGS_MAX);
	for (uint32_t i = 0; i < PEN_TAG_USERS_MAX; i++)
		cr_assert_eq(pen_tags_join(&tags), i);
	cr_assert_eq(pen_tags_join(&tags), PEN_TAG_NONE);
}

Test(tags, a_late_user_gets_the_first_tag_that_comes_back)
{
	static struct pen_tags tags;
	uint32_t a, b, held[3];

	pen_tags_init(&tags, 0, 3);
	a = pen_tags_join(&tags);
	for (int i = 0; i < 3; i++)
		held[i] = pen_tags_get(&tags, a);
	b = pen_tags_join(&tags);
	cr_assert_neq(b, PEN_TAG_NONE);
	cr_assert_eq(pen_tags_get(&tags, b), PEN_TAG_NONE, "nothing is free yet");
	pen_tags_put(&tags, a, held[1]);
	cr_assert_eq(pen_tags_get(&tags, a), PEN_TAG_NONE, "it is kept back for b");
	cr_assert_eq(pen_tags_get(&tags, b), held[1]);
}

/* xorshift64* */
static uint64_t next_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dull;
}

struct model {
	uint32_t tag[PEN_TAG_USERS_MAX][64];
	uint32_t held[PEN_TAG_USERS_MAX];
	bool in[PEN_TAG_USERS_MAX];
	bool fed[PEN_TAG_USERS_MAX]; /* a tag was free for it since it joined */
	bool out[64];
};

static void check_tags(const struct pen_tags *tags, const struct model *m, uint32_t count, uint64_t seed)
{
	uint32_t idle = 0, held = 0, fed_idle = 0;

	for (uint32_t u = 0; u < PEN_TAG_USERS_MAX; u++) {
		held += m->held[u];
		idle += m->in[u] && !m->held[u];
		fed_idle += m->in[u] && !m->held[u] && m->fed[u];
	}
	cr_assert_eq(tags->idle_users, idle, "seed %llu", (unsigned long long)seed);
	cr_assert_eq(tags->free_count + held, count, "seed %llu", (unsigned long long)seed);
	cr_assert_geq(tags->free_count, fed_idle, "seed %llu: a user without a tag would starve",
		      (unsigned long long)seed);
}

/*
 * Goal: whatever the users do, each one without a tag can get one. Method: random joins, gets, puts and
 * leaves against a model; a user that joined while too little was free counts from the moment when enough
 * was.
 */
Test(tags, no_user_starves_whatever_the_others_do)
{
	for (uint64_t seed = 1; seed <= 300; seed++) {
		uint64_t state = seed * 0x9e3779b97f4a7c15ull;
		uint32_t count = 1 + (uint32_t)(next_random(&state) % 64);
		static struct pen_tags tags;
		static struct model m;

		memset(&m, 0, sizeof(m));
		pen_tags_init(&tags, 0, count);
		for (int step = 0; step < 2000; step++) {
			uint32_t u = (uint32_t)(next_random(&state) % (count < 8 ? count : 8));
			uint32_t what = (uint32_t)(next_random(&state) % 16);

			if (!m.in[u]) {
				uint32_t got = pen_tags_join(&tags);

				cr_assert_neq(got, PEN_TAG_NONE);
				cr_assert_not(m.in[got]);
				m.in[got] = true;
				m.fed[got] = false;
			} else if (what < 10) {
				uint32_t tag = pen_tags_get(&tags, u);

				if (tag == PEN_TAG_NONE) {
					cr_assert(m.held[u] || !m.fed[u], "seed %llu",
						  (unsigned long long)seed);
					cr_assert_leq(tags.free_count, m.held[u] ? tags.idle_users : 0);
				} else {
					cr_assert_not(m.out[tag]);
					m.out[tag] = true;
					m.tag[u][m.held[u]++] = tag;
					m.fed[u] = true;
				}
			} else if (m.held[u]) {
				uint32_t tag = m.tag[u][--m.held[u]];

				m.out[tag] = false;
				pen_tags_put(&tags, u, tag);
			} else if (what == 15) {
				pen_tags_leave(&tags, u);
				m.in[u] = false;
			}
			if (tags.free_count >= tags.idle_users)
				for (uint32_t i = 0; i < PEN_TAG_USERS_MAX; i++)
					m.fed[i] |= m.in[i];
			else /* a newcomer and a user that just put its last tag share what is there */
				for (uint32_t i = 0; i < PEN_TAG_USERS_MAX; i++)
					m.fed[i] &= m.held[i] > 0;
			check_tags(&tags, &m, count, seed);
		}
	}
}

/*
 * Goal: a user that joined into a drained pool is served before anybody who holds tags. Method: greedy users
 * take all, others join, then tags come back one at a time while everybody who holds one keeps asking.
 */
Test(tags, newcomers_are_served_before_the_greedy)
{
	for (uint32_t late = 1; late <= 31; late++) {
		static struct pen_tags tags;
		uint32_t taken[32], n = 0, tag, a, b;

		pen_tags_init(&tags, 0, 32);
		a = pen_tags_join(&tags);
		while ((tag = pen_tags_get(&tags, a)) != PEN_TAG_NONE)
			taken[n++] = tag;
		cr_assert_eq(n, 32);
		for (uint32_t i = 0; i < late; i++)
			cr_assert_neq(pen_tags_join(&tags), PEN_TAG_NONE);
		for (uint32_t i = 0; i < late; i++) {
			pen_tags_put(&tags, a, taken[--n]);
			cr_assert_eq(pen_tags_get(&tags, a), PEN_TAG_NONE);
		}
		for (b = 1; b <= late; b++)
			cr_assert_neq(pen_tags_get(&tags, b), PEN_TAG_NONE);
		cr_assert_eq(tags.free_count, 0);
	}
}
