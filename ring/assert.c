/* SPDX-License-Identifier: MIT */
#include "ring/assert.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

_Noreturn void pen_assert_fail(const char *file, int line, const char *what)
{
	char text[512];
	int n = snprintf(text, sizeof(text), "penstock: bug: %s:%d: %s\n", file, line, what);

	if (n >= (int)sizeof(text))
		n = (int)sizeof(text) - 1;
	/* write, not stdio: the bug may be in a thread that died holding stdio's lock. */
	if (n > 0 && write(STDERR_FILENO, text, (size_t)n) < 0)
		abort(); /* nobody reads stderr; the core still tells */
	abort();
}
