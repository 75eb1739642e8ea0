/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include "engine/chunk.h"
#include "engine/window.h"

#define PLACES 8u

Test(window, chunks_come_out_in_the_order_of_their_numbers)
{
	static const uint64_t orders[][6] = {
		{ 0, 1, 2, 3, 4, 5 }, { 5, 4, 3, 2, 1, 0 }, { 3, 0, 1, 5, 2, 4 }, { 1, 0, 3, 2, 5, 4 }
	};
	struct pen_window w;

	for (size_t o = 0; o < PEN_COUNT(orders); o++) {
		struct pen_chunk chunks[6] = { 0 };
		uint64_t next = 0;

		cr_assert_eq(pen_window_open(&w, PLACES), 0);
		cr_expect_null(pen_window_peek(&w));
		for (size_t i = 0; i < 6; i++) {
			struct pen_chunk *chunk = &chunks[orders[o][i]];

			chunk->seq = orders[o][i];
			pen_window_put(&w, chunk);
			while ((chunk = pen_window_peek(&w))) {
				cr_expect_eq(chunk->seq, next, "order %zu: %lu", o, chunk->seq);
				next++;
				pen_window_pop(&w);
			}
			/* The control: what came out so far is exactly what has no gap before it. */
			cr_expect(next == 6 || orders[o][i] != next);
		}
		cr_expect_eq(next, 6);
		pen_window_close(&w);
	}
}

Test(window, numbers_go_round_the_places)
{
	struct pen_chunk chunks[PLACES];
	struct pen_window w;

	cr_assert_eq(pen_window_open(&w, PLACES), 0);
	for (uint64_t n = 0; n < 100 * PLACES; n += PLACES) {
		for (uint32_t i = PLACES; i-- > 0;) {
			chunks[i] = (struct pen_chunk){ .seq = n + i };
			pen_window_put(&w, &chunks[i]);
			cr_assert(i == 0 || !pen_window_peek(&w));
		}
		for (uint32_t i = 0; i < PLACES; i++) {
			cr_assert_eq(pen_window_peek(&w), &chunks[i]);
			pen_window_pop(&w);
		}
	}
	pen_window_close(&w);
}
