/* SPDX-License-Identifier: MIT */
/*
 * errand - one item on its way to a child and back
 *
 * It begins at an entry of a chunk, or at the row of an item that is tried again. What the crew says of it is judged:
 * state, tries, and when the next one may begin; then everything that its row and its record need is copied into a
 * pack (result.h), because the chunk and the crew's memory go away.
 *
 *   Threads    one, the foreman's.
 *   Memory     a table as large as the crew's room, because the crew has pointers into errands; a row's block, or a
 *              file's name, while they are under way.
 *   Limits     PEN_ERRANDS_MAX of a crew.
 *   Errors     -ENOMEM; -PEN_STORE_DAMAGED: a row that is due is not there.
 */
#ifndef PEN_ENGINE_ERRAND_H
#define PEN_ENGINE_ERRAND_H

#include "engine/due.h"
#include "engine/plan.h"
#include "engine/result.h"
#include "store/item.h"

#define PEN_ERRANDS_MAX 65536u

struct pen_errand {
	struct pen_chunk *chunk; /* NULL: it comes from a row */
	uint32_t entry;
	uint32_t next; /* of the free ones */
	struct pen_item_copy row;
	uint32_t attempts, crashes; /* before this try */
	char *path;		    /* the item is this file; malloc'ed, or NULL */
	uint8_t number[8];	    /* a key that is made */
	enum pen_task_form form;
	bool keyed; /* the cache was asked, and has nothing */
	struct pen_cache_key key;
};

struct pen_errands {
	struct pen_errand *all; /* a task's id is its errand's number */
	uint32_t free;
};

/* 0 or -ENOMEM. A zeroed struct may be closed. */
int pen_errands_open(struct pen_errands *errands, uint32_t count);
void pen_errands_close(struct pen_errands *errands);
/* NULL: all are under way. */
struct pen_errand *pen_errand_get(struct pen_errands *errands);
void pen_errand_put(struct pen_errands *errands, struct pen_errand *errand);

/* What the crew is given. */
void pen_errand_from_entry(struct pen_errand *errand, const struct pen_plan *plan, struct pen_chunk *chunk,
			   uint32_t entry, struct pen_task *ret);
int pen_errand_from_row(struct pen_errand *errand, const struct pen_plan *plan, struct pen_store *store,
			uint64_t batch, uint64_t item, struct pen_task *ret);

/* Settles state, tries and due time in *ret. False: nothing is known, it is to be given again. */
bool pen_errand_judge(const struct pen_errand *errand, const struct pen_plan *plan,
		      const struct pen_task_result *got, struct pen_due *due, struct pen_result *ret);
/* Copies the rest, behind judge. -ENOMEM: there is something of it in the pack, to which nothing leads. */
int pen_errand_pack(const struct pen_errand *errand, const struct pen_plan *plan,
		    const struct pen_task_result *got, struct pen_pack *pack, struct pen_result *result);

#endif
