/* SPDX-License-Identifier: MIT */
/*
 * The life of a task and the waiting.
 *
 *   poll   gives back what was told last time
 *          starts children and sends requests, takes what children said, hands out what is ready
 *          with nothing ready: sleeps in epoll_wait until a child speaks or ends, or the timer rings
 *
 * Everything to wait for is in one epoll set: the launcher, the pipes, and a timer for deadlines. The timer is also
 * how poll says "call me again" (room in the caller's array ran out before the answers did).
 *
 * When children cannot be had at all the crew is broken: it says so once, and every task goes back as it came.
 */
#include "engine/crew.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/crew_private.h"
#include "engine/json_scan.h"
#include "ring/assert.h"
#include "ring/base.h"
#include "ring/error.h"

#define EVENTS 64u
#define LINE_SHOWN 300
#define AHEAD_MIN 4u /* launches that wait in the launcher, so that a child's end starts the next at once */
#define AHEAD_MAX 64u
#define WORKER_AHEAD_MAX 65536u

/* ---- lists ---- */

void pen_held_push(struct pen_crew *crew, struct pen_held_list *list, uint32_t i)
{
	crew->held[i].next = PEN_HELD_NONE;
	if (list->count++)
		crew->held[list->last].next = i;
	else
		list->first = i;
	list->last = i;
}

void pen_held_push_front(struct pen_crew *crew, struct pen_held_list *list, uint32_t i)
{
	crew->held[i].next = list->count ? list->first : PEN_HELD_NONE;
	if (!list->count++)
		list->last = i;
	list->first = i;
}

uint32_t pen_held_pop(struct pen_crew *crew, struct pen_held_list *list)
{
	uint32_t i = list->first;

	if (!list->count)
		return PEN_HELD_NONE;
	list->count--;
	list->first = crew->held[i].next;
	return i;
}

/* ---- small things that both kinds need ---- */

uint64_t pen_crew_now(const struct pen_crew *crew)
{
	return pen_mono_ns(crew->opt.clock);
}

void pen_crew_clean(char *text)
{
	size_t len = strnlen(text, PEN_CREW_TEXT - 1);
	bool utf8;

	if (!len)
		return; /* may be a literal */
	if (text[len]) { /* it is cut: between two characters, if there are any; a constant "" is not touched */
		while (len && ((unsigned char)text[len] & 0xc0) == 0x80)
			len--;
		text[len] = '\0';
	}
	utf8 = pen_json_utf8(text, len);
	for (unsigned char *p = (unsigned char *)text; *p; p++)
		if (*p < ' ' || *p == 0x7f || (*p >= 0x80 && !utf8))
			*p = *p == '\n' || *p == '\t' ? ' ' : '?';
}

void pen_crew_end(struct pen_crew *crew, uint32_t i, enum pen_task_fate fate, int code, const char *format,
		  ...)
{
	struct pen_held *h = &crew->held[i];
	char text[2 * PEN_CREW_TEXT];
	va_list args;

	pen_assert(fate);
	h->result.id = h->task.id;
	h->result.fate = fate;
	h->result.code = code;
	h->result.message = "";
	h->result.worker_code = h->result.worker_code ? h->result.worker_code : "";
	h->result.stderr_tail = h->result.stderr_tail ? h->result.stderr_tail : "";
	if (format) {
		va_start(args, format);
		(void)vsnprintf(text, sizeof(text), format, args); /* a cut message is still one */
		va_end(args);
		pen_crew_clean(text);
		pen_assert(!h->text);
		h->text = strdup(text);
		if (h->text)
			h->result.message = h->text;
	}
	pen_held_push(crew, &crew->ready, i);
}

bool pen_crew_watch(struct pen_crew *crew, int fd, enum pen_crew_source source, uint32_t number,
		    uint32_t events)
{
	struct epoll_event event = { .events = events, .data.u64 = (uint64_t)source << 32 | number };

	return epoll_ctl(crew->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

bool pen_crew_rewatch(struct pen_crew *crew, int fd, enum pen_crew_source source, uint32_t number,
		      uint32_t events)
{
	struct epoll_event event = { .events = events, .data.u64 = (uint64_t)source << 32 | number };

	return epoll_ctl(crew->epoll, EPOLL_CTL_MOD, fd, &event) == 0;
}

int pen_crew_pipe(int *ret_ours, int *ret_theirs, bool we_write)
{
	int pair[2];

	if (pipe2(pair, O_CLOEXEC) < 0)
		return -errno;
	*ret_ours = pair[we_write];
	*ret_theirs = pair[!we_write];
	if (fcntl(*ret_ours, F_SETFL, O_NONBLOCK | (we_write ? O_WRONLY : O_RDONLY)) < 0) {
		int rc = -errno;

		(void)close(pair[0]); /* unused */
		(void)close(pair[1]);
		return rc;
	}
	return 0;
}

const char *pen_crew_last_line(const char *text, size_t len, int *ret_len)
{
	const char *begin;

	while (len && (unsigned char)text[len - 1] <= ' ')
		len--;
	begin = len ? memrchr(text, '\n', len) : NULL;
	begin = begin ? begin + 1 : text;
	if (text + len - begin > LINE_SHOWN) /* its end, from a whole character on */
		for (begin = text + len - LINE_SHOWN;
		     ((unsigned char)*begin & 0xc0) == 0x80 && begin < text + len;)
			begin++;
	*ret_len = (int)(text + len - begin);
	return begin;
}

const char *pen_crew_status_text(const struct pen_crew *crew, int status, char *buf, size_t cap)
{
	size_t len;

	if (WIFSIGNALED(status))
		(void)snprintf(buf, cap, "signal %d (%s)", WTERMSIG(status), sigdescr_np(WTERMSIG(status)));
	else
		(void)snprintf(buf, cap, "status %d", WEXITSTATUS(status));
	/* The kernel does not say that a limit was met: whoever reads of a failure is told that there is one. */
	len = strlen(buf);
	if (crew->opt.memory_max && status)
		(void)snprintf(buf + len, cap - len,
			       " (each of its processes had %" PRIu64 " MiB of memory: --memory-max)",
			       crew->opt.memory_max >> 20);
	return buf;
}

void pen_crew_key_text(const struct pen_task *task, char *buf)
{
	const unsigned char *key = task->key;

	if (task->key_len && (memchr(key, '\0', task->key_len) || !pen_json_utf8(task->key, task->key_len))) {
		for (size_t i = 0; i < task->key_len; i++)
			(void)snprintf(buf + 2 * i, 3, "%02x", key[i]);
		return;
	}
	if (task->key_len)
		memcpy(buf, key, task->key_len);
	buf[task->key_len] = '\0';
}

/* ---- open and close ---- */

static uint32_t cores(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) == 0 ? (uint32_t)CPU_COUNT(&set) : 1;
}

static char *copy_text(char **at, const char *text)
{
	size_t len = strlen(text) + 1;
	char *to = *at;

	memcpy(to, text, len);
	*at += len;
	return to;
}

/* Settles defaults and copies what the caller may free. */
static int settle(struct pen_crew *crew, const struct pen_crew_options *opt, struct pen_failure *why)
{
	struct pen_crew_options *o = &crew->opt;
	size_t bytes = 0;
	size_t n = 0;
	char *at;

	*o = *opt;
	o->jobs = o->jobs ? o->jobs : cores();
	o->window = o->window ? o->window : PEN_CREW_WINDOW;
	o->grace_ns = o->grace_ns ? o->grace_ns : PEN_CREW_GRACE_NS;
	o->output_max = o->output_max ? o->output_max : PEN_CREW_OUTPUT_MAX;
	o->stderr_keep = o->stderr_keep ? o->stderr_keep : PEN_CREW_STDERR_KEEP;
	o->clock = o->clock ? o->clock : &pen_clock_real;
	if (o->jobs > PEN_CREW_JOBS_MAX || o->window > PEN_CREW_WINDOW_MAX)
		return pen_fail(why, -PEN_USAGE, 0, "%u jobs with a window of %u; at most %u and %u", o->jobs,
				o->window, PEN_CREW_JOBS_MAX, PEN_CREW_WINDOW_MAX);
	for (; o->env && o->env[n]; n++)
		bytes += strlen(o->env[n]) + 1;
	crew->env = calloc(n + 1, sizeof(*crew->env));
	crew->texts = at = malloc(bytes + 1);
	if (!crew->env || !at)
		return pen_fail(why, -ENOMEM, ENOMEM, "no memory for a crew");
	for (size_t i = 0; i < n; i++)
		crew->env[i] = copy_text(&at, opt->env[i]);
	o->env = (const char *const *)crew->env;
	if (o->correlation_id) {
		(void)snprintf(crew->correlation, sizeof crew->correlation, "%s", o->correlation_id);
		o->correlation_id = crew->correlation;
	}
	o->command = NULL;
	return 0;
}

static int make_tmpdir(struct pen_crew *crew, struct pen_failure *why)
{
	const char *env = getenv("TMPDIR");
	const char *base = crew->opt.tmpdir		   ? crew->opt.tmpdir
			   : access("/dev/shm", W_OK) == 0 ? "/dev/shm"
			   : env && *env		   ? env
							   : "/tmp";
	int rc;

	crew->opt.tmpdir = NULL;
	if (!crew->command.wants_path)
		return 0;
	if (asprintf(&crew->tmpdir, "%s/penstock-exec.XXXXXX", base) < 0) {
		crew->tmpdir = NULL;
		return pen_fail(why, -ENOMEM, ENOMEM, "no memory for a crew");
	}
	if (!mkdtemp(crew->tmpdir)) {
		rc = errno;
		(void)pen_fail(why, -rc, rc, "%s: no directory for the files of {} can be made",
			       crew->tmpdir);
		free(crew->tmpdir);
		crew->tmpdir = NULL;
		return -rc;
	}
	return 0;
}

static int make_places(struct pen_crew *crew, struct pen_failure *why)
{
	uint64_t jobs = crew->opt.jobs;
	uint64_t tasks = jobs + pen_min(pen_max(jobs, AHEAD_MIN), AHEAD_MAX);

	if (crew->opt.kind == PEN_CREW_WORKER)
		tasks = jobs * crew->opt.window + pen_min(jobs * crew->opt.window, WORKER_AHEAD_MAX);
	crew->tasks = (uint32_t)tasks;
	crew->places = 2 * crew->tasks;
	crew->held = calloc(crew->places, sizeof(*crew->held));
	crew->words = malloc(PEN_LAUNCH_BYTES);
	crew->argv = calloc(PEN_COMMAND_WORDS + 1, sizeof(*crew->argv));
	if (!crew->held || !crew->words || !crew->argv)
		return pen_fail(why, -ENOMEM, ENOMEM, "no memory for a crew of %u tasks", crew->tasks);
	for (uint32_t i = 0; i < crew->places; i++)
		pen_held_push(crew, &crew->free, i);
	return 0;
}

static int make_descriptors(struct pen_crew *crew, struct pen_failure *why)
{
	struct pen_launcher_options opt = {
		.program = crew->opt.launcher,
		.env = crew->opt.env,
		.jobs = crew->opt.jobs,
		.slots = crew->opt.kind == PEN_CREW_EXEC ? crew->tasks : 2 * crew->opt.jobs,
		.memory_max = crew->opt.memory_max,
		.tmpdir = crew->tmpdir,
	};
	sigset_t pipe;
	int rc;

	sigemptyset(&pipe);
	sigaddset(&pipe, SIGPIPE);
	(void)pthread_sigmask(SIG_BLOCK, &pipe, NULL); /* cannot fail */
	crew->epoll = epoll_create1(EPOLL_CLOEXEC);
	crew->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	crew->null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (crew->epoll < 0 || crew->timer < 0 || crew->null < 0) {
		rc = errno;
		return pen_fail(why, -rc, rc, "no descriptors for a crew");
	}
	rc = pen_launcher_open(&crew->launcher, &opt, why);
	crew->opt.launcher = NULL;
	if (rc)
		return rc;
	if (!pen_crew_watch(crew, pen_launcher_fd(crew->launcher), PEN_CREW_LAUNCHER, 0, EPOLLIN) ||
	    !pen_crew_watch(crew, crew->timer, PEN_CREW_TIMER, 0, EPOLLIN)) {
		rc = errno;
		return pen_fail(why, -rc, rc, "no descriptors for a crew");
	}
	return 0;
}

static const char *kind_of(const struct pen_crew *crew)
{
	return crew->opt.kind == PEN_CREW_EXEC ? "exec" : "worker";
}

/* One line for all of its children: those of a worker have lines of their own, those of exec only at debug. */
static void log_begin(const struct pen_crew *crew)
{
	const struct pen_log_field fields[] = { PEN_LOG_TEXT("program", crew->command.program),
						PEN_LOG_U64("jobs", crew->opt.jobs) };

	(void)pen_log_external(&crew->opt.log, kind_of(crew), "crew.started", true, 0, fields,
			       PEN_COUNT(fields));
}

static void log_end(const struct pen_crew *crew)
{
	const struct pen_crew_counts *n = &crew->counts;
	const struct pen_log_field fields[] = {
		PEN_LOG_U64("given", n->given),
		PEN_LOG_U64("ended", n->ended),
		PEN_LOG_U64("started", n->started),
		PEN_LOG_U64("crashed", n->crashed),
		PEN_LOG_U64("timeouts", n->timeouts),
		PEN_LOG_TEXT("why", crew->broken ? crew->failure.text : NULL),
	};

	if (n->given)
		(void)pen_log_external(&crew->opt.log, kind_of(crew), "crew.ended", !crew->broken, 0, fields,
				       PEN_COUNT(fields));
}

int pen_crew_open(struct pen_crew **ret, const struct pen_crew_options *opt, struct pen_failure *why)
{
	struct pen_crew *crew = calloc(1, sizeof(*crew));
	int rc;

	if (!crew)
		return pen_fail(why, -ENOMEM, ENOMEM, "no memory for a crew");
	crew->epoll = crew->timer = crew->null = -1;
	rc = settle(crew, opt, why);
	rc = rc ? rc : pen_command_open(&crew->command, opt->command, why);
	rc = rc ? rc : make_tmpdir(crew, why);
	rc = rc ? rc : make_places(crew, why);
	rc = rc ? rc : make_descriptors(crew, why);
	if (!rc)
		rc = opt->kind == PEN_CREW_EXEC ? pen_crew_exec_open(crew, why)
						: pen_crew_worker_open(crew, why);
	if (rc) {
		pen_crew_close(crew);
		return rc;
	}
	log_begin(crew);
	*ret = crew;
	return 0;
}

void pen_crew_close(struct pen_crew *crew)
{
	if (!crew)
		return;
	log_end(crew);
	if (crew->worker)
		pen_crew_worker_close(crew);
	pen_launcher_close(crew->launcher);
	if (crew->exec)
		pen_crew_exec_close(crew);
	for (uint32_t i = 0; crew->held && i < crew->places; i++) {
		free(crew->held[i].text);
		free(crew->held[i].errs);
		free(crew->held[i].deeds);
	}
	if (crew->tmpdir)
		(void)rmdir(crew->tmpdir); /* the launcher has emptied and removed it, if there was one */
	for (int *fd = (int[]){ crew->epoll, crew->timer, crew->null, -2 }; *fd != -2; fd++)
		if (*fd >= 0)
			(void)close(*fd); /* nothing to lose */
	pen_command_fini(&crew->command);
	free(crew->tmpdir);
	free(crew->held);
	free(crew->words);
	free(crew->argv);
	free(crew->env);
	free(crew->texts);
	free(crew);
}

/* ---- give ---- */

uint32_t pen_crew_room(const struct pen_crew *crew)
{
	return crew->broken || crew->cancelled ? 0 : crew->tasks - crew->live;
}

int pen_crew_give(struct pen_crew *crew, const struct pen_task *task)
{
	uint32_t i;

	if (crew->broken)
		return crew->failure.code;
	if (crew->cancelled)
		return -ECANCELED;
	if (crew->live == crew->tasks)
		return -EAGAIN;
	i = pen_held_pop(crew, &crew->free);
	pen_assert(i != PEN_HELD_NONE);
	crew->held[i] = (struct pen_held){ .task = *task,
					   .suspect = task->crashes > 0,
					   .result = { .exit_status = -1 } };
	crew->live++;
	crew->counts.given++;
	pen_held_push(crew, &crew->waiting, i);
	return 0;
}

/* ---- poll ---- */

static void release(struct pen_crew *crew)
{
	uint32_t i;

	while ((i = pen_held_pop(crew, &crew->told)) != PEN_HELD_NONE) {
		free(crew->held[i].text);
		crew->held[i].text = NULL;
		if (crew->exec)
			pen_crew_exec_release(crew, i);
		else
			pen_crew_worker_release(crew, i);
		pen_held_push(crew, &crew->free, i);
	}
	if (crew->worker)
		pen_crew_worker_compact(crew);
}

static uint32_t hand_out(struct pen_crew *crew, struct pen_task_result *ret, uint32_t n)
{
	uint32_t done = 0;

	while (done < n && crew->ready.count) {
		uint32_t i = pen_held_pop(crew, &crew->ready);

		ret[done++] = crew->held[i].result;
		pen_held_push(crew, &crew->told, i);
		crew->live--;
		crew->counts.ended++;
	}
	return done;
}

static void take_ends(struct pen_crew *crew)
{
	struct pen_launch_end ends[PEN_LAUNCH_ENDS];
	bool gone = false;
	uint32_t n = pen_launcher_ends(crew->launcher, ends, PEN_LAUNCH_ENDS, &gone);

	for (uint32_t i = 0; i < n; i++) {
		if (crew->exec)
			pen_crew_exec_ended(crew, &ends[i]);
		else
			pen_crew_worker_ended(crew, &ends[i]);
	}
	if (gone)
		pen_crew_break(crew, -PEN_CHILD_LAUNCHER, 0,
			       "the launcher of child processes (process %d) was killed",
			       (int)pen_launcher_pid(crew->launcher));
}

static void take_event(struct pen_crew *crew, const struct epoll_event *event)
{
	enum pen_crew_source source = (enum pen_crew_source)(event->data.u64 >> 32);
	uint32_t number = (uint32_t)event->data.u64;
	uint64_t rings;

	if (source == PEN_CREW_LAUNCHER)
		take_ends(crew);
	else if (source == PEN_CREW_TIMER)
		(void)!read(crew->timer, &rings, sizeof(rings)); /* EAGAIN: it was set anew meanwhile */
	else if (crew->exec)
		pen_crew_exec_event(crew, source, number);
	else
		pen_crew_worker_event(crew, source, number);
	if (source == PEN_CREW_TIMER)
		crew->armed_ns = 0;
}

static void flush(struct pen_crew *crew)
{
	int rc = pen_launcher_flush(crew->launcher);

	if (rc == -EPIPE && !crew->broken)
		pen_crew_break(crew, -PEN_CHILD_LAUNCHER, EPIPE,
			       "the launcher of child processes (process %d) was killed",
			       (int)pen_launcher_pid(crew->launcher));
	if ((rc == -EAGAIN) != crew->full) {
		crew->full = !crew->full;
		(void)pen_crew_rewatch(crew, pen_launcher_fd(crew->launcher), PEN_CREW_LAUNCHER, 0,
				       EPOLLIN | (crew->full ? EPOLLOUT
							     : 0)); /* cannot fail: it is in the set */
	}
}

/* Has the timer ring at `at` at the latest. */
static void arm(struct pen_crew *crew, uint64_t at)
{
	struct itimerspec when = { 0 };
	uint64_t now, ns;

	if (!at || (crew->armed_ns && crew->armed_ns <= at))
		return;
	now = pen_crew_now(crew);
	ns = at > now ? at - now : 1;
	when.it_value = (struct timespec){ (time_t)(ns / PEN_NS_PER_S), (long)(ns % PEN_NS_PER_S) };
	if (timerfd_settime(crew->timer, 0, &when, NULL) == 0)
		crew->armed_ns = at;
}

static void move_on(struct pen_crew *crew)
{
	if (crew->broken)
		return;
	if (crew->exec) {
		pen_crew_exec_start(crew);
		arm(crew, crew->start_at);
	} else {
		pen_crew_worker_lines(crew);
		pen_crew_worker_start(crew);
		arm(crew,
		    pen_crew_worker_clock(crew)); /* behind start: what is given has a time from now on */
	}
	flush(crew);
}

static int wait_ms(const struct pen_crew *crew, uint64_t until)
{
	uint64_t now;

	if (until == UINT64_MAX)
		return -1;
	now = pen_mono_ns(&pen_clock_real);
	(void)crew;
	return now >= until ? 0 : (int)pen_min((until - now + PEN_NS_PER_MS - 1) / PEN_NS_PER_MS, 1000000);
}

uint32_t pen_crew_poll(struct pen_crew *crew, struct pen_task_result *ret, uint32_t n, uint64_t timeout_ns)
{
	struct epoll_event events[EVENTS];
	uint64_t until = timeout_ns;
	uint32_t done;

	if (timeout_ns && timeout_ns != UINT64_MAX)
		until += pen_mono_ns(&pen_clock_real);
	release(crew);
	for (bool slept = false;;) {
		int got, ms;

		crew->budget = n - (uint32_t)pen_min(n, crew->ready.count);
		move_on(crew);
		done = crew->ready.count >= n;
		ms = crew->ready.count || !timeout_ns ? 0 : wait_ms(crew, until);
		if (!crew->live || (slept && (crew->ready.count || !ms)))
			break;
		got = done ? 0 : epoll_wait(crew->epoll, events, EVENTS, ms);
		for (int i = 0; i < got; i++)
			take_event(crew, &events[i]);
		slept = true;
	}
	done = hand_out(crew, ret, n);
	if (crew->ready.count || crew->lines)
		arm(crew, 1);
	return done;
}

int pen_crew_fd(const struct pen_crew *crew)
{
	return crew->epoll;
}

/* ---- the end of it ---- */

void pen_crew_cancel(struct pen_crew *crew, bool hard)
{
	uint32_t i;

	if (crew->broken || (crew->cancelled && (crew->hard || !hard)))
		return;
	crew->cancelled = true;
	crew->hard = hard;
	while ((i = pen_held_pop(crew, &crew->waiting)) != PEN_HELD_NONE)
		pen_crew_end(crew, i, PEN_TASK_UNCHARGED, -ECANCELED, NULL);
	if (crew->exec)
		pen_crew_exec_cancel(crew);
	else
		pen_crew_worker_cancel(crew);
	flush(crew);
	arm(crew, 1);
}

void pen_crew_break(struct pen_crew *crew, int code, int os_errno, const char *format, ...)
{
	va_list args;
	uint32_t i;

	if (crew->broken)
		return;
	crew->broken = true;
	crew->failure.code = code;
	crew->failure.os_errno = os_errno;
	va_start(args, format);
	(void)vsnprintf(crew->failure.text, sizeof(crew->failure.text), format, args);
	va_end(args);
	pen_crew_clean(crew->failure.text);
	crew->hard = true;
	while ((i = pen_held_pop(crew, &crew->waiting)) != PEN_HELD_NONE)
		pen_crew_end(crew, i, PEN_TASK_UNCHARGED, code, "%s", crew->failure.text);
	if (crew->exec)
		pen_crew_exec_cancel(crew);
	else
		pen_crew_worker_cancel(crew);
	(void)pen_launcher_flush(crew->launcher); /* it may be gone */
}

const struct pen_failure *pen_crew_failure(const struct pen_crew *crew)
{
	return crew->broken ? &crew->failure : NULL;
}

void pen_crew_counts(const struct pen_crew *crew, struct pen_crew_counts *ret)
{
	*ret = crew->counts;
}
