/* SPDX-License-Identifier: MIT */
/*
 * run: one batch from what was typed to its end.
 *
 *   - what was typed is checked as far as it can be without a store
 *   - the store is opened (or made), the engine started, the request submitted
 *   - until the completion comes: progress, and the first signal's sentence
 *   - the engine is stopped and the ending told (tools/closing.c)
 *
 * When the disk failed under a commit nothing more can be trusted: the process says so and leaves at once.
 */
#include "tools/cmd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "include/penstock.h"
#include "tools/closing.h"
#include "tools/home.h"
#include "tools/interrupt.h"
#include "tools/option.h"
#include "tools/say.h"
#include "tools/ticker.h"

/* ---- checks -------------------------------------------------------------------------------- */

static int usage(const char *what, const char *advice)
{
	pen_say_error(-PEN_USAGE, "%s", what);
	pen_say_advice("%s", advice);
	return pen_error_exit(-PEN_USAGE);
}

static bool pointer_ok(const char *p)
{
	for (; *p; p++)
		if (*p == '~' && p[1] != '0' && p[1] != '1')
			return false;
	return true;
}

static int check_key(const char *key, enum pen_format format)
{
	char near[64], advice[128];

	if (*key == '@') {
		if (pen_option_choice(key, "@seq|@offset|@path|@content") >= 0)
			return 0;
		snprintf(advice, sizeof advice,
			 "keys are @seq, @offset, @path, @content or a JSON pointer (/id)");
		if (pen_option_near(key, "@seq|@offset|@path|@content", '|', near, sizeof near))
			snprintf(advice, sizeof advice, "did you mean %s?", near);
		return usage("there is no such key", advice);
	}
	if (*key != '/') {
		snprintf(advice, sizeof advice, "a JSON pointer begins with a slash: --key /%.60s", key);
		return usage("column names need CSV, which is not in this version", advice);
	}
	if (!pointer_ok(key))
		return usage("the JSON pointer is malformed: ~ must be followed by 0 or 1",
			     "~0 stands for ~, ~1 for /");
	if (format == PEN_FORMAT_LINES || format == PEN_FORMAT_FILES)
		return usage("a JSON pointer needs --format ndjson: lines and files have no fields",
			     "use --key @seq, @offset, @path or @content");
	return 0;
}

static bool uuid_ok(const char *text)
{
	static const char shape[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";

	if (strlen(text) != sizeof shape - 1)
		return false;
	for (size_t i = 0; shape[i]; i++)
		if (shape[i] == '-' ? text[i] != '-' : !strchr("0123456789abcdefABCDEF", text[i]))
			return false;
	return true;
}

static bool dataset_ok(const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len > 200 || strncmp(name, "penstock.", 9) == 0)
		return false;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f)
			return false;
	return true;
}

/* keep, delete or move:DIR. False: neither. */
static bool on_success(const char *text, enum pen_on_success *ret, const char **ret_dir)
{
	*ret = PEN_SUCCESS_KEEP;
	*ret_dir = NULL;
	if (!text || !strcmp(text, "keep"))
		return true;
	if (!strcmp(text, "delete")) {
		*ret = PEN_SUCCESS_DELETE;
		return true;
	}
	if (strncmp(text, "move:", 5) != 0 || !text[5])
		return false;
	*ret = PEN_SUCCESS_MOVE;
	*ret_dir = text + 5;
	return true;
}

static int check_labels(const struct pen_args *args)
{
	const struct pen_list *labels = &args->lists[0];

	if (labels->count > PEN_LABELS_MAX)
		return usage("a batch has at most 64 labels", "");
	for (size_t i = 0; i < labels->count; i++) {
		const char *equals = strchr(labels->at[i], '=');

		if (!equals || equals == labels->at[i])
			return usage("a label is KEY=VALUE", "");
	}
	return 0;
}

static int check_sources(const struct pen_args *args, bool *ret_stream)
{
	const struct pen_value *items = &args->value[PEN_O_ITEMS];

	if (items->set && (args->word_count || !*items->text))
		return usage("--items takes a file, and stands instead of sources",
			     "a second list, or sources beside it, are a second run");
	if (args->value[PEN_O_NULL].set && !items->set)
		return usage("-0 is about --items", "like find . -print0 | penstock run --items - -0");
	*ret_stream = items->set && strcmp(items->text, "-") == 0;
	for (size_t i = 0; i < args->word_count; i++) {
		if (args->words[i][0] == '\0')
			return usage("a source's name is empty", "");
		*ret_stream |= strcmp(args->words[i], "-") == 0;
	}
	if (*ret_stream && isatty(STDIN_FILENO))
		return usage("stdin is a terminal",
			     "pipe data in (`zcat x.gz | penstock run -`) or name a file; "
			     "`penstock run --help` has examples");
	return 0;
}

static const char *text_of(const struct pen_cmd *cmd, enum pen_option_id id)
{
	return pen_cmd_value(cmd, id)->text; /* NULL when not given */
}

static int check(const struct pen_cmd *cmd, const struct pen_run *spec, bool *ret_stream)
{
	int rc = check_sources(cmd->args, ret_stream);
	enum pen_on_success what;
	const char *dir;

	if (!rc && spec->into && !dataset_ok(spec->into)) {
		pen_say_error(-PEN_DATASET_NAME, "the dataset cannot be called '%s'", spec->into);
		pen_say_advice("%s", pen_error_advice(-PEN_DATASET_NAME));
		rc = 2;
	}
	if (!rc && spec->key)
		rc = check_key(spec->key, spec->format);
	if (!rc && spec->correlation_id && !uuid_ok(spec->correlation_id))
		rc = usage("--correlation-id takes a UUID", "like 123e4567-e89b-42d3-a456-426614174000");
	if (!rc && spec->owner && !*spec->owner)
		rc = usage("--owner needs a name", "");
	if (!rc && spec->idempotency_key && !*spec->idempotency_key)
		rc = usage("--idempotency-key needs a value", "");
	if (!rc && !on_success(text_of(cmd, PEN_O_ON_SUCCESS), &what, &dir))
		rc = usage("--on-success takes keep, delete or move:DIR", "like --on-success move:done");
	return rc ? rc : check_labels(cmd->args);
}

static void make_spec(const struct pen_cmd *cmd, struct pen_run *ret)
{
	/* In the order of the choices in the option table. */
	static const enum pen_format formats[] = { PEN_FORMAT_AUTO, PEN_FORMAT_NDJSON, PEN_FORMAT_LINES,
						   PEN_FORMAT_FILES };
	static const enum pen_duplicate duplicates[] = { PEN_DUP_REPLACE, PEN_DUP_KEEP, PEN_DUP_REJECT };
	static const enum pen_durability levels[] = { PEN_DURABLE_COMMIT, PEN_DURABLE_GROUP,
						      PEN_DURABLE_RELAXED };
	const struct pen_value *rejects = pen_cmd_value(cmd, PEN_O_MAX_REJECTS);

	*ret = (struct pen_run){
		.size = sizeof *ret,
		.sources = cmd->args->words,
		.source_count = cmd->args->word_count,
		.into = text_of(cmd, PEN_O_INTO),
		.format = formats[pen_cmd_value(cmd, PEN_O_FORMAT)->n],
		.compression = pen_cmd_value(cmd, PEN_O_COMPRESSION)->n ? PEN_COMPRESSION_NONE
									: PEN_COMPRESSION_AUTO,
		.key = text_of(cmd, PEN_O_KEY),
		.on_duplicate = duplicates[pen_cmd_value(cmd, PEN_O_ON_DUPLICATE)->n],
		.validate = pen_cmd_value(cmd, PEN_O_VALIDATE)->n ? PEN_VALIDATE_FAST : PEN_VALIDATE_STRICT,
		.max_record = pen_cmd_value(cmd, PEN_O_MAX_RECORD)->n,
		.has_max_rejects = rejects->set,
		/* 0 % is no reject at all, which the count says; any other share leaves the count open. */
		.max_rejects = rejects->percent && rejects->ratio ? UINT64_MAX : rejects->n,
		.max_rejects_ratio = rejects->ratio,
		.durability = levels[pen_cmd_value(cmd, PEN_O_DURABILITY)->n],
		.chunk_items = (uint32_t)pen_cmd_value(cmd, PEN_O_CHUNK)->n,
		.chunk_bytes = pen_cmd_value(cmd, PEN_O_CHUNK_BYTES)->n,
		.pause_ms = (uint32_t)pen_cmd_value(cmd, PEN_O_PAUSE_MS)->n,
		.fresh = pen_cmd_set(cmd, PEN_O_FRESH),
		.owner = text_of(cmd, PEN_O_OWNER),
		.correlation_id = text_of(cmd, PEN_O_CORRELATION_ID),
		.labels = cmd->args->lists[0].at,
		.label_count = cmd->args->lists[0].count,
		.include = cmd->args->lists[PEN_O_INCLUDE - PEN_O_LABEL].at,
		.include_count = cmd->args->lists[PEN_O_INCLUDE - PEN_O_LABEL].count,
		.exclude = cmd->args->lists[PEN_O_EXCLUDE - PEN_O_LABEL].at,
		.exclude_count = cmd->args->lists[PEN_O_EXCLUDE - PEN_O_LABEL].count,
		.items = text_of(cmd, PEN_O_ITEMS),
		.items_nul = pen_cmd_set(cmd, PEN_O_NULL),
		.follow_symlinks = pen_cmd_set(cmd, PEN_O_FOLLOW_SYMLINKS),
		.idempotency_key = text_of(cmd, PEN_O_IDEMPOTENCY_KEY),
	};
	(void)on_success(text_of(cmd, PEN_O_ON_SUCCESS), &ret->on_success, &ret->move_to); /* check refuses it */
}

/* ---- the run ------------------------------------------------------------------------------- */

/* Called from engine threads. What went wrong is said even with --quiet. */
static void notice(void *arg, int code, const char *text)
{
	(void)arg;
	if (code == 0 || code == -PEN_IO_DENIED || code == -PEN_TREE_MOVED || code == -PEN_SOURCE_KEPT)
		pen_say_note("%s", text);
	else
		pen_say_warning(code, "%s", text);
}

/* No clean-up: an orderly close would touch the disk that failed. */
static _Noreturn void disk_failed(struct pen_engine *engine, uint64_t batch)
{
	struct pen_failure why = { 0 };

	pen_say_progress_end();
	if (pen_engine_failure(engine, batch, &why) != 0 || !why.text[0])
		(void)pen_engine_failure(engine, 0, &why);
	pen_say_failure(-PEN_DISK_FAILED, &why);
	_exit(74);
}

static int start(const struct pen_cmd *cmd, struct pen_store *store, struct pen_engine **ret)
{
	static const enum pen_io_choice choices[] = { PEN_IO_AUTO, PEN_IO_URING, PEN_IO_THREADS };
	uint64_t chunk_bytes = pen_cmd_value(cmd, PEN_O_CHUNK_BYTES)->n;
	struct pen_engine_options options = {
		.size = sizeof options,
		.io = choices[pen_cmd_value(cmd, PEN_O_IO)->n],
		.processors = (uint32_t)pen_cmd_value(cmd, PEN_O_JOBS)->n,
		/* Buffers are cut once: larger chunks need larger ones. */
		.chunk_bytes = chunk_bytes > 256 << 10 ? (uint32_t)chunk_bytes : 0,
		.notice = notice,
	};
	struct pen_failure why = { 0 };

	/* Engine threads inherit the mask: signals are this thread's business. */
	pen_interrupt_block(true);
	int rc = pen_engine_start(store, &options, ret, &why);

	if (rc == 0)
		pen_interrupt_arm(*ret);
	pen_interrupt_block(false);
	return rc < 0 ? pen_say_failure(rc, &why) : 0;
}

static void name_of(const struct pen_args *args, char *out, size_t cap)
{
	const char *first = args->word_count ? args->words[0] : args->value[PEN_O_ITEMS].text;
	const char *slash = strrchr(first, '/');

	if (args->word_count > 1)
		snprintf(out, cap, "%zu sources", args->word_count);
	else
		snprintf(out, cap, "%s", slash && slash[1] ? slash + 1 : first);
}

/* Waits for the completion and shows how it goes. 0, or the code the engine gave up with. */
static int watch(const struct pen_cmd *cmd, struct pen_engine *engine, struct pen_closing *end)
{
	struct pen_progress progress;
	struct pen_ticker ticker;
	struct pen_cqe *cqe;
	char name[160];
	int rc;

	name_of(cmd->args, name, sizeof name);
	pen_ticker_init(&ticker, (enum pen_ticker_mode)pen_cmd_value(cmd, PEN_O_PROGRESS)->n, name,
			end->submit_ns);
	while ((rc = pen_wait_cqe_timeout(engine, &cqe, pen_ticker_wait_ns(&ticker, pen_ticker_now()))) !=
	       0) {
		if (rc == -PEN_DISK_FAILED)
			disk_failed(engine, ticker.bar.last.batch);
		if (rc != -ETIME && rc != -EINTR && rc != -EAGAIN)
			break;
		if (pen_interrupt_signal() && !ticker.bar.draining) {
			ticker.bar.draining = true;
			pen_say_note("draining; press Ctrl-C again to stop at once");
		}
		if (pen_engine_progress(engine, 0, &progress) == 0)
			pen_ticker_tick(&ticker, &progress, pen_ticker_now());
	}
	if (rc == 0) {
		end->res = cqe->res;
		end->batch = cqe->batch;
		pen_cqe_seen(engine, cqe);
		if (end->res == -PEN_DISK_FAILED)
			disk_failed(engine, end->batch);
		end->measured = end->batch && pen_engine_progress(engine, end->batch, &end->progress) == 0;
		if (end->measured)
			pen_bar_feed(&ticker.bar, &end->progress, pen_ticker_now());
		if (end->res < 0 && pen_engine_failure(engine, end->batch, &end->why) != 0)
			end->why.text[0] = '\0';
	}
	pen_ticker_end(&ticker);
	return rc;
}

static int execute(const struct pen_cmd *cmd, const struct pen_run *spec, struct pen_store *store,
		   struct pen_closing *end)
{
	struct pen_engine *engine;
	struct pen_sqe *sqe;
	int rc = start(cmd, store, &engine);

	if (rc)
		return rc;
	end->submit_ns = pen_ticker_now();
	sqe = pen_get_sqe(engine);
	if (sqe) {
		pen_prep_run(sqe, spec);
		pen_submit(engine);
		rc = watch(cmd, engine, end);
	} else {
		rc = -EAGAIN;
	}
	end->sig = pen_interrupt_signal();
	pen_interrupt_disarm();
	pen_engine_stop(engine);
	return rc < 0 ? pen_say_failure(rc, NULL) : pen_closing_end(end);
}

int pen_cmd_run(const struct pen_cmd *cmd)
{
	struct pen_closing end = { .cmd = cmd };
	struct pen_home home;
	struct pen_run spec;
	int rc;

	make_spec(cmd, &spec);
	rc = check(cmd, &spec, &end.stream);
	if (!rc)
		rc = pen_home_create(cmd->args, &home, &end.store);
	if (rc)
		return rc;
	rc = execute(cmd, &spec, end.store, &end);
	pen_store_close(end.store);
	return rc;
}
