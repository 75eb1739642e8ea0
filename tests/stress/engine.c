/* SPDX-License-Identifier: MIT */
/*
 * stress/engine - two engines on one store, several batches at once, everything that may happen to them
 *
 * Each round makes a store and starts two engines on it, each driven by a thread that runs batches from files,
 * trees and FIFOs and puts records of its own; pauses, resumes and cancels whatever runs; and stops at a random moment,
 * drained or not, reaped or not. A third thread asks, and says, everything that any
 * thread may. Then:
 *   - the store verifies
 *   - a put that was said to be committed lies there
 *   - a batch that was said to be complete has all its records and no others
 *   - (a process with a planted bug, first, has to fail)
 *   - what was not complete goes on in an engine of its own and then is, from files that both engines fought for, too
 * PEN_SEED, PEN_SECS.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "include/penstock.h"
#include "ring/base.h"
#include "tests/lib/stress.h"

#define ENGINES 2u
#define JOBS 7u
#define EXEC_ITEMS 40u
#define FILES 4u
#define PUTS 400u
#define STREAM_LINES 100u
/* Echoes the item; every third process by its number fails, to be tried again from a row. */
#define EXEC_COMMAND "exec:sh -c 'test $(($$ % 3)) -gt 0 && cat'"

enum kind { FROM_FILE, FROM_TREE, FROM_FIFO, BY_PUTS, SHARED, EXEC };
enum op { OP_RUN = 1, OP_OPEN, OP_PUT, OP_CLOSE, OP_OTHER };

struct job {
	enum kind kind;
	char dataset[16], path[96];
	uint64_t batch;
	uint64_t want; /* records when complete */
	bool open, closing, done, complete, cancelled;
	int fifo; /* held open for writing, or -1 */
	unsigned sent;
	bool counted[PUTS];
};

struct driver {
	pthread_t thread;
	struct pen_engine *engine;
	struct stress_random random;
	struct job jobs[JOBS];
	uint64_t stop_ns;
	unsigned number;
};

static char dir[64];
static struct pen_store *store;
static struct driver drivers[ENGINES];
static uint64_t file_lines[FILES];
static _Atomic bool over;
static bool no_exec;		 /* the command is not built: nothing can be the launcher of children */
static bool planted;		 /* the control: the last put counts before it was made */
static _Atomic unsigned seen[8]; /* how often what was reached, so that a silent run is noticed */

static void path_of(char *ret, size_t cap, const char *name, unsigned i)
{
	STRESS_CHECK((size_t)snprintf(ret, cap, "%s/%s%u", dir, name, i) < cap, "path");
}

/* ---- sources ------------------------------------------------------------------------------- */

static void make_file(const char *path, unsigned file, uint64_t n)
{
	FILE *f = fopen(path, "w");

	STRESS_CHECK(f, "%s", path);
	for (uint64_t i = 0; i < n; i++)
		(void)fprintf(f, "%u %llu %.*s\n", file, (unsigned long long)i, (int)(stress_mix(i) % 60),
			      "............................................................");
	STRESS_CHECK(!fclose(f), "%s", path);
}

static void make_sources(struct stress_random *random)
{
	char path[96], below[128];

	for (unsigned i = 0; i < FILES; i++) {
		file_lines[i] = 1 + stress_below(random, i ? 4000 : 40);
		path_of(path, sizeof path, "file", i);
		make_file(path, i, file_lines[i]);
	}
	for (unsigned i = 0; i < ENGINES; i++) {
		path_of(path, sizeof path, "items", i);
		make_file(path, 100 + i, EXEC_ITEMS);
	}
	path_of(path, sizeof path, "tree", 0);
	STRESS_CHECK(!mkdir(path, 0700), "mkdir");
	for (unsigned i = 0; i < 60; i++) {
		(void)snprintf(below, sizeof below, "%s/%u", path, i);
		make_file(below, i, i % 20 ? i : 1500);
	}
}

/* ---- submitting ---------------------------------------------------------------------------- */

/* An entry with what its completion will say; takes completions while there is none. */
static void reap(struct driver *d, uint64_t timeout_ns);

static struct pen_sqe *entry(struct driver *d, enum op op, unsigned job, unsigned put)
{
	struct pen_sqe *sqe;

	while (!(sqe = pen_get_sqe(d->engine))) {
		pen_submit(d->engine);
		reap(d, 1000000);
	}
	pen_sqe_set_data64(sqe, (uint64_t)op << 48 | (uint64_t)job << 32 | put);
	return sqe;
}

static void spec_of(const struct job *job, const char *const *source, struct pen_run *ret)
{
	*ret = (struct pen_run){ .size = sizeof *ret, .into = job->dataset, .chunk_items = 50 };
	if (job->kind == BY_PUTS)
		return;
	ret->sources = source;
	ret->source_count = 1;
	if (job->kind == EXEC) {
		ret->processor = EXEC_COMMAND;
		ret->jobs = 4;
		ret->backoff = "5ms";
		ret->has_max_retries = true;
		ret->max_retries = 1000;
		ret->chunk_items = 7;
	}
	ret->format = job->kind == FROM_TREE ? PEN_FORMAT_FILES : PEN_FORMAT_LINES;
	ret->key = job->kind == FROM_TREE ? "@path" : "@offset";
}

static void make_fifo(struct job *job)
{
	char line[32];

	STRESS_CHECK(!mkfifo(job->path, 0600), "mkfifo");
	job->fifo = open(job->path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	STRESS_CHECK(job->fifo >= 0, "open");
	for (unsigned i = 0; i < STREAM_LINES; i++) {
		int n = snprintf(line, sizeof line, "line %u\n", i);

		STRESS_CHECK(write(job->fifo, line, (size_t)n) == n, "write");
	}
	job->want = STREAM_LINES;
}

static void start_job(struct driver *d, unsigned i)
{
	static const enum kind kinds[JOBS] = { FROM_FILE, FROM_FILE, FROM_TREE, FROM_FIFO,
					       BY_PUTS,	  SHARED,    EXEC };
	struct job *job = &d->jobs[i];
	const char *source = job->path;
	unsigned file = (unsigned)stress_below(&d->random, FILES);
	struct pen_run spec;

	*job = (struct job){ .kind = kinds[i] == EXEC && no_exec ? FROM_FILE : kinds[i],
			     .fifo = -1,
			     .want = file_lines[file] };
	(void)snprintf(job->dataset, sizeof job->dataset, "e%uj%u", d->number, i);
	path_of(job->path, sizeof job->path, "file", file);
	if (job->kind == BY_PUTS) {
		job->want = PUTS;
		job->counted[PUTS - 1] = planted;
	} else if (job->kind == FROM_TREE) {
		path_of(job->path, sizeof job->path, "tree", 0);
		job->want = 60;
	} else if (job->kind == FROM_FIFO) {
		path_of(job->path, sizeof job->path, "fifo", d->number);
		make_fifo(job);
	} else if (job->kind == SHARED) { /* both engines want the same batch */
		path_of(job->path, sizeof job->path, "file", FILES - 1);
		job->want = file_lines[FILES - 1];
		(void)snprintf(job->dataset, sizeof job->dataset, "shared");
	} else if (job->kind == EXEC) {
		path_of(job->path, sizeof job->path, "items", d->number);
		job->want = EXEC_ITEMS;
	}
	spec_of(job, &source, &spec);
	spec.durability = (enum pen_durability)stress_below(&d->random, 3);
	spec.pause_ms = (uint32_t)stress_below(&d->random, 3);
	if (job->kind == BY_PUTS)
		pen_prep_open(entry(d, OP_OPEN, i, 0), &spec);
	else
		pen_prep_run(entry(d, OP_RUN, i, 0), &spec);
}

static void put_some(struct driver *d, unsigned i)
{
	struct job *job = &d->jobs[i];
	unsigned n = 1 + (unsigned)stress_below(&d->random, 30);

	while (n-- && job->sent < PUTS) {
		void *key, *value;
		uint32_t k = job->sent;
		int rc = pen_prep_put(entry(d, OP_PUT, i, k), job->batch, 4, 8, &key, &value);
		uint64_t v = stress_mix(k);

		if (rc == -EAGAIN)
			return; /* the entry completes as nothing */
		STRESS_CHECK(!rc, "put: %d", rc);
		memcpy(key, &k, 4);
		memcpy(value, &v, 8);
		job->sent++;
	}
	if (job->sent == PUTS && !job->closing) {
		job->closing = true;
		pen_prep_close(entry(d, OP_CLOSE, i, 0), job->batch);
	}
}

/* ---- completions --------------------------------------------------------------------------- */

static void ended(struct job *job, const struct pen_cqe *cqe)
{
	job->done = true;
	job->complete = cqe->res == 0;
	if (cqe->batch)
		job->batch = cqe->batch;
	atomic_fetch_add_explicit(&seen[cqe->res == 0			  ? 0
					: cqe->res == -PEN_INTERRUPTED_BY ? 1
					: cqe->res == -PEN_CANCELLED_BY	  ? 2
									  : 3],
				  1, memory_order_relaxed);
	STRESS_CHECK(cqe->res == 0 || cqe->res == -PEN_INTERRUPTED_BY || cqe->res == -PEN_CANCELLED_BY ||
			     (cqe->res == -PEN_BATCH_BUSY && job->kind == SHARED) ||
			     (cqe->res == -PEN_NOT_FOUND &&
			      job->kind == BY_PUTS), /* closed after it was cancelled */
		     "a batch ended with %s", pen_error_name(cqe->res));
	STRESS_CHECK(cqe->res || cqe->value == job->want, "%s: %d items of %d", job->dataset, (int)cqe->value,
		     (int)job->want);
}

static void completion(struct driver *d, const struct pen_cqe *cqe)
{
	struct job *job = &d->jobs[cqe->user_data >> 32 & 0xffff];
	unsigned put = (unsigned)(cqe->user_data & 0xffffffff);

	switch ((enum op)(cqe->user_data >> 48)) {
	case OP_RUN:
	case OP_CLOSE:
		ended(job, cqe);
		break;
	case OP_OPEN:
		if (cqe->res)
			ended(job, cqe);
		job->open = !cqe->res;
		job->batch = cqe->batch;
		break;
	case OP_PUT:
		if (!cqe->res && cqe->batch && put < job->sent)
			job->counted[put] = true;
		break;
	case OP_OTHER: /* what it was about may have ended before, or the last one is still under way */
		STRESS_CHECK(cqe->res == 0 || cqe->res == -EBUSY || cqe->res == -PEN_NOT_FOUND ||
				     cqe->res == -PEN_BATCH_OVER || cqe->res == -PEN_CANCELLED_BY ||
				     cqe->res == -PEN_INTERRUPTED_BY,
			     "%s", pen_error_name(cqe->res));
	}
}

static void reap(struct driver *d, uint64_t timeout_ns)
{
	struct pen_cqe *cqe;
	int rc = pen_wait_cqe_timeout(d->engine, &cqe, timeout_ns);

	while (!rc) {
		completion(d, cqe);
		pen_cqe_seen(d->engine, cqe);
		rc = pen_peek_cqe(d->engine, &cqe);
	}
	STRESS_CHECK(rc == -ETIME || rc == -EAGAIN, "wait: %d", rc);
}

/* ---- a driver ------------------------------------------------------------------------------ */

/* Pauses, resumes, cancels what has run longest, or a batch that it knows. */
static void meddle(struct driver *d, bool resume)
{
	struct pen_progress p;
	uint64_t dice = stress_below(&d->random, 40);

	if (pen_engine_progress(d->engine, 0, &p))
		return;
	if (resume || p.state == PEN_PAUSED || dice < 20)
		pen_prep_resume(entry(d, OP_OTHER, 0, 0), p.batch);
	else if (dice < 38)
		pen_prep_pause(entry(d, OP_OTHER, 0, 0), p.batch);
	else
		pen_prep_cancel(entry(d, OP_OTHER, 0, 0), p.batch);
	atomic_fetch_add_explicit(&seen[4 + (p.state == PEN_PAUSED)], 1, memory_order_relaxed);
}

/* A stream ends when its writer leaves, which it does when all it wrote has been read. */
static void end_fifo(struct job *job)
{
	struct pen_dataset_info info;

	if (job->fifo < 0 || pen_dataset_get(store, job->dataset, &info) || info.entries < job->want)
		return;
	close(job->fifo);
	job->fifo = -1;
}

static void *drive(void *arg)
{
	struct driver *d = arg;
	bool all = false;

	for (unsigned i = 0; i < JOBS; i++)
		start_job(d, i);
	while (!all && stress_now_ns() < d->stop_ns) {
		all = true;
		for (unsigned i = 0; i < JOBS; i++) {
			struct job *job = &d->jobs[i];

			if (job->kind == BY_PUTS && job->open && !job->done)
				put_some(d, i);
			end_fifo(job);
			all &= job->done;
		}
		if (stress_below(&d->random, 32) == 0)
			meddle(d, false);
		pen_submit(d->engine);
		reap(d, stress_below(&d->random, 2000000));
		stress_pause(&d->random);
	}
	if (stress_below(&d->random, 2)) {
		pen_engine_drain(d->engine);
		reap(d, 20000000);
	}
	return NULL;
}

/* Says what a program may say of a batch, also of one that ends in the same moment. */
static void emit(struct stress_random *random, struct pen_engine *engine, uint64_t batch)
{
	struct pen_emit emit = { .size = sizeof emit,
				 .items_total = 7,
				 .live = { stress_below(random, 1000) } };
	int rc = 0;

	switch (stress_below(random, 4)) {
	case 0:
		rc = pen_emit_progress(engine, batch, &emit);
		break;
	case 1:
		rc = pen_emit_domain_error(engine, batch, 1, 2);
		break;
	case 2:
		rc = pen_emit_complete(engine, batch, stress_below(random, 100));
		break;
	default:
		rc = pen_emit_standard_error(engine, batch, -PEN_JSON_BAD);
	}
	STRESS_CHECK(!rc || rc == -EAGAIN, "emit: %d", rc);
}

/* Asks what any thread may ask while the others work. */
static void *ask(void *arg)
{
	struct stress_random random = stress_random((uint64_t)(uintptr_t)arg);
	struct pen_batch_info *info = malloc(sizeof *info);

	STRESS_CHECK(info, "memory");
	while (!atomic_load_explicit(&over, memory_order_relaxed)) {
		struct pen_engine *engine = drivers[stress_below(&random, ENGINES)].engine;
		struct pen_store_info facts;
		struct pen_progress p;
		struct pen_failure why;
		uint64_t id;
		int rc;

		if (!pen_engine_progress(engine, 0, &p)) {
			const struct pen_counters *n = &p.counted;

			STRESS_CHECK(n->items == n->committed + n->rejected + n->failed + n->skipped,
				     "torn numbers");
			(void)pen_engine_progress(engine, p.batch, &p);
			(void)pen_engine_failure(engine, p.batch, &why);
			emit(&random, engine, p.batch);
		}
		rc = pen_store_info(store, &facts);
		STRESS_CHECK(!rc, "info: %d", rc);
		for (id = UINT64_MAX; (id = pen_batch_before(store, id));) {
			rc = pen_batch_get(store, id, info);
			STRESS_CHECK(!rc, "batch: %d", rc);
			STRESS_CHECK(info->counted.items <= info->items_total || !info->items_total,
				     "too many items");
		}
		stress_pause(&random);
	}
	free(info);
	return NULL;
}

/* ---- judging ------------------------------------------------------------------------------- */

static void finding(void *arg, int invariant, const char *text)
{
	(void)arg;
	fprintf(stderr, "invariant %d: %s\n", invariant, text);
}

static void verify(const char *path)
{
	struct pen_failure why = { 0 };
	long n = pen_verify(path, finding, NULL, &why);

	STRESS_CHECK(!n, "verify: %ld %s", n, why.text);
}

static void check_dataset(const struct job *job)
{
	struct pen_dataset_info info = { 0 };
	int rc = pen_dataset_get(store, job->dataset, &info);

	STRESS_CHECK(!rc && info.entries == job->want, "%s: %d, %d records of %d", job->dataset, rc,
		     (int)info.entries, (int)job->want);
}

static void check_puts(const struct job *job)
{
	for (uint32_t k = 0; k < PUTS; k++) {
		uint64_t want = stress_mix(k);
		void *value = NULL;
		size_t len;
		int rc = job->counted[k] ? pen_get(store, job->dataset, &k, 4, &value, &len) : 0;

		STRESS_CHECK(!rc, "%s: put %u was said to be committed and is not there: %d", job->dataset, k,
			     rc);
		STRESS_CHECK(!value || (len == 8 && !memcmp(value, &want, 8)), "%s: put %u", job->dataset, k);
		free(value);
	}
}

/* Whatever files were left half-way goes on here. */
static void finish(struct driver *d, struct job *job)
{
	const char *source = job->path;
	struct pen_run spec;
	struct pen_cqe *cqe;
	int rc;

	spec_of(job, &source, &spec);
	pen_prep_run(pen_get_sqe(d->engine), &spec);
	pen_submit(d->engine);
	rc = pen_wait_cqe(d->engine, &cqe);
	STRESS_CHECK(!rc && !cqe->res, "%s: %d, %s", job->dataset, rc, rc ? "" : pen_error_name(cqe->res));
	pen_cqe_seen(d->engine, cqe);
	check_dataset(job);
}

static struct pen_engine *start(struct stress_random *random)
{
	struct pen_engine_options opt = {
		.size = sizeof opt,
		.io = stress_below(random, 3) ? PEN_IO_AUTO : PEN_IO_THREADS,
		.processors = 1 + (uint32_t)stress_below(random, 3),
		.entries = 32u << stress_below(random, 3),
		.arena_bytes = 1 << 20, /* as few chunks as can be */
		.chunk_bytes = 1024u << stress_below(random, 5),
	};
	struct pen_failure why = { 0 };
	struct pen_engine *engine;
	int rc = pen_engine_start(store, &opt, &engine, &why);

	STRESS_CHECK(!rc, "%d %s", rc, why.text);
	return engine;
}

static void open_store(const char *path)
{
	/* The race checker keeps a shadow of every map: a terabyte would take it minutes. */
	struct pen_store_options opt = { .size = sizeof(opt), .create = true, .map_bytes = 64 << 20 };
	struct pen_failure why = { 0 };
	int rc = pen_store_open(path, &opt, &store, &why);

	STRESS_CHECK(!rc, "%d %s", rc, why.text);
}

static void judge(const char *path, struct stress_random *random)
{
	struct driver last = { 0 };

	verify(path);
	open_store(path);
	for (unsigned e = 0; e < ENGINES; e++)
		for (unsigned i = 0; i < JOBS; i++) {
			if (drivers[e].jobs[i].complete)
				check_dataset(&drivers[e].jobs[i]);
			check_puts(&drivers[e].jobs[i]);
		}
	last.engine = start(random);
	for (unsigned e = 0; e < ENGINES; e++)
		for (unsigned i = 0; i < JOBS; i++)
			if (drivers[e].jobs[i].kind != BY_PUTS && drivers[e].jobs[i].kind != FROM_FIFO)
				finish(&last, &drivers[e].jobs[i]);
	pen_engine_stop(last.engine);
	pen_store_close(store);
	verify(path);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	return remove(path);
}

static void a_round(struct stress_random *random, unsigned number)
{
	pthread_t asker;
	char path[96];

	path_of(path, sizeof path, "store", number);
	open_store(path);
	atomic_store_explicit(&over, false, memory_order_relaxed);
	for (unsigned e = 0; e < ENGINES; e++) {
		drivers[e].engine = start(random);
		drivers[e].random = stress_random(stress_mix(random->state++));
		drivers[e].number = e;
		drivers[e].stop_ns = stress_now_ns() + stress_below(random, planted ? 20 : 800) * 1000000;
		STRESS_CHECK(!pthread_create(&drivers[e].thread, NULL, drive, &drivers[e]), "thread");
	}
	STRESS_CHECK(!pthread_create(&asker, NULL, ask, (void *)(uintptr_t)(random->state | 1)), "thread");
	for (unsigned e = 0; e < ENGINES; e++)
		STRESS_CHECK(!pthread_join(drivers[e].thread, NULL), "join");
	atomic_store_explicit(&over, true, memory_order_relaxed);
	STRESS_CHECK(!pthread_join(asker, NULL), "join");
	for (unsigned e = 0; e < ENGINES; e++) {
		pen_engine_stop(drivers[e].engine); /* with completions nobody took */
		for (unsigned i = 0; i < JOBS; i++) {
			if (drivers[e].jobs[i].fifo >= 0)
				close(drivers[e].jobs[i].fifo);
			if (drivers[e].jobs[i].kind == FROM_FIFO)
				(void)unlink(drivers[e].jobs[i].path);
		}
	}
	pen_store_close(store);
	judge(path, random);
	(void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* A bug of the kind looked for is seen: a process of its own fails within some rounds. */
static void control(struct stress_random *random)
{
	pid_t pid = fork(); /* before any thread */
	int status;

	STRESS_CHECK(pid >= 0, "fork");
	if (!pid) {
		planted = true;
		if (!freopen("/dev/null", "w", stderr))
			_exit(2);
		for (unsigned i = 0; i < 20; i++)
			a_round(random, 1000 + i);
		_exit(0);
	}
	STRESS_CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 1,
		     "a put that was not made is not missed: %d", status);
}

/* Children are started by the command (engine/launcher.h): the one beside this program, or the released one. */
static void find_launcher(void)
{
	static const char *const places[] = { "/../../penstock", "/../../../release/penstock" };
	char path[4400], self[4096] = "";

	for (unsigned i = 0; !getenv("PENSTOCK_LAUNCHER") && i < PEN_COUNT(places); i++) {
		if (readlink("/proc/self/exe", self, sizeof self - 1) < 0 || !strrchr(self, '/'))
			break;
		*strrchr(self, '/') = 0;
		(void)snprintf(path, sizeof path, "%s%s", self, places[i]);
		if (!access(path, X_OK))
			(void)setenv("PENSTOCK_LAUNCHER", path, 1);
		memset(self, 0, sizeof self);
	}
	no_exec = !getenv("PENSTOCK_LAUNCHER");
	if (no_exec)
		printf("engine: no penstock to start children with: jobs are left out\n");
}

int main(void)
{
	struct stress_random random = stress_random(stress_start("engine"));
	unsigned rounds = 0;

	(void)snprintf(dir, sizeof(dir), "/tmp/pen-engine-XXXXXX");
	STRESS_CHECK(mkdtemp(dir), "mkdtemp");
	make_sources(&random);
	find_launcher();
	control(&random);
	do
		a_round(&random, rounds++);
	while (stress_time_left());
	(void)nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	printf("engine: %u rounds; batches: %u complete, %u interrupted, %u cancelled, %u busy; %u paused or cancelled, %u resumed\n",
	       rounds, seen[0], seen[1], seen[2], seen[3], seen[4], seen[5]);
	return 0;
}
