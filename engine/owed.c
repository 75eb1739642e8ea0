/* SPDX-License-Identifier: MIT */
#include "engine/owed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ring/base.h"
#include "store/format.h"

#define MAGIC 0x31726574666170ull /* "pafter1" */
#define PREFIX "after."
#define UNSEALED ".new"
#define ROW_END 0u

struct disk_head {
	uint64_t magic, batch;
	struct pen_sum request;
	uint32_t what, move_len;
};

struct disk_row {
	uint64_t dev, ino, size;
	int64_t mtime_ns;
	uint32_t kind, path_len;
};

struct pen_owed {
	FILE *file;
	int dir;
	bool sealed;
	char name[32]; /* it has now */
	char path[PEN_PATH_BYTES_MAX + 1];
};

static int failed(struct pen_owed *owed)
{
	int error = errno, rc = error > 0 ? -error : -EIO;

	if (owed->dir >= 0)
		close(owed->dir);
	if (owed->file)
		fclose(owed->file);
	free(owed);
	return rc;
}

/* Opens the list in its directory and locks it. 0 or -errno, and the list is gone. */
static int begin(const char *dir, int flags, struct pen_owed *owed)
{
	struct stat st;
	int fd;

	owed->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (owed->dir < 0)
		return failed(owed);
	fd = openat(owed->dir, owed->name, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	if (fd < 0)
		return failed(owed);
	owed->file = fdopen(fd, "r+");
	if (!owed->file) {
		close(fd);
		return failed(owed);
	}
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		errno = errno == EWOULDBLOCK ? EBUSY : errno;
		return failed(owed);
	}
	/* Its last holder may have removed it before we had the lock. */
	if (fstat(fd, &st) || !st.st_nlink) {
		errno = ENOENT;
		return failed(owed);
	}
	return 0;
}

static int write_all(struct pen_owed *owed, const void *data, size_t len)
{
	return fwrite(data, 1, len, owed->file) == len ? 0 : -errno;
}

int pen_owed_create(const char *dir, const struct pen_owed_head *head, struct pen_owed **ret)
{
	struct disk_head d = { .magic = MAGIC,
			       .batch = head->batch,
			       .request = head->request,
			       .what = head->what,
			       .move_len = (uint32_t)strlen(head->move_to) };
	struct pen_owed *owed = calloc(1, sizeof *owed);
	int rc;

	if (!owed)
		return -ENOMEM;
	snprintf(owed->name, sizeof owed->name, PREFIX "%016llx" UNSEALED, (unsigned long long)head->batch);
	rc = begin(dir, O_RDWR | O_CREAT, owed);
	if (rc)
		return rc;
	/* As in adopt: begin frees it only when it fails. NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
	rc = ftruncate(fileno(owed->file), 0) ? -errno : write_all(owed, &d, sizeof d);
	if (!rc)
		rc = write_all(owed, head->move_to, d.move_len);
	if (rc) {
		pen_owed_close(owed, true);
		return rc;
	}
	*ret = owed;
	return 0;
}

int pen_owed_put(struct pen_owed *owed, const struct pen_owed_row *row)
{
	struct disk_row d = {
		row->dev, row->ino, row->size, row->mtime_ns, (uint32_t)row->kind, (uint32_t)row->path_len
	};
	int rc = row->path_len > PEN_PATH_BYTES_MAX ? -ENAMETOOLONG : write_all(owed, &d, sizeof d);

	return rc ? rc : write_all(owed, row->path, row->path_len);
}

int pen_owed_seal(struct pen_owed *owed)
{
	struct disk_row end = { .kind = ROW_END };
	char name[sizeof owed->name];
	int rc = write_all(owed, &end, sizeof end);

	if (rc)
		return rc;
	memcpy(name, owed->name, sizeof name);
	name[strlen(name) - strlen(UNSEALED)] = 0;
	if (fflush(owed->file) || fsync(fileno(owed->file)) ||
	    renameat(owed->dir, owed->name, owed->dir, name))
		return -errno;
	memcpy(owed->name, name, sizeof name);
	owed->sealed = true;
	return fsync(owed->dir) ? -errno : 0;
}

bool pen_owed_sealed(const struct pen_owed *owed)
{
	return owed->sealed;
}

bool pen_owed_is_name(const char *name)
{
	return !strncmp(name, PREFIX, strlen(PREFIX)) && strlen(name) < sizeof(((struct pen_owed *)0)->name);
}

int pen_owed_adopt(const char *dir, const char *name, struct pen_owed **ret)
{
	struct pen_owed *owed = pen_owed_is_name(name) ? calloc(1, sizeof *owed) : NULL;
	size_t len = strlen(name), tail = strlen(UNSEALED);
	int rc;

	if (!owed)
		return pen_owed_is_name(name) ? -ENOMEM : -EBADMSG;
	memcpy(owed->name, name, len + 1);
	rc = begin(dir, O_RDWR, owed);
	if (rc)
		return rc;
	/* begin frees it only when it fails. NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
	owed->sealed = len < tail || strcmp(name + len - tail, UNSEALED) != 0;
	*ret = owed;
	return 0;
}

int pen_owed_rewind(struct pen_owed *owed, struct pen_owed_head *ret)
{
	struct disk_head d;

	rewind(owed->file);
	if (!owed->sealed || fread(&d, sizeof d, 1, owed->file) != 1 || d.magic != MAGIC ||
	    d.move_len >= sizeof ret->move_to || fread(ret->move_to, 1, d.move_len, owed->file) != d.move_len)
		return -EBADMSG;
	ret->move_to[d.move_len] = 0;
	ret->batch = d.batch;
	ret->request = d.request;
	ret->what = d.what;
	return 0;
}

int pen_owed_next(struct pen_owed *owed, struct pen_owed_row *ret)
{
	struct disk_row d;

	if (fread(&d, sizeof d, 1, owed->file) != 1 || d.kind > PEN_OWED_FILE ||
	    d.path_len > PEN_PATH_BYTES_MAX || fread(owed->path, 1, d.path_len, owed->file) != d.path_len)
		return -EBADMSG;
	owed->path[d.path_len] = 0;
	*ret = (struct pen_owed_row){ .kind = (enum pen_owed_kind)d.kind,
				      .path = owed->path,
				      .path_len = d.path_len,
				      .dev = d.dev,
				      .ino = d.ino,
				      .size = d.size,
				      .mtime_ns = d.mtime_ns };
	return d.kind != ROW_END;
}

void pen_owed_close(struct pen_owed *owed, bool drop)
{
	if (!owed)
		return;
	if (drop || !owed->sealed)
		(void)unlinkat(owed->dir, owed->name,
			       0); /* one that stays is met by a later run, and dropped there */
	fclose(owed->file);
	close(owed->dir);
	free(owed);
}
