/* SPDX-License-Identifier: MIT */
#include "store/lock.h"

#include <errno.h>

#include "tests/store/scratch.h"

/* One timeout for all suites of a program: Criterion leaks when they differ. */
TestSuite(lock, .init = scratch_make, .fini = scratch_remove, .timeout = 600);

Test(lock, held_in_this_process_is_busy_and_free_after_release)
{
	struct pen_store *store = scratch_store("s");
	uint32_t pid = 7;
	int fd, other = -1;

	cr_expect_eq(pen_lock_holder(store, 5), 0);
	cr_assert_eq(pen_lock_batch(store, 5, &fd, &pid), 0);
	cr_expect_eq(pid, 7, "untouched");
	cr_expect_eq(pen_lock_holder(store, 5), (uint32_t)getpid());
	cr_expect_eq(pen_lock_batch(store, 5, &other, &pid), -PEN_BATCH_BUSY);
	cr_expect_eq(pid, (uint32_t)getpid());
	cr_expect_eq(other, -1);
	cr_expect_eq(pen_lock_holder(store, 6), 0, "another batch");
	pen_lock_release(store, 5, fd);
	cr_expect_eq(pen_lock_holder(store, 5), 0);
	cr_expect(access(scratch_path("s/run/batch.0000000000000005"), F_OK), "the file stays");
	cr_assert_eq(pen_lock_batch(store, 5, &fd, &pid), 0);
	pen_lock_release(store, 5, fd);
	pen_store_close(store);
}

Test(lock, dead_holder_leaves_it_free)
{
	struct pen_store *store = scratch_store("s");
	int ready[2], fd;
	uint32_t holder = 0;
	char byte;
	pid_t pid;

	cr_assert_eq(pipe(ready), 0);
	pid = fork();
	if (!pid) {
		/* Only the run directory is used, so the fork may. */
		if (pen_lock_batch(store, 9, &fd, &holder) || write(ready[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			(void)pause();
	}
	cr_assert_eq(read(ready[0], &byte, 1), 1);
	cr_expect_eq(pen_lock_holder(store, 9), (uint32_t)pid);
	cr_expect_eq(pen_lock_batch(store, 9, &fd, &holder), -PEN_BATCH_BUSY);
	cr_expect_eq(holder, (uint32_t)pid);
	cr_assert_eq(kill(pid, SIGKILL), 0);
	cr_assert_eq(scratch_wait(pid), 128 + SIGKILL);
	cr_expect_eq(pen_lock_holder(store, 9), 0, "the file is there, its lock is not");
	cr_assert_eq(pen_lock_batch(store, 9, &fd, &holder), 0);
	pen_lock_release(store, 9, fd);
	pen_store_close(store);
}

/* Takes and releases the lock; inside, a counter file is read, then written one higher. */
static int contend(struct pen_store *store, int counter, int rounds)
{
	uint32_t pid;
	int fd, rc, done = 0;
	long n, again;

	while (done < rounds) {
		rc = pen_lock_batch(store, 1, &fd, &pid);
		if (rc == -PEN_BATCH_BUSY)
			continue;
		if (rc || pread(counter, &n, sizeof(n), 0) != sizeof(n))
			return 1;
		n++;
		if (pwrite(counter, &n, sizeof(n), 0) != sizeof(n) ||
		    pread(counter, &again, sizeof(again), 0) != sizeof(again) || again != n)
			return 2;
		pen_lock_release(store, 1, fd);
		done++;
	}
	return 0;
}

Test(lock, contended_by_processes_lets_one_in_at_a_time)
{
	struct pen_store *store = scratch_store("s");
	int counter = open(scratch_path("counter"), O_RDWR | O_CREAT, 0600), i;
	long n = 0;
	pid_t pids[4];

	cr_assert_eq(pwrite(counter, &n, sizeof(n), 0), (ssize_t)sizeof(n));
	for (i = 0; i < 4; i++) {
		pids[i] = fork();
		if (!pids[i])
			_exit(contend(store, counter, 300));
	}
	for (i = 0; i < 4; i++)
		cr_expect_eq(scratch_wait(pids[i]), 0);
	cr_assert_eq(pread(counter, &n, sizeof(n), 0), (ssize_t)sizeof(n));
	cr_expect_eq(n, 1200, "two were inside at once: %ld", n);
	(void)close(counter);
	pen_store_close(store);
}

/* ---- engines ------------------------------------------------------------------------------- */

Test(lock, engines_have_the_lowest_free_number_and_each_start_its_count)
{
	struct pen_store *store = scratch_store("s");
	uint32_t slot[3];
	uint64_t count[3];
	int fd[3];

	cr_expect_not(pen_lock_engine_held(store, 0));
	for (uint32_t i = 0; i < 3; i++) {
		cr_assert_eq(pen_lock_engine(store, &slot[i], &count[i], &fd[i]), 0);
		cr_expect_eq(slot[i], i);
		cr_expect_eq(count[i], 1);
	}
	cr_expect(pen_lock_engine_held(store, 1));
	pen_lock_engine_release(fd[1]);
	cr_expect_not(pen_lock_engine_held(store, 1));
	cr_assert_eq(pen_lock_engine(store, &slot[1], &count[1], &fd[1]), 0);
	cr_expect_eq(slot[1], 1, "the gap");
	cr_expect_eq(count[1], 2, "its second holder");
	for (uint32_t i = 0; i < 3; i++)
		pen_lock_engine_release(fd[i]);
	pen_store_close(store);
}

Test(lock, engines_have_a_limit)
{
	struct pen_store *store = scratch_store("s");
	int fds[PEN_ENGINES_MAX], fd = -7;
	uint64_t count;
	uint32_t slot;

	for (uint32_t i = 0; i < PEN_ENGINES_MAX; i++)
		cr_assert_eq(pen_lock_engine(store, &slot, &count, &fds[i]), 0);
	cr_expect_eq(pen_lock_engine(store, &slot, &count, &fd), -EBUSY);
	cr_expect_eq(fd, -7, "untouched");
	for (uint32_t i = 0; i < PEN_ENGINES_MAX; i++)
		pen_lock_engine_release(fds[i]);
	pen_store_close(store);
}

Test(lock, an_engine_that_dies_leaves_its_number_free_and_its_count)
{
	struct pen_store *store = scratch_store("s");
	uint64_t count;
	uint32_t slot;
	int ready[2], fd;
	char byte;
	pid_t pid;

	cr_assert_eq(pipe(ready), 0);
	pid = fork();
	if (!pid) {
		if (pen_lock_engine(store, &slot, &count, &fd) || write(ready[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			(void)pause();
	}
	cr_assert_eq(read(ready[0], &byte, 1), 1);
	cr_assert_eq(pen_lock_engine(store, &slot, &count, &fd), 0);
	cr_expect_eq(slot, 1, "the control: it lives");
	pen_lock_engine_release(fd);
	cr_assert_eq(kill(pid, SIGKILL), 0);
	cr_assert_eq(scratch_wait(pid), 128 + SIGKILL);
	cr_assert_eq(pen_lock_engine(store, &slot, &count, &fd), 0);
	cr_expect_eq(slot, 0);
	cr_expect_eq(count, 2);
	pen_lock_engine_release(fd);
	/* Whatever the file holds, it counts on from some number. */
	fd = open(scratch_path("s/run/engine.00"), O_WRONLY | O_TRUNC);
	cr_assert_eq(write(fd, "nonsense", 8), 8);
	close(fd);
	cr_assert_eq(pen_lock_engine(store, &slot, &count, &fd), 0);
	cr_expect_eq(count, 1);
	pen_lock_engine_release(fd);
	pen_store_close(store);
}
