/* SPDX-License-Identifier: MIT */
/*
 * queue - which submitted batch is taken up next
 *
 * Looks at the store's index: batches that are queued, that wait for a retry, or whose runner died. Of those that may
 * run it picks by engine/share.h; for each of the others it can say why it waits. Nothing is locked: two workers may
 * pick the same batch, and pen_prep_take lets one of them have it.
 *
 *   Threads    one a queue.
 *   Memory     one entry a candidate, at most PEN_QUEUE_MAX; what lies behind them is seen when they are gone.
 */
#ifndef PEN_ENGINE_QUEUE_H
#define PEN_ENGINE_QUEUE_H

#include "engine/share.h"
#include "include/penstock.h"

#define PEN_QUEUE_MAX 10000u
#define PEN_QUEUE_OWNERS 1024u
#define PEN_QUEUE_TEXT 512

#endif
