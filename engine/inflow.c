/* SPDX-License-Identifier: MIT */
/*
 * inflow - the bytes of a descriptor as text: read, unpacked, turned into UTF-8
 *
 * Three stages, each pulling from the one before: refill() reads, unpacked() unpacks, pen_inflow_pull() recodes.
 * Text in UTF-8, which is nearly all of it, is unpacked straight to where it is wanted; the buffer in front of
 * recode holds only what came before that was known.
 *
 * What can go wrong: a stage that fails or ends first gives what it has; its code waits in `code` until the
 * stages behind it have used that up.
 */
#include "engine/inflow.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/recode.h"
#include "engine/unpack.h"
#include "include/penstock_error.h"
#include "ring/base.h"

#define RAW_BYTES (128u << 10)
#define MIDDLE_BYTES (64u << 10)
#define ENDED 1 /* as a code: no more, and all is well */

struct pen_inflow {
	struct pen_inflow_options opt;
	uint64_t taken; /* bytes that went into `in` */
	struct pen_span in;
	bool eof;		   /* nothing follows `in` */
	struct pen_unpack *unpack; /* NULL: not packed */
	struct pen_span text;	   /* unpacked, in `middle` */
	int code;		   /* what follows `text`: 0 more, ENDED, or a failure */
	int told;		   /* what pull has said last and for good */
	struct pen_recode recode;
	uint8_t *raw, *middle, *prefix;
};

int pen_inflow_open(const struct pen_inflow_options *opt, struct pen_inflow **ret)
{
	struct pen_inflow *f = calloc(1, sizeof(*f));
	int rc = 0;

	if (!f)
		return -ENOMEM;
	f->opt = *opt;
	f->opt.prefix = NULL;
	pen_recode_init(&f->recode, opt->encoding);
	f->raw = malloc(RAW_BYTES);
	f->prefix = malloc(opt->prefix_len + 1);
	f->middle = pen_recode_plain(&f->recode) ? NULL : malloc(MIDDLE_BYTES);
	if (!f->raw || !f->prefix || (!f->middle && !pen_recode_plain(&f->recode)))
		rc = -ENOMEM;
	if (!rc && opt->compression != PEN_COMPRESSION_NONE)
		rc = pen_unpack_open(opt->compression, &f->unpack);
	if (rc) {
		pen_inflow_close(f);
		return rc;
	}
	if (opt->prefix_len)
		memcpy(f->prefix, opt->prefix, opt->prefix_len);
	f->in = (struct pen_span){ f->prefix, f->prefix + opt->prefix_len };
	f->taken = opt->prefix_len;
	*ret = f;
	return 0;
}

void pen_inflow_close(struct pen_inflow *inflow)
{
	if (!inflow)
		return;
	pen_unpack_close(inflow->unpack);
	free(inflow->middle);
	free(inflow->prefix);
	free(inflow->raw);
	free(inflow);
}

uint64_t pen_inflow_packed(const struct pen_inflow *inflow)
{
	return inflow->taken - pen_span_left(&inflow->in);
}

/* New bytes into `in`, which is empty. 0, -EAGAIN when there are none without waiting, or a failure. */
static int refill(struct pen_inflow *f, bool wait)
{
	bool stream = f->opt.offset == PEN_INFLOW_STREAM;

	for (;;) {
		struct pollfd fds[2] = { { .fd = f->opt.stop_fd, .events = POLLIN },
					 { .fd = stream ? f->opt.fd : -1, .events = POLLIN } };
		ssize_t n;

		if (poll(fds, 2, wait && stream ? -1 : 0) < 0 && errno != EINTR)
			return -errno;
		if (fds[0].revents)
			return -ECANCELED;
		if (stream && !fds[1].revents) {
			if (!wait)
				return -EAGAIN;
			continue;
		}
		n = stream ? read(f->opt.fd, f->raw, RAW_BYTES)
			   : pread(f->opt.fd, f->raw, RAW_BYTES, f->opt.offset);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0)
			return -errno;
		f->eof = n == 0;
		f->in = (struct pen_span){ f->raw, f->raw + n };
		f->taken += (uint64_t)n;
		if (!stream)
			f->opt.offset += n;
		return 0;
	}
}

static void copy(struct pen_span *in, struct pen_room *out)
{
	size_t n = (size_t)pen_min(pen_span_left(in), pen_room_left(out));

	if (!n)
		return;
	memcpy(out->at, in->at, n);
	in->at += n;
	out->at += n;
}

/* Unpacked bytes, until the room is full, more would have to be waited for, or f->code is set. */
static void unpacked(struct pen_inflow *f, struct pen_room *out, bool wait)
{
	const uint8_t *from = out->at;
	int rc = 0;

	while (!f->code) {
		/* Before anything is read: text may still wait in the decompressor. */
		if (f->unpack)
			rc = pen_unpack_step(f->unpack, &f->in, out, f->eof);
		else
			copy(&f->in, out);
		if (rc < 0) {
			f->code = rc;
			return;
		}
		if (!pen_room_left(out))
			return;
		if (f->eof) {
			f->code = ENDED;
			return;
		}
		rc = refill(f, wait && out->at == from);
		if (rc == -EAGAIN)
			return;
		f->code = rc;
	}
}

/* The same through recode. */
static void recoded(struct pen_inflow *f, struct pen_room *out)
{
	const uint8_t *from = out->at;

	for (;;) {
		struct pen_room middle = { f->middle, f->middle + MIDDLE_BYTES };
		int rc = pen_recode_step(&f->recode, &f->text, out, f->code == ENDED);

		if (rc) {
			f->code = f->told = rc;
			return;
		}
		if (pen_room_left(out) < PEN_RECODE_ROOM || pen_span_left(&f->text))
			return;
		if (f->code) {
			f->told = f->code;
			return;
		}
		if (pen_recode_plain(&f->recode)) {
			unpacked(f, out, out->at == from);
			return;
		}
		unpacked(f, &middle, out->at == from);
		f->text = (struct pen_span){ f->middle, middle.at };
		if (!pen_span_left(&f->text) && !f->code)
			return;
	}
}

int64_t pen_inflow_pull(struct pen_inflow *inflow, void *to, size_t cap)
{
	struct pen_room out = { to, (uint8_t *)to + cap };

	if (!inflow->told) {
		if (pen_recode_plain(&inflow->recode) && !pen_span_left(&inflow->text))
			unpacked(inflow, &out, true);
		else
			recoded(inflow, &out);
		if (pen_recode_plain(&inflow->recode) && !pen_span_left(&inflow->text))
			inflow->told = inflow->code;
	}
	if (out.at != to)
		return out.at - (uint8_t *)to;
	return inflow->told == ENDED ? 0 : inflow->told;
}
