/* SPDX-License-Identifier: MIT */
/*
 * clean: retention now, or the rules it goes by from now on
 */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "include/penstock.h"
#include "tools/cmd.h"
#include "tools/home.h"
#include "tools/json.h"
#include "tools/say.h"
#include "tools/text.h"

static const enum pen_state ruled[] = { PEN_COMPLETED, PEN_FAILED, PEN_CANCELLED, PEN_STOPPED,
					PEN_INTERRUPTED };
#define RULED (sizeof ruled / sizeof ruled[0])

enum measure { AGE, BYTES, COUNT };

/* What else a rule can be about. */
struct topic {
	const char *name;
	enum measure measure;
	size_t at; /* in struct pen_retain_rules */
};
static const struct topic topics[] = {
	{ "rows", AGE, offsetof(struct pen_retain_rules, rows_ms) },
	{ "rows-bytes", BYTES, offsetof(struct pen_retain_rules, rows_bytes) },
	{ "events", AGE, offsetof(struct pen_retain_rules, events_ms) },
	{ "events-max", COUNT, offsetof(struct pen_retain_rules, events_max) },
	{ "bytes", BYTES, offsetof(struct pen_retain_rules, bytes) },
};
#define TOPICS (sizeof topics / sizeof topics[0])

static uint64_t *rule_of(struct pen_retain_rules *rules, const char *name, enum measure *ret)
{
	*ret = AGE;
	for (size_t i = 0; i < RULED; i++)
		if (!strcmp(name, pen_state_name(ruled[i])))
			return &rules->keep_ms[ruled[i]];
	for (size_t i = 0; i < TOPICS; i++) {
		*ret = topics[i].measure;
		if (!strcmp(name, topics[i].name))
			return (uint64_t *)(void *)((char *)rules + topics[i].at);
	}
	return NULL;
}

static int wrong_rule(const char *text)
{
	pen_say_error(-PEN_USAGE, "'%s' is no rule of retention", text);
	pen_say_advice(
		"completed, failed, cancelled, stopped, interrupted, rows and events take an age (7d), rows-bytes "
		"and bytes a size (1GiB), events-max a number; all of them `forever` or `default`");
	return 2;
}

/* "completed=7d": 0, or 2 after a message. */
static int read_rule(struct pen_retain_rules *rules, char *text)
{
	char *value = strchr(text, '=');
	enum measure measure;
	uint64_t *rule, n;
	bool ok;

	if (!value)
		return wrong_rule(text);
	*value = '\0';
	rule = rule_of(rules, text, &measure);
	*value++ = '=';
	if (!rule)
		return wrong_rule(text);
	if (!strcmp(value, "forever") || !strcmp(value, "default")) {
		*rule = *value == 'f' ? PEN_KEEP_FOREVER : 0;
		return 0;
	}
	ok = measure == AGE	? pen_option_duration(value, &n)
	     : measure == BYTES ? pen_option_size(value, &n)
				: pen_text_u64(value, strlen(value), &n);
	if (!ok)
		return wrong_rule(text);
	*rule = n ? n : 1; /* 0 is the default's; a millisecond and a byte are as good as nothing */
	return 0;
}

static int set_rules(const struct pen_cmd *cmd, struct pen_store *store)
{
	struct pen_retain_info info = { .size = sizeof info };
	char *text = strdup(pen_cmd_value(cmd, PEN_O_RULES)->text), *at, *rest = NULL;
	struct pen_failure why = { 0 };
	int status = 0, rc;

	if (!text)
		return pen_say_failure(-PEN_MEMORY, NULL);
	rc = pen_retain_info(store, &info);
	for (at = strtok_r(text, ",", &rest); at && !rc && !status; at = strtok_r(NULL, ",", &rest))
		status = read_rule(&info.rules, at);
	free(text);
	if (!rc && !status)
		rc = pen_retain_set(store, &info.rules, &why);
	if (rc)
		return pen_say_failure(rc, &why);
	if (!status)
		pen_say_note("the store keeps these rules");
	return status;
}

/* "completed,failed" into bits. */
static int read_states(const char *text, uint32_t *ret)
{
	for (*ret = 0; *text;) {
		size_t len = strcspn(text, ","), i = 0;

		while (i < RULED && (strlen(pen_state_name(ruled[i])) != len ||
				     memcmp(pen_state_name(ruled[i]), text, len) != 0))
			i++;
		if (i == RULED) {
			pen_say_error(-PEN_USAGE, "--state does not take '%.*s'", (int)len, text);
			pen_say_advice(
				"it takes completed, failed, cancelled, stopped, interrupted; batches that wait or "
				"run are never removed");
			return 2;
		}
		*ret |= 1u << ruled[i];
		text += len + (text[len] == ',');
	}
	return 0;
}

/* ---- what is told ----------------------------------------------------------------------------- */

static void put_rule(struct pen_jw *jw, const char *name, uint64_t n)
{
	if (n == PEN_KEEP_FOREVER)
		pen_jw_null(jw, name);
	else
		pen_jw_u64(jw, name, n);
}

static void put_all(struct pen_jw *jw, const struct pen_cleaned *got, const struct pen_retain_info *info,
		    bool dry_run)
{
	uint64_t batches = 0;

	for (size_t i = 0; i < RULED; i++)
		batches += got->batches[ruled[i]];
	pen_jw_object(jw, NULL);
	pen_jw_bool(jw, "dry_run", dry_run);
	pen_jw_u64(jw, "batches", batches);
	pen_jw_object(jw, "by_state");
	for (size_t i = 0; i < RULED; i++)
		pen_jw_u64(jw, pen_state_name(ruled[i]), got->batches[ruled[i]]);
	pen_jw_object_end(jw);
	pen_jw_u64(jw, "rows", got->rows);
	pen_jw_u64(jw, "rows_bytes", got->rows_bytes);
	pen_jw_u64(jw, "events", got->events);
	pen_jw_u64(jw, "kept_in_use", got->kept);
	pen_jw_u64(jw, "first_event", info->first_event);
	pen_jw_u64(jw, "batches_ever", info->batches);
	pen_jw_u64(jw, "rows_ever", info->rows);
	pen_jw_object(jw, "rules");
	for (size_t i = 0; i < RULED; i++) {
		char name[64];

		snprintf(name, sizeof name, "%s_ms", pen_state_name(ruled[i]));
		put_rule(jw, name, info->rules.keep_ms[ruled[i]]);
	}
	put_rule(jw, "rows_ms", info->rules.rows_ms);
	put_rule(jw, "rows_bytes", info->rules.rows_bytes);
	put_rule(jw, "events_ms", info->rules.events_ms);
	put_rule(jw, "events_max", info->rules.events_max);
	put_rule(jw, "bytes", info->rules.bytes);
	pen_jw_object_end(jw);
	pen_jw_object_end(jw);
	pen_jw_line(jw);
}

static void say_all(const struct pen_cleaned *got, bool dry_run)
{
	char by_state[256] = "", batches_text[PEN_TEXT_NUMBER], rows[PEN_TEXT_NUMBER],
	     events[PEN_TEXT_NUMBER];
	uint64_t batches = 0;
	size_t len = 0;

	for (size_t i = 0; i < RULED; i++) {
		uint64_t n = got->batches[ruled[i]];

		if (n)
			len += (size_t)snprintf(by_state + len, sizeof by_state - len, "%s%llu %s",
						len ? ", " : "", (unsigned long long)n,
						pen_state_name(ruled[i]));
		batches += n;
	}
	pen_text_count(batches_text, batches);
	pen_text_count(rows, got->rows);
	if (dry_run)
		pen_say_note("%s batches%s%s%s and %s item rows are due", batches_text, len ? " (" : "",
			     by_state, len ? ")" : "", rows);
	else
		pen_say_note("removed %s batches%s%s%s, %s item rows, %s events; records stay", batches_text,
			     len ? " (" : "", by_state, len ? ")" : "", rows,
			     pen_text_count(events, got->events));
	if (got->kept)
		pen_say_note("%llu more are in use and stay until the next time",
			     (unsigned long long)got->kept);
}

static void log_clean(const struct pen_cleaned *got, int rc)
{
	uint64_t batches = 0;
	char by[256];

	for (size_t i = 0; i < RULED; i++)
		batches += got->batches[ruled[i]];
	const struct pen_log_field fields[] = { PEN_LOG_U64("batches", batches),
						PEN_LOG_U64("rows", got->rows),
						PEN_LOG_U64("events", got->events),
						PEN_LOG_BOOL("good", !rc) };

	pen_cmd_own_name(by, sizeof by);
	(void)pen_log_audit(&(struct pen_log_context){ .user_id = by, .module = PEN_LOG_IN_TOOLS }, "clean",
			    "store", fields, 4);
}

static int clean(const struct pen_cmd *cmd, struct pen_store *store, const struct pen_clean *what)
{
	struct pen_retain_info info = { .size = sizeof info };
	struct pen_cleaned got = { .size = sizeof got };
	struct pen_failure why = { 0 };
	struct pen_out out;
	struct pen_jw jw;
	int rc = pen_retain_clean(store, what, &got, &why), status = 0;

	if (!what->dry_run)
		log_clean(&got, rc);
	if (rc)
		status = pen_say_failure(rc, &why);
	if (!rc && (rc = pen_retain_info(store, &info)))
		status = pen_say_failure(rc, NULL);
	if (status || !pen_cmd_set(cmd, PEN_O_JSON)) {
		say_all(&got, what->dry_run);
		return status;
	}
	pen_out_init(&out, STDOUT_FILENO);
	pen_jw_init(&jw, &out);
	put_all(&jw, &got, &info, what->dry_run);
	return pen_out_end(&out, 0);
}

int pen_cmd_clean(const struct pen_cmd *cmd)
{
	const struct pen_value *older = pen_cmd_value(cmd, PEN_O_OLDER_THAN);
	struct pen_clean what = {
		.size = sizeof what,
		.has_older = older->set,
		.older_ms = older->n,
		.bytes = pen_cmd_value(cmd, PEN_O_KEEP_BYTES)->n,
		.dry_run = pen_cmd_set(cmd, PEN_O_DRY_RUN),
	};
	bool rules = pen_cmd_set(cmd, PEN_O_RULES);
	struct pen_store *store;
	int status = 0;

	if (rules && (what.has_older || what.bytes || what.dry_run || pen_cmd_set(cmd, PEN_O_CLEAN_STATE))) {
		pen_say_error(-PEN_USAGE,
			      "--rules stands alone: it says what is kept from now on, and removes nothing");
		return 2;
	}
	if (pen_cmd_set(cmd, PEN_O_CLEAN_STATE))
		status = read_states(pen_cmd_value(cmd, PEN_O_CLEAN_STATE)->text, &what.states);
	if (!status)
		status = pen_home_open(cmd->args, !what.dry_run, &store);
	if (status)
		return status;
	status = rules ? set_rules(cmd, store) : clean(cmd, store, &what);
	pen_store_close(store);
	return status;
}
