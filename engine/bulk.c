/* SPDX-License-Identifier: MIT */
/*
 * Memory while sorting, one arena of `budget` bytes:
 *
 *	rows of records and rejects, as they come ->          <- a reference a record, chunk by chunk
 *
 * A chunk's references are sorted by its processor. They are a segment; segments are merged as runs are.
 *
 * Each step makes the next state beside the one in force (`next`, `standing`), which a commit puts in force.
 */
#include "engine/bulk.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/merge.h"
#include "engine/spill.h"
#include "ring/arena.h"
#include "ring/assert.h"
#include "store/dataset.h"
#include "store/item.h"
#include "store/turn.h"

#define BULK_LARGE (1u << 20) /* a record that gets memory of its own */
#define SEGMENTS_MAX 8192u
#define RUNS_MIN 16u
#define FLAWS_MAX 16384u	/* rows of one transaction */
#define MERGE_BYTES (24u << 20) /* of one transaction */
#define DIRTY_MAX (48u << 20 >> 12)
#define DIRECT_PAGES_MAX 20000u
#define LOOK 256u   /* records between looks at the clock, the lock and the pages */
#define LEAST 4096u /* records of a transaction, whoever waits */

/* A record in memory. */
struct ref {
	uint64_t prefix;
	const struct pen_spill_row *row;
};

struct segment {
	const struct ref *next, *end;
};

/* The row of a reject, until it is staged. What it points at lies behind it. */
struct flaw {
	struct flaw *next;
	struct pen_row row;
};

struct pen_bulk {
	struct pen_store *store;
	struct pen_batch *batch;
	int dir; /* STORE/staging */
	uint64_t budget;
	uint32_t runs_max;

	struct pen_fmt_staged now, next;
	bool stored;		       /* there is a row of `now` */
	uint32_t old_first, old_count; /* runs that were merged, and whose rows are still there */
	struct pen_fmt_stop *stops;    /* as committed, a run */

	/* Sorting. */
	struct pen_arena arena;
	size_t front, back;	       /* bytes used at its front; where the references begin */
	struct segment *segments, *at; /* as they are; while they are merged */
	uint32_t segment_count;
	uint64_t refs;
	struct flaw *flaws, **flaws_end;
	uint32_t flaw_count;
	struct pen_spill_row *large;
	struct pen_standing place; /* where the place would stand */
	uint64_t items, bytes, rejected, skipped, passed;
	bool spilled, has_run; /* what is in memory is written; it had records */
	struct pen_fmt_run run;
	const struct pen_spill_row *lowest, *highest; /* of it, in memory */
	uint32_t order[PEN_CHUNK_ITEMS];	      /* of the chunk in hand: entries by item */

	/* Merging. */
	struct pen_merge merge;
	bool merge_open;
	struct pen_spill **spills;
	uint32_t spill_count;
	bool from_memory;	/* the segments are merged, not the runs */
	bool rewind;		/* the runs stand behind what was not committed */
	char last[PEN_KEY_MAX]; /* the key before, and whether there is one, within a transaction */
	size_t last_len;

	struct pen_standing standing; /* of the step in hand */
	struct pen_sum sums[PEN_BUCKETS];
};

/* ---- life ------------------------------------------------------------------------------------ */

static void reset_memory(struct pen_bulk *b)
{
	b->front = 0;
	b->back = b->arena.base ? b->arena.slot_bytes : 0;
	b->segment_count = 0;
	b->refs = 0;
	b->flaws = NULL;
	b->flaws_end = &b->flaws;
	b->flaw_count = 0;
	free(b->large);
	b->large = NULL;
	b->items = b->bytes = b->rejected = b->skipped = 0;
	b->spilled = b->has_run = false;
	b->place = b->batch->standing;
	b->passed = b->batch->passed;
}

int pen_bulk_open(struct pen_store *store, struct pen_batch *batch, const struct pen_fmt_staged *staged,
		  const struct pen_fmt_stop *stops, uint64_t budget, struct pen_bulk **ret)
{
	struct pen_bulk *b = calloc(1, sizeof *b);
	int rc = 0;

	if (!b)
		return -ENOMEM;
	b->store = store;
	b->batch = batch;
	b->budget = pen_max(budget ? budget : PEN_BULK_BYTES, PEN_BULK_BYTES_MIN);
	b->runs_max = (uint32_t)pen_min(pen_max(b->budget / PEN_SPILL_BLOCK, RUNS_MIN), PEN_STAGED_RUNS_MAX);
	b->now = (struct pen_fmt_staged){ .id = batch->id,
					  .items = batch->first_item,
					  .settled = batch->passed,
					  .phase = PEN_STAGED_SORT };
	b->stops = calloc(PEN_STAGED_RUNS_MAX, sizeof *b->stops);
	b->segments = calloc(SEGMENTS_MAX, sizeof *b->segments);
	b->at = calloc(SEGMENTS_MAX, sizeof *b->at);
	b->dir = pen_staged_dir(store);
	if (b->dir < 0)
		rc = b->dir;
	else if (!b->stops || !b->segments || !b->at)
		rc = -ENOMEM;
	if (rc) {
		pen_bulk_close(b);
		return rc;
	}
	reset_memory(b);
	if (staged) {
		b->now = *staged;
		b->stored = true;
		if (staged->phase == PEN_STAGED_MERGE)
			memcpy(b->stops, stops, staged->run_count * sizeof *stops);
		if (staged->phase == PEN_STAGED_MERGED) {
			b->old_first = staged->first_run;
			b->old_count = staged->run_count;
		}
	}
	pen_staged_trim(store, batch->id);
	*ret = b;
	return 0;
}

static void close_spills(struct pen_bulk *b)
{
	for (uint32_t i = 0; i < b->spill_count; i++)
		pen_spill_close(b->spills[i]);
	free(b->spills);
	b->spills = NULL;
	b->spill_count = 0;
	if (b->merge_open)
		pen_merge_close(&b->merge);
	b->merge_open = false;
}

void pen_bulk_close(struct pen_bulk *b)
{
	if (!b)
		return;
	close_spills(b);
	if (b->dir >= 0)
		close(b->dir);
	pen_arena_close(&b->arena);
	free(b->large);
	free(b->stops);
	free(b->segments);
	free(b->at);
	free(b);
}

enum pen_staged_phase pen_bulk_phase(const struct pen_bulk *b)
{
	return b->now.phase;
}

uint64_t pen_bulk_passed(const struct pen_bulk *b, uint64_t passed)
{
	uint64_t span = passed > b->now.settled ? passed - b->now.settled : 0;

	if (b->now.phase == PEN_STAGED_MERGED || !b->now.run_count)
		return passed;
	if (b->now.phase == PEN_STAGED_MERGE && b->now.records)
		return b->now.settled + span / 2 +
		       (uint64_t)((double)span / 2 * (double)b->now.merged / (double)b->now.records);
	return b->now.settled + span / 2;
}

/* ---- sort: into memory ------------------------------------------------------------------------- */

static bool has_items(const struct pen_chunk *chunk)
{
	return chunk->kind <= PEN_CHUNK_FLAW;
}

static bool drops(const struct pen_flaw *flaw)
{
	return pen_transform_drops(-(int)flaw->code);
}

/* A tree's path stands in each record of which a row may be made, with its NUL. */
static size_t path_len(const struct pen_bulk *b, const struct pen_row *place)
{
	bool rows = b->batch->plan->on_duplicate != PEN_DUP_REPLACE;

	return rows && place->path ? strlen(place->path) + 1 : 0;
}

static size_t up8(size_t n)
{
	return (n + 7) & ~(size_t)7;
}

/* Bytes it may take, at most. */
static size_t need(const struct pen_chunk *chunk)
{
	/* One path for all of a chunk's records, unless each is a file. */
	size_t path = chunk->kind == PEN_CHUNK_FILES ? PEN_PATH_BYTES_MAX + 1
		      : chunk->path		     ? strlen(chunk->path) + 1
						     : 0,
	       n = 0;

	for (uint32_t i = 0; i < chunk->entry_count; i++) {
		const struct pen_entry *e = &chunk->table[i];

		n += sizeof(struct ref) + sizeof(struct pen_spill_row) + 8 + e->key_len + path +
		     (e->len > BULK_LARGE ? 0 : e->len);
	}
	for (uint32_t i = 0; i < chunk->flaw_count; i++) {
		const struct pen_flaw *flaw = pen_chunk_flaw(chunk, i);

		if (!drops(flaw))
			n += sizeof(struct flaw) + 32 + flaw->len + path +
			     (flaw->detail == PEN_FLAW_SAYS ? PEN_MESSAGE_MAX : 0);
	}
	return n;
}

bool pen_bulk_takes(const struct pen_bulk *b, const struct pen_chunk *chunk)
{
	return !pen_bulk_holds(b) ||
	       (!pen_bulk_full(b) && b->arena.base && need(chunk) <= b->back - b->front);
}

bool pen_bulk_holds(const struct pen_bulk *b)
{
	return b->items || b->bytes;
}

bool pen_bulk_full(const struct pen_bulk *b)
{
	return b->segment_count == SEGMENTS_MAX || b->flaw_count >= FLAWS_MAX || b->large;
}

void pen_bulk_drop(struct pen_bulk *b)
{
	reset_memory(b);
}

/* Memory for at least so many bytes; there may be none yet, and what there is is empty when it is too small. */
static int reserve(struct pen_bulk *b, size_t bytes)
{
	int rc;

	if (b->arena.base && bytes <= b->back - b->front)
		return 0;
	pen_assert(!b->front);
	pen_arena_close(&b->arena);
	rc = pen_arena_open(&b->arena, 1, pen_round_up(pen_max(b->budget, bytes), 2u << 20));
	b->back = rc ? 0 : b->arena.slot_bytes;
	return rc;
}

static void *take(struct pen_bulk *b, size_t bytes)
{
	void *at = b->arena.base + b->front;

	b->front += up8(bytes);
	pen_assert(b->front <= b->back);
	return at;
}

static const void *copy(struct pen_bulk *b, const void *data, size_t len)
{
	return data && len ? memcpy(take(b, len), data, len) : NULL;
}

/* Where the record stood, for the row of a duplicate; and its path. */
static void place_of(struct pen_bulk *b, struct pen_group_walk *walk, const struct pen_chunk *chunk,
		     const struct pen_entry *e, struct pen_row *ret)
{
	uint8_t buf[8];

	if (b->batch->plan->on_duplicate == PEN_DUP_REPLACE)
		*ret = (struct pen_row){ .seq = chunk->first_item + e->item };
	else
		pen_group_entry_row(walk, chunk, e, buf, ret);
}

static int add_record(struct pen_bulk *b, struct pen_group_walk *walk, const struct pen_chunk *chunk,
		      const struct pen_entry *e, struct ref *ref)
{
	struct pen_spill_row row = { .value_len = e->len, .key_len = e->key_len };
	struct pen_row place;
	uint8_t buf[8];
	char *to;

	place_of(b, walk, chunk, e, &place);
	row.item = place.seq;
	row.line = place.line;
	row.offset = place.offset;
	row.source = place.source;
	row.path_len = (uint16_t)path_len(b, &place);
	if (e->len > BULK_LARGE) {
		pen_assert(!b->large); /* such a record is a chunk of its own */
		b->large = malloc(pen_spill_bytes(&row));
		if (!b->large)
			return -ENOMEM;
		to = (char *)b->large;
	} else {
		to = take(b, pen_spill_bytes(&row));
	}
	*ref = (struct ref){ .prefix = e->prefix, .row = (const struct pen_spill_row *)to };
	memcpy(to, &row, sizeof row);
	to += sizeof row;
	memcpy(to, pen_entry_key(chunk, e, buf), e->key_len);
	to += e->key_len;
	if (row.path_len)
		memcpy(to, place.path, row.path_len);
	to += row.path_len;
	memcpy(to, chunk->data + e->at, e->len);
	to += e->len;
	memset(to, 0, (size_t)((const char *)ref->row + pen_spill_bytes(&row) - to));
	return 0;
}

static const char *copy_message(struct pen_bulk *b, const char *message)
{
	size_t len = message ? strnlen(message, PEN_MESSAGE_MAX) : 0;
	char *to;

	if (!message)
		return NULL;
	to = take(b, len + 1);
	memcpy(to, message, len);
	to[len] = 0;
	return to;
}

static void add_flaw(struct pen_bulk *b, const struct pen_chunk *chunk, const struct pen_flaw *flaw)
{
	struct flaw *f;
	struct pen_row row;

	if (drops(flaw)) {
		b->skipped++;
		return;
	}
	b->rejected++;
	b->flaw_count++;
	pen_group_flaw_row(chunk, flaw, &row);
	f = take(b, sizeof *f);
	*f = (struct flaw){ .row = row };
	f->row.raw = copy(b, row.raw, row.raw_len);
	f->row.path = row.path ? copy(b, row.path, strlen(row.path) + 1) : NULL;
	f->row.message = copy_message(b, row.message);
	*b->flaws_end = f;
	b->flaws_end = &f->next;
}

/* Records in item order, as their places are found in that; references in key order, as they stand. */
static int add_entries(struct pen_bulk *b, const struct pen_chunk *chunk)
{
	struct pen_group_walk walk = { 0 };
	struct ref *refs;
	int rc = 0;

	if (!chunk->entry_count)
		return 0;
	b->back -= chunk->entry_count * sizeof *refs;
	refs = (struct ref *)(void *)(b->arena.base + b->back);
	memset(b->order, 0xff, pen_min(chunk->items, PEN_CHUNK_ITEMS) * sizeof *b->order);
	for (uint32_t i = 0; i < chunk->entry_count; i++)
		b->order[chunk->table[i].item] = i;
	for (uint32_t item = 0; item < chunk->items && !rc; item++)
		if (b->order[item] != UINT32_MAX)
			rc = add_record(b, &walk, chunk, &chunk->table[b->order[item]],
					&refs[b->order[item]]);
	if (rc)
		return rc;
	b->segments[b->segment_count++] = (struct segment){ refs, refs + chunk->entry_count };
	b->refs += chunk->entry_count;
	return 0;
}

int pen_bulk_add(struct pen_bulk *b, const struct pen_chunk *chunk)
{
	int rc = reserve(b, need(chunk));

	pen_assert(has_items(chunk) && chunk->items <= PEN_CHUNK_ITEMS);
	if (!pen_bulk_holds(b))
		reset_memory(b); /* the standing may have moved since */
	if (!rc)
		rc = add_entries(b, chunk);
	if (rc)
		return rc;
	for (uint32_t i = 0; i < chunk->flaw_count; i++)
		add_flaw(b, chunk, pen_chunk_flaw(chunk, i));
	b->items += chunk->items;
	b->bytes += chunk->bytes;
	pen_group_move(&b->place, &chunk->after);
	b->passed = chunk->after.passed;
	return 0;
}

/* ---- records in key order: out of memory or out of runs ------------------------------------------ */

static int open_merge(struct pen_bulk *b, uint32_t count)
{
	int rc;

	if (b->merge_open)
		pen_merge_close(&b->merge);
	b->merge_open = false;
	rc = pen_merge_open(&b->merge, count);
	if (rc)
		return rc;
	b->merge_open = true;
	pen_merge_begin(&b->merge, count);
	return 0;
}

static void set_segment(struct pen_bulk *b, uint32_t i)
{
	const struct ref *ref = b->at[i].next;

	if (ref == b->at[i].end) {
		pen_merge_end(&b->merge, i);
		return;
	}
	__builtin_prefetch((const char *)(ref + (ref + 1 < b->at[i].end))->row);
	pen_merge_set(&b->merge, i, pen_spill_key(ref->row), ref->row->key_len, ref->prefix);
}

static void set_spill(struct pen_bulk *b, uint32_t i)
{
	const struct pen_spill_row *row = pen_spill_row(b->spills[i]);
	uint8_t front[8] = { 0 };

	if (!row) {
		pen_merge_end(&b->merge, i);
		return;
	}
	memcpy(front, pen_spill_key(row), pen_min(row->key_len, sizeof front));
	pen_merge_set(&b->merge, i, pen_spill_key(row), row->key_len, pen_get_be64(front));
}

static int begin_memory(struct pen_bulk *b)
{
	int rc = open_merge(b, b->segment_count);

	if (rc)
		return rc;
	b->from_memory = true;
	memcpy(b->at, b->segments, b->segment_count * sizeof *b->at);
	for (uint32_t i = 0; i < b->segment_count; i++)
		set_segment(b, i);
	pen_merge_play(&b->merge);
	return 0;
}

/* The record whose turn it is, or NULL. */
static const struct pen_spill_row *in_hand(const struct pen_bulk *b)
{
	uint32_t i;

	if (!pen_merge_winner(&b->merge, &i))
		return NULL;
	return b->from_memory ? b->at[i].next->row : pen_spill_row(b->spills[i]);
}

static int step(struct pen_bulk *b, struct pen_failure *why)
{
	uint32_t i = 0;
	int rc;

	if (!pen_merge_winner(&b->merge, &i))
		return 0;
	if (b->from_memory) {
		b->at[i].next++;
		set_segment(b, i);
	} else {
		rc = pen_spill_next(b->spills[i], why);
		if (rc)
			return rc;
		set_spill(b, i);
	}
	pen_merge_replay(&b->merge);
	return 0;
}

/* ---- sort: out of memory ------------------------------------------------------------------------ */

static int write_run(struct pen_bulk *b, const char *name, struct pen_failure *why)
{
	uint64_t bytes = b->front + (b->large ? pen_spill_bytes(b->large) : 0);
	const struct pen_spill_row *row;
	struct pen_spill_writer *w;
	/* A block wastes as much as a record may take, at most; what is left over is cut off. */
	int rc = pen_spill_create(b->dir, name, b->batch->id, b->run.number, bytes + bytes / 64, &w, why);

	if (rc)
		return rc;
	b->lowest = in_hand(b);
	while (!rc && (row = in_hand(b))) {
		rc = pen_spill_put(w, row, why);
		if (!rc)
			rc = step(b, why);
		b->highest = row;
	}
	b->run.first_len = b->lowest->key_len;
	b->run.last_len = b->highest->key_len;
	if (!rc)
		return pen_spill_seal(w, &b->run, why);
	pen_spill_abandon(w);
	return rc;
}

int pen_bulk_spill(struct pen_bulk *b, struct pen_failure *why)
{
	char name[PEN_STAGED_NAME];
	int rc;

	if (b->spilled)
		return 0;
	b->has_run = b->refs > 0;
	b->run = (struct pen_fmt_run){
		.id = b->batch->id,
		.number = b->now.phase == PEN_STAGED_MERGED ? b->old_first + b->old_count
							    : b->now.first_run + b->now.run_count,
	};
	rc = b->has_run ? begin_memory(b) : 0;
	if (!rc && b->has_run) {
		pen_staged_name(b->run.id, b->run.number, name);
		rc = write_run(b, name, why);
	}
	b->spilled = !rc;
	return rc;
}

/* The rows of rejects, what they count for, and the place behind what is in memory. */
static int put_flaws(struct pen_bulk *b, struct pen_txn *txn)
{
	struct pen_fmt_state *to = &b->standing.fixed, *from = &b->place.fixed;
	int rc = 0;

	for (const struct flaw *f = b->flaws; f && !rc; f = f->next)
		rc = pen_item_put(txn, &f->row);
	to->applied.items += b->rejected + b->skipped;
	to->applied.rejected += b->rejected;
	to->applied.skipped += b->skipped;
	to->applied.bytes += b->bytes;
	to->place_source = from->place_source;
	to->place_context = from->place_context;
	to->place_offset = from->place_offset;
	to->place_line = from->place_line;
	to->place_files = from->place_files;
	memcpy(to->place_paths, from->place_paths, sizeof to->place_paths);
	memcpy(to->place_content, from->place_content, sizeof to->place_content);
	memcpy(b->standing.path, b->place.path, sizeof b->standing.path);
	return rc;
}

static void outcome(struct pen_bulk *b, bool appended, uint64_t passed, struct pen_outcome *ret)
{
	b->standing.fixed.groups++;
	*ret = (struct pen_outcome){
		.standing = &b->standing, .job = &b->batch->job, .appended = appended, .passed = passed
	};
}

int pen_bulk_stage(struct pen_bulk *b, struct pen_txn *txn, struct pen_outcome *ret)
{
	int rc;

	pen_assert(b->spilled);
	b->standing = b->batch->standing;
	b->next = b->now;
	rc = pen_staged_del_runs(txn, b->now.id, b->old_first, b->old_count);
	if (b->now.phase == PEN_STAGED_MERGED) {
		b->next.phase = PEN_STAGED_SORT;
		b->next.first_run += b->next.run_count;
		b->next.run_count = 0;
		b->next.records = b->next.merged = 0;
		b->next.settled = b->batch->passed;
	}
	b->next.items += b->items;
	if (!rc && b->has_run) {
		b->next.run_count++;
		b->next.records += b->run.records;
		rc = pen_staged_put_run(txn, &b->run, pen_spill_key(b->lowest), pen_spill_key(b->highest));
	}
	if (!rc)
		rc = pen_staged_save(txn, &b->next, NULL);
	if (!rc)
		rc = put_flaws(b, txn);
	outcome(b, true, b->passed, ret);
	return rc;
}

/* ---- records into the dataset -------------------------------------------------------------------- */

static int put_kept(struct pen_bulk *b, struct pen_txn *txn, const struct pen_spill_row *row)
{
	bool refused = b->batch->plan->on_duplicate == PEN_DUP_REJECT;
	struct pen_row r = {
		.batch = b->batch->id,
		.seq = row->item,
		.state = refused ? PEN_ITEM_REJECTED : PEN_ITEM_SKIPPED,
		.code = refused ? -PEN_KEY_TWICE : -PEN_DUPLICATE_KEPT,
		.source = row->source,
		.path = row->path_len ? pen_spill_path(row) : NULL,
		.line = row->line,
		.offset = row->offset,
		.key = pen_spill_key(row),
		.key_len = row->key_len,
		.raw = refused ? pen_spill_value(row) : NULL,
		.raw_len = refused ? pen_min(row->value_len, PEN_RAW_MAX) : 0,
		.raw_total = row->value_len,
		.attempts = 1,
	};

	return pen_item_put(txn, &r);
}

static bool is_last(const struct pen_bulk *b, const struct pen_spill_row *row)
{
	return row->key_len == b->last_len && !memcmp(pen_spill_key(row), b->last, b->last_len);
}

/* append: all keys from here on lie above the dataset's. */
static int put_record(struct pen_bulk *b, struct pen_txn *txn, struct pen_dataset *ds,
		      const struct pen_spill_row *row, bool append)
{
	struct pen_fmt_counters *n = &b->standing.fixed.applied;
	enum pen_duplicate policy = b->batch->plan->on_duplicate;
	const char *key = pen_spill_key(row), *value = pen_spill_value(row);
	enum pen_put result;
	int rc = pen_dataset_put(ds, key, row->key_len, value, row->value_len, append && !is_last(b, row),
				 policy, &result);

	if (rc)
		return rc;
	pen_sum_add(&b->sums[pen_hash_bucket(key, row->key_len)],
		    pen_hash_record(key, row->key_len, value, row->value_len));
	memcpy(b->last, key, row->key_len);
	b->last_len = row->key_len;
	n->items++;
	if (result == PEN_PUT_KEPT) {
		n->rejected += policy == PEN_DUP_REJECT;
		n->skipped += policy != PEN_DUP_REJECT;
		return put_kept(b, txn, row);
	}
	n->committed++;
	n->duplicates += result == PEN_PUT_REPLACED;
	return 0;
}

struct limits {
	uint64_t bytes, until_ns;
	bool yield;
};

static bool enough(struct pen_bulk *b, struct pen_txn *txn, const struct limits *limits, uint64_t records)
{
	if (pen_txn_dirty(txn) >= DIRTY_MAX)
		return true;
	if (!limits->yield)
		return false;
	return (records >= LEAST && pen_turn_wanted(b->store)) ||
	       pen_mono_ns(pen_store_clock(b->store)) >= limits->until_ns;
}

/* Records in key order, until there are none or it is enough for one transaction. */
static int put_records(struct pen_bulk *b, struct pen_txn *txn, const struct limits *limits, bool *ret_append,
		       struct pen_failure *why)
{
	const struct pen_spill_row *row;
	struct pen_dataset *ds;
	uint64_t bytes = 0, records = 0;
	bool append = false;
	int rc = pen_dataset_use_id(txn, b->batch->plan->into, b->batch->dataset_id, &ds, why);

	b->last_len = 0;
	memset(b->sums, 0, sizeof b->sums);
	*ret_append = true;
	while (!rc && bytes < limits->bytes && (row = in_hand(b))) {
		if (!append && records % LOOK == 0)
			rc = pen_dataset_above(ds, pen_spill_key(row), row->key_len, &append);
		*ret_append &= append;
		if (!rc)
			rc = put_record(b, txn, ds, row, append);
		bytes += pen_spill_bytes(row);
		if (!rc)
			rc = step(b, why);
		if (++records % LOOK == 0 && limits->bytes != UINT64_MAX && enough(b, txn, limits, records))
			break;
	}
	b->next.merged = b->now.merged + records;
	if (rc)
		return rc;
	pen_dataset_offer(ds, b->sums);
	return pen_dataset_save(ds);
}

bool pen_bulk_fits(const struct pen_bulk *b)
{
	uint64_t rows = b->batch->plan->on_duplicate != PEN_DUP_REPLACE ? b->refs : 0;

	return !b->stored && b->front / 2500 + b->refs / 64 + rows < DIRECT_PAGES_MAX &&
	       (b->batch->bulk_empty || b->refs < DIRECT_PAGES_MAX / 2);
}

int pen_bulk_put(struct pen_bulk *b, struct pen_txn *txn, struct pen_outcome *ret, struct pen_failure *why)
{
	const struct limits limits = { .bytes = UINT64_MAX };
	bool append;
	int rc = begin_memory(b);

	b->standing = b->batch->standing;
	b->next = b->now;
	if (!rc)
		rc = put_records(b, txn, &limits, &append, why);
	b->next.merged = 0;
	b->next.items += b->items;
	if (!rc)
		rc = put_flaws(b, txn);
	if (!rc)
		outcome(b, append, b->passed, ret);
	return rc;
}

/* ---- merge --------------------------------------------------------------------------------------- */

bool pen_bulk_any(const struct pen_bulk *b)
{
	return b->now.phase != PEN_STAGED_MERGED && b->now.run_count > 0;
}

bool pen_bulk_many(const struct pen_bulk *b)
{
	return pen_bulk_any(b) && b->now.run_count >= b->runs_max;
}

static int open_spill(struct pen_bulk *b, struct pen_txn *txn, uint32_t i, struct pen_failure *why)
{
	uint32_t number = b->now.first_run + i;
	char name[PEN_STAGED_NAME];
	struct pen_fmt_run run;
	int rc = pen_staged_load_run(txn, b->now.id, number, &run);

	pen_staged_name(b->now.id, number, name);
	if (rc)
		return pen_fail(why, rc == -PEN_NOT_FOUND ? -PEN_RUN_DAMAGED : rc, 0,
				"the manifest has no row of the sorted run staging/%s", name);
	return pen_spill_open(b->dir, name, &run, &b->spills[i], why);
}

/* Every run at its stop. */
static int seek_all(struct pen_bulk *b, struct pen_failure *why)
{
	int rc = open_merge(b, b->spill_count);

	if (rc)
		return rc;
	b->from_memory = false;
	for (uint32_t i = 0; i < b->spill_count && !rc; i++) {
		rc = pen_spill_seek(b->spills[i], &b->stops[i], why);
		if (!rc)
			set_spill(b, i);
	}
	if (!rc)
		pen_merge_play(&b->merge);
	b->rewind = rc != 0;
	return rc;
}

int pen_bulk_begin_merge(struct pen_bulk *b, struct pen_failure *why)
{
	struct pen_txn *txn;
	int rc;

	pen_assert(!pen_bulk_holds(b));
	close_spills(b);
	pen_arena_close(&b->arena);
	reset_memory(b);
	b->spills = calloc(b->now.run_count, sizeof(struct pen_spill *));
	if (!b->spills)
		return -ENOMEM;
	b->spill_count = b->now.run_count;
	rc = pen_txn_begin(b->store, PEN_DURABLE_COMMIT, &txn, NULL, why);
	if (rc)
		return rc;
	for (uint32_t i = 0; i < b->spill_count && !rc; i++)
		rc = open_spill(b, txn, i, why);
	pen_txn_abort(txn);
	if (!rc && b->now.phase == PEN_STAGED_SORT) {
		memset(b->stops, 0, b->spill_count * sizeof *b->stops);
		b->now.merged = 0;
		b->now.phase = PEN_STAGED_MERGE; /* as its first transaction will say */
	}
	return rc ? rc : seek_all(b, why);
}

int pen_bulk_merge(struct pen_bulk *b, struct pen_txn *txn, uint64_t until_ns, struct pen_outcome *ret,
		   struct pen_failure *why)
{
	const struct limits limits = { .bytes = MERGE_BYTES, .until_ns = until_ns, .yield = true };
	struct pen_fmt_stop *stops;
	bool append;
	int rc;

	/* A transaction before failed: its records come again. */
	rc = b->rewind ? seek_all(b, why) : 0;
	if (rc)
		return rc;
	b->standing = b->batch->standing;
	b->next = b->now;
	rc = put_records(b, txn, &limits, &append, why);
	if (rc)
		return rc;
	stops = malloc(b->spill_count * sizeof *stops);
	if (!stops)
		return -ENOMEM;
	for (uint32_t i = 0; i < b->spill_count; i++)
		stops[i] = pen_spill_stop(b->spills[i]);
	rc = pen_staged_save(txn, &b->next, stops);
	free(stops);
	outcome(b, append, 0, ret);
	return rc;
}

bool pen_bulk_exhausted(const struct pen_bulk *b)
{
	return b->now.phase == PEN_STAGED_MERGE && b->spills && !b->rewind && !in_hand(b);
}

int pen_bulk_end_merge(struct pen_bulk *b, struct pen_txn *txn, struct pen_outcome *ret)
{
	b->standing = b->batch->standing;
	b->next = b->now;
	b->next.phase = PEN_STAGED_MERGED;
	outcome(b, true, 0, ret);
	return pen_staged_save(txn, &b->next, NULL);
}

/* ---- after --------------------------------------------------------------------------------------- */

void pen_bulk_committed(struct pen_bulk *b)
{
	bool staged = pen_bulk_holds(b);

	if (b->next.phase == PEN_STAGED_MERGED && b->now.phase != PEN_STAGED_MERGED) {
		close_spills(b);
		b->old_first = b->next.first_run;
		b->old_count = b->next.run_count;
		b->now = b->next;
		pen_staged_trim(b->store, b->now.id);
		return;
	}
	if (staged) {
		b->stored |= b->spilled;
		b->old_count = b->spilled ? 0 : b->old_count;
		b->now = b->next;
		reset_memory(b);
		return;
	}
	for (uint32_t i = 0; i < b->spill_count; i++)
		b->stops[i] = pen_spill_stop(b->spills[i]);
	b->stored = true;
	b->now = b->next;
}

void pen_bulk_failed(struct pen_bulk *b)
{
	b->rewind = b->spills != NULL;
}
