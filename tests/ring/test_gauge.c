/* SPDX-License-Identifier: MIT */
#include "ring/gauge.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

Test(gauge, a_fresh_gauge_reads_zero)
{
	struct pen_gauge gauge;
	uint64_t out[PEN_GAUGE_WORDS];

	memset(out, 0xff, sizeof(out));
	pen_gauge_init(&gauge);
	cr_assert(pen_gauge_read(&gauge, out, PEN_GAUGE_WORDS));
	for (size_t i = 0; i < PEN_GAUGE_WORDS; i++)
		cr_assert_eq(out[i], 0);
}

Test(gauge, what_was_written_last_is_read_at_every_width)
{
	for (uint32_t n = 0; n <= PEN_GAUGE_WORDS; n++) {
		struct pen_gauge gauge;

		pen_gauge_init(&gauge);
		for (uint64_t round = 1; round < 8; round++) {
			uint64_t in[PEN_GAUGE_WORDS], out[PEN_GAUGE_WORDS];

			for (uint32_t i = 0; i < PEN_GAUGE_WORDS; i++)
				in[i] = round << 32 | i;
			pen_gauge_write(&gauge, in, round == 7 ? n : PEN_GAUGE_WORDS);
			cr_assert(pen_gauge_read(&gauge, out, PEN_GAUGE_WORDS));
			for (uint32_t i = 0; i < PEN_GAUGE_WORDS; i++)
				cr_assert_eq(out[i], round < 7 || i < n ? in[i] : 0);
			memset(out, 0xee, sizeof(out));
			cr_assert(pen_gauge_read(&gauge, out, n));
			for (uint32_t i = n; i < PEN_GAUGE_WORDS; i++)
				cr_assert_eq(out[i], 0xeeeeeeeeeeeeeeeeu, "words beyond n stay as they were");
		}
	}
}

/*
 * Goal: a write that never ends leaves the last whole one readable. Method: stop at each word of the next
 * write by storing its words the way the writer does, without the flip.
 */
Test(gauge, a_writer_that_died_in_a_write_leaves_the_last_one_readable)
{
	for (uint64_t writes = 0; writes < 4; writes++) {
		struct pen_gauge gauge;
		uint64_t in[PEN_GAUGE_WORDS], out[PEN_GAUGE_WORDS];

		pen_gauge_init(&gauge);
		for (uint64_t w = 1; w <= writes; w++) {
			for (uint32_t i = 0; i < PEN_GAUGE_WORDS; i++)
				in[i] = w;
			pen_gauge_write(&gauge, in, PEN_GAUGE_WORDS);
		}
		for (uint32_t died_at = 0; died_at < PEN_GAUGE_WORDS; died_at++) {
			atomic_store(&gauge.words[(atomic_load(&gauge.seq) + 1) & 1][died_at], 0xdead);
			cr_assert(pen_gauge_read(&gauge, out, PEN_GAUGE_WORDS));
			for (uint32_t i = 0; i < PEN_GAUGE_WORDS; i++)
				cr_assert_eq(out[i], writes);
		}
	}
}

/* The same with a real death: a child that writes into shared memory is killed anywhere. */
Test(gauge, a_killed_writer_leaves_a_whole_set)
{
	struct pen_gauge *gauge =
		mmap(NULL, sizeof(*gauge), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t out[PEN_GAUGE_WORDS];

	cr_assert_neq(gauge, MAP_FAILED);
	for (int round = 0; round < 50; round++) {
		pen_gauge_init(gauge);
		pid_t pid = fork();
		cr_assert_geq(pid, 0);
		if (!pid) {
			uint64_t in[PEN_GAUGE_WORDS];

			for (uint64_t w = 1;; w++) {
				for (uint32_t i = 0; i < PEN_GAUGE_WORDS; i++)
					in[i] = w * 0x9e3779b97f4a7c15ull + i;
				pen_gauge_write(gauge, in, PEN_GAUGE_WORDS);
			}
		}
		while (!atomic_load(&gauge->seq))
			;
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		cr_assert(pen_gauge_read(gauge, out, PEN_GAUGE_WORDS),
			  "nobody writes: the first try must do");
		for (uint32_t i = 0; i < PEN_GAUGE_WORDS; i++)
			cr_assert_eq(out[i], out[0] + i);
	}
	munmap(gauge, sizeof(*gauge));
}
