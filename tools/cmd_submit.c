/* SPDX-License-Identifier: MIT */
/*
 * submit: enters a batch and prints its id
 */
#include <stdio.h>
#include <unistd.h>

#include "include/penstock.h"
#include "tools/closing.h"
#include "tools/cmd.h"
#include "tools/enter.h"
#include "tools/home.h"
#include "tools/interrupt.h"
#include "tools/json.h"
#include "tools/out.h"
#include "tools/refusal.h"
#include "tools/request.h"
#include "tools/say.h"
#include "tools/spec.h"
#include "tools/text.h"

/* The batch whose place this one took; 0: none. */
static uint64_t replaced_by(struct pen_store *store, uint64_t batch, int there)
{
	struct pen_dedup_info info;

	return there == 2 && !pen_batch_dedup(store, batch, &info) ? info.previous : 0;
}

static void say(const struct pen_cmd *cmd, uint64_t replaced, int there)
{
	char id[PEN_TEXT_NUMBER];

	if (there == 1 && pen_cmd_set(cmd, PEN_O_DEDUP))
		pen_say_note("a batch with this key is there already: nothing was entered");
	else if (there == 1)
		pen_say_note("the same is submitted already, or done");
	else if (there && replaced)
		pen_say_note("it took the place of batch %s, which had this key and had not begun",
			     pen_text_id(id, replaced));
	else if (there)
		pen_say_note("it took the place of a batch that had this key and had not begun");
}

static int print(const struct pen_cmd *cmd, uint64_t batch, uint64_t replaced, int there)
{
	char id[PEN_TEXT_NUMBER];
	struct pen_out out;
	struct pen_jw jw;

	pen_out_init(&out, STDOUT_FILENO);
	if (pen_cmd_set(cmd, PEN_O_JSON)) {
		pen_jw_init(&jw, &out);
		pen_jw_object(&jw, NULL);
		pen_jw_id(&jw, "batch", batch);
		pen_jw_bool(&jw, "deduplicated", there != 0);
		if (replaced)
			pen_jw_id(&jw, "replaced", replaced);
		else
			pen_jw_null(&jw, "replaced");
		pen_jw_object_end(&jw);
		pen_jw_line(&jw);
	} else {
		pen_out_text(&out, pen_text_id(id, batch));
		pen_out_char(&out, '\n');
	}
	return pen_out_end(&out, 0);
}

static int submit(const struct pen_cmd *cmd)
{
	struct pen_failure why = { 0 };
	struct pen_engine *engine;
	struct pen_enter enter;
	struct pen_store *store;
	struct pen_home home;
	struct pen_run spec;
	uint64_t batch = 0, replaced = 0;
	bool stream;
	int there = 0, rc = pen_spec_make(cmd, &spec, &stream);

	if (!rc)
		rc = pen_home_create(cmd->args, &home, &store);
	if (rc)
		return rc;
	rc = pen_enter_make(cmd, store, &spec, stream, &enter);
	if (!rc)
		rc = pen_cmd_engine(cmd, store, false, &engine);
	if (!rc) {
		rc = pen_enter_do(engine, &enter, store, &batch, &there, &why);
		pen_interrupt_disarm();
		pen_engine_stop(engine);
		if (rc == -PEN_LIMIT_REFUSED)
			pen_refusal_batch(cmd, store);
		rc = rc == -PEN_FLAG_REFUSED ? pen_closing_refused(cmd, store, batch, &why)
		     : rc		     ? pen_say_failure(rc, &why)
					     : 0;
		if (!rc) {
			replaced = replaced_by(store, batch, there);
			say(cmd, replaced, there);
			rc = print(cmd, batch, replaced, there);
		}
		pen_home_tidy(store);
	} else if (enter.spool[0]) {
		pen_spool_drop(store, enter.spool);
	}
	pen_store_close(store);
	return rc;
}

int pen_cmd_submit(const struct pen_cmd *cmd)
{
	struct pen_request request;
	int status;

	if (!pen_cmd_set(cmd, PEN_O_SPEC))
		return submit(cmd);
	status = pen_request_read(cmd, &request);
	if (!status)
		status = submit(&request.cmd);
	pen_request_fini(&request);
	return status;
}
