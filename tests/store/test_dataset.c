/* SPDX-License-Identifier: MIT */
#include "store/dataset.h"

#include <errno.h>

#include "ring/base.h"
#include "tests/store/scratch.h"

/* One timeout for all suites of a program: Criterion leaks when they differ. */
TestSuite(dataset, .init = scratch_make, .fini = scratch_remove, .timeout = 600);

static struct pen_sum offered[PEN_BUCKETS];

static void offer(const void *key, size_t key_len, const void *value, size_t value_len)
{
	pen_sum_add(&offered[pen_hash_bucket(key, key_len)], pen_hash_record(key, key_len, value, value_len));
}

static struct pen_dataset *use(struct pen_txn *txn, const char *name)
{
	struct pen_dataset *ds = NULL;
	struct pen_failure why = { 0 };

	cr_assert_eq(pen_dataset_use(txn, name, PEN_KEY_GIVEN, &ds, &why), 0, "%s", why.text);
	return ds;
}

static void finish(struct pen_txn *txn, struct pen_dataset *ds)
{
	struct pen_failure why = { 0 };

	pen_dataset_offer(ds, offered);
	memset(offered, 0, sizeof(offered));
	cr_assert_eq(pen_dataset_save(ds), 0);
	cr_assert_eq(pen_txn_commit(txn, &why), 0, "%s", why.text);
}

/* Recomputes what is kept about a dataset: true when all of it agrees. */
static bool agrees(struct pen_store *store, const char *name)
{
	struct pen_sum sums[PEN_BUCKETS] = { 0 };
	struct pen_dataset_info info;
	struct pen_fmt_dataset row;
	struct pen_cursor *cur;
	MDB_val k, v;
	uint64_t n = 0;
	uint32_t b;
	bool good = true;
	int rc;

	cr_assert_eq(pen_cursor_make(store, PEN_CURSOR_SCAN, name, 0, &cur), 0);
	while (!(rc = mdb_cursor_get(cur->mdb, &k, &v, MDB_NEXT))) {
		n++;
		pen_sum_add(&sums[pen_hash_bucket(k.mv_data, k.mv_size)],
			    pen_hash_record(k.mv_data, k.mv_size, v.mv_data, v.mv_size));
	}
	cr_assert_eq(rc, MDB_NOTFOUND);
	cr_assert_eq(pen_dataset_row(store, cur->txn, name, &row), 0);
	for (b = 0; b < PEN_BUCKETS; b++) {
		struct pen_fmt_digest d = { .lo = 0 };
		unsigned char key[9];

		pen_put_be64(key, row.id);
		key[8] = (unsigned char)b;
		k = (MDB_val){ .mv_size = sizeof(key), .mv_data = key };
		rc = mdb_get(cur->txn, store->db[PEN_DB_DIGESTS], &k, &v);
		if (!rc) {
			cr_assert_eq(pen_unseal(v.mv_data, v.mv_size, sizeof(d), PEN_KIND_DIGEST), 0);
			memcpy(&d, v.mv_data, sizeof(d));
		}
		good = good && d.lo == sums[b].lo && d.hi == sums[b].hi;
	}
	pen_cursor_close(cur);
	cr_assert_eq(pen_dataset_get(store, name, &info), 0);
	cr_expect_eq(info.entries, n);
	cr_expect_not(info.foreign);
	return good && info.entries == n;
}

Test(dataset, names_are_checked)
{
	static const struct {
		const char *name;
		bool good;
	} cases[] = {
		{ "a", true },
		{ "", false },
		{ "penstock.", false },
		{ "penstock.meta", false },
		{ "penstock", true },
		{ "Penstock.x", true },
		{ "a\nb", false },
		{ "a\x7f", false },
		{ "\xc3\xa9t\xc3\xa9", true },
		{ "\xc3", false },
		{ "\xc0\xaf", false },
		{ "\xed\xa0\x80", false },
		{ "\xf4\x90\x80\x80", false },
		{ "\xf0\x9f\x92\xa7", true },
		{ "\xc2\x85", false },
		{ "a b/c..d", true },
		{ "\xff", false },
		{ "\xe2\x82", false },
	};
	char name[PEN_DATASET_NAME_MAX + 2];
	size_t i;

	for (i = 0; i < PEN_COUNT(cases); i++)
		cr_expect_eq(pen_dataset_name_check(cases[i].name), cases[i].good ? 0 : -PEN_DATASET_NAME,
			     "%s", cases[i].name);
	memset(name, 'n', sizeof(name));
	name[PEN_DATASET_NAME_MAX + 1] = 0;
	cr_expect_eq(pen_dataset_name_check(name), -PEN_DATASET_NAME);
	name[PEN_DATASET_NAME_MAX] = 0;
	cr_expect_eq(pen_dataset_name_check(name), 0);
}

Test(dataset, key_kinds_mix_unless_one_is_a_number)
{
	struct pen_store *store = scratch_store("s");
	static const enum pen_key kinds[] = { PEN_KEY_SEQ,     PEN_KEY_OFFSET,	PEN_KEY_PATH,
					      PEN_KEY_CONTENT, PEN_KEY_POINTER, PEN_KEY_GIVEN };
	size_t a, b;

	for (a = 0; a < PEN_COUNT(kinds); a++) {
		for (b = 0; b < PEN_COUNT(kinds); b++) {
			bool number = kinds[a] <= PEN_KEY_OFFSET || kinds[b] <= PEN_KEY_OFFSET;
			struct pen_txn *txn = scratch_begin(store);
			struct pen_dataset *ds, *again;
			char name[16];

			(void)snprintf(name, sizeof(name), "d%zu%zu", a, b);
			cr_assert_eq(pen_dataset_use(txn, name, kinds[a], &ds, NULL), 0);
			cr_assert_eq(pen_dataset_save(ds), 0);
			cr_assert_eq(pen_txn_commit(txn, NULL), 0);
			txn = scratch_begin(store);
			cr_expect_eq(pen_dataset_use(txn, name, kinds[b], &again, NULL),
				     number && a != b ? -PEN_KEY_KIND : 0, "%zu %zu", a, b);
			pen_txn_abort(txn);
		}
	}
	pen_store_close(store);
}

Test(dataset, policies_decide_what_a_second_record_does)
{
	static const struct {
		enum pen_duplicate policy;
		enum pen_put put;
		const char *value;
	} cases[] = {
		{ PEN_DUP_REPLACE, PEN_PUT_REPLACED, "second, longer" },
		{ PEN_DUP_KEEP, PEN_PUT_KEPT, "first" },
		{ PEN_DUP_REJECT, PEN_PUT_KEPT, "first" },
	};
	struct pen_store *store = scratch_store("s");
	size_t i;

	for (i = 0; i < PEN_COUNT(cases); i++) {
		struct pen_txn *txn = scratch_begin(store);
		char name[8];
		struct pen_dataset *ds;
		enum pen_put put = PEN_PUT_NEW;
		MDB_val k = { 1, "k" }, v;

		(void)snprintf(name, sizeof(name), "d%zu", i);
		ds = use(txn, name);
		cr_assert_eq(pen_dataset_put(ds, "k", 1, "first", 5, false, cases[i].policy, &put), 0);
		cr_expect_eq(put, PEN_PUT_NEW);
		offer("k", 1, "first", 5);
		cr_assert_eq(pen_dataset_put(ds, "k", 1, "second, longer", 14, false, cases[i].policy, &put),
			     0);
		cr_expect_eq(put, cases[i].put);
		offer("k", 1, "second, longer", 14);
		cr_expect_eq(pen_dataset_entries(ds), 1);
		cr_assert_eq(mdb_get(txn->mdb,
				     pen_handle_find(store, name)
					     ? pen_handle_find(store, name)->dbi
					     : store->db[PEN_DB_COUNT - 1] + 1 + (MDB_dbi)i,
				     &k, &v),
			     0);
		cr_expect_eq(v.mv_size, strlen(cases[i].value));
		cr_expect_eq(memcmp(v.mv_data, cases[i].value, v.mv_size), 0);
		finish(txn, ds);
		cr_expect(agrees(store, name));
	}
	pen_store_close(store);
}

Test(dataset, edges_of_keys_and_values)
{
	static const size_t values[] = { 0,    1,    2,	   1500, 2000,	 2029,	 2030,
					 2031, 4079, 4080, 4081, 100000, 1 << 20 };
	struct pen_store *store = scratch_store("s");
	static char key[PEN_KEY_MAX + 1], value[1 << 20];
	enum pen_put put = PEN_PUT_KEPT;
	size_t i, round;

	for (round = 0; round < 2; round++) {
		struct pen_txn *txn = scratch_begin(store);
		struct pen_dataset *ds = use(txn, "d");

		memset(key, 'k', sizeof(key));
		for (i = 0; i < PEN_COUNT(values); i++) {
			size_t key_len = i % 2 ? PEN_KEY_MAX : 1;
			/* Backwards the second time: large values become small ones and small ones large. */
			size_t len = values[round ? PEN_COUNT(values) - 1 - i : i];

			key[0] = (char)('a' + i);
			memset(value, (int)('a' + i), len);
			cr_assert_eq(pen_dataset_put(ds, key, key_len, value, len, false, PEN_DUP_REPLACE,
						     &put),
				     0);
			cr_expect_eq(put, round ? PEN_PUT_REPLACED : PEN_PUT_NEW);
			offer(key, key_len, value, len);
		}
		cr_expect_eq(pen_dataset_put(ds, "", 0, "v", 1, false, PEN_DUP_REPLACE, &put), -EINVAL);
		cr_expect_eq(pen_dataset_put(ds, key, PEN_KEY_MAX + 1, "v", 1, false, PEN_DUP_REPLACE, &put),
			     -EINVAL);
		finish(txn, ds);
		cr_expect(agrees(store, "d"));
	}
	pen_store_close(store);
}

Test(dataset, append_takes_rising_keys_only)
{
	struct pen_store *store = scratch_store("s");
	struct pen_txn *txn = scratch_begin(store);
	struct pen_dataset *ds = use(txn, "d");
	enum pen_put put;
	unsigned char key[8];
	bool above = false;
	uint64_t i;

	cr_assert_eq(pen_dataset_above(ds, "a", 1, &above), 0);
	cr_expect(above, "an empty one");
	for (i = 1; i < 5000; i++) {
		pen_put_be64(key, i);
		cr_assert_eq(pen_dataset_put(ds, key, 8, "value", 5, true, PEN_DUP_REJECT, &put), 0);
		cr_expect_eq(put, PEN_PUT_NEW);
		offer(key, 8, "value", 5);
	}
	cr_expect_eq(pen_dataset_put(ds, key, 8, "value", 5, true, PEN_DUP_REJECT, &put), -EINVAL);
	cr_assert_eq(pen_dataset_above(ds, key, 8, &above), 0);
	cr_expect_not(above, "the last key itself");
	cr_assert_eq(pen_dataset_above(ds, key, 7, &above), 0);
	cr_expect_not(above, "its prefix");
	pen_put_be64(key, i);
	cr_assert_eq(pen_dataset_above(ds, key, 8, &above), 0);
	cr_expect(above);
	cr_expect_gt(pen_dataset_leaves(ds), 10);
	pen_dataset_set_next_seq(ds, i);
	pen_dataset_set_feeder(ds, 77);
	finish(txn, ds);
	cr_expect(agrees(store, "d"));
	txn = scratch_begin(store);
	ds = use(txn, "d");
	cr_expect_eq(pen_dataset_next_seq(ds), 5000);
	cr_expect_eq(pen_dataset_feeder(ds), 77);
	cr_expect_eq(pen_dataset_entries(ds), 4999);
	pen_txn_abort(txn);
	pen_store_close(store);
}

static uint64_t random_state;
static uint64_t random_next(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	return random_state ^= random_state << 17;
}

Test(dataset, random_operations_keep_counts_and_digests_exact)
{
	struct pen_store *store = scratch_store("s");
	static char value[9000];
	enum pen_put put = PEN_PUT_NEW;
	int round, i;

	random_state = 0x9e3779b97f4a7c15;
	for (round = 0; round < 40; round++) {
		struct pen_txn *txn = scratch_begin(store);
		struct pen_dataset *ds = use(txn, "d");

		for (i = 0; i < 200; i++) {
			uint64_t r = random_next();
			char key[24];
			int key_len = snprintf(key, sizeof(key), "k%llu", (unsigned long long)(r % 700));
			size_t len = r >> 20 & 15 ? r >> 24 & 255 : r >> 24 & 8191;

			memset(value, (int)(r >> 40 & 255), len);
			cr_assert_eq(pen_dataset_put(ds, key, (size_t)key_len, value, len, false,
						     (enum pen_duplicate)(r >> 50) % 3, &put),
				     0);
			offer(key, (size_t)key_len, value, len);
		}
		if (round % 5 == 3) {
			memset(offered, 0, sizeof(offered));
			pen_txn_abort(txn);
		} else {
			finish(txn, ds);
		}
		cr_assert(round == 0 || agrees(store, "d"), "round %d", round);
	}
	/* The control: a sum that was not offered is seen. */
	struct pen_txn *txn = scratch_begin(store);
	struct pen_dataset *ds = use(txn, "d");

	cr_assert_eq(pen_dataset_put(ds, "new", 3, "v", 1, false, PEN_DUP_KEEP, &put), 0);
	finish(txn, ds);
	cr_expect_not(agrees(store, "d"));
	pen_store_close(store);
}

/* ---- dirty pages ----------------------------------------------------------------------------- */

/* The head of struct MDB_txn of LMDB 0.9.24. */
struct mirror {
	void *parent, *child;
	size_t next_page, id;
	void *env, *free_pages, *loose;
	int loose_count;
	void *spilled;
	struct {
		size_t count_or_page;
		void *page;
	} * dirty;
};

/* Pages that LMDB itself has in its dirty list. */
static uint64_t truly_dirty(struct pen_txn *txn, uint32_t page_size)
{
	struct mirror *m = (struct mirror *)txn->mdb;
	uint64_t pages = 0;
	size_t i;

	(void)page_size;
	for (i = 1; i <= m->dirty[0].count_or_page; i++) {
		const unsigned char *page = m->dirty[i].page;
		uint16_t flags;
		uint32_t n;

		memcpy(&flags, page + 10, 2);
		memcpy(&n, page + 12, 4);
		pages += flags & 4 ? n : 1;
	}
	return pages;
}

struct load {
	const char *what;
	bool append, random;
	size_t value;
	uint64_t records, space; /* keys are taken from 0 .. space */
	double most;		 /* times the truth the estimate may be */
};

static void load_run(struct pen_store *store, const char *name, const struct load *load, uint64_t base)
{
	struct pen_txn *txn = scratch_begin(store);
	struct pen_dataset *ds = use(txn, name);
	static char value[70000];
	enum pen_put put;
	uint64_t i, real = 0, said = 0;

	for (i = 0; i < load->records; i++) {
		unsigned char key[8];

		pen_put_be64(key, load->random ? random_next() % load->space
					       : base + i * (load->append ? 1 : load->space / load->records));
		cr_assert_eq(pen_dataset_put(ds, key, 8, value, load->value, load->append, PEN_DUP_REPLACE,
					     &put),
			     0);
		offer(key, 8, value, load->value);
		if (i % 97 && i != load->records - 1)
			continue;
		real = truly_dirty(txn, store->page_size);
		said = pen_txn_dirty(txn);
		cr_assert_geq(said, real, "%s: %lu said, %lu there, after %lu", load->what, said, real, i);
	}
	cr_expect_leq((double)said, (double)real * load->most + 40, "%s: %lu said, %lu there", load->what,
		      said, real);
	finish(txn, ds);
}

Test(dataset, dirty_estimate_is_never_below_the_truth)
{
	static const struct load loads[] = {
		{ "append", true, false, 100, 20000, 20000, 1.1 },
		{ "append, large values", true, false, 9000, 2000, 2000, 1.2 },
		{ "random into nothing", false, true, 100, 5000, 1u << 30, 2 },
		{ "random, again", false, true, 100, 5000, 1u << 30, 2 },
		{ "random, empty values", false, true, 0, 5000, 1u << 30, 2 },
		{ "in order, between others", false, false, 50, 5000, 1u << 30, 2.5 },
		{ "replacing all", false, false, 50, 5000, 1u << 30, 2.5 },
		{ "replacing by longer", false, false, 500, 5000, 1u << 30, 2.5 },
		{ "replacing by overflow pages", false, false, 5000, 2000, 1u << 30, 2 },
		{ "few", false, true, 10, 3, 1u << 30, 3 },
	};
	struct pen_store *store = scratch_store("s");
	size_t i;
	int a, b, c;

	(void)mdb_version(&a, &b, &c);
	if (a != 0 || b != 9 || c != 24)
		cr_skip_test("knows the transactions of LMDB 0.9.24 only");
	random_state = 42;
	for (i = 0; i < PEN_COUNT(loads); i++)
		load_run(store, loads[i].append ? loads[i].what : "shared", &loads[i], 0);
	cr_expect(agrees(store, "shared"));
	pen_store_close(store);
}

/* ---- foreign databases, many datasets, drop --------------------------------------------------- */

static void foreign_make(const char *name, unsigned flags, const char *key)
{
	MDB_val k = { strlen(key), (void *)(uintptr_t)key }, v = { 5, "value" };
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;

	cr_assert_eq(mdb_env_create(&env), 0);
	cr_assert_eq(mdb_env_set_maxdbs(env, 20), 0);
	cr_assert_eq(mdb_env_set_mapsize(env, 1ull << 30), 0);
	cr_assert_eq(mdb_env_open(env, scratch_path("s"), 0, 0600), 0);
	cr_assert_eq(mdb_txn_begin(env, NULL, 0, &txn), 0);
	cr_assert_eq(mdb_dbi_open(txn, flags == UINT32_MAX ? NULL : name,
				  flags == UINT32_MAX ? 0 : MDB_CREATE | flags, &dbi),
		     0);
	if (flags == UINT32_MAX) /* a plain value in the main database */
		k = (MDB_val){ strlen(name), (void *)(uintptr_t)name };
	if (k.mv_size)
		cr_assert_eq(mdb_put(txn, dbi, &k, &v, 0), 0);
	cr_assert_eq(mdb_txn_commit(txn), 0);
	mdb_env_close(env);
}

Test(dataset, foreign_databases_are_read_taken_over_when_empty_and_else_left)
{
	static const struct {
		const char *name, *key;
		unsigned flags;
		int code;
	} cases[] = {
		{ "empty", "", 0, 0 },
		{ "full", "k", 0, -PEN_KEY_KIND },
		{ "dups", "k", MDB_DUPSORT, -PEN_KEY_KIND },
		{ "dups-empty", "", MDB_DUPSORT, -PEN_KEY_KIND },
		{ "plain", "", UINT32_MAX, -PEN_KEY_KIND },
	};
	struct pen_store *store;
	struct pen_dataset_info info;
	struct pen_cursor *cur;
	int found = 0, rc;
	size_t i;

	pen_store_close(scratch_store("s"));
	for (i = 0; i < PEN_COUNT(cases); i++)
		foreign_make(cases[i].name, cases[i].flags, cases[i].key);
	store = scratch_store("s");
	cr_assert_eq(pen_datasets_open(store, &cur), 0);
	while ((rc = pen_datasets_next(cur, &info)) == 1) {
		cr_expect(info.foreign);
		cr_expect_eq(info.entries, strcmp(info.name, "full") && strcmp(info.name, "dups") ? 0 : 1);
		found++;
	}
	cr_expect_eq(rc, 0);
	cr_expect_eq(found, 4);
	pen_cursor_close(cur);
	for (i = 0; i < PEN_COUNT(cases); i++)
		cr_expect_eq(scratch_put(store, cases[i].name, "a", "b"), cases[i].code, "%s", cases[i].name);
	cr_assert_eq(pen_dataset_get(store, "empty", &info), 0);
	cr_expect_not(info.foreign);
	cr_expect_eq(info.entries, 1);
	cr_assert_eq(pen_dataset_get(store, "full", &info), 0);
	cr_expect(info.foreign);
	cr_expect_eq(pen_dataset_get(store, "plain", &info), -PEN_NO_DATASET);
	cr_expect_eq(pen_dataset_drop(store, "full", NULL), -PEN_NO_DATASET);
	cr_expect(agrees(store, "empty"));
	pen_store_close(store);
}

Test(dataset, as_many_as_there_can_be_and_no_more)
{
	struct pen_store *store = scratch_store("s");
	struct pen_txn *txn = scratch_begin(store);
	struct pen_dataset *ds;
	struct pen_dataset_info info;
	struct pen_cursor *cur;
	char name[16], last[16] = "";
	uint32_t i, n = 0;

	for (i = 0; i < PEN_DATASETS_MAX; i++) {
		(void)snprintf(name, sizeof(name), "d%04u", i);
		ds = use(txn, name);
		cr_assert_eq(pen_dataset_save(ds), 0);
	}
	cr_expect_eq(pen_dataset_use(txn, "more", PEN_KEY_GIVEN, &ds, NULL), -PEN_DATASETS_FULL);
	cr_assert_eq(pen_txn_commit(txn, NULL), 0);
	cr_expect_eq(scratch_put(store, "more", "k", "v"), -PEN_DATASETS_FULL);
	cr_assert_eq(pen_dataset_drop(store, "d0500", NULL), 0);
	cr_expect_eq(scratch_put(store, "more", "k", "v"), 0);
	cr_assert_eq(pen_datasets_open(store, &cur), 0);
	while (pen_datasets_next(cur, &info) == 1) {
		cr_expect_lt(strcmp(last, info.name), 0);
		(void)snprintf(last, sizeof(last), "%s", info.name);
		n++;
	}
	cr_expect_eq(n, PEN_DATASETS_MAX);
	pen_cursor_close(cur);
	pen_store_close(store);
}

Test(dataset, dropped_is_gone_and_its_id_is_not_used_again)
{
	struct pen_store *store = scratch_store("s");
	struct pen_txn *txn;
	struct pen_dataset *ds;
	struct pen_dataset_info info;
	struct pen_cursor *cur;
	uint64_t id;

	cr_assert_eq(scratch_put(store, "d", "k", "v"), 0);
	txn = scratch_begin(store);
	ds = use(txn, "d");
	id = pen_dataset_id(ds);
	cr_expect_eq(pen_dataset_use_id(txn, "d", id, &ds, NULL), 0);
	cr_expect_eq(pen_dataset_use_id(txn, "d", id + 1, &ds, NULL), -PEN_NO_DATASET);
	cr_expect_eq(pen_dataset_use_id(txn, "e", id, &ds, NULL), -PEN_NO_DATASET);
	pen_txn_abort(txn);
	cr_assert_eq(pen_cursor_make(store, PEN_CURSOR_SCAN, "d", 0, &cur), 0);
	cr_expect_eq(pen_dataset_drop(store, "d", NULL), -EBUSY, "a cursor reads it");
	pen_cursor_close(cur);
	cr_assert_eq(pen_dataset_drop(store, "d", NULL), 0);
	cr_expect_eq(pen_dataset_drop(store, "d", NULL), -PEN_NO_DATASET);
	cr_expect_eq(pen_dataset_get(store, "d", &info), -PEN_NO_DATASET);
	cr_expect_eq(pen_cursor_make(store, PEN_CURSOR_SCAN, "d", 0, &cur), -PEN_NO_DATASET);
	cr_assert_eq(scratch_put(store, "d", "k2", "v"), 0);
	cr_expect(agrees(store, "d"), "digests of the old one are gone");
	txn = scratch_begin(store);
	cr_expect_gt(pen_dataset_id(use(txn, "d")), id);
	pen_txn_abort(txn);
	pen_store_close(store);
}

Test(dataset, dropped_by_another_process_can_be_made_again)
{
	struct pen_store *store = scratch_store("s");
	pid_t pid;

	cr_assert_eq(scratch_put(store, "d", "k", "v"), 0);
	pid = fork();
	if (!pid) {
		struct pen_store *theirs = NULL;

		_exit(scratch_open_with("s", false, false, 0, &theirs) ||
		      pen_dataset_drop(theirs, "d", NULL));
	}
	cr_assert_eq(scratch_wait(pid), 0);
	cr_assert_eq(scratch_put(store, "d", "k2", "v"), 0);
	cr_expect(agrees(store, "d"));
	pen_store_close(store);
}

Test(dataset, fed_by_an_unfinished_batch_is_not_dropped)
{
	static const struct {
		enum pen_state state;
		int code;
	} cases[] = {
		{ PEN_RUNNING, -EBUSY }, { PEN_INTERRUPTED, -EBUSY }, { PEN_STOPPED, -EBUSY },
		{ PEN_PAUSED, -EBUSY },	 { PEN_COMPLETED, 0 },	      { PEN_FAILED, 0 },
		{ PEN_CANCELLED, 0 },
	};
	struct pen_store *store = scratch_store("s");
	size_t i;

	for (i = 0; i < PEN_COUNT(cases); i++) {
		struct pen_txn *txn;
		struct pen_dataset *ds;
		struct pen_fmt_batch batch = { .id = 5 };
		struct pen_fmt_state state = { .id = 5, .state = (uint8_t)cases[i].state };
		unsigned char key[8];

		cr_assert_eq(scratch_put(store, "d", "k", "v"), 0);
		cr_assert_eq(scratch_put(store, "other", "k", "v"), 0);
		txn = scratch_begin(store);
		ds = use(txn, "d");
		batch.dataset_id = pen_dataset_id(ds);
		pen_seal(&batch, sizeof(batch), PEN_KIND_BATCH, 1);
		pen_seal(&state, sizeof(state), PEN_KIND_STATE, 1);
		pen_put_be64(key, 5);
		cr_assert_eq(pen_txn_put(txn, PEN_DB_BATCHES, key, 8, &batch, sizeof(batch), 0), 0);
		cr_assert_eq(pen_txn_put(txn, PEN_DB_STATES, key, 8, &state, sizeof(state), 0), 0);
		cr_assert_eq(pen_txn_commit(txn, NULL), 0);
		cr_expect_eq(pen_dataset_drop(store, "d", NULL), cases[i].code, "state %d", cases[i].state);
		cr_expect_eq(pen_dataset_drop(store, "other", NULL), 0, "not fed");
	}
	pen_store_close(store);
}
