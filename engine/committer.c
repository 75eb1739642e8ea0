/* SPDX-License-Identifier: MIT */
/*
 * committer - the only thread that writes the store
 *
 * Happy path, in time order:
 *   - chunks come in any order; each batch's window puts them back into the order they were cut in;
 *   - what is contiguous is ready; ready chunks of one batch gather into a group until it is large or old
 *   enough (a group
 *     holds no lock while it gathers);
 *   - the group is applied and committed in one transaction with the batch's counters and checkpoint;
 *   - the new standing is published, puts are completed, tags go back to the reader, waiting writers get
 *   their turn.
 *
 * What can go wrong: the disk or map is full: the transaction is gone, its chunks are still here, and it is
 * tried again every second until there is space or the engine drains (then the batch rests where its last
 * commit left it). A failed sync or meta page: nothing more is written by this process (engine->fatal). A
 * threshold is passed: what lies behind it is dropped in order until the batch's END arrives.
 *
 * A batch in bulk mode (bulk.h) has steps instead of groups, one transaction each, in turn with the groups of others:
 * what is in memory is staged, runs are merged, and its END is committed as the last.
 *
 * How large a group: it may hold the write lock for its budget (100 ms where keys come in order, 500 ms
 * where they do not, because one commit of scattered pages takes that long), and its dirty pages stay below
 * 96 MiB. Both targets follow the last commits.
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "engine/admit.h"
#include "engine/budget.h"
#include "engine/bulk.h"
#include "engine/diary.h"
#include "engine/foreman.h"
#include "engine/gate.h"
#include "engine/group.h"
#include "engine/tell.h"
#include "ring/assert.h"
#include "ring/error.h"
#include "ring/trace.h"
#include "store/control.h"
#include "store/flagset.h"
#include "store/journal.h"
#include "store/lock.h"
#include "store/turn.h"

#define DIRTY_PAGES_MAX (96ull << 20 >> 12)
#define GROUP_BYTES_MAX (16ull << 20)
#define GROUP_BYTES_MIN (256ull << 10)
#define AGE_NS (25 * PEN_NS_PER_MS)
#define BUDGET_ORDERED_MS 100u
#define BUDGET_RANDOM_MS 500u
#define RETRY_NS PEN_NS_PER_S
#define GROUP_SYNC_NS PEN_NS_PER_S
#define RELAXED_SYNC_NS (5 * PEN_NS_PER_S)
#define YIELD_NS (200 * PEN_NS_PER_MS)
#define PROGRESS_NS PEN_NS_PER_S
#define TAKE 64u

/* What the transaction in hand is made of. */
enum work {
	WORK_GROUP,	/* chunks */
	WORK_STAGE,	/* bulk mode: a run */
	WORK_PUT,	/* all of a small batch */
	WORK_MERGE,	/* a part of the merge */
	WORK_END_MERGE, /* the runs are not needed any more */
};

struct committer {
	struct pen_engine *engine;
	enum work work;
	uint32_t bulks, next_bulk;
	struct pen_group *group;
	struct pen_batch *batches[PEN_BATCHES_MAX];
	struct pen_chunk **ready; /* of the batch `from`, in order */
	uint32_t ready_count, ready_max;
	uint64_t ready_bytes, ready_items, ready_since;
	bool ready_now; /* something in it does not wait */
	struct pen_batch *from;
	uint32_t next_batch; /* to look at first, for fairness */
	bool dead;	     /* the disk failed */
	struct pen_tell *tell;
	struct pen_minutes minutes; /* of the last transaction */
	uint64_t seen_txn;	    /* the store's newest one when wishes were looked for */
	uint64_t seen_flags;	    /* the newest change of a flag that was gone by; UINT64_MAX: none */

	uint64_t bytes_target, items_target;
	bool ordered; /* the last group appended */
	uint64_t synced_ns, journal_ns;
	uint64_t inner_ns; /* lock held by the group in hand */
};

/* ---- giving back --------------------------------------------------------------------------- */

static void hand_back(struct committer *c, struct pen_chunk *chunk)
{
	uint64_t word = (uint64_t)(uintptr_t)chunk;
	uint32_t pushed;

	if (chunk->kind == PEN_CHUNK_RESULTS) {
		pen_meter_pass(&c->engine->commit_meter, chunk->items, 0);
		pen_foreman_back(c->engine->foreman, (struct pen_pack *)(uintptr_t)chunk, chunk->res == 0);
		return;
	}

	/* A job's items passed with their results. */
	if (chunk->kind <= PEN_CHUNK_PUTS)
		pen_meter_pass(&c->engine->commit_meter,
			       pen_plan_is_job(chunk->batch->plan) ? chunk->flaw_count : chunk->items,
			       chunk->bytes);
	pushed = pen_lane_push(&c->engine->returned, &word, 1);
	pen_assert(pushed == 1);
}

/* Completes the puts of a chunk. code 0: as they ended. */
static void complete_puts(struct committer *c, const struct pen_chunk *chunk, int code)
{
	const struct pen_batch *batch = chunk->batch;

	if (chunk->kind != PEN_CHUNK_PUTS)
		return;
	for (uint32_t i = 0; i < chunk->entry_count; i++) {
		const struct pen_entry *e = &chunk->table[i];
		int res = code ? code : e->flags & PEN_ENTRY_REFUSED ? -PEN_KEY_TWICE : 0;

		pen_engine_complete(c->engine, PEN_FROM_COMMITTER, e->line, res, batch->id,
				    chunk->first_item + e->item);
	}
	for (uint32_t i = 0; i < chunk->flaw_count; i++) {
		const struct pen_flaw *flaw = pen_chunk_flaw(chunk, i);

		pen_engine_complete(c->engine, PEN_FROM_COMMITTER, flaw->line, code ? code : -(int)flaw->code,
				    batch->id, chunk->first_item + flaw->item);
	}
}

static void complete_note(struct committer *c, const struct pen_chunk *note, int code)
{
	if (note->sqe == UINT32_MAX)
		return; /* a wish from elsewhere: nobody waits for an answer */
	pen_engine_complete(c->engine, PEN_FROM_COMMITTER, note->sqe, code, note->batch->id, 0);
}

/* Notes that were overtaken by the end: there is nothing any more that could rest. */
static void answer_late(struct committer *c, struct pen_batch *batch)
{
	struct pen_chunk *chunk;

	while ((chunk = batch->line)) {
		pen_assert(chunk->kind == PEN_CHUNK_PAUSE || chunk->kind == PEN_CHUNK_RESUME);
		batch->line = chunk->next;
		complete_note(c, chunk, -PEN_NOT_FOUND);
		hand_back(c, chunk);
	}
}

/* The batch is done in this engine; what its completion says was settled before. */
static void finish(struct committer *c, struct pen_batch *batch, int code)
{
	if (batch->why.code)
		pen_engine_record(c->engine, batch->id, &batch->why);
	pen_tell_end(c->tell, batch, code);
	pen_diary_end(batch, code);
	if (batch->bulk) {
		pen_bulk_close(batch->bulk);
		batch->bulk = NULL;
		c->bulks--;
		if (!c->dead)
			pen_staged_trim(c->engine->store, batch->id);
	}
	if (batch->lock_fd >= 0)
		pen_lock_release(c->engine->store, batch->id, batch->lock_fd);
	batch->lock_fd = -1;
	pen_turn_level_leave(c->engine->store, batch->level_ticket);
	c->batches[batch->index] = NULL;
	answer_late(c, batch);
	batch->owes = !code && batch->plan->on_success != PEN_SUCCESS_KEEP && !batch->plan->puts;
	if (batch->sqe != UINT32_MAX && !batch->owes)
		pen_engine_complete(c->engine, PEN_FROM_COMMITTER, batch->sqe, code, batch->id,
				    batch->standing.fixed.applied.items);
}

/* A chunk that will not be applied: its batch is over, or the disk is. */
static void drop(struct committer *c, struct pen_chunk *chunk)
{
	struct pen_batch *batch = chunk->batch;
	int code = c->dead ? -PEN_DISK_FAILED : batch->over;

	/* What its limit did not let go was not applied. Relaxed: as in look_for_end. */
	if (!code && batch->left && chunk->kind != PEN_CHUNK_END) {
		code = atomic_load_explicit(&batch->cancel, memory_order_relaxed);
		code = code ? code : -PEN_INTERRUPTED_BY;
	}
	if (chunk->kind == PEN_CHUNK_END)
		finish(c, batch, batch->end_code ? batch->end_code : code);
	else if (chunk->kind == PEN_CHUNK_PAUSE || chunk->kind == PEN_CHUNK_RESUME)
		complete_note(c, chunk, code);
	else if (chunk->kind == PEN_CHUNK_RESULTS)
		chunk->res = code ? code : -PEN_INTERRUPTED_BY;
	else
		complete_puts(c, chunk, code);
	hand_back(c, chunk);
}

/* ---- one group ----------------------------------------------------------------------------- */

static void nap(struct committer *c, uint64_t ns)
{
	/* In slices, so that a drain is seen soon, and readers of the ring see us breathe. */
	while (ns) {
		uint64_t slice = pen_min(ns, 50 * PEN_NS_PER_MS);
		struct timespec t = { .tv_nsec = (long)slice };

		if (atomic_load_explicit(&c->engine->drain, memory_order_relaxed)) /* only shortens the nap */
			return;
		pen_tell_turn(c->tell);
		(void)pen_tell_rest(c->tell);
		nanosleep(&t, NULL);
		ns -= slice;
	}
}

/* While there is work, and no space for it. */
static void stalled_nap(struct committer *c, uint64_t ns)
{
	pen_meter_enter(&c->engine->commit_meter, pen_mono_ns(c->engine->clock), true);
	nap(c, ns);
	pen_meter_leave(&c->engine->commit_meter, pen_mono_ns(c->engine->clock));
}

static bool is_full(int rc)
{
	return rc == -PEN_DISK_FULL || rc == -PEN_MAP_FULL;
}

static void die(struct committer *c, int rc, const struct pen_failure *why)
{
	c->dead = true;
	pen_engine_record(c->engine, 0, why);
	pen_diary_fault(rc, why->text);
	pen_tell_failed(c->tell, rc);
	pen_engine_notice(c->engine, rc, "%s", why->text);
	/* Relaxed: a flag that rises once; the failure's text has its own lock. */
	atomic_store_explicit(&c->engine->fatal, rc, memory_order_relaxed);
	pen_fanin_ring(&c->engine->completed);
	pen_io_wake(c->engine->io);
}

static bool holds_end(const struct committer *c)
{
	for (uint32_t i = 0; i < c->ready_count; i++)
		if (c->ready[i]->kind == PEN_CHUNK_END)
			return true;
	return false;
}

static bool holds_puts(const struct committer *c)
{
	for (uint32_t i = 0; i < c->ready_count; i++)
		if (c->ready[i]->kind == PEN_CHUNK_PUTS)
			return true;
	return false;
}

/* Progress is durable about once a second: events must not grow with the input's speed. */
static int note_progress(struct committer *c, struct pen_txn *txn, const struct pen_standing *st, bool end)
{
	uint64_t now = pen_mono_ns(c->engine->clock);

	if (end || now - c->journal_ns < PROGRESS_NS)
		return 0;
	c->journal_ns = now;
	return pen_journal_add(txn, st->fixed.id, PEN_EVENT_PROGRESS, 0, st->fixed.applied.bytes,
			       st->fixed.applied.items);
}

/* The batch's END was applied: what was staged of it goes with it, unless it may go on. */
static int forget_staged(struct committer *c, struct pen_txn *txn, const struct pen_outcome *out)
{
	if (!c->from->bulk || !pen_ledger_over(out->standing->fixed.state))
		return 0;
	return pen_staged_forget(txn, c->from->id);
}

static int apply(struct committer *c, struct pen_txn *txn, uint64_t now_ms, uint64_t active_ms,
		 struct pen_outcome *ret, struct pen_failure *why)
{
	struct pen_batch *batch = c->from;
	uint64_t until;
	int rc;

	switch (c->work) {
	case WORK_STAGE:
		rc = pen_bulk_stage(batch->bulk, txn, ret);
		break;
	case WORK_PUT:
		rc = pen_bulk_put(batch->bulk, txn, ret, why);
		break;
	case WORK_MERGE:
		until = pen_mono_ns(c->engine->clock) + BUDGET_ORDERED_MS * PEN_NS_PER_MS / 2;
		rc = pen_bulk_merge(batch->bulk, txn, until, ret, why);
		break;
	case WORK_END_MERGE:
		rc = pen_bulk_end_merge(batch->bulk, txn, ret);
		break;
	default:
		rc = pen_group_apply(c->group, txn, batch, c->ready, c->ready_count, now_ms, active_ms, ret,
				     why);
		return rc ? rc : forget_staged(c, txn, ret);
	}
	if (!rc) {
		ret->standing->fixed.updated_ms = now_ms;
		ret->standing->fixed.active_ms = active_ms;
	}
	return rc;
}

/* One try. 0 and the batch's standing moved on, or a code and nothing changed. */
static int try_group(struct committer *c, struct pen_outcome *ret, struct pen_failure *why)
{
	struct pen_engine *engine = c->engine;
	struct pen_batch *batch = c->from;
	bool end = holds_end(c);
	/* Behind an END_MERGE files are removed: it must not be undone by a power cut. */
	enum pen_durability level = end || c->work == WORK_END_MERGE ? PEN_DURABLE_COMMIT
								     : batch->plan->durability;
	uint64_t asked = pen_mono_ns(engine->clock), now_ms = pen_real_ms(engine->clock), began;
	struct pen_txn *txn;
	int rc = c->work == WORK_STAGE ? pen_bulk_spill(batch->bulk, why) : 0;

	if (rc)
		return rc;
	pen_meter_enter(&engine->commit_meter, asked, true); /* for the write lock */
	rc = pen_txn_begin(engine->store, level, &txn, NULL, why);
	began = pen_mono_ns(engine->clock);
	pen_meter_leave(&engine->commit_meter, began);
	if (rc)
		return rc;
	PEN_TRACE2(group_begin, batch->id, began - asked);
	pen_journal_minute(txn, &c->minutes);
	rc = apply(c, txn, now_ms, (began - batch->began_ns) / PEN_NS_PER_MS, ret, why);
	if (!rc) {
		struct pen_fmt_state *s = &ret->standing->fixed;

		if (level != PEN_DURABLE_GROUP)
			s->counted = s->applied;
		s->hold_budget_ms = ret->appended ? BUDGET_ORDERED_MS : BUDGET_RANDOM_MS;
		rc = note_progress(c, txn, ret->standing, end);
		if (!rc)
			rc = pen_ledger_save(txn, ret->standing);
		if (!rc && pen_plan_is_job(batch->plan))
			rc = pen_job_save(txn, ret->job);
	}
	if (rc) {
		pen_txn_abort(txn);
		return rc;
	}
	rc = pen_txn_commit(txn, why);
	c->inner_ns = pen_mono_ns(engine->clock) - began;
	pen_meter_add(&engine->commit_meter.busy_ns, c->inner_ns);
	if (!rc) {
		ret->standing->fixed.hold_last_ms = (uint32_t)(c->inner_ns / PEN_NS_PER_MS);
		PEN_TRACE3(group_commit, batch->id, ret->standing->fixed.applied.items, c->inner_ns);
	}
	return rc;
}

/* Targets follow what the last group cost. */
static void adapt(struct committer *c, bool appended)
{
	uint64_t budget = (appended ? BUDGET_ORDERED_MS : BUDGET_RANDOM_MS) * PEN_NS_PER_MS;

	c->ordered = appended;
	if (c->inner_ns > budget * 6 / 10) {
		c->bytes_target = pen_max(GROUP_BYTES_MIN, c->bytes_target * 7 / 10);
		c->items_target = pen_max(512, c->items_target * 7 / 10);
	} else if (c->inner_ns < budget * 4 / 10) {
		c->bytes_target = pen_min(GROUP_BYTES_MAX, c->bytes_target * 13 / 10);
		c->items_target = pen_min(PEN_GROUP_ITEMS_MAX, c->items_target * 13 / 10 + 1);
	}
}

/* How far the batch is in its sources, of what counts. */
static void count_passed(struct pen_batch *batch)
{
	batch->passed_counted = batch->bulk ? pen_bulk_passed(batch->bulk, batch->passed) : batch->passed;
}

/* Makes GROUP and RELAXED transactions durable when it is time. 0, or the disk failed. */
static int sync_if_due(struct committer *c, bool now)
{
	uint64_t due = UINT64_MAX, mono = pen_mono_ns(c->engine->clock);
	struct pen_failure why = { 0 };
	int rc;

	for (uint32_t i = 0; i < PEN_BATCHES_MAX; i++) {
		const struct pen_batch *b = c->batches[i];

		if (b && b->plan->durability == PEN_DURABLE_GROUP &&
		    b->standing.fixed.counted.items != b->standing.fixed.applied.items)
			due = pen_min(due, GROUP_SYNC_NS);
		else if (b && b->plan->durability == PEN_DURABLE_RELAXED)
			due = pen_min(due, RELAXED_SYNC_NS);
	}
	if (due == UINT64_MAX || (!now && mono - c->synced_ns < due))
		return 0;
	rc = pen_store_sync(c->engine->store);
	c->synced_ns = pen_mono_ns(c->engine->clock);
	if (rc) {
		die(c, rc, (pen_fail(&why, rc, 0, "the store could not be synced"), &why));
		return rc;
	}
	for (uint32_t i = 0; i < PEN_BATCHES_MAX; i++) {
		struct pen_batch *b = c->batches[i];

		if (!b || b->plan->durability != PEN_DURABLE_GROUP)
			continue;
		b->standing.fixed.counted = b->standing.fixed.applied;
		count_passed(b);
		b->last_ns = c->synced_ns;
		pen_batch_publish(b, 0);
	}
	pen_tell_synced(c->tell, c->batches);
	return 0;
}

/* The batch's END waited for the merge, and there will be none. */
static void drop_bulk_end(struct committer *c, struct pen_batch *batch)
{
	struct pen_chunk *end = batch->bulk_end;

	batch->bulk_end = NULL;
	if (end)
		drop(c, end);
}

static void clear_ready(struct committer *c)
{
	c->ready_count = 0;
	c->ready_bytes = c->ready_items = 0;
	c->ready_now = false;
	c->from = NULL;
}

/* The batch cannot go on in this engine; what it has committed stays, and a later run resumes it. */
static void give_up(struct committer *c, int code)
{
	struct pen_batch *batch = c->from;

	batch->over = batch->end_code = code;
	batch->gave_up = true;
	atomic_store_explicit(&batch->stop, true,
			      memory_order_relaxed); /* a hint: the reader stops reading early */
	pen_foreman_wake(c->engine->foreman);
	for (uint32_t i = 0; i < c->ready_count; i++)
		drop(c, c->ready[i]);
	clear_ready(c);
	drop_bulk_end(c, batch);
}

static void settle_group(struct committer *c, const struct pen_outcome *out)
{
	struct pen_batch *batch = c->from;
	uint32_t pause_ms = batch->plan->pause_ms;
	bool end = false;

	batch->standing = *out->standing;
	batch->job = *out->job;
	batch->passed = pen_max(batch->passed, out->passed);
	if (c->work != WORK_GROUP)
		pen_bulk_committed(batch->bulk);
	if (batch->standing.fixed.counted.items == batch->standing.fixed.applied.items)
		count_passed(batch);
	batch->last_ns = pen_mono_ns(c->engine->clock);
	if (!batch->first_ns)
		batch->first_ns = batch->last_ns;
	if (out->over && !batch->over) {
		batch->over = batch->end_code = out->over;
		atomic_store_explicit(&batch->stop, true, memory_order_relaxed); /* a hint, as above */
		pen_foreman_wake(c->engine->foreman);
	}
	if (holds_puts(c))
		(void)sync_if_due(c, true); /* a put completes when it counts */
	if (!pen_plan_is_job(batch->plan) && c->ready_items)
		pen_budget_counted(batch->budget);
	/* One that rests by itself says why. */
	pen_batch_publish(batch, batch->standing.fixed.state == PEN_PAUSED ? batch->standing.fixed.code : 0);
	pen_tell_group(c->tell, batch, &c->minutes);
	batch->told_resting = false; /* the group's numbers said that it goes on */
	for (uint32_t i = 0; i < c->ready_count; i++) {
		struct pen_chunk *chunk = c->ready[i];

		pen_diary_chunk(batch, chunk);
		if (chunk->kind == PEN_CHUNK_END) {
			end = true;
			finish(c, batch, batch->end_code ? batch->end_code : out->standing->fixed.code);
		} else if (chunk->kind == PEN_CHUNK_PAUSE || chunk->kind == PEN_CHUNK_RESUME) {
			batch->held = chunk->kind == PEN_CHUNK_PAUSE;
			complete_note(c, chunk, 0);
		} else {
			complete_puts(c, chunk, 0);
		}
		hand_back(c, chunk);
	}
	clear_ready(c);
	pen_io_wake(c->engine->io);
	if (pause_ms && !end)
		nap(c, pause_ms * PEN_NS_PER_MS);
}

static void commit_group(struct committer *c)
{
	struct pen_outcome out = { 0 };
	bool said = false;

	for (;;) {
		struct pen_failure why = { 0 };
		int rc = try_group(c, &out, &why);

		if (!rc)
			break;
		if (c->from->bulk)
			pen_bulk_failed(c->from->bulk);
		if (!why.code)
			pen_fail(&why, rc, 0, "a group could not be committed: %s", pen_error_text(rc));
		if (rc == -PEN_DISK_FAILED) {
			c->from->why = why;
			die(c, rc, &why);
			for (uint32_t i = 0; i < c->ready_count; i++)
				drop(c, c->ready[i]);
			drop_bulk_end(c, c->from);
			clear_ready(c);
			return;
		}
		if (!is_full(rc) || atomic_load_explicit(&c->engine->drain, memory_order_relaxed)) {
			c->from->why = why;
			give_up(c, is_full(rc) ? -PEN_INTERRUPTED_BY : rc);
			pen_io_wake(c->engine->io);
			return;
		}
		if (!said)
			pen_engine_notice(c->engine, rc,
					  "paused: %s. The run goes on by itself when there is space",
					  why.text);
		said = true;
		pen_batch_publish(c->from, rc);
		pen_tell_stall(c->tell, c->from, rc);
		pen_diary_stall(c->from, rc, why.text);
		stalled_nap(c, RETRY_NS);
	}
	if (said)
		pen_engine_notice(c->engine, 0, "there is space again: the run goes on");
	pen_tell_took(c->tell, c->inner_ns);
	pen_diary_unstall(c->from);
	pen_diary_commit(c->from, c->inner_ns, c->ready_items);
	if (c->work == WORK_GROUP)
		adapt(c, out.appended);
	settle_group(c, &out);
	if (pen_turn_wanted(c->engine->store))
		pen_turn_yield(c->engine->store, YIELD_NS);
	(void)sync_if_due(c, false);
}

/* ---- what comes next ----------------------------------------------------------------------- */

static bool group_full(const struct committer *c)
{
	uint64_t pages = c->ready_items * 11 / 10 + c->ready_bytes / 2500;

	if (c->ordered)
		pages = c->ready_bytes / 2500 + c->ready_items / 64;
	return c->ready_now || c->ready_count >= c->ready_max || c->ready_bytes >= c->bytes_target ||
	       c->ready_items + PEN_CHUNK_ITEMS >= PEN_GROUP_ITEMS_MAX ||
	       (!c->ordered && c->ready_items >= c->items_target) ||
	       pages + PEN_CHUNK_ITEMS >= DIRTY_PAGES_MAX;
}

static void add_ready(struct committer *c, struct pen_chunk *chunk)
{
	struct pen_batch *batch = chunk->batch;

	if (!c->ready_count) {
		c->from = batch;
		c->ready_since = pen_mono_ns(c->engine->clock);
	}
	c->ready[c->ready_count++] = chunk;
	c->ready_bytes += chunk->bytes;
	c->ready_items += chunk->items;
	if ((chunk->kind > PEN_CHUNK_FLAW && chunk->kind != PEN_CHUNK_RESULTS) || batch->plan->chunk_items ||
	    chunk->jumbo)
		c->ready_now = true;
}

/*
 * The batch's next chunk. The foreman has put a job's in order; others are put so here, but for notes that do not wait.
 * While it is held nothing is taken but its end: a batch that has nothing left but to complete completes.
 */
static struct pen_chunk *peek(const struct committer *c, const struct pen_batch *batch)
{
	struct pen_chunk *chunk;

	if (batch->line || pen_plan_is_job(batch->plan))
		return batch->line;
	chunk = pen_window_peek(&batch->window);
	return chunk && batch->held && !batch->over && !c->dead && chunk->kind != PEN_CHUNK_END ? NULL
												: chunk;
}

static void pop(struct pen_batch *batch)
{
	if (!batch->line) {
		pen_window_pop(&batch->window);
		return;
	}
	batch->line = batch->line->next;
	if (!batch->line)
		batch->line_end = &batch->line;
}

/* ---- bulk mode ----------------------------------------------------------------------------- */

/* One transaction of the batch that is no group. */
static void commit_step(struct committer *c, struct pen_batch *batch, enum work work)
{
	c->from = batch;
	c->work = work;
	commit_group(c);
	c->work = WORK_GROUP;
	c->from = NULL;
}

/* The batch goes on by sorted runs. False: it cannot, and there is nothing of it in runs. */
static bool begin_bulk(struct committer *c, struct pen_batch *batch)
{
	struct pen_engine *engine = c->engine;
	bool staged = batch->staged != NULL;
	int rc = -PEN_BULK_UNFIT;

	batch->bulk_choice = PEN_BULK_NOT;
	if (staged || c->bulks < PEN_BULKS_MAX)
		rc = pen_bulk_open(engine->store, batch, batch->staged, batch->stops, batch->plan->bulk_bytes,
				   &batch->bulk);
	pen_bulk_forget(batch);
	if (!rc) {
		c->bulks++;
		pen_engine_notice(engine, 0,
				  "bulk mode: records are sorted first, and come into dataset '%s' in the "
				  "second half",
				  batch->plan->into);
	} else if (staged) {
		c->from = batch;
		(void)pen_fail(&batch->why, rc, 0, "the batch's sorted runs cannot be used");
		give_up(c, rc);
	}
	return !rc;
}

/* Do the chunks that are ready tell that keys come in no order? */
static bool in_no_order(const struct committer *c)
{
	const struct pen_chunk *before = NULL;

	for (uint32_t i = 0; i < c->ready_count; i++) {
		const struct pen_chunk *chunk = c->ready[i];

		if (chunk->kind > PEN_CHUNK_FLAW || !chunk->entry_count)
			continue;
		if (chunk->shuffled ||
		    (before && pen_entry_compare(before, &before->table[before->entry_count - 1], chunk,
						 chunk->table) > 0))
			return true;
		before = chunk;
	}
	return false;
}

static void sort_chunk(struct committer *c, struct pen_batch *batch, struct pen_chunk *chunk)
{
	int rc = batch->over ? 0 : pen_bulk_add(batch->bulk, chunk);

	if (rc) {
		/* As give_up, which is about a group. */
		(void)pen_fail(&batch->why, rc, 0, "no memory to sort records in");
		batch->over = batch->end_code = rc;
		batch->gave_up = true;
		atomic_store_explicit(&batch->stop, true, memory_order_relaxed); /* a hint */
	}
	if (batch->over)
		drop(c, chunk);
	else
		hand_back(c, chunk);
}

/* The first group of a batch that may go by runs: it does, when its keys are in no order. True: none is left. */
static bool turn_to_bulk(struct committer *c)
{
	struct pen_batch *batch = c->from;
	struct pen_chunk *chunk;
	uint32_t n = c->ready_count, notes = 0;

	if (batch->bulk_choice != PEN_BULK_MAYBE)
		return false;
	if (!in_no_order(c) || !begin_bulk(c, batch)) {
		batch->bulk_choice = PEN_BULK_NOT;
		return false;
	}
	for (uint32_t i = 0; i < n; i++) {
		chunk = c->ready[i];
		if (chunk->kind == PEN_CHUNK_END)
			batch->bulk_end = chunk;
		else if (chunk->kind > PEN_CHUNK_FLAW)
			c->ready[notes++] = chunk; /* it takes effect by itself */
		else
			sort_chunk(c, batch, chunk);
	}
	clear_ready(c);
	c->ready_count = notes;
	c->from = notes ? batch : NULL;
	pen_io_wake(c->engine->io);
	return !notes;
}

/* A batch in bulk mode takes its next chunk. False: it does not now. */
static bool advance_bulk(struct committer *c, struct pen_batch *batch, struct pen_chunk *chunk)
{
	bool end = chunk->kind == PEN_CHUNK_END, note = chunk->kind > PEN_CHUNK_FLAW && !end;

	if (note && c->ready_count)
		return false;
	if (!note && (batch->bulk_end || pen_bulk_phase(batch->bulk) == PEN_STAGED_MERGE))
		return false;
	if (!note && !end && (pen_bulk_many(batch->bulk) || !pen_bulk_takes(batch->bulk, chunk)))
		return false;
	pop(batch);
	if (note)
		add_ready(c, chunk);
	else if (end)
		batch->bulk_end = chunk;
	else
		sort_chunk(c, batch, chunk);
	pen_io_wake(c->engine->io);
	return true;
}

/* Its END is the last thing there is of it. */
static void end_bulk(struct committer *c, struct pen_batch *batch)
{
	struct pen_chunk *end = batch->bulk_end;

	batch->bulk_end = NULL;
	pen_bulk_drop(batch->bulk);
	add_ready(c, end);
	commit_group(c);
}

/* The merge's next step. */
static void merge_step(struct committer *c, struct pen_batch *batch)
{
	struct pen_bulk *bulk = batch->bulk;
	struct pen_failure why = { 0 };
	int rc = 0;

	/* Relaxed: it rises once, and nothing is read through it. */
	if (atomic_load_explicit(&c->engine->drain, memory_order_relaxed)) {
		batch->over = batch->end_code = -PEN_INTERRUPTED_BY;
		atomic_store_explicit(&batch->stop, true, memory_order_relaxed); /* a hint */
		return;
	}
	if (!batch->bulk_merges)
		rc = pen_bulk_begin_merge(bulk, &why);
	batch->bulk_merges = true;
	if (rc) {
		c->from = batch;
		if (!why.code)
			(void)pen_fail(&why, rc, 0, "sorted runs cannot be merged: %s", pen_error_text(rc));
		batch->why = why;
		give_up(c, rc);
		return;
	}
	commit_step(c, batch, pen_bulk_exhausted(bulk) ? WORK_END_MERGE : WORK_MERGE);
	if (batch->bulk && pen_bulk_phase(batch->bulk) == PEN_STAGED_MERGED)
		batch->bulk_merges = false;
}

/* One step of a batch in bulk mode. False: there is nothing to do for it now. */
static bool step_bulk(struct committer *c, struct pen_batch *batch)
{
	struct pen_bulk *bulk = batch->bulk;
	const struct pen_chunk *end = batch->bulk_end, *next = end ? NULL : peek(c, batch);
	bool data = next && next->kind <= PEN_CHUNK_FLAW, goes_on = end && end->res != -PEN_CANCELLED_BY;

	if (batch->gave_up || c->dead) {
		drop_bulk_end(c, batch);
		return end != NULL;
	}
	if (batch->over) {
		if (end)
			end_bulk(c, batch);
		return end != NULL;
	}
	if (batch->held)
		return false;
	if (pen_bulk_phase(bulk) == PEN_STAGED_MERGE)
		merge_step(c, batch);
	else if (end && !end->res && pen_bulk_holds(bulk) && pen_bulk_fits(bulk))
		commit_step(c, batch, WORK_PUT);
	else if (pen_bulk_holds(bulk) && (goes_on || (data && !pen_bulk_takes(bulk, next))))
		commit_step(c, batch, WORK_STAGE);
	else if (pen_bulk_any(bulk) && ((end && !end->res) || (data && pen_bulk_many(bulk))))
		merge_step(c, batch);
	else if (end)
		end_bulk(c, batch);
	else
		return false;
	return true;
}

static bool wants_step(const struct committer *c, const struct pen_batch *batch)
{
	const struct pen_chunk *next;

	if (!batch->bulk || (batch->held && !batch->over))
		return false;
	if (batch->bulk_end || pen_bulk_phase(batch->bulk) == PEN_STAGED_MERGE)
		return true;
	next = peek(c, batch);
	return next && next->kind <= PEN_CHUNK_FLAW &&
	       (pen_bulk_many(batch->bulk) || !pen_bulk_takes(batch->bulk, next));
}

static bool step_bulks(struct committer *c)
{
	if (!c->bulks)
		return false;
	for (uint32_t i = 0; i < PEN_BATCHES_MAX; i++) {
		struct pen_batch *b = c->batches[(c->next_bulk + i) % PEN_BATCHES_MAX];

		if (!b || !wants_step(c, b))
			continue;
		/* The group that gathers is another batch's, or a note of this one. */
		if (c->ready_count && !turn_to_bulk(c))
			commit_group(c);
		c->next_bulk += i + 1;
		return b->bulk && step_bulk(c, b);
	}
	return false;
}

/* ---- gathering ----------------------------------------------------------------------------- */

/* What has a limit does not begin when nobody can tell what is left of it. */
static int ready_limits(struct committer *c, const struct pen_batch *batch, struct pen_failure *why)
{
	struct pen_limits *limits;

	return pen_budget_wanted(batch->plan) ? pen_budget_limits(c->engine, &limits, why) : 0;
}

static void begin(struct committer *c, struct pen_chunk *chunk)
{
	struct pen_batch *batch = chunk->batch;
	bool said = false;
	int rc;

	for (;;) {
		struct pen_failure why = { 0 };

		rc = c->dead ? -PEN_DISK_FAILED : ready_limits(c, batch, &why);
		if (!rc)
			rc = pen_admit(c->engine, batch, &c->minutes, &why);
		batch->why = why;
		if (!is_full(rc) || atomic_load_explicit(&c->engine->drain, memory_order_relaxed))
			break;
		if (!said)
			pen_engine_notice(c->engine, rc,
					  "paused: %s. The run begins by itself when there is space",
					  why.text);
		said = true;
		nap(c, RETRY_NS);
	}
	if (rc && !batch->why.code)
		pen_fail(&batch->why, rc, 0, "the batch cannot begin: %s", pen_error_text(rc));
	if (rc == -PEN_DISK_FAILED && !c->dead)
		die(c, rc, &batch->why);
	batch->began_ns = pen_mono_ns(c->engine->clock);
	if (!rc && !batch->already &&
	    pen_budget_open(c->engine, batch->plan, batch->id, &batch->budget, &batch->why)) {
		/* Without its budget nothing may go: it rests as interrupted, and a later run resumes it. */
		batch->over = batch->end_code = -PEN_MEMORY;
		batch->gave_up = true;
		atomic_store_explicit(&batch->stop, true, memory_order_relaxed); /* a hint, as above */
	}
	if (!rc && !batch->already) {
		c->seen_txn = 0; /* there may be a wish from before */
		c->seen_flags = UINT64_MAX;
		c->batches[batch->index] = batch;
		batch->level_ticket = pen_turn_level_enter(c->engine->store, batch->plan->durability);
		pen_batch_publish(batch, 0);
		pen_tell_begin(c->tell, batch, &c->minutes);
		if (batch->bulk_choice == PEN_BULK_YES && !begin_bulk(c, batch) && !batch->over)
			pen_engine_notice(c->engine, 0,
					  "not in bulk mode: %u other batches of this engine are",
					  PEN_BULKS_MAX);
	} else if (rc) {
		pen_tell_refused(c->tell, batch, rc);
		pen_diary_refused(batch, rc);
	}
	if (!rc)
		pen_diary_begin(batch);
	chunk->res = rc;
	hand_back(c, chunk);
	pen_io_wake(c->engine->io);
}

/* Behind a threshold nothing is taken, but for the end, and items that ended already. */
static bool survives(const struct pen_chunk *chunk)
{
	return chunk->kind == PEN_CHUNK_END || chunk->kind == PEN_CHUNK_RESULTS;
}

/* What was cut may be far behind what is committed: the end that is wanted does not wait for it. */
static void look_for_end(struct committer *c, struct pen_batch *batch)
{
	/* Relaxed, both: they rise once, and nothing is read through them. */
	int cancel = atomic_load_explicit(&batch->cancel, memory_order_relaxed);

	if (batch->over || pen_plan_is_job(batch->plan))
		return;
	/* What was put before its end was asked for is committed, paused or not: each put is to complete. */
	if (batch->plan->puts)
		batch->held &= !cancel && !atomic_load_explicit(&c->engine->drain, memory_order_relaxed);
	else if (cancel)
		batch->over = batch->end_code = cancel;
	else if (batch->held && atomic_load_explicit(&c->engine->drain, memory_order_relaxed))
		batch->over = batch->end_code = -PEN_INTERRUPTED_BY;
}

/*
 * Does the batch's limit let the chunk go? What waits when its run is to end is left, with all behind it: the place
 * stays before it.
 */
static bool may_go(const struct committer *c, struct pen_batch *batch, const struct pen_chunk *chunk)
{
	if (!batch->budget || pen_plan_is_job(batch->plan) || c->dead || batch->over || batch->left ||
	    chunk->kind > PEN_CHUNK_FLAW || pen_budget_take(batch->budget, chunk->items))
		return true;
	batch->left = batch->cut_short;
	return batch->left;
}

/* Until the first batch that waits for its limit may go on. */
static uint64_t budget_wait(const struct committer *c)
{
	uint64_t wait = UINT64_MAX;

	for (uint32_t i = 0; i < PEN_BATCHES_MAX; i++)
		if (c->batches[i] && !pen_plan_is_job(c->batches[i]->plan))
			wait = pen_min(wait, pen_budget_wait_ns(c->batches[i]->budget));
	return wait;
}

/* Tells when a batch begins to wait for its limit, and when it goes on. */
static void tell_budgets(struct committer *c)
{
	for (uint32_t i = 0; i < PEN_BATCHES_MAX; i++) {
		struct pen_batch *b = c->batches[i];
		uint64_t ms = 0;
		bool rests;

		if (!b || !b->budget)
			continue;
		rests = pen_budget_resting(b->budget, &ms);
		if (rests == b->told_resting)
			continue;
		b->told_resting = rests;
		pen_batch_publish(b, rests ? -PEN_RATE_WAITS : 0);
		pen_tell_limited(c->tell, b, rests ? -PEN_RATE_WAITS : 0, ms);
	}
}

/* Moves what is contiguous in the batch's window into the group, as long as the group takes it. */
static void advance(struct committer *c, struct pen_batch *batch)
{
	struct pen_chunk *chunk;

	look_for_end(c, batch);
	while ((chunk = peek(c, batch))) {
		bool end = chunk->kind == PEN_CHUNK_END;

		if (batch->bulk && !batch->over && !c->dead) {
			if (!advance_bulk(c, batch, chunk))
				return;
			continue;
		}
		if (c->ready_count && (c->from != batch || group_full(c)))
			return;
		if (!may_go(c, batch, chunk))
			return;
		pop(batch);
		if (c->dead || (batch->left && !survives(chunk)) ||
		    (batch->over && (!survives(chunk) || batch->gave_up)))
			drop(c, chunk);
		else
			add_ready(c, chunk);
		if (end)
			return; /* the batch may be gone now */
	}
}

static void advance_all(struct committer *c)
{
	if (c->ready_count && c->from)
		advance(c, c->from);
	for (uint32_t i = 0; i < PEN_BATCHES_MAX && !c->ready_count; i++) {
		struct pen_batch *b = c->batches[(c->next_batch + i) % PEN_BATCHES_MAX];

		if (b)
			advance(c, b);
	}
}

static void take(struct committer *c, struct pen_chunk *chunk)
{
	struct pen_batch *batch = chunk->batch;

	if (chunk->kind == PEN_CHUNK_BEGIN) {
		begin(c, chunk);
		return;
	}
	if (pen_plan_is_job(batch->plan) || chunk->beside) {
		if (!batch->line)
			batch->line_end = &batch->line;
		chunk->next = NULL;
		*batch->line_end = chunk;
		batch->line_end = &chunk->next;
		if (c->batches[batch->index] != batch)
			answer_late(c, batch);
		return;
	}
	/* What the reader says of the end is heard at once. */
	batch->cut_short |= chunk->kind == PEN_CHUNK_END && chunk->res;
	pen_window_put(&batch->window, chunk);
}

/* ---- wishes -------------------------------------------------------------------------------- */

/* What people want of a batch, and flags. True: it is something else than before. */
static bool settle_wish(struct pen_batch *b)
{
	uint32_t wish = b->asked != PEN_WISH_CANCEL && b->flagged ? PEN_WISH_PAUSE : b->asked;

	/* Relaxed: one word, and what it asks for is asked again until it is done. */
	if (atomic_load_explicit(&b->wish, memory_order_relaxed) == wish)
		return false;
	atomic_store_explicit(&b->wish, wish, memory_order_relaxed);
	return true;
}

/*
 * Whether somebody else wrote to the store since the last look; only then can there be a new wish. Our own transactions
 * come between without being told apart, which costs a look more.
 */
static void look_for_wishes(struct committer *c, bool now)
{
	uint64_t txn = pen_store_last_txn(c->engine->store);
	bool any = false;

	if (txn == c->seen_txn || (!now && c->minutes.txn == txn && c->seen_txn + 1 == txn)) {
		c->seen_txn = txn;
		return;
	}
	c->seen_txn = txn;
	for (uint32_t i = 0; i < PEN_BATCHES_MAX; i++) {
		struct pen_batch *b = c->batches[i];
		struct pen_control control;
		uint32_t wish = 0;

		if (!b)
			continue;
		if (!pen_control_read(c->engine->store, b->id, &control))
			wish = control.want == PEN_WANT_CANCEL ? PEN_WISH_CANCEL : PEN_WISH_PAUSE;
		b->asked = wish;
		b->wished_pause = wish == PEN_WISH_PAUSE;
		any |= settle_wish(b);
	}
	if (any)
		pen_io_wake(c->engine->io);
}

/* Whether flags still let the batches here run: asked when one was changed, in any process (store/flagset.h). */
static void look_at_flags(struct committer *c)
{
	struct pen_store *store = c->engine->store;
	uint64_t change = pen_flagset_seen(store);
	bool any = false;

	if (change == c->seen_flags)
		return;
	c->seen_flags = change;
	for (uint32_t i = 0; i < PEN_BATCHES_MAX; i++) {
		struct pen_batch *b = c->batches[i];
		struct pen_flag_pin pin;
		bool held = b && pen_gate_holds(store, b->plan->owner, &b->gates, &pin);

		if (!b || held == b->flagged)
			continue;
		b->flagged = held;
		if (held)
			pen_engine_notice(c->engine, 0,
					  "flag %s is off (%s): batch %016llx rests until it is on", pin.name,
					  pen_flag_reason_name(pin.verdict.reason),
					  (unsigned long long)b->id);
		else
			pen_engine_notice(c->engine, 0, "flags let batch %016llx go on",
					  (unsigned long long)b->id);
		any |= settle_wish(b);
	}
	if (any)
		pen_io_wake(c->engine->io);
}

/* Should the group in hand be committed now? wait: how long it may gather on if not. */
static bool due(struct committer *c, bool more, uint64_t *ret_wait)
{
	uint64_t age;

	*ret_wait = PEN_NS_PER_S;
	if (!c->ready_count)
		return false;
	if (group_full(c))
		return true;
	if (more)
		return false;
	if (c->ready[0]->kind == PEN_CHUNK_PUTS)
		return true; /* a program waits for its answers */
	age = pen_mono_ns(c->engine->clock) - c->ready_since;
	*ret_wait = age < AGE_NS ? AGE_NS - age : 0;
	return age >= AGE_NS;
}

/* Sleeps until chunks come or something is due. */
static uint32_t sleep_in(struct committer *c, uint64_t *words, uint64_t wait_ns)
{
	struct pen_meter *meter = &c->engine->commit_meter;
	uint32_t n;

	/* Relaxed: it only says whether this wait is counted. */
	if (!c->ready_count && atomic_load_explicit(&c->engine->live, memory_order_relaxed))
		pen_meter_enter(meter, pen_mono_ns(c->engine->clock), true);
	n = pen_fanin_pop_wait(&c->engine->commit_in, words, TAKE, wait_ns);
	pen_meter_leave(meter, pen_mono_ns(c->engine->clock));
	return n;
}

static void run(struct committer *c)
{
	struct pen_fanin *in = &c->engine->commit_in;
	uint64_t words[TAKE], wait;

	for (;;) {
		uint32_t n = pen_fanin_pop(in, words, TAKE);

		for (uint32_t i = 0; i < n; i++)
			take(c, (struct pen_chunk *)(uintptr_t)words[i]);
		advance_all(c);
		if (c->dead)
			pen_io_wake(c->engine->io);
		pen_tell_turn(c->tell);
		look_for_wishes(c, false);
		look_at_flags(c);
		tell_budgets(c);
		if (due(c, n == TAKE, &wait)) {
			c->next_batch = c->from->index + 1;
			if (!turn_to_bulk(c))
				commit_group(c);
			(void)step_bulks(c);
			continue;
		}
		if (step_bulks(c) || n)
			continue;
		if (pen_fanin_ended(in) && !c->ready_count)
			return;
		(void)sync_if_due(c, false);
		n = sleep_in(c, words, pen_min(pen_min(wait, budget_wait(c)), pen_tell_rest(c->tell)));
		for (uint32_t i = 0; i < n; i++)
			take(c, (struct pen_chunk *)(uintptr_t)words[i]);
	}
}

void *pen_committer_main(void *arg)
{
	struct pen_engine *engine = arg;
	struct committer c = {
		.engine = engine,
		.group = engine->group,
		.ready = engine->ready,
		.ready_max = engine->arena.count / 2 ? engine->arena.count / 2 : 1,
		.bytes_target = GROUP_BYTES_MAX / 2,
		.items_target = 10000,
		.synced_ns = pen_mono_ns(engine->clock),
		.journal_ns = pen_mono_ns(engine->clock),
	};

	(void)pthread_setname_np(pthread_self(), "pen-commit"); /* as the reader's */
	while (sem_wait(&engine->told) && errno == EINTR)
		;
	c.tell = engine->tell;
	run(&c);
	pen_tell_drained(c.tell);
	return NULL;
}
