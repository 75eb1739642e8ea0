/* SPDX-License-Identifier: MIT */
/*
 * command - what a person types behind exec: or worker:, as a program and its arguments
 *
 * The text is cut into words as a shell would cut it (blanks, quotes, backslashes) and run directly. When it needs a
 * shell (an unquoted | & ; < > ( ) $ ` * ? [ ] # ~ or newline, NAME=VALUE or a shell's own word at the front), it
 * is run by /bin/sh -c.
 *
 *   {}      the path of the item's file
 *   {key}   its key        {seq}   its number
 *
 * Directly run, a place is replaced inside its word, whatever the quotes: a value is never cut into words and never
 * seen by a shell. In a shell's text a place becomes a quoted reference to a variable ($PENSTOCK_ITEM_PATH,
 * _KEY, _SEQ), so that no value is ever read as shell text either.
 *
 *   Threads    open and close: the owner; the others are pure.
 *   Limits     PEN_COMMAND_TEXT bytes, PEN_COMMAND_WORDS words and places.
 */
#ifndef PEN_ENGINE_COMMAND_H
#define PEN_ENGINE_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "include/penstock.h"

#define PEN_COMMAND_TEXT (64u << 10)
#define PEN_COMMAND_WORDS 1024u

enum pen_command_place { PEN_COMMAND_TEXT_ONLY, PEN_COMMAND_PATH, PEN_COMMAND_KEY, PEN_COMMAND_SEQ };

/* A piece of a word: text, and then what stands in its place. */
struct pen_command_piece {
	uint32_t at; /* in text */
	uint32_t len;
	enum pen_command_place place; /* behind the text */
	bool last;		      /* the word ends here */
};

struct pen_command {
	char *program; /* the path to run; NULL: the first word has places, and is searched for with each item */
	bool shell;
	bool wants_path;   /* {} occurs */
	bool has_places;   /* {}, {key} or {seq} occurs */
	char *text;
	struct pen_command_piece *pieces;
	uint32_t count;
	uint32_t words;
};

/* NUL-terminated. path may be NULL where wants_path is false. */
struct pen_command_values {
	const char *path;
	const char *key;
	const char *seq;
};

/*
 * 0; -PEN_USAGE: empty, too long, quotes that do not match, or {…} of another name in a place where one is meant;
 * -PEN_CHILD_MISSING: no such program, or it may not be run; -ENOMEM.
 */
int pen_command_open(struct pen_command *ret, const char *text, struct pen_failure *why);
void pen_command_fini(struct pen_command *command);

/*
 * Writes the words into buf and fills argv (PEN_COMMAND_WORDS + 1 places), which ends with NULL. 0, or -E2BIG.
 */
int pen_command_words(const struct pen_command *command, const struct pen_command_values *values, char *buf,
		      size_t cap, char **argv);

/* Where on the PATH a program is: 0, -ENOENT, -EACCES, -ENAMETOOLONG. A name with a slash is taken as it is. */
int pen_command_find(const char *name, char *ret_path, size_t cap);

#endif
