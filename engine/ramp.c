/* SPDX-License-Identifier: MIT */
/*
 * ramp - judges a rollout that is raised step by step, and takes the next step
 *
 * Everything it knows is in the store: whoever calls next goes on, and what two decide at once only one writes. A step
 * is judged by the batches that were made since it was taken and that the flag let in.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/flag.h"
#include "ring/base.h"
#include "ring/error.h"
#include "store/change.h"
#include "store/flag.h"
#include "store/pin.h"
#include "store/ramp.h"
#include "store/store.h"

#define LOOK_MS 1000u /* a step's batches are looked at so often at least */
#define PARTS 1000000u
#define TEXT 256

static int check(const struct pen_ramp *ramp, const char *name, struct pen_failure *why)
{
	const char *wrong = NULL;

	if (!ramp->step_count || ramp->step_count > PEN_RAMP_STEPS)
		wrong = "a ramp has 1 to 32 steps";
	for (uint32_t i = 0; i < ramp->step_count && !wrong; i++)
		if (ramp->steps[i] > PEN_FLAG_WHOLE || (i && ramp->steps[i] <= ramp->steps[i - 1]))
			wrong = "the steps of a ramp rise, up to 100 percent";
	if (!wrong && ramp->guarded && (!ramp->max_error || ramp->max_error > PARTS))
		wrong = "an error rate is above 0 and up to 100 percent";
	return wrong ? pen_fail(why, -PEN_FLAG_BAD, 0, "flag %s: %s", name, wrong) : 0;
}

static int begin_in(struct pen_txn *txn, const char *name, const struct pen_ramp *given, const char *by,
		    struct pen_failure *why)
{
	struct pen_ramp ramp = *given;
	struct pen_flag *flag = NULL;
	char text[TEXT];
	int rc = pen_flag_load(txn, name, &flag);

	if (rc)
		return rc == -PEN_NOT_FOUND ? pen_fail(why, rc, 0, "there is no flag %s", name) : rc;
	if (!flag->enabled)
		rc = pen_fail(why, -PEN_FLAG_BAD, 0,
			      "flag %s is switched off: a ramp would let nobody in (flag set %s --on)", name,
			      name);
	/* It raises: steps below what is reached are behind it. */
	ramp.step_count = 0;
	for (uint32_t i = 0; i < given->step_count && !rc; i++)
		if (given->steps[i] >= flag->rollout)
			ramp.steps[ramp.step_count++] = given->steps[i];
	if (!rc && !ramp.step_count)
		rc = pen_fail(why, -PEN_FLAG_BAD, 0, "flag %s is beyond the last step already", name);
	memset(ramp.steps + ramp.step_count, 0, (PEN_RAMP_STEPS - ramp.step_count) * sizeof(ramp.steps[0]));
	ramp.state = PEN_RAMP_RUNNING;
	ramp.step = 0;
	ramp.step_ms = ramp.batches = ramp.items = ramp.bad = 0;
	if (!rc)
		rc = pen_ramp_put(txn, name, &ramp);
	if (!rc) {
		(void)snprintf(text, sizeof(text), "a ramp of %" PRIu32 " steps begins", ramp.step_count);
		rc = pen_change_add(txn, PEN_FLAG_DID_RAMP, flag, flag, by, text);
	}
	free(flag);
	return rc;
}

int pen_ramp_begin(struct pen_store *store, const char *name, const struct pen_ramp *ramp, const char *by,
		   struct pen_failure *why)
{
	struct pen_txn *txn;
	int rc;

	if (ramp->size < sizeof(*ramp))
		return -EINVAL;
	if (!pen_flag_name_len(name))
		return pen_fail(why, -PEN_NOT_FOUND, 0, "there is no flag '%.*s'", (int)PEN_FLAG_NAME_MAX,
				name);
	rc = check(ramp, name, why);
	if (!rc)
		rc = pen_txn_begin(store, PEN_DURABLE_COMMIT, &txn, NULL, why);
	if (rc)
		return rc;
	rc = begin_in(txn, name, ramp, by, why);
	if (!rc)
		return pen_flag_commit(store, txn, why);
	pen_txn_abort(txn);
	return rc;
}

/* ---- judging --------------------------------------------------------------------------------- */

static bool let_in(struct pen_store *store, uint64_t batch, const char *name)
{
	struct pen_flag_pin pins[PEN_FLAG_GATES_MAX];
	int n = pen_pin_read(store, batch, pins);

	for (int i = 0; i < n; i++)
		if (strcmp(pins[i].name, name) == 0)
			return pins[i].verdict.on;
	return false;
}

/* Counts the batches of the step, newest first. */
static void measure(struct pen_store *store, const char *name, struct pen_ramp *ramp)
{
	uint64_t id = UINT64_MAX;
	struct pen_batch_info info;

	ramp->batches = ramp->items = ramp->bad = 0;
	while (ramp->step && (id = pen_batch_before(store, id))) {
		if (pen_batch_get(store, id, &info))
			continue; /* cleaned meanwhile */
		if (info.created_ms < ramp->step_ms)
			break;
		if (!let_in(store, id, name))
			continue;
		ramp->batches++;
		ramp->items += info.counted.items;
		ramp->bad += info.counted.rejected + info.counted.failed;
	}
}

static bool broken(const struct pen_ramp *r)
{
	uint64_t least = r->min_items ? r->min_items : 1;

	return r->guarded && r->items >= least &&
	       (__uint128_t)r->bad * PARTS >= (__uint128_t)r->max_error * r->items;
}

/* "3.2 % of 1000 items in 4 batches were bad" */
static int say_rate(const struct pen_ramp *r, char *ret, size_t cap)
{
	uint64_t milli = r->items ? (uint64_t)((__uint128_t)r->bad * 100000 / r->items) : 0;

	return snprintf(ret, cap,
			"error_rate %" PRIu64 ".%03" PRIu64 " %% of %" PRIu64 " items in %" PRIu64 " batches",
			milli / 1000, milli % 1000, r->items, r->batches);
}

/* Why it has to hold now; false: it need not. */
static bool must_hold(const struct pen_ramp *r, const struct pen_flag *flag, char ret[TEXT])
{
	uint32_t expected = r->step ? r->steps[r->step - 1] : flag->rollout;

	if (!flag->enabled) {
		(void)snprintf(ret, TEXT, "the flag was switched off");
	} else if (flag->rollout != expected) {
		(void)snprintf(ret, TEXT, "the rollout was changed by hand");
	} else if (broken(r)) {
		int n = say_rate(r, ret, TEXT);

		(void)snprintf(ret + n, TEXT - (size_t)n, ", which is not below %" PRIu32 ".%04" PRIu32 " %%",
			       r->max_error / 10000, r->max_error % 10000);
	} else {
		return false;
	}
	return true;
}

static bool ripe(const struct pen_ramp *r, uint64_t now_ms)
{
	return !r->step ||
	       (now_ms >= r->step_ms && now_ms - r->step_ms >= r->every_ms && r->items >= r->min_items);
}

static int step_in(struct pen_txn *txn, struct pen_ramp *r, const struct pen_flag *flag, uint64_t now_ms,
		   const char *by)
{
	struct pen_flag after = *flag;
	char text[TEXT];
	int n = r->step ? say_rate(r, text, sizeof(text)) : snprintf(text, sizeof(text), "begins");

	if (r->step == r->step_count) {
		r->state = PEN_RAMP_DONE;
		(void)snprintf(text + n, sizeof(text) - (size_t)n, ": the ramp is done");
		return pen_change_add(txn, PEN_FLAG_DID_RAMP, flag, flag, by, text);
	}
	after.rollout = r->steps[r->step++];
	after.updated_ms = r->step_ms = now_ms;
	r->batches = r->items = r->bad = 0;
	(void)snprintf(text + n, sizeof(text) - (size_t)n, ": step %" PRIu32 " of %" PRIu32, r->step,
		       r->step_count);
	return pen_flag_replace(txn, PEN_FLAG_DID_RAMP, flag, &after, by, text);
}

/* *r was measured outside: it counts only if it is still the step that was measured. */
static int turn_in(struct pen_txn *txn, const char *name, const char *by, struct pen_ramp *r, bool *ret_write,
		   char held[TEXT])
{
	uint64_t now = pen_real_ms(pen_store_clock(pen_txn_store(txn)));
	struct pen_flag *flag = NULL;
	struct pen_ramp is;
	int rc = pen_ramp_load(txn, name, &is);

	if (!rc)
		rc = pen_flag_load(txn, name, &flag);
	if (rc)
		return rc;
	if (is.state != PEN_RAMP_RUNNING || is.step != r->step || is.step_ms != r->step_ms) {
		*r = is; /* somebody else was faster */
		free(flag);
		return 0;
	}
	*ret_write = true;
	if (must_hold(r, flag, held)) {
		r->state = PEN_RAMP_HELD;
		rc = pen_change_add(txn, PEN_FLAG_DID_HOLD, flag, flag, by, held);
	} else if (ripe(r, now)) {
		rc = step_in(txn, r, flag, now, by);
	} else {
		*ret_write = is.items != r->items || is.bad != r->bad || is.batches != r->batches;
	}
	if (!rc && *ret_write)
		rc = pen_ramp_put(txn, name, r);
	free(flag);
	return rc;
}

static uint64_t wait_for(const struct pen_ramp *r, uint64_t now_ms)
{
	uint64_t at = r->step_ms + r->every_ms;

	if (r->state != PEN_RAMP_RUNNING)
		return 0;
	return at > now_ms ? pen_min(at - now_ms, LOOK_MS) : LOOK_MS;
}

int pen_ramp_turn(struct pen_store *store, const char *name, const char *by, struct pen_ramp *ret,
		  uint64_t *ret_wait_ms, struct pen_failure *why)
{
	char held[TEXT] = "an earlier step did not do well";
	struct pen_ramp r;
	struct pen_txn *txn;
	bool write = false;
	int rc = pen_ramp_get(store, name, &r);

	if (rc == -PEN_NOT_FOUND)
		return pen_fail(why, rc, 0, "flag '%.*s' has no ramp", (int)PEN_FLAG_NAME_MAX, name);
	if (!rc && r.state == PEN_RAMP_RUNNING) {
		measure(store, name, &r);
		rc = pen_txn_begin(store, PEN_DURABLE_COMMIT, &txn, NULL, why);
		if (!rc) {
			rc = turn_in(txn, name, by, &r, &write, held);
			if (rc || !write)
				pen_txn_abort(txn);
			else
				rc = pen_flag_commit(store, txn, why);
		}
	}
	if (rc)
		return pen_fail(why, rc, 0, "the ramp of flag %s cannot go on: %s", name, pen_error_text(rc));
	*ret = r;
	*ret_wait_ms = wait_for(&r, pen_real_ms(pen_store_clock(store)));
	if (r.state == PEN_RAMP_HELD)
		return pen_fail(why, -PEN_FLAG_HELD, 0, "the ramp of flag %s holds at step %" PRIu32 ": %s",
				name, r.step, held);
	return 0;
}

int pen_ramp_resume(struct pen_store *store, const char *name, const char *by, struct pen_failure *why)
{
	struct pen_flag *flag = NULL;
	struct pen_ramp r;
	struct pen_txn *txn;
	int rc;

	if (!pen_flag_name_len(name))
		return pen_fail(why, -PEN_NOT_FOUND, 0, "there is no flag '%.*s'", (int)PEN_FLAG_NAME_MAX,
				name);
	rc = pen_txn_begin(store, PEN_DURABLE_COMMIT, &txn, NULL, why);
	if (rc)
		return rc;
	rc = pen_ramp_load(txn, name, &r);
	if (!rc)
		rc = pen_flag_load(txn, name, &flag);
	if (!rc && r.state == PEN_RAMP_HELD) {
		r.state = PEN_RAMP_RUNNING;
		r.step_ms = pen_real_ms(pen_store_clock(store));
		r.batches = r.items = r.bad = 0;
		rc = pen_ramp_put(txn, name, &r);
		if (!rc)
			rc = pen_change_add(txn, PEN_FLAG_DID_RAMP, flag, flag, by, "goes on");
	}
	free(flag);
	if (!rc)
		return pen_flag_commit(store, txn, why);
	pen_txn_abort(txn);
	return rc == -PEN_NOT_FOUND ? pen_fail(why, rc, 0, "flag %s has no ramp", name) : rc;
}
