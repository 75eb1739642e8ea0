/* SPDX-License-Identifier: MIT */
/*
 * audit - the checks behind verify (private to this room)
 *
 * Two halves. The guard (verify.c) runs a body in a forked child and turns whatever becomes of it into
 * findings: sentences it sends through a pipe, its death by a signal, or that it stopped moving. The body
 * (audit.c and its siblings) opens the environment for itself and walks everything in one snapshot.
 *
 *   audit.c         the file, its meta pages, the walk, the free list; what is called in which order
 *   audit_ledger.c  batches, states, identities, rows, events
 *   audit_jobs.c    orders, jobs, wishes, edges, the index
 *   audit_cache.c   the cache of results
 *   audit_staged.c  the manifest of sorted runs
 *   audit_dedup.c   keys of submissions
 *   audit_flags.c   feature flags
 *   audit_data.c    datasets, digests, who feeds them
 *   audit_retain.c  what retention left behind
 *
 * Invariants have the numbers of docs/FORMAT.md.
 */
#ifndef PEN_STORE_AUDIT_H
#define PEN_STORE_AUDIT_H

#include <lmdb.h>
#include <stdatomic.h>

#include "store/store_private.h"

enum pen_invariant {
	PEN_INV_FILE = 1, /* file size and meta pages */
	PEN_INV_META,	  /* the meta row */
	PEN_INV_VALUES,	  /* own values: kind, version, CRC, lengths */
	PEN_INV_PAIRS,	  /* facts and states */
	PEN_INV_COUNTERS, /* sums, applied and counted */
	PEN_INV_ROWS,	  /* rows against counters */
	PEN_INV_CHECKPOINT,
	PEN_INV_ENTRIES, /* of datasets, three ways */
	PEN_INV_DIGESTS,
	PEN_INV_EVENTS,
	PEN_INV_IDENTITY,
	PEN_INV_FEEDER,
	PEN_INV_ORPHANS,   /* digest rows without dataset */
	PEN_INV_KEYS,	   /* of @seq and @offset datasets */
	PEN_INV_DATABASES, /* names */
	PEN_INV_PAGES,	   /* everything can be walked */
	PEN_INV_JOBS,	   /* orders, jobs, wishes, edges */
	PEN_INV_INDEX,	   /* true, and whole */
	PEN_INV_CACHE,	   /* entries, order, totals */
	PEN_INV_DEDUP,	   /* keys of submissions */
	PEN_INV_FLAGS,	   /* flags, their totals, history, pins and ramps */
	PEN_INV_STAGED,	   /* the manifest of sorted runs */
	PEN_INV_COUNT,
};

#define PEN_AUDIT_REPORTS 100u /* findings told of one invariant; the rest is a number */
#define PEN_AUDIT_STALL_NS (60 * PEN_NS_PER_S)

/*
 * What the child leaves for the parent in a shared mapping. One writer, the child; the parent reads `ticks`
 * while it lives and the rest after it was waited for.
 */
struct pen_audit_where {
	_Atomic uint64_t ticks; /* grows while the child gets on */
	uint64_t entry;		/* of the database below */
	char place[320];
	char detail[200]; /* what LMDB said when it gave up */
};

/* How a body speaks. */
struct pen_audit_voice {
	struct pen_audit_where *where;
	int fd; /* the pipe */
	uint64_t total;
	uint64_t count[PEN_INV_COUNT]; /* violations by invariant */
};

/* One violation, one sentence. */
void pen_audit_say(struct pen_audit_voice *voice, enum pen_invariant invariant, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void pen_audit_place(struct pen_audit_voice *voice, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* Gets on: called for every entry. */
static inline void pen_audit_tick(struct pen_audit_voice *voice)
{
	voice->where->entry++;
	atomic_fetch_add_explicit(&voice->where->ticks, 1, memory_order_relaxed);
}

/*
 * Runs body in a child. Returns the number of violations, or the negative code of a body that could not run
 * (which fills *why). A child without a tick for stall_ns is killed.
 */
typedef int pen_audit_body(struct pen_audit_voice *voice, const void *arg, struct pen_failure *why);
long pen_audit_guard(pen_audit_body *body, const void *body_arg, uint64_t stall_ns, pen_finding_fn *finding,
		     void *arg, struct pen_failure *why);
/* The body of pen_verify; arg is the directory's path. */
int pen_audit_run(struct pen_audit_voice *voice, const void *arg, struct pen_failure *why);

/* ---- inside the body ------------------------------------------------------------------------- */

struct pen_audit_batch {
	uint64_t id, dataset_id, seq_base, bytes_total;
	uint8_t identity[16];
	uint8_t format, key_kind, state;
	bool has_facts, has_state;
	size_t sources;
	uint64_t items, rejected, failed, skipped, committed, duplicates; /* applied */
	bool all_rows, drops;						  /* which items have rows */
	uint64_t rows_committed, rows_rejected, rows_failed, rows_skipped, rows_retrying, rows_indexed;
	uint64_t started_ms, ended_ms, retrying, place_items;
	bool fed;
	uint8_t dedup[16]; /* the row that its order names */
	uint32_t parents, edges;
	char *dataset, *owner;
};

/* What retention noted: rows of penstock.meta. */
struct pen_audit_note {
	uint64_t id; /* of the dataset or batch */
	uint64_t entries;
	struct pen_fmt_trimmed trimmed;
};

struct pen_audit_notes {
	struct pen_audit_note *at; /* by id */
	size_t count, cap;
};

/* A key of a submission: a row of penstock.meta. */
struct pen_audit_key {
	uint8_t row[16];
	uint64_t batch, until_ms;
	char *owner;
};

struct pen_audit_dataset {
	char name[PEN_DATASET_NAME_MAX + 1];
	struct pen_fmt_dataset row;
	struct pen_sum stored[PEN_BUCKETS], found[PEN_BUCKETS];
};

/* A row of the manifest (staged.h): its head, or a run. */
struct pen_audit_staged {
	uint64_t batch;
	bool is_run;
	uint32_t number;
	struct pen_fmt_staged head;
	struct pen_fmt_run run;
};

struct pen_audit {
	const char *dir;
	struct pen_audit_staged *staged; /* as they lie in penstock.meta: a head, then its runs */
	size_t staged_count;
	struct pen_audit_voice *voice;
	MDB_env *env;
	MDB_txn *txn;
	uint64_t last_page, page_size, file_size;
	bool file_short;
	struct pen_fmt_meta meta;
	bool has_meta;
	struct pen_audit_batch *batches; /* by id */
	size_t batch_count, batch_cap;
	struct pen_audit_dataset **datasets; /* by name */
	size_t dataset_count, dataset_cap;
	struct pen_fmt_retention retention; /* zeros without */
	struct pen_fmt_totals totals;	    /* likewise */
	struct pen_audit_notes removed, trimmed;
	uint64_t notes_seen;	    /* rows of penstock.meta that are retention's, or keys */
	struct pen_audit_key *keys; /* by row */
	size_t key_count, key_cap;
	struct pen_audit_notes
		gone; /* batches of events that are not there; entries: the last event, 0 when cleaned */
};

/*
 * Calls visit for every entry of a named database, in order. Notices keys out of order (which also ends any
 * loop of damaged pages) and a count that is not LMDB's. False when the database is absent or could not be
 * walked to its end.
 */
typedef void pen_audit_visit(struct pen_audit *audit, void *arg, const MDB_val *key, const MDB_val *value);
bool pen_audit_walk(struct pen_audit *audit, const char *name, const char *what, pen_audit_visit *visit,
		    void *arg, uint64_t *ret_entries);

struct pen_audit_batch *pen_audit_find_batch(const struct pen_audit *audit, uint64_t id);
struct pen_audit_dataset *pen_audit_find_dataset(const struct pen_audit *audit, uint64_t id);
/* A row of the manifest: false when it is none. */
bool pen_audit_staged_row(struct pen_audit *audit, const MDB_val *key, const MDB_val *value);
/* Items before the place of a batch that has runs; 0: it has none. */
uint64_t pen_audit_staged_items(const struct pen_audit *audit, uint64_t batch);
void pen_audit_staged(struct pen_audit *audit); /* 22, after the ledger */
/* A row of penstock.meta that retention wrote: false when it is none. */
bool pen_audit_retain_row(struct pen_audit *audit, const MDB_val *key, const MDB_val *value);
/* A row of penstock.meta that is a rate-limit policy (policy.c): false when it is none. */
bool pen_audit_policy_row(struct pen_audit *audit, const MDB_val *key, const MDB_val *value);
/* What is noted about a batch's rows, or a dataset's entries; NULL: nothing. */
const struct pen_audit_note *pen_audit_note(const struct pen_audit_notes *notes, uint64_t id);
void pen_audit_retain(
	struct pen_audit *audit); /* 6, 10, 13: notes about what is not there, the events' front */
/* An event of a batch that is not there. */
void pen_audit_gone(struct pen_audit *audit, uint64_t seq, const struct pen_fmt_event *event);
/* After all events were seen: each such batch must have been cleaned, as its last event says. */
void pen_audit_gone_end(struct pen_audit *audit);
void pen_audit_ledger(struct pen_audit *audit); /* 3, 4, 5, 6, 7 (fields), 10, 11 */
void pen_audit_jobs(struct pen_audit *audit);	/* 17, 18, after the ledger */
/* A row of penstock.meta that is a key of a submission: false when it is none. */
bool pen_audit_dedup_row(struct pen_audit *audit, const MDB_val *key, const MDB_val *value);
/* Its entry in the index is true. */
bool pen_audit_dedup_index(const struct pen_audit *audit, const uint8_t *at);
uint64_t pen_audit_dedup_ends(const struct pen_audit *audit); /* how many such entries there are to be */
void pen_audit_dedup(struct pen_audit *audit);		      /* 20, after the orders */
void pen_audit_cache(struct pen_audit *audit);		      /* 3, 19 */
void pen_audit_flags(struct pen_audit *audit);		      /* 3, 21 */
void pen_audit_data(struct pen_audit *audit);		      /* 3, 7 (next_seq), 8, 9, 12, 13, 14 */
void pen_audit_databases(struct pen_audit *audit);	      /* 15 */

#endif
