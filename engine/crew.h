/* SPDX-License-Identifier: MIT */
/*
 * crew - child processes that work on items
 *
 * EXEC starts a command for each item; WORKER keeps children that read items as lines of JSON and answer in any
 * order (docs/WORKERS.md). Children are started by a launcher, a process of its own that has nothing of ours open
 * (engine/launcher.h). A crew knows nothing of stores and batches: tasks go in, each comes out once, with its fate.
 *
 *   give -> [room] -> child -> poll
 *
 *   Threads    one thread opens, gives, polls, cancels and closes. SIGPIPE is blocked in it from open on, because a
 *              child may close its stdin at any time.
 *   Waiting    only in poll (for as long as it is told) and in close (until every child is gone). crew_fd becomes
 *              readable when poll has something to do: an answer, an end, a deadline.
 *   Memory     a task's memory stays the caller's until its result has come. A result's memory is the crew's until
 *              the next poll, cancel or close. Per child at most output_max * 3/2 + 64 KiB for what it says (taken
 *              as it grows, given back), stderr_keep, and 64 KiB of requests; an item is never copied as a whole,
 *              except into a temporary file where an exec command has `{}` (it lies in memory where /dev/shm is).
 *   Guilt      when a worker's child dies, what it had not answered is given again, one at a time, until the one is
 *              known on which it dies alone: that one is CRASHED, and the others never notice. What is known to have
 *              crashed before (task.crashes) is given alone from the start.
 *   Groups     each child leads a process group of its own. The group is killed when the child has ended, so nothing
 *              it started in the background outlives the item (exec) or the child (worker); what leaves the group is
 *              killed as soon as its parent is gone, at the latest by close.
 *   Limits     jobs 1 .. 1,024; window 1 .. 1,024; command text 64 KiB; 1,024 deeds a reply; arguments and
 *              environment of one command 96 KiB.
 *   Errors     a task's troubles are in its result. When no child can be started at all, or workers die one after
 *              another before they answer anything, the crew is broken: pen_crew_failure says why, all tasks come
 *              back UNCHARGED, and give refuses. Nothing is wrong with the items then.
 */
#ifndef PEN_ENGINE_CREW_H
#define PEN_ENGINE_CREW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "include/penstock.h"
#include "ring/clock.h"

#define PEN_CREW_JOBS_MAX 1024u
#define PEN_CREW_WINDOW_MAX 1024u
#define PEN_CREW_WINDOW 64u
#define PEN_CREW_GRACE_NS (5 * PEN_NS_PER_S)
#define PEN_CREW_OUTPUT_MAX (64ull << 20)
#define PEN_CREW_STDERR_KEEP (64u << 10)
#define PEN_CREW_DEEDS_MAX 1024u

enum pen_crew_kind { PEN_CREW_EXEC, PEN_CREW_WORKER };

/* 0 and NULL mean the default in brackets. Everything is copied. */
struct pen_crew_options {
	enum pen_crew_kind kind;
	const char *command;	    /* what follows "exec:" or "worker:"; see docs/WORKERS.md */
	uint32_t jobs;		    /* children at a time [the cores this process may use] */
	uint32_t window;	    /* worker: items sent ahead to one child [64] */
	uint64_t timeout_ns;	    /* an item's time; then SIGTERM to the group [none] */
	uint64_t grace_ns;	    /* from SIGTERM to SIGKILL [5 s] */
	uint64_t output_max;	    /* bytes of a value [64 MiB] */
	uint32_t stderr_keep;	    /* bytes of stderr's end that are kept [64 KiB] */
	uint64_t memory_max;	    /* address space of each process of a child (RLIMIT_AS) [unlimited] */
	const char *correlation_id; /* worker: told with each item [none] */
	const char *const *env;	    /* "NAME=VALUE" beside this process's own environment, ends with NULL */
	const char *tmpdir;   /* where the files of `{}` go [/dev/shm if it can be written, $TMPDIR, /tmp] */
	const char *launcher; /* the program that answers to `launcher` [see engine/launcher.h] */
	struct pen_log_context log; /* whom its lines are about; its strings outlive the crew */
	const struct pen_clock
		*clock; /* of a worker's time-outs and back-off; the launcher's is the real one */
};

/* What a worker is told an item is; exec's stdin gets the same bytes whatever this says. */
enum pen_task_form {
	PEN_TASK_BYTES, /* text if it is UTF-8 ("item_text"), else "item_base64" */
	PEN_TASK_JSON,	/* exactly one valid JSON value: goes as it is ("item") */
};

struct pen_task {
	uint64_t id; /* the caller's; given back */
	uint64_t seq;
	uint32_t attempt; /* from 1 */
	uint32_t crashes; /* of earlier attempts: above 0, it is given alone */
	enum pen_task_form form;
	const void *key; /* key_len 0: the item has none */
	size_t key_len;
	const void *item;
	size_t item_len;
	const char *path; /* the item is this file, and `item` is not looked at; NULL: it is the bytes */
};

enum pen_task_fate {
	PEN_TASK_DONE = 1,  /* value and deeds count */
	PEN_TASK_REJECTED,  /* the input is bad: no retry */
	PEN_TASK_RETRY,	    /* failed, may work another time: one try is charged */
	PEN_TASK_FAILED,    /* failed, will fail again: no retry */
	PEN_TASK_DROPPED,   /* a worker filtered it out: an outcome, no error */
	PEN_TASK_CRASHED,   /* the worker died on it, and on no other: a crash is charged */
	PEN_TASK_UNCHARGED, /* nothing is known: cancelled, or the crew is broken; give it again */
};

/* What a reply asks for beside its own value. */
struct pen_deed {
	const char *dataset; /* NUL-terminated; its name is not checked here */
	const void *key;
	size_t key_len;	   /* at least 1; not checked against PEN_KEY_MAX here */
	const void *value; /* NULL for a delete */
	size_t value_len;
	bool del;
};

struct pen_task_result {
	uint64_t id;
	enum pen_task_fate fate;
	int code;	 /* 0 when done; else -PEN_CHILD_..., -PEN_WORKER_..., -PEN_SOURCE_... or -errno */
	int exit_status; /* of the child, where it ended with this task; else -1 */
	int term_signal; /* the signal it died of; else 0 */
	bool timed_out;
	const char
		*message; /* one sentence, NUL-terminated, UTF-8 without control characters; "" when done */
	const char *worker_code; /* "code" of a worker's error, likewise; "" if none */
	const void *value; /* NULL: none (a worker said {"ok":true} without one); exec: stdout, never NULL */
	size_t value_len;
	bool value_json; /* a worker gave it as "value": the text of one valid JSON value */
	const char
		*stderr_tail; /* the last bytes; exec: of this item; worker: when its child ended; not NULL */
	size_t stderr_len;
	const struct pen_deed *deeds;
	uint32_t deed_count;
	uint64_t started_ns; /* exec: the child began; worker: it was sent. CLOCK_MONOTONIC; 0: never */
	uint64_t spent_ns;
	uint64_t cpu_us;	 /* exec only: user and system time of the child and what it waited for */
	uint64_t rss_kib;	 /* exec only: largest resident size */
	uint64_t retry_after_ns; /* a worker asked to wait at least so long; 0: it did not */
};

/* What has happened so far. */
struct pen_crew_counts {
	uint64_t given;
	uint64_t ended;	   /* results handed out */
	uint64_t started;  /* children */
	uint64_t crashed;  /* worker children that ended before they were asked to */
	uint64_t timeouts; /* children ended because of one */
	uint32_t running;  /* children now; exec: tasks with the launcher */
};

struct pen_crew;

/*
 * Starts the launcher and checks that the command can be found; workers start with the first tasks.
 * -PEN_USAGE: the command is empty or its quotes do not match. -PEN_CHILD_MISSING: no such program.
 * -PEN_CHILD_LAUNCHER: the launcher does not start. -errno.
 */
int pen_crew_open(struct pen_crew **ret, const struct pen_crew_options *opt, struct pen_failure *why);
/*
 * Kills what is left (workers may first end by themselves: their stdin is closed, and they have a second). Tasks
 * without a result are forgotten. NULL is allowed.
 */
void pen_crew_close(struct pen_crew *crew);

/* How many tasks give would take now. It is more than `jobs`: some wait at the launcher, some in the pipes. */
uint32_t pen_crew_room(const struct pen_crew *crew);
/* 0. -EAGAIN: no room. -ECANCELED: after cancel. The failure's code when the crew is broken. */
int pen_crew_give(struct pen_crew *crew, const struct pen_task *task);
/*
 * Moves work on and returns up to n results; waits up to timeout_ns for the first (0: does not wait, UINT64_MAX:
 * until there is one). 0 when the time is over, or when nothing is given and nothing can come.
 */
uint32_t pen_crew_poll(struct pen_crew *crew, struct pen_task_result *ret, uint32_t n, uint64_t timeout_ns);
int pen_crew_fd(const struct pen_crew *crew);

/*
 * Takes no more; what is not finished comes as UNCHARGED from poll. Soft: SIGTERM to every group, SIGKILL after
 * the grace; answers that workers give meanwhile count. Hard: SIGKILL. May be called twice, soft then hard.
 */
void pen_crew_cancel(struct pen_crew *crew, bool hard);

/* NULL while all is well; else why the crew is broken. It stays so. */
const struct pen_failure *pen_crew_failure(const struct pen_crew *crew);
void pen_crew_counts(const struct pen_crew *crew, struct pen_crew_counts *ret);

#endif
