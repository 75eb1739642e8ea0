/* SPDX-License-Identifier: MIT */
#include "store/probe.h"

#include "ring/base.h"
#include "tests/store/scratch.h"

TestSuite(probe, .init = scratch_make, .fini = scratch_remove);

static void put(struct pen_store *store, const char *name, enum pen_key kind, const char *key)
{
	struct pen_dataset *ds;
	struct pen_txn *txn;
	enum pen_put result;

	cr_assert_eq(pen_txn_begin(store, PEN_DURABLE_COMMIT, &txn, NULL, NULL), 0);
	cr_assert_eq(pen_dataset_use(txn, name, kind, &ds, NULL), 0);
	cr_assert_eq(pen_dataset_put(ds, key, strlen(key), "v", 1, false, PEN_DUP_KEEP, &result), 0);
	pen_dataset_set_feeder(ds, 7);
	cr_assert_eq(pen_dataset_save(ds), 0);
	cr_assert_eq(pen_txn_commit(txn, NULL), 0);
}

Test(probe, finds_keys_in_a_store_it_cannot_write)
{
	static const struct {
		const char *key;
		int there;
	} cases[] = { { "b", 1 }, { "a", 0 }, { "m", 1 }, { "ma", 0 }, { "n", 0 }, { "bb", 0 } };
	uint8_t last[PEN_KEY_MAX];
	struct pen_store *store;
	struct pen_probe *probe;

	cr_assert_eq(scratch_open_with("s", true, false, 0, &store), 0);
	put(store, "d", PEN_KEY_POINTER, "b");
	put(store, "d", PEN_KEY_POINTER, "m");
	pen_store_close(store);
	cr_assert_eq(scratch_open_with("s", false, true, 0, &store), 0);
	cr_assert_eq(pen_probe_open(store, "d", PEN_KEY_POINTER, &probe, NULL), 0);
	cr_expect(pen_probe_facts(probe)->exists);
	cr_expect_eq(pen_probe_facts(probe)->entries, 2);
	cr_expect_eq(pen_probe_facts(probe)->feeder, 7);
	cr_expect_gt(pen_probe_facts(probe)->bytes, 0);
	for (int round = 0; round < 3; round++) {
		cr_assert_eq(pen_probe_begin(probe), 0);
		for (size_t i = 0; i < PEN_COUNT(cases); i++) {
			const char *key = cases[i].key;

			cr_expect_eq(pen_probe_has(probe, key, strlen(key)), cases[i].there, "%s", key);
		}
		cr_expect_eq(pen_probe_last(probe, last), 1);
		cr_expect_eq(last[0], 'm');
		pen_probe_end(probe);
	}
	pen_probe_close(probe);
	pen_store_close(store);
}

Test(probe, answers_what_use_would_answer)
{
	static const struct {
		const char *name;
		enum pen_key kind;
	} cases[] = { { "text", PEN_KEY_POINTER },  { "text", PEN_KEY_SEQ },
		      { "text", PEN_KEY_PATH },	    { "number", PEN_KEY_SEQ },
		      { "number", PEN_KEY_OFFSET }, { "number", PEN_KEY_CONTENT },
		      { "fresh", PEN_KEY_SEQ },	    { "", PEN_KEY_SEQ },
		      { "penstock.x", PEN_KEY_SEQ } };
	struct pen_store *store;

	cr_assert_eq(scratch_open_with("s", true, false, 0, &store), 0);
	put(store, "text", PEN_KEY_POINTER, "k");
	put(store, "number", PEN_KEY_SEQ, "12345678");
	for (size_t i = 0; i < PEN_COUNT(cases); i++) {
		struct pen_probe *probe = NULL;
		struct pen_dataset *ds;
		struct pen_txn *txn;
		int use, look = pen_probe_open(store, cases[i].name, cases[i].kind, &probe, NULL);

		cr_assert_eq(pen_txn_begin(store, PEN_DURABLE_COMMIT, &txn, NULL, NULL), 0);
		use = pen_dataset_use(txn, cases[i].name, cases[i].kind, &ds, NULL);
		pen_txn_abort(txn);
		cr_expect_eq(look, use, "%s as %d: %d, but use says %d", cases[i].name, cases[i].kind, look,
			     use);
		if (!look)
			cr_expect_eq(pen_probe_facts(probe)->exists, strcmp(cases[i].name, "fresh") != 0);
		pen_probe_close(probe);
	}
	pen_store_close(store);
}

Test(probe, sees_what_others_write_between_two_snapshots)
{
	struct pen_store *store;
	struct pen_probe *probe;

	cr_assert_eq(scratch_open_with("s", true, false, 0, &store), 0);
	put(store, "d", PEN_KEY_POINTER, "a");
	cr_assert_eq(pen_probe_open(store, "d", PEN_KEY_POINTER, &probe, NULL), 0);
	cr_assert_eq(pen_probe_begin(probe), 0);
	put(store, "d", PEN_KEY_POINTER, "z");
	cr_expect_eq(pen_probe_has(probe, "z", 1), 0);
	pen_probe_end(probe);
	cr_assert_eq(pen_probe_begin(probe), 0);
	cr_expect_eq(pen_probe_has(probe, "z", 1), 1);
	pen_probe_end(probe);
	cr_assert_eq(pen_dataset_drop(store, "d", NULL), 0);
	cr_expect_eq(pen_probe_begin(probe), -PEN_NO_DATASET);
	pen_probe_close(probe);
	pen_store_close(store);
}
