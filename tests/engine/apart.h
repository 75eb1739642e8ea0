/* SPDX-License-Identifier: MIT */
/*
 * apart - takes sources apart, for the tests of splitters
 *
 * As one text, or as a feed does: piece by piece, cut into chunks, with seek for what no chunk holds. Every text ends,
 * with its padding, at the end of a page that nothing follows, and the padding holds bytes that would go on with any
 * record. What a splitter promises its callers is asserted on the way.
 */
#ifndef PEN_TESTS_ENGINE_APART_H
#define PEN_TESTS_ENGINE_APART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/split.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
/* A literal and its length, NUL bytes included. */
#define TEXT(literal) (literal), sizeof(literal) - 1
#define RECORDS_MAX 4096u

struct seen {
	size_t at, len;
	uint64_t line;
	int code;
	uint32_t column;
};

struct source {
	const struct pen_rules *rules;
	const struct pen_splitter *splitter;
	const char *text;
	size_t len;
	/* How far it was taken apart. */
	size_t at;
	uint64_t lines;
	uint32_t context;
	struct seen seen[RECORDS_MAX];
	size_t count;
};

struct expected {
	const char *text;
	size_t len;
	const char *records; /* each in angle brackets, behind it the lines before it and what is wrong */
};

uint32_t next_random(void);

/* Before the others: makes two places for texts, 0 and 1. Each is good until the next text of that number. */
void map_places(void);
char *place(size_t which, const char *text, size_t len);

void begin_source(struct source *s, const struct pen_rules *rules, const char *text, size_t len);
/* What was cut goes on as a chunk does, and is taken apart in another place. */
void take(struct source *s, const struct pen_cut *cut);
/* The source as one text. */
void take_whole(struct source *s);
/* As a feed reads it: `step` more bytes at a time, chunks of at most so many items and bytes. */
void take_pieces(struct source *s, size_t step, const struct pen_limits *limits);

bool same_seen(const struct seen *a, const struct seen *b);
void expect_same(const char *name, const struct source *want, const struct source *got);
void expect_records(const struct pen_rules *rules, const struct expected *expected, size_t count);

#endif
