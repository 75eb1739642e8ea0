/* SPDX-License-Identifier: MIT */
/*
 * Records of a file or stream: read, cut, send. A chunk in hand holds [sent, used) not yet passed on;
 * cut_at is the offset of data[sent] in the source.
 *
 * A record that does not fit a chunk is gathered in the jumbo buffer (JUMBO) until its end shows; one that
 * grows beyond max_record is passed over (SKIP) and becomes a reject with its first bytes.
 */
#include <errno.h>

#include "engine/feed_private.h"
#include "engine/split.h"
#include "ring/assert.h"

#define FILL_MIN 4096u

static bool skips_blank(const struct pen_feed *feed)
{
	return feed->format != PEN_FORMAT_LINES;
}

static uint32_t item_limit(const struct pen_feed *feed)
{
	uint32_t n = feed->batch->plan->chunk_items;

	return n ? n : PEN_CHUNK_ITEMS;
}

static uint32_t byte_limit(const struct pen_feed *feed)
{
	uint64_t n = feed->batch->plan->chunk_bytes;

	return n ? (uint32_t)pen_min(n, feed->engine->chunk_bytes) : feed->engine->chunk_bytes;
}

/* How far to fill a chunk: not much beyond what its items can be, or the rest is copied in vain. */
static uint32_t fill_target(const struct pen_feed *feed)
{
	uint64_t likely = (uint64_t)feed->record_bytes * item_limit(feed);

	return (uint32_t)pen_min(byte_limit(feed), pen_max(likely, FILL_MIN));
}

static bool has_mark(const char *text, uint64_t len)
{
	return len >= 3 && !memcmp(text, "\xef\xbb\xbf", 3);
}

/* Bytes at the front of data[sent] that are a byte order mark: no part of the first record. */
static uint32_t mark_bytes(const struct pen_feed *feed, const char *data, uint64_t len)
{
	return feed->cut_at == 0 && has_mark(data, len) ? 3 : 0;
}

/* A stream has no name to tell its format by: its first bytes do. */
static void settle_format(struct pen_feed *feed)
{
	const char *at = feed->chunk->data + feed->sent, *end = feed->chunk->data + feed->used;

	if (feed->format != PEN_FORMAT_AUTO)
		return;
	if (has_mark(at, (uint64_t)(end - at)))
		at += 3;
	while (at < end && (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\n'))
		at++;
	feed->format = PEN_FORMAT_LINES;
	if (at == end || *at == '{' || *at == '[' || feed->batch->plan->key_kind == PEN_KEY_POINTER)
		feed->format = PEN_FORMAT_NDJSON;
}

/* Sends data[begin .. begin + cut.len) of the chunk; mark bytes before it are passed over with it. */
static void send_records(struct pen_feed *feed, struct pen_chunk *chunk, uint32_t begin, uint32_t mark,
			 struct pen_cut cut)
{
	chunk->kind = PEN_CHUNK_RECORDS;
	chunk->format = feed->format;
	chunk->begin = begin;
	chunk->end = begin + (uint32_t)cut.len;
	chunk->items = cut.items;
	chunk->base_offset = feed->cut_at + mark;
	chunk->first_line = feed->lines;
	chunk->bytes = mark + cut.len;
	feed->lines += cut.lines;
	feed->cut_at += mark + cut.len;
	chunk->after = pen_feed_place(feed, feed->cut_at, feed->lines, chunk->path);
	pen_feed_number(feed, chunk);
	pen_feed_send(feed->engine, chunk);
}

/* What is left of the chunk in hand waits for the next one. */
static void keep_rest(struct pen_feed *feed, const char *rest, size_t len)
{
	pen_assert(len <= feed->engine->chunk_bytes);
	memcpy(feed->carry, rest, len);
	feed->carry_len = (uint32_t)len;
	feed->chunk = NULL;
	feed->used = feed->sent = 0;
	feed->fresh_ns = 0;
}

/* Cuts what the chunk holds and sends it. */
static void cut_chunk(struct pen_feed *feed)
{
	struct pen_chunk *chunk = feed->chunk;
	const char *data = chunk->data + feed->sent;
	uint32_t len = feed->used - feed->sent, mark, begin;
	struct pen_cut cut;

	settle_format(feed);
	mark = mark_bytes(feed, data, len);
	cut = pen_split_cut(data + mark, len - mark, skips_blank(feed), feed->eof, item_limit(feed));
	if (!cut.len && !feed->eof) {
		if (feed->used < byte_limit(feed)) /* room for more of this record */
			feed->record_bytes = (uint32_t)pen_min(UINT32_MAX / 2, 2ull * feed->record_bytes + 1);
		else if (!feed->sent)
			feed->state = FEED_JUMBO;
		else {
			keep_rest(feed, data, len);
			pen_feed_put_chunk(feed, chunk);
		}
		return;
	}
	begin = feed->sent + mark;
	keep_rest(feed, data + mark + cut.len, len - mark - cut.len);
	if (cut.items)
		feed->record_bytes = (uint32_t)((feed->record_bytes + 3 * (cut.len / cut.items + 1)) / 4);
	if (cut.len || mark)
		send_records(feed, chunk, begin, mark, cut);
	else
		pen_feed_put_chunk(feed, chunk);
	if (feed->eof && !feed->carry_len)
		pen_feed_close_file(feed);
}

bool pen_feed_step_records(struct pen_feed *feed)
{
	uint32_t target;

	if (!feed->chunk) {
		feed->chunk = pen_feed_get_chunk(feed);
		if (!feed->chunk)
			return false;
		memcpy(feed->chunk->data, feed->carry, feed->carry_len);
		feed->used = feed->carry_len;
		feed->carry_len = 0;
	}
	if (feed->eof) {
		cut_chunk(feed);
		return true;
	}
	target = feed->stream ? byte_limit(feed) : fill_target(feed);
	if (feed->used >= target) {
		cut_chunk(feed);
		if (feed->state != FEED_RECORDS || !feed->chunk)
			return true;
		target = byte_limit(feed);
	}
	return pen_feed_read(feed, feed->chunk->data + feed->used, target - feed->used,
			     feed->stream ? PEN_IO_STREAM : (int64_t)feed->read_at);
}

/* Counts what a read brought. False: the file broke. */
static bool account(struct pen_feed *feed, int64_t got, size_t wanted)
{
	if (got < 0) {
		pen_feed_break(feed, pen_feed_break_code((int)got), (int)got);
		return false;
	}
	if (!pen_feed_still_same(feed))
		return false;
	feed->read_at += (uint64_t)got;
	feed->eof = feed->stream ? got == 0 : (size_t)got < wanted || feed->read_at >= feed->file.size;
	return true;
}

void pen_feed_done_records(struct pen_feed *feed, int64_t got, size_t wanted)
{
	if (!account(feed, got, wanted))
		return;
	if (feed->stream && got && !feed->fresh_ns)
		feed->fresh_ns = pen_mono_ns(feed->engine->clock);
	feed->used += (uint32_t)got;
	if (feed->stream && !feed->eof && feed->used < byte_limit(feed))
		return; /* more may be there already; flush sends what is whole when there is not */
	cut_chunk(feed);
}

void pen_feed_flush(struct pen_feed *feed)
{
	const char *data;
	struct pen_chunk *copy;
	struct pen_cut cut;
	uint32_t mark;

	if (!feed->busy || !feed->stream || feed->state != FEED_RECORDS || !feed->fresh_ns)
		return;
	if (pen_mono_ns(feed->engine->clock) - feed->fresh_ns < PEN_FEED_IDLE_NS)
		return;
	settle_format(feed);
	data = feed->chunk->data + feed->sent;
	mark = mark_bytes(feed, data, feed->used - feed->sent);
	cut = pen_split_cut(data + mark, feed->used - feed->sent - mark, skips_blank(feed), false,
			    item_limit(feed));
	if (!cut.len) {
		feed->fresh_ns = 0;
		return;
	}
	copy = pen_feed_get_chunk(feed);
	if (!copy)
		return;
	/* The read in flight goes on writing behind `used`, so the whole records leave as a copy. */
	memcpy(copy->data, data + mark, cut.len);
	feed->sent += mark + (uint32_t)cut.len;
	feed->fresh_ns = 0;
	send_records(feed, copy, 0, mark, cut);
}

bool pen_feed_send_whole_lines(struct pen_feed *feed)
{
	for (;;) {
		const char *data = feed->chunk->data + feed->sent;
		uint32_t len = feed->used - feed->sent, mark = mark_bytes(feed, data, len);
		struct pen_chunk *copy;
		struct pen_cut cut;

		settle_format(feed);
		cut = pen_split_cut(data + mark, len - mark, skips_blank(feed), false, item_limit(feed));
		if (!cut.len)
			return true;
		copy = pen_feed_get_chunk(feed);
		if (!copy)
			return false;
		memcpy(copy->data, data + mark, cut.len);
		feed->sent += mark + (uint32_t)cut.len;
		send_records(feed, copy, 0, mark, cut);
	}
}

/* ---- records larger than a chunk ------------------------------------------------------------ */

bool pen_feed_step_jumbo(struct pen_feed *feed)
{
	if (!feed->holds_jumbo) {
		if (!pen_feed_take_jumbo(feed))
			return feed->state == FEED_BREAK;
		memcpy(feed->engine->jumbo.base, feed->chunk->data, feed->used);
		feed->jumbo_used = feed->used;
	}
	if (feed->state == FEED_SKIP)
		feed->jumbo_used = 0; /* read over and over into its front */
	return pen_feed_read(feed, feed->engine->jumbo.base + feed->jumbo_used, feed->engine->chunk_bytes,
			     feed->stream ? PEN_IO_STREAM : (int64_t)feed->read_at);
}

/* The record that began at cut_at was too large; total is its length, with_end what it takes of the source. */
static void send_too_large(struct pen_feed *feed, struct pen_chunk *chunk, uint64_t total, uint64_t with_end)
{
	struct pen_flaw *flaw;

	chunk->kind = PEN_CHUNK_FLAW;
	chunk->end = (uint32_t)pen_min(pen_min(PEN_RAW_MAX, chunk->capacity), total);
	chunk->items = 1;
	chunk->bytes = with_end;
	chunk->base_offset = feed->cut_at;
	chunk->first_line = feed->lines;
	feed->cut_at += with_end;
	feed->lines++;
	chunk->after = pen_feed_place(feed, feed->cut_at, feed->lines, chunk->path);
	pen_feed_number(feed, chunk);
	flaw = pen_chunk_add_flaw(chunk, 0, 0, -PEN_RECORD_LARGE);
	flaw->len = chunk->end;
	flaw->total = total;
	pen_feed_send(feed->engine, chunk);
}

/* The record's end is known: [mark, len) of the jumbo buffer with its terminator. Sends it, keeps the rest. */
static void end_jumbo(struct pen_feed *feed, uint64_t len, bool terminated)
{
	struct pen_chunk *chunk = feed->chunk;
	char *base = feed->engine->jumbo.base;
	uint32_t mark = mark_bytes(feed, base, len);
	uint64_t bare = len - mark - terminated;

	if (terminated && bare && base[len - 2] == '\r')
		bare--;
	keep_rest(feed, base + len, feed->jumbo_used - len);
	feed->state = FEED_RECORDS;
	if (bare > feed->batch->plan->max_record) {
		pen_feed_drop_jumbo(feed);
		send_too_large(feed, chunk, bare, len);
	} else {
		struct pen_cut cut = pen_split_cut(base + mark, len - mark, skips_blank(feed), true, 1);

		/* The buffer is the chunk's now; the committer gives it back with the tag. */
		feed->holds_jumbo = false;
		chunk->data = base;
		chunk->jumbo = true;
		send_records(feed, chunk, mark, mark, cut);
	}
	if (feed->eof && !feed->carry_len)
		pen_feed_close_file(feed);
}

void pen_feed_done_jumbo(struct pen_feed *feed, int64_t got, size_t wanted)
{
	char *base = feed->engine->jumbo.base, *fresh = base + feed->jumbo_used, *lf;

	if (!account(feed, got, wanted))
		return;
	lf = memchr(fresh, '\n', (size_t)got);
	feed->jumbo_used += (uint64_t)got;
	if (lf || feed->eof) {
		end_jumbo(feed, lf ? (uint64_t)(lf - base) + 1 : feed->jumbo_used, lf);
	} else if (feed->jumbo_used > feed->batch->plan->max_record + 5) { /* mark and terminator */
		feed->jumbo_total = feed->jumbo_used; /* its beginning still lies in the chunk's own slot */
		feed->state = FEED_SKIP;
	}
}

void pen_feed_done_skip(struct pen_feed *feed, int64_t got, size_t wanted)
{
	struct pen_chunk *chunk = feed->chunk;
	char *base = feed->engine->jumbo.base, *lf;
	uint64_t with_end, bare;

	if (!account(feed, got, wanted))
		return;
	lf = memchr(base, '\n', (size_t)got);
	if (!lf && !feed->eof) {
		feed->jumbo_total += (uint64_t)got;
		return;
	}
	with_end = feed->jumbo_total + (lf ? (uint64_t)(lf - base) + 1 : (uint64_t)got);
	bare = with_end - (lf != NULL);
	if (lf && lf > base && lf[-1] == '\r')
		bare--;
	keep_rest(feed, lf ? lf + 1 : base, lf ? (size_t)(base + got - lf - 1) : 0);
	pen_feed_drop_jumbo(feed);
	feed->state = FEED_RECORDS;
	send_too_large(feed, chunk, bare, with_end);
	if (feed->eof && !feed->carry_len)
		pen_feed_close_file(feed);
}
