/* SPDX-License-Identifier: MIT */
/*
 * bench_csv - how fast are rows cut and turned into JSON, on one core?
 *
 *   bench_csv [MIB [SEED]]      default 4 MiB, read over and over (it should fit a cache)
 *
 * One JSON line a case on stdout: the median of 5 passes of at least 64 MiB each and the fastest and slowest of
 * them. `plain` has numbers, words and dates and no quotes; `quoted` has quotes around most cells, delimiters, line
 * ends and doubled quotes in them; `stray` has quotes in the middle of unquoted cells, which the fast scan takes
 * one by one. cut counts rows as the reader does, cut_json with the bound for their JSON; split finds each row as
 * a processor does, take makes its object too.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/csv.h"

#define PASSES 5
#define PASS_BYTES (64u << 20)
#define CHUNK (256u << 10)

static uint64_t state;

static uint32_t next_random(void)
{
	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(state >> 33);
}

static const char *word(void)
{
	static const char *const words[] = { "north", "Zoë",  "order 66", "river",
					     "大阪",  "open", "a",	  "sign-in" };

	return words[next_random() % 8];
}

enum kind { PLAIN, QUOTED, STRAY };

#define ROW(form)                                                                                     \
	(size_t) snprintf(to, room, form, (unsigned long long)n, word(), next_random() % 12 + 1,      \
			  next_random() % 28 + 1, next_random() % 10000, next_random() % 100, word(), \
			  next_random())

static size_t make_row(char *to, size_t room, enum kind kind, uint64_t n)
{
	if (kind == PLAIN)
		return ROW("%llu,%s,2024-%02u-%02u,%u.%02u,%s,%u\n");
	if (kind == QUOTED)
		return ROW("%llu,\"%s\",\"2024-%02u-%02u\",\"%u,%02u\",\"say \"\"%s\"\"\nto him\",%u\n");
	return ROW("%llu,%s,2024-%02u-%02u,%u.%02u\",the \"%s\",%u\n");
}

struct bench {
	char *text, *out;
	size_t len, records;
	struct pen_csv *csv;
	struct pen_rules rules;
};

enum way { CUT, SPLIT, TAKE };

/* Goes through the text once, a chunk at a time; the records seen, 0 if one is refused. */
static size_t pass(const struct bench *b, enum way way)
{
	size_t seen = 0;

	for (size_t at = 0; at < b->len;) {
		struct pen_limits limits = { .items = UINT32_MAX,
					     .room = way == CUT ? SIZE_MAX / 2 : SIZE_MAX };
		size_t len = b->len - at < CHUNK ? b->len - at : CHUNK;
		struct pen_split split = { .rules = &b->rules,
					   .at = b->text + at,
					   .end = b->text + at + len };
		struct pen_csv_taken io = { .out = b->out };
		struct pen_record record;
		struct pen_cut cut;

		pen_split_csv.cut(&b->rules, 0, b->text + at, len, false, &limits, &cut);
		at += cut.len;
		if (way == CUT) {
			seen += cut.items;
			continue;
		}
		split.end = b->text + at;
		while (pen_split_csv.next(&split, &record)) {
			if (way == TAKE && pen_csv_take(b->csv, record.at, record.len, &io))
				return 0;
			seen++;
		}
	}
	return seen;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static bool measure(const struct bench *b, const char *name, enum way way)
{
	size_t rounds = PASS_BYTES / b->len + 1, bytes = rounds * b->len;
	double secs[PASSES];

	if (pass(b, way) != b->records)
		return false;
	for (int i = 0; i < PASSES; i++) {
		double begin = now();

		for (size_t k = 0; k < rounds; k++)
			if (pass(b, way) != b->records)
				return false;
		secs[i] = now() - begin;
	}
	qsort(secs, PASSES, sizeof secs[0], by_value);
	double mid = secs[PASSES / 2];
	printf("{\"bench\":\"csv\",\"case\":\"%s\",\"gb_s\":%.3f,\"gb_s_min\":%.3f,\"gb_s_max\":%.3f,\"mrec_s\":%.3f,"
	       "\"records\":%zu,\"bytes\":%zu,\"simd\":\"%s\"}\n",
	       name, (double)bytes / mid / 1e9, (double)bytes / secs[PASSES - 1] / 1e9,
	       (double)bytes / secs[0] / 1e9, (double)(rounds * b->records) / mid / 1e6, b->records, b->len,
	       b->csv->lone_cr ? "scalar" : pen_csv_simd());
	fflush(stdout);
	return true;
}

static bool open_table(struct bench *b, enum pen_value_form value, bool scalar)
{
	const struct pen_csv_options options = {
		.format = PEN_FORMAT_CSV,
		.delimiter = ',',
		.quote = '"',
		.value = value,
		.header = PEN_HEADER_NAMES,
		.header_names = "id,name,date,sum,note,number",
	};
	struct pen_failure why;

	pen_csv_unref(b->csv);
	b->csv = NULL;
	pen_csv_force_scalar(scalar);
	if (pen_csv_open(&options, b->text, b->len < PEN_CSV_SAMPLE ? b->len : PEN_CSV_SAMPLE, false, &b->csv,
			 &why))
		return false;
	b->rules = (struct pen_rules){ .format = PEN_FORMAT_CSV, .csv = b->csv };
	return true;
}

static bool measure_kind(struct bench *b, const char *name, enum kind kind, size_t want)
{
	char label[64];
	bool fine = true;

	b->len = b->records = 0;
	while (b->len + 512 < want)
		b->len += make_row(b->text + b->len, 512, kind, b->records++);
	for (int scalar = 0; scalar < 2 && fine; scalar++) {
		const char *suffix = scalar ? "_scalar" : "";

		fine = open_table(b, PEN_VALUE_RAW, scalar);
		snprintf(label, sizeof label, "%s_cut%s", name, suffix);
		fine = fine && measure(b, label, CUT) && open_table(b, PEN_VALUE_JSON, scalar);
		snprintf(label, sizeof label, "%s_cut_json%s", name, suffix);
		fine = fine && measure(b, label, CUT);
		snprintf(label, sizeof label, "%s_split%s", name, suffix);
		fine = fine && measure(b, label, SPLIT);
		snprintf(label, sizeof label, "%s_take%s", name, suffix);
		fine = fine && measure(b, label, TAKE);
	}
	return fine;
}

int main(int argc, char **argv)
{
	size_t want = (argc > 1 ? strtoull(argv[1], NULL, 10) : 4) << 20;
	struct bench b = { 0 };
	bool fine;

	state = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
	b.text = malloc(want + PEN_JSON_PADDING);
	b.out = malloc(64u << 10);
	if (!b.text || !b.out || want < 1024) {
		fprintf(stderr, "bench_csv: not enough memory\n");
		return 1;
	}
	memset(b.text, 0, want + PEN_JSON_PADDING);
	fine = measure_kind(&b, "plain", PLAIN, want) && measure_kind(&b, "quoted", QUOTED, want) &&
	       measure_kind(&b, "stray", STRAY, want);
	if (!fine)
		fprintf(stderr, "bench_csv: a record was refused\n");
	pen_csv_unref(b.csv);
	free(b.text);
	free(b.out);
	return !fine;
}
