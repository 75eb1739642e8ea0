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
	size_t key_len, raw_len, raw_total; /* raw is cut to PEN_RAW_MAX here, unless `tried` */
	uint16_t attempts;

	/* Of items that a processor worked on by themselves. */
	bool tried;
	bool replaces; /* there may be a row of this item already */
	uint64_t due_ms, ended_ms, spent_us;
	uint64_t
		since_ms; /* from the first try's begin to this one's end, rounded up to 10 ms; 0: not known */
	int16_t exit_status;
	uint8_t term_signal, form;
	uint16_t crashes;
	const char *message;	 /* cut at PEN_MESSAGE_MAX bytes; NULL: the code's sentence */
	const void *stderr_tail; /* cut, from the front, at PEN_STDERR_MAX bytes */
	size_t stderr_len;
};

#define PEN_MESSAGE_MAX 1024u
#define PEN_STDERR_MAX 4096u

/* Rows of a batch are put in rising order of seq where possible. */
int pen_item_put(struct pen_txn *txn, const struct pen_row *row);
/* Removes a row and its entries in the index. -PEN_NOT_FOUND. */
int pen_item_remove(struct pen_txn *txn, uint64_t batch, uint64_t seq);

/* Removes rows of committed items among first .. first + count - 1: their place says as much. */
int pen_item_forget_committed(struct pen_txn *txn, uint64_t batch, uint64_t first, uint32_t count);

/* A row in memory. Views point into the struct's own block. */
struct pen_item_copy {
	struct pen_row row;
	void *block; /* the caller frees it */
};
/* One row, from a snapshot of its own, or within a transaction. -PEN_NOT_FOUND. */
int pen_item_read(struct pen_store *store, uint64_t batch, uint64_t seq, struct pen_item_copy *ret);
int pen_item_load(struct pen_txn *txn, uint64_t batch, uint64_t seq, struct pen_item_copy *ret);
/*
 * Which of the items first .. first + count - 1 have a row: one bit each, from a snapshot. How many, or a code.
 */
int pen_item_which(struct pen_store *store, uint64_t batch, uint64_t first, uint32_t count,
		   uint8_t *ret_bits);
/* The highest item with a row: 0, or -PEN_NOT_FOUND. */
int pen_item_last(struct pen_store *store, uint64_t batch, uint64_t *ret_seq);

/* For index.c: enters a row that is not in the index yet. */
int pen_item_index(struct pen_txn *txn, uint64_t batch, uint64_t seq, const struct pen_fmt_item *item,
		   const struct pen_fmt_try *try);

/* The sentence for a code and its detail; the engine tells the store once how to say details of JSON flaws. */
void pen_item_set_detail(const char *(*detail)(uint8_t detail));

/*
 * For the other files of this room: a row as it lies in the store. *ret_tail points at its key, path and
 * raw bytes. 0, or -PEN_STORE_DAMAGED.
 */
int pen_item_decode(const void *key, size_t key_len, const void *value, size_t len, struct pen_fmt_item *ret,
		    const uint8_t **ret_tail);
/* The same, and what stands behind a tried item; ret_try->ended_ms is 0 for others. */
int pen_item_decode_try(const void *key, size_t key_len, const void *value, size_t len,
			struct pen_fmt_item *ret, struct pen_fmt_try *ret_try, const uint8_t **ret_tail);

#endif
