/* SPDX-License-Identifier: MIT */
#include "engine/batch.h"

void pen_batch_publish(struct pen_batch *batch, int reason)
{
	const struct pen_fmt_state *s = &batch->standing.fixed;
	uint64_t words[PEN_GAUGE_USED] = {
		[PEN_GAUGE_BATCH] = batch->id,
		[PEN_GAUGE_STATE] = s->state,
		[PEN_GAUGE_REASON] = (uint64_t)(int64_t)reason,
		[PEN_GAUGE_ITEMS] = s->counted.items,
		[PEN_GAUGE_COMMITTED] = s->counted.committed,
		[PEN_GAUGE_REJECTED] = s->counted.rejected,
		[PEN_GAUGE_FAILED] = s->counted.failed,
		[PEN_GAUGE_SKIPPED] = s->counted.skipped,
		[PEN_GAUGE_DUPLICATES] = s->counted.duplicates,
		[PEN_GAUGE_BYTES] = s->counted.bytes,
		[PEN_GAUGE_ITEMS_TOTAL] = batch->plan->items_total,
		[PEN_GAUGE_BYTES_TOTAL] = batch->plan->bytes_total,
		[PEN_GAUGE_BYTES_PLACE] = batch->passed_counted,
		[PEN_GAUGE_GROUPS] = s->groups,
		[PEN_GAUGE_FIRST_NS] = batch->first_ns,
		[PEN_GAUGE_LAST_NS] = batch->last_ns,
		[PEN_GAUGE_HOLD_BUDGET] = s->hold_budget_ms,
		[PEN_GAUGE_HOLD_LAST] = s->hold_last_ms,
		[PEN_GAUGE_RESUMED] = batch->resumed,
		[PEN_GAUGE_RESUMED_ITEMS] = batch->from_items,
	};

	pen_gauge_write(&batch->gauge, words, PEN_GAUGE_USED);
}
