/* SPDX-License-Identifier: MIT */
/*
 * split - where records end
 *
 * One rule per format, each in its own file, all of one shape (struct pen_splitter): the reader cuts a text
 * behind its last whole record and counts, processors take the same text apart by the same rule (so their
 * item numbers agree), and a record longer than a chunk is scanned piece by piece for its end.
 *
 *   lines    split.c        LF or CRLF ends a record and is no part of it; nothing else is trimmed. Where blank
 *                           lines are no items (NDJSON), a line of nothing but white space is blank
 *   json     split_json.c   elements of arrays, and values beside them
 *   csv      csv.c          rows; a line feed inside quotes is text
 *   frames   split_frames.c each record behind its length
 *
 * What is cut begins where a record or a separator may begin; `context` carries what else one must know there
 * (json: inside an array or between documents). 0 is the context of a source's beginning.
 *
 *   Threads  pure: bytes in, places out. Any thread.
 *   Memory   none. Reads up to PEN_JSON_PADDING bytes behind the text and believes none of them.
 */
#ifndef PEN_ENGINE_SPLIT_H
#define PEN_ENGINE_SPLIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "include/penstock.h"

struct pen_csv;

/* How one source is cut: constant while it is read. */
struct pen_rules {
	enum pen_format format;
	char terminator;	   /* lines, ndjson: '\n', or 0 (item lists of `-0`) */
	enum pen_frame frame;	   /* frames */
	const struct pen_csv *csv; /* csv, tsv: the dialect and the columns */
	uint64_t max_record;	   /* frames: a longer one is passed over by its length, never believed */
	bool scalar;		   /* without SIMD: for those who compare */
};

struct pen_record {
	const char *at; /* its bytes, without terminator, separator or length */
	size_t len;
	uint32_t line;	 /* lines that ended before it in this text */
	int code;	 /* 0; negative: this is no record (cut short, not closed): a reject */
	uint32_t column; /* with a code: the byte of the record that shows it, from 1; 0: not known */
};

/* What is left of a text that is being taken apart. */
struct pen_split {
	const struct pen_rules *rules;
	const char *at, *end;
	uint32_t lines; /* passed so far */
	uint32_t context;
};

struct pen_cut {
	size_t len; /* bytes up to and including the last record taken; what follows begins the next text */
	uint32_t items;	  /* records in them */
	uint32_t lines;	  /* line ends in them */
	uint32_t context; /* behind them */
};

struct pen_limits {
	uint32_t items; /* at most so many records (at least 1) */
	size_t room; /* at most so many bytes for the text and what is made of it, together; SIZE_MAX: no bound */
};

/* A record longer than a chunk, while its end is looked for. */
struct pen_seek {
	const struct pen_rules *rules;
	uint32_t context;  /* at its beginning; behind it once the end was found */
	uint64_t seen;	   /* bytes of text so far, from the record's beginning */
	uint64_t bare;	   /* once the end was found: length of the record without what ends it */
	uint64_t lead;	   /* bytes before the record itself (a frame's length, white space) */
	uint32_t lines;	   /* line ends passed */
	int code;	   /* of the reject, if it is too large and has no end; 0: -PEN_RECORD_LARGE */
	uint64_t state[4]; /* the format's own; zero at the beginning */
};

struct pen_splitter {
	/*
	 * The next record: true. The text may end without a terminator only where its source does; a format that
	 * needs one then says so in ret->code.
	 */
	bool (*next)(struct pen_split *split, struct pen_record *ret);
	/*
	 * How much of the text is whole records within the limits. whole: the text ends with its source, so that
	 * its last record counts though nothing ends it (and, where nothing is left to be a record, what is left
	 * is taken too). ret->len is 0 when there is no whole record, or the first exceeds the room.
	 *
	 * A source is over when nothing is left and the context is 0. With another context something may be missing
	 * (json: the array's end): cut and next are asked once more, with an empty text, which then is one record,
	 * of length 0, whose code says so.
	 */
	void (*cut)(const struct pen_rules *rules, uint32_t context, const char *text, size_t len, bool whole,
		    const struct pen_limits *limits, struct pen_cut *ret);
	/*
	 * Looks for the end of the record that began `seek->seen` bytes ago in its next `len` bytes. True: it
	 * ends, with what ends it, *ret_len bytes into them; the text up to there, given to cut as whole, is that one
	 * record. False: all of them belong to it, and *ret_len is left alone.
	 */
	bool (*seek)(struct pen_seek *seek, const char *text, size_t len, size_t *ret_len);
};

extern const struct pen_splitter pen_split_lines, pen_split_json, pen_split_csv, pen_split_frames;

/* The splitter of a format; NULL where a source is not cut (files). */
const struct pen_splitter *pen_splitter_of(enum pen_format format);

#endif
