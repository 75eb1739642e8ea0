/* SPDX-License-Identifier: MIT */
#include "tools/enter.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tools/option.h"
#include "tools/say.h"

bool pen_enter_wanted(const struct pen_cmd *cmd)
{
	return pen_cmd_set(cmd, PEN_O_PRIORITY) || pen_cmd_set(cmd, PEN_O_NOT_BEFORE) ||
	       pen_cmd_set(cmd, PEN_O_ON_COMPLETE) || cmd->args->lists[PEN_O_PARENT - PEN_O_LABEL].count;
}

static int make_after(const struct pen_cmd *cmd, struct pen_store *store, struct pen_enter *ret)
{
	size_t count = cmd->args->lists[PEN_O_PARENT - PEN_O_LABEL].count;

	if (count > sizeof ret->after / sizeof *ret->after) {
		pen_say_error(-PEN_USAGE, "a batch waits for at most 256 others");
		return 2;
	}
	for (size_t i = 0; i < count; i++) {
		const char *text = cmd->args->lists[PEN_O_PARENT - PEN_O_LABEL].at[i];
		struct pen_failure why = { 0 };
		char name[64];
		size_t len;
		int status, rc = pen_after_parse(text, &len, &ret->after[i].ok, &why);

		if (rc)
			return pen_say_failure(rc, &why);
		(void)snprintf(name, sizeof name, "%.*s", (int)(len < 63 ? len : 63), text);
		status = pen_cmd_batch(store, name, &ret->after[i].batch);
		if (status)
			return status;
	}
	ret->submit.after = ret->after;
	ret->submit.after_count = count;
	return 0;
}

int pen_enter_make(const struct pen_cmd *cmd, struct pen_store *store, const struct pen_run *run, bool stream,
		   struct pen_enter *ret)
{
	const struct pen_value *time = pen_cmd_value(cmd, PEN_O_NOT_BEFORE);
	struct pen_failure why = { 0 };
	int rc;

	*ret = (struct pen_enter){
		.submit = { .size = sizeof ret->submit,
			    .run = run,
			    .priority = (int)pen_cmd_value(cmd, PEN_O_PRIORITY)->i,
			    .on_complete = pen_cmd_value(cmd, PEN_O_ON_COMPLETE)->text },
	};
	if (pen_cmd_set(cmd, PEN_O_DEDUP))
		ret->submit.dedup = pen_cmd_value(cmd, PEN_O_DEDUP)->text;
	if (pen_cmd_set(cmd, PEN_O_DEDUP_MODE))
		ret->submit.dedup_mode = PEN_DEDUP_SIMPLE + (int)pen_cmd_value(cmd, PEN_O_DEDUP_MODE)->n;
	if (pen_cmd_set(cmd, PEN_O_DEDUP_TTL))
		ret->submit.dedup_ttl_ms = pen_cmd_value(cmd, PEN_O_DEDUP_TTL)->n;
	if (time->set) {
		const char *wrong = pen_option_time(time->text, cmd->start_ms, &ret->submit.not_before_ms);

		if (wrong) {
			pen_say_error(-PEN_USAGE, "--not-before: %s", wrong);
			return 2;
		}
	}
	rc = make_after(cmd, store, ret);
	if (rc || !stream)
		return rc;
	if (run->source_count > 1) {
		pen_say_error(-PEN_USAGE, "stdin is submitted by itself, without other sources");
		return 2;
	}
	rc = pen_spool(store, STDIN_FILENO, ret->spool, NULL, &why);
	if (rc)
		return pen_say_failure(rc, &why);
	ret->submit.spool = ret->spool;
	return 0;
}

int pen_enter_do(struct pen_engine *engine, struct pen_enter *enter, struct pen_store *store,
		 uint64_t *ret_batch, int *ret_there, struct pen_failure *why)
{
	struct pen_sqe *sqe = pen_get_sqe(engine);
	struct pen_cqe *cqe;
	int rc;

	if (!sqe)
		return -PEN_MEMORY;
	pen_prep_submit(sqe, &enter->submit);
	pen_submit(engine);
	rc = pen_wait_cqe(engine, &cqe);
	if (!rc) {
		rc = cqe->res;
		*ret_batch = cqe->batch;
		*ret_there = (int)cqe->value;
		pen_cqe_seen(engine, cqe);
	}
	if (rc)
		(void)pen_engine_failure(engine, 0, why);
	if (enter->spool[0] && (rc || *ret_there == 1))
		pen_spool_drop(store, enter->spool);
	return rc;
}
