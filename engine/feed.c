/* SPDX-License-Identifier: MIT */
/*
 * A source of records is read into a chunk behind what the last chunk left over (the carry: the beginning
 * of a record that was not whole), cut behind the last whole record, and sent. A record that fills a whole
 * chunk moves to the jumbo buffer, of which there is one: a second such record waits until the committer
 * gave it back. A batch that is paused keeps its own, and others get another.
 *
 * A tree of files is packed: small files are fetched side by side into one chunk, each at its own place; a
 * pack is sent when its last file has arrived. Packs are numbered when they are begun, so they commit in
 * the order of the walk.
 *
 * What can go wrong: a read fails or the source is no longer what it was (break), a file of a tree cannot
 * be had (its entry becomes a flaw), no tag is free (step returns; the committer's return wakes the
 * reader), the engine drains (stop). In every case what was cut before is already on its way and stays.
 */
#include "engine/foreman.h"
#include "engine/feed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/archive.h"
#include "engine/budget.h"
#include "engine/feed_private.h"
#include "ring/assert.h"
#include "ring/trace.h"

#define SAID_MAX 4u

/* ---- life ---------------------------------------------------------------------------------- */

int pen_feed_open(struct pen_engine *engine, struct pen_batch *batch, uint32_t user, struct pen_feed **ret)
{
	struct pen_feed *feed = calloc(1, sizeof *feed);

	if (!feed)
		return -ENOMEM;
	feed->engine = engine;
	feed->batch = batch;
	feed->user = user;
	feed->state = batch->plan->puts ? FEED_PUTS : FEED_SOURCE;
	feed->root = feed->fd = -1;
	feed->items = pen_plan_is_job(batch->plan) ? batch->job.place_items : batch->first_item;
	feed->next_source = batch->plan->fed ? batch->plan->source_count : batch->from.source;
	feed->record_bytes = 64;
	if (batch->plan->puts) {
		*ret = feed;
		return 0;
	}
	feed->carry = malloc(pen_max(engine->chunk_bytes, PEN_CHUNK_ROOM_MIN));
	feed->fetches = calloc(PEN_FETCHES, sizeof *feed->fetches);
	if (!feed->carry || !feed->fetches) {
		pen_feed_close(feed);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < PEN_FETCHES; i++) {
		feed->fetches[i].next = feed->fetch_free;
		feed->fetch_free = &feed->fetches[i];
	}
	feed->after = pen_aftermath_open(engine, batch->plan, batch->id);
	if (batch->plan->fed && !batch->unchanged)
		pen_aftermath_spoil(feed->after, "they changed since they were read");
	pen_aftermath_earlier(feed->after, batch->plan, 0, feed->next_source, batch->unchanged);
	*ret = feed;
	return 0;
}

void pen_feed_close(struct pen_feed *feed)
{
	if (!feed)
		return;
	pen_assert(!feed->busy && !feed->fetches_out);
	pen_walk_close(feed->walk);
	pen_archive_close(feed->archive);
	free(feed->member);
	pen_decode_close(feed->decode);
	pen_csv_unref(feed->csv);
	pen_feed_forget_passed(feed);
	pen_aftermath_close(feed->after);
	if (feed->fd >= 0)
		close(feed->fd);
	if (feed->root >= 0)
		close(feed->root);
	free(feed->carry);
	free(feed->fetches);
	free(feed);
}

struct pen_feed *pen_feed_of(struct pen_io_req *req)
{
	return req->user;
}

struct pen_aftermath *pen_feed_aftermath(const struct pen_feed *feed)
{
	return feed ? feed->after : NULL; /* there was no memory for it */
}

uint32_t pen_feed_user(const struct pen_feed *feed)
{
	return feed->user;
}

bool pen_feed_ended(const struct pen_feed *feed)
{
	return feed->state == FEED_ENDED;
}

bool pen_feed_reads(const struct pen_feed *feed)
{
	return feed->busy || feed->fetches_out;
}

bool pen_feed_blocked(const struct pen_feed *feed)
{
	return feed->busy && feed->stream;
}

void pen_feed_pause(struct pen_feed *feed, bool pause)
{
	feed->paused = pause;
}

bool pen_feed_stopping(const struct pen_feed *feed)
{
	return feed->stopping;
}

void pen_feed_note(struct pen_feed *feed, struct pen_chunk *note, enum pen_chunk_kind kind, uint32_t sqe)
{
	pen_feed_leave_pack(feed); /* a pack in hand is numbered before the note */
	*note = (struct pen_chunk){
		.batch = feed->batch,
		.tag = PEN_TAG_NONE,
		.kind = kind,
		.seq = feed->seq++,
		.first_item = feed->items,
		.sqe = sqe,
	};
	pen_feed_send(feed->engine, note);
}

void pen_feed_stop(struct pen_feed *feed, int code)
{
	if (feed->stopping || feed->state >= FEED_OVER)
		return;
	feed->stopping = true;
	feed->stop_code = code;
}

uint64_t pen_feed_patience(const struct pen_feed *feed)
{
	if (feed->state == FEED_WRITER || ((feed->busy || feed->waiting) && feed->stream && feed->fresh_ns))
		return PEN_FEED_IDLE_NS;
	return UINT64_MAX;
}

/* ---- buffers ------------------------------------------------------------------------------- */

struct pen_chunk *pen_feed_get_chunk(struct pen_feed *feed)
{
	struct pen_engine *engine = feed->engine;
	struct pen_chunk *chunk;
	uint64_t rests_ms;
	uint32_t tag;

	/*
	 * What waits for a limit lies in chunks that others could use. One that counts against its owner's policies
	 * alone seldom waits: until it does, it may have enough for large groups.
	 */
	if (pen_budget_wanted(feed->batch->plan) &&
	    engine->tags.held[feed->user] >=
		    (feed->batch->plan->rate_count || pen_budget_resting(feed->batch->budget, &rests_ms)
			     ? PEN_BUDGET_TAGS
			     : engine->arena.count / 4))
		return NULL;
	tag = pen_tags_get(&engine->tags, feed->user);

	if (tag == PEN_TAG_NONE) {
		engine->starved = true;
		return NULL;
	}
	chunk = &engine->chunks[tag];
	pen_chunk_reset(chunk);
	chunk->batch = feed->batch;
	chunk->source = feed->source;
	chunk->rules = feed->rules;
	chunk->context = feed->context;
	if (feed->in_tree && feed->state != FEED_PACK)
		chunk->path = chunk->keys + pen_chunk_add_key(chunk, feed->name, strlen(feed->name) + 1);
	return chunk;
}

void pen_feed_put_chunk(struct pen_feed *feed, struct pen_chunk *chunk)
{
	pen_tags_put(&feed->engine->tags, feed->user, chunk->tag);
}

/*
 * One is in use at a time, but a batch that rests may keep its own for days, and others must not wait for that. A batch
 * has one at most.
 */
static struct pen_jumbo *find_jumbo(const struct pen_feed *feed)
{
	struct pen_jumbo *found = NULL;

	for (uint32_t i = 0; i < PEN_BATCHES_MAX; i++) {
		struct pen_jumbo *jumbo = &feed->engine->jumbos[i];

		if (jumbo->holder && (!jumbo->holder->paused || jumbo->holder == feed->batch))
			return NULL;
		if (!jumbo->holder && !found)
			found = jumbo;
	}
	return found;
}

bool pen_feed_take_jumbo(struct pen_feed *feed)
{
	struct pen_jumbo *jumbo = find_jumbo(feed);
	size_t slack =
		2 * (size_t)PEN_CHUNK_BYTES_MAX + PEN_JSON_PADDING; /* a read may overshoot by one step */
	size_t bytes = pen_round_up(feed->batch->plan->max_record + slack, 4096);

	if (!jumbo)
		return false;
	if (jumbo->base && jumbo->bytes < bytes) {
		munmap(jumbo->base, jumbo->bytes);
		jumbo->base = NULL;
	}
	if (!jumbo->base) {
		void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

		if (p == MAP_FAILED) {
			pen_feed_break(feed, -PEN_SOURCE_BROKE, -ENOMEM);
			return false;
		}
		jumbo->base = p;
		jumbo->bytes = bytes;
	}
	jumbo->holder = feed->batch;
	feed->jumbo = jumbo;
	feed->holds_jumbo = true;
	return true;
}

bool pen_feed_grow_jumbo(struct pen_feed *feed, uint64_t bytes)
{
	struct pen_jumbo *jumbo = feed->jumbo;
	uint64_t made = pen_transform_room(&feed->batch->plan->transform, bytes, 1);
	uint64_t need = pen_round_up(bytes + made + PEN_JSON_PADDING, 4096);
	void *moved;

	if (need > UINT32_MAX) /* places in a chunk have 32 bits */
		return false;
	if (need <= jumbo->bytes)
		return true;
	moved = mremap(jumbo->base, jumbo->bytes, need, MREMAP_MAYMOVE);
	if (moved == MAP_FAILED)
		return false;
	jumbo->base = moved;
	jumbo->bytes = need;
	return true;
}

void pen_feed_drop_jumbo(struct pen_feed *feed)
{
	if (!feed->holds_jumbo)
		return;
	pen_jumbo_free(feed->engine, feed->batch);
	feed->holds_jumbo = false;
}

void pen_jumbo_free(struct pen_engine *engine, const struct pen_batch *batch)
{
	for (uint32_t i = 0; i < PEN_BATCHES_MAX; i++) {
		struct pen_jumbo *jumbo = &engine->jumbos[i];

		if (jumbo->holder != batch)
			continue;
		/* Its pages go back at once: one large record must not weigh on the rest of the run. */
		if (i) {
			munmap(jumbo->base, jumbo->bytes);
			jumbo->base = NULL;
		} else {
			(void)madvise(jumbo->base, jumbo->bytes, MADV_DONTNEED); /* advice */
		}
		jumbo->holder = NULL;
	}
}

/* ---- sending ------------------------------------------------------------------------------- */

void pen_feed_send(struct pen_engine *engine, struct pen_chunk *chunk)
{
	struct pen_processor *best = NULL;
	uint64_t word = (uint64_t)(uintptr_t)chunk, least = UINT64_MAX;
	uint32_t pushed;

	if (chunk->kind > PEN_CHUNK_PUTS && chunk->kind != PEN_CHUNK_BEGIN && engine->foreman &&
	    pen_plan_is_job(chunk->batch->plan)) {
		pen_foreman_push(engine->foreman, engine->processor_count, chunk);
		return;
	}
	if (chunk->kind > PEN_CHUNK_PUTS) {
		pushed = pen_fanin_push(&engine->commit_in, engine->processor_count, &word, 1);
		pen_assert(pushed == 1);
		return;
	}
	pen_meter_pass(&engine->reader_meter, chunk->items, chunk->bytes);
	PEN_TRACE3(chunk_cut, chunk->batch->id, chunk->first_item, chunk->bytes);
	for (uint32_t i = 0; i < engine->processor_count; i++) {
		struct pen_processor *p = &engine->processors[i];
		/* Relaxed: a stale count only sends the chunk to the second least busy one. */
		uint64_t out = p->sent - atomic_load_explicit(&p->done, memory_order_relaxed);

		if (out < least) {
			least = out;
			best = p;
		}
	}
	pen_assert(best); /* there is a processor */
	best->sent++;
	pushed = pen_fanin_push(&best->in, 0, &word, 1);
	pen_assert(pushed == 1);
}

void pen_feed_number(struct pen_feed *feed, struct pen_chunk *chunk)
{
	chunk->seq = feed->seq++;
	chunk->first_item = feed->items;
	feed->items += chunk->items;
}

struct pen_place pen_feed_place(const struct pen_feed *feed, uint64_t offset, uint64_t line, const char *path)
{
	return (struct pen_place){
		.source = feed->source,
		.context = feed->context,
		.told = feed->told,
		.offset = offset,
		.line = line,
		.passed = feed->behind + (feed->in_tree			  ? 0
					  : feed->decode || feed->archive ? feed->packed
					  : offset > feed->file.size	  ? feed->file.size
									  : offset),
		.files = feed->tree_files,
		.paths = feed->tree_paths,
		.content = feed->tree_content,
		.path = path,
	};
}

void pen_feed_put(struct pen_feed *feed, struct pen_chunk *chunk)
{
	chunk->batch = feed->batch;
	chunk->kind = PEN_CHUNK_PUTS;
	chunk->rules.format = PEN_FORMAT_PUTS;
	chunk->items = chunk->entry_count;
	pen_feed_number(feed, chunk);
	chunk->after = pen_feed_place(feed, feed->items, 0, NULL);
	pen_feed_send(feed->engine, chunk);
}

/* ---- breaks -------------------------------------------------------------------------------- */

int pen_feed_break_code(int error)
{
	switch (-error) {
	case ENOENT:
		return -PEN_SOURCE_VANISHED;
	case EACCES:
	case EPERM:
	case ELOOP:
		return -PEN_SOURCE_DENIED;
	case EXDEV:
		return -PEN_LINK_OUTSIDE;
	default:
		return -PEN_SOURCE_BROKE;
	}
}

void pen_feed_break(struct pen_feed *feed, int code, int error)
{
	feed->break_code = code;
	feed->break_error = error;
	feed->state = FEED_BREAK;
}

bool pen_feed_still_same(struct pen_feed *feed)
{
	if (feed->stream || pen_source_same(&feed->file, feed->fd))
		return true;
	pen_feed_break(feed, -PEN_SOURCE_CHANGED, 0);
	return false;
}

/* Says it once, leaves a rejected item with its place, goes on with the next file. */
static bool step_break(struct pen_feed *feed)
{
	const char *root = feed->batch->plan->sources[feed->source].path;
	struct pen_chunk *chunk;
	struct pen_flaw *flaw;
	uint32_t raw;

	pen_feed_drop_jumbo(feed);
	if (feed->chunk && feed->used > feed->sent && !pen_feed_send_whole(feed))
		return false;
	chunk = feed->chunk ? feed->chunk : pen_feed_get_chunk(feed);
	if (!chunk)
		return false;
	feed->chunk = NULL;
	raw = feed->used > feed->sent ? (uint32_t)pen_min(feed->used - feed->sent, PEN_RAW_MAX) : 0;
	chunk->kind = PEN_CHUNK_FLAW;
	chunk->begin = feed->sent;
	chunk->end = chunk->begin + raw;
	chunk->items = 1;
	chunk->bytes = raw;
	chunk->base_offset = feed->cut_at;
	chunk->first_line = feed->lines;
	/* What broke is passed over for good: the checkpoint stands behind its end, wherever that is. */
	chunk->after = pen_feed_place(feed, UINT64_MAX, feed->lines, chunk->path);
	pen_feed_number(feed, chunk);
	flaw = pen_chunk_add_flaw(chunk, 0, 0, feed->break_code);
	flaw->at = chunk->begin;
	flaw->len = raw;
	flaw->total = raw;
	pen_feed_send(feed->engine, chunk);
	pen_engine_notice(feed->engine, feed->break_code, "%s%s%s: %s, at byte %llu%s%s", root,
			  feed->in_tree ? "/" : "", feed->in_tree ? feed->name : "",
			  pen_error_text(feed->break_code), (unsigned long long)feed->cut_at,
			  feed->break_error ? ": " : "",
			  feed->break_error ? strerror(-feed->break_error) : "");
	pen_feed_close_file(feed);
	return true;
}

/* ---- sources ------------------------------------------------------------------------------- */

void pen_feed_close_file(struct pen_feed *feed)
{
	if (feed->chunk)
		pen_feed_put_chunk(feed, feed->chunk);
	feed->chunk = NULL;
	pen_feed_drop_jumbo(feed);
	/* Their threads read the descriptor. */
	pen_decode_close(feed->decode);
	pen_archive_close(feed->archive);
	feed->decode = NULL;
	feed->archive = NULL;
	if (feed->fd >= 0)
		close(feed->fd);
	feed->fd = -1;
	feed->stream = feed->eof = false;
	feed->waiting = feed->looked = feed->hurry = false;
	feed->carry_len = feed->used = feed->sent = 0;
	feed->fresh_ns = 0;
	feed->state = !feed->in_tree			       ? FEED_SOURCE
		      : feed->rules.format == PEN_FORMAT_FILES ? FEED_PACK
							       : FEED_FILE;
}

void pen_feed_set_format(struct pen_feed *feed, enum pen_format format, struct pen_csv *csv)
{
	const struct pen_plan *plan = feed->batch->plan;

	pen_csv_unref(feed->csv);
	feed->csv = csv;
	feed->rules = (struct pen_rules){
		.format = format,
		.terminator = plan->terminator,
		.frame = plan->frame,
		.csv = csv,
		.max_record = plan->max_record,
	};
	feed->splitter = pen_splitter_of(format);
	feed->room_bytes = (csv && csv->json) || plan->transform.each ? feed->engine->chunk_bytes / 4 : 0;
}

static void wake_reader(void *io)
{
	pen_io_wake(io);
}

bool pen_feed_start_decode(struct pen_feed *feed, enum pen_compression compression, const void *prefix,
			   size_t len)
{
	struct pen_decode_options opt = {
		.fd = feed->fd,
		.offset = feed->stream ? PEN_DECODE_STREAM : 0,
		.prefix = prefix,
		.prefix_len = len,
		.compression = compression,
		.encoding = feed->batch->plan->encoding,
		.skip = feed->cut_at,
		.wake = wake_reader,
		.wake_arg = feed->engine->io,
	};
	int rc = pen_decode_open(&opt, &feed->decode, NULL);

	feed->packed = 0;
	if (rc)
		pen_feed_break(feed, -PEN_SOURCE_BROKE, rc);
	return !rc;
}

void pen_feed_begin_file(struct pen_feed *feed, const struct pen_place *from)
{
	feed->read_at = feed->cut_at = from ? from->offset : 0;
	feed->lines = from ? from->line : 0;
	feed->context = from ? from->context : 0;
	feed->lead = feed->csv && feed->cut_at < feed->csv->skip ? feed->csv->skip - feed->cut_at : 0;
	feed->lead_lines = feed->lead ? feed->csv->skip_lines : 0;
	feed->eof = false;
	feed->carry_len = feed->used = feed->sent = 0;
	feed->jumbo_used = 0;
	feed->state = feed->rules.format == PEN_FORMAT_FILES ? FEED_WHOLE : FEED_RECORDS;
}

bool pen_feed_read(struct pen_feed *feed, void *to, size_t len, int64_t offset)
{
	if (!pen_io_read(feed->engine->io, &feed->req, feed->fd, to, len, offset))
		return false;
	feed->req.user = feed;
	feed->busy = true;
	return true;
}

/* Which dialect was chosen; of many sources, for the first ones. */
static void say_table(struct pen_feed *feed)
{
	if (feed->csv && feed->source < SAID_MAX)
		pen_engine_notice(feed->engine, 0, "%s: %s", feed->name, feed->csv->said);
}

static bool step_source(struct pen_feed *feed)
{
	const struct pen_batch *batch = feed->batch;
	bool here;
	int rc;

	if (feed->next_source == batch->plan->source_count) {
		feed->state = FEED_OVER;
		return true;
	}
	feed->source = feed->next_source++;
	feed->file = batch->plan->sources[feed->source];
	feed->in_tree = false;
	feed->tree_files = 0;
	feed->tree_paths = feed->tree_content = (struct pen_sum){ 0 };
	feed->cut_at = feed->read_at = feed->lines = 0;
	feed->context = 0;
	feed->told = 0;
	feed->lead = 0;
	pen_feed_set_format(feed, feed->file.format, feed->file.csv ? pen_csv_ref(feed->file.csv) : NULL);
	snprintf(feed->name, sizeof feed->name, "%s", feed->file.path);
	pen_aftermath_source(feed->after, &feed->file);
	here = feed->source == batch->from.source;
	for (uint32_t i = feed->summed; i < feed->source; i++) /* a tree that was walked is in it already */
		if (i < batch->from.source || batch->plan->sources[i].kind != PEN_SOURCE_TREE)
			feed->behind += batch->plan->sources[i].size;
	feed->summed = feed->source;
	if (here && feed->rules.format == PEN_FORMAT_FILES && feed->file.kind == PEN_SOURCE_FILE &&
	    !feed->file.archive && batch->from.offset)
		return true; /* this one file was this one item, and is done */
	if (here && feed->file.kind == PEN_SOURCE_FILE && batch->from.offset == UINT64_MAX)
		return true; /* it broke then, and what was whole of it is in */
	rc = pen_source_open(&feed->file);
	if (rc < 0) {
		pen_feed_break(feed, pen_feed_break_code(rc), rc);
		return true;
	}
	feed->fd = rc;
	switch (feed->file.kind) {
	case PEN_SOURCE_STREAM:
		pen_feed_open_stream(feed, here && batch->resumed ? &batch->from : NULL);
		break;
	case PEN_SOURCE_FILE:
		(void)posix_fadvise(feed->fd, 0, 0, POSIX_FADV_SEQUENTIAL); /* a hint */
		pen_feed_begin_file(feed, here ? &batch->from : NULL);
		if (feed->file.archive) {
			pen_feed_open_archive(feed, here ? batch->from.offset : 0, NULL, 0);
			break;
		}
		if (feed->file.decodes && !pen_feed_start_decode(feed, feed->file.compression, NULL, 0))
			break;
		say_table(feed);
		(void)pen_feed_still_same(feed); /* changes the state when it is not */
		break;
	case PEN_SOURCE_TREE:
		pen_feed_open_tree(feed, here && batch->resumed);
	}
	return true;
}

/* ---- the loop's side ----------------------------------------------------------------------- */

/* Nothing more will be read: once nothing is in flight, END follows the last chunk. */
static bool step_end(struct pen_feed *feed)
{
	struct pen_chunk *end = &feed->batch->end;

	if (feed->busy)
		return false;
	pen_feed_seal_pack(feed);
	if (feed->fetches_out)
		return false;
	feed->in_tree = false;
	if (feed->state == FEED_OVER && !feed->stopping)
		pen_aftermath_seal(feed->after);
	pen_feed_close_file(feed);
	*end = (struct pen_chunk){
		.batch = feed->batch,
		.tag = PEN_TAG_NONE,
		.kind = PEN_CHUNK_END,
		.seq = feed->seq++,
		.first_item = feed->items,
		.res = feed->stopping ? feed->stop_code : 0,
	};
	feed->state = FEED_ENDED;
	pen_feed_send(feed->engine, end);
	return true;
}

bool pen_feed_step(struct pen_feed *feed)
{
	if (feed->state == FEED_ENDED)
		return false;
	/* Relaxed: nothing is read through this word, it only ends the work early. */
	if (feed->stopping || feed->state == FEED_OVER ||
	    atomic_load_explicit(&feed->batch->stop, memory_order_relaxed))
		return step_end(feed);
	if (feed->paused || feed->busy)
		return false;
	switch (feed->state) {
	case FEED_SOURCE:
		return step_source(feed);
	case FEED_FILE:
		return pen_feed_step_file(feed);
	case FEED_WRITER:
		return pen_feed_step_writer(feed);
	case FEED_PREFIX:
		return pen_feed_step_prefix(feed);
	case FEED_RECORDS:
		return pen_feed_step_records(feed);
	case FEED_JUMBO:
	case FEED_SKIP:
		return pen_feed_step_jumbo(feed);
	case FEED_PACK:
		return pen_feed_step_pack(feed);
	case FEED_WHOLE:
		return pen_feed_step_whole(feed);
	case FEED_ARCHIVE:
		return pen_feed_step_archive(feed);
	case FEED_BREAK:
		return step_break(feed);
	case FEED_PUTS:
	case FEED_OVER:
	case FEED_ENDED:
		return false;
	}
	PEN_UNREACHABLE();
}

void pen_feed_done(struct pen_feed *feed, struct pen_io_req *req)
{
	if (req != &feed->req) {
		pen_feed_done_fetch(feed, (struct fetch *)(void *)req);
		return;
	}
	feed->busy = false;
	if (req->res == -ECANCELED || feed->stopping)
		return; /* step asks again, or ends */
	switch (feed->state) {
	case FEED_PREFIX:
		pen_feed_done_prefix(feed, req->res, req->len);
		break;
	case FEED_RECORDS:
		pen_feed_done_records(feed, req->res, req->len);
		break;
	case FEED_JUMBO:
		pen_feed_done_jumbo(feed, req->res, req->len);
		break;
	case FEED_SKIP:
		pen_feed_done_skip(feed, req->res, req->len);
		break;
	case FEED_WHOLE:
		pen_feed_done_whole(feed, req->res, req->len);
		break;
	default:
		PEN_UNREACHABLE();
	}
}
