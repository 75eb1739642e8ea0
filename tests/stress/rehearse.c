/* SPDX-License-Identifier: MIT */
/*
 * stress/rehearse - plans, over and over, in engines of many shapes
 *
 * Each round starts an engine that rehearses, with as many processors and chunks as chance wants, and lets it plan some
 * files at once while another thread looks at the progress. In every other round it looks into a store, to which
 * another engine is writing the same records. Some rounds are drained half-way. Then:
 *   - a plan that was not drained counted every item, reject, repeated key and key that is there
 *   - one that was counted no more than there are, and said that it is not the whole
 */
#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "include/penstock.h"
#include "tests/lib/stress.h"

#define PLANS 4

#define KEYS 500u

static char path[64], dir[64], store_path[96];
static struct pen_store *store;
static struct pen_engine *writer;
static uint64_t items, rejects, repeated;

static void make_file(struct stress_random *random)
{
	FILE *f;
	int fd;

	snprintf(path, sizeof path, "/tmp/pen-stress-rehearse-XXXXXX");
	fd = mkstemp(path);
	STRESS_CHECK(fd >= 0, "mkstemp");
	f = fdopen(fd, "w");
	items = 3000 + stress_below(random, 3000);
	for (uint64_t i = 0; i < items; i++) {
		/* The keys 0 .. KEYS - 1 come first, then all are repeated. */
		if (i >= KEYS && !stress_below(random, 10)) {
			fprintf(f, "bad\n");
			rejects++;
		} else {
			fprintf(f, "{\"id\":%lu,\"t\":\"%0*d\"}\n", (unsigned long)(i % KEYS),
				(int)stress_below(random, 100) + 1, 0);
			repeated += i >= KEYS;
		}
	}
	STRESS_CHECK(!fclose(f), "fclose");
}

struct watcher {
	struct pen_engine *engine;
	atomic_bool over;
};

static void *watch(void *arg)
{
	struct watcher *w = arg;
	struct pen_progress progress;

	while (!atomic_load_explicit(&w->over, memory_order_relaxed)) { /* ends the loop, carries nothing */
		if (!pen_engine_progress(w->engine, 0, &progress))
			STRESS_CHECK(progress.counted.items <= items, "%lu",
				     (unsigned long)progress.counted.items);
		sched_yield();
	}
	return NULL;
}

/* All records once more, into the dataset the plans look into. */
static void write_all(bool wait)
{
	const char *sources[] = { path };
	struct pen_run spec = { .size = sizeof spec,
				.sources = sources,
				.source_count = 1,
				.format = PEN_FORMAT_NDJSON,
				.key = "/id",
				.durability = PEN_DURABLE_RELAXED,
				.fresh = true };
	struct pen_cqe *cqe;

	if (!wait) {
		pen_prep_run(pen_get_sqe(writer), &spec);
		pen_submit(writer);
		return;
	}
	STRESS_CHECK(!pen_wait_cqe(writer, &cqe) && !cqe->res, "run");
	pen_cqe_seen(writer, cqe);
}

static void make_store(void)
{
	struct pen_engine_options opt = { .size = sizeof opt, .arena_bytes = 1 };

	snprintf(dir, sizeof dir, "/tmp/pen-stress-rehearse-XXXXXX");
	STRESS_CHECK(mkdtemp(dir), "mkdtemp");
	snprintf(store_path, sizeof store_path, "%s/store", dir);
	STRESS_CHECK(!pen_store_open(store_path, NULL, &store, NULL), "store");
	STRESS_CHECK(!pen_engine_start(store, &opt, &writer, NULL), "writer");
	write_all(false);
	write_all(true);
}

static int remove_one(const char *name, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	return remove(name);
}

static void check(const struct pen_forecast *f, int res, bool there)
{
	STRESS_CHECK(!res || res == -PEN_INTERRUPTED_BY, "%d", res);
	if (res) {
		STRESS_CHECK(!f->whole && f->counted.items <= items, "%lu", (unsigned long)f->counted.items);
		return;
	}
	STRESS_CHECK(f->whole && f->counted.items == items, "%lu of %lu", (unsigned long)f->counted.items,
		     (unsigned long)items);
	STRESS_CHECK(f->counted.rejected == rejects && f->repeated == repeated, "%lu and %lu",
		     (unsigned long)f->counted.rejected, (unsigned long)f->repeated);
	STRESS_CHECK(f->present == (there ? KEYS : 0), "%lu", (unsigned long)f->present);
	STRESS_CHECK(f->reject_count == (rejects < 1000 ? rejects : 1000), "%zu", f->reject_count);
	for (size_t i = 1; i < f->reject_count; i++)
		STRESS_CHECK(f->rejects[i - 1].seq < f->rejects[i].seq, "order");
}

static void round_of(struct stress_random *random)
{
	struct pen_engine_options opt = {
		.size = sizeof opt,
		.rehearse = true,
		.io = stress_below(random, 2) ? PEN_IO_AUTO : PEN_IO_THREADS,
		.processors = 1 + (uint32_t)stress_below(random, 4),
		.chunk_bytes = 1024u << stress_below(random, 5),
		.arena_bytes = 1,
	};
	const char *sources[] = { path };
	struct pen_run spec = { .size = sizeof spec,
				.sources = sources,
				.source_count = 1,
				.format = PEN_FORMAT_NDJSON,
				.key = "/id",
				.on_duplicate = PEN_DUP_KEEP }; /* so it is another batch than the writer's */
	struct pen_forecast forecasts[PLANS];
	struct watcher w = { 0 };
	bool there = stress_below(random, 2), drain = !stress_below(random, 3);
	pthread_t thread;

	STRESS_CHECK(!pen_engine_start(there ? store : NULL, &opt, &w.engine, NULL), "start");
	if (there)
		write_all(false);
	STRESS_CHECK(!pthread_create(&thread, NULL, watch, &w), "thread");
	for (size_t i = 0; i < PLANS; i++) {
		struct pen_sqe *sqe = pen_get_sqe(w.engine);

		forecasts[i] = (struct pen_forecast){ .size = sizeof forecasts[i] };
		pen_prep_plan(sqe, &spec, &forecasts[i]);
		pen_sqe_set_data64(sqe, i);
	}
	pen_submit(w.engine);
	for (size_t i = 0; i < PLANS; i++) {
		struct pen_cqe *cqe;

		if (drain && i == stress_below(random, PLANS))
			pen_engine_drain(w.engine);
		STRESS_CHECK(!pen_wait_cqe(w.engine, &cqe), "wait");
		check(&forecasts[cqe->user_data], cqe->res, there);
		pen_forecast_fini(&forecasts[cqe->user_data]);
		pen_cqe_seen(w.engine, cqe);
	}
	atomic_store_explicit(&w.over, true, memory_order_relaxed); /* as above */
	pthread_join(thread, NULL);
	pen_engine_stop(w.engine);
	if (there)
		write_all(true);
}

int main(void)
{
	struct stress_random random = stress_random(stress_start("rehearse"));
	uint64_t rounds = 0;

	make_file(&random);
	make_store();
	do {
		round_of(&random);
		rounds++;
	} while (stress_time_left());
	printf("%lu rounds\n", (unsigned long)rounds);
	pen_engine_stop(writer);
	pen_store_close(store);
	return unlink(path) != 0 || nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0;
}
