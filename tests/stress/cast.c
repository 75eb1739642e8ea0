/* SPDX-License-Identifier: MIT */
/*
 * stress/cast - one writer as fast as it can into a tiny progress ring, readers in threads and processes: nothing torn,
 * nothing counted wrong
 *
 * Every event and every gauge says by its payload which one it is. Each reader checks all that it accepts, and at
 * the end that what it saw and what it was told it lost add up to what was published. Reader threads look at the writer's
 * own map, so that the race checker sees both sides; they also read a plain log entry made before each event, which
 * is ordered by the ring alone. Reader processes map the file themselves; one of them runs only when nobody else wants to.
 *
 * PEN_SEED, PEN_SECS; PEN_EVENTS: until so many were published, however long that takes.
 */
#include "ring/cast.h"

#include <pthread.h>
#include <sched.h>
#include <sys/wait.h>

#include "tests/lib/cast_lab.h"
#include "tests/lib/stress.h"

#define THREADS_MAX 5
#define PROCESSES_MAX 3
#define ROUND (1u << 17) /* events of a round; the log has an entry for each */
#define GAUGES 3u

static struct cast_lab lab;
static struct pen_cast *cast;
static uint64_t *log_of; /* plain: ordered by the ring alone */
static uint64_t first;	 /* of the round: constant while readers run */
static uint64_t accepted, gauges_read;

struct reader {
	struct pen_ring ring;
	uint64_t seed, seen, lost, gauges, last[GAUGES];
	bool shares; /* the writer's map and log */
};

static void check_event(const struct reader *reader, const struct pen_ring_event *e)
{
	uint64_t i = e->seq - 1, mix = stress_mix(i);

	STRESS_CHECK(e->a == mix && e->b == ~mix && e->c == i && e->batch_id == stress_mix(mix) &&
			     e->ts_ns == i + 1 && e->code == (uint32_t)mix &&
			     e->gauge_idx == (uint32_t)i % GAUGES && e->type == PEN_RING_EV_PROGRESS,
		     "event %llu is torn", (unsigned long long)i);
	if (reader->shares)
		STRESS_CHECK(log_of[i - first] == mix, "what came before event %llu is not seen",
			     (unsigned long long)i);
}

static void check_gauges(struct reader *reader)
{
	struct pen_ring_names names;
	struct pen_ring_gauge g;
	int rc;

	for (uint32_t slot = 0; (rc = pen_ring_next(&reader->ring, &slot, &g)); slot++) {
		if (rc < 0)
			continue;
		STRESS_CHECK(g.user_tag >= reader->last[slot], "gauge %u went back", slot);
		reader->last[slot] = g.user_tag;
		STRESS_CHECK(g.batch_id == stress_mix(g.user_tag) && g.live[0] == ~g.batch_id &&
				     g.live[7] == g.user_tag * 3 && g.attempt == (uint32_t)g.user_tag &&
				     g.eta_ms == g.batch_id * 5,
			     "gauge %u is torn", slot);
		if (pen_ring_names(&reader->ring, slot, g.batch_id, &names))
			STRESS_CHECK(!memcmp(names.label, &names.batch_id, 8) &&
					     !memcmp(names.live[7], &names.batch_id, 8),
				     "the names of %u are another batch's", slot);
		reader->gauges++;
	}
}

/* Until the writer has closed and all is read. */
static void observe(struct reader *reader)
{
	struct stress_random random = stress_random(reader->seed);
	struct pen_ring_event got[32];
	struct pen_ring_hot hot;
	bool last = false;
	uint64_t lost;
	int n;

	for (;;) {
		/* A round of reading begun after the end is seen finds all there is. */
		pen_ring_hot(&reader->ring, &hot);
		last = hot.state == PEN_RING_CLOSED;
		do {
			n = pen_ring_poll(&reader->ring, got, 1 + (uint32_t)stress_below(&random, 32), &lost);
			STRESS_CHECK(n >= 0, "poll: %d", n);
			for (int i = 0; i < n; i++)
				check_event(reader, &got[i]);
			reader->seen += (uint64_t)n;
			reader->lost += lost;
		} while (n || lost);
		if (last)
			return;
		if (stress_below(&random, 4) == 0)
			check_gauges(reader);
		stress_pause(&random);
		if (stress_below(&random, 64) == 0)
			(void)pen_ring_wait(&reader->ring, 1);
	}
}

static void open_reader(struct reader *reader, uint64_t seed)
{
	int rc;

	*reader = (struct reader){ .seed = seed };
	rc = pen_ring_open(&reader->ring, lab.path, PEN_RING_OWNERS_OWN);
	STRESS_CHECK(!rc, "open: %d", rc);
	reader->ring.cursor = first;
}

static void *reader_thread(void *arg)
{
	struct reader *reader = arg;

	for (unsigned i = PEN_RING_HOT; i <= PEN_RING_NAMES; i++)
		reader->ring.parts[i].at = cast->map + reader->ring.parts[i].offset;
	reader->shares = true;
	observe(reader);
	return NULL;
}

static void set_gauge(uint32_t slot, uint64_t i)
{
	struct pen_ring_gauge g = { .state = PEN_RUNNING, .user_tag = i, .attempt = (uint32_t)i };
	struct pen_ring_names names = { 0 };

	g.batch_id = stress_mix(i);
	g.live[0] = ~g.batch_id;
	g.live[7] = i * 3;
	g.eta_ms = g.batch_id * 5;
	if (i % 8 == 0) {
		cast->slots[slot].batch_id = g.batch_id;
		memcpy(names.label, &g.batch_id, 8);
		memcpy(names.live[7], &g.batch_id, 8);
		pen_cast_names(cast, slot, &names);
	}
	pen_cast_gauge(cast, slot, &g, 0);
}

static void publish_round(struct stress_random *random)
{
	struct pen_ring_event events[80];
	uint64_t end = first + ROUND, pace = stress_below(random, 4);

	/* A writer that never pauses laps its readers all the time; one that does lets them see most of it. */
	for (uint64_t i = first; i != end;) {
		uint32_t n = 1 + (uint32_t)stress_below(random, stress_below(random, 8) ? 16 : 80);

		if (end - i < n)
			n = (uint32_t)(end - i);
		for (uint32_t k = 0; k < n; k++) {
			uint64_t at = i + k, mix = stress_mix(at);

			events[k] = (struct pen_ring_event){ .a = mix,
							     .b = ~mix,
							     .c = at,
							     .batch_id = stress_mix(mix),
							     .ts_ns = at + 1,
							     .code = (uint32_t)mix,
							     .gauge_idx = (uint32_t)at % GAUGES,
							     .type = PEN_RING_EV_PROGRESS };
			log_of[at - first] = mix;
		}
		set_gauge((uint32_t)i % GAUGES, i - first + 1);
		pen_cast_events(cast, events, n);
		i += n;
		if (stress_below(random, pace == 1 ? 1 : 4096) == 0)
			sched_yield();
		for (uint64_t until = pace >= 2 ? stress_now_ns() + n * 100 : 0; until && stress_now_ns() < until;)
			;
	}
}

static void read_in_process(struct reader *reader, bool idle)
{
	if (idle)
		(void)sched_setscheduler(0, SCHED_IDLE, &(struct sched_param){ 0 });
	observe(reader);
	STRESS_CHECK(reader->seen + reader->lost == ROUND, "seen %llu, lost %llu",
		     (unsigned long long)reader->seen, (unsigned long long)reader->lost);
	_exit(0);
}

static void round_of(struct stress_random *random)
{
	static const uint64_t firsts[] = { 0, 0, (1ull << 63) - ROUND / 2, (1ull << 32) - ROUND / 2 };
	struct pen_cast_options opt = cast_lab_options(&lab);
	static struct reader readers[THREADS_MAX];
	pthread_t threads[THREADS_MAX];
	pid_t processes[PROCESSES_MAX];
	uint32_t thread_count = 1 + (uint32_t)stress_below(random, THREADS_MAX);
	uint32_t process_count = (uint32_t)stress_below(random, PROCESSES_MAX + 1);

	first = firsts[stress_below(random, 4)];
	opt.first_index = first;
	opt.event_slots = 8u << stress_below(random, 6);
	opt.gauge_slots = GAUGES;
	opt.clock = NULL;
	STRESS_CHECK(!pen_cast_open(&cast, &opt, NULL), "open");
	for (uint32_t slot = 0; slot < GAUGES; slot++)
		(void)pen_cast_get(cast, slot + 1, NULL);
	for (uint32_t i = 0; i < process_count; i++) {
		open_reader(&readers[0], random->state + i);
		processes[i] = fork();
		STRESS_CHECK(processes[i] >= 0, "fork");
		if (!processes[i])
			read_in_process(&readers[0], i == 0);
		pen_ring_close(&readers[0].ring);
	}
	for (uint32_t i = 0; i < thread_count; i++) {
		open_reader(&readers[i], random->state + 100 + i);
		STRESS_CHECK(!pthread_create(&threads[i], NULL, reader_thread, &readers[i]), "thread");
	}
	publish_round(random);
	/* Closed, but mapped until the threads are through. */
	pen_cast_state(cast, PEN_RING_CLOSED, 0);
	for (uint32_t i = 0; i < thread_count; i++) {
		struct reader *r = &readers[i];

		pthread_join(threads[i], NULL);
		STRESS_CHECK(r->seen + r->lost == ROUND, "seen %llu, lost %llu", (unsigned long long)r->seen,
			     (unsigned long long)r->lost);
		accepted += r->seen;
		gauges_read += r->gauges;
		pen_ring_close(&r->ring);
	}
	for (uint32_t i = 0; i < process_count; i++) {
		int status;

		STRESS_CHECK(waitpid(processes[i], &status, 0) == processes[i] && !status,
			     "a reader process: status %x", status);
	}
	pen_cast_close(cast, PEN_RING_CLOSED, 0, false);
}

int main(void)
{
	struct stress_random random = stress_random(stress_start("cast"));
	uint64_t want = stress_env("PEN_EVENTS", 0), published = 0;

	if (!cast_lab_make(&lab)) {
		puts("no memory file system here");
		return 77;
	}
	log_of = calloc(ROUND, sizeof(*log_of));
	while (want ? published < want : stress_time_left() || !published) {
		round_of(&random);
		published += ROUND;
	}
	free(log_of);
	cast_lab_drop(&lab);
	STRESS_CHECK(accepted && gauges_read, "nobody read anything");
	printf("cast: %llu events published, %llu accepted by threads, %llu gauges read, none torn, all counted\n",
	       (unsigned long long)published, (unsigned long long)accepted, (unsigned long long)gauges_read);
	return 0;
}
