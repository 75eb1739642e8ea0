/* SPDX-License-Identifier: MIT */
/*
 * context - on whose behalf work is done: correlation id, trace, user, since when
 *
 * A batch has one (struct pen_context in penstock.h). It is made when the batch is, kept with its facts, and goes
 * along with everything that is done for it: chunks through their batch, children through their environment, worker
 * requests, plugins, events, log lines. A program sets one for a thread; batches it prepares there get the same.
 *
 * Trace: W3C Trace Context, version 00. A batch that was given a traceparent keeps the trace id; one that was not has
 * its correlation id's 16 bytes for one. What is passed on names the batch as the parent.
 *
 *   Threads    a context is plain memory; the one in force is a thread's own.
 *   Errors     -PEN_USAGE for a text that is no UUID or no traceparent; -PEN_MEMORY when no random bytes can be had.
 */
#ifndef PEN_ENGINE_CONTEXT_H
#define PEN_ENGINE_CONTEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "include/penstock.h"

struct pen_facts;

#define PEN_CONTEXT_LABEL "traceparent=" /* the label under which a batch keeps the one it was given */

bool pen_context_is_uuid(const char *text);
/* Version 00 exactly, or a later one of which the first four fields are taken. */
bool pen_context_is_trace(const char *text);
/* The context of a batch as its facts tell it. */
void pen_context_of(const struct pen_facts *facts, struct pen_context *ret);
/* What a child of the batch is told: same trace, the batch as parent, flags as given (00 if none were). */
void pen_context_child(const struct pen_context *context, uint64_t batch, char ret[PEN_TRACEPARENT_MAX]);

#endif
