/* SPDX-License-Identifier: MIT */
/*
 * backoff - how long an item that failed waits before it is tried again, and how often
 *
 * An item is tried once, and then up to max_retries times more. Before retry n (from 1) it waits:
 *
 *   2s,4s,8s           the n-th entry; the last one again when there are more retries than entries
 *   exp:BASE[,CAP]     BASE doubled n-1 times, at most CAP
 *
 * changed by the jitter, d being that delay:
 *
 *   none               d
 *   equal              d/2 to d
 *   full               0 to d
 *   decorrelated       the first delay to three times the previous one, cut at the longest of the schedule (CAP);
 *                      the schedule says nothing else then
 *
 * Nothing is random: the draw follows from batch, item and retry, so that a second look, or a second process, finds
 * the same delay; the previous one need not be kept anywhere, because it can be drawn again. The default is three
 * retries after exactly 2, 4 and 8 s.
 *
 * A delay is a number with a unit: 250ms, 1.5s, 2m, 1h, 7d; only 0 goes without.
 *
 *   Threads    a policy is constant once it is parsed: any thread. No clock is read.
 *   Memory     the struct.
 *   Limits     PEN_BACKOFF_STEPS entries, PEN_BACKOFF_RETRIES_MAX retries, PEN_BACKOFF_MAX_NS a delay.
 *   Errors     -PEN_USAGE, with what is wrong and what is accepted.
 */
#ifndef PEN_ENGINE_BACKOFF_H
#define PEN_ENGINE_BACKOFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "include/penstock.h"

#define PEN_BACKOFF_STEPS 32u
#define PEN_BACKOFF_RETRIES 3u /* unless said otherwise */
#define PEN_BACKOFF_RETRIES_MAX 1000u
#define PEN_BACKOFF_MAX_NS (365ull * 86400 * 1000000000) /* a year */
#define PEN_BACKOFF_LIST "2s,4s,8s"
#define PEN_BACKOFF_TEXT 768 /* enough for any schedule written out */

enum pen_backoff_jitter {
	PEN_JITTER_NONE = 0,
	PEN_JITTER_EQUAL,
	PEN_JITTER_FULL,
	PEN_JITTER_DECORRELATED,
};

struct pen_backoff {
	uint64_t step_ns[PEN_BACKOFF_STEPS];
	uint64_t cap_ns; /* the longest delay of the schedule */
	uint32_t steps;
	uint32_t max_retries;
	enum pen_backoff_jitter jitter;
	bool doubles; /* exp: step_ns[0] is the base */
};

/* list NULL: PEN_BACKOFF_LIST. *ret is untouched on failure. */
int pen_backoff_parse(struct pen_backoff *ret, const char *list, enum pen_backoff_jitter jitter,
		      uint32_t max_retries, struct pen_failure *why);
/* "none", "equal", ... Never NULL. */
const char *pen_backoff_jitter_name(enum pen_backoff_jitter jitter);
int pen_backoff_jitter_find(const char *name, enum pen_backoff_jitter *ret, struct pen_failure *why);

/* The retries that are left to an item that was tried this often (the first try counts). */
uint32_t pen_backoff_left(const struct pen_backoff *policy, uint32_t attempts);
/* Nanoseconds before retry n, n >= 1. Decorrelated draws the ones before it again, at most PEN_BACKOFF_RETRIES_MAX. */
uint64_t pen_backoff_delay(const struct pen_backoff *policy, uint32_t retry, uint64_t batch, uint64_t seq);
/* The schedule as it would be typed; parsing it again gives the same. Returns its length. */
size_t pen_backoff_text(const struct pen_backoff *policy, char out[PEN_BACKOFF_TEXT]);

#endif
