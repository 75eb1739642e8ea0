/* SPDX-License-Identifier: MIT */
/*
 * bench_publish - how much of a whole run's CPU time goes into the progress ring, with readers attached
 *
 *	bench_publish PENSTOCK FILE STORE [RUNS]      default 5
 *
 * Each run imports FILE into a fresh STORE, while one reader spins on the ring and another sleeps on it. What
 * publishing took is the committer's own account (the counter publish.cpu_us, of its thread's CPU clock, wakes
 * included); what the run took is the kernel's (wait4: user and system). One JSON line: the medians, and the range
 * of the percentages.
 */
#include <fcntl.h>
#include <glob.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "include/penstock_progress.h"

#define RUNS_MAX 99u

struct reader {
	bool sleeps;
	uint64_t events, lost;
};

static char run_dir[64], ring_path[512];
static _Atomic bool over;

static void fail(const char *what)
{
	fprintf(stderr, "bench_publish: %s\n", what);
	exit(1);
}

static void *follow(void *arg)
{
	struct reader *reader = arg;
	struct pen_ring_event got[64];
	struct pen_ring ring;
	uint64_t lost;
	int n;

	if (pen_ring_open(&ring, ring_path, PEN_RING_OWNERS_OWN))
		fail("the ring cannot be opened");
	pen_ring_rewind(&ring);
	/* Relaxed: it only ends the loop. */
	while (!atomic_load_explicit(&over, memory_order_relaxed)) {
		n = pen_ring_poll(&ring, got, 64, &lost);
		reader->events += n > 0 ? (uint64_t)n : 0;
		reader->lost += lost;
		if (n == 0 && reader->sleeps)
			(void)pen_ring_wait(&ring, 50);
	}
	pen_ring_close(&ring);
	return NULL;
}

static pid_t start(char *const *argv)
{
	pid_t pid = fork();

	if (pid < 0)
		fail("fork");
	if (pid == 0) {
		int null = open("/dev/null", O_RDWR);

		(void)dup2(null, STDOUT_FILENO);
		execv(argv[0], argv);
		_exit(127);
	}
	return pid;
}

/* False: the run was over before its ring was seen. */
static bool find_ring(pid_t pid)
{
	char pattern[96];
	glob_t found;

	(void)snprintf(pattern, sizeof(pattern), "%s/*/*.ring", run_dir);
	while (waitpid(pid, NULL, WNOHANG) == 0) {
		if (glob(pattern, GLOB_NOSORT, NULL, &found) == 0) {
			(void)snprintf(ring_path, sizeof(ring_path), "%s", found.gl_pathv[0]);
			globfree(&found);
			return true;
		}
		nanosleep(&(struct timespec){ .tv_nsec = 500000 }, NULL);
	}
	return false;
}

static double seconds(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *of, uint32_t n)
{
	qsort(of, n, sizeof(*of), by_size);
	return of[n / 2];
}

static void remove_store(const char *store)
{
	char *const argv[] = { (char *)"/bin/rm", (char *)"-rf", (char *)(uintptr_t)store, NULL };
	int status;

	(void)waitpid(start(argv), &status, 0);
}

int main(int argc, char **argv)
{
	double percent[RUNS_MAX], publish_ms[RUNS_MAX], cpu_s[RUNS_MAX];
	struct reader readers[2] = { { .sleeps = false }, { .sleeps = true } };
	uint32_t runs = argc > 4 ? (uint32_t)strtoul(argv[4], NULL, 10) : 5;

	if (argc < 4 || !runs || runs > RUNS_MAX)
		fail("usage: bench_publish PENSTOCK FILE STORE [RUNS]");
	(void)snprintf(run_dir, sizeof(run_dir), "/dev/shm/penstock-bench-XXXXXX");
	if (!mkdtemp(run_dir) || setenv("PENSTOCK_RUN", run_dir, 1))
		fail("/dev/shm");
	for (uint32_t i = 0; i < runs; i++) {
		char *const run[] = { argv[1],	     (char *)"--quiet", (char *)"--store",    argv[3],
				      (char *)"run", argv[2],		(char *)"--progress", (char *)"none",
				      NULL };
		pthread_t threads[2];
		struct pen_ring ring;
		struct rusage used;
		int status;
		pid_t pid;

		remove_store(argv[3]);
		pid = start(run);
		if (!find_ring(pid) || pen_ring_open(&ring, ring_path, PEN_RING_OWNERS_OWN))
			fail("the run was over before its ring was seen: a larger FILE is needed");
		atomic_store_explicit(&over, false, memory_order_relaxed); /* no thread is there yet */
		for (unsigned t = 0; t < 2; t++)
			if (pthread_create(&threads[t], NULL, follow, &readers[t]))
				fail("pthread_create");
		if (wait4(pid, &status, 0, &used) != pid || status)
			fail("the run failed");
		atomic_store_explicit(&over, true, memory_order_relaxed);
		for (unsigned t = 0; t < 2; t++)
			(void)pthread_join(threads[t], NULL);
		/* Its name is gone, the last numbers are still there. */
		publish_ms[i] =
			(double)pen_ring_total(&ring, PEN_RING_ID(PEN_RING_COMMIT, PEN_RING_PUBLISH_CPU_US)) /
			1e3;
		cpu_s[i] = seconds(used.ru_utime) + seconds(used.ru_stime);
		percent[i] = publish_ms[i] / cpu_s[i] / 10;
		pen_ring_close(&ring);
	}
	remove_store(argv[3]);
	(void)rmdir(run_dir);
	printf("{\"bench\":\"publish_cpu\",\"percent\":%.4f", median(percent, runs));
	printf(",\"percent_min\":%.4f,\"percent_max\":%.4f,\"publish_ms\":%.2f,\"run_cpu_s\":%.3f",
	       percent[0], percent[runs - 1], median(publish_ms, runs), median(cpu_s, runs));
	printf(",\"runs\":%u,\"spinning_events\":%llu,\"sleeping_events\":%llu,\"lost\":%llu}\n", runs,
	       (unsigned long long)readers[0].events, (unsigned long long)readers[1].events,
	       (unsigned long long)(readers[0].lost + readers[1].lost));
	return 0;
}
