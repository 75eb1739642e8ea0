/* SPDX-License-Identifier: MIT */
/*
 * csv_scan - where rows end, found twice
 *
 * Private to the csv files. The scalar scan is the definition: one state, one table, a byte at a time. The AVX2
 * scan takes 64 bytes at a time and must agree with it on every input; it exists for rows that end with LF (a file
 * whose rows end with a lone CR is read by the scalar one).
 *
 *   Threads  pure, but for the choice, which is made once (pen_csv_force_scalar: tests).
 *   Memory   none. The AVX2 scan reads up to 63 bytes behind the text.
 */
#ifndef PEN_ENGINE_CSV_SCAN_H
#define PEN_ENGINE_CSV_SCAN_H

#include "engine/csv.h"

/* What bytes are in a dialect. */
enum csv_class { CLASS_TEXT, CLASS_DELIMITER, CLASS_QUOTE, CLASS_ESCAPE, CLASS_LF, CLASS_CR, CLASS_COUNT };

/*
 * Where in a row one is. ENDED is no state of a row, but the step's answer that this byte ends it.
 *
 *	             text   delimiter  quote   escape   row end
 *	BEGIN        PLAIN  BEGIN      QUOTED  PLAIN    ENDED
 *	PLAIN        PLAIN  BEGIN      PLAIN   PLAIN    ENDED
 *	QUOTED       QUOTED QUOTED     AFTER   ESCAPED  QUOTED
 *	AFTER        PLAIN  BEGIN      QUOTED* PLAIN    ENDED     * doubled; else PLAIN
 *	ESCAPED      QUOTED ...
 */
enum csv_state {
	STATE_BEGIN,
	STATE_PLAIN,
	STATE_QUOTED,
	STATE_AFTER,
	STATE_ESCAPED,
	STATE_COUNT,
	STATE_ENDED = STATE_COUNT
};

/* In the middle of a row; zero at its beginning. `inner` is the scan's own. */
struct csv_place {
	uint64_t inner[3];
	uint32_t lines; /* line ends passed, the one that ends the row included */
	bool open;	/* inside quotes */
};

struct csv_scan {
	const char *name;
	/* True: the row ends with the byte text[*ret_at]. False: all of them belong to it. */
	bool (*find)(const struct pen_csv *csv, struct csv_place *place, const char *text, size_t len,
		     size_t *ret_at);
	/* As pen_splitter's, from a row's beginning on, context aside. */
	void (*cut)(const struct pen_csv *csv, const char *text, size_t len, bool whole,
		    const struct pen_limits *limits, struct pen_cut *ret);
	/* Bytes that JSON writes longer: sum of what they add. */
	uint64_t (*extra)(const struct pen_csv *csv, const char *text, size_t len);
};

extern const struct csv_scan pen_csv_scalar;
extern const struct csv_scan pen_csv_avx2; /* x86-64 only */

/* The dialect is settled: fills csv->classes and chooses csv->scan. */
void pen_csv_settle(struct pen_csv *csv);
/* One step of the definition. */
enum csv_state pen_csv_step(const struct pen_csv *csv, enum csv_state state, char byte);

/* Writes text as JSON writes it in a string (6 bytes a byte at most); returns the place behind it. csv_row.c */
char *pen_csv_put_json(char *out, const char *text, size_t len);
/* The first byte that is no part of a UTF-8 sequence; NULL: there is none. csv_row.c */
const char *pen_csv_bad_utf8(const char *text, size_t len);

/* The row's length without the CR of a CRLF. */
static inline size_t csv_bare(const struct pen_csv *csv, const char *row, size_t len)
{
	return len && !csv->lone_cr && row[len - 1] == '\r' ? len - 1 : len;
}

#endif
