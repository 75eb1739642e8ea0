/* SPDX-License-Identifier: MIT */
/*
 * emit - a program that shows how far it is, and one that watches, in two processes
 *
 * The first puts records and says what it does with counters of its own; the second maps the progress ring, with
 * penstock_progress.h alone, and prints what it sees. Neither waits for the other.
 *
 *	cc emit.c -o emit $(pkg-config --cflags --libs penstock)
 */
#include <penstock.h>
#include <penstock_progress.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ARTICLES 2000

static void die(const char *what, int code)
{
	fprintf(stderr, "emit: %s: %s: %s\n", what, pen_error_name(code), pen_error_text(code));
	exit(1);
}

static void rest(long ms)
{
	nanosleep(&(struct timespec){ .tv_nsec = ms * 1000000 }, NULL);
}

/* ---- the one who watches ------------------------------------------------------------------- */

static int found(void *arg, const char *path)
{
	return pen_ring_open((struct pen_ring *)arg, path, PEN_RING_OWNERS_OWN) == 0;
}

static void show(const struct pen_ring *ring)
{
	struct pen_ring_names names;
	struct pen_ring_gauge g;

	for (uint32_t slot = 0; pen_ring_next(ring, &slot, &g) > 0; slot++) {
		(void)pen_ring_names(ring, slot, g.batch_id, &names);
		printf("%s: item %llu of %llu", names.label, (unsigned long long)g.committed,
		       (unsigned long long)g.items_total);
		for (int i = 0; i < 2; i++)
			printf(", %s %llu", names.live[i], (unsigned long long)g.live[i]);
		printf("\n");
	}
}

/* Returns once the program says that it is done. */
static int watch(uint64_t store_id)
{
	static struct pen_ring ring;
	struct pen_ring_event events[16];
	uint64_t lost;
	int n, tries = 0, done = 0;

	while (!pen_ring_scan(store_id, found, &ring)) {
		if (++tries == 5000) {
			printf("there is no ring to watch\n");
			return 0; /* no memory file system: the work goes on all the same */
		}
		rest(1);
	}
	pen_ring_join(&ring);
	show(&ring);
	while (!done && (n = pen_ring_poll(&ring, events, 16, &lost)) >= 0) {
		for (int i = 0; i < n; i++) {
			if (events[i].type == PEN_RING_EV_ERROR_DOMAIN)
				printf("error %u of domain %llu\n", events[i].code,
				       (unsigned long long)events[i].a);
			done |= events[i].type == PEN_RING_EV_DONE;
		}
		if (n || lost)
			show(&ring);
		else if (!pen_ring_wait(&ring, 100) && pen_ring_life(&ring) != PEN_RING_ALIVE)
			break;
	}
	pen_ring_close(&ring);
	printf(done ? "it is done\n" : "it has ended\n");
	return 0;
}

/* ---- the one who works --------------------------------------------------------------------- */

static struct pen_cqe reap(struct pen_engine *engine)
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

static void work(struct pen_engine *engine)
{
	static const char *const live[] = { "articles", "words" };
	struct pen_run spec = { .size = sizeof spec, .into = "articles", .live = live, .live_count = 2 };
	struct pen_emit emit = { .size = sizeof emit, .items_total = ARTICLES, .stage = PEN_RING_PROCESS };
	uint64_t batch;

	pen_prep_open(pen_get_sqe(engine), &spec);
	pen_submit(engine);
	batch = reap(engine).batch;
	for (int i = 0; i < ARTICLES; i++) {
		void *key, *value;
		char text[32];
		int len = snprintf(text, sizeof text, "%08d", i);

		if (pen_prep_put(pen_get_sqe(engine), batch, 8, 100, &key, &value))
			die("put", -1);
		memcpy(key, text, (size_t)len);
		memset(value, 'a', 100);
		emit.live[0]++;
		emit.live[1] += 17;
		/* As often as one likes: it is never waited for, and told 20 times a second. */
		(void)pen_emit_progress(engine, batch, &emit);
		if (i == ARTICLES / 2)
			(void)pen_emit_domain_error(engine, batch, 7, 42);
		if (i % 100 != 99)
			continue;
		pen_submit(engine);
		for (int k = 0; k < 100; k++)
			(void)reap(engine);
		rest(20);
	}
	(void)pen_emit_progress(engine, batch, &emit);
	(void)pen_emit_complete(engine, batch, ARTICLES);
	pen_prep_close(pen_get_sqe(engine), batch);
	pen_submit(engine);
	(void)reap(engine);
}

int main(int argc, char **argv)
{
	char dir[] = "/tmp/penstock-emit-XXXXXX", path[64];
	struct pen_store_info info;
	struct pen_engine *engine;
	struct pen_store *store;
	int rc, status = 0;
	pid_t watcher;

	if (!mkdtemp(dir))
		return 1;
	snprintf(path, sizeof path, "%s/store", argc > 1 ? argv[1] : dir);
	rc = pen_store_open(path, NULL, &store, NULL);
	if (rc || (rc = pen_store_info(store, &info)))
		die("opening the store", rc);
	watcher = fork(); /* before there is an engine; it uses the store's number alone */
	if (!watcher) {
		status = watch(info.store_id);
		fflush(stdout);
		_exit(status);
	}
	rc = pen_engine_start(store, NULL, &engine, NULL);
	if (rc)
		die("starting the engine", rc);
	work(engine);
	pen_engine_stop(engine);
	pen_store_close(store);
	if (watcher < 0 || waitpid(watcher, &status, 0) != watcher)
		return 1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
