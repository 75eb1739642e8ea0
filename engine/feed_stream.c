/* SPDX-License-Identifier: MIT */
/*
 * Streams: pipes, FIFOs, terminals. They cannot be read twice or from the middle, and have no name that says
 * they are the same again. A batch with an idempotency key gives them one: what was cut is hashed as it
 * passes, the hash of all bytes before the checkpoint is kept with it, and a later run reads as many bytes
 * again, stores none of them, and goes on behind them if their hash is the same. If it is not, or the stream
 * ends before, the batch stays as it is.
 *
 * A checkpoint may fall inside a chunk (a threshold stopped the batch there), whose hash only the committer
 * can take. So it holds two: `paths` is the hash of the first `files` bytes (up to where its last chunk
 * began), `content` that of the piece from there to `offset`. Both are of bytes, so that another run may cut
 * them otherwise.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

#include "engine/feed_private.h"
#include "engine/unpack.h"
#include "ring/assert.h"
#include "ring/error.h"

static enum feed_state behind_writer(const struct pen_feed *feed)
{
	return feed->again ? FEED_PREFIX : FEED_RECORDS;
}

void pen_feed_forget_passed(struct pen_feed *feed)
{
	pen_hash_stream_close(feed->passed);
	pen_hash_stream_close(feed->piece);
	feed->passed = feed->piece = NULL;
	feed->passed_bytes = feed->prefix_left = 0;
}

void pen_feed_open_stream(struct pen_feed *feed, const struct pen_place *from)
{
	struct stat st;

	feed->stream = true;
	pen_feed_begin_file(feed, NULL);
	pen_feed_forget_passed(feed);
	feed->again = false;
	if (*feed->batch->plan->idempotency_key) {
		feed->passed = pen_hash_stream_open();
		feed->piece = pen_hash_stream_open();
		if (!feed->passed || !feed->piece) {
			pen_feed_break(feed, -PEN_SOURCE_BROKE, -ENOMEM);
			return;
		}
		feed->again = from && from->offset;
		feed->prefix_left = from ? from->offset : 0;
	}
	if (feed->again && from->offset == UINT64_MAX) { /* it broke then, and what was whole of it is in */
		pen_feed_close_file(feed);
		return;
	}
	feed->state = behind_writer(feed);
	if (!fstat(feed->fd, &st) && S_ISFIFO(st.st_mode) && strcmp(feed->file.path, "-"))
		feed->state = FEED_WRITER;
}

/* A FIFO that was opened without waiting reads as ended until its first writer came. */
bool pen_feed_step_writer(struct pen_feed *feed)
{
	struct pollfd p = { .fd = feed->fd, .events = POLLIN };

	if (poll(&p, 1, 0) <= 0)
		return false;
	feed->state = behind_writer(feed);
	return true;
}

void pen_feed_pass(struct pen_feed *feed, const void *data, size_t len)
{
	if (!feed->passed)
		return;
	pen_hash_stream_add(feed->passed, data, len);
	pen_hash_stream_add(feed->piece, data, len);
	feed->passed_bytes += len;
	feed->tree_content = pen_hash_stream_sum(feed->piece);
}

static void begin_piece(struct pen_feed *feed)
{
	feed->tree_files = feed->passed_bytes;
	feed->tree_paths = pen_hash_stream_sum(feed->passed);
	pen_hash_stream_reset(feed->piece);
}

void pen_feed_pass_text(struct pen_feed *feed, const char *text, size_t lead, size_t len)
{
	if (!feed->passed)
		return;
	pen_feed_pass(feed, text, lead);
	begin_piece(feed);
	pen_feed_pass(feed, text + lead, len);
}

static void refuse(struct pen_feed *feed, const char *what)
{
	struct pen_failure why = { 0 };

	pen_fail(&why, -PEN_CHANGED, 0,
		 "'%s' %s the %llu bytes that batch %016llx has committed: nothing was changed",
		 feed->file.path, what, (unsigned long long)feed->batch->from.offset,
		 (unsigned long long)feed->batch->id);
	pen_engine_record(feed->engine, feed->batch->id, &why);
	pen_feed_stop(feed, -PEN_CHANGED);
}

bool pen_feed_tell(struct pen_feed *feed)
{
	const struct pen_csv *csv = feed->csv;
	struct pen_failure why = { 0 };
	uint64_t hash = feed->rules.format;

	if (!feed->passed)
		return true;
	for (uint32_t i = 0; csv && i < csv->columns; i++) {
		size_t len;
		const char *name = pen_csv_name(csv, i, &len);

		hash = hash * 31 + pen_hash64(name, len);
	}
	if (csv)
		hash = hash * 31 + pen_hash64(csv->said, strlen(csv->said));
	feed->told = ((uint32_t)(hash ^ hash >> 24 ^ hash >> 48) & 0xffffff) | 1;
	if (!feed->again || !feed->batch->from.told || feed->told == feed->batch->from.told)
		return true;
	pen_fail(
		&why, -PEN_CHANGED, 0,
		"'%s' looks like another format now than when a part of it was committed: say --format and the dialect",
		feed->file.path);
	pen_engine_record(feed->engine, feed->batch->id, &why);
	pen_feed_stop(feed, -PEN_CHANGED);
	return false;
}

/* Bytes that were read again. False: they are not those that were committed. */
static bool pass_again(struct pen_feed *feed, const char *text, size_t len)
{
	const struct pen_place *from = &feed->batch->from;
	uint64_t before = from->files - feed->passed_bytes;

	if (feed->again && before <= len) {
		pen_feed_pass(feed, text, before);
		begin_piece(feed);
		feed->again = false;
		text += before;
		len -= before;
		if (memcmp(&feed->tree_paths, &from->paths, sizeof from->paths))
			return false;
	}
	pen_feed_pass(feed, text, len);
	return feed->prefix_left || !memcmp(&feed->tree_content, &from->content, sizeof from->content);
}

/*
 * How much is read of it at a time. As long as it is not known what the stream is: as much as was looked at then,
 * though less of it may have been committed.
 */
static uint32_t prefix_target(const struct pen_feed *feed)
{
	uint32_t all = feed->chunk->capacity;

	return pen_feed_settled(feed) ? (uint32_t)pen_min(feed->prefix_left, all) : all;
}

/* All that was committed came by again; what was read beyond it begins the records. */
static void end_prefix(struct pen_feed *feed, uint32_t past)
{
	struct pen_chunk *chunk = feed->chunk;
	uint32_t rest = feed->used - past;
	bool eof = feed->eof;

	pen_feed_begin_file(feed, &feed->batch->from);
	memcpy(feed->carry, chunk->data + past, rest);
	feed->carry_len = rest;
	feed->read_at += rest;
	feed->eof = eof;
	feed->fresh_ns = rest ? pen_mono_ns(feed->engine->clock) : 0;
	feed->chunk = NULL;
	pen_feed_put_chunk(feed, chunk);
	feed->state = FEED_RECORDS;
}

/* Goes on with what the chunk holds. silent: no more is waited for in order to tell what the stream is. */
static void take_prefix(struct pen_feed *feed, bool silent)
{
	uint32_t n;

	if (feed->eof && feed->used < feed->prefix_left) {
		refuse(feed, "ends before");
		return;
	}
	if (silent && feed->used < feed->prefix_left)
		return;
	if ((feed->used >= PEN_UNPACK_MAGIC || silent || feed->eof) && !pen_feed_look(feed))
		return;
	if (!feed->eof && !silent && feed->used < prefix_target(feed))
		return;
	/* What the stream's first bytes look like decides its format, as it did then. */
	if (!pen_feed_settle(feed))
		return;
	n = (uint32_t)pen_min(feed->used, feed->prefix_left);
	feed->prefix_left -= n;
	if (!pass_again(feed, feed->chunk->data, n)) {
		refuse(feed, "does not begin with");
		return;
	}
	if (feed->prefix_left)
		feed->used = 0;
	else
		end_prefix(feed, n);
}

bool pen_feed_step_prefix(struct pen_feed *feed)
{
	if (!feed->chunk) {
		feed->chunk = pen_feed_get_chunk(feed);
		if (!feed->chunk)
			return false;
		feed->used = feed->sent = 0;
	}
	if (feed->hurry) {
		feed->hurry = false;
		take_prefix(feed, true);
		return true;
	}
	return pen_feed_read_on(feed, feed->chunk->data + feed->used, prefix_target(feed) - feed->used,
				pen_feed_done_prefix);
}

void pen_feed_done_prefix(struct pen_feed *feed, int64_t got, size_t wanted)
{
	(void)wanted;
	if (got < 0 && feed->used < feed->prefix_left) {
		refuse(feed, "cannot be read as far as");
		return;
	}
	if (got < 0) { /* who reads on is told so again, and has a place for it */
		take_prefix(feed, true);
		return;
	}
	feed->eof = !got;
	feed->used += (uint32_t)got;
	feed->fresh_ns = pen_mono_ns(feed->engine->clock);
	take_prefix(feed, false);
}
