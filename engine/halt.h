/* SPDX-License-Identifier: MIT */
/*
 * halt - when a batch is to stop before its end: GNU parallel's --halt
 *
 *   never                          all items, no matter what
 *   WHEN,WHY=X    WHEN,WHY=Y%      WHEN: soon  start nothing new, what runs may end
 *                                        now   and what runs is killed
 *                                  WHY:  fail, success, done (either)
 *   0, 1, 2, -1, -2, Y%            never; soon,fail=1; now,fail=1; soon,success=1; now,success=1; soon,fail=Y%
 *
 * X items, at least 1. Y% of all items of the batch, above 0 to 100, up to four decimal places. GNU parallel
 * counts all its jobs before the first; a stream's items cannot be counted, so as long as their number is not known
 *
 *   fail, success    Y% of those done so far, from PEN_HALT_LEAST done on
 *   done             does not halt
 *
 * An item counts when nothing more will happen to it: failed are those whose retries are spent, and rejected ones;
 * an item that waits for a retry is none of them. A skipped one counts as succeeded.
 *
 *   Threads    a policy is constant once it is parsed: any thread.
 *   Memory     the struct.
 *   Errors     -PEN_USAGE, with what is wrong and what is accepted.
 */
#ifndef PEN_ENGINE_HALT_H
#define PEN_ENGINE_HALT_H

#include <stddef.h>
#include <stdint.h>

#include "include/penstock.h"

#define PEN_HALT_LEAST 20u
#define PEN_HALT_TEXT 64

enum pen_halt_when { PEN_HALT_NEVER = 0, PEN_HALT_SOON, PEN_HALT_NOW };
enum pen_halt_why { PEN_HALT_FAIL = 0, PEN_HALT_SUCCESS, PEN_HALT_DONE };

/* All zero: never. */
struct pen_halt {
	enum pen_halt_when when;
	enum pen_halt_why why;
	uint64_t count; /* 0: ratio counts */
	uint32_t ratio; /* of PEN_RATIO_ONE */
};

struct pen_halt_counts {
	uint64_t succeeded, failed;
	uint64_t total; /* 0: not known */
};

/* *ret is untouched on failure. */
int pen_halt_parse(struct pen_halt *ret, const char *text, struct pen_failure *why);
/* NEVER: go on. Anything else is final: a share of those done so far may fall again. */
enum pen_halt_when pen_halt_check(const struct pen_halt *halt, const struct pen_halt_counts *counts);
/* The policy as it would be typed. Returns its length. */
size_t pen_halt_text(const struct pen_halt *halt, char out[PEN_HALT_TEXT]);

#endif
