/* SPDX-License-Identifier: MIT */
/*
 * The side that asks. Launches gather in one message (a buffer and their descriptors) until flush, or until the
 * next one does not fit; kills have messages of their own and are sent at once, so they go behind what is gathered:
 * flush comes first.
 *
 * The launcher is started with posix_spawn, which shares this process's memory until the exec instead of copying
 * its page tables: with a large map a fork would take milliseconds and double the dirty pages.
 *
 * A launcher that is gone (killed by hand or for want of memory) shows as the end of the socket. Its children have
 * died with it (PR_SET_PDEATHSIG); what they had started has not. It belongs to the launcher's session, which close
 * ends. As long as the launcher is not waited for, no other session can have that number.
 */
#include "engine/launcher.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "engine/launcher_private.h"
#include "ring/assert.h"
#include "ring/base.h"
#include "ring/error.h"

#define READY_MS 20000	/* a busy machine, a cold disk */
#define KILLS 64u	/* that wait for the socket */
#define SESSION_MS 5000 /* most that close waits for the end of a session whose launcher was killed */

extern char **environ;

struct pen_launcher {
	char *tmpdir; /* NULL: none */
	int fd;
	pid_t pid;
	bool gone;
	uint32_t records; /* in message */
	uint32_t len;	  /* of message */
	uint32_t kills;
	struct pen_launch_kill kill[KILLS];
	int fds[3 * PEN_LAUNCH_BATCH];
	_Alignas(8) unsigned char message[PEN_LAUNCH_MESSAGE];
};

/* ---- the program ---- */

static bool is_penstock(void)
{
	char exe[4096];
	ssize_t len = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	const char *name;

	if (len <= 0)
		return false;
	exe[len] = '\0';
	name = strrchr(exe, '/');
	/* A running program whose file was replaced is called "penstock (deleted)". */
	return name && strncmp(name, "/penstock", 9) == 0 &&
	       (!name[9] || strcmp(name + 9, " (deleted)") == 0);
}

static bool can_run(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

static bool on_path(char *to, size_t cap)
{
	const char *path = getenv("PATH");

	for (path = path ? path : "/usr/local/bin:/usr/bin:/bin"; *path;) {
		size_t len = strcspn(path, ":");

		if (len && snprintf(to, cap, "%.*s/penstock", (int)len, path) < (int)cap && can_run(to))
			return true;
		path += len + (path[len] == ':');
	}
	return false;
}

static int find_program(const char *given, char *to, size_t cap, struct pen_failure *why)
{
	const char *set = getenv("PENSTOCK_LAUNCHER");

	if (!given)
		given = is_penstock() ? "/proc/self/exe" : set && *set ? set : NULL;
	if (given) {
		if (strlen(given) >= cap)
			return pen_fail(why, -PEN_CHILD_LAUNCHER, ENAMETOOLONG,
					"its path has more than %zu bytes", cap - 1);
		memcpy(to, given, strlen(given) + 1);
		if (!can_run(to))
			return pen_fail(why, -PEN_CHILD_LAUNCHER, errno, "%s cannot be run", to);
		return 0;
	}
	if (!on_path(to, cap))
		return pen_fail(why, -PEN_CHILD_LAUNCHER, ENOENT,
				"no `penstock` on the PATH, and $PENSTOCK_LAUNCHER is not set");
	return 0;
}

/* ---- its environment ---- */

static size_t name_len(const char *variable)
{
	return strcspn(variable, "=");
}

/* What each item brings must not be there twice: programs differ in which of the two they believe. */
static bool is_items(const char *variable)
{
	return strncmp(variable, "PENSTOCK_ITEM_", 14) == 0 ||
	       strncmp(variable, "PENSTOCK_ATTEMPT=", 17) == 0;
}

static bool among(const char *variable, const char *const *list)
{
	size_t len = name_len(variable);

	for (; list && *list; list++)
		if (name_len(*list) == len && memcmp(*list, variable, len) == 0)
			return true;
	return false;
}

/* Pointers into environ and extra; only the array is new. */
static char **environment(const char *const *extra)
{
	size_t n = 0;
	size_t room = 1;
	char **to;

	for (char **e = environ; e && *e; e++)
		room++;
	for (const char *const *e = extra; e && *e; e++)
		room++;
	to = malloc(room * sizeof(*to));
	if (!to)
		return NULL;
	for (char **e = environ; e && *e; e++)
		if (!is_items(*e) && !among(*e, extra))
			to[n++] = *e;
	for (const char *const *e = extra; e && *e; e++)
		to[n++] = (char *)(uintptr_t)*e;
	to[n] = NULL;
	return to;
}

/* ---- start ---- */

static int start(struct pen_launcher *launcher, const char *program, const char *const *extra, int socket)
{
	char name[] = "penstock";
	char verb[] = "launcher";
	char *argv[] = { name, verb, NULL };
	char **env = environment(extra);
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t all, none;
	int rc;

	if (!env)
		return ENOMEM;
	sigfillset(&all);
	sigemptyset(&none);
	rc = posix_spawn_file_actions_init(&actions);
	if (rc)
		goto out;
	rc = posix_spawnattr_init(&attr);
	if (rc)
		goto out_actions;
	/* A session of its own: a terminal's Ctrl-C is for the process that asks, which then decides. */
	rc = posix_spawnattr_setflags(&attr,
				      POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
	rc = rc ? rc : posix_spawnattr_setsigdefault(&attr, &all);
	rc = rc ? rc : posix_spawnattr_setsigmask(&attr, &none);
	rc = rc ? rc : posix_spawn_file_actions_adddup2(&actions, socket, PEN_LAUNCH_FD);
	for (int fd = 0; fd <= 2 && !rc; fd++)
		rc = posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0);
	rc = rc ? rc : posix_spawn_file_actions_addclosefrom_np(&actions, PEN_LAUNCH_FD + 1);
	rc = rc ? rc : posix_spawn(&launcher->pid, program, &actions, &attr, argv, env);
	(void)posix_spawnattr_destroy(&attr); /* cannot fail */
out_actions:
	(void)posix_spawn_file_actions_destroy(&actions); /* cannot fail */
out:
	free(env);
	return rc;
}

/* Sends the settings and waits for the answer. */
static int greet(struct pen_launcher *launcher, const struct pen_launcher_options *opt)
{
	const char *tmpdir = opt->tmpdir ? opt->tmpdir : "";
	size_t len = sizeof(struct pen_launch_setup) + strlen(tmpdir) + 1;
	struct pen_launch_setup *setup = calloc(1, len);
	struct pen_launch_head ready = { 0 };
	struct pollfd wait = { .fd = launcher->fd, .events = POLLIN };
	ssize_t got;
	int rc;

	if (!setup)
		return ENOMEM;
	setup->head = (struct pen_launch_head){ PEN_LAUNCH_SETUP, PEN_LAUNCH_MAGIC };
	setup->jobs = opt->jobs;
	setup->slots = opt->slots;
	setup->memory_max = opt->memory_max;
	memcpy(setup->tmpdir, tmpdir, strlen(tmpdir) + 1);
	got = send(launcher->fd, setup, len, MSG_NOSIGNAL);
	free(setup);
	if (got < 0)
		return errno;
	do
		rc = poll(&wait, 1, READY_MS);
	while (rc < 0 && errno == EINTR);
	if (rc == 0)
		return ETIMEDOUT;
	got = recv(launcher->fd, &ready, sizeof(ready), MSG_DONTWAIT);
	if (got < 0)
		return errno;
	if (got != sizeof(ready) || ready.kind != PEN_LAUNCH_READY || ready.count != PEN_LAUNCH_MAGIC)
		return EPROTO;
	return 0;
}

int pen_launcher_open(struct pen_launcher **ret, const struct pen_launcher_options *opt,
		      struct pen_failure *why)
{
	struct pen_launcher *launcher;
	char program[4096];
	int pair[2], theirs, rc;

	pen_assert(opt->jobs && opt->slots >= opt->jobs);
	rc = find_program(opt->program, program, sizeof(program), why);
	if (rc)
		return rc;
	launcher = calloc(1, sizeof(*launcher));
	if (!launcher)
		return pen_fail(why, -ENOMEM, ENOMEM, "no memory for a launcher");
	launcher->pid = -1;
	launcher->tmpdir = opt->tmpdir ? strdup(opt->tmpdir) : NULL;
	if (opt->tmpdir && !launcher->tmpdir) {
		free(launcher);
		return pen_fail(why, -ENOMEM, ENOMEM, "no memory for a launcher");
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		rc = errno;
		free(launcher->tmpdir);
		free(launcher);
		return pen_fail(why, -rc, rc, "no socket for a launcher");
	}
	launcher->fd = pair[0];
	/* Out of the way of the numbers that the new process gives its descriptors. */
	theirs = fcntl(pair[1], F_DUPFD_CLOEXEC, 16);
	rc = theirs < 0 ? errno : start(launcher, program, opt->env, theirs);
	if (theirs >= 0)
		(void)close(theirs); /* the launcher has it */
	(void)close(pair[1]);	     /* likewise */
	if (rc) {
		pen_launcher_close(launcher);
		return pen_fail(why, -PEN_CHILD_LAUNCHER, rc, "%s does not start", program);
	}
	rc = greet(launcher, opt);
	if (rc) {
		pen_launcher_close(launcher);
		return pen_fail(why, -PEN_CHILD_LAUNCHER, rc,
				"%s starts, but does not answer as a launcher of this release", program);
	}
	(void)fcntl(launcher->fd, F_SETFL, O_NONBLOCK); /* cannot fail on a socket of ours */
	*ret = launcher;
	return 0;
}

static void drop(struct pen_launcher *launcher)
{
	for (uint32_t i = 0; i < 3 * launcher->records; i++)
		(void)close(launcher->fds[i]); /* never sent, or sent and duplicated */
	launcher->records = 0;
	launcher->len = 0;
}

/* ---- a launcher that was killed ---- */

/* Is it alive, and of that session? */
static bool lives_in(pid_t pid, pid_t session)
{
	char name[32], text[512];
	const char *at;
	ssize_t got;
	char state = 'X';
	int fd;

	(void)snprintf(name, sizeof(name), "/proc/%d/stat", (int)pid);
	fd = open(name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	got = read(fd, text, sizeof(text) - 1);
	(void)close(fd); /* read only */
	text[got > 0 ? got : 0] = '\0';
	at = strrchr(text, ')'); /* of its name, which may have any bytes */
	if (at && at[1])
		state = at[2];
	return state != 'Z' && state != 'X' && getsid(pid) == session;
}

static bool kill_in(pid_t pid, pid_t session)
{
	bool killed = false;
	int fd;

	if (!lives_in(pid, session))
		return false;
	/* Asked again about what the descriptor stands for: the number may be another process's by now. */
	fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (fd < 0)
		return false;
	if (lives_in(pid, session))
		killed = syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0) == 0;
	(void)close(fd); /* only names it */
	return killed;
}

/* What a process starts while we look is found by the next look: there is one until nobody is left. */
static void end_session(pid_t session)
{
	struct timespec pause = { 0, 1000000 };
	bool alive = true;

	for (int ms = 0; alive && ms < SESSION_MS; ms++) {
		DIR *d = opendir("/proc");
		struct dirent *e;

		alive = false;
		if (!d)
			return;
		while ((e = readdir(d))) {
			char *end;
			long pid = strtol(e->d_name, &end, 10);

			if (pid > 1 && !*end && pid != session)
				alive |= kill_in((pid_t)pid, session);
		}
		(void)closedir(d); /* read only */
		if (alive)
			(void)nanosleep(&pause, NULL); /* any time will do */
	}
}

static bool was_killed(const struct pen_launcher *launcher)
{
	siginfo_t info = { 0 };
	int rc;

	do
		rc = waitid(P_PID, (id_t)launcher->pid, &info, WEXITED | WNOWAIT);
	while (rc < 0 && errno == EINTR);
	/* ECHILD: this process ignores SIGCHLD. Its number may be another's already: nothing is safe to kill. */
	return rc == 0 && info.si_code != CLD_EXITED;
}

void pen_launcher_close(struct pen_launcher *launcher)
{
	int status;

	if (!launcher)
		return;
	drop(launcher);
	(void)close(launcher->fd); /* the end of it is what tells the launcher */
#ifndef PEN_PLANT_NO_SESSION_KILL
	if (launcher->pid > 0 && was_killed(launcher)) {
		end_session(launcher->pid);
		if (launcher->tmpdir)
			pen_launcher_remove(launcher->tmpdir);
	}
#endif
	if (launcher->pid > 0)
		while (waitpid(launcher->pid, &status, 0) < 0 && errno == EINTR)
			; /* ECHILD: this process ignores SIGCHLD; waitpid has waited all the same */
	free(launcher->tmpdir);
	free(launcher);
}

/* ---- asking ---- */

static unsigned char *put_text(unsigned char *to, const char *text)
{
	size_t len = strlen(text) + 1;

	memcpy(to, text, len);
	return to + len;
}

int pen_launcher_spawn(struct pen_launcher *launcher, const struct pen_launch *launch)
{
	struct pen_launch_record record = { .tag = launch->tag,
					    .timeout_ns = launch->timeout_ns,
					    .grace_ns = launch->grace_ns };
	size_t argc = 0, envc = 0;
	size_t bytes = strlen(launch->path) + 1;
	unsigned char *to;
	int rc;

	for (; launch->argv[argc]; argc++)
		bytes += strlen(launch->argv[argc]) + 1;
	for (; launch->env && launch->env[envc]; envc++)
		bytes += strlen(launch->env[envc]) + 1;
	pen_assert(argc > 0 && envc <= PEN_LAUNCH_ENV);
	bytes = pen_round_up(bytes, 8);
	if (bytes > PEN_LAUNCH_BYTES || argc > PEN_LAUNCH_WORDS)
		return -E2BIG;
	if (launcher->records == PEN_LAUNCH_BATCH ||
	    launcher->len + sizeof(struct pen_launch_head) + sizeof(record) + bytes >
		    sizeof(launcher->message)) {
		rc = pen_launcher_flush(launcher);
		if (rc)
			return rc;
	}
	if (!launcher->len)
		launcher->len = sizeof(struct pen_launch_head);
	record.bytes = (uint32_t)bytes;
	record.argc = (uint16_t)argc;
	record.envc = (uint16_t)envc;
	to = launcher->message + launcher->len;
	memcpy(to, &record, sizeof(record));
	memset(to + sizeof(record) + bytes - 8, 0, 8);
	to = put_text(to + sizeof(record), launch->path);
	for (size_t i = 0; i < argc; i++)
		to = put_text(to, launch->argv[i]);
	for (size_t i = 0; i < envc; i++)
		to = put_text(to, launch->env[i]);
	memcpy(launcher->fds + 3 * (size_t)launcher->records, launch->fd, sizeof(launch->fd));
	launcher->records++;
	launcher->len += (uint32_t)(sizeof(record) + bytes);
	return 0;
}

static int failed(struct pen_launcher *launcher)
{
	if (errno == EAGAIN || errno == EINTR)
		return -EAGAIN;
	if (errno == ENOBUFS || errno == ENOMEM || errno == ETOOMANYREFS)
		return -EAGAIN;
	launcher->gone = true;
	drop(launcher);
	launcher->kills = 0;
	return -EPIPE;
}

static int send_launches(struct pen_launcher *launcher)
{
	const struct pen_launch_head head = { PEN_LAUNCH_LAUNCH, launcher->records };
	_Alignas(struct cmsghdr) unsigned char control[CMSG_SPACE(sizeof(launcher->fds))] = { 0 };
	struct iovec iov = { launcher->message, launcher->len };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control };
	size_t fds = 3 * (size_t)launcher->records * sizeof(int);
	struct cmsghdr *c;

	memcpy(launcher->message, &head, sizeof(head));
	message.msg_controllen = CMSG_SPACE(fds);
	c = CMSG_FIRSTHDR(&message);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(fds);
	memcpy(CMSG_DATA(c), launcher->fds, fds);
	if (sendmsg(launcher->fd, &message, MSG_NOSIGNAL) < 0)
		return failed(launcher);
	drop(launcher);
	return 0;
}

int pen_launcher_flush(struct pen_launcher *launcher)
{
	uint32_t sent = 0;
	int rc = 0;

	if (launcher->gone)
		return -EPIPE;
	if (launcher->records)
		rc = send_launches(launcher);
	while (!rc && sent < launcher->kills) {
		if (send(launcher->fd, &launcher->kill[sent], sizeof(launcher->kill[0]), MSG_NOSIGNAL) < 0)
			rc = failed(launcher);
		else
			sent++;
	}
	if (sent && !launcher->gone) {
		launcher->kills -= sent;
		memmove(launcher->kill, launcher->kill + sent, launcher->kills * sizeof(launcher->kill[0]));
	}
	return rc;
}

void pen_launcher_kill(struct pen_launcher *launcher, uint64_t tag, int signal, uint64_t grace_ns)
{
	if (launcher->gone)
		return;
	/* A full list waits here: the launcher always reads on, whatever its children do. */
	while (launcher->kills == KILLS && pen_launcher_flush(launcher) == -EAGAIN) {
		struct pollfd wait = { .fd = launcher->fd, .events = POLLOUT };

		(void)poll(&wait, 1, 100); /* flush tells */
	}
	if (launcher->gone)
		return;
	launcher->kill[launcher->kills++] =
		(struct pen_launch_kill){ { PEN_LAUNCH_KILL, 1 }, tag, grace_ns, (uint64_t)signal };
}

uint32_t pen_launcher_ends(struct pen_launcher *launcher, struct pen_launch_end *ret, uint32_t n,
			   bool *ret_gone)
{
	_Alignas(8) unsigned char message[sizeof(struct pen_launch_head) + PEN_LAUNCH_ENDS * sizeof(*ret)];
	struct pen_launch_head head;
	ssize_t got;

	pen_assert(n >= PEN_LAUNCH_ENDS);
	got = launcher->gone ? 0 : recv(launcher->fd, message, sizeof(message), MSG_DONTWAIT);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (got < (ssize_t)sizeof(head)) {
		launcher->gone = true;
		*ret_gone = true;
		return 0;
	}
	memcpy(&head, message, sizeof(head));
	if (head.kind != PEN_LAUNCH_ENDED || head.count > PEN_LAUNCH_ENDS ||
	    (size_t)got != sizeof(head) + head.count * sizeof(*ret))
		return 0;
	memcpy(ret, message + sizeof(head), head.count * sizeof(*ret));
	return head.count;
}

int pen_launcher_fd(const struct pen_launcher *launcher)
{
	return launcher->fd;
}

pid_t pen_launcher_pid(const struct pen_launcher *launcher)
{
	return launcher->pid;
}
