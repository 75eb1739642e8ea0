/* SPDX-License-Identifier: MIT */
/*
 * wake - how readers of the progress file sleep: pen_cast_wake_now and pen_cast_idle, pen_ring_wait
 *
 * The writer publishes two events; the second one's wake is owed and given when it goes idle. Two readers sleep without a
 * timeout until they saw both: a lost wake is a deadlock.
 */
#include "model.hpp"

enum {
	NUMBER_STORE = 1,
	NUMBER_LOAD,
	WAKE_FIRST,
	OWED_FORGOTTEN,
	NO_SECOND_LOOK,
	NUMBER_LATE,
	NUMBER_KEPT,
	ONE_WOKEN
};
static const char *const names[] = {
	"the number is stored without release",
	"the number is loaded without acquire",
	"the wake comes before the event",
	"the owed wake is never given",
	"no look after the number",
	"the number is taken after the look",
	"woken without a new number",
	"one reader is woken and not all",
};

struct wake : rl::test_suite<wake, 3> {
	static unsigned const bound = 3;
	rl::atomic<int> number, tail;

	void before()
	{
		number($).store(0, rl::mo_relaxed);
		tail($).store(0, rl::mo_relaxed);
	}

	void give(int n)
	{
		if (!broken(NUMBER_KEPT))
			number($).store(n, order(NUMBER_STORE, rl::mo_release));
		rl::ctx().sched();
		rl::ctx().atomic_thread_fence_seq_cst();
		number.wake(rl::ctx(), broken(ONE_WOKEN) ? 1 : 1000, $);
	}

	void write()
	{
		tail($).store(1, rl::mo_release);
		give(1);
		if (broken(WAKE_FIRST))
			give(2);
		tail($).store(2, rl::mo_release);
		if (!broken(OWED_FORGOTTEN) && !broken(WAKE_FIRST))
			give(2);
	}

	/* FUTEX_WAIT: comparing and going to sleep are one step. Never wakes by itself here. */
	void sleep(int seen)
	{
		bool same;

		rl::ctx().sched();
		rl::ctx().atomic_thread_fence_seq_cst();
		{
			rl::preemption_disabler one_step(rl::ctx());
			same = number.load(rl::mo_acquire, $) == seen;
		}
		if (same)
			number.wait(rl::ctx(), false, false, $);
	}

	void read()
	{
		int cursor = 0;

		while (cursor < 2) {
			int t, seen = 0;

			if (!broken(NUMBER_LATE))
				seen = number($).load(order(NUMBER_LOAD, rl::mo_acquire));
			t = broken(NO_SECOND_LOOK) ? cursor : tail($).load(rl::mo_acquire);
			if (broken(NUMBER_LATE))
				seen = number($).load(rl::mo_acquire);
			if (t == cursor) {
				sleep(seen);
				t = tail($).load(rl::mo_acquire);
			}
			cursor = t;
		}
	}

	void thread(unsigned who)
	{
		if (who == 0)
			write();
		else
			read();
	}
};

int main(int argc, char **argv)
{
	return run_model<wake>(argc, argv, names, sizeof(names) / sizeof(names[0]));
}
