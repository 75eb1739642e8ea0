/* SPDX-License-Identifier: MIT */
#include "tools/stages.h"

#include <string.h>
#include <unistd.h>

#define LOOK_NS 1000000000ull
#define BUSY_MIN 500u  /* permille: a bottleneck works most of the time ... */
#define AHEAD_MIN 150u /* ... and so much more than the next one */

void pen_stages_init(struct pen_stages *stages)
{
	*stages = (struct pen_stages){ .busiest = -1 };
}

static unsigned permille(uint64_t us, uint64_t ns)
{
	uint64_t of = us * 1000000 / (ns ? ns : 1);

	return of < 1000 ? (unsigned)of : 1000;
}

static uint64_t grown(uint64_t now, uint64_t before)
{
	return now > before ? now - before : 0;
}

static void measure(struct pen_stage *s, const struct pen_stage *now, uint64_t ns)
{
	unsigned some = permille(grown(now->some_us, s->some_us), ns);
	unsigned full = permille(grown(now->full_us, s->full_us), ns);

	s->known = true;
	s->some_permille = some;
	/* Between the two: how many of its threads wait while some do is not told. */
	s->busy_permille = 1000 - (some + full) / 2;
	s->bytes_per_s = grown(now->bytes, s->bytes) * 1000 / (ns / 1000000 ? ns / 1000000 : 1);
	s->items_per_s = grown(now->items, s->items) * 1000 / (ns / 1000000 ? ns / 1000000 : 1);
}

void pen_stages_judge(struct pen_stages *stages, const struct pen_stage totals[PEN_RING_STAGES],
		      uint64_t now_ns)
{
	uint64_t ns = now_ns - stages->looked_ns;
	unsigned best = 0, second = 0;
	bool moved = false;

	stages->busiest = -1;
	for (int i = 0; i < (int)PEN_RING_STAGES; i++) {
		struct pen_stage *s = &stages->at[i];
		const struct pen_stage *now = &totals[i];

		if (stages->looked_ns)
			measure(s, now, ns);
		s->name = now->name;
		s->queued = now->queued;
		s->capacity = now->capacity;
		s->p50_us = now->p50_us;
		s->p99_us = now->p99_us;
		s->some_us = now->some_us;
		s->full_us = now->full_us;
		s->bytes = now->bytes;
		s->items = now->items;
		/* A stage that other threads do the work of counts nothing. */
		s->known &= s->name && *s->name && (now->items || now->bytes || now->some_us);
		if (!s->known)
			continue;
		moved |= s->items_per_s || s->bytes_per_s;
		if (stages->busiest < 0 || s->busy_permille > best) {
			second = stages->busiest < 0 ? 0 : best;
			best = s->busy_permille;
			stages->busiest = i;
		} else if (s->busy_permille > second) {
			second = s->busy_permille;
		}
	}
	/* An engine in which nothing moves waits for nobody. */
	stages->bottleneck = stages->busiest >= 0 && moved && best >= BUSY_MIN && best >= second + AHEAD_MIN;
	stages->moved = moved;
	if (!moved)
		stages->busiest = -1;
	stages->looked_ns = now_ns;
}

void pen_stages_look(struct pen_stages *stages, const struct pen_ring *ring, uint64_t now_ns)
{
	struct pen_stage totals[PEN_RING_STAGES] = { 0 };

	if (stages->looked_ns && now_ns < stages->looked_ns + LOOK_NS)
		return;
	for (uint32_t i = 0; i < PEN_RING_STAGES; i++) {
		totals[i].name = ring->stages[i];
		totals[i].some_us = pen_ring_total(ring, PEN_RING_ID(i, PEN_RING_SOME_US));
		totals[i].full_us = pen_ring_total(ring, PEN_RING_ID(i, PEN_RING_FULL_US));
		totals[i].items = pen_ring_total(ring, PEN_RING_ID(i, PEN_RING_ITEMS));
		totals[i].bytes = pen_ring_total(ring, PEN_RING_ID(i, PEN_RING_BYTES));
		totals[i].queued = pen_ring_total(ring, PEN_RING_ID(i, PEN_RING_QUEUED));
		totals[i].capacity = pen_ring_total(ring, PEN_RING_ID(i, PEN_RING_CAPACITY));
		totals[i].p50_us = pen_ring_total(ring, PEN_RING_ID(i, PEN_RING_P50_US));
		totals[i].p99_us = pen_ring_total(ring, PEN_RING_ID(i, PEN_RING_P99_US));
	}
	pen_stages_judge(stages, totals, now_ns);
}

const char *pen_stages_name(const struct pen_stages *stages)
{
	return stages->busiest >= 0 ? stages->at[stages->busiest].name : NULL;
}

const char *pen_stages_held(const struct pen_stages *stages)
{
	if (!stages->bottleneck)
		return NULL;
	switch (stages->busiest) {
	case PEN_RING_READ:
		return "input";
	case PEN_RING_COMMIT:
		return "store";
	default:
		return "cpu";
	}
}

static int open_if_ours(void *arg, const char *path)
{
	struct pen_ring *ring = arg;

	if (pen_ring_open(ring, path, PEN_RING_OWNERS_OWN) != 0)
		return 0;
	if (ring->header.writer_pid == (uint32_t)getpid() && ring->header.pidns_ino == pen_ring_pidns() &&
	    ring->header.writer_start_ticks == pen_ring_start_ticks((uint32_t)getpid()))
		return 1;
	pen_ring_close(ring);
	return 0;
}

bool pen_stages_own(struct pen_ring *ring, uint64_t store_id)
{
	return pen_ring_scan(store_id, open_if_ours, ring) == 1;
}
