/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <isa-l.h>
#include <zstd.h>

#include "engine/unpack.h"
#include "include/penstock_error.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define TEXT_BYTES (1u << 20)

/* Bytes that grow. */
struct bytes {
	uint8_t *at;
	size_t len, cap;
};

static void add(struct bytes *to, const void *from, size_t n)
{
	if (to->len + n > to->cap) {
		to->cap = (to->len + n) * 2;
		to->at = realloc(to->at, to->cap);
		cr_assert(to->at);
	}
	if (n)
		memcpy(to->at + to->len, from, n);
	to->len += n;
}

static struct bytes text(size_t len)
{
	struct bytes b = { 0 };
	uint64_t x = 88172645463325252u;

	while (b.len < len) {
		char line[64];

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		add(&b, line,
		    (size_t)snprintf(line, sizeof(line), "{\"id\":%llu,\"kind\":\"%s\"}\n",
				     (unsigned long long)(x >> 40), x & 64 ? "open" : "view"));
	}
	b.len = len;
	return b;
}

/* One member. flags adds header fields: 2 crc, 4 extra, 8 name, 16 comment. */
static void gzip(struct bytes *to, const void *data, size_t len, uint8_t flags)
{
	size_t cap = len + len / 2 + 4096, from = to->len;
	uint8_t *body = malloc(cap);
	uint8_t head[10] = { 0x1f, 0x8b, 8, flags };
	struct isal_zstream s;
	uint32_t crc;

	isal_deflate_stateless_init(&s);
	s.next_in = (uint8_t *)(uintptr_t)data;
	s.avail_in = (uint32_t)len;
	s.next_out = body;
	s.avail_out = (uint32_t)cap;
	s.end_of_stream = 1;
	s.gzip_flag = IGZIP_DEFLATE;
	cr_assert_eq(isal_deflate_stateless(&s), COMP_OK);
	add(to, head, sizeof(head));
	if (flags & 4)
		add(to, "\5\0extra", 7);
	if (flags & 8)
		add(to, "name.ndjson", 12);
	if (flags & 16)
		add(to, "a comment", 10);
	crc = crc32_gzip_refl(0, to->at + from, to->len - from);
	if (flags & 2)
		add(to, &crc, 2);
	add(to, body, s.total_out);
	crc = crc32_gzip_refl(0, data, len);
	add(to, &crc, 4);
	add(to, &(uint32_t){ (uint32_t)len }, 4);
	free(body);
}

static void zstd(struct bytes *to, const void *data, size_t len, int checksum, int window)
{
	size_t cap = ZSTD_compressBound(len), n;
	uint8_t *body = malloc(cap);
	ZSTD_CCtx *c = ZSTD_createCCtx();
	ZSTD_inBuffer in = { data, len, 0 };
	ZSTD_outBuffer out = { body, cap, 0 };

	ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, checksum);
	if (window)
		ZSTD_CCtx_setParameter(c, ZSTD_c_windowLog, window);
	while ((n = ZSTD_compressStream2(c, &out, &in, ZSTD_e_flush))) /* without the size in the header */
		cr_assert(!ZSTD_isError(n));
	while ((n = ZSTD_compressStream2(c, &out, &in, ZSTD_e_end)))
		cr_assert(!ZSTD_isError(n));
	add(to, body, out.pos);
	ZSTD_freeCCtx(c);
	free(body);
}

/* Unpacks in pieces into rooms, each in a block of exactly its size. Returns the code, 0 for the end. */
static int unpack(enum pen_compression compression, const struct bytes *in, size_t piece, size_t room,
		  struct bytes *out)
{
	struct pen_unpack *u;
	size_t taken = 0;
	uint8_t *to = malloc(room);
	int rc = 0;

	cr_assert_eq(pen_unpack_open(compression, &u), 0);
	out->len = 0;
	for (;;) {
		size_t n = in->len - taken < piece ? in->len - taken : piece;
		bool last = !n; /* as a reader learns of the end: by reading nothing */
		uint8_t *copy = malloc(n + 1);
		struct pen_span span = { copy, copy + n };

		if (n)
			memcpy(copy, in->at + taken, n);
		taken += n;
		do {
			struct pen_room r = { to, to + room };

			rc = pen_unpack_step(u, &span, &r, last);
			add(out, to, (size_t)(r.at - to));
		} while (rc == 1);
		free(copy);
		if (rc < 0 || last)
			break;
		cr_assert(span.at == span.end, "input left with room to spare");
	}
	pen_unpack_close(u);
	free(to);
	return rc;
}

static void expect(enum pen_compression compression, const struct bytes *in, const struct bytes *want,
		   int code, const char *what)
{
	static const size_t pieces[] = { 1, 7, 4096, 131072, 1u << 30 };
	static const size_t rooms[] = { 1, 100, 65536, 262144 };
	struct bytes out = { 0 };

	for (size_t p = 0; p < COUNT(pieces); p++) {
		for (size_t r = 0; r < COUNT(rooms); r++) {
			int rc;

			if (in->len / pieces[p] + want->len / rooms[r] > 100000)
				continue;
			rc = unpack(compression, in, pieces[p], rooms[r], &out);
			cr_expect_eq(rc, code, "%s: pieces of %zu into %zu: %d", what, pieces[p], rooms[r],
				     rc);
			cr_expect(
				out.len == want->len && (!out.len || memcmp(out.at, want->at, out.len) == 0),
				"%s: pieces of %zu into %zu: %zu bytes", what, pieces[p], rooms[r], out.len);
		}
	}
	free(out.at);
}

Test(unpack, magic_bytes_tell)
{
	static const struct {
		const char *data;
		size_t len;
		enum pen_compression is;
	} rows[] = {
		{ "\x1f\x8b\x08", 3, PEN_COMPRESSION_GZIP },
		{ "\x1f\x8b", 2, PEN_COMPRESSION_GZIP },
		{ "\x1f", 1, PEN_COMPRESSION_NONE },
		{ "\x28\xb5\x2f\xfd", 4, PEN_COMPRESSION_ZSTD },
		{ "\x28\xb5\x2f", 3, PEN_COMPRESSION_NONE },
		{ "\x50\x2a\x4d\x18", 4, PEN_COMPRESSION_ZSTD },
		{ "\x5f\x2a\x4d\x18", 4, PEN_COMPRESSION_ZSTD },
		{ "\x60\x2a\x4d\x18", 4, PEN_COMPRESSION_NONE },
		{ "{\"a\":1}", 7, PEN_COMPRESSION_NONE },
		{ "", 0, PEN_COMPRESSION_NONE },
	};

	for (size_t i = 0; i < COUNT(rows); i++)
		cr_expect_eq(pen_unpack_sniff(rows[i].data, rows[i].len), rows[i].is, "row %zu", i);
}

Test(unpack, gzip_members_headers_and_padding)
{
	struct bytes t = text(TEXT_BYTES), packed = { 0 };
	struct bytes small = { t.at, 5000, 0 }, none = { 0 };
	static const uint8_t zeros[1000];

	gzip(&packed, t.at, t.len, 0);
	expect(PEN_COMPRESSION_GZIP, &packed, &t, 0, "one member");
	add(&packed, zeros, sizeof(zeros));
	expect(PEN_COMPRESSION_GZIP, &packed, &t, 0, "padding");
	for (unsigned flags = 0; flags < 32; flags += 2) {
		packed.len = 0;
		gzip(&packed, t.at, 1000, (uint8_t)flags);
		gzip(&packed, t.at, 0, (uint8_t)flags);
		gzip(&packed, t.at + 1000, 4000, (uint8_t)(flags ^ 30));
		expect(PEN_COMPRESSION_GZIP, &packed, &small, 0, "members with header fields");
	}
	packed.len = 0;
	gzip(&packed, t.at, 0, 0);
	expect(PEN_COMPRESSION_GZIP, &packed, &none, 0, "an empty member");
	free(packed.at);
	free(t.at);
}

Test(unpack, what_is_whole_comes_before_a_cut)
{
	struct bytes t = text(300000), out = { 0 };

	for (int z = 0; z < 2; z++) {
		enum pen_compression compression = z ? PEN_COMPRESSION_ZSTD : PEN_COMPRESSION_GZIP;
		struct bytes packed = { 0 };
		size_t least = 0;

		if (z)
			zstd(&packed, t.at, t.len, 1, 0);
		else
			gzip(&packed, t.at, t.len, 8 | 2);
		for (size_t cut = 0; cut < packed.len; cut += cut < 40 || packed.len - cut < 1040 ? 1 : 997) {
			struct bytes in = { packed.at, cut, 0 };
			int rc = unpack(compression, &in, 5000, 65536, &out);

			cr_expect_eq(rc, -PEN_PACKED_CUT, "cut at %zu of %zu: %d", cut, packed.len, rc);
			cr_expect(out.len >= least && (!out.len || memcmp(out.at, t.at, out.len) == 0),
				  "cut at %zu", cut);
			least = out.len;
		}
		cr_expect_eq(least, t.len, "only the checksum was missing, yet %zu bytes came", least);
		free(packed.at);
	}
	free(out.at);
	free(t.at);
}

Test(unpack, what_is_whole_comes_before_the_corruption)
{
	struct bytes t = text(600000), out = { 0 };

	for (int z = 0; z < 2; z++) {
		enum pen_compression compression = z ? PEN_COMPRESSION_ZSTD : PEN_COMPRESSION_GZIP;
		struct bytes packed = { 0 };
		uint64_t total = 0;

		if (z)
			zstd(&packed, t.at, t.len, 1, 0);
		else
			gzip(&packed, t.at, t.len, 8 | 2);
		for (size_t at = 100; at < packed.len; at += 4999) {
			int rc;

			packed.at[at] ^= 0x55;
			rc = unpack(compression, &packed, 50000, 262144, &out);
			packed.at[at] ^= 0x55;
			/* A changed length or offset may also make the rest seem too short. */
			cr_expect(rc == -PEN_PACKED_BAD || rc == -PEN_PACKED_CUT, "flipped at %zu: %d", at,
				  rc);
			total += out.len;
			/* What stands before it, give or take what one block holds. */
			if (at * 10 > packed.len * 7)
				cr_expect(out.len > t.len / 4 && memcmp(out.at, t.at, t.len / 4) == 0,
					  "%zu: %zu", at, out.len);
		}
		cr_expect(total > 0);
		free(packed.at);
	}
	free(out.at);
	free(t.at);
}

Test(unpack, damage_to_headers_checksums_and_what_follows)
{
	struct bytes t = text(5000), none = { 0 }, packed = { 0 };
	size_t end;

	gzip(&packed, t.at, t.len, 2);
	end = packed.len;
	packed.at[end - 8] ^= 1;
	expect(PEN_COMPRESSION_GZIP, &packed, &t, -PEN_PACKED_BAD, "checksum");
	packed.at[end - 8] ^= 1;
	packed.at[end - 1] ^= 1;
	expect(PEN_COMPRESSION_GZIP, &packed, &t, -PEN_PACKED_BAD, "length");
	packed.at[end - 1] ^= 1;
	packed.at[10] ^= 1;
	expect(PEN_COMPRESSION_GZIP, &packed, &none, -PEN_PACKED_BAD, "header checksum");
	packed.at[10] ^= 1;
	packed.at[3] |= 0x20;
	expect(PEN_COMPRESSION_GZIP, &packed, &none, -PEN_PACKED_BAD, "unknown flag");
	packed.at[3] &= 0x1f;
	packed.at[2] = 7;
	expect(PEN_COMPRESSION_GZIP, &packed, &none, -PEN_PACKED_BAD, "unknown method");
	packed.at[2] = 8;
	add(&packed, "\0\0garbage", 9);
	expect(PEN_COMPRESSION_GZIP, &packed, &t, -PEN_PACKED_BAD, "garbage");
	packed.len = end;
	add(&packed, "\x1f", 1);
	expect(PEN_COMPRESSION_GZIP, &packed, &t, -PEN_PACKED_CUT, "half a magic");
	packed.len = end;
	expect(PEN_COMPRESSION_GZIP, &packed, &t, 0, "control: nothing is wrong with it");

	packed.len = 0;
	zstd(&packed, t.at, t.len, 1, 0);
	end = packed.len;
	packed.at[end - 1] ^= 1;
	expect(PEN_COMPRESSION_ZSTD, &packed, &t, -PEN_PACKED_BAD, "checksum");
	packed.at[end - 1] ^= 1;
	add(&packed, "garbage", 7);
	expect(PEN_COMPRESSION_ZSTD, &packed, &t, -PEN_PACKED_BAD, "garbage");
	packed.len = end;
	expect(PEN_COMPRESSION_ZSTD, &packed, &t, 0, "control: nothing is wrong with it");
	expect(PEN_COMPRESSION_ZSTD, &none, &none, -PEN_PACKED_CUT, "nothing at all");
	expect(PEN_COMPRESSION_GZIP, &none, &none, -PEN_PACKED_CUT, "nothing at all");
	free(packed.at);
	free(t.at);
}

Test(unpack, zstd_frames_skippable_frames_and_windows)
{
	static const uint8_t skippable[] = { 0x53, 0x2a, 0x4d, 0x18, 5, 0, 0, 0, 1, 2, 3, 4, 5 };
	static const uint8_t empty[] = { 0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0 };
	struct bytes t = text(TEXT_BYTES), packed = { 0 }, none = { 0 };

	add(&packed, skippable, sizeof(skippable));
	zstd(&packed, t.at, 1000, 0, 0);
	add(&packed, empty, sizeof(empty));
	zstd(&packed, t.at + 1000, t.len - 1000, 1, 0);
	zstd(&packed, t.at, 0, 1, 0);
	add(&packed, skippable, sizeof(skippable));
	expect(PEN_COMPRESSION_ZSTD, &packed, &t, 0, "frames");
	packed.len = 0;
	add(&packed, skippable, sizeof(skippable));
	expect(PEN_COMPRESSION_ZSTD, &packed, &none, 0, "nothing but a skippable frame");
	packed.len = 0;
	zstd(&packed, t.at, 200000, 1, 27);
	t.len = 200000;
	expect(PEN_COMPRESSION_ZSTD, &packed, &t, 0, "a window of 128 MiB");
	packed.len = 0;
	zstd(&packed, t.at, 200000, 1, 28);
	expect(PEN_COMPRESSION_ZSTD, &packed, &none, -PEN_PACKED_WINDOW, "a window of 256 MiB");
	free(packed.at);
	free(t.at);
}
