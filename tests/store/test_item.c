/* SPDX-License-Identifier: MIT */
#include "store/item.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "ring/base.h"
#include "store/store_private.h"
#include "tests/store/plant.h"

static struct shop shop;
static uint64_t batch;

static void set_up(void)
{
	static const struct plan plan = { .dataset = "d", .key_kind = PEN_KEY_POINTER, .state = PEN_RUNNING };

	shop_make(&shop);
	batch = plant_batch(shop.store, &plan);
	plant_batch(shop.store, &(struct plan){ .dataset = "d",
						.key_kind = PEN_KEY_POINTER,
						.state = PEN_COMPLETED,
						.rejected = 3 });
}

static void tear_down(void)
{
	pen_item_set_detail(NULL);
	shop_remove(&shop);
}

TestSuite(item, .init = set_up, .fini = tear_down);

static void put(const struct pen_row *row)
{
	struct pen_txn *txn;

	cr_assert_eq(pen_txn_begin(shop.store, PEN_DURABLE_COMMIT, &txn, NULL, NULL), 0);
	cr_assert_eq(pen_item_put(txn, row), 0);
	cr_assert_eq(pen_txn_commit(txn, NULL), 0);
}

static struct pen_cursor *open_all(int state, int code, int64_t after)
{
	struct pen_cursor *cur;

	cr_assert_eq(pen_items_open(shop.store, batch, state, code, after, &cur), 0);
	return cur;
}

Test(item, a_row_comes_back_as_it_went)
{
	static const size_t sizes[] = { 0,     1, 1900, 4096, PEN_RAW_MAX - 1, PEN_RAW_MAX, PEN_RAW_MAX + 1,
					200000 };
	char *raw = plant_value(1, 200000);

	for (size_t i = 0; i < PEN_COUNT(sizes); i++) {
		size_t kept = pen_min(sizes[i], PEN_RAW_MAX);
		struct pen_cursor *cur;
		struct pen_item item;

		put(&(struct pen_row){ .batch = batch,
				       .seq = i,
				       .state = PEN_ITEM_REJECTED,
				       .code = -PEN_JSON_BAD,
				       .path = "sub/file.json",
				       .line = 7,
				       .offset = 1u << 30,
				       .column = 9,
				       .key = "k\0y",
				       .key_len = 3,
				       .raw = raw,
				       .raw_len = sizes[i],
				       .raw_total = 300000,
				       .attempts = 4 });
		cur = open_all(0, 0, (int64_t)i - 1);
		cr_assert_eq(pen_items_next(cur, &item), 1);
		cr_expect_eq(item.batch, batch);
		cr_expect_eq(item.seq, i);
		cr_expect_eq(item.state, PEN_ITEM_REJECTED);
		cr_expect_eq(item.code, -PEN_JSON_BAD);
		cr_expect_str_eq(item.source, "one.ndjson/sub/file.json");
		cr_expect_eq(item.line, 7);
		cr_expect_eq(item.offset, 1u << 30);
		cr_expect_eq(item.column, 9);
		cr_expect_str_eq(item.message, "JSON is malformed");
		cr_expect_eq(item.raw.len, kept);
		cr_expect_eq(memcmp(item.raw.data, raw, kept), 0);
		cr_expect_eq(item.raw_total, 300000);
		cr_expect_eq(item.key.len, 3);
		cr_expect_eq(memcmp(item.key.data, "k\0y", 3), 0);
		cr_expect_eq(item.attempts, 4);
		cr_assert_eq(pen_items_next(cur, &item), 0);
		cr_assert_eq(pen_items_next(cur, &item), 0);
		pen_cursor_close(cur);
	}
	free(raw);
}

Test(item, an_empty_row_is_a_row)
{
	struct pen_cursor *cur;
	struct pen_item item;

	put(&(struct pen_row){ .batch = batch, .seq = 0, .state = PEN_ITEM_FAILED, .code = -2, .source = 5 });
	cur = open_all(0, 0, -1);
	cr_assert_eq(pen_items_next(cur, &item), 1);
	cr_expect_str_eq(item.source, "");
	cr_expect_eq(item.key.len, 0);
	cr_expect_eq(item.raw.len, 0);
	pen_cursor_close(cur);
}

static const char *say_detail(uint8_t detail)
{
	return detail == 3 ? "a comma is missing" : NULL;
}

Test(item, the_detail_follows_the_sentence)
{
	static const struct {
		uint8_t detail;
		const char *text;
	} cases[] = { { 0, "JSON is malformed" },
		      { 3, "JSON is malformed: a comma is missing" },
		      { 4, "JSON is malformed" } };

	pen_item_set_detail(say_detail);
	for (size_t i = 0; i < PEN_COUNT(cases); i++) {
		struct pen_cursor *cur;
		struct pen_item item;

		put(&(struct pen_row){ .batch = batch,
				       .seq = i,
				       .state = PEN_ITEM_REJECTED,
				       .code = -PEN_JSON_BAD,
				       .detail = cases[i].detail });
		cur = open_all(0, 0, (int64_t)i - 1);
		cr_assert_eq(pen_items_next(cur, &item), 1);
		cr_expect_str_eq(item.message, cases[i].text);
		pen_cursor_close(cur);
	}
}

Test(item, filters_choose_rows)
{
	static const struct {
		enum pen_item_state state;
		int code;
	} rows[] = {
		{ PEN_ITEM_REJECTED, -PEN_JSON_BAD }, { PEN_ITEM_REJECTED, -PEN_KEY_LONG },
		{ PEN_ITEM_FAILED, -PEN_JSON_BAD },   { PEN_ITEM_SKIPPED, -PEN_DUPLICATE_KEPT },
		{ PEN_ITEM_REJECTED, -PEN_JSON_BAD },
	};
	static const struct {
		int state, code;
		int64_t after;
		const char *seqs;
	} cases[] = {
		{ 0, 0, -1, "01234" },
		{ 0, 0, 0, "1234" },
		{ 0, 0, 3, "4" },
		{ 0, 0, 4, "" },
		{ 0, 0, INT64_MAX, "" },
		{ PEN_ITEM_REJECTED, 0, -1, "014" },
		{ PEN_ITEM_REJECTED, -PEN_JSON_BAD, -1, "04" },
		{ 0, -PEN_JSON_BAD, 0, "24" },
		{ PEN_ITEM_SKIPPED, 0, -1, "3" },
		{ PEN_ITEM_QUARANTINED, 0, -1, "" },
	};

	for (size_t i = 0; i < PEN_COUNT(rows); i++)
		put(&(struct pen_row){
			.batch = batch, .seq = i, .state = rows[i].state, .code = rows[i].code });
	for (size_t i = 0; i < PEN_COUNT(cases); i++) {
		struct pen_cursor *cur = open_all(cases[i].state, cases[i].code, cases[i].after);
		char seqs[16] = "";
		struct pen_item item;
		size_t n = 0;

		while (pen_items_next(cur, &item) == 1)
			seqs[n++] = (char)('0' + item.seq);
		cr_expect_str_eq(seqs, cases[i].seqs, "case %zu: %s", i, seqs);
		pen_cursor_close(cur);
	}
}

Test(item, rows_of_a_missing_batch_are_not_found)
{
	struct pen_cursor *cur;

	cr_assert_eq(pen_items_open(shop.store, 12345, 0, 0, -1, &cur), -PEN_NOT_FOUND);
}

Test(item, a_damaged_row_is_refused_again_and_again)
{
	uint8_t key[16], *value;
	struct pen_cursor *cur;
	struct pen_item item;
	struct raw raw;
	size_t len;

	for (unsigned i = 0; i < 3; i++)
		put(&(struct pen_row){ .batch = batch,
				       .seq = i,
				       .state = PEN_ITEM_REJECTED,
				       .code = -PEN_JSON_BAD,
				       .raw = "abc",
				       .raw_len = 3 });
	shop_close(&shop);
	raw_begin(&shop, &raw);
	pen_put_be64(key, batch);
	pen_put_be64(key + 8, 1);
	value = raw_get(&raw, "penstock.items", key, 16, &len);
	value[len - 1] ^= 1;
	raw_put(&raw, "penstock.items", key, 16, value, len);
	raw_commit(&raw);
	free(value);
	shop_open(&shop);
	cur = open_all(0, 0, -1);
	cr_assert_eq(pen_items_next(cur, &item), 1);
	cr_assert_eq(pen_items_next(cur, &item), -PEN_STORE_DAMAGED);
	cr_assert_eq(pen_items_next(cur, &item), -PEN_STORE_DAMAGED);
	pen_cursor_close(cur);
}

Test(item, decode_never_reads_past_a_cut_value)
{
	uint8_t key[16], *value;
	struct pen_fmt_item item;
	const uint8_t *tail;
	struct raw raw;
	size_t len;

	put(&(struct pen_row){ .batch = batch,
			       .seq = 0,
			       .state = PEN_ITEM_REJECTED,
			       .path = "p",
			       .key = "key",
			       .key_len = 3,
			       .raw = "abc",
			       .raw_len = 3 });
	shop_close(&shop);
	raw_begin(&shop, &raw);
	pen_put_be64(key, batch);
	pen_put_be64(key + 8, 0);
	value = raw_get(&raw, "penstock.items", key, 16, &len);
	raw_commit(&raw);
	shop_open(&shop);
	cr_assert_eq(pen_item_decode(key, 16, value, len, &item, &tail), 0);
	for (size_t cut = 0; cut < len; cut++) {
		uint8_t *copy = malloc(cut ? cut : 1);

		memcpy(copy, value, cut);
		if (cut >= sizeof(struct pen_head))
			raw_reseal(copy, cut);
		cr_expect_eq(pen_item_decode(key, 16, copy, cut, &item, &tail), -PEN_STORE_DAMAGED);
		free(copy);
	}
	key[15] = 1;
	cr_expect_eq(pen_item_decode(key, 16, value, len, &item, &tail), -PEN_STORE_DAMAGED);
	free(value);
}

/* ---- items that were tried -------------------------------------------------------------------- */

static void check_copy(const struct pen_row *got, const struct pen_row *put)
{
	size_t message_len = put->message ? pen_min(strlen(put->message), PEN_MESSAGE_MAX) : 0;
	size_t stderr_len = pen_min(put->stderr_len, PEN_STDERR_MAX);

	cr_expect(got->tried && got->replaces);
	cr_expect_eq(got->batch, put->batch);
	cr_expect_eq(got->seq, put->seq);
	cr_expect_eq(got->state, put->state);
	cr_expect_eq(got->code, put->code);
	cr_expect_eq(got->source, put->source);
	cr_expect_eq(got->line, put->line);
	cr_expect_eq(got->offset, put->offset);
	cr_expect_eq(got->attempts, put->attempts);
	cr_expect_eq(got->due_ms, put->due_ms);
	cr_expect_eq(got->ended_ms, put->ended_ms);
	cr_expect_eq(got->spent_us, put->spent_us);
	cr_expect_eq(got->exit_status, put->exit_status);
	cr_expect_eq(got->term_signal, put->term_signal);
	cr_expect_eq(got->crashes, put->crashes);
	cr_expect_eq(got->form, put->form);
	cr_expect_str_eq(got->path ? got->path : "", put->path ? put->path : "");
	cr_expect(got->key_len == put->key_len &&
		  (!put->key_len || !memcmp(got->key, put->key, put->key_len)));
	cr_expect(got->raw_len == put->raw_len &&
		  (!put->raw_len || !memcmp(got->raw, put->raw, put->raw_len)));
	cr_expect(!message_len == !got->message &&
		  (!message_len || (strlen(got->message) == message_len &&
				    !memcmp(got->message, put->message, message_len))));
	cr_expect(got->stderr_len == stderr_len &&
		  (!stderr_len ||
		   !memcmp(got->stderr_tail, (const char *)put->stderr_tail + (put->stderr_len - stderr_len),
			   stderr_len)));
}

Test(item, a_tried_row_comes_back_whole)
{
	char *raw = plant_value(1, 200000), *words = plant_value(2, 6000);
	static const size_t raws[] = { 0, 3, PEN_RAW_MAX, PEN_RAW_MAX + 1, 200000 };
	static const size_t texts[] = { 0, 1, PEN_MESSAGE_MAX, PEN_STDERR_MAX, PEN_STDERR_MAX + 1, 6000 };

	words[6000] = 0;
	for (size_t r = 0; r < PEN_COUNT(raws); r++)
		for (size_t t = 0; t < PEN_COUNT(texts); t++) {
			struct pen_row row = { .batch = batch,
					       .seq = 3,
					       .state = t % 2 ? PEN_ITEM_RETRYING : PEN_ITEM_FAILED,
					       .code = -PEN_JSON_BAD,
					       .source = 0,
					       .path = t % 3 ? "a/b" : NULL,
					       .line = 9,
					       .offset = 1ull << 40,
					       .key = "k\0y",
					       .key_len = t % 4,
					       .raw = raw,
					       .raw_len = raws[r],
					       .raw_total = raws[r],
					       .attempts = 3,
					       .tried = true,
					       .replaces = true,
					       .due_ms = 5000 + t,
					       .ended_ms = 4000,
					       .spent_us = 77,
					       .exit_status = t % 2 ? -1 : 255,
					       .term_signal = 9,
					       .crashes = 2,
					       .form = 1,
					       .message = t ? words + 6000 - texts[t] : NULL,
					       .stderr_tail = words,
					       .stderr_len = texts[t] };
			struct pen_item_copy copy;
			struct pen_cursor *cur;
			struct pen_item item;
			struct pen_txn *txn;

			put(&row);
			cr_assert_eq(pen_item_read(shop.store, batch, 3, &copy), 0);
			check_copy(&copy.row, &row);
			free(copy.block);
			cr_assert_eq(pen_txn_begin(shop.store, PEN_DURABLE_COMMIT, &txn, NULL, NULL), 0);
			cr_assert_eq(pen_item_load(txn, batch, 3, &copy), 0);
			/* What was read can be put again as it is. */
			cr_assert_eq(pen_item_put(txn, &copy.row), 0);
			free(copy.block);
			cr_assert_eq(pen_txn_commit(txn, NULL), 0);
			cr_assert_eq(pen_item_read(shop.store, batch, 3, &copy), 0);
			check_copy(&copy.row, &row);
			free(copy.block);
			cur = open_all(row.state, 0, -1);
			cr_assert_eq(pen_items_next(cur, &item), 1);
			cr_expect_eq(item.due_ms, row.due_ms);
			cr_expect_eq(item.ended_ms, 4000);
			cr_expect_eq(item.spent_us, 77);
			cr_expect_eq(item.exit_status, row.exit_status);
			cr_expect_eq(item.term_signal, 9);
			cr_expect_eq(item.crashes, 2);
			cr_expect_eq(item.raw.len, raws[r]);
			cr_expect_eq(item.stderr_tail.len, pen_min(texts[t], PEN_STDERR_MAX));
			cr_expect_eq(strncmp(item.message, "JSON is malformed", 17), 0);
			cr_expect_eq(strlen(item.message),
				     17 + (t ? 2 + pen_min(texts[t], PEN_MESSAGE_MAX) : 0));
			cr_assert_eq(pen_items_next(cur, &item), 0);
			pen_cursor_close(cur);
		}
	free(raw);
	free(words);
}

Test(item, a_removed_row_is_gone_from_everywhere)
{
	struct pen_item_copy copy;
	struct pen_cursor *cur;
	struct pen_item item;
	struct pen_txn *txn;

	put(&(struct pen_row){
		.batch = batch, .seq = 4, .state = PEN_ITEM_RETRYING, .tried = true, .due_ms = 9 });
	cr_assert_eq(pen_txn_begin(shop.store, PEN_DURABLE_COMMIT, &txn, NULL, NULL), 0);
	cr_assert_eq(pen_item_remove(txn, batch, 4), 0);
	cr_expect_eq(pen_item_remove(txn, batch, 4), -PEN_NOT_FOUND);
	cr_expect_eq(pen_item_load(txn, batch, 4, &copy), -PEN_NOT_FOUND);
	cr_assert_eq(pen_txn_commit(txn, NULL), 0);
	cr_expect_eq(pen_item_read(shop.store, batch, 4, &copy), -PEN_NOT_FOUND);
	for (int state = 0; state <= PEN_ITEM_RETRYING; state++) {
		cur = open_all(state, 0, -1);
		cr_expect_eq(pen_items_next(cur, &item), 0);
		pen_cursor_close(cur);
	}
}

Test(item, which_and_last_tell_of_this_batch_alone)
{
	uint64_t seq = 0, empty = plant_batch(shop.store, &(struct plan){ .dataset = "d",
									  .key_kind = PEN_KEY_POINTER,
									  .state = PEN_RUNNING });
	static const uint64_t rows[] = { 0, 7, 8, 9, 20, 1ull << 40 };
	uint8_t bits[4];

	cr_expect_eq(pen_item_last(shop.store, batch, &seq), -PEN_NOT_FOUND, "there are rows behind it");
	cr_expect_eq(pen_item_last(shop.store, empty, &seq), -PEN_NOT_FOUND, "there are rows before it");
	for (size_t i = 0; i < PEN_COUNT(rows); i++) {
		put(&(struct pen_row){ .batch = batch, .seq = rows[i], .state = PEN_ITEM_FAILED });
		cr_assert_eq(pen_item_last(shop.store, batch, &seq), 0);
		cr_expect_eq(seq, rows[i]);
	}
	memset(bits, 0xaa, sizeof(bits));
	cr_assert_eq(pen_item_which(shop.store, batch, 0, 21, bits), 5);
	cr_expect(bits[0] == 0x81 && bits[1] == 0x03 && bits[2] == 0x10);
	cr_expect_eq(bits[3], 0xaa, "no byte more than was asked for");
	cr_assert_eq(pen_item_which(shop.store, batch, 8, 12, bits), 2);
	cr_expect(bits[0] == 0x03 && bits[1] == 0);
	cr_expect_eq(pen_item_which(shop.store, batch, 10, 10, bits), 0);
	cr_expect_eq(pen_item_which(shop.store, batch, (1ull << 40) + 1, 8, bits), 0);
	cr_expect_eq(pen_item_which(shop.store, empty, 0, 32, bits), 0);
}

Test(item, decode_of_a_tried_row_never_reads_past_a_cut_value)
{
	uint8_t key[16], *value;
	struct pen_fmt_item item;
	struct pen_fmt_try try;
	const uint8_t *tail;
	struct raw raw;
	size_t len;

	put(&(struct pen_row){ .batch = batch,
			       .seq = 0,
			       .state = PEN_ITEM_RETRYING,
			       .path = "p",
			       .raw = "abc",
			       .raw_len = 3,
			       .tried = true,
			       .message = "why",
			       .stderr_tail = "err",
			       .stderr_len = 3 });
	shop_close(&shop);
	raw_begin(&shop, &raw);
	pen_put_be64(key, batch);
	pen_put_be64(key + 8, 0);
	value = raw_get(&raw, "penstock.items", key, 16, &len);
	raw_commit(&raw);
	shop_open(&shop);
	cr_assert_eq(pen_item_decode_try(key, 16, value, len, &item, &try, &tail), 0);
	for (size_t cut = 0; cut < len; cut++) {
		uint8_t *copy = malloc(cut ? cut : 1);

		memcpy(copy, value, cut);
		if (cut >= sizeof(struct pen_head))
			raw_reseal(copy, cut);
		cr_expect_eq(pen_item_decode_try(key, 16, copy, cut, &item, &try, &tail), -PEN_STORE_DAMAGED);
		free(copy);
	}
	pen_seal(value, len, PEN_KIND_ITEM, 3);
	cr_expect_eq(pen_item_decode_try(key, 16, value, len, &item, &try, &tail), -PEN_STORE_NEWER);
	free(value);
}
