/* SPDX-License-Identifier: MIT */
#include "engine/halt.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "ring/base.h"
#include "ring/error.h"

#define ACCEPTED "never, or soon or now with fail, success or done: soon,fail=5%, now,fail=1"

static const char *const whens[] = { "never", "soon", "now" };
static const char *const whys[] = { "fail", "success", "done" };

static const struct {
	const char *text;
	struct pen_halt halt;
} numbers[] = {
	{ "0", { PEN_HALT_NEVER, PEN_HALT_FAIL, 0, 0 } },
	{ "1", { PEN_HALT_SOON, PEN_HALT_FAIL, 1, 0 } },
	{ "2", { PEN_HALT_NOW, PEN_HALT_FAIL, 1, 0 } },
	{ "-1", { PEN_HALT_SOON, PEN_HALT_SUCCESS, 1, 0 } },
	{ "-2", { PEN_HALT_NOW, PEN_HALT_SUCCESS, 1, 0 } },
};

static int bad(struct pen_failure *why, const char *text, const char *what)
{
	return pen_fail(why, -PEN_USAGE, 0, "--halt '%.64s' %s; it takes %s", text, what, ACCEPTED);
}

/* The index of the word of this length, or -1. */
static int find(const char *const *words, size_t count, const char *text, size_t len)
{
	for (size_t i = 0; i < count; i++)
		if (strlen(words[i]) == len && memcmp(words[i], text, len) == 0)
			return (int)i;
	return -1;
}

/* X, Y% or Y.YYYY%. NULL, or what is wrong. */
static const char *amount(struct pen_halt *halt, const char *text)
{
	size_t len = strspn(text, "0123456789"), places = 0;
	uint64_t n = 0, part = 0;

	if (len == 0)
		return "has no number";
	for (size_t i = 0; i < len; i++)
		if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, text[i] - '0', &n))
			return "has a number that is too large";
	text += len;
	if (*text == '.') {
		places = strspn(++text, "0123456789");
		if (places == 0 || places > 4)
			return "has not one to four places behind the point";
		for (size_t i = 0; i < 4; i++)
			part = part * 10 + (uint64_t)(i < places ? text[i] - '0' : 0);
		text += places;
	}
	if (*text == '%' && !text[1]) {
		if (n > 100 || (n == 100 && part))
			return "is above 100%";
		halt->ratio = (uint32_t)(n * (PEN_RATIO_ONE / 100) + part);
		return halt->ratio ? NULL : "would halt before the first item";
	}
	if (*text || places)
		return "ends in neither a number nor %";
	halt->count = n;
	return n ? NULL : "would halt before the first item";
}

static const char *parse(struct pen_halt *to, const char *text)
{
	size_t len = strcspn(text, ",");
	int i;

	for (size_t n = 0; n < PEN_COUNT(numbers); n++) {
		if (strcmp(text, numbers[n].text) == 0) {
			*to = numbers[n].halt;
			return NULL;
		}
	}
	if (strspn(text, "0123456789.") && strchr(text, '%')) {
		to->when = PEN_HALT_SOON;
		return amount(to, text);
	}
	i = find(whens, PEN_COUNT(whens), text, len);
	if (i < 0)
		return "does not begin with never, soon or now";
	to->when = (enum pen_halt_when)i;
	if (to->when == PEN_HALT_NEVER)
		return text[len] ? "has something behind never" : NULL;
	if (!text[len])
		return "does not say why";
	text += len + 1;
	len = strcspn(text, "=");
	i = find(whys, PEN_COUNT(whys), text, len);
	if (i < 0)
		return "has another reason than fail, success or done";
	to->why = (enum pen_halt_why)i;
	return text[len] ? amount(to, text + len + 1) : "has no number";
}

int pen_halt_parse(struct pen_halt *ret, const char *text, struct pen_failure *why)
{
	struct pen_halt to = { 0 };
	const char *what = parse(&to, text);

	if (what)
		return bad(why, text, what);
	*ret = to;
	return 0;
}

enum pen_halt_when pen_halt_check(const struct pen_halt *halt, const struct pen_halt_counts *counts)
{
	uint64_t done, n, of;
	bool reached;

	if (halt->when == PEN_HALT_NEVER)
		return PEN_HALT_NEVER;
	if (__builtin_add_overflow(counts->succeeded, counts->failed, &done))
		done = UINT64_MAX;
	n = halt->why == PEN_HALT_FAIL	    ? counts->failed
	    : halt->why == PEN_HALT_SUCCESS ? counts->succeeded
					    : done;
	if (halt->count) {
		reached = n >= halt->count;
	} else if (counts->total || halt->why != PEN_HALT_DONE) {
		/* A total that was an estimate does not make more than all of it. */
		of = counts->total ? pen_max(counts->total, done) : done;
		reached = (counts->total || done >= PEN_HALT_LEAST) && n &&
			  (unsigned __int128)n * PEN_RATIO_ONE >= (unsigned __int128)of * halt->ratio;
	} else {
		reached = false;
	}
	return reached ? halt->when : PEN_HALT_NEVER;
}

size_t pen_halt_text(const struct pen_halt *halt, char out[PEN_HALT_TEXT])
{
	int len;

	if (halt->when == PEN_HALT_NEVER)
		return (size_t)snprintf(out, PEN_HALT_TEXT, "never");
	if (halt->count)
		return (size_t)snprintf(out, PEN_HALT_TEXT, "%s,%s=%llu", whens[halt->when], whys[halt->why],
					(unsigned long long)halt->count);
	len = snprintf(out, PEN_HALT_TEXT, "%s,%s=%u.%04u", whens[halt->when], whys[halt->why],
		       halt->ratio / (PEN_RATIO_ONE / 100), halt->ratio % (PEN_RATIO_ONE / 100));
	while (out[len - 1] == '0')
		len--;
	if (out[len - 1] == '.')
		len--;
	out[len++] = '%';
	out[len] = '\0';
	return (size_t)len;
}
