/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "ring/post.h"

static struct pen_post *make(void)
{
	struct pen_post *post = aligned_alloc(PEN_LINE_PAIR, pen_round_up(sizeof *post, PEN_LINE_PAIR));

	cr_assert(post);
	pen_post_init(post);
	return post;
}

Test(post, notes_come_out_as_they_were_left_and_end)
{
	struct pen_post *post = make();
	uint64_t words[PEN_POST_WORDS], got[PEN_POST_WORDS];

	cr_expect_not(pen_post_take(post, got));
	for (uint64_t i = 0; i < 3; i++) {
		for (uint32_t w = 0; w < PEN_POST_WORDS; w++)
			words[w] = i * 100 + w;
		cr_assert(pen_post_leave(post, words, 5 + (uint32_t)i));
	}
	for (uint64_t i = 0; i < 3; i++) {
		cr_assert(pen_post_take(post, got));
		for (uint32_t w = 0; w < PEN_POST_WORDS; w++)
			cr_expect_eq(got[w], w < 5 + i ? i * 100 + w : 0);
	}
	cr_expect_not(pen_post_take(post, got));
	free(post);
}

Test(post, full_is_said_and_over_when_one_is_taken_round_and_round)
{
	struct pen_post *post = make();
	uint64_t got[PEN_POST_WORDS], in = 0, out = 0;

	for (int round = 0; round < 5; round++) {
		while (pen_post_leave(post, &in, 1))
			in++;
		cr_expect_eq(in - out, PEN_POST_CELLS);
		for (int i = 0; i < 100; i++) {
			cr_assert(pen_post_take(post, got));
			cr_expect_eq(got[0], out++);
		}
	}
	while (pen_post_take(post, got))
		cr_expect_eq(got[0], out++);
	cr_expect_eq(out, in);
	free(post);
}
