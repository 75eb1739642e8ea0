/* SPDX-License-Identifier: MIT */
/*
 * status: the store as a whole, or one batch. Nothing is counted here: every number is a row that the store
 * keeps, and of batches that run now, what their engine shows in its progress ring.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "include/penstock.h"
#include "tools/cmd.h"
#include "tools/components.h"
#include "tools/home.h"
#include "tools/json.h"
#include "tools/live.h"
#include "tools/metrics.h"
#include "tools/say.h"
#include "tools/standing.h"
#include "tools/text.h"

#define NEWEST 10
#define LIVE_LOOKED 1000 /* newest batches among which live ones are looked for: the cost stays bounded */

int pen_cmd_batch(struct pen_store *store, const char *text, uint64_t *ret_id)
{
	int rc = pen_batch_find(store, text, ret_id);

	if (!rc)
		return 0;
	if (rc == -PEN_NOT_FOUND)
		pen_say_error(rc, "there is no batch '%s'", text);
	else
		pen_say_error(rc, "the batch '%s' cannot be found: %s", text, pen_error_text(rc));
	if (*text == '@')
		pen_say_advice("@last is the newest batch, @running one that runs");
	else if (*pen_error_advice(rc))
		pen_say_advice("%s", pen_error_advice(rc));
	return pen_error_exit(rc);
}

static const char *const durabilities[] = { "commit", "group", "relaxed" };
static const char *const duplicates[] = { "replace", "keep", "reject" };

/* A list kept as lines. */
static void put_list(struct pen_jw *jw, const char *name, const char *lines)
{
	pen_jw_array(jw, name);
	while (lines && *lines) {
		const char *end = strchr(lines, '\n');
		size_t len = end ? (size_t)(end - lines) : strlen(lines);

		pen_jw_data(jw, NULL, lines, len);
		lines += len + (end != NULL);
	}
	pen_jw_array_end(jw);
}

static void put_counters(struct pen_jw *jw, const struct pen_counters *n)
{
	pen_jw_u64(jw, "items", n->items);
	pen_jw_u64(jw, "committed", n->committed);
	pen_jw_u64(jw, "rejected", n->rejected);
	pen_jw_u64(jw, "failed", n->failed);
	pen_jw_u64(jw, "skipped", n->skipped);
	pen_jw_u64(jw, "duplicates", n->duplicates);
	pen_jw_u64(jw, "bytes", n->bytes);
}

/* Asks the ring of a batch that runs; NULL: it does not, or has none. */
static const struct pen_live *ask_ring(struct pen_store *store, struct pen_batch_info *b,
				       struct pen_live *live)
{
	struct pen_store_info s;

	if (!b->runner_pid || pen_store_info(store, &s) || !pen_live_find(s.store_id, b->id, live))
		return NULL;
	pen_live_merge(live, b);
	return live;
}

/* store: not NULL for one batch, of which all is said. */
static void put_batch(struct pen_jw *jw, struct pen_store *store, const struct pen_batch_info *b,
		      const struct pen_live *live)
{
	pen_jw_object(jw, NULL);
	pen_jw_id(jw, "batch", b->id);
	pen_jw_text(jw, "state", pen_state_name(b->state));
	pen_jw_text(jw, "code", b->code ? pen_error_name(b->code) : NULL);
	put_counters(jw, &b->counted);
	pen_jw_u64(jw, "rows_removed", b->rows_removed);
	pen_jw_u64(jw, "items_total", b->items_total);
	pen_jw_u64(jw, "bytes_total", b->bytes_total);
	pen_jw_text(jw, "dataset", b->dataset);
	pen_jw_text(jw, "format", pen_format_name(b->format));
	pen_jw_text(jw, "key", b->key);
	pen_jw_text(jw, "on_duplicate", duplicates[b->on_duplicate % 3]);
	pen_jw_text(jw, "validate", b->validate == PEN_VALIDATE_FAST ? "fast" : "strict");
	pen_jw_text(jw, "durability", durabilities[b->durability % 3]);
	pen_jw_u64(jw, "max_record", b->max_record);
	pen_jw_u64(jw, "groups", b->groups);
	pen_jw_u64(jw, "hold_budget_ms", b->hold_budget_ms);
	pen_jw_u64(jw, "hold_last_ms", b->hold_last_ms);
	pen_jw_u64(jw, "created_ms", b->created_ms);
	pen_jw_u64(jw, "started_ms", b->started_ms);
	pen_jw_u64(jw, "updated_ms", b->updated_ms);
	pen_jw_u64(jw, "ended_ms", b->ended_ms);
	pen_jw_milli(jw, "active_s", b->active_ms);
	pen_jw_u64(jw, "runner_pid", b->runner_pid);
	pen_jw_bool(jw, "resumed", b->resumed);
	pen_jw_text(jw, "io", b->uring ? "uring" : "threads");
	pen_jw_text(jw, "owner", b->owner);
	pen_jw_text(jw, "correlation_id", b->correlation_id);
	put_list(jw, "sources", b->sources);
	put_list(jw, "labels", b->labels);
	if (store)
		pen_standing_put(jw, store, b->id);
	pen_jw_object(jw, "checkpoint");
	pen_jw_text(jw, "place", b->place);
	pen_jw_u64(jw, "offset", b->place_offset);
	pen_jw_u64(jw, "line", b->place_line);
	pen_jw_object_end(jw);
	pen_live_put(jw, live);
}

static void show_batch(struct pen_out *out, struct pen_store *store, const struct pen_batch_info *b,
		       const struct pen_live *live)
{
	const struct pen_counters *n = &b->counted;
	char id[PEN_TEXT_NUMBER], items[PEN_TEXT_NUMBER], committed[PEN_TEXT_NUMBER], bytes[PEN_TEXT_NUMBER];
	char when[PEN_TEXT_NUMBER];

	pen_out_format(out, "batch       %s\n", pen_text_id(id, b->id));
	pen_out_format(out, "state       %s", pen_state_name(b->state));
	if (b->code)
		pen_out_format(out, " (%s: %s)", pen_error_name(b->code), pen_error_text(b->code));
	if (b->runner_pid)
		pen_out_format(out, ", run by process %u", b->runner_pid);
	pen_out_format(out, "\nitems       %s = %s committed + %llu rejected + %llu failed + %llu skipped\n",
		       pen_text_count(items, n->items), pen_text_count(committed, n->committed),
		       (unsigned long long)n->rejected, (unsigned long long)n->failed,
		       (unsigned long long)n->skipped);
	if (n->duplicates)
		pen_out_format(out, "duplicates  %llu replaced\n", (unsigned long long)n->duplicates);
	if (b->rows_removed)
		pen_out_format(out, "rows        %llu older rows were removed by retention\n",
			       (unsigned long long)b->rows_removed);
	pen_out_format(out, "input       %s\n", pen_text_bytes(bytes, n->bytes));
	pen_out_text(out, "dataset     ");
	pen_out_safe(out, b->dataset, strlen(b->dataset), false);
	pen_out_text(out, ", key ");
	pen_out_safe(out, b->key, strlen(b->key), false);
	pen_out_text(out, "\nsources     ");
	for (const char *p = b->sources; *p;) {
		size_t len = strcspn(p, "\n");

		pen_out_safe(out, p, len, false);
		p += len + (p[len] != 0);
		pen_out_text(out, *p ? "\n            " : "");
	}
	pen_out_text(out, "\nowner       ");
	pen_out_safe(out, b->owner, strlen(b->owner), false);
	pen_out_format(out, "\nstarted     %s\n", pen_text_time(when, b->started_ms));
	if (b->ended_ms)
		pen_out_format(out, "ended       %s\n", pen_text_time(when, b->ended_ms));
	pen_out_format(out, "commits     %llu, the last held the write lock %u ms of its budget of %u ms\n",
		       (unsigned long long)b->groups, b->hold_last_ms, b->hold_budget_ms);
	pen_standing_show(out, store, b->id);
	if (live)
		pen_live_show(out, live);
}

static int one_batch(const struct pen_cmd *cmd, struct pen_store *store)
{
	const struct pen_live *live;
	struct pen_batch_info info;
	struct pen_failure why = { 0 };
	struct pen_live found;
	struct pen_out out;
	struct pen_jw jw;
	uint64_t id;
	int rc = pen_cmd_batch(store, cmd->args->words[0], &id);

	if (rc)
		return rc;
	rc = pen_batch_get(store, id, &info);
	if (rc)
		return pen_say_failure(rc, NULL);
	live = ask_ring(store, &info, &found);
	pen_out_init(&out, STDOUT_FILENO);
	if (pen_cmd_set(cmd, PEN_O_JSON)) {
		pen_jw_init(&jw, &out);
		put_batch(&jw, store, &info, live);
		if (pen_cmd_set(cmd, PEN_O_GRAPH))
			rc = pen_standing_put_graph(&jw, store, id, &why);
		pen_jw_object_end(&jw);
		pen_jw_line(&jw);
	} else {
		show_batch(&out, store, &info, live);
		if (pen_cmd_set(cmd, PEN_O_GRAPH))
			rc = pen_standing_show_graph(&out, store, id, &why);
	}
	return pen_out_end(&out, rc ? pen_say_failure(rc, &why) : 0);
}

/* The next batch below id that a process runs now; 0: no more among the newest. */
static uint64_t next_live(struct pen_store *store, uint64_t id, int *looked, struct pen_batch_info *ret)
{
	while ((*looked)++ < LIVE_LOOKED && (id = pen_batch_before(store, id)))
		if (!pen_batch_get(store, id, ret) && ret->runner_pid)
			return id;
	return 0;
}

static void put_store(struct pen_jw *jw, struct pen_store *store, const struct pen_store_info *s,
		      const struct pen_args *args)
{
	struct pen_batch_info info;
	struct pen_live found;
	uint64_t id = UINT64_MAX;
	int looked = 0;

	pen_jw_object(jw, NULL);
	pen_jw_text(jw, "store", pen_store_path(store));
	pen_jw_id(jw, "store_id", s->store_id);
	pen_jw_u64(jw, "format", s->format);
	pen_jw_u64(jw, "map_bytes", s->map_bytes);
	pen_jw_u64(jw, "used_bytes", s->used_bytes);
	pen_jw_u64(jw, "file_bytes", s->file_bytes);
	pen_jw_u64(jw, "free_disk_bytes", s->free_disk_bytes);
	pen_jw_u64(jw, "last_event", s->last_event);
	pen_jw_u64(jw, "last_txn", s->last_txn);
	pen_jw_u64(jw, "readers", s->readers);
	pen_jw_u64(jw, "readers_max", s->readers_max);
	pen_jw_u64(jw, "waiting_writers", s->waiting_writers);
	pen_jw_text(jw, "durability", durabilities[s->durability % 3]);
	pen_jw_u64(jw, "batches_total", s->batches);
	pen_standing_put_queue(jw, store);
	pen_components_put(jw, store, args);
	pen_jw_array(jw, "live");
	while ((id = next_live(store, id, &looked, &info))) {
		const struct pen_live *live = ask_ring(store, &info, &found);

		put_batch(jw, NULL, &info, live);
		pen_jw_object_end(jw);
	}
	pen_jw_array_end(jw);
	id = UINT64_MAX;
	pen_jw_array(jw, "batches");
	for (int i = 0; i < NEWEST && (id = pen_batch_before(store, id)); i++)
		if (!pen_batch_get(store, id, &info)) {
			const struct pen_live *live = ask_ring(store, &info, &found);

			put_batch(jw, NULL, &info, live);
			pen_jw_object_end(jw);
		}
	pen_jw_array_end(jw);
	pen_jw_object_end(jw);
}

static void show_store(struct pen_out *out, struct pen_store *store, const struct pen_store_info *s,
		       const struct pen_args *args)
{
	char used[PEN_TEXT_NUMBER], disk[PEN_TEXT_NUMBER], name[PEN_TEXT_NUMBER], items[PEN_TEXT_NUMBER];
	const struct pen_live *live;
	struct pen_batch_info b;
	struct pen_live found;
	uint64_t id = UINT64_MAX;
	int looked = 0;

	pen_out_text(out, "store       ");
	pen_out_safe(out, pen_store_path(store), strlen(pen_store_path(store)), false);
	pen_out_format(out, "\nused        %s, %s free on its disk\n", pen_text_bytes(used, s->used_bytes),
		       pen_text_bytes(disk, s->free_disk_bytes));
	pen_out_format(out, "readers     %u of %u slots; %u writers wait\n", s->readers, s->readers_max,
		       s->waiting_writers);
	pen_out_format(out, "batches     %llu, %llu events\n", (unsigned long long)s->batches,
		       (unsigned long long)s->last_event);
	pen_standing_show_queue(out, store);
	pen_out_char(out, '\n');
	pen_components_show(out, store, args);
	pen_out_char(out, '\n');
	while ((id = next_live(store, id, &looked, &b))) {
		live = ask_ring(store, &b, &found);
		pen_out_format(out,
			       "live        %s, process %u, write lock held %u ms of a budget of %u ms\n",
			       pen_text_id(name, b.id), b.runner_pid, b.hold_last_ms, b.hold_budget_ms);
		if (live)
			pen_live_show(out, live);
	}
	id = UINT64_MAX;
	for (int i = 0; i < NEWEST && (id = pen_batch_before(store, id)); i++) {
		if (pen_batch_get(store, id, &b))
			continue;
		(void)ask_ring(store, &b, &found);
		pen_out_format(out, "  %s  %-11s %15s items  %6llu rejected  ", pen_text_id(name, b.id),
			       pen_state_name(b.state), pen_text_count(items, b.counted.items),
			       (unsigned long long)b.counted.rejected);
		pen_out_safe(out, b.dataset, strlen(b.dataset), false);
		pen_out_char(out, '\n');
	}
}

static int metrics(struct pen_store *store, bool openmetrics)
{
	struct pen_out out;
	int rc;

	pen_out_init(&out, STDOUT_FILENO);
	rc = pen_metrics_put(&out, store, openmetrics);
	return pen_out_end(&out, rc ? pen_say_failure(rc, NULL) : 0);
}

static int whole_store(const struct pen_cmd *cmd, struct pen_store *store)
{
	struct pen_store_info info;
	struct pen_out out;
	struct pen_jw jw;
	int rc = pen_store_info(store, &info);

	if (rc)
		return pen_say_failure(rc, NULL);
	pen_out_init(&out, STDOUT_FILENO);
	if (pen_cmd_set(cmd, PEN_O_JSON)) {
		pen_jw_init(&jw, &out);
		put_store(&jw, store, &info, cmd->args);
		pen_jw_line(&jw);
	} else {
		show_store(&out, store, &info, cmd->args);
	}
	return pen_out_end(&out, 0);
}

int pen_cmd_status(const struct pen_cmd *cmd)
{
	struct pen_store *store;
	int rc;

	if (pen_cmd_set(cmd, PEN_O_GRAPH) && !cmd->args->word_count) {
		pen_say_error(-PEN_USAGE, "--graph is about a batch: name one");
		return 2;
	}
	if ((pen_cmd_set(cmd, PEN_O_METRICS) || pen_cmd_set(cmd, PEN_O_OPENMETRICS)) &&
	    (cmd->args->word_count || pen_cmd_set(cmd, PEN_O_JSON))) {
		pen_say_error(-PEN_USAGE, "--metrics is about the whole store, and has its own form");
		return 2;
	}
	rc = pen_home_open(cmd->args, false, &store);
	if (rc)
		return rc;
	if (pen_cmd_set(cmd, PEN_O_METRICS) || pen_cmd_set(cmd, PEN_O_OPENMETRICS))
		rc = metrics(store, pen_cmd_set(cmd, PEN_O_OPENMETRICS));
	else
		rc = cmd->args->word_count ? one_batch(cmd, store) : whole_store(cmd, store);
	pen_store_close(store);
	return rc;
}
