/* SPDX-License-Identifier: MIT */
/*
 * pause, resume, cancel, retry, why: one batch's fate, from any process
 */
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "include/penstock.h"
#include "tools/cmd.h"
#include "tools/home.h"
#include "tools/json.h"
#include "tools/live.h"
#include "tools/out.h"
#include "tools/say.h"
#include "tools/text.h"

#define WHY_BYTES 8192

void pen_cmd_own_name(char *ret, size_t cap)
{
	const struct passwd *pw = getpwuid(geteuid());

	if (pw)
		(void)snprintf(ret, cap, "%s", pw->pw_name);
	else
		(void)snprintf(ret, cap, "uid %u", (unsigned)geteuid());
}

struct wish {
	enum pen_wish wish;
	const char *done, *asked;
};

static int ask(const struct pen_cmd *cmd, struct pen_store *store, uint64_t id, const struct wish *wish)
{
	struct pen_failure why = { 0 };
	char text[PEN_TEXT_NUMBER], by[256];
	bool runs = false;
	int rc;

	pen_cmd_own_name(by, sizeof by);
	rc = (pen_cmd_set(cmd, PEN_O_FORCE) ? pen_batch_wish : pen_batch_ask)(
		store, id, wish->wish, by, pen_cmd_value(cmd, PEN_O_REASON)->text, &runs, &why);
	if (rc == -PEN_FLAG_REFUSED) {
		(void)pen_say_failure(rc, &why);
		pen_say_advice("an operator may: --force");
		return pen_error_exit(rc);
	}
	if (rc)
		return pen_say_failure(rc, &why);
	pen_say_note("batch %s %s", pen_text_id(text, id), runs ? wish->asked : wish->done);
	return 0;
}

static bool over(enum pen_state state)
{
	return state == PEN_COMPLETED || state == PEN_FAILED || state == PEN_CANCELLED;
}

/* All unfinished batches, or those of an owner. */
static int ask_many(const struct pen_cmd *cmd, struct pen_store *store, const struct wish *wish)
{
	const char *owner = pen_cmd_value(cmd, PEN_O_OF_OWNER)->text;
	struct pen_batch_info info;
	uint64_t count = 0;
	int status = 0;

	for (uint64_t id = UINT64_MAX; (id = pen_batch_before(store, id)) && !status;) {
		if (pen_batch_get(store, id, &info) || over(info.state) ||
		    (owner && strcmp(info.owner, owner) != 0))
			continue;
		/* Only what it can be said to: a batch that does not rest need not be resumed. */
		if (wish->wish == PEN_WISH_RESUME && info.state != PEN_PAUSED)
			continue;
		status = ask(cmd, store, id, wish);
		count++;
	}
	if (!status && !count)
		pen_say_note("there is no such batch%s%s", owner ? " of " : "", owner ? owner : "");
	return status;
}

/* ---- a batch and what is behind it ----------------------------------------------------------- */

struct kin {
	uint64_t *ids;
	size_t count, cap;
};

static int collect(void *arg, uint64_t batch)
{
	struct kin *kin = arg;

	if (kin->count == kin->cap) {
		size_t cap = kin->cap ? kin->cap * 2 : 64;
		uint64_t *grown = realloc(kin->ids, cap * sizeof *grown);

		if (!grown)
			return -PEN_MEMORY;
		kin->ids = grown;
		kin->cap = cap;
	}
	kin->ids[kin->count++] = batch;
	return 0;
}

static bool has(const struct kin *kin, uint64_t batch)
{
	for (size_t i = 0; i < kin->count; i++)
		if (kin->ids[i] == batch)
			return true;
	return false;
}

/* Asks it unless it is over, or was asked before. 1: it was asked now. */
static int ask_once(const struct pen_cmd *cmd, struct pen_store *store, uint64_t id, const struct wish *wish,
		    struct kin *asked, int *ret_status)
{
	struct pen_batch_info info;

	if (pen_batch_get(store, id, &info) || over(info.state) || has(asked, id))
		return 0;
	*ret_status = ask(cmd, store, id, wish);
	/* Its process may take a while. Those are few. */
	if (!*ret_status && !pen_batch_get(store, id, &info) && !over(info.state) && collect(asked, id))
		*ret_status = pen_say_failure(-PEN_MEMORY, NULL);
	return 1;
}

/*
 * Those behind it first, the last found first: each was found through a batch that ends after it, so none of them
 * becomes ready because what it waited for is cancelled. What is submitted behind one of them meanwhile is found by the
 * next look; the last one finds nothing new.
 */
static int ask_graph(const struct pen_cmd *cmd, struct pen_store *store, uint64_t id, const struct wish *wish)
{
	struct pen_failure why = { 0 };
	struct kin kin = { 0 }, asked = { 0 };
	int status = 0, any = 1;

	while (any && !status) {
		int rc = pen_batch_kin(store, id, true, collect, &kin, &why);

		any = 0;
		if (rc)
			status = pen_say_failure(rc, &why);
		while (kin.count && !status)
			any += ask_once(cmd, store, kin.ids[--kin.count], wish, &asked, &status);
		if (!status)
			any += ask_once(cmd, store, id, wish, &asked, &status);
	}
	free(kin.ids);
	free(asked.ids);
	return status;
}

static int wish_all(const struct pen_cmd *cmd, const struct wish *wish)
{
	bool many = pen_cmd_set(cmd, PEN_O_ALL) || pen_cmd_set(cmd, PEN_O_OF_OWNER);
	struct pen_store *store;
	int status;

	if (many == (cmd->args->word_count != 0)) {
		pen_say_error(-PEN_USAGE, "name batches, or --owner NAME, or --all");
		return 2;
	}
	status = pen_home_open(cmd->args, true, &store);
	if (status)
		return status;
	if (many)
		status = ask_many(cmd, store, wish);
	for (size_t i = 0; i < cmd->args->word_count && !status; i++) {
		uint64_t id;

		status = pen_cmd_batch(store, cmd->args->words[i], &id);
		if (!status)
			status = pen_cmd_set(cmd, PEN_O_GRAPH) ? ask_graph(cmd, store, id, wish)
							       : ask(cmd, store, id, wish);
	}
	pen_store_close(store);
	return status;
}

int pen_cmd_pause(const struct pen_cmd *cmd)
{
	return wish_all(cmd, &(struct wish){ PEN_WISH_PAUSE, "is paused",
					     "is asked to pause: its process does at the next group" });
}

int pen_cmd_resume(const struct pen_cmd *cmd)
{
	return wish_all(cmd, &(struct wish){ PEN_WISH_RESUME, "may go on", "goes on" });
}

int pen_cmd_cancel(const struct pen_cmd *cmd)
{
	return wish_all(
		cmd,
		&(struct wish){
			PEN_WISH_CANCEL, "is cancelled; what it committed stays",
			"is asked to end: its process does at the next group; what it committed stays" });
}

int pen_cmd_retry(const struct pen_cmd *cmd)
{
	bool dry = pen_cmd_set(cmd, PEN_O_DRY_RUN);
	struct pen_store *store;
	int status = pen_home_open(cmd->args, true, &store);

	if (status)
		return status;
	for (size_t i = 0; i < cmd->args->word_count && !status; i++) {
		char id_text[PEN_TEXT_NUMBER], n[PEN_TEXT_NUMBER];
		struct pen_failure why = { 0 };
		uint64_t id, count = 0;
		int rc;

		status = pen_cmd_batch(store, cmd->args->words[i], &id);
		if (status)
			break;
		rc = pen_batch_retry(store, id, pen_cmd_value(cmd, PEN_O_CONDITION)->text, dry, &count, &why);
		if (!rc && !dry) {
			char by[256];
			const struct pen_log_field fields[] = {
				PEN_LOG_U64("itemCount", count),
				PEN_LOG_TEXT("where", pen_cmd_value(cmd, PEN_O_CONDITION)->text)
			};

			pen_cmd_own_name(by, sizeof by);
			(void)pen_log_audit(&(struct pen_log_context){ .user_id = by,
								       .batch = id,
								       .module = PEN_LOG_IN_TOOLS },
					    "retry", "batch", fields, 2);
		}
		if (rc)
			status = pen_say_failure(rc, &why);
		else
			pen_say_note("batch %s: %s items %s", pen_text_id(id_text, id),
				     pen_text_count(n, count),
				     dry     ? "would be tried again"
				     : count ? "are queued again; `penstock work` tries them"
					     : "fit: nothing to try again");
	}
	pen_store_close(store);
	return status;
}

/* What is known of one item. */
static int why_item(struct pen_store *store, uint64_t batch, const char *text, struct pen_out *out)
{
	char *end, line[1024];
	long long seq = strtoll(text, &end, 10);
	struct pen_cursor *cur;
	struct pen_item item;
	int rc;

	if (*end || !*text || seq < 0) {
		pen_say_error(-PEN_USAGE, "an item is a number, from 0");
		return 2;
	}
	rc = pen_items_open(store, batch, 0, 0, seq - 1, &cur);
	if (rc)
		return pen_say_failure(rc, NULL);
	rc = pen_items_next(cur, &item);
	if (rc == 1 && item.seq == (uint64_t)seq) {
		(void)snprintf(line, sizeof line, "item %lld is %s%s%.512s\n", seq,
			       pen_item_state_name(item.state), item.code ? ": " : "",
			       item.code ? item.message : "");
		pen_out_text(out, line);
		(void)snprintf(line, sizeof line, "%" PRIu32 " tries, %" PRIu32 " crashes charged to it\n",
			       item.attempts, item.crashes);
		pen_out_text(out, line);
		if (item.due_ms) {
			char when[PEN_TEXT_NUMBER];

			(void)snprintf(line, sizeof line, "its next try is due at %s\n",
				       pen_text_time(when, item.due_ms));
			pen_out_text(out, line);
		}
		if (item.stderr_tail.len) {
			pen_out_text(out, "its last stderr:\n");
			pen_out_bytes(out, item.stderr_tail.data, item.stderr_tail.len);
			pen_out_char(out, '\n');
		}
		rc = 0;
	} else if (rc >= 0) {
		(void)snprintf(
			line, sizeof line,
			"item %lld has no row: it was committed without exception, or is not decided yet\n",
			seq);
		pen_out_text(out, line);
		rc = 0;
	}
	pen_cursor_close(cur);
	return rc ? pen_say_failure(rc, NULL) : 0;
}

/* What only its runner knows. */
static void why_live(struct pen_store *store, uint64_t id, struct pen_out *out)
{
	struct pen_store_info info;
	struct pen_live *live = malloc(sizeof *live);

	if (live && !pen_store_info(store, &info) && pen_live_find(info.store_id, id, live) &&
	    live->life == PEN_RING_ALIVE && live->gauge.err == PEN_RATE_WAITS)
		pen_out_text(
			out,
			"it waits for its limit (--rate, or its owner's policies), and goes on by itself\n");
	free(live);
}

int pen_cmd_why(const struct pen_cmd *cmd)
{
	char text[WHY_BYTES];
	struct pen_store *store;
	struct pen_out out;
	uint64_t id;
	long n = 0;
	int status = pen_home_open(cmd->args, false, &store);

	if (status)
		return status;
	status = pen_cmd_batch(store, cmd->args->words[0], &id);
	if (!status) {
		pen_out_init(&out, STDOUT_FILENO);
		if (cmd->args->word_count > 1) {
			status = why_item(store, id, cmd->args->words[1], &out);
		} else {
			n = pen_batch_why(store, id, text, sizeof text);
			if (n < 0)
				status = pen_say_failure((int)n, NULL);
			else
				pen_out_text(&out, text);
			if (n >= 0 && !strstr(text, "waits for its limit"))
				why_live(store, id, &out);
		}
		status = pen_out_end(&out, status);
	}
	pen_store_close(store);
	return status;
}
