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
#include <time.h>

#include "tools/option.h"

struct pen_engine;
struct pen_store;

struct pen_cmd {
	const struct pen_args *args;
	int argc;
	char **argv;
	uint64_t start_ns; /* CLOCK_MONOTONIC when the process began */
	uint64_t start_ms; /* the same of the wall clock */
};

int pen_cmd_run(const struct pen_cmd *cmd);
int pen_cmd_plan(const struct pen_cmd *cmd);
int pen_cmd_watch(const struct pen_cmd *cmd);
int pen_cmd_status(const struct pen_cmd *cmd);
int pen_cmd_items(const struct pen_cmd *cmd);
int pen_cmd_events(const struct pen_cmd *cmd);
int pen_cmd_datasets(const struct pen_cmd *cmd);
int pen_cmd_get(const struct pen_cmd *cmd);
int pen_cmd_scan(const struct pen_cmd *cmd);
int pen_cmd_export(const struct pen_cmd *cmd);
int pen_cmd_flag(const struct pen_cmd *cmd);
int pen_cmd_clean(const struct pen_cmd *cmd);
int pen_cmd_completion(const struct pen_cmd *cmd);
int pen_cmd_drop(const struct pen_cmd *cmd);
int pen_cmd_submit(const struct pen_cmd *cmd);
int pen_cmd_work(const struct pen_cmd *cmd);
int pen_cmd_pause(const struct pen_cmd *cmd);
int pen_cmd_resume(const struct pen_cmd *cmd);
int pen_cmd_cancel(const struct pen_cmd *cmd);
int pen_cmd_retry(const struct pen_cmd *cmd);
int pen_cmd_limit(const struct pen_cmd *cmd);
int pen_cmd_why(const struct pen_cmd *cmd);
int pen_cmd_log(const struct pen_cmd *cmd);
int pen_cmd_verify(const struct pen_cmd *cmd);
int pen_cmd_doctor(const struct pen_cmd *cmd);
int pen_cmd_explain(const struct pen_cmd *cmd);
int pen_cmd_version(const struct pen_cmd *cmd);
int pen_cmd_help(const struct pen_cmd *cmd);

/* For run and plan: 0, or the exit status after a message. rehearse: store may be NULL, and a signal ends the
 * process at once, because nothing can be lost. */
int pen_cmd_engine(const struct pen_cmd *cmd, struct pen_store *store, bool rehearse,
		   struct pen_engine **ret);
/* What the sources are called in one word or two. */
void pen_cmd_sources(const struct pen_args *args, char *out, size_t cap);

/* Finds the batch a person named: 0, or the exit status after a message. */
int pen_cmd_batch(struct pen_store *store, const char *text, uint64_t *ret_id);

/* What is to be free before something more is started: --min-free-memory, --min-free-disk. */
struct pen_min_free pen_cmd_room(const struct pen_cmd *cmd);
/* Who asks: the name of the process's user. */
void pen_cmd_own_name(char *ret, size_t cap);

static inline bool pen_cmd_set(const struct pen_cmd *cmd, enum pen_option_id id)
{
	return cmd->args->value[id].set;
}

static inline const struct pen_value *pen_cmd_value(const struct pen_cmd *cmd, enum pen_option_id id)
{
	return &cmd->args->value[id];
}

static inline void pen_cmd_sleep_ms(uint64_t ms)
{
	(void)nanosleep(&(struct timespec){ .tv_sec = (time_t)(ms / 1000),
					    .tv_nsec = (long)(ms % 1000) * 1000000 },
			NULL);
}

#endif
