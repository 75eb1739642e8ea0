/* SPDX-License-Identifier: MIT */
/*
 * policy - rate-limit policies that people set, as rows of penstock.meta
 *
 * A row is there for a policy of one's own and for a preset that was changed; without one a preset is as it was built.
 *
 *   Threads    any.
 *   Limits     PEN_POLICIES_MAX rows; names of 1 to PEN_POLICY_NAME_MAX letters, digits, '.', '_' and '-'.
 */
#ifndef PEN_STORE_POLICY_H
#define PEN_STORE_POLICY_H

#include "store/format.h"
#include "store/store.h"

#define PEN_POLICY_KEY "policy" /* and the name */
#define PEN_POLICIES_MAX 256u

struct pen_policy {
	char name[PEN_POLICY_NAME_MAX + 1];
	struct pen_fmt_policy row;
};

bool pen_policy_name_ok(const char *name);
/* Up to cap rows, in order of their names: how many, or a code. */
int pen_policy_read(struct pen_store *store, struct pen_policy *ret, uint32_t cap);
/* head and changed_ms are filled in. -E2BIG: there are PEN_POLICIES_MAX already. */
int pen_policy_put(struct pen_store *store, const char *name, struct pen_fmt_policy *row,
		   struct pen_failure *why);
/* -PEN_LIMIT_UNKNOWN: there is no row. */
int pen_policy_remove(struct pen_store *store, const char *name, struct pen_failure *why);

#endif
