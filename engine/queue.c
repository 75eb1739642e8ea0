/* SPDX-License-Identifier: MIT */
#include "engine/queue.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/budget.h"
#include "engine/due.h"
#include "engine/gate.h"
#include "engine/graph.h"
#include "engine/headroom.h"
#include "engine/order.h"
#include "ring/base.h"
#include "ring/error.h"
#include "store/control.h"
#include "store/holdup.h"
#include "store/index.h"
#include "store/job.h"
#include "store/ledger.h"
#include "store/lock.h"
#include "store/order.h"

#define ID "%016" PRIx64
#define STEP 256u
#define BUSY_MS 500u  /* a batch that another worker has is looked at again after so long */
#define ROOM_MS 1000u /* how soon room is looked for again */
#define HERE_MAX 64u
#define FAILED_MS 30000u
#define BUSY_TIMES 2u /* in a row, while nothing else ended here: then it is not worth waiting for */

struct here {
	uint64_t id, cost;
	uint32_t owner;
};

struct pen_queue {
	struct pen_store *store;
	struct pen_share share;
	struct pen_share_owner owners[PEN_QUEUE_OWNERS];
	char *names[PEN_QUEUE_OWNERS];
	uint32_t owner_count, owner_cap;
	struct pen_caps store_caps;
	struct pen_weight *weights;
	size_t weight_count;
	struct pen_share_batch *batches;
	uint32_t count, cap;
	struct here here[HERE_MAX]; /* that run in this worker */
	uint32_t here_count;
	struct busy {
		uint64_t id, until_ms;
		uint32_t times;
		bool others;
	} busy[HERE_MAX];
	uint32_t busy_next, aside;
	uint64_t
		aside_ms; /* when the first of those that are put aside is looked at again; UINT64_MAX: none */
	bool only_looks;  /* nothing is cancelled: somebody asks why */
	struct pen_min_free room;
	int held; /* why none was offered */
	char held_text[PEN_HOLDUP_TEXT];
	struct pen_holdup_file file;
};

/* ---- one batch ------------------------------------------------------------------------------- */

struct view {
	struct pen_facts *facts;
	struct pen_standing *standing;
	struct pen_order *order; /* NULL: it was not submitted */
	struct pen_fmt_job job;
	struct pen_control control;
	bool has_control;
};

static void forget(struct view *v)
{
	free(v->facts);
	free(v->standing);
	free(v->order);
}

static int look(struct pen_store *store, uint64_t id, struct view *v)
{
	int rc;

	memset(v, 0, sizeof *v);
	v->standing = malloc(sizeof *v->standing);
	if (!v->standing)
		return -ENOMEM;
	rc = pen_ledger_read(store, id, &v->facts, v->standing);
	if (!rc)
		rc = pen_order_read(store, id, &v->order);
	if (rc == -PEN_NOT_FOUND && v->facts)
		rc = 0;
	if (!rc)
		rc = pen_job_read(store, id, &v->job);
	if (rc == -PEN_NOT_FOUND && v->facts)
		rc = 0;
	if (!rc)
		v->has_control = !pen_control_read(store, id, &v->control);
	if (rc)
		forget(v);
	return rc;
}

/* Whether its parents let it run; *ret_cause says who decides otherwise. */
static enum pen_graph_ready ready(struct pen_store *store, const struct pen_order *order,
				  struct pen_graph_parent *ret_cause)
{
	struct pen_graph_parent parents[PEN_GRAPH_PARENTS];
	enum pen_graph_ready answer;
	size_t which = 0;

	if (!order || !order->parent_count)
		return PEN_GRAPH_READY;
	for (uint32_t i = 0; i < order->parent_count; i++) {
		struct pen_batch_info info;

		parents[i] = (struct pen_graph_parent){ .id = order->parents[i].id,
							.ok = order->parents[i].edge == PEN_EDGE_OK };
		if (pen_batch_get(store, parents[i].id, &info))
			continue;
		parents[i].state = info.state;
		parents[i].clean = info.state == PEN_COMPLETED && !info.counted.rejected &&
				   !info.counted.failed;
	}
	answer = pen_graph_ready(parents, order->parent_count, &which);
	*ret_cause = parents[which];
	return answer;
}

/* ---- candidates ------------------------------------------------------------------------------ */

static uint32_t weight_of(const struct pen_queue *q, const char *name)
{
	for (size_t i = 0; i < q->weight_count; i++)
		if (!strcmp(q->weights[i].owner, name))
			return q->weights[i].weight;
	return 1;
}

static int owner_of(struct pen_queue *q, const char *name, uint32_t *ret)
{
	for (uint32_t i = 0; i < q->owner_count; i++) {
		if (strcmp(q->names[i], name) != 0)
			continue;
		*ret = i;
		return 0;
	}
	/* More owners than are told apart share the last one's part. */
	if (q->owner_count == PEN_QUEUE_OWNERS) {
		*ret = PEN_QUEUE_OWNERS - 1;
		return 0;
	}
	q->names[q->owner_count] = strdup(name);
	if (!q->names[q->owner_count])
		return -ENOMEM;
	q->owners[q->owner_count] = (struct pen_share_owner){ .weight = weight_of(q, name),
							      .cap = q->owner_cap,
							      .store_cap = q->store_caps.owner };
	*ret = q->owner_count++;
	return 0;
}

static bool is_here(const struct pen_queue *q, uint64_t id)
{
	for (uint32_t i = 0; i < q->here_count; i++)
		if (q->here[i].id == id)
			return true;
	return false;
}

static struct busy *find_busy(struct pen_queue *q, uint64_t id)
{
	for (uint32_t i = 0; i < HERE_MAX; i++)
		if (q->busy[i].id == id)
			return &q->busy[i];
	return NULL;
}

/* It could not be had a moment ago. */
static bool is_busy(struct pen_queue *q, uint64_t id, uint64_t now_ms)
{
	const struct busy *busy = find_busy(q, id);

	if (!busy || busy->until_ms <= now_ms)
		return false;
	q->aside++;
	if (busy->times < BUSY_TIMES)
		q->aside_ms = pen_min(q->aside_ms, busy->until_ms);
	return true;
}

static int add(struct pen_queue *q, uint64_t id, const struct view *v)
{
	struct pen_share_batch *b;
	struct pen_graph_parent cause;
	enum pen_graph_ready answer = ready(q->store, v->order, &cause);
	char reason[128];
	int rc;

	if (answer == PEN_GRAPH_NEVER && !q->only_looks) {
		(void)snprintf(reason, sizeof reason, "batch " ID ", which it needed to end well, %s",
			       cause.id, pen_graph_cause(&cause));
		rc = pen_batch_wish(q->store, id, PEN_WISH_CANCEL, "penstock", reason, NULL, NULL);
		/* Another worker was faster, or it has been cleaned away. */
		return rc == -PEN_BATCH_OVER || rc == -PEN_NOT_FOUND ? 0 : rc;
	}
	if (q->count == q->cap) {
		uint32_t cap = q->cap ? q->cap * 2 : 64;
		struct pen_share_batch *grown = realloc(q->batches, cap * sizeof *grown);

		if (!grown)
			return -ENOMEM;
		q->batches = grown;
		q->cap = cap;
	}
	b = &q->batches[q->count];
	*b = (struct pen_share_batch){
		.id = id,
		.queued_ms = v->facts->fixed.created_ms,
		.not_before_ms = v->order->fixed.not_before_ms,
		.cost = pen_max(v->facts->fixed.items_total, v->facts->fixed.bytes_total >> 10),
		.priority = v->order->fixed.priority,
		.paused = (v->has_control && v->control.want == PEN_WANT_PAUSE) ||
			  pen_gate_held(q->store, id, v->facts->owner, NULL),
		.depends = answer == PEN_GRAPH_WAIT,
	};
	/* When the date was set back since, how long it waits is known to who runs it alone. */
	if (v->standing->fixed.state == PEN_WAITING &&
	    v->job.clock_ms < pen_real_ms(pen_store_clock(q->store)) + PEN_DUE_BACK_MS)
		b->not_before_ms = pen_max(b->not_before_ms, v->job.due_ms);
	if (owner_of(q, v->facts->owner, &b->owner))
		return -ENOMEM;
	q->count++;
	return 0;
}

/* One that another process runs: it counts under the caps of the store. */
static int count_elsewhere(struct pen_queue *q, uint64_t id, uint8_t state)
{
	struct view v;
	uint32_t owner;
	int rc;

	if ((state != PEN_RUNNING && state != PEN_PAUSED) || (!q->store_caps.all && !q->store_caps.owner) ||
	    !pen_lock_holder(q->store, id))
		return 0;
	rc = look(q->store, id, &v);
	if (rc)
		return rc == -PEN_NOT_FOUND ? 0 : rc;
	if (v.standing->fixed.state == state && v.standing->fixed.started_ms) {
		rc = owner_of(q, v.facts->owner, &owner);
		if (!rc) {
			q->share.elsewhere++;
			q->owners[owner].elsewhere++;
		}
	}
	forget(&v);
	return rc;
}

/* Batches in one state that this or another worker could take up. */
static int gather(struct pen_queue *q, uint8_t state, uint64_t now_ms)
{
	uint64_t ids[STEP], after = 0;
	int n, rc = 0;

	while (!rc && q->count < PEN_QUEUE_MAX &&
	       (n = pen_index_in_state(q->store, state, after, ids, STEP)) != 0) {
		if (n < 0)
			return n;
		for (int i = 0; i < n && !rc; i++) {
			struct view v;

			after = ids[i];
			if (is_here(q, ids[i]))
				continue;
			rc = count_elsewhere(q, ids[i], state);
			if (rc || is_busy(q, ids[i], now_ms))
				continue;
			rc = look(q->store, ids[i], &v);
			if (rc) {
				rc = rc == -PEN_NOT_FOUND ? 0 : rc; /* cleaned meanwhile */
				continue;
			}
			/* One that says it runs has lost its runner, or has one. */
			if (v.order && v.standing->fixed.state == state &&
			    ((state != PEN_RUNNING && state != PEN_INTERRUPTED) ||
			     !pen_lock_holder(q->store, ids[i])))
				rc = add(q, ids[i], &v);
			forget(&v);
		}
	}
	return rc;
}

static int gather_all(struct pen_queue *q, uint64_t now_ms)
{
	static const uint8_t states[] = { PEN_QUEUED, PEN_WAITING, PEN_RUNNING, PEN_INTERRUPTED, PEN_PAUSED };
	int rc = 0;

	q->count = q->aside = q->share.elsewhere = 0;
	for (uint32_t i = 0; i < q->owner_count; i++)
		q->owners[i].elsewhere = 0;
	q->aside_ms = UINT64_MAX;
	for (size_t i = 0; i < PEN_COUNT(states) && !rc; i++)
		rc = gather(q, states[i], now_ms);
	return rc;
}

/* ---- the queue ------------------------------------------------------------------------------- */

static int copy_weights(struct pen_queue *q, const struct pen_weight *weights, size_t count)
{
	q->weights = calloc(count ? count : 1, sizeof *q->weights);
	for (size_t i = 0; i < count && q->weights; i++) {
		q->weights[i] = (struct pen_weight){ strdup(weights[i].owner), weights[i].weight };
		if (!q->weights[i].owner)
			return -ENOMEM;
		q->weight_count++;
	}
	return q->weights ? 0 : -ENOMEM;
}

int pen_queue_open(struct pen_store *store, const struct pen_queue_options *given, struct pen_queue **ret)
{
	struct pen_queue *q = calloc(1, sizeof *q);
	struct pen_queue_options opt = { 0 };

	if (!q)
		return -ENOMEM;
	q->store = store;
	pen_holdup_init(&q->file);
	if (given) {
		/* A program built against an earlier header has a shorter struct: what it lacks is the default. */
		memcpy(&opt, given, pen_min(given->size, sizeof opt));
		q->share.cap = opt.cap;
		q->owner_cap = opt.owner_cap;
		q->store_caps = opt.store_caps;
		q->share.store_cap = opt.store_caps.all;
		q->room = opt.room;
		if (copy_weights(q, opt.weights, opt.weight_count)) {
			pen_queue_close(q);
			return -ENOMEM;
		}
	}
	if (!q->share.cap || q->share.cap > HERE_MAX)
		q->share.cap = 16;
	*ret = q;
	return 0;
}

void pen_queue_close(struct pen_queue *q)
{
	if (!q)
		return;
	pen_holdup_end(&q->file, q->store);
	for (uint32_t i = 0; i < q->owner_count; i++)
		free(q->names[i]);
	for (size_t i = 0; i < q->weight_count; i++)
		free((void *)(uintptr_t)q->weights[i].owner);
	free(q->weights);
	free(q->batches);
	free(q);
}

/* 1: there is enough to start something; 0: not now, and *ret_wait_ms is when to look again. */
static int has_room(struct pen_queue *q, uint64_t *ret_wait_ms)
{
	enum pen_headroom_verdict verdict;
	struct pen_headroom headroom;

	if (!q->room.memory && !q->room.disk)
		return 1;
	pen_headroom_read("", q->store, &headroom);
	verdict = pen_headroom_judge(&headroom, &q->room, q->held_text, sizeof q->held_text);
	*ret_wait_ms = verdict == PEN_HEADROOM_NEVER ? UINT64_MAX : ROOM_MS;
	if (verdict != PEN_HEADROOM_ENOUGH)
		q->held = -PEN_NO_ROOM;
	return verdict == PEN_HEADROOM_ENOUGH;
}

/* None is offered: when might one be, and how many wait? */
static void count_left(struct pen_queue *q, uint64_t now, uint64_t when, uint64_t *ret_wait_ms,
		       uint32_t *ret_left)
{
	*ret_left = q->aside;
	for (uint32_t i = 0; i < q->count; i++) {
		enum pen_share_wait wait = q->batches[i].wait;

		*ret_left += wait != PEN_SHARE_PAUSED;
		if (wait != PEN_SHARE_STORE_CAP && wait != PEN_SHARE_STORE_OWNER)
			continue;
		/* Others end without telling. */
		when = pen_min(when, now + BUSY_MS);
		if (q->held)
			continue;
		q->held = -PEN_AT_CAP;
		(void)snprintf(q->held_text, sizeof q->held_text,
			       wait == PEN_SHARE_STORE_CAP
				       ? "as many batches run in the store as may: %" PRIu32
				       : "as many batches of an owner run as may: %" PRIu32,
			       wait == PEN_SHARE_STORE_CAP ? q->store_caps.all : q->store_caps.owner);
	}
	when = pen_min(when, q->aside_ms);
	*ret_wait_ms = when == PEN_SHARE_NEVER ? UINT64_MAX : when > now ? when - now : 0;
}

static void offer(struct pen_queue *q, size_t pick, uint64_t *ret_batch)
{
	const struct pen_share_batch *b = &q->batches[pick];

	q->here[q->here_count++] = (struct here){ b->id, pen_max(b->cost, 1), b->owner };
	pen_share_start(&q->share, &q->owners[b->owner], q->here[q->here_count - 1].cost);
	*ret_batch = b->id;
}

int pen_queue_next(struct pen_queue *q, uint64_t *ret_batch, uint64_t *ret_wait_ms, uint32_t *ret_left)
{
	uint64_t now = pen_real_ms(pen_store_clock(q->store)), when = PEN_SHARE_NEVER, room_ms;
	int rc = gather_all(q, now);
	size_t pick;

	if (rc)
		return rc;
	q->held = 0;
	q->held_text[0] = 0;
	pick = pen_share_pick(&q->share, q->owners, q->owner_count, q->batches, q->count, now, &when);
	if (pick != PEN_SHARE_NONE && has_room(q, &room_ms)) {
		offer(q, pick, ret_batch);
		rc = 1;
	} else {
		/* What runs here begins nothing more either. */
		if (pick == PEN_SHARE_NONE && q->here_count)
			(void)has_room(q, &room_ms);
		count_left(q, now, when, ret_wait_ms, ret_left);
		/* The one that could begin but for the room. */
		if (pick != PEN_SHARE_NONE)
			*ret_wait_ms = room_ms;
	}
	pen_holdup_say(&q->file, q->store, q->held_text);
	return rc;
}

int pen_queue_held(const struct pen_queue *q, const char **ret_text)
{
	*ret_text = q->held_text;
	return q->held;
}

/* Others may have it, or its dataset: it is looked at again soon, and at once when something ended here. */
static void put_aside(struct pen_queue *q, uint64_t batch, bool others, bool at_cap, bool failed)
{
	struct busy *busy = find_busy(q, batch);

	if (!busy) {
		busy = &q->busy[q->busy_next];
		q->busy_next = (q->busy_next + 1) % HERE_MAX;
		*busy = (struct busy){ .id = batch };
	}
	busy->others = others;
	busy->times = at_cap ? 0 : others ? busy->times + 1 : BUSY_TIMES;
	busy->until_ms = pen_real_ms(pen_store_clock(q->store)) + BUSY_MS;
	/* What went wrong by itself is not tried over and over by one that waits for more. */
	if (failed)
		busy->until_ms += FAILED_MS;
}

void pen_queue_done(struct pen_queue *q, uint64_t batch, int code)
{
	/* At a cap, it is worth waiting for: it begins when others end. */
	bool at_cap = code == -PEN_AT_CAP;
	bool others = at_cap || code == -PEN_BATCH_BUSY || code == -PEN_SEQ_BUSY;

	for (uint32_t i = 0; i < q->here_count; i++) {
		struct here here = q->here[i];

		if (here.id != batch)
			continue;
		q->here[i] = q->here[--q->here_count];
		/* What somebody else has was not his to be charged for. */
		pen_share_end(&q->share, &q->owners[here.owner], here.cost, others ? 0 : here.cost);
		break;
	}
	for (uint32_t i = 0; i < HERE_MAX && !others; i++)
		if (q->busy[i].others)
			q->busy[i].until_ms = q->busy[i].times = 0;
	if (code && code != -PEN_WAITS)
		put_aside(q, batch, others, at_cap,
			  !others && code != -PEN_PAUSED_BY && code != -PEN_FLAG_REFUSED);
}

int pen_batch_due(struct pen_store *store, uint64_t batch, uint64_t *ret_wait_ms)
{
	uint64_t now = pen_real_ms(pen_store_clock(store)), until = 0;
	struct pen_queue *q = NULL;
	struct view v;
	int rc = look(store, batch, &v);

	if (rc)
		return rc;
	rc = pen_queue_open(store, NULL, &q);
	if (!rc && v.order)
		rc = add(q, batch, &v);
	if (!rc && v.order && !q->count)
		rc = -PEN_CANCELLED_BY;
	if (!rc && v.order) {
		until = q->batches[0].not_before_ms;
		if (q->batches[0].depends || q->batches[0].paused)
			until = pen_max(until, now + BUSY_MS);
	}
	pen_queue_close(q);
	forget(&v);
	*ret_wait_ms = until > now ? until - now : 0;
	return rc ? rc : !*ret_wait_ms;
}

/* ---- why ------------------------------------------------------------------------------------- */

struct text {
	char *at;
	size_t cap, len;
};

static void say(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct text *t, const char *format, ...)
{
	size_t left = t->len < t->cap ? t->cap - t->len : 0;
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(left ? t->at + t->len : NULL, left, format, ap);
	va_end(ap);
	t->len += n > 0 ? (size_t)n : 0;
}

static void say_time(struct text *t, uint64_t ms, uint64_t now_ms)
{
	if (ms > now_ms)
		say(t, "in %" PRIu64 ".%" PRIu64 " s", (ms - now_ms) / 1000, (ms - now_ms) % 1000 / 100);
	else
		say(t, "now");
}

static void say_control(struct text *t, const struct pen_control *c)
{
	say(t, "%s asked for it to be %s%s%s\n", *c->by ? c->by : "somebody",
	    c->want == PEN_WANT_CANCEL ? "cancelled" : "paused", *c->reason ? ": " : "", c->reason);
}

/* What workers say that wait: of what they were told, nobody else knows. pid 0: all. */
static void say_holdups(struct text *t, struct pen_store *store, uint32_t pid)
{
	struct pen_holdup all[4];
	int n = pen_queue_holdups(store, all, PEN_COUNT(all));

	for (int i = 0; i < n; i++)
		if (!pid || all[i].pid == pid)
			say(t, "process %" PRIu32 " begins nothing more: %s\n", all[i].pid, all[i].text);
}

static void say_queue(struct text *t, struct pen_store *store, uint64_t id, uint64_t now)
{
	struct pen_queue *q;
	uint64_t when;

	if (pen_queue_open(store, NULL, &q))
		return;
	q->only_looks = true;
	if (!gather_all(q, now)) {
		(void)pen_share_pick(&q->share, q->owners, q->owner_count, q->batches, q->count, now, &when);
		for (uint32_t i = 0; i < q->count; i++) {
			const struct pen_share_batch *b = &q->batches[i];

			if (b->id != id)
				continue;
			if (b->wait == PEN_SHARE_STARTS)
				say(t, "it is the next that a worker takes up: `penstock work`\n");
			else if (b->ahead != PEN_SHARE_NONE)
				say(t, "it waits for %s; batch " ID " goes first\n",
				    pen_share_wait_text(b->wait), q->batches[b->ahead].id);
			else
				say(t, "it waits for %s\n", pen_share_wait_text(b->wait));
		}
	}
	pen_queue_close(q);
	say_holdups(t, store, 0);
}

/* What its key made of it, and of others. */
static void say_dedup(struct text *t, struct pen_store *store, uint64_t id, uint64_t now)
{
	static const char *const modes[] = { "", "simple", "throttle", "debounce" };
	struct pen_dedup_info d;

	if (pen_batch_dedup(store, id, &d))
		return;
	if (d.batch != id) {
		say(t, "its key '%s' is batch " ID "'s now\n", d.key, d.batch);
		return;
	}
	say(t, "it has the key '%s' (%s)", d.key, modes[d.mode]);
	if (d.until_ms > now) {
		say(t, "; its time ends ");
		say_time(t, d.until_ms, now);
	} else if (d.until_ms) {
		say(t, "; its time is over");
	}
	say(t, "\n");
	if (d.previous)
		say(t, "it took the place of batch " ID "\n", d.previous);
	if (d.count)
		say(t, "%" PRIu64 " other submissions with this key were one with it\n", d.count);
}

/* What else may end an item's tries: said where it was asked for, and the request is kept. */
static void say_retry_for(struct text *t, const struct pen_order *order)
{
	struct pen_run *run = NULL;

	if (!order || pen_order_unpack(order->spec, order->spec_len, &run))
		return;
	if (run->retry_for_ns)
		say(t,
		    "an item fails when its next try would begin later than %.3f s after its first (--retry-for)\n",
		    (double)run->retry_for_ns / PEN_NS_PER_S);
	free(run);
}

static void say_state(struct text *t, struct pen_store *store, uint64_t id, const struct view *v,
		      uint64_t now)
{
	const struct pen_fmt_state *s = &v->standing->fixed;
	uint32_t pid = pen_ledger_over(s->state) ? 0 : pen_lock_holder(store, id);
	struct pen_graph_parent cause;
	char flags[PEN_GATE_TEXT];
	bool held;

	if (pid)
		say(t, "it is %s; process %" PRIu32 " runs it\n", pen_state_name(s->state), pid);
	else if (s->state == PEN_RUNNING)
		say(t, "the process that ran it is gone; nothing is lost\n");
	else
		say(t, "it is %s\n", pen_state_name(s->state));
	if (pid)
		say_holdups(t, store, pid);
	if (s->code)
		say(t, "%s: %s\n", pen_error_name(s->code), pen_error_text(s->code));
	say_dedup(t, store, id, now);
	if (v->has_control)
		say_control(t, &v->control);
	held = pen_gate_say(store, id, flags, sizeof flags);
	say(t, "%s", flags);
	if (pid && v->order)
		t->len += pen_budget_why(store, v->order, t->len < t->cap ? t->at + t->len : NULL,
					 t->len < t->cap ? t->cap - t->len : 0);
	if (v->job.retrying) {
		say(t, "%" PRIu64 " items wait for their next try; the first is due ", v->job.retrying);
		say_time(t, v->job.due_ms, now);
		say(t, "\n");
		say_retry_for(t, v->order);
	}
	if (v->order && v->order->fixed.not_before_ms > now) {
		say(t, "it is not to run before its time, ");
		say_time(t, v->order->fixed.not_before_ms, now);
		say(t, "\n");
	}
	if (!pen_ledger_over(s->state) && ready(store, v->order, &cause) == PEN_GRAPH_WAIT)
		say(t, "it waits for batch " ID ", which %s\n", cause.id, pen_graph_cause(&cause));
	if (pid || held || pen_ledger_over(s->state))
		return;
	if (v->order)
		say_queue(t, store, id, now);
	else
		say(t, "it was not submitted: it goes on when its command is given again\n");
}

long pen_batch_why(struct pen_store *store, uint64_t batch, char *ret, size_t cap)
{
	struct text t = { ret, cap, 0 };
	uint64_t now = pen_real_ms(pen_store_clock(store));
	struct view v;
	int rc = look(store, batch, &v);

	if (rc)
		return rc;
	if (cap)
		*ret = 0;
	say_state(&t, store, batch, &v, now);
	forget(&v);
	return (long)t.len;
}
