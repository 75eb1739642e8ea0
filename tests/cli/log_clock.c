/* SPDX-License-Identifier: MIT */
/* log_clock - loaded before a command: its wall clock is PEN_CLOCK_SHIFT seconds off. Built by tests/cli/log.py. */
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t id, struct timespec *t)
{
	const char *shift = getenv("PEN_CLOCK_SHIFT");
	long rc = syscall(SYS_clock_gettime, id, t);

	if (!rc && id == CLOCK_REALTIME && shift)
		t->tv_sec += strtol(shift, NULL, 10);
	return (int)rc;
}
