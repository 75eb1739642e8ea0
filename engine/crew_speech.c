/* SPDX-License-Identifier: MIT */
/*
 * What goes to a worker and comes from it.
 *
 * Requests are made in a buffer of fixed size, a long one piece by piece as the pipe takes it. Replies are taken apart
 * in the buffer they were read into, and results point there; so the buffer is neither moved nor grown as long as
 * one of them has not been told and let go (pinned).
 *
 * What is no reply ends the child at once: after garbage nothing can be believed, not even where a line begins.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "engine/crew_worker.h"
#include "ring/assert.h"
#include "ring/base.h"

#define SHOWN 120 /* bytes of what was wrong */

void pen_worker_close_fd(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd); /* a pipe */
	*fd = -1;
}

/* ---- requests ---- */

/* Makes what fits of the request in hand. */
static void make(struct pen_worker_child *c)
{
	size_t room;

	if (c->at == c->len)
		c->at = c->len = 0;
	room = PEN_WORKER_REQUESTS - c->len;
	if (room >= 8)
		c->len += (uint32_t)pen_talk_write(&c->making, c->requests + c->len, room);
	c->half_made = c->making.part < c->making.count;
}

void pen_worker_write(struct pen_crew *crew, uint32_t number)
{
	struct pen_worker_child *c = pen_worker_of(crew, number);
	bool full = false;

	/* Deaf once is deaf: another try would count its time to leave from the start again. */
	while (c->in >= 0 && !c->deaf_ns && (c->at < c->len || c->half_made)) {
		ssize_t put;

		if (c->half_made)
			make(c);
		put = write(c->in, c->requests + c->at, c->len - c->at);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0 && errno == EAGAIN) {
			full = true;
			break;
		}
		if (put < 0) { /* EPIPE: it wants no more */
			c->deaf_ns = pen_crew_now(crew);
			(void)pen_crew_rewatch(crew, c->in, PEN_CREW_IN, number,
					       EPOLLET); /* say no more of it */
			return;
		}
		c->at += (uint32_t)put;
		c->written += (uint64_t)put;
	}
	if (full != c->in_full) {
		c->in_full = full;
		(void)pen_crew_rewatch(crew, c->in, PEN_CREW_IN, number,
				       full ? EPOLLOUT : 0); /* it is in the set */
	}
}

void pen_worker_send(struct pen_crew *crew, uint32_t number, uint32_t i)
{
	struct pen_worker_child *c = pen_worker_of(crew, number);
	struct pen_held *h = &crew->held[i];

	pen_assert(!c->half_made && c->count < crew->opt.window);
	h->began_ns = pen_crew_now(crew);
	h->begin = c->written + (c->len - c->at);
	h->ahead = c->count;
	h->pins = 0;
	if (!c->count)
		c->heard_ns = h->began_ns;
	c->task[c->count] = i;
	c->id[c->count++] = c->next_id;
	pen_talk_begin(&c->making, c->next_id++, crew->opt.correlation_id, &h->task);
	make(c);
}

/* ---- replies ---- */

/* The line is at c->begin, len bytes. what: a sentence about it. */
static void complain(struct pen_crew *crew, uint32_t number, const char *what, size_t len)
{
	struct pen_worker_child *c = pen_worker_of(crew, number);
	const char *line = c->line + c->begin;
	int shown = (int)pen_min(len, SHOWN);

	/* NULs would hide what is behind them. */
	for (char *p = c->line + c->begin; (p = memchr(p, '\0', (size_t)(line + shown - p)));)
		*p = '?';
	(void)snprintf(c->complaint, sizeof(c->complaint), "%s: %.*s%s", what, shown, line,
		       len > SHOWN ? "..." : "");
	pen_worker_close_fd(&c->out);
	c->begin = c->scanned = c->fill;
	pen_worker_kill(crew, number, SIGKILL);
}

/* Makes room at the end of the buffer; false: there is none now, or never (then it has complained). */
static bool make_room(struct pen_crew *crew, uint32_t number)
{
	struct pen_worker_child *c = pen_worker_of(crew, number);
	uint64_t most = crew->opt.output_max + crew->opt.output_max / 2 + (64u << 10);
	size_t cap;
	char *line;

	if (c->fill < c->cap)
		return true;
	if (c->pinned)
		return false;
	if (c->begin) {
		memmove(c->line, c->line + c->begin, c->fill - c->begin);
		c->fill -= c->begin;
		c->scanned -= c->begin;
		c->begin = 0;
		return true;
	}
	if (c->cap >= most) {
		char what[64];

		(void)snprintf(what, sizeof(what), "a line of more than %zu bytes", c->fill);
		complain(crew, number, what, c->fill);
		return false;
	}
	cap = c->cap ? (size_t)pen_min(2 * c->cap, pen_max(most, PEN_WORKER_LINE)) : PEN_WORKER_LINE;
	line = realloc(c->line, cap + PEN_JSON_PADDING);
	if (!line) {
		complain(crew, number, "no memory for a line that begins with", c->fill);
		return false;
	}
	c->line = line;
	c->cap = cap;
	memset(line + cap, 0, PEN_JSON_PADDING);
	return true;
}

bool pen_worker_read(struct pen_crew *crew, uint32_t number)
{
	struct pen_worker_child *c = pen_worker_of(crew, number);
	ssize_t got;

	if (c->out < 0 || !make_room(crew, number))
		return false;
	do
		got = read(c->out, c->line + c->fill, c->cap - c->fill);
	while (got < 0 && errno == EINTR);
	if (got < 0 && errno == EAGAIN)
		return false;
	if (got <= 0) {
		pen_worker_close_fd(&c->out);
		/* A worker that cannot answer is of no use; usually it is just ending. */
		if (c->state == PEN_WORKER_UP)
			pen_worker_kill(crew, number, SIGTERM);
		return false;
	}
	c->fill += (size_t)got;
	return true;
}

/* Removes the task from the child's; PEN_HELD_NONE: no such id. In order, it is the first one. */
static uint32_t take_id(struct pen_worker_child *c, uint64_t id)
{
	uint32_t i;

	for (uint32_t k = 0; k < c->count; k++) {
		if (c->id[k] != id)
			continue;
		i = c->task[k];
		c->count--;
		memmove(c->id + k, c->id + k + 1, (c->count - k) * sizeof(*c->id));
		memmove(c->task + k, c->task + k + 1, (c->count - k) * sizeof(*c->task));
		return i;
	}
	return PEN_HELD_NONE;
}

static void fill_error(struct pen_task_result *r, const struct pen_talk_reply *reply)
{
	static const struct {
		enum pen_task_fate fate;
		int code;
	} fates[] = {
		[PEN_TALK_REJECT] = { PEN_TASK_REJECTED, -PEN_WORKER_REJECT },
		[PEN_TALK_RETRY] = { PEN_TASK_RETRY, -PEN_WORKER_RETRY },
		[PEN_TALK_FATAL] = { PEN_TASK_FAILED, -PEN_WORKER_FATAL },
		[PEN_TALK_DROP] = { PEN_TASK_DROPPED, -PEN_WORKER_DROP },
	};

	r->fate = fates[reply->word].fate;
	r->code = fates[reply->word].code;
	pen_crew_clean((char *)(uintptr_t)reply->message);
	pen_crew_clean((char *)(uintptr_t)reply->code);
	r->retry_after_ns = reply->retry_after_ns;
}

/* False: no memory for its deeds. */
static bool keep_deeds(struct pen_crew *crew, struct pen_held *h, uint32_t count)
{
	h->deeds = malloc(count * sizeof(*h->deeds));
	if (!h->deeds)
		return false;
	memcpy(h->deeds, crew->deeds, count * sizeof(*h->deeds));
	h->result.deeds = h->deeds;
	h->result.deed_count = count;
	return true;
}

static void answer(struct pen_crew *crew, uint32_t number, uint32_t i, const struct pen_talk_reply *reply)
{
	struct pen_worker_child *c = pen_worker_of(crew, number);
	struct pen_held *h = &crew->held[i];
	struct pen_task_result *r = &h->result;
	uint64_t now = pen_crew_now(crew);

	*r = (struct pen_task_result){ .id = h->task.id,
				       .fate = PEN_TASK_DONE,
				       .exit_status = -1,
				       .stderr_tail = "",
				       .message = reply->message,
				       .worker_code = reply->code,
				       .started_ns = h->began_ns,
				       .spent_ns = now - h->began_ns };
	if (reply->word != PEN_TALK_OK) {
		fill_error(r, reply);
	} else if (reply->value_len > crew->opt.output_max) {
		r->fate = PEN_TASK_FAILED;
		r->code = -PEN_CHILD_OUTPUT;
		r->message = "a value larger than a value may be";
	} else {
		r->message = "";
		r->value = reply->value;
		r->value_len = reply->value_len;
		r->value_json = reply->value_json;
	}
	if (r->fate == PEN_TASK_DONE && reply->deed_count && !keep_deeds(crew, h, reply->deed_count)) {
		r->fate = PEN_TASK_RETRY;
		r->code = -ENOMEM;
		r->message = "no memory for its puts and deletes";
	}
	h->pins = number + 1;
	c->pinned++;
	c->heard_ns = now;
	c->answered = crew->answered = true;
	c->alone = false;
	crew->falls = crew->bare = 0;
	crew->budget--;
	pen_held_push(crew, &crew->ready, i);
}

/* One line, len bytes without its line feed. */
static void take_line(struct pen_crew *crew, uint32_t number, size_t len)
{
	struct pen_worker_child *c = pen_worker_of(crew, number);
	struct pen_talk_reply reply;
	const char *wrong;
	char copy[SHOWN + 1];
	size_t kept = pen_min(len, sizeof(copy));
	uint32_t i = PEN_HELD_NONE;

	memcpy(copy, c->line + c->begin, kept); /* reading it changes it */
	wrong = pen_talk_read(crew->json, c->line + c->begin, len, &reply, crew->deeds);
	if (!wrong && reply.word == PEN_TALK_READY) {
		c->ready = true;
		return;
	}
	if (!wrong) {
		i = take_id(c, reply.id);
		wrong = i == PEN_HELD_NONE ? "it answers what was not asked, or has been answered" : NULL;
	}
	if (wrong) {
		memcpy(c->line + c->begin, copy, kept);
		complain(crew, number, wrong, len);
		return;
	}
	answer(crew, number, i, &reply);
}

bool pen_worker_take_lines(struct pen_crew *crew, uint32_t number)
{
	struct pen_worker_child *c = pen_worker_of(crew, number);

	while (c->scanned < c->fill) {
		char *feed = memchr(c->line + c->scanned, '\n', c->fill - c->scanned);
		size_t len;

		if (!feed) {
			c->scanned = c->fill;
			break;
		}
		c->scanned = (size_t)(feed - c->line);
		if (!crew->budget)
			return true;
		len = c->scanned - c->begin;
		if (len && feed[-1] == '\r')
			len--;
		if (len)
			take_line(crew, number, len); /* an empty line says nothing */
		if (c->complaint[0])
			break;
		c->begin = c->scanned = (size_t)(feed - c->line) + 1;
	}
	if (c->begin == c->fill && !c->pinned)
		c->begin = c->fill = c->scanned = 0;
	return false;
}
