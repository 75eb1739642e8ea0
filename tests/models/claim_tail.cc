/* SPDX-License-Identifier: MIT */
/*
 * claim_tail - the event ring of the progress file: publish in ring/cast.c, pen_ring_poll in penstock_progress.h
 *
 * A reader polls once while a writer publishes, each time contained in a gauge before: three events one by one into two
 * slots, or four events two by two into one.
 * An event it accepts is whole and the right one; what it counts as lost is in the gauge.
 */
#include "model.hpp"

enum {
	TAIL_STORE = 1,
	TAIL_LOAD,
	WORD_STORE,
	WORD_LOAD,
	CLAIM_STORE,
	CLAIM_LOAD,
	CLAIM_LATE,
	CLAIM_IGNORED,
	CLAIM_ONE_OFF,
	GAUGE_LATE
};
static const char *const names[] = {
	"tail is stored without release",   "tail is loaded without acquire",
	"words are stored without release", "words are loaded without acquire",
	"claim is stored without release",  "claim is loaded without acquire",
	"claim is raised after the words",  "claim is not looked at",
	"one event too many is kept",	    "the gauge is written after the events",
};

#define SLOTS_MAX 2u

struct claim_tail : rl::test_suite<claim_tail, 2> {
	static unsigned const bound = 0;
	rl::atomic<unsigned> claim, tail, gauge, words[SLOTS_MAX][2];
	unsigned slots, batch;

	void before()
	{
		slots = 1 + rl::rand(SLOTS_MAX);
		batch = slots == 1 ? 2 : 1;
		claim($).store(0, rl::mo_relaxed);
		tail($).store(0, rl::mo_relaxed);
		gauge($).store(0, rl::mo_relaxed);
		for (unsigned i = 0; i < SLOTS_MAX * 2; i++)
			words[i / 2][i % 2]($).store(0, rl::mo_relaxed);
	}

	void publish(unsigned t)
	{
		unsigned end = t + batch;

		if (!broken(GAUGE_LATE))
			gauge($).store(end, rl::mo_relaxed);
		if (!broken(CLAIM_LATE))
			claim($).store(end, order(CLAIM_STORE, rl::mo_release));
		for (unsigned i = t; i < end; i++)
			for (unsigned w = 0; w < 2; w++)
				words[i % slots][w]($).store(i + 1, order(WORD_STORE, rl::mo_release));
		if (broken(CLAIM_LATE))
			claim($).store(end, rl::mo_release);
		tail($).store(end, order(TAIL_STORE, rl::mo_release));
		if (broken(GAUGE_LATE))
			gauge($).store(end, rl::mo_relaxed);
	}

	/* One event at a time. */
	void poll(unsigned &cursor)
	{
		unsigned t = tail($).load(order(TAIL_LOAD, rl::mo_acquire)), from = cursor, got[2], c, over;

		if (t == cursor)
			return;
		if (t - from > slots)
			from = t - slots;
		for (unsigned w = 0; w < 2; w++)
			got[w] = words[from % slots][w]($).load(order(WORD_LOAD, rl::mo_acquire));
		c = claim($).load(order(CLAIM_LOAD, rl::mo_acquire));
		over = c - from > slots ? c - from - slots : 0;
		if (broken(CLAIM_IGNORED))
			over = 0;
		if (broken(CLAIM_ONE_OFF) && over)
			over--;
		if (over) {
			from += over;
		} else {
			RL_ASSERT(got[0] == from + 1 && got[1] == from + 1);
			from++;
		}
		/* Everything below, seen or lost, is in the gauge by now. */
		RL_ASSERT(gauge($).load(rl::mo_relaxed) >= from);
		cursor = from;
	}

	void thread(unsigned who)
	{
		unsigned cursor = 0;

		if (who == 0) {
			for (unsigned t = 0; t <= batch + 1; t += batch)
				publish(t);
		} else {
			poll(cursor);
		}
	}
};

int main(int argc, char **argv)
{
	return run_model<claim_tail>(argc, argv, names, sizeof(names) / sizeof(names[0]));
}
