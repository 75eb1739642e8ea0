/* SPDX-License-Identifier: MIT */
/*
 * load - the whole interface in one program, against penstock.h alone
 *
 * Runs a batch from a file, then opens a batch and puts records of its own, and reads one of each back.
 *
 *	cc load.c -o load $(pkg-config --cflags --libs penstock)
 */
#include <penstock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RECORDS 1000

static void die(const char *what, int code, const struct pen_failure *why)
{
	fprintf(stderr, "load: %s: %s: %s\n", what, pen_error_name(code),
		why && why->text[0] ? why->text : pen_error_text(code));
	exit(1);
}

/* Waits for one completion and gives its slot back. */
static struct pen_cqe reap(struct pen_engine *engine)
{
	struct pen_cqe *cqe, copy;
	int rc = pen_wait_cqe(engine, &cqe);

	if (rc)
		die("waiting", rc, NULL);
	copy = *cqe;
	pen_cqe_seen(engine, cqe);
	return copy;
}

static void run_file(struct pen_engine *engine, const char *path)
{
	struct pen_run spec = {
		.size = sizeof spec, .sources = &path, .source_count = 1, .into = "papers", .key = "/id"
	};
	struct pen_failure why = { 0 };
	struct pen_cqe done;

	pen_prep_run(pen_get_sqe(engine), &spec);
	pen_submit(engine);
	done = reap(engine);
	if (done.res) {
		pen_engine_failure(engine, done.batch, &why);
		die(path, done.res, &why);
	}
	printf("batch %016llx is durable\n", (unsigned long long)done.batch);
}

/* Puts one record; when everything is under way, takes completions until there is room. */
static void put(struct pen_engine *engine, uint64_t batch, int i, unsigned *in_flight)
{
	char key[16], value[64];
	int key_len = snprintf(key, sizeof key, "k%06d", i);
	int value_len = snprintf(value, sizeof value, "{\"square\":%d}", i * i);

	for (;;) {
		struct pen_sqe *sqe = pen_get_sqe(engine);
		void *to_key, *to_value;

		if (sqe &&
		    pen_prep_put(sqe, batch, (size_t)key_len, (size_t)value_len, &to_key, &to_value) == 0) {
			memcpy(to_key, key, (size_t)key_len);
			memcpy(to_value, value, (size_t)value_len);
			++*in_flight;
			return;
		}
		*in_flight += sqe != NULL; /* a put that found no room completes too */
		pen_submit(engine);
		if (reap(engine).res)
			die("put", -1, NULL);
		--*in_flight;
	}
}

static void put_own(struct pen_engine *engine)
{
	struct pen_run spec = { .size = sizeof spec, .into = "squares" };
	unsigned in_flight = 0;
	struct pen_cqe open, end;

	pen_prep_open(pen_get_sqe(engine), &spec);
	pen_submit(engine);
	open = reap(engine);
	if (open.res)
		die("open", open.res, NULL);
	for (int i = 0; i < RECORDS; i++)
		put(engine, open.batch, i, &in_flight);
	pen_submit(engine);
	while (in_flight--)
		if (reap(engine).res)
			die("put", -1, NULL);
	pen_prep_close(pen_get_sqe(engine), open.batch);
	pen_submit(engine);
	end = reap(engine);
	if (end.res || end.value != RECORDS)
		die("close", end.res, NULL);
	printf("%d records of its own are durable\n", RECORDS);
}

static void show(struct pen_store *store, const char *dataset, const char *key)
{
	void *value;
	size_t len;
	int rc = pen_get(store, dataset, key, strlen(key), &value, &len);

	if (rc)
		die(key, rc, NULL);
	printf("%s/%s = %.*s\n", dataset, key, (int)len, (char *)value);
	free(value);
}

int main(int argc, char **argv)
{
	char dir[] = "/tmp/penstock-load-XXXXXX", path[64], store_path[64];
	struct pen_failure why = { 0 };
	struct pen_engine *engine;
	struct pen_store *store;
	FILE *f;
	int rc;

	if (!mkdtemp(dir))
		return 1;
	snprintf(path, sizeof path, "%s/papers.ndjson", dir);
	snprintf(store_path, sizeof store_path, "%s/store", argc > 1 ? argv[1] : dir);
	f = fopen(path, "w");
	if (!f ||
	    fputs("{\"id\":\"w1\",\"title\":\"On Pipes\"}\n{\"id\":\"w2\",\"title\":\"On Gates\"}\n", f) <
		    0 ||
	    fclose(f))
		return 1;
	rc = pen_store_open(store_path, NULL, &store, &why);
	if (rc)
		die("opening the store", rc, &why);
	rc = pen_engine_start(store, NULL, &engine, &why);
	if (rc)
		die("starting the engine", rc, &why);
	run_file(engine, path);
	put_own(engine);
	pen_engine_stop(engine);
	show(store, "papers", "w2");
	show(store, "squares", "k000012");
	pen_store_close(store);
	return 0;
}
