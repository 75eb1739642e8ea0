/* SPDX-License-Identifier: MIT */
/*
 * completion: a script for bash, zsh or fish, written from the tables of option_table.c alone
 *
 * Commands, options and the values of options that take a choice; words and other values are completed as file names.
 * bash-completion is not needed.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "include/penstock.h"
#include "tools/cmd.h"
#include "tools/out.h"
#include "tools/say.h"

static bool belongs(const struct pen_option *option, const struct pen_command *command)
{
	return option->kind != PEN_OPT_LATER &&
	       (option->commands == PEN_OPT_GLOBAL || (command && option->commands >> command->id & 1));
}

/* A text between fish's single quotes. */
static void put_quoted(struct pen_out *out, const char *text)
{
	pen_out_char(out, '\'');
	for (; *text; text++) {
		if (*text == '\'' || *text == '\\')
			pen_out_char(out, '\\');
		pen_out_char(out, *text);
	}
	pen_out_char(out, '\'');
}

/* "a|b" as "a b". */
static void put_choices(struct pen_out *out, const char *choices)
{
	for (; *choices; choices++)
		pen_out_char(out, *choices == '|' ? ' ' : *choices);
}

/* Words that stand for themselves: "bash|zsh|fish", but not "SOURCE…". */
static bool is_choice(const char *words)
{
	return *words >= 'a' && *words <= 'z' && strchr(words, '|');
}

static void put_commands(struct pen_out *out)
{
	for (size_t i = 0; i < PEN_CMD_COUNT; i++)
		pen_out_format(out, "%s%s", i ? " " : "", pen_commands[i].name);
}

/* ---- bash and zsh ----------------------------------------------------------------------------- */

/* The patterns of a case that stand for an option with a value. */
static void put_takes_value(struct pen_out *out, const struct pen_command *command)
{
	bool any = false;

	for (size_t i = 0; i < pen_options_count; i++) {
		const struct pen_option *o = &pen_options[i];

		if (!belongs(o, command) || o->kind == PEN_OPT_FLAG ||
		    (command && o->commands == PEN_OPT_GLOBAL))
			continue;
		pen_out_format(out, "%s--%s", any ? "|" : "", o->name);
		if (o->letter)
			pen_out_format(out, "|-%c", o->letter);
		any = true;
	}
	if (!any)
		pen_out_text(out, "'  '"); /* no word is that */
}

static void put_option_words(struct pen_out *out, const struct pen_command *command)
{
	bool any = false;

	for (size_t i = 0; i < pen_options_count; i++) {
		const struct pen_option *o = &pen_options[i];

		if (!belongs(o, command))
			continue;
		pen_out_format(out, "%s--%s", any ? " " : "", o->name);
		any = true;
	}
}

/* case entries "command:--option)" that give the choices of a value. */
static void put_value_cases(struct pen_out *out)
{
	for (size_t c = 0; c < PEN_CMD_COUNT; c++)
		for (size_t i = 0; i < pen_options_count; i++) {
			const struct pen_option *o = &pen_options[i];

			if (o->kind != PEN_OPT_CHOICE || o->commands == PEN_OPT_GLOBAL ||
			    !belongs(o, &pen_commands[c]))
				continue;
			pen_out_format(out, "\t%s:--%s) values='", pen_commands[c].name, o->name);
			put_choices(out, o->choices);
			pen_out_text(out, "' ;;\n");
		}
	for (size_t i = 0; i < pen_options_count; i++) {
		if (pen_options[i].kind != PEN_OPT_CHOICE || pen_options[i].commands != PEN_OPT_GLOBAL)
			continue;
		pen_out_format(out, "\t*:--%s) values='", pen_options[i].name);
		put_choices(out, pen_options[i].choices);
		pen_out_text(out, "' ;;\n");
	}
}

/*
 * COMP_WORDBREAKS splits words at "=" and ":" in bash, so --name=value comes in three words, and a value with a colon
 * in more: what was typed of the value is put together again, and what lies before its last colon is taken off.
 */
static void put_bash(struct pen_out *out)
{
	pen_out_text(
		out,
		"# completion for penstock, written by `penstock completion bash`\n"
		"_penstock()\n"
		"{\n"
		"\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev= command= values= words= i word\n"
		"\tlocal start=$COMP_CWORD\n"
		"\twhile ((start > 1)) && [[ ${COMP_WORDS[start]} == : || ${COMP_WORDS[start-1]} == : ]]; do\n"
		"\t\t((start--))\n"
		"\t\t[[ $start -lt $COMP_CWORD ]] && cur=${COMP_WORDS[start]}$cur\n"
		"\tdone\n"
		"\tprev=${COMP_WORDS[start-1]}\n"
		"\tif [[ $cur == = ]]; then\n"
		"\t\tcur=\n"
		"\telif [[ $prev == = && $start -ge 2 ]]; then\n"
		"\t\tprev=${COMP_WORDS[start-2]}\n"
		"\tfi\n"
		"\tfor ((i = 1; i < start; i++)); do\n"
		"\t\tword=${COMP_WORDS[i]}\n"
		"\t\tcase $word in\n"
		"\t\t");
	put_takes_value(out, NULL);
	pen_out_text(out, ") ((i++)); [[ ${COMP_WORDS[i]} == = ]] && ((i++)) ;;\n"
			  "\t\t-*|=) ;;\n"
			  "\t\t*) command=$word; break ;;\n"
			  "\t\tesac\n"
			  "\tdone\n"
			  "\tcase $command:$prev in\n");
	put_value_cases(out);
	pen_out_text(out, "\tesac\n"
			  "\tif [[ -n $values ]]; then\n"
			  "\t\tCOMPREPLY=($(compgen -W \"$values\" -- \"$cur\"))\n"
			  "\t\t[[ $cur == *:* ]] && COMPREPLY=(\"${COMPREPLY[@]#\"${cur%:*}:\"}\")\n"
			  "\t\treturn\n"
			  "\tfi\n"
			  "\tcase $command in\n");
	for (size_t c = 0; c < PEN_CMD_COUNT; c++) {
		const struct pen_command *command = &pen_commands[c];

		pen_out_format(out, "\t%s)\n\t\tcase $prev in\n\t\t", command->name);
		put_takes_value(out, command);
		pen_out_text(out,
			     ") COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n\t\tesac\n\t\twords='");
		if (is_choice(command->words)) {
			put_choices(out, command->words);
			pen_out_char(out, ' ');
		}
		if (command->id == PEN_CMD_HELP) {
			put_commands(out);
			pen_out_char(out, ' ');
		}
		put_option_words(out, command);
		pen_out_text(out, "' ;;\n");
	}
	pen_out_text(out, "\t*) words='");
	put_commands(out);
	pen_out_char(out, ' ');
	put_option_words(out, NULL);
	pen_out_text(out, "' ;;\n"
			  "\tesac\n"
			  "\tcase $prev in\n"
			  "\t");
	put_takes_value(out, NULL);
	pen_out_text(
		out,
		") COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n"
		"\tesac\n"
		"\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
		"\t[[ ${#COMPREPLY[@]} -eq 0 && -n $command ]] && COMPREPLY=($(compgen -f -- \"$cur\"))\n"
		"}\n"
		"complete -o filenames -F _penstock penstock\n");
}

/* Help texts in zsh's _arguments: a colon and brackets mean something there. */
static void put_zsh_help(struct pen_out *out, const char *text)
{
	for (; *text; text++) {
		if (strchr("[]:\\", *text))
			pen_out_char(out, '\\');
		if (*text == '\'')
			pen_out_text(out, "'\\''");
		else
			pen_out_char(out, *text);
	}
}

static void put_zsh_option(struct pen_out *out, const struct pen_option *o)
{
	pen_out_format(out, " \\\n\t\t'%s--%s%s[", o->kind == PEN_OPT_LIST ? "*" : "", o->name,
		       o->kind == PEN_OPT_FLAG ? "" : "=");
	put_zsh_help(out, o->help);
	pen_out_char(out, ']');
	if (o->kind == PEN_OPT_CHOICE) {
		pen_out_text(out, ":value:((");
		for (const char *p = o->choices; *p; p++) {
			if (*p == ':')
				pen_out_char(out, '\\');
			pen_out_char(out, *p == '|' ? ' ' : *p);
		}
		pen_out_text(out, "))");
	} else if (o->kind != PEN_OPT_FLAG) {
		pen_out_char(out, ':');
		put_zsh_help(out, o->arg);
		pen_out_text(out, ":_files");
	}
	pen_out_char(out, '\'');
}

static void put_zsh(struct pen_out *out)
{
	pen_out_text(out, "#compdef penstock\n"
			  "# completion for penstock, written by `penstock completion zsh`\n"
			  "_penstock()\n"
			  "{\n"
			  "\tlocal context state line curcontext=$curcontext\n"
			  "\tlocal -a commands=(\n");
	for (size_t c = 0; c < PEN_CMD_COUNT; c++) {
		pen_out_format(out, "\t\t'%s:", pen_commands[c].name);
		put_zsh_help(out, pen_commands[c].summary);
		pen_out_text(out, "'\n");
	}
	pen_out_text(out, "\t)\n\t_arguments -C");
	for (size_t i = 0; i < pen_options_count; i++)
		if (belongs(&pen_options[i], NULL))
			put_zsh_option(out, &pen_options[i]);
	pen_out_text(out, " \\\n\t\t'1:command:->command' '*::argument:->argument'\n"
			  "\tcase $state in\n"
			  "\tcommand) _describe command commands ;;\n"
			  "\targument)\n"
			  "\t\tcase $line[1] in\n");
	for (size_t c = 0; c < PEN_CMD_COUNT; c++) {
		const struct pen_command *command = &pen_commands[c];

		pen_out_format(out, "\t\t%s) _arguments", command->name);
		for (size_t i = 0; i < pen_options_count; i++)
			if (belongs(&pen_options[i], command))
				put_zsh_option(out, &pen_options[i]);
		if (is_choice(command->words)) {
			pen_out_text(out, " \\\n\t\t'*:word:(");
			put_choices(out, command->words);
			pen_out_text(out, ")' ;;\n");
		} else {
			pen_out_text(out, " \\\n\t\t'*:word:_files' ;;\n");
		}
	}
	pen_out_text(
		out,
		"\t\tesac ;;\n"
		"\tesac\n"
		"}\n"
		"if [[ $funcstack[1] == _penstock ]]; then _penstock \"$@\"; else compdef _penstock penstock; fi\n");
}

/* ---- fish ------------------------------------------------------------------------------------- */

static void put_fish_option(struct pen_out *out, const struct pen_option *o,
			    const struct pen_command *command)
{
	pen_out_text(out, "complete -c penstock");
	if (command)
		pen_out_format(out, " -n '__fish_seen_subcommand_from %s'", command->name);
	pen_out_format(out, " -l %s", o->name);
	if (o->letter)
		pen_out_format(out, " -s %c", o->letter);
	if (o->kind == PEN_OPT_CHOICE) {
		pen_out_text(out, " -x -a '");
		put_choices(out, o->choices);
		pen_out_char(out, '\'');
	} else if (o->kind != PEN_OPT_FLAG) {
		pen_out_text(out, " -r");
	}
	pen_out_text(out, " -d ");
	put_quoted(out, o->help);
	pen_out_char(out, '\n');
}

static void put_fish(struct pen_out *out)
{
	pen_out_text(out, "# completion for penstock, written by `penstock completion fish`\n");
	for (size_t c = 0; c < PEN_CMD_COUNT; c++) {
		pen_out_format(out, "complete -c penstock -n __fish_use_subcommand -f -a %s -d ",
			       pen_commands[c].name);
		put_quoted(out, pen_commands[c].summary);
		pen_out_char(out, '\n');
		if (!is_choice(pen_commands[c].words))
			continue;
		pen_out_format(out, "complete -c penstock -n '__fish_seen_subcommand_from %s' -f -a '",
			       pen_commands[c].name);
		put_choices(out, pen_commands[c].words);
		pen_out_text(out, "'\n");
	}
	for (size_t i = 0; i < pen_options_count; i++) {
		if (belongs(&pen_options[i], NULL))
			put_fish_option(out, &pen_options[i], NULL);
		for (size_t c = 0; c < PEN_CMD_COUNT; c++)
			if (pen_options[i].commands != PEN_OPT_GLOBAL &&
			    belongs(&pen_options[i], &pen_commands[c]))
				put_fish_option(out, &pen_options[i], &pen_commands[c]);
	}
}

int pen_cmd_completion(const struct pen_cmd *cmd)
{
	static void (*const shells[])(struct pen_out * out) = { put_bash, put_zsh, put_fish };
	int shell = pen_option_choice(cmd->args->words[0], "bash|zsh|fish");
	struct pen_out out;

	if (shell < 0) {
		pen_say_error(-PEN_USAGE, "there is no completion for '%s'", cmd->args->words[0]);
		pen_say_advice("it knows bash, zsh and fish");
		return 2;
	}
	pen_out_init(&out, STDOUT_FILENO);
	shells[shell](&out);
	return pen_out_end(&out, 0);
}
