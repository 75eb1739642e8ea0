/* SPDX-License-Identifier: MIT */
/*
 * batch - a batch while an engine runs it
 *
 *              BEGIN (committer)            END (committer)
 *   admitted -------------------> running -------------------> ended
 *      |                          |    ^
 *      | refused                  v    | PAUSE, RESUME (committer)
 *      v                          paused
 *    ended
 *
 * The reader feeds it (feed.h), processors look at its options only, the committer owns its standing: the
 * state as the store has it. Everything is grouped by the thread that writes it. In a rehearsal
 * (rehearse.h) that thread stands where the committer does.
 */
#ifndef PEN_ENGINE_BATCH_H
#define PEN_ENGINE_BATCH_H

#include <stdatomic.h>

#include "engine/chunk.h"
#include "engine/gate.h"
#include "engine/diary.h"
#include "engine/plan.h"
#include "engine/window.h"
#include "ring/gauge.h"
#include "store/ledger.h"
#include "store/staged.h"

#define PEN_BATCHES_MAX 16u /* run at once in one engine; more wait for their turn */

/* Words of the gauge, in this order. */
enum pen_gauge_word {
	PEN_GAUGE_BATCH,
	PEN_GAUGE_STATE,
	PEN_GAUGE_REASON,
	PEN_GAUGE_ITEMS,
	PEN_GAUGE_COMMITTED,
	PEN_GAUGE_REJECTED,
	PEN_GAUGE_FAILED,
	PEN_GAUGE_SKIPPED,
	PEN_GAUGE_DUPLICATES,
	PEN_GAUGE_BYTES,
	PEN_GAUGE_ITEMS_TOTAL,
	PEN_GAUGE_BYTES_TOTAL,
	PEN_GAUGE_BYTES_PLACE,
	PEN_GAUGE_GROUPS,
	PEN_GAUGE_FIRST_NS,
	PEN_GAUGE_LAST_NS,
	PEN_GAUGE_HOLD_BUDGET,
	PEN_GAUGE_HOLD_LAST,
	PEN_GAUGE_RESUMED,
	PEN_GAUGE_RESUMED_ITEMS,
	PEN_GAUGE_USED,
};

struct pen_batch {
	/* Written by the reader before BEGIN is sent, constant afterwards. */
	struct pen_plan *plan;
	struct pen_forecast *forecast; /* of a rehearsal, the program's; filled by the last stage */
	uint32_t sqe;		       /* whose completion ends it */
	uint32_t index;		       /* in the engine's table */

	/* Written by the committer at BEGIN, constant until END; read by reader and processors, which learn of it
	 * through the lane that brings BEGIN back. */
	uint64_t id;
	uint64_t seq_base;
	uint64_t created_ms;
	uint64_t dataset_id;
	bool resumed;
	bool unchanged; /* the sources are those that it began with */
	bool rows_all;	/* every item has a row */
	bool already;	/* nothing to do: complete before, or only entered */
	uint8_t there;	/* 1: it was to be entered, and is known already; 2: it took the place of another */
	struct pen_place from; /* where to begin */
	uint64_t from_items;   /* items decided by earlier runs */
	uint64_t first_item;   /* items before that place; more, where some are in runs (bulk.h) */
	char from_path[PEN_PATH_BYTES_MAX + 1];
	struct pen_context context; /* as the store has it: the plan of a resumed batch made up another */

	/* Written by the committer. */
	struct pen_standing standing; /* as the last commit left it */
	int lock_fd;
	struct pen_window window; /* chunks that wait for an earlier one */
	uint64_t first_ns, last_ns, began_ns;
	uint64_t passed;	 /* bytes of the sources behind the last commit */
	uint64_t passed_counted; /* behind what counts as committed */
	uint32_t level_ticket;
	int over;     /* negative: stopped by a threshold, cancelled, interrupted; later chunks are dropped */
	int end_code; /* what its completion will say */
	struct pen_failure why;
	struct pen_gauge gauge; /* published after every commit; anyone reads */
	struct pen_fmt_job job; /* where items end one by one: as the last commit left it */
	struct pen_chunk *line,
		**line_end;	/* the same: chunks in the order they came; else notes without number */
	bool gave_up;		/* it cannot be written: not even its end is */
	bool held;		/* paused: what lies in the window waits */
	bool wished_pause;	/* somebody wants it to rest (store/control.h) */
	uint32_t asked;		/* enum pen_wish, what people want of it; 0: nothing */
	struct pen_gates gates; /* the flags it was made under */
	bool flagged;		/* one of them keeps it from running (gate.h) */
	struct pen_diary diary; /* what was logged of it */
	bool owes;		/* it completed, and the reader is to say so when its files are dealt with */
	_Atomic bool stop; /* committer and foreman to reader and foreman: produce no more; it only rises */
	struct pen_budget *budget; /* NULL: no limit. The foreman takes from a job's (budget.h) */
	bool cut_short;	   /* its end is here and will not be a good one: what waits for its limit is left */
	bool left;	   /* something was: so is all behind it */
	bool told_resting; /* that it waits for its limit was told */
	_Atomic uint32_t wish; /* committer to reader: enum pen_wish, what is wanted now; 0: nothing */
	struct pen_rehearsal *rehearsal;

	/* Bulk mode (bulk.h): the committer's. */
	enum pen_bulk_choice {
		PEN_BULK_NOT,	/* the ordinary way */
		PEN_BULK_MAYBE, /* if its first keys come in no order */
		PEN_BULK_YES,
	} bulk_choice;
	bool bulk_empty;	       /* its dataset was empty when it began */
	struct pen_fmt_staged *staged; /* what an earlier run left, and its stops; NULL: nothing */
	struct pen_fmt_stop *stops;
	struct pen_bulk *bulk;	    /* NULL: it goes the ordinary way */
	struct pen_chunk *bulk_end; /* its END, which waits for the merge */
	bool bulk_merges;	    /* its runs are open */

	/* Written by the foreman. */
	bool gone_by; /* END was passed on: notes that come behind it are nobody's */

	/* Written by the reader. */
	struct pen_feed *feed;
	struct pen_chunk begin, end, note; /* control chunks: they need no slot */
	_Atomic bool live;		   /* the table's slot is in use; read by progress */
	_Atomic int cancel; /* negative: end it so; read by foreman and committer. It is set once */
	bool rests;	    /* a wish has paused it */
	bool paused;	    /* by whomever: a jumbo buffer that it has does not count */
	bool ended;	    /* END is back; it goes when its note is back too */
};

/* Shows the batch's standing to pen_engine_progress. reason: why it rests, or 0. The last stage's thread. */
void pen_batch_publish(struct pen_batch *batch, int reason);

#endif
