/* SPDX-License-Identifier: MIT */
/*
 * engine - starting, stopping, and the program's side of the rings
 *
 *	stopped --start--> running --drain--> draining --stop--> stopped
 *	                      `--------------stop--------------------^
 *	                      `-(disk failed)-> failed --stop--------'
 *
 * start (pen_engine_start) makes everything that will ever be allocated for chunks, entries and lanes;
 * nothing of it grows afterwards. stop (pen_engine_stop) drains, then closes lane after lane downstream:
 * reader, processors, committer.
 *
 * Submission entries circulate: submitting thread -> reader -> (committer) -> reaping thread -> submitting
 * thread. An entry is in exactly one of these places, so no ring of theirs can overflow.
 */
#include "engine/engine.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/diary.h"
#include "engine/foreman.h"
#include "engine/group.h"
#include "engine/tell.h"
#include "ring/assert.h"
#include "ring/error.h"
#include "store/item.h"

#define ARENA_BYTES (96ull << 20)
#define TAGS_MIN (PEN_BATCHES_MAX + PEN_PUT_TAGS + 8)
#define ENTRIES 256u

/* ---- notices, failures, completions --------------------------------------------------------- */

void pen_engine_notice(struct pen_engine *engine, int code, const char *format, ...)
{
	char text[PEN_FAILURE_TEXT];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof text, format, ap);
	va_end(ap);
	pen_diary_notice(code, text);
	if (engine->notice)
		engine->notice(engine->notice_arg, code, text);
}

void pen_engine_record(struct pen_engine *engine, uint64_t batch, const struct pen_failure *why)
{
	uint32_t i;

	pthread_mutex_lock(&engine->failures_lock);
	for (i = 0; i < engine->failure_count; i++)
		if (engine->failures[i].batch == batch)
			break;
	/* Room is bounded: the newest batch's failure replaces the last one. Failures without a batch are
	 * replaced too, so that each refused run can be asked about. */
	if (i == PEN_COUNT(engine->failures))
		i--;
	if (i >= engine->failure_count || !batch) {
		engine->failures[i].batch = batch;
		engine->failures[i].why = *why;
	}
	if (i >= engine->failure_count)
		engine->failure_count = i + 1;
	pthread_mutex_unlock(&engine->failures_lock);
}

int pen_engine_failure(struct pen_engine *engine, uint64_t batch, struct pen_failure *ret)
{
	int rc = -PEN_NOT_FOUND;

	pthread_mutex_lock(&engine->failures_lock);
	for (uint32_t i = 0; i < engine->failure_count && rc; i++) {
		if (engine->failures[i].batch != batch)
			continue;
		*ret = engine->failures[i].why;
		rc = 0;
	}
	pthread_mutex_unlock(&engine->failures_lock);
	return rc;
}

void pen_engine_complete(struct pen_engine *engine, uint32_t from, uint32_t sqe, int res, uint64_t batch,
			 uint64_t value)
{
	struct pen_sqe *s = &engine->sqes[sqe];
	uint64_t word = sqe;
	uint32_t pushed;

	s->cqe = (struct pen_cqe){
		.user_data = s->user_data, .batch = batch, .value = value, .res = res, .flags = s->flags
	};
	pushed = pen_fanin_push(&engine->completed, from, &word, 1);
	pen_assert(pushed == 1);
}

/* Rows are read by processes that never start an engine, and the store does not know JSON's sentences. */
__attribute__((constructor)) static void teach_details(void)
{
	pen_item_set_detail(pen_json_detail);
}

/* ---- start and stop ------------------------------------------------------------------------ */

struct sizes {
	uint32_t chunk_bytes, processors, entries, tags;
	size_t slot_bytes;
};

static int measure(const struct pen_engine_options *opt, struct sizes *ret, struct pen_failure *why)
{
	uint64_t arena = opt && opt->arena_bytes ? opt->arena_bytes : ARENA_BYTES;
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	uint64_t tags;

	ret->chunk_bytes = opt && opt->chunk_bytes ? opt->chunk_bytes : PEN_CHUNK_BYTES;
	ret->processors = opt && opt->processors ? opt->processors : cores > 2 ? (uint32_t)cores - 1 : 1;
	ret->entries = opt && opt->entries ? opt->entries : ENTRIES;
	if (!opt || !opt->processors)
		ret->processors = (uint32_t)pen_min(ret->processors, PEN_PROCESSORS_MAX);
	if (ret->chunk_bytes < PEN_CHUNK_BYTES_MIN || ret->chunk_bytes > PEN_CHUNK_BYTES_MAX)
		return pen_fail(why, -PEN_USAGE, 0, "chunks of %u bytes; %u to %u can be had",
				ret->chunk_bytes, PEN_CHUNK_BYTES_MIN, PEN_CHUNK_BYTES_MAX);
	if (ret->processors > PEN_PROCESSORS_MAX)
		return pen_fail(why, -PEN_USAGE, 0, "%u processors; at most %u can run", ret->processors,
				PEN_PROCESSORS_MAX);
	if (!pen_is_pow2(ret->entries) || ret->entries > PEN_ENTRIES_MAX)
		return pen_fail(why, -PEN_USAGE, 0,
				"%u submission entries; a power of two up to %u is needed", ret->entries,
				PEN_ENTRIES_MAX);
	ret->slot_bytes = pen_round_up(pen_chunk_slot_bytes(ret->chunk_bytes), 4096);
	tags = pen_max(TAGS_MIN, pen_min(arena / ret->slot_bytes, 1024));
	ret->tags = (uint32_t)tags;
	return 0;
}

static void free_engine(struct pen_engine *e)
{
	for (uint32_t i = 0; e->processors && i < e->processor_count; i++) {
		pen_json_close(e->processors[i].json);
		pen_fanin_fini(&e->processors[i].in);
	}
	pen_fanin_fini(&e->commit_in);
	pen_lane_fini(&e->submitted);
	pen_lane_fini(&e->returned);
	pen_fanin_fini(&e->completed);
	pen_lane_fini(&e->sqes_free);
	pen_fanin_fini(&e->put_tags);
	pen_arena_close(&e->arena);
	pen_group_close(e->group);
	pen_foreman_close(e->foreman);
	pthread_mutex_destroy(&e->failures_lock);
	pthread_mutex_destroy(&e->gauges_lock);
	sem_destroy(&e->started);
	sem_destroy(&e->told);
	sem_destroy(&e->quiet);
	free(e->processors);
	free(e->chunks);
	free(e->sqes);
	free(e->sqe_stack);
	free(e->prepared);
	free(e->put_stack);
	free(e->ready);
	free(e);
}

static int make_lanes(struct pen_engine *e, const struct sizes *z)
{
	uint32_t chunks =
		pen_pow2_from(z->tags + 4 * PEN_BATCHES_MAX); /* and the control chunks of every batch */
	uint32_t requests = pen_pow2_from(z->entries + PEN_PUT_TAGS);
	int rc = pen_fanin_init(&e->commit_in, z->processors + 2, chunks);

	if (!rc)
		rc = pen_lane_init(&e->submitted, requests, 0);
	if (!rc)
		rc = pen_lane_init(&e->returned, chunks, 0);
	if (!rc)
		rc = pen_fanin_init(&e->completed, PEN_FROM_COUNT, requests);
	if (!rc)
		rc = pen_lane_init(&e->sqes_free, requests, 0);
	if (!rc)
		rc = pen_fanin_init(&e->put_tags, PEN_FROM_COUNT, pen_pow2_from(PEN_PUT_TAGS));
	for (uint32_t i = 0; i < z->processors && !rc; i++) {
		struct pen_processor *p = &e->processors[i];

		p->engine = e;
		p->index = i;
		rc = pen_fanin_init(&p->in, 1, chunks);
		if (!rc)
			rc = pen_json_open(&p->json);
	}
	return rc;
}

static int make(struct pen_engine *e, const struct sizes *z)
{
	e->chunk_bytes = z->chunk_bytes;
	e->processor_count = z->processors;
	e->entries = z->entries;
	e->waiting_end = &e->waiting;
	e->processors = aligned_alloc(PEN_LINE_PAIR, z->processors * sizeof *e->processors);
	if (e->processors)
		memset(e->processors, 0, z->processors * sizeof *e->processors);
	e->chunks = calloc(z->tags, sizeof *e->chunks);
	e->sqes = calloc(z->entries, sizeof *e->sqes);
	e->sqe_stack = calloc(z->entries, sizeof *e->sqe_stack);
	e->prepared = calloc(z->entries + PEN_PUT_TAGS, sizeof *e->prepared);
	e->put_stack = calloc(PEN_PUT_TAGS, sizeof *e->put_stack);
	e->ready = calloc(z->tags, sizeof *e->ready);
	if (!e->processors || !e->chunks || !e->sqes || !e->sqe_stack || !e->prepared || !e->put_stack ||
	    !e->ready)
		return -ENOMEM;
	if (pen_arena_open(&e->arena, z->tags, z->slot_bytes) || pen_group_open(&e->group) ||
	    make_lanes(e, z))
		return -ENOMEM;
	for (uint32_t i = 0; i < z->tags; i++)
		pen_chunk_bind(&e->chunks[i], i, pen_arena_slot(&e->arena, i), z->chunk_bytes);
	pen_tags_init(&e->tags, 0, z->tags - PEN_PUT_TAGS);
	for (uint32_t i = 0; i < PEN_PUT_TAGS; i++)
		e->put_stack[e->put_free_count++] = z->tags - 1 - i;
	for (uint32_t i = 0; i < z->entries; i++) {
		e->sqes[i].engine = e;
		e->sqes[i].index = i;
		e->sqe_stack[e->sqe_free_count++] = z->entries - 1 - i;
	}
	return 0;
}

static void stop_workers(struct pen_engine *e, uint32_t processors)
{
	/* The reader never ran: close in its place. */
	sem_post(&e->told);
	for (uint32_t i = 0; i < processors; i++) {
		pen_fanin_close(&e->processors[i].in, 0);
		pthread_join(e->processors[i].thread, NULL);
	}
	for (uint32_t i = processors; i < e->processor_count; i++) {
		pen_fanin_close(&e->commit_in, i);
		if (e->foreman)
			pen_foreman_end(e->foreman, i);
	}
	pen_fanin_close(&e->commit_in, e->processor_count);
	if (e->foreman) {
		pen_foreman_end(e->foreman, e->processor_count);
		pthread_join(e->foreman_thread, NULL);
	}
}

static int start_threads(struct pen_engine *e, struct pen_failure *why)
{
	uint32_t n = 0;
	int rc =
		pthread_create(&e->committer, NULL, e->rehearse ? pen_rehearsal_main : pen_committer_main, e);

	if (rc)
		return pen_fail(why, -rc, rc, "no thread for the committer");
	if (!e->rehearse) {
		rc = pen_foreman_open(e, &e->foreman);
		if (!rc && (rc = -pthread_create(&e->foreman_thread, NULL, pen_foreman_main, e->foreman))) {
			pen_foreman_close(e->foreman);
			e->foreman = NULL;
		}
		if (rc) {
			pen_fanin_close(&e->commit_in, e->processor_count + 1);
			stop_workers(e, 0);
			pthread_join(e->committer, NULL);
			return pen_fail(why, rc, -rc, "no thread for the foreman");
		}
	} else {
		pen_fanin_close(&e->commit_in, e->processor_count + 1);
	}
	while (n < e->processor_count &&
	       !(rc = pthread_create(&e->processors[n].thread, NULL, pen_processor_main, &e->processors[n])))
		n++;
	if (!rc)
		rc = pthread_create(&e->reader, NULL, pen_reader_main, e);
	if (rc) {
		stop_workers(e, n);
		pthread_join(e->committer, NULL);
		return pen_fail(why, -rc, rc, "no thread for the engine");
	}
	while (sem_wait(&e->started) && errno == EINTR)
		;
	if (!e->start_res) {
		/* How it reads is known now, and the ring says it. */
		e->tell = pen_tell_open(e);
		sem_post(&e->told);
		return 0;
	}
	pthread_join(e->reader, NULL);
	stop_workers(e, n);
	pthread_join(e->committer, NULL);
	if (why && !why->code)
		*why = e->start_why;
	return e->start_res;
}

int pen_engine_start(struct pen_store *store, const struct pen_engine_options *opt, struct pen_engine **ret,
		     struct pen_failure *why)
{
	struct pen_engine *e;
	struct sizes z;
	/* Behind all that programs built against an older header know of. */
	bool rehearse = opt && opt->size > offsetof(struct pen_engine_options, rehearse) && opt->rehearse;
	int rc = measure(opt, &z, why);

	if (!rc && !store && !rehearse)
		rc = pen_fail(why, -PEN_USAGE, 0, "an engine needs a store");
	if (rc)
		return rc;
	e = aligned_alloc(PEN_LINE_PAIR, pen_round_up(sizeof *e, PEN_LINE_PAIR));
	if (!e)
		return pen_fail(why, -PEN_MEMORY, ENOMEM, "no memory for an engine");
	memset(e, 0, sizeof *e);
	e->store = store;
	e->rehearse = rehearse;
	e->clock = store ? pen_store_clock(store) : &pen_clock_real;
	e->notice = opt ? opt->notice : NULL;
	e->notice_arg = opt ? opt->notice_arg : NULL;
	e->io_choice = opt ? opt->io : PEN_IO_AUTO;
	if (opt && opt->size >= offsetof(struct pen_engine_options, room) + sizeof opt->room)
		e->room = opt->room;
	pthread_mutex_init(&e->failures_lock, NULL);
	pthread_mutex_init(&e->gauges_lock, NULL);
	sem_init(&e->started, 0, 0);
	sem_init(&e->told, 0, 0);
	sem_init(&e->quiet, 0, 0);
	rc = make(e, &z);
	if (rc)
		rc = pen_fail(why, -PEN_MEMORY, ENOMEM, "no memory for %u chunks of %u bytes", z.tags,
			      z.chunk_bytes);
	else
		rc = start_threads(e, why);
	if (rc) {
		free_engine(e);
		return rc;
	}
	*ret = e;
	return 0;
}

void pen_engine_drain(struct pen_engine *engine)
{
	/* Relaxed: it only rises, and nothing is read through it. */
	atomic_store_explicit(&engine->drain, true, memory_order_relaxed);
	pen_io_wake(engine->io);
	pen_fanin_ring(&engine->commit_in); /* a batch that rests ends */
	if (engine->foreman)
		pen_foreman_wake(engine->foreman);
}

void pen_engine_stop(struct pen_engine *engine)
{
	if (!engine)
		return;
	pen_engine_drain(engine);
	atomic_store_explicit(&engine->closing, true, memory_order_relaxed); /* as above */
	pen_io_wake(engine->io);
	for (uint32_t i = 0; i < engine->processor_count; i++)
		pthread_join(engine->processors[i].thread, NULL);
	if (engine->foreman)
		pthread_join(engine->foreman_thread, NULL);
	pthread_join(engine->committer, NULL);
	sem_post(&engine->quiet);
	pthread_join(engine->reader, NULL);
	pen_tell_close(engine->tell);
	pen_limit_close(engine->limits);
	for (uint32_t i = 0; i < engine->entries; i++)
		pen_plan_close(engine->sqes[i].plan);
	for (uint32_t i = 0; i < PEN_BATCHES_MAX; i++)
		if (engine->jumbos[i].base)
			munmap(engine->jumbos[i].base, engine->jumbos[i].bytes);
	free_engine(engine);
}

bool pen_engine_uring(const struct pen_engine *engine)
{
	return engine->uring;
}

/* ---- submitting ---------------------------------------------------------------------------- */

struct pen_sqe *pen_get_sqe(struct pen_engine *engine)
{
	struct pen_sqe *sqe;
	uint64_t word;

	if (!engine->sqe_free_count && pen_lane_pop(&engine->sqes_free, &word, 1))
		engine->sqe_stack[engine->sqe_free_count++] = (uint32_t)word;
	if (!engine->sqe_free_count)
		return NULL;
	sqe = &engine->sqes[engine->sqe_stack[--engine->sqe_free_count]];
	*sqe = (struct pen_sqe){ .engine = engine, .index = sqe->index };
	return sqe;
}

void pen_sqe_set_data64(struct pen_sqe *sqe, uint64_t data)
{
	sqe->user_data = data;
}

void pen_sqe_set_data(struct pen_sqe *sqe, void *data)
{
	sqe->user_data = (uint64_t)(uintptr_t)data;
}

void pen_sqe_set_flags(struct pen_sqe *sqe, unsigned flags)
{
	sqe->flags = flags;
}

/* The put chunk in hand is complete: it goes out in its place among the requests. */
static void seal_stage(struct pen_engine *engine)
{
	if (!engine->stage)
		return;
	engine->prepared[engine->prepared_count++] = (uint64_t)(uintptr_t)engine->stage | 1;
	engine->stage = NULL;
}

static void prepare(struct pen_sqe *sqe, enum pen_op op, uint64_t batch)
{
	struct pen_engine *engine = sqe->engine;

	seal_stage(engine);
	sqe->op = op;
	sqe->batch = batch;
	engine->prepared[engine->prepared_count++] = (uint64_t)(uintptr_t)sqe;
}

static void prepare_plan(struct pen_sqe *sqe, enum pen_op op, const struct pen_run *spec)
{
	if (sqe->engine->rehearse != (op == PEN_OP_PLAN))
		sqe->early = pen_fail(&sqe->why, -PEN_USAGE, 0,
				      op == PEN_OP_PLAN ? "this engine runs; one that rehearses can plan"
							: "this engine rehearses: it can only plan");
	else
		sqe->early = pen_plan_open(spec, op == PEN_OP_OPEN, &sqe->plan, &sqe->why);
	if (!sqe->early) {
		sqe->plan->processors = sqe->engine->processor_count;
		sqe->plan->chunk_room = pen_max(sqe->engine->chunk_bytes, PEN_CHUNK_ROOM_MIN);
	}
	/* Nothing becomes of sources that are only looked at. */
	if (op == PEN_OP_PLAN && !sqe->early)
		sqe->plan->on_success = PEN_SUCCESS_KEEP;
	prepare(sqe, op, 0);
}

int pen_run_check(const struct pen_run *spec, struct pen_failure *why)
{
	struct pen_plan *plan;
	int rc = pen_plan_open(spec, false, &plan, why);

	if (!rc)
		pen_plan_close(plan);
	return rc;
}

void pen_prep_run(struct pen_sqe *sqe, const struct pen_run *spec)
{
	prepare_plan(sqe, PEN_OP_RUN, spec);
}

void pen_prep_submit(struct pen_sqe *sqe, const struct pen_submit *submit)
{
	if (sqe->engine->rehearse)
		sqe->early = pen_fail(&sqe->why, -PEN_USAGE, 0, "this engine rehearses: it can only plan");
	else
		sqe->early = pen_plan_open_submit(submit, sqe->engine->store, &sqe->plan, &sqe->why);
	prepare(sqe, PEN_OP_SUBMIT, 0);
}

void pen_prep_take(struct pen_sqe *sqe, uint64_t batch, unsigned flags)
{
	pen_prep_take_capped(sqe, batch, flags, &(struct pen_caps){ 0 });
}

void pen_prep_take_capped(struct pen_sqe *sqe, uint64_t batch, unsigned flags, const struct pen_caps *caps)
{
	if (sqe->engine->rehearse)
		sqe->early = pen_fail(&sqe->why, -PEN_USAGE, 0, "this engine rehearses: it can only plan");
	sqe->take_flags = flags;
	sqe->take_caps = *caps;
	prepare(sqe, PEN_OP_TAKE, batch);
}

void pen_prep_plan(struct pen_sqe *sqe, const struct pen_run *spec, struct pen_forecast *ret)
{
	if (ret->size < sizeof *ret) {
		sqe->early = pen_fail(&sqe->why, -PEN_USAGE, 0, "the size of struct pen_forecast is not set");
		prepare(sqe, PEN_OP_PLAN, 0);
		return;
	}
	sqe->forecast = ret;
	*ret = (struct pen_forecast){ .size = ret->size, .fate = PEN_FATE_REFUSED };
	prepare_plan(sqe, PEN_OP_PLAN, spec);
}

void pen_prep_open(struct pen_sqe *sqe, const struct pen_run *spec)
{
	prepare_plan(sqe, PEN_OP_OPEN, spec);
}

void pen_prep_close(struct pen_sqe *sqe, uint64_t batch)
{
	prepare(sqe, PEN_OP_CLOSE, batch);
}

void pen_prep_pause(struct pen_sqe *sqe, uint64_t batch)
{
	prepare(sqe, PEN_OP_PAUSE, batch);
}

void pen_prep_resume(struct pen_sqe *sqe, uint64_t batch)
{
	prepare(sqe, PEN_OP_RESUME, batch);
}

void pen_prep_cancel(struct pen_sqe *sqe, uint64_t batch)
{
	prepare(sqe, PEN_OP_CANCEL, batch);
}

void pen_prep_nop(struct pen_sqe *sqe)
{
	prepare(sqe, PEN_OP_NOP, 0);
}

/* A chunk for puts of this batch with room for one more; NULL when every put tag is under way. */
static struct pen_chunk *get_stage(struct pen_engine *engine, uint64_t batch, size_t bytes)
{
	struct pen_chunk *chunk = engine->stage;
	uint64_t word;

	if (chunk && (engine->stage_batch != batch || chunk->end + bytes > chunk->capacity ||
		      chunk->entry_count == PEN_CHUNK_ITEMS))
		seal_stage(engine);
	if (engine->stage)
		return engine->stage;
	if (!engine->put_free_count && pen_fanin_pop(&engine->put_tags, &word, 1))
		engine->put_stack[engine->put_free_count++] = (uint32_t)word;
	if (!engine->put_free_count)
		return NULL;
	chunk = &engine->chunks[engine->put_stack[--engine->put_free_count]];
	pen_chunk_reset(chunk);
	chunk->batch_id = batch;
	engine->stage = chunk;
	engine->stage_batch = batch;
	return chunk;
}

int pen_prep_put(struct pen_sqe *sqe, uint64_t batch, size_t key_len, size_t value_len, void **ret_key,
		 void **ret_value)
{
	struct pen_engine *engine = sqe->engine;
	struct pen_chunk *chunk;
	struct pen_entry *e;
	int rc = 0;

	if (key_len > PEN_KEY_MAX)
		rc = -EINVAL;
	else if (value_len > engine->chunk_bytes || key_len + value_len > engine->chunk_bytes)
		rc = -E2BIG;
	chunk = rc ? NULL : get_stage(engine, batch, key_len + value_len);
	if (!rc && !chunk)
		rc = -EAGAIN;
	if (rc) {
		prepare(sqe, PEN_OP_NOP, batch);
		return rc;
	}
	e = &chunk->table[chunk->entry_count];
	*e = (struct pen_entry){
		.key_at =
			chunk->keys_used, /* data and keys are equally large, so what fits one fits the other */
		.key_len = (uint16_t)key_len,
		.at = chunk->end,
		.len = (uint32_t)value_len,
		.item = chunk->entry_count++,
		.line = sqe->index,
	};
	chunk->keys_used += (uint32_t)key_len;
	chunk->end += (uint32_t)(key_len + value_len); /* counts both, so that bytes bound the keys too */
	chunk->bytes += key_len + value_len;
	sqe->op = PEN_OP_PUT;
	sqe->batch = batch;
	*ret_key = chunk->keys + e->key_at;
	*ret_value = chunk->data + e->at;
	return 0;
}

int pen_submit(struct pen_engine *engine)
{
	uint32_t n, pushed;

	seal_stage(engine);
	n = engine->prepared_count;
	if (!n)
		return 0;
	pushed = pen_lane_push(&engine->submitted, engine->prepared, n);
	pen_assert(pushed == n);
	engine->prepared_count = 0;
	pen_io_wake(engine->io);
	return (int)n;
}

/* ---- reaping ------------------------------------------------------------------------------- */

static void recycle(struct pen_engine *engine, uint32_t sqe)
{
	uint64_t word = sqe;
	uint32_t pushed = pen_lane_push(&engine->sqes_free, &word, 1);

	pen_assert(pushed == 1);
}

void pen_cqe_seen(struct pen_engine *engine, struct pen_cqe *cqe)
{
	struct pen_sqe *sqe = (struct pen_sqe *)(void *)((char *)cqe - offsetof(struct pen_sqe, cqe));

	recycle(engine, sqe->index);
}

static bool pop_cqe(struct pen_engine *engine, struct pen_cqe **ret)
{
	uint64_t word;

	while (pen_fanin_pop(&engine->completed, &word, 1)) {
		struct pen_sqe *sqe = &engine->sqes[word];

		if (sqe->cqe.res == 0 && (sqe->flags & PEN_SQE_SKIP_SUCCESS)) {
			recycle(engine, (uint32_t)word);
			continue;
		}
		*ret = &sqe->cqe;
		return true;
	}
	return false;
}

int pen_peek_cqe(struct pen_engine *engine, struct pen_cqe **ret)
{
	return pop_cqe(engine, ret) ? 0 : -EAGAIN;
}

int pen_wait_cqe_timeout(struct pen_engine *engine, struct pen_cqe **ret, uint64_t timeout_ns)
{
	uint64_t began = pen_mono_ns(engine->clock);

	for (;;) {
		uint32_t ticket = pen_park_ticket(&engine->completed.park);
		uint64_t spent;

		if (pop_cqe(engine, ret))
			return 0;
		if (atomic_load_explicit(&engine->fatal, memory_order_relaxed)) /* rises once */
			return -PEN_DISK_FAILED;
		spent = pen_mono_ns(engine->clock) - began;
		if (timeout_ns != UINT64_MAX && spent >= timeout_ns)
			return -ETIME;
		(void)pen_park_wait(&engine->completed.park, ticket,
				    timeout_ns == UINT64_MAX ? UINT64_MAX : timeout_ns - spent);
	}
}

int pen_wait_cqe(struct pen_engine *engine, struct pen_cqe **ret)
{
	return pen_wait_cqe_timeout(engine, ret, UINT64_MAX);
}

/* ---- looking ------------------------------------------------------------------------------- */

static void fill_progress(const uint64_t *w, struct pen_progress *ret)
{
	*ret = (struct pen_progress){
		.batch = w[PEN_GAUGE_BATCH],
		.state = (enum pen_state)w[PEN_GAUGE_STATE],
		.reason = (int)(int64_t)w[PEN_GAUGE_REASON],
		.counted = {
			.items = w[PEN_GAUGE_ITEMS],
			.committed = w[PEN_GAUGE_COMMITTED],
			.rejected = w[PEN_GAUGE_REJECTED],
			.failed = w[PEN_GAUGE_FAILED],
			.skipped = w[PEN_GAUGE_SKIPPED],
			.duplicates = w[PEN_GAUGE_DUPLICATES],
			.bytes = w[PEN_GAUGE_BYTES],
		},
		.items_total = w[PEN_GAUGE_ITEMS_TOTAL],
		.bytes_total = w[PEN_GAUGE_BYTES_TOTAL],
		.bytes_place = w[PEN_GAUGE_BYTES_PLACE],
		.groups = w[PEN_GAUGE_GROUPS],
		.first_commit_ns = w[PEN_GAUGE_FIRST_NS],
		.last_commit_ns = w[PEN_GAUGE_LAST_NS],
		.hold_budget_ms = (uint32_t)w[PEN_GAUGE_HOLD_BUDGET],
		.hold_last_ms = (uint32_t)w[PEN_GAUGE_HOLD_LAST],
		.resumed = w[PEN_GAUGE_RESUMED] != 0,
		.resumed_items = w[PEN_GAUGE_RESUMED_ITEMS],
	};
}

int pen_engine_progress(struct pen_engine *engine, uint64_t batch, struct pen_progress *ret)
{
	uint64_t words[PEN_GAUGE_USED];
	int rc = -PEN_NOT_FOUND;

	pthread_mutex_lock(&engine->gauges_lock);
	for (uint32_t i = 0; i < PEN_BATCHES_MAX && rc; i++) {
		const struct pen_batch *b = engine->gauges[i];

		if (!b || !pen_gauge_read(&b->gauge, words, PEN_GAUGE_USED))
			continue;
		if (batch && words[PEN_GAUGE_BATCH] != batch)
			continue;
		fill_progress(words, ret);
		rc = 0;
	}
	pthread_mutex_unlock(&engine->gauges_lock);
	return rc;
}

size_t pen_memory_bill(const struct pen_engine_options *opt, char *ret, size_t cap)
{
	struct sizes z;
	uint64_t arena, chunks, lanes, json, dirty = 96ull << 20, rows = PEN_GROUP_ITEMS_MAX * 16ull, feed,
					     sum;
	uint64_t ring = PEN_TELL_RING_BYTES;
	int n;

	if (measure(opt, &z, NULL))
		return 0;
	arena = (uint64_t)z.tags * z.slot_bytes;
	chunks = (uint64_t)z.tags * sizeof(struct pen_chunk);
	lanes = (uint64_t)(z.processors * 2 + 8) * 8 * pen_pow2_from(z.tags + 4 * PEN_BATCHES_MAX) +
		(uint64_t)z.entries * (sizeof(struct pen_sqe) + 64);
	json = (uint64_t)z.processors * (13ull << 20);
	feed = z.chunk_bytes + (256ull << 10);
	sum = arena + dirty + json + chunks + lanes + rows + feed + ring;
	n = snprintf(ret, cap,
		     "%llu\tarena: %u chunks of %zu bytes, touched as they are used\n"
		     "%llu\tLMDB's dirty pages in the largest group\n"
		     "%llu\tJSON parsers: %u processors, records up to 1 MiB\n"
		     "%llu\tchunk descriptors and digests\n"
		     "%llu\tlanes and submission entries\n"
		     "%llu\trows of duplicates in one group\n"
		     "%llu\ta batch's feed\n"
		     "%llu\tthe progress ring, and what is shown in it\n"
		     "%llu\tin all; a record larger than a chunk adds up to 3 times its size\n",
		     (unsigned long long)arena, z.tags, z.slot_bytes, (unsigned long long)dirty,
		     (unsigned long long)json, z.processors, (unsigned long long)chunks,
		     (unsigned long long)lanes, (unsigned long long)rows, (unsigned long long)feed,
		     (unsigned long long)ring, (unsigned long long)sum);
	return n < 0 ? 0 : (size_t)n;
}
