/* SPDX-License-Identifier: MIT */
/*
 * error - filling a struct pen_failure
 *
 * The list of codes is include/penstock_error.h; error.c implements the public look-ups over it
 * (pen_error_name and friends) and nothing else knows the list's columns.
 */
#ifndef PEN_RING_ERROR_H
#define PEN_RING_ERROR_H

#include "include/penstock.h"

/*
 * Fills *why (if not NULL, and if empty: the first failure wins) and returns code. os_errno is positive
 * or 0. The text says what and where; name, meaning and advice are looked up by whoever prints it.
 */
int pen_fail(struct pen_failure *why, int code, int os_errno, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

#ifdef __clang_analyzer__
/* The analyzer does not see into error.c: a failure is never 0. */
static inline int pen_fail_code(int code)
{
	if (code >= 0)
		__builtin_trap();
	return code;
}
#define pen_fail(why, code, ...) (pen_fail(why, code, __VA_ARGS__), pen_fail_code(code))
#endif

#endif
