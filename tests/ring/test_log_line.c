/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ring/log_line.h"

static uint64_t fixed_ms(const struct pen_clock *clock)
{
	(void)clock;
	return 1764006300123; /* 2025-11-24 17:45:00.123 */
}

static const struct pen_clock fixed = { fixed_ms, fixed_ms };

static void start(void)
{
	pen_log_start(&fixed);
	pen_log_reset();
	pen_log_levels_reset();
}

static void stop(void)
{
	pen_log_stop();
	pen_log_reset();
}

TestSuite(log_line, .init = start, .fini = stop);

/* The line of the record that was put last, closed. */
static const char *line(void)
{
	static char text[PEN_LOG_LINE_BYTES];
	static struct pen_log_scratch scratch;
	const struct pen_log_record *rec = pen_log_peek();
	size_t len;

	cr_assert(rec);
	len = pen_log_line_make(rec, 7, &scratch, text, sizeof text - 2);
	pen_log_pass();
	/* The thread's number is the one thing that is not known before. */
	memcpy(text + len, "}", 2);
	return text;
}

static void expect_part(const char *got, const char *want)
{
	cr_expect(strstr(got, want), "%s\nhas no %s", got, want);
}

Test(log_line, times_are_utc_to_the_millisecond)
{
	static const struct {
		uint64_t ms;
		const char *want;
	} cases[] = {
		{ 0, "1970-01-01T00:00:00.000Z" },
		{ 951782400000, "2000-02-29T00:00:00.000Z" },
		{ 1709251199999, "2024-02-29T23:59:59.999Z" },
		{ 1764006300123, "2025-11-24T17:45:00.123Z" },
		{ 4102444799999, "2099-12-31T23:59:59.999Z" },
		{ 253402300799999, "9999-12-31T23:59:59.999Z" },
	};

	for (size_t i = 0; i < PEN_COUNT(cases); i++) {
		char got[25] = "";

		pen_log_line_time(got, cases[i].ms);
		cr_expect_str_eq(got, cases[i].want);
	}
}

Test(log_line, members_stand_in_their_order)
{
	const struct pen_log_context context = { .correlation_id = "c-1",
						 .user_id = "ann",
						 .batch = 0x19ab,
						 .item = 3,
						 .has_item = true,
						 .module = PEN_LOG_IN_ENGINE };
	const struct pen_log_field fields[] = { PEN_LOG_U64("n", UINT64_MAX), PEN_LOG_I64("i", -5),
						PEN_LOG_REAL("r", -1.25), PEN_LOG_BOOL("b", true),
						PEN_LOG_TEXT("t", NULL) };
	const char *got;

	(void)pen_log_event(&context, "it.happened", fields, PEN_COUNT(fields));
	got = line();
	cr_expect_eq(
		strstr(got,
		       "{\"time\":\"2025-11-24T17:45:00.123Z\",\"level\":\"info\",\"kind\":\"event\","
		       "\"module\":\"engine\",\"message\":\"it.happened\",\"correlationId\":\"c-1\","
		       "\"userId\":\"ann\",\"batch\":\"00000000000019ab\",\"item\":3,\"pid\":7,\"tid\":"),
		got, "%s", got);
	expect_part(got,
		    "\"fields\":{\"n\":18446744073709551615,\"i\":-5,\"r\":-1.250,\"b\":true,\"t\":null}}");
	(void)pen_log_info(NULL, "bare", NULL, 0);
	expect_part(line(), "\"correlationId\":null,\"userId\":null,\"batch\":null,\"item\":null,");
}

Test(log_line, every_kind_has_its_fields)
{
	(void)pen_log_request(NULL, "GET", "/batches", NULL, 0);
	expect_part(line(), "\"kind\":\"request\",\"module\":\"program\",\"message\":\"/batches\"");
	(void)pen_log_response(NULL, "GET", "/batches", 200, 1500000, NULL, 0);
	expect_part(
		line(),
		"\"fields\":{\"method\":\"GET\",\"target\":\"/batches\",\"status\":200,\"tookMs\":1.500}");
	(void)pen_log_security(NULL, PEN_LOG_CRITICAL, "break-in", NULL, 0);
	expect_part(line(), "\"severity\":\"critical\"");
	(void)pen_log_security(NULL, PEN_LOG_MEDIUM, "a try", NULL, 0);
	expect_part(line(), "\"level\":\"warn\",\"kind\":\"security\"");
	(void)pen_log_performance(NULL, "index", 2000000, NULL, 0);
	expect_part(line(), "\"fields\":{\"operation\":\"index\",\"tookMs\":2.000}");
	(void)pen_log_audit(NULL, "drop", "papers", NULL, 0);
	expect_part(line(), "\"fields\":{\"action\":\"drop\",\"subject\":\"papers\"}");
	(void)pen_log_fault(NULL, -PEN_JSON_BAD, "line 7", NULL, 0);
	expect_part(line(), "\"code\":\"PEN1042\"");
	(void)pen_log_external(NULL, "crossref", "lookup", false, 1000000, &PEN_LOG_U64("tries", 2), 1);
	expect_part(
		line(),
		"\"fields\":{\"service\":\"crossref\",\"operation\":\"lookup\",\"good\":false,\"tookMs\":1.000,\"tries\":2}");
	(void)pen_log_cache(NULL, "pdf", 3, 4, NULL, 0);
	expect_part(line(), "\"fields\":{\"hits\":3,\"misses\":4}");
	(void)pen_log_websocket(NULL, "join", "10.0.0.7", NULL, 0);
	expect_part(line(), "\"fields\":{\"event\":\"join\",\"peer\":\"10.0.0.7\"}");
	(void)pen_log_error(NULL, "with frames", NULL, 0);
	cr_expect_gt(pen_log_peek()->frame_count, 0);
	expect_part(line(), "\"level\":\"error\",\"kind\":\"error\"");
}

Test(log_line, controls_and_broken_characters_do_not_get_through)
{
	(void)pen_log_info(
		NULL,
		"a\x1b[2J\r\n\t\"\\ \x7f \xc2\x9b \xe2\x80\xae \xff\xfe \xed\xa0\x80 \xc3\xa9 \xf0\x9f\x98\x80",
		NULL, 0);
	expect_part(
		line(),
		"\"message\":\"a\\u001b[2J\\u000d\\n\\t\\\"\\\\ \\u007f \\u009b \\u202e \xef\xbf\xbd\xef\xbf\xbd "
		"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd \xc3\xa9 \xf0\x9f\x98\x80\"");
}

static void expect_redacted(const char *text, const char *want)
{
	char got[512];
	size_t len = pen_log_line_redact(text, strlen(text), false, got, sizeof got - 1);

	got[len] = 0;
	cr_expect_str_eq(got, want);
}

Test(log_line, secrets_are_left_out_of_texts)
{
	expect_redacted("https://ann:pw@host:8080/a?b=1", "https://[redacted]@host:8080/a?b=1");
	expect_redacted("git+ssh://ghp_abc@host", "git+ssh://[redacted]@host");
	expect_redacted("see http://host:8080/x and https://host/@me",
			"see http://host:8080/x and https://host/@me");
	expect_redacted("API_KEY=abc123 HOME=/root", "API_KEY=[redacted] HOME=/root");
	expect_redacted("DB_PASSWORD='a b c' X=1", "DB_PASSWORD='[redacted]' X=1");
	expect_redacted("?access_token=abc&x=2", "?access_token=[redacted]&x=2");
	expect_redacted("Authorization: Bearer abc.def end", "Authorization: Bearer [redacted] end");
	expect_redacted("authorization: Basic dXNlcg==", "authorization: Basic [redacted]");
	expect_redacted("Cookie: a=1; sid=2\nnext", "Cookie: [redacted]\nnext");
	expect_redacted("{\"password\": \"hunter2\", \"n\": 1}", "{\"password\": \"[redacted]\", \"n\": 1}");
	expect_redacted("curl --token abc -H x", "curl --token [redacted] -H x");
	expect_redacted("sent bearer abc", "sent bearer [redacted]");
	expect_redacted("name=ann key: value --jobs 4", "name=ann key: value --jobs 4");
	expect_redacted("password=", "password=");
	expect_redacted("", "");
}

Test(log_line, half_a_secret_is_one)
{
	char got[128];
	const char *text = "from https://ann:secr";
	size_t len = pen_log_line_redact(text, strlen(text), true, got, sizeof got);

	got[len] = 0;
	cr_expect_str_eq(got, "from https://[redacted]");
}

Test(log_line, secrets_are_known_by_their_fields_names)
{
	static const char *const secret[] = { "token",	       "accessToken", "API-Key",
					      "api_key",       "X-Api-Key",   "userPassword",
					      "client_secret", "Set-Cookie",  "Authorization" };
	static const char *const plain[] = { "key", "name", "user", "author", "tok", "pass", "count" };

	for (size_t i = 0; i < PEN_COUNT(secret); i++)
		cr_expect(pen_log_line_secret(secret[i], strlen(secret[i])), "%s", secret[i]);
	for (size_t i = 0; i < PEN_COUNT(plain); i++)
		cr_expect_not(pen_log_line_secret(plain[i], strlen(plain[i])), "%s", plain[i]);
	(void)pen_log_info(NULL, "m",
			   (const struct pen_log_field[]){ PEN_LOG_TEXT("apiKey", "abc"),
							   PEN_LOG_U64("pinToken", 7) },
			   2);
	expect_part(line(), "\"fields\":{\"apiKey\":\"[redacted]\",\"pinToken\":\"[redacted]\"}");
}

Test(log_line, the_longest_record_is_a_whole_line)
{
	static char text[PEN_LOG_MESSAGE_BYTES + 1];
	struct pen_log_field fields[PEN_LOG_FIELDS];
	const char *got;

	memset(text, 1, sizeof text - 1); /* six bytes each */
	for (size_t i = 0; i < PEN_LOG_FIELDS; i++)
		fields[i] = PEN_LOG_TEXT("\1\1\1\1\1\1\1\1\1\1", text);
	(void)pen_log_info(NULL, text, fields, PEN_LOG_FIELDS);
	got = line();
	cr_expect_lt(strlen(got), PEN_LOG_LINE_BYTES);
	cr_expect_str_eq(got + strlen(got) - strlen(",\"cut\":true}"), ",\"cut\":true}");
}
