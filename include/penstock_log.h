/* SPDX-License-Identifier: MIT */
/*
 * penstock_log.h - the logger: lines for people and machines, from any thread, written in the background
 *
 * A line is one JSON object. The caller formats nothing: what it gives is copied into a bounded ring of its thread,
 * and a thread of the logger formats, redacts and writes it. There is one logger a process; without one every call here
 * does nothing and costs a look at one word.
 *
 *	pen_log_open(&(struct pen_log_options){ .size = sizeof opt, .store = store }, &why);
 *	pen_log_info(NULL, "cleanup begins", NULL, 0);
 *	pen_log_event(&(struct pen_log_context){ .user_id = "ann", .batch = id }, "paper.added",
 *		      (struct pen_log_field[]){ PEN_LOG_TEXT("doi", doi), PEN_LOG_U64("pages", pages) }, 2);
 *	pen_log_close();
 *
 *   Progress   a call never waits: when its thread's ring is full the line is lost, counted, and the loss is a line of
 *              its own. Only audit lines wait for room, at most 100 ms.
 *   Threads    any, but for open and close, which exclude each other; lines of one thread stay in their order.
 *   Memory     256 KiB a thread that logs (up to 128 of them, kept for later ones), 1 MiB for the writer.
 *   Limits     a message 2,048 bytes, 16 fields, a field's text 1,024 bytes, the whole 6,144 bytes: the rest is cut.
 *   Crash      on SEGV, BUS, ILL, FPE and ABRT what is in the rings is written; then the signal does what it did
 *              before.
 *   fork       the child has no logger.
 */
#ifndef PENSTOCK_LOG_H
#define PENSTOCK_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct pen_failure;
struct pen_store;

/* A level lets through what is not above it. */
enum pen_log_level {
	PEN_LOG_OFF = 0,
	PEN_LOG_ERROR,
	PEN_LOG_WARN,
	PEN_LOG_INFO,
	PEN_LOG_VERBOSE,
	PEN_LOG_DEBUG,
	PEN_LOG_LEVELS, /* not a level */
};

/* What a line is about; each has a function below. */
enum pen_log_kind {
	PEN_LOG_KIND_LOG = 0,
	PEN_LOG_KIND_ERROR,
	PEN_LOG_KIND_WARN,
	PEN_LOG_KIND_DEBUG,
	PEN_LOG_KIND_VERBOSE,
	PEN_LOG_KIND_REQUEST,
	PEN_LOG_KIND_RESPONSE,
	PEN_LOG_KIND_SECURITY,
	PEN_LOG_KIND_PERFORMANCE,
	PEN_LOG_KIND_EVENT,
	PEN_LOG_KIND_AUDIT,
	PEN_LOG_KIND_FAULT,
	PEN_LOG_KIND_EXTERNAL,
	PEN_LOG_KIND_CACHE,
	PEN_LOG_KIND_WEBSOCKET,
	PEN_LOG_KINDS, /* not a kind */
};

enum pen_log_severity { PEN_LOG_LOW = 1, PEN_LOG_MEDIUM, PEN_LOG_HIGH, PEN_LOG_CRITICAL };

/* Modules of penstock itself; pen_log_module() makes more. */
enum pen_log_part {
	PEN_LOG_PROGRAM = 0, /* whoever uses the library */
	PEN_LOG_IN_LOG,
	PEN_LOG_IN_RING,
	PEN_LOG_IN_STORE,
	PEN_LOG_IN_ENGINE,
	PEN_LOG_IN_FOREMAN,
	PEN_LOG_IN_CREW,
	PEN_LOG_IN_LIMITS,
	PEN_LOG_IN_FLAGS,
	PEN_LOG_IN_SERVE,
	PEN_LOG_IN_PLUGIN,
	PEN_LOG_IN_TOOLS,
	PEN_LOG_PARTS,
};
#define PEN_LOG_MODULES 32u

enum pen_log_type { PEN_LOG_IS_TEXT = 1, PEN_LOG_IS_U64, PEN_LOG_IS_I64, PEN_LOG_IS_REAL, PEN_LOG_IS_BOOL };

struct pen_log_field {
	const char *name; /* cut at 63 bytes */
	enum pen_log_type type;
	union {
		const char *text; /* NULL: null */
		uint64_t u64;
		int64_t i64;
		double real;
		bool yes;
	} value;
};
#define PEN_LOG_TEXT(name_, v) ((struct pen_log_field){ (name_), PEN_LOG_IS_TEXT, { .text = (v) } })
#define PEN_LOG_U64(name_, v) ((struct pen_log_field){ (name_), PEN_LOG_IS_U64, { .u64 = (v) } })
#define PEN_LOG_I64(name_, v) ((struct pen_log_field){ (name_), PEN_LOG_IS_I64, { .i64 = (v) } })
#define PEN_LOG_REAL(name_, v) ((struct pen_log_field){ (name_), PEN_LOG_IS_REAL, { .real = (v) } })
#define PEN_LOG_BOOL(name_, v) ((struct pen_log_field){ (name_), PEN_LOG_IS_BOOL, { .yes = (v) } })
#define PEN_LOG_FIELDS 16u

/* Whom and what a line is about; zero everywhere is a whole one. */
struct pen_log_context {
	const char *correlation_id; /* up to 63 bytes; NULL: that of pen_context(), and its user */
	const char *user_id;	    /* up to 255 bytes */
	uint64_t batch;		    /* 0: none */
	uint64_t item;		    /* with has_item */
	bool has_item;
	uint8_t module; /* enum pen_log_part, or of pen_log_module() */
	uint8_t level;	/* 0: the kind's own */
};

/* A line as a whole, for who wants another combination than the functions below. */
struct pen_log_line {
	size_t size; /* sizeof(struct pen_log_line) */
	enum pen_log_kind kind;
	struct pen_log_context context;
	const char *message;
	enum pen_log_severity severity; /* security; 0: none */
	int code;			/* of pen_error_name(), 0: none */
	bool trace;			/* with where it was called from, up to 24 frames */
	const struct pen_log_field *fields;
	size_t field_count;
};

/* Called by the logger's thread with each line that is written (no newline), and its level. */
typedef void pen_log_sink_fn(void *arg, enum pen_log_level level, const char *line, size_t len);
/* The same, for what the logger itself has to say to people, once. */
typedef void pen_log_notice_fn(void *arg, int code, const char *text);

struct pen_log_options {
	size_t size;		 /* sizeof(struct pen_log_options) */
	struct pen_store *store; /* the files lie in its directory's logs/ */
	const char *dir;	 /* instead: here; made if it is missing */
	const char *levels;	 /* "info,engine=debug": for this process; NULL: what the directory says */
	uint32_t keep_days;	 /* application and error files; 0: 14 */
	uint32_t keep_days_security; /* 0: 30 */
	uint64_t file_bytes;	     /* what one file may have, but for audit; 0: 256 MiB */
	bool journal;		     /* also to the system's journal */
	bool no_crash;		     /* leaves the handlers of crash signals alone */
	pen_log_sink_fn *sink;	     /* may be NULL */
	pen_log_notice_fn *notice;   /* may be NULL */
	void *arg;		     /* of both */
};

/* 0; -EBUSY when this process logs already; -PEN_LOG_PLACE; -PEN_LOG_LEVEL; -PEN_MEMORY. */
int pen_log_open(const struct pen_log_options *opt, struct pen_failure *why);
/* Writes what is there and ends the logger. Nothing without one. */
void pen_log_close(void);
/* Waits until what was logged before is in its files, at most so long. False: it took longer, or there is no logger. */
bool pen_log_flush(uint64_t timeout_ns);
/* Writes what is in the rings here and now, and ends logging: for handlers of signals that end the process.
 * Async-signal-safe. */
void pen_log_last(void);

/* The number of a module by its name (up to 23 bytes of a-z, 0-9, - and _), entered if it is new; negative: -EINVAL,
 * -ENOSPC. Any thread. */
int pen_log_module(const char *name);
const char *pen_log_module_name(unsigned module);
const char *pen_log_level_name(enum pen_log_level level);
const char *pen_log_kind_name(enum pen_log_kind kind);
/* By its name; negative: there is none. */
int pen_log_level_find(const char *name);
int pen_log_kind_find(const char *name);
/* Would a line of this module and level be kept? For who has to collect what it would say. */
bool pen_log_on(unsigned module, enum pen_log_level level);
/* Other levels: for this process; "LEVEL" is all modules. 0 or -PEN_LOG_LEVEL. Any thread. */
int pen_log_levels(const char *levels, struct pen_failure *why);
/* The same for every process that logs into this directory, those that run too, but where they were told otherwise
 * (pen_log_options.levels). What is set stays. */
int pen_log_share(const char *dir, const char *levels, struct pen_failure *why);
/* "ring=info,store=debug,...": what the directory says. Its length, as snprintf; or negative. */
long pen_log_shared(const char *dir, char *ret, size_t cap, struct pen_failure *why);
/*
 * Checks the chain of the audit files in a directory: finding() is called for the first line of a file that does not
 * fit the line before it, and for an end that is missing. The number of findings, or a negative code.
 */
typedef void pen_log_finding_fn(void *arg, const char *text);
long pen_log_verify(const char *dir, pen_log_finding_fn *finding, void *arg, struct pen_failure *why);

/*
 * The line as it is. 0, also when its level is not wanted or nobody logs; -EAGAIN: it was lost. context may be NULL in
 * the functions below.
 */
int pen_log_put(const struct pen_log_line *line);

int pen_log_info(const struct pen_log_context *context, const char *message,
		 const struct pen_log_field *fields, size_t count);
int pen_log_warn(const struct pen_log_context *context, const char *message,
		 const struct pen_log_field *fields, size_t count);
/* With where it was called from. */
int pen_log_error(const struct pen_log_context *context, const char *message,
		  const struct pen_log_field *fields, size_t count);
int pen_log_verbose(const struct pen_log_context *context, const char *message,
		    const struct pen_log_field *fields, size_t count);
int pen_log_debug(const struct pen_log_context *context, const char *message,
		  const struct pen_log_field *fields, size_t count);
#ifdef PEN_LOG_NO_DEBUG
/* Compiled out: nothing is evaluated. */
#define pen_log_debug(...) 0
#endif
/* A request that came in, and what it was answered after so long. */
int pen_log_request(const struct pen_log_context *context, const char *method, const char *target,
		    const struct pen_log_field *fields, size_t count);
int pen_log_response(const struct pen_log_context *context, const char *method, const char *target,
		     int status, uint64_t took_ns, const struct pen_log_field *fields, size_t count);
/* Into a file of its own as well, whatever the levels: low is info, medium warn, else error. */
int pen_log_security(const struct pen_log_context *context, enum pen_log_severity severity,
		     const char *message, const struct pen_log_field *fields, size_t count);
/* How long an operation took; at the end there is a line for each that came more than once, with a histogram. */
int pen_log_performance(const struct pen_log_context *context, const char *operation, uint64_t took_ns,
			const struct pen_log_field *fields, size_t count);
/* What happened, in the terms of whoever uses it: "paper.added". */
int pen_log_event(const struct pen_log_context *context, const char *name, const struct pen_log_field *fields,
		  size_t count);
/* Who (context's user_id) did what to what; into a file of its own, where each line seals the one before it. */
int pen_log_audit(const struct pen_log_context *context, const char *action, const char *subject,
		  const struct pen_log_field *fields, size_t count);
/* A failure of the library, or of anything with a code, in its context. */
int pen_log_fault(const struct pen_log_context *context, int code, const char *message,
		  const struct pen_log_field *fields, size_t count);
/* A call to somebody else: a command, a worker, a service. good: it did what was asked. */
int pen_log_external(const struct pen_log_context *context, const char *service, const char *operation,
		     bool good, uint64_t took_ns, const struct pen_log_field *fields, size_t count);
int pen_log_cache(const struct pen_log_context *context, const char *operation, uint64_t hits,
		  uint64_t misses, const struct pen_log_field *fields, size_t count);
int pen_log_websocket(const struct pen_log_context *context, const char *event, const char *peer,
		      const struct pen_log_field *fields, size_t count);

#ifdef __cplusplus
}
#endif
#endif
