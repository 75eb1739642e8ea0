/* SPDX-License-Identifier: MIT */
/*
 * bench_json - how fast are records judged and their keys found, on one core?
 *
 *   bench_json [MIB [SEED]]      default 64 MiB of records of about 300 bytes, made in memory
 *
 * One JSON line a case on stdout: the median of 5 passes over all records and the fastest and slowest of
 * them. The time includes finding the record's end with memchr, as a pipeline must. A record has the key
 * first (7 of 8) or last, nested objects and arrays, another "id" on the way, escapes, and names in
 * several scripts.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/json.h"

#define PASSES 5
#define OUT_CAP 520

static uint64_t state;

static uint32_t next_random(void)
{
	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(state >> 33);
}

static const char *pick(const char *const *from, size_t n)
{
	return from[next_random() % n];
}

#define PICK(array) pick(array, sizeof(array) / sizeof((array)[0]))

/* Writes one record and its newline; returns its length. */
static size_t make_record(char *to, size_t room, uint64_t n)
{
	static const char *const kinds[] = { "open", "view", "order", "sign-in", "return", "find" };
	static const char *const people[] = {
		"Zoë Brückner",	  "佐藤花子",	"Ana Muñoz",	"Tom O'Neil",
		"Ирина Соколова", "Jan Wójcik", "plain person", "smile 😀 person"
	};
	static const char *const towns[] = { "Köln", "大阪", "Málaga", "Gdańsk", "Boston", "Oslo" };
	static const char *const words[] = { "north",	    "south",  "\\\"quoted\\\"", "tab\\tstop",
					     "na\\u00efve", "garçon", "new\\nline",	"river",
					     "stone",	    "cloud",  "lamp",		"paper",
					     "to",	    "a" };
	char id[48];
	char note[400];
	size_t at = 0;
	bool late = next_random() % 8 == 0;
	int len;

	snprintf(id, sizeof(id), "\"id\":\"%08x%08x\"", next_random(), next_random());
	for (uint32_t i = 0, last = 3 + next_random() % 9; i < last; i++)
		at += (size_t)snprintf(note + at, sizeof(note) - at, "%s%s", i ? " " : "", PICK(words));
	len = snprintf(
		to, room,
		"{%s%s\"at\":%llu,\"kind\":\"%s\",\"who\":{\"id\":%u,\"name\":\"%s\",\"place\":{\"town\":\"%s\","
		"\"lat\":%.5f,\"lon\":%.5f}},\"tags\":[\"%s\",\"%s\"],\"sum\":%.2f,\"paid\":%s,\"ref\":null,"
		"\"note\":\"%s\"%s%s}\n",
		late ? "" : id, late ? "" : ",", 1700000000000ull + n * 41, PICK(kinds),
		next_random() & 0xffffff, PICK(people), PICK(towns), next_random() % 9000000 / 1e5 - 45,
		next_random() % 18000000 / 1e5 - 90, PICK(words), PICK(words),
		next_random() % 1000000 / 100.0, next_random() % 2 ? "true" : "false", note, late ? "," : "",
		late ? id : "");
	return (size_t)len;
}

struct bench {
	char *text;
	size_t len;
	size_t records;
	struct pen_json *json;
	struct pen_pointer id;
};

enum way { STRICT_KEY, STRICT, SCALAR, SCALAR_KEY, PEEK };

/* Judges every record; returns the sum of the keys' lengths, 0 if any record is refused. */
static size_t pass(const struct bench *b, enum way way)
{
	struct pen_json_key key = { 0 };
	struct pen_json_flaw flaw;
	char out[OUT_CAP];
	size_t sum = 1;

	for (const char *p = b->text, *end = p + b->len; p < end;) {
		const char *stop = memchr(p, '\n', (size_t)(end - p));
		size_t len = (size_t)(stop - p);
		int rc = 0;

		switch (way) {
		case STRICT_KEY:
			rc = pen_json_check(b->json, p, len, &b->id, out, sizeof(out), &key, &flaw);
			break;
		case STRICT:
			rc = pen_json_check(b->json, p, len, NULL, out, sizeof(out), &key, &flaw);
			break;
		case SCALAR:
			rc = pen_json_valid(p, len, &flaw) ? 0 : flaw.code;
			break;
		case SCALAR_KEY:
			rc = pen_json_valid(p, len, &flaw) ? 0 : flaw.code;
			if (!rc)
				rc = pen_json_find(p, len, &b->id, out, sizeof(out), &key);
			break;
		case PEEK:
			rc = pen_json_peek(b->json, p, len, &b->id, out, sizeof(out), &key, &flaw);
			break;
		}
		if (rc)
			return 0;
		sum += key.len;
		p = stop + 1;
	}
	return sum;
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
	double secs[PASSES];

	if (!pass(b, way))
		return false;
	for (int i = 0; i < PASSES; i++) {
		double begin = now();

		if (!pass(b, way))
			return false;
		secs[i] = now() - begin;
	}
	qsort(secs, PASSES, sizeof(secs[0]), by_value);
	double mid = secs[PASSES / 2];
	printf("{\"bench\":\"json\",\"case\":\"%s\",\"gb_s\":%.3f,\"gb_s_min\":%.3f,\"gb_s_max\":%.3f,\"mrec_s\":%.3f,"
	       "\"ns_rec\":%.1f,\"records\":%zu,\"bytes\":%zu,\"simd\":\"%s\"}\n",
	       name, (double)b->len / mid / 1e9, (double)b->len / secs[PASSES - 1] / 1e9,
	       (double)b->len / secs[0] / 1e9, (double)b->records / mid / 1e6, mid * 1e9 / (double)b->records,
	       b->records, b->len, pen_json_simd());
	fflush(stdout);
	return true;
}

int main(int argc, char **argv)
{
	size_t want = (argc > 1 ? strtoull(argv[1], NULL, 10) : 64) << 20;
	struct bench b = { 0 };
	bool fine;

	state = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
	b.text = malloc(want + 4096 + PEN_JSON_PADDING);
	if (!b.text || pen_json_open(&b.json) || pen_pointer_parse(&b.id, "/id")) {
		fprintf(stderr, "bench_json: not enough memory\n");
		return 1;
	}
	while (b.len < want)
		b.len += make_record(b.text + b.len, 4096, b.records++);
	memset(b.text + b.len, 0, PEN_JSON_PADDING);
	fine = measure(&b, "strict_key", STRICT_KEY) && measure(&b, "strict", STRICT) &&
	       measure(&b, "scalar", SCALAR) && measure(&b, "scalar_key", SCALAR_KEY) &&
	       measure(&b, "peek", PEEK);
	if (!fine)
		fprintf(stderr, "bench_json: a record was refused\n");
	pen_pointer_fini(&b.id);
	pen_json_close(b.json);
	free(b.text);
	return !fine;
}
