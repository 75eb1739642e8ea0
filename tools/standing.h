/* SPDX-License-Identifier: MIT */
/*
 * standing - how a batch stands besides its counters: tries, order, what people want of it, whom it waits for and who
 * waits for it
 *
 * Written where it is found, nothing is collected; of children the first PEN_STANDING_KIN, and a word when there
 * are more.
 */
#ifndef PEN_TOOLS_STANDING_H
#define PEN_TOOLS_STANDING_H

#include <stdbool.h>
#include <stdint.h>

#include "include/penstock.h"
#include "tools/json.h"

#define PEN_STANDING_KIN 100u

/* Members of the batch's object. */
void pen_standing_put(struct pen_jw *jw, struct pen_store *store, uint64_t id);
void pen_standing_show(struct pen_out *out, struct pen_store *store, uint64_t id);
/* All that it waits for and all that waits for it, near and far: the member "graph", or lines. 0 or a code. */
int pen_standing_put_graph(struct pen_jw *jw, struct pen_store *store, uint64_t id, struct pen_failure *why);
int pen_standing_show_graph(struct pen_out *out, struct pen_store *store, uint64_t id,
			    struct pen_failure *why);
/* The store's queue: members "queued", "waiting", "paused", "due"; or a line. */
void pen_standing_put_queue(struct pen_jw *jw, struct pen_store *store);
void pen_standing_show_queue(struct pen_out *out, struct pen_store *store);

#endif
