/* SPDX-License-Identifier: MIT */
#include "tools/say.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "include/penstock.h"
#include "tools/text.h"

#define MESSAGE_BYTES 8192u

static struct {
	pthread_mutex_t lock; /* one message at a time */
	bool color, quiet, utf8, live, dumb;
	atomic_bool drawn;	       /* a progress line stands on the terminal; read by signal handlers */
	void (*_Atomic restore)(void); /* of a full screen; read by signal handlers */
} say = { .lock = PTHREAD_MUTEX_INITIALIZER };

bool pen_say_colored(enum pen_color choice, bool tty, const char *no_color, const char *clicolor_force,
		     const char *term)
{
	if (choice != PEN_COLOR_AUTO)
		return choice == PEN_COLOR_ALWAYS;
	if (no_color && *no_color)
		return false;
	if (clicolor_force && *clicolor_force && strcmp(clicolor_force, "0") != 0)
		return true;
	return tty && term && *term && strcmp(term, "dumb") != 0;
}

bool pen_say_speaks_utf8(const char *lc_all, const char *lc_ctype, const char *lang)
{
	const char *name = lc_all && *lc_all ? lc_all : lc_ctype && *lc_ctype ? lc_ctype : lang;

	return name && (strcasestr(name, "utf-8") || strcasestr(name, "utf8"));
}

void pen_say_init(enum pen_color choice, bool quiet)
{
	const char *term = getenv("TERM");
	bool tty = isatty(STDERR_FILENO);

	say.color = pen_say_colored(choice, tty, getenv("NO_COLOR"), getenv("CLICOLOR_FORCE"), term);
	say.utf8 = pen_say_speaks_utf8(getenv("LC_ALL"), getenv("LC_CTYPE"), getenv("LANG"));
	say.live = tty && term && *term && strcmp(term, "dumb") != 0;
	say.dumb = tty && !say.live;
	say.quiet = quiet;
}

bool pen_say_utf8(void)
{
	return say.utf8;
}

bool pen_say_quiet(void)
{
	return say.quiet;
}

bool pen_say_color(void)
{
	return say.color;
}

bool pen_say_live(void)
{
	return say.live;
}

bool pen_say_dumb(void)
{
	return say.dumb;
}

static void put_all(const char *text, size_t len)
{
	while (len > 0) {
		ssize_t n = write(STDERR_FILENO, text, len);

		if (n < 0 && errno != EINTR)
			return; /* nobody listens: the work goes on */
		if (n > 0) {
			text += n;
			len -= (size_t)n;
		}
	}
}

#define ERASE "\r\033[K"

/* One message: head (ours, may hold colours), the escaped text, newline. */
__attribute__((format(printf, 2, 0))) static void message(const char *head, const char *format, va_list args)
{
	char text[MESSAGE_BYTES / 2], line[MESSAGE_BYTES];
	int len = vsnprintf(text, sizeof text, format, args);
	size_t at;

	if (len < 0)
		return;
	if ((size_t)len >= sizeof text)
		len = (int)sizeof text - 1;
	pthread_mutex_lock(&say.lock);
	bool drawn = atomic_exchange_explicit(&say.drawn, false, memory_order_relaxed);

	at = (size_t)snprintf(line, sizeof line / 2, "%s%s", drawn ? ERASE : "", head);
	at += pen_text_escape(line + at, sizeof line - at - 1, text, (size_t)len, NULL);
	line[at++] = '\n';
	put_all(line, at);
	pthread_mutex_unlock(&say.lock);
}

/* "error[PEN1042]: " in the kind's colour. errno codes have a name that tells people nothing. */
__attribute__((format(printf, 4, 0))) static void labelled(const char *kind, const char *color, int code,
							   const char *format, va_list args)
{
	char head[96], name[40] = "";

	if (code <= -200)
		snprintf(name, sizeof name, "[%s]", pen_error_name(code));
	snprintf(head, sizeof head, "%s%s%s%s: ", say.color ? color : "", kind, name,
		 say.color ? "\033[0m" : "");
	message(head, format, args);
}

void pen_say_error(int code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	labelled("error", "\033[1;31m", code, format, args);
	va_end(args);
}

void pen_say_warning(int code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	labelled("warning", "\033[1;33m", code, format, args);
	va_end(args);
}

void pen_say_advice(const char *format, ...)
{
	va_list args;

	if (*format == '\0')
		return;
	va_start(args, format);
	message("  = ", format, args);
	va_end(args);
}

void pen_say_line(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	message("", format, args);
	va_end(args);
}

void pen_say_note(const char *format, ...)
{
	va_list args;

	if (say.quiet)
		return;
	va_start(args, format);
	message("penstock: ", format, args);
	va_end(args);
}

void pen_say_closing(bool good, const char *format, ...)
{
	char head[32];
	va_list args;

	if (say.quiet)
		return;
	snprintf(head, sizeof head, "%s%s%s ",
		 !say.color ? ""
		 : good	    ? "\033[32m"
			    : "\033[33m",
		 say.utf8 ? (good ? "✓" : "!")
		 : good	  ? "ok"
			  : "!",
		 say.color ? "\033[0m" : "");
	va_start(args, format);
	message(head, format, args);
	va_end(args);
}

int pen_say_failure(int code, const struct pen_failure *why)
{
	const char *advice = pen_error_advice(code);

	pen_say_error(code, "%s", why && why->text[0] ? why->text : pen_error_text(code));
	if (*advice)
		pen_say_advice("%s", advice);
	return pen_error_exit(code);
}

/* The terminal belongs to another job: drawing would go into its screen, or stop us (stty tostop). */
static bool background(void)
{
	pid_t owner = tcgetpgrp(STDERR_FILENO);

	return owner > 0 && owner != getpgrp();
}

void pen_say_progress(const char *text, size_t len)
{
	char line[2048];
	int n = snprintf(line, sizeof line, "\r\033[?7l%.*s\033[K\033[?7h\r", (int)len, text);

	if (n < 0 || (size_t)n >= sizeof line || background())
		return;
	pthread_mutex_lock(&say.lock);
	atomic_store_explicit(&say.drawn, true, memory_order_relaxed);
	put_all(line, (size_t)n);
	pthread_mutex_unlock(&say.lock);
}

void pen_say_progress_end(void)
{
	pthread_mutex_lock(&say.lock);
	if (atomic_exchange_explicit(&say.drawn, false, memory_order_relaxed))
		put_all(ERASE, sizeof ERASE - 1);
	pthread_mutex_unlock(&say.lock);
}

void pen_say_raw(const char *text, size_t len)
{
	pthread_mutex_lock(&say.lock);
	put_all(text, len);
	pthread_mutex_unlock(&say.lock);
}

void pen_say_logged(const char *text, size_t len)
{
	pthread_mutex_lock(&say.lock);
	if (atomic_exchange_explicit(&say.drawn, false, memory_order_relaxed))
		put_all(ERASE, sizeof ERASE - 1);
	put_all(text, len);
	pthread_mutex_unlock(&say.lock);
}

unsigned pen_say_width(void)
{
	struct winsize size;

	return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

void pen_say_on_restore(void (*restore)(void))
{
	atomic_store_explicit(&say.restore, restore, memory_order_relaxed);
}

void pen_say_restore(void)
{
	static const char right[] = "\033[?7h\033[?25h" ERASE;
	struct pollfd out = { .fd = STDERR_FILENO, .events = POLLOUT };
	void (*restore)(void) = atomic_load_explicit(&say.restore, memory_order_relaxed);

	if (restore)
		restore();
	/* A terminal that was stopped (Ctrl-S) must not keep the process from ending. */
	if (poll(&out, 1, 0) != 1 || !(out.revents & POLLOUT))
		return;
	if (atomic_exchange_explicit(&say.drawn, false, memory_order_relaxed))
		if (write(STDERR_FILENO, right, sizeof right - 1) < 0)
			return;
}
