/* SPDX-License-Identifier: MIT */
/*
 * limit_head - what a client is told of a decision, and rates as people write them
 *
 * The old fields speak of one policy, so they take the one that is nearest to its end: of those that refuse, the one
 * that takes longest; else the one with the smallest part of its limit left. RateLimit-Policy and RateLimit are lists
 * of structured fields (draft-ietf-httpapi-ratelimit-headers). In a refusal RateLimit names the policies that refuse,
 * and its t says when they would pass: so that Retry-After, the latest of them, is not before any t.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "engine/limit.h"
#include "ring/base.h"
#include "ring/error.h"

struct text {
	char *at;
	size_t cap, len;
};

static void say(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct text *t, const char *format, ...)
{
	size_t left = t->len < t->cap ? t->cap - t->len : 0;
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(left ? t->at + t->len : NULL, left, format, ap);
	va_end(ap);
	t->len += n > 0 ? (size_t)n : 0;
}

static uint64_t seconds(uint64_t ns)
{
	return ns / PEN_NS_PER_S + (ns % PEN_NS_PER_S != 0);
}

/* A cost above the limit never passes; what is said then is a whole window, and that it is too much. */
static uint64_t retry_s(const struct pen_limit_result *r)
{
	return pen_max(1, seconds(r->retry_ns == PEN_LIMIT_NEVER ? r->window_ns : r->retry_ns));
}

uint64_t pen_limit_retry_after(const struct pen_limit_result *results, size_t count)
{
	uint64_t s = 0;

	for (size_t i = 0; i < count; i++)
		if (results[i].refused)
			s = pen_max(s, retry_s(&results[i]));
	return s;
}

static const struct pen_limit_result *nearest(const struct pen_limit_result *results, size_t count)
{
	const struct pen_limit_result *best = &results[0];

	for (size_t i = 1; i < count; i++) {
		const struct pen_limit_result *r = &results[i];

		if (r->refused != best->refused)
			best = r->refused ? r : best;
		else if (r->refused ? retry_s(r) > retry_s(best)
				    : (unsigned __int128)r->remaining * best->limit <
					      (unsigned __int128)best->remaining * r->limit)
			best = r;
	}
	return best;
}

static const char *unit_parameter(enum pen_limit_unit unit)
{
	switch (unit) {
	case PEN_LIMIT_BYTES:
		return ";qu=\"content-bytes\"";
	case PEN_LIMIT_UNIT_CONCURRENT:
		return ";qu=\"concurrent-requests\"";
	case PEN_LIMIT_ITEMS:
		return ";penstock-unit=\"items\""; /* the draft has no word for it */
	default:
		return "";
	}
}

size_t pen_limit_headers(const struct pen_limit_result *results, size_t count, char *ret, size_t cap)
{
	struct text t = { ret, cap, 0 };
	const struct pen_limit_result *r;
	uint64_t retry = pen_limit_retry_after(results, count);
	const char *comma = "";

	if (cap)
		*ret = 0;
	if (!count)
		return 0;
	r = nearest(results, count);
	say(&t,
	    "X-RateLimit-Limit: %" PRIu64 "\r\nX-RateLimit-Window: %" PRIu64
	    "\r\nX-RateLimit-Remaining: %" PRIu64 "\r\n",
	    r->limit, pen_max(1, seconds(r->window_ns)), r->remaining);
	if (retry)
		say(&t, "Retry-After: %" PRIu64 "\r\n", retry);
	say(&t, "RateLimit-Policy: ");
	for (size_t i = 0; i < count; i++, comma = ", ")
		say(&t, "%s\"%s\";q=%" PRIu64 ";w=%" PRIu64 "%s", comma, results[i].policy, results[i].limit,
		    pen_max(1, seconds(results[i].window_ns)), unit_parameter(results[i].unit));
	say(&t, "\r\nRateLimit: ");
	comma = "";
	for (size_t i = 0; i < count; i++) {
		if (retry && !results[i].refused)
			continue;
		say(&t, "%s\"%s\";r=%" PRIu64 ";t=%" PRIu64, comma, results[i].policy, results[i].remaining,
		    retry ? retry_s(&results[i]) : seconds(results[i].reset_ns));
		comma = ", ";
	}
	say(&t, "\r\n");
	return t.len;
}

/* ---- rates ----------------------------------------------------------------------------------- */

static bool window_of(const char *text, uint64_t *ret_ns)
{
	static const struct {
		const char *name;
		uint64_t ns;
	} units[] = {
		{ "ms", PEN_NS_PER_MS },	 { "s", PEN_NS_PER_S },
		{ "sec", PEN_NS_PER_S },	 { "m", 60 * PEN_NS_PER_S },
		{ "min", 60 * PEN_NS_PER_S },	 { "h", 3600 * PEN_NS_PER_S },
		{ "hour", 3600 * PEN_NS_PER_S }, { "d", 86400 * PEN_NS_PER_S },
		{ "day", 86400 * PEN_NS_PER_S },
	};
	uint64_t n = 0;
	size_t digits = strspn(text, "0123456789");

	if (digits > 9)
		return false;
	for (size_t i = 0; i < digits; i++)
		n = n * 10 + (uint64_t)(text[i] - '0');
	if (!digits)
		n = 1;
	for (size_t i = 0; i < PEN_COUNT(units); i++)
		if (!strcmp(units[i].name, text + digits))
			return !__builtin_mul_overflow(n, units[i].ns, ret_ns);
	return false;
}

int pen_rate_parse(const char *text, uint64_t *ret_count, uint64_t *ret_window_ns, struct pen_failure *why)
{
	struct pen_quota_rule rule;
	size_t digits = strspn(text, "0123456789");
	uint64_t n = 0, ns = 0;

	for (size_t i = 0; i < digits && digits <= 15; i++)
		n = n * 10 + (uint64_t)(text[i] - '0');
	if (!digits || digits > 15 || text[digits] != '/' || !window_of(text + digits + 1, &ns) ||
	    !pen_quota_rule(&rule, PEN_QUOTA_SLIDING, ns, n, UINT64_MAX))
		return pen_fail(why, -PEN_USAGE, 0,
				"'%s' is no rate: a number, '/', a duration, as in 10/min, 100/s, 5/15m",
				text);
	*ret_count = n;
	*ret_window_ns = ns;
	return 0;
}
