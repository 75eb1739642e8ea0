/* SPDX-License-Identifier: MIT */
/*
 * plan: what run would do with the same words, without writing.
 *
 *   - the store is opened for reading, if there is one
 *   - an engine that rehearses reads and judges everything; progress is shown as in run
 *   - what was found is told: to people in a few lines, or as one JSON document
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
#include "tools/closing.h"
#include "tools/home.h"
#include "tools/json.h"
#include "tools/option.h"
#include "tools/out.h"
#include "tools/say.h"
#include "tools/spec.h"
#include "tools/text.h"
#include "tools/ticker.h"

#define SOURCES_SHOWN 10
#define CODES_SHOWN 3
#define LIMITS_MAX 4

/* What would bite. */
struct limit {
	const char *name;
	int code;
	char text[256];
};

struct plan {
	const struct pen_cmd *cmd;
	struct pen_home home;
	struct pen_store *store; /* NULL: there is none */
	struct pen_run spec;
	struct pen_store_info info; /* zero without a store */
	uint64_t free_bytes;	    /* of its disk; 0: not known */
	struct pen_forecast forecast;
	int res; /* of the completion */
	struct pen_failure why;
	struct limit limits[LIMITS_MAX];
	size_t limit_count;
	int status;
};

/* ---- the store ----------------------------------------------------------------------------- */

/* Of the nearest directory that is there already. */
static uint64_t free_bytes(const char *dir)
{
	char path[PEN_HOME_PATH];
	struct statvfs fs;
	size_t len = strlen(dir);

	snprintf(path, sizeof path, "%s", dir);
	while (statvfs(*path ? path : ".", &fs) != 0) {
		if (errno != ENOENT || !*path)
			return 0;
		while (len && path[len - 1] == '/')
			len--;
		while (len && path[len - 1] != '/')
			len--;
		path[len] = '\0';
	}
	return (uint64_t)fs.f_bavail * fs.f_frsize;
}

/* Looking at a store without its lock file would make one. */
static bool has_lock_file(const char *dir)
{
	char path[PEN_HOME_PATH + 16];

	snprintf(path, sizeof path, "%s/lock.mdb", dir);
	return access(path, F_OK) == 0;
}

static int open_store(struct plan *plan)
{
	struct pen_store_options options = { .size = sizeof options, .read_only = true };
	struct pen_failure why = { 0 };
	char data[PEN_HOME_PATH + 16];
	int rc = pen_home_find(plan->cmd->args, &plan->home);

	if (rc)
		return rc;
	snprintf(data, sizeof data, "%s/data.mdb", plan->home.path);
	plan->free_bytes = free_bytes(plan->home.path);
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

static int rehearse(struct plan *plan, struct pen_engine *engine)
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

__attribute__((format(printf, 4, 5))) static void bite(struct plan *plan, const char *name, int code,
						       const char *format, ...)
{
	struct limit *limit = &plan->limits[plan->limit_count++];
	va_list list;

	limit->name = name;
	limit->code = code;
	va_start(list, format);
	vsnprintf(limit->text, sizeof limit->text, format, list);
	va_end(list);
}

static void find_limits(struct plan *plan)
{
	const struct pen_forecast *f = &plan->forecast;
	char a[PEN_TEXT_NUMBER], b[PEN_TEXT_NUMBER];

	if (plan->res)
		return;
	if (f->stop_items)
		bite(plan, "max-rejects", -PEN_STOPPED_BY, "--max-rejects %s stops the run after %s items",
		     pen_cmd_value(plan->cmd, PEN_O_MAX_REJECTS)->text, pen_text_count(a, f->stop_items));
	if (plan->free_bytes && f->file_bytes > plan->free_bytes)
		bite(plan, "disk", -PEN_DISK_FULL, "data.mdb may grow by %s, and the disk has %s free",
		     pen_text_bytes(a, f->file_bytes), pen_text_bytes(b, plan->free_bytes));
	if (plan->info.map_bytes && plan->info.used_bytes + f->file_bytes > plan->info.map_bytes)
		bite(plan, "map", -PEN_MAP_FULL, "data.mdb may grow by %s, and the map has room for %s",
		     pen_text_bytes(a, f->file_bytes),
		     pen_text_bytes(b, plan->info.map_bytes - plan->info.used_bytes));
}

static int exit_status(const struct plan *plan)
{
	const struct pen_counters *n = &plan->forecast.counted;

	if (plan->res)
		return pen_error_exit(plan->res);
	if (plan->forecast.stop_items)
		return pen_error_exit(-PEN_STOPPED_BY);
	return n->rejected + n->failed && !pen_cmd_set(plan->cmd, PEN_O_ALLOW_REJECTS) ? 1 : 0;
}

/* ---- JSON ---------------------------------------------------------------------------------- */

static void json_sources(const struct pen_forecast *f, struct pen_jw *jw)
{
	pen_jw_array(jw, "sources");
	for (size_t i = 0; i < f->source_count; i++) {
		const struct pen_forecast_source *s = &f->sources[i];

		pen_jw_object(jw, NULL);
		pen_jw_text(jw, "path", s->path);
		pen_jw_text(jw, "format", s->format ? pen_format_name(s->format) : NULL);
		pen_jw_text(jw, "said", s->said);
		pen_jw_u64(jw, "bytes", s->bytes);
		pen_jw_u64(jw, "files", s->files);
		pen_jw_u64(jw, "items", s->items);
		pen_jw_u64(jw, "rejected", s->rejected);
		pen_jw_object_end(jw);
	}
	pen_jw_array_end(jw);
}

static void json_counters(const struct pen_forecast *f, struct pen_jw *jw)
{
	pen_jw_u64(jw, "items", f->counted.items);
	pen_jw_u64(jw, "committed", f->counted.committed);
	pen_jw_u64(jw, "rejected", f->counted.rejected);
	pen_jw_u64(jw, "failed", f->counted.failed);
	pen_jw_u64(jw, "skipped", f->counted.skipped);
	pen_jw_u64(jw, "duplicates", f->counted.duplicates);
	pen_jw_u64(jw, "bytes", f->counted.bytes);
	pen_jw_u64(jw, "resumed_items", f->resumed_items);
	pen_jw_u64(jw, "repeated_keys", f->repeated);
	pen_jw_u64(jw, "present_keys", f->present);
	pen_jw_bool(jw, "exact", f->exact);
	pen_jw_u64(jw, "duplicates_error", f->duplicates_error);
}

static void json_size(const struct plan *plan, struct pen_jw *jw)
{
	const struct pen_forecast *f = &plan->forecast;

	pen_jw_u64(jw, "new_records", f->records);
	pen_jw_u64(jw, "appended", f->appended);
	pen_jw_u64(jw, "key_bytes", f->key_bytes);
	pen_jw_u64(jw, "value_bytes", f->value_bytes);
	pen_jw_u64(jw, "longest_value", f->longest);
	pen_jw_u64(jw, "dataset_entries", f->dataset_entries);
	pen_jw_u64(jw, "dataset_bytes", f->dataset_bytes);
	pen_jw_u64(jw, "growth_bytes", f->growth_bytes);
	pen_jw_u64(jw, "file_bytes", f->file_bytes);
	pen_jw_u64(jw, "free_disk_bytes", plan->free_bytes);
	pen_jw_u64(jw, "map_bytes", plan->info.map_bytes);
	pen_jw_milli(jw, "read_s", (f->read_ns + 500000) / 1000000);
}

static void json_limits(const struct plan *plan, struct pen_jw *jw)
{
	pen_jw_array(jw, "limits");
	for (size_t i = 0; i < plan->limit_count; i++) {
		pen_jw_object(jw, NULL);
		pen_jw_text(jw, "limit", plan->limits[i].name);
		pen_jw_text(jw, "code", pen_error_name(plan->limits[i].code));
		pen_jw_text(jw, "text", plan->limits[i].text);
		pen_jw_object_end(jw);
	}
	pen_jw_array_end(jw);
	if (plan->forecast.stop_items)
		pen_jw_u64(jw, "stop_items", plan->forecast.stop_items);
	else
		pen_jw_null(jw, "stop_items");
}

static void json_rejects(const struct pen_forecast *f, struct pen_jw *jw)
{
	pen_jw_array(jw, "codes");
	for (size_t i = 0; i < f->code_count; i++) {
		pen_jw_object(jw, NULL);
		pen_jw_text(jw, "code", pen_error_name(f->codes[i].code));
		pen_jw_u64(jw, "items", f->codes[i].items);
		pen_jw_object_end(jw);
	}
	pen_jw_array_end(jw);
	pen_jw_array(jw, "rejects");
	for (size_t i = 0; i < f->reject_count; i++) {
		const struct pen_item *item = &f->rejects[i];

		pen_jw_object(jw, NULL);
		pen_jw_u64(jw, "seq", item->seq);
		pen_jw_text(jw, "source", item->source);
		pen_jw_u64(jw, "line", item->line);
		pen_jw_u64(jw, "offset", item->offset);
		pen_jw_u64(jw, "column", item->column);
		pen_jw_text(jw, "code", pen_error_name(item->code));
		pen_jw_text(jw, "message", item->message);
		pen_jw_data(jw, "raw", item->raw.data, item->raw.len);
		pen_jw_u64(jw, "raw_total", item->raw_total);
		pen_jw_data(jw, "key", item->key.data, item->key.len);
		pen_jw_object_end(jw);
	}
	pen_jw_array_end(jw);
}

static int print_json(const struct plan *plan)
{
	const struct pen_forecast *f = &plan->forecast;
	struct pen_out out;
	struct pen_jw jw;

	pen_out_init(&out, STDOUT_FILENO);
	pen_jw_init(&jw, &out);
	pen_jw_object(&jw, NULL);
	pen_jw_text(&jw, "fate", pen_fate_name(f->fate));
	pen_jw_id(&jw, "batch", f->batch);
	pen_jw_text(&jw, "code", plan->res ? pen_error_name(plan->res) : NULL);
	pen_jw_text(&jw, "reason",
		    plan->res ? (*plan->why.text ? plan->why.text : pen_error_text(plan->res)) : NULL);
	pen_jw_u64(&jw, "exit", (uint64_t)plan->status);
	pen_jw_text(&jw, "store", plan->home.path);
	pen_jw_bool(&jw, "store_exists", plan->store != NULL);
	pen_jw_text(&jw, "dataset", plan->spec.into ? plan->spec.into : "default");
	pen_jw_bool(&jw, "whole", f->whole);
	json_sources(f, &jw);
	json_counters(f, &jw);
	json_size(plan, &jw);
	json_limits(plan, &jw);
	json_rejects(f, &jw);
	pen_jw_object_end(&jw);
	pen_jw_line(&jw);
	return pen_out_end(&out, plan->status);
}

/* ---- for people ---------------------------------------------------------------------------- */

static void print_sources(const struct pen_forecast *f, struct pen_out *out)
{
	char a[PEN_TEXT_NUMBER];

	for (size_t i = 0; i < f->source_count && i < SOURCES_SHOWN; i++) {
		const struct pen_forecast_source *s = &f->sources[i];

		pen_out_safe(out, s->path, strlen(s->path), false);
		pen_out_format(out, "  %s", s->format ? pen_format_name(s->format) : "nothing to read");
		if (*s->said) {
			pen_out_text(out, "  ");
			pen_out_safe(out, s->said, strlen(s->said), false);
		}
		if (s->files)
			pen_out_format(out, "  %s files", pen_text_count(a, s->files));
		if (s->bytes)
			pen_out_format(out, "  %s", pen_text_bytes(a, s->bytes));
		if (f->fate != PEN_FATE_DONE)
			pen_out_format(out, "  %s items", pen_text_count(a, s->items));
		if (s->rejected)
			pen_out_format(out, "  %s rejected", pen_text_count(a, s->rejected));
		pen_out_char(out, '\n');
	}
	if (f->source_count > SOURCES_SHOWN)
		pen_out_format(out, "and %s more sources (--json lists all)\n",
			       pen_text_count(a, f->source_count - SOURCES_SHOWN));
	pen_out_char(out, '\n');
}

static void print_batch(const struct plan *plan, struct pen_out *out)
{
	const struct pen_forecast *f = &plan->forecast;
	char id[PEN_TEXT_NUMBER], a[PEN_TEXT_NUMBER];
	const char *into = plan->spec.into ? plan->spec.into : "default";

	pen_text_id(id, f->batch);
	pen_out_text(out, "batch       ");
	switch (f->fate) {
	case PEN_FATE_RESUME:
		pen_out_format(out, "%s goes on behind %s items", id, pen_text_count(a, f->resumed_items));
		break;
	case PEN_FATE_DONE:
		pen_out_format(out, "%s is complete: nothing to do (--fresh makes a new one)", id);
		break;
	case PEN_FATE_ANEW:
		pen_out_format(out, "a new one; %s was complete, and things changed since", id);
		break;
	case PEN_FATE_REPLACE:
		pen_out_format(out, "a new one; the unfinished %s is cancelled", id);
		break;
	default:
		pen_out_text(out, "a new one");
	}
	pen_out_text(out, "\nstore       ");
	pen_out_safe(out, plan->home.path, strlen(plan->home.path), false);
	pen_out_text(out, plan->store ? ", dataset " : " (to be made), dataset ");
	pen_out_safe(out, into, strlen(into), false);
	if (f->dataset_entries)
		pen_out_format(out, " with %s records", pen_text_count(a, f->dataset_entries));
	pen_out_char(out, '\n');
}

static void print_counts(const struct pen_forecast *f, struct pen_out *out)
{
	const struct pen_counters *n = &f->counted;
	const char *about = f->exact ? "" : "about ";
	char a[PEN_TEXT_NUMBER], b[PEN_TEXT_NUMBER];

	pen_out_format(out, "items       %s = %s%s committed + ", pen_text_count(a, n->items), about,
		       pen_text_count(b, n->committed));
	pen_out_format(out, "%s rejected + %s skipped\n", pen_text_count(a, n->rejected),
		       pen_text_count(b, n->skipped));
	if (f->fate == PEN_FATE_DONE)
		return;
	for (size_t i = 0; i < f->code_count; i++)
		pen_out_format(out, "rejected    %s  %s %s\n", pen_text_count(a, f->codes[i].items),
			       pen_error_name(f->codes[i].code), pen_error_text(f->codes[i].code));
	pen_out_format(out, "duplicates  %s%s keys come again, ", about, pen_text_count(a, f->repeated));
	pen_out_format(out, "%s%s are in the dataset already", about, pen_text_count(a, f->present));
	if (!f->exact)
		pen_out_format(out, " (from a sample; error about %s)",
			       pen_text_count(a, 2 * f->duplicates_error));
	pen_out_char(out, '\n');
}

static void print_size(const struct plan *plan, struct pen_out *out)
{
	const struct pen_forecast *f = &plan->forecast;
	char a[PEN_TEXT_NUMBER], b[PEN_TEXT_NUMBER];

	pen_out_format(out, "size        about %s for %s new records", pen_text_bytes(a, f->growth_bytes),
		       pen_text_count(b, f->records));
	if (f->file_bytes > f->growth_bytes)
		pen_out_format(out, ", up to %s while it runs", pen_text_bytes(a, f->file_bytes));
	if (plan->free_bytes)
		pen_out_format(out, "; %s free", pen_text_bytes(a, plan->free_bytes));
	pen_out_format(
		out,
		"\ntime        more than %llu.%llu s: reading and checking took that long, writing is not tried\n",
		(unsigned long long)(f->read_ns / 1000000000),
		(unsigned long long)(f->read_ns / 100000000 % 10));
}

static int print_text(const struct plan *plan)
{
	const struct pen_forecast *f = &plan->forecast;
	struct pen_out out;

	pen_out_init(&out, STDOUT_FILENO);
	print_sources(f, &out);
	print_batch(plan, &out);
	print_counts(f, &out);
	if (f->fate != PEN_FATE_DONE)
		print_size(plan, &out);
	for (size_t i = 0; i < plan->limit_count; i++)
		pen_out_format(&out, "limit       %s (%s)\n", plan->limits[i].text,
			       pen_error_name(plan->limits[i].code));
	return pen_out_end(&out, plan->status);
}

/* One example of each of the first few codes. */
static void say_rejects(const struct pen_forecast *f)
{
	for (size_t c = 0; c < f->code_count && c < CODES_SHOWN && !pen_say_quiet(); c++) {
		size_t i = 0;

		while (i < f->reject_count && f->rejects[i].code != f->codes[c].code)
			i++;
		if (i < f->reject_count)
			pen_closing_item(&f->rejects[i]);
	}
}

int pen_cmd_plan(const struct pen_cmd *cmd)
{
	struct plan plan = { .cmd = cmd, .forecast.size = sizeof plan.forecast };
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
		plan.status = exit_status(&plan);
		if (plan.res < 0)
			pen_say_failure(plan.res, &plan.why);
		else
			say_rejects(&plan.forecast);
		rc = pen_cmd_set(cmd, PEN_O_JSON) ? print_json(&plan)
		     : plan.res < 0		  ? plan.status
						  : print_text(&plan);
		if (stream && plan.res == 0)
			pen_say_note("stdin was read, and is used up");
	}
	pen_forecast_fini(&plan.forecast);
	pen_store_close(plan.store);
	return rc;
}
