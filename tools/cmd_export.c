/* SPDX-License-Identifier: MIT */
/*
 * export: a dataset, or a range of it, as one snapshot shows it, into a file or stdout
 *
 * A file is written under a name of its own in the same directory, synced, and given its name at the end, so whoever
 * looks finds the whole of it or nothing. A signal that ends the process takes the half file away; SIGKILL leaves one
 * that begins with ".penstock-export-". What is no regular file (a pipe, a device) is written to as it is.
 *
 * Memory: one buffer of 64 KiB, whatever the dataset holds.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "include/penstock.h"
#include "tools/cmd.h"
#include "tools/home.h"
#include "tools/interrupt.h"
#include "tools/json.h"
#include "tools/key.h"
#include "tools/say.h"
#include "tools/text.h"

#define COLUMNS_MAX 1024u
#define PATIENCE_MS 600000u
#define NAMES_TRIED 100

enum form { FORM_NDJSON, FORM_CSV, FORM_DUMP };

/* Where it goes. */
struct target {
	const char *file;
	int fd;
	bool named; /* a file that gets its name at the end */
};

/* The half file, for the signal's handler; "": there is none. */
static char half[PATH_MAX];

static void drop_half(void)
{
	if (half[0])
		(void)unlink(half);
}

struct exporter {
	const struct pen_cmd *cmd;
	struct pen_dataset_info ds;
	enum form form;
	struct pen_out out;
	struct pen_jw jw;
	char *columns[COLUMNS_MAX];
	size_t column_count;
	uint64_t records, shapeless; /* shapeless: no objects, though columns were asked for */
};

/* ---- formats ---------------------------------------------------------------------------------- */

static void put_ndjson(struct exporter *x, struct pen_view key, struct pen_view value)
{
	pen_jw_object(&x->jw, NULL);
	pen_key_put(x->cmd, &x->jw, &x->ds, key);
	pen_jw_value(&x->jw, "value", value.data, value.len);
	pen_jw_object_end(&x->jw);
	pen_jw_line(&x->jw);
}

/* A piece of a cell that stands in quotes. */
static void put_quoted(void *arg, const void *piece, size_t len)
{
	struct pen_out *out = arg;
	const char *p = piece, *quote;

	for (; len && (quote = memchr(p, '"', len)); p = quote) {
		size_t n = (size_t)(quote - p) + 1;

		pen_out_bytes(out, p, n);
		pen_out_char(out, '"');
		quote++;
		len -= n;
	}
	pen_out_bytes(out, p, len);
}

static bool needs_quotes(const void *data, size_t len)
{
	return memchr(data, '"', len) || memchr(data, ',', len) || memchr(data, '\n', len) ||
	       memchr(data, '\r', len);
}

/* RFC 4180: in quotes when it has to be. */
static void put_cell(struct pen_out *out, const void *data, size_t len)
{
	if (!len)
		return;
	if (!needs_quotes(data, len)) {
		pen_out_bytes(out, data, len);
		return;
	}
	pen_out_char(out, '"');
	put_quoted(out, data, len);
	pen_out_char(out, '"');
}

static void put_key_cell(struct exporter *x, struct pen_view key)
{
	char word[PEN_KEY_WORD_BYTES];

	if (pen_key_look(x->cmd, &x->ds, key, word) == PEN_KEY_BYTES)
		put_cell(&x->out, key.data, key.len);
	else
		put_cell(&x->out, word, strlen(word));
}

/* A JSON value in a cell: a string's text, null as nothing, all else as it is written. */
static void put_member_cell(struct pen_out *out, const char *p, size_t len)
{
	if (*p == '"') {
		/* An escape may stand for anything, so such a string is quoted to be safe. */
		bool quoted = memchr(p, '\\', len) || needs_quotes(p + 1, len - 2);

		if (quoted)
			pen_out_char(out, '"');
		pen_jw_unescape(p, len, put_quoted, out);
		if (quoted)
			pen_out_char(out, '"');
	} else if (*p == '{' || *p == '[') {
		struct pen_out inner;

		pen_out_init(&inner, -1);
		pen_jw_compact(&inner, p, len);
		put_cell(out, inner.buf, inner.len);
		if (inner.error)
			out->error = inner.error;
		pen_out_fini(&inner);
	} else if (*p != 'n') {
		pen_out_bytes(out, p, len);
	}
}

static void put_csv(struct exporter *x, struct pen_view key, struct pen_view value)
{
	bool valid = x->column_count && pen_jw_valid(value.data, value.len);
	const char *p = value.data;

	if (!x->column_count) {
		put_key_cell(x, key);
		pen_out_char(&x->out, ',');
		put_cell(&x->out, value.data, value.len);
	}
	for (size_t i = 0; valid && i < value.len && strchr(" \t\r\n", *p); i++)
		p++;
	x->shapeless += x->column_count && !(valid && *p == '{');
	for (size_t i = 0; i < x->column_count; i++) {
		const void *member;
		size_t len;

		if (i)
			pen_out_char(&x->out, ',');
		if (!strcmp(x->columns[i], "@key"))
			put_key_cell(x, key);
		else if (valid && pen_jw_member(value.data, value.len, x->columns[i], &member, &len))
			put_member_cell(&x->out, member, len);
	}
	pen_out_text(&x->out, "\r\n");
}

static void put_hex(struct pen_out *out, struct pen_view bytes)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *p = bytes.data;
	char line[1024];

	pen_out_char(out, ' ');
	for (size_t i = 0; i < bytes.len;) {
		size_t n = 0;

		for (; n < sizeof line && i < bytes.len; i++) {
			line[n++] = digits[p[i] >> 4];
			line[n++] = digits[p[i] & 15];
		}
		pen_out_bytes(out, line, n);
	}
	pen_out_char(out, '\n');
}

static int put_head(struct exporter *x, struct pen_store *store)
{
	struct pen_store_info info;
	int rc;

	if (x->form == FORM_CSV) {
		for (size_t i = 0; i < x->column_count; i++) {
			const char *name = !strcmp(x->columns[i], "@key") ? "key" : x->columns[i];

			if (i)
				pen_out_char(&x->out, ',');
			put_cell(&x->out, name, strlen(name));
		}
		pen_out_text(&x->out, x->column_count ? "\r\n" : "key,value\r\n");
	}
	if (x->form != FORM_DUMP)
		return 0;
	rc = pen_store_info(store, &info);
	if (rc)
		return pen_say_failure(rc, NULL);
	pen_out_text(&x->out, "VERSION=3\nformat=bytevalue\ndatabase=");
	pen_out_text(&x->out, x->cmd->args->words[0]);
	pen_out_format(&x->out, "\ntype=btree\nmapsize=%llu\nmaxreaders=%u\ndb_pagesize=%u\nHEADER=END\n",
		       (unsigned long long)info.map_bytes, info.readers_max, info.page_bytes);
	return 0;
}

static void put_record(struct exporter *x, struct pen_view key, struct pen_view value)
{
	x->records++;
	switch (x->form) {
	case FORM_NDJSON:
		put_ndjson(x, key, value);
		break;
	case FORM_CSV:
		put_csv(x, key, value);
		break;
	case FORM_DUMP:
		put_hex(&x->out, key);
		put_hex(&x->out, value);
		break;
	}
}

/* ---- what was asked --------------------------------------------------------------------------- */

static bool ends_in(const char *file, const char *ending)
{
	size_t len = strlen(file), n = strlen(ending);

	return len > n && !strcmp(file + len - n, ending);
}

static int choose_form(const struct pen_cmd *cmd, const char *file, enum form *ret)
{
	static const char *const packed[] = { ".gz", ".zst", ".xz", ".bz2", ".zip" };
	const struct pen_value *format = pen_cmd_value(cmd, PEN_O_EXPORT_FORMAT);

	for (size_t i = 0; i < sizeof packed / sizeof packed[0]; i++) {
		if (!ends_in(file, packed[i]))
			continue;
		pen_say_error(-PEN_UNSUPPORTED, "export does not compress, and %s sounds compressed", file);
		pen_say_advice("write to a pipe: penstock export %s -o - | …", cmd->args->words[0]);
		return 2;
	}
	*ret = ends_in(file, ".csv") ? FORM_CSV : ends_in(file, ".dump") ? FORM_DUMP : FORM_NDJSON;
	if (format->set)
		*ret = (enum form)format->n;
	if (pen_cmd_set(cmd, PEN_O_COLUMNS) && *ret != FORM_CSV) {
		pen_say_error(-PEN_USAGE, "--columns is for --format csv");
		return 2;
	}
	if (pen_cmd_set(cmd, PEN_O_JSON) && !strcmp(file, "-") && *ret != FORM_NDJSON) {
		pen_say_error(-PEN_USAGE, "--json and another format on stdout contradict each other");
		return 2;
	}
	return 0;
}

/* Cuts the list in place: text is the exporter's own copy. */
static int cut_columns(struct exporter *x, char *text)
{
	for (char *at = text; at; x->column_count++) {
		char *comma = strchr(at, ',');

		if (comma)
			*comma++ = '\0';
		if (!*at || x->column_count == COLUMNS_MAX) {
			pen_say_error(-PEN_USAGE, *at ? "--columns takes at most 1,024 names"
						      : "--columns has an empty name");
			return 2;
		}
		x->columns[x->column_count] = at;
		at = comma;
	}
	return 0;
}

/* ---- the file --------------------------------------------------------------------------------- */

static int cannot(const char *what, const char *file, int err)
{
	pen_say_error(-err, "%s cannot be %s: %s", file, what, strerror(err));
	if (err == EEXIST)
		pen_say_advice("--force replaces it");
	return 3;
}

static int make_half(struct target *t)
{
	const char *slash = strrchr(t->file, '/');
	int dir_len = slash ? (int)(slash - t->file) + 1 : 0;

	for (int i = 0; i < NAMES_TRIED; i++) {
		char name[PATH_MAX];

		if ((size_t)snprintf(name, sizeof name, "%.*s.penstock-export-%d-%d", dir_len, t->file,
				     (int)getpid(), i) >= sizeof name)
			return cannot("made", t->file, ENAMETOOLONG);
		pen_interrupt_block(true); /* the handler knows the name from the first moment on */
		t->fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
		if (t->fd >= 0)
			memcpy(half, name, sizeof half);
		pen_interrupt_block(false);
		if (t->fd >= 0) {
			t->named = true;
			return 0;
		}
		if (errno != EEXIST)
			break;
	}
	return cannot("made", t->file, errno);
}

static int open_target(const struct pen_cmd *cmd, struct target *t)
{
	struct stat st;

	if (!strcmp(t->file, "-")) {
		t->fd = STDOUT_FILENO;
		return 0;
	}
	if (!*t->file)
		return cannot("made", "a file without a name", ENOENT);
	if (!stat(t->file, &st) && !S_ISREG(st.st_mode)) {
		t->fd = open(t->file, O_WRONLY | O_CLOEXEC | O_NOCTTY);
		return t->fd < 0 ? cannot("written", t->file, errno) : 0;
	}
	if (!pen_cmd_set(cmd, PEN_O_FORCE) && !lstat(t->file, &st))
		return cannot("made", t->file, EEXIST);
	return make_half(t);
}

/* On the disk, then under its name. */
static int name_target(const struct pen_cmd *cmd, struct target *t)
{
	const char *slash = strrchr(t->file, '/');
	char dir[PATH_MAX];
	struct stat st;
	int fd, rc;

	if (fsync(t->fd))
		return cannot("synced", t->file, errno);
	pen_interrupt_block(true);
	if (pen_cmd_set(cmd, PEN_O_FORCE)) {
		rc = rename(half, t->file);
	} else {
		rc = renameat2(AT_FDCWD, half, AT_FDCWD, t->file, RENAME_NOREPLACE);
		/* Where the file system cannot do both at once, there is a moment in between. */
		if (rc && errno == EINVAL && lstat(t->file, &st) && errno == ENOENT)
			rc = rename(half, t->file);
	}
	if (!rc)
		half[0] = '\0';
	pen_interrupt_block(false);
	if (rc)
		return cannot("made", t->file, errno);
	snprintf(dir, sizeof dir, "%.*s", slash ? (int)(slash - t->file) + 1 : 1, slash ? t->file : ".");
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return 0; /* it may be entered, not read: the file itself is on the disk */
	rc = fsync(fd) ? cannot("synced", dir, errno) : 0;
	close(fd);
	return rc;
}

static int finish(struct exporter *x, struct target *t, int status)
{
	if (!t->named && t->fd == STDOUT_FILENO)
		return pen_out_end(&x->out, status);
	if (!status)
		pen_out_flush(&x->out);
	if (!status && x->out.error == ETIMEDOUT)
		status = pen_out_end(&x->out, 0);
	else if (!status && x->out.error && (t->named || x->out.error != EPIPE))
		status = cannot("written", t->file, x->out.error);
	if (x->out.buf)
		pen_out_fini(&x->out);
	if (!status && t->named)
		status = name_target(x->cmd, t);
	if (t->fd >= 0 && close(t->fd) && !status && t->named)
		status = cannot("written", t->file, errno);
	drop_half();
	return status;
}

/* ---- all -------------------------------------------------------------------------------------- */

static int write_all(struct exporter *x, struct pen_store *store, const struct pen_scan *range)
{
	struct pen_view key, value;
	struct pen_cursor *cur;
	int rc = pen_scan_open(store, x->cmd->args->words[0], range, &cur), status;

	if (rc)
		return pen_say_failure(rc, NULL);
	status = put_head(x, store);
	while (!status && !pen_out_failed(&x->out) && (rc = pen_scan_next(cur, &key, &value)) > 0)
		put_record(x, key, value);
	pen_cursor_close(cur);
	if (!status && rc < 0)
		status = pen_say_failure(rc, NULL);
	if (x->form == FORM_DUMP && !status)
		pen_out_text(&x->out, "DATA=END\n");
	return status;
}

static int closing(const struct exporter *x, const struct target *t)
{
	char records[PEN_TEXT_NUMBER], shapeless[PEN_TEXT_NUMBER];
	struct pen_out out;
	struct pen_jw jw;
	int status = 0;

	if (x->shapeless) {
		pen_say_warning(0, "%s of %s values are no JSON objects: their columns are empty",
				pen_text_count(shapeless, x->shapeless), pen_text_count(records, x->records));
		status = 1;
	}
	if (pen_cmd_set(x->cmd, PEN_O_JSON) && strcmp(t->file, "-") != 0) {
		static const char *const forms[] = { "ndjson", "csv", "dump" };
		const char *name = x->cmd->args->words[0];

		pen_out_init(&out, STDOUT_FILENO);
		pen_jw_init(&jw, &out);
		pen_jw_object(&jw, NULL);
		pen_jw_data(&jw, "dataset", name, strlen(name));
		pen_jw_data(&jw, "file", t->file, strlen(t->file));
		pen_jw_text(&jw, "format", forms[x->form]);
		pen_jw_u64(&jw, "records", x->records);
		pen_jw_u64(&jw, "shapeless", x->shapeless);
		pen_jw_object_end(&jw);
		pen_jw_line(&jw);
		return pen_out_end(&out, status);
	}
	if (t->named)
		pen_say_note("%s records of '%s' are in %s", pen_text_count(records, x->records),
			     x->cmd->args->words[0], t->file);
	return status;
}

static int export_range(struct exporter *x, struct pen_store *store, struct target *t,
			const struct pen_scan *range)
{
	struct stat st;
	int status = open_target(x->cmd, t);

	if (status)
		return status;
	pen_out_init(&x->out, t->fd);
	/* A file on a disk never keeps one waiting; what others read from may do so for ever. */
	if (!fstat(t->fd, &st) && !S_ISREG(st.st_mode))
		x->out.patience_ms = pen_cmd_set(x->cmd, PEN_O_PATIENCE)
					     ? (unsigned)pen_cmd_value(x->cmd, PEN_O_PATIENCE)->n
					     : PATIENCE_MS;
	pen_jw_init(&x->jw, &x->out);
	status = write_all(x, store, range);
	status = finish(x, t, status);
	return status ? status : closing(x, t);
}

int pen_cmd_export(const struct pen_cmd *cmd)
{
	struct target target = { .file = pen_cmd_value(cmd, PEN_O_TO_FILE)->text, .fd = -1 };
	struct exporter *x;
	struct pen_key_range range;
	struct pen_store *store;
	char *columns = NULL;
	int status;

	if (!target.file) {
		pen_say_error(-PEN_USAGE, "export needs a file: penstock export DATASET -o FILE");
		pen_say_advice("-o - is stdout");
		return 2;
	}
	x = calloc(1, sizeof *x);
	if (pen_cmd_set(cmd, PEN_O_COLUMNS))
		columns = strdup(pen_cmd_value(cmd, PEN_O_COLUMNS)->text);
	if (!x || (pen_cmd_set(cmd, PEN_O_COLUMNS) && !columns)) {
		free(columns);
		free(x);
		return pen_say_failure(-PEN_MEMORY, NULL);
	}
	x->cmd = cmd;
	status = choose_form(cmd, target.file, &x->form);
	if (!status && columns)
		status = cut_columns(x, columns);
	if (!status)
		status = pen_home_open(cmd->args, false, &store);
	if (!status) {
		status = pen_key_dataset(store, cmd->args->words[0], &x->ds);
		if (!status)
			status = pen_key_range_read(cmd, &x->ds, &range);
		pen_interrupt_on_end(drop_half);
		if (!status)
			status = export_range(x, store, &target, &range.scan);
		pen_interrupt_on_end(NULL);
		pen_store_close(store);
	}
	free(columns);
	free(x);
	return status;
}
