/* SPDX-License-Identifier: MIT */
/*
 * The tables of what can be typed. The parser and the help pages hold no name of their own.
 */
#include "tools/option.h"

#include "include/penstock.h"

/* plan and submit take whatever run takes. */
#define CMD(name)               \
	(1u << PEN_CMD_##name | \
	 (PEN_CMD_##name == PEN_CMD_RUN ? 1u << PEN_CMD_PLAN | 1u << PEN_CMD_SUBMIT : 0))

const struct pen_command pen_commands[PEN_CMD_COUNT] = {
	[PEN_CMD_RUN] = { "run", PEN_CMD_RUN, "SOURCE…", 1, SIZE_MAX, "Run",
			  "load sources into the store, each item exactly once",
			  "A SOURCE is a file, a directory (read as a tree), - (stdin), @FILE (a list of sources, one a line) or a\n"
			  "quoted glob. The batch runs to its end in this process. Run the same command again after an interruption:\n"
			  "it goes on at the last commit; after completion it does nothing and says what was done.",
			  "penstock run papers.ndjson --key /id\n"
			  "penstock run 'logs/*.ndjson' --into logs --max-rejects 1%\n"
			  "penstock run docs/ --format files --key @path --into docs\n"
			  "penstock run inbox/ --include '*.pdf' --exclude tmp/ --key @path --on-success move:done\n"
			  "zcat big.gz | penstock run - --format lines --idempotency-key big-2024\n" },
	[PEN_CMD_PLAN] = { "plan", PEN_CMD_PLAN, "SOURCE…", 1, SIZE_MAX, "Run",
			   "what run would do: counts, rejects, duplicates, size, limits; writes nothing",
			   "Takes the options of `penstock run`, reads the sources as it would, and ends with the status it would end\n"
			   "with. Nothing is written, made or locked. Ctrl-C stops it at once.",
			   "penstock plan papers.ndjson --key /id\n"
			   "penstock plan 'logs/*.ndjson' --into logs --max-rejects 1% --json | jq .rejected\n" },
	[PEN_CMD_STATUS] = { "status", PEN_CMD_STATUS, "[BATCH]", 0, 1, "Look",
			     "the store, or one batch: state and counters",
			     "BATCH is an id, a unique prefix of one, @last or @running.",
			     "penstock status\npenstock status @last --json\n" },
	[PEN_CMD_WATCH] = { "watch", PEN_CMD_WATCH, "[BATCH]", 0, 1, "Look",
			    "live view of batches and the engines that run them",
			    "A picture on a terminal (? shows its keys), lines elsewhere, with --json one event a line. Of a BATCH: ends with\n"
			    "it, with the status of `penstock run`. It only looks: nothing is slowed, and engines may come and go.",
			    "penstock watch\npenstock watch @last\npenstock watch --json | jq 'select(.event == \"completed\")'\n" },
	[PEN_CMD_ITEMS] = { "items", PEN_CMD_ITEMS, "BATCH", 1, 1, "Look",
			    "items that were not simply committed: rejects with place and bytes", NULL,
			    "penstock items @last --state rejected\npenstock items @last --code PEN1042 --json | jq -r .raw\n"
			    "penstock items @last --group-by error\n"
			    "penstock items @last --where 'error~timeout and attempts>=2'\n" },
	[PEN_CMD_EVENTS] = { "events", PEN_CMD_EVENTS, "[BATCH]", 0, 1, "Look",
			     "durable events, gapless from 1",
			     "Each has a number. Whoever saw number N asks for N + 1 and misses nothing, however long ago that was.",
			     "penstock events @last\npenstock events --from 100 --json\npenstock events --follow\n" },
	[PEN_CMD_DATASETS] = { "datasets", PEN_CMD_DATASETS, "", 0, 0, "Data",
			       "datasets with their entries and bytes", NULL, "penstock datasets --json\n" },
	[PEN_CMD_GET] = { "get", PEN_CMD_GET, "DATASET KEY", 2, 2, "Data",
			  "one value's bytes on stdout; exit 5 if absent",
			  "Keys are text; decimal in datasets keyed by @seq or @offset (SOURCE:OFFSET with several sources), 32 hex\n"
			  "digits for @content, any key with --hex.",
			  "penstock get default 0\npenstock get papers W2741809807 | jq .title\n" },
	[PEN_CMD_SCAN] = { "scan", PEN_CMD_SCAN, "DATASET", 1, 1, "Data", "records in key order",
			   "Keys are given and printed as in `penstock get`.",
			   "penstock scan papers --prefix W27 --limit 10\npenstock scan logs --format raw | wc -l\n" },
	[PEN_CMD_EXPORT] = { "export", PEN_CMD_EXPORT, "DATASET", 1, 1, "Data",
			     "a consistent snapshot into a file: NDJSON, CSV, or mdb_dump's format",
			     "Without --format the name decides: .csv, .dump, else ndjson. The file appears under its name when it is whole\n"
			     "and on the disk, never before. --columns makes a CSV column of each member named (@key is the key). The\n"
			     "snapshot keeps the store from using pages again for as long as the export takes.",
			     "penstock export papers -o papers.ndjson\n"
			     "penstock export papers -o papers.csv --columns @key,title,year\n"
			     "penstock export papers -o - --format dump | mdb_load -s papers copy/\n" },
	[PEN_CMD_DROP] = { "drop", PEN_CMD_DROP, "DATASET", 1, 1, "Data", "remove a dataset", NULL,
			   "penstock drop old-logs --yes\n" },
	[PEN_CMD_SUBMIT] = { "submit", PEN_CMD_SUBMIT, "SOURCE…", 1, SIZE_MAX, "Run",
			     "enter a batch and print its id; `work` runs it",
			     "Takes the options of `penstock run`. What stdin holds is kept in the store until the batch is cleaned away.\n"
			     "The same request again, while it is unfinished or done and unchanged, prints the same id.",
			     "penstock submit papers.ndjson --key /id --processor 'exec:./extract'\n"
			     "echo '{\"items\":[{\"id\":1}],\"key\":\"/id\"}' | penstock submit --spec -\n"
			     "penstock submit b.csv --after $(penstock submit a.csv):ok --not-before +1h\n" },
	[PEN_CMD_WORK] = { "work", PEN_CMD_WORK, "", 0, 0, "Run",
			   "run what was submitted, retries and dependants, until nothing is left",
			   "Any number of workers may share a store: each batch has one of them. Ends with 1 when items were rejected or\n"
			   "failed. Batches that wait more than a minute for their time are left, and said.",
			   "penstock work\npenstock work --forever\n" },
	[PEN_CMD_PAUSE] = { "pause", PEN_CMD_PAUSE, "BATCH…", 0, SIZE_MAX, "Run",
			    "let batches rest, whoever runs them; it lasts until resume", NULL,
			    "penstock pause @last --reason 'disk is busy'\npenstock pause --all\n" },
	[PEN_CMD_RESUME] = { "resume", PEN_CMD_RESUME, "BATCH…", 0, SIZE_MAX, "Run",
			     "let paused batches go on", NULL, "penstock resume --owner ann\n" },
	[PEN_CMD_CANCEL] = { "cancel", PEN_CMD_CANCEL, "BATCH…", 0, SIZE_MAX, "Run",
			     "end unfinished batches for good, whoever runs them; their records stay", NULL,
			     "penstock cancel @last --reason 'wrong file'\n" },
	[PEN_CMD_RETRY] = { "retry", PEN_CMD_RETRY, "BATCH…", 1, SIZE_MAX, "Run",
			    "queue failed items again, attempts kept; `work` tries them",
			    "Without --where: items that failed or were quarantined. Conditions compare code, state, error, key, source,\n"
			    "seq, line and attempts, joined by and, or, not.",
			    "penstock retry @last\n"
			    "penstock retry @last --where 'code=PEN1081 and error~timeout' --dry-run\n" },
	[PEN_CMD_WHY] = { "why", PEN_CMD_WHY, "BATCH [ITEM]", 1, 2, "Look",
			  "why a batch waits, rests, failed; why an item did", NULL,
			  "penstock why @last\npenstock why @last 17\n" },
	[PEN_CMD_FLAG] = { "flag", PEN_CMD_FLAG, "list|set|rm|eval|history|ramp [NAME]", 1, 3, "Run",
			   "feature flags: rollouts, lists, the emergency switch",
			   "flag list [NAME]     all of them, or one\n"
			   "flag set NAME        make or change one; what is not spoken of stays. A new one is off\n"
			   "flag rm NAME         remove one; its history stays\n"
			   "flag eval NAME       what it says of a user, and why\n"
			   "flag history NAME    who changed it, when, what, why; the newest first\n"
			   "flag ramp NAME STEPS raise the rollout step by step (5,25,50,100), and hold when batches go wrong\n"
			   "BATCH_OPERATIONS_V1 gates batches by itself, once it is there: while it is off for an owner none is made,\n"
			   "run or cancelled (exit 6). Any other flag gates a batch that names it (run --flag). --off works in every\n"
			   "process at the next commit.",
			   "penstock flag set BATCH_OPERATIONS_V1 --on --rollout 5 --add-whitelist ann\n"
			   "penstock flag eval BATCH_OPERATIONS_V1 --user bob\n"
			   "penstock flag ramp BATCH_OPERATIONS_V1 5,25,50,100 --every 1h --guard 'error_rate<1%'\n"
			   "penstock flag set BATCH_OPERATIONS_V1 --off --reason 'disk is full'\n" },
	[PEN_CMD_LIMIT] = { "limit", PEN_CMD_LIMIT, "list|set|rm|check|peek [NAME…]", 1, 9, "Run",
			    "rate-limit policies, and what is left of them",
			    "check counts one request against all the policies named, or against none when one of them refuses: exit 6,\n"
			    "and each that refuses is named with its Retry-After. peek does not count. The identity is this user\n"
			    "(user:NAME) unless one is given. set changes what is given and leaves the rest; rm restores a preset.",
			    "penstock limit list --identity user:ann\n"
			    "penstock limit set exports --window 1h --limit 20 --algorithm gcra\n"
			    "penstock limit check default EXPORT --identity user:ann --json\n"
			    "penstock limit rm exports\n" },
	[PEN_CMD_CLEAN] = { "clean", PEN_CMD_CLEAN, "", 0, 0, "Data",
			    "remove what is kept about batches that ended long ago; records stay",
			    "By the store's rules: completed, failed and cancelled batches go 7 days after their end, with their rows and\n"
			    "events. `run`, `submit` and `work` do the same by themselves when they have nothing else to do, at most once\n"
			    "an hour and for 20 ms. Batches that wait, run or can go on are never removed unless --state names them, nor\n"
			    "any that others wait for. A batch that is gone is not known any more: its command loads again.",
			    "penstock clean --dry-run\npenstock clean --older-than 30d --state completed,failed\n"
			    "penstock clean --rules completed=2d,failed=forever,rows-bytes=500MiB\n" },
	[PEN_CMD_LOG] = { "log", PEN_CMD_LOG, "", 0, 0, "Look",
			  "what was logged, in the order of its time, across days",
			  "Every command that writes logs into the store's logs/ (or --log-dir, $PENSTOCK_LOG_DIR): a line a JSON\n"
			  "object. --json prints them as they are. --set changes which levels are kept, by module, for processes\n"
			  "that run as well; those that were started with --log-level or $PENSTOCK_LOG keep their own.",
			  "penstock log --follow --level warn\npenstock log --batch @last --since 1h\n"
			  "penstock log --kind audit --json | jq .fields\npenstock log --set engine=debug,store=warn\n" },
	[PEN_CMD_VERIFY] = { "verify", PEN_CMD_VERIFY, "", 0, 0, "Look",
			     "check every invariant of the store; exit 65 names each violation", NULL,
			     "penstock verify\n" },
	[PEN_CMD_DOCTOR] = { "doctor", PEN_CMD_DOCTOR, "", 0, 0, "Look",
			     "machine, store and io_uring: what is, and what to do", NULL,
			     "penstock doctor\n" },
	[PEN_CMD_EXPLAIN] = { "explain", PEN_CMD_EXPLAIN, "[CODE]", 0, 1, "Help",
			      "what an error code means and what to do about it", NULL,
			      "penstock explain PEN1042\npenstock explain --list\n" },
	[PEN_CMD_VERSION] = { "version", PEN_CMD_VERSION, "", 0, 0, "Help",
			      "version, libraries, processor features", NULL, "penstock version --json\n" },
	[PEN_CMD_COMPLETION] = { "completion", PEN_CMD_COMPLETION, "bash|zsh|fish", 1, 1, "Help",
				 "a script that completes commands and options in a shell", NULL,
				 "source <(penstock completion bash)\n"
				 "penstock completion fish > ~/.config/fish/completions/penstock.fish\n" },
	[PEN_CMD_HELP] = { "help", PEN_CMD_HELP, "[COMMAND]", 0, 1, "Help",
			   "this overview, or a command's page", NULL, "penstock help run\n" },
};

const char pen_commands_later[] = "bench\0serve\0config\0";

#define GLOBAL(name, id, kind, letter, arg, choices, fallback, help)                                       \
	{                                                                                                  \
		name, PEN_O_##id, PEN_OPT_##kind, PEN_OPT_GLOBAL, letter, arg, choices, NULL, fallback, 0, \
			0, help                                                                            \
	}
#define PLAIN(commands, name, id, kind, arg, fallback, help)                                             \
	{                                                                                                \
		name, PEN_O_##id, PEN_OPT_##kind, commands, 0, arg, NULL, NULL, fallback, 0, UINT64_MAX, \
			help                                                                             \
	}
#define RANGE(commands, name, id, kind, arg, low, high, fallback, help)                                   \
	{                                                                                                 \
		name, PEN_O_##id, PEN_OPT_##kind, commands, 0, arg, NULL, NULL, fallback, low, high, help \
	}
#define CHOICE(commands, name, id, choices, later, fallback, help)                                        \
	{                                                                                                 \
		name, PEN_O_##id, PEN_OPT_CHOICE, commands, 0, NULL, choices, later, fallback, 0, 0, help \
	}
#define LATER(commands, name)                                                                     \
	{                                                                                         \
		name, PEN_O_LATER, PEN_OPT_LATER, commands, 0, NULL, NULL, NULL, NULL, 0, 0, NULL \
	}

const struct pen_option pen_options[] = {
	PLAIN(CMD(RUN), "into", INTO, TEXT, "NAME", "default", "dataset that takes the records"),
	CHOICE(CMD(RUN), "format", FORMAT,
	       "auto|ndjson|json|csv|tsv|lines|files|frames:u32be|frames:u32le|frames:u16be|frames:leb128",
	       NULL, "auto",
	       "what an item is: a JSON value a line, an array's element, a row, a line, a file"),
	CHOICE(CMD(RUN), "compression", COMPRESSION, "auto|none|gzip|zstd", NULL, "auto",
	       "of the sources; auto looks at magic bytes"),
	CHOICE(CMD(RUN), "encoding", ENCODING, "auto|utf-8|utf-16le|utf-16be|latin-1|windows-1252", NULL,
	       "auto", "of text; turned into UTF-8. auto: by the byte order mark, else UTF-8"),
	PLAIN(CMD(RUN), "key", KEY, TEXT, "KEY", "@seq",
	      "a JSON pointer (/id), a column (id, #1), @seq, @offset, @path or @content"),
	CHOICE(CMD(RUN), "value", VALUE, "auto|raw|json", NULL, "auto",
	       "the record's bytes, or a row as an object of strings; auto: json for csv and tsv"),
	PLAIN(CMD(RUN), "header", HEADER, TEXT, "yes|no|NAMES", "auto",
	      "csv: is the first row the header; or the columns' names, separated by commas"),
	PLAIN(CMD(RUN), "delimiter", DELIMITER, TEXT, "CHAR", "auto", "csv: between cells; \\t is a tab"),
	PLAIN(CMD(RUN), "quote", QUOTE, TEXT, "CHAR|none", "\"", "csv: around cells"),
	PLAIN(CMD(RUN), "escape", ESCAPE, TEXT, "CHAR|none", "auto", "csv: before a quote inside quotes"),
	CHOICE(CMD(RUN), "on-duplicate", ON_DUPLICATE, "replace|keep|reject", NULL, "replace",
	       "a key that is already there: last wins, first wins, reject"),
	PLAIN(CMD(RUN), "where", WHERE, LIST, "COND", "all",
	      "only items that fit: /a==1, /a>=2, /a, !/a …; may be given many times"),
	PLAIN(CMD(RUN), "processor", PROCESSOR, TEXT, "WHAT", "copy",
	      "copy, json, digest[:sha256], project:FIELDS, so:FILE[:SYMBOL], exec:COMMAND, worker:COMMAND"),
	PLAIN(CMD(RUN), "processor-config", PROCESSOR_CONFIG, TEXT, "TEXT", NULL, "handed to a plugin (so:)"),
	CHOICE(CMD(RUN), "validate", VALIDATE, "strict|fast", NULL, "strict",
	       "JSON: all of RFC 8259, or only what the key needs"),
	RANGE(CMD(RUN), "max-record", MAX_RECORD, SIZE, "SIZE", 1, PEN_RECORD_MAX, "64MiB",
	      "larger records are rejected"),
	PLAIN(CMD(RUN), "max-rejects", MAX_REJECTS, SHARE, "N|P%", "unlimited",
	      "stop the batch above that (exit 4)"),
	PLAIN(CMD(RUN), "allow-rejects", ALLOW_REJECTS, FLAG, NULL, NULL,
	      "exit 0 though items were rejected or failed"),
	CHOICE(CMD(RUN), "durability", DURABILITY, "commit|group|relaxed", NULL, "commit",
	       "what a power cut may take: nothing, nothing counted, the last 5 s"),
	RANGE(CMD(RUN), "jobs", JOBS, COUNT, "N", 1, 1024, "cores - 1; children: cores",
	      "processors, or children of exec and worker"),
	RANGE(CMD(RUN), "window", WINDOW, COUNT, "N", 1, 1024, "64", "worker: items sent ahead to one child"),
	RANGE(CMD(RUN), "timeout", TIMEOUT, DURATION, "DUR", 1, 31536000000, "none",
	      "exec, worker: an item's time; then its processes are ended"),
	RANGE(CMD(RUN), "max-retries", MAX_RETRIES, COUNT, "N", 0, 1000, "3",
	      "exec, worker: tries after the first one"),
	PLAIN(CMD(RUN), "backoff", BACKOFF, TEXT, "LIST", "2s,4s,8s",
	      "delays before retries, the last one again; or exp:BASE[,CAP]"),
	CHOICE(CMD(RUN), "jitter", JITTER, "none|equal|full|decorrelated", NULL, "none",
	       "how delays are spread, so that retries do not come all at once"),
	RANGE(CMD(RUN), "retry-for", RETRY_FOR, DURATION, "DUR", 1, 31536000000, "no limit",
	      "exec, worker: an item whose next try would begin later than that after its first fails"),
	PLAIN(CMD(RUN), "halt", HALT, TEXT, "WHEN,WHY", "never",
	      "stop early: soon,fail=5% or now,fail=1 ..., as in GNU parallel (exit 4)"),
	RANGE(CMD(RUN), "max-crashes", MAX_CRASHES, COUNT, "N", 1, 1000, "3",
	      "worker: an item on which so many children died is quarantined"),
	RANGE(CMD(RUN), "memory-max", MEMORY_MAX, SIZE, "SIZE", 8u << 20, 1ull << 47, "no limit",
	      "exec, worker: address space of each process of a child"),
	RANGE(CMD(RUN), "output-max", OUTPUT_MAX, SIZE, "SIZE", 1, PEN_RECORD_MAX, "--max-record",
	      "exec, worker: an item with a larger value fails"),
	PLAIN(CMD(RUN), "cache", CACHE, FLAG, NULL, NULL,
	      "exec, worker: reuse results by the item's bytes and the command's files"),
	CHOICE(CMD(RUN), "results", RESULTS, "auto|exceptions|all", NULL, "auto",
	       "rows kept of items; auto: all for exec and worker"),
	RANGE(CMD(RUN), "chunk", CHUNK, COUNT, "N", 1, 4096, "adaptive",
	      "items of a chunk and of a transaction"),
	RANGE(CMD(RUN), "chunk-bytes", CHUNK_BYTES, SIZE, "SIZE", 1024, 4u << 20, "adaptive",
	      "bytes of a chunk"),
	RANGE(CMD(RUN), "pause-ms", PAUSE_MS, DURATION, "N", 0, 86400000, "0", "sleep between transactions"),
	CHOICE(CMD(RUN), "bulk", BULK, "auto|on|off", NULL, "auto",
	       "sorted runs first, then append; auto: a large input with keys in no order"),
	RANGE(CMD(RUN), "bulk-memory", BULK_MEMORY, SIZE, "SIZE", 1u << 20, 4ull << 30, "64M",
	      "for sorting in bulk mode"),
	CHOICE(CMD(RUN), "io", IO, "auto|uring|threads", NULL, "auto",
	       "how files are read; uring: exit 3 when denied"),
	PLAIN(CMD(RUN), "fresh", FRESH, FLAG, NULL, NULL,
	      "a new batch though the same one is complete or half-way"),
	PLAIN(CMD(RUN), "idempotency-key", IDEMPOTENCY_KEY, TEXT, "K", NULL,
	      "gives a stream an identity, so that it resumes"),
	PLAIN(CMD(RUN), "include", INCLUDE, LIST, "GLOB", "all",
	      "of a directory: only files that fit; may be given many times"),
	PLAIN(CMD(RUN), "exclude", EXCLUDE, LIST, "GLOB", "none",
	      "of a directory: pass over files and directories that fit; wins"),
	PLAIN(CMD(RUN), "follow-symlinks", FOLLOW_SYMLINKS, FLAG, NULL, NULL,
	      "links in a directory stand for what they lead to, if that lies below it"),
	PLAIN(CMD(RUN), "items", ITEMS, TEXT, "FILE", NULL,
	      "instead of sources: a list with one item a line; - is stdin"),
	{ "null", PEN_O_NULL, PEN_OPT_FLAG, CMD(RUN), '0', NULL, NULL, NULL, NULL, 0, 0,
	  "with --items: items end with NUL, not with a newline" },
	PLAIN(CMD(RUN), "on-success", ON_SUCCESS, TEXT, "WHAT", "keep",
	      "source files, after the durable commit: keep, delete, move:DIR"),
	PLAIN(CMD(RUN), "owner", OWNER, TEXT, "NAME", "this user", "whose batch it is"),
	PLAIN(CMD(RUN), "label", LABEL, LIST, "K=V", NULL, "kept with the batch; may be given many times"),
	PLAIN(CMD(RUN), "correlation-id", CORRELATION_ID, TEXT, "UUID", "a new one", "kept with the batch"),
	PLAIN(CMD(RUN), "traceparent", TRACEPARENT, TEXT, "ID", "$TRACEPARENT",
	      "W3C trace that the batch is part of; without --correlation-id, its id comes from it"),
	RANGE(CMD(RUN), "priority", PRIORITY, NUMBER, "N", 0, 0, "0",
	      "-9 to 9: higher ones of an owner go first; a step is worth five minutes of waiting"),
	PLAIN(CMD(RUN), "not-before", NOT_BEFORE, TIME, "TIME", NULL,
	      "not earlier: 2026-01-31T09:00:00Z, seconds since 1970, or +1h"),
	PLAIN(CMD(RUN), "after", PARENT, LIST, "BATCH[:ok|any]", NULL,
	      "when that batch has ended; ok: only if it ended well. May be given many times"),
	PLAIN(CMD(RUN), "on-complete", ON_COMPLETE, TEXT, "CMD", NULL,
	      "a command to run once at the batch's end, whatever it is"),
	PLAIN(CMD(RUN), "flag", FLAG, LIST, "NAME", NULL,
	      "only while this feature flag is on for its owner; may be given many times"),
	PLAIN(CMD(RUN), "rate", RATE, TEXT, "N/DUR", "none",
	      "at most that many items in any such time, tries too: 10/min, 100/s, 5/15m"),
	PLAIN(CMD(RUN), "limits", LIMITS, FLAG, NULL, NULL,
	      "count the batch and its items against its owner's policies (exit 6 when refused)"),
	CHOICE(CMD(RUN), "progress", PROGRESS, "auto|bar|plain|json|none", NULL, "auto", "on stderr"),

	CHOICE(CMD(ITEMS), "state", STATE, "committed|rejected|failed|quarantined|skipped|retrying", NULL,
	       "all", "only items in this state"),
	PLAIN(CMD(ITEMS), "code", CODE, TEXT, "CODE", "all", "only items with this code (PEN1042)"),
	RANGE(CMD(ITEMS) | CMD(SCAN) | CMD(EVENTS) | CMD(FLAG), "limit", LIMIT, COUNT, "N", 0, UINT64_MAX,
	      "none", "at most that many"),
	CHOICE(CMD(ITEMS), "group-by", GROUP_BY, "error|code|state", NULL, NULL,
	       "counts instead of items, most first, each with its first item"),
	PLAIN(CMD(ITEMS), "where", WHERE, TEXT, "CONDITION", "all",
	      "only items that fit, as in `penstock retry`"),
	PLAIN(CMD(ITEMS), "after", AFTER, NUMBER, "SEQ", "-1", "only items behind this one"),
	PLAIN(CMD(EVENTS), "from", FROM_SEQ, COUNT, "SEQ", "1", "from this event on"),
	PLAIN(CMD(EVENTS), "follow", FOLLOW, FLAG, NULL, NULL,
	      "go on with what happens; of one batch, until it has ended"),
	PLAIN(CMD(GET) | CMD(SCAN) | CMD(EXPORT), "hex", HEX, FLAG, NULL, NULL, "keys are hex digits"),
	PLAIN(CMD(SCAN) | CMD(EXPORT), "prefix", PREFIX, TEXT, "KEY", NULL, "keys that begin so"),
	PLAIN(CMD(SCAN) | CMD(EXPORT), "from", FROM, TEXT, "KEY", NULL, "from this key on"),
	PLAIN(CMD(SCAN) | CMD(EXPORT), "to", TO, TEXT, "KEY", NULL, "up to this key, without it"),
	PLAIN(CMD(SCAN), "keys-only", KEYS_ONLY, FLAG, NULL, NULL, "no values"),
	CHOICE(CMD(SCAN), "format", OUTPUT, "ndjson|raw", NULL, "ndjson",
	       "objects with key and value, or values a line"),
	PLAIN(CMD(SUBMIT), "spec", SPEC, TEXT, "FILE", NULL,
	      "a whole batch as JSON: sources or items, and options as members; - is stdin"),
	PLAIN(CMD(SUBMIT), "dedup", DEDUP, TEXT, "KEY", NULL,
	      "a key of its owner's: what a later submission with it does, says --dedup-mode"),
	CHOICE(CMD(SUBMIT), "dedup-mode", DEDUP_MODE, "simple|throttle|debounce", NULL, "simple",
	       "give the first one back: until it failed, or for a time (throttle, as soon as there is one); or replace it"),
	RANGE(CMD(SUBMIT), "dedup-ttl", DEDUP_TTL, DURATION, "DUR", 1, PEN_DEDUP_TTL_MAX_MS, NULL,
	      "throttle: for so long; debounce: run so long after the last one"),
	PLAIN(CMD(WORK), "forever", FOREVER, FLAG, NULL, NULL, "wait for more when nothing is left"),
	RANGE(CMD(WORK), "batches", BATCHES, COUNT, "N", 1, 16, "4", "at a time"),
	RANGE(CMD(WORK), "owner-batches", OWNER_BATCHES, COUNT, "N", 1, 16, "no limit",
	      "of one owner at a time"),
	RANGE(CMD(WORK), "cap", CAP, COUNT, "N", 1, 1000, "no limit",
	      "batches that run at a time in the whole store, whoever runs them"),
	RANGE(CMD(WORK), "owner-cap", OWNER_CAP, COUNT, "N", 1, 1000, "no limit",
	      "of one owner in the whole store"),
	PLAIN(CMD(WORK), "min-free-memory", MIN_FREE_MEMORY, SIZE, "SIZE", "64MiB",
	      "begin no batch or item while less is free; 0: whatever is free"),
	PLAIN(CMD(WORK), "min-free-disk", MIN_FREE_DISK, SIZE, "SIZE", "64MiB",
	      "the same, of the store's disk"),
	PLAIN(CMD(WORK), "owner-weight", OWNER_WEIGHT, LIST, "NAME=N", "1",
	      "an owner's share against others, 1 to 1000; may be given many times"),
	PLAIN(CMD(PAUSE) | CMD(RESUME) | CMD(CANCEL), "owner", OF_OWNER, TEXT, "NAME", NULL,
	      "all unfinished batches of this owner"),
	PLAIN(CMD(PAUSE) | CMD(RESUME) | CMD(CANCEL), "all", ALL, FLAG, NULL, NULL, "all unfinished batches"),
	PLAIN(CMD(PAUSE) | CMD(RESUME) | CMD(CANCEL) | CMD(FLAG), "reason", REASON, TEXT, "TEXT", NULL,
	      "kept for people: with the batch, in the flag's history"),
	PLAIN(CMD(STATUS), "graph", GRAPH, FLAG, NULL, NULL,
	      "also all that the batch waits for, and all that waits for it, near and far"),
	PLAIN(CMD(STATUS), "metrics", METRICS, FLAG, NULL, NULL,
	      "the numbers of the store and its engines as Prometheus reads them"),
	PLAIN(CMD(STATUS), "openmetrics", OPENMETRICS, FLAG, NULL, NULL,
	      "the same in the strict form of OpenMetrics"),
	PLAIN(CMD(CANCEL), "graph", GRAPH, FLAG, NULL, NULL,
	      "also all that waits for the batches, near and far"),
	PLAIN(CMD(RETRY), "where", CONDITION, TEXT, "CONDITION", "failed, quarantined",
	      "only items that fit"),
	PLAIN(CMD(RETRY) | CMD(CLEAN), "dry-run", DRY_RUN, FLAG, NULL, NULL, "only say how many"),
	{ "output", PEN_O_TO_FILE, PEN_OPT_TEXT, CMD(EXPORT), 'o', "FILE", NULL, NULL, NULL, 0, 0,
	  "where to; - is stdout" },
	CHOICE(CMD(EXPORT), "format", EXPORT_FORMAT, "ndjson|csv|dump", NULL, "ndjson",
	       "objects a line; a table; what mdb_load reads; else by the name of FILE"),
	PLAIN(CMD(EXPORT), "columns", COLUMNS, TEXT, "NAMES", "key,value",
	      "csv: members of the values' objects, separated by commas; @key: the key"),
	PLAIN(CMD(EXPORT), "force", FORCE, FLAG, NULL, NULL, "replace FILE if it is there"),
	PLAIN(CMD(CANCEL), "force", FORCE, FLAG, NULL, NULL, "though a flag is off for its owner"),
	RANGE(CMD(EXPORT), "patience", PATIENCE, DURATION, "DUR", 100, 86400000, "10m",
	      "to a pipe: give up (exit 75) when 64 KiB take longer"),
	RANGE(CMD(CLEAN), "older-than", OLDER_THAN, DURATION, "AGE", 0, UINT64_MAX, "7d",
	      "since the end of the batch; instead of the rules"),
	PLAIN(CMD(CLEAN), "state", CLEAN_STATE, TEXT, "STATES", "completed,failed,cancelled",
	      "only these, separated by commas; also stopped, interrupted"),
	RANGE(CMD(CLEAN), "keep-bytes", KEEP_BYTES, SIZE, "SIZE", 1, UINT64_MAX, "no limit",
	      "remove the oldest ended batches too, until all that is known takes less"),
	PLAIN(CMD(CLEAN), "rules", RULES, TEXT, "RULES", NULL,
	      "keep other rules in the store from now on: completed=7d,failed=forever,rows=2d,rows-bytes=1GiB,…"),
	PLAIN(CMD(FLAG), "on", ON, FLAG, NULL, NULL, "set: enabled; what the rest says is in force"),
	PLAIN(CMD(FLAG), "off", OFF, FLAG, NULL, NULL, "set: off for everybody, whatever the rest says"),
	PLAIN(CMD(FLAG), "rollout", ROLLOUT, TEXT, "P%", "0",
	      "set: for so many of all users, in steps of 0.001%"),
	PLAIN(CMD(FLAG), "whitelist", WHITELIST, TEXT, "A,B,…", NULL,
	      "set: on for these; instead of the list"),
	PLAIN(CMD(FLAG), "add-whitelist", ADD_WHITELIST, TEXT, "A,B,…", NULL, "set: on for these too"),
	PLAIN(CMD(FLAG), "remove-whitelist", REMOVE_WHITELIST, TEXT, "A,B,…", NULL, "set: these no more"),
	PLAIN(CMD(FLAG), "blacklist", BLACKLIST, TEXT, "A,B,…", NULL,
	      "set: off for these; instead of the list"),
	PLAIN(CMD(FLAG), "add-blacklist", ADD_BLACKLIST, TEXT, "A,B,…", NULL, "set: off for these too"),
	PLAIN(CMD(FLAG), "remove-blacklist", REMOVE_BLACKLIST, TEXT, "A,B,…", NULL, "set: these no more"),
	PLAIN(CMD(FLAG), "metadata", METADATA, TEXT, "JSON", NULL, "set: an object that is kept with it"),
	PLAIN(CMD(FLAG), "variant", VARIANT, LIST, "NAME=WEIGHT", NULL,
	      "set: where it is on, one of these; may be given many times; none= takes them away"),
	PLAIN(CMD(FLAG), "salt", SALT, TEXT, "TEXT", "the name", "set: another one draws everybody anew"),
	CHOICE(CMD(FLAG), "bucketing", BUCKETING, "fine|unleash", NULL, "fine",
	       "set: 100,000 places, or Unleash's 100 (the salt is its group)"),
	RANGE(CMD(FLAG), "if-version", IF_VERSION, COUNT, "N", 1, UINT64_MAX, NULL,
	      "set: only if nobody changed it since (else exit 75)"),
	PLAIN(CMD(FLAG), "by", BY, TEXT, "WHO", "this user", "who changes it, for its history"),
	PLAIN(CMD(FLAG), "user", USER, TEXT, "ID", NULL,
	      "eval: for the key user:ID, as the owner of a batch"),
	PLAIN(CMD(FLAG), "key", TARGET, TEXT, "KEY", NULL, "eval: for any key"),
	CHOICE(CMD(FLAG), "default", DEFAULT, "off|on", NULL, "off", "eval: where there is no such flag"),
	PLAIN(CMD(FLAG), "exit-code", EXIT_CODE, FLAG, NULL, NULL, "eval: exit 6 when it is off"),
	RANGE(CMD(FLAG), "every", EVERY, DURATION, "DUR", 1, 31536000000, "1h",
	      "ramp: how long a step lasts"),
	PLAIN(CMD(FLAG), "guard", GUARD, TEXT, "COND", NULL,
	      "ramp: error_rate<P%, of the step's batches; else it holds (exit 4)"),
	RANGE(CMD(FLAG), "min-items", MIN_ITEMS, COUNT, "N", 0, UINT64_MAX, "0",
	      "ramp: so many items before a step is judged and ends"),
	PLAIN(CMD(FLAG), "resume", GO_ON, FLAG, NULL, NULL, "ramp: one that holds goes on"),
	PLAIN(CMD(LOG), "follow", LOG_FOLLOW, FLAG, NULL, NULL,
	      "go on with what is logged, past midnight too"),
	CHOICE(CMD(LOG), "level", LOG_UP_TO, "error|warn|info|verbose|debug", NULL, "all",
	       "only lines of this level and those above it"),
	CHOICE(CMD(LOG), "kind", LOG_KIND,
	       "log|error|warn|debug|verbose|request|response|security|performance|event|audit|fault|external|cache|"
	       "websocket",
	       NULL, "all", "only lines of this kind; audit and security are kept longer than the others"),
	PLAIN(CMD(LOG), "correlation", LOG_CORRELATION, TEXT, "ID", "all",
	      "only lines with this correlation id"),
	PLAIN(CMD(LOG), "batch", LOG_BATCH, TEXT, "BATCH", "all", "only lines about this batch"),
	RANGE(CMD(LOG), "since", SINCE, DURATION, "DUR", 1, UINT64_MAX, "the beginning",
	      "only what is not older"),
	PLAIN(CMD(LOG), "set", LOG_SET, TEXT, "LEVELS", NULL,
	      "keep other levels from now on: engine=debug,store=warn, or one for all"),
	PLAIN(CMD(LOG), "levels", LOG_LEVELS, FLAG, NULL, NULL, "which levels are kept, by module"),
	RANGE(CMD(LIMIT), "window", POLICY_WINDOW, DURATION, "DUR", 1, 34560000000, NULL,
	      "set: 1s, 15m, 1h, 24h"),
	RANGE(CMD(LIMIT), "limit", POLICY_LIMIT, COUNT, "N", 1, 1000000000000000, NULL,
	      "set: so much in a window, or at once"),
	CHOICE(CMD(LIMIT), "algorithm", ALGORITHM, "sliding|gcra|fixed", NULL, "sliding",
	       "set: exact in any window; spread with a burst; windows that begin with a hit"),
	CHOICE(CMD(LIMIT), "unit", POLICY_UNIT, "requests|items|bytes|concurrent", NULL, "requests",
	       "set: what is counted; concurrent: how many at once"),
	RANGE(CMD(LIMIT), "burst", BURST, COUNT, "N", 0, 1000000000000000, "limit - 1",
	      "set: gcra: so many at once beyond one"),
	PLAIN(CMD(LIMIT), "identity", IDENTITY, TEXT, "ID", "user:NAME",
	      "whose: user:ann, 192.0.2.1, uid:1000"),
	RANGE(CMD(LIMIT), "cost", COST, COUNT, "N", 0, 1000000000000000, "1; peek: 0",
	      "check, peek: how much"),
	PLAIN(CMD(DROP), "yes", YES, FLAG, NULL, NULL, "really"),
	PLAIN(CMD(EXPLAIN), "list", LIST, FLAG, NULL, NULL, "all codes"),

	GLOBAL("store", STORE, TEXT, 0, "DIR", NULL, "$PENSTOCK_STORE, penstock.toml, data directory",
	       "the store"),
	GLOBAL("json", JSON, FLAG, 0, NULL, NULL, NULL, "JSON on stdout (lists: one object a line)"),
	GLOBAL("quiet", QUIET, FLAG, 'q', NULL, NULL, NULL, "only errors on stderr"),
	GLOBAL("color", COLOR, CHOICE, 0, NULL, "auto|always|never", "auto", "colours on stderr"),
	GLOBAL("log-level", LOG_LEVEL, TEXT, 0, "LEVELS", NULL, "$PENSTOCK_LOG",
	       "what is logged, and shown on stderr too: debug, or info,engine=debug,…; off: nothing"),
	GLOBAL("log-dir", LOG_DIR, TEXT, 0, "DIR", NULL, "$PENSTOCK_LOG_DIR, logs/ in the store",
	       "where the log lies"),
	GLOBAL("log-journal", LOG_JOURNAL, FLAG, 0, NULL, NULL, "$PENSTOCK_LOG_JOURNAL",
	       "log into the system's journal too"),
	GLOBAL("help", HELP, FLAG, 'h', NULL, NULL, NULL, "-h short, --help with examples"),
	GLOBAL("version", VERSION, FLAG, 'V', NULL, NULL, NULL, "the version in one line"),

	LATER(CMD(VERIFY), "adopt"),
};
const size_t pen_options_count = sizeof pen_options / sizeof pen_options[0];
