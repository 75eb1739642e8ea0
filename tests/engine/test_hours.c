/* SPDX-License-Identifier: MIT */
/*
 * Batches whose items wait for hours, in an engine whose date the test sets: real workers, a real store, processes that
 * stop and begin anew in between. Nothing here waits: the date jumps to whatever is due next.
 *
 * That an item is not tried before its time is
 * seen when another one's time has come and it has been tried.
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <time.h>

#include "engine/engine.h"
#include "engine/foreman.h"
#include "store/index.h"
#include "store/item.h"
#include "store/job.h"
#include "tests/store/scratch.h"

#define ITEMS 7u
#define BEGAN_MS 1800000000000ull
#define MINUTE_MS 60000ull
/* Time that a run is really at work goes on beside the date. */
#define SLACK_MS (25 * 1000ull)
#define PATIENCE 4000u /* turns of 5 ms, far above anything that happens here */

/* Ends at its third try. Before that, the item says how many minutes it wants to be left alone: "FIRST SECOND". */
static const char worker[] =
	"worker:sh -c 'while read -r line; do id=${line#*\\\"id\\\":}; id=${id%%,*}; try=${line#*\\\"attempt\\\":}; try=${try%%,*}; "
	"item=${line#*item_text\\\":\\\"}; item=${item%%\\\"*}; wait=${item% *}; [ $try = 1 ] || wait=${item#* }; "
	"if [ $try -ge 3 ]; then echo \"{\\\"id\\\":$id,\\\"value\\\":$try}\"; "
	"else echo \"{\\\"id\\\":$id,\\\"error\\\":\\\"retry\\\",\\\"retry_after_ms\\\":$((wait * 60000))}\"; fi; done'";

static const unsigned minutes[ITEMS][2] = { { 60, 600 },  { 180, 1 },	  { 120, 540 }, { 4320, 60 },
					    { 61, 1440 }, { 9000, 9000 }, { 1, 1 } };

static _Atomic uint64_t date_ms;
static struct pen_store *store;
static struct pen_engine *engine;
static uint64_t batch;

static uint64_t mono(const struct pen_clock *clock)
{
	(void)clock;
	return pen_mono_ns(&pen_clock_real);
}

static uint64_t real(const struct pen_clock *clock)
{
	(void)clock;
	return atomic_load_explicit(&date_ms, memory_order_relaxed);
}

static const struct pen_clock hand = { .mono_ns = mono, .real_ms = real };

static void set_date(uint64_t ms)
{
	atomic_store_explicit(&date_ms, ms, memory_order_relaxed);
	if (engine)
		pen_foreman_wake(engine->foreman);
}

static bool about(uint64_t ms, uint64_t want)
{
	return ms >= want && ms < want + SLACK_MS;
}

/* ---- a process ------------------------------------------------------------------------------------ */

static void begin_process(void)
{
	struct pen_engine_options opt = { .size = sizeof opt, .io = PEN_IO_THREADS, .processors = 1 };
	struct pen_failure why = { 0 };

	store = scratch_store("s");
	pen_store_set_clock(store, &hand);
	cr_assert_eq(pen_engine_start(store, &opt, &engine, &why), 0, "%s", why.text);
}

static void end_process(void)
{
	pen_engine_stop(engine);
	engine = NULL;
	pen_store_close(store);
}

static void set_up(void)
{
	FILE *f;

	scratch_make();
	/* test_launcher.c makes this program a launcher. */
	cr_assert_eq(setenv("PENSTOCK_LAUNCHER", "/proc/self/exe", 1), 0);
	f = fopen(scratch_path("items"), "w");
	cr_assert(f);
	for (unsigned i = 0; i < ITEMS; i++)
		fprintf(f, "%u %u\n", minutes[i][0], minutes[i][1]);
	fclose(f);
	set_date(BEGAN_MS);
	begin_process();
}

static void tear_down(void)
{
	end_process();
	scratch_remove();
}

TestSuite(hours, .init = set_up, .fini = tear_down, .timeout = 120);

/* The command that began it, and that goes on with it. */
static void run(void)
{
	const char *source = scratch_path("items");
	struct pen_run spec = { .size = sizeof spec,
				.sources = &source,
				.source_count = 1,
				.format = PEN_FORMAT_LINES,
				.processor = worker,
				.jobs = 2,
				.max_retries = 5,
				.has_max_retries = true,
				.backoff = "1ms" };

	pen_prep_run(pen_get_sqe(engine), &spec);
	cr_assert_eq(pen_submit(engine), 1);
}

static struct pen_cqe reap(void)
{
	struct pen_cqe *cqe, copy;

	cr_assert_eq(pen_wait_cqe(engine, &cqe), 0);
	copy = *cqe;
	pen_cqe_seen(engine, cqe);
	return copy;
}

/* Another process: the one before stopped, or died, with all that it knew. */
static void restart(void)
{
	struct pen_cqe done;

	pen_engine_drain(engine);
	done = reap();
	cr_assert_eq(done.res, -PEN_INTERRUPTED_BY, "%d", done.res);
	end_process();
	begin_process();
}

/* ---- looking on ---------------------------------------------------------------------------------- */

static uint32_t waiting(struct pen_index_wait *ret)
{
	int n = pen_index_waits(store, batch, UINT64_MAX, NULL, ret, ITEMS);

	cr_assert_geq(n, 0);
	return (uint32_t)n;
}

/* The numbers of all rows; zeros where there is none. */
static void look(struct pen_item_copy rows[ITEMS])
{
	for (unsigned i = 0; i < ITEMS; i++) {
		if (pen_item_read(store, batch, i, &rows[i]))
			rows[i] = (struct pen_item_copy){ .block = NULL };
		free(rows[i].block); /* only numbers are looked at */
	}
}

static void turn(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
}

static void await_tries(unsigned item, unsigned least)
{
	struct pen_item_copy rows[ITEMS];

	for (unsigned i = 0; i < PATIENCE; i++) {
		if (!batch)
			batch = pen_batch_before(store, UINT64_MAX);
		if (batch) {
			look(rows);
			if (rows[item].row.attempts >= least)
				return;
		}
		turn();
	}
	cr_assert_fail("item %u is not tried", item);
}

/* All have been tried once; each waits for as long as it asked. */
static void first_tries(void)
{
	struct pen_item_copy rows[ITEMS];

	run();
	for (unsigned i = 0; i < ITEMS; i++)
		await_tries(i, 1);
	look(rows);
	for (unsigned i = 0; i < ITEMS; i++) {
		cr_expect_eq(rows[i].row.state, PEN_ITEM_RETRYING);
		cr_expect(about(rows[i].row.due_ms, BEGAN_MS + minutes[i][0] * MINUTE_MS), "item %u", i);
	}
}

/*
 * The date jumps to what is due next: that is tried, all else is as it was. False: nothing waits.
 */
static bool jump(void)
{
	struct pen_index_wait waits[ITEMS];
	struct pen_item_copy before[ITEMS], after[ITEMS];
	uint32_t n = waiting(waits);
	uint64_t now = real(NULL);

	if (!n)
		return false;
	look(before);
	set_date(waits[0].due_ms > now ? waits[0].due_ms : now);
	now = real(NULL);
	for (uint32_t i = 0; i < n && waits[i].due_ms <= now; i++)
		await_tries((unsigned)waits[i].item, before[waits[i].item].row.attempts + 1u);
	look(after);
	for (uint32_t i = 0; i < n; i++) {
		const struct pen_row *row = &after[waits[i].item].row;

		if (waits[i].due_ms > now && waits[i].due_ms <= now + 2 * SLACK_MS)
			continue; /* may be next, or be tried already */
		if (waits[i].due_ms > now) {
			cr_assert_eq(row->attempts, before[waits[i].item].row.attempts,
				     "item %" PRIu64 " is early", waits[i].item);
			cr_assert_eq(row->due_ms, waits[i].due_ms);
			continue;
		}
		cr_assert_eq(row->attempts, before[waits[i].item].row.attempts + 1u);
		cr_assert(about(row->ended_ms, now));
		if (row->state == PEN_ITEM_RETRYING)
			cr_assert(about(row->due_ms, now + minutes[waits[i].item][1] * MINUTE_MS));
	}
	return true;
}

static void expect_complete(void)
{
	static struct pen_batch_info info;
	struct pen_item_copy rows[ITEMS];
	struct pen_fmt_job job;
	struct pen_cqe done = reap();

	cr_assert_eq(done.res, 0, "%d", done.res);
	cr_assert_eq(pen_batch_get(store, batch, &info), 0);
	cr_expect_eq(info.state, PEN_COMPLETED);
	cr_expect_eq(info.counted.committed, ITEMS);
	cr_assert_eq(pen_job_read(store, batch, &job), 0);
	cr_expect_eq(job.tries, 3 * ITEMS);
	cr_expect_eq(job.retries, 2 * ITEMS);
	cr_expect_eq(job.retrying, 0);
	look(rows);
	for (unsigned i = 0; i < ITEMS; i++)
		cr_expect(rows[i].row.state == PEN_ITEM_COMMITTED && rows[i].row.attempts == 3, "item %u", i);
}

/* ---- the tests ------------------------------------------------------------------------------------- */

Test(hours, days_of_waiting_pass_at_once)
{
	first_tries();
	while (jump())
		;
	expect_complete();
	/* The last of them: 9,000 minutes, twice. */
	cr_expect(about(real(NULL), BEGAN_MS + 18000 * MINUTE_MS));
}

Test(hours, what_is_due_when_outlives_every_process)
{
	struct pen_index_wait before[ITEMS], after[ITEMS];

	first_tries();
	for (uint32_t n; (n = waiting(before));) {
		restart();
		cr_assert_eq(waiting(after), n);
		cr_assert(!memcmp(before, after, n * sizeof *before));
		run();
		cr_assert(jump());
	}
	expect_complete();
}

Test(hours, a_process_that_comes_years_later_tries_all_of_them)
{
	first_tries();
	restart();
	set_date(BEGAN_MS + 10 * 365 * 24 * 60 * MINUTE_MS);
	run();
	while (jump())
		;
	expect_complete();
}

Test(hours, a_date_that_was_set_back_loses_nothing)
{
	first_tries();
	restart();
	set_date(BEGAN_MS - 365 * 24 * 60 * MINUTE_MS);
	run();
	cr_assert(jump(), "it waits until the date is what it was");
	restart();
	set_date(real(NULL) - 30 * MINUTE_MS);
	run();
	while (jump())
		;
	expect_complete();
}

/* A worker leaves a batch that has nothing to do for hours, and is told for how long. */
Test(hours, a_batch_that_waits_is_left_and_taken_up_when_it_is_due)
{
	struct pen_index_wait waits[ITEMS];
	unsigned left = 0;

	first_tries();
	while (waiting(waits)) {
		struct pen_fmt_job job;
		struct pen_cqe done;

		restart();
		cr_assert_eq(pen_job_read(store, batch, &job), 0);
		cr_assert_eq(job.due_ms, waits[0].due_ms, "what the job says is what the rows say");
		pen_prep_take(pen_get_sqe(engine), batch, PEN_TAKE_MAY_LEAVE);
		cr_assert_eq(pen_submit(engine), 1);
		done = reap();
		cr_assert_eq(done.res, -PEN_WAITS, "%d", done.res);
		left++;
		set_date(waits[0].due_ms);
		run();
		(void)jump();
	}
	cr_expect_gt(left, 3);
	expect_complete();
}
