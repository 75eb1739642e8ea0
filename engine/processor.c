/* SPDX-License-Identifier: MIT */
/*
 * processor - turns a chunk's bytes into entries and flaws
 *
 * Everything that can be done without the store is done here, because the committer is the bottleneck:
 * records are split and validated, keys found and sorted, digests summed. A bad item becomes a flaw and
 * costs nothing but itself. Processors share nothing with each other.
 */
#include <stdio.h>
#include <stdlib.h>

#include "engine/engine.h"
#include "engine/foreman.h"
#include "ring/assert.h"
#include "ring/error.h"
#include "ring/trace.h"

struct work {
	struct pen_json *json;
	uint32_t index; /* the processor's */
	struct pen_chunk *chunk;
	const struct pen_batch *batch;
	struct pen_plan *plan;	  /* its transform has state for each processor; the rest is constant */
	struct pen_record record; /* the one in hand, in data */
	size_t made;		  /* bytes of data in use: behind it values are made */
};

static uint64_t key_prefix(const void *key, size_t len)
{
	uint8_t b[8] = { 0 };

	memcpy(b, key, pen_min(len, 8));
	return pen_get_be64(b);
}

/* Gives the entry a key that lies in keys at `at`. */
static void set_key(struct work *w, struct pen_entry *e, uint32_t at, size_t len)
{
	e->key_at = at;
	e->key_len = (uint16_t)len;
	e->prefix = key_prefix(w->chunk->keys + at, len);
}

static void set_number(struct pen_entry *e, uint64_t number)
{
	e->prefix = number;
	e->key_len = 8;
	e->flags |= PEN_KEY_IS_PREFIX;
}

static uint32_t keep_key(struct work *w, const void *data, size_t len)
{
	uint32_t at = pen_chunk_add_key(w->chunk, data, len);

	pen_assert(at !=
		   UINT32_MAX); /* keys are no longer than what they come from, and made ones have room */
	return at;
}

/* @offset: where the record begins; with several sources, which one comes first. */
static void key_offset(struct work *w, struct pen_entry *e)
{
	uint64_t offset = w->chunk->base_offset + (uint64_t)(w->record.at - w->chunk->data) - w->chunk->begin;
	uint8_t key[12];

	if (w->plan->source_count == 1) {
		set_number(e, offset);
		return;
	}
	pen_put_be32(key, w->chunk->source);
	pen_put_be64(key + 4, offset);
	set_key(w, e, keep_key(w, key, sizeof key), sizeof key);
}

static void key_content(struct work *w, struct pen_entry *e)
{
	struct pen_sum sum = pen_hash128(w->chunk->data + e->at, e->len);
	uint8_t key[16];

	pen_put_be64(key, sum.hi);
	pen_put_be64(key + 8, sum.lo);
	set_key(w, e, keep_key(w, key, sizeof key), sizeof key);
}

/* Keeps the key's text, which lies in the record, in a parser, or at the end of keys. */
static int keep_text(struct work *w, struct pen_entry *e, const char *data, size_t len)
{
	char *out = w->chunk->keys + w->chunk->keys_used;

	if (!len)
		return -PEN_KEY_EMPTY;
	if (len > PEN_KEY_MAX)
		return -PEN_KEY_LONG;
	if (data == out)
		w->chunk->keys_used += (uint32_t)len;
	set_key(w, e, data == out ? (uint32_t)(out - w->chunk->keys) : keep_key(w, data, len), len);
	return 0;
}

/* Judges a JSON text and finds its key when it is keyed by a pointer. 0, or a code with *ret_flaw. */
static int check_json(struct work *w, struct pen_entry *e, struct pen_json_flaw *ret_flaw)
{
	/* In a table the key is a cell, and found. */
	const struct pen_pointer *ptr =
		w->plan->key_kind == PEN_KEY_POINTER && !w->chunk->rules.csv ? &w->plan->pointer : NULL;
	const char *text = w->chunk->data + e->at;
	char *out = w->chunk->keys + w->chunk->keys_used;
	size_t room = w->chunk->keys_cap - w->chunk->keys_used;
	struct pen_json_key key = { 0 };
	int rc = 0;

	if (w->plan->validate == PEN_VALIDATE_STRICT || w->plan->transform.strict)
		rc = pen_json_check(w->json, text, e->len, ptr, out, room, &key, ret_flaw);
	else if (ptr)
		rc = pen_json_peek(w->json, text, e->len, ptr, out, room, &key, ret_flaw);
	if (rc || !ptr)
		return rc;
	return keep_text(w, e, key.data, key.len);
}

/* A row becomes its object, and its key is a cell. */
static int make_row(struct work *w, struct pen_entry *e)
{
	struct pen_chunk *chunk = w->chunk;
	const struct pen_csv *csv = chunk->rules.csv;
	struct pen_csv_taken taken = {
		.out = chunk->data + w->made,
		.scratch = chunk->keys + chunk->keys_used,
		.scratch_cap = chunk->keys_cap - chunk->keys_used,
	};
	uint64_t max = w->plan->max_record;
	int rc = -PEN_RECORD_LARGE;

	if (pen_csv_fits(csv, w->record.at, w->record.len, max))
		rc = pen_csv_take(csv, w->record.at, w->record.len, &taken);
	if (!rc && csv->json && taken.len > max + csv->row_extra)
		rc = -PEN_RECORD_LARGE;
	w->record.column = (uint32_t)pen_min(taken.column, UINT32_MAX);
	if (!rc && csv->key != PEN_CSV_NO_KEY)
		rc = keep_text(w, e, taken.key, taken.key_len);
	if (rc || !csv->json)
		return rc;
	e->at = (uint32_t)w->made;
	e->flags |= PEN_VALUE_MADE;
	e->len = (uint32_t)taken.len;
	w->made += taken.len;
	pen_assert(w->made <= chunk->room); /* the cut left that room */
	return 0;
}

/* The record is what its format and the options say it is: 0 or a code. Finds the key where that is in the record. */
static int check(struct work *w, struct pen_entry *e, struct pen_json_flaw *ret_flaw)
{
	enum pen_format format = w->chunk->rules.format;
	const struct pen_csv *csv = w->chunk->rules.csv;
	bool json = format == PEN_FORMAT_NDJSON || format == PEN_FORMAT_JSON || w->plan->transform.json ||
		    (w->plan->key_kind == PEN_KEY_POINTER && !csv);
	int rc = csv ? make_row(w, e) : 0;

	if (csv && csv->json) /* what we write is JSON */
		return rc;
	return !rc && json ? check_json(w, e, ret_flaw) : rc;
}

/* Gives the entry its key, unless that is made of the value. 0 or a code. */
static int make_key(struct work *w, struct pen_entry *e)
{
	switch (w->plan->key_kind) {
	case PEN_KEY_SEQ:
		set_number(e, w->batch->seq_base + w->chunk->first_item + e->item);
		break;
	case PEN_KEY_OFFSET:
		key_offset(w, e);
		break;
	case PEN_KEY_PATH: {
		size_t len = strlen(w->chunk->keys + e->line);

		if (len > PEN_KEY_MAX)
			return -PEN_KEY_LONG;
		set_key(w, e, e->line, len);
		break;
	}
	case PEN_KEY_GIVEN:
		if (!e->key_len)
			return -PEN_KEY_EMPTY;
		set_key(w, e, e->key_at, e->key_len);
		break;
	case PEN_KEY_POINTER:
	case PEN_KEY_CONTENT:
		break;
	}
	return 0;
}

/* Where the record comes from, as a plugin is told. */
static const char *path_of(const struct work *w, const struct pen_entry *e)
{
	const struct pen_chunk *chunk = w->chunk;

	if (chunk->kind == PEN_CHUNK_FILES)
		return chunk->keys + e->line;
	return chunk->path ? chunk->path : w->plan->sources[chunk->source].path;
}

/* What the transform made of the item, taken over: 0 or a code, with *ret_says for a sentence behind `made`. */
static int take_result(struct work *w, struct pen_entry *e, const struct pen_transform_result *r,
		       bool *ret_says)
{
	char *out = w->chunk->data + w->made;

	if (r->verdict == PEN_TRANSFORM_FLAW) {
		*ret_says = r->message_len > 0;
		return r->code;
	}
	if (r->key_len) {
		e->flags = (uint16_t)((e->flags & ~PEN_KEY_IS_PREFIX) | PEN_KEY_IN_DATA);
		e->key_at = (uint32_t)(w->made + r->key_at);
		e->key_len = (uint16_t)r->key_len;
		e->prefix = key_prefix(out + r->key_at, r->key_len);
	}
	if (r->verdict == PEN_TRANSFORM_MADE) {
		e->at = (uint32_t)w->made;
		e->len = (uint32_t)r->value_len;
		e->flags |= PEN_VALUE_MADE;
	}
	w->made += r->value_len + r->key_len;
	return 0;
}

static int transform(struct work *w, struct pen_entry *e, bool *ret_says)
{
	struct pen_transform *t = &w->plan->transform;
	struct pen_chunk *chunk = w->chunk;
	enum pen_key kind = w->plan->key_kind;
	bool text = chunk->kind == PEN_CHUNK_RECORDS;
	struct pen_transform_result result;
	uint8_t buf[8];
	struct pen_transform_item item = {
		.value = chunk->data + e->at,
		.value_len = e->len,
		.key = kind == PEN_KEY_CONTENT ? NULL : pen_entry_key(chunk, e, buf),
		.key_len = kind == PEN_KEY_CONTENT ? 0 : e->key_len,
		.path = path_of(w, e),
		.seq = chunk->first_item + e->item,
		.offset = text ? chunk->base_offset + (uint64_t)(w->record.at - chunk->data) - chunk->begin
			       : 0,
		.line = text && chunk->rules.format != PEN_FORMAT_FRAMES ? chunk->first_line + e->line + 1
									 : 0,
		.may_key = kind == PEN_KEY_POINTER || kind == PEN_KEY_PATH,
		.stop = &w->batch->stop,
		.context = &w->batch->context,
		.out = chunk->data + w->made,
	};

	pen_assert(w->made + pen_transform_room(t, e->len, 1) <= chunk->room); /* the feed left that room */
	pen_transform_apply(t, w->index, &item, &result);
	return take_result(w, e, &result, ret_says);
}

/* From a record to an entry. 0 or a code. */
static int make_entry(struct work *w, struct pen_entry *e, struct pen_json_flaw *ret_flaw, bool *ret_says)
{
	int rc = check(w, e, ret_flaw);

	if (!rc)
		rc = make_key(w, e);
	if (!rc && !pen_transform_idle(&w->plan->transform))
		rc = transform(w, e, ret_says);
	if (!rc && w->plan->key_kind == PEN_KEY_CONTENT)
		key_content(w, e);
	return rc;
}

/* A sentence lies behind what was made: it stays there. */
static void keep_sentence(struct work *w, struct pen_flaw *flaw)
{
	flaw->detail = PEN_FLAW_SAYS;
	flaw->column = (uint32_t)w->made;
	w->made += strlen(w->chunk->data + w->made) + 1;
}

/* The entry is done: counted, or turned into a flaw. `e` is always the table's next free place. */
static void settle(struct work *w, struct pen_entry *e)
{
	struct pen_json_flaw place = { 0 };
	struct pen_entry was = *e;
	struct pen_flaw *flaw;
	uint8_t buf[8];
	const void *key;
	bool says = false;
	int rc = w->record.code			       ? w->record.code
		 : w->record.len > w->plan->max_record ? -PEN_RECORD_LARGE
						       : make_entry(w, e, &place, &says);

	if (!rc) {
		w->chunk->entry_count++;
		key = pen_entry_key(w->chunk, e, buf);
		pen_sum_add(&w->chunk->sums[pen_hash_bucket(key, e->key_len)],
			    pen_hash_record(key, e->key_len, w->chunk->data + e->at, e->len));
		return;
	}
	flaw = pen_chunk_add_flaw(w->chunk, was.item, was.line, rc);
	flaw->at = (uint32_t)(w->record.at - w->chunk->data);
	flaw->len = (uint32_t)pen_min(w->record.len, PEN_RAW_MAX);
	flaw->total = w->record.len;
	flaw->column = w->record.column;
	if (place.code) {
		flaw->column = (uint32_t)place.at + 1;
		flaw->detail = place.detail;
	}
	if (says)
		keep_sentence(w, flaw);
}

static void records(struct work *w)
{
	struct pen_chunk *chunk = w->chunk;
	const struct pen_splitter *splitter = pen_splitter_of(chunk->rules.format);
	struct pen_split split = {
		.rules = &chunk->rules,
		.at = chunk->data + chunk->begin,
		.end = chunk->data + chunk->end,
		.context = chunk->context,
	};
	uint32_t item = 0;

	for (; splitter->next(&split, &w->record); item++) {
		struct pen_entry *e = &chunk->table[chunk->entry_count];

		*e = (struct pen_entry){
			.at = (uint32_t)(w->record.at - chunk->data),
			.len = (uint32_t)w->record.len,
			.item = item,
			.line = w->record.line,
		};
		settle(w, e);
	}
	pen_assert(item == chunk->items); /* the reader counted by the same rule */
}

/* Entries that the reader or the program made: given a key each, in place. */
static void entries(struct work *w)
{
	struct pen_chunk *chunk = w->chunk;
	uint32_t n = chunk->entry_count;

	chunk->entry_count = 0;
	for (uint32_t i = 0; i < n; i++) {
		struct pen_entry given = chunk->table[i];
		struct pen_entry *e = &chunk->table[chunk->entry_count];

		if (chunk->kind == PEN_CHUNK_FILES && given.prefix) {
			pen_chunk_add_flaw(chunk, given.item, given.line, (int)given.prefix);
			continue;
		}
		*e = given;
		w->record = (struct pen_record){ .at = chunk->data + e->at, .len = e->len, .line = e->line };
		settle(w, e);
	}
}

static int by_key(const void *a, const void *b, void *arg)
{
	const struct pen_chunk *chunk = arg;
	const struct pen_entry *x = a, *y = b;
	int c = pen_entry_compare(chunk, x, chunk, y);

	return c ? c : (x->item > y->item) - (x->item < y->item);
}

static void sort(struct pen_chunk *chunk)
{
	for (uint32_t i = 1; i < chunk->entry_count; i++) {
		if (by_key(&chunk->table[i - 1], &chunk->table[i], chunk) <= 0)
			continue;
		chunk->shuffled = true;
		qsort_r(chunk->table, chunk->entry_count, sizeof *chunk->table, by_key, chunk);
		return;
	}
}

static void process(struct pen_processor *self, struct pen_chunk *chunk)
{
	struct work w = {
		.json = self->json,
		.index = self->index,
		.chunk = chunk,
		.batch = chunk->batch,
		.plan = chunk->batch->plan,
		.made = chunk->end,
	};

	if (chunk->kind == PEN_CHUNK_RECORDS)
		records(&w);
	else
		entries(&w);
	/* Where items end one by one they are worked on in their own order. */
	if (!pen_plan_is_job(w.plan))
		sort(chunk);
}

/* Passes it to whoever is next. */
static void pass_on(struct pen_processor *self, struct pen_chunk *chunk)
{
	struct pen_engine *engine = self->engine;
	uint64_t word = (uint64_t)(uintptr_t)chunk;
	uint32_t pushed;

	if (engine->foreman && pen_plan_is_job(chunk->batch->plan)) {
		pen_foreman_push(engine->foreman, self->index, chunk);
		return;
	}
	pushed = pen_fanin_push(&engine->commit_in, self->index, &word, 1);
	pen_assert(pushed == 1);
}

/* The next chunks, 0 when there may be no more; with the time it took counted. began: when the last ones were done. */
static uint32_t next_chunks(struct pen_processor *self, uint64_t *words, uint32_t cap, uint64_t *began)
{
	struct pen_engine *engine = self->engine;
	uint32_t n = pen_fanin_pop(&self->in, words, cap);

	if (n)
		return n;
	if (atomic_load_explicit(&engine->live, memory_order_relaxed)) /* only says what is counted */
		pen_meter_enter(&self->meter, *began, true);
	n = pen_fanin_pop_wait(&self->in, words, cap, UINT64_MAX);
	*began = pen_mono_ns(engine->clock);
	pen_meter_leave(&self->meter, *began);
	return n;
}

void *pen_processor_main(void *arg)
{
	struct pen_processor *self = arg;
	struct pen_engine *engine = self->engine;
	uint64_t words[16], done = 0, began = pen_mono_ns(engine->clock), ended;
	uint32_t n;
	char name[16];

	snprintf(name, sizeof name, "pen-proc-%u", self->index);
	(void)pthread_setname_np(pthread_self(), name); /* as the reader's */
	while ((n = next_chunks(self, words, PEN_COUNT(words), &began)) || !pen_fanin_ended(&self->in)) {
		for (uint32_t i = 0; i < n; i++) {
			struct pen_chunk *chunk = (struct pen_chunk *)(uintptr_t)words[i];

			process(self, chunk);
			pen_meter_pass(&self->meter, chunk->items, chunk->bytes);
			PEN_TRACE3(chunk_processed, chunk->batch->id, chunk->first_item, chunk->items);
			/* Relaxed: the reader only compares loads of work by it. */
			atomic_store_explicit(&self->done, ++done, memory_order_relaxed);
			pass_on(self, chunk);
		}
		if (n) {
			ended = pen_mono_ns(engine->clock);
			pen_meter_add(&self->meter.busy_ns, ended - began);
			began = ended;
		}
	}
	pen_fanin_close(&engine->commit_in, self->index);
	if (engine->foreman)
		pen_foreman_end(engine->foreman, self->index);
	return NULL;
}
