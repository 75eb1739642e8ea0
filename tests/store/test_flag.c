/* SPDX-License-Identifier: MIT */
/*
 * Rows of flags: what is put is got back, whole and to the last name; a row that is not right is noticed.
 */
#include "store/flag.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "store/change.h"
#include "store/flagset.h"
#include "store/ramp.h"
#include "store/turn.h"
#include "tests/store/plant.h"

static struct shop shop;

static void set_up(void)
{
	shop_make(&shop);
}

static void tear_down(void)
{
	shop_remove(&shop);
}

TestSuite(flag, .init = set_up, .fini = tear_down, .timeout = 120);

static const char *const white[] = { "ann", "bob", "user:carl" }, *const black[] = { "dora" };
static const struct pen_flag_variant variants[] = { { "blue", 3 }, { "red", 1 } };

static struct pen_flag sample(const char *name)
{
	return (struct pen_flag){ .id = "cabc",
				  .name = name,
				  .enabled = true,
				  .rollout = 12345,
				  .whitelist = white,
				  .whitelist_count = 3,
				  .blacklist = black,
				  .blacklist_count = 1,
				  .metadata = "{\"a\":1}",
				  .created_ms = 1,
				  .updated_ms = 2,
				  .salt = "s",
				  .bucketing = PEN_FLAG_UNLEASH,
				  .variants = variants,
				  .variant_count = 2,
				  .version = 9 };
}

static struct pen_txn *begin(void)
{
	struct pen_txn *txn;

	cr_assert_eq(pen_txn_begin(shop.store, PEN_DURABLE_RELAXED, &txn, NULL, NULL), 0);
	return txn;
}

static void commit(struct pen_txn *txn)
{
	cr_assert_eq(pen_txn_commit(txn, NULL), 0);
}

static void put(const struct pen_flag *flag)
{
	struct pen_txn *txn = begin();
	struct pen_fmt_flag_total total;

	cr_assert_eq(pen_flag_put(txn, flag), 0);
	cr_assert_eq(pen_flag_total_load(txn, &total), 0);
	total.flags++;
	total.last_change++;
	cr_assert_eq(pen_flag_total_save(txn, &total), 0);
	commit(txn);
}

Test(flag, names)
{
	char longest[PEN_FLAG_NAME_MAX + 2];

	memset(longest, 'a', sizeof(longest));
	longest[PEN_FLAG_NAME_MAX] = 0;
	cr_expect_eq(pen_flag_name_len("A-z_0.9"), 7);
	cr_expect_eq(pen_flag_name_len(longest), PEN_FLAG_NAME_MAX);
	longest[PEN_FLAG_NAME_MAX] = 'a';
	longest[PEN_FLAG_NAME_MAX + 1] = 0;
	cr_expect_eq(pen_flag_name_len(longest), 0);
	cr_expect_eq(pen_flag_name_len(""), 0);
	cr_expect_eq(pen_flag_name_len("a b"), 0);
	cr_expect_eq(pen_flag_name_len("ä"), 0);
	cr_expect_eq(pen_flag_name_len("a:b"), 0);
}

Test(flag, what_is_put_is_got)
{
	struct pen_flag f = sample("ONE"), *got;

	cr_expect_eq(pen_flag_get(shop.store, "ONE", &got), -PEN_NOT_FOUND);
	put(&f);
	cr_assert_eq(pen_flag_get(shop.store, "ONE", &got), 0);
	cr_expect_str_eq(got->name, "ONE");
	cr_expect_str_eq(got->id, "cabc");
	cr_expect_str_eq(got->salt, "s");
	cr_expect_str_eq(got->metadata, f.metadata);
	cr_expect(got->enabled);
	cr_expect_eq(got->rollout, 12345);
	cr_expect_eq(got->version, 9);
	cr_expect_eq(got->created_ms, 1);
	cr_expect_eq(got->updated_ms, 2);
	cr_expect_eq(got->bucketing, PEN_FLAG_UNLEASH);
	cr_assert_eq(got->whitelist_count, 3);
	cr_expect_str_eq(got->whitelist[2], "user:carl");
	cr_assert_eq(got->blacklist_count, 1);
	cr_expect_str_eq(got->blacklist[0], "dora");
	cr_assert_eq(got->variant_count, 2);
	cr_expect_str_eq(got->variants[1].name, "red");
	cr_expect_eq(got->variants[0].weight, 3);
	free(got);
	cr_expect_eq(pen_flag_get(shop.store, "ON", &got), -PEN_NOT_FOUND);
	cr_expect_eq(pen_flag_get(shop.store, "ONE2", &got), -PEN_NOT_FOUND);
}

Test(flag, listed_by_name)
{
	static const char *const names[] = { "a", "a.b", "ab", "b" };
	char after[PEN_FLAG_NAME_MAX + 1] = "";
	struct pen_flag *got;
	int n = 0;

	for (int i = 3; i >= 0; i--) {
		struct pen_flag f = sample(names[i]);

		put(&f);
	}
	while (pen_flag_list(shop.store, n ? after : NULL, &got) == 1) {
		cr_assert_lt(n, 4);
		cr_expect_str_eq(got->name, names[n++]);
		(void)snprintf(after, sizeof(after), "%s", got->name);
		free(got);
	}
	cr_expect_eq(n, 4);
}

/* Each byte that is another one is noticed. */
Test(flag, a_damaged_row_is_seen)
{
	struct pen_flag f = sample("ONE"), *got;
	struct raw raw;
	uint8_t key[] = "\2ONE", *value;
	size_t len;

	put(&f);
	shop_close(&shop);
	raw_begin(&shop, &raw);
	value = raw_get(&raw, "penstock.flags", key, 4, &len);
	cr_assert(value);
	for (size_t i = 0; i < len; i++) {
		value[i] ^= 0x10;
		cr_expect_neq(pen_flag_decode(value, len, "ONE", 3, &got), 0, "byte %zu", i);
		value[i] ^= 0x10;
	}
	for (size_t i = 0; i < len; i++)
		cr_expect_neq(pen_flag_decode(value, i, "ONE", 3, &got), 0, "%zu bytes", i);
	cr_expect_neq(pen_flag_decode(value, len, "TWO", 3, &got), 0);
	/* In the store: the flag cannot be told, and the program's default holds. */
	value[len - 1] ^= 1;
	raw_put(&raw, "penstock.flags", key, 4, value, len);
	raw_commit(&raw);
	free(value);
	shop_open(&shop);
	for (int fallback = 0; fallback < 2; fallback++) {
		struct pen_flag_verdict v;

		pen_flag_eval(shop.store, "ONE", "user:ann", fallback, &v);
		cr_expect_eq(v.on, fallback);
		cr_expect_eq(v.error, PEN_FLAG_PARSE_ERROR);
	}
}

Test(flag, a_store_of_before_gets_the_database_when_it_is_written)
{
	struct pen_flag_verdict v;
	struct pen_flag *got;
	struct pen_store_options look = { .size = sizeof(look), .read_only = true };
	MDB_dbi dbi;
	struct raw raw;

	shop_close(&shop);
	raw_begin(&shop, &raw);
	dbi = raw_db(&raw, "penstock.flags", 0);
	cr_assert_eq(mdb_drop(raw.txn, dbi, 1), 0);
	raw_commit(&raw);
	cr_assert_eq(pen_store_open(shop.dir, &look, &shop.store, NULL), 0);
	pen_flag_eval(shop.store, "ONE", NULL, true, &v);
	cr_expect_eq(v.error, PEN_FLAG_NOT_FOUND);
	cr_expect_eq(pen_flag_get(shop.store, "ONE", &got), -PEN_NOT_FOUND);
	cr_expect_eq(pen_flag_list(shop.store, NULL, &got), 0);
	shop_close(&shop);
	cr_expect_eq(pen_verify(shop.dir, NULL, NULL, NULL), 0);
	shop_open(&shop);
	{
		struct pen_flag f = sample("ONE");

		put(&f);
	}
	cr_expect_eq(pen_flag_get(shop.store, "ONE", &got), 0);
	free(got);
}

/* ---- what a process believes ------------------------------------------------------------------ */

static bool is_on(const char *name)
{
	struct pen_flag_verdict v;

	pen_flag_eval(shop.store, name, "user:eve", false, &v);
	return v.on;
}

Test(flag, a_change_is_believed_when_it_is_told)
{
	struct pen_flag f = sample("ONE");

	f.rollout = 0;
	put(&f);
	cr_assert_eq(pen_flagset_sync(shop.store), 0);
	cr_expect_not(is_on("ONE"));
	f.rollout = PEN_FLAG_WHOLE;
	put(&f);
	pen_turn_flags_changed(shop.store);
	cr_expect(is_on("ONE"));
}

/* Whoever changed it died before it said so. */
Test(flag, a_change_that_nobody_told_is_found)
{
	struct pen_flag f = sample("ONE");
	const struct timespec a_while = { .tv_nsec = 300000000 };

	f.rollout = 0;
	put(&f);
	cr_assert_eq(pen_flagset_sync(shop.store), 0);
	f.rollout = PEN_FLAG_WHOLE;
	put(&f);
	nanosleep(&a_while, NULL);
	cr_expect(is_on("ONE"));
}

Test(flag, many_flags_are_told_apart)
{
	char name[32];

	{
		struct pen_txn *txn = begin();
		struct pen_fmt_flag_total total = { .flags = 3000, .last_change = 1 };

		for (int i = 0; i < 3000; i++) {
			struct pen_flag f = sample(name);

			(void)snprintf(name, sizeof(name), "FLAG_%d", i);
			f.rollout = i % 2 ? PEN_FLAG_WHOLE : 0;
			cr_assert_eq(pen_flag_put(txn, &f), 0);
		}
		cr_assert_eq(pen_flag_total_save(txn, &total), 0);
		commit(txn);
	}
	for (int i = 0; i < 3000; i++) {
		(void)snprintf(name, sizeof(name), "FLAG_%d", i);
		cr_assert_eq(is_on(name), i % 2, "%s", name);
	}
	cr_expect_not(is_on("FLAG_3001"));
}

/* ---- history ---------------------------------------------------------------------------------- */

Test(flag, history_is_bounded_and_newest_first)
{
	struct pen_flag before = sample("ONE"), after = sample("ONE"), other = sample("ONE.B");
	struct pen_flag_change *c;
	uint64_t at = UINT64_MAX;
	struct pen_txn *txn = begin();
	unsigned n = 0;

	cr_assert_eq(pen_change_add(txn, PEN_FLAG_DID_SET, NULL, &other, "x", NULL), 0);
	for (unsigned i = 0; i < PEN_CHANGES_MAX + 5; i++) {
		before.rollout = i;
		after.rollout = i + 1;
		cr_assert_eq(pen_change_add(txn, PEN_FLAG_DID_SET, &before, &after, "me", "why \"so\""), 0);
	}
	commit(txn);
	while (pen_flag_history(shop.store, "ONE", at, &c) == 1) {
		char want[80];
		unsigned i = PEN_CHANGES_MAX + 4 - n++;

		cr_assert_lt(c->seq, at);
		at = c->seq;
		(void)snprintf(want, sizeof(want), "\"after\":%u.%03u", (i + 1) / 1000, (i + 1) % 1000);
		if ((i + 1) % 10)
			cr_expect(strstr(c->changes, want), "%s in %s", want, c->changes);
		cr_expect_str_eq(c->by, "me");
		cr_expect_str_eq(c->reason, "why \"so\"");
		free(c);
	}
	cr_expect_eq(n, PEN_CHANGES_MAX);
	cr_assert_eq(pen_flag_history(shop.store, "ONE.B", UINT64_MAX, &c), 1);
	cr_expect_eq(c->seq, 1);
	free(c);
	txn = begin();
	cr_expect_eq(pen_change_expire(txn, 1, UINT32_MAX), 0);
	cr_expect_eq(pen_change_expire(txn, UINT64_MAX, 10), 10);
	cr_expect_eq(pen_change_expire(txn, UINT64_MAX, UINT32_MAX), (int)PEN_CHANGES_MAX - 9);
	commit(txn);
	cr_expect_eq(pen_flag_history(shop.store, "ONE", UINT64_MAX, &c), 0);
}

Test(flag, history_tells_names_that_came_and_went)
{
	static const char *const now[] = { "bob", "carl", "zoe" };
	struct pen_flag before = sample("ONE"), after = sample("ONE");
	struct pen_flag_change *c;
	struct pen_txn *txn = begin();

	after.whitelist = now;
	after.metadata = "";
	after.enabled = false;
	cr_assert_eq(pen_change_add(txn, PEN_FLAG_DID_SET, &before, &after, NULL, NULL), 0);
	commit(txn);
	cr_assert_eq(pen_flag_history(shop.store, "ONE", UINT64_MAX, &c), 1);
	cr_expect_str_eq(c->changes, "{\"enabled\":{\"before\":true,\"after\":false},"
				     "\"whitelist\":{\"before\":3,\"after\":3,\"added\":[\"carl\",\"zoe\"],"
				     "\"removed\":[\"ann\",\"user:carl\"]},"
				     "\"metadata\":{\"before\":{\"a\":1},\"after\":null}}");
	free(c);
}

/* ---- the check -------------------------------------------------------------------------------- */

struct found {
	int invariant;
	char text[256];
};

static void note(void *arg, int invariant, const char *text)
{
	struct found *f = arg;

	f->invariant = invariant;
	(void)snprintf(f->text, sizeof(f->text), "%s", text);
}

static struct found verified(void)
{
	struct found f = { .invariant = 0 };

	shop_close(&shop);
	(void)pen_verify(shop.dir, note, &f, NULL);
	return f;
}

Test(flag, a_count_that_is_off_is_found)
{
	struct pen_flag f = sample("ONE");
	struct pen_txn *txn = begin();

	cr_assert_eq(pen_flag_put(txn, &f), 0);
	commit(txn);
	cr_expect_eq(verified().invariant, PEN_INV_FLAGS);
}

Test(flag, a_ramp_without_its_flag_is_found)
{
	struct pen_ramp r = {
		.size = sizeof(r), .steps = { 5000 }, .step_count = 1, .state = PEN_RAMP_RUNNING
	};
	struct pen_ramp got;
	struct pen_txn *txn = begin();

	cr_assert_eq(pen_ramp_put(txn, "ONE", &r), 0);
	commit(txn);
	cr_assert_eq(pen_ramp_get(shop.store, "ONE", &got), 0);
	cr_expect_eq(got.steps[0], 5000);
	cr_expect_eq(verified().invariant, PEN_INV_FLAGS);
}

Test(flag, a_damaged_flag_is_found)
{
	struct pen_flag f = sample("ONE");
	struct raw raw;
	uint8_t *value;
	size_t len;

	put(&f);
	shop_close(&shop);
	raw_begin(&shop, &raw);
	value = raw_get(&raw, "penstock.flags", "\2ONE", 4, &len);
	value[len / 2] ^= 1;
	raw_put(&raw, "penstock.flags", "\2ONE", 4, value, len);
	raw_commit(&raw);
	free(value);
	shop_open(&shop);
	cr_expect_eq(verified().invariant, PEN_INV_VALUES);
}

Test(flag, a_row_of_an_unknown_kind_is_found)
{
	struct raw raw;

	shop_close(&shop);
	raw_begin(&shop, &raw);
	raw_put(&raw, "penstock.flags", "\77x", 2, "v", 1);
	raw_commit(&raw);
	shop_open(&shop);
	cr_expect_eq(verified().invariant, PEN_INV_FLAGS);
}
