/* SPDX-License-Identifier: MIT */
#include "store/pages.h"

#include "ring/base.h"

#define HEAD 16u /* of a page */
#define NODE 8u	 /* of a node */
#define POINTER 2u
#define DIRTY_BYTES_MAX (96ull << 20) /* the committer's bound on one transaction */
#define GENERATIONS 2		      /* of pages that cannot be used again yet */
#define FILL_APPENDED 1.0
#define FILL_SCATTERED 0.64
#define BRANCH_APPENDED 0.5	/* split in the middle and never filled again */
#define BRANCH_APPENDED_FEW 1.0 /* split where the last entry does not fit: LMDB's keythresh */
#define KEYTHRESH 32
#define BRANCH_SCATTERED 0.64

void pen_pages_init(struct pen_pages *pages, uint32_t page_size)
{
	*pages = (struct pen_pages){ .page_size = page_size };
}

uint64_t pen_pages_overflow(uint32_t page_size, size_t key_len, size_t value_len)
{
	/* me_nodemax: two nodes and their pointers fit into a page behind its head. */
	size_t node_max = (((page_size - HEAD) / 2) & ~(size_t)1) - POINTER;

	if (NODE + key_len + value_len <= node_max)
		return 0;
	return (HEAD - 1 + value_len) / page_size + 1;
}

static uint64_t node_bytes(size_t key_len, size_t value_len)
{
	return ((NODE + key_len + value_len + 1) & ~1ull) + POINTER;
}

void pen_pages_add(struct pen_pages *pages, size_t key_len, size_t value_len, uint64_t times)
{
	uint64_t own = pen_pages_overflow(pages->page_size, key_len, value_len);
	uint64_t node = node_bytes(key_len, own ? sizeof(uint64_t) : value_len);
	uint64_t room = pages->page_size - HEAD, fit;

	pages->records += times;
	pages->overflow += own * times;
	pages->leaf_bytes += node * times;
	pages->key_bytes += key_len * times;
	pages->value_bytes += value_len * times;
	if (!pages->leaves) {
		pages->leaves = 1;
		pages->used = 0;
	}
	/* Those that fit into the open leaf, then whole leaves of them. */
	fit = pen_min((room - pages->used) / node, times);
	pages->used += fit * node;
	times -= fit;
	if (!times)
		return;
	fit = room / node;
	pages->leaves += (times + fit - 1) / fit;
	pages->used = ((times - 1) % fit + 1) * node;
}

/* Pages of the levels above. */
static double branches(double leaves, double key_len, bool appended, uint32_t page_size)
{
	double entry = NODE + POINTER + key_len, sum = 0, fill = BRANCH_SCATTERED;

	if (appended)
		fill = (page_size - HEAD) / entry < KEYTHRESH ? BRANCH_APPENDED_FEW : BRANCH_APPENDED;
	for (int depth = 0; depth < 32 && leaves > 1; depth++) {
		leaves = leaves * entry / ((page_size - HEAD) * fill);
		leaves = leaves < 1 ? 1 : leaves;
		sum += leaves;
	}
	return sum;
}

uint64_t pen_pages_bytes(const struct pen_pages *pages, uint64_t appended, bool empty)
{
	double records = (double)pages->records, share, key_len, packed, loose, sum;
	double first = pages->value_bytes ? (double)PEN_PAGES_FIRST_BYTES * records /
						    (double)(pages->value_bytes + pages->key_bytes)
					  : PEN_PAGES_FIRST_RECORDS;

	if (!pages->records)
		return 0;
	first = first < PEN_PAGES_FIRST_RECORDS ? first : PEN_PAGES_FIRST_RECORDS;
	if (empty && records <= first)
		appended = pages->records;
	share = (double)pen_min(appended, pages->records) / records;
	key_len = (double)pages->key_bytes / records;
	packed = (double)pages->leaves * share / FILL_APPENDED;
	loose = (double)pages->leaf_bytes * (1 - share) / ((pages->page_size - HEAD) * FILL_SCATTERED);
	sum = packed + loose + (double)pages->overflow;
	sum += branches(packed, key_len, true, pages->page_size);
	sum += branches(loose, key_len, false, pages->page_size);
	return (uint64_t)sum * pages->page_size;
}

uint64_t pen_pages_file(uint64_t bytes, uint64_t scattered)
{
	return bytes + pen_min(scattered, GENERATIONS * DIRTY_BYTES_MAX);
}
