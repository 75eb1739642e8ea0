/* SPDX-License-Identifier: MIT */
/*
 * transform - what is done to an item on its way: --processor and --where
 *
 *	copy                    nothing
 *	json                    it must be JSON, whatever the format
 *	digest[:xxh3|:sha256]   the value becomes the hash of itself, in hex
 *	project:FIELDS          some members of it (project.h)
 *	so:FILE[:SYMBOL]        what a plugin makes of it (plugin.h)
 *
 * All of them have one shape: an item goes in, a verdict comes back. Conditions (condition.h) come first. What is made
 * lies in the chunk, behind its text: `factor` and `each` say how much that can be, and the feed cuts chunks so that it
 * fits, whatever their size. So what becomes of an item does not depend on the chunk it came in.
 *
 *   Threads    parse, load, sign, fini: the plan's. apply: processor i with its own state.
 *   Memory     a hasher a processor; what a plugin allocates.
 *   Limits     a made value is at most factor * value + each bytes long.
 *   Errors     -PEN_USAGE, and those of a plugin; before anything runs. An item's are flaws.
 */
#ifndef PEN_ENGINE_TRANSFORM_H
#define PEN_ENGINE_TRANSFORM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>

#include "engine/condition.h"
#include "include/penstock.h"

struct pen_project;
struct pen_plugin_host;
struct pen_sha256;

enum pen_transform_kind {
	PEN_TRANSFORM_COPY = 0,
	PEN_TRANSFORM_JSON,
	PEN_TRANSFORM_XXH3,
	PEN_TRANSFORM_SHA256,
	PEN_TRANSFORM_PROJECT,
	PEN_TRANSFORM_PLUGIN,
};

struct pen_transform {
	enum pen_transform_kind kind;
	uint32_t factor; /* 0 or 1 */
	uint32_t each;	 /* bytes */
	bool json;	 /* items must be JSON */
	bool strict;	 /* in full, whatever --validate says */
	bool drops;	 /* it may leave items out */
	char *text;	 /* as given; NULL: copy */
	char *config;
	struct pen_condition where[PEN_CONDITION_MAX];
	char *where_text[PEN_CONDITION_MAX];
	uint32_t where_count;
	struct pen_project *project;
	struct pen_plugin_host *plugin;
	struct pen_sha256 **hashers; /* one a processor */
	uint32_t hasher_count;
};

/* Nothing is done, and nobody looks. */
static inline bool pen_transform_idle(const struct pen_transform *t)
{
	return t->kind <= PEN_TRANSFORM_JSON && !t->where_count;
}

/* Room for what is made of so many bytes and items. */
static inline uint64_t pen_transform_room(const struct pen_transform *t, uint64_t bytes, uint64_t items)
{
	return t->factor * bytes + items * t->each;
}

/* How much text fits into so much room with what is made of it, if it is so many items; 0: none. */
static inline size_t pen_transform_text(const struct pen_transform *t, size_t room, uint64_t items)
{
	uint64_t made = items * t->each;

	return made < room ? (size_t)(room - made) / (1 + t->factor) : 0;
}

/* How many items a chunk with so much room should have at most: a third of it may be what they need each. */
static inline uint32_t pen_transform_items(const struct pen_transform *t, size_t room)
{
	uint64_t n = t->each ? room / 3 / t->each : UINT32_MAX;

	return n ? (uint32_t)(n < UINT32_MAX ? n : UINT32_MAX) : 1;
}

/* Of run->processor, processor_config and where. Touches no file. 0, -PEN_USAGE, -ENOMEM. */
int pen_transform_parse(struct pen_transform *t, const struct pen_run *run, struct pen_failure *why);
/* Makes what the processors need: loads a plugin. room: of a chunk. */
int pen_transform_load(struct pen_transform *t, uint32_t processors, size_t room, struct pen_failure *why);
void pen_transform_fini(struct pen_transform *t);
/* Writes what of it belongs to a batch's identity: nothing when it is copy without a condition. */
bool pen_transform_sign(const struct pen_transform *t, FILE *f);

struct pen_transform_item {
	const char *value, *key, *path; /* key NULL: there is none yet; path: never NULL */
	size_t value_len, key_len;
	uint64_t seq, offset, line;
	bool may_key; /* keys come from the data, so another one may be given */
	const _Atomic bool *stop;
	const struct pen_context *context; /* for a plugin; NULL: there is none */
	char *out; /* room for factor * value_len + each bytes; what is made lies at its front */
};
enum pen_transform_verdict { PEN_TRANSFORM_KEPT = 0, PEN_TRANSFORM_MADE, PEN_TRANSFORM_FLAW };
struct pen_transform_result {
	enum pen_transform_verdict verdict;
	int code;		/* FLAW: PEN_WHERE_FALSE and PEN_PLUGIN_DROPPED are no rejects */
	size_t value_len;	/* MADE: at out */
	size_t key_at, key_len; /* key_len not 0: another key, from out on */
	size_t message_len;	/* FLAW: of a sentence at out, with a NUL behind; 0: none */
};
void pen_transform_apply(struct pen_transform *t, uint32_t processor, const struct pen_transform_item *item,
			 struct pen_transform_result *ret);

/* Is an item with this code left out, rather than rejected? */
static inline bool pen_transform_drops(int code)
{
	return code == -PEN_WHERE_FALSE || code == -PEN_PLUGIN_DROPPED;
}

#endif
