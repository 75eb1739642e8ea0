/* SPDX-License-Identifier: MIT */
/*
 * items and events: rows of a batch, and what happened to it. Listed as they are read, so memory does not grow.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "include/penstock.h"
#include "tools/cmd.h"
#include "tools/home.h"
#include "tools/json.h"
#include "tools/live.h"
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
	if (item->ended_ms) { /* one of those that end by themselves */
		pen_jw_u64(jw, "crashes", item->crashes);
		pen_jw_u64(jw, "due_ms", item->due_ms);
		pen_jw_u64(jw, "ended_ms", item->ended_ms);
		pen_jw_data(jw, "stderr", item->stderr_tail.data, item->stderr_tail.len);
	}
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
	uint64_t removed = 0;
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
	if (!rc && !pen_retain_trimmed(store, id, &removed) && removed)
		pen_say_note("%llu older rows were removed by retention", (unsigned long long)removed);
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
	if (e->type == PEN_EVENT_RETRY || e->type == PEN_EVENT_DEAD_LETTERED) {
		pen_jw_u64(jw, "item", e->a);
		pen_jw_u64(jw, e->type == PEN_EVENT_RETRY ? "due_ms" : "attempts", e->b);
	} else {
		pen_jw_u64(jw, "bytes", e->a);
		pen_jw_u64(jw, "items", e->b);
	}
	pen_jw_object_end(jw);
	pen_jw_line(jw);
}

static void show_event(struct pen_out *out, const struct pen_event *e)
{
	char when[PEN_TEXT_NUMBER], id[PEN_TEXT_NUMBER], bytes[PEN_TEXT_NUMBER], items[PEN_TEXT_NUMBER];

	if (e->type == PEN_EVENT_RETRY || e->type == PEN_EVENT_DEAD_LETTERED) {
		bool again = e->type == PEN_EVENT_RETRY;

		pen_out_format(out, "%llu  %s  %s  %-12s item %llu  %s%s  %s\n", (unsigned long long)e->seq,
			       pen_text_time(when, e->time_ms), pen_text_id(id, e->batch),
			       pen_event_name(e->type), (unsigned long long)e->a, again ? "due " : "tries ",
			       again ? pen_text_time(bytes, e->b) : pen_text_count(items, e->b),
			       e->code ? pen_error_name(e->code) : "");
		return;
	}
	pen_out_format(out, "%llu  %s  %s  %-12s %s  %s items%s%s\n", (unsigned long long)e->seq,
		       pen_text_time(when, e->time_ms), pen_text_id(id, e->batch), pen_event_name(e->type),
		       pen_text_bytes(bytes, e->a), pen_text_count(items, e->b), e->code ? "  " : "",
		       e->code ? pen_error_name(e->code) : "");
}

/* ---- events --------------------------------------------------------------------------------- */

#define FOLLOW_MS 200u /* the store is looked at again after that, if no ring says something sooner */

struct listing {
	const struct pen_cmd *cmd;
	struct pen_store *store;
	uint64_t batch, next, left;
	bool ended; /* the batch will not say anything more */
	struct pen_out out;
	struct pen_jw jw;
	struct pen_ring ring; /* woken by it */
	bool rings;
};

static bool is_last(unsigned type)
{
	return type == PEN_EVENT_COMPLETED || type == PEN_EVENT_FAILED || type == PEN_EVENT_CANCELLED;
}

/* Lists what there is from `next` on, and moves it on. 0 or a code. */
static int list_events(struct listing *l)
{
	struct pen_cursor *cur;
	struct pen_event event;
	int rc = pen_events_open(l->store, l->batch, l->next, &cur);

	if (rc)
		return rc;
	while (l->left && !pen_out_failed(&l->out) && (rc = pen_events_next(cur, &event)) > 0) {
		if (pen_cmd_set(l->cmd, PEN_O_JSON))
			put_event(&l->jw, &event);
		else
			show_event(&l->out, &event);
		l->next = event.seq + 1;
		l->left--;
		l->ended = l->batch && is_last(event.type);
	}
	pen_cursor_close(cur);
	return rc < 0 ? rc : 0;
}

/* Until there may be more: the ring of an engine wakes us, if there is one. */
static void wait_more(struct listing *l, uint64_t store_id)
{
	struct pen_ring_event seen[64];
	uint64_t lost;
	int n;

	if (l->rings && pen_ring_life(&l->ring) != PEN_RING_ALIVE) {
		pen_ring_close(&l->ring);
		l->rings = false;
	}
	if (!l->rings)
		l->rings = pen_live_ring(store_id, &l->ring);
	if (!l->rings) {
		(void)nanosleep(&(struct timespec){ .tv_nsec = FOLLOW_MS * 1000000l }, NULL);
		return;
	}
	/* Only that something happened counts: the store says what. */
	do
		n = pen_ring_poll(&l->ring, seen, 64, &lost);
	while (n > 0);
	(void)pen_ring_wait(&l->ring, FOLLOW_MS);
}

/* A batch that had its last event before we began. */
static bool over(const struct listing *l)
{
	struct pen_batch_info b;

	return l->ended || (l->batch && !pen_batch_get(l->store, l->batch, &b) &&
			    (b.state == PEN_COMPLETED || b.state == PEN_FAILED || b.state == PEN_CANCELLED));
}

static int follow_events(struct listing *l)
{
	struct pen_store_info info;
	bool ending;
	int rc = 0;

	for (;;) {
		ending = over(l);
		rc = pen_store_info(l->store, &info);
		/* Looked at before the list: what comes in between is seen the next time round. */
		if (!rc && l->next <= info.last_event)
			rc = list_events(l);
		/* Nothing of this batch may be among them; others are not looked at twice. */
		if (!rc && l->next <= info.last_event && l->left)
			l->next = info.last_event + 1;
		pen_out_flush(&l->out);
		if (rc || !l->left || ending || l->ended || pen_out_failed(&l->out))
			break;
		wait_more(l, info.store_id);
	}
	if (l->rings)
		pen_ring_close(&l->ring);
	return rc;
}

/* Who asks for events that retention took is told how many. */
static void say_gone(const struct listing *l)
{
	struct pen_retain_info info = { .size = sizeof info };
	uint64_t from = l->next ? l->next : 1;

	if (!pen_retain_info(l->store, &info) && from < info.first_event &&
	    (pen_cmd_set(l->cmd, PEN_O_FROM_SEQ) || !l->batch))
		pen_say_note("events %llu to %llu (%llu of them) were removed by retention",
			     (unsigned long long)from, (unsigned long long)info.first_event - 1,
			     (unsigned long long)(info.first_event - from));
}

int pen_cmd_events(const struct pen_cmd *cmd)
{
	struct listing l = {
		.cmd = cmd,
		.next = pen_cmd_set(cmd, PEN_O_FROM_SEQ) ? pen_cmd_value(cmd, PEN_O_FROM_SEQ)->n : 1,
		.left = pen_cmd_set(cmd, PEN_O_LIMIT) ? pen_cmd_value(cmd, PEN_O_LIMIT)->n : UINT64_MAX,
	};
	int status = pen_home_open(cmd->args, false, &l.store), rc;

	if (status)
		return status;
	if (cmd->args->word_count)
		status = pen_cmd_batch(l.store, cmd->args->words[0], &l.batch);
	if (!status) {
		say_gone(&l);
		pen_out_init(&l.out, STDOUT_FILENO);
		pen_jw_init(&l.jw, &l.out);
		rc = pen_cmd_set(cmd, PEN_O_FOLLOW) ? follow_events(&l) : list_events(&l);
		status = pen_out_end(&l.out, rc ? pen_say_failure(rc, NULL) : 0);
	}
	pen_store_close(l.store);
	return status;
}
