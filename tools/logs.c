/* SPDX-License-Identifier: MIT */
#include "tools/logs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "include/penstock.h"
#include "tools/json.h"
#include "tools/out.h"
#include "tools/say.h"

/* ---- for people ------------------------------------------------------------------------------ */

struct piece {
	char text[4096];
	size_t len;
};

static void collect(void *arg, const void *piece, size_t len)
{
	struct piece *p = arg;

	if (len > sizeof p->text - p->len)
		len = sizeof p->text - p->len;
	memcpy(p->text + p->len, piece, len);
	p->len += len;
}

/* The member's text; "" for null, and what else it is as it is written. */
static bool member(const char *line, size_t len, const char *name, struct piece *ret)
{
	const void *at;
	size_t n;

	ret->len = 0;
	if (!pen_jw_member(line, len, name, &at, &n) || !memcmp(at, "null", n < 4 ? n : 4))
		return false;
	if (*(const char *)at == '"')
		pen_jw_unescape(at, n, collect, ret);
	else
		collect(ret, at, n);
	return true;
}

static bool is(const struct piece *p, const char *text)
{
	return p->len == strlen(text) && !memcmp(p->text, text, p->len);
}

static const char *color_of(const struct piece *level, const struct piece *kind)
{
	if (is(level, "error"))
		return "\033[1;31m";
	if (is(level, "warn"))
		return "\033[1;33m";
	if (is(kind, "security") || is(kind, "audit"))
		return "\033[35m";
	return is(level, "info") ? "\033[32m" : "\033[2m";
}

static int put_field(void *arg, const void *name, size_t name_len, const void *value, size_t len)
{
	struct pen_out *out = arg;
	struct piece p = { .len = 0 };
	bool quote;

	if (len == 4 && !memcmp(value, "null", 4))
		return 0;
	pen_jw_unescape(name, name_len, collect, &p);
	pen_out_char(out, ' ');
	pen_out_safe(out, p.text, p.len, false);
	pen_out_char(out, '=');
	p.len = 0;
	if (*(const char *)value == '"')
		pen_jw_unescape(value, len, collect, &p);
	else
		collect(&p, value, len);
	quote = !p.len || memchr(p.text, ' ', p.len);
	if (quote)
		pen_out_char(out, '"');
	pen_out_safe(out, p.text, p.len, false);
	if (quote)
		pen_out_char(out, '"');
	return 0;
}

static int put_frame(void *arg, const void *name, size_t name_len, const void *value, size_t len)
{
	struct pen_out *out = arg;
	struct piece p = { .len = 0 };

	(void)name, (void)name_len;
	pen_jw_unescape(value, len, collect, &p);
	pen_out_text(out, " < ");
	pen_out_safe(out, p.text, p.len, false);
	return 0;
}

void pen_logs_view(struct pen_out *out, const char *line, size_t len, bool color)
{
	static const char *const ids[][2] = { { "code", "code" },   { "severity", "severity" },
					      { "batch", "batch" }, { "item", "item" },
					      { "userId", "user" }, { "correlationId", "correlation" } };
	struct piece level, kind, p;
	const void *at;
	size_t n;

	if (!pen_jw_valid(line, len) || !member(line, len, "time", &p) ||
	    !member(line, len, "level", &level) || !member(line, len, "kind", &kind)) {
		pen_out_safe(out, line, len, false);
		pen_out_char(out, '\n');
		return;
	}
	pen_out_safe(out, p.text, p.len, false);
	pen_out_text(out, color ? color_of(&level, &kind) : "");
	pen_out_format(out, " %-7.*s ", (int)level.len, level.text);
	pen_out_text(out, color ? "\033[0m" : "");
	(void)member(line, len, "module", &p);
	pen_out_format(out, "%-8.*s %-11.*s ", (int)p.len, p.text, (int)kind.len, kind.text);
	(void)member(line, len, "message", &p);
	pen_out_safe(out, p.text, p.len, false);
	pen_out_text(out, color ? "\033[2m" : "");
	if (pen_jw_member(line, len, "fields", &at, &n))
		(void)pen_jw_each(at, n, put_field, out);
	for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
		if (!member(line, len, ids[i][0], &p))
			continue;
		pen_out_format(out, " %s=", ids[i][1]);
		pen_out_safe(out, p.text, p.len, false);
	}
	if (pen_jw_member(line, len, "trace", &at, &n))
		(void)pen_jw_each(at, n, put_frame, out);
	pen_out_text(out, color ? "\033[0m\n" : "\n");
}

/* ---- a command's log ------------------------------------------------------------------------- */

static void show(void *arg, enum pen_log_level level, const char *line, size_t len)
{
	struct pen_out out;

	(void)arg;
	if (pen_say_quiet() && level != PEN_LOG_ERROR)
		return;
	pen_out_init(&out, -1);
	pen_logs_view(&out, line, len, pen_say_color());
	pen_say_logged(out.buf, out.len);
	pen_out_fini(&out);
}

static void notice(void *arg, int code, const char *text)
{
	(void)arg;
	if (code == -PEN_LOG_JOURNAL)
		pen_say_note("%s", text);
	else
		pen_say_warning(code, "%s", text);
}

static const char *environment(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

bool pen_logs_dir(const struct pen_args *args, const char *home, char *ret, size_t cap)
{
	const char *given = args->value[PEN_O_LOG_DIR].set ? args->value[PEN_O_LOG_DIR].text
							   : environment("PENSTOCK_LOG_DIR");
	int n = given ? snprintf(ret, cap, "%s", given) : snprintf(ret, cap, "%s/logs", home);

	return n > 0 && (size_t)n < cap;
}

int pen_logs_begin(const struct pen_args *args, const char *home)
{
	const struct pen_value *level = &args->value[PEN_O_LOG_LEVEL];
	const char *levels = level->set ? level->text : environment("PENSTOCK_LOG");
	const char *journal = environment("PENSTOCK_LOG_JOURNAL");
	bool asked = args->value[PEN_O_LOG_DIR].set || level->set;
	struct pen_failure why = { 0 };
	char dir[4096];
	struct pen_log_options opt = {
		.size = sizeof opt,
		.dir = dir,
		.levels = levels,
		.journal = args->value[PEN_O_LOG_JOURNAL].set || (journal && strcmp(journal, "0") != 0),
		.sink = levels ? show : NULL,
		.notice = notice,
	};
	int rc;

	if (!pen_logs_dir(args, home, dir, sizeof dir)) {
		pen_say_warning(-PEN_LOG_PLACE, "nothing is logged: the directory's path is too long");
		return 0;
	}
	rc = pen_log_open(&opt, &why);
	/* A variable that means something else to somebody must not keep work from being done. */
	if (rc == -PEN_LOG_LEVEL && !level->set) {
		pen_say_warning(rc, "$PENSTOCK_LOG is left aside: %s", why.text);
		why = (struct pen_failure){ 0 };
		opt.levels = NULL;
		opt.sink = NULL;
		rc = pen_log_open(&opt, &why);
	}
	if (!rc || rc == -EBUSY)
		return 0;
	if (asked)
		return pen_say_failure(rc, &why);
	pen_say_warning(rc, "nothing is logged: %s", why.text);
	return 0;
}

void pen_logs_end(void)
{
	pen_log_close();
}
