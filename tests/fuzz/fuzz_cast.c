/* SPDX-License-Identifier: MIT */
/*
 * fuzz/cast - the bytes of a file that says it is a progress ring, into the reader
 *
 * An input with a 0 at 0xff0 is sealed first, so that the checksum does not keep the fuzzer out of what lies behind it. Whatever the
 * bytes are: no access outside the map, no endless loop, names end, and what is counted adds up.
 */
#include <assert.h>

#include "include/penstock_progress.h"

static void walk(struct pen_ring *ring)
{
	struct pen_ring_event events[16];
	struct pen_ring_counter counter;
	struct pen_ring_gauge gauge;
	struct pen_ring_names names;
	struct pen_ring_hot hot;
	uint64_t lost, value, before;
	int n;

	pen_ring_hot(ring, &hot);
	for (uint32_t slot = 0; (n = pen_ring_next(ring, &slot, &gauge)) && slot < 4096; slot++) {
		assert(n == 1 && gauge.state); /* nobody writes, so it is never too late */
		(void)pen_ring_names(ring, slot, gauge.batch_id, &names);
		assert(strlen(names.label) < sizeof(names.label) &&
		       strlen(names.live[7]) < sizeof(names.live[7]));
	}
	for (uint32_t i = 0; i < 4096 && pen_ring_counter(ring, i, &counter, &value); i++)
		assert(strlen(counter.name) < sizeof(counter.name));
	for (unsigned i = 0; i < PEN_RING_STAGES; i++)
		assert(strlen(ring->stages[i]) < sizeof(ring->stages[i]));
	for (int from = 0; from < 3; from++) {
		if (from == 1)
			pen_ring_rewind(ring);
		else if (from == 2)
			ring->cursor = 0;
		for (int turn = 0; turn < 64; turn++) {
			before = ring->cursor;
			n = pen_ring_poll(ring, events, 16, &lost);
			assert(n < 0 || ring->cursor == before + lost + (uint64_t)n);
			for (int i = 0; i < n; i++)
				assert(events[i].seq == before + lost + (uint64_t)i + 1);
			if (n <= 0)
				break;
		}
	}
	(void)pen_ring_life(ring);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct pen_ring ring;
	static int fd = -1;

	if (size > 1u << 20)
		return 0;
	if (fd < 0)
		fd = memfd_create("fuzz", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, 0) || pwrite(fd, data, size, 0) != (ssize_t)size)
		abort();
	if (size >= PEN_RING_PAGE && data[0xff0] == 0) {
		uint32_t crc = pen_ring_crc32(0, data, PEN_RING_PAGE - 4);

		if (pwrite(fd, &crc, 4, PEN_RING_PAGE - 4) != 4)
			abort();
	}
	memset(&ring, 0, sizeof(ring));
	if (!pen_ring_map(&ring, fd, PEN_RING_OWNERS_OWN))
		walk(&ring);
	pen_ring_close(&ring);
	return 0;
}
