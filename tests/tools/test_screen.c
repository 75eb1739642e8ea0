/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "tools/screen.h"
#include "tools/view.h"

static struct pen_board *board;
static struct pen_screen screen;

/* n batches, the newest first: 9000 + n .. 9001; every third is alice's. */
static void fill(unsigned n)
{
	board->row_count = n;
	for (unsigned i = 0; i < n; i++) {
		struct pen_board_row *r = &board->rows[i];

		*r = (struct pen_board_row){ .batch = 9000 + n - i, .engine = -1, .state = PEN_COMPLETED };
		memcpy(r->owner, i % 3 ? "bob" : "alice", i % 3 ? 4 : 6);
		memcpy(r->source, "Papers.ndjson", 14);
	}
}

static void set_up(void)
{
	board = calloc(1, sizeof *board);
	pen_screen_init(&screen);
	screen.page = 10;
	fill(30);
	pen_screen_choose(&screen, board, 0);
}

static void tear_down(void)
{
	free(board);
}

TestSuite(screen, .init = set_up, .fini = tear_down);

Test(screen, the_choice_moves_and_the_window_follows)
{
	static const struct {
		int step;
		uint64_t chosen;
		unsigned top;
	} rows[] = {
		{ 0, 9030, 0 },	  { 1, 9029, 0 },  { 8, 9021, 0 },   { 1, 9020, 1 },   { 10, 9010, 11 },
		{ 50, 9001, 20 }, { 1, 9001, 20 }, { -3, 9004, 20 }, { -20, 9024, 6 }, { -256, 9030, 0 },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		pen_screen_choose(&screen, board, rows[i].step);
		cr_expect_eq(screen.chosen, rows[i].chosen, "row %zu: %llu", i,
			     (unsigned long long)screen.chosen);
		cr_expect_eq(screen.top, rows[i].top, "row %zu: %u", i, screen.top);
	}
}

Test(screen, the_choice_stays_with_its_batch)
{
	pen_screen_choose(&screen, board, 5);
	cr_expect_eq(screen.chosen, 9025);
	fill(40); /* ten new ones above it */
	pen_screen_choose(&screen, board, 0);
	cr_expect_eq(screen.chosen, 9025);
	fill(3); /* it is gone */
	pen_screen_choose(&screen, board, 0);
	cr_expect_eq(screen.chosen, 9003);
	fill(0);
	pen_screen_choose(&screen, board, 1);
	cr_expect_eq(screen.chosen, 0);
}

Test(screen, who_chose_nothing_sees_the_newest)
{
	fill(31);
	pen_screen_choose(&screen, board, 0);
	cr_expect_eq(screen.chosen, 9031);
}

static void type(const char *keys)
{
	for (; *keys; keys++)
		pen_screen_key(&screen, board, (unsigned char)*keys);
}

Test(screen, a_filter_is_typed_and_taken_back)
{
	static const struct {
		const char *keys;
		unsigned shown;
	} rows[] = {
		{ "/ALI", 10 },
		{ "ce", 10 },
		{ "x", 0 },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		type(rows[i].keys);
		pen_screen_choose(&screen, board, 0);
		cr_expect_eq(screen.shown_count, rows[i].shown, "'%s': %u", screen.filter,
			     screen.shown_count);
	}
	pen_screen_key(&screen, board, PEN_KEY_BACK);
	cr_expect_str_eq(screen.filter, "ALIce");
	pen_screen_key(&screen, board, PEN_KEY_ENTER);
	cr_expect_eq(screen.prompt, PEN_PROMPT_NONE);
	cr_expect_str_eq(screen.filter, "ALIce");
	pen_screen_key(&screen, board, PEN_KEY_ESCAPE);
	cr_expect_str_eq(screen.filter, "");
	/* More than there is room for, and characters of two and three bytes. */
	type("/");
	for (int i = 0; i < 100; i++)
		pen_screen_key(&screen, board, i % 2 ? 0xe9 : 0x65e5);
	cr_expect_lt(strlen(screen.filter), sizeof screen.filter);
	cr_expect(!strncmp(screen.filter, "日é", 5));
	for (int i = 0; i < 200; i++)
		pen_screen_key(&screen, board, PEN_KEY_BACK);
	cr_expect_str_eq(screen.filter, "");
}

Test(screen, keys_say_what_is_possible)
{
	board->rows[0].state = PEN_RUNNING;
	board->rows[0].pid = 4242;
	/* Whoever runs it: it is asked first. */
	type("c");
	cr_expect_eq(screen.prompt, PEN_PROMPT_CANCEL);
	cr_expect(strstr(screen.message, "[y/N]"), "%s", screen.message);
	type("n"); /* nothing was done: there is no store here to do it to */
	cr_expect_eq(screen.prompt, PEN_PROMPT_NONE);
	board->rows[0].state = PEN_COMPLETED;
	type("c");
	cr_expect_str_eq(screen.message, "it is completed");
	cr_expect_eq(screen.prompt, PEN_PROMPT_NONE);
	type("p");
	cr_expect_str_eq(screen.message, "it is completed");
	cr_expect_not(pen_screen_key(&screen, board, 'q'));
	cr_expect_not(pen_screen_key(&screen, board, PEN_KEY_GONE));
	cr_expect(pen_screen_key(&screen, board, PEN_KEY_NONE));
}
