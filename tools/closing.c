/* SPDX-License-Identifier: MIT */
#include "tools/closing.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tools/bar.h"
#include "tools/json.h"
#include "tools/out.h"
#include "tools/refusal.h"
#include "tools/say.h"
#include "tools/text.h"
#include "tools/ticker.h"

#define EXCERPT_AROUND 30
#define EXCERPT_CODES 3
#define EXCERPT_ROWS 1000 /* looked through for codes that differ */
#define COMMAND_BYTES (2 * PEN_OPTION_TEXT)

/* ---- numbers ------------------------------------------------------------------------------- */

/* The batch was over before this process began. */
static bool was_over(const struct pen_closing *end, const struct pen_batch_info *info)
{
	return info->ended_ms != 0 && info->ended_ms < end->cmd->start_ms;
}

static uint64_t run_ns(const struct pen_closing *end, const struct pen_batch_info *info)
{
	uint64_t last = end->progress.last_commit_ns;

	if (was_over(end, info))
		return info->active_ms * 1000000;
	if (end->measured && last > end->cmd->start_ns)
		return last - end->cmd->start_ns;
	return end->submit_ns - end->cmd->start_ns + info->active_ms * 1000000;
}

/* Items this run decided, of the time it took. */
static uint64_t rate(const struct pen_closing *end, const struct pen_batch_info *info, uint64_t ns)
{
	uint64_t items = info->counted.items;

	if (end->measured && items >= end->progress.resumed_items)
		items -= end->progress.resumed_items;
	return ns ? (uint64_t)((double)items * 1e9 / (double)ns + 0.5) : 0;
}

static int exit_status(const struct pen_closing *end, const struct pen_batch_info *info)
{
	uint64_t bad = info->counted.rejected + info->counted.failed;

	if (end->res == 0)
		return bad && !pen_cmd_set(end->cmd, PEN_O_ALLOW_REJECTS) ? 1 : 0;
	if (end->res == -PEN_INTERRUPTED_BY && end->sig)
		return 128 + end->sig;
	return pen_error_exit(end->res);
}

/* ---- stdout -------------------------------------------------------------------------------- */

/* Returns false when stdout could not take it. */
static bool print_object(const struct pen_closing *end, const struct pen_batch_info *info)
{
	const struct pen_counters *n = &info->counted;
	uint64_t ns = run_ns(end, info);
	struct pen_out out;
	struct pen_jw jw;

	pen_out_init(&out, STDOUT_FILENO);
	pen_jw_init(&jw, &out);
	pen_jw_object(&jw, NULL);
	pen_jw_id(&jw, "batch", info->id);
	pen_jw_text(&jw, "state", pen_state_name(info->state));
	pen_jw_bool(&jw, "resumed", info->resumed);
	pen_jw_u64(&jw, "items", n->items);
	pen_jw_u64(&jw, "committed", n->committed);
	pen_jw_u64(&jw, "rejected", n->rejected);
	pen_jw_u64(&jw, "failed", n->failed);
	pen_jw_u64(&jw, "skipped", n->skipped);
	pen_jw_u64(&jw, "duplicates", n->duplicates);
	pen_jw_u64(&jw, "bytes", n->bytes);
	pen_jw_milli(&jw, "seconds", (ns + 500000) / 1000000);
	pen_jw_u64(&jw, "items_per_s", rate(end, info, ns));
	pen_jw_text(&jw, "io", info->uring ? "uring" : "threads");
	pen_jw_text(&jw, "correlation_id", info->correlation_id);
	pen_jw_object_end(&jw);
	pen_jw_line(&jw);
	return pen_out_end(&out, 0) == 0;
}

/* ---- stderr -------------------------------------------------------------------------------- */

/* "penstock --store DIR" as far as the reader needs it to reach the same store. */
static void own_name(const struct pen_closing *end, char out[COMMAND_BYTES])
{
	const struct pen_value *store = pen_cmd_value(end->cmd, PEN_O_STORE);
	size_t at = (size_t)snprintf(out, COMMAND_BYTES, "penstock");

	if (store->set) {
		at += (size_t)snprintf(out + at, COMMAND_BYTES - at, " --store ");
		if (pen_text_quote(out + at, COMMAND_BYTES - at, store->text) >= COMMAND_BYTES - at)
			snprintf(out, COMMAND_BYTES, "penstock --store …");
	}
}

void pen_closing_excerpt(const void *raw, size_t len, uint64_t column, bool utf8,
			 char ret_line[PEN_EXCERPT_BYTES], char ret_caret[PEN_EXCERPT_BYTES])
{
	const unsigned char *p = raw;
	const char *more = utf8 ? "…" : "...";
	size_t at = column > 0 && column - 1 <= len ? (size_t)column - 1 : 0;
	size_t from = at > EXCERPT_AROUND ? at - EXCERPT_AROUND : 0;
	size_t to = len - at > EXCERPT_AROUND ? at + EXCERPT_AROUND : len;
	char left[PEN_EXCERPT_BYTES / 2 - 16], right[PEN_EXCERPT_BYTES / 2 - 16];

	while (from > 0 && from < at && (p[from] & 0xc0) == 0x80)
		from++;
	while (to < len && to > at && (p[to] & 0xc0) == 0x80)
		to--;
	pen_text_escape(left, sizeof left, p + from, at - from, NULL);
	pen_text_escape(right, sizeof right, p + at, to - at, NULL);
	snprintf(ret_line, PEN_EXCERPT_BYTES, "%s%s%s%s", from ? more : "", left, right,
		 to < len ? more : "");
	ret_caret[0] = '\0';
	if (column > 0 && column - 1 <= len)
		snprintf(ret_caret, PEN_EXCERPT_BYTES, "%*s^",
			 (int)(pen_bar_columns(left) + (from ? pen_bar_columns(more) : 0)), "");
}

void pen_closing_item(const struct pen_item *item)
{
	char line[PEN_EXCERPT_BYTES], caret[PEN_EXCERPT_BYTES], place[64] = "";
	uint64_t byte = item->offset + (item->column ? item->column - 1 : 0);

	if (item->line && item->column)
		snprintf(place, sizeof place, ":%llu:%llu", (unsigned long long)item->line,
			 (unsigned long long)item->column);
	else if (item->line)
		snprintf(place, sizeof place, ":%llu", (unsigned long long)item->line);
	pen_say_error(item->code, "%s",
		      item->message && *item->message ? item->message : pen_error_text(item->code));
	pen_say_line("  --> %s%s   (byte %llu; item %llu)", item->source ? item->source : "", place,
		     (unsigned long long)byte, (unsigned long long)item->seq);
	if (item->raw.len) {
		pen_closing_excerpt(item->raw.data, item->raw.len, item->column, pen_say_utf8(), line, caret);
		pen_say_line("   |  %s", line);
		if (caret[0])
			pen_say_line("   |  %s", caret);
	}
	if (*pen_error_advice(item->code))
		pen_say_advice("%s", pen_error_advice(item->code));
}

/* One example of each of the first few codes. */
static void say_rejects(const struct pen_closing *end)
{
	int seen[EXCERPT_CODES], count = 0;
	struct pen_cursor *cursor;
	struct pen_item item;

	if (pen_say_quiet() || pen_items_open(end->store, end->batch, 0, 0, -1, &cursor) != 0)
		return;
	for (int row = 0; row < EXCERPT_ROWS && count < EXCERPT_CODES && pen_items_next(cursor, &item) == 1;
	     row++) {
		bool known = item.state != PEN_ITEM_REJECTED && item.state != PEN_ITEM_FAILED &&
			     item.state != PEN_ITEM_QUARANTINED;

		for (int i = 0; i < count; i++)
			known |= seen[i] == item.code;
		if (known)
			continue;
		seen[count++] = item.code;
		pen_closing_item(&item);
	}
	pen_cursor_close(cursor);
}

static void say_numbers(const struct pen_closing *end, const struct pen_batch_info *info)
{
	const struct pen_counters *n = &info->counted;
	uint64_t ns = run_ns(end, info), bad = n->rejected + n->failed;
	char id[PEN_TEXT_NUMBER], a[PEN_TEXT_NUMBER], b[PEN_TEXT_NUMBER], c[PEN_TEXT_NUMBER],
		d[PEN_TEXT_NUMBER];
	char e[PEN_TEXT_NUMBER], f[PEN_TEXT_NUMBER], failed[64] = "", twice[64] = "", name[COMMAND_BYTES];

	if (n->failed)
		snprintf(failed, sizeof failed, " + %s failed", pen_text_count(f, n->failed));
	if (n->duplicates)
		snprintf(twice, sizeof twice, "  %s replaced", pen_text_count(f, n->duplicates));
	pen_say_closing(
		end->res == 0 && bad == 0,
		"batch %s %s  %s items = %s committed + %s rejected%s + %s skipped%s  %llu.%llu s  %s/s",
		pen_text_id(id, info->id), pen_state_name(info->state), pen_text_count(a, n->items),
		pen_text_count(b, n->committed), pen_text_count(c, n->rejected), failed,
		pen_text_count(d, n->skipped), twice, (unsigned long long)(ns / 1000000000),
		(unsigned long long)(ns / 100000000 % 10), pen_text_short(e, rate(end, info, ns)));
	if (bad && !pen_say_quiet()) {
		own_name(end, name);
		pen_say_line("  %s %s: %s items %s%s", pen_text_count(a, bad),
			     n->failed ? "rejected or failed" : "rejected", name, id,
			     n->failed ? "" : " --state rejected");
	}
}

/* The same command, as a shell takes it. */
static void say_resume(const struct pen_closing *end)
{
	struct pen_out out;

	if (end->stream && !pen_cmd_set(end->cmd, PEN_O_IDEMPOTENCY_KEY))
		pen_say_advice(
			"stdin has no identity: the same command starts a new batch (--idempotency-key gives it one)");
	pen_out_init(&out, STDERR_FILENO);
	pen_out_text(&out, "resume with:");
	for (int i = 0; i < end->cmd->argc; i++) {
		char word[4096];

		pen_out_char(&out, ' ');
		if (pen_text_quote(word, sizeof word, end->cmd->argv[i]) < sizeof word)
			pen_out_text(&out, word);
		else
			pen_out_bytes(&out, end->cmd->argv[i], strlen(end->cmd->argv[i]));
	}
	pen_out_char(&out, '\n');
	pen_out_end(&out, 0);
}

int pen_closing_refused(const struct pen_cmd *cmd, struct pen_store *store, uint64_t batch,
			const struct pen_failure *why)
{
	const struct pen_list *flags = &cmd->args->lists[PEN_O_FLAG - PEN_O_LABEL];
	const char *owner = pen_cmd_value(cmd, PEN_O_OWNER)->text;
	struct pen_flag_pin pin = { .name = "" };
	char own[256];
	struct pen_out out;
	struct pen_jw jw;
	int status = pen_say_failure(-PEN_FLAG_REFUSED, why);

	if (!pen_cmd_set(cmd, PEN_O_JSON))
		return status;
	if (!owner) {
		pen_cmd_own_name(own, sizeof own);
		owner = own;
	}
	if (!batch || pen_batch_held(store, batch, &pin) != 1)
		(void)pen_batch_may(store, owner, flags->at, flags->count, &pin, NULL);
	pen_out_init(&out, STDOUT_FILENO);
	pen_jw_init(&jw, &out);
	pen_jw_object(&jw, NULL);
	pen_jw_text(&jw, "refused", "flag");
	/* It may be on again by now: then only the sentence is left. */
	pen_jw_text(&jw, "flag", *pin.name ? pin.name : NULL);
	pen_jw_text(&jw, "reason", *pin.name ? pen_flag_reason_name(pin.verdict.reason) : NULL);
	pen_jw_text(&jw, "error_code", pin.verdict.error ? pen_flag_error_name(pin.verdict.error) : NULL);
	pen_jw_u64(&jw, "version", pin.verdict.version);
	pen_jw_data(&jw, "owner", owner, strlen(owner));
	pen_jw_text(&jw, "code", pen_error_name(-PEN_FLAG_REFUSED));
	pen_jw_data(&jw, "message", why->text, strlen(why->text));
	pen_jw_object_end(&jw);
	pen_jw_line(&jw);
	return pen_out_end(&out, status);
}

int pen_closing_end(const struct pen_closing *end)
{
	struct pen_batch_info info;
	bool known = end->batch && pen_batch_get(end->store, end->batch, &info) == 0;
	bool ended = end->res == 0 || end->res == -PEN_STOPPED_BY || end->res == -PEN_INTERRUPTED_BY ||
		     end->res == -PEN_CANCELLED_BY;
	int status;

	if (end->res == -PEN_FLAG_REFUSED)
		return pen_closing_refused(end->cmd, end->store, end->batch, &end->why);
	if (!known || !ended) {
		status = end->res < 0 ? pen_say_failure(end->res, &end->why) : 0;
		if (end->res == -PEN_LIMIT_REFUSED)
			pen_refusal_batch(end->cmd, end->store);
		if (end->res == -PEN_INTERRUPTED_BY && end->sig)
			status = 128 + end->sig;
		if (end->res == -PEN_INTERRUPTED_BY)
			say_resume(end);
		return status;
	}
	status = exit_status(end, &info);
	if (end->res == 0 && was_over(end, &info)) {
		char id[PEN_TEXT_NUMBER];

		pen_say_note("batch %s was complete already; nothing was done (--fresh makes a new one)",
			     pen_text_id(id, info.id));
	}
	if (info.counted.rejected + info.counted.failed)
		say_rejects(end);
	if (end->res == -PEN_STOPPED_BY)
		pen_say_failure(end->res, &end->why);
	say_numbers(end, &info);
	if (end->res == -PEN_INTERRUPTED_BY)
		say_resume(end);
	if (pen_cmd_set(end->cmd, PEN_O_JSON) && !print_object(end, &info) && status == 0)
		status = 3;
	return status;
}
