/* SPDX-License-Identifier: MIT */
/*
 * csv_sniff - what kind of table is this?
 *
 * Private to the csv files. Every dialect in question reads the sample by the exact rules of csv_scan.h; the one
 * whose rows agree best about their number of cells wins. The text of cells decides between those that agree alike.
 *
 *   Threads  pure.
 *   Memory   8 bytes a byte of the sample, freed on return.
 */
#ifndef PEN_ENGINE_CSV_SNIFF_H
#define PEN_ENGINE_CSV_SNIFF_H

#include "engine/csv_scan.h"

struct csv_guess {
	uint32_t rows;	   /* whole rows in the sample, without the preamble; 0: none */
	uint32_t columns;  /* cells that most of them have */
	size_t skip;	   /* bytes before the first row */
	uint32_t lines;	   /* line ends in them */
	uint32_t preamble; /* rows of other widths among them */
};

/*
 * Fills the dialect of csv (and settles it) from what the options say and the sample shows. A last row that the
 * sample cuts off is not looked at. 0 or -ENOMEM.
 */
int pen_csv_sniff(struct pen_csv *csv, const struct pen_csv_options *opt, const char *sample, size_t len,
		  bool whole, struct csv_guess *ret);

/* Does the cell look like a number, or like a date, a time or an address? What looks so is no column's name. */
bool pen_csv_is_number(const char *cell, size_t len);
bool pen_csv_is_value(const char *cell, size_t len);

#endif
