/* SPDX-License-Identifier: MIT */
#include "tools/metrics.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "include/penstock_progress.h"
#include "tools/live.h"

#define LOOKED 1000 /* newest batches among which running ones are looked for */

enum type { GAUGE, COUNTER, HISTOGRAM };

struct writer {
	struct pen_out *out;
	bool openmetrics;
	const char *name; /* of the family in hand */
	enum type type;
};

/* ---- the format ------------------------------------------------------------------------------ */

static void family(struct writer *w, const char *name, enum type type, const char *help)
{
	static const char *const types[] = { "gauge", "counter", "histogram" };
	const char *total = type == COUNTER && !w->openmetrics ? "_total" : "";

	w->name = name;
	w->type = type;
	pen_out_format(w->out, "# HELP penstock_%s%s %s\n# TYPE penstock_%s%s %s\n", name, total, help, name,
		       total, types[type]);
}

static void head(struct writer *w, const char *suffix)
{
	pen_out_format(w->out, "penstock_%s%s", w->name, w->type == COUNTER ? "_total" : suffix);
}

/* first: the sample has no label yet. */
static void label(struct writer *w, bool first, const char *name, const char *value)
{
	pen_out_format(w->out, "%s%s=\"", first ? "{" : ",", name);
	for (; *value; value++) {
		if (*value == '\n')
			pen_out_text(w->out, "\\n");
		else if (*value == '"' || *value == '\\')
			pen_out_format(w->out, "\\%c", *value);
		else
			pen_out_char(w->out, *value);
	}
	pen_out_char(w->out, '"');
}

static void value(struct writer *w, bool labels, uint64_t n)
{
	pen_out_format(w->out, "%s %" PRIu64 "\n", labels ? "}" : "", n);
}

/* n of which `per` make one. */
static void share(struct writer *w, bool labels, uint64_t n, uint64_t per)
{
	pen_out_format(w->out, "%s %.15g\n", labels ? "}" : "", (double)n / (double)per);
}

static void plain(struct writer *w, const char *name, enum type type, const char *help, uint64_t n)
{
	family(w, name, type, help);
	head(w, "");
	value(w, false, n);
}

static void labelled(struct writer *w, const char *name, const char *text, uint64_t n)
{
	head(w, "");
	label(w, true, name, text);
	value(w, true, n);
}

/* ---- the store ------------------------------------------------------------------------------- */

static void put_store(struct writer *w, const struct pen_store_info *s, uint64_t since_ms)
{
	char text[32];

	family(w, "store_info", GAUGE,
	       "The store: its id, the version of its format, the version of penstock.");
	head(w, "");
	(void)snprintf(text, sizeof text, "%016" PRIx64, s->store_id);
	label(w, true, "store", text);
	(void)snprintf(text, sizeof text, "%u", s->format);
	label(w, false, "format", text);
	label(w, false, "version", PEN_VERSION);
	value(w, true, 1);
	family(w, "counting_since_seconds", GAUGE, "Unix time when the store began to count.");
	head(w, "");
	share(w, false, since_ms, 1000);
	plain(w, "store_map_bytes", GAUGE, "Address space that the store may grow to.", s->map_bytes);
	plain(w, "store_used_bytes", GAUGE, "Bytes of the store's pages in use.", s->used_bytes);
	plain(w, "store_file_bytes", GAUGE, "Bytes of the store's file.", s->file_bytes);
	plain(w, "disk_free_bytes", GAUGE, "Bytes free on the store's disk.", s->free_disk_bytes);
	plain(w, "readers", GAUGE, "Readers that hold a snapshot.", s->readers);
	plain(w, "readers_max", GAUGE, "Readers that there can be.", s->readers_max);
	plain(w, "waiting_writers", GAUGE, "Processes that wait for the write lock.", s->waiting_writers);
	plain(w, "events", COUNTER, "Durable events.", s->last_event);
	plain(w, "transactions", COUNTER, "Write transactions of the store.", s->last_txn);
}

static void put_totals(struct writer *w, const struct pen_totals *t)
{
	static const enum pen_state ends[] = { PEN_COMPLETED, PEN_FAILED,      PEN_CANCELLED,
					       PEN_STOPPED,   PEN_INTERRUPTED, PEN_PAUSED };
	uint64_t sum = 0;
	char text[32];

	family(w, "items", COUNTER, "Items that ended, by outcome; one that is tried again counts again.");
	labelled(w, "outcome", "committed", t->committed);
	labelled(w, "outcome", "rejected", t->rejected);
	labelled(w, "outcome", "failed", t->failed);
	labelled(w, "outcome", "skipped", t->skipped);
	plain(w, "duplicates", COUNTER, "Committed items whose key was already there.", t->duplicates);
	plain(w, "input_bytes", COUNTER, "Bytes of input of the items that ended.", t->bytes);
	plain(w, "batches_entered", COUNTER, "Batches that were made.", t->batches);
	family(w, "batches_ended", COUNTER, "How often a batch came to rest, by state.");
	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
		labelled(w, "state", pen_state_name(ends[i]), t->states[ends[i]]);
	family(w, "write_lock_seconds", HISTOGRAM, "How long a transaction with items held the write lock.");
	for (unsigned i = 0; i < PEN_HOLD_BUCKETS; i++) {
		sum += t->holds[i];
		if (pen_hold_bucket(i) == UINT32_MAX)
			(void)snprintf(text, sizeof text, "+Inf");
		else
			(void)snprintf(text, sizeof text, pen_hold_bucket(i) % 1000 ? "%g" : "%.1f",
				       pen_hold_bucket(i) / 1000.0);
		head(w, "_bucket");
		label(w, true, "le", text);
		value(w, true, sum);
	}
	head(w, "_sum");
	share(w, false, t->hold_ms, 1000);
	head(w, "_count");
	value(w, false, sum);
}

/* ---- batches that run ------------------------------------------------------------------------ */

struct running {
	uint64_t id;
	uint32_t count;
	struct pen_batch_info info;
	struct pen_live live;
	bool has_live;
};

static bool next_running(struct pen_store *store, uint64_t store_id, struct running *r, int *looked)
{
	while ((*looked)++ < LOOKED && (r->id = pen_batch_before(store, r->id))) {
		if (pen_batch_get(store, r->id, &r->info) || !r->info.runner_pid)
			continue;
		r->has_live = pen_live_find(store_id, r->id, &r->live);
		if (r->has_live)
			pen_live_merge(&r->live, &r->info);
		return true;
	}
	return false;
}

struct batch {
	char id[24], owner[64], dataset[64];
	uint64_t items, total, bytes, retrying, rate_milli, eta_ms;
};

static size_t collect(struct pen_store *store, uint64_t store_id, struct batch *ret, size_t cap)
{
	struct running *r = calloc(1, sizeof *r);
	size_t n = 0;
	int looked = 0;

	if (!r)
		return 0;
	for (r->id = UINT64_MAX; n < cap && next_running(store, store_id, r, &looked);) {
		struct batch *b = &ret[n++];

		*b = (struct batch){ .items = r->info.counted.items,
				     .total = r->info.items_total,
				     .bytes = r->info.counted.bytes,
				     .retrying = r->has_live ? r->live.gauge.retrying : 0,
				     .rate_milli = r->has_live ? r->live.gauge.rate_milli : 0,
				     .eta_ms = r->has_live ? r->live.gauge.eta_ms : PEN_RING_UNKNOWN };
		(void)snprintf(b->id, sizeof b->id, "%016" PRIx64, r->id);
		(void)snprintf(b->owner, sizeof b->owner, "%.*s", (int)sizeof b->owner - 1, r->info.owner);
		(void)snprintf(b->dataset, sizeof b->dataset, "%.*s", (int)sizeof b->dataset - 1,
			       r->info.dataset);
	}
	free(r);
	return n;
}

static void batch_head(struct writer *w, const struct batch *b)
{
	head(w, "");
	label(w, true, "batch", b->id);
	label(w, false, "owner", b->owner);
	label(w, false, "dataset", b->dataset);
}

static void put_batches(struct writer *w, const struct batch *batches, size_t n,
			const struct pen_queue_info *queue)
{
	family(w, "batches", GAUGE, "Batches that are not over, by state.");
	labelled(w, "state", "queued", queue->queued);
	labelled(w, "state", "waiting", queue->waiting);
	labelled(w, "state", "paused", queue->paused);
	labelled(w, "state", "running", n);
	family(w, "batch_items", GAUGE, "Items of a running batch that ended.");
	for (size_t i = 0; i < n; i++) {
		batch_head(w, &batches[i]);
		value(w, true, batches[i].items);
	}
	family(w, "batch_items_expected", GAUGE, "Items of a running batch in all, where that is known.");
	for (size_t i = 0; i < n; i++) {
		if (!batches[i].total)
			continue;
		batch_head(w, &batches[i]);
		value(w, true, batches[i].total);
	}
	family(w, "batch_input_bytes", GAUGE, "Bytes of input of a running batch that ended.");
	for (size_t i = 0; i < n; i++) {
		batch_head(w, &batches[i]);
		value(w, true, batches[i].bytes);
	}
	family(w, "batch_retrying", GAUGE, "Items of a running batch that wait for their next try.");
	for (size_t i = 0; i < n; i++) {
		batch_head(w, &batches[i]);
		value(w, true, batches[i].retrying);
	}
	family(w, "batch_items_per_second", GAUGE, "Pace of a running batch.");
	for (size_t i = 0; i < n; i++) {
		batch_head(w, &batches[i]);
		share(w, true, batches[i].rate_milli, 1000);
	}
	family(w, "batch_left_seconds", GAUGE, "Estimated time to the end of a running batch.");
	for (size_t i = 0; i < n; i++) {
		if (batches[i].eta_ms == PEN_RING_UNKNOWN)
			continue;
		batch_head(w, &batches[i]);
		share(w, true, batches[i].eta_ms, 1000);
	}
}

/* ---- engines --------------------------------------------------------------------------------- */

/* The stages that count. */
static const uint32_t stages[] = { PEN_RING_READ, PEN_RING_PROCESS, PEN_RING_COMMIT };
#define STAGES (sizeof stages / sizeof *stages)

struct engine {
	char slot[16], pid[16], names[STAGES][32];
	uint64_t stage[STAGES][PEN_RING_CAPACITY + 1]; /* by the low byte of the id */
	uint64_t busy_ns[STAGES], publish_us, p50_us, p99_us;
};

struct engines {
	struct engine at[PEN_METRICS_ENGINES];
	size_t count;
};

/* Its number among those of the store: an engine has a ring for each owner, and the same counters in all of them. */
static bool known(const struct engines *all, const char *path, char ret[16])
{
	const char *at = strrchr(path, '.');

	while (at && at > path && at[-1] != '.')
		at--;
	(void)snprintf(ret, 16, "%.*s", at ? (int)strcspn(at, ".") : 0, at ? at : "");
	for (size_t i = 0; i < all->count; i++)
		if (!strcmp(all->at[i].slot, ret))
			return true;
	return false;
}

static int look(void *arg, const char *path)
{
	struct engines *all = arg;
	struct engine *e = &all->at[all->count];
	struct pen_ring ring;
	char slot[16];

	if (known(all, path, slot) || pen_ring_open(&ring, path, PEN_RING_OWNERS_OWN))
		return 0;
	if (pen_ring_life(&ring) == PEN_RING_ALIVE) {
		memcpy(e->slot, slot, sizeof e->slot);
		(void)snprintf(e->pid, sizeof e->pid, "%u", ring.header.writer_pid);
		for (uint32_t s = 0; s < STAGES; s++) {
			(void)snprintf(e->names[s], sizeof e->names[s], "%s", ring.stages[stages[s]]);
			for (uint32_t id = PEN_RING_ITEMS; id <= PEN_RING_CAPACITY; id++)
				e->stage[s][id] = pen_ring_total(&ring, PEN_RING_ID(stages[s], id));
			e->busy_ns[s] = pen_ring_total(&ring, PEN_RING_ID(stages[s], PEN_RING_BUSY_NS));
		}
		e->publish_us = pen_ring_total(&ring, PEN_RING_ID(PEN_RING_COMMIT, PEN_RING_PUBLISH_CPU_US));
		e->p50_us = pen_ring_total(&ring, PEN_RING_ID(PEN_RING_COMMIT, PEN_RING_P50_US));
		e->p99_us = pen_ring_total(&ring, PEN_RING_ID(PEN_RING_COMMIT, PEN_RING_P99_US));
		all->count++;
	}
	pen_ring_close(&ring);
	return all->count == PEN_METRICS_ENGINES;
}

static void engine_head(struct writer *w, const struct engine *e)
{
	head(w, "");
	label(w, true, "engine", e->slot);
	label(w, false, "pid", e->pid);
}

static void stage_head(struct writer *w, const struct engine *e, uint32_t stage)
{
	engine_head(w, e);
	label(w, false, "stage", e->names[stage]);
}

static const struct {
	const char *name, *help;
	enum type type;
	uint32_t id;
	uint64_t per;
} stage_counters[] = {
	{ "stage_items", "Items that a stage of an engine passed on.", COUNTER, PEN_RING_ITEMS, 1 },
	{ "stage_bytes", "Bytes that a stage passed on.", COUNTER, PEN_RING_BYTES, 1 },
	{ "stage_some_seconds", "Time in which at least one thread of the stage waited for another stage.",
	  COUNTER, PEN_RING_SOME_US, 1000000 },
	{ "stage_full_seconds", "Time in which all threads of the stage waited.", COUNTER, PEN_RING_FULL_US,
	  1000000 },
	{ "stage_queued", "Chunks that wait before a stage.", GAUGE, PEN_RING_QUEUED, 1 },
	{ "stage_capacity", "Chunks that can wait before it.", GAUGE, PEN_RING_CAPACITY, 1 },
};

static void put_engines(struct writer *w, const struct engines *all)
{
	plain(w, "engines", GAUGE, "Engines that live and show what they do.", all->count);
	for (size_t k = 0; k < sizeof stage_counters / sizeof *stage_counters; k++) {
		family(w, stage_counters[k].name, stage_counters[k].type, stage_counters[k].help);
		for (size_t i = 0; i < all->count; i++)
			for (uint32_t s = 0; s < STAGES; s++) {
				if (!all->at[i].names[s][0])
					continue;
				stage_head(w, &all->at[i], s);
				share(w, true, all->at[i].stage[s][stage_counters[k].id],
				      stage_counters[k].per);
			}
	}
	family(w, "stage_busy_seconds", COUNTER, "Time that the threads of a stage worked.");
	for (size_t i = 0; i < all->count; i++)
		for (uint32_t s = 0; s < STAGES; s++) {
			if (!all->at[i].names[s][0])
				continue;
			stage_head(w, &all->at[i], s);
			share(w, true, all->at[i].busy_ns[s], 1000000000);
		}
	family(w, "publish_cpu_seconds", COUNTER, "CPU time that an engine spent on showing its progress.");
	for (size_t i = 0; i < all->count; i++) {
		engine_head(w, &all->at[i]);
		share(w, true, all->at[i].publish_us, 1000000);
	}
	family(w, "commit_recent_seconds", GAUGE, "Quantiles of the last 10 to 20 seconds' commits.");
	for (size_t i = 0; i < all->count; i++)
		for (int high = 0; high < 2; high++) {
			engine_head(w, &all->at[i]);
			label(w, false, "quantile", high ? "0.99" : "0.5");
			share(w, true, high ? all->at[i].p99_us : all->at[i].p50_us, 1000000);
		}
}

/* ---- all of it ------------------------------------------------------------------------------- */

int pen_metrics_put(struct pen_out *out, struct pen_store *store, bool openmetrics)
{
	struct writer w = { .out = out, .openmetrics = openmetrics };
	struct batch *batches = calloc(LOOKED, sizeof *batches);
	struct engines *engines = calloc(1, sizeof *engines);
	struct pen_queue_info queue;
	struct pen_store_info info;
	struct pen_totals totals;
	int rc = batches && engines ? pen_store_info(store, &info) : -PEN_MEMORY;

	if (!rc)
		rc = pen_store_totals(store, &totals);
	if (!rc)
		rc = pen_queue_look(store, &queue);
	if (!rc) {
		size_t n = collect(store, info.store_id, batches, LOOKED);

		(void)pen_ring_scan(info.store_id, look, engines); /* those that may be read */
		put_store(&w, &info, totals.since_ms);
		put_totals(&w, &totals);
		put_batches(&w, batches, n, &queue);
		put_engines(&w, engines);
		pen_out_text(out, "# EOF\n");
	}
	free(batches);
	free(engines);
	return rc;
}
