/* SPDX-License-Identifier: MIT */
#include "engine/errand.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/batch.h"
#include "engine/csv.h"
#include "engine/group.h"
#include "ring/base.h"
#include "ring/error.h"

/* ---- the table --------------------------------------------------------------------------------- */

int pen_errands_open(struct pen_errands *errands, uint32_t count)
{
	count = (uint32_t)pen_min(pen_max(count, 1), PEN_ERRANDS_MAX);
	*errands = (struct pen_errands){ .all = calloc(count, sizeof *errands->all), .free = UINT32_MAX };
	if (!errands->all)
		return -ENOMEM;
	for (uint32_t i = count; i-- > 0;) {
		errands->all[i].next = errands->free;
		errands->free = i;
	}
	return 0;
}

void pen_errands_close(struct pen_errands *errands)
{
	free(errands->all);
	errands->all = NULL;
}

struct pen_errand *pen_errand_get(struct pen_errands *errands)
{
	struct pen_errand *errand;

	if (errands->free == UINT32_MAX)
		return NULL;
	errand = &errands->all[errands->free];
	errands->free = errand->next;
	*errand = (struct pen_errand){ .next = UINT32_MAX };
	return errand;
}

void pen_errand_put(struct pen_errands *errands, struct pen_errand *errand)
{
	free(errand->row.block);
	free(errand->path);
	*errand = (struct pen_errand){ .next = errands->free };
	errands->free = (uint32_t)(errand - errands->all);
}

/* ---- there ------------------------------------------------------------------------------------- */

/* The file that an item is, when it is one by itself. */
static char *path_of(const struct pen_plan *plan, uint32_t source_number, const char *below)
{
	const struct pen_source *source;
	char *path = NULL;

	if (source_number >= plan->source_count)
		return NULL;
	source = &plan->sources[source_number];
	if (source->archive || source->kind == PEN_SOURCE_STREAM)
		return NULL;
	if (source->kind != PEN_SOURCE_TREE)
		return strdup(source->path);
	if (asprintf(&path, "%s%s%s", source->path, source->path[strlen(source->path) - 1] == '/' ? "" : "/",
		     below) < 0)
		return NULL;
	return path;
}

static bool is_json(const struct pen_plan *plan, const struct pen_chunk *chunk)
{
	enum pen_format format = chunk->rules.format;

	return ((format == PEN_FORMAT_NDJSON || format == PEN_FORMAT_JSON) &&
		plan->validate == PEN_VALIDATE_STRICT) ||
	       (chunk->rules.csv && chunk->rules.csv->json);
}

static void number(const struct pen_errand *errand, struct pen_task *task)
{
	task->form = errand->form;
	task->attempt = errand->attempts + 1;
	task->crashes = errand->crashes;
	task->path = errand->path;
}

void pen_errand_from_entry(struct pen_errand *errand, const struct pen_plan *plan, struct pen_chunk *chunk,
			   uint32_t entry, struct pen_task *ret)
{
	struct pen_entry *e = &chunk->table[entry];

	errand->chunk = chunk;
	errand->entry = entry;
	errand->form = is_json(plan, chunk) ? PEN_TASK_JSON : PEN_TASK_BYTES;
	if (chunk->kind == PEN_CHUNK_FILES)
		errand->path = path_of(plan, chunk->source, chunk->keys + e->line);
	*ret = (struct pen_task){
		.seq = chunk->first_item + e->item,
		.key = pen_entry_key(chunk, e, errand->number),
		.key_len = e->key_len,
		.item = chunk->data + e->at,
		.item_len = e->len,
	};
	number(errand, ret);
}

int pen_errand_from_row(struct pen_errand *errand, const struct pen_plan *plan, struct pen_store *store,
			uint64_t batch, uint64_t item, struct pen_task *ret)
{
	struct pen_row *row = &errand->row.row;

	if (pen_item_read(store, batch, item, &errand->row))
		return -PEN_STORE_DAMAGED;
	errand->attempts = row->attempts;
	errand->crashes = row->crashes;
	errand->form = row->form == PEN_RESULT_FILE ? PEN_TASK_BYTES : row->form;
	if (row->form == PEN_RESULT_FILE) {
		errand->path = path_of(plan, row->source, row->path ? row->path : "");
		if (!errand->path)
			return -PEN_MEMORY;
	}
	*ret = (struct pen_task){
		.seq = row->seq,
		.key = row->key,
		.key_len = row->key_len,
		.item = row->raw,
		.item_len = row->raw_len,
	};
	number(errand, ret);
	return 0;
}

/* ---- and back ---------------------------------------------------------------------------------- */

/* From the begin of the first try to now. */
static uint64_t since(const struct pen_errand *errand, const struct pen_task_result *got, uint64_t now_ms)
{
	const struct pen_row *row = &errand->row.row;
	uint64_t spent_ms = (got->spent_ns + PEN_NS_PER_MS - 1) / PEN_NS_PER_MS;

	if (errand->chunk || !row->since_ms)
		return pen_max(spent_ms, 1); /* this is the first, or as good as that */
	return row->since_ms + (now_ms > row->ended_ms ? now_ms - row->ended_ms : 0);
}

/* It may be tried again: when, or never more because that would be too late. */
static void put_off(const struct pen_plan *plan, struct pen_due *due, uint32_t retry, uint64_t at_least_ns,
		    struct pen_result *r)
{
	uint64_t wait = pen_backoff_delay(&plan->job.backoff, retry, due->batch, r->seq);
	uint64_t until = pen_due_after(due, pen_max(wait, at_least_ns));
	uint64_t first_ms = r->ended_ms - pen_min(r->since_ms, r->ended_ms);

	if (plan->job.retry_for_ns && (until - first_ms) > plan->job.retry_for_ns / PEN_NS_PER_MS) {
		r->state = PEN_ITEM_FAILED;
		r->late = true;
		return;
	}
	r->state = PEN_ITEM_RETRYING;
	r->due_ms = until;
}

bool pen_errand_judge(const struct pen_errand *errand, const struct pen_plan *plan,
		      const struct pen_task_result *got, struct pen_due *due, struct pen_result *ret)
{
	*ret = (struct pen_result){
		.seq = errand->chunk ? errand->chunk->first_item + errand->chunk->table[errand->entry].item
				     : errand->row.row.seq,
		.ended_ms = pen_due_now(due),
		.spent_us = got->spent_ns / 1000,
		.form = (uint8_t)(errand->path ? PEN_RESULT_FILE : errand->form),
		.exit_status = (int16_t)got->exit_status,
		.term_signal = (uint8_t)got->term_signal,
		.attempts = errand->attempts + 1,
		.crashes = errand->crashes,
		.code = got->code,
	};
	ret->since_ms = since(errand, got, ret->ended_ms);
	switch (got->fate) {
	case PEN_TASK_DONE:
		ret->state = PEN_ITEM_COMMITTED;
		return true;
	case PEN_TASK_REJECTED:
		ret->state = PEN_ITEM_REJECTED;
		return true;
	case PEN_TASK_DROPPED:
		ret->state = PEN_ITEM_SKIPPED;
		return true;
	case PEN_TASK_FAILED:
		ret->state = PEN_ITEM_FAILED;
		return true;
	case PEN_TASK_RETRY:
		ret->state = PEN_ITEM_FAILED;
		if (ret->attempts <= plan->job.backoff.max_retries)
			put_off(plan, due, ret->attempts, got->retry_after_ns, ret);
		return true;
	case PEN_TASK_CRASHED:
		ret->attempts = errand->attempts; /* a crash is no try */
		ret->crashes++;
		ret->state = PEN_ITEM_QUARANTINED;
		if (ret->crashes < plan->job.max_crashes)
			put_off(plan, due, ret->crashes, 0, ret);
		return true;
	case PEN_TASK_UNCHARGED:
#ifdef PEN_PLANT_CHARGE /* the torture by storms puts this in, and expects to be told */
		put_off(plan, due, ret->attempts, 0, ret);
		return true;
#else
		break;
#endif
	}
	return false;
}

/* The item's key, bytes and place, from its chunk or its row. */
static int copy_item(const struct pen_errand *errand, struct pen_pack *pack, struct pen_result *r,
		     bool keep_raw)
{
	const struct pen_row *row = &errand->row.row;
	const void *item = row->raw, *key = row->key;
	size_t item_len = row->raw_len, key_len = row->key_len;
	const char *path = row->path;
	uint8_t made[8];
	int rc;

	if (errand->chunk) {
		const struct pen_entry *e = &errand->chunk->table[errand->entry];
		struct pen_row place = { 0 };

		pen_group_place(errand->chunk, e->at, e->line, &place);
		r->source = place.source;
		r->line = place.line;
		r->offset = place.offset;
		path = place.path;
		item = errand->chunk->data + e->at;
		item_len = e->len;
		key = pen_entry_key(errand->chunk, e, made);
		key_len = e->key_len;
	} else {
		r->source = row->source;
		r->line = row->line;
		r->offset = row->offset;
		r->again = true;
	}
	rc = pen_pack_add(pack, key, key_len, &r->key);
	if (!rc && path)
		rc = pen_pack_add(pack, path, strlen(path) + 1, &r->path);
	/* What is a file by itself is read again from there. */
	if (!rc && keep_raw && !errand->path)
		rc = pen_pack_add(pack, item, item_len, &r->raw);
	return rc;
}

/* Whether the row may have to hold the item's bytes: it did not end well, or the store may yet refuse it. */
static bool keeps_raw(const struct pen_plan *plan, const struct pen_result *r,
		      const struct pen_task_result *got)
{
	if (r->state == PEN_ITEM_COMMITTED)
		return got->deed_count || plan->on_duplicate == PEN_DUP_REJECT;
	return r->state != PEN_ITEM_SKIPPED;
}

/* Why it is tried no more stands in front: what is too long is cut at its end. */
static int copy_message(struct pen_pack *pack, const struct pen_task_result *got, struct pen_result *r)
{
	const char *message = got->message ? got->message : "";
	char text[PEN_MESSAGE_MAX + 1];

	if (r->late) {
		(void)snprintf(text, sizeof text,
			       "given up, because the time of --retry-for is over before its next try: %s",
			       *message ? message : pen_error_text(got->code));
		message = text;
	}
	return *message ? pen_pack_add(pack, message, strlen(message) + 1, &r->message) : 0;
}

static int copy_result(struct pen_pack *pack, const struct pen_task_result *got, struct pen_result *r)
{
	bool done = r->state == PEN_ITEM_COMMITTED;
	int rc = 0;

	if (done && got->value)
		rc = pen_pack_add(pack, got->value, got->value_len, &r->value);
	if (!rc && !done)
		rc = copy_message(pack, got, r);
	if (!rc && !done && got->stderr_len) {
		size_t len = pen_min(got->stderr_len, PEN_STDERR_MAX);

		rc = pen_pack_add(pack, got->stderr_tail + (got->stderr_len - len), len, &r->stderr_tail);
	}
	if (!rc && done && got->deed_count) {
		r->deeds_at = pack->deed_count;
		r->deed_count = got->deed_count;
		rc = pen_pack_add_deeds(pack, got->deeds, got->deed_count);
	}
	return rc;
}

int pen_errand_pack(const struct pen_errand *errand, const struct pen_plan *plan,
		    const struct pen_task_result *got, struct pen_pack *pack, struct pen_result *result)
{
	bool done = result->state == PEN_ITEM_COMMITTED;
	int rc;

	result->nothing = done && !got->value;
	rc = copy_item(errand, pack, result, keeps_raw(plan, result, got));
	if (!rc)
		rc = copy_result(pack, got, result);
	if (rc)
		return rc;
	if (errand->keyed && done && got->value && !got->deed_count) {
		result->keep = true;
		result->cache = errand->key;
	}
	if (done && !result->nothing) {
		const char *key = pack->data + result->key.at;

		pen_sum_add(&pack->sums[pen_hash_bucket(key, result->key.len)],
			    pen_hash_record(key, result->key.len, pack->data + result->value.at,
					    result->value.len));
	}
	return 0;
}
