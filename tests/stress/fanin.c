/* SPDX-License-Identifier: MIT */
/*
 * stress/fanin - many producers, one parked consumer: every word once, each producer's in order, nobody held
 * up
 *
 * More producers than CPUs push random batches into lanes of random size; the consumer parks when there is
 * nothing. A stopper interrupts one producer after the other with a signal, wherever it is, also in the
 * middle of a push, and keeps it there until the consumer has received a thousand more words from the others:
 * a producer that could hold up the rest would never be let go. A wait that ends by its timeout is a lost
 * wake. PEN_SEED, PEN_SECS.
 */
#include "ring/fanin.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "tests/lib/stress.h"

#define PRODUCERS_MAX 12u
#define BATCH_MAX 24u
#define RECENT 8192u
#define STOPPED_WORDS 1000u

#ifdef PEN_PLANT_FANIN_CLOSE
#define WAIT_NS 200000000ull /* the lost wake is what is looked for: find it soon */
#else
#define WAIT_NS 20000000000ull
#endif

struct producer {
	pthread_t thread;
	uint32_t lane;
	uint64_t words, seed;
	uint64_t payload[RECENT]; /* plain: ordered by the lane alone */
};

static struct pen_fanin fanin;
static struct producer producers[PRODUCERS_MAX];
static _Atomic uint64_t received;  /* by the consumer */
static _Atomic uint64_t let_go_at; /* by the stopper: the victim rests until so many were received */
static _Atomic uint32_t victim;	   /* by the stopper: its lane */
static _Atomic uint32_t pushing;   /* producers that have words left */
static _Atomic bool stalled;

static _Thread_local uint32_t my_lane = UINT32_MAX;

/* Runs in a producer, wherever it was. A signal that comes late, for an earlier stop, is ignored: two stopped
 * producers could wait for each other's words. */
static void stop_here(int signal_number)
{
	int saved = errno;

	(void)signal_number;
	for (int tries = 0; atomic_load(&received) < atomic_load(&let_go_at); tries++) {
		if (atomic_load(&victim) != my_lane || atomic_load(&pushing) <= 1)
			break; /* not this one, or nobody else is left to wait for */
		if (tries > 400000) {
			atomic_store(&stalled, true);
			break;
		}
		nanosleep(&(struct timespec){ .tv_nsec = 50000 }, NULL);
	}
	errno = saved;
}

static void *produce(void *arg)
{
	struct producer *me = arg;
	struct stress_random random = stress_random(me->seed);
	uint64_t batch[BATCH_MAX], done = 0;

	my_lane = me->lane;
	while (done < me->words) {
		uint32_t n = (uint32_t)pen_min(1 + stress_below(&random, BATCH_MAX), me->words - done);
		uint32_t sent = 0;

		for (uint32_t i = 0; i < n; i++) {
			batch[i] = (uint64_t)me->lane << 48 | (done + i);
			me->payload[(done + i) % RECENT] = stress_mix(batch[i]);
		}
		while (sent < n) {
			uint32_t moved = pen_fanin_push(&fanin, me->lane, batch + sent, n - sent);

			sent += moved;
			if (!moved)
				sched_yield();
		}
		done += n;
		stress_pause(&random);
	}
	atomic_fetch_sub(&pushing, 1);
	pen_fanin_close(&fanin, me->lane);
	return NULL;
}

static void *stop_others(void *arg)
{
	struct stress_random random = stress_random(*(uint64_t *)arg ^ 0x70);
	uint32_t count = fanin.count;

	while (atomic_load(&pushing) > 1) {
		uint32_t lane = (uint32_t)stress_below(&random, count);

		atomic_store(&victim, lane);
		atomic_store(&let_go_at, atomic_load(&received) + STOPPED_WORDS);
		/* Not joined before this thread ends, so the handle is valid even if the thread has ended. */
		pthread_kill(producers[lane].thread, SIGUSR1);
		do
			nanosleep(&(struct timespec){ .tv_nsec = (long)stress_below(&random, 2000000) },
				  NULL);
		while (atomic_load(&received) < atomic_load(&let_go_at) && atomic_load(&pushing) > 1);
	}
	return NULL;
}

static void consume(uint64_t seed)
{
	struct stress_random random = stress_random(seed ^ 0x80);
	uint64_t batch[64], next[PRODUCERS_MAX] = { 0 };

	while (!pen_fanin_ended(&fanin)) {
		uint32_t n =
			pen_fanin_pop_wait(&fanin, batch, 1 + (uint32_t)stress_below(&random, 64), WAIT_NS);

		for (uint32_t i = 0; i < n; i++) {
			uint32_t lane = (uint32_t)(batch[i] >> 48);

			STRESS_CHECK(lane < fanin.count, "word %llx", (unsigned long long)batch[i]);
			STRESS_CHECK((batch[i] & 0xffffffffffff) == next[lane],
				     "lane %u: word %llx where %llx was due", lane,
				     (unsigned long long)batch[i], (unsigned long long)next[lane]);
			STRESS_CHECK(producers[lane].payload[next[lane] % RECENT] == stress_mix(batch[i]),
				     "payload of %llx", (unsigned long long)batch[i]);
			next[lane]++;
		}
		atomic_fetch_add(&received, n);
		STRESS_CHECK(!atomic_load(&stalled), "a stopped producer held up the others");
		STRESS_CHECK(fanin.park.timeouts == 0, "a wake was lost");
		stress_pause(&random);
	}
	for (uint32_t i = 0; i < fanin.count; i++)
		STRESS_CHECK(next[i] == producers[i].words, "lane %u: %llu of %llu words came", i,
			     (unsigned long long)next[i], (unsigned long long)producers[i].words);
}

int main(void)
{
	uint64_t seed = stress_start("fanin");
	struct stress_random random = stress_random(seed);
	struct sigaction action = { .sa_handler = stop_here, .sa_flags = SA_RESTART };
	uint64_t runs = 0, words = 0;

	sigaction(SIGUSR1, &action, NULL);
	while (stress_time_left() || runs < 3) {
		/* A payload is refilled RECENT words later: more than a lane and two batches hold. */
		uint32_t count = 2 + (uint32_t)stress_below(&random, PRODUCERS_MAX - 1);
		uint64_t run_seed = seed + runs * 1000;
		pthread_t stopper;

		STRESS_CHECK(pen_fanin_init(&fanin, count, 2u << stress_below(&random, 10)) == 0,
			     "no memory");
		atomic_store(&received, 0);
		atomic_store(&let_go_at, 0);
		atomic_store(&pushing, count);
		for (uint32_t i = 0; i < count; i++) {
			producers[i].lane = i;
			producers[i].words = 1 + stress_below(&random, 6000);
			producers[i].seed = run_seed + i;
			words += producers[i].words;
			STRESS_CHECK(pthread_create(&producers[i].thread, NULL, produce, &producers[i]) == 0,
				     "no thread");
		}
		STRESS_CHECK(pthread_create(&stopper, NULL, stop_others, &run_seed) == 0, "no thread");
		consume(run_seed);
		STRESS_CHECK(pthread_join(stopper, NULL) == 0, "join");
		for (uint32_t i = 0; i < count; i++)
			STRESS_CHECK(pthread_join(producers[i].thread, NULL) == 0, "join");
		pen_fanin_fini(&fanin);
		runs++;
	}
	printf("fanin: %llu runs, %llu words\n", (unsigned long long)runs, (unsigned long long)words);
	return 0;
}
