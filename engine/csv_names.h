/* SPDX-License-Identifier: MIT */
/*
 * csv_names - the names of a table's columns
 *
 * Private to the csv files. Names are gathered in one text while a table is opened: read from its first row, or
 * from a list, or made (c1, c2, ...), and at last made distinct.
 *
 *   Threads  pure.
 *   Memory   9 bytes a byte they are read from, and as much again as they have, with 48 bytes a column.
 */
#ifndef PEN_ENGINE_CSV_NAMES_H
#define PEN_ENGINE_CSV_NAMES_H

#include "engine/csv_scan.h"

struct csv_names {
	char *text;
	struct pen_csv_text *at;
	uint32_t count;
	size_t used;
	bool ended;	  /* the row they were read from ends within the text */
	bool open;	  /* it ends inside quotes */
	uint32_t renamed; /* names that were empty or there already */
};

/* Room for the names in so many bytes. 0 or -ENOMEM. Empty ones may be closed. */
int pen_csv_names_init(struct csv_names *names, size_t bytes);
void pen_csv_names_fini(struct csv_names *names);

/* The cells of the row that begins the text. */
void pen_csv_names_read(struct csv_names *names, const struct pen_csv *csv, const char *text, size_t len,
			bool whole);
/* Names separated by commas. */
void pen_csv_names_list(struct csv_names *names, const char *list);
/* Non-empty, distinct, and none looks like a value? */
bool pen_csv_names_fit(struct csv_names *names);
/* made: c1 .. c`count` instead of what was read. All are non-empty and distinct then. 0 or -ENOMEM. */
int pen_csv_names_finish(struct csv_names *names, bool made);

static inline const char *csv_name(const struct csv_names *names, uint32_t column)
{
	return names->text + names->at[column].at;
}

#endif
