/* SPDX-License-Identifier: MIT */
/*
 * outlook - what a plan found, told: to people in a few lines, or as one JSON document on stdout
 *
 * As closing.h is for run: numbers, the first rejects, the exit status.
 */
#ifndef PEN_TOOLS_OUTLOOK_H
#define PEN_TOOLS_OUTLOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "include/penstock.h"
#include "tools/cmd.h"
#include "tools/home.h"

#define PEN_OUTLOOK_LIMITS 5

/* What would bite. */
struct pen_outlook_limit {
	const char *name;
	int code;
	char text[256];
};

struct pen_outlook {
	const struct pen_cmd *cmd;
	struct pen_home home;
	struct pen_store *store; /* NULL: there is none */
	struct pen_run spec;
	struct pen_store_info info; /* zero without a store */
	uint64_t free_bytes;	    /* of its disk */
	bool free_known;
	struct pen_forecast forecast;
	int res; /* of the completion */
	struct pen_failure why;
	uint64_t pace_batch; /* an earlier batch whose speed is known; 0: none */
	uint64_t pace_ms;    /* this one at its speed */
	struct pen_outlook_limit limits[PEN_OUTLOOK_LIMITS];
	size_t limit_count;
	int status;
};

/* Says and prints it; returns the exit status: `status`, or 3 when stdout cannot be written. */
int pen_outlook_tell(const struct pen_outlook *outlook);

#endif
