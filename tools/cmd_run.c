/* SPDX-License-Identifier: MIT */
/*
 * run: one batch from what was typed to its end.
 *
 *   - what was typed is checked as far as it can be without a store
 *   - the store is opened (or made), the engine started, the request submitted
 *   - until the completion comes: progress, and the first signal's sentence
 *   - the engine is stopped and the ending told (tools/closing.c)
 *
 * What has a time, parents, a priority or a command at its end is submitted first, and taken up when it may run. A
 * worker may be faster: then its end is waited for.
 *
 * When the disk failed under a commit nothing more can be trusted: the process says so and leaves at once.
 */
#include "tools/cmd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "include/penstock.h"
#include "tools/closing.h"
#include "tools/enter.h"
#include "tools/home.h"
#include "tools/hook.h"
#include "tools/interrupt.h"
#include "tools/option.h"
#include "tools/refusal.h"
#include "tools/say.h"
#include "tools/spec.h"
#include "tools/stages.h"
#include "tools/text.h"
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
	pen_log_last();
	_exit(74);
}

#define ROOM_LEAST (UINT64_C(64) << 20)

struct pen_min_free pen_cmd_room(const struct pen_cmd *cmd)
{
	const struct pen_value *memory = pen_cmd_value(cmd, PEN_O_MIN_FREE_MEMORY),
			       *disk = pen_cmd_value(cmd, PEN_O_MIN_FREE_DISK);

	/* Commands that do not take them ask for nothing. */
	if (cmd->args->command->id != PEN_CMD_WORK)
		return (struct pen_min_free){ 0 };
	return (struct pen_min_free){ memory->set ? memory->n : ROOM_LEAST,
				      disk->set ? disk->n : ROOM_LEAST };
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
		.room = pen_cmd_room(cmd),
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

/* ---- what is submitted first ---------------------------------------------------------------- */

#define LOOK_MS 200u

/* What a batch that is over ended with, for who did not run it. */
static bool over(struct pen_store *store, uint64_t batch, int *ret_res)
{
	struct pen_batch_info info;

	if (pen_batch_get(store, batch, &info))
		return false;
	*ret_res = info.state == PEN_CANCELLED ? -PEN_CANCELLED_BY : info.code;
	return info.state == PEN_COMPLETED || info.state == PEN_CANCELLED || info.state == PEN_FAILED;
}

/* 1: it may run. 0: it is over, or a signal came. Negative: a code. */
static int await(struct pen_store *store, struct pen_closing *end)
{
	char id[PEN_TEXT_NUMBER];
	bool said = false;
	uint64_t wait_ms;

	for (;;) {
		int rc;

		if (pen_interrupt_signal() || over(store, end->batch, &end->res))
			return 0;
		rc = pen_batch_due(store, end->batch, &wait_ms);
		if (rc && rc != -PEN_CANCELLED_BY)
			return rc;
		if (!said && !rc)
			pen_say_note("batch %s waits: `penstock why %s`", pen_text_id(id, end->batch), id);
		said = true;
		pen_cmd_sleep_ms(wait_ms < LOOK_MS ? wait_ms + 1 : LOOK_MS);
	}
}

static int enter(const struct pen_cmd *cmd, const struct pen_run *spec, struct pen_engine *engine,
		 struct pen_closing *end)
{
	struct pen_enter *enter = malloc(sizeof *enter);
	int status = enter ? pen_enter_make(cmd, end->store, spec, end->stream, enter) : 3;
	int rc, there;

	if (!status) {
		rc = pen_enter_do(engine, enter, end->store, &end->batch, &there, &end->why);
		if (rc == -PEN_LIMIT_REFUSED)
			pen_refusal_batch(cmd, end->store);
		status = rc == -PEN_FLAG_REFUSED ? pen_closing_refused(cmd, end->store, end->batch, &end->why)
			 : rc			 ? pen_say_failure(rc, &end->why)
						 : 0;
	}
	free(enter);
	return status;
}

/* Until somebody has run it: here, or another process. */
static int run_entered(const struct pen_cmd *cmd, struct pen_engine *engine, struct pen_closing *end)
{
	char id[PEN_TEXT_NUMBER];
	int rc;

	while ((rc = await(end->store, end)) == 1) {
		struct pen_sqe *sqe = pen_get_sqe(engine);

		if (!sqe)
			return -EAGAIN;
		pen_prep_take(sqe, end->batch, 0);
		pen_submit(engine);
		rc = watch(cmd, engine, end);
		if (rc || (end->res != -PEN_BATCH_BUSY && end->res != -PEN_BATCH_OVER &&
			   end->res != -PEN_PAUSED_BY && end->res != -PEN_FLAG_REFUSED))
			return rc;
		pen_cmd_sleep_ms(LOOK_MS);
	}
	if (!rc && pen_interrupt_signal() && !over(end->store, end->batch, &end->res)) {
		pen_say_note("batch %s stays queued: `penstock work` runs it", pen_text_id(id, end->batch));
		end->batch = 0;
		end->res = 0;
	}
	return rc;
}

static int execute_entered(const struct pen_cmd *cmd, const struct pen_run *spec, struct pen_engine *engine,
			   struct pen_closing *end)
{
	int status = enter(cmd, spec, engine, end), rc = 0, hooks = 0;

	if (!status)
		rc = run_entered(cmd, engine, end);
	end->sig = pen_interrupt_signal();
	pen_interrupt_disarm();
	pen_engine_stop(engine);
	if (status)
		return status;
	if (!end->batch && end->sig)
		return 128 + end->sig;
	status = rc < 0 ? pen_say_failure(rc, NULL) : pen_closing_end(end);
	if (!end->sig)
		hooks = pen_hook_run_all(end->store);
	return hooks ? pen_say_failure(hooks, NULL) : status;
}

/* ---- the command ---------------------------------------------------------------------------- */

static int execute(const struct pen_cmd *cmd, const struct pen_run *spec, struct pen_store *store,
		   struct pen_closing *end)
{
	struct pen_engine *engine;
	struct pen_sqe *sqe;
	int rc = pen_cmd_engine(cmd, store, false, &engine);

	if (rc)
		return rc;
	end->submit_ns = pen_ticker_now();
	if (pen_enter_wanted(cmd))
		return execute_entered(cmd, spec, engine, end);
	sqe = pen_get_sqe(engine);
	if (sqe) {
		pen_prep_run(sqe, spec);
		pen_submit(engine);
		rc = watch(cmd, engine, end);
	} else {
		rc = -EAGAIN;
	}
	end->sig = pen_interrupt_signal();
	pen_interrupt_disarm();
	pen_engine_stop(engine);
	return rc < 0 ? pen_say_failure(rc, NULL) : pen_closing_end(end);
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
