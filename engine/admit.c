/* SPDX-License-Identifier: MIT */
#include "engine/admit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/bulk.h"
#include "engine/context.h"
#include "engine/budget.h"
#include "engine/dedup.h"
#include "engine/gate.h"
#include "ring/error.h"
#include "store/dataset.h"
#include "store/job.h"
#include "store/journal.h"
#include "store/control.h"
#include "store/lock.h"
#include "store/order.h"
#include "store/running.h"

struct admission {
	struct pen_engine *engine;
	struct pen_batch *batch;
	struct pen_plan *plan;
	struct pen_txn *txn;
	struct pen_dataset *ds;
	uint64_t now_ms;
	struct pen_failure *why;
	int old_lock;		    /* of the batch that this one replaces */
	uint64_t previous;	    /* its id, when they have a dedup key in common */
	uint64_t old;		    /* its id, when it was cancelled */
	bool write;		    /* there is something to commit though the batch does not run */
	struct pen_limit_hold hold; /* of its owner's batches: one more was counted */
};

static int lock(struct admission *a, uint64_t id, int *ret_fd)
{
	uint32_t pid = 0;
	int rc = pen_lock_batch(a->engine->store, id, ret_fd, &pid);

	if (rc == -PEN_BATCH_BUSY)
		return pen_fail(a->why, rc, 0, "process %u runs this batch (%016llx)", pid,
				(unsigned long long)id);
	return rc;
}

static void running(struct admission *a, struct pen_standing *st, bool resumed)
{
	st->fixed.state = PEN_RUNNING;
	st->fixed.code = 0;
	st->fixed.started_ms = a->now_ms;
	st->fixed.updated_ms = a->now_ms;
	st->fixed.ended_ms = 0;
	st->fixed.active_ms = 0;
	st->fixed.runner_pid = (uint32_t)getpid();
	st->fixed.durability = (uint8_t)a->plan->durability;
	st->fixed.resumed = resumed;
	st->fixed.uring = a->engine->uring;
	/* What a killed run had applied is what survived, so it counts. */
	st->fixed.counted = st->fixed.applied;
}

/*
 * How far into the sources, as they lie on disk, the checkpoint stands: at least. What is unpacked says little of
 * that, and the first commit tells it exactly; until then a run that goes on shows less rather than more.
 */
static uint64_t passed_by(const struct pen_plan *plan, const struct pen_standing *st)
{
	uint32_t at = st->fixed.place_source;
	const struct pen_source *source = at < plan->source_count ? &plan->sources[at] : NULL;
	uint64_t before = 0;

	if (st->fixed.state == PEN_COMPLETED || !source)
		return plan->bytes_total;
	for (uint32_t i = 0; i < at; i++)
		before += plan->sources[i].size;
	if (source->kind == PEN_SOURCE_TREE && source->format == PEN_FORMAT_FILES && plan->source_count == 1)
		return pen_min(st->fixed.applied.bytes, source->size);
	if (source->kind == PEN_SOURCE_FILE && !source->decodes && !source->archive)
		before += pen_min(st->fixed.place_offset, source->size);
	return before;
}

static void take_over(struct admission *a, const struct pen_facts *all, const struct pen_standing *st)
{
	const struct pen_fmt_batch *facts = &all->fixed;
	struct pen_batch *batch = a->batch;

	pen_context_of(all, &batch->context);
	batch->id = facts->id;
	batch->seq_base = facts->seq_base;
	batch->created_ms = facts->created_ms;
	batch->rows_all = facts->results == 1;
	batch->standing = *st;
	batch->from_items = batch->first_item = st->fixed.applied.items;
	batch->passed = batch->passed_counted = pen_min(passed_by(a->plan, st), a->plan->bytes_total);
	batch->from = (struct pen_place){
		.source = st->fixed.place_source,
		.context = st->fixed.place_context & PEN_CONTEXT_MASK,
		.told = st->fixed.place_context >> PEN_CONTEXT_BITS,
		.offset = st->fixed.place_offset,
		.line = st->fixed.place_line,
		.files = st->fixed.place_files,
		.path = batch->from_path,
	};
	memcpy(&batch->from.paths, st->fixed.place_paths, 16);
	memcpy(&batch->from.content, st->fixed.place_content, 16);
	memcpy(batch->from_path, st->path, sizeof batch->from_path);
}

/* No later run can be known to be the same: what is unfinished of it stays so. */
static bool has_identity(const struct pen_facts *facts)
{
	static const uint8_t none[16];

	return memcmp(facts->fixed.identity, none, sizeof none) != 0;
}

/* It can go on: by its command, or because it was submitted. */
static bool can_go_on(struct pen_store *store, const struct pen_facts *facts)
{
	struct pen_order *order = NULL;
	bool yes = has_identity(facts) || !pen_order_read(store, facts->fixed.id, &order);

	free(order);
	return yes;
}

/* A half-done batch that does not go on. */
static int cancel_old(struct admission *a, const struct pen_facts *facts, struct pen_standing *st)
{
	int rc;

	st->fixed.state = PEN_CANCELLED;
	st->fixed.ended_ms = a->now_ms;
	st->fixed.counted = st->fixed.applied;
	st->fixed.runner_pid = 0;
	rc = pen_ledger_save(a->txn, st);
	if (!rc)
		rc = pen_staged_forget(a->txn, facts->fixed.id);
	a->old = facts->fixed.id;
	if (!rc)
		rc = pen_journal_add(a->txn, facts->fixed.id, PEN_EVENT_CANCELLED, 0, st->fixed.applied.bytes,
				     st->fixed.applied.items);
	if (!rc && facts->fixed.key_kind == PEN_KEY_SEQ) {
		rc = pen_dataset_use_id(a->txn, facts->dataset, facts->fixed.dataset_id, &a->ds, a->why);
		if (!rc && pen_dataset_feeder(a->ds) == facts->fixed.id) {
			pen_dataset_set_feeder(a->ds, 0);
			rc = pen_dataset_save(a->ds);
		}
	}
	return rc;
}

/* The dataset's unfinished feeder: it is in the way, unless it read a stream that is gone and nobody runs it. */
static int meet_feeder(struct admission *a, const struct pen_facts *facts, struct pen_standing *st)
{
	unsigned long long id = facts->fixed.id;
	int rc, fd = -1;

	if (can_go_on(a->engine->store, facts) || lock(a, facts->fixed.id, &fd))
		return pen_fail(a->why, -PEN_SEQ_BUSY, 0,
				"batch %016llx, unfinished, appends to dataset '%s' by @seq", id,
				a->plan->into);
	rc = cancel_old(a, facts, st);
	close(fd);
	if (!rc)
		pen_engine_notice(
			a->engine, 0,
			"batch %016llx was interrupted, and its stream cannot come again: cancelled", id);
	return rc;
}

/* One unfinished @seq batch a dataset: its keys are numbered from where it began. */
static int claim_seq(struct admission *a, uint64_t id)
{
	uint64_t feeder = pen_dataset_feeder(a->ds);
	struct pen_facts *facts = NULL;
	struct pen_standing *st;
	int rc;

	if (a->plan->key_kind != PEN_KEY_SEQ)
		return 0;
	if (feeder && feeder != id) {
		st = malloc(sizeof *st);
		if (!st)
			return -ENOMEM;
		rc = pen_ledger_load(a->txn, feeder, &facts, st);
		if (!rc && !pen_ledger_over(st->fixed.state))
			rc = meet_feeder(a, facts, st);
		free(facts);
		free(st);
		if (rc && rc != -PEN_NOT_FOUND)
			return rc;
	}
	pen_dataset_set_feeder(a->ds, id);
	return 0;
}

static int put_order(struct admission *a, uint64_t id)
{
	struct pen_order order = a->plan->order ? *a->plan->order : (struct pen_order){ .spec = NULL };
	struct pen_standing *parent = malloc(sizeof *parent);
	int rc = parent ? 0 : -ENOMEM;

	order.fixed.id = id;
	order.spec = a->plan->packed;
	order.spec_len = a->plan->packed_len;
	for (uint32_t i = 0; i < order.parent_count && !rc; i++) {
		rc = pen_ledger_load(a->txn, order.parents[i].id, NULL, parent);
		if (rc == -PEN_NOT_FOUND)
			(void)pen_fail(a->why, rc, 0, "there is no batch %016llx to wait for",
				       (unsigned long long)order.parents[i].id);
	}
	free(parent);
	if (!rc && a->plan->dedup)
		rc = pen_dedup_take(a->txn, a->plan, id, a->previous, a->now_ms, &order);
	return rc ? rc : pen_order_put(a->txn, &order);
}

static int create(struct admission *a)
{
	struct pen_standing *st = calloc(1, sizeof *st);
	const struct pen_plan *plan = a->plan;
	struct pen_facts facts = {
		.dataset = plan->into,
		.key = plan->key,
		.owner = plan->owner,
		.correlation_id = plan->correlation_id,
		.idempotency_key = plan->idempotency_key,
		.labels = plan->labels,
		.labels_len = plan->labels_len,
	};
	char *sources = pen_plan_join_sources(plan, &facts.sources_len);
	uint64_t id = pen_ledger_new_id(a->txn);
	int rc = st && sources ? 0 : -ENOMEM;

	facts.sources = sources;
	if (!rc)
		rc = pen_gate_create(a->txn, id, plan->owner, plan->flags, plan->flag_count, &a->batch->gates,
				     a->why);
	if (!rc)
		rc = pen_dataset_use(a->txn, plan->into, plan->key_kind, &a->ds, a->why);
	/* One that is only entered claims nothing yet, and has no runner. */
	if (!rc && !plan->order)
		rc = claim_seq(a, id);
	if (!rc && !plan->order)
		rc = lock(a, id, &a->batch->lock_fd);
	if (!rc) {
		facts.fixed = (struct pen_fmt_batch){
			.id = id,
			.created_ms = a->now_ms,
			.dataset_id = pen_dataset_id(a->ds),
			.seq_base = pen_dataset_next_seq(a->ds),
			.max_record = plan->max_record,
			.bytes_total = plan->bytes_total,
			.items_total = plan->items_total,
			.format = (uint8_t)pen_plan_settled_format(plan),
			.key_kind = (uint8_t)plan->key_kind,
			.on_duplicate = (uint8_t)plan->on_duplicate,
			.validate = (uint8_t)plan->validate,
			.results = plan->results == PEN_RESULTS_ALL ||
				   (plan->results == PEN_RESULTS_AUTO && pen_plan_is_job(plan)),
			.drops = plan->transform.drops,
		};
		/* A dedup key stands for the request: nothing else finds the batch by it. */
		if (plan->has_identity && !plan->dedup)
			memcpy(facts.fixed.identity, plan->identity, 16);
		memcpy(facts.fixed.content, plan->content, 16);
		st->fixed.id = id;
		if (plan->order) {
			st->fixed.state = PEN_QUEUED;
			st->fixed.updated_ms = a->now_ms;
		} else {
			running(a, st, false);
		}
		rc = pen_ledger_create(a->txn, &facts, st);
	}
	if (!rc && plan->packed)
		rc = put_order(a, id);
	if (!rc && pen_plan_is_job(plan)) {
		a->batch->job = (struct pen_fmt_job){ .id = id };
		rc = pen_job_save(a->txn, &a->batch->job);
	}
	if (!rc)
		rc = pen_bulk_choose(a->engine->store, a->batch, a->ds, facts.fixed.results == 1, a->why);
	if (!rc)
		rc = pen_journal_add(a->txn, id, PEN_EVENT_QUEUED, 0, plan->bytes_total, plan->items_total);
	if (!rc && !plan->order)
		rc = pen_journal_add(a->txn, id, PEN_EVENT_STARTED, 0, 0, 0);
	if (!rc)
		rc = pen_dataset_save(a->ds);
	/* Last, so that nothing but the commit can still go wrong. */
	if (!rc && plan->limits)
		rc = pen_budget_admit(a->engine, plan, &a->hold, a->why);
	if (!rc) {
		a->batch->dataset_id = facts.fixed.dataset_id;
		take_over(a, &facts, st);
		a->batch->already = plan->order != NULL;
		a->batch->there = a->previous ? 2 : 0;
		a->write = true;
	}
	free(sources);
	free(st);
	return rc;
}

static int resume(struct admission *a, const struct pen_facts *facts, struct pen_standing *st)
{
	uint64_t id = facts->fixed.id;
	int rc = pen_gate_pass(a->txn, facts->fixed.id, facts->owner, a->plan->flags, a->plan->flag_count,
			       &a->batch->gates, a->why);

	if (!rc)
		rc = pen_dataset_use_id(a->txn, a->plan->into, facts->fixed.dataset_id, &a->ds, a->why);
	if (!rc)
		rc = claim_seq(a, id);
	if (rc)
		return rc;
	if (pen_plan_is_job(a->plan))
		rc = pen_job_load(a->txn, id, &a->batch->job);
	if (rc)
		return rc;
	running(a, st, true);
	rc = pen_ledger_save(a->txn, st);
	if (!rc)
		rc = pen_journal_add(a->txn, id, PEN_EVENT_RESUMED, 0, st->fixed.applied.bytes,
				     st->fixed.applied.items);
	if (!rc)
		rc = pen_dataset_save(a->ds);
	if (rc)
		return rc;
	a->batch->resumed = true;
	a->batch->dataset_id = facts->fixed.dataset_id;
	take_over(a, facts, st);
	return pen_bulk_resume(a->engine->store, a->txn, a->batch, a->ds, facts->fixed.results == 1, a->why);
}

/* There is a batch of this identity. there: its dataset still exists. */
static enum pen_fate judge(const struct pen_plan *plan, const struct pen_facts *facts,
			   const struct pen_standing *st, bool there)
{
	/* The first half is about files, the second about trees, which the feed compares when it resumes. */
	/* A stream that is kept is the one that its key says it is: the file is another each time. */
	bool files_same = plan->spooled || !memcmp(facts->fixed.content, plan->content, 8);
	bool same = files_same && (plan->spooled || !memcmp(facts->fixed.content, plan->content, 16));

	if (pen_ledger_over(st->fixed.state)) {
		if (st->fixed.state != PEN_COMPLETED || plan->fresh)
			return PEN_FATE_NEW;
		return there && same ? PEN_FATE_DONE : PEN_FATE_ANEW;
	}
	if (plan->fresh)
		return PEN_FATE_REPLACE;
	return files_same ? PEN_FATE_RESUME : PEN_FATE_REFUSED;
}

static int say_changed(const struct pen_facts *facts, struct pen_failure *why)
{
	return pen_fail(why, -PEN_CHANGED, 0, "a source changed since batch %016llx was interrupted",
			(unsigned long long)facts->fixed.id);
}

static void say_anew(struct pen_engine *engine, const struct pen_facts *facts, bool there)
{
	pen_engine_notice(engine, 0,
			  there ? "the sources changed since batch %016llx completed: a new batch"
				: "the dataset that batch %016llx filled was dropped since: a new batch",
			  (unsigned long long)facts->fixed.id);
}

/* The same is entered again: it is there. */
static int met_again(struct admission *a, const struct pen_facts *facts, struct pen_standing *st)
{
	a->batch->already = a->write = true;
	a->batch->there = 1;
	take_over(a, facts, st);
	return pen_journal_add(a->txn, facts->fixed.id, PEN_EVENT_DEDUPLICATED, 0, st->fixed.counted.bytes,
			       st->fixed.counted.items);
}

static int meet(struct admission *a, const struct pen_facts *facts, struct pen_standing *st)
{
	struct pen_dataset *ds;
	bool there = pen_ledger_over(st->fixed.state) &&
		     !pen_dataset_use_id(a->txn, a->plan->into, facts->fixed.dataset_id, &ds, NULL);
	enum pen_fate fate = judge(a->plan, facts, st, there);
	int rc, fd = -1;

	a->batch->unchanged = !memcmp(facts->fixed.content, a->plan->content, 16);
	if (a->plan->order && (fate == PEN_FATE_DONE || fate == PEN_FATE_RESUME || fate == PEN_FATE_REFUSED))
		return met_again(a, facts, st);
	if (!pen_ledger_over(st->fixed.state)) {
		rc = lock(a, facts->fixed.id, &fd);
		if (rc)
			return rc;
	}
	switch (fate) {
	case PEN_FATE_ANEW:
		say_anew(a->engine, facts, there);
		return create(a);
	case PEN_FATE_DONE:
		a->batch->already = true;
		a->batch->dataset_id = facts->fixed.dataset_id;
		take_over(a, facts, st);
		return 0;
	case PEN_FATE_REPLACE:
		rc = cancel_old(a, facts, st);
		a->old_lock = fd;
		return rc ? rc : create(a);
	case PEN_FATE_RESUME:
		a->batch->lock_fd = fd;
		return resume(a, facts, st);
	case PEN_FATE_REFUSED:
		a->batch->lock_fd = fd;
		a->batch->id = facts->fixed.id;
		return say_changed(facts, a->why);
	case PEN_FATE_NEW:
		break;
	}
	return create(a);
}

/* The first time it runs: its @seq keys begin where the dataset ends now, its sources are those that are there now. */
static int start_queued(struct admission *a, struct pen_facts *facts, struct pen_standing *st)
{
	char *sources = NULL;
	int rc = pen_gate_pass(a->txn, facts->fixed.id, facts->owner, a->plan->flags, a->plan->flag_count,
			       &a->batch->gates, a->why);

	if (!rc)
		rc = pen_dataset_use_id(a->txn, a->plan->into, facts->fixed.dataset_id, &a->ds, a->why);
	if (!rc)
		rc = claim_seq(a, facts->fixed.id);
	if (!rc && pen_plan_is_job(a->plan))
		rc = pen_job_load(a->txn, facts->fixed.id, &a->batch->job);
	if (rc)
		return rc;
	facts->fixed.seq_base = pen_dataset_next_seq(a->ds);
	memcpy(facts->fixed.content, a->plan->content, 16); /* as they are now that they are read */
	if (!a->plan->fed) {
		sources = pen_plan_join_sources(a->plan, &facts->sources_len);
		if (!sources)
			return -ENOMEM;
		facts->sources = sources;
		facts->fixed.format = (uint8_t)pen_plan_settled_format(a->plan);
		facts->fixed.bytes_total = a->plan->bytes_total;
		facts->fixed.items_total = a->plan->items_total;
	}
	running(a, st, false);
	rc = pen_ledger_restate(a->txn, facts, st);
	free(sources);
	if (!rc && a->plan->parents)
		rc = pen_journal_add(a->txn, facts->fixed.id, PEN_EVENT_DEPENDENCY_READY, 0, a->plan->parents,
				     0);
	if (!rc)
		rc = pen_journal_add(a->txn, facts->fixed.id, PEN_EVENT_STARTED, 0, 0, 0);
	if (!rc)
		rc = pen_dataset_save(a->ds);
	if (rc)
		return rc;
	a->batch->dataset_id = facts->fixed.dataset_id;
	take_over(a, facts, st);
	return pen_bulk_choose(a->engine->store, a->batch, a->ds, facts->fixed.results == 1, a->why);
}

/* This one, whatever its identity is. */
static int take_up(struct admission *a)
{
	struct pen_standing *st = malloc(sizeof *st);
	struct pen_facts *facts = NULL;
	struct pen_control control;
	int rc = st ? pen_ledger_load(a->txn, a->plan->take, &facts, st) : -ENOMEM;

	if (!rc && pen_ledger_over(st->fixed.state))
		rc = pen_fail(a->why, -PEN_BATCH_OVER, 0, "batch %016llx is %s",
			      (unsigned long long)facts->fixed.id, pen_state_name(st->fixed.state));
	if (!rc)
		rc = lock(a, facts->fixed.id, &a->batch->lock_fd);
	if (!rc && !pen_control_load(a->txn, facts->fixed.id, &control) && control.want == PEN_WANT_PAUSE)
		rc = pen_fail(a->why, -PEN_PAUSED_BY, 0, "batch %016llx is paused%s%s",
			      (unsigned long long)facts->fixed.id, *control.reason ? ": " : "",
			      control.reason);
	if (!rc)
		rc = pen_running_check(a->txn, &a->plan->caps, facts->fixed.id, facts->owner, a->why);
	a->batch->id = a->plan->take;
	if (!rc && !st->fixed.started_ms) {
		rc = start_queued(a, facts, st);
	} else if (!rc) {
		if (!a->plan->fed && memcmp(facts->fixed.content, a->plan->content, 8) != 0)
			rc = say_changed(facts, a->why);
		a->batch->unchanged = !memcmp(facts->fixed.content, a->plan->content, 16);
		if (!rc)
			rc = resume(a, facts, st);
	}
	free(facts);
	free(st);
	return rc;
}

/* By its key. */
static int decide_dedup(struct admission *a)
{
	struct pen_facts *facts = NULL;
	struct pen_standing *st;
	uint64_t id;
	int fate = pen_dedup_judge(a->txn, a->plan, a->now_ms, &id), rc = 0;

	if (fate == PEN_DEDUP_REPLACE) {
		rc = pen_dedup_replace(a->txn, id, &a->old_lock, a->why);
		a->previous = rc ? 0 : id;
		rc = rc == -PEN_BATCH_BUSY ? 0 : rc; /* somebody just takes it up, or cancels it */
	}
	if (fate < 0 || rc)
		return fate < 0 ? fate : rc;
	if (fate != PEN_DEDUP_GIVE_BACK)
		return create(a);
	st = malloc(sizeof *st);
	rc = st ? pen_ledger_load(a->txn, id, &facts, st) : -ENOMEM;
	if (!rc)
		rc = pen_dedup_count(a->txn, a->plan);
	if (!rc)
		rc = met_again(a, facts, st);
	free(facts);
	free(st);
	return rc;
}

static int decide(struct admission *a)
{
	struct pen_facts *facts = NULL;
	struct pen_standing *st;
	uint64_t id;
	int rc;

	if (a->plan->take)
		return take_up(a);
	if (a->plan->dedup)
		return decide_dedup(a);
	if (!a->plan->has_identity)
		return create(a);
	rc = pen_ledger_find(a->txn, a->plan->identity, &id);
	if (rc == -PEN_NOT_FOUND)
		return create(a);
	if (rc)
		return rc;
	st = malloc(sizeof *st);
	if (!st)
		return -ENOMEM;
	rc = pen_ledger_load(a->txn, id, &facts, st);
	if (!rc)
		rc = meet(a, facts, st);
	free(facts);
	free(st);
	return rc;
}

int pen_admit(struct pen_engine *engine, struct pen_batch *batch, struct pen_minutes *minutes,
	      struct pen_failure *why)
{
	struct admission a = {
		.engine = engine,
		.batch = batch,
		.plan = batch->plan,
		.why = why,
		.old_lock = -1,
		.now_ms = pen_real_ms(engine->clock),
	};
	int rc = pen_txn_begin(engine->store, PEN_DURABLE_COMMIT, &a.txn, NULL, why);

	if (rc)
		return rc;
	pen_journal_minute(a.txn, minutes);
	rc = decide(&a);
	if (rc || (batch->already && !a.write))
		pen_txn_abort(a.txn);
	else
		rc = pen_txn_commit(a.txn, why);
	if (rc)
		pen_budget_readmit(engine, &a.hold);
	if (!rc && a.old)
		pen_staged_trim(engine->store, a.old);
	if (a.previous)
		pen_lock_release(engine->store, a.previous, a.old_lock);
	else if (a.old_lock >= 0)
		close(a.old_lock);
	if (rc)
		pen_bulk_forget(batch);
	if ((rc || batch->already) && batch->lock_fd >= 0) {
		/* Closing lets go; the file stays for the next runner. */
		close(batch->lock_fd);
		batch->lock_fd = -1;
	}
	return rc;
}

/* ---- without writing ----------------------------------------------------------------------- */

/* The counterpart of meet_feeder. */
static bool in_the_way(struct pen_store *store, uint64_t id)
{
	struct pen_standing *st = malloc(sizeof *st);
	struct pen_facts *facts = NULL;
	bool yes = st && !pen_ledger_read(store, id, &facts, st) && !pen_ledger_over(st->fixed.state) &&
		   (can_go_on(store, facts) || pen_lock_holder(store, id));

	free(facts);
	free(st);
	return yes;
}

/* What stands in the way though nobody has the batch. id: the batch that goes on or is replaced, or 0. */
static int look_dataset(struct admission *a, uint64_t id, struct pen_look *look)
{
	const struct pen_probe_facts *facts;
	int rc = pen_probe_open(a->engine->store, a->plan->into, a->plan->key_kind, &look->probe, a->why);

	if (rc)
		return rc;
	facts = pen_probe_facts(look->probe);
	if (a->plan->key_kind == PEN_KEY_SEQ && facts->feeder && facts->feeder != id &&
	    in_the_way(a->engine->store, facts->feeder))
		return pen_fail(a->why, -PEN_SEQ_BUSY, 0,
				"batch %016llx, unfinished, appends to dataset '%s' by @seq",
				(unsigned long long)facts->feeder, a->plan->into);
	a->batch->seq_base = facts->next_seq;
	return 0;
}

/* The counterpart of meet. */
static int look_met(struct admission *a, const struct pen_facts *facts, struct pen_standing *st,
		    struct pen_look *look)
{
	uint64_t id = facts->fixed.id;
	const struct pen_probe_facts *ds;
	uint32_t pid;
	bool there;
	int rc = look_dataset(a, pen_ledger_over(st->fixed.state) ? 0 : id, look);

	if (!look->probe)
		return rc;
	ds = pen_probe_facts(look->probe);
	there = ds->exists && ds->id == facts->fixed.dataset_id;
	look->fate = judge(a->plan, facts, st, there);
	look->batch = look->fate == PEN_FATE_NEW ? 0 : id;
	if (look->fate == PEN_FATE_DONE) {
		a->batch->already = true;
		take_over(a, facts, st);
		return 0;
	}
	if (look->fate == PEN_FATE_ANEW)
		say_anew(a->engine, facts, there);
	pid = pen_ledger_over(st->fixed.state) ? 0 : pen_lock_holder(a->engine->store, id);
	if (pid)
		return pen_fail(a->why, -PEN_BATCH_BUSY, 0, "process %u runs this batch (%016llx)", pid,
				(unsigned long long)id);
	if (look->fate == PEN_FATE_REFUSED)
		return say_changed(facts, a->why);
	if (rc || look->fate != PEN_FATE_RESUME)
		return rc;
	if (!there)
		return pen_fail(a->why, -PEN_NO_DATASET, 0, "dataset %s was dropped", a->plan->into);
	if (pen_plan_is_job(a->plan))
		rc = pen_job_read(a->engine->store, id, &a->batch->job);
	if (rc)
		return rc;
	running(a, st, true);
	a->batch->resumed = true;
	take_over(a, facts, st);
	return 0;
}

int pen_admit_look(struct pen_engine *engine, struct pen_batch *batch, struct pen_look *ret,
		   struct pen_failure *why)
{
	struct admission a = {
		.engine = engine,
		.batch = batch,
		.plan = batch->plan,
		.why = why,
		.now_ms = pen_real_ms(engine->clock),
	};
	struct pen_standing *st = calloc(1, sizeof *st);
	struct pen_facts *facts = NULL;
	uint64_t id;
	int rc = st ? -PEN_NOT_FOUND : -ENOMEM;

	*ret = (struct pen_look){ .fate = PEN_FATE_NEW };
	if (st) {
		running(&a, st, false);
		batch->standing = *st;
		if (engine->store && a.plan->has_identity)
			rc = pen_ledger_look(engine->store, a.plan->identity, &id);
	}
	if (!rc)
		rc = pen_ledger_read(engine->store, id, &facts, st);
	if (!rc)
		rc = look_met(&a, facts, st, ret);
	else if (rc == -PEN_NOT_FOUND)
		rc = engine->store ? look_dataset(&a, 0, ret) : 0;
	if (!rc && engine->store && ret->fate != PEN_FATE_DONE)
		rc = pen_batch_may(engine->store, a.plan->owner, a.plan->flags, a.plan->flag_count, NULL,
				   why);
	if (rc)
		ret->fate = PEN_FATE_REFUSED;
	free(facts);
	free(st);
	return rc;
}
