/* SPDX-License-Identifier: MIT */
/*
 * penstock.h - the public contract of libpenstock
 *
 * Penstock takes work in (files, directory trees, streams, records a program makes itself), runs
 * every item through a processor, and commits the results into an LMDB store exactly once.
 *
 *   struct pen_store  *store;      a directory: an LMDB environment and what belongs to it
 *   struct pen_engine *engine;     threads that move work into one store
 *   struct pen_sqe    *sqe;        a request: fetched, prepared, submitted
 *   struct pen_cqe    *cqe;        its outcome: waited for, read, marked seen
 *
 * A user of liburing is at home:
 *
 *	pen_store_open("papers.pen", NULL, &store, &why);
 *	pen_engine_start(store, NULL, &engine, &why);
 *	sqe = pen_get_sqe(engine);
 *	pen_prep_run(sqe, &spec);
 *	pen_sqe_set_data(sqe, me);
 *	pen_submit(engine);
 *	pen_wait_cqe(engine, &cqe);          (cqe->res: 0 or a negative code)
 *	pen_cqe_seen(engine, cqe);
 *	pen_engine_stop(engine);
 *	pen_store_close(store);
 *
 * Conventions
 *   Errors    Functions that can fail return 0 (or a count) on success and a negative code on
 *             failure: -errno, or -PEN_nnnn from the list in pen_error_text(). Where a call takes a
 *             struct pen_failure, it is filled on failure with what, where and what to do, and left
 *             alone on success; NULL is allowed. Out parameters are untouched on failure.
 *   Threads   "any thread" calls may run together with every other call on the same object. One
 *             thread submits (get_sqe, prep, submit) and one thread reaps (wait, peek, seen); they
 *             may be the same. Opening and closing an object excludes every other call on it.
 *   Memory    The library copies what it needs of a spec before pen_submit() returns. Strings it
 *             hands out belong to the object they were read from and live until its next call.
 *   Sizes     are bytes, times are nanoseconds of CLOCK_MONOTONIC (_ns) or milliseconds of the wall
 *             clock since 1970 (_ms), unless the name says otherwise.
 *   fork      A store must not be used in a child of the process that opened it.
 */
#ifndef PENSTOCK_H
#define PENSTOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "penstock_error.h"
#include "penstock_log.h"

#ifdef __cplusplus
extern "C" {
#endif

#define PEN_VERSION_MAJOR 0
#define PEN_VERSION_MINOR 1
#define PEN_VERSION_PATCH 0
#define PEN_VERSION "0.1.0"

struct pen_store;
struct pen_engine;
struct pen_sqe;

/* ---- failures ------------------------------------------------------------------------------ */

#define PEN_FAILURE_TEXT 768

/* What went wrong, for people. Filled by the first failure of a call. */
struct pen_failure {
	int code;		     /* the negative code the call returned */
	int os_errno;		     /* errno behind it, 0 if none */
	char text[PEN_FAILURE_TEXT]; /* what and where, one sentence, no newline */
};

/* "PEN1042", or the errno's name for -errno codes. Never NULL; static storage. Any thread. */
const char *pen_error_name(int code);
/* One sentence: what the code means. Never NULL; static storage. Any thread. */
const char *pen_error_text(int code);
/* What to do about it, or "" when there is nothing general to say. Any thread. */
const char *pen_error_advice(int code);
/* The exit status a command ends with for this code (see the manual's table). Any thread. */
int pen_error_exit(int code);
/* Finds a code by its name ("PEN1042", "1042"): the negative code, or 0. Any thread. */
int pen_error_find(const char *name);
/* The i-th code of the list (0 when i is past the end). Any thread. */
int pen_error_at(size_t i);

/* ---- store --------------------------------------------------------------------------------- */

struct pen_store_options {
	size_t size;	    /* sizeof(struct pen_store_options): lets the struct grow */
	bool create;	    /* make the store if the directory is missing or empty */
	bool read_only;	    /* open for the reading calls alone */
	uint64_t map_bytes; /* address space for the map; 0: as much as is sensible */
};

/*
 * Opens (with options NULL: creates if needed) the store in directory dir. One store per directory
 * and process: a second open of the same directory in one process fails with -EBUSY.
 * Fails with: -PEN_STORE_FOREIGN (a directory with other files), -PEN_STORE_NEWER (written by a newer
 * version), -PEN_STORE_NETWORK (NFS, SMB, 9p), -PEN_STORE_DAMAGED, -PEN_STORE_MISSING, or -errno.
 */
int pen_store_open(const char *dir, const struct pen_store_options *opt, struct pen_store **ret,
		   struct pen_failure *why);
/* Closes the store; every engine and cursor of it must be gone. NULL is allowed. */
void pen_store_close(struct pen_store *store);
/* The directory as it was opened. Any thread. */
const char *pen_store_path(const struct pen_store *store);

/* ---- batches ------------------------------------------------------------------------------- */

/* The states of a batch. Terminal ones: completed, failed, cancelled. Stopped and interrupted
 * batches are unfinished: the same command goes on where they ended. */
enum pen_state {
	PEN_QUEUED = 1,
	PEN_WAITING,
	PEN_RUNNING,
	PEN_PAUSED,
	PEN_COMPLETED,
	PEN_FAILED,
	PEN_STOPPED,	 /* by a threshold (max_rejects) */
	PEN_INTERRUPTED, /* by a signal, or its process died */
	PEN_CANCELLED,
};
const char *pen_state_name(enum pen_state state);

enum pen_item_state {
	PEN_ITEM_COMMITTED = 1,
	PEN_ITEM_REJECTED,    /* the input is bad */
	PEN_ITEM_FAILED,      /* the processor gave up */
	PEN_ITEM_QUARANTINED, /* its worker died too often; counts in failed */
	PEN_ITEM_SKIPPED,
	PEN_ITEM_RETRYING,
};
const char *pen_item_state_name(enum pen_item_state state);

enum pen_format {
	PEN_FORMAT_AUTO = 0,
	PEN_FORMAT_NDJSON,
	PEN_FORMAT_LINES,
	PEN_FORMAT_FILES, /* one file is one item */
	PEN_FORMAT_PUTS,  /* records a program puts; not a source format */
	PEN_FORMAT_JSON,  /* JSON documents; the elements of arrays are the items */
	PEN_FORMAT_CSV,
	PEN_FORMAT_TSV,	   /* CSV whose delimiter is a tab */
	PEN_FORMAT_FRAMES, /* each record behind its length */
	PEN_FORMAT_COUNT,  /* not a format */
};
const char *pen_format_name(enum pen_format format);

/* How a frame says its length. */
enum pen_frame { PEN_FRAME_U32BE = 0, PEN_FRAME_U32LE, PEN_FRAME_U16BE, PEN_FRAME_LEB128 };

/* How text is encoded; what is not UTF-8 is turned into it before anything else looks at it. */
enum pen_encoding {
	PEN_ENCODING_AUTO = 0, /* by the byte order mark, else UTF-8 */
	PEN_ENCODING_UTF8,
	PEN_ENCODING_UTF16LE,
	PEN_ENCODING_UTF16BE,
	PEN_ENCODING_LATIN1,
	PEN_ENCODING_WINDOWS1252,
};

enum pen_compression {
	PEN_COMPRESSION_AUTO = 0, /* by magic bytes */
	PEN_COMPRESSION_NONE,	  /* the bytes as they are */
	PEN_COMPRESSION_GZIP,
	PEN_COMPRESSION_ZSTD,
};

enum pen_key {
	PEN_KEY_SEQ = 0, /* u64 big-endian, counts on from the dataset's last */
	PEN_KEY_OFFSET,	 /* u64 big-endian offset in the source; several sources: u32 number first */
	PEN_KEY_PATH,	 /* path below the directory given */
	PEN_KEY_CONTENT, /* XXH3-128 of the value, big-endian */
	PEN_KEY_POINTER, /* JSON pointer */
	PEN_KEY_GIVEN,	 /* by the program (puts) */
};

enum pen_duplicate { PEN_DUP_REPLACE = 0, PEN_DUP_KEEP, PEN_DUP_REJECT };
enum pen_validate { PEN_VALIDATE_STRICT = 0, PEN_VALIDATE_FAST };

/*
 * When does an item count as committed, and what may a power cut take? SIGKILL takes nothing, ever.
 *   COMMIT   when the commit returned; nothing.
 *   GROUP    after the next sync, at most 1 s later; nothing that was counted.
 *   RELAXED  when the commit returned; the last groups (up to 5 s), never consistency.
 */
enum pen_durability { PEN_DURABLE_COMMIT = 0, PEN_DURABLE_GROUP, PEN_DURABLE_RELAXED };

/* What a record of a table becomes. */
enum pen_value_form {
	PEN_VALUE_AUTO = 0, /* csv, tsv: json; else raw */
	PEN_VALUE_RAW,	    /* its bytes */
	PEN_VALUE_JSON,	    /* an object of strings, a member a column */
};
enum pen_header { PEN_HEADER_AUTO = 0, PEN_HEADER_YES, PEN_HEADER_NO, PEN_HEADER_NAMES };
#define PEN_CSV_NONE (-1) /* for quote and escape: there is none */

/* Which items leave a row (pen_items_open). */
enum pen_results {
	PEN_RESULTS_AUTO = 0,	/* all where a command or worker works on items, else the exceptions */
	PEN_RESULTS_EXCEPTIONS, /* rejected and failed ones, and those skipped for their key */
	PEN_RESULTS_ALL,	/* every one */
};

/* What happens to a source file when its batch is complete and durable. */
enum pen_on_success { PEN_SUCCESS_KEEP = 0, PEN_SUCCESS_DELETE, PEN_SUCCESS_MOVE };

#define PEN_RATIO_ONE 1000000u /* max_rejects_ratio is in millionths: 5 % = 50000 */

/* Sorted runs are made of the input first, then merged and appended: fast where keys come in no order. */
enum pen_bulk_mode {
	PEN_BULK_AUTO = 0, /* a large input with keys in no order, into an empty dataset */
	PEN_BULK_ON,	   /* -PEN_BULK_UNFIT where it cannot be */
	PEN_BULK_OFF
};

/*
 * What to run. Zero means the default everywhere, so { .size = sizeof spec, .sources = v,
 * .source_count = n } is a whole spec. Copied by pen_prep_run().
 */
struct pen_run {
	size_t size;		    /* sizeof(struct pen_run) */
	const char *const *sources; /* files, directories, "-", "@list", globs */
	size_t source_count;	    /* up to PEN_SOURCES_MAX after expansion */
	const char *into;	    /* dataset; NULL: "default" */
	enum pen_format format;
	enum pen_compression compression;
	const char *key; /* "@seq" (NULL), "@offset", "@path", "@content", or a JSON pointer */
	enum pen_duplicate on_duplicate;
	enum pen_validate validate;
	uint64_t max_record;	    /* bytes; 0: 64 MiB */
	bool has_max_rejects;	    /* the two below are in force */
	uint64_t max_rejects;	    /* stop at the (n+1)-th reject */
	uint32_t max_rejects_ratio; /* or above this share of the items, in millionths; 0: off */
	enum pen_durability durability;
	uint32_t chunk_items;	    /* 0: adaptive; else also the items of one transaction */
	uint64_t chunk_bytes;	    /* 0: adaptive; at most the engine's */
	uint32_t pause_ms;	    /* sleep between transactions */
	bool fresh;		    /* a new batch though the same one is complete or half-way */
	const char *owner;	    /* NULL: the name of the process's uid */
	const char *correlation_id; /* UUID text; NULL: the traceparent's, the context's or a new one */
	const char *const *labels;  /* "key=value" strings */
	size_t label_count;
	const char *idempotency_key; /* identity for puts and streams; NULL: none */

	/* Tables (csv, tsv); 0 means: find out. */
	int delimiter; /* a byte */
	int quote;     /* a byte, or PEN_CSV_NONE */
	int escape;    /* a byte (the quote itself: doubled quotes), or PEN_CSV_NONE */
	enum pen_header header;
	const char *header_names; /* PEN_HEADER_NAMES: column names, separated by commas */
	enum pen_value_form value;
	enum pen_encoding encoding;
	enum pen_frame frame; /* PEN_FORMAT_FRAMES */

	/* Trees. Patterns are matched against the path below the root, `*` stops at '/', `**` does not. */
	const char *const *include; /* files that fit none of them are no items; count 0: all */
	size_t include_count;
	const char *const *exclude; /* files and directories that fit one are passed over */
	size_t exclude_count;
	bool follow_symlinks;

	const char *items; /* a list of items, one a line, instead of sources; "-": stdin */
	bool items_nul;	   /* its items end with NUL */
	enum pen_on_success on_success;
	const char *move_to; /* PEN_SUCCESS_MOVE: a directory on the same file system */

	const char *const *live; /* names of live counters (pen_emit_progress), each cut at 23 bytes */
	size_t live_count;	 /* up to PEN_LIVE_MAX */

	/*
	 * How items are worked on: "copy" (NULL), "json", "digest", "digest:sha256", "project:FIELDS", "so:FILE[:SYMBOL]"
	 * (penstock_plugin.h); "exec:COMMAND", "worker:COMMAND" (docs/WORKERS.md).
	 */
	const char *processor;
	const char *processor_config; /* for a plugin; NULL: "" */
	const char *const *where; /* conditions on an item's JSON: "/a == 1", "/a", "!/a"; all must hold */
	size_t where_count;	  /* up to 16 */
	enum pen_results results; /* a batch keeps what it began with */
	/* The rest is about exec and worker. */
	uint32_t jobs;	     /* children at a time; 0: as many as cores */
	uint32_t window;     /* items sent ahead to one worker; 0: 64 */
	uint64_t timeout_ns; /* an item's time; 0: none */
	bool has_max_retries;
	uint32_t max_retries; /* else 3 */
	const char *backoff;  /* delays before retries; NULL: "2s,4s,8s" */
	const char *jitter;   /* "none" (NULL), "equal", "full", "decorrelated" */
	const char *halt;     /* "never" (NULL), "soon,fail=5%", ...: as in GNU parallel */
	uint32_t max_crashes; /* of an item's workers, then it is quarantined; 0: 3 */
	bool cache; /* take results of earlier work on the same bytes by the same command, and keep new ones */
	const char *const *env; /* NAME=VALUE for the children, beside the process's own environment */
	size_t env_count;
	const char *traceparent; /* W3C: what this is a part of; NULL: the context's, or none */
	uint64_t retry_for_ns;	 /* no try begins later than that after an item's first; 0: no limit */
	uint64_t memory_max;	 /* address space of each process of a child, in bytes; 0: no limit of ours */
	uint64_t output_max;	 /* bytes of a value; 0: max_record */
	const char *const *flags; /* names of feature flags that gate it, beside BATCH_OPERATIONS_V1 */
	size_t flag_count;

	/* At most so many items in any window of that length, counted over all processes; 0: no rate. */
	uint64_t rate_count, rate_window_ns;
	bool limits; /* counts against BATCH_OPERATIONS and BATCH_ITEM_PROCESSING of user:<owner> */
	enum pen_bulk_mode bulk;
	uint64_t bulk_bytes; /* memory for sorting; 0: 64 MiB; 1 MiB to 4 GiB */
};

#define PEN_LIVE_MAX 8u

#define PEN_SOURCES_MAX 65536u
#define PEN_LABELS_MAX 64u
#define PEN_KEY_MAX 511u
#define PEN_RECORD_MAX (1u << 30) /* the largest max_record */
#define PEN_RAW_MAX 65536u	  /* bytes kept of a rejected item */

struct pen_counters {
	uint64_t items; /* decided: committed + rejected + failed + skipped */
	uint64_t committed;
	uint64_t rejected;
	uint64_t failed;
	uint64_t skipped;
	uint64_t duplicates; /* committed items whose key was already there */
	uint64_t bytes;	     /* of input, decided */
};

/* Everything known about a batch. Strings live in the struct's buffer. */
struct pen_batch_info {
	uint64_t id;
	enum pen_state state;
	int code;		     /* why it failed or stopped, 0 otherwise */
	uint32_t runner_pid;	     /* the process that runs it now, 0 if none */
	struct pen_counters counted; /* what counts as committed at its durability level */
	uint64_t items_total;	     /* 0 when not known */
	uint64_t bytes_total;	     /* 0 when not known (a stream) */
	uint64_t created_ms, started_ms, updated_ms, ended_ms;
	uint64_t active_ms;	 /* running time of the last run, to its last durable commit */
	uint64_t groups;	 /* transactions that carried its items */
	uint32_t hold_budget_ms; /* how long one group may hold the write lock */
	uint32_t hold_last_ms;	 /* how long the last one did */
	enum pen_format format;
	enum pen_key key_kind;
	enum pen_duplicate on_duplicate;
	enum pen_validate validate;
	enum pen_durability durability;
	uint64_t max_record;
	uint64_t seq_base; /* first key of an @seq batch */
	bool resumed;	   /* the last run went on from a checkpoint */
	bool uring;	   /* the last run read through io_uring */
	const char *dataset, *key, *owner, *correlation_id, *sources, *labels; /* lists: newlines */
	const char *place; /* checkpoint: the source it stands in, or "" */
	uint64_t place_offset, place_line;
	uint64_t rows_removed; /* item rows that retention took while the batch stayed */
	char buffer[4096];     /* strings that are longer are cut at a character */
};

/* One batch, by id. Any thread. -PEN_NOT_FOUND if there is none. */
int pen_batch_get(struct pen_store *store, uint64_t id, struct pen_batch_info *ret);
/*
 * Resolves what a person typed: 16 hex digits, a unique prefix of them, "@last" (newest), "@running".
 * -PEN_NOT_FOUND, or -PEN_AMBIGUOUS when a prefix fits several. Any thread.
 */
int pen_batch_find(struct pen_store *store, const char *text, uint64_t *ret_id);
/* Walks batches from newest to oldest: the next id below `before` (UINT64_MAX: start), 0 at the end. */
uint64_t pen_batch_before(struct pen_store *store, uint64_t before);
/* What any process may want of a batch; it lasts until it is done, or wanted no more, whatever dies in between. */
enum pen_wish { PEN_WISH_PAUSE = 1, PEN_WISH_RESUME, PEN_WISH_CANCEL };
/*
 * Says so, and does it when nobody runs the batch; else its runner does at its next group (*ret_runs; may be NULL). by
 * and reason are kept for people, each cut at 255 bytes; NULL: none. -PEN_NOT_FOUND; -PEN_BATCH_OVER. Any thread.
 */
int pen_batch_wish(struct pen_store *store, uint64_t id, enum pen_wish wish, const char *by,
		   const char *reason, bool *ret_runs, struct pen_failure *why);
struct pen_wish_info {
	enum pen_wish wish; /* PAUSE or CANCEL */
	uint64_t time_ms;
	char by[256], reason[256];
};
/* What is wanted of a batch now. -PEN_NOT_FOUND: nothing. Any thread. */
int pen_batch_wished(struct pen_store *store, uint64_t id, struct pen_wish_info *ret);
/*
 * Ends an unfinished batch that no process runs; its records stay. -EBUSY while one runs it (that
 * process's engine must cancel it), -PEN_NOT_FOUND, -PEN_BATCH_OVER when it has ended.
 */
int pen_batch_cancel(struct pen_store *store, uint64_t id, struct pen_failure *why);

/* ---- context ------------------------------------------------------------------------------- */

#define PEN_TRACEPARENT_MAX 56u

/* On whose behalf work is done. */
struct pen_context {
	size_t size; /* sizeof(struct pen_context) */
	char correlation_id[37];
	char traceparent[PEN_TRACEPARENT_MAX]; /* as it was given; "": none was */
	char user[256];
	uint64_t started_ms;
};
/*
 * A context that begins now. correlation_id: UUID text; NULL: the trace id of the traceparent set as a UUID, else a new
 * version 4. traceparent, user: NULL: none. 0, or -PEN_USAGE for a text that is no such thing. Any thread.
 */
int pen_context_init(struct pen_context *ret, const char *correlation_id, const char *traceparent,
		     const char *user, struct pen_failure *why);
/* The one in force in this thread, or NULL. */
const struct pen_context *pen_context(void);
/*
 * Calls fn with the context in force in this thread, then puts the one before back; returns what fn returns. Batches
 * that are prepared meanwhile, and name no id of their own, get its correlation id and trace. NULL: none is in force.
 */
typedef int pen_context_fn(void *arg);
int pen_context_run(const struct pen_context *context, pen_context_fn *fn, void *arg);
/* The one of a batch: started_ms is when it was made. -PEN_NOT_FOUND. Any thread. */
int pen_batch_context(struct pen_store *store, uint64_t batch, struct pen_context *ret);

/* ---- engine -------------------------------------------------------------------------------- */

enum pen_io_choice { PEN_IO_AUTO = 0, PEN_IO_URING, PEN_IO_THREADS };

/* Called from engine threads for things a person should hear of once (fallbacks, a full disk, a
 * broken source). Must not call back into the engine. text is one sentence without newline. */
typedef void pen_notice_fn(void *arg, int code, const char *text);

/* Bytes that are to be free when something more is started; 0: whatever is. */
struct pen_min_free {
	uint64_t memory; /* of the machine, and of this process's memory cgroups */
	uint64_t disk;	 /* beside the store */
};

struct pen_engine_options {
	size_t size;	       /* sizeof(struct pen_engine_options) */
	enum pen_io_choice io; /* URING fails to start where io_uring is denied; AUTO falls back */
	uint32_t processors;   /* 0: cores - 1, at least 1; at most 64 */
	uint32_t entries;      /* submission slots, a power of two; 0: 256 */
	uint64_t arena_bytes;  /* 0: 96 MiB */
	uint32_t chunk_bytes;  /* of input in one buffer; 0: 256 KiB; 1 KiB to 4 MiB */
	pen_notice_fn *notice; /* may be NULL */
	void *notice_arg;
	bool rehearse;		  /* plans only: nothing is written; the store may be NULL or read-only */
	struct pen_min_free room; /* while less is free, no further items are given to children */
};

/*
 * Starts the engine's threads on a store opened for writing (unless it rehearses). Several engines, in one
 * process or many, may share a store. With PEN_IO_URING where io_uring is denied: -PEN_IO_DENIED with the cause.
 */
int pen_engine_start(struct pen_store *store, const struct pen_engine_options *opt, struct pen_engine **ret,
		     struct pen_failure *why);
/*
 * Stops: batches still running are drained and left interrupted, then threads are joined and memory
 * returned. Blocks for at most one group's commit. NULL is allowed.
 */
void pen_engine_stop(struct pen_engine *engine);
/* true when the engine reads through io_uring. Any thread. */
bool pen_engine_uring(const struct pen_engine *engine);
/*
 * Asks every running batch to stop after what has been read: each completes with -PEN_INTERRUPTED_BY
 * and its checkpoint kept. Async-signal-safe; any thread; more calls change nothing.
 */
void pen_engine_drain(struct pen_engine *engine);

/*
 * A free submission entry, or NULL when all are in use (submit, then reap). An entry stays in use from
 * here until its completion was seen, so the completion ring can never overflow. Submitting thread.
 */
struct pen_sqe *pen_get_sqe(struct pen_engine *engine);
/* The value its completion carries. */
void pen_sqe_set_data64(struct pen_sqe *sqe, uint64_t data);
void pen_sqe_set_data(struct pen_sqe *sqe, void *data);
/* No completion on success; a failure still posts one. */
#define PEN_SQE_SKIP_SUCCESS 1u
void pen_sqe_set_flags(struct pen_sqe *sqe, unsigned flags);

/*
 * Runs a batch from its sources to its end. Completes once, when the batch ended and its last item is
 * durable: res 0 (completed), or -PEN_STOPPED_BY, -PEN_INTERRUPTED_BY, -PEN_CANCELLED_BY, or the reason it
 * could not run (e.g. -PEN_SOURCE_OPEN, -PEN_BATCH_BUSY, -PEN_CHANGED). cqe->batch is its id when it got one.
 */
void pen_prep_run(struct pen_sqe *sqe, const struct pen_run *spec);
/*
 * Only enters a batch: whoever works takes it up, in this process or another (pen_prep_take, `penstock work`).
 * Completes when it is durable: cqe->batch is its id, cqe->value 1 when it was there already (the same request, and
 * unfinished or complete with its sources as they were; or its dedup key is taken), 2 when it took the place of one
 * with its key. Streams cannot be submitted; pen_spool() keeps one.
 */
struct pen_after {
	uint64_t batch;
	bool ok; /* only if that one ends well; else however it ends */
};
/*
 * What a submission with the key of an earlier one of its owner does. "There" is the batch that has the key: it is
 * given back then, the event DEDUPLICATED says so, and nothing is entered.
 */
enum pen_dedup_mode {
	PEN_DEDUP_AUTO,	  /* throttle with a time, simple without */
	PEN_DEDUP_SIMPLE, /* there while that batch is unfinished or complete */
	PEN_DEDUP_THROTTLE, /* there until the time has passed since that one was entered, unless it was cancelled */
	PEN_DEDUP_DEBOUNCE, /* takes the place of the one that has not begun, which is cancelled (-PEN_REPLACED),
			     * and runs when the time has passed since the last of them */
};
#define PEN_DEDUP_KEY_MAX 200u
#define PEN_DEDUP_TTL_MAX_MS 31536000000ull

struct pen_submit {
	size_t size; /* sizeof(struct pen_submit) */
	const struct pen_run *run;
	int priority;		/* -9 .. 9: higher ones of the same owner first, and waiting counts as well */
	uint64_t not_before_ms; /* 0: at once */
	const struct pen_after *after; /* batches that must have ended */
	size_t after_count;	       /* up to 256 */
	const char *on_complete;       /* a command that is run once, however the batch ends; NULL: none */
	const char
		*spool; /* named by pen_spool(): the one source, instead of run's; it goes with the batch */
	const char *
		dedup; /* a key, of at most PEN_DEDUP_KEY_MAX bytes, that stands for the request; NULL: none */
	enum pen_dedup_mode dedup_mode;
	uint64_t dedup_ttl_ms; /* of throttle and debounce: 1 .. PEN_DEDUP_TTL_MAX_MS */
};
void pen_prep_submit(struct pen_sqe *sqe, const struct pen_submit *submit);
/* "BATCH[:ok|any]": the length of BATCH, and whether ok was asked for. 0 or -PEN_USAGE. */
int pen_after_parse(const char *text, size_t *ret_len, bool *ret_ok, struct pen_failure *why);
/*
 * Copies a stream into the store's directory, durably, so that it can be a batch's source. Blocks until it ends.
 * ret_name: at least 64 bytes. Any thread.
 */
int pen_spool(struct pen_store *store, int fd, char *ret_name, uint64_t *ret_bytes, struct pen_failure *why);
/* Removes a spool that no batch got. */
void pen_spool_drop(struct pen_store *store, const char *name);

#define PEN_TAKE_MAY_LEAVE 1u /* complete with -PEN_WAITS when all that is left waits for a later time */
/*
 * Runs a batch that was submitted, or that a command began whose items end one by one. As pen_prep_run(), and
 * -PEN_PAUSED_BY. Whether its time has come and its parents have ended is pen_batch_due()'s to say: ask before.
 */
void pen_prep_take(struct pen_sqe *sqe, uint64_t batch, unsigned flags);
/*
 * The same, unless as many batches run in the store as may: -PEN_AT_CAP. Counted in the transaction that lets it begin,
 * over all processes: if all who take batches say the same caps, never more run at once.
 */
struct pen_caps {
	uint32_t all;	/* batches that run at once in the store; 0: no limit */
	uint32_t owner; /* of one owner; 0: no limit */
};
void pen_prep_take_capped(struct pen_sqe *sqe, uint64_t batch, unsigned flags, const struct pen_caps *caps);

/* Which of the submitted batches to take up; one queue a worker, used by one thread. */
struct pen_queue;
struct pen_weight {
	const char *owner;
	uint32_t
		weight; /* 1 .. 1000: how much of what is done is his, against others; who is not named has 1 */
};
struct pen_queue_options {
	size_t size;		    /* sizeof(struct pen_queue_options) */
	uint32_t cap;		    /* batches that this worker runs at once; 0: none but the engine's */
	uint32_t owner_cap;	    /* of one owner; 0: no limit */
	struct pen_caps store_caps; /* of all processes: what is above them is not offered. Give them to
				     * pen_prep_take_capped() too, which alone makes them hold */
	const struct pen_weight *weights; /* copied */
	size_t weight_count;
	struct pen_min_free room; /* while less is free, no batch is offered */
};
int pen_queue_open(struct pen_store *store, const struct pen_queue_options *opt, struct pen_queue **ret);
void pen_queue_close(struct pen_queue *queue); /* NULL is allowed */
/*
 * 1: *ret_batch is next; take it, and say so when it is done with. 0: none may run now; *ret_wait_ms is when one might
 * (UINT64_MAX: not by time alone), *ret_left how many wait. Children whose parents ended so that they will never run
 * are cancelled here. Negative: a failure.
 */
int pen_queue_next(struct pen_queue *queue, uint64_t *ret_batch, uint64_t *ret_wait_ms, uint32_t *ret_left);
/*
 * Why the last call offered none though some could run: -PEN_AT_CAP, -PEN_NO_ROOM, and a sentence; 0: not so. With
 * -PEN_NO_ROOM and a wait that is not by time, there will never be enough. The queue's, until its next call.
 */
int pen_queue_held(const struct pen_queue *queue, const char **ret_text);
/* What the workers of a store wait for in this way, each by its process: up to cap of them. Any thread. */
#define PEN_HOLDUP_TEXT 200u
struct pen_holdup {
	uint32_t pid;
	char text[PEN_HOLDUP_TEXT];
};
int pen_queue_holdups(struct pen_store *store, struct pen_holdup *ret, uint32_t cap);
/* The batch left this worker; code is its completion's. */
void pen_queue_done(struct pen_queue *queue, uint64_t batch, int code);
/* Why a batch is where it is: one sentence a line, the newest decision first. Its length; -PEN_NOT_FOUND. Any
 * thread. */
long pen_batch_why(struct pen_store *store, uint64_t batch, char *ret, size_t cap);

/* What a batch was told when it was submitted, and how its items fare that end one by one. Any thread. */
struct pen_job_info {
	bool submitted; /* whoever works takes it up; else its command goes on with it */
	int priority;
	uint64_t not_before_ms; /* 0: at once */
	uint32_t parents;
	bool has_hook, hook_owed; /* on_complete: there is one; it was not run yet */

	bool tried; /* its items end one by one; the rest is 0 otherwise */
	uint64_t retrying,
		due_ms; /* items that wait for their next try, and when the first may begin; 0: none */
	uint64_t tries, retries, crashes;
	uint64_t dropped; /* of the skipped: by the processor */
	uint64_t cache_hits, cache_misses;
};
int pen_batch_job(struct pen_store *store, uint64_t id, struct pen_job_info *ret);
/* The dedup key that a batch was submitted with. -PEN_NOT_FOUND: none, or its time is over. Any thread. */
struct pen_dedup_info {
	char key[PEN_DEDUP_KEY_MAX + 1];
	enum pen_dedup_mode mode;
	uint64_t batch;	   /* that has the key now */
	uint64_t until_ms; /* 0: while that one is unfinished or complete */
	uint64_t ttl_ms;
	uint64_t previous; /* whose place that one took; 0: none */
	uint64_t count;	   /* submissions that were given that one, or that it replaced */
};
int pen_batch_dedup(struct pen_store *store, uint64_t id, struct pen_dedup_info *ret);
/* What it waits or waited for, and up to cap of those with ids above `after` that wait for it: how many. Any thread. */
int pen_batch_parents(struct pen_store *store, uint64_t id, struct pen_after *ret, uint32_t cap);
int pen_batch_children(struct pen_store *store, uint64_t id, uint64_t after, uint64_t *ret, uint32_t cap);
/*
 * Calls fn once for every batch that waits for this one, or for one that does, and so on (behind); or that it waits
 * for in the same way. Ends at the first answer that is not 0 and returns it. -PEN_USAGE: more than 65,536. Any thread.
 */
typedef int pen_kin_fn(void *arg, uint64_t batch);
int pen_batch_kin(struct pen_store *store, uint64_t id, bool behind, pen_kin_fn *fn, void *arg,
		  struct pen_failure *why);
/* Up to cap batches in a state, as it is kept, with ids above `after`, oldest first: how many. Any thread. */
int pen_batch_in_state(struct pen_store *store, enum pen_state state, uint64_t after, uint64_t *ret,
		       uint32_t cap);
/* Batches that rest, by state, and when time lets the next of them run (0: none waits for time alone). Any thread. */
struct pen_queue_info {
	uint64_t queued, waiting, paused;
	bool due_now;	 /* at least one is not bound to a time */
	uint64_t due_ms; /* of those that are: may be long ago */
	bool whole;	 /* all were asked for their time; else about 10,000, the oldest */
};
int pen_queue_look(struct pen_store *store, struct pen_queue_info *ret);

/*
 * Commands to be run at a batch's end (pen_submit.on_complete), oldest first. 1: run this one and say done; nobody else
 * gets it meanwhile, and the batch cannot be retried. If this process dies before, the next caller gets it. 0: none.
 */
struct pen_hook {
	uint64_t batch;
	char *command;
	int lock;
};
int pen_hook_next(struct pen_store *store, struct pen_hook *ret);
/* Frees the hook's parts, whatever it returns. */
int pen_hook_done(struct pen_store *store, struct pen_hook *hook, struct pen_failure *why);

/*
 * May a submitted batch run now? 1: yes. 0: *ret_wait_ms is when to ask again. -PEN_CANCELLED_BY: it never will,
 * because of how a parent ended, and has been cancelled. Any thread.
 */
int pen_batch_due(struct pen_store *store, uint64_t batch, uint64_t *ret_wait_ms);

/*
 * Items of a batch that failed, were quarantined or rejected are to be tried again: those that fit the condition
 * (engine/where.h; NULL: failed and quarantined ones). Their attempts are kept. In steps of 1,000 a transaction; a kill
 * leaves whole steps. The batch is queued again. dry: only counts. *ret_count items. Any thread.
 */
int pen_batch_retry(struct pen_store *store, uint64_t batch, const char *where, bool dry, uint64_t *ret_count,
		    struct pen_failure *why);

/*
 * Is the spec one that can be run, as far as that shows without touching a file or a store? 0, or what pen_prep_run
 * would be refused with. Any thread.
 */
int pen_run_check(const struct pen_run *spec, struct pen_failure *why);
/*
 * Opens a batch whose records the program puts itself. spec->sources are ignored and key must be NULL
 * (keys are given) or "@seq". Completes when the batch is open: cqe->batch is its id, cqe->value the number
 * of items already committed (not 0 when an unfinished batch with the same idempotency key goes on: put
 * from that item).
 */
void pen_prep_open(struct pen_sqe *sqe, const struct pen_run *spec);
/*
 * One record of an opened batch. Reserves key_len + value_len bytes of the arena; the program fills
 * *ret_key and *ret_value (neither is NUL-terminated) before pen_submit(). key_len is 0 for "@seq". Records of one
 * batch are items in the order submitted. Completes when the record counts as committed; res 0, or the code
 * it was rejected with. Returns 0; -EAGAIN when the arena is full (the sqe stays prepared as a no-op: submit, reap, try
 * again); -E2BIG when the record is larger than a chunk (256 KiB) can take; -EINVAL for a key above 511 bytes.
 */
int pen_prep_put(struct pen_sqe *sqe, uint64_t batch, size_t key_len, size_t value_len, void **ret_key,
		 void **ret_value);
/* Ends an opened batch: completes when its last record is durable and its state is completed. */
void pen_prep_close(struct pen_sqe *sqe, uint64_t batch);
/* Stop reading, keep what is committed; the batch rests in PEN_PAUSED until resumed, in this engine. */
void pen_prep_pause(struct pen_sqe *sqe, uint64_t batch);
void pen_prep_resume(struct pen_sqe *sqe, uint64_t batch);
/* Ends a running batch for good: committed items stay, PEN_CANCELLED. */
void pen_prep_cancel(struct pen_sqe *sqe, uint64_t batch);
/* Completes after everything submitted before it was taken over by the engine. */
void pen_prep_nop(struct pen_sqe *sqe);

/*
 * What pen_prep_run() would do with this spec now, in an engine that rehearses: the sources are read through the
 * same reader and processors, and nothing is written. Completes when all is counted (or read so far, when
 * the engine drains: -PEN_INTERRUPTED_BY), with res 0 or the code a run would be refused with; *ret is filled
 * before in either case, as far as it is known, and needs pen_forecast_fini(). ret and its size must be set up by
 * then: { .size = sizeof forecast }. Streams that are read here are used up.
 */
struct pen_forecast;
void pen_prep_plan(struct pen_sqe *sqe, const struct pen_run *spec, struct pen_forecast *ret);

/* Hands every prepared entry to the engine and returns their number. Never blocks. Submitting thread. */
int pen_submit(struct pen_engine *engine);

struct pen_cqe {
	uint64_t user_data;
	uint64_t batch; /* the batch it is about, 0 if none */
	uint64_t value; /* pen_prep_open: items already committed; puts: the item's number */
	int res;	/* 0 or a negative code */
	unsigned flags;
};

/* Waits for a completion. 0, or -PEN_DISK_FAILED once the engine had to give up (see below). Reaping thread. */
int pen_wait_cqe(struct pen_engine *engine, struct pen_cqe **ret);
/* The same for at most timeout_ns: -ETIME when none came. */
int pen_wait_cqe_timeout(struct pen_engine *engine, struct pen_cqe **ret, uint64_t timeout_ns);
/* A completion that is there already: 0, or -EAGAIN. */
int pen_peek_cqe(struct pen_engine *engine, struct pen_cqe **ret);
/* Gives the completion's slot back; cqe is not valid afterwards. */
void pen_cqe_seen(struct pen_engine *engine, struct pen_cqe *cqe);
/* The engine's first failure about a batch (0: about the engine itself): what and where. Any thread. */
int pen_engine_failure(struct pen_engine *engine, uint64_t batch, struct pen_failure *ret);

/*
 * When the disk fails under a commit (any error of a sync or of the meta page), nothing more can be trusted
 * to reach it from this process. The engine stops taking work, every pending entry completes with
 * -PEN_DISK_FAILED, and the process should exit (status 74): the next start reopens and goes on.
 */

/* Live numbers of a batch in this engine, without touching the store. */
struct pen_progress {
	uint64_t batch;
	enum pen_state state;
	int reason; /* why it rests: -PEN_DISK_FULL, -PEN_MAP_FULL, ... 0 when it does not */
	struct pen_counters counted;
	uint64_t items_total, bytes_total; /* 0 when not known */
	uint64_t bytes_place;		   /* input behind the durable checkpoint, earlier runs included */
	uint64_t groups;
	uint64_t first_commit_ns, last_commit_ns; /* CLOCK_MONOTONIC; 0 before the first one */
	uint32_t hold_budget_ms, hold_last_ms;
	bool resumed;
	uint64_t resumed_items; /* items that earlier runs had committed */
};
/* -PEN_NOT_FOUND when this engine does not run the batch. batch 0: the oldest running one. Any thread. */
int pen_engine_progress(struct pen_engine *engine, uint64_t batch, struct pen_progress *ret);

/*
 * What a program says about a batch that runs in this engine, to those who watch it (penstock_progress.h): any
 * thread, at any time; bounded, never waits. 0, also when nobody can watch or the batch has ended; -EINVAL;
 * -EAGAIN when 256 notes wait already: this one is counted and not shown, and the next one says as much.
 *
 * Progress: shown as it is when it is looked at, told as an event at most 20 times a second. How much is done is
 * what is committed; a program adds of how much (percentage and "item i of n" follow from that), where it
 * stands, and counters of its own, named in pen_run.live.
 */
struct pen_emit {
	size_t size;		     /* sizeof(struct pen_emit) */
	uint64_t items_total;	     /* 0: as it was */
	uint64_t bytes_total;	     /* 0: as it was */
	uint64_t user_tag;	     /* the program's own */
	uint32_t stage;		     /* 0 .. 7: read, cut, process, commit, decode, then the program's own */
	uint64_t live[PEN_LIVE_MAX]; /* absolute */
};
int pen_emit_progress(struct pen_engine *engine, uint64_t batch, const struct pen_emit *emit);
/* An error by the program's own number; one of pen_error_text()'s, negative; one of a domain the program defines. */
int pen_emit_error(struct pen_engine *engine, uint64_t batch, uint32_t code);
int pen_emit_standard_error(struct pen_engine *engine, uint64_t batch, int code);
int pen_emit_domain_error(struct pen_engine *engine, uint64_t batch, uint64_t domain, uint32_t code);
/* The program is done with its first `count` items: told once all of them are durable. */
int pen_emit_complete(struct pen_engine *engine, uint64_t batch, uint64_t count);

/* The memory bill at these options: lines "bytes<TAB>what", added up in the last one. Returns the text's
 * length, which may exceed cap. Any thread. */
size_t pen_memory_bill(const struct pen_engine_options *opt, char *ret, size_t cap);

/* ---- reading ------------------------------------------------------------------------------- */

/* A view into the store's map: valid until the cursor's next call. */
struct pen_view {
	const void *data;
	size_t len;
};

/* One value. ret_value is malloc'ed; free() it. -PEN_NOT_FOUND: no such key; -PEN_NO_DATASET. Any thread. */
int pen_get(struct pen_store *store, const char *dataset, const void *key, size_t key_len, void **ret_value,
	    size_t *ret_len);

struct pen_cursor; /* one reader of the store: a consistent snapshot. Used by one thread at a time. */
void pen_cursor_close(struct pen_cursor *cur); /* NULL is allowed */

struct pen_scan {
	size_t size;			/* sizeof(struct pen_scan) */
	const void *prefix, *from, *to; /* NULL: unbounded; to is exclusive */
	size_t prefix_len, from_len, to_len;
};
/* Records of a dataset in key order. pen_scan_next: 1 a record, 0 the end, negative a failure. */
int pen_scan_open(struct pen_store *store, const char *dataset, const struct pen_scan *range,
		  struct pen_cursor **ret);
int pen_scan_next(struct pen_cursor *cur, struct pen_view *ret_key, struct pen_view *ret_value);

struct pen_dataset_info {
	const char *name;
	enum pen_key key_kind;
	bool foreign; /* not made by penstock: counted, but without digest */
	uint64_t entries;
	uint64_t bytes; /* of its pages */
	uint64_t next_seq;
	uint64_t updated_ms;
};
int pen_datasets_open(struct pen_store *store, struct pen_cursor **ret);
int pen_datasets_next(struct pen_cursor *cur, struct pen_dataset_info *ret);
/* One dataset's facts, e.g. the kind of its keys. -PEN_NO_DATASET. ret->name is the given name. */
int pen_dataset_get(struct pen_store *store, const char *name, struct pen_dataset_info *ret);
/* Removes a dataset and what is kept about it. -EBUSY while an unfinished batch feeds it. */
int pen_dataset_drop(struct pen_store *store, const char *name, struct pen_failure *why);

/* The row of an item that was not simply committed. */
struct pen_item {
	uint64_t batch, seq;
	enum pen_item_state state;
	int code;
	const char *source;  /* its path */
	uint64_t line;	     /* from 1; 0 when lines mean nothing */
	uint64_t offset;     /* of its first byte, from 0 */
	uint64_t column;     /* from 1; 0 when not known */
	const char *message; /* one sentence; "" when there is nothing to say */
	struct pen_view raw; /* up to PEN_RAW_MAX bytes */
	uint64_t raw_total;  /* the item's length, when it was longer */
	struct pen_view key; /* may be empty */
	uint32_t attempts;
	enum pen_key key_kind; /* of its dataset: what the bytes of its key mean */

	/* Items that a processor worked on by themselves; ended_ms is 0 for others. */
	uint64_t ended_ms; /* of the last try */
	uint64_t due_ms;   /* retrying: when the next try may begin */
	uint64_t spent_us;
	int exit_status; /* -1: none */
	int term_signal; /* 0: none */
	uint32_t crashes;
	struct pen_view stderr_tail;
};
/* Rows of a batch in item order. state 0: all; code 0: all (else negative code); after: items > after (-1: all). */
int pen_items_open(struct pen_store *store, uint64_t batch, int state, int code, int64_t after,
		   struct pen_cursor **ret);
int pen_items_next(struct pen_cursor *cur, struct pen_item *ret);

/*
 * A condition on items: "code=PEN1042 and error~timeout and attempts>=2" (the manual's `items --where`). A parsed one
 * is constant: any thread. -PEN_USAGE says what is wrong and in which column; -PEN_MEMORY.
 */
struct pen_where;
int pen_where_parse(const char *text, struct pen_where **ret, struct pen_failure *why);
void pen_where_free(struct pen_where *where); /* NULL is allowed */
bool pen_where_match(const struct pen_where *where, const struct pen_item *item);

struct pen_event {
	uint64_t seq; /* gapless from 1 */
	uint64_t time_ms;
	uint64_t batch;
	uint16_t type; /* enum pen_event_type */
	int code;
	uint64_t a, b; /* absolute numbers: bytes and items counted so far */
};
/* The numbers are those of the progress ring; new ones are only ever added. */
enum pen_event_type {
	PEN_EVENT_QUEUED = 1,
	PEN_EVENT_STARTED,
	PEN_EVENT_PROGRESS,
	PEN_EVENT_RETRY,
	PEN_EVENT_COMPLETED,
	PEN_EVENT_FAILED,
	PEN_EVENT_CANCELLED,
	PEN_EVENT_STALLED,
	PEN_EVENT_WRITER,
	PEN_EVENT_CHECKPOINT,
	PEN_EVENT_COALESCED,
	PEN_EVENT_PAUSED = 13,
	PEN_EVENT_RESUMED,
	PEN_EVENT_SKIPPED = 16,
	PEN_EVENT_DEDUPLICATED,
	PEN_EVENT_RATE_LIMITED,
	PEN_EVENT_DEAD_LETTERED,
	PEN_EVENT_DEPENDENCY_READY,
	PEN_EVENT_CLEANED,
	PEN_EVENT_DRAINED,
	PEN_EVENT_STOPPED,
	PEN_EVENT_INTERRUPTED,
};
const char *pen_event_name(unsigned type);
/* Events from sequence `from` on (0: the first), of one batch or of all (0). */
int pen_events_open(struct pen_store *store, uint64_t batch, uint64_t from, struct pen_cursor **ret);
int pen_events_next(struct pen_cursor *cur, struct pen_event *ret);

/* ---- rate limits --------------------------------------------------------------------------- */

enum pen_limit_algorithm {
	PEN_LIMIT_SLIDING = 0, /* exact: never more than the limit in any window */
	PEN_LIMIT_GCRA,	       /* evenly spread, with a burst; as redis-cell does */
	PEN_LIMIT_FIXED,       /* a window begins with the first hit */
	PEN_LIMIT_CONCURRENT,  /* so many at once */
};
const char *pen_limit_algorithm_name(enum pen_limit_algorithm algorithm);
enum pen_limit_unit { PEN_LIMIT_REQUESTS = 0, PEN_LIMIT_ITEMS, PEN_LIMIT_BYTES, PEN_LIMIT_UNIT_CONCURRENT };
const char *pen_limit_unit_name(enum pen_limit_unit unit);

#define PEN_LIMIT_NAME 65u	/* bytes of a policy's name, NUL included */
#define PEN_LIMIT_IDENTITY 255u /* bytes of an identity at most: "user:alice", "192.0.2.1", "uid:1000" */
#define PEN_LIMIT_ASKS 8u	/* policies of one decision */
#define PEN_LIMIT_NEVER UINT64_MAX

struct pen_limit_policy {
	size_t size; /* sizeof(struct pen_limit_policy) */
	char name[PEN_LIMIT_NAME];
	uint64_t window_ns; /* 1 ms to 400 days */
	uint64_t limit;	    /* in a window; concurrent: at once, up to 1,000 */
	uint64_t burst;	    /* gcra: so many at once beyond one; UINT64_MAX: limit - 1 */
	enum pen_limit_algorithm algorithm;
	enum pen_limit_unit unit;

	int layer;   /* 1: of the whole system, 2: of an operation. The rest is filled in, not set */
	bool preset; /* it is built in: removing it restores it */
	bool changed;
	uint64_t changed_ms; /* 0: as it was built in */
	uint32_t changed_uid;
};

/*
 * The limits of a store: policies, and what each identity has used up of them, shared by all processes and kept over
 * crashes and restarts. A decision takes about a microsecond and waits for no disk. `copier`: a thread that keeps a
 * copy once a second, for whoever runs for longer; closing keeps one too.
 */
struct pen_limits;
struct pen_limits_options {
	size_t size; /* sizeof(struct pen_limits_options) */
	bool copier;
};
int pen_limit_open(struct pen_store *store, const struct pen_limits_options *opt, struct pen_limits **ret,
		   struct pen_failure *why);
void pen_limit_close(struct pen_limits *limits); /* NULL is allowed */

struct pen_limit_ask {
	const char *policy;
	uint64_t cost; /* 0: only looks */
};
struct pen_limit_result {
	char policy[PEN_LIMIT_NAME];
	enum pen_limit_algorithm algorithm;
	enum pen_limit_unit unit;
	bool refused;
	uint64_t cost, limit, remaining, window_ns;
	uint64_t reset_ns; /* until all of it is there again */
	uint64_t
		retry_ns; /* refused: until it would pass if nothing else did; PEN_LIMIT_NEVER: cost > limit */
};
/* What was taken, so that a part of it can be given back. For the process that took it. */
struct pen_limit_hold {
	uint64_t words[4];
	uint32_t count;
	struct {
		char policy[PEN_LIMIT_NAME];
		uint64_t cost;
	} part[PEN_LIMIT_ASKS];
};
/*
 * Asks up to PEN_LIMIT_ASKS policies about one identity, all or nothing: 0, and all costs are taken; or
 * -PEN_LIMIT_REFUSED, nothing is, and every policy that refuses says so in results (one for each ask).
 * -PEN_LIMIT_UNKNOWN: no such policy. -PEN_LIMIT_FULL: the table has no place for another identity; this is a refusal.
 * Concurrent policies take a hold. Any thread.
 */
int pen_limit_check(struct pen_limits *limits, const char *identity, const struct pen_limit_ask *asks,
		    size_t count, struct pen_limit_result *results, struct pen_failure *why);
/* The same and takes nothing: what would be. */
int pen_limit_peek(struct pen_limits *limits, const char *identity, const struct pen_limit_ask *asks,
		   size_t count, struct pen_limit_result *results, struct pen_failure *why);
/* As check; *ret_hold is for settle or release. Leases of concurrent policies end with this process. */
int pen_limit_reserve(struct pen_limits *limits, const char *identity, const struct pen_limit_ask *asks,
		      size_t count, struct pen_limit_result *results, struct pen_limit_hold *ret_hold,
		      struct pen_failure *why);
/* So much of each part was used: the rest is given back. used NULL: all of it. Leases end. */
int pen_limit_settle(struct pen_limits *limits, const struct pen_limit_hold *hold, const uint64_t *used);
/* All of it is given back. */
int pen_limit_release(struct pen_limits *limits, const struct pen_limit_hold *hold);

/* The i-th policy in order: layers, then names. -PEN_LIMIT_UNKNOWN past the end. */
int pen_limit_at(struct pen_limits *limits, size_t i, struct pen_limit_policy *ret);
int pen_limit_get(struct pen_limits *limits, const char *name, struct pen_limit_policy *ret);
/* Makes or changes a policy; it holds in every process from the next decision on. What was used up stays counted, but
 * for a change of the algorithm. -PEN_USAGE: a value out of its range. */
int pen_limit_set(struct pen_limits *limits, const struct pen_limit_policy *policy, struct pen_failure *why);
/* Removes one's own policy, or restores a preset. -PEN_LIMIT_UNKNOWN: there is none, or it is as it was built in. */
int pen_limit_rm(struct pen_limits *limits, const char *name, struct pen_failure *why);
/* "10/min", "5/15m", "100/s": items in a duration. -PEN_USAGE. */
int pen_rate_parse(const char *text, uint64_t *ret_count, uint64_t *ret_window_ns, struct pen_failure *why);

/*
 * The header fields that tell a client, a line each, ending with CR LF: X-RateLimit-Limit, -Window, -Remaining of the
 * policy that is nearest to its end, Retry-After (only when refused; whole seconds, at least 1), RateLimit-Policy and
 * RateLimit. Returns the text's length, which may exceed cap. Any thread.
 */
size_t pen_limit_headers(const struct pen_limit_result *results, size_t count, char *ret, size_t cap);
/* The seconds of Retry-After: 0 when nothing is refused. */
uint64_t pen_limit_retry_after(const struct pen_limit_result *results, size_t count);

/* ---- retention ----------------------------------------------------------------------------- */

#define PEN_KEEP_FOREVER UINT64_MAX
#define PEN_STATE_SLOTS 16u /* more than there are states */

/*
 * How long what is known about batches is kept; the records of datasets are never touched. 0 stands for the
 * default, which is: completed, failed and cancelled batches 7 days from their end, others for ever. Queued,
 * waiting, running and paused batches are never removed, whatever the rules say.
 */
struct pen_retain_rules {
	size_t size; /* sizeof(struct pen_retain_rules) */
	uint64_t keep_ms
		[PEN_STATE_SLOTS]; /* by enum pen_state: completed, failed, cancelled, stopped, interrupted */
	uint64_t rows_ms; /* item rows of ended batches, from the end of the batch; default: as long as it */
	uint64_t
		rows_bytes; /* pages of all item rows: above that the oldest of ended batches go; default 1 GiB */
	uint64_t events_ms;  /* default 30 days; events go from the front only */
	uint64_t events_max; /* default 1,000,000 */
	uint64_t
		bytes; /* pages of all of it but events: above that the oldest ended batches go; default: no limit */
};

struct pen_retain_info {
	size_t size;		       /* sizeof(struct pen_retain_info) */
	struct pen_retain_rules rules; /* in force: defaults are filled in */
	uint64_t first_event;	       /* events before this one are gone; 1: none are */
	uint64_t cleaned_ms;	       /* when the last pass over everything ended, 0: never */
	uint64_t batches, rows;	       /* removed since the store was made */
};
/* Any thread. */
int pen_retain_info(struct pen_store *store, struct pen_retain_info *ret);
/* Keeps other rules in the store, for whoever cleans from now on. -EINVAL: a rule for a state that has none. */
int pen_retain_set(struct pen_store *store, const struct pen_retain_rules *rules, struct pen_failure *why);
/* Item rows of a batch that retention removed while the batch stayed. Any thread. */
int pen_retain_trimmed(struct pen_store *store, uint64_t batch, uint64_t *ret_rows);

struct pen_clean {
	size_t size;	    /* sizeof(struct pen_clean) */
	uint32_t states;    /* 1 << enum pen_state each; 0: those that the rules have an age for */
	bool has_older;	    /* older_ms is in force instead of the rules' ages */
	uint64_t older_ms;  /* counted from the end of the batch */
	uint64_t bytes;	    /* instead of the rule; 0: the rule */
	bool dry_run;	    /* only counts; a read-only store will do */
	uint64_t budget_ns; /* stop after about that long; 0: when all is done */
};
struct pen_cleaned {
	size_t size;			   /* sizeof(struct pen_cleaned) */
	uint64_t batches[PEN_STATE_SLOTS]; /* by enum pen_state */
	uint64_t rows, rows_bytes;	   /* item rows, of removed batches or not */
	uint64_t events;		   /* not counted by a dry run */
	uint64_t kept; /* due, but in use: run by a process, waited for, or something is still owed */
	bool whole;    /* false: the budget was used up */
};
/*
 * Removes what is due, in transactions that hold the write lock for about 10 ms and let others in between. May be
 * killed at any moment: the next call goes on. *ret is filled on failure too. One call at a time in a process.
 */
int pen_retain_clean(struct pen_store *store, const struct pen_clean *what, struct pen_cleaned *ret,
		     struct pen_failure *why);
/*
 * The same by the rules, for at most about budget_ns, and only when an hour has passed since the last whole pass (or
 * since the store was made): for whoever has a moment. Returns 1 when it did something, 0 when nothing was due or the
 * store is read-only, or a code. Not while the calling
 * thread is in a write transaction.
 */
int pen_retain_some(struct pen_store *store, uint64_t budget_ns);

/* ---- feature flags ------------------------------------------------------------------------- */

#define PEN_FLAG_NAME_MAX 128u	 /* A-Z a-z 0-9 _ . - */
#define PEN_FLAG_LIST_MAX 10000u /* names of one list */
#define PEN_FLAG_TEXT_MAX 255u	 /* bytes of such a name, of a salt, of who and why */
#define PEN_FLAG_METADATA_MAX 65536u
#define PEN_FLAG_VARIANTS_MAX 64u
#define PEN_FLAG_VARIANT_MAX 63u /* bytes of its name */
#define PEN_FLAG_KEY_MAX 511u	 /* bytes of a targeting key */
#define PEN_FLAG_WHOLE 100000u	 /* a rollout is in thousandths of a percent: 100 % */
#define PEN_FLAGS_MAX 100000u	 /* in a store */
/* The flag that gates batches by itself, as user:OWNER, once it is in the store. */
#define PEN_FLAG_BATCHES "BATCH_OPERATIONS_V1"
#define PEN_FLAG_GATES_MAX 16u /* of one batch, that one among them */

/* How a key finds its place in a rollout. */
enum pen_flag_bucketing {
	PEN_FLAG_FINE = 0, /* 100,000 places: murmur3_32("SALT:KEY"), scaled */
	PEN_FLAG_UNLEASH,  /* Unleash's 100: murmur3_32("GROUP:ID") mod 100 + 1 */
};

struct pen_flag_variant {
	const char *name;
	uint32_t weight; /* the sum of all is at most INT32_MAX */
};

struct pen_flag {
	const char *id; /* a cuid */
	const char *name;
	bool enabled;	  /* false: off for everybody, whatever else it says */
	uint32_t rollout; /* thousandths of a percent, 0 .. PEN_FLAG_WHOLE */
	const char *const *whitelist, *const *blacklist;
	size_t whitelist_count, blacklist_count;
	const char *metadata; /* a JSON object, or "" */
	uint64_t created_ms, updated_ms;

	const char *salt; /* "": the name */
	enum pen_flag_bucketing bucketing;
	const struct pen_flag_variant *variants;
	size_t variant_count;
	uint64_t version; /* from 1; every change makes it one more */
};

/* What to do to a list: `at` replaces it, `add` and `remove` change it. */
struct pen_flag_edit {
	bool replace;
	const char *const *at, *const *add, *const *remove;
	size_t count, add_count, remove_count;
};

/* A change. What it does not speak of stays as it is; of a new flag: off, rollout 0, no lists. */
struct pen_flag_set {
	size_t size; /* sizeof(struct pen_flag_set) */
	const char *name;
	bool has_enabled, enabled;
	bool has_rollout;
	uint32_t rollout;
	struct pen_flag_edit whitelist, blacklist;
	const char *metadata; /* NULL: as it is; "": none */
	const char *salt;     /* NULL: as it is. Another one draws everybody anew */
	bool has_bucketing;
	enum pen_flag_bucketing bucketing;
	bool has_variants;
	const struct pen_flag_variant *variants;
	size_t variant_count;
	uint64_t if_version;	 /* only if it is this one; 0: whatever it is */
	const char *by, *reason; /* for its history; NULL: "" */
};

/* OpenFeature's. */
enum pen_flag_reason {
	PEN_FLAG_STATIC = 1,
	PEN_FLAG_DEFAULT,
	PEN_FLAG_TARGETING_MATCH,
	PEN_FLAG_SPLIT,
	PEN_FLAG_DISABLED,
	PEN_FLAG_ERROR,
};
enum pen_flag_error {
	PEN_FLAG_NO_ERROR = 0,
	PEN_FLAG_NOT_FOUND,	  /* the program's default holds */
	PEN_FLAG_PARSE_ERROR,	  /* its row is damaged: likewise */
	PEN_FLAG_INVALID_CONTEXT, /* the key is too long: likewise */
	PEN_FLAG_GENERAL,	  /* the store cannot be read: likewise */
};
/* "SPLIT", "FLAG_NOT_FOUND", ... Never NULL; static storage. */
const char *pen_flag_reason_name(enum pen_flag_reason reason);
const char *pen_flag_error_name(enum pen_flag_error error); /* "" for none */

struct pen_flag_verdict {
	bool on;
	enum pen_flag_reason reason;
	enum pen_flag_error error;
	uint32_t bucket;			/* SPLIT: its place, on when below the rollout */
	uint64_t version;			/* of the flag; 0: there is none */
	char variant[PEN_FLAG_VARIANT_MAX + 1]; /* "on", "off", or one of the flag's */
};

/*
 * Is the flag on for this key? Always answers: where it cannot tell, the verdict is `fallback` with reason ERROR. A
 * key is whatever names a user for good, by custom user:ID; NULL or "": nobody in particular. In the lists "user:ID"
 * and "ID" are the same. The order: no such flag, disabled, blacklist, whitelist, rollout 0 and all, no key, the
 * key's place in the rollout. No system call unless flags changed. Any thread.
 */
void pen_flag_eval(struct pen_store *store, const char *name, const char *key, bool fallback,
		   struct pen_flag_verdict *ret);
/* The same as a gate: 0, or -PEN_FLAG_REFUSED with a sentence. *ret (may be NULL) is filled in both cases. */
int pen_flag_guard(struct pen_store *store, const char *name, const char *key, bool fallback,
		   struct pen_flag_verdict *ret, struct pen_failure *why);

/*
 * Makes or changes a flag, durably; every process that has the store open goes by it at once. *ret_version may be NULL.
 * -PEN_FLAG_BAD; -PEN_FLAG_CHANGED (if_version). Any thread.
 */
int pen_flag_set(struct pen_store *store, const struct pen_flag_set *set, uint64_t *ret_version,
		 struct pen_failure *why);
/* -PEN_NOT_FOUND. Its history stays. */
int pen_flag_rm(struct pen_store *store, const char *name, const char *by, const char *reason,
		struct pen_failure *why);
/* One flag, in one block: free() it. -PEN_NOT_FOUND. */
int pen_flag_get(struct pen_store *store, const char *name, struct pen_flag **ret);
/* The first flag behind that name (NULL: of all), by bytes: 1, 0 when there is none, or a code. free() it. */
int pen_flag_list(struct pen_store *store, const char *after, struct pen_flag **ret);

enum pen_flag_action { PEN_FLAG_DID_SET = 1, PEN_FLAG_DID_RM, PEN_FLAG_DID_RAMP, PEN_FLAG_DID_HOLD };
struct pen_flag_change {
	uint64_t seq; /* of all changes in the store */
	uint64_t time_ms;
	uint64_t version; /* after it */
	enum pen_flag_action action;
	const char *name, *by, *reason;
	const char *changes; /* JSON: {"rollout":{"before":5,"after":25},...} */
};
/* "set", "rm", "ramp", "hold". Never NULL. */
const char *pen_flag_action_name(enum pen_flag_action action);
/*
 * The newest change of a flag before that one (UINT64_MAX: of all): 1, 0, or a code. free() it. Kept: the newest
 * 1,000 of a flag, as long as retention keeps events.
 */
int pen_flag_history(struct pen_store *store, const char *name, uint64_t before,
		     struct pen_flag_change **ret);

/* What a flag said when a batch was made. The draw of a rollout holds for the batch from then on. */
struct pen_flag_pin {
	char name[PEN_FLAG_NAME_MAX + 1];
	struct pen_flag_verdict verdict;
};
/* The flags that gate a batch: how many (at most PEN_FLAG_GATES_MAX), or a code. */
int pen_batch_flags(struct pen_store *store, uint64_t batch, struct pen_flag_pin *ret, size_t cap);
/* 1: this flag keeps it from running now. 0: none does. -PEN_NOT_FOUND: no such batch. */
int pen_batch_held(struct pen_store *store, uint64_t batch, struct pen_flag_pin *ret);
/*
 * May this owner make a batch, with these further flags? 0, or -PEN_FLAG_REFUSED; *ret (may be NULL) is the flag that
 * says no. Of BATCH_OPERATIONS_V1 the default is on, of those that are named it is off.
 */
int pen_batch_may(struct pen_store *store, const char *owner, const char *const *flags, size_t count,
		  struct pen_flag_pin *ret, struct pen_failure *why);
/* As pen_batch_wish(), but a cancellation is refused where a flag that gates the batch is off. What a service calls for
 * its users; pen_batch_wish() is the operator's. */
int pen_batch_ask(struct pen_store *store, uint64_t id, enum pen_wish wish, const char *by,
		  const char *reason, bool *ret_runs, struct pen_failure *why);

#define PEN_RAMP_STEPS 32u
enum pen_ramp_state { PEN_RAMP_RUNNING = 1, PEN_RAMP_HELD, PEN_RAMP_DONE };
/* A rollout that is raised step by step, while the batches that the flag let in do well. */
struct pen_ramp {
	size_t size;			/* sizeof(struct pen_ramp) */
	uint32_t steps[PEN_RAMP_STEPS]; /* rollouts, rising */
	uint32_t step_count;
	uint64_t every_ms;  /* a step lasts at least so long */
	uint32_t max_error; /* hold when (rejected + failed) / items is not below this, in millionths */
	bool guarded;	    /* the above is in force */
	uint64_t min_items; /* a step ends, and is judged, once so many items were decided */

	/* The rest is told. */
	enum pen_ramp_state state;
	uint32_t step;		      /* how many were taken */
	uint64_t step_ms;	      /* when the last of them was */
	uint64_t batches, items, bad; /* since then */
};
/* Begins a ramp (its first step is taken by the first pen_ramp_turn), instead of one that is there. */
int pen_ramp_begin(struct pen_store *store, const char *name, const struct pen_ramp *ramp, const char *by,
		   struct pen_failure *why);
/* -PEN_NOT_FOUND: that flag has none. */
int pen_ramp_get(struct pen_store *store, const char *name, struct pen_ramp *ret);
/*
 * Judges it, and takes the next step when it is time; *ret_wait_ms is when to come again, 0 when there is no need. 0;
 * -PEN_FLAG_HELD, which says why, once it holds. May be called by several processes: each step is taken once.
 */
int pen_ramp_turn(struct pen_store *store, const char *name, const char *by, struct pen_ramp *ret,
		  uint64_t *ret_wait_ms, struct pen_failure *why);
/* One that holds goes on: its step begins again. */
int pen_ramp_resume(struct pen_store *store, const char *name, const char *by, struct pen_failure *why);

/* The store as a whole. O(1). */
struct pen_store_info {
	uint32_t format; /* on-disk format version */
	uint64_t store_id;
	uint64_t map_bytes, used_bytes, file_bytes, free_disk_bytes;
	uint64_t last_event, batches, last_txn;
	uint32_t readers, readers_max;
	uint32_t waiting_writers;
	uint32_t durability; /* flags in force: enum pen_durability */
	uint32_t page_bytes;
};
int pen_store_info(struct pen_store *store, struct pen_store_info *ret);

#define PEN_HOLD_BUCKETS 12u
/* What the store has counted since it was made (or first opened by a version that counts): it only grows. */
struct pen_totals {
	uint64_t since_ms;		  /* 0: nothing was counted yet */
	uint64_t batches;		  /* entered */
	uint64_t states[PEN_STATE_SLOTS]; /* by enum pen_state: how often a batch came to be in it */
	uint64_t committed, rejected, failed, skipped,
		duplicates;		  /* items; one that is tried again counts again */
	uint64_t bytes;			  /* of input */
	uint64_t groups, hold_ms;	  /* transactions with items, and how long they held the write lock */
	uint64_t holds[PEN_HOLD_BUCKETS]; /* the groups by that time */
};
/* Any thread. */
int pen_store_totals(struct pen_store *store, struct pen_totals *ret);
/* The largest number of milliseconds that the i-th of pen_totals.holds counts; UINT32_MAX for the last. */
uint32_t pen_hold_bucket(unsigned i);

/*
 * Checks every invariant of the store in directory dir (which this process must not have open), in a child
 * process, where a fault on a damaged page is a finding. finding() is called once per violation with one
 * sentence. Returns the number of violations, or a negative code when the check could not run.
 */
typedef void pen_finding_fn(void *arg, int invariant, const char *text);
long pen_verify(const char *dir, pen_finding_fn *finding, void *arg, struct pen_failure *why);

/* ---- planning ------------------------------------------------------------------------------ */

#define PEN_FORECAST_REJECTS 1000u /* rejects that are kept with their places */
#define PEN_FORECAST_RAW 512u	   /* bytes kept of each */
#define PEN_FORECAST_CODES 32u	   /* more than there are */

/* Which batch a run would be. */
enum pen_fate {
	PEN_FATE_NEW = 1, /* a new one */
	PEN_FATE_ANEW, /* a new one, because the sources or the dataset of `batch` changed since it completed */
	PEN_FATE_REPLACE, /* a new one, and the unfinished `batch` is cancelled (fresh) */
	PEN_FATE_RESUME,  /* `batch` goes on behind the items that are committed */
	PEN_FATE_DONE,	  /* `batch` is complete: nothing is done */
	PEN_FATE_REFUSED, /* it would not run: the completion's code says why */
};

struct pen_forecast_source {
	const char *path;
	enum pen_format format; /* auto: nothing was read that shows it */
	const char *said;	/* what else was found out (a table's dialect and columns), one line; or "" */
	uint64_t bytes, files;	/* of a tree: in all */
	uint64_t items;		/* that this run would decide */
	uint64_t rejected;	/* of them; duplicates not among them */
};

struct pen_forecast_code {
	int code;
	uint64_t items;
};

struct pen_forecast {
	size_t size; /* sizeof(struct pen_forecast), set by the program */
	enum pen_fate fate;
	uint64_t batch;	       /* see fate; else 0 */
	bool whole;	       /* everything was read */
	enum pen_key key_kind; /* of the spec */

	/* As the run would report it at its end: a batch that goes on includes what earlier runs did. */
	struct pen_counters counted;
	uint64_t resumed_items; /* of them: what earlier runs did */
	/* Keys that come again in the sources, and keys that the dataset has already. */
	uint64_t repeated, present;
	bool exact; /* both were counted, and with them `counted`; else estimated from a sample */
	uint64_t duplicates_error; /* one standard deviation of their sum; 0 when exact */

	/* max_rejects: the run stops behind the item with this number (from 1); 0: it does not. */
	uint64_t stop_items;

	/* Records that would be new in the dataset, and an estimate of the pages they take (within 15 %). */
	uint64_t records, key_bytes, value_bytes;
	uint64_t appended;			 /* of the records: keys above all before them */
	uint64_t large;				 /* of the records: longer than a chunk */
	uint64_t longest;			 /* value, bytes */
	uint64_t dataset_entries, dataset_bytes; /* as it is now */
	uint64_t growth_bytes; /* of pages: records and rows of rejected and skipped items */
	uint64_t file_bytes;   /* by which data.mdb grows at most while it runs */

	uint64_t bytes_total; /* of the sources; 0: not known */
	uint64_t read_ns;     /* this plan took to read and process it all: a run takes longer */

	struct pen_forecast_source *sources;
	size_t source_count;
	/* The first rejects, in item order, as pen_items_next() would give them (raw is cut to
	 * PEN_FORECAST_RAW). */
	struct pen_item *rejects;
	size_t reject_count;
	struct pen_forecast_code codes[PEN_FORECAST_CODES]; /* rejects by code, in the order they were met */
	size_t code_count;
	void *texts; /* what the strings lie in */
};
/* Frees what a plan filled in; the struct itself is the program's. */
void pen_forecast_fini(struct pen_forecast *forecast);
/* "new", "resume", ... Never NULL; static storage. */
const char *pen_fate_name(enum pen_fate fate);

/* ---- commands and workers ------------------------------------------------------------------ */

/*
 * Commands and workers are started by a process of its own. `penstock launcher` is one; a program that has a copy of
 * this library linked in can be another: when it is started with `launcher` as its only argument, it returns from
 * main what pen_launcher_main(3) returns, before it does anything else. Set $PENSTOCK_LAUNCHER to it then.
 */
int pen_launcher_main(int fd);

/* ---- machine ------------------------------------------------------------------------------- */

struct pen_version {
	const char *version, *git, *compiler, *lmdb, *liburing, *simdjson, *simd, *allocator;
};
void pen_version(struct pen_version *ret);

/* What this machine lets io_uring do: 0 when it works, else the negative cause; text says it in a sentence. */
int pen_io_probe(char *ret_text, size_t cap);

#ifdef __cplusplus
}
#endif
#endif
