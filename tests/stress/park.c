/* SPDX-License-Identifier: MIT */
/*
 * stress/park - two threads hand one word to and fro and sleep in between: no wake is lost
 *
 * 50,000 round trips per PEN_SECS, so 100,000 by default, with random delays before the push, between the
 * push and the ring, between ticket and look, and between the look and the wait. Every wait has a timeout far
 * above anything that happens here; one that ends by it lost its wake. PEN_SEED, PEN_SECS.
 */
#include "ring/park.h"

#include <pthread.h>

#include "ring/lane.h"
#include "tests/lib/stress.h"

#if defined(PEN_PLANT_PARK_TICKET) || defined(PEN_PLANT_PARK_WAKE)
#define WAIT_NS 200000000ull /* the lost wake is what is looked for: find it soon */
#else
#define WAIT_NS 20000000000ull
#endif

struct side {
	struct pen_lane in; /* towards this side */
	struct pen_park park;
	struct side *other;
	uint64_t rounds, seed;
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
#ifdef PEN_PLANT_PARK_TICKET
		/* The second look is missing. */
		delay(random);
		uint32_t ticket = pen_park_ticket(&me->park);
#else
		uint32_t ticket = pen_park_ticket(&me->park);

		delay(random);
		if (pen_lane_pop(&me->in, &word, 1))
			return word;
#endif
		delay(random);
		(void)pen_park_wait(&me->park, ticket, WAIT_NS); /* the loop looks again either way */
		STRESS_CHECK(me->park.timeouts == 0, "a wake was lost");
	}
	return word;
}

static void send(struct side *to, uint64_t word, struct stress_random *random)
{
	delay(random);
	STRESS_CHECK(pen_lane_push(&to->in, &word, 1) == 1, "the lane is full");
	delay(random);
	pen_park_ring(&to->park);
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

int main(void)
{
	static struct side sides[2];
	uint64_t seed = stress_start("park");
	pthread_t thread;

	for (int i = 0; i < 2; i++) {
		STRESS_CHECK(pen_lane_init(&sides[i].in, 2, UINT32_MAX) == 0, "no memory");
		pen_park_init(&sides[i].park);
		sides[i].other = &sides[1 - i];
		sides[i].rounds = 50000 * pen_max(stress_env("PEN_SECS", 2), 1);
		sides[i].seed = seed + (uint64_t)i * 1000;
		sides[i].serves = i == 0;
	}
	STRESS_CHECK(pthread_create(&thread, NULL, play, &sides[1]) == 0, "no thread");
	play(&sides[0]);
	STRESS_CHECK(pthread_join(thread, NULL) == 0, "join");
	printf("park: %llu round trips, no wake lost\n", (unsigned long long)sides[0].rounds);
	for (int i = 0; i < 2; i++)
		pen_lane_fini(&sides[i].in);
	return 0;
}
