/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include "engine/split.h"
#include "include/penstock_error.h"
#include "tests/engine/apart.h"

TestSuite(split_frames, .init = map_places);

Test(split_frames, frames_stand_behind_their_length)
{
	static const struct pen_rules be = { .format = PEN_FORMAT_FRAMES, .max_record = 5 };
	static const struct pen_rules le = { .format = PEN_FORMAT_FRAMES,
					     .frame = PEN_FRAME_U32LE,
					     .max_record = 5 };
	static const struct pen_rules be16 = { .format = PEN_FORMAT_FRAMES,
					       .frame = PEN_FRAME_U16BE,
					       .max_record = 300 };
	static const struct expected of_be[] = {
		{ TEXT(""), "" },
		{ TEXT("\0\0\0\1a\0\0\0\0\0\0\0\2bc"), "<a>0<>0<bc>0" },
		{ TEXT("\0\0\0\6abcdef\0\0\0\1g"), "<abcdef>0large<g>0" },
		{ TEXT("\0\0\0\3\n\n\n\0\0\0\2b"), "<\n\n\n>0<b>0cut" },
		{ TEXT("\0\0\0\1a\0\0\0\1"), "<a>0<>0cut" },
		{ TEXT("\0\0\0\1a__"), "<a>0<__>0cut" },
		{ TEXT("\xff\xff\xff\xff"
		       "abc"),
		  "<abc>0cut" },
	};
	static const struct expected of_le[] = {
		{ TEXT("\1\0\0\0a\0\0\0\0\2\0\0\0bc"), "<a>0<>0<bc>0" },
		{ TEXT("\0\0\0\1abc"), "<abc>0cut" },
	};
	static const struct expected of_be16[] = {
		{ TEXT("\0\1a\0\0\0\2bc"), "<a>0<>0<bc>0" },
		{ TEXT("\1\0abc"), "<abc>0cut" },
		{ TEXT("\0\1a_"), "<a>0<_>0cut" },
	};

	expect_records(&be, of_be, COUNT(of_be));
	expect_records(&le, of_le, COUNT(of_le));
	expect_records(&be16, of_be16, COUNT(of_be16));
}

Test(split_frames, leb128_has_at_most_64_bits)
{
	static const struct pen_rules leb128 = { .format = PEN_FORMAT_FRAMES,
						 .frame = PEN_FRAME_LEB128,
						 .max_record = 5 };
	static const struct expected frames[] = {
		{ TEXT("\1a\0\2bc"), "<a>0<>0<bc>0" },
		{ TEXT("\x81\0a\x80\x80\x80\x80\x80\x80\x80\x80\x80\0\1b"), "<a>0<>0<b>0" },
		{ TEXT("\6abcdef\1g"), "<abcdef>0large<g>0" },
		{ TEXT("\x80\1abc"), "<abc>0cut" },
		{ TEXT("\1a\xff"), "<a>0<\xff>0cut" },
		/* 2^64 - 1 is a length, if not one that is there; 2^64 is none, nor is anything of 11 bytes. */
		{ TEXT("\xff\xff\xff\xff\xff\xff\xff\xff\xff\1abc"), "<abc>0cut" },
		{ TEXT("\1a\x80\x80\x80\x80\x80\x80\x80\x80\x80\2bc\1d"),
		  "<a>0<\x80\x80\x80\x80\x80\x80\x80\x80\x80\2bc\1d>0cut" },
		{ TEXT("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\0a"),
		  "<\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80>0cut" },
	};

	expect_records(&leb128, frames, COUNT(frames));
}

/* A length is passed over, piece by piece, without being believed: no sum of it overflows. */
Test(split_frames, seek_passes_over_any_length)
{
	static const struct pen_rules be = { .format = PEN_FORMAT_FRAMES, .max_record = 5 };
	static const struct pen_rules leb128 = { .format = PEN_FORMAT_FRAMES, .frame = PEN_FRAME_LEB128 };
	struct pen_seek seek = { .rules = &be };
	const char *text = place(0, TEXT("\0\1\0\0........................"));
	size_t len;

	cr_assert_not(pen_split_frames.seek(&seek, text, 3, &len));
	cr_assert_not(pen_split_frames.seek(&seek, text + 3, 5, &len));
	cr_assert_eq(seek.lead, 4);
	cr_assert_eq(seek.code, -PEN_FRAME_CUT);
	for (size_t left = 65536 - 4; left > 20; left -= 20)
		cr_assert_not(pen_split_frames.seek(&seek, text + 4, 20, &len), "%zu", left);
	cr_assert(pen_split_frames.seek(&seek, text + 4, 20, &len));
	cr_assert_eq(len, (65536 - 4) % 20);
	cr_assert(seek.bare == 65536 && seek.seen == 65540 && seek.code == 0);

	seek = (struct pen_seek){ .rules = &leb128 };
	text = place(0, TEXT("\xff\xff\xff\xff\xff\xff\xff\xff\xff\1........................"));
	cr_assert_not(pen_split_frames.seek(&seek, text, 30, &len));
	cr_assert(seek.lead == 10 && seek.seen == 30 && seek.code == -PEN_FRAME_CUT);
}
