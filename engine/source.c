/* SPDX-License-Identifier: MIT */
#include "engine/source.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/archive.h"
#include "engine/chunk.h"
#include "engine/decode.h"
#include "engine/plan.h"
#include "engine/sniff.h"
#include "engine/unpack.h"
#include "engine/walk.h"
#include "ring/base.h"
#include "ring/error.h"

#define SAMPLE_BYTES (64u << 10)
#define LIST_BYTES_MAX (64u << 20)

/* ---- expanding ----------------------------------------------------------------------------- */

static int add_source(struct pen_plan *plan, const char *path, struct pen_failure *why)
{
	uint32_t n = plan->source_count;

	if (n == PEN_SOURCES_MAX)
		return pen_fail(why, -PEN_USAGE, 0, "more than %u sources", PEN_SOURCES_MAX);
	if (pen_is_pow2(n) || !n) {
		struct pen_source *grown = realloc(plan->sources, (n ? 2 * n : 1) * sizeof *grown);

		if (!grown)
			return pen_fail(why, -ENOMEM, ENOMEM, "no memory for %u sources", n + 1);
		plan->sources = grown;
	}
	plan->sources[n] = (struct pen_source){ .path = strdup(path) };
	if (!plan->sources[n].path)
		return pen_fail(why, -ENOMEM, ENOMEM, "no memory for a source");
	plan->source_count++;
	return 0;
}

static int add_glob(struct pen_plan *plan, const char *pattern, struct pen_failure *why)
{
	glob_t found = { 0 };
	struct stat st;
	int rc = 0;

	/* A file whose name has stars in it is that file. */
	if (!strpbrk(pattern, "*?[") || !stat(pattern, &st))
		return add_source(plan, pattern, why);
	switch (glob(pattern, 0, NULL, &found)) {
	case 0:
		for (size_t i = 0; i < found.gl_pathc && !rc; i++)
			rc = add_source(plan, found.gl_pathv[i], why);
		break;
	case GLOB_NOMATCH:
		rc = pen_fail(why, -PEN_SOURCE_OPEN, ENOENT, "no file matches '%s'", pattern);
		break;
	default:
		rc = pen_fail(why, -PEN_SOURCE_OPEN, EIO, "'%s' cannot be expanded", pattern);
	}
	globfree(&found);
	return rc;
}

static int add_list(struct pen_plan *plan, const char *path, struct pen_failure *why)
{
	FILE *f = strcmp(path, "-") ? fopen(path, "re") : stdin;
	char *line = NULL;
	size_t cap = 0, total = 0;
	ssize_t n;
	int rc = 0;

	if (!f)
		return pen_fail(why, -PEN_SOURCE_OPEN, errno, "the list of sources '%s': %s", path,
				strerror(errno));
	while (!rc && (n = getline(&line, &cap, f)) > 0) {
		total += (size_t)n;
		while (n && (line[n - 1] == '\n' || line[n - 1] == '\r'))
			line[--n] = 0;
		if (total > LIST_BYTES_MAX)
			rc = pen_fail(why, -PEN_USAGE, 0, "the list of sources '%s' is larger than 64 MiB",
				      path);
		else if (n)
			rc = add_glob(plan, line, why);
	}
	free(line);
	if (f != stdin)
		fclose(f);
	return rc;
}

int pen_source_expand(struct pen_plan *plan, const char *want, struct pen_failure *why)
{
	if (plan->items)
		return add_source(plan, want, why);
	if (want[0] == '@' && want[1])
		return add_list(plan, want + 1, why);
	return add_glob(plan, want, why);
}

/* ---- looking ------------------------------------------------------------------------------- */

int pen_source_open(const struct pen_source *source)
{
	int fd;

	if (source->kind == PEN_SOURCE_STREAM && !strcmp(source->path, "-"))
		fd = fcntl(0, F_DUPFD_CLOEXEC, 3);
	else /* NONBLOCK: opening a FIFO that nobody writes must not hold up the other batches */
		fd = open(source->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	return fd < 0 ? -errno : fd;
}

bool pen_source_same(const struct pen_source *source, int fd)
{
	struct stat st;

	return !fstat(fd, &st) && st.st_dev == source->dev && st.st_ino == source->ino &&
	       (uint64_t)st.st_size == source->size &&
	       (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec == source->mtime_ns;
}

bool pen_source_decodes(const struct pen_plan *plan, enum pen_compression compression, const char *text,
			size_t len)
{
	bool marked = len >= 2 && (!memcmp(text, "\xff\xfe", 2) || !memcmp(text, "\xfe\xff", 2));

	if (compression == PEN_COMPRESSION_GZIP || compression == PEN_COMPRESSION_ZSTD)
		return true;
	if (plan->format == PEN_FORMAT_FRAMES || plan->format == PEN_FORMAT_FILES)
		return false;
	return plan->encoding > PEN_ENCODING_UTF8 || (plan->encoding == PEN_ENCODING_AUTO && marked);
}

int pen_source_sniff(const struct pen_plan *plan, const char *name, const char *text, size_t len, bool whole,
		     enum pen_format *ret_format, struct pen_csv **ret_csv, struct pen_failure *why)
{
	struct pen_sniff sniff = {
		.name = name,
		.text = text,
		.len = len,
		.whole = whole,
		.fields = plan->key_kind == PEN_KEY_POINTER,
		.column = plan->column,
	};
	struct pen_csv_options opt = plan->table;

	*ret_csv = NULL;
	*ret_format = plan->format ? plan->format : pen_sniff_format(&sniff);
	if (*ret_format != PEN_FORMAT_CSV && *ret_format != PEN_FORMAT_TSV)
		return 0;
	opt.format = *ret_format;
	return pen_csv_open(&opt, text, len, whole, ret_csv, why);
}

/* An archive that is named gives its members, packed or not, unless its bytes are wanted as they are. */
static bool is_archive(const struct pen_plan *plan, struct pen_source *source, int fd, const char *sample,
		       size_t len)
{
	char head[2 * PEN_ARCHIVE_MAGIC];
	bool whole;

	if (plan->compression == PEN_COMPRESSION_NONE ||
	    (plan->format != PEN_FORMAT_AUTO && plan->format != PEN_FORMAT_FILES))
		return false;
	source->compression = pen_unpack_sniff(sample, len);
	if (source->compression == PEN_COMPRESSION_NONE)
		source->archive = pen_archive_sniff(sample, len);
	else if (!pen_decode_sample(fd, source->compression, PEN_ENCODING_UTF8, head, sizeof head, &len,
				    &whole))
		source->archive = pen_archive_sniff(head, len);
	return source->archive;
}

/* What a file holds, by its first bytes. They lie in sample, as they are in the file. */
static int sniff(const struct pen_plan *plan, struct pen_source *source, int fd, char *sample, size_t len,
		 struct pen_failure *why)
{
	bool whole = len == source->size;
	struct pen_failure table = { 0 };
	int rc = 0;

	if (is_archive(plan, source, fd, sample, len)) {
		source->format = PEN_FORMAT_FILES;
		return 0;
	}
	source->compression = plan->compression;
	if (plan->compression == PEN_COMPRESSION_AUTO)
		source->compression = plan->format == PEN_FORMAT_FILES ? PEN_COMPRESSION_NONE
								       : pen_unpack_sniff(sample, len);
	source->decodes = pen_source_decodes(plan, source->compression, sample, len);
	if (source->decodes)
		/* What is broken shows when it is read, with its place; what comes before that is told apart. */
		rc = pen_decode_sample(fd, source->compression, plan->encoding, sample, SAMPLE_BYTES, &len,
				       &whole);
	if (rc == -ENOMEM)
		return pen_fail(why, rc, ENOMEM, "no memory to look at '%s'", source->path);
	memset(sample + len, 0, PEN_JSON_PADDING);
	rc = pen_source_sniff(plan, source->path, sample, len, whole, &source->format, &source->csv, &table);
	return rc ? pen_fail(why, rc, table.os_errno, "'%s': %s", source->path, table.text) : 0;
}

/* Head and tail of a file into one hash. 0 or -errno; *ret_sample is the head. */
static int fingerprint(int fd, uint64_t size, char *sample, size_t *ret_len, struct pen_sum *ret)
{
	uint64_t tail_at = size > SAMPLE_BYTES ? size - SAMPLE_BYTES : 0;
	struct pen_sum head, tail;
	ssize_t n;

	n = pread(fd, sample, SAMPLE_BYTES, (off_t)tail_at);
	if (n < 0)
		return -errno;
	tail = pen_hash128(sample, (size_t)n);
	n = pread(fd, sample, SAMPLE_BYTES, 0);
	if (n < 0)
		return -errno;
	head = pen_hash128(sample, (size_t)n);
	*ret_len = (size_t)n;
	*ret = pen_hash_record(&head, sizeof head, &tail, sizeof tail);
	return 0;
}

static int look_file(struct pen_plan *plan, struct pen_source *source, int fd, const struct stat *st,
		     struct pen_sum *sum, struct pen_failure *why)
{
	char *sample = calloc(1, SAMPLE_BYTES + PEN_JSON_PADDING);
	size_t len = 0;
	int rc;

	if (!sample)
		return pen_fail(why, -ENOMEM, ENOMEM, "no memory to look at '%s'", source->path);
	source->kind = PEN_SOURCE_FILE;
	source->dev = st->st_dev;
	source->ino = st->st_ino;
	source->size = (uint64_t)st->st_size;
	source->mtime_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
	rc = fingerprint(fd, source->size, sample, &len, sum);
	if (rc)
		rc = pen_fail(why, -PEN_SOURCE_OPEN, -rc, "'%s' cannot be read: %s", source->path,
			      strerror(-rc));
	else
		rc = sniff(plan, source, fd, sample, len, why);
	free(sample);
	return rc;
}

/* One source: kind, format, size, and its part of the content hashes. */
static int look(struct pen_plan *plan, struct pen_source *source, const _Atomic bool *stop,
		struct pen_sum parts[2], struct pen_failure *why)
{
	struct pen_sum sum = { 0 };
	struct stat st;
	int fd, rc, part = 0;

	if (!strcmp(source->path, "-")) {
		source->kind = PEN_SOURCE_STREAM;
		source->format = plan->format;
		if (!fstat(0, &st) && S_ISREG(st.st_mode) && lseek(0, 0, SEEK_CUR) == 0)
			source->size = (uint64_t)st.st_size;
		return 0;
	}
	/* A FIFO is opened when it is read: a writer that waits for it would find its reader gone again. */
	if (!stat(source->path, &st) && S_ISFIFO(st.st_mode) && !eaccess(source->path, R_OK)) {
		source->kind = PEN_SOURCE_STREAM;
		source->format = plan->format;
		return 0;
	}
	fd = pen_source_open(source);
	if (fd < 0 || fstat(fd, &st)) {
		rc = fd < 0 ? -fd : errno;
		if (fd >= 0)
			close(fd);
		return pen_fail(why, -PEN_SOURCE_OPEN, rc, "'%s' cannot be opened: %s", source->path,
				strerror(rc));
	}
	if (S_ISREG(st.st_mode)) {
		rc = look_file(plan, source, fd, &st, &sum, why);
	} else if (S_ISDIR(st.st_mode) && plan->items) {
		rc = pen_fail(why, -PEN_USAGE, 0, "'%s' is a directory, not a list of items", source->path);
	} else if (S_ISDIR(st.st_mode)) {
		part = 1;
		source->dev = st.st_dev;
		source->ino = st.st_ino;
		rc = pen_source_look_tree(plan, source, fd, stop, &sum, why);
	} else if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)) {
		source->kind = PEN_SOURCE_STREAM;
		source->format = plan->format;
		rc = 0;
	} else {
		rc = pen_fail(why, -PEN_SOURCE_OPEN, EINVAL, "'%s' is neither file, directory nor pipe",
			      source->path);
	}
	if (!rc && source->kind != PEN_SOURCE_STREAM) {
		struct {
			struct pen_sum before, sum;
			uint64_t dev, ino, size, mtime;
		} facts = { parts[part], sum,	       source->dev,
			    source->ino, source->size, (uint64_t)source->mtime_ns };

		parts[part] = pen_hash128(&facts, sizeof facts);
	}
	close(fd);
	return rc;
}

static int check_source(const struct pen_plan *plan, const struct pen_source *source, struct pen_failure *why)
{
	bool table = source->format == PEN_FORMAT_CSV || source->format == PEN_FORMAT_TSV;

	if (plan->column && !table && source->format != PEN_FORMAT_AUTO)
		return pen_fail(
			why, -PEN_USAGE, 0,
			"'%s' is %s, which has no columns: the key '%s' needs --format csv, or is a JSON pointer, '/%s'",
			source->path, pen_format_name(source->format), plan->key, plan->key);
	if (source->format == PEN_FORMAT_FRAMES && plan->key_kind == PEN_KEY_POINTER)
		return pen_fail(why, -PEN_USAGE, 0,
				"frames have no fields: the key '%s' needs another format", plan->key);
	if (source->compression > PEN_COMPRESSION_NONE && source->format == PEN_FORMAT_FILES &&
	    !source->archive)
		return pen_fail(why, -PEN_USAGE, 0,
				"'%s': files are taken as they are, without --compression", source->path);
	if (source->format == PEN_FORMAT_LINES && plan->key_kind == PEN_KEY_POINTER)
		return pen_fail(
			why, -PEN_USAGE, 0,
			"'%s' holds plain lines, which have no fields: the key '%s' needs another format",
			source->path, plan->key);
	/* A stream may turn out to be an archive. */
	if (plan->key_kind == PEN_KEY_PATH && source->format != PEN_FORMAT_FILES &&
	    !(source->kind == PEN_SOURCE_STREAM && source->format == PEN_FORMAT_AUTO))
		return pen_fail(
			why, -PEN_USAGE, 0,
			"@path would give every record of '%s' the same key: it is for --format files",
			source->path);
	if (plan->key_kind == PEN_KEY_OFFSET &&
	    (source->kind == PEN_SOURCE_TREE || source->format == PEN_FORMAT_FILES))
		return pen_fail(why, -PEN_USAGE, 0,
				"@offset repeats in every file of '%s': use @path or @seq", source->path);
	if (source->kind == PEN_SOURCE_STREAM && source->format == PEN_FORMAT_FILES)
		return pen_fail(why, -PEN_USAGE, 0, "'%s' is a stream: it has no files", source->path);
	return 0;
}

int pen_source_look(struct pen_plan *plan, struct pen_source *source, const _Atomic bool *stop,
		    struct pen_sum parts[2], struct pen_failure *why)
{
	int rc = look(plan, source, stop, parts, why);

	return rc ? rc : check_source(plan, source, why);
}
