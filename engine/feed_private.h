/* SPDX-License-Identifier: MIT */
/*
 * feed_private - what the files of a feed share
 *
 *   feed.c          life, sources, breaks, sending
 *   feed_records.c  lines of files and streams, records larger than a chunk
 *   feed_stream.c   streams: waiting for writers, what is read again of them
 *   feed_files.c    trees, packs of small files, whole files
 *   feed_archive.c  members of archives
 */
#ifndef PEN_ENGINE_FEED_PRIVATE_H
#define PEN_ENGINE_FEED_PRIVATE_H

#include "engine/aftermath.h"
#include "engine/decode.h"
#include "engine/feed.h"
#include "engine/walk.h"

#define PEN_FEED_IDLE_NS (20 * PEN_NS_PER_MS)
/* How long a silent stream may keep one waiting for enough of it to tell what it is. */
#define PEN_FEED_LOOK_NS PEN_NS_PER_S
/* So much of a text tells what it is, and never more: a run that goes on in it must come to the same answer. */
#define PEN_FEED_SAMPLE PEN_CSV_SAMPLE

enum feed_state {
	FEED_SOURCE = 1, /* open the next source */
	FEED_FILE,	 /* open the next file of the tree */
	FEED_WRITER,	 /* a FIFO waits for somebody to write */
	FEED_PREFIX,	 /* read again what earlier runs committed of a stream */
	FEED_RECORDS,	 /* read records */
	FEED_JUMBO,	 /* a record larger than a chunk */
	FEED_SKIP,	 /* the rest of a record larger than it may be */
	FEED_PACK,	 /* fetch files of the tree */
	FEED_WHOLE,	 /* one file, one item, through its own descriptor */
	FEED_ARCHIVE,	 /* members of an archive, each an item */
	FEED_BREAK,	 /* the open file broke: leave a rejected item and go on */
	FEED_PUTS,	 /* the program brings the records */
	FEED_OVER,	 /* nothing more to read */
	FEED_ENDED,	 /* END is sent */
};

/* One small file on its way. */
struct fetch {
	struct pen_io_req req; /* first: pen_feed_of and done cast back */
	struct pen_chunk *pack;
	struct fetch *next;
	uint32_t item;
	uint32_t tries;
	uint64_t ino, size;
	int64_t mtime_ns;
};

struct pen_feed {
	struct pen_io_req req; /* the sequential read; `user` of every request is the feed */
	struct pen_engine *engine;
	struct pen_batch *batch;
	uint32_t user;
	enum feed_state state;
	bool busy; /* the sequential read is in flight */
	bool paused;
	bool stopping;
	int stop_code;

	/* What has been numbered. */
	uint64_t seq, items;

	/* The source and file that are read. */
	uint32_t next_source, source;
	uint32_t summed;	/* sources whose sizes `passed` holds */
	struct pen_rules rules; /* of the open file; format auto: not told apart yet */
	const struct pen_splitter *splitter;
	struct pen_csv *csv;	   /* the reference that keeps rules.csv */
	bool looked;		   /* a stream: whether it must be decoded is known */
	bool hurry;		   /* it fell silent before that: look as soon as its read is back */
	bool table_said;	   /* a dialect was named to people */
	struct pen_decode *decode; /* the open file goes through it; NULL: read as it is */
	bool waiting;		   /* for the decoder, which wakes the reader */
	uint64_t packed;	   /* bytes of the file that the decoder has used up */
	uint64_t behind;	   /* bytes of the sources before this one, and of the tree's files so far */
	int root, fd;		   /* the tree's directory; the open file */
	struct pen_walk *walk;
	bool in_tree, stream;
	bool again;		/* a stream whose beginning is to be compared with what was committed of it */
	bool checked;		/* the tree behind the checkpoint was compared with what was read then */
	struct pen_source file; /* facts of the open file, to notice changes */
	char path[PEN_PATH_BYTES_MAX + 1]; /* below the tree's root */
	char name[PEN_PATH_BYTES_MAX + 1]; /* of the open file, for messages and as @path */
	uint64_t read_at;		   /* offset of the next byte to read */
	uint64_t cut_at;		   /* offset of the first byte that is in no chunk yet */
	uint64_t lines;			   /* before cut_at */
	uint32_t context;		   /* at cut_at; split.h */
	uint32_t told;			   /* chunk.h */
	uint64_t lead;			   /* bytes behind cut_at that stand before the first record */
	uint64_t lead_lines;		   /* lines in them */
	bool eof;
	uint64_t tree_files;
	struct pen_sum tree_paths, tree_content;
	/* Of an identified stream, what feed_stream.c says; NULL elsewhere. */
	struct pen_hash_stream *passed, *piece;
	uint64_t passed_bytes;
	uint64_t prefix_left; /* bytes to pass again */

	/* Records. */
	struct pen_chunk *chunk; /* being read into */
	uint32_t used;		 /* bytes in it */
	uint32_t sent;		 /* bytes at its front that have left as a copy (streams) */
	char *carry;
	uint32_t carry_len;
	uint32_t record_bytes; /* running average, decides how much is read for a chunk */
	uint32_t room_bytes;   /* text that lately filled a chunk together with what is made of it */
	uint64_t fresh_ns;     /* when the oldest unsent byte of a stream came; 0: none */

	/* The jumbo record, and whole files. */
	uint64_t jumbo_used;
	uint32_t raw_len;     /* bytes of a record that is too large, kept in the chunk's own slot */
	struct pen_seek seek; /* for the jumbo record's end */
	bool holds_jumbo;
	struct pen_jumbo *jumbo; /* that it holds, or held last */

	/* The open archive; its members' bytes so far are counted by jumbo_used. */
	struct pen_archive *archive;
	struct pen_member *member; /* the one in hand; allocated with the first archive */
	uint64_t members;	   /* before it */
	bool in_member;

	struct pen_aftermath *after; /* what becomes of the files; NULL: they are kept */

	/* A break that waits for a tag. */
	int break_code, break_error;

	/* Packs. */
	struct pen_chunk *pack;
	struct fetch *fetches, *fetch_free;
	uint32_t fetches_out;
	struct pen_walk_file ahead; /* looked at, but did not fit yet */
	bool has_ahead;
};

/* Items of a chunk at most; 0: nobody said. */
static inline uint32_t pen_feed_items_max(const struct pen_feed *feed)
{
	const struct pen_plan *plan = feed->batch->plan;

	return plan->chunk_items ? plan->chunk_items : plan->cut_items;
}

/* A chunk for the open file, with its path in keys when it lies in a tree; NULL when no tag is free. */
struct pen_chunk *pen_feed_get_chunk(struct pen_feed *feed);
void pen_feed_put_chunk(struct pen_feed *feed, struct pen_chunk *chunk);
bool pen_feed_take_jumbo(struct pen_feed *feed);
void pen_feed_drop_jumbo(struct pen_feed *feed);
/* Room in it for so many bytes and what is made of them; it may move. False: it cannot grow so far. */
bool pen_feed_grow_jumbo(struct pen_feed *feed, uint64_t bytes);
/* Numbers the chunk and the items in it. */
void pen_feed_number(struct pen_feed *feed, struct pen_chunk *chunk);
struct pen_place pen_feed_place(const struct pen_feed *feed, uint64_t offset, uint64_t line,
				const char *path);
/* The open file cannot be read on. error: -errno or 0. */
void pen_feed_break(struct pen_feed *feed, int code, int error);
int pen_feed_break_code(int error);
/* Done with the open file: on to the next one. */
void pen_feed_close_file(struct pen_feed *feed);
/* False: the open file changed since it was looked at, and is being broken off. */
bool pen_feed_still_same(struct pen_feed *feed);
/* Queues the sequential read. False: no room now. */
bool pen_feed_read(struct pen_feed *feed, void *to, size_t len, int64_t offset);
/* Ready to read the file in feed->fd from a place on (NULL: from its beginning). */
void pen_feed_begin_file(struct pen_feed *feed, const struct pen_place *from);
/* What the open file holds is known. csv: takes over the reference; NULL where it is no table, or not told yet. */
void pen_feed_set_format(struct pen_feed *feed, enum pen_format format, struct pen_csv *csv);
/* From now on the open file's bytes come through a decoder, `prefix` first. False: the file is being broken off. */
bool pen_feed_start_decode(struct pen_feed *feed, enum pen_compression compression, const void *prefix,
			   size_t len);

bool pen_feed_step_records(struct pen_feed *feed);
bool pen_feed_step_jumbo(struct pen_feed *feed);
void pen_feed_done_records(struct pen_feed *feed, int64_t got, size_t wanted);
void pen_feed_done_jumbo(struct pen_feed *feed, int64_t got, size_t wanted);
void pen_feed_done_skip(struct pen_feed *feed, int64_t got, size_t wanted);
/* Sends the whole records that the chunk in hand holds; the rest stays. False: no tag. */
bool pen_feed_send_whole(struct pen_feed *feed);

/* A stream is open; from: where an earlier run ended in it, or NULL. */
void pen_feed_open_stream(struct pen_feed *feed, const struct pen_place *from);
void pen_feed_forget_passed(struct pen_feed *feed);
/* An identified stream was told apart. False: as something else than when a part of it was committed; it is refused. */
bool pen_feed_tell(struct pen_feed *feed);
bool pen_feed_step_writer(struct pen_feed *feed);
bool pen_feed_step_prefix(struct pen_feed *feed);
void pen_feed_done_prefix(struct pen_feed *feed, int64_t got, size_t wanted);
/* These bytes of a source are cut, or passed over: every byte comes by once, in order. With _text a chunk begins behind
 * its lead; without, they belong to the chunk that has begun. */
void pen_feed_pass(struct pen_feed *feed, const void *data, size_t len);
void pen_feed_pass_text(struct pen_feed *feed, const char *text, size_t lead, size_t len);
/*
 * Finds out by its first bytes whether a stream must be decoded. False: it is from here on, and the bytes in hand come
 * again, as text.
 */
bool pen_feed_look(struct pen_feed *feed);
/* Is it known how the open file is cut? */
bool pen_feed_settled(const struct pen_feed *feed);
/* Finds out by its first bytes what a stream, or a file of a tree, holds. False: it does not fit the options. */
bool pen_feed_settle(struct pen_feed *feed);
/* Tells what the open file holds by its beginning, wherever it is read. False: it does not fit the options. */
bool pen_feed_judge(struct pen_feed *feed, const char *text, size_t len, bool whole);
/* Reads the next bytes of the open file. False: no room in io, or the decoder has none yet and will wake the reader. */
bool pen_feed_read_on(struct pen_feed *feed, char *to, size_t len,
		      void (*done)(struct pen_feed *feed, int64_t got, size_t wanted));

/* The directory in feed->fd is the next source; again: an earlier run ended in it. */
void pen_feed_open_tree(struct pen_feed *feed, bool again);
bool pen_feed_step_file(struct pen_feed *feed);
bool pen_feed_step_pack(struct pen_feed *feed);
bool pen_feed_step_whole(struct pen_feed *feed);
void pen_feed_done_whole(struct pen_feed *feed, int64_t got, size_t wanted);
void pen_feed_done_fetch(struct pen_feed *feed, struct fetch *fetch);
/* Takes a chunk for files; NULL: no tag. */
struct pen_chunk *pen_feed_begin_pack(struct pen_feed *feed);
/* The file or stream in feed->fd is an archive; so many members of it are committed. */
void pen_feed_open_archive(struct pen_feed *feed, uint64_t members, const void *prefix, size_t len);
bool pen_feed_step_archive(struct pen_feed *feed);
/* The pack in hand gets no more files. */
void pen_feed_seal_pack(struct pen_feed *feed);
/* The same in the middle of a member, whose bytes so far wait for the next pack. */
void pen_feed_leave_pack(struct pen_feed *feed);
/* Has it room for one more name, and for a key made for each item? */
bool pen_feed_pack_names(const struct pen_chunk *pack, size_t len);

#endif
