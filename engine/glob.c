/* SPDX-License-Identifier: MIT */
/*
 * A pattern is a row of steps, and matching follows every way through them at once: the set of steps that may
 * come next is a bit map, each byte of the path leads from one set to the next. No way is ever tried again, so
 * the worst pattern costs its length times the path's.
 */
#include "engine/glob.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ring/base.h"
#include "ring/error.h"

enum step_kind {
	STEP_BYTE = 1,
	STEP_ANY,  /* ? */
	STEP_SET,  /* [...] */
	STEP_STAR, /* * */
	STEP_DEEP, /* ** */
	STEP_SKIP, /* **'/', first half: no directory at all */
	STEP_DIRS, /* second half: one or more, each with its '/' */
};

struct step {
	uint8_t kind, byte;
	uint16_t set; /* index */
};

#define WORDS ((PEN_GLOB_BYTES + 1) / 64 + 1)

struct pen_glob {
	char *pattern; /* without the '/' at its end */
	bool whole;    /* against the whole path */
	bool dirs;     /* directories alone */
	uint32_t count, words;
	struct step *steps;
	uint8_t (*sets)[32];
};

/* ---- parsing ------------------------------------------------------------------------------- */

static bool in_set(const uint8_t set[32], unsigned char c)
{
	return set[c / 8] >> (c % 8) & 1;
}

/* One byte of a set, perhaps escaped; NULL when the pattern ends in it. */
static const char *set_byte(const char *at, unsigned char *ret)
{
	if (*at == '\\')
		at++;
	*ret = (unsigned char)*at;
	return *at ? at + 1 : NULL;
}

/* The set behind '['. Returns what follows its ']', or NULL with *ret_what. */
static const char *parse_set(const char *at, uint8_t set[32], const char **ret_what)
{
	bool negated = *at == '!' || *at == '^', first = true;
	unsigned char low, high;

	*ret_what = "has a '[' that is not closed";
	at += negated;
	for (; *at != ']' || first; first = false) {
		if (at[0] == '[' && (at[1] == ':' || at[1] == '.' || at[1] == '=')) {
			*ret_what = "names a class of characters: write the range, like [0-9]";
			return NULL;
		}
		at = set_byte(at, &low);
		if (!at)
			return NULL;
		high = low;
		if (at[0] == '-' && at[1] && at[1] != ']') {
			at = set_byte(at + 1, &high);
			if (!at)
				return NULL;
			if (high < low) {
				*ret_what = "has a range that ends before it begins";
				return NULL;
			}
		}
		for (unsigned c = low; c <= high; c++)
			set[c / 8] |= (uint8_t)(1u << (c % 8));
	}
	for (int i = 0; negated && i < 32; i++)
		set[i] = (uint8_t)~set[i];
	set['/' / 8] &= (uint8_t) ~(1u << ('/' % 8));
	return at + 1;
}

static void add_step(struct pen_glob *glob, enum step_kind kind, char byte)
{
	glob->steps[glob->count++] = (struct step){ .kind = (uint8_t)kind, .byte = (uint8_t)byte };
}

/* The stars at `at`. Returns what follows them, and the slash they swallow. */
static const char *parse_stars(struct pen_glob *glob, const char *begin, const char *at)
{
	size_t n = strspn(at, "*");
	bool starts = at == begin || at[-1] == '/';

	at += n;
	if (n == 1) {
		add_step(glob, STEP_STAR, 0);
	} else if (starts && *at == '/') {
		add_step(glob, STEP_SKIP, 0);
		add_step(glob, STEP_DIRS, 0);
		at++;
	} else {
		add_step(glob, STEP_DEEP, 0);
	}
	return at;
}

static int parse(struct pen_glob *glob, const char *begin, const char **ret_what)
{
	uint16_t sets = 0;

	for (const char *at = begin; *at;) {
		switch (*at) {
		case '*':
			at = parse_stars(glob, begin, at);
			break;
		case '?':
			add_step(glob, STEP_ANY, 0);
			at++;
			break;
		case '[':
			add_step(glob, STEP_SET, 0);
			glob->steps[glob->count - 1].set = sets;
			at = parse_set(at + 1, glob->sets[sets++], ret_what);
			if (!at)
				return -PEN_USAGE;
			break;
		case '\\':
			if (!at[1]) {
				*ret_what = "ends with a backslash";
				return -PEN_USAGE;
			}
			add_step(glob, STEP_BYTE, at[1]);
			at += 2;
			break;
		default:
			add_step(glob, STEP_BYTE, *at++);
		}
	}
	glob->words = glob->count / 64 + 1;
	return 0;
}

/* What can be said of a pattern before it is taken apart. */
static const char *refuse(const char *pattern)
{
	if (!*pattern || !strcmp(pattern, "/"))
		return "is empty";
	if (strlen(pattern) > PEN_GLOB_BYTES)
		return "is longer than 1023 bytes";
	if (*pattern == '!')
		return "begins with '!', which turns nothing round here: --exclude does; \\! is the letter";
	return NULL;
}

int pen_glob_parse(const char *pattern, struct pen_glob **ret, const char **ret_what)
{
	size_t len = strlen(pattern), sets = 0;
	struct pen_glob *glob;
	int rc;

	*ret_what = refuse(pattern);
	if (*ret_what)
		return -PEN_USAGE;
	for (const char *p = pattern; *p; p++)
		sets += *p == '[';
	glob = calloc(1, sizeof *glob + sets * 32 + (len + 1) * sizeof(struct step) + len + 1);
	if (!glob)
		return -ENOMEM;
	glob->sets = (uint8_t(*)[32])(glob + 1);
	glob->steps = (struct step *)(void *)(glob->sets + sets);
	glob->pattern = (char *)(glob->steps + len + 1);
	memcpy(glob->pattern, pattern, len + 1);
	if (len > 1 && pattern[len - 1] == '/') {
		glob->dirs = true;
		glob->pattern[len - 1] = 0;
	}
	glob->whole = strchr(glob->pattern, '/');
	rc = parse(glob, glob->pattern + (*glob->pattern == '/'), ret_what);
	if (rc) {
		free(glob);
		return rc;
	}
	*ret = glob;
	return 0;
}

void pen_glob_free(struct pen_glob *glob)
{
	free(glob);
}

/* ---- matching ------------------------------------------------------------------------------ */

/* Step i may come next, and with it what follows steps that may stand for nothing. */
static void reach(const struct pen_glob *glob, uint64_t *next, uint32_t i)
{
	for (;;) {
		next[i / 64] |= 1ull << (i % 64);
		if (i == glob->count)
			return;
		switch (glob->steps[i].kind) {
		case STEP_STAR:
		case STEP_DEEP:
			i++;
			break;
		case STEP_SKIP:
			next[(i + 1) / 64] |= 1ull << ((i + 1) % 64);
			i += 2;
			break;
		default:
			return;
		}
	}
}

static void advance(const struct pen_glob *glob, uint32_t i, unsigned char c, uint64_t *next)
{
	const struct step *step = &glob->steps[i];

	switch (step->kind) {
	case STEP_BYTE:
		if (c == step->byte)
			reach(glob, next, i + 1);
		break;
	case STEP_ANY:
		if (c != '/')
			reach(glob, next, i + 1);
		break;
	case STEP_SET:
		if (in_set(glob->sets[step->set], c))
			reach(glob, next, i + 1);
		break;
	case STEP_STAR:
		if (c != '/')
			reach(glob, next, i);
		break;
	case STEP_DEEP:
		reach(glob, next, i);
		break;
	case STEP_DIRS:
		next[i / 64] |= 1ull << (i % 64);
		if (c == '/')
			reach(glob, next, i + 1);
		break;
	default: /* SKIP takes no byte */
		break;
	}
}

static bool match(const struct pen_glob *glob, const char *text, size_t len)
{
	uint64_t sets[2][WORDS] = { { 0 } };
	uint64_t *now = sets[0], *next = sets[1], *swap;

	reach(glob, now, 0);
	for (size_t n = 0; n < len; n++) {
		bool any = false;

		memset(next, 0, glob->words * sizeof *next);
		for (uint32_t w = 0; w < glob->words; w++) {
			for (uint64_t left = now[w]; left; left &= left - 1) {
				uint32_t i = w * 64 + (uint32_t)__builtin_ctzll(left);

				if (i < glob->count)
					advance(glob, i, (unsigned char)text[n], next);
			}
		}
		for (uint32_t w = 0; w < glob->words; w++)
			any |= next[w] != 0;
		if (!any)
			return false;
		swap = now;
		now = next;
		next = swap;
	}
	return now[glob->count / 64] >> (glob->count % 64) & 1;
}

bool pen_glob_match(const struct pen_glob *glob, const char *path, size_t len, bool dir)
{
	const char *slash = glob->whole ? NULL : memrchr(path, '/', len);

	if (glob->dirs && !dir)
		return false;
	return slash ? match(glob, slash + 1, (size_t)(path + len - slash - 1)) : match(glob, path, len);
}

/* ---- filters ------------------------------------------------------------------------------- */

static int parse_list(const char *option, const char *const *patterns, size_t count, struct pen_glob ***ret,
		      size_t *ret_count, struct pen_failure *why)
{
	if (count > PEN_GLOBS_MAX)
		return pen_fail(why, -PEN_USAGE, 0, "%zu times --%s; at most %u are kept", count, option,
				PEN_GLOBS_MAX);
	*ret = calloc(count + 1, sizeof **ret);
	if (!*ret)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		const char *what = "";
		int rc = pen_glob_parse(patterns[i], &(*ret)[i], &what);

		if (rc == -ENOMEM)
			return rc;
		if (rc)
			return pen_fail(why, rc, 0, "the pattern '%s' of --%s %s", patterns[i], option, what);
		*ret_count = i + 1;
	}
	return 0;
}

int pen_filter_init(struct pen_filter *filter, const struct pen_run *run, struct pen_failure *why)
{
	int rc;

	*filter = (struct pen_filter){ 0 };
	rc = parse_list("include", run->include, run->include_count, &filter->include, &filter->include_count,
			why);
	if (!rc)
		rc = parse_list("exclude", run->exclude, run->exclude_count, &filter->exclude,
				&filter->exclude_count, why);
	for (size_t i = 0; i < filter->include_count && !rc; i++) {
		const struct pen_glob *glob = filter->include[i];

		if (glob && glob->dirs) /* there is one for each */
			rc = pen_fail(
				why, -PEN_USAGE, 0,
				"--include chooses files, and '%s' names directories: '%s**' takes all in one",
				run->include[i], run->include[i]);
	}
	return rc;
}

static void free_list(struct pen_glob **list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		pen_glob_free(list[i]);
	free(list);
}

void pen_filter_fini(struct pen_filter *filter)
{
	free_list(filter->include, filter->include_count);
	free_list(filter->exclude, filter->exclude_count);
	*filter = (struct pen_filter){ 0 };
}

static bool any(struct pen_glob *const *list, size_t count, const char *path, size_t len, bool dir)
{
	for (size_t i = 0; i < count; i++)
		if (pen_glob_match(list[i], path, len, dir))
			return true;
	return false;
}

static bool sign_list(const char *option, struct pen_glob *const *list, size_t count, FILE *f)
{
	bool ok = true;

	for (size_t i = 0; i < count && ok; i++)
		ok = fwrite(option, 8, 1, f) == 1 && fputc(list[i]->dirs ? 1 : 0, f) != EOF &&
		     fwrite(list[i]->pattern, strlen(list[i]->pattern) + 1, 1, f) == 1;
	return ok;
}

bool pen_filter_sign(const struct pen_filter *filter, FILE *f)
{
	return sign_list("include", filter->include, filter->include_count, f) &&
	       sign_list("exclude", filter->exclude, filter->exclude_count, f);
}

bool pen_filter_file(const struct pen_filter *filter, const char *path, size_t len)
{
	return !any(filter->exclude, filter->exclude_count, path, len, false) &&
	       (!filter->include_count || any(filter->include, filter->include_count, path, len, false));
}

bool pen_filter_dir(const struct pen_filter *filter, const char *path, size_t len)
{
	return !any(filter->exclude, filter->exclude_count, path, len, true);
}
