/* SPDX-License-Identifier: MIT */
/*
 * verify - runs the audit in a child and listens
 *
 * The pipe carries records of at most PIPE_BUF bytes, so each arrives whole or not at all, whatever becomes
 * of the child. The last record says how many violations there were, or why the audit could not run. A
 * child that ends without it died on what it read: that is a finding, named by the place it had noted in
 * the shared mapping.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ring/base.h"
#include "store/audit.h"

#define TEXT_MAX 1024u
#define KIND_DONE (-1)

struct record {
	uint32_t len;	   /* of the text */
	int32_t invariant; /* or KIND_DONE */
	uint64_t total;
	int32_t code, os_errno;
	char text[TEXT_MAX];
};
#define RECORD_HEAD offsetof(struct record, text)
_Static_assert(sizeof(struct record) <= PIPE_BUF, "a record is written whole");

/* ---- the child ------------------------------------------------------------------------------- */

static void send_record(int fd, struct record *rec)
{
	ssize_t n;

	rec->len = (uint32_t)strnlen(rec->text, TEXT_MAX - 1);
	do
		n = write(fd, rec, RECORD_HEAD + rec->len);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		_exit(1); /* nobody listens any more */
}

void pen_audit_say(struct pen_audit_voice *voice, enum pen_invariant invariant, const char *format, ...)
{
	struct record rec = { .invariant = invariant };
	va_list args;

	voice->total++;
	if (voice->count[invariant]++ >= PEN_AUDIT_REPORTS)
		return;
	va_start(args, format);
	vsnprintf(rec.text, sizeof(rec.text), format, args);
	va_end(args);
	send_record(voice->fd, &rec);
}

void pen_audit_place(struct pen_audit_voice *voice, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(voice->where->place, sizeof(voice->where->place), format, args);
	va_end(args);
	voice->where->entry = 0;
	atomic_fetch_add_explicit(&voice->where->ticks, 1, memory_order_relaxed);
}

static void say_rest(struct pen_audit_voice *voice)
{
	for (int i = 1; i < PEN_INV_COUNT; i++) {
		struct record rec = { .invariant = i };

		if (voice->count[i] <= PEN_AUDIT_REPORTS)
			continue;
		snprintf(rec.text, sizeof(rec.text), "and %" PRIu64 " more",
			 voice->count[i] - PEN_AUDIT_REPORTS);
		send_record(voice->fd, &rec);
	}
}

_Noreturn static void run_child(pen_audit_body *body, const void *arg, struct pen_audit_where *where, int fd)
{
	static const int deadly[] = { SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL };
	struct pen_audit_voice voice = { .where = where, .fd = fd };
	struct record done = { .invariant = KIND_DONE };
	struct pen_failure why = { 0 };
	struct rlimit no_core = { 0, 0 };

	/* A death must be plain to see from outside: no handlers of the program, no core file of a whole store. */
	for (size_t i = 0; i < PEN_COUNT(deadly); i++)
		signal(deadly[i], SIG_DFL);
	setrlimit(RLIMIT_CORE, &no_core);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	done.code = body(&voice, arg, &why);
	say_rest(&voice);
	done.total = voice.total;
	done.os_errno = why.os_errno;
	snprintf(done.text, sizeof(done.text), "%s", why.text);
	send_record(fd, &done);
	_exit(0);
}

/* ---- the parent ------------------------------------------------------------------------------ */

struct listener {
	pen_finding_fn *finding;
	void *arg;
	uint64_t heard;
	bool done;
	struct record last;
	uint8_t buffer[2 * sizeof(struct record)];
	size_t fill;
};

/* Takes whole records out of the buffer. */
static void hear(struct listener *listener)
{
	size_t at = 0;

	while (listener->fill - at >= RECORD_HEAD) {
		struct record rec = { 0 };

		memcpy(&rec, listener->buffer + at, RECORD_HEAD);
		if (listener->fill - at < RECORD_HEAD + rec.len)
			break;
		memcpy(rec.text, listener->buffer + at + RECORD_HEAD, rec.len);
		at += RECORD_HEAD + rec.len;
		if (rec.invariant == KIND_DONE) {
			listener->last = rec;
			listener->done = true;
		} else {
			listener->heard++;
			listener->finding(listener->arg, rec.invariant, rec.text);
		}
	}
	memmove(listener->buffer, listener->buffer + at, listener->fill - at);
	listener->fill -= at;
}

/* Until the child closes the pipe. True when it had to be killed because it stood still. */
static bool listen_to(struct listener *listener, int fd, pid_t child, struct pen_audit_where *where,
		      uint64_t stall_ns)
{
	uint64_t ticks = 0, moved = pen_mono_ns(&pen_clock_real);
	bool killed = false;

	for (;;) {
		struct pollfd pfd = { .fd = fd, .events = POLLIN };
		int wait_ms = (int)pen_min(1000, stall_ns / PEN_NS_PER_MS + 1), n = poll(&pfd, 1, wait_ms);
		uint64_t now = pen_mono_ns(&pen_clock_real);
		uint64_t seen = atomic_load_explicit(&where->ticks, memory_order_relaxed);

		if (n > 0) {
			ssize_t got = read(fd, listener->buffer + listener->fill,
					   sizeof(listener->buffer) - listener->fill);
			if (got > 0) {
				listener->fill += (size_t)got;
				hear(listener);
				moved = now;
			} else if (got == 0 || errno != EINTR) {
				return killed;
			}
		}
		if (seen != ticks) {
			ticks = seen;
			moved = now;
		} else if (!killed && now - moved > stall_ns) {
			kill(child, SIGKILL);
			killed = true;
		}
	}
}

static void say_death(struct listener *listener, const struct pen_audit_where *where, int status,
		      bool stalled)
{
	int place_len = (int)strnlen(where->place, sizeof(where->place));
	int detail_len = (int)strnlen(where->detail, sizeof(where->detail));
	char text[TEXT_MAX], how[256];

	if (stalled)
		snprintf(how, sizeof(how), "the check got nowhere for too long");
	else if (detail_len)
		snprintf(how, sizeof(how), "LMDB gave up (%.*s)", detail_len, where->detail);
	else if (WIFSIGNALED(status))
		snprintf(how, sizeof(how), "a damaged page ended the check (SIG%s)",
			 sigabbrev_np(WTERMSIG(status)));
	else
		snprintf(how, sizeof(how), "the check ended early (status %d)", WEXITSTATUS(status));
	snprintf(text, sizeof(text), "%.*s: %s at entry %" PRIu64 "; what comes after it was not checked",
		 place_len, where->place, how, where->entry);
	listener->heard++;
	listener->finding(listener->arg, PEN_INV_PAGES, text);
}

static long conclude(struct listener *listener, const struct pen_audit_where *where, int status, bool stalled,
		     struct pen_failure *why)
{
	struct record *last = &listener->last;

	if (!listener->done) {
		say_death(listener, where, status, stalled);
		return (long)listener->heard;
	}
	if (last->code)
		return pen_fail(why, last->code, last->os_errno, "%s", last->text);
	return (long)pen_min(last->total, LONG_MAX);
}

long pen_audit_guard(pen_audit_body *body, const void *body_arg, uint64_t stall_ns, pen_finding_fn *finding,
		     void *arg, struct pen_failure *why)
{
	struct pen_audit_where *where;
	struct listener *listener;
	int fds[2], status = 0;
	bool stalled;
	long ret;
	pid_t child;

	listener = calloc(1, sizeof(*listener));
	where = mmap(NULL, sizeof(*where), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (!listener || where == MAP_FAILED) {
		free(listener);
		if (where != MAP_FAILED)
			munmap(where, sizeof(*where));
		return pen_fail(why, -PEN_MEMORY, errno, "no memory for the check");
	}
	*listener = (struct listener){ .finding = finding, .arg = arg };
	ret = pipe2(fds, O_CLOEXEC) ? -errno : 0;
	if (ret)
		goto out;
	child = fork();
	if (child == 0) {
		close(fds[0]);
		run_child(body, body_arg, where, fds[1]);
	}
	ret = child < 0 ? -errno : 0;
	close(fds[1]);
	if (child > 0) {
		stalled = listen_to(listener, fds[0], child, where, stall_ns);
		while (waitpid(child, &status, 0) < 0 && errno == EINTR)
			;
		ret = conclude(listener, where, status, stalled, why);
	}
	close(fds[0]);
out:
	if (ret < 0)
		pen_fail(why, (int)ret, 0, "the check could not be started");
	munmap(where, sizeof(*where));
	free(listener);
	return ret;
}

long pen_verify(const char *dir, pen_finding_fn *finding, void *arg, struct pen_failure *why)
{
	return pen_audit_guard(pen_audit_run, dir, PEN_AUDIT_STALL_NS, finding, arg, why);
}
