/* SPDX-License-Identifier: MIT */
/*
 * hash - the door to xxHash, and CRC32C
 *
 * The digest of a record is XXH3-128 over u32le key length, key bytes, value bytes. A dataset's digest is the
 * sum of its records' digests modulo 2^128, kept in 256 buckets by key, so it does not depend on order, and a
 * record is taken out by subtracting.
 *
 *   Threads    pure functions, anyone.
 */
#ifndef PEN_RING_HASH_H
#define PEN_RING_HASH_H

#include <stddef.h>
#include <stdint.h>

struct pen_sum {
	uint64_t lo, hi;
};

#define PEN_BUCKETS 256u

/* XXH3-128 of the bytes; lo is xxHash's low64. */
struct pen_sum pen_hash128(const void *data, size_t len);
uint64_t pen_hash64(const void *data, size_t len);
/* The digest of one record. */
struct pen_sum pen_hash_record(const void *key, size_t key_len, const void *value, size_t value_len);
/* The bucket of a key: the low byte of its XXH3-64. */
uint32_t pen_hash_bucket(const void *key, size_t key_len);
/* CRC32C (Castagnoli), as RFC 3720 B.4: of "123456789" it is 0xe3069283. */
uint32_t pen_crc32c(const void *data, size_t len);
/* The same for a CPU without SSE4.2; pen_crc32c chooses. */
uint32_t pen_crc32c_table(const void *data, size_t len);

/* XXH3-128 of bytes that come in pieces: the sum so far is that of all bytes so far. One thread. */
struct pen_hash_stream;
struct pen_hash_stream *pen_hash_stream_open(void);	    /* NULL: no memory */
void pen_hash_stream_close(struct pen_hash_stream *stream); /* NULL is allowed */
void pen_hash_stream_reset(struct pen_hash_stream *stream);
void pen_hash_stream_add(struct pen_hash_stream *stream, const void *data, size_t len);
struct pen_sum pen_hash_stream_sum(const struct pen_hash_stream *stream);

static inline void pen_sum_add(struct pen_sum *to, struct pen_sum v)
{
	to->hi += v.hi + __builtin_add_overflow(to->lo, v.lo, &to->lo);
}

static inline void pen_sum_sub(struct pen_sum *from, struct pen_sum v)
{
	from->hi -= v.hi + __builtin_sub_overflow(from->lo, v.lo, &from->lo);
}

#endif
