/* SPDX-License-Identifier: MIT */
/*
 * tell - rings: where they lie, who they belong to, and what is in them that is about no single batch
 *
 * The engine's number (store/lock.h) makes the names of its files its own: whatever lies under them is left over
 * from an engine that died, and is removed at the start. The count of those who had the number is the ring's epoch.
 */
#include "engine/tell_private.h"

#include <dirent.h>
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "ring/error.h"
#include "store/lock.h"

#define EVENTS 4096u
#define GAUGES 64u
#define HB_MS 500u
#define TURN_NS (250 * PEN_NS_PER_MS) /* the committer sleeps no longer: half of a heartbeat */
#define COUNT_NS (50 * PEN_NS_PER_MS)
#define COLLECT_NS (5 * PEN_NS_PER_MS)
#define PLACES 8
#define PAST_NS (5 * PEN_NS_PER_S)

/* Words of a thread's block, in the order of the descriptors. */
enum {
	WORD_ITEMS,
	WORD_BYTES,
	WORD_CHUNKS,
	WORD_BUSY,
	WORD_SOME,
	WORD_FULL,
	WORD_QUEUED,
	WORD_CAPACITY,
	WORD_COUNT,
	/* The committer's, behind its own and what is said of all processors. */
	WORD_PUBLISH = 2 * WORD_COUNT,
	WORD_P50,
	WORD_P99
};

/* ---- files --------------------------------------------------------------------------------- */

static void say_none(struct pen_tell *tell, const char *whose, const struct pen_failure *why)
{
	/* Somebody else has put something in its place. */
	if (why->code == -EPERM || why->code == -ELOOP || why->code == -ENOTDIR)
		(void)pen_log_security(&(struct pen_log_context){ .module = PEN_LOG_IN_RING }, PEN_LOG_HIGH,
				       why->text, &PEN_LOG_TEXT("owner", whose), 1);
	if (!tell->refused)
		pen_engine_notice(tell->engine, 0, "no progress ring%s%s: %s", *whose ? " for " : "", whose,
				  why->text);
	tell->refused = true;
}

/* Files of this number are of engines that are no more: nobody else has it. */
static void sweep(const struct pen_tell *tell)
{
	char end[32];
	struct dirent *e;
	int fd = dup(tell->dir);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	size_t end_len = (size_t)snprintf(end, sizeof end, ".%u.ring", tell->slot);

	if (!dir) {
		if (fd >= 0)
			close(fd);
		return;
	}
	rewinddir(dir);
	while ((e = readdir(dir))) {
		size_t len = strlen(e->d_name);

		if (len > end_len && !strcmp(e->d_name + len - end_len, end))
			(void)unlinkat(tell->dir, e->d_name, 0);
	}
	closedir(dir);
}

/* The uid of an owner's name; ours when there is no such user, for then nobody else may look. */
static uint32_t uid_of(const char *owner)
{
	struct passwd pw, *found = NULL;
	char buf[2048];

	if (!getpwnam_r(owner, &pw, buf, sizeof buf, &found) && found)
		return pw.pw_uid;
	return geteuid();
}

static int open_ring(struct pen_tell *tell, struct pen_tell_ring *ring, const char *owner,
		     struct pen_failure *why)
{
	char name[96];
	struct pen_cast_options opt = {
		.dir = tell->dir,
		.name = name,
		.event_slots = EVENTS,
		.gauge_slots = GAUGES,
		.threads = tell->engine->processor_count + 2,
		.counter_count = tell->counter_count,
		.counters = tell->counters,
		.stages = { "read", "cut", "process", "commit", "decode" },
		.epoch = tell->epoch,
		.owner_uid = uid_of(owner),
		.hb_period_ms = HB_MS,
		.uring = tell->engine->uring,
		.clock = tell->engine->clock,
	};
	struct pen_ring_event begin = { .type = PEN_RING_EV_WRITER_STATE,
					.gauge_idx = PEN_RING_NONE,
					.a = PEN_RING_RUNNING };
	int rc;

	pen_cast_owner(owner, ring->safe);
	snprintf(name, sizeof name, "%s.%u.ring", ring->safe, tell->slot);
	rc = pen_cast_open(&ring->cast, &opt, why);
	if (rc) {
		ring->cast = NULL;
		return rc;
	}
	snprintf(ring->owner, sizeof ring->owner, "%s", owner);
	pen_tell_hot(tell, ring);
	pen_cast_events(ring->cast, &begin, 1);
	return 0;
}

struct pen_tell_ring *pen_tell_ring_of(struct pen_tell *tell, const char *owner)
{
	struct pen_tell_ring *free_one = NULL;
	struct pen_failure why = { 0 };
	char safe[65];

	if (tell->dir < 0 || tell->failed)
		return NULL;
	pen_cast_owner(owner, safe);
	for (uint32_t i = 0; i < PEN_TELL_RINGS; i++) {
		struct pen_tell_ring *r = &tell->rings[i];

		/* Two names may be one in a file: the second owner is not let into the first one's ring. */
		if (r->cast && !strcmp(r->safe, safe))
			return strcmp(r->owner, owner) ? NULL : r;
		/* The first is this user's own and stays. Of the others, the one that rests longest gives way. */
		if (i && !r->batches &&
		    (!free_one || (free_one->cast && (!r->cast || r->used_ns < free_one->used_ns))))
			free_one = r;
	}
	if (!free_one)
		return NULL;
	pen_cast_close(free_one->cast, PEN_RING_CLOSED, 0, false);
	*free_one = (struct pen_tell_ring){ .cast = NULL };
	if (!open_ring(tell, free_one, owner, &why))
		return free_one;
	say_none(tell, owner, &why);
	return NULL;
}

/* ---- counters ------------------------------------------------------------------------------ */

static void describe(struct pen_tell *tell, uint32_t stage, uint32_t thread, uint32_t word, const char *name)
{
	static const struct {
		uint32_t what;
		uint8_t kind, unit;
	} facts[WORD_COUNT] = {
		[WORD_ITEMS] = { PEN_RING_ITEMS, PEN_RING_COUNT, PEN_RING_UNIT_ITEMS },
		[WORD_BYTES] = { PEN_RING_BYTES, PEN_RING_COUNT, PEN_RING_UNIT_BYTES },
		[WORD_CHUNKS] = { PEN_RING_BATCHES, PEN_RING_COUNT, PEN_RING_UNIT_BATCHES },
		[WORD_BUSY] = { PEN_RING_BUSY_NS, PEN_RING_COUNT, PEN_RING_UNIT_NS },
		[WORD_SOME] = { PEN_RING_SOME_US, PEN_RING_COUNT, PEN_RING_UNIT_US },
		[WORD_FULL] = { PEN_RING_FULL_US, PEN_RING_COUNT, PEN_RING_UNIT_US },
		[WORD_QUEUED] = { PEN_RING_QUEUED, PEN_RING_LEVEL, PEN_RING_UNIT_BATCHES },
		[WORD_CAPACITY] = { PEN_RING_CAPACITY, PEN_RING_LEVEL, PEN_RING_UNIT_BATCHES },
	};

	tell->counters[tell->counter_count++] = (struct pen_cast_counter){
		.id = PEN_RING_ID(stage, facts[word].what),
		.kind = facts[word].kind,
		.unit = facts[word].unit,
		.thread = (uint16_t)thread,
		.word = word + (stage == PEN_RING_PROCESS && word >= WORD_SOME ? WORD_COUNT : 0),
		.name = name,
	};
}

/* Reader, processors, committer: a block each. What is said of the processors together stands in the committer's. */
static int describe_all(struct pen_tell *tell)
{
	static const char *const names[3][WORD_COUNT] = {
		{ "read.items", "read.bytes", "read.chunks", "read.busy_ns", "read.some_us", "read.full_us",
		  NULL, NULL },
		{ "process.items", "process.bytes", "process.chunks", "process.busy_ns", "process.some_us",
		  "process.full_us", "process.queued", "process.capacity" },
		{ "commit.items", "commit.bytes", "commit.chunks", "commit.busy_ns", "commit.some_us",
		  "commit.full_us", "commit.queued", "commit.capacity" },
	};
	static const struct pen_cast_counter more[] = {
		{ .id = PEN_RING_ID(PEN_RING_COMMIT, PEN_RING_PUBLISH_CPU_US),
		  .kind = PEN_RING_COUNT,
		  .unit = PEN_RING_UNIT_US,
		  .word = WORD_PUBLISH,
		  .name = "publish.cpu_us" },
		{ .id = PEN_RING_ID(PEN_RING_COMMIT, PEN_RING_P50_US),
		  .kind = PEN_RING_LEVEL,
		  .unit = PEN_RING_UNIT_US,
		  .word = WORD_P50,
		  .name = "commit.p50_us" },
		{ .id = PEN_RING_ID(PEN_RING_COMMIT, PEN_RING_P99_US),
		  .kind = PEN_RING_LEVEL,
		  .unit = PEN_RING_UNIT_US,
		  .word = WORD_P99,
		  .name = "commit.p99_us" },
	};
	uint32_t processors = tell->engine->processor_count, committer = processors + 1;

	tell->counters = calloc((processors + 3) * WORD_COUNT + PEN_COUNT(more), sizeof *tell->counters);
	if (!tell->counters)
		return -ENOMEM;
	for (uint32_t w = 0; w < WORD_COUNT; w++) {
		if (names[0][w])
			describe(tell, PEN_RING_READ, 0, w, names[0][w]);
		for (uint32_t p = 0; p < processors && w < WORD_SOME; p++)
			describe(tell, PEN_RING_PROCESS, 1 + p, w, names[1][w]);
		if (w >= WORD_SOME)
			describe(tell, PEN_RING_PROCESS, committer, w, names[1][w]);
		describe(tell, PEN_RING_COMMIT, committer, w, names[2][w]);
	}
	for (uint32_t i = 0; i < PEN_COUNT(more); i++) {
		tell->counters[tell->counter_count] = more[i];
		tell->counters[tell->counter_count++].thread = (uint16_t)committer;
	}
	return 0;
}

struct sums {
	uint64_t read_chunks, read_bytes, processed, commit_chunks, commit_bytes;
	uint64_t stall_us[6]; /* read some, full; process some, full; commit some, full */
	uint64_t p50_us, p99_us;
};

static void count_block(uint64_t *block, const struct pen_meter *m)
{
	pen_cast_count(block, WORD_ITEMS, pen_meter_read(&m->items));
	pen_cast_count(block, WORD_BYTES, pen_meter_read(&m->bytes));
	pen_cast_count(block, WORD_CHUNKS, pen_meter_read(&m->chunks));
	pen_cast_count(block, WORD_BUSY, pen_meter_read(&m->busy_ns));
}

static void add_up(struct pen_tell *tell, uint64_t now, struct sums *s)
{
	const struct pen_engine *e = tell->engine;
	uint64_t least = UINT64_MAX, most = 0;

	*s = (struct sums){
		.read_chunks = pen_meter_read(&e->reader_meter.chunks),
		.read_bytes = pen_meter_read(&e->reader_meter.bytes),
		.commit_chunks = pen_meter_read(&e->commit_meter.chunks),
		.commit_bytes = pen_meter_read(&e->commit_meter.bytes),
		.p50_us = pen_latency_us(&tell->commits, now, 500),
		.p99_us = pen_latency_us(&tell->commits, now, 990),
	};
	/* How the waits of several processors overlapped is not known: at least the longest has passed with some of
	 * them waiting, at most the shortest with all of them. */
	for (uint32_t i = 0; i < e->processor_count; i++) {
		const struct pen_meter *m = &e->processors[i].meter;
		uint64_t stall = pen_meter_stall(&m->some_ns, &m->some_since, now);

		s->processed += pen_meter_read(&m->chunks);
		least = pen_min(least, stall);
		most = pen_max(most, stall);
	}
	s->stall_us[0] = pen_meter_stall(&e->reader_meter.some_ns, &e->reader_meter.some_since, now) / 1000;
	s->stall_us[1] = pen_meter_stall(&e->reader_meter.full_ns, &e->reader_meter.full_since, now) / 1000;
	s->stall_us[2] = most / 1000;
	s->stall_us[3] = least / 1000;
	s->stall_us[4] = pen_meter_stall(&e->commit_meter.some_ns, &e->commit_meter.some_since, now) / 1000;
	s->stall_us[5] = pen_meter_stall(&e->commit_meter.full_ns, &e->commit_meter.full_since, now) / 1000;
	/* A sum may be read before a stall's end and its beginning after it. */
	for (uint32_t i = 0; i < PEN_COUNT(s->stall_us); i++)
		tell->shown[i] = s->stall_us[i] = pen_max(s->stall_us[i], tell->shown[i]);
}

static uint64_t between(uint64_t behind, uint64_t before)
{
	return behind > before ? behind - before : 0;
}

static void count(struct pen_tell *tell, struct pen_cast *cast, const struct sums *s)
{
	const struct pen_engine *e = tell->engine;
	uint64_t *block = pen_cast_block(cast, 0);

	count_block(block, &e->reader_meter);
	pen_cast_count(block, WORD_SOME, s->stall_us[0]);
	pen_cast_count(block, WORD_FULL, s->stall_us[1]);
	for (uint32_t i = 0; i < e->processor_count; i++)
		count_block(pen_cast_block(cast, 1 + i), &e->processors[i].meter);
	block = pen_cast_block(cast, 1 + e->processor_count);
	count_block(block, &e->commit_meter);
	pen_cast_count(block, WORD_SOME, s->stall_us[4]);
	pen_cast_count(block, WORD_FULL, s->stall_us[5]);
	pen_cast_count(block, WORD_QUEUED, between(s->processed, s->commit_chunks));
	pen_cast_count(block, WORD_CAPACITY, e->arena.count);
	pen_cast_count(block, WORD_COUNT + WORD_SOME, s->stall_us[2]);
	pen_cast_count(block, WORD_COUNT + WORD_FULL, s->stall_us[3]);
	pen_cast_count(block, WORD_COUNT + WORD_QUEUED, between(s->read_chunks, s->processed));
	pen_cast_count(block, WORD_COUNT + WORD_CAPACITY, e->arena.count);
	pen_cast_count(block, WORD_PUBLISH, tell->publish_ns / 1000);
	pen_cast_count(block, WORD_P50, s->p50_us);
	pen_cast_count(block, WORD_P99, s->p99_us);
}

void pen_tell_took(struct pen_tell *tell, uint64_t ns)
{
	if (tell)
		pen_latency_add(&tell->commits, pen_mono_ns(tell->engine->clock), ns);
}

/* Stalls are compared over the last seconds: what an engine did an hour ago says nothing about now. */
static void remember(struct pen_tell *tell, uint64_t now)
{
	if (now - tell->past_ns < PAST_NS)
		return;
	tell->past_ns = now;
	memcpy(tell->past[0], tell->past[1], sizeof tell->past[0]);
	memcpy(tell->past[1], tell->shown, sizeof tell->past[1]);
}

uint32_t pen_tell_bottleneck(const struct pen_tell *tell)
{
	const uint64_t *past = tell->past[0];
	/* By the time in which the whole stage waited for another. */
	uint64_t read = tell->shown[1] - past[1], process = tell->shown[3] - past[3],
		 commit = tell->shown[5] - past[5];

	if (commit <= process && commit <= read)
		return PEN_RING_COMMIT;
	return process <= read ? PEN_RING_PROCESS : PEN_RING_READ;
}

/* ---- what is about no batch ---------------------------------------------------------------- */

void pen_tell_hot(struct pen_tell *tell, struct pen_tell_ring *ring)
{
	const struct pen_engine *e = tell->engine;
	struct pen_ring_hot hot = {
		.coalesced_total = tell->coalesced,
		.last_batch_id = ring->last_batch,
		.commit_lsn = tell->commit_lsn,
		.durable_lsn = tell->durable_lsn,
		.inflight_chunks = between(pen_meter_read(&e->reader_meter.chunks),
					   pen_meter_read(&e->commit_meter.chunks)),
		.inflight_bytes = between(pen_meter_read(&e->reader_meter.bytes),
					  pen_meter_read(&e->commit_meter.bytes)),
		.queued_batches =
			atomic_load_explicit(&e->queued, memory_order_relaxed), /* a number to be shown */
	};

	pen_cast_hot(ring->cast, &hot);
}

void pen_tell_everyone(struct pen_tell *tell, uint16_t type, uint64_t a, uint32_t code)
{
	struct pen_ring_event event = { .type = type, .gauge_idx = PEN_RING_NONE, .a = a, .code = code };

	for (uint32_t i = 0; i < PEN_TELL_RINGS; i++)
		if (tell->rings[i].cast)
			pen_cast_events(tell->rings[i].cast, &event, 1);
}

static void notice_drain(struct pen_tell *tell)
{
	if (tell->draining ||
	    !atomic_load_explicit(&tell->engine->drain, memory_order_relaxed)) /* rises once */
		return;
	tell->draining = true;
	for (uint32_t i = 0; i < PEN_TELL_RINGS; i++)
		if (tell->rings[i].cast)
			pen_cast_state(tell->rings[i].cast, PEN_RING_DRAINING, 0);
	pen_tell_everyone(tell, PEN_RING_EV_WRITER_STATE, PEN_RING_DRAINING, 0);
}

static uint64_t wakes_ns(const struct pen_cast *cast)
{
	struct pen_cast_wakes wakes;

	pen_cast_wakes(cast, &wakes);
	return wakes.spent_ns;
}

/* Mostly nothing, many times a second; only a wake costs something, and is measured where it is made. */
static void beat_alone(struct pen_tell *tell, struct pen_cast *cast)
{
	uint64_t before = wakes_ns(cast);

	pen_cast_beat(cast);
	tell->publish_ns += wakes_ns(cast) - before;
}

void pen_tell_turn(struct pen_tell *tell)
{
	struct sums sums = { 0 };
	uint64_t now, from = 0;
	bool due, notes;

	if (!tell || tell->dir < 0 || tell->failed)
		return;
	now = pen_mono_ns(tell->engine->clock);
	/* Notes that come in a stream are taken once in a while, not one by one. Relaxed: a hint. */
	notes = atomic_load_explicit(&tell->rung, memory_order_relaxed) &&
		now - tell->collected_ns >= COLLECT_NS;
	due = now - tell->counted_ns >= COUNT_NS;
	if (notes || due)
		from = pen_tell_work(tell);
	notice_drain(tell);
	if (notes)
		pen_tell_collect(tell, now);
	if (due) {
		tell->counted_ns = now;
		add_up(tell, now, &sums);
		remember(tell, now);
		pen_tell_refresh(tell, now);
	}
	for (uint32_t i = 0; i < PEN_TELL_RINGS; i++) {
		struct pen_tell_ring *r = &tell->rings[i];

		if (!r->cast)
			continue;
		if (due) {
			count(tell, r->cast, &sums);
			pen_tell_hot(tell, r);
		}
		if (notes || due)
			pen_cast_beat(r->cast);
		else
			beat_alone(tell, r->cast);
	}
	if (notes || due)
		pen_tell_worked(tell, from);
}

uint64_t pen_tell_rest(struct pen_tell *tell)
{
	uint64_t wait = TURN_NS, spent;

	if (!tell || tell->dir < 0 || tell->failed)
		return UINT64_MAX;
	if (atomic_load_explicit(&tell->rung, memory_order_relaxed)) /* as above */
		wait = COLLECT_NS;
	for (uint32_t i = 0; i < PEN_BATCHES_MAX; i++)
		if (tell->told[i].ring && tell->told[i].owed)
			wait = pen_min(wait, COUNT_NS);
	for (uint32_t i = 0; i < PEN_TELL_RINGS; i++) {
		if (!tell->rings[i].cast)
			continue;
		spent = wakes_ns(tell->rings[i].cast);
		pen_cast_idle(tell->rings[i].cast);
		tell->publish_ns += wakes_ns(tell->rings[i].cast) - spent;
		wait = pen_min(wait, pen_cast_owes(tell->rings[i].cast));
	}
	return wait;
}

/* ---- life ---------------------------------------------------------------------------------- */

/* As a plan names its owner when none is given. */
static void own_name(char *ret, size_t cap)
{
	struct passwd pw, *found = NULL;
	char buf[2048];

	if (!getpwuid_r(geteuid(), &pw, buf, sizeof buf, &found) && found)
		(void)snprintf(ret, cap, "%s", pw.pw_name);
	else
		(void)snprintf(ret, cap, "%u", (unsigned)geteuid());
}

/* Finds the directory and opens the first ring. An engine that ends may remove the directory as we come: then again. */
static void place(struct pen_tell *tell)
{
	struct pen_failure why = { 0 };
	char owner[256];
	int rc = pen_lock_engine(tell->engine->store, &tell->slot, &tell->epoch, &tell->slot_fd);

	if (rc) {
		pen_fail(&why, rc, -rc, "no engine number is to be had");
		say_none(tell, "", &why);
		return;
	}
	own_name(owner, sizeof owner);
	for (int try = 0; try < PLACES; try++) {
		why = (struct pen_failure){ 0 };
		tell->dir = pen_cast_place(pen_store_id(tell->engine->store), tell->path, sizeof tell->path,
					   &why);
		if (tell->dir < 0)
			continue;
		sweep(tell);
		rc = open_ring(tell, &tell->rings[0], owner, &why);
		if (!rc) {
			/* Ours is there by now, so the directory stays. */
			(void)pen_cast_clear(tell->dir, tell->engine->clock);
			return;
		}
		close(tell->dir);
		tell->dir = -1;
		if (rc != -ENOENT)
			break;
	}
	say_none(tell, "", &why);
}

struct pen_tell *pen_tell_open(struct pen_engine *engine)
{
	size_t bytes = pen_round_up(sizeof(struct pen_tell), PEN_LINE_PAIR);
	struct pen_tell *tell = engine->rehearse ? NULL : aligned_alloc(PEN_LINE_PAIR, bytes);

	if (!tell)
		return NULL;
	memset(tell, 0, sizeof *tell);
	tell->engine = engine;
	tell->dir = tell->slot_fd = -1;
	tell->cpu_ns = pen_thread_cpu_ns;
	pen_post_init(&tell->post);
	if (!describe_all(tell))
		place(tell);
	return tell;
}

void pen_tell_drained(struct pen_tell *tell)
{
	if (!tell || tell->failed || tell->dir < 0)
		return;
	tell->counted_ns = 0;
	pen_tell_turn(tell);
	pen_tell_everyone(tell, PEN_RING_EV_DRAINED, 0, 0);
}

void pen_tell_failed(struct pen_tell *tell, int code)
{
	if (!tell || tell->failed)
		return;
	pen_tell_leave_all(tell, code);
	pen_tell_everyone(tell, PEN_RING_EV_WRITER_STATE, PEN_RING_FAILED, (uint32_t)-code);
	tell->failed = true;
	for (uint32_t i = 0; i < PEN_TELL_RINGS; i++) {
		pen_cast_close(tell->rings[i].cast, PEN_RING_FAILED, (uint32_t)-code, true);
		tell->rings[i].cast = NULL;
	}
}

void pen_tell_close(struct pen_tell *tell)
{
	if (!tell)
		return;
	for (uint32_t i = 0; i < PEN_TELL_RINGS; i++)
		pen_cast_close(tell->rings[i].cast, PEN_RING_CLOSED, 0, false);
	if (tell->dir >= 0) {
		close(tell->dir);
		(void)rmdir(tell->path); /* if it is empty */
	}
	pen_lock_engine_release(tell->slot_fd);
	free(tell->counters);
	free(tell);
}
