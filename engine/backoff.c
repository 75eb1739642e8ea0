/* SPDX-License-Identifier: MIT */
#include "engine/backoff.h"

#include <stdio.h>
#include <string.h>

#include "ring/assert.h"
#include "ring/base.h"
#include "ring/error.h"

#define ACCEPTED "2s,4s,8s or exp:2s,1m; units are ms, s, m, h, d"

static const struct {
	const char *name;
	uint64_t ns;
} units[] = { /* from the longest, for the text */
	      { "d", 86400ull * 1000000000 },
	      { "h", 3600ull * 1000000000 },
	      { "m", 60ull * 1000000000 },
	      { "s", 1000000000 },
	      { "ms", 1000000 }
};

static const char *const jitters[] = { "none", "equal", "full", "decorrelated" };

/* ---- parsing ------------------------------------------------------------------------------- */

/* Digits, and their value in *ret_n, which stops growing far above what is accepted. */
static size_t digits(const char *text, size_t len, uint64_t *ret_n)
{
	size_t i = 0;

	for (*ret_n = 0; i < len && text[i] >= '0' && text[i] <= '9'; i++)
		*ret_n = pen_min(*ret_n * 10 + (uint64_t)(text[i] - '0'), UINT64_MAX / 100);
	return i;
}

/* One delay. NULL, or what is wrong with it. */
static const char *delay(const char *text, size_t len, uint64_t *ret_ns)
{
	uint64_t whole, part = 0, part_of = 1;
	size_t at = digits(text, len, &whole), used;
	unsigned __int128 ns;

	if (at == 0)
		return "is no delay";
	if (at < len && text[at] == '.') {
		used = digits(text + at + 1, len - at - 1, &part);
		if (used == 0 || used > 9)
			return used ? "has more than nine places behind the point" : "is no delay";
		for (size_t i = 0; i < used; i++)
			part_of *= 10;
		at += 1 + used;
	}
	if (at == len && !whole && !part) {
		*ret_ns = 0;
		return NULL;
	}
	if (at == len)
		return "has no unit";
	for (size_t i = 0; i < PEN_COUNT(units); i++) {
		if (strlen(units[i].name) != len - at || memcmp(units[i].name, text + at, len - at) != 0)
			continue;
		ns = (unsigned __int128)whole * units[i].ns + (unsigned __int128)part * units[i].ns / part_of;
		if (ns > PEN_BACKOFF_MAX_NS)
			return "is longer than 365d";
		*ret_ns = (uint64_t)ns;
		return NULL;
	}
	return "has an unknown unit";
}

static int bad(struct pen_failure *why, const char *text, size_t len, const char *what)
{
	return pen_fail(why, -PEN_USAGE, 0, "--backoff: '%.*s' %s; it takes %s", (int)pen_min(len, 64), text,
			what, ACCEPTED);
}

static int schedule(struct pen_backoff *to, const char *list, struct pen_failure *why)
{
	const char *at = list, *what;

	to->doubles = strncmp(list, "exp:", 4) == 0;
	if (to->doubles)
		at += 4;
	for (;;) {
		size_t len = strcspn(at, ",");
		uint64_t ns;

		if (to->steps == (to->doubles ? 2 : PEN_BACKOFF_STEPS))
			return pen_fail(why, -PEN_USAGE, 0,
					"--backoff %.*s has more than %u delays; it takes %s", 64, list,
					to->steps, ACCEPTED);
		what = delay(at, len, &ns);
		if (what)
			return bad(why, at, len, what);
		to->step_ns[to->steps++] = ns;
		to->cap_ns = pen_max(to->cap_ns, ns);
		if (!at[len])
			break;
		at += len + 1;
	}
	if (!to->doubles)
		return 0;
	to->cap_ns = to->steps == 2 ? to->step_ns[1] : PEN_BACKOFF_MAX_NS;
	to->step_ns[1] = 0;
	to->steps = 1;
	if (to->cap_ns < to->step_ns[0])
		return bad(why, list, strlen(list), "has a cap below its first delay");
	return 0;
}

int pen_backoff_parse(struct pen_backoff *ret, const char *list, enum pen_backoff_jitter jitter,
		      uint32_t max_retries, struct pen_failure *why)
{
	struct pen_backoff to = { .jitter = jitter, .max_retries = max_retries };
	int rc;

	if (max_retries > PEN_BACKOFF_RETRIES_MAX)
		return pen_fail(why, -PEN_USAGE, 0, "--max-retries %u; it takes 0 to %u", max_retries,
				PEN_BACKOFF_RETRIES_MAX);
	list = list ? list : PEN_BACKOFF_LIST;
	rc = schedule(&to, list, why);
	if (rc)
		return rc;
	if (jitter == PEN_JITTER_DECORRELATED && (!to.step_ns[0] || to.step_ns[0] >= to.cap_ns))
		return pen_fail(
			why, -PEN_USAGE, 0,
			"--jitter decorrelated draws between the first delay and the longest, and "
			"--backoff %.64s leaves nothing between them: begin above 0 and end above that "
			"(exp:1s,1m)",
			list);
	*ret = to;
	return 0;
}

const char *pen_backoff_jitter_name(enum pen_backoff_jitter jitter)
{
	return (size_t)jitter < PEN_COUNT(jitters) ? jitters[jitter] : "unknown";
}

int pen_backoff_jitter_find(const char *name, enum pen_backoff_jitter *ret, struct pen_failure *why)
{
	for (size_t i = 0; i < PEN_COUNT(jitters); i++) {
		if (strcmp(jitters[i], name) == 0) {
			*ret = (enum pen_backoff_jitter)i;
			return 0;
		}
	}
	return pen_fail(why, -PEN_USAGE, 0, "--jitter '%.64s'; it takes none, equal, full or decorrelated",
			name);
}

/* ---- delays -------------------------------------------------------------------------------- */

uint32_t pen_backoff_left(const struct pen_backoff *policy, uint32_t attempts)
{
	uint32_t retries = attempts ? attempts - 1 : 0;

	return retries < policy->max_retries ? policy->max_retries - retries : 0;
}

static uint64_t plain(const struct pen_backoff *policy, uint32_t retry)
{
	uint64_t ns = policy->step_ns[0];

	if (!policy->doubles)
		return policy->step_ns[pen_min(retry, policy->steps) - 1];
	for (uint32_t n = 1; n < retry && ns && ns < policy->cap_ns; n++)
		ns *= 2; /* below twice a year */
	return pen_min(ns, policy->cap_ns);
}

/* SplitMix64's finisher. */
static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

/* A number in low .. high that depends on the three alone. */
static uint64_t draw(uint64_t batch, uint64_t seq, uint32_t retry, uint64_t low, uint64_t high)
{
	uint64_t x = mix(mix(mix(batch + 0x9e3779b97f4a7c15ull) + seq) + retry);

	return low + (uint64_t)((unsigned __int128)x * (high - low + 1) >> 64);
}

/* min(cap, uniform(base, 3 * previous)); before the first stands the base. */
static uint64_t decorrelated(const struct pen_backoff *policy, uint32_t retry, uint64_t batch, uint64_t seq)
{
	uint64_t base = policy->step_ns[0], ns = base;

	/* Items may have more tries than a policy allows: it was another one's. */
	retry = (uint32_t)pen_min(retry, PEN_BACKOFF_RETRIES_MAX);
	for (uint32_t n = 1; n <= retry; n++)
		ns = pen_min(draw(batch, seq, n, base, ns * 3), policy->cap_ns); /* below three years */
	return ns;
}

uint64_t pen_backoff_delay(const struct pen_backoff *policy, uint32_t retry, uint64_t batch, uint64_t seq)
{
	uint64_t ns;

	pen_assert(retry > 0);
	ns = plain(policy, retry);
	switch (policy->jitter) {
	case PEN_JITTER_EQUAL:
		return draw(batch, seq, retry, ns / 2, ns);
	case PEN_JITTER_FULL:
		return draw(batch, seq, retry, 0, ns);
	case PEN_JITTER_DECORRELATED:
		return decorrelated(policy, retry, batch, seq);
	default:
		return ns;
	}
}

static size_t write_delay(char *out, size_t cap, uint64_t ns)
{
	size_t i = 0;

	if (!ns)
		return (size_t)snprintf(out, cap, "0");
	while (i < PEN_COUNT(units) && ns % units[i].ns)
		i++;
	if (i < PEN_COUNT(units))
		return (size_t)snprintf(out, cap, "%llu%s", (unsigned long long)(ns / units[i].ns),
					units[i].name);
	/* Seconds have nine places, and a delay that is no whole number of milliseconds fits them exactly. */
	return (size_t)snprintf(out, cap, "%llu.%09llus", (unsigned long long)(ns / 1000000000),
				(unsigned long long)(ns % 1000000000));
}

size_t pen_backoff_text(const struct pen_backoff *policy, char out[PEN_BACKOFF_TEXT])
{
	size_t len = 0;

	out[0] = '\0';
	if (policy->doubles) {
		len = (size_t)snprintf(out, PEN_BACKOFF_TEXT, "exp:");
		len += write_delay(out + len, PEN_BACKOFF_TEXT - len, policy->step_ns[0]);
		out[len++] = ',';
		return len + write_delay(out + len, PEN_BACKOFF_TEXT - len, policy->cap_ns);
	}
	for (uint32_t i = 0; i < policy->steps; i++) {
		if (i)
			out[len++] = ',';
		len += write_delay(out + len, PEN_BACKOFF_TEXT - len, policy->step_ns[i]);
	}
	return len;
}
