/* SPDX-License-Identifier: MIT */
/*
 * test_cast - what the writer writes, the reader reads: bytes, wrap, loss, resynchronisation, reuse, waking,
 * ends
 */
#include "ring/cast.h"

#include <criterion/criterion.h>
#include <sys/wait.h>

#include "ring/base.h"
#include "tests/lib/cast_case.h"

TestSuite(cast, .init = cast_case_make, .fini = cast_case_drop);

static void start(const struct pen_cast_options *opt)
{
	struct pen_failure why = { 0 };

	cr_assert_eq(pen_cast_open(&cast, opt, &why), 0, "%s", why.text);
	cr_assert_eq(pen_ring_open(&ring, lab.path, PEN_RING_OWNERS_OWN), 0);
}

/* Event number i is known by its payload. */
static struct pen_ring_event event_of(uint64_t i)
{
	return (struct pen_ring_event){
		.ts_ns = i + 1, .batch_id = 7, .type = PEN_RING_EV_PROGRESS, .a = i * 3, .b = ~i
	};
}

static void tell(uint64_t from, uint32_t n)
{
	struct pen_ring_event events[64];

	cr_assert_leq(n, 64);
	for (uint32_t i = 0; i < n; i++)
		events[i] = event_of(from + i);
	pen_cast_events(cast, events, n);
}

static void expect(uint64_t from, uint32_t n, uint64_t lost_want)
{
	struct pen_ring_event got[64];
	uint64_t lost;

	cr_assert_eq(pen_ring_poll(&ring, got, 64, &lost), (int)n);
	cr_assert_eq(lost, lost_want);
	for (uint32_t i = 0; i < n; i++) {
		cr_assert_eq(got[i].seq, from + i + 1);
		cr_assert_eq(got[i].a, (from + i) * 3);
		cr_assert_eq(got[i].b, ~(from + i));
		cr_assert_eq(got[i].rec_ver, 1);
	}
}

Test(cast, a_reader_gets_what_was_told)
{
	struct pen_cast_options opt = cast_lab_options(&lab);

	start(&opt);
	expect(0, 0, 0);
	tell(0, 3);
	expect(0, 3, 0);
	expect(3, 0, 0);
	tell(3, 1);
	tell(4, 2);
	expect(3, 3, 0);
	cr_assert_eq(ring.header.epoch, 1);
	cr_assert_eq(ring.header.writer_pid, (uint32_t)getpid());
	cr_assert_eq(ring.header.writer_start_ticks, pen_ring_start_ticks((uint32_t)getpid()));
}

Test(cast, a_small_buffer_gets_it_in_pieces)
{
	struct pen_cast_options opt = cast_lab_options(&lab);
	struct pen_ring_event got[2];
	uint64_t lost;

	start(&opt);
	tell(0, 5);
	cr_assert_eq(pen_ring_poll(&ring, got, 2, &lost), 2);
	cr_assert_eq(pen_ring_poll(&ring, got, 2, &lost), 2);
	cr_assert_eq(pen_ring_poll(&ring, got, 2, &lost), 1);
	cr_assert_eq(got[0].seq, 5);
	cr_assert_eq(pen_ring_poll(&ring, got, 2, &lost), 0);
}

Test(cast, what_is_lost_is_counted_exactly)
{
	/* told since the last poll; of a ring of 16 slots */
	static const struct {
		uint32_t told, seen;
	} rows[] = { { 16, 16 }, { 17, 16 }, { 18, 16 }, { 33, 16 }, { 64, 16 }, { 1, 1 } };
	struct pen_cast_options opt = cast_lab_options(&lab);
	uint64_t at = 0;

	start(&opt);
	for (size_t i = 0; i < PEN_COUNT(rows); i++) {
		for (uint32_t n = 0; n < rows[i].told; n++)
			tell(at + n, 1);
		at += rows[i].told;
		expect(at - rows[i].seen, rows[i].seen, rows[i].told - rows[i].seen);
	}
}

/* More than the ring holds in one call: it goes in quarters, and a reader that is behind loses the rest. */
Test(cast, more_than_a_ring_at_once)
{
	struct pen_cast_options opt = cast_lab_options(&lab);

	start(&opt);
	tell(0, 50);
	expect(34, 16, 34);
	pen_ring_rewind(&ring);
	expect(34, 16, 0);
}

/*
 * A claim without its tail, which is what a writer that died there leaves: the claimed slots are gone,
 * nothing hangs.
 */
Test(cast, a_claim_alone_costs_its_slots)
{
	struct pen_cast_options opt = cast_lab_options(&lab);

	start(&opt);
	tell(0, 16);
	cast->hot->claim += 4;
	expect(4, 12, 4);
	expect(16, 0, 0);
	tell(16, 1);
	expect(16, 1, 0);
}

Test(cast, indices_wrap_at_two_to_the_63)
{
	static const uint64_t firsts[] = { (1ull << 63) - 8, (1ull << 32) - 8, UINT64_MAX - 24 };

	for (size_t i = 0; i < PEN_COUNT(firsts); i++) {
		struct pen_cast_options opt = cast_lab_options(&lab);
		struct pen_ring_gauge gauge = { .batch_id = 1, .state = PEN_RUNNING }, got;
		uint32_t slot = 0;

		opt.first_index = firsts[i];
		start(&opt);
		for (uint32_t n = 0; n < 40; n += 4)
			tell(firsts[i] + n, 4);
		expect(firsts[i] + 24, 16, 24);
		slot = pen_cast_get(cast, 1, NULL);
		pen_cast_gauge(cast, slot, &gauge, 2);
		cr_assert_eq(pen_ring_gauge(&ring, slot, &got), 1);
		cr_assert_eq(got.as_of, firsts[i] + 42);
		pen_ring_close(&ring);
		pen_cast_close(cast, PEN_RING_CLOSED, 0, false);
		cast = NULL;
	}
}

Test(cast, a_file_that_turns_bad_is_an_error_and_not_a_loop)
{
	struct pen_cast_options opt = cast_lab_options(&lab);
	struct pen_ring_event got[16];
	uint64_t lost;

	start(&opt);
	tell(0, 8);
	expect(0, 8, 0);
	cast->hot->tail = 3; /* back */
	cr_assert_eq(pen_ring_poll(&ring, got, 16, &lost), -EBADMSG);
	cast->hot->tail = 12; /* events that are not there */
	cr_assert_eq(pen_ring_poll(&ring, got, 16, &lost), -EBADMSG);
	cast->hot->claim = 5; /* a claim below the tail */
	cast->hot->tail = 8;
	tell(8, 1);
	cast->hot->claim = 0;
	cr_assert_eq(pen_ring_poll(&ring, got, 16, &lost), -EBADMSG);
}

Test(cast, gauges_names_and_reuse)
{
	struct pen_cast_options opt = cast_lab_options(&lab);
	struct pen_ring_names names = { .label = "papers", .live = { "pages", "figures" } }, got_names;
	struct pen_ring_gauge gauge = { 0 }, got;
	uint32_t slots[5], slot = 0;

	opt.stages[PEN_RING_READ] = "read";
	opt.stages[PEN_RING_COMMIT] = "commit";
	start(&opt);
	cr_assert_str_eq(ring.stages[PEN_RING_COMMIT], "commit");
	cr_assert_str_eq(ring.stages[PEN_RING_CUT], "");
	cr_assert_eq(pen_ring_next(&ring, &slot, &got), 0);
	for (uint32_t i = 0; i < 4; i++) {
		slots[i] = pen_cast_get(cast, 100 + i, i ? NULL : &names);
		cr_assert_neq(slots[i], PEN_RING_NONE);
		cr_assert_eq(pen_ring_gauge(&ring, slots[i], &got), 0, "shown before it has numbers");
		gauge.batch_id = 100 + i;
		gauge.state = PEN_RUNNING;
		for (uint32_t n = 0; n < PEN_RING_LIVE; n++)
			gauge.live[n] = i * 10 + n;
		pen_cast_gauge(cast, slots[i], &gauge, 0);
		cr_assert_eq(pen_ring_gauge(&ring, slots[i], &got), 1);
		cr_assert_eq(memcmp(&gauge, &got, sizeof(got)), 0);
	}
	cr_assert(pen_ring_names(&ring, slots[0], 100, &got_names));
	cr_assert_str_eq(got_names.label, "papers");
	cr_assert_str_eq(got_names.live[1], "figures");
	cr_assert_not(pen_ring_names(&ring, slots[0], 101, &got_names), "another batch's names");
	cr_assert_str_eq(got_names.label, "");
	cr_assert_not(pen_ring_names(&ring, 4, 104, &got_names));
	cr_assert_not(pen_ring_names(&ring, PEN_RING_NONE, 104, &got_names));
	cr_assert_eq(pen_ring_gauge(&ring, 4, &got), 0);
	cr_assert_eq(pen_cast_get(cast, 104, NULL), PEN_RING_NONE, "all are in use");

	/*
	 * A terminal one stays readable until somebody needs its slot; the one that was put first goes first.
	 */
	pen_cast_put(cast, slots[2]);
	pen_cast_put(cast, slots[1]);
	cr_assert_eq(pen_ring_gauge(&ring, slots[2], &got), 1);
	cr_assert_eq(pen_cast_get(cast, 104, &names), slots[2]);
	cr_assert_eq(pen_ring_gauge(&ring, slots[2], &got), 1);
	cr_assert_eq(got.batch_id, 102);
	cr_assert_not(pen_ring_names(&ring, slots[2], got.batch_id, &got_names),
		      "the old batch with the new one's names");
	gauge.batch_id = 104;
	pen_cast_gauge(cast, slots[2], &gauge, 0);
	cr_assert(pen_ring_names(&ring, slots[2], 104, &got_names));
	cr_assert_eq(pen_cast_get(cast, 105, NULL), slots[1]);
	cr_assert_eq(pen_cast_get(cast, 106, NULL), PEN_RING_NONE);
	(void)snprintf(names.live[2], sizeof(names.live[2]), "tables");
	pen_cast_names(cast, slots[2], &names);
	cr_assert(pen_ring_names(&ring, slots[2], 104, &got_names));
	cr_assert_str_eq(got_names.live[2], "tables");
}

Test(cast, counters_add_up_over_threads)
{
	static const struct pen_cast_counter counters[] = {
		{ PEN_RING_ID(PEN_RING_PROCESS, PEN_RING_ITEMS), PEN_RING_COUNT, PEN_RING_UNIT_ITEMS, 0, 0,
		  "process.items" },
		{ PEN_RING_ID(PEN_RING_PROCESS, PEN_RING_ITEMS), PEN_RING_COUNT, PEN_RING_UNIT_ITEMS, 1, 0,
		  "process.items" },
		{ PEN_RING_ID(PEN_RING_PROCESS, PEN_RING_SOME_US), PEN_RING_COUNT, PEN_RING_UNIT_US, 1, 31,
		  "process.some_us" },
	};
	struct pen_cast_options opt = cast_lab_options(&lab);
	struct pen_ring_counter counter;
	uint64_t value;

	opt.threads = 2;
	opt.counters = counters;
	opt.counter_count = PEN_COUNT(counters);
	start(&opt);
	pen_cast_count(pen_cast_block(cast, 0), 0, 5);
	pen_cast_count(pen_cast_block(cast, 1), 0, 6);
	pen_cast_count(pen_cast_block(cast, 1), 31, 1234);
	cr_assert(pen_ring_counter(&ring, 2, &counter, &value));
	cr_assert_str_eq(counter.name, "process.some_us");
	cr_assert_eq(counter.unit, PEN_RING_UNIT_US);
	cr_assert_eq(value, 1234);
	cr_assert_not(pen_ring_counter(&ring, 3, &counter, &value));
	cr_assert_eq(pen_ring_total(&ring, PEN_RING_ID(PEN_RING_PROCESS, PEN_RING_ITEMS)), 11);
	cr_assert_eq(pen_ring_total(&ring, PEN_RING_IO_SHORT), 0);
}

/* What a reader knows of each batch: applied to it, or read from the gauges. */
struct known {
	uint64_t done[4], as_of[4];
	uint64_t resyncs;
};

static void take_gauges(struct pen_ring *from, struct known *known)
{
	struct pen_ring_gauge gauge;

	for (uint32_t slot = 0; pen_ring_next(from, &slot, &gauge) == 1; slot++) {
		known->done[gauge.batch_id - 1] = gauge.committed;
		known->as_of[gauge.batch_id - 1] = gauge.as_of;
	}
}

static void follow(struct pen_ring *from, struct known *known)
{
	struct pen_ring_event got[16];
	uint64_t lost;
	int n;

	while ((n = pen_ring_poll(from, got, 5, &lost)) > 0 || lost) {
		if (lost) {
			take_gauges(from, known);
			known->resyncs++;
		}
		for (int i = 0; i < n; i++)
			if (got[i].seq - 1 >= known->as_of[got[i].batch_id - 1])
				known->done[got[i].batch_id - 1] = got[i].b;
	}
	cr_assert_eq(n, 0);
}

/*
 * One reader from the start and never late, one that joins anywhere, one that is overrun: they end up knowing
 * the same.
 */
Test(cast, late_and_overrun_readers_know_what_the_first_one_knows)
{
	struct pen_cast_options opt = cast_lab_options(&lab);
	struct pen_ring late, slow;
	struct known first_knows = { 0 }, late_knows = { 0 }, slow_knows = { 0 };
	struct pen_ring_gauge gauges[4] = { 0 };
	uint32_t slot_of_batch[4];
	uint64_t dice = 1;

	opt.event_slots = 8;
	start(&opt);
	cr_assert_eq(pen_ring_open(&slow, lab.path, PEN_RING_OWNERS_OWN), 0);
	late.map = NULL;
	for (uint64_t step = 0; step < 3000; step++) {
		struct pen_ring_event events[2];
		uint32_t n = 1 + step % 2;

		for (uint32_t i = 0; i < n; i++) {
			uint32_t b =
				(uint32_t)((dice = dice * 6364136223846793005ull + 1442695040888963407ull) >>
					   62);

			if (!gauges[b].batch_id) {
				gauges[b].batch_id = b + 1;
				gauges[b].state = PEN_RUNNING;
				slot_of_batch[b] = pen_cast_get(cast, b + 1, NULL);
			}
			gauges[b].committed = step * 2 + i;
			events[i] = (struct pen_ring_event){ .batch_id = b + 1,
							     .type = PEN_RING_EV_PROGRESS,
							     .gauge_idx = slot_of_batch[b],
							     .b = gauges[b].committed };
		}
		/* Gauges first: they contain the events that follow. */
		for (uint32_t i = 0; i < n; i++)
			pen_cast_gauge(cast, events[i].gauge_idx, &gauges[events[i].batch_id - 1], n);
		pen_cast_events(cast, events, n);
		follow(&ring, &first_knows);
		if (step % 97 == 0) {
			pen_ring_close(&late);
			cr_assert_eq(pen_ring_open(&late, lab.path, PEN_RING_OWNERS_OWN), 0);
			memset(&late_knows, 0, sizeof(late_knows));
			take_gauges(&late, &late_knows);
		}
		follow(&late, &late_knows);
		cr_assert_eq(memcmp(first_knows.done, late_knows.done, sizeof(first_knows.done)), 0,
			     "step %d", (int)step);
		if (step % 31 == 30) {
			follow(&slow, &slow_knows);
			cr_assert_eq(memcmp(first_knows.done, slow_knows.done, sizeof(first_knows.done)), 0,
				     "step %d", (int)step);
		}
	}
	cr_assert_eq(first_knows.resyncs, 0);
	cr_assert_gt(slow_knows.resyncs, 50, "it was never overrun, so nothing was tested");
	pen_ring_close(&late);
	pen_ring_close(&slow);
}

Test(cast, wakes_are_rationed_and_the_last_one_is_owed)
{
	struct pen_cast_options opt = cast_lab_options(&lab);
	struct pen_ring_event end = { .type = PEN_RING_EV_COMPLETED };
	struct pen_cast_wakes w;

	start(&opt);
	cr_assert_eq(pen_cast_owes(cast), UINT64_MAX);
	cast->cpu_ns = pen_ring_mono_ns;
	tell(0, 1);
	pen_cast_wakes(cast, &w);
	cr_assert_eq(w.wakes, 1);
	cr_assert_eq(pen_cast_owes(cast), UINT64_MAX);
	lab.now_ns += 1000;
	tell(1, 1); /* 1 us later: owed */
	pen_cast_wakes(cast, &w);
	cr_assert_eq(w.wakes, 1);
	cr_assert_neq(pen_cast_owes(cast), UINT64_MAX);
	/* Going idle waits for the share of the CPU only: the wake took a few microseconds at most. */
	lab.now_ns += 50 * 1000 * 1000;
	cr_assert_eq(pen_cast_owes(cast), 0);
	pen_cast_idle(cast);
	pen_cast_wakes(cast, &w);
	cr_assert_eq(w.wakes, 2);
	pen_cast_idle(cast);
	pen_cast_wakes(cast, &w);
	cr_assert_eq(w.wakes, 2, "nothing was owed");
	lab.now_ns += 50 * 1000 * 1000;
	tell(2, 1);
	lab.now_ns += w.spent_ns * 60;
	pen_cast_events(cast, &end, 1); /* a terminal one does not wait for the period */
	pen_cast_wakes(cast, &w);
	cr_assert_eq(w.wakes, 4);
}

static uint64_t dear_ns;

static uint64_t dear_wakes(void)
{
	return dear_ns += 100000; /* each costs 100 us */
}

Test(cast, the_period_widens_when_wakes_are_dear)
{
	struct pen_cast_options opt = cast_lab_options(&lab);
	struct pen_ring_event end = { .type = PEN_RING_EV_COMPLETED };
	struct pen_cast_wakes w;
	uint64_t begun;

	start(&opt);
	cast->cpu_ns = dear_wakes;
	begun = lab.now_ns;
	for (uint32_t i = 0; i < 10000; i++) {
		lab.now_ns += 100000;
		pen_cast_events(cast, &end, 1);
	}
	pen_cast_wakes(cast, &w);
	/* 49, not 50: this clock stands still inside a wake. */
	cr_assert_leq(w.spent_ns * 49, lab.now_ns - begun + 49 * 100000, "more than 2 %%");
	cr_assert_geq(w.spent_ns * 60, lab.now_ns - begun, "far less than it may");
	cr_assert_gt(w.widened, 0);
	cr_assert_eq(w.period_ns, 4900000);
}

Test(cast, the_heartbeat_tells_the_living_from_the_hung)
{
	struct pen_cast_options opt = cast_lab_options(&lab);

	opt.hb_period_ms = 20;
	opt.clock = NULL;
	start(&opt);
	cr_assert_eq(pen_ring_life(&ring), PEN_RING_ALIVE);
	nanosleep(&(struct timespec){ .tv_nsec = 120 * 1000 * 1000 }, NULL);
	cr_assert_eq(pen_ring_life(&ring), PEN_RING_STALLED, "our own process, without a beat");
	pen_cast_beat(cast);
	cr_assert_eq(pen_ring_life(&ring), PEN_RING_ALIVE);
}

Test(cast, a_dead_writer_is_known_by_its_process)
{
	struct pen_cast_options opt = cast_lab_options(&lab);
	pid_t pid;

	opt.hb_period_ms = 20;
	opt.clock = NULL;
	pid = fork();
	cr_assert_geq(pid, 0);
	if (!pid)
		_exit(pen_cast_open(&cast, &opt, NULL) != 0); /* dies without a word */
	siginfo_t info;
	cr_assert_eq(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT),
		     0); /* still a zombie: gone all the same */
	cr_assert_eq(info.si_status, 0);
	cr_assert_eq(pen_ring_open(&ring, lab.path, PEN_RING_OWNERS_OWN), 0);
	nanosleep(&(struct timespec){ .tv_nsec = 100 * 1000 * 1000 }, NULL);
	cr_assert_eq(pen_ring_life(&ring), PEN_RING_DEAD);
	waitpid(pid, NULL, 0);
	cr_assert_eq(pen_ring_life(&ring), PEN_RING_DEAD);
	/* Somebody else has that pid: other start ticks. */
	ring.header.writer_pid = (uint32_t)getpid();
	ring.header.writer_start_ticks = pen_ring_start_ticks((uint32_t)getpid()) - 1;
	cr_assert_eq(pen_ring_life(&ring), PEN_RING_DEAD);
	ring.header.writer_start_ticks++;
	cr_assert_eq(pen_ring_life(&ring), PEN_RING_STALLED);
	ring.header.boot_id[0] ^= 1;
	cr_assert_eq(pen_ring_life(&ring), PEN_RING_DEAD, "another boot");
	ring.header.boot_id[0] ^= 1;
	ring.header.pidns_ino ^= 1;
	cr_assert_eq(pen_ring_life(&ring), PEN_RING_STALLED, "its pid means nothing here");
}

Test(cast, a_new_epoch_has_a_new_inode_and_the_old_one_says_so)
{
	struct pen_cast_options opt = cast_lab_options(&lab);
	struct pen_cast *old;
	struct pen_ring fresh;
	struct pen_ring_hot hot;

	start(&opt);
	tell(0, 2);
	old = cast;
	opt.epoch = 2;
	cr_assert_eq(pen_cast_open(&cast, &opt, NULL), 0);
	cr_assert_eq(pen_ring_life(&ring), PEN_RING_REPLACED);
	pen_ring_hot(&ring, &hot);
	cr_assert_eq(hot.state, PEN_RING_SUPERSEDED);
	expect(0, 2, 0); /* the old map stays what it was */
	cr_assert_eq(pen_ring_open(&fresh, lab.path, PEN_RING_OWNERS_OWN), 0);
	cr_assert_eq(fresh.header.epoch, 2);
	cr_assert_neq(fresh.ino, ring.ino);
	pen_cast_close(old, PEN_RING_CLOSED, 0, false); /* does not take the new one's name away */
	cr_assert_eq(access(lab.path, F_OK), 0);
	cr_assert_eq(pen_ring_life(&fresh), PEN_RING_STALLED, "the clock of this test stands still");
	pen_ring_close(&fresh);
	/* Without the mark, the inode tells. */
	pen_ring_close(&ring);
	cr_assert_eq(pen_ring_open(&ring, lab.path, PEN_RING_OWNERS_OWN), 0);
	cr_assert_eq(unlink(lab.path), 0);
	cr_assert_eq(pen_ring_life(&ring), PEN_RING_REPLACED);
}

Test(cast, the_end_is_said)
{
	struct pen_cast_options opt = cast_lab_options(&lab);
	struct pen_ring_hot hot;

	start(&opt);
	pen_cast_close(cast, PEN_RING_FAILED, PEN_DISK_FULL, true);
	cast = NULL;
	cr_assert_eq(pen_ring_life(&ring), PEN_RING_ENDED);
	pen_ring_hot(&ring, &hot);
	cr_assert_eq(hot.state, PEN_RING_FAILED);
	cr_assert_eq(hot.state_reason, PEN_DISK_FULL);
	cr_assert_eq(access(lab.path, F_OK), 0, "kept");
	cr_assert_eq(pen_cast_open(&cast, &opt, NULL), 0);
	pen_ring_hot(&ring, &hot);
	cr_assert_eq(hot.state, PEN_RING_FAILED, "an end stays what it was");
	pen_cast_close(cast, PEN_RING_CLOSED, 0, false);
	cast = NULL;
	cr_assert_eq(cast_lab_files(&lab), 0);
}

static int count_path(void *arg, const char *path)
{
	struct pen_ring found;

	cr_assert_eq(pen_ring_open(&found, path, PEN_RING_OWNERS_OWN), 0, "%s", path);
	pen_ring_close(&found);
	++*(int *)arg;
	return 0;
}

Test(cast, place_and_scan_agree)
{
	struct pen_cast_options opt = cast_lab_options(&lab);
	char path[4096], sub[160];
	int n = 0;

	(void)snprintf(sub, sizeof(sub), "%s/run", lab.dir);
	setenv("PENSTOCK_RUN", sub, 1);
	opt.dir = pen_cast_place(0xabcdef, path, sizeof(path), NULL);
	cr_assert_geq(opt.dir, 0);
	cr_assert(strstr(path, "/run/0000000000abcdef"));
	cr_assert_eq(pen_cast_open(&cast, &opt, NULL), 0);
	cr_assert_eq(pen_ring_scan(0xabcdef, count_path, &n), 0);
	cr_assert_eq(n, 1);
	cr_assert_eq(pen_ring_scan(0xabcdee, count_path, &n), 0);
	cr_assert_eq(n, 1);
	pen_cast_close(cast, PEN_RING_CLOSED, 0, false);
	cast = NULL;
	rmdir(path);
	rmdir(sub);
	close(opt.dir);
}

Test(cast, owners_become_file_names)
{
	static const struct {
		const char *owner, *want;
	} rows[] = {
		{ "alice", "alice" },
		{ "a.b-c_D9", "a.b-c_D9" },
		{ "", "_" },
		{ "../x", "%2E.%2Fx" },
		{ ".hidden", "%2Ehidden" },
		{ "a/b", "a%2Fb" },
		{ "\xc3\xa9", "%C3%A9" },
		{ "0123456789012345678901234567890123456789012345678901234567890123",
		  "0123456789012345678901234567890123456789012345678901234567890123" },
		{ "01234567890123456789012345678901234567890123456789012345678901234",
		  "0123456789012345678901234567890123456789012345678901234~ed0bf96d" },
		{ "0123456789012345678901234567890123456789012345678901234/8901234567",
		  "0123456789012345678901234567890123456789012345678901234~07d1cda5" },
	};
	char got[65];

	for (size_t i = 0; i < PEN_COUNT(rows); i++) {
		pen_cast_owner(rows[i].owner, got);
		cr_assert_str_eq(got, rows[i].want);
	}
}
