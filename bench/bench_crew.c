/* SPDX-License-Identifier: MIT */
/*
 * bench_crew - what a crew costs: `exec:/bin/true` at two children, and a worker that gives each item back
 *
 *   bench_crew exec N | worker N ECHO_WORKER [JOBS [WINDOW]]
 *
 * One JSON line. It is its own launcher.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/crew.h"

static uint64_t run(struct pen_crew *crew, uint64_t count)
{
	struct pen_task_result results[256];
	uint64_t given = 0, done = 0;

	while (done < count) {
		uint32_t n;

		while (given < count && pen_crew_room(crew)) {
			const struct pen_task task = { .id = given,
						       .seq = given,
						       .attempt = 1,
						       .item = "a short item",
						       .item_len = 12 };

			if (pen_crew_give(crew, &task))
				return done;
			given++;
		}
		n = pen_crew_poll(crew, results, 256, UINT64_MAX);
		if (!n)
			return done;
		for (uint32_t i = 0; i < n; i++)
			if (results[i].fate != PEN_TASK_DONE)
				return done;
		done += n;
	}
	return done;
}

int main(int argc, char **argv)
{
	struct pen_crew_options opt = { .launcher = "/proc/self/exe", .jobs = 2, .command = "/bin/true" };
	struct pen_failure why = { 0 };
	struct pen_crew *crew = NULL;
	uint64_t count, begun;
	double seconds;

	if (argc == 2 && strcmp(argv[1], "launcher") == 0)
		return pen_launcher_main(3);
	if (argc < 3)
		return 2;
	count = strtoull(argv[2], NULL, 10);
	if (strcmp(argv[1], "worker") == 0) {
		opt.kind = PEN_CREW_WORKER;
		opt.command = argc > 3 ? argv[3] : "";
		opt.jobs = argc > 4 ? (uint32_t)strtoul(argv[4], NULL, 10) : 1;
		opt.window = argc > 5 ? (uint32_t)strtoul(argv[5], NULL, 10) : PEN_CREW_WINDOW;
	}
	begun = pen_mono_ns(&pen_clock_real);
	if (pen_crew_open(&crew, &opt, &why)) {
		fprintf(stderr, "bench_crew: %s\n", why.text);
		return 1;
	}
	if (run(crew, count) != count) {
		fprintf(stderr, "bench_crew: an item failed\n");
		return 1;
	}
	pen_crew_close(crew);
	seconds = (double)(pen_mono_ns(&pen_clock_real) - begun) / 1e9;
	printf("{\"bench\":\"crew_%s\",\"items\":%" PRIu64
	       ",\"jobs\":%u,\"window\":%u,\"seconds\":%.4f,\"items_per_s\":%.0f}\n",
	       argv[1], count, opt.jobs, opt.window, seconds, (double)count / seconds);
	return 0;
}
