/* SPDX-License-Identifier: MIT */
#include "tools/out.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tools/say.h"
#include "tools/text.h"

#define OUT_BYTES 65536u
#define WARN_MS 30000u

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Until the reader takes something, or the buffer has waited too long. A warning comes half-way, at the latest after
 * half a minute. */
static void wait_reader(struct pen_out *out, uint64_t since, bool *warned)
{
	uint64_t warn = out->patience_ms / 2 < WARN_MS ? out->patience_ms / 2 : WARN_MS;
	struct pollfd ready = { .fd = out->fd, .events = POLLOUT };

	for (;;) {
		uint64_t waited = now_ms() - since, until = *warned ? out->patience_ms : warn;

		if (waited >= until && *warned) {
			out->error = ETIMEDOUT;
			return;
		}
		if (waited >= until) {
			pen_say_warning(
				0,
				"the reader of stdout has been slow for %llu s; the snapshot it reads keeps the store "
				"from using pages again",
				(unsigned long long)waited / 1000);
			*warned = true;
			continue;
		}
		if (poll(&ready, 1, (int)(until - waited)) > 0)
			return;
	}
}

static void drain(struct pen_out *out)
{
	uint64_t since = out->patience_ms ? now_ms() : 0;
	bool warned = false;
	size_t at = 0;

	while (at < out->len && !out->error) {
		size_t part = out->len - at;
		ssize_t n;

		/* A pipe that is ready takes PIPE_BUF bytes without waiting, but not always more. */
		if (out->patience_ms) {
			wait_reader(out, since, &warned);
			part = part < PIPE_BUF ? part : PIPE_BUF;
		}
		if (out->error)
			break;
		n = write(out->fd, out->buf + at, part);

		if (n >= 0)
			at += (size_t)n;
		else if (errno == EAGAIN) {
			struct pollfd ready = { .fd = out->fd, .events = POLLOUT };

			poll(&ready, 1, -1);
		} else if (errno != EINTR)
			out->error = errno;
	}
	out->len = 0;
}

void pen_out_init(struct pen_out *out, int fd)
{
	*out = (struct pen_out){ .fd = fd, .cap = OUT_BYTES };
	out->buf = malloc(out->cap);
	if (!out->buf) {
		pen_say_error(-ENOMEM, "not enough memory for the output buffer");
		exit(3);
	}
}

void pen_out_fini(struct pen_out *out)
{
	free(out->buf);
	out->buf = NULL;
	out->len = out->cap = 0;
}

static bool grow(struct pen_out *out, size_t more)
{
	size_t cap = out->cap;
	char *buf;

	while (cap - out->len < more)
		if (__builtin_mul_overflow(cap, 2u, &cap))
			return false;
	buf = realloc(out->buf, cap);
	if (!buf)
		return false;
	out->buf = buf;
	out->cap = cap;
	return true;
}

void pen_out_bytes(struct pen_out *out, const void *data, size_t len)
{
	const char *p = data;

	if (out->fd < 0 && len > out->cap - out->len && !grow(out, len)) {
		out->error = ENOMEM;
		return;
	}
	while (len > 0 && !out->error) {
		size_t n = out->cap - out->len < len ? out->cap - out->len : len;

		memcpy(out->buf + out->len, p, n);
		out->len += n;
		p += n;
		len -= n;
		if (out->len == out->cap && out->fd >= 0)
			drain(out);
	}
}

void pen_out_text(struct pen_out *out, const char *text)
{
	pen_out_bytes(out, text, strlen(text));
}

void pen_out_char(struct pen_out *out, char c)
{
	pen_out_bytes(out, &c, 1);
}

void pen_out_format(struct pen_out *out, const char *format, ...)
{
	char line[1024];
	va_list args;

	va_start(args, format);
	int n = vsnprintf(line, sizeof line, format, args);
	va_end(args);
	if (n > 0)
		pen_out_bytes(out, line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
}

void pen_out_safe(struct pen_out *out, const void *data, size_t len, bool keep_lines)
{
	const char *p = data;

	while (len > 0 && !out->error) {
		size_t used = 1;

		if (keep_lines && (*p == '\n' || *p == '\t')) {
			pen_out_char(out, *p);
		} else {
			char piece[1024];
			/* Wider than the piece, so that the window's end never cuts a character. */
			size_t part = len < 4 * sizeof piece ? len : 4 * sizeof piece;
			const char *stop = keep_lines ? memchr(p, '\n', part) : NULL;

			part = stop ? (size_t)(stop - p) : part;
			stop = keep_lines ? memchr(p, '\t', part) : NULL;
			part = stop ? (size_t)(stop - p) : part;
			size_t n = pen_text_escape(piece, sizeof piece, p, part, &used);

			pen_out_bytes(out, piece, n);
		}
		p += used;
		len -= used;
	}
}

void pen_out_flush(struct pen_out *out)
{
	struct pollfd reader = { .fd = out->fd };

	if (out->fd < 0)
		return;
	drain(out);
	if (!out->error && poll(&reader, 1, 0) == 1 && (reader.revents & POLLERR))
		out->error = EPIPE;
}

bool pen_out_failed(const struct pen_out *out)
{
	return out->error != 0;
}

int pen_out_end(struct pen_out *out, int status)
{
	if (out->fd >= 0)
		drain(out);
	if (out->error == EPIPE)
		status = 0;
	else if (out->error == ETIMEDOUT) {
		pen_say_error(
			0,
			"the reader of stdout is too slow: gave up after %u s, so that the snapshot is let go",
			out->patience_ms / 1000);
		status = 75;
	} else if (out->error) {
		pen_say_error(-out->error, "cannot write to stdout: %s", strerror(out->error));
		status = 3;
	}
	pen_out_fini(out);
	return status;
}
