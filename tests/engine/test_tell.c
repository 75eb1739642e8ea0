/* SPDX-License-Identifier: MIT */
/*
 * The publisher against the readers' header: batches, their events, rings and owners. test_tell_counters has what
 * is told of the engine as a whole.
 */
#include "engine/tell.h"

#include "tests/engine/tell_lab.h"

#define OWNERS (PEN_TELL_RINGS + 8)

TestSuite(tell, .init = set_up, .fini = tear_down, .timeout = 60);

/* ---- batches -------------------------------------------------------------------------------- */

Test(tell, a_batch_is_there_before_its_first_event_and_with_its_name)
{
	struct pen_batch *b = begin(0, tell->rings[0].owner, 1000, false);
	struct pen_ring_names names;
	struct pen_ring_gauge g;
	int n;

	open_own();
	g = gauge_of(b);
	n = poll_all(NULL);
	cr_assert_eq(n, 3);
	cr_expect_eq(events[0].type, PEN_RING_EV_WRITER_STATE);
	cr_expect_eq(events[1].type, PEN_RING_EV_QUEUED);
	cr_expect_eq(events[2].type, PEN_RING_EV_STARTED);
	cr_expect_eq(events[1].a, 7, "as in the journal");
	cr_expect_eq(events[1].c, 1);
	cr_expect_eq(events[2].c, 2);
	cr_expect_eq(g.state, PEN_RUNNING);
	cr_expect_eq(g.as_of, 3);
	cr_expect_eq(g.bytes_total, 1000);
	cr_expect_eq(g.eta_ms, PEN_RING_UNKNOWN);
	cr_assert(pen_ring_names(&ring, events[1].gauge_idx, b->id, &names));
	cr_expect_str_eq(names.label, "papers.ndjson");
	cr_expect_str_eq(ring.stages[PEN_RING_COMMIT], "commit");
	pen_ring_close(&ring);
}

Test(tell, only_what_counts_is_shown_and_whole_is_only_what_is_completed)
{
	struct pen_batch *b = begin(0, tell->rings[0].owner, 1000, false);
	struct pen_ring_gauge g;

	open_own();
	b->standing.fixed.applied.committed = b->standing.fixed.applied.items = 90;
	b->passed = 900;
	pen_tell_group(tell, b, &minutes);
	cr_expect_eq(gauge_of(b).committed, 0, "applied, and not yet counted");
	cr_expect_eq(gauge_of(b).bytes_done, 0);
	commit(b, 90);
	cr_expect_eq(gauge_of(b).committed, 90);
	cr_expect_eq(gauge_of(b).bytes_done, 900);
	commit(b, 100);
	g = gauge_of(b);
	cr_expect_eq(g.committed, 100);
	cr_expect_lt(g.bytes_done, g.bytes_total, "its end is not committed yet");
	complete(b);
	g = gauge_of(b);
	cr_expect_eq(g.state, PEN_COMPLETED);
	cr_expect_eq(g.bytes_done, g.bytes_total);
	cr_expect_eq(g.eta_ms, 0);
	cr_expect_eq(g.commit_lsn, minutes.txn);
	pen_ring_close(&ring);
}

Test(tell, progress_is_told_20_times_a_second_and_a_state_always)
{
	struct pen_batch *b = begin(0, tell->rings[0].owner, 0, false);
	struct pen_ring_hot hot;
	int n, told;

	open_own();
	(void)poll_all(NULL);
	for (uint64_t i = 1; i <= 100; i++) {
		pass_ms(10);
		if (i % 25 == 0)
			minute(b, i % 50 ? PEN_EVENT_PAUSED : PEN_EVENT_RESUMED, 0);
		if (i == 40)
			minute(b, PEN_EVENT_PROGRESS, 0); /* the durable one of this second */
		commit(b, i);
	}
	n = poll_all(NULL);
	told = count_type(n, PEN_RING_EV_PROGRESS);
	cr_expect(told > 10 && told <= 21, "%d", told);
	cr_expect_eq(count_type(n, PEN_RING_EV_PAUSED), 2);
	cr_expect_eq(count_type(n, PEN_RING_EV_RESUMED), 2);
	for (int i = 0; i < n; i++)
		if (events[i].type == PEN_RING_EV_PROGRESS && events[i].c)
			cr_expect_eq(events[i].b, 40, "what counts, with its number in the journal");
	pass_ms(60);
	commit(b, 101);
	commit(b, 102);
	(void)poll_all(NULL);
	pen_ring_hot(&ring, &hot);
	cr_expect_gt(hot.coalesced_total, 70);
	cr_expect_eq(gauge_of(b).committed, 102, "the gauge is never held back");
	pass_ms(60);
	n = poll_all(NULL);
	cr_assert_eq(n, 1, "what was held back comes when it may: %d", n);
	cr_expect_eq(events[0].b, 102);
	pass_ms(60);
	cr_expect_eq(poll_all(NULL), 0, "and once");
	pen_ring_close(&ring);
}

Test(tell, skipped_and_deduplicated_are_sums)
{
	struct pen_batch *b = begin(0, tell->rings[0].owner, 0, false);
	int n;

	open_own();
	(void)poll_all(NULL);
	b->standing.fixed.counted.skipped = 5;
	pass_ms(100);
	commit(b, 10);
	b->standing.fixed.counted.skipped = 9;
	b->standing.fixed.counted.duplicates = 2;
	pass_ms(100);
	commit(b, 20);
	pass_ms(100);
	commit(b, 30);
	n = poll_all(NULL);
	cr_expect_eq(count_type(n, PEN_RING_EV_SKIPPED), 2);
	cr_expect_eq(count_type(n, PEN_RING_EV_DEDUPLICATED), 1);
	for (int i = 0, k = 0; i < n; i++)
		if (events[i].type == PEN_RING_EV_SKIPPED)
			cr_expect_eq(events[i].a, k++ ? 9u : 5u);
	pen_ring_close(&ring);
}

Test(tell, a_full_disk_is_a_stall_with_its_length)
{
	struct pen_batch *b = begin(0, tell->rings[0].owner, 1000, false);
	struct pen_ring_gauge g;
	int n;

	open_own();
	pass_ms(500);
	commit(b, 10);
	(void)poll_all(NULL);
	pen_tell_stall(tell, b, -PEN_DISK_FULL);
	g = gauge_of(b);
	cr_expect_eq(g.err, PEN_DISK_FULL);
	cr_expect_eq(g.eta_ms, PEN_RING_UNKNOWN);
	cr_expect_eq(g.state, PEN_RUNNING);
	pass_ms(1000);
	pen_tell_stall(tell, b, -PEN_DISK_FULL);
	pass_ms(500);
	commit(b, 20);
	n = poll_all(NULL);
	cr_assert_geq(n, 3);
	cr_expect_eq(events[0].type, PEN_RING_EV_STALLED);
	cr_expect_eq(events[0].code, PEN_DISK_FULL);
	cr_expect_eq(events[1].type, PEN_RING_EV_STALL);
	cr_expect_eq(events[1].a, 1000000);
	cr_expect_eq(events[2].type, PEN_RING_EV_STALL);
	cr_expect_eq(events[2].a, 1500000);
	cr_expect_eq(events[2].code, 0);
	cr_expect_eq(gauge_of(b).err, 0);
	pen_ring_close(&ring);
}

Test(tell, what_stands_still_loses_its_pace_and_the_heart_beats)
{
	struct pen_batch *b = begin(0, tell->rings[0].owner, 10000, false);
	struct pen_ring_hot before, after;

	open_own();
	for (uint64_t i = 1; i <= 10; i++) {
		pass_ms(100);
		commit(b, i * 10);
	}
	cr_expect_eq(gauge_of(b).rate_milli, 100000);
	cr_expect_eq(gauge_of(b).eta_ms, 9000);
	pen_ring_hot(&ring, &before);
	for (int i = 0; i < 150; i++)
		pass_ms(100);
	pen_ring_hot(&ring, &after);
	cr_expect_eq(gauge_of(b).rate_milli, 0, "%lu", gauge_of(b).rate_milli);
	cr_expect_gt(after.hb_count, before.hb_count + 20);
	cr_expect_leq(pen_tell_rest(tell), 250 * PEN_NS_PER_MS);
	pen_ring_close(&ring);
}

Test(tell, one_that_leaves_without_an_end_is_interrupted)
{
	struct pen_batch *b = begin(0, tell->rings[0].owner, 0, false);
	int n;

	open_own();
	commit(b, 5);
	(void)poll_all(NULL);
	pen_tell_end(tell, b, -PEN_DISK_FULL);
	n = poll_all(NULL);
	cr_assert_eq(n, 1);
	cr_expect_eq(events[0].type, PEN_RING_EV_INTERRUPTED);
	cr_expect_eq(events[0].c, 0, "no journal has it");
	cr_expect_eq(gauge_of(b).state, PEN_INTERRUPTED);
	cr_expect_eq(gauge_of(b).err, PEN_DISK_FULL);
	pen_tell_group(tell, b, &minutes); /* nothing: it is not shown any more */
	cr_expect_eq(poll_all(NULL), 0);
	pen_tell_refused(tell, b, -PEN_BATCH_BUSY);
	cr_assert_eq(poll_all(NULL), 1);
	cr_expect_eq(events[0].type, PEN_RING_EV_FAILED);
	cr_expect_eq(events[0].code, PEN_BATCH_BUSY);
	pen_ring_close(&ring);
}

Test(tell, a_failed_disk_stays_to_be_seen)
{
	struct pen_batch *b = begin(0, tell->rings[0].owner, 0, false);
	struct pen_ring_hot hot;
	int n;

	open_own();
	(void)poll_all(NULL);
	pen_tell_failed(tell, -PEN_DISK_FAILED);
	n = poll_all(NULL);
	cr_assert_eq(n, 2);
	cr_expect_eq(events[0].type, PEN_RING_EV_INTERRUPTED);
	cr_expect_eq(events[1].type, PEN_RING_EV_WRITER_STATE);
	pen_ring_hot(&ring, &hot);
	cr_expect_eq(hot.state, PEN_RING_FAILED);
	cr_expect_eq(hot.state_reason, PEN_DISK_FAILED);
	cr_expect_eq(access(ring.path, F_OK), 0);
	/* Whatever comes now is told to nobody. */
	pen_tell_end(tell, b, -PEN_DISK_FAILED);
	pen_tell_turn(tell);
	pen_tell_drained(tell);
	cr_expect_eq(pen_emit_error(engine, b->id, 1), 0);
	cr_expect_eq(poll_all(NULL), 0);
	pen_ring_close(&ring);
}

/* ---- rings ---------------------------------------------------------------------------------- */

Test(tell, an_owner_has_a_ring_and_sees_no_other)
{
	struct pen_batch *mine = begin(0, tell->rings[0].owner, 0, false);
	struct pen_batch *theirs = begin(1, "../a b", 0, false);

	open_own();
	cr_expect_eq(gauge_of(mine).batch_id, mine->id);
	cr_expect_eq(gauge_of(theirs).batch_id, 0);
	pen_ring_close(&ring);
	open_ring_of("%2E.%2Fa%20b");
	cr_expect_eq(gauge_of(mine).batch_id, 0);
	cr_expect_eq(gauge_of(theirs).batch_id, theirs->id);
	pen_ring_close(&ring);
	cr_expect_eq(notices, 0, "%s", said);
}

Test(tell, owners_are_bounded_and_those_that_rest_give_way)
{
	char names[OWNERS][16];
	struct pen_tell_ring *first;

	for (unsigned i = 0; i < OWNERS; i++)
		snprintf(names[i], sizeof names[i], "owner%u", i);
	for (unsigned i = 0; i < PEN_TELL_RINGS - 1; i++)
		(void)begin(i, names[i], 0, false);
	first = tell->told[0].ring;
	cr_assert(first);
	cr_expect_null(pen_tell_ring_of(tell, "one more"), "all are in use");
	complete(batches[3]);
	cr_expect_eq(pen_tell_ring_of(tell, "one more"), &tell->rings[4]);
	cr_expect_eq(pen_tell_ring_of(tell, names[0]), first);
	cr_expect_str_eq(tell->rings[4].owner, "one more");
}

Test(tell, two_owners_whose_files_would_have_one_name_do_not_share_it)
{
	struct pen_tell_ring *one = pen_tell_ring_of(tell, "_");

	cr_assert(one);
	cr_expect_null(pen_tell_ring_of(tell, ""));
	cr_expect_eq(pen_tell_ring_of(tell, "_"), one);
	cr_expect(pen_tell_ring_of(tell, "__") && pen_tell_ring_of(tell, "__") != one);
}

Test(tell, names_of_live_counters_are_checked_and_cut)
{
	static const char *const names[PEN_LIVE_MAX + 1] = {
		"short", "a name that is longer than it may be", "", "", "", "", "", "", ""
	};
	struct pen_run run = { .size = sizeof run, .live = names, .live_count = PEN_LIVE_MAX + 1 };
	struct pen_failure why = { 0 };
	struct pen_plan *plan;

	cr_expect_eq(pen_plan_open(&run, true, &plan, &why), -PEN_USAGE);
	cr_expect(strstr(why.text, "9 live counters"), "%s", why.text);
	run.live_count = 2;
	cr_assert_eq(pen_plan_open(&run, true, &plan, &why), 0);
	cr_expect_str_eq(plan->live[0], "short");
	cr_expect_str_eq(plan->live[1], "a name that is longer t");
	pen_plan_close(plan);
}

Test(tell, a_second_engine_has_the_next_number_and_the_first_comes_back_with_a_new_epoch)
{
	struct pen_engine *other_engine = engine, *mine;
	struct pen_tell *other = tell;
	uint64_t epoch = tell->epoch;

	cr_expect_eq(tell->slot, 0);
	start();
	cr_expect_eq(tell->slot, 1);
	mine = engine;
	engine = other_engine;
	tell = other;
	stop();
	start();
	cr_expect_eq(tell->slot, 0);
	cr_expect_eq(tell->epoch, epoch + 1);
	other_engine = engine;
	other = tell;
	engine = mine;
	tell = mine->tell;
	stop();
	engine = other_engine;
	tell = other;
}

Test(tell, without_a_place_it_goes_on_and_says_so_once)
{
	struct pen_batch *b;

	stop();
	cr_assert_eq(setenv("PENSTOCK_RUN", "/proc/none", 1), 0);
	start();
	cr_expect_eq(notices, 1);
	cr_expect(strstr(said, "no progress ring"), "%s", said);
	b = begin(0, "me", 0, false);
	commit(b, 1);
	pen_tell_turn(tell);
	complete(b);
	cr_expect_eq(pen_tell_rest(tell), UINT64_MAX);
	cr_expect_eq(pen_emit_complete(engine, b->id, 1), 0);
	cr_expect_eq(notices, 1);
}

/* ---- programs ------------------------------------------------------------------------------- */

Test(tell, a_program_adds_totals_counters_and_errors)
{
	struct pen_emit emit = {
		.size = sizeof emit, .items_total = 50, .user_tag = 77, .stage = 6, .live = { 1, 2, 3 }
	};
	struct pen_batch *b;
	struct pen_ring_gauge g;
	int n;

	snprintf(plans[0].live[0], 24, "words");
	b = begin(0, tell->rings[0].owner, 0, true);
	open_own();
	(void)poll_all(NULL);
	cr_expect_eq(pen_emit_progress(engine, b->id, &emit), 0);
	emit.items_total = 0;
	emit.live[0] = 1000;
	cr_expect_eq(pen_emit_progress(engine, b->id, &emit), 0);
	cr_expect_eq(pen_emit_error(engine, b->id, 12), 0);
	cr_expect_eq(pen_emit_standard_error(engine, b->id, -PEN_JSON_BAD), 0);
	cr_expect_eq(pen_emit_domain_error(engine, b->id, 5, 6), 0);
	cr_expect_eq(pen_emit_error(engine, 999, 12), 0, "a batch that is not there");
	cr_expect_eq(pen_emit_standard_error(engine, b->id, 0), -EINVAL);
	emit.stage = 8;
	cr_expect_eq(pen_emit_progress(engine, b->id, &emit), -EINVAL);
	emit.size = 8;
	cr_expect_eq(pen_emit_progress(engine, b->id, &emit), -EINVAL);
	pass_ms(100);
	commit(b, 10);
	g = gauge_of(b);
	cr_expect_eq(g.items_total, 50);
	cr_expect_eq(g.user_tag, 77);
	cr_expect_eq(g.stage, 6);
	cr_expect_eq(g.live[0], 1000, "the last word");
	cr_expect_eq(g.live[2], 3);
	n = poll_all(NULL);
	cr_expect_eq(count_type(n, PEN_RING_EV_ERROR), 1);
	cr_expect_eq(count_type(n, PEN_RING_EV_ERROR_STANDARD), 1);
	cr_expect_eq(count_type(n, PEN_RING_EV_ERROR_DOMAIN), 1);
	cr_expect_eq(events[0].code, 12);
	cr_expect_eq(events[1].code, PEN_JSON_BAD);
	cr_expect_eq(events[2].a, 5);
	cr_expect_eq(events[2].code, 6);
	pen_ring_close(&ring);
}

Test(tell, a_program_is_done_when_all_of_it_counts)
{
	struct pen_batch *b = begin(0, tell->rings[0].owner, 0, true);
	int n;

	open_own();
	commit(b, 5);
	cr_expect_eq(pen_emit_complete(engine, b->id, 10), 0);
	pass_ms(100);
	commit(b, 9);
	cr_expect_eq(count_type(poll_all(NULL), PEN_RING_EV_DONE), 0);
	commit(b, 10);
	n = poll_all(NULL);
	cr_assert_eq(count_type(n, PEN_RING_EV_DONE), 1);
	commit(b, 11);
	cr_expect_eq(count_type(poll_all(NULL), PEN_RING_EV_DONE), 0, "once");
	/* All of it counts already when it says so. */
	cr_expect_eq(pen_emit_complete(engine, b->id, 11), 0);
	pass_ms(100);
	pass_ms(100);
	cr_expect_eq(count_type(poll_all(NULL), PEN_RING_EV_DONE), 1);
	pen_ring_close(&ring);
}

Test(tell, too_many_notes_are_counted_and_told)
{
	struct pen_batch *b = begin(0, tell->rings[0].owner, 0, true);
	unsigned refused = 0;
	int n;

	open_own();
	(void)poll_all(NULL);
	for (unsigned i = 0; i < PEN_POST_CELLS + 44; i++)
		refused += pen_emit_error(engine, b->id, i) == -EAGAIN;
	cr_expect_eq(refused, 44);
	pass_ms(100);
	n = poll_all(NULL);
	cr_expect_eq(count_type(n, PEN_RING_EV_ERROR), PEN_POST_CELLS);
	cr_assert_eq(count_type(n, PEN_RING_EV_COALESCED), 1);
	cr_expect_eq(events[n - 1].a, 44);
	cr_expect_eq(tell->coalesced, 44);
	pen_ring_close(&ring);
}

Test(tell, who_was_lapped_knows_how_much_and_goes_on_from_gauge_and_journal)
{
	struct pen_batch *b = begin(0, tell->rings[0].owner, 0, true);
	uint64_t lost, last = 0, seen = 0;
	int n;

	open_own();
	n = poll_all(NULL);
	for (int i = 0; i < n; i++)
		last = pen_max(last, events[i].c);
	cr_assert_eq(last, 2);
	for (unsigned i = 0; i < 6000; i++) {
		if (i == 100) {
			minute(b, PEN_EVENT_PAUSED, 0);
			commit(b, 3);
		}
		cr_assert_eq(pen_emit_error(engine, b->id, i), 0);
		pass_ms(6);
	}
	minute(b, PEN_EVENT_RESUMED, 0);
	commit(b, 44);
	n = poll_all(&lost);
	cr_expect_gt(lost, 1000);
	cr_expect_eq(lost + (uint64_t)n + 3, ring.cursor, "exactly");
	cr_expect_eq(gauge_of(b).committed, 44, "the gauge has it all");
	for (int i = 0; i < n; i++)
		seen = events[i].c ? events[i].c : seen;
	/* What is missing between the two has numbers: the store is asked for last + 1 .. */
	cr_expect_eq(seen, 4);
	cr_expect_eq(count_type(n, PEN_RING_EV_PAUSED), 0, "the control: number 3 was lost");
	pen_ring_close(&ring);
}
