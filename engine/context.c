/* SPDX-License-Identifier: MIT */
#include "engine/context.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "ring/base.h"
#include "ring/clock.h"
#include "ring/error.h"
#include "ring/hash.h"
#include "ring/log.h"
#include "store/ledger.h"

#define TRACE_AT 3   /* of the 32 digits of the trace id */
#define PARENT_AT 36 /* of the 16 digits of the parent's */
#define FLAGS_AT 53
#define TRACE_LEN 55

static _Thread_local const struct pen_context *in_force;

const struct pen_context *pen_context(void)
{
	return in_force;
}

static void whose(const char **ret_correlation_id, const char **ret_user_id)
{
	if (!in_force)
		return;
	*ret_correlation_id = in_force->correlation_id;
	*ret_user_id = in_force->user;
}

/* Lines that a program logs in a context are about it. */
__attribute__((constructor)) static void teach_log(void)
{
	pen_log_set_whose(whose);
}

int pen_context_run(const struct pen_context *context, pen_context_fn *fn, void *arg)
{
	const struct pen_context *before = in_force;
	int rc;

	in_force = context;
	rc = fn(arg);
	in_force = before;
	return rc;
}

/* ---- texts ----------------------------------------------------------------------------------- */

bool pen_context_is_uuid(const char *text)
{
	for (int i = 0; i < 36; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? text[i] != '-' : !text[i] || !strchr("0123456789abcdefABCDEF", text[i]))
			return false;
	}
	return !text[36];
}

/* n lower-case digits, not all of them 0 unless zero says they may be. */
static bool digits(const char *text, int n, bool zero)
{
	bool some = zero;

	for (int i = 0; i < n; i++) {
		if (!text[i] || !strchr("0123456789abcdef", text[i]))
			return false;
		some |= text[i] != '0';
	}
	return some;
}

bool pen_context_is_trace(const char *text)
{
	size_t len = strnlen(text, 512);
	bool first = !strncmp(text, "00-", 3);

	if (len < TRACE_LEN || len >= 512 || !strncmp(text, "ff", 2) || (first && len != TRACE_LEN))
		return false;
	if (text[2] != '-' || text[PARENT_AT - 1] != '-' || text[FLAGS_AT - 1] != '-' ||
	    (text[TRACE_LEN] && text[TRACE_LEN] != '-'))
		return false;
	return digits(text, 2, true) && digits(text + TRACE_AT, 32, false) &&
	       digits(text + PARENT_AT, 16, false) && digits(text + FLAGS_AT, 2, true);
}

static void uuid_text(const uint8_t b[16], char ret[37])
{
	(void)snprintf(ret, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
		       b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
		       b[14], b[15]);
}

static int new_uuid(char ret[37])
{
	uint8_t b[16];

	if (getrandom(b, sizeof b, 0) != sizeof b)
		return -PEN_MEMORY;
	b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
	b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
	uuid_text(b, ret);
	return 0;
}

/* The trace id, set as a UUID is. */
static void uuid_of_trace(const char *trace, char ret[37])
{
	const char *from = trace + TRACE_AT;

	(void)snprintf(ret, 37, "%.8s-%.4s-%.4s-%.4s-%.12s", from, from + 8, from + 12, from + 16, from + 20);
}

/* ---- contexts -------------------------------------------------------------------------------- */

int pen_context_init(struct pen_context *ret, const char *correlation_id, const char *traceparent,
		     const char *user, struct pen_failure *why)
{
	struct pen_context context = { .size = sizeof context, .started_ms = pen_real_ms(&pen_clock_real) };
	int rc = 0;

	if (correlation_id && !pen_context_is_uuid(correlation_id))
		return pen_fail(why, -PEN_USAGE, 0, "the correlation id '%.60s' is not a UUID",
				correlation_id);
	if (traceparent && !pen_context_is_trace(traceparent))
		return pen_fail(why, -PEN_USAGE, 0, "the traceparent '%.60s' is not one of W3C Trace Context",
				traceparent);
	if (traceparent)
		(void)snprintf(context.traceparent, sizeof context.traceparent, "00%.53s", traceparent + 2);
	if (correlation_id)
		(void)snprintf(context.correlation_id, sizeof context.correlation_id, "%s", correlation_id);
	else if (traceparent)
		uuid_of_trace(traceparent, context.correlation_id);
	else
		rc = new_uuid(context.correlation_id);
	if (rc)
		return pen_fail(why, rc, 0, "no random bytes for a correlation id");
	(void)snprintf(context.user, sizeof context.user, "%s", user ? user : "");
	*ret = context;
	return 0;
}

void pen_context_of(const struct pen_facts *facts, struct pen_context *ret)
{
	*ret = (struct pen_context){ .size = sizeof *ret, .started_ms = facts->fixed.created_ms };
	(void)snprintf(ret->correlation_id, sizeof ret->correlation_id, "%s", facts->correlation_id);
	(void)snprintf(ret->user, sizeof ret->user, "%s", facts->owner);
	for (size_t i = 0;; i++) {
		const char *label = pen_ledger_list_at(facts->labels, facts->labels_len, i);

		if (!label)
			return;
		if (!strncmp(label, PEN_CONTEXT_LABEL, strlen(PEN_CONTEXT_LABEL)) &&
		    pen_context_is_trace(label + strlen(PEN_CONTEXT_LABEL)))
			(void)snprintf(ret->traceparent, sizeof ret->traceparent, "%s",
				       label + strlen(PEN_CONTEXT_LABEL));
	}
}

int pen_batch_context(struct pen_store *store, uint64_t batch, struct pen_context *ret)
{
	struct pen_facts *facts;
	int rc = pen_ledger_read(store, batch, &facts, NULL);

	if (rc)
		return rc;
	pen_context_of(facts, ret);
	free(facts);
	return 0;
}

void pen_context_child(const struct pen_context *context, uint64_t batch, char ret[PEN_TRACEPARENT_MAX])
{
	char trace[33], name[64];
	uint64_t span;
	size_t n = 0;

	for (const char *p = context->correlation_id; *p && n < 32; p++)
		if (*p != '-')
			trace[n++] = *p >= 'A' && *p <= 'F' ? (char)(*p + 32) : *p;
	trace[n] = '\0';
	if (*context->traceparent)
		(void)snprintf(trace, sizeof trace, "%.32s", context->traceparent + TRACE_AT);
	/* The batch's id is known outside; its span should not be guessed from it. */
	n = (size_t)snprintf(name, sizeof name, "%016llx%s", (unsigned long long)batch, trace);
	span = pen_hash128(name, n).lo;
	(void)snprintf(ret, PEN_TRACEPARENT_MAX, "00-%s-%016llx-%s", trace,
		       (unsigned long long)(span ? span : 1),
		       *context->traceparent ? context->traceparent + FLAGS_AT : "00");
	if (!pen_context_is_trace(ret))
		*ret = '\0'; /* a nil correlation id is no trace */
}
