/* SPDX-License-Identifier: MIT */
#include "ring/bell.h"

#include <criterion/criterion.h>
#include <poll.h>

/* That no wake is lost between threads is shown by tests/stress/bell.c. */

static struct pen_bell bell;

static void begin(void)
{
	cr_assert_eq(pen_bell_open(&bell), 0);
}

static void end(void)
{
	pen_bell_close(&bell);
}

TestSuite(bell, .init = begin, .fini = end);

static bool readable(void)
{
	struct pollfd p = { .fd = pen_bell_fd(&bell), .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

Test(bell, nobody_rang_so_it_may_be_slept)
{
	cr_expect(pen_bell_arm(&bell));
	cr_expect(!readable());
	pen_bell_disarm(&bell);
}

Test(bell, a_ring_before_it_is_armed_is_seen_when_it_is)
{
	pen_bell_ring(&bell);
	cr_expect(!readable(), "nobody sleeps: no system call");
	cr_expect(!pen_bell_arm(&bell));
	cr_expect(pen_bell_arm(&bell), "once");
	pen_bell_disarm(&bell);
}

Test(bell, a_ring_while_it_is_armed_makes_it_readable)
{
	cr_assert(pen_bell_arm(&bell));
	pen_bell_ring(&bell);
	pen_bell_ring(&bell);
	cr_expect(readable());
	pen_bell_disarm(&bell);
	cr_expect(!readable());
	cr_expect(pen_bell_arm(&bell), "what was rung was heard");
	pen_bell_disarm(&bell);
}

Test(bell, a_ring_after_it_was_disarmed_counts_for_the_next_time)
{
	cr_assert(pen_bell_arm(&bell));
	pen_bell_disarm(&bell);
	pen_bell_ring(&bell);
	cr_expect(!pen_bell_arm(&bell));
}

Test(bell, what_is_closed_may_be_closed_again)
{
	pen_bell_close(&bell);
	cr_expect_eq(pen_bell_fd(&bell), -1);
}
