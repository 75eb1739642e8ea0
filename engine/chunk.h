/* SPDX-License-Identifier: MIT */
/*
 * chunk - the run of items that travels through the pipeline in one arena buffer
 *
 * A chunk has exactly one owner at a time: the reader (or the submitting program) fills it, a processor
 * turns its bytes into puts and flaws, the committer applies it and gives its tag back after the commit.
 * Ownership moves with the pointer through a lane, and the lane's ordering is all the synchronisation there is.
 *
 * A slot of the arena is cut into three parts:
 *
 *	data    the input's bytes, behind them values made from them, and 64 readable bytes (JSON needs them)
 *	keys    paths, and keys that do not stand in the data
 *	table   puts from the front, flaws from the back; together never more than PEN_CHUNK_ITEMS
 *
 * A record that does not fit into a slot lies in a jumbo buffer instead (feed.c); data then points there.
 */
#ifndef PEN_ENGINE_CHUNK_H
#define PEN_ENGINE_CHUNK_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/json.h"
#include "engine/split.h"
#include "ring/base.h"
#include "ring/hash.h"
#include "store/format.h"

#define PEN_CHUNK_BYTES (256u << 10) /* of data, by default */
#define PEN_CHUNK_BYTES_MIN (1u << 10)
#define PEN_CHUNK_BYTES_MAX (4u << 20)
#define PEN_CHUNK_ROOM_MIN (64u << 10) /* of data, however small the chunks: for values made from records */
#define PEN_CHUNK_ITEMS 4096u	       /* per chunk; the table is sized by it */
#define PEN_CHUNK_MADE_KEY 16u	       /* bytes of a key that is made, at most */
/* Room in keys beyond one byte per byte of data: a path, and a made key for each item. */
#define PEN_CHUNK_PATHS ((8u << 10) + PEN_CHUNK_MADE_KEY * PEN_CHUNK_ITEMS)

struct pen_batch;

/* One record to be put. 32 bytes, so that two share a cache line. */
struct pen_entry {
	uint64_t prefix;  /* the key's first 8 bytes, big-endian, zero-filled: compares like the key */
	uint32_t key_at;  /* in keys, or in data (PEN_KEY_IN_DATA) */
	uint16_t key_len; /* 1 .. 511; 8 with PEN_KEY_IS_PREFIX */
	uint16_t flags;
	uint32_t at, len; /* the value, in data */
	uint32_t item;	  /* in this chunk, from 0 */
	uint32_t line;	  /* lines before it in this chunk; files: its path in keys; puts: its sqe */
};
#define PEN_KEY_IN_DATA 1u
#define PEN_KEY_IS_PREFIX 2u /* the key is the prefix itself, big-endian */
#define PEN_ENTRY_REFUSED 4u /* set by the committer: its key was there and the policy rejects */
#define PEN_ENTRY_STAYED 8u  /* set by the committer: its key was there, and what was there stays */
#define PEN_VALUE_MADE 16u   /* the value does not stand in the text: it was made of the record */

/* One item that was rejected, or left out (transform.h). */
struct pen_flaw {
	uint32_t item;
	uint32_t line;	  /* as in pen_entry */
	uint32_t at, len; /* its bytes, in data (len <= what is there) */
	uint64_t total;	  /* its true length */
	uint32_t
		column; /* byte of the record, from 1; 0: not known. PEN_FLAW_SAYS: where its sentence is, in data */
	uint16_t code; /* positive PEN_ number */
	uint8_t detail;
	uint8_t unused;
};

#define PEN_FLAW_SAYS 255u /* detail: it has a sentence of its own, which ends with NUL */

_Static_assert(sizeof(struct pen_entry) == 32, "two entries a cache line");
_Static_assert(sizeof(struct pen_flaw) == 32, "entries and flaws share one table");

enum pen_chunk_kind {
	PEN_CHUNK_RECORDS = 1, /* lines; the processor splits them */
	PEN_CHUNK_FILES,       /* entries made by the reader: value and path of each file */
	PEN_CHUNK_PUTS,	       /* entries made by the submitting program */
	PEN_CHUNK_FLAW,	       /* no data to process: flaws made by the reader */
	/* No item; travel in order with the chunks, or beside them (BEGIN): */
	PEN_CHUNK_BEGIN,
	PEN_CHUNK_PAUSE,
	PEN_CHUNK_RESUME,
	PEN_CHUNK_END,
	PEN_CHUNK_RESULTS, /* how single items ended (result.h); behind none, before none */
};

/* Where a resumed run would go on: the first byte no item so far covers. */
struct pen_place {
	uint32_t source;
	uint32_t context; /* split.h */
	uint32_t
		told; /* of an identified stream: what it was told to be, 24 bits; 0: nothing had to be told */
	uint64_t offset;
	uint64_t line; /* lines before it */
	uint64_t
		passed; /* bytes of the sources behind it, as they lie on disk: what progress is measured in */
	uint64_t files; /* of a tree, up to and including path */
	struct pen_sum paths, content;
	const char *path; /* in keys of the chunk; NULL: no tree */
};

struct pen_chunk {
	struct pen_batch *batch;
	uint32_t tag; /* PEN_TAG_NONE for chunks without a slot */
	enum pen_chunk_kind kind;
	uint64_t seq; /* in the batch, gapless from 0: the order of commits */

	char *data;	     /* the slot's, or the jumbo buffer's */
	uint32_t begin, end; /* the input's bytes in data */
	uint32_t capacity;   /* of the slot's data, without the padding; at least PEN_CHUNK_ROOM_MIN */
	size_t room;	     /* bytes of data: for the text and, behind it, what is made of it */
	char *keys;
	uint32_t keys_used, keys_cap;
	struct pen_entry *table;
	uint32_t entry_count, flaw_count;

	struct pen_rules rules; /* how it was cut, and is taken apart */
	uint32_t context;	/* where its text begins; split.h */
	struct pen_csv *csv;	/* the reference that keeps rules.csv; the reader's */
	uint32_t source;	/* number of its source */
	const char *path;	/* of its file in a tree (in keys), or NULL */
	uint64_t base_offset;	/* of data[begin] in its source */
	uint64_t first_line;	/* lines before it in its source */
	uint64_t first_item;	/* items before it in its batch */
	uint32_t items;		/* counted by the reader */
	uint64_t bytes;		/* of input it stands for, unpacked */
	struct pen_place after;

	bool append; /* entries are in key order as they stand, by construction */
	bool shuffled; /* they were not, as they came */
	bool jumbo;
	struct pen_sum sums[PEN_BUCKETS]; /* digests of the entries, by bucket of the key */

	/* The reader's, while reads into the chunk are in flight. */
	uint32_t pending;
	struct pen_chunk *next; /* later whose list it is in: the foreman's, then the committer's */
	/* The foreman's: entries handed to the crew, and those without an end. */
	uint32_t given, left;
	bool undecided; /* not all of its items ended: the place stays before it */
	/* Control chunks: the answer, or the reason; and whom to tell. */
	int res;
	uint32_t sqe;
	bool beside; /* a note that has no number: it does not wait for what was cut before */
	/* Chunks of puts, until the reader has found their batch. */
	uint64_t batch_id;
};

static inline struct pen_flaw *pen_chunk_flaw(const struct pen_chunk *chunk, uint32_t i)
{
	return (struct pen_flaw *)&chunk->table[PEN_CHUNK_ITEMS - 1 - i];
}

/* What the flaw says beyond its code; "" when that is all. */
static inline const char *pen_flaw_message(const struct pen_chunk *chunk, const struct pen_flaw *flaw)
{
	return flaw->detail == PEN_FLAW_SAYS ? chunk->data + flaw->column : "";
}

/* A new flaw, in item order when called in item order. The table has room: one entry or flaw per item. */
struct pen_flaw *pen_chunk_add_flaw(struct pen_chunk *chunk, uint32_t item, uint32_t line, int code);

static inline const char *pen_entry_text(const struct pen_chunk *chunk, const struct pen_entry *e)
{
	return ((e->flags & PEN_KEY_IN_DATA) ? chunk->data : chunk->keys) + e->key_at;
}

/* The entry's key: its bytes, or made from its prefix in buf. */
static inline const void *pen_entry_key(const struct pen_chunk *chunk, const struct pen_entry *e,
					uint8_t buf[8])
{
	if (!(e->flags & PEN_KEY_IS_PREFIX))
		return pen_entry_text(chunk, e);
	pen_put_be64(buf, e->prefix);
	return buf;
}
/* Takes entries out whose item has its bit set. */
void pen_chunk_leave_out(struct pen_chunk *chunk, const uint8_t bits[PEN_CHUNK_ITEMS / 8]);
/* Order of keys as LMDB sorts them: < 0, 0, > 0. */
int pen_entry_compare(const struct pen_chunk *a, const struct pen_entry *x, const struct pen_chunk *b,
		      const struct pen_entry *y);

/* Copies bytes into keys; returns their place, or UINT32_MAX when there is no room. */
uint32_t pen_chunk_add_key(struct pen_chunk *chunk, const void *data, size_t len);

/* Bytes of a slot for chunks of chunk_bytes. */
size_t pen_chunk_slot_bytes(uint32_t chunk_bytes);
/* Ties the chunk to its slot: once, at start. */
void pen_chunk_bind(struct pen_chunk *chunk, uint32_t tag, char *slot, uint32_t chunk_bytes);
/* Empties it for its next use; data points to the slot again. */
void pen_chunk_reset(struct pen_chunk *chunk);

#endif
