/* SPDX-License-Identifier: MIT */
#include "engine/result.h"

#include <errno.h>
#include <stdlib.h>

#include "engine/batch.h"
#include "ring/base.h"
#include "store/item.h"
#include "store/journal.h"

#define TOLD 12u /* events of single items in one transaction; the rest is a number */

/* ---- packing --------------------------------------------------------------------------------- */

int pen_pack_open(struct pen_pack **ret)
{
	struct pen_pack *pack = calloc(1, sizeof *pack);

	if (!pack)
		return -ENOMEM;
	pack->data = malloc(PEN_PACK_BYTES);
	if (!pack->data) {
		free(pack);
		return -ENOMEM;
	}
	pack->cap = PEN_PACK_BYTES;
	*ret = pack;
	return 0;
}

void pen_pack_close(struct pen_pack *pack)
{
	if (!pack)
		return;
	free(pack->deeds);
	free(pack->data);
	free(pack);
}

void pen_pack_reset(struct pen_pack *pack, struct pen_batch *batch, uint64_t now_ns)
{
	char *small = pack->cap > PEN_PACK_BYTES ? realloc(pack->data, PEN_PACK_BYTES) : NULL;

	if (small) {
		pack->data = small;
		pack->cap = PEN_PACK_BYTES;
	}
	pack->chunk = (struct pen_chunk){
		.batch = batch, .tag = UINT32_MAX, .kind = PEN_CHUNK_RESULTS, .table = NULL
	};
	pack->next = NULL;
	pack->out = false;
	pack->id = batch->id;
	pack->began_ns = now_ns;
	pack->due_ms = UINT64_MAX;
	pack->clock_ms = 0;
	pack->count = pack->deed_count = 0;
	pack->used = 0;
	pack->tries = pack->retries = pack->crashes = pack->cost_ns = 0;
	pack->cache_hits = pack->cache_misses = 0;
	memset(pack->sums, 0, sizeof pack->sums);
}

bool pen_pack_full(const struct pen_pack *pack)
{
	return pack->count == PEN_PACK_RESULTS || pack->used >= PEN_PACK_BYTES ||
	       pack->deed_count >= PEN_PACK_DEEDS;
}

int pen_pack_add(struct pen_pack *pack, const void *data, size_t len, struct pen_piece *ret)
{
	size_t need = pack->used + len;

	if (need > UINT32_MAX)
		return -ENOMEM;
	if (need > pack->cap) {
		size_t cap = pen_max(need, pack->cap * 2);
		char *grown = realloc(pack->data, cap);

		if (!grown)
			return -ENOMEM;
		pack->data = grown;
		pack->cap = cap;
	}
	*ret = (struct pen_piece){ (uint32_t)pack->used, (uint32_t)len };
	if (len)
		memcpy(pack->data + pack->used, data, len);
	pack->used = need;
	return 0;
}

int pen_pack_add_deeds(struct pen_pack *pack, const struct pen_deed *deeds, uint32_t count)
{
	int rc = 0;

	if (pack->deed_count + count > pack->deed_cap) {
		uint32_t cap = (uint32_t)pen_max(pack->deed_count + count, pack->deed_cap * 2);
		struct pen_pack_deed *grown = realloc(pack->deeds, cap * sizeof *grown);

		if (!grown)
			return -ENOMEM;
		pack->deeds = grown;
		pack->deed_cap = cap;
	}
	for (uint32_t i = 0; i < count && !rc; i++) {
		struct pen_pack_deed *d = &pack->deeds[pack->deed_count++];

		*d = (struct pen_pack_deed){ .del = deeds[i].del };
		rc = pen_pack_add(pack, deeds[i].dataset, strlen(deeds[i].dataset) + 1, &d->dataset);
		if (!rc)
			rc = pen_pack_add(pack, deeds[i].key, deeds[i].key_len, &d->key);
		if (!rc && !d->del)
			rc = pen_pack_add(pack, deeds[i].value, deeds[i].value_len, &d->value);
	}
	return rc;
}

/* ---- applying -------------------------------------------------------------------------------- */

/* How many records deeds added to a dataset, or took. */
struct others {
	uint64_t dataset;
	int64_t delta;
};
#define OTHERS 8u

struct apply {
	struct pen_pack *pack;
	struct pen_txn *txn;
	struct pen_dataset *ds;
	struct pen_tally *tally;
	const struct pen_plan *plan;
	struct others others[OTHERS];
	uint32_t other_count;
};

static int settle_others(struct apply *a)
{
	int rc = 0;

	for (uint32_t i = 0; i < a->other_count && !rc; i++)
		rc = pen_dataset_others(a->txn, a->others[i].dataset, a->others[i].delta);
	a->other_count = 0;
	return rc;
}

static int count_other(struct apply *a, uint64_t dataset, int64_t delta)
{
	uint32_t i = 0;
	int rc = 0;

	while (i < a->other_count && a->others[i].dataset != dataset)
		i++;
	if (i == OTHERS) {
		rc = settle_others(a);
		i = 0;
	}
	if (i == a->other_count)
		a->others[a->other_count++] = (struct others){ .dataset = dataset };
	a->others[i].delta += delta;
	return rc;
}

/* Datasets that a reply names besides: looked at before anything of the item is put, so that it is all or nothing. */
static int check_deeds(struct apply *a, const struct pen_result *r)
{
	const struct pen_pack_deed *deeds = a->pack->deeds + r->deeds_at;
	const char *data = a->pack->data;
	struct pen_dataset *ds;
	int rc = 0;

	for (uint32_t i = 0; i < r->deed_count && !rc; i++)
		rc = deeds[i].key.len > PEN_KEY_MAX ? -PEN_KEY_LONG
						    : pen_dataset_name_check(data + deeds[i].dataset.at);
	for (uint32_t i = 0; i < r->deed_count && !rc; i++) {
		rc = pen_dataset_use(a->txn, data + deeds[i].dataset.at, PEN_KEY_GIVEN, &ds, NULL);
		/* It may be new, and stays so when a later one is refused. */
		if (!rc)
			rc = pen_dataset_save(ds);
	}
	return rc;
}

static int do_deeds(struct apply *a, const struct pen_result *r)
{
	struct pen_dataset *ds;
	int rc = 0;

	for (uint32_t i = 0; i < r->deed_count && !rc; i++) {
		const struct pen_pack_deed *d = &a->pack->deeds[r->deeds_at + i];
		const char *data = a->pack->data;

		uint64_t before;

		rc = pen_dataset_use(a->txn, data + d->dataset.at, PEN_KEY_GIVEN, &ds, NULL);
		if (rc)
			break;
		before = pen_dataset_entries(ds);
		if (d->del)
			rc = pen_dataset_del(ds, data + d->key.at, d->key.len);
		else
			rc = pen_dataset_set(ds, data + d->key.at, d->key.len, data + d->value.at,
					     d->value.len);
		if (rc == -PEN_NOT_FOUND)
			rc = 0; /* what is to be gone is gone */
		if (!rc)
			rc = count_other(a, pen_dataset_id(ds), (int64_t)(pen_dataset_entries(ds) - before));
		if (!rc)
			rc = pen_dataset_save(ds);
	}
	return rc;
}

/* A code of a deed that says something about the item, not about the store. */
static bool is_items_fault(int rc)
{
	return rc == -PEN_KEY_LONG || rc == -PEN_DATASET_NAME || rc == -PEN_KEY_KIND ||
	       rc == -PEN_DATASETS_FULL;
}

static int keep_result(struct apply *a, const struct pen_result *r)
{
	struct pen_cache_entry entry = { .time_ms = r->ended_ms,
					 .data = a->pack->data + r->value.at,
					 .len = r->value.len };
	int rc = pen_cache_put(a->txn, &r->cache, &entry, PEN_RECALL_BUDGET);

	return rc == -E2BIG ? 0 : rc; /* a large one is made anew */
}

static int put_record(struct apply *a, struct pen_result *r, uint8_t *ret_state, int *ret_code)
{
	enum pen_duplicate policy = a->plan->on_duplicate;
	const char *data = a->pack->data;
	enum pen_put result;
	int rc = check_deeds(a, r);

	if (is_items_fault(rc) && r->nothing) {
		*ret_state = PEN_ITEM_FAILED;
		*ret_code = rc;
		return 0;
	}
	if (is_items_fault(rc)) {
		struct pen_sum none[PEN_BUCKETS] = { 0 };

		/* Its digest was summed with the others'. */
		pen_sum_sub(&none[pen_hash_bucket(data + r->key.at, r->key.len)],
			    pen_hash_record(data + r->key.at, r->key.len, data + r->value.at, r->value.len));
		pen_dataset_offer(a->ds, none);
		*ret_state = PEN_ITEM_FAILED;
		*ret_code = rc;
		return 0;
	}
	if (rc)
		return rc;
	if (r->nothing) {
		rc = do_deeds(a, r);
		return rc ? rc : count_other(a, pen_dataset_id(a->ds), -1); /* committed, without a record */
	}
	rc = pen_dataset_put(a->ds, data + r->key.at, r->key.len, data + r->value.at, r->value.len, false,
			     policy, &result);
	if (!rc)
		rc = do_deeds(a, r);
	if (!rc && r->keep)
		rc = keep_result(a, r);
	if (rc)
		return rc;
	if (result == PEN_PUT_KEPT) {
		*ret_state = policy == PEN_DUP_REJECT ? PEN_ITEM_REJECTED : PEN_ITEM_SKIPPED;
		*ret_code = policy == PEN_DUP_REJECT ? -PEN_KEY_TWICE : -PEN_DUPLICATE_KEPT;
	}
	a->tally->n->duplicates += result == PEN_PUT_REPLACED;
	return 0;
}

static int put_row(struct apply *a, const struct pen_result *r, uint8_t state, int code)
{
	bool kept = state != PEN_ITEM_COMMITTED && state != PEN_ITEM_SKIPPED;
	const char *data = a->pack->data;
	struct pen_row row = {
		.batch = a->pack->id,
		.seq = r->seq,
		.state = state,
		.code = code,
		.source = r->source,
		.path = r->path.len ? data + r->path.at : NULL,
		.line = r->line,
		.offset = r->offset,
		.key = data + r->key.at,
		.key_len = r->key.len,
		/* It may have been kept for a record that the store took after all. */
		.raw = data + r->raw.at,
		.raw_len = kept ? r->raw.len : 0,
		.raw_total = kept ? r->raw.len : 0,
		.attempts = (uint16_t)pen_min(r->attempts, UINT16_MAX),
		.tried = true,
		.replaces = r->again,
		.form = r->form,
		.due_ms = r->due_ms,
		.ended_ms = r->ended_ms,
		.spent_us = r->spent_us,
		.since_ms = r->since_ms,
		.exit_status = r->exit_status,
		.term_signal = r->term_signal,
		.crashes = (uint16_t)pen_min(r->crashes, UINT16_MAX),
		.message = r->message.len ? data + r->message.at : NULL,
		.stderr_tail = data + r->stderr_tail.at,
		.stderr_len = r->stderr_tail.len,
	};

	return pen_item_put(a->txn, &row);
}

/* What happens to single items is told one by one as long as it is little. */
static int tell(struct apply *a, const struct pen_result *r, uint8_t state, int code)
{
	bool dead = state == PEN_ITEM_FAILED || state == PEN_ITEM_QUARANTINED;

	if ((!dead && state != PEN_ITEM_RETRYING) || a->tally->told >= TOLD)
		return 0;
	a->tally->told++;
	return pen_journal_add(a->txn, a->pack->id, dead ? PEN_EVENT_DEAD_LETTERED : PEN_EVENT_RETRY, code,
			       r->seq, dead ? r->attempts : r->due_ms);
}

static int apply_one(struct apply *a, struct pen_result *r)
{
	struct pen_fmt_counters *n = a->tally->n;
	struct pen_fmt_job *job = a->tally->job;
	uint8_t state = r->state;
	int code = r->code, rc = 0;

	if (state == PEN_ITEM_COMMITTED)
		rc = put_record(a, r, &state, &code);
	if (rc)
		return rc;
	a->tally->items_end = pen_max(a->tally->items_end, r->seq + 1);
	job->retrying -= r->again;
	if (state == PEN_ITEM_RETRYING)
		job->retrying++;
	else
		n->items++;
	n->committed += state == PEN_ITEM_COMMITTED;
	n->rejected += state == PEN_ITEM_REJECTED;
	n->failed += state == PEN_ITEM_FAILED || state == PEN_ITEM_QUARANTINED;
	n->skipped += state == PEN_ITEM_SKIPPED;
	job->dropped += state == PEN_ITEM_SKIPPED && code != -PEN_DUPLICATE_KEPT;
	/* Until the place has passed it, the row is what says that the item ended. */
	if (state == PEN_ITEM_COMMITTED && r->seq < job->place_items && !a->pack->chunk.batch->rows_all)
		rc = r->again ? pen_item_remove(a->txn, a->pack->id, r->seq) : 0;
	else
		rc = put_row(a, r, state, code);
	return rc ? rc : tell(a, r, state, code);
}

int pen_pack_apply(struct pen_pack *pack, struct pen_txn *txn, struct pen_dataset *ds,
		   struct pen_tally *tally)
{
	struct apply a = {
		.pack = pack, .txn = txn, .ds = ds, .tally = tally, .plan = pack->chunk.batch->plan
	};
	int rc = 0;

	for (uint32_t i = 0; i < pack->count && !rc; i++)
		rc = apply_one(&a, &pack->results[i]);
	if (!rc)
		rc = settle_others(&a);
	pen_dataset_offer(ds, pack->sums);
	tally->job->clock_ms = pack->clock_ms;
	tally->job->tries += pack->tries;
	tally->job->retries += pack->retries;
	tally->job->crashes += pack->crashes;
	tally->job->cost_ns += pack->cost_ns;
	tally->job->cache_hits += pack->cache_hits;
	tally->job->cache_misses += pack->cache_misses;
	return rc;
}
