/* SPDX-License-Identifier: MIT */
#include "engine/chunk.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define LEAD 128u

struct slot {
	char *memory;
	struct pen_chunk chunk;
};

static void bind(struct slot *slot, uint32_t chunk_bytes)
{
	size_t bytes = pen_chunk_slot_bytes(chunk_bytes);

	slot->memory = aligned_alloc(PEN_LINE_PAIR, pen_round_up(bytes, PEN_LINE_PAIR));
	cr_assert(slot->memory);
	memset(slot->memory, 0xaa, bytes);
	pen_chunk_bind(&slot->chunk, 7, slot->memory, chunk_bytes);
	pen_chunk_reset(&slot->chunk);
}

/* Every part can be written from end to end, and none lies in another: a sanitizer watches the slot's borders. */
Test(chunk, parts_of_a_slot_do_not_overlap)
{
	static const uint32_t sizes[] = { PEN_CHUNK_BYTES_MIN, 4096, PEN_CHUNK_ROOM_MIN, PEN_CHUNK_BYTES,
					  PEN_CHUNK_BYTES_MAX };

	for (size_t i = 0; i < PEN_COUNT(sizes); i++) {
		struct slot s;
		struct pen_chunk *c = &s.chunk;
		size_t data;

		bind(&s, sizes[i]);
		data = c->room + PEN_JSON_PADDING;
		cr_expect_geq(c->capacity, sizes[i]);
		cr_expect_geq(c->capacity, PEN_CHUNK_ROOM_MIN);
		cr_expect_eq(c->data, s.memory);
		cr_expect_geq(c->keys, c->data + data);
		cr_expect_geq((char *)c->table, c->keys + c->keys_cap);
		cr_expect_geq(c->keys_cap, sizes[i] + 16 * PEN_CHUNK_ITEMS);
		cr_expect_leq((char *)(c->table + PEN_CHUNK_ITEMS),
			      s.memory + pen_chunk_slot_bytes(sizes[i]));
		cr_expect_eq((uintptr_t)c->table % sizeof *c->table, 0);
		memset(c->data, 1, data);
		memset(c->keys, 2, c->keys_cap);
		memset(c->table, 3, PEN_CHUNK_ITEMS * sizeof *c->table);
		cr_expect_eq(c->data[data - 1], 1);
		cr_expect_eq(c->keys[c->keys_cap - 1], 2);
		free(s.memory);
	}
}

Test(chunk, reset_leaves_the_slot_and_nothing_else)
{
	struct slot s;
	struct pen_chunk *c = &s.chunk, empty;
	char elsewhere[16];

	bind(&s, 1024);
	empty = *c;
	cr_assert_eq(pen_chunk_add_key(c, "key", 3), 0);
	pen_chunk_add_flaw(c, 0, 0, -PEN_JSON_BAD);
	c->data = elsewhere; /* as with a record in the jumbo buffer */
	c->room = sizeof elsewhere;
	c->jumbo = c->append = true;
	c->items = 5;
	c->sums[3].lo = 1;
	pen_chunk_reset(c);
	cr_expect_eq(memcmp(c, &empty, sizeof empty), 0);
	free(s.memory);
}

Test(chunk, keys_fill_up_and_then_refuse)
{
	struct slot s;
	struct pen_chunk *c = &s.chunk;
	char block[512];
	uint32_t n = 0;

	bind(&s, PEN_CHUNK_BYTES_MIN);
	memset(block, 'k', sizeof block);
	while (pen_chunk_add_key(c, block, sizeof block) == n * sizeof block)
		n++;
	cr_expect_eq(n, c->keys_cap / sizeof block);
	cr_expect_eq(pen_chunk_add_key(c, block, c->keys_cap - c->keys_used + 1), UINT32_MAX);
	cr_expect_neq(pen_chunk_add_key(c, block, c->keys_cap - c->keys_used), UINT32_MAX);
	cr_expect_eq(c->keys_used, c->keys_cap);
	cr_expect_eq(pen_chunk_add_key(c, block, 1), UINT32_MAX);
	cr_expect_neq(pen_chunk_add_key(c, block, 0), UINT32_MAX);
	free(s.memory);
}

Test(chunk, flaws_come_from_the_back_in_order)
{
	struct slot s;
	struct pen_chunk *c = &s.chunk;

	bind(&s, PEN_CHUNK_BYTES_MIN);
	for (uint32_t i = 0; i < PEN_CHUNK_ITEMS; i++)
		pen_chunk_add_flaw(c, i, 2 * i, i % 2 ? -PEN_JSON_BAD : PEN_KEY_TYPE); /* either sign */
	for (uint32_t i = 0; i < PEN_CHUNK_ITEMS; i++) {
		const struct pen_flaw *flaw = pen_chunk_flaw(c, i);

		cr_assert(flaw->item == i && flaw->line == 2 * i && !flaw->len && !flaw->detail);
		cr_assert_eq(flaw->code, i % 2 ? PEN_JSON_BAD : PEN_KEY_TYPE);
	}
	cr_expect_eq((void *)pen_chunk_flaw(c, PEN_CHUNK_ITEMS - 1), (void *)c->table);
	free(s.memory);
}

static struct pen_entry entry(struct pen_chunk *c, const char *key, size_t len)
{
	struct pen_entry e = { .key_at = pen_chunk_add_key(c, key, len), .key_len = (uint16_t)len };
	uint8_t front[8] = { 0 };

	memcpy(front, key, pen_min(len, sizeof front));
	e.prefix = pen_get_be64(front);
	return e;
}

/* The order of LMDB: bytes without sign, a shorter key before its extensions. */
Test(chunk, entries_compare_as_their_keys)
{
	static const struct {
		const char *key;
		size_t len;
	} rising[] = {
		{ "\0", 1 },
		{ "\0\0", 2 },
		{ "\0\0\0\0\0\0\0\0", 8 },
		{ "\0\0\0\0\0\0\0\0\0", 9 },
		{ "\0\1", 2 },
		{ "a", 1 },
		{ "a\0", 2 },
		{ "ab", 2 },
		{ "abcdefgh", 8 },
		{ "abcdefgh\0", 9 },
		{ "abcdefgha", 9 },
		{ "abcdefghb", 9 },
		{ "b", 1 },
		{ "\x7f", 1 },
		{ "\x80", 1 },
		{ "\xff\xff\xff\xff\xff\xff\xff\xff", 8 },
		{ "\xff\xff\xff\xff\xff\xff\xff\xff\xff", 9 },
	};
	struct slot s, t;

	bind(&s, PEN_CHUNK_BYTES_MIN);
	bind(&t, PEN_CHUNK_BYTES_MIN);
	for (size_t i = 0; i < PEN_COUNT(rising); i++)
		for (size_t k = 0; k < PEN_COUNT(rising); k++) {
			struct pen_entry x = entry(&s.chunk, rising[i].key, rising[i].len);
			struct pen_entry y = entry(&t.chunk, rising[k].key, rising[k].len);
			int c = pen_entry_compare(&s.chunk, &x, &t.chunk, &y);

			cr_expect_eq((c > 0) - (c < 0), (i > k) - (i < k), "%zu %zu: %d", i, k, c);
		}
	free(s.memory);
	free(t.memory);
}

Test(chunk, a_number_is_its_own_key)
{
	static const uint64_t numbers[] = { 0, 1, 255, 256, UINT64_MAX };
	struct slot s;
	uint8_t buf[8];

	bind(&s, PEN_CHUNK_BYTES_MIN);
	for (size_t i = 0; i < PEN_COUNT(numbers); i++) {
		struct pen_entry e = { .prefix = numbers[i], .key_len = 8, .flags = PEN_KEY_IS_PREFIX };
		const uint8_t *key = pen_entry_key(&s.chunk, &e, buf);

		cr_expect_eq(pen_get_be64(key), numbers[i]);
		cr_expect_eq(pen_entry_compare(&s.chunk, &e, &s.chunk, &e), 0);
	}
	free(s.memory);
}

Test(chunk, a_key_lies_in_keys_or_in_data)
{
	struct slot s;
	struct pen_entry e;
	uint8_t buf[8];

	bind(&s, PEN_CHUNK_BYTES_MIN);
	memcpy(s.chunk.data + LEAD, "in data", 7);
	e = (struct pen_entry){ .key_at = LEAD, .key_len = 7, .flags = PEN_KEY_IN_DATA };
	cr_expect_eq(memcmp(pen_entry_key(&s.chunk, &e, buf), "in data", 7), 0);
	e = entry(&s.chunk, "in keys", 7);
	cr_expect_eq(memcmp(pen_entry_key(&s.chunk, &e, buf), "in keys", 7), 0);
	free(s.memory);
}
