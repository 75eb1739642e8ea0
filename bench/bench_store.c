/* SPDX-License-Identifier: MIT */
/*
 * bench_store - looks at, and writes to, a store that another process fills
 *
 *	bench_store watch STORE     waits until the newest batch counts more items than now; prints when
 *	bench_store write STORE     puts small records one by one into the dataset `foreign` while the newest batch
 *	                            runs; prints how long each took from submit to durable
 *
 * watch prints "ready" once it has read the present number, so that the caller knows when to start the
 * other side. write waits for the batch to have a first commit before it measures.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "include/penstock.h"

#define POLL_NS 500000
#define GAP_NS 5000000
#define PATIENCE_NS 20000000000ull
#define SAMPLES_MAX 100000u

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void doze(long ns)
{
	nanosleep(&(struct timespec){ .tv_nsec = ns }, NULL);
}

static int fail(const char *what, int code, const struct pen_failure *why)
{
	fprintf(stderr, "bench_store: %s: %s\n", what,
		why && why->text[0] ? why->text : pen_error_text(code));
	return 1;
}

static int watch(struct pen_store *store)
{
	uint64_t id = pen_batch_before(store, UINT64_MAX), until = now_ns() + PATIENCE_NS;
	struct pen_batch_info info;
	uint64_t before;
	int rc = pen_batch_get(store, id, &info);

	if (rc)
		return fail("the newest batch", rc, NULL);
	before = info.counted.items;
	puts("ready");
	fflush(stdout);
	while (now_ns() < until) {
		rc = pen_batch_get(store, id, &info);
		if (rc)
			return fail("the newest batch", rc, NULL);
		if (info.counted.items > before) {
			printf("{\"at_ns\":%" PRIu64 ",\"before\":%" PRIu64 "}\n", now_ns(), before);
			return 0;
		}
		if (info.state == PEN_COMPLETED)
			break;
		doze(POLL_NS);
	}
	fprintf(stderr, "bench_store: nothing new was committed\n");
	return 1;
}

/* One request and its completion. */
static int settle(struct pen_engine *engine, struct pen_cqe *ret)
{
	struct pen_cqe *cqe;
	int rc;

	pen_submit(engine);
	rc = pen_wait_cqe(engine, &cqe);
	if (rc)
		return rc;
	*ret = *cqe;
	pen_cqe_seen(engine, cqe);
	return ret->res;
}

static int put(struct pen_engine *engine, uint64_t batch, uint64_t n)
{
	struct pen_sqe *sqe = pen_get_sqe(engine);
	struct pen_cqe done;
	void *key, *value;
	int rc = sqe ? pen_prep_put(sqe, batch, sizeof n, 64, &key, &value) : -1;

	if (rc)
		return rc;
	memcpy(key, &n, sizeof n);
	memset(value, 'v', 64);
	return settle(engine, &done);
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Writes until the other batch has ended: the number of samples, or a negative code. */
static int measure(struct pen_store *store, struct pen_engine *engine, uint64_t other, uint64_t *sample,
		   uint32_t *ret_budget)
{
	struct pen_run spec = { .size = sizeof spec, .into = "foreign" };
	struct pen_sqe *sqe = pen_get_sqe(engine);
	struct pen_batch_info info;
	struct pen_cqe done;
	uint32_t n = 0;
	uint64_t batch;
	int rc;

	pen_prep_open(sqe, &spec);
	rc = settle(engine, &done);
	batch = done.batch;
	if (!rc)
		rc = put(engine, batch, UINT64_MAX); /* makes the dataset */
	while (!rc && n < SAMPLES_MAX) {
		uint64_t began = now_ns();

		rc = put(engine, batch, n);
		sample[n] = now_ns() - began;
		if (!rc)
			rc = pen_batch_get(store, other, &info);
		if (rc || info.state != PEN_RUNNING)
			break; /* this one may have met an idle store */
		*ret_budget = info.hold_budget_ms;
		n++;
		doze(GAP_NS);
	}
	if (!rc) {
		pen_prep_close(pen_get_sqe(engine), batch);
		rc = settle(engine, &done);
	}
	return rc ? rc : (int)n;
}

static int foreign(struct pen_store *store)
{
	uint64_t other = pen_batch_before(store, UINT64_MAX), until = now_ns() + PATIENCE_NS;
	struct pen_failure why = { 0 };
	struct pen_batch_info info;
	struct pen_engine *engine;
	uint32_t budget = 0;
	uint64_t *sample;
	int n, rc;

	do {
		rc = pen_batch_get(store, other, &info);
		if (rc)
			return fail("the newest batch", rc, NULL);
		if (!info.groups)
			doze(POLL_NS);
	} while (!info.groups && now_ns() < until);
	rc = pen_engine_start(store,
			      &(struct pen_engine_options){ .size = sizeof(struct pen_engine_options),
							    .processors = 1 },
			      &engine, &why);
	if (rc)
		return fail("engine", rc, &why);
	sample = calloc(SAMPLES_MAX, sizeof *sample);
	n = sample ? measure(store, engine, other, sample, &budget) : -1;
	pen_engine_stop(engine);
	if (n < 0) {
		free(sample);
		return fail("writing", n, NULL);
	}
	printf("{\"budget_ms\":%u,\"ms\":[", budget);
	for (int i = 0; i < n; i++)
		printf("%s%.2f", i ? "," : "", (double)sample[i] / 1e6);
	printf("]}\n");
	qsort(sample, (size_t)n, sizeof *sample, by_size);
	if (n)
		fprintf(stderr, "bench_store: %d writes, median %.1f ms, most %.1f ms\n", n,
			(double)sample[n / 2] / 1e6, (double)sample[n - 1] / 1e6);
	free(sample);
	return 0;
}

int main(int argc, char **argv)
{
	struct pen_store_options opt = { .size = sizeof opt };
	struct pen_failure why = { 0 };
	struct pen_store *store;
	bool watching;
	int rc;

	if (argc != 3 || (strcmp(argv[1], "watch") && strcmp(argv[1], "write"))) {
		fprintf(stderr, "usage: bench_store watch|write STORE\n");
		return 2;
	}
	watching = !strcmp(argv[1], "watch");
	opt.read_only = watching;
	rc = pen_store_open(argv[2], &opt, &store, &why);
	if (rc)
		return fail(argv[2], rc, &why);
	rc = watching ? watch(store) : foreign(store);
	pen_store_close(store);
	return rc;
}
