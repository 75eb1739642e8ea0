/* SPDX-License-Identifier: MIT */
/*
 * stress/decode - decoders are opened, read and closed at any moment: every byte once, in order, no wake lost
 *
 * A pipe that is written in random pieces with random pauses, or a file, plain or in UTF-16; the reader takes random
 * amounts, pauses, and sometimes closes half-way (also while the decoder waits for a silent pipe). A reader that got
 * -EAGAIN sleeps until it is woken, with a timeout far above anything that happens here. The text is a function
 * of its place. PEN_SEED, PEN_SECS.
 */
#include "engine/decode.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "ring/base.h"
#include "ring/park.h"
#include "tests/lib/stress.h"

#define TEXT_MAX (6u << 20)
#ifdef PEN_PLANT_BELT_RING
#define WAIT_NS 500000000ull /* the lost wake is what is looked for: find it soon */
#else
#define WAIT_NS 20000000000ull
#endif

struct run {
	uint64_t seed, len;
	int to; /* the pipe's writing end; -1: a file */
	bool wide, silent;
	struct pen_park park;
};

/* ASCII, so that it has the same place in every encoding. */
static uint8_t letter(uint64_t at)
{
	return (uint8_t)('!' + stress_mix(at >> 3) % 64 + (at & 7));
}

static size_t make(uint8_t *to, uint64_t at, size_t n, bool wide)
{
	for (size_t i = 0; i < n; i++) {
		if (wide) {
			to[2 * i] = letter(at + i);
			to[2 * i + 1] = 0;
		} else {
			to[i] = letter(at + i);
		}
	}
	return wide ? 2 * n : n;
}

static void *feed(void *arg)
{
	struct run *run = arg;
	struct stress_random random = stress_random(run->seed ^ 0x70);
	static uint8_t piece[2 * 65536];
	uint64_t at = 0;

	while (at < run->len) {
		size_t n = (size_t)pen_min(1 + stress_below(&random, 65536), run->len - at);
		size_t bytes = make(piece, at, n, run->wide);

		for (size_t put = 0; put < bytes;) {
			ssize_t w = write(run->to, piece + put, bytes - put);

			if (w < 0)
				return NULL; /* the reader has gone */
			put += (size_t)w;
		}
		at += n;
		stress_pause(&random);
	}
	if (!run->silent) {
		close(run->to);
		run->to = -1;
	}
	return NULL;
}

static void wake(void *arg)
{
	pen_park_ring(&((struct run *)arg)->park);
}

static uint64_t check(const uint8_t *got, int64_t n, uint64_t at)
{
	for (int64_t i = 0; i < n; i++)
		STRESS_CHECK(got[i] == letter(at + (uint64_t)i), "byte %llu",
			     (unsigned long long)(at + (uint64_t)i));
	return at + (uint64_t)n;
}

/* Reads until the end, or until `stop` bytes came. */
static uint64_t drain(struct run *run, struct pen_decode *d, uint64_t at, uint64_t stop)
{
	static uint8_t got[1 << 20];
	struct stress_random random = stress_random(run->seed ^ 0x80);
	uint64_t used, before = 0;

	while (at < stop) {
		uint32_t ticket = pen_park_ticket(&run->park);
		int64_t n = pen_decode_read(d, got, 1 + (size_t)stress_below(&random, sizeof(got)), &used);

		STRESS_CHECK(used >= before, "progress went back");
		before = used;
		if (n == 0)
			return at;
		if (n == -EAGAIN) {
			if (run->silent && at == run->len)
				return at;
			(void)pen_park_wait(&run->park, ticket,
					    WAIT_NS); /* the loop looks again either way */
			STRESS_CHECK(run->park.timeouts == 0, "a wake was lost at %llu of %llu",
				     (unsigned long long)at, (unsigned long long)run->len);
			continue;
		}
		STRESS_CHECK(n > 0, "failed with %lld", (long long)n);
		at = check(got, n, at);
		stress_pause(&random);
	}
	return at;
}

static int file_of(const struct run *run)
{
	static uint8_t bytes[2 * TEXT_MAX];
	int fd = memfd_create("stress", MFD_CLOEXEC);
	size_t len = make(bytes, 0, (size_t)run->len, run->wide);

	STRESS_CHECK(fd >= 0 && write(fd, bytes, len) == (ssize_t)len, "no file");
	return fd;
}

static bool one(struct run *run, struct stress_random *random)
{
	bool pipe_too = stress_below(random, 3) > 0, half = stress_below(random, 3) == 0;
	uint64_t skip = stress_below(random, 4) ? 0 : stress_below(random, run->len + 1);
	uint64_t stop = half ? stress_below(random, run->len + 1) : UINT64_MAX, at;
	struct pen_decode_options opt = {
		.offset = pipe_too ? PEN_DECODE_STREAM : 0,
		.compression = PEN_COMPRESSION_NONE,
		.encoding = run->wide ? PEN_ENCODING_UTF16LE : PEN_ENCODING_AUTO,
		.skip = skip,
		.wake = wake,
		.wake_arg = run,
	};
	struct pen_decode *d;
	pthread_t feeder;
	int fds[2];

	run->silent = pipe_too && stress_below(random, 4) == 0;
	pen_park_init(&run->park);
	if (pipe_too) {
		STRESS_CHECK(pipe2(fds, O_CLOEXEC) == 0, "no pipe");
		run->to = fds[1];
		STRESS_CHECK(pthread_create(&feeder, NULL, feed, run) == 0, "no thread");
	} else {
		fds[0] = file_of(run);
	}
	opt.fd = fds[0];
	STRESS_CHECK(pen_decode_open(&opt, &d, NULL) == 0, "no decoder");
	at = drain(run, d, skip, stop);
	STRESS_CHECK(half || at == run->len, "%llu of %llu bytes", (unsigned long long)at,
		     (unsigned long long)run->len);
	pen_decode_close(d);
	close(fds[0]);
	if (pipe_too) {
		STRESS_CHECK(pthread_join(feeder, NULL) == 0, "join");
		if (run->to >= 0)
			close(run->to);
	}
	return half;
}

int main(void)
{
	uint64_t seed = stress_start("decode"), runs = 0, halves = 0;
	struct stress_random random = stress_random(seed);
	struct run *run = aligned_alloc(_Alignof(struct run), sizeof(*run));

	STRESS_CHECK(run, "no memory");
	signal(SIGPIPE, SIG_IGN);
	while (stress_time_left() || runs < 8) {
		memset(run, 0, sizeof(*run));
		run->seed = seed + runs;
		run->len = stress_below(&random, stress_below(&random, 2) ? TEXT_MAX : 3000);
		run->wide = stress_below(&random, 2);
		halves += one(run, &random);
		runs++;
	}
	printf("decode: %llu runs, %llu left half-way\n", (unsigned long long)runs,
	       (unsigned long long)halves);
	free(run);
	return 0;
}
