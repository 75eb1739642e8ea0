/* SPDX-License-Identifier: MIT */
#include "store/holdup.h"

#include <criterion/criterion.h>

#include "tests/store/scratch.h"

TestSuite(holdup, .init = scratch_make, .fini = scratch_remove, .timeout = 600);

Test(holdup, what_is_said_is_heard_until_it_is_not_so)
{
	struct pen_store *store = scratch_store("s");
	struct pen_holdup_file a, b;
	struct pen_holdup all[4];

	pen_holdup_init(&a);
	pen_holdup_init(&b);
	pen_holdup_say(&a, store, "");
	cr_expect_eq(a.fd, -1, "nothing to say makes no file");
	pen_holdup_say(&a, store, "a longer sentence");
	pen_holdup_say(&b, store, "b");
	cr_expect_eq(pen_queue_holdups(store, all, 4), 2);
	pen_holdup_say(&a, store, "short");
	pen_holdup_say(&b, store, "");
	cr_assert_eq(pen_queue_holdups(store, all, 4), 1);
	cr_expect_str_eq(all[0].text, "short");
	cr_expect_eq(all[0].pid, (uint32_t)getpid());
	pen_holdup_end(&a, store);
	pen_holdup_end(&b, store);
	cr_expect_eq(pen_queue_holdups(store, all, 4), 0);
	pen_store_close(store);
}

Test(holdup, a_dead_one_says_nothing_and_leaves_nothing)
{
	struct pen_store *store = scratch_store("s");
	struct pen_holdup_file h;
	struct pen_holdup all[4];
	char path[64];
	int ready[2];
	char byte;
	pid_t pid;

	cr_assert_eq(pipe(ready), 0);
	pid = fork();
	if (!pid) {
		/* Only the run directory is used, so the fork may. */
		pen_holdup_init(&h);
		pen_holdup_say(&h, store, "waits");
		if (h.fd < 0 || write(ready[1], &h.fd, 1) != 1)
			_exit(1);
		for (;;)
			(void)pause();
	}
	cr_assert_eq(read(ready[0], &byte, 1), 1);
	cr_assert_eq(pen_queue_holdups(store, all, 4), 1);
	cr_expect_eq(all[0].pid, (uint32_t)pid);
	(void)snprintf(path, sizeof path, "s/run/queue.%d.%d", (int)pid, (int)byte);
	cr_expect_eq(access(scratch_path(path), F_OK), 0);
	cr_assert_eq(kill(pid, SIGKILL), 0);
	cr_assert_eq(scratch_wait(pid), 128 + SIGKILL);
	cr_expect_eq(pen_queue_holdups(store, all, 4), 0);
	cr_expect_neq(access(scratch_path(path), F_OK), 0, "it was cleared away");
	pen_store_close(store);
}
