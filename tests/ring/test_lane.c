/* SPDX-License-Identifier: MIT */
#include "ring/lane.h"

#include <criterion/criterion.h>

#define BATCH_MAX 5000u

/* Just below overflow, so that every test crosses it. */
static const uint32_t starts[] = { 0, UINT32_MAX, UINT32_MAX - 1, UINT32_MAX - 7, UINT32_MAX / 2 };

Test(lane, push_and_pop_keep_order_at_every_capacity_batch_and_start)
{
	static const uint32_t capacities[] = { 2, 4, 16, 64, 1024 };
	static uint64_t in[BATCH_MAX], out[BATCH_MAX];

	for (size_t s = 0; s < PEN_COUNT(starts); s++)
		for (size_t c = 0; c < PEN_COUNT(capacities); c++) {
			uint32_t cap = capacities[c];
			uint32_t batches[] = { 1, 2, cap - 1, cap, cap + 1, 3 };

			for (size_t b = 0; b < PEN_COUNT(batches); b++) {
				struct pen_lane lane;
				uint64_t pushed = 0, popped = 0;

				cr_assert_eq(pen_lane_init(&lane, cap, starts[s]), 0);
				while (popped < 4 * (uint64_t)cap + 3) {
					for (uint32_t i = 0; i < batches[b]; i++)
						in[i] = pushed + i;
					pushed += pen_lane_push(&lane, in, batches[b]);
					cr_assert_eq(pen_lane_len(&lane), pushed - popped);
					uint32_t got = pen_lane_pop(&lane, out,
								    batches[(b + 1) % PEN_COUNT(batches)]);
					cr_assert_gt(got, 0);
					for (uint32_t i = 0; i < got; i++)
						cr_assert_eq(out[i], popped + i);
					popped += got;
				}
				pen_lane_fini(&lane);
			}
		}
}

Test(lane, a_full_lane_takes_what_fits_and_then_nothing)
{
	for (size_t s = 0; s < PEN_COUNT(starts); s++) {
		struct pen_lane lane;
		uint64_t in[12], out[12];

		for (uint64_t i = 0; i < 12; i++)
			in[i] = i;
		cr_assert_eq(pen_lane_init(&lane, 8, starts[s]), 0);
		cr_assert_eq(pen_lane_push(&lane, in, 5), 5);
		cr_assert_eq(pen_lane_push(&lane, in + 5, 7), 3, "the whole capacity is usable");
		cr_assert_eq(pen_lane_len(&lane), 8);
		cr_assert_eq(pen_lane_push(&lane, in, 1), 0);
		cr_assert_eq(pen_lane_pop(&lane, out, 1), 1);
		cr_assert_eq(pen_lane_push(&lane, in + 8, 4), 1);
		cr_assert_eq(pen_lane_pop(&lane, out + 1, 12), 8);
		for (uint64_t i = 0; i < 9; i++)
			cr_assert_eq(out[i], i);
		pen_lane_fini(&lane);
	}
}

Test(lane, an_empty_lane_gives_nothing_and_leaves_the_buffer)
{
	struct pen_lane lane;
	uint64_t word = 77;

	cr_assert_eq(pen_lane_init(&lane, 2, UINT32_MAX), 0);
	cr_assert_eq(pen_lane_pop(&lane, &word, 1), 0);
	cr_assert_eq(pen_lane_pop(&lane, &word, 0), 0);
	cr_assert_eq(pen_lane_push(&lane, &word, 0), 0);
	cr_assert_eq(word, 77);
	cr_assert_eq(pen_lane_len(&lane), 0);
	pen_lane_fini(&lane);
}

Test(lane, a_closed_lane_has_ended_only_when_drained)
{
	struct pen_lane lane;
	uint64_t words[3] = { 1, 2, 3 }, out[3];

	cr_assert_eq(pen_lane_init(&lane, 4, UINT32_MAX - 1), 0);
	cr_assert_not(pen_lane_ended(&lane), "open and empty is not the end");
	cr_assert_eq(pen_lane_push(&lane, words, 3), 3);
	pen_lane_close(&lane);
	cr_assert_not(pen_lane_ended(&lane));
	cr_assert_eq(pen_lane_pop(&lane, out, 2), 2);
	cr_assert_not(pen_lane_ended(&lane));
	cr_assert_eq(pen_lane_pop(&lane, out, 2), 1);
	cr_assert_eq(out[0], 3);
	cr_assert(pen_lane_ended(&lane));
	cr_assert(pen_lane_ended(&lane), "and stays so");
	pen_lane_fini(&lane);
}

Test(lane, the_two_sides_share_no_line_pair)
{
	struct pen_lane lane;

	cr_assert_eq((uintptr_t)&lane % PEN_LINE_PAIR, 0);
	cr_assert_geq((size_t)((char *)&lane.head - (char *)&lane.tail), PEN_LINE_PAIR);
	cr_assert_geq((size_t)((char *)&lane.mask - (char *)&lane.head), PEN_LINE_PAIR);
}
