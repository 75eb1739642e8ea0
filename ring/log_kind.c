/* SPDX-License-Identifier: MIT */
/*
 * log - the kinds of lines, each a few fields on top of what the caller gives
 */
#include <string.h>

#include "ring/log.h"

static const char *const names[PEN_LOG_KINDS] = {
	"log",	       "error", "warn",	 "debug", "verbose",  "request", "response",  "security",
	"performance", "event", "audit", "fault", "external", "cache",	 "websocket",
};

const char *pen_log_kind_name(enum pen_log_kind kind)
{
	return (unsigned)kind < PEN_LOG_KINDS ? names[kind] : "log";
}

int pen_log_kind_find(const char *name)
{
	for (int i = 0; i < PEN_LOG_KINDS; i++)
		if (!strcmp(names[i], name))
			return i;
	return -1;
}

static int put(enum pen_log_kind kind, const struct pen_log_context *context, struct pen_log_line *line,
	       const struct pen_log_field *fields, size_t count)
{
	line->size = sizeof *line;
	line->kind = kind;
	if (context)
		line->context = *context;
	line->fields = fields;
	line->field_count = count;
	return pen_log_put(line);
}

/* The line with fields of its kind before the caller's; those beyond the limit are cut like any others. */
static int put_own(enum pen_log_kind kind, const struct pen_log_context *context, struct pen_log_line *line,
		   const struct pen_log_field *own, size_t own_count, const struct pen_log_field *fields,
		   size_t count)
{
	struct pen_log_field both[PEN_LOG_FIELDS + 1];
	int rc;

	/* One too many is kept, so that the cut is noticed. */
	count = (size_t)pen_min(count, PEN_LOG_FIELDS + 1 - own_count);
	memcpy(both, own, own_count * sizeof *own);
	if (count)
		memcpy(both + own_count, fields, count * sizeof *fields);
	rc = put(kind, context, line, both, own_count + count);
	line->fields = NULL; /* they were copied, and end here */
	line->field_count = 0;
	return rc;
}

#define PLAIN(name_, kind_, trace_)                                                   \
	int(name_)(const struct pen_log_context *context, const char *message,        \
		   const struct pen_log_field *fields, size_t count)                  \
	{                                                                             \
		struct pen_log_line line = { .message = message, .trace = (trace_) }; \
                                                                                      \
		return put(PEN_LOG_KIND_##kind_, context, &line, fields, count);      \
	}
PLAIN(pen_log_info, LOG, false)
PLAIN(pen_log_warn, WARN, false)
PLAIN(pen_log_error, ERROR, true)
PLAIN(pen_log_verbose, VERBOSE, false)
PLAIN(pen_log_debug, DEBUG, false)
PLAIN(pen_log_event, EVENT, false)

#define WITH(kind_, message_, ...)                            \
	const struct pen_log_field own[] = { __VA_ARGS__ };   \
	struct pen_log_line line = { .message = (message_) }; \
                                                              \
	return put_own(PEN_LOG_KIND_##kind_, context, &line, own, PEN_COUNT(own), fields, count)

int pen_log_request(const struct pen_log_context *context, const char *method, const char *target,
		    const struct pen_log_field *fields, size_t count)
{
	WITH(REQUEST, target, PEN_LOG_TEXT("method", method), PEN_LOG_TEXT("target", target));
}

int pen_log_response(const struct pen_log_context *context, const char *method, const char *target,
		     int status, uint64_t took_ns, const struct pen_log_field *fields, size_t count)
{
	WITH(RESPONSE, target, PEN_LOG_TEXT("method", method), PEN_LOG_TEXT("target", target),
	     PEN_LOG_I64("status", status), PEN_LOG_REAL("tookMs", (double)took_ns / 1e6));
}

int pen_log_performance(const struct pen_log_context *context, const char *operation, uint64_t took_ns,
			const struct pen_log_field *fields, size_t count)
{
	WITH(PERFORMANCE, operation, PEN_LOG_TEXT("operation", operation),
	     PEN_LOG_REAL("tookMs", (double)took_ns / 1e6));
}

int pen_log_audit(const struct pen_log_context *context, const char *action, const char *subject,
		  const struct pen_log_field *fields, size_t count)
{
	WITH(AUDIT, action, PEN_LOG_TEXT("action", action), PEN_LOG_TEXT("subject", subject));
}

int pen_log_external(const struct pen_log_context *context, const char *service, const char *operation,
		     bool good, uint64_t took_ns, const struct pen_log_field *fields, size_t count)
{
	WITH(EXTERNAL, operation, PEN_LOG_TEXT("service", service), PEN_LOG_TEXT("operation", operation),
	     PEN_LOG_BOOL("good", good), PEN_LOG_REAL("tookMs", (double)took_ns / 1e6));
}

int pen_log_cache(const struct pen_log_context *context, const char *operation, uint64_t hits,
		  uint64_t misses, const struct pen_log_field *fields, size_t count)
{
	WITH(CACHE, operation, PEN_LOG_U64("hits", hits), PEN_LOG_U64("misses", misses));
}

int pen_log_websocket(const struct pen_log_context *context, const char *event, const char *peer,
		      const struct pen_log_field *fields, size_t count)
{
	WITH(WEBSOCKET, event, PEN_LOG_TEXT("event", event), PEN_LOG_TEXT("peer", peer));
}

int pen_log_security(const struct pen_log_context *context, enum pen_log_severity severity,
		     const char *message, const struct pen_log_field *fields, size_t count)
{
	struct pen_log_line line = { .message = message, .severity = severity };

	return put(PEN_LOG_KIND_SECURITY, context, &line, fields, count);
}

int pen_log_fault(const struct pen_log_context *context, int code, const char *message,
		  const struct pen_log_field *fields, size_t count)
{
	struct pen_log_line line = { .message = message, .code = code };

	return put(PEN_LOG_KIND_FAULT, context, &line, fields, count);
}
