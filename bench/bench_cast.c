/* SPDX-License-Identifier: MIT */
/*
 * bench_cast - what telling costs the engine, and how soon readers of its progress ring know
 *
 * cast_publish   nanoseconds an event in batches of 16, without a reader, beside one that spins, and beside 8
 *                and 64 that sleep on the futex (batches that woke somebody are left out, and their cost is told apart)
 * cast_latency   from publishing to having copied the event, for a reader that spins and for one that sleeps
 * cast_drain     records a second that one reader copies out of a full ring
 * cast_floor     what this pair of CPUs needs to hand one cache line over, one way: where a hypervisor puts them
 *                decides it, and no ring can tell a reader sooner
 *
 * The publisher has one CPU, a spinning reader another; sleeping ones run anywhere. One JSON line each.
 * Usage: bench_cast [BATCHES]    default 200,000
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ring/cast.h"

#define BATCH 16u
#define READERS_MAX 64u

static char dir_path[64], ring_path[96];
static int dir = -1;
static struct pen_cast *cast;
static _Atomic bool over;
static _Atomic uint32_t ready;
static uint64_t *samples;
static size_t sample_count, sample_max;

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	(void)sched_setaffinity(0, sizeof(set), &set); /* on a machine with fewer CPUs it runs anywhere */
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static double quantile(double q)
{
	return sample_count ? (double)samples[(size_t)(q * (double)(sample_count - 1))] : 0;
}

static void sample(uint64_t v)
{
	if (sample_count < sample_max)
		samples[sample_count++] = v;
}

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * PEN_NS_PER_S + (uint64_t)t.tv_nsec;
}

static void open_cast(void)
{
	struct pen_cast_options opt = { .dir = dir, .name = "bench.0.ring", .owner_uid = geteuid() };
	struct pen_failure why = { 0 };

	if (pen_cast_open(&cast, &opt, &why)) {
		fprintf(stderr, "bench_cast: %s\n", why.text);
		exit(1);
	}
	atomic_store_explicit(&over, false, memory_order_relaxed);
	atomic_store_explicit(&ready, 0, memory_order_relaxed);
	sample_count = 0;
}

struct reader {
	bool sleeps, times;
	int cpu;
};

static void *follow(void *arg)
{
	const struct reader *reader = arg;
	static __thread struct pen_ring ring;
	struct pen_ring_event got[64];
	uint64_t lost;

	if (reader->cpu >= 0)
		pin(reader->cpu);
	if (pen_ring_open(&ring, ring_path, PEN_RING_OWNERS_OWN))
		exit(1);
	atomic_fetch_add_explicit(&ready, 1, memory_order_relaxed);
	while (!atomic_load_explicit(&over, memory_order_relaxed)) {
		int n = pen_ring_poll(&ring, got, 64, &lost);

		if (n > 0 && reader->times)
			sample(pen_ring_mono_ns() - got[n - 1].ts_ns);
		else if (n == 0 && reader->sleeps)
			(void)pen_ring_wait(&ring, 50);
	}
	pen_ring_close(&ring);
	return NULL;
}

static uint32_t start_readers(pthread_t *threads, struct reader *reader, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (pthread_create(&threads[i], NULL, follow, reader))
			exit(1);
	while (atomic_load_explicit(&ready, memory_order_relaxed) < n)
		sched_yield();
	return n;
}

static void stop_readers(pthread_t *threads, uint32_t n)
{
	atomic_store_explicit(&over, true, memory_order_relaxed);
	for (uint32_t i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	pen_cast_close(cast, PEN_RING_CLOSED, 0, false);
}

/* gap_ns: between two batches, so that sleepers come to sleep. */
static void publish(const char *who, struct reader reader, uint32_t readers, uint32_t batches,
		    uint64_t gap_ns)
{
	struct pen_ring_event events[BATCH] = { 0 };
	struct pen_cast_wakes before, after;
	pthread_t threads[READERS_MAX];
	uint64_t begun, cpu;

	open_cast();
	start_readers(threads, &reader, readers);
	for (uint32_t i = 0; i < BATCH; i++)
		events[i].type = PEN_RING_EV_PROGRESS;
	begun = pen_ring_mono_ns();
	cpu = cpu_ns();
	for (uint32_t b = 0; b < batches; b++) {
		uint64_t from, to;

		for (uint32_t i = 0; i < BATCH; i++)
			events[i].a = (uint64_t)b * BATCH + i;
		pen_cast_wakes(cast, &before);
		from = pen_ring_mono_ns();
		pen_cast_events(cast, events, BATCH);
		to = pen_ring_mono_ns();
		pen_cast_wakes(cast, &after);
		if (after.wakes == before.wakes)
			sample(to - from);
		while (gap_ns && pen_ring_mono_ns() < to + gap_ns)
			;
	}
	cpu = cpu_ns() - cpu;
	begun = pen_ring_mono_ns() - begun;
	pen_cast_wakes(cast, &after);
	stop_readers(threads, readers);
	qsort(samples, sample_count, sizeof(*samples), by_size);
	printf("{\"bench\":\"cast_publish\",\"readers\":\"%s\",\"batch\":%u,\"ns_event_p50\":%.1f,\"ns_event_p99\":%.1f,"
	       "\"ns_event_p999\":%.1f,\"wakes\":%llu,\"woken\":%llu,\"wake_ns\":%.0f,\"wake_percent\":%.2f,\"period_us\":%.0f}\n",
	       who, BATCH, quantile(0.5) / BATCH, quantile(0.99) / BATCH, quantile(0.999) / BATCH,
	       (unsigned long long)after.wakes, (unsigned long long)after.woken,
	       after.wakes ? (double)after.spent_ns / (double)after.wakes : 0,
	       100.0 * (double)after.spent_ns / (double)begun, (double)after.period_ns / 1000);
	fflush(stdout);
}

static void latency(const char *who, struct reader reader, uint32_t events, uint64_t gap_ns)
{
	struct pen_ring_event event = { .type = PEN_RING_EV_PROGRESS };
	pthread_t threads[1];

	reader.times = true;
	open_cast();
	start_readers(threads, &reader, 1);
	for (uint32_t i = 0; i < events; i++) {
		uint64_t until = pen_ring_mono_ns() + gap_ns;

		event.ts_ns = pen_ring_mono_ns();
		pen_cast_events(cast, &event, 1);
		while (pen_ring_mono_ns() < until) {
			uint64_t owed = pen_cast_owes(cast);

			if (owed == 0)
				pen_cast_idle(cast);
			else if (reader.sleeps && owed == UINT64_MAX)
				nanosleep(&(struct timespec){ .tv_nsec = 100000 }, NULL);
		}
	}
	stop_readers(threads, 1);
	qsort(samples, sample_count, sizeof(*samples), by_size);
	printf("{\"bench\":\"cast_latency\",\"reader\":\"%s\",\"events\":%zu,\"ns_p50\":%.0f,\"ns_p90\":%.0f,\"ns_p99\":%.0f}\n",
	       who, sample_count, quantile(0.5), quantile(0.9), quantile(0.99));
	fflush(stdout);
}

static _Alignas(128) _Atomic uint32_t ball;

static void *return_ball(void *arg)
{
	uint32_t rounds = *(const uint32_t *)arg;

	pin(1);
	for (uint32_t i = 0; i < rounds; i++) {
		while (atomic_load_explicit(&ball, memory_order_acquire) != 2 * i + 1)
			;
		atomic_store_explicit(&ball, 2 * i + 2, memory_order_release);
	}
	return NULL;
}

static void hand_over(uint32_t rounds)
{
	pthread_t other;

	sample_count = 0;
	if (pthread_create(&other, NULL, return_ball, &rounds))
		exit(1);
	for (uint32_t i = 0; i < rounds; i++) {
		uint64_t from = pen_ring_mono_ns();

		atomic_store_explicit(&ball, 2 * i + 1, memory_order_release);
		while (atomic_load_explicit(&ball, memory_order_acquire) != 2 * i + 2)
			;
		sample(pen_ring_mono_ns() - from);
	}
	pthread_join(other, NULL);
	qsort(samples, sample_count, sizeof(*samples), by_size);
	printf("{\"bench\":\"cast_floor\",\"ns_p50\":%.0f,\"ns_p90\":%.0f,\"ns_p99\":%.0f}\n",
	       quantile(0.5) / 2, quantile(0.9) / 2, quantile(0.99) / 2);
	fflush(stdout);
}

static void drain(uint32_t rounds)
{
	static struct pen_ring_event got[256];
	static struct pen_ring ring;
	struct pen_ring_event events[BATCH] = { 0 };
	uint64_t begun, records = 0, lost;
	int n;

	open_cast();
	for (uint32_t i = 0; i < 16384 / BATCH; i++)
		pen_cast_events(cast, events, BATCH);
	if (pen_ring_open(&ring, ring_path, PEN_RING_OWNERS_OWN))
		exit(1);
	begun = pen_ring_mono_ns();
	for (uint32_t i = 0; i < rounds; i++) {
		pen_ring_rewind(&ring);
		while ((n = pen_ring_poll(&ring, got, 256, &lost)) > 0)
			records += (uint64_t)n;
	}
	begun = pen_ring_mono_ns() - begun;
	printf("{\"bench\":\"cast_drain\",\"reader\":\"C\",\"records\":%llu,\"mrecords_s\":%.1f}\n",
	       (unsigned long long)records, (double)records * 1000 / (double)begun);
	pen_ring_close(&ring);
	pen_cast_close(cast, PEN_RING_CLOSED, 0, false);
}

int main(int argc, char **argv)
{
	uint32_t batches = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 200000;

	batches = batches ? batches : 1;
	(void)snprintf(dir_path, sizeof(dir_path), "/dev/shm/penstock-bench-XXXXXX");
	if (!mkdtemp(dir_path)) {
		perror("bench_cast: /dev/shm");
		return 1;
	}
	(void)snprintf(ring_path, sizeof(ring_path), "%s/bench.0.ring", dir_path);
	dir = open(dir_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	sample_max = batches + 16u;
	samples = calloc(sample_max, sizeof(*samples));
	if (dir < 0 || !samples)
		return 1;
	pin(0);
	hand_over(batches);
	publish("none", (struct reader){ 0 }, 0, batches, 0);
	publish("1 spins", (struct reader){ .cpu = 1 }, 1, batches, 0);
	publish("none, paced", (struct reader){ 0 }, 0, batches / 10 + 1, 20000);
	publish("8 sleep", (struct reader){ .sleeps = true, .cpu = 1 }, 8, batches / 10 + 1, 20000);
	publish("64 sleep", (struct reader){ .sleeps = true, .cpu = 1 }, 64, batches / 10 + 1, 20000);
	latency("spins", (struct reader){ .cpu = 1 }, batches / 10 + 1, 10000);
	latency("sleeps", (struct reader){ .sleeps = true, .cpu = 1 }, batches / 200 + 1, 3000000);
	drain(batches / 100 + 1);
	free(samples);
	(void)close(dir);
	(void)rmdir(dir_path);
	return 0;
}
