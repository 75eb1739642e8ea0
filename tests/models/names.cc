/* SPDX-License-Identifier: MIT */
/*
 * names - the names of a gauge's batch: store_names in ring/cast.c, pen_ring_names in penstock_progress.h
 *
 * A slot's batch 1 has a label and the name of a live counter, of two words. Then batch 2 gets the slot, with a
 * label, and its counter gets a name later: all is written again. The writer may die after any of its stores. A
 * reader asks for the names of either batch: what it believes are that batch's, and no name is half there.
 */
#include "tests/models/model.hpp"

enum {
	BATCH_STORE = 1,
	BATCH_LOAD,
	WORD_STORE,
	WORD_LOAD,
	NOT_TAKEN_AWAY,
	BATCH_FIRST,
	FRONT_FIRST,
	NO_RECHECK,
	NOT_ASKED_BEFORE
};
static const char *const names[] = {
	"the batch is stored without release",
	"the batch is loaded without acquire",
	"words are stored without release",
	"words are loaded without acquire",
	"the last batch stays while the words change",
	"the batch is stored before the words",
	"words are stored from the front",
	"the batch is not looked at again",
	"the batch is not looked at before",
};

/* A label, and the two words of a live counter's name; 0: a NUL. */
#define WORDS 3u

struct names_of_batches : rl::test_suite<names_of_batches, 2> {
	static unsigned const bound = 0;
	rl::atomic<unsigned> batch, words[WORDS];
	unsigned life;

	void before()
	{
		batch($).store(1, rl::mo_relaxed);
		for (unsigned i = 0; i < WORDS; i++)
			words[i]($).store(1, rl::mo_relaxed);
	}

	/* False: it died before this store. */
	bool lives()
	{
		return life && life--;
	}

	void store_names(unsigned b, bool named)
	{
		if (!broken(NOT_TAKEN_AWAY) && lives())
			batch($).store(broken(BATCH_FIRST) ? b : 0, rl::mo_release);
		for (unsigned i = 0; i < WORDS; i++) {
			unsigned w = broken(FRONT_FIRST) ? i : WORDS - 1 - i;

			if (lives())
				words[w]($).store(w && !named ? 0 : b, order(WORD_STORE, rl::mo_release));
		}
		if (!broken(BATCH_FIRST) && lives())
			batch($).store(b, order(BATCH_STORE, rl::mo_release));
	}

	void read(unsigned b)
	{
		unsigned seen = batch($).load(order(BATCH_LOAD, rl::mo_acquire)), got[WORDS];

		for (unsigned w = 0; w < WORDS; w++)
			got[w] = words[w]($).load(order(WORD_LOAD, rl::mo_acquire));
		if (seen != b && !broken(NOT_ASKED_BEFORE))
			return;
		if (!broken(NO_RECHECK) && batch($).load(rl::mo_relaxed) != b)
			return;
		RL_ASSERT(got[0] == b);
		RL_ASSERT(!got[1] || (got[1] == b && got[2] == b));
	}

	void thread(unsigned who)
	{
		if (who == 0) {
			life = choose(2 * (WORDS + 2) + 1);
			store_names(2, false);
			store_names(2, true);
		} else {
			read(1 + choose(2));
		}
	}
};

int main(int argc, char **argv)
{
	return run_model<names_of_batches>(argc, argv, names, sizeof(names) / sizeof(names[0]));
}
