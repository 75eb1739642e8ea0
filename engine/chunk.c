/* SPDX-License-Identifier: MIT */
#include "engine/chunk.h"

#include "ring/arena.h"
#include "ring/assert.h"

static size_t data_bytes(uint32_t chunk_bytes)
{
	return pen_round_up((size_t)pen_max(chunk_bytes, PEN_CHUNK_ROOM_MIN) + PEN_JSON_PADDING,
			    PEN_LINE_PAIR);
}

static size_t key_bytes(uint32_t chunk_bytes)
{
	return pen_round_up((size_t)chunk_bytes + PEN_CHUNK_PATHS, PEN_LINE_PAIR);
}

size_t pen_chunk_slot_bytes(uint32_t chunk_bytes)
{
	return data_bytes(chunk_bytes) + key_bytes(chunk_bytes) + PEN_CHUNK_ITEMS * sizeof(struct pen_entry);
}

void pen_chunk_bind(struct pen_chunk *chunk, uint32_t tag, char *slot, uint32_t chunk_bytes)
{
	chunk->tag = tag;
	chunk->data = slot;
	chunk->capacity = chunk_bytes > PEN_CHUNK_ROOM_MIN ? chunk_bytes : PEN_CHUNK_ROOM_MIN;
	chunk->keys = slot + data_bytes(chunk_bytes);
	chunk->keys_cap = (uint32_t)key_bytes(chunk_bytes);
	chunk->table = (struct pen_entry *)(void *)(chunk->keys + key_bytes(chunk_bytes));
}

void pen_chunk_reset(struct pen_chunk *chunk)
{
	char *slot = chunk->keys - data_bytes(chunk->capacity);

	*chunk = (struct pen_chunk){
		.tag = chunk->tag,
		.data = slot,
		.capacity = chunk->capacity,
		.room = chunk->capacity,
		.keys = chunk->keys,
		.keys_cap = chunk->keys_cap,
		.table = chunk->table,
	};
}

struct pen_flaw *pen_chunk_add_flaw(struct pen_chunk *chunk, uint32_t item, uint32_t line, int code)
{
	struct pen_flaw *flaw;

	pen_assert(chunk->entry_count + chunk->flaw_count < PEN_CHUNK_ITEMS);
	flaw = pen_chunk_flaw(chunk, chunk->flaw_count++);
	*flaw = (struct pen_flaw){ .item = item, .line = line, .code = (uint16_t)(code < 0 ? -code : code) };
	return flaw;
}

uint32_t pen_chunk_add_key(struct pen_chunk *chunk, const void *data, size_t len)
{
	uint32_t at = chunk->keys_used;

	if (len > chunk->keys_cap - at)
		return UINT32_MAX;
	memcpy(chunk->keys + at, data, len);
	chunk->keys_used += (uint32_t)len;
	return at;
}

int pen_entry_compare(const struct pen_chunk *a, const struct pen_entry *x, const struct pen_chunk *b,
		      const struct pen_entry *y)
{
	uint8_t bx[8], by[8];
	int c;

	if (x->prefix != y->prefix)
		return x->prefix < y->prefix ? -1 : 1;
	c = memcmp(pen_entry_key(a, x, bx), pen_entry_key(b, y, by), pen_min(x->key_len, y->key_len));
	return c ? c : (x->key_len > y->key_len) - (x->key_len < y->key_len);
}

void pen_chunk_leave_out(struct pen_chunk *chunk, const uint8_t bits[PEN_CHUNK_ITEMS / 8])
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < chunk->entry_count; i++) {
		uint32_t item = chunk->table[i].item;

		if (!(bits[item / 8] >> item % 8 & 1))
			chunk->table[kept++] = chunk->table[i];
	}
	chunk->entry_count = kept;
}
