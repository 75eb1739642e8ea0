/* SPDX-License-Identifier: MIT */
/*
 * plan - a request, owned: what a batch is to do, and with which sources
 *
 * A plan is a pen_run, copied and checked, with its sources expanded ("@list", globs), looked at (source.h) and hashed
 * into two identities: `identity` says it is the same request (absolute paths and the options that decide the
 * result), `content` says the sources still hold the same (device, inode, size, time, head and tail of files; paths,
 * sizes, inodes and times of every file of a tree). Pipes and terminals have neither, unless they are given a key.
 *
 *   Threads    one, the reader's; constant once it is looked at.
 *   Memory     one plan per batch, freed by its batch.
 *   Limits     PEN_SOURCES_MAX sources, each path below PATH_MAX.
 */
#ifndef PEN_ENGINE_PLAN_H
#define PEN_ENGINE_PLAN_H

#include <stdio.h>

#include "engine/backoff.h"
#include "engine/glob.h"
#include "engine/halt.h"
#include "engine/json.h"
#include "engine/source.h"
#include "store/order.h"
#include "engine/transform.h"

#define PEN_BULK_BYTES_MIN (1ull << 20) /* of memory for sorting */
#define PEN_BULK_BYTES_MAX (4ull << 30)

/* A pen_run, owned. */
struct pen_plan {
	struct pen_source *sources;
	uint32_t source_count;
	char *into, *key, *owner, *correlation_id, *idempotency_key;
	char traceparent[PEN_TRACEPARENT_MAX]; /* as it was given; "" */
	char *labels;			       /* joined by NUL bytes */
	size_t labels_len;
	enum pen_format format;
	enum pen_compression compression;
	enum pen_encoding encoding;
	enum pen_frame frame;
	struct pen_csv_options table; /* the dialect as given; strings are the plan's */
	char *header_names;
	enum pen_key key_kind;
	struct pen_pointer pointer; /* with PEN_KEY_POINTER, unless the key names a column */
	bool column;		    /* the key is no pointer: it names a column */
	enum pen_duplicate on_duplicate;
	enum pen_validate validate;
	enum pen_durability durability;
	uint64_t max_record;
	bool has_max_rejects;
	uint64_t max_rejects;
	uint32_t max_rejects_ratio;
	uint32_t chunk_items, pause_ms;
	uint32_t cut_items; /* of a chunk alone, where its batch is limited; 0: chunk_items says it */
	uint64_t rate_count, rate_window_ns; /* 0: no rate */
	bool limits;			     /* counts against its owner's policies */
	uint64_t chunk_bytes;
	bool fresh;
	bool puts; /* opened by the program: no sources */
	struct pen_filter filter;
	struct pen_walk_options tree; /* how directories are walked */
	bool items;		      /* the one source is a list of items */
	char terminator;	      /* of lines */
	enum pen_on_success on_success;
	char *move_to;		     /* absolute; "" */
	char live[PEN_LIVE_MAX][24]; /* names of the program's counters */
	char **wanted;		     /* sources as given, before they are looked at */
	size_t wanted_count;

	const char **flags; /* names of those that gate it, beside the batches' own */
	size_t flag_count;

	struct pen_transform transform; /* what is done to each item */
	uint32_t processors;		/* of the engine, for those who need something a processor; 0: 1 */
	size_t chunk_room;		/* of the engine's chunks; 0: the least there is */

	/* How items are worked on; command NULL: in the process. */
	struct {
		char *command; /* "exec:..." or "worker:...", as given */
		char *line;    /* what follows the colon, in it */
		bool worker;
		uint32_t jobs, window, max_crashes;
		uint64_t timeout_ns;
		uint64_t retry_for_ns; /* no try begins later than that after the first; 0: no limit */
		uint64_t memory_max, output_max; /* of a child; 0: no limit of ours */
		struct pen_backoff backoff;
		struct pen_halt halt;
		char **env;
		size_t env_count;
		bool cache;
		bool may_leave; /* it may leave the engine while all that is left waits */
	} job;
	enum pen_results results;
	enum pen_bulk_mode bulk;
	uint64_t bulk_bytes;

	/* Batches that are entered and taken up by somebody else, or may be. */
	char *packed; /* the request (order.h); NULL: nobody else could run it */
	size_t packed_len;
	struct pen_order *
		order; /* what is submitted with it; NULL: it runs at once. Borrowed strings are the plan's */
	char *dedup;   /* the key that stands for the request (dedup.h); NULL: none */
	enum pen_dedup_mode dedup_mode;
	uint64_t dedup_ttl_ms;
	uint64_t take;	      /* this batch, and no other */
	struct pen_caps caps; /* under which it is taken */
	uint32_t parents;     /* that it waited for */
	bool spooled;	      /* its source is a stream that was kept (spool.c) */
	bool fed;	      /* all of its items were given: only those that wait are left */

	bool has_identity;
	uint8_t identity[16], content[16];
	uint64_t bytes_total, items_total; /* 0: not known */
};

/* Copies and checks a pen_run. 0, -PEN_USAGE, -PEN_DATASET_NAME, -ENOMEM. Touches no file. */
int pen_plan_open(const struct pen_run *run, bool puts, struct pen_plan **ret, struct pen_failure *why);
void pen_plan_close(struct pen_plan *plan);
/*
 * Expands and looks at the sources. -PEN_SOURCE_OPEN, -PEN_UNSUPPORTED (a format this version cannot read),
 * -PEN_USAGE. Stops early with -PEN_INTERRUPTED_BY when *stop becomes true (a large tree takes time to look
 * at).
 */
int pen_plan_look(struct pen_plan *plan, const _Atomic bool *stop, struct pen_failure *why);

/* plan_tree.c: options about trees and lists, and what can only be checked once sources are known. */
int pen_plan_copy_tree(struct pen_plan *plan, const struct pen_run *run, struct pen_failure *why);
/* A list of items is a source like others, but for its name, which is taken as it stands, and its terminator. */
int pen_plan_copy_items(struct pen_plan *plan, const struct pen_run *run, struct pen_failure *why);
int pen_plan_check_tree(const struct pen_plan *plan, struct pen_failure *why);
/* Writes what of these options belongs to the identity; nothing when all are at their defaults. */
bool pen_plan_sign_tree(const struct pen_plan *plan, FILE *f);
/* plan_order.c: batches that are entered now and run later. */
/* Keeps the request as bytes, with what was made up for it. */
int pen_plan_pack(struct pen_plan *plan, const struct pen_run *run, struct pen_failure *why);
int pen_plan_open_submit(const struct pen_submit *submit, struct pen_store *store, struct pen_plan **ret,
			 struct pen_failure *why);
/* The plan of a batch in the store. -PEN_NOT_FOUND; -PEN_UNSUPPORTED: it was not submitted. */
int pen_plan_open_take(struct pen_store *store, uint64_t id, struct pen_plan **ret, struct pen_failure *why);
void pen_plan_free_order(struct pen_plan *plan);
/* The names of the sources, joined by NUL bytes; malloc'ed. NULL: no memory. */
char *pen_plan_join_sources(const struct pen_plan *plan, size_t *ret_len);
/* That of all sources, or auto where they differ. */
enum pen_format pen_plan_settled_format(const struct pen_plan *plan);
/* plan_job.c: the same of what is about processors. */
/* "exec:..." or "worker:...": what transform.h does not know. NULL is allowed. */
bool pen_plan_names_job(const char *processor);
int pen_plan_copy_job(struct pen_plan *plan, const struct pen_run *run, struct pen_failure *why);
void pen_plan_free_job(struct pen_plan *plan);
/* What its crew is opened with; ret->env is to be freed, in one piece. 0 or -ENOMEM. */
struct pen_crew_options;
struct pen_context;
int pen_plan_crew(const struct pen_plan *plan, uint64_t batch, const struct pen_context *context,
		  struct pen_crew_options *ret);
bool pen_plan_sign_job(const struct pen_plan *plan, FILE *f);
/* Its items end one by one, in any order. */
static inline bool pen_plan_is_job(const struct pen_plan *plan)
{
	return plan->job.command != NULL;
}

/* The same of tables, encodings and frames (plan.c). */
bool pen_plan_sign_table(const struct pen_plan *plan, FILE *f);

#endif
