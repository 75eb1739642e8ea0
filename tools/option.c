/* SPDX-License-Identifier: MIT */
#include "tools/option.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "include/penstock.h"
#include "tools/text.h"

/* ---- values -------------------------------------------------------------------------------- */

/* Splits "12.5MiB" after its digits; false when there are none. */
static bool leading(const char *text, uint64_t *ret_n, const char **ret_rest)
{
	size_t len = strspn(text, "0123456789");

	*ret_rest = text + len;
	return pen_text_u64(text, len, ret_n);
}

bool pen_option_size(const char *text, uint64_t *ret_bytes)
{
	static const struct {
		const char *name;
		uint64_t unit;
	} units[] = {
		{ "", 1 },
		{ "B", 1 },
		{ "k", 1ull << 10 },
		{ "K", 1ull << 10 },
		{ "KiB", 1ull << 10 },
		{ "kB", 1000 },
		{ "KB", 1000 },
		{ "m", 1ull << 20 },
		{ "M", 1ull << 20 },
		{ "MiB", 1ull << 20 },
		{ "MB", 1000000 },
		{ "g", 1ull << 30 },
		{ "G", 1ull << 30 },
		{ "GiB", 1ull << 30 },
		{ "GB", 1000000000 },
		{ "T", 1ull << 40 },
		{ "TiB", 1ull << 40 },
		{ "TB", 1000000000000 },
	};
	const char *rest;
	uint64_t n;

	if (!leading(text, &n, &rest))
		return false;
	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
		if (strcmp(rest, units[i].name) == 0)
			return !__builtin_mul_overflow(n, units[i].unit, ret_bytes);
	return false;
}

bool pen_option_duration(const char *text, uint64_t *ret_ms)
{
	static const struct {
		const char *name;
		uint64_t unit;
	} units[] = {
		{ "", 1 },	  { "ms", 1 },	    { "s", 1000 },     { "m", 60000 },
		{ "min", 60000 }, { "h", 3600000 }, { "d", 86400000 },
	};
	uint64_t n, part = 0, parts = 1;
	const char *rest;

	if (!leading(text, &n, &rest))
		return false;
	/* 0.25s: as far as it is whole milliseconds. */
	if (*rest == '.') {
		for (rest++; *rest >= '0' && *rest <= '9' && parts < 1000000; rest++, parts *= 10)
			part = part * 10 + (uint64_t)(*rest - '0');
		if (parts == 1)
			return false;
	}
	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
		if (strcmp(rest, units[i].name) == 0)
			return part * units[i].unit % parts == 0 &&
			       !__builtin_mul_overflow(n, units[i].unit, ret_ms) &&
			       !__builtin_add_overflow(*ret_ms, part * units[i].unit / parts, ret_ms);
	return false;
}

bool pen_option_share(const char *text, struct pen_value *ret_value)
{
	uint64_t whole, part = 0;
	const char *rest;

	if (!leading(text, &whole, &rest))
		return false;
	if (*rest == '\0') {
		ret_value->n = whole;
		ret_value->percent = false;
		ret_value->ratio = 0;
		return true;
	}
	if (*rest == '.') {
		size_t len = strspn(rest + 1, "0123456789");

		if (len == 0 || len > 4 || !pen_text_u64(rest + 1, len, &part))
			return false;
		rest += 1 + len;
		for (; len < 4; len++)
			part *= 10;
	}
	if (strcmp(rest, "%") != 0 || whole > 100 || (whole == 100 && part > 0))
		return false;
	ret_value->n = 0;
	ret_value->percent = true;
	ret_value->ratio = (uint32_t)(whole * (PEN_RATIO_ONE / 100) + part);
	return true;
}

#define TIME_MAX_S 253402300799ull /* the last second of the year 9999 */

/* Exactly these many digits, in low .. high, and what stands behind them (0: anything). */
static bool part(const char **at, size_t len, char behind_it, unsigned low, unsigned high, unsigned *ret)
{
	uint64_t n;

	if (strspn(*at, "0123456789") < len || !pen_text_u64(*at, len, &n) || n < low || n > high)
		return false;
	*at += len;
	if (behind_it && *(*at)++ != behind_it)
		return false;
	*ret = (unsigned)n;
	return true;
}

/* Days since 1970 of a day of the Gregorian calendar. */
static uint64_t days_to(unsigned year, unsigned month, unsigned day)
{
	static const unsigned short before[] = { 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334 };
	bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
	unsigned past = year - 1; /* whole years */
	uint64_t days = past * 365ull + past / 4 - past / 100 + past / 400;

	return days - 719162 + before[month - 1] + (leap && month > 2) + day - 1;
}

static unsigned days_of(unsigned year, unsigned month)
{
	return (unsigned)((month == 12 ? days_to(year + 1, 1, 1) : days_to(year, month + 1, 1)) -
			  days_to(year, month, 1));
}

static const char *calendar(const char *at, uint64_t *ret_ms)
{
	unsigned year, month, day, hour, minute, second, ms = 0, east_h = 0, east_m = 0;
	int64_t s;
	char sign;

	if (!part(&at, 4, '-', 1970, 9999, &year) || !part(&at, 2, '-', 1, 12, &month) ||
	    !part(&at, 2, 0, 1, 31, &day) || day > days_of(year, month))
		return "is no day from 1970-01-01 to 9999-12-31";
	if (*at != 'T' && *at != 't' && *at != ' ')
		return "has no time of day: 2026-11-24T17:45:00Z";
	at++;
	/* A leap second counts as the one before it. */
	if (!part(&at, 2, ':', 0, 23, &hour) || !part(&at, 2, ':', 0, 59, &minute) ||
	    !part(&at, 2, 0, 0, 60, &second))
		return "has no time of day: 2026-11-24T17:45:00Z";
	if (*at == '.') {
		size_t len = strspn(++at, "0123456789");

		if (len == 0)
			return "has nothing behind the point";
		for (size_t i = 0; i < 3; i++)
			ms = ms * 10 + (unsigned)(i < len ? at[i] - '0' : 0);
		at += len;
	}
	sign = *at;
	if (sign == '+' || sign == '-') {
		at++;
		if (!part(&at, 2, ':', 0, 23, &east_h) || !part(&at, 2, 0, 0, 59, &east_m))
			return "has no time zone: Z, or an offset like +01:00";
	} else if (sign == 'Z' || sign == 'z') {
		at++;
	} else {
		return "has no time zone: Z, or an offset like +01:00";
	}
	if (*at)
		return "has something behind its time zone";
	s = (int64_t)(days_to(year, month, day) * 86400 + hour * 3600 + minute * 60 +
		      (second > 59 ? 59 : second));
	s -= (sign == '-' ? -1 : 1) * (int64_t)(east_h * 3600 + east_m * 60);
	if (s < 0 || s > (int64_t)TIME_MAX_S)
		return "is no day from 1970-01-01 to 9999-12-31";
	*ret_ms = (uint64_t)s * 1000 + ms;
	return NULL;
}

const char *pen_option_time(const char *text, uint64_t now_ms, uint64_t *ret_ms)
{
	uint64_t n;

	if (*text == '+') {
		size_t digits = strspn(text + 1, "0123456789");

		if (digits && text[1 + digits] == '\0')
			return "has no unit: +90s, +2h, +1d";
		if (!pen_option_duration(text + 1, &n))
			return "is no time from now on: +90s, +2h, +1d";
		if (__builtin_add_overflow(now_ms, n, &n) || n / 1000 > TIME_MAX_S)
			return "is behind the year 9999";
		*ret_ms = n;
		return NULL;
	}
	if (pen_text_u64(text + (*text == '@'), strlen(text + (*text == '@')), &n)) {
		if (n > TIME_MAX_S)
			return "is behind the year 9999: seconds since 1970, not milliseconds";
		*ret_ms = n * 1000;
		return NULL;
	}
	if (*text < '0' || *text > '9')
		return "is no time: 2026-11-24T17:45:00Z, 1764006300 (seconds since 1970) or +2h";
	return calendar(text, ret_ms);
}

/* The next word of a list: its length, or 0 at the end. */
static size_t next_word(const char *list, char sep)
{
	return sep ? strcspn(list, (char[]){ sep, '\0' }) : strlen(list);
}

static const char *behind(const char *list, size_t len, char sep)
{
	return sep && list[len] == '\0' ? list + len : list + len + 1;
}

int pen_option_choice(const char *text, const char *choices)
{
	int i = 0;

	for (size_t len; (len = next_word(choices, '|')) > 0; choices = behind(choices, len, '|'), i++)
		if (strlen(text) == len && memcmp(text, choices, len) == 0)
			return i;
	return -1;
}

/* Is text a choice of a later version? A word that ends in ":" stands for everything that begins so. */
static bool comes_later(const char *text, const char *later)
{
	for (size_t len; later && (len = next_word(later, '|')) > 0; later = behind(later, len, '|')) {
		if (strncmp(text, later, len) == 0 && (later[len - 1] == ':' || text[len] == '\0'))
			return true;
		if (later[len - 1] == ':' && strlen(text) == len - 1 && memcmp(text, later, len - 1) == 0)
			return true;
	}
	return false;
}

/* Near enough to be meant: a third of the letters, or the beginning of it. */
static unsigned far_from(const char *typed, const char *name)
{
	size_t len = strlen(typed);
	unsigned distance = pen_text_distance(typed, name);

	if (len >= 2 && strncmp(typed, name, len) == 0)
		return 1;
	return distance <= 1 + strlen(name) / 4 && distance < strlen(name) ? distance : UINT32_MAX;
}

bool pen_option_near(const char *text, const char *choices, char sep, char *near, size_t cap)
{
	unsigned best = UINT32_MAX;

	for (size_t len; (len = next_word(choices, sep)) > 0; choices = behind(choices, len, sep)) {
		char word[64];

		snprintf(word, sizeof word, "%.*s", (int)len, choices);
		unsigned distance = far_from(text, word);

		if (distance < best) {
			best = distance;
			snprintf(near, cap, "%s", word);
		}
	}
	return best != UINT32_MAX;
}

/* ---- the parser ---------------------------------------------------------------------------- */

const struct pen_command *pen_option_command(const char *name)
{
	for (size_t i = 0; i < PEN_CMD_COUNT; i++)
		if (strcmp(pen_commands[i].name, name) == 0)
			return &pen_commands[i];
	return NULL;
}

const char *pen_option_near_command(const char *name)
{
	const char *nearest = NULL;
	unsigned best = UINT32_MAX;

	for (size_t i = 0; i < PEN_CMD_COUNT; i++) {
		unsigned distance = far_from(name, pen_commands[i].name);

		if (distance < best) {
			best = distance;
			nearest = pen_commands[i].name;
		}
	}
	return nearest;
}

static bool applies(const struct pen_option *option, const struct pen_command *command)
{
	if (option->commands == PEN_OPT_GLOBAL)
		return true;
	return command && option->commands >> command->id & 1;
}

__attribute__((format(printf, 3, 4))) static int refuse(struct pen_args *args, int code, const char *format,
							...)
{
	va_list list;

	va_start(list, format);
	vsnprintf(args->error, sizeof args->error, format, list);
	va_end(list);
	args->code = code;
	return code;
}

static const struct pen_option *find(const struct pen_command *command, const char *name, size_t len,
				     char letter)
{
	for (size_t i = 0; i < pen_options_count; i++) {
		const struct pen_option *option = &pen_options[i];

		if (!applies(option, command))
			continue;
		if (letter ? option->letter == letter
			   : strlen(option->name) == len && memcmp(option->name, name, len) == 0)
			return option;
	}
	return NULL;
}

static int unknown(struct pen_args *args, const char *name, size_t len)
{
	char typed[64], elsewhere[64] = "";
	const char *nearest = NULL;
	unsigned best = UINT32_MAX;

	snprintf(typed, sizeof typed, "%.*s", (int)len, name);
	for (size_t i = 0; i < pen_options_count; i++) {
		const struct pen_option *option = &pen_options[i];
		unsigned distance = far_from(typed, option->name);

		if (option->kind != PEN_OPT_LATER && applies(option, args->command) && distance < best) {
			best = distance;
			nearest = option->name;
		}
		for (size_t c = 0; !elsewhere[0] && c < PEN_CMD_COUNT; c++)
			if (option->kind != PEN_OPT_LATER && strcmp(option->name, typed) == 0 &&
			    applies(option, &pen_commands[c]))
				snprintf(elsewhere, sizeof elsewhere, "%s", pen_commands[c].name);
	}
	if (nearest)
		snprintf(args->advice, sizeof args->advice, "did you mean --%s?", nearest);
	else if (elsewhere[0])
		snprintf(args->advice, sizeof args->advice, "--%s belongs behind `penstock %s`", typed,
			 elsewhere);
	else
		snprintf(args->advice, sizeof args->advice, "see `penstock%s%s --help`",
			 args->command ? " " : "", args->command ? args->command->name : "");
	return refuse(args, -PEN_USAGE, "%s%s has no option --%s", args->command ? "" : "penstock",
		      args->command ? args->command->name : "", typed);
}

static int bad_choice(struct pen_args *args, const struct pen_option *option, const char *text)
{
	char near[64];

	if (comes_later(text, option->later)) {
		snprintf(args->advice, sizeof args->advice, "this version knows %s", option->choices);
		return refuse(args, -PEN_UNSUPPORTED, "--%s %s is not in this version", option->name, text);
	}
	if (pen_option_near(text, option->choices, '|', near, sizeof near))
		snprintf(args->advice, sizeof args->advice, "did you mean %s? --%s takes %s", near,
			 option->name, option->choices);
	else
		snprintf(args->advice, sizeof args->advice, "it takes %s", option->choices);
	return refuse(args, -PEN_USAGE, "--%s does not take '%s'", option->name, text);
}

static int in_range(struct pen_args *args, const struct pen_option *option, bool parsed, const char *what)
{
	uint64_t n = args->value[option->id].n;

	if (!parsed)
		return refuse(args, -PEN_USAGE, "--%s takes %s, not '%s'", option->name, what,
			      args->value[option->id].text);
	if (n < option->min)
		return refuse(args, -PEN_USAGE, "--%s must be at least %llu", option->name,
			      (unsigned long long)option->min);
	if (n > option->max)
		return refuse(args, -PEN_USAGE, "--%s must be at most %llu", option->name,
			      (unsigned long long)option->max);
	return 0;
}

static int whole(struct pen_args *args, const struct pen_option *option, const char *text)
{
	bool minus = *text == '-';
	uint64_t n;

	if (!pen_text_u64(text + minus, strlen(text + minus), &n) || n > INT64_MAX)
		return refuse(args, -PEN_USAGE, "--%s takes a whole number, not '%s'", option->name, text);
	args->value[option->id].i = minus ? -(int64_t)n : (int64_t)n;
	return 0;
}

static int take(struct pen_args *args, const struct pen_option *option, const char *text)
{
	struct pen_value *value = &args->value[option->id];

	value->set = true;
	value->text = text;
	switch (option->kind) {
	case PEN_OPT_LIST:
		args->lists[option->id - PEN_O_LABEL].at[args->lists[option->id - PEN_O_LABEL].count++] =
			text;
		return 0;
	case PEN_OPT_CHOICE: {
		int i = pen_option_choice(text, option->choices);

		value->n = i < 0 ? 0 : (uint64_t)i;
		return i < 0 ? bad_choice(args, option, text) : 0;
	}
	case PEN_OPT_COUNT:
		return in_range(args, option, pen_text_u64(text, strlen(text), &value->n), "a whole number");
	case PEN_OPT_SIZE:
		return in_range(args, option, pen_option_size(text, &value->n), "a size (4096, 64k, 64MiB)");
	case PEN_OPT_DURATION:
		return in_range(args, option, pen_option_duration(text, &value->n),
				"milliseconds (100, 100ms, 2s)");
	case PEN_OPT_NUMBER:
		return whole(args, option, text);
	case PEN_OPT_SHARE:
		if (!pen_option_share(text, value))
			return refuse(args, -PEN_USAGE,
				      "--%s takes a number or a share (100, 5%%, 0.1%%), not '%s'",
				      option->name, text);
		return 0;
	case PEN_OPT_TIME: {
		const char *what = pen_option_time(text, 0, &value->n);

		return what ? refuse(args, -PEN_USAGE, "--%s: '%s' %s", option->name, text, what) : 0;
	}
	default:
		return 0;
	}
}

static int no_such_command(struct pen_args *args, const char *name)
{
	const char *near = pen_option_near_command(name);

	if (pen_option_near(name, pen_commands_later, '\0', args->advice, sizeof args->advice) &&
	    strcmp(args->advice, name) == 0) {
		snprintf(args->advice, sizeof args->advice, "`penstock --help` lists what is");
		return refuse(args, -PEN_UNSUPPORTED, "the command %s is not in this version", name);
	}
	if (near)
		snprintf(args->advice, sizeof args->advice, "did you mean `penstock %s`?", near);
	else
		snprintf(args->advice, sizeof args->advice, "`penstock --help` lists the commands");
	return refuse(args, -PEN_USAGE, "there is no command '%s'", name);
}

/* A word that looks like an option is no value unless it is written as --name=value. */
static bool looks_like_option(const struct pen_args *args, const char *word)
{
	if (strncmp(word, "--", 2) != 0)
		return false;
	return word[2] == '\0' || find(args->command, word + 2, strcspn(word + 2, "="), 0);
}

/* One option with its value; *i is moved over what was used. */
static int option(struct pen_args *args, int argc, char **argv, int *i)
{
	const char *word = argv[*i], *value = NULL;
	bool is_long = word[1] == '-';
	size_t len = is_long ? strcspn(word + 2, "=") : 1;
	const struct pen_option *row = find(args->command, word + 2, len, is_long ? 0 : word[1]);

	if (!row && !is_long) {
		snprintf(args->advice, sizeof args->advice, "see `penstock --help`");
		return refuse(args, -PEN_USAGE, "there is no option %s", word);
	}
	if (!row)
		return unknown(args, word + 2, len);
	if (row->kind == PEN_OPT_LATER) {
		snprintf(args->advice, sizeof args->advice, "see `penstock %s --help` for what is",
			 args->command->name);
		return refuse(args, -PEN_UNSUPPORTED, "--%s is not in this version", row->name);
	}
	if (is_long && word[2 + len] == '=')
		value = word + 3 + len;
	if (!is_long && word[2] != '\0')
		return refuse(args, -PEN_USAGE, "short options stand alone: %s", word);
	if (row->kind == PEN_OPT_FLAG) {
		if (value)
			return refuse(args, -PEN_USAGE, "--%s takes no value", row->name);
		args->value[row->id].set = true;
		if (row->id == PEN_O_HELP)
			args->help = is_long ? 2 : 1;
		args->version |= row->id == PEN_O_VERSION;
		return 0;
	}
	if (!value) {
		if (*i + 1 >= argc || looks_like_option(args, argv[*i + 1])) {
			snprintf(args->advice, sizeof args->advice, "--%s=VALUE takes any value", row->name);
			return refuse(args, -PEN_USAGE, "--%s needs a value", row->name);
		}
		value = argv[++*i];
	}
	return take(args, row, value);
}

/* Help was asked for: which command's is the next word's business, all else is not looked at. */
static void settle_help(struct pen_args *args, int argc, char **argv, int i)
{
	for (i++; i < argc && !args->command; i++)
		if (argv[i][0] != '-')
			args->command = pen_option_command(argv[i]);
}

static int check_words(struct pen_args *args)
{
	const struct pen_command *command = args->command;

	/* A list of items stands for the sources. */
	if (args->word_count < command->words_min && !args->value[PEN_O_ITEMS].set &&
	    !args->value[PEN_O_SPEC].set) {
		snprintf(args->advice, sizeof args->advice, "see `penstock %s --help`", command->name);
		return refuse(args, -PEN_USAGE, "usage: penstock %s %s", command->name, command->words);
	}
	if (args->word_count > command->words_max) {
		snprintf(args->advice, sizeof args->advice, "usage: penstock %s %s", command->name,
			 command->words);
		return refuse(args, -PEN_USAGE, "'%s' is one word too many", args->words[command->words_max]);
	}
	return 0;
}

int pen_option_parse(struct pen_args *args, int argc, char **argv)
{
	bool options = true;
	int rc = 0;

	memset(args, 0, sizeof *args);
	args->words = calloc(((size_t)argc + 1) * (1 + PEN_LISTS), sizeof *args->words);
	for (size_t i = 0; args->words && i < PEN_LISTS; i++)
		args->lists[i].at = args->words + (i + 1) * ((size_t)argc + 1);
	if (!args->words)
		return refuse(args, -PEN_MEMORY, "not enough memory for %d arguments", argc);
	for (int i = 1; i < argc && rc == 0; i++) {
		const char *word = argv[i];
		bool negative = word[0] == '-' && word[1] >= '0' && word[1] <= '9' &&
				!(word[2] == '\0' && find(args->command, NULL, 0, word[1]));

		if (options && strcmp(word, "--") == 0) {
			options = false;
		} else if (options && word[0] == '-' && word[1] != '\0' && !negative) {
			rc = option(args, argc, argv, &i);
			if (rc == 0 && args->help) {
				settle_help(args, argc, argv, i);
				return 0;
			}
		} else if (!args->command) {
			args->command = pen_option_command(word);
			if (!args->command)
				rc = no_such_command(args, word);
		} else {
			args->words[args->word_count++] = word;
		}
	}
	if (rc == 0 && args->command && !args->version)
		rc = check_words(args);
	return rc;
}

void pen_option_fini(struct pen_args *args)
{
	free(args->words);
	args->words = NULL;
}
