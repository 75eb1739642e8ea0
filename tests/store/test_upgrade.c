/* SPDX-License-Identifier: MIT */
/*
 * A store of format 1, made by taking away what it did not have, and opened by this version.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ring/base.h"
#include "store/index.h"
#include "store/store_private.h"
#include "tests/store/plant.h"

static struct shop shop;
static uint64_t done_id, mixed_id, feeder_id;

static void set_meta(struct raw *raw, uint32_t format, uint16_t version)
{
	struct pen_fmt_meta *meta;
	size_t len;

	meta = raw_get(raw, "penstock.meta", "meta", 4, &len);
	cr_assert(meta && len == sizeof(*meta));
	meta->format = format;
	pen_seal(meta, len, PEN_KIND_META, version);
	raw_put(raw, "penstock.meta", "meta", 4, meta, len);
	free(meta);
}

static void set_up(void)
{
	struct raw raw;

	shop_fill(&shop, &done_id, &mixed_id, &feeder_id);
	raw_begin(&shop, &raw);
	for (int i = PEN_DB_FIRST_COUNT; i < PEN_DB_COUNT; i++)
		cr_assert_eq(mdb_drop(raw.txn, raw_db(&raw, pen_db_names[i], 0), 1), 0);
	set_meta(&raw, 1, 1);
	raw_commit(&raw);
}

static void tear_down(void)
{
	shop_remove(&shop);
}

TestSuite(upgrade, .init = set_up, .fini = tear_down, .timeout = 600);

static uint64_t last_txn(void)
{
	MDB_envinfo info;
	struct raw raw;

	raw_begin(&shop, &raw);
	cr_assert_eq(mdb_env_info(raw.env, &info), 0);
	raw_commit(&raw);
	return info.me_last_txnid;
}

static void check_upgraded(uint64_t before)
{
	const struct heard *heard = shop_verify(&shop);
	struct pen_fmt_meta *meta;
	struct raw raw;
	size_t len;

	cr_assert_eq(heard->ret, 0, "%s%s", heard->all, heard->why.text);
	cr_expect_eq(last_txn(), before + 1, "one transaction");
	raw_begin(&shop, &raw);
	meta = raw_get(&raw, "penstock.meta", "meta", 4, &len);
	raw_commit(&raw);
	cr_assert(meta);
	cr_expect_eq(meta->format, PEN_FORMAT_VERSION);
	cr_expect_eq(meta->head.version, PEN_META_VERSION, "older writers read this row, and stop");
	free(meta);
}

Test(upgrade, the_first_writer_does_it_in_one_transaction)
{
	uint64_t before = last_txn(), id;
	struct pen_store_info info;
	struct pen_cursor *cur;
	struct pen_item item;
	int rows = 0;

	cr_assert_eq(shop_verify(&shop)->ret, 0, "a store of format 1 is sound: %s", shop_verify(&shop)->all);
	shop_open(&shop);
	cr_assert_eq(pen_store_info(shop.store, &info), 0);
	cr_expect_eq(info.format, PEN_FORMAT_VERSION);
	cr_assert_eq(pen_index_in_state(shop.store, PEN_STOPPED, 0, &id, 1), 1);
	cr_expect_eq(id, mixed_id);
	cr_assert_eq(pen_index_of_owner(shop.store, "me", feeder_id - 1, &id, 1), 1);
	cr_expect_eq(id, feeder_id);
	cr_assert_eq(pen_index_ended_before(shop.store, 1, &id, 1), 1);
	cr_expect_eq(id, done_id);
	cr_assert_eq(pen_items_open(shop.store, mixed_id, PEN_ITEM_FAILED, 0, -1, &cur), 0);
	while (pen_items_next(cur, &item) == 1)
		rows++;
	pen_cursor_close(cur);
	cr_expect_eq(rows, plan_mixed.failed);
	shop_close(&shop);
	check_upgraded(before);
	/* And no second time. */
	shop_open(&shop);
	shop_close(&shop);
	check_upgraded(before);
	/* What comes behind is entered as ever. */
	shop_open(&shop);
	plant_batch(shop.store, &(struct plan){ .dataset = "new", .state = PEN_FAILED, .rejected = 2 });
	shop_close(&shop);
	cr_expect_eq(shop_verify(&shop)->ret, 0);
}

Test(upgrade, a_reader_is_told_and_changes_nothing)
{
	struct pen_store_options opt = { .size = sizeof(opt), .read_only = true };
	size_t len_before, len_after;
	uint8_t *before = file_read(&shop, &len_before), *after;
	struct pen_failure why = { 0 };

	cr_expect_eq(pen_store_open(shop.dir, &opt, &shop.store, &why), -PEN_STORE_OLDER);
	cr_expect(strstr(why.text, "format 1"), "%s", why.text);
	cr_expect_null(shop.store);
	after = file_read(&shop, &len_after);
	cr_expect(len_before == len_after && !memcmp(before, after, len_after));
	free(before);
	free(after);
	shop_open(&shop);
	shop_close(&shop);
	cr_assert_eq(pen_store_open(shop.dir, &opt, &shop.store, &why), 0, "%s", why.text);
}

/* In a child: waits for the others at the gate, opens, and looks. */
static int opener(int gate)
{
	struct pen_store_options opt = { .size = sizeof(opt) };
	struct pen_store_info info;
	struct pen_store *store;
	uint64_t id;
	char byte;

	if (read(gate, &byte, 1) != 1)
		return 1;
	if (pen_store_open(shop.dir, &opt, &store, NULL))
		return 2;
	if (pen_store_info(store, &info) || info.format != PEN_FORMAT_VERSION)
		return 3;
	if (pen_index_in_state(store, PEN_RUNNING, 0, &id, 1) != 1 || id != feeder_id)
		return 4;
	pen_store_close(store);
	return 0;
}

#define OPENERS 4

Test(upgrade, several_that_open_it_at_once_all_succeed)
{
	size_t len;
	uint8_t *old = file_read(&shop, &len);
	uint64_t before = last_txn();
	int gate[2], status;
	pid_t pids[OPENERS];

	cr_assert_eq(pipe(gate), 0);
	for (int round = 0; round < 25; round++) {
		file_write(&shop, old, len);
		for (int i = 0; i < OPENERS; i++) {
			pids[i] = fork();
			if (!pids[i])
				_exit(opener(gate[0]));
		}
		cr_assert_eq(write(gate[1], "gogo", OPENERS), OPENERS);
		for (int i = 0; i < OPENERS; i++) {
			cr_assert_eq(waitpid(pids[i], &status, 0), pids[i]);
			cr_expect(WIFEXITED(status) && !WEXITSTATUS(status), "round %d: %x", round,
				  (unsigned)status);
		}
		check_upgraded(before);
	}
	free(old);
}

/* Found half-way through: the store stays what it was. */
Test(upgrade, what_is_damaged_is_not_upgraded)
{
	struct pen_failure why = { 0 };
	uint64_t before;
	uint8_t key[16], *value;
	struct raw raw;
	size_t len;

	pen_put_be64(key, mixed_id);
	pen_put_be64(key + 8, 44);
	raw_begin(&shop, &raw);
	value = raw_get(&raw, "penstock.items", key, 16, &len);
	cr_assert(value);
	value[len - 1] ^= 1;
	raw_put(&raw, "penstock.items", key, 16, value, len);
	raw_commit(&raw);
	free(value);
	before = last_txn();
	cr_expect_eq(pen_store_open(shop.dir, NULL, &shop.store, &why), -PEN_STORE_DAMAGED);
	cr_expect(strstr(why.text, "cannot be upgraded from format 1"), "%s", why.text);
	cr_expect_null(shop.store);
	cr_expect_eq(last_txn(), before);
	raw_begin(&shop, &raw);
	for (int i = PEN_DB_FIRST_COUNT; i < PEN_DB_COUNT; i++) {
		MDB_dbi dbi;

		cr_expect_eq(mdb_dbi_open(raw.txn, pen_db_names[i], 0, &dbi), MDB_NOTFOUND);
	}
	raw_commit(&raw);
}

/* As a process of an older version finds out, in the middle of its work, that a newer one has upgraded the store. */
Test(upgrade, a_writer_of_an_older_version_writes_no_more)
{
	struct pen_txn *txn;
	struct raw raw;
	int status;
	pid_t pid;

	shop_open(&shop);
	pid = fork();
	if (!pid) {
		raw_begin(&shop, &raw);
		set_meta(&raw, PEN_FORMAT_VERSION + 1, PEN_META_VERSION + 1);
		raw_commit(&raw);
		_exit(0);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status) && !WEXITSTATUS(status));
	cr_expect_eq(pen_txn_begin(shop.store, PEN_DURABLE_COMMIT, &txn, NULL, NULL), -PEN_STORE_NEWER);
}
