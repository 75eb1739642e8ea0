/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/talk.h"

/* The whole request, written in pieces of `cap`. */
static const char *correlation;

static char *request_of(const struct pen_task *task, size_t cap)
{
	static char out[1 << 16];
	struct pen_talk_request request;
	size_t len = 0;
	size_t n;

	pen_talk_begin(&request, 12, correlation, task);
	while ((n = pen_talk_write(&request, out + len, cap)))
		len += n;
	out[len] = '\0';
	return out;
}

static const struct {
	struct pen_task task;
	const char *line;
} requests[] = {
	{ { .seq = 3, .attempt = 1, .item = "plain", .item_len = 5 },
	  "{\"id\":12,\"seq\":3,\"attempt\":1,\"item_text\":\"plain\"}\n" },
	{ { .attempt = 2, .key = "k\"", .key_len = 2, .item = "a\n\t\"\\\x01\v\x1f", .item_len = 8 },
	  "{\"id\":12,\"seq\":0,\"attempt\":2,\"key\":\"k\\\"\",\"item_text\":\"a\\n\\t\\\"\\\\\\u0001\\u000b\\u001f\"}\n" },
	{ { .attempt = 1, .key = "\xff", .key_len = 1, .item = "\xff\xfe\x00\x01", .item_len = 4 },
	  "{\"id\":12,\"seq\":0,\"attempt\":1,\"key_base64\":\"/w==\",\"item_base64\":\"//4AAQ==\"}\n" },
	{ { .attempt = 1, .form = PEN_TASK_JSON, .item = "{\n\"a\":\r\n1}", .item_len = 10 },
	  "{\"id\":12,\"seq\":0,\"attempt\":1,\"item\":{ \"a\":  1}}\n" },
	{ { .attempt = 1, .path = "/a/\xc3\xbc" },
	  "{\"id\":12,\"seq\":0,\"attempt\":1,\"path\":\"/a/\xc3\xbc\"}\n" },
	{ { .attempt = 1, .path = "/\xff" },
	  "{\"id\":12,\"seq\":0,\"attempt\":1,\"path_base64\":\"L/8=\"}\n" },
	{ { .attempt = 1 }, "{\"id\":12,\"seq\":0,\"attempt\":1,\"item_text\":\"\"}\n" },
};

Test(talk, requests_are_the_same_in_pieces_of_any_size)
{
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
		for (size_t cap = 8; cap < 200; cap++)
			cr_assert_str_eq(request_of(&requests[i].task, cap), requests[i].line,
					 "%zu in pieces of %zu", i, cap);
}

Test(talk, a_request_says_for_whom_it_is)
{
	correlation = "123e4567-e89b-42d3-a456-426614174000";
	for (size_t cap = 8; cap < 200; cap++)
		cr_assert_str_eq(
			request_of(&(struct pen_task){ .seq = UINT64_MAX, .attempt = UINT32_MAX }, cap),
			"{\"id\":12,\"seq\":18446744073709551615,\"attempt\":4294967295,"
			"\"correlation_id\":\"123e4567-e89b-42d3-a456-426614174000\",\"item_text\":\"\"}\n");
	correlation = NULL;
}

static struct pen_json *json;
static struct pen_deed deeds[PEN_CREW_DEEDS_MAX];
static char line[1 << 16];

static const char *take(const char *text, struct pen_talk_reply *reply)
{
	size_t len = strlen(text);

	if (!json)
		cr_assert_eq(pen_json_open(&json), 0);
	memset(line, 0, sizeof(line));
	memcpy(line, text, len);
	return pen_talk_read(json, line, len, reply, deeds);
}

Test(talk, values_in_each_form)
{
	struct pen_talk_reply r;

	cr_assert_null(take("{\"id\":5,\"value\": {\"a\":[1,\"x\"]} }", &r));
	cr_expect(r.word == PEN_TALK_OK && r.id == 5 && r.value_json);
	cr_expect(r.value_len == 13 && memcmp(r.value, "{\"a\":[1,\"x\"]}", 13) == 0);
	cr_assert_null(take("{\"value_text\":\"a\\u00fc\\ud83d\\ude00\\n\",\"id\":6}", &r));
	cr_expect(r.id == 6 && !r.value_json && r.value_len == 8 &&
		  memcmp(r.value, "a\xc3\xbc\xf0\x9f\x98\x80\n", 8) == 0);
	cr_assert_null(take("{\"id\":1,\"value_base64\":\"AAH_\"}", &r));
	cr_expect(r.value_len == 3 && memcmp(r.value, "\0\1\xff", 3) == 0);
	cr_assert_null(take("{\"id\":1,\"value_base64\":\"AA==\"}", &r));
	cr_expect(r.value_len == 1);
	cr_assert_null(take("{\"\\u0069d\":1,\"ok\":true,\"more\":[{}]}", &r));
	cr_expect(r.id == 1 && !r.value);
	cr_assert_null(take("{\"ready\":true}", &r));
	cr_expect_eq(r.word, PEN_TALK_READY);
	cr_assert_null(take("{\"id\":1,\"value\":1,\"put\":[]}", &r));
	cr_expect(r.value_json);
	pen_json_close(json);
}

Test(talk, errors_and_deeds)
{
	struct pen_talk_reply r;

	cr_assert_null(take(
		"{\"id\":1,\"error\":\"retry\",\"code\":\"C\",\"message\":\"m\\n\",\"retry_after_ms\":1500}",
		&r));
	cr_expect(r.word == PEN_TALK_RETRY && r.retry_after_ns == 1500000000ull);
	cr_expect_str_eq(r.code, "C");
	cr_expect_str_eq(r.message, "m\n");
	cr_assert_null(take(
		"{\"id\":1,\"ok\":true,\"put\":[{\"dataset\":\"d\",\"key\":\"k\",\"value\":1},"
		"{\"dataset\":\"e\",\"key_base64\":\"AAE=\",\"value_text\":\"\"}],\"delete\":[{\"dataset\":\"f\",\"key\":\"x\"}]}",
		&r));
	cr_assert_eq(r.deed_count, 3);
	cr_expect(strcmp(deeds[0].dataset, "d") == 0 && deeds[0].value_len == 1 &&
		  *(const char *)deeds[0].value == '1');
	cr_expect(deeds[1].key_len == 2 && deeds[1].value && deeds[1].value_len == 0 && !deeds[1].del);
	cr_expect(strcmp(deeds[2].dataset, "f") == 0 && deeds[2].del && !deeds[2].value);
	pen_json_close(json);
}

Test(talk, what_is_no_reply_is_refused)
{
	static const char *const wrong[] = {
		"",
		"x",
		"1",
		"[]",
		"{}",
		"{\"id\":1}",
		"{\"ok\":true}",
		"{\"id\":-1,\"ok\":true}",
		"{\"id\":1.0,\"ok\":true}",
		"{\"id\":99999999999999999999,\"ok\":true}",
		"{\"id\":\"1\",\"ok\":true}",
		"{\"id\":1,\"ok\":false}",
		"{\"id\":1,\"id\":2,\"ok\":true}",
		"{\"id\":1,\"value\":1,\"value_text\":\"x\"}",
		"{\"id\":1,\"value_text\":1}",
		"{\"id\":1,\"value_text\":\"\\ud800\"}",
		"{\"id\":1,\"value_base64\":\"A\"}",
		"{\"id\":1,\"value_base64\":\"A A=\"}",
		"{\"id\":1,\"error\":\"no\"}",
		"{\"id\":1,\"error\":1}",
		"{\"id\":1,\"error\":\"drop\",\"ok\":true}",
		"{\"id\":1,\"error\":\"drop\",\"put\":[]}",
		"{\"id\":1,\"ok\":true,\"put\":{}}",
		"{\"id\":1,\"ok\":true,\"put\":[1]}",
		"{\"id\":1,\"ok\":true,\"put\":[{}]}",
		"{\"id\":1,\"ok\":true,\"put\":[{\"dataset\":\"d\",\"key\":\"\",\"value\":1}]}",
		"{\"id\":1,\"ok\":true,\"delete\":[{\"dataset\":\"a\\u0000b\",\"key\":\"k\"}]}",
		"{\"id\":1,\"ok\":true,\"delete\":[{\"dataset\":\"a\",\"dataset\":\"a\",\"key\":\"k\"}]}",
		"{\"id\":1,\"error\":\"retry\",\"retry_after_ms\":-1}",
		"{\"id\":1,\"ok\":true} x",
		"{\"id\":1,\"ready\":true}",
	};
	struct pen_talk_reply r;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		cr_expect_not_null(take(wrong[i], &r), "%s", wrong[i]);
	pen_json_close(json);
}

/* Goal: a request of ours, whatever its bytes, is JSON and gives the bytes back. */
Test(talk, all_bytes_go_there_and_back)
{
	char item[512];
	struct pen_talk_reply r;

	for (size_t i = 0; i < sizeof(item); i++)
		item[i] = (char)i;
	for (size_t len = 0; len <= sizeof(item); len = len * 2 + 1) {
		struct pen_task task = { .attempt = 1, .item = item, .item_len = len };
		char *text = request_of(&task, 64);

		snprintf(line, sizeof(line), "{\"id\":1,\"value_%s", strstr(text, "\"item_") + 6);
		if (!json)
			cr_assert_eq(pen_json_open(&json), 0);
		cr_assert_null(pen_talk_read(json, line, strlen(line) - 1, &r, deeds));
		cr_assert(r.value_len == len && memcmp(r.value, item, len) == 0);
	}
	pen_json_close(json);
}
