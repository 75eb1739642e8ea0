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
#include "tools/say.h"
#include "tools/text.h"

static const char *const key_kinds[] = { "@seq", "@offset", "@path", "@content", "pointer", "given" };

static void big_endian(unsigned char *to, uint64_t n, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		to[i] = (unsigned char)(n >> (8 * (bytes - 1 - i)));
}

struct key {
	unsigned char data[PEN_KEY_MAX + 1];
	size_t len;
};

/* SOURCE:OFFSET, or one number. */
static bool number_key(const char *text, bool pair, struct key *ret)
{
	const char *colon = strchr(text, ':');
	uint64_t a, b;

	if (colon && pair && pen_text_u64(text, (size_t)(colon - text), &a) && a <= UINT32_MAX &&
	    pen_text_u64(colon + 1, strlen(colon + 1), &b)) {
		big_endian(ret->data, a, 4);
		big_endian(ret->data + 4, b, 8);
		ret->len = 12;
		return true;
	}
	if (!pen_text_u64(text, strlen(text), &a))
		return false;
	big_endian(ret->data, a, 8);
	ret->len = 8;
	return true;
}

/* 0, or 2 after a message. */
static int read_key(const struct pen_cmd *cmd, const struct pen_dataset_info *ds, const char *text,
		    struct key *ret)
{
	bool hex = pen_cmd_set(cmd, PEN_O_HEX) || ds->key_kind == PEN_KEY_CONTENT, ok;

	if (hex)
		ok = pen_text_unhex(text, ret->data, sizeof ret->data, &ret->len);
	else if (!ds->foreign && (ds->key_kind == PEN_KEY_SEQ || ds->key_kind == PEN_KEY_OFFSET))
		ok = number_key(text, ds->key_kind == PEN_KEY_OFFSET, ret);
	else {
		ret->len = strlen(text);
		ok = ret->len <= PEN_KEY_MAX;
		if (ok)
			memcpy(ret->data, text, ret->len);
	}
	if (ok)
		return 0;
	pen_say_error(-PEN_USAGE, "'%s' is no key of this dataset", text);
	pen_say_advice("its keys are %s; --hex takes the bytes of any key as hex digits",
		       hex				? "hex digits"
		       : ds->key_kind == PEN_KEY_SEQ	? "decimal numbers"
		       : ds->key_kind == PEN_KEY_OFFSET ? "decimal offsets, or SOURCE:OFFSET"
							: "text of at most 511 bytes");
	return 2;
}

static int dataset(struct pen_store *store, const char *name, struct pen_dataset_info *ret)
{
	int rc = pen_dataset_get(store, name, ret);

	if (!rc)
		return 0;
	pen_say_error(rc,
		      rc == -PEN_NO_DATASET ? "there is no dataset '%s'" : "the dataset '%s' cannot be read",
		      name);
	if (*pen_error_advice(rc))
		pen_say_advice("%s", pen_error_advice(rc));
	return pen_error_exit(rc);
}

/* The bytes as they are; on a terminal without what it would obey. */
static void put_raw(struct pen_out *out, const void *data, size_t len)
{
	if (isatty(out->fd))
		pen_out_safe(out, data, len, true);
	else
		pen_out_bytes(out, data, len);
}

static uint64_t from_big_endian(const unsigned char *p, size_t bytes)
{
	uint64_t n = 0;

	while (bytes--)
		n = n << 8 | *p++;
	return n;
}

enum key_look { KEY_BYTES, KEY_NUMBER, KEY_WORD };

#define KEY_WORD_BYTES (2 * PEN_KEY_MAX + 1)

/* How a key is shown: a word of its own (hex, SOURCE:OFFSET), a number, or its bytes. */
static enum key_look look(const struct pen_cmd *cmd, const struct pen_dataset_info *ds, struct pen_view key,
			  char ret_word[KEY_WORD_BYTES])
{
	static const char digits[] = "0123456789abcdef";
	bool numbers = !ds->foreign && (ds->key_kind == PEN_KEY_SEQ || ds->key_kind == PEN_KEY_OFFSET);
	const unsigned char *p = key.data;

	if (pen_cmd_set(cmd, PEN_O_HEX) || (!ds->foreign && ds->key_kind == PEN_KEY_CONTENT)) {
		size_t n = key.len < PEN_KEY_MAX ? key.len : PEN_KEY_MAX;

		for (size_t i = 0; i < n; i++) {
			ret_word[2 * i] = digits[p[i] >> 4];
			ret_word[2 * i + 1] = digits[p[i] & 15];
		}
		ret_word[2 * n] = '\0';
		return KEY_WORD;
	}
	if (numbers && key.len == 8) {
		snprintf(ret_word, KEY_WORD_BYTES, "%llu", (unsigned long long)from_big_endian(p, 8));
		return KEY_NUMBER;
	}
	if (numbers && key.len == 12) {
		snprintf(ret_word, KEY_WORD_BYTES, "%llu:%llu", (unsigned long long)from_big_endian(p, 4),
			 (unsigned long long)from_big_endian(p + 4, 8));
		return KEY_WORD;
	}
	return KEY_BYTES;
}

static void put_key(const struct pen_cmd *cmd, struct pen_jw *jw, const struct pen_dataset_info *ds,
		    struct pen_view key)
{
	char word[KEY_WORD_BYTES];

	switch (look(cmd, ds, key, word)) {
	case KEY_NUMBER:
		pen_jw_u64(jw, "key", from_big_endian(key.data, 8));
		break;
	case KEY_WORD:
		pen_jw_text(jw, "key", word);
		break;
	case KEY_BYTES:
		pen_jw_data(jw, "key", key.data, key.len);
		break;
	}
}

static void put_key_raw(const struct pen_cmd *cmd, struct pen_out *out, const struct pen_dataset_info *ds,
			struct pen_view key)
{
	char word[KEY_WORD_BYTES];

	if (look(cmd, ds, key, word) == KEY_BYTES)
		put_raw(out, key.data, key.len);
	else
		pen_out_text(out, word);
}

int pen_cmd_get(const struct pen_cmd *cmd)
{
	struct pen_dataset_info ds;
	struct pen_store *store;
	struct pen_out out;
	struct key key = { 0 };
	void *value = NULL;
	size_t len;
	int status = pen_home_open(cmd->args, false, &store), rc;

	if (status)
		return status;
	status = dataset(store, cmd->args->words[0], &ds);
	if (!status)
		status = read_key(cmd, &ds, cmd->args->words[1], &key);
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
			put_key(cmd, &jw, &ds, (struct pen_view){ key.data, key.len });
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
		put_key(cmd, &jw, ds, key);
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
	static const enum pen_option_id ends[] = { PEN_O_PREFIX, PEN_O_FROM, PEN_O_TO };
	struct pen_scan range = { .size = sizeof range };
	struct pen_dataset_info ds;
	struct pen_store *store;
	struct key keys[3];
	int status;

	if (pen_cmd_set(cmd, PEN_O_JSON) && pen_cmd_value(cmd, PEN_O_OUTPUT)->n == 1) {
		pen_say_error(-PEN_USAGE, "--json and --format raw contradict each other");
		return 2;
	}
	status = pen_home_open(cmd->args, false, &store);
	if (status)
		return status;
	status = dataset(store, cmd->args->words[0], &ds);
	for (size_t i = 0; i < 3 && !status; i++)
		if (pen_cmd_set(cmd, ends[i]))
			status = read_key(cmd, &ds, pen_cmd_value(cmd, ends[i])->text, &keys[i]);
	if (!status) {
		if (pen_cmd_set(cmd, PEN_O_PREFIX)) {
			range.prefix = keys[0].data;
			range.prefix_len = keys[0].len;
		}
		if (pen_cmd_set(cmd, PEN_O_FROM)) {
			range.from = keys[1].data;
			range.from_len = keys[1].len;
		}
		if (pen_cmd_set(cmd, PEN_O_TO)) {
			range.to = keys[2].data;
			range.to_len = keys[2].len;
		}
		status = scan_range(cmd, store, &ds, &range);
	}
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
	status = dataset(store, name, &ds);
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
		else
			pen_say_note("the dataset '%s' with %s entries is removed", name,
				     pen_text_count(entries, ds.entries));
	}
	pen_store_close(store);
	return status;
}
