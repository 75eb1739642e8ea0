/* SPDX-License-Identifier: MIT */
#include "engine/foreman.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "engine/budget.h"
#include "engine/due.h"
#include "engine/errand.h"
#include "engine/headroom.h"
#include "ring/assert.h"
#include "ring/bell.h"
#include "ring/error.h"
#include "ring/trace.h"
#include "store/index.h"
#include "store/item.h"

#define PACKS 32u
#define TAKE 64u
#define POLL 256u /* results at once */
#ifdef PEN_PLANT_EARLY_PASS
#define PACK_NS (300 * PEN_NS_PER_MS)
#else
#define PACK_NS (5 * PEN_NS_PER_MS) /* how long results gather */
#endif
#define LEAVE_NS (2 * PEN_NS_PER_S) /* a wait that is worth leaving the engine for */
#define TURN_NS (250 * PEN_NS_PER_MS)
#define ROOM_NS (100 * PEN_NS_PER_MS)

/* A batch at work. */
struct site {
	struct pen_batch *batch; /* NULL: the place is free */
	uint64_t id;
	struct pen_crew *crew;		    /* NULL until there is an item */
	struct pen_chunk *line, **line_end; /* chunks that were begun, in order */
	struct pen_chunk *current;	    /* the one whose entries are given */
	struct pen_chunk *end;
	struct pen_errands errands;
	uint32_t in_flight;
	struct pen_pack *pack;
	bool paused, stopping, cancelled, stuck;
	bool added, watched; /* the crew's descriptor is in the set; and is looked at */
	int code;	     /* negative: what END is to say */
	struct pen_failure why;

	uint64_t retrying; /* items that wait */
	struct pen_due due;

	bool resumed_rows; /* items behind the place may have rows */
	uint64_t last_row;
	struct pen_halt_counts done;
	struct pen_recall *recall; /* NULL: not asked for */
};

struct pen_foreman {
	struct pen_engine *engine;
	struct pen_fanin in;  /* processors, then the reader */
	struct pen_lane back; /* committer -> foreman: packs; low bit: it is durable */
	struct pen_bell bell;
	int epoll;
	struct site sites[PEN_BATCHES_MAX];
	uint64_t room_ns; /* when room is looked for again */
	bool no_room;
	struct pen_pack *packs[PACKS], *free_packs;
	struct pen_task_result results[POLL];
};

/* ---- lanes ----------------------------------------------------------------------------------- */

void pen_foreman_push(struct pen_foreman *f, uint32_t lane, struct pen_chunk *chunk)
{
	uint64_t word = (uint64_t)(uintptr_t)chunk;
	uint32_t pushed = pen_fanin_push(&f->in, lane, &word, 1);

	pen_assert(pushed == 1);
	pen_bell_ring(&f->bell);
}

void pen_foreman_end(struct pen_foreman *f, uint32_t lane)
{
	pen_fanin_close(&f->in, lane);
	pen_bell_ring(&f->bell);
}

void pen_foreman_back(struct pen_foreman *f, struct pen_pack *pack, bool durable)
{
	uint64_t word = (uint64_t)(uintptr_t)pack | durable;
	uint32_t pushed = pen_lane_push(&f->back, &word, 1);

	pen_assert(pushed == 1);
	pen_bell_ring(&f->bell);
}

void pen_foreman_wake(struct pen_foreman *f)
{
	pen_bell_ring(&f->bell);
}

static void commit(struct pen_foreman *f, struct pen_chunk *chunk)
{
	uint64_t word = (uint64_t)(uintptr_t)chunk;
	uint32_t pushed = pen_fanin_push(&f->engine->commit_in, f->engine->processor_count + 1, &word, 1);

	pen_assert(pushed == 1);
}

/* ---- packs ----------------------------------------------------------------------------------- */

static bool open_pack(struct pen_foreman *f, struct site *s)
{
	struct pen_pack *pack = f->free_packs;

	if (s->pack)
		return true;
	if (!pack)
		return false;
	f->free_packs = pack->next;
	pen_pack_reset(pack, s->batch, pen_mono_ns(f->engine->clock));
	s->pack = pack;
	return true;
}

static void send_pack(struct pen_foreman *f, struct site *s)
{
	struct pen_pack *pack = s->pack;

	if (!pack || !pack->count)
		return;
	s->pack = NULL;
	pack->out = true;
	/* What a group's size is judged by. */
	pack->chunk.bytes = pack->used;
	pack->chunk.items = pack->count + pack->deed_count;
	pack->clock_ms = pen_due_now(&s->due);
	commit(f, &pack->chunk);
}

static void take_back(struct pen_foreman *f)
{
	uint64_t words[TAKE];
	uint32_t n;

	while ((n = pen_lane_pop(&f->back, words, TAKE)))
		for (uint32_t i = 0; i < n; i++) {
			struct pen_pack *pack = (struct pen_pack *)(uintptr_t)(words[i] & ~1ull);

			for (uint32_t k = 0; words[i] & 1 && k < PEN_BATCHES_MAX; k++)
				if (f->sites[k].batch && f->sites[k].id == pack->id)
					pen_due_known(&f->sites[k].due, pack->due_ms);
			pack->out = false;
			pack->next = f->free_packs;
			f->free_packs = pack;
		}
}

/* ---- what became of an item ------------------------------------------------------------------ */

/* The earliest next try that the store does not know yet: rows are not read past it. */
static uint64_t unknown_due(const struct pen_foreman *f, const struct site *s)
{
	uint64_t due = s->pack ? s->pack->due_ms : UINT64_MAX;

	for (uint32_t i = 0; i < PACKS; i++)
		if (f->packs[i]->out && f->packs[i]->id == s->id)
			due = pen_min(due, f->packs[i]->due_ms);
	return due;
}

static void count(struct site *s, const struct pen_result *r, const struct pen_task_result *got)
{
	struct pen_pack *pack = s->pack;
	bool waits = r->state == PEN_ITEM_RETRYING;

	pack->tries++;
	pack->retries += waits;
	pack->crashes += got->fate == PEN_TASK_CRASHED;
	pack->cost_ns += got->spent_ns;
	if (waits)
		pack->due_ms = pen_min(pack->due_ms, r->due_ms);
	s->retrying += waits && !r->again;
	s->retrying -= !waits && r->again;
	s->done.succeeded += r->state == PEN_ITEM_COMMITTED || r->state == PEN_ITEM_SKIPPED;
	s->done.failed += r->state == PEN_ITEM_FAILED || r->state == PEN_ITEM_QUARANTINED ||
			  r->state == PEN_ITEM_REJECTED;
}

static void stop(struct pen_foreman *f, struct site *s, int code, bool now)
{
	if (!s->code)
		s->code = code;
	s->stopping = true;
	/* Relaxed: a hint; the reader stops reading early. */
	atomic_store_explicit(&s->batch->stop, true, memory_order_relaxed);
	pen_io_wake(f->engine->io);
	if (now && s->crew && !s->cancelled)
		pen_crew_cancel(s->crew, false);
	s->cancelled |= now;
}

static bool finish_task(struct pen_foreman *f, struct site *s, const struct pen_task_result *got)
{
	struct pen_errand *e = &s->errands.all[got->id];
	const struct pen_plan *plan = s->batch->plan;
	struct pen_pack *pack = s->pack;
	struct pen_result *r = &pack->results[pack->count];
	bool again = !pen_errand_judge(e, plan, got, &s->due, r);

	PEN_TRACE3(item_ended, s->id, r->seq, got->fate);
	s->in_flight--;
	if (!again && pen_errand_pack(e, plan, got, pack, r)) {
		/* No memory for a result: the item has not ended, and the run stops where it can resume. */
		stop(f, s, -PEN_MEMORY, false);
		again = true;
	}
	if (!again) {
		pack->count++;
		count(s, r, got);
	}
	if (e->chunk) {
		e->chunk->left -= !again;
		e->chunk->undecided |= again; /* it is given again by the run that resumes */
	}
	pen_errand_put(&s->errands, e);
	return again;
}

static void check_halt(struct pen_foreman *f, struct site *s)
{
	enum pen_halt_when when = pen_halt_check(&s->batch->plan->job.halt, &s->done);

	if (when != PEN_HALT_NEVER && !s->stopping)
		stop(f, s, -PEN_STOPPED_BY, when == PEN_HALT_NOW);
}

/* What is wrong with the command ends the batch; what is wrong with the machine interrupts it, and it goes on later. */
static int broken_code(int why)
{
	bool commands = why == -PEN_USAGE || why == -PEN_CHILD_MISSING || why == -PEN_CHILD_BROKEN;

	return commands ? -PEN_PROCESSOR_BROKEN : -PEN_CHILD_LAUNCHER;
}

/* Takes what the crew has. True: something came. */
static bool collect(struct pen_foreman *f, struct site *s)
{
	bool any = false;

	while (s->crew && s->in_flight) {
		uint32_t room, n;

		if (!open_pack(f, s))
			break; /* packs come back from the committer */
		room = (uint32_t)pen_min(PEN_PACK_RESULTS - s->pack->count, POLL);
		n = pen_crew_poll(s->crew, f->results, room, 0);
		for (uint32_t i = 0; i < n; i++)
			(void)finish_task(f, s, &f->results[i]);
		if (n)
			check_halt(f, s);
		any |= n != 0;
		if (pen_pack_full(s->pack))
			send_pack(f, s);
		if (n < room)
			break;
	}
	if (s->crew && !s->stopping && pen_crew_failure(s->crew)) {
		s->why = *pen_crew_failure(s->crew);
		stop(f, s, broken_code(s->why.code), false);
		any = true;
	}
	return any;
}

/* ---- giving ---------------------------------------------------------------------------------- */

static bool need_crew(struct pen_foreman *f, struct site *s)
{
	const struct pen_plan *plan = s->batch->plan;
	struct pen_crew_options opt = { .clock = f->engine->clock,
					.log = pen_diary_context(s->batch, PEN_LOG_IN_CREW) };
	struct epoll_event event = { .events = EPOLLIN };
	int rc;

	if (s->crew)
		return true;
	rc = pen_plan_crew(plan, s->id, &s->batch->context, &opt);
	if (!rc)
		rc = pen_crew_open(&s->crew, &opt, &s->why);
	free((void *)(uintptr_t)opt.env);
	if (rc) {
		s->crew = NULL;
		stop(f, s, rc == -ENOMEM || rc == -PEN_MEMORY ? -PEN_MEMORY : broken_code(rc), false);
		return false;
	}
	if (pen_errands_open(&s->errands, pen_crew_room(s->crew))) {
		stop(f, s, -PEN_MEMORY, false);
		return false;
	}
	if (plan->job.cache)
		(void)pen_recall_open(&s->recall, plan->job.worker ? 'w' : 'e',
				      plan->job.line); /* or without */
	event.data.u32 = s->batch->index + 1;
	s->added = s->watched = !epoll_ctl(f->epoll, EPOLL_CTL_ADD, pen_crew_fd(s->crew), &event);
	return true;
}

/*
 * A crew is waited for only while it would be polled: one that has nothing to do, or whose results have no pack to go
 * to, may keep its descriptor readable for as long as it likes.
 */
static void watch(struct pen_foreman *f, struct site *s)
{
	bool want = s->in_flight && (s->pack || f->free_packs);
	struct epoll_event event = { .events = want ? EPOLLIN : 0, .data.u32 = s->batch->index + 1 };

	if (s->added && want != s->watched &&
	    !epoll_ctl(f->epoll, EPOLL_CTL_MOD, pen_crew_fd(s->crew), &event))
		s->watched = want;
}

static void leave_out_ended(struct pen_foreman *f, struct site *s, struct pen_chunk *chunk)
{
	uint8_t bits[PEN_CHUNK_ITEMS / 8];
	int rc;

	if (!s->resumed_rows || chunk->first_item > s->last_row || !chunk->items)
		return;
	rc = pen_item_which(f->engine->store, s->id, chunk->first_item, chunk->items, bits);
	if (rc < 0) {
		stop(f, s, rc, false);
		return;
	}
	pen_chunk_leave_out(chunk, bits);
}

/* The chunk whose entries are given next: true while there is one with entries left. */
static bool next_chunk(struct pen_foreman *f, struct site *s)
{
	struct pen_chunk *chunk;

	while (!s->current || s->current->given == s->current->entry_count) {
		s->current = NULL;
		chunk = pen_window_peek(&s->batch->window);
		if (!chunk || s->stopping)
			return false;
		pen_window_pop(&s->batch->window);
		if (chunk->kind == PEN_CHUNK_END) {
			s->end = chunk;
			return false;
		}
		leave_out_ended(f, s, chunk);
		chunk->given = 0;
		chunk->left = chunk->entry_count;
		chunk->next = NULL;
		*s->line_end = chunk;
		s->line_end = &chunk->next;
		s->current = chunk;
	}
	return true;
}

static bool give(struct site *s, struct pen_errand *e, struct pen_task *task)
{
	task->id = (uint64_t)(e - s->errands.all);
	if (!pen_crew_give(s->crew, task)) {
		PEN_TRACE3(item_given, s->id, task->seq, task->attempt);
		s->in_flight++;
		return true;
	}
	pen_errand_put(&s->errands, e);
	return false;
}

/* The result is there already: the item ends without the crew. False: it is not, or there is no pack to put it in. */
static bool recall(struct pen_foreman *f, struct site *s, struct pen_errand *e, struct pen_task *task)
{
	struct pen_task_result got = { .id = (uint64_t)(e - s->errands.all),
				       .fate = PEN_TASK_DONE,
				       .exit_status = -1 };
	struct pen_cache_entry entry;

	if (!s->recall || !open_pack(f, s))
		return false;
	e->key = pen_recall_key(s->recall, task->item, task->item_len);
	e->keyed = true;
	if (pen_cache_find(f->engine->store, &e->key, &entry)) {
		s->pack->cache_misses++;
		return false;
	}
	e->keyed = false;
	s->pack->cache_hits++;
	got.value = entry.data;
	got.value_len = entry.len;
	s->in_flight++; /* as if it were given */
	(void)finish_task(f, s, &got);
	free((void *)(uintptr_t)entry.data);
	if (pen_pack_full(s->pack))
		send_pack(f, s);
	return true;
}

static bool give_entry(struct pen_foreman *f, struct site *s)
{
	struct pen_errand *e;
	struct pen_task task;

	if (!next_chunk(f, s) || s->stopping || !need_crew(f, s) || !pen_crew_room(s->crew))
		return false;
	if (!pen_budget_take(s->batch->budget, 1))
		return false;
	e = pen_errand_get(&s->errands);
	if (!e) {
		pen_budget_back(s->batch->budget, 1);
		return false;
	}
	/* Before it may end: a chunk's last entry lets it go. */
	pen_errand_from_entry(e, s->batch->plan, s->current, s->current->given++, &task);
	if (recall(f, s, e, &task)) {
		pen_budget_back(s->batch->budget, 1); /* nobody works on it */
		return true;
	}
	if (give(s, e, &task))
		return true;
	pen_budget_back(s->batch->budget, 1);
	s->current->given--;
	return false;
}

static bool give_row(struct pen_foreman *f, struct site *s)
{
	struct pen_errand *e;
	struct pen_task task;
	uint64_t item;
	int rc = pen_due_find(&s->due, unknown_due(f, s), &item);

	if (rc < 0)
		stop(f, s, rc, false);
	if (rc <= 0 || s->stopping || !need_crew(f, s) || !pen_crew_room(s->crew))
		return false;
	if (!pen_budget_take(s->batch->budget, 1))
		return false;
	e = pen_errand_get(&s->errands);
	if (!e) {
		pen_budget_back(s->batch->budget, 1);
		return false;
	}
	rc = pen_errand_from_row(e, s->batch->plan, f->engine->store, s->id, item, &task);
	if (rc) {
		pen_errand_put(&s->errands, e);
		stop(f, s, rc, false);
		return false;
	}
	if (!give(s, e, &task)) {
		pen_budget_back(s->batch->budget, 1);
		return false;
	}
	pen_due_take(&s->due);
	return true;
}

/* ---- passing on ------------------------------------------------------------------------------ */

static void pass(struct pen_foreman *f, struct site *s, struct pen_chunk *chunk)
{
	/* The place stays before the first chunk with an item that has not ended, whatever comes behind it. */
	s->stuck |= chunk->undecided;
	chunk->undecided = s->stuck;
	commit(f, chunk);
}

/* Chunks whose items have all ended, in order. */
static bool pass_ended(struct pen_foreman *f, struct site *s)
{
	bool any = false;

	while (s->line && s->line->given == s->line->entry_count && !s->line->left) {
		struct pen_chunk *chunk = s->line;

#ifndef PEN_PLANT_EARLY_PASS /* the torture of jobs leaves this out, and expects to be told */
		send_pack(f, s);
		if (s->pack && s->pack->count)
			return any;
#endif
		s->line = chunk->next;
		if (!s->line)
			s->line_end = &s->line;
		if (s->current == chunk)
			s->current = NULL;
		pass(f, s, chunk);
		any = true;
	}
	return any;
}

static void free_site(struct pen_foreman *f, struct site *s)
{
	if (s->crew) {
		if (s->added)
			(void)epoll_ctl(f->epoll, EPOLL_CTL_DEL, pen_crew_fd(s->crew), NULL);
		pen_crew_close(s->crew);
	}
	if (s->pack) {
		s->pack->next = f->free_packs;
		f->free_packs = s->pack;
	}
	pen_recall_close(s->recall);
	pen_errands_close(&s->errands);
	*s = (struct site){ .batch = NULL };
}

static void pass_end(struct pen_foreman *f, struct site *s, int code)
{
	struct pen_chunk *end = s->end;

	send_pack(f, s);
	if (!end->res)
		end->res = code;
	if (s->why.code && !s->batch->why.code && end->res == s->code)
		pen_engine_record(f->engine, s->id, &s->why);
	s->batch->gone_by = true;
	free_site(f, s);
	commit(f, end);
}

/* Nothing is given any more: what is here goes as it is, once nothing is in flight. */
static bool wind_up(struct pen_foreman *f, struct site *s)
{
	struct pen_chunk *chunk;
	bool any = false;

	if (s->in_flight)
		return false;
	any = pass_ended(f, s);
	send_pack(f, s);
	while ((chunk = s->line)) {
		s->line = chunk->next;
		chunk->undecided = true;
		pass(f, s, chunk);
		any = true;
	}
	s->line_end = &s->line;
	s->current = NULL;
	while (!s->end && (chunk = pen_window_peek(&s->batch->window))) {
		pen_window_pop(&s->batch->window);
		any = true;
		if (chunk->kind == PEN_CHUNK_END) {
			s->end = chunk;
		} else {
			chunk->undecided = true;
			pass(f, s, chunk);
		}
	}
	if (s->end)
		pass_end(f, s, s->code);
	return any;
}

/* ---- a turn ---------------------------------------------------------------------------------- */

static void look_around(struct pen_foreman *f, struct site *s)
{
	/* Relaxed, all four: they rise once, and nothing is read through them. */
	int cancel = atomic_load_explicit(&s->batch->cancel, memory_order_relaxed);

	if (cancel && !s->cancelled)
		stop(f, s, cancel, true);
	if (s->stopping)
		return;
	if (s->end && s->end->res)
		stop(f, s, s->end->res, s->end->res == -PEN_CANCELLED_BY);
	else if (atomic_load_explicit(&f->engine->fatal, memory_order_relaxed))
		stop(f, s, -PEN_DISK_FAILED, true);
	else if (atomic_load_explicit(&f->engine->drain, memory_order_relaxed))
		stop(f, s, -PEN_INTERRUPTED_BY, false);
	else if (atomic_load_explicit(&s->batch->stop, memory_order_relaxed))
		stop(f, s, -PEN_STOPPED_BY, false);
}

/* Is there enough to start something more? Asked a few times a second at most, and said when it changes. */
static bool has_room(struct pen_foreman *f)
{
	const struct pen_min_free *room = &f->engine->room;
	uint64_t now = pen_mono_ns(f->engine->clock);
	enum pen_headroom_verdict verdict;
	struct pen_headroom headroom;
	char text[PEN_HOLDUP_TEXT];

	if ((!room->memory && !room->disk) || now < f->room_ns)
		return !f->no_room;
	f->room_ns = now + ROOM_NS;
	pen_headroom_read("", f->engine->store, &headroom);
	verdict = pen_headroom_judge(&headroom, room, text, sizeof text);
	if (verdict != PEN_HEADROOM_ENOUGH && !f->no_room)
		pen_engine_notice(f->engine, -PEN_NO_ROOM, "no further items are begun: %s", text);
	else if (verdict == PEN_HEADROOM_ENOUGH && f->no_room)
		pen_engine_notice(f->engine, 0, "there is room again: items are begun");
	f->no_room = verdict != PEN_HEADROOM_ENOUGH;
	return !f->no_room;
}

static bool turn(struct pen_foreman *f, struct site *s)
{
	bool any = collect(f, s);
	uint64_t wait;

	look_around(f, s);
	if (!s->stopping && !s->paused && has_room(f)) {
		while (give_row(f, s))
			any = true;
		while (!s->stopping && give_entry(f, s))
			any = true;
	}
	any |= pass_ended(f, s);
	/* A crew has room where results were at its next poll: only a turn that did nothing shows that none come. */
	if (s->pack && s->pack->count &&
	    ((!s->in_flight && !any) || pen_mono_ns(f->engine->clock) - s->pack->began_ns >= PACK_NS))
		send_pack(f, s);
	if (s->stopping)
		return wind_up(f, s) || any;
	if (s->paused)
		(void)next_chunk(f, s); /* is its end next? */
	if (!s->end || s->line || s->in_flight)
		return any;
	if (!s->retrying) {
		pass_end(f, s, 0);
		return true;
	}
	if (s->paused)
		return any;
	wait = pen_due_in_ms(&s->due);
	/* Others go by the date: where that was set back, it waits here. */
	if (s->batch->plan->job.may_leave && wait != UINT64_MAX && wait > LEAVE_NS / PEN_NS_PER_MS &&
	    pen_due_ahead_ms(&s->due) < PEN_DUE_BACK_MS) {
		pass_end(f, s, -PEN_WAITS);
		return true;
	}
	return any;
}

static void begin(struct pen_foreman *f, struct site *s, struct pen_batch *batch)
{
	const struct pen_fmt_counters *n = &batch->standing.fixed.applied;

	*s = (struct site){
		.batch = batch,
		.id = batch->id,
		.retrying = batch->job.retrying,
		.done = { .succeeded = n->committed + n->skipped,
			  .failed = n->failed + n->rejected,
			  .total = batch->plan->items_total },
	};
	pen_due_begin(&s->due, f->engine->store, f->engine->clock, batch->id, batch->job.retrying,
		      batch->job.clock_ms);
	s->line_end = &s->line;
	s->resumed_rows = batch->resumed && !pen_item_last(f->engine->store, batch->id, &s->last_row);
}

static void take(struct pen_foreman *f, struct pen_chunk *chunk)
{
	struct site *s = &f->sites[chunk->batch->index];

	if (chunk->batch->gone_by) {
		/* A note that set out before the reader knew: it must not bring the batch back. */
		commit(f, chunk);
		return;
	}
	if (!s->batch)
		begin(f, s, chunk->batch);
	switch (chunk->kind) {
	case PEN_CHUNK_PAUSE:
	case PEN_CHUNK_RESUME:
		/* Beside the order: it is about what is given from now on. */
		s->paused = chunk->kind == PEN_CHUNK_PAUSE;
		commit(f, chunk);
		break;
	default:
		pen_window_put(&s->batch->window, chunk);
	}
	/* What the reader says of the end is heard at once, also when chunks before it are not begun yet. */
	if (chunk->kind == PEN_CHUNK_END && chunk->res)
		stop(f, s, chunk->res, chunk->res == -PEN_CANCELLED_BY);
}

static uint64_t patience(struct pen_foreman *f)
{
	uint64_t wait = TURN_NS, mono = pen_mono_ns(f->engine->clock);

	for (uint32_t i = 0; i < PEN_BATCHES_MAX; i++) {
		struct site *s = &f->sites[i];

		if (!s->batch)
			continue;
		if (s->pack && s->pack->count)
			wait = pen_min(wait, s->pack->began_ns + PACK_NS > mono
						     ? s->pack->began_ns + PACK_NS - mono
						     : 0);
		if (!s->paused && !s->stopping)
			wait = pen_min(wait, pen_budget_wait_ns(s->batch->budget));
		/* A row that is due and finds no room waits for the crew. */
		if (!s->paused && !s->stopping && !pen_due_ready(&s->due))
			wait = pen_min(wait, pen_min(pen_due_in_ms(&s->due), UINT32_MAX) * PEN_NS_PER_MS);
	}
	return wait;
}

static bool work(struct pen_foreman *f)
{
	uint64_t words[TAKE];
	bool any = false;
	uint32_t n;

	take_back(f);
	while ((n = pen_fanin_pop(&f->in, words, TAKE))) {
		any = true;
		for (uint32_t i = 0; i < n; i++)
			take(f, (struct pen_chunk *)(uintptr_t)words[i]);
	}
	for (uint32_t i = 0; i < PEN_BATCHES_MAX; i++)
		if (f->sites[i].batch)
			any |= turn(f, &f->sites[i]);
	return any;
}

static bool idle(const struct pen_foreman *f)
{
	for (uint32_t i = 0; i < PEN_BATCHES_MAX; i++)
		if (f->sites[i].batch)
			return false;
	return true;
}

void *pen_foreman_main(void *arg)
{
	struct pen_foreman *f = arg;
	struct epoll_event events[PEN_BATCHES_MAX + 1];

	(void)pthread_setname_np(pthread_self(), "pen-foreman"); /* for who looks on */
	for (;;) {
		uint64_t wait;

		if (work(f))
			continue;
		if (idle(f) && pen_fanin_ended(&f->in))
			break;
		wait = idle(f) ? UINT64_MAX : patience(f);
		for (uint32_t i = 0; i < PEN_BATCHES_MAX; i++)
			if (f->sites[i].batch)
				watch(f, &f->sites[i]);
		if (!wait || !pen_bell_arm(&f->bell))
			continue;
		(void)epoll_wait(f->epoll, events, PEN_COUNT(events),
				 wait == UINT64_MAX ? -1 : (int)(wait / PEN_NS_PER_MS + 1));
		pen_bell_disarm(&f->bell);
	}
	pen_fanin_close(&f->engine->commit_in, f->engine->processor_count + 1);
	return NULL;
}

/* ---- life ------------------------------------------------------------------------------------ */

int pen_foreman_open(struct pen_engine *engine, struct pen_foreman **ret)
{
	struct pen_foreman *f = aligned_alloc(PEN_LINE_PAIR, pen_round_up(sizeof *f, PEN_LINE_PAIR));
	struct epoll_event event = { .events = EPOLLIN };
	uint32_t chunks = pen_pow2_from(engine->arena.count + 4 * PEN_BATCHES_MAX);
	int rc;

	if (!f)
		return -ENOMEM;
	memset(f, 0, sizeof *f);
	f->engine = engine;
	f->bell.fd = -1;
	f->epoll = epoll_create1(EPOLL_CLOEXEC);
	rc = f->epoll < 0 ? -errno : pen_bell_open(&f->bell);
	if (!rc && epoll_ctl(f->epoll, EPOLL_CTL_ADD, pen_bell_fd(&f->bell), &event))
		rc = -errno;
	if (!rc)
		rc = pen_fanin_init(&f->in, engine->processor_count + 1, chunks);
	if (!rc)
		rc = pen_lane_init(&f->back, pen_pow2_from(PACKS), 0);
	for (uint32_t i = 0; i < PACKS && !rc; i++) {
		rc = pen_pack_open(&f->packs[i]);
		if (!rc) {
			f->packs[i]->next = f->free_packs;
			f->free_packs = f->packs[i];
		}
	}
	if (rc) {
		pen_foreman_close(f);
		return rc;
	}
	*ret = f;
	return 0;
}

void pen_foreman_close(struct pen_foreman *f)
{
	if (!f)
		return;
	for (uint32_t i = 0; i < PACKS; i++)
		pen_pack_close(f->packs[i]);
	pen_lane_fini(&f->back);
	pen_fanin_fini(&f->in);
	pen_bell_close(&f->bell);
	if (f->epoll >= 0)
		(void)close(f->epoll);
	free(f);
}
