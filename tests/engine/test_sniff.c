/* SPDX-License-Identifier: MIT */
#include "engine/sniff.h"

#include <criterion/criterion.h>
#include <string.h>

#include "engine/json.h"

static enum pen_format sniffed(const char *name, const char *text, size_t len, bool whole, bool column)
{
	static char padded[1 << 16];
	struct pen_sniff sniff = {
		.name = name,
		.text = padded,
		.len = len,
		.whole = whole,
		.fields = column,
		.column = column,
	};

	cr_assert_lt(len + PEN_JSON_PADDING, sizeof padded);
	memset(padded, 'x', sizeof padded); /* what lies behind the text must not matter */
	memcpy(padded, text, len);
	return pen_sniff_format(&sniff);
}

Test(sniff, what_the_first_bytes_are)
{
	static const struct {
		const char *name, *text;
		enum pen_format format;
	} rows[] = {
		{ "", "", PEN_FORMAT_NDJSON },
		{ "", " \n\n", PEN_FORMAT_NDJSON },
		{ "", "{\"a\":1}\n", PEN_FORMAT_NDJSON },
		{ "", "\xef\xbb\xbf{\"a\":1}\n{\"a\":2}", PEN_FORMAT_NDJSON },
		{ "", "{\"a\" 1}\n{\"a\":2}\n", PEN_FORMAT_NDJSON },
		{ "", "{\"a\":1\n{\"a\":2}\n", PEN_FORMAT_NDJSON },
		{ "", "{\n \"a\": 1\n}\n", PEN_FORMAT_JSON },
		{ "", "[1,2]", PEN_FORMAT_JSON },
		{ "", "[1,2]\n", PEN_FORMAT_JSON },
		{ "", "[1,2]\n[3]\n", PEN_FORMAT_NDJSON },
		{ "", "[{\"a\":1}]\n[{\"a\":2}]\n", PEN_FORMAT_JSON },
		{ "", "[\n1,\n2]", PEN_FORMAT_JSON },
		{ "", "[{\"a\":1},{bad}]", PEN_FORMAT_JSON },
		{ "", "[0,1,2,3,4,5,6,7,8,{bad}]", PEN_FORMAT_JSON },
		{ "x.ndjson", "[1,2]\n", PEN_FORMAT_NDJSON },
		{ "x.jsonl.gz", "[1,2]\n", PEN_FORMAT_NDJSON },
		{ "x.json", "{\"a\":1}\n{\"a\":2}\n", PEN_FORMAT_NDJSON },
		{ "", "[2024-05-01 12:00] started\n", PEN_FORMAT_LINES },
		{ "", "1\n2\n", PEN_FORMAT_NDJSON },
		{ "", "word\nother\n", PEN_FORMAT_LINES },
		{ "x.csv", "word\nother\n", PEN_FORMAT_CSV },
		{ "X.CSV.ZST", "word\nother\n", PEN_FORMAT_CSV },
		{ "x.tsv", "a,b\n", PEN_FORMAT_TSV },
		{ "csv", "word\n", PEN_FORMAT_LINES },
		{ "", "id,name\n1,a\n2,b\n", PEN_FORMAT_CSV },
		{ "", "id;name\n1;a\n2;b\n", PEN_FORMAT_CSV },
		{ "", "id\tname\n1\ta\n2\tb\n", PEN_FORMAT_TSV },
		{ "", "id,name\n1,a\n2,b,c\n", PEN_FORMAT_LINES },
		{ "", "Dear Sir,\nwe write, hereby, to you\nagain\n", PEN_FORMAT_LINES },
		{ "", "2024-01-01 00:00:00,123 one\n2024-01-01 00:00:01,456 two\n2024-01-01 00:00:02,1 x\n",
		  PEN_FORMAT_LINES },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		cr_expect_eq(sniffed(rows[i].name, rows[i].text, strlen(rows[i].text), true, false),
			     rows[i].format, "row %zu: %s", i, rows[i].text);
}

Test(sniff, a_column_makes_a_table_of_what_is_no_json)
{
	const char *ragged = "id,name\n1,a\n2,b,c\n", *json = "{\"id\":1}\n";

	cr_expect_eq(sniffed("", ragged, strlen(ragged), true, true), PEN_FORMAT_CSV);
	cr_expect_eq(sniffed("", json, strlen(json), true, true), PEN_FORMAT_NDJSON);
}

Test(sniff, a_row_cut_by_the_sample_is_not_held_against_it)
{
	const char *cut = "id,name\n1,a\n2,b\n3";

	cr_expect_eq(sniffed("", cut, strlen(cut), false, false), PEN_FORMAT_CSV);
	cr_expect_eq(sniffed("", cut, strlen(cut), true, false), PEN_FORMAT_LINES,
		     "the control: there it is a ragged row");
}
