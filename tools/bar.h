/* SPDX-License-Identifier: MIT */
/*
 * bar - what the progress line says: arithmetic and layout over numbers, a clock reading and a width
 *
 * Pure: no clock, no terminal, no environment. Only committed work counts; the percentage is never 100
 * before the batch completed; the rate and the ETA come from the last five seconds or so (exponential
 * weights), and a line that does not move is called stalled instead of promising an end.
 *
 *   width   >= 100   papers.ndjson [=====>  ] 61%  1.83M/3.00M items  412k/s  118 MB/s  rejected 12  ETA 0:02  wait:cpu
 *            >= 60   without bytes, and without name or bar where they do not fit
 *            <  60   61%  412k/s  ETA 0:02
 *                0   not known: 80
 */
#ifndef PEN_TOOLS_BAR_H
#define PEN_TOOLS_BAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "include/penstock.h"

struct pen_out;

#define PEN_BAR_BYTES 1024 /* enough for a line of any width */
#define PEN_BAR_SECONDS 10 /* whole seconds whose speeds are kept */

struct pen_bar {
	char name[160];		      /* safe text */
	struct pen_progress last;     /* the newest numbers */
	uint64_t last_ns;	      /* when they were read; 0: none yet */
	uint64_t moved_ns;	      /* when they last grew */
	uint64_t rest_ns;	      /* since when it rests; 0: it does not */
	double items, bytes, seconds; /* weighted sums: items / seconds is the rate */
	struct {
		uint64_t begun_ns, done; /* the second that is not over yet */
		double speed[PEN_BAR_SECONDS];
		unsigned count; /* speeds measured; the newest is at (count - 1) % PEN_BAR_SECONDS */
	} second;
	const char *stage; /* in which stage most of the work is; NULL: not known */
	const char *held;  /* what the others wait for, in a word; NULL: nothing, or not known */
	bool draining;
};

/* name: any bytes; cut to what a line can show. */
void pen_bar_init(struct pen_bar *bar, const char *name);
void pen_bar_feed(struct pen_bar *bar, const struct pen_progress *progress, uint64_t now_ns);
/* Items and input bytes a second. */
uint64_t pen_bar_rate(const struct pen_bar *bar);
uint64_t pen_bar_byte_rate(const struct pen_bar *bar);
/* 0 .. 1000, or -1 when the whole is not known; 1000 only for a completed batch. */
int pen_bar_permille(const struct pen_bar *bar);
/* Milliseconds to the end, or -1: not known, or stalled. */
int64_t pen_bar_eta_ms(const struct pen_bar *bar);
/* The same at the speed of the fastest and of the slowest of the last ten seconds; -1: as above, or fewer than three
 * seconds were seen, or nothing moved in the slowest. */
void pen_bar_eta_range_ms(const struct pen_bar *bar, int64_t *ret_lo, int64_t *ret_hi);
/* Milliseconds without growth once that is long enough to speak of, else 0. */
uint64_t pen_bar_stalled_ms(const struct pen_bar *bar);
/* One row, at most width - 1 columns, no newline. Returns its bytes. */
size_t pen_bar_line(const struct pen_bar *bar, unsigned width, bool utf8, char out[PEN_BAR_BYTES]);
/* So many columns, filled by permille; cap is at least 3 * cells + 1. Returns its bytes. */
size_t pen_bar_cells(char *out, size_t cap, int permille, unsigned cells, bool utf8);
/* The columns safe text takes. */
unsigned pen_bar_columns(const char *text);
/* One JSON object and a newline. */
void pen_bar_json(const struct pen_bar *bar, struct pen_out *out);

#endif
