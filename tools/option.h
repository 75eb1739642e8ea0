/* SPDX-License-Identifier: MIT */
/*
 * option - what can be typed: one table of commands, one of options, and the parser that reads them
 *
 * Everything about an option stands in its row (tools/option_table.c): parsing, help and suggestions come
 * from there and nowhere else. What a later version is to have is listed too, so that it is refused by
 * name, never ignored.
 *
 *   --name VALUE, --name=VALUE   a value may begin with "-" (--after -1); one that is itself an option's
 *                                name may not
 *   --                           ends the options
 *   -h / --help                  short / long help; wins over everything that is wrong behind it
 *
 * The parser keeps pointers into argv and writes nothing to any stream.
 */
#ifndef PEN_TOOLS_OPTION_H
#define PEN_TOOLS_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pen_out;

enum pen_command_id {
	PEN_CMD_RUN,
	PEN_CMD_PLAN,
	PEN_CMD_STATUS,
	PEN_CMD_WATCH,
	PEN_CMD_ITEMS,
	PEN_CMD_EVENTS,
	PEN_CMD_DATASETS,
	PEN_CMD_GET,
	PEN_CMD_SCAN,
	PEN_CMD_EXPORT,
	PEN_CMD_DROP,
	PEN_CMD_SUBMIT,
	PEN_CMD_WORK,
	PEN_CMD_PAUSE,
	PEN_CMD_RESUME,
	PEN_CMD_CANCEL,
	PEN_CMD_RETRY,
	PEN_CMD_WHY,
	PEN_CMD_FLAG,
	PEN_CMD_LIMIT,
	PEN_CMD_CLEAN,
	PEN_CMD_LOG,
	PEN_CMD_VERIFY,
	PEN_CMD_DOCTOR,
	PEN_CMD_EXPLAIN,
	PEN_CMD_VERSION,
	PEN_CMD_COMPLETION,
	PEN_CMD_HELP,
	PEN_CMD_COUNT,
};

enum pen_option_kind {
	PEN_OPT_FLAG,
	PEN_OPT_TEXT,
	PEN_OPT_LIST,	  /* text, may be given many times */
	PEN_OPT_CHOICE,	  /* one of choices: value.n is its index */
	PEN_OPT_COUNT,	  /* a whole number in min .. max */
	PEN_OPT_NUMBER,	  /* a whole number that may be negative: value.i */
	PEN_OPT_SIZE,	  /* bytes: 4096, 64MiB, 64M, 1k */
	PEN_OPT_DURATION, /* milliseconds: 100, 100ms, 2s, 5m, 1h, 7d */
	PEN_OPT_SHARE,	  /* N or P%: value.n, or value.ratio in millionths */
	PEN_OPT_TIME,  /* a point in time: checked here, and read by pen_option_time() when there is a now */
	PEN_OPT_LATER, /* known, and not in this version */
};

/* Every option by what it means; two options of one name in two commands are two of these. */
enum pen_option_id {
	PEN_O_STORE,
	PEN_O_JSON,
	PEN_O_QUIET,
	PEN_O_COLOR,
	PEN_O_HELP,
	PEN_O_VERSION,
	PEN_O_LOG_LEVEL,
	PEN_O_LOG_DIR,
	PEN_O_LOG_JOURNAL,
	PEN_O_INTO,
	PEN_O_FORMAT,
	PEN_O_COMPRESSION,
	PEN_O_ENCODING,
	PEN_O_HEADER,
	PEN_O_DELIMITER,
	PEN_O_QUOTE,
	PEN_O_ESCAPE,
	PEN_O_KEY,
	PEN_O_ON_DUPLICATE,
	PEN_O_VALUE,
	PEN_O_PROCESSOR,
	PEN_O_PROCESSOR_CONFIG,
	PEN_O_RESULTS,
	PEN_O_JOBS,
	PEN_O_WINDOW,
	PEN_O_TIMEOUT,
	PEN_O_MAX_RETRIES,
	PEN_O_BACKOFF,
	PEN_O_JITTER,
	PEN_O_RETRY_FOR,
	PEN_O_HALT,
	PEN_O_MAX_CRASHES,
	PEN_O_MEMORY_MAX,
	PEN_O_OUTPUT_MAX,
	PEN_O_CACHE,
	PEN_O_VALIDATE,
	PEN_O_MAX_RECORD,
	PEN_O_MAX_REJECTS,
	PEN_O_CHUNK,
	PEN_O_CHUNK_BYTES,
	PEN_O_PAUSE_MS,
	PEN_O_DURABILITY,
	PEN_O_BULK,
	PEN_O_BULK_MEMORY,
	PEN_O_OWNER,
	PEN_O_LABEL, /* the LIST options, in a row */
	PEN_O_INCLUDE,
	PEN_O_EXCLUDE,
	PEN_O_PARENT,
	PEN_O_WHERE,
	PEN_O_OWNER_WEIGHT,
	PEN_O_FLAG,
	PEN_O_VARIANT,
	PEN_O_CORRELATION_ID,
	PEN_O_TRACEPARENT,
	PEN_O_PRIORITY,
	PEN_O_NOT_BEFORE,
	PEN_O_ON_COMPLETE,
	PEN_O_FOREVER,
	PEN_O_BATCHES,
	PEN_O_OWNER_BATCHES,
	PEN_O_CAP,
	PEN_O_OWNER_CAP,
	PEN_O_MIN_FREE_MEMORY,
	PEN_O_MIN_FREE_DISK,
	PEN_O_OF_OWNER,
	PEN_O_ALL,
	PEN_O_REASON,
	PEN_O_GRAPH,
	PEN_O_METRICS,
	PEN_O_OPENMETRICS,
	PEN_O_CONDITION,
	PEN_O_DRY_RUN,
	PEN_O_SPEC,
	PEN_O_DEDUP,
	PEN_O_DEDUP_MODE,
	PEN_O_DEDUP_TTL,
	PEN_O_IDEMPOTENCY_KEY,
	PEN_O_FRESH,
	PEN_O_FOLLOW_SYMLINKS,
	PEN_O_ITEMS,
	PEN_O_NULL,
	PEN_O_ON_SUCCESS,
	PEN_O_ALLOW_REJECTS,
	PEN_O_PROGRESS,
	PEN_O_IO,
	PEN_O_STATE,
	PEN_O_CODE,
	PEN_O_GROUP_BY,
	PEN_O_LIMIT,
	PEN_O_AFTER,
	PEN_O_FROM_SEQ,
	PEN_O_FOLLOW,
	PEN_O_YES,
	PEN_O_HEX,
	PEN_O_PREFIX,
	PEN_O_FROM,
	PEN_O_TO,
	PEN_O_KEYS_ONLY,
	PEN_O_OUTPUT,
	PEN_O_TO_FILE,
	PEN_O_EXPORT_FORMAT,
	PEN_O_COLUMNS,
	PEN_O_FORCE,
	PEN_O_PATIENCE,
	PEN_O_OLDER_THAN,
	PEN_O_CLEAN_STATE,
	PEN_O_KEEP_BYTES,
	PEN_O_RULES,
	PEN_O_ON,
	PEN_O_OFF,
	PEN_O_ROLLOUT,
	PEN_O_WHITELIST,
	PEN_O_ADD_WHITELIST,
	PEN_O_REMOVE_WHITELIST,
	PEN_O_BLACKLIST,
	PEN_O_ADD_BLACKLIST,
	PEN_O_REMOVE_BLACKLIST,
	PEN_O_METADATA,
	PEN_O_SALT,
	PEN_O_BUCKETING,
	PEN_O_IF_VERSION,
	PEN_O_BY,
	PEN_O_USER,
	PEN_O_TARGET,
	PEN_O_DEFAULT,
	PEN_O_EXIT_CODE,
	PEN_O_EVERY,
	PEN_O_GUARD,
	PEN_O_MIN_ITEMS,
	PEN_O_GO_ON,
	PEN_O_LIST,
	PEN_O_LOG_FOLLOW,
	PEN_O_LOG_UP_TO,
	PEN_O_LOG_KIND,
	PEN_O_LOG_CORRELATION,
	PEN_O_LOG_BATCH,
	PEN_O_SINCE,
	PEN_O_LOG_SET,
	PEN_O_LOG_LEVELS,
	PEN_O_RATE,
	PEN_O_LIMITS,
	PEN_O_POLICY_WINDOW,
	PEN_O_POLICY_LIMIT,
	PEN_O_ALGORITHM,
	PEN_O_POLICY_UNIT,
	PEN_O_BURST,
	PEN_O_IDENTITY,
	PEN_O_COST,
	PEN_O_LATER, /* shared by all rows of that kind */
	PEN_O_COUNT,
};

struct pen_option {
	const char *name;
	enum pen_option_id id;
	enum pen_option_kind kind;
	uint32_t commands;   /* bit 1 << pen_command_id; PEN_OPT_GLOBAL: all, and before the command too */
	char letter;	     /* 0: none */
	const char *arg;     /* how help calls the value */
	const char *choices; /* CHOICE: "a|b|c" */
	const char
		*later; /* CHOICE: values of later versions; one that ends in ":" stands for all it begins */
	const char *fallback; /* the default, for help; NULL: none to speak of */
	uint64_t min, max;    /* COUNT, SIZE, DURATION */
	const char *help;
};
#define PEN_OPT_GLOBAL UINT32_MAX

struct pen_command {
	const char *name;
	enum pen_command_id id;
	const char *words; /* usage of its words: "SOURCE…" */
	size_t words_min, words_max;
	const char *group;    /* heading in the overview */
	const char *summary;  /* one line */
	const char *more;     /* paragraphs of the long help; NULL: none */
	const char *examples; /* lines */
};

extern const struct pen_command pen_commands[PEN_CMD_COUNT];
extern const struct pen_option pen_options[];
extern const size_t pen_options_count;
/* "submit\0work\0...\0": commands of later versions. */
extern const char pen_commands_later[];

struct pen_value {
	bool set;
	const char *text;
	uint64_t n;
	int64_t i;
	uint32_t ratio; /* SHARE: not 0 when given in percent */
	bool percent;
};

#define PEN_OPTION_TEXT 512
#define PEN_LISTS (PEN_O_VARIANT - PEN_O_LABEL + 1)

struct pen_args {
	const struct pen_command *command; /* NULL: none was typed */
	struct pen_value value[PEN_O_COUNT];
	const char **words; /* one block with the lists */
	size_t word_count;
	struct pen_list {
		const char **at;
		size_t count;
	} lists[PEN_LISTS]; /* what the LIST options were given, each in its order; by id - PEN_O_LABEL */
	int help;	    /* 0, 1: short, 2: long */
	bool version;
	int code; /* why parsing failed: -PEN_USAGE or -PEN_UNSUPPORTED */
	char error[PEN_OPTION_TEXT], advice[PEN_OPTION_TEXT];
};

/* 0, or the negative code in args->code with error and advice filled. Always followed by fini. */
int pen_option_parse(struct pen_args *args, int argc, char **argv);
void pen_option_fini(struct pen_args *args);
/* command NULL: the overview. */
void pen_option_help(struct pen_out *out, const struct pen_command *command, bool full);
const struct pen_command *pen_option_command(const char *name);
/* The nearest command name, or NULL. */
const char *pen_option_near_command(const char *name);

/* The word of "a|b|c" (or of names separated by NUL up to an empty one, with sep 0) nearest to text, in near; false
 * when nothing is near. */
bool pen_option_near(const char *text, const char *choices, char sep, char *near, size_t cap);
/* Pure parsers of values: true and the number, or false. */
bool pen_option_size(const char *text, uint64_t *ret_bytes);
bool pen_option_duration(const char *text, uint64_t *ret_ms);
bool pen_option_share(const char *text, struct pen_value *ret_value);
/*
 * A point in time, in milliseconds since 1970; NULL, or what is wrong with it, for "'%s' %s". Years 1970 to 9999.
 *   2026-11-24T17:45:00Z      RFC 3339: Z or +01:00, a fraction of a second, a blank instead of T
 *   1764006300, @1764006300   seconds since 1970
 *   +2h, +90s, +1d            from now_ms on; a number without a unit is refused, it would be milliseconds
 */
const char *pen_option_time(const char *text, uint64_t now_ms, uint64_t *ret_ms);
/* The index of text in "a|b|c", or -1. */
int pen_option_choice(const char *text, const char *choices);

#endif
