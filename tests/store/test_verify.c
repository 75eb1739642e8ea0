/* SPDX-License-Identifier: MIT */
/*
 * A healthy store with a bit of everything has no findings; then each invariant is broken by hand and must be named.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "ring/base.h"
#include "store/audit.h"
#include "tests/store/plant.h"

static struct shop shop;
static uint64_t done_id, mixed_id, feeder_id;

static void set_up(void)
{
	shop_fill(&shop, &done_id, &mixed_id, &feeder_id);
}

static void tear_down(void)
{
	shop_remove(&shop);
}

TestSuite(verify, .init = set_up, .fini = tear_down, .timeout = 600);

/* ---- hearing ----------------------------------------------------------------------------------- */

static const struct heard *verify(void)
{
	return shop_verify(&shop);
}

Test(verify, a_healthy_store_has_no_findings)
{
	const struct heard *heard = verify();

	cr_assert_eq(heard->ret, 0, "%ld %s%s", heard->ret, heard->all, heard->why.text);
}

Test(verify, a_new_store_has_no_findings)
{
	struct shop new_one;
	struct heard heard = { 0 };

	shop_make(&new_one);
	shop_close(&new_one);
	heard.ret = pen_verify(new_one.dir, hear_one, &heard, &heard.why);
	cr_assert_eq(heard.ret, 0, "%s%s", heard.all, heard.why.text);
	shop_remove(&new_one);
}

Test(verify, databases_of_other_programs_are_allowed)
{
	MDB_val k = { 1, "k" }, v = { 8, "12345678" };
	const struct heard *heard;
	struct raw raw;

	raw_begin(&shop, &raw);
	raw_db(&raw, "theirs", MDB_CREATE);
	raw_put(&raw, "theirs", "a", 1, "b", 1);
	for (unsigned i = 0; i < 2000; i++) {
		v.mv_data = &i;
		v.mv_size = sizeof(i);
		cr_assert_eq(mdb_put(raw.txn, raw_db(&raw, "dups", MDB_CREATE | MDB_DUPSORT), &k, &v, 0), 0);
	}
	k = (MDB_val){ 11, "plain value" };
	v = (MDB_val){ 3, "abc" };
	cr_assert_eq(mdb_put(raw.txn, 1, &k, &v, 0), 0);
	raw_commit(&raw);
	heard = verify();
	cr_assert_eq(heard->ret, 0, "%s%s", heard->all, heard->why.text);
}

/* LMDB never writes pages that it frees in the transaction that numbered them. */
Test(verify, a_file_that_is_short_of_free_pages_is_whole)
{
	static char large[4000000];
	struct stat st;
	const struct heard *heard;
	MDB_envinfo info;
	char path[128];
	struct raw raw;

	for (int i = 0; i < 3; i++) {
		raw_begin(&shop, &raw);
		raw_db(&raw, "theirs", MDB_CREATE);
		raw_put(&raw, "theirs", "z", 1, large, sizeof(large));
		raw_del(&raw, "theirs", "z", 1);
		raw_put(&raw, "theirs", "a", 1, large, (size_t)i + 1);
		cr_assert_eq(mdb_txn_commit(raw.txn), 0);
		mdb_env_info(raw.env, &info);
		mdb_env_close(raw.env);
	}
	snprintf(path, sizeof(path), "%s/data.mdb", shop.dir);
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_lt((uint64_t)st.st_size, info.me_last_pgno * 4096, "the file is short");
	heard = verify();
	cr_assert_eq(heard->ret, 0, "%s%s", heard->all, heard->why.text);
}

Test(verify, a_store_in_use_can_be_verified)
{
	const struct heard *heard;

	shop_open(&shop);
	plant_batch(shop.store,
		    &(struct plan){ .dataset = "beta", .key_kind = PEN_KEY_POINTER, .state = PEN_QUEUED });
	heard = verify();
	cr_assert_eq(heard->ret, 0, "%s%s", heard->all, heard->why.text);
}

/* ---- planted violations --------------------------------------------------------------------- */

static void edit_name(struct raw *raw, const char *db, const char *name, size_t at, uint64_t to)
{
	size_t size;
	uint8_t *value = raw_get(raw, db, name, strlen(name), &size);

	cr_assert(value && at + 8 <= size);
	memcpy(value + at, &to, 8);
	raw_reseal(value, size);
	raw_put(raw, db, name, strlen(name), value, size);
	free(value);
}

#define STATE_U64(id, field, to) \
	raw_edit_id(raw, "penstock.states", id, offsetof(struct pen_fmt_state, field), &(uint64_t){ to }, 8)
#define DATASET_U64(name, field, to) \
	edit_name(raw, "penstock.datasets", name, offsetof(struct pen_fmt_dataset, field), to)
#define META_U64(field, to) edit_name(raw, "penstock.meta", "meta", offsetof(struct pen_fmt_meta, field), to)

static void no_meta(struct raw *raw)
{
	raw_del(raw, "penstock.meta", "meta", 4);
}

static void second_meta(struct raw *raw)
{
	raw_put(raw, "penstock.meta", "more", 4, "x", 1);
}

static void no_store_id(struct raw *raw)
{
	META_U64(store_id, 0);
}

static void flip_meta(struct raw *raw)
{
	raw_flip(raw, "penstock.meta", "meta", 4);
}

static void flip_state(struct raw *raw)
{
	uint8_t key[8];

	pen_put_be64(key, done_id);
	raw_flip(raw, "penstock.states", key, 8);
}

static void flip_facts(struct raw *raw)
{
	uint8_t key[8];

	pen_put_be64(key, mixed_id);
	raw_flip(raw, "penstock.batches", key, 8);
}

static void flip_dataset(struct raw *raw)
{
	raw_flip(raw, "penstock.datasets", "beta", 4);
}

static void wrong_kind(struct raw *raw)
{
	raw_edit_id(raw, "penstock.events", 2, 4, &(uint16_t){ PEN_KIND_ITEM }, 2);
}

static void short_event(struct raw *raw)
{
	raw_put_id(raw, "penstock.events", 2, "1234567890", 10);
}

/* A row moves to another item's key with all its bytes. */
static void moved_row(struct raw *raw)
{
	uint8_t from[16], to[16];
	size_t size;
	uint8_t *value;

	plant_item_key(from, mixed_id, 41);
	plant_item_key(to, mixed_id, 39);
	value = raw_get(raw, "penstock.items", from, 16, &size);
	cr_assert(value);
	raw_del(raw, "penstock.items", from, 16);
	raw_put(raw, "penstock.items", to, 16, value, size);
	free(value);
}

/* A sound row under another key. */
static void copy_row(struct raw *raw, uint64_t id, uint64_t seq)
{
	uint8_t from[16], to[16];
	size_t size;
	uint8_t *value;
	uint32_t crc;

	plant_item_key(from, mixed_id, 41);
	plant_item_key(to, id, seq);
	value = raw_get(raw, "penstock.items", from, 16, &size);
	cr_assert(value);
	crc = pen_crc32c(to, 16);
	memcpy(value + offsetof(struct pen_fmt_item, key_crc), &crc, 4);
	raw_reseal(value, size);
	raw_put(raw, "penstock.items", to, 16, value, size);
	free(value);
}

static void swapped_states(struct raw *raw)
{
	size_t size;
	void *value = raw_get_id(raw, "penstock.states", done_id, &size);

	raw_put_id(raw, "penstock.states", mixed_id, value, size);
	free(value);
}

static void wrong_key_length(struct raw *raw)
{
	raw_put(raw, "penstock.digests", "abc", 3, "x", 1);
}

static void no_state(struct raw *raw)
{
	raw_del_id(raw, "penstock.states", mixed_id);
}

static void no_facts(struct raw *raw)
{
	raw_del_id(raw, "penstock.batches", mixed_id);
}

static void items_off(struct raw *raw)
{
	STATE_U64(mixed_id, applied.items, 50);
	STATE_U64(mixed_id, counted.items, 50);
}

static void many_duplicates(struct raw *raw)
{
	STATE_U64(mixed_id, applied.duplicates, 41);
}

static void counted_ahead(struct raw *raw)
{
	STATE_U64(mixed_id, counted.bytes, 4001);
}

static void counted_behind_at_end(struct raw *raw)
{
	STATE_U64(done_id, counted.items, 29);
	STATE_U64(done_id, counted.committed, 29);
}

static void no_row(struct raw *raw)
{
	uint8_t key[16];

	plant_item_key(key, mixed_id, 44);
	raw_del(raw, "penstock.items", key, 16);
}

static void row_beyond(struct raw *raw)
{
	copy_row(raw, mixed_id, 49);
}

static void row_of_nobody(struct raw *raw)
{
	copy_row(raw, 77, 1);
}

static void one_row_more(struct raw *raw)
{
	copy_row(raw, done_id, 3);
}

static void source_beyond(struct raw *raw)
{
	raw_edit_id(raw, "penstock.states", mixed_id, offsetof(struct pen_fmt_state, place_source),
		    &(uint32_t){ 2 }, 4);
}

static void place_beyond(struct raw *raw)
{
	STATE_U64(mixed_id, place_offset, 5001);
}

static void next_seq_behind(struct raw *raw)
{
	DATASET_U64("gamma", next_seq, 10);
}

static void entries_off(struct raw *raw)
{
	DATASET_U64("beta", entries, 36);
}

static void committed_off(struct raw *raw)
{
	STATE_U64(mixed_id, applied.duplicates, 4);
	STATE_U64(mixed_id, counted.duplicates, 4);
}

static void foreign_record(struct raw *raw)
{
	raw_put(raw, "beta", "new", 3, "value", 5);
}

static void record_gone(struct raw *raw)
{
	raw_del(raw, "beta", "key-000003", 10);
}

static void record_changed(struct raw *raw)
{
	char *value = plant_value(3, 40);

	value[39] ^= 1;
	raw_put(raw, "beta", "key-000003", 10, value, 40);
	free(value);
}

static void digest_gone(struct raw *raw)
{
	uint8_t key[9];
	char name[32];

	pen_put_be64(key, 2);
	key[8] = (uint8_t)pen_hash_bucket(name, plant_key(&plan_mixed, 7, name));
	raw_del(raw, "penstock.digests", key, 9);
}

static void event_gone(struct raw *raw)
{
	raw_del_id(raw, "penstock.events", 5);
}

static void last_event_gone(struct raw *raw)
{
	raw_del_id(raw, "penstock.events", 12);
}

static void event_of_nobody(struct raw *raw)
{
	raw_edit_id(raw, "penstock.events", 5, offsetof(struct pen_fmt_event, batch), &(uint64_t){ 5 }, 8);
}

static void event_of_no_type(struct raw *raw)
{
	raw_edit_id(raw, "penstock.events", 5, offsetof(struct pen_fmt_event, type), &(uint16_t){ 99 }, 2);
}

static void identity_lost(struct raw *raw)
{
	raw_del(raw, "penstock.identity", (uint8_t[16]){ 1 }, 16);
}

static void identity_of_nobody(struct raw *raw)
{
	raw_put(raw, "penstock.identity", (uint8_t[16]){ 1 }, 16, &(uint64_t){ UINT64_MAX }, 8);
}

static void identity_of_another(struct raw *raw)
{
	raw_put(raw, "penstock.identity", (uint8_t[16]){ 1 }, 16, &feeder_id, 8);
}

static void feeder_forgotten(struct raw *raw)
{
	DATASET_U64("gamma", feeder, 0);
}

static void feeder_ended(struct raw *raw)
{
	DATASET_U64("alpha", feeder, done_id);
}

static void feeder_of_nobody(struct raw *raw)
{
	DATASET_U64("alpha", feeder, 12345);
}

static void feeder_elsewhere(struct raw *raw)
{
	DATASET_U64("alpha", feeder, feeder_id);
}

static void digest_of_nobody(struct raw *raw)
{
	struct pen_fmt_digest digest = { .lo = 1 };
	uint8_t key[9] = { 0, 0, 0, 0, 0, 0, 0, 200, 4 };

	digest.head = (struct pen_head){ .kind = PEN_KIND_DIGEST, .version = 1 };
	raw_reseal(&digest, sizeof(digest));
	raw_put(raw, "penstock.digests", key, 9, &digest, sizeof(digest));
}

static void key_beyond(struct raw *raw)
{
	raw_put_id(raw, "alpha", 30, "v", 1);
}

static void key_short(struct raw *raw)
{
	raw_put(raw, "alpha", "\0\0\0", 3, "v", 1);
}

static void offset_short(struct raw *raw)
{
	raw_put(raw, "big", "\0\0\0", 3, "v", 1);
}

static void dataset_dropped(struct raw *raw)
{
	cr_assert_eq(mdb_drop(raw->txn, raw_db(raw, "alpha", 0), 1), 0);
}

static void registry_lost(struct raw *raw)
{
	raw_del(raw, "penstock.datasets", "alpha", 5);
}

static void unknown_own(struct raw *raw)
{
	raw_db(raw, "penstock.wrong", MDB_CREATE);
}

static void dataset_with_flags(struct raw *raw)
{
	cr_assert_eq(mdb_drop(raw->txn, raw_db(raw, "alpha", 0), 1), 0);
	raw_db(raw, "alpha", MDB_CREATE | MDB_DUPSORT);
}

static void own_dropped(struct raw *raw)
{
	cr_assert_eq(mdb_drop(raw->txn, raw_db(raw, "penstock.events", 0), 1), 0);
}

static const struct planted planted[] = {
#define P(plant, invariant, says)              \
	{                                      \
#plant, plant, invariant, says \
	}
	P(no_meta, PEN_INV_META, "no row"),
	P(second_meta, PEN_INV_META, "not `meta`"),
	P(no_store_id, PEN_INV_META, "no id"),
	P(flip_meta, PEN_INV_VALUES, "penstock.meta"),
	P(flip_state, PEN_INV_VALUES, "its state is damaged"),
	P(flip_facts, PEN_INV_VALUES, "its facts are damaged"),
	P(flip_dataset, PEN_INV_VALUES, "`beta`"),
	P(wrong_kind, PEN_INV_VALUES, "event 2"),
	P(short_event, PEN_INV_VALUES, "event 2"),
	P(moved_row, PEN_INV_VALUES, "item 39"),
	P(swapped_states, PEN_INV_VALUES, "its state is damaged"),
	P(wrong_key_length, PEN_INV_VALUES, "3 bytes"),
	P(no_state, PEN_INV_PAIRS, "no state"),
	P(no_facts, PEN_INV_PAIRS, "no facts"),
	P(items_off, PEN_INV_COUNTERS, "50 items"),
	P(many_duplicates, PEN_INV_COUNTERS, "41 duplicates"),
	P(counted_ahead, PEN_INV_COUNTERS, "4001 counted, 4000 applied"),
	P(counted_behind_at_end, PEN_INV_COUNTERS, "though it has ended"),
	P(no_row, PEN_INV_ROWS, "failed 1"),
	P(row_beyond, PEN_INV_ROWS, "item 49"),
	P(row_of_nobody, PEN_INV_ROWS, "no batch"),
	P(one_row_more, PEN_INV_ROWS, "rejected 1"),
	P(source_beyond, PEN_INV_CHECKPOINT, "source 2 of 1"),
	P(place_beyond, PEN_INV_CHECKPOINT, "byte 5001 of 5000"),
	P(next_seq_behind, PEN_INV_CHECKPOINT, "`gamma` is 10"),
	P(entries_off, PEN_INV_ENTRIES, "its row says 36"),
	P(committed_off, PEN_INV_ENTRIES, "committed 36"),
	P(foreign_record, PEN_INV_ENTRIES, "36 records, its row says 35"),
	P(foreign_record, PEN_INV_DIGESTS, "`beta`, bucket"),
	P(record_gone, PEN_INV_DIGESTS, "`beta`, bucket"),
	P(record_changed, PEN_INV_DIGESTS, "`beta`, bucket"),
	P(digest_gone, PEN_INV_DIGESTS, "`beta`, bucket"),
	P(event_gone, PEN_INV_EVENTS, "event 6 follows event 4"),
	P(last_event_gone, PEN_INV_EVENTS, "penstock.meta says 12"),
	P(event_of_nobody, PEN_INV_EVENTS, "not there"),
	P(event_of_no_type, PEN_INV_EVENTS, "type 99"),
	P(identity_lost, PEN_INV_IDENTITY, "not found by its identity"),
	P(identity_of_nobody, PEN_INV_IDENTITY, "not there"),
	P(identity_of_another, PEN_INV_IDENTITY, "which has another"),
	P(feeder_forgotten, PEN_INV_FEEDER, "does not know of it"),
	P(feeder_ended, PEN_INV_FEEDER, "has ended"),
	P(feeder_of_nobody, PEN_INV_FEEDER, "is not there"),
	P(feeder_elsewhere, PEN_INV_FEEDER, "another dataset"),
	P(digest_of_nobody, PEN_INV_ORPHANS, "no dataset (200)"),
	P(key_beyond, PEN_INV_KEYS, "above the last key"),
	P(key_short, PEN_INV_KEYS, "8 bytes"),
	P(offset_short, PEN_INV_KEYS, "no offset"),
	P(dataset_dropped, PEN_INV_DATABASES, "its database is not there"),
	P(registry_lost, PEN_INV_DATABASES, "not registered"),
	P(unknown_own, PEN_INV_DATABASES, "penstock.wrong"),
	P(dataset_with_flags, PEN_INV_DATABASES, "flags"),
	P(own_dropped, PEN_INV_PAGES, "penstock.events"),
#undef P
};

Test(verify, each_planted_violation_is_named)
{
	shop_check_planted(&shop, planted, PEN_COUNT(planted));
}
