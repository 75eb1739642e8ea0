/* SPDX-License-Identifier: MIT */
#include "tools/hook.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/say.h"

extern char **environ;

#define OWN 4

static int start(char *command, char **env, pid_t *ret)
{
	char *argv[] = { (char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c", command, NULL };
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none;
	int rc;

	sigemptyset(&none);
	posix_spawn_file_actions_init(&files);
	posix_spawnattr_init(&attr);
	posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&files, STDERR_FILENO, STDOUT_FILENO);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
	posix_spawnattr_setsigmask(&attr, &none);
	rc = posix_spawn(ret, "/bin/sh", &files, &attr, argv, env);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attr);
	return -rc;
}

/* Its status, or -1 when it had to be killed. */
static int await(pid_t pid)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0), status = 0, rc = 1;
	struct pollfd p = { .fd = fd, .events = POLLIN };

	if (fd >= 0) {
		do
			rc = poll(&p, 1, PEN_HOOK_SECONDS * 1000);
		while (rc < 0 && errno == EINTR);
		(void)close(fd);
	}
	if (rc <= 0)
		(void)kill(-pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return rc <= 0 ? -1 : status;
}

static void log_hook(const struct pen_batch_info *info, const char *command, int status)
{
	const struct pen_log_context context = { .user_id = info->owner,
						 .correlation_id = info->correlation_id,
						 .batch = info->id,
						 .module = PEN_LOG_IN_TOOLS };
	const struct pen_log_field fields[] = {
		PEN_LOG_TEXT("command", command),
		PEN_LOG_I64("exitStatus", status >= 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1),
	};

	(void)pen_log_external(&context, "hook", "on_complete", !status, 0, fields, 2);
}

static int run(struct pen_store *store, const struct pen_hook *hook)
{
	char batch[64], state[64], home[4200], summary[512];
	char *own[OWN] = { batch, state, home, summary }, **env;
	struct pen_batch_info info;
	size_t n = 0;
	pid_t pid;
	int rc = pen_batch_get(store, hook->batch, &info), status;

	if (rc)
		return rc;
	while (environ[n])
		n++;
	env = calloc(n + OWN + 1, sizeof *env);
	if (!env)
		return -PEN_MEMORY;
	(void)snprintf(batch, sizeof batch, "PENSTOCK_BATCH=%016" PRIx64, info.id);
	(void)snprintf(state, sizeof state, "PENSTOCK_STATE=%s", pen_state_name(info.state));
	(void)snprintf(home, sizeof home, "PENSTOCK_STORE=%s", pen_store_path(store));
	(void)snprintf(summary, sizeof summary,
		       "PENSTOCK_SUMMARY={\"batch\":\"%016" PRIx64 "\",\"state\":\"%s\",\"items\":%" PRIu64
		       ",\"committed\":%" PRIu64 ",\"rejected\":%" PRIu64 ",\"failed\":%" PRIu64
		       ",\"skipped\":%" PRIu64 "}",
		       info.id, pen_state_name(info.state), info.counted.items, info.counted.committed,
		       info.counted.rejected, info.counted.failed, info.counted.skipped);
	memcpy(env, own, sizeof own);
	n = OWN;
	for (char **e = environ; *e; e++)
		if (strncmp(*e, "PENSTOCK_", 9) != 0)
			env[n++] = *e;
	rc = start(hook->command, env, &pid);
	free(env);
	if (rc) {
		pen_say_warning(rc, "batch %016" PRIx64 ": its command cannot be started", info.id);
		return 0;
	}
	status = await(pid);
	log_hook(&info, hook->command, status);
	if (status)
		pen_say_warning(0, "batch %016" PRIx64 ": its command %s %d", info.id,
				status < 0	    ? "was killed after"
				: WIFEXITED(status) ? "ended with"
						    : "died of signal",
				status < 0	    ? PEN_HOOK_SECONDS
				: WIFEXITED(status) ? WEXITSTATUS(status)
						    : WTERMSIG(status));
	return 0;
}

int pen_hook_run_all(struct pen_store *store)
{
	struct pen_hook hook;
	int rc;

	while ((rc = pen_hook_next(store, &hook)) == 1) {
		struct pen_failure why = { 0 };

		(void)run(store, &hook); /* it is not owed twice because it went wrong */
		rc = pen_hook_done(store, &hook, &why);
		if (rc)
			return rc;
	}
	return rc;
}
