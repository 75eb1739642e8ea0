/* SPDX-License-Identifier: MIT */
/*
 * limit: policies and their state
 *
 *   list                    all policies; of an identity also what is left
 *   set NAME, rm NAME       make, change, remove; a preset that is removed is as it was built in
 *   check NAME...           counts: all policies or none; exit 6 when refused
 *   peek NAME...            the same without counting
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "include/penstock.h"
#include "tools/cmd.h"
#include "tools/home.h"
#include "tools/json.h"
#include "tools/out.h"
#include "tools/refusal.h"
#include "tools/say.h"
#include "tools/text.h"

struct limit {
	const struct pen_cmd *cmd;
	struct pen_store *store;
	struct pen_limits *limits;
	char identity[PEN_LIMIT_IDENTITY + 2];
	bool has_identity;
};

static int usage(const char *what)
{
	pen_say_error(-PEN_USAGE, "%s", what);
	pen_say_advice("see `penstock limit --help`");
	return 2;
}

/* "10m", "1h30m" is too much: the largest unit that divides it. */
static const char *window_text(char ret[PEN_TEXT_NUMBER], uint64_t ns)
{
	static const struct {
		uint64_t ns;
		const char *unit;
	} units[] = { { 86400000000000, "d" },
		      { 3600000000000, "h" },
		      { 60000000000, "m" },
		      { 1000000000, "s" },
		      { 1000000, "ms" } };

	for (size_t i = 0; i < sizeof units / sizeof *units; i++)
		if (ns % units[i].ns == 0 || i + 1 == sizeof units / sizeof *units) {
			(void)snprintf(ret, PEN_TEXT_NUMBER, "%" PRIu64 "%s", ns / units[i].ns,
				       units[i].unit);
			break;
		}
	return ret;
}

static const char *kind_of(const struct pen_limit_policy *p)
{
	return !p->preset ? "own" : p->changed ? "preset, changed" : "preset";
}

static void list_json(struct pen_jw *jw, const struct pen_limit_policy *p, const struct pen_limit_result *r)
{
	pen_jw_object(jw, NULL);
	pen_jw_text(jw, "policy", p->name);
	pen_jw_u64(jw, "layer", (uint64_t)p->layer);
	pen_jw_u64(jw, "limit", p->limit);
	pen_jw_milli(jw, "window", p->window_ns / 1000000);
	pen_jw_text(jw, "algorithm", pen_limit_algorithm_name(p->algorithm));
	pen_jw_text(jw, "unit", pen_limit_unit_name(p->unit));
	if (p->algorithm == PEN_LIMIT_GCRA)
		pen_jw_u64(jw, "burst", p->burst);
	pen_jw_bool(jw, "preset", p->preset);
	pen_jw_bool(jw, "changed", p->changed);
	if (p->changed) {
		pen_jw_u64(jw, "changed_ms", p->changed_ms);
		pen_jw_u64(jw, "changed_uid", p->changed_uid);
	}
	if (r) {
		pen_jw_u64(jw, "remaining", r->remaining);
		pen_jw_u64(jw, "reset", r->reset_ns / 1000000000 + (r->reset_ns % 1000000000 != 0));
	}
	pen_jw_object_end(jw);
	pen_jw_line(jw);
}

static int list(const struct limit *l)
{
	bool json = pen_cmd_set(l->cmd, PEN_O_JSON);
	struct pen_limit_policy p;
	struct pen_out out;
	struct pen_jw jw;
	int rc;

	pen_out_init(&out, STDOUT_FILENO);
	if (!json)
		pen_out_format(&out, "%-24s %5s %12s %8s  %-10s %-10s %-16s%s\n", "policy", "layer", "limit",
			       "window", "algorithm", "unit", "", l->has_identity ? " left" : "");
	for (size_t i = 0; !(rc = pen_limit_at(l->limits, i, &p)); i++) {
		const struct pen_limit_ask ask = { p.name, 0 };
		struct pen_limit_result r;
		char window[PEN_TEXT_NUMBER], left[32] = "";

		if (l->has_identity) {
			rc = pen_limit_peek(l->limits, l->identity, &ask, 1, &r, NULL);
			if (rc)
				break;
			(void)snprintf(left, sizeof left, " %" PRIu64, r.remaining);
		}
		if (json) {
			pen_jw_init(&jw, &out);
			list_json(&jw, &p, l->has_identity ? &r : NULL);
			continue;
		}
		pen_out_format(&out, "%-24s %5d %12" PRIu64 " %8s  %-10s %-10s %-16s%s\n", p.name, p.layer,
			       p.limit,
			       p.algorithm == PEN_LIMIT_CONCURRENT ? "-" : window_text(window, p.window_ns),
			       pen_limit_algorithm_name(p.algorithm), pen_limit_unit_name(p.unit),
			       kind_of(&p), left);
	}
	return pen_out_end(&out, rc == -PEN_LIMIT_UNKNOWN ? 0 : pen_say_failure(rc, NULL));
}

static int set(const struct limit *l, const char *name)
{
	static const enum pen_limit_unit units[] = { PEN_LIMIT_REQUESTS, PEN_LIMIT_ITEMS, PEN_LIMIT_BYTES,
						     PEN_LIMIT_UNIT_CONCURRENT };
	const struct pen_cmd *cmd = l->cmd;
	struct pen_limit_policy p = { .size = sizeof p };
	struct pen_failure why = { 0 };
	int rc;

	if (strlen(name) >= sizeof p.name)
		return usage("a policy's name has at most 64 characters");
	rc = pen_limit_get(l->limits, name, &p);
	if (rc && rc != -PEN_LIMIT_UNKNOWN)
		return pen_say_failure(rc, NULL);
	if (rc) {
		memcpy(p.name, name, strlen(name) + 1);
		if (!pen_cmd_set(cmd, PEN_O_POLICY_LIMIT))
			return usage("a new policy needs --limit N, and --window DUR");
		if (!pen_cmd_set(cmd, PEN_O_POLICY_WINDOW) && pen_cmd_value(cmd, PEN_O_POLICY_UNIT)->n != 3)
			return usage("a new policy needs --window DUR");
		p.window_ns = 1000000000;
	}
	/* What is not given stays as it is. */
	if (pen_cmd_set(cmd, PEN_O_POLICY_WINDOW))
		p.window_ns = pen_cmd_value(cmd, PEN_O_POLICY_WINDOW)->n * 1000000;
	if (pen_cmd_set(cmd, PEN_O_POLICY_UNIT))
		p.unit = units[pen_cmd_value(cmd, PEN_O_POLICY_UNIT)->n];
	if (pen_cmd_set(cmd, PEN_O_ALGORITHM))
		p.algorithm = (enum pen_limit_algorithm)pen_cmd_value(cmd, PEN_O_ALGORITHM)->n;
	else if (p.unit == PEN_LIMIT_UNIT_CONCURRENT)
		p.algorithm = PEN_LIMIT_CONCURRENT;
	else if (p.algorithm == PEN_LIMIT_CONCURRENT)
		p.algorithm = PEN_LIMIT_SLIDING;
	if (pen_cmd_set(cmd, PEN_O_BURST))
		p.burst = pen_cmd_value(cmd, PEN_O_BURST)->n;
	else if (rc || pen_cmd_set(cmd, PEN_O_POLICY_LIMIT))
		p.burst = UINT64_MAX;
	if (pen_cmd_set(cmd, PEN_O_POLICY_LIMIT))
		p.limit = pen_cmd_value(cmd, PEN_O_POLICY_LIMIT)->n;
	rc = pen_limit_set(l->limits, &p, &why);
	if (rc)
		return pen_say_failure(rc, &why);
	pen_say_note("policy %s is set", name);
	return 0;
}

static int check(const struct limit *l, bool counts)
{
	const struct pen_cmd *cmd = l->cmd;
	size_t count = cmd->args->word_count - 1;
	uint64_t cost = pen_cmd_set(cmd, PEN_O_COST) ? pen_cmd_value(cmd, PEN_O_COST)->n : counts;
	struct pen_limit_ask asks[PEN_LIMIT_ASKS];
	struct pen_limit_result results[PEN_LIMIT_ASKS];
	struct pen_failure why = { 0 };
	struct pen_out out;
	char text[4096];
	int rc;

	if (!count || count > PEN_LIMIT_ASKS)
		return usage("one to eight policies are asked at once");
	for (size_t i = 0; i < count; i++)
		asks[i] = (struct pen_limit_ask){ cmd->args->words[i + 1], cost };
	rc = counts ? pen_limit_check(l->limits, l->identity, asks, count, results, &why)
		    : pen_limit_peek(l->limits, l->identity, asks, count, results, &why);
	if (rc && rc != -PEN_LIMIT_REFUSED)
		return pen_say_failure(rc, &why);
	pen_out_init(&out, STDOUT_FILENO);
	if (pen_cmd_set(cmd, PEN_O_JSON)) {
		pen_refusal_json(&out, l->identity, results, count);
	} else {
		(void)pen_limit_headers(results, count, text, sizeof text);
		/* As lines of a terminal. */
		for (const char *p = text; *p; p++)
			if (*p != '\r')
				pen_out_char(&out, *p);
	}
	for (size_t i = 0; i < count; i++)
		if (results[i].refused)
			pen_say_error(rc,
				      "%s refuses %s: %" PRIu64 " of %" PRIu64 " left; Retry-After: %" PRIu64
				      " s%s",
				      results[i].policy, l->identity, results[i].remaining, results[i].limit,
				      pen_limit_retry_after(&results[i], 1),
				      results[i].retry_ns == PEN_LIMIT_NEVER
					      ? " (never: the cost is above the limit)"
					      : "");
	return pen_out_end(&out, rc ? pen_error_exit(rc) : 0);
}

static int act(const struct limit *l, const char *verb)
{
	size_t words = l->cmd->args->word_count;
	struct pen_failure why = { 0 };
	int rc;

	if (!strcmp(verb, "list"))
		return words == 1 ? list(l) : usage("`limit list` takes no names");
	if (!strcmp(verb, "check") || !strcmp(verb, "peek"))
		return check(l, *verb == 'c');
	if (words != 2)
		return usage("one policy is named");
	if (!strcmp(verb, "set"))
		return set(l, l->cmd->args->words[1]);
	rc = pen_limit_rm(l->limits, l->cmd->args->words[1], &why);
	if (rc)
		return pen_say_failure(rc, &why);
	if (!pen_limit_get(l->limits, l->cmd->args->words[1], &(struct pen_limit_policy){ 0 }))
		pen_say_note("policy %s is as it was built in", l->cmd->args->words[1]);
	return 0;
}

int pen_cmd_limit(const struct pen_cmd *cmd)
{
	const char *verb = cmd->args->words[0], *identity = pen_cmd_value(cmd, PEN_O_IDENTITY)->text;
	struct limit l = { .cmd = cmd, .has_identity = identity != NULL };
	struct pen_failure why = { 0 };
	struct pen_home home;
	char name[256];
	int rc;

	if (pen_option_choice(verb, "list|set|rm|check|peek") < 0)
		return usage("`penstock limit` lists, sets, removes (rm), checks or peeks");
	if (identity && (!*identity || strlen(identity) > PEN_LIMIT_IDENTITY))
		return usage("an identity has 1 to 255 bytes");
	pen_cmd_own_name(name, sizeof name);
	if (identity)
		(void)snprintf(l.identity, sizeof l.identity, "%s", identity);
	else
		(void)snprintf(l.identity, sizeof l.identity, "user:%.250s", name);
	rc = pen_home_create(cmd->args, &home, &l.store);
	if (rc)
		return rc;
	rc = pen_limit_open(l.store, NULL, &l.limits, &why);
	rc = rc ? pen_say_failure(rc, &why) : act(&l, verb);
	pen_limit_close(l.limits);
	pen_store_close(l.store);
	return rc;
}
