/* SPDX-License-Identifier: MIT */
/*
 * result - how single items ended, packed for the committer
 *
 * The foreman fills a pack from what its crew says, the committer applies it in the transaction of its group and gives
 * it back. Everything that can be done without the store is done while it is filled: values and keys are copied
 * once, digests summed, due times set.
 *
 *   Threads    a pack has one owner at a time, like a chunk.
 *   Memory     PEN_PACK_BYTES for what results hold, grown for a single larger one and given back after it.
 *   Limits     PEN_PACK_RESULTS results; full from PEN_PACK_DEEDS deeds on.
 */
#ifndef PEN_ENGINE_RESULT_H
#define PEN_ENGINE_RESULT_H

#include "engine/chunk.h"
#include "engine/crew.h"
#include "engine/recall.h"
#include "store/dataset.h"
#include "store/job.h"

#define PEN_PACK_RESULTS 1024u
#define PEN_PACK_BYTES (256u << 10)
#define PEN_PACK_DEEDS 4096u
/* The form of a row whose item is a file by itself (beside enum pen_task_form): its bytes lie there, and only there. */
#define PEN_RESULT_FILE 2u

/* A place in a pack's data. */
struct pen_piece {
	uint32_t at, len;
};

struct pen_result {
	uint64_t seq;
	uint64_t line, offset, due_ms, ended_ms, spent_us, since_ms;
	uint32_t source;
	int code;
	struct pen_piece key, value, raw, path, message, stderr_tail;
	uint32_t deeds_at, deed_count; /* in the pack's */
	uint32_t attempts, crashes;
	bool nothing; /* committed, and its worker wants nothing put under its key */
	bool keep;    /* its value, in the cache, under: */
	struct pen_cache_key cache;
	int16_t exit_status;
	uint8_t term_signal;
	uint8_t state; /* enum pen_item_state */
	uint8_t form;  /* enum pen_task_form */
	bool again;    /* it has one: it was retrying */
	bool late;     /* it failed because its next try would begin too late */
};

struct pen_pack_deed {
	struct pen_piece dataset, key, value; /* dataset ends with NUL */
	bool del;
};

struct pen_pack {
	struct pen_chunk chunk; /* kind PEN_CHUNK_RESULTS: what goes through lanes */
	struct pen_pack *next;	/* the foreman's list of free ones */
	bool out;		/* the foreman's: the committer has it */
	uint64_t id;		/* of the batch, which may be gone when the pack comes back */
	uint64_t began_ns;
	uint64_t due_ms;   /* the earliest next try in it; UINT64_MAX: none */
	uint64_t clock_ms; /* of its batch, when it was sent (due.h) */
	uint32_t count;
	struct pen_result results[PEN_PACK_RESULTS];
	struct pen_pack_deed *deeds;
	uint32_t deed_count, deed_cap;
	char *data;
	size_t used, cap;
	struct pen_sum sums[PEN_BUCKETS]; /* of the records that are to be put */
	uint64_t tries, retries, crashes, cost_ns, cache_hits, cache_misses;
};

int pen_pack_open(struct pen_pack **ret);
void pen_pack_close(struct pen_pack *pack);
/* Empties it, for results of a batch. */
void pen_pack_reset(struct pen_pack *pack, struct pen_batch *batch, uint64_t now_ns);
bool pen_pack_full(const struct pen_pack *pack);
/* 0, or -ENOMEM and the pack's data as it was. */
int pen_pack_add(struct pen_pack *pack, const void *data, size_t len, struct pen_piece *ret);
/* Up to PEN_CREW_DEEDS_MAX of them. */
int pen_pack_add_deeds(struct pen_pack *pack, const struct pen_deed *deeds, uint32_t count);

/* What a transaction does to the batch beside its records. */
struct pen_tally {
	struct pen_fmt_counters *n;
	struct pen_fmt_job *job;
	uint64_t items_end; /* behind the last item that ended */
	uint32_t told;	    /* events of single items in this transaction */
};
/* Applies a pack: records, rows, counters, events. The committer's; 0 or a code. */
int pen_pack_apply(struct pen_pack *pack, struct pen_txn *txn, struct pen_dataset *ds,
		   struct pen_tally *tally);

#endif
