/* SPDX-License-Identifier: MIT */
#include "tools/components.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "include/penstock_log.h"
#include "include/penstock_progress.h"
#include "tools/logs.h"
#include "tools/text.h"

#define COUNT 8u
#define LEAST_FREE (64ull << 20) /* of the disk; below it the database is held */

struct component {
	const char *name, *state;
	char detail[512];
};

struct look {
	struct pen_store *store;
	const struct pen_args *args;
	struct pen_store_info info;
	struct pen_queue_info queue;
	uint32_t running, alive, dead;
	struct component *at;
};

static void say(struct component *c, const char *name, const char *state, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
static void say(struct component *c, const char *name, const char *state, const char *format, ...)
{
	va_list ap;

	c->name = name;
	c->state = state;
	va_start(ap, format);
	(void)vsnprintf(c->detail, sizeof c->detail, format, ap);
	va_end(ap);
}

static void database(struct look *l, struct component *c)
{
	char used[PEN_TEXT_NUMBER], disk[PEN_TEXT_NUMBER];

	say(c, "Database", l->info.free_disk_bytes < LEAST_FREE ? "held" : "ready",
	    "LMDB, format %u; %s used, %s free on its disk; %u of %u readers", l->info.format,
	    pen_text_bytes(used, l->info.used_bytes), pen_text_bytes(disk, l->info.free_disk_bytes),
	    l->info.readers, l->info.readers_max);
}

static void transactions(struct look *l, struct component *c)
{
	struct pen_totals t;
	int rc = pen_store_totals(l->store, &t);

	if (rc)
		say(c, "Transactions", "failed", "%s", pen_error_text(rc));
	else
		say(c, "Transactions",
		    l->info.waiting_writers ? "held"
		    : l->running	    ? "busy"
					    : "ready",
		    "%llu commits of batches, %llu ms of the write lock each; %u writers wait",
		    (unsigned long long)t.groups, (unsigned long long)(t.groups ? t.hold_ms / t.groups : 0),
		    l->info.waiting_writers);
}

static void queue(struct look *l, struct component *c)
{
	const struct pen_queue_info *q = &l->queue;

	say(c, "Queue", l->running ? "busy" : "ready", "%llu queued, %llu waiting, %llu paused, %u running",
	    (unsigned long long)q->queued, (unsigned long long)q->waiting, (unsigned long long)q->paused,
	    l->running);
}

static void logging(struct look *l, struct component *c)
{
	char dir[4096], levels[512];
	struct pen_failure why = { 0 };
	struct stat st;
	long n;

	if (!pen_logs_dir(l->args, pen_store_path(l->store), dir, sizeof dir)) {
		say(c, "Logging", "failed", "the path of its directory is too long");
		return;
	}
	if (stat(dir, &st)) {
		say(c, "Logging", errno == ENOENT ? "ready" : "failed", "%s: %s", dir,
		    errno == ENOENT ? "nothing was logged yet" : strerrordesc_np(errno));
		return;
	}
	n = pen_log_shared(dir, levels, sizeof levels, &why);
	if (n < 0)
		say(c, "Logging", "failed", "%s", why.text);
	else
		say(c, "Logging", "ready", "%s; levels %s", dir, levels);
}

static void correlation(struct look *l, struct component *c)
{
	uint64_t newest = pen_batch_before(l->store, UINT64_MAX);
	struct pen_context context;

	if (!newest || pen_batch_context(l->store, newest, &context))
		say(c, "Correlation IDs", "ready", "UUID v4 or of a W3C trace; no batch yet");
	else
		say(c, "Correlation IDs", "ready", "UUID v4 or of a W3C trace; the newest batch has %s",
		    context.correlation_id);
}

static void progress(struct look *l, struct component *c)
{
	say(c, "WebSocket", l->alive ? "busy" : "ready",
	    "progress rings in shared memory, one an owner: %u live, %u left by engines that died; sockets come with the gateway",
	    l->alive, l->dead);
}

static void limits(struct look *l, struct component *c)
{
	struct pen_limit_policy policy = { .size = sizeof policy };
	struct pen_failure why = { 0 };
	struct pen_limits *open;
	uint32_t policies = 0, changed = 0;
	int rc = pen_limit_open(l->store, NULL, &open, &why);

	if (rc) {
		say(c, "Rate Limiting", "failed", "%s", why.text[0] ? why.text : pen_error_text(rc));
		return;
	}
	for (; policies < PEN_COMPONENTS_LOOK && !pen_limit_at(open, policies, &policy); policies++)
		changed += policy.changed;
	pen_limit_close(open);
	say(c, "Rate Limiting", "ready", "%u policies in two layers, %u of them set here", policies, changed);
}

static void flags(struct look *l, struct component *c)
{
	char *after = NULL;
	uint32_t all = 0, on = 0;
	struct pen_flag *flag;
	int rc = 0;

	while (all < PEN_COMPONENTS_LOOK && (rc = pen_flag_list(l->store, after, &flag)) > 0) {
		all++;
		on += flag->enabled;
		free(after);
		after = strdup(flag->name);
		free(flag);
		if (!after) {
			rc = -PEN_MEMORY;
			break;
		}
	}
	free(after);
	if (rc < 0)
		say(c, "Feature Flags", "failed", "%s", pen_error_text(rc));
	else
		say(c, "Feature Flags", "ready", "%u%s flags, %u enabled", all,
		    all == PEN_COMPONENTS_LOOK ? " or more" : "", on);
}

static int count_ring(void *arg, const char *path)
{
	struct look *l = arg;
	struct pen_ring ring;

	if (pen_ring_open(&ring, path, PEN_RING_OWNERS_OWN))
		return 0;
	l->alive += pen_ring_life(&ring) == PEN_RING_ALIVE;
	l->dead += pen_ring_life(&ring) == PEN_RING_DEAD;
	pen_ring_close(&ring);
	return 0;
}

/* False: the store cannot be read. */
static bool look_at_all(struct look *l)
{
	static void (*const parts[COUNT])(struct look * l, struct component * c) = {
		database, transactions, queue, logging, correlation, progress, limits, flags
	};
	uint64_t running[PEN_COMPONENTS_LOOK];

	if (pen_store_info(l->store, &l->info) || pen_queue_look(l->store, &l->queue))
		return false;
	l->running = (uint32_t)pen_batch_in_state(l->store, PEN_RUNNING, 0, running, PEN_COMPONENTS_LOOK);
	(void)pen_ring_scan(l->info.store_id, count_ring, l); /* those that may be read */
	for (size_t i = 0; i < COUNT; i++)
		parts[i](l, &l->at[i]);
	return true;
}

void pen_components_put(struct pen_jw *jw, struct pen_store *store, const struct pen_args *args)
{
	struct component all[COUNT];
	struct look l = { .store = store, .args = args, .at = all };

	pen_jw_array(jw, "components");
	if (look_at_all(&l))
		for (size_t i = 0; i < COUNT; i++) {
			pen_jw_object(jw, NULL);
			pen_jw_text(jw, "name", all[i].name);
			pen_jw_text(jw, "state", all[i].state);
			pen_jw_data(jw, "detail", all[i].detail, strlen(all[i].detail));
			pen_jw_object_end(jw);
		}
	pen_jw_array_end(jw);
}

void pen_components_show(struct pen_out *out, struct pen_store *store, const struct pen_args *args)
{
	struct component all[COUNT];
	struct look l = { .store = store, .args = args, .at = all };

	if (!look_at_all(&l))
		return;
	for (size_t i = 0; i < COUNT; i++) {
		pen_out_format(out, "%-16s %-7s", all[i].name, all[i].state);
		pen_out_safe(out, all[i].detail, strlen(all[i].detail), false);
		pen_out_char(out, '\n');
	}
}
