/* SPDX-License-Identifier: MIT */
/*
 * crew_worker - a worker's child, for the two files that deal with it
 *
 * crew_worker.c starts and ends children, gives tasks and finds the guilty one; crew_speech.c moves bytes: requests
 * out, replies in.
 *
 *   NONE ──start──▶ UP ──kill, or its stdout ends──▶ LEAVES ──the launcher says so──▶ LEFT ──all is read──▶ NONE
 *                   └───────────────────── it ended by itself ─────────────────────────▲
 */
#ifndef PEN_ENGINE_CREW_WORKER_H
#define PEN_ENGINE_CREW_WORKER_H

#include "engine/crew_private.h"
#include "engine/talk.h"

#define PEN_WORKER_REQUESTS (64u << 10) /* bytes on their way to a child */
#define PEN_WORKER_LINE (256u << 10)	/* the buffer for replies; grows for a line that needs it */

enum pen_worker_state { PEN_WORKER_NONE, PEN_WORKER_UP, PEN_WORKER_LEAVES, PEN_WORKER_LEFT };

struct pen_worker_child {
	enum pen_worker_state state;
	uint64_t tag;
	int in; /* our ends of its pipes; -1: closed */
	int out;
	int err;
	bool in_full; /* waits for room in the pipe */

	/* requests */
	char *requests;
	uint32_t at;	  /* written up to here */
	uint32_t len;	  /* made up to here */
	uint64_t written; /* bytes in this life */
	bool half_made;	  /* the last request is not yet in the buffer as a whole */
	struct pen_talk_request making;

	/* replies */
	char *line;
	size_t cap; /* and PEN_JSON_PADDING more */
	size_t fill;
	size_t begin;	 /* of what is not yet taken apart */
	size_t scanned;	 /* no line feed before */
	uint32_t pinned; /* results that lie in line */
	struct pen_tail tail;

	/* tasks, as they were sent */
	uint32_t count;
	uint32_t *task;
	uint64_t *id;
	uint64_t next_id;
	struct pen_held_list suspects;

	/* this life */
	uint64_t give_at;  /* not before; 0: now */
	uint64_t heard_ns; /* the last answer, or when it got something to do */
	uint64_t deaf_ns;  /* it has closed its stdin; 0: no */
	bool alone;	   /* its only task is a suspect */
	bool answered;
	bool ready;
	bool timed_out;
	bool asked;		       /* to end: by cancel, close, or because the crew broke */
	char complaint[PEN_CREW_TEXT]; /* what was wrong with what it said; "": nothing */
	struct pen_launch_end end;
};

static inline struct pen_worker_child *pen_worker_of(struct pen_crew *crew, uint32_t number)
{
	return &crew->worker[number];
}

/* ---- crew_speech.c ---- */

void pen_worker_close_fd(int *fd);
/* Has a task's request made, and written as far as there is room. The caller has seen to it that it may be. */
void pen_worker_send(struct pen_crew *crew, uint32_t number, uint32_t i);
void pen_worker_write(struct pen_crew *crew, uint32_t number);
/* Takes what is in the pipe, as much as there is room. False: nothing came, or there is no room. */
bool pen_worker_read(struct pen_crew *crew, uint32_t number);
/* Takes complete lines apart, as long as the budget lasts. True: there are more. */
bool pen_worker_take_lines(struct pen_crew *crew, uint32_t number);

/* ---- crew_worker.c ---- */

/* Ends a child: what it had not answered is dealt with when it is gone. */
void pen_worker_kill(struct pen_crew *crew, uint32_t number, int signal);

#endif
