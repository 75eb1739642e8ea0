/* SPDX-License-Identifier: MIT */
/*
 * bench_split - how fast are the ends of records found, on one core?
 *
 *   bench_split [MIB [SEED]]      default 64 MiB of records of each kind, made in memory
 *
 * One JSON line a case on stdout: the median of 5 passes over the text and the fastest and slowest of them. `cut` is
 * the reader's side (chunks of 256 KiB and 4,096 items, counted), `next` the processors' (every record named); each
 * also without SIMD. Lengths are those of the records, without what separates them, and vary by a quarter.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/json.h"
#include "engine/split.h"

#define PASSES 5
#define CHUNK_BYTES ((size_t)256 << 10)
#define CHUNK_ITEMS 4096u

static uint64_t state;

static uint32_t next_random(void)
{
	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(state >> 33);
}

/* Each writes one record of about len bytes, and what separates it from the next. */
static size_t make_line(char *to, size_t len, uint64_t n)
{
	(void)n;
	for (size_t i = 0; i < len; i++)
		to[i] = (char)('a' + (i * 7 + len) % 26);
	to[len] = '\n';
	return len + 1;
}

static size_t make_number(char *to, size_t len, uint64_t n)
{
	(void)n;
	for (size_t i = 0; i < len; i++)
		to[i] = (char)('1' + (i + len) % 9);
	to[len] = ',';
	return len + 1;
}

static size_t make_object(char *to, size_t len, uint64_t n)
{
	int at = snprintf(
		to, len + 200,
		"{\"id\":\"%08x\",\"at\":%llu,\"who\":{\"id\":%u,\"name\":\"Ana \\\"A\\\" Mu\u00f1oz\","
		"\"place\":{\"town\":\"Gda\u0144sk\",\"lat\":54.35,\"lon\":18.64}},\"tags\":[\"north\",\"river\"],"
		"\"paid\":true,\"note\":\"",
		next_random(), 1700000000000ull + n * 41, next_random() & 0xffffff);

	while ((size_t)at + 2 < len)
		at += snprintf(to + at, len + 200 - (size_t)at, "%s",
			       next_random() % 8 ? "stone cloud " : "a\\tb ");
	at += snprintf(to + at, 8, "\"},\n");
	return (size_t)at;
}

static size_t make_frame(char *to, size_t len, uint64_t n)
{
	to[0] = to[1] = 0;
	to[2] = (char)(len >> 8);
	to[3] = (char)len;
	memset(to + 4, (int)n, len);
	return len + 4;
}

struct text {
	const char *name;
	enum pen_format format;
	size_t record;
	size_t (*make)(char *to, size_t len, uint64_t n);
};

struct bench {
	const struct text *text;
	char *at;
	size_t len, records;
	struct pen_rules rules;
	const struct pen_splitter *splitter;
};

static void fill(struct bench *b, size_t want)
{
	b->len = b->records = 0;
	if (b->text->format == PEN_FORMAT_JSON)
		b->at[b->len++] = '[';
	while (b->len < want) {
		size_t len = b->text->record - b->text->record / 8;

		len += next_random() % (b->text->record / 4 + 1);
		b->len += b->text->make(b->at + b->len, len, b->records++);
	}
	if (b->text->format == PEN_FORMAT_JSON)
		b->at[b->len - (b->at[b->len - 1] == '\n' ? 2 : 1)] = ']'; /* instead of the last comma */
	b->rules =
		(struct pen_rules){ .format = b->text->format, .terminator = '\n', .max_record = UINT32_MAX };
	b->splitter = pen_splitter_of(b->text->format);
}

static size_t pass_cut(const struct bench *b)
{
	const struct pen_limits limits = { .items = CHUNK_ITEMS, .room = CHUNK_BYTES };
	uint32_t context = 0;
	size_t items = 0;

	for (size_t at = 0; at < b->len;) {
		size_t rest = b->len - at, len = rest < CHUNK_BYTES ? rest : CHUNK_BYTES;
		struct pen_cut cut;

		b->splitter->cut(&b->rules, context, b->at + at, len, len == rest, &limits, &cut);
		if (!cut.len)
			return 0;
		at += cut.len;
		items += cut.items;
		context = cut.context;
	}
	return items;
}

static size_t pass_next(const struct bench *b)
{
	struct pen_split split = { .rules = &b->rules, .at = b->at, .end = b->at + b->len };
	struct pen_record record;
	size_t items = 0;

	while (b->splitter->next(&split, &record))
		items += !record.code;
	return items;
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

static bool measure(const struct bench *b, const char *side, size_t (*pass)(const struct bench *))
{
	double secs[PASSES], mid;

	for (int i = 0; i < PASSES; i++) {
		double begin = now();

		if (pass(b) != b->records)
			return false;
		secs[i] = now() - begin;
	}
	qsort(secs, PASSES, sizeof(secs[0]), by_value);
	mid = secs[PASSES / 2];
	printf("{\"bench\":\"split\",\"case\":\"%s_%zu_%s%s\",\"gb_s\":%.3f,\"gb_s_min\":%.3f,\"gb_s_max\":%.3f,"
	       "\"mrec_s\":%.3f,\"ns_rec\":%.1f,\"records\":%zu,\"bytes\":%zu}\n",
	       b->text->name, b->text->record, side, b->rules.scalar ? "_scalar" : "",
	       (double)b->len / mid / 1e9, (double)b->len / secs[PASSES - 1] / 1e9,
	       (double)b->len / secs[0] / 1e9, (double)b->records / mid / 1e6, mid * 1e9 / (double)b->records,
	       b->records, b->len);
	fflush(stdout);
	return true;
}

int main(int argc, char **argv)
{
	static const struct text texts[] = {
		{ "lines", PEN_FORMAT_LINES, 10, make_line },
		{ "lines", PEN_FORMAT_LINES, 300, make_line },
		{ "ndjson", PEN_FORMAT_NDJSON, 10, make_line },
		{ "ndjson", PEN_FORMAT_NDJSON, 300, make_line },
		{ "json", PEN_FORMAT_JSON, 10, make_number },
		{ "json", PEN_FORMAT_JSON, 300, make_object },
		{ "frames", PEN_FORMAT_FRAMES, 10, make_frame },
		{ "frames", PEN_FORMAT_FRAMES, 300, make_frame },
	};
	size_t want = (argc > 1 ? strtoull(argv[1], NULL, 10) : 64) << 20;
	struct bench b = { .at = malloc(want + 4096 + PEN_JSON_PADDING) };
	bool fine = true;

	state = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
	if (!b.at) {
		fprintf(stderr, "bench_split: not enough memory\n");
		return 1;
	}
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]) && fine; i++) {
		b.text = &texts[i];
		fill(&b, want);
		memset(b.at + b.len, 0, PEN_JSON_PADDING);
		for (int scalar = 0; scalar <= (b.text->format != PEN_FORMAT_FRAMES) && fine; scalar++) {
			b.rules.scalar = scalar;
			fine = measure(&b, "cut", pass_cut) && measure(&b, "next", pass_next);
		}
	}
	if (!fine)
		fprintf(stderr, "bench_split: records were missed\n");
	free(b.at);
	return !fine;
}
