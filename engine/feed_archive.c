/* SPDX-License-Identifier: MIT */
/*
 * Archives: each regular file in a tar or zip is an item, its name its path. Small ones are packed side by side into a
 * chunk as they come; one that outgrows a chunk moves to the jumbo buffer, and one above max_record is passed over.
 *
 * The checkpoint counts members (place.offset), because nothing else in an archive can be found again without
 * reading what stands before it; a resumed run passes over as many.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/archive.h"
#include "engine/feed_private.h"
#include "ring/assert.h"
#include "ring/error.h"

static void wake_reader(void *io)
{
	pen_io_wake(io);
}

void pen_feed_open_archive(struct pen_feed *feed, uint64_t members, const void *prefix, size_t len)
{
	struct pen_decode_options opt = {
		.fd = feed->fd,
		.offset = feed->stream ? PEN_DECODE_STREAM : 0,
		.prefix = prefix,
		.prefix_len = len,
		.compression = feed->stream ? PEN_COMPRESSION_NONE : feed->file.compression,
		.encoding = PEN_ENCODING_UTF8, /* members are files: their bytes as they are */
		.skip = members,
		.wake = wake_reader,
		.wake_arg = feed->engine->io,
	};
	int rc = -ENOMEM;

	if (!feed->member)
		feed->member = malloc(sizeof *feed->member);
	if (feed->member)
		rc = pen_archive_open(&opt, &feed->archive, NULL);
	feed->packed = 0;
	feed->members = members;
	feed->in_member = false;
	feed->state = FEED_ARCHIVE;
	if (rc)
		pen_feed_break(feed, -PEN_SOURCE_BROKE, rc);
}

/* Our own codes as they are; what the system says as what it means for a file. */
static int code_of(int rc)
{
	return rc <= -PEN_USAGE ? rc : pen_feed_break_code(rc);
}

void pen_feed_leave_pack(struct pen_feed *feed)
{
	struct pen_chunk *pack = feed->pack;

	if (pack && feed->in_member && !feed->holds_jumbo && feed->jumbo_used) {
		memcpy(feed->carry, pack->data + pack->end, feed->jumbo_used);
		feed->carry_len = (uint32_t)feed->jumbo_used;
	}
	pen_feed_seal_pack(feed);
}

/* The archive ends, or cannot be read on. */
static void end_archive(struct pen_feed *feed, int rc)
{
	uint64_t others = pen_archive_others(feed->archive);

	pen_feed_seal_pack(feed);
	if (others)
		pen_engine_notice(feed->engine, 0,
				  "%s: %llu directories, links and special files are no items", feed->name,
				  (unsigned long long)others);
	if (rc < 0) {
		feed->cut_at = feed->packed;
		pen_feed_break(feed, code_of(rc), rc <= -PEN_USAGE ? 0 : rc);
		return;
	}
	pen_feed_close_file(feed);
}

/* How far members may fill the pack, the next one included: behind that lies what is made of them. */
static size_t text_end(const struct pen_feed *feed, const struct pen_chunk *pack)
{
	return pen_transform_text(&feed->batch->plan->transform, pack->capacity, pack->items + 1);
}

/* A pack with room for this member's name. False: no tag. */
static bool have_pack(struct pen_feed *feed)
{
	uint64_t limit = pen_feed_items_max(feed) ? pen_feed_items_max(feed) : PEN_PACK_FILES;
	struct pen_chunk *pack = feed->pack;

	if (pack && (pack->items >= pen_min(limit, PEN_PACK_FILES) || pack->end >= text_end(feed, pack) ||
		     !pen_feed_pack_names(pack, strlen(feed->member->path))))
		pen_feed_seal_pack(feed);
	if (feed->pack)
		return true;
	pack = pen_feed_begin_pack(feed);
	if (pack) /* it may have to leave without an item */
		pack->after = pen_feed_place(feed, feed->members, 0, NULL);
	return pack;
}

/* The member's bytes lie behind pack->end. Adds it as the next item; code: it is none. */
static void add_member(struct pen_feed *feed, uint64_t len, int code)
{
	struct pen_chunk *pack = feed->pack;
	struct pen_entry *e = &pack->table[pack->entry_count];
	uint32_t at = pen_chunk_add_key(pack, feed->member->path, strlen(feed->member->path) + 1);

	*e = (struct pen_entry){
		.at = pack->end,
		.len = code ? 0 : (uint32_t)len,
		.item = pack->entry_count,
		.line = at,
		.prefix = code ? (uint64_t)-code : 0,
	};
	pack->entry_count++;
	pack->items++;
	feed->items++;
	feed->members++;
	feed->in_member = false;
	if (feed->stream && !feed->fresh_ns)
		feed->fresh_ns = pen_mono_ns(feed->engine->clock);
	pack->end += e->len;
	pack->bytes += len;
	pack->after = pen_feed_place(feed, feed->members, 0, NULL);
}

/* The jumbo buffer holds the whole member: it becomes a chunk's of its own. */
static void add_jumbo(struct pen_feed *feed)
{
	struct pen_chunk *pack = feed->pack;

	pen_assert(!pack->items);
	if (!pen_feed_grow_jumbo(feed, feed->jumbo_used)) {
		pen_feed_drop_jumbo(feed);
		add_member(feed, 0, -PEN_RECORD_LARGE);
		return;
	}
	pack->data = feed->jumbo->base;
	pack->room = feed->jumbo->bytes;
	pack->jumbo = true;
	feed->holds_jumbo = false;
	add_member(feed, feed->jumbo_used, 0);
	pen_feed_seal_pack(feed);
}

/* The member has outgrown what is left of the pack. False: wait. */
static bool make_way(struct pen_feed *feed)
{
	struct pen_chunk *full = feed->pack;

	if (full->items) { /* on its own it may fit */
		pen_feed_leave_pack(feed);
		return true;
	}
	if (!pen_feed_take_jumbo(feed))
		return false;
	memcpy(feed->jumbo->base, full->data, feed->jumbo_used);
	return true;
}

static int64_t read_member(struct pen_feed *feed)
{
	struct pen_chunk *pack = feed->pack;
	char *to = feed->holds_jumbo ? feed->jumbo->base : pack->data + pack->end;
	size_t room = feed->holds_jumbo ? (size_t)feed->engine->chunk_bytes
					: text_end(feed, pack) - pack->end - (size_t)feed->jumbo_used;

	return pen_archive_read(feed->archive, to + feed->jumbo_used, room, &feed->packed);
}

/* Reads on in the member. True: something happened. */
static bool step_member(struct pen_feed *feed)
{
	int64_t got;

	/* A member that has begun stays in its pack, unless that had to leave. */
	if ((!feed->pack || !(feed->holds_jumbo || feed->jumbo_used)) && !have_pack(feed))
		return false;
	if (feed->member->code) { /* nothing of it can be read */
		add_member(feed, 0, code_of(feed->member->code));
		return true;
	}
	if (feed->carry_len) {
		memcpy(feed->pack->data, feed->carry, feed->carry_len);
		feed->carry_len = 0;
	}
	if (!feed->holds_jumbo && feed->pack->end + feed->jumbo_used >= text_end(feed, feed->pack) &&
	    !make_way(feed))
		return feed->state == FEED_BREAK;
	if (!feed->pack)
		return true;
	got = read_member(feed);
	if (got == -EAGAIN) {
		feed->waiting = true;
		return false;
	}
	if (got > 0) {
		feed->jumbo_used += (uint64_t)got;
		if (feed->jumbo_used <= feed->batch->plan->max_record)
			return true;
		got = -PEN_RECORD_LARGE;
	}
	if (!got && feed->holds_jumbo) {
		add_jumbo(feed);
		return true;
	}
	pen_feed_drop_jumbo(feed);
	add_member(feed, got ? 0 : feed->jumbo_used, got ? code_of((int)got) : 0);
	return true;
}

bool pen_feed_step_archive(struct pen_feed *feed)
{
	int rc;

	feed->waiting = false;
	if (feed->in_member)
		return step_member(feed);
	rc = pen_archive_next(feed->archive, feed->member);
	if (rc == -EAGAIN) {
		feed->waiting = true;
		return false;
	}
	if (rc <= 0) {
		end_archive(feed, rc);
		return true;
	}
	if (!pen_feed_still_same(feed))
		return true;
	feed->in_member = true;
	feed->jumbo_used = 0;
	return true;
}
