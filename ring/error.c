/* SPDX-License-Identifier: MIT */
/*
 * error - the look-ups over the one list of codes
 *
 * A code is one of ours (-300 .. -9999), a negative errno (above -200) or unknown to this room. Every answer
 * is static storage, so all of it may run in any thread and in a signal handler, except pen_fail, which
 * formats.
 */
#include "ring/error.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ring/base.h"

struct row {
	int number;
	int status;
	const char *name;
	const char *text;
	const char *advice;
};

static const struct row rows[] = {
#define X(name_, number_, status_, text_, advice_) { number_, status_, "PEN" #number_, text_, advice_ },
	PEN_ERRORS(X)
#undef X
};

#define X(name_, number_, status_, text_, advice_) \
	_Static_assert((number_) >= 300 && (number_) <= 9999, "errno and LMDB own the other ranges");
PEN_ERRORS(X)
#undef X

#define ERRNO_MAX 199 /* ours start at 300 */

static const struct row *row_of(int code)
{
	for (size_t i = 0; i < PEN_COUNT(rows); i++)
		if (-rows[i].number == code)
			return &rows[i];
	return NULL;
}

static int errno_of(int code)
{
	return code < 0 && code >= -ERRNO_MAX ? -code : 0;
}

const char *pen_error_name(int code)
{
	const struct row *row = row_of(code);
	const char *name = NULL;

	if (row)
		return row->name;
	if (errno_of(code))
		name = strerrorname_np(errno_of(code));
	return name ? name : code == 0 ? "OK" : "UNKNOWN";
}

const char *pen_error_text(int code)
{
	const struct row *row = row_of(code);
	const char *text = NULL;

	if (row)
		return row->text;
	if (errno_of(code))
		text = strerrordesc_np(errno_of(code));
	return text ? text : code == 0 ? "no failure" : "a code this version does not know";
}

const char *pen_error_advice(int code)
{
	const struct row *row = row_of(code);

	return row ? row->advice : "";
}

int pen_error_exit(int code)
{
	const struct row *row = row_of(code);

	if (code == 0)
		return 0;
	if (row)
		return row->status;
	switch (errno_of(code)) {
	case EINVAL:
		return 2;
	case EBUSY:
	case EAGAIN:
	case ETIME:
	case ETIMEDOUT:
		return 75;
	default:
		return 3;
	}
}

int pen_error_find(const char *name)
{
	int number = 0;

	if (!strncasecmp(name, "PEN", 3))
		name += 3;
	if (!*name)
		return 0;
	for (; *name; name++) {
		if (!isdigit((unsigned char)*name) || number > 9999)
			return 0;
		number = number * 10 + (*name - '0');
	}
	return number && row_of(-number) ? -number : 0;
}

int pen_error_at(size_t i)
{
	return i < PEN_COUNT(rows) ? -rows[i].number : 0;
}

/* Cuts an incomplete character off the end, so that a text truncated by its buffer stays valid UTF-8. */
static void trim_utf8(char *text, size_t len)
{
	size_t back = 0;

	while (back < 3 && back < len && ((unsigned char)text[len - 1 - back] & 0xc0) == 0x80)
		back++;
	if (back < len) {
		unsigned char lead = (unsigned char)text[len - 1 - back];
		size_t want = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : lead >= 0xc0 ? 1 : 0;

		if (back < want)
			text[len - 1 - back] = '\0';
	}
}

int(pen_fail)(struct pen_failure *why, int code, int os_errno, const char *format, ...)
{
	va_list args;
	int n;

	if (!why || why->code)
		return code;
	va_start(args, format);
	n = vsnprintf(why->text, sizeof(why->text), format, args);
	va_end(args);
	if (n < 0)
		why->text[0] = '\0';
	else if ((size_t)n >= sizeof(why->text))
		trim_utf8(why->text, sizeof(why->text) - 1);
	/* Paths and input may hold anything; the text is one line. */
	for (char *c = why->text; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	why->os_errno = os_errno;
	why->code = code;
	return code;
}
