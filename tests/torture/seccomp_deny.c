/* SPDX-License-Identifier: MIT */
/*
 * seccomp_deny - run a command to which some system calls are denied
 *
 *	seccomp_deny ERRNO CALL[,CALL...] -- COMMAND [ARGUMENT...]
 *
 * The named calls fail with ERRNO, a number (1: EPERM, 38: ENOSYS; 0: the process is killed). The filter is
 * inherited by everything COMMAND starts. Exit status: the command's; 2 usage, 126 the filter was refused, 127
 * the command cannot be run.
 */
#include <errno.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CALL_MAX 64

/* Adds one name of the list, which ends at a comma or the string's end; returns where the next one starts. */
static const char *deny(scmp_filter_ctx filter, uint32_t action, const char *list)
{
	size_t len = strcspn(list, ",");
	char name[CALL_MAX];
	int call, err;

	if (!len || len >= sizeof name) {
		fprintf(stderr, "seccomp_deny: an empty or overlong name in the list\n");
		exit(2);
	}
	memcpy(name, list, len);
	name[len] = 0;
	call = seccomp_syscall_resolve_name(name);
	if (call == __NR_SCMP_ERROR) {
		fprintf(stderr, "seccomp_deny: there is no system call %s\n", name);
		exit(2);
	}
	err = seccomp_rule_add(filter, action, call, 0);
	if (err) {
		fprintf(stderr, "seccomp_deny: no rule for %s: %s\n", name, strerror(-err));
		exit(126);
	}
	return list[len] ? list + len + 1 : NULL;
}

int main(int argc, char **argv)
{
	char *end;
	long number;
	uint32_t action;
	scmp_filter_ctx filter;
	int err;

	if (argc < 5 || strcmp(argv[3], "--") != 0) {
		fprintf(stderr, "usage: seccomp_deny ERRNO CALL[,CALL...] -- COMMAND [ARGUMENT...]\n");
		return 2;
	}
	number = strtol(argv[1], &end, 10);
	if (end == argv[1] || *end || number < 0 || number > 4095) {
		fprintf(stderr, "seccomp_deny: %s is no errno\n", argv[1]);
		return 2;
	}
	action = number ? SCMP_ACT_ERRNO((uint32_t)number) : SCMP_ACT_KILL_PROCESS;
	filter = seccomp_init(SCMP_ACT_ALLOW);
	if (!filter)
		return 126;
	for (const char *list = argv[2]; list;)
		list = deny(filter, action, list);
	err = seccomp_load(filter);
	if (err) {
		fprintf(stderr, "seccomp_deny: the filter was refused: %s\n", strerror(-err));
		return 126;
	}
	execvp(argv[4], argv + 4);
	fprintf(stderr, "seccomp_deny: %s: %s\n", argv[4], strerror(errno));
	return 127;
}
