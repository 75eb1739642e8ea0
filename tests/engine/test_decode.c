/* SPDX-License-Identifier: MIT */
/* Belts and inflows are tested here, through what they are for. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <zstd.h>

#include "engine/belt.h"
#include "engine/decode.h"
#include "include/penstock_error.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define TEXT_BYTES (3u << 20)

static uint8_t *text, *packed;
static size_t packed_len;
static sem_t woken;

static void wake(void *arg)
{
	(void)arg;
	sem_post(&woken);
}

static void make_text(void)
{
	uint64_t x = 88172645463325252u;

	text = malloc(TEXT_BYTES);
	packed = malloc(ZSTD_compressBound(TEXT_BYTES));
	cr_assert(text && packed && sem_init(&woken, 0, 0) == 0);
	for (size_t i = 0; i < TEXT_BYTES; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		text[i] = (uint8_t)(x >> 60 ? 'a' + (x >> 56 & 7) : '\n');
	}
	packed_len = ZSTD_compress(packed, ZSTD_compressBound(TEXT_BYTES), text, TEXT_BYTES, 1);
	cr_assert(!ZSTD_isError(packed_len));
}

static void drop_text(void)
{
	free(text);
	free(packed);
	sem_destroy(&woken);
}

TestSuite(decode, .init = make_text, .fini = drop_text);

static int file_of(const void *data, size_t len)
{
	int fd = memfd_create("decode", MFD_CLOEXEC);

	cr_assert(fd >= 0 && write(fd, data, len) == (ssize_t)len && lseek(fd, 5, SEEK_SET) == 5);
	return fd;
}

static struct pen_decode *open_decode(struct pen_decode_options opt)
{
	struct pen_decode *d;
	struct pen_failure why = { 0 };

	opt.wake = wake;
	cr_assert_eq(pen_decode_open(&opt, &d, &why), 0, "%s", why.text);
	return d;
}

/* Everything that comes, in reads of `step`. Returns what ended it. Fails when no wake comes. */
static int64_t read_all(struct pen_decode *d, uint8_t *to, size_t cap, size_t step, size_t *ret_len,
			uint64_t *ret_packed)
{
	uint64_t before = 0;
	size_t len = 0;
	int64_t n;

	for (;;) {
		uint8_t spare[64];
		bool full = cap - len < step;

		n = pen_decode_read(d, full ? spare : to + len, full ? sizeof(spare) : step, ret_packed);
		cr_assert(*ret_packed >= before);
		before = *ret_packed;
		if (n == -EAGAIN) {
			struct timespec until;

			clock_gettime(CLOCK_REALTIME, &until);
			until.tv_sec += 20;
			cr_assert_eq(sem_timedwait(&woken, &until), 0, "no wake came");
			continue;
		}
		if (n <= 0)
			break;
		cr_assert(!full, "more than there should be");
		len += (size_t)n;
	}
	*ret_len = len;
	return n;
}

static void expect(struct pen_decode_options opt, size_t step, const uint8_t *want, size_t want_len, int code,
		   uint64_t want_packed)
{
	struct pen_decode *d = open_decode(opt);
	size_t cap = want_len + step, len;
	uint8_t *got = malloc(cap);
	uint64_t used;
	int64_t rc;

	cr_assert(got);
	rc = read_all(d, got, cap, step, &len, &used);
	cr_expect_eq(rc, code, "%lld instead of %d", (long long)rc, code);
	cr_expect(len == want_len && memcmp(got, want, len) == 0, "%zu bytes instead of %zu", len, want_len);
	cr_expect_eq(used, want_packed, "%llu bytes used of %llu", (unsigned long long)used,
		     (unsigned long long)want_packed);
	cr_expect_eq(pen_decode_read(d, got, step, &used), code, "the end does not stay");
	pen_decode_close(d);
	free(got);
}

Test(decode, a_file_comes_out_whole_from_anywhere)
{
	static const size_t steps[] = { 1000, 65536, 1000000 };
	static const uint64_t skips[] = { 0,
					  1,
					  PEN_BELT_BYTES,
					  PEN_BELT_BYTES + 1,
					  2000000,
					  TEXT_BYTES - 1,
					  TEXT_BYTES,
					  TEXT_BYTES + 100ull };
	int plain = file_of(text, TEXT_BYTES), fd = file_of(packed, packed_len);

	for (size_t s = 0; s < COUNT(steps); s++) {
		for (size_t k = 0; k < COUNT(skips); k++) {
			size_t skip = skips[k] < TEXT_BYTES ? skips[k] : TEXT_BYTES;
			struct pen_decode_options opt = { .fd = fd,
							  .compression = PEN_COMPRESSION_ZSTD,
							  .skip = skips[k] };

			expect(opt, steps[s], text + skip, TEXT_BYTES - skip, 0, packed_len);
			opt.fd = plain;
			opt.compression = PEN_COMPRESSION_NONE;
			expect(opt, steps[s], text + skip, TEXT_BYTES - skip, 0, TEXT_BYTES);
		}
	}
	cr_expect_eq(lseek(fd, 0, SEEK_CUR), 5, "its position moved");
	close(plain);
	close(fd);
}

struct writer {
	int fd;
	const uint8_t *data;
	size_t len, step;
};

static void *write_slowly(void *arg)
{
	struct writer *w = arg;

	for (size_t at = 0; at < w->len;) {
		size_t n = w->len - at < w->step ? w->len - at : w->step;
		ssize_t put = write(w->fd, w->data + at, n);

		if (put <= 0)
			break;
		at += (size_t)put;
		if (w->step < 100)
			nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	close(w->fd);
	return NULL;
}

Test(decode, a_pipe_comes_out_whole_behind_its_prefix)
{
	static const size_t prefixes[] = { 0, 1, 4096 };

	for (size_t i = 0; i < COUNT(prefixes); i++) {
		struct pen_decode_options opt = { .offset = PEN_DECODE_STREAM,
						  .prefix = packed,
						  .prefix_len = prefixes[i],
						  .compression = PEN_COMPRESSION_ZSTD };
		struct writer w = { .data = packed + prefixes[i],
				    .len = packed_len - prefixes[i],
				    .step = 10007 };
		pthread_t thread;
		int fds[2];

		cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
		w.fd = fds[1];
		opt.fd = fds[0];
		cr_assert_eq(pthread_create(&thread, NULL, write_slowly, &w), 0);
		expect(opt, 100000, text, TEXT_BYTES, 0, packed_len);
		pthread_join(thread, NULL);
		close(fds[0]);
	}
}

Test(decode, what_a_pipe_has_said_is_not_kept_back)
{
	static const char line[] = "first line\n";
	struct pen_decode_options opt = { .offset = PEN_DECODE_STREAM, .compression = PEN_COMPRESSION_NONE };
	struct pen_decode *d;
	uint8_t got[100];
	uint64_t used;
	int64_t n;
	int fds[2];

	cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
	opt.fd = fds[0];
	d = open_decode(opt);
	cr_assert_eq(write(fds[1], line, sizeof(line)), (ssize_t)sizeof(line));
	while ((n = pen_decode_read(d, got, sizeof(got), &used)) == -EAGAIN)
		sem_wait(&woken);
	cr_expect(n == sizeof(line) && memcmp(got, line, sizeof(line)) == 0 && used == sizeof(line));
	close(fds[1]);
	while ((n = pen_decode_read(d, got, sizeof(got), &used)) == -EAGAIN)
		sem_wait(&woken);
	cr_expect_eq(n, 0);
	pen_decode_close(d);
	close(fds[0]);
}

Test(decode, close_does_not_wait, .timeout = 20)
{
	struct pen_decode_options opt = { .offset = PEN_DECODE_STREAM, .compression = PEN_COMPRESSION_GZIP };
	int fd = file_of(packed, packed_len), fds[2];

	cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
	opt.fd = fds[0];
	for (int i = 0; i < 20; i++) {
		struct pen_decode *d = open_decode(opt);

		if (i & 1)
			nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL); /* in poll by now */
		pen_decode_close(d);
	}
	opt = (struct pen_decode_options){ .fd = fd, .compression = PEN_COMPRESSION_ZSTD };
	for (int i = 0; i < 20; i++) {
		struct pen_decode *d = open_decode(opt);

		if (i & 1)
			nanosleep(&(struct timespec){ .tv_nsec = 20000000 },
				  NULL); /* the belt is full by now */
		pen_decode_close(d);
	}
	close(fds[0]);
	close(fds[1]);
	close(fd);
}

Test(decode, a_failure_comes_behind_all_that_is_whole)
{
	struct pen_decode_options opt = { .compression = PEN_COMPRESSION_ZSTD };
	uint8_t *garbage = calloc(1, packed_len + 100);
	size_t blocks = TEXT_BYTES / (128 << 10) * (128 << 10) - (128 << 10);
	int fd;

	memcpy(garbage, packed, packed_len);
	fd = opt.fd = file_of(garbage, packed_len + 100);
	expect(opt, 100000, text, TEXT_BYTES, -PEN_PACKED_BAD, packed_len);
	close(fd);
	fd = opt.fd = file_of(packed, packed_len - 1);
	expect(opt, 100000, text, blocks, -PEN_PACKED_CUT, packed_len - 1);
	close(fd);
	opt.fd = open("/", O_RDONLY | O_CLOEXEC);
	opt.compression = PEN_COMPRESSION_NONE;
	expect(opt, 100000, text, 0, -EISDIR, 0);
	close(opt.fd);
	free(garbage);
}

Test(decode, encodings_are_turned_into_utf8_behind_the_unpacking)
{
	/* Two bytes a character, a mark in front, and half a character at the end. */
	size_t wide_len = 2 + 2 * (size_t)TEXT_BYTES, room = ZSTD_compressBound(wide_len + 1), len;
	uint8_t *wide = calloc(1, wide_len + 1), *small = malloc(room), *want = malloc(3 + TEXT_BYTES);
	struct pen_decode_options opt = { .compression = PEN_COMPRESSION_ZSTD };

	cr_assert(wide && small && want);
	memcpy(wide, "\xff\xfe", 2);
	memcpy(want, "\xef\xbb\xbf", 3);
	memcpy(want + 3, text, TEXT_BYTES);
	for (size_t i = 0; i < TEXT_BYTES; i++)
		wide[2 + 2 * i] = text[i];
	len = ZSTD_compress(small, room, wide, wide_len, 1);
	opt.fd = file_of(small, len);
	expect(opt, 77777, want, 3 + TEXT_BYTES, 0, len);
	opt.skip = 1000000;
	expect(opt, 77777, want + 1000000, 3 + TEXT_BYTES - 1000000, 0, len);
	opt.skip = 0;
	close(opt.fd);
	len = ZSTD_compress(small, room, wide, wide_len + 1, 1);
	opt.fd = file_of(small, len);
	expect(opt, 77777, want, 3 + TEXT_BYTES, -PEN_ENCODING_BAD, len);
	close(opt.fd);
	opt.fd = file_of(wide, wide_len + 1);
	opt.compression = PEN_COMPRESSION_NONE;
	expect(opt, 77777, want, 3 + TEXT_BYTES, -PEN_ENCODING_BAD, wide_len + 1);
	close(opt.fd);
	free(want);
	free(small);
	free(wide);
}

Test(decode, a_sample_is_the_first_bytes)
{
	int fd = file_of(packed, packed_len), fds[2];
	uint8_t *got = malloc(TEXT_BYTES + 8);
	size_t len = 0;
	bool whole = true;

	cr_assert_eq(pen_decode_sample(fd, PEN_COMPRESSION_ZSTD, PEN_ENCODING_AUTO, got, 70000, &len, &whole),
		     0);
	cr_expect(!whole && len > 69990 && memcmp(got, text, len) == 0, "%zu", len);
	cr_assert_eq(pen_decode_sample(fd, PEN_COMPRESSION_ZSTD, PEN_ENCODING_AUTO, got, TEXT_BYTES, &len,
				       &whole),
		     0);
	cr_expect(whole && len == TEXT_BYTES && memcmp(got, text, len) == 0, "%zu", len);
	cr_expect_eq(lseek(fd, 0, SEEK_CUR), 5, "its position moved");
	cr_expect_eq(pen_decode_sample(fd, PEN_COMPRESSION_GZIP, PEN_ENCODING_AUTO, got, TEXT_BYTES, &len,
				       &whole),
		     -PEN_PACKED_BAD);
	close(fd);
	fd = file_of("x", 1);
	cr_assert_eq(pen_decode_sample(fd, PEN_COMPRESSION_NONE, PEN_ENCODING_AUTO, got, 100, &len, &whole),
		     0);
	cr_expect(whole && len == 1 && *got == 'x');
	close(fd);
	cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
	cr_expect_eq(pen_decode_sample(fds[0], PEN_COMPRESSION_NONE, PEN_ENCODING_AUTO, got, 100, &len,
				       &whole),
		     -ESPIPE);
	close(fds[0]);
	close(fds[1]);
	free(got);
}
