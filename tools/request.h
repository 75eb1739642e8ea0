/* SPDX-License-Identifier: MIT */
/*
 * request - a whole batch in a JSON file: `submit --spec FILE`
 *
 *	{"sources": ["papers.ndjson"], "into": "papers", "key": "/id", "max_retries": 5, "backoff": ["2s", "4s"],
 *	 "label": {"team": "x"}, "fresh": true}
 *	{"items": [{"id": 1}, {"id": 2}], "processor": "exec:./extract"}
 *
 * Members are the options of `submit`, with underscores or dashes, and are read by the parser of the command line; what
 * is typed beside --spec wins. `items` as a string is --items; as an array its values are the items, kept in the store
 * with the batch: strings as lines, anything else as NDJSON, numbers as they are written.
 *
 *   Threads    one.
 *   Memory     the file, and its strings once more.
 *   Limits     PEN_REQUEST_BYTES a file.
 *   Errors     said, as exit status: an unknown member, a value of a wrong kind, what is no JSON: 2; no such file: 3.
 */
#ifndef PEN_TOOLS_REQUEST_H
#define PEN_TOOLS_REQUEST_H

#include "tools/cmd.h"

#define PEN_REQUEST_BYTES (64u << 20)

struct pen_request {
	struct pen_cmd cmd;   /* the command with what the file says */
	struct pen_args args; /* of cmd */
	struct pen_args file; /* what the file alone says */
	char **argv;
	int argc, cap;
};

/* Inline items are behind stdin then, and the source is "-". Always followed by fini. */
int pen_request_read(const struct pen_cmd *cmd, struct pen_request *ret);
void pen_request_fini(struct pen_request *request);

#endif
