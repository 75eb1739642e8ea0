/* SPDX-License-Identifier: MIT */
/*
 * sha256 - the hash by which contents are recognised where somebody might want two to look alike
 *
 * XXH3 (hash.h) tells records apart that nobody chose; a cache that hands out an earlier result instead of computing
 * one needs more. The door to libcrypto.
 *
 *   Threads    a hasher belongs to one thread at a time.
 *   Memory     one context, allocated at open; hashing allocates nothing.
 *   Errors     open: -ENOMEM, -ENOTSUP (a libcrypto that was told to do without it). Hashing cannot fail.
 */
#ifndef PEN_RING_SHA256_H
#define PEN_RING_SHA256_H

#include <stddef.h>
#include <stdint.h>

#define PEN_SHA256_BYTES 32u

struct pen_sha256;

int pen_sha256_open(struct pen_sha256 **ret);
void pen_sha256_close(struct pen_sha256 *hasher); /* NULL is allowed */

/* begin, any number of adds, end. A begin forgets what was added before. */
void pen_sha256_begin(struct pen_sha256 *hasher);
void pen_sha256_add(struct pen_sha256 *hasher, const void *data, size_t len);
void pen_sha256_end(struct pen_sha256 *hasher, uint8_t ret[PEN_SHA256_BYTES]);

#endif
