/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/command.h"

static const struct pen_command_values values = { "/tmp/a b", "$(k)", "7" };

/* The words, joined by '|'; a shell's text is marked by '%'. */
static const char *words_of(const char *text, char *out, size_t cap)
{
	static char buf[4096];
	static char *argv[PEN_COMMAND_WORDS + 1];
	struct pen_command command;
	struct pen_failure why = { 0 };
	size_t len = 0;
	int rc = pen_command_open(&command, text, &why);

	if (rc) {
		snprintf(out, cap, "PEN%d", -rc);
		return out;
	}
	cr_assert_eq(pen_command_words(&command, &values, buf, sizeof(buf), argv), 0);
	out[len++] = command.shell ? '%' : '=';
	for (char **word = argv; *word; word++)
		len += (size_t)snprintf(out + len, cap - len, "%s%s", word == argv ? "" : "|", *word);
	pen_command_fini(&command);
	return out;
}

static const struct {
	const char *text, *words;
} table[] = {
	{ "true", "=true" },
	{ "  true  a\tb ", "=true|a|b" },
	{ "true 'a b' \"c d\" e\\ f", "=true|a b|c d|e f" },
	{ "true '' \"\"", "=true||" },
	{ "true 'a\\b' \"a\\b\\\"\"", "=true|a\\b|a\\b\"" },
	{ "true '|&;<>()$`*?[]'", "=true||&;<>()$`*?[]" },
	{ "true a#b a~b", "=true|a#b|a~b" },
	{ "true {}", "=true|/tmp/a b" },
	{ "true x{}y '{}' \"{}\"", "=true|x/tmp/a by|/tmp/a b|/tmp/a b" },
	{ "true {key} {seq}{seq}", "=true|$(k)|77" },
	{ "true {print} {", "=true|{print}|{" },
	{ "true %s a=b", "=true|%s|a=b" },
	{ "true | cat", "%sh|-c|true | cat" },
	{ "A=b true", "%sh|-c|A=b true" },
	{ "exit 3", "%sh|-c|exit 3" },
	{ "true ~", "%sh|-c|true ~" },
	{ "true # x", "%sh|-c|true # x" },
	{ "true \"$HOME\"", "%sh|-c|true \"$HOME\"" },
	{ "true\ntrue", "%sh|-c|true\ntrue" },
	{ "a {} > b", "%sh|-c|a \"${PENSTOCK_ITEM_PATH}\" > b" },
	{ "a \"{}\" > b", "%sh|-c|a \"${PENSTOCK_ITEM_PATH}\" > b" },
	{ "a '{}' > b", "%sh|-c|a ''\"${PENSTOCK_ITEM_PATH}\"'' > b" },
	{ "a \"$(b {key})\"", "%sh|-c|a \"$(b \"${PENSTOCK_ITEM_KEY}\")\"" },
	{ "a \"$(b \"{key}\")\"", "%sh|-c|a \"$(b \"${PENSTOCK_ITEM_KEY}\")\"" },
	{ "a `b {seq}`", "%sh|-c|a `b \"${PENSTOCK_ITEM_SEQ}\"`" },
	{ "", "PEN301" },
	{ "   ", "PEN301" },
	{ "true 'a", "PEN301" },
	{ "true \"a", "PEN301" },
	{ "there-is-no-such-program", "PEN332" },
	{ "/etc/passwd", "PEN332" },
	{ "/etc", "PEN332" },
};

Test(command, cuts_words_as_a_shell_does)
{
	char out[4096];

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		cr_expect_str_eq(words_of(table[i].text, out, sizeof(out)), table[i].words, "%s gives %s",
				 table[i].text, out);
}

Test(command, finds_programs_once)
{
	struct pen_command command;

	cr_assert_eq(pen_command_open(&command, "sh -c true", NULL), 0);
	cr_expect(command.program && command.program[0] == '/');
	cr_expect_not(command.wants_path);
	pen_command_fini(&command);
	cr_assert_eq(pen_command_open(&command, "{} x", NULL), 0);
	cr_expect_null(command.program);
	cr_expect(command.wants_path && command.has_places);
	pen_command_fini(&command);
}

Test(command, words_that_do_not_fit_are_told)
{
	struct pen_command command;
	char *argv[PEN_COMMAND_WORDS + 1];
	char buf[16];

	cr_assert_eq(pen_command_open(&command, "true {} {} {}", NULL), 0);
	cr_expect_eq(pen_command_words(&command, &values, buf, sizeof(buf), argv), -E2BIG);
	pen_command_fini(&command);
}

Test(command, too_many_words_are_refused)
{
	char *text = malloc(3 * PEN_COMMAND_WORDS);
	struct pen_command command;

	text[0] = '\0';
	for (uint32_t i = 0; i <= PEN_COMMAND_WORDS; i++)
		memcpy(text + 2 * i, "a ", 3);
	cr_expect_eq(pen_command_open(&command, text, NULL), -PEN_USAGE);
	free(text);
}
