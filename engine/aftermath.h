/* SPDX-License-Identifier: MIT */
/*
 * aftermath - what becomes of source files once their batch is complete and durable
 *
 * What was read is written down while it is read (owed.h): directory, path, device, inode, size and time of
 * each file. The list is sealed before the batch's last commit, so that from that commit on there is always a
 * sealed list or nothing left to do: a run that dies between is finished by the next one that is asked to
 * delete or move anything.
 *
 * A file is deleted or moved only if it is still the one that was read: same device, inode, size and time, in
 * the directory it was found in, and no symbolic link. Everything else is kept and counted; the first is
 * named. Nothing is ever overwritten. Of a batch with rejected or failed items every file is kept.
 *
 *   Threads    the reader's. Blocks for as long as the system calls take; carrying out looks at *stop between files.
 *   Memory     a few paths, however many files.
 *   Limits     moves stay on one file system (rename). Paths up to PEN_PATH_BYTES_MAX.
 *   Errors     none that end a batch: what cannot be done is said, and the files stay.
 */
#ifndef PEN_ENGINE_AFTERMATH_H
#define PEN_ENGINE_AFTERMATH_H

#include "engine/engine.h"
#include "engine/walk.h"

struct pen_aftermath;

/* Begins a batch's list. NULL: it cannot be kept (said), or nothing was asked for. */
struct pen_aftermath *pen_aftermath_open(struct pen_engine *engine, const struct pen_plan *plan,
					 uint64_t batch);
/* The files that follow lie below this source, a directory; or this source is a file. */
void pen_aftermath_tree(struct pen_aftermath *after, const struct pen_source *source);
void pen_aftermath_source(struct pen_aftermath *after, const struct pen_source *source);
void pen_aftermath_file(struct pen_aftermath *after, const struct pen_walk_file *file);
/* Sources that are not read in this run, because an earlier one did: files as they are, trees if they are
 * unchanged since the plan was made. unchanged: the plan's sources are those of that run. */
void pen_aftermath_earlier(struct pen_aftermath *after, const struct pen_plan *plan, uint32_t from,
			   uint32_t to, bool unchanged);
/* The list is not what was read: nothing will be done. why is for people. */
void pen_aftermath_spoil(struct pen_aftermath *after, const char *why);
/* Nothing more comes: synced, and there for later runs. */
void pen_aftermath_seal(struct pen_aftermath *after);
/* The batch is complete. counted: its numbers, in the end. */
void pen_aftermath_carry_out(struct pen_aftermath *after, const struct pen_fmt_counters *counted);
/* The batch is known not to be complete. */
void pen_aftermath_forget(struct pen_aftermath *after);
/* Forgets the list, unless it was sealed and not carried out to its end. NULL is allowed. */
void pen_aftermath_close(struct pen_aftermath *after);

/* Carries out what dead runs left behind. True: one was of this very request, and its batch is *ret_batch. */
bool pen_aftermath_recover(struct pen_engine *engine, const struct pen_plan *plan, uint64_t *ret_batch);
/* The directory to move to exists (or is made now) and lies in none of the sources. 0 or a failure. */
int pen_aftermath_check(const struct pen_plan *plan, struct pen_failure *why);

#endif
