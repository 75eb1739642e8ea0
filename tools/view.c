/* SPDX-License-Identifier: MIT */
#include "tools/view.h"

#define NCURSES_WIDECHAR 1
#include <curses.h>
#include <fcntl.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <term.h>
#include <termios.h>
#include <unistd.h>
#include <wchar.h>

#include "tools/say.h"

#define ROW_BYTES 4096

static struct {
	SCREEN *screen;
	FILE *keys;
	int fd;
	bool utf8;
	struct termios before; /* what a signal handler puts back ... */
	char undo[256];	       /* ... and what it sends */
	size_t undo_len;
	attr_t rows[512];
} view;

/* Async-signal-safe, as endwin() is not. */
static void restore(void)
{
	struct pollfd out = { .fd = STDOUT_FILENO, .events = POLLOUT };

	(void)tcsetattr(view.fd, TCSANOW, &view.before);
	if (poll(&out, 1, 0) == 1 && (out.revents & POLLOUT) &&
	    write(STDOUT_FILENO, view.undo, view.undo_len) < 0)
		return;
}

static void remember(const char *capability)
{
	/* No padding: it is a matter of serial lines, and the parts between "$<" and ">" are left out. */
	for (const char *p = capability; p && *p && view.undo_len + 1 < sizeof view.undo; p++) {
		if (p[0] == '$' && p[1] == '<' && strchr(p, '>'))
			p = strchr(p, '>');
		else
			view.undo[view.undo_len++] = *p;
	}
}

static bool open_keyboard(void)
{
	view.fd = isatty(STDIN_FILENO) ? dup(STDIN_FILENO)
				       : open("/dev/tty", O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (view.fd < 0)
		return false;
	view.keys = fdopen(view.fd, "r");
	if (view.keys && tcgetattr(view.fd, &view.before) == 0)
		return true;
	if (view.keys)
		fclose(view.keys);
	else
		close(view.fd);
	return false;
}

static void start_color_pairs(void)
{
	static const short colors[] = { COLOR_GREEN, COLOR_YELLOW, COLOR_RED, COLOR_CYAN };

	if (!has_colors() || start_color() == ERR)
		return;
	use_default_colors();
	for (short i = 0; i < (short)(sizeof colors / sizeof colors[0]); i++)
		init_pair((short)(i + 1), colors[i], -1);
}

bool pen_view_open(bool color)
{
	const char *term = getenv("TERM");

	if (view.screen || !isatty(STDOUT_FILENO) || !term || !*term || !strcmp(term, "dumb"))
		return false;
	/* A locale that is asked for but not installed: its characters are still what the terminal shows. */
	if (strcmp(nl_langinfo(CODESET), "UTF-8") != 0 && pen_say_utf8())
		setlocale(LC_CTYPE, "C.UTF-8");
	view.utf8 = pen_say_utf8() && strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
	if (!open_keyboard())
		return false;
	view.screen = newterm(NULL, stdout, view.keys);
	if (!view.screen || !cursor_address) {
		if (view.screen) {
			endwin();
			delscreen(view.screen);
			view.screen = NULL;
		}
		fclose(view.keys);
		return false;
	}
	view.undo_len = 0;
	remember(exit_attribute_mode);
	remember(orig_pair);
	remember(cursor_normal);
	remember(exit_ca_mode);
	remember(keypad_local);
	pen_say_on_restore(restore);
	if (color)
		start_color_pairs();
	cbreak();
	noecho();
	nonl();
	set_escdelay(25);
	keypad(stdscr, TRUE);
	nodelay(stdscr, TRUE);
	curs_set(0);
	return true;
}

void pen_view_close(void)
{
	if (!view.screen)
		return;
	endwin();
	pen_say_on_restore(NULL);
	delscreen(view.screen);
	view.screen = NULL;
	fclose(view.keys);
}

void pen_view_size(unsigned *ret_rows, unsigned *ret_columns)
{
	*ret_rows = (unsigned)LINES;
	*ret_columns = (unsigned)COLS;
}

bool pen_view_utf8(void)
{
	return view.utf8;
}

static attr_t attribute(enum pen_view_look look)
{
	static const attr_t plain[] = {
		[PEN_LOOK_PLAIN] = A_NORMAL, [PEN_LOOK_BOLD] = A_BOLD,	    [PEN_LOOK_DIM] = A_DIM,
		[PEN_LOOK_GOOD] = A_NORMAL,  [PEN_LOOK_WARN] = A_BOLD,	    [PEN_LOOK_BAD] = A_BOLD,
		[PEN_LOOK_HEAD] = A_REVERSE, [PEN_LOOK_CHOSEN] = A_REVERSE,
	};
	static const short pairs[] = { [PEN_LOOK_GOOD] = 1, [PEN_LOOK_WARN] = 2, [PEN_LOOK_BAD] = 3 };

	if (look >= PEN_LOOK_GOOD && look <= PEN_LOOK_BAD && COLOR_PAIRS > 3)
		return plain[look] | (attr_t)COLOR_PAIR(pairs[look]);
	return plain[look];
}

void pen_view_begin(void)
{
	erase();
	memset(view.rows, 0, sizeof view.rows);
}

void pen_view_row(unsigned row, enum pen_view_look look)
{
	if (row >= (unsigned)LINES || row >= sizeof view.rows / sizeof view.rows[0])
		return;
	view.rows[row] = attribute(look);
	attrset(view.rows[row]);
	for (int column = 0; column < COLS; column++)
		mvaddch((int)row, column, ' ');
	attrset(A_NORMAL);
}

/* How many of n characters take at most so many columns: the library would go on in the next row. */
static int fitting(const wchar_t *text, size_t n, int room)
{
	int count = 0;

	for (; count < (int)n; count++) {
		int width = wcwidth(text[count]);

		room -= width > 0 ? width : 0;
		if (room < 0)
			break;
	}
	return count;
}

void pen_view_put(unsigned row, unsigned column, enum pen_view_look look, const char *text)
{
	if (row >= (unsigned)LINES || column >= (unsigned)COLS)
		return;
	attrset(attribute(look) | (row < sizeof view.rows / sizeof view.rows[0] ? view.rows[row] : 0));
	if (view.utf8) {
		wchar_t wide[ROW_BYTES];
		size_t n = mbstowcs(wide, text, ROW_BYTES - 1);

		if (n != (size_t)-1)
			mvaddnwstr((int)row, (int)column, wide, fitting(wide, n, COLS - (int)column));
	} else {
		char ascii[ROW_BYTES];
		int n = 0;

		for (; *text && n < ROW_BYTES; text++)
			if (((unsigned char)*text & 0xc0) != 0x80)
				ascii[n++] = (unsigned char)*text < 0x80 ? *text : '?';
		mvaddnstr((int)row, (int)column, ascii, n < COLS - (int)column ? n : COLS - (int)column);
	}
	attrset(A_NORMAL);
}

void pen_view_show(void)
{
	refresh();
}

static int translated(wint_t key)
{
	switch (key) {
	case KEY_UP:
		return PEN_KEY_UP;
	case KEY_DOWN:
		return PEN_KEY_DOWN;
	case KEY_PPAGE:
		return PEN_KEY_PAGE_UP;
	case KEY_NPAGE:
		return PEN_KEY_PAGE_DOWN;
	case KEY_HOME:
		return PEN_KEY_HOME;
	case KEY_END:
		return PEN_KEY_END;
	case KEY_ENTER:
		return PEN_KEY_ENTER;
	case KEY_BACKSPACE:
		return PEN_KEY_BACK;
	default:
		return PEN_KEY_NONE; /* among them KEY_RESIZE */
	}
}

int pen_view_key(int timeout_ms)
{
	struct pollfd in = { .fd = view.fd, .events = POLLIN };
	wint_t key;
	int rc = wget_wch(stdscr, &key); /* what is buffered already */

	if (rc == ERR) {
		if (poll(&in, 1, timeout_ms) == 1 && (in.revents & (POLLHUP | POLLERR | POLLNVAL)))
			return PEN_KEY_GONE;
		rc = wget_wch(stdscr, &key);
	}
	if (rc == ERR)
		return PEN_KEY_NONE;
	if (rc == KEY_CODE_YES)
		return translated(key);
	if (key == '\r' || key == '\n')
		return PEN_KEY_ENTER;
	if (key == 27)
		return PEN_KEY_ESCAPE;
	if (key == 8 || key == 127)
		return PEN_KEY_BACK;
	return (int)key;
}
