/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ring/cast.h"
#include "tools/board.h"

#define SECOND 1000000000ull

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *walk)
{
	(void)st;
	(void)type;
	(void)walk;
	return remove(path);
}

/* A store, a board of it, and a ring of eight events that we write. */
static char runs[] = "/dev/shm/penstock-board-XXXXXX", home[] = "/tmp/penstock-board-XXXXXX";
static struct pen_board *board;
static struct pen_cast *cast;
static struct pen_store_info info;
static unsigned lives, events;
static uint64_t lost, now = SECOND;
static enum pen_ring_life last_life;

static void on_life(void *arg, const struct pen_board_engine *e)
{
	(void)arg;
	lives++;
	last_life = e->life;
}

static void on_event(void *arg, const struct pen_board_engine *e, const struct pen_ring_event *event)
{
	(void)arg;
	(void)e;
	events += event->type == PEN_RING_EV_PROGRESS;
}

static void on_lost(void *arg, const struct pen_board_engine *e, uint64_t n)
{
	(void)arg;
	(void)e;
	lost += n;
}

static void open_ring(void)
{
	struct pen_cast_options opt = {
		.name = "alice.0.ring", .event_slots = 8, .gauge_slots = 4, .epoch = 1
	};
	struct pen_failure why = { 0 };
	char path[4096];

	opt.dir = pen_cast_place(info.store_id, path, sizeof path, &why);
	cr_assert_geq(opt.dir, 0, "%s", why.text);
	cr_assert_eq(pen_cast_open(&cast, &opt, &why), 0, "%s", why.text);
	close(opt.dir);
}

static void look(void)
{
	now += 2 * SECOND;
	pen_board_look(board, now);
}

static void set_up(void)
{
	const struct pen_store_options create = { .size = sizeof create, .create = true };
	struct pen_failure why = { 0 };
	struct pen_store *store;

	cr_assert(mkdtemp(runs) && mkdtemp(home));
	setenv("PENSTOCK_RUN", runs, 1);
	cr_assert_eq(pen_store_open(home, &create, &store, &why), 0, "%s", why.text);
	cr_assert_eq(pen_store_info(store, &info), 0);
	board = pen_board_open(store, 0);
	board->on_life = on_life;
	board->on_event = on_event;
	board->on_lost = on_lost;
}

static void tear_down(void)
{
	pen_board_close(board);
	nftw(runs, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	nftw(home, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

TestSuite(board, .init = set_up, .fini = tear_down);

static void publish(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct pen_ring_event e = { .batch_id = 7,
					    .type = PEN_RING_EV_PROGRESS,
					    .gauge_idx = PEN_RING_NONE };

		pen_cast_events(cast, &e, 1);
	}
	pen_cast_beat(cast);
}

Test(board, an_engine_comes_speaks_and_goes)
{
	look();
	cr_expect_eq(pen_board_engine_count(board), 0);
	open_ring();
	publish(3);
	look();
	cr_expect_eq(pen_board_engine_count(board), 1);
	cr_expect_eq(lives, 1);
	cr_expect_eq(last_life, PEN_RING_ALIVE);
	cr_expect_eq(events, 3, "it began after us: nothing is missed, %u", events);
	publish(8);
	look();
	cr_expect_eq(events, 11);
	cr_expect_eq(lost, 0);
	publish(20); /* more than there are places */
	look();
	cr_expect_eq(events + lost, 31);
	cr_expect_geq(lost, 12);
	publish(2);
	pen_cast_close(cast, PEN_RING_CLOSED, 0, false);
	look();
	cr_expect_eq(events + lost, 33);
	cr_expect_eq(last_life, PEN_RING_ENDED);
	cr_expect_eq(pen_board_engine_count(board), 0);
	/* Its name is another's now. */
	open_ring();
	publish(1);
	look();
	cr_expect_eq(pen_board_engine_count(board), 1);
	cr_expect_eq(events + lost, 34);
	pen_cast_close(cast, PEN_RING_FAILED, PEN_DISK_FAILED, true);
	look();
	cr_expect_eq(last_life, PEN_RING_ENDED);
	look(); /* the file stays, and is not taken for an engine */
	cr_expect_eq(lives, 4);
	cr_expect_eq(pen_board_engine_count(board), 0);
}

Test(board, of_one_batch_only)
{
	board->only = 8;
	open_ring();
	publish(3);
	look();
	cr_expect_eq(events, 0);
	board->only = 7;
	publish(3);
	look();
	cr_expect_eq(events, 3);
	pen_cast_close(cast, PEN_RING_CLOSED, 0, false);
}

Test(board, a_gauge_of_no_batch_of_the_store_is_left_out)
{
	struct pen_ring_gauge g = { .batch_id = 7, .state = PEN_RUNNING };

	open_ring();
	pen_cast_gauge(cast, pen_cast_get(cast, 7, NULL), &g, 0);
	pen_cast_beat(cast);
	look();
	cr_expect_eq(board->row_count, 0);
	cr_expect_eq(board->left_out, 1);
	cr_expect_null(pen_board_find(board, 7));
	pen_cast_close(cast, PEN_RING_CLOSED, 0, false);
}

Test(board, what_is_no_ring_is_left_out)
{
	char path[4200];
	FILE *f;

	open_ring();
	publish(1);
	snprintf(path, sizeof path, "%s/%016llx/mallory.0.ring", runs, (unsigned long long)info.store_id);
	f = fopen(path, "w");
	cr_assert(f);
	for (int i = 0; i < 20000; i++)
		fputc(i * 7 % 251, f);
	fclose(f);
	look();
	cr_expect_eq(pen_board_engine_count(board), 1);
	cr_expect_eq(lives, 1);
	pen_cast_close(cast, PEN_RING_CLOSED, 0, false);
}

Test(board, the_share_that_is_done)
{
	static const struct {
		struct pen_board_row row;
		int permille;
	} rows[] = {
		{ { .state = PEN_RUNNING }, -1 },
		{ { .state = PEN_RUNNING, .bytes_total = 200, .bytes_done = 50 }, 250 },
		{ { .state = PEN_RUNNING, .items_total = 200, .counted.items = 100 }, 500 },
		{ { .state = PEN_RUNNING, .bytes_total = 200, .bytes_done = 200 }, 999 },
		{ { .state = PEN_RUNNING, .bytes_total = 200, .bytes_done = UINT64_MAX }, 999 },
		{ { .state = PEN_COMPLETED, .bytes_total = 200, .bytes_done = 1 }, 1000 },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		cr_expect_eq(pen_board_permille(&rows[i].row), rows[i].permille, "row %zu", i);
}

Test(board, averages)
{
	static const struct pen_board_row over = { .engine = -1, .active_ms = 500, .counted.items = 100 };
	static const struct pen_board_row runs_now = { .engine = 0,
						       .started_ms = 1000,
						       .counted.items = 100 };
	static const struct pen_board_row nothing = { .engine = -1, .counted.items = 100 };

	cr_expect_eq(pen_board_average(&over, 0), 200);
	cr_expect_eq(pen_board_average(&runs_now, 3000), 50);
	cr_expect_eq(pen_board_average(&nothing, 0), 0);
}
