/* SPDX-License-Identifier: MIT */
/*
 * bench_log - what a line of the log costs the one who logs it, and how fast lines are written
 *
 * A line has a message, a correlation id, an owner, a batch and two fields, about 200 bytes in the ring. One and two
 * threads log in bursts that fit into their rings, and wait for a flush between bursts, so that no line is lost. Each
 * call is timed by itself: its time holds one reading of the clock, whose cost is given beside it as clock_ns. The
 * third line is a call whose level is not wanted. lines_per_s is of the whole, from the first call to the last one's
 * flush: it holds the moments that the writer waits for more. One JSON line each.
 *
 * Usage: bench_log DIR [BURSTS]    default 200 bursts of 500 lines
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "include/penstock.h"

#define BURST 500u
#define THREADS_MAX 2u

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

struct logger {
	pthread_t thread;
	unsigned bursts;
	uint32_t *took; /* ns of each call */
	uint64_t lost, sum;
};

static int say(unsigned i)
{
	const struct pen_log_context context = {
		.correlation_id = "9f3c1a52-6f1e-4c1d-9a55-0d5b8d7a4f10",
		.user_id = "ann",
		.batch = 0x19abcdef,
		.module = PEN_LOG_IN_ENGINE,
	};
	const struct pen_log_field fields[] = { PEN_LOG_TEXT("source", "papers.ndjson"),
						PEN_LOG_U64("itemCount", i) };

	return pen_log_info(&context, "a group of items was committed", fields, 2);
}

static void *log_on(void *arg)
{
	struct logger *me = arg;

	for (unsigned b = 0; b < me->bursts; b++) {
		for (unsigned i = 0; i < BURST; i++) {
			uint64_t from = now(), took;

			me->lost += say(i) != 0;
			took = now() - from;
			me->sum += took;
			me->took[b * BURST + i] = (uint32_t)(took < UINT32_MAX ? took : UINT32_MAX);
		}
		(void)pen_log_flush(10000000000);
	}
	return NULL;
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void measure(unsigned threads, unsigned bursts, double clock_ns)
{
	struct logger loggers[THREADS_MAX] = { 0 };
	size_t each = (size_t)bursts * BURST, all = each * threads;
	uint32_t *took = calloc(all, sizeof *took);
	uint64_t sum = 0, lost = 0, began = now(), spent;

	if (!took)
		exit(1);
	for (unsigned t = 0; t < threads; t++) {
		loggers[t] = (struct logger){ .bursts = bursts, .took = took + t * each };
		if (pthread_create(&loggers[t].thread, NULL, log_on, &loggers[t]))
			exit(1);
	}
	for (unsigned t = 0; t < threads; t++) {
		(void)pthread_join(loggers[t].thread, NULL);
		sum += loggers[t].sum;
		lost += loggers[t].lost;
	}
	spent = now() - began;
	qsort(took, all, sizeof *took, by_value);
	printf("{\"bench\":\"log\",\"threads\":%u,\"lines\":%zu,\"ns_per_line\":%.0f,\"p50_ns\":%u,\"p99_ns\":%u,\"p999_ns\":%u,"
	       "\"clock_ns\":%.0f,\"lost\":%lu,\"lines_per_s\":%.0f}\n",
	       threads, all, (double)sum / (double)all, took[all / 2], took[all * 99 / 100],
	       took[all * 999 / 1000], clock_ns, (unsigned long)lost, (double)all * 1e9 / (double)spent);
	free(took);
}

static double clock_cost(void)
{
	uint64_t from = now();

	for (int i = 0; i < 1000000; i++)
		(void)now();
	return (double)(now() - from) / 1e6;
}

int main(int argc, char **argv)
{
	unsigned bursts = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 200;
	struct pen_log_options opt = { .size = sizeof opt, .file_bytes = 1ull << 40 };
	struct pen_failure why = { 0 };
	double clock_ns = clock_cost();
	uint64_t from;

	if (argc < 2 || !bursts) {
		fprintf(stderr, "usage: bench_log DIR [BURSTS]\n");
		return 2;
	}
	opt.dir = argv[1];
	if (pen_log_open(&opt, &why)) {
		fprintf(stderr, "bench_log: %s\n", why.text);
		return 1;
	}
	measure(1, bursts, clock_ns);
	measure(2, bursts, clock_ns);
	from = now();
	for (unsigned i = 0; i < 10000000; i++)
		(void)pen_log_debug(NULL, "nobody wants it", NULL, 0);
	printf("{\"bench\":\"log_unwanted\",\"ns_per_line\":%.1f}\n", (double)(now() - from) / 1e7);
	pen_log_close();
	return 0;
}
