/* SPDX-License-Identifier: MIT */
#include "ring/error.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ring/base.h"

Test(error, every_code_of_the_list_is_found_by_its_name)
{
	size_t n = 0;
	int last = 0;

	for (int code; (code = pen_error_at(n)); n++) {
		char name[16];

		snprintf(name, sizeof(name), "PEN%d", -code);
		cr_assert(code < last, "%s is out of order or listed twice", name);
		last = code;
		cr_assert_str_eq(pen_error_name(code), name);
		cr_assert_eq(pen_error_find(name), code);
		cr_assert_eq(pen_error_find(name + 3), code);
		cr_assert_gt(strlen(pen_error_text(code)), 0);
		cr_assert_not_null(pen_error_advice(code));
		cr_assert_geq(pen_error_exit(code), 0);
		cr_assert_lt(pen_error_exit(code), 256);
	}
	cr_assert_gt(n, 40);
	cr_assert_eq(pen_error_at(n), 0);
	cr_assert_eq(pen_error_at(SIZE_MAX), 0);
}

Test(error, codes_outside_the_list_have_answers_too)
{
	static const struct {
		int code;
		const char *name;
		int status;
	} cases[] = {
		{ 0, "OK", 0 },
		{ -ENOENT, "ENOENT", 3 },
		{ -EINVAL, "EINVAL", 2 },
		{ -EBUSY, "EBUSY", 75 },
		{ -PEN_JSON_BAD, "PEN1042", 1 },
		{ -PEN_DISK_FAILED, "PEN411", 74 },
		{ PEN_JSON_BAD, "UNKNOWN", 3 },
		{ -250, "UNKNOWN", 3 },
		{ -30798, "UNKNOWN", 3 },
		{ INT32_MIN, "UNKNOWN", 3 },
		{ INT32_MAX, "UNKNOWN", 3 },
	};

	for (size_t i = 0; i < PEN_COUNT(cases); i++) {
		cr_assert_str_eq(pen_error_name(cases[i].code), cases[i].name, "code %d", cases[i].code);
		cr_assert_eq(pen_error_exit(cases[i].code), cases[i].status, "code %d", cases[i].code);
		cr_assert_gt(strlen(pen_error_text(cases[i].code)), 0);
		cr_assert_not_null(pen_error_advice(cases[i].code));
	}
	cr_assert_str_eq(pen_error_text(-ENOENT), "No such file or directory");
}

Test(error, find_refuses_what_is_no_code)
{
	static const char *const names[] = { "",
					     "PEN",
					     "PEN0",
					     "0",
					     "PEN42",
					     "PEN1042x",
					     " PEN1042",
					     "-1042",
					     "PEN99999999999999999999",
					     "4294968338" /* 2^32 + 1042 */,
					     "EIO" };

	for (size_t i = 0; i < PEN_COUNT(names); i++)
		cr_assert_eq(pen_error_find(names[i]), 0, "%s", names[i]);
	cr_assert_eq(pen_error_find("pen1042"), -PEN_JSON_BAD);
}

Test(error, the_first_failure_wins)
{
	struct pen_failure why = { 0 };

	cr_assert_eq(pen_fail(&why, -PEN_DISK_FULL, ENOSPC, "%s: %d bytes", "data.mdb", 4096),
		     -PEN_DISK_FULL);
	cr_assert_eq(pen_fail(&why, -EIO, EIO, "later"), -EIO);
	cr_assert_eq(why.code, -PEN_DISK_FULL);
	cr_assert_eq(why.os_errno, ENOSPC);
	cr_assert_str_eq(why.text, "data.mdb: 4096 bytes");
	cr_assert_eq(pen_fail(NULL, -EIO, EIO, "nobody listens"), -EIO);
}

Test(error, a_text_is_one_line_of_whole_characters)
{
	char text[PEN_FAILURE_TEXT + 64];

	/* Every offset of a 2, 3 and 4 byte character across the end of the buffer. */
	static const char *const chars[] = { "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80" };
	for (size_t c = 0; c < PEN_COUNT(chars); c++) {
		size_t bytes = strlen(chars[c]);

		for (size_t lead = 0; lead < bytes; lead++) {
			struct pen_failure why = { 0 };
			size_t at = lead;

			memset(text, 'x', lead);
			while (at + bytes < sizeof(text)) {
				memcpy(text + at, chars[c], bytes);
				at += bytes;
			}
			text[at] = '\0';
			pen_fail(&why, -EIO, 0, "%s", text);
			size_t len = strlen(why.text);
			cr_assert_eq((len - lead) % bytes, 0, "cut inside a character");
			cr_assert_gt(len + bytes, PEN_FAILURE_TEXT - 1, "cut more than needed");
		}
	}
	struct pen_failure why = { 0 };
	pen_fail(&why, -EIO, 0, "a\nb\tc\x7f");
	cr_assert_str_eq(why.text, "a?b?c?");
}
