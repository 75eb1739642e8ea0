/* SPDX-License-Identifier: MIT */
/*
 * retain_lab - a shop whose clock can be moved ahead, for the tests of retention
 */
#ifndef PEN_TESTS_RETAIN_LAB_H
#define PEN_TESTS_RETAIN_LAB_H

#include <criterion/criterion.h>

#include "ring/base.h"
#include "store/retain.h"
#include "tests/store/plant.h"

#define DAY UINT64_C(86400000)

static struct shop shop;
static uint64_t ahead_ms; /* by how much the store's clock is ahead of the machine's */

static inline uint64_t moved_ms(const struct pen_clock *clock)
{
	return pen_clock_real.real_ms(clock) + ahead_ms;
}

static struct pen_clock moved;

static inline void set_up(void)
{
	ahead_ms = 0;
	moved = (struct pen_clock){ .mono_ns = pen_clock_real.mono_ns, .real_ms = moved_ms };
	shop_make(&shop);
	pen_store_set_clock(shop.store, &moved);
}

static inline void tear_down(void)
{
	shop_remove(&shop);
}

static inline void verify(void)
{
	const struct heard *heard;

	shop_close(&shop);
	heard = shop_verify(&shop);
	cr_assert_eq(heard->ret, 0, "%ld: %s%s", heard->ret, heard->all, heard->why.text);
	shop_open(&shop);
	pen_store_set_clock(shop.store, &moved);
}

static inline struct pen_cleaned clean_with(struct pen_clean what)
{
	struct pen_cleaned got = { .size = sizeof(got) };
	struct pen_failure why = { 0 };
	int rc;

	what.size = sizeof(what);
	rc = pen_retain_clean(shop.store, &what, &got, &why);
	cr_assert_eq(rc, 0, "%d %s", rc, why.text);
	return got;
}
#define CLEAN(...) clean_with((struct pen_clean){ __VA_ARGS__ })

static inline unsigned total(const struct pen_cleaned *got)
{
	unsigned n = 0;

	for (size_t s = 0; s < PEN_STATE_SLOTS; s++)
		n += (unsigned)got->batches[s];
	return n;
}

static inline bool there(uint64_t id)
{
	static struct pen_batch_info info;

	return !pen_batch_get(shop.store, id, &info);
}

static inline struct plan plan_of(enum pen_state state, unsigned rejected)
{
	return (struct plan){
		.dataset = "d", .key_kind = PEN_KEY_SEQ, .state = state, .records = 5, .rejected = rejected
	};
}

static inline uint64_t plant(enum pen_state state, unsigned rejected)
{
	struct plan plan = plan_of(state, rejected);

	return plant_batch(shop.store, &plan);
}

/* One that can go on, in a dataset of its own kind of keys. */
static inline uint64_t plant_stopped(unsigned rejected)
{
	struct plan plan = { .dataset = "u",
			     .key_kind = PEN_KEY_POINTER,
			     .state = PEN_STOPPED,
			     .records = 5,
			     .rejected = rejected };

	return plant_batch(shop.store, &plan);
}

#endif
