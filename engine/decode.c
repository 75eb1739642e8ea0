/* SPDX-License-Identifier: MIT */
/*
 * decode - text out of a descriptor that is compressed, or in another encoding, or both
 *
 * The thread pulls from an inflow into the blocks of a belt; the reader copies out of them. A block is handed
 * over when it is full, or when a pipe has no more for now. The last block carries how it ended.
 */
#include "engine/decode.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/belt.h"
#include "engine/inflow.h"
#include "engine/recode.h"
#include "ring/base.h"
#include "ring/error.h"

enum kind { TEXT, LAST };

struct pen_decode {
	/* The thread's. */
	struct pen_inflow *inflow;
	uint64_t skip;

	/* The reader's. */
	struct pen_belt *belt;
	uint32_t at; /* bytes taken of the block in front */
	uint64_t packed;
	bool ended;
	int code;
};

static bool fill(void *arg, struct pen_block *block)
{
	struct pen_decode *d = arg;
	int64_t n;

	while ((n = pen_inflow_pull(d->inflow, block->bytes, PEN_BELT_BYTES)) > 0) {
		uint64_t past = pen_min(d->skip, (uint64_t)n);

		if (past && !pen_belt_stopping(d->belt)) {
			d->skip -= past;
			n -= (int64_t)past;
			if (!n)
				continue;
			memmove(block->bytes, block->bytes + past, (size_t)n);
		}
		block->len = (uint32_t)n;
		block->kind = TEXT;
		block->packed = pen_inflow_packed(d->inflow);
		return true;
	}
	block->kind = LAST;
	block->code = (int)n;
	block->packed = pen_inflow_packed(d->inflow);
	return false;
}

int pen_decode_open(const struct pen_decode_options *opt, struct pen_decode **ret, struct pen_failure *why)
{
	struct pen_decode *d = calloc(1, sizeof(*d));
	struct pen_belt_options belt = {
		.fill = fill, .arg = d, .wake = opt->wake, .wake_arg = opt->wake_arg
	};
	struct pen_inflow_options inflow = {
		.fd = opt->fd,
		.offset = opt->offset,
		.prefix = opt->prefix,
		.prefix_len = opt->prefix_len,
		.compression = opt->compression,
		.encoding = opt->encoding,
	};
	int rc = d ? pen_belt_open(&belt, &d->belt) : -ENOMEM;

	if (!rc) {
		d->skip = opt->skip;
		inflow.stop_fd = pen_belt_stop_fd(d->belt);
		rc = pen_inflow_open(&inflow, &d->inflow);
	}
	if (!rc)
		rc = pen_belt_start(d->belt);
	if (rc) {
		pen_decode_close(d);
		return pen_fail(why, rc, -rc, "no memory or thread for a decoder");
	}
	*ret = d;
	return 0;
}

void pen_decode_close(struct pen_decode *decode)
{
	if (!decode)
		return;
	pen_belt_close(decode->belt); /* the thread uses the inflow until then */
	pen_inflow_close(decode->inflow);
	free(decode);
}

int64_t pen_decode_read(struct pen_decode *decode, void *to, size_t len, uint64_t *ret_packed)
{
	size_t got = 0;

	while (got < len && !decode->ended) {
		struct pen_block *block = pen_belt_front(decode->belt);
		size_t n;

		if (!block)
			break;
		n = (size_t)pen_min(len - got, block->len - decode->at);
		if (n)
			memcpy((uint8_t *)to + got, block->bytes + decode->at, n);
		got += n;
		decode->at += (uint32_t)n;
		if (decode->at < block->len)
			break;
		decode->packed = block->packed;
		decode->ended = block->kind == LAST;
		decode->code = block->code;
		decode->at = 0;
		pen_belt_drop(decode->belt);
	}
	*ret_packed = decode->packed;
	if (got)
		return (int64_t)got;
	return decode->ended ? decode->code : -EAGAIN;
}

int pen_decode_sample(int fd, enum pen_compression compression, enum pen_encoding encoding, void *to,
		      size_t cap, size_t *ret_len, bool *ret_whole)
{
	struct pen_inflow_options opt = {
		.fd = fd, .compression = compression, .encoding = encoding, .stop_fd = -1
	};
	struct pen_inflow *inflow;
	uint8_t more[PEN_RECODE_ROOM];
	size_t len = 0;
	int64_t n;
	int rc = pen_inflow_open(&opt, &inflow);

	if (rc)
		return rc;
	while (cap - len >= PEN_RECODE_ROOM &&
	       (n = pen_inflow_pull(inflow, (uint8_t *)to + len, cap - len)) > 0)
		len += (size_t)n;
	n = pen_inflow_pull(inflow, more, sizeof(more));
	pen_inflow_close(inflow);
	if (n < 0 && !len)
		return (int)n;
	*ret_len = len;
	*ret_whole = n == 0;
	return 0;
}
