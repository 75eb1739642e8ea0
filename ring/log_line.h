/* SPDX-License-Identifier: MIT */
/*
 * log_line - a record as the line that is written: one JSON object
 *
 *	{"time":"2026-11-24T20:16:00.123Z","level":"info","kind":"event","module":"engine","message":"...",
 *	 "correlationId":null,"userId":null,"batch":"00000000000019ab","item":null,"pid":7,"tid":9,...}
 *
 * The first eleven members are always there, in this order; then, where there are any: code, severity, fields, trace,
 * cut. Controls (terminal escapes, newlines, C1, bidirectional ones) are escaped, what is no UTF-8 is U+FFFD, secrets
 * are "[redacted]": the values of fields with such a name, and in texts the user part of a URL, what stands behind
 * such a name and = or :, or behind an option of that name, and Bearer tokens.
 *
 *   Pure: no allocation, no lock, no stdio, no locale; async-signal-safe. Threads: any.
 *   Limits     a line has at most PEN_LOG_LINE_BYTES, whatever the record holds.
 */
#ifndef PEN_RING_LOG_LINE_H
#define PEN_RING_LOG_LINE_H

#include "ring/log.h"

#define PEN_LOG_LINE_BYTES 65536u

/* Room for what is done to a text on its way; the caller's. */
struct pen_log_scratch {
	char text[4 * PEN_LOG_RECORD_BYTES];
};

/* The line without the closing brace and without a newline: more members may follow. Its length. */
size_t pen_log_line_make(const struct pen_log_record *rec, int pid, struct pen_log_scratch *scratch,
			 char *ret, size_t cap);
/* Names of its frames, a text each, behind it: what they are is for the caller to know. */
size_t pen_log_line_trace(char *line, size_t len, size_t cap, char *const *names, size_t count,
			  struct pen_log_scratch *scratch);
/* Milliseconds since 1970 as "2026-11-24T20:16:00.123Z": 24 bytes, no NUL. */
void pen_log_line_time(char ret[24], uint64_t ms);

/* Does a name speak of a secret? */
bool pen_log_line_secret(const char *name, size_t len);
/* The text without its secrets. cut: its end is missing, so that what may be half a secret is one. Its length. */
size_t pen_log_line_redact(const char *text, size_t len, bool cut, char *ret, size_t cap);
/* Field values of a record: where they lie. False: there is no such field. */
bool pen_log_line_field(const struct pen_log_record *rec, const char *name, struct pen_log_packed *ret,
			const uint8_t **ret_value);

#endif
