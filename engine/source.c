/* SPDX-License-Identifier: MIT */
/*
 * plan_open copies and checks what can be checked without touching a file; plan_look then expands, opens,
 * sniffs and fingerprints each source, so that a source that cannot be read stops the batch before anything
 * runs.
 */
#include "engine/source.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/chunk.h"
#include "engine/split.h"
#include "engine/walk.h"
#include "ring/base.h"
#include "ring/error.h"
#include "store/dataset.h"

#define SAMPLE_BYTES (64u << 10)
#define LIST_BYTES_MAX (64u << 20)

/* ---- copying and checking ------------------------------------------------------------------ */

static bool is_uuid(const char *text)
{
	for (int i = 0; i < 36; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? text[i] != '-' : !strchr("0123456789abcdefABCDEF", text[i]) || !text[i])
			return false;
	}
	return !text[36];
}

static char *new_uuid(void)
{
	uint8_t b[16];
	char *text = malloc(37);

	if (!text || getrandom(b, sizeof b, 0) != sizeof b) {
		free(text);
		return NULL;
	}
	b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
	b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
	snprintf(text, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
		 b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
	return text;
}

static char *owner_name(const char *given)
{
	char buf[1024], number[16];
	struct passwd pw, *found = NULL;

	if (given)
		return strdup(given);
	if (!getpwuid_r(geteuid(), &pw, buf, sizeof buf, &found) && found)
		return strdup(pw.pw_name);
	snprintf(number, sizeof number, "%u", (unsigned)geteuid());
	return strdup(number);
}

static int check_key(struct pen_plan *plan, struct pen_failure *why)
{
	static const struct {
		const char *name;
		enum pen_key kind;
	} named[] = { { "@seq", PEN_KEY_SEQ },
		      { "@offset", PEN_KEY_OFFSET },
		      { "@path", PEN_KEY_PATH },
		      { "@content", PEN_KEY_CONTENT } };
	int rc;

	for (size_t i = 0; i < PEN_COUNT(named); i++) {
		if (strcmp(plan->key, named[i].name))
			continue;
		plan->key_kind = named[i].kind;
		return 0;
	}
	rc = pen_pointer_parse(&plan->pointer, plan->key);
	if (rc)
		return pen_fail(why, rc, 0,
				"the key '%s' is neither @seq, @offset, @path, @content nor a JSON pointer",
				plan->key);
	plan->key_kind = PEN_KEY_POINTER;
	return 0;
}

static int join_labels(struct pen_plan *plan, const struct pen_run *run, struct pen_failure *why)
{
	size_t len = 0, at = 0;

	if (run->label_count > PEN_LABELS_MAX)
		return pen_fail(why, -PEN_USAGE, 0, "%zu labels; at most %u are kept", run->label_count,
				PEN_LABELS_MAX);
	for (size_t i = 0; i < run->label_count; i++)
		len += strlen(run->labels[i]) + 1;
	plan->labels = calloc(1, len + 1);
	if (!plan->labels)
		return -ENOMEM;
	for (size_t i = 0; i < run->label_count; i++) {
		size_t n = strlen(run->labels[i]);

		if (!strchr(run->labels[i], '='))
			return pen_fail(why, -PEN_USAGE, 0, "the label '%s' is not KEY=VALUE",
					run->labels[i]);
		memcpy(plan->labels + at, run->labels[i], n);
		at += n + 1;
	}
	plan->labels_len = len ? len - 1 : 0;
	return 0;
}

static int copy_sources(struct pen_plan *plan, const struct pen_run *run, struct pen_failure *why)
{
	if (!run->source_count || run->source_count > PEN_SOURCES_MAX)
		return pen_fail(why, -PEN_USAGE, 0, "%zu sources; 1 to %u can be read", run->source_count,
				PEN_SOURCES_MAX);
	plan->wanted = calloc(run->source_count, sizeof *plan->wanted);
	if (!plan->wanted)
		return -ENOMEM;
	for (size_t i = 0; i < run->source_count; i++) {
		if (!run->sources[i] || !*run->sources[i])
			return pen_fail(why, -PEN_USAGE, 0, "a source is empty");
		plan->wanted[i] = strdup(run->sources[i]);
		if (!plan->wanted[i])
			return -ENOMEM;
		plan->wanted_count++;
	}
	return 0;
}

static int check_run(struct pen_plan *plan, const struct pen_run *run, struct pen_failure *why)
{
	int rc = pen_dataset_name_check(plan->into);

	if (rc)
		return pen_fail(why, rc, 0, "the dataset name '%s' cannot be used", plan->into);
	if (run->correlation_id && !is_uuid(run->correlation_id))
		return pen_fail(why, -PEN_USAGE, 0, "the correlation id '%s' is not a UUID",
				run->correlation_id);
	if (run->max_record > PEN_RECORD_MAX)
		return pen_fail(why, -PEN_USAGE, 0, "max_record is above %u bytes", PEN_RECORD_MAX);
	if (run->chunk_items > PEN_CHUNK_ITEMS)
		return pen_fail(why, -PEN_USAGE, 0, "a chunk holds at most %u items", PEN_CHUNK_ITEMS);
	if (run->chunk_bytes && run->chunk_bytes < PEN_CHUNK_BYTES_MIN)
		return pen_fail(why, -PEN_USAGE, 0, "a chunk has at least %u bytes", PEN_CHUNK_BYTES_MIN);
	rc = check_key(plan, why);
	if (rc)
		return rc;
	if (plan->puts && plan->key_kind != PEN_KEY_SEQ && run->key)
		return pen_fail(why, -PEN_USAGE, 0, "an opened batch is given its keys, or takes @seq");
	if (plan->key_kind == PEN_KEY_POINTER && run->format == PEN_FORMAT_LINES)
		return pen_fail(why, -PEN_USAGE, 0,
				"plain lines have no fields: the key '%s' needs another format", plan->key);
	if (plan->key_kind == PEN_KEY_PATH &&
	    (run->format == PEN_FORMAT_LINES || run->format == PEN_FORMAT_NDJSON))
		return pen_fail(why, -PEN_USAGE, 0,
				"@path would give every record of a file the same key: it is for files");
	if (plan->key_kind == PEN_KEY_OFFSET && run->format == PEN_FORMAT_FILES)
		return pen_fail(why, -PEN_USAGE, 0, "@offset is 0 for every file: use @path or @seq");
	return 0;
}

int pen_plan_open(const struct pen_run *run, bool puts, struct pen_plan **ret, struct pen_failure *why)
{
	struct pen_plan *plan;
	int rc;

	if (!run || run->size < offsetof(struct pen_run, format) || run->size > sizeof *run * 16)
		return pen_fail(why, -PEN_USAGE, 0, "the size of struct pen_run is not set");
	plan = calloc(1, sizeof *plan);
	if (!plan)
		return pen_fail(why, -ENOMEM, ENOMEM, "no memory for a plan");
	plan->puts = puts;
	plan->format = puts ? PEN_FORMAT_PUTS : run->format;
	plan->compression = run->compression;
	plan->on_duplicate = run->on_duplicate;
	plan->validate = run->validate;
	plan->durability = run->durability;
	plan->max_record = run->max_record ? run->max_record : 64ull << 20;
	plan->has_max_rejects = run->has_max_rejects;
	plan->max_rejects = run->max_rejects;
	plan->max_rejects_ratio = run->max_rejects_ratio;
	plan->chunk_items = run->chunk_items;
	plan->chunk_bytes = run->chunk_bytes;
	plan->pause_ms = run->pause_ms;
	plan->fresh = run->fresh;
	plan->terminator = '\n';
	plan->into = strdup(run->into ? run->into : "default");
	plan->key = strdup(run->key ? run->key : puts ? "@given" : "@seq");
	plan->owner = owner_name(run->owner);
	plan->correlation_id = run->correlation_id ? strdup(run->correlation_id) : new_uuid();
	plan->idempotency_key = strdup(run->idempotency_key ? run->idempotency_key : "");
	rc = -ENOMEM;
	if (plan->into && plan->key && plan->owner && plan->correlation_id && plan->idempotency_key)
		rc = join_labels(plan, run, why);
	if (!rc)
		rc = pen_plan_copy_tree(plan, run, why);
	if (!rc && puts && !run->key)
		plan->key_kind = PEN_KEY_GIVEN;
	if (!rc)
		rc = puts && !run->key ? pen_dataset_name_check(plan->into) : check_run(plan, run, why);
	if (!rc && !puts)
		rc = run->items ? pen_plan_copy_items(plan, run, why) : copy_sources(plan, run, why);
	if (rc) {
		if (rc == -ENOMEM)
			pen_fail(why, rc, ENOMEM, "no memory for a plan");
		pen_plan_close(plan);
		return rc;
	}
	*ret = plan;
	return 0;
}

void pen_plan_close(struct pen_plan *plan)
{
	if (!plan)
		return;
	for (size_t i = 0; i < plan->wanted_count; i++)
		free(plan->wanted[i]);
	free(plan->wanted);
	for (uint32_t i = 0; i < plan->source_count; i++)
		free(plan->sources[i].path);
	free(plan->sources);
	pen_filter_fini(&plan->filter);
	free(plan->move_to);
	pen_pointer_fini(&plan->pointer);
	free(plan->into);
	free(plan->key);
	free(plan->owner);
	free(plan->correlation_id);
	free(plan->idempotency_key);
	free(plan->labels);
	free(plan);
}

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

static bool has_suffix(const char *path, const char *suffix)
{
	size_t n = strlen(path), k = strlen(suffix);

	return n > k && !strcasecmp(path + n - k, suffix);
}

/* One JSON value, or the beginning of one that is longer than the sample. */
static bool looks_whole(const char *line, size_t len, struct pen_json_flaw *flaw)
{
	return pen_json_valid(line, len, flaw) || (len > SAMPLE_BYTES / 2 && flaw->code == -PEN_JSON_CUT);
}

/* What the first bytes of a file look like. 0, or -PEN_UNSUPPORTED. */
static int sniff(const struct pen_plan *plan, struct pen_source *source, const char *text, size_t len,
		 struct pen_failure *why)
{
	const struct pen_rules rules = { .format = PEN_FORMAT_NDJSON, .terminator = '\n' };
	struct pen_split split;
	struct pen_record record;
	struct pen_json_flaw flaw;
	const char *line;
	size_t n;

	if (plan->compression == PEN_COMPRESSION_AUTO && plan->format != PEN_FORMAT_FILES &&
	    ((len > 2 && !memcmp(text, "\x1f\x8b", 2)) || (len > 4 && !memcmp(text, "\x28\xb5\x2f\xfd", 4))))
		return pen_fail(
			why, -PEN_UNSUPPORTED, 0,
			"'%s' is compressed, which this version does not read: unpack it into a pipe (zcat FILE | penstock run -), or take its bytes as they are with --compression none",
			source->path);
	if (plan->format != PEN_FORMAT_AUTO) {
		source->format = plan->format;
		return 0;
	}
	if (has_suffix(source->path, ".csv") || has_suffix(source->path, ".tsv"))
		return pen_fail(
			why, -PEN_UNSUPPORTED, 0,
			"'%s' looks like a table, which this version does not read as such: --format lines takes it line by line",
			source->path);
	if (len >= 3 && !memcmp(text, "\xef\xbb\xbf", 3)) {
		text += 3;
		len -= 3;
	}
	split = (struct pen_split){ .rules = &rules, .at = text, .end = text + len };
	source->format = PEN_FORMAT_NDJSON;
	if (!pen_split_lines.next(&split, &record) || plan->key_kind == PEN_KEY_POINTER)
		return 0;
	line = record.at;
	n = record.len;
	while (n && (*line == ' ' || *line == '\t')) {
		line++;
		n--;
	}
	if ((n == 1 && (*line == '[' || *line == '{')) || (*line == '[' && !looks_whole(line, n, &flaw)))
		return pen_fail(
			why, -PEN_UNSUPPORTED, 0,
			"'%s' looks like one JSON document over many lines, which this version does not take apart: --format files makes it one item, --format lines one item a line",
			source->path);
	if (*line != '{' && !looks_whole(line, n, &flaw))
		source->format = PEN_FORMAT_LINES;
	return 0;
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
		rc = sniff(plan, source, sample, len, why);
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
	/* A FIFO is opened once: whoever waits to write into it would be let go, and find nobody reading. */
	if (!stat(source->path, &st) && S_ISFIFO(st.st_mode) && !access(source->path, R_OK)) {
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
	if (source->format == PEN_FORMAT_LINES && plan->key_kind == PEN_KEY_POINTER)
		return pen_fail(
			why, -PEN_USAGE, 0,
			"'%s' holds plain lines, which have no fields: the key '%s' needs another format",
			source->path, plan->key);
	if (plan->key_kind == PEN_KEY_PATH && source->format != PEN_FORMAT_FILES)
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

/* Appends a length-prefixed string to a growing buffer, so that no two lists of strings look alike. */
static bool put_string(FILE *f, const char *text)
{
	uint64_t n = strlen(text);

	return fwrite(&n, sizeof n, 1, f) == 1 && fwrite(text, 1, n, f) == n;
}

static int identify(struct pen_plan *plan, struct pen_failure *why)
{
	char *buf = NULL, path[PATH_MAX];
	size_t len = 0;
	FILE *f = open_memstream(&buf, &len);
	uint64_t numbers[] = { 1,
			       plan->format,
			       plan->compression,
			       plan->on_duplicate,
			       plan->validate,
			       plan->max_record,
			       plan->puts,
			       plan->source_count };
	struct pen_sum sum;
	bool ok;

	if (!f)
		return pen_fail(why, -ENOMEM, ENOMEM, "no memory for the batch's identity");
	ok = fwrite(numbers, sizeof numbers, 1, f) == 1 && put_string(f, plan->into) &&
	     put_string(f, plan->key) && put_string(f, plan->owner) && put_string(f, plan->idempotency_key);
	/* A stream's name says nothing of what comes through it: its key does. */
	for (uint32_t i = 0; i < plan->source_count && ok; i++)
		ok = put_string(f, plan->sources[i].kind == PEN_SOURCE_STREAM	? "-" :
				   realpath(plan->sources[i].path, path) ? path : plan->sources[i].path);
	ok = ok && pen_plan_sign_tree(plan, f);
	if (fclose(f) || !ok) {
		free(buf);
		return pen_fail(why, -ENOMEM, ENOMEM, "no memory for the batch's identity");
	}
	sum = pen_hash128(buf, len);
	memcpy(plan->identity, &sum, sizeof sum);
	plan->has_identity = true;
	free(buf);
	return 0;
}

int pen_plan_look(struct pen_plan *plan, const _Atomic bool *stop, struct pen_failure *why)
{
	struct pen_sum parts[2] = { 0 };
	bool streams = plan->puts, counted = true;
	int rc = 0;

	for (size_t i = 0; i < plan->wanted_count && !rc; i++) {
		const char *want = plan->wanted[i];

		if (plan->items)
			rc = add_source(plan, want, why);
		else if (want[0] == '@' && want[1])
			rc = add_list(plan, want + 1, why);
		else
			rc = add_glob(plan, want, why);
	}
	if (!rc && !plan->puts && !plan->source_count)
		rc = pen_fail(why, -PEN_USAGE, 0, "the list of sources is empty");
	for (uint32_t i = 0; i < plan->source_count && !rc; i++) {
		struct pen_source *source = &plan->sources[i];

		rc = look(plan, source, stop, parts, why);
		if (!rc)
			rc = check_source(plan, source, why);
		streams |= source->kind == PEN_SOURCE_STREAM;
		counted &= source->format == PEN_FORMAT_FILES;
		plan->bytes_total += source->size;
		plan->items_total += source->kind == PEN_SOURCE_TREE ? source->files : 1;
	}
	if (rc)
		return rc;
	rc = pen_plan_check_tree(plan, why);
	if (rc)
		return rc;
	if (streams && (plan->puts || plan->source_count > 1 || !plan->sources[0].size))
		plan->bytes_total = 0;
	if (!counted || streams)
		plan->items_total = 0;
	/* The two halves tell changed files from changed trees. */
	memcpy(plan->content, &parts[0].lo, 8);
	memcpy(plan->content + 8, &parts[1].lo, 8);
	return !streams || *plan->idempotency_key ? identify(plan, why) : 0;
}
