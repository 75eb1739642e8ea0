/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include "tools/board.h"

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
	cr_expect_eq(pen_board_average(
			     &(struct pen_board_row){ .engine = -1, .active_ms = 500, .counted.items = 100 },
			     0),
		     200);
	cr_expect_eq(pen_board_average(
			     &(struct pen_board_row){ .engine = 0, .started_ms = 1000, .counted.items = 100 },
			     3000),
		     50);
	cr_expect_eq(pen_board_average(&(struct pen_board_row){ .engine = -1, .counted.items = 100 }, 0), 0);
}
