/* SPDX-License-Identifier: MIT */
/*
 * log - putting records into the thread's ring, and taking them out
 *
 * The happy path
 *   put    looks whether the level is wanted, finds the thread's ring, copies the record behind what is there,
 *          publishes it with one store of tail, and says so with one exchange; the first to say so since the writer's
 *          last look rings.
 *   peek   looks at every ring's first record and remembers the earliest.
 *   pass   gives its bytes back.
 *
 * A record never wraps: where the ring's end is too near, a mark stands for the rest of it.
 *
 * Why this way: a line is rare beside records, so it is not worth a thread that polls, and a wake for each would cost
 * the caller more than the line. The exchange is what tells "the writer knows already" from "it has to be woken".
 */
#include "ring/log.h"

#include <errno.h>
#include <execinfo.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ring/assert.h"

#define MASK (PEN_LOG_RING_BYTES - 1)
#define HURRY (PEN_LOG_RING_BYTES / 2)
#define AUDIT_WAITS 100
#define SPARE (PEN_LOG_RING_BYTES / 8) /* what verbose and debug leave to others */

/* Race tests break the protocol one step at a time and expect to be told. */
#ifdef PEN_PLANT_LOG_PUBLISH
#define ORDER_PUBLISH memory_order_relaxed
#else
#define ORDER_PUBLISH memory_order_release
#endif
#ifdef PEN_PLANT_LOG_RECYCLE
#define ORDER_RECYCLE memory_order_relaxed
#else
#define ORDER_RECYCLE memory_order_release
#endif

struct ring {
	/* Written by the thread whose ring it is. */
	_Alignas(PEN_LINE_PAIR) _Atomic uint64_t tail;
	_Atomic uint64_t lost; /* records that found no room */
	uint64_t head_seen;
	/* Written by the writer. */
	_Alignas(PEN_LINE_PAIR) _Atomic uint64_t head;
	uint64_t lost_told;
	/* Written by whoever takes or leaves it. */
	_Alignas(PEN_LINE_PAIR) _Atomic uint32_t taken;
	_Alignas(PEN_LINE_PAIR) uint8_t data[PEN_LOG_RING_BYTES];
};

static struct {
	_Atomic bool started; /* written by the writer's side */
	_Atomic(const struct pen_clock *) clock;
	_Atomic(pen_log_whose_fn *) whose;
	_Atomic(struct ring *) rings[PEN_LOG_RINGS];
	_Atomic uint64_t homeless; /* records of threads that got no ring */
	uint64_t homeless_told;
	/* Written by everyone. */
	_Alignas(PEN_LINE_PAIR) _Atomic uint32_t rung;
	/* The writer's. */
	_Alignas(PEN_LINE_PAIR) struct ring *first; /* of the record that was peeked at */
	pthread_key_t key;
	bool has_key;
} all;

struct pen_log_bell pen_log_bell;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Thread_local struct ring *mine;
static _Thread_local uint32_t my_tid;

static void leave(void *ring)
{
	struct ring *r = ring;

	mine = NULL;
	/* PAIR(log.claim): what this thread last knew of the ring comes before the next thread's first look. */
	atomic_store_explicit(&r->taken, 0, memory_order_release);
}

static void make_key(void)
{
	all.has_key = pthread_key_create(&all.key, leave) == 0;
}

/* A ring that nobody has, or a new one; NULL: none is to be had. */
static struct ring *claim(void)
{
	(void)pthread_once(&once, make_key);
	for (uint32_t i = 0; all.has_key && i < PEN_LOG_RINGS; i++) {
		/* PAIR(log.claim): who sees the ring sees its first state. */
		struct ring *r = atomic_load_explicit(&all.rings[i], memory_order_acquire), *none = NULL;
		uint32_t nobody = 0;

		if (!r) {
			r = aligned_alloc(PEN_LINE_PAIR, sizeof *r);
			if (!r)
				return NULL;
			memset(r, 0, offsetof(struct ring, data));
			/* PAIR(log.claim): its first state comes before its place in the table. */
			if (!atomic_compare_exchange_strong_explicit(
				    &all.rings[i], &none, r, memory_order_acq_rel, memory_order_acquire)) {
				free(r);
				r = none;
			}
		}
		/* PAIR(log.claim): who takes it sees what its last thread knew of it. */
		if (atomic_compare_exchange_strong_explicit(&r->taken, &nobody, 1, memory_order_acquire,
							    memory_order_relaxed)) {
			if (pthread_setspecific(all.key, r)) {
				leave(r);
				return NULL;
			}
			my_tid = (uint32_t)gettid();
			return r;
		}
	}
	return NULL;
}

/* ---- putting --------------------------------------------------------------------------------- */

static size_t measure(const char *text, size_t max, bool *ret_cut)
{
	size_t n = text ? strnlen(text, max + 1) : 0;

	if (n <= max)
		return n;
	*ret_cut = true;
	return max;
}

struct plan {
	const char *correlation_id, *user_id;
	size_t correlation, user, message, fields, frames, bytes;
	size_t names[PEN_LOG_FIELDS], values[PEN_LOG_FIELDS];
	uint8_t field_count;
	bool cut;
};

/* How long each part may be, so that all of it fits. */
static void plan(const struct pen_log_line *line, size_t frames, struct plan *p)
{
	size_t left = PEN_LOG_RECORD_BYTES - sizeof(struct pen_log_record) - 16 - frames * 8;

	pen_log_whose_fn *whose =
		atomic_load_explicit(&all.whose, memory_order_relaxed); /* set before there are threads */

	*p = (struct plan){ .correlation_id = line->context.correlation_id,
			    .user_id = line->context.user_id,
			    .frames = frames };
	if (!p->correlation_id && whose)
		whose(&p->correlation_id, p->user_id ? &(const char *){ NULL } : &p->user_id);
	p->correlation = measure(p->correlation_id, 63, &p->cut);
	p->user = measure(p->user_id, 255, &p->cut);
	p->message = measure(line->message, PEN_LOG_MESSAGE_BYTES, &p->cut);
	left -= p->correlation + p->user + p->message;
	for (size_t i = 0; i < line->field_count; i++) {
		const struct pen_log_field *f = &line->fields[i];
		size_t name = f->name ? strnlen(f->name, 63) : 0, value = 8;

		if (i == PEN_LOG_FIELDS || left < sizeof(struct pen_log_packed) + name + 8) {
			p->cut = true;
			break;
		}
		left -= sizeof(struct pen_log_packed) + name;
		if (f->type == PEN_LOG_IS_TEXT)
			value = measure(f->value.text, pen_min(left, PEN_LOG_FIELD_BYTES), &p->cut);
		left -= value;
		p->names[i] = name;
		p->values[i] = value;
		p->fields += sizeof(struct pen_log_packed) + name + value;
		p->field_count++;
	}
	p->bytes = pen_round_up(sizeof(struct pen_log_record) + p->correlation + p->user + p->message +
					p->fields,
				8) +
		   frames * 8;
}

static void copy(uint8_t *to, const struct pen_log_line *line, const struct plan *p, void *const *frames,
		 unsigned level)
{
	/* Relaxed: who sees `started` sees it. */
	uint64_t now = pen_real_ms(atomic_load_explicit(&all.clock, memory_order_relaxed));
	struct pen_log_record r = {
		.bytes = (uint32_t)p->bytes,
		.message_len = (uint16_t)p->message,
		.kind = (uint8_t)line->kind,
		.level = (uint8_t)level,
		.time_ms = now,
		.batch = line->context.batch,
		.item = line->context.item,
		.code = line->code,
		.module = line->context.module,
		.severity = (uint8_t)line->severity,
		.field_count = p->field_count,
		.frame_count = (uint8_t)p->frames,
		.correlation_len = (uint8_t)p->correlation,
		.user_len = (uint8_t)p->user,
		.has_item = line->context.has_item,
		.cut = p->cut,
		.tid = my_tid,
	};
	uint8_t *at = to + sizeof r;

	memcpy(to, &r, sizeof r);
	if (p->correlation)
		at = mempcpy(at, p->correlation_id, p->correlation);
	if (p->user)
		at = mempcpy(at, p->user_id, p->user);
	if (p->message)
		at = mempcpy(at, line->message, p->message);
	for (size_t i = 0; i < p->field_count; i++) {
		const struct pen_log_field *f = &line->fields[i];
		bool text = f->type == PEN_LOG_IS_TEXT;
		struct pen_log_packed packed = {
			.type = text && !f->value.text ? 0 : (uint8_t)f->type,
			.name_len = (uint8_t)p->names[i],
			.value_len = (uint16_t)p->values[i],
		};
		uint64_t word = f->type == PEN_LOG_IS_BOOL ? f->value.yes : f->value.u64;

		at = mempcpy(at, &packed, sizeof packed);
		if (p->names[i])
			at = mempcpy(at, f->name, p->names[i]);
		if (text && f->value.text && p->values[i])
			at = mempcpy(at, f->value.text, p->values[i]);
		else if (!text)
			at = mempcpy(at, &word, 8);
	}
	if (p->frames)
		memcpy(to + p->bytes - p->frames * 8, frames, p->frames * 8);
}

/* Room for n bytes in one piece, and `spare` more: where, or NULL. *ret_tail: the tail behind them. */
static uint8_t *reserve(struct ring *r, size_t n, size_t spare, uint64_t *ret_tail)
{
	/* Relaxed: only this thread writes it. */
	uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
	size_t rest = PEN_LOG_RING_BYTES - (tail & MASK), pad = rest < n ? rest : 0;

	if (tail + pad + n + spare - r->head_seen > PEN_LOG_RING_BYTES) {
		/* PAIR(log.recycle): the writer has read what lies below head. Without it a record is overwritten
		 * while it is read. */
		r->head_seen = atomic_load_explicit(&r->head, memory_order_acquire);
		if (tail + pad + n + spare - r->head_seen > PEN_LOG_RING_BYTES)
			return NULL;
	}
	if (pad) {
		struct pen_log_record *mark = (struct pen_log_record *)(void *)(r->data + (tail & MASK));

		mark->bytes = (uint32_t)pad;
		mark->kind = PEN_LOG_KINDS;
	}
	*ret_tail = tail + pad + n;
	return r->data + ((tail + pad) & MASK);
}

/* Tells the writer, once until it has looked. */
static void ring_bell(struct ring *r, uint64_t tail)
{
	/*
	 * PAIR(log.rung): an exchange on both sides. Either this one comes before the writer's, which then finds the
	 * record in the look behind it, or it comes after and rings.
	 */
	if (!atomic_exchange_explicit(&all.rung, 1, memory_order_acq_rel)) {
		pen_park_ring(&pen_log_bell.park);
	} else if (tail - r->head_seen > HURRY) {
		/* PAIR(log.recycle): as in reserve; a fresh look, lest every further record rings. */
		r->head_seen = atomic_load_explicit(&r->head, memory_order_acquire);
		if (tail - r->head_seen > HURRY)
			pen_park_ring(&pen_log_bell.hurry);
	}
}

static void publish(struct ring *r, uint64_t tail)
{
	/*
	 * PAIR(log.publish): the record is whole before tail moves past it. Without it the writer reads what lay there
	 * before.
	 */
	atomic_store_explicit(&r->tail, tail, ORDER_PUBLISH);
	ring_bell(r, tail);
}

static const uint8_t kind_level[PEN_LOG_KINDS] = {
	[PEN_LOG_KIND_LOG] = PEN_LOG_INFO,	   [PEN_LOG_KIND_ERROR] = PEN_LOG_ERROR,
	[PEN_LOG_KIND_WARN] = PEN_LOG_WARN,	   [PEN_LOG_KIND_DEBUG] = PEN_LOG_DEBUG,
	[PEN_LOG_KIND_VERBOSE] = PEN_LOG_VERBOSE,  [PEN_LOG_KIND_REQUEST] = PEN_LOG_INFO,
	[PEN_LOG_KIND_RESPONSE] = PEN_LOG_INFO,	   [PEN_LOG_KIND_SECURITY] = PEN_LOG_WARN,
	[PEN_LOG_KIND_PERFORMANCE] = PEN_LOG_INFO, [PEN_LOG_KIND_EVENT] = PEN_LOG_INFO,
	[PEN_LOG_KIND_AUDIT] = PEN_LOG_INFO,	   [PEN_LOG_KIND_FAULT] = PEN_LOG_ERROR,
	[PEN_LOG_KIND_EXTERNAL] = PEN_LOG_INFO,	   [PEN_LOG_KIND_CACHE] = PEN_LOG_INFO,
	[PEN_LOG_KIND_WEBSOCKET] = PEN_LOG_INFO,
};

static unsigned level_of(const struct pen_log_line *line)
{
	if (line->context.level && line->context.level < PEN_LOG_LEVELS)
		return line->context.level;
	if (line->kind == PEN_LOG_KIND_SECURITY)
		return line->severity <= PEN_LOG_LOW	  ? PEN_LOG_INFO
		       : line->severity == PEN_LOG_MEDIUM ? PEN_LOG_WARN
							  : PEN_LOG_ERROR;
	return kind_level[line->kind];
}

static uint8_t *reserve_patiently(struct ring *r, size_t n, uint64_t *ret_tail)
{
	uint8_t *to = reserve(r, n, 0, ret_tail);

	for (int i = 0; !to && i < AUDIT_WAITS; i++) {
		pen_park_ring(&pen_log_bell.hurry);
		(void)nanosleep(&(struct timespec){ .tv_nsec = PEN_NS_PER_MS },
				NULL); /* a short one is as good */
		to = reserve(r, n, 0, ret_tail);
	}
	return to;
}

/* Apart, so that a line that is not wanted does not pay for its room on the stack. */
__attribute__((noinline)) static int put_wanted(const struct pen_log_line *line, unsigned level)
{
	void *frames[PEN_LOG_FRAMES + 3];
	int count = 0;
	uint64_t tail;
	struct plan p;
	uint8_t *to;

	if (!mine && !(mine = claim())) {
		atomic_fetch_add_explicit(&all.homeless, 1, memory_order_relaxed); /* a number only */
		return -EAGAIN;
	}
	if (line->trace) {
		count = backtrace(frames, PEN_LOG_FRAMES + 3);
		count = count > 3 ? count - 3 : 0; /* this function, put, and the one that asked */
	}
	plan(line, (size_t)count, &p);
	to = line->kind == PEN_LOG_KIND_AUDIT
		     ? reserve_patiently(mine, p.bytes, &tail)
		     : reserve(mine, p.bytes, level > PEN_LOG_INFO ? SPARE : 0, &tail);
	if (!to) {
		/* Relaxed: only this thread writes it, and it is a number only. */
		atomic_store_explicit(&mine->lost,
				      atomic_load_explicit(&mine->lost, memory_order_relaxed) + 1,
				      memory_order_relaxed);
		return -EAGAIN;
	}
	copy(to, line, &p, frames + 3, level);
	publish(mine, tail);
	return 0;
}

int pen_log_put(const struct pen_log_line *line)
{
	unsigned level;

	/* PAIR(log.start): who sees it sees the clock. A record too many or too few around the end harms nobody. */
	if (!atomic_load_explicit(&all.started, memory_order_acquire) ||
	    (unsigned)line->kind >= PEN_LOG_KINDS || line->context.module >= PEN_LOG_MODULES)
		return 0;
	level = level_of(line);
	if (line->kind != PEN_LOG_KIND_SECURITY && line->kind != PEN_LOG_KIND_AUDIT &&
	    !pen_log_on(line->context.module, level))
		return 0;
	return put_wanted(line, level);
}

void pen_log_set_whose(pen_log_whose_fn *whose)
{
	atomic_store_explicit(&all.whose, whose, memory_order_relaxed); /* as in plan */
}

/* ---- taking ---------------------------------------------------------------------------------- */

void pen_log_start(const struct pen_clock *clock)
{
	static _Atomic bool begun;

	/* Once: a thread of an earlier logger may just be ringing. */
	if (!atomic_exchange_explicit(&begun, true, memory_order_relaxed)) {
		pen_park_init(&pen_log_bell.park);
		pen_park_init(&pen_log_bell.hurry);
	}
	atomic_store_explicit(&all.clock, clock, memory_order_relaxed);
	/* PAIR(log.start): the clock comes before. */
	atomic_store_explicit(&all.started, true, memory_order_release);
}

void pen_log_stop(void)
{
	atomic_store_explicit(&all.started, false, memory_order_relaxed); /* as in put */
}

bool pen_log_started(void)
{
	/* PAIR(log.start): with what was set before. */
	return atomic_load_explicit(&all.started, memory_order_acquire);
}

void pen_log_look(void)
{
	/* PAIR(log.rung): before the look at the rings; see publish. */
	(void)atomic_exchange_explicit(&all.rung, 0, memory_order_acq_rel);
}

/* The ring's first record; NULL: it is empty. */
static const struct pen_log_record *front(struct ring *r)
{
	/* Relaxed: the writer's own. */
	uint64_t head = atomic_load_explicit(&r->head, memory_order_relaxed);

	for (;;) {
		/* PAIR(log.publish): who sees tail sees the records below it. */
		uint64_t tail = atomic_load_explicit(&r->tail, memory_order_acquire);
		const struct pen_log_record *rec = (const void *)(r->data + (head & MASK));

		if (head == tail)
			return NULL;
		if (rec->kind < PEN_LOG_KINDS)
			return rec;
		head += rec->bytes;
		/* PAIR(log.recycle): the mark was read before its place may be filled again. */
		atomic_store_explicit(&r->head, head, ORDER_RECYCLE);
	}
}

const struct pen_log_record *pen_log_peek(void)
{
	const struct pen_log_record *least = NULL;

	all.first = NULL;
	for (uint32_t i = 0; i < PEN_LOG_RINGS; i++) {
		/* PAIR(log.claim): as in claim. Places are filled from the front, and stay so. */
		struct ring *r = atomic_load_explicit(&all.rings[i], memory_order_acquire);
		const struct pen_log_record *rec = r ? front(r) : NULL;

		if (!r)
			break;
		if (!rec || (least && rec->time_ms >= least->time_ms))
			continue;
		least = rec;
		all.first = r;
	}
	return least;
}

void pen_log_pass(void)
{
	struct ring *r = all.first;
	/* Relaxed: the writer's own. */
	uint64_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
	const struct pen_log_record *rec = (const void *)(r->data + (head & MASK));

	/* PAIR(log.recycle): the record was read before its place may be filled again. Without it the copy is torn. */
	atomic_store_explicit(&r->head, head + rec->bytes, ORDER_RECYCLE);
}

void pen_log_reset(void)
{
	while (pen_log_peek())
		pen_log_pass();
	(void)pen_log_lost();
}

uint64_t pen_log_lost(void)
{
	/* Relaxed: numbers only. */
	uint64_t n = 0, now = atomic_load_explicit(&all.homeless, memory_order_relaxed);

	n += now - all.homeless_told;
	all.homeless_told = now;
	for (uint32_t i = 0; i < PEN_LOG_RINGS; i++) {
		/* PAIR(log.claim): as in claim. */
		struct ring *r = atomic_load_explicit(&all.rings[i], memory_order_acquire);

		if (!r)
			break;
		now = atomic_load_explicit(&r->lost, memory_order_relaxed);
		n += now - r->lost_told;
		r->lost_told = now;
	}
	return n;
}

void pen_log_forked(void)
{
	pen_log_stop();
	for (uint32_t i = 0; i < PEN_LOG_RINGS; i++) {
		/* Relaxed: there is one thread. */
		struct ring *r = atomic_load_explicit(&all.rings[i], memory_order_relaxed);

		if (r && r != mine)
			atomic_store_explicit(&r->taken, 0, memory_order_relaxed);
	}
}
