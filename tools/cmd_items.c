/* SPDX-License-Identifier: MIT */
/*
 * items and events: rows of a batch, and what happened to it. Listed as they are read, so memory does not grow.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "include/penstock.h"
#include "tools/cmd.h"
#include "tools/home.h"
#include "tools/json.h"
#include "tools/say.h"
#include "tools/text.h"

static void put_item(struct pen_jw *jw, const struct pen_item *item)
{
	pen_jw_object(jw, NULL);
	pen_jw_id(jw, "batch", item->batch);
	pen_jw_u64(jw, "seq", item->seq);
	pen_jw_text(jw, "state", pen_item_state_name(item->state));
	pen_jw_data(jw, "source", item->source, strlen(item->source));
	pen_jw_u64(jw, "line", item->line);
	pen_jw_u64(jw, "offset", item->offset);
	pen_jw_u64(jw, "column", item->column);
	pen_jw_text(jw, "code", item->code ? pen_error_name(item->code) : NULL);
	pen_jw_text(jw, "message", item->message);
	pen_jw_data(jw, "raw", item->raw.data, item->raw.len);
	pen_jw_u64(jw, "raw_total", item->raw_total);
	pen_jw_u64(jw, "attempts", item->attempts);
	pen_jw_data(jw, "key", item->key.data, item->key.len);
	pen_jw_object_end(jw);
	pen_jw_line(jw);
}

static void show_item(struct pen_out *out, const struct pen_item *item)
{
	pen_out_format(out, "%llu  %s  %s  ", (unsigned long long)item->seq, pen_item_state_name(item->state),
		       item->code ? pen_error_name(item->code) : "-");
	pen_out_safe(out, item->source, strlen(item->source), false);
	if (item->line)
		pen_out_format(out, ":%llu", (unsigned long long)item->line);
	if (item->column)
		pen_out_format(out, ":%llu", (unsigned long long)item->column);
	pen_out_text(out, "  ");
	pen_out_safe(out, item->message, strlen(item->message), false);
	pen_out_char(out, '\n');
}

static int item_state(const char *name)
{
	for (int s = PEN_ITEM_COMMITTED; s <= PEN_ITEM_RETRYING; s++)
		if (!strcmp(pen_item_state_name((enum pen_item_state)s), name))
			return s;
	return 0;
}

static int list_items(const struct pen_cmd *cmd, struct pen_store *store, uint64_t id, int state, int code)
{
	uint64_t limit = pen_cmd_set(cmd, PEN_O_LIMIT) ? pen_cmd_value(cmd, PEN_O_LIMIT)->n : UINT64_MAX;
	int64_t after = pen_cmd_set(cmd, PEN_O_AFTER) ? pen_cmd_value(cmd, PEN_O_AFTER)->i : -1;
	struct pen_cursor *cur;
	struct pen_item item;
	struct pen_out out;
	struct pen_jw jw;
	int rc = pen_items_open(store, id, state, code, after, &cur);

	if (rc)
		return pen_say_failure(rc, NULL);
	pen_out_init(&out, STDOUT_FILENO);
	pen_jw_init(&jw, &out);
	while (limit-- && !pen_out_failed(&out) && (rc = pen_items_next(cur, &item)) > 0) {
		if (pen_cmd_set(cmd, PEN_O_JSON))
			put_item(&jw, &item);
		else
			show_item(&out, &item);
	}
	pen_cursor_close(cur);
	rc = rc < 0 ? pen_say_failure(rc, NULL) : 0;
	return pen_out_end(&out, rc);
}

int pen_cmd_items(const struct pen_cmd *cmd)
{
	const char *state = pen_cmd_value(cmd, PEN_O_STATE)->text,
		   *code_text = pen_cmd_value(cmd, PEN_O_CODE)->text;
	int code = code_text ? pen_error_find(code_text) : 0;
	struct pen_store *store;
	uint64_t id;
	int rc;

	if (code_text && !code) {
		pen_say_error(-PEN_USAGE, "there is no code '%s'", code_text);
		pen_say_advice("`penstock explain --list` shows all codes");
		return 2;
	}
	rc = pen_home_open(cmd->args, false, &store);
	if (rc)
		return rc;
	rc = pen_cmd_batch(store, cmd->args->words[0], &id);
	if (!rc)
		rc = list_items(cmd, store, id, state ? item_state(state) : 0, code);
	pen_store_close(store);
	return rc;
}

static void put_event(struct pen_jw *jw, const struct pen_event *e)
{
	pen_jw_object(jw, NULL);
	pen_jw_u64(jw, "seq", e->seq);
	pen_jw_u64(jw, "time_ms", e->time_ms);
	pen_jw_text(jw, "type", pen_event_name(e->type));
	pen_jw_id(jw, "batch", e->batch);
	pen_jw_text(jw, "code", e->code ? pen_error_name(e->code) : NULL);
	pen_jw_u64(jw, "bytes", e->a);
	pen_jw_u64(jw, "items", e->b);
	pen_jw_object_end(jw);
	pen_jw_line(jw);
}

static void show_event(struct pen_out *out, const struct pen_event *e)
{
	char when[PEN_TEXT_NUMBER], id[PEN_TEXT_NUMBER], bytes[PEN_TEXT_NUMBER], items[PEN_TEXT_NUMBER];

	pen_out_format(out, "%llu  %s  %s  %-12s %s  %s items%s%s\n", (unsigned long long)e->seq,
		       pen_text_time(when, e->time_ms), pen_text_id(id, e->batch), pen_event_name(e->type),
		       pen_text_bytes(bytes, e->a), pen_text_count(items, e->b), e->code ? "  " : "",
		       e->code ? pen_error_name(e->code) : "");
}

int pen_cmd_events(const struct pen_cmd *cmd)
{
	uint64_t limit = pen_cmd_set(cmd, PEN_O_LIMIT) ? pen_cmd_value(cmd, PEN_O_LIMIT)->n : UINT64_MAX;
	struct pen_cursor *cur = NULL;
	struct pen_store *store;
	struct pen_event event;
	struct pen_out out;
	struct pen_jw jw;
	uint64_t id = 0;
	int status = pen_home_open(cmd->args, false, &store), rc = 0;

	if (status)
		return status;
	if (cmd->args->word_count)
		status = pen_cmd_batch(store, cmd->args->words[0], &id);
	if (!status && (rc = pen_events_open(store, id, pen_cmd_value(cmd, PEN_O_FROM_SEQ)->n, &cur)))
		status = pen_say_failure(rc, NULL);
	if (!status) {
		pen_out_init(&out, STDOUT_FILENO);
		pen_jw_init(&jw, &out);
		while (limit-- && !pen_out_failed(&out) && (rc = pen_events_next(cur, &event)) > 0) {
			if (pen_cmd_set(cmd, PEN_O_JSON))
				put_event(&jw, &event);
			else
				show_event(&out, &event);
		}
		pen_cursor_close(cur);
		status = pen_out_end(&out, rc < 0 ? pen_say_failure(rc, NULL) : 0);
	}
	pen_store_close(store);
	return status;
}
