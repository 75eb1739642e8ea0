/* SPDX-License-Identifier: MIT */
/*
 * stress/post - many threads leave notes, one collects: each note once and whole, each thread's in order
 *
 * Words of a note are computed from its first, so a torn copy is noticed; the cells are plain memory, so the race
 * checker sees any order that is missing. A note that found the post full is left again or given up, as chance wants.
 * PEN_SEED, PEN_SECS.
 */
#include "ring/post.h"

#include <pthread.h>
#include <string.h>

#include "tests/lib/stress.h"

#define LEAVERS 6u

struct leaver {
	pthread_t thread;
	uint64_t seed, number, left, refused;
};

static struct pen_post post;
static struct leaver leavers[LEAVERS];
static _Atomic bool over;
static _Atomic unsigned gone;

static void fill(uint64_t *words, uint64_t first)
{
	for (uint32_t w = 0; w < PEN_POST_WORDS; w++)
		words[w] = w ? stress_mix(first + w) : first;
}

static void *leave(void *arg)
{
	struct leaver *me = arg;
	struct stress_random random = stress_random(me->seed);
	uint64_t words[PEN_POST_WORDS];

	while (!atomic_load(&over)) {
		fill(words, me->number << 48 | me->left);
		if (pen_post_leave(&post, words, PEN_POST_WORDS)) {
			me->left++;
		} else {
			me->refused++;
			sched_yield();
		}
		stress_pause(&random);
	}
	atomic_fetch_add(&gone, 1);
	return NULL;
}

static bool collect(uint64_t next[LEAVERS])
{
	uint64_t got[PEN_POST_WORDS], want[PEN_POST_WORDS], who;

	if (!pen_post_take(&post, got))
		return false;
	who = got[0] >> 48;
	STRESS_CHECK(who < LEAVERS && (got[0] & 0xffffffffffff) == next[who], "thread %lu: note %lu, not %lu",
		     who, got[0] & 0xffffffffffff, next[who]);
	next[who]++;
	fill(want, got[0]);
	STRESS_CHECK(!memcmp(got, want, sizeof got), "a torn note");
	return true;
}

int main(void)
{
	uint64_t seed = stress_start("post"), next[LEAVERS] = { 0 }, all = 0, refused = 0;
	struct stress_random random = stress_random(seed);

	pen_post_init(&post);
	for (uint32_t i = 0; i < LEAVERS; i++) {
		leavers[i].number = i;
		leavers[i].seed = seed + i;
		STRESS_CHECK(!pthread_create(&leavers[i].thread, NULL, leave, &leavers[i]), "thread");
	}
	while (stress_time_left()) {
		for (unsigned i = 0; i < 1000 && collect(next); i++)
			;
		stress_pause(&random);
	}
	atomic_store(&over, true);
	while (atomic_load(&gone) < LEAVERS || collect(next))
		(void)collect(next);
	for (uint32_t i = 0; i < LEAVERS; i++) {
		STRESS_CHECK(!pthread_join(leavers[i].thread, NULL), "join");
		while (collect(next))
			;
		STRESS_CHECK(next[i] == leavers[i].left, "thread %u left %lu, %lu came", i, leavers[i].left,
			     next[i]);
		all += next[i];
		refused += leavers[i].refused;
	}
	printf("%lu notes, %lu refused\n", all, refused);
	STRESS_CHECK(all > 1000 && refused, "the post was never full");
	return 0;
}
