/* SPDX-License-Identifier: MIT */
/*
 * logs - the log of a command: where it lies, which levels, and how a line looks to people
 *
 * Where: --log-dir, else $PENSTOCK_LOG_DIR, else logs/ in the store. Levels: --log-level, else $PENSTOCK_LOG, else what
 * the directory says (`penstock log --set`). Naming levels also shows the lines on stderr; nothing else does.
 *
 * Threads: begin and end: the main thread, once. view: any.
 */
#ifndef PEN_TOOLS_LOGS_H
#define PEN_TOOLS_LOGS_H

#include <stdbool.h>
#include <stddef.h>

#include "tools/option.h"

struct pen_out;

/* The directory for a store's directory, into ret. false: the path is too long. */
bool pen_logs_dir(const struct pen_args *args, const char *home, char *ret, size_t cap);
/* For commands that write. 0, or the exit status after a message; what was not asked for is only warned of. */
int pen_logs_begin(const struct pen_args *args, const char *home);
void pen_logs_end(void);

/* A line of the files, without its newline, as one line for people; what is no such line as it is. */
void pen_logs_view(struct pen_out *out, const char *line, size_t len, bool color);

#endif
