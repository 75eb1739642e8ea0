/* SPDX-License-Identifier: MIT */
/*
 * lane_close - a lane and its end: pen_lane_push, pen_lane_pop, pen_lane_close, pen_lane_ended
 *
 * Two slots; the producer pushes three words as far as there is room, and closes. A word is taken once, in order, and after
 * it was stored; a slot is filled again only after it was read; a lane that says it has ended has given all it got.
 */
#include "model.hpp"

enum {
	TAIL_STORE = 1,
	TAIL_LOAD,
	HEAD_STORE,
	HEAD_LOAD,
	CLOSE_STORE,
	CLOSE_LOAD,
	EMPTY_FIRST,
	CLOSE_FIRST,
	TAIL_FIRST
};
static const char *const names[] = {
	"tail is stored without release",   "tail is loaded without acquire",
	"head is stored without release",   "head is loaded without acquire",
	"closed is stored without release", "closed is loaded without acquire",
	"emptiness is asked before closed", "closed before the last push",
	"tail is stored before the word",
};

#define SLOTS 2u
#define WORDS 3u

struct lane_close : rl::test_suite<lane_close, 2> {
	static unsigned const bound = 0;
	rl::atomic<unsigned> head, tail, closed;
	rl::var<unsigned> slots[SLOTS], pushed; /* plain: ordered by the lane alone */

	void before()
	{
		head($).store(0, rl::mo_relaxed);
		tail($).store(0, rl::mo_relaxed);
		closed($).store(0, rl::mo_relaxed);
		pushed($) = 0;
	}

	void produce()
	{
		unsigned t = 0, head_seen = 0;

		for (unsigned i = 0; i < WORDS; i++) {
			if (t - head_seen == SLOTS)
				head_seen = head($).load(order(HEAD_LOAD, rl::mo_acquire));
			if (t - head_seen == SLOTS)
				break;
			if (broken(CLOSE_FIRST) && i == WORDS - 1)
				closed($).store(1, rl::mo_release);
			if (broken(TAIL_FIRST))
				tail($).store(t + 1, rl::mo_release);
			slots[t % SLOTS]($) = t + 1;
			t++;
			if (!broken(TAIL_FIRST))
				tail($).store(t, order(TAIL_STORE, rl::mo_release));
		}
		pushed($) = t;
		closed($).store(1, order(CLOSE_STORE, rl::mo_release));
	}

	void consume()
	{
		unsigned h = 0;

		for (unsigned look = 0; look < 3; look++) {
			unsigned t, end = 0;

			if (!broken(EMPTY_FIRST))
				end = closed($).load(order(CLOSE_LOAD, rl::mo_acquire));
			t = tail($).load(order(TAIL_LOAD, rl::mo_acquire));
			if (broken(EMPTY_FIRST))
				end = closed($).load(rl::mo_acquire);
			if (end && t == h) {
				RL_ASSERT(pushed($) == h);
				return;
			}
			for (; h != t; h++) {
				unsigned got = slots[h % SLOTS]($);

				RL_ASSERT(got == h + 1);
			}
			head($).store(h, order(HEAD_STORE, rl::mo_release));
		}
	}

	void thread(unsigned who)
	{
		if (who == 0)
			produce();
		else
			consume();
	}
};

int main(int argc, char **argv)
{
	return run_model<lane_close>(argc, argv, names, sizeof(names) / sizeof(names[0]));
}
