/* SPDX-License-Identifier: MIT */
#include "store/staged.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "ring/base.h"
#include "store/lock.h"
#include "store/store_private.h"

#define PREFIX "run."
#define SWEEP_MAX 1024u

static const size_t word = sizeof(PEN_STAGED_KEY) - 1;

static void head_key(uint64_t batch, uint8_t key[PEN_STAGED_KEY_LEN])
{
	memcpy(key, PEN_STAGED_KEY, word);
	pen_put_be64(key + word, batch);
}

static void run_key(uint64_t batch, uint32_t number, uint8_t key[PEN_STAGED_RUN_KEY_LEN])
{
	head_key(batch, key);
	pen_put_be32(key + PEN_STAGED_KEY_LEN, number);
}

/* ---- the head -------------------------------------------------------------------------------- */

static uint32_t stops_of(const struct pen_fmt_staged *staged)
{
	return staged->phase == PEN_STAGED_MERGE ? staged->run_count : 0;
}

int pen_staged_save(struct pen_txn *txn, const struct pen_fmt_staged *staged,
		    const struct pen_fmt_stop *stops)
{
	size_t behind = stops_of(staged) * sizeof(*stops);
	uint8_t key[PEN_STAGED_KEY_LEN];
	struct pen_fmt_staged *row;
	int rc;

	if (staged->run_count > PEN_STAGED_RUNS_MAX)
		return -EINVAL;
	row = malloc(sizeof(*row) + behind);
	if (!row)
		return -ENOMEM;
	*row = *staged;
	if (behind)
		memcpy(row + 1, stops, behind);
	pen_seal(row, sizeof(*row) + behind, PEN_KIND_STAGED, 1);
	head_key(staged->id, key);
	rc = pen_txn_put(txn, PEN_DB_META, key, sizeof(key), row, sizeof(*row) + behind, 0);
	free(row);
	return rc;
}

int pen_staged_decode(const void *value, size_t len, uint64_t batch, struct pen_fmt_staged *ret,
		      struct pen_fmt_stop *stops)
{
	struct pen_fmt_staged row;
	int rc = pen_unseal(value, len, sizeof(row), PEN_KIND_STAGED);

	if (rc)
		return rc;
	memcpy(&row, value, sizeof(row));
	if (row.id != batch || row.run_count > PEN_STAGED_RUNS_MAX || row.phase < PEN_STAGED_SORT ||
	    row.phase > PEN_STAGED_MERGED ||
	    len != sizeof(row) + stops_of(&row) * sizeof(struct pen_fmt_stop))
		return -PEN_STORE_DAMAGED;
	if (stops)
		memcpy(stops, (const char *)value + sizeof(row), len - sizeof(row));
	*ret = row;
	return 0;
}

int pen_staged_load(struct pen_txn *txn, uint64_t batch, struct pen_fmt_staged *ret,
		    struct pen_fmt_stop *stops)
{
	uint8_t key[PEN_STAGED_KEY_LEN];
	const void *value;
	size_t len;
	int rc;

	head_key(batch, key);
	rc = pen_txn_get(txn, PEN_DB_META, key, sizeof(key), &value, &len);
	return rc ? rc : pen_staged_decode(value, len, batch, ret, stops);
}

static int read_in(struct pen_store *store, MDB_txn *mdb, uint64_t batch, struct pen_fmt_staged *ret)
{
	uint8_t be[PEN_STAGED_KEY_LEN];
	MDB_val key = { sizeof(be), be }, value;
	int rc;

	head_key(batch, be);
	rc = mdb_get(mdb, store->db[PEN_DB_META], &key, &value);
	return rc ? pen_mdb_code(rc) : pen_staged_decode(value.mv_data, value.mv_size, batch, ret, NULL);
}

int pen_staged_read(struct pen_store *store, uint64_t batch, struct pen_fmt_staged *ret)
{
	MDB_txn *mdb;
	int rc = pen_read_begin(store, &mdb);

	if (rc)
		return rc;
	rc = read_in(store, mdb, batch, ret);
	pen_read_end(store, mdb);
	return rc;
}

/* ---- runs ------------------------------------------------------------------------------------ */

int pen_staged_put_run(struct pen_txn *txn, const struct pen_fmt_run *run, const void *first,
		       const void *last)
{
	char row[sizeof(*run) + 2 * PEN_KEY_MAX];
	uint8_t key[PEN_STAGED_RUN_KEY_LEN];
	size_t len = sizeof(*run);

	if (run->first_len > PEN_KEY_MAX || run->last_len > PEN_KEY_MAX)
		return -EINVAL;
	memcpy(row, run, sizeof(*run));
	memcpy(row + len, first, run->first_len);
	len += run->first_len;
	memcpy(row + len, last, run->last_len);
	len += run->last_len;
	pen_seal(row, len, PEN_KIND_RUN, 1);
	run_key(run->id, run->number, key);
	return pen_txn_put(txn, PEN_DB_META, key, sizeof(key), row, len, 0);
}

int pen_staged_decode_run(const void *value, size_t len, uint64_t batch, uint32_t number,
			  struct pen_fmt_run *ret)
{
	struct pen_fmt_run row;
	int rc = pen_unseal(value, len, sizeof(row), PEN_KIND_RUN);

	if (rc)
		return rc;
	memcpy(&row, value, sizeof(row));
	if (row.id != batch || row.number != number ||
	    len != sizeof(row) + (size_t)row.first_len + row.last_len)
		return -PEN_STORE_DAMAGED;
	*ret = row;
	return 0;
}

int pen_staged_load_run(struct pen_txn *txn, uint64_t batch, uint32_t number, struct pen_fmt_run *ret)
{
	uint8_t key[PEN_STAGED_RUN_KEY_LEN];
	const void *value;
	size_t len;
	int rc;

	run_key(batch, number, key);
	rc = pen_txn_get(txn, PEN_DB_META, key, sizeof(key), &value, &len);
	return rc ? rc : pen_staged_decode_run(value, len, batch, number, ret);
}

int pen_staged_del_runs(struct pen_txn *txn, uint64_t batch, uint32_t first, uint32_t count)
{
	uint8_t key[PEN_STAGED_RUN_KEY_LEN];
	int rc = 0;

	for (uint32_t i = 0; i < count && !rc; i++) {
		run_key(batch, first + i, key);
		rc = pen_txn_del(txn, PEN_DB_META, key, sizeof(key));
		if (rc == -PEN_NOT_FOUND)
			rc = 0;
	}
	return rc;
}

int pen_staged_forget(struct pen_txn *txn, uint64_t batch)
{
	uint8_t key[PEN_STAGED_KEY_LEN];
	struct pen_fmt_staged staged;
	int rc = pen_staged_load(txn, batch, &staged, NULL);

	if (rc)
		return rc == -PEN_NOT_FOUND ? 0 : rc;
	rc = pen_staged_del_runs(txn, batch, staged.first_run, staged.run_count);
	if (rc)
		return rc;
	head_key(batch, key);
	return pen_txn_del(txn, PEN_DB_META, key, sizeof(key));
}

/* ---- files ----------------------------------------------------------------------------------- */

void pen_staged_name(uint64_t batch, uint32_t number, char ret[PEN_STAGED_NAME])
{
	snprintf(ret, PEN_STAGED_NAME, PREFIX "%016llx.%08x", (unsigned long long)batch, number);
}

/* False: the name is no run's. */
static bool parse(const char *name, uint64_t *ret_batch, uint32_t *ret_number)
{
	char again[PEN_STAGED_NAME];
	unsigned long long batch;
	unsigned number;

	if (strlen(name) != PEN_STAGED_NAME - 1 || sscanf(name, PREFIX "%16llx.%8x", &batch, &number) != 2)
		return false;
	*ret_batch = batch;
	*ret_number = number;
	pen_staged_name(batch, number, again);
	return !strcmp(name, again);
}

int pen_staged_dir(struct pen_store *store)
{
	int fd = openat(store->dir_fd, "staging", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

uint64_t pen_staged_space(struct pen_store *store)
{
	struct statvfs fs;

	return fstatvfs(store->dir_fd, &fs) ? UINT64_MAX : (uint64_t)fs.f_bavail * fs.f_frsize;
}

/* The manifest needs the file; also when the manifest cannot be read. */
static bool is_needed(struct pen_store *store, uint64_t batch, uint32_t number)
{
	struct pen_fmt_staged staged;
	int rc = pen_staged_read(store, batch, &staged);

	if (rc)
		return rc != -PEN_NOT_FOUND;
	return staged.phase != PEN_STAGED_MERGED && number >= staged.first_run &&
	       number - staged.first_run < staged.run_count;
}

struct leftovers {
	unsigned count;
	struct {
		uint64_t batch;
		uint32_t number;
	} at[SWEEP_MAX];
};

/* Files that the manifest does not need. only: of this batch, 0: of all. */
static void list(struct pen_store *store, int fd, uint64_t only, struct leftovers *ret)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	DIR *at = copy < 0 ? NULL : fdopendir(copy);
	const struct dirent *entry;
	uint64_t batch;
	uint32_t number;

	if (!at) {
		if (copy >= 0)
			close(copy);
		return;
	}
	rewinddir(at);
	while (ret->count < SWEEP_MAX && (entry = readdir(at)))
		if (parse(entry->d_name, &batch, &number) && (!only || batch == only) &&
		    !is_needed(store, batch, number)) {
			ret->at[ret->count].batch = batch;
			ret->at[ret->count++].number = number;
		}
	closedir(at);
}

static void remove_file(int fd, uint64_t batch, uint32_t number)
{
	char name[PEN_STAGED_NAME];

	pen_staged_name(batch, number, name);
	(void)unlinkat(fd, name, 0); /* what stays is found again */
}

void pen_staged_trim(struct pen_store *store, uint64_t batch)
{
	struct leftovers *left = calloc(1, sizeof(*left));
	int fd = left ? pen_staged_dir(store) : -1;

	if (fd >= 0) {
		list(store, fd, batch, left);
		for (unsigned i = 0; i < left->count; i++)
			remove_file(fd, left->at[i].batch, left->at[i].number);
		close(fd);
	}
	free(left);
}

void pen_staged_sweep(struct pen_store *store)
{
	struct leftovers *left = calloc(1, sizeof(*left));
	int fd = left ? pen_staged_dir(store) : -1, lock;
	uint32_t pid;

	if (fd >= 0) {
		list(store, fd, 0, left);
		for (unsigned i = 0; i < left->count; i++) {
			uint64_t batch = left->at[i].batch;

			/* A runner may be about to commit the row, or about to make the file anew. */
			if (pen_lock_batch(store, batch, &lock, &pid))
				continue;
			if (!is_needed(store, batch, left->at[i].number))
				remove_file(fd, batch, left->at[i].number);
			pen_lock_release(store, batch, lock);
		}
		close(fd);
	}
	free(left);
}
