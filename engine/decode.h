/* SPDX-License-Identifier: MIT */
/*
 * decode - text out of a descriptor that is compressed, or in another encoding, or both
 *
 * A decoder is a thread of its own: it reads, unpacks, recodes (inflow), and hands over blocks of text (belt).
 * The reader takes what is there and never waits; `wake` tells it when there is more.
 *
 *   Threads    open, read, close: the reader. wake is called from the decoder's thread.
 *   Memory     belt's and inflow's: 2.3 MiB and the decompressor's window, whatever the ratio.
 *   Errors     come after all text that could be decoded, and again with every later read: -PEN_PACKED_CUT, _BAD,
 *              _WINDOW, -PEN_ENCODING_BAD, or -errno.
 */
#ifndef PEN_ENGINE_DECODE_H
#define PEN_ENGINE_DECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "include/penstock.h"

#define PEN_DECODE_STREAM (-1)

struct pen_decode_options {
	int fd; /* borrowed; read by the decoder's thread alone until close */
	/*
	 * Where in the file to go on reading, behind the prefix; its position is neither used nor moved. STREAM:
	 * a pipe, or whatever is to be read from where it stands.
	 */
	int64_t offset;
	const void *prefix; /* bytes of it that were read before; copied */
	size_t prefix_len;
	enum pen_compression compression; /* NONE, GZIP or ZSTD */
	enum pen_encoding encoding;
	uint64_t skip; /* bytes of text to pass over first (resume) */
	void (*wake)(void *arg);
	void *wake_arg;
};

struct pen_decode;

int pen_decode_open(const struct pen_decode_options *opt, struct pen_decode **ret, struct pen_failure *why);
/*
 * Above 0: bytes of text in `to`. 0: the end. -EAGAIN: none yet, and wake will be called. *ret_packed: bytes of
 * the descriptor (prefix included) that were used up for what has been read so far, in steps of a block; at
 * the end all of them. It is set in every case.
 */
int64_t pen_decode_read(struct pen_decode *decode, void *to, size_t len, uint64_t *ret_packed);
/* At any time, also while the thread waits for a silent pipe. NULL is allowed. */
void pen_decode_close(struct pen_decode *decode);

/*
 * The first bytes of a file's text, without moving its position (a pipe is -ESPIPE). *ret_whole: it has no
 * more. A failure is one only where no text came before it.
 */
int pen_decode_sample(int fd, enum pen_compression compression, enum pen_encoding encoding, void *to,
		      size_t cap, size_t *ret_len, bool *ret_whole);

#endif
