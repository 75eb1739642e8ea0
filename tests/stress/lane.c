/* SPDX-License-Identifier: MIT */
/*
 * stress/lane - one producer, one consumer: every word once, in order, with what it names
 *
 * Each word is the index of a plain (not atomic) payload that the producer filled before the push, so the
 * race checker sees any push that does not publish. Capacities from 2 up, random batch sizes, random pauses
 * on both sides, indices started just below overflow. Before closing, the producer leaves a plain farewell
 * that the consumer reads once the lane has ended. PEN_SEED, PEN_SECS.
 */
#include "ring/lane.h"

#include <pthread.h>
#include <stdlib.h>

#include "tests/lib/stress.h"

#define PAYLOADS 4096u
#define BATCH_MAX 40u

struct run {
	struct pen_lane lane;
	uint64_t words;
	uint64_t seed;
	uint64_t payload[PAYLOADS]; /* plain: ordered by the lane alone */
	uint64_t farewell;	    /* plain: ordered by close and ended */
};

static void *produce(void *arg)
{
	struct run *run = arg;
	struct stress_random random = stress_random(run->seed ^ 0x50);
	uint64_t batch[BATCH_MAX], done = 0;

	while (done < run->words) {
		uint32_t n = (uint32_t)pen_min(1 + stress_below(&random, BATCH_MAX), run->words - done);
		uint32_t sent = 0;

		for (uint32_t i = 0; i < n; i++) {
			batch[i] = done + i;
			/* Free again: the payload's last user is a lane's length behind, see main. */
			run->payload[(done + i) % PAYLOADS] = stress_mix(done + i);
		}
		while (sent < n) {
			uint32_t moved = pen_lane_push(&run->lane, batch + sent, n - sent);

			sent += moved;
			if (!moved)
				sched_yield();
		}
		done += n;
		stress_pause(&random);
	}
	run->farewell = stress_mix(run->words);
	pen_lane_close(&run->lane);
	return NULL;
}

static void consume(struct run *run)
{
	struct stress_random random = stress_random(run->seed ^ 0x60);
	uint64_t batch[BATCH_MAX], next = 0;

	while (!pen_lane_ended(&run->lane)) {
		uint32_t n = pen_lane_pop(&run->lane, batch, 1 + (uint32_t)stress_below(&random, BATCH_MAX));

		for (uint32_t i = 0; i < n; i++, next++) {
			STRESS_CHECK(batch[i] == next, "word %llu came where %llu was due",
				     (unsigned long long)batch[i], (unsigned long long)next);
			STRESS_CHECK(run->payload[next % PAYLOADS] == stress_mix(next),
				     "payload of word %llu", (unsigned long long)next);
		}
		if (!n)
			sched_yield();
		else
			stress_pause(&random);
		STRESS_CHECK(pen_lane_len(&run->lane) <= run->lane.mask + 1, "longer than its capacity");
	}
	STRESS_CHECK(next == run->words, "%llu of %llu words came", (unsigned long long)next,
		     (unsigned long long)run->words);
	STRESS_CHECK(run->farewell == stress_mix(run->words), "the farewell was not seen");
}

int main(void)
{
	uint64_t seed = stress_start("lane");
	struct stress_random random = stress_random(seed);
	struct run *run = aligned_alloc(_Alignof(struct run), sizeof(*run));
	uint64_t runs = 0, words = 0;

	STRESS_CHECK(run, "no memory");
	while (stress_time_left() || runs < 3) {
		pthread_t producer;
		/* A payload is refilled PAYLOADS words later: more than a lane and two batches hold. */
		uint32_t capacity = 2u << stress_below(&random, 10);
		uint32_t start = UINT32_MAX - (uint32_t)stress_below(&random, 64);

		run->words = 1 + stress_below(&random, 20000);
		run->seed = seed + runs;
		run->farewell = 0;
		STRESS_CHECK(pen_lane_init(&run->lane, capacity, start) == 0, "no memory");
		STRESS_CHECK(pthread_create(&producer, NULL, produce, run) == 0, "no thread");
		consume(run);
		STRESS_CHECK(pthread_join(producer, NULL) == 0, "join");
		pen_lane_fini(&run->lane);
		runs++;
		words += run->words;
	}
	printf("lane: %llu runs, %llu words\n", (unsigned long long)runs, (unsigned long long)words);
	free(run);
	return 0;
}
