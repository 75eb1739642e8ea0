/* SPDX-License-Identifier: MIT */
/*
 * Batches against a model of a few fields each: random wishes, cancellations, runners that come, end, rest and die, and
 * restarts. After each step what is told of every batch, what is wanted of it, the index and the journal are what the
 * model says; what may not be is refused and changes nothing. The audit, which derives the index anew, finds nothing.
 *
 * A runner is whoever holds the batch's lock. PEN_SEED repeats a run; a failure says which one it was.
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "ring/base.h"
#include "store/control.h"
#include "store/index.h"
#include "store/lock.h"
#include "store/order.h"
#include "store/store_private.h"
#include "tests/store/plant.h"

#define BATCHES 24u
#define STEPS 400u
#define RUNS 10u

struct batch {
	uint64_t id;
	enum pen_state state; /* as stored */
	bool submitted, parents;
	int lock;			     /* of its runner; -1: none */
	enum pen_wish wish;		     /* 0: none */
	unsigned paused, resumed, cancelled; /* events */
};

static struct shop shop;
static struct batch batches[BATCHES];
static unsigned count, refused;
static uint64_t seed, dice;

static uint64_t roll(uint64_t below)
{
	dice ^= dice << 13;
	dice ^= dice >> 7;
	dice ^= dice << 17;
	return dice % below;
}

static void set_up(void)
{
	const char *text = getenv("PEN_SEED");

	shop_make(&shop);
	count = refused = 0;
	seed = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL) << 8 | (uint64_t)getpid() % 251;
	dice = seed * 2654435761u + 1;
}

static void tear_down(void)
{
	shop_remove(&shop);
}

TestSuite(batch_model, .init = set_up, .fini = tear_down, .timeout = 600);

/* ---- what runners do -------------------------------------------------------------------------------- */

static bool over(const struct batch *b)
{
	return pen_ledger_over(b->state);
}

static void save(struct batch *b, enum pen_state state)
{
	static struct pen_standing st;
	struct pen_txn *txn;

	cr_assert_eq(pen_txn_begin(shop.store, PEN_DURABLE_RELAXED, &txn, NULL, NULL), 0);
	cr_assert_eq(pen_ledger_load(txn, b->id, NULL, &st), 0);
	st.fixed.state = (uint8_t)state;
	st.fixed.ended_ms = pen_ledger_over(state) ? pen_real_ms(pen_store_clock(shop.store)) : 0;
	st.fixed.runner_pid = b->lock >= 0 ? (uint32_t)getpid() : 0;
	cr_assert_eq(pen_ledger_save(txn, &st), 0);
	cr_assert_eq(pen_txn_commit(txn, NULL), 0);
	b->state = state;
	/* Nobody can want anything of what is over; who cancelled it is kept. */
	if (over(b) && !(state == PEN_CANCELLED && b->wish == PEN_WISH_CANCEL))
		b->wish = 0;
}

static void create(void)
{
	static const enum pen_state begins[] = { PEN_QUEUED, PEN_WAITING, PEN_INTERRUPTED };
	struct batch *b = &batches[count];
	struct pen_parent parents[2];
	uint32_t parent_count = 0;

	if (count == BATCHES)
		return;
	*b = (struct batch){ .lock = -1, .state = begins[roll(3)], .submitted = roll(2) };
	b->id = plant_batch(shop.store, &(struct plan){ .dataset = "d",
							.key_kind = PEN_KEY_POINTER,
							.state = b->state,
							.rejected = 1 });
	while (b->submitted && count && parent_count < 2 && roll(2))
		parents[parent_count++] = (struct pen_parent){ batches[roll(count)].id, PEN_EDGE_OK };
	b->parents = parent_count;
	if (b->submitted) {
		struct pen_txn *txn;

		cr_assert_eq(pen_txn_begin(shop.store, PEN_DURABLE_RELAXED, &txn, NULL, NULL), 0);
		cr_assert_eq(pen_order_put(txn, &(struct pen_order){ .fixed.id = b->id,
								     .parents = parents,
								     .parent_count = parent_count }),
			     0);
		cr_assert_eq(pen_txn_commit(txn, NULL), 0);
	}
	count++;
}

static void take_up(struct batch *b)
{
	uint32_t pid = 0;
	int fd = -1, rc;

	if (over(b))
		return; /* what admits batches does not come here */
	rc = pen_lock_batch(shop.store, b->id, &fd, &pid);
	if (b->lock >= 0) {
		cr_assert_eq(rc, -PEN_BATCH_BUSY, "seed %" PRIu64 ": a second runner", seed);
		refused++;
		return;
	}
	cr_assert_eq(rc, 0);
	b->lock = fd;
	save(b, PEN_RUNNING);
}

static void let_go(struct batch *b)
{
	pen_lock_release(shop.store, b->id, b->lock);
	b->lock = -1;
}

static void run_on(struct batch *b)
{
	static const enum pen_state ends[] = { PEN_COMPLETED, PEN_FAILED,  PEN_CANCELLED, PEN_STOPPED,
					       PEN_WAITING,   PEN_RUNNING, PEN_PAUSED,	  PEN_INTERRUPTED };

	if (b->lock < 0)
		return;
	if (roll(3)) /* else it dies as it is */
		save(b, ends[roll(PEN_COUNT(ends))]);
	if (roll(2) || over(b))
		let_go(b);
}

/* ---- what people want ---------------------------------------------------------------------------------- */

static void wish(struct batch *b, enum pen_wish what)
{
	struct pen_failure why = { 0 };
	bool runs = false;
	int rc = pen_batch_wish(shop.store, b->id, what, "ann", "because", &runs, &why);

	if (over(b)) {
		cr_assert_eq(rc, -PEN_BATCH_OVER, "seed %" PRIu64 ": %d", seed, rc);
		refused++;
		return;
	}
	cr_assert_eq(rc, 0, "seed %" PRIu64 ": %s", seed, why.text);
	cr_assert_eq(runs, b->lock >= 0, "seed %" PRIu64, seed);
	b->wish = what == PEN_WISH_RESUME ? 0 : what;
	if (runs)
		return; /* its runner follows when it looks */
	if (what == PEN_WISH_PAUSE && b->state != PEN_PAUSED) {
		b->state = PEN_PAUSED;
		b->paused++;
	} else if (what == PEN_WISH_RESUME && b->state == PEN_PAUSED) {
		b->state = !b->submitted ? PEN_INTERRUPTED : b->parents ? PEN_WAITING : PEN_QUEUED;
		b->resumed++;
	} else if (what == PEN_WISH_CANCEL) {
		b->state = PEN_CANCELLED;
		b->cancelled++;
	}
}

static void cancel(struct batch *b)
{
	struct pen_failure why = { 0 };
	int rc = pen_batch_cancel(shop.store, b->id, &why);
	int want = over(b) ? -PEN_BATCH_OVER : b->lock >= 0 ? -EBUSY : 0;

	cr_assert_eq(rc, want, "seed %" PRIu64 ": %d, not %d", seed, rc, want);
	refused += want != 0;
	if (rc)
		return;
	b->state = PEN_CANCELLED;
	b->cancelled++;
	b->wish = b->wish == PEN_WISH_CANCEL ? b->wish : 0;
}

static void nobody(void)
{
	uint64_t id = 1 + roll(1000);
	bool runs;

	cr_assert_eq(pen_batch_wish(shop.store, id, 1 + (enum pen_wish)roll(3), NULL, NULL, &runs, NULL),
		     -PEN_NOT_FOUND);
	cr_assert_eq(pen_batch_cancel(shop.store, id, NULL), -PEN_NOT_FOUND);
	refused++;
}

/* ---- what must be ------------------------------------------------------------------------------------- */

static enum pen_state told(const struct batch *b)
{
	if (b->lock >= 0 || (b->state != PEN_RUNNING && b->state != PEN_PAUSED))
		return b->state;
	return b->state == PEN_PAUSED && b->wish ? PEN_PAUSED : PEN_INTERRUPTED;
}

static void check_batch(const struct batch *b)
{
	static struct pen_batch_info info;
	struct pen_wish_info wished;
	static struct pen_standing st;
	int rc;

	cr_assert_eq(pen_batch_get(shop.store, b->id, &info), 0);
	cr_assert_eq(info.state, told(b), "seed %" PRIu64 ": %s, not %s", seed, pen_state_name(info.state),
		     pen_state_name(told(b)));
	cr_assert_eq(info.runner_pid != 0, b->lock >= 0 && !over(b), "seed %" PRIu64, seed);
	cr_assert_eq(info.ended_ms != 0, over(b), "seed %" PRIu64, seed);
	cr_assert_eq(pen_ledger_read(shop.store, b->id, NULL, &st), 0);
	cr_assert_eq(st.fixed.state, b->state, "seed %" PRIu64, seed);
	rc = pen_batch_wished(shop.store, b->id, &wished);
	cr_assert_eq(rc, b->wish ? 0 : -PEN_NOT_FOUND, "seed %" PRIu64 ": %d", seed, rc);
	cr_assert(rc || wished.wish == b->wish, "seed %" PRIu64, seed);
}

static void check_index(void)
{
	uint64_t got[BATCHES + 1];

	for (unsigned s = PEN_QUEUED; s <= PEN_CANCELLED; s++) {
		int n = pen_index_in_state(shop.store, (uint8_t)s, 0, got, BATCHES + 1), i = 0;

		for (unsigned k = 0; k < count; k++)
			if (batches[k].state == (enum pen_state)s) {
				cr_assert_lt(i, n, "seed %" PRIu64 ": %s", seed,
					     pen_state_name((enum pen_state)s));
				cr_assert_eq(got[i++], batches[k].id, "seed %" PRIu64, seed);
			}
		cr_assert_eq(n, i, "seed %" PRIu64 ": %s: %d, not %d", seed,
			     pen_state_name((enum pen_state)s), n, i);
	}
}

static void check_journal(void)
{
	unsigned paused = 0, resumed = 0, cancelled = 0, want[3] = { 0 };
	struct pen_event event;
	struct pen_cursor *cur;

	cr_assert_eq(pen_events_open(shop.store, 0, 0, &cur), 0);
	while (pen_events_next(cur, &event) == 1) {
		paused += event.type == PEN_EVENT_PAUSED;
		resumed += event.type == PEN_EVENT_RESUMED;
		cancelled += event.type == PEN_EVENT_CANCELLED;
	}
	pen_cursor_close(cur);
	for (unsigned i = 0; i < count; i++) {
		want[0] += batches[i].paused;
		want[1] += batches[i].resumed;
		want[2] += batches[i].cancelled;
	}
	cr_assert(paused == want[0] && resumed == want[1] && cancelled == want[2],
		  "seed %" PRIu64 ": %u %u %u", seed, paused, resumed, cancelled);
}

/* All runners die with their process; another one opens the store. */
static void restart(void)
{
	const struct heard *heard;

	for (unsigned i = 0; i < count; i++)
		if (batches[i].lock >= 0)
			let_go(&batches[i]);
	shop_close(&shop);
	heard = shop_verify(&shop);
	cr_assert_eq(heard->ret, 0, "seed %" PRIu64 ": %s", seed, heard->all);
	shop_open(&shop);
}

static void step(void)
{
	struct batch *b = count ? &batches[roll(count)] : NULL;
	uint64_t what = roll(16);

	if (!b || what == 0)
		create();
	else if (what < 4)
		take_up(b);
	else if (what < 7)
		run_on(b);
	else if (what < 13)
		/* Cancelled ones do nothing any more: less of those. */
		wish(b, what < 9 ? PEN_WISH_PAUSE : what < 12 ? PEN_WISH_RESUME : PEN_WISH_CANCEL);
	else if (what == 13)
		cancel(b);
	else if (what == 14)
		nobody();
	else if (roll(8) == 0)
		restart();
}

Test(batch_model, states_wishes_index_and_journal_are_the_models)
{
	unsigned seen = 0;

	for (unsigned run = 0; run < RUNS; run++) {
		count = 0;
		for (unsigned i = 0; i < STEPS; i++) {
			step();
			for (unsigned k = 0; k < count; k++) {
				check_batch(&batches[k]);
				seen |= 1u << batches[k].state;
			}
			check_index();
		}
		check_journal();
		restart();
		for (unsigned k = 0; k < count; k++)
			check_batch(&batches[k]);
		shop_remove(&shop);
		shop_make(&shop);
	}
	/* The control: it has been everywhere, and was refused what may not be. */
	cr_expect_eq(seen, (2u << PEN_CANCELLED) - (1u << PEN_QUEUED), "seed %" PRIu64 ": %x", seed, seen);
	cr_expect_gt(refused, 20 * RUNS, "seed %" PRIu64 ": %u", seed, refused);
}

/* The control: a state that is not in the index is found out by the audit. */
Test(batch_model, a_state_that_the_index_does_not_have_is_noticed)
{
	const struct heard *heard;
	struct pen_index_key key;
	struct pen_txn *txn;

	while (!count)
		create();
	cr_assert_eq(pen_txn_begin(shop.store, PEN_DURABLE_RELAXED, &txn, NULL, NULL), 0);
	key = pen_index_state((uint8_t)batches[0].state, batches[0].id);
	cr_assert_eq(pen_index_remove(txn, &key), 0);
	cr_assert_eq(pen_txn_commit(txn, NULL), 0);
	shop_close(&shop);
	heard = shop_verify(&shop);
	cr_expect_gt(heard->by[PEN_INV_INDEX], 0);
	shop_open(&shop);
}
