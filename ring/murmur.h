/* SPDX-License-Identifier: MIT */
/*
 * murmur - MurmurHash3, 32 bits (x86_32): what other systems bucket users by
 *
 * By hand, because it must stay what it is for ever: a user's bucket comes from it.
 *
 *   Threads    a pure function, anyone.
 */
#ifndef PEN_RING_MURMUR_H
#define PEN_RING_MURMUR_H

#include <stddef.h>
#include <stdint.h>

uint32_t pen_murmur32(uint32_t seed, const void *data, size_t len);

#endif
