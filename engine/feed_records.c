/* SPDX-License-Identifier: MIT */
/*
 * Records of a file or stream: read, cut, send. A chunk in hand holds [sent, used) not yet passed on;
 * cut_at is the offset of data[sent] in the source, and context what its format must know there. Where records end
 * is split.h's to say.
 *
 * What stands before the first record (a byte order mark, a table's header) is passed over with the records behind
 * it. A record that does not fit a chunk is gathered in the jumbo buffer (JUMBO) until its end shows; one that
 * grows beyond max_record is passed over (SKIP) and becomes a reject with its first bytes.
 */
#include <errno.h>
#include <sys/mman.h>

#include "engine/archive.h"
#include "engine/feed_private.h"
#include "engine/unpack.h"
#include "ring/assert.h"
#include "ring/error.h"

#define FILL_MIN 4096u

/* What a stream turns out to be by its first bytes. */
enum opening { OPENS_TEXT, OPENS_PACKED, OPENS_ARCHIVE };

static bool is_table(enum pen_format format)
{
	return format == PEN_FORMAT_CSV || format == PEN_FORMAT_TSV;
}

bool pen_feed_settled(const struct pen_feed *feed)
{
	if (feed->stream && !feed->looked)
		return false;
	return feed->rules.format != PEN_FORMAT_AUTO && (!is_table(feed->rules.format) || feed->csv);
}

static uint32_t item_limit(const struct pen_feed *feed)
{
	uint32_t n = pen_feed_items_max(feed);

	return n ? n : PEN_CHUNK_ITEMS;
}

static uint32_t byte_limit(const struct pen_feed *feed)
{
	uint64_t n = feed->batch->plan->chunk_bytes;

	if (!pen_feed_settled(feed)) /* enough to tell what it is, however small the chunks */
		return (uint32_t)pen_max(feed->engine->chunk_bytes, PEN_CHUNK_ROOM_MIN);
	return n ? (uint32_t)pen_min(n, feed->engine->chunk_bytes) : feed->engine->chunk_bytes;
}

/* How far to fill a chunk: not much beyond what it can take, or the rest is copied in vain. */
static uint32_t fill_target(const struct pen_feed *feed)
{
	uint64_t likely = (uint64_t)feed->record_bytes * item_limit(feed);

	if (feed->room_bytes)
		likely = pen_min(likely, feed->room_bytes);
	return (uint32_t)pen_min(byte_limit(feed), pen_max(likely, FILL_MIN));
}

/* ---- telling what it is -------------------------------------------------------------------- */

/* Options that do not fit what the source turned out to be. */
static void misfit(struct pen_feed *feed, int code, const char *text)
{
	struct pen_failure why = { 0 };

	pen_fail(&why, code, 0, "'%s': %s", feed->name, text);
	if (feed->in_tree) {
		pen_engine_notice(feed->engine, code, "%s", why.text);
		pen_feed_break(feed, code, 0);
		return;
	}
	pen_engine_record(feed->engine, feed->batch->id, &why);
	pen_feed_stop(feed, code);
}

/* A stream that is an archive; what was read of it goes first. */
static void look_into_archive(struct pen_feed *feed, const char *text, uint32_t len)
{
	struct pen_chunk *chunk = feed->chunk;

	if (feed->batch->plan->key_kind == PEN_KEY_POINTER || feed->batch->plan->key_kind == PEN_KEY_OFFSET ||
	    feed->passed) {
		misfit(feed, -PEN_USAGE,
		       "it is an archive, whose members are files: they take the keys @path, @seq and @content, and no --idempotency-key");
		return;
	}
	pen_feed_set_format(feed, PEN_FORMAT_FILES, NULL);
	pen_feed_open_archive(feed, 0, text, len);
	feed->chunk = NULL;
	feed->used = feed->sent = 0;
	feed->fresh_ns = 0;
	pen_feed_put_chunk(feed, chunk);
}

/* What the stream in hand begins with. *ret_packing: how it is packed, if it is no archive. */
static enum opening opening_of(const struct pen_feed *feed, enum pen_compression *ret_packing)
{
	const struct pen_plan *plan = feed->batch->plan;
	const char *text = feed->chunk->data + feed->sent;
	uint32_t len = feed->used - feed->sent;

	*ret_packing = plan->compression;
	if (plan->format == PEN_FORMAT_AUTO && plan->compression == PEN_COMPRESSION_AUTO &&
	    pen_archive_sniff(text, len))
		return OPENS_ARCHIVE;
	if (plan->compression == PEN_COMPRESSION_AUTO)
		*ret_packing = pen_unpack_sniff(text, len);
	return pen_source_decodes(plan, *ret_packing, text, len) ? OPENS_PACKED : OPENS_TEXT;
}

bool pen_feed_look(struct pen_feed *feed)
{
	const char *text = feed->chunk->data + feed->sent;
	uint32_t len = feed->used - feed->sent;
	enum pen_compression packing;

	if (!feed->stream || feed->looked)
		return true;
	pen_assert(!feed->busy ||
		   opening_of(feed, &packing) == OPENS_TEXT); /* else two would read it at once */
	feed->looked = true;
	feed->hurry = false;
	switch (opening_of(feed, &packing)) {
	case OPENS_TEXT:
		return true;
	case OPENS_ARCHIVE:
		look_into_archive(feed, text, len);
		return false;
	case OPENS_PACKED:
		break;
	}
	if (pen_feed_start_decode(feed, packing, text, len))
		feed->used = feed->sent;
	feed->eof = false;
	feed->fresh_ns = 0;
	return false;
}

bool pen_feed_judge(struct pen_feed *feed, const char *text, size_t len, bool whole)
{
	const struct pen_plan *plan = feed->batch->plan;
	struct pen_failure why = { 0 };
	enum pen_format format;
	struct pen_csv *csv = NULL;
	int rc;

	if (len > PEN_FEED_SAMPLE) {
		len = PEN_FEED_SAMPLE;
		whole = false;
	}
	rc = pen_source_sniff(plan, feed->in_tree ? feed->name : "", text, len, whole, &format, &csv, &why);
	if (!rc && plan->column && !is_table(format))
		rc = pen_fail(
			&why, -PEN_USAGE, 0,
			"the key '%s' names a column, and there are none: choose --format csv, or a JSON pointer",
			plan->key);
	if (!rc && plan->key_kind == PEN_KEY_PATH && !feed->in_tree)
		rc = pen_fail(&why, -PEN_USAGE, 0,
			      "@path would give every record the same key: it is for files");
	if (rc) {
		pen_csv_unref(csv);
		misfit(feed, rc, why.text);
		return false;
	}
	pen_feed_set_format(feed, format, csv);
	if (csv && feed->cut_at < csv->skip) {
		feed->lead = csv->skip - feed->cut_at;
		feed->lead_lines = csv->skip_lines;
	}
	if (csv && (!feed->in_tree || !feed->table_said))
		pen_engine_notice(feed->engine, 0, "%s: %s", feed->name, csv->said);
	feed->table_said |= csv != NULL;
	return pen_feed_tell(feed);
}

bool pen_feed_settle(struct pen_feed *feed)
{
	const char *text = feed->chunk->data + feed->sent;
	uint32_t len = feed->used - feed->sent;

	if (pen_feed_settled(feed))
		return true;
	if (feed->decode && feed->batch->plan->format == PEN_FORMAT_AUTO && pen_archive_sniff(text, len)) {
		misfit(feed, -PEN_USAGE,
		       "it is a compressed archive in a stream: name its file, or unpack it into the pipe (zcat FILE | penstock run -)");
		return false;
	}
	return pen_feed_judge(feed, text, len, feed->eof);
}

/* ---- cutting ------------------------------------------------------------------------------- */

/* Bytes at the front of the text that stand before the first record. */
static uint32_t lead_bytes(const struct pen_feed *feed, const char *text, uint32_t len)
{
	if (feed->lead)
		return (uint32_t)pen_min(feed->lead, len);
	if (feed->cut_at || feed->rules.csv || feed->rules.format == PEN_FORMAT_FRAMES)
		return 0;
	return len >= 3 && !memcmp(text, "\xef\xbb\xbf", 3) ? 3 : 0;
}

static void cut_text(struct pen_feed *feed, const struct pen_chunk *chunk, const char *text, uint32_t len,
		     bool whole, struct pen_cut *ret)
{
	const struct pen_transform *t = &feed->batch->plan->transform;
	size_t room = (size_t)(chunk->room - (text - chunk->data));
	uint32_t items = (uint32_t)pen_min(item_limit(feed), pen_transform_items(t, room));
	struct pen_limits limits = { .items = items, .room = pen_transform_text(t, room, items) };

	feed->splitter->cut(&feed->rules, feed->context, text, len, whole, &limits, ret);
}

/* Sends data[begin .. begin + cut.len) of the chunk; lead bytes before it are passed over with it. */
static void send_records(struct pen_feed *feed, struct pen_chunk *chunk, uint32_t begin, uint32_t lead,
			 const struct pen_cut *cut)
{
	chunk->kind = PEN_CHUNK_RECORDS;
	chunk->rules = feed->rules;
	chunk->csv = feed->csv ? pen_csv_ref(feed->csv) : NULL;
	chunk->context = feed->context;
	chunk->begin = begin;
	chunk->end = begin + (uint32_t)cut->len;
	chunk->items = cut->items;
	if (feed->lead) {
		feed->lead -= lead;
		if (!feed->lead)
			feed->lines += feed->lead_lines;
	}
	chunk->base_offset = feed->cut_at + lead;
	chunk->first_line = feed->lines;
	chunk->bytes = lead + cut->len;
	feed->lines += cut->lines;
	feed->cut_at += lead + cut->len;
	feed->context = cut->context;
	chunk->after = pen_feed_place(feed, feed->cut_at, feed->lines, chunk->path);
	pen_feed_number(feed, chunk);
	pen_feed_send(feed->engine, chunk);
}

/* No byte is left of the open file, and its splitter misses nothing. */
static bool is_over(const struct pen_feed *feed)
{
	return feed->eof && !feed->carry_len && !feed->context;
}

/* What is left of the chunk in hand waits for the next one. */
static void keep_rest(struct pen_feed *feed, const char *rest, size_t len)
{
	pen_assert(len <= pen_max(feed->engine->chunk_bytes, PEN_CHUNK_ROOM_MIN));
	memcpy(feed->carry, rest, len);
	feed->carry_len = (uint32_t)len;
	feed->chunk = NULL;
	feed->used = feed->sent = 0;
	feed->fresh_ns = 0;
}

/* Learns how much is worth reading for a chunk. */
static void learn(struct pen_feed *feed, const struct pen_cut *cut, uint32_t left)
{
	if (!cut->items)
		return;
	feed->record_bytes = (uint32_t)((feed->record_bytes + 3 * (cut->len / cut->items + 1)) / 4);
	if (cut->items < item_limit(feed) && left > feed->record_bytes * 2)
		feed->room_bytes = (uint32_t)(cut->len + cut->len / 16);
	else if (feed->room_bytes)
		feed->room_bytes += feed->room_bytes / 16;
}

/* No record is whole: read on, or find a larger place for it. */
static void grow(struct pen_feed *feed, const char *text, uint32_t len)
{
	if (!feed->eof && feed->used < byte_limit(feed)) {
		feed->record_bytes = (uint32_t)pen_min(UINT32_MAX / 2, 2ull * feed->record_bytes + 1);
		if (feed->room_bytes)
			feed->room_bytes *= 2;
	} else if (!feed->sent) {
		feed->state = FEED_JUMBO;
	} else {
		struct pen_chunk *chunk = feed->chunk;

		keep_rest(feed, text, len);
		pen_feed_put_chunk(feed, chunk);
	}
}

/* Cuts what the chunk holds and sends it. */
static void cut_chunk(struct pen_feed *feed)
{
	struct pen_chunk *chunk = feed->chunk;
	const char *text = chunk->data + feed->sent;
	uint32_t len = feed->used - feed->sent, lead, begin;
	struct pen_cut cut;

	if (!pen_feed_look(feed) || !pen_feed_settle(feed))
		return;
	lead = lead_bytes(feed, text, len);
	cut_text(feed, chunk, text + lead, len - lead, feed->eof, &cut);
	if (!cut.len && lead < len && (!lead || feed->used < byte_limit(feed))) {
		grow(feed, text, len);
		return;
	}
	begin = feed->sent + lead;
	learn(feed, &cut, len - lead - (uint32_t)cut.len);
	pen_feed_pass_text(feed, text, lead, cut.len);
	keep_rest(feed, text + lead + cut.len, len - lead - cut.len);
	if (cut.len || cut.items || lead)
		send_records(feed, chunk, begin, lead, &cut);
	else
		pen_feed_put_chunk(feed, chunk);
	if (is_over(feed) || (feed->eof && !len)) /* an empty text is asked what is missing, once */
		pen_feed_close_file(feed);
}

bool pen_feed_read_on(struct pen_feed *feed, char *to, size_t len,
		      void (*done)(struct pen_feed *feed, int64_t got, size_t wanted))
{
	int64_t got;

	if (!feed->decode)
		return pen_feed_read(feed, to, len, feed->stream ? PEN_IO_STREAM : (int64_t)feed->read_at);
	got = pen_decode_read(feed->decode, to, len, &feed->packed);
	feed->waiting = got == -EAGAIN;
	if (feed->waiting)
		return false;
	done(feed, got, len);
	return true;
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
	if (feed->eof || feed->hurry) {
		cut_chunk(feed);
		return true;
	}
	target = feed->stream || !pen_feed_settled(feed) ? byte_limit(feed) : fill_target(feed);
	if (feed->used >= target) {
		cut_chunk(feed);
		if (feed->state != FEED_RECORDS || !feed->chunk || feed->stopping)
			return true;
		target = byte_limit(feed);
	}
	return pen_feed_read_on(feed, feed->chunk->data + feed->used, target - feed->used,
				pen_feed_done_records);
}

/* Counts what a read brought. False: the file broke. */
static bool account(struct pen_feed *feed, int64_t got, size_t wanted)
{
	if (got <= -PEN_USAGE) { /* the decoder's own codes; errno's stay above */
		pen_feed_break(feed, (int)got, 0);
		return false;
	}
	if (got < 0) {
		pen_feed_break(feed, pen_feed_break_code((int)got), (int)got);
		return false;
	}
	if (!pen_feed_still_same(feed))
		return false;
	feed->read_at += (uint64_t)got;
	feed->eof = feed->stream || feed->decode ? got == 0
						 : (size_t)got < wanted || feed->read_at >= feed->file.size;
	return true;
}

void pen_feed_done_records(struct pen_feed *feed, int64_t got, size_t wanted)
{
	if (!account(feed, got, wanted))
		return;
	if (feed->stream && got && !feed->fresh_ns)
		feed->fresh_ns = pen_mono_ns(feed->engine->clock);
	feed->used += (uint32_t)got;
	if ((feed->stream || feed->decode) && !feed->eof && !feed->hurry && feed->used < byte_limit(feed))
		return; /* more may be there already; flush sends what is whole when there is not */
	cut_chunk(feed);
}

/* Sends as a copy the whole records that the chunk in hand begins with. 1; 0: there are none; -EAGAIN: no tag. */
static int send_copy(struct pen_feed *feed)
{
	const char *text = feed->chunk->data + feed->sent;
	uint32_t len = feed->used - feed->sent, lead;
	struct pen_chunk *copy;
	struct pen_cut cut;

	if (!pen_feed_look(feed) || !pen_feed_settle(feed))
		return 0;
	lead = lead_bytes(feed, text, len);
	copy = pen_feed_get_chunk(feed);
	if (!copy)
		return -EAGAIN;
	/* Cut as it will lie in the copy, whose room begins at its front. */
	memcpy(copy->data, text + lead, len - lead);
	cut_text(feed, copy, copy->data, len - lead, false, &cut);
	if (!cut.len) {
		pen_feed_put_chunk(feed, copy);
		return 0;
	}
	pen_feed_pass_text(feed, text, lead, cut.len);
	feed->sent += lead + (uint32_t)cut.len;
	send_records(feed, copy, 0, lead, &cut);
	return 1;
}

/* The step that follows looks at what has come; the read in flight may still bring something. */
static void hurry(struct pen_feed *feed)
{
	feed->hurry = true;
	feed->fresh_ns = 0;
	if (feed->busy)
		pen_io_cancel(feed->engine->io);
}

void pen_feed_flush(struct pen_feed *feed)
{
	uint64_t patience = pen_feed_settled(feed) ? PEN_FEED_IDLE_NS : PEN_FEED_LOOK_NS;
	enum pen_compression packing;

	if (!(feed->busy || feed->waiting) || !feed->stream || !feed->fresh_ns)
		return;
	if (pen_mono_ns(feed->engine->clock) - feed->fresh_ns < patience)
		return;
	if (feed->state == FEED_ARCHIVE) {
		pen_feed_leave_pack(feed);
		feed->fresh_ns = 0;
	}
	if (feed->state == FEED_PREFIX && !pen_feed_settled(feed) && feed->used >= feed->prefix_left)
		hurry(feed);
	if (feed->state != FEED_RECORDS)
		return;
	/* Whoever unpacks it reads it alone: the read in flight is called back, and what it may still bring counts. */
	if (feed->busy && !feed->looked && opening_of(feed, &packing) != OPENS_TEXT) {
		hurry(feed);
		return;
	}
	/* The read in flight goes on writing behind `used`, so the whole records leave as a copy. */
	if (send_copy(feed) >= 0)
		feed->fresh_ns = 0;
}

bool pen_feed_send_whole(struct pen_feed *feed)
{
	int rc;

	while ((rc = send_copy(feed)) > 0)
		;
	return !rc;
}

/* ---- records larger than a chunk ------------------------------------------------------------ */

/* The record that began at cut_at, which the scan knows by now, is too large. Its first bytes were kept. */
static void send_too_large(struct pen_feed *feed, struct pen_chunk *chunk)
{
	const struct pen_seek *seek = &feed->seek;
	struct pen_flaw *flaw;

	chunk->kind = PEN_CHUNK_FLAW;
	chunk->end = (uint32_t)pen_min(feed->raw_len, seek->bare);
	chunk->items = 1;
	chunk->bytes = seek->seen;
	chunk->base_offset = feed->cut_at + seek->lead;
	chunk->first_line = feed->lines;
	feed->cut_at += seek->seen;
	feed->lines += seek->lines;
	feed->context = seek->context;
	chunk->after = pen_feed_place(feed, feed->cut_at, feed->lines, chunk->path);
	pen_feed_number(feed, chunk);
	flaw = pen_chunk_add_flaw(chunk, 0, 0, seek->code ? seek->code : -PEN_RECORD_LARGE);
	flaw->at = chunk->begin;
	flaw->len = chunk->end - chunk->begin;
	flaw->total = seek->bare;
	pen_feed_send(feed->engine, chunk);
}

/* The record in the jumbo buffer will be a reject: its first bytes are kept in the chunk's own slot. */
static void keep_raw(struct pen_feed *feed, struct pen_chunk *chunk, uint64_t len)
{
	uint64_t lead = pen_min(feed->seek.lead, len);

	feed->raw_len = (uint32_t)pen_min(len - lead, PEN_RAW_MAX);
	memcpy(chunk->data, (char *)feed->jumbo->base + lead, feed->raw_len);
}

/*
 * Room behind a long row for the object made of it. The buffer may move; nothing points into it yet. False: the object
 * would be larger than a record may be.
 */
static bool make_room(struct pen_feed *feed, uint64_t len)
{
	const struct pen_seek *seek = &feed->seek;
	const struct pen_jumbo *jumbo = feed->jumbo;
	uint64_t need = len;

	if (feed->csv) {
		if (!pen_csv_fits(feed->csv, jumbo->base + seek->lead, seek->bare,
				  feed->batch->plan->max_record))
			return false;
		need += pen_csv_bound(feed->csv, jumbo->base, len, 1);
	}
	return pen_feed_grow_jumbo(feed, need);
}

/* The jumbo buffer becomes the chunk's; the committer gives it back with the tag. */
static void send_jumbo(struct pen_feed *feed, struct pen_chunk *chunk, uint64_t len)
{
	char *base = feed->jumbo->base;
	struct pen_limits one = { .items = 1, .room = SIZE_MAX };
	struct pen_cut cut;

	feed->splitter->cut(&feed->rules, feed->context, base, len, true, &one, &cut);
	pen_assert(cut.len == len && cut.items <= 1); /* the scan follows the same rule */
	feed->holds_jumbo = false;
	chunk->data = base;
	chunk->room = feed->jumbo->bytes;
	chunk->jumbo = true;
	send_records(feed, chunk, 0, 0, &cut);
}

/* The record ends behind `len` bytes of the jumbo buffer. */
static void end_jumbo(struct pen_feed *feed, uint64_t len)
{
	struct pen_chunk *chunk = feed->chunk;
	char *base = feed->jumbo->base;

	pen_feed_pass_text(feed, base, 0, len);
	keep_rest(feed, base + len, feed->jumbo_used - len);
	feed->state = FEED_RECORDS;
	if (feed->seek.bare > feed->batch->plan->max_record || !make_room(feed, len)) {
		keep_raw(feed, chunk, len);
		pen_feed_drop_jumbo(feed);
		send_too_large(feed, chunk);
	} else {
		send_jumbo(feed, chunk, len);
	}
	if (is_over(feed))
		pen_feed_close_file(feed);
}

/* The source ended, and so does its last record. */
static void end_seek(struct pen_seek *seek)
{
	seek->bare = seek->seen - pen_min(seek->lead, seek->seen);
	seek->context = 0; /* what is missing is its end */
}

/* Looks at bytes that were just added to the jumbo buffer. */
static void look_jumbo(struct pen_feed *feed, uint64_t got)
{
	char *base = feed->jumbo->base;
	size_t n;

	if (feed->splitter->seek(&feed->seek, base + feed->jumbo_used, got, &n)) {
		uint64_t len = feed->jumbo_used + n;

		feed->jumbo_used += got;
		end_jumbo(feed, len);
		return;
	}
	feed->jumbo_used += got;
	if (feed->eof) {
		end_seek(&feed->seek);
		end_jumbo(feed, feed->jumbo_used);
	} else if (feed->seek.seen - pen_min(feed->seek.lead, feed->seek.seen) >
		   pen_max(feed->batch->plan->max_record, PEN_RAW_MAX) +
			   2) { /* a terminator is no part of it */
		pen_feed_pass_text(feed, base, 0, feed->jumbo_used);
		keep_raw(feed, feed->chunk, feed->jumbo_used);
		feed->state = FEED_SKIP;
	}
}

bool pen_feed_step_jumbo(struct pen_feed *feed)
{
	if (!feed->holds_jumbo) {
		if (!pen_feed_take_jumbo(feed))
			return feed->state == FEED_BREAK;
		memcpy(feed->jumbo->base, feed->chunk->data, feed->used);
		feed->jumbo_used = 0;
		feed->seek = (struct pen_seek){ .rules = &feed->rules, .context = feed->context };
		look_jumbo(feed, feed->used);
		return true;
	}
	if (feed->state == FEED_SKIP)
		feed->jumbo_used = 0; /* read over and over into its front */
	return pen_feed_read_on(feed, feed->jumbo->base + feed->jumbo_used, feed->engine->chunk_bytes,
				feed->state == FEED_SKIP ? pen_feed_done_skip : pen_feed_done_jumbo);
}

void pen_feed_done_jumbo(struct pen_feed *feed, int64_t got, size_t wanted)
{
	if (account(feed, got, wanted))
		look_jumbo(feed, (uint64_t)got);
}

void pen_feed_done_skip(struct pen_feed *feed, int64_t got, size_t wanted)
{
	struct pen_chunk *chunk = feed->chunk;
	char *base = feed->jumbo->base;
	size_t n = (size_t)pen_max(got, 0);
	bool found;

	if (!account(feed, got, wanted))
		return;
	found = feed->splitter->seek(&feed->seek, base, (size_t)got, &n);
	pen_feed_pass(feed, base, n);
	if (!found && !feed->eof)
		return;
	if (!found) {
		end_seek(&feed->seek);
		n = (size_t)got;
	}
	keep_rest(feed, base + n, (size_t)got - n);
	pen_feed_drop_jumbo(feed);
	feed->state = FEED_RECORDS;
	send_too_large(feed, chunk);
	if (is_over(feed))
		pen_feed_close_file(feed);
}
