/* SPDX-License-Identifier: MIT */
/*
 * screen - the picture that `watch` shows of a board, and what its keys do
 *
 *	penstock 0.1.0  /srv/papers.pen  12 MB, 84 GB free  io_uring, 1 engine                        ? help  q quit
 *	 BATCH    STATE     PROGRESS          ITEMS        RATE  ETA      REJ OWNER    SOURCE
 *	>0cabe8c6 running   =====>    61% 1.83M/3.00M     412k  0:02      12 alice    papers.ndjson
 *	 STAGES   read 12%  process 74% <- bottleneck  commit 22%
 *	 RINGS    process 12/256  commit 3/64  2 chunks in flight, 512 kB  1.20k events/s, 0 lost
 *	 ERRORS   10x PEN1042 JSON is malformed (papers.ndjson:81220)
 *	 ENGINES  process 4242 alive (alice.0)
 *
 * It fits 60 columns and 12 rows and grows with the window; narrow ones go without bar, owner and source. What people
 * or files are called is safe text by then.
 */
#ifndef PEN_TOOLS_SCREEN_H
#define PEN_TOOLS_SCREEN_H

#include <stdbool.h>
#include <stdint.h>

#include "tools/board.h"

#define PEN_SCREEN_PAGES 256 /* of items, that one can go back */

struct pen_screen {
	enum { PEN_SCREEN_BATCHES = 0, PEN_SCREEN_ITEMS, PEN_SCREEN_HELP } mode;
	enum { PEN_PROMPT_NONE = 0, PEN_PROMPT_FILTER, PEN_PROMPT_CANCEL } prompt;
	uint64_t chosen;		 /* batch; 0: the first */
	uint64_t asked;			 /* the batch that is to be cancelled */
	unsigned top;			 /* first row shown */
	unsigned page;			 /* rows that fitted last time */
	bool touched;			 /* somebody chose it */
	bool average;			 /* rates since the batch began */
	char filter[64];		 /* UTF-8 */
	char message[400];		 /* until the next key */
	int64_t pages[PEN_SCREEN_PAGES]; /* items: behind which item each page begins */
	unsigned page_at;
	int64_t page_end; /* the last item shown */
	bool page_full;
	unsigned shown[PEN_BOARD_ROWS], shown_count; /* rows that pass the filter */
};

void pen_screen_init(struct pen_screen *screen);
void pen_screen_draw(struct pen_screen *screen, struct pen_board *board);
/* Takes a key; false: it was the one that ends it. */
bool pen_screen_key(struct pen_screen *screen, struct pen_board *board, int key);
/* Finds the rows that pass the filter and moves the choice among them. */
void pen_screen_choose(struct pen_screen *screen, const struct pen_board *board, int step);
/* Does a row pass the filter? */
bool pen_screen_fits(const struct pen_screen *screen, const struct pen_board_row *row);

#endif
