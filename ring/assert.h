/* SPDX-License-Identifier: MIT */
/*
 * assert - a bug in our code ends the process, in release builds too
 *
 *   pen_assert        cheap, always on
 *   pen_assert_slow   whole-structure checks, in debug and sanitizer builds
 *   PEN_UNREACHABLE   a case that cannot happen; reaching it is a bug
 *
 * A failure of the world (disk, input, kernel) is never an assert: it is a code.
 */
#ifndef PEN_RING_ASSERT_H
#define PEN_RING_ASSERT_H

_Noreturn void pen_assert_fail(const char *file, int line, const char *what);

#define pen_assert(cond) \
	(__builtin_expect(!!(cond), 1) ? (void)0 : pen_assert_fail(__FILE__, __LINE__, #cond))

#ifdef PEN_DEBUG
#define pen_assert_slow(cond) pen_assert(cond)
#else
#define pen_assert_slow(cond) ((void)0)
#endif

#define PEN_UNREACHABLE() pen_assert_fail(__FILE__, __LINE__, "unreachable")

#endif
