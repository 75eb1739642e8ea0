/* SPDX-License-Identifier: MIT */
/*
 * stress/gauge - one writer as fast as it can, readers all the time: no set is ever mixed
 *
 * Word 0 of a set is its number, all others follow from it. Readers check every word, that numbers never go
 * back, and that they see a plain log entry made before the write; the log has an entry per write and none is
 * used twice. PEN_SEED, PEN_SECS.
 */
#include "ring/gauge.h"

#include <pthread.h>

#include "tests/lib/stress.h"

#define READERS 3
#define WRITES 400000u

static struct pen_gauge gauge;
static uint64_t log_of[WRITES + 1]; /* plain: ordered by the gauge alone */
static uint64_t base;		    /* of the round: constant while threads run */
static _Atomic bool over;

static void *observe(void *arg)
{
	struct stress_random random = stress_random(*(uint64_t *)arg);
	uint64_t words[PEN_GAUGE_WORDS], last = 0, whole = 0;

	while (!atomic_load_explicit(&over, memory_order_relaxed)) {
		if (pen_gauge_read(&gauge, words, PEN_GAUGE_WORDS)) {
			STRESS_CHECK(words[0] <= WRITES, "number %llu", (unsigned long long)words[0]);
			STRESS_CHECK(words[0] >= last, "the numbers went back");
			last = words[0];
			for (uint32_t i = 1; last && i < PEN_GAUGE_WORDS; i++)
				STRESS_CHECK(words[i] == stress_mix(base + last + i),
					     "word %u of set %llu is of another", i,
					     (unsigned long long)last);
			STRESS_CHECK(!last || log_of[last] == base + last,
				     "what came before set %llu is not seen", (unsigned long long)last);
			whole++;
		}
		stress_pause(&random);
	}
	STRESS_CHECK(pen_gauge_read(&gauge, words, PEN_GAUGE_WORDS), "nobody writes and it cannot be read");
	STRESS_CHECK(words[0] >= last, "the numbers went back");
	*(uint64_t *)arg = whole;
	return NULL;
}

int main(void)
{
	uint64_t seed = stress_start("gauge");
	uint64_t rounds = 0, whole = 0;

	do {
		struct stress_random random = stress_random(seed + rounds * 1000);
		pthread_t readers[READERS];
		uint64_t counts[READERS];
		uint64_t words[PEN_GAUGE_WORDS];

		base = seed + rounds * (WRITES + 1);
		pen_gauge_init(&gauge);
		atomic_store(&over, false);
		for (uint64_t i = 0; i < READERS; i++) {
			counts[i] = seed + rounds + i * 7;
			STRESS_CHECK(pthread_create(&readers[i], NULL, observe, &counts[i]) == 0,
				     "no thread");
		}
		for (uint64_t number = 1; number <= WRITES && (stress_time_left() || number < 2000);
		     number++) {
			words[0] = number;
			for (uint32_t i = 1; i < PEN_GAUGE_WORDS; i++)
				words[i] = stress_mix(base + number + i);
			log_of[number] = base + number;
			pen_gauge_write(&gauge, words, PEN_GAUGE_WORDS);
			stress_pause(&random);
		}
		atomic_store(&over, true);
		for (int i = 0; i < READERS; i++) {
			STRESS_CHECK(pthread_join(readers[i], NULL) == 0, "join");
			whole += counts[i];
		}
		rounds++;
	} while (stress_time_left());
	STRESS_CHECK(whole > 0, "nothing was ever read");
	printf("gauge: %llu rounds, %llu whole sets read\n", (unsigned long long)rounds,
	       (unsigned long long)whole);
	return 0;
}
