/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/csv.h"
#include "include/penstock_error.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
/* A literal and its length, NUL bytes included. */
#define TEXT(literal) (literal), sizeof(literal) - 1
#define ROWS_MAX 16

/* The text in a block of its own, with bytes behind it that would go on with any row. */
static char *padded(const char *text, size_t len)
{
	char *copy = malloc(len + PEN_JSON_PADDING);

	cr_assert(copy);
	memcpy(copy, text, len);
	memset(copy + len, '"', PEN_JSON_PADDING);
	return copy;
}

static struct pen_csv *open_table(const struct pen_csv_options *opt, const char *text, size_t len)
{
	struct pen_failure why = { 0 };
	struct pen_csv *csv = NULL;
	int rc = pen_csv_open(opt, text, len, true, &csv, &why);

	cr_assert_eq(rc, 0, "%d: %s", rc, why.text);
	return csv;
}

/* All rows of a text as NDJSON; a refused one is its code and column, such as -1053:4. */
static void dump(const struct pen_csv *csv, const char *text, size_t len, char *out, size_t cap)
{
	const struct pen_rules rules = { .format = PEN_FORMAT_CSV, .csv = csv };
	struct pen_split split = { .rules = &rules, .at = text + csv->skip, .end = text + len };
	struct pen_record record = { 0 };
	size_t n = 0;

	out[0] = '\0';
	while (pen_split_csv.next(&split, &record)) {
		uint64_t bound = pen_csv_bound(csv, record.at, record.len, 1);
		char *object = malloc(bound + PEN_JSON_PADDING);
		struct pen_csv_taken io = { .out = object };
		int rc = record.code ? record.code : pen_csv_take(csv, record.at, record.len, &io);

		if (rc)
			n += (size_t)snprintf(out + n, cap - n, "%d:%zu\n", rc,
					      record.code ? record.column : io.column);
		else
			n += (size_t)snprintf(out + n, cap - n, "%.*s\n", (int)io.len, object);
		cr_assert_lt(n, cap);
		cr_assert(rc || io.len <= bound);
		free(object);
	}
}

static void becomes(const struct pen_csv_options *opt, const char *text, size_t len, const char *rows)
{
	for (int scalar = 0; scalar < 2; scalar++) {
		char out[1024], *copy = padded(text, len);
		struct pen_csv *csv;

		pen_csv_force_scalar(scalar);
		csv = open_table(opt, copy, len);
		pen_csv_force_scalar(false);
		dump(csv, copy, len, out, sizeof out);
		cr_expect_str_eq(out, rows, "%s: %s", csv->said, text);
		pen_csv_unref(csv);
		free(copy);
	}
}

Test(csv, the_spectrum_of_dialects_becomes_json)
{
	/* After csv-spectrum, whose answers these are. */
	static const struct {
		const char *text;
		size_t len;
		const char *rows;
	} cases[] = {
		{ TEXT("first,last,address,city,zip\nJohn,Doe,120 any st.,\"Anytown, WW\",08123"),
		  "{\"first\":\"John\",\"last\":\"Doe\",\"address\":\"120 any st.\",\"city\":\"Anytown, WW\",\"zip\":\"08123\"}\n" },
		{ TEXT("a,b,c\n1,\"\",\"\"\n2,3,4"),
		  "{\"a\":\"1\",\"b\":\"\",\"c\":\"\"}\n{\"a\":\"2\",\"b\":\"3\",\"c\":\"4\"}\n" },
		{ TEXT("a,b,c\r\n1,\"\",\"\"\r\n2,3,4\r\n"),
		  "{\"a\":\"1\",\"b\":\"\",\"c\":\"\"}\n{\"a\":\"2\",\"b\":\"3\",\"c\":\"4\"}\n" },
		{ TEXT("a,b\n1,\"ha \"\"ha\"\" ha\"\n3,4\n"),
		  "{\"a\":\"1\",\"b\":\"ha \\\"ha\\\" ha\"}\n{\"a\":\"3\",\"b\":\"4\"}\n" },
		{ TEXT("key,val\n1,\"{\"\"type\"\": \"\"Point\"\", \"\"coordinates\"\": [102.0, 0.5]}\"\n"),
		  "{\"key\":\"1\",\"val\":\"{\\\"type\\\": \\\"Point\\\", \\\"coordinates\\\": [102.0, 0.5]}\"}\n" },
		{ TEXT("Phone Number,Location Coordinates,Cities\n2095257564,37\xef\xbf\xbd"
		       "36'37.8\"N 121\xef\xbf\xbd"
		       "2'17.9\"W,Modesto"),
		  "{\"Phone Number\":\"2095257564\",\"Location Coordinates\":\"37\xef\xbf\xbd"
		  "36'37.8\\\"N 121\xef\xbf\xbd"
		  "2'17.9\\\"W\",\"Cities\":\"Modesto\"}\n" },
		{ TEXT("a,b,c\n1,2,3\n\"Once upon \na time\",5,6\n7,8,9\n"),
		  "{\"a\":\"1\",\"b\":\"2\",\"c\":\"3\"}\n{\"a\":\"Once upon \\na time\",\"b\":\"5\",\"c\":\"6\"}\n{\"a\":\"7\",\"b\":\"8\",\"c\":\"9\"}\n" },
		{ TEXT("a,b,c\r\n1,2,3\r\n\"Once upon \r\na time\",5,6\r\n7,8,9\r\n"),
		  "{\"a\":\"1\",\"b\":\"2\",\"c\":\"3\"}\n{\"a\":\"Once upon \\r\\na time\",\"b\":\"5\",\"c\":\"6\"}\n{\"a\":\"7\",\"b\":\"8\",\"c\":\"9\"}\n" },
		{ TEXT("a,b\n1,\"ha \n\"\"ha\"\" \nha\"\n3,4\n"),
		  "{\"a\":\"1\",\"b\":\"ha \\n\\\"ha\\\" \\nha\"}\n{\"a\":\"3\",\"b\":\"4\"}\n" },
		{ TEXT("a,b,c\n1,2,3\n"), "{\"a\":\"1\",\"b\":\"2\",\"c\":\"3\"}\n" },
		{ TEXT("a,b,c\r\n1,2,3\r\n"), "{\"a\":\"1\",\"b\":\"2\",\"c\":\"3\"}\n" },
		{ TEXT("a,b,c\n1,2,3\n4,5,\xca\xa4"),
		  "{\"a\":\"1\",\"b\":\"2\",\"c\":\"3\"}\n{\"a\":\"4\",\"b\":\"5\",\"c\":\"\xca\xa4\"}\n" },
	};
	const struct pen_csv_options opt = { .format = PEN_FORMAT_CSV };

	for (size_t i = 0; i < COUNT(cases); i++)
		becomes(&opt, cases[i].text, cases[i].len, cases[i].rows);
}

Test(csv, rows_follow_the_quoting_rules)
{
	static const struct {
		const char *text;
		size_t len;
		const char *rows;
	} cases[] = {
		/* A quote is text where no cell begins. */
		{ TEXT("5\" nail,x"), "{\"a\":\"5\\\" nail\",\"b\":\"x\"}\n" },
		{ TEXT(" \"x\",y"), "{\"a\":\" \\\"x\\\"\",\"b\":\"y\"}\n" },
		{ TEXT("x\"\",\"\"\"\""), "{\"a\":\"x\\\"\\\"\",\"b\":\"\\\"\"}\n" },
		{ TEXT("x\",\"1\n2\"\ny,z"),
		  "{\"a\":\"x\\\"\",\"b\":\"1\\n2\"}\n{\"a\":\"y\",\"b\":\"z\"}\n" },
		/* Text behind a closing quote: refused, and the row ends where it would unquoted. */
		{ TEXT("\"x\"y,1\n2,3"), "-1051:4\n{\"a\":\"2\",\"b\":\"3\"}\n" },
		{ TEXT("\"x\"y\"z,1\n2,3"), "-1051:4\n{\"a\":\"2\",\"b\":\"3\"}\n" },
		{ TEXT("1,\"x\" \n2,3"), "-1051:6\n{\"a\":\"2\",\"b\":\"3\"}\n" },
		{ TEXT("\"x\"\r,1\n2,3"), "-1051:4\n{\"a\":\"2\",\"b\":\"3\"}\n" },
		/* Never closed: the rest. */
		{ TEXT("1,2\n3,\"x\n4,5\n"), "{\"a\":\"1\",\"b\":\"2\"}\n-1052:3\n" },
		{ TEXT("\"\"\",\n"), "-1052:1\n" },
		/* Row ends; blank lines. */
		{ TEXT("\n\r\n1,2\r\n\n\n3,4\r\n\n"),
		  "{\"a\":\"1\",\"b\":\"2\"}\n{\"a\":\"3\",\"b\":\"4\"}\n" },
		{ TEXT("1,2\r3\n4,5\r"), "{\"a\":\"1\",\"b\":\"2\\r3\"}\n{\"a\":\"4\",\"b\":\"5\"}\n" },
		{ TEXT("1,\"2\"\r\n,"), "{\"a\":\"1\",\"b\":\"2\"}\n{\"a\":\"\",\"b\":\"\"}\n" },
		/* Other widths. */
		{ TEXT("1\n1,2,3\n1,2"), "-1053:2\n-1053:5\n{\"a\":\"1\",\"b\":\"2\"}\n" },
		/* What JSON escapes; what is no UTF-8. */
		{ TEXT("\b\f\t\x01,\"\\\"\"\x7f\"\n"),
		  "{\"a\":\"\\b\\f\\t\\u0001\",\"b\":\"\\\\\\\"\x7f\"}\n" },
		{ TEXT("1,x\xff\n\xc3,1\n\xc3\xa9,\xf0\x9f\x98\x80\n"),
		  "-1044:4\n-1044:1\n{\"a\":\"\xc3\xa9\",\"b\":\"\xf0\x9f\x98\x80\"}\n" },
		{ TEXT("a\0b,\n"), "{\"a\":\"a\\u0000b\",\"b\":\"\"}\n" },
		/* Longer than a step and a block. */
		{ TEXT("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\"f,\"0123456789abcdef\"\"\"\n"),
		  "{\"a\":\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\\\"f\",\"b\":\"0123456789abcdef\\\"\"}\n" },
	};
	const struct pen_csv_options opt = { .format = PEN_FORMAT_CSV,
					     .delimiter = ',',
					     .quote = '"',
					     .escape = '"',
					     .header = PEN_HEADER_NAMES,
					     .header_names = "a,b" };

	for (size_t i = 0; i < COUNT(cases); i++)
		becomes(&opt, cases[i].text, cases[i].len, cases[i].rows);
}

Test(csv, other_escapes_and_row_ends)
{
	const struct pen_csv_options one = { .header = PEN_HEADER_NAMES, .header_names = "a" };
	struct pen_csv_options opt = {
		.delimiter = ',', .escape = '\\', .header = PEN_HEADER_NAMES, .header_names = "a,b"
	};

	becomes(&opt, TEXT("\"x\\\",\\\\\",\\\"\n\"\"\"\",1\n"),
		"{\"a\":\"x\\\",\\\\\",\"b\":\"\\\\\\\"\"}\n-1051:3\n");
	opt.escape = PEN_CSV_NONE;
	becomes(&opt, TEXT("\"x\\\",\"\"\n\"a\"\"b\",1\n"), "{\"a\":\"x\\\\\",\"b\":\"\"}\n-1051:4\n");
	opt.quote = PEN_CSV_NONE;
	becomes(&opt, TEXT("\"x,y\"\n"), "{\"a\":\"\\\"x\",\"b\":\"y\\\"\"}\n");
	opt = (struct pen_csv_options){ .delimiter = ',', .header = PEN_HEADER_NAMES, .header_names = "a,b" };
	becomes(&opt, TEXT("1,2\r\r3,\"x\ny\"\r"),
		"{\"a\":\"1\",\"b\":\"2\"}\n{\"a\":\"3\",\"b\":\"x\\ny\"}\n");
	/* One column: an empty quoted cell is a record, a blank line is none. */
	becomes(&one, TEXT("x\n\n\"\"\ny\n"), "{\"a\":\"x\"}\n{\"a\":\"\"}\n{\"a\":\"y\"}\n");
}

Test(csv, dialects_are_found_and_said)
{
	static const struct {
		const char *text;
		size_t len;
		const char *said;
		uint64_t skip;
	} cases[] = {
		{ TEXT(""), "delimiter ',', quote '\"', no header, 0 columns", 0 },
		{ TEXT("\n\n"), "delimiter ',', quote '\"', no header, 0 columns", 2 },
		{ TEXT("\xef\xbb\xbf"
		       "a,b\n1,2\n"),
		  "delimiter ',', quote '\"', header with 2 columns", 7 },
		{ TEXT("id;name\n1;x\n2;y\n"), "delimiter ';', quote '\"', header with 2 columns", 8 },
		{ TEXT("a\tb\n1\t2\n"), "delimiter tab, quote '\"', header with 2 columns", 4 },
		{ TEXT("a|b|c\n1|2|3\n"), "delimiter '|', quote '\"', header with 3 columns", 6 },
		{ TEXT("x;y;z\n1,5;2,5;3,5\n4,0;5,0;6,0\n"),
		  "delimiter ';', quote '\"', header with 3 columns", 6 },
		{ TEXT("1,5;2,5;3,5\n4,0;5,0;6,0\n"), "delimiter ';', quote '\"', no header, 3 columns", 0 },
		{ TEXT("n,text\n1,\"a;b;c\"\n2,\"d;e;f\"\n"),
		  "delimiter ',', quote '\"', header with 2 columns", 7 },
		{ TEXT("a~b\nc~d\ne~f\n"), "delimiter '~', quote '\"', header with 2 columns", 4 },
		{ TEXT("root:x:0\nbin:x:1\nsys:x:3\n"), "delimiter ':', quote '\"', no header, 3 columns",
		  0 },
		{ TEXT("time\n12:30:01\n12:30:02\n"), "delimiter ',', quote '\"', header with 1 column", 5 },
		{ TEXT("a b c\nd e f\n"), "delimiter ',', quote '\"', header with 1 column", 6 },
		{ TEXT("name\nx\ny\n"), "delimiter ',', quote '\"', header with 1 column", 5 },
		{ TEXT("k,v\n'a,1','b'\n'c,2','d'\n"), "delimiter ',', quote ''', header with 2 columns", 4 },
		{ TEXT("k|v\n1|\"say \\\"hi\\\"\"\n2|\"x\"\n"),
		  "delimiter '|', quote '\"', escape '\\', header with 2 columns", 4 },
		{ TEXT("a,b\n1,\"x\"y\n2,\"x\"y\n3,\"x\"y\n"),
		  "delimiter ',', no quotes, header with 2 columns", 4 },
		{ TEXT("a,b\r1,2\r3,4\r"),
		  "delimiter ',', quote '\"', rows end with CR, header with 2 columns", 4 },
		{ TEXT("a,b\r\n1,2\r3\r\n"), "delimiter ',', quote '\"', header with 2 columns", 5 },
		{ TEXT("Report\nof 2024\n\nid,name\n1,x\n2,y\n"),
		  "delimiter ',', quote '\"', header with 2 columns, 3 lines of preamble skipped", 24 },
		/* A header wider than its rows is no preamble. */
		{ TEXT("a,b,c\n1,2\n3,4\n"), "delimiter ',', quote '\"', header with 3 columns", 6 },
		/* Nor is a row whose quotes do not fit: it must not vanish. */
		{ TEXT("\"x\"y\n1,b\n3,d\n"), "delimiter ',', quote '\"', no header, 2 columns", 0 },
		/* What is no header: empty, repeated, numbers, dates, addresses. */
		{ TEXT("a,,c\n1,2,3\n"), "delimiter ',', quote '\"', no header, 3 columns", 0 },
		{ TEXT("a,a\n1,2\n"), "delimiter ',', quote '\"', no header, 2 columns", 0 },
		{ TEXT("a,1e5\nb,2\n"), "delimiter ',', quote '\"', no header, 2 columns", 0 },
		{ TEXT("a,2024-01-02T10:00:00Z\nb,2\n"), "delimiter ',', quote '\"', no header, 2 columns",
		  0 },
		{ TEXT("a;Jan 2, 2024\nb;x\n"), "delimiter ';', quote '\"', no header, 2 columns", 0 },
		{ TEXT("a,me@example.org\nb,2\n"), "delimiter ',', quote '\"', no header, 2 columns", 0 },
		{ TEXT("a,https://example.org/\nb,2\n"), "delimiter ',', quote '\"', no header, 2 columns",
		  0 },
		{ TEXT("a,10.0.0.1\nb,2\n"), "delimiter ',', quote '\"', no header, 2 columns", 0 },
		{ TEXT("a,fe80::1\nb,2\n"), "delimiter ',', quote '\"', no header, 2 columns", 0 },
	};
	const struct pen_csv_options opt = { .format = PEN_FORMAT_CSV };

	for (size_t i = 0; i < COUNT(cases); i++) {
		char *copy = padded(cases[i].text, cases[i].len);
		struct pen_csv *csv = open_table(&opt, copy, cases[i].len);

		cr_expect_str_eq(csv->said, cases[i].said, "%s", cases[i].text);
		cr_expect_eq(csv->skip, cases[i].skip, "%s: skips %lu", cases[i].text,
			     (unsigned long)csv->skip);
		pen_csv_unref(csv);
		free(copy);
	}
}

Test(csv, lines_in_front_of_the_first_record_are_counted)
{
	static const char text[] = "title\n\n\"a\nb\",c\r\n1,2\n3,4\n";
	const struct pen_csv_options opt = { .format = PEN_FORMAT_CSV };
	char *copy = padded(TEXT(text));
	struct pen_csv *csv = open_table(&opt, copy, sizeof text - 1);

	cr_expect_eq(csv->skip, 16);
	cr_expect_eq(csv->skip_lines, 4);
	pen_csv_unref(csv);
	free(copy);
}

Test(csv, names_are_made_distinct_and_escaped)
{
	static const char text[] = "a,a,,a_2,a,\"x\"\"\ny\"\n1,2,3,4,5,6\n";
	const struct pen_csv_options opt = { .format = PEN_FORMAT_CSV, .header = PEN_HEADER_YES };
	static const char *const names[] = { "a", "a_3", "c3", "a_2", "a_4", "x\"\ny" };
	char *copy = padded(TEXT(text));
	struct pen_csv *csv = open_table(&opt, copy, sizeof text - 1);

	cr_expect_eq(csv->columns, COUNT(names));
	for (uint32_t i = 0; i < COUNT(names); i++) {
		size_t len;
		const char *name = pen_csv_name(csv, i, &len);

		cr_expect(len == strlen(names[i]) && !memcmp(name, names[i], len), "%.*s", (int)len, name);
	}
	cr_expect(strstr(csv->said, "3 empty or repeated names replaced"), "%s", csv->said);
	pen_csv_unref(csv);
	free(copy);
	becomes(&opt, TEXT("k\"1,b\n1,2\n"), "{\"k\\\"1\":\"1\",\"b\":\"2\"}\n");
}

Test(csv, options_that_do_not_fit_are_refused)
{
	static const char text[] = "id,name\n1,x\n";
	static const struct {
		struct pen_csv_options opt;
		const char *says;
	} cases[] = {
		{ { .key = "idd" }, "there is no column 'idd'; did you mean 'id'? The columns: id, name" },
		{ { .key = "zebra" }, "there is no column 'zebra'. The columns: id, name" },
		{ { .key = "#3" }, "there is no column '#3'. The columns: id, name" },
		{ { .key = "#0" }, "there is no column '#0'. The columns: id, name" },
		{ { .delimiter = '"' }, "delimiter and quote cannot both be '\"'" },
		{ { .delimiter = '\n' }, "the delimiter must be one ASCII character, and no line end" },
		{ { .quote = 0xe4 }, "the quote must be one ASCII character, and no line end" },
		{ { .header = PEN_HEADER_NAMES }, "no column names are given" },
	};
	struct pen_csv *csv = NULL;
	struct pen_failure why;

	for (size_t i = 0; i < COUNT(cases); i++) {
		why = (struct pen_failure){ 0 };
		cr_expect_eq(pen_csv_open(&cases[i].opt, TEXT(text), true, &csv, &why), -PEN_USAGE);
		cr_expect_str_eq(why.text, cases[i].says);
		cr_expect_null(csv);
	}
	why = (struct pen_failure){ 0 };
	cr_expect_eq(pen_csv_open(&(struct pen_csv_options){ 0 }, TEXT("a,b"), false, &csv, &why),
		     -PEN_USAGE);
	cr_expect_str_eq(why.text,
			 "the first row does not end within 3 bytes: give the column names with --header");
	cr_expect_eq(pen_csv_open(&(struct pen_csv_options){ 0 }, TEXT("a,\xff\nx,y\n"), true, &csv, &why),
		     -PEN_JSON_UTF8);
	cr_expect_null(csv);
}

Test(csv, keys_are_found)
{
	static const struct {
		const char *key, *row, *want;
		enum pen_value_form value;
		int rc;
	} cases[] = {
		{ "b", "1,two,3", "two", PEN_VALUE_JSON, 0 },
		{ "#3", "1,two,\"th\"\"ree\"", "th\"ree", PEN_VALUE_JSON, 0 },
		{ "#1", "\"1\",2,3", "1", PEN_VALUE_JSON, 0 },
		{ "c", "1,2,", "", PEN_VALUE_JSON, 0 },
		{ NULL, "1,2,3", NULL, PEN_VALUE_JSON, 0 },
		{ "@offset", "1,2,3", NULL, PEN_VALUE_JSON, 0 },
		{ "b", "1,\"t\nw,o\"", "t\nw,o", PEN_VALUE_RAW, 0 },
		{ "c", "1,2", "", PEN_VALUE_RAW, -PEN_JSON_KEY_MISSING },
		{ "a", "1,\"2\"x", "", PEN_VALUE_RAW, -PEN_CSV_QUOTE },
		{ "a", "1,2,3,4,\xff", "1", PEN_VALUE_RAW, 0 },
		{ "a", "1,2,3,4", "", PEN_VALUE_JSON, -PEN_CSV_CELLS },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct pen_csv_options opt = { .header = PEN_HEADER_NAMES,
						     .header_names = "a,b,c",
						     .key = cases[i].key,
						     .value = cases[i].value,
						     .delimiter = ',' };
		char scratch[8], out[256], *row = padded(cases[i].row, strlen(cases[i].row));
		struct pen_csv_taken io = { .out = out, .scratch = scratch, .scratch_cap = sizeof scratch };
		struct pen_csv *csv = open_table(&opt, row, strlen(cases[i].row));

		cr_expect_eq(pen_csv_take(csv, row, strlen(cases[i].row), &io), cases[i].rc, "%s",
			     cases[i].row);
		if (!cases[i].rc && cases[i].want)
			cr_expect(io.key && io.key_len == strlen(cases[i].want) &&
					  !memcmp(io.key, cases[i].want, io.key_len),
				  "%s", cases[i].row);
		if (!cases[i].want)
			cr_expect(!io.key && !io.key_len);
		pen_csv_unref(csv);
		free(row);
	}
}

Test(csv, a_long_key_with_escapes_says_its_length)
{
	const struct pen_csv_options opt = {
		.header = PEN_HEADER_NAMES, .header_names = "a", .key = "a", .quote = '"'
	};
	char row[603], scratch[512], out[2048 + PEN_JSON_PADDING], *copy;
	struct pen_csv_taken io = { .out = out, .scratch = scratch, .scratch_cap = sizeof scratch };
	struct pen_csv *csv;

	memset(row, '"', sizeof row - 1);
	copy = padded(row, 602);
	csv = open_table(&opt, copy, 602);
	cr_expect_eq(pen_csv_take(csv, copy, 602, &io), 0);
	cr_expect_eq(io.key_len, 300);
	pen_csv_unref(csv);
	free(copy);
}

/* ---- cutting ---- */

Test(csv, cut_stops_at_its_limits)
{
	static const char text[] = "\n1,2\n\"a\nb\",3\n\n4,5\n6,\"";
	static const struct {
		uint32_t items;
		size_t room;
		bool whole;
		struct pen_cut want;
	} cases[] = {
		{ 9, SIZE_MAX, false, { .len = 18, .items = 3, .lines = 6 } },
		{ 9, SIZE_MAX, true, { .len = 21, .items = 4, .lines = 7 } },
		{ 1, SIZE_MAX, true, { .len = 5, .items = 1, .lines = 2 } },
		{ 2, SIZE_MAX, true, { .len = 13, .items = 2, .lines = 4 } },
		{ 9, 12, true, { .len = 5, .items = 1, .lines = 2 } },
		{ 9, 0, true, { .len = 0 } },
	};
	const struct pen_csv_options opt = {
		.header = PEN_HEADER_NAMES, .header_names = "a,b", .value = PEN_VALUE_RAW, .delimiter = ','
	};
	char *copy = padded(TEXT(text));

	for (int scalar = 0; scalar < 2; scalar++) {
		pen_csv_force_scalar(scalar);
		struct pen_csv *csv = open_table(&opt, copy, sizeof text - 1);
		const struct pen_rules rules = { .format = PEN_FORMAT_CSV, .csv = csv };

		pen_csv_force_scalar(false);
		for (size_t i = 0; i < COUNT(cases); i++) {
			const struct pen_limits limits = { .items = cases[i].items, .room = cases[i].room };
			struct pen_cut cut;

			pen_split_csv.cut(&rules, 0, copy, sizeof text - 1, cases[i].whole, &limits, &cut);
			cr_expect(cut.len == cases[i].want.len && cut.items == cases[i].want.items &&
					  cut.lines == cases[i].want.lines && cut.context == 0,
				  "%zu: %zu bytes, %u items, %u lines", i, cut.len, cut.items, cut.lines);
		}
		pen_csv_unref(csv);
	}
	free(copy);
}

Test(csv, cut_leaves_room_for_what_is_made)
{
	/* {"a":"","b":""} is 15 bytes; a row of 4 control characters grows by 20. */
	static const char text[] = "1,2\n\x01\x01\x01\x01,\n3,4\n";
	const struct pen_csv_options opt = { .header = PEN_HEADER_NAMES,
					     .header_names = "a,b",
					     .delimiter = ',' };
	const size_t first = 4 + 15 + 4 + 1, second = 6 + 15 + 6 + 20 + 1;
	char *copy = padded(TEXT(text));

	for (int scalar = 0; scalar < 2; scalar++) {
		struct pen_cut cut;
		struct pen_csv *csv;

		pen_csv_force_scalar(scalar);
		csv = open_table(&opt, copy, sizeof text - 1);
		pen_csv_force_scalar(false);
		const struct pen_rules rules = { .format = PEN_FORMAT_CSV, .csv = csv };

		for (size_t room = 0; room < first + second + 4; room++) {
			const struct pen_limits limits = { .items = 9, .room = room };

			pen_split_csv.cut(&rules, 0, copy, sizeof text - 1, false, &limits, &cut);
			cr_expect_eq(cut.items, (room >= first) + (room >= first + second), "%zu: %u", room,
				     cut.items);
		}
		pen_csv_unref(csv);
	}
	free(copy);
}

Test(csv, a_crlf_cut_in_two_is_one_end_where_cr_ends_rows)
{
	static const char text[] = "1,2\r\n3,4\r\n";
	const struct pen_csv_options opt = { .header = PEN_HEADER_NAMES,
					     .header_names = "a,b",
					     .delimiter = ',' };
	const struct pen_limits limits = { .items = 9, .room = SIZE_MAX };
	char *sample = padded(TEXT("1,2\r3,4\r")), *copy = padded(TEXT(text));
	struct pen_csv *csv = open_table(&opt, sample, 8);
	const struct pen_rules rules = { .format = PEN_FORMAT_CSV, .csv = csv };
	struct pen_split split = { .rules = &rules };
	struct pen_record record;
	struct pen_cut cut;

	cr_assert(csv->lone_cr);
	pen_split_csv.cut(&rules, 0, copy, 4, false, &limits, &cut);
	cr_expect(cut.len == 4 && cut.items == 1 && cut.lines == 1 && cut.context != 0);
	split = (struct pen_split){
		.rules = &rules, .at = copy + 4, .end = copy + 10, .context = cut.context
	};
	pen_split_csv.cut(&rules, cut.context, copy + 4, 6, false, &limits, &cut);
	cr_expect(cut.len == 6 && cut.items == 1 && cut.lines == 1 && cut.context == 0);
	cr_expect(pen_split_csv.next(&split, &record));
	cr_expect(record.at == copy + 5 && record.len == 3 && record.line == 0);
	cr_expect_not(pen_split_csv.next(&split, &record));
	cr_expect_eq(split.lines, 1);
	/* Nothing is missing where the source ends behind a CR. */
	pen_split_csv.cut(&rules, 1, copy + 10, 0, true, &limits, &cut);
	cr_expect(cut.len == 0 && cut.items == 0 && cut.lines == 0);
	pen_csv_unref(csv);
	free(sample);
	free(copy);
}

/* ---- two scans ---- */

static uint64_t state;

static uint32_t next_random(uint32_t below)
{
	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(state >> 33) % below;
}

/* Cuts and splits by both; true: alike. */
static bool agree(const struct pen_csv *a, const struct pen_csv *b, const char *text, size_t len)
{
	const struct pen_rules ours = { .csv = a }, theirs = { .csv = b };
	const struct pen_limits limits = {
		.items = 1 + next_random(40),
		.room = next_random(2) ? SIZE_MAX : next_random(900),
	};
	bool whole = next_random(2);
	struct pen_split s = { .rules = &ours, .at = text, .end = text + len };
	struct pen_split t = { .rules = &theirs, .at = text, .end = text + len };
	struct pen_record p = { 0 }, q = { 0 };
	struct pen_cut x, y;

	pen_split_csv.cut(&ours, 0, text, len, whole, &limits, &x);
	pen_split_csv.cut(&theirs, 0, text, len, whole, &limits, &y);
	if (x.len != y.len || x.items != y.items || x.lines != y.lines)
		return false;
	while (pen_split_csv.next(&s, &p))
		if (!pen_split_csv.next(&t, &q) || p.at != q.at || p.len != q.len || p.line != q.line ||
		    p.code != q.code)
			return false;
	return !pen_split_csv.next(&t, &q) && s.lines == t.lines;
}

/* Texts of few kinds of bytes, where every rule is met often. How many of them the two read alike. */
static uint32_t read_alike(struct pen_csv *a, struct pen_csv *b, uint32_t rounds)
{
	static const char bytes[] = "\"\",\n\\a\"\r\t\x01";
	char *text = malloc(400 + PEN_JSON_PADDING);
	uint32_t alike = 0;

	cr_assert(text);
	for (uint32_t i = 0; i < rounds; i++) {
		size_t len = next_random(next_random(4) ? 90 : 400);
		uint32_t kinds = 3 + next_random(sizeof bytes - 3);

		for (size_t k = 0; k < len + PEN_JSON_PADDING; k++)
			text[k] = next_random(3) ? bytes[next_random(kinds)] : 'x';
		alike += agree(a, b, text, len);
	}
	free(text);
	return alike;
}

Test(csv, both_scans_agree)
{
	enum { ROUNDS = 60000 };
	static const int escapes[] = { '"', '\\', PEN_CSV_NONE };
	static const char sample[] = "1,2\n3,4\n";

	state = 20240607;
	for (size_t i = 0; i < COUNT(escapes); i++) {
		struct pen_csv_options opt = { .delimiter = ',', .quote = '"', .escape = escapes[i] };
		char *copy = padded(TEXT(sample));
		struct pen_csv *fast = open_table(&opt, copy, sizeof sample - 1), *exact, *other;

		pen_csv_force_scalar(true);
		exact = open_table(&opt, copy, sizeof sample - 1);
		opt.quote = '\'';
		other = open_table(&opt, copy, sizeof sample - 1);
		pen_csv_force_scalar(false);
		cr_expect_eq(read_alike(fast, exact, ROUNDS), ROUNDS);
		/* Control: another dialect does not agree. */
		cr_expect_lt(read_alike(fast, other, 1000), 900);
		pen_csv_unref(fast);
		pen_csv_unref(exact);
		pen_csv_unref(other);
		free(copy);
	}
}

Test(csv, seek_finds_what_next_finds_in_any_pieces)
{
	static const char text[] =
		"\"a \"\"quoted\"\" cell, with\r\na line end and 70 bytes or so to reach beyond a block\",x\"\r\n1,2\n";
	const struct pen_csv_options opt = { .delimiter = ',',
					     .header = PEN_HEADER_NAMES,
					     .header_names = "a,b" };
	char *copy = padded(TEXT(text));
	struct pen_csv *csv = open_table(&opt, copy, sizeof text - 1);
	const struct pen_rules rules = { .csv = csv };
	const size_t end = sizeof text - 1 - 4;

	for (size_t piece = 1; piece < sizeof text; piece++) {
		struct pen_seek seek = { .rules = &rules };
		size_t at = 0, n = 0;
		bool found = false;

		while (!found && at < sizeof text - 1) {
			size_t take = sizeof text - 1 - at < piece ? sizeof text - 1 - at : piece;
			char *part = padded(copy + at, take);

			found = pen_split_csv.seek(&seek, part, take, &n);
			at += found ? n : take;
			free(part);
		}
		cr_expect(found && at == end && seek.seen == end && seek.bare == end - 2 && seek.lines == 2,
			  "pieces of %zu: at %zu, bare %zu, lines %u", piece, at, (size_t)seek.bare,
			  seek.lines);
	}
	pen_csv_unref(csv);
	free(copy);
}

Test(csv, a_reference_keeps_the_table)
{
	struct pen_csv *csv = open_table(&(struct pen_csv_options){ 0 }, TEXT("a,b\n1,2\n"));

	cr_expect_eq(pen_csv_ref(csv), csv);
	pen_csv_unref(csv);
	cr_expect_eq(csv->columns, 2);
	pen_csv_unref(csv);
	pen_csv_unref(NULL);
}
