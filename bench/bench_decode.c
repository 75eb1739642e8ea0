/* SPDX-License-Identifier: MIT */
/*
 * bench_decode - how fast does text come out of a decoder, and what does the hand-over cost?
 *
 *   bench_decode DIR [MIB]      default 128 MiB of text, made in memory; its packed files lie in DIR
 *
 * One JSON line a case on stdout: decoded bytes a second, the median of 5 passes and the fastest and slowest.
 *
 *   bare      unpack alone: packed bytes in memory, one 256 KiB buffer, this thread
 *   decode    the decoder: file to thread to blocks to this thread's 1 MiB buffer, as the reader takes it
 *   recode    UTF-16 and Latin-1 to UTF-8 alone
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <isa-l.h>
#include <zstd.h>

#include "engine/decode.h"
#include "engine/recode.h"
#include "engine/unpack.h"
#include "ring/base.h"
#include "ring/park.h"

#define PASSES 5
#define TAKE (1u << 20)

struct bytes {
	uint8_t *at;
	size_t len;
};

static uint8_t buffer[TAKE];
static struct pen_park woken;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void die(const char *what)
{
	fprintf(stderr, "bench_decode: %s\n", what);
	exit(1);
}

static struct bytes room(size_t len)
{
	struct bytes b = { malloc(len), len };

	if (!b.at)
		die("no memory");
	return b;
}

/* Records of about 200 bytes whose words repeat, as logs do. */
static struct bytes make_text(size_t len)
{
	static const char *const words[] = { "north",  "south",	 "river",  "stone",  "cloud",
					     "lamp",   "paper",	 "garden", "window", "order",
					     "return", "signal", "copper", "winter", "harbour" };
	struct bytes text = room(len + 1024);
	uint64_t x = 88172645463325252u;
	size_t at = 0;

	for (uint64_t n = 0; at < len; n++) {
		at += (size_t)snprintf((char *)text.at + at, 1024,
				       "{\"id\":\"%016llx\",\"at\":%llu,\"note\":\"",
				       (unsigned long long)(x * 0x9e3779b97f4a7c15u),
				       1700000000000ull + (unsigned long long)n * 41);
		for (int i = 0; i < 20; i++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			at += (size_t)snprintf((char *)text.at + at, 64, "%s ", words[x % PEN_COUNT(words)]);
		}
		at += (size_t)snprintf((char *)text.at + at, 8, "\"}\n");
	}
	text.len = len;
	return text;
}

static struct bytes pack(enum pen_compression compression, const struct bytes *text)
{
	struct bytes b = room(ZSTD_compressBound(text->len) + 4096);

	if (compression == PEN_COMPRESSION_ZSTD) {
		b.len = ZSTD_compress(b.at, b.len, text->at, text->len, 3);
		if (ZSTD_isError(b.len))
			die("zstd");
	} else {
		static uint8_t level[ISAL_DEF_LVL3_DEFAULT];
		struct isal_zstream s;

		isal_deflate_init(&s);
		s.next_in = text->at;
		s.avail_in = (uint32_t)text->len;
		s.next_out = b.at;
		s.avail_out = (uint32_t)b.len;
		s.end_of_stream = 1;
		s.gzip_flag = IGZIP_GZIP;
		s.level = 3;
		s.level_buf = level;
		s.level_buf_size = sizeof(level);
		if (isal_deflate(&s) != COMP_OK || s.internal_state.state != ZSTATE_END)
			die("gzip");
		b.len = s.total_out;
	}
	return b;
}

static uint64_t bare(enum pen_compression compression, const struct bytes *packed)
{
	struct pen_span in = { packed->at, packed->at + packed->len };
	struct pen_unpack *u;
	uint64_t total = 0;
	int rc;

	if (pen_unpack_open(compression, &u))
		die("no memory");
	do {
		struct pen_room out = { buffer, buffer + (256u << 10) };

		rc = pen_unpack_step(u, &in, &out, true);
		total += (uint64_t)(out.at - buffer);
	} while (rc == 1);
	if (rc)
		die("unpack");
	pen_unpack_close(u);
	return total;
}

static void wake(void *arg)
{
	pen_park_ring(arg);
}

static uint64_t decode(enum pen_compression compression, enum pen_encoding encoding, int fd)
{
	struct pen_decode_options opt = {
		.fd = fd, .compression = compression, .encoding = encoding, .wake = wake, .wake_arg = &woken
	};
	struct pen_decode *d;
	uint64_t total = 0, used;
	int64_t n;

	if (pen_decode_open(&opt, &d, NULL))
		die("no decoder");
	do {
		uint32_t ticket = pen_park_ticket(&woken);

		n = pen_decode_read(d, buffer, TAKE, &used);
		if (n == -EAGAIN)
			(void)pen_park_wait(&woken, ticket, UINT64_MAX); /* the loop looks again */
		else if (n > 0)
			total += (uint64_t)n;
	} while (n > 0 || n == -EAGAIN);
	if (n)
		die("decode");
	pen_decode_close(d);
	return total;
}

static uint64_t recode(enum pen_encoding encoding, const struct bytes *text)
{
	struct pen_span in = { text->at, text->at + text->len };
	struct pen_recode r;

	pen_recode_init(&r, encoding);
	while (pen_span_left(&in)) {
		struct pen_room out = { buffer, buffer + (256u << 10) };

		if (pen_recode_step(&r, &in, &out, false))
			die("recode");
	}
	return text->len;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void say(const char *what, const char *form, double rates[PASSES], size_t packed)
{
	qsort(rates, PASSES, sizeof(*rates), by_size);
	printf("{\"bench\":\"decode\",\"case\":\"%s\",\"form\":\"%s\",\"gb_per_s\":%.3f,\"min\":%.3f,\"max\":%.3f,"
	       "\"packed_bytes\":%zu}\n",
	       what, form, rates[PASSES / 2], rates[0], rates[PASSES - 1], packed);
	fflush(stdout);
}

static int file_of(const char *dir, const struct bytes *bytes)
{
	int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0)
		die("no file in DIR");
	for (size_t at = 0; at < bytes->len;) {
		ssize_t n = write(fd, bytes->at + at, bytes->len - at);

		if (n <= 0)
			die("cannot write to DIR");
		at += (size_t)n;
	}
	return fd;
}

int main(int argc, char **argv)
{
	static const char *const forms[] = { "", "plain", "gzip", "zstd" };
	size_t mib = argc > 2 ? strtoul(argv[2], NULL, 0) : 128;
	struct bytes text = make_text(mib << 20), wide = room(2 * text.len);
	double rates[PASSES], t;

	if (argc < 2)
		die("usage: bench_decode DIR [MIB]");
	pen_park_init(&woken);
	for (size_t i = 0; i < text.len; i++) {
		wide.at[2 * i] = text.at[i];
		wide.at[2 * i + 1] = 0;
	}
	for (int form = PEN_COMPRESSION_NONE; form <= PEN_COMPRESSION_ZSTD; form++) {
		struct bytes packed = form == PEN_COMPRESSION_NONE ? text : pack(form, &text);
		int fd = file_of(argv[1], &packed);

		for (int p = 0; p < PASSES && form != PEN_COMPRESSION_NONE; p++) {
			t = now();
			rates[p] = (double)bare(form, &packed) / 1e9 / (now() - t);
		}
		if (form != PEN_COMPRESSION_NONE)
			say("bare", forms[form], rates, packed.len);
		for (int p = 0; p < PASSES; p++) {
			t = now();
			rates[p] = (double)decode(form, PEN_ENCODING_AUTO, fd) / 1e9 / (now() - t);
		}
		say("decode", forms[form], rates, packed.len);
		if (form != PEN_COMPRESSION_NONE)
			free(packed.at);
		close(fd);
	}
	for (int p = 0; p < PASSES; p++) {
		t = now();
		rates[p] = (double)recode(PEN_ENCODING_UTF16LE, &wide) / 1e9 / (now() - t);
	}
	say("recode", "utf-16le", rates, wide.len);
	for (int p = 0; p < PASSES; p++) {
		t = now();
		rates[p] = (double)recode(PEN_ENCODING_LATIN1, &text) / 1e9 / (now() - t);
	}
	say("recode", "latin1", rates, text.len);
	free(wide.at);
	free(text.at);
	return 0;
}
