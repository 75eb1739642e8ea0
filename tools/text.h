/* SPDX-License-Identifier: MIT */
/*
 * text - bytes and numbers turned into something a person or a shell can read
 *
 * Pure functions over their arguments: no state, no I/O, any thread. Every writer takes the size of its buffer,
 * always ends it with NUL and never writes past it; what does not fit is cut at a character.
 */
#ifndef PEN_TOOLS_TEXT_H
#define PEN_TOOLS_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The length (1..4) of the valid UTF-8 character at p, or 0. *ret_rune, if not NULL, is its code point. */
unsigned pen_text_rune(const unsigned char *p, size_t len, uint32_t *ret_rune);
bool pen_text_utf8(const void *data, size_t len);
/* Control characters (C0, DEL, C1) and those that reorder text: never sent to a terminal as they are. */
bool pen_text_control(uint32_t rune);
/* Columns a character takes on a terminal: 0 (combining), 1, or 2 (wide), by the ranges that matter. */
unsigned pen_text_columns(uint32_t rune);
/*
 * Copies data with every control character as \xNN or \uNNNN and every byte that is not UTF-8 as \xNN.
 * Returns the bytes written without the NUL; *ret_used, if not NULL, is how much of data they stand for.
 */
size_t pen_text_escape(char *out, size_t cap, const void *data, size_t len, size_t *ret_used);
/* One word of a POSIX shell: quoted only when it has to be. Returns the length it needs, as snprintf does. */
size_t pen_text_quote(char *out, size_t cap, const char *word);

#define PEN_TEXT_NUMBER 32 /* enough for each of the following */
/* 1234567 -> "1,234,567" */
const char *pen_text_count(char out[PEN_TEXT_NUMBER], uint64_t n);
/* 1834000 -> "1.83M", three figures */
const char *pen_text_short(char out[PEN_TEXT_NUMBER], uint64_t n);
/* Microseconds as milliseconds: "0.08", "3.1", "412". */
const char *pen_text_ms(char out[PEN_TEXT_NUMBER], uint64_t us);
/* 118000000 -> "118 MB" */
const char *pen_text_bytes(char out[PEN_TEXT_NUMBER], uint64_t n);
/* 125 -> "2:05", 4000 -> "1:06:40" */
const char *pen_text_clock(char out[PEN_TEXT_NUMBER], uint64_t seconds);
/* 1700000000000 -> "2023-11-14T22:13:20.000Z"; 0 -> "-" */
const char *pen_text_time(char out[PEN_TEXT_NUMBER], uint64_t ms);
/* 16 hex digits of a batch id */
const char *pen_text_id(char out[PEN_TEXT_NUMBER], uint64_t id);

/* Parses an even number of hex digits into bytes. false when it is not that or does not fit. */
bool pen_text_unhex(const char *text, unsigned char *out, size_t cap, size_t *ret_len);
/* A whole word of decimal digits, nothing else. */
bool pen_text_u64(const char *text, size_t len, uint64_t *ret_n);
/* How many keystrokes apart two words are (a swap of neighbours is one); words above 63 bytes are far apart. */
unsigned pen_text_distance(const char *a, const char *b);

#endif
