/* SPDX-License-Identifier: MIT */
/*
 * group - the chunks that share one write transaction, applied
 *
 * Applying is a function of the batch's standing and its chunks: it changes nothing but the transaction and
 * the new standing it returns, so a group whose commit found the disk full is simply applied again.
 *
 *   Threads    the committer's.
 *   Memory     which entries get rows, bounded by the group's items; allocated once.
 */
#ifndef PEN_ENGINE_GROUP_H
#define PEN_ENGINE_GROUP_H

#include "engine/engine.h"
#include "store/dataset.h"
#include "store/item.h"

#define PEN_GROUP_ITEMS_MAX (128u << 10)

struct pen_group;
int pen_group_open(struct pen_group **ret); /* 0 or -ENOMEM */
void pen_group_close(struct pen_group *group);

struct pen_outcome {
	struct pen_standing *standing; /* the batch's new one, to be taken over after the commit */
	struct pen_fmt_job *job;       /* likewise, where items end one by one */
	int over;	 /* negative: a threshold was passed; what lies behind it was left out */
	uint64_t passed; /* bytes of the sources behind its last chunk; 0: it has none */
	bool appended;	 /* all keys lay above the dataset's */
};
/*
 * Applies chunks of one batch, in order, to the transaction; an END, PAUSE or RESUME among them changes the
 * state. *ret is filled on success. now_ms: wall clock; active_ms: how long the run is at work.
 */
int pen_group_apply(struct pen_group *group, struct pen_txn *txn, struct pen_batch *batch,
		    struct pen_chunk *const *chunks, uint32_t count, uint64_t now_ms, uint64_t active_ms,
		    struct pen_outcome *ret, struct pen_failure *why);

/* A run of so many items stops with so many rejects. */
bool pen_group_too_many(const struct pen_plan *plan, uint64_t rejected, uint64_t items);
/* The standing's place moves to where a run would go on. */
void pen_group_move(struct pen_standing *st, const struct pen_place *after);
/* Where the item stood: line and path mean different things for lines, files and puts. */
void pen_group_place(const struct pen_chunk *chunk, uint32_t at, uint32_t line, struct pen_row *row);

/* The row of an item that was rejected or left out. */
void pen_group_flaw_row(const struct pen_chunk *chunk, const struct pen_flaw *flaw, struct pen_row *ret);

/*
 * The row of an item with a value: committed, or as its entry's flags say. Where its record stands is not where a value
 * made of it lies, so the chunk is taken apart again, once for items that are asked for in order. Begin with
 * { 0 }. buf: for the key; it lives with the row.
 */
struct pen_group_walk {
	const struct pen_chunk *chunk;
	struct pen_split split;
	struct pen_record record;
	uint32_t next; /* item */
};
void pen_group_entry_row(struct pen_group_walk *walk, const struct pen_chunk *chunk,
			 const struct pen_entry *e, uint8_t buf[8], struct pen_row *ret);

#endif
