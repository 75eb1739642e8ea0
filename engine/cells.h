/* SPDX-License-Identifier: MIT */
/*
 * cells - cells of 128 bytes in shared memory, whose changes are made whole or not at all
 *
 * One stripe of the limits' table (turnstile.h): a run of cells, a free list, a hash index of slots, and a notebook
 * for undoing. Everything lies in one mapping that other processes have too and is changed only under the stripe's
 * lock. Whoever changes a cell says so before (touch): its bytes are noted first. commit forgets the notes; undo puts
 * them back, also after the process that made them was killed in between, and may itself be killed and done again.
 *
 *   saved = n ------ touch ------> n + 1     the cell's old bytes are noted, then counted, then changed
 *   saved > 0 ------ commit -----> 0         from here on the change has happened
 *   saved > 0 ------ undo -------> 0         bytes, index and words are as they were
 *
 * A killed process leaves its stores in the order it made them, so the only order that matters is the compiler's;
 * `saved` carries it (cells.saved).
 *
 *   Threads    one at a time, under the stripe's lock.
 *   Memory     the stripe's; it is grown in steps by the owner's function, up to PEN_CELLS_MAX.
 *   Limits     PEN_CELLS_NOTES cells and heads changed between two commits.
 */
#ifndef PEN_ENGINE_CELLS_H
#define PEN_ENGINE_CELLS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define PEN_CELL_NONE 0u /* cell 0 is never used */
#define PEN_CELLS_MAX 32768u
#define PEN_CELLS_STEP 128u /* allocated at once */
#define PEN_CELLS_HEADS 8192u
#define PEN_CELLS_NOTES 96u
#define PEN_SLOT_MARKS 4u
#define PEN_BLOCK_MARKS 7u

/* A hit in a sliding log; or a lease, whose `at` says who has it (quota.h). */
struct pen_mark {
	uint64_t at, cost;
};

/* What is kept of one identity under one policy. */
struct pen_slot {
	uint64_t key_lo, key_hi;
	uint32_t chain; /* the next slot of its head */
	uint32_t first_block, last_block;
	uint16_t count; /* of marks below: they are older than those in blocks */
	uint8_t algorithm;
	uint8_t unused;
	uint64_t expire_ns; /* it says nothing any more from then on */
	uint64_t a, b;	    /* the algorithm's: see quota.c */
	uint64_t marks_all; /* marks, blocks included */
	struct pen_mark mark[PEN_SLOT_MARKS];
};

struct pen_block {
	uint32_t next;
	uint16_t first, count;
	uint64_t unused;
	struct pen_mark mark[PEN_BLOCK_MARKS];
};

union pen_cell {
	struct pen_slot slot;
	struct pen_block block;
	uint32_t next_free;
};
_Static_assert(sizeof(union pen_cell) == 128, "two lines");

/* A stripe's own numbers. */
struct pen_cells_words {
	uint32_t used;	    /* cells that were ever taken, cell 0 among them */
	uint32_t allocated; /* cells that have memory */
	uint32_t free_first, free_count;
	uint32_t slots;
	uint32_t unused;
};

struct pen_cells_notes {
	_Atomic uint32_t saved; /* notes that count; written by the holder of the stripe's lock */
	uint32_t unused;
	struct pen_cells_words words;
	struct {
		uint32_t what; /* a cell, or PEN_NOTE_HEAD and a head */
		uint32_t head;
		union pen_cell cell;
	} note[PEN_CELLS_NOTES];
};
#define PEN_NOTE_HEAD 0x80000000u

typedef int pen_cells_grow_fn(void *arg, uint32_t from, uint32_t count);

/* A view of a stripe; the process's own. */
struct pen_cells {
	struct pen_cells_words *words;
	struct pen_cells_notes *notes;
	uint32_t *heads;
	union pen_cell *cell;
	uint32_t max;
	pen_cells_grow_fn *grow; /* gives cells memory: 0, or a code */
	void *arg;
};

/* Called behind every store that counts; tests replace it to die there. */
extern void (*pen_cells_point)(const char *name);

void pen_cells_touch(struct pen_cells *c, uint32_t cell);
void pen_cells_touch_head(struct pen_cells *c, uint32_t head);
void pen_cells_commit(struct pen_cells *c);
/* True when there was something to undo. */
bool pen_cells_undo(struct pen_cells *c);

/* A cell, touched and zeroed, or PEN_CELL_NONE when all are taken (*ret_rc: what growing said, or 0). */
uint32_t pen_cells_take(struct pen_cells *c);
/* Gives a chain of blocks, or one cell (first == last), to the free list. */
void pen_cells_give(struct pen_cells *c, uint32_t first, uint32_t last, uint32_t count);

/* The slot of a key, or PEN_CELL_NONE. */
uint32_t pen_cells_find(const struct pen_cells *c, uint64_t lo, uint64_t hi);
/* A new slot under its head. */
uint32_t pen_cells_enter(struct pen_cells *c, uint64_t lo, uint64_t hi);
/* Takes a slot out of its head's chain, and gives it and its blocks back. */
void pen_cells_remove(struct pen_cells *c, uint32_t slot);

static inline uint32_t pen_cells_head_of(uint64_t lo)
{
	return (uint32_t)(lo >> 16) % PEN_CELLS_HEADS;
}

/* Every cell is in exactly one place, and counts are what they say: NULL, or what is wrong. For tests and repair. */
const char *pen_cells_check(const struct pen_cells *c);

#endif
