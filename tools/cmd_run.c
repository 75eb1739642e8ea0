/* SPDX-License-Identifier: MIT */
/*
 * run: one batch from what was typed to its end.
 *
 *   - what was typed is checked as far as it can be without a store
 *   - the store is opened (or made), the engine started, the request submitted
 *   - until the completion comes: progress, and the first signal's sentence
 *   - the engine is stopped and the ending told (tools/closing.c)
 *
 * When the disk failed under a commit nothing more can be trusted: the process says so and leaves at once.
 */
#include "tools/cmd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "include/penstock.h"
#include "tools/closing.h"
#include "tools/enter.h"
#include "tools/home.h"
#include "tools/hook.h"
#include "tools/interrupt.h"
#include "tools/option.h"
#include "tools/say.h"
#include "tools/spec.h"
#include "tools/stages.h"
#include "tools/ticker.h"

/* ---- the run ------------------------------------------------------------------------------- */

/* Called from engine threads. What went wrong is said even with --quiet. */
static void notice(void *arg, int code, const char *text)
{
	(void)arg;
	if (code == 0 || code == -PEN_IO_DENIED || code == -PEN_TREE_MOVED || code == -PEN_SOURCE_KEPT)
		pen_say_note("%s", text);
	else
		pen_say_warning(code, "%s", text);
}

/* No clean-up: an orderly close would touch the disk that failed. */
static _Noreturn void disk_failed(struct pen_engine *engine, uint64_t batch)
{
	struct pen_failure why = { 0 };

	pen_say_progress_end();
	if (pen_engine_failure(engine, batch, &why) != 0 || !why.text[0])
		(void)pen_engine_failure(engine, 0, &why);
	pen_say_failure(-PEN_DISK_FAILED, &why);
	_exit(74);
}

int pen_cmd_engine(const struct pen_cmd *cmd, struct pen_store *store, bool rehearse, struct pen_engine **ret)
{
	static const enum pen_io_choice choices[] = { PEN_IO_AUTO, PEN_IO_URING, PEN_IO_THREADS };
	const char *processor = pen_cmd_value(cmd, PEN_O_PROCESSOR)->text;
	bool children = processor && (!strncmp(processor, "exec:", 5) || !strncmp(processor, "worker:", 7));
	uint64_t chunk_bytes = pen_cmd_value(cmd, PEN_O_CHUNK_BYTES)->n;
	struct pen_engine_options options = {
		.size = sizeof options,
		.io = choices[pen_cmd_value(cmd, PEN_O_IO)->n],
		/* Of children there may be many; what cuts their items for them is as ever. */
		.processors = children ? 0 : (uint32_t)pen_cmd_value(cmd, PEN_O_JOBS)->n,
		/* Buffers are cut once: larger chunks need larger ones. */
		.chunk_bytes = chunk_bytes > 256 << 10 ? (uint32_t)chunk_bytes : 0,
		.notice = notice,
		.rehearse = rehearse,
	};
	struct pen_failure why = { 0 };

	/* Engine threads inherit the mask: signals are this thread's business. */
	pen_interrupt_block(true);
	int rc = pen_engine_start(store, &options, ret, &why);

	if (rc == 0 && !rehearse)
		pen_interrupt_arm(*ret);
	pen_interrupt_block(false);
	return rc < 0 ? pen_say_failure(rc, &why) : 0;
}

void pen_cmd_sources(const struct pen_args *args, char *out, size_t cap)
{
	const char *first = args->word_count ? args->words[0] : args->value[PEN_O_ITEMS].text;
	const char *slash = strrchr(first, '/');

	if (args->word_count > 1)
		snprintf(out, cap, "%zu sources", args->word_count);
	else
		snprintf(out, cap, "%s", slash && slash[1] ? slash + 1 : first);
}

/* The store's row is what the batch ended with: the engine has let go of it, and its last numbers may be older. */
static void feed_last(const struct pen_closing *end, struct pen_bar *bar)
{
	struct pen_progress last = end->measured ? end->progress : bar->last;
	struct pen_batch_info info;

	if (!end->batch || pen_batch_get(end->store, end->batch, &info) != 0)
		return;
	last.batch = info.id;
	last.state = info.state;
	last.reason = info.code;
	last.counted = info.counted;
	last.items_total = info.items_total;
	last.bytes_total = info.bytes_total;
	if (info.state == PEN_COMPLETED)
		last.bytes_place = info.bytes_total;
	pen_bar_feed(bar, &last, pen_ticker_now());
}

/* Our own engine's ring: the stages are told there alone. */
struct own {
	struct pen_ring ring;
	struct pen_stages stages;
	bool open;
	unsigned tries;
};

#define OWN_TRIES 20 /* looks for it: an engine may also run without one */

static void look_at_stages(struct own *own, struct pen_store *store, struct pen_bar *bar)
{
	struct pen_store_info info;

	if (!own->open && own->tries < OWN_TRIES && ++own->tries && pen_store_info(store, &info) == 0)
		own->open = pen_stages_own(&own->ring, info.store_id);
	if (!own->open)
		return;
	pen_stages_look(&own->stages, &own->ring, pen_ticker_now());
	bar->stage = pen_stages_name(&own->stages);
	bar->held = pen_stages_held(&own->stages);
}

/* Waits for the completion and shows how it goes. 0, or the code the engine gave up with. */
static int watch(const struct pen_cmd *cmd, struct pen_engine *engine, struct pen_closing *end)
{
	struct pen_progress progress;
	struct own own = { 0 };
	struct pen_ticker ticker;
	struct pen_cqe *cqe;
	char name[160];
	int rc;

	pen_stages_init(&own.stages);
	pen_cmd_sources(cmd->args, name, sizeof name);
	pen_ticker_init(&ticker, (enum pen_ticker_mode)pen_cmd_value(cmd, PEN_O_PROGRESS)->n, name,
			end->submit_ns);
	while ((rc = pen_wait_cqe_timeout(engine, &cqe, pen_ticker_wait_ns(&ticker, pen_ticker_now()))) !=
	       0) {
		if (rc == -PEN_DISK_FAILED)
			disk_failed(engine, ticker.bar.last.batch);
		if (rc != -ETIME && rc != -EINTR && rc != -EAGAIN)
			break;
		if (pen_interrupt_signal() && !ticker.bar.draining) {
			ticker.bar.draining = true;
			pen_say_note("draining; press Ctrl-C again to stop at once");
		}
		if (ticker.mode != PEN_TICKER_NONE)
			look_at_stages(&own, end->store, &ticker.bar);
		if (pen_engine_progress(engine, 0, &progress) == 0)
			pen_ticker_tick(&ticker, &progress, pen_ticker_now());
	}
	if (rc == 0) {
		end->res = cqe->res;
		end->batch = cqe->batch;
		pen_cqe_seen(engine, cqe);
		if (end->res == -PEN_DISK_FAILED)
			disk_failed(engine, end->batch);
		end->measured = end->batch && pen_engine_progress(engine, end->batch, &end->progress) == 0;
		feed_last(end, &ticker.bar);
		if (end->res < 0 && pen_engine_failure(engine, end->batch, &end->why) != 0)
			end->why.text[0] = '\0';
	}
	ticker.bar.held = NULL;
	pen_ticker_end(&ticker);
	if (own.open)
		pen_ring_close(&own.ring);
	return rc;
}

/* Until a batch may run that waits for others or for a time. 0, or the code it ends with. */
static int await_turn(struct pen_store *store, uint64_t batch)
{
	bool said = false;

	for (;;) {
		uint64_t wait_ms;
		int rc = pen_batch_due(store, batch, &wait_ms);

		if (rc)
			return rc < 0 ? rc : 0;
		if (pen_interrupt_signal())
			return -PEN_INTERRUPTED_BY;
		if (!said)
			pen_say_note(
				"batch %016llx waits (`penstock why` says for what); Ctrl-C leaves it to `penstock work`",
				(unsigned long long)batch);
		said = true;
		pen_cmd_sleep_ms(wait_ms < 200 ? wait_ms + 1 : 200);
	}
}

/* A worker was faster: it runs the batch, and this process waits for its end. */
static int await_other(struct pen_store *store, uint64_t batch)
{
	struct pen_batch_info info;
	int rc;

	pen_say_note("a worker has taken batch %016llx up: waiting for it", (unsigned long long)batch);
	while (!(rc = pen_batch_get(store, batch, &info)) && info.runner_pid && !pen_interrupt_signal())
		pen_cmd_sleep_ms(100);
	if (rc)
		return rc;
	return info.state == PEN_COMPLETED   ? 0
	       : info.state == PEN_CANCELLED ? -PEN_CANCELLED_BY
	       : info.state == PEN_STOPPED   ? -PEN_STOPPED_BY
					     : -PEN_INTERRUPTED_BY;
}

/*
 * A run that waits for something, or owes a command at its end, is a submission that this process takes up: should it
 * die, a worker goes on.
 */
static int enter(const struct pen_cmd *cmd, const struct pen_run *spec, struct pen_store *store,
		 struct pen_engine *engine, struct pen_closing *end)
{
	struct pen_enter enter;
	struct pen_sqe *sqe;
	bool there;
	int rc = pen_enter_make(cmd, store, spec, end->stream, &enter);

	if (rc)
		return -rc;  /* said */
	end->stream = false; /* it is kept now */
	end->res = pen_enter_do(engine, &enter, store, &end->batch, &there, &end->why);
	if (!end->res)
		end->res = await_turn(store, end->batch);
	if (end->res)
		return 0;
	sqe = pen_get_sqe(engine);
	if (!sqe)
		return -PEN_MEMORY;
	pen_prep_take(sqe, end->batch, 0);
	pen_submit(engine);
	return 1;
}

static int execute(const struct pen_cmd *cmd, const struct pen_run *spec, struct pen_store *store,
		   struct pen_closing *end)
{
	struct pen_engine *engine;
	struct pen_sqe *sqe;
	int rc = pen_cmd_engine(cmd, store, false, &engine);

	if (rc)
		return rc;
	end->submit_ns = pen_ticker_now();
	if (pen_enter_wanted(cmd)) {
		rc = enter(cmd, spec, store, engine, end);
		if (rc == 1)
			rc = watch(cmd, engine, end);
		if (end->res == -PEN_BATCH_BUSY)
			end->res = await_other(store, end->batch);
		if (end->res == -PEN_BATCH_OVER)
			end->res = 0; /* complete before: its numbers stand */
	} else if ((sqe = pen_get_sqe(engine))) {
		pen_prep_run(sqe, spec);
		pen_submit(engine);
		rc = watch(cmd, engine, end);
	} else {
		rc = -EAGAIN;
	}
	end->sig = pen_interrupt_signal();
	pen_interrupt_disarm();
	pen_engine_stop(engine);
	if (rc < 0)
		return rc > -200 ? -rc : pen_say_failure(rc, NULL);
	rc = pen_closing_end(end);
	if (pen_cmd_set(cmd, PEN_O_ON_COMPLETE))
		(void)pen_hook_run_all(store); /* what cannot be run now is owed, and run by whoever works */
	return rc;
}

int pen_cmd_run(const struct pen_cmd *cmd)
{
	struct pen_closing end = { .cmd = cmd };
	struct pen_home home;
	struct pen_run spec;
	int rc;

	rc = pen_spec_make(cmd, &spec, &end.stream);
	if (!rc)
		rc = pen_home_create(cmd->args, &home, &end.store);
	if (rc)
		return rc;
	rc = execute(cmd, &spec, end.store, &end);
	if (!end.sig)
		pen_home_tidy(end.store);
	pen_store_close(end.store);
	return rc;
}
