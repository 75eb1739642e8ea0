/* SPDX-License-Identifier: MIT */
/*
 * pages - how much room records take in LMDB, reckoned without writing them
 *
 * From the page format of LMDB 0.9 (mdb.c: NODESIZE, PAGEHDRSZ, LEAFSIZE, OVPAGES, me_nodemax):
 *
 *   a page            4,096 bytes (the system's page), of which 16 are its head
 *   a record          8 + key + value bytes, rounded up to even, and a pointer of 2
 *   a large record    one whose 8 + key + value exceed half a page (2,038): the value goes to pages of its own,
 *                     (15 + value) / 4096 + 1 of them, and 8 bytes stay in the leaf
 *   a branch entry    8 + key, rounded up to even, and a pointer of 2, for each page below
 *
 * How full pages are depends on the order keys come in:
 *
 *   appended    leaves are filled to the last record that fits; branches are split in the middle and left half
 *               full, because LMDB passes MDB_APPEND on to leaves only; those of fewer than 32 entries
 *               (mdb_page_split's keythresh) where the last one does not fit
 *   scattered   a full leaf is split in the middle, so it is between half full and full: 64 of 100 on average
 *               over loads of sorted groups, 58 to 70 in the loads measured (ln 2 = 69 is the limit for records that
 *               come one by one in random order)
 *
 * A load that begins in an empty dataset appends its first group whatever the order, because a group is
 * put in key order (PEN_PAGES_FIRST_RECORDS and _BYTES are where the committer closes that group).
 *
 * What a copy-on-write tree rewrites in one transaction is free again two transactions later, so data.mdb
 * outgrows what is in it: by little where keys are appended, and by up to as much again where they are
 * scattered, but by no more than two of the largest transactions hold (pen_pages_file). Overflow pages are
 * written once.
 *
 *   Threads    pure arithmetic.
 *   Limits     the estimate lies within 15 % of loads above a MiB (tests/store/test_pages.c).
 */
#ifndef PEN_STORE_PAGES_H
#define PEN_STORE_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PEN_PAGES_FIRST_RECORDS 10000u
#define PEN_PAGES_FIRST_BYTES (8ull << 20)

struct pen_pages {
	uint32_t page_size;
	uint64_t records;
	uint64_t leaf_bytes;   /* of nodes and their pointers */
	uint64_t leaves, used; /* when they are laid down one behind the other; bytes in the last one */
	uint64_t overflow;     /* pages */
	uint64_t key_bytes, value_bytes;
};

void pen_pages_init(struct pen_pages *pages, uint32_t page_size);
/* times: how many such records there are. */
void pen_pages_add(struct pen_pages *pages, size_t key_len, size_t value_len, uint64_t times);
/*
 * Bytes of pages all of it takes. appended: records whose keys lie above all before them (the rest is
 * scattered); empty: the dataset they go to has no record yet.
 */
uint64_t pen_pages_bytes(const struct pen_pages *pages, uint64_t appended, bool empty);
/* By how much data.mdb may grow at most for `bytes` of pages, when `scattered` bytes of leaves are written to in
 * scattered order. */
uint64_t pen_pages_file(uint64_t bytes, uint64_t scattered);

/* Pages of its own that a value takes, 0 when it lies in the leaf. */
uint64_t pen_pages_overflow(uint32_t page_size, size_t key_len, size_t value_len);

#endif
