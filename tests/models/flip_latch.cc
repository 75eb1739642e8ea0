/* SPDX-License-Identifier: MIT */
/*
 * flip_latch - a gauge: pen_gauge_write and pen_cast_gauge, pen_gauge_read and pen_ring_gauge
 *
 * Two words a copy, three writes, and a writer that may die after any of its stores. A set that a reader accepts is one
 * write's; after the writer's death the first try succeeds.
 */
#include "model.hpp"

enum { SEQ_STORE = 1, SEQ_LOAD, WORD_STORE, WORD_LOAD, SAME_COPY, NO_RECHECK, FLIP_FIRST };
static const char *const names[] = {
	"the number is stored without release",
	"the number is loaded without acquire",
	"words are stored without release",
	"words are loaded without acquire",
	"the copy in use is written",
	"the number is not looked at again",
	"the number is stored before the words",
};

#define WRITES 3u

struct flip_latch : rl::test_suite<flip_latch, 2> {
	static unsigned const bound = 0;
	rl::atomic<unsigned> seq, words[2][2];

	void before()
	{
		seq($).store(0, rl::mo_relaxed);
		for (unsigned i = 0; i < 4; i++)
			words[i / 2][i % 2]($).store(0, rl::mo_relaxed);
	}

	bool read()
	{
		unsigned s = seq($).load(order(SEQ_LOAD, rl::mo_acquire)), got[2];

		for (unsigned w = 0; w < 2; w++)
			got[w] = words[s & 1][w]($).load(order(WORD_LOAD, rl::mo_acquire));
		if (!broken(NO_RECHECK) && seq($).load(rl::mo_relaxed) != s)
			return false;
		RL_ASSERT(got[0] == s && got[1] == s);
		return true;
	}

	void write(unsigned life)
	{
		for (unsigned s = 1; s <= WRITES; s++) {
			unsigned copy = broken(SAME_COPY) ? (s - 1) & 1 : s & 1;

			if (broken(FLIP_FIRST) && life--)
				seq($).store(s, rl::mo_release);
			for (unsigned w = 0; w < 2; w++) {
				if (!life--)
					return;
				words[copy][w]($).store(s, order(WORD_STORE, rl::mo_release));
			}
			if (broken(FLIP_FIRST))
				continue;
			if (!life--)
				return;
			seq($).store(s, order(SEQ_STORE, rl::mo_release));
		}
	}

	void thread(unsigned who)
	{
		if (who == 0)
			write(rl::rand(3 * WRITES + 1));
		else
			(void)read();
	}

	void after()
	{
		RL_ASSERT(read());
	}
};

int main(int argc, char **argv)
{
	return run_model<flip_latch>(argc, argv, names, sizeof(names) / sizeof(names[0]));
}
