/* SPDX-License-Identifier: MIT */
/*
 * stress/cast_kill - the writer of a progress ring is killed at each step it takes
 *
 * A child writes; at its step number k (each line PEN_CAST_POINT of the writer is one) it is killed with SIGKILL. The
 * reader follows it from outside. Whatever the step: it does not hang, accepts no event and no gauge that is not
 * whole, knows the writer for dead within five heartbeat periods, and finds the next writer's file. k runs through all
 * steps of the first events, and is random after that. PEN_SEED, PEN_SECS.
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void step(const char *name);
#define PEN_CAST_POINT(name) step(#name)
#include "ring/cast.c"
#include "ring/cast_open.c"

#include <sys/wait.h>

#include "tests/lib/cast_lab.h"
#include "tests/lib/stress.h"

#define HB_MS 10u
#define EACH 90u /* steps that are all tried */
#define NAMES 24

static uint64_t steps_left; /* 0: nobody is killed */
static int tell_fd = -1;    /* the child says where it died */
static char lab_path[128];

static void step(const char *name)
{
	if (steps_left && !--steps_left) {
		(void)!write(tell_fd, name, strlen(name));
		(void)raise(SIGKILL);
	}
}

static void write_for_ever(const struct pen_cast_options *opt)
{
	struct pen_cast *cast;
	struct pen_ring_event events[3];
	struct pen_ring_gauge gauge = { .state = PEN_RUNNING };
	struct pen_ring_names names = { .label = "label" };

	if (pen_cast_open(&cast, opt, NULL))
		_exit(9);
	for (uint64_t i = 0;; i += 3) {
		uint64_t batch = 1 + i / 12;
		uint32_t slot = pen_cast_get(cast, batch, &names);

		gauge.batch_id = batch;
		gauge.committed = i;
		gauge.live[7] = ~i;
		for (uint32_t k = 0; k < 3; k++)
			events[k] = (struct pen_ring_event){ .batch_id = batch,
							     .a = i + k,
							     .c = stress_mix(i + k),
							     .gauge_idx = slot,
							     .type = k ? PEN_RING_EV_PROGRESS
								       : PEN_RING_EV_COMPLETED };
		pen_cast_gauge(cast, slot, &gauge, 3);
		pen_cast_events(cast, events, 3);
		pen_cast_put(cast, slot);
		pen_cast_beat(cast);
	}
}

static void look(struct pen_ring *ring, uint64_t *next)
{
	struct pen_ring_event got[8];
	struct pen_ring_gauge g;
	struct pen_ring_names names;
	uint64_t lost;
	int n;

	while ((n = pen_ring_poll(ring, got, 8, &lost)) || lost) {
		STRESS_CHECK(n >= 0, "poll: %d", n);
		*next += lost;
		for (int i = 0; i < n; i++, ++*next)
			STRESS_CHECK(got[i].seq == *next + 1 && got[i].a == *next &&
					     got[i].c == stress_mix(*next),
				     "event %llu", (unsigned long long)*next);
	}
	for (uint32_t slot = 0; (n = pen_ring_next(ring, &slot, &g)); slot++) {
		if (n < 0)
			continue;
		STRESS_CHECK(g.live[7] == ~g.committed && g.batch_id == 1 + g.committed / 12,
			     "a gauge is torn");
		if (pen_ring_names(ring, slot, g.batch_id, &names))
			STRESS_CHECK(!strcmp(names.label, "label"), "names '%s'", names.label);
	}
}

/* The reader, from before the child starts until long after it died. Returns whether it ever had a ring. */
static bool follow(pid_t child, struct pen_ring *ring)
{
	uint64_t next = 0, died = 0, begun = stress_now_ns();
	bool have = false;
	siginfo_t info = { 0 };

	for (;;) {
		if (!have && !pen_ring_open(ring, lab_path, PEN_RING_OWNERS_OWN)) {
			have = true;
			ring->cursor = 0;
		}
		if (have)
			look(ring, &next);
		if (!died && !waitid(P_PID, (id_t)child, &info, WEXITED | WNOHANG | WNOWAIT) && info.si_pid) {
			STRESS_CHECK(info.si_code == CLD_KILLED, "the writer ended by itself: %d",
				     info.si_status);
			died = stress_now_ns();
			if (!have && access(lab_path, F_OK))
				return false;
			continue;
		}
		if (died && have && pen_ring_life(ring) == PEN_RING_DEAD)
			break;
		/* Five periods, and generous time for a machine that is busy. */
		STRESS_CHECK(!died || stress_now_ns() - died < (5 * HB_MS + 3000) * 1000000ull,
			     "not known for dead: %d", pen_ring_life(ring));
		STRESS_CHECK(stress_now_ns() - begun < 20000000000ull, "it hangs");
		if (have)
			(void)pen_ring_wait(ring, died ? 2 : 1);
	}
	/* What it published before it died is all there. */
	look(ring, &next);
	STRESS_CHECK(next == pen_ring_tail(ring), "events are missing at the end");
	return true;
}

/* The next writer: the reader is told to open again, and does. */
static void next_epoch(const struct pen_cast_options *opt, struct pen_ring *ring, bool had)
{
	struct pen_cast_options again = *opt;
	struct pen_cast *cast;
	struct pen_ring fresh;

	again.epoch = 2;
	STRESS_CHECK(!pen_cast_open(&cast, &again, NULL), "the next writer cannot open");
	if (had)
		STRESS_CHECK(pen_ring_life(ring) == PEN_RING_REPLACED, "not told that it was replaced: %d",
			     pen_ring_life(ring));
	STRESS_CHECK(!pen_ring_open(&fresh, lab_path, PEN_RING_OWNERS_OWN) && fresh.header.epoch == 2,
		     "the next file");
	STRESS_CHECK(pen_ring_life(&fresh) == PEN_RING_ALIVE, "life %d", pen_ring_life(&fresh));
	pen_ring_close(&fresh);
	pen_cast_close(cast, PEN_RING_CLOSED, 0, false);
}

static void kill_at(const struct cast_lab *lab, uint64_t k, char at[NAMES])
{
	struct pen_cast_options opt = cast_lab_options(lab);
	static struct pen_ring ring;
	int pipe_fds[2];
	bool had;
	ssize_t got;
	pid_t pid;

	opt.clock = NULL;
	opt.hb_period_ms = HB_MS;
	opt.event_slots = 16;
	opt.gauge_slots = 2;
	STRESS_CHECK(!pipe(pipe_fds), "pipe");
	pid = fork();
	STRESS_CHECK(pid >= 0, "fork");
	if (!pid) {
		steps_left = k;
		tell_fd = pipe_fds[1];
		write_for_ever(&opt);
	}
	close(pipe_fds[1]);
	had = follow(pid, &ring);
	STRESS_CHECK(waitpid(pid, NULL, 0) == pid, "wait");
	got = read(pipe_fds[0], at, NAMES - 1);
	at[got > 0 ? got : 0] = 0;
	close(pipe_fds[0]);
	next_epoch(&opt, &ring, had);
	if (had)
		pen_ring_close(&ring);
	STRESS_CHECK(cast_lab_files(lab) == 0, "%u files are left after step %llu (%s)", cast_lab_files(lab),
		     (unsigned long long)k, at);
}

int main(void)
{
	static const char *const points[] = { "filled",	      "before_rename", "renamed",   "names",
					      "before_gauge", "gauge",	       "flipped",   "before_claim",
					      "claimed",      "slot",	       "published", "wake" };
	struct stress_random random = stress_random(stress_start("cast_kill"));
	uint32_t hits[PEN_COUNT(points)] = { 0 }, kills = 0;
	struct cast_lab lab;
	char at[NAMES];

	if (!cast_lab_make(&lab)) {
		puts("no memory file system here");
		return 77;
	}
	(void)snprintf(lab_path, sizeof(lab_path), "%s", lab.path);
	for (uint64_t k = 1; k <= 30 || stress_time_left(); k++, kills++) {
		kill_at(&lab, k <= EACH ? k : EACH + stress_below(&random, 100000), at);
		for (size_t i = 0; i < PEN_COUNT(points); i++)
			hits[i] += !strcmp(points[i], at);
	}
	cast_lab_drop(&lab);
	for (size_t i = 0; i < PEN_COUNT(points); i++) {
		STRESS_CHECK(hits[i], "nobody was killed at '%s'", points[i]);
		printf("%s %u, ", points[i], hits[i]);
	}
	printf("%u kills: readers neither hung nor believed a torn word\n", kills);
	return 0;
}
