/* SPDX-License-Identifier: MIT */
#include "engine/budget.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/limit.h"
#include "engine/order.h"
#include "ring/base.h"
#include "ring/error.h"

#define ID "%016" PRIx64
/* A policy may be changed and a budget given back by others: it is asked again after so long, whatever was said. */
#define AGAIN_NS PEN_NS_PER_S
#define RATE_POLICY "\1rate" /* no policy's name: nobody can set it */

/* One of the two counts. */
struct part {
	bool on;
	struct pen_sum identity;
	struct pen_turnstile_ask ask;
	uint64_t at_ns; /* of the last take */
};

struct pen_budget {
	struct pen_limits *limits;
	const struct pen_clock *clock;
	struct part rate, items;
	uint64_t until_ns; /* after a refusal: ask again then; 0: none */
	_Atomic uint64_t
		resting_ns; /* the same, for those who tell of it; written by the one thread that takes */
};

bool pen_budget_wanted(const struct pen_plan *plan)
{
	return plan->rate_count || plan->limits;
}

int pen_budget_limits(struct pen_engine *engine, struct pen_limits **ret, struct pen_failure *why)
{
	const struct pen_limits_options opt = { .size = sizeof opt, .copier = true };
	int rc = engine->limits ? 0 : pen_limit_open(engine->store, &opt, &engine->limits, why);

	*ret = engine->limits;
	return rc;
}

static void owner_identity(const char *owner, char ret[PEN_LIMIT_IDENTITY + 1])
{
	(void)snprintf(ret, PEN_LIMIT_IDENTITY + 1, "user:%s", owner);
}

static void rate_part(struct part *part, uint64_t batch, uint64_t count, uint64_t window_ns)
{
	char text[40];

	(void)snprintf(text, sizeof text, "batch:" ID, batch);
	part->identity = pen_limit_identity(text);
	part->ask.policy = pen_limit_identity(RATE_POLICY);
	part->on = pen_quota_rule(&part->ask.rule, PEN_QUOTA_SLIDING, window_ns, count, UINT64_MAX);
}

int pen_budget_open(struct pen_engine *engine, const struct pen_plan *plan, uint64_t batch,
		    struct pen_budget **ret, struct pen_failure *why)
{
	char owner[PEN_LIMIT_IDENTITY + 1];
	struct pen_budget *b;
	int rc;

	if (!pen_budget_wanted(plan))
		return 0;
	b = calloc(1, sizeof *b);
	if (!b)
		return pen_fail(why, -PEN_MEMORY, 0, "no memory for a budget");
	rc = pen_budget_limits(engine, &b->limits, why);
	if (rc) {
		free(b);
		return rc;
	}
	b->clock = engine->clock;
	if (plan->rate_count)
		rate_part(&b->rate, batch, plan->rate_count, plan->rate_window_ns);
	if (plan->limits) {
		owner_identity(plan->owner, owner);
		b->items.identity = pen_limit_identity(owner);
		b->items.on = true;
	}
	*ret = b;
	return 0;
}

void pen_budget_close(struct pen_budget *budget)
{
	free(budget);
}

/* ---- batches --------------------------------------------------------------------------------- */

int pen_budget_admit(struct pen_engine *engine, const struct pen_plan *plan, struct pen_limit_hold *hold,
		     struct pen_failure *why)
{
	const struct pen_limit_ask ask = { PEN_BUDGET_BATCHES, 1 };
	char owner[PEN_LIMIT_IDENTITY + 1];
	struct pen_limit_result result;
	struct pen_limits *limits;
	int rc = pen_budget_limits(engine, &limits, why);

	if (rc)
		return rc;
	owner_identity(plan->owner, owner);
	rc = pen_limit_reserve(limits, owner, &ask, 1, &result, hold, NULL);
	if (rc == -PEN_LIMIT_REFUSED)
		return pen_fail(why, rc, 0,
				"%s: %" PRIu64 " of %" PRIu64 " left for %s; Retry-After: %" PRIu64 " s",
				result.policy, result.remaining, result.limit, owner,
				pen_limit_retry_after(&result, 1));
	return rc ? pen_fail(why, rc, 0, "%s of %s", ask.policy, owner) : 0;
}

void pen_budget_readmit(struct pen_engine *engine, const struct pen_limit_hold *hold)
{
	if (engine->limits && hold->count)
		(void)pen_limit_release(engine->limits, hold);
}

/* ---- items ----------------------------------------------------------------------------------- */

/* What is above the limit as a whole (a chunk that was cut before the policy was lowered) goes by itself. */
static bool take_part(struct pen_budget *b, struct part *part, uint64_t items, uint64_t *ret_retry_ns)
{
	struct pen_turnstile *t = pen_limit_turnstile(b->limits);
	int rc;

	part->ask.cost = items;
	rc = pen_turnstile_pass(t, part->identity, &part->ask, 1, PEN_TURNSTILE_TAKE, 0, &part->at_ns);
	if (rc == -PEN_LIMIT_REFUSED && part->ask.verdict.retry_ns == PEN_QUOTA_NEVER) {
		if (part->ask.verdict.remaining == part->ask.verdict.limit)
			rc = pen_turnstile_pass(t, part->identity, &part->ask, 1, PEN_TURNSTILE_FORCE, 0,
						&part->at_ns);
		else
			part->ask.verdict.retry_ns = part->ask.verdict.reset_ns;
	}
	*ret_retry_ns = rc == -PEN_LIMIT_REFUSED ? part->ask.verdict.retry_ns : AGAIN_NS;
	return !rc;
}

static void give_back(struct pen_budget *b, struct part *part, uint64_t items)
{
	if (!part->on || !items)
		return;
	part->ask.cost = items;
	pen_turnstile_back(pen_limit_turnstile(b->limits), part->identity, &part->ask, 1, part->at_ns, 0);
}

/* As it is now: it may have been changed since the last item. */
static bool follow_policy(struct pen_budget *b)
{
	struct pen_turnstile_ask ask;

	/* A policy that cannot be read refuses. */
	if (pen_limit_ask(b->limits, PEN_BUDGET_ITEMS, &ask, NULL))
		return false;
	ask.verdict = b->items.ask.verdict;
	b->items.ask = ask;
	return true;
}

static bool refused(struct pen_budget *b, uint64_t now_ns, uint64_t retry_ns)
{
	b->until_ns = now_ns + pen_max(1, pen_min(retry_ns, AGAIN_NS));
	/* Relaxed: for people. */
	atomic_store_explicit(&b->resting_ns, now_ns + retry_ns, memory_order_relaxed);
	return false;
}

bool pen_budget_take(struct pen_budget *budget, uint64_t items)
{
	uint64_t now, retry = AGAIN_NS;

	if (!budget || !items)
		return true;
	now = pen_mono_ns(budget->clock);
	if (now < budget->until_ns)
		return false;
	if (budget->rate.on && !take_part(budget, &budget->rate, items, &retry))
		return refused(budget, now, retry);
	if (budget->items.on &&
	    (!follow_policy(budget) || !take_part(budget, &budget->items, items, &retry))) {
		give_back(budget, &budget->rate, items);
		return refused(budget, now, retry);
	}
	if (budget->until_ns) {
		budget->until_ns = 0;
		atomic_store_explicit(&budget->resting_ns, 0, memory_order_relaxed); /* as above */
	}
	return true;
}

void pen_budget_back(struct pen_budget *budget, uint64_t items)
{
	if (!budget)
		return;
	give_back(budget, &budget->rate, items);
	give_back(budget, &budget->items, items);
}

void pen_budget_counted(struct pen_budget *budget)
{
	struct part *parts[2];

	if (!budget)
		return;
	parts[0] = &budget->rate;
	parts[1] = &budget->items;
	for (int i = 0; i < 2; i++)
		if (parts[i]->on && parts[i]->ask.cost)
			pen_turnstile_restamp(pen_limit_turnstile(budget->limits), parts[i]->identity,
					      &parts[i]->ask, 1, parts[i]->at_ns);
}

uint64_t pen_budget_wait_ns(const struct pen_budget *budget)
{
	uint64_t now;

	if (!budget || !budget->until_ns)
		return UINT64_MAX;
	now = pen_mono_ns(budget->clock);
	return budget->until_ns > now ? budget->until_ns - now : UINT64_MAX;
}

bool pen_budget_resting(const struct pen_budget *budget, uint64_t *ret_ms)
{
	uint64_t now, until;

	if (!budget)
		return false;
	until = atomic_load_explicit(&budget->resting_ns, memory_order_relaxed); /* as above */
	if (!until)
		return false;
	now = pen_mono_ns(budget->clock);
	*ret_ms = until > now ? (until - now + PEN_NS_PER_MS - 1) / PEN_NS_PER_MS : 0;
	return true;
}

/* ---- why ------------------------------------------------------------------------------------- */

static size_t say(const struct pen_turnstile_ask *ask, const char *what, char *ret, size_t cap)
{
	uint64_t ms = (ask->verdict.retry_ns + PEN_NS_PER_MS - 1) / PEN_NS_PER_MS;
	int n;

	if (!ask->verdict.refused)
		return 0;
	n = snprintf(ret, cap,
		     "it waits for its limit: %s lets %" PRIu64 " items pass in %" PRIu64
		     ".%03u s; the next goes in %" PRIu64 ".%" PRIu64 " s\n",
		     what, ask->verdict.limit, (uint64_t)(ask->rule.window_ns / PEN_NS_PER_S),
		     (unsigned)(ask->rule.window_ns / PEN_NS_PER_MS % 1000), ms / 1000, ms % 1000 / 100);
	return n > 0 ? (size_t)n : 0;
}

static size_t why(struct pen_store *store, const struct pen_run *run, uint64_t batch, char *ret, size_t cap)
{
	struct pen_limits *limits = NULL;
	struct part rate = { 0 }, items = { 0 };
	size_t len = 0;

	if ((!run->rate_count && !run->limits) || pen_limit_open(store, NULL, &limits, NULL))
		return 0;
	if (run->rate_count) {
		rate_part(&rate, batch, run->rate_count, run->rate_window_ns);
		rate.ask.cost = 1;
		(void)pen_turnstile_pass(pen_limit_turnstile(limits), rate.identity, &rate.ask, 1,
					 PEN_TURNSTILE_LOOK, 0, NULL);
		len = say(&rate.ask, "--rate", ret, cap);
	}
	if (!len && run->limits && run->owner && !pen_limit_ask(limits, PEN_BUDGET_ITEMS, &items.ask, NULL)) {
		char owner[PEN_LIMIT_IDENTITY + 1];

		owner_identity(run->owner, owner);
		items.ask.cost = 1;
		(void)pen_turnstile_pass(pen_limit_turnstile(limits), pen_limit_identity(owner), &items.ask,
					 1, PEN_TURNSTILE_LOOK, 0, NULL);
		len = say(&items.ask, PEN_BUDGET_ITEMS, ret, cap);
	}
	pen_limit_close(limits);
	return len;
}

size_t pen_budget_why(struct pen_store *store, const struct pen_order *order, char *ret, size_t cap)
{
	struct pen_run *run;
	size_t len;

	if (!order->spec_len || pen_order_unpack(order->spec, order->spec_len, &run))
		return 0;
	len = why(store, run, order->fixed.id, ret, cap);
	free(run);
	return len;
}
