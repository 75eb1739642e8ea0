/* SPDX-License-Identifier: MIT */
/*
 * Between looking at a file and unlinking it another program may put a new file in its place; the kernel has
 * no call that does both. The moment is as short as two system calls, and a program that renames files into a
 * directory that is being emptied has that race with every tool.
 */
#include "engine/aftermath.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/owed.h"
#include "ring/beneath.h"
#include "ring/error.h"

struct pen_aftermath {
	struct pen_engine *engine;
	struct pen_owed *owed;
	struct pen_owed_head head;
	bool spoilt, done;

	/* While it is carried out. */
	int root, dir, to_root, to_dir; /* the listed directory, the file's own; where it moves to */
	char dir_path[PEN_PATH_BYTES_MAX + 1];
	bool dir_open;
	uint64_t count, kept;
	char kept_first[PEN_PATH_BYTES_MAX + 1];
	const char *kept_why;
};

/* ---- the list ------------------------------------------------------------------------------ */

static struct pen_aftermath *begin(struct pen_engine *engine)
{
	struct pen_aftermath *after = calloc(1, sizeof *after);

	if (!after)
		return NULL;
	after->engine = engine;
	after->root = after->dir = after->to_root = after->to_dir = -1;
	return after;
}

static void staging(const struct pen_engine *engine, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/staging", pen_store_path(engine->store));
}

void pen_aftermath_spoil(struct pen_aftermath *after, const char *why)
{
	if (!after || after->spoilt)
		return;
	after->spoilt = true;
	pen_engine_notice(after->engine, -PEN_SOURCE_KEPT, "the source files will be kept: %s", why);
}

static void put(struct pen_aftermath *after, const struct pen_owed_row *row)
{
	int rc = after->spoilt ? 0 : pen_owed_put(after->owed, row);

	if (rc)
		pen_aftermath_spoil(after, strerrordesc_np(-rc));
}

/* What was asked, as far as it is known before anything is looked at. */
static struct pen_sum request_of(const struct pen_plan *plan)
{
	uint64_t numbers[] = { plan->format,	 plan->compression, plan->on_duplicate,
			       plan->validate,	 plan->max_record,  plan->items,
			       plan->terminator, plan->tree.follow, plan->on_success };
	struct pen_sum sum = pen_hash128(numbers, sizeof numbers);
	const char *texts[] = { plan->into, plan->key, plan->owner, plan->idempotency_key, plan->move_to };
	char cwd[PATH_MAX], *filter = NULL;
	size_t filter_len = 0;
	FILE *f = open_memstream(&filter, &filter_len);

	if (f) {
		bool ok = pen_filter_sign(&plan->filter, f) && pen_plan_sign_table(plan, f);

		if (!fclose(f) && ok)
			sum = pen_hash_record(&sum, sizeof sum, filter, filter_len);
	}
	free(filter);
	for (size_t i = 0; i < PEN_COUNT(texts); i++)
		sum = pen_hash_record(&sum, sizeof sum, texts[i], strlen(texts[i]));
	for (size_t i = 0; i < plan->wanted_count; i++)
		sum = pen_hash_record(&sum, sizeof sum, plan->wanted[i], strlen(plan->wanted[i]));
	if (getcwd(cwd, sizeof cwd))
		sum = pen_hash_record(&sum, sizeof sum, cwd, strlen(cwd));
	return sum;
}

struct pen_aftermath *pen_aftermath_open(struct pen_engine *engine, const struct pen_plan *plan,
					 uint64_t batch)
{
	struct pen_aftermath *after;
	char dir[PATH_MAX];
	int rc = -ENOMEM;

	if (plan->on_success == PEN_SUCCESS_KEEP)
		return NULL;
	after = begin(engine);
	if (after) {
		staging(engine, dir);
		after->head.batch = batch;
		after->head.what = (uint32_t)plan->on_success;
		after->head.request = request_of(plan);
		snprintf(after->head.move_to, sizeof after->head.move_to, "%s", plan->move_to);
		rc = pen_owed_create(dir, &after->head, &after->owed);
	}
	if (!rc)
		return after;
	pen_engine_notice(engine, -PEN_SOURCE_KEPT,
			  "the source files will be kept: no list of them can be made: %s",
			  strerrordesc_np(-rc));
	free(after);
	return NULL;
}

static void put_dir(struct pen_aftermath *after, const char *path)
{
	put(after, &(struct pen_owed_row){ .kind = PEN_OWED_DIR, .path = path, .path_len = strlen(path) });
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
	struct pen_owed_row row = {
		.kind = PEN_OWED_FILE,
		.path = file->path,
		.path_len = file->path_len,
		.dev = file->dev,
		.ino = file->ino,
		.size = file->size,
		.mtime_ns = file->mtime_ns,
	};

	/* What a link leads to is somebody else's. */
	if (after && !file->error && !file->linked)
		put(after, &row);
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
static void walk_tree(struct pen_aftermath *after, const struct pen_plan *plan,
		      const struct pen_source *source)
{
	int rc, fd = pen_source_open(source);
	struct pen_walk *walk = NULL;
	struct pen_walk_file file;
	struct pen_sum sum = { 0 };

	pen_aftermath_tree(after, source);
	rc = fd < 0 ? fd : pen_walk_open(fd, &plan->tree, &walk);
	while (!rc && (rc = pen_walk_next(walk, &file)) > 0) {
		pen_sum_add(&sum, pen_walk_file_hash(&file));
		pen_aftermath_file(after, &file);
		rc = 0;
	}
	pen_walk_close(walk);
	if (fd >= 0)
		close(fd);
	if (rc || memcmp(&sum, &source->sum, sizeof sum))
		pen_aftermath_spoil(after, "a directory changes while it is looked at");
}

void pen_aftermath_earlier(struct pen_aftermath *after, const struct pen_plan *plan, uint32_t from,
			   uint32_t to, bool unchanged)
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
	int rc = after && !after->spoilt ? pen_owed_seal(after->owed) : 0;

	if (rc)
		pen_aftermath_spoil(after, strerrordesc_np(-rc));
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
		below = mkdirat(dir, part, 0777) && errno != EEXIST
				? -errno
				: pen_beneath_open(dir, part, O_RDONLY | O_DIRECTORY, false);
		close(dir);
		dir = below;
	}
	return dir == -1 ? -errno : dir;
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
	after->dir =
		pen_beneath_open(after->root, dir_len ? after->dir_path : ".", O_RDONLY | O_DIRECTORY, false);
	if (after->dir == -ENOENT)
		return "";
	if (after->dir < 0)
		return "its directory cannot be opened";
	if (after->head.what == PEN_SUCCESS_MOVE) {
		after->to_dir = make_below(after->to_root, after->dir_path);
		if (after->to_dir < 0)
			return "its directory cannot be made there";
	}
	after->dir_open = true;
	return NULL;
}

static bool is_same(const struct stat *st, const struct pen_owed_row *row)
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
static const char *deal_with(struct pen_aftermath *after, const struct pen_owed_row *row)
{
	const char *path = row->path, *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *why;
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
	if (after->head.what == PEN_SUCCESS_MOVE) {
		if (renameat2(after->dir, name, after->to_dir, name, RENAME_NOREPLACE))
			return move_error(errno);
	} else if (unlinkat(after->dir, name, 0)) {
		return strerrordesc_np(errno);
	}
	return NULL;
}

static void take(struct pen_aftermath *after, const struct pen_owed_row *row)
{
	const char *why;

	if (row->kind == PEN_OWED_DIR) {
		close_fd(&after->root);
		after->dir_open = false;
		after->root = open(row->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (after->root < 0)
			after->root = -errno;
		return;
	}
	why = deal_with(after, row);
	if (!why)
		after->count++;
	else if (*why)
		keep(after, row->path, why);
}

static void say(const struct pen_aftermath *after)
{
	bool move = after->head.what == PEN_SUCCESS_MOVE;

	if (after->count)
		pen_engine_notice(after->engine, 0, "%llu source file%s %s%s",
				  (unsigned long long)after->count, after->count == 1 ? " was" : "s were",
				  move ? "moved to " : "deleted", move ? after->head.move_to : "");
	if (after->kept)
		pen_engine_notice(after->engine, -PEN_SOURCE_KEPT,
				  "%llu source file%s kept, the first is %s: %s",
				  (unsigned long long)after->kept, after->kept == 1 ? " was" : "s were",
				  after->kept_first, after->kept_why);
}

static void carry_out(struct pen_aftermath *after)
{
	struct pen_owed_row row;
	int rc = 1;

	if (after->head.what == PEN_SUCCESS_MOVE) {
		after->to_root = open(after->head.move_to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (after->to_root < 0) {
			pen_engine_notice(after->engine, -PEN_SOURCE_KEPT,
					  "the source files were kept: %s: %s", after->head.move_to,
					  strerror(errno));
			return;
		}
	}
	/* Relaxed: a hint; what is left is the next run's. */
	while (!atomic_load_explicit(&after->engine->drain, memory_order_relaxed) &&
	       (rc = pen_owed_next(after->owed, &row)) > 0)
		take(after, &row);
	if (after->root >= 0)
		(void)syncfs(after->root); /* a power cut may bring files back, which nobody would look for */
	if (after->to_root >= 0)
		(void)syncfs(after->to_root);
	after->done = rc <= 0;
	say(after);
	if (!after->done)
		pen_engine_notice(after->engine, 0, "the other source files are left to the next run");
}

void pen_aftermath_carry_out(struct pen_aftermath *after, const struct pen_fmt_counters *counted)
{
	if (!after || after->spoilt || !pen_owed_sealed(after->owed) ||
	    pen_owed_rewind(after->owed, &after->head))
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
	if (!after)
		return;
	pen_owed_close(after->owed, after->done || after->spoilt);
	if (after->root >= 0)
		close(after->root);
	close_fd(&after->dir);
	close_fd(&after->to_root);
	close_fd(&after->to_dir);
	free(after);
}

/* ---- left behind --------------------------------------------------------------------------- */

static bool recover(struct pen_engine *engine, const char *dir, const char *name,
		    const struct pen_sum *request, uint64_t *ret_batch)
{
	struct pen_aftermath *after = begin(engine);
	struct pen_standing *st = malloc(sizeof *st);
	bool ours = false;
	int rc;

	if (!after || !st || pen_owed_adopt(dir, name, &after->owed)) { /* it lives, or went meanwhile */
		free(after);
		free(st);
		return false;
	}
	if (pen_owed_rewind(after->owed, &after->head)) {
		after->done = true; /* its run died before it was sealed */
	} else {
		rc = pen_ledger_read(engine->store, after->head.batch, NULL, st);
		if (rc == -PEN_NOT_FOUND)
			after->done = true;
		else if (!rc && st->fixed.state == PEN_COMPLETED)
			pen_aftermath_carry_out(after, &st->fixed.applied);
		else if (!rc && pen_ledger_over(st->fixed.state))
			after->done = true;
		ours = !rc && st->fixed.state == PEN_COMPLETED && after->done &&
		       !memcmp(request, &after->head.request, sizeof *request);
		*ret_batch = after->head.batch;
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
	staging(engine, path);
	dir = opendir(path);
	if (!dir)
		return false;
	request = request_of(plan);
	while ((d = readdir(dir)))
		if (pen_owed_is_name(d->d_name) && recover(engine, path, d->d_name, &request, &batch) &&
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
			return pen_fail(
				why, -PEN_USAGE, 0,
				"the directory to move to, '%s', lies in the source '%s': the next run would read it",
				plan->move_to, plan->sources[i].path);
	}
	return 0;
}
