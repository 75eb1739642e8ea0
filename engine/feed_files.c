/* SPDX-License-Identifier: MIT */
/*
 * Files of a tree. Where every file is an item, small ones are fetched side by side into a pack; one too
 * large for a pack, and a file named by itself, is read through its own descriptor. Where files hold
 * records, each is opened in turn and read as feed_records.c does it.
 *
 * On resume the tree is walked from its beginning: everything up to the checkpoint's path is only summed
 * up, and the sums compared with those of the interrupted run. The same paths with other contents end the
 * batch (it would mix old and new); other paths are said and not read again.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/feed_private.h"
#include "engine/recode.h"
#include "engine/unpack.h"
#include "ring/assert.h"
#include "ring/error.h"

#define FETCH_TRIES 3
#define WHOLE_STEP (1u << 20)

/* ---- walking ------------------------------------------------------------------------------- */

static void compare_behind(struct pen_feed *feed)
{
	const struct pen_place *from = &feed->batch->from;
	const char *root = feed->batch->plan->sources[feed->source].path;
	struct pen_failure why = { 0 };

	feed->checked = true;
	if (feed->tree_files == from->files &&
	    !memcmp(&feed->tree_content, &from->content, sizeof from->content))
		return;
	if (feed->tree_files != from->files || memcmp(&feed->tree_paths, &from->paths, sizeof from->paths)) {
		pen_engine_notice(
			feed->engine, -PEN_TREE_MOVED,
			"%s: %llu files lie up to '%s', where the batch was interrupted, and %llu lay there then: "
			"what was added or removed behind that place is not read again",
			root, (unsigned long long)feed->tree_files, feed->batch->from_path,
			(unsigned long long)from->files);
		pen_aftermath_spoil(feed->after, "not all that lies behind that place was read");
		return;
	}
	pen_fail(&why, -PEN_CHANGED, 0, "files in '%s' that are committed already have changed since", root);
	pen_engine_record(feed->engine, feed->batch->id, &why);
	pen_feed_stop(feed, -PEN_CHANGED);
}

/* Lies the file behind the checkpoint? Then it is only summed up; *ret_offset says where to go on in it, if at all. */
static bool behind(struct pen_feed *feed, const struct pen_walk_file *file, uint64_t *ret_offset)
{
	int c = feed->checked ? 1 : strcmp(file->path, feed->batch->from_path);

	*ret_offset = 0;
	if (c > 0 && !feed->checked)
		compare_behind(feed);
	feed->tree_files++;
	feed->behind += file->size;
	pen_aftermath_file(feed->after, file);
	pen_sum_add(&feed->tree_paths, pen_walk_path_hash(file));
	pen_sum_add(&feed->tree_content, pen_walk_file_hash(file));
	if (c > 0)
		return false;
	/* Paths that are too long are cut, and may be the same several times. */
	if (c == 0 && file->error == -ENAMETOOLONG && feed->tree_files < feed->batch->from.files)
		return true;
	if (c == 0) {
		compare_behind(feed);
		*ret_offset = feed->batch->from.offset;
		return *ret_offset == UINT64_MAX;
	}
	return true;
}

/* The next file that is not behind the checkpoint. 1, 0 at the end of the tree, -ENOMEM. */
static int next_file(struct pen_feed *feed, struct pen_walk_file *ret, uint64_t *ret_offset)
{
	int rc;

	while ((rc = pen_walk_next(feed->walk, ret)) > 0 && behind(feed, ret, ret_offset))
		;
	return rc;
}

/* The tree is done, or cannot be listed on. */
static void end_tree(struct pen_feed *feed, int rc)
{
	uint64_t others = pen_walk_others(feed->walk), loops = pen_walk_loops(feed->walk);

	if (!feed->checked)
		compare_behind(feed);
	pen_feed_seal_pack(feed);
	pen_walk_close(feed->walk);
	feed->walk = NULL;
	if (others)
		pen_engine_notice(feed->engine, 0, "%s: %llu symbolic links and special files are no items",
				  feed->batch->plan->sources[feed->source].path, (unsigned long long)others);
	if (loops)
		pen_engine_notice(
			feed->engine, 0,
			"%s: %llu symbolic links lead to a directory they lie in and are not followed",
			feed->batch->plan->sources[feed->source].path, (unsigned long long)loops);
	feed->in_tree = false;
	feed->state = FEED_SOURCE;
	if (rc < 0)
		pen_feed_break(feed, -PEN_SOURCE_BROKE, rc);
}

void pen_feed_open_tree(struct pen_feed *feed, bool again)
{
	int rc;

	if (feed->root >= 0)
		close(feed->root);
	feed->root = feed->fd;
	feed->fd = -1;
	pen_walk_close(feed->walk);
	feed->walk = NULL;
	feed->has_ahead = false;
	rc = pen_walk_open(feed->root, &feed->batch->plan->tree, &feed->walk);
	feed->checked = !again;
	if (rc) {
		pen_feed_break(feed, pen_feed_break_code(rc), rc);
		return;
	}
	pen_aftermath_tree(feed->after, &feed->file);
	feed->in_tree = true;
	feed->state = feed->rules.format == PEN_FORMAT_FILES ? FEED_PACK : FEED_FILE;
}

/* ---- files that hold records --------------------------------------------------------------- */

/* A file of records may be compressed, each in its own way. *ret: must it be decoded? */
static enum pen_compression packing_of(const struct pen_feed *feed, bool *ret)
{
	const struct pen_plan *plan = feed->batch->plan;
	char head[PEN_UNPACK_MAGIC];
	ssize_t n = pread(feed->fd, head, sizeof head, 0);
	enum pen_compression packing = plan->compression;

	*ret = false;
	if (n < 0)
		return packing; /* the read that follows says so */
	if (packing == PEN_COMPRESSION_AUTO)
		packing = pen_unpack_sniff(head, (size_t)n);
	*ret = pen_source_decodes(plan, packing, head, (size_t)n);
	return packing;
}

/* An earlier run ended inside this file: what it holds was told by its beginning, and is again. */
static bool judge_again(struct pen_feed *feed, enum pen_compression packing)
{
	const struct pen_plan *plan = feed->batch->plan;
	size_t cap = PEN_FEED_SAMPLE + PEN_RECODE_ROOM, len = 0;
	char *text = calloc(1, cap + PEN_JSON_PADDING);
	bool whole = false, fits;
	int rc = text ? pen_decode_sample(feed->fd,
					  packing == PEN_COMPRESSION_AUTO ? PEN_COMPRESSION_NONE : packing,
					  plan->encoding, text, cap, &len, &whole)
		      : -ENOMEM;

	if (rc)
		pen_feed_break(feed, rc <= -PEN_USAGE ? rc : -PEN_SOURCE_BROKE, rc <= -PEN_USAGE ? 0 : rc);
	fits = !rc && pen_feed_judge(feed, text, len, whole);
	free(text);
	return fits;
}

/* Reads the open file from a place on, or from its beginning (NULL). */
static void begin_in_tree(struct pen_feed *feed, const struct pen_place *from)
{
	bool decodes;
	enum pen_compression packing = packing_of(feed, &decodes);

	pen_feed_set_format(feed, feed->file.format, NULL);
	pen_feed_begin_file(feed, from);
	if (from && !judge_again(feed, packing))
		return;
	if (decodes)
		(void)pen_feed_start_decode(feed, packing, NULL, 0); /* breaks the file where it fails */
}

bool pen_feed_step_file(struct pen_feed *feed)
{
	struct pen_walk_file file;
	struct stat st;
	uint64_t offset;
	int rc = next_file(feed, &file, &offset);

	if (feed->stopping)
		return true;
	if (rc <= 0) {
		end_tree(feed, rc);
		return true;
	}
	memcpy(feed->name, file.path, file.path_len + 1);
	feed->cut_at = feed->read_at = feed->lines = 0;
	rc = file.error ? file.error : pen_walk_openat(feed->root, file.path, O_RDONLY, file.linked);
	if (rc < 0) {
		pen_feed_break(feed, pen_feed_break_code(rc), rc);
		return true;
	}
	feed->fd = rc;
	if (fstat(feed->fd, &st) || !S_ISREG(st.st_mode) || st.st_ino != file.ino) {
		pen_feed_break(feed, -PEN_SOURCE_CHANGED, 0);
		return true;
	}
	feed->file.dev = st.st_dev;
	feed->file.ino = st.st_ino;
	feed->file.size = (uint64_t)st.st_size;
	feed->file.mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
	begin_in_tree(feed, offset ? &feed->batch->from : NULL);
	return true;
}

/* ---- packs --------------------------------------------------------------------------------- */

/* A pack is pending once for itself until it is sealed, and once for each fetch. */
static void unpend(struct pen_feed *feed, struct pen_chunk *pack)
{
	if (--pack->pending)
		return;
	pen_feed_send(feed->engine, pack);
}

void pen_feed_seal_pack(struct pen_feed *feed)
{
	struct pen_chunk *pack = feed->pack;

	if (!pack)
		return;
	feed->pack = NULL;
	unpend(feed, pack);
}

struct pen_chunk *pen_feed_begin_pack(struct pen_feed *feed)
{
	struct pen_chunk *pack = pen_feed_get_chunk(feed);

	if (!pack)
		return NULL;
	pack->kind = PEN_CHUNK_FILES;
	pack->rules.format = PEN_FORMAT_FILES;
	pack->pending = 1;
	pen_feed_number(feed, pack); /* its place in the order; items are counted as they come */
	feed->pack = pack;
	return pack;
}

bool pen_feed_pack_names(const struct pen_chunk *pack, size_t len)
{
	return pack->keys_used + len + 1 + PEN_CHUNK_MADE_KEY * (pack->items + 1) <= pack->keys_cap;
}

static bool fits(const struct pen_feed *feed, const struct pen_walk_file *file)
{
	const struct pen_chunk *pack = feed->pack;
	uint32_t limit = pen_feed_items_max(feed) ? pen_feed_items_max(feed) : PEN_PACK_FILES;

	return pack->end + (file->error ? 0 : file->size + 1) <=
		       pen_transform_text(&feed->batch->plan->transform, pack->capacity, pack->items + 1) &&
	       pack->items < pen_min(limit, PEN_PACK_FILES) && pen_feed_pack_names(pack, file->path_len);
}

/* A file of that size, with what is made of it, fits into a chunk of its own. */
static bool fits_alone(const struct pen_feed *feed, uint64_t size)
{
	const struct pen_engine *engine = feed->engine;

	return size + 1 <= pen_transform_text(&feed->batch->plan->transform,
					      pen_max(engine->chunk_bytes, PEN_CHUNK_ROOM_MIN), 1);
}

/* Adds a file to the pack in hand as its next item. */
static struct pen_entry *add_entry(struct pen_feed *feed, const struct pen_walk_file *file)
{
	struct pen_chunk *pack = feed->pack;
	struct pen_entry *e = &pack->table[pack->entry_count];
	uint32_t at = pen_chunk_add_key(pack, file->path, file->path_len + 1);

	*e = (struct pen_entry){ .at = pack->end, .item = pack->entry_count, .line = at };
	pack->entry_count++;
	pack->items++;
	feed->items++;
	pack->after = pen_feed_place(feed, UINT64_MAX, 0, pack->keys + at);
	if (file->error)
		e->prefix = (uint64_t)-pen_feed_break_code(file->error);
	return e;
}

static bool start_fetch(struct pen_feed *feed, struct fetch *fetch)
{
	struct pen_entry *e = &fetch->pack->table[fetch->item];

	if (!pen_io_fetch(feed->engine->io, &fetch->req, feed->root, fetch->pack->keys + e->line,
			  fetch->pack->data + e->at, fetch->size + 1))
		return false;
	fetch->req.user = feed;
	return true;
}

/* A file that does not fit into an empty pack. */
static bool go_whole(struct pen_feed *feed)
{
	const struct pen_walk_file *file = &feed->ahead;
	int fd;

	pen_feed_seal_pack(feed);
	feed->has_ahead = false;
	memcpy(feed->name, file->path, file->path_len + 1);
	fd = pen_walk_openat(feed->root, file->path, O_RDONLY, file->linked);
	feed->cut_at = feed->read_at = feed->lines = 0;
	feed->file.dev = 0;
	if (fd < 0) {
		pen_feed_break(feed, pen_feed_break_code(fd), fd);
		return true;
	}
	feed->fd = fd;
	feed->file.ino = file->ino;
	feed->file.size = file->size;
	feed->file.mtime_ns = file->mtime_ns;
	{
		struct stat st;

		feed->file.dev = fstat(fd, &st) ? 0 : st.st_dev;
	}
	pen_feed_begin_file(feed, NULL);
	(void)pen_feed_still_same(feed); /* changes the state when it is not */
	return true;
}

bool pen_feed_step_pack(struct pen_feed *feed)
{
	bool any = false;

	for (;;) {
		struct pen_walk_file *file = &feed->ahead;
		struct fetch *fetch = feed->fetch_free;
		uint64_t offset;
		int rc;

		if (!fetch)
			return any;
		if (!feed->has_ahead) {
			rc = next_file(feed, file, &offset);
			if (feed->stopping)
				return true;
			if (rc <= 0) {
				end_tree(feed, rc);
				return true;
			}
			feed->has_ahead = true;
		}
		/* Fetches follow no link. */
		if (!file->error && (file->linked || file->size + 1 > feed->engine->chunk_bytes ||
				     !fits_alone(feed, file->size)))
			return go_whole(feed);
		if (feed->pack && !fits(feed, file))
			pen_feed_seal_pack(feed);
		if (!feed->pack && !pen_feed_begin_pack(feed))
			return any;
		any = true;
		feed->has_ahead = false;
		if (file->error) {
			add_entry(feed, file);
			continue;
		}
		feed->fetch_free = fetch->next;
		fetch->pack = feed->pack;
		fetch->item = add_entry(feed, file)->item;
		fetch->tries = 0;
		fetch->ino = file->ino;
		fetch->size = file->size;
		fetch->mtime_ns = file->mtime_ns;
		fetch->pack->end += (uint32_t)file->size + 1;
		fetch->pack->pending++;
		feed->fetches_out++;
		/* There are as many requests as io takes at once, and they are shared with the sequential reads. */
		if (!start_fetch(feed, fetch)) {
			fetch->req.res = -ECANCELED;
			pen_feed_done_fetch(feed, fetch);
			return any;
		}
	}
}

/* Is the file still what the walk saw? Updates the fetch to what it is now. */
static bool unchanged(struct pen_feed *feed, struct fetch *fetch, const char *path)
{
	struct stat st;
	int64_t mtime_ns;
	bool same;

	if (fstatat(feed->root, path, &st, AT_SYMLINK_NOFOLLOW))
		return true; /* removed after it was read whole: what was read stands */
	mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
	same = st.st_ino == fetch->ino && (uint64_t)st.st_size == fetch->size && mtime_ns == fetch->mtime_ns;
	fetch->ino = st.st_ino;
	fetch->mtime_ns = mtime_ns;
	if ((uint64_t)st.st_size <= fetch->size)
		fetch->size = (uint64_t)st.st_size; /* a longer one has no room in its pack */
	return same;
}

void pen_feed_done_fetch(struct pen_feed *feed, struct fetch *fetch)
{
	struct pen_chunk *pack = fetch->pack;
	struct pen_entry *e = &pack->table[fetch->item];
	const char *path = pack->keys + e->line;
	int64_t got = fetch->req.res;
	int code = 0;

	if (got == -ECANCELED && !feed->stopping && start_fetch(feed, fetch))
		return;
	if (got < 0) {
		code = pen_feed_break_code((int)got);
	} else if (!unchanged(feed, fetch, path) || (uint64_t)got != fetch->size) {
		if (fetch->tries++ < FETCH_TRIES && start_fetch(feed, fetch))
			return;
		code = -PEN_SOURCE_CHANGED;
	}
	if (code)
		e->prefix = (uint64_t)-code;
	else
		e->len = (uint32_t)got;
	pack->bytes += e->len;
	fetch->next = feed->fetch_free;
	feed->fetch_free = fetch;
	feed->fetches_out--;
	unpend(feed, pack);
}

/* ---- one file, one item, through its own descriptor ------------------------------------------ */

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && slash[1] ? slash + 1 : path;
}

/* Sends what lies in the slot or the jumbo buffer (raw: all of it, or the first bytes of a file too large). */
static void send_whole(struct pen_feed *feed, uint64_t raw, int code)
{
	struct pen_chunk *chunk = feed->chunk;
	const char *name = base_name(feed->name);
	uint32_t at = feed->in_tree ? (uint32_t)(chunk->path - chunk->keys)
				    : pen_chunk_add_key(chunk, name, strlen(name) + 1);

	if (feed->holds_jumbo) {
		chunk->data = feed->jumbo->base;
		chunk->room = feed->jumbo->bytes;
		chunk->jumbo = true;
		feed->holds_jumbo = false;
	}
	chunk->kind = code ? PEN_CHUNK_FLAW : PEN_CHUNK_FILES;
	chunk->rules.format = PEN_FORMAT_FILES;
	chunk->end = (uint32_t)raw;
	chunk->items = 1;
	chunk->bytes = feed->file.size;
	chunk->after = pen_feed_place(feed, feed->in_tree ? UINT64_MAX : pen_max(feed->file.size, 1), 0,
				      chunk->path);
	pen_feed_number(feed, chunk);
	if (code) {
		struct pen_flaw *flaw = pen_chunk_add_flaw(chunk, 0, at, code);

		flaw->len = chunk->end;
		flaw->total = feed->file.size;
	} else {
		chunk->table[0] = (struct pen_entry){ .len = (uint32_t)raw, .line = at };
		chunk->entry_count = 1;
	}
	feed->chunk = NULL;
	pen_feed_send(feed->engine, chunk);
	pen_feed_close_file(feed);
}

static bool too_large(const struct pen_feed *feed)
{
	return feed->file.size > feed->batch->plan->max_record;
}

bool pen_feed_step_whole(struct pen_feed *feed)
{
	uint64_t want;
	char *to;

	if (!feed->chunk && !(feed->chunk = pen_feed_get_chunk(feed)))
		return false;
	want = too_large(feed) ? pen_min(PEN_RAW_MAX, feed->chunk->capacity) : feed->file.size + 1;
	if (!feed->holds_jumbo &&
	    (want > feed->chunk->capacity || !(too_large(feed) || fits_alone(feed, want))) &&
	    !pen_feed_take_jumbo(feed))
		return feed->state == FEED_BREAK;
	to = feed->holds_jumbo ? feed->jumbo->base : feed->chunk->data;
	/* One byte more than it should have: its absence proves the end. */
	return pen_feed_read(feed, to + feed->jumbo_used,
			     (size_t)pen_min(want - feed->jumbo_used, WHOLE_STEP), (int64_t)feed->jumbo_used);
}

void pen_feed_done_whole(struct pen_feed *feed, int64_t got, size_t wanted)
{
	if (got < 0) {
		pen_feed_break(feed, pen_feed_break_code((int)got), (int)got);
		return;
	}
	if (!pen_feed_still_same(feed))
		return;
	feed->jumbo_used += (uint64_t)got;
	if (too_large(feed))
		send_whole(feed, feed->jumbo_used, -PEN_RECORD_LARGE);
	else if ((size_t)got == wanted && feed->jumbo_used <= feed->file.size)
		return; /* more to come */
	else if (feed->jumbo_used != feed->file.size)
		pen_feed_break(feed, -PEN_SOURCE_CHANGED, 0);
	else if (feed->holds_jumbo && !pen_feed_grow_jumbo(feed, feed->jumbo_used))
		send_whole(feed, pen_min(feed->jumbo_used, PEN_RAW_MAX), -PEN_RECORD_LARGE);
	else
		send_whole(feed, feed->jumbo_used, 0);
}
