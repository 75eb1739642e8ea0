/* SPDX-License-Identifier: MIT */
/*
 * format - the bytes on disk
 *
 * Every key and value that penstock writes into a store besides the user's records. docs/FORMAT.md is the same
 * in prose, with the numbered invariants that `penstock verify` checks. Integers in values are
 * little-endian, as they lie in memory; integers in keys are big-endian, so that they sort. A value begins
 * with a struct pen_head whose crc covers everything behind it.
 *
 * Named databases of the environment (the prefix is refused for datasets):
 *
 *   penstock.meta      "meta"                                    -> struct pen_fmt_meta
 *                      "retention"                               -> struct pen_fmt_retention
 *                      "removed", u64 dataset id                 -> struct pen_fmt_removed
 *                      "trimmed", u64 batch                      -> struct pen_fmt_trimmed
 *                      "totals"                                  -> struct pen_fmt_totals
 *                      "dedup", u8[16] of owner and key          -> struct pen_fmt_dedup + strings (dedup.h)
 *                      "policy", name                            -> struct pen_fmt_policy + the name again
 *                      "staged", u64 batch                       -> struct pen_fmt_staged + places
 *                      "staged", u64 batch, u32 run              -> struct pen_fmt_run + two keys
 *   penstock.batches   u64 batch                                 -> struct pen_fmt_batch + strings
 *                      (written once)
 *   penstock.states    u64 batch                                 -> struct pen_fmt_state + path
 *                      (every group)
 *   penstock.identity  u8[16] identity                           -> u64 batch (the newest of that identity)
 *   penstock.items     u64 batch, u64 item                       -> struct pen_fmt_item + key, path, raw
 *   penstock.events    u64 sequence                              -> struct pen_fmt_event
 *   penstock.datasets  dataset name                              -> struct pen_fmt_dataset
 *   penstock.digests   u64 dataset id, u8 bucket                 -> struct pen_fmt_digest
 *   penstock.orders    u64 batch                                 -> struct pen_fmt_order + strings
 *                      (batches that were submitted; written once)
 *   penstock.jobs      u64 batch                                 -> struct pen_fmt_job
 *                      (batches whose items end one by one; every group)
 *   penstock.controls  u64 batch                                 -> struct pen_fmt_control + strings
 *                      (what people want of a batch, until they want it no more)
 *   penstock.edges     u64 parent, u64 child                     -> u8 enum pen_edge
 *   penstock.index     u8 enum pen_index, fields                 -> nothing, or an i32 code (index.h)
 *   penstock.cache     u8 kind, fields                           -> totals, entries, their order (cache.h)
 *   penstock.flags     u8 enum pen_flag_row, fields              -> flags and what is kept about them (flag.h)
 *                      (made when a store without it is opened for writing)
 *   NAME               the user's key                            -> the user's bytes, nothing else
 */
#ifndef PEN_STORE_FORMAT_H
#define PEN_STORE_FORMAT_H

#include <stdint.h>

#include "include/penstock.h"
#include "ring/hash.h"

#define PEN_FORMAT_VERSION 2u /* 1: without orders, jobs, controls, edges, index, cache */
/* Of the meta row. Raised with the format, so that a running process of an older version, which reads this row at the
 * beginning of every transaction, writes no more once a newer one has upgraded the store. */
#define PEN_META_VERSION PEN_FORMAT_VERSION
#define PEN_CONTEXT_BITS 8
#define PEN_CONTEXT_MASK 0xffu
#define PEN_DB_PREFIX "penstock."
#define PEN_DATASET_NAME_MAX 200u
#define PEN_DATASETS_MAX 1000u
#define PEN_PATH_BYTES_MAX 4096u /* of a path kept in a checkpoint or a row */

struct pen_head {
	uint32_t crc;	  /* CRC32C of the bytes behind this field, to the end of the value */
	uint16_t kind;	  /* enum pen_fmt_kind: a value under the wrong key is noticed */
	uint16_t version; /* of this struct */
};

enum pen_fmt_kind {
	PEN_KIND_META = 1,
	PEN_KIND_BATCH,
	PEN_KIND_STATE,
	PEN_KIND_ITEM,
	PEN_KIND_EVENT,
	PEN_KIND_DATASET,
	PEN_KIND_DIGEST,
	PEN_KIND_ORDER,
	PEN_KIND_JOB,
	PEN_KIND_CONTROL,
	PEN_KIND_CACHE,
	PEN_KIND_CACHE_TOTAL,
	PEN_KIND_RETENTION,
	PEN_KIND_REMOVED,
	PEN_KIND_TRIMMED,
	PEN_KIND_TOTALS,
	PEN_KIND_DEDUP,
	PEN_KIND_FLAG,
	PEN_KIND_FLAG_TOTAL,
	PEN_KIND_FLAG_CHANGE,
	PEN_KIND_FLAG_PINS,
	PEN_KIND_RAMP,
	PEN_KIND_POLICY,
	PEN_KIND_STAGED,
	PEN_KIND_RUN,
};

struct pen_fmt_meta {
	struct pen_head head;
	uint32_t format; /* PEN_FORMAT_VERSION of the writer */
	uint32_t unused;
	uint64_t store_id; /* random, given at creation */
	uint64_t created_ms;
	uint64_t last_event;   /* sequence of the newest event */
	uint64_t last_dataset; /* id of the newest dataset */
};

/* Immutable facts. Behind it: strings, each u32 length and bytes, in the order of enum pen_fmt_string; the
 * sources and labels are lists, joined by NUL bytes. */
struct pen_fmt_batch {
	struct pen_head head;
	uint64_t id;
	uint8_t identity[16]; /* of paths and deciding options; zero: none (streams) */
	uint8_t content[16];  /* of what the sources held when it began */
	uint64_t created_ms;
	uint64_t dataset_id;
	uint64_t seq_base;
	uint64_t max_record;
	uint64_t bytes_total; /* 0: not known */
	uint64_t items_total; /* 0: not known */
	uint8_t format, key_kind, on_duplicate, validate;
	uint8_t results; /* which items have rows: exceptions 0, all 1 */
	uint8_t drops;	 /* 1: items may be left out, and have no row unless all have */
	uint16_t unused;
};

enum pen_fmt_string {
	PEN_STR_DATASET,
	PEN_STR_KEY,
	PEN_STR_OWNER,
	PEN_STR_CORRELATION,
	PEN_STR_IDEMPOTENCY,
	PEN_STR_SOURCES,
	PEN_STR_LABELS,
	PEN_STR_COUNT,
};

struct pen_fmt_counters {
	uint64_t items, committed, rejected, failed, skipped, duplicates, bytes;
};

/* What every group rewrites. Behind it: path_len bytes of the path the checkpoint stands in (trees). */
struct pen_fmt_state {
	struct pen_head head;
	uint64_t id;
	struct pen_fmt_counters applied; /* by the transactions up to this one */
	struct pen_fmt_counters
		counted; /* what counts as committed; lags behind only with durability `group` */
	/* The checkpoint: the first byte that no committed item covers. */
	uint64_t place_offset;
	uint64_t place_line;  /* lines before it */
	uint64_t place_files; /* files of the tree behind it; of a stream, the bytes before its last chunk */
	uint8_t place_paths[16]; /* sum of the hashes of those files' paths; hash of those bytes */
	uint8_t place_content
		[16]; /* sum of the hashes of their paths, sizes and times; hash of the bytes behind */
	uint32_t place_source;
	uint32_t path_len;
	uint64_t started_ms, updated_ms, ended_ms;
	uint64_t active_ms;
	uint64_t groups;
	uint32_t hold_budget_ms, hold_last_ms;
	uint32_t runner_pid; /* who wrote this, while running */
	int32_t code;
	uint8_t state, durability, resumed, uring;
	/* What the format must know there (json: inside an array); above it, what a keyed stream was told to be. */
	uint32_t place_context;
};

/* A row of an item that was not simply committed. Behind it: key_len, path_len and raw_len bytes. */
struct pen_fmt_item {
	struct pen_head head;
	uint64_t line, offset, column, raw_total;
	int32_t code;
	uint32_t source;
	uint32_t raw_len;
	uint16_t key_len, path_len;
	uint8_t state, detail; /* detail: which sentence of the code */
	uint16_t attempts;
	uint32_t key_crc; /* CRC32C of the row's key, so that a row under another item's key is noticed */
};

/*
 * Behind struct pen_fmt_item in rows of version 2: items that a processor worked on by themselves. Behind the raw
 * bytes then: message_len and stderr_len bytes. Their raw bytes are whole, so that they can be tried again.
 */
struct pen_fmt_try {
	uint64_t due_ms; /* retrying: when the next try may begin */
	uint64_t ended_ms;
	uint64_t spent_us;   /* of the last try */
	uint32_t stderr_len; /* its tail */
	int16_t exit_status; /* -1: none */
	uint16_t message_len;
	uint16_t crashes;    /* of its workers, charged to it */
	uint8_t term_signal; /* 0: none */
	uint8_t form;	     /* how a worker is told it: enum pen_task_form */
	uint32_t
		since_cs; /* from the first try's begin to this one's end, in 10 ms, rounded up; 0: not known */
};

struct pen_fmt_event {
	struct pen_head head;
	uint64_t time_ms, batch, a, b;
	int32_t code;
	uint16_t type, unused;
};

struct pen_fmt_dataset {
	struct pen_head head;
	uint64_t id;	   /* never used again after a drop */
	uint64_t entries;  /* records; LMDB's own count must agree */
	uint64_t next_seq; /* the key the next @seq item gets */
	uint64_t feeder;   /* the unfinished batch that appends by @seq, 0: none */
	uint64_t updated_ms;
	uint8_t key_kind;
	uint8_t unused[7];
};

struct pen_fmt_digest {
	struct pen_head head;
	uint64_t lo, hi;
};

/*
 * What was submitted and is to be run by whoever works. Behind it: strings as behind pen_fmt_batch, in the order of
 * enum pen_order_string.
 */
struct pen_fmt_order {
	struct pen_head head;
	uint64_t id;
	uint64_t not_before_ms;
	int32_t priority;
	uint32_t parents;
	uint8_t dedup[16]; /* the key of its row (dedup.h); zero: none */
};

enum pen_order_string {
	PEN_ORDER_SPEC,	   /* the request, packed by the engine (engine/order.h) */
	PEN_ORDER_PARENTS, /* u64 little-endian id and u8 enum pen_edge each, `parents` times */
	PEN_ORDER_HOOK,	   /* the command of --on-complete */
	PEN_ORDER_STRINGS,
};

/* On what end of its parent a batch waits. */
enum pen_edge { PEN_EDGE_OK = 1, PEN_EDGE_ANY };

/* Beside the state of a batch whose items end one by one. The state's place lags behind: it is the first item of which
 * not all before it are decided, and rows say which behind it are. */
struct pen_fmt_job {
	struct pen_head head;
	uint64_t id;
	uint64_t place_items; /* items before the state's place */
	uint64_t retrying;    /* rows in that state */
	uint64_t due_ms;      /* the earliest of them; 0: none */
	uint64_t tries, retries, crashes;
	uint64_t dropped; /* of the skipped: by the processor */
	uint64_t cache_hits, cache_misses;
	uint64_t
		clock_ms; /* what its retries went by at the last results; above the date: that was set back */
	uint64_t cost_ns; /* of its tries: what its owner is charged */
	uint64_t fed;	  /* 1: all items were given out, and the sources are not needed any more */
};

enum pen_want { PEN_WANT_PAUSE = 1, PEN_WANT_CANCEL };

/* Behind it: who and why, each u32 length and bytes. */
struct pen_fmt_control {
	struct pen_head head;
	uint64_t id;
	uint64_t time_ms;
	uint8_t want;
	uint8_t unused[7];
};

/* A result that may be used again. Behind it: len bytes. */
struct pen_fmt_cache {
	struct pen_head head;
	uint64_t time_ms;
	uint64_t number; /* its place in the order, from 1 */
	uint32_t flags;	 /* of whoever put it */
	uint32_t len;
	uint32_t key_crc; /* CRC32C of the row's key */
	uint32_t unused;
};

struct pen_fmt_cache_total {
	struct pen_head head;
	uint64_t entries;
	uint64_t bytes;	      /* of results, and 128 each */
	uint64_t last_number; /* numbers are not used again */
};

_Static_assert(sizeof(struct pen_fmt_cache) == 40, "cache");
_Static_assert(sizeof(struct pen_fmt_cache_total) == 32, "cache total");
/* The rules of retention and how far it got (retain.h). A rule that is 0 stands for its default. */
struct pen_fmt_retention {
	struct pen_head head;
	uint64_t
		first_event; /* the oldest event that is kept has this sequence, or it is that of the next one */
	uint64_t cleaned_ms;	/* when the last pass over everything ended */
	uint64_t next_batch;	/* where a pass that ran out of time goes on */
	uint64_t batches, rows; /* removed so far */
	uint64_t keep_ms[16];	/* by state */
	uint64_t rows_ms, rows_bytes, events_ms, events_max, bytes;
};

/* Records of a dataset that no batch in the store has put by itself: of batches that were removed, and what workers put
 * or deleted beside their items. Modulo 2^64: it may be below zero. */
struct pen_fmt_removed {
	struct pen_head head;
	uint64_t entries;
};

/* What was removed of a batch's rows. */
struct pen_fmt_trimmed {
	struct pen_head head;
	uint64_t below; /* no row of an item below this is left */
	uint64_t rejected, failed, skipped, other;
};

/* Sums that only grow, over every batch from since_batch on and what older ones did since. */
struct pen_fmt_totals {
	struct pen_head head;
	uint64_t since_ms, since_batch;
	uint64_t batches;		  /* entered */
	uint64_t states[PEN_STATE_SLOTS]; /* how often one came to be in that state */
	uint64_t committed, rejected, failed, skipped, duplicates, bytes; /* of items, applied */
	uint64_t groups, hold_ms;	  /* transactions, and how long they held the write lock */
	uint64_t holds[PEN_HOLD_BUCKETS]; /* the same by how long; pen_hold_bucket() says where each ends */
};

/*
 * A batch in bulk mode (staged.h): its records lie in sorted runs in STORE/staging until they are merged. The state's
 * place lies behind `items` items, of which those that are in runs and not merged are neither decided nor counted.
 * Behind it, in the phase `merge` only: a struct pen_fmt_stop a run.
 */
struct pen_fmt_staged {
	struct pen_head head;
	uint64_t id;
	uint64_t items;		  /* before the state's place */
	uint64_t records, merged; /* in the runs that are there, and how many of those the dataset has */
	uint64_t settled; /* bytes of the sources whose records were merged before these runs were begun */
	uint32_t first_run, run_count;
	uint8_t phase;
	uint8_t unused[7];
};

enum pen_staged_phase {
	PEN_STAGED_SORT = 1, /* runs are being made */
	PEN_STAGED_MERGE,    /* runs are being merged into the dataset */
	PEN_STAGED_MERGED,   /* the dataset has all of it: files may be missing */
};

/* Where the merge goes on in a run. */
struct pen_fmt_stop {
	uint64_t offset; /* of the block */
	uint32_t index;	 /* of the record in it */
	uint32_t unused;
};

/* A run: a row of the manifest. Behind it: the lowest key and the highest. */
struct pen_fmt_run {
	struct pen_head head;
	uint64_t id;
	uint64_t records;
	uint64_t bytes;		       /* of the file */
	uint64_t digest_lo, digest_hi; /* XXH3-128 of the heads of its blocks, which carry their CRCs */
	uint32_t number;
	uint16_t first_len, last_len;
};

_Static_assert(sizeof(struct pen_fmt_staged) == 64, "staged");
_Static_assert(sizeof(struct pen_fmt_stop) == 16, "stop");
_Static_assert(sizeof(struct pen_fmt_run) == 56, "run");
_Static_assert(sizeof(struct pen_fmt_totals) == 320, "totals");
/* By which batch a key is taken, and until when. Behind it: the owner and the key, each u32 length and bytes. */
struct pen_fmt_dedup {
	struct pen_head head;
	uint64_t batch;
	uint64_t until_ms; /* 0: while the batch is unfinished or complete */
	uint64_t ttl_ms;
	uint64_t set_ms;   /* when this batch was entered */
	uint64_t previous; /* the batch whose place it took; 0: none */
	uint64_t count;	   /* submissions that were one with it: given it back, or replaced by it */
	uint8_t mode;	   /* enum pen_dedup_mode */
	uint8_t unused[7];
};

_Static_assert(sizeof(struct pen_fmt_dedup) == 64, "dedup");
/* First byte of a key of penstock.flags. */
enum pen_flag_row {
	PEN_FLAG_ROW_TOTAL = 1, /* nothing behind it */
	PEN_FLAG_ROW_FLAG,	/* the name */
	PEN_FLAG_ROW_CHANGE,	/* the name, a NUL, u64 sequence */
	PEN_FLAG_ROW_PINS,	/* u64 batch */
	PEN_FLAG_ROW_RAMP,	/* the name */
};

struct pen_fmt_flag_total {
	struct pen_head head;
	uint64_t flags;
	uint64_t last_change; /* sequence of the newest one, of any flag */
};

/*
 * Behind it: strings, each u32 length and bytes: name, id, salt, metadata; whitelist and blacklist, each name ended by
 * NUL, in the order of their bytes; variants, each u32 weight and a name ended by NUL.
 */
struct pen_fmt_flag {
	struct pen_head head;
	uint64_t created_ms, updated_ms, version;
	uint32_t rollout;
	uint32_t whitelist, blacklist, variants; /* how many */
	uint8_t enabled, bucketing;
	uint8_t unused[6];
};

/* Behind it: strings, each u32 length and bytes: name, who, why, what changed (JSON). */
struct pen_fmt_flag_change {
	struct pen_head head;
	uint64_t seq, time_ms, version;
	uint8_t action;
	uint8_t unused[7];
};

/* What flags said when a batch was made. Behind it: `count` times struct pen_fmt_flag_pin and its two texts. */
struct pen_fmt_flag_pins {
	struct pen_head head;
	uint64_t id;
	uint32_t count, unused;
};

struct pen_fmt_flag_pin {
	uint64_t version;
	uint32_t bucket;
	uint8_t on, reason, error;
	uint8_t name_len, variant_len;
	uint8_t unused[7];
};

/* Behind it: the flag's name. */
struct pen_fmt_ramp {
	struct pen_head head;
	uint64_t every_ms, min_items, step_ms;
	uint64_t batches, items, bad; /* when it was last looked at */
	uint32_t steps[32];
	uint32_t step_count, step, max_error;
	uint8_t state, guarded;
	uint8_t unused[2];
};

_Static_assert(sizeof(struct pen_fmt_flag_total) == 24, "flag total");
_Static_assert(sizeof(struct pen_fmt_flag) == 56, "flag");
_Static_assert(sizeof(struct pen_fmt_flag_change) == 40, "flag change");
_Static_assert(sizeof(struct pen_fmt_flag_pins) == 24, "flag pins");
_Static_assert(sizeof(struct pen_fmt_flag_pin) == 24, "flag pin");
_Static_assert(sizeof(struct pen_fmt_ramp) == 200, "ramp");
#define PEN_POLICY_NAME_MAX 64u

/* A rate-limit policy that somebody set (policy.h). */
struct pen_fmt_policy {
	struct pen_head head;
	uint64_t window_ns, limit;
	uint64_t burst; /* gcra: beyond one; UINT64_MAX: limit - 1 */
	uint64_t changed_ms;
	uint32_t uid;		 /* who set it */
	uint8_t algorithm, unit; /* enum pen_limit_algorithm, enum pen_limit_unit */
	uint8_t unused[2];
};

_Static_assert(sizeof(struct pen_fmt_policy) == 48, "policy");
_Static_assert(sizeof(struct pen_fmt_retention) == 216, "retention");
_Static_assert(sizeof(struct pen_fmt_removed) == 16, "removed");
_Static_assert(sizeof(struct pen_fmt_trimmed) == 48, "trimmed");
_Static_assert(sizeof(struct pen_head) == 8, "head");
_Static_assert(sizeof(struct pen_fmt_try) == 40, "try");
_Static_assert(sizeof(struct pen_fmt_order) == 48, "order");
_Static_assert(sizeof(struct pen_fmt_job) == 112, "job");
_Static_assert(sizeof(struct pen_fmt_control) == 32, "control");
_Static_assert(sizeof(struct pen_fmt_meta) == 48, "meta");
_Static_assert(sizeof(struct pen_fmt_batch) == 104, "batch");
_Static_assert(sizeof(struct pen_fmt_counters) == 56, "counters");
_Static_assert(sizeof(struct pen_fmt_state) == 256, "state");
_Static_assert(sizeof(struct pen_fmt_item) == 64, "item");
_Static_assert(sizeof(struct pen_fmt_event) == 48, "event");
_Static_assert(sizeof(struct pen_fmt_dataset) == 56, "dataset");
_Static_assert(sizeof(struct pen_fmt_digest) == 24, "digest");

#endif
