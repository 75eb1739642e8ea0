/* SPDX-License-Identifier: MIT */
/*
 * reader - the I/O thread: takes requests, admits batches, feeds them
 *
 * One turn of its loop: take what the program submitted and what the committer gave back, let every feed go
 * as far as it can, then park inside io until a read completes or somebody wakes it.
 *
 *   RUN, OPEN   look at the sources, send BEGIN to the committer (which alone writes the store); when BEGIN
 *               comes back the batch has a feed. At most PEN_BATCHES_MAX at once; more wait in the order
 *               they came.
 *   puts        chunks that the program filled are numbered and passed on.
 *   draining    every feed is stopped; what was read and cut is still committed.
 *
 * It owns the tag pool, the jumbo buffers, the table of batches and every feed; nobody else touches them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/aftermath.h"
#include "engine/budget.h"
#include "engine/feed.h"
#include "engine/foreman.h"
#include "ring/assert.h"
#include "ring/error.h"

#define REAP 64u
#define NAP_NS PEN_NS_PER_S /* an upper bound only: everything that matters wakes the reader */

/* ---- batches ------------------------------------------------------------------------------- */

static struct pen_batch *find_batch(struct pen_engine *engine, uint64_t id)
{
	for (uint32_t i = 0; i < PEN_BATCHES_MAX; i++) {
		struct pen_batch *b = engine->batches[i];

		if (b && b->feed && b->id == id && !b->ended &&
		    (pen_plan_is_job(b->plan) || !pen_feed_ended(b->feed)))
			return b;
	}
	return NULL;
}

/* The same, also while all that is left is to be committed. */
static struct pen_batch *find_unended(struct pen_engine *engine, uint64_t id)
{
	for (uint32_t i = 0; i < PEN_BATCHES_MAX; i++) {
		struct pen_batch *b = engine->batches[i];

		if (b && b->feed && b->id == id && !b->ended)
			return b;
	}
	return NULL;
}

static void free_batch(struct pen_engine *engine, struct pen_batch *batch)
{
	pthread_mutex_lock(&engine->gauges_lock);
	engine->gauges[batch->index] = NULL;
	pthread_mutex_unlock(&engine->gauges_lock);
	if (batch->feed) {
		pen_tags_leave(&engine->tags, pen_feed_user(batch->feed));
		pen_feed_close(batch->feed);
	}
	engine->batches[batch->index] = NULL;
	pen_budget_close(batch->budget);
	pen_plan_close(batch->plan);
	pen_window_close(&batch->window);
	free(batch);
}

static void refuse(struct pen_engine *engine, struct pen_sqe *sqe, int code, const struct pen_failure *why)
{
	if (why && why->code)
		pen_engine_record(engine, 0, why);
	pen_engine_complete(engine, PEN_FROM_READER, sqe->index, code, 0, 0);
}

static struct pen_batch *new_batch(struct pen_engine *engine, struct pen_sqe *sqe, uint32_t index)
{
	struct pen_batch *batch = calloc(1, sizeof *batch);

	if (!batch)
		return NULL;
	/* Every chunk, and control chunks between. */
	if (pen_window_open(&batch->window, engine->arena.count + 8)) {
		free(batch);
		return NULL;
	}
	batch->plan = sqe->plan;
	sqe->plan = NULL;
	batch->forecast = sqe->forecast;
	batch->sqe = sqe->index;
	batch->index = index;
	batch->lock_fd = -1;
	pen_gauge_init(&batch->gauge);
	return batch;
}

/* Is there a file in what was looked at? */
static bool is_anything_there(const struct pen_plan *plan)
{
	for (uint32_t i = 0; i < plan->source_count; i++)
		if (plan->sources[i].kind != PEN_SOURCE_TREE || plan->sources[i].files)
			return true;
	return false;
}

static bool has_streams(const struct pen_plan *plan)
{
	for (uint32_t i = 0; i < plan->source_count; i++)
		if (plan->sources[i].kind == PEN_SOURCE_STREAM)
			return true;
	return false;
}

/* Looks at the sources and asks the committer to open the batch in the store. */
static void admit(struct pen_engine *engine, struct pen_sqe *sqe, uint32_t index)
{
	struct pen_failure why = { 0 };
	struct pen_batch *batch;
	uint64_t done = 0;
	bool dealt;
	int rc;

	if (sqe->op == PEN_OP_TAKE) {
		rc = pen_plan_open_take(engine->store, sqe->batch, &sqe->plan, &why);
		if (rc) {
			pen_engine_record(engine, sqe->batch, &why);
			pen_engine_complete(engine, PEN_FROM_READER, sqe->index, rc, sqe->batch, 0);
			return;
		}
		sqe->plan->job.may_leave = sqe->take_flags & PEN_TAKE_MAY_LEAVE;
		sqe->plan->caps = sqe->take_caps;
	}
	dealt = sqe->op != PEN_OP_SUBMIT && sqe->op != PEN_OP_TAKE &&
		pen_aftermath_recover(engine, sqe->plan, &done);
	if (sqe->plan->fed)
		rc = 0;
	else if (sqe->plan->chunk_bytes > engine->chunk_bytes)
		rc = pen_fail(&why, -PEN_USAGE, 0, "chunks of %llu bytes in an engine with buffers of %u",
			      (unsigned long long)sqe->plan->chunk_bytes, engine->chunk_bytes);
	else
		rc = pen_plan_look(sqe->plan, &engine->drain, &why);
	/* The sources were this batch's, and are gone with its end; what lies there anew is read. */
	if (dealt && (rc == -PEN_SOURCE_OPEN || (!rc && !is_anything_there(sqe->plan)))) {
		pen_plan_close(sqe->plan);
		sqe->plan = NULL;
		pen_engine_complete(engine, PEN_FROM_READER, sqe->index, 0, done, 0);
		return;
	}
	if (!rc && sqe->op == PEN_OP_SUBMIT && has_streams(sqe->plan))
		rc = pen_fail(&why, -PEN_USAGE, 0, "a stream cannot be read later; it must be kept first");
	batch = rc ? NULL : new_batch(engine, sqe, index);
	if (!batch) {
		pen_plan_close(sqe->plan);
		sqe->plan = NULL;
		refuse(engine, sqe, rc ? rc : -ENOMEM, &why);
		return;
	}
	engine->batches[index] = batch;
	batch->begin = (struct pen_chunk){
		.batch = batch, .tag = PEN_TAG_NONE, .kind = PEN_CHUNK_BEGIN, .sqe = sqe->index
	};
	pen_feed_send(engine, &batch->begin);
}

static void admit_waiting(struct pen_engine *engine)
{
	for (uint32_t i = 0; i < PEN_BATCHES_MAX && engine->waiting; i++) {
		struct pen_sqe *sqe = engine->waiting;

		if (engine->batches[i])
			continue;
		engine->waiting = sqe->next;
		if (!engine->waiting)
			engine->waiting_end = &engine->waiting;
		admit(engine, sqe, i);
	}
}

/* The batch was complete before, and its sources are as they were: they are dealt with now. */
static void settle_already(struct pen_engine *engine, const struct pen_batch *batch)
{
	struct pen_aftermath *after = pen_aftermath_open(engine, batch->plan, batch->id);

	pen_aftermath_earlier(after, batch->plan, 0, batch->plan->source_count, batch->unchanged);
	pen_aftermath_seal(after);
	pen_aftermath_carry_out(after, &batch->standing.fixed.applied);
	pen_aftermath_close(after);
}

/* BEGIN came back: refused, done before, or on its way. */
static void begun(struct pen_engine *engine, struct pen_batch *batch)
{
	uint32_t sqe = batch->begin.sqe;
	uint64_t id = batch->id;
	uint32_t user;
	int rc = batch->begin.res;

	if (batch->why.code)
		pen_engine_record(engine, id, &batch->why);
	if (rc || batch->already) {
		uint64_t items = batch->plan->order ? batch->there : batch->from_items;

		if (!rc && !batch->plan->order)
			settle_already(engine, batch);
		free_batch(engine, batch);
		pen_engine_complete(engine, PEN_FROM_READER, sqe, rc, id, items);
		return;
	}
	user = pen_tags_join(&engine->tags);
	pen_assert(user != PEN_TAG_NONE); /* there are more tags than batches */
	if (pen_feed_open(engine, batch, user, &batch->feed)) {
		/* Out of memory for a feed: the batch rests as interrupted, and a later run resumes it. */
		pen_tags_leave(&engine->tags, user);
		batch->end = (struct pen_chunk){
			.batch = batch, .tag = PEN_TAG_NONE, .kind = PEN_CHUNK_END, .res = -ENOMEM
		};
		pen_feed_send(engine, &batch->end);
		return;
	}
	pthread_mutex_lock(&engine->gauges_lock);
	engine->gauges[batch->index] = batch;
	pthread_mutex_unlock(&engine->gauges_lock);
	if (batch->plan->puts) {
		batch->sqe = UINT32_MAX; /* until it is closed */
		pen_engine_complete(engine, PEN_FROM_READER, sqe, 0, id, batch->from_items);
	}
}

/* ---- requests ------------------------------------------------------------------------------ */

/* sqe NULL: nobody waits for an answer. */
static bool pause_batch(struct pen_engine *engine, struct pen_batch *batch, struct pen_sqe *sqe, bool pause)
{
	struct pen_chunk *note = &batch->note;

	bool job = pen_plan_is_job(batch->plan), again = pause && batch->paused;
	enum pen_chunk_kind kind = pause ? PEN_CHUNK_PAUSE : PEN_CHUNK_RESUME;

	if (note->kind) {
		if (sqe)
			refuse(engine, sqe, -EBUSY, NULL);
		return false;
	}
	batch->paused = pause;
	/*
	 * A program's own pause stands where it was said. A wish, and going on, do not wait for what was cut; nor does
	 * a second pause, which would stand behind the first one and keep a resume out.
	 */
	if (!job)
		pen_feed_pause(batch->feed, pause);
	if (!job && pause && !again && sqe && !pen_feed_ended(batch->feed)) {
		pen_feed_note(batch->feed, note, kind, sqe->index);
		return true;
	}
	/* A job's feed goes on as long as there is room: what rests is the crew. */
	*note = (struct pen_chunk){ .batch = batch,
				    .tag = PEN_TAG_NONE,
				    .kind = kind,
				    .beside = true,
				    .sqe = sqe ? sqe->index : UINT32_MAX };
	pen_feed_send(engine, note);
	return true;
}

static void cancel_batch(struct pen_engine *engine, struct pen_batch *batch)
{
	pen_feed_stop(batch->feed, -PEN_CANCELLED_BY);
	/* Its feed may have ended long ago. Relaxed: it is set once, and looked at again and again. */
	if (atomic_exchange_explicit(&batch->cancel, -PEN_CANCELLED_BY, memory_order_relaxed))
		return;
	if (pen_plan_is_job(batch->plan))
		pen_foreman_wake(engine->foreman);
	else
		pen_fanin_ring(&engine->commit_in);
}

/* What other processes want of the batches here. */
static void follow_wishes(struct pen_engine *engine)
{
	for (uint32_t i = 0; i < PEN_BATCHES_MAX; i++) {
		struct pen_batch *b = engine->batches[i];
		uint32_t wish;

		if (!b || !b->feed || b->ended)
			continue;
		wish = atomic_load_explicit(&b->wish, memory_order_relaxed); /* one word, by itself */
		if (wish == PEN_WISH_CANCEL)
			cancel_batch(engine, b);
		else if ((wish == PEN_WISH_PAUSE) != b->rests && pause_batch(engine, b, NULL, !b->rests))
			b->rests = !b->rests;
	}
}

static void take(struct pen_engine *engine, struct pen_sqe *sqe)
{
	bool rests = sqe->op == PEN_OP_PAUSE || sqe->op == PEN_OP_RESUME || sqe->op == PEN_OP_CANCEL;
	struct pen_batch *batch = rests			 ? find_unended(engine, sqe->batch)
				  : sqe->op > PEN_OP_PUT ? find_batch(engine, sqe->batch)
							 : NULL;

	if (sqe->early) {
		refuse(engine, sqe, sqe->early, &sqe->why);
		return;
	}
	if (sqe->op > PEN_OP_PUT && !batch) {
		refuse(engine, sqe, -PEN_NOT_FOUND, NULL);
		return;
	}
	switch (sqe->op) {
	case PEN_OP_NOP:
	case PEN_OP_PUT: /* a put that found no room: its entry was kept, its work was not */
		pen_engine_complete(engine, PEN_FROM_READER, sqe->index, 0, 0, 0);
		break;
	case PEN_OP_RUN:
	case PEN_OP_PLAN:
	case PEN_OP_SUBMIT:
	case PEN_OP_TAKE:
	case PEN_OP_OPEN:
		sqe->next = NULL;
		*engine->waiting_end = sqe;
		engine->waiting_end = &sqe->next;
		break;
	case PEN_OP_CLOSE:
		batch->sqe = sqe->index;
		pen_feed_stop(batch->feed, 0);
		break;
	case PEN_OP_PAUSE:
	case PEN_OP_RESUME:
		(void)pause_batch(engine, batch, sqe, sqe->op == PEN_OP_PAUSE);
		break;
	case PEN_OP_CANCEL:
		cancel_batch(engine, batch);
		pen_engine_complete(engine, PEN_FROM_READER, sqe->index, 0, batch->id, 0);
		break;
	}
}

static void take_puts(struct pen_engine *engine, struct pen_chunk *chunk)
{
	struct pen_batch *batch = find_batch(engine, chunk->batch_id);
	uint64_t tag = chunk->tag;
	uint32_t pushed;

	if (batch && batch->plan->puts && !pen_feed_stopping(batch->feed)) {
		pen_feed_put(batch->feed, chunk);
		return;
	}
	for (uint32_t i = 0; i < chunk->entry_count; i++)
		pen_engine_complete(engine, PEN_FROM_READER, chunk->table[i].line, -PEN_NOT_FOUND,
				    chunk->batch_id, 0);
	pushed = pen_fanin_push(&engine->put_tags, PEN_FROM_READER, &tag, 1);
	pen_assert(pushed == 1);
}

static bool take_submitted(struct pen_engine *engine)
{
	uint64_t words[REAP];
	uint32_t n = pen_lane_pop(&engine->submitted, words, REAP);

	for (uint32_t i = 0; i < n; i++) {
		if (words[i] & 1)
			take_puts(engine, (struct pen_chunk *)(uintptr_t)(words[i] & ~1ull));
		else
			take(engine, (struct pen_sqe *)(uintptr_t)words[i]);
	}
	return n;
}

/* ---- what comes back from the committer ----------------------------------------------------- */

static void take_back(struct pen_engine *engine, struct pen_chunk *chunk)
{
	struct pen_batch *batch = chunk->batch;
	uint64_t tag = chunk->tag;
	uint32_t pushed;

	switch (chunk->kind) {
	case PEN_CHUNK_BEGIN:
		begun(engine, batch);
		return;
	case PEN_CHUNK_END:
		if (batch->owes) {
			pen_aftermath_carry_out(pen_feed_aftermath(batch->feed),
						&batch->standing.fixed.applied);
			pen_engine_complete(engine, PEN_FROM_READER, batch->sqe, 0, batch->id,
					    batch->standing.fixed.applied.items);
		} else if (!atomic_load_explicit(&engine->fatal, memory_order_relaxed)) {
			pen_aftermath_forget(pen_feed_aftermath(batch->feed)); /* it did not complete */
		}
		batch->ended = true;
		if (!batch->note.kind)
			free_batch(engine, batch);
		return;
	case PEN_CHUNK_PAUSE:
	case PEN_CHUNK_RESUME:
		chunk->kind = 0; /* free for the next note */
		if (batch->ended)
			free_batch(engine, batch);
		return;
	case PEN_CHUNK_PUTS:
		pushed = pen_fanin_push(&engine->put_tags, PEN_FROM_READER, &tag, 1);
		pen_assert(pushed == 1);
		return;
	default:
		break;
	}
	pen_csv_unref(chunk->csv);
	chunk->csv = NULL;
	if (chunk->jumbo)
		pen_jumbo_free(engine, batch);
	pen_tags_put(&engine->tags, pen_feed_user(batch->feed), chunk->tag);
}

static bool take_returned(struct pen_engine *engine)
{
	uint64_t words[REAP];
	uint32_t n = pen_lane_pop(&engine->returned, words, REAP);

	for (uint32_t i = 0; i < n; i++)
		take_back(engine, (struct pen_chunk *)(uintptr_t)words[i]);
	return n;
}

/* ---- the loop ------------------------------------------------------------------------------ */

static void stop_all(struct pen_engine *engine, bool *cancelled)
{
	bool blocked = false;

	while (engine->waiting) {
		struct pen_sqe *sqe = engine->waiting;

		engine->waiting = sqe->next;
		pen_plan_close(sqe->plan);
		sqe->plan = NULL;
		refuse(engine, sqe, -PEN_INTERRUPTED_BY, NULL);
	}
	engine->waiting_end = &engine->waiting;
	for (uint32_t i = 0; i < PEN_BATCHES_MAX; i++) {
		struct pen_batch *b = engine->batches[i];

		if (!b || !b->feed)
			continue;
		pen_feed_stop(b->feed, -PEN_INTERRUPTED_BY);
		blocked |= pen_feed_blocked(b->feed);
	}
	if (blocked && !*cancelled)
		pen_io_cancel(engine->io);
	*cancelled = blocked;
}

/* A cancelled or stopped batch may sit in a read of a silent pipe. */
static void unblock(struct pen_engine *engine)
{
	for (uint32_t i = 0; i < PEN_BATCHES_MAX; i++) {
		struct pen_batch *b = engine->batches[i];

		if (b && b->feed && pen_feed_blocked(b->feed) && pen_feed_stopping(b->feed)) {
			pen_io_cancel(engine->io);
			return;
		}
	}
}

static uint64_t feed_all(struct pen_engine *engine, bool *ret_any)
{
	uint64_t patience = NAP_NS;

	for (uint32_t i = 0; i < PEN_BATCHES_MAX; i++) {
		struct pen_batch *b = engine->batches[i];

		if (!b || !b->feed)
			continue;
		pen_feed_flush(b->feed);
		*ret_any |= pen_feed_step(b->feed);
		patience = pen_min(patience, pen_feed_patience(b->feed));
	}
	return patience;
}

/* Counts what is under way. True: nothing of it is being read. */
static bool count_live(struct pen_engine *engine)
{
	uint32_t live = 0, queued = 0;
	bool reads = false;

	for (uint32_t i = 0; i < PEN_BATCHES_MAX; i++) {
		const struct pen_batch *b = engine->batches[i];

		live += b != NULL;
		reads |= b && b->feed && pen_feed_reads(b->feed);
	}
	for (const struct pen_sqe *s = engine->waiting; s; s = s->next)
		queued++;
	/* Relaxed: numbers that are shown. */
	atomic_store_explicit(&engine->live, live, memory_order_relaxed);
	atomic_store_explicit(&engine->queued, queued, memory_order_relaxed);
	return !reads;
}

/* Parks until there is something to do. A wait for a tag is a stall; one for the disk is work. */
static uint32_t wait_io(struct pen_engine *engine, struct pen_io_req **done, uint64_t timeout_ns,
			uint64_t *woke_ns)
{
	struct pen_meter *meter = &engine->reader_meter;
	bool alone = count_live(engine);
	uint64_t now;
	uint32_t n;

	if (!timeout_ns)
		return pen_io_wait(engine->io, done, REAP, 0);
	now = pen_mono_ns(engine->clock);
	pen_meter_add(&meter->busy_ns, now - *woke_ns);
	if (engine->starved)
		pen_meter_enter(meter, now, alone);
	n = pen_io_wait(engine->io, done, REAP, timeout_ns);
	*woke_ns = pen_mono_ns(engine->clock);
	pen_meter_leave(meter, *woke_ns);
	return n;
}

static bool idle(const struct pen_engine *engine)
{
	for (uint32_t i = 0; i < PEN_BATCHES_MAX; i++)
		if (engine->batches[i])
			return false;
	return !engine->waiting;
}

static void run(struct pen_engine *engine)
{
	struct pen_io_req *done[REAP];
	uint64_t woke = pen_mono_ns(engine->clock);
	bool cancelled = false;

	for (;;) {
		bool any = take_submitted(engine);
		uint64_t patience;
		uint32_t n;

		any |= take_returned(engine);
		/* Relaxed: both are flags that only ever rise; nothing is read through them. */
		if (atomic_load_explicit(&engine->drain, memory_order_relaxed) ||
		    atomic_load_explicit(&engine->fatal, memory_order_relaxed))
			stop_all(engine, &cancelled);
		else {
			follow_wishes(engine);
			unblock(engine);
		}
		admit_waiting(engine);
		engine->starved = false;
		patience = feed_all(engine, &any);
		if (!any && idle(engine) && atomic_load_explicit(&engine->closing, memory_order_relaxed))
			return;
		n = wait_io(engine, done, any ? 0 : patience, &woke);
		for (uint32_t i = 0; i < n; i++)
			pen_feed_done(pen_feed_of(done[i]), done[i]);
	}
}

void *pen_reader_main(void *arg)
{
	struct pen_engine *engine = arg;
	struct pen_failure denied = { 0 };
	struct pen_io_options opt = {
		.choice = engine->io_choice,
		.entries = 512,
		.slots = PEN_FETCHES,
		.arena = engine->arena.base,
		.arena_bytes = engine->arena.slot_bytes * engine->arena.count,
		.slot_bytes = engine->arena.slot_bytes,
	};

	(void)pthread_setname_np(pthread_self(), "pen-read"); /* for who looks on; nothing hangs on it */
	engine->start_res = pen_io_open(&opt, &engine->io, &denied);
	if (engine->start_res) {
		engine->start_why = denied;
		sem_post(&engine->started);
		return NULL;
	}
	engine->uring = pen_io_kind(engine->io) == PEN_IO_KIND_URING;
	if (denied.code)
		pen_engine_notice(engine, denied.code, "%s", denied.text);
	sem_post(&engine->started);
	run(engine);
	for (uint32_t i = 0; i < engine->processor_count; i++)
		pen_fanin_close(&engine->processors[i].in, 0);
	pen_fanin_close(&engine->commit_in, engine->processor_count);
	if (engine->foreman)
		pen_foreman_end(engine->foreman, engine->processor_count);
	/* io is closed by the thread that opened it, and the committer may wake it until its own end. */
	while (sem_wait(&engine->quiet) && errno == EINTR)
		;
	pen_io_close(engine->io);
	return NULL;
}
