/* SPDX-License-Identifier: MIT */
/*
 * Items of batches that end one by one, against a model of a few arrays: random results, some of them of items that
 * wait, packed and applied as the committer does it, with transactions that do not come about, a place that moves,
 * restarts. After each step rows, counters, records and the list of what waits are what the model says; the audit,
 * which derives all of them anew, finds nothing.
 *
 * PEN_SEED repeats a run; a failure says which one it was.
 */
#include <inttypes.h>
#include <time.h>

#include "engine/batch.h"
#include "engine/crew.h"
#include "engine/result.h"
#include "ring/base.h"
#include "ring/error.h"
#include "store/index.h"
#include "store/item.h"
#include "store/job.h"
#include "store/ledger.h"
#include "tests/store/scratch.h"

#define ITEMS 96u
#define KEYS 40u /* fewer than items: some meet */
#define STEPS 120u
#define RUNS 6u

enum { NONE = 0 }; /* an item that has not ended: no state has this number */

struct item {
	uint8_t state; /* enum pen_item_state, or NONE */
	uint16_t attempts;
	uint64_t due_ms;
	int code;
	bool row;
};

static uint64_t seed, dice;
static struct pen_store *store;
static struct pen_plan plan;
static struct pen_batch batch;
static struct pen_pack *pack;

static struct item model[ITEMS];
static int owner[KEYS]; /* which item's record is under a key; -1: none */
static unsigned value_of[ITEMS];
static struct pen_fmt_counters counted;
static uint64_t retrying, dropped, tries, place;

static uint64_t roll(uint64_t below)
{
	dice ^= dice << 13;
	dice ^= dice >> 7;
	dice ^= dice << 17;
	return dice % below;
}

static void begin(enum pen_duplicate policy, bool rows_all)
{
	struct pen_failure why = { 0 };
	struct pen_facts facts = { .dataset = "d",
				   .key = "@given",
				   .owner = "o",
				   .correlation_id = "",
				   .idempotency_key = "",
				   .sources = "f",
				   .sources_len = 1,
				   .labels = "" };
	struct pen_dataset *ds;
	struct pen_txn *txn;

	scratch_make();
	store = scratch_store("s");
	txn = scratch_begin(store);
	cr_assert_eq(pen_dataset_use(txn, "d", PEN_KEY_GIVEN, &ds, &why), 0);
	plan = (struct pen_plan){ .into = (char *)"d", .on_duplicate = policy, .key_kind = PEN_KEY_GIVEN };
	batch = (struct pen_batch){ .plan = &plan,
				    .id = pen_ledger_new_id(txn),
				    .dataset_id = pen_dataset_id(ds),
				    .rows_all = rows_all };
	facts.fixed.id = batch.standing.fixed.id = batch.job.id = batch.id;
	facts.fixed.dataset_id = batch.dataset_id;
	facts.fixed.key_kind = PEN_KEY_GIVEN;
	facts.fixed.on_duplicate = (uint8_t)policy;
	facts.fixed.results = rows_all;
	batch.standing.fixed.state = PEN_RUNNING;
	cr_assert_eq(pen_ledger_create(txn, &facts, &batch.standing), 0);
	cr_assert_eq(pen_job_save(txn, &batch.job), 0);
	cr_assert_eq(pen_dataset_save(ds), 0);
	cr_assert_eq(pen_txn_commit(txn, &why), 0, "%s", why.text);
	cr_assert_eq(pen_pack_open(&pack), 0);
	memset(model, 0, sizeof model);
	memset(owner, -1, sizeof owner);
	counted = (struct pen_fmt_counters){ 0 };
	retrying = dropped = tries = place = 0;
}

static void end(void)
{
	pen_pack_close(pack);
	pen_store_close(store);
	scratch_remove();
}

TestSuite(item_model, .timeout = 300);

/* Nothing here is about power cuts. */
static struct pen_txn *begin_txn(void)
{
	struct pen_failure why = { 0 };
	struct pen_txn *txn;

	cr_assert_eq(pen_txn_begin(store, PEN_DURABLE_RELAXED, &txn, NULL, &why), 0, "%s", why.text);
	return txn;
}

/* ---- what is done -------------------------------------------------------------------------------- */

static void key_of(unsigned seq, char key[16])
{
	snprintf(key, 16, "k%u", seq % KEYS);
}

/* An ending for an item that has none, or waits; and what the model makes of it. */
static void end_one(unsigned seq)
{
	static const enum pen_item_state states[] = { PEN_ITEM_COMMITTED, PEN_ITEM_COMMITTED,
						      PEN_ITEM_RETRYING,  PEN_ITEM_RETRYING,
						      PEN_ITEM_REJECTED,  PEN_ITEM_FAILED,
						      PEN_ITEM_SKIPPED,	  PEN_ITEM_QUARANTINED };
	enum pen_item_state state = states[roll(PEN_COUNT(states))];
	struct pen_result *r = &pack->results[pack->count++];
	unsigned value = (unsigned)roll(1000);
	char key[16], text[16];

	key_of(seq, key);
	snprintf(text, sizeof text, "%u", value);
	*r = (struct pen_result){ .seq = seq,
				  .state = (uint8_t)state,
				  .attempts = (uint32_t)model[seq].attempts + 1,
				  .code = state == PEN_ITEM_COMMITTED ? 0 : -PEN_CHILD_EXIT,
				  .due_ms = state == PEN_ITEM_RETRYING ? 1 + roll(50) : 0,
				  .ended_ms = 4000,
				  .exit_status = -1,
				  .again = model[seq].state == PEN_ITEM_RETRYING };
	r->nothing = state == PEN_ITEM_COMMITTED && roll(8) == 0;
	cr_assert_eq(pen_pack_add(pack, key, strlen(key), &r->key), 0);
	if (state == PEN_ITEM_COMMITTED && !r->nothing) {
		cr_assert_eq(pen_pack_add(pack, text, strlen(text), &r->value), 0);
		pen_sum_add(&pack->sums[pen_hash_bucket(key, strlen(key))],
			    pen_hash_record(key, strlen(key), text, strlen(text)));
		value_of[seq] = value;
	}
	cr_assert_eq(pen_pack_add(pack, "raw", 3, &r->raw), 0);
	pack->tries++;
}

static void model_one(const struct pen_result *r)
{
	struct item *i = &model[r->seq];
	int *record = &owner[r->seq % KEYS];
	uint8_t state = r->state;
	int code = r->code;

	if (state == PEN_ITEM_COMMITTED && !r->nothing) {
		if (*record >= 0 && plan.on_duplicate != PEN_DUP_REPLACE) {
			state = plan.on_duplicate == PEN_DUP_KEEP ? PEN_ITEM_SKIPPED : PEN_ITEM_REJECTED;
			code = plan.on_duplicate == PEN_DUP_KEEP ? -PEN_DUPLICATE_KEPT : -PEN_KEY_TWICE;
		} else {
			counted.duplicates += *record >= 0;
			*record = (int)r->seq;
		}
	}
	retrying -= i->state == PEN_ITEM_RETRYING;
	retrying += state == PEN_ITEM_RETRYING;
	counted.items += state != PEN_ITEM_RETRYING;
	counted.committed += state == PEN_ITEM_COMMITTED;
	counted.rejected += state == PEN_ITEM_REJECTED;
	counted.failed += state == PEN_ITEM_FAILED || state == PEN_ITEM_QUARANTINED;
	counted.skipped += state == PEN_ITEM_SKIPPED;
	dropped += state == PEN_ITEM_SKIPPED && code != -PEN_DUPLICATE_KEPT;
	tries++;
	*i = (struct item){ .state = state,
			    .attempts = (uint16_t)r->attempts,
			    .due_ms = r->due_ms,
			    .code = code,
			    .row = state != PEN_ITEM_COMMITTED || batch.rows_all || r->seq >= place };
}

/* The place goes behind items that ended or wait, a few at a time. */
static void move_place(struct pen_txn *txn, struct pen_fmt_job *job)
{
	uint64_t to = place;

	while (to < ITEMS && model[to].state != NONE && to - place < 16)
		to++;
	if (!batch.rows_all && to > place)
		cr_assert_eq(pen_item_forget_committed(txn, batch.id, place, (uint32_t)(to - place)), 0);
	for (uint64_t i = place; i < to; i++)
		model[i].row &= batch.rows_all || model[i].state != PEN_ITEM_COMMITTED;
	place = job->place_items = to;
}

/* A transaction, as the committer makes it; one that does not come about leaves nothing. */
static void apply(bool commit, bool move)
{
	struct pen_fmt_counters n = batch.standing.fixed.applied;
	struct pen_fmt_job job = batch.job;
	struct pen_tally tally = { .n = &n, .job = &job };
	struct pen_txn *txn = begin_txn();
	struct pen_failure why = { 0 };
	struct pen_dataset *ds;

	cr_assert_eq(pen_dataset_use_id(txn, "d", batch.dataset_id, &ds, &why), 0, "%s", why.text);
	cr_assert_eq(pen_pack_apply(pack, txn, ds, &tally), 0);
	if (!commit) {
		pen_txn_abort(txn);
		return;
	}
	for (uint32_t i = 0; i < pack->count; i++)
		model_one(&pack->results[i]);
	if (move)
		move_place(txn, &job);
	cr_assert_eq(pen_dataset_save(ds), 0);
	job.due_ms = 0;
	if (job.retrying)
		cr_assert_eq(pen_index_first_due(txn, batch.id, &job.due_ms), 0);
	batch.standing.fixed.applied = batch.standing.fixed.counted = n;
	batch.job = job;
	cr_assert_eq(pen_ledger_save(txn, &batch.standing), 0);
	cr_assert_eq(pen_job_save(txn, &batch.job), 0);
	cr_assert_eq(pen_txn_commit(txn, &why), 0, "%s", why.text);
}

static void step(void)
{
	uint8_t in_it[ITEMS] = { 0 };
	unsigned n = 1 + (unsigned)roll(6);

	pen_pack_reset(pack, &batch, 7);
	for (unsigned i = 0; i < n; i++) {
		/* Near the place, as chunks are given. */
		unsigned seq = (unsigned)pen_min(place + roll(40), ITEMS - 1);

		if (roll(3) == 0)
			seq = (unsigned)roll(ITEMS);
		if (in_it[seq] || (model[seq].state != NONE && model[seq].state != PEN_ITEM_RETRYING))
			continue;
		in_it[seq] = 1;
		end_one(seq);
	}
	if (roll(4) == 0)
		apply(false, false);
	apply(true, roll(2));
}

/* ---- what must be ------------------------------------------------------------------------------- */

static void check_rows(void)
{
	uint8_t bits[ITEMS / 8 + 8];
	uint64_t last = UINT64_MAX, want_last = UINT64_MAX;
	int n = 0;

	for (unsigned i = 0; i < ITEMS; i++) {
		struct pen_item_copy copy;
		int rc = pen_item_read(store, batch.id, i, &copy);

		cr_assert_eq(rc, model[i].row ? 0 : -PEN_NOT_FOUND, "seed %" PRIu64 ": item %u: %d", seed, i,
			     rc);
		n += model[i].row;
		if (!model[i].row)
			continue;
		want_last = i;
		cr_assert(copy.row.state == (enum pen_item_state)model[i].state &&
				  copy.row.code == model[i].code && copy.row.attempts == model[i].attempts &&
				  copy.row.due_ms == model[i].due_ms,
			  "seed %" PRIu64 ": item %u is %d, code %d, tries %u, due %" PRIu64, seed, i,
			  copy.row.state, copy.row.code, copy.row.attempts, copy.row.due_ms);
		free(copy.block);
	}
	cr_assert_eq(pen_item_which(store, batch.id, 0, ITEMS, bits), n, "seed %" PRIu64, seed);
	for (unsigned i = 0; i < ITEMS; i++)
		cr_assert_eq(bits[i / 8] >> i % 8 & 1, model[i].row, "seed %" PRIu64 ": item %u", seed, i);
	cr_assert_eq(pen_item_last(store, batch.id, &last), n ? 0 : -PEN_NOT_FOUND);
	cr_assert(!n || last == want_last, "seed %" PRIu64, seed);
}

static int by_due(const void *a, const void *b)
{
	const struct pen_index_wait *x = a, *y = b;

	if (x->due_ms != y->due_ms)
		return x->due_ms < y->due_ms ? -1 : 1;
	return x->item < y->item ? -1 : x->item > y->item;
}

/* All that wait, in pieces, as whoever gives them reads them; and up to a time. */
static void check_waits(void)
{
	struct pen_index_wait want[ITEMS], got[ITEMS + 8], *after = NULL;
	uint64_t until = roll(3) ? UINT64_MAX : roll(60);
	size_t wanted = 0, n = 0;
	int some;

	for (unsigned i = 0; i < ITEMS; i++)
		if (model[i].state == PEN_ITEM_RETRYING && model[i].due_ms <= until)
			want[wanted++] = (struct pen_index_wait){ model[i].due_ms, i };
	qsort(want, wanted, sizeof *want, by_due);
	while ((some = pen_index_waits(store, batch.id, until, after, got + n, 1 + (uint32_t)roll(7))) > 0) {
		n += (size_t)some;
		cr_assert_leq(n, wanted, "seed %" PRIu64, seed);
		after = &got[n - 1];
	}
	cr_assert_eq(some, 0);
	cr_assert_eq(n, wanted, "seed %" PRIu64 ": %zu of %zu wait", seed, n, wanted);
	cr_assert(!n || !memcmp(got, want, n * sizeof *got), "seed %" PRIu64, seed);
}

static void check_records(void)
{
	for (unsigned k = 0; k < KEYS; k++) {
		char key[16], text[16];
		void *value = NULL;
		size_t len = 0;
		int rc;

		key_of(k, key);
		rc = pen_get(store, "d", key, strlen(key), &value, &len);
		cr_assert_eq(rc, owner[k] < 0 ? -PEN_NOT_FOUND : 0, "seed %" PRIu64 ": %s: %d", seed, key,
			     rc);
		if (rc)
			continue;
		snprintf(text, sizeof text, "%u", value_of[owner[k]]);
		cr_assert(len == strlen(text) && !memcmp(value, text, len), "seed %" PRIu64 ": %s", seed,
			  key);
		free(value);
	}
}

static void check_numbers(void)
{
	const struct pen_fmt_counters *n = &batch.standing.fixed.applied;
	struct pen_fmt_job job;

	cr_assert_eq(pen_job_read(store, batch.id, &job), 0);
	cr_assert(n->items == counted.items && n->committed == counted.committed &&
			  n->rejected == counted.rejected && n->failed == counted.failed &&
			  n->skipped == counted.skipped && n->duplicates == counted.duplicates,
		  "seed %" PRIu64, seed);
	cr_assert(job.retrying == retrying && job.dropped == dropped && job.tries == tries &&
			  job.place_items == place,
		  "seed %" PRIu64, seed);
}

static void finding(void *arg, int invariant, const char *text)
{
	(void)arg;
	cr_expect(false, "seed %" PRIu64 ": invariant %d: %s", seed, invariant, text);
}

/* Another process begins: nothing but the store is known to it. */
static void restart(void)
{
	struct pen_failure why = { 0 };

	pen_store_close(store);
	cr_assert_eq(pen_verify(scratch_path("s"), finding, NULL, &why), 0, "seed %" PRIu64 ": %s", seed,
		     why.text);
	store = scratch_store("s");
	cr_assert_eq(pen_ledger_read(store, batch.id, NULL, &batch.standing), 0);
	cr_assert_eq(pen_job_read(store, batch.id, &batch.job), 0);
}

/* Items of a row that is not there, or not to be tried, are refused. */
static void check_refusals(void)
{
	struct pen_txn *txn = begin_txn();

	for (unsigned i = 0; i < ITEMS; i++)
		if (!model[i].row)
			cr_assert_eq(pen_item_remove(txn, batch.id, i), -PEN_NOT_FOUND, "seed %" PRIu64,
				     seed);
	pen_txn_abort(txn);
}

static void run(enum pen_duplicate policy, bool rows_all)
{
	begin(policy, rows_all);
	for (unsigned i = 0; i < STEPS; i++) {
		step();
		check_waits();
		check_numbers();
		if (i % 8 == 7) {
			check_rows();
			check_records();
			check_refusals();
		}
		if (roll(20) == 0)
			restart();
	}
	check_rows();
	restart();
	end();
}

Test(item_model, rows_index_counters_and_records_are_the_models)
{
	const char *text = getenv("PEN_SEED");

	seed = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL) << 8 | (uint64_t)getpid() % 251;
	dice = seed * 2654435761u + 1;
	for (unsigned i = 0; i < RUNS; i++)
		run((enum pen_duplicate)(i % 3), i / 3);
}

static void hear(void *arg, int invariant, const char *text)
{
	(void)text;
	*(unsigned *)arg |= 1u << invariant;
}

/* The control: an index that has lost one row is found out by the list of what waits, and by the audit. */
Test(item_model, a_row_that_the_index_lost_is_noticed)
{
	struct pen_index_wait wait;
	struct pen_index_key key;
	struct pen_txn *txn;
	unsigned heard = 0;
	unsigned i = 0;

	seed = 7;
	dice = 77;
	begin(PEN_DUP_REPLACE, true);
	while (!retrying)
		step();
	while (model[i].state != PEN_ITEM_RETRYING)
		i++;
	txn = begin_txn();
	key = pen_index_due(batch.id, model[i].due_ms, i);
	cr_assert_eq(pen_index_remove(txn, &key), 0);
	cr_assert_eq(pen_index_remove(txn, &key), -PEN_STORE_DAMAGED, "it is not there any more");
	cr_assert_eq(pen_txn_commit(txn, NULL), 0);
	for (const struct pen_index_wait *after = NULL;
	     pen_index_waits(store, batch.id, UINT64_MAX, after, &wait, 1) == 1; after = &wait)
		cr_expect_neq(wait.item, i);
	pen_store_close(store);
	cr_expect_gt(pen_verify(scratch_path("s"), hear, &heard, NULL), 0);
	cr_expect(heard >> 18 & 1, "%x", heard);
	store = scratch_store("s");
	end();
}
