/* SPDX-License-Identifier: MIT */
/*
 * graph - which batch waits for which, and may it run?
 *
 * A batch (the child) may depend on several others (its parents): `--after BATCH[:ok|any]`.
 *
 *   any    (the default) the child runs when the parent has ended, however: completed, failed, stopped, cancelled
 *   ok     it runs when the parent ended well: completed, and clean (its own command would have exited with 0: nothing
 *          rejected or failed, or that was allowed). Ended otherwise, the child will never run: it is cancelled
 *
 * So a failure cascades only where that was asked for, and a child never waits for what has ended. An interrupted
 * parent has not ended: its command, or the next worker, goes on with it. A parent that is not in the store any more
 * had ended; whether well, nobody knows, which is not `ok`.
 *
 * New batches name older ones, so a circle can only be made by giving a batch that exists already (a resubmission)
 * new parents. pen_graph_walk() finds it, or anything else that is reached from a batch.
 *
 *   Threads    one a struct.
 *   Memory     given by init, at most 48 bytes a node; walking allocates nothing and does not recurse.
 *   Limits     PEN_GRAPH_PARENTS parents a batch; the nodes given to init, at most PEN_GRAPH_NODES, a walk.
 *   Errors     -PEN_USAGE (a circle, too many), -PEN_MEMORY.
 */
#ifndef PEN_ENGINE_GRAPH_H
#define PEN_ENGINE_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "include/penstock.h"

#define PEN_GRAPH_PARENTS 256u
#define PEN_GRAPH_NODES 65536u

/* ---- readiness ----------------------------------------------------------------------------- */

struct pen_graph_parent {
	uint64_t id;
	enum pen_state state; /* 0: there is no such batch any more */
	bool ok;	      /* else any */
	bool clean;	      /* completed, with nothing rejected or failed that was not allowed */
};

enum pen_graph_ready {
	PEN_GRAPH_READY = 0,
	PEN_GRAPH_WAIT,
	PEN_GRAPH_NEVER, /* as soon as one parent says so, whatever the others do */
};

/* *ret_which, if not NULL: for WAIT and NEVER the first parent that decides it. */
enum pen_graph_ready pen_graph_ready(const struct pen_graph_parent *parents, size_t count, size_t *ret_which);
/* What is to be said of that parent behind its id: "was cancelled", "has not ended". Never NULL; static storage. */
const char *pen_graph_cause(const struct pen_graph_parent *parent);

/* ---- reach --------------------------------------------------------------------------------- */

struct pen_graph_frame {
	uint64_t id;
	size_t next;
};

struct pen_graph {
	uint32_t nodes; /* most batches of one walk */
	uint32_t seen_count, depth;
	uint32_t seen_mask;
	uint64_t *seen; /* open addressing; 0: free */
	struct pen_graph_frame *stack;
};

/* The i-th batch that is one step from this one (a parent; walking down: a child), or 0 when there are no more. The
 * answers must not change while it is walked. */
typedef uint64_t pen_graph_step_fn(void *arg, uint64_t batch, size_t i);

int pen_graph_init(struct pen_graph *graph, uint32_t nodes, struct pen_failure *why);
void pen_graph_fini(struct pen_graph *graph);
/*
 * Calls visit once for each batch that is reached from `from`, without it unless it reaches itself; ends at the first
 * answer that is not 0 and returns it. 0: all were visited. -PEN_USAGE: more nodes than it was given.
 */
typedef int pen_graph_visit_fn(void *arg, uint64_t batch);
int pen_graph_walk(struct pen_graph *graph, uint64_t from, pen_graph_step_fn *step, void *step_arg,
		   pen_graph_visit_fn *visit, void *visit_arg, struct pen_failure *why);
/*
 * May child get these parents besides those it has? step leads to parents. -PEN_USAGE names the circle, or says which
 * parent is given twice, or that there are too many.
 */
int pen_graph_check(struct pen_graph *graph, uint64_t child, const uint64_t *parents, size_t count,
		    pen_graph_step_fn *step, void *arg, struct pen_failure *why);

#endif
