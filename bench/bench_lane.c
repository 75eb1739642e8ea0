/* SPDX-License-Identifier: MIT */
/*
 * bench_lane - what handing a word from one thread to another costs
 *
 * Our lane at three batch sizes against Concurrency Kit's rings and a mutex with condition variables, all
 * with 4,096 slots, the consumer on one CPU and the producer on another (a second producer shares the
 * consumer's). The consumer takes what is there, up to the batch size. Every contestant runs once per round,
 * so that a slow moment of the machine hits all; one JSON line each: the median, least and most of five
 * rounds, in million words a second. The sum of the words is checked.
 *
 * Usage: bench_lane [WORDS]    default 20,000,000 per run (a tenth of it for the mutex)
 */
#include <ck_ring.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ring/fanin.h"
#include "ring/lane.h"

#define SLOTS 4096u
#define ROUNDS 5
#define BATCH_MAX 64u

struct contest {
	const char *name;
	uint32_t batch;
	uint32_t producers;
	uint32_t share; /* runs words / share */
	void (*produce)(uint64_t from, uint64_t words, uint32_t batch, uint32_t who);
	uint64_t (*consume)(uint64_t words, uint32_t batch);
};

/* Spins, and gives the CPU away when the other side does not get on: two producers share one. */
static inline void hesitate(uint32_t *tries)
{
	if (++*tries % 256)
		ck_pr_stall();
	else
		(void)sched_yield(); /* cannot fail on Linux */
}

static struct pen_lane lane;
static struct pen_fanin fanin;
static _Alignas(PEN_LINE_PAIR) ck_ring_t ring;
static _Alignas(PEN_LINE_PAIR) ck_ring_buffer_t ring_slots[SLOTS];
static struct {
	pthread_mutex_t lock;
	pthread_cond_t filled, emptied;
	uint32_t head, tail;
	uint64_t slots[SLOTS];
} queue = { .lock = PTHREAD_MUTEX_INITIALIZER,
	    .filled = PTHREAD_COND_INITIALIZER,
	    .emptied = PTHREAD_COND_INITIALIZER };

static void lane_produce(uint64_t from, uint64_t words, uint32_t batch, uint32_t who)
{
	uint64_t out[BATCH_MAX];
	uint32_t tries = 0;

	(void)who;
	for (uint64_t done = 0; done < words;) {
		uint32_t n = (uint32_t)pen_min(batch, words - done), sent = 0;

		for (uint32_t i = 0; i < n; i++)
			out[i] = from + done + i;
		while (sent < n) {
			uint32_t moved = pen_lane_push(&lane, out + sent, n - sent);

			sent += moved;
			if (!moved)
				hesitate(&tries);
		}
		done += n;
	}
}

static uint64_t lane_consume(uint64_t words, uint32_t batch)
{
	uint64_t in[BATCH_MAX], sum = 0;
	uint32_t tries = 0;

	for (uint64_t done = 0; done < words;) {
		uint32_t n = pen_lane_pop(&lane, in, batch);

		for (uint32_t i = 0; i < n; i++)
			sum += in[i];
		if (!n)
			hesitate(&tries);
		done += n;
	}
	return sum;
}

static void fanin_produce(uint64_t from, uint64_t words, uint32_t batch, uint32_t who)
{
	uint64_t out[BATCH_MAX];
	uint32_t tries = 0;

	for (uint64_t done = 0; done < words;) {
		uint32_t n = (uint32_t)pen_min(batch, words - done), sent = 0;

		for (uint32_t i = 0; i < n; i++)
			out[i] = from + done + i;
		while (sent < n) {
			uint32_t moved = pen_fanin_push(&fanin, who, out + sent, n - sent);

			sent += moved;
			if (!moved)
				hesitate(&tries);
		}
		done += n;
	}
}

static uint64_t fanin_consume(uint64_t words, uint32_t batch)
{
	uint64_t in[BATCH_MAX], sum = 0;

	for (uint64_t done = 0; done < words;) {
		uint32_t n = pen_fanin_pop_wait(&fanin, in, batch, UINT64_MAX);

		for (uint32_t i = 0; i < n; i++)
			sum += in[i];
		done += n;
	}
	return sum;
}

/* ck's rings move one word a call. */
#define CK_CONTESTANT(kind)                                                                               \
	static void kind##_produce(uint64_t from, uint64_t words, uint32_t batch, uint32_t who)           \
	{                                                                                                 \
		uint32_t tries = 0;                                                                       \
		(void)batch;                                                                              \
		(void)who;                                                                                \
		for (uint64_t i = 0; i < words; i++)                                                      \
			while (!ck_ring_enqueue_##kind(&ring, ring_slots, (void *)(uintptr_t)(from + i))) \
				hesitate(&tries);                                                         \
	}                                                                                                 \
	static uint64_t kind##_consume(uint64_t words, uint32_t batch)                                    \
	{                                                                                                 \
		uint64_t sum = 0;                                                                         \
		uint32_t tries = 0;                                                                       \
		void *word;                                                                               \
		(void)batch;                                                                              \
		for (uint64_t i = 0; i < words; i++) {                                                    \
			while (!ck_ring_dequeue_##kind(&ring, ring_slots, &word))                         \
				hesitate(&tries);                                                         \
			sum += (uintptr_t)word;                                                           \
		}                                                                                         \
		return sum;                                                                               \
	}

CK_CONTESTANT(spsc)
CK_CONTESTANT(mpsc)

static void mutex_produce(uint64_t from, uint64_t words, uint32_t batch, uint32_t who)
{
	(void)batch;
	(void)who;
	for (uint64_t i = 0; i < words; i++) {
		pthread_mutex_lock(&queue.lock);
		while (queue.tail - queue.head == SLOTS)
			pthread_cond_wait(&queue.emptied, &queue.lock);
		queue.slots[queue.tail++ % SLOTS] = from + i;
		pthread_mutex_unlock(&queue.lock);
		pthread_cond_signal(&queue.filled);
	}
}

static uint64_t mutex_consume(uint64_t words, uint32_t batch)
{
	uint64_t sum = 0;

	(void)batch;
	for (uint64_t i = 0; i < words; i++) {
		pthread_mutex_lock(&queue.lock);
		while (queue.tail == queue.head)
			pthread_cond_wait(&queue.filled, &queue.lock);
		sum += queue.slots[queue.head++ % SLOTS];
		pthread_mutex_unlock(&queue.lock);
		pthread_cond_signal(&queue.emptied);
	}
	return sum;
}

static const struct contest contests[] = {
	{ "lane", 1, 1, 1, lane_produce, lane_consume },
	{ "lane", 16, 1, 1, lane_produce, lane_consume },
	{ "lane", 32, 1, 1, lane_produce, lane_consume },
	{ "fanin", 16, 1, 1, fanin_produce, fanin_consume },
	{ "fanin", 16, 2, 1, fanin_produce, fanin_consume },
	{ "ck_ring_spsc", 1, 1, 1, spsc_produce, spsc_consume },
	{ "ck_ring_mpsc", 1, 1, 2, mpsc_produce, mpsc_consume },
	{ "ck_ring_mpsc", 1, 2, 20, mpsc_produce, mpsc_consume },
	{ "mutex_condvar", 1, 1, 10, mutex_produce, mutex_consume },
};

struct job {
	const struct contest *contest;
	uint64_t from, words;
	uint32_t who;
};

static pthread_barrier_t gate;

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	(void)pthread_setaffinity_np(pthread_self(), sizeof(set),
				     &set); /* without it the numbers scatter more */
}

static void *produce(void *arg)
{
	const struct job *job = arg;

	pin(job->who ? 0 : 1);
	pthread_barrier_wait(&gate);
	job->contest->produce(job->from, job->words, job->contest->batch, job->who);
	return NULL;
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Million words a second. */
static double run(const struct contest *contest, uint64_t words)
{
	struct job jobs[2];
	pthread_t threads[2];
	uint64_t each = words / contest->share / contest->producers;
	uint64_t all = each * contest->producers, sum;
	double start, took;

	if (pen_lane_init(&lane, SLOTS, 0) || pen_fanin_init(&fanin, contest->producers, SLOTS))
		abort();
	ck_ring_init(&ring, SLOTS);
	queue.head = queue.tail = 0;
	pthread_barrier_init(&gate, NULL, contest->producers + 1);
	for (uint32_t i = 0; i < contest->producers; i++) {
		jobs[i] = (struct job){ .contest = contest, .from = 1 + i * each, .words = each, .who = i };
		if (pthread_create(&threads[i], NULL, produce, &jobs[i]))
			abort();
	}
	pthread_barrier_wait(&gate);
	start = seconds();
	sum = contest->consume(all, contest->batch);
	took = seconds() - start;
	for (uint32_t i = 0; i < contest->producers; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&gate);
	pen_lane_fini(&lane);
	pen_fanin_fini(&fanin);
	if (sum != all * (all + 1) / 2) {
		fprintf(stderr, "bench_lane: %s lost or changed a word\n", contest->name);
		exit(1);
	}
	return (double)all / took / 1e6;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	uint64_t words = argc > 1 ? strtoull(argv[1], NULL, 10) : 20000000;
	double rates[PEN_COUNT(contests)][ROUNDS];

	if (words < 100) {
		fprintf(stderr, "usage: bench_lane [WORDS]    at least 100\n");
		return 2;
	}
	pin(0);
	for (int round = 0; round < ROUNDS; round++)
		for (size_t i = 0; i < PEN_COUNT(contests); i++)
			rates[i][round] = run(&contests[i], words);
	for (size_t i = 0; i < PEN_COUNT(contests); i++) {
		qsort(rates[i], ROUNDS, sizeof(rates[i][0]), by_size);
		printf("{\"bench\":\"lane\",\"queue\":\"%s\",\"batch\":%u,\"producers\":%u,\"mwords_s\":%.1f,"
		       "\"min\":%.1f,\"max\":%.1f,\"ns_word\":%.2f,\"rounds\":%d}\n",
		       contests[i].name, contests[i].batch, contests[i].producers, rates[i][ROUNDS / 2],
		       rates[i][0], rates[i][ROUNDS - 1], 1e3 / rates[i][ROUNDS / 2], ROUNDS);
	}
	return 0;
}
