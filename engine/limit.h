/* SPDX-License-Identifier: MIT */
/*
 * limit - policies by name over the table of what passed (turnstile.h); the public calls are penstock.h's
 *
 * Presets are built in; rows of the store change them and add others (store/policy.h). Every process keeps them in an
 * array and reads the rows again when the table's generation has grown: a change holds from the next decision on, and a
 * decision reads no row.
 *
 *   Threads    any, but for open and close. The array is read under a mutex that is held for a look-up.
 *   Memory     the array, 40 KiB; with `copier` a thread.
 *   Orderings  turnstile.generation.
 */
#ifndef PEN_ENGINE_LIMIT_H
#define PEN_ENGINE_LIMIT_H

#include "engine/turnstile.h"
#include "include/penstock.h"

struct pen_turnstile *pen_limit_turnstile(struct pen_limits *limits);
/* A policy as the table asks for it; cost is left 0. -PEN_LIMIT_UNKNOWN. */
int pen_limit_ask(struct pen_limits *limits, const char *name, struct pen_turnstile_ask *ret,
		  struct pen_limit_policy *ret_policy);
struct pen_sum pen_limit_identity(const char *text);

#endif
