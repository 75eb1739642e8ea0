/* SPDX-License-Identifier: MIT */
/*
 * stress - what the race programs share: seed, time, random pauses, checks
 *
 * A program prints its seed first; PEN_SEED repeats a run (its choices, not its interleaving). PEN_SECS says
 * how long to go on (default 2). Exit 0 pass, 1 fail.
 */
#ifndef PEN_TESTS_STRESS_H
#define PEN_TESTS_STRESS_H

#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define STRESS_CHECK(cond, ...)                                                    \
	do {                                                                       \
		if (!(cond)) {                                                     \
			fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #cond); \
			fprintf(stderr, __VA_ARGS__);                              \
			fputc('\n', stderr);                                       \
			_exit(1);                                                  \
		}                                                                  \
	} while (0)

struct stress_random {
	uint64_t state;
};

/* A fixed scrambling of a number: what a payload must hold. */
static inline uint64_t stress_mix(uint64_t v)
{
	v += 0x9e3779b97f4a7c15ull;
	v = (v ^ v >> 30) * 0xbf58476d1ce4e5b9ull;
	v = (v ^ v >> 27) * 0x94d049bb133111ebull;
	return v ^ v >> 31;
}

static inline struct stress_random stress_random(uint64_t seed)
{
	return (struct stress_random){ .state = seed };
}

/* 0 .. n - 1. */
static inline uint64_t stress_below(struct stress_random *random, uint64_t n)
{
	return stress_mix(random->state++) % n;
}

static inline uint64_t stress_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

/* Mostly nothing, now and then the CPU is given away or the thread sleeps: a preempted thread. */
static inline void stress_pause(struct stress_random *random)
{
	uint64_t dice = stress_below(random, 1024);

	if (dice < 2)
		nanosleep(&(struct timespec){ .tv_nsec = (long)stress_below(random, 200000) }, NULL);
	else if (dice < 40)
		sched_yield();
}

static inline uint64_t stress_env(const char *name, uint64_t fallback)
{
	const char *text = getenv(name);

	return text && *text ? strtoull(text, NULL, 0) : fallback;
}

static uint64_t stress_end_ns;

/* Prints and returns the seed. */
static inline uint64_t stress_start(const char *name)
{
	uint64_t seed = stress_env("PEN_SEED", stress_mix(stress_now_ns() ^ (uint64_t)getpid() << 40) >> 32);

	stress_end_ns = stress_now_ns() + stress_env("PEN_SECS", 2) * 1000000000ull;
	printf("%s: PEN_SEED=%llu\n", name, (unsigned long long)seed);
	fflush(stdout);
	return seed;
}

static inline int stress_time_left(void)
{
	return stress_now_ns() < stress_end_ns;
}

#endif
