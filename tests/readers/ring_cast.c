/* SPDX-License-Identifier: MIT */
/*
 * ring_cast - a real writer for the readers' tests: every number in an event and in a gauge follows from one
 *
 *	ring_cast DIR NAME EVENTS SLOTS GAUGES BURST REST_US
 *
 * Makes DIR/NAME, says "ready", and at each line of its input publishes EVENTS events, BURST at a time with
 * REST_US between, and says "done". Ends with the input: closes the ring and leaves the file. Beats while it
 * waits.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ring/cast.h"

#define ODD 0x9e3779b97f4a7c15ull
#define BURST_MAX 64u

struct writer {
	struct pen_cast *cast;
	uint64_t next;
	uint32_t gauges, burst, rest_us;
	uint32_t slots[BURST_MAX];
};

static void show(struct writer *w, uint32_t g, uint32_t ahead)
{
	uint64_t n = w->next + ahead;
	struct pen_ring_gauge gauge = { .batch_id = g + 1,
					.state = PEN_RUNNING,
					.attempt = (uint32_t)n,
					.bytes_total = n * ODD,
					.bytes_done = n,
					.items_total = UINT64_MAX,
					.committed = n,
					.rejected = ~n,
					.eta_ms = n ^ ODD,
					.user_tag = n + ODD,
					.live = { n, ~n } };

	pen_cast_gauge(w->cast, w->slots[g], &gauge, ahead);
}

static void rest(uint32_t us)
{
	struct timespec time = { us / 1000000, us % 1000000 * 1000L };

	if (us)
		(void)nanosleep(&time, NULL);
}

static void publish(struct writer *w, uint64_t count)
{
	struct pen_ring_event events[BURST_MAX];

	while (count) {
		uint32_t n = count < w->burst ? (uint32_t)count : w->burst;

		for (uint32_t i = 0; i < n; i++) {
			uint64_t x = w->next + i;

			events[i] = (struct pen_ring_event){ .batch_id = x % w->gauges + 1,
							     .type = PEN_RING_EV_PROGRESS,
							     .gauge_idx = w->slots[x % w->gauges],
							     .a = x + 1,
							     .b = x + 1,
							     .c = x * ODD,
							     .code = (uint32_t)~x };
		}
		for (uint32_t g = 0; g < w->gauges; g++)
			show(w, g, n);
		pen_cast_events(w->cast, events, n);
		pen_cast_beat(w->cast);
		w->next += n;
		count -= n;
		rest(w->rest_us);
	}
	pen_cast_idle(w->cast);
}

static bool start(struct writer *w, char **argv)
{
	struct pen_ring_names names = { .label = "torn?", .live = { "same", "not" } };
	struct pen_failure why = { 0 };
	struct pen_cast_options opt = { .name = argv[2],
					.event_slots = (uint32_t)strtoul(argv[4], NULL, 10),
					.gauge_slots = w->gauges,
					.epoch = 1,
					.owner_uid = geteuid(),
					.hb_period_ms = 50,
					.stages = { "read", "cut" } };

	opt.dir = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (opt.dir < 0 || pen_cast_open(&w->cast, &opt, &why)) {
		fprintf(stderr, "ring_cast: %s/%s cannot be made\n", argv[1], argv[2]);
		return false;
	}
	for (uint32_t g = 0; g < w->gauges; g++) {
		w->slots[g] = pen_cast_get(w->cast, g + 1, &names);
		show(w, g, 0);
	}
	return true;
}

int main(int argc, char **argv)
{
	struct pollfd in = { .fd = 0, .events = POLLIN };
	struct writer w = { 0 };
	uint64_t count;
	char byte;

	if (argc != 8)
		return 2;
	count = strtoull(argv[3], NULL, 10);
	w.gauges = (uint32_t)strtoul(argv[5], NULL, 10);
	w.burst = (uint32_t)strtoul(argv[6], NULL, 10);
	w.rest_us = (uint32_t)strtoul(argv[7], NULL, 10);
	if (!w.gauges || w.gauges > BURST_MAX || !w.burst || w.burst > BURST_MAX || !start(&w, argv))
		return 3;
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	puts("ready");
	for (;;) {
		if (poll(&in, 1, 20) == 0) {
			pen_cast_beat(w.cast);
			continue;
		}
		if (read(0, &byte, 1) <= 0)
			break;
		publish(&w, count);
		puts("done");
	}
	pen_cast_close(w.cast, PEN_RING_CLOSED, 0, true);
	return 0;
}
