/* SPDX-License-Identifier: MIT */
#include "tools/screen.h"

#include <stdio.h>
#include <string.h>

#include "tools/bar.h"
#include "tools/text.h"
#include "tools/view.h"

#define NARROW 60
#define BELOW 6	     /* rows below the batches: four of numbers, a message, the keys */
#define SOURCE_MIN 8 /* columns that are worth a name */

void pen_screen_init(struct pen_screen *screen)
{
	*screen = (struct pen_screen){ 0 };
}

/* ---- text ---------------------------------------------------------------------------------- */

/* Puts text into a cell of so many columns, cut and, if right, pushed to its end; goes on behind it and a gap. */
static void cell(unsigned row, unsigned *column, unsigned width, bool right, enum pen_view_look look,
		 const char *text)
{
	char cut[512];
	size_t at = 0;
	unsigned used = 0;

	if (!width)
		return;
	for (const unsigned char *p = (const unsigned char *)text; *p;) {
		uint32_t rune = '?';
		unsigned len = pen_text_rune(p, strlen((const char *)p), &rune);

		len = len ? len : 1;
		if (used + pen_text_columns(rune) > width || at + len >= sizeof cut)
			break;
		memcpy(cut + at, p, len);
		at += len;
		used += pen_text_columns(rune);
		p += len;
	}
	cut[at] = '\0';
	pen_view_put(row, *column + (right ? width - used : 0), look, cut);
	*column += width + 1;
}

/* Puts text where the last one ended. */
static void more(unsigned row, unsigned *column, enum pen_view_look look, const char *text)
{
	pen_view_put(row, *column, look, text);
	*column += pen_bar_columns(text);
}

static const char *dash(void)
{
	return pen_view_utf8() ? "–" : "-";
}

/* ---- batches ------------------------------------------------------------------------------- */

struct layout {
	unsigned id, bar, owner, source;
};

/* As many digits as tell the batches apart. */
static unsigned id_digits(const struct pen_screen *screen, const struct pen_board *board)
{
	unsigned digits = 8;

	for (unsigned i = 0; i < screen->shown_count; i++)
		for (unsigned j = i + 1; j < screen->shown_count; j++) {
			uint64_t a = board->rows[screen->shown[i]].batch,
				 b = board->rows[screen->shown[j]].batch;

			while (digits < 16 && a >> (64 - 4 * digits) == b >> (64 - 4 * digits))
				digits++;
		}
	return digits;
}

static struct layout lay_out(const struct pen_screen *screen, const struct pen_board *board, unsigned columns)
{
	struct layout l = { .id = id_digits(screen, board) };
	/* mark, id, state 9, percent 4, items 11, rate 5, eta 7, rejected 5, and gaps */
	unsigned used = 1 + l.id + 1 + 10 + 5 + 12 + 6 + 8 + 5;
	unsigned room = columns > used ? columns - used : 0;

	if (room >= SOURCE_MIN + 1) {
		l.source = SOURCE_MIN;
		room -= SOURCE_MIN + 1;
	}
	if (l.source && room >= 6) {
		l.bar = room >= 40 ? 12 : 5;
		room -= l.bar + 1;
	}
	if (l.bar && room >= 5) {
		l.owner = room >= 16 ? 10 : room >= 7 ? 6 : 4;
		room -= l.owner + 1;
	}
	l.source += l.source ? room : 0;
	return l;
}

static void draw_heads(unsigned row, const struct pen_screen *screen, const struct layout *l)
{
	unsigned at = 1;

	pen_view_row(row, PEN_LOOK_HEAD);
	cell(row, &at, l->id, false, PEN_LOOK_PLAIN, "BATCH");
	cell(row, &at, 9, false, PEN_LOOK_PLAIN, "STATE");
	cell(row, &at, l->bar ? l->bar + 5 : 4, !l->bar, PEN_LOOK_PLAIN, l->bar ? "PROGRESS" : "%");
	cell(row, &at, 11, true, PEN_LOOK_PLAIN, "ITEMS");
	cell(row, &at, 5, true, PEN_LOOK_PLAIN, screen->average ? "AVG/s" : "RATE");
	cell(row, &at, 7, true, PEN_LOOK_PLAIN, "ETA");
	cell(row, &at, 5, true, PEN_LOOK_PLAIN, "REJ");
	cell(row, &at, l->owner, false, PEN_LOOK_PLAIN, "OWNER");
	cell(row, &at, l->source, false, PEN_LOOK_PLAIN, "SOURCE");
}

static enum pen_view_look state_look(const struct pen_board *board, const struct pen_board_row *r)
{
	if (r->engine >= 0 && board->engines[r->engine].life == PEN_RING_STALLED)
		return PEN_LOOK_BAD;
	switch (r->state) {
	case PEN_RUNNING:
		return r->code ? PEN_LOOK_WARN : PEN_LOOK_BOLD;
	case PEN_COMPLETED:
		return PEN_LOOK_GOOD;
	case PEN_FAILED:
		return PEN_LOOK_BAD;
	case PEN_PAUSED:
	case PEN_STOPPED:
	case PEN_INTERRUPTED:
		return PEN_LOOK_WARN;
	default:
		return PEN_LOOK_PLAIN;
	}
}

/* A batch that rests until something changes is paused to the person who looks, whoever paused it. */
static const char *state_word(const struct pen_board *board, const struct pen_board_row *r)
{
	if (r->engine >= 0 && board->engines[r->engine].life == PEN_RING_STALLED)
		return "stalled";
	return r->state == PEN_RUNNING && r->code ? "paused" : pen_state_name(r->state);
}

static void draw_progress(unsigned row, unsigned *at, const struct layout *l, const struct pen_board_row *r)
{
	int permille = pen_board_permille(r);
	char text[128] = "", percent[16];

	if (permille >= 0)
		snprintf(percent, sizeof percent, "%d%%", permille / 10);
	else
		snprintf(percent, sizeof percent, "%s", dash());
	if (l->bar && permille >= 0)
		pen_bar_cells(text, sizeof text, permille, l->bar, pen_view_utf8());
	cell(row, at, l->bar, false, PEN_LOOK_PLAIN, text);
	cell(row, at, 4, true, PEN_LOOK_PLAIN, percent);
}

static void draw_numbers(unsigned row, unsigned *at, const struct pen_screen *screen,
			 const struct pen_board_row *r, uint64_t now_ms)
{
	bool runs = r->engine >= 0 && !pen_board_over(r->state);
	uint64_t rate = screen->average ? pen_board_average(r, now_ms) : (r->rate_milli + 500) / 1000;
	uint64_t bad = r->counted.rejected + r->counted.failed;
	char a[PEN_TEXT_NUMBER], b[PEN_TEXT_NUMBER], items[2 * PEN_TEXT_NUMBER];

	pen_text_short(a, r->counted.items);
	if (r->items_total && r->items_total != r->counted.items)
		snprintf(items, sizeof items, "%s/%s", a, pen_text_short(b, r->items_total));
	else
		snprintf(items, sizeof items, "%s", a);
	cell(row, at, 11, true, PEN_LOOK_PLAIN, items);
	cell(row, at, 5, true, PEN_LOOK_PLAIN, runs || screen->average ? pen_text_short(a, rate) : dash());
	if (runs && r->eta_ms != PEN_RING_UNKNOWN)
		pen_text_clock(a, (r->eta_ms + 999) / 1000);
	else if (!runs && r->due_ms > now_ms)
		pen_text_clock(a, (r->due_ms - now_ms + 999) / 1000);
	else
		snprintf(a, sizeof a, "%s", dash());
	cell(row, at, 7, true, PEN_LOOK_PLAIN, a);
	cell(row, at, 5, true, bad ? PEN_LOOK_WARN : PEN_LOOK_PLAIN, pen_text_short(a, bad));
}

static void draw_batch(unsigned row, const struct pen_screen *screen, const struct pen_board *board,
		       const struct pen_board_row *r, const struct layout *l)
{
	bool chosen = r->batch == screen->chosen;
	char id[PEN_TEXT_NUMBER], what[512];
	unsigned at = 1;

	if (chosen) {
		pen_view_row(row, PEN_LOOK_CHOSEN);
		pen_view_put(row, 0, PEN_LOOK_PLAIN, pen_view_utf8() ? "▶" : ">");
	}
	cell(row, &at, l->id, false, PEN_LOOK_PLAIN, pen_text_id(id, r->batch));
	cell(row, &at, 9, false, state_look(board, r), state_word(board, r));
	draw_progress(row, &at, l, r);
	draw_numbers(row, &at, screen, r, board->now_ms);
	cell(row, &at, l->owner, false, PEN_LOOK_PLAIN, r->owner);
	snprintf(what, sizeof what, "%s%s%s", r->source, r->label[0] ? "  " : "", r->label);
	if (r->code)
		snprintf(what + strlen(what), sizeof what - strlen(what), "  %s %s", pen_error_name(r->code),
			 pen_error_text(r->code));
	cell(row, &at, l->source, false, PEN_LOOK_PLAIN, what);
}

/* ---- what lies below ----------------------------------------------------------------------- */

/* The engine that the lines below are about: that of the chosen batch, or the first one. */
static const struct pen_board_engine *engine_of(const struct pen_screen *screen,
						const struct pen_board *board)
{
	const struct pen_board_row *r = pen_board_find(board, screen->chosen);

	if (r && r->engine >= 0 && board->engines[r->engine].open)
		return &board->engines[r->engine];
	for (unsigned i = 0; i < PEN_BOARD_ENGINES; i++)
		if (board->engines[i].open && board->engines[i].life == PEN_RING_ALIVE)
			return &board->engines[i];
	return NULL;
}

/* What half of the commits took at most, and 99 in 100 of them; behind the committer's share. */
static void put_commits(char *ret, size_t cap, const struct pen_stage *s, unsigned columns)
{
	char p50[PEN_TEXT_NUMBER], p99[PEN_TEXT_NUMBER];

	ret[0] = 0;
	if (s->p99_us)
		snprintf(ret, cap, columns >= 100 ? "  p50 %s p99 %s ms" : " %s/%s ms",
			 pen_text_ms(p50, s->p50_us), pen_text_ms(p99, s->p99_us));
}

static void draw_stages(unsigned row, unsigned columns, const struct pen_board_engine *e)
{
	unsigned at = 10;
	char text[128], a[PEN_TEXT_NUMBER];

	pen_view_put(row, 1, PEN_LOOK_BOLD, "STAGES");
	for (int i = 0; e && e->stages.moved && i < (int)PEN_RING_STAGES; i++) {
		const struct pen_stage *s = &e->stages.at[i];
		bool held = e->stages.bottleneck && e->stages.busiest == i;

		if (!s->known || !s->name || !*s->name)
			continue;
		pen_text_escape(text, 40, s->name, strlen(s->name), NULL);
		more(row, &at, held ? PEN_LOOK_WARN : PEN_LOOK_PLAIN, text);
		if (i == PEN_RING_READ && s->bytes_per_s)
			snprintf(text, sizeof text, " %s/s %u%%", pen_text_bytes(a, s->bytes_per_s),
				 s->busy_permille / 10);
		else
			snprintf(text, sizeof text, " %u%%", s->busy_permille / 10);
		more(row, &at, held ? PEN_LOOK_WARN : PEN_LOOK_PLAIN, text);
		put_commits(text, sizeof text, s, columns);
		more(row, &at, PEN_LOOK_PLAIN, text);
		more(row, &at, PEN_LOOK_WARN,
		     !held	       ? "  "
		     : pen_view_utf8() ? " ◀ bottleneck  "
				       : " <- bottleneck  ");
	}
	if (at == 10)
		pen_view_put(row, at, PEN_LOOK_DIM, dash());
}

static void draw_ring(unsigned row, unsigned columns, const struct pen_board_engine *e)
{
	unsigned at = 10;
	char text[256], a[PEN_TEXT_NUMBER], b[PEN_TEXT_NUMBER], c[PEN_TEXT_NUMBER];

	pen_view_put(row, 1, PEN_LOOK_BOLD, "RINGS");
	if (!e) {
		pen_view_put(row, at, PEN_LOOK_DIM, dash());
		return;
	}
	for (int i = 0; i < (int)PEN_RING_STAGES; i++) {
		const struct pen_stage *s = &e->stages.at[i];

		if (!s->capacity || !s->name || !*s->name)
			continue;
		pen_text_escape(text, 40, s->name, strlen(s->name), NULL);
		more(row, &at, PEN_LOOK_PLAIN, text);
		snprintf(text, sizeof text, " %llu/%llu  ", (unsigned long long)s->queued,
			 (unsigned long long)s->capacity);
		more(row, &at, PEN_LOOK_PLAIN, text);
	}
	if (columns >= 80) {
		snprintf(text, sizeof text, "%s in flight  ", pen_text_bytes(a, e->hot.inflight_bytes));
		more(row, &at, PEN_LOOK_PLAIN, text);
	}
	snprintf(text, sizeof text, "%s events/s  ", pen_text_short(b, e->events_per_s));
	more(row, &at, PEN_LOOK_PLAIN, text);
	snprintf(text, sizeof text, "%s lost", pen_text_short(c, e->lost));
	more(row, &at, e->lost ? PEN_LOOK_WARN : PEN_LOOK_PLAIN, text);
}

static void draw_errors(unsigned row, const struct pen_board *board)
{
	const struct pen_board_errors *errors = &board->errors;
	unsigned at = 10;
	char text[512], a[PEN_TEXT_NUMBER];

	pen_view_put(row, 1, PEN_LOOK_BOLD, "ERRORS");
	for (unsigned i = 0; i < errors->code_count; i++) {
		snprintf(text, sizeof text, "%s%s %s", pen_text_short(a, errors->codes[i].items),
			 pen_view_utf8() ? "×" : "x", pen_error_name(errors->codes[i].code));
		more(row, &at, PEN_LOOK_WARN, text);
		snprintf(text, sizeof text, " %s (%s)  ", pen_error_text(errors->codes[i].code),
			 errors->codes[i].place);
		more(row, &at, PEN_LOOK_PLAIN, text);
	}
	if (!errors->whole && errors->counted)
		more(row, &at, PEN_LOOK_DIM, "counting ");
	if (at == 10)
		pen_view_put(row, at, PEN_LOOK_DIM, "none");
}

/* An engine has a ring for each owner: the first one found speaks for its process. */
static bool first_ring(const struct pen_board *board, unsigned engine)
{
	const struct pen_board_engine *e = board->engines;

	for (unsigned i = 0; i < engine; i++)
		if (e[i].open && e[i].life == e[engine].life &&
		    e[i].ring.header.writer_pid == e[engine].ring.header.writer_pid)
			return false;
	return e[engine].open;
}

static void draw_engines(unsigned row, const struct pen_board *board)
{
	unsigned at = 10;
	char text[256], a[PEN_TEXT_NUMBER];

	pen_view_put(row, 1, PEN_LOOK_BOLD, "ENGINES");
	for (unsigned i = 0; i < PEN_BOARD_ENGINES; i++) {
		const struct pen_board_engine *e = &board->engines[i];
		enum pen_view_look look = e->life == PEN_RING_ALIVE ? PEN_LOOK_PLAIN : PEN_LOOK_BAD;

		if (!first_ring(board, i))
			continue;
		snprintf(text, sizeof text, "process %u %s", e->ring.header.writer_pid,
			 pen_board_life_name(e->life));
		more(row, &at, look, text);
		if (e->silent_ns && board->now_ns > e->silent_ns) {
			snprintf(text, sizeof text, " %s ago",
				 pen_text_clock(a, (board->now_ns - e->silent_ns) / 1000000000));
			more(row, &at, look, text);
		}
		snprintf(text, sizeof text, " (%s)  ", e->name);
		more(row, &at, PEN_LOOK_PLAIN, text);
	}
	if (at == 10)
		pen_view_put(row, at, PEN_LOOK_DIM, "none runs on this store: waiting for one");
}

static void draw_title(const struct pen_board *board, unsigned columns)
{
	const char *keys = "? help  q quit", *path = pen_store_path(board->store);
	char text[512], name[256], used[PEN_TEXT_NUMBER], disk[PEN_TEXT_NUMBER];
	unsigned engines = pen_board_engine_count(board);
	const char *io = "";

	for (unsigned i = 0; i < PEN_BOARD_ENGINES; i++)
		if (board->engines[i].open)
			io = board->engines[i].ring.header.compat_flags & PEN_RING_COMPAT_URING ? "io_uring, "
												: "threads, ";
	pen_text_escape(name, columns < 100 ? 21 : 60, path, strlen(path), NULL);
	snprintf(text, sizeof text, "penstock " PEN_VERSION "  %s  %s", name,
		 pen_text_bytes(used, board->info.used_bytes));
	if (columns >= 80)
		snprintf(text + strlen(text), sizeof text - strlen(text), ", %s free",
			 pen_text_bytes(disk, board->info.free_disk_bytes));
	if (columns >= 100)
		snprintf(text + strlen(text), sizeof text - strlen(text), "  %s%u engine%s", io, engines,
			 engines == 1 ? "" : "s");
	pen_view_put(0, 0, PEN_LOOK_BOLD, text);
	if (columns > pen_bar_columns(text) + strlen(keys) + 1)
		pen_view_put(0, columns - (unsigned)strlen(keys), PEN_LOOK_DIM, keys);
}

/* ---- other pictures ------------------------------------------------------------------------ */

static void draw_help(void)
{
	static const char *const lines[] = {
		"up k, down j  choose a batch; also PgUp, PgDn, Home, End",
		"enter         items that were not simply committed",
		"/             only batches that contain a text",
		"t             rates: now, or since the batch began",
		"c             cancel the batch, whoever runs it, after a question",
		"p             pause the batch, whoever runs it, or let it go on",
		"q             leave; batches go on",
		"",
		"STAGES   share of the last second at work; commits p50/p99",
		"RINGS    chunks before each stage; this view's events",
		"ENGINES  alive, stalled (no heartbeat) or died",
		"",
		"Any key goes back.",
	};

	pen_view_put(0, 0, PEN_LOOK_BOLD, "penstock watch");
	for (unsigned i = 0; i < sizeof lines / sizeof lines[0]; i++)
		pen_view_put(2 + i, 1, PEN_LOOK_PLAIN, lines[i]);
}

static void draw_items(struct pen_screen *screen, struct pen_board *board, unsigned rows)
{
	struct pen_cursor *cursor;
	struct pen_item item;
	unsigned row = 2;
	char text[1024], id[PEN_TEXT_NUMBER], source[256], message[400], line[32] = "";

	snprintf(text, sizeof text, "batch %s: items that were not simply committed",
		 pen_text_id(id, screen->chosen));
	pen_view_put(0, 0, PEN_LOOK_BOLD, text);
	pen_view_row(1, PEN_LOOK_HEAD);
	pen_view_put(1, 1, PEN_LOOK_PLAIN, "      ITEM STATE       CODE    PLACE  WHAT");
	screen->page_full = false;
	screen->page_end = screen->pages[screen->page_at];
	if (pen_items_open(board->store, screen->chosen, 0, 0, screen->page_end, &cursor) != 0)
		return;
	while (row + 2 < rows && pen_items_next(cursor, &item) == 1) {
		const char *from = item.source ? strrchr(item.source, '/') : NULL;

		from = from && from[1] ? from + 1 : item.source ? item.source : "";
		pen_text_escape(source, sizeof source, from, strlen(from), NULL);
		pen_text_escape(message, sizeof message, item.message, strlen(item.message), NULL);
		if (item.line)
			snprintf(line, sizeof line, ":%llu", (unsigned long long)item.line);
		snprintf(text, sizeof text, "%10llu %-11s %-7s %s%s  %s", (unsigned long long)item.seq,
			 pen_item_state_name(item.state), item.code ? pen_error_name(item.code) : "-", source,
			 line, message);
		pen_view_put(row++, 1, PEN_LOOK_PLAIN, text);
		screen->page_end = (int64_t)item.seq;
		screen->page_full = row + 2 >= rows;
	}
	pen_cursor_close(cursor);
	if (row == 2)
		pen_view_put(row, 1, PEN_LOOK_DIM, screen->page_at ? "no more" : "none");
	pen_view_put(rows - 1, 0, PEN_LOOK_DIM, "PgDn, PgUp more   esc back   q quit");
}

static void draw_bottom(const struct pen_screen *screen, unsigned rows, unsigned columns)
{
	char text[512];

	if (screen->prompt == PEN_PROMPT_FILTER)
		snprintf(text, sizeof text, "/%s_", screen->filter);
	else if (screen->filter[0] && !screen->message[0])
		snprintf(text, sizeof text, "only batches with '%s' (/ changes it)", screen->filter);
	else
		snprintf(text, sizeof text, "%s", screen->message);
	pen_view_put(rows - 2, 1, PEN_LOOK_WARN, text);
	pen_view_put(rows - 1, 0, PEN_LOOK_DIM,
		     columns >= 78
			     ? "[p]ause [c]ancel [enter] items [/] filter [t] now/average [?] help [q]uit"
			     : "[p]ause [c]ancel [enter] items [/] [t] [?] [q]uit");
}

void pen_screen_draw(struct pen_screen *screen, struct pen_board *board)
{
	const struct pen_board_engine *e;
	unsigned rows, columns, fit;
	struct layout l;

	pen_view_size(&rows, &columns);
	pen_view_begin();
	pen_screen_choose(screen, board, 0);
	if (rows < BELOW + 3 || columns < 20) {
		pen_view_put(0, 0, PEN_LOOK_PLAIN, "the window is too small");
	} else if (screen->mode == PEN_SCREEN_HELP) {
		draw_help();
	} else if (screen->mode == PEN_SCREEN_ITEMS) {
		draw_items(screen, board, rows);
	} else {
		e = engine_of(screen, board);
		l = lay_out(screen, board, columns);
		screen->page = fit = rows - 2 - BELOW;
		draw_title(board, columns);
		draw_heads(1, screen, &l);
		pen_screen_choose(screen, board, 0);
		for (unsigned i = 0; i < fit && screen->top + i < screen->shown_count; i++)
			draw_batch(2 + i, screen, board, &board->rows[screen->shown[screen->top + i]], &l);
		if (!screen->shown_count)
			pen_view_put(2, 1, PEN_LOOK_DIM,
				     screen->filter[0] ? "no batch contains that" : "there is no batch yet");
		draw_stages(rows - 6, columns, e);
		draw_ring(rows - 5, columns, e);
		draw_errors(rows - 4, board);
		draw_engines(rows - 3, board);
		draw_bottom(screen, rows, columns);
	}
	pen_view_show();
}
