/* SPDX-License-Identifier: MIT */
/*
 * out - the way to stdout: a buffer of 64 KiB, and the first error kept
 *
 * Once a write failed, everything further is dropped and pen_out_failed() says so, so that a listing can
 * stop; a reader that went away (head) is a normal end. With fd -1 everything is kept in memory instead
 * (tests).
 */
#ifndef PEN_TOOLS_OUT_H
#define PEN_TOOLS_OUT_H

#include <stdbool.h>
#include <stddef.h>

struct pen_out {
	int fd;
	int error; /* errno of the first failed write */
	size_t len, cap;
	char *buf;
	unsigned
		patience_ms; /* how long one buffer may wait for a reader before the error is ETIMEDOUT; 0: for ever */
};

/* Ends the process (status 3) when there is no memory for the buffer. */
void pen_out_init(struct pen_out *out, int fd);
void pen_out_fini(struct pen_out *out);
void pen_out_bytes(struct pen_out *out, const void *data, size_t len);
void pen_out_text(struct pen_out *out, const char *text);
void pen_out_char(struct pen_out *out, char c);
/* For a line of at most 1 KiB; more is cut. */
void pen_out_format(struct pen_out *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* User data for people: controls and what is not UTF-8 escaped. keep_lines lets newlines and tabs through. */
void pen_out_safe(struct pen_out *out, const void *data, size_t len, bool keep_lines);
/* Writes what is there now. A reader that went away counts as a failed write, though there is nothing to write. */
void pen_out_flush(struct pen_out *out);
bool pen_out_failed(const struct pen_out *out);
/*
 * Writes what is left and frees the buffer. The exit status: `status`, or 0 when the reader went away, or 3
 * after a sentence on stderr when stdout cannot be written.
 */
int pen_out_end(struct pen_out *out, int status);

#endif
