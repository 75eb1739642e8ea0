/* SPDX-License-Identifier: MIT */
/*
 * emit - what a program says about its batch, on its way to the ring
 *
 * A call leaves a note and, if the committer was not woken for one since it last looked, wakes it. The committer turns
 * notes into gauges and events: of several that set numbers, the last one's are shown; every other is an event.
 */
#include <errno.h>

#include "engine/tell_private.h"

enum note { NOTE_PROGRESS = 1, NOTE_ERROR, NOTE_STANDARD, NOTE_DOMAIN, NOTE_COMPLETE };

/* Words of a note; behind the two common ones, each kind has its own. */
enum {
	WORD_NOTE,
	WORD_BATCH,
	WORD_A,
	WORD_B,
	WORD_ITEMS = WORD_A,
	WORD_BYTES,
	WORD_TAG,
	WORD_STAGE,
	WORD_LIVE
};
_Static_assert(WORD_LIVE + PEN_LIVE_MAX <= PEN_POST_WORDS, "a note holds every live counter");

/* ---- any thread ---------------------------------------------------------------------------- */

int pen_tell_emit(struct pen_tell *tell, const uint64_t *words, uint32_t n)
{
	if (!tell || tell->dir < 0)
		return 0; /* nobody looks */
	if (!pen_post_leave(&tell->post, words, n)) {
		/* Relaxed: a number to be shown. */
		atomic_fetch_add_explicit(&tell->refusals, 1, memory_order_relaxed);
		return -EAGAIN;
	}
	/* Relaxed: the note has its own order, and a wake that is missed costs a turn's wait. */
	if (!atomic_exchange_explicit(&tell->rung, true, memory_order_relaxed))
		pen_fanin_ring(&tell->engine->commit_in);
	return 0;
}

int pen_emit_progress(struct pen_engine *engine, uint64_t batch, const struct pen_emit *emit)
{
	uint64_t words[PEN_POST_WORDS] = { [WORD_NOTE] = NOTE_PROGRESS, [WORD_BATCH] = batch };

	if (emit->size < sizeof *emit || emit->stage >= PEN_RING_STAGES)
		return -EINVAL;
	words[WORD_ITEMS] = emit->items_total;
	words[WORD_BYTES] = emit->bytes_total;
	words[WORD_TAG] = emit->user_tag;
	words[WORD_STAGE] = emit->stage;
	memcpy(&words[WORD_LIVE], emit->live, sizeof emit->live);
	return pen_tell_emit(engine->tell, words, PEN_POST_WORDS);
}

int pen_emit_error(struct pen_engine *engine, uint64_t batch, uint32_t code)
{
	uint64_t words[] = { NOTE_ERROR, batch, code };

	return pen_tell_emit(engine->tell, words, PEN_COUNT(words));
}

int pen_emit_standard_error(struct pen_engine *engine, uint64_t batch, int code)
{
	uint64_t words[] = { NOTE_STANDARD, batch, (uint64_t) - (int64_t)code };

	if (code >= 0 || !*pen_error_text(code))
		return -EINVAL;
	return pen_tell_emit(engine->tell, words, PEN_COUNT(words));
}

int pen_emit_domain_error(struct pen_engine *engine, uint64_t batch, uint64_t domain, uint32_t code)
{
	uint64_t words[] = { NOTE_DOMAIN, batch, domain, code };

	return pen_tell_emit(engine->tell, words, PEN_COUNT(words));
}

int pen_emit_complete(struct pen_engine *engine, uint64_t batch, uint64_t count)
{
	uint64_t words[] = { NOTE_COMPLETE, batch, count };

	return pen_tell_emit(engine->tell, words, PEN_COUNT(words));
}

/* ---- the committer ------------------------------------------------------------------------- */

static void take_progress(struct pen_told *told, const uint64_t *words)
{
	struct pen_ring_gauge *g = &told->gauge;

	if (words[WORD_ITEMS])
		g->items_total = words[WORD_ITEMS];
	if (words[WORD_BYTES])
		g->bytes_total = words[WORD_BYTES];
	g->user_tag = words[WORD_TAG];
	g->stage = (uint32_t)words[WORD_STAGE];
	memcpy(g->live, &words[WORD_LIVE], sizeof g->live);
	told->owed = true;
}

static void take_note(struct pen_tell *tell, const uint64_t *words)
{
	struct pen_told *told = pen_tell_find(tell, words[WORD_BATCH]);
	struct pen_ring_event e = { .batch_id = words[WORD_BATCH] };

	if (!told)
		return; /* it has ended */
	e.stage = (uint8_t)told->gauge.stage;
	switch ((enum note)words[WORD_NOTE]) {
	case NOTE_PROGRESS:
		take_progress(told, words);
		return;
	case NOTE_COMPLETE:
		told->done = words[WORD_A];
		told->done_wanted = true;
		told->owed = true;
		return;
	case NOTE_ERROR:
		e.type = PEN_RING_EV_ERROR;
		e.code = (uint32_t)words[WORD_A];
		break;
	case NOTE_STANDARD:
		e.type = PEN_RING_EV_ERROR_STANDARD;
		e.code = (uint32_t)words[WORD_A];
		break;
	case NOTE_DOMAIN:
		e.type = PEN_RING_EV_ERROR_DOMAIN;
		e.a = words[WORD_A];
		e.code = (uint32_t)words[WORD_B];
		break;
	}
	pen_tell_publish(tell, told, &e, 1);
}

void pen_tell_collect(struct pen_tell *tell, uint64_t now)
{
	uint64_t words[PEN_POST_WORDS], refusals;

	tell->collected_ns = now;
	/* Before the notes are looked at: whoever leaves one afterwards wakes us again. */
	atomic_store_explicit(&tell->rung, false, memory_order_relaxed);
	for (uint32_t i = 0; i < PEN_POST_CELLS && pen_post_take(&tell->post, words); i++)
		take_note(tell, words);
	refusals = atomic_load_explicit(&tell->refusals, memory_order_relaxed);
	if (refusals != tell->refusals_told) {
		tell->coalesced += refusals - tell->refusals_told;
		tell->refusals_told = refusals;
		pen_tell_everyone(tell, PEN_RING_EV_COALESCED, refusals, 0);
	}
}
