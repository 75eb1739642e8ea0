/* SPDX-License-Identifier: MIT */
/*
 * turnstile_private - the table's bytes, for the files that decide, copy and restore
 */
#ifndef PEN_ENGINE_TURNSTILE_PRIVATE_H
#define PEN_ENGINE_TURNSTILE_PRIVATE_H

#include <pthread.h>

#include "engine/turnstile.h"
#include "store/memo.h"

#define PEN_TURNSTILE_MAGIC 0x6d696c70u /* "plim" */
#define PEN_TURNSTILE_VERSION 1u
#define PEN_TURNSTILE_MAPS (PEN_CELLS_HEADS / 64)

/* Of the file, in its first page. Constant after creation but for the words that say otherwise. */
struct turnstile_head {
	uint32_t magic, version;
	char boot[40];
	_Atomic uint64_t generation; /* written by whoever changed a policy */
	_Atomic uint64_t copied_ns;  /* written by the copier */
	_Atomic uint64_t repairs;    /* written by whoever repaired */
	pthread_mutex_t copier;	     /* robust: one copy at a time */
};

/* All of it under `lock`. */
struct turnstile_stripe {
	pthread_mutex_t lock;
	struct pen_cells_words words;
	uint64_t now_ns;		      /* the latest decision: time does not go back here */
	uint32_t sweep;			      /* the next head that is looked at for what has expired */
	uint32_t changed;		      /* a bit of `dirty` is set */
	uint64_t dirty[PEN_TURNSTILE_MAPS];   /* heads that changed since they were copied */
	uint64_t copying[PEN_TURNSTILE_MAPS]; /* heads whose copy is not known to have been kept */
	struct pen_cells_notes notes;
	uint32_t heads[PEN_CELLS_HEADS];
};

#define STRIPE_HEAD ((sizeof(struct turnstile_stripe) + 4095) & ~4095ull)
#define STRIPE_BYTES (STRIPE_HEAD + PEN_CELLS_MAX * sizeof(union pen_cell))
#define TABLE_BYTES (4096 + PEN_TURNSTILE_STRIPES * STRIPE_BYTES)

/* The table's clock: it starts so late that what was before this boot has a time, too. */
#define PEN_TURNSTILE_EPOCH (2 * PEN_QUOTA_WINDOW_MAX)

struct pen_turnstile {
	struct pen_store *store;
	const struct pen_clock *clock;
	struct turnstile_head *head;
	int fd;
	uint64_t self;
	struct grow {
		struct pen_turnstile *t;
		uint64_t at; /* of cell 0 in the file */
	} grow[PEN_TURNSTILE_STRIPES];
};

static inline uint64_t pen_turnstile_now(const struct pen_turnstile *t)
{
	return pen_mono_ns(t->clock) + PEN_TURNSTILE_EPOCH;
}

struct turnstile_stripe *pen_turnstile_stripe(struct pen_turnstile *t, uint32_t i);
struct pen_cells pen_turnstile_cells(struct pen_turnstile *t, uint32_t i);
void pen_turnstile_lock(struct pen_turnstile *t, uint32_t i, struct pen_cells *c);
void pen_turnstile_unlock(struct pen_turnstile *t, uint32_t i);
/* Removes what has expired under up to `heads` heads: how many slots. */
uint32_t pen_turnstile_sweep(struct pen_turnstile *t, uint32_t i, struct pen_cells *c, uint32_t heads,
			     uint64_t now_ns);
/* Fills a table that is not shared yet from the copy. */
int pen_turnstile_restore(struct pen_turnstile *t);

#endif
