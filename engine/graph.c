/* SPDX-License-Identifier: MIT */
#include "engine/graph.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ring/assert.h"
#include "ring/base.h"
#include "ring/error.h"

/* ---- readiness ----------------------------------------------------------------------------- */

static enum pen_graph_ready one(const struct pen_graph_parent *parent)
{
	switch ((int)parent->state) {
	case 0:
	case PEN_FAILED:
	case PEN_STOPPED:
	case PEN_CANCELLED:
		return parent->ok ? PEN_GRAPH_NEVER : PEN_GRAPH_READY;
	case PEN_COMPLETED:
		return parent->ok && !parent->clean ? PEN_GRAPH_NEVER : PEN_GRAPH_READY;
	default:
		return PEN_GRAPH_WAIT;
	}
}

enum pen_graph_ready pen_graph_ready(const struct pen_graph_parent *parents, size_t count, size_t *ret_which)
{
	enum pen_graph_ready ready = PEN_GRAPH_READY;

	for (size_t i = 0; i < count; i++) {
		enum pen_graph_ready this = one(&parents[i]);

		if (this <= ready)
			continue;
		ready = this;
		if (ret_which)
			*ret_which = i;
	}
	return ready;
}

const char *pen_graph_cause(const struct pen_graph_parent *parent)
{
	switch ((int)parent->state) {
	case 0:
		return "is no longer in the store";
	case PEN_FAILED:
		return "failed";
	case PEN_STOPPED:
		return "was stopped by a threshold";
	case PEN_CANCELLED:
		return "was cancelled";
	case PEN_COMPLETED:
		return parent->clean ? "completed" : "completed with rejected or failed items";
	case PEN_INTERRUPTED:
		return "was interrupted and has not gone on";
	case PEN_PAUSED:
		return "is paused";
	default:
		return "has not ended";
	}
}

int pen_after_parse(const char *text, size_t *ret_len, bool *ret_ok, struct pen_failure *why)
{
	size_t len = strcspn(text, ":");
	const char *how = text + len;
	bool ok = strcmp(how, ":ok") == 0;

	if (len == 0)
		return pen_fail(why, -PEN_USAGE, 0,
				"--after '%.64s' names no batch; it takes BATCH, BATCH:ok or "
				"BATCH:any",
				text);
	if (*how && !ok && strcmp(how, ":any") != 0)
		return pen_fail(why, -PEN_USAGE, 0, "--after '%.64s' ends in neither :ok nor :any", text);
	*ret_len = len;
	*ret_ok = ok;
	return 0;
}

/* ---- reach --------------------------------------------------------------------------------- */

int pen_graph_init(struct pen_graph *graph, uint32_t nodes, struct pen_failure *why)
{
	uint32_t slots;

	pen_assert(nodes > 0 && nodes <= PEN_GRAPH_NODES);
	slots = pen_pow2_from(nodes * 2); /* at most half full */
	*graph = (struct pen_graph){ .nodes = nodes, .seen_mask = slots - 1 };
	graph->seen = calloc(slots, sizeof *graph->seen);
	graph->stack = calloc((size_t)nodes + 1, sizeof *graph->stack);
	if (graph->seen && graph->stack)
		return 0;
	pen_graph_fini(graph);
	return pen_fail(why, -PEN_MEMORY, 0, "no memory for a graph of %u batches", nodes);
}

void pen_graph_fini(struct pen_graph *graph)
{
	free(graph->seen);
	free(graph->stack);
	*graph = (struct pen_graph){ 0 };
}

/* 1: it was seen before; 0: it is new; -1: it is new and there is no room. */
static int see(struct pen_graph *graph, uint64_t id)
{
	uint32_t i = (uint32_t)(id * 0x9e3779b97f4a7c15ull >> 32) & graph->seen_mask;

	for (; graph->seen[i]; i = (i + 1) & graph->seen_mask)
		if (graph->seen[i] == id)
			return 1;
	if (graph->seen_count == graph->nodes)
		return -1;
	graph->seen[i] = id;
	graph->seen_count++;
	return 0;
}

static void forget(struct pen_graph *graph)
{
	memset(graph->seen, 0, ((size_t)graph->seen_mask + 1) * sizeof *graph->seen);
	graph->seen_count = 0;
	graph->depth = 0;
}

/* Goes on in the struct as it is: what was seen is not visited again. */
static int walk(struct pen_graph *graph, uint64_t from, pen_graph_step_fn *step, void *step_arg,
		pen_graph_visit_fn *visit, void *visit_arg, struct pen_failure *why)
{
	graph->stack[0] = (struct pen_graph_frame){ .id = from };
	graph->depth = 1;
	while (graph->depth) {
		struct pen_graph_frame *top = &graph->stack[graph->depth - 1];
		uint64_t next = step(step_arg, top->id, top->next++);
		int rc;

		if (!next) {
			graph->depth--;
			continue;
		}
		rc = see(graph, next);
		if (rc < 0)
			return pen_fail(why, -PEN_USAGE, 0,
					"more than %u batches depend on each other from %016llx on",
					graph->nodes, (unsigned long long)from);
		if (rc)
			continue;
		rc = visit(visit_arg, next);
		if (rc)
			return rc;
		graph->stack[graph->depth++] = (struct pen_graph_frame){ .id = next };
	}
	return 0;
}

int pen_graph_walk(struct pen_graph *graph, uint64_t from, pen_graph_step_fn *step, void *step_arg,
		   pen_graph_visit_fn *visit, void *visit_arg, struct pen_failure *why)
{
	forget(graph);
	return walk(graph, from, step, step_arg, visit, visit_arg, why);
}

static int is_child(void *arg, uint64_t batch)
{
	return batch == *(const uint64_t *)arg;
}

/* The stack leads from a new parent to what waits for the child: "A waits for B, which waits for A". */
static int circle(const struct pen_graph *graph, uint64_t child, struct pen_failure *why)
{
	char path[400];
	size_t len = 0;
	uint32_t shown = graph->depth < 8 ? graph->depth : 8;

	path[0] = '\0';
	for (uint32_t i = 0; i < shown; i++)
		len += (size_t)snprintf(path + len, sizeof path - len, "%016llx, which waits for ",
					(unsigned long long)graph->stack[i].id);
	return pen_fail(why, -PEN_USAGE, 0, "the batch %016llx would wait for itself: for %s%s%016llx",
			(unsigned long long)child, path, graph->depth > shown ? "... " : "",
			(unsigned long long)child);
}

int pen_graph_check(struct pen_graph *graph, uint64_t child, const uint64_t *parents, size_t count,
		    pen_graph_step_fn *step, void *arg, struct pen_failure *why)
{
	if (count > PEN_GRAPH_PARENTS)
		return pen_fail(why, -PEN_USAGE, 0, "%zu times --after; a batch can wait for %u", count,
				PEN_GRAPH_PARENTS);
	forget(graph);
	for (size_t i = 0; i < count; i++) {
		int rc;

		for (size_t j = 0; j < i; j++)
			if (parents[j] == parents[i])
				return pen_fail(why, -PEN_USAGE, 0, "--after names the batch %016llx twice",
						(unsigned long long)parents[i]);
		if (parents[i] == child)
			return pen_fail(why, -PEN_USAGE, 0, "the batch %016llx cannot wait for itself",
					(unsigned long long)child);
		rc = walk(graph, parents[i], step, arg, is_child, &child, why);
		if (rc > 0)
			return circle(graph, child, why);
		if (rc < 0)
			return rc;
	}
	return 0;
}
