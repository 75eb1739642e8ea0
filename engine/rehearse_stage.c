/* SPDX-License-Identifier: MIT */
/*
 * In time order: BEGIN looks at the store and makes the batch's rehearsal; each chunk in turn is counted and
 * goes straight back to the reader; END fills the program's forecast and completes the request.
 *
 * What can go wrong: the batch would be refused (BEGIN goes back with the code, and the reader completes), the
 * store cannot be read (the reader is told to stop, END carries the code), the engine drains (END comes early
 * and the forecast says that not all was read).
 */
#include "engine/rehearse.h"

#include <stdlib.h>

#include "ring/assert.h"
#include "ring/error.h"

#define TAKE 64u

static void hand_back(struct pen_engine *engine, struct pen_chunk *chunk)
{
	uint64_t word = (uint64_t)(uintptr_t)chunk;
	uint32_t pushed = pen_lane_push(&engine->returned, &word, 1);

	pen_assert(pushed == 1);
}

static void begin(struct pen_engine *engine, struct pen_chunk *chunk)
{
	static const struct pen_rehearsal_bounds bounds = { PEN_KEYSET_SLOTS, PEN_REHEARSE_LOOK_BYTES };
	struct pen_batch *batch = chunk->batch;
	int rc = pen_rehearsal_open(engine, batch, &bounds, &batch->why);

	if (rc && !batch->why.code)
		pen_fail(&batch->why, rc, 0, "the batch cannot be planned: %s", pen_error_text(rc));
	batch->began_ns = pen_mono_ns(engine->clock);
	if (rc || batch->already) {
		if (batch->rehearsal)
			pen_rehearsal_end(batch->rehearsal, rc);
		pen_rehearsal_close(batch->rehearsal);
		batch->rehearsal = NULL;
	} else {
		pen_batch_publish(batch, 0);
	}
	chunk->res = rc;
	hand_back(engine, chunk);
}

static void end(struct pen_engine *engine, struct pen_chunk *chunk)
{
	struct pen_batch *batch = chunk->batch;
	int code = batch->over ? batch->over : chunk->res;

	if (batch->why.code)
		pen_engine_record(engine, batch->id, &batch->why);
	pen_rehearsal_end(batch->rehearsal, code);
	pen_rehearsal_close(batch->rehearsal);
	batch->rehearsal = NULL;
	pen_engine_complete(engine, PEN_FROM_COMMITTER, batch->sqe, code, batch->id,
			    batch->standing.fixed.counted.items);
	hand_back(engine, chunk);
}

static void settle(struct pen_engine *engine, struct pen_chunk *chunk)
{
	struct pen_batch *batch = chunk->batch;
	int rc;

	switch (chunk->kind) {
	case PEN_CHUNK_END:
		end(engine, chunk);
		return;
	case PEN_CHUNK_PAUSE:
	case PEN_CHUNK_RESUME:
		batch->standing.fixed.state = chunk->kind == PEN_CHUNK_PAUSE ? PEN_PAUSED : PEN_RUNNING;
		pen_batch_publish(batch, 0);
		pen_engine_complete(engine, PEN_FROM_COMMITTER, chunk->sqe, 0, batch->id, 0);
		break;
	default:
		rc = batch->over ? 0 : pen_rehearsal_count(batch->rehearsal, chunk);
		if (rc) {
			batch->over = rc;
			pen_fail(&batch->why, rc, 0, "dataset %s cannot be looked into: %s",
				 batch->plan->into, pen_error_text(rc));
			/* Relaxed: a hint; the reader stops reading early. */
			atomic_store_explicit(&batch->stop, true, memory_order_relaxed);
		}
	}
	pen_batch_publish(batch, 0);
	hand_back(engine, chunk);
}

static void take(struct pen_engine *engine, struct pen_chunk *chunk)
{
	struct pen_window *window = &chunk->batch->window;
	bool over = false;

	if (chunk->kind == PEN_CHUNK_BEGIN) {
		begin(engine, chunk);
		return;
	}
	if (chunk->beside) {
		settle(engine, chunk);
		return;
	}
	pen_window_put(window, chunk);
	/* Behind END the batch, and the window with it, may be gone. */
	while (!over && (chunk = pen_window_peek(window))) {
		over = chunk->kind == PEN_CHUNK_END;
		pen_window_pop(window);
		settle(engine, chunk);
	}
}

void *pen_rehearsal_main(void *arg)
{
	struct pen_engine *engine = arg;
	struct pen_fanin *in = &engine->commit_in;
	uint64_t words[TAKE];
	uint32_t n;

	(void)pthread_setname_np(pthread_self(), "pen-rehearse"); /* as the reader's */
	while ((n = pen_fanin_pop_wait(in, words, TAKE, UINT64_MAX)) || !pen_fanin_ended(in)) {
		for (uint32_t i = 0; i < n; i++)
			take(engine, (struct pen_chunk *)(uintptr_t)words[i]);
		if (n)
			pen_io_wake(engine->io);
	}
	return NULL;
}

/* ---- forecasts ----------------------------------------------------------------------------- */

void pen_forecast_fini(struct pen_forecast *forecast)
{
	free(forecast->sources);
	free(forecast->rejects);
	free(forecast->texts);
	forecast->sources = NULL;
	forecast->rejects = NULL;
	forecast->texts = NULL;
	forecast->source_count = forecast->reject_count = 0;
}

const char *pen_fate_name(enum pen_fate fate)
{
	static const char *const names[] = { "", "new", "anew", "replace", "resume", "done", "refused" };

	return (size_t)fate < PEN_COUNT(names) ? names[fate] : "";
}
