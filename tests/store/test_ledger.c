/* SPDX-License-Identifier: MIT */
#include "store/ledger.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "ring/base.h"
#include "store/lock.h"
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

TestSuite(ledger, .init = set_up, .fini = tear_down);

static uint64_t create(struct pen_txn *txn, uint64_t id, const struct pen_facts *like)
{
	struct pen_facts facts = like ? *like : (struct pen_facts){ .dataset = "d" };
	struct pen_standing standing = { .fixed = { .id = id, .state = PEN_QUEUED } };

	facts.fixed.id = id;
	cr_assert_eq(pen_ledger_create(txn, &facts, &standing), 0);
	return id;
}

static struct pen_txn *begin(void)
{
	struct pen_txn *txn;

	cr_assert_eq(pen_txn_begin(shop.store, PEN_DURABLE_COMMIT, &txn, NULL, NULL), 0);
	return txn;
}

static void create_ids(const uint64_t *ids, size_t count)
{
	struct pen_txn *txn = begin();

	for (size_t i = 0; i < count; i++)
		create(txn, ids[i], NULL);
	cr_assert_eq(pen_txn_commit(txn, NULL), 0);
}

Test(ledger, facts_and_standing_come_back_as_they_went)
{
	size_t counts[] = { 0, 1, 2, 300, 65536 };

	for (size_t i = 0; i < PEN_COUNT(counts); i++) {
		size_t len = counts[i] ? counts[i] * 8 - 1 : 0;
		char *list = calloc(1, len + 1);
		struct pen_facts *got, facts = {
			.fixed = { .seq_base = 77,
				   .max_record = 5,
				   .format = PEN_FORMAT_FILES,
				   .key_kind = PEN_KEY_PATH,
				   .identity = { 9, (uint8_t)i } },
			.dataset = "data/ü",
			.key = "/a/b",
			.owner = "",
			.correlation_id = "x",
			.idempotency_key = NULL,
			.sources = list,
			.sources_len = len,
			.labels = "a=1\0b=2",
			.labels_len = 7,
		};
		struct pen_standing back,
			standing = { .fixed = { .state = PEN_RUNNING,
						.place_offset = 12,
						.applied = { .items = 3, .committed = 3 } } };
		struct pen_txn *txn = begin();
		uint64_t found;

		cr_assert(list);
		for (size_t j = 0; j < counts[i]; j++)
			memcpy(list + 8 * j, "abcdefg", 7);
		memset(standing.path, 'p', i == 1 ? PEN_PATH_BYTES_MAX : i);
		facts.fixed.id = standing.fixed.id = pen_ledger_new_id(txn);
		cr_assert_eq(pen_ledger_create(txn, &facts, &standing), 0);
		cr_assert_eq(pen_ledger_find(txn, facts.fixed.identity, &found), 0);
		cr_assert_eq(found, facts.fixed.id);
		cr_assert_eq(pen_txn_commit(txn, NULL), 0);
		cr_assert_eq(pen_ledger_read(shop.store, found, &got, &back), 0);
		cr_assert_eq(memcmp((char *)&got->fixed + 8, (char *)&facts.fixed + 8,
				    sizeof(facts.fixed) - 8),
			     0);
		cr_assert_str_eq(got->dataset, "data/ü");
		cr_assert_str_eq(got->key, "/a/b");
		cr_assert_str_eq(got->owner, "");
		cr_assert_str_eq(got->idempotency_key, "");
		cr_assert_eq(got->sources_len, len);
		cr_assert_eq(memcmp(got->sources, list, len), 0);
		cr_assert_eq(got->labels_len, 7);
		cr_assert_eq(pen_ledger_list_count(got->sources, got->sources_len), counts[i]);
		cr_assert_str_eq(pen_ledger_list_at(got->labels, got->labels_len, 1), "b=2");
		cr_assert_null(pen_ledger_list_at(got->labels, got->labels_len, 2));
		cr_assert_str_eq(back.path, standing.path);
		cr_assert_eq(back.fixed.place_offset, 12);
		cr_assert_eq(back.fixed.applied.items, 3);
		free(got);
		free(list);
	}
}

Test(ledger, ids_rise_whatever_the_clock_does)
{
	struct pen_txn *txn = begin();
	uint64_t last = 0;

	for (int i = 0; i < 2000; i++) {
		uint64_t id = pen_ledger_new_id(txn);

		cr_assert_gt(id, last);
		last = create(txn, id, NULL);
	}
	pen_txn_abort(txn);
}

static uint64_t old_ms(const struct pen_clock *clock)
{
	(void)clock;
	return 1600000000000;
}

Test(ledger, an_id_holds_the_milliseconds_since_2020)
{
	struct pen_clock clock = { .mono_ns = pen_clock_real.mono_ns, .real_ms = old_ms };
	struct pen_txn *txn;
	uint64_t id;

	pen_store_set_clock(shop.store, &clock);
	txn = begin();
	id = pen_ledger_new_id(txn);
	cr_assert_eq(id >> 22, 1600000000000 - 1577836800000);
	create(txn, UINT64_C(1) << 63, NULL);
	cr_assert_gt(pen_ledger_new_id(txn), UINT64_C(1) << 63);
	pen_txn_abort(txn);
}

Test(ledger, a_newer_batch_takes_the_identity)
{
	struct pen_facts facts = { .fixed = { .identity = { 1, 2, 3 } }, .dataset = "d" };
	uint8_t none[16] = { 0 }, other[16] = { 5 };
	struct pen_txn *txn = begin();
	uint64_t id;

	create(txn, 100, &facts);
	create(txn, 101, &facts);
	cr_assert_eq(pen_ledger_find(txn, facts.fixed.identity, &id), 0);
	cr_assert_eq(id, 101);
	cr_assert_eq(pen_ledger_find(txn, other, &id), -PEN_NOT_FOUND);
	cr_assert_eq(pen_ledger_find(txn, none, &id), -PEN_NOT_FOUND);
	/* A snapshot does not see what is not committed. */
	cr_assert_eq(pen_ledger_look(shop.store, facts.fixed.identity, &id), -PEN_NOT_FOUND);
	cr_assert_eq(pen_txn_commit(txn, NULL), 0);
	cr_assert_eq(pen_ledger_look(shop.store, facts.fixed.identity, &id), 0);
	cr_assert_eq(id, 101);
	cr_assert_eq(pen_ledger_look(shop.store, other, &id), -PEN_NOT_FOUND);
	cr_assert_eq(pen_ledger_look(shop.store, none, &id), -PEN_NOT_FOUND);
}

Test(ledger, missing_batches_are_not_found)
{
	struct pen_batch_info info;

	cr_assert_eq(pen_ledger_read(shop.store, 5, NULL, NULL), -PEN_NOT_FOUND);
	cr_assert_eq(pen_batch_get(shop.store, 5, &info), -PEN_NOT_FOUND);
	cr_assert_eq(pen_batch_before(shop.store, UINT64_MAX), 0);
	cr_assert_eq(pen_batch_cancel(shop.store, 5, NULL), -PEN_NOT_FOUND);
}

Test(ledger, prefixes_resolve_when_they_fit_one_batch)
{
	static const uint64_t ids[] = { 0x00000000000000ab, 0x1234500000000000, 0x1234567890abcdef,
					0xfedcba9876543210, 0xffffffffffffff00 };
	static const struct {
		const char *text;
		int rc;
		uint64_t id;
	} cases[] = {
		{ "1234567890abcdef", 0, 0x1234567890abcdef },
		{ "1234567890ABCDEF", 0, 0x1234567890abcdef },
		{ "12345", -PEN_AMBIGUOUS, 0 },
		{ "123456", 0, 0x1234567890abcdef },
		{ "1234500", 0, 0x1234500000000000 },
		{ "f", -PEN_AMBIGUOUS, 0 },
		{ "FE", 0, 0xfedcba9876543210 },
		{ "ff", 0, 0xffffffffffffff00 },
		{ "0", 0, 0xab },
		{ "00000000000000ab", 0, 0xab },
		{ "00000000000000ac", -PEN_NOT_FOUND, 0 },
		{ "2", -PEN_NOT_FOUND, 0 },
		{ "", -PEN_NOT_FOUND, 0 },
		{ "xyz", -PEN_NOT_FOUND, 0 },
		{ "1234567890abcdef0", -PEN_NOT_FOUND, 0 },
		{ "@last", 0, 0xffffffffffffff00 },
		{ "@running", -PEN_NOT_FOUND, 0 },
		{ "@first", -PEN_NOT_FOUND, 0 },
	};

	create_ids(ids, PEN_COUNT(ids));
	for (size_t i = 0; i < PEN_COUNT(cases); i++) {
		uint64_t id = 0;

		cr_expect_eq(pen_batch_find(shop.store, cases[i].text, &id), cases[i].rc, "%s",
			     cases[i].text);
		cr_expect_eq(id, cases[i].id, "%s", cases[i].text);
	}
}

Test(ledger, before_walks_from_newest_to_oldest)
{
	static const uint64_t ids[] = { 3, 70, 5000 };

	create_ids(ids, PEN_COUNT(ids));
	cr_assert_eq(pen_batch_before(shop.store, UINT64_MAX), 5000);
	cr_assert_eq(pen_batch_before(shop.store, 5000), 70);
	cr_assert_eq(pen_batch_before(shop.store, 71), 70);
	cr_assert_eq(pen_batch_before(shop.store, 70), 3);
	cr_assert_eq(pen_batch_before(shop.store, 3), 0);
	cr_assert_eq(pen_batch_before(shop.store, 0), 0);
}

static const struct plan seq_running = { .dataset = "d",
					 .key_kind = PEN_KEY_SEQ,
					 .state = PEN_RUNNING,
					 .records = 5,
					 .rejected = 2,
					 .feeds = true };

Test(ledger, a_running_batch_that_nobody_holds_is_interrupted)
{
	uint64_t id = plant_batch(shop.store, &seq_running), found;
	struct pen_batch_info info;
	uint32_t pid;
	int fd;

	cr_assert_eq(pen_batch_get(shop.store, id, &info), 0);
	cr_assert_eq(info.state, PEN_INTERRUPTED);
	cr_assert_eq(info.runner_pid, 0);
	cr_assert_eq(pen_batch_find(shop.store, "@running", &found), -PEN_NOT_FOUND);
	cr_assert_eq(pen_lock_batch(shop.store, id, &fd, &pid), 0);
	cr_assert_eq(pen_batch_get(shop.store, id, &info), 0);
	cr_assert_eq(info.state, PEN_RUNNING);
	cr_assert_eq(info.runner_pid, (uint32_t)getpid());
	cr_assert_eq(pen_batch_find(shop.store, "@running", &found), 0);
	cr_assert_eq(found, id);
	cr_assert_eq(pen_batch_cancel(shop.store, id, NULL), -EBUSY);
	pen_lock_release(shop.store, id, fd);
}

Test(ledger, info_tells_what_was_stored)
{
	uint64_t id = plant_batch(shop.store, &seq_running);
	struct pen_batch_info info;

	cr_assert_eq(pen_batch_get(shop.store, id, &info), 0);
	cr_assert_eq(info.id, id);
	cr_assert_eq(info.counted.items, 7);
	cr_assert_eq(info.counted.committed, 5);
	cr_assert_eq(info.counted.rejected, 2);
	cr_assert_str_eq(info.dataset, "d");
	cr_assert_str_eq(info.sources, "one.ndjson");
	cr_assert_str_eq(info.labels, "a=1\nb=2");
	cr_assert_str_eq(info.place, "one.ndjson");
	cr_assert_eq(info.place_offset, 4000);
	cr_assert_eq(info.bytes_total, 5000);
}

Test(ledger, long_strings_are_cut_at_a_character)
{
	struct pen_facts facts = { .dataset = "d" };
	struct pen_batch_info info;
	struct pen_txn *txn = begin();
	char *list = malloc(9001);

	cr_assert(list);
	for (int i = 0; i < 3000; i++)
		memcpy(list + 3 * i, "€", 3);
	list[9000] = 0;
	facts.sources = list;
	facts.sources_len = 9000;
	facts.key = list;
	create(txn, 9, &facts);
	cr_assert_eq(pen_txn_commit(txn, NULL), 0);
	cr_assert_eq(pen_batch_get(shop.store, 9, &info), 0);
	cr_assert_eq(strlen(info.key), 510);
	cr_assert_eq(strlen(info.sources) % 3, 0);
	cr_assert_gt(strlen(info.sources), 1000);
	free(list);
}

Test(ledger, cancel_ends_a_batch_and_frees_its_dataset)
{
	uint64_t id = plant_batch(shop.store, &seq_running);
	struct pen_failure why = { 0 };
	struct pen_batch_info info;
	struct pen_dataset *ds;
	struct pen_cursor *cur;
	struct pen_event event;
	struct pen_txn *txn;
	int last = 0;

	cr_assert_eq(pen_batch_cancel(shop.store, id, &why), 0, "%s", why.text);
	cr_assert_eq(pen_batch_get(shop.store, id, &info), 0);
	cr_assert_eq(info.state, PEN_CANCELLED);
	cr_assert_eq(info.code, -PEN_CANCELLED_BY);
	cr_assert_gt(info.ended_ms, 0);
	txn = begin();
	cr_assert_eq(pen_dataset_use(txn, "d", PEN_KEY_SEQ, &ds, NULL), 0);
	cr_assert_eq(pen_dataset_feeder(ds), 0);
	pen_txn_abort(txn);
	cr_assert_eq(pen_events_open(shop.store, id, 0, &cur), 0);
	while (pen_events_next(cur, &event) == 1)
		last = event.type;
	pen_cursor_close(cur);
	cr_assert_eq(last, PEN_EVENT_CANCELLED);
	cr_assert_eq(pen_batch_cancel(shop.store, id, &why), -PEN_BATCH_OVER);
}

/* Every cut and every length that points too far: never an over-read (the copy ends where the bytes end). */
Test(ledger, damaged_values_are_refused)
{
	uint64_t id = plant_batch(shop.store, &seq_running);
	struct pen_facts *facts;
	struct raw raw;
	size_t len;
	uint8_t *value;

	shop_close(&shop);
	raw_begin(&shop, &raw);
	value = raw_get_id(&raw, "penstock.batches", id, &len);
	mdb_txn_abort(raw.txn);
	mdb_env_close(raw.env);
	for (size_t cut = 0; cut < len; cut++) {
		uint8_t *copy = malloc(cut ? cut : 1);

		memcpy(copy, value, cut);
		if (cut >= 8)
			raw_reseal(copy, cut);
		cr_assert_eq(pen_ledger_decode_facts(copy, cut, id, &facts), -PEN_STORE_DAMAGED, "cut at %zu",
			     cut);
		free(copy);
	}
	for (size_t at = sizeof(struct pen_fmt_batch); at + 4 <= len; at++) {
		static const uint32_t lengths[] = { UINT32_MAX, 1u << 31, 1000 };

		for (size_t i = 0; i < PEN_COUNT(lengths); i++) {
			uint8_t *copy = malloc(len);

			memcpy(copy, value, len);
			memcpy(copy + at, &lengths[i], 4);
			if (!pen_ledger_decode_facts(copy, len, id, &facts))
				cr_assert_fail("the CRC does not fit at %zu", at);
			raw_reseal(copy, len);
			if (!pen_ledger_decode_facts(copy, len, id, &facts))
				free(facts);
			free(copy);
		}
	}
	cr_assert_eq(pen_ledger_decode_facts(value, len, id + 1, &facts), -PEN_STORE_DAMAGED);
	free(value);
	shop_open(&shop);
}

Test(ledger, names_of_all_states)
{
	for (int i = PEN_QUEUED; i <= PEN_CANCELLED; i++)
		cr_expect_str_neq(pen_state_name(i), "unknown");
	for (int i = PEN_ITEM_COMMITTED; i <= PEN_ITEM_RETRYING; i++)
		cr_expect_str_neq(pen_item_state_name(i), "unknown");
	for (int i = PEN_FORMAT_AUTO; i < PEN_FORMAT_COUNT; i++)
		cr_expect_str_neq(pen_format_name(i), "unknown");
	cr_expect_str_eq(pen_state_name(PEN_INTERRUPTED), "interrupted");
	cr_expect_str_eq(pen_state_name(0), "unknown");
	cr_expect_str_eq(pen_item_state_name(99), "unknown");
}
