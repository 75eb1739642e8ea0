/* SPDX-License-Identifier: MIT */
/*
 * fuzz_json - two ways to one verdict
 *
 * An input is a text, or a pointer, a newline, and a text. Held to be true of every input:
 *
 *   1. what lies behind the text changes nothing;
 *   2. the fast strict check and the scalar validator agree, to the byte and the sentence;
 *   3. an error's place is honest: what stands before it is a whole value or the beginning of one;
 *   4. strict, fast and pen_json_find name the same key in a valid text;
 *   5. fast refuses an invalid text with its flaw, or a key it could read.
 *
 * A broken promise aborts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/json.h"
#include "include/penstock.h"
#include "include/penstock_error.h"

#define OUT_CAP (PEN_KEY_MAX + 4)

#define HOLD(cond)                                                                    \
	do {                                                                          \
		if (!(cond)) {                                                        \
			fprintf(stderr, "fuzz_json: line %d: %s\n", __LINE__, #cond); \
			abort();                                                      \
		}                                                                     \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct verdict {
	int rc;
	struct pen_json_flaw flaw;
	struct pen_json_key key;
	char out[OUT_CAP];
};

static bool same_flaw(const struct pen_json_flaw *a, const struct pen_json_flaw *b)
{
	return a->code == b->code && a->at == b->at && a->detail == b->detail;
}

static bool same_key(const struct verdict *a, const struct verdict *b)
{
	if (a->rc != b->rc)
		return false;
	if (a->rc)
		return true;
	if (a->key.len != b->key.len || a->key.number != b->key.number)
		return false;
	return a->key.len > PEN_KEY_MAX || memcmp(a->key.data, b->key.data, a->key.len) == 0;
}

static void look(struct pen_json *json, const char *text, size_t len, const struct pen_json_flaw *flaw,
		 const struct pen_pointer *ptr)
{
	struct verdict found = { 0 }, checked = { 0 }, peeked = { 0 };

	found.rc = pen_json_find(text, len, ptr, found.out, OUT_CAP, &found.key);
	checked.rc = pen_json_check(json, text, len, ptr, checked.out, OUT_CAP, &checked.key, &checked.flaw);
	peeked.rc = pen_json_peek(json, text, len, ptr, peeked.out, OUT_CAP, &peeked.key, &peeked.flaw);
	if (flaw) {
		HOLD(checked.rc == flaw->code && same_flaw(&checked.flaw, flaw));
		HOLD(!peeked.rc || (peeked.rc == flaw->code && same_flaw(&peeked.flaw, flaw)));
		return;
	}
	HOLD(found.rc == 0 || found.rc == -PEN_JSON_KEY_MISSING || found.rc == -PEN_KEY_TYPE ||
	     found.rc == -PEN_JSON_UTF8);
	HOLD(same_key(&found, &checked));
	HOLD(same_key(&found, &peeked));
}

static void judge(struct pen_json *json, const uint8_t *data, size_t len, const struct pen_pointer *ptrs,
		  size_t count)
{
	static const char behind[] = { 0, '"', '9', ']', (char)0x80 };
	struct pen_json_flaw flaw = { 0 }, again = { 0 };
	struct pen_json_key none;
	char *text = malloc(len + PEN_JSON_PADDING);
	bool valid;

	HOLD(text);
	if (len)
		memcpy(text, data, len);
	memset(text + len, behind[0], PEN_JSON_PADDING);
	valid = pen_json_valid(text, len, &flaw);
	for (size_t i = 0; i < sizeof(behind); i++) {
		memset(text + len, behind[i], PEN_JSON_PADDING);
		HOLD(pen_json_valid(text, len, &again) == valid);
		HOLD(valid || same_flaw(&flaw, &again));
		HOLD(pen_json_check(json, text, len, NULL, NULL, 0, &none, &again) ==
		     (valid ? 0 : flaw.code));
		HOLD(valid || same_flaw(&flaw, &again));
		for (size_t k = 0; k < count; k++)
			look(json, text, len, valid ? NULL : &flaw, &ptrs[k]);
	}
	if (!valid) {
		HOLD(flaw.at <= len && flaw.detail && pen_json_detail(flaw.detail)[0]);
		HOLD((flaw.code == -PEN_JSON_CUT) == (flaw.at == len));
		HOLD(pen_json_valid(text, flaw.at, &again) || again.code == -PEN_JSON_CUT);
	}
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const texts[] = { "/id", "/a/b", "/a/1", "/0", "/", "/~0~1/x" };
	static struct pen_pointer ptrs[sizeof(texts) / sizeof(texts[0]) + 1];
	static struct pen_json *json;
	const size_t fixed = sizeof(texts) / sizeof(texts[0]);
	const uint8_t *line = size ? memchr(data, '\n', size) : NULL;
	size_t count = fixed;

	if (!json) {
		HOLD(pen_json_open(&json) == 0);
		for (size_t i = 0; i < fixed; i++)
			HOLD(pen_pointer_parse(&ptrs[i], texts[i]) == 0);
	}
	if (line && data[0] == '/') {
		size_t len = (size_t)(line - data);
		char *text = calloc(1, len + 1);

		HOLD(text);
		memcpy(text, data, len);
		if (!pen_pointer_parse(&ptrs[fixed], text))
			count++;
		free(text);
		size -= (size_t)(line + 1 - data);
		data = line + 1;
	}
	judge(json, data, size, ptrs, count);
	if (count > fixed)
		pen_pointer_fini(&ptrs[fixed]);
	return 0;
}
