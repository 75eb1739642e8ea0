/* SPDX-License-Identifier: MIT */
#include "tools/outlook.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tools/closing.h"
#include "tools/json.h"
#include "tools/option.h"
#include "tools/out.h"
#include "tools/say.h"
#include "tools/text.h"

#define SOURCES_SHOWN 10
#define CODES_SHOWN 3

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
	pen_jw_u64(jw, "repeated", f->repeated);
	pen_jw_u64(jw, "present", f->present);
	pen_jw_bool(jw, "exact", f->exact);
	pen_jw_u64(jw, "duplicates_error", f->duplicates_error);
}

static void json_size(const struct pen_outlook *plan, struct pen_jw *jw)
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
	if (plan->free_known)
		pen_jw_u64(jw, "free_disk_bytes", plan->free_bytes);
	else
		pen_jw_null(jw, "free_disk_bytes");
	pen_jw_u64(jw, "map_bytes", plan->info.map_bytes);
	pen_jw_milli(jw, "read_s", (f->read_ns + 500000) / 1000000);
	pen_jw_id(jw, "pace_batch", plan->pace_batch);
	if (plan->pace_batch)
		pen_jw_milli(jw, "pace_s", plan->pace_ms);
	else
		pen_jw_null(jw, "pace_s");
}

static void json_limits(const struct pen_outlook *plan, struct pen_jw *jw)
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

static int print_json(const struct pen_outlook *plan)
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

static void print_batch(const struct pen_outlook *plan, struct pen_out *out)
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

static void print_counts(const struct pen_outlook *plan, struct pen_out *out)
{
	const struct pen_forecast *f = &plan->forecast;
	const struct pen_counters *n = &f->counted;
	/* Where the last one wins, all are committed, however many there are. */
	const char *sum = f->exact || plan->spec.on_duplicate == PEN_DUP_REPLACE ? "" : "about ";
	const char *about = f->exact ? "" : "about ";
	char a[PEN_TEXT_NUMBER], b[PEN_TEXT_NUMBER];

	pen_out_format(out, "items       %s = %s%s committed + ", pen_text_count(a, n->items), sum,
		       pen_text_count(b, n->committed));
	pen_out_format(out, "%s rejected + %s skipped\n", pen_text_count(a, n->rejected),
		       pen_text_count(b, n->skipped));
	if (f->fate == PEN_FATE_DONE)
		return;
	for (size_t i = 0; i < f->code_count; i++)
		pen_out_format(out, "rejected    %s  %s %s\n", pen_text_count(a, f->codes[i].items),
			       pen_error_name(f->codes[i].code), pen_error_text(f->codes[i].code));
	pen_out_format(out, "duplicates  %s%s items repeat a key, ", about, pen_text_count(a, f->repeated));
	pen_out_format(out, "%s%s keys are in the dataset already", f->dataset_entries ? about : "",
		       pen_text_count(a, f->present));
	if (!f->exact)
		pen_out_format(out, " (from a sample; error about %s)",
			       pen_text_count(a, 2 * f->duplicates_error));
	pen_out_char(out, '\n');
}

/* "0.037 s", "12.4 s", "2:05" */
static const char *seconds(char out[PEN_TEXT_NUMBER], uint64_t ms)
{
	if (ms >= 100000)
		return pen_text_clock(out, ms / 1000);
	if (ms >= 10000)
		snprintf(out, PEN_TEXT_NUMBER, "%u.%u s", (unsigned)(ms / 1000), (unsigned)(ms / 100 % 10));
	else
		snprintf(out, PEN_TEXT_NUMBER, "%u.%03u s", (unsigned)(ms / 1000), (unsigned)(ms % 1000));
	return out;
}

static void print_size(const struct pen_outlook *plan, struct pen_out *out)
{
	const struct pen_forecast *f = &plan->forecast;
	char a[PEN_TEXT_NUMBER], b[PEN_TEXT_NUMBER];

	pen_out_format(out, "size        about %s for %s new records", pen_text_bytes(a, f->growth_bytes),
		       pen_text_count(b, f->records));
	if (f->file_bytes > f->growth_bytes)
		pen_out_format(out, ", up to %s while it runs", pen_text_bytes(a, f->file_bytes));
	if (plan->free_known)
		pen_out_format(out, "; %s free", pen_text_bytes(a, plan->free_bytes));
	pen_out_format(out, "\ntime        more than %s (reading and checking; writing is not tried)",
		       seconds(a, f->read_ns / 1000000));
	if (plan->pace_batch)
		pen_out_format(out, ", about %s at the pace of batch %s", seconds(a, plan->pace_ms),
			       pen_text_id(b, plan->pace_batch));
	pen_out_char(out, '\n');
}

static int print_text(const struct pen_outlook *plan)
{
	const struct pen_forecast *f = &plan->forecast;
	struct pen_out out;

	pen_out_init(&out, STDOUT_FILENO);
	print_sources(f, &out);
	print_batch(plan, &out);
	print_counts(plan, &out);
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

int pen_outlook_tell(const struct pen_outlook *plan)
{
	if (plan->res < 0)
		pen_say_failure(plan->res, &plan->why);
	else
		say_rejects(&plan->forecast);
	if (pen_cmd_set(plan->cmd, PEN_O_JSON))
		return print_json(plan);
	return plan->res < 0 ? plan->status : print_text(plan);
}
