/* SPDX-License-Identifier: MIT */
/*
 * watch: what a store's engines are doing, as it happens.
 *
 *   - on a terminal: a picture (tools/screen.c), until q
 *   - elsewhere: a line for each batch whose numbers changed, at most one a second
 *   - with --json: every event of every ring, one object a line, with what was so at the beginning and after a loss
 *
 * Of one batch (watch BATCH): ends when it ends, with the status that `run` would have ended with.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "include/penstock.h"
#include "tools/board.h"
#include "tools/cmd.h"
#include "tools/home.h"
#include "tools/json.h"
#include "tools/say.h"
#include "tools/screen.h"
#include "tools/text.h"
#include "tools/ticker.h"
#include "tools/view.h"

#define DRAW_MS 200
#define LINE_NS 1000000000ull
#define LAST_WORDS_NS 150000000ull
#define TURN_MS 100 /* a look at the rings, when no engine wakes us */
#define TURNS_MS 20 /* the same with several engines: one cannot sleep on all of them */

struct watch {
	const struct pen_cmd *cmd;
	struct pen_board *board;
	struct pen_out out;
	struct pen_jw jw;
	/* Lines: what each row said last. */
	struct {
		uint64_t batch, updated_ms;
		enum pen_state state;
	} said[PEN_BOARD_ROWS];
	unsigned said_count;
	bool waiting_said;
};

/* ---- the end of one batch ------------------------------------------------------------------ */

/* The status `run` ends with for a batch in this state. */
static int status_of(const struct pen_board_row *row)
{
	switch (row->state) {
	case PEN_COMPLETED:
		return row->counted.rejected + row->counted.failed ? 1 : 0;
	case PEN_STOPPED:
		return pen_error_exit(row->code ? row->code : -PEN_STOPPED_BY);
	case PEN_INTERRUPTED:
		return pen_error_exit(-PEN_INTERRUPTED_BY);
	case PEN_CANCELLED:
		return pen_error_exit(-PEN_CANCELLED_BY);
	default:
		return row->code ? pen_error_exit(row->code) : 3;
	}
}

/* Is the one batch over, in the store as well? Its last numbers are looked at anew then. */
static const struct pen_board_row *ended(struct watch *w)
{
	const struct pen_board_row *row = w->board->only ? pen_board_find(w->board, w->board->only) : NULL;
	struct pen_batch_info info;

	if (!row || pen_batch_get(w->board->store, row->batch, &info) != 0 || !pen_board_over(info.state) ||
	    info.runner_pid)
		return NULL;
	w->board->store_ns = 0;
	pen_board_look(w->board, pen_ticker_now());
	row = pen_board_find(w->board, w->board->only);
	return row && pen_board_over(row->state) ? row : NULL;
}

/* ---- lines --------------------------------------------------------------------------------- */

static void put_clock(struct pen_out *out, uint64_t ms)
{
	time_t seconds = (time_t)(ms / 1000);
	struct tm tm;
	char text[16] = "--:--:--";

	if (localtime_r(&seconds, &tm))
		strftime(text, sizeof text, "%H:%M:%S", &tm);
	pen_out_format(out, "%s  ", text);
}

static void line_life(void *arg, const struct pen_board_engine *e)
{
	struct watch *w = arg;

	put_clock(&w->out, w->board->now_ms);
	pen_out_format(&w->out, "engine %s process %u %s\n", e->name, e->ring.header.writer_pid,
		       pen_board_life_name(e->life));
}

static void put_line(struct watch *w, const struct pen_board_row *r)
{
	char id[PEN_TEXT_NUMBER], a[PEN_TEXT_NUMBER], b[PEN_TEXT_NUMBER];
	int permille = pen_board_permille(r);
	uint64_t bad = r->counted.rejected + r->counted.failed;
	bool runs = r->engine >= 0 && !pen_board_over(r->state);

	put_clock(&w->out, w->board->now_ms);
	pen_out_format(&w->out, "%s  %s", pen_text_id(id, r->batch),
		       r->state == PEN_RUNNING && r->code ? "paused" : pen_state_name(r->state));
	if (permille >= 0)
		pen_out_format(&w->out, "  %d%%", permille / 10);
	pen_out_format(&w->out, "  %s", pen_text_count(a, r->counted.items));
	if (r->items_total)
		pen_out_format(&w->out, " of %s", pen_text_count(b, r->items_total));
	pen_out_text(&w->out, " items");
	if (runs)
		pen_out_format(&w->out, "  %s/s", pen_text_short(a, (r->rate_milli + 500) / 1000));
	if (runs && r->eta_ms != PEN_RING_UNKNOWN)
		pen_out_format(&w->out, "  ETA %s", pen_text_clock(a, (r->eta_ms + 999) / 1000));
	if (bad)
		pen_out_format(&w->out, "  rejected %s", pen_text_count(a, bad));
	if (r->code)
		pen_out_format(&w->out, "  %s %s", pen_error_name(r->code), pen_error_text(r->code));
	pen_out_format(&w->out, "  %s  %s\n", r->owner, r->source);
}

/* Rows that changed since they were said; what was over when we began is no news. */
static void put_lines(struct watch *w, bool first)
{
	struct watch before = { .said_count = w->said_count };

	memcpy(before.said, w->said, sizeof w->said);
	w->said_count = 0;
	for (unsigned i = 0; i < w->board->row_count; i++) {
		const struct pen_board_row *r = &w->board->rows[i];
		bool news = !first || !pen_board_over(r->state) || w->board->only;

		for (unsigned j = 0; j < before.said_count; j++)
			if (before.said[j].batch == r->batch)
				news = before.said[j].updated_ms != r->updated_ms ||
				       before.said[j].state != r->state;
		if (news)
			put_line(w, r);
		w->said[w->said_count].batch = r->batch;
		w->said[w->said_count].updated_ms = r->updated_ms;
		w->said[w->said_count++].state = r->state;
	}
}

/* ---- JSON ---------------------------------------------------------------------------------- */

static void begin_object(struct watch *w, const char *event, const struct pen_board_engine *e)
{
	pen_jw_object(&w->jw, NULL);
	pen_jw_u64(&w->jw, "v", 1);
	pen_jw_text(&w->jw, "event", event);
	if (e)
		pen_jw_text(&w->jw, "engine", e->name);
}

static void end_object(struct watch *w)
{
	pen_jw_object_end(&w->jw);
	pen_jw_line(&w->jw);
}

static void put_code(struct watch *w, int code)
{
	pen_jw_text(&w->jw, "code", code ? pen_error_name(code) : NULL);
}

static void put_eta(struct watch *w, uint64_t eta_ms)
{
	if (eta_ms == PEN_RING_UNKNOWN)
		pen_jw_null(&w->jw, "eta_s");
	else
		pen_jw_milli(&w->jw, "eta_s", eta_ms);
}

static void put_live(struct watch *w, const struct pen_board_engine *e, uint32_t slot, uint64_t batch)
{
	struct pen_ring_names names;
	struct pen_ring_gauge g;

	pen_jw_object(&w->jw, "live");
	if (pen_ring_names(&e->ring, slot, batch, &names) && pen_ring_gauge(&e->ring, slot, &g) == 1 &&
	    g.batch_id == batch)
		for (unsigned i = 0; i < PEN_RING_LIVE; i++)
			if (names.live[i][0] && pen_text_utf8(names.live[i], strlen(names.live[i])))
				pen_jw_u64(&w->jw, names.live[i], g.live[i]);
	pen_jw_object_end(&w->jw);
}

/* The numbers of a batch, as they are now. */
static void json_batch(struct watch *w, const char *event, const struct pen_board_row *r, bool with_exit)
{
	const struct pen_board_engine *e = r->engine >= 0 ? &w->board->engines[r->engine] : NULL;

	begin_object(w, event, e);
	pen_jw_id(&w->jw, "batch", r->batch);
	pen_jw_text(&w->jw, "state", pen_state_name(r->state));
	put_code(w, r->code);
	pen_jw_u64(&w->jw, "items", r->counted.items);
	pen_jw_u64(&w->jw, "committed", r->counted.committed);
	pen_jw_u64(&w->jw, "rejected", r->counted.rejected);
	pen_jw_u64(&w->jw, "failed", r->counted.failed);
	pen_jw_u64(&w->jw, "skipped", r->counted.skipped);
	pen_jw_u64(&w->jw, "duplicates", r->counted.duplicates);
	pen_jw_u64(&w->jw, "retrying", r->retrying);
	pen_jw_u64(&w->jw, "items_total", r->items_total);
	pen_jw_u64(&w->jw, "bytes", r->bytes_done);
	pen_jw_u64(&w->jw, "bytes_total", r->bytes_total);
	pen_jw_milli(&w->jw, "rate", r->rate_milli);
	put_eta(w, r->eta_ms);
	pen_jw_u64(&w->jw, "started_ms", r->started_ms);
	pen_jw_u64(&w->jw, "updated_ms", r->updated_ms);
	pen_jw_u64(&w->jw, "attempt", r->attempt);
	pen_jw_text(&w->jw, "owner", r->owner);
	pen_jw_text(&w->jw, "source", r->source);
	pen_jw_text(&w->jw, "label", r->label[0] ? r->label : NULL);
	if (e)
		put_live(w, e, r->slot, r->batch);
	if (with_exit)
		pen_jw_u64(&w->jw, "exit", (uint64_t)status_of(r));
	end_object(w);
}

static void json_life(void *arg, const struct pen_board_engine *e)
{
	struct watch *w = arg;

	begin_object(w, "engine", e);
	pen_jw_text(&w->jw, "life", pen_board_life_name(e->life));
	pen_jw_u64(&w->jw, "pid", e->ring.header.writer_pid);
	pen_jw_u64(&w->jw, "epoch", e->ring.header.epoch);
	pen_jw_bool(&w->jw, "uring", e->ring.header.compat_flags & PEN_RING_COMPAT_URING);
	end_object(w);
}

static const char *type_name(unsigned type)
{
	static const char *const ours[] = { "error", "error_standard", "error_domain", "done" };

	return type >= PEN_RING_EV_ERROR && type <= PEN_RING_EV_DONE ? ours[type - PEN_RING_EV_ERROR]
	       : type == PEN_RING_EV_STALL			     ? "stall"
	       : type == PEN_RING_EV_STALLED			     ? "stalled"
								     : pen_event_name(type);
}

/* What a and b are called. */
static void put_numbers(struct watch *w, const struct pen_ring_event *e)
{
	switch (e->type) {
	case PEN_RING_EV_QUEUED:
		pen_jw_u64(&w->jw, "bytes_total", e->a);
		pen_jw_u64(&w->jw, "items_total", e->b);
		break;
	case PEN_RING_EV_RETRY:
		pen_jw_u64(&w->jw, "attempt", e->a);
		pen_jw_u64(&w->jw, "not_before_ms", e->b);
		break;
	case PEN_RING_EV_STALL:
		pen_jw_u64(&w->jw, "us", e->a);
		break;
	case PEN_RING_EV_CHECKPOINT:
		pen_jw_u64(&w->jw, "lsn", e->a);
		break;
	case PEN_RING_EV_COALESCED:
	case PEN_RING_EV_DONE:
		pen_jw_u64(&w->jw, "count", e->a);
		break;
	case PEN_RING_EV_WRITER_STATE:
		pen_jw_u64(&w->jw, "writer_state", e->a);
		break;
	case PEN_RING_EV_ERROR_DOMAIN:
		pen_jw_u64(&w->jw, "domain", e->a);
		break;
	default:
		pen_jw_u64(&w->jw, "bytes", e->a);
		pen_jw_u64(&w->jw, "items", e->b);
		break;
	}
}

static void json_event(void *arg, const struct pen_board_engine *engine, const struct pen_ring_event *e)
{
	struct watch *w = arg;
	int64_t real_ns = (int64_t)e->ts_ns + engine->hot.real_minus_mono;

	/* A type of a later version: skipped, as its numbers mean nothing here. */
	if (!e->type || e->type > PEN_RING_EV_DONE || e->type == 12)
		return;
	begin_object(w, type_name(e->type), engine);
	pen_jw_u64(&w->jw, "index", e->seq - 1);
	pen_jw_u64(&w->jw, "time_ms", real_ns > 0 ? (uint64_t)real_ns / 1000000 : 0);
	pen_jw_id(&w->jw, "batch", e->batch_id);
	if (e->c)
		pen_jw_u64(&w->jw, "seq", e->c);
	else
		pen_jw_null(&w->jw, "seq");
	pen_jw_text(&w->jw, "stage",
		    e->stage < PEN_RING_STAGES && engine->ring.stages[e->stage][0]
			    ? engine->ring.stages[e->stage]
			    : NULL);
	if (e->type >= PEN_RING_EV_ERROR && e->type <= PEN_RING_EV_ERROR_DOMAIN)
		pen_jw_u64(&w->jw, "code", e->code);
	else
		put_code(w, -(int)(e->code & 0x7fffffff));
	put_numbers(w, e);
	end_object(w);
}

static void json_lost(void *arg, const struct pen_board_engine *e, uint64_t lost)
{
	struct watch *w = arg;

	begin_object(w, "lost", e);
	pen_jw_u64(&w->jw, "lost", lost);
	pen_jw_u64(&w->jw, "lost_total", e->lost);
	end_object(w);
}

/* After a loss, and when an engine appears: what is so contains what was not seen. */
static void json_snapshot(struct watch *w)
{
	for (unsigned i = 0; i < w->board->row_count; i++)
		if (w->board->rows[i].engine >= 0 || w->board->only)
			json_batch(w, "batch", &w->board->rows[i], false);
}

/* ---- loops --------------------------------------------------------------------------------- */

static uint64_t lost_and_found(const struct pen_board *board)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < PEN_BOARD_ENGINES; i++)
		if (board->engines[i].open)
			sum += board->engines[i].lost + board->engines[i].ring.header.epoch +
			       board->engines[i].ring.ino;
	return sum;
}

static void rest(const struct pen_board *board)
{
	const struct timespec turn = { 0, TURNS_MS * 1000000L };
	const struct pen_ring *one = NULL;
	unsigned rings = 0;

	for (unsigned i = 0; i < PEN_BOARD_ENGINES; i++)
		if (board->engines[i].open && board->engines[i].life == PEN_RING_ALIVE) {
			rings++;
			one = &board->engines[i].ring;
		}
	if (rings == 1)
		(void)pen_ring_wait(one, TURN_MS);
	else
		nanosleep(&turn, NULL);
}

static void say_waiting(struct watch *w)
{
	bool none = pen_board_engine_count(w->board) == 0;

	if (none && !w->waiting_said)
		pen_say_note("no engine runs on this store; waiting for one");
	w->waiting_said = none;
}

static int follow(struct watch *w, bool json)
{
	const struct pen_board_row *end = NULL;
	uint64_t line_ns = 0, sum = 0, end_ns = 0;
	bool first = true;

	w->board->on_life = json ? json_life : line_life;
	w->board->on_event = json ? json_event : NULL;
	w->board->on_lost = json ? json_lost : NULL;
	w->board->arg = w;
	while (!pen_out_failed(&w->out)) {
		uint64_t now = pen_ticker_now();

		pen_board_look(w->board, now);
		end = ended(w);
		/* It is over in the store first; what its engine says last is still to come. */
		if (end && end_ns == 0)
			end_ns = now;
		if (end && now < end_ns + LAST_WORDS_NS && pen_board_engine_count(w->board))
			end = NULL;
		if (json && (first || lost_and_found(w->board) != sum))
			json_snapshot(w);
		sum = lost_and_found(w->board);
		if (!json && (end || now >= line_ns + LINE_NS)) {
			put_lines(w, first);
			line_ns = now;
		}
		if (end && json)
			json_batch(w, "end", end, true);
		pen_out_flush(&w->out);
		if (end)
			break;
		if (end_ns == 0)
			say_waiting(w);
		first = false;
		rest(w->board);
	}
	return pen_out_end(&w->out, end ? status_of(end) : 0);
}

static int show(struct watch *w)
{
	const struct pen_board_row *end = NULL;
	struct pen_screen screen;
	uint64_t counted_ns = 0;
	bool goes_on = true;
	char id[PEN_TEXT_NUMBER];

	pen_screen_init(&screen);
	while (goes_on && w->board->store) {
		uint64_t now = pen_ticker_now();

		pen_board_look(w->board, now);
		if (now >= counted_ns + LINE_NS || w->board->errors.batch != screen.chosen) {
			pen_board_count_errors(w->board, screen.chosen);
			counted_ns = now;
		}
		pen_screen_draw(&screen, w->board);
		end = ended(w);
		if (end)
			break;
		goes_on = pen_screen_key(&screen, w->board, pen_view_key(DRAW_MS));
	}
	pen_view_close();
	if (!w->board->store) {
		pen_say_error(-PEN_STORE_MISSING, "the store cannot be opened any more");
		return 3;
	}
	if (end)
		pen_say_note("batch %s is %s", pen_text_id(id, end->batch), pen_state_name(end->state));
	return end ? status_of(end) : 0;
}

static bool colored(const struct pen_cmd *cmd)
{
	return pen_say_colored((enum pen_color)pen_cmd_value(cmd, PEN_O_COLOR)->n, true, getenv("NO_COLOR"),
			       getenv("CLICOLOR_FORCE"), getenv("TERM"));
}

int pen_cmd_watch(const struct pen_cmd *cmd)
{
	struct watch w = { .cmd = cmd };
	struct pen_store *store;
	uint64_t only = 0;
	bool json = pen_cmd_set(cmd, PEN_O_JSON);
	int rc = pen_home_open(cmd->args, false, &store);

	if (!rc && cmd->args->word_count) {
		rc = pen_cmd_batch(store, cmd->args->words[0], &only);
		if (rc)
			pen_store_close(store);
	}
	if (rc)
		return rc;
	w.board = pen_board_open(store, only);
	if (!w.board) {
		pen_store_close(store);
		return pen_say_failure(-ENOMEM, NULL);
	}
	if (!json && pen_view_open(colored(cmd))) {
		rc = show(&w);
	} else {
		pen_out_init(&w.out, STDOUT_FILENO);
		pen_jw_init(&w.jw, &w.out);
		rc = follow(&w, json);
	}
	pen_board_close(w.board);
	return rc;
}
