/* SPDX-License-Identifier: MIT */
/*
 * item - rows of items that were not simply committed
 */
#ifndef PEN_STORE_ITEM_H
#define PEN_STORE_ITEM_H

#include "store/format.h"
#include "store/txn.h"

struct pen_row {
	uint64_t batch, seq;
	enum pen_item_state state;
	int code;
	uint8_t detail;
	uint32_t source;
	const char *path; /* in a tree; NULL or "" otherwise */
	uint64_t line, offset, column;
	const void *key, *raw;
	size_t key_len, raw_len, raw_total; /* raw is cut to PEN_RAW_MAX here */
	uint16_t attempts;
};

/* Rows of a batch are put in rising order of seq where possible. */
int pen_item_put(struct pen_txn *txn, const struct pen_row *row);

/* The sentence for a code and its detail; the engine tells the store once how to say details of JSON flaws. */
void pen_item_set_detail(const char *(*detail)(uint8_t detail));

/*
 * For the other files of this room: a row as it lies in the store. *ret_tail points at its key, path and
 * raw bytes. 0, or -PEN_STORE_DAMAGED.
 */
int pen_item_decode(const void *key, size_t key_len, const void *value, size_t len, struct pen_fmt_item *ret,
		    const uint8_t **ret_tail);

#endif
