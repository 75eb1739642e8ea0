/* SPDX-License-Identifier: MIT */
/*
 * What a feed makes of its sources is seen from outside: a real engine with the smallest chunks runs a real file into
 * a store, and the records that lie there then are compared with what this file splits by itself.
 */
#include "engine/feed.h"

#include <errno.h>
#include <pthread.h>

#include "ring/base.h"
#include "tests/store/scratch.h"

TestSuite(feed, .init = scratch_make, .fini = scratch_remove, .timeout = 600);

#define TEXT_MAX (1u << 20)

static void nap_us(unsigned us)
{
	struct timespec t = { .tv_nsec = (long)us * 1000 };

	nanosleep(&t, NULL);
}

static char text[TEXT_MAX];
static size_t text_len;

static void text_put(const char *data, size_t len)
{
	cr_assert_leq(text_len + len, TEXT_MAX);
	memcpy(text + text_len, data, len);
	text_len += len;
}

/* A line of len bytes that says its number. */
static void text_line(size_t len, unsigned number, const char *end)
{
	static char line[TEXT_MAX];
	int n = snprintf(line, sizeof line, "%u:", number);

	memset(line + n, 'a' + (int)(number % 26), sizeof line - (size_t)n);
	text_put(line, len);
	text_put(end, strlen(end));
}

static void text_save(const char *name)
{
	FILE *f = fopen(scratch_path(name), "w");

	cr_assert(f);
	cr_assert_eq(fwrite(text, 1, text_len, f), text_len);
	cr_assert_eq(fclose(f), 0);
}

/* ---- running ------------------------------------------------------------------------------- */

static void ignore(void *arg, int code, const char *said)
{
	(void)arg, (void)code, (void)said;
}

static struct pen_engine *engine_start(struct pen_store *store, uint32_t chunk_bytes, enum pen_io_choice io)
{
	struct pen_engine_options opt = { .size = sizeof opt,
					  .chunk_bytes = chunk_bytes,
					  .io = io,
					  .notice = ignore,
					  .arena_bytes = 4 << 20 };
	struct pen_failure why = { 0 };
	struct pen_engine *engine;

	cr_assert_eq(pen_engine_start(store, &opt, &engine, &why), 0, "%s", why.text);
	return engine;
}

static struct pen_cqe reap(struct pen_engine *engine)
{
	struct pen_cqe *cqe, copy;

	cr_assert_eq(pen_wait_cqe(engine, &cqe), 0);
	copy = *cqe;
	pen_cqe_seen(engine, cqe);
	return copy;
}

struct result {
	int res;
	struct pen_counters n;
	bool resumed;
	uint64_t batch;
};

/* Runs one source into dataset `into` of the store `name`, with an engine of its own. */
static struct result run(const char *name, struct pen_run spec, const char *source, uint32_t chunk_bytes,
			 enum pen_io_choice io)
{
	struct pen_store *store = scratch_store(name);
	struct pen_engine *engine = engine_start(store, chunk_bytes, io);
	static struct pen_batch_info info;
	struct pen_cqe done;

	spec.size = sizeof spec;
	spec.sources = &source;
	spec.source_count = 1;
	pen_prep_run(pen_get_sqe(engine), &spec);
	pen_submit(engine);
	done = reap(engine);
	memset(&info, 0, sizeof info);
	if (done.batch)
		cr_expect_eq(pen_batch_get(store, done.batch, &info), 0);
	pen_engine_stop(engine);
	pen_store_close(store);
	return (struct result){
		.res = done.res, .n = info.counted, .resumed = info.resumed, .batch = done.batch
	};
}

static void finding(void *arg, int invariant, const char *said)
{
	(void)arg;
	cr_expect(false, "invariant %d: %s", invariant, said);
}

static void sound(const char *name)
{
	struct pen_failure why = { 0 };

	cr_expect_eq(pen_verify(scratch_path(name), finding, NULL, &why), 0, "%s", why.text);
}

/* Order-dependent hash of all records. */
static uint64_t digest(const char *name, uint64_t *ret_count)
{
	struct pen_store *store = scratch_store(name);
	struct pen_scan all = { .size = sizeof all };
	struct pen_view key, value;
	struct pen_cursor *cur;
	struct pen_sum sum = { 0 };

	*ret_count = 0;
	cr_assert_eq(pen_scan_open(store, "default", &all, &cur), 0);
	while (pen_scan_next(cur, &key, &value) == 1) {
		struct pen_sum record = pen_hash_record(key.data, key.len, value.data, value.len);
		struct pen_sum two[2] = { sum, record };

		sum = pen_hash128(two, sizeof two);
		++*ret_count;
	}
	pen_cursor_close(cur);
	pen_store_close(store);
	return sum.lo;
}

/* The same of the text in hand, split here: lines, keyed by their offset. */
static uint64_t expected(uint64_t *ret_count)
{
	size_t at = text_len >= 3 && !memcmp(text, "\xef\xbb\xbf", 3) ? 3 : 0;
	struct pen_sum sum = { 0 };

	*ret_count = 0;
	while (at < text_len) {
		const char *lf = memchr(text + at, '\n', text_len - at);
		size_t end = lf ? (size_t)(lf - text) : text_len, len = end - at;
		struct pen_sum two[2] = { sum };
		uint8_t key[8];

		len -= lf && len && text[end - 1] == '\r';
		pen_put_be64(key, at);
		two[1] = pen_hash_record(key, sizeof key, text + at, len);
		sum = pen_hash128(two, sizeof two);
		++*ret_count;
		at = end + 1;
	}
	return sum.lo;
}

static const struct pen_run lines = { .format = PEN_FORMAT_LINES, .key = "@offset" };

/* Runs the text in hand through every shape of chunk and compares. */
static void holds(const char *what)
{
	static const uint32_t sizes[] = { PEN_CHUNK_BYTES_MIN, 1025, 4096, PEN_CHUNK_BYTES };
	uint64_t want_count, want = expected(&want_count), count;
	static unsigned number;
	char name[16];

	text_save("in");
	for (size_t i = 0; i < PEN_COUNT(sizes); i++) {
		struct result r;

		(void)snprintf(name, sizeof name, "s%u", number++);
		r = run(name, lines, scratch_path("in"), sizes[i], i % 2 ? PEN_IO_THREADS : PEN_IO_AUTO);
		cr_expect_eq(r.res, 0, "%s, chunks of %u: %d", what, sizes[i], r.res);
		cr_expect_eq(digest(name, &count), want, "%s, chunks of %u", what, sizes[i]);
		cr_expect_eq(count, want_count, "%s, chunks of %u: %d of %d", what, sizes[i], (int)count,
			     (int)want_count);
		cr_expect_eq(r.n.committed, want_count);
		cr_expect_eq(r.n.bytes, text_len, "%s, chunks of %u: %d of %d bytes", what, sizes[i],
			     (int)r.n.bytes, (int)text_len);
		sound(name);
	}
}

/* ---- lines --------------------------------------------------------------------------------- */

Test(feed, lines_end_anywhere_in_a_chunk)
{
	static const char *const ends[] = { "\n", "\r\n" };
	uint64_t want, count, other;

	for (int e = 0; e < 2; e++) {
		text_len = 0;
		for (unsigned i = 0; i < 400; i++)
			text_line(4 + i * 37 % 300, i, ends[e]);
		holds(ends[e]);
	}
	/* The control: one byte more is noticed. */
	want = expected(&count);
	text_put("x", 1);
	other = expected(&count);
	cr_expect_neq(want, other);
}

Test(feed, borders_of_text)
{
	static const struct {
		const char *what, *text;
	} cases[] = {
		{ "no line feed at the end", "one\ntwo" },
		{ "one byte", "x" },
		{ "one line feed", "\n" },
		{ "blank lines", "\n\n\r\n\n" },
		{ "a mark alone", "\xef\xbb\xbf" },
		{ "a mark", "\xef\xbb\xbfone\ntwo\n" },
		{ "a mark in the middle", "one\n\xef\xbb\xbftwo\n" },
		{ "half a mark", "\xef\xbb" },
		{ "returns", "a\rb\r\r\n\r\n\r" },
		{ "empty", "" },
	};

	for (size_t i = 0; i < PEN_COUNT(cases); i++) {
		text_len = 0;
		text_put(cases[i].text, strlen(cases[i].text));
		holds(cases[i].what);
	}
}

Test(feed, lines_around_the_size_of_a_chunk)
{
	static const size_t sizes[] = { 1022, 1023, 1024, 1025, 1026, 2047,
					2048, 2049, 4095, 4096, 4097, 70000 };
	unsigned n = 0;

	text_len = 0;
	for (size_t i = 0; i < PEN_COUNT(sizes); i++) {
		text_line(sizes[i], n++, "\n");
		text_line(10, n++, "\r\n");
		text_line(sizes[i], n++, "\r\n");
	}
	holds("short ones between");
	text_len = 0;
	for (size_t i = 0; i < 2 * PEN_COUNT(sizes); i++)
		text_line(sizes[i % PEN_COUNT(sizes)], n++, "\n");
	text_len--; /* its line feed */
	holds("one behind the other");
}

Test(feed, a_record_that_is_too_large_costs_nothing_but_itself)
{
	static const size_t sizes[] = { 2999, 3000, 3001, 3002, 9000 };
	struct pen_run spec = lines;
	static unsigned number;

	spec.max_record = 3000;
	for (size_t i = 0; i < PEN_COUNT(sizes); i++)
		for (int last = 0; last < 2; last++) {
			bool large = sizes[i] > 3000;
			struct pen_cursor *cur;
			struct pen_store *store;
			struct pen_item item;
			struct result r;
			char name[16];

			text_len = 0;
			text_line(20, 0, "\n");
			text_line(sizes[i], 1, last ? "" : "\r\n");
			if (!last)
				text_line(20, 2, "\n");
			text_save("in");
			(void)snprintf(name, sizeof name, "s%u", number++);
			r = run(name, spec, scratch_path("in"), PEN_CHUNK_BYTES_MIN, PEN_IO_AUTO);
			cr_expect_eq(r.res, 0);
			cr_expect_eq(r.n.rejected, large, "%zu", sizes[i]);
			cr_expect_eq(r.n.committed, 3u - last - large, "%zu", sizes[i]);
			cr_expect_eq(r.n.bytes, text_len);
			sound(name);
			store = scratch_store(name);
			cr_assert_eq(pen_items_open(store, r.batch, 0, 0, -1, &cur), 0);
			if (large && pen_items_next(cur, &item) == 1) {
				cr_expect_eq(item.code, -PEN_RECORD_LARGE);
				cr_expect_eq(item.offset, 21);
				cr_expect_eq(item.line, 2);
				cr_expect_eq(item.raw_total, sizes[i], "%d of %zu", (int)item.raw_total,
					     sizes[i]);
				cr_expect_eq(
					memcmp(item.raw.data, text + 21, pen_min(item.raw.len, sizes[i])), 0);
			}
			pen_cursor_close(cur);
			pen_store_close(store);
		}
}

/* ---- streams ------------------------------------------------------------------------------- */

static void *write_slowly(void *path)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	size_t at = 0;

	cr_assert_geq(fd, 0);
	while (at < text_len) {
		size_t n = pen_min(text_len - at, 1 + at * 7919 % 3000);

		cr_assert_eq(write(fd, text + at, n), (ssize_t)n);
		at += n;
		if (at % 5 == 0)
			nap_us(1000);
	}
	close(fd);
	return NULL;
}

Test(feed, a_stream_gives_the_same_records)
{
	uint64_t want, want_count, count;
	static char path[256];

	(void)snprintf(path, sizeof path, "%s", scratch_path("fifo"));
	cr_assert_eq(mkfifo(path, 0600), 0);
	text_len = 0;
	for (unsigned i = 0; i < 600; i++)
		text_line(4 + i * 37 % 300 + (i % 97 == 0 ? 5000 : 0), i, i % 3 ? "\n" : "\r\n");
	want = expected(&want_count);
	for (int i = 0; i < 4; i++) {
		struct result r;
		pthread_t writer;
		char name[16];

		(void)snprintf(name, sizeof name, "s%d", i);
		cr_assert_eq(pthread_create(&writer, NULL, write_slowly, path), 0);
		r = run(name, lines, path, i < 2 ? PEN_CHUNK_BYTES_MIN : PEN_CHUNK_BYTES,
			i % 2 ? PEN_IO_THREADS : PEN_IO_AUTO);
		cr_assert_eq(pthread_join(writer, NULL), 0);
		cr_expect_eq(r.res, 0);
		cr_expect_eq(digest(name, &count), want, "case %d: %d of %d", i, (int)count, (int)want_count);
		sound(name);
	}
}

Test(feed, a_silent_stream_keeps_nothing_back_but_what_is_not_whole)
{
	struct pen_run spec = lines;
	struct pen_store *store = scratch_store("s");
	struct pen_engine *engine = engine_start(store, 0, PEN_IO_AUTO);
	struct pen_progress p = { 0 };
	char path[256];
	const char *source = path;
	struct pen_cqe done;
	int fd, i;

	(void)snprintf(path, sizeof path, "%s", scratch_path("fifo"));
	cr_assert_eq(mkfifo(path, 0600), 0);
	spec.size = sizeof spec;
	spec.sources = &source;
	spec.source_count = 1;
	pen_prep_run(pen_get_sqe(engine), &spec);
	pen_submit(engine);
	fd = open(path, O_WRONLY);
	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, "one\ntwo\nthr", 11), 11);
	for (i = 0; i < 200 && p.counted.items < 2; i++) {
		nap_us(20000);
		(void)pen_engine_progress(engine, 0, &p);
	}
	cr_expect_eq(p.counted.items, 2, "after %d ms", i * 20);
	cr_assert_eq(write(fd, "ee\n", 3), 3);
	close(fd);
	done = reap(engine);
	cr_expect_eq(done.res, 0);
	cr_expect_eq(done.value, 3);
	pen_engine_stop(engine);
	pen_store_close(store);
	sound("s");
}

/* The head of a tar's member. */
static void tar_head(char head[512], const char *name, unsigned size)
{
	unsigned sum = 0;

	memset(head, 0, 512);
	(void)snprintf(head, 100, "%s", name);
	memcpy(head + 100, "0000644", 7);
	(void)snprintf(head + 124, 12, "%011o", size);
	memset(head + 148, ' ', 8);
	head[156] = '0';
	memcpy(head + 257, "ustar\00000", 8);
	for (int i = 0; i < 512; i++)
		sum += (unsigned char)head[i];
	(void)snprintf(head + 148, 7, "%06o", sum);
}

static void write_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		cr_assert_gt(n, 0);
		data += n;
		len -= (size_t)n;
	}
}

/* The answer; a request whose predecessor is not quite done with is made again. */
static int ask(struct pen_engine *engine, void prep(struct pen_sqe *, uint64_t), uint64_t batch)
{
	int rc = -EBUSY;

	for (int i = 0; i < 100 && rc == -EBUSY; i++) {
		prep(pen_get_sqe(engine), batch);
		pen_submit(engine);
		rc = reap(engine).res;
		nap_us(1000);
	}
	return rc;
}

/* A pause seals the pack in hand: what has come of a member must not stay behind in it. */
Test(feed, a_pause_in_the_middle_of_a_member)
{
	static const struct {
		unsigned size, before; /* of the member */
	} cases[] = { { 100000, 50000 }, { 300000, 200000 }, { 700000, 500000 } };
	static char path[256];

	for (size_t i = 0; i < PEN_COUNT(cases); i++) {
		struct pen_run spec = { .size = sizeof spec, .key = "@path", .source_count = 1 };
		struct pen_progress p = { 0 };
		struct pen_engine *engine;
		struct pen_store *store;
		const char *source = path;
		char name[16], head[512];
		size_t len;
		void *got;
		int fd;

		(void)snprintf(name, sizeof name, "s%zu", i);
		(void)snprintf(path, sizeof path, "%s", scratch_path("fifo"));
		cr_assert_eq(mkfifo(path, 0600), 0);
		spec.sources = &source;
		store = scratch_store(name);
		engine = engine_start(store, 0, PEN_IO_AUTO);
		pen_prep_run(pen_get_sqe(engine), &spec);
		pen_submit(engine);
		text_len = 0;
		tar_head(head, "small", 10);
		text_put(head, sizeof head);
		text_line(512, 1, "");
		tar_head(head, "large", cases[i].size);
		text_put(head, sizeof head);
		for (unsigned n = 0; n * 500 < cases[i].size + 511; n++)
			text_line(499, n, "\n");
		text_len = 3 * 512 + ((size_t)cases[i].size + 511) / 512 * 512;
		memset(text + 3 * 512 + cases[i].size, 0, text_len - 3 * 512 - cases[i].size);
		fd = open(path, O_WRONLY);
		cr_assert_geq(fd, 0);
		write_all(fd, text, 3 * 512 + cases[i].before);
		for (int k = 0; k < 16; k++) /* it is looked at when it has been silent for a second */
			nap_us(100000);
		cr_assert_eq(pen_engine_progress(engine, 0, &p), 0);
		cr_expect_eq(ask(engine, pen_prep_pause, p.batch), 0);
		(void)pen_engine_progress(engine, 0, &p);
		cr_expect_eq(p.counted.items, 1, "case %zu: what was whole before a pause counts", i);
		cr_expect_eq(ask(engine, pen_prep_resume, p.batch), 0);
		write_all(fd, text + 3 * 512 + cases[i].before, text_len - 3 * 512 - cases[i].before);
		memset(text + text_len, 0, 1024);
		write_all(fd, text + text_len, 1024);
		close(fd);
		cr_expect_eq(reap(engine).res, 0);
		pen_engine_stop(engine);
		cr_assert_eq(pen_get(store, "default", "large", 5, &got, &len), 0);
		cr_expect(len == cases[i].size && !memcmp(got, text + 3 * 512, len), "case %zu", i);
		free(got);
		pen_store_close(store);
		sound(name);
		cr_assert_eq(unlink(path), 0);
	}
}

/* ---- going on ------------------------------------------------------------------------------ */

/* A text whose every fifth record is bad, so that thresholds can end a run at any of them. */
static unsigned text_with_rejects(void)
{
	char line[8192];
	unsigned bad = 0;

	text_len = 0;
	text_put("\xef\xbb\xbf\n", 4);
	for (unsigned i = 0; i < 200; i++) {
		size_t filler = 5 + i * 53 % 200 + (i % 41 == 7 ? 3000 : 0);
		int n = snprintf(line, sizeof line, "%s{\"n\":%u,\"s\":\"%.*s\"%s%s", i % 9 ? "" : "\n", i, 0,
				 "", i % 5 ? "}" : "", "");

		text_put(line, (size_t)n);
		memset(line, ' ', filler);
		text_put(line, filler);
		text_put(i % 2 ? "\n" : "\r\n", i % 2 ? 1 : 2);
		bad += i % 5 == 0;
	}
	return bad;
}

Test(feed, stopped_at_any_place_it_goes_on_there)
{
	struct pen_run spec = { .format = PEN_FORMAT_NDJSON, .key = "@offset", .has_max_rejects = true };
	unsigned bad = text_with_rejects();
	uint64_t want, want_count, count;
	struct result whole, r;
	char path[256];

	text_save("in");
	(void)snprintf(path, sizeof path, "%s", scratch_path("in"));
	spec.max_rejects = bad;
	whole = run("whole", spec, path, PEN_CHUNK_BYTES, PEN_IO_AUTO);
	cr_assert_eq(whole.res, 0);
	cr_assert_eq(whole.n.rejected, bad);
	cr_assert_eq(whole.n.items, 200);
	want = digest("whole", &want_count);
	for (unsigned step = 1; step < 8; step += 3) {
		unsigned runs = 0;
		char name[16];

		(void)snprintf(name, sizeof name, "s%u", step);
		for (spec.max_rejects = 0;; spec.max_rejects += step) {
			/* Another shape each time: what is kept does not depend on it. */
			r = run(name, spec, path, runs % 2 ? PEN_CHUNK_BYTES_MIN : 4096,
				runs % 3 ? PEN_IO_AUTO : PEN_IO_THREADS);
			cr_expect_eq(r.resumed, runs > 0);
			runs++;
			if (r.res != -PEN_STOPPED_BY)
				break;
			cr_assert_eq(r.n.rejected, spec.max_rejects + 1);
			cr_assert_leq(runs, 50);
		}
		cr_expect_eq(r.res, 0);
		cr_expect_gt(runs, bad / step);
		cr_expect_eq(r.n.items, whole.n.items);
		cr_expect_eq(r.n.committed, whole.n.committed);
		cr_expect_eq(r.n.rejected, whole.n.rejected);
		cr_expect_eq(r.n.bytes, whole.n.bytes, "step %u: %d of %d bytes", step, (int)r.n.bytes,
			     (int)whole.n.bytes);
		cr_expect_eq(digest(name, &count), want, "step %u: %d of %d", step, (int)count,
			     (int)want_count);
		sound(name);
	}
}

Test(feed, drained_at_any_moment_it_goes_on)
{
	uint64_t want, want_count, count, before = 0;
	struct pen_run spec = lines;
	unsigned stops = 0;
	char path[256];

	text_len = 0;
	for (unsigned i = 0; i < 3000; i++)
		text_line(5 + i * 37 % 200, i, "\n");
	text_save("in");
	want = expected(&want_count);
	(void)snprintf(path, sizeof path, "%s", scratch_path("in"));
	spec.size = sizeof spec;
	spec.chunk_items = 50;
	spec.pause_ms = 1;
	for (;;) {
		struct pen_store *store = scratch_store("s");
		struct pen_engine *engine = engine_start(store, PEN_CHUNK_BYTES_MIN, PEN_IO_AUTO);
		const char *source = path;
		struct pen_cqe done;

		spec.sources = &source;
		spec.source_count = 1;
		pen_prep_run(pen_get_sqe(engine), &spec);
		pen_submit(engine);
		nap_us(3000 + stops % 5 * 2000);
		pen_engine_drain(engine);
		done = reap(engine);
		pen_engine_stop(engine);
		pen_store_close(store);
		cr_assert(done.res == 0 || done.res == -PEN_INTERRUPTED_BY, "%d", done.res);
		if (done.batch) { /* else it was stopped before it had begun */
			cr_expect_geq(done.value, before, "nothing is taken back");
			before = done.value;
		}
		if (!done.res)
			break;
		cr_assert_leq(++stops, 1000u);
	}
	cr_expect_gt(stops, 0, "the control: it was stopped at all");
	cr_expect_eq(digest("s", &count), want, "%d of %d after %u stops", (int)count, (int)want_count,
		     stops);
	sound("s");
}

/* ---- trees --------------------------------------------------------------------------------- */

Test(feed, files_of_a_tree_whatever_their_size)
{
	static const size_t sizes[] = { 0, 1, 1022, 1023, 1024, 1025, 4096, 70000, 300000 };
	struct pen_run spec = { .key = "@path" };
	char path[256], name[64];

	cr_assert_eq(mkdir(scratch_path("t"), 0700), 0);
	for (unsigned i = 0; i < 60; i++) {
		text_len = 0;
		if (sizes[i % PEN_COUNT(sizes)])
			text_line(sizes[i % PEN_COUNT(sizes)], i, "");
		(void)snprintf(name, sizeof name, "t/%02u", i);
		text_save(name);
	}
	(void)snprintf(path, sizeof path, "%s", scratch_path("t"));
	for (int shape = 0; shape < 4; shape++) {
		struct pen_store *store;
		struct result r;

		(void)snprintf(name, sizeof name, "s%d", shape);
		spec.chunk_items = shape % 2 ? 3 : 0;
		r = run(name, spec, path, shape < 2 ? PEN_CHUNK_BYTES_MIN : PEN_CHUNK_BYTES,
			shape % 2 ? PEN_IO_THREADS : PEN_IO_AUTO);
		cr_expect_eq(r.res, 0);
		cr_expect_eq(r.n.committed, 60);
		sound(name);
		store = scratch_store(name);
		for (unsigned i = 0; i < 60; i++) {
			void *value = NULL;
			size_t len;

			text_len = 0;
			if (sizes[i % PEN_COUNT(sizes)])
				text_line(sizes[i % PEN_COUNT(sizes)], i, "");
			(void)snprintf(name, sizeof name, "%02u", i);
			cr_assert_eq(pen_get(store, "default", name, 2, &value, &len), 0, "%s", name);
			cr_expect(len == text_len && !memcmp(value, text, len), "shape %d: %s", shape, name);
			free(value);
		}
		pen_store_close(store);
	}
}
