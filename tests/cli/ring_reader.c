/* SPDX-License-Identifier: MIT */
/*
 * ring_reader - follows a progress ring as a dashboard would, with penstock_progress.h alone
 *
 *	ring_reader PATH [late]
 *
 * Waits for the file, then prints a JSON object a line: "event" for each event, "gauge" for each batch after each poll
 * that brought something, "lost" when events were overwritten, and at the end "life". late: from the present on;
 * else from the oldest event that is there.
 */
#include <penstock_progress.h>

#define P(x) ((unsigned long long)(x))

static void print_gauges(struct pen_ring *ring)
{
	struct pen_ring_names names;
	struct pen_ring_gauge g;

	for (uint32_t slot = 0; pen_ring_next(ring, &slot, &g) > 0; slot++) {
		(void)pen_ring_names(ring, slot, g.batch_id, &names);
		printf("{\"gauge\":%u,\"batch\":\"%016llx\",\"label\":\"%s\",\"state\":%u,\"bytes_total\":%llu,\"bytes_done\":%llu,"
		       "\"items_total\":%llu,\"committed\":%llu,\"rejected\":%llu,\"skipped\":%llu,\"duplicates\":%llu,"
		       "\"rate_milli\":%llu,\"eta_ms\":%llu,\"stage\":\"%s\",\"err\":%u,\"lsn\":%llu,\"as_of\":%llu,\"live0\":\"%s\","
		       "\"value0\":%llu,\"updated_ms\":%llu}\n",
		       slot, P(g.batch_id), names.label, g.state, P(g.bytes_total), P(g.bytes_done),
		       P(g.items_total), P(g.committed), P(g.rejected), P(g.skipped), P(g.duplicates),
		       P(g.rate_milli), P(g.eta_ms), g.stage < PEN_RING_STAGES ? ring->stages[g.stage] : "",
		       g.err, P(g.commit_lsn), P(g.as_of), names.live[0], P(g.live[0]), P(g.t_updated_ms));
	}
}

static void print_event(const struct pen_ring_event *e)
{
	printf("{\"event\":%llu,\"type\":%u,\"batch\":\"%016llx\",\"a\":%llu,\"b\":%llu,\"c\":%llu,\"code\":%u,\"slot\":%d}\n",
	       P(e->seq - 1), e->type, P(e->batch_id), P(e->a), P(e->b), P(e->c), e->code,
	       e->gauge_idx == PEN_RING_NONE ? -1 : (int)e->gauge_idx);
}

int main(int argc, char **argv)
{
	static struct pen_ring ring;
	struct pen_ring_event events[64];
	enum pen_ring_life life = PEN_RING_ALIVE;
	uint64_t lost;
	int rc, n;

	if (argc < 2)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 0; (rc = pen_ring_open(&ring, argv[1], PEN_RING_OWNERS_OWN)) && i < 20000; i++) {
		if (rc != -ENOENT)
			break;
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	if (rc) {
		fprintf(stderr, "ring_reader: %s: %s\n", argv[1], strerror(-rc));
		return 1;
	}
	printf("{\"open\":\"%s\",\"epoch\":%llu,\"inode\":%llu,\"pid\":%u,\"uring\":%s}\n", argv[1],
	       P(ring.header.epoch), P(ring.ino), ring.header.writer_pid,
	       ring.header.compat_flags & PEN_RING_COMPAT_URING ? "true" : "false");
	if (argc > 2)
		print_gauges(&ring);
	else
		ring.cursor = 0;
	while (life == PEN_RING_ALIVE || life == PEN_RING_STALLED) {
		n = pen_ring_poll(&ring, events, 64, &lost);
		if (n < 0)
			return 1;
		if (lost)
			printf("{\"lost\":%llu}\n", P(lost));
		for (int i = 0; i < n; i++)
			print_event(&events[i]);
		if (n || lost)
			print_gauges(&ring);
		else if (!pen_ring_wait(&ring, 50))
			life = pen_ring_life(&ring);
	}
	/* What was told between the last look and the end. */
	while ((n = pen_ring_poll(&ring, events, 64, &lost)) > 0)
		for (int i = 0; i < n; i++)
			print_event(&events[i]);
	print_gauges(&ring);
	printf("{\"life\":%d}\n", (int)life);
	pen_ring_close(&ring);
	return 0;
}
