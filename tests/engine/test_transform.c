/* SPDX-License-Identifier: MIT */
#include "engine/transform.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "engine/chunk.h"

TestSuite(transform, .timeout = 60);

static int parse(struct pen_transform *t, const char *processor, const char *config, const char *where)
{
	const char *conditions[] = { where };
	struct pen_run run = { .size = sizeof run,
			       .processor = processor,
			       .processor_config = config,
			       .where = conditions,
			       .where_count = where ? 1 : 0 };
	struct pen_failure why = { 0 };
	int rc;

	*t = (struct pen_transform){ 0 };
	rc = pen_transform_parse(t, &run, &why);
	cr_expect(!rc || why.text[0], "%s", processor);
	return rc;
}

/* What it makes of a value, as text; NULL: a flaw, whose code is *ret_code. */
static const char *apply(struct pen_transform *t, const char *value, int *ret_code)
{
	static char out[4096], text[256 + PEN_JSON_PADDING];
	struct pen_transform_item item = {
		.value = text, .value_len = strlen(value), .path = "p", .out = out
	};
	struct pen_transform_result r;

	memset(text, 0, sizeof text);
	memcpy(text, value, strlen(value));
	pen_transform_apply(t, 0, &item, &r);
	*ret_code = r.code;
	if (r.verdict == PEN_TRANSFORM_FLAW)
		return NULL;
	if (r.verdict == PEN_TRANSFORM_KEPT)
		return text;
	cr_expect(r.value_len <= pen_transform_room(t, item.value_len, 1));
	out[r.value_len] = '\0';
	return out;
}

Test(transform, built_in_ones)
{
	static const struct {
		const char *processor, *where, *value, *made;
		int code;
	} cases[] = {
		{ "copy", NULL, "x", "x", 0 },
		{ NULL, "/a", "{\"a\":1}", "{\"a\":1}", 0 },
		{ NULL, "/a", "{}", NULL, -PEN_WHERE_FALSE },
		{ "json", NULL, "{}", "{}", 0 },
		{ "digest:sha256", NULL, "abc",
		  "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", 0 },
		{ "digest", NULL, "", "99aa06d3014798d86001c324468d497f", 0 },
		{ "digest:xxh3", NULL, "", "99aa06d3014798d86001c324468d497f", 0 },
		{ "project:b", NULL, "{\"a\":1,\"b\":2}", "{\"b\":2}", 0 },
		{ "project:b", NULL, "[]", NULL, -PEN_NOT_OBJECT },
		{ "project:b", "/a==2", "{\"a\":1,\"b\":2}", NULL, -PEN_WHERE_FALSE },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct pen_transform t;
		const char *made;
		int code;

		cr_assert_eq(parse(&t, cases[i].processor, NULL, cases[i].where), 0);
		cr_assert_eq(pen_transform_load(&t, 1, PEN_CHUNK_ROOM_MIN, NULL), 0);
		made = apply(&t, cases[i].value, &code);
		cr_expect_eq(code, cases[i].code, "case %zu: %d", i, code);
		cr_expect(!made == !cases[i].made && (!made || !strcmp(made, cases[i].made)), "case %zu: %s",
			  i, made);
		cr_expect_eq(pen_transform_drops(code), code == -PEN_WHERE_FALSE);
		pen_transform_fini(&t);
	}
}

Test(transform, what_is_refused)
{
	static const char *const bad[] = { "", "none", "digest:md5", "project:", "so:", "copy:x" };
	struct pen_transform t;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		cr_expect_eq(parse(&t, bad[i], NULL, NULL), -PEN_USAGE, "%s", bad[i]);
		pen_transform_fini(&t);
	}
	cr_expect_eq(parse(&t, "copy", "text", NULL), -PEN_USAGE);
	pen_transform_fini(&t);
	cr_expect_eq(parse(&t, "copy", NULL, "a"), -PEN_USAGE);
	pen_transform_fini(&t);
}

/* Goal: what is cut fits, with what is made of it, into the room. */
Test(transform, room_is_left_for_what_is_made)
{
	for (uint32_t factor = 0; factor < 2; factor++)
		for (uint32_t each = 0; each < 100000; each = each * 2 + 1)
			for (size_t room = 1; room < 1 << 19; room = room * 3 + 1) {
				const struct pen_transform t = { .factor = factor, .each = each };
				uint32_t items = pen_transform_items(&t, room);
				size_t text;

				cr_assert(items >= 1);
				items = items < 4096 ? items : 4096;
				text = pen_transform_text(&t, room, items);
				if (text)
					cr_assert(text + pen_transform_room(&t, text, items) <= room);
				/* A chunk of the least size takes text beside the most that one may need. */
				if (room >= 2ull * each + 2)
					cr_assert(pen_transform_text(&t, room, 1) > 0, "%u %u %zu", factor,
						  each, room);
			}
}

static char *sign(const char *processor, const char *where)
{
	struct pen_transform t;
	size_t len = 0;
	char *text = NULL;
	FILE *f = open_memstream(&text, &len);

	cr_assert_eq(parse(&t, processor, NULL, where), 0);
	cr_assert(pen_transform_sign(&t, f));
	cr_assert_eq(fclose(f), 0);
	for (size_t i = 0; i < len; i++) /* lengths hold NULs */
		if (!text[i])
			text[i] = '.';
	pen_transform_fini(&t);
	return text;
}

Test(transform, batches_are_told_apart_by_it)
{
	static const struct {
		const char *processor, *where;
	} cases[] = { { NULL, NULL },	     { "json", NULL }, { "digest", NULL }, { "project:a", NULL },
		      { "project:b", NULL }, { NULL, "/a" },   { "json", "/a" },   { NULL, "/b" } };
	char *texts[sizeof cases / sizeof cases[0]];
	char *copy = sign("copy", NULL);

	cr_expect_str_eq(copy, "", "batches of earlier versions still resume");
	free(copy);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		texts[i] = sign(cases[i].processor, cases[i].where);
		for (size_t k = 0; k < i; k++)
			cr_expect(strcmp(texts[i], texts[k]) != 0, "%zu and %zu", i, k);
	}
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		free(texts[i]);
}
