/* SPDX-License-Identifier: MIT */
/*
 * Rows and states change at random, and transactions are given up at random: after each, the index holds what a scan
 * of batches, states and rows finds, entry by entry, and its lists say what a model says. The scan itself is held to
 * account with entries that were planted or taken away.
 */
#include "store/index.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "ring/base.h"
#include "store/store_private.h"
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

TestSuite(index, .init = set_up, .fini = tear_down, .timeout = 600);

/* ---- what a scan finds ------------------------------------------------------------------------- */

#define FOUND_MAX 1024

struct found {
	struct pen_index_key key;
	int32_t code;
};

struct scan {
	struct found found[FOUND_MAX];
	size_t count;
};

static void find(struct scan *scan, struct pen_index_key key, int32_t code)
{
	cr_assert_lt(scan->count, FOUND_MAX);
	scan->found[scan->count++] = (struct found){ key, code };
}

static void find_batch(struct scan *scan, MDB_txn *txn, const MDB_val *key, const MDB_val *value)
{
	static struct pen_standing st;
	uint64_t id = pen_get_be64(key->mv_data);
	struct pen_facts *facts;
	MDB_val k = *key, state;

	cr_assert_eq(pen_ledger_decode_facts(value->mv_data, value->mv_size, id, &facts), 0);
	cr_assert_eq(mdb_get(txn, shop.store->db[PEN_DB_STATES], &k, &state), 0);
	cr_assert_eq(pen_ledger_decode_standing(state.mv_data, state.mv_size, id, &st), 0);
	find(scan, pen_index_state(st.fixed.state, id), 0);
	find(scan, pen_index_owner(facts->owner, id), 0);
	if (pen_ledger_over(st.fixed.state))
		find(scan, pen_index_ended(st.fixed.ended_ms, id), 0);
	free(facts);
}

static void find_row(struct scan *scan, MDB_txn *txn, const MDB_val *key, const MDB_val *value)
{
	uint64_t id = pen_get_be64(key->mv_data), seq = pen_get_be64((const uint8_t *)key->mv_data + 8);
	struct pen_fmt_item item;
	struct pen_fmt_try try;
	const uint8_t *tail;

	(void)txn;
	cr_assert_eq(pen_item_decode_try(key->mv_data, key->mv_size, value->mv_data, value->mv_size, &item,
					 &try, &tail),
		     0);
	if (pen_index_has_row(item.state))
		find(scan, pen_index_row(id, item.state, seq), item.code);
	if (item.state == PEN_ITEM_RETRYING)
		find(scan, pen_index_due(id, try.due_ms, seq), 0);
}

static int by_key(const void *x, const void *y)
{
	const struct pen_index_key *a = x, *b = y;
	int c = memcmp(a->bytes, b->bytes, pen_min(a->len, b->len));

	return c ? c : (a->len > b->len) - (a->len < b->len);
}

/* True when the index is exactly that. */
static bool index_is_whole(void)
{
	static struct scan scan;
	static void (*const finds[])(struct scan *, MDB_txn *, const MDB_val *,
				     const MDB_val *) = { find_batch, find_row };
	static const enum pen_db dbs[] = { PEN_DB_BATCHES, PEN_DB_ITEMS };
	bool same = true;
	MDB_val key, value;
	MDB_cursor *cur;
	MDB_txn *txn;
	size_t at = 0;

	scan.count = 0;
	cr_assert_eq(pen_read_begin(shop.store, &txn), 0);
	for (size_t i = 0; i < PEN_COUNT(dbs); i++) {
		cr_assert_eq(mdb_cursor_open(txn, shop.store->db[dbs[i]], &cur), 0);
		while (!mdb_cursor_get(cur, &key, &value, MDB_NEXT))
			finds[i](&scan, txn, &key, &value);
		mdb_cursor_close(cur);
	}
	qsort(scan.found, scan.count, sizeof(scan.found[0]), by_key);
	cr_assert_eq(mdb_cursor_open(txn, shop.store->db[PEN_DB_INDEX], &cur), 0);
	for (; same && !mdb_cursor_get(cur, &key, &value, MDB_NEXT); at++) {
		const struct found *f = &scan.found[at];
		size_t len = at < scan.count && f->key.bytes[0] == PEN_INDEX_ROW ? sizeof(f->code) : 0;

		same = at < scan.count && key.mv_size == f->key.len &&
		       !memcmp(key.mv_data, f->key.bytes, key.mv_size) && value.mv_size == len &&
		       (!len || !memcmp(value.mv_data, &f->code, len));
	}
	mdb_cursor_close(cur);
	pen_read_end(shop.store, txn);
	return same && at == scan.count;
}

/* ---- a model ------------------------------------------------------------------------------------ */

#define BATCHES 4
#define ROWS 12

static const char *const owners[] = { "", "me", "me2", "user:7" };

struct model {
	struct {
		uint64_t id, ended_ms;
		const char *owner;
		enum pen_state state;
		struct {
			enum pen_item_state state; /* 0: no row */
			int code;
			uint64_t due_ms;
		} row[ROWS];
	} batch[BATCHES];
	unsigned count;
};

static uint64_t seed;

static unsigned dice(unsigned n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)(seed >> 20) % n;
}

static void new_batch(struct pen_txn *txn, struct model *m)
{
	static struct pen_standing st;
	unsigned i = m->count++;
	struct pen_facts facts = { .owner = owners[dice(PEN_COUNT(owners))] };

	memset(&st, 0, sizeof(st));
	m->batch[i].id = facts.fixed.id = st.fixed.id = pen_ledger_new_id(txn);
	m->batch[i].owner = facts.owner;
	m->batch[i].state = PEN_QUEUED;
	st.fixed.state = PEN_QUEUED;
	cr_assert_eq(pen_ledger_create(txn, &facts, &st), 0);
}

static void change_state(struct pen_txn *txn, struct model *m, unsigned i)
{
	static struct pen_standing st;

	cr_assert_eq(pen_ledger_load(txn, m->batch[i].id, NULL, &st), 0);
	st.fixed.state = (uint8_t)(m->batch[i].state = PEN_QUEUED + dice(PEN_CANCELLED));
	st.fixed.ended_ms = m->batch[i].ended_ms = 1000 + dice(20);
	cr_assert_eq(pen_ledger_save(txn, &st), 0);
}

static void put_row(struct pen_txn *txn, struct model *m, unsigned i, unsigned seq)
{
	struct pen_row row = {
		.batch = m->batch[i].id,
		.seq = seq,
		.state = PEN_ITEM_COMMITTED + dice(PEN_ITEM_RETRYING),
		.code = -1000 - (int)dice(3),
		.replaces = m->batch[i].row[seq].state || dice(2),
		.tried = true,
		.due_ms = 5000 + dice(6),
		.message = "why",
	};

	if (row.state != PEN_ITEM_RETRYING)
		row.tried = dice(2);
	cr_assert_eq(pen_item_put(txn, &row), 0);
	m->batch[i].row[seq].state = row.state;
	m->batch[i].row[seq].code = row.code;
	m->batch[i].row[seq].due_ms = row.due_ms;
}

static void step(struct pen_txn *txn, struct model *m)
{
	unsigned i, seq = dice(ROWS), what = dice(10);

	if (!m->count || (m->count < BATCHES && !what)) {
		new_batch(txn, m);
		return;
	}
	i = dice(m->count);
	if (what < 3) {
		change_state(txn, m, i);
	} else if (what < 5) {
		cr_assert_eq(pen_item_remove(txn, m->batch[i].id, seq),
			     m->batch[i].row[seq].state ? 0 : -PEN_NOT_FOUND);
		m->batch[i].row[seq].state = 0;
	} else {
		put_row(txn, m, i, seq);
	}
}

/* ---- the lists ---------------------------------------------------------------------------------- */

static void check_batches(const struct model *m)
{
	uint64_t ids[BATCHES + 1], n;
	int got;

	for (unsigned s = PEN_QUEUED; s <= PEN_CANCELLED; s++) {
		n = 0;
		got = pen_index_in_state(shop.store, (uint8_t)s, 0, ids, PEN_COUNT(ids));
		for (unsigned i = 0; i < m->count; i++)
			if (m->batch[i].state == s)
				cr_assert(n < (uint64_t)got && ids[n++] == m->batch[i].id);
		cr_assert_eq(got, (int)n);
	}
	for (unsigned o = 0; o < PEN_COUNT(owners); o++) {
		n = 0;
		got = pen_index_of_owner(shop.store, owners[o], 0, ids, PEN_COUNT(ids));
		for (unsigned i = 0; i < m->count; i++)
			if (!strcmp(m->batch[i].owner, owners[o]))
				cr_assert(n < (uint64_t)got && ids[n++] == m->batch[i].id);
		cr_assert_eq(got, (int)n);
	}
	n = 0;
	got = pen_index_ended_before(shop.store, 1010, ids, PEN_COUNT(ids));
	for (unsigned i = 0; i < m->count; i++)
		n += pen_ledger_over(m->batch[i].state) && m->batch[i].ended_ms < 1010;
	cr_assert_eq(got, (int)n);
}

/* One at a time, each behind the one before. */
static void check_waits(const struct model *m, unsigned i)
{
	struct pen_index_wait wait, last = { 0 };
	unsigned n = 0, want = 0;

	while (pen_index_waits(shop.store, m->batch[i].id, 5003, n ? &last : NULL, &wait, 1) == 1) {
		cr_assert(!n || wait.due_ms > last.due_ms ||
			  (wait.due_ms == last.due_ms && wait.item > last.item));
		cr_assert(wait.item < ROWS && wait.due_ms <= 5003);
		cr_assert_eq(m->batch[i].row[wait.item].state, PEN_ITEM_RETRYING);
		cr_assert_eq(m->batch[i].row[wait.item].due_ms, wait.due_ms);
		last = wait;
		n++;
	}
	for (unsigned seq = 0; seq < ROWS; seq++)
		want += m->batch[i].row[seq].state == PEN_ITEM_RETRYING &&
			m->batch[i].row[seq].due_ms <= 5003;
	cr_assert_eq(n, want);
}

/* Through the index where there is one for the state, and past it. */
static void check_rows(const struct model *m, unsigned i)
{
	for (unsigned s = 0; s <= PEN_ITEM_RETRYING; s++)
		for (int code = -1001; code <= 0; code += 1001) {
			struct pen_cursor *cur;
			struct pen_item item;

			cr_assert_eq(pen_items_open(shop.store, m->batch[i].id, (int)s, code, 1, &cur), 0);
			for (unsigned seq = 2; seq < ROWS; seq++) {
				if (!m->batch[i].row[seq].state || (s && m->batch[i].row[seq].state != s) ||
				    (code && m->batch[i].row[seq].code != code))
					continue;
				cr_assert_eq(pen_items_next(cur, &item), 1);
				cr_assert_eq(item.seq, seq);
				cr_assert_eq(item.state, m->batch[i].row[seq].state);
			}
			cr_assert_eq(pen_items_next(cur, &item), 0);
			pen_cursor_close(cur);
		}
}

/* ---- tests -------------------------------------------------------------------------------------- */

static void rebuild(void)
{
	struct pen_txn *txn;

	cr_assert_eq(pen_txn_begin(shop.store, PEN_DURABLE_RELAXED, &txn, NULL, NULL), 0);
	cr_assert_eq(mdb_drop(txn->mdb, shop.store->db[PEN_DB_INDEX], 0), 0);
	cr_assert_eq(pen_index_build(txn), 0);
	cr_assert_eq(pen_txn_commit(txn, NULL), 0);
}

Test(index, whatever_changes_the_index_is_what_a_scan_finds)
{
	const char *wanted = getenv("PEN_SEED");
	uint64_t first = wanted ? strtoull(wanted, NULL, 10) : 1, rounds = wanted ? 1 : 8;

	for (uint64_t round = first; round < first + rounds; round++) {
		struct model now = { 0 }, next;

		seed = round * 0x9e3779b97f4a7c15;
		for (unsigned t = 0; t < 60; t++) {
			struct pen_txn *txn;

			next = now;
			cr_assert_eq(pen_txn_begin(shop.store, PEN_DURABLE_RELAXED, &txn, NULL, NULL), 0);
			for (unsigned k = dice(8) + 1; k; k--)
				step(txn, &next);
			if (dice(4)) {
				cr_assert_eq(pen_txn_commit(txn, NULL), 0);
				now = next;
			} else {
				pen_txn_abort(txn);
			}
			cr_assert(index_is_whole(), "PEN_SEED=%llu, transaction %u",
				  (unsigned long long)round, t);
		}
		check_batches(&now);
		for (unsigned i = 0; i < now.count; i++) {
			check_waits(&now, i);
			check_rows(&now, i);
		}
		rebuild();
		cr_assert(index_is_whole(), "PEN_SEED=%llu, rebuilt", (unsigned long long)round);
		shop_remove(&shop);
		shop_make(&shop);
	}
}

/* The control of the test above: each kind of entry taken away, and one too many. */
Test(index, a_scan_sees_what_is_missing_or_too_much)
{
	struct pen_index_key keys[5];
	struct model m = { 0 };
	struct pen_txn *txn;

	cr_assert_eq(pen_txn_begin(shop.store, PEN_DURABLE_RELAXED, &txn, NULL, NULL), 0);
	seed = 1;
	new_batch(txn, &m);
	cr_assert_eq(pen_item_put(txn, &(struct pen_row){ .batch = m.batch[0].id,
							  .seq = 3,
							  .state = PEN_ITEM_RETRYING,
							  .code = -1000,
							  .tried = true,
							  .due_ms = 5000 }),
		     0);
	cr_assert_eq(pen_txn_commit(txn, NULL), 0);
	keys[0] = pen_index_state(PEN_QUEUED, m.batch[0].id);
	keys[1] = pen_index_owner(m.batch[0].owner, m.batch[0].id);
	keys[2] = pen_index_row(m.batch[0].id, PEN_ITEM_RETRYING, 3);
	keys[3] = pen_index_due(m.batch[0].id, 5000, 3);
	keys[4] = pen_index_ended(7, m.batch[0].id);
	for (size_t i = 0; i < PEN_COUNT(keys); i++) {
		cr_assert(index_is_whole());
		cr_assert_eq(pen_txn_begin(shop.store, PEN_DURABLE_RELAXED, &txn, NULL, NULL), 0);
		cr_assert_eq(i < 4 ? pen_index_remove(txn, &keys[i]) : pen_index_add(txn, &keys[i], 0), 0);
		cr_assert_eq(pen_txn_commit(txn, NULL), 0);
		cr_expect_not(index_is_whole(), "case %zu", i);
		rebuild();
	}
}

Test(index, a_change_that_finds_no_entry_says_damaged)
{
	struct pen_index_key key;
	static struct pen_standing st;
	struct model m = { 0 };
	struct pen_txn *txn;

	cr_assert_eq(pen_txn_begin(shop.store, PEN_DURABLE_RELAXED, &txn, NULL, NULL), 0);
	new_batch(txn, &m);
	key = pen_index_state(PEN_QUEUED, m.batch[0].id);
	cr_assert_eq(pen_index_remove(txn, &key), 0);
	cr_expect_eq(pen_index_remove(txn, &key), -PEN_STORE_DAMAGED);
	cr_assert_eq(pen_ledger_load(txn, m.batch[0].id, NULL, &st), 0);
	st.fixed.state = PEN_RUNNING;
	cr_expect_eq(pen_ledger_save(txn, &st), -PEN_STORE_DAMAGED);
	pen_txn_abort(txn);
}

Test(index, lists_go_on_behind_the_last_one)
{
	uint64_t ids[3], all[5];
	struct pen_txn *txn;
	struct model m = { 0 };
	int n;

	cr_assert_eq(pen_txn_begin(shop.store, PEN_DURABLE_RELAXED, &txn, NULL, NULL), 0);
	for (unsigned i = 0; i < BATCHES; i++)
		new_batch(txn, &m);
	cr_assert_eq(pen_txn_commit(txn, NULL), 0);
	cr_assert_eq(pen_index_in_state(shop.store, PEN_QUEUED, 0, all, 5), BATCHES);
	n = pen_index_in_state(shop.store, PEN_QUEUED, 0, ids, 3);
	cr_assert_eq(n, 3);
	cr_expect_eq(memcmp(ids, all, sizeof(ids)), 0);
	cr_assert_eq(pen_index_in_state(shop.store, PEN_QUEUED, ids[2], ids, 3), 1);
	cr_expect_eq(ids[0], all[3]);
	cr_expect_eq(pen_index_in_state(shop.store, PEN_QUEUED, ids[0], ids, 3), 0);
	cr_expect_eq(pen_index_in_state(shop.store, PEN_QUEUED, UINT64_MAX, ids, 3), 0);
	cr_expect_eq(pen_index_in_state(shop.store, PEN_QUEUED, 0, ids, 0), 0);
	cr_expect_eq(pen_index_in_state(shop.store, PEN_RUNNING, 0, ids, 3), 0);
}

/* The name is cut for the key: the batch is still found, and by itself. */
Test(index, a_long_owner_is_found)
{
	char owner[PEN_OWNER_MAX + 20];
	static struct pen_standing st;
	struct pen_facts facts = { .owner = owner };
	struct pen_txn *txn;
	uint64_t id;

	memset(owner, 'o', sizeof(owner));
	owner[sizeof(owner) - 1] = 0;
	cr_assert_eq(pen_txn_begin(shop.store, PEN_DURABLE_RELAXED, &txn, NULL, NULL), 0);
	facts.fixed.id = st.fixed.id = pen_ledger_new_id(txn);
	st.fixed.state = PEN_QUEUED;
	cr_assert_eq(pen_ledger_create(txn, &facts, &st), 0);
	cr_assert_eq(pen_txn_commit(txn, NULL), 0);
	cr_assert_eq(pen_index_of_owner(shop.store, owner, 0, &id, 1), 1);
	cr_expect_eq(id, facts.fixed.id);
	owner[PEN_OWNER_MAX - 1] = 0;
	cr_expect_eq(pen_index_of_owner(shop.store, owner, 0, &id, 1), 0);
}
