/* SPDX-License-Identifier: MIT */
/*
 * fuzz_where - conditions on items, against what must hold of any condition
 *
 * A condition that parses fits an item or not; `not (C)` then says the opposite, and `(C) and (C)`, `(C) or (C)` the
 * same. One that is refused says in which column. A broken promise aborts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/where.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct pen_item items[] = {
	{ .state = PEN_ITEM_COMMITTED },
	{ .seq = 41,
	  .state = PEN_ITEM_FAILED,
	  .code = -PEN_JSON_BAD,
	  .source = "in/a b.json",
	  .line = 7,
	  .message = "connection timeout (try again)",
	  .key = { "a\0b", 3 },
	  .attempts = 4 },
	{ .seq = UINT64_MAX,
	  .state = PEN_ITEM_RETRYING,
	  .message = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab" },
};
#define ITEMS (sizeof items / sizeof items[0])

/* Where it still parses with what is put around it (the limits are reached sooner), it must say what is expected. */
static void expect(const char *text, const char *first, const char *join, const bool *yes)
{
	static char built[2 * PEN_WHERE_BYTES + 64];
	struct pen_where *where = NULL;

	if (join)
		snprintf(built, sizeof built, "(%s) %s (%s)", text, join, text);
	else
		snprintf(built, sizeof built, "%s (%s)", first, text);
	if (pen_where_parse(built, &where, NULL))
		return;
	for (size_t i = 0; i < ITEMS; i++) {
		if (pen_where_match(where, &items[i]) != (yes[i] == (join != NULL))) {
			fprintf(stderr, "fuzz_where: item %zu: %s\n", i, built);
			abort();
		}
	}
	pen_where_free(where);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[PEN_WHERE_BYTES + 2];
	struct pen_where *where = NULL;
	struct pen_failure why = { 0 };
	bool yes[ITEMS];

	if (size >= sizeof text || memchr(data, 0, size))
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	if (pen_where_parse(text, &where, &why)) {
		if (!strstr(why.text, "column ") && size <= PEN_WHERE_BYTES)
			abort();
		return 0;
	}
	for (size_t i = 0; i < ITEMS; i++)
		yes[i] = pen_where_match(where, &items[i]);
	pen_where_free(where);
	expect(text, "not", NULL, yes);
	expect(text, NULL, "and", yes);
	expect(text, NULL, "or", yes);
	return 0;
}
