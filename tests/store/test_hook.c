/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdatomic.h>

#include "ring/error.h"
#include "store/index.h"
#include "store/ledger.h"
#include "store/lock.h"
#include "store/order.h"
#include "tests/store/scratch.h"

#define BATCHES 150u
#define WORKERS 4u

static struct pen_store *store;
static uint64_t ids[BATCHES];
static _Atomic unsigned runs[BATCHES];

static void begin(void)
{
	scratch_make();
	store = scratch_store("s");
}

static void end(void)
{
	pen_store_close(store);
	scratch_remove();
}

TestSuite(hook, .init = begin, .fini = end, .timeout = 300);

static uint64_t enter(enum pen_state state, const char *command)
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
	struct pen_txn *txn = scratch_begin(store);
	struct pen_standing *st = calloc(1, sizeof *st);
	struct pen_order order = { .spec = "into=d", .spec_len = 7, .hook = command };
	uint64_t id = pen_ledger_new_id(txn);
	struct pen_dataset *ds;

	cr_assert_eq(pen_dataset_use(txn, "d", PEN_KEY_GIVEN, &ds, &why), 0);
	facts.fixed.id = st->fixed.id = order.fixed.id = id;
	facts.fixed.dataset_id = pen_dataset_id(ds);
	facts.fixed.key_kind = PEN_KEY_GIVEN;
	st->fixed.state = (uint8_t)state;
	cr_assert_eq(pen_ledger_create(txn, &facts, st), 0);
	cr_assert_eq(pen_order_put(txn, &order), 0);
	cr_assert_eq(pen_dataset_save(ds), 0);
	cr_assert_eq(pen_txn_commit(txn, &why), 0, "%s", why.text);
	free(st);
	return id;
}

Test(hook, it_is_owed_to_what_ended_and_until_it_is_done)
{
	struct pen_failure why = { 0 };
	struct pen_hook hook, second;
	uint64_t id;

	(void)enter(PEN_QUEUED, "later");
	(void)enter(PEN_COMPLETED, NULL);
	id = enter(PEN_FAILED, "now");
	cr_assert_eq(pen_hook_next(store, &hook), 1);
	cr_expect_eq(hook.batch, id);
	cr_expect_str_eq(hook.command, "now");
	cr_expect_eq(pen_hook_next(store, &second), 0, "somebody runs it");
	cr_assert_eq(pen_hook_done(store, &hook, &why), 0, "%s", why.text);
	cr_expect_eq(pen_hook_next(store, &second), 0);
}

Test(hook, who_died_running_it_leaves_it_owed)
{
	struct pen_failure why = { 0 };
	struct pen_hook hook;

	(void)enter(PEN_COMPLETED, "now");
	cr_assert_eq(pen_hook_next(store, &hook), 1);
	close(hook.lock); /* what is left of a process that died */
	free(hook.command);
	cr_assert_eq(pen_hook_next(store, &hook), 1);
	cr_assert_eq(pen_hook_done(store, &hook, &why), 0);
}

static void *work(void *arg)
{
	struct pen_failure why = { 0 };
	struct pen_hook hook;
	int rc;

	while ((rc = pen_hook_next(store, &hook)) == 1) {
		for (unsigned i = 0; i < BATCHES; i++)
			if (ids[i] == hook.batch)
				atomic_fetch_add_explicit(&runs[i], 1, memory_order_relaxed);
		if (pen_hook_done(store, &hook, &why))
			*(int *)arg = -1;
	}
	if (rc)
		*(int *)arg = rc;
	return NULL;
}

/* Goal: once each. Method: workers go through the same list and find what another has just done with. */
Test(hook, many_workers_run_each_once)
{
	pthread_t threads[WORKERS];
	int codes[WORKERS] = { 0 };

	for (unsigned i = 0; i < BATCHES; i++)
		ids[i] = enter(PEN_COMPLETED, "x");
	for (unsigned i = 0; i < WORKERS; i++)
		cr_assert(!pthread_create(&threads[i], NULL, work, &codes[i]));
	for (unsigned i = 0; i < WORKERS; i++) {
		cr_assert(!pthread_join(threads[i], NULL));
		cr_expect_eq(codes[i], 0, "%d", codes[i]);
	}
	for (unsigned i = 0; i < BATCHES; i++)
		cr_expect_eq(atomic_load_explicit(&runs[i], memory_order_relaxed), 1, "batch %u ran %u times",
			     i, atomic_load_explicit(&runs[i], memory_order_relaxed));
}
