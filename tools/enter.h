/* SPDX-License-Identifier: MIT */
/*
 * enter - what was typed, as a submission: for `submit`, and for a `run` that has to wait for something
 */
#ifndef PEN_TOOLS_ENTER_H
#define PEN_TOOLS_ENTER_H

#include "include/penstock.h"
#include "tools/cmd.h"

struct pen_enter {
	struct pen_submit submit;
	struct pen_after after[256];
	char spool[64]; /* "": none was made */
};

/* Something only a submission can say was typed. */
bool pen_enter_wanted(const struct pen_cmd *cmd);
/* Keeps stdin in the store when it is the source. 0, or the exit status with the error said. */
int pen_enter_make(const struct pen_cmd *cmd, struct pen_store *store, const struct pen_run *run, bool stream,
		   struct pen_enter *ret);
/*
 * Hands it to the engine and waits: 0 and the batch, and whether it was there (1) or took the place of one with its key
 * (2); or the completion's code, with why.
 */
int pen_enter_do(struct pen_engine *engine, struct pen_enter *enter, struct pen_store *store,
		 uint64_t *ret_batch, int *ret_there, struct pen_failure *why);

#endif
