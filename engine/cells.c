/* SPDX-License-Identifier: MIT */
#include "engine/cells.h"

#include <stdlib.h>
#include <string.h>

#include "ring/assert.h"
#include "ring/base.h"

void (*pen_cells_point)(const char *name);

static inline void point(const char *name)
{
	if (__builtin_expect(pen_cells_point != NULL, 0))
		pen_cells_point(name);
}

/* ---- notes ----------------------------------------------------------------------------------- */

static void note(struct pen_cells *c, uint32_t what, uint32_t head, const union pen_cell *cell)
{
	struct pen_cells_notes *n = c->notes;
	/* Relaxed: under the lock. */
	uint32_t saved = atomic_load_explicit(&n->saved, memory_order_relaxed);

	pen_assert(saved < PEN_CELLS_NOTES);
	if (!saved)
		n->words = *c->words;
	n->note[saved].what = what;
	n->note[saved].head = head;
	if (cell)
		n->note[saved].cell = *cell;
	point("noted");
	/* PAIR(cells.saved): the note is whole before it counts, and counts before anything is changed; without it a
	 * change could be left behind that nobody can take back. */
	(void)atomic_exchange_explicit(&n->saved, saved + 1, memory_order_acq_rel);
	point("counted");
}

void pen_cells_touch(struct pen_cells *c, uint32_t cell)
{
	pen_assert(cell && cell < c->max);
	note(c, cell, 0, &c->cell[cell]);
}

void pen_cells_touch_head(struct pen_cells *c, uint32_t head)
{
	note(c, PEN_NOTE_HEAD | head, c->heads[head], NULL);
}

void pen_cells_commit(struct pen_cells *c)
{
	point("changed");
	/* PAIR(cells.saved): all of the change is there before its notes are dropped. */
	atomic_store_explicit(&c->notes->saved, 0, memory_order_release);
	point("committed");
}

bool pen_cells_undo(struct pen_cells *c)
{
	struct pen_cells_notes *n = c->notes;
	/* PAIR(cells.saved) */
	uint32_t saved = atomic_load_explicit(&n->saved, memory_order_acquire);

	if (!saved)
		return false;
	/* Damage from outside: nothing can be trusted to be a note. */
	saved = (uint32_t)pen_min(saved, PEN_CELLS_NOTES);
	/* Backwards, so that what was noted first is what remains. */
	for (uint32_t i = saved; i-- > 0;) {
		uint32_t what = n->note[i].what;

		if (what & PEN_NOTE_HEAD)
			c->heads[(what & ~PEN_NOTE_HEAD) % PEN_CELLS_HEADS] = n->note[i].head;
		else if (what < c->max)
			c->cell[what] = n->note[i].cell;
		point("put back");
	}
	/* Memory stays. */
	n->words.allocated = c->words->allocated;
	*c->words = n->words;
	/* PAIR(cells.saved): as in commit; killed before, the next one does it all again. */
	atomic_store_explicit(&n->saved, 0, memory_order_release);
	return true;
}

/* ---- taking and giving ----------------------------------------------------------------------- */

uint32_t pen_cells_take(struct pen_cells *c)
{
	struct pen_cells_words *w = c->words;
	uint32_t cell = w->free_first;

	if (cell) {
		pen_cells_touch(c, cell);
		w->free_first = c->cell[cell].next_free;
		w->free_count--;
	} else {
		if (w->used >= c->max)
			return PEN_CELL_NONE;
		if (w->used >= w->allocated) {
			uint32_t count = (uint32_t)pen_min(PEN_CELLS_STEP, c->max - w->allocated);

			if (c->grow(c->arg, w->allocated, count))
				return PEN_CELL_NONE;
			w->allocated += count;
		}
		cell = w->used;
		pen_cells_touch(c, cell);
		w->used++;
	}
	memset(&c->cell[cell], 0, sizeof c->cell[cell]);
	point("taken");
	return cell;
}

void pen_cells_give(struct pen_cells *c, uint32_t first, uint32_t last, uint32_t count)
{
	/* Blocks are chained by their first word, as free cells are. */
	pen_cells_touch(c, last);
	c->cell[last].next_free = c->words->free_first;
	point("linked");
	c->words->free_first = first;
	c->words->free_count += count;
	point("given");
}
_Static_assert(offsetof(struct pen_block, next) == 0, "a chain of blocks is a chain of free cells");

/* ---- the index ------------------------------------------------------------------------------- */

uint32_t pen_cells_find(const struct pen_cells *c, uint64_t lo, uint64_t hi)
{
	uint32_t at = c->heads[pen_cells_head_of(lo)];

	while (at && (c->cell[at].slot.key_lo != lo || c->cell[at].slot.key_hi != hi))
		at = c->cell[at].slot.chain;
	return at;
}

uint32_t pen_cells_enter(struct pen_cells *c, uint64_t lo, uint64_t hi)
{
	uint32_t head = pen_cells_head_of(lo), at = pen_cells_take(c);

	if (!at)
		return PEN_CELL_NONE;
	pen_cells_touch_head(c, head);
	c->cell[at].slot.key_lo = lo;
	c->cell[at].slot.key_hi = hi;
	c->cell[at].slot.chain = c->heads[head];
	c->heads[head] = at;
	c->words->slots++;
	point("entered");
	return at;
}

static uint32_t chain_length(const struct pen_cells *c, uint32_t block)
{
	uint32_t n = 0;

	for (; block; block = c->cell[block].block.next)
		n++;
	return n;
}

void pen_cells_remove(struct pen_cells *c, uint32_t slot)
{
	const struct pen_slot *s = &c->cell[slot].slot;
	uint32_t head = pen_cells_head_of(s->key_lo), before = c->heads[head], first = s->first_block,
		 last = s->last_block, next = s->chain;

	if (before == slot) {
		pen_cells_touch_head(c, head);
		c->heads[head] = next;
	} else {
		while (c->cell[before].slot.chain != slot)
			before = c->cell[before].slot.chain;
		pen_cells_touch(c, before);
		c->cell[before].slot.chain = next;
	}
	c->words->slots--;
	point("removed");
	if (first)
		pen_cells_give(c, first, last, chain_length(c, first));
	pen_cells_give(c, slot, slot, 1);
}

/* ---- the check ------------------------------------------------------------------------------- */

static const char *check_slot(const struct pen_cells *c, const struct pen_slot *s, uint8_t *seen)
{
	uint64_t marks = s->count, last = 0;
	uint32_t at = s->first_block, tail = 0;

	if (s->count > PEN_SLOT_MARKS)
		return "a slot has too many marks";
	for (uint16_t i = 0; i < s->count; i++) {
		if (s->mark[i].at < last && !s->unused)
			return "marks are not in order";
		last = s->mark[i].at;
	}
	for (; at; at = c->cell[at].block.next) {
		const struct pen_block *b = &c->cell[at].block;

		if (at >= c->words->used || seen[at]++)
			return "a block is in two places";
		if (!b->count || b->first + b->count > PEN_BLOCK_MARKS)
			return "a block has a wrong number of marks";
		marks += b->count;
		tail = at;
	}
	if (tail != s->last_block)
		return "a slot's last block is another one";
	return marks == s->marks_all ? NULL : "a slot has another number of marks than it says";
}

const char *pen_cells_check(const struct pen_cells *c)
{
	const struct pen_cells_words *w = c->words;
	uint8_t *seen = calloc(c->max, 1);
	uint32_t slots = 0, frees = 0, at;
	const char *bad = NULL;

	if (!seen)
		return "no memory to check";
	if (atomic_load_explicit(&c->notes->saved, memory_order_relaxed))
		bad = "a change is neither made nor undone";
	if ((w->used > w->allocated && w->used > 1) || w->allocated > c->max)
		bad = "more cells are used than there are";
	for (uint32_t h = 0; h < PEN_CELLS_HEADS && !bad; h++)
		for (at = c->heads[h]; at && !bad; at = c->cell[at].slot.chain) {
			if (at >= w->used || seen[at]++)
				bad = "a slot is in two places";
			else if (pen_cells_head_of(c->cell[at].slot.key_lo) != h)
				bad = "a slot is under another head";
			else
				bad = check_slot(c, &c->cell[at].slot, seen);
			slots++;
		}
	for (at = w->free_first; at && !bad; at = c->cell[at].next_free) {
		if (at >= w->used || seen[at]++)
			bad = "a free cell is in two places";
		frees++;
	}
	if (!bad && slots != w->slots)
		bad = "the number of slots is another one";
	if (!bad && frees != w->free_count)
		bad = "the number of free cells is another one";
	for (at = 1; at < w->used && !bad; at++)
		if (!seen[at])
			bad = "a cell is lost";
	free(seen);
	return bad;
}
