/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <string.h>

#include "engine/graph.h"

static struct pen_failure why;

/* ---- readiness ----------------------------------------------------------------------------- */

static enum pen_graph_ready alone(enum pen_state state, bool ok, bool clean)
{
	struct pen_graph_parent parent = { .id = 1, .state = state, .ok = ok, .clean = clean };

	return pen_graph_ready(&parent, 1, NULL);
}

Test(graph, by_default_a_child_runs_when_its_parent_has_ended)
{
	for (unsigned s = 0; s <= PEN_CANCELLED; s++) {
		bool ended = s == 0 || s == PEN_COMPLETED || s == PEN_FAILED || s == PEN_STOPPED ||
			     s == PEN_CANCELLED;

		for (unsigned clean = 0; clean < 2; clean++)
			cr_expect_eq(alone((enum pen_state)s, false, clean),
				     ended ? PEN_GRAPH_READY : PEN_GRAPH_WAIT, "state %u", s);
	}
}

Test(graph, with_ok_only_when_it_ended_well)
{
	for (unsigned s = 0; s <= PEN_CANCELLED; s++) {
		bool ended = s == 0 || s == PEN_COMPLETED || s == PEN_FAILED || s == PEN_STOPPED ||
			     s == PEN_CANCELLED;

		cr_expect_eq(alone((enum pen_state)s, true, false), ended ? PEN_GRAPH_NEVER : PEN_GRAPH_WAIT,
			     "state %u", s);
	}
	cr_expect_eq(alone(PEN_COMPLETED, true, true), PEN_GRAPH_READY);
}

Test(graph, of_several_parents_the_worst_decides)
{
	struct pen_graph_parent parents[] = { { 1, PEN_COMPLETED, true, true },
					      { 2, PEN_RUNNING, false, false },
					      { 3, PEN_QUEUED, true, false },
					      { 4, PEN_CANCELLED, false, false } };
	size_t which = 77;

	cr_expect_eq(pen_graph_ready(NULL, 0, &which), PEN_GRAPH_READY);
	cr_expect_eq(which, 77);
	cr_expect_eq(pen_graph_ready(parents, 4, &which), PEN_GRAPH_WAIT);
	cr_expect_eq(which, 1);
	parents[3].ok = true;
	cr_expect_eq(pen_graph_ready(parents, 4, &which), PEN_GRAPH_NEVER);
	cr_expect_eq(which, 3);
	cr_expect_str_eq(pen_graph_cause(&parents[3]), "was cancelled");
	cr_expect_str_eq(pen_graph_cause(&parents[1]), "has not ended");
	parents[0].clean = false;
	cr_expect(strstr(pen_graph_cause(&parents[0]), "rejected or failed"));
}

Test(graph, after)
{
	size_t len;
	bool ok = true;

	cr_expect_eq(pen_after_parse("@last", &len, &ok, NULL), 0);
	cr_expect(len == 5 && !ok, "the default is any");
	cr_expect_eq(pen_after_parse("01ab:ok", &len, &ok, NULL), 0);
	cr_expect(len == 4 && ok);
	cr_expect_eq(pen_after_parse("01ab:any", &len, &ok, NULL), 0);
	cr_expect(len == 4 && !ok);
	cr_expect_eq(pen_after_parse(":ok", &len, &ok, &why), -PEN_USAGE);
	cr_expect(strstr(why.text, "names no batch"));
	memset(&why, 0, sizeof why);
	cr_expect_eq(pen_after_parse("01ab:", &len, &ok, &why), -PEN_USAGE);
	cr_expect_eq(pen_after_parse("01ab:OK", &len, &ok, NULL), -PEN_USAGE);
	cr_expect(strstr(why.text, "neither :ok nor :any"), "%s", why.text);
}

/* ---- reach --------------------------------------------------------------------------------- */

#define BATCHES 64u

/* edges[child] has the bits of its parents. Batch n has the id n + 1. */
static uint64_t edges[BATCHES];

static uint64_t step(void *arg, uint64_t batch, size_t i)
{
	const uint64_t *from = arg;
	uint64_t left = batch <= BATCHES ? from[batch - 1] : 0;

	for (; i && left; i--)
		left &= left - 1;
	return left ? (uint64_t)__builtin_ctzll(left) + 1 : 0;
}

static uint64_t next(uint64_t *state)
{
	*state += 0x9e3779b97f4a7c15ull;
	uint64_t x = *state;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

static int collect(void *arg, uint64_t batch)
{
	uint64_t *bits = arg;

	cr_assert_eq(*bits >> (batch - 1) & 1, 0, "visited once");
	*bits |= 1ull << (batch - 1);
	return 0;
}

/* Warshall's closure, as another opinion. */
static void closure(uint64_t *reach)
{
	memcpy(reach, edges, sizeof edges);
	for (unsigned k = 0; k < BATCHES; k++)
		for (unsigned i = 0; i < BATCHES; i++)
			if (reach[i] >> k & 1)
				reach[i] |= reach[k];
}

Test(graph, what_is_reached_and_what_closes_a_circle)
{
	uint64_t state = 7, reach[BATCHES], circles = 0;
	struct pen_graph graph;

	cr_assert_eq(pen_graph_init(&graph, BATCHES, NULL), 0);
	for (unsigned round = 0; round < 300; round++) {
		memset(edges, 0, sizeof edges);
		/* Sparse, and now and then with circles of its own. */
		for (unsigned n = 0; n < BATCHES + round % 40; n++) {
			uint64_t a = next(&state) % BATCHES, b = next(&state) % BATCHES;

			if (a > b || round % 10 == 0)
				edges[a] |= 1ull << b;
		}
		closure(reach);
		for (unsigned i = 0; i < BATCHES; i++) {
			uint64_t bits = 0, parents[2] = { next(&state) % BATCHES + 1 };
			bool round_trip;

			cr_assert_eq(pen_graph_walk(&graph, i + 1, step, edges, collect, &bits, NULL), 0);
			cr_assert_eq(bits, reach[i]);
			parents[1] = parents[0] % BATCHES + 1;
			round_trip = parents[0] == i + 1 || parents[1] == i + 1 ||
				     reach[parents[0] - 1] >> i & 1 || reach[parents[1] - 1] >> i & 1;
			circles += round_trip;
			cr_assert_eq(pen_graph_check(&graph, i + 1, parents, 2, step, edges, NULL),
				     round_trip ? -PEN_USAGE : 0, "round %u, %u", round, i);
		}
	}
	cr_expect_gt(circles, 1000);
	pen_graph_fini(&graph);
}

Test(graph, a_circle_is_named)
{
	struct pen_graph graph;
	uint64_t parents[PEN_GRAPH_PARENTS + 1] = { 3 };

	memset(edges, 0, sizeof edges);
	edges[2] = 1 << 1; /* 3 waits for 2, which waits for 1 */
	edges[1] = 1 << 0;
	cr_assert_eq(pen_graph_init(&graph, 10, NULL), 0);
	memset(&why, 0, sizeof why);
	cr_expect_eq(pen_graph_check(&graph, 1, parents, 1, step, edges, &why), -PEN_USAGE);
	cr_expect_str_eq(
		why.text,
		"the batch 0000000000000001 would wait for itself: for 0000000000000003, which waits for "
		"0000000000000002, which waits for 0000000000000001");
	memset(&why, 0, sizeof why);
	cr_expect_eq(pen_graph_check(&graph, 3, parents, 1, step, edges, &why), -PEN_USAGE);
	cr_expect(strstr(why.text, "cannot wait for itself"), "%s", why.text);
	cr_expect_eq(pen_graph_check(&graph, 4, parents, 1, step, edges, NULL), 0);
	memset(&why, 0, sizeof why);
	parents[1] = parents[0];
	cr_expect_eq(pen_graph_check(&graph, 4, parents, 2, step, edges, &why), -PEN_USAGE);
	cr_expect(strstr(why.text, "twice"), "%s", why.text);
	memset(&why, 0, sizeof why);
	cr_expect_eq(pen_graph_check(&graph, 4, parents, PEN_GRAPH_PARENTS + 1, step, edges, &why),
		     -PEN_USAGE);
	cr_expect(strstr(why.text, "can wait for 256"), "%s", why.text);
	pen_graph_fini(&graph);
}

/* A chain: each waits for the one before. */
static uint64_t chain(void *arg, uint64_t batch, size_t i)
{
	(void)arg;
	return i == 0 ? batch - 1 : 0;
}

Test(graph, a_long_chain_needs_no_stack_and_stays_in_its_bounds)
{
	struct pen_graph graph;
	uint64_t parent = PEN_GRAPH_NODES + 1;

	cr_assert_eq(pen_graph_init(&graph, PEN_GRAPH_NODES, NULL), 0);
	cr_expect_eq(pen_graph_check(&graph, UINT64_MAX, &parent, 1, chain, NULL, NULL), 0);
	memset(&why, 0, sizeof why);
	cr_expect_eq(pen_graph_check(&graph, 5, &parent, 1, chain, NULL, &why), -PEN_USAGE);
	cr_expect(strstr(why.text, "which waits for ... 0000000000000005"), "%s", why.text);
	parent++;
	memset(&why, 0, sizeof why);
	cr_expect_eq(pen_graph_check(&graph, UINT64_MAX, &parent, 1, chain, NULL, &why), -PEN_USAGE);
	cr_expect(strstr(why.text, "more than 65536"), "%s", why.text);
	pen_graph_fini(&graph);
}
