/* SPDX-License-Identifier: MIT */
#include "tools/live.h"

#include <string.h>

#include "tools/json.h"
#include "tools/out.h"
#include "tools/text.h"

#define MORE_MS 999u /* an estimate is rounded up to whole seconds */

struct search {
	uint64_t batch;
	struct pen_live *ret;
	bool found;
};

const char *pen_live_life(enum pen_ring_life life)
{
	static const char *const names[] = { "", "alive", "stalled", "dead", "replaced", "ended" };

	return (size_t)life < sizeof names / sizeof names[0] ? names[life] : "";
}

static void copy_stage(const struct pen_ring *ring, uint32_t stage, char ret[32])
{
	snprintf(ret, 32, "%s", stage < PEN_RING_STAGES ? ring->stages[stage] : "");
}

/* The stage that waits least for the others. */
static uint32_t bottleneck(const struct pen_ring *ring)
{
	static const uint32_t stages[] = { PEN_RING_COMMIT, PEN_RING_PROCESS, PEN_RING_READ };
	uint64_t least = UINT64_MAX;
	uint32_t best = PEN_RING_COMMIT;

	for (size_t i = 0; i < sizeof stages / sizeof stages[0]; i++) {
		uint64_t us = pen_ring_total(ring, PEN_RING_ID(stages[i], PEN_RING_FULL_US));

		if (us < least) {
			least = us;
			best = stages[i];
		}
	}
	return best;
}

static int look(void *arg, const char *path)
{
	struct search *s = arg;
	struct pen_ring_gauge gauge;
	struct pen_ring ring;

	if (pen_ring_open(&ring, path, PEN_RING_OWNERS_OWN))
		return 0;
	for (uint32_t slot = 0; pen_ring_next(&ring, &slot, &gauge) > 0; slot++) {
		if (gauge.batch_id != s->batch ||
		    (s->found && ring.header.created_mono_ns < s->ret->created_ns))
			continue;
		s->found = true;
		s->ret->created_ns = ring.header.created_mono_ns;
		s->ret->epoch = ring.header.epoch;
		s->ret->writer_pid = ring.header.writer_pid;
		s->ret->life = pen_ring_life(&ring);
		s->ret->gauge = gauge;
		(void)pen_ring_names(&ring, slot, gauge.batch_id, &s->ret->names);
		copy_stage(&ring, gauge.stage, s->ret->stage);
		copy_stage(&ring, bottleneck(&ring), s->ret->bottleneck);
		s->ret->commit_p50_us = pen_ring_total(&ring, PEN_RING_ID(PEN_RING_COMMIT, PEN_RING_P50_US));
		s->ret->commit_p99_us = pen_ring_total(&ring, PEN_RING_ID(PEN_RING_COMMIT, PEN_RING_P99_US));
		snprintf(s->ret->path, sizeof s->ret->path, "%s", path);
	}
	pen_ring_close(&ring);
	return 0;
}

bool pen_live_find(uint64_t store_id, uint64_t batch, struct pen_live *ret)
{
	struct search s = { .batch = batch, .ret = ret };

	(void)pen_ring_scan(store_id, look, &s);
	return s.found;
}

void pen_live_merge(const struct pen_live *live, struct pen_batch_info *info)
{
	const struct pen_ring_gauge *g = &live->gauge;
	uint64_t items = g->committed + g->rejected + g->failed + g->skipped;

	/* The look at the store may have been the later one. */
	if (items < info->counted.items)
		return;
	info->state = (enum pen_state)g->state;
	info->counted.items = items;
	info->counted.committed = g->committed;
	info->counted.rejected = g->rejected;
	info->counted.failed = g->failed;
	info->counted.skipped = g->skipped;
	info->counted.duplicates = g->duplicates;
	if (!info->items_total)
		info->items_total = g->items_total;
	if (g->t_updated_ms > info->updated_ms)
		info->updated_ms = g->t_updated_ms;
}

void pen_live_put(struct pen_jw *jw, const struct pen_live *live)
{
	const struct pen_ring_gauge *g;

	if (!live) {
		pen_jw_null(jw, "ring");
		return;
	}
	g = &live->gauge;
	pen_jw_object(jw, "ring");
	pen_jw_data(jw, "path", live->path, strlen(live->path));
	pen_jw_text(jw, "writer", pen_live_life(live->life));
	pen_jw_u64(jw, "writer_pid", live->writer_pid);
	pen_jw_u64(jw, "epoch", live->epoch);
	pen_jw_u64(jw, "bytes_done", g->bytes_done);
	pen_jw_u64(jw, "bytes_total", g->bytes_total);
	pen_jw_milli(jw, "items_per_s", g->rate_milli);
	if (g->eta_ms == PEN_RING_UNKNOWN)
		pen_jw_null(jw, "eta_s");
	else
		pen_jw_milli(jw, "eta_s", g->eta_ms);
	pen_jw_text(jw, "stage", live->stage);
	pen_jw_text(jw, "bottleneck", live->bottleneck);
	pen_jw_text(jw, "rests_on", g->err ? pen_error_name(-(int)g->err) : NULL);
	pen_jw_u64(jw, "commit_lsn", g->commit_lsn);
	pen_jw_u64(jw, "commit_p50_us", live->commit_p50_us);
	pen_jw_u64(jw, "commit_p99_us", live->commit_p99_us);
	pen_jw_object(jw, "live");
	for (unsigned i = 0; i < PEN_RING_LIVE; i++)
		if (live->names.live[i][0])
			pen_jw_u64(jw, live->names.live[i], g->live[i]);
	pen_jw_object_end(jw);
	pen_jw_object_end(jw);
}

void pen_live_show(struct pen_out *out, const struct pen_live *live)
{
	const struct pen_ring_gauge *g = &live->gauge;
	char rate[PEN_TEXT_NUMBER], left[PEN_TEXT_NUMBER];

	pen_out_format(out, "pace        %s items/s", pen_text_short(rate, g->rate_milli / 1000));
	if (g->eta_ms != PEN_RING_UNKNOWN)
		pen_out_format(out, ", %s left", pen_text_clock(left, (g->eta_ms + MORE_MS) / 1000));
	pen_out_format(out, ", held up by: %s\n", live->bottleneck);
	if (g->err)
		pen_out_format(out, "rests on    %s: %s\n", pen_error_name(-(int)g->err),
			       pen_error_text(-(int)g->err));
	for (unsigned i = 0; i < PEN_RING_LIVE; i++) {
		if (!live->names.live[i][0])
			continue;
		pen_out_text(out, "counter     ");
		pen_out_safe(out, live->names.live[i], strlen(live->names.live[i]), false);
		pen_out_format(out, " %llu\n", (unsigned long long)g->live[i]);
	}
	pen_out_text(out, "ring        ");
	pen_out_safe(out, live->path, strlen(live->path), false);
	pen_out_format(out, ", writer %s\n", pen_live_life(live->life));
}

/* ---- all rings of a store ------------------------------------------------------------------ */

struct stale {
	pen_live_found *found;
	void *arg;
	uint32_t count;
};

static int look_stale(void *arg, const char *path)
{
	struct stale *s = arg;
	struct pen_ring ring;

	if (pen_ring_open(&ring, path, PEN_RING_OWNERS_OWN))
		return 0;
	if (pen_ring_life(&ring) == PEN_RING_DEAD) {
		s->count++;
		s->found(s->arg, path, ring.header.writer_pid);
	}
	pen_ring_close(&ring);
	return 0;
}

uint32_t pen_live_stale(uint64_t store_id, pen_live_found *found, void *arg)
{
	struct stale s = { .found = found, .arg = arg };

	(void)pen_ring_scan(store_id, look_stale, &s);
	return s.count;
}

static int look_alive(void *arg, const char *path)
{
	struct pen_ring *ring = arg;

	if (pen_ring_open(ring, path, PEN_RING_OWNERS_OWN))
		return 0;
	if (pen_ring_life(ring) == PEN_RING_ALIVE)
		return 1;
	pen_ring_close(ring);
	return 0;
}

bool pen_live_ring(uint64_t store_id, struct pen_ring *ret)
{
	return pen_ring_scan(store_id, look_alive, ret) == 1;
}
