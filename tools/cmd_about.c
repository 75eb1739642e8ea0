/* SPDX-License-Identifier: MIT */
/*
 * version, explain, help: the command about itself.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "include/penstock.h"
#include "tools/cmd.h"
#include "tools/json.h"
#include "tools/say.h"

int pen_cmd_version(const struct pen_cmd *cmd)
{
	struct pen_version v;
	struct pen_out out;
	struct pen_jw jw;

	pen_version(&v);
	pen_out_init(&out, STDOUT_FILENO);
	if (pen_cmd_set(cmd, PEN_O_JSON)) {
		pen_jw_init(&jw, &out);
		pen_jw_object(&jw, NULL);
		pen_jw_text(&jw, "version", v.version);
		pen_jw_text(&jw, "git", v.git);
		pen_jw_text(&jw, "compiler", v.compiler);
		pen_jw_text(&jw, "lmdb", v.lmdb);
		pen_jw_text(&jw, "liburing", v.liburing);
		pen_jw_text(&jw, "simdjson", v.simdjson);
		pen_jw_text(&jw, "simd", v.simd);
		pen_jw_object_end(&jw);
		pen_jw_line(&jw);
	} else {
		pen_out_format(&out, "penstock %s (%s; %s; liburing %s; simdjson %s, %s)\n", v.version,
			       v.compiler, v.lmdb, v.liburing, v.simdjson, v.simd);
	}
	return pen_out_end(&out, 0);
}

static void put_code(struct pen_out *out, struct pen_jw *jw, bool json, int code)
{
	if (json) {
		pen_jw_object(jw, NULL);
		pen_jw_text(jw, "code", pen_error_name(code));
		pen_jw_text(jw, "message", pen_error_text(code));
		pen_jw_text(jw, "advice", pen_error_advice(code));
		pen_jw_i64(jw, "exit", pen_error_exit(code));
		pen_jw_object_end(jw);
		pen_jw_line(jw);
		return;
	}
	pen_out_format(out, "%s  %s\n", pen_error_name(code), pen_error_text(code));
	if (*pen_error_advice(code))
		pen_out_format(out, "         what to do: %s\n", pen_error_advice(code));
	pen_out_format(out, "         exit status: %d\n", pen_error_exit(code));
}

int pen_cmd_explain(const struct pen_cmd *cmd)
{
	bool json = pen_cmd_set(cmd, PEN_O_JSON),
	     list = pen_cmd_set(cmd, PEN_O_LIST) || !cmd->args->word_count;
	int code = list ? 0 : pen_error_find(cmd->args->words[0]);
	struct pen_out out;
	struct pen_jw jw;

	if (!list && !code) {
		pen_say_error(-PEN_NOT_FOUND, "there is no code '%s'", cmd->args->words[0]);
		pen_say_advice("`penstock explain --list` shows all codes");
		return 5;
	}
	pen_out_init(&out, STDOUT_FILENO);
	pen_jw_init(&jw, &out);
	if (!list)
		put_code(&out, &jw, json, code);
	for (size_t i = 0; list && (code = pen_error_at(i)); i++)
		put_code(&out, &jw, json, code);
	return pen_out_end(&out, 0);
}

int pen_cmd_help(const struct pen_cmd *cmd)
{
	const char *name = cmd->args->word_count ? cmd->args->words[0] : NULL;
	const struct pen_command *command = name ? pen_option_command(name) : NULL;
	struct pen_out out;

	if (name && !command) {
		pen_say_error(-PEN_USAGE, "there is no command '%s'", name);
		if (pen_option_near_command(name))
			pen_say_advice("did you mean `penstock %s`?", pen_option_near_command(name));
		return 2;
	}
	pen_out_init(&out, STDOUT_FILENO);
	pen_option_help(&out, command, true);
	return pen_out_end(&out, 0);
}
