/* SPDX-License-Identifier: MIT */
/*
 * board - all there is to see of a store: its batches, and the engines that run them
 *
 * Engines are seen through their progress rings, which come and go; a batch through the ring of the engine that runs
 * it, else through the store. Looking at rings is cheap and may be done many times a second; new rings are looked for
 * five times a second, and the store is looked at once.
 *
 *   Threads    one.
 *   Memory     about 300 KiB, fixed: what exceeds the limits is left out and counted.
 *   Limits     16 engines; the newest 100 batches, those that run, and of older ones that are queued, wait or rest the
 *              oldest 30 each.
 *   Errors     a ring that cannot be read is left out; a store that cannot be read leaves the last numbers.
 */
#ifndef PEN_TOOLS_BOARD_H
#define PEN_TOOLS_BOARD_H

#include <stdbool.h>
#include <stdint.h>

#include "include/penstock.h"
#include "include/penstock_progress.h"
#include "tools/stages.h"

#define PEN_BOARD_ENGINES 16
#define PEN_BOARD_ROWS 256
#define PEN_BOARD_CODES 6

struct pen_board_engine {
	bool open; /* the ring is mapped */
	struct pen_ring ring;
	char name[96]; /* OWNER.SLOT, safe */
	enum pen_ring_life life;
	uint64_t silent_ns; /* since when its heart does not beat; 0: it does */
	struct pen_ring_hot hot;
	struct pen_stages stages;
	uint64_t events, lost;	   /* seen and missed since we look */
	uint64_t rate_at, rate_ns; /* events at the last whole second */
	uint64_t events_per_s;
};

struct pen_board_row {
	uint64_t batch;
	int engine;    /* that runs it, or -1 */
	uint32_t slot; /* its gauge there */
	enum pen_state state;
	int code; /* why it rests, stopped or failed */
	struct pen_counters counted;
	uint64_t retrying;
	uint64_t items_total, bytes_total; /* 0: not known */
	uint64_t bytes_done;
	uint64_t rate_milli, eta_ms; /* eta_ms PEN_RING_UNKNOWN: not known */
	uint64_t started_ms, updated_ms, ended_ms, active_ms;
	uint64_t
		due_ms; /* of one that is queued or waits: when time lets it run; 0: it is not time that it waits for */
	uint32_t pid; /* of the process that runs it, 0: none */
	uint32_t attempt;
	char owner[48], source[160], label[64]; /* safe */
};

/* Rejected items by code. */
struct pen_board_errors {
	uint64_t batch;
	int64_t after;		  /* rows up to this item are counted */
	bool whole;		  /* all there were */
	uint64_t counted, others; /* others: of codes beyond those listed */
	struct {
		int code;
		uint64_t items;
		char place[160]; /* of the newest: SOURCE:LINE, safe */
	} codes[PEN_BOARD_CODES];
	unsigned code_count;
};

struct pen_board {
	struct pen_store *store;
	uint64_t only; /* the one batch to look at; 0: all */
	struct pen_store_info info;
	uint32_t store_uid;
	struct pen_board_engine engines[PEN_BOARD_ENGINES];
	struct pen_board_row rows[PEN_BOARD_ROWS]; /* those that run first, then newest first */
	unsigned row_count;
	uint64_t left_out;		      /* gauges without room */
	uint64_t now_ns, now_ms;	      /* of the last look */
	uint64_t begun_ns, store_ns, scan_ns; /* opened; looked at the store, and for rings */
	struct pen_board_errors errors;

	/* Called while looking; each may be NULL. */
	void (*on_life)(void *arg, const struct pen_board_engine *engine);
	void (*on_event)(void *arg, const struct pen_board_engine *engine,
			 const struct pen_ring_event *event);
	void (*on_lost)(void *arg, const struct pen_board_engine *engine, uint64_t lost);
	void *arg;
};

/* NULL when there is no memory; else the store belongs to the board. Nothing is looked at yet. */
struct pen_board *pen_board_open(struct pen_store *store, uint64_t only);
void pen_board_close(struct pen_board *board);
void pen_board_look(struct pen_board *board, uint64_t now_ns);
/* Counts more of a batch's rejected items, so many rows at most. */
void pen_board_count_errors(struct pen_board *board, uint64_t batch);
/*
 * Wants something of a batch, as pen_batch_wish() does. The store is opened anew for that, for writing; if it
 * cannot be opened at all any more, board->store is NULL, and nothing may be called but close.
 */
int pen_board_wish(struct pen_board *board, uint64_t batch, enum pen_wish wish, bool *ret_runs,
		   struct pen_failure *why);
/* Processes whose engines are alive; one has a ring for each owner. */
unsigned pen_board_engine_count(const struct pen_board *board);
/* The row of a batch, or NULL. */
const struct pen_board_row *pen_board_find(const struct pen_board *board, uint64_t batch);
/* 0 .. 1000, or -1 when the whole is not known; 1000 only for a completed batch. */
int pen_board_permille(const struct pen_board_row *row);
/* Items a second since the batch began. */
uint64_t pen_board_average(const struct pen_board_row *row, uint64_t now_ms);
bool pen_board_over(enum pen_state state);
/* "alive", "stalled", "died", "replaced", "ended" */
const char *pen_board_life_name(enum pen_ring_life life);

#endif
