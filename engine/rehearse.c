/* SPDX-License-Identifier: MIT */
/*
 * What is counted of one batch. The thread that does it is in rehearse_stage.c.
 */
#include "engine/rehearse.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/group.h"
#include "ring/error.h"
#include "store/item.h"

#define TEXT_BYTES (1u << 20)

struct pen_rehearsal {
	struct pen_engine *engine;
	struct pen_batch *batch;
	struct pen_forecast out;	/* counted is filled at the end */
	struct pen_fmt_counters before; /* what earlier runs of the batch counted */
	uint64_t items, bytes, entries, flaws;
	uint64_t dropped; /* items that are left out */
	uint64_t repeated, present;
	double variance;
	uint64_t weight_max;	 /* of any answer */
	bool sampled;		 /* an answer stood for more than itself, or there was none */
	struct pen_keyset *seen; /* NULL: keys cannot repeat */
	struct pen_probe *probe; /* NULL: no dataset to look into */
	bool look;		 /* keys may be there */
	uint32_t look_each;
	bool empty; /* the dataset */
	struct pen_pages pages, rows;
	uint8_t highest[PEN_KEY_MAX]; /* key so far, the dataset's included */
	size_t highest_len;
	uint64_t began_ns;
	uint32_t *twice; /* entries of the chunk in hand that are duplicates */
	uint32_t twice_count;
	char *text; /* of rejects; text_used of TEXT_BYTES */
	size_t text_used;
	int failed; /* the store cannot be read */
};

/* ---- one batch ----------------------------------------------------------------------------- */

static bool keys_repeat(const struct pen_plan *plan)
{
	return plan->key_kind != PEN_KEY_SEQ && plan->key_kind != PEN_KEY_OFFSET;
}

static size_t said_bytes(const struct pen_source *source)
{
	return source->csv ? strlen(source->csv->said) + 1 : 0;
}

/* The sources as they were looked at, with copies of their names: the plan goes before the forecast does. */
static int copy_sources(struct pen_rehearsal *r)
{
	const struct pen_plan *plan = r->batch->plan;
	struct pen_forecast *out = &r->out;
	size_t bytes = 0;
	char *at;

	for (uint32_t i = 0; i < plan->source_count; i++)
		bytes += strlen(plan->sources[i].path) + 1 + said_bytes(&plan->sources[i]);
	r->text = malloc(TEXT_BYTES + bytes);
	out->texts = r->text;
	out->sources = calloc(pen_max(plan->source_count, 1), sizeof *out->sources);
	out->rejects = calloc(PEN_FORECAST_REJECTS, sizeof *out->rejects);
	if (!r->text || !out->sources || !out->rejects)
		return -ENOMEM;
	at = r->text + TEXT_BYTES;
	for (uint32_t i = 0; i < plan->source_count; i++) {
		const struct pen_source *source = &plan->sources[i];
		size_t n = strlen(source->path) + 1;

		out->sources[i] = (struct pen_forecast_source){
			.path = memcpy(at, source->path, n),
			.format = source->format,
			.said = "",
			.bytes = source->size,
			.files = source->files,
		};
		at += n;
		if (source->csv)
			out->sources[i].said = memcpy(at, source->csv->said, said_bytes(source));
		at += said_bytes(source);
	}
	out->source_count = plan->source_count;
	out->bytes_total = plan->bytes_total;
	out->key_kind = plan->key_kind;
	return 0;
}

static void look_at_store(struct pen_rehearsal *r, const struct pen_look *look, uint64_t look_bytes)
{
	const struct pen_probe_facts *facts = look->probe ? pen_probe_facts(look->probe) : NULL;
	int last;

	r->out.fate = look->fate;
	r->out.batch = look->batch;
	r->probe = look->probe;
	r->empty = !facts || !facts->exists || !facts->entries;
	if (!facts || !facts->exists)
		return;
	r->out.dataset_entries = facts->entries;
	r->out.dataset_bytes = facts->bytes;
	/* Keys by number lie above all that are there. */
	r->look = facts->entries && r->batch->plan->key_kind != PEN_KEY_SEQ;
	r->look_each = facts->bytes > look_bytes ? PEN_REHEARSE_LOOK_EACH : 1;
	if (!r->look)
		return;
	r->failed = pen_probe_begin(r->probe);
	if (r->failed)
		return;
	last = pen_probe_last(r->probe, r->highest);
	pen_probe_end(r->probe);
	r->highest_len = last > 0 ? (size_t)last : 0;
	r->failed = last < 0 ? last : 0;
}

static void fill(struct pen_rehearsal *r)
{
	struct pen_fmt_counters *n = &r->batch->standing.fixed.counted;
	enum pen_duplicate policy = r->batch->plan->on_duplicate;
	uint64_t twice = pen_min(r->repeated + r->present, r->entries);

	*n = r->before;
	n->items += r->items;
	n->bytes += r->bytes;
	n->rejected += r->flaws + (policy == PEN_DUP_REJECT ? twice : 0);
	n->skipped += r->dropped + (policy == PEN_DUP_KEEP ? twice : 0);
	n->duplicates += policy == PEN_DUP_REPLACE ? twice : 0;
	n->committed += r->entries - (policy == PEN_DUP_REPLACE ? 0 : twice);
}

int pen_rehearsal_open(struct pen_engine *engine, struct pen_batch *batch,
		       const struct pen_rehearsal_bounds *bounds, struct pen_failure *why)
{
	struct pen_rehearsal *r = calloc(1, sizeof *r);
	struct pen_look look = { 0 };
	int rc = -ENOMEM;

	if (!r)
		return rc;
	batch->rehearsal = r;
	r->engine = engine;
	r->batch = batch;
	r->out.size = sizeof r->out;
	r->began_ns = pen_mono_ns(engine->clock);
	r->twice = malloc(sizeof *r->twice * PEN_CHUNK_ITEMS);
	pen_pages_init(&r->pages, 4096);
	pen_pages_init(&r->rows, 4096);
	if (r->twice && !copy_sources(r))
		rc = keys_repeat(batch->plan) ? pen_keyset_open(bounds->keys, &r->seen) : 0;
	if (rc)
		return rc;
	rc = pen_admit_look(engine, batch, &look, why);
	look_at_store(r, &look, bounds->look_bytes);
	r->before = batch->standing.fixed.counted;
	/* What waits for its next try is not read again. It counts like the others: as if its command succeeded. */
	if (batch->resumed) {
		r->before.items += batch->job.retrying;
		r->before.committed += batch->job.retrying;
	}
	r->out.resumed_items = batch->from_items;
	return rc;
}

void pen_rehearsal_close(struct pen_rehearsal *r)
{
	if (!r)
		return;
	pen_keyset_close(r->seen);
	pen_probe_close(r->probe);
	pen_forecast_fini(&r->out);
	free(r->twice);
	free(r);
}

/* The whole part of the square root. */
static uint64_t root(uint64_t n)
{
	uint64_t x = n, y = x / 2 + x % 2;

	while (y < x) {
		x = y;
		y = (x + n / x) / 2;
	}
	return x;
}

void pen_rehearsal_end(struct pen_rehearsal *r, int code)
{
	struct pen_forecast *out = &r->out;
	const struct pen_fmt_counters *n = &r->batch->standing.fixed.counted;
	uint64_t data, scattered;

	fill(r);
	out->whole = !code;
	out->counted = (struct pen_counters){ n->items,	  n->committed,	 n->rejected, n->failed,
					      n->skipped, n->duplicates, n->bytes };
	out->repeated = r->repeated;
	out->present = r->present;
	out->exact = !r->sampled;
	/* A sample without a repetition does not say that there is none: one may hide behind each key in it. */
	if (r->sampled)
		out->duplicates_error = pen_max(root((uint64_t)r->variance), r->weight_max);
	out->records = r->pages.records;
	out->key_bytes = r->pages.key_bytes;
	out->value_bytes = r->pages.value_bytes;
	data = pen_pages_bytes(&r->pages, out->appended, r->empty);
	scattered = data + out->dataset_bytes - pen_min(data, r->pages.overflow * r->pages.page_size);
	if (out->appended == r->pages.records)
		scattered = 0;
	out->growth_bytes = data + pen_pages_bytes(&r->rows, r->rows.records, true);
	out->file_bytes = pen_pages_file(out->growth_bytes, scattered);
	out->read_ns = pen_mono_ns(r->engine->clock) - r->began_ns;
	*r->batch->forecast = *out;
	out->sources = NULL;
	out->rejects = NULL;
	out->texts = NULL;
}

/* ---- rejects ------------------------------------------------------------------------------- */

/* A copy of the bytes among the texts; NULL when they are full. */
static const char *keep(struct pen_rehearsal *r, const void *data, size_t len)
{
	char *at = r->text + r->text_used;

	if (len + 1 > TEXT_BYTES - r->text_used)
		return NULL;
	if (len)
		memcpy(at, data, len);
	at[len] = '\0';
	r->text_used += len + 1;
	return at;
}

static const char *keep_source(struct pen_rehearsal *r, const struct pen_row *row)
{
	const char *source = r->out.sources[row->source].path;
	char path[2 * PEN_PATH_BYTES_MAX];
	size_t n = strlen(source);

	if (!row->path || !*row->path)
		return source;
	snprintf(path, sizeof path, "%s%s%s", source, n && source[n - 1] == '/' ? "" : "/", row->path);
	return keep(r, path, strlen(path));
}

static const char *keep_message(struct pen_rehearsal *r, const struct pen_row *row)
{
	const char *text = pen_error_text(row->code), *detail = row->message  ? row->message
								: row->detail ? pen_json_detail(row->detail)
									      : "";
	char message[512];

	if (!*detail)
		return text;
	snprintf(message, sizeof message, "%s: %s", text, detail);
	return keep(r, message, strlen(message));
}

static void add_code(struct pen_forecast *out, int code)
{
	size_t i = 0;

	while (i < out->code_count && out->codes[i].code != code)
		i++;
	if (i == PEN_FORECAST_CODES)
		return;
	out->codes[i].code = code;
	out->codes[i].items++;
	out->code_count = pen_max(out->code_count, i + 1);
}

/* A row that a run would leave; the first ones are kept. */
static void add_row(struct pen_rehearsal *r, const struct pen_row *row)
{
	struct pen_forecast *out = &r->out;
	size_t path_len = row->path ? strlen(row->path) : 0,
	       raw_len = pen_min(row->raw_len, PEN_FORECAST_RAW);
	struct pen_item item = {
		.seq = row->seq,
		.state = row->state,
		.code = row->code,
		.line = row->line,
		.offset = row->offset,
		.column = row->column,
		.raw_total = row->raw_total,
		.attempts = row->attempts,
	};

	pen_pages_add(&r->rows, 16, sizeof(struct pen_fmt_item) + row->key_len + path_len + row->raw_len, 1);
	if (row->state == PEN_ITEM_REJECTED)
		add_code(out, row->code);
	if (row->state != PEN_ITEM_REJECTED || out->reject_count == PEN_FORECAST_REJECTS)
		return;
	item.source = keep_source(r, row);
	item.message = keep_message(r, row);
	item.raw = (struct pen_view){ keep(r, row->raw, raw_len), raw_len };
	item.key = (struct pen_view){ keep(r, row->key, row->key_len), row->key_len };
	if (item.source && item.message && item.raw.data && item.key.data)
		out->rejects[out->reject_count++] = item;
}

static void add_flaw(struct pen_rehearsal *r, const struct pen_chunk *chunk, const struct pen_flaw *flaw)
{
	struct pen_row row;

	if (pen_transform_drops(-(int)flaw->code) && r->batch->plan->results != PEN_RESULTS_ALL)
		return;
	pen_group_flaw_row(chunk, flaw, &row);
	add_row(r, &row);
}

static void add_twice(struct pen_rehearsal *r, struct pen_group_walk *walk, const struct pen_chunk *chunk,
		      struct pen_entry *e)
{
	struct pen_row row;
	uint8_t buf[8];

	e->flags |= r->batch->plan->on_duplicate == PEN_DUP_REJECT ? PEN_ENTRY_REFUSED : PEN_ENTRY_STAYED;
	pen_group_entry_row(walk, chunk, e, buf, &row);
	add_row(r, &row);
}

static int by_item(const void *x, const void *y, void *arg)
{
	const struct pen_chunk *chunk = arg;
	uint32_t a = chunk->table[*(const uint32_t *)x].item, b = chunk->table[*(const uint32_t *)y].item;

	return (a > b) - (a < b);
}

/* The chunk's rows in item order. */
static void add_rows(struct pen_rehearsal *r, struct pen_chunk *chunk)
{
	bool rows = r->batch->plan->on_duplicate != PEN_DUP_REPLACE;
	uint32_t t = 0, n = rows ? r->twice_count : 0;
	struct pen_group_walk walk = { 0 };

	if (n)
		qsort_r(r->twice, n, sizeof *r->twice, by_item, chunk);
	for (uint32_t f = 0; f < chunk->flaw_count; f++) {
		const struct pen_flaw *flaw = pen_chunk_flaw(chunk, f);

		while (t < n && chunk->table[r->twice[t]].item < flaw->item)
			add_twice(r, &walk, chunk, &chunk->table[r->twice[t++]]);
		add_flaw(r, chunk, flaw);
	}
	while (t < n)
		add_twice(r, &walk, chunk, &chunk->table[r->twice[t++]]);
}

/* ---- counting ------------------------------------------------------------------------------ */

static void weigh(struct pen_rehearsal *r, uint64_t *count, uint64_t weight)
{
	*count += weight;
	r->variance += (double)weight * (double)(weight - 1);
	r->sampled |= weight > 1;
}

/* Is a key there that has not come before? Those that are not looked up count as absent. */
static bool is_present(struct pen_rehearsal *r, struct pen_sum hash, const void *key, size_t len,
		       uint64_t weight)
{
	int rc;

	if (!r->look || r->failed)
		return false;
	r->weight_max = pen_max(r->weight_max, weight * r->look_each);
	/* Other bits than the keyset samples by. */
	if (hash.hi >> 8 & (r->look_each - 1)) {
		r->sampled = true;
		return false;
	}
	rc = pen_probe_has(r->probe, key, len);
	if (rc < 0)
		r->failed = rc;
	if (rc == 1)
		weigh(r, &r->present, weight * r->look_each);
	return rc == 1;
}

static void count_entry(struct pen_rehearsal *r, struct pen_chunk *chunk, uint32_t i)
{
	const struct pen_entry *e = &chunk->table[i];
	struct pen_sum hash = { 0 };
	enum pen_seen seen = PEN_SEEN_NEW;
	uint64_t weight = 1;
	uint8_t buf[8];
	const void *key = pen_entry_key(chunk, e, buf);

	r->out.longest = pen_max(r->out.longest, e->len);
	if (r->seen || r->look)
		hash = pen_hash128(key, e->key_len);
	if (r->seen)
		seen = pen_keyset_add(r->seen, hash, &weight);
	if (seen == PEN_SEEN_UNKNOWN) {
		r->sampled = true;
		return;
	}
	r->weight_max = pen_max(r->weight_max, weight);
	if (seen == PEN_SEEN_BEFORE)
		weigh(r, &r->repeated, weight);
	else if (!is_present(r, hash, key, e->key_len, weight)) {
		pen_pages_add(&r->pages, e->key_len, e->len, weight);
		return;
	}
	r->twice[r->twice_count++] = i;
}

/* Would the chunk's entries be appended? The highest key so far is kept. */
static bool is_above(struct pen_rehearsal *r, const struct pen_chunk *chunk)
{
	const struct pen_entry *first = chunk->table, *last = &chunk->table[chunk->entry_count - 1];
	uint8_t buf[8];
	const void *key = pen_entry_key(chunk, first, buf);
	bool above = true;
	int order;

	if (r->highest_len) {
		order = memcmp(key, r->highest, pen_min(first->key_len, r->highest_len));
		above = order > 0 || (!order && first->key_len >= r->highest_len);
	}
	key = pen_entry_key(chunk, last, buf);
	order = r->highest_len ? memcmp(key, r->highest, pen_min(last->key_len, r->highest_len)) : 1;
	if (order > 0 || (!order && last->key_len > r->highest_len)) {
		memcpy(r->highest, key, last->key_len);
		r->highest_len = last->key_len;
	}
	return above;
}

/* max_rejects stops a run behind the item that passes it; with duplicates, at its chunk's end. */
static void look_for_stop(struct pen_rehearsal *r, const struct pen_chunk *chunk, uint64_t rejected_before)
{
	const struct pen_plan *plan = r->batch->plan;
	uint64_t end = chunk->first_item + chunk->items;

	if (!plan->has_max_rejects || r->out.stop_items)
		return;
	for (uint32_t i = 0; i < chunk->flaw_count; i++) {
		const struct pen_flaw *flaw = pen_chunk_flaw(chunk, i);
		uint64_t item = chunk->first_item + flaw->item + 1;

		if (pen_transform_drops(-(int)flaw->code) ||
		    !pen_group_too_many(plan, ++rejected_before, item))
			continue;
		r->out.stop_items = chunk->kind == PEN_CHUNK_RECORDS ? item : end;
		return;
	}
	if (pen_group_too_many(plan, r->batch->standing.fixed.counted.rejected, end))
		r->out.stop_items = end;
}

/* What only reading shows: the formats of streams. (Tables of a tree differ from file to file.) */
static void see_format(struct pen_rehearsal *r, const struct pen_chunk *chunk,
		       struct pen_forecast_source *source)
{
	const struct pen_csv *csv = chunk->rules.csv;

	if (chunk->rules.format)
		source->format = chunk->rules.format;
	if (!csv || *source->said || source->files)
		return;
	source->said = keep(r, csv->said, strlen(csv->said));
	if (!source->said)
		source->said = "";
}

/* Items of the chunk that are left out. */
static uint32_t drops(const struct pen_chunk *chunk)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < chunk->flaw_count; i++)
		n += pen_transform_drops(-(int)pen_chunk_flaw(chunk, i)->code);
	return n;
}

/* A job's items behind its place may have ended, or wait for their next try: they were counted. */
static uint32_t leave_out_ended(struct pen_rehearsal *r, struct pen_chunk *chunk)
{
	uint8_t bits[PEN_CHUNK_ITEMS / 8];
	uint32_t all = chunk->entry_count;
	int rc;

	if (!r->batch->resumed || !pen_plan_is_job(r->batch->plan) || !all || r->failed)
		return 0;
	rc = pen_item_which(r->engine->store, r->batch->id, chunk->first_item, chunk->items, bits);
	if (rc < 0)
		r->failed = rc;
	else
		pen_chunk_leave_out(chunk, bits);
	return all - chunk->entry_count;
}

int pen_rehearsal_count(struct pen_rehearsal *r, struct pen_chunk *chunk)
{
	struct pen_forecast_source *source = &r->out.sources[chunk->source];
	uint64_t rejected = r->batch->standing.fixed.counted.rejected, new_before = r->pages.records;
	uint32_t dropped, ended = leave_out_ended(r, chunk);
	bool above;

	if (r->look && !r->failed && chunk->entry_count)
		r->failed = pen_probe_begin(r->probe);
	above = chunk->entry_count && !r->failed && is_above(r, chunk);
	r->twice_count = 0;
	for (uint32_t i = 0; i < chunk->entry_count; i++)
		count_entry(r, chunk, i);
	if (r->probe)
		pen_probe_end(r->probe);
	if (above)
		r->out.appended += r->pages.records - new_before;
	if (chunk->flaw_count || r->twice_count)
		add_rows(r, chunk);
	r->items += chunk->items - ended;
	r->bytes += chunk->bytes;
	r->entries += chunk->entry_count;
	dropped = drops(chunk);
	r->dropped += dropped;
	r->flaws += chunk->flaw_count - dropped;
	r->out.large += chunk->jumbo && chunk->entry_count;
	source->items += chunk->items - ended;
	source->rejected += chunk->flaw_count - dropped;
	r->batch->passed_counted = pen_max(r->batch->passed_counted, chunk->after.passed);
	see_format(r, chunk, source);
	fill(r);
	look_for_stop(r, chunk, rejected);
	return r->failed;
}
