/* SPDX-License-Identifier: MIT */
/*
 * fuzz_log - any bytes as message, ids, names and values of a line: what comes out is one line of valid JSON
 *
 * An input is cut at its NUL bytes: message, correlation id, user, then names and texts of fields in turn. The line
 * must be an object by the strict validator, without control bytes, within its length.
 * A broken promise aborts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/json.h"
#include "ring/log_line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void broken(const char *what, const char *line, size_t len)
{
	fprintf(stderr, "fuzz_log: %s: %.*s\n", what, (int)len, line);
	abort();
}

static const char *part(const char **at, const char *end)
{
	const char *begin = *at;

	if (begin >= end)
		return "";
	*at += strlen(begin) + 1;
	return begin;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char line[PEN_LOG_LINE_BYTES];
	static struct pen_log_scratch scratch;
	struct pen_log_field fields[PEN_LOG_FIELDS + 1];
	struct pen_json_flaw flaw;
	const struct pen_log_record *rec;
	struct pen_log_line put = { .size = sizeof put };
	char *text = malloc(size + 1);
	const char *at = text, *end = text + size;
	size_t len, n = 0;

	if (!text || size > 2 * PEN_LOG_RECORD_BYTES) {
		free(text);
		return 0;
	}
	memcpy(text, data, size);
	text[size] = 0;
	if (!pen_log_started())
		pen_log_start(&pen_clock_real);
	put.message = part(&at, end);
	put.context.correlation_id = part(&at, end);
	put.context.user_id = part(&at, end);
	for (; n < PEN_LOG_FIELDS + 1 && at < end; n++) {
		const char *name = part(&at, end);

		fields[n] = PEN_LOG_TEXT(name, part(&at, end));
	}
	put.fields = fields;
	put.field_count = n;
	if (pen_log_put(&put) || !(rec = pen_log_peek()))
		broken("nothing was put", "", 0);
	len = pen_log_line_make(rec, 1, &scratch, line, sizeof line - 1);
	line[len++] = '}';
	pen_log_pass();
	if (len >= PEN_LOG_LINE_BYTES - 4096)
		broken("too long", line, len);
	for (size_t i = 0; i < len; i++)
		if ((uint8_t)line[i] < 0x20 || line[i] == 0x7f)
			broken("a control byte", line, len);
	if (!pen_json_valid(line, len, &flaw))
		broken("no JSON", line, len);
	free(text);
	return 0;
}
