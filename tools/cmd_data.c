/* SPDX-License-Identifier: MIT */
/*
 * datasets, get, scan, drop: the user's own records. A key is typed and printed as its dataset's kind asks:
 * text, decimal (@seq, @offset), hex digits (@content, --hex).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "include/penstock.h"
#include "tools/cmd.h"
#include "tools/home.h"
#include "tools/json.h"
#include "tools/key.h"
#include "tools/say.h"
#include "tools/text.h"

static const char *const key_kinds[] = { "@seq", "@offset", "@path", "@content", "pointer", "given" };

/* The bytes as they are; on a terminal without what it would obey. */
static void put_raw(struct pen_out *out, const void *data, size_t len)
{
	if (isatty(out->fd))
		pen_out_safe(out, data, len, true);
	else
		pen_out_bytes(out, data, len);
}

static void put_key_raw(const struct pen_cmd *cmd, struct pen_out *out, const struct pen_dataset_info *ds,
			struct pen_view key)
{
	char word[PEN_KEY_WORD_BYTES];

	if (pen_key_look(cmd, ds, key, word) == PEN_KEY_BYTES)
		put_raw(out, key.data, key.len);
	else
		pen_out_text(out, word);
}

int pen_cmd_get(const struct pen_cmd *cmd)
{
	struct pen_dataset_info ds;
	struct pen_store *store;
	struct pen_out out;
	struct pen_key_typed key = { 0 };
	void *value = NULL;
	size_t len;
	int status = pen_home_open(cmd->args, false, &store), rc;

	if (status)
		return status;
	status = pen_key_dataset(store, cmd->args->words[0], &ds);
	if (!status)
		status = pen_key_read(cmd, &ds, cmd->args->words[1], &key);
	if (!status) {
		rc = pen_get(store, cmd->args->words[0], key.data, key.len, &value, &len);
		if (rc == -PEN_NOT_FOUND) {
			pen_say_error(rc, "the dataset '%s' has no key '%s'", cmd->args->words[0],
				      cmd->args->words[1]);
			status = 5;
		} else if (rc) {
			status = pen_say_failure(rc, NULL);
		}
	}
	if (!status) {
		pen_out_init(&out, STDOUT_FILENO);
		if (pen_cmd_set(cmd, PEN_O_JSON)) {
			struct pen_jw jw;

			pen_jw_init(&jw, &out);
			pen_jw_object(&jw, NULL);
			pen_key_put(cmd, &jw, &ds, (struct pen_view){ key.data, key.len });
			pen_jw_value(&jw, "value", value, len);
			pen_jw_object_end(&jw);
			pen_jw_line(&jw);
		} else {
			put_raw(&out, value, len);
		}
		status = pen_out_end(&out, 0);
	}
	free(value);
	pen_store_close(store);
	return status;
}

static int scan_range(const struct pen_cmd *cmd, struct pen_store *store, const struct pen_dataset_info *ds,
		      const struct pen_scan *range)
{
	uint64_t limit = pen_cmd_set(cmd, PEN_O_LIMIT) ? pen_cmd_value(cmd, PEN_O_LIMIT)->n : UINT64_MAX;
	bool raw = pen_cmd_value(cmd, PEN_O_OUTPUT)->n == 1, keys_only = pen_cmd_set(cmd, PEN_O_KEYS_ONLY);
	struct pen_view key, value;
	struct pen_cursor *cur;
	struct pen_out out;
	struct pen_jw jw;
	int rc = pen_scan_open(store, cmd->args->words[0], range, &cur);

	if (rc)
		return pen_say_failure(rc, NULL);
	pen_out_init(&out, STDOUT_FILENO);
	pen_jw_init(&jw, &out);
	while (limit-- && !pen_out_failed(&out) && (rc = pen_scan_next(cur, &key, &value)) > 0) {
		if (raw) {
			if (keys_only)
				put_key_raw(cmd, &out, ds, key);
			else
				put_raw(&out, value.data, value.len);
			pen_out_char(&out, '\n');
			continue;
		}
		pen_jw_object(&jw, NULL);
		pen_key_put(cmd, &jw, ds, key);
		if (!keys_only)
			pen_jw_value(&jw, "value", value.data, value.len);
		pen_jw_object_end(&jw);
		pen_jw_line(&jw);
	}
	pen_cursor_close(cur);
	return pen_out_end(&out, rc < 0 ? pen_say_failure(rc, NULL) : 0);
}

int pen_cmd_scan(const struct pen_cmd *cmd)
{
	struct pen_key_range range;
	struct pen_dataset_info ds;
	struct pen_store *store;
	int status;

	if (pen_cmd_set(cmd, PEN_O_JSON) && pen_cmd_value(cmd, PEN_O_OUTPUT)->n == 1) {
		pen_say_error(-PEN_USAGE, "--json and --format raw contradict each other");
		return 2;
	}
	status = pen_home_open(cmd->args, false, &store);
	if (status)
		return status;
	status = pen_key_dataset(store, cmd->args->words[0], &ds);
	if (!status)
		status = pen_key_range_read(cmd, &ds, &range);
	if (!status)
		status = scan_range(cmd, store, &ds, &range.scan);
	pen_store_close(store);
	return status;
}

int pen_cmd_datasets(const struct pen_cmd *cmd)
{
	char entries[PEN_TEXT_NUMBER], bytes[PEN_TEXT_NUMBER];
	struct pen_dataset_info ds;
	struct pen_store *store;
	struct pen_cursor *cur;
	struct pen_out out;
	struct pen_jw jw;
	int status = pen_home_open(cmd->args, false, &store), rc;

	if (status)
		return status;
	rc = pen_datasets_open(store, &cur);
	if (rc) {
		pen_store_close(store);
		return pen_say_failure(rc, NULL);
	}
	pen_out_init(&out, STDOUT_FILENO);
	pen_jw_init(&jw, &out);
	while (!pen_out_failed(&out) && (rc = pen_datasets_next(cur, &ds)) > 0) {
		const char *kind = ds.foreign ? "foreign" : key_kinds[ds.key_kind % 6];

		if (pen_cmd_set(cmd, PEN_O_JSON)) {
			pen_jw_object(&jw, NULL);
			pen_jw_data(&jw, "dataset", ds.name, strlen(ds.name));
			pen_jw_text(&jw, "keys", kind);
			pen_jw_bool(&jw, "foreign", ds.foreign);
			pen_jw_u64(&jw, "entries", ds.entries);
			pen_jw_u64(&jw, "bytes", ds.bytes);
			pen_jw_u64(&jw, "next_seq", ds.next_seq);
			pen_jw_u64(&jw, "updated_ms", ds.updated_ms);
			pen_jw_object_end(&jw);
			pen_jw_line(&jw);
			continue;
		}
		pen_out_format(&out, "%15s entries  %10s  %-8s  ", pen_text_count(entries, ds.entries),
			       pen_text_bytes(bytes, ds.bytes), kind);
		pen_out_safe(&out, ds.name, strlen(ds.name), false);
		pen_out_char(&out, '\n');
	}
	pen_cursor_close(cur);
	status = pen_out_end(&out, rc < 0 ? pen_say_failure(rc, NULL) : 0);
	pen_store_close(store);
	return status;
}

int pen_cmd_drop(const struct pen_cmd *cmd)
{
	const char *name = cmd->args->words[0];
	struct pen_failure why = { 0 };
	char entries[PEN_TEXT_NUMBER];
	struct pen_dataset_info ds;
	struct pen_store *store;
	int status = pen_home_open(cmd->args, true, &store), rc;

	if (status)
		return status;
	status = pen_key_dataset(store, name, &ds);
	if (!status && !pen_cmd_set(cmd, PEN_O_YES)) {
		pen_say_error(-PEN_USAGE, "this would remove the dataset '%s' with %s entries", name,
			      pen_text_count(entries, ds.entries));
		pen_say_advice("say --yes to do it");
		status = 2;
	}
	if (!status) {
		rc = pen_dataset_drop(store, name, &why);
		if (rc == -EBUSY)
			rc = -PEN_IN_USE;
		if (rc)
			status = pen_say_failure(rc, &why);
		else {
			char by[256];

			pen_cmd_own_name(by, sizeof by);
			(void)pen_log_audit(&(struct pen_log_context){ .user_id = by,
								       .module = PEN_LOG_IN_TOOLS },
					    "drop", name, &PEN_LOG_U64("entries", ds.entries), 1);
			pen_say_note("the dataset '%s' with %s entries is removed", name,
				     pen_text_count(entries, ds.entries));
		}
	}
	pen_store_close(store);
	return status;
}
