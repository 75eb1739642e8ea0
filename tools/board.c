/* SPDX-License-Identifier: MIT */
#include "tools/board.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "tools/cmd.h"
#include "tools/text.h"

#define SECOND_NS 1000000000ull
#define SCAN_NS (SECOND_NS / 5)
#define STORE_ROWS 100		/* newest batches that are shown */
#define OLD_ROWS 30u		/* of each state that rests, behind those */
#define ERROR_ROWS 5000		/* rows read at a time */
#define EVENTS 256		/* copied at a time */
#define EVENTS_MAX (64u * 1024) /* taken from one ring at one look */
/* A dead engine's file stays until another takes its place; nobody wants to hear of last week's. */
#define DEAD_SHOWN_NS (600 * SECOND_NS)

struct pen_board *pen_board_open(struct pen_store *store, uint64_t only)
{
	struct pen_board *board = calloc(1, sizeof *board);
	struct stat st;

	if (!board)
		return NULL;
	board->store = store;
	board->only = only;
	board->begun_ns = pen_ring_mono_ns();
	/* Whose store we trust, we trust his ring. */
	board->store_uid = stat(pen_store_path(store), &st) == 0 ? st.st_uid : PEN_RING_OWNERS_OWN;
	return board;
}

void pen_board_close(struct pen_board *board)
{
	for (unsigned i = 0; i < PEN_BOARD_ENGINES; i++)
		if (board->engines[i].open)
			pen_ring_close(&board->engines[i].ring);
	pen_store_close(board->store);
	free(board);
}

/* ---- engines ------------------------------------------------------------------------------- */

static void set_life(struct pen_board *board, struct pen_board_engine *e, enum pen_ring_life life,
		     uint64_t now_ns)
{
	bool changed = e->life != life;

	e->life = life;
	if (life != PEN_RING_STALLED && life != PEN_RING_DEAD)
		e->silent_ns = 0;
	else if (e->silent_ns == 0)
		e->silent_ns = e->hot.hb_mono_ns && e->hot.hb_mono_ns < now_ns ? e->hot.hb_mono_ns : now_ns;
	if (changed && board->on_life)
		board->on_life(board->arg, e);
}

static void drain(struct pen_board *board, struct pen_board_engine *e)
{
	struct pen_ring_event events[EVENTS];
	uint64_t lost;

	for (uint32_t taken = 0; taken < EVENTS_MAX; taken += EVENTS) {
		int n = pen_ring_poll(&e->ring, events, EVENTS, &lost);

		if (n < 0) {
			/* Not to be read on: what follows is found at the present end. */
			pen_ring_join(&e->ring);
			return;
		}
		e->lost += lost;
		if (lost && board->on_lost)
			board->on_lost(board->arg, e, lost);
		e->events += (uint64_t)n;
		for (int i = 0; i < n && board->on_event; i++)
			if (!board->only || events[i].batch_id == board->only)
				board->on_event(board->arg, e, &events[i]);
		if (n < EVENTS)
			return;
	}
}

static struct pen_board_engine *free_place(struct pen_board *board)
{
	for (unsigned i = 0; i < PEN_BOARD_ENGINES; i++)
		if (!board->engines[i].open)
			return &board->engines[i];
	return NULL;
}

static bool worth_showing(const struct pen_board_engine *e, uint64_t now_ns)
{
	return e->life == PEN_RING_ALIVE || e->life == PEN_RING_STALLED ||
	       (e->life == PEN_RING_DEAD && e->hot.hb_mono_ns + DEAD_SHOWN_NS > now_ns);
}

static int take_ring(void *arg, const char *path)
{
	struct pen_board *board = arg;
	struct pen_board_engine *e = free_place(board);
	const char *name = strrchr(path, '/');
	enum pen_ring_life life;

	if (!e)
		return 1;
	for (unsigned i = 0; i < PEN_BOARD_ENGINES; i++)
		if (board->engines[i].open && !strcmp(board->engines[i].ring.path, path))
			return 0;
	*e = (struct pen_board_engine){ 0 };
	if (pen_ring_open(&e->ring, path, board->store_uid) != 0)
		return 0;
	pen_ring_hot(&e->ring, &e->hot);
	life = pen_ring_life(&e->ring);
	e->life = life;
	if (!worth_showing(e, pen_ring_mono_ns())) {
		pen_ring_close(&e->ring);
		return 0;
	}
	e->open = true;
	e->life = (enum pen_ring_life)0;
	/* Of an engine that began after us nothing is missed. */
	if (board->begun_ns && e->ring.header.created_mono_ns > board->begun_ns &&
	    e->ring.header.pidns_ino == pen_ring_pidns())
		pen_ring_rewind(&e->ring);
	name = name ? name + 1 : path;
	pen_text_escape(e->name, sizeof e->name, name, strlen(name) - strlen(".ring"), NULL);
	pen_stages_init(&e->stages);
	e->rate_ns = pen_ring_mono_ns();
	set_life(board, e, life, e->rate_ns);
	return 0;
}

static void look_at_engine(struct pen_board *board, struct pen_board_engine *e, uint64_t now_ns, bool life)
{
	pen_ring_hot(&e->ring, &e->hot);
	drain(board, e);
	pen_stages_look(&e->stages, &e->ring, now_ns);
	if (now_ns >= e->rate_ns + SECOND_NS) {
		e->events_per_s = (e->events - e->rate_at) * 1000 / ((now_ns - e->rate_ns) / 1000000);
		e->rate_at = e->events;
		e->rate_ns = now_ns;
	}
	/* That it ended can be seen without a system call, and its name is soon another's. */
	if (!life && e->hot.state < PEN_RING_CLOSED)
		return;
	set_life(board, e, pen_ring_life(&e->ring), now_ns);
	if (e->life == PEN_RING_REPLACED || e->life == PEN_RING_ENDED || !worth_showing(e, now_ns)) {
		drain(board, e); /* what it said last */
		pen_ring_close(&e->ring);
		e->open = false;
		for (unsigned i = 0; i < board->row_count; i++)
			if (board->rows[i].engine == (int)(e - board->engines))
				board->rows[i].engine = -1;
		board->store_ns = 0; /* which has the rest */
	}
}

/* ---- batches ------------------------------------------------------------------------------- */

bool pen_board_over(enum pen_state state)
{
	return state >= PEN_COMPLETED;
}

static struct pen_board_row *row_of(struct pen_board *board, uint64_t batch)
{
	for (unsigned i = 0; i < board->row_count; i++)
		if (board->rows[i].batch == batch)
			return &board->rows[i];
	return NULL;
}

const struct pen_board_row *pen_board_find(const struct pen_board *board, uint64_t batch)
{
	return row_of((struct pen_board *)(uintptr_t)board, batch);
}

/* The first of a list of lines, its last part if it is a path, and how many more there are. */
static void put_source(char *out, size_t cap, const char *lines)
{
	size_t len = strcspn(lines, "\n"), more = 0;
	const char *slash = memrchr(lines, '/', len ? len - 1 : 0), *from = slash ? slash + 1 : lines;

	for (const char *p = lines + len; *p; p++)
		more += *p == '\n' && p[1];
	pen_text_escape(out, cap, from, len - (size_t)(from - lines), NULL);
	if (more)
		snprintf(out + strlen(out), cap - strlen(out), " +%zu", more);
}

static void from_store(struct pen_board_row *row, const struct pen_batch_info *b)
{
	*row = (struct pen_board_row){
		.batch = b->id,
		.engine = -1,
		.state = b->state,
		.code = b->code,
		.counted = b->counted,
		.items_total = b->items_total,
		.bytes_total = b->bytes_total,
		.bytes_done = b->counted.bytes,
		.eta_ms = PEN_RING_UNKNOWN,
		.started_ms = b->started_ms,
		.updated_ms = b->updated_ms,
		.ended_ms = b->ended_ms,
		.active_ms = b->active_ms,
		.pid = b->runner_pid,
	};
	pen_text_escape(row->owner, sizeof row->owner, b->owner, strlen(b->owner), NULL);
	put_source(row->source, sizeof row->source, b->sources);
	pen_text_escape(row->label, sizeof row->label, b->labels, strcspn(b->labels, "\n"), NULL);
}

static uint64_t due_of(struct pen_store *store, uint64_t id)
{
	struct pen_job_info job;

	if (pen_batch_job(store, id, &job))
		return 0;
	return job.due_ms > job.not_before_ms ? job.due_ms : job.not_before_ms;
}

static struct pen_board_row *add_from_store(struct pen_board *board, uint64_t id)
{
	struct pen_board_row *row = &board->rows[board->row_count];
	struct pen_batch_info info;

	if (board->row_count == PEN_BOARD_ROWS || pen_batch_get(board->store, id, &info) != 0)
		return NULL;
	from_store(row, &info);
	if (row->state == PEN_QUEUED || row->state == PEN_WAITING)
		row->due_ms = due_of(board->store, id);
	board->row_count++;
	return row;
}

/* What was submitted long ago and still waits must not be hidden by what came later. */
static void add_old(struct pen_board *board)
{
	static const enum pen_state states[] = { PEN_PAUSED, PEN_WAITING, PEN_QUEUED };
	uint64_t ids[OLD_ROWS];

	for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
		int n = pen_batch_in_state(board->store, states[i], 0, ids, OLD_ROWS);

		for (int j = 0; j < n; j++)
			if (!row_of(board, ids[j]))
				add_from_store(board, ids[j]);
	}
}

static void look_at_store(struct pen_board *board)
{
	uint64_t id = UINT64_MAX;

	(void)pen_store_info(board->store, &board->info); /* else the last one stays */
	board->row_count = 0;
	if (board->only) {
		add_from_store(board, board->only);
		return;
	}
	while (board->row_count < STORE_ROWS && (id = pen_batch_before(board->store, id)))
		add_from_store(board, id);
	if (id)
		add_old(board);
}

static void from_gauge(struct pen_board *board, struct pen_board_row *row, int engine, uint32_t slot,
		       const struct pen_ring_gauge *g)
{
	const struct pen_ring *ring = &board->engines[engine].ring;
	struct pen_ring_names names;
	uint64_t decided = g->committed + g->rejected + g->failed + g->skipped;

	row->engine = engine;
	row->slot = slot;
	row->state = (enum pen_state)g->state;
	row->code = -(int)(g->err & 0x7fffffff);
	row->attempt = g->attempt;
	row->counted = (struct pen_counters){ decided,	  g->committed,	 g->rejected,  g->failed,
					      g->skipped, g->duplicates, g->bytes_done };
	row->retrying = g->retrying;
	row->items_total = g->items_total;
	row->bytes_total = g->bytes_total;
	row->bytes_done = g->bytes_done;
	row->rate_milli = g->rate_milli;
	row->eta_ms = g->eta_ms;
	row->started_ms = g->t_started_ms ? g->t_started_ms : row->started_ms;
	row->updated_ms = g->t_updated_ms;
	row->pid = ring->header.writer_pid;
	/* Without a label of its own a batch is called by its source there. */
	if (!row->label[0] && pen_ring_names(ring, slot, g->batch_id, &names) && names.label[0] &&
	    strcmp(names.label, row->source) != 0)
		pen_text_escape(row->label, sizeof row->label, names.label, strlen(names.label), NULL);
}

static void look_at_gauges(struct pen_board *board, int engine)
{
	const struct pen_board_engine *e = &board->engines[engine];
	struct pen_ring_gauge g;
	int rc;

	/* One that is overtaken too often keeps its numbers until the next look. */
	for (uint32_t slot = 0; (rc = pen_ring_next(&e->ring, &slot, &g)) != 0; slot++) {
		struct pen_board_row *row = rc > 0 ? row_of(board, g.batch_id) : NULL;

		if (rc < 0 || (board->only && g.batch_id != board->only))
			continue;
		/* Last minute's batches are in the store, with numbers that are final. */
		if (!row && pen_board_over((enum pen_state)g.state))
			continue;
		if (!row)
			row = add_from_store(board, g.batch_id);
		if (!row) {
			board->left_out++;
			continue;
		}
		/* Another engine may have gone on with it; and what is over in the store is over. */
		if (g.t_updated_ms >= row->updated_ms || row->pid == e->ring.header.writer_pid)
			from_gauge(board, row, engine, slot, &g);
	}
}

static int by_interest(const void *a, const void *b)
{
	const struct pen_board_row *x = a, *y = b;
	bool over_x = pen_board_over(x->state), over_y = pen_board_over(y->state);

	if (over_x != over_y)
		return over_x ? 1 : -1;
	return x->batch < y->batch ? 1 : x->batch > y->batch ? -1 : 0;
}

void pen_board_look(struct pen_board *board, uint64_t now_ns)
{
	struct timespec real;
	bool whole = board->store_ns == 0 || now_ns >= board->store_ns + SECOND_NS;

	clock_gettime(CLOCK_REALTIME, &real);
	board->now_ns = now_ns;
	board->now_ms = (uint64_t)real.tv_sec * 1000 + (uint64_t)real.tv_nsec / 1000000;
	if (whole) {
		look_at_store(board);
		board->store_ns = now_ns;
	}
	if (now_ns >= board->scan_ns + SCAN_NS) {
		(void)pen_ring_scan(board->info.store_id, take_ring, board);
		board->scan_ns = now_ns;
	}
	board->left_out = 0;
	for (int i = 0; i < PEN_BOARD_ENGINES; i++) {
		struct pen_board_engine *e = &board->engines[i];

		if (!e->open)
			continue;
		look_at_engine(board, e, now_ns, whole);
		if (e->open && (e->life == PEN_RING_ALIVE || e->life == PEN_RING_STALLED))
			look_at_gauges(board, i);
	}
	qsort(board->rows, board->row_count, sizeof board->rows[0], by_interest);
}

int pen_board_wish(struct pen_board *board, uint64_t batch, enum pen_wish wish, bool *ret_runs,
		   struct pen_failure *why)
{
	const struct pen_store_options reading = { .size = sizeof reading, .read_only = true },
				       writing = { .size = sizeof writing };
	char path[4096], by[256];
	int rc;

	snprintf(path, sizeof path, "%s", pen_store_path(board->store));
	pen_store_close(board->store);
	board->store = NULL;
	rc = pen_store_open(path, &writing, &board->store, why);
	if (rc) {
		(void)pen_store_open(path, &reading, &board->store, NULL);
		return rc;
	}
	pen_cmd_own_name(by, sizeof by);
	rc = pen_batch_wish(board->store, batch, wish, by, NULL, ret_runs, why);
	board->store_ns = 0; /* it is to be seen at once */
	return rc;
}

unsigned pen_board_engine_count(const struct pen_board *board)
{
	const struct pen_board_engine *e = board->engines;
	unsigned count = 0;

	for (unsigned i = 0; i < PEN_BOARD_ENGINES; i++) {
		bool first = e[i].open && e[i].life == PEN_RING_ALIVE;

		for (unsigned j = 0; j < i && first; j++)
			first = !e[j].open || e[j].ring.header.writer_pid != e[i].ring.header.writer_pid;
		count += first;
	}
	return count;
}

int pen_board_permille(const struct pen_board_row *row)
{
	uint64_t done = row->bytes_total ? row->bytes_done : row->counted.items;
	uint64_t total = row->bytes_total ? row->bytes_total : row->items_total;

	if (row->state == PEN_COMPLETED)
		return 1000;
	if (!total)
		return -1;
	int permille = done < total ? (int)((double)done * 1000.0 / (double)total) : 999;

	return permille < 1000 ? permille : 999;
}

uint64_t pen_board_average(const struct pen_board_row *row, uint64_t now_ms)
{
	uint64_t ms = row->engine >= 0 && now_ms > row->started_ms ? now_ms - row->started_ms
								   : row->active_ms;

	return ms ? (uint64_t)((double)row->counted.items * 1000.0 / (double)ms + 0.5) : 0;
}

const char *pen_board_life_name(enum pen_ring_life life)
{
	static const char *const names[] = {
		[PEN_RING_ALIVE] = "alive",	  [PEN_RING_STALLED] = "stalled", [PEN_RING_DEAD] = "died",
		[PEN_RING_REPLACED] = "replaced", [PEN_RING_ENDED] = "ended",
	};

	return life >= PEN_RING_ALIVE && life <= PEN_RING_ENDED ? names[life] : "unknown";
}

/* ---- rejects ------------------------------------------------------------------------------- */

static void count_item(struct pen_board_errors *errors, const struct pen_item *item)
{
	unsigned i = 0;

	errors->counted++;
	while (i < errors->code_count && errors->codes[i].code != item->code)
		i++;
	if (i == PEN_BOARD_CODES) {
		errors->others++;
		return;
	}
	if (i == errors->code_count) {
		errors->codes[errors->code_count++].items = 0;
		errors->codes[i].code = item->code;
	}
	errors->codes[i].items++;
	char place[128];

	put_source(place, sizeof place, item->source ? item->source : "");
	if (item->line)
		snprintf(errors->codes[i].place, sizeof errors->codes[i].place, "%s:%llu", place,
			 (unsigned long long)item->line);
	else
		snprintf(errors->codes[i].place, sizeof errors->codes[i].place, "%s", place);
}

void pen_board_count_errors(struct pen_board *board, uint64_t batch)
{
	struct pen_board_errors *errors = &board->errors;
	struct pen_cursor *cursor;
	struct pen_item item;
	int rows = 0, rc = 0;

	if (errors->batch != batch)
		*errors = (struct pen_board_errors){ .batch = batch, .after = -1 };
	if (!batch || pen_items_open(board->store, batch, 0, 0, errors->after, &cursor) != 0)
		return;
	for (; rows < ERROR_ROWS && (rc = pen_items_next(cursor, &item)) == 1; rows++) {
		errors->after = (int64_t)item.seq;
		if (item.state == PEN_ITEM_REJECTED || item.state == PEN_ITEM_FAILED ||
		    item.state == PEN_ITEM_QUARANTINED)
			count_item(errors, &item);
	}
	errors->whole = rc == 0 && rows < ERROR_ROWS;
	pen_cursor_close(cursor);
}
