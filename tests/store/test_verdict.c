/* SPDX-License-Identifier: MIT */
/*
 * What a flag says: the order of its rules, the same for ever (golden values), fair (binomial bounds), and monotone:
 * who is in stays in while a rollout rises.
 */
#include "store/verdict.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ring/base.h"

TestSuite(verdict, .timeout = 120);

static const char *const nobody[1];

static struct pen_flag flag_of(uint32_t rollout)
{
	return (struct pen_flag){ .id = "c",
				  .name = "BATCH_OPERATIONS_V1",
				  .enabled = true,
				  .rollout = rollout,
				  .whitelist = nobody,
				  .blacklist = nobody,
				  .metadata = "",
				  .salt = "",
				  .version = 7 };
}

static struct pen_flag_verdict judge(const struct pen_flag *flag, const char *key)
{
	struct pen_flag_verdict v;
	struct pen_rules *rules;

	cr_assert_eq(pen_rules_make(flag, &rules), 0);
	pen_rules_judge(rules, key, true, &v);
	free(rules);
	return v;
}

#define expect(v, want_on, want_reason)                                       \
	do {                                                                  \
		cr_expect_eq((v).on, want_on);                                \
		cr_expect_eq((v).reason, want_reason, "%d", (int)(v).reason); \
		cr_expect_eq((v).error, PEN_FLAG_NO_ERROR);                   \
		cr_expect_eq((v).version, 7);                                 \
	} while (0)

Test(verdict, the_order_of_the_rules)
{
	const char *white[] = { "ann", "both", "user:carl" }, *black[] = { "both", "dora" };
	struct pen_flag f = flag_of(50000);

	f.whitelist = white;
	f.whitelist_count = 3;
	f.blacklist = black;
	f.blacklist_count = 2;
	expect(judge(&f, "user:dora"), false, PEN_FLAG_TARGETING_MATCH);
	expect(judge(&f, "user:both"), false, PEN_FLAG_TARGETING_MATCH); /* the blacklist comes first */
	expect(judge(&f, "user:ann"), true, PEN_FLAG_TARGETING_MATCH);
	expect(judge(&f, "ann"), true, PEN_FLAG_TARGETING_MATCH);
	expect(judge(&f, "carl"), true, PEN_FLAG_TARGETING_MATCH);
	expect(judge(&f, NULL), false, PEN_FLAG_DEFAULT);
	expect(judge(&f, ""), false, PEN_FLAG_DEFAULT);
	cr_expect_eq(judge(&f, "user:eve").reason, PEN_FLAG_SPLIT);
	cr_expect_eq(judge(&f, "user:annx").reason, PEN_FLAG_SPLIT);
	cr_expect_eq(judge(&f, "user:an").reason, PEN_FLAG_SPLIT);

	f.rollout = 0;
	expect(judge(&f, "user:eve"), false, PEN_FLAG_STATIC);
	expect(judge(&f, NULL), false, PEN_FLAG_STATIC);
	expect(judge(&f, "user:ann"), true, PEN_FLAG_TARGETING_MATCH);
	f.rollout = PEN_FLAG_WHOLE;
	expect(judge(&f, "user:eve"), true, PEN_FLAG_STATIC);
	expect(judge(&f, NULL), true, PEN_FLAG_STATIC);
	expect(judge(&f, "user:dora"), false, PEN_FLAG_TARGETING_MATCH);

	/* The emergency switch wins over everything. */
	f.enabled = false;
	expect(judge(&f, "user:ann"), false, PEN_FLAG_DISABLED);
	expect(judge(&f, "user:dora"), false, PEN_FLAG_DISABLED);
	expect(judge(&f, NULL), false, PEN_FLAG_DISABLED);
}

Test(verdict, what_cannot_be_told_is_the_default)
{
	struct pen_flag f = flag_of(PEN_FLAG_WHOLE);
	struct pen_flag_verdict v;
	char key[PEN_FLAG_KEY_MAX + 2];

	for (int fallback = 0; fallback < 2; fallback++) {
		pen_rules_judge(NULL, "user:ann", fallback, &v);
		cr_expect_eq(v.on, fallback);
		cr_expect_eq(v.reason, PEN_FLAG_ERROR);
		cr_expect_eq(v.error, PEN_FLAG_NOT_FOUND);
		cr_expect_str_eq(v.variant, fallback ? "on" : "off");
	}
	memset(key, 'k', sizeof(key));
	key[sizeof(key) - 1] = 0;
	v = judge(&f, key);
	cr_expect_eq(v.error, PEN_FLAG_INVALID_CONTEXT);
	key[PEN_FLAG_KEY_MAX] = 0;
	expect(judge(&f, key), true, PEN_FLAG_STATIC);
}

/* As another implementation of the rule found them, once. */
Test(verdict, golden_places)
{
	static const struct {
		const char *key;
		uint32_t bucket;
		const char *variant;
	} golden[] = {
		{ "user:ann", 92341, "a" },   { "user:bob", 93542, "c" },
		{ "user:0", 58187, "c" },     { "user:42", 4321, "c" },
		{ "192.0.2.17", 69992, "a" }, { "user:Jörg", 93994, "c" },
		{ "x", 7707, "c" },	      { "user:a-rather-long-name@example.org", 32518, "c" },
	};
	static const struct pen_flag_variant variants[] = { { "a", 1 }, { "b", 1 }, { "c", 2 } };
	struct pen_flag f = flag_of(PEN_FLAG_WHOLE - 1);

	f.variants = variants;
	f.variant_count = 3;
	for (size_t i = 0; i < PEN_COUNT(golden); i++) {
		struct pen_flag_verdict v = judge(&f, golden[i].key);

		cr_expect_eq(v.bucket, golden[i].bucket, "%s: %u", golden[i].key, v.bucket);
		cr_expect_str_eq(v.variant, golden[i].variant, "%s: %s", golden[i].key, v.variant);
	}
}

#define USERS 20000

static void key_of(char ret[32], int i)
{
	(void)snprintf(ret, 32, "user:u%d", i);
}

Test(verdict, raising_a_rollout_takes_nobody_away)
{
	static const uint32_t steps[] = { 1, 3, 100, 5000, 25000, 50000, 75000, 99999, 100000 };

	for (int unleash = 0; unleash < 2; unleash++) {
		static bool in[USERS];

		memset(in, 0, sizeof(in));
		for (size_t s = 0; s < PEN_COUNT(steps); s++) {
			struct pen_flag f = flag_of(steps[s]);
			struct pen_rules *rules;

			f.bucketing = unleash ? PEN_FLAG_UNLEASH : PEN_FLAG_FINE;
			cr_assert_eq(pen_rules_make(&f, &rules), 0);
			for (int i = 0; i < USERS; i++) {
				struct pen_flag_verdict v;
				char key[32];

				key_of(key, i);
				pen_rules_judge(rules, key, false, &v);
				cr_assert(v.on || !in[i], "%s left at %u", key, steps[s]);
				in[i] = v.on;
			}
			free(rules);
		}
	}
}

/* |n - pN| <= 5 sqrt(Np(1-p)): a fair draw fails that less than once in a million. */
static bool within(uint32_t n, uint32_t of, double p)
{
	double d = n - p * of;

	return d * d <= 25 * of * p * (1 - p);
}

static uint32_t count(const struct pen_flag *f, const char *variant)
{
	struct pen_rules *rules;
	uint32_t n = 0;

	cr_assert_eq(pen_rules_make(f, &rules), 0);
	for (int i = 0; i < USERS; i++) {
		struct pen_flag_verdict v;
		char key[32];

		key_of(key, i);
		pen_rules_judge(rules, key, false, &v);
		n += v.on && (!variant || strcmp(v.variant, variant) == 0);
	}
	free(rules);
	return n;
}

Test(verdict, a_rollout_is_as_large_as_it_says)
{
	static const uint32_t rollouts[] = { 100, 1000, 5000, 12345, 50000, 98765 };

	for (size_t i = 0; i < PEN_COUNT(rollouts); i++) {
		struct pen_flag f = flag_of(rollouts[i]);

		cr_expect(within(count(&f, NULL), USERS, rollouts[i] / 100000.0), "%u: %u of %u", rollouts[i],
			  count(&f, NULL), USERS);
	}
}

/* Another flag has other users first, and another salt. */
Test(verdict, flags_are_independent)
{
	struct pen_flag f = flag_of(50000), g = flag_of(50000);
	uint32_t both = 0;

	g.salt = "another";
	for (int i = 0; i < USERS; i++) {
		char key[32];

		key_of(key, i);
		both += judge(&f, key).on && judge(&g, key).on;
	}
	cr_expect(within(both, USERS, 0.25), "%u", both);
}

Test(verdict, variants_are_weighted_and_say_nothing_of_the_rollout)
{
	static const struct pen_flag_variant variants[] = { { "blue", 3 }, { "none", 0 }, { "red", 1 } };
	struct pen_flag f = flag_of(PEN_FLAG_WHOLE);

	f.variants = variants;
	f.variant_count = 3;
	cr_expect(within(count(&f, "blue"), USERS, 0.75));
	cr_expect(within(count(&f, "red"), USERS, 0.25));
	cr_expect_eq(count(&f, "none"), 0);
	/* The same among those that half a rollout lets in: with one seed for both, red would not be among them. */
	f.rollout = 50000;
	cr_expect(within(count(&f, "blue"), USERS, 0.375));
	cr_expect(within(count(&f, "red"), USERS, 0.125));
	cr_expect_str_eq(judge(&f, NULL).variant, "off");
	f.rollout = PEN_FLAG_WHOLE;
	cr_expect_str_eq(judge(&f, NULL).variant, "on"); /* nobody in particular is never drawn */
}

Test(verdict, the_largest_weights)
{
	static const struct pen_flag_variant variants[] = { { "a", INT32_MAX - 1 }, { "b", 1 } };
	struct pen_flag f = flag_of(PEN_FLAG_WHOLE);

	f.variants = variants;
	f.variant_count = 2;
	cr_expect_eq(count(&f, "a"), USERS);
}

Test(verdict, unleash_percents)
{
	struct pen_flag f = flag_of(0);

	f.salt = "gr1";
	f.bucketing = PEN_FLAG_UNLEASH;
	f.rollout = 72999;
	cr_expect_not(judge(&f, "123").on); /* its place is 73 */
	f.rollout = 73000;
	cr_expect(judge(&f, "123").on);
	f.salt = "groupX";
	f.rollout = 24000;
	cr_expect_not(judge(&f, "999").on); /* 25 */
	f.rollout = 25000;
	cr_expect(judge(&f, "999").on);
}

/* Long lists: each name is found, and nothing else. */
Test(verdict, ten_thousand_names)
{
	static char names[PEN_FLAG_LIST_MAX][16];
	static const char *list[PEN_FLAG_LIST_MAX];
	struct pen_flag f = flag_of(0);
	struct pen_flag_verdict v;
	struct pen_rules *rules;

	for (uint32_t i = 0; i < PEN_FLAG_LIST_MAX; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "n%u", i);
		list[i] = names[i];
	}
	f.whitelist = list;
	f.whitelist_count = PEN_FLAG_LIST_MAX;
	cr_assert_eq(pen_rules_make(&f, &rules), 0);
	for (uint32_t i = 0; i < 2 * PEN_FLAG_LIST_MAX; i++) {
		char key[32];

		(void)snprintf(key, sizeof(key), "user:n%u", i);
		pen_rules_judge(rules, key, false, &v);
		cr_assert_eq(v.on, i < PEN_FLAG_LIST_MAX, "%s", key);
	}
	free(rules);
}
