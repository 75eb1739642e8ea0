/* SPDX-License-Identifier: MIT */
/*
 * bench_gen - writes records to measure with: random 16-digit ids, nested objects, escapes, text beyond ASCII
 *
 *	bench_gen FILE MIB|RECORDSr [SEED [ndjson|json|csv]]
 *
 * So many MiB, or with an r behind it, so many records; the same seed gives the same records in every form.
 * ndjson: one object a line, about 300 bytes. json: the same objects as one array, all of it on one line. csv: the
 * same fields under a header, about 200 bytes a row, what is nested as columns of its own and the list joined by
 * commas: every row has quotes around a cell, two in five have doubled quotes and one in eight a line end within one.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum form { NDJSON, JSON, CSV };

struct record {
	uint64_t id, at, r, q;
	char name[64], tags[3][32], note[256];
};

static uint64_t state;

/* splitmix64: small, seeded, good enough for data. */
static uint64_t next(void)
{
	uint64_t z = state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

/* One of sixteen words, as the form writes them inside quotes. */
static const char *word(enum form form, uint64_t which)
{
	static const char *const words[][16] = {
		{ "lane", "gate", "turbine", "caf\\u00e9", "said \\\"yes\\\"", "Zürich", "東京", "flow",
		  "head", "spill", "intake", "draft", "tail", "surge", "valve", "wicket" },
		{ "lane", "gate", "turbine", "café", "said \"\"yes\"\"", "Zürich", "東京", "flow", "head",
		  "spill", "intake", "draft", "tail", "surge", "valve", "wicket" },
	};

	return words[form == CSV][which & 15];
}

static void make(struct record *record, enum form form, uint64_t n)
{
	uint64_t r = record->r = next(), q = record->q = next();
	size_t at = 0;

	record->id = next();
	record->at = 1700000000000 + n * 37;
	snprintf(record->name, sizeof record->name, "%s %s", word(form, r), word(form, r >> 4));
	for (int i = 0; i < 3; i++)
		snprintf(record->tags[i], sizeof record->tags[i], "%s", word(form, r >> (8 + 4 * i)));
	for (int i = 0; i < 8; i++) {
		const char *between = i != 4 ? " " : q >> 32 & 7 ? ", " : form == CSV ? "\n" : "\\n";

		at += (size_t)snprintf(record->note + at, sizeof record->note - at, "%s%s", i ? between : "",
				       word(form, q >> 4 * i));
	}
}

static int write_json(FILE *f, const struct record *record)
{
	uint64_t r = record->r, q = record->q;

	return fprintf(
		f,
		"{\"id\":\"%016" PRIx64 "\",\"at\":%" PRIu64
		",\"from\":{\"id\":%u,\"name\":\"%s\",\"lat\":%.5f,\"lon\":%.5f},\"tags\":[\"%s\",\"%s\",\"%s\"],"
		"\"level\":%.2f,\"open\":%s,\"next\":null,\"trace\":\"%016" PRIx64 "%016" PRIx64
		"\",\"note\":\"%s\"}",
		record->id, record->at, (unsigned)(q & 0xffffff), record->name, (double)(r >> 40) / 1e5,
		(double)(q >> 40) / 1e5, record->tags[0], record->tags[1], record->tags[2],
		(double)(r % 1000000) / 100, q & 1 ? "true" : "false", r, q, record->note);
}

/* Quotes where they must be, as csv writers do. */
static int write_cell(FILE *f, const char *text)
{
	return fprintf(f, strpbrk(text, ",\"\n") ? ",\"%s\"" : ",%s", text);
}

static int write_csv(FILE *f, const struct record *record)
{
	uint64_t r = record->r, q = record->q;
	int k[4];

	k[0] = fprintf(f, "%016" PRIx64 ",%" PRIu64 ",%u", record->id, record->at, (unsigned)(q & 0xffffff));
	k[1] = write_cell(f, record->name);
	k[2] = fprintf(f, ",%.5f,%.5f,\"%s,%s,%s\",%.2f,%s,,%016" PRIx64 "%016" PRIx64,
		       (double)(r >> 40) / 1e5, (double)(q >> 40) / 1e5, record->tags[0], record->tags[1],
		       record->tags[2], (double)(r % 1000000) / 100, q & 1 ? "true" : "false", r, q);
	k[3] = write_cell(f, record->note);
	return k[0] < 0 || k[1] < 0 || k[2] < 0 || k[3] < 0 ? -1 : k[0] + k[1] + k[2] + k[3];
}

/* What stands before the records, between two of them, and behind the last. */
static const char *const before[] = { "", "[",
				      "id,at,from_id,from_name,lat,lon,tags,level,open,next,trace,note\n" };
static const char *const between[] = { "\n", ",", "\n" };
static const char *const behind[] = { "\n", "]\n", "\n" };

static int form_of(const char *name)
{
	static const char *const names[] = { "ndjson", "json", "csv" };

	for (int i = 0; i < 3; i++)
		if (!strcmp(name, names[i]))
			return i;
	return -1;
}

int main(int argc, char **argv)
{
	int form = argc > 4 ? form_of(argv[4]) : NDJSON;
	uint64_t want, bytes = 0, n = 0;
	struct record record;
	bool by_records;
	char *end;
	FILE *f;

	if (argc < 3 || form < 0) {
		fprintf(stderr, "usage: bench_gen FILE MIB|RECORDSr [SEED [ndjson|json|csv]]\n");
		return 2;
	}
	want = strtoull(argv[2], &end, 10);
	by_records = *end == 'r';
	if (!by_records)
		want <<= 20;
	state = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
	f = fopen(argv[1], "we");
	if (!f) {
		perror(argv[1]);
		return 1;
	}
	fputs(before[form], f);
	while ((by_records ? n : bytes) < want) {
		int k;

		if (n)
			fputs(between[form], f);
		make(&record, form, n);
		k = form == CSV ? write_csv(f, &record) : write_json(f, &record);
		if (k < 0)
			return 1;
		bytes += (uint64_t)k + 1;
		n++;
	}
	fputs(behind[form], f);
	if (ferror(f) | fclose(f))
		return 1;
	fprintf(stderr, "%" PRIu64 " records, %" PRIu64 " bytes\n", n, bytes);
	return 0;
}
