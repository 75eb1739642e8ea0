/* SPDX-License-Identifier: MIT */
/*
 * cast_case - a ring, its reader and the lab they are in, around each test of a suite (Criterion)
 *
 *	TestSuite(noun, .init = cast_case_make, .fini = cast_case_drop);
 */
#ifndef PEN_TESTS_CAST_CASE_H
#define PEN_TESTS_CAST_CASE_H

#include <criterion/criterion.h>

#include "tests/lib/cast_lab.h"

static struct cast_lab lab;
static struct pen_cast *cast;
static struct pen_ring ring;

static inline void cast_case_make(void)
{
	if (!cast_lab_make(&lab))
		cr_skip_test("no memory file system here");
}

static inline void cast_case_drop(void)
{
	pen_ring_close(&ring);
	pen_cast_close(cast, PEN_RING_CLOSED, 0, true);
	cast_lab_drop(&lab);
}

#endif
