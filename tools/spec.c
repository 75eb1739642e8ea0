/* SPDX-License-Identifier: MIT */
#include "tools/spec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/home.h"
#include "tools/option.h"
#include "tools/say.h"

static int usage(const char *what, const char *advice)
{
	pen_say_error(-PEN_USAGE, "%s", what);
	if (*advice)
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
	if (format == PEN_FORMAT_CSV || format == PEN_FORMAT_TSV)
		return *key ? 0 : usage("the key is empty", "name a column (id, #1)");
	if (*key != '/' && format != PEN_FORMAT_AUTO) {
		snprintf(advice, sizeof advice, "a JSON pointer begins with a slash: --key /%.60s", key);
		return usage("a column's name needs --format csv or tsv", advice);
	}
	if (*key != '/')
		return 0; /* a column, if the sources turn out to be tables */
	if (!pointer_ok(key))
		return usage("the JSON pointer is malformed: ~ must be followed by 0 or 1",
			     "~0 stands for ~, ~1 for /");
	if (format == PEN_FORMAT_LINES || format == PEN_FORMAT_FILES)
		return usage("a JSON pointer needs --format ndjson or json: lines and files have no fields",
			     "use --key @seq, @offset, @path or @content");
	return 0;
}

/* Whether both can be told apart from other text; NULL is fine. */
static bool context_ok(const char *correlation_id, const char *traceparent)
{
	struct pen_context context;

	return pen_context_init(&context, correlation_id, traceparent, NULL, NULL) == 0;
}

/* What called us says in the environment whose work this is; what is no trace is no news. */
static const char *trace_of(const struct pen_cmd *cmd)
{
	const char *around = getenv("TRACEPARENT");

	if (pen_cmd_set(cmd, PEN_O_TRACEPARENT))
		return pen_cmd_value(cmd, PEN_O_TRACEPARENT)->text;
	return around && context_ok(NULL, around) ? around : NULL;
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

/* What the engine would refuse is refused before a store is made. */
static int check_processor(const struct pen_run *spec)
{
	struct pen_failure why = { 0 };
	int rc;

	if (!spec->processor && !spec->processor_config && !spec->where_count)
		return 0;
	rc = pen_run_check(spec, &why);
	return rc ? pen_say_failure(rc, &why) : 0;
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
	if (!rc && !context_ok(spec->correlation_id, NULL))
		rc = usage("--correlation-id takes a UUID", "like 123e4567-e89b-42d3-a456-426614174000");
	if (!rc && !context_ok(NULL, spec->traceparent))
		rc = usage("--traceparent takes a W3C trace",
			   "like 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
	if (!rc && spec->owner && !*spec->owner)
		rc = usage("--owner needs a name", "");
	if (!rc && spec->idempotency_key && !*spec->idempotency_key)
		rc = usage("--idempotency-key needs a value", "");
	if (!rc && !on_success(text_of(cmd, PEN_O_ON_SUCCESS), &what, &dir))
		rc = usage("--on-success takes keep, delete or move:DIR", "like --on-success move:done");
	if (!rc)
		rc = check_labels(cmd->args);
	return rc ? rc : check_processor(spec);
}

/* One byte, as people type it. */
static bool byte_of(const char *text, int *ret)
{
	static const char *const names[] = { "\\t\t", "tab\t", "comma,", "semicolon;", "pipe|", "space " };

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		size_t n = strlen(names[i]) - 1;

		if (strlen(text) == n && memcmp(text, names[i], n) == 0) {
			*ret = (unsigned char)names[i][n];
			return true;
		}
	}
	if (!*text || text[1] || *text == '\n' || *text == '\r' || (unsigned char)*text >= 0x80)
		return false;
	*ret = (unsigned char)*text;
	return true;
}

static int make_dialect(const struct pen_cmd *cmd, struct pen_run *ret)
{
	const char *header = text_of(cmd, PEN_O_HEADER);
	const char *delimiter = text_of(cmd, PEN_O_DELIMITER);
	const char *quote = text_of(cmd, PEN_O_QUOTE);
	const char *escape = text_of(cmd, PEN_O_ESCAPE);
	int choice = header ? pen_option_choice(header, "auto|yes|no") : 0;

	ret->header = choice < 0 ? PEN_HEADER_NAMES : (enum pen_header)choice;
	ret->header_names = choice < 0 ? header : NULL;
	if (delimiter && strcmp(delimiter, "auto") && !byte_of(delimiter, &ret->delimiter))
		return usage("--delimiter takes one ASCII character", "like ';' or '\\t'");
	if (quote && strcmp(quote, "none") == 0)
		ret->quote = PEN_CSV_NONE;
	else if (quote && strcmp(quote, "auto") && !byte_of(quote, &ret->quote))
		return usage("--quote takes one ASCII character, or none", "");
	if (escape && strcmp(escape, "none") == 0)
		ret->escape = PEN_CSV_NONE;
	else if (escape && strcmp(escape, "auto") && !byte_of(escape, &ret->escape))
		return usage("--escape takes one ASCII character, or none", "like '\\' or the quote itself");
	if (ret->delimiter && (ret->delimiter == ret->quote || ret->delimiter == ret->escape))
		return usage("the delimiter cannot be the quote or the escape too", "");
	return 0;
}

static void make_job(const struct pen_cmd *cmd, struct pen_run *ret)
{
	static const char *const jitters[] = { "none", "equal", "full", "decorrelated" };

	ret->jobs = (uint32_t)pen_cmd_value(cmd, PEN_O_JOBS)->n;
	ret->window = (uint32_t)pen_cmd_value(cmd, PEN_O_WINDOW)->n;
	ret->timeout_ns = pen_cmd_value(cmd, PEN_O_TIMEOUT)->n * 1000000;
	ret->has_max_retries = pen_cmd_set(cmd, PEN_O_MAX_RETRIES);
	ret->max_retries = (uint32_t)pen_cmd_value(cmd, PEN_O_MAX_RETRIES)->n;
	ret->backoff = text_of(cmd, PEN_O_BACKOFF);
	ret->jitter = jitters[pen_cmd_value(cmd, PEN_O_JITTER)->n];
	ret->retry_for_ns = pen_cmd_value(cmd, PEN_O_RETRY_FOR)->n * 1000000;
	ret->halt = text_of(cmd, PEN_O_HALT);
	ret->memory_max = pen_cmd_value(cmd, PEN_O_MEMORY_MAX)->n;
	ret->output_max = pen_cmd_value(cmd, PEN_O_OUTPUT_MAX)->n;
	ret->cache = pen_cmd_set(cmd, PEN_O_CACHE);
	ret->max_crashes = (uint32_t)pen_cmd_value(cmd, PEN_O_MAX_CRASHES)->n;
}

static void make_spec(const struct pen_cmd *cmd, struct pen_run *ret)
{
	/* In the order of the choices in the option table. */
	static const enum pen_format formats[] = {
		PEN_FORMAT_AUTO,   PEN_FORMAT_NDJSON, PEN_FORMAT_JSON,	 PEN_FORMAT_CSV,
		PEN_FORMAT_TSV,	   PEN_FORMAT_LINES,  PEN_FORMAT_FILES,	 PEN_FORMAT_FRAMES,
		PEN_FORMAT_FRAMES, PEN_FORMAT_FRAMES, PEN_FORMAT_FRAMES,
	};
	static const enum pen_compression packings[] = { PEN_COMPRESSION_AUTO, PEN_COMPRESSION_NONE,
							 PEN_COMPRESSION_GZIP, PEN_COMPRESSION_ZSTD };
	uint64_t format = pen_cmd_value(cmd, PEN_O_FORMAT)->n;
	static const enum pen_duplicate duplicates[] = { PEN_DUP_REPLACE, PEN_DUP_KEEP, PEN_DUP_REJECT };
	static const enum pen_durability levels[] = { PEN_DURABLE_COMMIT, PEN_DURABLE_GROUP,
						      PEN_DURABLE_RELAXED };
	const struct pen_value *rejects = pen_cmd_value(cmd, PEN_O_MAX_REJECTS);

	*ret = (struct pen_run){
		.size = sizeof *ret,
		.sources = cmd->args->words,
		.source_count = cmd->args->word_count,
		.into = text_of(cmd, PEN_O_INTO),
		.format = formats[format],
		.frame = format >= 7 ? (enum pen_frame)(format - 7) : PEN_FRAME_U32BE,
		.compression = packings[pen_cmd_value(cmd, PEN_O_COMPRESSION)->n],
		.encoding = (enum pen_encoding)pen_cmd_value(cmd, PEN_O_ENCODING)->n,
		.value = (enum pen_value_form)pen_cmd_value(cmd, PEN_O_VALUE)->n,
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
		.bulk = (enum pen_bulk_mode)pen_cmd_value(cmd, PEN_O_BULK)->n,
		.bulk_bytes = pen_cmd_value(cmd, PEN_O_BULK_MEMORY)->n,
		.owner = text_of(cmd, PEN_O_OWNER),
		.correlation_id = text_of(cmd, PEN_O_CORRELATION_ID),
		.traceparent = trace_of(cmd),
		.labels = cmd->args->lists[0].at,
		.label_count = cmd->args->lists[0].count,
		.include = cmd->args->lists[PEN_O_INCLUDE - PEN_O_LABEL].at,
		.include_count = cmd->args->lists[PEN_O_INCLUDE - PEN_O_LABEL].count,
		.exclude = cmd->args->lists[PEN_O_EXCLUDE - PEN_O_LABEL].at,
		.exclude_count = cmd->args->lists[PEN_O_EXCLUDE - PEN_O_LABEL].count,
		.where = cmd->args->lists[PEN_O_WHERE - PEN_O_LABEL].at,
		.where_count = cmd->args->lists[PEN_O_WHERE - PEN_O_LABEL].count,
		.flags = cmd->args->lists[PEN_O_FLAG - PEN_O_LABEL].at,
		.flag_count = cmd->args->lists[PEN_O_FLAG - PEN_O_LABEL].count,
		.processor = text_of(cmd, PEN_O_PROCESSOR),
		.processor_config = text_of(cmd, PEN_O_PROCESSOR_CONFIG),
		.results = (enum pen_results)pen_cmd_value(cmd, PEN_O_RESULTS)->n,
		.items = text_of(cmd, PEN_O_ITEMS),
		.items_nul = pen_cmd_set(cmd, PEN_O_NULL),
		.follow_symlinks = pen_cmd_set(cmd, PEN_O_FOLLOW_SYMLINKS),
		.idempotency_key = text_of(cmd, PEN_O_IDEMPOTENCY_KEY),
	};
	make_job(cmd, ret);
	(void)on_success(text_of(cmd, PEN_O_ON_SUCCESS), &ret->on_success,
			 &ret->move_to); /* check refuses it */
}

static int make_limits(const struct pen_cmd *cmd, struct pen_run *ret)
{
	const char *rate = text_of(cmd, PEN_O_RATE);
	struct pen_failure why = { 0 };
	int rc;

	rc = rate && strcmp(rate, "none") ? pen_rate_parse(rate, &ret->rate_count, &ret->rate_window_ns, &why)
					  : 0;
	if (rc)
		return pen_say_failure(rc, &why);
	ret->limits = pen_cmd_set(cmd, PEN_O_LIMITS);
	return ret->limits ? 0 : pen_home_limits(&ret->limits);
}

int pen_spec_make(const struct pen_cmd *cmd, struct pen_run *ret, bool *ret_stream)
{
	int rc;

	make_spec(cmd, ret);
	rc = make_dialect(cmd, ret);
	if (!rc)
		rc = make_limits(cmd, ret);
	return rc ? rc : check(cmd, ret, ret_stream);
}
