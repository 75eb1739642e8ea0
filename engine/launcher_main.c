/* SPDX-License-Identifier: MIT */
/*
 * The process that starts children.
 *
 *   reap what has ended -> start what waits -> tell ends -> sleep until a child ends, a message or a deadline comes
 *
 * SIGCHLD is blocked except while it sleeps (ppoll), so no end is missed and nothing needs a descriptor per child.
 * A child's group is killed while its leader is still a zombie: until it is reaped nobody else can have its number.
 *
 * Children are started with vfork and exec by hand, not with posix_spawn, which does the same inside but has no
 * room for what has to happen in between: the limit of address space (in the launcher itself it would hit the
 * launcher), and the death signal. Between the two, the child only makes system calls and writes one errno.
 *
 * This process is the one that orphans are given to (PR_SET_CHILD_SUBREAPER), so what a command left behind can be
 * found even where it left its group. What stands among our children, is none we started, and is in none of the
 * groups that still run, has outlived its command.
 */
#include <errno.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "engine/launcher_private.h"
#include "include/penstock.h"
#include "ring/base.h"
#include "ring/clock.h"

#define SWEEP_ENDS 64u
#define SWEEP_NS PEN_NS_PER_S
#define END_NS (10 * PEN_NS_PER_S) /* after which the end no longer waits for what cannot be killed */

enum state { FREE, WAITS, RUNS };

struct child {
	enum state state;
	bool timed_out;
	pid_t pid;
	int fd[3];
	int os_errno; /* of exec; written by the child */
	uint16_t argc;
	uint16_t envc;
	char *strings; /* path, arguments, environment; until it runs */
	uint64_t tag;
	uint64_t timeout_ns;
	uint64_t grace_ns;
	uint64_t started_ns;
	uint64_t term_at; /* 0: never */
	uint64_t kill_at; /* likewise */
};

struct launcher {
	int fd;
	bool over;
	pid_t pid;
	uint32_t jobs;
	uint32_t slots;
	uint32_t running;
	uint32_t waiting;
	uint32_t first; /* of the queue */
	uint32_t ends;	/* to tell */
	uint32_t since_sweep;
	bool dirty; /* a child has run since the last sweep */
	uint64_t swept_ns;
	uint64_t memory_max;
	char *tmpdir;
	struct child *child;
	uint32_t *queue; /* slots in the order they were asked for */
	struct pen_launch_end *end;
	char **argv; /* PEN_LAUNCH_WORDS + 1 */
	char **env;  /* PEN_LAUNCH_ENV places, then this process's own */
	_Alignas(8) unsigned char message[PEN_LAUNCH_MESSAGE];
};

static uint64_t now(void)
{
	return pen_mono_ns(&pen_clock_real);
}

/* ---- ends ---- */

static void close_fds(struct child *c)
{
	for (int i = 0; i < 3; i++) {
		if (c->fd[i] >= 0)
			(void)close(c->fd[i]); /* pipes: nothing to lose */
		c->fd[i] = -1;
	}
}

static void give_up(struct child *c)
{
	close_fds(c);
	free(c->strings);
	c->strings = NULL;
	c->state = FREE;
}

/* There is room: `slots` ends at most are owed, and an owed end is told before its slot is asked for again. */
static struct pen_launch_end *add_end(struct launcher *l, const struct child *c)
{
	struct pen_launch_end *end = &l->end[l->ends++];

	*end = (struct pen_launch_end){ .tag = c->tag,
					.started_ns = c->started_ns,
					.pid = c->pid,
					.timed_out = c->timed_out,
					.os_errno = c->os_errno };
	return end;
}

static void tell(struct launcher *l)
{
	_Alignas(8) unsigned char message[sizeof(struct pen_launch_head) + PEN_LAUNCH_ENDS * sizeof(*l->end)];

	while (l->ends) {
		uint32_t n = (uint32_t)pen_min(l->ends, PEN_LAUNCH_ENDS);
		const struct pen_launch_head head = { PEN_LAUNCH_ENDED, n };

		memcpy(message, &head, sizeof(head));
		memcpy(message + sizeof(head), l->end, n * sizeof(*l->end));
		if (send(l->fd, message, sizeof(head) + n * sizeof(*l->end), MSG_NOSIGNAL) < 0) {
			l->over |= errno == EPIPE || errno == ECONNRESET;
			return;
		}
		l->ends -= n;
		memmove(l->end, l->end + n, l->ends * sizeof(*l->end));
	}
}

/* ---- start ---- */

/* The child's first moments, in the launcher's memory. Comes back only when exec failed. */
static void become(const struct launcher *l, struct child *c, const char *path, char **env)
{
	static const int defaults[] = { SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE };
	struct sigaction plain = { .sa_handler = SIG_DFL };
	sigset_t none;

	(void)setpgid(0, 0); /* cannot fail before exec */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != l->pid)
		return;
	for (size_t i = 0; i < PEN_COUNT(defaults); i++)
		(void)sigaction(defaults[i], &plain, NULL); /* cannot fail for these */
	for (int i = 0; i < 3; i++)
		if (dup2(c->fd[i], i) < 0)
			return;
#ifndef PEN_PLANT_INHERIT
	/* All of ours are close-on-exec; this is for what a library might open. */
	(void)close_range(3, ~0u, 0);
#else
	(void)dup(c->fd[0]);
#endif
	if (l->memory_max) {
		struct rlimit limit = { l->memory_max, l->memory_max };

		if (setrlimit(RLIMIT_AS, &limit) < 0)
			return;
	}
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL); /* likewise */
	(void)execve(path, l->argv, env);	     /* errno tells */
}

__attribute__((noinline)) static pid_t start_child(const struct launcher *l, struct child *c,
						   const char *path, char **env)
{
	/* That the parent stands still until the child has become another program is what it is taken for. */
	pid_t pid = vfork(); /* NOLINT(clang-analyzer-security.insecureAPI.vfork) */

	if (pid == 0) {
		/* NOLINTNEXTLINE(clang-analyzer-unix.Vfork): all of its calls are safe in a child of vfork */
		become(l, c, path, env);
		c->os_errno = errno ? errno : ESRCH;
		_exit(127);
	}
	/* The child has written into *c, behind the back of a compiler that knows _exit not to return. */
	__asm__ volatile("" ::: "memory");
	return pid;
}

/* False: there are not enough processes or memory now; try again. */
static bool start(struct launcher *l, struct child *c)
{
	char *text = c->strings;
	const char *path = text;
	char **env = l->env + PEN_LAUNCH_ENV - c->envc;

	text += strlen(text) + 1;
	for (uint32_t i = 0; i < c->argc; i++, text += strlen(text) + 1)
		l->argv[i] = text;
	l->argv[c->argc] = NULL;
	for (uint32_t i = 0; i < c->envc; i++, text += strlen(text) + 1)
		env[i] = text;
	c->os_errno = 0;
	c->started_ns = now();
	c->pid = start_child(l, c, path, env);
	if (c->pid < 0) {
		c->os_errno = errno;
	} else if (c->os_errno) {
		(void)waitpid(c->pid, NULL, 0); /* it has ended by itself */
	} else {
		close_fds(c);
		free(c->strings);
		c->strings = NULL;
		c->term_at = c->timeout_ns ? c->started_ns + c->timeout_ns : 0;
		c->kill_at = 0;
		c->state = RUNS;
		l->running++;
		l->dirty = true;
		return true;
	}
	c->started_ns = 0;
	c->pid = 0;
	(void)add_end(l, c);
	give_up(c);
	return false;
}

static void start_waiting(struct launcher *l)
{
	while (l->waiting && l->running < l->jobs) {
		struct child *c = &l->child[l->queue[l->first]];

		/* set_up refuses none. NOLINTNEXTLINE(clang-analyzer-core.DivideZero) */
		l->first = (l->first + 1) % l->slots;
		l->waiting--;
		if (c->state == WAITS) /* else it was killed before its turn */
			(void)start(l, c);
	}
}

/* ---- what has ended ---- */

static struct child *find_pid(struct launcher *l, pid_t pid)
{
	for (uint32_t i = 0; i < l->slots; i++)
		if (l->child[i].state == RUNS && l->child[i].pid == pid)
			return &l->child[i];
	return NULL;
}

static void kill_group(pid_t pid, int signal)
{
#ifndef PEN_PLANT_NO_GROUP_KILL
	(void)kill(-pid, signal); /* ESRCH: all of it has ended */
#else
	(void)kill(pid, signal);
#endif
}

static uint64_t micros(struct timeval t)
{
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_usec;
}

static void ended(struct launcher *l, struct child *c, int status, const struct rusage *used)
{
	struct pen_launch_end *end = add_end(l, c);

	end->ended_ns = now();
	end->status = status;
	end->cpu_us = micros(used->ru_utime) + micros(used->ru_stime);
	end->rss_kib = (uint64_t)used->ru_maxrss;
	c->state = FREE;
	l->running--;
	l->since_sweep++;
}

static void reap(struct launcher *l)
{
	for (;;) {
		siginfo_t info = { 0 };
		struct rusage used;
		struct child *c;
		int status;

		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || !info.si_pid)
			return;
		c = find_pid(l, info.si_pid);
		if (c)
			kill_group(c->pid, SIGKILL);
		if (wait4(info.si_pid, &status, 0, &used) == info.si_pid && c)
			ended(l, c, status, &used);
	}
}

/* ---- deadlines ---- */

static void soft_kill(struct child *c, int signal, uint64_t grace_ns)
{
	uint64_t at = now() + grace_ns;

	kill_group(c->pid, signal);
	c->term_at = 0;
	if (signal != SIGKILL && (!c->kill_at || at < c->kill_at))
		c->kill_at = at;
}

/* Ends what is over its time; returns when the next one is, 0 for never. */
static uint64_t look_at_clock(struct launcher *l)
{
	uint64_t next = 0;
	uint64_t t = 0;

	for (uint32_t i = 0, left = l->running; left; i++) {
		struct child *c = &l->child[i];
		uint64_t at;

		if (c->state != RUNS)
			continue;
		left--;
		if (!c->term_at && !c->kill_at)
			continue;
		t = t ? t : now();
		if (c->term_at && t >= c->term_at) {
			c->timed_out = true;
			soft_kill(c, c->grace_ns ? SIGTERM : SIGKILL, c->grace_ns);
		}
		if (c->kill_at && t >= c->kill_at) {
			kill_group(c->pid, SIGKILL);
			c->kill_at = 0;
		}
		at = c->term_at ? c->term_at : c->kill_at;
		if (at && (!next || at < next))
			next = at;
	}
	return next;
}

/* ---- orphans ---- */

static bool is_running_group(const struct launcher *l, pid_t group)
{
	for (uint32_t i = 0; i < l->slots; i++)
		if (l->child[i].state == RUNS && l->child[i].pid == group)
			return true;
	return false;
}

/* all: nothing is spared. Returns how many were killed. A number cannot be somebody else's: only we reap it. */
static uint32_t sweep(struct launcher *l, bool all)
{
	char name[64], text[4096];
	uint32_t killed = 0;
	size_t have = 0;
	ssize_t got;
	int fd;

	l->since_sweep = 0;
	l->dirty = l->running > 0;
	l->swept_ns = now();
	(void)snprintf(name, sizeof(name), "/proc/self/task/%d/children", (int)l->pid);
	fd = open(name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	while ((got = read(fd, text + have, sizeof(text) - 1 - have)) > 0) {
		char *at = text;
		char *space;

		have += (size_t)got;
		text[have] = '\0';
		for (; (space = strchr(at, ' ')); at = space + 1) {
			pid_t pid = (pid_t)strtol(at, NULL, 10);

			if (pid <= 1 || (!all && is_running_group(l, getpgid(pid))))
				continue;
			killed += kill(pid, SIGKILL) == 0;
		}
		have = strlen(at);
		memmove(text, at, have);
	}
	(void)close(fd); /* read only */
	return killed;
}

static void sweep_now_and_then(struct launcher *l)
{
	if (l->since_sweep >= SWEEP_ENDS || (l->dirty && now() - l->swept_ns >= SWEEP_NS))
		(void)sweep(l, false);
}

/* ---- what is asked ---- */

static struct child *free_slot(struct launcher *l, uint32_t *ret_at)
{
	for (uint32_t i = 0; i < l->slots; i++)
		if (l->child[i].state == FREE) {
			*ret_at = i;
			return &l->child[i];
		}
	return NULL;
}

static void take_launches(struct launcher *l, uint32_t count, size_t len, const int *fds, uint32_t nfds)
{
	const unsigned char *at = l->message + sizeof(struct pen_launch_head);
	const unsigned char *end = l->message + len;
	uint32_t used = 0;

	for (; count; count--) {
		struct pen_launch_record record;
		struct child *c;
		uint32_t slot = 0;

		memcpy(&record, at, sizeof(record));
		at += sizeof(record);
		if (at + record.bytes > end || used + 3 > nfds)
			break;
		c = free_slot(l, &slot);
		if (!c)
			break;
		*c = (struct child){ .state = WAITS,
				     .argc = record.argc,
				     .envc = record.envc,
				     .tag = record.tag,
				     .timeout_ns = record.timeout_ns,
				     .grace_ns = record.grace_ns };
		memcpy(c->fd, fds + used, sizeof(c->fd));
		used += 3;
		c->strings = malloc(record.bytes + 1);
		if (c->strings) {
			memcpy(c->strings, at, record.bytes);
			l->queue[(l->first + l->waiting++) % l->slots] = slot;
		} else {
			c->os_errno = ENOMEM;
			(void)add_end(l, c);
			give_up(c);
		}
		at += record.bytes;
	}
	for (; used < nfds; used++)
		(void)close(fds[used]); /* nobody's */
}

static void take_kill(struct launcher *l, const struct pen_launch_kill *k)
{
	for (uint32_t i = 0; i < l->slots; i++) {
		struct child *c = &l->child[i];

		if (c->state == FREE || c->tag != k->tag)
			continue;
		if (c->state == RUNS) {
			soft_kill(c, (int)k->signal, k->grace_ns);
			return;
		}
		/* Its place in the queue is passed over when its turn comes. */
		c->os_errno = ECANCELED;
		(void)add_end(l, c);
		give_up(c);
		/* A slot that is taken again while its number stands in the queue would run out of turn. */
		for (uint32_t k2 = 0, to = 0, n = l->waiting; k2 < n; k2++) {
			uint32_t slot = l->queue[(l->first + k2) % l->slots];

			if (slot == i)
				l->waiting--;
			else
				l->queue[(l->first + to++) % l->slots] = slot;
		}
		return;
	}
}

static void take(struct launcher *l)
{
	int fds[3 * PEN_LAUNCH_BATCH];
	_Alignas(struct cmsghdr) unsigned char control[CMSG_SPACE(sizeof(fds))];
	struct iovec iov = { l->message, sizeof(l->message) };
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
	};
	ssize_t got = recvmsg(l->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct pen_launch_head head;
	uint32_t nfds = 0;

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got < (ssize_t)sizeof(head)) {
		l->over = true;
		return;
	}
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		nfds = (uint32_t)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(fds, CMSG_DATA(c), nfds * sizeof(int));
	}
	memcpy(&head, l->message, sizeof(head));
	if (head.kind == PEN_LAUNCH_LAUNCH) {
		take_launches(l, head.count, (size_t)got, fds, nfds);
	} else if (head.kind == PEN_LAUNCH_KILL && (size_t)got == sizeof(struct pen_launch_kill)) {
		struct pen_launch_kill k;

		memcpy(&k, l->message, sizeof(k));
		take_kill(l, &k);
	}
}

static void rest(struct launcher *l, uint64_t until)
{
	struct pollfd wait = { .fd = l->fd, .events = (short)(POLLIN | (l->ends ? POLLOUT : 0)) };
	uint64_t t = now();
	struct timespec left;
	sigset_t none;

	if (l->dirty) {
		uint64_t at = l->swept_ns + SWEEP_NS;

		until = until && until < at ? until : at;
	}
	if (until) {
		uint64_t ns = until > t ? until - t : 0;

		left = (struct timespec){ (time_t)(ns / PEN_NS_PER_S), (long)(ns % PEN_NS_PER_S) };
	}
	sigemptyset(&none);
	if (ppoll(&wait, 1, until ? &left : NULL, &none) > 0 && (wait.revents & ~POLLOUT))
		take(l);
}

/* ---- the end ---- */

void pen_launcher_remove(const char *dir)
{
	DIR *d = *dir ? opendir(dir) : NULL;
	struct dirent *e;

	if (!d)
		return;
	while ((e = readdir(d)))
		(void)unlinkat(dirfd(d), e->d_name, 0); /* "." and ".." refuse */
	(void)closedir(d);				/* read only */
	(void)rmdir(dir);				/* best effort: this process has nobody to tell */
}

static void end_all(struct launcher *l)
{
	uint64_t until = now() + END_NS;
	struct timespec pause = { 0, 1000000 };
	int status;
	pid_t pid;

	for (uint32_t i = 0; i < l->slots; i++) {
		if (l->child[i].state == RUNS)
			kill_group(l->child[i].pid, SIGKILL);
		else if (l->child[i].state == WAITS)
			give_up(&l->child[i]);
	}
	/* What a killed process had started becomes ours as it dies, so this goes on until there is nobody. */
	while (now() < until) {
		(void)sweep(l, true);
		while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
			;
		if (pid < 0)
			break;
		(void)nanosleep(&pause, NULL); /* any time will do */
	}
	pen_launcher_remove(l->tmpdir);
}

/* ---- the beginning ---- */

static void on_child(int signal)
{
	(void)signal; /* only wakes ppoll */
}

static void settle(struct launcher *l)
{
	struct sigaction wake = { .sa_handler = on_child, .sa_flags = SA_NOCLDSTOP };
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	static const uint64_t plain[8]; /* the kernel's struct sigaction, all zero: SIG_DFL */
	struct rlimit core = { 0, 0 };
	sigset_t child;

	/* None of these can fail with these arguments. */
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &child, NULL);
	(void)sigaction(SIGCHLD, &wake, NULL);
	(void)sigaction(SIGHUP, &ignore, NULL);
	(void)sigaction(SIGINT, &ignore, NULL);
	(void)sigaction(SIGQUIT, &ignore, NULL);
	(void)sigaction(SIGTERM, &ignore, NULL);
	(void)sigaction(SIGPIPE, &ignore, NULL);
	for (int signal = 32; signal < 34; signal++) /* the C library's own, which posix_spawn has ignored */
		(void)syscall(SYS_rt_sigaction, signal, plain, NULL, sizeof(uint64_t));
	(void)setrlimit(RLIMIT_CORE, &core);
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1);
	(void)prctl(PR_SET_NAME, "penstock-launch");
	(void)fcntl(l->fd, F_SETFD, FD_CLOEXEC);
	(void)fcntl(l->fd, F_SETFL, O_NONBLOCK);
	l->pid = getpid();
}

extern char **environ;

static int set_up(struct launcher *l)
{
	struct pollfd wait = { .fd = l->fd, .events = POLLIN };
	const struct pen_launch_head ready = { PEN_LAUNCH_READY, PEN_LAUNCH_MAGIC };
	struct pen_launch_setup setup;
	uint32_t n = 0;
	ssize_t got;

	while (poll(&wait, 1, -1) < 0 && errno == EINTR)
		;
	got = recv(l->fd, l->message, sizeof(l->message) - 1, MSG_DONTWAIT);
	if (got < (ssize_t)sizeof(setup))
		return -EPROTO;
	l->message[got] = '\0';
	memcpy(&setup, l->message, sizeof(setup));
	if (setup.head.kind != PEN_LAUNCH_SETUP || setup.head.count != PEN_LAUNCH_MAGIC || !setup.jobs ||
	    setup.slots < setup.jobs)
		return -EPROTO;
	l->jobs = setup.jobs;
	l->slots = setup.slots;
	l->memory_max = setup.memory_max;
	l->tmpdir = strdup((const char *)l->message + sizeof(setup));
	while (environ && environ[n])
		n++;
	l->child = calloc(l->slots, sizeof(*l->child));
	l->queue = calloc(l->slots, sizeof(*l->queue));
	l->end = calloc(2 * (size_t)l->slots, sizeof(*l->end));
	l->argv = calloc(PEN_LAUNCH_WORDS + 1, sizeof(*l->argv));
	l->env = calloc(PEN_LAUNCH_ENV + n + 1, sizeof(*l->env));
	if (!l->tmpdir || !l->child || !l->queue || !l->end || !l->argv || !l->env)
		return -ENOMEM;
	for (uint32_t i = 0; i < l->slots; i++)
		memset(l->child[i].fd, -1, sizeof(l->child[i].fd));
	if (n)
		memcpy(l->env + PEN_LAUNCH_ENV, environ, n * sizeof(*environ));
	return send(l->fd, &ready, sizeof(ready), MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int pen_launcher_main(int fd)
{
	struct launcher *l = calloc(1, sizeof(*l));
	int rc;

	if (!l)
		return 3;
	l->fd = fd;
	settle(l);
	rc = set_up(l);
	if (rc)
		goto out;
	while (!l->over) {
		reap(l);
		start_waiting(l);
		if (l->ends)
			tell(l);
		sweep_now_and_then(l);
		rest(l, look_at_clock(l));
	}
	end_all(l);
out:
	free(l->tmpdir);
	free(l->child);
	free(l->queue);
	free(l->end);
	free(l->argv);
	free(l->env);
	free(l);
	return rc ? 3 : 0;
}
