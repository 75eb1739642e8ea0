/* SPDX-License-Identifier: MIT */
#include "engine/diary.h"

#include <stdio.h>
#include <string.h>

#include "engine/batch.h"
#include "engine/group.h"
#include "engine/result.h"
#include "ring/base.h"
#include "ring/clock.h"

#define SLOW_NS PEN_NS_PER_S
#define FIELDS(...)                                    \
	(const struct pen_log_field[]){ __VA_ARGS__ }, \
		PEN_COUNT(((const struct pen_log_field[]){ __VA_ARGS__ }))

struct pen_log_context pen_diary_context(const struct pen_batch *batch, unsigned module)
{
	return (struct pen_log_context){
		.correlation_id = batch->context.correlation_id[0] ? batch->context.correlation_id
								   : batch->plan->correlation_id,
		.user_id = batch->plan->owner,
		.batch = batch->id,
		.module = (uint8_t)module,
	};
}

/* ---- its life -------------------------------------------------------------------------------- */

static const char *work_of(const struct pen_plan *plan)
{
	return plan->job.command ? plan->job.command : "in the process";
}

void pen_diary_begin(struct pen_batch *batch)
{
	struct pen_log_context context = pen_diary_context(batch, PEN_LOG_IN_ENGINE);
	const struct pen_plan *plan = batch->plan;
	const char *name = batch->there			   ? "batch.known"
			   : batch->already && plan->order ? "batch.submitted"
			   : batch->already		   ? "batch.done_before"
			   : batch->resumed		   ? "batch.resumed"
							   : "batch.started";
	const struct pen_fmt_counters *n = &batch->standing.fixed.counted;

	batch->diary.rejected = n->rejected;
	batch->diary.failed = n->failed;
	(void)pen_log_event(
		&context, name,
		FIELDS(PEN_LOG_TEXT("dataset", plan->into), PEN_LOG_U64("sources", plan->source_count),
		       PEN_LOG_TEXT("source", plan->source_count ? plan->sources[0].path : NULL),
		       PEN_LOG_TEXT("processor", work_of(plan)), PEN_LOG_U64("bytesTotal", plan->bytes_total),
		       PEN_LOG_U64("itemCount", n->items)));
}

void pen_diary_refused(const struct pen_batch *batch, int code)
{
	struct pen_log_context context = pen_diary_context(batch, PEN_LOG_IN_ENGINE);

	/* Who comes too late, or finds it at work, has done nothing wrong. */
	context.level = code == -PEN_BATCH_BUSY || code == -PEN_BATCH_OVER || code == -PEN_WAITS
				? PEN_LOG_VERBOSE
				: PEN_LOG_WARN;
	(void)pen_log_fault(&context, code, batch->why.code ? batch->why.text : pen_error_text(code),
			    FIELDS(PEN_LOG_TEXT("dataset", batch->plan->into)));
}

/* The bound below which so many of 1,000 commits lie. */
static uint64_t commit_us(const struct pen_diary *d, unsigned permille)
{
	uint64_t below = 0;

	for (unsigned i = 0; i < PEN_COUNT(d->commit_buckets); i++) {
		below += d->commit_buckets[i];
		if (below * 1000 >= d->commits * permille)
			return pen_min(1ull << i, d->commit_max_us);
	}
	return d->commit_max_us;
}

void pen_diary_commit(struct pen_batch *batch, uint64_t ns, uint64_t items)
{
	struct pen_diary *d = &batch->diary;
	uint64_t us = ns / 1000;
	unsigned bucket = 0;

	while (bucket < PEN_COUNT(d->commit_buckets) - 1 && us >> bucket)
		bucket++;
	d->commits++;
	d->commit_sum_us += us;
	d->commit_max_us = pen_max(d->commit_max_us, us);
	d->commit_buckets[bucket]++;
	if (ns >= SLOW_NS && d->slow_said++ < PEN_DIARY_ITEMS) {
		struct pen_log_context context = pen_diary_context(batch, PEN_LOG_IN_STORE);

		context.level = PEN_LOG_WARN;
		(void)pen_log_performance(&context, "commit", ns, FIELDS(PEN_LOG_U64("itemCount", items)));
	}
}

void pen_diary_stall(struct pen_batch *batch, int code, const char *why)
{
	struct pen_log_context context = pen_diary_context(batch, PEN_LOG_IN_STORE);

	if (!batch->diary.stalled)
		(void)pen_log_fault(&context, code, why, NULL, 0);
	batch->diary.stalled = true;
}

void pen_diary_unstall(struct pen_batch *batch)
{
	struct pen_log_context context = pen_diary_context(batch, PEN_LOG_IN_STORE);

	if (batch->diary.stalled)
		(void)pen_log_event(&context, "batch.goes_on", NULL, 0);
	batch->diary.stalled = false;
}

static void tell_job(const struct pen_batch *batch)
{
	struct pen_log_context context = pen_diary_context(batch, PEN_LOG_IN_FOREMAN);
	const struct pen_fmt_job *job = &batch->job;

	if (!pen_plan_is_job(batch->plan))
		return;
	(void)pen_log_info(&context, "tries of the batch so far",
			   FIELDS(PEN_LOG_U64("tries", job->tries), PEN_LOG_U64("retries", job->retries),
				  PEN_LOG_U64("crashes", job->crashes),
				  PEN_LOG_U64("retrying", job->retrying),
				  PEN_LOG_REAL("costMs", (double)job->cost_ns / 1e6)));
	if (batch->plan->job.cache)
		(void)pen_log_cache(&context, "results of earlier work", job->cache_hits, job->cache_misses,
				    NULL, 0);
}

void pen_diary_end(struct pen_batch *batch, int code)
{
	struct pen_log_context context = pen_diary_context(batch, PEN_LOG_IN_ENGINE);
	const struct pen_fmt_state *s = &batch->standing.fixed;
	const struct pen_fmt_counters *n = &s->counted;
	const struct pen_diary *d = &batch->diary;
	char name[32];

	if (d->commits)
		(void)pen_log_performance(
			&context, "commits of the batch", d->commit_sum_us * 1000,
			FIELDS(PEN_LOG_U64("count", d->commits),
			       PEN_LOG_REAL("meanMs", (double)d->commit_sum_us / 1000 / (double)d->commits),
			       PEN_LOG_REAL("p50Ms", (double)commit_us(d, 500) / 1000),
			       PEN_LOG_REAL("p99Ms", (double)commit_us(d, 990) / 1000),
			       PEN_LOG_REAL("maxMs", (double)d->commit_max_us / 1000)));
	tell_job(batch);
	if (n->rejected > d->rejected || n->failed > d->failed)
		(void)pen_log_warn(
			&context, "items were rejected or failed",
			FIELDS(PEN_LOG_U64("rejected", n->rejected - d->rejected),
			       PEN_LOG_U64("failed", n->failed - d->failed),
			       PEN_LOG_U64("named", d->flaws_said + d->unsafe_said + d->fates_said)));
	if (batch->why.code)
		(void)pen_log_fault(&context, batch->why.code, batch->why.text, NULL, 0);
	(void)snprintf(name, sizeof name, "batch.%s", pen_state_name((enum pen_state)s->state));
	/* What was not committed as an end is none: the batch goes on another time. */
	if (code && s->state == PEN_RUNNING)
		(void)snprintf(name, sizeof name, "batch.interrupted");
	const struct pen_log_field fields[] = {
		PEN_LOG_TEXT("dataset", batch->plan->into),
		PEN_LOG_U64("itemCount", n->items),
		PEN_LOG_U64("committed", n->committed),
		PEN_LOG_U64("rejected", n->rejected),
		PEN_LOG_U64("failed", n->failed),
		PEN_LOG_U64("skipped", n->skipped),
		PEN_LOG_U64("duplicates", n->duplicates),
		PEN_LOG_U64("bytes", n->bytes),
		PEN_LOG_U64("groups", s->groups),
		PEN_LOG_REAL("activeMs", (double)s->active_ms),
		PEN_LOG_TEXT("why", code ? pen_error_name(code) : NULL),
	};
	(void)pen_log_event(&context, name, fields, PEN_COUNT(fields));
}

/* ---- items ----------------------------------------------------------------------------------- */

static bool unsafe(int code)
{
	return code == -PEN_MEMBER_OUTSIDE || code == -PEN_LINK_OUTSIDE || code == -PEN_SOURCE_DENIED;
}

static void tell_flaw(struct pen_batch *batch, const struct pen_chunk *chunk, const struct pen_flaw *flaw)
{
	struct pen_log_context context = pen_diary_context(batch, PEN_LOG_IN_ENGINE);
	const char *says = pen_flaw_message(chunk, flaw);
	int code = -(int)flaw->code;
	struct pen_row place = { 0 };

	pen_group_place(chunk, flaw->at, flaw->line, &place);
	const struct pen_log_field fields[] = {
		PEN_LOG_TEXT("source", batch->plan->puts ? NULL : batch->plan->sources[place.source].path),
		PEN_LOG_TEXT("path", place.path),
		PEN_LOG_U64("line", place.line),
		PEN_LOG_TEXT("says", *says ? says : NULL),
	};
	struct pen_log_line line = {
		.size = sizeof line,
		.kind = PEN_LOG_KIND_WARN,
		.message = pen_error_text(code),
		.code = code,
		.fields = fields,
		.field_count = PEN_COUNT(fields),
	};

	context.item = chunk->first_item + flaw->item;
	context.has_item = true;
	if (unsafe(code)) {
		line.kind = PEN_LOG_KIND_SECURITY;
		line.severity = code == -PEN_SOURCE_DENIED ? PEN_LOG_LOW : PEN_LOG_MEDIUM;
		/* A security line is kept at any level: those behind the first are no such lines. */
		if (batch->diary.unsafe_said == PEN_DIARY_ITEMS)
			line.kind = PEN_LOG_KIND_DEBUG;
		else
			batch->diary.unsafe_said++;
	} else if (batch->diary.flaws_said == PEN_DIARY_ITEMS) {
		context.level = PEN_LOG_DEBUG;
	} else {
		batch->diary.flaws_said++;
	}
	line.context = context;
	(void)pen_log_put(&line);
}

static void tell_result(struct pen_batch *batch, const struct pen_pack *pack, const struct pen_result *r)
{
	bool bad = r->state == PEN_ITEM_FAILED || r->state == PEN_ITEM_QUARANTINED ||
		   r->state == PEN_ITEM_REJECTED;
	struct pen_log_context context = pen_diary_context(batch, PEN_LOG_IN_FOREMAN);
	const struct pen_log_field fields[] = {
		PEN_LOG_TEXT("service", batch->plan->job.command),
		PEN_LOG_TEXT("state", pen_item_state_name((enum pen_item_state)r->state)),
		PEN_LOG_U64("attempt", r->attempts),
		PEN_LOG_I64("exitStatus", r->exit_status),
		PEN_LOG_U64("signal", r->term_signal),
		PEN_LOG_REAL("tookMs", (double)r->spent_us / 1000),
	};
	struct pen_log_line line = {
		.size = sizeof line,
		.kind = PEN_LOG_KIND_EXTERNAL,
		.message = r->message.len		   ? pack->data + r->message.at
			   : r->state == PEN_ITEM_RETRYING ? "retry"
							   : "done",
		.code = r->code,
		.fields = fields,
		.field_count = PEN_COUNT(fields),
	};

	context.item = r->seq;
	context.has_item = true;
	context.level = PEN_LOG_DEBUG;
	if (bad && batch->diary.fates_said < PEN_DIARY_ITEMS) {
		batch->diary.fates_said++;
		context.level = PEN_LOG_WARN;
	}
	line.context = context;
	(void)pen_log_put(&line);
}

void pen_diary_chunk(struct pen_batch *batch, const struct pen_chunk *chunk)
{
	struct pen_log_context context;
	const struct pen_pack *pack;

	switch (chunk->kind) {
	case PEN_CHUNK_PAUSE:
	case PEN_CHUNK_RESUME:
		context = pen_diary_context(batch, PEN_LOG_IN_ENGINE);
		(void)pen_log_event(
			&context, chunk->kind == PEN_CHUNK_PAUSE ? "batch.paused" : "batch.goes_on", NULL, 0);
		return;
	case PEN_CHUNK_RESULTS:
		pack = (const void *)chunk;
		for (uint32_t i = 0; i < pack->count; i++) {
			const struct pen_result *r = &pack->results[i];

			/* The good ones, and what is tried again, are said at debug alone: looked at once. */
			if (r->state == PEN_ITEM_FAILED || r->state == PEN_ITEM_QUARANTINED ||
			    r->state == PEN_ITEM_REJECTED || pen_log_on(PEN_LOG_IN_FOREMAN, PEN_LOG_DEBUG))
				tell_result(batch, pack, r);
		}
		return;
	case PEN_CHUNK_RECORDS:
	case PEN_CHUNK_FILES:
	case PEN_CHUNK_PUTS:
	case PEN_CHUNK_FLAW:
		for (uint32_t i = 0; i < chunk->flaw_count; i++) {
			const struct pen_flaw *flaw = pen_chunk_flaw(chunk, i);
			uint32_t said = unsafe(-(int)flaw->code) ? batch->diary.unsafe_said
								 : batch->diary.flaws_said;

			/* There may be millions. */
			if (said < PEN_DIARY_ITEMS || pen_log_on(PEN_LOG_IN_ENGINE, PEN_LOG_DEBUG))
				tell_flaw(batch, chunk, flaw);
		}
		return;
	default:
		return;
	}
}

/* ---- the engine ------------------------------------------------------------------------------ */

void pen_diary_fault(int code, const char *what)
{
	const struct pen_log_line line = {
		.size = sizeof line,
		.kind = PEN_LOG_KIND_FAULT,
		.context.module = PEN_LOG_IN_ENGINE,
		.message = what,
		.code = code,
		.trace = true,
	};

	(void)pen_log_put(&line);
}

void pen_diary_notice(int code, const char *text)
{
	const struct pen_log_line line = {
		.size = sizeof line,
		.kind = code ? PEN_LOG_KIND_WARN : PEN_LOG_KIND_LOG,
		.context.module = PEN_LOG_IN_ENGINE,
		.message = text,
		.code = code,
	};

	(void)pen_log_put(&line);
}
