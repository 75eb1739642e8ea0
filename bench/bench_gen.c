/* SPDX-License-Identifier: MIT */
/*
 * bench_gen - writes NDJSON to measure with: about 300 bytes a record, random 16-digit ids, nested objects, escapes
 *
 *	bench_gen FILE MIB|RECORDSr [SEED]     so many MiB, or with an r behind it, so many records
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static uint64_t state;

/* splitmix64: small, seeded, good enough for data. */
static uint64_t next(void)
{
	uint64_t z = state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

int main(int argc, char **argv)
{
	static const char *const words[] = { "lane",   "gate",	"turbine", "caf\\u00e9", "said \\\"yes\\\"",
					     "Zürich", "東京",	"flow",	   "head",	 "spill",
					     "intake", "draft", "tail",	   "surge",	 "valve",
					     "wicket" };
	uint64_t want, bytes = 0, n = 0;
	bool by_records;
	char *end;
	FILE *f;

	if (argc < 3) {
		fprintf(stderr, "usage: bench_gen FILE MIB|RECORDSr [SEED]\n");
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
	while ((by_records ? n : bytes) < want) {
		uint64_t r = next(), q = next();
		int k = fprintf(
			f,
			"{\"id\":\"%016" PRIx64 "\",\"at\":%" PRIu64
			",\"from\":{\"id\":%u,\"name\":\"%s %s\",\"lat\":%.5f,"
			"\"lon\":%.5f},\"tags\":[\"%s\",\"%s\",\"%s\"],\"level\":%.2f,\"open\":%s,\"next\":null,"
			"\"trace\":\"%016" PRIx64 "%016" PRIx64 "\",\"note\":\""
			"%s %s %s %s %s %s %s %s\"}\n",
			next(), 1700000000000 + n * 37, (unsigned)(q & 0xffffff), words[r & 15],
			words[r >> 4 & 15], (double)(r >> 40) / 1e5, (double)(q >> 40) / 1e5,
			words[r >> 8 & 15], words[r >> 12 & 15], words[r >> 16 & 15],
			(double)(r % 1000000) / 100, q & 1 ? "true" : "false", r, q, words[q & 15],
			words[q >> 4 & 15], words[q >> 8 & 15], words[q >> 12 & 15], words[q >> 16 & 15],
			words[q >> 20 & 15], words[q >> 24 & 15], words[q >> 28 & 15]);

		if (k < 0)
			return 1;
		bytes += (uint64_t)k;
		n++;
	}
	if (fclose(f))
		return 1;
	fprintf(stderr, "%" PRIu64 " records, %" PRIu64 " bytes\n", n, bytes);
	return 0;
}
