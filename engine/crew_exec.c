/* SPDX-License-Identifier: MIT */
/*
 * A command for each item.
 *
 *   start   stdin: the item's file, or a pipe that is filled before the child exists (up to what a pipe holds)
 *           stdout, stderr: pipes; the launcher gets the other ends with the words and the time
 *   meanwhile   longer items are fed, output is gathered, stderr's end is kept
 *   end     the launcher says how; what is left in the pipes is read, and the fate follows from the status
 *
 * A child that does not read its stdin is nobody's fault (EPIPE). One that writes more than a value may have is
 * killed. The end of a child is what the launcher says, never the end of its stdout: something it left behind may
 * hold that open for ever.
 *
 * More commands are with the launcher than may run, so that one child's end starts the next without asking here.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/crew_private.h"
#include "ring/assert.h"
#include "ring/base.h"
#include "ring/error.h"

#define PIPE_PLAIN (64u << 10)
#define PIPE_LARGE (1u << 20)
#define SCRATCH (64u << 10)
#define DRAIN_MAX (4u << 20) /* of stderr behind a child's end: something else may be writing */
#define KEY_MAX (16u << 10)
#define TRIES 20u
#define PAUSE_NS (50 * PEN_NS_PER_MS)
#define REFUSED 65

struct pen_exec_child {
	uint64_t tag; /* with the launcher under this; 0: not */
	int in;	      /* our ends of its pipes; -1: closed */
	int out;
	int err;
	bool fed_late; /* in is in the epoll set */
	bool excess;   /* it wrote too much */
	bool killed;   /* by cancel */
	size_t fed;
	char *value;
	size_t value_len;
	size_t value_cap;
	struct pen_tail tail;
	char *file; /* made for {} */
};

int pen_crew_exec_open(struct pen_crew *crew, struct pen_failure *why)
{
	crew->exec = calloc(crew->places, sizeof(*crew->exec));
	crew->scratch = malloc(SCRATCH);
	if (!crew->exec || !crew->scratch)
		return pen_fail(why, -ENOMEM, ENOMEM, "no memory for %u commands", crew->places);
	for (uint32_t i = 0; i < crew->places; i++) {
		crew->exec[i].in = crew->exec[i].out = crew->exec[i].err = -1;
		pen_tail_init(&crew->exec[i].tail, crew->opt.stderr_keep);
	}
	return 0;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd); /* a pipe, or read only */
	*fd = -1;
}

static void close_pipes(struct pen_exec_child *c)
{
	close_fd(&c->in);
	close_fd(&c->out);
	close_fd(&c->err);
}

static void remove_file(struct pen_exec_child *c)
{
	if (c->file)
		(void)unlink(c->file); /* the launcher looks again at the end */
	free(c->file);
	c->file = NULL;
}

void pen_crew_exec_release(struct pen_crew *crew, uint32_t i)
{
	struct pen_exec_child *c = &crew->exec[i];

	free(c->value);
	c->value = NULL;
	c->value_len = c->value_cap = 0;
	pen_tail_clear(&c->tail);
}

void pen_crew_exec_close(struct pen_crew *crew)
{
	for (uint32_t i = 0; i < crew->places; i++) {
		close_pipes(&crew->exec[i]);
		remove_file(&crew->exec[i]);
		free(crew->exec[i].value);
		pen_tail_fini(&crew->exec[i].tail);
	}
	free(crew->exec);
	free(crew->scratch);
}

/* ---- in and out ---- */

static void feed(struct pen_crew *crew, uint32_t i)
{
	struct pen_exec_child *c = &crew->exec[i];
	const struct pen_task *task = &crew->held[i].task;

	while (c->in >= 0 && c->fed < task->item_len) {
		ssize_t put = write(c->in, (const char *)task->item + c->fed, task->item_len - c->fed);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0 && errno == EAGAIN)
			return;
		if (put < 0)
			break; /* EPIPE: it does not want more */
		c->fed += (size_t)put;
	}
	close_fd(&c->in);
}

static void stop_excess(struct pen_crew *crew, struct pen_exec_child *c)
{
	c->excess = true;
	close_fd(&c->out);
	if (c->tag)
		pen_launcher_kill(crew->launcher, c->tag, SIGKILL, 0);
}

static bool keep_value(struct pen_crew *crew, struct pen_exec_child *c, size_t len)
{
	if (c->value_len + len > c->value_cap) {
		size_t cap = pen_max(c->value_len + len, pen_min(2 * c->value_cap, crew->opt.output_max));
		char *value = realloc(c->value, cap);

		if (!value)
			return false;
		c->value = value;
		c->value_cap = cap;
	}
	memcpy(c->value + c->value_len, crew->scratch, len);
	c->value_len += len;
	return true;
}

/* Takes what is there; all: until the pipe is empty. */
static void read_out(struct pen_crew *crew, struct pen_exec_child *c, bool all)
{
	while (c->out >= 0) {
		ssize_t got = read(c->out, crew->scratch, SCRATCH);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && errno == EAGAIN)
			return;
		if (got <= 0)
			close_fd(&c->out);
		else if (c->value_len + (size_t)got > crew->opt.output_max ||
			 !keep_value(crew, c, (size_t)got))
			stop_excess(crew, c);
		else if (!all && got < SCRATCH)
			return;
	}
}

static void read_err(struct pen_crew *crew, struct pen_exec_child *c, bool all)
{
	size_t sum = 0;

	while (c->err >= 0 && sum < DRAIN_MAX) {
		ssize_t got = read(c->err, crew->scratch, SCRATCH);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && errno == EAGAIN)
			return;
		if (got <= 0) {
			close_fd(&c->err);
			return;
		}
		pen_tail_add(&c->tail, crew->scratch, (size_t)got);
		sum += (size_t)got;
		if (!all)
			return;
	}
}

void pen_crew_exec_event(struct pen_crew *crew, enum pen_crew_source source, uint32_t number)
{
	struct pen_exec_child *c = &crew->exec[number];

	if (source == PEN_CREW_IN)
		feed(crew, number);
	else if (source == PEN_CREW_OUT)
		read_out(crew, c, false);
	else
		read_err(crew, c, false);
}

/* ---- start ---- */

/* Text for the environment and the words, in crew->words. */
struct text {
	char *at;
	char *end;
};

static const char *put(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

static const char *put(struct text *t, const char *format, ...)
{
	char *begin = t->at;
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(t->at, (size_t)(t->end - t->at), format, args);
	va_end(args);
	if (len < 0 || len >= t->end - t->at)
		return NULL;
	t->at += len + 1;
	return begin;
}

/* A failure that may pass: EMFILE and the like. */
static bool passes(int os_errno)
{
	return os_errno == EAGAIN || os_errno == ENOMEM || os_errno == EMFILE || os_errno == ENFILE ||
	       os_errno == ENOSPC || os_errno == EDQUOT || os_errno == ETXTBSY || os_errno == ENOBUFS;
}

static void not_started(struct pen_crew *crew, uint32_t i, int os_errno, const char *what)
{
	struct pen_held *h = &crew->held[i];

	if (crew->cancelled) {
		pen_crew_end(crew, i, PEN_TASK_UNCHARGED, -ECANCELED, NULL);
	} else if (passes(os_errno) && ++h->tries < TRIES) {
		crew->start_at = pen_crew_now(crew) + (PAUSE_NS << pen_min(h->tries, 4));
		pen_held_push_front(crew, &crew->waiting, i);
	} else {
		pen_crew_end(crew, i, passes(os_errno) ? PEN_TASK_RETRY : PEN_TASK_FAILED, -PEN_CHILD_START,
			     "%s: %s", what, strerror(os_errno));
	}
}

static void refuse_path(struct pen_crew *crew, uint32_t i, int os_errno)
{
	const char *path = crew->held[i].task.path;

	if (passes(os_errno))
		not_started(crew, i, os_errno, path);
	else
		pen_crew_end(crew, i, PEN_TASK_REJECTED,
			     os_errno == ENOENT || os_errno == ENOTDIR ? -PEN_SOURCE_VANISHED
								       : -PEN_SOURCE_DENIED,
			     "%s: %s", path, os_errno ? strerror(os_errno) : "is no regular file");
}

static int open_path(const char *path, int *ret_errno)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	*ret_errno = fd < 0 ? errno : 0;
	if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)))
		close_fd(&fd);
	return fd;
}

/* A file of the item's bytes. 0 or an errno. */
static int make_file(struct pen_crew *crew, uint32_t i)
{
	struct pen_exec_child *c = &crew->exec[i];
	const struct pen_task *task = &crew->held[i].task;
	size_t done = 0;
	int rc = 0;
	int fd;

	if (asprintf(&c->file, "%s/%" PRIu64 "-%u", crew->tmpdir, task->seq, i) < 0) {
		c->file = NULL;
		return ENOMEM;
	}
	fd = open(c->file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		rc = errno;
	while (!rc && done < task->item_len) {
		ssize_t put_len = write(fd, (const char *)task->item + done, task->item_len - done);

		if (put_len >= 0)
			done += (size_t)put_len;
		else if (errno != EINTR)
			rc = errno;
	}
	if (fd >= 0 && close(fd) < 0 && !rc)
		rc = errno;
	if (rc)
		remove_file(c);
	return rc;
}

/* What the child reads: 0 or an errno. *ret_theirs is a new descriptor. */
static int make_stdin(struct pen_crew *crew, uint32_t i, int *ret_theirs)
{
	struct pen_exec_child *c = &crew->exec[i];
	const struct pen_task *task = &crew->held[i].task;
	int rc;

	c->fed = 0;
	c->fed_late = false;
	if (!task->item_len) {
		*ret_theirs = fcntl(crew->null, F_DUPFD_CLOEXEC, 3);
		return *ret_theirs < 0 ? errno : 0;
	}
	rc = -pen_crew_pipe(&c->in, ret_theirs, true);
	if (rc)
		return rc;
	if (task->item_len > PIPE_PLAIN && task->item_len <= PIPE_LARGE)
		(void)fcntl(c->in, F_SETPIPE_SZ, (int)task->item_len); /* refused: it is fed in pieces */
	feed(crew, i);
	c->fed_late = c->in >= 0;
	return 0;
}

/* The words and the environment into launch. False: too long. */
static bool make_words(struct pen_crew *crew, uint32_t i, const char *path, struct pen_launch *launch,
		       const char **env)
{
	const struct pen_task *task = &crew->held[i].task;
	struct text t = { crew->words, crew->words + PEN_LAUNCH_BYTES };
	struct pen_command_values values = { .path = path };
	const char *key = t.at;
	size_t n = 0;

	if (task->key_len > KEY_MAX)
		return false;
	memcpy(t.at, "PENSTOCK_ITEM_KEY=", 18);
	pen_crew_key_text(task, t.at + 18);
	t.at += strlen(t.at) + 1;
	env[n++] = key;
	env[n++] = put(&t, "PENSTOCK_ITEM_SEQ=%" PRIu64, task->seq);
	env[n++] = put(&t, "PENSTOCK_ATTEMPT=%u", task->attempt);
	if (path)
		env[n++] = put(&t, "PENSTOCK_ITEM_PATH=%s", path);
	env[n] = NULL;
	for (size_t k = 0; k < n; k++)
		if (!env[k])
			return false;
	values.key = env[0] + 18;
	values.seq = env[1] + 18;
	launch->argv = (const char *const *)crew->argv;
	launch->env = env;
	return pen_command_words(&crew->command, &values, t.at, (size_t)(t.end - t.at), crew->argv) == 0;
}

static void launch(struct pen_crew *crew, uint32_t i)
{
	struct pen_exec_child *c = &crew->exec[i];
	const struct pen_task *task = &crew->held[i].task;
	struct pen_launch launch = { .fd = { -1, -1, -1 },
				     .timeout_ns = crew->opt.timeout_ns,
				     .grace_ns = crew->opt.grace_ns,
				     .path = crew->command.program };
	const char *env[PEN_LAUNCH_ENV + 1];
	char found[4096];
	int rc = 0;

	c->excess = c->killed = false;
	if (task->path) {
		launch.fd[0] = open_path(task->path, &rc);
		if (launch.fd[0] < 0) {
			refuse_path(crew, i, rc);
			return;
		}
	} else {
		rc = crew->command.wants_path ? make_file(crew, i) : 0;
		rc = rc ? rc : make_stdin(crew, i, &launch.fd[0]);
	}
	rc = rc ? rc : -pen_crew_pipe(&c->out, &launch.fd[1], false);
	rc = rc ? rc : -pen_crew_pipe(&c->err, &launch.fd[2], false);
	if (rc) {
		not_started(crew, i, rc, "descriptors or a temporary file for the item");
		goto out;
	}
	if (!make_words(crew, i, task->path ? task->path : c->file, &launch, env)) {
		pen_crew_end(crew, i, PEN_TASK_FAILED, -PEN_CHILD_ARGUMENTS,
			     "more than %u bytes of arguments and environment", PEN_LAUNCH_BYTES);
		goto out;
	}
	if (!launch.path) {
		rc = pen_command_find(crew->argv[0], found, sizeof(found));
		if (rc) {
			not_started(crew, i, -rc, crew->argv[0]);
			goto out;
		}
		launch.path = found;
	}
	if (!pen_crew_watch(crew, c->out, PEN_CREW_OUT, i, EPOLLIN) ||
	    !pen_crew_watch(crew, c->err, PEN_CREW_ERR, i, EPOLLIN) ||
	    (c->fed_late && !pen_crew_watch(crew, c->in, PEN_CREW_IN, i, EPOLLOUT))) {
		not_started(crew, i, errno, "waiting for the command");
		goto out;
	}
	launch.tag = ++crew->serial << 32 | i;
	rc = pen_launcher_spawn(crew->launcher, &launch);
	if (!rc) {
		c->tag = launch.tag;
		crew->counts.running++;
		return;
	}
	if (rc == -E2BIG)
		pen_crew_end(crew, i, PEN_TASK_FAILED, -PEN_CHILD_ARGUMENTS,
			     "more than %u bytes or %u words of arguments and environment", PEN_LAUNCH_BYTES,
			     PEN_LAUNCH_WORDS);
	else
		not_started(crew, i, EAGAIN, "the launcher");
out:
	for (int k = 0; k < 3; k++)
		close_fd(&launch.fd[k]);
	close_pipes(c);
	remove_file(c);
}

void pen_crew_exec_start(struct pen_crew *crew)
{
	if (crew->start_at && crew->waiting.count) {
		if (pen_crew_now(crew) < crew->start_at)
			return;
		crew->start_at = 0;
	}
	while (crew->waiting.count && !crew->start_at && !crew->broken)
		launch(crew, pen_held_pop(crew, &crew->waiting));
}

/* ---- end ---- */

static void decide(struct pen_crew *crew, uint32_t i, const struct pen_launch_end *end)
{
	struct pen_exec_child *c = &crew->exec[i];
	struct pen_task_result *r = &crew->held[i].result;
	char status[128];
	const char *line;
	int line_len;

	r->stderr_tail = pen_tail_get(&c->tail, &r->stderr_len);
	line = pen_crew_last_line(r->stderr_tail, r->stderr_len, &line_len);
	(void)pen_crew_status_text(crew, end->status, status, sizeof(status));
	if (c->killed)
		pen_crew_end(crew, i, PEN_TASK_UNCHARGED, -ECANCELED, NULL);
	else if (c->excess)
		pen_crew_end(crew, i, PEN_TASK_FAILED, -PEN_CHILD_OUTPUT,
			     "more than %" PRIu64 " bytes of output", crew->opt.output_max);
	else if (end->timed_out)
		pen_crew_end(crew, i, PEN_TASK_RETRY, -PEN_CHILD_TIMEOUT,
			     "no end after %.3g s; ended with %s", (double)crew->opt.timeout_ns / 1e9,
			     status);
	else if (WIFSIGNALED(end->status))
		pen_crew_end(crew, i, PEN_TASK_RETRY, -PEN_CHILD_SIGNAL, "ended by %s%s%.*s", status,
			     line_len ? ": " : "", line_len, line);
	else if (WEXITSTATUS(end->status) == 0)
		pen_crew_end(crew, i, PEN_TASK_DONE, 0, NULL);
	else
		pen_crew_end(crew, i,
			     WEXITSTATUS(end->status) == REFUSED ? PEN_TASK_REJECTED : PEN_TASK_RETRY,
			     WEXITSTATUS(end->status) == REFUSED ? -PEN_CHILD_REFUSED : -PEN_CHILD_EXIT,
			     "%s%s%.*s", status, line_len ? ": " : "", line_len, line);
}

void pen_crew_exec_ended(struct pen_crew *crew, const struct pen_launch_end *end)
{
	uint32_t i = (uint32_t)end->tag;
	struct pen_exec_child *c;
	struct pen_task_result *r;

	if (i >= crew->places || crew->exec[i].tag != end->tag)
		return; /* ended here before, when the crew broke */
	c = &crew->exec[i];
	r = &crew->held[i].result;
	c->tag = 0;
	crew->counts.running--;
	crew->counts.timeouts += end->timed_out;
	read_out(crew, c, true);
	read_err(crew, c, true);
	close_pipes(c);
	remove_file(c);
	if (end->os_errno) {
		if (end->os_errno == ECANCELED)
			pen_crew_end(crew, i, PEN_TASK_UNCHARGED, -ECANCELED, NULL);
		else
			not_started(crew, i, end->os_errno,
				    crew->command.program ? crew->command.program : "the command");
		return;
	}
	crew->counts.started++;
	r->timed_out = end->timed_out;
	r->exit_status = WIFEXITED(end->status) ? WEXITSTATUS(end->status) : -1;
	r->term_signal = WIFSIGNALED(end->status) ? WTERMSIG(end->status) : 0;
	r->value = c->value ? c->value : "";
	r->value_len = c->value_len;
	r->started_ns = end->started_ns;
	r->spent_ns = end->ended_ns - end->started_ns;
	r->cpu_us = end->cpu_us;
	r->rss_kib = end->rss_kib;
	decide(crew, i, end);
}

void pen_crew_exec_cancel(struct pen_crew *crew)
{
	for (uint32_t i = 0; i < crew->places; i++) {
		struct pen_exec_child *c = &crew->exec[i];

		if (!c->tag)
			continue;
		pen_launcher_kill(crew->launcher, c->tag, crew->hard ? SIGKILL : SIGTERM, crew->opt.grace_ns);
		c->killed = true;
		if (!crew->broken)
			continue;
		c->tag = 0;
		crew->counts.running--;
		close_pipes(c);
		remove_file(c);
		pen_crew_end(crew, i, PEN_TASK_UNCHARGED, crew->failure.code, "%s", crew->failure.text);
	}
}
