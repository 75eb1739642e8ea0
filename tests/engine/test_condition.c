/* SPDX-License-Identifier: MIT */
#include "engine/condition.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(condition, .timeout = 60);

static bool fits(const char *condition, const char *json)
{
	char text[256 + PEN_JSON_PADDING] = { 0 };
	struct pen_failure why = { 0 };
	struct pen_condition where;
	bool answer;

	cr_assert_eq(pen_condition_parse(&where, condition, &why), 0, "%s: %s", condition, why.text);
	memcpy(text, json, strlen(json));
	answer = pen_condition_fits(&where, text, strlen(json));
	pen_condition_fini(&where);
	return answer;
}

Test(condition, conditions)
{
	static const struct {
		const char *condition, *json;
		bool answer;
	} cases[] = {
		{ "/a", "{\"a\":null}", true },
		{ "/a", "{\"b\":1}", false },
		{ "!/a", "{\"b\":1}", true },
		{ "!/a", "{\"a\":0}", false },
		{ "/a", "[1]", false },
		{ "/0", "[1]", true },
		{ "/a==x", "{\"a\":\"x\"}", true },
		{ " /a == x ", "{\"a\":\"x\"}", true },
		{ "/a==x", "{\"a\":\"xy\"}", false },
		{ "/a==xy", "{\"a\":\"x\"}", false },
		{ "/a==x", "{\"a\":\"\\u0078\"}", true },
		{ "/a==\xc3\xa9", "{\"a\":\"\\u00e9\"}", true },
		{ "/a==", "{\"a\":\"\"}", true },
		{ "/a!=", "{\"a\":\"\"}", false },
		{ "/a!=x", "{\"a\":\"y\"}", true },
		{ "/a!=x", "{\"a\":1}", true },
		{ "/a!=x", "{}", false },
		{ "/a<b", "{\"a\":\"a\"}", true },
		{ "/a<b", "{\"a\":\"b\"}", false },
		{ "/a<=b", "{\"a\":\"b\"}", true },
		{ "/a>b", "{\"a\":\"ba\"}", true },
		{ "/a>=2024-01-01", "{\"a\":\"2024-01-02\"}", true },
		{ "/a>=2024-01-01", "{\"a\":\"2023-12-31\"}", false },
		{ "/a<b", "{\"a\":\"\\ud800\"}", false },
		{ "/a==1", "{\"a\":1}", true },
		{ "/a==1", "{\"a\":1.0}", true },
		{ "/a==1", "{\"a\":1e0}", true },
		{ "/a==1", "{\"a\":\"1\"}", true },
		{ "/a==\"1\"", "{\"a\":1}", false },
		{ "/a==\"1\"", "{\"a\":\"1\"}", true },
		{ "/a==007", "{\"a\":\"007\"}", true },
		{ "/a==007", "{\"a\":\"7\"}", false },
		{ "/a>9", "{\"a\":10}", true },
		{ "/a>9", "{\"a\":\"10\"}", true },
		{ "/a>9", "{\"a\":\"abc\"}", false },
		{ "/a>9", "{\"a\":true}", false },
		{ "/a>-1.5e3", "{\"a\":-1499}", true },
		{ "/a>9007199254740992", "{\"a\":9007199254740993}", true },
		{ "/a==123456789012345678901234567890", "{\"a\":123456789012345678901234567890}", true },
		{ "/a==true", "{\"a\":true}", true },
		{ "/a==true", "{\"a\":\"true\"}", true },
		{ "/a==true", "{\"a\":false}", false },
		{ "/a!=true", "{\"a\":false}", true },
		{ "/a==null", "{\"a\":null}", true },
		{ "/a==null", "{\"a\":{}}", false },
		{ "/a~1b/c>=2", "{\"a/b\":{\"c\":2}}", true },
		{ "/a==x", "{\"a\":{\"b\":\"x\"}}", false },
		{ "/a==x", "not JSON", false },
		{ "/a==x", "{\"a\":\"x", false },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		cr_expect_eq(fits(cases[i].condition, cases[i].json), cases[i].answer, "%s of %s",
			     cases[i].condition, cases[i].json);
}

Test(condition, what_is_no_condition)
{
	static const char *const bad[] = { "", "a==1", "==1", "/a~2==1", "!/a==1", "/a<true", "!", "!a" };

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct pen_failure why = { 0 };
		struct pen_condition where = { 0 };

		cr_expect_eq(pen_condition_parse(&where, bad[i], &why), -PEN_USAGE, "%s", bad[i]);
		cr_expect(why.text[0]);
	}
}
