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
 *   penstock.batches   u64 batch                                 -> struct pen_fmt_batch + strings
 *                      (written once)
 *   penstock.states    u64 batch                                 -> struct pen_fmt_state + path
 *                      (every group)
 *   penstock.identity  u8[16] identity                           -> u64 batch (the newest of that identity)
 *   penstock.items     u64 batch, u64 item                       -> struct pen_fmt_item + key, path, raw
 *   penstock.events    u64 sequence                              -> struct pen_fmt_event
 *   penstock.datasets  dataset name                              -> struct pen_fmt_dataset
 *   penstock.digests   u64 dataset id, u8 bucket                 -> struct pen_fmt_digest
 *   NAME               the user's key                            -> the user's bytes, nothing else
 */
#ifndef PEN_STORE_FORMAT_H
#define PEN_STORE_FORMAT_H

#include <stdint.h>

#include "include/penstock.h"
#include "ring/hash.h"

#define PEN_FORMAT_VERSION 1u
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
	PEN_KIND_RETENTION,
	PEN_KIND_REMOVED,
	PEN_KIND_TRIMMED,
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
	uint32_t unused;
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

/* What batches that were removed had put into a dataset that is still there. */
struct pen_fmt_removed {
	struct pen_head head;
	uint64_t entries; /* their committed - duplicates */
};

/* What was removed of a batch's rows. */
struct pen_fmt_trimmed {
	struct pen_head head;
	uint64_t below; /* no row of an item below this is left */
	uint64_t rejected, failed, skipped, other;
};

_Static_assert(sizeof(struct pen_fmt_retention) == 216, "retention");
_Static_assert(sizeof(struct pen_fmt_removed) == 16, "removed");
_Static_assert(sizeof(struct pen_fmt_trimmed) == 48, "trimmed");
_Static_assert(sizeof(struct pen_head) == 8, "head");
_Static_assert(sizeof(struct pen_fmt_meta) == 48, "meta");
_Static_assert(sizeof(struct pen_fmt_batch) == 104, "batch");
_Static_assert(sizeof(struct pen_fmt_counters) == 56, "counters");
_Static_assert(sizeof(struct pen_fmt_state) == 256, "state");
_Static_assert(sizeof(struct pen_fmt_item) == 64, "item");
_Static_assert(sizeof(struct pen_fmt_event) == 48, "event");
_Static_assert(sizeof(struct pen_fmt_dataset) == 56, "dataset");
_Static_assert(sizeof(struct pen_fmt_digest) == 24, "digest");

#endif
