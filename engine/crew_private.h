/* SPDX-License-Identifier: MIT */
/*
 * crew_private - what the files of a crew share
 *
 * crew.c has the life of a task and the waiting, crew_exec.c and crew_worker.c what happens to it in a child.
 *
 *   free -give-> waiting -> with a child -> ready -poll-> told -next poll-> free
 *
 * There are twice as many places as there may be tasks, so that what was told does not take the room of what is to
 * come.
 */
#ifndef PEN_ENGINE_CREW_PRIVATE_H
#define PEN_ENGINE_CREW_PRIVATE_H

#include <inttypes.h>
#include <stdarg.h>

#include "engine/command.h"
#include "engine/crew.h"
#include "engine/launcher.h"
#include "engine/tail.h"

#define PEN_HELD_NONE UINT32_MAX
#define PEN_CREW_TEXT 512u /* of a message */
#define PEN_CREW_READ (256u << 10)

/* A task on its way. */
struct pen_held {
	struct pen_task task;
	struct pen_task_result result;
	char *text;		/* the message; owned; NULL: static or the child's */
	char *errs;		/* worker: the end of its stderr; owned */
	struct pen_deed *deeds; /* worker: owned */
	uint32_t pins;		/* worker: the child in whose buffer the result lies, + 1; 0: none */
	uint64_t began_ns;	/* worker: when it was sent */
	uint64_t begin;		/* worker: where its request begins in all that was written to the child */
	uint32_t ahead;		/* worker: how many were before it when it was sent */
	uint32_t tries;		/* starts that found no process or memory */
	bool suspect;		/* worker: a child died with it; to be given alone */
	uint32_t next;
};

struct pen_held_list {
	uint32_t first, last, count;
};

/* What a descriptor in the epoll set is; the low half of its data is the child's number. */
enum pen_crew_source { PEN_CREW_LAUNCHER, PEN_CREW_TIMER, PEN_CREW_IN, PEN_CREW_OUT, PEN_CREW_ERR };

struct pen_exec_child;
struct pen_worker_child;

struct pen_crew {
	struct pen_crew_options opt;
	char correlation[37];
	struct pen_command command;
	struct pen_launcher *launcher;
	int epoll;
	int timer;
	uint64_t armed_ns; /* when the timer rings, by opt.clock; 0: it does not */
	bool cancelled;
	bool hard;
	bool broken;
	struct pen_failure failure;
	struct pen_crew_counts counts;
	uint64_t serial; /* of launches */
	uint32_t tasks;	 /* that may be in work */
	uint32_t live;	 /* given, not told */
	uint32_t places; /* 2 * tasks */
	struct pen_held *held;
	struct pen_held_list free, waiting, ready, told;
	uint32_t budget;   /* results that this poll still has room for */
	uint64_t start_at; /* no launch before: there was no process or memory; 0: now */
	char *tmpdir;	   /* ours, with the files of {}; NULL: none */
	int null;
	char *scratch; /* what is read goes here first */
	bool full;     /* the launcher's socket is */
	char *words;   /* PEN_LAUNCH_BYTES, for arguments */
	char **argv;
	struct pen_exec_child *exec;	 /* one for each place */
	struct pen_worker_child *worker; /* one for each job */
	char **env;			 /* a copy of opt.env */
	char *texts;			 /* what the copies of options lie in */
	struct pen_json *json;
	struct pen_deed *deeds; /* PEN_CREW_DEEDS_MAX, for the reply in hand */
	uint32_t falls;		/* worker: children that ended since anything was answered; */
	uint32_t bare;		/* the last of these: before they had read anything */
	bool answered;		/* worker: anything, ever */
	bool lines;		/* worker: there are replies to take apart without waiting */
};

/* ---- crew.c ---- */

void pen_held_push(struct pen_crew *crew, struct pen_held_list *list, uint32_t i);
void pen_held_push_front(struct pen_crew *crew, struct pen_held_list *list, uint32_t i);
uint32_t pen_held_pop(struct pen_crew *crew, struct pen_held_list *list);

/* Has the result ready. The message is formatted, cleaned and owned by the task; NULL: "". */
void pen_crew_end(struct pen_crew *crew, uint32_t i, enum pen_task_fate fate, int code, const char *format,
		  ...) __attribute__((format(printf, 5, 6)));
/* Nothing more can be done with children: all tasks come back, none is charged. */
void pen_crew_break(struct pen_crew *crew, int code, int os_errno, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* A message is for people and logs: one line of UTF-8 of at most PEN_CREW_TEXT bytes; makes it so, in place. */
void pen_crew_clean(char *text);
/* Adds a descriptor to what is waited for, or changes what for. False: no memory. */
bool pen_crew_watch(struct pen_crew *crew, int fd, enum pen_crew_source source, uint32_t number,
		    uint32_t events);
bool pen_crew_rewatch(struct pen_crew *crew, int fd, enum pen_crew_source source, uint32_t number,
		      uint32_t events);
uint64_t pen_crew_now(const struct pen_crew *crew);
/* A pipe whose one end is the child's; the other is ours and does not block. */
int pen_crew_pipe(int *ret_ours, int *ret_theirs, bool we_write);
/* The last line of a text, for a message: its place and length. */
const char *pen_crew_last_line(const char *text, size_t len, int *ret_len);
/* How a child ended, in words. */
const char *pen_crew_status_text(const struct pen_crew *crew, int status, char *buf, size_t cap);
/* A key as text: as it is, or its bytes in hexadecimal digits if it has a NUL or is no UTF-8. buf: 2 * len + 1. */
void pen_crew_key_text(const struct pen_task *task, char *buf);

/* ---- crew_exec.c, crew_worker.c ---- */

int pen_crew_exec_open(struct pen_crew *crew, struct pen_failure *why);
void pen_crew_exec_close(struct pen_crew *crew);
void pen_crew_exec_start(struct pen_crew *crew);
void pen_crew_exec_event(struct pen_crew *crew, enum pen_crew_source source, uint32_t number);
void pen_crew_exec_ended(struct pen_crew *crew, const struct pen_launch_end *end);
void pen_crew_exec_cancel(struct pen_crew *crew);
/* Gives back what a told task held. */
void pen_crew_exec_release(struct pen_crew *crew, uint32_t i);

int pen_crew_worker_open(struct pen_crew *crew, struct pen_failure *why);
void pen_crew_worker_close(struct pen_crew *crew);
void pen_crew_worker_start(struct pen_crew *crew);
void pen_crew_worker_event(struct pen_crew *crew, enum pen_crew_source source, uint32_t number);
void pen_crew_worker_ended(struct pen_crew *crew, const struct pen_launch_end *end);
void pen_crew_worker_cancel(struct pen_crew *crew);
/* Before a poll: what a told task held, and then room in the buffers. */
void pen_crew_worker_release(struct pen_crew *crew, uint32_t i);
void pen_crew_worker_compact(struct pen_crew *crew);
/* Replies that are already here. */
void pen_crew_worker_lines(struct pen_crew *crew);
/* Ends what is over its time; the next time to look, 0: none. */
uint64_t pen_crew_worker_clock(struct pen_crew *crew);

#endif
