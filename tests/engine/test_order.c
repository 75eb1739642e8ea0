/* SPDX-License-Identifier: MIT */
#include "engine/order.h"

#include <criterion/criterion.h>
#include <string.h>

#include "ring/base.h"
#include "ring/error.h"
#include "tests/lib/stress.h"

/*
 * Every field of a request, once more, and what kind it is: a field that is added to struct pen_run and forgotten in
 * the order leaves bytes that no line here covers.
 */
enum kind { TEXT, LIST, NUMBER, WORD, FLAG };

static const struct field {
	const char *name;
	enum kind kind;
	size_t at, len, count_at;
	bool kept; /* an order has it */
} fields[] = {
#define ONE(name, kind)                                                                                   \
	{                                                                                                 \
#name, kind, offsetof(struct pen_run, name), sizeof(((struct pen_run *)0)->name), 0, true \
	}
#define NOT(name)                                                                                            \
	{                                                                                                    \
#name, NUMBER, offsetof(struct pen_run, name), sizeof(((struct pen_run *)0)->name), 0, false \
	}
#define MANY(name, count)                      \
	{ #name,                               \
	  LIST,                                \
	  offsetof(struct pen_run, name),      \
	  sizeof(((struct pen_run *)0)->name), \
	  offsetof(struct pen_run, count),     \
	  true },                              \
		NOT(count)
	NOT(size),
	NOT(fresh), /* said when it is entered, and done with then */
	MANY(sources, source_count),
	ONE(into, TEXT),
	ONE(format, WORD),
	ONE(compression, WORD),
	ONE(key, TEXT),
	ONE(on_duplicate, WORD),
	ONE(validate, WORD),
	ONE(max_record, NUMBER),
	ONE(has_max_rejects, FLAG),
	ONE(max_rejects, NUMBER),
	ONE(max_rejects_ratio, WORD),
	ONE(durability, WORD),
	ONE(chunk_items, WORD),
	ONE(chunk_bytes, NUMBER),
	ONE(pause_ms, WORD),
	ONE(owner, TEXT),
	ONE(correlation_id, TEXT),
	ONE(traceparent, TEXT),
	MANY(labels, label_count),
	ONE(idempotency_key, TEXT),
	ONE(delimiter, WORD),
	ONE(quote, WORD),
	ONE(escape, WORD),
	ONE(header, WORD),
	ONE(header_names, TEXT),
	ONE(value, WORD),
	ONE(encoding, WORD),
	ONE(frame, WORD),
	MANY(include, include_count),
	MANY(exclude, exclude_count),
	ONE(follow_symlinks, FLAG),
	ONE(items, TEXT),
	ONE(items_nul, FLAG),
	ONE(on_success, WORD),
	ONE(move_to, TEXT),
	MANY(live, live_count),
	ONE(processor, TEXT),
	ONE(processor_config, TEXT),
	MANY(where, where_count),
	ONE(results, WORD),
	ONE(jobs, WORD),
	ONE(window, WORD),
	ONE(timeout_ns, NUMBER),
	ONE(has_max_retries, FLAG),
	ONE(max_retries, WORD),
	ONE(backoff, TEXT),
	ONE(jitter, TEXT),
	ONE(halt, TEXT),
	ONE(max_crashes, WORD),
	ONE(cache, FLAG),
	MANY(env, env_count),
	ONE(retry_for_ns, NUMBER),
	ONE(memory_max, NUMBER),
	ONE(output_max, NUMBER),
	MANY(flags, flag_count),
	ONE(rate_count, NUMBER),
	ONE(rate_window_ns, NUMBER),
	ONE(limits, FLAG),
	ONE(bulk, WORD),
	ONE(bulk_bytes, NUMBER),
#undef ONE
#undef NOT
#undef MANY
};

static int by_place(const void *x, const void *y)
{
	const struct field *a = x, *b = y;

	return (a->at > b->at) - (a->at < b->at);
}

/* Each field begins where the one before lets it: what is forgotten leaves a gap. */
Test(order, every_field_of_a_request_is_known)
{
	struct field sorted[PEN_COUNT(fields)];
	size_t end = 0;

	memcpy(sorted, fields, sizeof fields);
	qsort(sorted, PEN_COUNT(sorted), sizeof *sorted, by_place);
	for (size_t i = 0; i < PEN_COUNT(sorted); i++) {
		cr_expect_eq(sorted[i].at, pen_round_up(end, sorted[i].len),
			     "something before %s is not known", sorted[i].name);
		end = sorted[i].at + sorted[i].len;
	}
	cr_expect_eq(pen_round_up(end, 8), sizeof(struct pen_run), "something at the end is not known");
}

/* ---- there and back ---------------------------------------------------------------------------- */

static void *at(const struct pen_run *run, size_t offset)
{
	return (char *)(uintptr_t)run + offset;
}

static const char *text_of(struct stress_random *random, bool path)
{
	static const char *const texts[] = { "",	  "a",	"a=b", "=", "x\n y", "\xc3\xa4\xff",
					     "{\"a\":1}", "--", " " };
	static const char *const paths[] = { "/", "/a/b", "-", "/with=equals", "@/list", "/a b\n" };

	return path ? paths[stress_below(random, PEN_COUNT(paths))]
		    : texts[stress_below(random, PEN_COUNT(texts))];
}

static bool is_path(const struct field *f)
{
	return !strcmp(f->name, "sources") || !strcmp(f->name, "items") || !strcmp(f->name, "move_to");
}

static uint64_t number_of(struct stress_random *random)
{
	static const uint64_t edges[] = { 0, 1, INT32_MAX, UINT32_MAX, INT64_MAX, UINT64_MAX, 1ull << 63 };

	return stress_below(random, 2) ? edges[stress_below(random, PEN_COUNT(edges))]
				       : stress_mix(random->state++);
}

static void fill(struct stress_random *random, const struct field *f, struct pen_run *run,
		 const char *(*lists)[4])
{
	uint64_t n = number_of(random);

	switch (f->kind) {
	case TEXT:
		*(const char **)at(run, f->at) = stress_below(random, 3) ? text_of(random, is_path(f)) : NULL;
		break;
	case LIST:
		n = stress_below(random, 5);
		for (uint64_t i = 0; i < n; i++)
			(*lists)[i] = text_of(random, is_path(f));
		*(const char *const **)at(run, f->at) = n ? *lists : NULL;
		*(size_t *)at(run, f->count_at) = n;
		break;
	case NUMBER:
		*(uint64_t *)at(run, f->at) = n;
		break;
	case WORD:
		*(uint32_t *)at(run, f->at) = (uint32_t)n;
		break;
	case FLAG:
		*(bool *)at(run, f->at) = n & 1;
	}
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

static void compare(const struct field *f, const struct pen_run *a, const struct pen_run *b)
{
	if (f->kind == TEXT) {
		cr_expect(same_text(*(const char **)at(a, f->at), *(const char **)at(b, f->at)), "%s",
			  f->name);
	} else if (f->kind == LIST) {
		size_t n = *(size_t *)at(a, f->count_at);
		const char *const *x = *(const char *const **)at(a, f->at);
		const char *const *y = *(const char *const **)at(b, f->at);

		cr_assert_eq(*(size_t *)at(b, f->count_at), n, "%s", f->name);
		for (size_t i = 0; i < n; i++)
			cr_expect_str_eq(x[i], y[i], "%s", f->name);
	} else {
		cr_expect(!memcmp(at(a, f->at), at(b, f->at), f->len), "%s", f->name);
	}
}

Test(order, what_is_unpacked_is_what_was_packed, .timeout = 600)
{
	static const char *lists[PEN_COUNT(fields)][4];
	struct stress_random random = stress_random(stress_start("order"));

	for (unsigned round = 0; round < 3000; round++) {
		struct pen_run run = { .size = sizeof run, .into = "d" }, *got;
		size_t len;
		char *bytes;

		for (size_t i = 0; i < PEN_COUNT(fields); i++)
			if (fields[i].kept && stress_below(&random, 3))
				fill(&random, &fields[i], &run, &lists[i]);
		if (!run.into)
			run.into = "d"; /* no plan is without */
		cr_assert_eq(pen_order_pack(&run, &bytes, &len), 0);
		cr_assert_eq(pen_order_unpack(bytes, len, &got), 0);
		for (size_t i = 0; i < PEN_COUNT(fields); i++)
			if (fields[i].kept)
				compare(&fields[i], &run, got);
		cr_expect_eq(got->size, sizeof *got);
		free(got);
		free(bytes);
	}
}

Test(order, a_relative_path_is_where_it_was_said)
{
	const char *sources[] = { "a", "@b", "-", "c/*.x" };
	struct pen_run run = { .size = sizeof run, .sources = sources, .source_count = 4, .move_to = "done" },
		       *got;
	char want[64];
	size_t len;
	char *bytes;

	cr_assert(!chdir("/usr"));
	cr_assert_eq(pen_order_pack(&run, &bytes, &len), 0);
	cr_assert_eq(pen_order_unpack(bytes, len, &got), 0);
	cr_expect_str_eq(got->sources[0], "/usr/a");
	cr_expect_str_eq(got->sources[1], "@/usr/b");
	cr_expect_str_eq(got->sources[2], "-");
	(void)snprintf(want, sizeof want, "%s", "/usr/c/*.x");
	cr_expect_str_eq(got->sources[3], want);
	cr_expect_str_eq(got->move_to, "/usr/done");
	free(got);
	free(bytes);
}

/* ---- what is no order --------------------------------------------------------------------------- */

Test(order, what_is_damaged_or_newer_is_refused)
{
	static const struct {
		const char *bytes;
		size_t len;
		int code;
	} cases[] = {
#define CASE(text, code) { text, sizeof text, code }
		CASE("into=d", 0),
		{ "", 0, -PEN_STORE_DAMAGED },
		{ "into=d", 6, -PEN_STORE_DAMAGED }, /* no end */
		CASE("", -PEN_STORE_DAMAGED),
		CASE("into", -PEN_STORE_DAMAGED),
		CASE("into=d\0=x", -PEN_STORE_NEWER),
		CASE("into=d\0later=1", -PEN_STORE_NEWER),
		CASE("int=d", -PEN_STORE_NEWER),
		CASE("intoo=d", -PEN_STORE_NEWER),
		CASE("size=1", -PEN_STORE_NEWER),
		CASE("source_count=3", -PEN_STORE_NEWER),
		CASE("jobs=", -PEN_STORE_DAMAGED),
		CASE("jobs=x", -PEN_STORE_DAMAGED),
		CASE("jobs=1x", -PEN_STORE_DAMAGED),
		CASE("jobs= 1", -PEN_STORE_DAMAGED),
		CASE("jobs=4294967296", -PEN_STORE_DAMAGED),
		CASE("jobs=-2147483649", -PEN_STORE_DAMAGED),
		CASE("max_record=18446744073709551616", -PEN_STORE_DAMAGED),
		CASE("items_nul=2", -PEN_STORE_DAMAGED),
		CASE("env=A=1\0labels=x\0env=B=2", -PEN_STORE_DAMAGED), /* a list in two pieces */
		CASE("jobs=2\0jobs=3", -PEN_STORE_DAMAGED),
		CASE("into=a\0into=b", -PEN_STORE_DAMAGED),
#undef CASE
	};

	for (size_t i = 0; i < PEN_COUNT(cases); i++) {
		struct pen_run *run = NULL;
		int rc = pen_order_unpack(cases[i].bytes, cases[i].len, &run);

		cr_expect_eq(rc, cases[i].code, "case %zu: %d", i, rc);
		cr_expect_eq(run != NULL, !cases[i].code);
		free(run);
	}
}

/* Goal: no bytes at all make it read or write where it must not. Method: damage by chance; asan looks on. */
Test(order, damaged_bytes_are_refused_or_read_but_never_worse, .timeout = 600)
{
	static const char *const labels[] = { "a=1", "b=2" };
	struct stress_random random = stress_random(stress_start("order"));
	struct pen_run run = { .size = sizeof run,
			       .into = "d",
			       .labels = labels,
			       .label_count = 2,
			       .jobs = 3,
			       .timeout_ns = 77,
			       .processor = "exec:x" };
	char *bytes, copy[512];
	unsigned refused = 0;
	size_t len;

	cr_assert_eq(pen_order_pack(&run, &bytes, &len), 0);
	cr_assert_lt(len, sizeof copy);
	for (unsigned round = 0; round < 20000; round++) {
		size_t n = 1 + stress_below(&random, len);
		struct pen_run *got;
		char *exact = malloc(n);

		memcpy(copy, bytes, len);
		for (uint64_t i = stress_below(&random, 4); i > 0; i--)
			copy[stress_below(&random, len)] = (char)stress_below(&random, 256);
		memcpy(exact, copy, n);
		if (pen_order_unpack(exact, n, &got))
			refused++;
		else
			free(got);
		free(exact);
	}
	cr_expect_gt(refused, 1000);
	free(bytes);
}
