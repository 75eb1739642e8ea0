/* SPDX-License-Identifier: MIT */
/*
 * plan: what run would do with the same words, without writing.
 *
 *   - the store is opened for reading, if there is one
 *   - an engine that rehearses reads and judges everything; progress is shown as in run
 *   - what was found is told (tools/outlook.c)
 *
 * Ctrl-C ends the process at once: there is nothing to drain.
 */
#include "tools/cmd.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "include/penstock.h"
#include "tools/home.h"
#include "tools/option.h"
#include "tools/outlook.h"
#include "tools/say.h"
#include "tools/spec.h"
#include "tools/text.h"
#include "tools/ticker.h"

#define PACE_LOOKS 100 /* batches */
#define PACE_MS_MIN 100
#define PACE_BYTES_MIN (1u << 20)

/* ---- the store ----------------------------------------------------------------------------- */

/* Of the nearest directory that is there already. */
static bool free_bytes(const char *dir, uint64_t *ret)
{
	char path[PEN_HOME_PATH];
	struct statvfs fs;
	size_t len = strlen(dir);

	snprintf(path, sizeof path, "%s", dir);
	while (statvfs(*path ? path : ".", &fs) != 0) {
		if (errno != ENOENT || !*path)
			return false;
		while (len && path[len - 1] == '/')
			len--;
		while (len && path[len - 1] != '/')
			len--;
		path[len] = '\0';
	}
	*ret = (uint64_t)fs.f_bavail * fs.f_frsize;
	return true;
}

/* Looking at a store without its lock file would make one. */
static bool has_lock_file(const char *dir)
{
	char path[PEN_HOME_PATH + 16];

	snprintf(path, sizeof path, "%s/lock.mdb", dir);
	return access(path, F_OK) == 0;
}

static int open_store(struct pen_outlook *plan)
{
	struct pen_store_options options = { .size = sizeof options, .read_only = true };
	struct pen_failure why = { 0 };
	char data[PEN_HOME_PATH + 16];
	int rc = pen_home_find(plan->cmd->args, &plan->home);

	if (rc)
		return rc;
	snprintf(data, sizeof data, "%s/data.mdb", plan->home.path);
	plan->free_known = free_bytes(plan->home.path, &plan->free_bytes);
	if (access(data, F_OK) == 0 && !has_lock_file(plan->home.path)) {
		pen_say_note(
			"the store %s has no lock.mdb, and opening it would make one: planned as if it were new",
			plan->home.path);
		return 0;
	}
	rc = pen_store_open(plan->home.path, &options, &plan->store, &why);
	if (rc == -PEN_STORE_MISSING)
		return 0;
	if (rc < 0) {
		rc = pen_say_failure(rc, &why);
		pen_say_line("  --> %s (from %s)", plan->home.path, plan->home.origin);
		return rc;
	}
	(void)pen_store_info(plan->store, &plan->info); /* what is not known is not told */
	return 0;
}

/* ---- the rehearsal ------------------------------------------------------------------------- */

static int rehearse(struct pen_outlook *plan, struct pen_engine *engine)
{
	struct pen_progress progress;
	struct pen_ticker ticker;
	struct pen_cqe *cqe;
	char name[160];
	struct pen_sqe *sqe = pen_get_sqe(engine);
	int rc;

	if (!sqe)
		return -EAGAIN;
	pen_prep_plan(sqe, &plan->spec, &plan->forecast);
	pen_submit(engine);
	pen_cmd_sources(plan->cmd->args, name, sizeof name);
	pen_ticker_init(&ticker, (enum pen_ticker_mode)pen_cmd_value(plan->cmd, PEN_O_PROGRESS)->n, name,
			pen_ticker_now());
	while ((rc = pen_wait_cqe_timeout(engine, &cqe, pen_ticker_wait_ns(&ticker, pen_ticker_now()))) !=
	       0) {
		if (rc != -ETIME && rc != -EINTR && rc != -EAGAIN)
			break;
		if (pen_engine_progress(engine, 0, &progress) == 0)
			pen_ticker_tick(&ticker, &progress, pen_ticker_now());
	}
	if (rc == 0) {
		plan->res = cqe->res;
		if (cqe->res < 0 && pen_engine_failure(engine, cqe->batch, &plan->why) != 0)
			plan->why.text[0] = '\0';
		pen_cqe_seen(engine, cqe);
	}
	pen_ticker_end(&ticker);
	return rc;
}

/* ---- what would bite ----------------------------------------------------------------------- */

__attribute__((format(printf, 4, 5))) static void bite(struct pen_outlook *plan, const char *name, int code,
						       const char *format, ...)
{
	struct pen_outlook_limit *limit = &plan->limits[plan->limit_count++];
	va_list list;

	limit->name = name;
	limit->code = code;
	va_start(list, format);
	vsnprintf(limit->text, sizeof limit->text, format, list);
	va_end(list);
}

/* The items of a window go at once, the others wait for theirs. Whole windows: how many of them are over is known. */
static void find_rate(struct pen_outlook *plan)
{
	uint64_t count = 0, window_ns = 0,
		 items = plan->forecast.counted.items - plan->forecast.resumed_items;
	const char *rate = pen_cmd_value(plan->cmd, PEN_O_RATE)->text;
	char a[PEN_TEXT_NUMBER];

	if (rate && !pen_rate_parse(rate, &count, &window_ns, NULL) && items > count)
		bite(plan, "rate", -PEN_RATE_WAITS, "--rate %s makes the run take at least %s", rate,
		     pen_text_clock(a, (items - 1) / count * (window_ns / 1000000) / 1000));
}

static void find_limits(struct pen_outlook *plan)
{
	const struct pen_forecast *f = &plan->forecast;
	char a[PEN_TEXT_NUMBER], b[PEN_TEXT_NUMBER];

	if (plan->res)
		return;
	if (f->stop_items)
		bite(plan, "max-rejects", -PEN_STOPPED_BY, "--max-rejects %s stops the run after %s items",
		     pen_cmd_value(plan->cmd, PEN_O_MAX_REJECTS)->text, pen_text_count(a, f->stop_items));
	if (plan->free_known && f->file_bytes > plan->free_bytes)
		bite(plan, "disk", -PEN_DISK_FULL, "data.mdb may grow by %s, and the disk has %s free",
		     pen_text_bytes(a, f->file_bytes), pen_text_bytes(b, plan->free_bytes));
	if (plan->info.map_bytes && plan->info.used_bytes + f->file_bytes > plan->info.map_bytes)
		bite(plan, "map", -PEN_MAP_FULL, "data.mdb may grow by %s, and the map has room for %s",
		     pen_text_bytes(a, f->file_bytes),
		     pen_text_bytes(b, plan->info.map_bytes - plan->info.used_bytes));
	find_rate(plan);
}

/*
 * How long writing takes is not tried, but it may be known: from the newest batch that this store took in one go, at
 * the same durability and keyed alike, if it was large enough to say anything.
 */
static void find_pace(struct pen_outlook *plan)
{
	const struct pen_forecast *f = &plan->forecast;
	struct pen_batch_info info;
	uint64_t id = UINT64_MAX;

	for (int i = 0; plan->store && !plan->res && i < PACE_LOOKS; i++) {
		id = pen_batch_before(plan->store, id);
		if (!id)
			return;
		if (pen_batch_get(plan->store, id, &info) || info.state != PEN_COMPLETED || info.resumed ||
		    info.durability != plan->spec.durability || info.key_kind != f->key_kind ||
		    info.active_ms < PACE_MS_MIN || info.counted.bytes < PACE_BYTES_MIN)
			continue;
		plan->pace_batch = id;
		plan->pace_ms = (uint64_t)((double)f->counted.bytes / (double)info.counted.bytes *
					   (double)info.active_ms);
		plan->pace_ms = plan->pace_ms > f->read_ns / 1000000 ? plan->pace_ms : f->read_ns / 1000000;
		return;
	}
}

static int exit_status(const struct pen_outlook *plan)
{
	const struct pen_counters *n = &plan->forecast.counted;

	if (plan->res)
		return pen_error_exit(plan->res);
	if (plan->forecast.stop_items)
		return pen_error_exit(-PEN_STOPPED_BY);
	return n->rejected + n->failed && !pen_cmd_set(plan->cmd, PEN_O_ALLOW_REJECTS) ? 1 : 0;
}

int pen_cmd_plan(const struct pen_cmd *cmd)
{
	struct pen_outlook plan = { .cmd = cmd, .forecast.size = sizeof plan.forecast };
	struct pen_engine *engine;
	bool stream;
	int rc = pen_spec_make(cmd, &plan.spec, &stream);

	if (!rc)
		rc = open_store(&plan);
	if (!rc)
		rc = pen_cmd_engine(cmd, plan.store, true, &engine);
	if (rc) {
		pen_store_close(plan.store);
		return rc;
	}
	rc = rehearse(&plan, engine);
	pen_engine_stop(engine);
	if (rc < 0) {
		rc = pen_say_failure(rc, NULL);
	} else {
		find_limits(&plan);
		find_pace(&plan);
		plan.status = exit_status(&plan);
		rc = pen_outlook_tell(&plan);
		if (stream && plan.res == 0)
			pen_say_note("stdin was read, and is used up");
	}
	pen_forecast_fini(&plan.forecast);
	pen_store_close(plan.store);
	return rc;
}
