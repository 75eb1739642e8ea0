/* SPDX-License-Identifier: MIT */
/*
 * unpack - gzip and zstd, piece by piece
 *
 *   gzip   every member; zero bytes between and behind members are padding. Header and content checksums
 *          are verified. (BGZF is nothing but many members.)
 *   zstd   every frame; skippable frames are skipped; content checksums are verified where there are any.
 *          Windows up to 128 MiB.
 *
 * What can be decoded is put before a failure is said: -PEN_PACKED_CUT when the data ends within a member or
 * frame (an empty input is cut), -PEN_PACKED_BAD when it is corrupt or followed by something else,
 * -PEN_PACKED_WINDOW, -ENOMEM. (Some 260 bytes in front of a symbol that cannot be in gzip may be withheld.)
 *
 *   Threads    a pen_unpack belongs to one thread at a time; sniff is pure.
 *   Memory     the decompressor's state (100 KiB) and its window, whatever the ratio; nothing per call.
 *
 * This is the one door to ISA-L and libzstd.
 */
#ifndef PEN_ENGINE_UNPACK_H
#define PEN_ENGINE_UNPACK_H

#include <stdbool.h>

#include "engine/span.h"
#include "include/penstock.h"

#define PEN_UNPACK_MAGIC 4u	 /* bytes that sniff wants to see */
#define PEN_UNPACK_WINDOW_LOG 27 /* 128 MiB */

struct pen_unpack;

/* By the first bytes: GZIP, ZSTD or NONE. */
enum pen_compression pen_unpack_sniff(const void *data, size_t len);

/* GZIP or ZSTD. 0 or -ENOMEM. */
int pen_unpack_open(enum pen_compression compression, struct pen_unpack **ret);
void pen_unpack_close(struct pen_unpack *unpack); /* NULL is allowed */
/*
 * Goes on until the room is full (1: there may be more without more input) or the input is used up (0).
 * last: nothing follows `in`; 0 is then the end. Negative: broken; what was put until then counts.
 */
int pen_unpack_step(struct pen_unpack *unpack, struct pen_span *in, struct pen_room *out, bool last);

/* The versions this was built with, "ISA-L 2.30.0, zstd 1.5.4". */
const char *pen_unpack_version(void);

#endif
