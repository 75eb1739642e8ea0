/* SPDX-License-Identifier: MIT */
/*
 * closing - how a run ends for its reader: the closing object on stdout, the closing line, the first
 * rejects, the command that resumes, and the exit status
 */
#ifndef PEN_TOOLS_CLOSING_H
#define PEN_TOOLS_CLOSING_H

#include <stdbool.h>
#include <stdint.h>

#include "include/penstock.h"
#include "tools/cmd.h"

struct pen_closing {
	const struct pen_cmd *cmd;
	struct pen_store *store;
	int res;	    /* of the completion */
	uint64_t batch;	    /* 0: it never became one */
	int sig;	    /* the signal that asked for the end, 0 if none */
	bool stream;	    /* a source is stdin */
	uint64_t submit_ns; /* when the request went out */
	bool measured;	    /* progress holds the engine's last numbers */
	struct pen_progress progress;
	struct pen_failure why; /* text[0] is 0 when the engine had nothing to say */
};

/* The batch that was asked for was refused by a flag: says so, and with --json on stdout. The exit status. batch: if it
 * is there already; else 0. */
int pen_closing_refused(const struct pen_cmd *cmd, struct pen_store *store, uint64_t batch,
			const struct pen_failure *why);
/* Says and prints everything; returns the exit status. The engine is stopped, the store is still open. */
int pen_closing_end(const struct pen_closing *end);

/* A rejected item on stderr: what, where, its bytes around the column, what to do. */
void pen_closing_item(const struct pen_item *item);

/*
 * Pure: an excerpt of raw around column (from 1; 0: its beginning) for one row of a terminal, and a second
 * row with the caret below the column ("" without one).
 */
#define PEN_EXCERPT_BYTES 512
void pen_closing_excerpt(const void *raw, size_t len, uint64_t column, bool utf8,
			 char ret_line[PEN_EXCERPT_BYTES], char ret_caret[PEN_EXCERPT_BYTES]);

#endif
