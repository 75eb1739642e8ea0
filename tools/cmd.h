/* SPDX-License-Identifier: MIT */
/*
 * cmd - the verbs: each takes what was typed and returns the exit status
 *
 * A verb writes data to stdout through one pen_out and says everything else on stderr.
 */
#ifndef PEN_TOOLS_CMD_H
#define PEN_TOOLS_CMD_H

#include <stdbool.h>
#include <stdint.h>

#include "tools/option.h"

struct pen_store;

struct pen_cmd {
	const struct pen_args *args;
	int argc;
	char **argv;
	uint64_t start_ns; /* CLOCK_MONOTONIC when the process began */
	uint64_t start_ms; /* the same of the wall clock */
};

int pen_cmd_run(const struct pen_cmd *cmd);
int pen_cmd_status(const struct pen_cmd *cmd);
int pen_cmd_items(const struct pen_cmd *cmd);
int pen_cmd_events(const struct pen_cmd *cmd);
int pen_cmd_datasets(const struct pen_cmd *cmd);
int pen_cmd_get(const struct pen_cmd *cmd);
int pen_cmd_scan(const struct pen_cmd *cmd);
int pen_cmd_drop(const struct pen_cmd *cmd);
int pen_cmd_cancel(const struct pen_cmd *cmd);
int pen_cmd_verify(const struct pen_cmd *cmd);
int pen_cmd_doctor(const struct pen_cmd *cmd);
int pen_cmd_explain(const struct pen_cmd *cmd);
int pen_cmd_version(const struct pen_cmd *cmd);
int pen_cmd_help(const struct pen_cmd *cmd);

/* Finds the batch a person named: 0, or the exit status after a message. */
int pen_cmd_batch(struct pen_store *store, const char *text, uint64_t *ret_id);

static inline bool pen_cmd_set(const struct pen_cmd *cmd, enum pen_option_id id)
{
	return cmd->args->value[id].set;
}

static inline const struct pen_value *pen_cmd_value(const struct pen_cmd *cmd, enum pen_option_id id)
{
	return &cmd->args->value[id];
}

#endif
