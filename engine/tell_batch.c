/* SPDX-License-Identifier: MIT */
/*
 * tell - a batch in its owner's ring
 *
 * Every change goes the same way: the gauge is filled from what counts, then written together with the number of
 * events that follow it, then the events are. A reader that sees an event therefore finds it in the gauge.
 */
#include <stdio.h>

#include "engine/tell_private.h"

#define PROGRESS_NS (50 * PEN_NS_PER_MS)
#define TELLS (PEN_MINUTES + 8) /* events of one group: the minutes, and what is said besides */

struct saying {
	struct pen_told *told;
	struct pen_ring_event events[TELLS];
	uint32_t count;
};

/* ---- numbers ------------------------------------------------------------------------------- */

static bool rests(uint32_t state)
{
	return state >= PEN_COMPLETED;
}

static void fill(struct pen_tell *tell, const struct pen_batch *batch, struct pen_told *told)
{
	const struct pen_fmt_state *s = &batch->standing.fixed;
	const struct pen_fmt_counters *n = &s->counted;
	struct pen_ring_gauge *g = &told->gauge;
	uint64_t now = pen_mono_ns(tell->engine->clock);

	g->batch_id = batch->id;
	g->state = s->state;
	g->attempt = batch->resumed ? 2 : 1;
	g->t_queued_ms = batch->created_ms;
	g->t_started_ms = s->started_ms;
	g->t_updated_ms = s->updated_ms;
	g->bytes_total = batch->plan->bytes_total;
	g->bytes_done = batch->plan->puts ? n->bytes : batch->passed_counted;
	if (batch->plan->items_total || !batch->plan->puts) /* else a program may have said */
		g->items_total = batch->plan->items_total;
	/* Items without bytes (an empty file, a flaw) may come behind the last byte: whole is what is completed. */
	if (g->state != PEN_COMPLETED && g->bytes_total && g->bytes_done >= g->bytes_total)
		g->bytes_done = g->bytes_total - 1;
	g->committed = n->committed;
	g->rejected = n->rejected;
	g->failed = n->failed;
	g->skipped = n->skipped;
	g->duplicates = n->duplicates;
	g->commit_lsn = tell->commit_lsn;
	g->err = (uint32_t)-s->code;
	pen_pace_add(&told->pace, now, n->items, g->bytes_done);
}

void pen_tell_publish(struct pen_tell *tell, struct pen_told *told, struct pen_ring_event *events, uint32_t n)
{
	struct pen_ring_gauge *g = &told->gauge;

	g->rate_milli = rests(g->state) ? 0 : pen_pace_rate_milli(&told->pace);
	g->eta_ms = rests(g->state) ? 0
		    : g->state != PEN_RUNNING || told->stalled_ns
			    ? PEN_RING_UNKNOWN
			    : pen_pace_left_ms(&told->pace, g->items_total, g->bytes_total);
	for (uint32_t i = 0; i < n; i++)
		if (events[i].batch_id == g->batch_id)
			events[i].gauge_idx = told->slot;
	told->shown_ns = pen_mono_ns(tell->engine->clock);
	pen_cast_gauge(told->ring->cast, told->slot, g, n);
	if (!n)
		return;
	pen_cast_events(told->ring->cast, events, n);
	pen_tell_hot(tell, told->ring);
}

struct pen_told *pen_tell_find(struct pen_tell *tell, uint64_t batch)
{
	for (uint32_t i = 0; i < PEN_BATCHES_MAX; i++)
		if (tell->told[i].ring && tell->told[i].gauge.batch_id == batch)
			return &tell->told[i];
	return NULL;
}

/* ---- events -------------------------------------------------------------------------------- */

static struct pen_ring_event *say(struct saying *s, uint16_t type, uint64_t a, uint64_t b)
{
	struct pen_ring_event *e = &s->events[s->count < TELLS ? s->count++ : TELLS - 1];

	*e = (struct pen_ring_event){
		.type = type,
		.stage = (uint8_t)s->told->gauge.stage,
		.batch_id = s->told->gauge.batch_id,
		.gauge_idx = PEN_RING_NONE,
		.a = a,
		.b = b,
		.code = s->told->gauge.err,
	};
	return e;
}

/* An event of the journal, with what counts instead of what was applied. */
static void say_durable(struct saying *s, const struct pen_event *event)
{
	const struct pen_ring_gauge *g = &s->told->gauge;
	struct pen_ring_event *e = say(s, event->type, event->a, event->b);

	e->batch_id = event->batch;
	e->c = event->seq;
	e->code = (uint32_t)-event->code;
	if (event->batch != g->batch_id || event->type == PEN_EVENT_QUEUED ||
	    event->type == PEN_EVENT_STARTED)
		return;
	e->a = g->bytes_done;
	e->b = g->committed;
}

/* Numbers that grew, as often as progress is told. */
static void say_progress(struct pen_tell *tell, struct saying *s, bool durable)
{
	struct pen_told *told = s->told;
	const struct pen_ring_gauge *g = &told->gauge;
	uint64_t now = pen_mono_ns(tell->engine->clock);

	if (!durable && now - told->told_ns < PROGRESS_NS) {
		tell->coalesced++;
		told->owed = true;
		return;
	}
	told->told_ns = now;
	told->owed = false;
	if (!durable)
		say(s, PEN_RING_EV_PROGRESS, g->bytes_done, g->committed);
	if (g->skipped != told->skipped)
		say(s, PEN_RING_EV_SKIPPED, g->skipped, 0);
	if (g->duplicates != told->duplicates)
		say(s, PEN_RING_EV_DEDUPLICATED, g->duplicates, 0);
	told->skipped = g->skipped;
	told->duplicates = g->duplicates;
}

/* A program is done with so many items, once all of them count. */
static void say_done(struct saying *s)
{
	struct pen_told *told = s->told;
	const struct pen_ring_gauge *g = &told->gauge;
	uint64_t items = g->committed + g->rejected + g->failed + g->skipped;

	if (!told->done_wanted || (items < told->done && told->gauge.state != PEN_COMPLETED))
		return;
	told->done_wanted = false;
	say(s, PEN_RING_EV_DONE, told->done, 0);
}

static void say_all(struct pen_tell *tell, struct saying *s, const struct pen_minutes *minutes)
{
	bool durable = false, last = rests(s->told->gauge.state);

	for (uint32_t i = 0; i < minutes->count; i++)
		durable |= minutes->events[i].type == PEN_EVENT_PROGRESS;
	say_progress(tell, s, durable || last);
	say_done(s);
	for (uint32_t i = 0; i < minutes->count; i++)
		say_durable(s, &minutes->events[i]);
	if ((durable || last) && tell->durable_lsn == tell->commit_lsn)
		say(s, PEN_RING_EV_CHECKPOINT, tell->durable_lsn, 0);
	/* A state is the last word of its group. */
	if (last && minutes->count && s->events[s->count - 1].type == PEN_RING_EV_CHECKPOINT) {
		struct pen_ring_event checkpoint = s->events[s->count - 1];

		s->events[s->count - 1] = s->events[s->count - 2];
		s->events[s->count - 2] = checkpoint;
	}
}

/* ---- life ---------------------------------------------------------------------------------- */

static void name_it(const struct pen_batch *batch, struct pen_ring_names *ret)
{
	const struct pen_plan *plan = batch->plan;
	const char *path = plan->source_count ? plan->sources[0].path : "";
	const char *slash = strrchr(path, '/');

	memset(ret, 0, sizeof *ret);
	if (plan->puts)
		snprintf(ret->label, sizeof ret->label, "records into %.40s", plan->into);
	else if (plan->source_count > 1)
		snprintf(ret->label, sizeof ret->label, "%u sources", plan->source_count);
	else
		snprintf(ret->label, sizeof ret->label, "%.55s", slash && slash[1] ? slash + 1 : path);
	memcpy(ret->live, plan->live, sizeof ret->live);
}

static void committed(struct pen_tell *tell, const struct pen_batch *batch, const struct pen_minutes *minutes)
{
	tell->commit_lsn = minutes->txn;
	if (batch->plan->durability == PEN_DURABLE_COMMIT || rests(batch->standing.fixed.state))
		tell->durable_lsn = minutes->txn;
}

static void begin(struct pen_tell *tell, struct pen_batch *batch, const struct pen_minutes *minutes)
{
	struct pen_tell_ring *ring = pen_tell_ring_of(tell, batch->plan->owner);
	struct pen_told *told;
	struct pen_ring_names names;
	struct saying s;

	if (!ring)
		return;
	told = &tell->told[batch->index];
	*told = (struct pen_told){ .ring = ring };
	name_it(batch, &names);
	told->slot = pen_cast_get(ring->cast, batch->id, &names);
	if (told->slot == PEN_RING_NONE) {
		told->ring = NULL;
		return;
	}
	ring->batches++;
	ring->last_batch = batch->id;
	tell->commit_lsn = tell->durable_lsn = minutes->txn; /* admissions are synced */
	pen_pace_begin(&told->pace, pen_mono_ns(tell->engine->clock), batch->standing.fixed.counted.items,
		       batch->passed_counted);
	told->gauge.stage = PEN_RING_READ;
	fill(tell, batch, told);
	told->skipped = told->gauge.skipped;
	told->duplicates = told->gauge.duplicates;
	s = (struct saying){ .told = told };
	for (uint32_t i = 0; i < minutes->count; i++)
		say_durable(&s, &minutes->events[i]);
	pen_tell_publish(tell, told, s.events, s.count);
}

void pen_tell_begin(struct pen_tell *tell, struct pen_batch *batch, const struct pen_minutes *minutes)
{
	uint64_t from;

	if (!tell)
		return;
	from = pen_tell_work(tell);
	begin(tell, batch, minutes);
	pen_tell_worked(tell, from);
}

void pen_tell_refused(struct pen_tell *tell, const struct pen_batch *batch, int code)
{
	struct pen_tell_ring *ring = tell ? pen_tell_ring_of(tell, batch->plan->owner) : NULL;
	struct pen_ring_event e = {
		.type = PEN_RING_EV_FAILED,
		.batch_id = batch->id,
		.gauge_idx = PEN_RING_NONE,
		.code = (uint32_t)-code,
	};

	if (ring)
		pen_cast_events(ring->cast, &e, 1);
}

static struct pen_told *told_of(struct pen_tell *tell, const struct pen_batch *batch)
{
	struct pen_told *told = tell ? &tell->told[batch->index] : NULL;

	return told && told->ring ? told : NULL;
}

void pen_tell_group(struct pen_tell *tell, struct pen_batch *batch, const struct pen_minutes *minutes)
{
	struct pen_told *told = told_of(tell, batch);
	struct saying s = { .told = told };
	uint64_t from;

	if (!told)
		return;
	from = pen_tell_work(tell);
	committed(tell, batch, minutes);
	fill(tell, batch, told);
	if (!batch->plan->puts)
		told->gauge.stage = pen_tell_bottleneck(tell);
	if (told->stalled_ns) {
		uint64_t us = (pen_mono_ns(tell->engine->clock) - told->stalled_ns) / 1000;
		struct pen_ring_event *e = say(&s, PEN_RING_EV_STALL, us, 0);

		e->stage = PEN_RING_COMMIT;
		told->stalled_ns = 0;
	}
	say_all(tell, &s, minutes);
	pen_tell_publish(tell, told, s.events, s.count);
	pen_tell_worked(tell, from);
}

void pen_tell_synced(struct pen_tell *tell, struct pen_batch *const *batches)
{
	uint64_t from;

	if (!tell)
		return;
	from = pen_tell_work(tell);
	tell->durable_lsn = tell->commit_lsn;
	for (uint32_t i = 0; i < PEN_BATCHES_MAX; i++) {
		struct pen_told *told = batches[i] ? told_of(tell, batches[i]) : NULL;
		struct saying s = { .told = told };

		if (!told || batches[i]->plan->durability == PEN_DURABLE_COMMIT)
			continue;
		fill(tell, batches[i], told);
		say_progress(tell, &s, false);
		say_done(&s);
		say(&s, PEN_RING_EV_CHECKPOINT, tell->durable_lsn, 0);
		pen_tell_publish(tell, told, s.events, s.count);
	}
	pen_tell_worked(tell, from);
}

void pen_tell_stall(struct pen_tell *tell, struct pen_batch *batch, int code)
{
	struct pen_told *told = told_of(tell, batch);
	struct saying s = { .told = told };
	uint64_t now, from;

	if (!told)
		return;
	from = pen_tell_work(tell);
	now = pen_mono_ns(tell->engine->clock);
	fill(tell, batch, told);
	told->gauge.err = (uint32_t)-code;
	told->gauge.stage = PEN_RING_COMMIT;
	say(&s, told->stalled_ns ? PEN_RING_EV_STALL : PEN_RING_EV_STALLED,
	    told->stalled_ns ? (now - told->stalled_ns) / 1000 : 0, 0);
	if (!told->stalled_ns)
		told->stalled_ns = now;
	pen_tell_publish(tell, told, s.events, s.count);
	pen_tell_worked(tell, from);
}

void pen_tell_limited(struct pen_tell *tell, struct pen_batch *batch, int code, uint64_t wait_ms)
{
	struct pen_told *told = told_of(tell, batch);
	struct saying s = { .told = told };
	uint64_t from;

	if (!told)
		return;
	from = pen_tell_work(tell);
	fill(tell, batch, told);
	if (code) {
		told->gauge.err = (uint32_t)-code;
		say(&s, PEN_RING_EV_RATE_LIMITED, wait_ms, 0);
	}
	pen_tell_publish(tell, told, s.events, s.count);
	pen_tell_worked(tell, from);
}

static void leave(struct pen_tell *tell, struct pen_told *told, int code)
{
	struct saying s = { .told = told };

	/* Its end was not committed: a later run goes on with it. */
	if (!rests(told->gauge.state)) {
		told->gauge.state = PEN_INTERRUPTED;
		told->gauge.err = (uint32_t)-code;
		told->stalled_ns = 0;
		say(&s, PEN_RING_EV_INTERRUPTED, told->gauge.bytes_done, told->gauge.committed);
		pen_tell_publish(tell, told, s.events, s.count);
	}
	pen_cast_put(told->ring->cast, told->slot);
	told->ring->batches--;
	told->ring->used_ns = pen_mono_ns(tell->engine->clock);
	told->ring = NULL;
}

void pen_tell_end(struct pen_tell *tell, struct pen_batch *batch, int code)
{
	struct pen_told *told = told_of(tell, batch);
	uint64_t from;

	if (!told)
		return;
	from = pen_tell_work(tell);
	leave(tell, told, code);
	pen_tell_worked(tell, from);
}

void pen_tell_leave_all(struct pen_tell *tell, int code)
{
	for (uint32_t i = 0; i < PEN_BATCHES_MAX; i++)
		if (tell->told[i].ring)
			leave(tell, &tell->told[i], code);
}

void pen_tell_refresh(struct pen_tell *tell, uint64_t now)
{
	for (uint32_t i = 0; i < PEN_BATCHES_MAX; i++) {
		struct pen_told *told = &tell->told[i];
		struct saying s = { .told = told };

		if (!told->ring || rests(told->gauge.state))
			continue;
		if (told->owed && now - told->told_ns >= PROGRESS_NS)
			say_progress(tell, &s, false);
		say_done(&s);
		if (!s.count && now - told->shown_ns < PEN_TELL_SHOW_NS)
			continue;
		pen_pace_add(&told->pace, now, told->pace.last.items, told->pace.last.bytes);
		pen_tell_publish(tell, told, s.events, s.count);
	}
}
