/* SPDX-License-Identifier: MIT */
/*
 * Batches that are entered now and run later: the request as bytes, and the plan that is made from it again.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/graph.h"
#include "engine/order.h"
#include "engine/plan.h"
#include "engine/share.h"
#include "ring/base.h"
#include "ring/error.h"
#include "store/job.h"
#include "store/ledger.h"

#define ID "%016" PRIx64

int pen_plan_pack(struct pen_plan *plan, const struct pen_run *run, struct pen_failure *why)
{
	struct pen_run full = *run;
	int rc;

	/* Made up once, and the same ever after. */
	full.owner = plan->owner;
	full.correlation_id = plan->correlation_id;
	full.traceparent = *plan->traceparent ? plan->traceparent : NULL;
	free(plan->packed);
	plan->packed = NULL;
	rc = pen_order_pack(&full, &plan->packed, &plan->packed_len);
	return rc ? pen_fail(why, rc, ENOMEM, "no memory for the request") : 0;
}

void pen_plan_free_order(struct pen_plan *plan)
{
	if (plan->order) {
		free((void *)(uintptr_t)plan->order->parents);
		free((void *)(uintptr_t)plan->order->hook);
		free(plan->order);
	}
	free(plan->dedup);
	free(plan->packed);
}

/* ---- entering -------------------------------------------------------------------------------- */

static int copy_parents(struct pen_order *order, const struct pen_submit *submit, struct pen_failure *why)
{
	struct pen_parent *parents;

	if (submit->after_count > PEN_GRAPH_PARENTS)
		return pen_fail(why, -PEN_USAGE, 0, "%zu batches to wait for; at most %u",
				submit->after_count, PEN_GRAPH_PARENTS);
	if (!submit->after_count)
		return 0;
	parents = calloc(submit->after_count, sizeof *parents);
	order->parents = parents;
	if (!parents)
		return -ENOMEM;
	for (size_t i = 0; i < submit->after_count; i++) {
		for (size_t k = 0; k < i; k++)
			if (parents[k].id == submit->after[i].batch)
				return pen_fail(why, -PEN_USAGE, 0, "batch " ID " is waited for twice",
						submit->after[i].batch);
		parents[i] = (struct pen_parent){ submit->after[i].batch,
						  submit->after[i].ok ? PEN_EDGE_OK : PEN_EDGE_ANY };
	}
	order->parent_count = (uint32_t)submit->after_count;
	return 0;
}

static int copy_dedup(struct pen_plan *plan, const struct pen_submit *submit, struct pen_failure *why)
{
	enum pen_dedup_mode mode = submit->dedup_mode;
	uint64_t ttl_ms = submit->dedup_ttl_ms;

	if (!submit->dedup)
		return mode || ttl_ms ? pen_fail(why, -PEN_USAGE, 0, "a dedup mode or time without a key")
				      : 0;
	if (mode == PEN_DEDUP_AUTO)
		mode = ttl_ms ? PEN_DEDUP_THROTTLE : PEN_DEDUP_SIMPLE;
	if (mode < PEN_DEDUP_SIMPLE || mode > PEN_DEDUP_DEBOUNCE)
		return pen_fail(why, -PEN_USAGE, 0, "no dedup mode has the number %d", (int)mode);
	if (!*submit->dedup || strlen(submit->dedup) > PEN_DEDUP_KEY_MAX)
		return pen_fail(why, -PEN_USAGE, 0, "a dedup key has 1 to %u bytes", PEN_DEDUP_KEY_MAX);
	if (mode == PEN_DEDUP_SIMPLE ? ttl_ms != 0 : !ttl_ms || ttl_ms > PEN_DEDUP_TTL_MAX_MS)
		return pen_fail(why, -PEN_USAGE, 0,
				mode == PEN_DEDUP_SIMPLE
					? "simple dedup has no time; throttle and debounce have"
					: "throttle and debounce need a time of 1 ms to 365 days");
	if (plan->fresh || *plan->idempotency_key)
		return pen_fail(why, -PEN_USAGE, 0, "a dedup key goes with neither %s",
				"an idempotency key nor a fresh start");
	plan->dedup = strdup(submit->dedup);
	if (!plan->dedup)
		return -ENOMEM;
	plan->dedup_mode = mode;
	plan->dedup_ttl_ms = ttl_ms;
	return 0;
}

static int make_order(struct pen_plan *plan, const struct pen_submit *submit, struct pen_failure *why)
{
	plan->order = calloc(1, sizeof *plan->order);
	if (!plan->order)
		return -ENOMEM;
	if (submit->priority < PEN_SHARE_PRIORITY_MIN || submit->priority > PEN_SHARE_PRIORITY_MAX)
		return pen_fail(why, -PEN_USAGE, 0, "the priority is %d; it goes from %d to %d",
				submit->priority, PEN_SHARE_PRIORITY_MIN, PEN_SHARE_PRIORITY_MAX);
	plan->order->fixed.priority = submit->priority;
	plan->order->fixed.not_before_ms = submit->not_before_ms;
	if (submit->on_complete && *submit->on_complete) {
		plan->order->hook = strdup(submit->on_complete);
		if (!plan->order->hook)
			return -ENOMEM;
	}
	return copy_parents(plan->order, submit, why);
}

int pen_plan_open_submit(const struct pen_submit *submit, struct pen_store *store, struct pen_plan **ret,
			 struct pen_failure *why)
{
	const char *spool[1] = { NULL };
	struct pen_run run;
	char *path = NULL;
	int rc;

	if (submit->size < sizeof *submit || !submit->run || submit->run->size < sizeof run)
		return pen_fail(why, -PEN_USAGE, 0,
				"the size of struct pen_submit or its pen_run is not set");
	run = *submit->run;
	if (submit->spool) {
		if (asprintf(&path, "%s/staging/%s", pen_store_path(store), submit->spool) < 0)
			return -ENOMEM;
		spool[0] = path;
		run.source_count = run.items ? 0 : 1;
		run.sources = spool;
		run.items = run.items ? path : NULL;
	}
	rc = pen_plan_open(&run, false, ret, why);
	if (!rc) {
		(*ret)->spooled = submit->spool != NULL;
		rc = make_order(*ret, submit, why);
		if (!rc)
			rc = copy_dedup(*ret, submit, why);
		if (!rc)
			rc = pen_plan_pack(*ret, &run, why);
		if (rc) {
			pen_fail(why, rc, -rc, "no memory for an order");
			pen_plan_close(*ret);
			*ret = NULL;
		}
	}
	free(path);
	return rc;
}

/* ---- what the store keeps of the sources ------------------------------------------------------- */

char *pen_plan_join_sources(const struct pen_plan *plan, size_t *ret_len)
{
	size_t len = 0, at = 0;
	char *text;

	for (uint32_t i = 0; i < plan->source_count; i++)
		len += strlen(plan->sources[i].path) + 1;
	text = calloc(1, len + 1);
	for (uint32_t i = 0; text && i < plan->source_count; i++) {
		size_t n = strlen(plan->sources[i].path) + 1;

		memcpy(text + at, plan->sources[i].path, n);
		at += n;
	}
	*ret_len = len ? len - 1 : 0;
	return text;
}

enum pen_format pen_plan_settled_format(const struct pen_plan *plan)
{
	enum pen_format format = plan->source_count ? plan->sources[0].format : plan->format;

	for (uint32_t i = 1; i < plan->source_count; i++)
		if (plan->sources[i].format != format)
			return PEN_FORMAT_AUTO;
	return format;
}

/* ---- taking up ------------------------------------------------------------------------------- */

/* The sources by name: what is left are items in rows, and those that are files are found by their paths. */
static int name_sources(struct pen_plan *plan, const struct pen_facts *facts)
{
	size_t count = pen_ledger_list_count(facts->sources, facts->sources_len);
	struct stat st;

	plan->sources = calloc(count ? count : 1, sizeof *plan->sources);
	if (!plan->sources)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		struct pen_source *s = &plan->sources[i];

		s->path = strdup(pen_ledger_list_at(facts->sources, facts->sources_len, i));
		if (!s->path)
			return -ENOMEM;
		s->format = facts->fixed.format;
		s->kind = !stat(s->path, &st) && S_ISDIR(st.st_mode) ? PEN_SOURCE_TREE : PEN_SOURCE_FILE;
		plan->source_count++;
	}
	plan->bytes_total = facts->fixed.bytes_total;
	plan->items_total = facts->fixed.items_total;
	return 0;
}

/* The sources of which everything was given out. To be dealt with in the end, they are looked at: are they the same? */
static int find_sources(struct pen_plan *plan, const struct pen_facts *facts)
{
	static const _Atomic bool never;
	struct pen_failure scratch = { 0 };

	if (plan->on_success != PEN_SUCCESS_KEEP && !pen_plan_look(plan, &never, &scratch) &&
	    !memcmp(facts->fixed.content, plan->content, sizeof plan->content))
		return 0;
	for (uint32_t i = 0; i < plan->source_count; i++) {
		free(plan->sources[i].path);
		pen_csv_unref(plan->sources[i].csv);
	}
	free(plan->sources);
	plan->source_count = 0;
	memset(plan->content, 0, sizeof plan->content);
	return name_sources(plan, facts);
}

/* $PENSTOCK_PARENTS: how the batches ended that this one waited for. */
static int tell_parents(struct pen_store *store, const struct pen_order *order, struct pen_plan *plan)
{
	char *text = NULL, **env;
	size_t len = 0;
	FILE *f;

	if (!pen_plan_is_job(plan))
		return 0;
	f = open_memstream(&text, &len);
	env = realloc(plan->job.env, (plan->job.env_count + 2) * sizeof *env);
	if (env)
		plan->job.env = env;
	if (!f || !env) {
		if (f)
			fclose(f);
		free(text);
		return -ENOMEM;
	}
	(void)fwrite("PENSTOCK_PARENTS=[", 1, 18, f);
	for (uint32_t i = 0; i < order->parent_count; i++) {
		struct pen_batch_info info = { .id = order->parents[i].id };
		const struct pen_counters *n = &info.counted;
		bool there = !pen_batch_get(store, info.id, &info);
		char one[320];
		int n_bytes;

		n_bytes = snprintf(one, sizeof one,
				   "%s{\"batch\":\"" ID "\",\"state\":\"%s\",\"items\":%" PRIu64
				   ",\"committed\":%" PRIu64 ",\"rejected\":%" PRIu64 ",\"failed\":%" PRIu64
				   ",\"skipped\":%" PRIu64 "}",
				   i ? "," : "", order->parents[i].id,
				   there ? pen_state_name(info.state) : "gone", n->items, n->committed,
				   n->rejected, n->failed, n->skipped);
		(void)fwrite(one, 1, (size_t)n_bytes, f); /* 7 numbers and a state's name fit */
	}
	(void)fwrite("]", 1, 1, f); /* what could not be written is said by fclose */
	if (fclose(f)) {
		free(text);
		return -ENOMEM;
	}
	env[plan->job.env_count++] = text;
	env[plan->job.env_count] = NULL;
	return 0;
}

int pen_plan_open_take(struct pen_store *store, uint64_t id, struct pen_plan **ret, struct pen_failure *why)
{
	struct pen_order *order = NULL;
	struct pen_facts *facts = NULL;
	struct pen_plan *plan = NULL;
	struct pen_run *run = NULL;
	struct pen_fmt_job job = { 0 };
	int rc = pen_ledger_read(store, id, &facts, NULL);

	if (rc)
		return pen_fail(why, rc, 0, "there is no batch " ID, id);
	rc = pen_order_read(store, id, &order);
	if (rc == -PEN_NOT_FOUND)
		rc = pen_fail(why, -PEN_UNSUPPORTED, 0,
			      "batch " ID " was not submitted: it goes on when its command is given again",
			      id);
	if (!rc)
		rc = pen_order_unpack(order->spec, order->spec_len, &run);
	if (!rc)
		rc = pen_plan_open(run, false, &plan, why);
	if (!rc && order->parent_count)
		rc = tell_parents(store, order, plan);
	if (!rc) {
		rc = pen_job_read(store, id, &job);
		if (rc == -PEN_NOT_FOUND)
			rc = 0; /* its items do not end one by one */
	}
	if (!rc) {
		plan->take = id;
		plan->parents = order->parent_count;
		plan->fed = job.fed;
		rc = plan->fed ? find_sources(plan, facts) : 0;
	}
	free(facts);
	free(order);
	free(run);
	if (rc) {
		pen_fail(why, rc, 0, "batch " ID " cannot be taken up: %s", id, pen_error_text(rc));
		pen_plan_close(plan);
		return rc;
	}
	*ret = plan;
	return 0;
}
