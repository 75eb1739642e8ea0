/* SPDX-License-Identifier: MIT */
/*
 * The foreman between a crew and a committer that are both played by the test: it says how each item ends, and when
 * what was packed reaches the store. The foreman is compiled once more here, under other names, so that it calls the
 * played crew while the other tests of this program have the real ones.
 */
#define pen_crew_cancel played_crew_cancel
#define pen_crew_close played_crew_close
#define pen_crew_failure played_crew_failure
#define pen_crew_fd played_crew_fd
#define pen_crew_give played_crew_give
#define pen_crew_open played_crew_open
#define pen_crew_poll played_crew_poll
#define pen_crew_room played_crew_room
#define pen_foreman_open played_foreman_open
#define pen_foreman_close played_foreman_close
#define pen_foreman_main played_foreman_main
#define pen_foreman_push played_foreman_push
#define pen_foreman_end played_foreman_end
#define pen_foreman_back played_foreman_back
#define pen_foreman_wake played_foreman_wake

#include "engine/foreman.c"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <time.h>

#include "engine/group.h"
#include "ring/error.h"
#include "store/index.h"
#include "store/item.h"
#include "tests/store/scratch.h"

#define PATIENCE_NS (20 * PEN_NS_PER_S) /* far above anything that happens here */
#define ROOM 16u
#define ITEMS 8u

/* ---- a crew that ends nothing by itself ------------------------------------------------------- */

struct pen_crew {
	int fd;
};

static struct {
	pthread_mutex_t lock;
	struct pen_crew crew;
	struct pen_task given[64]; /* in the order they came */
	uint32_t given_count;
	struct pen_task_result ready[64];
	uint32_t ready_count, live;
	bool open, cancelled;
} fake = { .lock = PTHREAD_MUTEX_INITIALIZER };

int pen_crew_open(struct pen_crew **ret, const struct pen_crew_options *opt, struct pen_failure *why)
{
	(void)opt, (void)why;
	fake.crew.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	fake.open = true;
	*ret = &fake.crew;
	return 0;
}

void pen_crew_close(struct pen_crew *crew)
{
	if (!crew)
		return;
	(void)close(crew->fd);
	pthread_mutex_lock(&fake.lock);
	fake.open = false;
	pthread_mutex_unlock(&fake.lock);
}

uint32_t pen_crew_room(const struct pen_crew *crew)
{
	(void)crew;
	return fake.cancelled ? 0 : ROOM - fake.live;
}

int pen_crew_give(struct pen_crew *crew, const struct pen_task *task)
{
	(void)crew;
	pthread_mutex_lock(&fake.lock);
	cr_assert_lt(fake.given_count, PEN_COUNT(fake.given));
	fake.given[fake.given_count++] = *task;
	fake.live++;
	pthread_mutex_unlock(&fake.lock);
	return 0;
}

uint32_t pen_crew_poll(struct pen_crew *crew, struct pen_task_result *ret, uint32_t n, uint64_t timeout_ns)
{
	uint32_t done;
	uint64_t rings;

	(void)timeout_ns;
	(void)!read(crew->fd, &rings, sizeof rings);
	pthread_mutex_lock(&fake.lock);
	done = (uint32_t)pen_min(n, fake.ready_count);
	memcpy(ret, fake.ready, done * sizeof *ret);
	fake.ready_count -= done;
	memmove(fake.ready, fake.ready + done, fake.ready_count * sizeof *ret);
	fake.live -= done;
	pthread_mutex_unlock(&fake.lock);
	return done;
}

int pen_crew_fd(const struct pen_crew *crew)
{
	return crew->fd;
}

/* As the real one's: what runs comes back uncharged. */
void pen_crew_cancel(struct pen_crew *crew, bool hard)
{
	(void)hard;
	pthread_mutex_lock(&fake.lock);
	fake.cancelled = true;
	pthread_mutex_unlock(&fake.lock);
	(void)eventfd_write(crew->fd, 1);
}

const struct pen_failure *pen_crew_failure(const struct pen_crew *crew)
{
	(void)crew;
	return NULL;
}

/* Is the crew open? From here on its descriptor can be written. */
static void noise(void)
{
	cr_assert(fake.open);
	(void)eventfd_write(fake.crew.fd, 1);
}

/* ---- a clock whose date the test sets, and which counts who asks ------------------------------- */

static _Atomic uint64_t date_ms, looks, skipped_ns;

static uint64_t mono(const struct pen_clock *clock)
{
	(void)clock;
	atomic_fetch_add_explicit(&looks, 1, memory_order_relaxed);
	return pen_mono_ns(&pen_clock_real) + atomic_load_explicit(&skipped_ns, memory_order_relaxed);
}

static uint64_t real(const struct pen_clock *clock)
{
	(void)clock;
	return atomic_load_explicit(&date_ms, memory_order_relaxed);
}

static const struct pen_clock test_clock = { .mono_ns = mono, .real_ms = real };

/* In seconds: a batch's clock goes on by itself, but no test lasts as long as the 10 s that its items wait. */
static void set_date(uint64_t s)
{
	atomic_store_explicit(&date_ms, s * 1000, memory_order_relaxed);
}

static uint64_t now_ns(void)
{
	return pen_mono_ns(&pen_clock_real);
}

static void pause_ms(long ms)
{
	nanosleep(&(struct timespec){ .tv_nsec = ms * 1000000 }, NULL);
}

/* ---- the engine around it --------------------------------------------------------------------- */

static struct pen_engine *engine;
static struct pen_store *store;
static struct pen_plan plan;
static struct pen_source source;
static struct pen_batch *batch;
static struct pen_chunk *chunk;
static char *slot;
static pthread_t thread;
static struct pen_fmt_counters counters;
static struct pen_fmt_job job;

static void make_batch(void)
{
	struct pen_failure why = { 0 };
	struct pen_facts facts = { .dataset = "d",
				   .key = "@given",
				   .owner = "o",
				   .correlation_id = "",
				   .idempotency_key = "",
				   .sources = "f",
				   .sources_len = 1,
				   .labels = "" };
	struct pen_txn *txn = scratch_begin(store);
	struct pen_dataset *ds;

	source = (struct pen_source){ .path = (char *)"f",
				      .kind = PEN_SOURCE_FILE,
				      .format = PEN_FORMAT_LINES };
	plan = (struct pen_plan){ .sources = &source,
				  .source_count = 1,
				  .into = (char *)"d",
				  .owner = (char *)"o",
				  .correlation_id = (char *)"",
				  .max_record = 1 << 20,
				  .key_kind = PEN_KEY_GIVEN };
	plan.job.command = (char *)"exec:x";
	plan.job.line = "x";
	plan.job.max_crashes = 2;
	cr_assert_eq(pen_backoff_parse(&plan.job.backoff, "10s", PEN_JITTER_NONE, 3, &why), 0, "%s",
		     why.text);
	cr_assert_eq(pen_dataset_use(txn, "d", PEN_KEY_GIVEN, &ds, &why), 0, "%s", why.text);
	batch = calloc(1, sizeof *batch);
	batch->plan = &plan;
	batch->lock_fd = -1;
	batch->id = facts.fixed.id = batch->standing.fixed.id = job.id = batch->job.id =
		pen_ledger_new_id(txn);
	batch->dataset_id = facts.fixed.dataset_id = pen_dataset_id(ds);
	facts.fixed.key_kind = PEN_KEY_GIVEN;
	batch->standing.fixed.state = PEN_RUNNING;
	cr_assert_eq(pen_ledger_create(txn, &facts, &batch->standing), 0);
	cr_assert_eq(pen_dataset_save(ds), 0);
	cr_assert_eq(pen_txn_commit(txn, &why), 0, "%s", why.text);
	cr_assert_eq(pen_window_open(&batch->window, 16), 0);
}

static void begin_run(void)
{
	struct pen_io_options io = { .choice = PEN_IO_THREADS, .entries = 8, .slots = 1, .threads = 1 };
	struct pen_failure why = { 0 };

	scratch_make();
	store = scratch_store("s");
	engine = aligned_alloc(PEN_LINE_PAIR, pen_round_up(sizeof *engine, PEN_LINE_PAIR));
	cr_assert(engine);
	memset(engine, 0, sizeof *engine);
	engine->store = store;
	engine->clock = &test_clock;
	engine->processor_count = 1;
	engine->arena.count = 8;
	pthread_mutex_init(&engine->failures_lock, NULL);
	cr_assert_eq(pen_io_open(&io, &engine->io, &why), 0, "%s", why.text);
	cr_assert_eq(pen_fanin_init(&engine->commit_in, 3, 128), 0);
	pen_fanin_close(&engine->commit_in, 0);
	pen_fanin_close(&engine->commit_in, 1);
	set_date(1000);
	make_batch();
	slot = aligned_alloc(PEN_LINE_PAIR, pen_round_up(pen_chunk_slot_bytes(1024), PEN_LINE_PAIR));
	cr_assert(slot);
	chunk = calloc(3, sizeof *chunk);
	pen_chunk_bind(&chunk[0], 0, slot, 1024);
	cr_assert_eq(pen_foreman_open(engine, &engine->foreman), 0);
	cr_assert_eq(pthread_create(&thread, NULL, pen_foreman_main, engine->foreman), 0);
}

/* The foreman ends when its producers have, and no batch is left with it. */
static void end(void)
{
	pen_foreman_end(engine->foreman, 0);
	pen_foreman_end(engine->foreman, 1);
	pthread_join(thread, NULL);
	pen_foreman_close(engine->foreman);
	pen_fanin_fini(&engine->commit_in);
	pen_io_close(engine->io);
	pthread_mutex_destroy(&engine->failures_lock);
	pen_window_close(&batch->window);
	free(engine);
	free(batch);
	free(chunk);
	free(slot);
	pen_store_close(store);
	scratch_remove();
}

TestSuite(foreman, .init = begin_run, .fini = end, .timeout = 120);

/* ---- both sides ------------------------------------------------------------------------------- */

/* A chunk of the items a, b, c, ...: key and bytes are the letter. */
static void fill(uint32_t n)
{
	struct pen_chunk *c = &chunk[0];

	pen_chunk_reset(c);
	c->batch = batch;
	c->kind = PEN_CHUNK_RECORDS;
	c->rules = (struct pen_rules){ .format = PEN_FORMAT_LINES, .terminator = '\n' };
	for (uint32_t i = 0; i < n; i++) {
		c->data[2 * i] = (char)('a' + i);
		c->data[2 * i + 1] = '\n';
		c->table[c->entry_count++] = (struct pen_entry){ .key_at = 2 * i,
								 .key_len = 1,
								 .flags = PEN_KEY_IN_DATA,
								 .at = 2 * i,
								 .len = 1,
								 .item = i,
								 .line = i };
	}
	c->items = n;
	c->end = 2 * n;
}

static void push_items(uint32_t n)
{
	fill(n);
	pen_foreman_push(engine->foreman, 0, &chunk[0]);
}

static void push_end(uint64_t seq, int res)
{
	batch->end = (struct pen_chunk){
		.batch = batch, .tag = UINT32_MAX, .kind = PEN_CHUNK_END, .seq = seq, .res = res
	};
	pen_foreman_push(engine->foreman, 1, &batch->end);
}

static void push_note(enum pen_chunk_kind kind)
{
	batch->note = (struct pen_chunk){ .batch = batch, .tag = UINT32_MAX, .kind = kind };
	pen_foreman_push(engine->foreman, 1, &batch->note);
}

/* The nth task that was given, when it has been. */
static struct pen_task task(uint32_t n)
{
	uint64_t until = now_ns() + PATIENCE_NS;
	struct pen_task t = { 0 };
	bool there = false;

	while (!there) {
		pthread_mutex_lock(&fake.lock);
		there = fake.given_count > n;
		if (there)
			t = fake.given[n];
		pthread_mutex_unlock(&fake.lock);
		cr_assert(now_ns() < until, "task %u was never given", n);
		if (!there)
			pause_ms(1);
	}
	return t;
}

static uint32_t given(void)
{
	uint32_t n;

	pthread_mutex_lock(&fake.lock);
	n = fake.given_count;
	pthread_mutex_unlock(&fake.lock);
	return n;
}

static void say(uint32_t n, struct pen_task_result result)
{
	result.id = task(n).id;
	result.exit_status = -1;
	result.message = "";
	result.stderr_tail = "";
	pthread_mutex_lock(&fake.lock);
	fake.ready[fake.ready_count++] = result;
	pthread_mutex_unlock(&fake.lock);
	(void)eventfd_write(fake.crew.fd, 1);
}

static void say_fate(uint32_t n, enum pen_task_fate fate)
{
	say(n, (struct pen_task_result){ .fate = fate,
					 .code = fate == PEN_TASK_DONE ? 0 : -PEN_CHILD_EXIT,
					 .value = fate == PEN_TASK_DONE ? "v" : NULL,
					 .value_len = 1 });
}

static void say_retry(uint32_t n, uint64_t after_s)
{
	say(n, (struct pen_task_result){ .fate = PEN_TASK_RETRY,
					 .code = -PEN_CHILD_EXIT,
					 .retry_after_ns = after_s * PEN_NS_PER_S });
}

/* What comes to the committer next. */
static struct pen_chunk *next(void)
{
	uint64_t word = 0, until = now_ns() + PATIENCE_NS;

	while (!pen_fanin_pop_wait(&engine->commit_in, &word, 1, PEN_NS_PER_S))
		cr_assert(now_ns() < until, "nothing came to the committer");
	return (struct pen_chunk *)(uintptr_t)word;
}

static struct pen_pack *next_pack(uint32_t count)
{
	struct pen_chunk *c = next();
	struct pen_pack *pack = (struct pen_pack *)(uintptr_t)c;

	cr_assert_eq(c->kind, PEN_CHUNK_RESULTS, "kind %d", c->kind);
	cr_assert_eq(pack->count, count, "%u results", pack->count);
	return pack;
}

/* Its transaction, and the pack goes back. */
static void commit_pack(struct pen_pack *pack)
{
	struct pen_tally tally = { .n = &counters, .job = &job };
	struct pen_txn *txn = scratch_begin(store);
	struct pen_failure why = { 0 };
	struct pen_dataset *ds;

	cr_assert_eq(pen_dataset_use_id(txn, "d", batch->dataset_id, &ds, &why), 0, "%s", why.text);
	cr_assert_eq(pen_pack_apply(pack, txn, ds, &tally), 0);
	cr_assert_eq(pen_dataset_save(ds), 0);
	cr_assert_eq(pen_txn_commit(txn, &why), 0, "%s", why.text);
	pen_foreman_back(engine->foreman, pack, true);
}

/* Lets it look around so often that what it is going to do, it has done. */
static void turns(void)
{
	for (unsigned i = 0; i < 20; i++) {
		uint64_t before = atomic_load_explicit(&looks, memory_order_relaxed);
		uint64_t until = now_ns() + PATIENCE_NS;

		pen_foreman_wake(engine->foreman);
		while (atomic_load_explicit(&looks, memory_order_relaxed) == before)
			cr_assert(now_ns() < until, "the foreman sleeps on");
	}
}

/* It must not be awake all the time. A look at the clock is a turn: a loop makes some 100,000 of them in this time. */
static void expect_quiet(void)
{
	uint64_t before;

	turns();
	before = atomic_load_explicit(&looks, memory_order_relaxed);
	pause_ms(300);
	cr_expect_lt(atomic_load_explicit(&looks, memory_order_relaxed) - before, 1000, "it spins");
}

static void expect_end(int res)
{
	struct pen_chunk *c = next();

	cr_assert_eq(c->kind, PEN_CHUNK_END, "kind %d", c->kind);
	cr_expect_eq(c->res, res, "%d", c->res);
}

static uint8_t state_of(uint64_t seq, struct pen_item_copy *ret)
{
	cr_assert_eq(pen_item_read(store, batch->id, seq, ret), 0);
	return (uint8_t)ret->row.state;
}

/* ---- items ------------------------------------------------------------------------------------ */

Test(foreman, a_chunk_is_passed_on_behind_the_results_of_all_its_items)
{
	struct pen_chunk *c;

	push_items(2);
	push_end(1, 0);
	say_fate(1, PEN_TASK_DONE);
	commit_pack(next_pack(1));
	say_fate(0, PEN_TASK_DONE);
	commit_pack(next_pack(1));
	c = next();
	cr_expect_eq(c, &chunk[0]);
	cr_expect(!c->undecided);
	expect_end(0);
	cr_expect_eq(counters.committed, 2);
}

Test(foreman, an_empty_batch_needs_no_crew)
{
	push_end(0, 0);
	expect_end(0);
	cr_expect(!fake.open);
}

Test(foreman, what_failed_is_tried_from_its_row_with_its_bytes)
{
	struct pen_task t;

	push_items(1);
	push_end(1, 0);
	say_retry(0, 0);
	commit_pack(next_pack(1));
	cr_expect_eq(next(), &chunk[0]); /* the place goes on, the item waits in its row */
	cr_expect_eq(given(), 1);
	set_date(1010);
	pen_foreman_wake(engine->foreman);
	t = task(1);
	cr_expect_eq(t.attempt, 2);
	cr_expect_eq(t.item_len, 1);
	cr_expect_eq(*(const char *)t.item, 'a');
	say_fate(1, PEN_TASK_DONE);
	commit_pack(next_pack(1));
	expect_end(0);
	cr_expect_eq(job.retrying, 0);
	cr_expect_eq(counters.committed, 1);
}

Test(foreman, the_last_try_is_followed_by_none)
{
	struct pen_item_copy row;

	push_items(1);
	push_end(1, 0);
	for (uint32_t i = 0; i < 4; i++) {
		say_retry(i, 0);
		commit_pack(next_pack(1));
		if (!i)
			cr_expect_eq(next(), &chunk[0]);
		set_date(1000 + 100 * (i + 1));
		pen_foreman_wake(engine->foreman);
	}
	expect_end(0);
	cr_expect_eq(state_of(0, &row), PEN_ITEM_FAILED);
	cr_expect_eq(row.row.attempts, 4);
	cr_expect_eq(row.row.raw_len, 1);
	free(row.block);
}

/* Goal: a row that commits after a later one was due is not passed over. Method: its pack stays with the committer. */
Test(foreman, a_retry_whose_row_commits_late_is_not_lost)
{
	struct pen_pack *late;

	push_items(2);
	push_end(1, 0);
	say_retry(1, 190);
	commit_pack(next_pack(1)); /* b is due at 1190 */
	set_date(1100);
	say_retry(0, 0);
	late = next_pack(1); /* a is due at 1110 */
	cr_expect_eq(next(), &chunk[0]);
	set_date(1250);
	turns();
	commit_pack(late);
	(void)task(2);
	(void)task(3);
	say_fate(2, PEN_TASK_DONE);
	say_fate(3, PEN_TASK_DONE);
	for (struct pen_chunk *c; (c = next())->kind == PEN_CHUNK_RESULTS;)
		commit_pack((struct pen_pack *)(uintptr_t)c);
	cr_expect_eq(counters.committed, 2);
	cr_expect_eq(job.retrying, 0);
}

Test(foreman, a_crash_is_no_try_and_is_bounded)
{
	struct pen_item_copy row;

	push_items(1);
	push_end(1, 0);
	say_fate(0, PEN_TASK_CRASHED);
	commit_pack(next_pack(1));
	cr_expect_eq(next(), &chunk[0]);
	set_date(1100);
	pen_foreman_wake(engine->foreman);
	cr_expect_eq(task(1).crashes, 1);
	cr_expect_eq(task(1).attempt, 1);
	say_fate(1, PEN_TASK_CRASHED);
	commit_pack(next_pack(1));
	expect_end(0);
	cr_expect_eq(state_of(0, &row), PEN_ITEM_QUARANTINED);
	cr_expect_eq(row.row.attempts, 0);
	free(row.block);
}

/* Goal: what the store refuses can be tried again. Method: what is to be put beside it has too long a key. */
Test(foreman, what_the_store_refuses_keeps_its_bytes)
{
	static const char long_key[PEN_KEY_MAX + 1];
	struct pen_item_copy row;

	plan.on_duplicate = PEN_DUP_REJECT; /* so it is kept for all */
	push_items(2);
	push_end(1, 0);
	(void)task(1);
	say_fate(0, PEN_TASK_DONE);
	commit_pack(next_pack(1));
	say(1, (struct pen_task_result){ .fate = PEN_TASK_DONE,
					 .value = "v",
					 .value_len = 1,
					 .deeds = &(struct pen_deed){ .dataset = "e",
								      .key = long_key,
								      .key_len = sizeof long_key,
								      .value = "v",
								      .value_len = 1 },
					 .deed_count = 1 });
	commit_pack(next_pack(1));
	cr_expect_eq(next(), &chunk[0]);
	expect_end(0);
	cr_expect_eq(counters.failed, 1);
	cr_expect_eq(state_of(1, &row), PEN_ITEM_FAILED);
	cr_expect_eq(row.row.raw_len, 1);
	cr_expect_eq(*(const char *)row.row.raw, 'b');
	free(row.block);
	cr_expect_eq(state_of(0, &row), PEN_ITEM_COMMITTED);
	cr_expect_eq(row.row.raw_len, 0);
	free(row.block);
}

/* ---- resuming --------------------------------------------------------------------------------- */

Test(foreman, a_resumed_run_leaves_out_what_ended)
{
	struct pen_txn *txn = scratch_begin(store);
	struct pen_failure why = { 0 };
	struct pen_row row = { .batch = batch->id,
			       .seq = 1,
			       .state = PEN_ITEM_COMMITTED,
			       .key = "b",
			       .key_len = 1,
			       .tried = true,
			       .exit_status = -1 };

	cr_assert_eq(pen_item_put(txn, &row), 0);
	cr_assert_eq(pen_txn_commit(txn, &why), 0);
	batch->resumed = true;
	push_items(3);
	push_end(1, 0);
	cr_expect_eq(task(0).seq, 0);
	cr_expect_eq(task(1).seq, 2);
	say_fate(0, PEN_TASK_DONE);
	say_fate(1, PEN_TASK_DONE);
	for (struct pen_chunk *c; (c = next())->kind != PEN_CHUNK_END;)
		if (c->kind == PEN_CHUNK_RESULTS)
			commit_pack((struct pen_pack *)(uintptr_t)c);
	cr_expect_eq(given(), 2);
	cr_expect_eq(counters.items, 2);
}

/* ---- pause, stop, cancel ------------------------------------------------------------------------ */

Test(foreman, while_it_is_paused_nothing_is_given)
{
	push_note(PEN_CHUNK_PAUSE);
	cr_expect_eq(next(), &batch->note);
	push_items(1);
	push_end(1, 0);
	turns();
	cr_expect_eq(given(), 0);
	push_note(PEN_CHUNK_RESUME);
	cr_expect_eq(next(), &batch->note);
	say_fate(0, PEN_TASK_DONE);
	commit_pack(next_pack(1));
	cr_expect_eq(next(), &chunk[0]);
	expect_end(0);
}

Test(foreman, a_batch_with_nothing_left_completes_though_it_is_paused)
{
	push_items(1);
	(void)task(0);
	push_note(PEN_CHUNK_PAUSE);
	cr_expect_eq(next(), &batch->note);
	push_end(1, 0);
	say_fate(0, PEN_TASK_DONE);
	commit_pack(next_pack(1));
	cr_expect_eq(next(), &chunk[0]);
	expect_end(0);
}

Test(foreman, a_batch_with_a_retry_left_stays_paused)
{
	push_items(1);
	push_end(1, 0);
	say_retry(0, 0);
	commit_pack(next_pack(1));
	cr_expect_eq(next(), &chunk[0]);
	push_note(PEN_CHUNK_PAUSE);
	cr_expect_eq(next(), &batch->note);
	set_date(2000);
	turns();
	cr_expect_eq(given(), 1);
	push_note(PEN_CHUNK_RESUME);
	cr_expect_eq(next(), &batch->note);
	say_fate(1, PEN_TASK_DONE);
	commit_pack(next_pack(1));
	expect_end(0);
}

Test(foreman, paused_and_then_drained_ends_with_the_place_before_what_was_not_begun)
{
	push_note(PEN_CHUNK_PAUSE);
	(void)next();
	push_items(2);
	atomic_store_explicit(&engine->drain, true, memory_order_relaxed);
	pen_foreman_wake(engine->foreman);
	cr_expect_eq(next(), &chunk[0]);
	cr_expect(chunk[0].undecided);
	push_end(1, -PEN_INTERRUPTED_BY);
	expect_end(-PEN_INTERRUPTED_BY);
	cr_expect_eq(given(), 0);
}

Test(foreman, drained_it_waits_for_what_runs_and_what_ended_counts)
{
	push_items(2);
	(void)task(1);
	atomic_store_explicit(&engine->drain, true, memory_order_relaxed);
	say_fate(1, PEN_TASK_DONE);
	commit_pack(next_pack(1));
	turns();
	say_retry(0, 0);
	commit_pack(next_pack(1));
	cr_expect_eq(next(), &chunk[0]);
	cr_expect(!chunk[0].undecided, "both have a row: the place may go on");
	push_end(1, -PEN_INTERRUPTED_BY);
	expect_end(-PEN_INTERRUPTED_BY);
	cr_expect_eq(counters.items, 1);
	cr_expect_eq(job.retrying, 1);
}

Test(foreman, cancelled_before_the_first_item)
{
	atomic_store_explicit(&batch->cancel, -PEN_CANCELLED_BY, memory_order_relaxed);
	push_items(2);
	push_end(1, -PEN_CANCELLED_BY);
	cr_expect_eq(next(), &chunk[0]);
	cr_expect(chunk[0].undecided);
	expect_end(-PEN_CANCELLED_BY);
	cr_expect_eq(given(), 0);
}

Test(foreman, cancelled_while_an_item_runs_spends_no_try)
{
	push_items(1);
	(void)task(0);
	atomic_store_explicit(&batch->cancel, -PEN_CANCELLED_BY, memory_order_relaxed);
	turns();
	cr_expect(fake.cancelled);
	say_fate(0, PEN_TASK_UNCHARGED);
	cr_expect_eq(next(), &chunk[0]);
	cr_expect(chunk[0].undecided);
	push_end(1, -PEN_CANCELLED_BY);
	expect_end(-PEN_CANCELLED_BY);
}

/* Goal: a pause that set out before END was seen finds no batch, and makes none. The suite's end joins the thread. */
Test(foreman, a_note_behind_the_end_is_passed_on_and_forgotten)
{
	push_end(0, 0);
	expect_end(0);
	push_note(PEN_CHUNK_PAUSE);
	cr_expect_eq(next(), &batch->note);
}

Test(foreman, the_next_batch_in_the_same_place_starts_anew)
{
	struct pen_batch *first = batch;

	push_note(PEN_CHUNK_PAUSE);
	(void)next();
	push_end(0, -PEN_INTERRUPTED_BY);
	expect_end(-PEN_INTERRUPTED_BY);
	make_batch();
	push_items(1); /* nothing is paused */
	say_fate(0, PEN_TASK_DONE);
	commit_pack(next_pack(1));
	cr_expect_eq(next(), &chunk[0]);
	push_end(1, 0);
	expect_end(0);
	pen_window_close(&first->window);
	free(first);
}

/* ---- waiting ---------------------------------------------------------------------------------- */

Test(foreman, a_batch_that_may_leave_goes_when_the_next_try_is_far)
{
	plan.job.may_leave = true;
	push_items(1);
	push_end(1, 0);
	say_retry(0, 60);
	commit_pack(next_pack(1));
	cr_expect_eq(next(), &chunk[0]);
	expect_end(-PEN_WAITS);
}

/* Method: the crew's descriptor stays readable though nothing is under way, as after a timer or a worker's death. */
Test(foreman, a_crew_without_work_keeps_nobody_awake)
{
	push_items(1);
	push_end(1, 0);
	say_retry(0, 60);
	commit_pack(next_pack(1));
	(void)next();
	noise();
	expect_quiet();
	set_date(1061);
	pen_foreman_wake(engine->foreman);
	say_fate(1, PEN_TASK_DONE); /* and it is heard when it has some */
	commit_pack(next_pack(1));
	expect_end(0);
}

Test(foreman, a_row_that_is_due_keeps_nobody_awake_while_it_stops)
{
	push_items(2);
	(void)task(1);
	say_retry(0, 0);
	commit_pack(next_pack(1));
	atomic_store_explicit(&engine->drain, true, memory_order_relaxed);
	turns();
	set_date(2000);
	expect_quiet();
	say_fate(1, PEN_TASK_DONE);
	commit_pack(next_pack(1));
	(void)next();
	push_end(1, -PEN_INTERRUPTED_BY);
	expect_end(-PEN_INTERRUPTED_BY);
}

/* Goal: the date has no say while a batch runs. Method: it is set back, and the monotonic clock goes on. */
Test(foreman, a_date_that_is_set_back_delays_no_retry)
{
	plan.job.may_leave = true; /* it does not: others go by the date */
	push_items(1);
	push_end(1, 0);
	say_retry(0, 60);
	set_date(100);
	commit_pack(next_pack(1));
	cr_expect_eq(next(), &chunk[0]);
	turns();
	cr_expect_eq(given(), 1);
	atomic_fetch_add_explicit(&skipped_ns, 61 * PEN_NS_PER_S, memory_order_relaxed);
	pen_foreman_wake(engine->foreman);
	say_fate(1, PEN_TASK_DONE);
	commit_pack(next_pack(1));
	expect_end(0);
	cr_expect_geq(job.clock_ms, 1060000);
}

/* ---- files ------------------------------------------------------------------------------------ */

/* The one item is the file, or what it holds; the plan need not know the format of its sources any more. */
static void push_file(const char *text, bool archive, const char *bytes)
{
	FILE *f = fopen(scratch_path("item"), "w");

	cr_assert(f && fputs(text, f) >= 0 && !fclose(f));
	source.path = strdup(scratch_path("item"));
	source.archive = archive;
	source.format = PEN_FORMAT_AUTO;
	fill(0);
	chunk[0].kind = PEN_CHUNK_FILES;
	chunk[0].rules.format = PEN_FORMAT_FILES;
	memcpy(chunk[0].data, bytes, strlen(bytes));
	memcpy(chunk[0].keys, "item", 5);
	chunk[0].table[0] =
		(struct pen_entry){ .flags = PEN_KEY_IN_DATA, .key_len = 1, .len = (uint32_t)strlen(bytes) };
	chunk[0].entry_count = chunk[0].items = 1;
	pen_foreman_push(engine->foreman, 0, &chunk[0]);
}

Test(foreman, a_file_is_tried_again_by_its_path)
{
	push_file("whole", false, "whole");
	push_end(1, 0);
	cr_expect_str_eq(task(0).path, source.path);
	say_retry(0, 0);
	commit_pack(next_pack(1));
	(void)next();
	set_date(1100);
	pen_foreman_wake(engine->foreman);
	cr_expect_str_eq(task(1).path, source.path);
	say_fate(1, PEN_TASK_DONE);
	commit_pack(next_pack(1));
	expect_end(0);
	free(source.path);
}

Test(foreman, what_was_in_an_archive_is_tried_from_its_bytes_also_when_nobody_knows_that_it_is_one)
{
	push_file("an archive", true, "member");
	push_end(1, 0);
	cr_expect_null(task(0).path);
	say_retry(0, 0);
	commit_pack(next_pack(1));
	(void)next();
	source.archive = false;
	source.format = PEN_FORMAT_FILES;
	set_date(1100);
	pen_foreman_wake(engine->foreman);
	cr_expect_null(task(1).path);
	cr_expect_eq(task(1).item_len, 6);
	cr_expect(!memcmp(task(1).item, "member", 6));
	say_fate(1, PEN_TASK_DONE);
	commit_pack(next_pack(1));
	expect_end(0);
	free(source.path);
}
