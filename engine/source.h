/* SPDX-License-Identifier: MIT */
/*
 * source - what a batch reads from, told apart
 *
 * Expands what was named (globs, "@list"), opens each source once, and says what it is: file, tree or stream; packed
 * or not; an archive, a table, records, lines. What is broken inside a file shows when it is read; what cannot be read
 * at all stops the batch before anything runs.
 *
 *   Threads    one, the reader's.
 *   Memory     owned by the plan.
 */
#ifndef PEN_ENGINE_SOURCE_H
#define PEN_ENGINE_SOURCE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/csv.h"
#include "engine/walk.h"
#include "ring/hash.h"
#include "store/format.h"

struct pen_plan;

enum pen_source_kind { PEN_SOURCE_FILE = 1, PEN_SOURCE_TREE, PEN_SOURCE_STREAM };

struct pen_source {
	char *path; /* as given */
	enum pen_source_kind kind;
	enum pen_format format;		  /* settled; auto for streams, which the feed tells apart */
	enum pen_compression compression; /* settled for files */
	bool decodes;			  /* a file whose text must be unpacked or converted */
	bool archive;			  /* a file whose members are the items */
	struct pen_csv *csv;		  /* of a file that is a table; owned */
	uint64_t dev, ino, size;
	int64_t mtime_ns;
	uint64_t files;	    /* of a tree */
	struct pen_sum sum; /* of a tree: of its files' hashes */
};

/* Adds what `want` stands for to the plan's sources. 0, -PEN_SOURCE_OPEN, -PEN_USAGE, -ENOMEM. */
int pen_source_expand(struct pen_plan *plan, const char *want, struct pen_failure *why);
/*
 * Looks at one source and checks that it fits the plan's key and options. parts: hashes of what files, and trees, hold;
 * continued. -PEN_SOURCE_OPEN, -PEN_USAGE, -ENOMEM; -PEN_INTERRUPTED_BY when *stop becomes true (a large tree takes
 * time to look at).
 */
int pen_source_look(struct pen_plan *plan, struct pen_source *source, const _Atomic bool *stop,
		    struct pen_sum parts[2], struct pen_failure *why);
/* plan_tree.c: the part of it about directories. */
int pen_source_look_tree(struct pen_plan *plan, struct pen_source *source, int fd, const _Atomic bool *stop,
			 struct pen_sum *sum, struct pen_failure *why);

/* Must the text be unpacked or converted before it is read? */
bool pen_source_decodes(const struct pen_plan *plan, enum pen_compression compression, const char *text,
			size_t len);
/*
 * Finds out what a text is that no name or option tells (streams; files of trees): *ret_format, and for a table its
 * dialect. 0, -PEN_USAGE (the key or a dialect option does not fit), -ENOMEM.
 */
int pen_source_sniff(const struct pen_plan *plan, const char *name, const char *text, size_t len, bool whole,
		     enum pen_format *ret_format, struct pen_csv **ret_csv, struct pen_failure *why);

/* Opens a file or directory source for reading: the descriptor, or -errno. */
int pen_source_open(const struct pen_source *source);
/* The file is still what it was when it was looked at. */
bool pen_source_same(const struct pen_source *source, int fd);

#endif
