/* SPDX-License-Identifier: MIT */
/*
 * Changes to flags: what they refuse, what they merge, that each is written once with its line of history.
 */
#include "engine/flag.h"

#include <string.h>

#include "ring/error.h"
#include "store/change.h"
#include "tests/store/scratch.h"

static struct pen_store *store;

static void begin(void)
{
	scratch_make();
	store = scratch_store("s");
}

static void end(void)
{
	pen_store_close(store);
	scratch_remove();
}

TestSuite(flag, .init = begin, .fini = end, .timeout = 120);

#define SET(...) set((struct pen_flag_set){ .size = sizeof(struct pen_flag_set), .name = "ONE", __VA_ARGS__ })

static int set(struct pen_flag_set change)
{
	struct pen_failure why = { 0 };
	int rc = pen_flag_set(store, &change, NULL, &why);

	cr_expect_eq(rc, why.code, "%d, but it says %d %s", rc, why.code, why.text);
	return rc;
}

static struct pen_flag *get(void)
{
	struct pen_flag *flag = NULL;

	cr_assert_eq(pen_flag_get(store, "ONE", &flag), 0);
	return flag;
}

static bool on(const char *key)
{
	struct pen_flag_verdict v;

	pen_flag_eval(store, "ONE", key, false, &v);
	return v.on;
}

static unsigned changes(void)
{
	struct pen_flag_change *c;
	uint64_t at = UINT64_MAX;
	unsigned n = 0;

	for (; pen_flag_history(store, "ONE", at, &c) == 1; n++) {
		at = c->seq;
		free(c);
	}
	return n;
}

Test(flag, a_new_one_is_off)
{
	struct pen_flag *f;

	cr_assert_eq(SET(.by = "me"), 0);
	f = get();
	cr_expect_not(f->enabled);
	cr_expect_eq(f->rollout, 0);
	cr_expect_eq(f->version, 1);
	cr_expect_eq(strlen(f->id), 25);
	cr_expect_eq(f->id[0], 'c');
	cr_expect_eq(f->created_ms, f->updated_ms);
	cr_expect_str_eq(f->metadata, "");
	free(f);
	cr_expect_eq(changes(), 1);
}

Test(flag, what_is_not_spoken_of_stays)
{
	static const char *const names[] = { "bob", "ann", "bob" };
	static const struct pen_flag_variant variants[] = { { "blue", 1 } };
	struct pen_flag *f;

	cr_assert_eq(SET(.has_enabled = true, .enabled = true, .has_rollout = true, .rollout = 5,
			 .whitelist = { .replace = true, .at = names, .count = 3 },
			 .metadata = " {\"a\":\n1}", .has_variants = true, .variants = variants,
			 .variant_count = 1),
		     0);
	cr_assert_eq(SET(.has_rollout = true, .rollout = 6), 0);
	f = get();
	cr_expect(f->enabled);
	cr_expect_eq(f->rollout, 6);
	cr_expect_eq(f->version, 2);
	cr_assert_eq(f->whitelist_count, 2);
	cr_expect_str_eq(f->whitelist[0], "ann");
	cr_expect_str_eq(f->metadata, " {\"a\": 1}");
	cr_expect_eq(f->variant_count, 1);
	free(f);
}

Test(flag, lists_are_merged)
{
	static const char *const first[] = { "ann", "user:bob", "carl" }, *const more[] = { "dora", "ann" };
	static const char *const less[] = { "bob", "user:carl", "nobody" };
	struct pen_flag *f;

	cr_assert_eq(SET(.has_enabled = true, .enabled = true, .whitelist = { .add = first, .add_count = 3 }),
		     0);
	cr_expect(on("user:bob"));
	cr_assert_eq(SET(.whitelist = { .add = more, .add_count = 2, .remove = less, .remove_count = 3 }), 0);
	f = get();
	cr_assert_eq(f->whitelist_count, 2);
	cr_expect_str_eq(f->whitelist[0], "ann");
	cr_expect_str_eq(f->whitelist[1], "dora");
	free(f);
	cr_expect_not(on("user:bob"));
	cr_expect(on("dora"));
	cr_assert_eq(SET(.whitelist = { .replace = true }), 0);
	cr_expect_not(on("dora"));
}

Test(flag, a_change_that_changes_nothing_is_none)
{
	cr_assert_eq(SET(.has_rollout = true, .rollout = 5), 0);
	cr_assert_eq(SET(.has_rollout = true, .rollout = 5), 0);
	cr_expect_eq(changes(), 1);
}

Test(flag, refused)
{
	static const struct pen_flag_variant heavy[] = { { "a", INT32_MAX }, { "b", 1 } },
					     zero[] = { { "a", 0 } }, twice[] = { { "a", 1 }, { "a", 2 } };
	static const char *const empty[] = { "" }, *const control[] = { "a\nb" },
				 *const broken[] = { "\xff" };
	static char long_text[PEN_FLAG_METADATA_MAX + 16];
	char text[300];
	struct pen_flag *f;

	memset(text, 'x', sizeof(text) - 1);
	text[299] = 0;
	cr_expect_eq(SET(.has_rollout = true, .rollout = PEN_FLAG_WHOLE + 1), -PEN_FLAG_BAD);
	cr_expect_eq(SET(.metadata = "[]"), -PEN_FLAG_BAD);
	cr_expect_eq(SET(.metadata = "{\"a\":}"), -PEN_FLAG_BAD);
	cr_expect_eq(SET(.metadata = "{} {}"), -PEN_FLAG_BAD);
	memset(long_text, ' ', sizeof(long_text) - 1);
	memcpy(long_text, "{}", 2);
	cr_expect_eq(SET(.metadata = long_text), -PEN_FLAG_BAD);
	long_text[PEN_FLAG_METADATA_MAX] = 0;
	cr_expect_eq(SET(.metadata = long_text), 0);
	cr_expect_eq(SET(.salt = text), -PEN_FLAG_BAD);
	cr_expect_eq(SET(.has_variants = true, .variants = heavy, .variant_count = 2), -PEN_FLAG_BAD);
	cr_expect_eq(SET(.has_variants = true, .variants = zero, .variant_count = 1), -PEN_FLAG_BAD);
	cr_expect_eq(SET(.has_variants = true, .variants = twice, .variant_count = 2), -PEN_FLAG_BAD);
	cr_expect_eq(SET(.whitelist = { .add = empty, .add_count = 1 }), -PEN_FLAG_BAD);
	cr_expect_eq(SET(.whitelist = { .add = control, .add_count = 1 }), -PEN_FLAG_BAD);
	cr_expect_eq(SET(.blacklist = { .replace = true, .at = broken, .count = 1 }), -PEN_FLAG_BAD);
	cr_expect_eq(set((struct pen_flag_set){ .size = sizeof(struct pen_flag_set), .name = "a b" }),
		     -PEN_FLAG_BAD);
	cr_expect_eq(pen_flag_get(store, "a b", &f), -PEN_NOT_FOUND);
	cr_expect_eq(pen_flag_rm(store, "a b", NULL, NULL, NULL), -PEN_NOT_FOUND);
	cr_expect_eq(changes(), 1);
}

Test(flag, a_list_is_full_at_ten_thousand)
{
	static char names[PEN_FLAG_LIST_MAX][8];
	static const char *list[PEN_FLAG_LIST_MAX];
	static const char *const one[] = { "one more" };
	struct pen_flag *f;

	for (unsigned i = 0; i < PEN_FLAG_LIST_MAX; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "%u", i);
		list[i] = names[i];
	}
	cr_expect_eq(SET(.blacklist = { .add = list, .add_count = PEN_FLAG_LIST_MAX }), 0);
	cr_expect_eq(SET(.blacklist = { .add = one, .add_count = 1 }), -PEN_FLAG_BAD);
	f = get();
	cr_expect_eq(f->blacklist_count, PEN_FLAG_LIST_MAX);
	free(f);
}

Test(flag, only_if_nobody_was_faster)
{
	cr_expect_eq(SET(.if_version = 1), -PEN_FLAG_CHANGED);
	cr_expect_eq(SET(.has_rollout = true, .rollout = 1), 0);
	cr_expect_eq(SET(.if_version = 1, .has_rollout = true, .rollout = 2), 0);
	cr_expect_eq(SET(.if_version = 1, .has_rollout = true, .rollout = 3), -PEN_FLAG_CHANGED);
}

Test(flag, removed_with_a_history)
{
	struct pen_flag_verdict v;

	cr_assert_eq(
		SET(.has_enabled = true, .enabled = true, .has_rollout = true, .rollout = PEN_FLAG_WHOLE), 0);
	cr_expect(on(NULL));
	cr_expect_eq(pen_flag_guard(store, "ONE", "user:x", false, &v, NULL), 0);
	cr_expect_eq(pen_flag_rm(store, "ONE", "me", "enough", NULL), 0);
	cr_expect_eq(pen_flag_rm(store, "ONE", "me", "enough", NULL), -PEN_NOT_FOUND);
	pen_flag_eval(store, "ONE", NULL, true, &v);
	cr_expect(v.on);
	cr_expect_eq(v.error, PEN_FLAG_NOT_FOUND);
	cr_expect_eq(pen_flag_guard(store, "ONE", "user:x", false, &v, NULL), -PEN_FLAG_REFUSED);
	cr_expect_eq(changes(), 2);
	/* Made again, it is another one. */
	cr_assert_eq(SET(.by = "me"), 0);
	cr_expect_eq(changes(), 3);
}
