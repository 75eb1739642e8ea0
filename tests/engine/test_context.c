/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "engine/context.h"
#include "engine/plan.h"
#include "store/ledger.h"

#define TRACE "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
#define TRACE_UUID "0af76519-16cd-43dd-8448-eb211c80319c"
#define UUID "123e4567-e89b-42d3-a456-426614174000"

static const struct {
	const char *text;
	bool good;
} traces[] = {
	{ TRACE, true },
	{ "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", true },
	{ "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", true },
	{ "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-comes-later", true },
	{ "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.what-comes-later", false },
	{ "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", false },
	{ "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false },
	{ "00-00000000000000000000000000000000-b7ad6b7169203331-01", false },
	{ "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", false },
	{ "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", false },
	{ "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01", false },
	{ "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false },
	{ "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0g", false },
	{ "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0", false },
	{ "", false },
	{ "00", false },
};

Test(context, a_trace_is_told_from_what_is_none)
{
	for (size_t i = 0; i < sizeof traces / sizeof traces[0]; i++)
		cr_expect_eq(pen_context_is_trace(traces[i].text), traces[i].good, "%s", traces[i].text);
}

Test(context, an_id_is_made_given_or_taken_from_the_trace)
{
	struct pen_context a, b;
	struct pen_failure why = { 0 };

	cr_assert_eq(pen_context_init(&a, NULL, NULL, "mia", &why), 0);
	cr_assert_eq(pen_context_init(&b, NULL, NULL, NULL, &why), 0);
	cr_assert(pen_context_is_uuid(a.correlation_id));
	cr_assert_str_neq(a.correlation_id, b.correlation_id);
	cr_assert_eq(a.correlation_id[14], '4', "version 4");
	cr_assert(strchr("89ab", a.correlation_id[19]), "the variant of RFC 4122");
	cr_assert_str_eq(a.user, "mia");
	cr_assert_str_eq(a.traceparent, "");
	cr_assert(a.started_ms > 1577836800000);

	cr_assert_eq(pen_context_init(&a, NULL, TRACE, NULL, &why), 0);
	cr_assert_str_eq(a.correlation_id, TRACE_UUID);
	cr_assert_str_eq(a.traceparent, TRACE);
	cr_assert_eq(pen_context_init(&a, UUID, TRACE, NULL, &why), 0);
	cr_assert_str_eq(a.correlation_id, UUID);
	cr_assert_eq(pen_context_init(&a, NULL, traces[3].text, NULL, &why), 0);
	cr_assert_str_eq(a.traceparent, TRACE, "a later version is passed on as version 00");

	cr_assert_eq(pen_context_init(&a, "no-uuid", NULL, NULL, &why), -PEN_USAGE);
	cr_assert_eq(pen_context_init(&a, NULL, "00-xx", NULL, &why), -PEN_USAGE);
}

Test(context, a_child_is_in_the_trace_and_under_its_batch)
{
	struct pen_context context;
	char one[PEN_TRACEPARENT_MAX], two[PEN_TRACEPARENT_MAX];

	cr_assert_eq(pen_context_init(&context, NULL, TRACE, NULL, NULL), 0);
	pen_context_child(&context, 7, one);
	cr_assert(pen_context_is_trace(one), "%s", one);
	cr_assert_eq(strncmp(one, TRACE, 36), 0, "the same trace: %s", one);
	cr_assert_str_eq(one + 53, "01", "the flags stay");
	cr_assert_neq(strncmp(one + 36, TRACE + 36, 16), 0, "another parent");
	pen_context_child(&context, 8, two);
	cr_assert_str_neq(one, two);

	cr_assert_eq(pen_context_init(&context, "123E4567-E89B-42D3-A456-426614174000", NULL, NULL, NULL), 0);
	pen_context_child(&context, 7, one);
	cr_assert_eq(strncmp(one, "00-123e4567e89b42d3a456426614174000-", 36), 0, "%s", one);
	cr_assert_eq(pen_context_init(&context, "00000000-0000-0000-0000-000000000000", NULL, NULL, NULL), 0);
	pen_context_child(&context, 7, one);
	cr_assert_str_eq(one, "", "nothing is no trace");
}

static struct pen_plan *plan_of(struct pen_run run)
{
	const char *source = "/dev/null";
	struct pen_failure why = { 0 };
	struct pen_plan *plan = NULL;

	run.size = sizeof run;
	run.sources = &source;
	run.source_count = 1;
	cr_assert_eq(pen_plan_open(&run, false, &plan, &why), 0, "%s", why.text);
	return plan;
}

static int inside(void *arg)
{
	const struct pen_context *outer = arg;
	struct pen_plan *plan = plan_of((struct pen_run){ 0 });

	cr_expect_eq(pen_context(), outer);
	cr_expect_str_eq(plan->correlation_id, UUID);
	cr_expect_str_eq(plan->owner, "mia");
	cr_expect_str_eq(plan->labels, PEN_CONTEXT_LABEL TRACE);
	pen_plan_close(plan);

	plan = plan_of((struct pen_run){ .correlation_id = TRACE_UUID, .owner = "tom" });
	cr_expect_str_eq(plan->correlation_id, TRACE_UUID);
	cr_expect_str_eq(plan->owner, "tom");
	cr_expect_eq(plan->labels_len, 0, "its own id is of its own trace");
	pen_plan_close(plan);
	return 42;
}

Test(context, batches_get_the_one_in_force)
{
	struct pen_context context;
	struct pen_plan *plan;

	cr_assert_eq(pen_context_init(&context, UUID, TRACE, "mia", NULL), 0);
	cr_assert_null(pen_context());
	cr_assert_eq(pen_context_run(&context, inside, &context), 42);
	cr_assert_null(pen_context());
	plan = plan_of((struct pen_run){ 0 });
	cr_assert_str_neq(plan->correlation_id, UUID);
	pen_plan_close(plan);
}

Test(context, facts_tell_it)
{
	static const char labels[] = "a=b\0" PEN_CONTEXT_LABEL TRACE;
	struct pen_facts facts = { .fixed = { .created_ms = 99 },
				   .correlation_id = UUID,
				   .owner = "mia",
				   .labels = labels,
				   .labels_len = sizeof labels - 1 };
	struct pen_context context;

	pen_context_of(&facts, &context);
	cr_assert_str_eq(context.correlation_id, UUID);
	cr_assert_str_eq(context.user, "mia");
	cr_assert_str_eq(context.traceparent, TRACE);
	cr_assert_eq(context.started_ms, 99);
	facts.labels_len = 3;
	pen_context_of(&facts, &context);
	cr_assert_str_eq(context.traceparent, "");
}
