/* SPDX-License-Identifier: MIT */
/*
 * unpack - gzip and zstd, piece by piece
 *
 * The happy path
 *   gzip   the header is taken byte by byte, ISA-L inflates the body and checks what follows it, and the next
 *          member begins.
 *   zstd   one block a call.
 *
 * What can go wrong
 *   ISA-L keeps no header across calls (a name split over two inputs loses the flags behind it): headers are
 *   ours. At a symbol that cannot be, it counts the bytes of a copy it did not make: they are taken back, lest
 *   what lay in the buffer pass for text.
 *   libzstd does not count what it put in the call in which it found an error: no call is given more than one step
 *   of the frame (its own hint, less the next block's header), nor anything while text waits for room.
 *
 * Why ISA-L: it inflates twice as fast as zlib, and a stream has one thread to inflate it.
 */
#include "engine/unpack.h"

#include <errno.h>
#include <isa-l.h>
#include <stdlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "include/penstock_error.h"
#include "ring/assert.h"
#include "ring/base.h"

#define BLOCK_HEADER 3u /* of zstd */
#define COPY_MAX 258	/* bytes that one symbol of deflate stands for */

enum gzip_stage { GZIP_FIXED, GZIP_EXTRA_LEN, GZIP_EXTRA, GZIP_NAME, GZIP_COMMENT, GZIP_CRC, GZIP_BODY };
enum gzip_flag { FLAG_CRC = 2, FLAG_EXTRA = 4, FLAG_NAME = 8, FLAG_COMMENT = 16, FLAG_RESERVED = 0xe0 };

struct gzip {
	enum gzip_stage stage;
	uint8_t flags;
	uint32_t at; /* bytes of the stage so far; of GZIP_EXTRA: still to come */
	uint32_t value;
	uint32_t crc; /* of the header */
	uint64_t members;
	struct inflate_state inflate;
};

struct zstd {
	ZSTD_DCtx *context;
	size_t hint; /* bytes that complete the next step; 0: between frames */
	bool full;   /* the last call may have kept text back for want of room */
	bool begun;  /* there was a frame */
};

struct pen_unpack {
	enum pen_compression compression;
	union {
		struct gzip gzip;
		struct zstd zstd;
	};
};

enum pen_compression pen_unpack_sniff(const void *data, size_t len)
{
	const uint8_t *p = data;

	if (len >= 2 && p[0] == 0x1f && p[1] == 0x8b)
		return PEN_COMPRESSION_GZIP;
	if (len >= 4 && p[1] == 0xb5 && p[2] == 0x2f && p[3] == 0xfd && p[0] == 0x28)
		return PEN_COMPRESSION_ZSTD;
	if (len >= 4 && (p[0] & 0xf0) == 0x50 && p[1] == 0x2a && p[2] == 0x4d && p[3] == 0x18)
		return PEN_COMPRESSION_ZSTD;
	return PEN_COMPRESSION_NONE;
}

/* ---- gzip ------------------------------------------------------------------------------------ */

/* The first ten bytes. False: this is no member. */
static bool take_fixed(struct gzip *gzip, uint8_t byte)
{
	switch (gzip->at++) {
	case 0:
		return byte == 0x1f;
	case 1:
		return byte == 0x8b;
	case 2:
		return byte == 8; /* deflate: there is no other */
	case 3:
		gzip->flags = byte;
		return !(byte & FLAG_RESERVED);
	default: /* time, how hard it tried, system */
		return true;
	}
}

/* On to the first stage from `stage` on that this header has. */
static void enter(struct gzip *gzip, enum gzip_stage stage)
{
	if (stage == GZIP_EXTRA_LEN && !(gzip->flags & FLAG_EXTRA))
		stage = GZIP_NAME;
	if (stage == GZIP_NAME && !(gzip->flags & FLAG_NAME))
		stage = GZIP_COMMENT;
	if (stage == GZIP_COMMENT && !(gzip->flags & FLAG_COMMENT))
		stage = GZIP_CRC;
	if (stage == GZIP_CRC && !(gzip->flags & FLAG_CRC))
		stage = GZIP_BODY;
	if (stage == GZIP_BODY) {
		isal_inflate_reset(&gzip->inflate);
		gzip->inflate.crc_flag = ISAL_GZIP_NO_HDR_VER;
	}
	gzip->stage = stage;
	gzip->at = gzip->value = 0;
}

static bool take_header(struct gzip *gzip, uint8_t byte)
{
	if (gzip->stage < GZIP_CRC)
		gzip->crc = crc32_gzip_refl(gzip->crc, &byte, 1);
	switch (gzip->stage) {
	case GZIP_FIXED:
		if (!take_fixed(gzip, byte))
			return false;
		if (gzip->at == 10)
			enter(gzip, GZIP_EXTRA_LEN);
		break;
	case GZIP_EXTRA_LEN:
		gzip->value |= (uint32_t)byte << 8 * gzip->at;
		if (++gzip->at < 2)
			break;
		gzip->stage = GZIP_EXTRA;
		gzip->at = gzip->value;
		if (!gzip->at)
			enter(gzip, GZIP_NAME);
		break;
	case GZIP_EXTRA:
		if (--gzip->at == 0)
			enter(gzip, GZIP_NAME);
		break;
	case GZIP_NAME:
	case GZIP_COMMENT:
		if (!byte)
			enter(gzip, gzip->stage + 1);
		break;
	case GZIP_CRC:
		gzip->value |= (uint32_t)byte << 8 * gzip->at;
		if (++gzip->at < 2)
			break;
		if (gzip->value != (gzip->crc & 0xffff))
			return false;
		enter(gzip, GZIP_BODY);
		break;
	case GZIP_BODY:
		PEN_UNREACHABLE();
	}
	return true;
}

/* Some of the body: 0, or negative. */
static int take_body(struct gzip *gzip, struct pen_span *in, struct pen_room *out)
{
	struct inflate_state *s = &gzip->inflate;
	int rc;

	s->next_in = (uint8_t *)(uintptr_t)in->at; /* only read */
	s->avail_in = (uint32_t)pen_min(pen_span_left(in), UINT32_MAX / 2);
	s->next_out = out->at;
	s->avail_out = (uint32_t)pen_min(pen_room_left(out), UINT32_MAX / 2);
	rc = isal_inflate(s);
	in->at = s->next_in;
	if (rc == ISAL_INVALID_LOOKBACK || rc == ISAL_INVALID_SYMBOL)
		out->at += pen_max(s->next_out - out->at, COPY_MAX) - COPY_MAX;
	else
		out->at = s->next_out;
	if (rc < 0)
		return -PEN_PACKED_BAD;
	if (s->block_state == ISAL_BLOCK_FINISH) {
		gzip->members++;
		gzip->crc = 0;
		gzip->stage = GZIP_FIXED;
		gzip->at = 0;
	}
	return 0;
}

static int step_gzip(struct gzip *gzip, struct pen_span *in, struct pen_room *out, bool last)
{
	for (;;) {
		while (gzip->stage != GZIP_BODY && pen_span_left(in)) {
			uint8_t byte = *in->at++;

			if (gzip->stage == GZIP_FIXED && !gzip->at && gzip->members && !byte)
				continue; /* padding */
			if (!take_header(gzip, byte))
				return -PEN_PACKED_BAD;
		}
		if (gzip->stage != GZIP_BODY)
			break;
		/* Inflate has bits and text in hand, and may go on without input. */
		if (!pen_room_left(out))
			return 1;
		if (take_body(gzip, in, out))
			return -PEN_PACKED_BAD;
		if (gzip->stage == GZIP_BODY && !pen_span_left(in) && pen_room_left(out))
			break;
	}
	return last && !(gzip->members && gzip->stage == GZIP_FIXED && !gzip->at) ? -PEN_PACKED_CUT : 0;
}

/* ---- zstd ------------------------------------------------------------------------------------ */

static int zstd_code(size_t rc)
{
	switch (ZSTD_getErrorCode(rc)) {
	case ZSTD_error_frameParameter_windowTooLarge:
		return -PEN_PACKED_WINDOW;
	case ZSTD_error_memory_allocation:
		return -ENOMEM;
	default:
		return -PEN_PACKED_BAD;
	}
}

static int step_zstd(struct zstd *zstd, struct pen_span *in, struct pen_room *out, bool last)
{
	for (;;) {
		size_t want = zstd->hint > BLOCK_HEADER ? zstd->hint - BLOCK_HEADER : BLOCK_HEADER;
		ZSTD_inBuffer from = { in->at, zstd->full ? 0 : pen_min(want, pen_span_left(in)), 0 };
		ZSTD_outBuffer to = { out->at, pen_room_left(out), 0 };
		size_t rc;

		if (!pen_span_left(in) && !zstd->hint)
			return last && !zstd->begun ? -PEN_PACKED_CUT : 0;
		if (!to.size)
			return 1;
		rc = ZSTD_decompressStream(zstd->context, &to, &from);
		if (ZSTD_isError(rc))
			return zstd_code(rc);
		in->at += from.pos;
		out->at += to.pos;
		zstd->begun |= from.pos > 0;
		zstd->hint = rc;
		zstd->full = !pen_room_left(out);
		if (rc && !pen_span_left(in) && pen_room_left(out))
			return last ? -PEN_PACKED_CUT : 0;
	}
}

/* ---- life ------------------------------------------------------------------------------------ */

int pen_unpack_open(enum pen_compression compression, struct pen_unpack **ret)
{
	struct pen_unpack *unpack = calloc(1, sizeof(*unpack));

	if (!unpack)
		return -ENOMEM;
	unpack->compression = compression;
	if (compression == PEN_COMPRESSION_GZIP) {
		isal_inflate_init(&unpack->gzip.inflate);
	} else {
		pen_assert(compression == PEN_COMPRESSION_ZSTD);
		unpack->zstd.context = ZSTD_createDCtx();
		if (!unpack->zstd.context) {
			free(unpack);
			return -ENOMEM;
		}
		(void)ZSTD_DCtx_setParameter(unpack->zstd.context, ZSTD_d_windowLogMax,
					     PEN_UNPACK_WINDOW_LOG); /* a known parameter in its range */
	}
	*ret = unpack;
	return 0;
}

void pen_unpack_close(struct pen_unpack *unpack)
{
	if (unpack && unpack->compression == PEN_COMPRESSION_ZSTD)
		ZSTD_freeDCtx(unpack->zstd.context);
	free(unpack);
}

int pen_unpack_step(struct pen_unpack *unpack, struct pen_span *in, struct pen_room *out, bool last)
{
	if (unpack->compression == PEN_COMPRESSION_GZIP)
		return step_gzip(&unpack->gzip, in, out, last);
	return step_zstd(&unpack->zstd, in, out, last);
}

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

const char *pen_unpack_version(void)
{
	return "ISA-L " TEXT(ISAL_MAJOR_VERSION) "." TEXT(ISAL_MINOR_VERSION) "." TEXT(
		ISAL_PATCH_VERSION) ", zstd " ZSTD_VERSION_STRING;
}
