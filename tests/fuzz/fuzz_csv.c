/* SPDX-License-Identifier: MIT */
/*
 * fuzz_csv - two scans, one table
 *
 * An input is a byte of settings, a byte for the size of pieces, and a text. Held to be true of every input:
 *
 *   1. the fast scan and the exact one cut, count and split alike, whatever lies behind the text;
 *   2. next finds as many records and lines as cut counted, and seek, in pieces of any size, the same ends;
 *   3. cut keeps within its room, and what is made of the rows within the bound;
 *   4. what is made of a row is valid JSON, and a refused row has a code and a place;
 *   5. the dialect that the sniffer finds is one that opens the text again.
 *
 * A broken promise aborts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/csv.h"
#include "engine/json.h"
#include "include/penstock_error.h"

#define HOLD(cond)                                                                   \
	do {                                                                         \
		if (!(cond)) {                                                       \
			fprintf(stderr, "fuzz_csv: line %d: %s\n", __LINE__, #cond); \
			abort();                                                     \
		}                                                                    \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct pen_csv *open_table(const struct pen_csv_options *opt, const char *text, size_t len,
				  bool scalar)
{
	struct pen_failure why = { 0 };
	struct pen_csv *csv = NULL;
	int rc;

	pen_csv_force_scalar(scalar);
	rc = pen_csv_open(opt, text, len, true, &csv, &why);
	pen_csv_force_scalar(false);
	if (rc) {
		HOLD(rc == -PEN_USAGE || rc == -PEN_JSON_UTF8);
		HOLD(why.code == rc && why.text[0] && !csv);
		return NULL;
	}
	HOLD(csv->said[0] && csv->skip <= len && csv->refs == 1);
	return csv;
}

static void take(const struct pen_csv *csv, const struct pen_record *record)
{
	uint64_t bound = pen_csv_bound(csv, record->at, record->len, 1);
	char scratch[16], *out = malloc(bound + PEN_JSON_PADDING);
	struct pen_csv_taken io = { .out = out, .scratch = scratch, .scratch_cap = sizeof scratch };
	struct pen_json_flaw flaw;
	int rc;

	HOLD(out);
	rc = pen_csv_take(csv, record->at, record->len, &io);
	HOLD(!record->code || rc == record->code || rc == -PEN_CSV_QUOTE || rc == -PEN_CSV_CELLS);
	if (rc) {
		HOLD(rc == -PEN_CSV_QUOTE || rc == -PEN_CSV_OPEN || rc == -PEN_CSV_CELLS ||
		     rc == -PEN_JSON_UTF8 || rc == -PEN_JSON_KEY_MISSING);
		HOLD(io.column >= 1 && io.column <= record->len + 1);
	} else if (csv->json) {
		HOLD(io.len <= bound);
		memset(out + io.len, 0, PEN_JSON_PADDING);
		HOLD(pen_json_valid(out, io.len, &flaw));
	}
	HOLD(io.key_len <= record->len);
	free(out);
}

/* The record's end, looked for in pieces: where next found it. */
static void seek(const struct pen_rules *rules, uint32_t context, const char *text, size_t len, size_t piece,
		 const struct pen_record *record, size_t used)
{
	struct pen_seek seek = { .rules = rules, .context = context };
	size_t at = 0, n = 0;

	while (at < len) {
		size_t take = len - at < piece ? len - at : piece;
		char *copy = malloc(take + PEN_JSON_PADDING);
		bool found;

		HOLD(copy);
		memcpy(copy, text + at, take);
		memset(copy + take, '\n', PEN_JSON_PADDING);
		found = pen_split_csv.seek(&seek, copy, take, &n);
		free(copy);
		if (found) {
			/* A LF that comes in the next piece stays for what follows. */
			HOLD(at + n == used || (at + n + 1 == used && seek.context));
			HOLD(seek.seen == at + n && seek.bare == record->len);
			return;
		}
		at += take;
		HOLD(seek.seen == at);
	}
	HOLD(used == len);
}

static void compare(const struct pen_csv *fast, const struct pen_csv *exact, char *text, size_t len,
		    uint8_t set, size_t piece)
{
	const struct pen_rules a = { .format = PEN_FORMAT_CSV, .csv = fast };
	const struct pen_rules b = { .format = PEN_FORMAT_CSV, .csv = exact };
	struct pen_limits limits = { .items = set & 1 ? 3 : UINT32_MAX,
				     .room = set & 2 ? 3 * piece : SIZE_MAX };
	struct pen_cut x, y;
	struct pen_split s, t;
	struct pen_record p, q;
	uint32_t items = 0;

	for (int whole = 0; whole < 2; whole++) {
		pen_split_csv.cut(&a, 0, text, len, whole, &limits, &x);
		memset(text + len, whole ? '\n' : '"', PEN_JSON_PADDING);
		pen_split_csv.cut(&b, 0, text, len, whole, &limits, &y);
		HOLD(x.len == y.len && x.items == y.items && x.lines == y.lines && x.context == y.context);
		HOLD(x.len <= len && x.items <= limits.items);
		HOLD(x.len + pen_csv_bound(fast, text, x.len, x.items) <= limits.room);
		HOLD(pen_csv_bound(fast, text, len, 1) == pen_csv_bound(exact, text, len, 1));
	}
	s = (struct pen_split){ .rules = &a, .at = text, .end = text + x.len };
	t = (struct pen_split){ .rules = &b, .at = text, .end = text + x.len };
	for (;;) {
		bool more;

		memset(&p, 0, sizeof p);
		memset(&q, 0, sizeof q);
		more = pen_split_csv.next(&s, &p);
		HOLD(pen_split_csv.next(&t, &q) == more && s.at == t.at && s.lines == t.lines);
		if (!more)
			break;
		HOLD(p.at == q.at && p.len == q.len && p.line == q.line && p.code == q.code &&
		     p.column == q.column);
		items++;
		seek(&a, 0, p.at, (size_t)(text + x.len - p.at), piece, &p, (size_t)(s.at - p.at));
		take(fast, &p);
	}
	HOLD(items == x.items && s.lines == x.lines);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const int delimiters[] = { 0, ',', ';', '\t' }, escapes[] = { 0, '\\', PEN_CSV_NONE, '"' };
	struct pen_csv_options opt = { .format = PEN_FORMAT_CSV };
	struct pen_csv *fast, *exact;
	uint8_t set = size > 1 ? data[0] : 0;
	size_t piece = size > 1 ? data[1] + 1u : 1, len = size > 1 ? size - 2 : 0;
	char *text = malloc(len + PEN_JSON_PADDING);

	HOLD(text);
	if (len)
		memcpy(text, data + 2, len);
	memset(text + len, 'x', PEN_JSON_PADDING);
	opt.delimiter = delimiters[set >> 2 & 3];
	opt.escape = escapes[set >> 4 & 3];
	opt.value = set & 64 ? PEN_VALUE_RAW : PEN_VALUE_JSON;
	opt.key = set & 128 ? "#1" : NULL;
	fast = open_table(&opt, text, len, false);
	exact = open_table(&opt, text, len, true);
	HOLD(!fast == !exact);
	if (fast) {
		char *body = text + fast->skip;
		struct pen_csv_options again = {
			.format = PEN_FORMAT_CSV,
			.delimiter = fast->delimiter,
			.quote = fast->quoted ? fast->quote : PEN_CSV_NONE,
			.header = PEN_HEADER_NAMES,
			.header_names = "a,b",
			.value = opt.value,
		};
		struct pen_csv *third = open_table(&again, text, len, false);

		HOLD(third && third->columns == 2);
		pen_csv_unref(third);
		compare(fast, exact, body, len - fast->skip, set, piece);
	}
	pen_csv_unref(fast);
	pen_csv_unref(exact);
	free(text);
	return 0;
}
