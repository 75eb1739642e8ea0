/* SPDX-License-Identifier: MIT */
/* reader: what becomes of requests and puts when a batch rests, waits for its limit or ends, seen from outside. */
#include <errno.h>

#include "include/penstock.h"
#include "tests/store/scratch.h"

TestSuite(reader, .init = scratch_make, .fini = scratch_remove, .timeout = 60);

static void ignore(void *arg, int code, const char *said)
{
	(void)arg, (void)code, (void)said;
}

static struct pen_engine *engine_start(struct pen_store *store, uint32_t chunk_bytes, enum pen_io_choice io)
{
	struct pen_engine_options opt = { .size = sizeof opt,
					  .chunk_bytes = chunk_bytes,
					  .io = io,
					  .notice = ignore,
					  .arena_bytes = 4 << 20 };
	struct pen_failure why = { 0 };
	struct pen_engine *engine;

	cr_assert_eq(pen_engine_start(store, &opt, &engine, &why), 0, "%s", why.text);
	return engine;
}

static struct pen_cqe reap(struct pen_engine *engine)
{
	struct pen_cqe *cqe, copy;

	cr_assert_eq(pen_wait_cqe(engine, &cqe), 0);
	copy = *cqe;
	pen_cqe_seen(engine, cqe);
	return copy;
}

static void nap_us(unsigned us)
{
	struct timespec t = { .tv_nsec = (long)us * 1000 };

	nanosleep(&t, NULL);
}

/* The answer; a request whose predecessor is not quite done with is made again. */
static int ask(struct pen_engine *engine, void prep(struct pen_sqe *, uint64_t), uint64_t batch)
{
	int rc = -EBUSY;

	for (int i = 0; i < 100 && rc == -EBUSY; i++) {
		prep(pen_get_sqe(engine), batch);
		pen_submit(engine);
		rc = reap(engine).res;
		nap_us(1000);
	}
	return rc;
}

static void finding(void *arg, int invariant, const char *said)
{
	(void)arg;
	cr_expect(false, "invariant %d: %s", invariant, said);
}

static void sound(const char *name)
{
	struct pen_failure why = { 0 };

	cr_expect_eq(pen_verify(scratch_path(name), finding, NULL, &why), 0, "%s", why.text);
}

/* A put that was accepted completes, whatever becomes of its batch: one that waits behind a pause too. */
Test(reader, puts_behind_a_pause_complete_when_their_batch_ends)
{
	enum { PUTS = 6 };

	for (int drains = 0; drains < 2; drains++) {
		struct pen_run spec = { .size = sizeof spec };
		struct pen_store *store = scratch_store(drains ? "drains" : "cancels");
		struct pen_engine *engine = engine_start(store, 0, PEN_IO_AUTO);
		unsigned left = 0;
		uint64_t batch;

		pen_prep_open(pen_get_sqe(engine), &spec);
		pen_submit(engine);
		batch = reap(engine).batch;
		for (unsigned i = 0; i < PUTS; i++) {
			struct pen_sqe *sqe;
			void *key, *value;

			if (i == PUTS / 2) {
				pen_prep_pause(pen_get_sqe(engine), batch);
				left++;
			}
			sqe = pen_get_sqe(engine);
			cr_assert_eq(pen_prep_put(sqe, batch, 1, 1, &key, &value), 0);
			*(char *)key = (char)('a' + i);
			*(char *)value = 'v';
			left++;
			pen_submit(engine);
		}
		if (drains) {
			pen_engine_drain(engine);
		} else {
			pen_prep_cancel(pen_get_sqe(engine), batch);
			left++;
			pen_submit(engine);
		}
		for (; left; left--)
			(void)reap(engine);
		pen_engine_stop(engine);
		pen_store_close(store);
	}
}

/* One record, alone in its chunk. */
static void put_one(struct pen_engine *engine, uint64_t batch, char name)
{
	struct pen_sqe *sqe = pen_get_sqe(engine);
	void *key, *value;

	cr_assert_eq(pen_prep_put(sqe, batch, 1, 1, &key, &value), 0);
	*(char *)key = name;
	*(char *)value = 'v';
	pen_sqe_set_data64(sqe, (uint64_t)name);
	pen_submit(engine);
}

Test(reader, a_second_pause_does_not_keep_a_resume_out)
{
	struct pen_run spec = { .size = sizeof spec };
	struct pen_store *store = scratch_store("twice");
	struct pen_engine *engine = engine_start(store, 0, PEN_IO_AUTO);
	uint64_t batch;

	pen_prep_open(pen_get_sqe(engine), &spec);
	pen_submit(engine);
	batch = reap(engine).batch;
	cr_expect_eq(ask(engine, pen_prep_pause, batch), 0);
	pen_prep_pause(pen_get_sqe(engine), batch);
	pen_submit(engine);
	nap_us(100000);
	pen_prep_resume(pen_get_sqe(engine), batch);
	pen_submit(engine);
	cr_expect_eq(reap(engine).res, 0);
	cr_expect_eq(reap(engine).res, 0);
	put_one(engine, batch, 'a');
	cr_expect_eq(reap(engine).res, 0);
	pen_engine_stop(engine);
	pen_store_close(store);
	sound("twice");
}

/* What its batch's limit does not let go is not in the store, and is not said to be. */
Test(reader, a_put_that_its_limit_left_is_not_said_to_be_committed)
{
	for (int drains = 0; drains < 2; drains++) {
		struct pen_run spec = { .size = sizeof spec,
					.rate_count = 1,
					.rate_window_ns = 3600ull * 1000000000 };
		const char *name = drains ? "drains" : "cancels";
		struct pen_store *store = scratch_store(name);
		struct pen_engine *engine = engine_start(store, 0, PEN_IO_AUTO);
		uint64_t batch;
		struct pen_cqe cqe;
		size_t len;
		void *got;

		pen_prep_open(pen_get_sqe(engine), &spec);
		pen_submit(engine);
		batch = reap(engine).batch;
		put_one(engine, batch, 'a');
		cr_expect_eq(reap(engine).res, 0);
		put_one(engine, batch, 'b');
		if (drains) {
			pen_engine_drain(engine);
		} else {
			pen_prep_cancel(pen_get_sqe(engine), batch);
			pen_submit(engine);
		}
		do
			cqe = reap(engine);
		while (cqe.user_data != 'b');
		cr_expect_eq(cqe.res, drains ? -PEN_INTERRUPTED_BY : -PEN_CANCELLED_BY, "%s: %d", name,
			     cqe.res);
		pen_engine_stop(engine);
		cr_expect_eq(pen_get(store, "default", "b", 1, &got, &len), -PEN_NOT_FOUND);
		pen_store_close(store);
		sound(name);
	}
}
