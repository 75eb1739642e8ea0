/* SPDX-License-Identifier: MIT */
/*
 * archive - the regular files in a tar or zip, one after another
 *
 * The happy path: libarchive takes bytes from an inflow (which has unpacked them) or, where they are a plain file,
 * from the file itself, so that it can seek to a zip's directory and over what is skipped. fill() makes blocks of
 * what it gives: the first block of a member begins with a struct pen_member, the last says so, and both may be
 * the same one. The reader takes them apart again.
 *
 * What can go wrong: libarchive's verdict is either about one member (it goes on with the next) or fatal; fatal
 * becomes the inflow's code if that failed, else cut or bad, by whether the end of the bytes had been seen.
 *
 * Names are converted by the locale of the thread, which therefore has one of its own, in UTF-8.
 */
#include "engine/archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/belt.h"
#include "engine/inflow.h"
#include "engine/recode.h"
#include "include/penstock_error.h"
#include "ring/assert.h"
#include "ring/base.h"
#include "ring/clock.h"
#include "ring/error.h"

#define PIECE_BYTES (64u << 10)

enum kind { FIRST = 1, LAST = 2, OVER = 4 };

struct pen_archive {
	/* The thread's. */
	struct archive *lib;
	struct pen_inflow *inflow; /* NULL: the file itself */
	locale_t utf8;		   /* 0: the process's will have to do */
	int fd;
	int64_t begin, at, end; /* of the file: where the archive begins, where it is read, the file's size */
	bool seen_end;
	int code; /* of the source of bytes */
	bool opened, inside;
	uint64_t skip;
	enum pen_encoding encoding;
	struct pen_recode recode;
	struct pen_span piece; /* of a member, before recode */
	int member_code;       /* what follows the piece: 1 more, 0 the member's end, or a failure */
	bool fatal;
	uint64_t others_seen;
	uint64_t left; /* of the member: bytes that must still come, where that is known */
	bool hole;     /* they are zeros, and nobody is asked for them any more */
	uint8_t *raw, *data;

	/* The reader's. */
	struct pen_belt *belt;
	uint32_t taken; /* bytes of the block in front */
	bool in_member, over;
	int over_code, read_code;
	uint64_t packed, others;
};

/* In front of a block, where its kind says so. */
struct front {
	struct pen_member member;
	uint64_t others;
};

bool pen_archive_sniff(const void *data, size_t len)
{
	const uint8_t *p = data;

	if (len >= 4 && p[0] == 'P' && p[1] == 'K' && ((p[2] == 3 && p[3] == 4) || (p[2] == 5 && p[3] == 6)))
		return true;
	return len >= PEN_ARCHIVE_MAGIC && memcmp(p + 257, "ustar", 5) == 0;
}

/* ---- where libarchive gets its bytes ---------------------------------------------------------- */

static la_ssize_t give(struct archive *lib, void *arg, const void **ret)
{
	struct pen_archive *a = arg;
	int64_t n;

	if (pen_belt_stopping(a->belt)) {
		n = -ECANCELED;
	} else if (a->inflow) {
		n = pen_inflow_pull(a->inflow, a->raw, PIECE_BYTES);
	} else {
		while ((n = pread(a->fd, a->raw, PIECE_BYTES, a->at)) < 0 && errno == EINTR)
			;
		if (n < 0)
			n = -errno;
		else
			a->at += n;
	}
	if (n < 0) {
		a->code = (int)n;
		archive_set_error(lib, EIO, "no more bytes");
		return ARCHIVE_FATAL;
	}
	a->seen_end = n == 0;
	*ret = a->raw;
	return (la_ssize_t)n;
}

static la_int64_t seek(struct archive *lib, void *arg, la_int64_t offset, int whence)
{
	struct pen_archive *a = arg;
	int64_t base = whence == SEEK_SET ? a->begin : whence == SEEK_CUR ? a->at : a->end;

	if (__builtin_add_overflow(base, offset, &a->at) || a->at < a->begin) {
		a->at = a->begin;
		archive_set_error(lib, EINVAL, "a place outside the file");
		return ARCHIVE_FATAL;
	}
	a->seen_end = false;
	return a->at - a->begin;
}

static la_int64_t skip(struct archive *lib, void *arg, la_int64_t n)
{
	struct pen_archive *a = arg;
	int64_t most = a->end > a->at ? a->end - a->at : 0;

	(void)lib;
	n = n < most ? n : most;
	a->at += n;
	return n;
}

static int start(struct pen_archive *a)
{
	struct archive *lib = a->lib;

	/* Each of these can fail only for want of memory, which open then finds. */
	(void)archive_read_support_format_tar(lib);
	(void)archive_read_support_format_zip(lib);
	(void)archive_read_set_option(lib, "tar", "read_concatenated_archives", "1");
	(void)archive_read_set_read_callback(lib, give);
	(void)archive_read_set_callback_data(lib, a);
	if (!a->inflow) {
		(void)archive_read_set_seek_callback(lib, seek);
		(void)archive_read_set_skip_callback(lib, skip);
	}
	return archive_read_open1(lib);
}

static int fatal_code(const struct pen_archive *a)
{
	if (a->code)
		return a->code;
	if (archive_errno(a->lib) == ENOMEM)
		return -ENOMEM;
	return a->seen_end ? -PEN_PACKED_CUT : -PEN_PACKED_BAD;
}

/* ---- members ---------------------------------------------------------------------------------- */

/* The name without its "." parts and doubled slashes, and what is wrong with it. */
static int clean_path(const char *from, char *to)
{
	int code = !from || !*from || *from == '/' ? -PEN_MEMBER_OUTSIDE : 0;
	size_t len = 0;

	for (const char *part = from ? from : ""; *part;) {
		size_t n = strcspn(part, "/");

		if (n == 2 && part[0] == '.' && part[1] == '.')
			code = -PEN_MEMBER_OUTSIDE;
		if (n && !(n == 1 && *part == '.')) {
			size_t room = PEN_PATH_BYTES_MAX - len;

			if (n + (len > 0) > room) {
				code = code ? code : -ENAMETOOLONG;
				n = room > (len > 0) ? room - (len > 0) : 0;
			}
			if (len && len < PEN_PATH_BYTES_MAX)
				to[len++] = '/';
			memcpy(to + len, part, n);
			len += n;
			if (code == -ENAMETOOLONG)
				break;
			part += n;
		} else {
			part += n;
		}
		part += *part == '/';
	}
	to[len] = 0;
	return code || len ? code : -PEN_MEMBER_OUTSIDE;
}

static void describe(struct archive_entry *entry, struct pen_member *ret)
{
	const char *path = archive_entry_pathname(entry);

	ret->code = clean_path(path ? path : archive_entry_pathname_utf8(entry), ret->path);
	if (!ret->code && archive_entry_is_encrypted(entry))
		ret->code = -PEN_UNSUPPORTED;
	ret->size = archive_entry_size_is_set(entry) ? (uint64_t)archive_entry_size(entry)
						     : PEN_MEMBER_SIZE_UNKNOWN;
	/* A hole of any size costs its writer nothing. No record may be as large as that. */
	if (!ret->code && ret->size != PEN_MEMBER_SIZE_UNKNOWN && ret->size > PEN_RECORD_MAX)
		ret->code = -PEN_RECORD_LARGE;
	ret->mtime_ns = archive_entry_mtime_is_set(entry)
				? (int64_t)((uint64_t)archive_entry_mtime(entry) * PEN_NS_PER_S +
					    (uint64_t)archive_entry_mtime_nsec(entry))
				: 0;
}

static bool is_tar(const struct pen_archive *a)
{
	return (archive_format(a->lib) & ARCHIVE_FORMAT_BASE_MASK) == ARCHIVE_FORMAT_TAR;
}

/* 1 a member, 0 the end, negative: fatal. */
static int find_member(struct pen_archive *a, struct pen_member *ret)
{
	struct archive_entry *entry;

	for (;;) {
		int rc = archive_read_next_header(a->lib, &entry);

		if (rc == ARCHIVE_EOF)
			return 0;
		/* It would look for something like a header further on, and might find one in the data. */
		if (rc == ARCHIVE_RETRY)
			return -PEN_PACKED_BAD;
		if (rc < ARCHIVE_WARN)
			return fatal_code(a);
		if (archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry))
			a->others_seen++;
		else if (a->skip)
			a->skip--;
		else
			break;
	}
	describe(entry, ret);
	a->hole = false;
	a->left = is_tar(a) && ret->size != PEN_MEMBER_SIZE_UNKNOWN ? ret->size : 0;
	return 1;
}

/* Data of the member: above 0 bytes, 0 its end, or a failure. */
static int64_t take(struct pen_archive *a, uint8_t *to, size_t len)
{
	la_ssize_t n = a->hole ? 0 : archive_read_data(a->lib, to, len);
	const char *why;

	if (!n && a->left) { /* a hole at the end of a sparse file, which libarchive leaves out */
		a->hole = true;
		n = (la_ssize_t)pen_min(a->left, len);
		memset(to, 0, (size_t)n);
	}
	if (n >= 0) {
		a->left -= pen_min(a->left, (uint64_t)n);
		return n;
	}
	a->fatal = n == ARCHIVE_FATAL;
	if (a->fatal)
		return fatal_code(a);
	/* There is no number for it. */
	why = archive_error_string(a->lib);
	return why && strncmp(why, "Unsupported", 11) == 0 ? -PEN_UNSUPPORTED : -PEN_PACKED_BAD;
}

/* The member's text until the room is full: 1, or what ended it. */
static int fill_text(struct pen_archive *a, struct pen_room *out)
{
	for (;;) {
		int64_t n;
		int rc;

		if (pen_recode_plain(&a->recode) && !pen_span_left(&a->piece)) {
			if (a->member_code <= 0)
				return a->member_code;
			if (!pen_room_left(out))
				return 1;
			n = take(a, out->at, pen_room_left(out));
			out->at += n > 0 ? n : 0;
			a->member_code = n > 0 ? 1 : (int)n;
			continue;
		}
		rc = pen_recode_step(&a->recode, &a->piece, out, a->member_code == 0);
		if (rc)
			return rc;
		if (pen_span_left(&a->piece) || pen_room_left(out) < PEN_RECODE_ROOM)
			return 1;
		if (a->member_code <= 0)
			return a->member_code;
		n = take(a, a->data, PIECE_BYTES);
		a->piece = (struct pen_span){ a->data, a->data + (n > 0 ? n : 0) };
		a->member_code = n > 0 ? 1 : (int)n;
	}
}

/* ---- blocks ----------------------------------------------------------------------------------- */

static uint64_t packed_now(const struct pen_archive *a)
{
	int64_t header;

	if (a->inflow)
		return pen_inflow_packed(a->inflow);
	if ((archive_format(a->lib) & ARCHIVE_FORMAT_BASE_MASK) != ARCHIVE_FORMAT_ZIP)
		return (uint64_t)(a->at - a->begin);
	header = archive_read_header_position(a->lib); /* the directory is at the end, and read first */
	return header > 0 ? (uint64_t)header : 0;
}

/* What follows the archive proper still has to be whole: a checksum stands behind it. */
static int drain(struct pen_archive *a)
{
	int64_t n;

	if (!a->inflow)
		return 0;
	do
		n = pen_inflow_pull(a->inflow, a->raw, PIECE_BYTES);
	while (n > 0 && !pen_belt_stopping(a->belt));
	return n > 0 ? -ECANCELED : (int)n;
}

static bool finish(struct pen_archive *a, struct pen_block *block, int code)
{
	struct front front = { .others = a->others_seen };

	memcpy(block->bytes, &front, sizeof(front));
	block->len = sizeof(front);
	block->kind = OVER;
	block->code = code ? code : drain(a);
	block->packed = a->inflow || block->code ? packed_now(a) : (uint64_t)(a->end - a->begin);
	return false;
}

static bool fill_block(struct pen_archive *a, struct pen_block *block)
{
	struct pen_room out = { block->bytes, block->bytes + PEN_BELT_BYTES };
	struct front front = { .others = 0 };
	int rc = ARCHIVE_OK;

	if (a->fatal)
		return finish(a, block, a->member_code);
	if (!a->opened)
		rc = start(a);
	a->opened = true;
	if (rc != ARCHIVE_OK)
		return finish(a, block, fatal_code(a));
	if (!a->inside) {
		rc = find_member(a, &front.member);
		if (rc <= 0)
			return finish(a, block, rc);
		front.others = a->others_seen;
		memcpy(out.at, &front, sizeof(front));
		out.at += sizeof(front);
		block->kind |= FIRST;
		pen_recode_init(&a->recode, a->encoding);
		a->piece = (struct pen_span){ a->data, a->data };
		a->member_code = 1;
		a->inside = true;
	}
	rc = front.member.code ? 0 : fill_text(a, &out);
	block->len = (uint32_t)(out.at - block->bytes);
	block->packed = packed_now(a);
	if (rc > 0)
		return true;
	block->kind |= LAST;
	block->code = rc;
	a->inside = false;
	return true;
}

static bool fill(void *arg, struct pen_block *block)
{
	struct pen_archive *a = arg;

	if (a->utf8)
		(void)uselocale(a->utf8); /* of this thread, which is nobody else's */
	return fill_block(a, block);
}

/* ---- the reader's side ------------------------------------------------------------------------ */

int pen_archive_open(const struct pen_decode_options *opt, struct pen_archive **ret, struct pen_failure *why)
{
	struct pen_archive *a = calloc(1, sizeof(*a));
	struct pen_belt_options belt = {
		.fill = fill, .arg = a, .wake = opt->wake, .wake_arg = opt->wake_arg
	};
	struct pen_inflow_options inflow = { .fd = opt->fd,
					     .offset = opt->offset,
					     .prefix = opt->prefix,
					     .prefix_len = opt->prefix_len,
					     .compression = opt->compression,
					     .encoding = PEN_ENCODING_UTF8 };
	struct stat st;
	int rc = a ? pen_belt_open(&belt, &a->belt) : -ENOMEM;

	_Static_assert(sizeof(struct front) + PIECE_BYTES <= PEN_BELT_BYTES,
		       "a block has room behind its front");
	if (!rc) {
		a->fd = opt->fd;
		a->skip = opt->skip;
		a->encoding = opt->encoding;
		a->raw = malloc(PIECE_BYTES);
		a->data = malloc(PIECE_BYTES);
		a->lib = archive_read_new();
		a->utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
		rc = a->raw && a->data && a->lib ? 0 : -ENOMEM;
	}
	if (!rc && opt->compression == PEN_COMPRESSION_NONE && opt->offset != PEN_DECODE_STREAM &&
	    fstat(opt->fd, &st) == 0 && S_ISREG(st.st_mode)) {
		a->begin = a->at = opt->offset - (int64_t)opt->prefix_len;
		a->end = st.st_size;
	} else if (!rc) {
		inflow.stop_fd = pen_belt_stop_fd(a->belt);
		rc = pen_inflow_open(&inflow, &a->inflow);
	}
	if (!rc)
		rc = pen_belt_start(a->belt);
	if (rc) {
		pen_archive_close(a);
		return pen_fail(why, rc, -rc, "no memory or thread for an archive");
	}
	*ret = a;
	return 0;
}

void pen_archive_close(struct pen_archive *archive)
{
	if (!archive)
		return;
	pen_belt_close(archive->belt);	       /* the thread uses the rest until then */
	(void)archive_read_free(archive->lib); /* only read: nothing can be lost */
	pen_inflow_close(archive->inflow);
	if (archive->utf8)
		freelocale(archive->utf8);
	free(archive->raw);
	free(archive->data);
	free(archive);
}

uint64_t pen_archive_others(const struct pen_archive *archive)
{
	return archive->others;
}

static void drop(struct pen_archive *a, const struct pen_block *block)
{
	a->packed = block->packed;
	if (block->kind & LAST) {
		a->in_member = false;
		a->read_code = block->code;
	}
	a->taken = 0;
	pen_belt_drop(a->belt);
}

int pen_archive_next(struct pen_archive *archive, struct pen_member *ret)
{
	struct pen_block *block;

	while (!archive->over && (block = pen_belt_front(archive->belt))) {
		struct front *front = (struct front *)(void *)block->bytes;

		if (archive->in_member || !(block->kind & (FIRST | OVER))) {
			drop(archive, block);
			continue;
		}
		archive->others = front->others;
		if (block->kind & OVER) {
			archive->over = true;
			archive->over_code = block->code;
			drop(archive, block);
			break;
		}
		*ret = front->member;
		archive->taken = sizeof(*front);
		archive->in_member = true;
		return 1;
	}
	return archive->over ? archive->over_code : -EAGAIN;
}

int64_t pen_archive_read(struct pen_archive *archive, void *to, size_t len, uint64_t *ret_packed)
{
	struct pen_block *block = NULL;
	size_t got = 0;

	while (got < len && archive->in_member && (block = pen_belt_front(archive->belt))) {
		size_t n = (size_t)pen_min(len - got, block->len - archive->taken);

		if (n)
			memcpy((uint8_t *)to + got, block->bytes + archive->taken, n);
		got += n;
		archive->taken += (uint32_t)n;
		if (archive->taken == block->len)
			drop(archive, block);
	}
	*ret_packed = archive->packed;
	if (got)
		return (int64_t)got;
	return archive->in_member ? -EAGAIN : archive->read_code;
}

const char *pen_archive_version(void)
{
	return ARCHIVE_VERSION_ONLY_STRING;
}
