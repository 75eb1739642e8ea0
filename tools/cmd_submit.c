/* SPDX-License-Identifier: MIT */
/*
 * submit: enters a batch and prints its id
 */
#include <stdio.h>
#include <unistd.h>

#include "include/penstock.h"
#include "tools/cmd.h"
#include "tools/enter.h"
#include "tools/home.h"
#include "tools/interrupt.h"
#include "tools/json.h"
#include "tools/out.h"
#include "tools/request.h"
#include "tools/say.h"
#include "tools/spec.h"
#include "tools/text.h"

static int print(const struct pen_cmd *cmd, uint64_t batch, bool there)
{
	char id[PEN_TEXT_NUMBER];
	struct pen_out out;
	struct pen_jw jw;

	pen_out_init(&out, STDOUT_FILENO);
	if (pen_cmd_set(cmd, PEN_O_JSON)) {
		pen_jw_init(&jw, &out);
		pen_jw_object(&jw, NULL);
		pen_jw_id(&jw, "batch", batch);
		pen_jw_bool(&jw, "deduplicated", there);
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
	bool stream, there = false;
	uint64_t batch = 0;
	int rc = pen_spec_make(cmd, &spec, &stream);

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
		rc = rc ? pen_say_failure(rc, &why) : 0;
		if (!rc && there)
			pen_say_note("the same is submitted already, or done");
		if (!rc)
			rc = print(cmd, batch, there);
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
