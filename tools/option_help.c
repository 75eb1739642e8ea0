/* SPDX-License-Identifier: MIT */
/*
 * Help pages, written from the tables alone.
 */
#include "tools/option.h"

#include <stdio.h>
#include <string.h>

#include "include/penstock.h"
#include "tools/out.h"

#define HELP_COLUMN 30

static void option_line(struct pen_out *out, const struct pen_option *option, bool full)
{
	char left[96];
	const char *value = option->kind == PEN_OPT_CHOICE ? option->choices : option->arg;
	int len = snprintf(left, sizeof left, "  %c%c%s--%s%s%s", option->letter ? '-' : ' ',
			   option->letter ? option->letter : ' ', option->letter ? ", " : "  ", option->name,
			   value ? " " : "", value ? value : "");

	if (len >= HELP_COLUMN)
		pen_out_format(out, "%s\n%*s", left, HELP_COLUMN, "");
	else
		pen_out_format(out, "%-*s", HELP_COLUMN, left);
	pen_out_text(out, option->help);
	if (full && option->fallback)
		pen_out_format(out, " [%s]", option->fallback);
	pen_out_char(out, '\n');
}

static void option_lines(struct pen_out *out, const struct pen_command *command, bool full)
{
	bool any = false;

	for (size_t i = 0; i < pen_options_count; i++) {
		const struct pen_option *option = &pen_options[i];

		if (!command || option->kind == PEN_OPT_LATER || option->commands == PEN_OPT_GLOBAL ||
		    !(option->commands >> command->id & 1))
			continue;
		pen_out_text(out, any ? "" : "\nOptions:\n");
		any = true;
		option_line(out, option, full);
	}
	if (!full && command) {
		pen_out_text(out, "\nGlobal: --store DIR  --json  --quiet  --color WHEN  --help\n");
		return;
	}
	pen_out_text(out, "\nGlobal options (before or after the command):\n");
	for (size_t i = 0; i < pen_options_count; i++)
		if (pen_options[i].commands == PEN_OPT_GLOBAL)
			option_line(out, &pen_options[i], full);
}

static void examples(struct pen_out *out, const char *lines)
{
	pen_out_text(out, "Examples:\n");
	while (*lines) {
		size_t len = strcspn(lines, "\n");

		pen_out_format(out, "  %.*s\n", (int)len, lines);
		lines += len + (lines[len] == '\n');
	}
}

static void exit_codes(struct pen_out *out)
{
	pen_out_text(out, "\nExit codes:\n"
			  "   0 all committed            1 finished, some items rejected or failed\n"
			  "   2 usage or configuration   3 could not run (store, disk, permission, source)\n"
			  "   4 stopped by a threshold   5 not found\n"
			  "   6 refused by a limit      65 store damaged\n"
			  "  74 the disk failed         75 try again later\n"
			  " 130 / 143 stopped by a signal, resumable\n");
}

static void overview(struct pen_out *out, bool full)
{
	static const char *const groups[] = { "Run", "Look", "Data", "Help" };

	pen_out_text(out, "penstock " PEN_VERSION
			  " - files, trees and streams into an LMDB store, exactly once\n\n");
	if (full) {
		examples(out, pen_commands[PEN_CMD_RUN].examples);
		pen_out_char(out, '\n');
	}
	pen_out_text(out, "Usage: penstock [--store DIR] [--json] [--quiet] COMMAND …\n");
	for (size_t g = 0; g < sizeof groups / sizeof groups[0]; g++) {
		pen_out_format(out, "\n%s:\n", groups[g]);
		for (size_t i = 0; i < PEN_CMD_COUNT; i++)
			if (strcmp(pen_commands[i].group, groups[g]) == 0)
				pen_out_format(out, "  %-10s %s\n", pen_commands[i].name,
					       pen_commands[i].summary);
	}
	option_lines(out, NULL, full);
	if (full)
		exit_codes(out);
	pen_out_text(out, "\n`penstock COMMAND --help` has a command's options.\n");
}

void pen_option_help(struct pen_out *out, const struct pen_command *command, bool full)
{
	if (!command) {
		overview(out, full);
		return;
	}
	pen_out_format(out, "penstock %s - %s\n\n", command->name, command->summary);
	if (full) {
		examples(out, command->examples);
		pen_out_char(out, '\n');
	}
	pen_out_format(out, "Usage: penstock %s%s%s [OPTION…]\n", command->name, *command->words ? " " : "",
		       command->words);
	if (full && command->more)
		pen_out_format(out, "\n%s\n", command->more);
	option_lines(out, command, full);
	if (full)
		exit_codes(out);
}
