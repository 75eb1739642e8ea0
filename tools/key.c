/* SPDX-License-Identifier: MIT */
#include "tools/key.h"

#include <stdio.h>
#include <string.h>

#include "tools/say.h"
#include "tools/text.h"

static void big_endian(unsigned char *to, uint64_t n, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		to[i] = (unsigned char)(n >> (8 * (bytes - 1 - i)));
}

/* SOURCE:OFFSET, or one number. */
static bool number_key(const char *text, bool pair, struct pen_key_typed *ret)
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

int pen_key_read(const struct pen_cmd *cmd, const struct pen_dataset_info *ds, const char *text,
		 struct pen_key_typed *ret)
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

int pen_key_dataset(struct pen_store *store, const char *name, struct pen_dataset_info *ret)
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

static uint64_t from_big_endian(const unsigned char *p, size_t bytes)
{
	uint64_t n = 0;

	while (bytes--)
		n = n << 8 | *p++;
	return n;
}

enum pen_key_look pen_key_look(const struct pen_cmd *cmd, const struct pen_dataset_info *ds,
			       struct pen_view key, char ret_word[PEN_KEY_WORD_BYTES])
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
		return PEN_KEY_WORD;
	}
	if (numbers && key.len == 8) {
		snprintf(ret_word, PEN_KEY_WORD_BYTES, "%llu", (unsigned long long)from_big_endian(p, 8));
		return PEN_KEY_NUMBER;
	}
	if (numbers && key.len == 12) {
		snprintf(ret_word, PEN_KEY_WORD_BYTES, "%llu:%llu", (unsigned long long)from_big_endian(p, 4),
			 (unsigned long long)from_big_endian(p + 4, 8));
		return PEN_KEY_WORD;
	}
	return PEN_KEY_BYTES;
}

void pen_key_put(const struct pen_cmd *cmd, struct pen_jw *jw, const struct pen_dataset_info *ds,
		 struct pen_view key)
{
	char word[PEN_KEY_WORD_BYTES];

	switch (pen_key_look(cmd, ds, key, word)) {
	case PEN_KEY_NUMBER:
		pen_jw_u64(jw, "key", from_big_endian(key.data, 8));
		break;
	case PEN_KEY_WORD:
		pen_jw_text(jw, "key", word);
		break;
	case PEN_KEY_BYTES:
		pen_jw_data(jw, "key", key.data, key.len);
		break;
	}
}

int pen_key_range_read(const struct pen_cmd *cmd, const struct pen_dataset_info *ds,
		       struct pen_key_range *ret)
{
	static const enum pen_option_id ends[] = { PEN_O_PREFIX, PEN_O_FROM, PEN_O_TO };
	struct pen_scan *scan = &ret->scan;
	int status = 0;

	*ret = (struct pen_key_range){ .scan.size = sizeof(*scan) };
	for (size_t i = 0; i < 3 && !status; i++)
		if (pen_cmd_set(cmd, ends[i]))
			status = pen_key_read(cmd, ds, pen_cmd_value(cmd, ends[i])->text, &ret->ends[i]);
	if (pen_cmd_set(cmd, PEN_O_PREFIX)) {
		scan->prefix = ret->ends[0].data;
		scan->prefix_len = ret->ends[0].len;
	}
	if (pen_cmd_set(cmd, PEN_O_FROM)) {
		scan->from = ret->ends[1].data;
		scan->from_len = ret->ends[1].len;
	}
	if (pen_cmd_set(cmd, PEN_O_TO)) {
		scan->to = ret->ends[2].data;
		scan->to_len = ret->ends[2].len;
	}
	return status;
}
