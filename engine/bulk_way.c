/* SPDX-License-Identifier: MIT */
/* bulk_way - whether a batch is loaded in bulk mode: what was asked, what it can be, what an earlier run left */
#include <errno.h>
#include <stdlib.h>

#include "engine/budget.h"
#include "engine/bulk.h"
#include "store/dataset.h"

static const char *unfit_for(const struct pen_plan *plan, bool rows_all)
{
	if (plan->puts)
		return "the program puts its records one by one";
	if (pen_plan_is_job(plan))
		return "its items are worked on by commands, and end one by one";
	if (plan->key_kind != PEN_KEY_POINTER && plan->key_kind != PEN_KEY_CONTENT)
		return "its keys come in order as they are";
	if (plan->has_max_rejects)
		return "--max-rejects decides about records in the order they come";
	if (rows_all)
		return "--results all keeps a row of each item as it is committed";
	if (plan->chunk_items || plan->pause_ms)
		return "--chunk and --pause-ms commit records as they come";
	if (pen_budget_wanted(plan))
		return "--rate and --limits let items go by as they are committed";
	if (!plan->has_identity)
		return "a stream that is interrupted cannot come again (give it --idempotency-key)";
	return NULL;
}

static uint64_t needs_of(const struct pen_plan *plan)
{
	/* The runs and the dataset; what is compressed needs more. */
	return 2 * plan->bytes_total;
}

static bool reads_stream(const struct pen_plan *plan)
{
	for (uint32_t i = 0; i < plan->source_count; i++)
		if (plan->sources[i].kind == PEN_SOURCE_STREAM)
			return true;
	return false;
}

int pen_bulk_choose(struct pen_store *store, struct pen_batch *batch, const struct pen_dataset *ds,
		    bool rows_all, struct pen_failure *why)
{
	const struct pen_plan *plan = batch->plan;
	const char *unfit = unfit_for(plan, rows_all);
	uint64_t needs = needs_of(plan), space = pen_staged_space(store);

	batch->bulk_choice = PEN_BULK_NOT;
	if (plan->bulk == PEN_BULK_OFF)
		return 0;
	if (plan->bulk == PEN_BULK_ON && unfit)
		return pen_fail(why, -PEN_BULK_UNFIT, 0, "the batch cannot be loaded with --bulk on: %s",
				unfit);
	if (plan->order) /* only entered */
		return 0;
	batch->bulk_empty = !pen_dataset_entries(ds);
	if (plan->bulk == PEN_BULK_ON && space < needs)
		return pen_fail(why, -PEN_BULK_SPACE, 0,
				"sorted runs and the dataset need about %llu MiB, and %llu are free",
				(unsigned long long)needs >> 20, (unsigned long long)space >> 20);
	if (plan->bulk == PEN_BULK_ON)
		batch->bulk_choice = PEN_BULK_YES;
	else if (!unfit && space >= needs && plan->bytes_total >= PEN_BULK_AUTO_BYTES && batch->bulk_empty &&
		 !reads_stream(plan))
		batch->bulk_choice = PEN_BULK_MAYBE;
	return 0;
}

void pen_bulk_forget(struct pen_batch *batch)
{
	free(batch->staged);
	free(batch->stops);
	batch->staged = NULL;
	batch->stops = NULL;
}

int pen_bulk_resume(struct pen_store *store, struct pen_txn *txn, struct pen_batch *batch,
		    const struct pen_dataset *ds, bool rows_all, struct pen_failure *why)
{
	int rc;

	batch->staged = calloc(1, sizeof *batch->staged);
	batch->stops = calloc(PEN_STAGED_RUNS_MAX, sizeof *batch->stops);
	rc = batch->staged && batch->stops ? pen_staged_load(txn, batch->id, batch->staged, batch->stops)
					   : -ENOMEM;
	if (!rc) {
		batch->first_item = batch->staged->items;
		batch->bulk_choice = PEN_BULK_YES;
		batch->bulk_empty = !pen_dataset_entries(ds);
		return 0;
	}
	pen_bulk_forget(batch);
	return rc == -PEN_NOT_FOUND ? pen_bulk_choose(store, batch, ds, rows_all, why) : rc;
}
