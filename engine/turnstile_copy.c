/* SPDX-License-Identifier: MIT */
/*
 * turnstile_copy - the table, once a second, in an environment that survives a power cut; and back
 *
 * A row of the memo is one head of a stripe with all of its slots, so what is gone needs no row of its own. A head that
 * changes is marked in `dirty`; the copier moves the marks to `copying` while it reads, and drops them once the memo
 * has the rows. If it dies in between, the next one finds them there.
 *
 * Times are written as nanoseconds of the wall clock. When they are read they are moved a millisecond into the future,
 * the grain of that clock, so that nothing passes too early; a time that would lie ahead of now is now.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/turnstile_private.h"
#include "include/penstock_error.h"
#include "ring/assert.h"
#include "ring/base.h"

#define BUCKETS_HELD 64u /* heads read under one hold of a lock */
#define ROWS_MAX 16384u	 /* of one transaction */
#define BYTES_MAX (8u << 20)

struct saved_slot {
	uint64_t key_lo, key_hi;
	uint64_t expire_wall, a, b;
	uint32_t marks;
	uint8_t algorithm, unused[3];
};

struct rows {
	struct pen_memo_row *row;
	uint32_t count;
	char *bytes;
	size_t used, cap;
};

/* What the wall clock is ahead of the table's. */
static uint64_t wall_offset(const struct pen_turnstile *t)
{
	return pen_real_ms(t->clock) * PEN_NS_PER_MS - pen_turnstile_now(t);
}

/* ---- out ------------------------------------------------------------------------------------- */

static bool add_bytes(struct rows *rows, const void *bytes, size_t len)
{
	if (rows->used + len > rows->cap) {
		size_t cap = pen_max(2 * rows->cap, rows->used + len + 4096);
		char *grown = realloc(rows->bytes, cap);

		if (!grown)
			return false;
		rows->bytes = grown;
		rows->cap = cap;
	}
	memcpy(rows->bytes + rows->used, bytes, len);
	rows->used += len;
	return true;
}

static bool add_marks(struct rows *rows, const struct pen_mark *mark, uint32_t count, uint64_t offset)
{
	for (uint32_t i = 0; i < count; i++) {
		struct pen_mark out = { mark[i].at + offset, mark[i].cost };

		if (!add_bytes(rows, &out, sizeof out))
			return false;
	}
	return true;
}

static bool add_slot(struct rows *rows, const struct pen_cells *c, const struct pen_slot *s, uint64_t offset)
{
	struct saved_slot out = {
		.key_lo = s->key_lo,
		.key_hi = s->key_hi,
		.expire_wall = s->expire_ns + offset,
		.a = s->a,
		.b = s->b,
		.marks = (uint32_t)s->marks_all,
		.algorithm = s->algorithm,
	};
	bool room;

	if (s->algorithm == PEN_QUOTA_CONCURRENT)
		return true;
	if (s->algorithm != PEN_QUOTA_SLIDING)
		out.a += offset;
	room = add_bytes(rows, &out, sizeof out) && add_marks(rows, s->mark, s->count, offset);
	for (uint32_t at = s->first_block; at && room; at = c->cell[at].block.next) {
		const struct pen_block *b = &c->cell[at].block;

		room = add_marks(rows, b->mark + b->first, b->count, offset);
	}
	return room;
}

/* One head as a row. data holds an offset until all bytes are there. */
static bool add_head(struct rows *rows, const struct pen_cells *c, uint32_t stripe, uint32_t head,
		     uint64_t offset)
{
	struct pen_memo_row *row = &rows->row[rows->count];
	size_t from = rows->used;

	for (uint32_t at = c->heads[head]; at; at = c->cell[at].slot.chain)
		if (!add_slot(rows, c, &c->cell[at].slot, offset))
			return false;
	row->number = stripe * PEN_CELLS_HEADS + head;
	row->data = (const void *)(uintptr_t)from;
	row->len = rows->used - from;
	rows->count++;
	return true;
}

/* Reads one stripe's changed heads. False: no memory, or the rows are full; what was not read is still marked. */
static bool read_stripe(struct pen_turnstile *t, uint32_t i, struct rows *rows, uint64_t offset)
{
	struct turnstile_stripe *s = pen_turnstile_stripe(t, i);
	uint32_t word = 0;
	bool room = true;

	while (word < PEN_TURNSTILE_MAPS && room) {
		uint32_t held = 0;
		struct pen_cells c;

		pen_turnstile_lock(t, i, &c);
		if (!word) {
			/* The marks of a copier that died count again. */
			for (uint32_t w = 0; s->changed && w < PEN_TURNSTILE_MAPS; w++)
				s->dirty[w] |= s->copying[w];
			if (!s->changed)
				word = PEN_TURNSTILE_MAPS;
		}
		for (; word < PEN_TURNSTILE_MAPS && held < BUCKETS_HELD && room; word++)
			while (s->dirty[word] && room) {
				uint32_t bit = (uint32_t)__builtin_ctzll(s->dirty[word]);

				room = rows->count < ROWS_MAX && rows->used < BYTES_MAX &&
				       add_head(rows, &c, i, word * 64 + bit, offset);
				if (room) {
					s->copying[word] |= 1ull << bit;
					s->dirty[word] &= s->dirty[word] - 1;
					held++;
				}
			}
		pen_turnstile_unlock(t, i);
	}
	return room;
}

/* The memo has them. */
static void forget(struct pen_turnstile *t, const struct rows *rows)
{
	for (uint32_t k = 0; k < rows->count;) {
		uint32_t stripe = rows->row[k].number / PEN_CELLS_HEADS;
		struct turnstile_stripe *s = pen_turnstile_stripe(t, stripe);
		uint64_t any = 0;
		struct pen_cells c;

		pen_turnstile_lock(t, stripe, &c);
		for (; k < rows->count && rows->row[k].number / PEN_CELLS_HEADS == stripe; k++) {
			uint32_t head = rows->row[k].number % PEN_CELLS_HEADS;

			s->copying[head / 64] &= ~(1ull << head % 64);
		}
		for (uint32_t w = 0; w < PEN_TURNSTILE_MAPS; w++)
			any |= s->dirty[w] | s->copying[w];
		s->changed = any != 0;
		pen_turnstile_unlock(t, stripe);
	}
}

static int copy_some(struct pen_turnstile *t, uint32_t *stripe, struct rows *rows)
{
	uint64_t offset = wall_offset(t);
	int rc;

	rows->count = 0;
	rows->used = 0;
	while (*stripe < PEN_TURNSTILE_STRIPES && read_stripe(t, *stripe, rows, offset))
		++*stripe;
	if (!rows->count)
		return *stripe < PEN_TURNSTILE_STRIPES ? -PEN_MEMORY : 0;
	for (uint32_t i = 0; i < rows->count; i++)
		rows->row[i].data = rows->bytes + (uintptr_t)rows->row[i].data;
	rc = pen_memo_write(t->store, rows->row, rows->count);
	if (!rc)
		forget(t, rows);
	return rc;
}

int pen_turnstile_copy(struct pen_turnstile *t)
{
	struct rows rows = { 0 };
	uint32_t stripe = 0;
	int rc = pthread_mutex_trylock(&t->head->copier);

	if (rc == EOWNERDEAD) {
		(void)pthread_mutex_consistent(&t->head->copier);
		rc = 0;
	}
	if (rc)
		return rc == EBUSY ? 1 : -rc;
	rows.row = malloc(ROWS_MAX * sizeof *rows.row);
	rc = rows.row ? 0 : -PEN_MEMORY;
	while (!rc && stripe < PEN_TURNSTILE_STRIPES)
		rc = copy_some(t, &stripe, &rows);
	free(rows.row);
	free(rows.bytes);
	/* Relaxed: whoever asks only decides whether it is time again. */
	if (!rc)
		atomic_store_explicit(&t->head->copied_ns, pen_mono_ns(t->clock), memory_order_relaxed);
	(void)pthread_mutex_unlock(&t->head->copier);
	return rc;
}

/* ---- and back -------------------------------------------------------------------------------- */

struct restore {
	struct pen_turnstile *t;
	uint64_t offset, now_ns;
};

/* The wall clock's time here; later rather than earlier, and never ahead. */
static uint64_t mono_of(const struct restore *r, uint64_t wall)
{
	uint64_t at = wall + PEN_NS_PER_MS;

	return at > r->offset ? pen_min(at - r->offset, r->now_ns) : 0;
}

static bool restore_slot(const struct restore *r, struct pen_cells *c, const struct saved_slot *in,
			 const struct pen_mark *mark)
{
	uint32_t slot = pen_cells_find(c, in->key_lo, in->key_hi);
	struct pen_slot *s;

	if (slot)
		return true;
	slot = pen_cells_enter(c, in->key_lo, in->key_hi);
	if (!slot)
		return false;
	s = &c->cell[slot].slot;
	s->algorithm = in->algorithm;
	/* What is to come stays to come. */
	s->expire_ns = in->expire_wall + PEN_NS_PER_MS - r->offset;
	s->b = in->b;
	if (in->algorithm == PEN_QUOTA_GCRA)
		s->a = in->a + PEN_NS_PER_MS - r->offset;
	else if (in->algorithm == PEN_QUOTA_FIXED)
		s->a = mono_of(r, in->a);
	pen_cells_commit(c);
	for (uint32_t i = 0; i < in->marks; i++) {
		struct pen_mark m;
		struct pen_quota_rule rule = { .kind = PEN_QUOTA_SLIDING };

		memcpy(&m, mark + i, sizeof m);
		if (!m.cost || !pen_quota_take(c, slot, &rule, mono_of(r, m.at), m.cost, 0))
			continue;
		s->expire_ns = in->expire_wall + PEN_NS_PER_MS - r->offset;
		pen_cells_commit(c);
	}
	return true;
}

static int restore_row(void *arg, uint32_t number, const void *data, size_t len)
{
	const struct restore *r = arg;
	uint32_t stripe = number / PEN_CELLS_HEADS;
	const char *at = data, *end = at + len;
	struct pen_cells c;

	if (stripe >= PEN_TURNSTILE_STRIPES)
		return 0;
	c = pen_turnstile_cells(r->t, stripe);
	while ((size_t)(end - at) >= sizeof(struct saved_slot)) {
		struct saved_slot in;

		memcpy(&in, at, sizeof in);
		at += sizeof in;
		if (in.marks > (size_t)(end - at) / sizeof(struct pen_mark) ||
		    in.algorithm >= PEN_QUOTA_CONCURRENT)
			break;
		/* Expired before it got here, or so far ahead that the clock was set back: it would never end. */
		if (in.expire_wall > r->offset + r->now_ns &&
		    in.expire_wall < r->offset + r->now_ns + 2 * PEN_QUOTA_WINDOW_MAX &&
		    !restore_slot(r, &c, &in, (const struct pen_mark *)(const void *)at))
			(void)pen_cells_undo(&c);
		at += in.marks * sizeof(struct pen_mark);
	}
	return 0;
}

int pen_turnstile_restore(struct pen_turnstile *t)
{
	struct restore r = { t, wall_offset(t), pen_turnstile_now(t) };

	return pen_memo_read(t->store, restore_row, &r);
}
