/* SPDX-License-Identifier: MIT */
#include "engine/plan.h"

#include <errno.h>
#include <utime.h>

#include "engine/chunk.h"
#include "ring/base.h"
#include "tests/store/scratch.h"

TestSuite(source, .init = scratch_make, .fini = scratch_remove, .timeout = 600);

static _Atomic bool stop;

static void file(const char *path, const char *text)
{
	FILE *f = fopen(scratch_path(path), "w");

	cr_assert(f, "%s", path);
	cr_assert_geq(fputs(text, f), 0);
	cr_assert_eq(fclose(f), 0);
}

/* Opens and looks; *ret_plan is NULL on failure. */
static int look_with(struct pen_run run, const char *const *sources, size_t n, struct pen_plan **ret,
		     struct pen_failure *why)
{
	int rc;

	run.size = sizeof run;
	run.sources = sources;
	run.source_count = n;
	*ret = NULL;
	rc = pen_plan_open(&run, false, ret, why);
	if (!rc)
		rc = pen_plan_look(*ret, &stop, why);
	if (rc) {
		pen_plan_close(*ret);
		*ret = NULL;
	}
	cr_expect_eq(rc, why->code, "%d, but the failure says %d", rc, why->code);
	return rc;
}

static struct pen_plan *look(struct pen_run run, const char *path)
{
	struct pen_failure why = { 0 };
	struct pen_plan *plan;

	cr_assert_eq(look_with(run, &path, 1, &plan, &why), 0, "%s", why.text);
	return plan;
}

static const struct pen_run plain = { .format = PEN_FORMAT_LINES };

/* ---- open ---------------------------------------------------------------------------------- */

Test(source, requests_that_are_not_well_formed)
{
	const char *one = "x", *label = "novalue", *nothing = "";
	const struct {
		const char *what;
		struct pen_run run;
		int code;
	} cases[] = {
		{ "no size", { .sources = &one, .source_count = 1 }, -PEN_USAGE },
		{ "no sources", { .size = sizeof(struct pen_run) }, -PEN_USAGE },
		{ "an empty name",
		  { .size = sizeof(struct pen_run), .sources = &nothing, .source_count = 1 },
		  -PEN_USAGE },
		{ "too many",
		  { .size = sizeof(struct pen_run), .sources = &one, .source_count = PEN_SOURCES_MAX + 1 },
		  -PEN_USAGE },
		{ "dataset",
		  { .size = sizeof(struct pen_run),
		    .sources = &one,
		    .source_count = 1,
		    .into = "penstock.x" },
		  -PEN_DATASET_NAME },
		{ "uuid",
		  { .size = sizeof(struct pen_run),
		    .sources = &one,
		    .source_count = 1,
		    .correlation_id = "nope" },
		  -PEN_USAGE },
		{ "label",
		  { .size = sizeof(struct pen_run),
		    .sources = &one,
		    .source_count = 1,
		    .labels = &label,
		    .label_count = 1 },
		  -PEN_USAGE },
		{ "pointer",
		  { .size = sizeof(struct pen_run), .sources = &one, .source_count = 1, .key = "/a~2" },
		  -PEN_USAGE },
		{ "record",
		  { .size = sizeof(struct pen_run),
		    .sources = &one,
		    .source_count = 1,
		    .max_record = PEN_RECORD_MAX + 1ull },
		  -PEN_USAGE },
		{ "chunk items",
		  { .size = sizeof(struct pen_run),
		    .sources = &one,
		    .source_count = 1,
		    .chunk_items = PEN_CHUNK_ITEMS + 1 },
		  -PEN_USAGE },
		{ "chunk bytes",
		  { .size = sizeof(struct pen_run), .sources = &one, .source_count = 1, .chunk_bytes = 1 },
		  -PEN_USAGE },
		{ "fields of lines",
		  { .size = sizeof(struct pen_run),
		    .sources = &one,
		    .source_count = 1,
		    .key = "/a",
		    .format = PEN_FORMAT_LINES },
		  -PEN_USAGE },
		{ "well formed",
		  { .size = sizeof(struct pen_run), .sources = &one, .source_count = 1, .key = "/a" },
		  0 },
	};

	for (size_t i = 0; i < PEN_COUNT(cases); i++) {
		struct pen_failure why = { 0 };
		struct pen_plan *plan = NULL;
		int rc = pen_plan_open(&cases[i].run, false, &plan, &why);

		cr_expect_eq(rc, cases[i].code, "%s: %d %s", cases[i].what, rc, why.text);
		cr_expect_eq(why.code, cases[i].code, "%s", cases[i].what);
		cr_expect_eq(!!why.text[0], rc != 0, "%s says why", cases[i].what);
		pen_plan_close(plan);
	}
}

Test(source, a_plan_owns_its_strings)
{
	char into[] = "things", key[] = "/k", path[] = "p", label[] = "a=b";
	const char *paths = path, *labels = label;
	struct pen_run run = { .size = sizeof run,
			       .sources = &paths,
			       .source_count = 1,
			       .into = into,
			       .key = key,
			       .labels = &labels,
			       .label_count = 1 };
	struct pen_failure why = { 0 };
	struct pen_plan *plan;

	cr_assert_eq(pen_plan_open(&run, false, &plan, &why), 0);
	into[0] = key[0] = path[0] = label[0] = '!';
	cr_expect_str_eq(plan->into, "things");
	cr_expect_str_eq(plan->key, "/k");
	cr_expect_str_eq(plan->wanted[0], "p");
	cr_expect_eq(plan->labels_len, 3);
	cr_expect_eq(memcmp(plan->labels, "a=b", 4), 0);
	cr_expect_eq(strlen(plan->correlation_id), 36);
	cr_expect_eq(plan->correlation_id[14], '4', "a version 4 of our own: %s", plan->correlation_id);
	pen_plan_close(plan);
}

/* ---- what a source is ---------------------------------------------------------------------- */

Test(source, the_first_line_tells_the_format)
{
	static const struct {
		const char *name, *text;
		enum pen_format format;
	} cases[] = {
		{ "a", "{\"a\":1}\n{\"a\":2}\n", PEN_FORMAT_NDJSON },
		{ "b", "\n\n  {\"a\":1}\n", PEN_FORMAT_NDJSON },
		{ "c", "\xef\xbb\xbf{\"a\":1}\n", PEN_FORMAT_NDJSON },
		{ "d", "1\n2\n", PEN_FORMAT_NDJSON },
		{ "e", "words of text\n", PEN_FORMAT_LINES },
		{ "f", "{broken\n", PEN_FORMAT_NDJSON },
		{ "g", "\"a\"\n", PEN_FORMAT_NDJSON },
		{ "h", "true story\n", PEN_FORMAT_LINES },
	};

	for (size_t i = 0; i < PEN_COUNT(cases); i++) {
		struct pen_plan *plan;

		file(cases[i].name, cases[i].text);
		plan = look((struct pen_run){ 0 }, scratch_path(cases[i].name));
		cr_expect_eq(plan->sources[0].format, cases[i].format, "%s: %s", cases[i].name,
			     pen_format_name(plan->sources[0].format));
		cr_expect_eq(plan->sources[0].kind, PEN_SOURCE_FILE);
		cr_expect_eq(plan->sources[0].size, strlen(cases[i].text));
		cr_expect_eq(plan->bytes_total, strlen(cases[i].text));
		pen_plan_close(plan);
	}
}

Test(source, sources_that_cannot_be_read)
{
	static const char *const names[] = { "none", "f/x", "loop", "" };
	struct pen_failure why = { 0 };
	struct pen_plan *plan;
	char path[256];

	file("f", "x\n");
	cr_assert_eq(symlink("loop", scratch_path("loop")), 0);
	for (size_t i = 0; i < PEN_COUNT(names); i++) {
		const char *source = path;

		(void)snprintf(path, sizeof path, "%s%s", *names[i] ? scratch_path(names[i]) : "@none", "");
		why = (struct pen_failure){ 0 };
		cr_expect_eq(look_with(plain, &source, 1, &plan, &why), -PEN_SOURCE_OPEN, "%s", path);
		cr_expect(strstr(why.text, *names[i] ? path : "none"), "%s", why.text);
	}
}

Test(source, a_fifo_is_a_stream_and_is_not_opened_by_a_look)
{
	struct pen_plan *plan;
	int fd;

	cr_assert_eq(mkfifo(scratch_path("fifo"), 0600), 0);
	fd = open(scratch_path("fifo"), O_RDWR | O_NONBLOCK); /* keeps it alive, with a byte in it */
	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, "x", 1), 1);
	plan = look(plain, scratch_path("fifo"));
	cr_expect_eq(plan->sources[0].kind, PEN_SOURCE_STREAM);
	cr_expect_not(plan->has_identity);
	cr_expect_eq(plan->bytes_total, 0);
	pen_plan_close(plan);
	close(fd);
	cr_expect_eq(open(scratch_path("fifo"), O_WRONLY | O_NONBLOCK), -1, "no reader is left behind");
	cr_expect_eq(errno, ENXIO);
}

Test(source, the_same_file_until_it_is_touched)
{
	struct pen_plan *plan;
	struct utimbuf past = { 1, 1 };
	int fd;

	file("f", "a\nb\n");
	plan = look(plain, scratch_path("f"));
	fd = pen_source_open(&plan->sources[0]);
	cr_assert_geq(fd, 0);
	cr_expect(pen_source_same(&plan->sources[0], fd));
	cr_assert_eq(utime(scratch_path("f"), &past), 0);
	cr_expect_not(pen_source_same(&plan->sources[0], fd), "its time");
	pen_plan_close(plan);
	plan = look(plain, scratch_path("f"));
	cr_expect(pen_source_same(&plan->sources[0], fd));
	cr_assert_eq(truncate(scratch_path("f"), 2), 0);
	cr_assert_eq(utime(scratch_path("f"), &past), 0);
	cr_expect_not(pen_source_same(&plan->sources[0], fd), "its size");
	close(fd);
	file("g", "a\n");
	cr_assert_eq(utime(scratch_path("g"), &past), 0);
	cr_assert_eq(rename(scratch_path("g"), scratch_path("f")), 0);
	fd = pen_source_open(&plan->sources[0]);
	cr_expect_not(pen_source_same(&plan->sources[0], fd), "another file of that name");
	close(fd);
	pen_plan_close(plan);
}

/* ---- expanding ----------------------------------------------------------------------------- */

Test(source, stars_are_expanded_in_order_and_a_name_with_stars_is_itself)
{
	static const char *const names[] = { "b.x", "a.x", "c.y", "[a]*.x" };
	struct pen_failure why = { 0 };
	struct pen_plan *plan;
	const char *none;

	for (size_t i = 0; i < PEN_COUNT(names); i++)
		file(names[i], "1\n");
	plan = look(plain, scratch_path("*.x"));
	cr_expect_eq(plan->source_count, 3);
	cr_expect(strstr(plan->sources[0].path, "[a]*.x"));
	cr_expect(strstr(plan->sources[2].path, "b.x"));
	pen_plan_close(plan);
	plan = look(plain, scratch_path("[a]*.x"));
	cr_expect_eq(plan->source_count, 1);
	cr_expect(strstr(plan->sources[0].path, "[a]*.x"));
	pen_plan_close(plan);
	plan = look(plain, scratch_path("[bc].?"));
	cr_expect_eq(plan->source_count, 2);
	pen_plan_close(plan);
	none = scratch_path("*.z");
	cr_expect_eq(look_with(plain, &none, 1, &plan, &why), -PEN_SOURCE_OPEN);
}

Test(source, a_list_names_a_source_a_line)
{
	struct pen_failure why = { 0 };
	char text[512], at[256];
	const char *source = at;
	struct pen_plan *plan;

	file("a", "1\n");
	file("b", "22\n");
	(void)snprintf(text, sizeof text, "%s\r\n\n%s\n%s", scratch_path("b"), scratch_path("a"),
		       scratch_path("[a]"));
	file("list", text);
	(void)snprintf(at, sizeof at, "@%s", scratch_path("list"));
	cr_assert_eq(look_with(plain, &source, 1, &plan, &why), 0, "%s", why.text);
	cr_expect_eq(plan->source_count, 3);
	cr_expect_eq(plan->sources[0].size, 3);
	cr_expect_eq(plan->sources[1].size, 2);
	cr_expect_eq(plan->bytes_total, 7);
	pen_plan_close(plan);
	file("list", "\n\n");
	cr_expect_eq(look_with(plain, &source, 1, &plan, &why), -PEN_USAGE, "an empty list");
}

Test(source, a_tree_is_counted_and_a_look_can_be_stopped)
{
	struct pen_failure why = { 0 };
	const char *source = scratch;
	struct pen_plan *plan;

	cr_assert_eq(mkdir(scratch_path("d"), 0700), 0);
	file("d/a", "12345");
	file("b", "");
	plan = look((struct pen_run){ .key = "@path" }, scratch);
	cr_expect_eq(plan->sources[0].kind, PEN_SOURCE_TREE);
	cr_expect_eq(plan->sources[0].format, PEN_FORMAT_FILES);
	cr_expect_eq(plan->sources[0].files, 2);
	cr_expect_eq(plan->items_total, 2);
	cr_expect_eq(plan->bytes_total, 5);
	pen_plan_close(plan);
	atomic_store(&stop, true);
	cr_expect_eq(look_with(plain, &source, 1, &plan, &why), -PEN_INTERRUPTED_BY);
	atomic_store(&stop, false);
}

/* ---- identity ------------------------------------------------------------------------------ */

static bool same_identity(const struct pen_plan *a, const struct pen_plan *b)
{
	return !memcmp(a->identity, b->identity, sizeof a->identity);
}

static bool same_content(const struct pen_plan *a, const struct pen_plan *b)
{
	return !memcmp(a->content, b->content, sizeof a->content);
}

Test(source, options_that_decide_the_result_are_the_identity)
{
	static const struct {
		const char *what;
		struct pen_run run;
		bool same;
	} cases[] = {
		{ "nothing", { .format = PEN_FORMAT_LINES }, true },
		{ "durability", { .format = PEN_FORMAT_LINES, .durability = PEN_DURABLE_RELAXED }, true },
		{ "chunks",
		  { .format = PEN_FORMAT_LINES, .chunk_items = 7, .chunk_bytes = 4096, .pause_ms = 1 },
		  true },
		{ "rejects",
		  { .format = PEN_FORMAT_LINES, .has_max_rejects = true, .max_rejects = 5 },
		  true },
		{ "fresh", { .format = PEN_FORMAT_LINES, .fresh = true }, true },
		{ "correlation",
		  { .format = PEN_FORMAT_LINES, .correlation_id = "00000000-0000-4000-8000-000000000000" },
		  true },
		{ "default dataset", { .format = PEN_FORMAT_LINES, .into = "default" }, true },
		{ "default key", { .format = PEN_FORMAT_LINES, .key = "@seq" }, true },
		{ "dataset", { .format = PEN_FORMAT_LINES, .into = "other" }, false },
		{ "format", { .format = PEN_FORMAT_NDJSON }, false },
		{ "key", { .format = PEN_FORMAT_LINES, .key = "@content" }, false },
		{ "duplicates", { .format = PEN_FORMAT_LINES, .on_duplicate = PEN_DUP_KEEP }, false },
		{ "validate", { .format = PEN_FORMAT_LINES, .validate = PEN_VALIDATE_FAST }, false },
		{ "record", { .format = PEN_FORMAT_LINES, .max_record = 1000 }, false },
		{ "compression", { .format = PEN_FORMAT_LINES, .compression = PEN_COMPRESSION_NONE }, false },
		{ "owner", { .format = PEN_FORMAT_LINES, .owner = "somebody" }, false },
	};
	struct pen_plan *first, *plan;

	file("f", "1\n");
	first = look(plain, scratch_path("f"));
	cr_expect(first->has_identity);
	for (size_t i = 0; i < PEN_COUNT(cases); i++) {
		plan = look(cases[i].run, scratch_path("f"));
		cr_expect_eq(same_identity(first, plan), cases[i].same, "%s", cases[i].what);
		cr_expect(same_content(first, plan), "%s", cases[i].what);
		pen_plan_close(plan);
	}
	pen_plan_close(first);
}

Test(source, a_path_is_the_same_however_it_is_written)
{
	struct pen_plan *a, *b;

	cr_assert_eq(mkdir(scratch_path("d"), 0700), 0);
	file("d/f", "1\n");
	cr_assert_eq(symlink("d", scratch_path("link")), 0);
	a = look(plain, scratch_path("d/f"));
	b = look(plain, scratch_path("link/../d/./f"));
	cr_expect(same_identity(a, b) && same_content(a, b));
	pen_plan_close(b);
	file("d/g", "1\n");
	b = look(plain, scratch_path("d/g"));
	cr_expect_not(same_identity(a, b));
	pen_plan_close(a);
	pen_plan_close(b);
}

Test(source, content_follows_the_bytes_and_the_tree)
{
	struct pen_plan *a, *b;

	cr_assert_eq(mkdir(scratch_path("d"), 0700), 0);
	file("d/f", "1\n");
	a = look((struct pen_run){ .key = "@path" }, scratch_path("d"));
	b = look((struct pen_run){ .key = "@path" }, scratch_path("d"));
	cr_expect(same_identity(a, b) && same_content(a, b), "the control: nothing changed");
	pen_plan_close(b);
	file("d/g", "");
	b = look((struct pen_run){ .key = "@path" }, scratch_path("d"));
	cr_expect(same_identity(a, b));
	cr_expect_not(same_content(a, b), "a new file");
	pen_plan_close(a);
	pen_plan_close(b);

	a = look(plain, scratch_path("d/f"));
	file("d/f", "2\n");
	b = look(plain, scratch_path("d/f"));
	cr_expect(same_identity(a, b));
	cr_expect_not(same_content(a, b), "other bytes");
	pen_plan_close(a);
	pen_plan_close(b);
}

Test(source, streams_have_an_identity_only_when_they_are_given_one)
{
	struct pen_run run = { .format = PEN_FORMAT_LINES, .idempotency_key = "k" };
	struct pen_plan *a, *b;

	a = look(plain, "-");
	cr_expect_eq(a->sources[0].kind, PEN_SOURCE_STREAM);
	cr_expect_not(a->has_identity);
	pen_plan_close(a);
	a = look(run, "-");
	b = look(run, "-");
	cr_expect(a->has_identity && same_identity(a, b));
	pen_plan_close(b);
	run.idempotency_key = "l";
	b = look(run, "-");
	cr_expect_not(same_identity(a, b));
	pen_plan_close(a);
	pen_plan_close(b);
}
