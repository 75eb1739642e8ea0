/* SPDX-License-Identifier: MIT */
/*
 * fuzz_glob - the matcher against a naive one that tries every way
 *
 * An input is a pattern, a newline, and a path. Where the pattern parses and is short enough for the naive
 * matcher, both must agree; whatever it is, matching must end.
 * A broken promise aborts. (tests/cli/trees.py holds the matcher to Python's fnmatch.)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/glob.h"

#define NAIVE_STARS 6

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Does the set behind '[' hold c? *ret_behind: what follows its ']'. The pattern is known to parse. */
static bool naive_set(const char *p, unsigned char c, const char **ret_behind)
{
	bool negated = *p == '!' || *p == '^', yes = false;

	p += negated;
	for (bool first = true; *p != ']' || first; first = false) {
		unsigned char low, high;

		p += *p == '\\';
		low = high = (unsigned char)*p++;
		if (*p == '-' && p[1] != ']') {
			p++;
			p += *p == '\\';
			high = (unsigned char)*p++;
		}
		yes |= low <= c && c <= high;
	}
	*ret_behind = p + 1;
	return yes != negated && c != '/';
}

static bool naive(const char *begin, const char *p, const char *t, const char *end)
{
	const char *behind;
	size_t stars;

	if (!*p)
		return t == end;
	stars = strspn(p, "*");
	if (stars >= 2 && p[stars] == '/' && (p == begin || p[-1] == '/')) {
		if (naive(begin, p + stars + 1, t, end))
			return true;
		for (; t < end; t++)
			if (*t == '/' && naive(begin, p + stars + 1, t + 1, end))
				return true;
		return false;
	}
	if (stars) {
		for (;; t++) {
			if (naive(begin, p + stars, t, end))
				return true;
			if (t == end || (stars == 1 && *t == '/'))
				return false;
		}
	}
	if (t == end)
		return false;
	switch (*p) {
	case '?':
		return *t != '/' && naive(begin, p + 1, t + 1, end);
	case '[':
		return naive_set(p + 1, (unsigned char)*t, &behind) && naive(begin, behind, t + 1, end);
	case '\\':
		p++;
		break;
	default:
		break;
	}
	return *p == *t && naive(begin, p + 1, t + 1, end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *nl = memchr(data, '\n', size);
	char pattern[PEN_GLOB_BYTES + 3], *begin = pattern;
	struct pen_glob *glob = NULL;
	const char *what, *path, *end, *t;
	size_t len, stars = 0;
	bool got;

	len = nl ? (size_t)(nl - data) : size;
	if (!nl || len > PEN_GLOB_BYTES + 1 || memchr(data, 0, size))
		return 0;
	memcpy(pattern, data, len);
	pattern[len] = 0;
	path = t = (const char *)nl + 1;
	end = (const char *)data + size;
	if (pen_glob_parse(pattern, &glob, &what))
		return 0;
	got = pen_glob_match(glob, path, (size_t)(end - path), true);
	pen_glob_free(glob);
	for (size_t i = 0; i < len; i++)
		stars += pattern[i] == '*';
	if (stars > NAIVE_STARS || end - path > 64)
		return 0;
	if (len > 1 && pattern[len - 1] == '/')
		pattern[len - 1] = 0;
	if (!strchr(pattern, '/'))
		for (const char *s = path; s < end; s++)
			t = *s == '/' ? s + 1 : t;
	begin += *begin == '/';
	if (naive(begin, begin, t, end) != got) {
		fprintf(stderr, "fuzz_glob: '%s' '%.*s': %d\n", pattern, (int)(end - path), path, got);
		abort();
	}
	return 0;
}
