/* SPDX-License-Identifier: MIT */
/*
 * test_cast_golden - the bytes of version 1.0, for ever: what is written today is what lies in tests/golden
 *
 * A difference is a change of the format: it needs a new version, and a new file beside the old one.
 * PEN_GOLDEN=1 writes the file (from the project's directory) instead of comparing.
 */
#include <criterion/criterion.h>

#include "ring/base.h"
#include "tests/lib/cast_case.h"

#define GOLDEN "tests/golden/ring-1.0.ring"

TestSuite(cast_golden, .init = cast_case_make, .fini = cast_case_drop);

static const struct pen_cast_counter counters[] = {
	{ PEN_RING_ID(PEN_RING_PROCESS, PEN_RING_ITEMS), PEN_RING_COUNT, PEN_RING_UNIT_ITEMS, 0, 0,
	  "process.items" },
	{ PEN_RING_ID(PEN_RING_PROCESS, PEN_RING_ITEMS), PEN_RING_COUNT, PEN_RING_UNIT_ITEMS, 1, 0,
	  "process.items" },
	{ PEN_RING_ID(PEN_RING_PROCESS, PEN_RING_SOME_US), PEN_RING_COUNT, PEN_RING_UNIT_US, 0, 1,
	  "process.some_us" },
	{ PEN_RING_ID(PEN_RING_COMMIT, PEN_RING_QUEUED), PEN_RING_LEVEL, PEN_RING_UNIT_NONE, 1, 31,
	  "commit.queued" },
};

static const struct pen_ring_gauge papers = {
	.batch_id = 0x3f2a000000000001,
	.state = PEN_RUNNING,
	.attempt = 2,
	.t_queued_ms = 1700000000000,
	.t_started_ms = 1700000000250,
	.t_updated_ms = 1700000004000,
	.bytes_total = 300000000,
	.bytes_done = 183000000,
	.items_total = 3000000,
	.committed = 1829500,
	.rejected = 12,
	.failed = 3,
	.skipped = 5,
	.duplicates = 480,
	.retrying = 1,
	.rate_milli = 412000500,
	.eta_ms = 2100,
	.stage = PEN_RING_COMMIT,
	.commit_lsn = 77,
	.user_tag = 0xfedcba9876543210,
	.live = { 18446744073709551615u, 42 },
};
static const struct pen_ring_gauge pdfs = {
	.batch_id = 0x9c01000000000002,
	.state = PEN_FAILED,
	.attempt = 1,
	.eta_ms = PEN_RING_UNKNOWN,
	.err = PEN_DISK_FULL,
	.stage = PEN_RING_READ,
};

static void tell(uint64_t batch, uint16_t type, uint32_t slot, uint64_t a, uint64_t b, uint64_t c,
		 uint32_t code)
{
	struct pen_ring_event e = { .batch_id = batch,
				    .type = type,
				    .stage = PEN_RING_COMMIT,
				    .gauge_idx = slot,
				    .a = a,
				    .b = b,
				    .c = c,
				    .code = code };

	pen_cast_events(cast, &e, 1);
}

/* Eleven events into eight slots: three were overwritten. */
static void fill_ring(void)
{
	struct pen_ring_names names = { .label = "papers.ndjson \xc3\xa9", .live = { "pages", "figures" } };
	uint32_t first, second;

	first = pen_cast_get(cast, papers.batch_id, &names);
	pen_cast_gauge(cast, first, &papers, 0);
	tell(papers.batch_id, PEN_RING_EV_QUEUED, first, 300000000, 3000000, 1, 0);
	tell(papers.batch_id, PEN_RING_EV_STARTED, first, 0, 0, 2, 0);
	for (uint64_t i = 1; i <= 5; i++)
		tell(papers.batch_id, PEN_RING_EV_PROGRESS, first, i * 1000, i, 0, 0);
	tell(papers.batch_id, PEN_RING_EV_RETRY, first, 2, 1700000005000, 3, PEN_SOURCE_BROKE);
	pen_cast_gauge(cast, first, &papers, 0);
	second = pen_cast_get(cast, pdfs.batch_id, NULL);
	pen_cast_gauge(cast, second, &pdfs, 1);
	tell(pdfs.batch_id, PEN_RING_EV_FAILED, second, 0, 0, 4, PEN_DISK_FULL);
	pen_cast_put(cast, second);
	tell(papers.batch_id, PEN_RING_EV_ERROR_DOMAIN, first, 9, 0, 5, 4711);
	tell(0, 31, PEN_RING_NONE, 1, 2, 3, 4); /* a type that nobody knows yet */
	pen_cast_count(pen_cast_block(cast, 0), 0, 1000000);
	pen_cast_count(pen_cast_block(cast, 1), 0, 829500);
	pen_cast_count(pen_cast_block(cast, 0), 1, 250000);
	pen_cast_count(pen_cast_block(cast, 1), 31, 6);
	pen_cast_hot(cast, &(struct pen_ring_hot){ .coalesced_total = 7,
						   .last_batch_id = pdfs.batch_id,
						   .commit_lsn = 77,
						   .durable_lsn = 70,
						   .inflight_chunks = 3,
						   .inflight_bytes = 4096,
						   .queued_batches = 1 });
}

/* What differs from run to run gets fixed values, and the header its checksum. */
static void settle(void)
{
	struct pen_ring_header *h = (struct pen_ring_header *)(void *)cast->map;
	uint32_t crc;

	for (unsigned i = 0; i < 16; i++) {
		h->instance[i] = (uint8_t)(0xa0 + i);
		h->boot_id[i] = (uint8_t)(0x10 + i);
	}
	h->writer_start_ticks = 123456;
	h->pidns_ino = 4026531836;
	h->writer_pid = 4242;
	h->writer_uid = 1000;
	h->owner_uid = 1001;
	cast->hot->wake_seq = 11; /* depends on how long wakes take */
	crc = pen_ring_crc32(0, cast->map, PEN_RING_PAGE - 4);
	memcpy(cast->map + PEN_RING_PAGE - 4, &crc, 4);
}

static void write_golden(void)
{
	int fd = open(GOLDEN, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, cast->map, cast->len), (ssize_t)cast->len);
	close(fd);
}

Test(cast_golden, the_bytes_stay)
{
	struct pen_cast_options opt = cast_lab_options(&lab);
	uint8_t *golden;
	FILE *f;

	opt.event_slots = 8;
	opt.gauge_slots = 3;
	opt.threads = 2;
	opt.counters = counters;
	opt.counter_count = PEN_COUNT(counters);
	opt.epoch = 7;
	opt.crc = true;
	opt.stages[PEN_RING_READ] = "read";
	opt.stages[PEN_RING_CUT] = "cut";
	opt.stages[PEN_RING_PROCESS] = "process";
	opt.stages[PEN_RING_COMMIT] = "commit";
	cr_assert_eq(pen_cast_open(&cast, &opt, NULL), 0);
	fill_ring();
	settle();
	if (getenv("PEN_GOLDEN"))
		write_golden();
	f = fopen(GOLDEN, "rb");
	if (!f)
		cr_skip_test("not run from the project's directory");
	golden = malloc(cast->len);
	cr_assert_eq(fread(golden, 1, cast->len, f), cast->len, "another size");
	cr_assert_eq(fgetc(f), EOF, "another size");
	(void)fclose(f);
	for (size_t i = 0; i < cast->len; i++)
		cr_assert_eq(golden[i], cast->map[i], "at 0x%zx: %02x, was %02x", i, cast->map[i], golden[i]);
	free(golden);
}

Test(cast_golden, the_reader_takes_it_as_it_was_meant)
{
	struct pen_ring_event events[16];
	struct pen_ring_gauge gauge;
	struct pen_ring_names names;
	struct pen_ring_hot hot;
	struct stat st;
	uint64_t lost;

	if (stat(GOLDEN, &st))
		cr_skip_test("not run from the project's directory");
	cr_assert_eq(pen_ring_open(&ring, GOLDEN, st.st_uid), 0);
	cr_assert_eq(ring.header.epoch, 7);
	cr_assert_eq(ring.header.compat_flags, PEN_RING_COMPAT_CRC);
	cr_assert_eq(pen_ring_gauge(&ring, 0, &gauge), 1);
	cr_assert_eq(gauge.as_of, 8);
	gauge.as_of = 0;
	cr_assert_eq(memcmp(&gauge, &papers, sizeof(gauge)), 0);
	cr_assert(pen_ring_names(&ring, 0, papers.batch_id, &names));
	cr_assert_str_eq(names.label, "papers.ndjson \xc3\xa9");
	cr_assert_eq(pen_ring_gauge(&ring, 1, &gauge), 1);
	cr_assert_eq(gauge.as_of, 9);
	cr_assert_eq(gauge.err, PEN_DISK_FULL);
	cr_assert_eq(pen_ring_gauge(&ring, 2, &gauge), 0);
	cr_assert_str_eq(ring.stages[PEN_RING_COMMIT], "commit");
	cr_assert_eq(pen_ring_total(&ring, PEN_RING_ID(PEN_RING_PROCESS, PEN_RING_ITEMS)), 1829500);
	cr_assert_eq(pen_ring_total(&ring, PEN_RING_ID(PEN_RING_COMMIT, PEN_RING_QUEUED)), 6);
	pen_ring_hot(&ring, &hot);
	cr_assert_eq(hot.state, PEN_RING_RUNNING);
	cr_assert_eq(hot.coalesced_total, 7);
	cr_assert_eq(hot.queued_batches, 1);
	ring.cursor = 0;
	cr_assert_eq(pen_ring_poll(&ring, events, 16, &lost), 8);
	cr_assert_eq(lost, 3);
	for (int i = 0; i < 8; i++)
		cr_assert_eq(events[i].crc, pen_ring_crc32(0, &events[i], 60), "event %d", i);
	cr_assert_eq(events[4].type, PEN_RING_EV_RETRY);
	cr_assert_eq(events[4].b, 1700000005000);
	cr_assert_eq(events[6].type, PEN_RING_EV_ERROR_DOMAIN);
	cr_assert_eq(events[6].code, 4711);
	cr_assert_eq(events[7].type, 31);
}
