/* SPDX-License-Identifier: MIT */
/*
 * In time order: find where a threshold cuts the group short; merge the chunks' sorted entries and put them
 * in key order; write the rows of rejected and skipped items (or of all) in item order; save the dataset and the
 * batch's standing.
 *
 * Equal keys come out of the merge in item order, so `replace` ends with the last one and `keep` with the
 * first.
 */
#include "engine/group.h"

#include <errno.h>
#include <stdlib.h>

#include "engine/result.h"
#include "ring/assert.h"
#include "store/item.h"
#include "store/index.h"
#include "store/journal.h"

#define RATIO_ITEMS_MIN 100u /* a share of fewer items says nothing */

/* An entry that gets a row. */
struct listed {
	const struct pen_chunk *chunk;
	const struct pen_entry *entry;
};

struct run {
	struct pen_chunk *chunk;
	uint32_t next;
};

struct pen_group {
	struct pen_standing standing;
	struct pen_fmt_job job;
	struct listed *listed; /* entries whose key was there and stays, or all */
	uint32_t listed_count;
	struct run *heap;
	uint32_t heap_count;
};

struct apply {
	struct pen_group *group;
	struct pen_txn *txn;
	struct pen_batch *batch;
	struct pen_chunk *const *chunks;
	uint32_t count;
	struct pen_dataset *ds;
	struct pen_fmt_counters *n;
	struct pen_tally tally;
	uint32_t cut_item; /* of the last chunk: the last item that is taken */
	bool cut;
};

int pen_group_open(struct pen_group **ret)
{
	struct pen_group *group = calloc(1, sizeof *group);

	if (!group)
		return -ENOMEM;
	group->listed = malloc(sizeof *group->listed * PEN_GROUP_ITEMS_MAX);
	group->heap = malloc(sizeof *group->heap * PEN_TAGS_MAX);
	if (!group->listed || !group->heap) {
		pen_group_close(group);
		return -ENOMEM;
	}
	*ret = group;
	return 0;
}

void pen_group_close(struct pen_group *group)
{
	if (!group)
		return;
	free(group->listed);
	free(group->heap);
	free(group);
}

static bool has_items(const struct pen_chunk *chunk)
{
	return chunk->kind <= PEN_CHUNK_FLAW;
}

/* Its entries are the chunk's to put; where items end one by one, results have them. */
static bool has_entries(const struct pen_chunk *chunk)
{
	return has_items(chunk) && chunk->entry_count && !pen_plan_is_job(chunk->batch->plan);
}

/* ---- thresholds ---------------------------------------------------------------------------- */

bool pen_group_too_many(const struct pen_plan *plan, uint64_t rejected, uint64_t items)
{
	if (!plan->has_max_rejects)
		return false;
	if (plan->max_rejects_ratio)
		return items >= RATIO_ITEMS_MIN &&
		       rejected > (uint64_t)((double)items * plan->max_rejects_ratio / PEN_RATIO_ONE);
	return rejected > plan->max_rejects;
}

/*
 * Cuts the group behind the item that passes the threshold, so that a run stops at the same item whatever
 * its chunks are. A pack of files is taken whole.
 */
static void find_cut(struct apply *a)
{
	const struct pen_plan *plan = a->batch->plan;
	uint64_t rejected = a->n->rejected;

	if (!plan->has_max_rejects || pen_plan_is_job(plan))
		return;
	for (uint32_t c = 0; c < a->count; c++) {
		const struct pen_chunk *chunk = a->chunks[c];

		for (uint32_t i = 0; has_items(chunk) && i < chunk->flaw_count; i++) {
			const struct pen_flaw *flaw = pen_chunk_flaw(chunk, i);

			if (pen_transform_drops(-(int)flaw->code) ||
			    !pen_group_too_many(plan, ++rejected, chunk->first_item + flaw->item + 1))
				continue;
			a->cut = true;
			a->count = c + 1;
			a->cut_item = chunk->kind == PEN_CHUNK_RECORDS ? flaw->item : chunk->items - 1;
			return;
		}
	}
}

/* Leaves out what lies behind the cut: entries, flaws, their digests; and moves the place before them. */
static void trim(struct apply *a, struct pen_chunk *chunk)
{
	const struct pen_limits limits = { .items = a->cut_item + 1, .room = SIZE_MAX };
	struct pen_cut cut;
	uint32_t kept = 0;

	if (chunk->kind != PEN_CHUNK_RECORDS || a->cut_item + 1 == chunk->items)
		return;
	memset(chunk->sums, 0, sizeof chunk->sums);
	for (uint32_t i = 0; i < chunk->entry_count; i++) {
		struct pen_entry e = chunk->table[i];
		uint8_t buf[8];
		const void *key = pen_entry_key(chunk, &e, buf);

		if (e.item > a->cut_item)
			continue;
		chunk->table[kept++] = e;
		pen_sum_add(&chunk->sums[pen_hash_bucket(key, e.key_len)],
			    pen_hash_record(key, e.key_len, chunk->data + e.at, e.len));
	}
	chunk->entry_count = kept;
	while (chunk->flaw_count && pen_chunk_flaw(chunk, chunk->flaw_count - 1)->item > a->cut_item)
		chunk->flaw_count--;
	/* Cut again by the rule it was cut by: so the place is one where a text may begin. */
	pen_splitter_of(chunk->rules.format)
		->cut(&chunk->rules, chunk->context, chunk->data + chunk->begin, chunk->end - chunk->begin,
		      true, &limits, &cut);
	chunk->items = cut.items;
	chunk->bytes -=
		chunk->end - chunk->begin - cut.len; /* what stood before the first record counts on */
	chunk->end = chunk->begin + (uint32_t)cut.len;
	chunk->after.offset = chunk->base_offset + cut.len;
	chunk->after.line = chunk->first_line + cut.lines;
	chunk->after.context = cut.context;
	if (!chunk->path) /* feed_stream.c: what is read again of a stream is known by it */
		chunk->after.content = pen_hash128(chunk->data + chunk->begin, cut.len);
}

/* ---- records ------------------------------------------------------------------------------- */

static int run_compare(const struct run *x, const struct run *y)
{
	int c = pen_entry_compare(x->chunk, &x->chunk->table[x->next], y->chunk, &y->chunk->table[y->next]);

	return c ? c : (x->chunk->seq > y->chunk->seq) - (x->chunk->seq < y->chunk->seq);
}

static void sift_down(struct run *heap, uint32_t n, uint32_t i)
{
	struct run top = heap[i];

	for (;;) {
		uint32_t child = 2 * i + 1;

		if (child >= n)
			break;
		if (child + 1 < n && run_compare(&heap[child + 1], &heap[child]) < 0)
			child++;
		if (run_compare(&top, &heap[child]) <= 0)
			break;
		heap[i] = heap[child];
		i = child;
	}
	heap[i] = top;
}

/* Collects the runs; true when they follow each other in key order as they stand. */
static bool gather(struct apply *a)
{
	struct pen_group *g = a->group;
	bool ordered = true;

	g->heap_count = 0;
	for (uint32_t c = 0; c < a->count; c++) {
		struct pen_chunk *chunk = a->chunks[c];
		struct run *run = &g->heap[g->heap_count];

		if (!has_entries(chunk))
			continue;
		*run = (struct run){ .chunk = chunk };
		if (g->heap_count) {
			struct pen_chunk *before = run[-1].chunk;

			ordered &= pen_entry_compare(before, &before->table[before->entry_count - 1], chunk,
						     chunk->table) <= 0;
		}
		g->heap_count++;
	}
	return ordered;
}

struct put_state {
	bool append;
	const struct pen_chunk *chunk; /* of the entry before */
	const struct pen_entry *entry;
};

static int put_entry(struct apply *a, struct put_state *s, struct pen_chunk *chunk, struct pen_entry *e)
{
	enum pen_duplicate policy = a->batch->plan->on_duplicate;
	bool append = s->append;
	enum pen_put result;
	uint8_t buf[8];
	int rc;

	/* Appending needs strictly rising keys: an equal one goes the ordinary way. */
	if (append && s->entry && pen_entry_compare(s->chunk, s->entry, chunk, e) == 0)
		append = false;
	rc = pen_dataset_put(a->ds, pen_entry_key(chunk, e, buf), e->key_len, chunk->data + e->at, e->len,
			     append, policy, &result);
	if (rc)
		return rc;
	s->chunk = chunk;
	s->entry = e;
	/* A group that is applied again may end otherwise. */
	e->flags &= (uint16_t) ~(PEN_ENTRY_REFUSED | PEN_ENTRY_STAYED);
	if (result == PEN_PUT_KEPT || a->batch->rows_all)
		a->group->listed[a->group->listed_count++] = (struct listed){ .chunk = chunk, .entry = e };
	if (result == PEN_PUT_KEPT) {
		e->flags |= policy == PEN_DUP_REJECT ? PEN_ENTRY_REFUSED : PEN_ENTRY_STAYED;
		a->n->rejected += policy == PEN_DUP_REJECT;
		a->n->skipped += policy != PEN_DUP_REJECT;
		return 0;
	}
	a->n->committed++;
	a->n->duplicates += result == PEN_PUT_REPLACED;
	return 0;
}

static int put_all(struct apply *a, bool *ret_appended)
{
	struct pen_group *g = a->group;
	bool ordered = gather(a);
	struct put_state s = { 0 };
	uint8_t buf[8];
	int rc = 0;

	*ret_appended = true;
	if (!g->heap_count)
		return 0;
	if (!ordered)
		for (uint32_t i = g->heap_count / 2; i-- > 0;)
			sift_down(g->heap, g->heap_count, i);
	rc = pen_dataset_above(a->ds, pen_entry_key(g->heap[0].chunk, g->heap[0].chunk->table, buf),
			       g->heap[0].chunk->table->key_len, &s.append);
	*ret_appended = s.append;
	if (ordered) {
		for (uint32_t i = 0; i < g->heap_count && !rc; i++)
			for (uint32_t k = 0; k < g->heap[i].chunk->entry_count && !rc; k++)
				rc = put_entry(a, &s, g->heap[i].chunk, &g->heap[i].chunk->table[k]);
		return rc;
	}
	while (g->heap_count && !rc) {
		struct run *top = &g->heap[0];

		rc = put_entry(a, &s, top->chunk, &top->chunk->table[top->next++]);
		if (top->next == top->chunk->entry_count)
			g->heap[0] = g->heap[--g->heap_count];
		if (g->heap_count)
			sift_down(g->heap, g->heap_count, 0);
	}
	return rc;
}

/* ---- rows ---------------------------------------------------------------------------------- */

static int by_item(const void *x, const void *y)
{
	const struct listed *a = x, *b = y;
	uint64_t p = a->chunk->first_item + a->entry->item, q = b->chunk->first_item + b->entry->item;

	return (p > q) - (p < q);
}

void pen_group_place(const struct pen_chunk *chunk, uint32_t at, uint32_t line, struct pen_row *row)
{
	const struct pen_plan *plan = chunk->batch->plan;
	const struct pen_source *source = plan->puts ? NULL : &plan->sources[chunk->source];
	bool tree = source && source->kind == PEN_SOURCE_TREE;

	row->source = chunk->source;
	row->path = tree ? chunk->path : NULL;
	if (chunk->rules.format == PEN_FORMAT_FILES) {
		/* A file that is given by itself is its source; in an archive it has a name of its own. */
		if (chunk->kind == PEN_CHUNK_FILES && source &&
		    (tree || source->archive || source->kind == PEN_SOURCE_STREAM))
			row->path = chunk->keys + line;
	} else if (chunk->kind != PEN_CHUNK_PUTS) {
		row->line = chunk->rules.format == PEN_FORMAT_FRAMES ? 0 : chunk->first_line + line + 1;
		row->offset = chunk->base_offset + (at - chunk->begin);
	}
}

void pen_group_flaw_row(const struct pen_chunk *chunk, const struct pen_flaw *flaw, struct pen_row *ret)
{
	bool says = flaw->detail == PEN_FLAW_SAYS, out = pen_transform_drops(-(int)flaw->code);

	*ret = (struct pen_row){
		.batch = chunk->batch->id,
		.seq = chunk->first_item + flaw->item,
		.state = out ? PEN_ITEM_SKIPPED : PEN_ITEM_REJECTED,
		.code = -(int)flaw->code,
		.detail = says ? 0 : flaw->detail,
		.column = says ? 0 : flaw->column,
		.raw = out ? NULL : chunk->data + flaw->at,
		.raw_len = out ? 0 : flaw->len,
		.raw_total = flaw->total,
		.attempts = 1,
		.tried = says, /* such rows have room for a sentence */
		.exit_status = -1,
		.message = says ? pen_flaw_message(chunk, flaw) : NULL,
	};
	pen_group_place(chunk, flaw->at, flaw->line, ret);
}

/* Where the entry's record begins, in data. */
static uint32_t record_at(struct pen_group_walk *walk, const struct pen_chunk *chunk,
			  const struct pen_entry *e)
{
	if (!(e->flags & PEN_VALUE_MADE) || chunk->kind != PEN_CHUNK_RECORDS)
		return e->at;
	if (walk->chunk != chunk || walk->next > e->item)
		*walk = (struct pen_group_walk){
			.chunk = chunk,
			.split = { .rules = &chunk->rules,
				   .at = chunk->data + chunk->begin,
				   .end = chunk->data + chunk->end,
				   .context = chunk->context },
		};
	while (walk->next <= e->item) {
		bool more = pen_splitter_of(chunk->rules.format)->next(&walk->split, &walk->record);

		pen_assert(more); /* the processor took it apart by the same rule */
		walk->next++;
	}
	return (uint32_t)(walk->record.at - chunk->data);
}

void pen_group_entry_row(struct pen_group_walk *walk, const struct pen_chunk *chunk,
			 const struct pen_entry *e, uint8_t buf[8], struct pen_row *ret)
{
	bool refused = e->flags & PEN_ENTRY_REFUSED, stayed = e->flags & PEN_ENTRY_STAYED;

	*ret = (struct pen_row){
		.batch = chunk->batch->id,
		.seq = chunk->first_item + e->item,
		.state = refused  ? PEN_ITEM_REJECTED
			 : stayed ? PEN_ITEM_SKIPPED
				  : PEN_ITEM_COMMITTED,
		.code = refused	 ? -PEN_KEY_TWICE
			: stayed ? -PEN_DUPLICATE_KEPT
				 : 0,
		.key = pen_entry_key(chunk, e, buf),
		.key_len = e->key_len,
		.raw = refused ? chunk->data + e->at : NULL,
		.raw_len = refused ? pen_min(e->len, PEN_RAW_MAX) : 0,
		.raw_total = e->len,
		.attempts = 1,
	};
	pen_group_place(chunk, record_at(walk, chunk, e), e->line, ret);
}

static int put_flaw(struct apply *a, const struct pen_chunk *chunk, const struct pen_flaw *flaw)
{
	bool out = pen_transform_drops(-(int)flaw->code);
	struct pen_row row;

	a->n->rejected += !out;
	a->n->skipped += out;
	if (out && !a->batch->rows_all)
		return 0;
	pen_group_flaw_row(chunk, flaw, &row);
	return pen_item_put(a->txn, &row);
}

static int put_listed(struct apply *a, struct pen_group_walk *walk, const struct listed *l)
{
	struct pen_row row;
	uint8_t buf[8];

	pen_group_entry_row(walk, l->chunk, l->entry, buf, &row);
	return pen_item_put(a->txn, &row);
}

/* All rows of the group in item order: flaws are in order by construction, entries after sorting. */
static int put_rows(struct apply *a)
{
	struct pen_group *g = a->group;
	struct pen_group_walk walk = { 0 };
	uint32_t t = 0;
	int rc = 0;

	qsort(g->listed, g->listed_count, sizeof *g->listed, by_item);
	for (uint32_t c = 0; c < a->count && !rc; c++) {
		const struct pen_chunk *chunk = a->chunks[c];
		uint32_t flaws = has_items(chunk) && !chunk->undecided ? chunk->flaw_count : 0;

		for (uint32_t f = 0; f < flaws && !rc; f++) {
			const struct pen_flaw *flaw = pen_chunk_flaw(chunk, f);

			while (t < g->listed_count && !rc &&
			       g->listed[t].chunk->first_item + g->listed[t].entry->item <
				       chunk->first_item + flaw->item)
				rc = put_listed(a, &walk, &g->listed[t++]);
			if (!rc)
				rc = put_flaw(a, chunk, flaw);
		}
	}
	while (t < g->listed_count && !rc)
		rc = put_listed(a, &walk, &g->listed[t++]);
	return rc;
}

/* ---- standing ------------------------------------------------------------------------------ */

void pen_group_move(struct pen_standing *st, const struct pen_place *after)
{
	st->fixed.place_source = after->source;
	st->fixed.place_context = after->context | after->told << PEN_CONTEXT_BITS;
	st->fixed.place_offset = after->offset;
	st->fixed.place_line = after->line;
	st->fixed.place_files = after->files;
	memcpy(st->fixed.place_paths, &after->paths, 16);
	memcpy(st->fixed.place_content, &after->content, 16);
	memset(st->path, 0, sizeof st->path);
	if (after->path)
		strncpy(st->path, after->path, sizeof st->path - 1);
}

static const struct ending {
	int code;
	enum pen_state state;
	enum pen_event_type event;
} endings[] = {
	{ 0, PEN_COMPLETED, PEN_EVENT_COMPLETED },
	{ -PEN_STOPPED_BY, PEN_STOPPED, PEN_EVENT_STOPPED },
	{ -PEN_CANCELLED_BY, PEN_CANCELLED, PEN_EVENT_CANCELLED },
	{ -PEN_WAITS, PEN_WAITING, 0 },
	{ -PEN_PROCESSOR_BROKEN, PEN_FAILED, PEN_EVENT_FAILED },
	{ -PEN_INTERRUPTED_BY, PEN_INTERRUPTED, PEN_EVENT_INTERRUPTED },
};

/* Any other code leaves the batch resumable too. */
static const struct ending *ending_of(int code)
{
	for (size_t i = 0; i < PEN_COUNT(endings); i++)
		if (endings[i].code == code)
			return &endings[i];
	return &endings[PEN_COUNT(endings) - 1];
}

static int set_state(struct apply *a, struct pen_standing *st, enum pen_state state,
		     enum pen_event_type event, int code)
{
	st->fixed.state = (uint8_t)state;
	st->fixed.code = code;
	if (!event)
		return 0;
	return pen_journal_add(a->txn, a->batch->id, event, code, a->n->bytes, a->n->items);
}

static int end_batch(struct apply *a, struct pen_standing *st, int code, uint64_t now_ms)
{
	const struct ending *how;

	if (!code && pen_group_too_many(a->batch->plan, a->n->rejected, a->n->items))
		code = -PEN_STOPPED_BY;
	how = ending_of(code);
	st->fixed.ended_ms = now_ms;
	st->fixed.runner_pid = 0;
	st->fixed.counted = st->fixed.applied;
	/* What is interrupted while it is to rest goes on resting. */
	if (how->state == PEN_INTERRUPTED && st->fixed.state == PEN_PAUSED && a->batch->wished_pause)
		return 0;
	if (pen_ledger_over(how->state) && pen_dataset_feeder(a->ds) == a->batch->id)
		pen_dataset_set_feeder(a->ds, 0);
	if (st->fixed.state == how->state)
		return 0; /* a threshold stopped it before its end came by, and said so */
	return set_state(a, st, how->state, how->event, code);
}

/* What the chunks say beyond records: counters, place, state. */
static int stand(struct apply *a, struct pen_standing *st, uint64_t now_ms, int *ret_over)
{
	int rc = 0;

	for (uint32_t c = 0; c < a->count && !rc; c++) {
		const struct pen_chunk *chunk = a->chunks[c];

		switch (chunk->kind) {
		case PEN_CHUNK_END:
			/* Behind a threshold chunks were dropped, with what was bad in them. */
			if ((!chunk->res || chunk->res == -PEN_WAITS) && !a->batch->over)
				a->group->job.fed = 1;
			rc = end_batch(a, st, a->batch->over ? a->batch->over : chunk->res, now_ms);
			break;
		case PEN_CHUNK_PAUSE:
			/* A code only where nobody asked for it: a flag did. */
			rc = set_state(a, st, PEN_PAUSED, PEN_EVENT_PAUSED,
				       a->batch->flagged && !a->batch->wished_pause ? -PEN_FLAG_REFUSED : 0);
			break;
		case PEN_CHUNK_RESUME:
			rc = set_state(a, st, PEN_RUNNING, PEN_EVENT_RESUMED, 0);
			break;
		case PEN_CHUNK_RESULTS:
			rc = pen_pack_apply((struct pen_pack *)(uintptr_t)chunk, a->txn, a->ds, &a->tally);
			break;
		default:
			if (chunk->undecided)
				break;
			a->n->items += pen_plan_is_job(a->batch->plan) ? chunk->flaw_count : chunk->items;
			a->group->job.place_items += chunk->items;
			if (pen_plan_is_job(a->batch->plan) && !a->batch->rows_all)
				rc = pen_item_forget_committed(a->txn, a->batch->id, chunk->first_item,
							       chunk->items);
			a->n->bytes += chunk->bytes;
			pen_group_move(st, &chunk->after);
		}
	}
	if (!rc && !*ret_over &&
	    (a->cut || pen_group_too_many(a->batch->plan, a->n->rejected, a->n->items))) {
		*ret_over = -PEN_STOPPED_BY;
		if (st->fixed.state == PEN_RUNNING)
			rc = set_state(a, st, PEN_STOPPED, PEN_EVENT_STOPPED, -PEN_STOPPED_BY);
	}
	return rc;
}

static uint64_t passed(const struct apply *a)
{
	for (uint32_t c = a->count; c-- > 0;)
		if (has_items(a->chunks[c]) && !a->chunks[c]->undecided)
			return a->chunks[c]->after.passed;
	return 0;
}

int pen_group_apply(struct pen_group *group, struct pen_txn *txn, struct pen_batch *batch,
		    struct pen_chunk *const *chunks, uint32_t count, uint64_t now_ms, uint64_t active_ms,
		    struct pen_outcome *ret, struct pen_failure *why)
{
	struct pen_standing *st = &group->standing;
	struct apply a = { .group = group,
			   .txn = txn,
			   .batch = batch,
			   .chunks = chunks,
			   .count = count,
			   .n = &st->fixed.applied };
	bool appended = true;
	int over = batch->over, rc;

	*st = batch->standing;
	group->job = batch->job;
	a.tally = (struct pen_tally){ .n = a.n, .job = &group->job };
	group->listed_count = 0;
	rc = pen_dataset_use_id(txn, batch->plan->into, batch->dataset_id, &a.ds, why);
	if (rc)
		return rc;
	if (!over)
		find_cut(&a);
	if (a.cut)
		trim(&a, a.chunks[a.count - 1]);
	rc = put_all(&a, &appended);
	if (!rc)
		rc = put_rows(&a);
	for (uint32_t c = 0; c < a.count; c++)
		if (has_entries(a.chunks[c]))
			pen_dataset_offer(a.ds, a.chunks[c]->sums);
	if (!rc)
		rc = stand(&a, st, now_ms, &over);
	if (!rc && batch->plan->key_kind == PEN_KEY_SEQ)
		pen_dataset_set_next_seq(a.ds,
					 pen_max(pen_dataset_next_seq(a.ds),
						 batch->seq_base + (pen_plan_is_job(batch->plan)
									    ? pen_max(a.tally.items_end,
										      group->job.place_items)
									    : a.n->items)));
	group->job.due_ms = 0;
	if (!rc && group->job.retrying)
		rc = pen_index_first_due(txn, batch->id, &group->job.due_ms);
	if (!rc)
		rc = pen_dataset_save(a.ds);
	st->fixed.groups++;
	st->fixed.updated_ms = now_ms;
	st->fixed.active_ms = active_ms;
	if (!rc)
		*ret = (struct pen_outcome){ .standing = st,
					     .job = &group->job,
					     .over = over,
					     .appended = appended,
					     .passed = passed(&a) };
	return rc;
}
