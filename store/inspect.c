/* SPDX-License-Identifier: MIT */
/*
 * inspect - is data.mdb fit to be mapped?
 *
 * LMDB believes its meta pages: a file cut short is SIGBUS at the first touch behind its end. So the meta
 * pages are read with pread first. A file shorter than they say need not be cut: LMDB numbers pages before
 * it writes them, and pages at the end that were freed in the transaction that made them are never written.
 * Those stand in the free list, so for a short file (rare) the free list is read too: harmless if it holds
 * every missing page.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ring/base.h"
#include "store/store_private.h"

#define PAGE_HEAD 16u
#define PAGE_BRANCH 0x01u
#define PAGE_LEAF 0x02u
#define PAGE_OVERFLOW 0x04u
#define PAGE_META 0x08u
#define NODE_HEAD 8u
#define NODE_BIG 0x01u
#define LMDB_MAGIC 0xbeefc0deu
#define LMDB_VERSION 1u
#define TREE_DEPTH 32
#define MISSING_MAX (1u << 20) /* pages behind the end that are looked up; more is damage */

/* MDB_meta of LMDB 0.9 behind the page's head. */
struct raw_meta {
	uint32_t magic, version;
	uint64_t address, map_bytes;
	uint32_t page_size; /* mm_dbs[0].md_pad */
	uint16_t free_flags, free_depth;
	uint64_t free_counts[4], free_root;
	uint64_t main_db[6];
	uint64_t last_page, txn;
};
_Static_assert(sizeof(struct raw_meta) == 136, "MDB_meta");

struct short_file {
	int fd;
	uint64_t pages, last_page; /* pages: whole ones in the file */
	uint32_t page_size;
	uint8_t *found; /* one byte for each missing page: the free list has it */
};

static int meta_read(int fd, off_t at, struct raw_meta *ret)
{
	unsigned char page[PAGE_HEAD + sizeof(*ret)];
	ssize_t n = pread(fd, page, sizeof(page), at);
	uint16_t flags;

	if (n < 0)
		return -errno;
	if (n != (ssize_t)sizeof(page))
		return -PEN_STORE_DAMAGED;
	memcpy(&flags, page + 10, sizeof(flags));
	memcpy(ret, page + PAGE_HEAD, sizeof(*ret));
	if (!(flags & PAGE_META) || ret->magic != LMDB_MAGIC)
		return -PEN_STORE_DAMAGED;
	if (ret->version != LMDB_VERSION)
		return -PEN_STORE_NEWER;
	if (!pen_is_pow2(ret->page_size) || ret->page_size < 512 || ret->page_size > 65536 ||
	    ret->last_page < 1 || ret->last_page > (uint64_t)INT64_MAX / ret->page_size - 1)
		return -PEN_STORE_DAMAGED;
	return 0;
}

/* A free-list record: a count and as many page numbers. at: where it lies in the file. */
static bool record_mark(struct short_file *f, uint64_t at, uint64_t len)
{
	uint64_t ids[512], count, i, n;

	if (len < 8 || pread(f->fd, &count, 8, (off_t)at) != 8 || count > (len - 8) / 8)
		return false;
	for (at += 8; count; count -= n, at += 8 * n) {
		n = pen_min(count, PEN_COUNT(ids));
		if (pread(f->fd, ids, 8 * n, (off_t)at) != (ssize_t)(8 * n))
			return false;
		for (i = 0; i < n; i++)
			if (ids[i] >= f->pages && ids[i] <= f->last_page)
				f->found[ids[i] - f->pages] = 1;
	}
	return true;
}

static bool leaf_mark(struct short_file *f, uint64_t page_no, const unsigned char *page, unsigned offset)
{
	uint16_t lo, hi, flags, key_len;
	uint64_t len, data, big;

	memcpy(&lo, page + offset, 2);
	memcpy(&hi, page + offset + 2, 2);
	memcpy(&flags, page + offset + 4, 2);
	memcpy(&key_len, page + offset + 6, 2);
	len = lo | (uint64_t)hi << 16;
	data = offset + NODE_HEAD + (uint64_t)key_len;
	if (flags & NODE_BIG) {
		if (data + 8 > f->page_size)
			return false;
		memcpy(&big, page + data, 8);
		return big < f->pages && record_mark(f, big * f->page_size + PAGE_HEAD, len);
	}
	return data + len <= f->page_size && record_mark(f, page_no * f->page_size + data, len);
}

/* Walks the tree of the free list. */
static bool tree_mark(struct short_file *f, uint64_t page_no, unsigned depth)
{
	unsigned char *page;
	uint16_t flags, lower, offset, part[3];
	unsigned i, keys;
	bool good = false;

	if (page_no >= f->pages || depth > TREE_DEPTH)
		return false;
	page = malloc(f->page_size);
	if (!page)
		return false;
	if (pread(f->fd, page, f->page_size, (off_t)(page_no * f->page_size)) != (ssize_t)f->page_size)
		goto out;
	memcpy(&flags, page + 10, 2);
	memcpy(&lower, page + 12, 2);
	if (!(flags & (PAGE_BRANCH | PAGE_LEAF)) || lower < PAGE_HEAD || lower > f->page_size)
		goto out;
	keys = (lower - PAGE_HEAD) / 2u;
	for (i = 0; i < keys; i++) {
		memcpy(&offset, page + PAGE_HEAD + 2 * i, 2);
		if (offset < PAGE_HEAD || offset + NODE_HEAD > f->page_size)
			goto out;
		memcpy(part, page + offset, sizeof(part));
		if (flags & PAGE_LEAF
			    ? !leaf_mark(f, page_no, page, offset)
			    : !tree_mark(f, part[0] | (uint64_t)part[1] << 16 | (uint64_t)part[2] << 32,
					 depth + 1))
			goto out;
	}
	good = true;
out:
	free(page);
	return good;
}

/* Every page behind the end of the file is free. */
static bool missing_are_free(int fd, const struct raw_meta *meta, uint64_t pages)
{
	struct short_file f = {
		.fd = fd, .pages = pages, .last_page = meta->last_page, .page_size = meta->page_size
	};
	uint64_t missing = meta->last_page + 1 - pages, i;
	bool good;

	if (missing > MISSING_MAX || meta->free_root == UINT64_MAX)
		return false;
	f.found = calloc(missing, 1);
	if (!f.found)
		return false;
	good = tree_mark(&f, meta->free_root, 1);
	for (i = 0; i < missing; i++)
		good = good && f.found[i];
	free(f.found);
	return good;
}

static int file_check(int fd, struct pen_failure *why)
{
	struct raw_meta meta[2] = { 0 }, *now;
	struct stat st;
	uint64_t pages;
	int code;

	code = meta_read(fd, 0, &meta[0]);
	if (!code)
		code = meta_read(fd, meta[0].page_size, &meta[1]);
	if (code == -PEN_STORE_NEWER)
		return pen_fail(why, code, 0, "data.mdb has version %u of LMDB's format", meta[0].version);
	if (code || !meta[0].page_size || meta[0].page_size != meta[1].page_size)
		return pen_fail(why, code ? code : -PEN_STORE_DAMAGED, 0,
				"the meta pages of data.mdb are not valid");
	now = &meta[meta[1].txn > meta[0].txn];
	if (fstat(fd, &st))
		return pen_fail(why, -errno, errno, "data.mdb cannot be examined");
	pages = (uint64_t)st.st_size / now->page_size;
	if (pages <= now->last_page && !missing_are_free(fd, now, pages))
		return pen_fail(why, -PEN_STORE_DAMAGED, 0,
				"data.mdb is cut short: %llu of %llu pages are there",
				(unsigned long long)pages, (unsigned long long)now->last_page + 1);
	return 0;
}

/* Somebody may be writing to the store: what looks damaged is looked at again before it is said. */
static int file_settle(int fd, struct pen_failure *why)
{
	int i, code = -PEN_STORE_DAMAGED;

	for (i = 0; i < 3 && code == -PEN_STORE_DAMAGED; i++)
		code = file_check(fd, NULL);
	return code ? file_check(fd, why) : 0;
}

int pen_store_inspect(int dir_fd, struct pen_failure *why)
{
	struct stat st;
	int fd, code;

	fd = openat(dir_fd, "data.mdb", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return pen_fail(why, -PEN_STORE_MISSING, errno, "there is no data.mdb");
	if (fd < 0)
		return pen_fail(why, errno == EACCES ? -PEN_STORE_READONLY : -errno, errno,
				"data.mdb cannot be opened");
	if (fstat(fd, &st) || !S_ISREG(st.st_mode))
		code = pen_fail(why, -PEN_STORE_FOREIGN, 0, "data.mdb is not a regular file");
	else
		code = file_settle(fd, why);
	(void)close(fd);
	return code;
}
