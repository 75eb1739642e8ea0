/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/launcher.h"

/* These tests' program is its own launcher, before Criterion looks at its arguments. */
__attribute__((constructor)) static void be_launcher(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "launcher") == 0)
		_exit(pen_launcher_main(3));
}

static struct pen_launcher *open_launcher(uint32_t jobs, uint32_t slots)
{
	const struct pen_launcher_options opt = { .program = "/proc/self/exe", .jobs = jobs, .slots = slots };
	struct pen_launcher *launcher = NULL;
	struct pen_failure why = { 0 };

	cr_assert_eq(pen_launcher_open(&launcher, &opt, &why), 0, "%s", why.text);
	return launcher;
}

/* stdout goes into *ret_out, if it is not NULL. */
static void spawn(struct pen_launcher *launcher, uint64_t tag, const char *script, uint64_t timeout_ns,
		  int *ret_out)
{
	const char *argv[] = { "sh", "-c", script, NULL };
	const char *env[] = { "PENSTOCK_ATTEMPT=4", NULL };
	int pair[2] = { -1, -1 };
	struct pen_launch launch = { .tag = tag,
				     .path = "/bin/sh",
				     .argv = argv,
				     .env = env,
				     .timeout_ns = timeout_ns,
				     .grace_ns = 50000000 };

	if (ret_out)
		cr_assert_eq(pipe2(pair, O_CLOEXEC), 0);
	for (int i = 0; i < 3; i++)
		launch.fd[i] = i == 1 && ret_out ? pair[1] : open("/dev/null", O_RDWR | O_CLOEXEC);
	cr_assert_eq(pen_launcher_spawn(launcher, &launch), 0);
	if (ret_out)
		*ret_out = pair[0];
}

static struct pen_launch_end wait_end(struct pen_launcher *launcher)
{
	static struct pen_launch_end ends[PEN_LAUNCH_ENDS];
	static uint32_t count;
	bool gone = false;

	while (!count) {
		struct pollfd wait = { .fd = pen_launcher_fd(launcher), .events = POLLIN };

		cr_assert_eq(pen_launcher_flush(launcher), 0);
		cr_assert_eq(poll(&wait, 1, 20000), 1);
		count = pen_launcher_ends(launcher, ends, PEN_LAUNCH_ENDS, &gone);
		cr_assert_not(gone);
	}
	return ends[--count];
}

Test(launcher, tells_how_children_end, .timeout = 60)
{
	struct pen_launcher *launcher = open_launcher(1, 4);
	struct pen_launch_end end;

	spawn(launcher, 1, "exit 3", 0, NULL);
	end = wait_end(launcher);
	cr_expect(end.tag == 1 && WIFEXITED(end.status) && WEXITSTATUS(end.status) == 3 && !end.os_errno &&
		  end.pid > 1);
	cr_expect(end.started_ns && end.ended_ns > end.started_ns && end.rss_kib);
	spawn(launcher, 2, "kill -9 $$", 0, NULL);
	end = wait_end(launcher);
	cr_expect(end.tag == 2 && WIFSIGNALED(end.status) && WTERMSIG(end.status) == SIGKILL);
	pen_launcher_close(launcher);
}

Test(launcher, gives_descriptors_and_environment, .timeout = 60)
{
	struct pen_launcher *launcher = open_launcher(1, 4);
	char text[256] = "";
	int out;

	spawn(launcher, 1, "echo $PENSTOCK_ATTEMPT /proc/self/fd/*", 0, &out);
	(void)wait_end(launcher);
	cr_assert(read(out, text, sizeof(text) - 1) > 0);
	/* A shell that expands the pattern has the directory open meanwhile. */
	cr_expect_str_eq(text, "4 /proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 /proc/self/fd/3\n");
	close(out);
	pen_launcher_close(launcher);
}

Test(launcher, what_waits_can_be_taken_back, .timeout = 60)
{
	struct pen_launcher *launcher = open_launcher(1, 3);
	struct pen_launch_end end;

	spawn(launcher, 1, "exec sleep 1000", 0, NULL);
	spawn(launcher, 2, "exit 0", 0, NULL);
	spawn(launcher, 3, "exit 7", 0, NULL);
	cr_assert_eq(pen_launcher_flush(launcher), 0);
	pen_launcher_kill(launcher, 2, SIGTERM, 1);
	end = wait_end(launcher);
	cr_expect(end.tag == 2 && end.os_errno == ECANCELED && !end.started_ns);
	pen_launcher_kill(launcher, 1, SIGTERM, 1000000000);
	end = wait_end(launcher);
	cr_expect(end.tag == 1 && WTERMSIG(end.status) == SIGTERM);
	end = wait_end(launcher);
	cr_expect(end.tag == 3 && WEXITSTATUS(end.status) == 7);
	pen_launcher_close(launcher);
}

Test(launcher, time_outs_are_soft_then_hard, .timeout = 60)
{
	struct pen_launcher *launcher = open_launcher(2, 2);
	struct pen_launch_end end;

	spawn(launcher, 1, "exec sleep 1000", 20000000, NULL);
	end = wait_end(launcher);
	cr_expect(end.timed_out && WTERMSIG(end.status) == SIGTERM);
	spawn(launcher, 2, "trap '' TERM; while :; do sleep 1000; done", 20000000, NULL);
	end = wait_end(launcher);
	cr_expect(end.timed_out && WTERMSIG(end.status) == SIGKILL);
	pen_launcher_close(launcher);
}

Test(launcher, what_cannot_run_is_told, .timeout = 60)
{
	struct pen_launcher *launcher = open_launcher(1, 2);
	const char *argv[] = { "x", NULL };
	struct pen_launch launch = { .tag = 9, .path = "/nonexistent", .argv = argv };
	struct pen_launch_end end;

	for (int i = 0; i < 3; i++)
		launch.fd[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
	cr_assert_eq(pen_launcher_spawn(launcher, &launch), 0);
	end = wait_end(launcher);
	cr_expect(end.tag == 9 && end.os_errno == ENOENT && !end.started_ns);
	pen_launcher_close(launcher);
}

/* Goal: a closed launcher leaves nobody, not even what ran away from its group. */
Test(launcher, close_ends_everything, .timeout = 60)
{
	struct pen_launcher *launcher = open_launcher(2, 2);
	char text[64] = "";
	pid_t pid;
	int out;

	spawn(launcher, 1, "setsid sh -c 'echo $$; exec sleep 1000' & wait", 0, &out);
	cr_assert_eq(pen_launcher_flush(launcher), 0);
	cr_assert(read(out, text, sizeof(text) - 1) > 0);
	pid = (pid_t)strtol(text, NULL, 10);
	cr_assert(pid > 1 && kill(pid, 0) == 0);
	pen_launcher_close(launcher);
	cr_expect(kill(pid, 0) < 0 && errno == ESRCH);
	close(out);
}

Test(launcher, too_long_is_refused)
{
	struct pen_launcher *launcher = open_launcher(1, 1);
	char *text = malloc(PEN_LAUNCH_BYTES + 1);
	const char *argv[] = { "x", text, NULL };
	struct pen_launch launch = { .tag = 1, .path = "/bin/true", .argv = argv, .fd = { -1, -1, -1 } };

	memset(text, 'x', PEN_LAUNCH_BYTES);
	text[PEN_LAUNCH_BYTES] = '\0';
	cr_expect_eq(pen_launcher_spawn(launcher, &launch), -E2BIG);
	free(text);
	pen_launcher_close(launcher);
}

Test(launcher, another_program_is_no_launcher)
{
	const struct pen_launcher_options opt = { .program = "/bin/true", .jobs = 1, .slots = 1 };
	struct pen_launcher *launcher = NULL;
	struct pen_failure why = { 0 };

	cr_expect_eq(pen_launcher_open(&launcher, &opt, &why), -PEN_CHILD_LAUNCHER);
	cr_expect_null(launcher);
	cr_expect_not_null(strstr(why.text, "/bin/true"));
}
