/* SPDX-License-Identifier: MIT */
/*
 * say - everything that goes to people on stderr
 *
 * A message is one write, so that lines of several threads never mix; what is in it is escaped
 * (pen_text_escape), so that user data cannot reach the terminal's controls. The progress line lives here
 * too: a message erases it first and it is drawn again at its next turn. It leaves no state in the terminal
 * between two writes (no hidden cursor, wrapping switched off and on in the same write), so a process that
 * dies at any instant leaves a usable one.
 *
 *	error[PEN1042]: JSON is malformed: expected ',' or '}'
 *	  --> papers.ndjson:81220:47   (byte 31882114)
 *	  = list them: penstock items 019abc --state rejected
 *
 * Threads: any, after pen_say_init().
 */
#ifndef PEN_TOOLS_SAY_H
#define PEN_TOOLS_SAY_H

#include <stdbool.h>
#include <stddef.h>

struct pen_failure;

enum pen_color { PEN_COLOR_AUTO = 0, PEN_COLOR_ALWAYS, PEN_COLOR_NEVER };

/* Pure: does a stream get colours? The environment's values may be NULL. */
bool pen_say_colored(enum pen_color choice, bool tty, const char *no_color, const char *clicolor_force,
		     const char *term);
/* Pure: do these values of LC_ALL, LC_CTYPE and LANG (NULL: not set) speak of UTF-8? */
bool pen_say_speaks_utf8(const char *lc_all, const char *lc_ctype, const char *lang);

/* Looks at the environment and at stderr. quiet: only errors are said. */
void pen_say_init(enum pen_color choice, bool quiet);
bool pen_say_utf8(void);
bool pen_say_quiet(void);
bool pen_say_color(void);
/* true when stderr is a terminal that can move its cursor. */
bool pen_say_live(void);
/* true when it is one that cannot (TERM=dumb, or none). */
bool pen_say_dumb(void);

/* "error[PENnnnn]: what" (no name for code 0 and for -errno). */
void pen_say_error(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));
void pen_say_warning(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "  = what to do"; nothing for "". */
void pen_say_advice(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* "  --> where" and similar lines under an error, as they are. */
void pen_say_line(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* "penstock: what" unless quiet. */
void pen_say_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A closing line, unless quiet: green when good. */
void pen_say_closing(bool good, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A failure of the library: its sentence and the advice of its code. Returns the exit status for it. */
int pen_say_failure(int code, const struct pen_failure *why);

/* Draws (replaces) the progress line: text of at most one row, already safe. Nothing while the process is in the
 * terminal's background. */
void pen_say_progress(const char *text, size_t len);
void pen_say_progress_end(void);
/* A line of progress that stays (plain and json). */
void pen_say_raw(const char *text, size_t len);
/* Lines of the log, already safe: above the progress line. */
void pen_say_logged(const char *text, size_t len);
/* Columns of the terminal on stderr, 0 when not known. */
unsigned pen_say_width(void);
/* What else the terminal needs at the end, async-signal-safe; NULL: nothing any more. */
void pen_say_on_restore(void (*restore)(void));
/* Async-signal-safe: takes a drawn progress line away and puts wrapping and cursor right. */
void pen_say_restore(void);

#endif
