/* SPDX-License-Identifier: MIT */
#include "engine/project.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(project, .timeout = 60);

Test(project, members_in_the_order_asked_for)
{
	static const struct {
		const char *members, *json, *made;
		int rc;
	} cases[] = {
		{ "a", "{\"a\":1}", "{\"a\":1}", 0 },
		{ "b,a", "{\"a\":1,\"b\":[1, 2],\"c\":3}", "{\"b\":[1, 2],\"a\":1}", 0 },
		{ "a,b", " \n{ \"b\" : {\"x\":\"}\"} } ", "{\"b\":{\"x\":\"}\"}}", 0 },
		{ "a", "{\"b\":1}", "{}", 0 },
		{ "a", "{}", "{}", 0 },
		{ "/m/year,id", "{\"id\":\"x\",\"m\":{\"year\":2024}}", "{\"year\":2024,\"id\":\"x\"}", 0 },
		{ "y=/m/year", "{\"m\":{\"year\":2024}}", "{\"y\":2024}", 0 },
		{ "/l/1", "{\"l\":[1,\"two\",3]}", "{\"1\":\"two\"}", 0 },
		{ "a/b", "{\"a/b\":1}", "{\"a/b\":1}", 0 },
		{ "a~b", "{\"a~b\":1}", "{\"a~b\":1}", 0 },
		{ "q=/a\"b", "{\"a\\\"b\":1}", "{\"q\":1}", 0 },
		{ "/a\"b", "{\"a\\\"b\":1}", "{\"a\\\"b\":1}", 0 },
		{ "a", "{\"a\":1,\"a\":2}", "{\"a\":1}", 0 },
		{ "a", "{\"a\":\"\xc3\xa9\\n\"}", "{\"a\":\"\xc3\xa9\\n\"}", 0 },
		{ "a", "[1]", NULL, -PEN_NOT_OBJECT },
		{ "a", "\"a\"", NULL, -PEN_NOT_OBJECT },
		{ "a", "", NULL, -PEN_NOT_OBJECT },
		{ "a", "{\"a\"", NULL, -PEN_JSON_BAD },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		size_t len = strlen(cases[i].json), made = 0, room;
		char *text = calloc(1, len + PEN_JSON_PADDING), *out;
		struct pen_project *project;
		struct pen_failure why = { 0 };
		int rc;

		memcpy(text, cases[i].json, len);
		cr_assert_eq(pen_project_parse(cases[i].members, &project, &why), 0, "%s", why.text);
		room = len + pen_project_extra(project);
		out = malloc(room); /* asan sees what goes beyond */
		rc = pen_project_take(project, text, len, out, &made);
		cr_expect_eq(rc, cases[i].rc, "%s of %s: %d", cases[i].members, cases[i].json, rc);
		if (!rc) {
			cr_expect_eq(made, strlen(cases[i].made), "%.*s", (int)made, out);
			cr_expect(!memcmp(out, cases[i].made, made), "%.*s", (int)made, out);
			cr_expect(made <= room);
		}
		pen_project_close(project);
		free(text);
		free(out);
	}
}

Test(project, lists_that_are_none)
{
	static const char *const bad[] = { "",	    "a,",     ",a",	 "a,,b",      "=/a",  "x=y",
					   "/a,/a", "a,/a/b", "/a/b,/a", "/a/x,/b/x", "/a~2", "a,a" };
	char many[400];
	struct pen_project *project;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct pen_failure why = { 0 };

		cr_expect_eq(pen_project_parse(bad[i], &project, &why), -PEN_USAGE, "%s", bad[i]);
		cr_expect(why.text[0]);
	}
	many[0] = '\0';
	for (unsigned i = 0; i <= PEN_PROJECT_MAX; i++)
		(void)snprintf(many + strlen(many), sizeof many - strlen(many), "%sm%u", i ? "," : "", i);
	cr_expect_eq(pen_project_parse(many, &project, NULL), -PEN_USAGE);
	*strrchr(many, ',') = '\0';
	cr_assert_eq(pen_project_parse(many, &project, NULL), 0);
	pen_project_close(project);
}
