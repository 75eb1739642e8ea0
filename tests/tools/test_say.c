/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "include/penstock.h"
#include "tools/closing.h"
#include "tools/home.h"
#include "tools/say.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

Test(say, colours_follow_the_conventions)
{
	static const struct {
		enum pen_color choice;
		bool tty;
		const char *no_color, *force, *term;
		bool colored;
	} rows[] = {
		{ PEN_COLOR_AUTO, true, NULL, NULL, "xterm", true },
		{ PEN_COLOR_AUTO, false, NULL, NULL, "xterm", false },
		{ PEN_COLOR_AUTO, true, NULL, NULL, "dumb", false },
		{ PEN_COLOR_AUTO, true, NULL, NULL, NULL, false },
		{ PEN_COLOR_AUTO, true, "1", NULL, "xterm", false },
		{ PEN_COLOR_AUTO, true, "", NULL, "xterm", true },
		{ PEN_COLOR_AUTO, false, NULL, "1", "xterm", true },
		{ PEN_COLOR_AUTO, false, NULL, "0", "xterm", false },
		{ PEN_COLOR_AUTO, true, "1", "1", "xterm", false },
		{ PEN_COLOR_ALWAYS, false, "1", NULL, "dumb", true },
		{ PEN_COLOR_NEVER, true, NULL, "1", "xterm", false },
	};

	for (size_t i = 0; i < COUNT(rows); i++)
		cr_expect_eq(pen_say_colored(rows[i].choice, rows[i].tty, rows[i].no_color, rows[i].force,
					     rows[i].term),
			     rows[i].colored, "row %zu", i);
}

Test(say, the_first_locale_that_is_set_decides)
{
	cr_expect(pen_say_speaks_utf8(NULL, NULL, "en_US.UTF-8"));
	cr_expect(pen_say_speaks_utf8("", "C.utf8", "C"));
	cr_expect_not(pen_say_speaks_utf8("C", "C.UTF-8", "C.UTF-8"));
	cr_expect_not(pen_say_speaks_utf8(NULL, NULL, NULL));
	cr_expect_not(pen_say_speaks_utf8(NULL, NULL, "POSIX"));
}

/* What the calls between begin and end wrote to stderr. */
static int saved = -1, ends[2];

static void begin(void)
{
	cr_assert_eq(pipe(ends), 0);
	saved = dup(STDERR_FILENO);
	dup2(ends[1], STDERR_FILENO);
}

static void end(char text[4096])
{
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(ends[1]);
	ssize_t n = read(ends[0], text, 4095);

	text[n > 0 ? n : 0] = '\0';
	close(ends[0]);
}

Test(say, an_error_has_its_code_and_is_safe)
{
	char text[4096];

	begin();
	pen_say_init(PEN_COLOR_NEVER, false);
	pen_say_error(-PEN_JSON_BAD, "bad \x1b[2J%s", "name\n");
	pen_say_error(-2, "no file");
	pen_say_advice("%s", "do this");
	pen_say_advice("%s", "");
	end(text);
	cr_expect(strstr(text, "error[PEN1042]: bad \\x1b[2Jname\\x0a\n"), "%s", text);
	cr_expect(strstr(text, "error: no file\n  = do this\n"), "%s", text);
}

Test(say, colours_stand_around_the_label_only)
{
	char text[4096];

	begin();
	pen_say_init(PEN_COLOR_ALWAYS, false);
	pen_say_warning(0, "careful");
	end(text);
	cr_expect_str_eq(text, "\033[1;33mwarning\033[0m: careful\n");
}

Test(say, quiet_keeps_errors_alone)
{
	char text[4096];

	begin();
	pen_say_init(PEN_COLOR_NEVER, true);
	pen_say_note("hello");
	pen_say_closing(true, "done");
	pen_say_error(0, "broken");
	end(text);
	cr_expect_str_eq(text, "error: broken\n");
}

Test(say, a_message_takes_the_progress_line_away)
{
	char text[4096];

	begin();
	pen_say_init(PEN_COLOR_NEVER, false);
	pen_say_progress("half", 4);
	pen_say_note("news");
	pen_say_progress_end();
	pen_say_restore();
	end(text);
	/* Wrapping is off and on again in one write, the cursor never hidden. */
	cr_expect_str_eq(text, "\r\033[?7lhalf\033[K\033[?7h\r\r\033[Kpenstock: news\n");
}

Test(say, a_long_message_is_cut)
{
	char text[4096], name[20000];

	memset(name, '\x01', sizeof name - 1);
	name[sizeof name - 1] = '\0';
	begin();
	pen_say_init(PEN_COLOR_NEVER, false);
	pen_say_note("%s", name);
	end(text);
	cr_expect_eq(strncmp(text, "penstock: \\x01", 14), 0);
}

Test(say, an_excerpt_points_at_its_column)
{
	static const struct {
		const char *raw;
		uint64_t column;
		const char *line, *caret;
	} rows[] = {
		{ "{\"a\" 1}", 6, "{\"a\" 1}", "     ^" },
		{ "{\"a\" 1}", 0, "{\"a\" 1}", "" },
		{ "{\"a\" 1}", 8, "{\"a\" 1}", "       ^" },
		{ "{\"a\" 1}", 99, "{\"a\" 1}", "" },
		{ "\"é\" x", 6, "\"é\" x", "    ^" },
		{ "\"\xff\" x", 5, "\"\\xff\" x", "       ^" },
		{ "", 1, "", "^" },
		{ "0123456789012345678901234567890123456789012345678901234567890123456789", 36,
		  "...5678901234567890123456789012345678901234567890123456789012345...", NULL },
	};
	char line[PEN_EXCERPT_BYTES], caret[PEN_EXCERPT_BYTES];

	for (size_t i = 0; i < COUNT(rows) - 1; i++) {
		pen_closing_excerpt(rows[i].raw, strlen(rows[i].raw), rows[i].column, false, line, caret);
		cr_expect_str_eq(line, rows[i].line);
		cr_expect_str_eq(caret, rows[i].caret);
	}
	pen_closing_excerpt(rows[7].raw, strlen(rows[7].raw), 36, false, line, caret);
	cr_expect_eq(strncmp(line, "...", 3), 0);
	cr_expect_str_eq(line + strlen(line) - 3, "...");
	/* The caret stands below the column's character. */
	cr_expect_eq(line[strlen(caret) - 1], rows[7].raw[35]);
}

Test(home, the_settings_file_knows_two_lines)
{
	static const struct {
		const char *text;
		int status;
		const char *path;
		bool limits;
	} rows[] = {
		{ "", 0, "", false },
		{ "limits = true", 0, "", true },
		{ "limits=true # yes\nstore = 'x'\n", 0, "x", true },
		{ "limits = false\n", 0, "", false },
		{ "limits = True\n", 2, "", false },
		{ "limits = true false\n", 2, "", false },
		{ "limits\n", 2, "", false },
		{ "limits = false\nlimits = true\n", 2, "", false },
		{ "# nothing\n\n", 0, "", false },
		{ "store = \"a b\"\n", 0, "a b", false },
		{ "store='c:\\d'", 0, "c:\\d", false },
		{ "  store=\"q\\\"\\\\\" # why\r\n", 0, "q\"\\", false },
		{ "stroe = \"x\"\n", 2, "", false },
		{ "store\n", 2, "", false },
		{ "store = x\n", 2, "", false },
		{ "store = \"x\n", 2, "", false },
		{ "store = \"x\" y\n", 2, "", false },
		{ "store = \"\"\n", 2, "", false },
		{ "store = \"a\"\nstore = \"b\"\n", 2, "", false },
		{ "[section]\n", 2, "", false },
		{ "store = \"\\u0041\"\n", 2, "", false },
	};
	char path[PEN_HOME_PATH], text[4096];
	bool limits;

	for (size_t i = 0; i < COUNT(rows); i++) {
		begin();
		int status = pen_home_settings(rows[i].text, path, &limits);

		end(text);
		cr_expect_eq(status, rows[i].status, "row %zu", i);
		cr_expect_eq(status != 0, text[0] != '\0', "row %zu", i);
		if (status == 0) {
			cr_expect_str_eq(path, rows[i].path);
			cr_expect_eq(limits, rows[i].limits, "row %zu", i);
		}
	}
}
