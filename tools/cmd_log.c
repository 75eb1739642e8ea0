/* SPDX-License-Identifier: MIT */
/*
 * log: the lines of a log, in the order of their time, across days; and which levels are kept
 *
 * Files are read one day after the other. Several processes write into each, a moment apart, so the last lines read
 * wait in a small window and leave it earliest first.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "include/penstock.h"
#include "tools/cmd.h"
#include "tools/home.h"
#include "tools/interrupt.h"
#include "tools/json.h"
#include "tools/logs.h"
#include "tools/out.h"
#include "tools/say.h"
#include "tools/text.h"

#define WINDOW 8192u
#define WINDOW_BYTES (16u << 20)
#define LINE_MAX 131072u /* what is longer is no line of ours */
#define LOOK_MS 200u
#define NAME_MAX_LEN 64u
#define STAMP 24u /* bytes of a time */

struct waiting {
	char *line;
	size_t len;
	char stamp[STAMP + 1];
};

struct view {
	const struct pen_cmd *cmd;
	struct pen_out out;
	bool json, color, follow;
	const char *prefix; /* of the files that are read */
	int dir;
	/* What is shown. */
	int level;	  /* up to this; 0: all */
	const char *kind; /* NULL: all */
	const char *correlation;
	char batch[17];
	char since[PEN_TEXT_NUMBER]; /* "": from the beginning */
	/* The file in hand. */
	char name[NAME_MAX_LEN];
	FILE *file;
	char *part; /* of a line whose end is not there yet */
	size_t part_len;
	struct waiting window[WINDOW];
	size_t held, held_bytes;
};

/* ---- which lines ----------------------------------------------------------------------------- */

static bool text_is(const char *line, size_t len, const char *name, const char *want)
{
	size_t want_len = strlen(want), n;
	const void *at;

	return pen_jw_member(line, len, name, &at, &n) && n == want_len + 2 &&
	       !memcmp((const char *)at + 1, want, want_len);
}

static bool wanted(const struct view *v, const char *line, size_t len)
{
	char word[16];
	const void *at;
	size_t n;
	int level;

	if (v->level) {
		if (!pen_jw_member(line, len, "level", &at, &n) || n < 3 || n - 2 >= sizeof word)
			return false;
		memcpy(word, (const char *)at + 1, n - 2);
		word[n - 2] = 0;
		level = pen_log_level_find(word);
		if (level < 1 || level > v->level)
			return false;
	}
	return (!v->kind || text_is(line, len, "kind", v->kind)) &&
	       (!v->correlation || text_is(line, len, "correlationId", v->correlation)) &&
	       (!v->batch[0] || text_is(line, len, "batch", v->batch));
}

/* ---- in order -------------------------------------------------------------------------------- */

static void show(struct view *v, const struct waiting *w)
{
	if (v->json) {
		pen_out_bytes(&v->out, w->line, w->len);
		pen_out_char(&v->out, '\n');
	} else {
		pen_logs_view(&v->out, w->line, w->len, v->color);
	}
}

static void release(struct view *v, size_t keep)
{
	size_t n = v->held > keep ? v->held - keep : 0;

	for (size_t i = 0; i < n; i++) {
		show(v, &v->window[i]);
		v->held_bytes -= v->window[i].len;
		free(v->window[i].line);
	}
	memmove(v->window, v->window + n, (v->held - n) * sizeof *v->window);
	v->held -= n;
}

/* Takes over the line. Lines of one time stay in the order of the file. */
static void hold(struct view *v, char *line, size_t len, const char *stamp)
{
	size_t at;

	if (v->held == WINDOW || v->held_bytes + len > WINDOW_BYTES)
		release(v, v->held * 3 / 4);
	at = v->held;
	while (at && memcmp(v->window[at - 1].stamp, stamp, STAMP) > 0)
		at--;
	memmove(v->window + at + 1, v->window + at, (v->held - at) * sizeof *v->window);
	v->window[at] = (struct waiting){ .line = line, .len = len };
	memcpy(v->window[at].stamp, stamp, STAMP);
	v->held++;
	v->held_bytes += len;
}

/* A whole line. What is none of ours (a process died in the middle of it) is left out. */
static void take(struct view *v, const char *line, size_t len)
{
	const void *at;
	char *copy;
	size_t n;

	if (!pen_jw_valid(line, len) || !pen_jw_member(line, len, "time", &at, &n) || n != STAMP + 2 ||
	    !wanted(v, line, len) || (v->since[0] && memcmp((const char *)at + 1, v->since, STAMP) < 0))
		return;
	copy = malloc(len);
	if (!copy)
		return;
	memcpy(copy, line, len);
	hold(v, copy, len, (const char *)at + 1);
}

/* ---- files ----------------------------------------------------------------------------------- */

static bool ours(const struct view *v, const char *name)
{
	size_t len = strlen(v->prefix);

	return !strncmp(name, v->prefix, len) && strlen(name) == len + 14 &&
	       strspn(name + len, "0123456789-") == 10 && !strcmp(name + len + 10, ".log");
}

/* The first file behind the one in hand; false: there is none. */
static bool next_name(const struct view *v, char ret[NAME_MAX_LEN])
{
	int fd = openat(v->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	ret[0] = 0;
	if (!dir) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	while ((e = readdir(dir))) {
		/* Days before --since need not be looked into. */
		if (!ours(v, e->d_name) || strcmp(e->d_name, v->name) <= 0 ||
		    (v->since[0] && strncmp(e->d_name + strlen(v->prefix), v->since, 10) < 0))
			continue;
		if (!ret[0] || strcmp(e->d_name, ret) < 0)
			snprintf(ret, NAME_MAX_LEN, "%.63s", e->d_name);
	}
	closedir(dir);
	return ret[0] != 0;
}

/* Up to what is there now; a line whose end is missing waits for it. */
static void read_on(struct view *v)
{
	size_t cap = 0;
	char *line = NULL;
	ssize_t n;

	clearerr(v->file);
	while (!pen_out_failed(&v->out) && !pen_interrupt_signal() &&
	       (n = getline(&line, &cap, v->file)) > 0) {
		bool whole = line[n - 1] == '\n';

		if (v->part_len + (size_t)n > LINE_MAX || (!whole && !v->follow)) {
			v->part_len = 0;
			continue;
		}
		memcpy(v->part + v->part_len, line, (size_t)n);
		v->part_len += (size_t)n;
		if (!whole)
			break;
		take(v, v->part, v->part_len - 1);
		v->part_len = 0;
	}
	free(line);
}

static int open_file(struct view *v, const char *name)
{
	int fd = openat(v->dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);

	snprintf(v->name, sizeof v->name, "%s", name);
	v->part_len = 0;
	v->file = fd < 0 ? NULL : fdopen(fd, "r");
	if (v->file)
		return 0;
	pen_say_warning(-PEN_LOG_PLACE, "%s cannot be read: %s", name, strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

static void close_file(struct view *v)
{
	if (v->file)
		fclose(v->file);
	v->file = NULL;
}

/* Shows what is there, and with --follow what comes, until nobody wants it any more. */
static void read_all(struct view *v)
{
	char name[NAME_MAX_LEN];

	for (;;) {
		bool more;

		if (v->file)
			read_on(v);
		more = next_name(v, name);
		if (more && v->file && v->follow) {
			/* Those who write the day before are done with it a moment later. */
			pen_cmd_sleep_ms(LOOK_MS);
			read_on(v);
		}
		if (more) {
			close_file(v);
			(void)open_file(v, name);
			continue;
		}
		release(v, 0);
		pen_out_flush(&v->out);
		if (!v->follow || pen_out_failed(&v->out) || pen_interrupt_signal())
			break;
		pen_cmd_sleep_ms(LOOK_MS);
	}
	close_file(v);
}

/* ---- what was typed -------------------------------------------------------------------------- */

/* The batch's 16 digits: those that were typed, or of the store that knows it. */
static int find_batch(const struct pen_cmd *cmd, char ret[17])
{
	const char *text = pen_cmd_value(cmd, PEN_O_LOG_BATCH)->text;
	char id_text[PEN_TEXT_NUMBER];
	struct pen_store *store;
	uint64_t id;
	int status;

	if (strlen(text) == 16 && strspn(text, "0123456789abcdef") == 16) {
		memcpy(ret, text, 17); /* also one that was cleaned away */
		return 0;
	}
	status = pen_home_open(cmd->args, false, &store);
	if (status)
		return status;
	status = pen_cmd_batch(store, text, &id);
	pen_store_close(store);
	if (!status)
		memcpy(ret, pen_text_id(id_text, id), 17);
	return status;
}

static int choose(struct view *v)
{
	static const char *const kinds =
		"log|error|warn|debug|verbose|request|response|security|performance|event|audit|"
		"fault|external|cache|websocket";
	const struct pen_value *since = pen_cmd_value(v->cmd, PEN_O_SINCE);
	static char word[32];

	if (pen_cmd_set(v->cmd, PEN_O_LOG_UP_TO))
		v->level = (int)pen_cmd_value(v->cmd, PEN_O_LOG_UP_TO)->n + 1;
	if (pen_cmd_set(v->cmd, PEN_O_LOG_KIND)) {
		const char *at = kinds;

		for (uint64_t i = 0; i < pen_cmd_value(v->cmd, PEN_O_LOG_KIND)->n; i++)
			at = strchr(at, '|') + 1;
		snprintf(word, sizeof word, "%.*s", (int)strcspn(at, "|"), at);
		v->kind = word;
	}
	if (pen_cmd_set(v->cmd, PEN_O_LOG_CORRELATION))
		v->correlation = pen_cmd_value(v->cmd, PEN_O_LOG_CORRELATION)->text;
	if (since->set)
		pen_text_time(v->since, since->n < v->cmd->start_ms ? v->cmd->start_ms - since->n : 1);
	/* Files that are kept longer than the one that has everything. */
	v->prefix = v->kind && !strcmp(v->kind, "audit")      ? "audit-"
		    : v->kind && !strcmp(v->kind, "security") ? "security-"
							      : "application-";
	return pen_cmd_set(v->cmd, PEN_O_LOG_BATCH) ? find_batch(v->cmd, v->batch) : 0;
}

static int levels(const struct pen_cmd *cmd, const char *dir)
{
	struct pen_failure why = { 0 };
	char text[2048];
	struct pen_out out;
	struct pen_jw jw;
	long n;
	int rc;

	if (pen_cmd_set(cmd, PEN_O_LOG_SET)) {
		rc = pen_log_share(dir, pen_cmd_value(cmd, PEN_O_LOG_SET)->text, &why);
		if (rc)
			return pen_say_failure(rc, &why);
		if (!pen_cmd_set(cmd, PEN_O_LOG_LEVELS))
			return 0;
	}
	n = pen_log_shared(dir, text, sizeof text, &why);
	if (n < 0)
		return pen_say_failure((int)n, &why);
	pen_out_init(&out, STDOUT_FILENO);
	pen_jw_init(&jw, &out);
	if (pen_cmd_set(cmd, PEN_O_JSON))
		pen_jw_object(&jw, NULL);
	for (char *at = text, *word; (word = strsep(&at, ","));) {
		char *level = strchr(word, '=');

		if (!level)
			continue;
		*level++ = 0;
		if (pen_cmd_set(cmd, PEN_O_JSON))
			pen_jw_text(&jw, word, level);
		else
			pen_out_format(&out, "%-24s %s\n", word, level);
	}
	if (pen_cmd_set(cmd, PEN_O_JSON)) {
		pen_jw_object_end(&jw);
		pen_jw_line(&jw);
	}
	return pen_out_end(&out, 0);
}

int pen_cmd_log(const struct pen_cmd *cmd)
{
	struct view *v = calloc(1, sizeof *v);
	struct pen_home home;
	char dir[PEN_HOME_PATH + 8];
	int status = v ? pen_home_find(cmd->args, &home) : 3;

	if (!status && !pen_logs_dir(cmd->args, home.path, dir, sizeof dir)) {
		pen_say_error(-PEN_USAGE, "the path of the log's directory is too long");
		status = 2;
	}
	if (!status && (pen_cmd_set(cmd, PEN_O_LOG_SET) || pen_cmd_set(cmd, PEN_O_LOG_LEVELS))) {
		status = levels(cmd, dir);
		free(v);
		return status;
	}
	if (status) {
		free(v);
		return status;
	}
	v->cmd = cmd;
	v->json = pen_cmd_set(cmd, PEN_O_JSON);
	v->follow = pen_cmd_set(cmd, PEN_O_LOG_FOLLOW);
	v->color = pen_say_colored((enum pen_color)pen_cmd_value(cmd, PEN_O_COLOR)->n, isatty(STDOUT_FILENO),
				   getenv("NO_COLOR"), getenv("CLICOLOR_FORCE"), getenv("TERM"));
	v->part = malloc(LINE_MAX);
	v->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (v->dir < 0) {
		pen_say_error(-PEN_NOT_FOUND, "there is no log in '%s': %s", dir, strerror(errno));
		status = pen_error_exit(-PEN_NOT_FOUND);
	}
	if (!status)
		status = v->part ? choose(v) : 3;
	if (!status) {
		pen_out_init(&v->out, STDOUT_FILENO);
		read_all(v);
		status = pen_out_end(&v->out, 0);
	}
	if (v->dir >= 0)
		close(v->dir);
	free(v->part);
	free(v);
	return status;
}
