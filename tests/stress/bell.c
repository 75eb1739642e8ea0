/* SPDX-License-Identifier: MIT */
/*
 * stress/bell - two threads hand one word to and fro and sleep on descriptors in between: no wake is lost
 *
 * 50,000 round trips per PEN_SECS, so 100,000 by default, with random delays between the push and the ring, before the
 * bell is armed, and between that and the sleep. Now and then a third party rings for nothing. Every sleep has a
 * time-out far above anything that happens here; one that ends by it lost its wake.
 *
 * Then ringer and sleeper meet, 200,000 times per PEN_SECS, at the same moment as far as that can be had: one of them
 * has to see the other. PEN_SEED, PEN_SECS.
 */
#include "ring/bell.h"

#include <poll.h>
#include <pthread.h>

#include "ring/lane.h"
#include "tests/lib/stress.h"

#if defined(PEN_PLANT_BELL_ORDER) || defined(PEN_PLANT_BELL_LOOK)
#define WAIT_MS 200 /* the lost wake is what is looked for: find it soon */
#else
#define WAIT_MS 20000
#endif

struct side {
	struct pen_bell bell;
	struct pen_lane in; /* towards this side */
	struct side *other;
	uint64_t rounds, seed, sleeps;
	bool serves;
};

static void delay(struct stress_random *random)
{
	uint64_t dice = stress_below(random, 256);

	if (dice == 0)
		nanosleep(&(struct timespec){ .tv_nsec = (long)stress_below(random, 50000) }, NULL);
	else if (dice < 8)
		sched_yield();
	else if (dice < 64)
		for (uint64_t i = stress_below(random, 200); i > 0; i--)
			atomic_signal_fence(memory_order_seq_cst); /* a loop the compiler keeps */
}

static uint64_t receive(struct side *me, struct stress_random *random)
{
	uint64_t word;

	while (!pen_lane_pop(&me->in, &word, 1)) {
		struct pollfd p = { .fd = pen_bell_fd(&me->bell), .events = POLLIN };

		delay(random);
		if (!pen_bell_arm(&me->bell))
			continue;
		delay(random);
		STRESS_CHECK(poll(&p, 1, WAIT_MS) == 1, "a wake was lost");
		pen_bell_disarm(&me->bell);
		me->sleeps++;
	}
	return word;
}

static void send(struct side *to, uint64_t word, struct stress_random *random)
{
	delay(random);
	STRESS_CHECK(pen_lane_push(&to->in, &word, 1) == 1, "the lane is full");
	delay(random);
	pen_bell_ring(&to->bell);
}

static void *play(void *arg)
{
	struct side *me = arg;
	struct stress_random random = stress_random(me->seed);

	for (uint64_t i = 0; i < me->rounds; i++) {
		if (me->serves)
			send(me->other, i, &random);
		uint64_t word = receive(me, &random);
		STRESS_CHECK(word == i, "word %llu in round %llu", (unsigned long long)word,
			     (unsigned long long)i);
		if (!me->serves)
			send(me->other, i, &random);
	}
	return NULL;
}

static _Atomic bool over;

/* Anyone may ring, and not too often here: a ring for nothing must not be what saves a lost one. */
static void *ring_for_nothing(void *arg)
{
	struct side *sides = arg;

	while (!atomic_load_explicit(&over, memory_order_relaxed)) {
		pen_bell_ring(&sides[0].bell);
		nanosleep(&(struct timespec){ .tv_nsec = 500000000 }, NULL);
	}
	return NULL;
}

/* ---- both at once ---------------------------------------------------------------------------- */

static struct {
	struct pen_bell bell;
	_Alignas(PEN_LINE_PAIR) _Atomic uint64_t round; /* written by the sleeper: go */
	_Alignas(PEN_LINE_PAIR) _Atomic uint64_t rung;	/* written by the ringer: done */
	uint64_t rounds, seed;
} meeting;

/* The ringer sees the start a cache line's way later. */
static void skew(struct stress_random *random, uint64_t most)
{
	for (uint64_t i = stress_below(random, most); i > 0; i--)
		atomic_signal_fence(memory_order_seq_cst); /* a loop the compiler keeps */
}

static void await(_Atomic uint64_t *word, uint64_t value)
{
	for (unsigned i = 1; atomic_load_explicit(word, memory_order_acquire) != value; i++)
		if (i % 1000 == 0)
			sched_yield();
}

static void *ring_at_once(void *arg)
{
	struct stress_random random = stress_random(meeting.seed + 1);

	(void)arg;
	for (uint64_t i = 1; i <= meeting.rounds; i++) {
		await(&meeting.round, i);
		skew(&random, 10);
		pen_bell_ring(&meeting.bell);
		atomic_store_explicit(&meeting.rung, i, memory_order_release);
	}
	return NULL;
}

static void meet(uint64_t seed)
{
	struct stress_random random = stress_random(seed);
	struct pollfd p = { .events = POLLIN };
	pthread_t thread;

	meeting.rounds = 200000 * pen_max(stress_env("PEN_SECS", 2), 1);
	meeting.seed = seed;
	STRESS_CHECK(pen_bell_open(&meeting.bell) == 0, "no descriptor");
	p.fd = pen_bell_fd(&meeting.bell);
	STRESS_CHECK(pthread_create(&thread, NULL, ring_at_once, NULL) == 0, "no thread");
	for (uint64_t i = 1; i <= meeting.rounds; i++) {
		bool sleeps;

		atomic_store_explicit(&meeting.round, i, memory_order_release);
		skew(&random, 300);
		sleeps = pen_bell_arm(&meeting.bell);
		await(&meeting.rung, i);
		STRESS_CHECK(!sleeps || poll(&p, 1, 0) == 1,
			     "a wake was lost: neither saw the other, round %llu", (unsigned long long)i);
		pen_bell_disarm(&meeting.bell);
	}
	STRESS_CHECK(pthread_join(thread, NULL) == 0, "join");
	pen_bell_close(&meeting.bell);
}

int main(void)
{
	static struct side sides[2];
	uint64_t seed = stress_start("bell");
	pthread_t thread, third;

	for (int i = 0; i < 2; i++) {
		STRESS_CHECK(pen_lane_init(&sides[i].in, 2, UINT32_MAX) == 0, "no memory");
		STRESS_CHECK(pen_bell_open(&sides[i].bell) == 0, "no descriptor");
		sides[i].other = &sides[1 - i];
		sides[i].rounds = 50000 * pen_max(stress_env("PEN_SECS", 2), 1);
		sides[i].seed = seed + (uint64_t)i * 1000;
		sides[i].serves = i == 0;
	}
	STRESS_CHECK(pthread_create(&thread, NULL, play, &sides[1]) == 0, "no thread");
	STRESS_CHECK(pthread_create(&third, NULL, ring_for_nothing, sides) == 0, "no thread");
	play(&sides[0]);
	STRESS_CHECK(pthread_join(thread, NULL) == 0, "join");
	atomic_store_explicit(&over, true, memory_order_relaxed);
	STRESS_CHECK(pthread_join(third, NULL) == 0, "join");
	printf("bell: %llu round trips, %llu sleeps, no wake lost\n", (unsigned long long)sides[0].rounds,
	       (unsigned long long)(sides[0].sleeps + sides[1].sleeps));
	STRESS_CHECK(sides[0].sleeps + sides[1].sleeps > 100, "nobody slept: nothing was tried");
	for (int i = 0; i < 2; i++) {
		pen_lane_fini(&sides[i].in);
		pen_bell_close(&sides[i].bell);
	}
	meet(seed);
	printf("bell: %llu meetings\n", (unsigned long long)meeting.rounds);
	return 0;
}
