/* SPDX-License-Identifier: MIT */
/*
 * stress/log - many threads log, one takes: each record once and whole, a thread's in order, and losses are counted
 *
 * What a record holds is computed from its number, so a torn one is noticed; the rings are plain memory, so the race
 * checker sees any order that is missing. Threads come and go, so that rings change hands. The taker sleeps as the
 * logger does; a wait that ends by its timeout though a record is there is a lost wake. PEN_SEED, PEN_SECS.
 */
#include "ring/log.h"

#include <pthread.h>
#include <string.h>

#include "tests/lib/stress.h"

#define LOGGERS 5u
#define TURNS 2000u /* records a thread puts before it ends, and another goes on with its numbers */
#define TIMEOUT_NS (300 * PEN_NS_PER_MS)

struct logger {
	pthread_t thread;
	uint64_t seed, number, put, refused;
	uint64_t turn, in_turn; /* records of the thread that logs now */
};

#define TURNS_KEPT 4096u

static struct logger loggers[LOGGERS];
static _Atomic bool over;
static _Atomic unsigned gone;

static size_t text_of(char *text, uint64_t first)
{
	size_t len = stress_mix(first) % 900;

	for (size_t i = 0; i < len; i++)
		text[i] = (char)('a' + stress_mix(first + i / 8) % 26);
	text[len] = 0;
	return len;
}

static void put_one(struct logger *me)
{
	uint64_t first = me->number << 56 | me->turn << 24 | me->in_turn;
	char text[1024];
	const struct pen_log_field fields[] = { PEN_LOG_U64("mix", stress_mix(first)),
						PEN_LOG_TEXT("text", text) };
	const struct pen_log_line line = {
		.size = sizeof line,
		.context = { .item = first, .has_item = true },
		.message = text,
		.fields = fields,
		.field_count = 2,
	};

	(void)text_of(text, first);
	if (pen_log_put(&line)) {
		me->refused++;
		sched_yield();
	} else {
		me->put++;
		me->in_turn++;
	}
}

static void *some(void *arg)
{
	struct logger *me = arg;
	struct stress_random random = stress_random(me->seed + me->put);

	for (unsigned i = 0; i < TURNS && !atomic_load(&over); i++) {
		put_one(me);
		stress_pause(&random);
	}
	return NULL;
}

static void *log_on(void *arg)
{
	struct logger *me = arg;
	pthread_t turn;

	while (!atomic_load(&over)) {
		STRESS_CHECK(!pthread_create(&turn, NULL, some, me), "thread");
		(void)pthread_join(turn, NULL);
		me->turn++;
		me->in_turn = 0;
	}
	atomic_fetch_add(&gone, 1);
	return NULL;
}

static void check(const struct pen_log_record *rec, uint64_t (*next)[TURNS_KEPT])
{
	uint64_t who = rec->item >> 56, turn = rec->item >> 24 & 0xffffffff, seq = rec->item & 0xffffff, mix;
	const uint8_t *at = (const uint8_t *)(rec + 1);
	struct pen_log_packed f;
	char text[1024];
	size_t len;

	STRESS_CHECK(who < LOGGERS && turn < TURNS_KEPT && seq == next[who][turn], "%lu.%lu: record %lu", who,
		     turn, seq);
	next[who][turn]++;
	len = text_of(text, rec->item);
	STRESS_CHECK(rec->message_len == len && !memcmp(at, text, len), "a torn message");
	at += len;
	memcpy(&f, at, sizeof f);
	memcpy(&mix, at + sizeof f + f.name_len, 8);
	STRESS_CHECK(f.type == PEN_LOG_IS_U64 && mix == stress_mix(rec->item), "a torn number");
	at += sizeof f + f.name_len + f.value_len;
	memcpy(&f, at, sizeof f);
	STRESS_CHECK(f.value_len == len && !memcmp(at + sizeof f + f.name_len, text, len), "a torn field");
}

static uint64_t take(uint64_t (*next)[TURNS_KEPT])
{
	const struct pen_log_record *rec;
	uint64_t n = 0;

	while ((rec = pen_log_peek())) {
		check(rec, next);
		pen_log_pass();
		n++;
	}
	return n;
}

int main(void)
{
	static uint64_t next[LOGGERS][TURNS_KEPT];
	uint64_t seed = stress_start("log"), put = 0, refused = 0, taken = 0, lost = 0;
	struct stress_random random = stress_random(seed);

	pen_log_start(&pen_clock_real);
	for (uint32_t i = 0; i < LOGGERS; i++) {
		loggers[i].number = i;
		loggers[i].seed = seed + i;
		STRESS_CHECK(!pthread_create(&loggers[i].thread, NULL, log_on, &loggers[i]), "thread");
	}
	while (stress_time_left()) {
		uint32_t ticket = pen_park_ticket(&pen_log_bell.park);
		uint64_t n;

		pen_log_look();
		n = take(next);
		taken += n;
		lost += pen_log_lost();
		stress_pause(&random);
		/* One that was published as the time was over has rung by the second wait. */
		if (!n && !pen_park_wait(&pen_log_bell.park, ticket, TIMEOUT_NS))
			STRESS_CHECK(!pen_log_peek() || pen_park_wait(&pen_log_bell.park, ticket, TIMEOUT_NS),
				     "a wake is lost: a record lies there");
	}
	atomic_store(&over, true);
	while (atomic_load(&gone) < LOGGERS)
		taken += take(next);
	for (uint32_t i = 0; i < LOGGERS; i++) {
		(void)pthread_join(loggers[i].thread, NULL);
		put += loggers[i].put;
		refused += loggers[i].refused;
	}
	pen_log_look();
	taken += take(next);
	lost += pen_log_lost();
	STRESS_CHECK(taken == put, "%lu records taken, %lu put", taken, put);
	STRESS_CHECK(lost == refused, "%lu lost, %lu counted", refused, lost);
	STRESS_CHECK(taken > 1000, "only %lu records", taken);
	printf("%lu records, %lu lost\n", taken, lost);
	return 0;
}
