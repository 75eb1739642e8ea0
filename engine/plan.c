/* SPDX-License-Identifier: MIT */
/*
 * open copies and checks what can be checked without touching a file; look then has each source looked at, so that one
 * that cannot be read stops the batch before anything runs, and hashes the identities.
 */
#include "engine/plan.h"

#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/chunk.h"
#include "engine/context.h"
#include "engine/gate.h"
#include "engine/quota.h"
#include "ring/base.h"
#include "ring/error.h"
#include "store/dataset.h"

/* ---- copying and checking ------------------------------------------------------------------ */

static char *owner_name(const char *given)
{
	char buf[1024], number[16];
	struct passwd pw, *found = NULL;

	if (given)
		return strdup(given);
	if (!getpwuid_r(geteuid(), &pw, buf, sizeof buf, &found) && found)
		return strdup(pw.pw_name);
	snprintf(number, sizeof number, "%u", (unsigned)geteuid());
	return strdup(number);
}

static int copy_live(struct pen_plan *plan, const struct pen_run *run, struct pen_failure *why)
{
	if (run->live_count > PEN_LIVE_MAX)
		return pen_fail(why, -PEN_USAGE, 0, "%zu live counters; a batch has up to %u",
				run->live_count, PEN_LIVE_MAX);
	for (size_t i = 0; i < run->live_count; i++)
		(void)snprintf(plan->live[i], sizeof plan->live[i], "%s", run->live[i]);
	return 0;
}

static int check_key(struct pen_plan *plan, struct pen_failure *why)
{
	static const struct {
		const char *name;
		enum pen_key kind;
	} named[] = { { "@seq", PEN_KEY_SEQ },
		      { "@offset", PEN_KEY_OFFSET },
		      { "@path", PEN_KEY_PATH },
		      { "@content", PEN_KEY_CONTENT } };
	int rc;

	for (size_t i = 0; i < PEN_COUNT(named); i++) {
		if (strcmp(plan->key, named[i].name))
			continue;
		plan->key_kind = named[i].kind;
		return 0;
	}
	plan->key_kind = PEN_KEY_POINTER;
	plan->column = *plan->key != '/' && *plan->key != '@' && *plan->key;
	if (plan->column)
		return 0;
	rc = pen_pointer_parse(&plan->pointer, plan->key);
	if (rc)
		return pen_fail(
			why, rc, 0,
			"the key '%s' is neither @seq, @offset, @path, @content, a JSON pointer nor a column",
			plan->key);
	return 0;
}

static int join_labels(struct pen_plan *plan, const struct pen_run *run, const char *trace,
		       struct pen_failure *why)
{
	size_t len = 0, at = 0;

	if (run->label_count > PEN_LABELS_MAX)
		return pen_fail(why, -PEN_USAGE, 0, "%zu labels; at most %u are kept", run->label_count,
				PEN_LABELS_MAX);
	for (size_t i = 0; i < run->label_count; i++)
		len += strlen(run->labels[i]) + 1;
	if (*trace)
		len += strlen(PEN_CONTEXT_LABEL) + strlen(trace) + 1;
	plan->labels = calloc(1, len + 1);
	if (!plan->labels)
		return -ENOMEM;
	for (size_t i = 0; i < run->label_count; i++) {
		size_t n = strlen(run->labels[i]);

		if (!strchr(run->labels[i], '='))
			return pen_fail(why, -PEN_USAGE, 0, "the label '%s' is not KEY=VALUE",
					run->labels[i]);
		memcpy(plan->labels + at, run->labels[i], n);
		at += n + 1;
	}
	if (*trace)
		(void)snprintf(plan->labels + at, len + 1 - at, "%s%s", PEN_CONTEXT_LABEL, trace);
	plan->labels_len = len ? len - 1 : 0;
	return 0;
}

static int copy_sources(struct pen_plan *plan, const struct pen_run *run, struct pen_failure *why)
{
	if (!run->source_count || run->source_count > PEN_SOURCES_MAX)
		return pen_fail(why, -PEN_USAGE, 0, "%zu sources; 1 to %u can be read", run->source_count,
				PEN_SOURCES_MAX);
	plan->wanted = calloc(run->source_count, sizeof *plan->wanted);
	if (!plan->wanted)
		return -ENOMEM;
	for (size_t i = 0; i < run->source_count; i++) {
		if (!run->sources[i] || !*run->sources[i])
			return pen_fail(why, -PEN_USAGE, 0, "a source is empty");
		plan->wanted[i] = strdup(run->sources[i]);
		if (!plan->wanted[i])
			return -ENOMEM;
		plan->wanted_count++;
	}
	return 0;
}

/* A chunk is let through as a whole: it is cut to what a part of the window lets through, so that items are not kept
 * waiting for others. */
#define RATE_PARTS 10u
#define LIMITED_ITEMS 1000u

static uint32_t rate_chunk(uint64_t count)
{
	uint64_t high = pen_min(pen_max(1, count / RATE_PARTS), PEN_CHUNK_ITEMS), best = high;

	/* One that the count is nearly a multiple of: what is left over of a window would be wasted. */
	for (uint64_t n = high; n >= (high + 1) / 2 && count % best; n--)
		if (count % n < count % best)
			best = n;
	return (uint32_t)best;
}

static int check_rate(struct pen_plan *plan, struct pen_failure *why)
{
	struct pen_quota_rule rule;
	uint32_t part;

	if (!plan->rate_count && !plan->limits)
		return 0;
	if (plan->puts)
		return pen_fail(why, -PEN_USAGE, 0,
				"an opened batch has no rate: its program decides when it puts");
	if (plan->rate_count &&
	    !pen_quota_rule(&rule, PEN_QUOTA_SLIDING, plan->rate_window_ns, plan->rate_count, UINT64_MAX))
		return pen_fail(why, -PEN_USAGE, 0, "a rate is 1 to 10^15 items in 1 ms to 400 days");
	if (pen_plan_is_job(plan))
		return 0; /* its items go one by one */
	if (plan->rate_count) {
		part = rate_chunk(plan->rate_count);
		if (!plan->chunk_items || plan->chunk_items > part)
			plan->chunk_items = part;
	}
	/* The owner's policy may be anything, and change: small chunks fit. As many as pass share a transaction. */
	if (plan->limits && !plan->chunk_items)
		plan->cut_items = LIMITED_ITEMS;
	return 0;
}

static int check_run(struct pen_plan *plan, const struct pen_run *run, struct pen_failure *why)
{
	int rc = pen_dataset_name_check(plan->into);

	if (rc)
		return pen_fail(why, rc, 0, "the dataset name '%s' cannot be used", plan->into);
	if (run->max_record > PEN_RECORD_MAX)
		return pen_fail(why, -PEN_USAGE, 0, "max_record is above %u bytes", PEN_RECORD_MAX);
	if (run->chunk_items > PEN_CHUNK_ITEMS)
		return pen_fail(why, -PEN_USAGE, 0, "a chunk holds at most %u items", PEN_CHUNK_ITEMS);
	if (run->chunk_bytes && run->chunk_bytes < PEN_CHUNK_BYTES_MIN)
		return pen_fail(why, -PEN_USAGE, 0, "a chunk has at least %u bytes", PEN_CHUNK_BYTES_MIN);
	if (run->bulk_bytes && (run->bulk_bytes < PEN_BULK_BYTES_MIN || run->bulk_bytes > PEN_BULK_BYTES_MAX))
		return pen_fail(why, -PEN_USAGE, 0, "memory for bulk mode is 1 MiB to 4 GiB");
	rc = check_rate(plan, why);
	if (!rc)
		rc = check_key(plan, why);
	if (rc)
		return rc;
	if (plan->puts && plan->key_kind != PEN_KEY_SEQ && run->key)
		return pen_fail(why, -PEN_USAGE, 0, "an opened batch is given its keys, or takes @seq");
	if (plan->key_kind == PEN_KEY_POINTER && run->format == PEN_FORMAT_LINES)
		return pen_fail(why, -PEN_USAGE, 0,
				"plain lines have no fields: the key '%s' needs another format", plan->key);
	if (plan->key_kind == PEN_KEY_PATH &&
	    (run->format == PEN_FORMAT_LINES || run->format == PEN_FORMAT_NDJSON))
		return pen_fail(why, -PEN_USAGE, 0,
				"@path would give every record of a file the same key: it is for files");
	if (plan->key_kind == PEN_KEY_OFFSET && run->format == PEN_FORMAT_FILES)
		return pen_fail(why, -PEN_USAGE, 0, "@offset is 0 for every file: use @path or @seq");
	return 0;
}

static int copy_table(struct pen_plan *plan, const struct pen_run *run)
{
	plan->encoding = run->encoding;
	plan->frame = run->frame;
	plan->table = (struct pen_csv_options){
		.delimiter = run->delimiter,
		.quote = run->quote,
		.escape = run->escape,
		.header = run->header,
		.value = run->value,
	};
	if (plan->key_kind == PEN_KEY_POINTER)
		/* A row is an object: a pointer of one part means the column of that name. */
		plan->table.key = plan->column		     ? plan->key
				  : plan->pointer.parts == 1 ? plan->pointer.text + plan->pointer.at[0]
							     : plan->key;
	if (!run->header_names)
		return 0;
	plan->header_names = strdup(run->header_names);
	plan->table.header_names = plan->header_names;
	return plan->header_names ? 0 : -ENOMEM;
}

static int copy_flags(struct pen_plan *plan, const struct pen_run *run, struct pen_failure *why)
{
	int rc = pen_gate_check(run->flags, run->flag_count, why);

	if (rc || !run->flag_count)
		return rc;
	plan->flags = calloc(run->flag_count, sizeof *plan->flags);
	for (size_t i = 0; plan->flags && i < run->flag_count; i++, plan->flag_count++) {
		plan->flags[i] = strdup(run->flags[i]);
		if (!plan->flags[i])
			return -ENOMEM;
	}
	return plan->flags ? 0 : -ENOMEM;
}

static int copy_transform(struct pen_plan *plan, const struct pen_run *run, struct pen_failure *why)
{
	struct pen_run in_process;
	plan->results = run->results;
	if (plan->puts && (run->processor || run->where_count))
		return pen_fail(why, -PEN_USAGE, 0,
				"an opened batch keeps what it is given: it has no processor");
	in_process = *run;
	if (pen_plan_names_job(run->processor))
		in_process.processor = NULL; /* what it does comes after, by children (plan_job.c) */
	return pen_transform_parse(&plan->transform, &in_process, why);
}

/* What is not said comes from the thread's context. */
static int copy_context(struct pen_plan *plan, const struct pen_run *run, struct pen_failure *why)
{
	const struct pen_context *here = pen_context();
	bool own = run->correlation_id || run->traceparent;
	const char *id = own || !here ? run->correlation_id : here->correlation_id;
	const char *trace = own || !here || !*here->traceparent ? run->traceparent : here->traceparent;
	struct pen_context context;
	int rc = pen_context_init(&context, id, trace, NULL, why);

	if (rc)
		return rc;
	memcpy(plan->traceparent, context.traceparent, sizeof plan->traceparent);
	plan->owner = owner_name(run->owner || !here || !*here->user ? run->owner : here->user);
	plan->correlation_id = strdup(context.correlation_id);
	return plan->owner && plan->correlation_id ? 0 : -ENOMEM;
}

int pen_plan_open(const struct pen_run *given, bool puts, struct pen_plan **ret, struct pen_failure *why)
{
	struct pen_run copy = { 0 };
	const struct pen_run *run = &copy;
	struct pen_plan *plan;
	int rc;

	if (!given || given->size < offsetof(struct pen_run, format) || given->size > sizeof copy * 16)
		return pen_fail(why, -PEN_USAGE, 0, "the size of struct pen_run is not set");
	/* A program built against an earlier header has a shorter struct: what it lacks is the default. */
	memcpy(&copy, given, pen_min(given->size, sizeof copy));
	plan = calloc(1, sizeof *plan);
	if (!plan)
		return pen_fail(why, -ENOMEM, ENOMEM, "no memory for a plan");
	plan->puts = puts;
	plan->format = puts ? PEN_FORMAT_PUTS : run->format;
	plan->compression = run->compression;
	plan->on_duplicate = run->on_duplicate;
	plan->validate = run->validate;
	plan->durability = run->durability;
	plan->max_record = run->max_record ? run->max_record : 64ull << 20;
	plan->has_max_rejects = run->has_max_rejects;
	plan->max_rejects = run->max_rejects;
	plan->max_rejects_ratio = run->max_rejects_ratio;
	plan->chunk_items = run->chunk_items;
	plan->chunk_bytes = run->chunk_bytes;
	plan->rate_count = run->rate_count;
	plan->rate_window_ns = run->rate_window_ns;
	plan->limits = run->limits;
	plan->pause_ms = run->pause_ms;
	plan->fresh = run->fresh;
	plan->bulk = run->bulk;
	plan->bulk_bytes = run->bulk_bytes;
	plan->terminator = '\n';
	plan->into = strdup(run->into ? run->into : "default");
	plan->key = strdup(run->key ? run->key : puts ? "@given" : "@seq");
	plan->idempotency_key = strdup(run->idempotency_key ? run->idempotency_key : "");
	rc = plan->into && plan->key && plan->idempotency_key ? copy_context(plan, run, why) : -ENOMEM;
	if (!rc)
		rc = join_labels(plan, run, plan->traceparent, why);
	if (!rc)
		rc = copy_live(plan, run, why);
	if (!rc)
		rc = copy_flags(plan, run, why);
	if (!rc)
		rc = pen_plan_copy_tree(plan, run, why);
	if (!rc)
		rc = pen_plan_copy_job(plan, run, why);
	if (!rc && puts && !run->key)
		plan->key_kind = PEN_KEY_GIVEN;
	if (!rc)
		rc = puts && !run->key ? pen_dataset_name_check(plan->into) : check_run(plan, run, why);
	if (!rc)
		rc = copy_table(plan, run);
	if (!rc)
		rc = copy_transform(plan, run, why);
	if (!rc && !puts)
		rc = run->items ? pen_plan_copy_items(plan, run, why) : copy_sources(plan, run, why);
	if (rc) {
		if (rc == -ENOMEM)
			pen_fail(why, rc, ENOMEM, "no memory for a plan");
		pen_plan_close(plan);
		return rc;
	}
	/* Another process may have to try its items again. */
	rc = pen_plan_is_job(plan) ? pen_plan_pack(plan, run, why) : 0;
	if (rc) {
		pen_plan_close(plan);
		return rc;
	}
	*ret = plan;
	return 0;
}

void pen_plan_close(struct pen_plan *plan)
{
	if (!plan)
		return;
	for (size_t i = 0; i < plan->flag_count; i++)
		free((void *)(uintptr_t)plan->flags[i]);
	free(plan->flags);
	for (size_t i = 0; i < plan->wanted_count; i++)
		free(plan->wanted[i]);
	free(plan->wanted);
	for (uint32_t i = 0; i < plan->source_count; i++) {
		free(plan->sources[i].path);
		pen_csv_unref(plan->sources[i].csv);
	}
	free(plan->sources);
	pen_filter_fini(&plan->filter);
	pen_transform_fini(&plan->transform);
	free(plan->move_to);
	pen_plan_free_job(plan);
	pen_plan_free_order(plan);
	pen_pointer_fini(&plan->pointer);
	free(plan->into);
	free(plan->key);
	free(plan->owner);
	free(plan->correlation_id);
	free(plan->idempotency_key);
	free(plan->labels);
	free(plan->header_names);
	free(plan);
}

/* ---- identity ------------------------------------------------------------------------------ */

/* Appends a length-prefixed string to a growing buffer, so that no two lists of strings look alike. */
static bool put_string(FILE *f, const char *text)
{
	uint64_t n = strlen(text);

	return fwrite(&n, sizeof n, 1, f) == 1 && fwrite(text, 1, n, f) == n;
}

bool pen_plan_sign_table(const struct pen_plan *plan, FILE *f)
{
	int64_t dialect[] = { plan->encoding,	 plan->frame,	     plan->table.delimiter,
			      plan->table.quote, plan->table.escape, plan->table.header,
			      plan->table.value };
	static const int64_t none[PEN_COUNT(dialect)];
	bool ok = true;

	if (memcmp(dialect, none, sizeof none))
		ok = fwrite(dialect, sizeof dialect, 1, f) == 1;
	return ok && (!plan->header_names || put_string(f, plan->header_names));
}

static int identify(struct pen_plan *plan, struct pen_failure *why)
{
	char *buf = NULL, path[PATH_MAX];
	size_t len = 0;
	FILE *f = open_memstream(&buf, &len);
	uint64_t numbers[] = { 1,
			       plan->format,
			       plan->compression,
			       plan->on_duplicate,
			       plan->validate,
			       plan->max_record,
			       plan->puts,
			       plan->source_count };
	struct pen_sum sum;
	bool ok;

	if (!f)
		return pen_fail(why, -ENOMEM, ENOMEM, "no memory for the batch's identity");
	ok = fwrite(numbers, sizeof numbers, 1, f) == 1 && put_string(f, plan->into) &&
	     put_string(f, plan->key) && put_string(f, plan->owner) && put_string(f, plan->idempotency_key);
	/* Behind what the first version hashed, and only where it was asked for: its batches still resume. */
	ok = ok && pen_plan_sign_table(plan, f);
	/* A stream's name says nothing of what comes through it: its key does. */
	for (uint32_t i = 0; i < plan->source_count && ok; i++)
		ok = put_string(f, plan->sources[i].kind == PEN_SOURCE_STREAM ? "-"
				   : plan->spooled && *plan->idempotency_key  ? "kept"
				   : realpath(plan->sources[i].path, path)    ? path
									      : plan->sources[i].path);
	ok = ok && pen_plan_sign_tree(plan, f) && pen_plan_sign_job(plan, f) &&
	     pen_transform_sign(&plan->transform, f);
	if (fclose(f) || !ok) {
		free(buf);
		return pen_fail(why, -ENOMEM, ENOMEM, "no memory for the batch's identity");
	}
	sum = pen_hash128(buf, len);
	memcpy(plan->identity, &sum, sizeof sum);
	plan->has_identity = true;
	free(buf);
	return 0;
}

int pen_plan_look(struct pen_plan *plan, const _Atomic bool *stop, struct pen_failure *why)
{
	struct pen_sum parts[2] = { 0 };
	bool streams = plan->puts, counted = true;
	int rc = 0;

	rc = pen_transform_load(&plan->transform, plan->processors ? plan->processors : 1,
				plan->chunk_room ? plan->chunk_room : PEN_CHUNK_ROOM_MIN, why);
	for (size_t i = 0; i < plan->wanted_count && !rc; i++)
		rc = pen_source_expand(plan, plan->wanted[i], why);
	if (!rc && !plan->puts && !plan->source_count)
		rc = pen_fail(why, -PEN_USAGE, 0, "the list of sources is empty");
	for (uint32_t i = 0; i < plan->source_count && !rc; i++) {
		struct pen_source *source = &plan->sources[i];

		rc = pen_source_look(plan, source, stop, parts, why);
		streams |= source->kind == PEN_SOURCE_STREAM;
		counted &= source->format == PEN_FORMAT_FILES;
		plan->bytes_total += source->size;
		plan->items_total += source->kind == PEN_SOURCE_TREE ? source->files : 1;
	}
	if (rc)
		return rc;
	rc = pen_plan_check_tree(plan, why);
	if (rc)
		return rc;
	if (streams && (plan->puts || plan->source_count > 1 || !plan->sources[0].size))
		plan->bytes_total = 0;
	if (!counted || streams)
		plan->items_total = 0;
	/* The two halves tell changed files from changed trees. */
	memcpy(plan->content, &parts[0].lo, 8);
	memcpy(plan->content + 8, &parts[1].lo, 8);
	return !streams || *plan->idempotency_key ? identify(plan, why) : 0;
}
