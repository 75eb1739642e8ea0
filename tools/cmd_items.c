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
#include "tools/key.h"
#include "tools/live.h"
#include "tools/say.h"
#include "tools/tally.h"
#include "tools/text.h"

/* What is to be listed. */
struct wanted {
	const struct pen_cmd *cmd;
	struct pen_store *store;
	struct pen_batch_info info;
	int state, code;
	struct pen_where *where;
};

static void put_try(struct pen_jw *jw, const struct pen_item *item)
{
	char when[PEN_TEXT_NUMBER];

	if (item->exit_status >= 0)
		pen_jw_u64(jw, "exit_status", (uint64_t)item->exit_status);
	else
		pen_jw_null(jw, "exit_status");
	if (item->term_signal)
		pen_jw_u64(jw, "term_signal", (uint64_t)item->term_signal);
	else
		pen_jw_null(jw, "term_signal");
	pen_jw_milli(jw, "spent_ms", item->spent_us);
	pen_jw_u64(jw, "crashes", item->crashes);
	pen_jw_text(jw, "due", item->due_ms ? pen_text_time(when, item->due_ms) : NULL);
	pen_jw_text(jw, "ended", pen_text_time(when, item->ended_ms));
	pen_jw_data(jw, "stderr", item->stderr_tail.data, item->stderr_tail.len);
}

static void put_item(const struct wanted *w, struct pen_jw *jw, const char *name, const struct pen_item *item)
{
	pen_jw_object(jw, name);
	pen_jw_id(jw, "batch", item->batch);
	pen_jw_text(jw, "correlation_id", w->info.correlation_id);
	pen_jw_u64(jw, "seq", item->seq);
	pen_jw_text(jw, "state", pen_item_state_name(item->state));
	pen_jw_data(jw, "source", item->source, strlen(item->source));
	pen_jw_u64(jw, "line", item->line);
	pen_jw_u64(jw, "offset", item->offset);
	pen_jw_u64(jw, "column", item->column);
	pen_jw_text(jw, "code", item->code ? pen_error_name(item->code) : NULL);
	if (*item->message)
		pen_jw_data(jw, "message", item->message, strlen(item->message));
	else
		pen_jw_null(jw, "message");
	pen_jw_data(jw, "raw", item->raw.data, item->raw.len);
	pen_jw_u64(jw, "raw_total", item->raw_total);
	pen_jw_u64(jw, "attempts", item->attempts);
	pen_key_put(w->cmd, jw, &(struct pen_dataset_info){ .key_kind = w->info.key_kind }, item->key);
	if (item->ended_ms)
		put_try(jw, item);
	pen_jw_object_end(jw);
}

static void show_place(struct pen_out *out, const struct pen_item *item)
{
	pen_out_safe(out, item->source, strlen(item->source), false);
	if (item->line)
		pen_out_format(out, ":%llu", (unsigned long long)item->line);
	if (item->column)
		pen_out_format(out, ":%llu", (unsigned long long)item->column);
}

static void show_item(struct pen_out *out, const struct pen_item *item)
{
	char when[PEN_TEXT_NUMBER];

	pen_out_format(out, "%llu  %s  %s  ", (unsigned long long)item->seq, pen_item_state_name(item->state),
		       item->code ? pen_error_name(item->code) : "-");
	show_place(out, item);
	if (*item->message) {
		pen_out_text(out, "  ");
		pen_out_safe(out, item->message, strlen(item->message), false);
	}
	if (item->due_ms)
		pen_out_format(out, "  (tried %ux, next try due %s)", item->attempts,
			       pen_text_time(when, item->due_ms));
	pen_out_char(out, '\n');
}

static int item_state(const char *name)
{
	for (int s = PEN_ITEM_COMMITTED; s <= PEN_ITEM_RETRYING; s++)
		if (!strcmp(pen_item_state_name((enum pen_item_state)s), name))
			return s;
	return 0;
}

static int64_t behind(const struct pen_cmd *cmd)
{
	return pen_cmd_set(cmd, PEN_O_AFTER) ? pen_cmd_value(cmd, PEN_O_AFTER)->i : -1;
}

static uint64_t most(const struct pen_cmd *cmd)
{
	return pen_cmd_set(cmd, PEN_O_LIMIT) ? pen_cmd_value(cmd, PEN_O_LIMIT)->n : UINT64_MAX;
}

/* The next item that fits: 1, 0 at the end, or a code. */
static int next_item(const struct wanted *w, struct pen_cursor *cur, struct pen_item *ret)
{
	int rc;

	do
		rc = pen_items_next(cur, ret);
	while (rc > 0 && w->where && !pen_where_match(w->where, ret));
	return rc;
}

static int list_items(const struct wanted *w)
{
	uint64_t left = most(w->cmd);
	struct pen_cursor *cur;
	struct pen_item item;
	struct pen_out out;
	struct pen_jw jw;
	int rc = pen_items_open(w->store, w->info.id, w->state, w->code, behind(w->cmd), &cur);

	if (rc)
		return pen_say_failure(rc, NULL);
	pen_out_init(&out, STDOUT_FILENO);
	pen_jw_init(&jw, &out);
	while (left-- && !pen_out_failed(&out) && (rc = next_item(w, cur, &item)) > 0) {
		if (!pen_cmd_set(w->cmd, PEN_O_JSON)) {
			show_item(&out, &item);
			continue;
		}
		put_item(w, &jw, NULL, &item);
		pen_jw_line(&jw);
	}
	pen_cursor_close(cur);
	rc = rc < 0 ? pen_say_failure(rc, NULL) : 0;
	return pen_out_end(&out, rc);
}

/* ---- groups ---------------------------------------------------------------------------------- */

static int count_state(const struct wanted *w, int state, bool errors, struct pen_tally *tally)
{
	struct pen_cursor *cur;
	struct pen_item item;
	int rc = pen_items_open(w->store, w->info.id, state, w->code, behind(w->cmd), &cur);

	if (rc)
		return rc;
	while ((rc = next_item(w, cur, &item)) > 0)
		if (item.code || !errors)
			pen_tally_add(tally, &item);
	pen_cursor_close(cur);
	return rc;
}

/* By error and code: states whose rows are found through the index are asked one by one, and the rows of a million
 * committed items are not looked at. */
static int count_all(const struct wanted *w, enum pen_tally_by by, struct pen_tally *tally)
{
	static const int states[] = { PEN_ITEM_REJECTED, PEN_ITEM_FAILED, PEN_ITEM_QUARANTINED,
				      PEN_ITEM_RETRYING, PEN_ITEM_SKIPPED };
	int rc = 0;

	if (by == PEN_TALLY_STATE || w->state)
		return count_state(w, w->state, by != PEN_TALLY_STATE, tally);
	for (size_t i = 0; i < sizeof states / sizeof states[0] && !rc; i++)
		if (states[i] != PEN_ITEM_SKIPPED || w->info.counted.skipped)
			rc = count_state(w, states[i], true, tally);
	return rc;
}

/* The first item of a group, if it is still what it was. */
static void put_sample(const struct wanted *w, struct pen_jw *jw, struct pen_out *out,
		       const struct pen_tally_group *g)
{
	struct pen_cursor *cur = NULL;
	struct pen_item item;
	bool there = !pen_items_open(w->store, w->info.id, 0, 0, (int64_t)g->first - 1, &cur) &&
		     pen_items_next(cur, &item) == 1 && item.seq == g->first;

	if (out) {
		pen_out_format(out, "  (first: item %llu", (unsigned long long)g->first);
		if (there && *item.source) {
			pen_out_text(out, ", ");
			show_place(out, &item);
		}
		pen_out_text(out, ")\n");
	} else if (there) {
		put_item(w, jw, "sample", &item);
	} else {
		pen_jw_null(jw, "sample");
	}
	pen_cursor_close(cur);
}

static void put_group(const struct wanted *w, struct pen_jw *jw, enum pen_tally_by by,
		      const struct pen_tally_group *g)
{
	pen_jw_object(jw, NULL);
	if (by == PEN_TALLY_ERROR)
		pen_jw_data(jw, "error", g->name, strlen(g->name));
	if (by == PEN_TALLY_STATE)
		pen_jw_text(jw, "state", pen_item_state_name(g->state));
	else
		pen_jw_text(jw, "code", pen_error_name(g->code));
	pen_jw_u64(jw, "items", g->items);
	put_sample(w, jw, NULL, g);
	pen_jw_object_end(jw);
	pen_jw_line(jw);
}

static void show_group(const struct wanted *w, struct pen_out *out, enum pen_tally_by by,
		       const struct pen_tally_group *g)
{
	const char *what = by == PEN_TALLY_CODE ? pen_error_text(g->code) : g->name;
	char n[PEN_TEXT_NUMBER];

	pen_out_format(out, "%9s  ", pen_text_count(n, g->items));
	if (by == PEN_TALLY_STATE) {
		pen_out_text(out, pen_item_state_name(g->state));
	} else {
		pen_out_format(out, "%s  ", pen_error_name(g->code));
		pen_out_safe(out, what, strlen(what), false);
	}
	put_sample(w, NULL, out, g);
}

static void put_others(struct pen_out *out, struct pen_jw *jw, bool json, uint64_t others)
{
	char n[PEN_TEXT_NUMBER];

	if (!json) {
		pen_out_format(out, "%9s  of more than %u different groups\n", pen_text_count(n, others),
			       PEN_TALLY_GROUPS);
		return;
	}
	pen_jw_object(jw, NULL);
	pen_jw_null(jw, "others");
	pen_jw_u64(jw, "items", others);
	pen_jw_object_end(jw);
	pen_jw_line(jw);
}

static int group_items(const struct wanted *w)
{
	enum pen_tally_by by = (enum pen_tally_by)pen_cmd_value(w->cmd, PEN_O_GROUP_BY)->n;
	bool json = pen_cmd_set(w->cmd, PEN_O_JSON);
	struct pen_tally *tally = pen_tally_new(by);
	const struct pen_tally_group *groups;
	struct pen_out out;
	struct pen_jw jw;
	uint64_t others, left = most(w->cmd);
	uint32_t count;
	int rc = tally ? count_all(w, by, tally) : -PEN_MEMORY;

	if (rc) {
		pen_tally_free(tally);
		return pen_say_failure(rc, NULL);
	}
	groups = pen_tally_done(tally, &count, &others);
	pen_out_init(&out, STDOUT_FILENO);
	pen_jw_init(&jw, &out);
	for (uint32_t i = 0; i < count && left-- && !pen_out_failed(&out); i++) {
		if (json)
			put_group(w, &jw, by, &groups[i]);
		else
			show_group(w, &out, by, &groups[i]);
	}
	if (others)
		put_others(&out, &jw, json, others);
	pen_tally_free(tally);
	return pen_out_end(&out, 0);
}

static int show(struct wanted *w)
{
	const char *where = pen_cmd_value(w->cmd, PEN_O_WHERE)->text;
	struct pen_failure why = { 0 };
	uint64_t id;
	int rc;

	if (where) {
		rc = pen_where_parse(where, &w->where, &why);
		if (rc)
			return pen_say_failure(rc, &why);
	}
	rc = pen_home_open(w->cmd->args, false, &w->store);
	if (rc)
		return rc;
	rc = pen_cmd_batch(w->store, w->cmd->args->words[0], &id);
	if (!rc) {
		rc = pen_batch_get(w->store, id, &w->info);
		rc = rc					   ? pen_say_failure(rc, NULL)
		     : pen_cmd_set(w->cmd, PEN_O_GROUP_BY) ? group_items(w)
							   : list_items(w);
		if (!rc && w->info.rows_removed)
			pen_say_note("%llu older rows were removed by retention",
				     (unsigned long long)w->info.rows_removed);
	}
	pen_store_close(w->store);
	return rc;
}

int pen_cmd_items(const struct pen_cmd *cmd)
{
	const char *state = pen_cmd_value(cmd, PEN_O_STATE)->text,
		   *code = pen_cmd_value(cmd, PEN_O_CODE)->text;
	struct wanted w = {
		.cmd = cmd,
		.state = state ? item_state(state) : 0,
		.code = code ? pen_error_find(code) : 0,
	};
	int rc;

	if (code && !w.code) {
		pen_say_error(-PEN_USAGE, "there is no code '%s'", code);
		pen_say_advice("`penstock explain --list` shows all codes");
		return 2;
	}
	rc = show(&w);
	pen_where_free(w.where);
	return rc;
}

/* ---- events --------------------------------------------------------------------------------- */

struct listing {
	const struct pen_cmd *cmd;
	struct pen_store *store;
	uint64_t batch, next, left;
	bool ended; /* the batch will not say anything more */
	struct pen_out out;
	struct pen_jw jw;
	struct pen_ring ring; /* woken by it */
	bool rings;
	struct pen_context context; /* of batch `about` */
	uint64_t about;
};

/* For whom the batch is; retention may have taken it. One event after another is mostly about the same one. */
static const char *correlation_of(struct listing *l, uint64_t batch)
{
	if (l->about != batch && pen_batch_context(l->store, batch, &l->context))
		l->context = (struct pen_context){ 0 };
	l->about = batch;
	return *l->context.correlation_id ? l->context.correlation_id : NULL;
}

static void put_event(struct listing *l, const struct pen_event *e)
{
	struct pen_jw *jw = &l->jw;
	char due[PEN_TEXT_NUMBER];

	pen_jw_object(jw, NULL);
	pen_jw_u64(jw, "seq", e->seq);
	pen_jw_u64(jw, "time_ms", e->time_ms);
	pen_jw_text(jw, "type", pen_event_name(e->type));
	pen_jw_id(jw, "batch", e->batch);
	pen_jw_text(jw, "correlation_id", correlation_of(l, e->batch));
	pen_jw_text(jw, "code", e->code ? pen_error_name(e->code) : NULL);
	switch (e->type) {
	case PEN_EVENT_RETRY:
		pen_jw_u64(jw, "item", e->a);
		pen_jw_text(jw, "due", pen_text_time(due, e->b));
		pen_jw_u64(jw, "due_ms", e->b);
		break;
	case PEN_EVENT_DEAD_LETTERED:
		pen_jw_u64(jw, "item", e->a);
		pen_jw_u64(jw, "attempts", e->b);
		break;
	case PEN_EVENT_DEPENDENCY_READY:
		pen_jw_u64(jw, "parents", e->a);
		break;
	default:
		pen_jw_u64(jw, "bytes", e->a);
		pen_jw_u64(jw, "items", e->b);
		break;
	}
	pen_jw_object_end(jw);
	pen_jw_line(jw);
}

/* What happened in numbers. */
static void show_numbers(struct pen_out *out, const struct pen_event *e)
{
	char a[PEN_TEXT_NUMBER], b[PEN_TEXT_NUMBER];

	switch (e->type) {
	case PEN_EVENT_RETRY:
		pen_out_format(out, "item %llu, due %s", (unsigned long long)e->a, pen_text_time(b, e->b));
		break;
	case PEN_EVENT_DEAD_LETTERED:
		pen_out_format(out, "item %llu, tried %llux", (unsigned long long)e->a,
			       (unsigned long long)e->b);
		break;
	case PEN_EVENT_DEPENDENCY_READY:
		pen_out_format(out, "%llu parents", (unsigned long long)e->a);
		break;
	default:
		pen_out_format(out, "%s  %s items", pen_text_bytes(a, e->a), pen_text_count(b, e->b));
		break;
	}
}

static void show_event(struct pen_out *out, const struct pen_event *e)
{
	char when[PEN_TEXT_NUMBER], id[PEN_TEXT_NUMBER];

	pen_out_format(out, "%llu  %s  %s  %-13s ", (unsigned long long)e->seq,
		       pen_text_time(when, e->time_ms), pen_text_id(id, e->batch), pen_event_name(e->type));
	show_numbers(out, e);
	pen_out_format(out, "%s%s\n", e->code ? "  " : "", e->code ? pen_error_name(e->code) : "");
}

#define FOLLOW_MS 200u /* the store is looked at again after that, if no ring says something sooner */

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
			put_event(l, &event);
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
