/* SPDX-License-Identifier: MIT */
/*
 * Children that stay, and what is to be done when they do not.
 *
 * Giving: the child with the fewest tasks gets the next one; a further child is started when all have something to do.
 *
 * An end: what the child had said is read first, and counts. Of the rest, what still lies in the pipe it has never
 * read (FIONREAD tells how much that is): those tasks are innocent and go back into the queue. What it had read are the
 * suspects. One suspect is the guilty one; several are given to the next child one at a time, and that child gets
 * nothing else meanwhile. So an item is charged with a crash only when a child has died with it alone.
 *
 * Ends without any answer in between lead to pauses, and to the end of the crew when children die before they have
 * read anything (BARE_MAX times in a row), or when none has ever answered (FALLS_MAX).
 *
 * Time: a child that has not answered anything for the time of an item, or has an item for longer than all before
 * it could take, is ended like one that died; when it had one item only, that item took too long.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/crew_worker.h"
#include "ring/assert.h"
#include "ring/base.h"
#include "ring/error.h"

#define BARE_MAX 5u
#define FALLS_MAX 64u
#define PAUSE_NS (10 * PEN_NS_PER_MS)
#define PAUSES_MAX 4u /* doublings of it; twice as many for children that read nothing */
#define FAREWELL_NS PEN_NS_PER_S
#define ERR_READ (64u << 10)
#define DRAIN_MAX (4u << 20) /* of stderr behind an end */

int pen_crew_worker_open(struct pen_crew *crew, struct pen_failure *why)
{
	if (crew->command.has_places)
		return pen_fail(why, -PEN_USAGE, 0,
				"a worker's command has no {}, {key} or {seq}: items come on its stdin");
	crew->worker = calloc(crew->opt.jobs, sizeof(*crew->worker));
	crew->deeds = calloc(PEN_CREW_DEEDS_MAX, sizeof(*crew->deeds));
	crew->scratch = malloc(ERR_READ);
	if (!crew->worker || !crew->deeds || !crew->scratch || pen_json_open(&crew->json))
		return pen_fail(why, -ENOMEM, ENOMEM, "no memory for workers");
	for (uint32_t k = 0; k < crew->opt.jobs; k++) {
		struct pen_worker_child *c = pen_worker_of(crew, k);

		c->in = c->out = c->err = -1;
		pen_tail_init(&c->tail, crew->opt.stderr_keep);
		c->task = calloc(crew->opt.window, sizeof(*c->task));
		c->id = calloc(crew->opt.window, sizeof(*c->id));
		if (!c->task || !c->id)
			return pen_fail(why, -ENOMEM, ENOMEM, "no memory for workers");
	}
	return pen_command_words(&crew->command, &(struct pen_command_values){ 0 }, crew->words,
				 PEN_LAUNCH_BYTES, crew->argv)
		       ? pen_fail(why, -PEN_USAGE, E2BIG, "a command of more than %u bytes", PEN_LAUNCH_BYTES)
		       : 0;
}

/* ---- buffers between polls ---- */

void pen_crew_worker_release(struct pen_crew *crew, uint32_t i)
{
	struct pen_held *h = &crew->held[i];

	if (h->pins)
		pen_worker_of(crew, h->pins - 1)->pinned--;
	h->pins = 0;
	free(h->errs);
	free(h->deeds);
	h->errs = NULL;
	h->deeds = NULL;
}

void pen_crew_worker_compact(struct pen_crew *crew)
{
	for (uint32_t k = 0; k < crew->opt.jobs; k++) {
		struct pen_worker_child *c = pen_worker_of(crew, k);

		if (c->pinned || !c->begin)
			continue;
		memmove(c->line, c->line + c->begin, c->fill - c->begin);
		c->fill -= c->begin;
		c->scanned -= c->begin;
		c->begin = 0;
		if (c->cap > 4 * PEN_WORKER_LINE && c->fill < PEN_WORKER_LINE) {
			char *line = realloc(c->line, PEN_WORKER_LINE + PEN_JSON_PADDING);

			c->line = line ? line : c->line;
			c->cap = line ? PEN_WORKER_LINE : c->cap;
		}
	}
}

/* ---- start ---- */

static void pause_all(struct pen_crew *crew, struct pen_worker_child *c)
{
	uint64_t n = crew->bare ? pen_min(2 * crew->bare, 2 * PAUSES_MAX) : pen_min(crew->falls, PAUSES_MAX);

	c->give_at = n > (crew->bare ? 0 : 1) ? pen_crew_now(crew) + (PAUSE_NS << n) : 0;
}

/* How it ended, or NULL. The first of a crew are worth a line each, later ones only at debug: one may end each item. */
static void log_child(const struct pen_crew *crew, uint32_t number, const char *what, const char *how)
{
	struct pen_log_context context = crew->opt.log;
	const struct pen_log_field fields[] = { PEN_LOG_U64("child", number), PEN_LOG_TEXT("how", how) };

	if (crew->counts.started > pen_max(crew->opt.jobs, 4))
		context.level = PEN_LOG_DEBUG;
	(void)pen_log_external(&context, "worker", what, true, 0, fields, PEN_COUNT(fields));
}

/* It ended before it was asked to. */
static void log_fall(const struct pen_crew *crew, uint32_t number, const struct pen_worker_child *c,
		     bool clean)
{
	struct pen_log_context context = crew->opt.log;
	char text[128];
	const struct pen_log_field fields[] = {
		PEN_LOG_U64("child", number),
		PEN_LOG_TEXT("how", pen_crew_status_text(crew, c->end.status, text, sizeof text)),
		PEN_LOG_TEXT("said", c->complaint[0] ? c->complaint : NULL),
		PEN_LOG_BOOL("timedOut", c->timed_out),
	};

	context.level = clean || crew->counts.crashed > 8 ? PEN_LOG_DEBUG : PEN_LOG_WARN;
	(void)pen_log_external(&context, "worker", "worker.ended", clean, 0, fields, PEN_COUNT(fields));
}

static void start_child(struct pen_crew *crew, uint32_t number)
{
	struct pen_worker_child *c = pen_worker_of(crew, number);
	struct pen_launch launch = { .tag = ++crew->serial << 32 | number,
				     .path = crew->command.program,
				     .argv = (const char *const *)crew->argv,
				     .fd = { -1, -1, -1 } };
	int rc;

	c->requests = c->requests ? c->requests : malloc(PEN_WORKER_REQUESTS);
	rc = c->requests ? 0 : ENOMEM;
	rc = rc ? rc : -pen_crew_pipe(&c->in, &launch.fd[0], true);
	rc = rc ? rc : -pen_crew_pipe(&c->out, &launch.fd[1], false);
	rc = rc ? rc : -pen_crew_pipe(&c->err, &launch.fd[2], false);
	if (!rc && (!pen_crew_watch(crew, c->in, PEN_CREW_IN, number, 0) ||
		    !pen_crew_watch(crew, c->out, PEN_CREW_OUT, number, EPOLLIN) ||
		    !pen_crew_watch(crew, c->err, PEN_CREW_ERR, number, EPOLLIN)))
		rc = errno;
	rc = rc ? rc : -pen_launcher_spawn(crew->launcher, &launch);
	if (rc) {
		for (int k = 0; k < 3; k++)
			pen_worker_close_fd(&launch.fd[k]);
		pen_worker_close_fd(&c->in);
		pen_worker_close_fd(&c->out);
		pen_worker_close_fd(&c->err);
		crew->start_at = pen_crew_now(crew) + PEN_NS_PER_S; /* the reasons for this may pass */
		return;
	}
	c->tag = launch.tag;
	c->state = PEN_WORKER_UP;
	c->in_full = c->half_made = false;
	c->at = c->len = 0;
	c->written = 0;
	c->next_id = 1;
	c->deaf_ns = 0;
	c->alone = c->answered = c->ready = c->timed_out = c->asked = false;
	c->complaint[0] = '\0';
	pen_tail_clear(&c->tail);
	pause_all(crew, c);
	crew->counts.running++;
	crew->counts.started++;
	log_child(crew, number, "worker.started", NULL);
}

/* ---- give ---- */

static bool takes(const struct pen_crew *crew, const struct pen_worker_child *c, uint64_t now)
{
	return c->state == PEN_WORKER_UP && !c->deaf_ns && !c->half_made && c->len < PEN_WORKER_REQUESTS &&
	       (!c->give_at || now >= c->give_at) && c->count < crew->opt.window;
}

/* The child for the next task; PEN_HELD_NONE: none now. */
static uint32_t choose(struct pen_crew *crew, uint64_t now)
{
	uint32_t best = PEN_HELD_NONE;
	uint32_t absent = PEN_HELD_NONE;

	for (uint32_t k = 0; k < crew->opt.jobs; k++) {
		struct pen_worker_child *c = pen_worker_of(crew, k);

		if (c->state == PEN_WORKER_NONE && absent == PEN_HELD_NONE && !c->suspects.count)
			absent = k;
		if (c->suspects.count || c->alone || !takes(crew, c, now))
			continue;
		if (best == PEN_HELD_NONE || c->count < pen_worker_of(crew, best)->count)
			best = k;
		if (!c->count)
			break;
	}
	if (absent != PEN_HELD_NONE && !crew->start_at &&
	    (best == PEN_HELD_NONE || pen_worker_of(crew, best)->count)) {
		start_child(crew, absent);
		if (takes(crew, pen_worker_of(crew, absent), now))
			best = absent;
	}
	return best;
}

static void give_suspects(struct pen_crew *crew, uint64_t now)
{
	for (uint32_t k = 0; k < crew->opt.jobs; k++) {
		struct pen_worker_child *c = pen_worker_of(crew, k);

		if (!c->suspects.count)
			continue;
		if (c->state == PEN_WORKER_NONE && !crew->start_at)
			start_child(crew, k);
		if (!c->count && takes(crew, c, now)) {
			pen_worker_send(crew, k, pen_held_pop(crew, &c->suspects));
			c->alone = true;
		}
	}
}

static void add_suspect(struct pen_crew *crew, uint32_t i)
{
	uint32_t best = 0;

	for (uint32_t k = 1; k < crew->opt.jobs; k++)
		if (pen_worker_of(crew, k)->suspects.count < pen_worker_of(crew, best)->suspects.count)
			best = k;
	pen_held_push(crew, &pen_worker_of(crew, best)->suspects, i);
}

void pen_crew_worker_start(struct pen_crew *crew)
{
	uint64_t now = pen_crew_now(crew);

	if (crew->start_at && now >= crew->start_at)
		crew->start_at = 0;
	give_suspects(crew, now);
	while (crew->waiting.count && !crew->cancelled) {
		uint32_t k;

		if (crew->held[crew->waiting.first].suspect) {
			add_suspect(crew, pen_held_pop(crew, &crew->waiting));
			give_suspects(crew, now);
			continue;
		}
		k = choose(crew, now);
		if (k == PEN_HELD_NONE)
			break;
		pen_worker_send(crew, k, pen_held_pop(crew, &crew->waiting));
	}
	for (uint32_t k = 0; k < crew->opt.jobs; k++)
		if (!pen_worker_of(crew, k)->in_full)
			pen_worker_write(crew, k);
}

/* ---- events ---- */

static void read_err(struct pen_crew *crew, struct pen_worker_child *c, bool all)
{
	size_t sum = 0;

	while (c->err >= 0 && sum < DRAIN_MAX) {
		ssize_t got = read(c->err, crew->scratch, ERR_READ);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && errno == EAGAIN)
			return;
		if (got <= 0) {
			pen_worker_close_fd(&c->err);
			return;
		}
		pen_tail_add(&c->tail, crew->scratch, (size_t)got);
		sum += (size_t)got;
		if (!all)
			return;
	}
}

void pen_crew_worker_event(struct pen_crew *crew, enum pen_crew_source source, uint32_t number)
{
	struct pen_worker_child *c = pen_worker_of(crew, number);

	if (source == PEN_CREW_OUT) {
		(void)pen_worker_read(crew, number);
	} else if (source == PEN_CREW_ERR) {
		read_err(crew, c, false);
	} else if (c->in >= 0 && !c->deaf_ns) {
		struct pollfd look = { .fd = c->in, .events = POLLOUT };

		(void)poll(&look, 1, 0); /* revents stays 0 when it fails */
		if (look.revents & POLLERR) {
			c->deaf_ns = pen_crew_now(crew);
			(void)pen_crew_rewatch(crew, c->in, PEN_CREW_IN, number,
					       EPOLLET); /* it has been heard */
		} else {
			pen_worker_write(crew, number);
		}
	}
}

/* ---- ends ---- */

void pen_worker_kill(struct pen_crew *crew, uint32_t number, int signal)
{
	struct pen_worker_child *c = pen_worker_of(crew, number);

	if (c->state != PEN_WORKER_UP && c->state != PEN_WORKER_LEAVES)
		return;
	c->state = PEN_WORKER_LEAVES;
	pen_launcher_kill(crew->launcher, c->tag, signal, crew->opt.grace_ns);
}

/* A worker's task that ended with its child. */
static void blame(struct pen_crew *crew, struct pen_worker_child *c, uint32_t i)
{
	struct pen_held *h = &crew->held[i];
	struct pen_task_result *r = &h->result;
	const char *tail;
	const char *line;
	char status[128];
	size_t len;
	int line_len;

	tail = pen_tail_get(&c->tail, &len);
	h->errs = len ? malloc(len) : NULL;
	*r = (struct pen_task_result){
		.exit_status = WIFEXITED(c->end.status) ? WEXITSTATUS(c->end.status) : -1,
		.term_signal = WIFSIGNALED(c->end.status) ? WTERMSIG(c->end.status) : 0,
		.timed_out = c->timed_out,
		.started_ns = h->began_ns,
		.spent_ns = pen_crew_now(crew) - h->began_ns
	};
	if (h->errs) {
		memcpy(h->errs, tail, len);
		r->stderr_tail = h->errs;
		r->stderr_len = len;
	}
	line = pen_crew_last_line(tail, len, &line_len);
	(void)pen_crew_status_text(crew, c->end.status, status, sizeof(status));
	if (c->complaint[0])
		pen_crew_end(crew, i, PEN_TASK_CRASHED, -PEN_WORKER_REPLY, "%s", c->complaint);
	else if (c->timed_out)
		pen_crew_end(crew, i, PEN_TASK_RETRY, -PEN_CHILD_TIMEOUT,
			     "no answer after %.3g s; ended with %s", (double)crew->opt.timeout_ns / 1e9,
			     status);
	else
		pen_crew_end(crew, i, PEN_TASK_CRASHED, -PEN_WORKER_DIED, "ended with %s%s%.*s", status,
			     line_len ? ": " : "", line_len, line);
}

/* How much of what was written the child has taken. */
static uint64_t bytes_read(const struct pen_worker_child *c)
{
	int left = 0;

	if (c->in < 0 || ioctl(c->in, FIONREAD, &left) < 0)
		return c->written;
	return c->written - pen_min(c->written, (uint64_t)left);
}

static void look_for_break(struct pen_crew *crew, const struct pen_worker_child *c, bool read_nothing)
{
	char status[128];
	const char *tail, *line;
	size_t len;
	int line_len;

	if (c->answered || c->asked || (c->timed_out && !read_nothing))
		return;
	crew->falls++;
	crew->bare = read_nothing ? crew->bare + 1 : 0;
	if (crew->bare < BARE_MAX && (crew->answered || crew->falls < FALLS_MAX))
		return;
	tail = pen_tail_get(&c->tail, &len);
	line = pen_crew_last_line(tail, len, &line_len);
	pen_crew_break(crew, -PEN_CHILD_BROKEN, 0, "%u in a row, the last with %s%s%.*s", crew->falls,
		       pen_crew_status_text(crew, c->end.status, status, sizeof(status)),
		       line_len ? ": " : "", line_len, line);
}

/* Everything it said is taken: now what it did not say. */
static void settle(struct pen_crew *crew, uint32_t number)
{
	struct pen_worker_child *c = pen_worker_of(crew, number);
	uint64_t read_up_to = bytes_read(c);
	bool clean_end = WIFEXITED(c->end.status) && WEXITSTATUS(c->end.status) == 0 && !c->complaint[0] &&
			 !c->timed_out;
	uint32_t count = c->count;
	uint32_t suspects = 0;
	uint32_t n = 0;

	read_err(crew, c, true);
	pen_worker_close_fd(&c->in);
	pen_worker_close_fd(&c->out);
	pen_worker_close_fd(&c->err);
	c->state = PEN_WORKER_NONE;
	c->count = 0;
	c->half_made = false;
	c->at = c->len = 0;
	c->begin = c->scanned = c->fill; /* half a line is no answer */
	c->tag = 0;
	crew->counts.crashed += !c->asked;
	if (c->asked)
		log_child(crew, number, "worker.ended", NULL);
	else
		log_fall(crew, number, c, clean_end);
	crew->counts.timeouts += c->timed_out;
	for (; suspects < count && crew->held[c->task[suspects]].begin < read_up_to;)
		suspects++;
	/* From the last to the first, so that they are given again in their order. */
	for (uint32_t k = count; k-- > suspects;)
		pen_held_push_front(crew, &crew->waiting, c->task[k]);
	if (c->asked && crew->cancelled) {
		for (; n < suspects; n++)
			pen_crew_end(crew, c->task[n], PEN_TASK_UNCHARGED, -ECANCELED, NULL);
#ifdef PEN_PLANT_BLAME_FIRST
	} else if (suspects) {
		for (n = suspects; n-- > 1;)
			pen_held_push_front(crew, &crew->waiting, c->task[n]);
		blame(crew, c, c->task[0]);
#endif
	} else if (suspects == 1 && (c->alone || !clean_end)) {
		blame(crew, c, c->task[0]);
	} else {
		for (; n < suspects; n++) {
			crew->held[c->task[n]].suspect = true;
			pen_held_push(crew, &c->suspects, c->task[n]);
		}
	}
	look_for_break(crew, c, !suspects);
	if (crew->cancelled)
		while ((n = pen_held_pop(crew, &crew->waiting)) != PEN_HELD_NONE)
			pen_crew_end(crew, n, PEN_TASK_UNCHARGED, -ECANCELED, NULL);
}

void pen_crew_worker_ended(struct pen_crew *crew, const struct pen_launch_end *end)
{
	uint32_t number = (uint32_t)end->tag;
	struct pen_worker_child *c;

	if (number >= crew->opt.jobs || pen_worker_of(crew, number)->tag != end->tag)
		return; /* settled before, when the crew broke */
	c = pen_worker_of(crew, number);
	crew->counts.running--;
	c->state = PEN_WORKER_LEFT;
	c->end = *end;
	if (!end->os_errno || end->os_errno == ECANCELED)
		return;
	/* It never ran. */
	crew->counts.started--;
	if (end->os_errno == EAGAIN || end->os_errno == ENOMEM || end->os_errno == ETXTBSY)
		crew->start_at = pen_crew_now(crew) + PEN_NS_PER_S;
	else
		pen_crew_break(crew, -PEN_CHILD_MISSING, end->os_errno, "%s cannot be started: %s",
			       crew->command.program, strerror(end->os_errno));
}

void pen_crew_worker_lines(struct pen_crew *crew)
{
	crew->lines = false;
	for (uint32_t k = 0; k < crew->opt.jobs && !crew->broken; k++) {
		struct pen_worker_child *c = pen_worker_of(crew, k);
		bool more = pen_worker_take_lines(crew, k);

		while (c->state == PEN_WORKER_LEFT && !more && pen_worker_read(crew, k))
			more = pen_worker_take_lines(crew, k);
		/* No room for what is still in the pipe before this poll's results are let go. */
		more |= c->state == PEN_WORKER_LEFT && c->out >= 0 && c->fill == c->cap && c->pinned;
		crew->lines |= more;
		if (c->state == PEN_WORKER_LEFT && !more)
			settle(crew, k);
	}
}

/* ---- time ---- */

static uint64_t sooner(uint64_t a, uint64_t b)
{
	return !a ? b : !b ? a : pen_min(a, b);
}

uint64_t pen_crew_worker_clock(struct pen_crew *crew)
{
	uint64_t now = pen_crew_now(crew);
	uint64_t next = crew->start_at > now ? crew->start_at : 0;

	for (uint32_t k = 0; k < crew->opt.jobs; k++) {
		struct pen_worker_child *c = pen_worker_of(crew, k);
		uint64_t at = 0;

		if (c->state != PEN_WORKER_UP)
			continue;
		if (c->give_at > now)
			next = sooner(next, c->give_at);
		if (c->count && crew->opt.timeout_ns) {
			const struct pen_held *oldest = &crew->held[c->task[0]];

			at = pen_min(c->heard_ns + crew->opt.timeout_ns,
				     oldest->began_ns + (oldest->ahead + 1) * crew->opt.timeout_ns);
			if (now >= at) {
				c->timed_out = true;
				pen_worker_kill(crew, k, SIGTERM);
				continue;
			}
		}
		if (c->deaf_ns) {
			uint64_t gone =
				pen_max(c->deaf_ns, c->heard_ns) + (c->count ? crew->opt.grace_ns : 0);

			if (now >= gone) {
				pen_worker_kill(crew, k, SIGTERM);
				continue;
			}
			at = sooner(at, gone);
		}
		next = sooner(next, at);
	}
	return next;
}

/* ---- the end of it ---- */

void pen_crew_worker_cancel(struct pen_crew *crew)
{
	for (uint32_t k = 0; k < crew->opt.jobs; k++) {
		struct pen_worker_child *c = pen_worker_of(crew, k);
		uint32_t i;

		while ((i = pen_held_pop(crew, &c->suspects)) != PEN_HELD_NONE)
			pen_crew_end(crew, i, PEN_TASK_UNCHARGED,
				     crew->broken ? crew->failure.code : -ECANCELED, "%s",
				     crew->failure.text);
		c->asked = true;
		pen_worker_kill(crew, k, crew->hard ? SIGKILL : SIGTERM);
		for (uint32_t n = 0; crew->broken && n < c->count; n++)
			pen_crew_end(crew, c->task[n], PEN_TASK_UNCHARGED, crew->failure.code, "%s",
				     crew->failure.text);
		if (crew->broken)
			c->count = 0;
	}
}

void pen_crew_worker_close(struct pen_crew *crew)
{
	uint64_t until = pen_mono_ns(&pen_clock_real) + FAREWELL_NS;

	for (uint32_t k = 0; k < crew->opt.jobs; k++) {
		pen_worker_of(crew, k)->asked = true;
		pen_worker_close_fd(&pen_worker_of(crew, k)->in);
	}
	while (crew->launcher && crew->counts.running && !crew->broken && !crew->cancelled &&
	       pen_mono_ns(&pen_clock_real) < until) {
		struct pollfd wait = { .fd = pen_launcher_fd(crew->launcher), .events = POLLIN };
		struct pen_launch_end ends[PEN_LAUNCH_ENDS];
		bool gone = false;

		(void)pen_launcher_flush(crew->launcher); /* gone tells */
		(void)poll(&wait, 1, 50);
		crew->counts.running -=
			(uint32_t)pen_min(pen_launcher_ends(crew->launcher, ends, PEN_LAUNCH_ENDS, &gone),
					  crew->counts.running);
		if (gone)
			break;
	}
	for (uint32_t k = 0; k < crew->opt.jobs; k++) {
		struct pen_worker_child *c = pen_worker_of(crew, k);

		pen_worker_close_fd(&c->out);
		pen_worker_close_fd(&c->err);
		pen_tail_fini(&c->tail);
		free(c->requests);
		free(c->line);
		free(c->task);
		free(c->id);
	}
	free(crew->worker);
	free(crew->deeds);
	free(crew->scratch);
	pen_json_close(crew->json);
}
