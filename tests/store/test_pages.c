/* SPDX-License-Identifier: MIT */
#include "store/pages.h"

#include "ring/base.h"
#include "tests/store/scratch.h"

TestSuite(pages, .init = scratch_make, .fini = scratch_remove);

Test(pages, values_leave_the_leaf_where_lmdb_says_so)
{
	static const struct {
		size_t key, value;
		uint64_t pages;
	} cases[] = { { 8, 0, 0 },    { 8, 2022, 0 }, { 8, 2023, 1 }, { 511, 1519, 0 }, { 511, 1520, 1 },
		      { 8, 4080, 1 }, { 8, 4081, 2 }, { 8, 8176, 2 }, { 8, 8177, 3 } };

	for (size_t i = 0; i < PEN_COUNT(cases); i++)
		cr_expect_eq(pen_pages_overflow(4096, cases[i].key, cases[i].value), cases[i].pages, "%zu",
			     i);
}

static uint64_t random_state = 1;

static uint64_t next_random(void)
{
	random_state += 0x9e3779b97f4a7c15ull;
	return pen_hash64(&random_state, sizeof random_state);
}

struct load {
	const char *name;
	uint32_t records;
	size_t least, most; /* value */
	size_t key_len;	    /* at least 8 */
	bool scattered;
	uint32_t group; /* records of a transaction */
};

static int by_key(const void *a, const void *b)
{
	return memcmp(a, b, 8);
}

/* Loads groups in key order, as the committer does; returns LMDB's pages of the dataset in bytes. */
static uint64_t real_bytes(struct pen_store *store, const struct load *load, struct pen_pages *pages)
{
	uint8_t(*keys)[8] = malloc(load->group * sizeof *keys);
	static char value[16384];
	struct pen_dataset_info info;

	for (uint32_t done = 0; done < load->records; done += load->group) {
		struct pen_dataset *ds;
		struct pen_txn *txn;
		enum pen_put put;
		bool above;

		for (uint32_t i = 0; i < load->group; i++)
			pen_put_be64(keys[i], load->scattered ? next_random() : done + i);
		qsort(keys, load->group, sizeof *keys, by_key);
		cr_assert_eq(pen_txn_begin(store, PEN_DURABLE_RELAXED, &txn, NULL, NULL), 0);
		cr_assert_eq(pen_dataset_use(txn, load->name, PEN_KEY_GIVEN, &ds, NULL), 0);
		cr_assert_eq(pen_dataset_above(ds, keys[0], 8, &above), 0);
		for (uint32_t i = 0; i < load->group; i++) {
			size_t len = load->least + next_random() % (load->most - load->least + 1);
			uint8_t key[511] = { 0 };

			memcpy(key, keys[i], 8);
			cr_assert_eq(pen_dataset_put(ds, key, load->key_len, value, len, above, PEN_DUP_KEEP,
						     &put),
				     0);
			pen_pages_add(pages, load->key_len, len, 1);
		}
		cr_assert_eq(pen_dataset_save(ds), 0);
		cr_assert_eq(pen_txn_commit(txn, NULL), 0);
	}
	free(keys);
	cr_assert_eq(pen_dataset_get(store, load->name, &info), 0);
	return info.bytes;
}

Test(pages, estimates_lie_within_15_percent_of_real_stores)
{
	static const struct load loads[] = {
		{ "appended", 100000, 20, 300, 16, false, 10000 },
		{ "appended, long keys", 40000, 20, 300, 400, false, 10000 },
		{ "appended, half pages", 10000, 1000, 1900, 16, false, 5000 },
		{ "appended, overflow", 4000, 1900, 9000, 16, false, 2000 },
		{ "one group", 10000, 20, 300, 16, true, 10000 },
		{ "scattered", 100000, 20, 300, 16, true, 10000 },
		{ "scattered, larger groups", 150000, 20, 300, 16, true, 25000 },
		{ "scattered, small", 200000, 0, 60, 8, true, 20000 },
		{ "scattered, wide", 40000, 300, 1000, 16, true, 10000 },
		{ "scattered, overflow", 10000, 1900, 9000, 16, true, 1000 },
	};
	struct pen_store *store;

	cr_assert_eq(scratch_open_with("s", true, false, 0, &store), 0);
	for (size_t i = 0; i < PEN_COUNT(loads); i++) {
		const struct load *load = &loads[i];
		struct pen_pages pages;
		uint64_t real, said, other;

		pen_pages_init(&pages, 4096);
		real = real_bytes(store, load, &pages);
		said = pen_pages_bytes(&pages, load->scattered ? 0 : load->records, true);
		cr_log_info("%s: %lu of %lu, %.3f", load->name, said, real, (double)said / (double)real);
		cr_expect(said > real * 85 / 100 && said < real * 115 / 100, "%s: %lu of %lu", load->name,
			  said, real);
		/* The control: taken for the other order, a load of small values is not met. */
		other = pen_pages_bytes(&pages, load->scattered ? load->records : 0, false);
		if (load->most < 1000 && load->records > load->group)
			cr_expect(other < real * 85 / 100 || other > real * 115 / 100, "%s: %lu of %lu",
				  load->name, other, real);
	}
	pen_store_close(store);
}

Test(pages, many_at_once_are_as_many_one_by_one)
{
	struct pen_pages one, many;

	pen_pages_init(&one, 4096);
	pen_pages_init(&many, 4096);
	for (int i = 0; i < 1000; i++)
		pen_pages_add(&one, 16, 100, 1);
	pen_pages_add(&many, 16, 100, 7);
	pen_pages_add(&many, 16, 100, 993);
	cr_expect_arr_eq(&one, &many, sizeof one);
	cr_expect_eq(pen_pages_bytes(&one, 1000, true), pen_pages_bytes(&many, 1000, true));
	pen_pages_init(&one, 4096);
	cr_expect_eq(pen_pages_bytes(&one, 0, true), 0);
}
