/* SPDX-License-Identifier: MIT */
/*
 * hook - runs the commands that are owed to batches that ended
 *
 * Each through /bin/sh, with $PENSTOCK_BATCH, $PENSTOCK_STATE, $PENSTOCK_STORE and $PENSTOCK_SUMMARY (the batch's
 * numbers as JSON), stdin empty, stdout and stderr on our stderr; at most PEN_HOOK_SECONDS long, then its
 * group is killed. What it returns is said and changes nothing.
 */
#ifndef PEN_TOOLS_HOOK_H
#define PEN_TOOLS_HOOK_H

#include "include/penstock.h"

#define PEN_HOOK_SECONDS 3600

/* All that are due now. 0, or a code. */
int pen_hook_run_all(struct pen_store *store);

#endif
