/* SPDX-License-Identifier: MIT */
/*
 * ticker - when progress is shown: bar (after 0.5 s, at most ten times a second), plain (a line every 10 s)
 * or JSON (an object every 250 ms), always on stderr
 *
 * Thread: the one that runs the batch.
 */
#ifndef PEN_TOOLS_TICKER_H
#define PEN_TOOLS_TICKER_H

#include <stdint.h>

#include "tools/bar.h"
#include "tools/out.h"

/* The order of the choices of --progress. */
enum pen_ticker_mode {
	PEN_TICKER_AUTO = 0,
	PEN_TICKER_BAR,
	PEN_TICKER_PLAIN,
	PEN_TICKER_JSON,
	PEN_TICKER_NONE
};

struct pen_ticker {
	enum pen_ticker_mode mode;
	struct pen_bar bar;
	uint64_t next_ns; /* when the next line is due */
};

/* Nanoseconds of CLOCK_MONOTONIC. */
uint64_t pen_ticker_now(void);
void pen_ticker_init(struct pen_ticker *ticker, enum pen_ticker_mode mode, const char *name, uint64_t now_ns);
/* Takes new numbers and shows them when it is time. */
void pen_ticker_tick(struct pen_ticker *ticker, const struct pen_progress *progress, uint64_t now_ns);
/* How long the caller may sleep at most. */
uint64_t pen_ticker_wait_ns(const struct pen_ticker *ticker, uint64_t now_ns);
/* Takes the bar away; JSON gets its last object. */
void pen_ticker_end(struct pen_ticker *ticker);

#endif
