/* SPDX-License-Identifier: MIT */
/*
 * bench_small - small batches through the API in a running engine: from the request to the last durable item
 *
 *   bench_small STORE REPEATS [DURABILITY]      (STORE: made here; commit, group or relaxed; default commit)
 *
 * Batches of 10, 100, 500 and 1,000 items of about 40 bytes, one after the other, by one thread: opened, put and
 * closed (way "put"), and run from a file of lines (way "run"). One JSON line each; times are milliseconds.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "include/penstock.h"

#define ENTRIES 2048u /* so that a batch of 1,000 is submitted in one go */

static struct pen_engine *engine;
static enum pen_durability durability;

static double now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail */
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void die(const char *what, int code)
{
	(void)fprintf(stderr, "bench_small: %s: %s\n", what, pen_error_text(code));
	exit(1);
}

static struct pen_cqe reap(void)
{
	struct pen_cqe *cqe, copy;
	int rc = pen_wait_cqe(engine, &cqe);

	if (rc)
		die("waiting", rc);
	copy = *cqe;
	pen_cqe_seen(engine, cqe);
	if (copy.res)
		die("a request", copy.res);
	return copy;
}

static void put_batch(unsigned items, unsigned round)
{
	struct pen_run spec = { .size = sizeof spec, .into = "put", .durability = durability };
	uint64_t batch;

	pen_prep_open(pen_get_sqe(engine), &spec);
	(void)pen_submit(engine);
	batch = reap().batch;
	for (unsigned i = 0; i < items; i++) {
		char key[32], value[64];
		int key_len = snprintf(key, sizeof key, "k%09u%04u", round, i);
		int len = snprintf(value, sizeof value, "{\"round\":%u,\"item\":%u}", round, i);
		void *to_key, *to_value;
		int rc = pen_prep_put(pen_get_sqe(engine), batch, (size_t)key_len, (size_t)len, &to_key,
				      &to_value);

		if (rc)
			die("put", rc);
		memcpy(to_key, key, (size_t)key_len);
		memcpy(to_value, value, (size_t)len);
	}
	pen_prep_close(pen_get_sqe(engine), batch);
	(void)pen_submit(engine);
	for (unsigned i = 0; i <= items; i++)
		(void)reap();
}

static void run_batch(const char *path)
{
	struct pen_run spec = { .size = sizeof spec,
				.sources = &path,
				.source_count = 1,
				.into = "run",
				.format = PEN_FORMAT_NDJSON,
				.fresh = true,
				.durability = durability };

	pen_prep_run(pen_get_sqe(engine), &spec);
	(void)pen_submit(engine);
	(void)reap();
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void tell(const char *way, unsigned items, double *ms, unsigned n, const char *level)
{
	qsort(ms, n, sizeof *ms, by_size);
	(void)printf(
		"{\"bench\":\"small\",\"way\":\"%s\",\"items\":%u,\"repeats\":%u,\"durability\":\"%s\",\"ms_p50\":%.3f,"
		"\"ms_p90\":%.3f,\"ms_p99\":%.3f%s}\n",
		way, items, n, level, ms[n / 2], ms[n * 9 / 10], ms[n * 99 / 100],
		items == 100 ? ",\"wanted_ms_p50\":5" : "");
	(void)fflush(stdout);
}

int main(int argc, char **argv)
{
	static const unsigned sizes[] = { 10, 100, 500, 1000 };
	const char *level = argc > 3 ? argv[3] : "commit";
	struct pen_engine_options opt = { .size = sizeof opt, .entries = ENTRIES };
	struct pen_failure why = { 0 };
	struct pen_store *store;
	unsigned repeats, round = 0;
	char path[4096];
	double *ms;
	int rc;

	if (argc < 3 || (repeats = (unsigned)strtoul(argv[2], NULL, 10)) == 0)
		return 2;
	durability = strcmp(level, "group") == 0     ? PEN_DURABLE_GROUP
		     : strcmp(level, "relaxed") == 0 ? PEN_DURABLE_RELAXED
						     : PEN_DURABLE_COMMIT;
	ms = malloc(repeats * sizeof *ms);
	if (!ms)
		return 1;
	rc = pen_store_open(argv[1], NULL, &store, &why);
	if (!rc)
		rc = pen_engine_start(store, &opt, &engine, &why);
	if (rc)
		die(why.text, rc);
	for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
		FILE *f;

		for (unsigned i = 0; i < repeats + 5; i++, round++) { /* the first five warm up */
			double began = now_ms();

			put_batch(sizes[s], round);
			ms[i < 5 ? 0 : i - 5] = now_ms() - began;
		}
		tell("put", sizes[s], ms, repeats, level);
		(void)snprintf(path, sizeof path, "%s.%u.ndjson", argv[1], sizes[s]);
		f = fopen(path, "w");
		for (unsigned i = 0; f && i < sizes[s]; i++)
			(void)fprintf(f, "{\"round\":%u,\"item\":%u}\n", round, i);
		if (!f || fclose(f))
			die(path, -5);
		for (unsigned i = 0; i < repeats + 5; i++) {
			double began = now_ms();

			run_batch(path);
			ms[i < 5 ? 0 : i - 5] = now_ms() - began;
		}
		tell("run", sizes[s], ms, repeats, level);
		(void)unlink(path); /* ours */
	}
	pen_engine_stop(engine);
	pen_store_close(store);
	free(ms);
	return 0;
}
