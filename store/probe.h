/* SPDX-License-Identifier: MIT */
/*
 * probe - looks into a dataset key by key, without writing
 *
 * Tells what pen_dataset_use would answer, and whether keys are there. A snapshot is held from begin to end only,
 * so that a long look keeps no writer from using old pages again; between two snapshots others may write.
 *
 *   Threads    one at a time.
 *   Memory     one block, and a reader slot of the store from begin to end.
 */
#ifndef PEN_STORE_PROBE_H
#define PEN_STORE_PROBE_H

#include "store/store.h"

struct pen_probe;

struct pen_probe_facts {
	bool exists; /* false: it would be made, and nothing below means anything */
	uint64_t id;
	uint64_t entries;
	uint64_t bytes; /* of its pages */
	uint64_t next_seq;
	uint64_t feeder; /* the unfinished batch that appends by @seq, 0: none */
};

/* 0, or the code with which pen_dataset_use would refuse. */
int pen_probe_open(struct pen_store *store, const char *name, enum pen_key key_kind, struct pen_probe **ret,
		   struct pen_failure *why);
void pen_probe_close(struct pen_probe *probe); /* NULL is allowed */
const struct pen_probe_facts *pen_probe_facts(const struct pen_probe *probe);

/* A snapshot, of a dataset that exists. 0 or a code (it may have been dropped since: -PEN_NO_DATASET). */
int pen_probe_begin(struct pen_probe *probe);
void pen_probe_end(struct pen_probe *probe);
/* 1: the key is there, 0: it is not, or a negative code. */
int pen_probe_has(struct pen_probe *probe, const void *key, size_t key_len);
/* The highest key: its length, 0 when the dataset is empty, or a negative code. */
int pen_probe_last(struct pen_probe *probe, uint8_t ret_key[PEN_KEY_MAX]);

#endif
