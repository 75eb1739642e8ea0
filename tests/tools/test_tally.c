/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "tools/tally.h"

static void add(struct pen_tally *tally, uint64_t seq, int code, const char *message)
{
	const struct pen_item item = {
		.seq = seq, .state = PEN_ITEM_FAILED, .code = code, .message = message
	};

	pen_tally_add(tally, &item);
}

Test(tally, one_error_whatever_its_long_numbers)
{
	struct pen_tally *tally = pen_tally_new(PEN_TALLY_ERROR);
	const struct pen_tally_group *g;
	uint64_t others;
	uint32_t count;

	add(tally, 9, -1081, "status 1: pid 12345, offset 1000");
	add(tally, 3, -1081, "status 1: pid 99999, offset 222222");
	add(tally, 5, -1081, "status 2: pid 99999, offset 222222");
	add(tally, 6, -1080, "status 1: pid 12345, offset 1000");
	g = pen_tally_done(tally, &count, &others);
	cr_assert_eq(count, 3);
	cr_expect_eq(others, 0);
	cr_expect_eq(g[0].items, 2);
	cr_expect_eq(g[0].first, 3, "the lowest, whichever came first");
	cr_expect_str_eq(g[0].name, "status 1: pid #, offset #");
	cr_expect_eq(g[1].first, 5, "of as many, the one that began first");
	cr_expect_eq(g[2].code, -1080);
	pen_tally_free(tally);
}

Test(tally, by_code_and_state_messages_do_not_count)
{
	struct pen_tally *tally = pen_tally_new(PEN_TALLY_CODE);
	uint64_t others;
	uint32_t count;

	add(tally, 1, -1081, "a");
	add(tally, 2, -1081, "b");
	cr_expect_eq(pen_tally_done(tally, &count, &others)->items, 2);
	cr_expect_eq(count, 1);
	pen_tally_free(tally);
	tally = pen_tally_new(PEN_TALLY_STATE);
	add(tally, 1, -1081, "a");
	add(tally, 2, -1080, "b");
	cr_expect_eq(pen_tally_done(tally, &count, &others)->state, PEN_ITEM_FAILED);
	cr_expect_eq(count, 1);
	pen_tally_free(tally);
}

Test(tally, more_groups_than_there_is_room_for_are_counted)
{
	struct pen_tally *tally = pen_tally_new(PEN_TALLY_ERROR);
	const struct pen_tally_group *g;
	uint64_t others, sum = 0;
	uint32_t count;
	char text[32];

	for (uint64_t i = 0; i < 1500; i++) {
		snprintf(text, sizeof text, "%c%c%c", (int)('a' + i / 676), (int)('a' + i / 26 % 26),
			 (int)('a' + i % 26));
		add(tally, i, -1081, text);
		add(tally, i, -1081, text);
	}
	g = pen_tally_done(tally, &count, &others);
	cr_expect_eq(count, PEN_TALLY_GROUPS);
	for (uint32_t i = 0; i < count; i++)
		sum += g[i].items;
	cr_expect_eq(sum, 2 * PEN_TALLY_GROUPS);
	cr_expect_eq(sum + others, 3000);
	pen_tally_free(tally);
}

Test(tally, a_long_message_is_cut_at_a_character)
{
	struct pen_tally *tally = pen_tally_new(PEN_TALLY_ERROR);
	const struct pen_tally_group *g;
	char text[600] = "x";
	uint64_t others;
	uint32_t count;

	for (size_t at = 1; at + 2 < sizeof text; at += 2)
		memcpy(text + at, "\xc3\xa4", 3);
	add(tally, 1, -1081, text);
	g = pen_tally_done(tally, &count, &others);
	cr_expect_eq(strlen(g->name), PEN_TALLY_NAME - 1);
	cr_expect_eq((unsigned char)g->name[PEN_TALLY_NAME - 2], 0xa4);
	pen_tally_free(tally);
}
