/* SPDX-License-Identifier: MIT */
#include "engine/queue.h"

#include <pthread.h>

#include "ring/error.h"
#include "store/job.h"
#include "store/ledger.h"
#include "store/lock.h"
#include "store/order.h"
#include "tests/store/scratch.h"

static struct pen_store *store;
static struct pen_queue *queue;

static void begin(void)
{
	scratch_make();
	store = scratch_store("s");
}

static void end(void)
{
	pen_queue_close(queue);
	pen_store_close(store);
	scratch_remove();
}

TestSuite(queue, .init = begin, .fini = end, .timeout = 120);

static uint64_t now_ms(void)
{
	return pen_real_ms(pen_store_clock(store));
}

struct entry {
	const char *owner;
	int priority;
	uint64_t not_before_ms, parent;
	enum pen_edge edge;
	enum pen_state state;
	uint64_t due_ms, rejected;
	bool no_order;
};

/* A batch as `submit` and earlier workers leave it. */
static uint64_t enter(struct entry e)
{
	struct pen_failure why = { 0 };
	struct pen_facts facts = { .dataset = "d",
				   .key = "@given",
				   .owner = e.owner ? e.owner : "o",
				   .correlation_id = "",
				   .idempotency_key = "",
				   .sources = "f",
				   .sources_len = 1,
				   .labels = "" };
	struct pen_parent parent = { e.parent, e.edge };
	struct pen_txn *txn = scratch_begin(store);
	struct pen_standing *st = calloc(1, sizeof *st);
	struct pen_order order = { .spec = "into=d", .spec_len = 7 };
	struct pen_dataset *ds;
	uint64_t id;

	cr_assert_eq(pen_dataset_use(txn, "d", PEN_KEY_GIVEN, &ds, &why), 0);
	id = facts.fixed.id = st->fixed.id = order.fixed.id = pen_ledger_new_id(txn);
	facts.fixed.dataset_id = pen_dataset_id(ds);
	facts.fixed.key_kind = PEN_KEY_GIVEN;
	facts.fixed.created_ms = now_ms();
	st->fixed.state = (uint8_t)(e.state ? e.state : PEN_QUEUED);
	st->fixed.applied.items = st->fixed.applied.rejected = e.rejected;
	st->fixed.counted = st->fixed.applied;
	order.fixed.priority = e.priority;
	order.fixed.not_before_ms = e.not_before_ms;
	order.parents = &parent;
	order.parent_count = e.parent != 0;
	cr_assert_eq(pen_ledger_create(txn, &facts, st), 0);
	if (!e.no_order)
		cr_assert_eq(pen_order_put(txn, &order), 0);
	cr_assert_eq(pen_job_save(txn, &(struct pen_fmt_job){ .id = id, .due_ms = e.due_ms }), 0);
	cr_assert_eq(pen_dataset_save(ds), 0);
	cr_assert_eq(pen_txn_commit(txn, &why), 0, "%s", why.text);
	free(st);
	return id;
}

static void open_queue(uint32_t cap)
{
	struct pen_queue_options opt = { .size = sizeof opt, .cap = cap };

	cr_assert_eq(pen_queue_open(store, &opt, &queue), 0);
}

/* The batch that is next, or 0. */
static uint64_t next(uint64_t *ret_wait_ms, uint32_t *ret_left)
{
	uint64_t batch = 0, wait = 0;
	uint32_t left = 0;
	int rc = pen_queue_next(queue, &batch, &wait, &left);

	cr_assert_geq(rc, 0, "%d", rc);
	cr_assert_eq(rc == 1, batch != 0);
	if (ret_wait_ms)
		*ret_wait_ms = wait;
	if (ret_left)
		*ret_left = left;
	return batch;
}

static enum pen_state state_of(uint64_t id)
{
	struct pen_batch_info info;

	cr_assert_eq(pen_batch_get(store, id, &info), 0);
	return info.state;
}

Test(queue, nothing_is_there)
{
	uint64_t wait;
	uint32_t left = 1;

	open_queue(4);
	cr_expect_eq(next(&wait, &left), 0);
	cr_expect_eq(left, 0);
	cr_expect_eq(wait, UINT64_MAX);
}

Test(queue, each_is_given_once_and_the_more_urgent_first)
{
	uint64_t a = enter((struct entry){ 0 }),
		 b = enter((struct entry){ .priority = PEN_SHARE_PRIORITY_MIN });
	uint64_t c = enter((struct entry){ .priority = PEN_SHARE_PRIORITY_MAX });

	open_queue(4);
	{
		uint64_t got[3] = { next(NULL, NULL), next(NULL, NULL), next(NULL, NULL) };

		cr_expect((got[0] == b && got[2] == c) || (got[0] == c && got[2] == b), "by priority");
		cr_expect_eq(got[1], a);
	}
	cr_expect_eq(next(NULL, NULL), 0);
}

Test(queue, no_more_than_it_may_run_at_once)
{
	uint64_t first;

	(void)enter((struct entry){ 0 });
	(void)enter((struct entry){ 0 });
	open_queue(1);
	first = next(NULL, NULL);
	cr_expect_neq(first, 0);
	cr_expect_eq(next(NULL, NULL), 0);
	pen_queue_done(queue, first, -PEN_BATCH_BUSY); /* it is looked at again after a while */
	cr_expect_neq(next(NULL, NULL), first);
}

Test(queue, what_has_its_time_waits_for_it)
{
	uint32_t left;
	uint64_t wait;

	(void)enter((struct entry){ .not_before_ms = now_ms() + 3600000 });
	(void)enter((struct entry){ .state = PEN_WAITING, .due_ms = now_ms() + 1800000 });
	open_queue(4);
	cr_expect_eq(next(&wait, &left), 0);
	cr_expect_eq(left, 2);
	cr_expect_leq(wait, 1800000);
	cr_expect_gt(wait, 600000);
}

Test(queue, a_wait_that_is_over_is_none)
{
	uint64_t id = enter((struct entry){ .state = PEN_WAITING, .due_ms = 1 });

	open_queue(4);
	cr_expect_eq(next(NULL, NULL), id);
}

Test(queue, who_lost_its_runner_is_taken_and_who_has_one_is_not)
{
	uint64_t lost = enter((struct entry){ .state = PEN_RUNNING });
	uint64_t runs = enter((struct entry){ .state = PEN_RUNNING });
	uint32_t pid;
	int fd;

	cr_assert_eq(pen_lock_batch(store, runs, &fd, &pid), 0);
	open_queue(4);
	cr_expect_eq(next(NULL, NULL), lost);
	cr_expect_eq(next(NULL, NULL), 0);
	pen_lock_release(store, runs, fd);
}

Test(queue, what_was_not_submitted_is_its_commands_affair)
{
	(void)enter((struct entry){ .state = PEN_INTERRUPTED, .no_order = true });
	open_queue(4);
	cr_expect_eq(next(NULL, NULL), 0);
}

Test(queue, who_is_paused_is_left_alone)
{
	struct pen_failure why = { 0 };
	uint64_t id = enter((struct entry){ 0 });
	uint32_t left;

	cr_assert_eq(pen_batch_wish(store, id, PEN_WISH_PAUSE, "me", "", NULL, &why), 0, "%s", why.text);
	open_queue(4);
	cr_expect_eq(next(NULL, &left), 0);
	cr_expect_eq(left, 0);
}

Test(queue, a_child_waits_for_its_parent)
{
	uint64_t parent = enter((struct entry){ 0 });
	uint64_t child = enter((struct entry){ .parent = parent, .edge = PEN_EDGE_OK });
	uint64_t wait;
	uint32_t left;

	open_queue(4);
	cr_expect_eq(next(NULL, NULL), parent);
	cr_expect_eq(next(&wait, &left), 0);
	cr_expect_eq(left, 1);
	cr_expect_eq(state_of(child), PEN_QUEUED);
}

Test(queue, a_child_that_can_never_run_is_cancelled)
{
	uint64_t bad = enter((struct entry){ .state = PEN_FAILED });
	uint64_t rejects = enter((struct entry){ .state = PEN_COMPLETED, .rejected = 1 });
	uint64_t good = enter((struct entry){ .state = PEN_COMPLETED });
	uint64_t a = enter((struct entry){ .parent = bad, .edge = PEN_EDGE_OK });
	uint64_t b = enter((struct entry){ .parent = rejects, .edge = PEN_EDGE_OK });
	uint64_t c = enter((struct entry){ .parent = bad, .edge = PEN_EDGE_ANY });
	uint64_t d = enter((struct entry){ .parent = good, .edge = PEN_EDGE_OK });
	uint64_t one, two;

	open_queue(4);
	one = next(NULL, NULL);
	two = next(NULL, NULL);
	cr_expect((one == c && two == d) || (one == d && two == c));
	cr_expect_eq(next(NULL, NULL), 0);
	cr_expect_eq(state_of(a), PEN_CANCELLED);
	cr_expect_eq(state_of(b), PEN_CANCELLED);
}

Test(queue, why_says_what_it_waits_for_and_is_cut_where_there_is_no_room)
{
	uint64_t id = enter((struct entry){ .not_before_ms = now_ms() + 3600000 });
	char text[512], cut[8];
	long n = pen_batch_why(store, id, text, sizeof text);

	cr_assert_gt(n, 0);
	cr_expect_eq((size_t)n, strlen(text));
	cr_expect(strstr(text, "before its time"), "%s", text);
	cr_expect_eq(pen_batch_why(store, id, cut, sizeof cut), n);
	cr_expect_eq(strlen(cut), sizeof cut - 1);
	cr_expect_eq(pen_batch_why(store, id, NULL, 0), n);
	cr_expect_eq(pen_batch_why(store, id + 1, text, sizeof text), -PEN_NOT_FOUND);
}

static void *look(void *arg)
{
	uint64_t batch, wait;
	uint32_t left;

	*(int *)arg = pen_queue_next(queue, &batch, &wait, &left);
	return NULL;
}

/* Goal: who comes second to cancel a child has nothing to complain of. Method: two workers, many such children. */
Test(queue, two_workers_cancel_the_same_children)
{
	uint64_t bad = enter((struct entry){ .state = PEN_FAILED });
	struct pen_queue *other;
	uint64_t batch, wait;
	pthread_t thread;
	uint32_t left;
	int rc = -1;

	for (unsigned i = 0; i < 200; i++)
		(void)enter((struct entry){ .parent = bad, .edge = PEN_EDGE_OK });
	open_queue(4);
	cr_assert_eq(pen_queue_open(store, NULL, &other), 0);
	cr_assert(!pthread_create(&thread, NULL, look, &rc));
	cr_expect_eq(pen_queue_next(other, &batch, &wait, &left), 0);
	cr_assert(!pthread_join(thread, NULL));
	cr_expect_eq(rc, 0, "%d", rc);
	pen_queue_close(other);
}
