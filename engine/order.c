/* SPDX-License-Identifier: MIT */
#include "engine/order.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ring/base.h"
#include "ring/error.h"

enum kind { TEXT, PATH, LIST, PATHS, NUMBER, WORD, FLAG };

/* NUMBER: 64 bits; WORD: 32 bits, enums among them. */
static const struct field {
	const char *name;
	enum kind kind;
	size_t at, count_at;
} fields[] = {
#define ONE(name, kind)                                        \
	{                                                      \
#name, kind, offsetof(struct pen_run, name), 0 \
	}
#define MANY(name, kind, count)                                                              \
	{                                                                                    \
#name, kind, offsetof(struct pen_run, name), offsetof(struct pen_run, count) \
	}
	MANY(sources, PATHS, source_count),
	ONE(into, TEXT),
	ONE(format, WORD),
	ONE(compression, WORD),
	ONE(key, TEXT),
	ONE(on_duplicate, WORD),
	ONE(validate, WORD),
	ONE(max_record, NUMBER),
	ONE(has_max_rejects, FLAG),
	ONE(max_rejects, NUMBER),
	ONE(max_rejects_ratio, WORD),
	ONE(durability, WORD),
	ONE(chunk_items, WORD),
	ONE(chunk_bytes, NUMBER),
	ONE(pause_ms, WORD),
	ONE(owner, TEXT),
	ONE(correlation_id, TEXT),
	ONE(traceparent, TEXT),
	MANY(labels, LIST, label_count),
	ONE(idempotency_key, TEXT),
	ONE(delimiter, WORD),
	ONE(quote, WORD),
	ONE(escape, WORD),
	ONE(header, WORD),
	ONE(header_names, TEXT),
	ONE(value, WORD),
	ONE(encoding, WORD),
	ONE(frame, WORD),
	MANY(include, LIST, include_count),
	MANY(exclude, LIST, exclude_count),
	ONE(follow_symlinks, FLAG),
	ONE(items, PATH),
	ONE(items_nul, FLAG),
	ONE(on_success, WORD),
	ONE(move_to, PATH),
	MANY(live, LIST, live_count),
	ONE(processor, TEXT),
	ONE(processor_config, TEXT),
	MANY(where, LIST, where_count),
	ONE(results, WORD),
	ONE(jobs, WORD),
	ONE(window, WORD),
	ONE(timeout_ns, NUMBER),
	ONE(has_max_retries, FLAG),
	ONE(max_retries, WORD),
	ONE(backoff, TEXT),
	ONE(jitter, TEXT),
	ONE(halt, TEXT),
	ONE(max_crashes, WORD),
	ONE(cache, FLAG),
	MANY(env, LIST, env_count),
	ONE(retry_for_ns, NUMBER),
	ONE(memory_max, NUMBER),
	ONE(output_max, NUMBER),
	MANY(flags, LIST, flag_count),
	ONE(rate_count, NUMBER),
	ONE(rate_window_ns, NUMBER),
	ONE(limits, FLAG),
	ONE(bulk, WORD),
	ONE(bulk_bytes, NUMBER),
#undef ONE
#undef MANY
};

_Static_assert(sizeof(enum pen_format) == 4 && sizeof(int) == 4, "enums are words");

/* ---- packing --------------------------------------------------------------------------------- */

/* NAME=, the pieces, NUL. Whether all was written is asked at the end (ferror). */
static void put_line_of(FILE *f, const char *name, const char *const pieces[4])
{
	(void)fwrite(name, 1, strlen(name), f);
	(void)fwrite("=", 1, 1, f);
	for (int i = 0; i < 4; i++)
		(void)fwrite(pieces[i], 1, strlen(pieces[i]), f);
	(void)fwrite("", 1, 1, f);
}

/* As the worker will find it. "-", "@LIST" and globs keep their meaning. */
static void put_path(FILE *f, const char *name, const char *path)
{
	/* A list, or a plugin, is named by a path as well. */
	const char *mark = *path == '@' ? "@" : !strncmp(path, "so:", 3) ? "so:" : "";
	char here[PATH_MAX] = "";

	path += strlen(mark);
	if (*path == '/' || !strcmp(path, "-") || !getcwd(here, sizeof here))
		put_line_of(f, name, (const char *const[]){ mark, path, "", "" });
	else
		put_line_of(f, name, (const char *const[]){ mark, here, "/", path });
}

static void put_text(FILE *f, const struct field *field, const char *text)
{
	if (!text)
		return;
	if (field->kind == PATH || field->kind == PATHS ||
	    (!strcmp(field->name, "processor") && !strncmp(text, "so:", 3)))
		put_path(f, field->name, text);
	else
		put_line_of(f, field->name, (const char *const[]){ text, "", "", "" });
}

static void put_number(FILE *f, const struct field *field, int64_t n)
{
	char text[32];

	if (!n)
		return;
	(void)snprintf(text, sizeof text, "%" PRId64, n);
	put_line_of(f, field->name, (const char *const[]){ text, "", "", "" });
}

int pen_order_pack(const struct pen_run *run, char **ret, size_t *ret_len)
{
	FILE *f = open_memstream(ret, ret_len);
	bool bad;

	if (!f)
		return -PEN_MEMORY;
	for (size_t i = 0; i < PEN_COUNT(fields); i++) {
		const struct field *field = &fields[i];
		const char *at = (const char *)run + field->at;

		switch (field->kind) {
		case TEXT:
		case PATH:
			put_text(f, field, *(const char *const *)(const void *)at);
			break;
		case LIST:
		case PATHS: {
			const char *const *list = *(const char *const *const *)(const void *)at;
			size_t count = *(const size_t *)(const void *)((const char *)run + field->count_at);

			for (size_t k = 0; k < count; k++)
				put_text(f, field, list[k]);
			break;
		}
		case NUMBER:
			put_number(f, field, (int64_t) * (const uint64_t *)(const void *)at);
			break;
		case WORD:
			put_number(f, field, *(const int32_t *)(const void *)at);
			break;
		case FLAG:
			put_number(f, field, *(const bool *)(const void *)at);
			break;
		}
	}
	bad = ferror(f) != 0;
	if (fclose(f) || bad) {
		free(*ret);
		return -PEN_MEMORY;
	}
	return 0;
}

/* ---- unpacking ------------------------------------------------------------------------------- */

static const struct field *field_of(const char *line, const char *equals)
{
	for (size_t i = 0; i < PEN_COUNT(fields); i++)
		if (!strncmp(fields[i].name, line, (size_t)(equals - line)) && !fields[i].name[equals - line])
			return &fields[i];
	return NULL;
}

static bool is_default(const struct field *field, const char *at)
{
	static const char zeros[8];

	switch (field->kind) {
	case FLAG:
		return !*(const bool *)(const void *)at;
	case WORD:
		return !memcmp(at, zeros, 4);
	default:
		return !memcmp(at, zeros, 8);
	}
}

/* Lists stand together, so that their elements are a run of the pointers. */
static int put_line(struct pen_run *run, const struct field *field, const char *text, const char **pointers,
		    size_t *used)
{
	char *at = (char *)run + field->at, *end;
	long long n;

	/* A field stands there once, as it was packed; what is at its default does not. */
	if (field->kind != LIST && field->kind != PATHS && !is_default(field, at))
		return -PEN_STORE_DAMAGED;

	if (field->kind == TEXT || field->kind == PATH) {
		*(const char **)(void *)at = text;
		return 0;
	}
	if (field->kind == LIST || field->kind == PATHS) {
		size_t *count = (size_t *)(void *)((char *)run + field->count_at);
		const char *const **list = (const char *const **)(void *)at;

		if (!*count)
			*list = pointers + *used;
		else if (*list + *count != pointers + *used)
			return -PEN_STORE_DAMAGED;
		pointers[(*used)++] = text;
		++*count;
		return 0;
	}
	if (*text != '-' && (*text < '0' || *text > '9'))
		return -PEN_STORE_DAMAGED;
	errno = 0;
	n = strtoll(text, &end, 10);
	if (*end || errno || (field->kind == WORD && n != (int32_t)n) || (field->kind == FLAG && n >> 1))
		return -PEN_STORE_DAMAGED;
	if (field->kind == NUMBER)
		*(uint64_t *)(void *)at = (uint64_t)n;
	else if (field->kind == WORD)
		*(int32_t *)(void *)at = (int32_t)n;
	else
		*(bool *)(void *)at = n != 0;
	return 0;
}

int pen_order_unpack(const char *bytes, size_t len, struct pen_run **ret)
{
	size_t lines = 0, used = 0;
	const char **pointers;
	struct pen_run *run;
	char *text;
	int rc = 0;

	if (!len || bytes[len - 1])
		return -PEN_STORE_DAMAGED;
	for (size_t i = 0; i < len; i++)
		lines += !bytes[i];
	run = malloc(sizeof *run + lines * sizeof *pointers + len);
	if (!run)
		return -PEN_MEMORY;
	memset(run, 0, sizeof *run);
	run->size = sizeof *run;
	pointers = (const char **)(void *)(run + 1);
	text = memcpy(pointers + lines, bytes, len);
	for (char *line = text; line < text + len && !rc; line += strlen(line) + 1) {
		char *equals = strchr(line, '=');
		const struct field *field = equals ? field_of(line, equals) : NULL;

		rc = !equals  ? -PEN_STORE_DAMAGED
		     : !field ? -PEN_STORE_NEWER
			      : put_line(run, field, equals + 1, pointers, &used);
	}
	if (rc) {
		free(run);
		return rc;
	}
	*ret = run;
	return 0;
}
