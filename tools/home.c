/* SPDX-License-Identifier: MIT */
#include "tools/home.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/logs.h"
#include "tools/option.h"
#include "tools/say.h"
#include "tools/text.h"

#define SETTINGS "penstock.toml"
#define SETTINGS_MAX 65536
#define TIDY_NS 20000000u

static int wrong(unsigned line, const char *what)
{
	pen_say_error(-PEN_USAGE, "%s", what);
	pen_say_line("  --> " SETTINGS ":%u", line);
	return 2;
}

/* The value of `store = "..."` behind the "=". */
static int store_value(const char *p, unsigned line, char ret[PEN_HOME_PATH])
{
	size_t at = 0;
	char quote;

	p += strspn(p, " \t");
	quote = *p++;
	if (quote != '"' && quote != '\'')
		return wrong(line, "the value of store must be a string in quotes");
	for (; *p && *p != '\n' && *p != quote; p++) {
		if (quote == '"' && *p == '\\') {
			p++;
			if (*p != '"' && *p != '\\')
				return wrong(
					line,
					"only \\\" and \\\\ are understood in a string; use '...' for others");
		}
		if (at + 1 >= PEN_HOME_PATH)
			return wrong(line, "the store's path is too long");
		ret[at++] = *p;
	}
	if (*p != quote)
		return wrong(line, "the string has no end on its line");
	p += 1 + strspn(p + 1, " \t\r");
	if (*p && *p != '\n' && *p != '#')
		return wrong(line, "something follows the string");
	if (at == 0)
		return wrong(line, "the store's path is empty");
	ret[at] = '\0';
	return 0;
}

/* The value of `limits = true`. */
static int limits_value(const char *p, unsigned line, bool *ret)
{
	size_t len;

	p += strspn(p, " \t");
	len = strcspn(p, " \t\r\n#");
	*ret = len == 4 && !strncmp(p, "true", 4);
	if (!*ret && (len != 5 || strncmp(p, "false", 5) != 0))
		return wrong(line, "the value of limits is true or false");
	p += len;
	p += strspn(p, " \t\r");
	return *p && *p != '\n' && *p != '#' ? wrong(line, "something follows the value") : 0;
}

static int unknown_setting(unsigned line, const char *key)
{
	char near[64], what[256];
	bool meant;

	pen_text_escape(near, sizeof near, key, strlen(key), NULL);
	snprintf(what, sizeof what, "there is no setting '%s' in this version", key);
	meant = pen_option_near(key, "store|limits", '|', near, sizeof near);
	wrong(line, what);
	if (meant)
		pen_say_advice("did you mean %s?", near);
	else
		pen_say_advice("it knows: store = \"DIRECTORY\", limits = true");
	return 2;
}

int pen_home_settings(const char *text, char ret[PEN_HOME_PATH], bool *ret_limits)
{
	bool limits_set = false;
	char key[64];

	ret[0] = '\0';
	*ret_limits = false;
	for (unsigned line = 1; *text; line++) {
		const char *p = text + strspn(text, " \t\r");
		size_t len = strcspn(p, " \t\r\n=#");

		if (*p && *p != '\n' && *p != '#') {
			bool store;

			snprintf(key, sizeof key, "%.*s", (int)len, p);
			store = !strcmp(key, "store");
			if (!store && strcmp(key, "limits") != 0)
				return unknown_setting(line, key);
			p += len + strspn(p + len, " \t");
			if (*p != '=')
				return wrong(line, store ? "store needs a value: store = \"DIRECTORY\""
							 : "limits needs a value: limits = true");
			if (store ? ret[0] != 0 : limits_set)
				return wrong(line, store ? "store is set twice" : "limits is set twice");
			if (store ? store_value(p + 1, line, ret) : limits_value(p + 1, line, ret_limits))
				return 2;
			limits_set |= !store;
		}
		text += strcspn(text, "\n");
		text += *text == '\n';
	}
	return 0;
}

/* 0 with path filled or empty, or 2. */
static int read_settings(char path[PEN_HOME_PATH], bool *ret_limits)
{
	static char text[SETTINGS_MAX];
	int fd = open(SETTINGS, O_RDONLY | O_CLOEXEC);
	ssize_t n;
	size_t len = 0;

	path[0] = '\0';
	*ret_limits = false;
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return 0;
	while (fd >= 0 && len < sizeof text - 1 && (n = read(fd, text + len, sizeof text - 1 - len)) != 0) {
		if (n > 0)
			len += (size_t)n;
		else if (errno != EINTR)
			break;
	}
	if (fd < 0 || (len < sizeof text - 1 && n < 0)) {
		pen_say_error(-PEN_USAGE, SETTINGS " cannot be read: %s", strerror(errno));
		if (fd >= 0)
			close(fd);
		return 2;
	}
	close(fd);
	text[len] = '\0';
	if (strlen(text) != len || len == sizeof text - 1)
		return wrong(1, "this is no settings file (too large, or NUL bytes)");
	return pen_home_settings(text, path, ret_limits);
}

int pen_home_limits(bool *ret)
{
	char path[PEN_HOME_PATH];

	return read_settings(path, ret);
}

static int chosen(struct pen_home *ret, const char *origin, const char *path, const char *below)
{
	ret->origin = origin;
	ret->standard = *below != '\0';
	if ((size_t)snprintf(ret->path, sizeof ret->path, "%s%s", path, below) < sizeof ret->path)
		return 0;
	pen_say_error(-PEN_USAGE, "the store's path (from %s) is too long", origin);
	return 2;
}

int pen_home_find(const struct pen_args *args, struct pen_home *ret)
{
	const struct pen_value *option = &args->value[PEN_O_STORE];
	const char *value;
	char path[PEN_HOME_PATH];
	bool limits;
	int rc;

	if (option->set && *option->text == '\0') {
		pen_say_error(-PEN_USAGE, "--store needs a directory");
		return 2;
	}
	if (option->set)
		return chosen(ret, "--store", option->text, "");
	if ((value = getenv("PENSTOCK_STORE")) && *value)
		return chosen(ret, "$PENSTOCK_STORE", value, "");
	rc = read_settings(path, &limits);
	if (rc || path[0])
		return rc ? rc : chosen(ret, SETTINGS, path, "");
	/* The XDG rules: a relative path there is as good as none. */
	if ((value = getenv("XDG_DATA_HOME")) && *value == '/')
		return chosen(ret, "$XDG_DATA_HOME", value, "/penstock");
	if ((value = getenv("HOME")) && *value)
		return chosen(ret, "$HOME", value, "/.local/share/penstock");
	pen_say_error(-PEN_USAGE,
		      "no store: neither --store nor $PENSTOCK_STORE, $XDG_DATA_HOME or $HOME is set");
	return 2;
}

/* What is done to a store is logged. 0, or the exit status, and the store is closed. */
static int begin_log(const struct pen_args *args, const char *path, struct pen_store *store)
{
	int rc = pen_logs_begin(args, path);

	if (rc)
		pen_store_close(store);
	return rc;
}

int pen_home_open(const struct pen_args *args, bool writing, struct pen_store **ret)
{
	struct pen_store_options options = { .size = sizeof options, .read_only = !writing };
	struct pen_failure why = { 0 };
	struct pen_home home;
	int rc = pen_home_find(args, &home);

	if (rc)
		return rc;
	rc = pen_store_open(home.path, &options, ret, &why);
	if (rc < 0) {
		rc = pen_say_failure(rc, &why);
		pen_say_line("  --> %s (from %s)", home.path, home.origin);
		return rc;
	}
	return writing ? begin_log(args, home.path, *ret) : 0;
}

/* Makes what is missing above the standard place, as the XDG rules want it. */
static void make_parents(const char *path)
{
	char part[PEN_HOME_PATH];

	for (size_t i = 1; i < sizeof part - 1 && path[i]; i++) {
		if (path[i] != '/')
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		if (mkdir(part, 0700) != 0 && errno != EEXIST)
			return; /* opening the store will say what is wrong */
	}
}

int pen_home_create(const struct pen_args *args, struct pen_home *ret_home, struct pen_store **ret)
{
	struct pen_store_options options = { .size = sizeof options, .create = true };
	struct pen_failure why = { 0 };
	char file[PEN_HOME_PATH + 16];
	bool fresh;
	int rc = pen_home_find(args, ret_home);

	if (rc)
		return rc;
	if (ret_home->standard)
		make_parents(ret_home->path);
	snprintf(file, sizeof file, "%s/data.mdb", ret_home->path);
	fresh = access(file, F_OK) != 0 && errno == ENOENT;
	rc = pen_store_open(ret_home->path, &options, ret, &why);
	if (rc < 0) {
		rc = pen_say_failure(rc, &why);
		pen_say_line("  --> %s (from %s)", ret_home->path, ret_home->origin);
		return rc;
	}
	if (fresh)
		pen_say_note("new store %s", ret_home->path);
	return begin_log(args, ret_home->path, *ret);
}

void pen_home_tidy(struct pen_store *store)
{
	(void)pen_retain_some(store, TIDY_NS);
}
