/* SPDX-License-Identifier: MIT */
/*
 * keyset - which keys have come by: all of them up to a bound, a sample of them beyond it
 *
 * Keys are known by 120 bits of a 128-bit hash, so two that look alike are one (among 100 million keys, once in
 * 10^20 runs). While everything fits, every answer is exact and stands for itself (weight 1).
 *
 * Once the table is full, only keys whose hash begins with `level` zero bits are kept, and each stands for
 * 2^level of them (adaptive sampling); the level rises whenever the table is full again. Keys that came twice before
 * then stay whatever their hash, for themselves alone, so that a few keys that come very often do not
 * depend on luck. Summing the weights of the answers estimates the number of keys, or of repetitions, without bias;
 * the sum of weight * (weight - 1) estimates the variance.
 *
 *   Threads    one at a time.
 *   Memory     16 bytes a slot, at most slots_max of them; grows by doubling (while it does, half as much again).
 */
#ifndef PEN_ENGINE_KEYSET_H
#define PEN_ENGINE_KEYSET_H

#include <stdbool.h>
#include <stdint.h>

#include "ring/hash.h"

#define PEN_KEYSET_SLOTS (4u << 20) /* 64 MiB: 2.9 million keys */

struct pen_keyset;

enum pen_seen {
	PEN_SEEN_NEW = 1, /* it came for the first time */
	PEN_SEEN_BEFORE,
	PEN_SEEN_UNKNOWN, /* not in the sample */
};

/* slots_max: a power of two, at least 64. 0 or -ENOMEM. */
int pen_keyset_open(uint32_t slots_max, struct pen_keyset **ret);
void pen_keyset_close(struct pen_keyset *set); /* NULL is allowed */

/* *ret_weight: how many keys the answer stands for; 0 for an unknown one. */
enum pen_seen pen_keyset_add(struct pen_keyset *set, struct pen_sum key, uint64_t *ret_weight);
/* Every answer so far was exact. */
bool pen_keyset_exact(const struct pen_keyset *set);

#endif
