/* SPDX-License-Identifier: MIT */
/*
 * launcher - starts programs on behalf of a process that must not fork
 *
 * A launcher is a process of its own: it has nothing of ours open, is small, and does nothing but start children,
 * wait for them, and end them. Here is the side that asks; launcher_main.c is the process.
 *
 *   The child   leads a process group, gets the three descriptors it was given and no other, default signals, an
 *               empty mask, no core dump, and dies when the launcher does.
 *   The group   is killed when the child has ended, before its end is told. A process that left its group is killed
 *               when its parent has ended (looked for every 64 ends and every second), and at close.
 *   Order       launches wait their turn in the launcher; at most `jobs` children run. Ends come as they happen.
 *   Death       when the asking process ends, however it ends, the launcher kills every child with all it started,
 *               removes tmpdir and ends. When the launcher is killed, its children die with it, and close does the
 *               rest: all that is still in their session, and tmpdir. What stays then is a process that has made
 *               itself a session; where the asking process ignores SIGCHLD, or is killed too, all that the children had
 *               started.
 *   Threads     one.
 *   Waiting     open, until the launcher answers; close, until it is gone. Nothing else.
 *   Limits      PEN_LAUNCH_BYTES of path, arguments and item's environment; PEN_LAUNCH_WORDS of them.
 *   Program     the one given, else this program if it is called penstock, else $PENSTOCK_LAUNCHER, else `penstock`
 *               on the PATH. It is run with one argument, `launcher`, and a socket as descriptor 3; it should hand
 *               that to pen_launcher_main (penstock.h).
 */
#ifndef PEN_ENGINE_LAUNCHER_H
#define PEN_ENGINE_LAUNCHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "include/penstock.h"

#define PEN_LAUNCH_BYTES (96u << 10)
#define PEN_LAUNCH_WORDS 2048u
#define PEN_LAUNCH_ENV 8u
#define PEN_LAUNCH_ENDS 64u /* told at once */

struct pen_launcher_options {
	const char *program;	/* NULL: see above */
	const char *const *env; /* "NAME=VALUE" over this process's own, ends with NULL; NULL: none */
	uint32_t jobs;		/* children that run at a time, at least 1 */
	uint32_t slots;		/* launches that run or wait, at least jobs */
	uint64_t memory_max;	/* RLIMIT_AS of children, 0: as inherited */
	const char *tmpdir;	/* a directory of files to remove at the end; NULL: none */
};

struct pen_launch {
	uint64_t tag;		 /* the caller's; unique among those that run or wait */
	const char *path;	 /* the program, not searched for */
	const char *const *argv; /* ends with NULL */
	const char *const *env;	 /* at most PEN_LAUNCH_ENV "NAME=VALUE"; ends with NULL; NULL: none */
	int fd[3];	     /* stdin, stdout, stderr: the launcher's from here on, closed here once sent */
	uint64_t timeout_ns; /* from its start: SIGTERM to the group; 0: none */
	uint64_t grace_ns;   /* after that: SIGKILL */
};

struct pen_launch_end {
	uint64_t tag;
	uint64_t started_ns; /* CLOCK_MONOTONIC; 0: it never ran */
	uint64_t ended_ns;
	uint64_t cpu_us;  /* of the child and those it waited for */
	uint64_t rss_kib; /* its largest */
	int32_t pid;
	int32_t status;	    /* as wait() gives it */
	int32_t os_errno;   /* why it could not be started: an errno; ECANCELED: killed before its turn */
	uint32_t timed_out; /* SIGTERM was sent because of timeout_ns */
};

struct pen_launcher;

/* 0; -PEN_CHILD_LAUNCHER: it cannot be started or does not answer; -errno. */
int pen_launcher_open(struct pen_launcher **ret, const struct pen_launcher_options *opt,
		      struct pen_failure *why);
/* Every child, and what they started, is dead when it returns. NULL is allowed. */
void pen_launcher_close(struct pen_launcher *launcher);

/*
 * Queues a launch; flush sends. 0, and the descriptors are taken; -E2BIG: too many bytes or words, -EAGAIN: flush
 * first: they are still the caller's.
 */
int pen_launcher_spawn(struct pen_launcher *launcher, const struct pen_launch *launch);
/*
 * Sends a signal to the group of a child, and SIGKILL after grace_ns. What waits for its turn ends with ECANCELED
 * at once. A tag that is not known has just ended: not an error.
 */
void pen_launcher_kill(struct pen_launcher *launcher, uint64_t tag, int signal, uint64_t grace_ns);
/* 0: all is sent. -EAGAIN: the socket is full, call again when the descriptor can be written. -EPIPE: it is gone. */
int pen_launcher_flush(struct pen_launcher *launcher);
/* Moves up to n ends into ret. *ret_gone becomes true when the launcher has died. */
uint32_t pen_launcher_ends(struct pen_launcher *launcher, struct pen_launch_end *ret, uint32_t n,
			   bool *ret_gone);
/* Readable: there are ends. */
int pen_launcher_fd(const struct pen_launcher *launcher);
pid_t pen_launcher_pid(const struct pen_launcher *launcher);

#endif
