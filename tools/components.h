/* SPDX-License-Identifier: MIT */
/*
 * components - the eight parts of a batch back end, and how each of them does now
 *
 * Database, transactions, queue, logging, correlation ids, progress (there called WebSocket), rate limits, feature
 * flags: the list of docs/REFERENCE.md. Nothing is counted and nothing waited for: rows that are kept, files that are
 * mapped, at most PEN_COMPONENTS_LOOK of what has no sum.
 *
 *   States    ready   it works, nothing is under way
 *             busy    something is
 *             held    the disk is nearly full, or a writer waits
 *             failed  it cannot be looked at; the detail says why
 */
#ifndef PEN_TOOLS_COMPONENTS_H
#define PEN_TOOLS_COMPONENTS_H

#include "include/penstock.h"
#include "tools/json.h"
#include "tools/option.h"
#include "tools/out.h"

#define PEN_COMPONENTS_LOOK 1000u

/* The member "components": [{"name","state","detail"}]. */
void pen_components_put(struct pen_jw *jw, struct pen_store *store, const struct pen_args *args);
/* The same, a line each. */
void pen_components_show(struct pen_out *out, struct pen_store *store, const struct pen_args *args);

#endif
