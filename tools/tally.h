/* SPDX-License-Identifier: MIT */
/*
 * tally - items counted by what they have in common
 *
 *   by state   as it is
 *   by code    as it is
 *   by error   code and message; a number of four digits or more in it counts as any other, so that offsets, process
 *              ids and times do not make a group of every item
 *
 *   Threads    one.
 *   Memory     300 KiB, fixed: items of groups beyond PEN_TALLY_GROUPS are counted together.
 *   Errors     NULL: no memory.
 */
#ifndef PEN_TOOLS_TALLY_H
#define PEN_TOOLS_TALLY_H

#include <stdint.h>

#include "include/penstock.h"

#define PEN_TALLY_GROUPS 1000u
#define PEN_TALLY_NAME 256 /* bytes of a message that are looked at */

enum pen_tally_by { PEN_TALLY_ERROR, PEN_TALLY_CODE, PEN_TALLY_STATE };

struct pen_tally_group {
	uint64_t items;
	uint64_t first; /* the lowest item of it */
	int code;	/* by error and code */
	enum pen_item_state state;
	char name[PEN_TALLY_NAME]; /* by error: the message, with # for long numbers */
};

struct pen_tally;

struct pen_tally *pen_tally_new(enum pen_tally_by by);
void pen_tally_free(struct pen_tally *tally); /* NULL is allowed */
void pen_tally_add(struct pen_tally *tally, const struct pen_item *item);
/* The groups, those with most items first; of as many, the one that began first. *ret_others: items of no group. */
const struct pen_tally_group *pen_tally_done(struct pen_tally *tally, uint32_t *ret_count,
					     uint64_t *ret_others);

#endif
