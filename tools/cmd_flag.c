/* SPDX-License-Identifier: MIT */
/*
 * flag: feature flags from the command line
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "include/penstock.h"
#include "tools/cmd.h"
#include "tools/home.h"
#include "tools/json.h"
#include "tools/out.h"
#include "tools/say.h"
#include "tools/text.h"

struct flag {
	const struct pen_cmd *cmd;
	struct pen_store *store;
	struct pen_out *out;
	const char *name; /* NULL: none was given */
	char by[256];
	bool json;
};

static int usage(const char *what)
{
	pen_say_error(-PEN_USAGE, "%s", what);
	pen_say_advice("see `penstock flag --help`");
	return 2;
}

static const char *text_of(const struct flag *f, enum pen_option_id id)
{
	return pen_cmd_value(f->cmd, id)->text;
}

/* "5", "5%", "0.001%": thousandths of a percent. */
static bool percent(const char *text, size_t len, uint32_t *ret)
{
	uint64_t whole = 0, part = 0;
	size_t dot;

	if (len && text[len - 1] == '%')
		len--;
	for (dot = 0; dot < len && text[dot] != '.';)
		dot++;
	if (!pen_text_u64(text, dot, &whole) || whole > 100)
		return false;
	if (dot < len) {
		size_t digits = len - dot - 1;

		if (digits > 3 || !pen_text_u64(text + dot + 1, digits, &part))
			return false;
		for (; digits < 3; digits++)
			part *= 10;
	}
	*ret = (uint32_t)(whole * 1000 + part);
	return *ret <= PEN_FLAG_WHOLE;
}

static void show_percent(struct pen_out *out, uint32_t rollout)
{
	char text[32];
	int n = snprintf(text, sizeof text, "%" PRIu32 ".%03" PRIu32, rollout / 1000, rollout % 1000);

	while (text[n - 1] == '0')
		text[--n] = 0;
	if (text[n - 1] == '.')
		text[--n] = 0;
	pen_out_format(out, "%s%%", text);
}

/* ---- list ------------------------------------------------------------------------------------ */

static void put_names(struct pen_jw *jw, const char *name, const char *const *list, size_t count)
{
	pen_jw_array(jw, name);
	for (size_t i = 0; i < count; i++)
		pen_jw_data(jw, NULL, list[i], strlen(list[i]));
	pen_jw_array_end(jw);
}

static void put_flag(struct pen_out *out, const struct pen_flag *flag)
{
	struct pen_jw jw;

	pen_jw_init(&jw, out);
	pen_jw_object(&jw, NULL);
	pen_jw_text(&jw, "id", flag->id);
	pen_jw_text(&jw, "name", flag->name);
	pen_jw_bool(&jw, "enabled", flag->enabled);
	pen_jw_milli(&jw, "rollout", flag->rollout);
	put_names(&jw, "whitelist", flag->whitelist, flag->whitelist_count);
	put_names(&jw, "blacklist", flag->blacklist, flag->blacklist_count);
	if (*flag->metadata)
		pen_jw_value(&jw, "metadata", flag->metadata, strlen(flag->metadata));
	else
		pen_jw_null(&jw, "metadata");
	pen_jw_u64(&jw, "created_ms", flag->created_ms);
	pen_jw_u64(&jw, "updated_ms", flag->updated_ms);
	pen_jw_u64(&jw, "version", flag->version);
	pen_jw_data(&jw, "salt", *flag->salt ? flag->salt : flag->name,
		    strlen(*flag->salt ? flag->salt : flag->name));
	pen_jw_text(&jw, "bucketing", flag->bucketing == PEN_FLAG_UNLEASH ? "unleash" : "fine");
	pen_jw_object(&jw, "variants");
	for (size_t i = 0; i < flag->variant_count; i++)
		pen_jw_u64(&jw, flag->variants[i].name, flag->variants[i].weight);
	pen_jw_object_end(&jw);
	pen_jw_object_end(&jw);
	pen_jw_line(&jw);
}

static void show_flag(struct pen_out *out, const struct pen_flag *flag)
{
	pen_out_format(out, "%-32s  %-3s  ", flag->name, flag->enabled ? "on" : "off");
	show_percent(out, flag->rollout);
	pen_out_format(out, "  %zu in whitelist  %zu in blacklist", flag->whitelist_count,
		       flag->blacklist_count);
	for (size_t i = 0; i < flag->variant_count; i++) {
		pen_out_text(out, i ? ", " : "  variants ");
		pen_out_safe(out, flag->variants[i].name, strlen(flag->variants[i].name), false);
		pen_out_format(out, "=%" PRIu32, flag->variants[i].weight);
	}
	pen_out_format(out, "  version %" PRIu64 "\n", flag->version);
}

static int no_flag(const char *name)
{
	pen_say_error(-PEN_NOT_FOUND, "there is no flag '%s'", name);
	return pen_error_exit(-PEN_NOT_FOUND);
}

static int list(const struct flag *f)
{
	char after[PEN_FLAG_NAME_MAX + 1] = "";
	struct pen_flag *flag;
	int rc;

	if (f->name) {
		rc = pen_flag_get(f->store, f->name, &flag);
		if (rc)
			return rc == -PEN_NOT_FOUND ? no_flag(f->name) : pen_say_failure(rc, NULL);
		(f->json ? put_flag : show_flag)(f->out, flag);
		free(flag);
		return 0;
	}
	while ((rc = pen_flag_list(f->store, *after ? after : NULL, &flag)) == 1 && !pen_out_failed(f->out)) {
		(f->json ? put_flag : show_flag)(f->out, flag);
		(void)snprintf(after, sizeof after, "%s", flag->name);
		free(flag);
	}
	return rc < 0 ? pen_say_failure(rc, NULL) : 0;
}

/* ---- set, rm --------------------------------------------------------------------------------- */

/* "a,b,c" taken apart in place: the list is malloc'ed, its names lie in *ret_text. */
static bool split(const char *text, char **ret_text, const char ***ret_list, size_t *ret_count)
{
	size_t n = 1, at = 0;

	for (const char *c = text; *c; c++)
		n += *c == ',';
	*ret_text = strdup(text);
	*ret_list = calloc(n, sizeof **ret_list);
	if (!*ret_text || !*ret_list)
		return false;
	for (char *c = *ret_text, *save = NULL; (c = strtok_r(c, ",", &save)); c = NULL)
		(*ret_list)[at++] = c;
	*ret_count = at;
	return true;
}

struct lists {
	char *text[6];
	const char **list[6];
	struct pen_flag_variant variants[PEN_FLAG_VARIANTS_MAX];
	char names[PEN_FLAG_VARIANTS_MAX][PEN_FLAG_VARIANT_MAX + 1];
};

static bool make_lists(const struct flag *f, struct lists *l, struct pen_flag_set *set)
{
	struct {
		enum pen_option_id id;
		const char *const **list;
		size_t *count;
	} all[] = {
		{ PEN_O_WHITELIST, &set->whitelist.at, &set->whitelist.count },
		{ PEN_O_ADD_WHITELIST, &set->whitelist.add, &set->whitelist.add_count },
		{ PEN_O_REMOVE_WHITELIST, &set->whitelist.remove, &set->whitelist.remove_count },
		{ PEN_O_BLACKLIST, &set->blacklist.at, &set->blacklist.count },
		{ PEN_O_ADD_BLACKLIST, &set->blacklist.add, &set->blacklist.add_count },
		{ PEN_O_REMOVE_BLACKLIST, &set->blacklist.remove, &set->blacklist.remove_count },
	};

	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		if (!pen_cmd_set(f->cmd, all[i].id))
			continue;
		if (!split(text_of(f, all[i].id), &l->text[i], &l->list[i], all[i].count))
			return false;
		*all[i].list = l->list[i];
	}
	set->whitelist.replace = pen_cmd_set(f->cmd, PEN_O_WHITELIST);
	set->blacklist.replace = pen_cmd_set(f->cmd, PEN_O_BLACKLIST);
	return true;
}

/* NAME=WEIGHT each; none= takes all away. */
static bool make_variants(const struct flag *f, struct lists *l, struct pen_flag_set *set)
{
	const struct pen_list *given = &f->cmd->args->lists[PEN_O_VARIANT - PEN_O_LABEL];

	set->has_variants = given->count != 0;
	set->variants = l->variants;
	if (given->count == 1 && strcmp(given->at[0], "none=") == 0)
		return true;
	if (given->count > PEN_FLAG_VARIANTS_MAX)
		return false;
	for (size_t i = 0; i < given->count; i++) {
		const char *equals = strrchr(given->at[i], '=');
		uint64_t weight;

		if (!equals || equals == given->at[i] || equals - given->at[i] > (int)PEN_FLAG_VARIANT_MAX ||
		    !pen_text_u64(equals + 1, strlen(equals + 1), &weight) || weight > INT32_MAX)
			return false;
		memcpy(l->names[i], given->at[i], (size_t)(equals - given->at[i]));
		l->variants[i] = (struct pen_flag_variant){ l->names[i], (uint32_t)weight };
	}
	set->variant_count = given->count;
	return true;
}

static int set_given(const struct flag *f, const struct pen_flag_set *set)
{
	struct pen_failure why = { 0 };
	struct pen_flag *flag;
	int rc = pen_flag_set(f->store, set, NULL, &why);

	if (rc)
		return pen_say_failure(rc, &why);
	rc = pen_flag_get(f->store, f->name, &flag);
	if (rc)
		return pen_say_failure(rc, NULL);
	if (f->json)
		put_flag(f->out, flag);
	else
		pen_say_note("flag %s has version %" PRIu64, flag->name, flag->version);
	if (!flag->enabled && !set->has_enabled &&
	    (set->has_rollout || set->whitelist.replace || set->whitelist.add_count))
		pen_say_note("it is switched off for everybody: `penstock flag set %s --on`", flag->name);
	free(flag);
	return 0;
}

static int set(const struct flag *f)
{
	struct pen_flag_set change = {
		.size = sizeof change,
		.name = f->name,
		.has_enabled = pen_cmd_set(f->cmd, PEN_O_ON) || pen_cmd_set(f->cmd, PEN_O_OFF),
		.enabled = pen_cmd_set(f->cmd, PEN_O_ON),
		.has_rollout = pen_cmd_set(f->cmd, PEN_O_ROLLOUT),
		.metadata = text_of(f, PEN_O_METADATA),
		.salt = text_of(f, PEN_O_SALT),
		.has_bucketing = pen_cmd_set(f->cmd, PEN_O_BUCKETING),
		.bucketing = (enum pen_flag_bucketing)pen_cmd_value(f->cmd, PEN_O_BUCKETING)->n,
		.if_version = pen_cmd_value(f->cmd, PEN_O_IF_VERSION)->n,
		.by = f->by,
		.reason = text_of(f, PEN_O_REASON),
	};
	const char *rollout = text_of(f, PEN_O_ROLLOUT);
	struct lists *l;
	int status;

	if (pen_cmd_set(f->cmd, PEN_O_ON) && pen_cmd_set(f->cmd, PEN_O_OFF))
		return usage("--on and --off at once");
	if (rollout && !percent(rollout, strlen(rollout), &change.rollout))
		return usage("--rollout takes 0 to 100 percent, in steps of 0.001: 5, 5%, 0.125%");
	l = calloc(1, sizeof *l);
	if (!l || !make_lists(f, l, &change))
		status = pen_say_failure(-PEN_MEMORY, NULL);
	else if (!make_variants(f, l, &change))
		status = usage("--variant takes NAME=WEIGHT, up to 64 of them");
	else
		status = set_given(f, &change);
	for (size_t i = 0; l && i < sizeof l->text / sizeof *l->text; i++) {
		free(l->text[i]);
		free(l->list[i]);
	}
	free(l);
	return status;
}

static int rm(const struct flag *f)
{
	struct pen_failure why = { 0 };
	int rc = pen_flag_rm(f->store, f->name, f->by, text_of(f, PEN_O_REASON), &why);

	if (rc)
		return pen_say_failure(rc, &why);
	pen_say_note("flag %s is removed", f->name);
	return 0;
}

/* ---- eval ------------------------------------------------------------------------------------ */

static int eval(const struct flag *f)
{
	const char *user = text_of(f, PEN_O_USER), *key = text_of(f, PEN_O_TARGET);
	char made[PEN_FLAG_KEY_MAX + 2];
	struct pen_flag_verdict v;
	struct pen_jw jw;

	if (user && key)
		return usage("--user and --key at once");
	if (user && *user) {
		(void)snprintf(made, sizeof made, "%s%s", strncmp(user, "user:", 5) ? "user:" : "", user);
		key = made;
	}
	pen_flag_eval(f->store, f->name, key, pen_cmd_value(f->cmd, PEN_O_DEFAULT)->n == 1, &v);
	if (f->json) {
		pen_jw_init(&jw, f->out);
		pen_jw_object(&jw, NULL);
		pen_jw_text(&jw, "flag", f->name);
		pen_jw_bool(&jw, "value", v.on);
		pen_jw_text(&jw, "variant", v.variant);
		pen_jw_text(&jw, "reason", pen_flag_reason_name(v.reason));
		pen_jw_text(&jw, "error_code", v.error ? pen_flag_error_name(v.error) : NULL);
		if (key)
			pen_jw_data(&jw, "key", key, strlen(key));
		else
			pen_jw_null(&jw, "key");
		if (v.reason == PEN_FLAG_SPLIT)
			pen_jw_milli(&jw, "bucket", v.bucket);
		else
			pen_jw_null(&jw, "bucket");
		pen_jw_u64(&jw, "version", v.version);
		pen_jw_object_end(&jw);
		pen_jw_line(&jw);
	} else {
		pen_out_format(f->out, "%s %s%s%s", v.on ? "on" : "off", pen_flag_reason_name(v.reason),
			       v.error ? " " : "", pen_flag_error_name(v.error));
		if (strcmp(v.variant, v.on ? "on" : "off") != 0) {
			pen_out_text(f->out, " variant ");
			pen_out_safe(f->out, v.variant, strlen(v.variant), false);
		}
		pen_out_char(f->out, '\n');
	}
	return pen_cmd_set(f->cmd, PEN_O_EXIT_CODE) && !v.on ? pen_error_exit(-PEN_FLAG_REFUSED) : 0;
}

/* ---- history --------------------------------------------------------------------------------- */

static void put_change(struct pen_out *out, const struct pen_flag_change *c)
{
	char when[PEN_TEXT_NUMBER];
	struct pen_jw jw;

	pen_jw_init(&jw, out);
	pen_jw_object(&jw, NULL);
	pen_jw_u64(&jw, "seq", c->seq);
	pen_jw_text(&jw, "time", pen_text_time(when, c->time_ms));
	pen_jw_text(&jw, "flag", c->name);
	pen_jw_text(&jw, "action", pen_flag_action_name(c->action));
	pen_jw_u64(&jw, "version", c->version);
	pen_jw_data(&jw, "by", c->by, strlen(c->by));
	pen_jw_data(&jw, "reason", c->reason, strlen(c->reason));
	pen_jw_value(&jw, "changes", c->changes, strlen(c->changes));
	pen_jw_object_end(&jw);
	pen_jw_line(&jw);
}

static void show_change(struct pen_out *out, const struct pen_flag_change *c)
{
	char when[PEN_TEXT_NUMBER];

	pen_out_format(out, "%s  version %-4" PRIu64 "  %-4s  by ", pen_text_time(when, c->time_ms),
		       c->version, pen_flag_action_name(c->action));
	pen_out_safe(out, c->by, strlen(c->by), false);
	if (*c->reason) {
		pen_out_text(out, ": ");
		pen_out_safe(out, c->reason, strlen(c->reason), false);
	}
	if (strcmp(c->changes, "{}") != 0) {
		pen_out_text(out, "  ");
		pen_out_safe(out, c->changes, strlen(c->changes), false);
	}
	pen_out_char(out, '\n');
}

static int history(const struct flag *f)
{
	uint64_t left = pen_cmd_set(f->cmd, PEN_O_LIMIT) ? pen_cmd_value(f->cmd, PEN_O_LIMIT)->n : UINT64_MAX;
	uint64_t before = UINT64_MAX;
	struct pen_flag_change *c;
	struct pen_flag *flag;
	bool any = false;
	int rc = 0;

	while (left-- && (rc = pen_flag_history(f->store, f->name, before, &c)) == 1 &&
	       !pen_out_failed(f->out)) {
		(f->json ? put_change : show_change)(f->out, c);
		before = c->seq;
		any = true;
		free(c);
	}
	if (rc < 0)
		return pen_say_failure(rc, NULL);
	if (any || pen_cmd_set(f->cmd, PEN_O_LIMIT))
		return 0;
	rc = pen_flag_get(f->store, f->name, &flag);
	if (rc)
		return no_flag(f->name);
	free(flag); /* its history is older than what is kept */
	return 0;
}

/* ---- ramp ------------------------------------------------------------------------------------ */

static bool make_steps(const char *text, struct pen_ramp *ramp)
{
	while (*text) {
		size_t len = strcspn(text, ",");

		if (ramp->step_count == PEN_RAMP_STEPS ||
		    !percent(text, len, &ramp->steps[ramp->step_count++]))
			return false;
		text += len;
		if (*text && !*++text)
			return false;
	}
	return ramp->step_count != 0;
}

/* error_rate<1%: millionths. */
static bool make_guard(const char *text, struct pen_ramp *ramp)
{
	static const char head[] = "error_rate<";
	uint32_t milli;
	size_t n = 0;
	char plain[64] = "";

	for (; *text; text++)
		if (*text != ' ') {
			if (n + 1 == sizeof plain)
				return false;
			plain[n++] = *text;
		}
	plain[n] = 0;
	if (strncmp(plain, head, sizeof head - 1) != 0 || !n || plain[n - 1] != '%' ||
	    !percent(plain + sizeof head - 1, n - (sizeof head - 1), &milli))
		return false;
	ramp->guarded = true;
	ramp->max_error = milli * 10;
	return milli != 0;
}

static void tell_ramp(const struct flag *f, const struct pen_ramp *r)
{
	static const char *const states[] = { "", "running", "held", "done" };
	struct pen_jw jw;

	if (!f->json)
		return;
	pen_jw_init(&jw, f->out);
	pen_jw_object(&jw, NULL);
	pen_jw_text(&jw, "flag", f->name);
	pen_jw_text(&jw, "state", states[r->state]);
	pen_jw_u64(&jw, "step", r->step);
	pen_jw_u64(&jw, "steps", r->step_count);
	if (r->step)
		pen_jw_milli(&jw, "rollout", r->steps[r->step - 1]);
	else
		pen_jw_null(&jw, "rollout");
	pen_jw_u64(&jw, "batches", r->batches);
	pen_jw_u64(&jw, "items", r->items);
	pen_jw_u64(&jw, "bad", r->bad);
	pen_jw_object_end(&jw);
	pen_jw_line(&jw);
	pen_out_flush(f->out);
}

static int follow(const struct flag *f)
{
	struct pen_failure why = { 0 };
	struct pen_ramp r = { .size = sizeof r };
	uint32_t told = UINT32_MAX;
	uint64_t wait_ms = 0;
	int rc;

	for (;;) {
		rc = pen_ramp_turn(f->store, f->name, f->by, &r, &wait_ms, &why);
		if (rc && rc != -PEN_FLAG_HELD)
			return pen_say_failure(rc, &why);
		if (r.step != told || !wait_ms || pen_out_failed(f->out)) {
			tell_ramp(f, &r);
			if (r.state == PEN_RAMP_RUNNING)
				pen_say_note("flag %s: step %" PRIu32 " of %" PRIu32 ", rollout %" PRIu32
					     ".%03" PRIu32 "%%",
					     f->name, r.step, r.step_count, r.steps[r.step - 1] / 1000,
					     r.steps[r.step - 1] % 1000);
		}
		told = r.step;
		if (rc)
			return pen_say_failure(rc, &why);
		if (!wait_ms)
			break;
		pen_cmd_sleep_ms(wait_ms);
	}
	pen_say_note("flag %s: the ramp is done", f->name);
	return 0;
}

static int ramp(const struct flag *f)
{
	const char *steps = f->cmd->args->word_count > 2 ? f->cmd->args->words[2] : NULL;
	const char *guard = text_of(f, PEN_O_GUARD);
	struct pen_ramp r = {
		.size = sizeof r,
		.every_ms = pen_cmd_set(f->cmd, PEN_O_EVERY) ? pen_cmd_value(f->cmd, PEN_O_EVERY)->n
							     : 3600000,
		.min_items = pen_cmd_value(f->cmd, PEN_O_MIN_ITEMS)->n,
	};
	struct pen_failure why = { 0 };
	int rc = 0;

	if (steps && !make_steps(steps, &r))
		return usage("steps are percents that rise: 5,25,50,100");
	if (guard && !make_guard(guard, &r))
		return usage("--guard takes error_rate<P%, as 'error_rate<1%'");
	if (!steps && (guard || pen_cmd_set(f->cmd, PEN_O_EVERY)))
		return usage("name the steps: 5,25,50,100");
	if (steps)
		rc = pen_ramp_begin(f->store, f->name, &r, f->by, &why);
	else if (pen_cmd_set(f->cmd, PEN_O_GO_ON))
		rc = pen_ramp_resume(f->store, f->name, f->by, &why);
	return rc ? pen_say_failure(rc, &why) : follow(f);
}

/* ---- which ----------------------------------------------------------------------------------- */

static const struct verb {
	const char *name;
	int (*act)(const struct flag *f);
	size_t words_min, words_max; /* with itself */
	bool writes, makes;	     /* makes: a store that is not there */
} verbs[] = {
	{ "list", list, 1, 2, false, false },
	{ "set", set, 2, 2, true, true },
	{ "rm", rm, 2, 2, true, false },
	{ "eval", eval, 2, 2, false, false },
	{ "history", history, 2, 2, false, false },
	{ "ramp", ramp, 2, 3, true, false },
};

int pen_cmd_flag(const struct pen_cmd *cmd)
{
	const struct pen_args *args = cmd->args;
	struct flag f = { .cmd = cmd,
			  .name = args->word_count > 1 ? args->words[1] : NULL,
			  .json = pen_cmd_set(cmd, PEN_O_JSON) };
	const struct verb *verb = NULL;
	struct pen_home home;
	struct pen_out out;
	int status;

	for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
		if (strcmp(args->words[0], verbs[i].name) == 0)
			verb = &verbs[i];
	if (!verb)
		return usage("flag is followed by list, set, rm, eval, history or ramp");
	if (args->word_count < verb->words_min || args->word_count > verb->words_max)
		return usage(args->word_count < verb->words_min ? "name a flag" : "too many words");
	if (text_of(&f, PEN_O_BY))
		(void)snprintf(f.by, sizeof f.by, "%s", text_of(&f, PEN_O_BY));
	else
		pen_cmd_own_name(f.by, sizeof f.by);
	status = verb->makes ? pen_home_create(args, &home, &f.store)
			     : pen_home_open(args, verb->writes, &f.store);
	if (status)
		return status;
	pen_out_init(&out, STDOUT_FILENO);
	f.out = &out;
	status = verb->act(&f);
	status = pen_out_end(&out, status);
	pen_store_close(f.store);
	return status;
}
