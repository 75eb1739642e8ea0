/* SPDX-License-Identifier: MIT */
/*
 * model - what the models share: small copies of the protocols of ring/, run through every interleaving and every value
 * that the C11 memory model allows a load to return (Relacy)
 *
 * MODEL 0 is the protocol as it is and must pass. MODEL n has its nth step broken and must fail, or else the model would
 * not notice that step's absence. Exit status 0: held. 1: broken, and the history is printed.
 */
#pragma once

#include <relacy/relacy.hpp>

#include <cstdlib>
#include <cstring>
#include <iostream>

static unsigned mutant;

static inline bool broken(unsigned step)
{
	return mutant == step;
}

/* The order of an access, unless it is the one that is broken. */
static inline rl::memory_order order(unsigned step, rl::memory_order as_it_is)
{
	return broken(step) ? rl::mo_relaxed : as_it_is;
}

/* names[i] is what step i + 1 is. */
template <typename model> int run_model(int argc, char **argv, const char *const *names, unsigned count)
{
	rl::test_params params;
	bool held;

	if (argc > 1 && !strcmp(argv[1], "--list")) {
		for (unsigned i = 0; i < count; i++)
			std::cout << names[i] << "\n";
		return 0;
	}
	mutant = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 0;
	params.search_type = model::bound ? rl::sched_bound : rl::sched_full;
	params.context_bound = model::bound;
	params.execution_depth_limit = 500;
	held = rl::simulate<model>(params);
	std::cout << (held ? "held" : rl::test_result_str(params.test_result)) << ", "
		  << params.stop_iteration << " runs\n";
	return !held;
}
