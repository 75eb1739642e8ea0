/* SPDX-License-Identifier: MIT */
#include "engine/due.h"

#include "ring/assert.h"
#include "ring/base.h"

void pen_due_begin(struct pen_due *due, struct pen_store *store, const struct pen_clock *clock,
		   uint64_t batch, bool any, uint64_t clock_ms)
{
	*due = (struct pen_due){
		.store = store,
		.clock = clock,
		.batch = batch,
		.now_ms = any ? clock_ms : 0,
		.now_ns = pen_mono_ns(clock),
		.look_ms = any ? 0 : UINT64_MAX,
	};
}

uint64_t pen_due_now(struct pen_due *due)
{
	uint64_t passed = (pen_mono_ns(due->clock) - due->now_ns) / PEN_NS_PER_MS,
		 date = pen_real_ms(due->clock);

	due->now_ms += passed;
	due->now_ns += passed * PEN_NS_PER_MS;
	due->now_ms = pen_max(due->now_ms, date);
	return due->now_ms;
}

uint64_t pen_due_ahead_ms(struct pen_due *due)
{
	uint64_t date = pen_real_ms(due->clock);

	return pen_due_now(due) - date;
}

uint64_t pen_due_after(struct pen_due *due, uint64_t wait_ns)
{
	uint64_t at = pen_due_now(due) + (wait_ns + PEN_NS_PER_MS - 1) / PEN_NS_PER_MS;

	return due->any_last ? pen_max(at, due->last.due_ms + 1) : at;
}

void pen_due_known(struct pen_due *due, uint64_t due_ms)
{
	due->look_ms = pen_min(due->look_ms, due_ms);
}

/* Rows whose time has come, a few at a time. */
static int read_rows(struct pen_due *due, uint64_t unknown_ms)
{
	uint64_t now = pen_due_now(due);
	const struct pen_index_wait *after = due->any_last ? &due->last : NULL;
	int n;

	if (pen_due_ready(due) || due->look_ms > now)
		return 0;
	n = pen_index_waits(due->store, due->batch, pen_min(now, unknown_ms - 1), after, due->waits,
			    PEN_DUE_MAX);
	due->next = 0;
	due->count = n > 0 ? (uint32_t)n : 0;
	if (n > 0) {
		due->last = due->waits[n - 1];
		due->any_last = true;
		return 0;
	}
	/* None is due: when is the next? */
	n = n < 0 ? n : pen_index_waits(due->store, due->batch, UINT64_MAX, after, due->waits, 1);
	due->look_ms = n > 0 ? pen_max(due->waits[0].due_ms, now + 1) : UINT64_MAX;
	if (unknown_ms <= now)
		due->look_ms = UINT64_MAX; /* until that pack comes back */
	return n < 0 ? n : 0;
}

int pen_due_find(struct pen_due *due, uint64_t unknown_ms, uint64_t *ret_item)
{
	int rc = read_rows(due, unknown_ms);

	if (rc || !pen_due_ready(due))
		return rc;
	*ret_item = due->waits[due->next].item;
	return 1;
}

void pen_due_take(struct pen_due *due)
{
	pen_assert(pen_due_ready(due));
	due->next++;
}

uint64_t pen_due_in_ms(struct pen_due *due)
{
	uint64_t now;

	if (pen_due_ready(due))
		return 0;
	if (due->look_ms == UINT64_MAX)
		return UINT64_MAX;
	now = pen_due_now(due);
	return due->look_ms > now ? due->look_ms - now : 0;
}
