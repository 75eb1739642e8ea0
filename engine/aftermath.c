/* SPDX-License-Identifier: MIT */
/*
 * The list is a head, then a row a file (or a directory that the next files lie in), then a row that closes it. A
 * list without that row was never sealed. It is locked while its run lives, so that no other run takes it for left
 * behind.
 *
 * Between looking at a file and unlinking it another program may put a new file in its place; the kernel has no call that
 * does both. The moment is as short as two system calls, and a program that renames files into a directory that is
 * being emptied has that race with every tool.
 */
#include "engine/aftermath.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ring/beneath.h"
#include "ring/error.h"

#define MAGIC 0x31726574666170ull /* "pafter1" */

enum row_kind { ROW_DIR = 1, ROW_FILE, ROW_END };

struct head {
	uint64_t magic, batch;
	struct pen_sum request;
	uint32_t what, move_len;
};

struct row {
	uint64_t dev, ino, size;
	int64_t mtime_ns;
	uint32_t kind, path_len;
};

struct pen_aftermath {
	struct pen_engine *engine;
	FILE *file;
	uint64_t batch;
	struct pen_sum request;
	enum pen_on_success what;
	bool spoilt, sealed, done;
	int staging;	 /* its directory */
	char name[32];	 /* in it; ".new" behind it until it is sealed */
	char move_to[PATH_MAX];

	/* While it is carried out. */
	int root, dir, to_root, to_dir; /* the listed directory, the file's own; where it moves to */
	char dir_path[PEN_PATH_BYTES_MAX + 1];
	bool dir_open;
	uint64_t count, kept, gone;
	char kept_first[PEN_PATH_BYTES_MAX + 1];
	const char *kept_why;
};

/* ---- the list ------------------------------------------------------------------------------ */

static const char *suffix(const struct pen_aftermath *after)
{
	return after->sealed ? "" : ".new";
}

static struct pen_aftermath *begin(struct pen_engine *engine)
{
	struct pen_aftermath *after = calloc(1, sizeof *after);
	char path[PATH_MAX];

	if (!after)
		return NULL;
	after->engine = engine;
	after->root = after->dir = after->to_root = after->to_dir = -1;
	snprintf(path, sizeof path, "%s/staging", pen_store_path(engine->store));
	after->staging = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (after->staging < 0) {
		free(after);
		return NULL;
	}
	return after;
}

void pen_aftermath_spoil(struct pen_aftermath *after, const char *why)
{
	if (!after || after->spoilt)
		return;
	after->spoilt = true;
	pen_engine_notice(after->engine, 0, "the source files will be kept: %s", why);
}

static void put(struct pen_aftermath *after, const struct row *row, const char *path)
{
	if (after->spoilt)
		return;
	if (fwrite(row, sizeof *row, 1, after->file) != 1 ||
	    fwrite(path, 1, row->path_len, after->file) != row->path_len)
		pen_aftermath_spoil(after, strerror(errno));
}

/* What was asked, as far as it is known before anything is looked at. */
static struct pen_sum request_of(const struct pen_plan *plan)
{
	uint64_t numbers[] = { plan->format,	 plan->compression, plan->on_duplicate, plan->validate,
			       plan->max_record, plan->items,	    plan->terminator,	plan->tree.follow,
			       plan->on_success };
	struct pen_sum sum = pen_hash128(numbers, sizeof numbers);
	const char *texts[] = { plan->into, plan->key, plan->owner, plan->idempotency_key, plan->move_to };
	char cwd[PATH_MAX], *filter = NULL;
	size_t filter_len = 0;
	FILE *f = open_memstream(&filter, &filter_len);

	if (f && pen_filter_sign(&plan->filter, f) && !fclose(f))
		sum = pen_hash_record(&sum, sizeof sum, filter, filter_len);
	free(filter);
	for (size_t i = 0; i < PEN_COUNT(texts); i++)
		sum = pen_hash_record(&sum, sizeof sum, texts[i], strlen(texts[i]));
	for (size_t i = 0; i < plan->wanted_count; i++)
		sum = pen_hash_record(&sum, sizeof sum, plan->wanted[i], strlen(plan->wanted[i]));
	if (getcwd(cwd, sizeof cwd))
		sum = pen_hash_record(&sum, sizeof sum, cwd, strlen(cwd));
	return sum;
}

struct pen_aftermath *pen_aftermath_open(struct pen_engine *engine, const struct pen_plan *plan, uint64_t batch)
{
	struct pen_aftermath *after;
	struct head head = { .magic = MAGIC, .batch = batch, .what = (uint32_t)plan->on_success };
	char name[48];
	int fd = -1;

	if (plan->on_success == PEN_SUCCESS_KEEP)
		return NULL;
	after = begin(engine);
	if (after) {
		after->batch = batch;
		after->what = plan->on_success;
		snprintf(after->name, sizeof after->name, "after.%016llx", (unsigned long long)batch);
		snprintf(name, sizeof name, "%s.new", after->name);
		fd = openat(after->staging, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd >= 0 && (flock(fd, LOCK_EX | LOCK_NB) || ftruncate(fd, 0))) {
			close(fd);
			fd = -1;
		}
		after->file = fd < 0 ? NULL : fdopen(fd, "r+");
	}
	if (!after || !after->file) {
		pen_engine_notice(engine, 0, "the source files will be kept: no list of them can be made: %s",
				  strerror(errno));
		if (fd >= 0)
			close(fd);
		if (after)
			close(after->staging);
		free(after);
		return NULL;
	}
	after->request = head.request = request_of(plan);
	snprintf(after->move_to, sizeof after->move_to, "%s", plan->move_to);
	head.move_len = (uint32_t)strlen(after->move_to);
	if (fwrite(&head, sizeof head, 1, after->file) != 1 ||
	    fwrite(after->move_to, 1, head.move_len, after->file) != head.move_len)
		pen_aftermath_spoil(after, strerror(errno));
	return after;
}

static void put_dir(struct pen_aftermath *after, const char *path)
{
	struct row row = { .kind = ROW_DIR, .path_len = (uint32_t)strlen(path) };

	put(after, &row, path);
}

void pen_aftermath_tree(struct pen_aftermath *after, const struct pen_source *source)
{
	char path[PATH_MAX];

	if (!after)
		return;
	if (realpath(source->path, path))
		put_dir(after, path);
	else
		pen_aftermath_spoil(after, strerror(errno));
}

void pen_aftermath_file(struct pen_aftermath *after, const struct pen_walk_file *file)
{
	struct row row = {
		.dev = file->dev,
		.ino = file->ino,
		.size = file->size,
		.mtime_ns = file->mtime_ns,
		.kind = ROW_FILE,
		.path_len = (uint32_t)file->path_len,
	};

	if (!after || file->error)
		return;
	put(after, &row, file->path);
}

void pen_aftermath_source(struct pen_aftermath *after, const struct pen_source *source)
{
	const char *slash = strrchr(source->path, '/');
	char dir[PATH_MAX] = ".", path[PATH_MAX];
	struct pen_walk_file file = {
		.path = slash ? slash + 1 : source->path,
		.dev = source->dev,
		.ino = source->ino,
		.size = source->size,
		.mtime_ns = source->mtime_ns,
	};

	if (!after || source->kind != PEN_SOURCE_FILE)
		return;
	if (slash)
		snprintf(dir, sizeof dir, "%.*s", (int)(slash == source->path ? 1 : slash - source->path),
			 source->path);
	file.path_len = strlen(file.path);
	if (!realpath(dir, path)) {
		pen_aftermath_spoil(after, strerror(errno));
		return;
	}
	put_dir(after, path);
	pen_aftermath_file(after, &file);
}

/* A tree that is not read now: its files are listed if together they still are what the plan saw. */
static void walk_tree(struct pen_aftermath *after, const struct pen_plan *plan, const struct pen_source *source)
{
	int rc, fd = pen_source_open(source);
	struct pen_walk *walk = NULL;
	struct pen_walk_file file;
	struct pen_sum sum = { 0 };

	pen_aftermath_tree(after, source);
	rc = fd < 0 ? fd : pen_walk_open(fd, &plan->tree, &walk);
	while (!rc && (rc = pen_walk_next(walk, &file)) > 0) {
		pen_sum_add(&sum, pen_walk_file_hash(&file));
		if (!file.linked)
			pen_aftermath_file(after, &file);
		rc = 0;
	}
	pen_walk_close(walk);
	if (fd >= 0)
		close(fd);
	if (rc || memcmp(&sum, &source->sum, sizeof sum))
		pen_aftermath_spoil(after, "a directory changes while it is looked at");
}

void pen_aftermath_earlier(struct pen_aftermath *after, const struct pen_plan *plan, uint32_t from, uint32_t to,
			   bool unchanged)
{
	for (uint32_t i = from; after && i < to; i++) {
		const struct pen_source *source = &plan->sources[i];

		if (source->kind == PEN_SOURCE_FILE)
			pen_aftermath_source(after, source);
		else if (source->kind == PEN_SOURCE_TREE && unchanged)
			walk_tree(after, plan, source);
		else if (source->kind == PEN_SOURCE_TREE)
			pen_aftermath_spoil(after, "a directory changed since an earlier run read it");
	}
}

void pen_aftermath_seal(struct pen_aftermath *after)
{
	struct row end = { .kind = ROW_END };
	char name[48];

	if (!after || after->spoilt || after->sealed)
		return;
	put(after, &end, "");
	snprintf(name, sizeof name, "%s.new", after->name);
	if (after->spoilt || fflush(after->file) || fsync(fileno(after->file)) ||
	    renameat(after->staging, name, after->staging, after->name) || fsync(after->staging)) {
		pen_aftermath_spoil(after, strerror(errno));
		return;
	}
	after->sealed = true;
}

/* ---- carrying out -------------------------------------------------------------------------- */

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void keep(struct pen_aftermath *after, const char *path, const char *why)
{
	if (!after->kept++) {
		snprintf(after->kept_first, sizeof after->kept_first, "%s", path);
		after->kept_why = why;
	}
}

/* Opens a directory below root part by part, making what is not there. The descriptor, or -errno. */
static int make_below(int root, const char *path)
{
	int dir = fcntl(root, F_DUPFD_CLOEXEC, 3);

	while (dir >= 0 && *path) {
		size_t len = strcspn(path, "/");
		char part[NAME_MAX + 1];
		int below;

		if (len > NAME_MAX) {
			close(dir);
			return -ENAMETOOLONG;
		}
		memcpy(part, path, len);
		part[len] = 0;
		path += len + (path[len] == '/');
		below = mkdirat(dir, part, 0777) && errno != EEXIST ?
				-errno :
				pen_beneath_open(dir, part, O_RDONLY | O_DIRECTORY, false);
		close(dir);
		dir = below;
	}
	return dir < 0 && dir == -1 ? -errno : dir;
}

/* The directory of the file at path, here and where it moves to, stay open for its neighbours. NULL, or why not. */
static const char *enter(struct pen_aftermath *after, const char *path, size_t dir_len)
{
	if (after->dir_open && strlen(after->dir_path) == dir_len && !memcmp(after->dir_path, path, dir_len))
		return NULL;
	close_fd(&after->dir);
	close_fd(&after->to_dir);
	after->dir_open = false;
	memcpy(after->dir_path, path, dir_len);
	after->dir_path[dir_len] = 0;
	after->dir = pen_beneath_open(after->root, dir_len ? after->dir_path : ".", O_RDONLY | O_DIRECTORY, false);
	if (after->dir == -ENOENT)
		return "";
	if (after->dir < 0)
		return "its directory cannot be opened";
	if (after->what == PEN_SUCCESS_MOVE) {
		after->to_dir = make_below(after->to_root, after->dir_path);
		if (after->to_dir < 0)
			return "its directory cannot be made there";
	}
	after->dir_open = true;
	return NULL;
}

static bool is_same(const struct stat *st, const struct row *row)
{
	return S_ISREG(st->st_mode) && st->st_dev == row->dev && st->st_ino == row->ino &&
	       (uint64_t)st->st_size == row->size &&
	       (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec == row->mtime_ns;
}

static const char *move_error(int err)
{
	switch (err) {
	case EXDEV:
		return "the directory to move to lies on another file system";
	case EEXIST:
		return "a file of that name is there already";
	default:
		return strerrordesc_np(err);
	}
}

/* NULL: done. "": it is gone. Else why it is kept. */
static const char *deal_with(struct pen_aftermath *after, const struct row *row, const char *path)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *why;
	struct stat st;

	if (after->root < 0)
		return after->root == -ENOENT ? "" : "its directory cannot be opened";
	why = enter(after, path, slash ? (size_t)(slash - path) : 0);
	if (why)
		return why;
	if (fstatat(after->dir, name, &st, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT ? "" : strerrordesc_np(errno);
	if (S_ISLNK(st.st_mode))
		return "it is a symbolic link";
	if (!is_same(&st, row))
		return "it is not the file that was read";
	if (after->what == PEN_SUCCESS_MOVE) {
		if (renameat2(after->dir, name, after->to_dir, name, RENAME_NOREPLACE))
			return move_error(errno);
	} else if (unlinkat(after->dir, name, 0)) {
		return strerrordesc_np(errno);
	}
	return NULL;
}

/* One row. False: the list ends here. */
static bool take(struct pen_aftermath *after, bool *ret_whole)
{
	char path[PEN_PATH_BYTES_MAX + 1];
	const char *why;
	struct row row;

	*ret_whole = false;
	if (fread(&row, sizeof row, 1, after->file) != 1 || row.path_len >= sizeof path ||
	    fread(path, 1, row.path_len, after->file) != row.path_len)
		return false;
	path[row.path_len] = 0;
	switch (row.kind) {
	case ROW_DIR:
		close_fd(&after->root);
		after->dir_open = false;
		after->root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (after->root < 0)
			after->root = -errno;
		return true;
	case ROW_FILE:
		why = deal_with(after, &row, path);
		if (!why)
			after->count++;
		else if (*why)
			keep(after, path, why);
		else
			after->gone++;
		return true;
	default:
		*ret_whole = row.kind == ROW_END;
		return false;
	}
}

/* Reads the head. False: this is no list. */
static bool read_head(struct pen_aftermath *after)
{
	struct head head;

	rewind(after->file);
	if (fread(&head, sizeof head, 1, after->file) != 1 || head.magic != MAGIC ||
	    head.move_len >= sizeof after->move_to ||
	    fread(after->move_to, 1, head.move_len, after->file) != head.move_len)
		return false;
	after->move_to[head.move_len] = 0;
	after->batch = head.batch;
	after->request = head.request;
	after->what = (enum pen_on_success)head.what;
	return true;
}

static void say(const struct pen_aftermath *after)
{
	bool move = after->what == PEN_SUCCESS_MOVE;

	if (after->count)
		pen_engine_notice(after->engine, 0, "%llu source file%s %s%s",
				  (unsigned long long)after->count, after->count == 1 ? " was" : "s were", move ? "moved to " : "deleted",
				  move ? after->move_to : "");
	if (after->kept)
		pen_engine_notice(after->engine, -PEN_SOURCE_KEPT, "%llu source file%s kept, the first is %s: %s",
				  (unsigned long long)after->kept, after->kept == 1 ? " was" : "s were", after->kept_first, after->kept_why);
}

static void carry_out(struct pen_aftermath *after)
{
	bool whole = false;

	if (!read_head(after))
		return;
	if (after->what == PEN_SUCCESS_MOVE) {
		after->to_root = open(after->move_to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (after->to_root < 0) {
			pen_engine_notice(after->engine, -PEN_SOURCE_KEPT, "the source files were kept: %s: %s",
					  after->move_to, strerror(errno));
			return;
		}
	}
	/* Relaxed: a hint; what is left is the next run's. */
	while (!atomic_load_explicit(&after->engine->drain, memory_order_relaxed) && take(after, &whole))
		;
	if (after->root >= 0)
		(void)syncfs(after->root); /* a power cut may bring files back, which nobody would look for */
	if (after->to_root >= 0)
		(void)syncfs(after->to_root);
	after->done = whole;
	say(after);
	if (!whole)
		pen_engine_notice(after->engine, 0, "the other source files are left to the next run");
}

void pen_aftermath_carry_out(struct pen_aftermath *after, const struct pen_fmt_counters *counted)
{
	if (!after || after->spoilt || !after->sealed)
		return;
	if (counted->rejected || counted->failed) {
		after->done = true;
		pen_engine_notice(after->engine, 0,
				  "the source files were kept: what was rejected stands nowhere else");
		return;
	}
	carry_out(after);
}

void pen_aftermath_forget(struct pen_aftermath *after)
{
	if (after)
		after->done = true;
}

void pen_aftermath_close(struct pen_aftermath *after)
{
	char name[48];

	if (!after)
		return;
	snprintf(name, sizeof name, "%s%s", after->name, suffix(after));
	if (!after->sealed || after->done)
		(void)unlinkat(after->staging, name, 0); /* a list that stays is found and dropped by a later run */
	fclose(after->file);
	close(after->staging);
	if (after->root >= 0)
		close(after->root);
	close_fd(&after->dir);
	close_fd(&after->to_root);
	close_fd(&after->to_dir);
	free(after);
}

/* ---- left behind --------------------------------------------------------------------------- */

/* One list of a dead run: NULL when it is none, or lives. */
static struct pen_aftermath *adopt(struct pen_engine *engine, const char *name)
{
	size_t len = strlen(name);
	struct pen_aftermath *after = len < sizeof after->name ? begin(engine) : NULL;
	struct stat st;
	int fd;

	if (!after)
		return NULL;
	after->sealed = true;
	memcpy(after->name, name, len + 1);
	fd = openat(after->staging, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) || fstat(fd, &st) || !st.st_nlink ||
	    !(after->file = fdopen(fd, "r"))) {
		if (fd >= 0)
			close(fd);
		close(after->staging);
		free(after);
		return NULL;
	}
	after->done = !read_head(after) || len > strlen("after.0123456789abcdef"); /* ".new": its run died before it was sealed */
	return after;
}

static bool recover(struct pen_engine *engine, const char *name, const struct pen_sum *request, uint64_t *ret_batch)
{
	struct pen_aftermath *after = adopt(engine, name);
	struct pen_standing *st = malloc(sizeof *st);
	bool ours = false;
	int rc;

	if (after && st && !after->done) {
		rc = pen_ledger_read(engine->store, after->batch, NULL, st);
		if (rc == -PEN_NOT_FOUND || (!rc && (st->fixed.state == PEN_FAILED || st->fixed.state == PEN_CANCELLED)))
			after->done = true;
		if (!rc && st->fixed.state == PEN_COMPLETED) {
			pen_aftermath_carry_out(after, &st->fixed.applied);
			ours = after->done && !memcmp(request, &after->request, sizeof *request);
			*ret_batch = after->batch;
		}
	}
	free(st);
	pen_aftermath_close(after);
	return ours;
}

bool pen_aftermath_recover(struct pen_engine *engine, const struct pen_plan *plan, uint64_t *ret_batch)
{
	struct pen_sum request;
	char path[PATH_MAX];
	struct dirent *d;
	bool ours = false;
	uint64_t batch;
	DIR *dir;

	if (plan->on_success == PEN_SUCCESS_KEEP)
		return false;
	snprintf(path, sizeof path, "%s/staging", pen_store_path(engine->store));
	dir = opendir(path);
	if (!dir)
		return false;
	request = request_of(plan);
	while ((d = readdir(dir)))
		if (!strncmp(d->d_name, "after.", 6) && recover(engine, d->d_name, &request, &batch) &&
		    !plan->fresh) {
			ours = true;
			*ret_batch = batch;
		}
	closedir(dir);
	return ours;
}

int pen_aftermath_check(const struct pen_plan *plan, struct pen_failure *why)
{
	char to[PATH_MAX], from[PATH_MAX];

	if (plan->on_success != PEN_SUCCESS_MOVE)
		return 0;
	if (mkdir(plan->move_to, 0777) && errno != EEXIST)
		return pen_fail(why, -PEN_USAGE, errno, "the directory to move to, '%s', cannot be made: %s",
				plan->move_to, strerror(errno));
	if (!realpath(plan->move_to, to) || access(to, W_OK | X_OK))
		return pen_fail(why, -PEN_USAGE, errno, "the directory to move to, '%s', cannot be used: %s",
				plan->move_to, strerror(errno));
	for (uint32_t i = 0; i < plan->source_count; i++) {
		size_t n;

		if (plan->sources[i].kind != PEN_SOURCE_TREE || !realpath(plan->sources[i].path, from))
			continue;
		n = strlen(from);
		if (!strncmp(to, from, n) && (!to[n] || to[n] == '/' || n == 1))
			return pen_fail(why, -PEN_USAGE, 0,
					"the directory to move to, '%s', lies in the source '%s': the next run would read it",
					plan->move_to, plan->sources[i].path);
	}
	return 0;
}
