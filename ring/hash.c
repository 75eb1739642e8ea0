/* SPDX-License-Identifier: MIT */
/*
 * hash - the door to xxHash, and CRC32C
 *
 * xxHash is called through libxxhash's own run-time dispatch: the program runs on any x86-64 (SSE2) and uses
 * AVX2 or AVX-512 where the CPU has them. Below 240 bytes the vector width does not matter and it costs what
 * the inlined header would; at 1 KiB it is 1.6 times, at 256 KiB 3 times as fast as the inlined SSE2 one.
 * CRC32C picks between the SSE4.2 instruction and a table in the same way.
 *
 * A record's digest is taken over one buffer: small ones are put together on the stack, because xxHash's
 * streaming state costs 30 to 40 ns to set up; large ones are streamed. Both give the same digest.
 */
#include "ring/hash.h"

#include <stdlib.h>
#include <string.h>

#define XXH_STATIC_LINKING_ONLY /* the streaming state lives on our stack */
#ifdef __x86_64__
#include <xxh_x86dispatch.h>
#else
#include <xxhash.h>
#endif

#include "ring/assert.h"
#include "ring/base.h"

#define ASSEMBLE_MAX 2048u

/* Hardened builds fill every local variable; here that would cost as much as the hash. */
#if defined(__has_attribute)
#if __has_attribute(uninitialized)
#define UNFILLED __attribute__((uninitialized))
#endif
#endif
#ifndef UNFILLED
#define UNFILLED
#endif

static struct pen_sum sum_of(XXH128_hash_t h)
{
	return (struct pen_sum){ .lo = h.low64, .hi = h.high64 };
}

/*
 * libxxhash looks at the CPU in its first long hash, into plain globals: let that happen before there are
 * threads.
 */
__attribute__((constructor)) static void hash_choose(void)
{
	static const char zeros[512];

	(void)XXH3_64bits(zeros, sizeof(zeros)); /* for its side effect */
	(void)XXH3_128bits(zeros, sizeof(zeros));
}

struct pen_sum pen_hash128(const void *data, size_t len)
{
	return sum_of(XXH3_128bits(data, len));
}

uint64_t pen_hash64(const void *data, size_t len)
{
	return XXH3_64bits(data, len);
}

struct pen_sum pen_hash_record(const void *key, size_t key_len, const void *value, size_t value_len)
{
	uint32_t prefix = (uint32_t)key_len; /* little-endian as it lies: base.h */

	pen_assert(key_len <= UINT32_MAX);
	if (key_len <= ASSEMBLE_MAX && value_len <= ASSEMBLE_MAX &&
	    sizeof(prefix) + key_len + value_len <= ASSEMBLE_MAX) {
		UNFILLED char all[ASSEMBLE_MAX];

		memcpy(all, &prefix, sizeof(prefix));
		if (key_len)
			memcpy(all + sizeof(prefix), key, key_len);
		if (value_len)
			memcpy(all + sizeof(prefix) + key_len, value, value_len);
		return sum_of(XXH3_128bits(all, sizeof(prefix) + key_len + value_len));
	}

	UNFILLED XXH3_state_t state;

	/* None of these can fail: they refuse only a NULL state or NULL data. */
	(void)XXH3_128bits_reset(&state);
	(void)XXH3_128bits_update(&state, &prefix, sizeof(prefix));
	if (key_len)
		(void)XXH3_128bits_update(&state, key, key_len);
	if (value_len)
		(void)XXH3_128bits_update(&state, value, value_len);
	return sum_of(XXH3_128bits_digest(&state));
}

struct pen_hash_stream {
	XXH3_state_t state;
};

struct pen_hash_stream *pen_hash_stream_open(void)
{
	struct pen_hash_stream *stream = aligned_alloc(_Alignof(struct pen_hash_stream), sizeof *stream);

	if (stream) {
		memset(stream, 0, sizeof *stream);
		pen_hash_stream_reset(stream);
	}
	return stream;
}

void pen_hash_stream_reset(struct pen_hash_stream *stream)
{
	(void)XXH3_128bits_reset(&stream->state); /* as above */
}

void pen_hash_stream_close(struct pen_hash_stream *stream)
{
	free(stream);
}

void pen_hash_stream_add(struct pen_hash_stream *stream, const void *data, size_t len)
{
	if (len)
		(void)XXH3_128bits_update(&stream->state, data, len); /* as above */
}

struct pen_sum pen_hash_stream_sum(const struct pen_hash_stream *stream)
{
	return sum_of(XXH3_128bits_digest(&stream->state));
}

uint32_t pen_hash_bucket(const void *key, size_t key_len)
{
	return (uint32_t)(XXH3_64bits(key, key_len) % PEN_BUCKETS);
}

/* The CRC of one byte value, for the reflected polynomial 0x82f63b78. */
#define STEP(c) (((c) >> 1) ^ (((c)&1) ? 0x82f63b78u : 0))
#define STEP4(c) STEP(STEP(STEP(STEP(c))))

/* By half bytes: 64 bytes of table stay in the cache beside everything else. */
#define NIBBLE(n) STEP4((uint32_t)(n))
static const uint32_t nibble_crc[16] = {
	NIBBLE(0), NIBBLE(1), NIBBLE(2),  NIBBLE(3),  NIBBLE(4),  NIBBLE(5),  NIBBLE(6),  NIBBLE(7),
	NIBBLE(8), NIBBLE(9), NIBBLE(10), NIBBLE(11), NIBBLE(12), NIBBLE(13), NIBBLE(14), NIBBLE(15),
};

uint32_t pen_crc32c_table(const void *data, size_t len)
{
	const unsigned char *at = data;
	uint32_t crc = UINT32_MAX;

	for (size_t i = 0; i < len; i++) {
		crc ^= at[i];
		crc = (crc >> 4) ^ nibble_crc[crc & 15];
		crc = (crc >> 4) ^ nibble_crc[crc & 15];
	}
	return ~crc;
}

#ifdef __x86_64__
__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(const void *data, size_t len)
{
	const unsigned char *at = data;
	uint64_t crc = UINT32_MAX;

	for (; len >= 8; at += 8, len -= 8) {
		uint64_t word;

		memcpy(&word, at, 8);
		crc = __builtin_ia32_crc32di(crc, word);
	}
	for (; len; at++, len--)
		crc = __builtin_ia32_crc32qi((uint32_t)crc, *at);
	return ~(uint32_t)crc;
}
#endif

uint32_t pen_crc32c(const void *data, size_t len)
{
#ifdef __x86_64__
	if (__builtin_cpu_supports("sse4.2"))
		return crc32c_sse42(data, len);
#endif
	return pen_crc32c_table(data, len);
}
