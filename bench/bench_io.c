/* SPDX-License-Identifier: MIT */
/*
 * bench_io - what fetching small files and reading a large one costs, by backend
 *
 *	bench_io DIR [FILES [MIB]]     makes FILES files of 4 KiB and one file of MIB MiB in DIR; 20,000 and 512
 *
 * Files: io_uring and the thread pool through ring/io.h against open, read, close in one thread, with the
 * caches dropped before each run (as root; else only the pages are, and the result says "pages"). Large
 * file: both backends against read in one thread, from the page cache. Contestants take turns in five
 * rounds; one JSON line each: the median, and its ratio to the plain loop of the same round. The sum of the
 * first bytes is checked.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ring/io.h"

#define ROUNDS 5
#define DEPTH 64u
#define FILE_BYTES 4096u
#define BLOCK (256u << 10)
#define FAN 256u /* files in a directory */

enum { PLAIN, URING, THREADS, CONTESTANTS };
static const char *const name[CONTESTANTS] = { "plain", "uring", "threads" };

struct job {
	int dir, large;
	uint32_t files;
	uint64_t large_bytes;
	char (*path)[32];
	char *buf;
};

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void make(struct job *j)
{
	char block[FILE_BYTES];
	int fd;

	memset(block, 'f', sizeof block);
	for (uint32_t i = 0; i < j->files; i++) {
		char sub[16];

		snprintf(sub, sizeof sub, "d%05u", i / FAN);
		if (i % FAN == 0 && mkdirat(j->dir, sub, 0700) && errno != EEXIST)
			die(sub);
		snprintf(j->path[i], sizeof j->path[i], "%s/%08u", sub, i);
		fd = openat(j->dir, j->path[i], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		if (fd < 0 || write(fd, block, sizeof block) != sizeof block || close(fd))
			die(j->path[i]);
	}
	fd = openat(j->dir, "large", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		die("large");
	memset(j->buf, 'l', BLOCK);
	for (uint64_t at = 0; at < j->large_bytes; at += BLOCK)
		if (write(fd, j->buf, BLOCK) != BLOCK)
			die("large");
	j->large = fd;
	sync();
}

/* true when names and inodes went with the pages. */
static bool drop(struct job *j)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
	bool all = fd >= 0 && write(fd, "3", 1) == 1;

	if (fd >= 0)
		close(fd);
	for (uint32_t i = 0; !all && i < j->files; i++) {
		fd = openat(j->dir, j->path[i], O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			die(j->path[i]);
		posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
		close(fd);
	}
	return all;
}

static uint64_t plain_files(struct job *j)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < j->files; i++) {
		int fd = openat(j->dir, j->path[i], O_RDONLY | O_CLOEXEC);

		if (fd < 0 || read(fd, j->buf, FILE_BYTES) != FILE_BYTES)
			die(j->path[i]);
		sum += (unsigned char)j->buf[0];
		close(fd);
	}
	return sum;
}

static uint64_t plain_large(struct job *j)
{
	uint64_t sum = 0;

	for (uint64_t at = 0; at < j->large_bytes; at += BLOCK) {
		if (pread(j->large, j->buf, BLOCK, (off_t)at) != BLOCK)
			die("large");
		sum += (unsigned char)j->buf[0];
	}
	return sum;
}

/* `depth` requests in flight until `count` are done. */
static uint64_t by_io(struct job *j, struct pen_io *io, bool files, uint64_t count, uint32_t depth)
{
	static struct pen_io_req reqs[DEPTH];
	struct pen_io_req *idle[DEPTH], *done[DEPTH];
	uint32_t idle_count = depth;
	uint64_t next = 0, ended = 0, sum = 0;
	size_t len = files ? FILE_BYTES : BLOCK;

	memset(reqs, 0, sizeof reqs);
	for (uint32_t i = 0; i < depth; i++)
		idle[i] = &reqs[i];
	while (ended < count) {
		while (idle_count && next < count) {
			struct pen_io_req *req = idle[--idle_count];
			char *buf = j->buf + (size_t)(req - reqs) * BLOCK;

			if (!(files ? pen_io_fetch(io, req, j->dir, j->path[next], buf, len)
				    : pen_io_read(io, req, j->large, buf, len, (int64_t)(next * BLOCK))))
				die("queueing");
			next++;
		}
		uint32_t n = pen_io_wait(io, done, DEPTH, UINT64_MAX);

		for (uint32_t i = 0; i < n; i++) {
			if (done[i]->res != (int64_t)len) {
				errno = (int)-done[i]->res;
				die("reading");
			}
			sum += (unsigned char)done[i]->buf[0];
			idle[idle_count++] = done[i];
		}
		ended += n;
	}
	return sum;
}

/* Seconds; negative when this backend is denied here. */
static double once(struct job *j, int who, bool files)
{
	struct pen_io_options opt = { .choice = who == URING ? PEN_IO_URING : PEN_IO_THREADS,
				      .entries = DEPTH,
				      .slots = DEPTH,
				      .arena = j->buf,
				      .arena_bytes = (size_t)DEPTH * BLOCK,
				      .slot_bytes = BLOCK };
	uint64_t count = files ? j->files : j->large_bytes / BLOCK, sum;
	struct pen_failure why;
	struct pen_io *io = NULL;
	double began;

	if (who != PLAIN && pen_io_open(&opt, &io, &why))
		return -1;
	began = now_s();
	if (who == PLAIN)
		sum = files ? plain_files(j) : plain_large(j);
	else
		sum = by_io(j, io, files, count, files ? DEPTH : 4);
	began = now_s() - began;
	pen_io_close(io);
	if (sum != count * (files ? 'f' : 'l')) {
		fprintf(stderr, "bench_io: wrong bytes\n");
		exit(1);
	}
	return began;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void contest(struct job *j, bool files)
{
	double took[CONTESTANTS][ROUNDS], ratio[ROUNDS],
		units = files ? j->files : (double)j->large_bytes / (1 << 20);
	bool cold = true;

	for (int who = 0; who < CONTESTANTS; who++)
		once(j, who, files);
	for (int round = 0; round < ROUNDS; round++)
		for (int turn = 0; turn < CONTESTANTS; turn++) {
			int who = (turn + round) % CONTESTANTS;

			if (files)
				cold = drop(j) && cold;
			took[who][round] = once(j, who, files);
		}
	for (int who = CONTESTANTS - 1; who >= 0; who--) {
		if (took[who][0] < 0)
			continue;
		for (int round = 0; round < ROUNDS; round++)
			ratio[round] = took[PLAIN][round] / took[who][round];
		qsort(ratio, ROUNDS, sizeof *ratio, by_size);
		qsort(took[who], ROUNDS, sizeof *took[who], by_size);
		printf("{\"bench\":\"%s\",\"name\":\"%s\",\"%s\":%.0f,\"ratio_to_plain\":%.2f,\"cache\":\"%s\",\"rounds\":%d}\n",
		       files ? "tree_fetch" : "file_read", name[who], files ? "files_per_s" : "mib_per_s",
		       units / took[who][ROUNDS / 2], ratio[ROUNDS / 2],
		       !files ? "warm"
		       : cold ? "cold"
			      : "pages",
		       ROUNDS);
		if (who == PLAIN)
			break;
	}
}

int main(int argc, char **argv)
{
	struct job j = { .files = 20000, .large_bytes = 512u << 20 };

	if (argc < 2) {
		fprintf(stderr, "usage: bench_io DIR [FILES [MIB]]\n");
		return 2;
	}
	if (argc > 2)
		j.files = (uint32_t)strtoul(argv[2], NULL, 10);
	if (argc > 3)
		j.large_bytes = (uint64_t)strtoul(argv[3], NULL, 10) << 20;
	j.dir = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (j.dir < 0)
		die(argv[1]);
	j.path = calloc(j.files, sizeof *j.path);
	j.buf = aligned_alloc(4096, (size_t)DEPTH * BLOCK);
	if (!j.path || !j.buf)
		die("memory");
	memset(j.buf, 0, (size_t)DEPTH * BLOCK);
	make(&j);
	contest(&j, true);
	contest(&j, false);
	for (uint32_t i = 0; i < j.files; i++)
		unlinkat(j.dir, j.path[i], 0);
	for (uint32_t i = 0; i < j.files; i += FAN) {
		char sub[16];

		snprintf(sub, sizeof sub, "d%05u", i / FAN);
		unlinkat(j.dir, sub, AT_REMOVEDIR);
	}
	unlinkat(j.dir, "large", 0);
	close(j.large);
	close(j.dir);
	free(j.path);
	free(j.buf);
	return 0;
}
