/* SPDX-License-Identifier: MIT */
/*
 * tell_lab - the publisher, a clock that is turned by hand, and a husk of an engine around it (Criterion)
 *
 * What the husk's committer would have committed is set by the tests; they read the rings with the readers' header.
 */
#ifndef PEN_TESTS_TELL_LAB_H
#define PEN_TESTS_TELL_LAB_H

#include <criterion/criterion.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/tell_private.h"

struct hand_clock {
	struct pen_clock clock; /* first */
	uint64_t ns;
};

static struct hand_clock hand;
static char dir[64], run_dir[64];
static struct pen_store *store;
static struct pen_engine *engine;
static struct pen_tell *tell;
static struct pen_plan plans[PEN_BATCHES_MAX];
static struct pen_source source = { .path = (char *)"/data/papers.ndjson" };
static struct pen_batch *batches[PEN_BATCHES_MAX];
static struct pen_minutes minutes;
static uint64_t seq;
static unsigned notices;
static char said[PEN_FAILURE_TEXT];
static struct pen_ring ring;
static struct pen_ring_event events[8192];

static inline uint64_t hand_mono(const struct pen_clock *clock)
{
	return ((const struct hand_clock *)(const void *)clock)->ns;
}

static inline uint64_t hand_real(const struct pen_clock *clock)
{
	return 1700000000000ull + hand_mono(clock) / PEN_NS_PER_MS;
}

static inline void notice(void *arg, int code, const char *text)
{
	(void)arg, (void)code;
	notices++;
	snprintf(said, sizeof said, "%s", text);
}

static inline int unlink_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	return remove(path);
}

static inline void *zeroed(size_t bytes)
{
	void *p = aligned_alloc(PEN_LINE_PAIR, pen_round_up(bytes, PEN_LINE_PAIR));

	cr_assert(p);
	memset(p, 0, bytes);
	return p;
}

static inline void start(void)
{
	engine = zeroed(sizeof *engine);
	engine->store = store;
	engine->clock = &hand.clock;
	engine->notice = notice;
	engine->processor_count = 1;
	engine->processors = zeroed(sizeof *engine->processors);
	engine->arena.count = 8;
	cr_assert_eq(pen_fanin_init(&engine->commit_in, 1, 2), 0);
	engine->tell = tell = pen_tell_open(engine);
	cr_assert(tell);
}

static inline void stop(void)
{
	pen_tell_close(tell);
	pen_fanin_fini(&engine->commit_in);
	free(engine->processors);
	free(engine);
}

static inline void set_up(void)
{
	hand = (struct hand_clock){ { hand_mono, hand_real }, 1000 * PEN_NS_PER_S };
	snprintf(dir, sizeof dir, "/tmp/pen-tell-XXXXXX");
	snprintf(run_dir, sizeof run_dir, "/dev/shm/pen-tell-XXXXXX");
	cr_assert(mkdtemp(dir));
	if (!mkdtemp(run_dir))
		cr_skip_test("no /dev/shm");
	cr_assert_eq(setenv("PENSTOCK_RUN", run_dir, 1), 0);
	cr_assert_eq(pen_store_open(dir, NULL, &store, NULL), 0);
	seq = 0;
	notices = 0;
	start();
}

static inline void tear_down(void)
{
	stop();
	for (unsigned i = 0; i < PEN_BATCHES_MAX; i++)
		free(batches[i]);
	pen_store_close(store);
	(void)nftw(dir, unlink_one, 16, FTW_DEPTH | FTW_PHYS);
	(void)nftw(run_dir, unlink_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- what a committer would do -------------------------------------------------------------- */

static inline void minute(struct pen_batch *batch, enum pen_event_type type, int code)
{
	if (!minutes.count)
		minutes.txn++;
	minutes.events[minutes.count++] = (struct pen_event){
		.seq = ++seq, .batch = batch->id, .type = (uint16_t)type, .code = code, .a = 7, .b = 8
	};
}

static inline struct pen_batch *begin(unsigned index, const char *owner, uint64_t bytes_total, bool puts)
{
	struct pen_batch *b = calloc(1, sizeof *b);

	cr_assert(b);
	batches[index] = b;
	plans[index] = (struct pen_plan){ .owner = (char *)(uintptr_t)owner,
					  .into = (char *)"papers",
					  .puts = puts,
					  .sources = &source,
					  .source_count = !puts,
					  .bytes_total = bytes_total };
	b->plan = &plans[index];
	b->index = index;
	b->id = 0xabc0 + index;
	b->standing.fixed.state = PEN_RUNNING;
	minutes.count = 0;
	minute(b, PEN_EVENT_QUEUED, 0);
	minute(b, PEN_EVENT_STARTED, 0);
	pen_tell_begin(tell, b, &minutes);
	minutes.count = 0;
	return b;
}

/* So many items, of ten bytes each, count now. */
static inline void commit(struct pen_batch *b, uint64_t items)
{
	struct pen_fmt_counters *n = &b->standing.fixed.counted;

	n->items = n->committed = items;
	n->bytes = items * 10;
	b->standing.fixed.applied = *n;
	b->passed_counted = items * 10;
	if (!minutes.count)
		minutes.txn++;
	pen_tell_group(tell, b, &minutes);
	minutes.count = 0;
}

static inline void complete(struct pen_batch *b)
{
	b->standing.fixed.state = PEN_COMPLETED;
	minute(b, PEN_EVENT_COMPLETED, 0);
	commit(b, b->standing.fixed.counted.items);
	pen_tell_end(tell, b, 0);
}

static inline void pass_ms(uint64_t ms)
{
	hand.ns += ms * PEN_NS_PER_MS;
	pen_tell_turn(tell);
}

/* ---- what a reader sees --------------------------------------------------------------------- */

static inline void open_ring_of(const char *owner)
{
	char path[4400];

	snprintf(path, sizeof path, "%s/%s.%u.ring", tell->path, owner, tell->slot);
	cr_assert_eq(pen_ring_open(&ring, path, PEN_RING_OWNERS_OWN), 0, "%s", path);
	ring.cursor = 0;
}

static inline void open_own(void)
{
	open_ring_of(tell->rings[0].owner);
}

static inline int poll_all(uint64_t *ret_lost)
{
	uint64_t lost = 0, more = 0;
	int n = pen_ring_poll(&ring, events, 8192, &lost);

	while (n < 8192 && pen_ring_poll(&ring, events + n, 1, &more) == 1)
		n++;
	if (ret_lost)
		*ret_lost = lost;
	else
		cr_expect_eq(lost, 0);
	return n;
}

static inline struct pen_ring_gauge gauge_of(const struct pen_batch *b)
{
	struct pen_ring_gauge g;

	for (uint32_t slot = 0; pen_ring_next(&ring, &slot, &g) > 0; slot++)
		if (g.batch_id == b->id)
			return g;
	return (struct pen_ring_gauge){ 0 };
}

static inline int count_type(int n, unsigned type)
{
	int found = 0;

	for (int i = 0; i < n; i++)
		found += events[i].type == type;
	return found;
}

#endif
