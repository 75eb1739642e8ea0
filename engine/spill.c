/* SPDX-License-Identifier: MIT */
#include "engine/spill.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ring/assert.h"
#include "ring/base.h"
#include "ring/hash.h"

#define PAGE 4096u
#define BUFFER (1u << 20)

struct block_head {
	uint32_t crc;	/* of everything behind this field that is in use */
	uint32_t magic; /* "pnsr" */
	uint64_t batch;
	uint32_t number, records;
	uint64_t used;	/* bytes, this head among them */
	uint64_t bytes; /* to the next block */
	uint64_t unused;
};

#define MAGIC 0x72736e70u

_Static_assert(sizeof(struct block_head) == 48, "records begin at a multiple of 8");
_Static_assert(sizeof(struct pen_spill_row) == 40, "row");
_Static_assert(BUFFER % PEN_SPILL_BLOCK == 0 && PEN_SPILL_BLOCK % PAGE == 0, "blocks fill the buffer");

ssize_t (*pen_spill_pwrite)(int fd, const void *data, size_t len, off_t at) = pwrite;

struct pen_spill_writer {
	int dir, fd;
	bool direct;
	char name[64];
	uint64_t batch;
	uint32_t number;
	char *buffer;	/* whole blocks that wait to be written, and the one being filled */
	size_t begin;	/* of the block being filled, in buffer */
	size_t used;	/* of it; 0: it has not begun */
	uint64_t at;	/* of the buffer, in the file */
	uint64_t count; /* records */
	struct pen_hash_stream *digest;
	uint32_t records; /* of the block being filled */
};

/* A full disk passes, and a failed one does not. */
static int io_failed(int error, const char *doing, const char *name, struct pen_failure *why)
{
	int code = error == ENOSPC || error == EDQUOT ? -PEN_DISK_FULL : -PEN_DISK_FAILED;

	return pen_fail(why, code, error, "the sorted run staging/%s cannot be %s: %s", name, doing,
			strerror(error));
}

static void writer_free(struct pen_spill_writer *w, bool drop)
{
	if (!w)
		return;
	if (w->fd >= 0) {
		close(w->fd);
		if (drop)
			(void)unlinkat(w->dir, w->name, 0);
	}
	pen_hash_stream_close(w->digest);
	free(w->buffer);
	free(w);
}

void pen_spill_abandon(struct pen_spill_writer *writer)
{
	writer_free(writer, true);
}

/* File systems in memory know no direct I/O, and say so at open. */
static int create_file(struct pen_spill_writer *w)
{
	const int flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW;

	w->direct = true;
	w->fd = openat(w->dir, w->name, flags | O_DIRECT, 0600);
	if (w->fd < 0 && errno == EINVAL) {
		w->direct = false;
		w->fd = openat(w->dir, w->name, flags, 0600);
	}
	return w->fd < 0 ? errno : 0;
}

int pen_spill_create(int dir, const char *name, uint64_t batch, uint32_t number, uint64_t bytes,
		     struct pen_spill_writer **ret, struct pen_failure *why)
{
	struct pen_spill_writer *w = calloc(1, sizeof *w);
	int error;

	if (!w)
		return pen_fail(why, -ENOMEM, ENOMEM, "no memory for a sorted run");
	w->dir = dir;
	w->fd = -1;
	w->batch = batch;
	w->number = number;
	strncpy(w->name, name, sizeof w->name - 1);
	w->buffer = aligned_alloc(PAGE, BUFFER);
	w->digest = pen_hash_stream_open();
	if (!w->buffer || !w->digest) {
		writer_free(w, false);
		return pen_fail(why, -ENOMEM, ENOMEM, "no memory for a sorted run");
	}
	error = create_file(w);
	/* A file system that cannot take space before says so, and that is all. */
	if (!error && fallocate(w->fd, 0, 0, (off_t)pen_max(bytes, PAGE)) &&
	    (errno == ENOSPC || errno == EDQUOT))
		error = errno;
	if (error) {
		char copy[sizeof w->name];

		memcpy(copy, w->name, sizeof copy);
		writer_free(w, true);
		return io_failed(error, "made", copy, why);
	}
	*ret = w;
	return 0;
}

static int write_all(struct pen_spill_writer *w, const char *data, size_t len, struct pen_failure *why)
{
	while (len) {
		ssize_t n = pen_spill_pwrite(w->fd, data, len, (off_t)w->at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EINVAL && w->direct) {
			/* Some file systems take the flag and not the writes. */
			w->direct = false;
			if (fcntl(w->fd, F_SETFL, fcntl(w->fd, F_GETFL) & ~O_DIRECT) == 0)
				continue;
		}
		if (n <= 0)
			return io_failed(n < 0 ? errno : EIO, "written", w->name, why);
		data += n;
		len -= (size_t)n;
		w->at += (uint64_t)n;
	}
	if (!w->direct) /* starts the write-out, and waits for nothing */
		(void)sync_file_range(w->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
	return 0;
}

/* Closes a block that lies at `block`, and has used bytes of it in use. */
static void close_block(struct pen_spill_writer *w, char *block, uint64_t used, uint64_t bytes)
{
	struct block_head head = { .magic = MAGIC,
				   .batch = w->batch,
				   .number = w->number,
				   .records = w->records,
				   .used = used,
				   .bytes = bytes };

	memset(block + used, 0, bytes - used);
	memcpy(block, &head, sizeof head);
	head.crc = pen_crc32c(block + sizeof head.crc, used - sizeof head.crc);
	memcpy(block, &head.crc, sizeof head.crc);
	pen_hash_stream_add(w->digest, &head, sizeof head);
	w->count += w->records;
	w->records = 0;
}

static int flush(struct pen_spill_writer *w, struct pen_failure *why)
{
	int rc = w->begin ? write_all(w, w->buffer, w->begin, why) : 0;

	w->begin = 0;
	return rc;
}

/* Ends the block being filled, if one has begun; bytes: as long as it is to be. */
static int end_block(struct pen_spill_writer *w, uint64_t bytes, struct pen_failure *why)
{
	if (!w->used)
		return 0;
	close_block(w, w->buffer + w->begin, w->used, bytes);
	w->begin += bytes;
	w->used = 0;
	return w->begin + PEN_SPILL_BLOCK > BUFFER ? flush(w, why) : 0;
}

/* A record larger than a block has one of its own. */
static int put_large(struct pen_spill_writer *w, const struct pen_spill_row *row, struct pen_failure *why)
{
	size_t used = sizeof(struct block_head) + pen_spill_bytes(row), bytes = pen_round_up(used, PAGE);
	int rc = end_block(w, pen_round_up(w->used, PAGE), why);
	char *block;

	if (!rc)
		rc = flush(w, why);
	if (rc)
		return rc;
	block = aligned_alloc(PAGE, bytes);
	if (!block)
		return pen_fail(why, -ENOMEM, ENOMEM, "no memory for a record of %u bytes", row->value_len);
	w->records = 1;
	memcpy(block + sizeof(struct block_head), row, used - sizeof(struct block_head));
	close_block(w, block, used, bytes);
	rc = write_all(w, block, bytes, why);
	free(block);
	return rc;
}

int pen_spill_put(struct pen_spill_writer *w, const struct pen_spill_row *row, struct pen_failure *why)
{
	size_t len = pen_spill_bytes(row);
	int rc = 0;

	if (sizeof(struct block_head) + len > PEN_SPILL_BLOCK)
		return put_large(w, row, why);
	if (w->used + len > PEN_SPILL_BLOCK)
		rc = end_block(w, PEN_SPILL_BLOCK, why);
	if (rc)
		return rc;
	if (!w->used)
		w->used = sizeof(struct block_head);
	memcpy(w->buffer + w->begin + w->used, row, len);
	w->used += len;
	w->records++;
	return 0;
}

int pen_spill_seal(struct pen_spill_writer *w, struct pen_fmt_run *ret, struct pen_failure *why)
{
	int rc = end_block(w, pen_round_up(w->used, PAGE), why);
	struct pen_sum sum;

	if (!rc)
		rc = flush(w, why);
	if (!rc && (ftruncate(w->fd, (off_t)w->at) || fdatasync(w->fd) || fsync(w->dir)))
		rc = io_failed(errno, "synced", w->name, why);
	if (rc) {
		writer_free(w, true);
		return rc;
	}
	sum = pen_hash_stream_sum(w->digest);
	ret->records = w->count;
	ret->bytes = w->at;
	ret->digest_lo = sum.lo;
	ret->digest_hi = sum.hi;
	writer_free(w, false);
	return 0;
}

/* ---- reading --------------------------------------------------------------------------------- */

struct pen_spill {
	int fd;
	char name[64];
	uint64_t batch, bytes;
	uint32_t number;
	struct pen_sum digest; /* as the manifest says */
	struct pen_hash_stream *heads;
	bool whole;  /* read from its beginning, so that the digest can be told */
	char *block; /* its own memory */
	char *large; /* a mapping, of a block that is larger, or NULL */
	struct block_head head;
	uint64_t at; /* of the block in hand; at the end: bytes */
	size_t pos;  /* of the record in hand, in the block */
	uint32_t index;
};

static int damaged(const struct pen_spill *s, const char *what, struct pen_failure *why)
{
	return pen_fail(why, -PEN_RUN_DAMAGED, 0, "the sorted run staging/%s is damaged at byte %llu: %s",
			s->name, (unsigned long long)s->at, what);
}

void pen_spill_close(struct pen_spill *s)
{
	if (!s)
		return;
	if (s->large)
		munmap(s->large, s->head.bytes);
	if (s->fd >= 0)
		close(s->fd);
	pen_hash_stream_close(s->heads);
	free(s->block);
	free(s);
}

int pen_spill_open(int dir, const char *name, const struct pen_fmt_run *run, struct pen_spill **ret,
		   struct pen_failure *why)
{
	struct pen_spill *s = calloc(1, sizeof *s);
	struct stat st;
	int rc = 0;

	if (!s)
		return pen_fail(why, -ENOMEM, ENOMEM, "no memory for a sorted run");
	strncpy(s->name, name, sizeof s->name - 1);
	s->batch = run->id;
	s->number = run->number;
	s->bytes = run->bytes;
	s->digest = (struct pen_sum){ .lo = run->digest_lo, .hi = run->digest_hi };
	s->block = aligned_alloc(PAGE, PEN_SPILL_BLOCK);
	s->heads = pen_hash_stream_open();
	s->fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (!s->block || !s->heads)
		rc = pen_fail(why, -ENOMEM, ENOMEM, "no memory for a sorted run");
	else if (s->fd < 0 || fstat(s->fd, &st))
		rc = pen_fail(why, -PEN_RUN_DAMAGED, errno, "the sorted run staging/%s cannot be opened: %s",
			      name, strerror(errno));
	else if ((uint64_t)st.st_size != run->bytes)
		rc = damaged(s, "it has another length", why);
	if (rc) {
		pen_spill_close(s);
		return rc;
	}
	*ret = s;
	return 0;
}

static int read_all(const struct pen_spill *s, char *to, size_t len, uint64_t at, struct pen_failure *why)
{
	while (len) {
		ssize_t n = pread(s->fd, to, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return pen_fail(why, -PEN_RUN_DAMAGED, errno,
					"the sorted run staging/%s cannot be read: %s", s->name,
					strerror(errno));
		if (!n)
			return damaged(s, "it ends too early", why);
		to += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/* Its memory, once the head is known. */
static const char *text_of(const struct pen_spill *s)
{
	return s->large ? s->large : s->block;
}

static int map_large(struct pen_spill *s, struct pen_failure *why)
{
	void *at = mmap(NULL, s->head.bytes, PROT_READ, MAP_SHARED, s->fd, (off_t)s->at);

	if (at == MAP_FAILED)
		return pen_fail(why, -ENOMEM, errno, "a record of %llu bytes cannot be mapped",
				(unsigned long long)s->head.bytes);
	s->large = at;
	return 0;
}

static void let_go(struct pen_spill *s)
{
	if (s->large)
		munmap(s->large, s->head.bytes);
	s->large = NULL;
}

/* The block at s->at comes in hand. */
static int load(struct pen_spill *s, struct pen_failure *why)
{
	size_t len = (size_t)pen_min(PEN_SPILL_BLOCK, s->bytes - s->at);
	int rc = read_all(s, s->block, len, s->at, why);
	uint32_t crc;

	if (rc)
		return rc;
	if (len < sizeof s->head)
		return damaged(s, "a block is cut", why);
	memcpy(&s->head, s->block, sizeof s->head);
	if (s->head.magic != MAGIC || s->head.batch != s->batch || s->head.number != s->number ||
	    s->head.used < sizeof s->head || s->head.used > s->head.bytes ||
	    s->head.bytes > s->bytes - s->at || s->head.bytes % PAGE || !s->head.records)
		return damaged(s, "a block's head says what cannot be", why);
	if (s->head.bytes > PEN_SPILL_BLOCK)
		rc = map_large(s, why);
	if (rc)
		return rc;
	crc = pen_crc32c(text_of(s) + sizeof crc, s->head.used - sizeof crc);
	if (crc != s->head.crc)
		return damaged(s, "a block's checksum is wrong", why);
	pen_hash_stream_add(s->heads, &s->head, sizeof s->head);
	(void)posix_fadvise(s->fd, (off_t)(s->at + s->head.bytes), PEN_SPILL_BLOCK, POSIX_FADV_WILLNEED);
	s->pos = sizeof s->head;
	s->index = 0;
	return 0;
}

/* The record at pos lies in the block as a whole, whatever its checksum says. */
static int check_row(const struct pen_spill *s, struct pen_failure *why)
{
	const struct pen_spill_row *row = (const struct pen_spill_row *)(text_of(s) + s->pos);
	size_t left = s->head.used - s->pos;

	if (left < sizeof *row || pen_spill_bytes(row) > left || !row->key_len || row->key_len > PEN_KEY_MAX)
		return damaged(s, "a record reaches out of its block", why);
	return 0;
}

const struct pen_spill_row *pen_spill_row(const struct pen_spill *s)
{
	if (s->at >= s->bytes)
		return NULL;
	return (const struct pen_spill_row *)(text_of(s) + s->pos);
}

struct pen_fmt_stop pen_spill_stop(const struct pen_spill *s)
{
	return (struct pen_fmt_stop){ .offset = s->at, .index = s->index };
}

/* The next block, if there is one. */
static int next_block(struct pen_spill *s, struct pen_failure *why)
{
	struct pen_sum sum;

	let_go(s);
	(void)posix_fadvise(s->fd, (off_t)s->at, (off_t)s->head.bytes, POSIX_FADV_DONTNEED);
	s->at += s->head.bytes;
	s->index = 0;
	if (s->at < s->bytes) {
		int rc = load(s, why);

		return rc ? rc : check_row(s, why);
	}
	sum = pen_hash_stream_sum(s->heads);
	if (s->whole && (sum.lo != s->digest.lo || sum.hi != s->digest.hi))
		return damaged(s, "its digest is another", why);
	return 0;
}

int pen_spill_next(struct pen_spill *s, struct pen_failure *why)
{
	const struct pen_spill_row *row = pen_spill_row(s);

	if (!row)
		return 0;
	s->pos += pen_spill_bytes(row);
	s->index++;
	return s->index < s->head.records ? check_row(s, why) : next_block(s, why);
}

int pen_spill_seek(struct pen_spill *s, const struct pen_fmt_stop *stop, struct pen_failure *why)
{
	int rc;

	let_go(s);
	pen_hash_stream_reset(s->heads);
	s->at = stop->offset;
	s->index = 0;
	s->whole = !stop->offset;
	if (s->at > s->bytes)
		return damaged(s, "the merge stands behind its end", why);
	if (s->at == s->bytes)
		return 0;
	rc = load(s, why);
	if (!rc)
		rc = check_row(s, why);
	if (!rc && stop->index >= s->head.records)
		return damaged(s, "the merge stands behind a block's end", why);
	while (!rc && s->index < stop->index)
		rc = pen_spill_next(s, why);
	return rc;
}
