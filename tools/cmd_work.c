/* SPDX-License-Identifier: MIT */
/*
 * work: takes up batch after batch until nothing is left
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "include/penstock.h"
#include "tools/cmd.h"
#include "tools/home.h"
#include "tools/hook.h"
#include "tools/interrupt.h"
#include "tools/say.h"
#include "tools/text.h"

#define LOOK_NS 200000000ull
#define PATIENCE_MS 60000u /* a wait that is worth staying for */

struct work {
	struct pen_store *store;
	struct pen_engine *engine;
	struct pen_queue *queue;
	struct pen_caps caps;
	uint32_t running;
	bool forever, bad;
	int sig, held, no_room; /* no_room: the status, when it left batches for that */
	uint64_t held_since_ns;
	struct pen_min_free room;
};

static void say_end(struct work *w, const struct pen_cqe *cqe)
{
	char id[PEN_TEXT_NUMBER], a[PEN_TEXT_NUMBER], b[PEN_TEXT_NUMBER], c[PEN_TEXT_NUMBER],
		d[PEN_TEXT_NUMBER];
	char e[PEN_TEXT_NUMBER];
	struct pen_failure why = { 0 };
	struct pen_batch_info info;

	if (cqe->res == -PEN_BATCH_BUSY || cqe->res == -PEN_SEQ_BUSY || cqe->res == -PEN_WAITS ||
	    cqe->res == -PEN_PAUSED_BY || cqe->res == -PEN_BATCH_OVER || cqe->res == -PEN_AT_CAP ||
	    cqe->res == -PEN_FLAG_REFUSED)
		return;
	if (cqe->res && cqe->res != -PEN_STOPPED_BY && cqe->res != -PEN_CANCELLED_BY &&
	    cqe->res != -PEN_INTERRUPTED_BY) {
		if (pen_engine_failure(w->engine, cqe->batch, &why))
			why.text[0] = 0;
		(void)pen_say_failure(cqe->res, &why);
		w->bad = true;
	}
	if (pen_batch_get(w->store, cqe->batch, &info))
		return;
	w->bad |= info.counted.rejected || info.counted.failed || info.state != PEN_COMPLETED;
	pen_say_closing(info.state == PEN_COMPLETED && !info.counted.rejected && !info.counted.failed,
			"batch %s %s  %s items = %s committed + %s rejected + %s failed + %s skipped",
			pen_text_id(id, info.id), pen_state_name(info.state),
			pen_text_count(a, info.counted.items), pen_text_count(b, info.counted.committed),
			pen_text_count(c, info.counted.rejected), pen_text_count(d, info.counted.failed),
			pen_text_count(e, info.counted.skipped));
}

static void reap(struct work *w, uint64_t wait_ns)
{
	struct pen_cqe *cqe;
	int rc = pen_wait_cqe_timeout(w->engine, &cqe, wait_ns);

	if (rc == -PEN_DISK_FAILED) {
		struct pen_failure why = { 0 };

		(void)pen_engine_failure(w->engine, 0, &why);
		(void)pen_say_failure(rc, &why);
		pen_log_last();
		_exit(74); /* an orderly close would touch the disk that failed */
	}
	if (rc)
		return;
	w->running--;
	pen_queue_done(w->queue, cqe->batch, cqe->res);
	say_end(w, cqe);
	pen_cqe_seen(w->engine, cqe);
}

/* Starts what may run. 0 and how long to wait, or a code. */
static int start(struct work *w, uint64_t *ret_wait_ms, uint32_t *ret_left)
{
	uint64_t batch;
	int rc;

	while ((rc = pen_queue_next(w->queue, &batch, ret_wait_ms, ret_left)) == 1) {
		struct pen_sqe *sqe = pen_get_sqe(w->engine);

		if (!sqe) {
			pen_queue_done(w->queue, batch, 0);
			return 0;
		}
		pen_prep_take_capped(sqe, batch, PEN_TAKE_MAY_LEAVE, &w->caps);
		pen_submit(w->engine);
		w->running++;
	}
	return rc;
}

static void say_left(uint32_t left, uint64_t wait_ms)
{
	if (!left)
		return;
	if (wait_ms == UINT64_MAX)
		pen_say_note("%" PRIu32 " batches wait for something else than time: `penstock why BATCH`",
			     left);
	else
		pen_say_note("%" PRIu32 " batches are not due yet; the first is in %" PRIu64 " s", left,
			     wait_ms / 1000);
}

static uint64_t mono_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Says once in a spell what keeps it from beginning more. What is under way says so by itself. */
static void say_held(struct work *w)
{
	const char *text;
	int held = pen_queue_held(w->queue, &text);

	if (held && held != w->held && !w->running)
		pen_say_note("nothing more is begun: %s", text);
	/* While something runs, the spell goes on. */
	if (held || !w->running)
		w->held = held;
	if (!held || w->running)
		w->held_since_ns = 0;
	else if (!w->held_since_ns)
		w->held_since_ns = mono_ns();
}

/* There is none to begin and none runs: is it worth staying for what may come? */
static bool is_done(struct work *w, uint64_t wait_ms, uint32_t left)
{
	bool long_held = w->held == -PEN_NO_ROOM && mono_ns() - w->held_since_ns > PATIENCE_MS * 1000000ull;

	return !w->forever && (wait_ms > PATIENCE_MS || !left || long_held);
}

/* Leaves what it may not begin: 75 in the end. */
static void leave(struct work *w, uint32_t left, uint64_t wait_ms)
{
	struct pen_failure why = { .code = -PEN_NO_ROOM };
	const char *text;

	/* One that another worker has may come back to us: it is looked at once more. */
	pen_home_tidy(w->store);
	if (pen_queue_held(w->queue, &text) != -PEN_NO_ROOM) {
		say_left(left, wait_ms);
		return;
	}
	(void)snprintf(why.text, sizeof why.text, "%" PRIu32 " batches are left: %s", left, text);
	w->no_room = pen_say_failure(-PEN_NO_ROOM, &why);
}

static int work(struct work *w)
{
	uint64_t wait_ms = 0;
	uint32_t left = 0;
	int rc = 0;

	for (;;) {
		w->sig = pen_interrupt_signal();
		if (!w->sig)
			rc = start(w, &wait_ms, &left);
		if (!rc && !w->sig)
			rc = pen_hook_run_all(w->store);
		if (rc || (!w->running && w->sig))
			break;
		say_held(w);
		if (!w->running && is_done(w, wait_ms, left)) {
			leave(w, left, wait_ms);
			break;
		}
		if (!w->running)
			pen_home_tidy(w->store);
		if (w->running)
			reap(w, LOOK_NS);
		else
			pen_cmd_sleep_ms(wait_ms < 200 ? wait_ms + 1 : 200);
	}
	while (w->running)
		reap(w, UINT64_MAX);
	return rc;
}

/* NAME=N. 0, or the exit status with the error said. ret has room for all of them. */
static int parse_weights(const struct pen_cmd *cmd, struct pen_weight *ret, char *names)
{
	const struct pen_list *list = &cmd->args->lists[PEN_O_OWNER_WEIGHT - PEN_O_LABEL];

	for (size_t i = 0; i < list->count; i++) {
		const char *text = list->at[i], *equals = strrchr(text, '=');
		char *end;
		unsigned long n = equals ? strtoul(equals + 1, &end, 10) : 0;

		if (!equals || equals == text || equals[1] < '0' || equals[1] > '9' || *end || n < 1 ||
		    n > 1000) {
			pen_say_error(-PEN_USAGE, "--owner-weight %s: it is NAME=N with N from 1 to 1000",
				      text);
			return 2;
		}
		ret[i] = (struct pen_weight){ names, (uint32_t)n };
		names = mempcpy(names, text, (size_t)(equals - text));
		*names++ = 0;
	}
	return 0;
}

static int open_queue(const struct pen_cmd *cmd, struct work *w)
{
	const struct pen_list *list = &cmd->args->lists[PEN_O_OWNER_WEIGHT - PEN_O_LABEL];
	struct pen_queue_options opt = {
		.size = sizeof opt,
		.cap = pen_cmd_set(cmd, PEN_O_BATCHES) ? (uint32_t)pen_cmd_value(cmd, PEN_O_BATCHES)->n : 4,
		.owner_cap = (uint32_t)pen_cmd_value(cmd, PEN_O_OWNER_BATCHES)->n,
		.store_caps = w->caps,
		.room = w->room,
		.weight_count = list->count,
	};
	struct pen_weight *weights = calloc(list->count + 1, sizeof *weights);
	size_t size = 1;
	char *names;
	int status = -1;

	for (size_t i = 0; i < list->count; i++)
		size += strlen(list->at[i]);
	names = malloc(size);
	if (weights && names)
		status = parse_weights(cmd, weights, names);
	opt.weights = weights;
	if (!status && pen_queue_open(w->store, &opt, &w->queue))
		status = -1;
	free(names);
	free(weights);
	return status < 0 ? pen_say_failure(-PEN_MEMORY, NULL) : status;
}

int pen_cmd_work(const struct pen_cmd *cmd)
{
	struct work w = {
		.forever = pen_cmd_set(cmd, PEN_O_FOREVER),
		.caps = { .all = (uint32_t)pen_cmd_value(cmd, PEN_O_CAP)->n,
			  .owner = (uint32_t)pen_cmd_value(cmd, PEN_O_OWNER_CAP)->n },
		.room = pen_cmd_room(cmd),
	};
	int status = pen_home_open(cmd->args, true, &w.store), rc;

	if (status)
		return status;
	status = open_queue(cmd, &w);
	if (status) {
		pen_store_close(w.store);
		return status;
	}
	status = pen_cmd_engine(cmd, w.store, false, &w.engine);
	if (!status) {
		rc = work(&w);
		pen_interrupt_disarm();
		pen_engine_stop(w.engine);
		if (!w.sig && !rc)
			rc = pen_hook_run_all(w.store);
		status = rc ? pen_say_failure(rc, NULL) : w.sig ? 128 + w.sig : w.no_room ? w.no_room : w.bad;
	}
	pen_queue_close(w.queue);
	pen_store_close(w.store);
	return status;
}
