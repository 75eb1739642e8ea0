/* SPDX-License-Identifier: MIT */
#include "tools/standing.h"

#include <string.h>

#include "tools/text.h"

/* A batch that was cleaned away has no state any more. */
static const char *state_of(struct pen_store *store, uint64_t id)
{
	struct pen_batch_info info;

	return pen_batch_get(store, id, &info) ? NULL : pen_state_name(info.state);
}

static void put_time(struct pen_jw *jw, const char *name, uint64_t ms)
{
	char when[PEN_TEXT_NUMBER];

	pen_jw_text(jw, name, ms ? pen_text_time(when, ms) : NULL);
}

static const char *hook_word(const struct pen_job_info *job)
{
	return !job->has_hook ? NULL : job->hook_owed ? "owed" : "done";
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void put_wish(struct pen_jw *jw, struct pen_store *store, uint64_t id)
{
	struct pen_wish_info wish;

	if (pen_batch_wished(store, id, &wish)) {
		pen_jw_null(jw, "wish");
		return;
	}
	pen_jw_object(jw, "wish");
	pen_jw_text(jw, "what", wish.wish == PEN_WISH_CANCEL ? "cancel" : "pause");
	pen_jw_data(jw, "by", wish.by, strlen(wish.by));
	pen_jw_data(jw, "reason", wish.reason, strlen(wish.reason));
	put_time(jw, "time", wish.time_ms);
	pen_jw_object_end(jw);
}

/* The flags it was made under, and the one that holds it now. */
static void put_flags(struct pen_jw *jw, struct pen_store *store, uint64_t id)
{
	struct pen_flag_pin pins[PEN_FLAG_GATES_MAX], held;
	int n = pen_batch_flags(store, id, pins, PEN_FLAG_GATES_MAX);

	pen_jw_array(jw, "flags");
	for (int i = 0; i < n; i++) {
		const struct pen_flag_verdict *v = &pins[i].verdict;

		pen_jw_object(jw, NULL);
		pen_jw_text(jw, "flag", pins[i].name);
		pen_jw_u64(jw, "version", v->version);
		pen_jw_bool(jw, "on", v->on);
		pen_jw_text(jw, "variant", v->variant);
		pen_jw_text(jw, "reason", pen_flag_reason_name(v->reason));
		if (v->reason == PEN_FLAG_SPLIT)
			pen_jw_u64(jw, "bucket", v->bucket);
		else
			pen_jw_null(jw, "bucket");
		pen_jw_object_end(jw);
	}
	pen_jw_array_end(jw);
	if (pen_batch_held(store, id, &held) != 1) {
		pen_jw_null(jw, "held_by_flag");
		return;
	}
	pen_jw_object(jw, "held_by_flag");
	pen_jw_text(jw, "flag", held.name);
	pen_jw_text(jw, "reason", pen_flag_reason_name(held.verdict.reason));
	pen_jw_u64(jw, "version", held.verdict.version);
	pen_jw_object_end(jw);
}

static void put_kin(struct pen_jw *jw, struct pen_store *store, uint64_t id)
{
	struct pen_after parents[256];
	uint64_t children[PEN_STANDING_KIN + 1];
	int n = pen_batch_parents(store, id, parents, 256);

	pen_jw_array(jw, "parents");
	for (int i = 0; i < n; i++) {
		pen_jw_object(jw, NULL);
		pen_jw_id(jw, "batch", parents[i].batch);
		pen_jw_text(jw, "after", parents[i].ok ? "ok" : "any");
		pen_jw_text(jw, "state", state_of(store, parents[i].batch));
		pen_jw_object_end(jw);
	}
	pen_jw_array_end(jw);
	n = pen_batch_children(store, id, 0, children, PEN_STANDING_KIN + 1);
	pen_jw_array(jw, "children");
	for (int i = 0; i < n && i < (int)PEN_STANDING_KIN; i++) {
		pen_jw_object(jw, NULL);
		pen_jw_id(jw, "batch", children[i]);
		pen_jw_text(jw, "state", state_of(store, children[i]));
		pen_jw_object_end(jw);
	}
	pen_jw_array_end(jw);
	pen_jw_bool(jw, "children_more", n > (int)PEN_STANDING_KIN);
}

void pen_standing_put(struct pen_jw *jw, struct pen_store *store, uint64_t id)
{
	struct pen_job_info job;

	if (pen_batch_job(store, id, &job))
		job = (struct pen_job_info){ .submitted = false };
	pen_jw_u64(jw, "retrying", job.retrying);
	put_time(jw, "due", job.due_ms);
	pen_jw_u64(jw, "tries", job.tries);
	pen_jw_u64(jw, "retries", job.retries);
	pen_jw_u64(jw, "crashes", job.crashes);
	pen_jw_u64(jw, "dropped", job.dropped);
	pen_jw_u64(jw, "cache_hits", job.cache_hits);
	pen_jw_u64(jw, "cache_misses", job.cache_misses);
	pen_jw_bool(jw, "submitted", job.submitted);
	pen_jw_i64(jw, "priority", job.priority);
	put_time(jw, "not_before", job.not_before_ms);
	pen_jw_text(jw, "on_complete", hook_word(&job));
	put_wish(jw, store, id);
	put_flags(jw, store, id);
	put_kin(jw, store, id);
}

/* ---- lines ----------------------------------------------------------------------------------- */

static void show_job(struct pen_out *out, const struct pen_job_info *job)
{
	char when[PEN_TEXT_NUMBER], a[PEN_TEXT_NUMBER], b[PEN_TEXT_NUMBER];

	if (job->tried)
		pen_out_format(
			out,
			"tries       %s; %s times an item was to be tried again, %llu crashes of workers\n",
			pen_text_count(a, job->tries), pen_text_count(b, job->retries),
			(unsigned long long)job->crashes);
	if (job->retrying)
		pen_out_format(out, "retrying    %s items; the first is due %s\n",
			       pen_text_count(a, job->retrying), pen_text_time(when, job->due_ms));
	if (job->dropped)
		pen_out_format(out, "dropped     %s of the skipped, by the processor\n",
			       pen_text_count(a, job->dropped));
	if (job->cache_hits || job->cache_misses)
		pen_out_format(out, "cache       %s hits, %s misses\n", pen_text_count(a, job->cache_hits),
			       pen_text_count(b, job->cache_misses));
	if (!job->submitted)
		return;
	pen_out_format(out, "order       priority %d", job->priority);
	if (job->not_before_ms)
		pen_out_format(out, ", not before %s", pen_text_time(when, job->not_before_ms));
	if (job->has_hook)
		pen_out_format(out, ", its command is %s", hook_word(job));
	pen_out_char(out, '\n');
}

static void show_wish(struct pen_out *out, struct pen_store *store, uint64_t id)
{
	struct pen_wish_info wish;
	char when[PEN_TEXT_NUMBER];

	if (pen_batch_wished(store, id, &wish))
		return;
	pen_out_format(out, "%s", wish.wish == PEN_WISH_CANCEL ? "cancelled   by " : "paused      by ");
	pen_out_safe(out, *wish.by ? wish.by : "somebody", strlen(*wish.by ? wish.by : "somebody"), false);
	pen_out_format(out, ", %s%s", pen_text_time(when, wish.time_ms), *wish.reason ? ": " : "");
	pen_out_safe(out, wish.reason, strlen(wish.reason), false);
	pen_out_char(out, '\n');
}

static void show_flags(struct pen_out *out, struct pen_store *store, uint64_t id)
{
	struct pen_flag_pin pins[PEN_FLAG_GATES_MAX], held;
	int n = pen_batch_flags(store, id, pins, PEN_FLAG_GATES_MAX);

	for (int i = 0; i < n; i++)
		pen_out_format(out, "%-12s%s version %llu: on, %s, variant %s\n", i ? "" : "flags",
			       pins[i].name, (unsigned long long)pins[i].verdict.version,
			       pen_flag_reason_name(pins[i].verdict.reason), pins[i].verdict.variant);
	if (pen_batch_held(store, id, &held) == 1)
		pen_out_format(out, "held        by flag %s, which is off for its owner (%s, version %llu)\n",
			       held.name, pen_flag_reason_name(held.verdict.reason),
			       (unsigned long long)held.verdict.version);
}

static void show_one(struct pen_out *out, struct pen_store *store, const char *head, uint64_t id,
		     const char *more)
{
	const char *state = state_of(store, id);
	char text[PEN_TEXT_NUMBER];

	pen_out_format(out, "%-12s%s  %s%s\n", head, pen_text_id(text, id),
		       state ? state : "not there any more", more);
}

void pen_standing_show(struct pen_out *out, struct pen_store *store, uint64_t id)
{
	struct pen_after parents[256];
	uint64_t children[PEN_STANDING_KIN + 1];
	struct pen_job_info job;
	int n;

	if (!pen_batch_job(store, id, &job))
		show_job(out, &job);
	show_wish(out, store, id);
	show_flags(out, store, id);
	n = pen_batch_parents(store, id, parents, 256);
	for (int i = 0; i < n; i++)
		show_one(out, store, i ? "" : "waits for", parents[i].batch,
			 parents[i].ok ? " (has to end well)" : "");
	n = pen_batch_children(store, id, 0, children, PEN_STANDING_KIN + 1);
	for (int i = 0; i < n && i < (int)PEN_STANDING_KIN; i++)
		show_one(out, store, i ? "" : "behind it", children[i], "");
	if (n > (int)PEN_STANDING_KIN)
		pen_out_text(out, "            and more: status --graph lists them all\n");
}

/* ---- the graph ------------------------------------------------------------------------------- */

struct graph {
	struct pen_store *store;
	struct pen_jw *jw;
	struct pen_out *out;
	const char *side;
	bool any;
};

static int put_relative(void *arg, uint64_t batch)
{
	struct graph *g = arg;

	if (g->jw) {
		pen_jw_object(g->jw, NULL);
		pen_jw_id(g->jw, "batch", batch);
		pen_jw_text(g->jw, "state", state_of(g->store, batch));
		pen_jw_text(g->jw, "side", g->side);
		pen_jw_object_end(g->jw);
	} else {
		show_one(g->out, g->store, g->any ? "" : g->side, batch, "");
	}
	g->any = true;
	return pen_out_failed(g->jw ? g->jw->out : g->out) ? 1 : 0;
}

static int walk(struct graph *g, uint64_t id, struct pen_failure *why)
{
	int rc;

	g->side = "before";
	rc = pen_batch_kin(g->store, id, false, put_relative, g, why);
	if (rc)
		return rc < 0 ? rc : 0;
	g->side = "behind";
	g->any = false;
	rc = pen_batch_kin(g->store, id, true, put_relative, g, why);
	return rc < 0 ? rc : 0;
}

int pen_standing_put_graph(struct pen_jw *jw, struct pen_store *store, uint64_t id, struct pen_failure *why)
{
	struct graph g = { .store = store, .jw = jw };
	int rc;

	pen_jw_array(jw, "graph");
	rc = walk(&g, id, why);
	pen_jw_array_end(jw);
	return rc;
}

int pen_standing_show_graph(struct pen_out *out, struct pen_store *store, uint64_t id,
			    struct pen_failure *why)
{
	struct graph g = { .store = store, .out = out };

	pen_out_text(out, "graph\n");
	return walk(&g, id, why);
}

/* ---- the queue ------------------------------------------------------------------------------- */

#define HOLDUPS 16 /* processes that are listed */

static void put_holdups(struct pen_jw *jw, struct pen_store *store)
{
	struct pen_holdup all[HOLDUPS];
	int n = pen_queue_holdups(store, all, HOLDUPS);

	pen_jw_array(jw, "held");
	for (int i = 0; i < n; i++) {
		pen_jw_object(jw, NULL);
		pen_jw_u64(jw, "pid", all[i].pid);
		pen_jw_text(jw, "reason", all[i].text);
		pen_jw_object_end(jw);
	}
	pen_jw_array_end(jw);
}

void pen_standing_put_queue(struct pen_jw *jw, struct pen_store *store)
{
	struct pen_queue_info q;

	if (pen_queue_look(store, &q))
		q = (struct pen_queue_info){ .whole = false };
	pen_jw_u64(jw, "queued", q.queued);
	pen_jw_u64(jw, "waiting", q.waiting);
	pen_jw_u64(jw, "paused", q.paused);
	if (q.due_now)
		pen_jw_text(jw, "due", "now");
	else
		put_time(jw, "due", q.due_ms);
	put_holdups(jw, store);
}

void pen_standing_show_queue(struct pen_out *out, struct pen_store *store)
{
	char when[PEN_TEXT_NUMBER];
	struct pen_holdup all[HOLDUPS];
	struct pen_queue_info q;
	int n;

	if (pen_queue_look(store, &q) || !(q.queued + q.waiting + q.paused))
		return;
	pen_out_format(out, "queue       %llu queued, %llu waiting, %llu paused",
		       (unsigned long long)q.queued, (unsigned long long)q.waiting,
		       (unsigned long long)q.paused);
	if (q.due_now || q.due_ms)
		pen_out_format(out, "; the next is due %s",
			       q.due_now ? "now" : pen_text_time(when, q.due_ms));
	pen_out_char(out, '\n');
	n = pen_queue_holdups(store, all, HOLDUPS);
	for (int k = 0; k < n; k++)
		pen_out_format(out, "            process %u begins nothing more: %s\n", all[k].pid,
			       all[k].text);
}
