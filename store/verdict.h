/* SPDX-License-Identifier: MIT */
/*
 * verdict - what a flag says of a key: pure, and the same for ever on every machine
 *
 *	no such flag                     the program's default   ERROR, FLAG_NOT_FOUND
 *	enabled is false                 off                     DISABLED
 *	the blacklist has the key        off                     TARGETING_MATCH
 *	the whitelist has it             on                      TARGETING_MATCH
 *	rollout 0 / 100 %                off / on                STATIC
 *	no key                           off                     DEFAULT
 *	else                             bucket < rollout        SPLIT
 *
 * bucket = (murmur3_32("SALT:KEY") * 100000) >> 32: integers alone, and a rollout that is raised never takes anybody away.
 * Which variant is drawn with another seed, so that it says nothing about the bucket.
 *
 *   Threads    compiled rules are constant: any thread.
 *   Memory     one block for the rules of a flag; about 24 bytes and its text a name of a list.
 */
#ifndef PEN_STORE_VERDICT_H
#define PEN_STORE_VERDICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "include/penstock.h"

#define PEN_VERDICT_VARIANT_SEED 86028157u

struct pen_rules; /* a flag, compiled */

/* 0 and one malloc'ed block, which the caller frees; -PEN_MEMORY. */
int pen_rules_make(const struct pen_flag *flag, struct pen_rules **ret);
/* rules NULL: there is no such flag. key NULL or "": nobody in particular; it is as long as strlen says. */
void pen_rules_judge(const struct pen_rules *rules, const char *key, bool fallback,
		     struct pen_flag_verdict *ret);
/* user:ID and ID name the same one in a list: ID. */
const char *pen_verdict_bare(const char *key);
/* Says the program's default, and why. */
void pen_verdict_error(struct pen_flag_verdict *ret, bool fallback, enum pen_flag_error error);

#endif
